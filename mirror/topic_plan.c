#include "mirror/topic_plan.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"

#ifndef __clang__
/* gcc 12's analyzer forgets what was stored under an index that it cannot compute, and calls it a leak. */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

#define TIME_BOUND_MAX "9223372036854775807"
#define SIZE_SETTING   "max.message.bytes"

/* newer: not in every broker since 2.8, so asked for only where the target is known to have it. */
static const struct forced_rule {
    const char *name;
    const char *value; /* NULL: at least the source's */
    bool newer;
} forced_rules[] = {
    {"compression.type",                    "producer",     false},
    {"message.timestamp.type",              "CreateTime",   false},
    {"message.timestamp.after.max.ms",      TIME_BOUND_MAX, true }, /* since 3.6 */
    {"message.timestamp.before.max.ms",     TIME_BOUND_MAX, true }, /* since 3.6 */
    {"message.timestamp.difference.max.ms", TIME_BOUND_MAX, true }, /* until 3.9 */
    {SIZE_SETTING,                          NULL,           false},
};
#define FORCED_COUNT (sizeof(forced_rules) / sizeof(forced_rules[0]))

/* ---- topics ------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct admin_topic *)a)->name, ((const struct admin_topic *)b)->name);
}

void topic_pair_judge(struct topic_pair *pair)
{
    if (pair->target_partitions > pair->source_partitions) {
        snprintf(pair->problem, sizeof(pair->problem),
                 "the target has %d partitions, the source %d: partitions cannot be taken away",
                 pair->target_partitions, pair->source_partitions);
    }
}

void topic_plan_pairs(const struct config_patterns *patterns, struct admin_topic *source,
                      size_t source_count, struct admin_topic *target, size_t target_count,
                      struct topic_pair **out, size_t *out_count)
{
    struct topic_pair *pairs = calloc(source_count + 1, sizeof(*pairs)); /* never of size 0 */
    assert(pairs);
    if (source_count > 0) {
        qsort(source, source_count, sizeof(*source), by_name);
    }
    if (target_count > 0) {
        qsort(target, target_count, sizeof(*target), by_name);
    }
    size_t count = 0;
    for (size_t i = 0; i < source_count; i++) {
        if (config_name_reserved(source[i].name) ||
            !config_patterns_match(patterns, source[i].name)) {
            continue;
        }
        struct topic_pair *pair = &pairs[count++];
        memcpy(pair->name, source[i].name, sizeof(pair->name));
        pair->source_id = source[i].id;
        pair->source_partitions = source[i].partitions_count;
        const struct admin_topic *twin =
            target_count > 0 ? bsearch(&source[i], target, target_count, sizeof(*target), by_name)
                             : NULL;
        if (twin) {
            pair->target_id = twin->id;
            pair->target_partitions = twin->partitions_count;
            pair->target_replicas = twin->replication_factor;
            topic_pair_judge(pair);
        }
    }
    *out = pairs;
    *out_count = count;
}

/* ---- changes ------------------------------------------------------------------------------------------------ */

void topic_changes_init(struct topic_changes *changes, size_t most)
{
    changes->list = calloc(most, sizeof(*changes->list));
    changes->count = 0;
    assert(changes->list);
}

struct topic_change *topic_changes_add(struct topic_changes *changes, const char *name,
                                       const char *value)
{
    struct topic_change *change = &changes->list[changes->count++];
    snprintf(change->name, sizeof(change->name), "%s", name);
    change->value = must_copy(value);
    change->set = true;
    return change;
}

void topic_changes_done(struct topic_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        free(changes->list[i].value);
        free(changes->list[i].old);
    }
    free(changes->list);
    *changes = (struct topic_changes){0};
}

bool topic_changes_any_set(const struct topic_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        if (changes->list[i].set) {
            return true;
        }
    }
    return false;
}

void topic_changes_keep_forced(struct topic_changes *changes)
{
    size_t kept = 0;
    for (size_t i = 0; i < changes->count; i++) {
        if (changes->list[i].follows && changes->list[i].set) {
            free(changes->list[i].value);
            free(changes->list[i].old);
        } else {
            changes->list[kept++] = changes->list[i];
        }
    }
    changes->count = kept;
}

const char **topic_changes_pairs(const struct topic_changes *changes)
{
    const char **pairs = calloc(2 * changes->count + 1, sizeof(*pairs));
    assert(pairs);
    size_t at = 0;
    for (size_t i = 0; i < changes->count; i++) {
        if (changes->list[i].set) {
            pairs[at++] = changes->list[i].name;
            pairs[at++] = changes->list[i].value;
        }
    }
    return pairs;
}

/* ---- settings ----------------------------------------------------------------------------------------------- */

const struct admin_setting *topic_setting(struct topic_settings settings, const char *name)
{
    const struct admin_setting *end = settings.list + settings.count;
    for (const struct admin_setting *setting = settings.list; setting < end; setting++) {
        if (strcmp(setting->name, name) == 0) {
            return setting;
        }
    }
    return NULL;
}

const char *topic_setting_own(struct topic_settings settings, const char *name)
{
    const struct admin_setting *setting = topic_setting(settings, name);
    return setting && !setting->is_default ? setting->value : NULL;
}

int64_t topic_setting_number(const struct admin_setting *setting)
{
    if (!setting || !setting->value || !*setting->value) {
        return -1;
    }
    char *end;
    errno = 0;
    long long number = strtoll(setting->value, &end, 10);
    return errno || *end || number < 0 ? -1 : number;
}

const char *topic_plan_forced_value(const char *name)
{
    for (size_t i = 0; i < FORCED_COUNT; i++) {
        if (strcmp(forced_rules[i].name, name) == 0) {
            return forced_rules[i].value;
        }
    }
    return NULL;
}

/* ---- a new topic -------------------------------------------------------------------------------------------- */

/* Without `sync`, too, a topic begins as the source's is: a compacted one would be deleted from by time else. */
static bool is_copied(const struct config_service *service, const char *name)
{
    enum config_setting_rule rule = config_setting_rule(name);
    if (rule == SETTING_FORCED || rule == SETTING_NEVER) {
        return false;
    }
    return config_setting_always(service, name) ||
           (rule == SETTING_FOLLOWS && !config_setting_excluded(service, name));
}

static void creation_copy(const struct config_service *service, struct topic_settings source,
                          struct topic_settings known, struct topic_changes *out)
{
    for (size_t i = 0; i < source.count; i++) {
        const struct admin_setting *setting = &source.list[i];
        if (setting->is_default || !setting->value || !is_copied(service, setting->name) ||
            (known.list && !topic_setting(known, setting->name))) {
            continue;
        }
        struct topic_change *change = topic_changes_add(out, setting->name, setting->value);
        change->follows = change->recorded = true;
    }
}

/* The topic that `known` came from may have a size of its own: only a default tells what a new topic would get. */
static bool default_size_suffices(struct topic_settings known, int64_t wanted)
{
    const struct admin_setting *there = topic_setting(known, SIZE_SETTING);
    return there && there->is_default && topic_setting_number(there) >= wanted;
}

/* NULL: this rule asks for nothing here. */
static const char *creation_value(const struct forced_rule *rule, struct topic_settings source,
                                  struct topic_settings known)
{
    if (known.list ? !topic_setting(known, rule->name) : rule->newer) {
        return NULL;
    }
    if (rule->value) {
        return rule->value;
    }
    const struct admin_setting *size = topic_setting(source, rule->name);
    int64_t wanted = topic_setting_number(size);
    bool needed = wanted >= 0 && (!size->is_default || !default_size_suffices(known, wanted));
    return needed ? size->value : NULL;
}

/* `old` is recorded only where giving back would change something. */
static void note_old(struct topic_change *change, const char *old)
{
    change->recorded = !old || strcmp(old, change->value) != 0;
    change->old = change->recorded ? must_copy(old) : NULL;
}

/* What is given back is the source's: mirror/topic_follow keeps it so. */
static void note_source(const char *name, const char *own, struct topic_changes *out)
{
    if (own && topic_plan_forced_value(name)) {
        struct topic_change *change = topic_changes_add(out, name, own);
        change->set = false;
        change->follows = change->recorded = true;
    }
}

void topic_plan_creation(const struct config_service *service, struct topic_settings source,
                         struct topic_settings known, struct topic_changes *out)
{
    topic_changes_init(out, source.count + 2 * FORCED_COUNT);
    creation_copy(service, source, known, out);
    for (size_t i = 0; i < FORCED_COUNT; i++) {
        const char *value = creation_value(&forced_rules[i], source, known);
        if (value) {
            /* Set even where the target's default is the same: brokers' defaults change, and all of them together are
             * how a topic of ours is known again. */
            const char *own = topic_setting_own(source, forced_rules[i].name);
            note_old(topic_changes_add(out, forced_rules[i].name, value), own);
            note_source(forced_rules[i].name, own, out);
        }
    }
}

/* ---- a topic that stands there ------------------------------------------------------------------------------ */

/* All constant rules that the target knows are set on the topic itself: only a creation of ours does that. */
bool topic_plan_looks_ours(struct topic_settings target, const json_t *recorded)
{
    if (json_object_size(recorded) > 0) {
        return false;
    }
    for (size_t i = 0; i < FORCED_COUNT; i++) {
        const char *own = topic_setting_own(target, forced_rules[i].name);
        if (forced_rules[i].value && topic_setting(target, forced_rules[i].name) &&
            (!own || strcmp(own, forced_rules[i].value) != 0)) {
            return false;
        }
    }
    return target.count > 0;
}

/* NULL: fine as it is, or nothing to compare with. */
static const char *existing_value(const struct forced_rule *rule, struct topic_settings source,
                                  struct topic_settings target)
{
    const struct admin_setting *there = topic_setting(target, rule->name);
    if (!there) {
        return NULL;
    }
    if (rule->value) {
        return there->value && strcmp(there->value, rule->value) == 0 ? NULL : rule->value;
    }
    const struct admin_setting *size = topic_setting(source, rule->name);
    return size && topic_setting_number(size) > topic_setting_number(there) ? size->value : NULL;
}

/* The record is the world's: anything but [string|null, string] counts as none. */
bool topic_recorded(const json_t *recorded, const char *name, const char **out_old,
                    const char **out_new)
{
    const json_t *entry = json_object_get(recorded, name);
    const json_t *old = json_array_get(entry, 0);
    const char *new = json_string_value(json_array_get(entry, 1));
    if (!old || (!json_is_string(old) && !json_is_null(old)) || !new) {
        return false;
    }
    *out_old = json_string_value(old);
    *out_new = new;
    return true;
}

void topic_plan_existing(struct topic_settings source, struct topic_settings target,
                         const json_t *recorded, struct topic_changes *out)
{
    topic_changes_init(out, FORCED_COUNT);
    bool ours = topic_plan_looks_ours(target, recorded);
    for (size_t i = 0; i < FORCED_COUNT; i++) {
        const char *name = forced_rules[i].name;
        const char *value = existing_value(&forced_rules[i], source, target);
        const char *old = topic_setting_own(target, name);
        const char *forced;
        bool known_old = topic_recorded(recorded, name, &old, &forced);
        if (value) {
            struct topic_change *change = topic_changes_add(out, name, value);
            change->old = must_copy(ours ? topic_setting_own(source, name) : old);
            change->recorded = true;
        } else if (ours && !known_old && forced_rules[i].value && topic_setting(target, name)) {
            struct topic_change *change = topic_changes_add(out, name, forced_rules[i].value);
            change->set = false;
            note_old(change, topic_setting_own(source, name));
        }
    }
}
