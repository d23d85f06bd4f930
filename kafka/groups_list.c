/* See groups.h: lists of groups, and of what each has committed; no I/O. */
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/groups_inside.h"

void groups_places_free(struct groups_row *row)
{
    for (size_t i = 0; i < row->places_count; i++) {
        free(row->places[i].metadata);
    }
    free(row->places);
    row->places = NULL;
    row->places_count = 0;
}

void groups_list_done(struct groups_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->rows[i].name);
        groups_places_free(&list->rows[i]);
    }
    for (size_t i = 0; i < list->topics_count; i++) {
        free(list->topics[i]);
    }
    free(list->rows);
    free(list->topics);
    *list = (struct groups_list){0};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct groups_row *)a)->name, ((const struct groups_row *)b)->name);
}

void groups_list_sort(struct groups_list *list)
{
    if (list->count > 1) {
        qsort(list->rows, list->count, sizeof(*list->rows), by_name);
    }
}

struct groups_row *groups_list_find(const struct groups_list *list, const char *name)
{
    size_t low = 0;
    size_t high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(list->rows[middle].name, name);
        if (order == 0) {
            return &list->rows[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

struct groups_row *groups_list_add(struct groups_list *list, const char *name)
{
    if ((list->count & (list->count - 1)) == 0) { /* full at powers of two */
        size_t room = list->count == 0 ? 1 : list->count * 2;
        list->rows = must(reallocarray(list->rows, room, sizeof(*list->rows)));
    }
    struct groups_row *row = &list->rows[list->count++];
    *row = (struct groups_row){.name = must(strdup(name)), .coordinator = -1};
    return row;
}

static int place_order(const struct groups_place *place, const char *topic, int32_t partition)
{
    int order = strcmp(place->topic, topic);
    return order != 0 ? order : (place->partition > partition) - (place->partition < partition);
}

static int by_place(const void *a, const void *b)
{
    const struct groups_place *of_b = b;
    return place_order(a, of_b->topic, of_b->partition);
}

void groups_places_sort(struct groups_row *row)
{
    if (row->places_count > 1) {
        qsort(row->places, row->places_count, sizeof(*row->places), by_place);
    }
}

struct groups_place *groups_row_place(const struct groups_row *row, const char *topic,
                                      int32_t partition)
{
    size_t low = 0;
    size_t high = row->places_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = place_order(&row->places[middle], topic, partition);
        if (order == 0) {
            return &row->places[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}
