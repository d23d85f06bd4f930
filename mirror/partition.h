/* One mirrored partition: position, window, order. Deciding core without I/O: functions of (state, event, now).
 *
 * Promises: parcels leave in offset order; sequence and expected target offset are fixed when a batch is taken in and
 * never change afterwards; an acknowledgment advances the position only when the broker's base offset is the expected
 * one; any doubt empties the window and the position is no longer ours to say: the resume procedure is.
 *
 *   at (acknowledged) <= in flight <= queued <= fetch_next
 */
#ifndef FERRY_MIRROR_PARTITION_H
#define FERRY_MIRROR_PARTITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "kafka/batch.h"
#include "kafka/error.h"
#include "kafka/proto.h"
#include "mirror/recode.h"
#include "mirror/transfer.h"
#include "offsets/checkpoint.h"
#include "offsets/offset_map.h"

/* Records of a partition in flight, beside one batch: what a worker had on its way when it died ends within so many
 * sequences of where the next one stands, or begins just there. */
#define PARTITION_WINDOW_RECORDS (1 << 17)

/* One batch on its way. */
struct parcel {
    struct buf *block; /* referenced until the connection has it; NULL then */
    const uint8_t *data;
    size_t len;
    int64_t source_first;
    int64_t source_next;
    int32_t count;
    int32_t leader_epoch;
    int64_t sequence;     /* of its first record, 64 bit */
    int64_t target_first; /* where the broker must put it */
    int64_t sent_ms;
    bool read_back;          /* it flies alone, and counts when it was read on the target */
    struct recode_run *runs; /* where its records stood, when it was re-encoded; NULL: one run */
    size_t runs_count;
};

struct partition_bounds {
    int64_t window_bytes;   /* unacknowledged and queued bytes of one partition */
    int64_t queue_bytes;    /* of these, not sent: so much is fetched ahead */
    int64_t window_records; /* in flight, beside one batch; for partition_peek() */
};

struct partition {
    struct checkpoint at;  /* acknowledged on the target */
    int64_t fetch_next;    /* next source offset to fetch */
    int32_t fetch_epoch;   /* leader epoch of the batch before it; -1 = unknown */
    int64_t sequence_tail; /* sequence of the next batch taken in */
    int64_t target_tail;   /* target offset of the next batch taken in */
    bool
        opened; /* an acknowledgment came on this connection and leader epoch: more than one may fly */
    bool alone; /* one batch flies at a time, always: no sequence keeps the order */
    /* A worker before us, under the same ids, read the source before compaction emptied offsets of it: it counted otherwise. */
    int64_t unsure_records;    /* the most that it had on its way; 0 = none has our ids */
    int64_t unsure_until;      /* sequence behind those */
    bool compacted;            /* empty offsets were met since the position was found */
    bool empty_behind;         /* .. behind the last record taken in, before fetch_next */
    struct parcel *parcels;    /* ring */
    uint32_t parcels_capacity; /* power of two */
    uint32_t head;             /* oldest in flight */
    uint32_t next;             /* first not sent */
    uint32_t tail;             /* behind the last queued */
    size_t head_run;           /* of the oldest in flight: runs told so far */
    int64_t queued_bytes;      /* not sent */
    int64_t flight_bytes;
    struct recode *
        recode; /* borrowed; shared by all partitions of a loop. NULL: what may not pass is refused */
    size_t recode_bytes_max; /* of a batch made; 0 = as recode has it */
    bool waits;              /* for replicas or a long line, each batch of it: see recode_small() */
    /* what was passed over, by reason, since the beginning */
    uint64_t skipped_batches_count;
};

void partition_init(struct partition *partition);
void partition_done(struct partition *partition);

/* Stand at a position that the resume procedure gave; the window is empty.
 *
 * @param compacted  records of the source were gone in the stretch that it paired */
void partition_place(struct partition *partition, const struct checkpoint *at, bool compacted);
/* Drop everything queued and in flight (late answers are ignored by the caller's ticket). The acknowledged position
 * stays for reports; it is not a basis for going on. */
void partition_drop(struct partition *partition);
/* The connection or the leader epoch changed and nothing is in flight, but for what is read back: one request until the
 * next acknowledgment. */
void partition_reopen(struct partition *partition);

static inline uint32_t partition_flight_count(const struct partition *partition)
{
    return partition->next - partition->head;
}
/* The oldest in flight; there is one. */
static inline const struct parcel *partition_oldest(const struct partition *partition)
{
    return &partition->parcels[partition->head & (partition->parcels_capacity - 1)];
}
static inline uint32_t partition_queued_count(const struct partition *partition)
{
    return partition->tail - partition->next;
}
/* Is there room for another fetch? */
bool partition_wants(const struct partition *partition, const struct partition_bounds *bounds);

struct
    partition_refusal { /* a batch that may not pass: evidence for the fault; err says more when it is broken */
    enum batch_verdict verdict;
    int64_t source_first;
    int64_t source_next;
    size_t bytes;
};
enum partition_took {
    TOOK_OK,      /* positions moved as far as the answer went */
    TOOK_REFUSED, /* everything before it was taken in; *out_refusal says what cannot pass */
    TOOK_BAD, /* bytes that no broker sends (err); nothing more of this answer is used: fetch again elsewhere */
    TOOK_BACK, /* offsets go back: the log under us changed; resume */
    TOOK_FULL, /* inside only: no room to re-encode more of this answer */
};
/* Take in the records of a Fetch answer for this partition (without error). `block` holds the bytes and is referenced
 * per parcel. What may not pass is re-encoded here, and small neighbours are merged, into blocks of their own; beyond
 * the window nothing more of the answer is re-encoded: it is fetched again when there is room, by the same bounds that
 * partition_wants() is asked with. */
enum partition_took partition_take(struct partition *partition, struct fetch_partition *fetched,
                                   struct buf *block, const struct transfer_limits *limits,
                                   const struct partition_bounds *bounds,
                                   struct partition_refusal *out_refusal, struct err *err);

/* The next batch to send now, or NULL: window full, nothing queued, or not opened and one is in flight. */
struct parcel *partition_peek(struct partition *partition, const struct partition_bounds *bounds);
/* It goes out now. */
void partition_sent(struct partition *partition, int64_t now_ms);
/* The connection holds its bytes. Nothing is ever sent from here a second time: after a doubt they are fetched again. So
 * blocks come back to the pool as soon as the kernel has them, still in the processor's cache. (What is read back stays,
 * to be compared.) */
void parcel_release(struct parcel *parcel);

struct ack {               /* a stretch that is on the target: the arrow from sink to map */
    struct offset_run run; /* length 0: only a hole was passed */
    struct checkpoint at;  /* behind it */
    size_t bytes;          /* of the batch, with its last run */
    int64_t sent_ms;
    bool last; /* of its batch; nothing may go on from behind any other */
};
enum partition_answered {
    ANSWERED_ADVANCED, /* *out_ack is filled */
    ANSWERED_UNPROVEN, /* success, maybe for another reading's batch: read it back */
    ANSWERED_DOUBT,    /* resume; err says why */
    ANSWERED_REFUSED,  /* the broker will never take it: fault; err says why */
};
/* The answer for the oldest batch in flight. A re-encoded batch can hold several runs: partition_more() until false
 * tells the others, each with the position behind it. */
enum partition_answered partition_answer(struct partition *partition, int16_t error,
                                         int64_t base_offset, struct ack *out_ack, struct err *err);
bool partition_more(struct partition *partition, struct ack *out_ack);
/* After ANSWERED_UNPROVEN: is this, from the target's log, the oldest batch in flight? Another worker, dead by now, may have
 * read the source before compaction took records away; its late batch of as many records under the same sequences is
 * in the place of ours then, and the broker took ours for its repeat.
 *
 * @return true: partition_proven() is next; false with err: doubt */
MUST_CHECK
bool partition_same(const struct partition *partition, const struct batch *found, struct err *err);
/* It is on the target: as ANSWERED_ADVANCED. */
void partition_proven(struct partition *partition, struct ack *out_ack);
/* Nothing queued, nothing in flight, but fetched past a hole: move the position over it. false = nothing to move; or what
 * stood in empty offsets may be on its way: a position must not say that it is not on the target, and moves with the next
 * record. */
bool partition_settle(struct partition *partition, struct ack *out_ack);
/* Nothing that was sent before the position was found can arrive any more. */
void partition_sure(struct partition *partition);
/* When the oldest batch in flight was sent; -1 = none. */
int64_t partition_oldest_sent_ms(const struct partition *partition);

#endif
