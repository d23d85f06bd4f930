/* What the proto_*.c files share; nobody else includes this. */
#ifndef FERRY_KAFKA_PROTO_PRIVATE_H
#define FERRY_KAFKA_PROTO_PRIVATE_H

#include "kafka/proto.h"

/* An array that a decoder fills. What is reserved follows from counts that wire_list() compared with the
 * bytes that are left, so an answer makes us reserve a small multiple of its own size at most. */
struct proto_array {
    void *items;
    int32_t count;
    int32_t capacity;
};

/* Room for `more` elements behind those that are there, zeroed. Out of memory aborts. */
void proto_array_reserve(struct proto_array *array, int32_t more, size_t element_bytes);

/* Count of an array that may not be null. */
int32_t proto_count(struct reader *reader, size_t min_element_bytes);

/* Of `wants`, how many first ones are of one topic, and how many such runs there are. */
int32_t proto_topic_run(const struct topic_partition *wants, int32_t count);
int32_t proto_topic_runs_count(const struct topic_partition *wants, int32_t count);

/* The verdict on a decoded answer: every byte was taken and none was missing. false with ERR_RETRY otherwise. */
bool proto_finish(const struct reader *reader, enum api_key api, int16_t version, struct err *err);

/* Before the first field of a request or an answer: which encoding it has. An assertion that we speak `version`: the
 * caller got it from struct api_versions. */
void proto_begin(struct writer *writer, enum api_key api, int16_t version);
void proto_enter(struct reader *reader, enum api_key api, int16_t version);

#endif
