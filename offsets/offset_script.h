/* The Lua scripts of the map and the text forms of what they compare; shared by the store and the command's view.
 *
 * Keys of one partition, in this order: BASE:checkpoints, BASE:map:TOPIC:PARTITION:INCARNATION,
 * BASE:incarnations:TOPIC:PARTITION, BASE:unmapped:TOPIC:PARTITION.  BASE = PREFIX{SERVICE}:FROM>TO
 */
#ifndef FERRY_OFFSETS_OFFSET_SCRIPT_H
#define FERRY_OFFSETS_OFFSET_SCRIPT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/redis.h"
#include "offsets/offset_backlog.h"
#include "offsets/offset_lookup.h"

struct redisReply;

/* ARGV: field, incarnation -> {checkpoint, index, newest entry as [id, [r, packed]] or nothing} */
extern struct redis_script offset_script_look;
/* ARGV: field, incarnation, expected checkpoint, expected index, expected top ID ("" = none), new checkpoint, new index
 * without its ordinal, anew 0|1, number of unmapped stretches, each, then id, packed of each entry
 * -> {"ok", index as stored} or {"no", what look gives} */
extern struct redis_script offset_script_advance;
/* ARGV: field, incarnation, new checkpoint, new index without ordinal, ID from which entries go ("" = all), shortened
 * entry's packed ("" = none) */
extern struct redis_script offset_script_cut;
/* KEYS: map. ARGV: "source"|"target", offset -> {floor entry or {}, the entry behind it or {}, newest entry or {}} */
extern struct redis_script offset_script_floor;
/* KEYS: meta. ARGV: field, value, ... -> {} or {field, what is there} of the first that differs */
extern struct redis_script offset_script_meta;

#define INDEX_TEXT_BYTES 208 /* 9 numbers of at most 20 digits, spaces */
/* All but the ordinal: "first.source first.target next.source next.target end.source end.target top.source top.target" */
char *offset_index_text(const struct offset_index *index, char out[INDEX_TEXT_BYTES]);
MUST_CHECK bool offset_index_parse(const char *text, struct offset_index *out);
/* "source-target" */
MUST_CHECK bool offset_id_parse(const char *text, struct offset_place *out);
/* One entry of a reply, [id, [field, packed]]; `there` false when the array is empty. */
MUST_CHECK bool offset_entry_reply(const struct redisReply *reply, struct offset_stored_entry *out,
                                   struct offset_place *out_id, struct err *err);
/* Keys; heap. */
char *offset_base_key(const char *prefix, const char *service, const char *from, const char *to);
char *offset_part_key(const char *base, const char *kind, const char *topic, int32_t partition);
char *offset_map_key(const char *base, const char *topic, int32_t partition, const char *incarnation);

#endif
