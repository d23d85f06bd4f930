#include "cli/compare.h"

#include <stdlib.h>
#include <string.h>

const char *compare_kind_text(enum compare_kind kind)
{
    static const char *const texts[] = {"lost", "doubled", "differing", "foreign"};
    return kind < COMPARE_KINDS ? texts[kind] : "unknown";
}

/* --- findings ----------------------------------------------------------------------------------------------------- */

static bool continues(const struct compare_finding *open, enum compare_kind kind, int64_t source,
                      int64_t target)
{
    bool source_next =
        open->source_offset < 0 ? source < 0 : source == open->source_offset + open->count;
    bool target_next =
        open->target_offset < 0 ? target < 0 : target == open->target_offset + open->count;
    return open->count > 0 && open->kind == kind && source_next && target_next;
}

static void tell_open(struct compare *compare)
{
    if (compare->open.count > 0) {
        compare->found(compare->arg, &compare->open);
        compare->open.count = 0;
    }
}

static void wrong(struct compare *compare, enum compare_kind kind, int64_t source, int64_t target)
{
    compare->counts.wrong[kind]++;
    if (continues(&compare->open, kind, source, target)) {
        compare->open.count++;
        return;
    }
    tell_open(compare);
    compare->open = (struct compare_finding){kind, source, target, 1};
}

/* --- what was seen ------------------------------------------------------------------------------------------------ */

static struct compare_seen_slot *seen_slot(const struct compare_seen *seen, uint64_t digest)
{
    size_t at = (size_t)(digest ^ digest >> 32) & (seen->capacity - 1);
    while (seen->slots[at].digest != 0 && seen->slots[at].digest != digest) {
        at = (at + 1) & (seen->capacity - 1); /* half is free: it ends */
    }
    return &seen->slots[at];
}

static void seen_grow(struct compare_seen *seen)
{
    struct compare_seen bigger = {.capacity = seen->capacity == 0 ? 1024 : seen->capacity * 2,
                                  .count = seen->count};
    bigger.slots = calloc(bigger.capacity, sizeof(*bigger.slots));
    if (bigger.slots == NULL) {
        abort();
    }
    for (size_t i = 0; i < seen->capacity; i++) {
        if (seen->slots[i].digest != 0) {
            *seen_slot(&bigger, seen->slots[i].digest) = seen->slots[i];
        }
    }
    free(seen->slots);
    *seen = bigger;
}

static uint64_t not_zero(uint64_t digest)
{
    return digest == 0 ? 1 : digest;
}

static void remember(struct compare *compare, uint64_t digest, int64_t source_offset)
{
    struct compare_seen *seen = &compare->seen;
    if (seen->count >= COMPARE_SEEN_MAX) {
        free(compare->older.slots);
        compare->older = *seen;
        *seen = (struct compare_seen){.slots = NULL};
    }
    if ((seen->count + 1) * 2 > seen->capacity) {
        seen_grow(seen);
    }
    struct compare_seen_slot *slot = seen_slot(seen, not_zero(digest));
    seen->count += slot->digest == 0 ? 1 : 0;
    *slot = (struct compare_seen_slot){not_zero(digest), source_offset};
}

/* The source offset of a record like it; -1 = none was seen. */
static int64_t recall(const struct compare *compare, uint64_t digest)
{
    const struct compare_seen *const all[] = {&compare->seen, &compare->older};
    for (size_t i = 0; i < 2; i++) {
        if (all[i]->capacity > 0) {
            const struct compare_seen_slot *slot = seen_slot(all[i], not_zero(digest));
            if (slot->digest != 0) {
                return slot->source_offset;
            }
        }
    }
    return -1;
}

/* --- the map ------------------------------------------------------------------------------------------------------ */

/* The run that holds a source offset; offsets rise from call to call. */
static const struct offset_run *run_of_source(struct compare *compare, int64_t offset)
{
    while (compare->source_run < compare->runs_count) {
        const struct offset_run *run = &compare->runs[compare->source_run];
        if (offset < run->source_first + run->length) {
            return offset >= run->source_first ? run : NULL;
        }
        compare->source_run++;
    }
    return NULL;
}

static const struct offset_run *run_of_target(struct compare *compare, int64_t offset)
{
    while (compare->target_run < compare->runs_count) {
        const struct offset_run *run = &compare->runs[compare->target_run];
        if (offset < run->target_first + run->length) {
            return offset >= run->target_first ? run : NULL;
        }
        compare->target_run++;
    }
    return NULL;
}

/* Is the whole rest of this gap unmapped too? Then it is not asked record by record. */
static bool gap_rest_unmapped(struct compare *compare, int64_t *out_until, struct err *err)
{
    struct translation last;
    if (compare->source_run >= compare->runs_count) {
        return true; /* no run behind it: asked one by one */
    }
    int64_t until = compare->runs[compare->source_run].source_first;
    if (!compare->translate(compare->arg, until - 1, false, &last, err)) {
        return false;
    }
    *out_until = last.verdict == VERDICT_UNMAPPED ? until : *out_until;
    return true;
}

/* Where a source record has to be on the target. */
static bool map_source(struct compare *compare, int64_t offset, struct translation *out,
                       struct err *err)
{
    const struct offset_run *run = run_of_source(compare, offset);
    if (run != NULL) {
        *out =
            (struct translation){.verdict = VERDICT_EXACT,
                                 .source_offset = offset,
                                 .target_offset = run->target_first + offset - run->source_first};
        return true;
    }
    if (offset < compare->unmapped_until) {
        *out = (struct translation){VERDICT_UNMAPPED, offset, -1, 0};
        return true;
    }
    if (!compare->translate(compare->arg, offset, false, out, err)) {
        return false;
    }
    return out->verdict != VERDICT_UNMAPPED ||
           gap_rest_unmapped(compare, &compare->unmapped_until, err);
}

/* --- judging ------------------------------------------------------------------------------------------------------ */

/* A record that stands on the target although the map leads nothing there. */
static void judge_stranger(struct compare *compare, const struct compare_record *target)
{
    int64_t source_offset = recall(compare, target->digest);
    wrong(compare, source_offset >= 0 ? COMPARE_DOUBLED : COMPARE_FOREIGN, source_offset,
          target->offset);
}

/* A target record to which no source record leads. */
static bool judge_extra(struct compare *compare, const struct compare_record *target,
                        struct err *err)
{
    struct translation back;
    const struct offset_run *run = run_of_target(compare, target->offset);
    if (run != NULL) {
        int64_t source_offset = run->source_first + target->offset - run->target_first;
        if (source_offset < compare->source_begin || compare->compacted) {
            compare->counts.forgotten++; /* mirrored, and the source does not hold it any more */
        } else {
            judge_stranger(compare,
                           target); /* the map leads to a record that the source never had */
        }
        return true;
    }
    if (!compare->translate(compare->arg, target->offset, true, &back, err)) {
        return false;
    }
    switch (back.verdict) {
    case VERDICT_EXACT:
        compare->counts.forgotten++; /* of an older incarnation */
        break;
    case VERDICT_UNMAPPED:
        break; /* counted by its source record */
    case VERDICT_ROUNDED:
    case VERDICT_AHEAD:
    case VERDICT_LOST:
        judge_stranger(compare, target);
        break;
    }
    return true;
}

static void judge_pair(struct compare *compare, const struct compare_record *source,
                       const struct compare_record *target)
{
    compare->counts.compared++;
    if (!compare->same(compare->arg, source->message, target->message)) {
        wrong(compare, COMPARE_DIFFERING, source->offset, target->offset);
    }
    remember(compare, target->digest, source->offset);
}

static bool belongs(const struct compare *compare, const struct compare_record *source)
{
    return compare->belongs == NULL || compare->belongs(compare->arg, source->message);
}

/* The map leads it nowhere: filtered, unmapped, or a hole of the map that holds a record. */
static void judge_unled(struct compare *compare, const struct compare_record *source,
                        enum verdict verdict)
{
    if (source->offset >= compare->filter_from && !belongs(compare, source)) {
        compare->counts.filtered++;
    } else if (verdict == VERDICT_UNMAPPED) {
        compare->counts.unmapped++;
    } else if (source->offset < compare->filter_from) {
        compare->counts.unjudged++;
    } else {
        wrong(compare, COMPARE_LOST, source->offset, -1);
    }
}

static void judge_missing(struct compare *compare, const struct compare_record *source,
                          int64_t target_offset)
{
    if (target_offset < compare->target_begin) {
        compare->counts.expired++;
    } else if (compare->compacted) {
        compare->counts.compacted++;
    } else {
        wrong(compare, COMPARE_LOST, source->offset, target_offset);
    }
}

/* One step with a source record in front: it goes, or the target's record before its place goes. */
static bool step(struct compare *compare, const struct compare_record *source,
                 const struct compare_record *target, struct err *err)
{
    struct translation to;
    if (!map_source(compare, source->offset, &to, err)) {
        return false;
    }
    bool exact = to.verdict == VERDICT_EXACT || to.verdict == VERDICT_LOST;
    if (exact && target != NULL && target->offset < to.target_offset) {
        bool ok = judge_extra(compare, target, err);
        compare->target.pop(compare->target.arg);
        return ok;
    }
    if (exact && target != NULL && target->offset == to.target_offset) {
        judge_pair(compare, source, target);
        compare->target.pop(compare->target.arg);
    } else if (exact) {
        judge_missing(compare, source, to.target_offset);
    } else {
        judge_unled(compare, source, to.verdict);
    }
    compare->source.pop(compare->source.arg);
    return true;
}

bool compare_run(struct compare *compare, struct err *err)
{
    struct compare_record source;
    struct compare_record target;
    while (true) {
        enum compare_read left = compare->source.peek(compare->source.arg, &source, err);
        enum compare_read right = left == COMPARE_FAILED
                                      ? COMPARE_FAILED
                                      : compare->target.peek(compare->target.arg, &target, err);
        if (left == COMPARE_FAILED || right == COMPARE_FAILED) {
            return false;
        }
        if (left == COMPARE_END && right == COMPARE_END) {
            return true;
        }
        if (left == COMPARE_RECORD) {
            if (!step(compare, &source, right == COMPARE_RECORD ? &target : NULL, err)) {
                return false;
            }
            continue;
        }
        if (!judge_extra(compare, &target, err)) {
            return false;
        }
        compare->target.pop(compare->target.arg);
    }
}

bool compare_tail(struct compare *compare, struct err *err)
{
    struct compare_record source;
    struct compare_record target;
    while (true) {
        enum compare_read right = compare->target.peek(compare->target.arg, &target, err);
        if (right != COMPARE_RECORD) {
            return right == COMPARE_END;
        }
        enum compare_read left = compare->source.peek(compare->source.arg, &source, err);
        if (left == COMPARE_FAILED) {
            return false;
        }
        if (left == COMPARE_RECORD && !belongs(compare, &source)) {
            compare->counts.filtered++;
            compare->source.pop(compare->source.arg);
            continue;
        }
        if (left == COMPARE_RECORD && compare->same(compare->arg, source.message, target.message)) {
            compare->counts.behind++;
            remember(compare, target.digest, source.offset);
            compare->source.pop(compare->source.arg);
        } else {
            judge_stranger(compare, &target);
        }
        compare->target.pop(compare->target.arg);
    }
}

void compare_done(struct compare *compare)
{
    tell_open(compare);
    free(compare->seen.slots);
    free(compare->older.slots);
    compare->seen = compare->older = (struct compare_seen){.slots = NULL};
}
