/* Hints where applications find them besides their own commits: `ferry.hints.SERVICE`, a compacted topic on the target, and
 * Redis (`hints:GROUP`). The same JSON in both (docs/hints.md); in the topic under the keys "0/GROUP", "1/GROUP", ..: a group of
 * many places has several records, which name how many there are.
 */
#ifndef FERRY_FAILOVER_HINTS_TOPIC_H
#define FERRY_FAILOVER_HINTS_TOPIC_H

#include <jansson.h>

#include "failover/cut.h"
#include "kafka/publish.h"

#define HINTS_TOPIC_BYTES 250
/* "ferry.hints.SERVICE"; returns out. */
char *hints_topic(const char *service, char out[HINTS_TOPIC_BYTES]);

struct hints_texts { /* of each group */
    char **groups;
    char **texts;
    size_t count;
};
void hints_texts_of(const struct cut *cut, const struct cut_options *options,
                    struct hints_texts *out);
void hints_texts_done(struct hints_texts *texts);

/* @param publisher, admin  who may write to the topic, and create it */
MUST_CHECK
bool hints_topic_write(struct publisher *publisher, struct admin *admin, const char *service,
                       const struct hints_texts *texts, int32_t timeout_ms, struct err *err);
/* What the operation wrote is replaced by what stood there before, of an earlier one: the newest record of the key that does not name
 * the operation, else a tombstone. Compaction keeps it while the segment is written to in which the operation's own records are: a
 * week as brokers come. No topic: nothing to do. */
MUST_CHECK
bool hints_topic_restore(const struct config_client *client, struct publisher *publisher,
                         struct admin *admin, const char *service, const char *operation,
                         int32_t timeout_ms, struct err *err);
/* {GROUP: JSON as it was written}: whole ones alone. New reference, NULL with err; ERR_REFUSED code 3: there is no such topic. */
json_t *hints_topic_read(const struct config_client *client, const char *service,
                         int32_t timeout_ms, struct err *err);

#endif
