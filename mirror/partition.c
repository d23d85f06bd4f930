#include "mirror/partition.h"

#include <assert.h>
#include <stdlib.h>

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

void partition_place(struct partition *partition, const struct checkpoint *at)
{
    assert(partition->head == partition->tail);
    partition->at = *at;
    partition->fetch_next = at->source_next;
    partition->fetch_epoch = at->leader_epoch;
    partition->sequence_tail = at->sequence_next;
    partition->target_tail = at->target_next;
    partition->opened = false;
}

void parcel_release(struct parcel *parcel)
{
    buf_unref(parcel->block);
    parcel->block = NULL;
}

void partition_drop(struct partition *partition)
{
    while (partition->head != partition->tail) {
        parcel_release(parcel_at(partition, partition->head++));
    }
    partition->next = partition->tail;
    partition->queued_bytes = 0;
    partition->flight_bytes = 0;
    partition->opened = false;
}

void partition_reopen(struct partition *partition)
{
    assert(partition_flight_count(partition) == 0);
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
    struct parcel *parcels = calloc(capacity, sizeof(*parcels));
    if (parcels == NULL) {
        abort();
    }
    for (uint32_t i = partition->head; i != partition->tail; i++) {
        parcels[i & (capacity - 1)] = *parcel_at(partition, i);
    }
    free(partition->parcels);
    partition->parcels = parcels;
    partition->parcels_capacity = capacity;
}

static void enqueue(struct partition *partition, const struct batch *batch, struct buf *block)
{
    if (partition->tail - partition->head == partition->parcels_capacity) {
        parcels_grow(partition); /* bounded by the window: a batch has at least 61 + 7 bytes */
    }
    *parcel_at(partition, partition->tail++) = (struct parcel){
        .block = buf_ref(block),
        .data = batch->data,
        .len = batch->len,
        .source_first = batch->base_offset,
        .source_next = batch_next_offset(batch),
        .count = batch->count,
        .leader_epoch = batch->leader_epoch,
        .sequence = partition->sequence_tail,
        .target_first = partition->target_tail,
    };
    partition->sequence_tail += batch->count;
    partition->target_tail += batch->count;
    partition->queued_bytes += (int64_t)batch->len;
}

static enum partition_took take_one(struct partition *partition, struct transfer_filter *filter,
                                    const struct batch *batch, struct buf *block,
                                    const struct transfer_limits *limits,
                                    struct partition_refusal *out_refusal, struct err *err)
{
    enum transfer_what what;
    enum batch_verdict verdict;
    if (!transfer_decide(filter, batch, partition->fetch_next, limits, &what, &verdict, err)) {
        return TOOK_BAD;
    }
    switch (what) {
    case TRANSFER_BEFORE:
        return TOOK_OK;
    case TRANSFER_REFUSED:
        *out_refusal = (struct partition_refusal){
            .verdict = verdict,
            .source_first = batch->base_offset,
            .source_next = batch->magic < 2 ? batch->base_offset + 1 : batch_next_offset(batch),
            .bytes = batch->len};
        return TOOK_REFUSED;
    case TRANSFER_PASS:
        enqueue(partition, batch, block);
        break;
    case TRANSFER_SKIP:
        partition->skipped_batches_count++;
        break;
    }
    partition->fetch_next = batch_next_offset(batch);
    partition->fetch_epoch = batch->leader_epoch;
    return TOOK_OK;
}

enum partition_took partition_take(struct partition *partition, struct fetch_partition *fetched,
                                   struct buf *block, const struct transfer_limits *limits,
                                   struct partition_refusal *out_refusal, struct err *err)
{
    struct transfer_filter filter;
    transfer_filter_init(&filter, fetched);
    enum partition_took took = TOOK_OK;
    const uint8_t *data = fetched->records;
    size_t left = fetched->records_len;
    int64_t last_next = -1;
    while (took == TOOK_OK) {
        struct batch batch;
        enum batch_walk walk = batch_walk(data, left, &batch, err);
        if (walk == BATCH_WALK_END || walk == BATCH_WALK_PARTIAL) {
            break;
        }
        if (walk == BATCH_WALK_BAD) {
            took = TOOK_BAD;
            break;
        }
        if (batch.base_offset < last_next) {
            err_set(err, ERR_RETRY,
                    "batch at source offset %lld stands after one that ends at %lld",
                    (long long)batch.base_offset, (long long)last_next);
            took = TOOK_BACK;
            break;
        }
        took = take_one(partition, &filter, &batch, block, limits, out_refusal, err);
        last_next = batch.magic < 2 ? batch.base_offset + 1 : batch_next_offset(&batch);
        data += batch.len;
        left -= batch.len;
    }
    transfer_filter_done(&filter);
    return took;
}

struct parcel *partition_peek(struct partition *partition, const struct partition_bounds *bounds)
{
    if (partition->next == partition->tail) {
        return NULL;
    }
    if (partition_flight_count(partition) > 0 &&
        (!partition->opened || partition->flight_bytes >= bounds->window_bytes)) {
        return NULL;
    }
    return parcel_at(partition, partition->next);
}

void partition_sent(struct partition *partition, int64_t now_ms)
{
    assert(partition->next != partition->tail);
    struct parcel *parcel = parcel_at(partition, partition->next++);
    parcel->sent_ms = now_ms;
    partition->queued_bytes -= (int64_t)parcel->len;
    partition->flight_bytes += (int64_t)parcel->len;
}

static void advance(struct partition *partition, const struct parcel *parcel, struct ack *out_ack)
{
    struct checkpoint *at = &partition->at;
    assert(parcel->source_first >= at->source_next);
    assert(parcel->target_first == at->target_next && parcel->sequence == at->sequence_next);
    at->source_next = parcel->source_next;
    at->target_next = parcel->target_first + parcel->count;
    at->sequence_next = parcel->sequence + parcel->count;
    at->leader_epoch = parcel->leader_epoch;
    *out_ack = (struct ack){
        .run = {.source_first = parcel->source_first,
                .target_first = parcel->target_first,
                .length = parcel->count},
        .at = *at,
        .bytes = parcel->len,
        .sent_ms = parcel->sent_ms
    };
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
    advance(partition, parcel, out_ack);
    partition->opened = true;
    partition->flight_bytes -= (int64_t)parcel->len;
    parcel_release(parcel);
    partition->head++;
    return ANSWERED_ADVANCED;
}

bool partition_settle(struct partition *partition, struct ack *out_ack)
{
    if (partition->head != partition->tail || partition->fetch_next <= partition->at.source_next) {
        return false;
    }
    struct checkpoint *at = &partition->at;
    *out_ack = (struct ack){
        .run = {.source_first = partition->fetch_next, .target_first = at->target_next}
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
    return partition->parcels[partition->head & (partition->parcels_capacity - 1)].sent_ms;
}
