/* Verdicts over a run and its neighbours. A gap rounds up to what comes next and was mirrored, never down and never
 * past it: a group that goes on there reads nothing twice and skips nothing. */
#include "offsets/translate.h"

#include <assert.h>
#include <stddef.h>

const char *verdict_text(enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_EXACT:
        return "exact";
    case VERDICT_ROUNDED:
        return "rounded";
    case VERDICT_AHEAD:
        return "ahead";
    case VERDICT_LOST:
        return "lost";
    case VERDICT_UNMAPPED:
        return "unmapped";
    }
    return "unknown";
}

/* One direction, as both are the same with the sides swapped. */
struct side {
    int64_t floor_from; /* -1 = no floor */
    int64_t floor_to;
    int64_t floor_length;
    int64_t next_to; /* -1 = no next */
    int64_t end_from;
    int64_t end_to;
};

static enum verdict place(int64_t offset, const struct side *side, int64_t *out_to,
                          int64_t *out_ahead)
{
    *out_ahead = 0;
    if (offset >= side->end_from) {
        /* Exactly the end is no guess: everything before was read, the next mirrored record comes there. */
        *out_ahead = offset - side->end_from;
        *out_to = side->end_to;
        return *out_ahead == 0 ? VERDICT_EXACT : VERDICT_AHEAD;
    }
    if (side->floor_from >= 0 && offset - side->floor_from < side->floor_length) {
        *out_to = side->floor_to + (offset - side->floor_from);
        return VERDICT_EXACT;
    }
    *out_to = side->next_to >= 0 ? side->next_to : side->end_to;
    return VERDICT_ROUNDED;
}

struct translation translate_source(int64_t source_offset, const struct offset_run *floor,
                                    const struct offset_run *next, const struct checkpoint *end)
{
    assert(floor == NULL || floor->source_first <= source_offset);
    assert(next == NULL || next->source_first > source_offset);
    struct side side = {.floor_from = floor == NULL ? -1 : floor->source_first,
                        .floor_to = floor == NULL ? -1 : floor->target_first,
                        .floor_length = floor == NULL ? 0 : floor->length,
                        .next_to = next == NULL ? -1 : next->target_first,
                        .end_from = end->source_next,
                        .end_to = end->target_next};
    struct translation out = {.source_offset = source_offset};
    out.verdict = place(source_offset, &side, &out.target_offset, &out.ahead_count);
    return out;
}

struct translation translate_target(int64_t target_offset, const struct offset_run *floor,
                                    const struct offset_run *next, const struct checkpoint *end)
{
    assert(floor == NULL || floor->target_first <= target_offset);
    assert(next == NULL || next->target_first > target_offset);
    struct side side = {.floor_from = floor == NULL ? -1 : floor->target_first,
                        .floor_to = floor == NULL ? -1 : floor->source_first,
                        .floor_length = floor == NULL ? 0 : floor->length,
                        .next_to = next == NULL ? -1 : next->source_first,
                        .end_from = end->target_next,
                        .end_to = end->source_next};
    struct translation out = {.target_offset = target_offset};
    out.verdict = place(target_offset, &side, &out.source_offset, &out.ahead_count);
    return out;
}
