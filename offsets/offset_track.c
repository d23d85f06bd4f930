/* One partition's way to Redis: look, plan, advance; again after every doubt. A call is under way or not (`busy`), one
 * at a time. Never waits: the backlog holds what is not stored.
 *
 *   new -> look -> advance ... advance        "no": what is there instead is in the answer: plan again
 *            ^________________________|       no answer: look
 */
#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/log.h"
#include "offsets/offset_inside.h"

#define CHUNKS_A_CALL \
    64 /* entries of at most 64 runs in one advance: 25 KiB, below a millisecond of Redis */
#define HOLD_MS    1000        /* runs wait so long to fill an entry */
#define KEPT_BYTES (256 << 10) /* stored runs that are held for a Redis that comes back older */
#define REFUSED_MS 30000       /* an operator has removed what was no map, by then or later */
#define DEAD_MS \
    600000 /* a partition that is resumed while Redis is away takes over what is not stored */

static bool refused_now(const struct offset_track *track)
{
    return track->refused_until_ms > loop_now_ms(track->store->loop);
}

static bool usable(const struct offset_store *store)
{
    return offset_store_usable(store, NULL);
}

/* --- what Redis holds --------------------------------------------------------------------------------------------- */

static void remember(struct offset_track *track, const struct checkpoint *checkpoint)
{
    track->has_stored = true;
    track->stored = *checkpoint;
}

static void refuse(struct offset_track *track, const struct err *why)
{
    log_error(
        "map.refused",
        "key=%s topic=%s partition=%d why=%s doing=\"mirroring goes on without its map; looking "
        "again in %d s\" hint=\"docs/faults.md#garbage\"",
        log_quote(track->store->base).text, track->topic, track->partition,
        log_quote(why->what).text, REFUSED_MS / 1000);
    track->looked = false;
    track->refused_until_ms = loop_now_ms(track->store->loop) + REFUSED_MS;
}

static void part(struct offset_track *track, const struct checkpoint *found)
{
    struct offset_store *store = track->store;
    track->parted = true;
    if (!track->dead) {
        store->callbacks.conflict(store->callbacks.arg, track, found);
    }
}

static void reconcile(struct offset_track *track, const redisReply *reply, size_t at)
{
    struct offset_found found;
    struct err err = {0};
    if (!offset_found_reply(reply, at, track->incarnation, &found, &track->letter, &err)) {
        refuse(track, &err);
        return;
    }
    if (track->has_stored && !found.has_checkpoint) { /* flushed: so is the mark of whose it is */
        offset_store_greet(track->store);
    }
    track->looked = offset_backlog_reconcile(&track->backlog, &found);
    if (!track->looked) {
        part(track, &found.checkpoint);
    } else if (found.has_checkpoint &&
               checkpoint_same_incarnation(&found.checkpoint, &track->backlog.at)) {
        remember(track, &found.checkpoint);
    }
}

/* --- calls and answers -------------------------------------------------------------------------------------------- */

/* A call that fails at once is made again by the tick, not from here. */
static void rest(struct offset_track *track, bool answered)
{
    struct offset_store *store = track->store;
    track->busy = false;
    if (answered) {
        offset_track_step(track, track->dead || store->flushed != NULL);
        if (!track->busy) {
            offset_store_look_at_flush(store);
        }
    }
}

/* It answers, and does not do it: is that so for everything of ours? */
static void look_at_redis(struct offset_track *track, const struct err *why)
{
    if (why->code == REDIS_SAYS) {
        offset_store_greet(track->store);
    }
}

static void looked(void *arg, const redisReply *reply, const struct err *err)
{
    struct offset_track *track = arg;
    if (reply != NULL) {
        reconcile(track, reply, 0);
    } else if (err->kind == ERR_REFUSED) {
        refuse(track, err);
    } else {
        look_at_redis(track, err);
    }
    rest(track, reply != NULL);
}

/* What next .. sent recorded; before they are confirmed. */
static void count_stored(struct offset_track *track)
{
    struct offset_counters *counters = &track->store->counters;
    counters->advances++;
    for (const struct offset_chunk *chunk = track->backlog.next;; chunk = TAILQ_NEXT(chunk, link)) {
        struct offset_stretch stretch;
        if (offset_chunk_stretch(chunk, &stretch)) {
            counters->unmapped_stretches++;
            counters->unmapped_offsets += (uint64_t)(stretch.until.source - stretch.begin.source);
        }
        if (chunk == track->backlog.sent) {
            return;
        }
    }
}

/* @return true: as much as one call takes, so there is more */
static bool confirmed(struct offset_track *track, const char *index)
{
    int count = 1;
    for (const struct offset_chunk *chunk = track->backlog.next; chunk != track->backlog.sent;
         chunk = TAILQ_NEXT(chunk, link)) {
        count++;
    }
    snprintf(track->letter.checkpoint, sizeof(track->letter.checkpoint), "%s",
             track->sent.checkpoint);
    snprintf(track->letter.index, sizeof(track->letter.index), "%s", index);
    snprintf(track->letter.top, sizeof(track->letter.top), "%s", track->sent.top);
    remember(track, &track->backlog.sent->after);
    count_stored(track);
    offset_backlog_confirm(&track->backlog);
    offset_totals_trim(&track->store->totals, KEPT_BYTES);
    return count >= CHUNKS_A_CALL;
}

static void advanced(void *arg, const redisReply *reply, const struct err *err)
{
    struct offset_track *track = arg;
    const char *verdict = reply == NULL ? NULL : script_text(reply, 0);
    if (verdict != NULL && strcmp(verdict, "ok") == 0 && script_text(reply, 1) != NULL) {
        bool more = confirmed(track, script_text(reply, 1));
        rest(track, more || track->dead || track->store->flushed != NULL);
        return;
    }
    offset_backlog_unknown(&track->backlog);
    if (verdict != NULL && track->dead) {
        track->parted = true; /* somebody goes on from elsewhere */
    } else if (verdict != NULL) {
        reconcile(track, reply, 1);
    } else { /* it may be stored or not: look before the next */
        track->looked = false;
        if (err == NULL || err->kind == ERR_REFUSED) {
            struct err strange = {.kind = ERR_REFUSED, .what = "Redis answers in a strange form"};
            refuse(track, err == NULL ? &strange : err);
        } else {
            look_at_redis(track, err);
        }
    }
    rest(track, verdict != NULL);
}

static void look(struct offset_track *track)
{
    struct script_arguments arguments = {0};
    script_put_part(&arguments, track->store->base, track->topic, track->partition,
                    track->incarnation);
    track->busy = true;
    offset_store_call(track->store, &offset_script_look, PART_KEYS_COUNT, &arguments, looked,
                      track);
}

static int unmapped_count(const struct offset_backlog *backlog)
{
    int count = 0;
    struct offset_stretch stretch;
    for (const struct offset_chunk *chunk = backlog->next;; chunk = TAILQ_NEXT(chunk, link)) {
        count += offset_chunk_stretch(chunk, &stretch);
        if (chunk == backlog->sent) {
            return count;
        }
    }
}

static void put_unmapped(struct script_arguments *arguments, const struct offset_track *track)
{
    script_put_format(arguments, "%d", unmapped_count(&track->backlog));
    for (const struct offset_chunk *chunk = track->backlog.next;; chunk = TAILQ_NEXT(chunk, link)) {
        struct offset_stretch stretch;
        char text[STRETCH_TEXT_BYTES];
        if (offset_chunk_stretch(chunk, &stretch)) {
            script_put_text(arguments, offset_stretch_text(&stretch, text));
            log_warn("map.unmapped",
                     "topic=%s partition=%d source_from=%lld source_to=%lld doing=\"recorded\"",
                     track->topic, track->partition, (long long)stretch.begin.source,
                     (long long)stretch.until.source);
        }
        if (chunk == track->backlog.sent) {
            return;
        }
    }
}

static void put_entries(struct script_arguments *arguments, struct offset_track *track)
{
    for (const struct offset_chunk *chunk = track->backlog.next;; chunk = TAILQ_NEXT(chunk, link)) {
        if (chunk->runs_count > 0) {
            struct offset_entry entry;
            offset_chunk_entry(chunk, &entry);
            offset_id_text((struct offset_place){entry.id_source, entry.id_target},
                           track->sent.top);
            script_put_text(arguments, track->sent.top);
            script_put(arguments, entry.packed, entry.packed_len);
        }
        if (chunk == track->backlog.sent) {
            return;
        }
    }
}

static void advance(struct offset_track *track)
{
    struct script_arguments arguments = {0};
    char index_text[INDEX_TEXT_BYTES];
    struct offset_backlog *backlog = &track->backlog;
    struct offset_index index = offset_backlog_index_after(backlog);
    checkpoint_text(&backlog->sent->after, track->sent.checkpoint);
    snprintf(track->sent.top, sizeof(track->sent.top), "%s",
             backlog->anew ? "" : track->letter.top);
    script_put_part(&arguments, track->store->base, track->topic, track->partition,
                    track->incarnation);
    script_put_text(&arguments, track->letter.checkpoint);
    script_put_text(&arguments, track->letter.index);
    script_put_text(&arguments, track->letter.top);
    script_put_text(&arguments, track->sent.checkpoint);
    script_put_text(&arguments, offset_index_text(&index, index_text));
    script_put_text(&arguments, backlog->anew ? "1" : "0");
    put_unmapped(&arguments, track);
    put_entries(&arguments, track);
    track->busy = true;
    offset_store_call(track->store, &offset_script_advance, PART_KEYS_COUNT, &arguments, advanced,
                      track);
}

void offset_track_step(struct offset_track *track, bool all)
{
    int64_t now_ms = loop_now_ms(track->store->loop);
    if (track->busy || !offset_track_waits(track) || refused_now(track) || !usable(track->store)) {
        return;
    }
    if (!track->looked) {
        look(track);
        return;
    }
    all = all || now_ms - track->all_ms >= HOLD_MS;
    if (all) {
        track->all_ms = now_ms;
    }
    if (offset_backlog_take(&track->backlog, CHUNKS_A_CALL, all)) {
        advance(track);
    }
}

/* --- coming and going --------------------------------------------------------------------------------------------- */

static bool is_before(const struct checkpoint *a, const struct checkpoint *b)
{
    return a->source_next < b->source_next || a->target_next < b->target_next;
}

/* The same partition was given up while something was not stored: its list goes on. What begins before its end is
 * another history, after a cut: the list is of no use then. */
static struct offset_track *take_over(struct offset_store *store, const char *topic,
                                      int32_t partition, const struct checkpoint *from,
                                      const struct checkpoint *at, const struct offset_run *runs,
                                      size_t runs_count)
{
    for (size_t i = 0; i < store->tracks_count && store->dead_count > 0; i++) {
        struct offset_track *track = store->tracks[i];
        if (!track->dead || track->parted || track->partition != partition ||
            strcmp(track->topic, topic) != 0 ||
            !checkpoint_same_incarnation(&track->backlog.at, at)) {
            continue;
        }
        if (from != NULL && offset_backlog_go_on(&track->backlog, from, at, runs, runs_count)) {
            track->dead = false;
            store->dead_count--;
            return track;
        }
        track->parted = track->parted || is_before(at, &track->backlog.at);
    }
    return NULL;
}

static struct offset_track *make(struct offset_store *store, const char *topic, int32_t partition,
                                 const struct checkpoint *at)
{
    struct offset_track *track = must(calloc(1, sizeof(*track)));
    track->store = store;
    track->topic = must(strdup(topic));
    track->partition = partition;
    checkpoint_incarnation(at, track->incarnation);
    store->tracks = must_grow(store->tracks, store->tracks_count, sizeof(struct offset_track *));
    store->tracks[store->tracks_count++] = track;
    return track;
}

struct offset_track *offset_track_new(struct offset_store *store, const char *topic,
                                      int32_t partition, const struct checkpoint *stored,
                                      const struct checkpoint *from, const struct checkpoint *at,
                                      const struct offset_run *runs, size_t runs_count, void *owner)
{
    struct offset_track *track = take_over(store, topic, partition, from, at, runs, runs_count);
    if (track == NULL) {
        track = make(store, topic, partition, at);
        offset_backlog_init(&track->backlog, &store->totals, stored, from, at, runs, runs_count);
    }
    track->owner = owner;
    if (!offset_backlog_pending(&track->backlog)) { /* a place to stand on is worth being stored */
        offset_backlog_ack(&track->backlog,
                           (struct offset_run){at->source_next, at->target_next, 0}, at);
    }
    if (from != NULL && checkpoint_same_incarnation(from, at) && !track->has_stored) {
        remember(track, from);
    }
    return track;
}

static void destroy(struct offset_track *track)
{
    struct offset_store *store = track->store;
    for (size_t i = 0; i < store->tracks_count; i++) {
        if (store->tracks[i] == track) {
            store->tracks[i] = store->tracks[--store->tracks_count];
            break;
        }
    }
    store->dead_count -= track->dead;
    offset_backlog_done(&track->backlog);
    free(track->topic);
    free(track);
}

static bool is_of_no_use(const struct offset_track *track)
{
    const struct offset_store *store = track->store;
    return track->dead && !track->busy &&
           (!offset_track_waits(track) || refused_now(track) || store->closing ||
            loop_now_ms(store->loop) - track->dead_ms >= DEAD_MS);
}

void offset_track_free(struct offset_track *track)
{
    if (track == NULL) {
        return;
    }
    assert(!track->dead);
    track->dead = true;
    track->store->dead_count++;
    track->dead_ms = loop_now_ms(track->store->loop);
    track->owner = NULL;
    offset_track_step(track, true);
    if (is_of_no_use(track)) {
        destroy(track);
    }
}

void *offset_track_owner(const struct offset_track *track)
{
    return track->owner;
}

void offset_track_doubt(struct offset_track *track)
{
    track->looked = false;
    track->refused_until_ms = 0;
}

bool offset_track_waits(const struct offset_track *track)
{
    return !track->parted && offset_backlog_pending(&track->backlog);
}

void offset_tracks_sweep(struct offset_store *store)
{
    for (size_t i = store->tracks_count; i-- > 0;) { /* the last takes the place of one that goes */
        if (is_of_no_use(store->tracks[i])) {
            destroy(store->tracks[i]);
        }
    }
}

void offset_tracks_destroy(struct offset_store *store)
{
    while (store->tracks_count > 0) {
        destroy(store->tracks[0]);
    }
    free(store->tracks);
}

void offset_tracks_part(struct offset_store *store, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < store->tracks_count && store->dead_count > 0; i++) {
        struct offset_track *track = store->tracks[i];
        if (track->dead && track->partition == partition && strcmp(track->topic, topic) == 0) {
            track->parted = true;
        }
    }
}

/* --- growing ------------------------------------------------------------------------------------------------------ */

static void keep_bound(struct offset_store *store)
{
    bool dropped = true;
    while (dropped && store->totals.pending_bytes > store->options.map_memory_bytes) {
        dropped = false;
        for (size_t i = 0; i < store->tracks_count; i++) {
            dropped = offset_backlog_drop_oldest(&store->tracks[i]->backlog) || dropped;
        }
    }
}

void offset_track_ack(struct offset_track *track, struct offset_run run,
                      const struct checkpoint *after)
{
    offset_backlog_ack(&track->backlog, run, after);
    if (track->store->totals.pending_bytes > track->store->options.map_memory_bytes) {
        keep_bound(track->store);
    }
}

void offset_track_ack_part(struct offset_track *track, struct offset_run run)
{
    offset_backlog_ack_part(&track->backlog, run);
}

bool offset_track_stored(const struct offset_track *track, struct checkpoint *out)
{
    bool there = track->has_stored && !track->parted && !refused_now(track) && usable(track->store);
    if (there) {
        *out = track->stored;
    }
    return there;
}

int64_t offset_track_pending_runs(const struct offset_track *track)
{
    return offset_backlog_pending_runs(&track->backlog);
}
