#include <assert.h>
#include <string.h>

#include "base/heap.h"
#include "offsets/offset_backlog_inside.h"

static int64_t chunk_bytes(const struct offset_chunk *chunk)
{
    return (int64_t)sizeof(*chunk) + chunk->packed_capacity;
}

void offset_chunk_set_state(struct offset_chunk *chunk, int state)
{
    struct offset_totals *totals = chunk->backlog->totals;
    if (chunk->state == CHUNK_PENDING) {
        totals->pending_bytes -= chunk_bytes(chunk);
    } else if (chunk->state == CHUNK_KEPT) {
        totals->kept_bytes -= chunk_bytes(chunk);
        TAILQ_REMOVE(&totals->kept, chunk, kept_link);
    }
    if (state == CHUNK_PENDING) {
        chunk->state = CHUNK_PENDING;
        totals->pending_bytes += chunk_bytes(chunk);
    } else if (state == CHUNK_KEPT) {
        chunk->state = CHUNK_KEPT;
        totals->kept_bytes += chunk_bytes(chunk);
        TAILQ_INSERT_TAIL(&totals->kept, chunk, kept_link);
    } else {
        chunk->state = CHUNK_LAST_KEPT;
    }
}

struct offset_chunk *offset_chunk_alloc(struct offset_backlog *backlog, struct offset_place from)
{
    struct offset_chunk *chunk = must(calloc(1, sizeof(*chunk))); /* map_memory bounds it */
    chunk->backlog = backlog;
    chunk->from = chunk->end = from;
    chunk->first = chunk->last = chunk->begin = chunk->until = OFFSET_PLACE_NONE;
    chunk->state = CHUNK_PENDING;
    backlog->totals->pending_bytes += chunk_bytes(chunk);
    return chunk;
}

void offset_chunk_free(struct offset_chunk *chunk)
{
    struct offset_backlog *backlog = chunk->backlog;
    offset_chunk_set_state(chunk, CHUNK_LAST_KEPT); /* counted nowhere */
    TAILQ_REMOVE(&backlog->chunks, chunk, link);
    free(chunk->packed);
    free(chunk);
}

struct offset_chunk *offset_chunks_tail(const struct offset_backlog *backlog)
{
    return TAILQ_LAST(&backlog->chunks, offset_chunks);
}

struct offset_chunk *offset_chunk_append(struct offset_backlog *backlog)
{
    const struct offset_chunk *tail = offset_chunks_tail(backlog);
    struct offset_chunk *chunk =
        offset_chunk_alloc(backlog, tail == NULL ? backlog->base_end : tail->end);
    TAILQ_INSERT_TAIL(&backlog->chunks, chunk, link);
    if (backlog->next == NULL) {
        backlog->next = chunk;
    }
    return chunk;
}

static void chunk_reserve(struct offset_chunk *chunk, size_t more)
{
    if (chunk->packed_len + more <= chunk->packed_capacity) {
        return;
    }
    int64_t before = chunk_bytes(chunk);
    chunk->packed_capacity = chunk->packed_capacity == 0 ? 32 : chunk->packed_capacity * 2;
    chunk->packed = must(realloc(chunk->packed, chunk->packed_capacity));
    assert(chunk->state == CHUNK_PENDING);
    chunk->backlog->totals->pending_bytes += chunk_bytes(chunk) - before;
}

static void chunk_put(struct offset_chunk *chunk, int64_t value)
{
    assert(value >= 0);
    chunk_reserve(chunk, OFFSET_UVARINT_BYTES);
    chunk->packed_len +=
        (uint32_t)offset_uvarint_put(chunk->packed + chunk->packed_len, (uint64_t)value);
}

void offset_chunk_add_run(struct offset_chunk *chunk, struct offset_run run)
{
    assert(!chunk->unmapped && chunk->runs_count < OFFSET_MAP_PACK);
    struct offset_place begin = run_begin(run);
    assert(!place_known(chunk->end) || !place_before(begin, chunk->end));
    if (chunk->runs_count == 0) {
        chunk->first = begin;
    } else {
        chunk_put(chunk, chunk->end.source - chunk->last.source);
        chunk_put(chunk, begin.source - chunk->end.source);
        chunk_put(chunk, begin.target - chunk->end.target);
    }
    chunk->last = begin;
    chunk->end = run_end(run);
    chunk->runs_count++;
}

void offset_chunk_extend(struct offset_chunk *chunk, int64_t length)
{
    if (chunk->runs_count == 0) {
        chunk->extends += length;
    }
    chunk->end.source += length;
    chunk->end.target += length;
}

bool offset_chunk_continues(const struct offset_chunk *chunk, struct offset_run run)
{
    return place_known(chunk->end) && place_equal(run_begin(run), chunk->end);
}

void offset_chunk_entry(const struct offset_chunk *chunk, struct offset_entry *out)
{
    assert(chunk->runs_count > 0);
    out->id_source = chunk->first.source + 1;
    out->id_target = chunk->first.target;
    struct offset_place before = {chunk->from.source + chunk->extends,
                                  chunk->from.target + chunk->extends};
    bool none = !place_known(chunk->from);
    size_t len = 0;
    len += offset_uvarint_put(out->packed + len,
                              none ? 0 : (uint64_t)(chunk->first.source - before.source));
    len += offset_uvarint_put(out->packed + len,
                              none ? 0 : (uint64_t)(chunk->first.target - before.target));
    assert(len + chunk->packed_len <= sizeof(out->packed));
    if (chunk->packed_len > 0) {
        memcpy(out->packed + len, chunk->packed, chunk->packed_len);
    }
    out->packed_len = len + chunk->packed_len;
}

size_t offset_chunk_pieces(const struct offset_chunk *chunk,
                           struct offset_run out[OFFSET_CHUNK_PIECES])
{
    size_t count = 0;
    if (chunk->extends > 0) {
        out[count++] = (struct offset_run){chunk->from.source, chunk->from.target, chunk->extends};
    }
    if (chunk->runs_count > 0) {
        struct offset_entry entry;
        size_t runs_count;
        int64_t gap;
        offset_chunk_entry(chunk, &entry);
        bool good =
            offset_entry_unpack(entry.id_source, entry.id_target, entry.packed, entry.packed_len,
                                out + count, &runs_count, &gap, &gap, NULL);
        assert(good && runs_count == (size_t)chunk->runs_count);
        (void)good;
        count += runs_count;
        out[count - 1].length = chunk->end.source - chunk->last.source;
    }
    return count;
}

void offset_chunk_clear(struct offset_chunk *chunk, struct offset_place from)
{
    chunk->from = chunk->end = from;
    chunk->first = chunk->last = OFFSET_PLACE_NONE;
    chunk->extends = 0;
    chunk->runs_count = 0;
    chunk->packed_len = 0;
}

void offset_chunk_set_position(struct offset_chunk *chunk, struct offset_place place)
{
    chunk->after = chunk->backlog->at; /* incarnation */
    chunk->after.source_next = place.source;
    chunk->after.target_next = place.target;
    chunk->after_known = false;
}

bool offset_chunk_stretch(const struct offset_chunk *chunk, struct offset_stretch *out)
{
    bool known = place_known(chunk->begin); /* else: from where the incarnation begins */
    *out = (struct offset_stretch){known ? chunk->begin : chunk->backlog->redis.index.first,
                                   chunk->until};
    return chunk->unmapped && out->begin.source < out->until.source;
}

static struct offset_chunk *split_growth(struct offset_chunk *chunk, struct offset_place from)
{
    struct offset_chunk *alone = offset_chunk_alloc(chunk->backlog, from);
    offset_chunk_add_run(
        alone, (struct offset_run){chunk->from.source, chunk->from.target, chunk->extends});
    offset_chunk_set_position(alone, alone->end);
    alone->frozen = true;
    TAILQ_INSERT_BEFORE(chunk, alone, link);
    chunk->from = alone->end;
    chunk->extends = 0;
    return alone;
}

struct offset_chunk *offset_chunk_detach(struct offset_chunk *chunk, struct offset_place from)
{
    struct offset_chunk *first = chunk;
    for (; chunk != NULL; chunk = TAILQ_NEXT(chunk, link)) {
        if (chunk->unmapped || (chunk->extends == 0 && chunk->runs_count == 0)) {
            chunk->from = chunk->end = from;
            continue;
        }
        if (chunk->extends == 0) {
            chunk->from = from;
            return first;
        }
        if (chunk->runs_count == 0) {
            struct offset_run growth = {chunk->from.source, chunk->from.target, chunk->extends};
            offset_chunk_clear(chunk, from);
            offset_chunk_add_run(chunk, growth);
            return first;
        }
        struct offset_chunk *alone = split_growth(chunk, from);
        return first == chunk ? alone : first;
    }
    if (first != NULL) {
        first->backlog->end = from;
    }
    return first;
}
