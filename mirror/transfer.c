#include "mirror/transfer.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/heap.h"

#define CONTROL_BATCH_BYTES_MAX 4096 /* a marker is 17 bytes of records; room for later versions */
#define CONTROL_TYPE_ABORT      0    /* ControlRecordType.ABORT */

static int compare_first_offset(const void *a, const void *b)
{
    const struct fetch_aborted *left = a;
    const struct fetch_aborted *right = b;
    return (left->first_offset > right->first_offset) - (left->first_offset < right->first_offset);
}

void transfer_filter_init(struct transfer_filter *filter, struct fetch_partition *partition)
{
    if (partition->aborted_count > 1) {
        qsort(partition->aborted, (size_t)partition->aborted_count, sizeof(*partition->aborted),
              compare_first_offset);
    }
    *filter = (struct transfer_filter){.aborted = partition->aborted,
                                       .aborted_count = partition->aborted_count};
    if (partition->aborted_count > 0) {
        filter->active = must(calloc((size_t)partition->aborted_count, sizeof(*filter->active)));
    }
}

void transfer_filter_done(struct transfer_filter *filter)
{
    free(filter->active);
    filter->active = NULL;
}

static int32_t active_find(const struct transfer_filter *filter, int64_t producer_id)
{
    for (int32_t i = 0; i < filter->active_count; i++) {
        if (filter->active[i] == producer_id) {
            return i;
        }
    }
    return -1;
}

/* Transactions that begin before `next_offset` and will be aborted are open now. */
static void begin_aborted_before(struct transfer_filter *filter, int64_t next_offset)
{
    while (filter->aborted_next < filter->aborted_count &&
           filter->aborted[filter->aborted_next].first_offset < next_offset) {
        int64_t producer_id = filter->aborted[filter->aborted_next++].producer_id;
        if (active_find(filter, producer_id) < 0) {
            filter->active[filter->active_count++] =
                producer_id; /* never more than aborted_count */
        }
    }
}

static bool read_control_type(void *arg, const struct record *record)
{
    int16_t *out_type = arg;
    struct reader reader =
        reader_over(record->key, record->key_len < 0 ? 0 : (size_t)record->key_len);
    (void)reader_i16(&reader); /* version */
    *out_type = reader_i16(&reader);
    if (reader.bad) {
        *out_type = -1;
    }
    return false; /* a control batch has one record */
}

static bool end_aborted(struct transfer_filter *filter, const struct batch *batch, struct err *err)
{
    int16_t type = -1;
    if (batch->count == 0) {
        return true; /* retained by compaction to keep the producer's state: no marker in it */
    }
    if (!batch_each_record(batch, CONTROL_BATCH_BYTES_MAX, read_control_type, &type, err)) {
        return err_wrap(err, "control batch at source offset %lld", (long long)batch->base_offset);
    }
    if (type < 0) {
        return err_set(err, ERR_RETRY, "control record at source offset %lld has no type",
                       (long long)batch->base_offset);
    }
    int32_t at = active_find(filter, batch->producer_id);
    if (type == CONTROL_TYPE_ABORT && at >= 0) {
        filter->active[at] = filter->active[--filter->active_count];
    }
    return true;
}

/* Records of any batch can be written again, but not into what no broker takes or takes later. */
static enum transfer_what what_for(enum batch_verdict verdict, const struct batch *batch)
{
    switch (verdict) {
    case BATCH_PASSES:
        return TRANSFER_PASS;
    case BATCH_INNER_HOLES:
    case BATCH_APPEND_TIME:
    case BATCH_INSIDE:
    case BATCH_FILTERED:
    case BATCH_OTHER_CODEC:
    case BATCH_OLD_FORMAT:
        return TRANSFER_RECODE;
    case BATCH_TOO_LARGE:
        return batch->count > 1 ? TRANSFER_RECODE : TRANSFER_REFUSED;
    case BATCH_EMPTY:
    case BATCH_TIMESTAMP_REFUSED:
    case BATCH_STRUCTURE:
    case BATCH_SMALL:
    case BATCH_CORRUPT:
    case BATCH_BOMB:
    case BATCH_VERDICTS_COUNT:
        break;
    }
    return TRANSFER_REFUSED;
}

/* It may pass: is it wanted otherwise? */
static enum batch_verdict wanted(const struct batch *batch, int64_t position,
                                 const struct transfer_limits *limits)
{
    if (batch->base_offset < position) {
        return BATCH_INSIDE;
    }
    if (limits->filtered) {
        return BATCH_FILTERED;
    }
    return limits->other_codec && batch_codec(batch) != limits->codec ? BATCH_OTHER_CODEC
                                                                      : BATCH_PASSES;
}

static enum transfer_what decide_data(const struct transfer_filter *filter,
                                      const struct batch *batch, int64_t position,
                                      const struct transfer_limits *limits,
                                      enum batch_verdict *out_verdict)
{
    if (batch_is_transactional(batch) && active_find(filter, batch->producer_id) >= 0) {
        return TRANSFER_SKIP;
    }
    if (batch->magic == 2 && batch->count == 0) {
        return TRANSFER_SKIP; /* retained by compaction: offsets, no records */
    }
    enum batch_verdict verdict =
        batch_verdict(batch, limits->max_message_bytes, limits->max_timestamp);
    if (verdict == BATCH_PASSES) {
        verdict = wanted(batch, position, limits);
    }
    *out_verdict = verdict;
    return what_for(verdict, batch);
}

bool transfer_decide(struct transfer_filter *filter, const struct batch *batch, int64_t position,
                     const struct transfer_limits *limits, enum transfer_what *out_what,
                     enum batch_verdict *out_verdict, struct err *err)
{
    *out_verdict = BATCH_PASSES;
    if (batch->magic < 2) { /* no transactions yet; base_offset is that of its last record */
        bool before = batch_next_offset(batch) <= position;
        *out_verdict = before ? BATCH_PASSES : BATCH_OLD_FORMAT;
        *out_what = before ? TRANSFER_BEFORE : TRANSFER_RECODE;
        return true;
    }
    begin_aborted_before(filter, batch_next_offset(batch));
    if (batch_is_control(batch)) {
        if (!end_aborted(filter, batch, err)) {
            return false;
        }
        *out_what = batch_next_offset(batch) <= position ? TRANSFER_BEFORE : TRANSFER_SKIP;
        return true;
    }
    if (batch_next_offset(batch) <= position) {
        *out_what = TRANSFER_BEFORE;
        return true;
    }
    *out_what = decide_data(filter, batch, position, limits, out_verdict);
    return true;
}
