#include "kafka/publish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/admin_inside.h"

#define POLL_MS 20

#define MESSAGE_MS "20000" /* of one record: who waits for all has a limit of his own */

/* ---- write ---- */

struct publisher {
    struct client *client;
};

struct answers {
    size_t count;
    rd_kafka_resp_err_t code; /* the first that is none */
};

static bool topic_there(struct admin *admin, const char *topic, struct err *err)
{
    struct admin_topic found;
    struct err why = {0};
    char id[64];
    int32_t brokers_count = 0;
    if (admin_describe_topic(admin, topic, &found, &why)) {
        return true;
    }
    if (why.kind != ERR_REFUSED || why.code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        if (err) {
            *err = why;
        }
        return false;
    }
    if (!admin_cluster_id(admin, id, &brokers_count, err)) {
        return false;
    }
    int32_t copies = brokers_count < 3 ? (brokers_count > 0 ? brokers_count : 1) : 3;
    bool kept =
        admin->settings->single_writer; /* all of it: readers take the last record of a key */
    /* clang-format off */
    const char *const settings[] = {
        "cleanup.policy", kept ? "delete" : "compact",
        "min.insync.replicas", brokers_count >= 3 ? "2" : "1",
        kept ? "retention.ms" : NULL, "-1",
        "retention.bytes", "-1",
        NULL};
    /* clang-format on */
    return admin_create_topic(admin, topic, 1, copies, settings, err);
}

static void take_answers(rd_kafka_t *rk, struct answers *answers, int32_t wait_ms)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(rk);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, wait_ms);
    const rd_kafka_message_t *message;
    while (event && (message = rd_kafka_event_message_next(event)) != NULL) {
        answers->count++;
        answers->code = answers->code ? answers->code : message->err;
    }
    if (event) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
}

/* A full queue is waited for. */
static rd_kafka_resp_err_t put(rd_kafka_t *rk, const char *topic,
                               const struct publish_record *record, struct answers *answers,
                               int64_t until_ms)
{
    size_t value_len = record->value ? strlen(record->value) : 0;
    rd_kafka_resp_err_t code;
    do {
        code =
            rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0),
                              RD_KAFKA_V_KEY((void *)(uintptr_t)record->key, strlen(record->key)),
                              RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value, value_len),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            take_answers(rk, answers, POLL_MS);
        }
    } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && client_now_ms() < until_ms);
    return code;
}

struct publisher *publisher_new(const struct config_client *client, struct err *err)
{
    static const char *const extra[] = {"enable.idempotence", "true",     "acks",      "all",
                                        "message.timeout.ms", MESSAGE_MS, "linger.ms", "5",
                                        "compression.type",   "lz4",      NULL};
    struct client *producer = client_new(RD_KAFKA_PRODUCER, client, extra, RD_KAFKA_EVENT_DR, err);
    if (!producer) {
        return NULL;
    }
    struct publisher *publisher = must(calloc(1, sizeof(*publisher)));
    publisher->client = producer;
    return publisher;
}

void publisher_free(struct publisher *publisher)
{
    if (publisher) {
        client_free(publisher->client, CLIENT_END_MS);
        free(publisher);
    }
}

bool publish(struct publisher *publisher, struct admin *admin, const char *topic,
             const struct publish_record *records, size_t count, int32_t timeout_ms,
             struct err *err)
{
    int64_t until_ms = client_now_ms() + timeout_ms;
    struct answers answers = {0};
    if (!topic_there(admin, topic, err)) {
        return err_wrap(err, "topic '%s'", topic);
    }
    client_refresh(publisher->client);
    rd_kafka_t *rk = client_handle(publisher->client);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    size_t sent = 0;
    while (sent < count && !code) {
        code = put(rk, topic, &records[sent], &answers, until_ms);
        sent += code ? 0 : 1;
    }
    while (!code && answers.count < sent && client_now_ms() < until_ms) {
        take_answers(rk, &answers, POLL_MS);
        code = answers.code;
    }
    if (!code && answers.count < sent) {
        code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
    char lacks[ACL_LACKS_BYTES];
    return !code || client_err(publisher->client, err, code, "write to '%s': %s", topic,
                               client_why(publisher->client, code, rd_kafka_err2str(code),
                                          ACL_WRITE, ACL_TOPIC, topic, lacks));
}

/* ---- read ---- */

/* The old consumer calls, as in kafka/control_reader: no group, and no ACL on one is needed. */
struct reading {
    struct client *client;
    const char *topic;
    rd_kafka_topic_t *handle;
    rd_kafka_queue_t *queue;
    void (*each)(void *arg, const char *key, size_t key_len, const char *value, size_t value_len);
    void *arg;
    int64_t until_ms;
};

static bool begin_reading(struct reading *reading, int64_t begin, struct err *err)
{
    rd_kafka_t *rk = client_handle(reading->client);
    reading->queue = rd_kafka_queue_new(rk);
    reading->handle = rd_kafka_topic_new(rk, reading->topic, NULL);
    if (reading->handle &&
        rd_kafka_consume_start_queue(reading->handle, 0, begin, reading->queue) == 0) {
        return true;
    }
    rd_kafka_resp_err_t code = rd_kafka_last_error();
    if (reading->handle) { /* was not started */
        rd_kafka_topic_destroy(reading->handle);
        reading->handle = NULL;
    }
    return client_err(reading->client, err, code, "read '%s': %s", reading->topic,
                      rd_kafka_err2str(code));
}

static void end_reading(struct reading *reading)
{
    if (reading->handle) {
        rd_kafka_consume_stop(reading->handle, 0);
        rd_kafka_topic_destroy(reading->handle);
    }
    if (reading->queue) {
        rd_kafka_queue_destroy(reading->queue);
    }
    client_free(reading->client, CLIENT_END_MS);
}

/* @return where we stand: behind the last message; -1 with err: it cannot be read */
static int64_t take_message(struct reading *reading, rd_kafka_message_t *message, int64_t end,
                            struct err *err)
{
    char lacks[ACL_LACKS_BYTES];
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        return end;
    }
    if (message->err) {
        client_err(reading->client, err, message->err, "read '%s': %s", reading->topic,
                   client_why(reading->client, message->err, rd_kafka_message_errstr(message),
                              ACL_READ, ACL_TOPIC, reading->topic, lacks));
        return -1;
    }
    if (message->key) {
        reading->each(reading->arg, message->key, message->key_len, message->payload, message->len);
    }
    return message->offset + 1;
}

static bool read_to(struct reading *reading, int64_t end, struct err *err)
{
    int64_t at = 0;
    while (at >= 0 && at < end && client_now_ms() < reading->until_ms) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(reading->queue, POLL_MS);
        if (message) {
            at = take_message(reading, message, end, err);
            rd_kafka_message_destroy(message);
        }
    }
    if (at >= 0 && at < end) {
        at = -1;
        err_set(err, ERR_RETRY, "'%s' was not read to its end in time", reading->topic);
    }
    return at >= 0;
}

bool publish_read(const struct config_client *client, const char *topic, int32_t timeout_ms,
                  void (*each)(void *arg, const char *key, size_t key_len, const char *value,
                               size_t value_len),
                  void *arg, struct err *err)
{
    static const char *const extra[] = {"auto.offset.reset", "earliest", "enable.partition.eof",
                                        "true", NULL};
    int64_t begin = 0;
    int64_t end = 0;
    struct reading reading = {
        .topic = topic, .each = each, .arg = arg, .until_ms = client_now_ms() + timeout_ms};
    reading.client = client_new(RD_KAFKA_CONSUMER, client, extra, RD_KAFKA_EVENT_ERROR, err);
    if (!reading.client) {
        return false;
    }
    struct admin_topic found;
    struct admin admin = {.site = "hints", .client = reading.client, .timeout_ms = timeout_ms};
    bool ok = admin_describe_topic(&admin, topic, &found, err); /* a question would create it */
    if (ok) {
        rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
            client_handle(reading.client), topic, 0, &begin, &end, timeout_ms);
        ok = !code ||
             client_err(reading.client, err, code, "read '%s': %s", topic, rd_kafka_err2str(code));
    }
    ok = ok && begin_reading(&reading, begin, err) && (begin == end || read_to(&reading, end, err));
    end_reading(&reading);
    return ok;
}
