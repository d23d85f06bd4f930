/* See topic_sync.h: an outcome as the control topic has it, and as people do. Pure. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "mirror/topic_sync.h"

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

static json_t *parse_own(const char *text)
{
    json_t *value = text ? json_loads(text, 0, NULL) : NULL;
    return value ? value : json_object();
}

/* ---- the record ---------------------------------------------------------------------------------------------- */

static void put_known(json_t *of_topics, const char *topic, json_t *settings)
{
    if (settings) {
        json_object_set(of_topics, topic, settings);
    }
}

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
