#include "offsets/offset_store.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "offsets/offset_backlog.h"
#include "offsets/offset_script.h"

#define CHUNKS_A_CALL      64            /* entries of at most 64 runs in one advance: 25 KiB, below a millisecond of Redis */
#define HOLD_MS            1000          /* runs wait so long to fill an entry */
#define KEPT_BYTES         (256 << 10)   /* stored runs that are held for a Redis that comes back older */
#define EVENTS_KEPT        "10000"
#define SCHEMA             "1"

struct offset_track {
    struct offset_store *store;
    char *topic;
    int32_t partition;
    void *owner;
    char incarnation[INCARNATION_BYTES];
    struct offset_backlog backlog;
    bool looked;  /* reconciled with what Redis holds since the last doubt */
    bool busy;    /* a call is under way */
    bool dead;    /* freed by the owner; goes when its call is answered */
    bool parted;  /* conflict told: nothing is stored any more */
    int64_t all_ms; /* when everything was stored last */
    /* what Redis holds, to the letter: the compare of the compare-and-swap */
    char checkpoint_text[CHECKPOINT_TEXT_BYTES];
    char index_text[INDEX_TEXT_BYTES + 24];
    char top_id[48];
    /* in flight */
    char sent_checkpoint[CHECKPOINT_TEXT_BYTES];
    char sent_top[48];
    bool has_stored;
    struct checkpoint stored;
};

struct offset_store {
    struct loop *loop;
    struct redis *redis;
    struct offset_store_options options;
    struct offset_store_callbacks callbacks;
    char *base;
    char *meta_key;
    char *events_key;
    struct offset_totals totals;
    struct offset_track **tracks;
    size_t tracks_count;
    bool ready;
    bool refused;
    bool policy_asked;
    struct loop_timer *tick;
    struct loop_timer *flush_timer;
    void (*flushed)(void *arg, bool all);
    void *flushed_arg;
    bool closing;
};

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static char *copy(const char *text) { return must(strdup(text)); }

/* --- calls -------------------------------------------------------------------------------------------------------- */

struct arguments {
    const char **argv;
    size_t *lens;
    int count;
    int capacity;
};

static void put(struct arguments *arguments, const char *data, size_t len)
{
    if (arguments->count == arguments->capacity) {
        arguments->capacity = arguments->capacity == 0 ? 32 : arguments->capacity * 2;
        arguments->argv = must(realloc(arguments->argv, (size_t)arguments->capacity * sizeof(char *)));
        arguments->lens = must(realloc(arguments->lens, (size_t)arguments->capacity * sizeof(size_t)));
    }
    char *bytes = must(malloc(len + 1));
    memcpy(bytes, data, len);
    bytes[len] = '\0';
    arguments->argv[arguments->count] = bytes;
    arguments->lens[arguments->count++] = len;
}

static void put_text(struct arguments *arguments, const char *text) { put(arguments, text, strlen(text)); }

static void put_take(struct arguments *arguments, char *take_text)
{
    put_text(arguments, take_text);
    free(take_text);
}

static void arguments_done(struct arguments *arguments)
{
    for (int i = 0; i < arguments->count; i++) {
        free((void *)(uintptr_t)arguments->argv[i]);
    }
    free(arguments->argv);
    free(arguments->lens);
}

static void put_keys(struct arguments *arguments, const struct offset_store *store, const char *topic,
                     int32_t partition, const char *incarnation)
{
    char *checkpoints = NULL;
    char field[300];
    if (asprintf(&checkpoints, "%s:checkpoints", store->base) < 0) {
        abort();
    }
    put_take(arguments, checkpoints);
    put_take(arguments, offset_map_key(store->base, topic, partition, incarnation));
    put_take(arguments, offset_part_key(store->base, "incarnations", topic, partition));
    put_take(arguments, offset_part_key(store->base, "unmapped", topic, partition));
    snprintf(field, sizeof(field), "%s:%d", topic, partition);
    put_text(arguments, field);
    put_text(arguments, incarnation);
}

static void call(struct offset_store *store, struct redis_script *script, int keys_count, struct arguments *arguments,
                 redis_reply_fn *done, void *arg)
{
    redis_call_script(store->redis, script, keys_count, arguments->count, arguments->argv, arguments->lens, done, arg);
    arguments_done(arguments);
}

/* --- what Redis holds --------------------------------------------------------------------------------------------- */

static const char *text_of(const redisReply *reply, size_t at)
{
    bool there = reply->type == REDIS_REPLY_ARRAY && at < reply->elements &&
                 reply->element[at]->type == REDIS_REPLY_STRING;
    return there ? reply->element[at]->str : NULL;
}

/* [.., checkpoint, index, entry] from element `at` on. */
static bool parse_found(struct offset_track *track, const redisReply *reply, size_t at, struct offset_found *out,
                        struct err *err)
{
    const char *checkpoint = text_of(reply, at);
    const char *index = text_of(reply, at + 1);
    struct offset_stored_entry entry;
    *out = (struct offset_found){.top = OFFSET_PLACE_NONE};
    if (checkpoint == NULL || index == NULL || at + 2 >= reply->elements) {
        return err_set(err, ERR_REFUSED, "Redis answers in a strange form");
    }
    if (strlen(checkpoint) >= sizeof(track->checkpoint_text) || strlen(index) >= sizeof(track->index_text)) {
        return err_set(err, ERR_REFUSED, "a stored checkpoint is too long");
    }
    out->has_checkpoint = checkpoint[0] != '\0';
    if (out->has_checkpoint && !checkpoint_parse(checkpoint, strlen(checkpoint), &out->checkpoint, err)) {
        return false;
    }
    out->has_index = index[0] != '\0';
    if (out->has_index && !offset_index_parse(index, &out->index)) {
        return err_set(err, ERR_REFUSED, "the index of incarnation %s is no index", track->incarnation);
    }
    if (!offset_entry_reply(reply->element[at + 2], &entry, &out->top, err)) {
        return false;
    }
    if (entry.there) {
        out->top_last = entry.runs[entry.runs_count - 1];
    }
    snprintf(track->checkpoint_text, sizeof(track->checkpoint_text), "%s", checkpoint);
    snprintf(track->index_text, sizeof(track->index_text), "%s", index);
    snprintf(track->top_id, sizeof(track->top_id), "%s", entry.there ? reply->element[at + 2]->element[0]->str : "");
    return true;
}

static void remember(struct offset_track *track, const struct checkpoint *checkpoint)
{
    track->has_stored = true;
    track->stored = *checkpoint;
}

static void refuse(struct offset_track *track, const struct err *why)
{
    log_error("map.refused", "topic=%s partition=%d why=%s doing=\"mirroring goes on without its map\" "
              "hint=\"docs/faults.md#garbage\"",
              track->topic, track->partition, log_quote(why->what).text);
    track->parted = true;
}

static void reconcile(struct offset_track *track, const redisReply *reply, size_t at)
{
    struct offset_found found;
    struct err err;
    if (!parse_found(track, reply, at, &found, &err)) {
        refuse(track, &err);
        return;
    }
    track->looked = offset_backlog_reconcile(&track->backlog, &found);
    if (track->looked) {
        if (found.has_checkpoint && checkpoint_same_incarnation(&found.checkpoint, &track->backlog.at)) {
            remember(track, &found.checkpoint);
        }
        return;
    }
    track->parted = true;
    if (!track->dead) {
        track->store->callbacks.conflict(track->store->callbacks.arg, track, &found.checkpoint);
    }
}

/* --- tracks ------------------------------------------------------------------------------------------------------- */

/* The door knows first that Redis went: it fails the calls in flight before it tells. */
static bool usable(const struct offset_store *store)
{
    return store->redis != NULL && store->ready && !store->closing && redis_state(store->redis) == REDIS_READY;
}

static void step(struct offset_track *track, bool all);
static void look_at_flush(struct offset_store *store);

static void track_destroy(struct offset_track *track)
{
    struct offset_store *store = track->store;
    for (size_t i = 0; i < store->tracks_count; i++) {
        if (store->tracks[i] == track) {
            store->tracks[i] = store->tracks[--store->tracks_count];
            break;
        }
    }
    offset_backlog_done(&track->backlog);
    free(track->topic);
    free(track);
}

/* After an answer, or its absence: then a dead track gives up, its successor finds the difference. @return false: the
 * track is gone */
static bool track_rest(struct offset_track *track, bool answered)
{
    track->busy = false;
    bool more = track->dead && answered && !track->parted && usable(track->store) &&
                offset_backlog_pending(&track->backlog);
    if (track->dead && !more) {
        struct offset_store *store = track->store;
        track_destroy(track);
        look_at_flush(store);
        return false;
    }
    if (more) {
        step(track, true);
    }
    return true;
}

static void looked(void *arg, const redisReply *reply, const struct err *err)
{
    struct offset_track *track = arg;
    (void)err;
    if (reply != NULL) {
        reconcile(track, reply, 0);
    }
    if (track_rest(track, reply != NULL) && track->looked) {
        step(track, false);
    }
}

static void advanced(void *arg, const redisReply *reply, const struct err *err)
{
    struct offset_track *track = arg;
    const char *verdict = reply == NULL ? NULL : text_of(reply, 0);
    if (verdict != NULL && strcmp(verdict, "ok") == 0 && text_of(reply, 1) != NULL) {
        remember(track, &track->backlog.sent->after);
        snprintf(track->checkpoint_text, sizeof(track->checkpoint_text), "%s", track->sent_checkpoint);
        snprintf(track->index_text, sizeof(track->index_text), "%s", text_of(reply, 1));
        snprintf(track->top_id, sizeof(track->top_id), "%s", track->sent_top);
        offset_backlog_confirm(&track->backlog);
        offset_totals_trim(&track->store->totals, KEPT_BYTES);
    } else if (verdict != NULL) {
        offset_backlog_unknown(&track->backlog);
        reconcile(track, reply, 1);
    } else {
        offset_backlog_unknown(&track->backlog); /* it may be stored or not: look before the next */
        track->looked = false;
        if (err != NULL && err->kind == ERR_REFUSED) {
            refuse(track, err);
        }
    }
    if (track_rest(track, reply != NULL)) {
        look_at_flush(track->store);
    }
}

static void look(struct offset_track *track)
{
    struct arguments arguments = {0};
    put_keys(&arguments, track->store, track->topic, track->partition, track->incarnation);
    track->busy = true;
    call(track->store, &offset_script_look, 4, &arguments, looked, track);
}

static void put_unmapped(struct arguments *arguments, const struct offset_track *track)
{
    char text[INCARNATION_BYTES + 96];
    int count = 0;
    const struct offset_chunk *chunk;
    for (chunk = track->backlog.next;; chunk = TAILQ_NEXT(chunk, link)) {
        count += chunk->unmapped;
        if (chunk == track->backlog.sent) {
            break;
        }
    }
    snprintf(text, sizeof(text), "%d", count);
    put_text(arguments, text);
    for (chunk = track->backlog.next;; chunk = TAILQ_NEXT(chunk, link)) {
        if (chunk->unmapped) {
            snprintf(text, sizeof(text), "%s %lld %lld %lld %lld", track->incarnation, (long long)chunk->begin.source,
                     (long long)chunk->begin.target, (long long)chunk->until.source, (long long)chunk->until.target);
            put_text(arguments, text);
            log_warn("map.unmapped", "topic=%s partition=%d source_from=%lld source_to=%lld doing=\"recorded\"",
                     track->topic, track->partition, (long long)chunk->begin.source, (long long)chunk->until.source);
        }
        if (chunk == track->backlog.sent) {
            return;
        }
    }
}

static void put_entries(struct arguments *arguments, struct offset_track *track)
{
    for (const struct offset_chunk *chunk = track->backlog.next;; chunk = TAILQ_NEXT(chunk, link)) {
        if (chunk->runs_count > 0) {
            struct offset_entry entry;
            offset_chunk_entry(chunk, &entry);
            snprintf(track->sent_top, sizeof(track->sent_top), "%lld-%lld", (long long)entry.id_source,
                     (long long)entry.id_target);
            put_text(arguments, track->sent_top);
            put(arguments, (const char *)entry.packed, entry.packed_len);
        }
        if (chunk == track->backlog.sent) {
            return;
        }
    }
}

static void advance(struct offset_track *track)
{
    struct arguments arguments = {0};
    char index_text[INDEX_TEXT_BYTES];
    struct offset_index index = offset_backlog_index_after(&track->backlog);
    put_keys(&arguments, track->store, track->topic, track->partition, track->incarnation);
    put_text(&arguments, track->checkpoint_text);
    put_text(&arguments, track->index_text);
    put_text(&arguments, track->top_id);
    checkpoint_text(&track->backlog.sent->after, track->sent_checkpoint);
    put_text(&arguments, track->sent_checkpoint);
    put_text(&arguments, offset_index_text(&index, index_text));
    put_text(&arguments, track->backlog.anew ? "1" : "0");
    snprintf(track->sent_top, sizeof(track->sent_top), "%s", track->backlog.anew ? "" : track->top_id);
    put_unmapped(&arguments, track);
    put_entries(&arguments, track);
    track->busy = true;
    call(track->store, &offset_script_advance, 4, &arguments, advanced, track);
}

static void step(struct offset_track *track, bool all)
{
    struct offset_store *store = track->store;
    int64_t now_ms = loop_now_ms(store->loop);
    if (track->busy || track->parted || !usable(store) || !offset_backlog_pending(&track->backlog)) {
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

struct offset_track *offset_track_new(struct offset_store *store, const char *topic, int32_t partition,
                                      const struct checkpoint *stored, const struct checkpoint *from,
                                      const struct checkpoint *at, const struct offset_run *runs,
                                      size_t runs_count, void *owner)
{
    struct offset_track *track = must(calloc(1, sizeof(*track)));
    track->store = store;
    track->topic = copy(topic);
    track->partition = partition;
    track->owner = owner;
    checkpoint_incarnation(at, track->incarnation);
    offset_backlog_init(&track->backlog, &store->totals, stored, from, at, runs, runs_count);
    if (!offset_backlog_pending(&track->backlog)) { /* a place to stand on is worth being stored */
        offset_backlog_ack(&track->backlog, (struct offset_run){at->source_next, at->target_next, 0}, at);
    }
    if (from != NULL) {
        remember(track, from);
    }
    store->tracks = must(realloc(store->tracks, (store->tracks_count + 1) * sizeof(struct offset_track *)));
    store->tracks[store->tracks_count++] = track;
    return track;
}

void offset_track_free(struct offset_track *track)
{
    if (track == NULL) {
        return;
    }
    track->dead = true;
    track->owner = NULL;
    if (track->busy) {
        return; /* what is pending is flushed when the answer comes */
    }
    step(track, true);
    if (!track->busy) {
        track_destroy(track);
    }
}

void *offset_track_owner(const struct offset_track *track) { return track->owner; }

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

void offset_track_ack(struct offset_track *track, struct offset_run run, const struct checkpoint *after)
{
    offset_backlog_ack(&track->backlog, run, after);
    if (track->store->totals.pending_bytes > track->store->options.map_memory_bytes) {
        keep_bound(track->store);
    }
}

bool offset_track_stored(const struct offset_track *track, struct checkpoint *out)
{
    bool there = track->has_stored && !track->parted && usable(track->store);
    if (there) {
        *out = track->stored;
    }
    return there;
}

int64_t offset_track_pending_runs(const struct offset_track *track)
{
    return offset_backlog_pending_runs(&track->backlog);
}

/* --- the store ---------------------------------------------------------------------------------------------------- */

static void tick(void *arg)
{
    struct offset_store *store = arg;
    for (size_t i = 0; i < store->tracks_count; i++) {
        step(store->tracks[i], false);
    }
    loop_timer_set(store->tick, store->options.interval_ms);
}

static void become(struct offset_store *store, bool ready, const struct err *why)
{
    store->ready = ready;
    for (size_t i = 0; i < store->tracks_count; i++) {
        store->tracks[i]->looked = false; /* it may have been flushed, or be an older copy */
    }
    store->callbacks.state(store->callbacks.arg, ready, why);
}

static void refuse_store(struct offset_store *store, struct err *why)
{
    why->kind = ERR_REFUSED;
    store->refused = true;
    become(store, false, why);
}

static void policy_told(void *arg, const redisReply *reply, const struct err *err)
{
    struct offset_store *store = arg;
    const char *policy = reply == NULL ? NULL : text_of(reply, 1);
    if (err != NULL && err->kind == ERR_RETRY) {
        return; /* it went away again */
    }
    if (policy != NULL && strcmp(policy, "noeviction") != 0) {
        struct err why = {0};
        err_set(&why, ERR_REFUSED, "Redis may evict keys (maxmemory-policy %s): a map with holes would be wrong", policy);
        err_hint(&why, "CONFIG SET maxmemory-policy noeviction");
        refuse_store(store, &why);
        return;
    }
    become(store, true, NULL);
}

static void meta_told(void *arg, const redisReply *reply, const struct err *err)
{
    static const char *const ask_policy[] = {"CONFIG", "GET", "maxmemory-policy"};
    struct offset_store *store = arg;
    struct err why = {0};
    if (reply == NULL) {
        if (err->kind == ERR_REFUSED) {
            why = *err;
            err_wrap(&why, "%s", store->meta_key);
            refuse_store(store, &why);
        }
        return;
    }
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
        err_set(&why, ERR_REFUSED, "%s belongs to another installation: %s is %s", store->meta_key, text_of(reply, 0),
                text_of(reply, 1));
        err_hint(&why, "another deployment or service of this name uses this Redis: give this one a prefix");
        refuse_store(store, &why);
        return;
    }
    redis_call(store->redis, 3, (const char **)(uintptr_t)ask_policy, NULL, policy_told, store);
}

static void greet(struct offset_store *store)
{
    struct arguments arguments = {0};
    char field[200];
    put_text(&arguments, store->meta_key);
    put_text(&arguments, "schema");
    put_text(&arguments, SCHEMA);
    put_text(&arguments, "deployment");
    put_text(&arguments, store->options.deployment);
    snprintf(field, sizeof(field), "cluster:%s", store->options.from);
    put_text(&arguments, field);
    put_text(&arguments, store->options.source_cluster_id);
    snprintf(field, sizeof(field), "cluster:%s", store->options.to);
    put_text(&arguments, field);
    put_text(&arguments, store->options.target_cluster_id);
    call(store, &offset_script_meta, 1, &arguments, meta_told, store);
}

struct offset_store *offset_store_new(struct loop *loop, struct redis *redis, const struct offset_store_options *options,
                                      const struct offset_store_callbacks *callbacks)
{
    struct offset_store *store = must(calloc(1, sizeof(*store)));
    store->loop = loop;
    store->redis = redis;
    store->options = *options;
    store->options.deployment = copy(options->deployment);
    store->options.from = copy(options->from);
    store->options.to = copy(options->to);
    store->options.source_cluster_id = copy(options->source_cluster_id);
    store->options.target_cluster_id = copy(options->target_cluster_id);
    store->callbacks = *callbacks;
    store->base = offset_base_key(options->prefix, options->service, options->from, options->to);
    if (asprintf(&store->meta_key, "%s{%s}:meta", options->prefix, options->service) < 0 ||
        asprintf(&store->events_key, "%s{%s}:events", options->prefix, options->service) < 0) {
        abort();
    }
    offset_totals_init(&store->totals);
    store->tick = loop_timer_new(loop, tick, store);
    loop_timer_set(store->tick, options->interval_ms);
    return store;
}

void offset_store_free(struct offset_store *store)
{
    if (store == NULL) {
        return;
    }
    store->closing = true;
    loop_timer_free(store->tick);
    loop_timer_free(store->flush_timer);
    while (store->tracks_count > 0) {
        track_destroy(store->tracks[0]);
    }
    free(store->tracks);
    free((void *)(uintptr_t)store->options.deployment);
    free((void *)(uintptr_t)store->options.from);
    free((void *)(uintptr_t)store->options.to);
    free((void *)(uintptr_t)store->options.source_cluster_id);
    free((void *)(uintptr_t)store->options.target_cluster_id);
    free(store->base);
    free(store->meta_key);
    free(store->events_key);
    free(store);
}

bool offset_store_ready(const struct offset_store *store) { return store->ready; }

void offset_store_redis_changed(struct offset_store *store, enum redis_state state, const struct err *why)
{
    if (store->closing) {
        return;
    }
    if (state == REDIS_READY) {
        store->refused = false;
        greet(store);
    } else if (store->ready || why != NULL) {
        become(store, false, why);
    }
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

struct load {
    struct offset_store *store;
    char *field;
    void (*done)(void *arg, enum offset_loaded what, const struct checkpoint *checkpoint, const struct err *err);
    void *arg;
};

static void loaded(void *arg, const redisReply *reply, const struct err *err)
{
    struct load *load = arg;
    struct checkpoint checkpoint;
    struct err why = {0};
    if (reply == NULL) {
        load->done(load->arg, err->kind == ERR_REFUSED ? LOADED_REFUSED : LOADED_AWAY, NULL, err);
    } else if (reply->type == REDIS_REPLY_NIL) {
        load->done(load->arg, LOADED_MISSING, NULL, NULL);
    } else if (reply->type == REDIS_REPLY_STRING && checkpoint_parse(reply->str, reply->len, &checkpoint, &why)) {
        load->done(load->arg, LOADED_FOUND, &checkpoint, NULL);
    } else {
        err_wrap(&why, "%s:checkpoints, field %s", load->store->base, load->field);
        load->done(load->arg, LOADED_REFUSED, NULL, &why);
    }
    free(load->field);
    free(load);
}

void offset_store_load(struct offset_store *store, const char *topic, int32_t partition,
                       void (*done)(void *arg, enum offset_loaded what, const struct checkpoint *checkpoint,
                                    const struct err *err),
                       void *arg)
{
    struct load *load = must(calloc(1, sizeof(*load)));
    char *key = NULL;
    *load = (struct load){.store = store, .done = done, .arg = arg};
    if (asprintf(&load->field, "%s:%d", topic, partition) < 0 || asprintf(&key, "%s:checkpoints", store->base) < 0) {
        abort();
    }
    const char *argv[] = {"HGET", key, load->field};
    redis_call(store->redis, 3, argv, NULL, loaded, load);
    free(key);
}

/* --- flush -------------------------------------------------------------------------------------------------------- */

static void flush_over(struct offset_store *store, bool all)
{
    void (*done)(void *arg, bool all) = store->flushed;
    store->flushed = NULL;
    loop_timer_cancel(store->flush_timer);
    if (done != NULL) {
        done(store->flushed_arg, all);
    }
}

static void look_at_flush(struct offset_store *store)
{
    if (store->flushed == NULL) {
        return;
    }
    for (size_t i = 0; i < store->tracks_count; i++) {
        struct offset_track *track = store->tracks[i];
        step(track, true);
        if (track->busy) {
            return;
        }
    }
    flush_over(store, store->ready);
}

static void flush_late(void *arg) { flush_over(arg, false); }

void offset_store_flush(struct offset_store *store, int32_t timeout_ms, void (*done)(void *arg, bool all), void *arg)
{
    store->flushed = done;
    store->flushed_arg = arg;
    if (store->flush_timer == NULL) {
        store->flush_timer = loop_timer_new(store->loop, flush_late, store);
    }
    loop_timer_set(store->flush_timer, timeout_ms);
    look_at_flush(store);
}

/* --- a target that was truncated ---------------------------------------------------------------------------------- */

struct floor_call {
    struct offset_store *store;
    char *topic;
    int32_t partition;
    struct checkpoint end;
    int64_t target_offset;
    void (*found)(void *arg, bool found, struct offset_run run, const struct err *err);
    void (*cut)(void *arg, bool ok, const struct err *err);
    void *arg;
};

static struct floor_call *floor_call_new(struct offset_store *store, const char *topic, int32_t partition,
                                         const struct checkpoint *end, int64_t target_offset, void *arg)
{
    struct floor_call *made = must(calloc(1, sizeof(*made)));
    *made = (struct floor_call){.store = store, .topic = copy(topic), .partition = partition, .end = *end,
                                .target_offset = target_offset, .arg = arg};
    return made;
}

static void floor_call_free(struct floor_call *made)
{
    free(made->topic);
    free(made);
}

static void ask_floor(struct floor_call *made, redis_reply_fn *done)
{
    struct arguments arguments = {0};
    char incarnation[INCARNATION_BYTES];
    char offset[24];
    put_take(&arguments, offset_map_key(made->store->base, made->topic, made->partition,
                                        checkpoint_incarnation(&made->end, incarnation)));
    put_text(&arguments, "target");
    snprintf(offset, sizeof(offset), "%lld", (long long)made->target_offset);
    put_text(&arguments, offset);
    call(made->store, &offset_script_floor, 1, &arguments, done, made);
}

/* The last run of an entry that begins at or before the offset; closed by the entry behind it or by the end. */
static bool run_at(const struct offset_stored_entry *floor, const struct offset_stored_entry *next,
                   const struct floor_call *made, struct offset_run *out)
{
    size_t at = 0;
    while (at < floor->runs_count && floor->runs[at].target_first <= made->target_offset) {
        at++;
    }
    if (at == 0) {
        return false;
    }
    *out = floor->runs[at - 1];
    if (at == floor->runs_count) {
        int64_t by_source = made->end.source_next - out->source_first;
        int64_t by_target = made->end.target_next - out->target_first;
        if (next->there) {
            by_source = next->runs[0].source_first - next->source_gap - out->source_first;
            by_target = next->runs[0].target_first - next->target_gap - out->target_first;
        }
        out->length = by_source < by_target ? by_source : by_target;
    }
    return out->length > 0;
}

static bool parse_floor(const redisReply *reply, struct offset_stored_entry *floor, struct offset_stored_entry *next,
                        struct offset_place *floor_id, struct err *err)
{
    struct offset_place next_id;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) {
        return err_set(err, ERR_REFUSED, "Redis answers in a strange form");
    }
    return offset_entry_reply(reply->element[0], floor, floor_id, err) &&
           offset_entry_reply(reply->element[1], next, &next_id, err);
}

static void floor_told(void *arg, const redisReply *reply, const struct err *err)
{
    struct floor_call *made = arg;
    struct offset_stored_entry floor;
    struct offset_stored_entry next;
    struct offset_place id;
    struct offset_run run = {0};
    struct err why = err == NULL ? (struct err){0} : *err;
    bool found = reply != NULL && parse_floor(reply, &floor, &next, &id, &why) && floor.there &&
                 run_at(&floor, &next, made, &run);
    made->found(made->arg, found, run, found ? NULL : &why);
    floor_call_free(made);
}

void offset_store_floor_target(struct offset_store *store, const char *topic, int32_t partition,
                               const struct checkpoint *end, int64_t target_offset,
                               void (*done)(void *arg, bool found, struct offset_run run, const struct err *err),
                               void *arg)
{
    struct floor_call *made = floor_call_new(store, topic, partition, end, target_offset, arg);
    made->found = done;
    ask_floor(made, floor_told);
}

static void cut_told(void *arg, const redisReply *reply, const struct err *err)
{
    struct floor_call *made = arg;
    made->cut(made->arg, reply != NULL, err);
    floor_call_free(made);
}

/* What is left of the entry that straddles the place: runs that begin before it, the last one ending there. */
static size_t shortened(const struct offset_stored_entry *floor, const struct floor_call *made)
{
    size_t count = 0;
    while (count < floor->runs_count && floor->runs[count].target_first < made->end.target_next) {
        count++;
    }
    return count;
}

/* The index's `first` is the one that is stored, if any (the script keeps it). */
static void send_cut(struct floor_call *made, const struct offset_stored_entry *floor, const struct offset_place *id)
{
    struct arguments arguments = {0};
    char incarnation[INCARNATION_BYTES];
    char text[CHECKPOINT_TEXT_BYTES];
    char index_text[INDEX_TEXT_BYTES];
    char id_text[48] = "";
    struct offset_entry entry = {0};
    const struct checkpoint *to = &made->end;
    struct offset_place end = {to->source_next, to->target_next};
    struct offset_index index = {.first = end, .next = end, .run_end = OFFSET_PLACE_NONE, .top = OFFSET_PLACE_NONE};
    size_t count = floor->there ? shortened(floor, made) : 0;
    if (count > 0) {
        struct offset_place before = {floor->runs[0].source_first - floor->source_gap,
                                      floor->runs[0].target_first - floor->target_gap};
        const struct offset_run *last = &floor->runs[count - 1];
        int64_t length = last->length > 0 && count < floor->runs_count ? last->length : end.target - last->target_first;
        offset_entry_pack(&entry, before.source, before.target, floor->runs, count);
        snprintf(id_text, sizeof(id_text), "%lld-%lld", (long long)id->source, (long long)id->target);
        index.run_end = (struct offset_place){last->source_first + length, last->target_first + length};
        index.top = *id;
    }
    put_keys(&arguments, made->store, made->topic, made->partition, checkpoint_incarnation(to, incarnation));
    put_text(&arguments, checkpoint_text(to, text));
    put_text(&arguments, offset_index_text(&index, index_text));
    put_text(&arguments, id_text);
    put(&arguments, (const char *)entry.packed, entry.packed_len);
    call(made->store, &offset_script_cut, 4, &arguments, cut_told, made);
}

static void cut_floor_told(void *arg, const redisReply *reply, const struct err *err)
{
    struct floor_call *made = arg;
    struct offset_stored_entry floor;
    struct offset_stored_entry next;
    struct offset_place id;
    struct err why = err == NULL ? (struct err){0} : *err;
    if (reply == NULL || !parse_floor(reply, &floor, &next, &id, &why)) {
        made->cut(made->arg, false, &why);
        floor_call_free(made);
        return;
    }
    send_cut(made, &floor, &id);
}

void offset_store_cut(struct offset_store *store, const char *topic, int32_t partition, const struct checkpoint *to,
                      const char *why, void (*done)(void *arg, bool ok, const struct err *err), void *arg)
{
    /* The last record that stays: everything behind it goes. */
    struct floor_call *made = floor_call_new(store, topic, partition, to, to->target_next - 1, arg);
    made->cut = done;
    log_warn("map.cut", "topic=%s partition=%d source_next=%lld target_next=%lld why=%s doing=\"mirroring it again\"",
             topic, partition, (long long)to->source_next, (long long)to->target_next, log_quote(why).text);
    ask_floor(made, cut_floor_told);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

static void event_told(void *arg, const redisReply *reply, const struct err *err)
{
    (void)arg;
    (void)reply;
    (void)err; /* the log line stays */
}

void offset_store_event(struct offset_store *store, const char *kind, const char *topic, int32_t partition,
                        const char *json_detail)
{
    char number[16];
    char when[CLOCK_TEXT_BYTES];
    if (store->redis == NULL || !store->ready) {
        return;
    }
    snprintf(number, sizeof(number), "%d", partition);
    clock_rfc3339(clock_wall_ms(loop_clock(store->loop)), when);
    const char *argv[] = {"XADD", store->events_key, "MAXLEN", "~",     EVENTS_KEPT, "*",      "kind", kind, "topic",
                          topic,  "partition",       number,   "detail", json_detail, "time", when};
    redis_call(store->redis, (int)(sizeof(argv) / sizeof(argv[0])), argv, NULL, event_told, NULL);
}
