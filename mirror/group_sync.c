/* One thread, one mutex. The link's thread leaves wishes in `shared` and wakes the other one by a post to its loop; reports come
 * back as posts to the link's loop. What is in `term` belongs to the group thread and lives as long as we are the keeper.
 */
#include "mirror/group_sync.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/log.h"
#include "mirror/doors.h"

#define ROUND_MS            1000
#define REST_MS             100 /* at least, between two rounds */
#define OPEN_MS             3000
#define LOOK_MS             20
#define FRESH_MS            1000
#define WAIT_MS             2000 /* for a connection to one broker */
#define REQUEST_MS          5000
#define REFRESH_MS          2000
#define TCP_USER_TIMEOUT_MS 3000
#define ANSWER_BYTES_MAX    (64 << 20) /* 500 groups of 50 partitions take about 1 MB */
#define NOTES_MAX           50

struct names {
    char **names;
    size_t count;
};

struct shared { /* under the mutex */
    int64_t until_ms;
    int64_t read_ms;
    bool may;
    uint64_t term;                        /* counts ownerships */
    const struct config_service *service; /* read again; NULL = nothing new */
    bool has_topics;
    struct names topics; /* new ones, with has_topics */
    int32_t refs_count;  /* the owner and each post under way */
};

struct term { /* the group thread's, while we are the keeper */
    struct group_end source;
    struct group_end target;
    struct redis *redis;
    struct group_table *table;
    struct group_round *round;
    int64_t opened_ms;
    int64_t began_ms; /* the round */
};

struct group_sync {
    struct loop *loop; /* the link's */
    struct group_sync_options options;
    struct group_sync_callbacks callbacks;
    bool closed; /* link's thread: posts that still come are dropped */
    bool started;
    pthread_t thread;
    pthread_mutex_t mutex;
    struct shared shared;
    struct loop *own; /* the group thread's */
    /* the group thread's */
    struct term *term;
    uint64_t term_number;
    const struct config_service *service;
    struct names topics;
    int64_t
        write_until_ms; /* no commit's bytes leave later: conn_options.produce_until_ms of the target */
    struct loop_timer *turn;
    struct group_totals totals; /* of earlier terms */
};

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->names[i]);
    }
    free(names->names);
    *names = (struct names){0};
}

static struct names names_copy(const char *const *from, size_t count)
{
    struct names names = {.names = must(calloc(count + 1, sizeof(char *))), .count = count};
    for (size_t i = 0; i < count; i++) {
        names.names[i] = must(strdup(from[i]));
    }
    return names;
}

/* --- posts to the link's loop ------------------------------------------------------------------------------------- */

struct post {
    struct group_sync *sync;
    struct group_report report;
};

static void sync_unref(struct group_sync *sync)
{
    pthread_mutex_lock(&sync->mutex);
    bool last = --sync->shared.refs_count == 0;
    pthread_mutex_unlock(&sync->mutex);
    if (last) {
        pthread_mutex_destroy(&sync->mutex);
        free(sync);
    }
}

static void post_arrived(void *arg)
{
    struct post *post = arg;
    struct group_sync *sync = post->sync;
    if (!sync->closed) {
        sync->callbacks.reported(sync->callbacks.arg, &post->report);
    }
    json_decref(post->report.notes);
    free(post);
    sync_unref(sync);
}

/* --- the report --------------------------------------------------------------------------------------------------- */

static void note_kind(const struct group *group, json_t *list)
{
    if (json_array_size(list) < NOTES_MAX) {
        json_array_append_new(
            list, json_pack("{ssss}", "group", group->name, "kind", group_kind_name(group->kind)));
    }
}

static void note_held(const struct group *group, json_t *held)
{
    if (group->entries_count == 0 || group->told == GROUP_FREE || group->told == GROUP_OFF ||
        json_array_size(held) >= NOTES_MAX) {
        return;
    }
    json_array_append_new(held, json_pack("{ssssss}", "group", group->name, "why",
                                          group_hold_name(group->told), "detail", group->refused));
}

static json_t *notes(const struct group_table *table)
{
    json_t *not_carried = json_array();
    json_t *offsets_alone = json_array(); /* what such a group keeps besides is not */
    json_t *held = json_array();
    for (size_t i = 0; i < table->groups_count; i++) {
        const struct group *group = table->groups[i];
        if (group->at_source && !group_kind_carried(group->kind)) {
            note_kind(group, not_carried);
            continue;
        }
        if (group->at_source && group->kind == GROUP_STREAMS) {
            note_kind(group, offsets_alone);
        }
        note_held(group, held);
    }
    return json_pack("{sososo}", "not_carried", not_carried, "offsets_alone", offsets_alone, "held",
                     held);
}

static void add_totals(struct group_totals *to, const struct group_totals *more)
{
    to->rounds += more->rounds;
    to->commits += more->commits;
    to->refused += more->refused;
    to->stored += more->stored;
    to->lookups += more->lookups;
}

static void report(struct group_sync *sync, const struct err *err)
{
    struct term *term = sync->term;
    struct post *post = must(calloc(1, sizeof(*post)));
    post->sync = sync;
    if (err != NULL) {
        post->report.err = *err;
    }
    post->report.began_ms = term->began_ms;
    post->report.done_ms = loop_now_ms(sync->own);
    post->report.totals = sync->totals;
    add_totals(&post->report.totals, group_round_totals(term->round));
    post->report.dropped = term->table->dropped;
    group_table_count(term->table, &post->report.counts);
    post->report.notes = notes(term->table);
    pthread_mutex_lock(&sync->mutex);
    sync->shared.refs_count++;
    pthread_mutex_unlock(&sync->mutex);
    loop_post(sync->loop, post_arrived, post);
}

/* --- terms -------------------------------------------------------------------------------------------------------- */

static bool may(void *arg, struct err *err)
{
    struct group_sync *sync = arg;
    int64_t now_ms = loop_now_ms(sync->own);
    pthread_mutex_lock(&sync->mutex);
    struct shared shared = sync->shared;
    pthread_mutex_unlock(&sync->mutex);
    sync->write_until_ms = shared.may ? shared.until_ms : 0;
    if (shared.term != sync->term_number || now_ms >= shared.until_ms) {
        return err_set(err, ERR_REFUSED, "not the keeper any more");
    }
    if (now_ms - shared.read_ms >= FRESH_MS) {
        return err_set(err, ERR_RETRY, "the control topic was not read lately");
    }
    return shared.may ||
           err_set(err, ERR_REFUSED, "an operation is at work, or the role is another's");
}

static void round_done(void *arg, const struct err *err)
{
    struct group_sync *sync = arg;
    struct term *term = sync->term;
    int64_t took_ms = loop_now_ms(sync->own) - term->began_ms;
    report(sync, err);
    loop_timer_set(sync->turn, took_ms + REST_MS < ROUND_MS ? ROUND_MS - took_ms : REST_MS);
}

static void redis_changed(void *arg, enum redis_state state, const struct err *why)
{
    (void)arg; /* the round's calls fail, and say so */
    (void)state;
    (void)why;
}

/* @param until_ms  see conn_options; NULL = we write nothing there */
static struct group_end open_end(struct group_sync *sync, const struct config_site *site,
                                 const int64_t *until_ms)
{
    static const struct broker_asks_options asks = {.wait_ms = WAIT_MS, .request_ms = REQUEST_MS};
    const struct cluster_options options = {.name = site->name,
                                            .client = &site->kafka,
                                            .refresh_ms = REFRESH_MS,
                                            .tcp_user_timeout_ms = TCP_USER_TIMEOUT_MS,
                                            .max_answer_bytes = ANSWER_BYTES_MAX,
                                            .produce_until_ms = until_ms};
    struct cluster *cluster = cluster_new(sync->own, &options);
    return (struct group_end){
        .site = site->name, .cluster = cluster, .asks = broker_asks_new(sync->own, cluster, &asks)};
}

static void take_topics(struct group_sync *sync)
{
    struct term *term = sync->term;
    const char *const *names = (const char *const *)sync->topics.names;
    static const char *const none[] = {NULL};
    group_table_topics(term->table, names, sync->topics.count);
    cluster_follow(term->source.cluster, sync->topics.count == 0 ? none : names,
                   (int32_t)sync->topics.count);
    cluster_follow(term->target.cluster, sync->topics.count == 0 ? none : names,
                   (int32_t)sync->topics.count);
}

/* false: it is tried again. */
static bool term_begin(struct group_sync *sync)
{
    struct err err = {0};
    struct redis *redis = doors_redis(sync->own, sync->options.to, redis_changed, sync, &err);
    if (redis == NULL) {
        log_warn("groups.redis_failed", "site=%s why=%s doing=\"trying again\"",
                 sync->options.to->name, log_quote(err.what).text);
        return false;
    }
    struct term *term = must(calloc(1, sizeof(*term)));
    sync->term = term;
    term->redis = redis;
    term->source = open_end(sync, sync->options.from, NULL);
    term->target = open_end(sync, sync->options.to, &sync->write_until_ms);
    term->table = group_table_new();
    term->opened_ms = loop_now_ms(sync->own);
    const struct group_round_options options = {.loop = sync->own,
                                                .service = sync->service,
                                                .deployment = sync->options.config->deployment,
                                                .prefix = sync->options.to->redis->prefix,
                                                .source = term->source,
                                                .target = term->target,
                                                .redis = term->redis,
                                                .table = term->table,
                                                .may = may,
                                                .done = round_done,
                                                .arg = sync};
    term->round = group_round_new(&options);
    take_topics(sync);
    return true;
}

static void term_end(struct group_sync *sync)
{
    struct term *term = sync->term;
    if (term == NULL) {
        return;
    }
    group_round_stop(term->round);
    broker_asks_free(term->source.asks);
    broker_asks_free(term->target.asks);
    redis_free(term->redis);
    cluster_free(term->source.cluster);
    cluster_free(term->target.cluster);
    add_totals(&sync->totals, group_round_totals(term->round));
    group_round_free(term->round);
    group_table_free(term->table);
    free(term);
    sync->term = NULL;
}

/* What the link left for us. @return are we the keeper? */
static bool take_wishes(struct group_sync *sync)
{
    struct shared *shared = &sync->shared;
    struct names topics = {0};
    bool has_topics = false;
    bool idle = sync->term == NULL || !group_round_busy(sync->term->round);
    pthread_mutex_lock(&sync->mutex);
    bool ours = loop_now_ms(sync->own) < shared->until_ms;
    sync->write_until_ms = shared->may ? shared->until_ms : 0;
    uint64_t number = shared->term;
    const struct config_service *before = NULL;
    if (idle && shared->service != NULL) {
        before = sync->service;
        sync->service = shared->service;
        shared->service = NULL;
    }
    if (idle && shared->has_topics) {
        topics = shared->topics;
        shared->topics = (struct names){0};
        shared->has_topics = false;
        has_topics = true;
    }
    pthread_mutex_unlock(&sync->mutex);
    if (before != NULL && sync->term != NULL) {
        group_round_service(sync->term->round, sync->service);
    }
    if (before != NULL) {
        config_free(before->config);
    }
    if (has_topics) {
        names_free(&sync->topics);
        sync->topics = topics;
    }
    if (has_topics && sync->term != NULL) {
        take_topics(sync);
    }
    if (!ours || number != sync->term_number) { /* another may have been the keeper in between */
        term_end(sync);
    }
    sync->term_number = number;
    return ours;
}

/* A term that has just begun connects first; later a round says what is away. */
static bool doors_open(struct group_sync *sync)
{
    const struct term *term = sync->term;
    bool young = loop_now_ms(sync->own) - term->opened_ms < OPEN_MS;
    bool open = redis_state(term->redis) == REDIS_READY &&
                cluster_id(term->source.cluster)[0] != '\0' &&
                cluster_id(term->target.cluster)[0] != '\0';
    return open || !young;
}

static void turn(void *arg)
{
    struct group_sync *sync = arg;
    bool ours = take_wishes(sync);
    bool wanted = ours && sync->service->groups.include_count > 0;
    if (!wanted) {
        term_end(sync);
        loop_timer_set(sync->turn, ROUND_MS);
        return;
    }
    if (sync->term == NULL && !term_begin(sync)) {
        loop_timer_set(sync->turn, ROUND_MS);
        return;
    }
    if (!doors_open(sync)) {
        loop_timer_set(sync->turn, LOOK_MS);
        return;
    }
    if (!group_round_busy(sync->term->round)) {
        sync->term->began_ms = loop_now_ms(sync->own);
        group_round_start(sync->term->round); /* its end sets the timer */
    }
}

static void woken(void *arg)
{
    struct group_sync *sync = arg;
    if (sync->term == NULL || !group_round_busy(sync->term->round)) {
        take_wishes(sync);
    }
}

static void asked_to_stop(void *arg)
{
    loop_stop(((struct group_sync *)arg)->own);
}

static void *group_thread(void *arg)
{
    struct group_sync *sync = arg;
    sync->turn = loop_timer_new(sync->own, turn, sync);
    loop_timer_set(sync->turn, 0);
    loop_run(sync->own);
    loop_timer_free(sync->turn);
    term_end(sync);
    names_free(&sync->topics);
    return NULL;
}

/* --- the link's side ---------------------------------------------------------------------------------------------- */

/* Signals are the link's loop's. */
static void thread_start(struct group_sync *sync)
{
    sigset_t all;
    sigset_t before;
    sync->started = true;
    sync->own = loop_new(loop_clock(sync->loop));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&sync->thread, NULL, group_thread, sync);
    assert(rc == 0); /* once a link; without threads nothing works here */
    (void)rc;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct group_sync *group_sync_new(struct loop *loop, const struct group_sync_options *options,
                                  const struct group_sync_callbacks *callbacks)
{
    struct group_sync *sync = must(calloc(1, sizeof(*sync)));
    sync->loop = loop;
    sync->options = *options;
    sync->callbacks = *callbacks;
    sync->service = options->service;
    config_ref(options->service->config);
    sync->shared.refs_count = 1;
    pthread_mutex_init(&sync->mutex, NULL);
    return sync;
}

void group_sync_free(struct group_sync *sync)
{
    if (sync == NULL) {
        return;
    }
    if (sync->started) {
        loop_post(sync->own, asked_to_stop, sync);
        pthread_join(sync->thread, NULL);
        loop_free(sync->own);
    }
    sync->closed = true;
    names_free(&sync->shared.topics);
    if (sync->shared.service != NULL) {
        config_free(sync->shared.service->config);
    }
    config_free(sync->service->config);
    sync_unref(sync);
}

void group_sync_reload(struct group_sync *sync, const struct config_service *service)
{
    config_ref(service->config);
    pthread_mutex_lock(&sync->mutex);
    const struct config_service *before = sync->shared.service; /* that no turn has seen */
    sync->shared.service = service;
    pthread_mutex_unlock(&sync->mutex);
    if (before != NULL) {
        config_free(before->config);
    }
}

void group_sync_act(struct group_sync *sync, int64_t until_ms)
{
    struct shared *shared = &sync->shared;
    pthread_mutex_lock(&sync->mutex);
    if (until_ms > 0 && shared->until_ms <= loop_now_ms(sync->loop)) {
        shared->term++;
    }
    bool lost = until_ms == 0 && shared->until_ms != 0;
    shared->until_ms = until_ms;
    pthread_mutex_unlock(&sync->mutex);
    if (!sync->started && until_ms > 0) {
        thread_start(sync);
    } else if (sync->started && lost) {
        loop_post(sync->own, woken, sync);
    }
}

void group_sync_control(struct group_sync *sync, int64_t read_ms, bool allowed)
{
    pthread_mutex_lock(&sync->mutex);
    sync->shared.read_ms = read_ms;
    sync->shared.may = allowed;
    pthread_mutex_unlock(&sync->mutex);
}

void group_sync_topics(struct group_sync *sync, const char *const *names, size_t count)
{
    struct names copy = names_copy(names, count);
    pthread_mutex_lock(&sync->mutex);
    struct names before = sync->shared.topics;
    sync->shared.topics = copy;
    sync->shared.has_topics = true;
    pthread_mutex_unlock(&sync->mutex);
    names_free(&before);
}
