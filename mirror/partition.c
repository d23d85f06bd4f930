#include "mirror/partition.h"

#include <assert.h>
#include <stdlib.h>

#include "base/heap.h"
#include "mirror/pairing.h"

#define PARCELS_FIRST 64

void partition_init(struct partition *partition)
{
    *partition = (struct partition){.fetch_epoch = -1};
}

void partition_done(struct partition *partition)
{
    partition_drop(partition);
    free(partition->parcels);
    partition->parcels = NULL;
    partition->parcels_capacity = 0;
}

static struct parcel *parcel_at(struct partition *partition, uint32_t index)
{
    return &partition->parcels[index & (partition->parcels_capacity - 1)];
}

void partition_place(struct partition *partition, const struct checkpoint *at, bool compacted)
{
    assert(partition->head == partition->tail);
    partition->at = *at;
    partition->fetch_next = at->source_next;
    partition->fetch_epoch = at->leader_epoch;
    partition->sequence_tail = at->sequence_next;
    partition->target_tail = at->target_next;
    partition->opened = false;
    partition->compacted = compacted;
    partition->empty_behind = false;
    partition->unsure_until = at->sequence_next + partition->unsure_records;
}

static void parcel_unref(struct parcel *parcel)
{
    buf_unref(parcel->block);
    parcel->block = NULL;
}

void parcel_release(struct parcel *parcel)
{
    if (!parcel->read_back) {
        parcel_unref(parcel);
    }
}

static void parcel_done(struct parcel *parcel)
{
    parcel_unref(parcel);
    free(parcel->runs);
    parcel->runs = NULL;
}

void partition_drop(struct partition *partition)
{
    while (partition->head != partition->tail) {
        parcel_done(parcel_at(partition, partition->head++));
    }
    partition->next = partition->tail;
    partition->head_run = 0;
    partition->queued_bytes = 0;
    partition->flight_bytes = 0;
    partition->opened = false;
}

void partition_reopen(struct partition *partition)
{
    assert(partition_flight_count(partition) == 0 || partition_oldest(partition)->read_back);
    partition->opened = false;
}

bool partition_wants(const struct partition *partition, const struct partition_bounds *bounds)
{
    return partition->queued_bytes < bounds->queue_bytes &&
           partition->queued_bytes + partition->flight_bytes < bounds->window_bytes;
}

static void parcels_grow(struct partition *partition)
{
    uint32_t capacity =
        partition->parcels_capacity == 0 ? PARCELS_FIRST : partition->parcels_capacity * 2;
    struct parcel *parcels = must(calloc(capacity, sizeof(*parcels)));
    for (uint32_t i = partition->head; i != partition->tail; i++) {
        parcels[i & (capacity - 1)] = *parcel_at(partition, i);
    }
    free(partition->parcels);
    partition->parcels = parcels;
    partition->parcels_capacity = capacity;
}

/* Its place on the target is fixed here. `parcel` has everything else, and a reference to its block. */
static void enqueue(struct partition *partition, struct parcel parcel)
{
    if (partition->tail - partition->head == partition->parcels_capacity) {
        parcels_grow(partition); /* bounded by the window: a batch has at least 61 + 7 bytes */
    }
    parcel.sequence = partition->sequence_tail;
    parcel.target_first = partition->target_tail;
    parcel.read_back = partition->compacted && partition->sequence_tail < partition->unsure_until;
    *parcel_at(partition, partition->tail++) = parcel;
    partition->sequence_tail += parcel.count;
    partition->target_tail += parcel.count;
    partition->queued_bytes += (int64_t)parcel.len;
}

static void enqueue_batch(struct partition *partition, const struct batch *batch, struct buf *block)
{
    enqueue(partition, (struct parcel){.block = buf_ref(block),
                                       .data = batch->data,
                                       .len = batch->len,
                                       .source_first = batch->base_offset,
                                       .source_next = batch_next_offset(batch),
                                       .count = batch->count,
                                       .leader_epoch = batch->leader_epoch});
}

static void enqueue_recoded(struct partition *partition, const struct recoded *made)
{
    enqueue(partition, (struct parcel){.block = made->block,
                                       .data = made->block->data,
                                       .len = made->block->len,
                                       .source_first = made->source_first,
                                       .source_next = made->source_next,
                                       .count = made->count,
                                       .leader_epoch = made->leader_epoch,
                                       .runs = made->runs,
                                       .runs_count = made->runs_count});
}

/* --- a Fetch answer ----------------------------------------------------------------------------------------------- */

struct taking { /* one answer on its way in */
    struct partition *partition;
    struct transfer_filter filter;
    struct buf *block;
    const struct transfer_limits *limits;
    const struct partition_bounds *bounds;
    struct partition_refusal *refusal;
    struct err *err;
};

static enum partition_took refuse(struct taking *taking, const struct batch *batch,
                                  enum batch_verdict verdict)
{
    *taking->refusal = (struct partition_refusal){.verdict = verdict,
                                                  .source_first = batch->base_offset,
                                                  .source_next = batch_next_offset(batch),
                                                  .bytes = batch->len};
    return TOOK_REFUSED;
}

/* One of the neighbours is broken: what stands before it is taken in, and the log is read again from there. */
static enum partition_took stop_at(struct taking *taking, const struct recode_item *failed,
                                   enum batch_verdict why)
{
    struct partition *partition = taking->partition;
    int64_t reached = recode_reached(partition->recode);
    if (why == BATCH_PASSES) {
        return TOOK_BAD; /* out of memory */
    }
    bool begun = reached > failed->position;
    partition->fetch_next = begun ? reached : failed->position;
    partition->fetch_epoch = begun ? failed->batch.leader_epoch : failed->epoch_before;
    return refuse(taking, &failed->batch, why);
}

/* What waited for neighbours has none any more: it goes as it is, or re-encoded. */
static enum partition_took flush(struct taking *taking)
{
    struct partition *partition = taking->partition;
    struct recode_item failed;
    struct recoded made;
    enum batch_verdict why;
    size_t count = 0;
    if (partition->recode == NULL) {
        return TOOK_OK;
    }
    const struct recode_item *items = recode_items(partition->recode, &count);
    if (count == 0) {
        return TOOK_OK;
    }
    if (!recode_wanted(partition->recode)) {
        for (size_t i = 0; i < count; i++) {
            enqueue_batch(partition, &items[i].batch, taking->block);
        }
        recode_clear(partition->recode);
        return TOOK_OK;
    }
    bool ok =
        recode_run(partition->recode, partition->recode_bytes_max, &failed, &why, taking->err);
    while (recode_take(partition->recode, &made)) {
        enqueue_recoded(partition, &made);
    }
    return ok ? TOOK_OK : stop_at(taking, &failed, why);
}

static enum partition_took queue(struct taking *taking, const struct batch *batch,
                                 enum batch_verdict why)
{
    struct partition *partition = taking->partition;
    if (!recode_joins(partition->recode, batch)) {
        enum partition_took took = flush(taking);
        if (took != TOOK_OK) {
            return took;
        }
    }
    recode_push(partition->recode, &(struct recode_item){.batch = *batch,
                                                         .position = partition->fetch_next,
                                                         .epoch_before = partition->fetch_epoch,
                                                         .why = why});
    return TOOK_OK;
}

static enum partition_took pass(struct taking *taking, const struct batch *batch)
{
    const struct recode *recode = taking->partition->recode;
    if (recode != NULL && recode_small(recode, batch, taking->partition->waits)) {
        return queue(taking, batch, BATCH_SMALL);
    }
    enum partition_took took = flush(taking);
    if (took == TOOK_OK) {
        enqueue_batch(taking->partition, batch, taking->block);
    }
    return took;
}

static enum partition_took reencode(struct taking *taking, const struct batch *batch,
                                    enum batch_verdict verdict)
{
    struct partition *partition = taking->partition;
    if (partition->recode == NULL) {
        return refuse(taking, batch, verdict);
    }
    int64_t held = partition->queued_bytes + partition->flight_bytes;
    if (held > 0 && held >= taking->bounds->window_bytes) {
        return TOOK_FULL;
    }
    return queue(taking, batch, verdict);
}

/* Are offsets from here to its end empty? (An old format does not say; markers and aborted batches are not: all readers
 * pass them over.) */
static bool has_holes(const struct batch *batch, int64_t position)
{
    return batch->magic < 2 || batch->base_offset > position ||
           batch->count != batch->last_offset_delta + 1;
}

static void note_holes(struct partition *partition, const struct batch *batch, bool has_records)
{
    bool holes = has_holes(batch, partition->fetch_next);
    partition->compacted = partition->compacted || holes;
    partition->empty_behind = !has_records && (partition->empty_behind || holes);
}

static enum partition_took take_one(struct taking *taking, const struct batch *batch)
{
    struct partition *partition = taking->partition;
    enum partition_took took = TOOK_OK;
    enum transfer_what what;
    enum batch_verdict verdict;
    if (!transfer_decide(&taking->filter, batch, partition->fetch_next, taking->limits, &what,
                         &verdict, taking->err)) {
        return TOOK_BAD;
    }
    if (what != TRANSFER_BEFORE) {
        note_holes(partition, batch, what != TRANSFER_SKIP);
    }
    switch (what) {
    case TRANSFER_BEFORE:
        return TOOK_OK;
    case TRANSFER_REFUSED:
        return refuse(taking, batch, verdict);
    case TRANSFER_PASS:
        took = pass(taking, batch);
        break;
    case TRANSFER_RECODE:
        took = reencode(taking, batch, verdict);
        break;
    case TRANSFER_SKIP:
        partition->skipped_batches_count++;
        break;
    }
    if (took == TOOK_OK) {
        partition->fetch_next = batch_next_offset(batch);
        partition->fetch_epoch = batch->leader_epoch;
    }
    return took;
}

static enum partition_took take_all(struct taking *taking, const uint8_t *data, size_t left)
{
    enum partition_took took = TOOK_OK;
    int64_t last_next = -1;
    while (took == TOOK_OK) {
        struct batch batch;
        enum batch_walk walk = batch_walk(data, left, &batch, taking->err);
        if (walk == BATCH_WALK_END || walk == BATCH_WALK_PARTIAL) {
            break;
        }
        if (walk == BATCH_WALK_BAD) {
            return TOOK_BAD;
        }
        if (batch.base_offset < last_next) {
            err_set(taking->err, ERR_RETRY,
                    "batch at source offset %lld stands after one that ends at %lld",
                    (long long)batch.base_offset, (long long)last_next);
            return TOOK_BACK;
        }
        took = take_one(taking, &batch);
        last_next = batch_next_offset(&batch);
        data += batch.len;
        left -= batch.len;
    }
    return took;
}

enum partition_took partition_take(struct partition *partition, struct fetch_partition *fetched,
                                   struct buf *block, const struct transfer_limits *limits,
                                   const struct partition_bounds *bounds,
                                   struct partition_refusal *out_refusal, struct err *err)
{
    struct taking taking = {.partition = partition,
                            .block = block,
                            .limits = limits,
                            .bounds = bounds,
                            .refusal = out_refusal,
                            .err = err};
    transfer_filter_init(&taking.filter, fetched);
    enum partition_took took = take_all(&taking, fetched->records, fetched->records_len);
    /* What waits for neighbours stands before whatever stopped us; if it is broken itself, that is told first. */
    struct err own = {0};
    struct partition_refusal refusal = {0};
    taking.err = &own;
    taking.refusal = &refusal;
    enum partition_took flushed = flush(&taking);
    if (flushed != TOOK_OK) {
        took = flushed;
        *err = own;
        *out_refusal = refusal;
    }
    transfer_filter_done(&taking.filter);
    return took == TOOK_FULL ? TOOK_OK : took;
}

struct parcel *partition_peek(struct partition *partition, const struct partition_bounds *bounds)
{
    if (partition->next == partition->tail) {
        return NULL;
    }
    struct parcel *parcel = parcel_at(partition, partition->next);
    if (partition_flight_count(partition) == 0) {
        return parcel;
    }
    int64_t records = parcel->target_first + parcel->count - partition->at.target_next;
    bool alone = !partition->opened || parcel->read_back || partition_oldest(partition)->read_back;
    bool full = partition->flight_bytes >= bounds->window_bytes || records > bounds->window_records;
    return alone || full ? NULL : parcel;
}

void partition_sent(struct partition *partition, int64_t now_ms)
{
    assert(partition->next != partition->tail);
    struct parcel *parcel = parcel_at(partition, partition->next++);
    parcel->sent_ms = now_ms;
    partition->queued_bytes -= (int64_t)parcel->len;
    partition->flight_bytes += (int64_t)parcel->len;
}

/* The next run of the oldest batch in flight is on the target; behind the last one the batch is done with. */
static void advance(struct partition *partition, struct parcel *parcel, struct ack *out_ack)
{
    struct checkpoint *at = &partition->at;
    struct recode_run run = {.source_first = parcel->source_first, .count = parcel->count};
    bool last = parcel->runs == NULL || partition->head_run + 1 == parcel->runs_count;
    if (parcel->runs != NULL) {
        run = parcel->runs[partition->head_run];
    }
    assert(run.source_first >= at->source_next);
    *out_ack = (struct ack){
        .run = {.source_first = run.source_first,
                .target_first = at->target_next,
                .length = run.count},
        .bytes = last ? parcel->len : 0,
        .sent_ms = parcel->sent_ms,
        .last = last
    };
    at->source_next = last ? parcel->source_next : run.source_first + run.count;
    at->target_next += run.count;
    at->sequence_next += run.count;
    at->leader_epoch = parcel->leader_epoch;
    out_ack->at = *at;
    partition->head_run++;
    if (last) {
        assert(at->target_next == parcel->target_first + parcel->count);
        partition->flight_bytes -= (int64_t)parcel->len;
        partition->head_run = 0;
        parcel_done(parcel);
        partition->head++;
    }
}

static enum partition_answered judge(const struct parcel *parcel, int16_t error,
                                     int64_t base_offset, struct err *err)
{
    const struct kafka_error_info *info = kafka_error_info(error);
    if (info->produce == PRODUCE_REFUSED) {
        err_set_code(err, ERR_FATAL, error,
                     "the target refuses the batch of source offsets %lld..%lld for ever: %s",
                     (long long)parcel->source_first, (long long)parcel->source_next - 1,
                     info->name);
        err_hint(err, "%s", info->hint);
        return ANSWERED_REFUSED;
    }
    if (info->produce != PRODUCE_APPENDED) {
        err_set_code(err, ERR_RETRY, error, "%s for the batch of source offsets %lld..%lld",
                     info->name, (long long)parcel->source_first,
                     (long long)parcel->source_next - 1);
        return ANSWERED_DOUBT;
    }
    if (base_offset != parcel->target_first) {
        err_set(err, ERR_RETRY, "source offset %lld went to target offset %lld instead of %lld",
                (long long)parcel->source_first, (long long)base_offset,
                (long long)parcel->target_first);
        return ANSWERED_DOUBT;
    }
    return ANSWERED_ADVANCED;
}

enum partition_answered partition_answer(struct partition *partition, int16_t error,
                                         int64_t base_offset, struct ack *out_ack, struct err *err)
{
    assert(partition_flight_count(partition) > 0);
    struct parcel *parcel = parcel_at(partition, partition->head);
    enum partition_answered answered = judge(parcel, error, base_offset, err);
    if (answered != ANSWERED_ADVANCED) {
        return answered;
    }
    assert(parcel->target_first == partition->at.target_next &&
           parcel->sequence == partition->at.sequence_next);
    partition->opened = !partition->alone;
    if (parcel->read_back) {
        return ANSWERED_UNPROVEN;
    }
    advance(partition, parcel, out_ack);
    return ANSWERED_ADVANCED;
}

bool partition_same(const struct partition *partition, const struct batch *found, struct err *err)
{
    const struct parcel *parcel = partition_oldest(partition);
    struct batch sent;
    enum batch_walk walk = batch_walk(parcel->data, parcel->len, &sent, err);
    assert(walk == BATCH_WALK_ONE); /* as when it was sent */
    bool same = walk == BATCH_WALK_ONE && found->base_offset == parcel->target_first &&
                found->count == parcel->count && pairing_same_records(&sent, found, err);
    if (same) {
        return true;
    }
    if (err->what[0] != '\0') {
        return err_wrap(err, "reading back target offset %lld", (long long)parcel->target_first);
    }
    err_set(err, ERR_RETRY,
            "target offset %lld holds other records than those of source offsets %lld..%lld, which "
            "the broker took for their repeat: an earlier reading of the source, before "
            "compaction, arrived late",
            (long long)parcel->target_first, (long long)parcel->source_first,
            (long long)parcel->source_next - 1);
    return false;
}

void partition_proven(struct partition *partition, struct ack *out_ack)
{
    advance(partition, parcel_at(partition, partition->head), out_ack);
}

bool partition_more(struct partition *partition, struct ack *out_ack)
{
    if (partition->head_run == 0) {
        return false;
    }
    advance(partition, parcel_at(partition, partition->head), out_ack);
    return true;
}

void partition_sure(struct partition *partition)
{
    partition->unsure_until = 0;
}

bool partition_settle(struct partition *partition, struct ack *out_ack)
{
    struct checkpoint *at = &partition->at;
    bool unsure = partition->empty_behind && at->sequence_next < partition->unsure_until;
    if (partition->head != partition->tail || partition->fetch_next <= at->source_next || unsure) {
        return false;
    }
    *out_ack = (struct ack){
        .run = {.source_first = partition->fetch_next, .target_first = at->target_next},
        .last = true
    };
    at->source_next = partition->fetch_next;
    at->leader_epoch = partition->fetch_epoch;
    out_ack->at = *at;
    return true;
}

int64_t partition_oldest_sent_ms(const struct partition *partition)
{
    if (partition->head == partition->next) {
        return -1;
    }
    return partition_oldest(partition)->sent_ms;
}
