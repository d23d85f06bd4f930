#include "offsets/offset_backlog_inside.h"

static void forget_before(struct offset_backlog *backlog, const struct offset_chunk *chunk)
{
    while (TAILQ_FIRST(&backlog->chunks) != chunk) {
        offset_chunk_free(TAILQ_FIRST(&backlog->chunks));
    }
}

/* A chunk at the front that says: from `begin` to where our list begins nothing is known. */
static void mark_front(struct offset_backlog *backlog, struct offset_place begin,
                       struct offset_place from)
{
    struct offset_chunk *first = offset_chunk_detach(TAILQ_FIRST(&backlog->chunks), from);
    (void)first;
    struct offset_place until = place_of(&backlog->base);
    if (begin.source >= until.source && !TAILQ_EMPTY(&backlog->chunks)) {
        offset_backlog_set_next(backlog, TAILQ_FIRST(&backlog->chunks));
        return;
    }
    struct offset_chunk *marker = offset_chunk_alloc(backlog, from);
    marker->unmapped = begin.source < until.source;
    marker->frozen = true;
    marker->begin = begin;
    marker->until = until;
    marker->after = backlog->base;
    marker->after_known = backlog->base_known;
    TAILQ_INSERT_HEAD(&backlog->chunks, marker, link);
    backlog->end = offset_chunks_tail(backlog)->end;
    offset_backlog_set_next(backlog, marker);
}

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
        (void)offset_chunk_detach(first, OFFSET_PLACE_NONE);
        backlog->end = offset_chunks_tail(backlog)->end;
        offset_backlog_set_next(backlog, first);
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
    if (offset_chunk_continues(*chunk, piece)) {
        offset_chunk_extend(*chunk, piece.length);
        return;
    }
    if ((*chunk)->runs_count ==
        OFFSET_MAP_PACK) { /* one more than an entry holds: it goes along in its own */
        struct offset_chunk *more = offset_chunk_alloc((*chunk)->backlog, (*chunk)->end);
        TAILQ_INSERT_AFTER(&(*chunk)->backlog->chunks, *chunk, more, link);
        more->after = (*chunk)->after;
        more->after_known = (*chunk)->after_known;
        more->frozen = (*chunk)->frozen;
        (*chunk)->frozen = true;
        offset_chunk_set_position(*chunk, (*chunk)->end);
        *chunk = more;
    }
    offset_chunk_add_run(*chunk, piece);
}

/* Redis ends inside of this chunk, or at its begin but with a run whose end we did not know: write the rest of it so
 * that it follows. What was kept before would not join it any more. */
static bool rebuild(struct offset_backlog *backlog, struct offset_chunk *chunk,
                    const struct offset_found *found)
{
    struct offset_place from = place_of(&found->checkpoint);
    struct offset_place end = found->index.run_end;
    struct offset_run pieces[OFFSET_CHUNK_PIECES];
    size_t count = offset_chunk_pieces(chunk, pieces);
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
    offset_backlog_set_next(backlog, chunk);
    if (chunk->unmapped) {
        chunk->begin = end;
        (void)offset_chunk_detach(chunk, end);
    } else {
        offset_chunk_clear(chunk, end);
        for (size_t i = 0; i < count; i++) {
            add_piece(&chunk, pieces[i]);
        }
        if (count == 0 && TAILQ_NEXT(chunk, link) != NULL &&
            !place_known(TAILQ_NEXT(chunk, link)->from)) {
            (void)offset_chunk_detach(TAILQ_NEXT(chunk, link), end);
        }
    }
    backlog->end = offset_chunks_tail(backlog)->end;
    return true;
}

static bool all_is_stored(struct offset_backlog *backlog, struct offset_place end)
{
    if (!place_known(backlog->end)) { /* nothing was acknowledged since we began */
        backlog->end = end;
        struct offset_chunk *tail = offset_chunks_tail(backlog);
        if (tail == NULL) {
            backlog->base_end = end;
        } else {
            tail->end = end;
        }
    }
    offset_backlog_set_next(backlog, NULL);
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
        offset_backlog_set_next(backlog, chunk);
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
        struct offset_chunk *chunk = offset_chunk_append(backlog);
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
