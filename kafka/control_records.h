/* What the records of a control topic say: newest good record of each key, and which keys hold what cannot be read.
 * No I/O: the reader puts records in the log's order, the writers' forms stand in control.h.
 *
 * A record comes from a log that others may write to: one that is not of its form changes nothing and is an error with
 * the key's name, which stands until that key gets a good record or a tombstone.
 */
#ifndef FERRY_KAFKA_CONTROL_RECORDS_H
#define FERRY_KAFKA_CONTROL_RECORDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "kafka/control.h"

struct control_records;

struct control_records *control_records_new(void);
/* From now on operations and their steps are remembered too: for the command; a worker has no use for them.
 * @param evidence  false: without the steps' evidence, which may be a hundred times as long */
void control_records_keep(struct control_records *records, bool evidence);
/* {"op/ID": record, "op/ID/STEP": record, ..} of those that can be read; borrowed, NULL when they are not kept. */
const json_t *control_records_operations(const struct control_records *records);
void control_records_free(struct control_records *records); /* NULL is fine */

/* One record in its turn. value NULL = tombstone; key NULL = a record without key. Keys that we do not know are passed
 * over: newer versions write them. false with ERR_REFUSED: not of its form. */
MUST_CHECK
bool control_records_put(struct control_records *records, const char *key, size_t key_len,
                         const char *value, size_t value_len, struct err *err);

/* A key whose newest record cannot be read, or NULL. */
const struct err *control_records_bad(const struct control_records *records);

/* A copy of what stands now; read_ms, topic_id and end_offset are the reader's to fill. control_state_free(). */
struct control_state *control_records_state(const struct control_records *records);

#endif
