/* Message sets of formats 0 and 1 (Kafka before 0.11; KIP-31, KIP-32): what old segments of a long-lived topic hold.
 *
 *   offset int64, size int32, then: CRC-32 uint32, magic int8, attributes int8, [timestamp int64 in format 1], key, value
 *
 * A compressed message's value is a message set of the same format; its offset is that of the last message inside, whose
 * own offsets are absolute in format 0 and relative in format 1.
 */
#ifndef FERRY_KAFKA_BATCH_OLD_H
#define FERRY_KAFKA_BATCH_OLD_H

#include "kafka/batch.h"

/* As batch_each_record(), which calls it for magic 0 and 1; nobody else needs to. */
MUST_CHECK
bool batch_old_each_record(const struct batch *batch, size_t max_bytes,
                           bool (*each)(void *arg, const struct record *record), void *arg,
                           struct err *err);

#endif
