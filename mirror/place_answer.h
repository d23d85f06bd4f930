/* Answers of a broker that was asked about one partition alone, as resume and rebuild ask: what it says of that partition,
 * or why it says nothing.
 */
#ifndef FERRY_MIRROR_PLACE_ANSWER_H
#define FERRY_MIRROR_PLACE_ANSWER_H

#include "kafka/proto.h"

/* @param reader      the answer to a ListOffsets about one partition
 * @param out_offset  what was asked for, >= 0
 * @param out_error   KAFKA_NONE; else why there is no offset, and out_offset is not written
 * @return false when the bytes are no such answer: the connection is not to be trusted any more
 * @thread any */
MUST_CHECK
bool place_answer_offset(struct reader *reader, int16_t version, int64_t *out_offset,
                         int16_t *out_error, struct err *err);

/* @param reader     the answer to a Fetch of one partition
 * @param out        fetch_answer_done() it when true; with KAFKA_NONE it has partitions[0]
 * @param out_error  KAFKA_NONE; else why nothing was read
 * @return as place_answer_offset()
 * @thread any */
MUST_CHECK
bool place_answer_fetch(struct reader *reader, int16_t version, struct fetch_answer *out,
                        int16_t *out_error, struct err *err);

#endif
