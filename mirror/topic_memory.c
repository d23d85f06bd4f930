#include "mirror/topic_memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

struct topic_memory *topic_memory_new(void)
{
    struct topic_memory *memory = calloc(1, sizeof(*memory));
    assert(memory);
    memory->forced = json_object();
    return memory;
}

void topic_memory_free(struct topic_memory *memory)
{
    if (!memory) {
        return;
    }
    free(memory->topics);
    json_decref(memory->forced);
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

/* The record came from a log that others may write to: what is not of the right form is not there. */
static void forced_put(json_t *forced, const char *topic, const char *target_id, json_t *settings)
{
    struct uuid id;
    if (topic && target_id && uuid_parse_hex(target_id, &id) && json_object_size(settings) > 0) {
        json_object_set_new(forced, topic,
                            json_pack("{s:s, s:O}", "target_id", target_id, "forced", settings));
    }
}

static json_t *forced_from_record(const char *topics_json)
{
    json_t *forced = json_object();
    struct err err;
    json_t *record =
        topics_json ? json_parse(topics_json, strlen(topics_json), "topics", &err) : NULL;
    const char *name;
    json_t *topic;
    json_object_foreach (json_object_get(record, "kept"), name, topic) {
        forced_put(forced, name, json_string_value(json_object_get(topic, "target_id")),
                   json_object_get(topic, "forced"));
    }
    size_t i;
    json_array_foreach (json_object_get(record, "topics"), i, topic) {
        forced_put(forced, json_string_value(json_object_get(topic, "name")),
                   json_string_value(json_object_get(topic, "target_id")),
                   json_object_get(topic, "forced"));
    }
    json_decref(record);
    return forced;
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
        bool same = before && uuid_equal(&before->source_id, &now->source_id) &&
                    uuid_equal(&before->target_id, &now->target_id);
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
        json_decref(memory->forced);
        memory->forced = forced_from_record(state->topics_json);
    } else {
        free(topics);
    }
}

const json_t *topic_memory_forced(const struct topic_memory *memory, const char *topic)
{
    return json_object_get(json_object_get(memory->forced, topic), "forced");
}

void topic_memory_force(struct topic_memory *memory, const char *topic,
                        const struct uuid *target_id, const struct topic_changes *changes)
{
    char hex[UUID_TEXT_BYTES];
    json_t *settings = json_object();
    json_object_update(settings, json_object_get(json_object_get(memory->forced, topic), "forced"));
    for (size_t i = 0; i < changes->count; i++) {
        const struct topic_change *change = &changes->list[i];
        if (change->recorded) {
            json_object_set_new(settings, change->name,
                                json_pack("[s?, s]", change->old, change->value));
        }
    }
    forced_put(memory->forced, topic, uuid_hex(target_id, hex), settings);
    json_decref(settings);
}

bool topic_memory_same(const struct remembered *before, const struct topic_pair *pair)
{
    return before && uuid_equal(&before->source_id, &pair->source_id) &&
           uuid_equal(&before->target_id, &pair->target_id);
}
