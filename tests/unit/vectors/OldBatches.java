import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;

/**
 * Prints tests/unit/vectors/old_batches.h: message sets of formats 0 and 1 as Apache Kafka's own classes write them.
 *
 *     java -cp 'build/kafka/jars/*' tests/unit/vectors/OldBatches.java > tests/unit/vectors/old_batches.h
 */
public class OldBatches {
    static void print(String name, ByteBuffer buffer) {
        StringBuilder out = new StringBuilder("static const uint8_t " + name + "[] = {");
        for (int i = 0; buffer.hasRemaining(); i++) {
            out.append(i % 24 == 0 ? "\n    " : " ").append(String.format("0x%02x,", buffer.get() & 0xff));
        }
        System.out.println(out + "\n};");
    }

    static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    /** Offsets 100, 101, 104: the last record stands behind a hole that compaction left. */
    static void set(byte magic, CompressionType type, TimestampType stamps) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(4096), magic,
            Compression.of(type).build(), stamps, 100L, 1600000000999L);
        builder.appendWithOffset(100, 1600000000000L, bytes("key"), bytes("value of the first"));
        builder.appendWithOffset(101, 1600000000001L, null, bytes("null key, value of the first"));
        builder.appendWithOffset(104, 1600000000002L, bytes("tombstone"), null);
        String append = stamps == TimestampType.LOG_APPEND_TIME ? "_append" : "";
        print("old_v" + magic + "_" + type.name + append, builder.build().buffer());
    }

    public static void main(String[] args) {
        System.out.println("/* Printed by tests/unit/vectors/OldBatches.java: do not edit. */");
        System.out.println("#include <stdint.h>\n");
        for (byte magic = 0; magic <= 1; magic++) {
            for (CompressionType type : new CompressionType[] {CompressionType.NONE, CompressionType.GZIP,
                CompressionType.SNAPPY, CompressionType.LZ4}) {
                set(magic, type, TimestampType.CREATE_TIME);
            }
        }
        set((byte) 1, CompressionType.GZIP, TimestampType.LOG_APPEND_TIME);
        set((byte) 1, CompressionType.NONE, TimestampType.LOG_APPEND_TIME);
    }
}
