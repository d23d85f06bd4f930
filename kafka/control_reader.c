/* See control_reader.h. The old consumer calls (rd_kafka_consume_...) read one partition without a group: no coordinator is
 * looked for, no ACL on a group needed.
 *
 * "To the end" = the last stable offset that the leader told, after that the topic's id was still ours: ids are never used
 * twice, so the offset was of this topic. A topic made anew, or one that became shorter, is read again from its beginning
 * with nothing remembered.
 */
#include "kafka/control_reader.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/heap.h"
#include "base/log.h"
#include "kafka/admin_inside.h"
#include "kafka/control_records.h"

#define PARTITION    0
#define ASK_MS       3000 /* one question: 10 round trips between the farthest regions */
#define CREATE_MS    5000
#define SLICE_MS     100        /* between two looks at `stop` */
#define SETTLE_MS    100        /* until a leader is asked again that is not settled yet */
#define RECORD_BYTES (16 << 20) /* as base/json takes them */

struct control_reader {
    /* Two handles: a broker answers a connection's requests one after the other, so questions would wait behind the
     * Fetch that waits for records. */
    struct admin *admin;
    struct client *client;
    char topic[CONTROL_TOPIC_BYTES];
    const struct config_client *settings;
    struct uuid id; /* zero = not reading yet */
    bool warm;      /* `admin` had an answer */
    bool keep;      /* operations */
    bool evidence;  /* and that of their steps */
    struct control_records *records;
    rd_kafka_topic_t *handle;
    pthread_mutex_t mutex; /* guards the pointer `queue` against control_reader_wake() */
    rd_kafka_queue_t *queue;
    int64_t eof_offset; /* everything below was read */
    int64_t end_offset; /* of the last whole read */
    struct err broken;  /* kind ERR_NONE = reading */
};

char *control_topic_name(const char *service, char out[CONTROL_TOPIC_BYTES])
{
    snprintf(out, CONTROL_TOPIC_BYTES, "ferry.control.%s", service);
    return out;
}

/* ---- life ---- */

static struct client *new_client(const struct config_client *settings, struct err *err)
{
    /* clang-format off */
    static const char *const extra[] = {
        "isolation.level", "read_committed",
        "enable.partition.eof", "true",
        "enable.auto.commit", "false",
        "enable.auto.offset.store", "false",
        "auto.offset.reset", "error",
        "allow.auto.create.topics", "false",
        "check.crcs", "true",
        "fetch.error.backoff.ms", "50",
        /* The end is known when a Fetch comes back empty: so late after the last record. */
        "fetch.wait.max.ms", "100",
        NULL};
    /* clang-format on */
    return client_new(RD_KAFKA_CONSUMER, settings, extra, 0, err);
}

struct control_reader *control_reader_new(const struct config_client *settings, const char *service,
                                          struct err *err)
{
    struct admin *admin = admin_new("control topic", settings, ASK_MS, err);
    struct client *client = admin ? new_client(settings, err) : NULL;
    if (!client) {
        admin_free(admin);
        return NULL;
    }
    struct control_reader *reader = must(calloc(1, sizeof(*reader)));
    control_topic_name(service, reader->topic);
    reader->settings = settings;
    pthread_mutex_init(&reader->mutex, NULL);
    reader->admin = admin;
    reader->client = client;
    reader->records = control_records_new();
    reader->queue = rd_kafka_queue_new(client_handle(client));
    return reader;
}

static void stop_reading(struct control_reader *reader)
{
    if (reader->handle) {
        rd_kafka_consume_stop(reader->handle, PARTITION);
        rd_kafka_topic_destroy(reader->handle);
        reader->handle = NULL;
    }
}

void control_reader_free(struct control_reader *reader, int32_t wait_ms)
{
    if (!reader) {
        return;
    }
    stop_reading(reader);
    rd_kafka_queue_destroy(reader->queue);
    client_free(reader->client, wait_ms);
    admin_free(reader->admin);
    control_records_free(reader->records);
    pthread_mutex_destroy(&reader->mutex);
    free(reader);
}

static void keep(struct control_reader *reader, bool evidence)
{
    reader->keep = true;
    reader->evidence = evidence;
    control_records_keep(reader->records, evidence);
}

void control_reader_keep(struct control_reader *reader)
{
    keep(reader, true);
}

void control_reader_keep_heads(struct control_reader *reader)
{
    keep(reader, false);
}

const json_t *control_reader_operations(const struct control_reader *reader)
{
    return control_records_operations(reader->records);
}

/* ---- create ---- */

/* As it is written there, made or asked for alone. */
static bool create(struct admin *admin, const char *topic, bool ask, struct err *err)
{
    char cluster[64];
    char size[16];
    int32_t brokers_count = 0;
    struct err why = {0};
    if (!admin_cluster_id(admin, cluster, &brokers_count, err)) {
        return false;
    }
    int32_t copies = brokers_count < 3 ? brokers_count : 3;
    snprintf(size, sizeof(size), "%d", RECORD_BYTES);
    bool kept = admin->settings->single_writer; /* all of it: the last record of a key wins */
    /* Nothing that a managed cluster may refuse. */
    /* clang-format off */
    const char *const settings[] = {
        "cleanup.policy", kept ? "delete" : "compact",
        "min.insync.replicas", brokers_count >= 3 ? "2" : "1",
        "max.message.bytes", size, /* a list of 100,000 topics is one record, compressed */
        kept ? "retention.ms" : NULL, "-1",
        "retention.bytes", "-1",
        NULL};
    /* clang-format on */
    bool ok = (ask ? admin_may_make_topic
                   : admin_create_topic)(admin, topic, 1, copies > 0 ? copies : 1, settings, &why);
    if (!ok && why.code == RD_KAFKA_RESP_ERR_POLICY_VIOLATION && !kept) {
        err_hint(&why, "a cluster that refuses compaction wants \"control\": \"single-writer\" "
                       "(docs/control.md)");
    }
    if (!ok && err) {
        *err = why;
    }
    return ok;
}

bool control_reader_create(struct control_reader *reader, struct err *err)
{
    reader->admin->timeout_ms = CREATE_MS;
    return create(reader->admin, reader->topic, false, err);
}

bool control_may_create(struct admin *admin, const char *service, struct err *err)
{
    char topic[CONTROL_TOPIC_BYTES];
    return create(admin, control_topic_name(service, topic), true, err);
}

/* ---- begin ---- */

static void take_client(struct control_reader *reader, struct client *client)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client_handle(client));
    pthread_mutex_lock(&reader->mutex);
    rd_kafka_queue_t *old = reader->queue;
    reader->queue = queue;
    pthread_mutex_unlock(&reader->mutex);
    rd_kafka_queue_destroy(old);
    client_free(reader->client, CLIENT_END_MS);
    reader->client = client;
}

/* Begin anew with a new handle: the old one remembers leader epochs and offsets of a topic that is no more. */
static bool forget_all(struct control_reader *reader, struct err *err)
{
    if (reader->handle || client_is_old(reader->client)) {
        struct client *client = new_client(reader->settings, err);
        if (!client) {
            return false;
        }
        stop_reading(reader);
        take_client(reader, client);
    }
    control_records_free(reader->records);
    reader->records = control_records_new();
    if (reader->keep) {
        control_records_keep(reader->records, reader->evidence);
    }
    reader->id = (struct uuid){0};
    reader->eof_offset = -1;
    reader->end_offset = 0;
    reader->broken = (struct err){0};
    return true;
}

/* At a number: RD_KAFKA_OFFSET_BEGINNING would wait half a second for librdkafka's timer. */
static bool begin(struct control_reader *reader, const struct uuid *id, struct err *err)
{
    rd_kafka_t *rk = client_handle(reader->client);
    struct admin_offset first = {.topic = reader->topic, .partition = PARTITION};
    if (!admin_list_offsets(reader->admin, OFFSET_SPEC_EARLIEST, &first, 1, err)) {
        return false;
    }
    reader->handle = rd_kafka_topic_new(rk, reader->topic, NULL);
    if (!reader->handle || first.error ||
        rd_kafka_consume_start_queue(reader->handle, PARTITION, first.offset, reader->queue) ==
            -1) {
        int code = first.error ? first.error : (int)rd_kafka_last_error();
        if (reader->handle) { /* was not started */
            rd_kafka_topic_destroy(reader->handle);
            reader->handle = NULL;
        }
        char lacks[ACL_LACKS_BYTES];
        return client_err(
            reader->client, err, code, "read '%s': %s", reader->topic,
            client_why(reader->client, code, NULL, ACL_READ, ACL_TOPIC, reader->topic, lacks));
    }
    reader->id = *id;
    return true;
}

/* ---- records ---- */

static void take_message(struct control_reader *reader, const rd_kafka_message_t *message)
{
    struct err bad;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        reader->eof_offset = message->offset;
        return;
    }
    if (message->err) {
        char lacks[ACL_LACKS_BYTES];
        client_err(reader->client, &reader->broken, message->err, "read '%s': %s", reader->topic,
                   client_why(reader->client, message->err, rd_kafka_message_errstr(message),
                              ACL_READ, ACL_TOPIC, reader->topic, lacks));
        return;
    }
    if (!control_records_put(reader->records, message->key, message->key_len, message->payload,
                             message->len, &bad)) {
        log_warn("control.unreadable", "topic=%s offset=%lld why=%s", reader->topic,
                 (long long)message->offset, log_quote(bad.what).text);
    }
}

/* One message, or nothing within wait_ms. */
static bool take_one(struct control_reader *reader, int32_t wait_ms)
{
    rd_kafka_message_t *message = rd_kafka_consume_queue(reader->queue, wait_ms);
    if (!message) {
        return false;
    }
    take_message(reader, message);
    rd_kafka_message_destroy(message);
    return true;
}

static bool asked_to_stop(const atomic_bool *stop)
{
    return stop && atomic_load(stop);
}

static bool read_up_to(struct control_reader *reader, int64_t end_offset, int64_t until_ms,
                       const atomic_bool *stop, struct err *err)
{
    while (reader->eof_offset < end_offset) {
        int64_t left_ms = until_ms - client_now_ms();
        if (left_ms <= 0 || asked_to_stop(stop)) {
            return client_err(reader->client, err, RD_KAFKA_RESP_ERR__TIMED_OUT,
                              "read '%s': not at its end %lld in time", reader->topic,
                              (long long)end_offset);
        }
        take_one(reader, left_ms < SLICE_MS ? (int32_t)left_ms : SLICE_MS);
        if (reader->broken.kind != ERR_NONE) {
            if (err) {
                *err = reader->broken;
            }
            return false;
        }
    }
    return true;
}

/* ---- to the end ---- */

/* librdkafka looks for a partition's leader through whatever connection is up; a handle that has none yet and signs in may
 * miss the moment and wait out its time (one in twenty, librdkafka 2.14 and SASL). A question to any broker is waited for. */
static bool warm_up(struct control_reader *reader, struct err *err)
{
    char cluster[64];
    int32_t brokers_count;
    reader->warm = reader->warm || admin_cluster_id(reader->admin, cluster, &brokers_count, err);
    return reader->warm;
}

static bool ask_end(struct control_reader *reader, struct admin_topic *topic, int64_t *out_end,
                    struct err *err)
{
    struct admin_offset offset = {.topic = reader->topic, .partition = PARTITION};
    struct err why = {0};
    if (!warm_up(reader, err)) {
        return false;
    }
    bool listed = admin_list_offsets(reader->admin, OFFSET_SPEC_STABLE, &offset, 1, &why);
    /* Asked also when that failed: it is the one that says "does not exist" at once. */
    if (!admin_describe_topic(reader->admin, reader->topic, topic, err)) {
        return false;
    }
    if (!listed) {
        if (err) {
            *err = why;
        }
        return false;
    }
    if (offset.error != 0) {
        char lacks[ACL_LACKS_BYTES];
        return client_err(reader->client, err, offset.error, "end of '%s': %s", reader->topic,
                          client_why(reader->client, offset.error, NULL, ACL_DESCRIBE, ACL_TOPIC,
                                     reader->topic, lacks));
    }
    if (topic->partitions_count != 1) {
        return err_set(err, ERR_REFUSED, "topic '%s' has %d partitions, a control topic has one",
                       reader->topic, topic->partitions_count);
    }
    *out_end = offset.offset;
    return true;
}

static bool is_other(struct control_reader *reader, const struct uuid *id, int64_t end_offset)
{
    return reader->broken.kind != ERR_NONE || !uuid_equal(&reader->id, id) ||
           end_offset < reader->end_offset || client_is_old(reader->client);
}

bool control_reader_read(struct control_reader *reader, int32_t timeout_ms, const atomic_bool *stop,
                         struct err *err)
{
    int64_t until_ms = client_now_ms() + timeout_ms;
    struct admin_topic topic;
    int64_t end_offset = -1;
    reader->admin->timeout_ms = timeout_ms < ASK_MS ? timeout_ms : ASK_MS;
    client_refresh(reader->client);
    client_drop_events(reader->client);
    if (!ask_end(reader, &topic, &end_offset, err)) {
        return false;
    }
    if (is_other(reader, &topic.id, end_offset) &&
        !(forget_all(reader, err) && begin(reader, &topic.id, err))) {
        return false;
    }
    if (!read_up_to(reader, end_offset, until_ms, stop, err)) {
        return false;
    }
    reader->end_offset = end_offset;
    return true;
}

struct control_state *control_reader_state(const struct control_reader *reader, struct err *out_bad)
{
    struct control_state *state = control_records_state(reader->records);
    const struct err *bad = control_records_bad(reader->records);
    state->topic_id = reader->id;
    state->end_offset = reader->end_offset;
    *out_bad = bad ? *bad : (struct err){0};
    return state;
}

void control_reader_wait(struct control_reader *reader, int32_t wait_ms)
{
    if (take_one(reader, wait_ms)) {
        while (take_one(reader, 0)) { /* bounded by what librdkafka has fetched ahead */
        }
    }
}

void control_reader_wake(struct control_reader *reader)
{
    pthread_mutex_lock(&reader->mutex);
    rd_kafka_queue_yield(reader->queue);
    pthread_mutex_unlock(&reader->mutex);
}

/* ---- once, for the command ---- */

static int32_t left_of(int64_t until_ms)
{
    int64_t left = until_ms - client_now_ms();
    return left > 1 ? (int32_t)left : 1;
}

/* What a cluster says for a moment that has just started, or moves the leader. */
static bool settles(int code)
{
    return code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_NOT_LEADER_OR_FOLLOWER ||
           code == RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH ||
           code == RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE;
}

static bool read_once(struct control_reader *reader, int32_t timeout_ms, struct err *err)
{
    const struct timespec nap = {.tv_nsec = SETTLE_MS * 1000000L};
    int64_t until_ms = client_now_ms() + timeout_ms;
    struct err why = {0};
    while (!control_reader_read(reader, left_of(until_ms), NULL, &why)) {
        if (!settles(why.code) || left_of(until_ms) <= SETTLE_MS) {
            if (err) {
                *err = why;
            }
            return false;
        }
        nanosleep(&nap, NULL);
    }
    return true;
}

static struct control_state *read_keeping(const struct config_client *client, const char *service,
                                          int32_t timeout_ms, bool evidence,
                                          json_t **out_operations, struct err *err)
{
    struct err bad;
    struct control_state *state = NULL;
    struct control_reader *reader = control_reader_new(client, service, err);
    if (!reader) {
        return NULL;
    }
    if (out_operations) {
        keep(reader, evidence);
    }
    if (read_once(reader, timeout_ms, err)) {
        state = control_reader_state(reader, &bad);
        state->read_ms = clock_now_ms(clock_system());
        if (out_operations) {
            *out_operations = json_deep_copy(control_reader_operations(reader));
        }
    }
    control_reader_free(reader, CLIENT_END_MS);
    return state;
}

struct control_state *control_read_operations(const struct config_client *client,
                                              const char *service, int32_t timeout_ms,
                                              json_t **out_operations, struct err *err)
{
    return read_keeping(client, service, timeout_ms, true, out_operations, err);
}

struct control_state *control_read_heads(const struct config_client *client, const char *service,
                                         int32_t timeout_ms, json_t **out_operations,
                                         struct err *err)
{
    return read_keeping(client, service, timeout_ms, false, out_operations, err);
}

struct control_state *control_read(const struct config_client *client, const char *service,
                                   int32_t timeout_ms, struct err *err)
{
    return read_keeping(client, service, timeout_ms, false, NULL, err);
}

bool control_create(const struct config_client *client, const char *service, struct err *err)
{
    struct control_reader *reader = control_reader_new(client, service, err);
    bool ok = reader && control_reader_create(reader, err);
    control_reader_free(reader, CLIENT_END_MS);
    return ok;
}
