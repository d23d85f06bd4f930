#include "kafka/control_tail.h"

#include <string.h>

#include "kafka/client.h"

#define PARTITION 0
#define POLL_MS   100

static struct client *new_client(const struct config_client *settings, struct err *err)
{
    static const char *const extra[] = {"auto.offset.reset",
                                        "error",
                                        "allow.auto.create.topics",
                                        "false",
                                        "check.crcs",
                                        "true",
                                        "fetch.error.backoff.ms",
                                        "50",
                                        NULL};
    return client_new(RD_KAFKA_CONSUMER, settings, extra, 0, err);
}

static bool is_bytes(const char *text, const void *bytes, size_t len)
{
    size_t text_len = text != NULL ? strlen(text) : 0;
    return text_len == len && (len == 0 || memcmp(text, bytes, len) == 0);
}

struct tail {
    struct client *client;
    const char *topic;
    int64_t next; /* offset to be read */
    int64_t begin;
    const struct control_record *records;
    size_t count;
    bool same; /* so far */
};

static bool take(struct tail *tail, const rd_kafka_message_t *message, struct err *err)
{
    if (message->err) {
        char lacks[ACL_LACKS_BYTES];
        return client_err(tail->client, err, message->err, "read '%s': %s", tail->topic,
                          client_why(tail->client, message->err, rd_kafka_message_errstr(message),
                                     ACL_READ, ACL_TOPIC, tail->topic, lacks));
    }
    const struct control_record *ours =
        &tail->records[(size_t)(message->offset - tail->begin) % tail->count];
    tail->same = tail->same && message->offset == tail->next &&
                 is_bytes(ours->key, message->key, message->key_len) &&
                 is_bytes(ours->value, message->payload, message->len);
    tail->next = message->offset + 1;
    return true;
}

static bool read_to(struct tail *tail, rd_kafka_topic_t *handle, int64_t end, int64_t until_ms,
                    struct err *err)
{
    bool ok = true;
    while (ok && tail->same && tail->next < end) {
        if (client_now_ms() >= until_ms) {
            return client_err(tail->client, err, RD_KAFKA_RESP_ERR__TIMED_OUT,
                              "read '%s': not at its end %lld in time", tail->topic,
                              (long long)end);
        }
        rd_kafka_message_t *message = rd_kafka_consume(handle, PARTITION, POLL_MS);
        if (message != NULL) {
            ok = take(tail, message, err);
            rd_kafka_message_destroy(message);
        }
    }
    return ok;
}

bool control_tail_compare(const struct config_client *settings, const char *topic, int64_t begin,
                          int64_t end, const struct control_record *records, size_t count,
                          int64_t until_ms, bool *out_same, struct err *err)
{
    struct tail tail = {.topic = topic,
                        .next = begin,
                        .begin = begin,
                        .records = records,
                        .count = count,
                        .same = true};
    tail.client = new_client(settings, err);
    if (tail.client == NULL) {
        return false;
    }
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client_handle(tail.client), topic, NULL);
    bool ok = handle != NULL && rd_kafka_consume_start(handle, PARTITION, begin) == 0;
    if (ok) {
        ok = read_to(&tail, handle, end, until_ms, err);
        rd_kafka_consume_stop(handle, PARTITION);
    } else {
        client_err(tail.client, err, rd_kafka_last_error(), "read '%s': %s", topic,
                   rd_kafka_err2str(rd_kafka_last_error()));
    }
    if (handle != NULL) {
        rd_kafka_topic_destroy(handle);
    }
    client_free(tail.client, CLIENT_END_MS);
    *out_same = tail.same;
    return ok;
}
