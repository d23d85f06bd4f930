/* The mirror that one writes oneself: a consumer, an idempotent producer, offsets stored when a record is acknowledged.
 *
 *   rdkafka_copy SOURCE.properties TARGET.properties TOPIC CODEC      until SIGTERM
 *
 * At least once: what was acknowledged since the last commit is copied again after a kill. Same partition, key, value,
 * headers, timestamp. Batches as the tuned rival makes them.
 */
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t stopped;
static rd_kafka_t *consumer;

static void on_signal(int signal)
{
    (void)signal;
    stopped = 1;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "rdkafka_copy: %s: %s\n", what, why);
    exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[256];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK) {
        die(name, why);
    }
}

/* Lines of NAME=VALUE. */
static rd_kafka_conf_t *conf_of(const char *path)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    FILE *file = fopen(path, "r");
    char line[1024];
    if (file == NULL) {
        die(path, "cannot be read");
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        char *value = strchr(line, '=');
        if (value != NULL) {
            *value++ = '\0';
            value[strcspn(value, "\n")] = '\0';
            set(conf, line, value);
        }
    }
    fclose(file);
    return conf;
}

/* Acknowledged, in the order of its partition: the group may go on behind it. `opaque`: its offset at the source. */
static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    (void)producer;
    (void)opaque;
    if (message->err) {
        die("produce", rd_kafka_err2str(message->err));
    }
    rd_kafka_topic_partition_list_t *at = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(at, rd_kafka_topic_name(message->rkt), message->partition)
        ->offset = (int64_t)(intptr_t)message->_private + 1;
    rd_kafka_offsets_store(consumer, at);
    rd_kafka_topic_partition_list_destroy(at);
}

static rd_kafka_t *consumer_new(const char *path)
{
    char why[256];
    rd_kafka_conf_t *conf = conf_of(path);
    set(conf, "group.id", "rdkafka-copy");
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "enable.auto.offset.store", "false");
    set(conf, "isolation.level", "read_committed");
    set(conf, "fetch.max.bytes", "52428800");
    set(conf, "max.partition.fetch.bytes", "8388608");
    rd_kafka_t *made = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
    if (made == NULL) {
        die("consumer", why);
    }
    return made;
}

static rd_kafka_t *producer_new(const char *path, const char *codec)
{
    char why[256];
    rd_kafka_conf_t *conf = conf_of(path);
    set(conf, "enable.idempotence", "true");
    set(conf, "linger.ms", "50");
    set(conf, "batch.size", "524288");
    set(conf, "queue.buffering.max.messages", "1000000");
    set(conf, "compression.codec", codec);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_t *made = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    if (made == NULL) {
        die("producer", why);
    }
    return made;
}

static void copy(rd_kafka_t *producer, rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers = NULL;
    rd_kafka_resp_err_t err;
    rd_kafka_message_detach_headers(message, &headers);
    do {
        err = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(rd_kafka_topic_name(message->rkt)),
                                RD_KAFKA_V_PARTITION(message->partition),
                                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                RD_KAFKA_V_KEY(message->key, message->key_len),
                                RD_KAFKA_V_VALUE(message->payload, message->len),
                                RD_KAFKA_V_TIMESTAMP(rd_kafka_message_timestamp(message, NULL)),
                                RD_KAFKA_V_OPAQUE((void *)(intptr_t)message->offset),
                                RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
        rd_kafka_poll(producer, err == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 50 : 0);
    } while (err == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    if (err) {
        die("produce", rd_kafka_err2str(err));
    }
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        die("usage", "rdkafka_copy SOURCE.properties TARGET.properties TOPIC CODEC");
    }
    signal(SIGTERM, on_signal);
    consumer = consumer_new(argv[1]);
    rd_kafka_t *producer = producer_new(argv[2], argv[4]);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, argv[3], RD_KAFKA_PARTITION_UA);
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_subscribe(consumer, topics);
    while (!stopped) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 20);
        if (message != NULL && !message->err) {
            copy(producer, message);
        }
        if (message != NULL) {
            rd_kafka_message_destroy(message);
        }
        rd_kafka_poll(producer, 0);
    }
    rd_kafka_flush(producer, 10000);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(producer);
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_destroy(consumer);
    return 0;
}
