/* What one partition's map still has to tell Redis, and what it told last. Pure: no I/O, no clock.
 *
 * A list of chunks, oldest first: kept (Redis confirmed them; for a Redis that comes back with an older copy), then
 * pending. A chunk is what one acknowledgment after another added until 64 new runs were together: by how much the run
 * before it grew, new runs (packed, one stream entry), and the position behind it. An advance stores whole chunks, so
 * the checkpoint and the map that Redis holds always end at the same place.
 *
 *   base ... kept ... | next ... sent (in flight) | ... at        every chunk begins where the one before ends
 *
 * Promise: what offset_backlog_take() gives continues exactly what offset_backlog_reconcile() saw in Redis; a stretch
 * that neither holds any more becomes a chunk that says "unmapped", never a gap that looks like a hole.
 */
#ifndef FERRY_OFFSETS_OFFSET_BACKLOG_H
#define FERRY_OFFSETS_OFFSET_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "offsets/checkpoint.h"
#include "offsets/offset_map.h"

/* A place on both sides; -1, -1 = none, or not known. */
struct offset_place {
    int64_t source;
    int64_t target;
};
#define OFFSET_PLACE_NONE ((struct offset_place){-1, -1})
struct offset_stretch { /* [begin, until) on both sides */
    struct offset_place begin;
    struct offset_place until;
};

/* What Redis knows of one incarnation beside its runs. */
struct offset_index {
    int64_t ordinal; /* in the order in which incarnations of the partition began, from 1 */
    struct offset_place first;   /* where it begins */
    struct offset_place next;    /* its checkpoint */
    struct offset_place run_end; /* where its last run ends; none = no run yet */
    struct offset_place top;     /* ID of its newest entry, as stored; none = no entry */
};

/* What Redis holds of one partition for one incarnation, read at once. */
struct offset_found {
    bool has_checkpoint;
    struct checkpoint checkpoint; /* of whatever incarnation */
    bool has_index;
    struct offset_index index;
    struct offset_place top;    /* ID of the newest entry in the stream */
    struct offset_run top_last; /* its last run, length 0 */
};

struct offset_backlog;
struct offset_chunk {
    TAILQ_ENTRY(offset_chunk) link;      /* of its backlog */
    TAILQ_ENTRY(offset_chunk) kept_link; /* of all that may be forgotten, oldest first */
    struct offset_backlog *backlog;
    enum { CHUNK_PENDING, CHUNK_LAST_KEPT, CHUNK_KEPT } state;
    bool unmapped;    /* its runs are gone: [begin, until) is to be recorded */
    bool frozen;      /* was sent at least once: grows no more */
    bool after_known; /* `after` is a whole checkpoint; else only a position */
    struct offset_place
        from;        /* where the run before it ends, in the stored map; none = nothing before */
    int64_t extends; /* by how much that run grows */
    struct offset_place first; /* of its first new run */
    struct offset_place last;  /* of its last new run */
    struct offset_place end;   /* where the last run ends behind this chunk */
    struct offset_place begin; /* unmapped only */
    struct offset_place until; /* unmapped only */
    struct checkpoint after;
    int32_t runs_count;  /* new runs */
    uint32_t packed_len; /* without the entry's leading gaps */
    uint32_t packed_capacity;
    uint8_t *packed;
};
TAILQ_HEAD(offset_chunks, offset_chunk);

/* Shared by all backlogs of a link. */
struct offset_totals {
    int64_t pending_bytes;
    int64_t kept_bytes; /* of `kept` */
    struct offset_chunks
        kept; /* stored chunks that may be forgotten: all but each backlog's last */
};
void offset_totals_init(struct offset_totals *totals);
/* Forget the oldest stored chunks until at most max_bytes are kept. */
void offset_totals_trim(struct offset_totals *totals, int64_t max_bytes);

struct offset_backlog {
    struct offset_totals *totals;
    struct offset_chunks chunks;
    struct offset_chunk *next;    /* first that is not stored, NULL = all is */
    struct offset_chunk *sent;    /* last one in flight, NULL = nothing is */
    struct checkpoint base;       /* where the list begins */
    bool base_known;              /* a whole checkpoint, not only a position */
    struct offset_place base_end; /* where the run before it ends */
    bool start_known;             /* of the incarnation */
    struct offset_place start;
    bool has_over; /* the checkpoint of another incarnation that this one follows */
    struct checkpoint over;
    struct checkpoint at;    /* the end of the list */
    struct offset_place end; /* where the last run ends */
    bool anew;               /* the next advance begins the stored map anew */
    bool in_sync;            /* `redis` is what the next advance expects */
    struct offset_found redis;
};

/* @param stored  what Redis held when the partition was resumed; NULL = missing or away
 * @param from    where `runs` begin; NULL, or of another incarnation: at `at`, and there are none
 * @param at      where the partition stands now; runs: everything mirrored between, oldest first */
void offset_backlog_init(struct offset_backlog *backlog, struct offset_totals *totals,
                         const struct checkpoint *stored, const struct checkpoint *from,
                         const struct checkpoint *at, const struct offset_run *runs,
                         size_t runs_count);
void offset_backlog_done(struct offset_backlog *backlog);

/* Length 0 = only the position moved. Asserts that nothing goes back. */
void offset_backlog_ack(struct offset_backlog *backlog, struct offset_run run,
                        const struct checkpoint *after);

/* A run inside of a batch that holds more of them: nothing may go on from behind it. The offset_backlog_ack() of the
 * batch's last run has to follow before anything else. */
void offset_backlog_ack_part(struct offset_backlog *backlog, struct offset_run run);

/* What was mirrored between the list's end and `at`, oldest first, as resume found it; runs, or parts of runs, before the
 * end are what the list knows already.
 * @return false and nothing is changed: they are of another history */
MUST_CHECK
bool offset_backlog_go_on(struct offset_backlog *backlog, const struct checkpoint *from,
                          const struct checkpoint *at, const struct offset_run *runs,
                          size_t runs_count);

/* Redis was looked at, or refused an advance and said what it holds: plan to go on from there.
 * @return false: it is ahead of us or of another history; another worker wrote, so the position is to be resumed */
MUST_CHECK
bool offset_backlog_reconcile(struct offset_backlog *backlog, const struct offset_found *found);

/* Choose what the next advance stores: next .. sent. `all` = also the newest chunk although it is not full.
 * false: nothing (yet). */
MUST_CHECK
bool offset_backlog_take(struct offset_backlog *backlog, int32_t chunks_max, bool all);
/* What the index says once sent is stored (the ordinal is Redis's to give). */
struct offset_index offset_backlog_index_after(const struct offset_backlog *backlog);
/* What a chunk of next .. sent has to be recorded as unmapped; false: nothing. */
bool offset_chunk_stretch(const struct offset_chunk *chunk, struct offset_stretch *out);
/* The entry of a chunk with new runs, as stored. */
void offset_chunk_entry(const struct offset_chunk *chunk, struct offset_entry *out);
/* Redis stored next .. sent. */
void offset_backlog_confirm(struct offset_backlog *backlog);
/* No answer came: it may be stored or not. Redis will say so when it is tried again. */
void offset_backlog_unknown(struct offset_backlog *backlog);

/* Give up the runs of the oldest chunk that is neither stored nor in flight: it becomes unmapped. The newest chunk is
 * never given up. false: there is no other. */
MUST_CHECK
bool offset_backlog_drop_oldest(struct offset_backlog *backlog);

bool offset_backlog_pending(const struct offset_backlog *backlog);
int64_t offset_backlog_pending_runs(const struct offset_backlog *backlog);

#endif
