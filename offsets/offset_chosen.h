/* Which incarnation an offset is answered from, out of what Redis has of a partition; what the answers of a `floor` script
 * share. Pure.
 */
#ifndef FERRY_OFFSETS_OFFSET_CHOSEN_H
#define FERRY_OFFSETS_OFFSET_CHOSEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "offsets/offset_lookup.h"

struct redisReply;

/* The newest incarnation that begins at or before the offset, else the oldest; and the one that followed it. The checkpoint is
 * filled in already.
 * @param list  HGETALL of the partition's incarnations
 * @return false with ERR_REFUSED when that is not what ferry writes */
MUST_CHECK
bool offset_choose(struct offset_lookup *lookup, const struct redisReply *list, int64_t offset,
                   bool from_target, struct err *err);
/* The source offset from which on the checkpoint's topic was mirrored in a generation of at least `least`: from there its
 * filter is the one that `least` stands for. The checkpoint's own place when none is.
 * @param list  HGETALL of the partition's incarnations
 * @return false with ERR_REFUSED when that is not what ferry writes */
MUST_CHECK
bool offset_generation_from(const struct checkpoint *checkpoint, const struct redisReply *list,
                            int32_t least, int64_t *out, struct err *err);
/* The unmapped stretch of the chosen incarnation that the offset is in, if any.
 * @param list  SMEMBERS of the partition's stretches */
void offset_take_unmapped(struct offset_lookup *lookup, const struct redisReply *list,
                          int64_t offset, bool from_target);

#endif
