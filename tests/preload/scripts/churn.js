// Buffers, compression, digests, workers and children, each checked. argv[2]: the library it must run on.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const zlib = require('zlib');
const {execFileSync, fork} = require('child_process');
const {Worker, isMainThread, parentPort, workerData} = require('worker_threads');

const digest = (data) => crypto.createHash('sha256').update(data).digest('hex');

function churn(seed) {
  const held = new Map();
  let state = seed;
  for (let i = 0; i < 20000; ++i) {
    state = (state * 1103515245 + 12345) & 0x7fffffff;
    const key = state % 200;
    if (held.has(key)) {
      const {buffer, fill} = held.get(key);
      assert.strictEqual(buffer[0], fill);
      assert.strictEqual(buffer[buffer.length - 1], fill);
    }
    const size = 1 + (state >> 8) % 60000;
    held.set(key, {buffer: Buffer.allocUnsafeSlow(size).fill(i & 255), fill: i & 255});
  }
  const text = Buffer.from('a text that compresses well '.repeat(20000));
  for (let i = 0; i < 5; ++i) {
    assert(zlib.gunzipSync(zlib.gzipSync(text)).equals(text));
    assert(zlib.brotliDecompressSync(zlib.brotliCompressSync(text, {params: {[zlib.constants.BROTLI_PARAM_QUALITY]: 4}})).equals(text));
  }
  const objects = Array.from({length: 20000}, (_, i) => ({i, name: 'name ' + i, list: [i, i + 1]}));
  assert.deepStrictEqual(JSON.parse(JSON.stringify(objects)), objects);
  return digest(text);
}

if (!isMainThread) {
  parentPort.postMessage(churn(workerData));
} else if (process.argv[2] === '--child') {
  process.send(churn(99));
} else {
  if (process.argv[2]) assert(fs.readFileSync('/proc/self/maps', 'utf8').includes(process.argv[2]), 'not on the library');
  const want = churn(1);
  const parts = [1, 2, 3, 4].map((seed) => new Promise((resolve, reject) => {
    const worker = new Worker(__filename, {workerData: seed});
    worker.on('message', (got) => { assert.strictEqual(got, want); resolve(); });
    worker.on('error', reject);
  }));
  parts.push(new Promise((resolve, reject) => {
    const child = fork(__filename, ['--child']);
    child.on('message', (got) => { assert.strictEqual(got, want); });
    child.on('exit', (code, signal) => (code === 0 ? resolve() : reject(new Error(`child: ${code} ${signal}`))));
  }));
  for (let i = 0; i < 20; ++i) assert.strictEqual(execFileSync('echo', [String(i)]).toString(), `${i}\n`);
  const keys = crypto.generateKeyPairSync('rsa', {modulusLength: 2048});
  const signature = crypto.sign('sha256', Buffer.from('text'), keys.privateKey);
  assert(crypto.verify('sha256', Buffer.from('text'), keys.publicKey, signature));
  Promise.all(parts).then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
}
