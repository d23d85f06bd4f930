/* Runs of one partition and one incarnation: append, floor lookup, packing.
 *
 * A run is a stretch where target offset = source offset + constant; it has a length. Runs never overlap, both sides
 * grow. Between two runs lie gaps: source offsets that were not mirrored (markers, aborted, compacted) and target
 * offsets that are not ours. Nothing is extrapolated: the last run ends at the checkpoint.
 *
 * Packed form (field `r` of a stream entry whose ID is (first source offset + 1)-(first target offset)):
 *   uvarint source_gap, uvarint target_gap      from the end of the run before the entry (0 0 for the very first)
 *   then up to 63 times: uvarint length-of-run, uvarint source_gap, uvarint target_gap   to the next run of the entry
 * The length of an entry's last run is not in it: it ends where the next entry's gaps begin, or at the checkpoint.
 * uvarints are 64-bit LEB128.
 */
#ifndef FERRY_OFFSETS_OFFSET_MAP_H
#define FERRY_OFFSETS_OFFSET_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define OFFSET_MAP_PACK 64 /* runs an entry */

struct offset_run {
    int64_t source_first;
    int64_t target_first;
    int64_t length; /* > 0 */
};

/* Runs in memory, oldest first. */
struct offset_map {
    struct offset_run *runs;
    size_t runs_count;
    size_t runs_capacity;
};

void offset_map_init(struct offset_map *map);
void offset_map_done(struct offset_map *map);
/* Append or lengthen: a run that continues the last one on both sides is merged into it. Asserts that it does not
 * begin before the end of the last one on either side. */
void offset_map_append(struct offset_map *map, struct offset_run run);
/* The last run with source_first <= source_offset, or NULL. */
const struct offset_run *offset_map_floor(const struct offset_map *map, int64_t source_offset);
/* The last run with target_first <= target_offset, or NULL. */
const struct offset_run *offset_map_floor_target(const struct offset_map *map,
                                                 int64_t target_offset);
/* Forget the first `count` runs. */
void offset_map_drop_first(struct offset_map *map, size_t count);

/* 64-bit LEB128, at most OFFSET_UVARINT_BYTES. Returns the bytes written. */
#define OFFSET_UVARINT_BYTES 10
size_t offset_uvarint_put(uint8_t *out, uint64_t value);

/* One entry of the stream as stored. */
struct offset_entry {
    int64_t id_source;                    /* first source offset + 1 */
    int64_t id_target;                    /* first target offset */
    uint8_t packed[OFFSET_MAP_PACK * 30]; /* 64 runs * 3 uvarints of at most 10 bytes */
    size_t packed_len;
};
/* Pack runs[0..count) (count <= OFFSET_MAP_PACK) that follow a run ending at (source_end, target_end);
 * -1, -1 when nothing is before. */
void offset_entry_pack(struct offset_entry *out, int64_t source_end, int64_t target_end,
                       const struct offset_run *runs, size_t count);
/* Unpack a stored entry, which is hostile: gives its runs (the last one with length 0 = open) and the gaps before its
 * first run. ERR_REFUSED when bytes are not what pack writes. */
MUST_CHECK
bool offset_entry_unpack(int64_t id_source, int64_t id_target, const uint8_t *packed, size_t len,
                         struct offset_run out_runs[OFFSET_MAP_PACK], size_t *out_count,
                         int64_t *out_source_gap, int64_t *out_target_gap, struct err *err);

#endif
