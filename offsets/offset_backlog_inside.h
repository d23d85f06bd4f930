/* Inside of offset_backlog: what its parts share. Nobody else includes this.
 *
 *   offset_backlog    grows at its end, is stored from its begin, gives up what is too much
 *   offset_chunk      one chunk, and the list that they are in
 *   offset_reconcile  going on from what Redis holds
 */
#ifndef FERRY_OFFSETS_OFFSET_BACKLOG_INSIDE_H
#define FERRY_OFFSETS_OFFSET_BACKLOG_INSIDE_H

#include "offsets/offset_backlog.h"

#define OFFSET_CHUNK_PIECES \
    (OFFSET_MAP_PACK + 1) /* what the run before grew by, and an entry's runs */

/* --- places --- */
static inline bool place_known(struct offset_place place)
{
    return place.source >= 0;
}

static inline bool place_equal(struct offset_place a, struct offset_place b)
{
    return a.source == b.source && a.target == b.target;
}

/* On either side: places of one history are never before on one and behind on the other. */
static inline bool place_before(struct offset_place a, struct offset_place b)
{
    return a.source < b.source || a.target < b.target;
}

/* Behind on one side and ahead on the other: no two places of one history. What Redis says is checked for that. */
static inline bool place_crosses(struct offset_place a, struct offset_place b)
{
    return place_before(a, b) && place_before(b, a);
}

static inline struct offset_place place_of(const struct checkpoint *checkpoint)
{
    return (struct offset_place){checkpoint->source_next, checkpoint->target_next};
}

static inline struct offset_place run_begin(struct offset_run run)
{
    return (struct offset_place){run.source_first, run.target_first};
}

static inline struct offset_place run_end(struct offset_run run)
{
    return (struct offset_place){run.source_first + run.length, run.target_first + run.length};
}

/* --- offset_chunk --- */
/* A pending chunk without runs, behind a map whose last run ends at `from`; the caller puts it into the list. */
struct offset_chunk *offset_chunk_alloc(struct offset_backlog *backlog, struct offset_place from);
/* One at the end of the list. */
struct offset_chunk *offset_chunk_append(struct offset_backlog *backlog);
void offset_chunk_free(struct offset_chunk *chunk); /* removes it from the list */
struct offset_chunk *offset_chunks_tail(const struct offset_backlog *backlog); /* NULL = empty */
/* Move between what is counted as pending and what is kept. @param state  CHUNK_... */
void offset_chunk_set_state(struct offset_chunk *chunk, int state);
/* It has no position of its own to store: `place`, in the backlog's incarnation. */
void offset_chunk_set_position(struct offset_chunk *chunk, struct offset_place place);
/* A new run behind its last one. */
void offset_chunk_add_run(struct offset_chunk *chunk, struct offset_run run);
/* Its last run grows, or the one before its first. */
void offset_chunk_extend(struct offset_chunk *chunk, int64_t length);
/* Would it only grow by this one? */
bool offset_chunk_continues(const struct offset_chunk *chunk, struct offset_run run);
/* No runs any more; the one before it ends at `from`. */
void offset_chunk_clear(struct offset_chunk *chunk, struct offset_place from);
/* Everything that the chunk knows, oldest first: the growth of the run before it, then its own runs, all closed. */
size_t offset_chunk_pieces(const struct offset_chunk *chunk,
                           struct offset_run out[OFFSET_CHUNK_PIECES]);
/* What stands before the chunk in the stored map ends at `from` and is not the run that the chunk lets grow: that growth
 * becomes a run of its own. Chunks without any run hand the place on. @return the first of them */
struct offset_chunk *offset_chunk_detach(struct offset_chunk *chunk, struct offset_place from);

/* --- offset_backlog --- */
/* Chunks before `next` are stored, the others are not. */
void offset_backlog_set_next(struct offset_backlog *backlog, struct offset_chunk *next);

#endif
