#include "mirror/topic_memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "kafka/topic_id.h"

#define REFUSED_AGAIN_MS \
    300000 /* its operator may have mended it; each try takes a request a setting */

struct topic_memory *topic_memory_new(void)
{
    struct topic_memory *memory = calloc(1, sizeof(*memory));
    assert(memory);
    memory->kept = json_object();
    memory->gone = json_object();
    memory->drifts = json_object();
    memory->refused = json_object();
    memory->news = json_array();
    return memory;
}

void topic_memory_free(struct topic_memory *memory)
{
    if (!memory) {
        return;
    }
    free(memory->topics);
    json_decref(memory->kept);
    json_decref(memory->gone);
    json_decref(memory->drifts);
    json_decref(memory->refused);
    json_decref(memory->news);
    admin_settings_free(memory->known, memory->known_count);
    free(memory);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct remembered *)a)->name, ((const struct remembered *)b)->name);
}

struct remembered *topic_memory_find(const struct topic_memory *memory, const char *name)
{
    struct remembered key = {0};
    snprintf(key.name, sizeof(key.name), "%s", name);
    return memory->topics_count == 0 ? NULL
                                     : bsearch(&key, memory->topics, memory->topics_count,
                                               sizeof(*memory->topics), by_name);
}

/* ---- what is recorded ---------------------------------------------------------------------------------------- */

static bool is_id(const char *text)
{
    struct uuid id;
    return text && uuid_parse_hex(text, &id);
}

/* The record came from a log that others may write to: what is not of the right form is not there. */
static void kept_put(json_t *kept, const char *topic, const char *target_id, const char *which,
                     json_t *settings)
{
    if (!topic || !is_id(target_id) || json_object_size(settings) == 0) {
        return;
    }
    json_t *entry = json_object_get(kept, topic);
    if (!entry) {
        entry = json_object();
        json_object_set_new(kept, topic, entry);
    }
    json_object_set_new(entry, "target_id", json_string(target_id));
    json_object_set(entry, which, settings);
}

static void kept_put_both(json_t *kept, const char *name, json_t *topic)
{
    const char *target_id = json_string_value(json_object_get(topic, "target_id"));
    kept_put(kept, name, target_id, "forced", json_object_get(topic, "forced"));
    kept_put(kept, name, target_id, "synced", json_object_get(topic, "synced"));
}

static json_t *kept_from_record(const json_t *record)
{
    json_t *kept = json_object();
    const char *name;
    json_t *topic;
    json_object_foreach (json_object_get(record, "kept"), name, topic) {
        kept_put_both(kept, name, topic);
    }
    size_t i;
    json_array_foreach (json_object_get(record, "topics"), i, topic) {
        kept_put_both(kept, json_string_value(json_object_get(topic, "name")), topic);
    }
    return kept;
}

static json_t *gone_from_record(const json_t *record)
{
    json_t *gone = json_object();
    const char *name;
    json_t *topic;
    json_object_foreach (json_object_get(record, "gone"), name, topic) {
        if (is_id(json_string_value(json_object_get(topic, "source_id"))) &&
            is_id(json_string_value(json_object_get(topic, "target_id"))) &&
            json_is_string(json_object_get(topic, "since"))) {
            json_object_set(gone, name, topic);
        }
    }
    return gone;
}

static void take_record(struct topic_memory *memory, const char *topics_json)
{
    struct err err;
    json_t *record =
        topics_json ? json_parse(topics_json, strlen(topics_json), "topics", &err) : NULL;
    json_decref(memory->kept);
    json_decref(memory->gone);
    memory->kept = kept_from_record(record);
    memory->gone = gone_from_record(record);
    json_decref(record);
}

void topic_memory_load(struct topic_memory *memory, const struct control_state *state)
{
    size_t count = state ? state->topics_count : 0;
    struct remembered *topics = calloc(count + 1, sizeof(*topics));
    assert(topics);
    for (size_t i = 0; i < count; i++) {
        const struct control_topic *topic = &state->topics[i];
        struct remembered *now = &topics[i];
        snprintf(now->name, sizeof(now->name), "%s", topic->name);
        now->source_id = topic->source_id;
        now->target_id = topic->target_id;
        now->partitions = topic->partitions_count;
        now->listed = true;
        const struct remembered *before = topic_memory_find(memory, topic->name);
        bool same = before && !topic_id_other(&before->source_id, &now->source_id) &&
                    !topic_id_other(&before->target_id, &now->target_id);
        now->checked_ms = same ? before->checked_ms : -1; /* this worker looked before it joined */
        now->gone_once = before && before->gone_once;
        now->told_hash = before ? before->told_hash : 0;
    }
    if (count > 0) {
        qsort(topics, count, sizeof(*topics), by_name);
    }
    /* Without a record, what was looked at before joining is all there is. */
    if (state && state->has_topics) {
        free(memory->topics);
        memory->topics = topics;
        memory->topics_count = count;
        take_record(memory, state->topics_json);
    } else {
        free(topics);
    }
}

void topic_memory_recheck(struct topic_memory *memory)
{
    for (size_t i = 0; i < memory->topics_count; i++) {
        struct remembered *topic = &memory->topics[i];
        topic->checked_ms = topic->checked_ms > 0 ? 0 : topic->checked_ms;
    }
    json_object_clear(memory->refused);
}

/* ---- one topic ------------------------------------------------------------------------------------------------ */

const json_t *topic_memory_forced(const struct topic_memory *memory, const char *topic)
{
    return json_object_get(json_object_get(memory->kept, topic), "forced");
}

const json_t *topic_memory_synced(const struct topic_memory *memory, const char *topic)
{
    return json_object_get(json_object_get(memory->kept, topic), "synced");
}

static void note(struct topic_memory *memory, const char *topic, const struct uuid *target_id,
                 const struct topic_changes *changes, bool follows)
{
    char hex[UUID_TEXT_BYTES];
    const char *which = follows ? "synced" : "forced";
    json_t *settings = json_object();
    json_object_update(settings, json_object_get(json_object_get(memory->kept, topic), which));
    for (size_t i = 0; i < changes->count; i++) {
        const struct topic_change *change = &changes->list[i];
        if (change->recorded && change->follows == follows) {
            json_object_set_new(settings, change->name,
                                json_pack("[s?, s]", change->old, change->value));
        }
    }
    kept_put(memory->kept, topic, uuid_hex(target_id, hex), which, settings);
    json_decref(settings);
}

void topic_memory_note(struct topic_memory *memory, const char *topic, const struct uuid *target_id,
                       const struct topic_changes *changes)
{
    note(memory, topic, target_id, changes, false);
    note(memory, topic, target_id, changes, true);
}

void topic_memory_unnote(struct topic_memory *memory, const char *topic, const char *setting)
{
    json_t *entry = json_object_get(memory->kept, topic);
    json_t *synced = json_object_get(entry, "synced");
    json_object_del(synced, setting);
    if (synced && json_object_size(synced) == 0) {
        json_object_del(entry, "synced");
    }
    if (entry && !json_object_get(entry, "forced") && !json_object_get(entry, "synced")) {
        json_object_del(memory->kept, topic);
    }
}

void topic_memory_drop(struct topic_memory *memory, const char *topic)
{
    json_object_del(memory->kept, topic);
}

/* ---- what the target refuses ---------------------------------------------------------------------------------- */

const json_t *topic_memory_refused(struct topic_memory *memory, const char *topic, int64_t now_ms)
{
    json_t *refused = json_object_get(memory->refused, topic);
    const char *setting;
    void *next;
    json_t *entry;
    json_object_foreach_safe(refused, next, setting, entry)
    {
        if (now_ms - json_integer_value(json_object_get(entry, "at_ms")) >= REFUSED_AGAIN_MS) {
            json_object_del(refused, setting);
        }
    }
    return refused;
}

void topic_memory_refuse(struct topic_memory *memory, const char *topic, const char *setting,
                         const char *value, const char *why, int64_t now_ms)
{
    json_t *refused = json_object_get(memory->refused, topic);
    json_t *entry =
        json_pack("{s:s, s:s, s:I}", "value", value, "why", why, "at_ms", (json_int_t)now_ms);
    if (!entry) { /* not text: asked for again at the next check */
        return;
    }
    if (!refused) {
        refused = json_object();
        json_object_set_new(memory->refused, topic, refused);
    }
    json_object_set_new(refused, setting, entry);
}

/* ---- what is over --------------------------------------------------------------------------------------------- */

/* @param known_zero  a topic that is being created has no id yet */
static void drop_stale(json_t *of_topics, bool known_zero,
                       const struct uuid *(*target)(void *arg, const char *topic), void *arg)
{
    const char *name;
    void *next;
    json_t *entry;
    json_object_foreach_safe(of_topics, next, name, entry)
    {
        struct uuid id = {0};
        const struct uuid *there = target(arg, name);
        bool sane = uuid_parse_hex(json_string_value(json_object_get(entry, "target_id")), &id);
        bool zero = known_zero && uuid_is_zero(&id);
        if (!there || !sane || (!zero && topic_id_other(&id, there))) {
            json_object_del(of_topics, name);
        }
    }
}

void topic_memory_drop_stale(struct topic_memory *memory,
                             const struct uuid *(*target)(void *arg, const char *topic), void *arg)
{
    drop_stale(memory->kept, true, target, arg);
    drop_stale(memory->gone, false, target, arg);
}

bool topic_memory_same(const struct remembered *before, const struct topic_pair *pair)
{
    return before && !topic_id_other(&before->source_id, &pair->source_id) &&
           !topic_id_other(&before->target_id, &pair->target_id);
}
