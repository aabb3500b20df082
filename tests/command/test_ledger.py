"""The ledger of real programs against the kernel's account of the same process, mapping by mapping."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

from support import DEADLINE, MIB, NEAP, CommandTest, eventually, needs_limit, needs_root, neap

PYARROW = os.environ.get("NEAP_ENGINE_PYTHON")  # a Python that has it
POSTGRES = next(reversed(sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))), None)
# Blocks lie in 16 TiB from a random place of these on: alloc/page_map.cc, the first of kPlaces.
WINDOW_BEGINS = range(1 << 45, (1 << 45) + (1 << 43))
WINDOW_BYTES = 1 << 44
PARTS = ("stacks", "java_heap", "java_metaspace", "code", "brk", "files", "other")

ARROW = """
import os, sys
import pyarrow as pa, pyarrow.compute as pc
pool = pa.system_memory_pool() if sys.argv[1] == "system" else pa.default_memory_pool()
pa.set_memory_pool(pool)
keys = pc.cast(pc.multiply(pc.random(4_000_000), 500_000.0), pa.int64(), safe=False)
table = pa.table({"key": keys, "text": pc.cast(keys, pa.string())})
grouped = table.group_by("key").aggregate([("text", "max"), ("key", "count")])
held = table.take(pc.sort_indices(table, [("key", "ascending")])).slice(0, 1_000_000)
del table, keys
rows = held.slice(0, 200_000).to_pylist()[::3]
print("pid", os.getpid(), flush=True)
sys.stdin.read()
"""

JAVA = """
import java.nio.ByteBuffer;
import java.util.zip.*;
public class Hold {
  public static void main(String[] arguments) throws Exception {
    byte[][] heap = new byte[100][];
    for (int i = 0; i < heap.length; i++) java.util.Arrays.fill(heap[i] = new byte[1 << 20], (byte) 1);
    ByteBuffer[] direct = new ByteBuffer[4000];
    for (int i = 0; i < direct.length; i++) {
      direct[i] = ByteBuffer.allocateDirect(20_000 + i * 7);
      for (int j = 0; j < direct[i].capacity(); j += 512) direct[i].put(j, (byte) 1);
    }
    for (int i = 0; i < direct.length; i += 2) direct[i] = null;
    Deflater[] native_ = new Deflater[100];  // 260 KiB each, by malloc
    for (int i = 0; i < native_.length; i++) (native_[i] = new Deflater()).setInput(heap[0]);
    System.gc();
    System.out.println("pid " + ProcessHandle.current().pid());
    System.in.read();
    System.out.println(heap.length + direct.length + native_.length);
  }
}
"""


def kernels_account(pid):
    """(anonymous bytes where neap's blocks are, those elsewhere) of a process."""
    anonymous = {}  # by the mapping's begin
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if head := re.match(r"([0-9a-f]+)-[0-9a-f]+ ", line):
            begin = int(head[1], 16)
        elif line.startswith("Anonymous:"):
            anonymous[begin] = int(line.split()[1]) << 10
    window = min(begin for begin in anonymous if begin in WINDOW_BEGINS)
    inside = sum(bytes_ for begin, bytes_ in anonymous.items() if window <= begin < window + WINDOW_BYTES)
    return inside, sum(anonymous.values()) - inside


def rollup(pid):
    return int(re.search(r"^Anonymous: +(\d+) kB", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1]) << 10


@needs_limit  # under one a program at rest is read too
@unittest.skipUnless(os.uname().machine == "x86_64", "where neap maps is x86-64's")
class RealPrograms(CommandTest):
    def check(self, pid, neap_at_least):
        """Within 1 % of what the kernel counts: the blocks, all else that is neap's or foreign, their sum; and the parts
        of foreign memory add up to it."""
        last = {}

        def agrees():
            result = neap("stat", pid, "--json")
            reading = json.loads(result.stdout or "{}")
            if not reading.get("foreign_parts"):
                return False  # no page yet, or no reading
            inside, outside = kernels_account(pid)
            anon = rollup(pid)
            # Below 0: a JVM's and a database's buffers are live and not yet written.
            blocks = reading["live"] + reading["cached"] + reading["dirty"] + reading["residual"]
            others = reading["metadata"] + reading["foreign"]
            parts = sum(reading["foreign_parts"][part] for part in PARTS)  # read less often than the rest
            last.update(blocks=blocks, inside=inside, others=others, outside=outside, anon=anon, parts=parts)
            differences = (blocks - inside, others - outside, blocks + others - anon, parts - reading["foreign"])
            return all(abs(difference) <= anon / 100 for difference in differences) and reading

        try:
            reading = eventually(agrees, "the ledger is the kernel's to 1 %")
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from None
        self.assertGreater(reading["live"], neap_at_least)

    def limited(self, *command, **options):
        return self.program(NEAP, "run", "--limit", "2G", "--", command=command, **options)

    @unittest.skipUnless(PYARROW, "no pyarrow here")
    def test_pyarrow(self):
        for pool, least in (("system", 60 * MIB), ("default", 4 * MIB)):
            with self.subTest(pool=pool):
                self.check(self.limited(PYARROW, "-c", ARROW, pool).pid, least)

    @unittest.skipUnless(shutil.which("redis-server"), "no Redis here")
    def test_redis(self):
        socket = self.folder / "redis.sock"
        say = 'echo "pid $$"; exec redis-server --port 0 --unixsocket "$0" --save "" --dir "$1" >/dev/null'
        program = self.limited("sh", "-c", say, socket, self.folder)

        def ask(*words):
            return subprocess.run(["redis-cli", "-s", socket, *words], capture_output=True, text=True, timeout=DEADLINE).stdout.strip()

        eventually(lambda: ask("ping") == "PONG", "it answers")
        keys = 200_000
        subprocess.run(["redis-benchmark", "-s", socket, "-q", "-n", str(keys), "-r", str(keys), "-c", "20", "-P", "16", "-d", "400",
                        "-t", "set,lpush,zadd"], check=True, capture_output=True, timeout=DEADLINE)
        ask("eval", "for i = 0, 200000, 3 do redis.call('del', string.format('key:%012d', i)) end", "0")
        self.check(program.pid, 40 * MIB)

    @needs_root  # to become postgres
    @unittest.skipUnless(POSTGRES, "no PostgreSQL here")
    def test_a_backend_of_postgresql(self):
        self.folder.chmod(0o777)
        data = self.folder / "data"
        become = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "env", f"HOME={self.folder}"]
        subprocess.run(["install", "-d", "-o", "postgres", data], check=True)
        subprocess.run([*become, POSTGRES / "initdb", "-A", "trust", "-N", data], check=True, capture_output=True)
        say = 'echo "pid $$"; exec "$@" >/dev/null 2>&1'
        self.limited(*become, "sh", "-c", say, "sh", POSTGRES / "postgres", "-D", data, "-k", self.folder,
                     "-c", "listen_addresses=", "-c", "fsync=off", "-c", "work_mem=256MB",
                     "-c", "max_parallel_workers_per_gather=0")
        eventually(lambda: subprocess.run([POSTGRES / "pg_isready", "-q", "-h", self.folder]).returncode == 0, "it is ready")
        client = subprocess.Popen([*become, POSTGRES / "psql", "-qAtX", "-h", self.folder, "postgres"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(client.communicate, timeout=DEADLINE)
        client.stdin.write("""BEGIN;
            DECLARE c CURSOR FOR SELECT i, md5(i::text) AS t FROM generate_series(1, 800000) i ORDER BY t;
            FETCH 1 FROM c; SELECT pg_backend_pid();\n""")
        client.stdin.flush()
        client.stdout.readline()
        self.check(int(client.stdout.readline()), 60 * MIB)

    @unittest.skipUnless(shutil.which("java"), "no Java here")
    def test_a_jvm_with_memory_off_its_heap(self):
        source = self.folder / "Hold.java"
        source.write_text(JAVA)
        self.check(self.limited("java", "-Xms200m", "-Xmx300m", source).pid, 80 * MIB)


if __name__ == "__main__":
    unittest.main()
