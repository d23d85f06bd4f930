/* What becomes of each batch of a Fetch answer: passed as it is, skipped (control, aborted, empty, read before),
 * re-encoded (mirror/recode), or not for the target at all, which faults its partition. Pure; one filter a partition and
 * answer.
 *
 * read_committed: the answer's aborted list is complete, transactions that began before the fetch offset included, so
 * the filter starts each answer with an empty set (TransactionIndex; Java's CompletedFetch does the same).
 */
#ifndef FERRY_MIRROR_TRANSFER_H
#define FERRY_MIRROR_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/batch.h"
#include "kafka/proto.h"

enum transfer_what {
    TRANSFER_PASS,
    TRANSFER_SKIP,    /* takes offsets, not records: a hole in the map */
    TRANSFER_BEFORE,  /* ends at or before the position: the broker returns whole batches */
    TRANSFER_RECODE,  /* its records may pass, the batch may not: `verdict` says why */
    TRANSFER_REFUSED, /* neither: `verdict` says why */
};

struct transfer_limits {
    int64_t max_message_bytes; /* the target topic's; INT64_MAX = unknown */
    int64_t max_timestamp;     /* the target refuses later ones; INT64_MAX = takes all */
    bool filtered;             /* the service filters records: every batch is looked into */
    bool other_codec;          /* the line has a codec of its own */
    enum batch_codec codec;    /* which */
};

struct transfer_filter {
    const struct fetch_aborted *aborted; /* sorted by first offset; borrowed from the answer */
    int32_t aborted_count;
    int32_t aborted_next;
    int64_t *active; /* producer ids with an open, later aborted transaction */
    int32_t active_count;
};

/* Sorts `partition->aborted`. */
void transfer_filter_init(struct transfer_filter *filter, struct fetch_partition *partition);
void transfer_filter_done(struct transfer_filter *filter);

/* Decide about the next batch in offset order. @param position next source offset wanted; of a batch that begins before
 * it and ends behind it the records from there on are wanted: RECODE, *out_verdict BATCH_INSIDE.
 * false with err: the bytes of a control record are broken. */
MUST_CHECK
bool transfer_decide(struct transfer_filter *filter, const struct batch *batch, int64_t position,
                     const struct transfer_limits *limits, enum transfer_what *out_what,
                     enum batch_verdict *out_verdict, struct err *err);

#endif
