/* The map of a stretch again, from the two logs: which part of them is read next, and what follows from it. Deciding core
 * without I/O.
 *
 * A stretch's end is a place that is known on both sides, its beginning may be none (Redis was flushed: nobody knows where
 * the stream began). So both logs are read and paired backwards, from the end down, a block at a time: what is newest is
 * known first, and each block ends at a pair, which is where the next one goes on.
 *
 *   begin ... [ lowest pair ... top ) ... until        each block is stored before the next one is begun
 *
 * A pair is two records of the same content; nothing is counted or extrapolated. Where the logs do not hold the records of
 * both sides any more (retention, compaction), or contradict each other, it stops by name and the rest stays unmapped.
 */
#ifndef FERRY_MIRROR_REBUILD_H
#define FERRY_MIRROR_REBUILD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "mirror/pairing.h"
#include "offsets/offset_rebuild.h"

#define REBUILD_BLOCK_BYTES \
    ((int64_t)4 << 20)           /* of the target, aimed at: half a second at 8 MiB/s */
#define REBUILD_SPAN_FIRST 256   /* target offsets, while how large they are is not known */
#define REBUILD_SPAN_MAX   16384 /* 256 pieces of 64 runs: 100 KiB in one call of Redis */
/* Of one side in memory: 128 Ki of 48 bytes, and an index of as much and more: below 20 MiB, one block a link. */
#define REBUILD_UNITS_MAX       (1 << 17)
#define REBUILD_BATCH_BYTES_MAX ((size_t)256 << 20) /* of one batch, decompressed */

enum rebuild_need {
    REBUILD_READ_TARGET, /* [ask_from, ask_to) */
    REBUILD_READ_SOURCE, /* likewise */
    REBUILD_STORE,       /* `pieces`, then the block is over */
    REBUILD_STOP,        /* the rest of the stretch cannot be rebuilt: `why` */
};

struct rebuild_options {
    int64_t id_base; /* producer id of our stream at generation 0 */
    bool
        by_content; /* path `records`: no id marks what is ours; all of the target's records are taken for it */
    int32_t generation;                 /* of the stretch's incarnation */
    const struct config_filter *filter; /* of the source's records; NULL = none. Borrowed */
};

/* What a block told about the next one: how much is read at once. All zero at first. */
struct rebuild_pace {
    int64_t span;        /* target offsets */
    double source_ratio; /* source offsets a target record; 0 = not known */
};

struct rebuild {
    /* --- read by the driver --- */
    int64_t ask_from;
    int64_t ask_to;
    struct offset_piece *pieces; /* REBUILD_STORE: oldest first */
    size_t pieces_count;
    struct err why; /* REBUILD_STOP */
    /* --- private --- */
    struct rebuild_options options;
    struct rebuild_pace *pace; /* the caller's */
    struct offset_open open;
    int64_t source_start; /* of the logs */
    int64_t target_start;
    struct offset_place floor; /* nothing below is read */
    struct offset_place low;   /* everything from here to the top was read */
    bool older;                /* floor.target is where an older generation of ours ends */
    struct pair_list read;     /* what is being read, forwards */
    int64_t expected;          /* next offset of it */
    struct pair_list target;   /* backwards from open.top */
    struct pair_list source;
    int64_t target_bytes;
};

/* Begin a block below open->top, which is not done. @param source_start, target_start  where the logs begin now */
enum rebuild_need rebuild_begin(struct rebuild *rebuild, const struct rebuild_options *options,
                                struct rebuild_pace *pace, const struct offset_open *open,
                                int64_t source_start, int64_t target_start);
void rebuild_done(struct rebuild *rebuild);

/* A batch of what was asked for, in order; those that reach out of it are taken in part. false: its bytes are broken. */
MUST_CHECK
bool rebuild_target_batch(struct rebuild *rebuild, const struct batch *batch, struct err *err);
/* kept = it passes read_committed; others are offsets without records. */
MUST_CHECK
bool rebuild_source_batch(struct rebuild *rebuild, const struct batch *batch, bool kept,
                          struct err *err);
/* All of what was asked for was given. */
enum rebuild_need rebuild_read_end(struct rebuild *rebuild, bool of_target);

#endif
