/* One offset looked up in what Redis holds: the newest incarnation that began at or before it, the entry at or below
 * it and the one behind, the unmapped stretch at or below it; read at once by one script. Pure.
 */
#ifndef FERRY_OFFSETS_OFFSET_LOOKUP_H
#define FERRY_OFFSETS_OFFSET_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "offsets/offset_backlog.h"
#include "offsets/offset_piece.h"
#include "offsets/translate.h"

struct offset_stored_entry {
    bool there;
    struct offset_run runs[OFFSET_MAP_PACK]; /* the last one with length 0 */
    size_t runs_count;
    int64_t source_gap;
    int64_t target_gap;
};

struct offset_lookup {
    bool has_checkpoint;
    struct checkpoint checkpoint;
    bool has_current; /* the index of the checkpoint's incarnation */
    struct offset_index current;
    bool has_chosen; /* the incarnation that is answered from */
    char chosen_name[INCARNATION_BYTES];
    struct offset_index chosen;
    bool
        has_successor; /* the one that began after it on the same topic of the side that was asked for */
    struct offset_index successor;
    struct offset_stored_entry floor;
    struct offset_stored_entry next;
    struct offset_place top; /* newest entry in the stream */
    bool has_unmapped;
    struct offset_stretch unmapped;
    bool
        has_piece; /* at or below the offset, of the chosen incarnation: what was rebuilt from the logs */
    struct offset_piece piece;
};

/* The run at or below the offset, closed, and the first run behind it.
 * @return false with ERR_REFUSED when entries and index contradict each other */
struct offset_neighbours {
    bool has_floor;
    struct offset_run floor;
    bool floor_certain; /* its length is known; else only its first record is */
    bool has_next;
    struct offset_run next; /* length 0 */
};
MUST_CHECK
bool offset_lookup_neighbours(const struct offset_lookup *lookup, int64_t offset, bool from_target,
                              struct offset_neighbours *out, struct err *err);

/* ERR_REFUSED "no checkpoint", or what contradicts. */
MUST_CHECK
bool offset_lookup_translate(const struct offset_lookup *lookup, int64_t offset, bool from_target,
                             struct translation *out, struct err *err);

#endif
