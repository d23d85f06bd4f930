#include "tests/fake/model_source.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/batches.h"

#define FIRST_TIMESTAMP 1700000000000

void model_source_init(struct model_source *source)
{
    *source = (struct model_source){.epoch = 0, .epochs_count = 1};
    for (int32_t i = 0; i < MODEL_PIDS; i++) {
        source->open_first[i] = -1;
    }
}

void model_source_done(struct model_source *source)
{
    for (int32_t i = 0; i < source->count; i++) {
        free(source->batches[i].data);
    }
    free(source->batches);
    free(source->aborted);
}

static void encode(struct model_batch *batch, bool append_time)
{
    struct fake_record records[MODEL_RECORDS_MAX] = {0};
    char values[MODEL_RECORDS_MAX][24];
    struct fake_batch spec = {.base_offset = batch->base,
                              .leader_epoch = batch->epoch,
                              .last_offset_delta = (int32_t)(batch->next - batch->base - 1),
                              .base_timestamp = batch->timestamp,
                              .max_timestamp = batch->timestamp,
                              .producer_id = batch->pid < 0 ? -1 : 100 + batch->pid,
                              .producer_epoch = -1,
                              .base_sequence = -1,
                              .records = records};
    if (batch->kind != MODEL_DATA) {
        spec.attributes = BATCH_TRANSACTIONAL;
    }
    if (append_time) {
        spec.attributes |= BATCH_LOG_APPEND_TIME;
        spec.base_timestamp -= 7;
    }
    for (int32_t i = 0; i < batch->count; i++) {
        if (!batch->gone[i]) {
            snprintf(values[i], sizeof(values[i]), "c%lld", (long long)batch->content[i]);
            records[spec.count++] = (struct fake_record){.offset_delta = i, .value = values[i]};
        }
    }
    /* A marker's key: version 0, type. Bytes with zeroes, so the length is said. */
    static const char abort_key[5] = {0, 0, 0, 0, 0};
    static const char commit_key[5] = {0, 0, 0, 1, 0};
    struct writer writer;
    writer_init(&writer);
    if (batch->kind == MODEL_ABORT || batch->kind == MODEL_COMMIT) {
        spec.attributes |= BATCH_CONTROL;
        spec.count = 1;
        records[0] = (struct fake_record){
            .key = batch->kind == MODEL_ABORT ? abort_key : commit_key, .key_len = 4};
    }
    fake_batch_write(&writer, &spec);
    free(batch->data);
    batch->len = writer.len;
    batch->data = malloc(writer.len);
    assert(batch->data != NULL);
    memcpy(batch->data, writer.data, writer.len);
    writer_done(&writer);
}

static bool any_open(const struct model_source *source)
{
    for (int32_t i = 0; i < MODEL_PIDS; i++) {
        if (source->open_first[i] >= 0) {
            return true;
        }
    }
    return false;
}

static struct model_batch *add(struct model_source *source, enum model_kind kind, int32_t pid,
                               int32_t count)
{
    if (source->count == source->capacity) {
        source->capacity = source->capacity == 0 ? 64 : source->capacity * 2;
        source->batches =
            realloc(source->batches, (size_t)source->capacity * sizeof(*source->batches));
        assert(source->batches != NULL);
    }
    struct model_batch *batch = &source->batches[source->count++];
    *batch = (struct model_batch){.base = source->end,
                                  .next = source->end + count,
                                  .epoch = source->epoch,
                                  .pid = pid,
                                  .kind = kind,
                                  .outcome = kind == MODEL_TX ? MODEL_OPEN : MODEL_COMMITTED,
                                  .clean_before = !any_open(source),
                                  .count = count,
                                  .uid = source->uids_count,
                                  .timestamp = FIRST_TIMESTAMP + source->end};
    source->uids_count += count;
    source->end += count;
    return batch;
}

static const struct model_batch *last_data(const struct model_source *source, int32_t before)
{
    for (int32_t i = before; i-- > 0;) {
        const struct model_batch *batch = &source->batches[i];
        if (batch->kind == MODEL_DATA && !batch->removed) {
            return batch;
        }
    }
    return NULL;
}

void model_source_append(struct model_source *source, int32_t count, int32_t pid, bool twin)
{
    const struct model_batch *last = twin ? last_data(source, source->count) : NULL;
    struct model_batch like = last == NULL ? (struct model_batch){0} : *last;
    count = last == NULL ? count : like.count;
    struct model_batch *batch = add(source, pid < 0 ? MODEL_DATA : MODEL_TX, pid, count);
    for (int32_t i = 0; i < count; i++) {
        batch->content[i] = last == NULL ? source->contents_count++ : like.content[i];
    }
    batch->timestamp = last == NULL ? batch->timestamp : like.timestamp;
    if (pid >= 0 && source->open_first[pid] < 0) {
        source->open_first[pid] = batch->base;
    }
    encode(batch, source->append_time);
}

void model_source_end_transaction(struct model_source *source, int32_t pid, bool commit)
{
    int64_t first = source->open_first[pid];
    if (first < 0) {
        return;
    }
    struct model_batch *marker = add(source, commit ? MODEL_COMMIT : MODEL_ABORT, pid, 1);
    encode(marker, source->append_time);
    for (int32_t i = 0; i < source->count; i++) {
        struct model_batch *batch = &source->batches[i];
        if (batch->kind == MODEL_TX && batch->pid == pid && batch->outcome == MODEL_OPEN) {
            batch->outcome = commit ? MODEL_COMMITTED : MODEL_ABORTED;
        }
    }
    if (!commit) {
        source->aborted = realloc(source->aborted,
                                  (size_t)(source->aborted_count + 1) * sizeof(*source->aborted));
        assert(source->aborted != NULL);
        source->aborted[source->aborted_count].pid = pid;
        source->aborted[source->aborted_count].first = first;
        source->aborted[source->aborted_count++].last = marker->base;
    }
    source->open_first[pid] = -1;
}

int64_t model_source_stable_end(const struct model_source *source)
{
    int64_t end = source->end;
    for (int32_t i = 0; i < MODEL_PIDS; i++) {
        if (source->open_first[i] >= 0 && source->open_first[i] < end) {
            end = source->open_first[i];
        }
    }
    return end;
}

void model_source_truncate(struct model_source *source, int64_t offset)
{
    int32_t keep = source->count - 1;
    while (keep >= 0 &&
           (source->batches[keep].base > offset || !source->batches[keep].clean_before)) {
        keep--;
    }
    if (keep < 0 || source->batches[keep].base < source->log_start || source->epochs_count == 64) {
        return;
    }
    int64_t cut = source->batches[keep].base;
    for (int32_t i = keep; i < source->count; i++) {
        free(source->batches[i].data);
    }
    source->count = keep;
    source->end = cut;
    for (int32_t i = 0; i < MODEL_PIDS; i++) {
        source->open_first[i] = -1;
    }
    while (source->aborted_count > 0 && source->aborted[source->aborted_count - 1].last >= cut) {
        source->aborted_count--;
    }
    while (source->epochs_count > 0 && source->epochs[source->epochs_count - 1].start >= cut) {
        source->epochs_count--;
    }
    source->epoch++;
    source->epochs[source->epochs_count].epoch = source->epoch;
    source->epochs[source->epochs_count++].start = cut;
}

void model_source_forget(struct model_source *source, int32_t batches)
{
    for (; batches > 0 && source->count > 0; batches--) {
        struct model_batch *last = &source->batches[--source->count];
        source->end = last->base;
        free(last->data);
    }
}

void model_source_delete_before(struct model_source *source, int64_t offset)
{
    if (offset > source->log_start && offset <= model_source_stable_end(source)) {
        source->log_start = offset;
    }
}

void model_source_compact(struct model_source *source, int32_t at, bool whole, bool keep_header,
                          int32_t record)
{
    struct model_batch *batch = &source->batches[at];
    if (batch->removed || batch->kind == MODEL_ABORT || batch->kind == MODEL_COMMIT ||
        batch->outcome == MODEL_OPEN) {
        return;
    }
    if (!whole) {
        batch->gone[record % batch->count] = true;
    }
    bool left = false;
    for (int32_t i = 0; i < batch->count; i++) {
        batch->gone[i] = batch->gone[i] || whole;
        left = left || !batch->gone[i];
    }
    batch->removed = !left && !keep_header;
    encode(batch, source->append_time);
}

void model_source_epoch_end(const struct model_source *source, int32_t epoch, int32_t *out_epoch,
                            int64_t *out_end)
{
    int32_t last = source->epochs_count - 1;
    *out_epoch = -1;
    *out_end = -1;
    if (source->epochs[last].epoch == epoch) {
        *out_epoch = epoch;
        *out_end = source->end;
        return;
    }
    for (int32_t i = 0; i <= last; i++) {
        if (source->epochs[i].epoch > epoch) { /* the first that is newer */
            *out_epoch = i == 0 ? epoch : source->epochs[i - 1].epoch;
            *out_end = source->epochs[i].start;
            return;
        }
    }
}

static void fill_aborted(const struct model_source *source, int64_t from, int64_t until,
                         struct fetch_partition *out)
{
    out->aborted = calloc((size_t)source->aborted_count + 1, sizeof(*out->aborted));
    assert(out->aborted != NULL);
    for (int32_t i = 0; i < source->aborted_count; i++) {
        if (source->aborted[i].last >= from && source->aborted[i].first < until) {
            out->aborted[out->aborted_count].producer_id = 100 + source->aborted[i].pid;
            out->aborted[out->aborted_count++].first_offset = source->aborted[i].first;
        }
    }
}

bool model_source_fetch(const struct model_source *source, int64_t offset, int32_t batches,
                        struct fetch_partition *out, struct buf **out_block)
{
    int64_t stable = model_source_stable_end(source);
    if (offset < source->log_start || offset > source->end) {
        return false;
    }
    struct writer writer;
    int64_t until = offset;
    writer_init(&writer);
    for (int32_t i = 0; i < source->count && batches > 0; i++) {
        const struct model_batch *batch = &source->batches[i];
        if (!batch->removed && batch->next > offset && batch->next <= stable) {
            writer_bytes(&writer, batch->data, batch->len);
            until = batch->next;
            batches--;
        }
    }
    *out = (struct fetch_partition){.high_watermark = source->end,
                                    .last_stable_offset = stable,
                                    .log_start_offset = source->log_start};
    fill_aborted(source, offset, until, out);
    *out_block = writer_take(&writer);
    out->records = (*out_block)->data;
    out->records_len = (*out_block)->len;
    return true;
}

const struct model_batch *model_source_at(const struct model_source *source, int64_t offset)
{
    for (int32_t i = 0; i < source->count; i++) {
        if (source->batches[i].base <= offset && offset < source->batches[i].next) {
            return &source->batches[i];
        }
    }
    return NULL;
}

bool model_batch_visible(const struct model_batch *batch)
{
    bool left = false;
    for (int32_t i = 0; i < batch->count; i++) {
        left = left || !batch->gone[i];
    }
    return left && !batch->removed && batch->outcome == MODEL_COMMITTED &&
           (batch->kind == MODEL_DATA || batch->kind == MODEL_TX);
}
