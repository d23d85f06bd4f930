import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A consumer that does nothing twice through a failover: it keeps what it has done under each record's name at the source, and
 * reads the hint that Ferry leaves in its own group's commit to know that name where the record is a copy (docs/hints.md).
 *
 * <pre>java -cp 'jars/*' HintsConsumer.java BOOTSTRAP GROUP TOPIC DONE_FILE COMMIT_EVERY IDLE_SECONDS</pre>
 *
 * DONE_FILE stands for the application's own store; the work and its entry there belong into one transaction.
 */
public class HintsConsumer {
    /** One hint, as docs/hints.md has its text. */
    record Hint(long from, long until, String cluster, long mapped, TreeMap<Long, Long> runs, String text) {
        static final Pattern FORM = Pattern.compile("ferry1 ([^!]*) !.*", Pattern.DOTALL);

        /** null: it is none, or of a version that this consumer does not know. */
        static Hint parse(String metadata) {
            Matcher matcher = FORM.matcher(metadata == null ? "" : metadata);
            if (!matcher.matches()) {
                return null;
            }
            Map<String, String> fields = new HashMap<>();
            for (String field : matcher.group(1).split(" ")) {
                String[] pair = field.split("=", 2);
                fields.put(pair[0], pair[1]);
            }
            TreeMap<Long, Long> runs = new TreeMap<>();
            if (!fields.get("runs").equals("-")) {
                for (String run : fields.get("runs").split(",")) {
                    String[] pair = run.split(":");
                    runs.put(Long.parseLong(pair[0]), Long.parseLong(pair[1]));
                }
            }
            return new Hint(Long.parseLong(fields.get("from")), Long.parseLong(fields.get("until")), fields.get("cluster"),
                Long.parseLong(fields.get("mapped")), runs, metadata.substring(0, metadata.indexOf('!') + 1));
        }

        /** The record's name at the source; null where the hint does not tell. */
        String name(ConsumerRecord<?, ?> record) {
            if (record.offset() < from || record.offset() >= mapped) {
                return null;
            }
            Map.Entry<Long, Long> run = runs.floorEntry(record.offset());
            return cluster + "/" + record.topic() + "/" + record.partition() + "/" + (run.getValue() + record.offset() - run.getKey());
        }
    }

    private final KafkaConsumer<String, String> consumer;
    private final String ourCluster;
    private final Path done;
    private final Set<String> names = new HashSet<>();
    private final Map<TopicPartition, Hint> hints = new HashMap<>();
    private final Map<TopicPartition, OffsetAndMetadata> toCommit = new HashMap<>();
    private int skipped;

    HintsConsumer(Properties settings, Path done) throws Exception {
        this.done = done;
        if (Files.exists(done)) {
            Files.readAllLines(done).forEach(line -> names.add(line.split("\t")[0]));
        }
        try (Admin admin = Admin.create(settings)) {
            ourCluster = admin.describeCluster().clusterId().get();
        }
        consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    /** Before the first record of a partition: what does our own commit say? */
    private void assigned(Collection<TopicPartition> partitions) {
        consumer.committed(new HashSet<>(partitions)).forEach((partition, commit) -> {
            Hint hint = commit == null ? null : Hint.parse(commit.metadata());
            if (hint != null) {
                hints.put(partition, hint);
            } else {
                hints.remove(partition);
            }
        });
    }

    private void handle(ConsumerRecord<String, String> record) throws IOException {
        TopicPartition partition = new TopicPartition(record.topic(), record.partition());
        Hint hint = hints.get(partition);
        String name = hint == null ? null : hint.name(record);
        if (name == null) { // of this cluster itself
            name = ourCluster + "/" + record.topic() + "/" + record.partition() + "/" + record.offset();
        }
        if (names.add(name)) {
            Files.writeString(done, name + "\t" + record.value() + "\n", StandardCharsets.UTF_8, StandardOpenOption.CREATE,
                StandardOpenOption.APPEND);
        } else {
            skipped++;
        }
        // The hint is carried along as long as it says something: a restart in the midst of it reads it again.
        boolean over = hint == null || record.offset() + 1 >= hint.until();
        toCommit.put(partition, new OffsetAndMetadata(record.offset() + 1, over ? "" : hint.text()));
    }

    void run(String topic, int commitEvery, int idleSeconds) throws IOException {
        int handled = 0;
        long last = System.nanoTime();
        consumer.subscribe(Set.of(topic), new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                assigned(partitions);
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                consumer.commitSync(toCommit);
            }
        });
        while (System.nanoTime() - last < idleSeconds * 1_000_000_000L) {
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                handle(record);
                last = System.nanoTime();
                if (++handled % commitEvery == 0) {
                    consumer.commitSync(toCommit);
                    toCommit.clear();
                }
            }
        }
        consumer.commitSync(toCommit);
        consumer.close();
        System.out.println("skipped " + skipped);
    }

    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("group.id", args[1]);
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        settings.put("isolation.level", "read_committed");
        new HintsConsumer(settings, Path.of(args[3])).run(args[2], Integer.parseInt(args[4]), Integer.parseInt(args[5]));
    }
}
