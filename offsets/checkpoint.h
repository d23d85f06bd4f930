/* Where the mirror of one partition is on both sides, with everything needed to go on; and its one text form,
 * used in Redis, in the commit metadata of ferry's group and in reports:
 *
 *   v1 SOURCE_TOPIC_ID TARGET_TOPIC_ID GENERATION SOURCE_NEXT TARGET_NEXT SEQUENCE_NEXT LEADER_EPOCH TIME
 *
 * ids as 32 hex digits, numbers decimal, one space between; LEADER_EPOCH -1 = unknown; TIME in ms since 1970 UTC.
 */
#ifndef FERRY_OFFSETS_CHECKPOINT_H
#define FERRY_OFFSETS_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/wire.h"

#define GENERATION_MAX 32767 /* 15 bits of the producer id */
/* A filter's generations: the number tells which filter the stream passed. 127 changes of a service's filter, and so many
 * raises of one partition between two of them (truncations of the source, an operator's decisions). */
#define GENERATIONS_A_FILTER 256

struct checkpoint {
    struct uuid source_topic_id;
    struct uuid target_topic_id;
    int32_t generation;    /* 0 .. GENERATION_MAX */
    int64_t source_next;   /* next source offset to mirror */
    int64_t target_next;   /* target end offset once everything before is there */
    int64_t sequence_next; /* 64-bit counter; low 31 bits are sent */
    int32_t leader_epoch;  /* of the source batch before source_next; -1 = unknown */
    int64_t time_ms;       /* wall clock, for people */
};

#define CHECKPOINT_TEXT_BYTES 224 /* 2 + 2 * 33 + 6 + 4 * 20 + 11 + spaces + NUL, rounded up */

char *checkpoint_text(const struct checkpoint *checkpoint, char out[CHECKPOINT_TEXT_BYTES]);
/* Strict: exactly the form above, every number in its range. ERR_REFUSED with the offending field otherwise. */
MUST_CHECK
bool checkpoint_parse(const char *text, size_t len, struct checkpoint *out, struct err *err);

/* A decimal integer in its one shortest form: no sign but '-', no leading zero, no space. */
bool decimal_parse(const char *text, size_t len, int64_t *out);

#define TOPIC_NAME_BYTES 250 /* Kafka's longest name, and its end */
/* "TOPIC:PARTITION", as fields of Redis name a partition; Kafka's names hold no colon. false: it is none */
bool place_parse(const char *field, size_t len, char out_topic[TOPIC_NAME_BYTES],
                 int32_t *out_partition);

/* The name of the map that this checkpoint's runs belong to: first 16 hex digits of both topic ids and the
 * generation, "SSSSSSSSSSSSSSSS.TTTTTTTTTTTTTTTT.G" (see design: INCARNATION). */
#define INCARNATION_BYTES 48
char *checkpoint_incarnation(const struct checkpoint *checkpoint, char out[INCARNATION_BYTES]);

/* Same stream function (topic ids and generation)? */
bool checkpoint_same_incarnation(const struct checkpoint *a, const struct checkpoint *b);
/* The newer of two of one partition: higher generation, then higher target_next, then higher source_next. */
bool checkpoint_newer(const struct checkpoint *a, const struct checkpoint *b);

#endif
