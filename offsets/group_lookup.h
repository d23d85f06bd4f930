/* Many places of one partition looked up in the map at once: the question to Redis and what its answer says. Pure.
 */
#ifndef FERRY_OFFSETS_GROUP_LOOKUP_H
#define FERRY_OFFSETS_GROUP_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "offsets/group_table.h"
#include "offsets/offset_script.h"

struct redisReply;

#define GROUP_LOOKUP_MOST \
    500 /* places a call: some milliseconds of Redis, which does nothing else meanwhile */

struct group_lookup { /* one call */
    char incarnation[INCARNATION_BYTES];
    struct group_part *part;
    struct group_entry **entries; /* heap; ascending by source offset */
    size_t count;
};

/* Keys and arguments of offset_script_floors. */
void group_lookup_arguments(const struct group_lookup *lookup, const char *base,
                            struct script_arguments *out);
/* Tell each place what the map says. Those that belong to another incarnation than the one that was asked are left over: they
 * come first in entries, and `incarnation` is that of the first one; ask again.
 * @return how many are left; false with err: the answer is not what ferry writes, and nothing is known */
MUST_CHECK
bool group_lookup_reply(struct group_lookup *lookup, const struct redisReply *reply, int64_t now_ms,
                        size_t *out_left, struct err *err);

/* HGETALL of checkpoints: parts of the table. What is no checkpoint is left out and counted.
 * @return how many were left out */
size_t group_checkpoints_reply(struct group_table *table, const struct redisReply *list);
/* A piece of HSCAN's list of groups: places with what is kept of them. @return how many were none of ours */
size_t group_fields_reply(struct group_table *table, const struct redisReply *list);

#endif
