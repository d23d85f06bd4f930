/* See topic_sync.h: the outcome of a turn, as it is recorded in the control topic, and as people read it. No I/O. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "mirror/topic_follow.h"
#include "mirror/topic_memory.h"
#include "mirror/topic_sync.h"
#include "mirror/topic_sync_inside.h"

void topic_sync_done(struct topic_sync *sync)
{
    free(sync->pairs);
    free(sync->forced_json);
    free(sync->synced_json);
    free(sync->gone_json);
    free(sync->target_ids_json);
    json_decref(sync->drifts);
    json_decref(sync->news);
    *sync = (struct topic_sync){0};
}

/* ---- the outcome ------------------------------------------------------------------------------------------------- */

static void put_known(json_t *of_topics, const char *topic, json_t *settings)
{
    if (settings) {
        json_object_set(of_topics, topic, settings);
    }
}

void turn_record(const struct turn *turn, struct topic_sync *out)
{
    *out = (struct topic_sync){.pairs_count = turn->count};
    out->pairs = calloc(turn->count + 1, sizeof(*out->pairs));
    assert(out->pairs);
    if (turn->count > 0) {
        memcpy(out->pairs, turn->pairs, turn->count * sizeof(*out->pairs));
    }
    json_t *forced = json_object();
    json_t *synced = json_object();
    json_t *ids = json_object();
    const char *name;
    json_t *entry;
    json_object_foreach (turn->memory->kept, name, entry) {
        put_known(forced, name, json_object_get(entry, "forced"));
        put_known(synced, name, json_object_get(entry, "synced"));
        json_object_set(ids, name, json_object_get(entry, "target_id"));
    }
    out->forced_json = json_text(forced);
    out->synced_json = json_text(synced);
    out->target_ids_json = json_text(ids);
    out->gone_json = json_text(turn->memory->gone);
    json_decref(forced);
    json_decref(synced);
    json_decref(ids);
}

static void add_drift(struct topic_sync *out, const char *topic, json_t *row)
{
    out->drifts_count++;
    if (json_array_size(out->drifts) < TOPIC_ROWS_MOST) {
        json_t *copy = json_deep_copy(row); /* it goes to another thread */
        json_object_set_new(copy, "topic", json_string(topic));
        json_array_append_new(out->drifts, copy);
    }
}

static void add_partitions_drift(struct topic_sync *out, const struct topic_pair *pair)
{
    char source[16];
    char target[16];
    snprintf(source, sizeof(source), "%d", pair->source_partitions);
    snprintf(target, sizeof(target), "%d", pair->target_partitions);
    json_t *row =
        topic_drift("partitions", source, target, pair->problem[0] ? pair->problem : pair->warning);
    add_drift(out, pair->name, row);
    json_decref(row);
}

static void build_drifts(const struct turn *turn, struct topic_sync *out)
{
    out->drifts = json_array();
    for (size_t i = 0; i < turn->count; i++) {
        const struct topic_pair *pair = &turn->pairs[i];
        int64_t before = out->drifts_count;
        size_t at;
        json_t *row;
        if (!uuid_is_zero(&pair->target_id) && pair->source_partitions != pair->target_partitions) {
            add_partitions_drift(out, pair);
        }
        json_array_foreach (json_object_get(turn->memory->drifts, pair->name), at, row) {
            add_drift(out, pair->name, row);
        }
        out->drifted_count += out->drifts_count > before;
    }
}

void turn_outcome(struct turn *turn, struct topic_sync *out)
{
    turn_record(turn, out);
    build_drifts(turn, out);
    out->news = turn->memory->news;
    turn->memory->news = json_array();
}

static json_t *parse_own(const char *text)
{
    json_t *value = text ? json_loads(text, 0, NULL) : NULL;
    return value ? value : json_object();
}

/* ---- the record ---------------------------------------------------------------------------------------------- */

static json_t *record_topic(const struct topic_pair *pair, json_t *forced, json_t *synced)
{
    char source_id[UUID_TEXT_BYTES];
    char target_id[UUID_TEXT_BYTES];
    int32_t partitions = pair->source_partitions < pair->target_partitions
                             ? pair->source_partitions
                             : pair->target_partitions;
    json_t *topic = json_pack("{s:s, s:s, s:s, s:i}", "name", pair->name, "source_id",
                              uuid_hex(&pair->source_id, source_id), "target_id",
                              uuid_hex(&pair->target_id, target_id), "partitions", partitions);
    put_known(topic, "forced", forced);
    put_known(topic, "synced", synced);
    return topic;
}

/* @param ids  whose entries are not listed are kept */
static json_t *record_kept(json_t *ids, const json_t *forced, const json_t *synced)
{
    json_t *kept = json_object();
    const char *name;
    json_t *id;
    json_object_foreach (ids, name, id) {
        json_t *entry = json_pack("{s:O}", "target_id", id);
        put_known(entry, "forced", json_object_get(forced, name));
        put_known(entry, "synced", json_object_get(synced, name));
        json_object_set_new(kept, name, entry);
    }
    return kept;
}

char *topic_sync_record(const struct topic_sync *sync, int64_t epoch)
{
    json_t *forced = parse_own(sync->forced_json);
    json_t *synced = parse_own(sync->synced_json);
    json_t *gone = parse_own(sync->gone_json);
    json_t *ids = parse_own(sync->target_ids_json);
    json_t *topics = json_array();
    for (size_t i = 0; i < sync->pairs_count; i++) {
        const struct topic_pair *pair = &sync->pairs[i];
        if (!pair->problem[0] && !uuid_is_zero(&pair->target_id)) {
            json_array_append_new(topics, record_topic(pair, json_object_get(forced, pair->name),
                                                       json_object_get(synced, pair->name)));
            json_object_del(ids, pair->name);
        }
    }
    json_t *record = json_pack("{s:I, s:o}", "epoch", (json_int_t)epoch, "topics", topics);
    if (json_object_size(ids) > 0) {
        json_object_set_new(record, "kept", record_kept(ids, forced, synced));
    }
    if (json_object_size(gone) > 0) {
        json_object_set(record, "gone", gone);
    }
    char *text = json_text(record);
    json_decref(record);
    json_decref(forced);
    json_decref(synced);
    json_decref(gone);
    json_decref(ids);
    return text;
}

/* ---- the report ---------------------------------------------------------------------------------------------- */

static json_t *report_row(const char *topic, const char *why)
{
    json_t *text = json_string(why);
    return json_pack("{s:s, s:o}", "topic", topic, "why", text ? text : json_string("(not text)"));
}

static void report_pairs(const struct topic_sync *sync, json_t *report, bool problems)
{
    json_t *rows = json_array();
    json_int_t count = 0;
    for (size_t i = 0; i < sync->pairs_count; i++) {
        const struct topic_pair *pair = &sync->pairs[i];
        const char *why = problems ? pair->problem : pair->problem[0] ? "" : pair->warning;
        if (why[0] && count++ < TOPIC_ROWS_MOST) {
            json_array_append_new(rows, report_row(pair->name, why));
        }
    }
    json_object_set_new(report, problems ? "not_mirrored" : "incomplete", rows);
    json_object_set_new(report, problems ? "not_mirrored_count" : "incomplete_count",
                        json_integer(count));
}

static void report_gone(const struct topic_sync *sync, json_t *report)
{
    json_t *gone = parse_own(sync->gone_json);
    json_t *rows = json_array();
    const char *name;
    json_t *entry;
    json_object_foreach (gone, name, entry) {
        if (json_array_size(rows) < TOPIC_ROWS_MOST) {
            json_array_append_new(rows, json_pack("{s:s, s:O}", "topic", name, "since",
                                                  json_object_get(entry, "since")));
        }
    }
    json_object_set_new(report, "source_deleted", rows);
    json_object_set_new(report, "source_deleted_count",
                        json_integer((json_int_t)json_object_size(gone)));
    json_decref(gone);
}

json_t *topic_sync_report(const struct topic_sync *sync)
{
    json_t *report = json_pack("{s:o, s:I, s:I}", "drift",
                               sync->drifts ? json_incref(sync->drifts) : json_array(),
                               "drift_count", (json_int_t)sync->drifts_count, "drifted_topics",
                               (json_int_t)sync->drifted_count);
    report_pairs(sync, report, true);
    report_pairs(sync, report, false);
    report_gone(sync, report);
    return report;
}
