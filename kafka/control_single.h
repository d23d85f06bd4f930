/* A control topic on a cluster that refuses transactions (`sites.X.control: single-writer`): acks=all, the last record of a key wins,
 * nobody is fenced by the broker. What stands for the fence: before each write the topic's end is asked for, and behind it the first
 * record's offset is looked at. Another end than ours says that somebody else has written: ERR_FATAL, as of a writer that was fenced.
 *
 * So of two writers each is told with its next write. What it cannot do: keep out a record of somebody who asked before us and sends
 * behind us; it stands in the log, and both are told. Private to kafka/control_writer.c.
 */
#ifndef FERRY_KAFKA_CONTROL_SINGLE_H
#define FERRY_KAFKA_CONTROL_SINGLE_H

#include "kafka/client.h"
#include "kafka/control.h"

struct control_single;

/* Connected; the topic is there. `settings` is borrowed for the lifetime; `topic` is copied. */
struct control_single *control_single_new(const struct config_client *settings, const char *topic,
                                          int64_t until_ms, struct err *err);
void control_single_free(struct control_single *single); /* NULL is fine */
/* From here on we are the writer, as far as the topic's end says so. */
MUST_CHECK
bool control_single_begin(struct control_single *single, int64_t until_ms, struct err *err);
/* In order, as a rule in one batch: what a crash leaves of them is a beginning. As control_write(). */
MUST_CHECK
bool control_single_write(struct control_single *single, const struct control_record *records,
                          size_t count, int64_t until_ms, struct err *err);
/* The last write was not answered: it may stand or not. */
bool control_single_unsure(const struct control_single *single);
bool control_single_is_old(struct control_single *single);

#endif
