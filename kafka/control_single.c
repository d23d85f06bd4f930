#include "kafka/control_single.h"

#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/admin_inside.h"
#include "kafka/control_tail.h"
#include "kafka/path_probe.h"

#define PARTITION 0
#define POLL_MS   20
#define ASK_MS    3000 /* before a call says its own */
/* One record's way to the broker; below a call's 10 s. */
#define MESSAGE_MS "8000"
/* As the topic takes them, and base/json. */
#define MESSAGE_BYTES "16777216"
/* Records of one call go in one batch, which stands or not: none leaves before the last of them was given to librdkafka. */
#define LINGER_MS "30"

struct control_single {
    struct client *client; /* writes */
    /* Asks, on a handle of its own: nothing waits behind a Produce that is not answered, and no report gets among its answers. */
    struct admin *admin;
    const struct config_client *settings;
    char topic[CONTROL_TOPIC_BYTES];
    bool idempotent; /* until the cluster refuses that, too */
    int64_t end;     /* behind the last record that we wrote or saw */
    /* What was sent behind it and may stand there, or not: the answer was lost. Copies. */
    struct control_record *unsure;
    size_t unsure_count;
    uintptr_t write; /* number of the write: reports of those before are not about it */
};

static struct client *new_client(const struct control_single *single, struct err *err)
{
    /* clang-format off */
    const char *const extra[] = {
        "enable.idempotence", single->idempotent ? "true" : "false",
        "max.in.flight.requests.per.connection", "1",
        "acks", "all",
        "message.timeout.ms", MESSAGE_MS,
        "message.max.bytes", MESSAGE_BYTES,
        "batch.size", MESSAGE_BYTES,
        "compression.type", "lz4",
        "linger.ms", LINGER_MS,
        NULL};
    /* clang-format on */
    return client_new(RD_KAFKA_PRODUCER, single->settings, extra,
                      RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR, err);
}

static int32_t left_ms(int64_t until_ms)
{
    int64_t left = until_ms - client_now_ms();
    return left > 1 ? (int32_t)left : 1;
}

struct control_single *control_single_new(const struct config_client *settings, const char *topic,
                                          struct err *err)
{
    struct control_single *single = must(calloc(1, sizeof(*single)));
    single->settings = settings;
    single->idempotent = true;
    memcpy(single->topic, topic, strlen(topic) + 1);
    single->admin = admin_new("control topic", settings, ASK_MS, err);
    if (single->admin == NULL || (single->client = new_client(single, err)) == NULL) {
        control_single_free(single);
        return NULL;
    }
    return single;
}

bool control_single_find(struct control_single *single, int64_t until_ms, struct err *err)
{
    struct admin_topic found;
    admin_timeout(single->admin, left_ms(until_ms));
    return admin_describe_topic(single->admin, single->topic, &found, err);
}

/* Keys and values are the caller's; NULL values stay NULL. */
static struct control_record *copy_records(const struct control_record *records, size_t count)
{
    struct control_record *copies = must(calloc(count, sizeof(*copies)));
    for (size_t i = 0; i < count; i++) {
        copies[i].key = must(strdup(records[i].key));
        copies[i].value = records[i].value != NULL ? must(strdup(records[i].value)) : NULL;
    }
    return copies;
}

static void be_sure(struct control_single *single)
{
    for (size_t i = 0; i < single->unsure_count; i++) {
        free((char *)(uintptr_t)single->unsure[i].key);
        free((char *)(uintptr_t)single->unsure[i].value);
    }
    free(single->unsure);
    single->unsure = NULL;
    single->unsure_count = 0;
}

static void be_unsure(struct control_single *single, const struct control_record *records,
                      size_t count)
{
    be_sure(single);
    single->unsure = copy_records(records, count);
    single->unsure_count = count;
}

void control_single_free(struct control_single *single)
{
    if (single != NULL) {
        be_sure(single);
        client_free(single->client, CLIENT_END_MS);
        admin_free(single->admin);
        free(single);
    }
}

static bool ask_end(struct control_single *single, int64_t until_ms, int64_t *out, struct err *err)
{
    struct admin_offset offset = {.topic = single->topic, .partition = PARTITION};
    char lacks[ACL_LACKS_BYTES];
    struct client *asks = single->admin->client;
    admin_timeout(single->admin, left_ms(until_ms));
    if (!admin_list_offsets(single->admin, OFFSET_SPEC_LATEST, &offset, 1, err)) {
        return false;
    }
    *out = offset.offset;
    return offset.error == 0 ||
           client_err(
               asks, err, offset.error, "end of '%s': %s", single->topic,
               client_why(asks, offset.error, NULL, ACL_DESCRIBE, ACL_TOPIC, single->topic, lacks));
}

bool control_single_begin(struct control_single *single, int64_t until_ms, struct err *err)
{
    client_refresh(single->client);
    be_sure(single);
    return ask_end(single, until_ms, &single->end, err);
}

bool control_single_unsure(const struct control_single *single)
{
    return single->unsure_count > 0;
}

bool control_single_is_old(struct control_single *single)
{
    return client_is_old(single->client);
}

/* --- write ----------------------------------------------------------------------------------------------------------- */

static bool another(const struct control_single *single, struct err *err)
{
    return err_set_code(err, ERR_FATAL, RD_KAFKA_RESP_ERR__FENCED,
                        "write to '%s': another writer has written meanwhile", single->topic);
}

/* Still ours? What was not answered may stand there or not, or twice; what stands there is read. */
static bool still_ours(struct control_single *single, int64_t until_ms, struct err *err)
{
    int64_t end = -1;
    if (!ask_end(single, until_ms, &end, err)) {
        return false;
    }
    bool ours = end == single->end;
    if (end > single->end && single->unsure_count > 0 &&
        !control_tail_compare(single->settings, single->topic, single->end, end, single->unsure,
                              single->unsure_count, until_ms, &ours, err)) {
        return false;
    }
    if (!ours) {
        return another(single, err);
    }
    single->end = end;
    be_sure(single);
    return true;
}

/* Answered with another offset than the one behind ours, or with none: librdkafka has sent again what was not answered (twice in the
 * log without idempotence; a duplicate without an offset with it), or somebody else has written. What stands there says which. */
static bool find_there(struct control_single *single, const struct control_record *records,
                       size_t count, int64_t until_ms, struct err *err)
{
    int64_t begin = single->end;
    be_unsure(single, records, count);
    return still_ours(single, until_ms, err) &&
           (single->end >= begin + (int64_t)count || another(single, err));
}

struct reports { /* of one write */
    size_t count;
    int64_t first; /* offset of the first record; -1 = not told */
    int64_t last;
    rd_kafka_resp_err_t code; /* the first that is none */
};

static void take_reports(struct control_single *single, struct reports *reports)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(client_handle(single->client));
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, POLL_MS);
    const rd_kafka_message_t *message;
    while (event != NULL && (message = rd_kafka_event_message_next(event)) != NULL) {
        if ((uintptr_t)message->_private != single->write) {
            continue;
        }
        reports->code = reports->code ? reports->code : message->err;
        reports->first = reports->count == 0 ? message->offset : reports->first;
        reports->last = message->offset;
        reports->count++;
    }
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
}

static rd_kafka_resp_err_t put_all(struct control_single *single,
                                   const struct control_record *records, size_t count)
{
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (size_t i = 0; i < count && !code; i++) {
        const struct control_record *record = &records[i];
        size_t value_len = record->value != NULL ? strlen(record->value) : 0;
        code =
            rd_kafka_producev(client_handle(single->client), RD_KAFKA_V_TOPIC(single->topic),
                              RD_KAFKA_V_PARTITION(PARTITION),
                              RD_KAFKA_V_KEY((void *)(uintptr_t)record->key, strlen(record->key)),
                              RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value, value_len),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                              RD_KAFKA_V_OPAQUE((void *)single->write), RD_KAFKA_V_END);
    }
    return code;
}

/* The records that were given and not reported: nothing of them may leave later. */
static void forget_unsent(struct control_single *single)
{
    rd_kafka_purge(client_handle(single->client), RD_KAFKA_PURGE_F_QUEUE);
}

static rd_kafka_resp_err_t write_once(struct control_single *single,
                                      const struct control_record *records, size_t count,
                                      int64_t until_ms, struct reports *reports)
{
    rd_kafka_t *rk = client_handle(single->client);
    *reports = (struct reports){.first = -1, .last = -1};
    single->write++;
    rd_kafka_resp_err_t code = put_all(single, records, count);
    while (!code && reports->count < count && !reports->code && client_now_ms() < until_ms) {
        take_reports(single, reports);
        code = rd_kafka_fatal_error(rk, NULL, 0);
    }
    if (!code) {
        code =
            reports->count < count && !reports->code ? RD_KAFKA_RESP_ERR__TIMED_OUT : reports->code;
    }
    if (code) {
        forget_unsent(single);
    }
    return code;
}

/* A handle that met a fatal error is of no more use. */
static bool renew(struct control_single *single, struct err *err)
{
    struct client *fresh = new_client(single, err);
    if (fresh == NULL) {
        return false;
    }
    client_free(single->client, CLIENT_END_MS);
    single->client = fresh;
    return true;
}

/* What the write before left on its way is heard of first: it must not come to stand between our look at the end and what we
 * write behind it. librdkafka gives it up after MESSAGE_MS. */
static bool settled(struct control_single *single, int64_t until_ms, struct err *err)
{
    rd_kafka_t *rk = client_handle(single->client);
    struct reports ignored = {0};
    single->write++;
    while (rd_kafka_outq_len(rk) > 0 && client_now_ms() < until_ms) {
        take_reports(single, &ignored);
    }
    if (rd_kafka_outq_len(rk) > 0) {
        return err_set_code(err, ERR_RETRY, RD_KAFKA_RESP_ERR__TIMED_OUT,
                            "write to '%s': the write before it is still on its way",
                            single->topic);
    }
    return !rd_kafka_fatal_error(rk, NULL, 0) || renew(single, err);
}

static bool failed(struct control_single *single, rd_kafka_resp_err_t code,
                   const struct control_record *records, size_t count, struct err *err)
{
    char lacks[ACL_LACKS_BYTES];
    client_err(single->client, err, code, "write to '%s': %s", single->topic,
               client_why(single->client, code, rd_kafka_err2str(code), ACL_WRITE, ACL_TOPIC,
                          single->topic, lacks));
    be_sure(single);
    if (!acl_refusal(code)) {
        be_unsure(single, records, count);
    }
    return false;
}

bool control_single_write(struct control_single *single, const struct control_record *records,
                          size_t count, int64_t until_ms, struct err *err)
{
    struct reports reports;
    client_refresh(single->client);
    if (!settled(single, until_ms, err) || !still_ours(single, until_ms, err)) {
        return false;
    }
    rd_kafka_resp_err_t code = write_once(single, records, count, until_ms, &reports);
    if (single->idempotent && path_probe_refuses_idempotence(code)) {
        single->idempotent = false;
        if (!renew(single, err)) {
            return false;
        }
        code = write_once(single, records, count, until_ms, &reports);
    }
    if (code) {
        return failed(single, code, records, count, err);
    }
    int64_t end = single->end + (int64_t)count;
    if (reports.first != single->end || reports.last + 1 != end) {
        return find_there(single, records, count, until_ms, err);
    }
    single->end = end;
    return true;
}
