/* What stands at the end of a control topic, against what we sent: for a writer whose answers were lost. Private to
 * kafka/control_single.c.
 */
#ifndef FERRY_KAFKA_CONTROL_TAIL_H
#define FERRY_KAFKA_CONTROL_TAIL_H

#include "kafka/control.h"

/* Read from `begin` to before `end` and compare: do the records there, in order, say what `records` say, those once or several times
 * (librdkafka sends again what was not answered), or a beginning of that? Blocking.
 * @return false with ERR: could not be read by `until_ms` (client_now_ms()) */
MUST_CHECK
bool control_tail_compare(const struct config_client *settings, const char *topic, int64_t begin,
                          int64_t end, const struct control_record *records, size_t count,
                          int64_t until_ms, bool *out_same, struct err *err);

#endif
