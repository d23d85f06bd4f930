/* Source position to target position: a verdict with each, and nothing invented.
 *
 * A position is "the next record to read". Pure functions over a run and its neighbours; the callers fetch those from
 * Redis or memory.
 */
#ifndef FERRY_OFFSETS_TRANSLATE_H
#define FERRY_OFFSETS_TRANSLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "offsets/checkpoint.h"
#include "offsets/offset_map.h"

enum verdict {
    VERDICT_EXACT,   /* the very same record */
    VERDICT_ROUNDED, /* inside a hole: the next mirrored record */
    VERDICT_AHEAD, /* past the mirror: the target's mirrored end; `ahead_count` source offsets are missing */
    VERDICT_LOST, /* the record is gone from the target's log: clamped to its start by the caller */
    VERDICT_UNMAPPED, /* the stretch could not be kept: no answer until it is rebuilt */
};
const char *verdict_text(enum verdict verdict);

struct translation {
    enum verdict verdict;
    int64_t source_offset;
    int64_t target_offset; /* -1 when unmapped */
    int64_t ahead_count;
};

/* @param floor  last run with source_first <= source_offset, its length already closed; NULL = none
 * @param next   the run after it, NULL = none
 * @param end    the newest checkpoint of the partition (same incarnation as the runs) */
struct translation translate_source(int64_t source_offset, const struct offset_run *floor,
                                    const struct offset_run *next, const struct checkpoint *end);
/* The other direction: which source record stands at target_offset. ROUNDED: a record that is not ours stands there,
 * the next of ours is given. AHEAD: behind the mirrored end. */
struct translation translate_target(int64_t target_offset, const struct offset_run *floor,
                                    const struct offset_run *next, const struct checkpoint *end);

#endif
