/* The broker's half of kafka/proto, for fakes: requests read, answers written, with the same structs. */
#ifndef FERRY_TESTS_FAKE_ANSWERS_H
#define FERRY_TESTS_FAKE_ANSWERS_H

#include "kafka/proto.h"

struct wire_string fake_text(const char *text); /* a view of a text that lives on; NULL = null */

void fake_put_metadata(struct writer *writer, int16_t version, const struct metadata *metadata);
void fake_put_fetch(struct writer *writer, int16_t version, const struct fetch_answer *answer);
void fake_put_produce(struct writer *writer, int16_t version, const struct produce_answer *answer);
void fake_put_list_offsets(struct writer *writer, const struct list_offsets_answer *answer);
void fake_put_epoch_end(struct writer *writer, const char *topic, int32_t partition,
                        const struct epoch_end_answer *answer);
void fake_put_describe_producers(struct writer *writer, const char *topic, int32_t partition,
                                 const struct describe_producers_answer *answer);
void fake_put_init_producer_id(struct writer *writer, const struct init_producer_id_answer *answer);
void fake_put_find_coordinator(struct writer *writer, int16_t version, const char *group,
                               const struct find_coordinator_answer *answer);
void fake_put_offset_fetch(struct writer *writer, int16_t version,
                           const struct offset_fetch_answer *answer);
void fake_put_leave_group(struct writer *writer, int16_t error);

struct fake_fetch { /* one partition of a Fetch request */
    struct wire_string topic;
    struct uuid topic_id;
    int32_t partition;
    int32_t current_leader_epoch;
    int64_t offset;
    int32_t last_fetched_epoch;
    int32_t max_bytes;
};
/* @return how many, at most `max`; asserts that the request is well formed */
int32_t fake_get_fetch(struct reader body, int16_t version, struct fake_fetch *out, int32_t max);

struct fake_produce { /* one partition of a Produce request */
    struct wire_string topic;
    struct uuid topic_id;
    int32_t partition;
    const uint8_t *records;
    size_t records_len;
};
int32_t fake_get_produce(struct reader body, int16_t version, struct fake_produce *out,
                         int32_t max);

struct fake_offset_fetch { /* one partition of an OffsetFetch request */
    struct wire_string group;
    struct wire_string topic;
    int32_t partition;
};
/* @return how many, at most `max`; asserts that the request is well formed */
int32_t fake_get_offset_fetch(struct reader body, int16_t version, bool *out_require_stable,
                              struct fake_offset_fetch *out, int32_t max);

#endif
