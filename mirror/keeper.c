/* One thread, one mutex. The loop's thread leaves wishes and views in `shared`; the keeper's thread takes them, acts
 * without the mutex, and posts what came of it. Everything outside `shared` belongs to the keeper's thread.
 */
#include "mirror/keeper.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/heap.h"
#include "base/json.h"
#include "base/log.h"
#include "kafka/error.h"
#include "mirror/streams.h"

#define ADMIN_TIMEOUT_MS \
    5000 /* of each call: below the send deadline of 6 s, so one call outlives it by little */
#define FRESH_MS      1000 /* the control topic's age at an act */
#define FRESH_WAIT_MS 2500 /* it is read each second: two reads and a slow answer */
#define FENCED_WAIT_MS \
    5000 /* an operation that fenced us writes its first record, and then one each 3 s */
#define IDLE_WAIT_MS 1000
/* A turn over 2,000 topics took 0.25 s, all of it in the brokers: however many there are, they have four fifths of the
 * time for others. */
#define REST_TIMES  4
#define REST_MAX_MS 20000
/* What librdkafka's assignor needs for a new list, 2 to 4 s of 10,000 partitions (kafka/README.md), with as much again: thousands
 * of topics that appear little by little are not a rebalance each two seconds, in which nobody can commit. */
#define REST_MS_A_PARTITION 1

struct keeper_shared { /* under the mutex */
    bool stop;
    bool prepare;
    int64_t until_ms;
    uint64_t term; /* counts ownerships: what was true in an earlier one is read again */
    bool fenced;
    int64_t fenced_ms;
    struct control_state *state;          /* our copy; NULL = not seen yet */
    const struct config_service *service; /* read again; NULL = nothing new */
    json_t *asked;                        /* keeper_ask(); NULL = nothing */
    int32_t refs_count;                   /* the owner and each post under way */
};

struct keeper_written { /* what we wrote that the reader may not have seen yet */
    struct uuid topic_id;
    int64_t end_offset; /* of the state that the write was decided on */
    bool streams;
    bool topics;
    struct control_state
        state; /* streams_* are valid with `streams`, topics_epoch and topics_json with `topics` */
};

struct keeper {
    struct loop *loop;
    struct keeper_options options;
    struct keeper_callbacks callbacks;
    uint64_t hash;
    bool closed; /* loop's thread: posts that still come are dropped */

    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct keeper_shared shared;

    struct admin *source;
    struct admin *target;
    struct control_writer *writer;
    struct topic_memory *memory;
    struct keeper_written written;
    uint64_t term;  /* of the turn under way; what is loaded is of this term */
    bool term_told; /* the `keeper` record of this term stands */
    int64_t next_turn_ms;
};

/* ---- snapshots ---------------------------------------------------------------------------------------------- */

static struct control_state *state_copy(const struct control_state *state)
{
    struct control_state *copy = malloc(sizeof(*copy));
    assert(copy);
    *copy = *state;
    copy->role_json = NULL; /* not needed here */
    copy->fence_json = NULL;
    copy->acls_json = NULL;
    copy->path_json = NULL;
    copy->order_json = NULL;
    copy->dns_json = NULL;
    copy->topics_json = must_copy(state->topics_json);
    copy->topics = calloc(state->topics_count + 1, sizeof(*copy->topics));
    assert(copy->topics);
    for (size_t i = 0; i < state->topics_count; i++) {
        copy->topics[i] = state->topics[i];
        copy->topics[i].name = must_copy(state->topics[i].name);
    }
    return copy;
}

static void state_drop(struct control_state *copy)
{
    if (!copy) {
        return;
    }
    for (size_t i = 0; i < copy->topics_count; i++) {
        free(copy->topics[i].name);
    }
    free(copy->topics);
    free(copy->topics_json);
    free(copy);
}

/* The reader is behind our own writes by up to a second: until it has read past them, they count. */
static void overlay_written(const struct keeper_written *written, struct control_state *state)
{
    if (!uuid_equal(&written->topic_id, &state->topic_id) ||
        state->end_offset > written->end_offset) {
        return;
    }
    const struct control_state *ours = &written->state;
    if (written->streams) {
        state->streams_epoch = ours->streams_epoch;
        state->streams_hash = ours->streams_hash;
        state->streams_previous_count = ours->streams_previous_count;
        memcpy(state->streams_previous, ours->streams_previous, sizeof(state->streams_previous));
        state->streams_filter = ours->streams_filter;
        state->streams_generation = ours->streams_generation;
        state->streams_path = ours->streams_path;
    }
    if (written->topics) {
        free(state->topics_json);
        state->has_topics = true;
        state->topics_epoch = ours->topics_epoch;
        state->topics_json = must_copy(ours->topics_json);
    }
}

static void written_begin(struct keeper *keeper, const struct control_state *state)
{
    struct keeper_written *written = &keeper->written;
    bool same = uuid_equal(&written->topic_id, &state->topic_id) &&
                state->end_offset <= written->end_offset;
    if (!same) {
        free(written->state.topics_json);
        *written =
            (struct keeper_written){.topic_id = state->topic_id, .end_offset = state->end_offset};
    }
}

/* ---- may we? ------------------------------------------------------------------------------------------------ */

static int64_t now_ms(const struct keeper *keeper)
{
    return loop_now_ms(keeper->loop);
}

/* With the mutex. */
static bool ours(const struct keeper *keeper)
{
    const struct keeper_shared *shared = &keeper->shared;
    return !shared->fenced && now_ms(keeper) < shared->until_ms;
}

/* With the mutex. */
static bool fresh(const struct keeper *keeper)
{
    const struct control_state *state = keeper->shared.state;
    return state && now_ms(keeper) - state->read_ms < FRESH_MS;
}

/* With the mutex: an operation at work, or no role, leaves nothing to keep. */
static bool asked_for(const struct keeper *keeper)
{
    const struct control_state *state = keeper->shared.state;
    return state && state->role_epoch > 0 && !state->operation_open;
}

/* With the mutex; gives it up meanwhile. */
static void wait_changed(struct keeper *keeper, int64_t wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + (wait_ms % 1000) * 1000000;
    until.tv_sec += wait_ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_cond_timedwait(&keeper->changed, &keeper->mutex, &until);
}

/* Right before each act. A control topic that is a moment too old is waited for. */
static bool may_act(void *arg, struct err *err)
{
    struct keeper *keeper = arg;
    struct keeper_shared *shared = &keeper->shared;
    bool ok = false;
    pthread_mutex_lock(&keeper->mutex);
    int64_t give_up_ms = now_ms(keeper) + FRESH_WAIT_MS;
    for (;;) {
        int64_t left_ms = give_up_ms - now_ms(keeper);
        if (shared->stop || shared->term != keeper->term || !ours(keeper)) {
            err_set(err, ERR_RETRY, "not the keeper of service '%s' any more",
                    keeper->options.service->name);
            break;
        }
        if (fresh(keeper)) {
            ok = asked_for(keeper);
            if (!ok) {
                err_set(err, ERR_RETRY,
                        "an operation is at work on service '%s', or it has no role",
                        keeper->options.service->name);
            }
            break;
        }
        if (left_ms <= 0) {
            err_set(err, ERR_RETRY, "the control topic of service '%s' was not read for %d ms",
                    keeper->options.service->name, FRESH_MS + FRESH_WAIT_MS);
            break;
        }
        wait_changed(keeper, left_ms);
    }
    pthread_mutex_unlock(&keeper->mutex);
    return ok;
}

/* Creating topics before joining asks for no term: "exists already" is success, whoever was first. */
static bool may_prepare(void *arg, struct err *err)
{
    struct keeper *keeper = arg;
    pthread_mutex_lock(&keeper->mutex);
    bool ok = !keeper->shared.stop;
    pthread_mutex_unlock(&keeper->mutex);
    return ok || err_set(err, ERR_RETRY, "the worker stops");
}

/* ---- posts to the loop --------------------------------------------------------------------------------------- */

struct post {
    struct keeper *keeper;
    bool trouble;
    bool done;
    struct topic_sync sync;
    json_t *gone; /* NULL = nobody asked */
    struct err err;
};

static void keeper_unref(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->mutex);
    bool last = --keeper->shared.refs_count == 0;
    pthread_mutex_unlock(&keeper->mutex);
    if (last) {
        state_drop(keeper->shared.state);
        json_decref(keeper->shared.asked);
        if (keeper->shared.service) {
            config_free(keeper->shared.service->config);
        }
        config_free(keeper->options.service->config);
        pthread_cond_destroy(&keeper->changed);
        pthread_mutex_destroy(&keeper->mutex);
        free(keeper);
    }
}

static void post_arrived(void *arg)
{
    struct post *post = arg;
    struct keeper *keeper = post->keeper;
    const struct keeper_callbacks *callbacks = &keeper->callbacks;
    if (!keeper->closed) {
        if (post->trouble) {
            callbacks->trouble(callbacks->arg, &post->err);
        } else {
            callbacks->synced(callbacks->arg, post->done ? &post->sync : NULL,
                              post->done ? NULL : &post->err);
        }
    }
    if (!keeper->closed && post->gone && callbacks->gone) {
        callbacks->gone(callbacks->arg, post->gone);
    }
    json_decref(post->gone);
    topic_sync_done(&post->sync);
    free(post);
    keeper_unref(keeper);
}

/* take_sync NULL: err says why there is none. */
static void post_send(struct keeper *keeper, struct topic_sync *take_sync, const struct err *err,
                      bool trouble, json_t *take_gone)
{
    struct post *post = calloc(1, sizeof(*post));
    assert(post);
    post->keeper = keeper;
    post->trouble = trouble;
    post->gone = take_gone;
    if (take_sync) {
        post->done = true;
        post->sync = *take_sync;
        *take_sync = (struct topic_sync){0};
    } else {
        post->err = err ? *err : (struct err){0};
    }
    pthread_mutex_lock(&keeper->mutex);
    keeper->shared.refs_count++;
    pthread_mutex_unlock(&keeper->mutex);
    loop_post(keeper->loop, post_arrived, post);
}

/* ---- records ------------------------------------------------------------------------------------------------- */

static bool open_admins(struct keeper *keeper, struct err *err)
{
    const struct config_site *from = keeper->options.from;
    const struct config_site *to = keeper->options.to;
    if (!keeper->source) {
        keeper->source = admin_new(from->name, &from->kafka, ADMIN_TIMEOUT_MS, err);
    }
    if (keeper->source && !keeper->target) {
        keeper->target = admin_new(to->name, &to->kafka, ADMIN_TIMEOUT_MS, err);
    }
    return keeper->source && keeper->target;
}

static bool write_records(struct keeper *keeper, const struct control_record *records, size_t count,
                          struct err *err)
{
    if (!may_act(keeper, err)) { /* a new writer fences whoever is the keeper by now */
        return false;
    }
    if (keeper->writer && control_writer_is_old(keeper->writer)) {
        control_writer_free(keeper->writer);
        keeper->writer = NULL;
    }
    if (!keeper->writer) {
        /* The first call of a term fences the keeper before us. */
        keeper->writer = control_writer_new(&keeper->options.to->kafka,
                                            keeper->options.service->name, "keeper", err);
    }
    return keeper->writer && may_act(keeper, err) &&
           control_write(keeper->writer, records, count, err);
}

static char *keeper_record(const struct keeper *keeper)
{
    char since[CLOCK_TEXT_BYTES];
    clock_rfc3339(clock_wall_ms(loop_clock(keeper->loop)), since);
    json_t *record = json_pack("{s:s, s:s}", "worker", keeper->options.worker, "since", since);
    char *text = json_text(record);
    json_decref(record);
    return text;
}

static bool set_older(const struct keeper *keeper, const struct control_state *state,
                      struct err *err)
{
    err_set(err, ERR_REFUSED,
            "service '%s': the configuration of worker '%s' is older than the newest in the "
            "control topic (epoch %lld)",
            keeper->options.service->name, keeper->options.worker, (long long)state->streams_epoch);
    return err_hint(err, "give this worker the newest file; to go back to an earlier one, raise "
                         "\"revision\" of the service");
}

static void streams_written(struct keeper *keeper, const struct control_state *advanced)
{
    struct control_state *ours = &keeper->written.state;
    keeper->written.streams = true;
    ours->streams_epoch = advanced->streams_epoch;
    ours->streams_hash = advanced->streams_hash;
    ours->streams_previous_count = advanced->streams_previous_count;
    memcpy(ours->streams_previous, advanced->streams_previous, sizeof(ours->streams_previous));
    ours->streams_filter = advanced->streams_filter;
    ours->streams_generation = advanced->streams_generation;
    ours->streams_path = advanced->streams_path;
    log_info("keeper.streams", "service=%s epoch=%lld hash=%016llx", keeper->options.service->name,
             (long long)advanced->streams_epoch, (unsigned long long)keeper->hash);
}

/* `streams` when it is ours to write, and once a term who we are; both in one transaction. */
static bool write_term(struct keeper *keeper, struct control_state *state, struct err *err)
{
    enum streams_verdict verdict = streams_judge(state, keeper->hash);
    if (verdict == STREAMS_OLDER) {
        return set_older(keeper, state, err);
    }
    struct control_record records[2];
    size_t count = 0;
    char *streams = NULL;
    char *who = NULL;
    struct control_state advanced = *state;
    if (verdict == STREAMS_WRITE) {
        streams = streams_advance(&advanced, keeper->hash, keeper->options.path,
                                  config_filter_hash(keeper->options.service));
        records[count++] = (struct control_record){"streams", streams};
    }
    if (!keeper->term_told) {
        who = keeper_record(keeper);
        records[count++] = (struct control_record){"keeper", who};
    }
    bool ok = count == 0 || write_records(keeper, records, count, err);
    if (ok && count > 0) {
        keeper->term_told = true;
        written_begin(keeper, state);
    }
    if (ok && streams) {
        streams_written(keeper, &advanced);
        overlay_written(&keeper->written, state);
    }
    free(streams);
    free(who);
    return ok;
}

/* The same value, whoever serialized it. */
static bool same_json(const char *ours_text, const char *there_text)
{
    if (!there_text || strcmp(ours_text, there_text) == 0) {
        return there_text != NULL;
    }
    struct err err;
    json_t *there = json_parse(there_text, strlen(there_text), "topics", &err);
    char *text = there ? json_text(there) : NULL;
    bool same = text && strcmp(ours_text, text) == 0;
    free(text);
    json_decref(there);
    return same;
}

/* Only a list that differs is written: each new epoch makes every worker look at its subscription. */
static bool write_topics(struct keeper *keeper, struct control_state *state,
                         const struct topic_sync *sync, struct err *err)
{
    char *same = topic_sync_record(sync, state->topics_epoch);
    bool unchanged = same_json(same, state->topics_json);
    free(same);
    if (unchanged) {
        return true;
    }
    char *text = topic_sync_record(sync, state->topics_epoch + 1);
    struct control_record record = {"topics", text};
    bool ok = write_records(keeper, &record, 1, err);
    if (ok) {
        written_begin(keeper, state);
        free(keeper->written.state.topics_json);
        keeper->written.topics = true;
        keeper->written.state.topics_epoch = state->topics_epoch + 1;
        keeper->written.state.topics_json = text;
        text = NULL;
        overlay_written(&keeper->written, state);
        log_info("keeper.topics", "service=%s epoch=%lld", keeper->options.service->name,
                 (long long)state->topics_epoch);
    }
    free(text);
    return ok;
}

/* ---- turns --------------------------------------------------------------------------------------------------- */

struct turn {
    struct keeper *keeper;
    struct control_state *state;
};

static bool record_planned(void *arg, const struct topic_sync *planned, struct err *err)
{
    struct turn *turn = arg;
    return write_topics(turn->keeper, turn->state, planned, err);
}

static bool may_act_turn(void *arg, struct err *err)
{
    return may_act(((struct turn *)arg)->keeper, err);
}

static void term_begin(struct keeper *keeper, const struct control_state *state)
{
    control_writer_free(keeper->writer);
    keeper->writer = NULL;
    keeper->term_told = false;
    topic_memory_load(keeper->memory, state);
}

static bool turn_run(struct keeper *keeper, struct control_state *state, struct topic_sync *sync,
                     struct err *err)
{
    struct turn turn = {keeper, state};
    struct topic_hooks hooks = {may_act_turn, record_planned, &turn};
    if (!open_admins(keeper, err) || !write_term(keeper, state, err) ||
        !topic_sync_run(keeper->options.service, keeper->source, keeper->target, keeper->memory,
                        &hooks, now_ms(keeper), sync, err)) {
        return false;
    }
    return write_topics(keeper, state, sync, err);
}

/* Fenced: another keeper or an operation has begun; what we hold is worth nothing any more. */
static void set_fenced(struct keeper *keeper, const struct err *err)
{
    pthread_mutex_lock(&keeper->mutex);
    keeper->shared.fenced = true;
    keeper->shared.fenced_ms = now_ms(keeper);
    keeper->shared.until_ms = 0;
    pthread_mutex_unlock(&keeper->mutex);
    log_warn("keeper.fenced", "service=%s why=%s then=\"comes back when no operation is open\"",
             keeper->options.service->name, log_quote(err->what).text);
    post_send(keeper, NULL, err, true, NULL);
}

int64_t keeper_rest_ms(int32_t interval_ms, bool quiet, int64_t took_ms, int64_t shared_out)
{
    int64_t rest = quiet ? took_ms * REST_TIMES : shared_out * REST_MS_A_PARTITION;
    rest = rest < REST_MAX_MS ? rest : REST_MAX_MS;
    return rest > interval_ms ? rest : interval_ms;
}

static int64_t partitions_of(const struct topic_sync *sync)
{
    int64_t count = 0;
    for (size_t i = 0; i < sync->pairs_count; i++) {
        count += sync->pairs[i].problem[0] == '\0' ? sync->pairs[i].source_partitions : 0;
    }
    return count;
}

/* What is not listed may be hidden: the cluster's word about this very name counts alone. */
static bool denies(struct admin *admin, const char *topic)
{
    struct admin_topic found;
    struct err err = {0};
    return !admin_describe_topic(admin, topic, &found, &err) && err.kind == ERR_REFUSED &&
           err.code == KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
}

/* Of what was asked for: what neither side has. NULL: nobody asked. */
static json_t *answer_asked(struct keeper *keeper)
{
    size_t index;
    json_t *name;
    pthread_mutex_lock(&keeper->mutex);
    json_t *asked = keeper->shared.asked;
    keeper->shared.asked = NULL;
    pthread_mutex_unlock(&keeper->mutex);
    json_t *gone = asked ? json_object() : NULL;
    json_array_foreach (asked, index, name) {
        const char *topic = json_string_value(name);
        if (index < KEEPER_ASKED_MOST && topic && denies(keeper->source, topic) &&
            denies(keeper->target, topic)) {
            json_object_set_new(gone, topic, json_true());
        }
    }
    json_decref(asked);
    return gone;
}

static void do_turn(struct keeper *keeper, struct control_state *state, uint64_t term)
{
    struct topic_sync sync = {0};
    struct err err = {0};
    int64_t began_ms = now_ms(keeper);
    bool quiet = keeper->term == term;
    overlay_written(&keeper->written, state);
    if (keeper->term != term) {
        keeper->term = term;
        term_begin(keeper, state);
    }
    int64_t epoch_before = state->topics_epoch;
    int64_t shared_out = 0;
    if (turn_run(keeper, state, &sync, &err)) {
        if (state->topics_epoch != epoch_before) {
            quiet = false;
            shared_out = partitions_of(&sync);
        }
        post_send(keeper, &sync, NULL, false, answer_asked(keeper));
    } else if (err.kind == ERR_FATAL) {
        set_fenced(keeper, &err);
    } else {
        quiet = false;
        post_send(keeper, NULL, &err, false, NULL);
    }
    topic_sync_done(&sync);
    keeper->next_turn_ms = now_ms(keeper) + keeper_rest_ms(keeper->options.interval_ms, quiet,
                                                           now_ms(keeper) - began_ms, shared_out);
}

static void do_prepare(struct keeper *keeper)
{
    struct topic_hooks hooks = {may_prepare, NULL, keeper};
    struct topic_sync sync = {0};
    struct err err = {0};
    if (open_admins(keeper, &err) &&
        topic_sync_run(keeper->options.service, keeper->source, keeper->target, keeper->memory,
                       &hooks, now_ms(keeper), &sync, &err)) {
        post_send(keeper, &sync, NULL, false, NULL);
    } else {
        post_send(keeper, NULL, &err, false, NULL);
    }
    topic_sync_done(&sync);
}

enum job { JOB_STOP, JOB_PREPARE, JOB_TURN };

/* With the mutex, between two jobs: what the last one worked with is nobody's any more. */
static void take_service(struct keeper *keeper)
{
    if (keeper->shared.service) {
        config_free(keeper->options.service->config);
        keeper->options.service = keeper->shared.service;
        keeper->shared.service = NULL;
        keeper->hash = config_streams_hash(keeper->options.service, keeper->options.path);
        keeper->next_turn_ms = 0;
        topic_memory_recheck(keeper->memory);
    }
}

/* What to do next; waits for it. @param out_state our copy with JOB_TURN */
static enum job next_job(struct keeper *keeper, struct control_state **out_state,
                         uint64_t *out_term)
{
    struct keeper_shared *shared = &keeper->shared;
    enum job job = JOB_STOP;
    pthread_mutex_lock(&keeper->mutex);
    while (!shared->stop) {
        take_service(keeper);
        int64_t wait_ms = keeper->next_turn_ms - now_ms(keeper);
        if (shared->term != keeper->term) {
            wait_ms = 0; /* a new term begins at once */
        }
        if (shared->prepare) {
            shared->prepare = false;
            job = JOB_PREPARE;
            break;
        }
        if (wait_ms <= 0 && ours(keeper) && fresh(keeper) && asked_for(keeper)) {
            *out_state = state_copy(shared->state);
            *out_term = shared->term;
            job = JOB_TURN;
            break;
        }
        wait_changed(keeper, wait_ms > 0 && wait_ms < IDLE_WAIT_MS ? wait_ms : IDLE_WAIT_MS);
    }
    pthread_mutex_unlock(&keeper->mutex);
    return job;
}

static void *keeper_thread(void *arg)
{
    struct keeper *keeper = arg;
    for (;;) {
        struct control_state *state = NULL;
        uint64_t term = 0;
        switch (next_job(keeper, &state, &term)) {
        case JOB_PREPARE:
            do_prepare(keeper);
            break;
        case JOB_TURN:
            do_turn(keeper, state, term);
            state_drop(state);
            break;
        case JOB_STOP:
            control_writer_free(keeper->writer);
            admin_free(keeper->source);
            admin_free(keeper->target);
            topic_memory_free(keeper->memory);
            free(keeper->written.state.topics_json);
            return NULL;
        }
    }
}

/* ---- the loop's side ----------------------------------------------------------------------------------------- */

/* Signals are the loop's. */
static void thread_start(struct keeper *keeper)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&keeper->thread, NULL, keeper_thread, keeper);
    assert(rc == 0); /* at the start of a link only; without threads nothing works here */
    (void)rc;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct keeper *keeper_new(struct loop *loop, const struct keeper_options *options,
                          const struct keeper_callbacks *callbacks)
{
    struct keeper *keeper = calloc(1, sizeof(*keeper));
    assert(keeper);
    keeper->loop = loop;
    keeper->options = *options;
    keeper->callbacks = *callbacks;
    keeper->hash = config_streams_hash(options->service, options->path);
    config_ref(options->service->config);
    keeper->memory = topic_memory_new();
    keeper->written.end_offset = -1;
    keeper->shared.refs_count = 1;
    pthread_mutex_init(&keeper->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&keeper->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    thread_start(keeper);
    return keeper;
}

void keeper_free(struct keeper *keeper)
{
    if (!keeper) {
        return;
    }
    pthread_mutex_lock(&keeper->mutex);
    keeper->shared.stop = true;
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->mutex);
    pthread_join(keeper->thread, NULL);
    keeper->closed = true;
    keeper_unref(keeper);
}

void keeper_reload(struct keeper *keeper, const struct config_service *service)
{
    config_ref(service->config);
    pthread_mutex_lock(&keeper->mutex);
    const struct config_service *before = keeper->shared.service; /* that no turn has seen */
    keeper->shared.service = service;
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->mutex);
    if (before) {
        config_free(before->config);
    }
}

void keeper_prepare(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->mutex);
    keeper->shared.prepare = true;
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->mutex);
}

void keeper_ask(struct keeper *keeper, json_t *take_names)
{
    pthread_mutex_lock(&keeper->mutex);
    json_decref(keeper->shared.asked);
    keeper->shared.asked = take_names;
    pthread_mutex_unlock(&keeper->mutex);
}

void keeper_act(struct keeper *keeper, int64_t until_ms)
{
    struct keeper_shared *shared = &keeper->shared;
    pthread_mutex_lock(&keeper->mutex);
    if (shared->fenced && until_ms > 0 && now_ms(keeper) - shared->fenced_ms >= FENCED_WAIT_MS) {
        shared->fenced = false;
    }
    if (!shared->fenced) {
        /* Ownership that ended, or ran out, may have been another's in between. */
        if (until_ms > 0 && shared->until_ms <= now_ms(keeper)) {
            shared->term++;
        }
        shared->until_ms = until_ms;
    }
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->mutex);
}

void keeper_control(struct keeper *keeper, const struct control_state *state)
{
    struct keeper_shared *shared = &keeper->shared;
    pthread_mutex_lock(&keeper->mutex);
    bool news = !shared->state || !uuid_equal(&shared->state->topic_id, &state->topic_id) ||
                shared->state->end_offset != state->end_offset;
    if (news) {
        state_drop(shared->state);
        shared->state = state_copy(state);
    } else {
        shared->state->read_ms = state->read_ms;
    }
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->mutex);
}
