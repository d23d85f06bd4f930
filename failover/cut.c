/* Gathering: checkpoints, both ends of the target's logs, groups; then hints. */
#include "failover/cut.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/text.h"
#include "failover/cut_inside.h"
#include "kafka/log_ends.h"
#include "offsets/group_view.h"
#include "offsets/offset_script.h"
#include "offsets/offset_store.h"

#define PLACES_MAX  1000000 /* as the keeper keeps */
#define TOPIC_BYTES 250

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

struct gather {
    const struct cut_options *options;
    struct cut *cut;
    char *base;
    /* groups, while they come in no order */
    struct group_bin *bins;
    size_t bins_count;
    size_t places_count;
};

static bool take_checkpoint(void *arg, const char *topic, int32_t partition,
                            const struct checkpoint *checkpoint)
{
    struct gather *gather = arg;
    if (strlen(topic) < TOPIC_BYTES && partition >= 0 &&
        config_patterns_match(&gather->options->service->topics, topic)) {
        cut_part_add(gather->cut, topic, partition)->at = *checkpoint;
    }
    return true;
}

/* The second checkpoint: the mirror's own commits, every 5 s at least. */
static bool checkpoints_of_group(struct gather *gather, struct err *err)
{
    const struct cut_options *options = gather->options;
    char group[300];
    struct admin_group_offset *offsets = NULL;
    size_t count = 0;
    snprintf(group, sizeof(group), "ferry-%s-%s-%s", options->service->name, options->from->name,
             options->to->name);
    if (!admin_group_offsets(options->target, group, &offsets, &count, err)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = offsets[i].metadata;
        struct checkpoint at;
        if (text != NULL && checkpoint_parse(text, strlen(text), &at, NULL)) {
            take_checkpoint(gather, offsets[i].topic, offsets[i].partition, &at);
        }
    }
    admin_group_offsets_free(offsets, count);
    return true;
}

/* The leaders' ends, not the high watermark: what a leader has taken, and a follower that died has not, comes below it later. */
static bool read_last(struct gather *gather, struct err *err)
{
    struct cut *cut = gather->cut;
    struct log_end *ends = must(calloc(cut->parts_count + 1, sizeof(*ends)));
    bool ok = true;
    for (size_t i = 0; i < cut->parts_count; i++) {
        ends[i].topic = cut->parts[i].topic;
        ends[i].partition = cut->parts[i].partition;
    }
    log_ends(gather->options->target, ends, cut->parts_count);
    for (size_t i = 0; ok && i < cut->parts_count; i++) {
        ok = ends[i].err.kind == ERR_NONE;
        cut->parts[i].end = ends[i].offset;
        if (!ok) {
            *err = ends[i].err;
        }
    }
    free(ends);
    return ok;
}

static bool read_first(struct gather *gather, struct err *err)
{
    struct cut *cut = gather->cut;
    struct admin_offset *offsets = must(calloc(cut->parts_count + 1, sizeof(*offsets)));
    for (size_t i = 0; i < cut->parts_count; i++) {
        offsets[i] = (struct admin_offset){.topic = cut->parts[i].topic,
                                           .partition = cut->parts[i].partition};
    }
    bool ok = admin_list_offsets(gather->options->target, OFFSET_SPEC_EARLIEST, offsets,
                                 cut->parts_count, err);
    for (size_t i = 0; ok && i < cut->parts_count; i++) {
        cut->parts[i].begin = offsets[i].error == 0 ? offsets[i].offset : -1;
    }
    free(offsets);
    return ok;
}

/* What was mirrored lies between them, also what no checkpoint tells of yet. */
static bool read_ends(struct gather *gather, struct err *err)
{
    return read_last(gather, err) && read_first(gather, err);
}

/* --- groups, from Redis ------------------------------------------------------------------------------------------- */

struct group_bin { /* open addressing by name */
    char *name;
    size_t at; /* in cut->groups */
};

static uint64_t name_hash(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325U; /* FNV-1a */
    for (; *name != '\0'; name++) {
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3U;
    }
    return hash;
}

static void bins_grow(struct gather *gather)
{
    size_t room = gather->bins_count == 0 ? 1024 : gather->bins_count * 2;
    free(gather->bins);
    gather->bins = must(calloc(room, sizeof(*gather->bins)));
    gather->bins_count = room;
    for (size_t i = 0; i < gather->cut->groups_count; i++) {
        size_t at = name_hash(gather->cut->groups[i].name) & (room - 1);
        while (gather->bins[at].name != NULL) {
            at = (at + 1) & (room - 1);
        }
        gather->bins[at] = (struct group_bin){gather->cut->groups[i].name, i};
    }
}

static struct cut_group *group_of(struct gather *gather, const char *name)
{
    struct cut *cut = gather->cut;
    if (gather->bins_count < cut->groups_count * 2 + 2) {
        bins_grow(gather);
    }
    size_t mask = gather->bins_count - 1;
    size_t at = name_hash(name) & mask;
    while (gather->bins[at].name != NULL) {
        if (strcmp(gather->bins[at].name, name) == 0) {
            return &cut->groups[gather->bins[at].at];
        }
        at = (at + 1) & mask;
    }
    struct cut_group *group = cut_group_add(cut, name);
    gather->bins[at] = (struct group_bin){group->name, cut->groups_count - 1};
    return group;
}

static void take_place(void *arg, const char *group, const char *topic, int32_t partition,
                       struct group_entry *entry)
{
    struct gather *gather = arg;
    struct cut_part *part = cut_part_find(gather->cut, topic, partition);
    if (part == NULL || entry->facts.source_offset < 0 || gather->places_count >= PLACES_MAX ||
        !config_patterns_match(&gather->options->service->groups, group)) {
        return;
    }
    struct cut_place *place = cut_place_add(group_of(gather, group), part);
    place->facts = entry->facts;
    place->metadata =
        entry->metadata != NULL && entry->metadata[0] != '\0' ? entry->metadata : NULL;
    entry->metadata = place->metadata == NULL ? entry->metadata : NULL;
    gather->places_count++;
}

/* One field of `meta`; heap, NULL = not there. */
static char *meta_field(const struct cut_options *options, const char *field, struct err *err)
{
    char *key = offset_print("%s{%s}:meta", options->to->redis->prefix, options->service->name);
    const char *argv[] = {"HGET", key, field};
    redisReply *reply = redis_sync_call(options->redis, 3, argv, NULL, err);
    free(key);
    char *out = reply != NULL && reply->type == REDIS_REPLY_STRING && reply->len > 0
                    ? must(strdup(reply->str))
                    : NULL;
    freeReplyObject(reply);
    return out;
}

/* The source's cluster id is told by nobody else once the source is gone. */
static bool whose_redis(struct gather *gather, struct err *err)
{
    const struct cut_options *options = gather->options;
    struct cut *cut = gather->cut;
    char field[160];
    err_clear(err);
    char *deployment = meta_field(options, "deployment", err);
    bool ok = err->kind == ERR_NONE;
    if (ok && (deployment == NULL || strcmp(deployment, options->config->deployment) != 0)) {
        ok = err_set(err, ERR_REFUSED, "it is %s%.100s",
                     deployment == NULL ? "empty" : "of another deployment: ",
                     deployment == NULL ? "" : deployment);
    }
    free(deployment);
    snprintf(field, sizeof(field), "cluster:%.100s", options->from->name);
    char *cluster = ok ? meta_field(options, field, err) : NULL;
    if (cluster != NULL && hint_word_ok(cluster, HINT_CLUSTER_BYTES)) {
        snprintf(cut->origin.cluster, sizeof(cut->origin.cluster), "%s", cluster);
    }
    free(cluster);
    return ok;
}

static bool read_redis(struct gather *gather, struct err *err)
{
    const struct cut_options *options = gather->options;
    struct cut *cut = gather->cut;
    if (!whose_redis(gather, err)) {
        return false;
    }
    struct offset_view *view =
        offset_view_new(options->redis, options->to->redis->prefix, options->service->name,
                        options->from->name, options->to->name);
    bool ok = offset_view_each_checkpoint(view, take_checkpoint, gather, err);
    offset_view_free(view);
    cut_parts_sort(cut);
    ok = ok && group_view_read_ms(options->redis, gather->base, &cut->looked_ms, err) &&
         group_view_each(options->redis, gather->base, take_place, gather, NULL, err) &&
         group_view_lately(options->redis, gather->base, &cut->lately, err) &&
         group_view_members(options->redis, gather->base, &cut->members, err);
    if (ok && cut->groups_count == 0 && options->service->groups.include_count > 0 &&
        cut->looked_ms < 0) {
        ok = err_set(err, ERR_REFUSED, "no keeper has left anything of groups there");
    }
    cut->of_redis = ok;
    return ok;
}

/* --- groups, from the target -------------------------------------------------------------------------------------- */

static bool is_ours(void *arg, const char *name)
{
    return config_patterns_match(&((const struct config_service *)arg)->groups, name);
}

static void take_row(struct gather *gather, const struct groups_row *row)
{
    struct cut_group *group = NULL;
    for (size_t i = 0; i < row->places_count; i++) {
        const struct groups_place *found = &row->places[i];
        struct cut_part *part = cut_part_find(gather->cut, found->topic, found->partition);
        if (part == NULL || found->offset < 0) {
            continue;
        }
        group = group == NULL ? cut_group_add(gather->cut, row->name) : group;
        struct cut_place *place = cut_place_add(group, part);
        bool hint = found->metadata != NULL && hint_is(found->metadata, strlen(found->metadata));
        place->metadata = found->metadata == NULL || hint ? NULL : must(strdup(found->metadata));
        place->facts = (struct group_facts){.source_offset = -1,
                                            .target_offset = found->offset,
                                            .verdict = VERDICT_EXACT,
                                            .committed = found->offset,
                                            .before = -1,
                                            .read_ms = -1,
                                            .limit = -1};
    }
}

/* The keeper commits each second, so that this works when Redis is gone. */
static bool read_target(struct gather *gather, struct err *err)
{
    const struct cut_options *options = gather->options;
    struct groups_list list = {0};
    void *service = (void *)(uintptr_t)options->service;
    bool ok = checkpoints_of_group(gather, err);
    cut_parts_sort(gather->cut);
    ok = ok && groups_read(options->groups, is_ours, service, &list, err) &&
         groups_fetch(options->groups, &list, err);
    for (size_t i = 0; ok && i < list.count; i++) {
        if (list.rows[i].err.kind != ERR_NONE) {
            struct cut_group *group = cut_group_add(gather->cut, list.rows[i].name);
            text_print(group->why, sizeof(group->why), "%s", list.rows[i].err.what);
        } else {
            take_row(gather, &list.rows[i]);
        }
    }
    groups_list_done(&list);
    return ok;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static void forget(struct cut *cut)
{
    struct hint_origin origin = cut->origin;
    cut_done(cut);
    *cut = (struct cut){.origin = origin, .looked_ms = -1, .alive_ms = -1};
}

bool cut_read(const struct cut_options *options, struct cut *out, struct err *err)
{
    struct gather gather = {.options = options, .cut = out};
    struct err why = {0};
    cut_begin(out, options);
    bool ok = false;
    if (options->redis != NULL) {
        gather.base = offset_base_key(options->to->redis->prefix, options->service->name,
                                      options->from->name, options->to->name);
        ok = read_redis(&gather, &why);
    } else {
        why = *options->redis_err;
    }
    if (!ok) {
        forget(out);
        text_print(out->why_not, sizeof(out->why_not), "%s", why.what);
        ok = read_target(&gather, err);
    }
    ok = ok && read_ends(&gather, err);
    if (ok) {
        cut_groups_sort(out);
        if (options->source != NULL && out->of_redis && !cut_read_source(out, options, &why)) {
            text_print(out->why_old, sizeof(out->why_old), "%s", why.what);
        }
        cut_find_hints(out, options);
    } else {
        cut_done(out);
    }
    free(gather.bins);
    free(gather.base);
    return ok;
}
