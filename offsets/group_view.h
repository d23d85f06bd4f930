/* What the keeper left of groups in Redis, as the command reads it: blocking, changes nothing.
 */
#ifndef FERRY_OFFSETS_GROUP_VIEW_H
#define FERRY_OFFSETS_GROUP_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/redis.h"
#include "offsets/group_entry.h"

/* Every place of BASE:groups, in no order, now and then twice (HSCAN). `entry` has facts, metadata and time; its metadata is the
 * callee's when it takes it (and sets it to NULL).
 * @param out_strangers  fields that are none of ours; NULL is fine */
MUST_CHECK
bool group_view_each(struct redis_sync *redis, const char *base,
                     void (*each)(void *arg, const char *group, const char *topic,
                                  int32_t partition, struct group_entry *entry),
                     void *arg, size_t *out_strangers, struct err *err);
/* When the source's commits were read last, wall clock; -1 = nobody said. */
MUST_CHECK
bool group_view_read_ms(struct redis_sync *redis, const char *base, int64_t *out, struct err *err);
/* Were they read within GROUP_LATELY_MS, on Redis's clock? */
MUST_CHECK
bool group_view_lately(struct redis_sync *redis, const char *base, bool *out, struct err *err);
/* Names of the groups that had members at the source then: an array, new reference; *out NULL = nobody said. */
MUST_CHECK
bool group_view_members(struct redis_sync *redis, const char *base, json_t **out, struct err *err);

#endif
