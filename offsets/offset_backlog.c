#include "offsets/offset_backlog.h"

#include <assert.h>
#include <stdlib.h>

#include "offsets/offset_backlog_inside.h"

/* A stretch that resume read back has one checkpoint, at its end, so it is stored by one advance: 1,024 entries of at
 * most 64 runs (about 400 bytes each) are some 400 KiB in one call and a few milliseconds of Redis. More is unmapped. */
#define UNBROKEN_CHUNKS_MAX 1024

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
    offset_chunk_free(chunk);
}

void offset_totals_trim(struct offset_totals *totals, int64_t max_bytes)
{
    while (totals->kept_bytes > max_bytes) {
        struct offset_chunk *chunk = TAILQ_FIRST(&totals->kept);
        assert(chunk == TAILQ_FIRST(&chunk->backlog->chunks));
        forget_first(chunk->backlog);
    }
}

/* --- begin and grow ----------------------------------------------------------------------------------------------- */

static struct offset_chunk *open_tail(const struct offset_backlog *backlog)
{
    struct offset_chunk *tail = offset_chunks_tail(backlog);
    bool open = tail != NULL && tail->state == CHUNK_PENDING && !tail->frozen && !tail->unmapped;
    return open ? tail : NULL;
}

static struct offset_chunk *add_run(struct offset_backlog *backlog, struct offset_run run)
{
    struct offset_chunk *chunk = open_tail(backlog);
    if (chunk == NULL ||
        (chunk->runs_count == OFFSET_MAP_PACK && !offset_chunk_continues(chunk, run))) {
        chunk = offset_chunk_append(backlog);
    }
    if (offset_chunk_continues(chunk, run)) {
        offset_chunk_extend(chunk, run.length);
    } else {
        offset_chunk_add_run(chunk, run);
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
        offset_chunk_set_position(chunk, chunk->end);
    }
    if (chunk == NULL) {
        chunk = offset_chunk_append(backlog);
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
        offset_chunk_free(TAILQ_FIRST(&backlog->chunks));
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
        chunk = chunk == NULL ? offset_chunk_append(backlog) : chunk;
    }
    chunk->after = *after;
    chunk->after_known = true;
    backlog->at = *after;
}

void offset_backlog_ack_part(struct offset_backlog *backlog, struct offset_run run)
{
    assert(run.length > 0 && !place_before(run_begin(run), place_of(&backlog->at)));
    struct offset_chunk *chunk = add_run(backlog, run);
    offset_chunk_set_position(chunk, chunk->end);
}

/* --- unmapped stretches ------------------------------------------------------------------------------------------- */

bool offset_backlog_drop_oldest(struct offset_backlog *backlog)
{
    struct offset_chunk *chunk =
        backlog->sent == NULL ? backlog->next : TAILQ_NEXT(backlog->sent, link);
    struct offset_chunk *tail = offset_chunks_tail(backlog);
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
        offset_chunk_free(more);
    } else {
        const struct offset_chunk *before = TAILQ_PREV(chunk, offset_chunks, link);
        bool joins = before != NULL && before->unmapped;
        offset_chunk_set_state(chunk, CHUNK_LAST_KEPT);
        offset_chunk_clear(chunk, chunk->from);
        free(chunk->packed);
        chunk->packed = NULL;
        chunk->packed_capacity = 0;
        chunk->unmapped = chunk->frozen = true;
        chunk->begin = joins ? before->until : chunk->from;
        chunk->until = place_of(&chunk->after);
        offset_chunk_set_state(chunk, CHUNK_PENDING);
    }
    (void)offset_chunk_detach(TAILQ_NEXT(chunk, link), chunk->from);
    backlog->end = offset_chunks_tail(backlog)->end;
    return true;
}

/* --- advances ----------------------------------------------------------------------------------------------------- */

void offset_backlog_set_next(struct offset_backlog *backlog, struct offset_chunk *next)
{
    backlog->next = next;
    bool stored = true;
    struct offset_chunk *chunk;
    TAILQ_FOREACH (chunk, &backlog->chunks, link) {
        stored = stored && chunk != next;
        bool last = stored && TAILQ_NEXT(chunk, link) == next;
        int state = !stored ? CHUNK_PENDING : last ? CHUNK_LAST_KEPT : CHUNK_KEPT;
        if ((int)chunk->state != state) {
            offset_chunk_set_state(chunk, state);
        }
    }
}

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

/* A stored chunk that only let a run grow needs no place of its own. */
static bool absorb(struct offset_chunk *before, struct offset_chunk *chunk)
{
    if (before == NULL || before->unmapped || chunk->unmapped || chunk->runs_count > 0) {
        return false;
    }
    if (chunk->extends > 0) {
        offset_chunk_extend(before, chunk->extends);
    }
    before->after = chunk->after;
    before->after_known = chunk->after_known;
    offset_chunk_free(chunk);
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
            offset_chunk_set_state(before, CHUNK_KEPT);
            offset_chunk_set_state(chunk, CHUNK_LAST_KEPT);
            before = chunk;
        } else if (before == NULL) {
            offset_chunk_set_state(chunk, CHUNK_LAST_KEPT);
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
