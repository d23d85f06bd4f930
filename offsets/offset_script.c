#include "offsets/offset_script.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Offsets may exceed 2^53, so Lua never makes numbers of them, but where a probe may be inexact (floor by target). */
struct redis_script offset_script_look = {
    .name = "look",
    .text = "local cp = redis.call('HGET', KEYS[1], ARGV[1])\n"
            "local ix = redis.call('HGET', KEYS[3], ARGV[2])\n"
            "local top = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)\n"
            "return {cp or '', ix or '', top[1] or {}}\n"};

struct redis_script offset_script_advance = {
    .name = "advance",
    .text = "local cp = redis.call('HGET', KEYS[1], ARGV[1]) or ''\n"
            "local ix = redis.call('HGET', KEYS[3], ARGV[2]) or ''\n"
            "local top = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)\n"
            "local id = top[1] and top[1][1] or ''\n"
            "if cp ~= ARGV[3] or ix ~= ARGV[4] or id ~= ARGV[5] then\n"
            "  return {'no', cp, ix, top[1] or {}}\n"
            "end\n"
            "if ARGV[8] == '1' then redis.call('DEL', KEYS[2]) end\n"
            "local ordinal = string.match(ix, '^%d+') or tostring(redis.call('HLEN', KEYS[3]) + 1)\n"
            "local at = 10\n"
            "for i = 1, tonumber(ARGV[9]) do\n"
            "  redis.call('SADD', KEYS[4], ARGV[at])\n"
            "  at = at + 1\n"
            "end\n"
            "while at < #ARGV do\n"
            "  redis.call('XADD', KEYS[2], ARGV[at], 'r', ARGV[at + 1])\n"
            "  at = at + 2\n"
            "end\n"
            "local index = ordinal .. ' ' .. ARGV[7]\n"
            "redis.call('HSET', KEYS[3], ARGV[2], index)\n"
            "redis.call('HSET', KEYS[1], ARGV[1], ARGV[6])\n"
            "return {'ok', index}\n"};

struct redis_script offset_script_cut = {
    .name = "cut",
    .text = "local ix = redis.call('HGET', KEYS[3], ARGV[2]) or ''\n"
            "if ARGV[5] == '' then\n"
            "  redis.call('DEL', KEYS[2])\n"
            "else\n"
            "  repeat\n"
            "    local some = redis.call('XRANGE', KEYS[2], ARGV[5], '+', 'COUNT', 500)\n"
            "    for _, entry in ipairs(some) do redis.call('XDEL', KEYS[2], entry[1]) end\n"
            "  until #some < 500\n"
            "  local top = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)\n"
            "  if top[1] then redis.call('XSETID', KEYS[2], top[1][1]) else redis.call('DEL', KEYS[2]) end\n"
            "  if ARGV[6] ~= '' then redis.call('XADD', KEYS[2], ARGV[5], 'r', ARGV[6]) end\n"
            "end\n"
            "local kept = string.match(ix, '^%d+ %-?%d+ %-?%d+')\n" /* ordinal and `first` */
            "if kept then\n"
            "  ix = kept .. string.match(ARGV[4], '^%S+ %S+( .*)$')\n"
            "else\n"
            "  ix = tostring(redis.call('HLEN', KEYS[3]) + 1) .. ' ' .. ARGV[4]\n"
            "end\n"
            "redis.call('HSET', KEYS[3], ARGV[2], ix)\n"
            "redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])\n"
            "return 'ok'\n"};

struct redis_script offset_script_floor = {
    .name = "floor",
    .text =
        "local function le(a, b)\n" /* decimal strings without leading zeros */
        "  if #a ~= #b then return #a < #b end\n"
        "  return a <= b\n"
        "end\n"
        "local function target(entry) return string.match(entry[1], '-(%d+)$') end\n"
        "local function source(entry) return string.match(entry[1], '^(%d+)') end\n"
        "local function one(cmd, id) local r = redis.call(cmd, KEYS[1], id, cmd == 'XRANGE' and '+' or '-', 'COUNT', 1) "
        "return r[1] end\n"
        "local top = one('XREVRANGE', '+')\n"
        "local floor = nil\n"
        "if top and ARGV[1] == 'source' then\n"
        "  floor = one('XREVRANGE', ARGV[2])\n"
        "elseif top then\n"
        "  local low = one('XRANGE', '-')\n"
        "  local high = top\n"
        "  if le(target(top), ARGV[2]) then floor = top\n"
        "  elseif le(target(low), ARGV[2]) then\n"
        "    for _ = 1, 128 do\n" /* low is at or below, high above */
        "      local middle = (tonumber(source(low)) + tonumber(source(high))) / 2\n"
        "      local probe = one('XREVRANGE', string.format('%.0f', middle))\n"
        "      if not probe or probe[1] == low[1] then break end\n"
        "      if le(target(probe), ARGV[2]) then low = probe else high = probe end\n"
        "    end\n"
        "    floor = low\n"
        "    while true do\n"
        "      local behind = one('XRANGE', '(' .. floor[1])\n"
        "      if not behind or not le(target(behind), ARGV[2]) then break end\n"
        "      floor = behind\n"
        "    end\n"
        "  end\n"
        "end\n"
        "local behind = nil\n"
        "if floor then behind = one('XRANGE', '(' .. floor[1]) elseif top then behind = one('XRANGE', '-') end\n"
        "return {floor or {}, behind or {}, top or {}}\n"};

struct redis_script offset_script_meta = {
    .name = "meta",
    .text = "for i = 1, #ARGV, 2 do\n"
            "  local there = redis.call('HGET', KEYS[1], ARGV[i])\n"
            "  if there and there ~= ARGV[i + 1] then return {ARGV[i], there} end\n"
            "end\n"
            "for i = 1, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end\n"
            "return {}\n"};

char *offset_index_text(const struct offset_index *index, char out[INDEX_TEXT_BYTES])
{
    snprintf(out, INDEX_TEXT_BYTES,
             "%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64,
             index->first.source, index->first.target, index->next.source, index->next.target, index->run_end.source,
             index->run_end.target, index->top.source, index->top.target);
    return out;
}

static bool take_number(const char **text, char behind, int64_t *out)
{
    char *end;
    errno = 0;
    long long value = strtoll(*text, &end, 10);
    if (end == *text || errno != 0 || *end != behind || value < -1) {
        return false;
    }
    *out = value;
    *text = behind == '\0' ? end : end + 1;
    return true;
}

bool offset_index_parse(const char *text, struct offset_index *out)
{
    return take_number(&text, ' ', &out->ordinal) && take_number(&text, ' ', &out->first.source) &&
           take_number(&text, ' ', &out->first.target) && take_number(&text, ' ', &out->next.source) &&
           take_number(&text, ' ', &out->next.target) && take_number(&text, ' ', &out->run_end.source) &&
           take_number(&text, ' ', &out->run_end.target) && take_number(&text, ' ', &out->top.source) &&
           take_number(&text, '\0', &out->top.target);
}

bool offset_id_parse(const char *text, struct offset_place *out)
{
    return take_number(&text, '-', &out->source) && take_number(&text, '\0', &out->target);
}

bool offset_entry_reply(const struct redisReply *reply, struct offset_stored_entry *out, struct offset_place *out_id,
                        struct err *err)
{
    *out = (struct offset_stored_entry){0};
    *out_id = OFFSET_PLACE_NONE;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 0) {
        return true;
    }
    const redisReply *fields = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 ? reply->element[1] : NULL;
    if (fields == NULL || reply->element[0]->type != REDIS_REPLY_STRING || fields->type != REDIS_REPLY_ARRAY ||
        fields->elements != 2 || fields->element[1]->type != REDIS_REPLY_STRING ||
        !offset_id_parse(reply->element[0]->str, out_id)) {
        return err_set(err, ERR_REFUSED, "an entry of the map has a strange form");
    }
    const redisReply *packed = fields->element[1];
    out->there = offset_entry_unpack(out_id->source, out_id->target, (const uint8_t *)packed->str, packed->len,
                                     out->runs, &out->runs_count, &out->source_gap, &out->target_gap, err);
    return out->there;
}

static char *must_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *must_print(const char *format, ...)
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
    return must_print("%s{%s}:%s>%s", prefix, service, from, to);
}

char *offset_part_key(const char *base, const char *kind, const char *topic, int32_t partition)
{
    return must_print("%s:%s:%s:%d", base, kind, topic, partition);
}

char *offset_map_key(const char *base, const char *topic, int32_t partition, const char *incarnation)
{
    return must_print("%s:map:%s:%d:%s", base, topic, partition, incarnation);
}
