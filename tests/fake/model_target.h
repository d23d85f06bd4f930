/* A model of a target partition with the broker's rules for idempotent producers as measured on Kafka 4.3.1:
 *
 *   an id without state may start at any sequence; then exactly the next; a repeat of one of the last five batches (by
 *   its bounds, not its bytes) is answered with success and the first offset; anything else is 45 and appends nothing.
 *
 * Beside it: a high watermark behind the log's end, truncation, retention, foreign writers, state that expires.
 */
#ifndef FERRY_TESTS_FAKE_MODEL_TARGET_H
#define FERRY_TESTS_FAKE_MODEL_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "kafka/batch.h"
#include "mirror/resume.h"

#define MODEL_GENERATIONS 16
#define MODEL_GIVEN       1024 /* ids that the target gives out: 0 and up */
#define MODEL_REMEMBERED  5

struct model_record { /* where it stood at the source, and which one it is */
    int64_t source;
    int64_t uid;
};

struct model_entry {
    int64_t base;
    int64_t next;
    int32_t
        generation; /* -1 = foreign. Under an id that was given out 0, until whoever knows writes it here */
    int32_t producer; /* whose state it moved; -1 = none */
    int64_t source_first;
    int64_t source_next;
    struct model_record *records; /* next - base; NULL = foreign */
    int32_t wire;
    bool removed;
    uint8_t *data;
    size_t len;
};

struct model_producer {
    bool known;
    int32_t last; /* sequence, 31 bits */
    struct {
        int32_t first;
        int32_t last;
        int64_t offset;
    } recent[MODEL_REMEMBERED];
    int32_t recent_count;
};

struct model_target {
    struct model_entry *entries;
    int32_t count;
    int32_t capacity;
    int64_t log_start;
    int64_t end;
    int64_t watermark;
    int64_t id_base;
    struct model_producer producers[MODEL_GENERATIONS + MODEL_GIVEN]; /* ours, then given ones */
};

void model_target_init(struct model_target *target, int64_t id_base);
void model_target_done(struct model_target *target);
/* @param bytes    as sent: patched header, records
 * @param records  one for each record in it; copied
 * @return Kafka's error code; *out_offset its base offset */
int16_t model_target_append(struct model_target *target, const uint8_t *bytes, size_t len,
                            int64_t source_first, int64_t source_next,
                            const struct model_record *records, int64_t *out_offset);
void model_target_foreign(struct model_target *target, int32_t count, bool control);
/* Cut at the newest batch boundary at or below `offset`; states are read from the log again. */
void model_target_truncate(struct model_target *target, int64_t offset);
void model_target_delete_before(struct model_target *target, int64_t offset);
/* Compaction takes a batch away, all of it or all but its header. */
void model_target_compact(struct model_target *target, int32_t at, bool keep_header);
void model_target_forget_producers(struct model_target *target);
void model_target_describe(const struct model_target *target, struct resume_target *out);

#endif
