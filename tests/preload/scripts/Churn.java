// Threads with direct buffers, compression, mapped files and garbage, each checked. args[0]: the library it must run on.

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

public class Churn {
  public static void main(String[] args) throws Exception {
    if (args.length > 0 && !args[0].isEmpty()) {
      check(Files.readString(Path.of("/proc/self/maps")).contains(args[0]), "not on the library");
    }
    for (int round = 0; round < 3; ++round) {
      ExecutorService pool = Executors.newFixedThreadPool(8);
      List<Future<Long>> results = new ArrayList<>();
      for (int i = 0; i < 16; ++i) {
        final int seed = i % 4;
        results.add(pool.submit((Callable<Long>) () -> work(seed)));
      }
      for (int i = 0; i < 16; ++i) check(results.get(i).get().equals(results.get(i % 4).get()), "results differ");
      pool.shutdown();
    }
    for (int i = 0; i < 500; ++i) {
      Thread thread = new Thread(() -> ByteBuffer.allocateDirect(1000).putInt(7));
      thread.start();
      thread.join();
    }
    Process child = new ProcessBuilder("echo", "hello").start();
    check(new String(child.getInputStream().readAllBytes()).equals("hello\n") && child.waitFor() == 0, "child");
  }

  static long work(int seed) throws Exception {
    Random random = new Random(seed);
    ByteBuffer[] held = new ByteBuffer[50];
    CRC32 sum = new CRC32();
    for (int i = 0; i < 3000; ++i) {
      int at = random.nextInt(held.length);
      if (held[at] != null) {
        check(held[at].get(0) == (byte) at && held[at].get(held[at].capacity() - 1) == (byte) at, "a buffer changed");
      }
      held[at] = ByteBuffer.allocateDirect(1 + random.nextInt(20000));
      held[at].put(0, (byte) at);
      held[at].put(held[at].capacity() - 1, (byte) at);
      sum.update(held[at].capacity());
    }
    byte[] text = "a text that compresses well ".repeat(5000).getBytes();
    for (int i = 0; i < 10; ++i) {
      Deflater deflater = new Deflater(i % 10);
      deflater.setInput(text);
      deflater.finish();
      byte[] packed = new byte[text.length + 1000];
      int length = deflater.deflate(packed);
      deflater.end();
      Inflater inflater = new Inflater();
      inflater.setInput(packed, 0, length);
      byte[] back = new byte[text.length];
      check(inflater.inflate(back) == text.length && java.util.Arrays.equals(back, text), "compression");
      inflater.end();
      sum.update(packed, 0, length);
    }
    return sum.getValue();
  }

  static void check(boolean good, String what) {
    if (!good) throw new AssertionError(what);
  }
}
