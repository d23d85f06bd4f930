#include "failover/loss.h"

#include <hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "mirror/beat_rows.h"

/* --- what workers told last --------------------------------------------------------------------------------------- */

/* Of this link: {WORKER: its heartbeat}. */
static json_t *workers_of(struct operation *op)
{
    char link[300];
    struct err err = {0};
    json_t *out = json_object();
    if (op->redis == NULL) {
        return out;
    }
    char *key = operation_key(op, "workers");
    const char *argv[] = {"HGETALL", key};
    redisReply *reply = redis_sync_call(op->redis, 2, argv, NULL, &err);
    free(key);
    if (reply == NULL) {
        operation_drop_redis(op, &err);
        return out;
    }
    snprintf(link, sizeof(link), "%s>%s", op->from->name, op->to->name);
    bool pairs = reply->type == REDIS_REPLY_ARRAY || reply->type == REDIS_REPLY_MAP;
    for (size_t i = 0; pairs && i + 1 < reply->elements; i += 2) {
        const redisReply *name = reply->element[i];
        const redisReply *value = reply->element[i + 1];
        if (name->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING) {
            continue;
        }
        json_t *worker = json_parse(value->str, value->len, "worker", NULL);
        const char *of = json_string_value(json_object_get(worker, "link"));
        if (of != NULL && strcmp(of, link) == 0 && beat_rows_unpack(worker)) {
            json_object_set(out, name->str, worker);
        }
        json_decref(worker);
    }
    freeReplyObject(reply);
    return out;
}

static void raise(json_t *seen, const char *key, json_int_t value)
{
    if (value > json_integer_value(json_object_get(seen, key))) {
        json_object_set_new(seen, key, json_integer(value));
    }
}

/* Two workers may have had a partition one after the other: the higher end is the later one. */
static void see_part(json_t *seen, const json_t *part)
{
    char key[300];
    json_t *ends = json_object_get(seen, "ends");
    const char *topic = json_string_value(json_object_get(part, "topic"));
    json_t *end = json_object_get(part, "seen_end");
    if (topic == NULL || !json_is_integer(end) || json_integer_value(end) < 0) {
        return;
    }
    snprintf(key, sizeof(key), "%.249s:%d", topic,
             (int)json_integer_value(json_object_get(part, "partition")));
    raise(ends, key, json_integer_value(end));
    if (json_object_get(ends, key) == NULL) { /* 0: it is empty */
        json_object_set(ends, key, end);
    }
    raise(seen, "last_seen_ms", json_integer_value(json_object_get(part, "seen_ms")));
}

static void see_worker(json_t *seen, const json_t *worker)
{
    size_t index;
    json_t *part;
    double rate = json_number_value(json_object_get(worker, "seen_records_per_s"));
    json_array_foreach (json_object_get(worker, "partitions"), index, part) {
        see_part(seen, part);
    }
    json_object_set_new(
        seen, "records_per_s",
        json_real(rate + json_number_value(json_object_get(seen, "records_per_s"))));
}

json_t *loss_seen(struct operation *op)
{
    const char *name;
    json_t *worker;
    json_t *workers = workers_of(op);
    json_t *seen = json_pack("{s{}}", "ends");
    json_object_foreach (workers, name, worker) {
        see_worker(seen, worker);
    }
    json_decref(workers);
    if (json_object_get(seen, "last_seen_ms") ==
        NULL) { /* nobody has a partition, or ever saw an end */
        json_decref(seen);
        return json_null();
    }
    return seen;
}

/* Offsets that workers saw at the source, beyond what is mirrored now. They may be transaction markers or aborted records, so
 * they say nothing of how many records are gone at least. */
static void take_seen(struct loss *loss, const struct positions *positions, const json_t *seen)
{
    const json_t *ends = json_object_get(seen, "ends");
    if (!json_is_object(seen)) {
        return;
    }
    loss->at_least = 0;
    loss->seen_offsets = 0;
    for (size_t i = 0; i < positions->count; i++) {
        const struct position *row = &positions->rows[i];
        char key[300];
        snprintf(key, sizeof(key), "%.249s:%d", row->topic, row->partition);
        json_t *end = json_object_get(ends, key);
        if (row->placed && json_is_integer(end)) {
            int64_t more = json_integer_value(end) - row->at.source_next;
            if (more > 0 && __builtin_add_overflow(loss->seen_offsets, more, &loss->seen_offsets)) {
                loss->seen_offsets = INT64_MAX; /* what a worker said is no end of a log */
            }
        }
    }
    loss->last_seen_ms = json_integer_value(json_object_get(seen, "last_seen_ms"));
    loss->records_per_s = json_number_value(json_object_get(seen, "records_per_s"));
}

/* --- the source's own word ---------------------------------------------------------------------------------------- */

static void take_source(struct loss *loss, const struct positions *positions)
{
    int64_t sum = 0;
    bool known = positions->source_err.kind == ERR_NONE && positions->hidden_err.kind == ERR_NONE;
    for (size_t i = 0; known && i < positions->count; i++) {
        int64_t lag = position_lag(&positions->rows[i]);
        known = lag >= 0;
        sum += lag;
    }
    if (known) {
        loss->at_most = sum;
        loss->at_least = 0; /* the mirror goes on until it is fenced */
    }
}

void loss_positions(const struct operation *op, struct positions *out)
{
    const struct positions_doors doors = {.service = op->service,
                                          .from = op->from,
                                          .to = op->to,
                                          .redis = op->redis,
                                          .redis_err = op->redis_err,
                                          .source = op->source,
                                          .source_err = op->source_err,
                                          .target = op->target};
    positions_read(out, &doors);
}

void loss_read(struct operation *op, struct loss *out)
{
    struct positions positions;
    *out = (struct loss){.at_least = -1,
                         .at_most = -1,
                         .seen_offsets = -1,
                         .last_seen_ms = -1,
                         .records_per_s = -1,
                         .mirrored_ms = -1};
    loss_positions(op, &positions);
    /* What workers said before they were fenced, where it was kept: afterwards they have no partitions. */
    json_t *kept = json_object_get(operation_kept(op, "prove"), "seen");
    json_t *seen = kept != NULL ? json_incref(kept) : loss_seen(op);
    take_seen(out, &positions, seen);
    if (op->source != NULL) {
        take_source(out, &positions);
    }
    for (size_t i = 0; i < positions.count; i++) {
        const struct position *row = &positions.rows[i];
        out->mirrored_ms =
            row->placed && row->at.time_ms > out->mirrored_ms ? row->at.time_ms : out->mirrored_ms;
    }
    json_decref(seen);
    positions_free(&positions);
}

/* --- said --------------------------------------------------------------------------------------------------------- */

static json_t *or_null(int64_t value)
{
    return value < 0 ? json_null() : json_integer(value);
}

json_t *loss_json(const struct loss *loss)
{
    char seen[CLOCK_TEXT_BYTES];
    json_t *out = json_object();
    json_object_set_new(out, "records", or_null(loss->at_most));
    json_object_set_new(out, "at_least", or_null(loss->at_least));
    json_object_set_new(out, "seen_offsets", or_null(loss->seen_offsets));
    json_object_set_new(out, "seconds", loss->at_most == 0 ? json_real(0) : json_null());
    json_object_set_new(out, "last_seen",
                        loss->last_seen_ms < 0
                            ? json_null()
                            : json_string(clock_rfc3339(loss->last_seen_ms, seen)));
    json_object_set_new(out, "records_per_s",
                        loss->records_per_s < 0 ? json_null() : json_real(loss->records_per_s));
    return out;
}

static char *number(int64_t value, char out[32])
{
    snprintf(out, 32, value < 0 ? "unknown" : "%lld", (long long)value);
    return out;
}

char *loss_text(const struct loss *loss, char out[LOSS_TEXT_BYTES])
{
    char least[32];
    char most[32];
    char seen[CLOCK_TEXT_BYTES];
    size_t used = (size_t)snprintf(out, LOSS_TEXT_BYTES, "at least %s, at most %s records lost",
                                   number(loss->at_least, least), number(loss->at_most, most));
    if (loss->at_most >= 0) {
        return out; /* the primary says it */
    }
    if (loss->last_seen_ms < 0) {
        snprintf(out + used, LOSS_TEXT_BYTES - used, "; when the primary was last seen is unknown");
        return out;
    }
    snprintf(
        out + used, LOSS_TEXT_BYTES - used,
        "; the primary was last seen %s, %lld offsets then were not mirrored, rate then %.0f/s",
        clock_rfc3339(loss->last_seen_ms, seen), (long long)loss->seen_offsets,
        loss->records_per_s < 0 ? 0 : loss->records_per_s);
    return out;
}
