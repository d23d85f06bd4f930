/* The producer id and the sequence of a partition's stream: what the target's broker arbitrates workers by.
 *
 * Producer id (63 bits): 16-bit prefix | 32-bit hash of (deployment, service, both cluster ids, source topic id) |
 * 15-bit generation in clear. Brokers do not require ids to be allocated, and allocation counts up from zero, so an id
 * beyond 2^47 collides with no application. "Ours" = prefix and hash, any generation.
 *
 * Sequence: a 64-bit counter whose low 31 bits are sent. It starts at source_next of the generation's first batch and
 * counts mirrored records; it is not an offset. @see Kafka's ProducerAppendInfo.checkSequence
 */
#ifndef FERRY_MIRROR_SEQUENCE_H
#define FERRY_MIRROR_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "kafka/wire.h"
#include "offsets/checkpoint.h"

#define SEQUENCE_ID_PREFIX \
    0x4659 /* "FY": bits 47..62; an allocated id would have to count to 2^47 * 18,009 first */

/* The id of a topic's stream at generation 0; later generations add their number. */
int64_t sequence_id_base(const char *deployment, const char *service, const char *source_cluster_id,
                         const char *target_cluster_id, const struct uuid *source_topic_id);
static inline int64_t sequence_id(int64_t id_base, int32_t generation)
{
    return id_base + generation;
}
/* Is this id of the same stream, and of which generation? */
bool sequence_id_ours(int64_t id_base, int64_t producer_id, int32_t *out_generation);

/* What is sent: the low 31 bits. */
static inline int32_t sequence_wire(int64_t sequence)
{
    return (int32_t)(sequence & 0x7fffffff);
}
/* The 64-bit counter nearest to `near` whose low 31 bits are `wire`; never negative. */
int64_t sequence_widen(int32_t wire, int64_t near);
/* The greatest counter <= `most` whose low 31 bits are `wire`; -1 when there is none. */
int64_t sequence_widen_below(int32_t wire, int64_t most);

#endif
