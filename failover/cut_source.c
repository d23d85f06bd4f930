/* The source's commits once more, where the source still answers: the keeper's last look is from before its worker was fenced,
 * and what a group committed since it would read again. What is not answered or not translated stays as the keeper saw it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/heap.h"
#include "failover/cut_inside.h"
#include "offsets/offset_store.h"

#define TRANSLATE_MS 5000 /* of all: each place that moved is one question to Redis, some 0.3 ms */

struct again {
    struct cut *cut;
    struct offset_view *view;
    size_t groups_count; /* of the cut, in order: those that are added stand behind */
    int64_t until_ms;
    int64_t wall_ms; /* when the source was asked */
    size_t left;     /* places that moved and are not translated */
};

static bool is_ours(void *arg, const char *name)
{
    return config_patterns_match(&((const struct config_service *)arg)->groups, name);
}

static struct cut_group *group_of(const struct again *again, const char *name)
{
    size_t low = 0;
    size_t high = again->groups_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(again->cut->groups[middle].name, name);
        if (order == 0) {
            return &again->cut->groups[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* @param count  places in order: those that are added stand behind */
static struct cut_place *place_of(const struct cut_group *group, size_t count,
                                  const struct cut_part *part)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (group->places[middle].part == part) {
            return &group->places[middle];
        }
        if (group->places[middle].part < part) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* A Redis that does not answer is not waited for again. */
static bool translate(struct again *again, const struct cut_part *part, int64_t offset,
                      struct translation *out)
{
    struct err why = {0};
    if (again->view == NULL || clock_now_ms(clock_system()) >= again->until_ms) {
        return false;
    }
    if (!offset_view_translate(again->view, part->topic, part->partition, offset, false, out,
                               &why)) {
        again->until_ms = why.kind == ERR_RETRY ? 0 : again->until_ms;
        return false;
    }
    return out->verdict != VERDICT_UNMAPPED && out->target_offset >= 0;
}

/* What is known of the place beside its commit holds on, but for who may read for it: somebody does. */
static void moved(struct again *again, struct cut_place *place, const struct groups_place *found,
                  const struct translation *to)
{
    bool own = found->metadata != NULL && found->metadata[0] != '\0' &&
               !hint_is(found->metadata, strlen(found->metadata));
    place->facts.source_offset = found->offset;
    place->facts.target_offset = to->target_offset;
    place->facts.verdict = to->verdict;
    place->facts.count = to->ahead_count;
    place->facts.read_ms = again->wall_ms;
    place->facts.limit = -1;
    free(place->metadata);
    place->metadata = own ? must(strdup(found->metadata)) : NULL;
}

static void take_row(struct again *again, const struct groups_row *row)
{
    struct cut_group *group = group_of(again, row->name);
    size_t count = group == NULL ? 0 : group->count;
    for (size_t i = 0; i < row->places_count; i++) {
        const struct groups_place *found = &row->places[i];
        struct cut_part *part = cut_part_find(again->cut, found->topic, found->partition);
        struct cut_place *place = group == NULL ? NULL : place_of(group, count, part);
        struct translation to;
        if (part == NULL || found->offset < 0 || found->error != 0) {
            continue;
        }
        if (place != NULL && !row->empty) {
            place->facts.limit = -1;
        }
        if (place != NULL && place->facts.source_offset == found->offset) {
            continue;
        }
        if (!translate(again, part, found->offset, &to)) {
            again->left++;
            continue;
        }
        group = group == NULL ? cut_group_add(again->cut, row->name) : group;
        if (place == NULL) {
            place = cut_place_add(group, part);
            place->facts = (struct group_facts){.committed = -1, .before = -1};
        }
        moved(again, place, found, &to);
    }
}

bool cut_read_source(struct cut *cut, const struct cut_options *options, struct err *err)
{
    struct groups_list list = {0};
    void *service = (void *)(uintptr_t)options->service;
    struct again again = {.cut = cut,
                          .groups_count = cut->groups_count,
                          .until_ms = clock_now_ms(clock_system()) + TRANSLATE_MS,
                          .wall_ms = clock_wall_ms(clock_system())};
    if (!groups_read(options->source, is_ours, service, &list, err) ||
        !groups_fetch(options->source, &list, err)) {
        groups_list_done(&list);
        return false;
    }
    again.view = offset_view_new(options->redis, options->to->redis->prefix, options->service->name,
                                 options->from->name, options->to->name);
    size_t failed = 0;
    for (size_t i = 0; i < list.count; i++) {
        if (list.rows[i].err.kind == ERR_NONE) {
            take_row(&again, &list.rows[i]);
        } else if (failed++ == 0) {
            *err = list.rows[i].err;
        }
    }
    offset_view_free(again.view);
    groups_list_done(&list);
    cut_groups_sort(cut);
    if (failed == 0 && again.left > 0) {
        err_set(err, ERR_RETRY, "%zu commits are not in the map", again.left);
    }
    if (failed > 0 || again.left > 0) {
        return false;
    }
    cut->looked_ms = again.wall_ms;
    return true;
}
