/* Runs of one partition in memory, and their packed form. Pure: no I/O, no clock. */
#include "offsets/offset_map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"

void offset_map_init(struct offset_map *map)
{
    *map = (struct offset_map){0};
}

void offset_map_done(struct offset_map *map)
{
    free(map->runs);
    offset_map_init(map);
}

static void map_reserve(struct offset_map *map)
{
    if (map->runs_count < map->runs_capacity) {
        return;
    }
    map->runs_capacity = map->runs_capacity == 0 ? 16 : map->runs_capacity * 2;
    /* the callers bound what they read */
    map->runs = must(reallocarray(map->runs, map->runs_capacity, sizeof(*map->runs)));
}

void offset_map_append(struct offset_map *map, struct offset_run run)
{
    assert(run.source_first >= 0 && run.target_first >= 0 && run.length > 0);
    if (map->runs_count > 0) {
        struct offset_run *last = &map->runs[map->runs_count - 1];
        int64_t source_end = last->source_first + last->length;
        int64_t target_end = last->target_first + last->length;
        assert(run.source_first >= source_end && run.target_first >= target_end);
        if (run.source_first == source_end && run.target_first == target_end) {
            last->length += run.length;
            return;
        }
    }
    map_reserve(map);
    map->runs[map->runs_count++] = run;
}

static int64_t run_first(const struct offset_run *run, bool by_target)
{
    return by_target ? run->target_first : run->source_first;
}

static const struct offset_run *map_floor(const struct offset_map *map, int64_t offset,
                                          bool by_target)
{
    size_t low =
        0; /* runs before low begin at or before the offset; those from high on begin behind it */
    size_t high = map->runs_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (run_first(&map->runs[middle], by_target) <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? NULL : &map->runs[low - 1];
}

const struct offset_run *offset_map_floor(const struct offset_map *map, int64_t source_offset)
{
    return map_floor(map, source_offset, false);
}

const struct offset_run *offset_map_floor_target(const struct offset_map *map,
                                                 int64_t target_offset)
{
    return map_floor(map, target_offset, true);
}

void offset_map_drop_first(struct offset_map *map, size_t count)
{
    assert(count <= map->runs_count);
    if (count == 0) {
        return;
    }
    map->runs_count -= count;
    memmove(map->runs, map->runs + count, map->runs_count * sizeof(*map->runs));
}

/* --- packed form -------------------------------------------------------------------------------------------------- */

size_t offset_uvarint_put(uint8_t *out, uint64_t value)
{
    size_t len = 0;
    while (value >= 0x80) {
        out[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[len++] = (uint8_t)value;
    return len;
}

/* The shortest form only, and nothing above INT64_MAX: one value has one text. */
static bool uvarint_take(const uint8_t **pos, const uint8_t *end, int64_t *out)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 63; shift += 7) { /* nine bytes hold 63 bits */
        if (*pos == end) {
            return false;
        }
        uint8_t byte = *(*pos)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = (int64_t)value;
            return byte != 0 || shift == 0;
        }
    }
    return false;
}

void offset_entry_pack(struct offset_entry *out, int64_t source_end, int64_t target_end,
                       const struct offset_run *runs, size_t count)
{
    assert(count > 0 && count <= OFFSET_MAP_PACK);
    bool first = source_end < 0;
    assert(first || (runs[0].source_first >= source_end && runs[0].target_first >= target_end));
    out->id_source = runs[0].source_first + 1;
    out->id_target = runs[0].target_first;
    size_t len = 0;
    len += offset_uvarint_put(out->packed + len,
                              first ? 0 : (uint64_t)(runs[0].source_first - source_end));
    len += offset_uvarint_put(out->packed + len,
                              first ? 0 : (uint64_t)(runs[0].target_first - target_end));
    for (size_t i = 1; i < count; i++) {
        const struct offset_run *before = &runs[i - 1];
        int64_t source_gap = runs[i].source_first - before->source_first - before->length;
        int64_t target_gap = runs[i].target_first - before->target_first - before->length;
        assert(before->length > 0 && source_gap >= 0 && target_gap >= 0 &&
               (source_gap > 0 || target_gap > 0));
        len += offset_uvarint_put(out->packed + len, (uint64_t)before->length);
        len += offset_uvarint_put(out->packed + len, (uint64_t)source_gap);
        len += offset_uvarint_put(out->packed + len, (uint64_t)target_gap);
    }
    assert(len <= sizeof(out->packed));
    out->packed_len = len;
}

/* offset + length + gap without leaving 63 bits. */
static bool step(int64_t *offset, int64_t length, int64_t gap)
{
    return !__builtin_add_overflow(*offset, length, offset) &&
           !__builtin_add_overflow(*offset, gap, offset);
}

static bool unpack_next(const uint8_t **pos, const uint8_t *end, struct offset_run *run,
                        struct offset_run *next)
{
    int64_t source_gap;
    int64_t target_gap;
    if (!uvarint_take(pos, end, &run->length) || !uvarint_take(pos, end, &source_gap) ||
        !uvarint_take(pos, end, &target_gap) || run->length == 0 ||
        (source_gap == 0 && target_gap == 0)) {
        return false;
    }
    *next = (struct offset_run){run->source_first, run->target_first, 0};
    return step(&next->source_first, run->length, source_gap) &&
           step(&next->target_first, run->length, target_gap);
}

bool offset_entry_unpack(int64_t id_source, int64_t id_target, const uint8_t *packed, size_t len,
                         struct offset_run out_runs[OFFSET_MAP_PACK], size_t *out_count,
                         int64_t *out_source_gap, int64_t *out_target_gap, struct err *err)
{
    const uint8_t *pos = packed;
    const uint8_t *end = packed + len;
    size_t count = 1;
    if (id_source < 1 || id_target < 0) {
        return err_set(err, ERR_REFUSED, "map entry has a bad id %lld-%lld", (long long)id_source,
                       (long long)id_target);
    }
    out_runs[0] = (struct offset_run){id_source - 1, id_target, 0};
    bool good = uvarint_take(&pos, end, out_source_gap) &&
                uvarint_take(&pos, end, out_target_gap) && *out_source_gap <= id_source - 1 &&
                *out_target_gap <= id_target;
    while (good && pos < end) {
        good = count < OFFSET_MAP_PACK &&
               unpack_next(&pos, end, &out_runs[count - 1], &out_runs[count]);
        count++;
    }
    if (!good) {
        return err_set(err, ERR_REFUSED,
                       "map entry %lld-%lld holds bytes that ferry does not write",
                       (long long)id_source, (long long)id_target);
    }
    *out_count = count;
    return true;
}
