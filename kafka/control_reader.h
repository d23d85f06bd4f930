/* Reads a control topic to its end, again and again, through one librdkafka consumer without a group. Blocking; for one
 * thread. Nothing of another process is waited for longer than the given time.
 */
#ifndef FERRY_KAFKA_CONTROL_READER_H
#define FERRY_KAFKA_CONTROL_READER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kafka/client.h"
#include "kafka/control.h"

struct control_reader;

/* ERR_CONFIG when the settings are refused; nothing is asked of the cluster yet. */
struct control_reader *control_reader_new(const struct config_client *settings, const char *service,
                                          struct err *err);
void control_reader_free(struct control_reader *reader, int32_t wait_ms); /* NULL is fine */
/* Before the first read: operations and their steps are remembered too. */
void control_reader_keep(struct control_reader *reader);
/* Likewise, without the steps' evidence. */
void control_reader_keep_heads(struct control_reader *reader);
/* As control_records_operations(); until the next read. */
const json_t *control_reader_operations(const struct control_reader *reader);

/* Create the topic when it does not exist; "exists" is success. */
MUST_CHECK
bool control_reader_create(struct control_reader *reader, struct err *err);

/* Ask where the end is and read up to it.
 *
 * @param timeout_ms  for the whole; about 3 questions and the records
 * @param stop        becomes true = give up soon; may be NULL
 * @return false with ERR_REFUSED code 3 when the topic does not exist. What is good stays: the next call goes on */
MUST_CHECK
bool control_reader_read(struct control_reader *reader, int32_t timeout_ms, const atomic_bool *stop,
                         struct err *err);

/* A copy of what was read; read_ms is for the caller to fill. *out_bad: a record that cannot be read (ERR_NONE = none). */
struct control_state *control_reader_state(const struct control_reader *reader,
                                           struct err *out_bad);

/* Wait for something new to read, a wake-up or the time. */
void control_reader_wait(struct control_reader *reader, int32_t wait_ms);
/* @thread any, while the reader lives */
void control_reader_wake(struct control_reader *reader);

#endif
