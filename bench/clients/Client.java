import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;

/** One application on Java's own client, with its defaults; what it lives through goes to standard output (README.md). */
public class Client {
    static final int PAUSE_MS = 200;
    static String lastError = "";

    static synchronized void say(String what) {
        System.out.println(System.currentTimeMillis() + " " + what);
    }

    static synchronized void error(String word, Throwable err) {
        String text = (err.getClass().getSimpleName() + ": " + err.getMessage()).replace('\n', ' ');
        if (!text.equals(lastError)) {
            lastError = text;
            say(word + " " + text);
        }
    }

    static void consume(Properties settings, String topic) {
        settings.put("auto.commit.interval.ms", "1000");
        settings.put("isolation.level", "read_committed");
        settings.put("auto.offset.reset", "earliest");
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            while (true) {
                try {
                    for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                        say("read " + record.value());
                    }
                } catch (RuntimeException err) { // as an application does that logs and goes on
                    error("error", err);
                    sleep(200);
                }
            }
        }
    }

    static KafkaProducer<String, String> producer(Properties settings) {
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    static void produce(Properties settings, String topic) {
        settings.put("enable.idempotence", "true"); // not yet the default in 2.8
        KafkaProducer<String, String> producer = producer(settings);
        for (long serial = 0;; serial++) {
            String value = Long.toString(serial);
            try {
                producer.send(new ProducerRecord<>(topic, value), (RecordMetadata metadata, Exception err) -> {
                    if (err == null) {
                        say("acked " + value);
                    } else {
                        error("error", err);
                    }
                });
            } catch (RuntimeException err) {
                error("error", err);
            }
            sleep(PAUSE_MS);
        }
    }

    static void transact(Properties settings, String topic, String name) {
        settings.put("transactional.id", name);
        KafkaProducer<String, String> producer = producer(settings);
        producer.initTransactions();
        long serial = 0;
        while (true) {
            List<String> values = new ArrayList<>();
            for (int i = 0; i < 5; i++) {
                values.add(Long.toString(serial++));
            }
            try {
                producer.beginTransaction();
                for (String value : values) {
                    producer.send(new ProducerRecord<>(topic, value));
                }
                producer.commitTransaction();
                values.forEach(value -> say("acked " + value));
            } catch (RuntimeException err) {
                error("error", err);
                try {
                    producer.abortTransaction();
                } catch (RuntimeException fatal) {
                    error("error", fatal);
                    sleep(200);
                }
            }
            sleep(5 * PAUSE_MS);
        }
    }

    /** Reads `topic`, writes what it read to `topic`-out. */
    static void streams(Properties settings, String topic, String name) {
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, name);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getProperty("java.io.tmpdir") + "/" + name);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "1000");
        settings.put("default.key.serde", "org.apache.kafka.common.serialization.Serdes$StringSerde");
        settings.put("default.value.serde", "org.apache.kafka.common.serialization.Serdes$StringSerde");
        settings.put("auto.offset.reset", "earliest");
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(topic).peek((key, value) -> say("read " + value)).to(topic + "-out");
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(err -> {
            error("error", err);
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        streams.start();
        sleep(Integer.MAX_VALUE);
    }

    static void sleep(int ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException err) {
            System.exit(1);
        }
    }

    public static void main(String[] args) {
        Properties settings = new Properties();
        settings.putAll(Map.of("bootstrap.servers", args[1], "client.id", args[3]));
        settings.put("security.protocol", "SASL_PLAINTEXT");
        settings.put("sasl.mechanism", "PLAIN");
        settings.put("sasl.jaas.config", "org.apache.kafka.common.security.plain.PlainLoginModule required username=\""
            + System.getenv("KAFKA_USER") + "\" password=\"" + System.getenv("KAFKA_PASSWORD") + "\";");
        try {
            switch (args[0]) {
                case "consume" -> {
                    settings.put("group.id", args[3]);
                    consume(settings, args[2]);
                }
                case "produce" -> produce(settings, args[2]);
                case "transact" -> transact(settings, args[2], args[3]);
                case "streams" -> streams(settings, args[2], args[3]);
                default -> throw new IllegalArgumentException(args[0]);
            }
        } catch (RuntimeException err) {
            error("died", err);
            System.exit(1);
        }
    }
}
