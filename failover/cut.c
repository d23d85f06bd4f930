/* Gathering: checkpoints, both ends of the target's logs, groups; then hints, partition by partition. */
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
#define WINDOW_RUNS 2000    /* of a partition's map at once; 64 an entry */
#define WINDOWS_MAX \
    2000 /* some 0.3 ms each: half a second of the whole, beyond it hints are without source offsets */
#define RUNS_MAX    400000 /* of all hints together: 10 MB of JSON */
#define RUNS_LEAST  8      /* of each, all the same */
#define TOPIC_BYTES 250

/* --- parts and groups --------------------------------------------------------------------------------------------- */

static int compare_place(const struct cut_part *part, const char *topic, int32_t partition)
{
    int order = strcmp(part->topic, topic);
    return order != 0 ? order : (part->partition > partition) - (part->partition < partition);
}

static int by_part(const void *a, const void *b)
{
    const struct cut_part *of_b = b;
    return compare_place(a, of_b->topic, of_b->partition);
}

struct cut_part *cut_part_find(const struct cut *cut, const char *topic, int32_t partition)
{
    size_t low = 0;
    size_t high = cut->parts_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_place(&cut->parts[middle], topic, partition);
        if (order == 0) {
            return &cut->parts[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

struct cut_part *cut_part_add(struct cut *cut, const char *topic, int32_t partition)
{
    if ((cut->parts_count & (cut->parts_count - 1)) == 0) { /* full at powers of two */
        size_t room = cut->parts_count == 0 ? 1 : cut->parts_count * 2;
        cut->parts = must(reallocarray(cut->parts, room, sizeof(*cut->parts)));
    }
    struct cut_part *part = &cut->parts[cut->parts_count++];
    *part = (struct cut_part){.partition = partition, .begin = -1, .end = -1};
    snprintf(part->topic, sizeof(part->topic), "%s", topic);
    return part;
}

/* Of two checkpoints of one partition the newer counts. */
void cut_parts_sort(struct cut *cut)
{
    size_t kept = 0;
    if (cut->parts_count > 1) {
        qsort(cut->parts, cut->parts_count, sizeof(*cut->parts), by_part);
    }
    for (size_t i = 0; i < cut->parts_count; i++) {
        struct cut_part *last = kept == 0 ? NULL : &cut->parts[kept - 1];
        if (last == NULL || by_part(last, &cut->parts[i]) != 0) {
            cut->parts[kept++] = cut->parts[i];
        } else if (checkpoint_newer(&cut->parts[i].at, &last->at)) {
            *last = cut->parts[i];
        }
    }
    cut->parts_count = kept;
    for (size_t i = 0; i < cut->parts_count; i++) {
        int64_t time_ms = cut->parts[i].at.time_ms;
        cut->alive_ms = time_ms > cut->alive_ms ? time_ms : cut->alive_ms;
    }
}

static int group_by_name(const void *a, const void *b)
{
    return strcmp(((const struct cut_group *)a)->name, ((const struct cut_group *)b)->name);
}

static int place_by_part(const void *a, const void *b)
{
    const struct cut_place *of_a = a;
    const struct cut_place *of_b = b;
    return (of_a->part > of_b->part) - (of_a->part < of_b->part);
}

/* What was told of twice is kept once. */
static void sort_places(struct cut_group *group)
{
    size_t kept = 0;
    if (group->count > 1) {
        qsort(group->places, group->count, sizeof(*group->places), place_by_part);
    }
    for (size_t i = 0; i < group->count; i++) {
        if (kept > 0 && group->places[kept - 1].part == group->places[i].part) {
            free(group->places[i].metadata);
        } else {
            group->places[kept++] = group->places[i];
        }
    }
    group->count = kept;
}

void cut_groups_sort(struct cut *cut)
{
    if (cut->groups_count > 1) {
        qsort(cut->groups, cut->groups_count, sizeof(*cut->groups), group_by_name);
    }
    for (size_t i = 0; i < cut->groups_count; i++) {
        sort_places(&cut->groups[i]);
    }
}

struct cut_group *cut_group_add(struct cut *cut, const char *name)
{
    if ((cut->groups_count & (cut->groups_count - 1)) == 0) {
        size_t room = cut->groups_count == 0 ? 1 : cut->groups_count * 2;
        cut->groups = must(reallocarray(cut->groups, room, sizeof(*cut->groups)));
    }
    struct cut_group *group = &cut->groups[cut->groups_count++];
    *group = (struct cut_group){.name = must(strdup(name))};
    return group;
}

struct cut_place *cut_place_add(struct cut_group *group, struct cut_part *part)
{
    if ((group->count & (group->count - 1)) == 0) {
        size_t room = group->count == 0 ? 1 : group->count * 2;
        group->places = must(reallocarray(group->places, room, sizeof(*group->places)));
    }
    struct cut_place *place = &group->places[group->count++];
    *place = (struct cut_place){.part = part, .stood = -1};
    return place;
}

void cut_done(struct cut *cut)
{
    for (size_t i = 0; i < cut->groups_count; i++) {
        struct cut_group *group = &cut->groups[i];
        for (size_t j = 0; j < group->count; j++) {
            free(group->places[j].metadata);
            hint_done(&group->places[j].hint);
        }
        free(group->places);
        free(group->name);
    }
    free(cut->groups);
    free(cut->parts);
    json_decref(cut->members);
    *cut = (struct cut){0};
}

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

/* --- hints -------------------------------------------------------------------------------------------------------- */

struct window { /* of a partition's map */
    struct offset_run *runs;
    size_t count;
    int64_t source_end; /* behind the last one */
    size_t loads;       /* of all partitions */
};

static bool take_run(void *arg, const char *incarnation, const struct offset_run *run)
{
    struct window *window = arg;
    (void)incarnation;
    bool follows = true;
    if (window->count > 0) {
        const struct offset_run *last = &window->runs[window->count - 1];
        follows = run->source_first >= last->source_first + last->length &&
                  run->target_first >= last->target_first + last->length;
    }
    if (!follows || run->length <= 0 || run->source_first > INT64_MAX / 2 ||
        run->target_first > INT64_MAX / 2 || run->length > INT64_MAX / 4) {
        return false; /* not what ferry writes */
    }
    window->runs[window->count++] = *run;
    window->source_end = run->source_first + run->length;
    return window->count < WINDOW_RUNS;
}

/* Empty: nothing is known. */
static void load_window(struct window *window, struct offset_view *view,
                        const struct cut_part *part, int64_t source)
{
    struct err err;
    window->count = 0;
    window->source_end = -1;
    if (view == NULL || window->loads++ >= WINDOWS_MAX) {
        return;
    }
    if (!offset_view_runs_from(view, part->topic, part->partition, &part->at, source, take_run,
                               window, &err)) {
        window->count = 0; /* hints go without: what they bound is proven without the map, too */
        window->loads =
            err.kind == ERR_RETRY ? WINDOWS_MAX : window->loads; /* not waited for again */
    }
}

static bool in_window(const struct window *window, int64_t source)
{
    return window->count > 0 && window->runs[0].source_first <= source &&
           source < window->source_end;
}

/* The mirror went on since the keeper looked: what it was ahead by is there now. */
static void catch_up(struct cut_place *place, const struct window *window)
{
    struct group_facts *facts = &place->facts;
    for (size_t i = 0; facts->verdict == VERDICT_AHEAD && i < window->count; i++) {
        const struct offset_run *run = &window->runs[i];
        if (facts->source_offset >= run->source_first &&
            facts->source_offset - run->source_first < run->length) {
            facts->verdict = VERDICT_EXACT;
            facts->count = 0;
            facts->target_offset = run->target_first + (facts->source_offset - run->source_first);
        }
    }
}

static void clamp(struct cut_place *place)
{
    struct group_facts *facts = &place->facts;
    const struct cut_part *part = place->part;
    if (facts->target_offset >= 0 && facts->target_offset < part->begin) {
        facts->count = part->begin - facts->target_offset;
        facts->target_offset = part->begin;
        facts->verdict = VERDICT_LOST;
    }
    if (facts->target_offset > part->end) { /* the target lost records */
        facts->target_offset = part->end;
    }
}

static void find_hint(const struct cut *cut, struct cut_place *place, const struct window *window,
                      size_t most)
{
    const struct group_facts *facts = &place->facts;
    hint_done(&place->hint);
    clamp(place);
    const struct hint_place what = {.from = facts->target_offset,
                                    .mirrored_end = place->part->end,
                                    .source_offset = facts->source_offset,
                                    .source_limit = facts->limit,
                                    .limit_holds = cut->lately,
                                    .pace = facts->pace,
                                    .read_ms = facts->read_ms,
                                    .looked_ms = cut->looked_ms,
                                    .alive_ms = cut->alive_ms};
    if (facts->target_offset >= 0) {
        hint_find(&what, window->runs, window->count, most, &place->hint);
    }
}

static int by_source(const void *a, const void *b)
{
    const struct cut_place *of_a = *(struct cut_place *const *)a;
    const struct cut_place *of_b = *(struct cut_place *const *)b;
    if (of_a->part != of_b->part) {
        return (of_a->part > of_b->part) - (of_a->part < of_b->part);
    }
    return (of_a->facts.source_offset > of_b->facts.source_offset) -
           (of_a->facts.source_offset < of_b->facts.source_offset);
}

void cut_find_hints(struct cut *cut, const struct cut_options *options)
{
    struct window window = {.runs = must(calloc(WINDOW_RUNS, sizeof(struct offset_run)))};
    struct cut_place **places;
    size_t count = 0;
    size_t all = 0;
    for (size_t i = 0; i < cut->groups_count; i++) {
        all += cut->groups[i].count;
    }
    size_t most = RUNS_MAX / (all + 1);
    places = must(calloc(all + 1, sizeof(struct cut_place *)));
    for (size_t i = 0; i < cut->groups_count; i++) {
        for (size_t j = 0; j < cut->groups[i].count; j++) {
            places[count++] = &cut->groups[i].places[j];
        }
    }
    qsort(places, count, sizeof(struct cut_place *), by_source);
    struct offset_view *view =
        cut->of_redis && options->redis != NULL
            ? offset_view_new(options->redis, options->to->redis->prefix, options->service->name,
                              options->from->name, options->to->name)
            : NULL;
    for (size_t i = 0; i < count; i++) {
        int64_t source = places[i]->facts.source_offset;
        bool other = i == 0 || places[i]->part != places[i - 1]->part;
        bool wanted = source >= 0 && source < places[i]->part->at.source_next;
        if (other) {
            window.count = 0;
        }
        if (wanted && !in_window(&window, source)) {
            load_window(&window, view, places[i]->part, source);
        }
        catch_up(places[i], &window);
        find_hint(cut, places[i], &window, most > RUNS_LEAST ? most : RUNS_LEAST);
    }
    offset_view_free(view);
    free(places);
    free(window.runs);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static void forget(struct cut *cut)
{
    struct hint_origin origin = cut->origin;
    cut_done(cut);
    *cut = (struct cut){.origin = origin, .looked_ms = -1, .alive_ms = -1};
}

void cut_begin(struct cut *cut, const struct cut_options *options)
{
    *cut = (struct cut){.looked_ms = -1, .alive_ms = -1};
    snprintf(cut->origin.operation, sizeof(cut->origin.operation), "%s", options->operation);
    snprintf(cut->origin.cluster, sizeof(cut->origin.cluster), "unknown");
    cut->origin.cut_ms = options->now_ms;
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
