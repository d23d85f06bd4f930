/* The Lua scripts of the map, their arguments, and the text forms of what they compare; shared by the store and the
 * command's view.
 *
 * Keys of one partition, in this order: BASE:checkpoints, BASE:map:TOPIC:PARTITION:INCARNATION,
 * BASE:incarnations:TOPIC:PARTITION, BASE:unmapped:TOPIC:PARTITION, BASE:rebuilt:TOPIC:PARTITION:INCARNATION.
 * BASE = PREFIX{SERVICE}:FROM>TO
 */
#ifndef FERRY_OFFSETS_OFFSET_SCRIPT_H
#define FERRY_OFFSETS_OFFSET_SCRIPT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/redis.h"
#include "offsets/offset_backlog.h"
#include "offsets/offset_lookup.h"

struct redisReply;

#define PART_KEYS_COUNT 5

/* ARGV: field, incarnation -> {checkpoint, index, newest entry as [id, [r, packed]] or nothing} */
extern struct redis_script offset_script_look;
/* ARGV: field, incarnation, expected checkpoint, expected index, expected top ID ("" = none), new checkpoint, new index
 * without its ordinal, anew 0|1, number of unmapped stretches, each as "begin.source begin.target until.source
 * until.target", then id, packed of each entry
 * -> {"ok", index as stored} or {"no", what look gives} */
extern struct redis_script offset_script_advance;
/* ARGV: field, incarnation, expected checkpoint, index, top ID as above, new checkpoint, new index without its ordinal,
 * ID from which entries go ("" = all), shortened entry's packed ("" = none) -> {"ok"} or {"no"}.
 * New checkpoint "": it is forgotten alone, so that the next advance begins the map anew */
extern struct redis_script offset_script_cut;
/* ARGV: field, incarnation, "source"|"target", offset (of the source: the highest ID at it), offset as pieces have it
 * (offset_piece_bound()) -> {floor entry or {}, the entry behind it or {}, what look gives, all of incarnations, all of
 * unmapped, the piece at or below or ""}: one moment */
extern struct redis_script offset_script_floor;
#define FLOOR_REPLY_ENTRY        0
#define FLOOR_REPLY_BEHIND       1
#define FLOOR_REPLY_LOOK         2
#define FLOOR_REPLY_INCARNATIONS 5
#define FLOOR_REPLY_UNMAPPED     6
#define FLOOR_REPLY_PIECE        7
#define FLOOR_REPLY_ELEMENTS     8
/* ARGV: field, incarnation, then offsets of the source plus one, ascending -> {what look gives, all of incarnations, all of
 * unmapped, {{floor entry or {}, the entry behind it or {}, piece at or below or ""}, ...}, for each offset the index of its
 * answer}. A copy is used by who runs on another thread than the others: a script's SHA is computed on first use. */
extern struct redis_script offset_script_floors;
#define FLOORS_REPLY_LOOK         0
#define FLOORS_REPLY_INCARNATIONS 3
#define FLOORS_REPLY_UNMAPPED     4
#define FLOORS_REPLY_ANSWERS      5
#define FLOORS_REPLY_PLACES       6
#define FLOORS_REPLY_ELEMENTS     7
/* KEYS: meta, checkpoints, groups. ARGV: field, value, ... of meta -> {all checkpoints, how many fields groups has} or {field,
 * what is there} of the first that differs. Two elements either way: the first is an array, or a string. */
extern struct redis_script offset_script_groups;
/* ARGV: field, incarnation -> {checkpoint, member of unmapped, first two numbers of its lowest piece or "", ...} of the
 * incarnation */
extern struct redis_script offset_script_unmapped;
/* ARGV: field, incarnation, stretch, bounds of its pieces [from, until), first two numbers of its lowest piece as they are
 * expected or "", then pieces -> {"ok"} or {"no"}: nothing was changed */
extern struct redis_script offset_script_rebuild;
/* KEYS: meta. ARGV: field, value, ... -> {} or {field, what is there} of the first that differs */
extern struct redis_script offset_script_meta;
/* KEYS: meta, checkpoints. ARGV: field of checkpoints, then as meta -> {checkpoint or ""} or {field, what is there} */
extern struct redis_script offset_script_load;
/* KEYS: repeated. ARGV: field, value, how many fields may stand there, and how many of the newest stay when there are more: the
 * others become the field `earlier`, their sum and the first one's time -> 0, or 1 when it did */
extern struct redis_script offset_script_repeated;

/* Arguments of a call, copied as they are put. */
struct script_arguments {
    char **argv;
    size_t *lens;
    int count;
    int capacity;
};
void script_put(struct script_arguments *arguments, const void *data, size_t len);
void script_put_text(struct script_arguments *arguments, const char *text);
void script_put_format(struct script_arguments *arguments, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The keys, then field and incarnation. */
void script_put_part(struct script_arguments *arguments, const char *base, const char *topic,
                     int32_t partition, const char *incarnation);
void script_arguments_done(struct script_arguments *arguments);

#define INDEX_TEXT_BYTES 208 /* 9 numbers of at most 20 digits, spaces */
/* All but the ordinal: "first.source first.target next.source next.target end.source end.target top.source top.target" */
char *offset_index_text(const struct offset_index *index, char out[INDEX_TEXT_BYTES]);
/* With the ordinal. Strict; what it says may follow from one another: first <= end <= next. */
MUST_CHECK
bool offset_index_parse(const char *text, size_t len, struct offset_index *out);
/* "source-target" */
#define OFFSET_ID_BYTES 48
MUST_CHECK
bool offset_id_parse(const char *text, size_t len, struct offset_place *out);
char *offset_id_text(struct offset_place id, char out[OFFSET_ID_BYTES]);
/* Four numbers. */
#define STRETCH_TEXT_BYTES 96
char *offset_stretch_text(const struct offset_stretch *stretch, char out[STRETCH_TEXT_BYTES]);
/* A member of unmapped, "INCARNATION begin.source begin.target until.source until.target". */
MUST_CHECK
bool offset_stretch_parse(const char *text, size_t len, const char *incarnation,
                          struct offset_stretch *out);

/* What Redis holds of one partition, to the letter: the compare of the compare-and-swap. "" = nothing there. */
struct offset_letter {
    char checkpoint[CHECKPOINT_TEXT_BYTES];
    char index[INDEX_TEXT_BYTES];
    char top[OFFSET_ID_BYTES];
};

/* The string at an element, or NULL. */
const char *script_text(const struct redisReply *reply, size_t at);
/* One entry of a reply, [id, [field, packed]]; `there` false when the array is empty. */
MUST_CHECK
bool offset_entry_reply(const struct redisReply *reply, struct offset_stored_entry *out,
                        struct offset_place *out_id, struct err *err);
/* What look gives, from element `at` on. ERR_REFUSED when it is not what ferry writes, or contradicts itself. */
MUST_CHECK
bool offset_found_reply(const struct redisReply *reply, size_t at, const char *incarnation,
                        struct offset_found *out, struct offset_letter *out_letter,
                        struct err *err);

/* Keys; heap. */
char *offset_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *offset_base_key(const char *prefix, const char *service, const char *from, const char *to);
char *offset_part_key(const char *base, const char *kind, const char *topic, int32_t partition);
char *offset_map_key(const char *base, const char *topic, int32_t partition,
                     const char *incarnation);
char *offset_rebuilt_key(const char *base, const char *topic, int32_t partition,
                         const char *incarnation);

#endif
