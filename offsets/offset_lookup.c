#include "offsets/offset_lookup.h"

#include <assert.h>
#include <string.h>

static int64_t side_of(struct offset_place place, bool from_target)
{
    return from_target ? place.target : place.source;
}

static int64_t first_of(const struct offset_run *run, bool from_target)
{
    return from_target ? run->target_first : run->source_first;
}

static bool top_is_there(const struct offset_lookup *lookup)
{
    return lookup->top.source == lookup->chosen.top.source &&
           lookup->top.target == lookup->chosen.top.target;
}

/* Entries above the index's position belong to an advance or a cut that is going on; they do not count yet. */
static bool next_counts(const struct offset_lookup *lookup)
{
    const struct offset_stored_entry *next = &lookup->next;
    return next->there && next->runs[0].source_first < lookup->chosen.next.source &&
           next->runs[0].target_first < lookup->chosen.next.target;
}

static bool close_last(const struct offset_lookup *lookup, struct offset_neighbours *out,
                       struct err *err)
{
    struct offset_place end = lookup->chosen.run_end;
    if (next_counts(lookup)) {
        const struct offset_stored_entry *next = &lookup->next;
        end.source = next->runs[0].source_first - next->source_gap;
        end.target = next->runs[0].target_first - next->target_gap;
    } else if (!top_is_there(lookup)) {
        out->floor.length = 1; /* a run holds a record at least */
        out->floor_certain = false;
        return true;
    }
    out->floor.length = end.source - out->floor.source_first;
    out->floor_certain = true;
    if (out->floor.length <= 0 || end.target - out->floor.target_first != out->floor.length) {
        return err_set(err, ERR_REFUSED,
                       "the run at %lld-%lld does not end where what follows it says (%lld-%lld)",
                       (long long)out->floor.source_first, (long long)out->floor.target_first,
                       (long long)end.source, (long long)end.target);
    }
    return true;
}

bool offset_lookup_neighbours(const struct offset_lookup *lookup, int64_t offset, bool from_target,
                              struct offset_neighbours *out, struct err *err)
{
    *out = (struct offset_neighbours){0};
    const struct offset_stored_entry *floor = &lookup->floor;
    size_t at = 0; /* runs of the entry that begin at or before the offset */
    while (floor->there && at < floor->runs_count &&
           first_of(&floor->runs[at], from_target) <= offset) {
        at++;
    }
    out->has_next = (floor->there && at < floor->runs_count) || next_counts(lookup);
    if (out->has_next) {
        out->next = floor->there && at < floor->runs_count ? floor->runs[at] : lookup->next.runs[0];
        out->next.length = 0;
    }
    if (at == 0) {
        return true;
    }
    out->has_floor = true;
    out->floor = floor->runs[at - 1];
    out->floor_certain = true;
    return at < floor->runs_count || close_last(lookup, out, err);
}

#define VERSION_AT 12 /* of a UUID's hex digits */
/* Topic ids in an incarnation's name: SSSSSSSSSSSSSSSS.TTTTTTTTTTTTTTTT.G */
static bool other_topic(const struct offset_lookup *lookup, bool target)
{
    const struct checkpoint *now = &lookup->checkpoint;
    const char *chosen = lookup->chosen_name + (target ? 17 : 0);
    char id[UUID_TEXT_BYTES];
    uuid_hex(target ? &now->target_topic_id : &now->source_topic_id, id);
    if ((chosen[VERSION_AT] == '8') != (id[VERSION_AT] == '8')) {
        return false; /* one is made of the topic's name: the cluster has ids only since (kafka/topic_id.h) */
    }
    return strncmp(chosen, id, 16) != 0;
}

static bool is_current(const struct offset_lookup *lookup)
{
    char current[INCARNATION_BYTES];
    return strcmp(lookup->chosen_name, checkpoint_incarnation(&lookup->checkpoint, current)) == 0;
}

static void answer(struct translation *out, enum verdict verdict, bool from_target, int64_t other)
{
    out->verdict = verdict;
    out->ahead_count = 0;
    *(from_target ? &out->source_offset : &out->target_offset) = other;
}

/* Are there runs below the offset that are not in the stream any more, or not known? */
static bool nothing_is_known(const struct offset_lookup *lookup,
                             const struct offset_neighbours *near, int64_t offset, bool from_target)
{
    if (lookup->has_unmapped && side_of(lookup->unmapped.begin, from_target) <= offset &&
        offset < side_of(lookup->unmapped.until, from_target)) {
        return true;
    }
    if (near->has_floor) {
        return !near->floor_certain;
    }
    if (near->has_next) { /* trimmed: something ended before the first entry that is left */
        return !lookup->floor.there && (lookup->next.source_gap > 0 || lookup->next.target_gap > 0);
    }
    return lookup->chosen.run_end.source >= 0;
}

/* The successor began where the stream's checkpoint in Redis stands, on one side at least: nothing was mirrored in between.
 * Elsewhere what was is not written down: a worker died with it, and the next one could not go on in the same stream. */
static bool nothing_between(const struct offset_lookup *lookup)
{
    const struct offset_place *end = &lookup->chosen.next;
    const struct offset_place *begin = &lookup->successor.first;
    return begin->source == end->source || begin->target == end->target;
}

/* What stands beside the piece must leave it room, or one of them is not of this history. */
static bool piece_fits(const struct offset_lookup *lookup, const struct offset_neighbours *near)
{
    const struct offset_piece *piece = &lookup->piece;
    struct offset_place begin = piece->span.begin;
    struct offset_place until = piece->span.until;
    if (begin.source < lookup->chosen.first.source || begin.target < lookup->chosen.first.target ||
        until.source > lookup->chosen.next.source || until.target > lookup->chosen.next.target) {
        return false;
    }
    const struct offset_run *floor = &near->floor;
    const struct offset_run *next = &near->next;
    bool above = !near->has_floor || !near->floor_certain ||
                 (floor->source_first + floor->length <= begin.source &&
                  floor->target_first + floor->length <= begin.target);
    return above && (!near->has_next ||
                     (next->source_first >= until.source && next->target_first >= until.target));
}

static void translate_in_chosen(const struct offset_lookup *lookup,
                                const struct offset_neighbours *near, int64_t offset,
                                bool from_target, struct translation *out)
{
    struct checkpoint end = {.source_next = lookup->chosen.next.source,
                             .target_next = lookup->chosen.next.target};
    const struct offset_run *floor = near->has_floor ? &near->floor : NULL;
    const struct offset_run *next = near->has_next ? &near->next : NULL;
    *out = from_target ? translate_target(offset, floor, next, &end)
                       : translate_source(offset, floor, next, &end);
    bool rebuilt = lookup->has_piece && offset_piece_covers(&lookup->piece, offset, from_target) &&
                   piece_fits(lookup, near);
    if (out->verdict == VERDICT_ROUNDED && rebuilt) {
        offset_piece_translate(&lookup->piece, offset, from_target, out);
    } else if (out->verdict == VERDICT_ROUNDED &&
               nothing_is_known(lookup, near, offset, from_target)) {
        answer(out, VERDICT_UNMAPPED, from_target, -1);
    }
    bool past_the_end = offset >= side_of(lookup->chosen.next, from_target);
    if (past_the_end && !is_current(lookup) && lookup->has_successor) {
        /* It ended there; what was mirrored next is the successor's first record. */
        bool known = nothing_between(lookup);
        answer(out, known ? VERDICT_ROUNDED : VERDICT_UNMAPPED, from_target,
               known ? side_of(lookup->successor.first, !from_target) : -1);
    }
}

bool offset_lookup_translate(const struct offset_lookup *lookup, int64_t offset, bool from_target,
                             struct translation *out, struct err *err)
{
    if (!lookup->has_checkpoint) {
        return err_set(err, ERR_REFUSED, "no checkpoint");
    }
    *out = (struct translation){.source_offset = from_target ? -1 : offset,
                                .target_offset = from_target ? offset : -1};
    if (!lookup->has_current || !lookup->has_chosen) { /* the index is gone */
        answer(out, VERDICT_UNMAPPED, from_target, -1);
        return true;
    }
    if (other_topic(lookup,
                    !from_target)) { /* mirrored into, or from, a topic that was deleted since */
        answer(out, VERDICT_LOST, from_target, side_of(lookup->current.first, !from_target));
        return true;
    }
    struct offset_neighbours near;
    if (!offset_lookup_neighbours(lookup, offset, from_target, &near, err)) {
        return false;
    }
    translate_in_chosen(lookup, &near, offset, from_target, out);
    return true;
}
