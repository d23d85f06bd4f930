#include "offsets/offset_chosen.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "offsets/offset_script.h"

static int64_t side(struct offset_place place, bool from_target)
{
    return from_target ? place.target : place.source;
}

struct named_index {
    char name[INCARNATION_BYTES];
    struct offset_index index;
};

static bool take_index(const redisReply *list, size_t at, struct named_index *out, struct err *err)
{
    const char *name = script_text(list, at);
    const char *text = script_text(list, at + 1);
    if (name == NULL || text == NULL || strlen(name) >= INCARNATION_BYTES ||
        !offset_index_parse(text, list->element[at + 1]->len, &out->index)) {
        return err_set(err, ERR_REFUSED, "the index of incarnation '%.60s' is no index",
                       name == NULL ? "" : name);
    }
    snprintf(out->name, sizeof(out->name), "%s", name);
    return true;
}

static void set_chosen(struct offset_lookup *lookup, const struct named_index *named)
{
    lookup->has_chosen = true;
    lookup->chosen = named->index;
    snprintf(lookup->chosen_name, sizeof(lookup->chosen_name), "%s", named->name);
}

bool offset_choose(struct offset_lookup *lookup, const redisReply *list, int64_t offset,
                   bool from_target, struct err *err)
{
    char current[INCARNATION_BYTES] = "";
    struct named_index named = {0};
    struct named_index oldest = {.index.ordinal = INT64_MAX};
    if (lookup->has_checkpoint) {
        checkpoint_incarnation(&lookup->checkpoint, current);
    }
    for (size_t i = 0; i + 1 < list->elements; i += 2) {
        if (!take_index(list, i, &named, err)) {
            return false;
        }
        if (strcmp(named.name, current) == 0) {
            lookup->has_current = true;
            lookup->current = named.index;
        }
        oldest = named.index.ordinal < oldest.index.ordinal ? named : oldest;
        if (side(named.index.first, from_target) <= offset &&
            (!lookup->has_chosen || named.index.ordinal > lookup->chosen.ordinal)) {
            set_chosen(lookup, &named);
        }
    }
    if (!lookup->has_chosen && oldest.index.ordinal < INT64_MAX) {
        set_chosen(lookup, &oldest);
    }
    for (size_t i = 0; i + 1 < list->elements; i += 2) {
        if (take_index(list, i, &named, err) && named.index.ordinal > lookup->chosen.ordinal &&
            (!lookup->has_successor || named.index.ordinal < lookup->successor.ordinal)) {
            lookup->has_successor = true;
            lookup->successor = named.index;
        }
    }
    return true;
}

#define SOURCE_ID_CHARS 16 /* of an incarnation's name */

static bool of_generation(const char *name, const char *current, int32_t least)
{
    int64_t generation;
    const char *dot = strrchr(name, '.');
    return dot != NULL && decimal_parse(dot + 1, strlen(dot + 1), &generation) &&
           generation >= least && strncmp(name, current, SOURCE_ID_CHARS) == 0;
}

bool offset_generation_from(const struct checkpoint *checkpoint, const redisReply *list,
                            int32_t least, int64_t *out, struct err *err)
{
    char current[INCARNATION_BYTES];
    int64_t from = checkpoint->source_next;
    struct named_index named = {0};
    checkpoint_incarnation(checkpoint, current);
    for (size_t i = 0; i + 1 < list->elements; i += 2) {
        if (!take_index(list, i, &named, err)) {
            return false;
        }
        if (of_generation(named.name, current, least) && named.index.first.source < from) {
            from = named.index.first.source;
        }
    }
    *out = from;
    return true;
}

void offset_take_unmapped(struct offset_lookup *lookup, const redisReply *list, int64_t offset,
                          bool from_target)
{
    for (size_t i = 0; i < list->elements; i++) {
        struct offset_stretch stretch;
        const char *text = script_text(list, i);
        if (text != NULL &&
            offset_stretch_parse(text, list->element[i]->len, lookup->chosen_name, &stretch) &&
            side(stretch.begin, from_target) <= offset &&
            offset < side(stretch.until, from_target)) {
            lookup->has_unmapped = true;
            lookup->unmapped = stretch;
        }
    }
}
