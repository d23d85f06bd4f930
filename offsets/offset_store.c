#include "offsets/offset_store.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/log.h"
#include "offsets/offset_inside.h"

#define EVENTS_KEPT "10000"
/* Places of some 90 bytes, read at each `ferry status`. */
#define REPEATED_MAX  "1000"
#define REPEATED_KEPT "500"
#define SCHEMA        "1"
#define CHECK_MS      5000 /* a Redis may be flushed, or told to evict, at any time */
#define AGAIN_MS      1000 /* one in trouble may be well at any time */

/* The door knows first that Redis went: it fails the calls in flight before it tells. */
bool offset_store_usable(const struct offset_store *store, struct err *err)
{
    if (store->redis == NULL) {
        return err_set(err, ERR_RETRY, "the site has no Redis");
    }
    if (store->refused.kind != ERR_NONE) {
        return err_set(err, ERR_RETRY, "%s", store->refused.what);
    }
    if (store->refused_now.kind != ERR_NONE) {
        return err_set(err, ERR_RETRY, "%s", store->refused_now.what);
    }
    if (!store->ready || store->closing || redis_state(store->redis) != REDIS_READY) {
        return err_set(err, ERR_RETRY, "Redis is away");
    }
    return true;
}

void offset_store_call(struct offset_store *store, struct redis_script *script, int keys_count,
                       struct script_arguments *take_arguments, redis_reply_fn *done, void *arg)
{
    /* What is sent is copied; a `const` that C does not add by itself. */
    const char **argv = (const char **)(uintptr_t)take_arguments->argv;
    redis_call_script(store->redis, script, keys_count, take_arguments->count, argv,
                      take_arguments->lens, done, arg);
    script_arguments_done(take_arguments);
}

/* --- whose Redis it is -------------------------------------------------------------------------------------------- */

static void become(struct offset_store *store, bool ready, const struct err *why)
{
    bool was_ready = store->ready;
    store->ready = ready;
    store->refused = store->refused_now = (struct err){0};
    if (ready && was_ready) {
        return;
    }
    for (size_t i = 0; i < store->tracks_count; i++) {
        offset_track_doubt(store->tracks[i]);
    }
    store->callbacks.state(store->callbacks.arg, ready, why);
}

static void refuse(struct offset_store *store, struct err *why)
{
    bool told = !store->ready && strcmp(store->refused.what, why->what) == 0;
    why->kind = ERR_REFUSED;
    if (!told) {
        become(store, false, why);
    }
    store->refused = *why;
}

/* No answer: asked again by the tick, or when it is back. An error reply: it is there, and in trouble; its disk or its memory is
 * full, it is a replica now, reads its file, a script keeps it busy, another node has our keys. */
static void not_now(struct offset_store *store, const struct err *why)
{
    bool told = !store->ready && strcmp(store->refused_now.what, why->what) == 0;
    if (why->code == REDIS_SAYS && !told) {
        become(store, false, why);
        store->refused_now = *why;
    }
}

/* "volatile-..." takes keys that were given an end alone; ours have none. */
static bool policy_evicts(const char *info, char out_policy[32])
{
    const char *line = strstr(info, "\nmaxmemory_policy:");
    size_t len = line == NULL ? 0 : strcspn(line + strlen("\nmaxmemory_policy:"), "\r\n");
    snprintf(out_policy, 32, "%.*s", (int)(len < 31 ? len : 31),
             line == NULL ? "" : line + strlen("\nmaxmemory_policy:"));
    return strncmp(out_policy, "allkeys-", strlen("allkeys-")) == 0;
}

static void policy_told(void *arg, const redisReply *reply, const struct err *err)
{
    struct offset_store *store = arg;
    char policy[32];
    store->greeting = false;
    if (reply == NULL && err->kind == ERR_RETRY) {
        not_now(store, err);
        return;
    }
    if (reply != NULL && reply->type == REDIS_REPLY_STRING && policy_evicts(reply->str, policy)) {
        struct err why = {0};
        err_set(&why, ERR_REFUSED,
                "Redis may evict keys (maxmemory-policy %s): a map with holes would be wrong",
                policy);
        err_hint(&why, "CONFIG SET maxmemory-policy noeviction");
        refuse(store, &why);
        return;
    }
    if (reply == NULL && !store->policy_hidden) {
        store->policy_hidden = true;
        log_warn("map.policy_unknown",
                 "why=%s doing=\"going on; see to it that maxmemory-policy is noeviction\"",
                 log_quote(err->what).text);
    }
    become(store, true, NULL);
}

static void refuse_other(struct offset_store *store, const char *field, const char *there)
{
    struct err why = {0};
    if (strcmp(field, "schema") == 0) {
        err_set(&why, ERR_REFUSED, "%s: schema is %s, this ferry knows %s", store->meta_key, there,
                SCHEMA);
        err_hint(&why, "a newer ferry wrote it: update this one, or give this one a prefix");
    } else {
        err_set(&why, ERR_REFUSED, "%s belongs to another installation: %s is %s", store->meta_key,
                field, there);
        err_hint(&why, "another deployment or service of this name uses this Redis: give this one "
                       "a prefix");
    }
    refuse(store, &why);
}

static void meta_told(void *arg, const redisReply *reply, const struct err *err)
{
    static const char *const ask_policy[] = {"INFO", "memory"};
    struct offset_store *store = arg;
    if (reply == NULL) {
        store->greeting = false;
        if (err->kind == ERR_REFUSED) {
            struct err why = *err;
            err_wrap(&why, "%s", store->meta_key);
            refuse(store, &why);
        } else {
            not_now(store, err);
        }
        return;
    }
    if (script_text(reply, 0) != NULL && script_text(reply, 1) != NULL) {
        store->greeting = false;
        refuse_other(store, script_text(reply, 0), script_text(reply, 1));
        return;
    }
    redis_call(store->redis, 2, (const char **)(uintptr_t)ask_policy, NULL, policy_told, store);
}

static void put_meta(struct script_arguments *arguments, const struct offset_store *store)
{
    const struct offset_store_options *options = &store->options;
    script_put_text(arguments, "schema");
    script_put_text(arguments, SCHEMA);
    script_put_text(arguments, "deployment");
    script_put_text(arguments, options->deployment);
    script_put_format(arguments, "cluster:%s", options->from);
    script_put_text(arguments, options->source_cluster_id);
    script_put_format(arguments, "cluster:%s", options->to);
    script_put_text(arguments, options->target_cluster_id);
}

void offset_store_greet(struct offset_store *store)
{
    struct script_arguments arguments = {0};
    if (store->greeting) {
        return;
    }
    store->greeting = true;
    store->greeted_ms = loop_now_ms(store->loop);
    script_put_text(&arguments, store->meta_key);
    put_meta(&arguments, store);
    offset_store_call(store, &offset_script_meta, 1, &arguments, meta_told, store);
}

void offset_store_redis_changed(struct offset_store *store, enum redis_state state,
                                const struct err *why)
{
    if (store->closing || store->redis == NULL) {
        return;
    }
    if (state == REDIS_READY) {
        offset_store_greet(store);
    } else if (store->ready || why != NULL) {
        become(store, false, why);
    }
}

/* --- the store ---------------------------------------------------------------------------------------------------- */

static void tick(void *arg)
{
    struct offset_store *store = arg;
    int64_t every_ms = store->refused_now.kind == ERR_NONE ? CHECK_MS : AGAIN_MS;
    if (store->redis != NULL && redis_state(store->redis) == REDIS_READY &&
        loop_now_ms(store->loop) - store->greeted_ms >= every_ms) {
        offset_store_greet(store);
    }
    for (size_t i = 0; i < store->tracks_count; i++) {
        offset_track_step(store->tracks[i], store->flushed != NULL || store->tracks[i]->dead);
    }
    offset_tracks_sweep(store);
    loop_timer_set(store->tick, store->options.interval_ms);
    offset_store_look_at_flush(store);
}

static void flush_over(struct offset_store *store, bool all)
{
    void (*done)(void *arg, bool all) = store->flushed;
    store->flushed = NULL;
    loop_timer_cancel(store->flush_timer);
    if (done != NULL) {
        done(store->flushed_arg, all);
    }
}

static void flush_late(void *arg)
{
    flush_over(arg, false);
}

struct offset_store *offset_store_new(struct loop *loop, struct redis *redis,
                                      const struct offset_store_options *options,
                                      const struct offset_store_callbacks *callbacks)
{
    struct offset_store *store = must(calloc(1, sizeof(*store)));
    store->loop = loop;
    store->redis = redis;
    store->options = (struct offset_store_options){
        .deployment = must_copy(options->deployment),
        .from = must_copy(options->from),
        .to = must_copy(options->to),
        .source_cluster_id = must_copy(options->source_cluster_id),
        .target_cluster_id = must_copy(options->target_cluster_id),
        .map_memory_bytes = options->map_memory_bytes,
        .interval_ms = options->interval_ms,
    };
    store->callbacks = *callbacks;
    store->base = offset_base_key(options->prefix, options->service, options->from, options->to);
    store->meta_key = offset_print("%s{%s}:meta", options->prefix, options->service);
    store->events_key = offset_print("%s{%s}:events", options->prefix, options->service);
    offset_totals_init(&store->totals);
    store->tick = loop_timer_new(loop, tick, store);
    store->flush_timer = loop_timer_new(loop, flush_late, store);
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
    offset_tracks_destroy(store);
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

const struct offset_counters *offset_store_counters(const struct offset_store *store)
{
    return &store->counters;
}

bool offset_store_ready(const struct offset_store *store)
{
    return store->ready;
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

struct load {
    char *key;
    char *field;
    void (*done)(void *arg, enum offset_loaded what, const struct checkpoint *checkpoint,
                 const struct err *err);
    void *arg;
};

static void load_over(struct load *load, enum offset_loaded what,
                      const struct checkpoint *checkpoint, const struct err *err)
{
    load->done(load->arg, what, checkpoint, err);
    free(load->key);
    free(load->field);
    free(load);
}

static void loaded(void *arg, const redisReply *reply, const struct err *err)
{
    struct load *load = arg;
    struct checkpoint checkpoint;
    struct err why = {0};
    if (reply == NULL) {
        why = *err;
        err_wrap(&why, "%s, field %s", load->key, load->field);
        load_over(load, err->kind == ERR_REFUSED ? LOADED_REFUSED : LOADED_AWAY, NULL, &why);
        return;
    }
    if (script_text(reply, 0) == NULL || reply->elements != 1) { /* the store says more about it */
        err_set(&why, ERR_RETRY, "this Redis belongs to another installation");
        load_over(load, LOADED_AWAY, NULL, &why);
        return;
    }
    const redisReply *text = reply->element[0];
    if (text->len == 0) {
        load_over(load, LOADED_MISSING, NULL, NULL);
    } else if (checkpoint_parse(text->str, text->len, &checkpoint, &why)) {
        load_over(load, LOADED_FOUND, &checkpoint, NULL);
    } else {
        err_wrap(&why, "%s, field %s", load->key, load->field);
        err_hint(&why, "HDEL '%s' '%s'", load->key, load->field);
        load_over(load, LOADED_REFUSED, NULL, &why);
    }
}

/* Not only when the store is ready: whose Redis it is, is asked along. */
void offset_store_load(struct offset_store *store, const char *topic, int32_t partition,
                       void (*done)(void *arg, enum offset_loaded what,
                                    const struct checkpoint *checkpoint, const struct err *err),
                       void *arg)
{
    struct err why = {0};
    if (store->redis == NULL || store->refused.kind != ERR_NONE) {
        (void)!offset_store_usable(store, &why);
        done(arg, LOADED_AWAY, NULL, &why);
        return;
    }
    struct script_arguments arguments = {0};
    struct load *load = must(calloc(1, sizeof(*load)));
    *load = (struct load){.key = offset_print("%s:checkpoints", store->base),
                          .field = offset_print("%s:%d", topic, partition),
                          .done = done,
                          .arg = arg};
    script_put_text(&arguments, store->meta_key);
    script_put_text(&arguments, load->key);
    script_put_text(&arguments, load->field);
    put_meta(&arguments, store);
    offset_store_call(store, &offset_script_load, 2, &arguments, loaded, load);
}

/* --- flush -------------------------------------------------------------------------------------------------------- */

void offset_store_look_at_flush(struct offset_store *store)
{
    bool all = true;
    if (store->flushed == NULL) {
        return;
    }
    for (size_t i = 0; i < store->tracks_count; i++) {
        const struct offset_track *track = store->tracks[i];
        bool may = offset_track_waits(track) && offset_store_usable(store, NULL) &&
                   track->refused_until_ms == 0;
        if (track->busy || may) {
            return;
        }
        all = all && !offset_backlog_pending(&track->backlog);
    }
    flush_over(store, all);
}

void offset_store_flush(struct offset_store *store, int32_t timeout_ms,
                        void (*done)(void *arg, bool all), void *arg)
{
    flush_over(store, false); /* whoever asked before */
    store->flushed = done;
    store->flushed_arg = arg;
    loop_timer_set(store->flush_timer, timeout_ms);
    for (size_t i = 0; i < store->tracks_count; i++) {
        offset_track_step(store->tracks[i], true);
    }
    offset_store_look_at_flush(store);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

static void event_told(void *arg, const redisReply *reply, const struct err *err)
{
    (void)arg;
    (void)reply;
    (void)err; /* the log line stays */
}

void offset_store_repeated(struct offset_store *store, const char *topic, int32_t partition,
                           int64_t target_from, int64_t count)
{
    char when[CLOCK_TEXT_BYTES];
    if (store->redis == NULL || !store->ready) {
        return;
    }
    clock_rfc3339(clock_wall_ms(loop_clock(store->loop)), when);
    char *key = offset_print("%s:repeated", store->base);
    char *field = offset_print("%s:%d:%lld", topic, partition, (long long)target_from);
    char *value = offset_print("{\"records\": %lld, \"time\": \"%s\"}", (long long)count, when);
    const char *argv[] = {key, field, value, REPEATED_MAX, REPEATED_KEPT};
    redis_call_script(store->redis, &offset_script_repeated, 1, 5, argv, NULL, event_told, NULL);
    free(key);
    free(field);
    free(value);
}

void offset_store_event(struct offset_store *store, const char *kind, const char *topic,
                        int32_t partition, const char *json_detail)
{
    char number[16];
    char when[CLOCK_TEXT_BYTES];
    if (store->redis == NULL || !store->ready) {
        return;
    }
    snprintf(number, sizeof(number), "%d", partition);
    clock_rfc3339(clock_wall_ms(loop_clock(store->loop)), when);
    const char *argv[] = {
        "XADD", store->events_key, "MAXLEN", "~",      EVENTS_KEPT, "*",    "kind", kind, "topic",
        topic,  "partition",       number,   "detail", json_detail, "time", when};
    redis_call(store->redis, (int)(sizeof(argv) / sizeof(argv[0])), argv, NULL, event_told, NULL);
}
