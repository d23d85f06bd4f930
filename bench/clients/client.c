/* One application on librdkafka, with its defaults; what it lives through goes to standard output (README.md).
 *
 *   client consume|produce|transact BOOTSTRAP TOPIC NAME       KAFKA_USER, KAFKA_PASSWORD in the environment
 */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define PAUSE_US  200000
#define IN_ONE    5 /* records of a transaction */
#define ERROR_MAX 400

static char last_error[ERROR_MAX];

static long long now_ms(void)
{
    struct timeval now;
    gettimeofday(&now, NULL);
    return now.tv_sec * 1000LL + now.tv_usec / 1000;
}

static void say(const char *word, const char *text)
{
    printf("%lld %s %s\n", now_ms(), word, text);
    fflush(stdout);
}

static void error_said(const char *word, const char *text)
{
    if (strncmp(text, last_error, ERROR_MAX - 1) != 0) {
        snprintf(last_error, sizeof(last_error), "%s", text);
        say(word, text);
    }
}

static void die(const char *text)
{
    say("died", text);
    exit(1);
}

static void on_error(rd_kafka_t *client, int err, const char *reason, void *opaque)
{
    (void)client;
    (void)opaque;
    char text[ERROR_MAX];
    snprintf(text, sizeof(text), "%s: %s", rd_kafka_err2name(err), reason);
    error_said("error", text);
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    (void)client;
    (void)opaque;
    char value[32];
    snprintf(value, sizeof(value), "%.*s", (int)message->len, (const char *)message->payload);
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        say("acked", value);
    } else {
        error_said("error", rd_kafka_err2str(message->err));
    }
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[256];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK) {
        die(why);
    }
}

static rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char why[256];
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof(why));
    if (client == NULL) {
        die(why);
    }
    return client;
}

static void consume(rd_kafka_conf_t *conf, const char *topic, const char *name)
{
    set(conf, "group.id", name);
    set(conf, "auto.commit.interval.ms", "1000");
    set(conf, "auto.offset.reset", "earliest");
    rd_kafka_t *client = client_new(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(client);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    if (rd_kafka_subscribe(client, topics) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        die("subscribe");
    }
    for (;;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, 200);
        if (message == NULL) {
            continue;
        }
        char value[32];
        snprintf(value, sizeof(value), "%.*s", (int)message->len, (const char *)message->payload);
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            say("read", value);
        } else {
            error_said("error", rd_kafka_message_errstr(message));
        }
        rd_kafka_message_destroy(message);
    }
}

static void send_one(rd_kafka_t *client, const char *topic, long long serial)
{
    char value[32];
    snprintf(value, sizeof(value), "%lld", serial);
    rd_kafka_resp_err_t err =
        rd_kafka_producev(client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_VALUE(value, strlen(value)),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        error_said("error", rd_kafka_err2str(err));
    }
}

static void produce(rd_kafka_conf_t *conf, const char *topic)
{
    set(conf, "enable.idempotence", "true");
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_t *client = client_new(RD_KAFKA_PRODUCER, conf);
    for (long long serial = 0;; serial++) {
        send_one(client, topic, serial);
        rd_kafka_poll(client, 0);
        usleep(PAUSE_US);
        rd_kafka_poll(client, 0);
    }
}

/* @return false: it did not work out; *fatal: it never will */
static bool done_with(rd_kafka_error_t *err, bool *fatal)
{
    if (err == NULL) {
        return true;
    }
    error_said("error", rd_kafka_error_string(err));
    *fatal = *fatal || rd_kafka_error_is_fatal(err);
    rd_kafka_error_destroy(err);
    return false;
}

static void transact(rd_kafka_conf_t *conf, const char *topic, const char *name)
{
    set(conf, "transactional.id", name);
    rd_kafka_t *client = client_new(RD_KAFKA_PRODUCER, conf);
    bool fatal = false;
    while (!done_with(rd_kafka_init_transactions(client, 30000), &fatal) && !fatal) {
    }
    for (long long serial = 0; !fatal; serial += IN_ONE) {
        if (!done_with(rd_kafka_begin_transaction(client), &fatal)) {
            continue;
        }
        for (int i = 0; i < IN_ONE; i++) {
            send_one(client, topic, serial + i);
        }
        if (done_with(rd_kafka_commit_transaction(client, -1), &fatal)) {
            for (int i = 0; i < IN_ONE; i++) {
                char value[32];
                snprintf(value, sizeof(value), "%lld", serial + i);
                say("acked", value);
            }
        } else if (!fatal) {
            done_with(rd_kafka_abort_transaction(client, -1), &fatal);
        }
        rd_kafka_poll(client, 0);
        usleep(IN_ONE * PAUSE_US);
    }
    die("the producer is of no use any more");
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: client consume|produce|transact BOOTSTRAP TOPIC NAME\n");
        return 2;
    }
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", argv[2]);
    set(conf, "security.protocol", "SASL_PLAINTEXT");
    set(conf, "sasl.mechanism", "PLAIN");
    set(conf, "sasl.username", getenv("KAFKA_USER"));
    set(conf, "sasl.password", getenv("KAFKA_PASSWORD"));
    if (strcmp(argv[1], "consume") == 0) {
        consume(conf, argv[3], argv[4]);
    } else if (strcmp(argv[1], "produce") == 0) {
        produce(conf, argv[3]);
    } else {
        transact(conf, argv[3], argv[4]);
    }
    return 1;
}
