/* A cut as a table: its parts, its groups, their places. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "failover/cut_inside.h"

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

void cut_begin(struct cut *cut, const struct cut_options *options)
{
    *cut = (struct cut){.looked_ms = -1, .alive_ms = -1};
    snprintf(cut->origin.operation, sizeof(cut->origin.operation), "%s", options->operation);
    snprintf(cut->origin.cluster, sizeof(cut->origin.cluster), "unknown");
    cut->origin.cut_ms = options->now_ms;
}
