/* Which source record is which target record: two stretches of log laid side by side. Pure.
 *
 * Steps 5 and 6 of the resume procedure. Both stretches are lists of units: whole batches first (a batch that passed has
 * the same record bytes on both sides, so the CRC of its record region is its name), single records where batches do
 * not match (compaction rewrote the source since, or the batch was re-encoded).
 */
#ifndef FERRY_MIRROR_PAIRING_H
#define FERRY_MIRROR_PAIRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/batch.h"
#include "mirror/record_filter.h"
#include "offsets/offset_map.h"

/* Decompressed bytes of one batch: brokers cap a batch at 2 GiB, people at 10 MiB. */
#define PAIR_BATCH_BYTES_MAX ((size_t)256 << 20)

struct pair_unit {
    uint64_t name; /* hash of the content */
    int64_t first; /* offset of its first record */
    int64_t
        next; /* offset behind it; of a batch's last record: behind the batch (nothing is left there) */
    int64_t count;
    int64_t
        missing; /* offsets before it, since the beginning, that hold nothing at all (compaction) */
    int32_t leader_epoch; /* source only */
};
struct pair_list {
    struct pair_unit *units;
    size_t count;
    size_t capacity;
    int64_t records_count; /* sum of count */
    int64_t missing;       /* running total for the next unit */
};
void pair_list_init(struct pair_list *list);
void pair_list_done(struct pair_list *list);
void pair_list_clear(struct pair_list *list);
/* A whole batch as one unit. */
void pair_list_batch(struct pair_list *list, const struct batch *batch);
struct pair_reading {
    size_t max_bytes; /* decompressed within */
    int64_t from;     /* records below are none of ours; a position may lie inside a batch */
    int64_t to;       /* records from here on neither; 0 = no bound */
    const struct config_filter *filter; /* those that fail it neither; NULL = none */
};
/* Its records, one unit each. */
MUST_CHECK
bool pair_list_records(struct pair_list *list, const struct batch *batch,
                       const struct pair_reading *reading, struct err *err);
/* Offsets [from, to) hold no batch at all. */
void pair_list_missing(struct pair_list *list, int64_t from, int64_t to);
/* Append single records that were read forwards as if they were read backwards: offset o becomes top - 1 - o. Two logs that
 * are laid side by side so are paired from an end that is known down to a beginning that is not. */
void pair_list_backwards(struct pair_list *list, const struct pair_list *read, int64_t top);

enum pairing_verdict {
    PAIRING_DONE,         /* every unit of the target has its place */
    PAIRING_NEED_RECORDS, /* whole batches do not match: do it again record by record */
    PAIRING_NEED_MORE,    /* a unit may stand further on in the source: read more of it */
    PAIRING_HOLE, /* source records [hole_from, hole_to) pass the filter, are not in the target, and stand before
                             a pair */
    PAIRING_ORDER,    /* records stand in another order than at the source */
    PAIRING_STRANGER, /* the target holds a record of ours that the source never had */
    PAIRING_AMBIGUOUS, /* the same bytes again and again around an empty stretch of the source: records of the target
                          are gone there, but how many cannot be told */
    PAIRING_LOST, /* as STRANGER, but the source's leader epoch changes just there and nothing behind is at the
                         source: it lost them in an unclean election. Pairs up to there are valid */
};
struct pairing {
    enum pairing_verdict verdict;
    struct offset_map runs; /* pairs, merged; valid for DONE and LOST */
    int64_t source_next;    /* behind the last pair; -1 when there was none */
    int32_t leader_epoch;   /* of the last pair's source batch */
    int64_t
        gone_count; /* target records whose source record is gone since (compaction, retention) */
    int64_t source_count; /* source records up to the last pair */
    int64_t hole_from;    /* source offsets */
    int64_t hole_to;
    int64_t at_target;  /* target offset where it does not fit (HOLE, ORDER, STRANGER, LOST) */
    int64_t lost_count; /* LOST: target records from there on */
    /* pairing_run_repeats() alone: target records that stand there again, or that the source never had */
    int64_t repeated_count;
    int64_t repeated_from;
    int64_t repeated_to;
    int64_t foreign_count;
    int64_t foreign_from;
    int64_t foreign_to;
};
/* @param source_from    the position; source records before it may be given, so that empty offsets just before it are known
 * @param whole_batches  units are batches (then anything but a one-to-one match needs records)
 * @param any_filter     which filter the target's stretch passed is not known: source records that are not there are no
 *                       holes (equal records pass or fail together, so the pairs are as sure as ever)
 * @param source_at_end  no more source can be read
 * @param epoch_before   leader epoch of the source batch before the stretch; -1 = unknown */
void pairing_run(struct pairing *out, const struct pair_list *target,
                 const struct pair_list *source, int64_t source_from, bool whole_batches,
                 bool any_filter, bool source_at_end, int32_t epoch_before);
/* Likewise of single records, for a target whose records of ours no id marks: some may stand there again, written by a
 * worker that was taken for dead. They are counted and have no place in the runs: the first one keeps it.
 *
 * @param source_from  as above: so the repeats of those before it are known, too
 * @param strangers    what is neither is somebody else's, and counted; false: STRANGER at once, to be tried again with
 *                     records from before the position */
void pairing_run_repeats(struct pairing *out, const struct pair_list *target,
                         const struct pair_list *source, int64_t source_from, bool strangers,
                         bool any_filter, bool source_at_end, int32_t epoch_before);
void pairing_done(struct pairing *pairing);

/* Does the tail of the target (its last units, oldest first, consecutive) stand in a stretch of source batches so that
 * its last unit is source unit `last`?
 * @param cut_off  the source's retention may have removed the beginning of the tail: what is left has to match */
bool pairing_tail_stands_at(const struct pair_list *tail, const struct pair_list *source,
                            size_t last, bool cut_off);

/* Do two batches hold the same records, wherever they stand and however they are compressed? What cannot be read is not
 * the same. */
MUST_CHECK
bool pairing_same_records(const struct batch *a, const struct batch *b, struct err *err);

#endif
