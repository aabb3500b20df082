import java.nio.ByteBuffer;
import java.util.Random;
import java.util.zip.CRC32;
import java.util.zip.Deflater;

/** Buffers off the heap, of all sizes, that come and go; and native compressors. */
public class Direct {
  public static void main(String[] arguments) {
    Random random = new Random(7);
    ByteBuffer[] buffers = new ByteBuffer[600];
    CRC32 sum = new CRC32();
    byte[] compressed = new byte[1 << 20];
    for (int i = 0; i < 6000; i++) {
      ByteBuffer buffer = ByteBuffer.allocateDirect(1 << (8 + random.nextInt(11)));
      while (buffer.remaining() >= 8) buffer.putLong(random.nextLong() & 0x0f0f0f0f0f0f0f0fL);
      buffer.flip();
      if (i % 4 == 0) {
        Deflater deflater = new Deflater(1);
        deflater.setInput(buffer.duplicate());
        deflater.finish();
        while (!deflater.finished()) sum.update(compressed, 0, deflater.deflate(compressed));
        deflater.end();
      }
      buffers[random.nextInt(buffers.length)] = buffer;
    }
    System.out.println(sum.getValue());
  }
}
