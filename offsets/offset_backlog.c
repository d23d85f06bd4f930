#include "offsets/offset_backlog.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PIECES_MAX (OFFSET_MAP_PACK + 1) /* what the run before grew by, and an entry's runs */

/* A stretch that resume read back has one checkpoint, at its end, so it is stored by one advance: 1,024 entries of at
 * most 64 runs (about 400 bytes each) are some 400 KiB in one call and a few milliseconds of Redis. More is unmapped. */
#define UNBROKEN_CHUNKS_MAX 1024

static bool place_known(struct offset_place place)
{
    return place.source >= 0;
}

static bool place_equal(struct offset_place a, struct offset_place b)
{
    return a.source == b.source && a.target == b.target;
}

/* On either side: places of one history are never before on one and behind on the other. */
static bool place_before(struct offset_place a, struct offset_place b)
{
    return a.source < b.source || a.target < b.target;
}

/* Behind on one side and ahead on the other: no two places of one history. What Redis says is checked for that. */
static bool place_crosses(struct offset_place a, struct offset_place b)
{
    return place_before(a, b) && place_before(b, a);
}

static struct offset_place place_of(const struct checkpoint *checkpoint)
{
    return (struct offset_place){checkpoint->source_next, checkpoint->target_next};
}

static struct offset_place run_begin(struct offset_run run)
{
    return (struct offset_place){run.source_first, run.target_first};
}

static struct offset_place run_end(struct offset_run run)
{
    return (struct offset_place){run.source_first + run.length, run.target_first + run.length};
}

/* --- chunks ------------------------------------------------------------------------------------------------------- */

static int64_t chunk_bytes(const struct offset_chunk *chunk)
{
    return (int64_t)sizeof(*chunk) + chunk->packed_capacity;
}

/* Move between what is counted as pending and what is kept. */
static void chunk_set_state(struct offset_chunk *chunk, int state)
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

static struct offset_chunk *chunk_alloc(struct offset_backlog *backlog, struct offset_place from)
{
    struct offset_chunk *chunk = calloc(1, sizeof(*chunk));
    if (chunk == NULL) {
        abort(); /* map_memory bounds what is held; see buf_new() */
    }
    chunk->backlog = backlog;
    chunk->from = chunk->end = from;
    chunk->first = chunk->last = chunk->begin = chunk->until = OFFSET_PLACE_NONE;
    chunk->state = CHUNK_PENDING;
    backlog->totals->pending_bytes += chunk_bytes(chunk);
    return chunk;
}

static void chunk_free(struct offset_chunk *chunk)
{
    struct offset_backlog *backlog = chunk->backlog;
    chunk_set_state(chunk, CHUNK_LAST_KEPT); /* counted nowhere */
    TAILQ_REMOVE(&backlog->chunks, chunk, link);
    free(chunk->packed);
    free(chunk);
}

static struct offset_chunk *chunks_tail(const struct offset_backlog *backlog)
{
    return TAILQ_LAST(&backlog->chunks, offset_chunks);
}

static struct offset_chunk *chunk_append(struct offset_backlog *backlog)
{
    const struct offset_chunk *tail = chunks_tail(backlog);
    struct offset_chunk *chunk = chunk_alloc(backlog, tail == NULL ? backlog->base_end : tail->end);
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
    chunk->packed = realloc(chunk->packed, chunk->packed_capacity);
    if (chunk->packed == NULL) {
        abort();
    }
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

static void chunk_add_run(struct offset_chunk *chunk, struct offset_run run)
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

static void chunk_extend(struct offset_chunk *chunk, int64_t length)
{
    if (chunk->runs_count == 0) {
        chunk->extends += length;
    }
    chunk->end.source += length;
    chunk->end.target += length;
}

static bool chunk_continues(const struct offset_chunk *chunk, struct offset_run run)
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

/* Everything that the chunk knows, oldest first: the growth of the run before it, then its own runs, all closed. */
static size_t chunk_pieces(const struct offset_chunk *chunk, struct offset_run out[PIECES_MAX])
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

static void chunk_clear(struct offset_chunk *chunk, struct offset_place from)
{
    chunk->from = chunk->end = from;
    chunk->first = chunk->last = OFFSET_PLACE_NONE;
    chunk->extends = 0;
    chunk->runs_count = 0;
    chunk->packed_len = 0;
}

static void chunk_set_position(struct offset_chunk *chunk, struct offset_place place)
{
    chunk->after = chunk->backlog->at; /* incarnation */
    chunk->after.source_next = place.source;
    chunk->after.target_next = place.target;
    chunk->after_known = false;
}

/* --- totals ------------------------------------------------------------------------------------------------------- */

void offset_totals_init(struct offset_totals *totals)
{
    *totals = (struct offset_totals){0};
    TAILQ_INIT(&totals->kept);
}

static void forget_first(struct offset_backlog *backlog)
{
    struct offset_chunk *chunk = TAILQ_FIRST(&backlog->chunks);
    assert(chunk != backlog->next);
    backlog->base = chunk->after;
    backlog->base_known = chunk->after_known;
    backlog->base_end = chunk->end;
    chunk_free(chunk);
}

void offset_totals_trim(struct offset_totals *totals, int64_t max_bytes)
{
    while (totals->kept_bytes > max_bytes) {
        struct offset_chunk *chunk = TAILQ_FIRST(&totals->kept);
        assert(chunk == TAILQ_FIRST(&chunk->backlog->chunks));
        forget_first(chunk->backlog);
    }
}

/* Chunks before `next` are stored, the others are not. */
static void set_next(struct offset_backlog *backlog, struct offset_chunk *next)
{
    backlog->next = next;
    bool stored = true;
    struct offset_chunk *chunk;
    TAILQ_FOREACH (chunk, &backlog->chunks, link) {
        stored = stored && chunk != next;
        bool last = stored && TAILQ_NEXT(chunk, link) == next;
        int state = !stored ? CHUNK_PENDING : last ? CHUNK_LAST_KEPT : CHUNK_KEPT;
        if ((int)chunk->state != state) {
            chunk_set_state(chunk, state);
        }
    }
}

static void forget_before(struct offset_backlog *backlog, const struct offset_chunk *chunk)
{
    while (TAILQ_FIRST(&backlog->chunks) != chunk) {
        chunk_free(TAILQ_FIRST(&backlog->chunks));
    }
}

/* --- begin and grow ----------------------------------------------------------------------------------------------- */

static struct offset_chunk *open_tail(const struct offset_backlog *backlog)
{
    struct offset_chunk *tail = chunks_tail(backlog);
    bool open = tail != NULL && tail->state == CHUNK_PENDING && !tail->frozen && !tail->unmapped;
    return open ? tail : NULL;
}

static struct offset_chunk *add_run(struct offset_backlog *backlog, struct offset_run run)
{
    struct offset_chunk *chunk = open_tail(backlog);
    if (chunk == NULL || (chunk->runs_count == OFFSET_MAP_PACK && !chunk_continues(chunk, run))) {
        chunk = chunk_append(backlog);
    }
    if (chunk_continues(chunk, run)) {
        chunk_extend(chunk, run.length);
    } else {
        chunk_add_run(chunk, run);
    }
    backlog->end = chunk->end;
    return chunk;
}

static void keep_bound_of_runs(struct offset_backlog *backlog, size_t chunks_count)
{
    bool dropped = true;
    while (chunks_count > UNBROKEN_CHUNKS_MAX && dropped) {
        dropped = offset_backlog_drop_oldest(backlog);
        chunks_count--;
    }
}

static void add_stretch(struct offset_backlog *backlog, const struct offset_run *runs,
                        size_t runs_count)
{
    size_t chunks_count = 0;
    struct offset_chunk *chunk = NULL;
    for (size_t i = 0; i < runs_count; i++) {
        struct offset_chunk *added = add_run(backlog, runs[i]);
        chunks_count += added != chunk;
        chunk = added;
        chunk_set_position(chunk, chunk->end);
    }
    if (chunk == NULL) {
        chunk = chunk_append(backlog);
    }
    chunk->after = backlog->at;
    chunk->after_known = true;
    keep_bound_of_runs(backlog, chunks_count);
}

/* The first sequence of a generation is its first source position, and no epoch is known before it: only the checkpoint
 * that a generation begins with looks so. */
static bool is_beginning(const struct checkpoint *checkpoint)
{
    return checkpoint->target_next == 0 ||
           (checkpoint->leader_epoch == -1 && checkpoint->sequence_next == checkpoint->source_next);
}

void offset_backlog_init(struct offset_backlog *backlog, struct offset_totals *totals,
                         const struct checkpoint *stored, const struct checkpoint *from,
                         const struct checkpoint *at, const struct offset_run *runs,
                         size_t runs_count)
{
    bool has_from = from != NULL && checkpoint_same_incarnation(from, at);
    *backlog = (struct offset_backlog){.totals = totals,
                                       .base = has_from ? *from : *at,
                                       .base_known = true,
                                       .base_end = OFFSET_PLACE_NONE,
                                       .start = OFFSET_PLACE_NONE,
                                       .at = *at,
                                       .end = OFFSET_PLACE_NONE};
    TAILQ_INIT(&backlog->chunks);
    assert(!place_before(place_of(at), place_of(&backlog->base)));
    assert(runs_count == 0 || !place_before(run_begin(runs[0]), place_of(&backlog->base)));
    bool raised = from != NULL && !has_from && from->generation < at->generation;
    if (raised || is_beginning(&backlog->base)) {
        backlog->start_known = true;
        backlog->start = place_of(&backlog->base);
    }
    if (stored != NULL && !checkpoint_same_incarnation(stored, at)) {
        backlog->has_over = true;
        backlog->over = *stored;
    }
    if (runs_count > 0 || !place_equal(place_of(at), place_of(&backlog->base))) {
        add_stretch(backlog, runs, runs_count);
    }
}

static bool goes_on(const struct offset_backlog *backlog, const struct checkpoint *from,
                    const struct checkpoint *at, const struct offset_run *runs, size_t runs_count)
{
    struct offset_place end = place_of(&backlog->at);
    if (!checkpoint_same_incarnation(from, at) || !checkpoint_same_incarnation(&backlog->at, at) ||
        place_before(end, place_of(from)) || place_before(place_of(at), end)) {
        return false;
    }
    for (size_t i = 0; i < runs_count; i++) {
        struct offset_place begin = run_begin(runs[i]);
        bool across = begin.source < end.source && run_end(runs[i]).source > end.source;
        bool joins = across ? end.source - begin.source == end.target - begin.target
                     : begin.source < end.source ? run_end(runs[i]).target <= end.target
                                                 : begin.target >= end.target;
        if (!joins) {
            return false;
        }
    }
    return true;
}

bool offset_backlog_go_on(struct offset_backlog *backlog, const struct checkpoint *from,
                          const struct checkpoint *at, const struct offset_run *runs,
                          size_t runs_count)
{
    struct offset_place end = place_of(&backlog->at);
    struct offset_map rest;
    if (!goes_on(backlog, from, at, runs, runs_count)) {
        return false;
    }
    offset_map_init(&rest);
    for (size_t i = 0; i < runs_count; i++) {
        int64_t known = end.source - runs[i].source_first;
        known = known < 0 ? 0 : known;
        if (known < runs[i].length) {
            offset_map_append(&rest, (struct offset_run){runs[i].source_first + known,
                                                         runs[i].target_first + known,
                                                         runs[i].length - known});
        }
    }
    if (rest.runs_count > 0 || !place_equal(place_of(at), end)) {
        backlog->at = *at;
        add_stretch(backlog, rest.runs, rest.runs_count);
    }
    offset_map_done(&rest);
    return true;
}

void offset_backlog_done(struct offset_backlog *backlog)
{
    while (!TAILQ_EMPTY(&backlog->chunks)) {
        chunk_free(TAILQ_FIRST(&backlog->chunks));
    }
    backlog->next = backlog->sent = NULL;
}

void offset_backlog_ack(struct offset_backlog *backlog, struct offset_run run,
                        const struct checkpoint *after)
{
    assert(checkpoint_same_incarnation(&backlog->at, after));
    assert(!place_before(place_of(after), place_of(&backlog->at)));
    struct offset_chunk *chunk;
    if (run.length > 0) {
        assert(!place_before(run_begin(run), place_of(&backlog->at)));
        assert(!place_before(place_of(after), run_end(run)));
        chunk = add_run(backlog, run);
    } else {
        chunk = open_tail(backlog);
        chunk = chunk == NULL ? chunk_append(backlog) : chunk;
    }
    chunk->after = *after;
    chunk->after_known = true;
    backlog->at = *after;
}

void offset_backlog_ack_part(struct offset_backlog *backlog, struct offset_run run)
{
    assert(run.length > 0 && !place_before(run_begin(run), place_of(&backlog->at)));
    struct offset_chunk *chunk = add_run(backlog, run);
    chunk_set_position(chunk, chunk->end);
}

/* --- unmapped stretches ------------------------------------------------------------------------------------------- */

static struct offset_chunk *split_growth(struct offset_chunk *chunk, struct offset_place from)
{
    struct offset_chunk *alone = chunk_alloc(chunk->backlog, from);
    chunk_add_run(alone,
                  (struct offset_run){chunk->from.source, chunk->from.target, chunk->extends});
    chunk_set_position(alone, alone->end);
    alone->frozen = true;
    TAILQ_INSERT_BEFORE(chunk, alone, link);
    chunk->from = alone->end;
    chunk->extends = 0;
    return alone;
}

/* What stands before the chunk in the stored map ends at `from` and is not the run that the chunk lets grow: that growth
 * becomes a run of its own. Chunks without any run hand the place on. Returns the first of them. */
static struct offset_chunk *detach(struct offset_chunk *chunk, struct offset_place from)
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
            chunk_clear(chunk, from);
            chunk_add_run(chunk, growth);
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

/* A chunk at the front that says: from `begin` to where our list begins nothing is known. */
static void mark_front(struct offset_backlog *backlog, struct offset_place begin,
                       struct offset_place from)
{
    struct offset_chunk *first = detach(TAILQ_FIRST(&backlog->chunks), from);
    (void)first;
    struct offset_place until = place_of(&backlog->base);
    if (begin.source >= until.source && !TAILQ_EMPTY(&backlog->chunks)) {
        set_next(backlog, TAILQ_FIRST(&backlog->chunks));
        return;
    }
    struct offset_chunk *marker = chunk_alloc(backlog, from);
    marker->unmapped = begin.source < until.source;
    marker->frozen = true;
    marker->begin = begin;
    marker->until = until;
    marker->after = backlog->base;
    marker->after_known = backlog->base_known;
    TAILQ_INSERT_HEAD(&backlog->chunks, marker, link);
    backlog->end = chunks_tail(backlog)->end;
    set_next(backlog, marker);
}

bool offset_backlog_drop_oldest(struct offset_backlog *backlog)
{
    struct offset_chunk *chunk =
        backlog->sent == NULL ? backlog->next : TAILQ_NEXT(backlog->sent, link);
    struct offset_chunk *tail = chunks_tail(backlog);
    if (chunk == NULL || chunk == tail) {
        return false;
    }
    if (chunk->unmapped) {
        struct offset_chunk *more = TAILQ_NEXT(chunk, link);
        if (more == tail) {
            return false;
        }
        chunk->until = place_of(&more->after);
        chunk->after = more->after;
        chunk->after_known = more->after_known;
        chunk_free(more);
    } else {
        const struct offset_chunk *before = TAILQ_PREV(chunk, offset_chunks, link);
        bool joins = before != NULL && before->unmapped;
        chunk_set_state(chunk, CHUNK_LAST_KEPT);
        chunk_clear(chunk, chunk->from);
        free(chunk->packed);
        chunk->packed = NULL;
        chunk->packed_capacity = 0;
        chunk->unmapped = chunk->frozen = true;
        chunk->begin = joins ? before->until : chunk->from;
        chunk->until = place_of(&chunk->after);
        chunk_set_state(chunk, CHUNK_PENDING);
    }
    (void)detach(TAILQ_NEXT(chunk, link), chunk->from);
    backlog->end = chunks_tail(backlog)->end;
    return true;
}

/* --- going on from what Redis holds ------------------------------------------------------------------------------- */

static bool start_anew(struct offset_backlog *backlog)
{
    backlog->anew = true;
    if (!backlog->start_known && backlog->redis.has_index) {
        backlog->start_known = true;
        backlog->start = backlog->redis.index.first;
    }
    struct offset_place base = place_of(&backlog->base);
    struct offset_place begin = backlog->start_known ? backlog->start : (struct offset_place){0, 0};
    if (place_before(base, begin)) { /* the index is of something else */
        begin = base;
    }
    struct offset_chunk *first = TAILQ_FIRST(&backlog->chunks);
    if (first != NULL && first->unmapped) {
        first->begin = begin;
        (void)detach(first, OFFSET_PLACE_NONE);
        backlog->end = chunks_tail(backlog)->end;
        set_next(backlog, first);
    } else {
        mark_front(backlog, begin, OFFSET_PLACE_NONE);
    }
    backlog->base_end = OFFSET_PLACE_NONE;
    backlog->redis.has_index = true;
    backlog->redis.index = (struct offset_index){
        .first = begin, .next = begin, .run_end = OFFSET_PLACE_NONE, .top = OFFSET_PLACE_NONE};
    return true;
}

/* Drop what lies before `from`. false: `from` is no place of this history. */
static bool clip_pieces(const struct offset_chunk *chunk, struct offset_run *pieces, size_t *count,
                        struct offset_place from)
{
    size_t kept = 0;
    struct offset_place end = OFFSET_PLACE_NONE; /* of what was dropped */
    for (size_t i = 0; i < *count; i++) {
        struct offset_run piece = pieces[i];
        int64_t stored = from.source - piece.source_first;
        if (stored >= piece.length) {
            end = run_end(piece);
            continue;
        }
        if (stored > 0) {
            if (from.target != piece.target_first + stored) {
                return false;
            }
            piece = (struct offset_run){from.source, from.target, piece.length - stored};
        }
        if (kept == 0 && from.target > piece.target_first) {
            return false;
        }
        pieces[kept++] = piece;
    }
    *count = kept;
    return (!place_known(end) || from.target >= end.target) &&
           (kept > 0 || from.target <= chunk->after.target_next);
}

static void add_piece(struct offset_chunk **chunk, struct offset_run piece)
{
    if (chunk_continues(*chunk, piece)) {
        chunk_extend(*chunk, piece.length);
        return;
    }
    if ((*chunk)->runs_count ==
        OFFSET_MAP_PACK) { /* one more than an entry holds: it goes along in its own */
        struct offset_chunk *more = chunk_alloc((*chunk)->backlog, (*chunk)->end);
        TAILQ_INSERT_AFTER(&(*chunk)->backlog->chunks, *chunk, more, link);
        more->after = (*chunk)->after;
        more->after_known = (*chunk)->after_known;
        more->frozen = (*chunk)->frozen;
        (*chunk)->frozen = true;
        chunk_set_position(*chunk, (*chunk)->end);
        *chunk = more;
    }
    chunk_add_run(*chunk, piece);
}

/* Redis ends inside of this chunk, or at its begin but with a run whose end we did not know: write the rest of it so
 * that it follows. What was kept before would not join it any more. */
static bool rebuild(struct offset_backlog *backlog, struct offset_chunk *chunk,
                    const struct offset_found *found)
{
    struct offset_place from = place_of(&found->checkpoint);
    struct offset_place end = found->index.run_end;
    struct offset_run pieces[PIECES_MAX];
    size_t count = chunk_pieces(chunk, pieces);
    if (!chunk->unmapped) {
        bool end_known = place_known(chunk->end) && (count > 0 || place_known(chunk->from));
        if (!clip_pieces(chunk, pieces, &count, from) ||
            (count == 0 && end_known && !place_equal(chunk->end, end))) {
            return false;
        }
    }
    forget_before(backlog, chunk);
    backlog->base = found->checkpoint;
    backlog->base_known = true;
    backlog->base_end = end;
    set_next(backlog, chunk);
    if (chunk->unmapped) {
        chunk->begin = end;
        (void)detach(chunk, end);
    } else {
        chunk_clear(chunk, end);
        for (size_t i = 0; i < count; i++) {
            add_piece(&chunk, pieces[i]);
        }
        if (count == 0 && TAILQ_NEXT(chunk, link) != NULL &&
            !place_known(TAILQ_NEXT(chunk, link)->from)) {
            (void)detach(TAILQ_NEXT(chunk, link), end);
        }
    }
    backlog->end = chunks_tail(backlog)->end;
    return true;
}

static bool all_is_stored(struct offset_backlog *backlog, struct offset_place end)
{
    if (!place_known(backlog->end)) { /* nothing was acknowledged since we began */
        backlog->end = end;
        struct offset_chunk *tail = chunks_tail(backlog);
        if (tail == NULL) {
            backlog->base_end = end;
        } else {
            tail->end = end;
        }
    }
    set_next(backlog, NULL);
    return place_equal(backlog->end, end);
}

/* Redis holds this incarnation up to found->checkpoint, its last run ends at found->index.run_end. */
static bool align(struct offset_backlog *backlog, const struct offset_found *found)
{
    struct offset_place from = place_of(&found->checkpoint);
    struct offset_place end = found->index.run_end;
    struct offset_place begin = place_of(&backlog->base);
    if (place_crosses(from, begin)) { /* resume takes the one further on at the target: if that is
                                         ours, it would come back here */
        return from.target < begin.target && start_anew(backlog);
    }
    if (place_before(from, begin)) {
        mark_front(backlog, place_known(end) ? end : found->index.first, end);
        return true;
    }
    struct offset_chunk *chunk = TAILQ_FIRST(&backlog->chunks);
    while (chunk != NULL && !place_before(from, place_of(&chunk->after))) {
        begin = place_of(&chunk->after);
        chunk = TAILQ_NEXT(chunk, link);
    }
    if (chunk == NULL) {
        return all_is_stored(backlog, end);
    }
    if (place_crosses(from, place_of(&chunk->after))) {
        return false;
    }
    if (place_equal(from, begin) && place_equal(chunk->from, end)) {
        set_next(backlog, chunk);
        return true;
    }
    return rebuild(backlog, chunk, found);
}

/* The newest entries are gone from the stream, or it was put back from an older copy alone. Of its last run one record
 * is certain; behind it everything is unmapped up to where we can say more. */
static bool align_damaged(struct offset_backlog *backlog, const struct offset_found *found)
{
    bool tail_gone = place_known(found->top) && place_known(found->index.top) &&
                     place_before(found->top, found->index.top) &&
                     found->top_last.source_first < found->checkpoint.source_next &&
                     found->top_last.target_first < found->checkpoint.target_next;
    if (!tail_gone) {
        return start_anew(backlog);
    }
    struct offset_found less = *found;
    less.index.run_end =
        (struct offset_place){found->top_last.source_first + 1, found->top_last.target_first + 1};
    less.checkpoint.source_next = less.index.run_end.source;
    less.checkpoint.target_next = less.index.run_end.target;
    if (!align(backlog, &less)) {
        return false;
    }
    backlog->base_known =
        backlog->base_known && !place_equal(place_of(&backlog->base), less.index.run_end);
    if (backlog->next == NULL) { /* only to have the index say what is there */
        struct offset_chunk *chunk = chunk_append(backlog);
        chunk->after = backlog->at;
        chunk->after_known = true;
    }
    return true;
}

static bool may_follow(const struct offset_backlog *backlog, const struct checkpoint *found)
{
    return found->generation < backlog->at.generation ||
           (backlog->has_over && checkpoint_same_incarnation(found, &backlog->over));
}

static bool plan(struct offset_backlog *backlog, const struct offset_found *found)
{
    if (!found->has_checkpoint) {
        return start_anew(backlog);
    }
    if (!checkpoint_same_incarnation(&found->checkpoint, &backlog->at)) {
        return may_follow(backlog, &found->checkpoint) && start_anew(backlog);
    }
    if (place_before(place_of(&backlog->at), place_of(&found->checkpoint))) {
        return false;
    }
    if (!found->has_index) {
        return start_anew(backlog);
    }
    if (!backlog->start_known) {
        backlog->start_known = true;
        backlog->start = found->index.first;
    }
    return place_equal(found->top, found->index.top) ? align(backlog, found)
                                                     : align_damaged(backlog, found);
}

bool offset_backlog_reconcile(struct offset_backlog *backlog, const struct offset_found *found)
{
    backlog->sent = NULL;
    backlog->anew = false;
    backlog->redis = *found;
    backlog->in_sync = plan(backlog, found);
    return backlog->in_sync;
}

/* --- advances ----------------------------------------------------------------------------------------------------- */

bool offset_backlog_take(struct offset_backlog *backlog, int32_t chunks_max, bool all)
{
    assert(backlog->sent == NULL);
    if (backlog->next == NULL || !backlog->in_sync) {
        return false;
    }
    const struct offset_chunk *open = open_tail(backlog);
    bool hold = !all && open != NULL && open->runs_count > 0 && open->runs_count < OFFSET_MAP_PACK;
    struct offset_chunk *last = NULL;
    int32_t count = 0;
    for (struct offset_chunk *chunk = backlog->next; chunk != NULL;
         chunk = TAILQ_NEXT(chunk, link)) {
        if (hold && chunk == open) {
            break;
        }
        if (chunk->after_known) {
            last = chunk;
        }
        if (++count >= chunks_max && last != NULL) {
            break;
        }
    }
    if (last == NULL) {
        return false;
    }
    for (struct offset_chunk *chunk = backlog->next;; chunk = TAILQ_NEXT(chunk, link)) {
        chunk->frozen = true;
        if (chunk == last) {
            break;
        }
    }
    backlog->sent = last;
    return true;
}

struct offset_index offset_backlog_index_after(const struct offset_backlog *backlog)
{
    assert(backlog->sent != NULL);
    struct offset_index index = backlog->redis.index;
    index.next = place_of(&backlog->sent->after);
    index.run_end = backlog->sent->end;
    if (!backlog->anew) {
        index.top = backlog->redis.top; /* also after entries were lost: what is there now */
    }
    for (const struct offset_chunk *chunk = backlog->next;; chunk = TAILQ_NEXT(chunk, link)) {
        if (chunk->runs_count > 0) {
            index.top = (struct offset_place){chunk->first.source + 1, chunk->first.target};
        }
        if (chunk == backlog->sent) {
            return index;
        }
    }
}

bool offset_chunk_stretch(const struct offset_chunk *chunk, struct offset_stretch *out)
{
    bool known = place_known(chunk->begin); /* else: from where the incarnation begins */
    *out = (struct offset_stretch){known ? chunk->begin : chunk->backlog->redis.index.first,
                                   chunk->until};
    return chunk->unmapped && out->begin.source < out->until.source;
}

/* A stored chunk that only let a run grow needs no place of its own. */
static bool absorb(struct offset_chunk *before, struct offset_chunk *chunk)
{
    if (before == NULL || before->unmapped || chunk->unmapped || chunk->runs_count > 0) {
        return false;
    }
    if (chunk->extends > 0) {
        chunk_extend(before, chunk->extends);
    }
    before->after = chunk->after;
    before->after_known = chunk->after_known;
    chunk_free(chunk);
    return true;
}

void offset_backlog_confirm(struct offset_backlog *backlog)
{
    assert(backlog->sent != NULL);
    struct offset_index index = offset_backlog_index_after(backlog);
    backlog->redis.has_checkpoint = backlog->redis.has_index = true;
    backlog->redis.checkpoint = backlog->sent->after;
    backlog->redis.index = index;
    backlog->redis.top = index.top;
    struct offset_chunk *behind = TAILQ_NEXT(backlog->sent, link);
    struct offset_chunk *before = TAILQ_PREV(backlog->next, offset_chunks, link);
    for (struct offset_chunk *chunk = backlog->next; chunk != behind;) {
        struct offset_chunk *following = TAILQ_NEXT(chunk, link);
        if (before != NULL && before->state == CHUNK_LAST_KEPT && !absorb(before, chunk)) {
            chunk_set_state(before, CHUNK_KEPT);
            chunk_set_state(chunk, CHUNK_LAST_KEPT);
            before = chunk;
        } else if (before == NULL) {
            chunk_set_state(chunk, CHUNK_LAST_KEPT);
            before = chunk;
        }
        chunk = following;
    }
    backlog->next = behind;
    backlog->sent = NULL;
    backlog->anew = false;
}

void offset_backlog_unknown(struct offset_backlog *backlog)
{
    backlog->sent = NULL;
}

bool offset_backlog_pending(const struct offset_backlog *backlog)
{
    return backlog->next != NULL;
}

int64_t offset_backlog_pending_runs(const struct offset_backlog *backlog)
{
    int64_t count = 0;
    for (const struct offset_chunk *chunk = backlog->next; chunk != NULL;
         chunk = TAILQ_NEXT(chunk, link)) {
        count += chunk->runs_count;
    }
    return count;
}
