#include "offsets/offset_script.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"

/* Offsets may exceed 2^53: Lua compares them as text and never makes numbers of them, but where a probe may be inexact.
 * A script that fails in its middle keeps what it did: checkpoint and index are written last, so that what they do not
 * speak of does not count. */

/* clang-format off */
#define LUA_LOOK \
    "local cp = redis.call('HGET', KEYS[1], ARGV[1]) or ''\n" \
    "local ix = redis.call('HGET', KEYS[3], ARGV[2]) or ''\n" \
    "local function top_entry() return redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1] end\n" \
    "local top = top_entry()\n"

/* Before anything is changed: is everything there as the caller saw it? */
#define LUA_COMPARE \
    "if cp ~= ARGV[3] or ix ~= ARGV[4] or (top and top[1] or '') ~= ARGV[5] then\n" \
    "  return {'no', cp, ix, top or {}}\n" \
    "end\n"

/* Decimal text without leading zeros. */
#define LUA_BELOW \
    "local function below(a, b)\n" \
    "  if #a ~= #b then return #a < #b end\n" \
    "  return a < b\n" \
    "end\n"

/* Stretches of the incarnation end at `source`, `target`; what begins there or behind goes. Pieces follow from the top of
 * a stretch down: when it loses its top they are made again. */
#define LUA_CLIP_UNMAPPED \
    "local function clip_unmapped(source, target)\n" \
    "  local head = ARGV[2] .. ' '\n" \
    "  local clipped = false\n" \
    "  for _, one in ipairs(redis.call('SMEMBERS', KEYS[4])) do\n" \
    "    if string.sub(one, 1, #head) == head then\n" \
    "      local begin, from, to = string.match(one, ' (%d+) (%d+) (%d+) %d+$')\n" \
    "      if not begin or not below(begin, source) then\n" \
    "        redis.call('SREM', KEYS[4], one)\n" \
    "        clipped = true\n" \
    "      elseif below(source, to) then\n" \
    "        redis.call('SREM', KEYS[4], one)\n" \
    "        clipped = true\n" \
    "        redis.call('SADD', KEYS[4], head .. begin .. ' ' .. from .. ' ' .. source .. ' ' .. target)\n" \
    "      end\n" \
    "    end\n" \
    "  end\n" \
    "  if clipped then redis.call('DEL', KEYS[5]) end\n" \
    "end\n"

/* XADD is refused at or below the highest ID that ever was, also when entries were deleted since. Redis 8 lets nobody
 * lower that below a deleted entry: there what is left is written anew. Rare (a cut, entries that somebody deleted), and
 * one partition's map. */
#define LUA_TOP_DOWN \
    "local function top_down()\n" \
    "  local now = top_entry()\n" \
    "  local refused = now and redis.pcall('XSETID', KEYS[2], now[1]).err\n" \
    "  if now and not refused then return end\n" \
    "  local left = now and redis.call('XRANGE', KEYS[2], '-', '+') or {}\n" \
    "  redis.call('DEL', KEYS[2])\n" \
    "  for _, entry in ipairs(left) do redis.call('XADD', KEYS[2], entry[1], unpack(entry[2])) end\n" \
    "end\n"

/* The index keeps its ordinal; a new one is behind all others. */
#define LUA_ORDINAL \
    "local function ordinal_of(index)\n" \
    "  local known = string.match(index, '^%d+')\n" \
    "  if known then return known end\n" \
    "  local most = 0\n" \
    "  for _, other in ipairs(redis.call('HVALS', KEYS[3])) do\n" \
    "    most = math.max(most, tonumber(string.match(other, '^%d+') or '0'))\n" \
    "  end\n" \
    "  return string.format('%.0f', most + 1)\n" \
    "end\n"

struct redis_script offset_script_look = {
    .name = "look",
    .text = LUA_LOOK
            "return {cp, ix, top or {}}\n"};

struct redis_script offset_script_advance = {
    .name = "advance",
    .text = LUA_LOOK LUA_COMPARE LUA_BELOW LUA_CLIP_UNMAPPED LUA_TOP_DOWN LUA_ORDINAL
            "local index = ordinal_of(ix) .. ' ' .. ARGV[7]\n"
            "local at = 10\n"
            "if ARGV[8] == '1' then\n"
            "  clip_unmapped('0', '0')\n"
            "  redis.call('DEL', KEYS[2], KEYS[5])\n"
            "end\n"
            "for _ = 1, tonumber(ARGV[9]) do\n"
            "  clip_unmapped(string.match(ARGV[at], '^(%d+) (%d+)'))\n"
            "  redis.call('SADD', KEYS[4], ARGV[2] .. ' ' .. ARGV[at])\n"
            "  at = at + 1\n"
            "end\n"
            "while at < #ARGV do\n"
            "  local added = redis.pcall('XADD', KEYS[2], ARGV[at], 'r', ARGV[at + 1])\n"
            "  if type(added) == 'table' and added.err then\n"
            /* of its ID it speaks by name; all else (out of memory, a replica) is the answer, and no reason to write the map anew */
            "    if not string.find(added.err, 'XADD', 1, true) then return added end\n"
            "    top_down()\n"
            "    redis.call('XADD', KEYS[2], ARGV[at], 'r', ARGV[at + 1])\n"
            "  end\n"
            "  at = at + 2\n"
            "end\n"
            "redis.call('HSET', KEYS[3], ARGV[2], index)\n"
            "redis.call('HSET', KEYS[1], ARGV[1], ARGV[6])\n"
            "return {'ok', index}\n"};

struct redis_script offset_script_cut = {
    .name = "cut",
    .text = LUA_LOOK LUA_COMPARE LUA_BELOW LUA_CLIP_UNMAPPED LUA_TOP_DOWN LUA_ORDINAL
            "local index = ordinal_of(ix) .. ' ' .. ARGV[7]\n"
            "if ARGV[6] == '' then\n"
            "  redis.call('HDEL', KEYS[1], ARGV[1])\n"
            "  return {'ok'}\n"
            "end\n"
            "if ARGV[8] == '' then\n"
            "  redis.call('DEL', KEYS[2])\n"
            "else\n"
            "  repeat\n"
            "    local some = redis.call('XRANGE', KEYS[2], ARGV[8], '+', 'COUNT', 500)\n"
            "    for _, entry in ipairs(some) do redis.call('XDEL', KEYS[2], entry[1]) end\n"
            "  until #some < 500\n"
            "  top_down()\n"
            "  redis.call('XADD', KEYS[2], ARGV[8], 'r', ARGV[9])\n"
            "end\n"
            "clip_unmapped(string.match(ARGV[7], '^%d+ %d+ (%d+) (%d+)'))\n" /* `next` */
            "redis.call('HSET', KEYS[3], ARGV[2], index)\n"
            "redis.call('HSET', KEYS[1], ARGV[1], ARGV[6])\n"
            "return {'ok'}\n"};

/* By source: the ID says it. By target: bisection over sources, as both sides grow; `low` is at or below the offset, and
 * no entry that is begins at source `reach` or before and behind `low`. */
struct redis_script offset_script_floor = {
    .name = "floor",
    .text = LUA_LOOK LUA_BELOW
            "local function target(entry) return string.match(entry[1], '-(%d+)$') end\n"
            "local function source(entry) return tonumber(string.match(entry[1], '^(%d+)')) end\n"
            "local function down(id) return redis.call('XREVRANGE', KEYS[2], id, '-', 'COUNT', 1)[1] end\n"
            "local function up(id) return redis.call('XRANGE', KEYS[2], id, '+', 'COUNT', 1)[1] end\n"
            "local function holds(entry) return entry and not below(ARGV[4], target(entry)) end\n"
            "local function by_target(low)\n"
            "  local reach, high = source(low), source(top)\n"
            "  for _ = 1, 64 do\n"
            "    local middle = math.floor((reach + high) / 2)\n"
            "    if middle <= reach or middle >= high then break end\n"
            "    local probe = down(string.format('%.0f-18446744073709551615', middle))\n"
            "    if holds(probe) then low, reach = probe, middle else high = source(probe) end\n"
            "  end\n"
            "  while true do\n"
            "    local behind = up('(' .. low[1])\n"
            "    if not holds(behind) then return low end\n"
            "    low = behind\n"
            "  end\n"
            "end\n"
            "local floor = nil\n"
            "if ARGV[3] == 'source' then\n"
            "  floor = down(ARGV[4])\n"
            "elseif holds(top) then\n"
            "  floor = top\n"
            "elseif top then\n"
            "  local low = up('-')\n"
            "  floor = holds(low) and by_target(low) or nil\n"
            "end\n"
            "local behind = up(floor and '(' .. floor[1] or '-')\n"
            "local function piece(rank) return redis.call('ZRANGE', KEYS[5], rank, rank)[1] end\n"
            "local rank, over = -1, redis.call('ZCARD', KEYS[5])\n" /* piece(rank) is at or below, piece(over) is not */
            "local at = ARGV[3] == 'source' and 1 or 21\n"
            "while over - rank > 1 do\n"
            "  local middle = math.floor((rank + over) / 2)\n"
            "  if string.sub(piece(middle), at, at + 18) <= ARGV[5] then rank = middle else over = middle end\n"
            "end\n"
            "return {floor or {}, behind or {}, cp, ix, top or {},\n"
            "        redis.call('HGETALL', KEYS[3]), redis.call('SMEMBERS', KEYS[4]),\n"
            "        rank >= 0 and piece(rank) or ''}\n"};

/* Many offsets of the source, ascending: as long as one lies below the entry behind, its floor is that of the one before. */
struct redis_script offset_script_floors = {
    .name = "floors",
    .text = LUA_LOOK LUA_BELOW
            "local pieces = redis.call('ZCARD', KEYS[5])\n"
            "local function piece(rank) return redis.call('ZRANGE', KEYS[5], rank, rank)[1] end\n"
            "local function piece_below(id)\n"
            "  local rank, over = -1, pieces\n"
            "  local bound = string.rep('0', 19 - #id) .. id\n"
            "  while over - rank > 1 do\n"
            "    local middle = math.floor((rank + over) / 2)\n"
            "    if string.sub(piece(middle), 1, 19) < bound then rank = middle else over = middle end\n"
            "  end\n"
            "  return rank >= 0 and piece(rank) or ''\n"
            "end\n"
            "local answers, places = {}, {}\n"
            "local floor, behind, reach, last_piece\n" /* reach: ID at which `behind` is the floor; nil = never */
            "for i = 3, #ARGV do\n"
            "  local id = ARGV[i]\n"
            "  local anew = #answers == 0 or (reach and not below(id, reach))\n"
            "  if anew then\n"
            "    floor = redis.call('XREVRANGE', KEYS[2], id .. '-18446744073709551615', '-', 'COUNT', 1)[1]\n"
            "    behind = redis.call('XRANGE', KEYS[2], floor and '(' .. floor[1] or '-', '+', 'COUNT', 1)[1]\n"
            "    reach = behind and string.match(behind[1], '^%d+')\n"
            "  end\n"
            "  local of_piece = pieces > 0 and piece_below(id) or ''\n"
            "  if anew or of_piece ~= last_piece then\n"
            "    answers[#answers + 1] = {floor or {}, behind or {}, of_piece}\n"
            "    last_piece = of_piece\n"
            "  end\n"
            "  places[#places + 1] = #answers - 1\n"
            "end\n"
            "return {cp, ix, top or {}, redis.call('HGETALL', KEYS[3]), redis.call('SMEMBERS', KEYS[4]),\n"
            "        answers, places}\n"};

#define LUA_LOWEST \
    "local function lowest(from, until_)\n" \
    "  local low = redis.call('ZRANGEBYLEX', KEYS[5], '[' .. from, '(' .. until_, 'LIMIT', 0, 1)[1]\n" \
    "  return low and string.sub(low, 1, 39) or ''\n" \
    "end\n"

struct redis_script offset_script_unmapped = {
    .name = "unmapped",
    .text = LUA_LOWEST
            "local head = ARGV[2] .. ' '\n"
            "local function pad(text) return string.rep('0', 19 - #text) .. text end\n"
            "local all = {redis.call('HGET', KEYS[1], ARGV[1]) or ''}\n"
            "for _, one in ipairs(redis.call('SMEMBERS', KEYS[4])) do\n"
            "  local begin, to = string.match(one, ' (%d+) %d+ (%d+) %d+$')\n"
            "  if begin and string.sub(one, 1, #head) == head then\n"
            "    all[#all + 1] = one\n"
            "    all[#all + 1] = lowest(pad(begin), pad(to))\n"
            "  end\n"
            "end\n"
            "return all\n"};

struct redis_script offset_script_rebuild = {
    .name = "rebuild",
    .text = LUA_LOWEST
            "local there = redis.call('SISMEMBER', KEYS[4], ARGV[2] .. ' ' .. ARGV[3]) == 1\n"
            "if not there or lowest(ARGV[4], ARGV[5]) ~= ARGV[6] then return {'no'} end\n"
            "for i = 7, #ARGV do redis.call('ZADD', KEYS[5], 0, ARGV[i]) end\n"
            "return {'ok'}\n"};

#define LUA_META(first) \
    "for i = " first ", #ARGV, 2 do\n" \
    "  local there = redis.call('HGET', KEYS[1], ARGV[i])\n" \
    "  if there and there ~= ARGV[i + 1] then return {ARGV[i], there} end\n" \
    "end\n"

struct redis_script offset_script_meta = {
    .name = "meta",
    .text = LUA_META("1")
            "for i = 1, #ARGV, 2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end\n"
            "return {}\n"};

struct redis_script offset_script_groups = {
    .name = "groups",
    .text = LUA_META("1")
            "return {redis.call('HGETALL', KEYS[2]), redis.call('HLEN', KEYS[3])}\n"};

struct redis_script offset_script_load = {
    .name = "load",
    .text = LUA_META("2")
            "return {redis.call('HGET', KEYS[2], ARGV[1]) or ''}\n"};

struct redis_script offset_script_repeated = {
    .name = "repeated",
    .text = "local function parse(value)\n"
            "  return tonumber(string.match(value, '\"records\": *(%d+)')), string.match(value, '\"time\": *\"([^\"]*)\"')\n"
            "end\n"
            "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])\n"
            "if redis.call('HLEN', KEYS[1]) <= tonumber(ARGV[3]) then return 0 end\n"
            "local sum, first = parse(redis.call('HGET', KEYS[1], 'earlier') or '')\n"
            "local all, rows = redis.call('HGETALL', KEYS[1]), {}\n"
            "for i = 1, #all, 2 do\n"
            "  local records, time = parse(all[i + 1])\n"
            "  if records and time and all[i] ~= 'earlier' then rows[#rows + 1] = {all[i], records, time} end\n"
            "end\n"
            "table.sort(rows, function(a, b) return a[3] < b[3] end)\n" /* RFC 3339, UTC */
            "for i = 1, #rows - tonumber(ARGV[4]) do\n"
            "  local row = rows[i]\n"
            "  sum = (sum or 0) + row[2]\n"
            "  first = first and first < row[3] and first or row[3]\n"
            "  redis.call('HDEL', KEYS[1], row[1])\n"
            "end\n"
            "if sum then\n"
            "  redis.call('HSET', KEYS[1], 'earlier', string.format('{\"records\": %.0f, \"time\": \"%s\"}', sum, first or ''))\n"
            "end\n"
            "return 1\n"};
/* clang-format on */

/* --- arguments ---------------------------------------------------------------------------------------------------- */

static void put_take(struct script_arguments *arguments, char *take_bytes, size_t len)
{
    if (arguments->count == arguments->capacity) {
        arguments->capacity = arguments->capacity == 0 ? 32 : arguments->capacity * 2;
        size_t capacity = (size_t)arguments->capacity;
        arguments->argv = must(reallocarray(arguments->argv, capacity, sizeof(char *)));
        arguments->lens = must(reallocarray(arguments->lens, capacity, sizeof(size_t)));
    }
    arguments->argv[arguments->count] = take_bytes;
    arguments->lens[arguments->count++] = len;
}

void script_put(struct script_arguments *arguments, const void *data, size_t len)
{
    char *bytes = must(malloc(len + 1));
    memcpy(bytes, data, len);
    bytes[len] = '\0';
    put_take(arguments, bytes, len);
}

void script_put_text(struct script_arguments *arguments, const char *text)
{
    script_put(arguments, text, strlen(text));
}

void script_put_format(struct script_arguments *arguments, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0) {
        abort();
    }
    put_take(arguments, text, (size_t)len);
}

static void put_key(struct script_arguments *arguments, char *take_key)
{
    put_take(arguments, take_key, strlen(take_key));
}

void script_put_part(struct script_arguments *arguments, const char *base, const char *topic,
                     int32_t partition, const char *incarnation)
{
    script_put_format(arguments, "%s:checkpoints", base);
    put_key(arguments, offset_map_key(base, topic, partition, incarnation));
    put_key(arguments, offset_part_key(base, "incarnations", topic, partition));
    put_key(arguments, offset_part_key(base, "unmapped", topic, partition));
    put_key(arguments, offset_rebuilt_key(base, topic, partition, incarnation));
    script_put_format(arguments, "%s:%d", topic, partition);
    script_put_text(arguments, incarnation);
}

void script_arguments_done(struct script_arguments *arguments)
{
    for (int i = 0; i < arguments->count; i++) {
        free(arguments->argv[i]);
    }
    free(arguments->argv);
    free(arguments->lens);
    *arguments = (struct script_arguments){0};
}

/* --- text forms --------------------------------------------------------------------------------------------------- */

char *offset_index_text(const struct offset_index *index, char out[INDEX_TEXT_BYTES])
{
    snprintf(out, INDEX_TEXT_BYTES,
             "%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64
             " %" PRId64,
             index->first.source, index->first.target, index->next.source, index->next.target,
             index->run_end.source, index->run_end.target, index->top.source, index->top.target);
    return out;
}

/* `count` numbers with one `between` between two of them and nothing else. */
static bool take_numbers(const char *text, size_t len, char between, int64_t *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *end = i + 1 < count ? memchr(text, between, len) : text + len;
        if (end == NULL || !decimal_parse(text, (size_t)(end - text), &out[i]) || out[i] < -1) {
            return false;
        }
        len -= (size_t)(end - text) + (i + 1 < count);
        text = end + 1;
    }
    return true;
}

static bool is_none(struct offset_place place)
{
    return place.source == -1 && place.target == -1;
}

static bool at_or_before(struct offset_place a, struct offset_place b)
{
    return a.source <= b.source && a.target <= b.target;
}

static bool index_is_sound(const struct offset_index *index)
{
    if (index->ordinal < 1 || index->first.source < 0 || index->first.target < 0 ||
        !at_or_before(index->first, index->next)) {
        return false;
    }
    if (is_none(index->run_end)) {
        return is_none(index->top);
    }
    struct offset_place top_first = {index->top.source - 1, index->top.target};
    return index->top.source >= 1 && index->top.target >= 0 &&
           at_or_before(index->run_end, index->next) && at_or_before(index->first, top_first) &&
           top_first.source < index->run_end.source && top_first.target < index->run_end.target;
}

bool offset_index_parse(const char *text, size_t len, struct offset_index *out)
{
    int64_t all[9];
    if (!take_numbers(text, len, ' ', all, 9)) {
        return false;
    }
    *out = (struct offset_index){
        .ordinal = all[0],
        .first = {all[1], all[2]},
        .next = {all[3], all[4]},
        .run_end = {all[5], all[6]},
        .top = {all[7], all[8]}
    };
    return index_is_sound(out);
}

bool offset_id_parse(const char *text, size_t len, struct offset_place *out)
{
    int64_t both[2];
    if (!take_numbers(text, len, '-', both, 2) || both[0] < 0 || both[1] < 0) {
        return false;
    }
    *out = (struct offset_place){both[0], both[1]};
    return true;
}

char *offset_id_text(struct offset_place id, char out[OFFSET_ID_BYTES])
{
    snprintf(out, OFFSET_ID_BYTES, "%" PRId64 "-%" PRId64, id.source, id.target);
    return out;
}

char *offset_stretch_text(const struct offset_stretch *stretch, char out[STRETCH_TEXT_BYTES])
{
    snprintf(out, STRETCH_TEXT_BYTES, "%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64,
             stretch->begin.source, stretch->begin.target, stretch->until.source,
             stretch->until.target);
    return out;
}

bool offset_stretch_parse(const char *text, size_t len, const char *incarnation,
                          struct offset_stretch *out)
{
    int64_t all[4];
    size_t head = strlen(incarnation);
    if (len <= head || memcmp(text, incarnation, head) != 0 || text[head] != ' ' ||
        !take_numbers(text + head + 1, len - head - 1, ' ', all, 4)) {
        return false;
    }
    *out = (struct offset_stretch){
        {all[0], all[1]},
        {all[2], all[3]}
    };
    return true;
}

/* --- replies ------------------------------------------------------------------------------------------------------ */

const char *script_text(const redisReply *reply, size_t at)
{
    bool there = reply->type == REDIS_REPLY_ARRAY && at < reply->elements &&
                 reply->element[at]->type == REDIS_REPLY_STRING;
    return there ? reply->element[at]->str : NULL;
}

bool offset_entry_reply(const redisReply *reply, struct offset_stored_entry *out,
                        struct offset_place *out_id, struct err *err)
{
    out->there = false;
    *out_id = OFFSET_PLACE_NONE;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 0) {
        return true;
    }
    const char *id = script_text(reply, 0);
    const redisReply *fields =
        reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 ? reply->element[1] : NULL;
    if (id == NULL || fields == NULL || fields->elements != 2 || script_text(fields, 1) == NULL ||
        !offset_id_parse(id, reply->element[0]->len, out_id)) {
        return err_set(err, ERR_REFUSED, "an entry of the map has a strange form");
    }
    const redisReply *packed = fields->element[1];
    out->there = offset_entry_unpack(out_id->source, out_id->target, (const uint8_t *)packed->str,
                                     packed->len, out->runs, &out->runs_count, &out->source_gap,
                                     &out->target_gap, err);
    return out->there;
}

static bool found_checkpoint(const redisReply *reply, struct offset_found *out, char *letter,
                             struct err *err)
{
    out->has_checkpoint = reply->len > 0;
    if (out->has_checkpoint && !checkpoint_parse(reply->str, reply->len, &out->checkpoint, err)) {
        return false;
    }
    snprintf(letter, CHECKPOINT_TEXT_BYTES, "%s", reply->str);
    return true;
}

static bool found_index(const redisReply *reply, const char *incarnation, struct offset_found *out,
                        char *letter, struct err *err)
{
    out->has_index = reply->len > 0;
    if (out->has_index && !offset_index_parse(reply->str, reply->len, &out->index)) {
        return err_set(err, ERR_REFUSED, "the index of incarnation %s is no index: '%.80s'",
                       incarnation, reply->str);
    }
    snprintf(letter, INDEX_TEXT_BYTES, "%s", reply->str);
    return true;
}

static bool found_top(const redisReply *reply, struct offset_found *out, char *letter,
                      struct err *err)
{
    struct offset_stored_entry entry;
    if (!offset_entry_reply(reply, &entry, &out->top, err)) {
        return false;
    }
    letter[0] = '\0';
    if (!entry.there) {
        return true;
    }
    out->top_last = entry.runs[entry.runs_count - 1];
    offset_id_text(out->top, letter);
    bool is_top =
        out->top.source == out->index.top.source && out->top.target == out->index.top.target;
    int64_t by_source = out->index.run_end.source - out->top_last.source_first;
    int64_t by_target = out->index.run_end.target - out->top_last.target_first;
    if (out->has_index && is_top && (by_source <= 0 || by_source != by_target)) {
        return err_set(err, ERR_REFUSED, "the map's newest entry %s and its index contradict",
                       letter);
    }
    return true;
}

/* The index speaks of the checkpoint; when one of them was put back alone it speaks of nothing. */
static bool index_fits(const struct offset_found *found, const char *incarnation)
{
    char name[INCARNATION_BYTES];
    return strcmp(checkpoint_incarnation(&found->checkpoint, name), incarnation) != 0 ||
           (found->index.next.source == found->checkpoint.source_next &&
            found->index.next.target == found->checkpoint.target_next);
}

bool offset_found_reply(const redisReply *reply, size_t at, const char *incarnation,
                        struct offset_found *out, struct offset_letter *out_letter, struct err *err)
{
    *out = (struct offset_found){.top = OFFSET_PLACE_NONE};
    if (script_text(reply, at) == NULL || script_text(reply, at + 1) == NULL ||
        at + 2 >= reply->elements) {
        return err_set(err, ERR_REFUSED, "Redis answers in a strange form");
    }
    if (!found_checkpoint(reply->element[at], out, out_letter->checkpoint, err) ||
        !found_index(reply->element[at + 1], incarnation, out, out_letter->index, err) ||
        !found_top(reply->element[at + 2], out, out_letter->top, err)) {
        return false;
    }
    if (out->has_checkpoint && out->has_index && !index_fits(out, incarnation)) {
        out->has_index = false;
    }
    return true;
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

char *offset_print(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) {
        abort();
    }
    va_end(args);
    return text;
}

char *offset_base_key(const char *prefix, const char *service, const char *from, const char *to)
{
    return offset_print("%s{%s}:%s>%s", prefix, service, from, to);
}

char *offset_part_key(const char *base, const char *kind, const char *topic, int32_t partition)
{
    return offset_print("%s:%s:%s:%d", base, kind, topic, partition);
}

char *offset_map_key(const char *base, const char *topic, int32_t partition,
                     const char *incarnation)
{
    return offset_print("%s:map:%s:%d:%s", base, topic, partition, incarnation);
}

char *offset_rebuilt_key(const char *base, const char *topic, int32_t partition,
                         const char *incarnation)
{
    return offset_print("%s:rebuilt:%s:%d:%s", base, topic, partition, incarnation);
}
