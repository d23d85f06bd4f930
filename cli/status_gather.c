#include "cli/status_gather.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/beats.h"
#include "cli/paths.h"
#include "failover/acl_sync.h"
#include "failover/fence.h"
#include "kafka/control.h"
#include "mirror/streams.h"

#define BEAT_WATCH_MS 2500 /* a worker that lives has told something new by then */

/* When the role was written; -1 = unknown. */
static int64_t role_time(const char *role_json)
{
    json_t *record =
        role_json == NULL ? NULL : json_parse(role_json, strlen(role_json), "role", NULL);
    int64_t when_ms = beat_ms(record); /* `time`, as in heartbeats */
    json_decref(record);
    return when_ms;
}

static void ask_control(struct status *status, struct context *context)
{
    struct err *err = &status->role_err;
    struct control_state *state = NULL;
    json_t *operations = NULL;
    if (context_target(context, err) != NULL) {
        state = control_read_heads(&context->to->kafka, context->service->name, context->timeout_ms,
                                   &operations, err);
    }
    if (state == NULL) {
        bool no_topic = err->kind == ERR_REFUSED && err->code == 3;
        status->role_epoch = no_topic ? 0 : -1; /* without the topic nobody ever enabled it */
        context_target_failed(context, err);
        return;
    }
    status->role_epoch = state->role_epoch;
    status->paused = state->paused;
    status->operation_open = state->operation_open;
    status->role_ms = role_time(state->role_json);
    status->fence = fence_topics_parse(state->fence_json);
    acl_sync_line(state->acls_json, status->acls);
    status->path = streams_path(state, context->service);
    if (status->path_auto && status->path == state->path) {
        paths_why(state->path_json, status->path_why);
    }
    snprintf(status->primary, sizeof(status->primary), "%s", state->primary);
    if (state->operation_open) {
        status_operation_open(operations, &status->operation);
    }
    status->measured_s = status_operation_took(operations, status->to, status->measured_when);
    json_decref(operations);
    control_state_free(state);
}

/* How old a heartbeat is counts from when it was read: what was asked before may have taken seconds. */
static json_t *read_workers(struct status *status, struct context *context)
{
    json_t *all = beats_read(context, &status->redis_err);
    status->now_ms = clock_wall_ms(clock_system());
    return all;
}

/* The workers again after a while if any of them may be alive with a wrong clock. Takes `first`. */
static json_t *look_again(struct status *status, struct context *context, json_t *take_first,
                          json_t **out_before)
{
    const char *name;
    json_t *worker;
    bool doubt = false;
    json_object_foreach (take_first, name, worker) {
        doubt = doubt || (beat_of_link(worker, status->from, status->to) &&
                          beat_in_doubt(worker, status->now_ms));
    }
    if (!doubt) {
        return take_first;
    }
    const struct timespec nap = {BEAT_WATCH_MS / 1000, BEAT_WATCH_MS % 1000 * 1000000L};
    nanosleep(&nap, NULL);
    *out_before = take_first;
    return read_workers(status, context);
}

static void sort_workers(struct status *status, json_t *all, const json_t *before)
{
    const char *name;
    json_t *worker;
    status->workers = json_object();
    status->gone = json_object();
    json_object_foreach (all, name, worker) {
        bool alive = beat_alive(worker, json_object_get(before, name), status->now_ms);
        if (beat_of_link(worker, status->from, status->to) &&
            (alive || beat_recent(worker, status->now_ms))) {
            json_object_set(alive ? status->workers : status->gone, name, worker);
        }
    }
}

static void ask_redis(struct status *status, struct context *context)
{
    json_t *before = NULL;
    json_t *all = read_workers(status, context);
    if (all != NULL) {
        all = look_again(status, context, all, &before);
    }
    if (all != NULL) {
        sort_workers(status, all, before);
        if (json_object_size(status->workers) == 0 &&
            !context_redis_takes_beats(context, &status->redis_err)) {
            json_decref(status->workers);
            status->workers = NULL;
        }
        status->faults = context_link_hash(context, "faults", &status->redis_err);
    }
    json_decref(before);
    json_decref(all);
}

/* Each place where records stand a second time is a field of its own. */
static void ask_repeated(struct status *status, struct context *context)
{
    const char *name;
    json_t *place;
    json_t *all = context_link_hash(context, "repeated", &status->redis_err);
    status->repeated = all == NULL ? -1 : 0;
    json_object_foreach (all, name, place) {
        const char *when = json_string_value(json_object_get(place, "time"));
        json_int_t count = json_integer_value(json_object_get(place, "records"));
        bool earlier = when != NULL && (status->repeated_since[0] == '\0' ||
                                        strcmp(when, status->repeated_since) < 0);
        if (count > 0 && count < INT64_MAX - status->repeated) {
            status->repeated += count;
        }
        if (earlier) {
            snprintf(status->repeated_since, sizeof(status->repeated_since), "%s", when);
        }
    }
    json_decref(all);
}

void status_gather(struct status *status, struct context *context)
{
    *status = (struct status){
        .service = context->service->name,
        .from = context->from->name,
        .to = context->to->name,
        .sites = {context->from, context->to},
        .has_redis = context->to->redis != NULL,
        .role_ms = -1,
        .measured_s = -1,
        .repeated = -1,
        .path_auto = context->service->path == PATH_AUTO,
        .path = context->service->path,
    };
    ask_control(status, context);
    status->at_least_once = status->path == PATH_RECORDS;
    ask_redis(status, context);
    if (status->at_least_once && status->has_redis && status->redis_err.kind == ERR_NONE) {
        ask_repeated(status, context);
    }
    context_positions(context, &status->positions);
    status_sum(status);
}
