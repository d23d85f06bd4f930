#include "tests/fake/model_target.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "kafka/crc32c.h"
#include "kafka/error.h"
#include "mirror/sequence.h"
#include "tests/fake/batches.h"

void model_target_init(struct model_target *target, int64_t id_base)
{
    *target = (struct model_target){.id_base = id_base};
}

void model_target_done(struct model_target *target)
{
    for (int32_t i = 0; i < target->count; i++) {
        free(target->entries[i].data);
        free(target->entries[i].records);
    }
    free(target->entries);
}

static struct model_entry *add(struct model_target *target, const uint8_t *bytes, size_t len)
{
    if (target->count == target->capacity) {
        target->capacity = target->capacity == 0 ? 64 : target->capacity * 2;
        target->entries =
            realloc(target->entries, (size_t)target->capacity * sizeof(*target->entries));
        assert(target->entries != NULL);
    }
    struct model_entry *entry = &target->entries[target->count++];
    *entry = (struct model_entry){
        .base = target->end, .generation = -1, .producer = -1, .data = malloc(len), .len = len};
    assert(entry->data != NULL);
    memcpy(entry->data, bytes, len);
    for (int i = 0; i < 8; i++) { /* the broker writes BaseOffset */
        entry->data[i] = (uint8_t)((uint64_t)entry->base >> (56 - 8 * i));
    }
    struct batch batch;
    struct err err;
    enum batch_walk walk = batch_walk(entry->data, len, &batch, &err);
    assert(walk == BATCH_WALK_ONE && batch_crc_ok(&batch));
    (void)walk;
    entry->next = batch_next_offset(&batch);
    target->end = entry->next;
    return entry;
}

static void remember(struct model_producer *producer, int32_t first, int32_t last, int64_t offset)
{
    if (producer->recent_count == MODEL_REMEMBERED) {
        memmove(&producer->recent[0], &producer->recent[1],
                sizeof(producer->recent[0]) * (MODEL_REMEMBERED - 1));
        producer->recent_count--;
    }
    producer->recent[producer->recent_count].first = first;
    producer->recent[producer->recent_count].last = last;
    producer->recent[producer->recent_count++].offset = offset;
    producer->known = true;
    producer->last = last;
}

/* @return index of its state; -1 = a batch without an id */
static int32_t producer_of(const struct model_target *target, int64_t id, int32_t *out_generation)
{
    *out_generation = 0;
    if (sequence_id_ours(target->id_base, id, out_generation)) {
        assert(*out_generation < MODEL_GENERATIONS);
        return *out_generation;
    }
    assert(id >= BATCH_NO_PRODUCER && id < MODEL_GIVEN);
    return id == BATCH_NO_PRODUCER ? -1 : MODEL_GENERATIONS + (int32_t)id;
}

/* @return false when there is nothing to append: a repeat, or what does not follow */
static bool follows(const struct model_producer *producer, int32_t first, int32_t last,
                    int16_t *out_error, int64_t *out_offset)
{
    *out_error = KAFKA_NONE;
    for (int32_t i = 0; i < producer->recent_count; i++) {
        if (producer->recent[i].first == first && producer->recent[i].last == last) {
            *out_offset = producer->recent[i].offset;
            return false;
        }
    }
    if (producer->known && first != sequence_wire((int64_t)producer->last + 1)) {
        *out_error = KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER;
        return false;
    }
    return true;
}

int16_t model_target_append(struct model_target *target, const uint8_t *bytes, size_t len,
                            int64_t source_first, int64_t source_next,
                            const struct model_record *records, int64_t *out_offset)
{
    struct batch batch;
    struct err err;
    int32_t generation;
    int16_t error;
    enum batch_walk walk = batch_walk(bytes, len, &batch, &err);
    assert(walk == BATCH_WALK_ONE);
    assert(batch.count == batch.last_offset_delta + 1 && batch.base_offset == 0);
    (void)walk;
    int32_t producer = producer_of(target, batch.producer_id, &generation);
    int32_t first = batch.base_sequence;
    int32_t last = sequence_wire((int64_t)first + batch.last_offset_delta);
    *out_offset = -1;
    if (producer >= 0 && !follows(&target->producers[producer], first, last, &error, out_offset)) {
        return error;
    }
    struct model_entry *entry = add(target, bytes, len);
    entry->generation = generation;
    entry->producer = producer;
    entry->source_first = source_first;
    entry->source_next = source_next;
    entry->records = calloc((size_t)batch.count, sizeof(*records));
    assert(entry->records != NULL);
    memcpy(entry->records, records, (size_t)batch.count * sizeof(*records));
    entry->wire = first;
    *out_offset = entry->base;
    if (producer >= 0) {
        remember(&target->producers[producer], first, last, entry->base);
    }
    return KAFKA_NONE;
}

void model_target_foreign(struct model_target *target, int32_t count, bool control)
{
    struct fake_record records[4] = {0};
    for (int32_t i = 0; i < 4; i++) {
        records[i] = (struct fake_record){.offset_delta = i, .value = "foreign"};
    }
    struct fake_batch spec = {.attributes = control ? BATCH_TRANSACTIONAL | BATCH_CONTROL : 0,
                              .last_offset_delta = -1,
                              .base_timestamp = 1700000000000 + target->end,
                              .producer_id = control ? 77 : -1,
                              .producer_epoch = -1,
                              .base_sequence = -1,
                              .records = records,
                              .count = control ? 1 : count};
    struct writer writer;
    writer_init(&writer);
    fake_batch_write(&writer, &spec);
    add(target, writer.data, writer.len);
    writer_done(&writer);
}

void model_target_truncate(struct model_target *target, int64_t offset)
{
    while (target->count > 0 && target->entries[target->count - 1].next > offset) {
        struct model_entry *last = &target->entries[--target->count];
        if (last->removed) {
            target->count++;
            break;
        }
        target->end = last->base;
        free(last->data);
        free(last->records);
    }
    if (target->watermark > target->end) {
        target->watermark = target->end;
    }
    if (target->log_start > target->end) {
        target->log_start = target->end;
    }
    memset(target->producers, 0, sizeof(target->producers));
    for (int32_t i = 0; i < target->count; i++) {
        const struct model_entry *entry = &target->entries[i];
        if (entry->producer >= 0 && !entry->removed) {
            struct model_producer *producer = &target->producers[entry->producer];
            producer->recent_count = 0; /* read from the log: the last batch alone */
            remember(producer, entry->wire,
                     sequence_wire((int64_t)entry->wire + (entry->next - entry->base) - 1),
                     entry->base);
        }
    }
}

void model_target_delete_before(struct model_target *target, int64_t offset)
{
    if (offset <= target->log_start || offset > target->watermark) {
        return;
    }
    target->log_start = offset;
    for (int32_t i = 0; i < target->count; i++) {
        if (target->entries[i].next <= offset) {
            target->entries[i].removed = true;
        }
    }
}

static void put_be32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

void model_target_compact(struct model_target *target, int32_t at, bool keep_header)
{
    struct model_entry *entry = &target->entries[at];
    entry->removed = !keep_header;
    entry->len = BATCH_HEADER_BYTES;
    put_be32(entry->data + 8, BATCH_HEADER_BYTES - BATCH_LENGTH_PREFIX);
    put_be32(entry->data + 57, 0); /* RecordCount */
    put_be32(entry->data + 17, crc32c(0, entry->data + 21, entry->len - 21));
}

void model_target_forget_producers(struct model_target *target)
{
    memset(target->producers, 0, sizeof(target->producers));
}

void model_target_describe(const struct model_target *target, struct resume_target *out)
{
    *out = (struct resume_target){.log_start = target->log_start, .end = target->watermark};
    for (int32_t i = 0; i < MODEL_GENERATIONS; i++) {
        if (target->producers[i].known) {
            out->ids[out->ids_count].generation = i;
            out->ids[out->ids_count++].last_sequence = target->producers[i].last;
        }
    }
}
