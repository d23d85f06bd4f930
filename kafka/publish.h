/* Records by key in a compacted topic of our own that holds no truth of Ferry's: what it says is for applications
 * (`ferry.hints.SERVICE`). Blocking, for the command and its operations.
 */
#ifndef FERRY_KAFKA_PUBLISH_H
#define FERRY_KAFKA_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "config/config.h"
#include "kafka/admin.h"

struct publish_record {
    const char *key;
    const char *value; /* NULL = tombstone */
};

#define PUBLISH_VALUE_BYTES \
    (900 << 10) /* below max.message.bytes as it comes; lz4 takes text to a fifth */

/* Who writes: its connections are made in the background from here on, which takes librdkafka half a second when it is unlucky.
 * NULL with ERR_CONFIG: it refuses a property. `client` is borrowed for the lifetime. */
struct publisher;
struct publisher *publisher_new(const struct config_client *client, struct err *err);
void publisher_free(struct publisher *publisher); /* NULL is fine */

/* Make the topic when it is not there (one partition, compacted, RF min(3, brokers), min.insync.replicas 2 from three brokers on),
 * and write: acks=all, idempotent, in order; values are borrowed until it returns. @param admin  of the same cluster, who may create it
 * @return false: some may have been written; again is fine, with another publisher */
MUST_CHECK
bool publish(struct publisher *publisher, struct admin *admin, const char *topic,
             const struct publish_record *records, size_t count, int32_t timeout_ms,
             struct err *err);

/* Every record of the topic's one partition, oldest first, up to where it ends now; value NULL = a tombstone. ERR_REFUSED code 3:
 * there is no such topic. */
MUST_CHECK
bool publish_read(const struct config_client *client, const char *topic, int32_t timeout_ms,
                  void (*each)(void *arg, const char *key, size_t key_len, const char *value,
                               size_t value_len),
                  void *arg, struct err *err);

#endif
