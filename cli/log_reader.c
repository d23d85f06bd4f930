#include "cli/log_reader.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/admin.h"
#include "kafka/wire.h"

#define QUEUE_KB "32768" /* fetched ahead: 32 MiB a side */

struct log_reader {
    const char *site;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    int32_t timeout_ms;
    rd_kafka_topic_t *topic; /* NULL = stopped */
    int32_t partition;
    int64_t next; /* offset that is asked for next */
    int64_t end;
    bool eof; /* the log's own end was reached: what comes later is not waited for */
    rd_kafka_message_t *front;
};

/* --- life --------------------------------------------------------------------------------------------------------- */

static void log_nothing(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk; /* what matters comes as an error of a read, and is said once */
    (void)level;
    (void)facility;
    (void)text;
}

struct log_reader *log_reader_new(const struct config_site *site, int32_t timeout_ms,
                                  struct err *err)
{
    /* clang-format off */
    static const char *const extra[] = {
        "enable.partition.eof", "true",
        "auto.offset.reset", "error",
        "isolation.level", "read_committed",
        "allow.auto.create.topics", "false",
        "check.crcs", "true",
        "queued.max.messages.kbytes", QUEUE_KB,
        "fetch.wait.max.ms", "10", /* the end is known when a Fetch comes back empty */
        "fetch.error.backoff.ms", "50",
        NULL};
    /* clang-format on */
    char why[512];
    rd_kafka_conf_t *conf = client_conf_new(&site->kafka, extra, err);
    if (conf == NULL) {
        return NULL;
    }
    rd_kafka_conf_set_log_cb(conf, log_nothing);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        err_set(err, ERR_CONFIG, "site %s: %s", site->name, why);
        return NULL;
    }
    client_conf_used(rk);
    struct log_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL) {
        abort();
    }
    reader->site = site->name;
    reader->rk = rk;
    reader->timeout_ms = timeout_ms;
    return reader;
}

static void drop_front(struct log_reader *reader)
{
    if (reader->front != NULL) {
        rd_kafka_message_destroy(reader->front);
        reader->front = NULL;
    }
}

void log_reader_stop(struct log_reader *reader)
{
    drop_front(reader);
    if (reader->topic != NULL) {
        rd_kafka_consume_stop(reader->topic, reader->partition);
        rd_kafka_topic_destroy(reader->topic);
        rd_kafka_queue_destroy(reader->queue); /* with what was fetched ahead */
        reader->topic = NULL;
        reader->queue = NULL;
    }
}

void log_reader_free(struct log_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    log_reader_stop(reader);
    rd_kafka_destroy_flags(reader->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    free(reader);
}

/* --- bounds ------------------------------------------------------------------------------------------------------- */

/* What passes by itself, or was not reached: ERR_RETRY; the topic or the right to read it is missing: ERR_REFUSED. */
static bool failed(const struct log_reader *reader, rd_kafka_resp_err_t code, const char *topic,
                   int32_t partition, const char *text, struct err *err)
{
    bool refused = code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
                   code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
                   code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
                   code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
                   code == RD_KAFKA_RESP_ERR__BAD_MSG || code == RD_KAFKA_RESP_ERR__BAD_COMPRESSION;
    return err_set_code(err, refused ? ERR_REFUSED : ERR_RETRY, code, "%s: %s:%d: %s", reader->site,
                        topic, partition, text != NULL ? text : rd_kafka_err2str(code));
}

bool log_reader_bounds(struct log_reader *reader, const char *topic, int32_t partition,
                       int64_t *out_begin, int64_t *out_end, struct err *err)
{
    int64_t begin;
    int64_t end;
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(reader->rk, topic, partition,
                                                                &begin, &end, reader->timeout_ms);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return failed(reader, code, topic, partition, NULL, err);
    }
    *out_begin = begin;
    *out_end = end;
    return true;
}

bool log_reader_since(struct log_reader *reader, const char *topic, int32_t partition,
                      int64_t wall_ms, int64_t *out, struct err *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *place = rd_kafka_topic_partition_list_add(list, topic, partition);
    place->offset = wall_ms;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(reader->rk, list, reader->timeout_ms);
    code = code == RD_KAFKA_RESP_ERR_NO_ERROR ? place->err : code;
    int64_t found = place->offset;
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return failed(reader, code, topic, partition, NULL, err);
    }
    *out = found < 0 ? -1 : found;
    return true;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

bool log_reader_start(struct log_reader *reader, const char *topic, int32_t partition,
                      int64_t begin, int64_t end, struct err *err)
{
    log_reader_stop(reader);
    reader->partition = partition;
    reader->next = begin;
    reader->end = end;
    reader->eof = false;
    reader->topic = rd_kafka_topic_new(reader->rk, topic, NULL);
    if (reader->topic == NULL) {
        return failed(reader, rd_kafka_last_error(), topic, partition, NULL, err);
    }
    reader->queue = rd_kafka_queue_new(reader->rk);
    if (rd_kafka_consume_start_queue(reader->topic, partition, begin, reader->queue) == -1) {
        rd_kafka_resp_err_t code = rd_kafka_last_error();
        rd_kafka_topic_destroy(reader->topic); /* was not started */
        rd_kafka_queue_destroy(reader->queue);
        reader->topic = NULL;
        reader->queue = NULL;
        return failed(reader, code, topic, partition, NULL, err);
    }
    return true;
}

void log_reader_extend(struct log_reader *reader, int64_t end)
{
    reader->end = end;
}

/* The beginning moved behind us while we read (retention): go on where the log begins now. */
static bool start_again(struct log_reader *reader, struct err *err)
{
    int64_t begin = -1;
    int64_t end = -1;
    char topic[256];
    snprintf(topic, sizeof(topic), "%s", rd_kafka_topic_name(reader->topic));
    if (!log_reader_bounds(reader, topic, reader->partition, &begin, &end, err)) {
        return false;
    }
    if (begin <= reader->next) {
        return failed(reader, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, topic, reader->partition,
                      "the log ends before the checkpoint", err);
    }
    return log_reader_start(reader, topic, reader->partition, begin, reader->end, err);
}

/* A message that is no record; it is destroyed by who read it. true: go on reading */
static bool take_event(struct log_reader *reader, const rd_kafka_message_t *message,
                       struct err *err)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        reader->next = message->offset > reader->next ? message->offset : reader->next;
        reader->eof = true;
        return true;
    }
    if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
        message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
        return start_again(reader, err);
    }
    failed(reader, message->err, rd_kafka_topic_name(reader->topic), reader->partition,
           rd_kafka_message_errstr(message), err);
    return err->kind == ERR_RETRY; /* it tries again by itself, until our time is up */
}

static bool fill(struct log_reader *reader, struct err *err)
{
    int64_t until_ms = clock_now_ms(clock_system()) + reader->timeout_ms;
    struct err why = {0};
    while (reader->front == NULL && !reader->eof && reader->next < reader->end) {
        int64_t left_ms = until_ms - clock_now_ms(clock_system());
        rd_kafka_message_t *message =
            left_ms <= 0 ? NULL : rd_kafka_consume_queue(reader->queue, (int)left_ms);
        if (message == NULL) {
            if (why.kind == ERR_NONE) {
                failed(reader, RD_KAFKA_RESP_ERR__TIMED_OUT, rd_kafka_topic_name(reader->topic),
                       reader->partition, "nothing came in time", &why);
            }
            *err = why;
            return false;
        }
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            reader->front = message;
            reader->next = message->offset;
            return true;
        }
        bool ok = take_event(reader, message, &why);
        rd_kafka_message_destroy(message);
        if (!ok) {
            *err = why;
            return false;
        }
    }
    return true;
}

static enum compare_read peek(void *arg, struct compare_record *out, struct err *err)
{
    struct log_reader *reader = arg;
    assert(reader->topic != NULL);
    if (reader->front == NULL && !fill(reader, err)) {
        return COMPARE_FAILED;
    }
    if (reader->front == NULL || reader->front->offset >= reader->end) {
        return COMPARE_END; /* what is in front may be shown when the end is moved */
    }
    out->offset = reader->front->offset;
    out->digest = log_reader_digest(reader->front);
    out->message = reader->front;
    return COMPARE_RECORD;
}

static void pop(void *arg)
{
    struct log_reader *reader = arg;
    reader->next = reader->front->offset + 1;
    drop_front(reader);
}

struct compare_side log_reader_side(struct log_reader *reader)
{
    return (struct compare_side){.peek = peek, .pop = pop, .arg = reader};
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static bool same_bytes(const void *a, size_t a_len, const void *b, size_t b_len)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    return a_len == b_len && memcmp(a, b, a_len) == 0;
}

struct header {
    const char *name;
    const void *value;
    size_t len;
};

/* Header `at`, or false behind the last. */
static bool header_get(const rd_kafka_headers_t *headers, size_t at, struct header *out)
{
    return headers != NULL && rd_kafka_header_get_all(headers, at, &out->name, &out->value,
                                                      &out->len) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static const rd_kafka_headers_t *headers_of(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers = NULL;
    return rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR ? headers
                                                                                     : NULL;
}

static bool same_headers(const rd_kafka_message_t *a, const rd_kafka_message_t *b)
{
    const rd_kafka_headers_t *left = headers_of(a);
    const rd_kafka_headers_t *right = headers_of(b);
    for (size_t i = 0;; i++) {
        struct header one;
        struct header other;
        bool has_one = header_get(left, i, &one);
        bool has_other = header_get(right, i, &other);
        if (!has_one || !has_other) {
            return has_one == has_other;
        }
        if (strcmp(one.name, other.name) != 0 ||
            !same_bytes(one.value, one.len, other.value, other.len)) {
            return false;
        }
    }
}

bool log_reader_same(const rd_kafka_message_t *a, const rd_kafka_message_t *b)
{
    rd_kafka_timestamp_type_t type;
    return same_bytes(a->key, a->key_len, b->key, b->key_len) &&
           same_bytes(a->payload, a->len, b->payload, b->len) &&
           rd_kafka_message_timestamp(a, &type) == rd_kafka_message_timestamp(b, &type) &&
           same_headers(a, b);
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u; /* 2^64 / golden ratio, odd */
    return hash ^ hash >> 29;
}

/* NULL and empty differ. */
static uint64_t mix_bytes(uint64_t hash, const void *data, size_t len)
{
    const uint8_t *at = data;
    hash = mix(hash, data == NULL ? UINT64_MAX : len);
    for (; data != NULL && len >= sizeof(uint64_t); len -= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        hash = mix(hash, word);
        at += sizeof(word);
    }
    uint64_t rest = 0;
    if (data != NULL && len > 0) {
        memcpy(&rest, at, len);
    }
    return mix(hash, rest);
}

uint64_t log_reader_digest(const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    const rd_kafka_headers_t *headers = headers_of(message);
    struct header header;
    uint64_t hash = mix(1, (uint64_t)rd_kafka_message_timestamp(message, &type));
    hash = mix_bytes(hash, message->key, message->key_len);
    hash = mix_bytes(hash, message->payload, message->len);
    for (size_t i = 0; header_get(headers, i, &header); i++) {
        hash = mix_bytes(hash, header.name, strlen(header.name));
        hash = mix_bytes(hash, header.value, header.len);
    }
    return hash;
}

static int32_t length_of(const void *data, size_t len)
{
    return data == NULL ? -1 : (int32_t)len;
}

static void put_bytes(struct writer *out, const void *data, size_t len)
{
    wire_put_varlong(out, length_of(data, len));
    if (data != NULL && len > 0) {
        writer_bytes(out, data, len);
    }
}

struct record log_reader_record(const rd_kafka_message_t *message, struct writer *headers)
{
    rd_kafka_timestamp_type_t type;
    const rd_kafka_headers_t *all = headers_of(message);
    struct header header;

    headers->len = 0;
    wire_put_varlong(headers, all == NULL ? 0 : (int64_t)rd_kafka_header_cnt(all));
    for (size_t i = 0; header_get(all, i, &header); i++) {
        put_bytes(headers, header.name, strlen(header.name));
        put_bytes(headers, header.value, header.len);
    }
    return (struct record){.offset = message->offset,
                           .timestamp = rd_kafka_message_timestamp(message, &type),
                           .key = message->key,
                           .key_len = length_of(message->key, message->key_len),
                           .value = message->payload,
                           .value_len = length_of(message->payload, message->len),
                           .headers = headers->data,
                           .headers_len = headers->len};
}
