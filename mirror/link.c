#include "mirror/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/log.h"
#include "base/text.h"
#include "mirror/doors.h"
#include "mirror/link_inside.h"
#include "mirror/streams.h"

#define CONTROL_FRESH_MS   8000 /* not read to its end for so long: nothing is produced */
#define BUFFERS_KEPT_BYTES (32 << 20)

/* --- gates -------------------------------------------------------------------------------------------------------- */

bool link_gate_open(const struct link *link, enum link_gate gate)
{
    int64_t now_ms = loop_now_ms(link->loop);
    switch (gate) {
    case GATE_ROLE:
        return link->role_ours;
    case GATE_STREAMS:
        return link->streams_match;
    case GATE_ORDER:
        return !link->paused;
    case GATE_CONTROL:
        return link->control_read_ms > 0 && now_ms - link->control_read_ms < CONTROL_FRESH_MS;
    case GATE_DEADLINE:
        return deadline_open(&link->deadline, now_ms);
    case LINK_GATES_COUNT:
        break;
    }
    return false;
}

bool link_may_send(const struct link *link)
{
    bool may = true;
    for (int gate = 0; may && gate < LINK_GATES_COUNT; gate++) {
        may = link_gate_open(link, (enum link_gate)gate);
    }
    return may;
}

/* --- states ------------------------------------------------------------------------------------------------------- */

/* @param wait_ms  for what flies */
static void leave_all(struct link *link, int32_t wait_ms)
{
    for (size_t i = 0; i < link->parts_count; i++) {
        link->parts[i]->leaving = true;
    }
    link->revoke_flushed = false;
    loop_timer_set(link->revoke_timer, wait_ms);
    link_leave_marked(link);
}

static void enter(struct link *link, enum link_state state)
{
    switch (state) {
    case LINK_JOINING:
        if (!link->has_list) {
            keeper_prepare(link->keeper); /* topics exist before anybody joins for them */
        } else {
            link_join(link);
        }
        break;
    case LINK_NO_ROLE:
        if (link->membership != NULL) {
            link_leave_group(
                link); /* a role that went away: whoever has it now writes; nothing of ours may follow */
        }
        break;
    case LINK_RETREATING:
        link->retreat_dirty = false;
        link->retreat_leaving = false;
        leave_all(link, LINK_REVOKE_MS);
        break;
    case LINK_DRAINING:
        leave_all(link, link->config->limits.drain_timeout_ms);
        break;
    case LINK_RUNNING:
    case LINK_STOPPED:
    case LINK_STATES_COUNT:
        break;
    }
}

void link_event(struct link *link, enum link_event event, const char *why)
{
    const struct fsm_edge *edge = link_edge(link->state, event);
    if (edge->to < 0) {
        log_debug("link.event_refused", "link=%s>%s state=%s event=%s why=%s", link->from->name,
                  link->to->name, link_state_name(link->state), link_event_name(event),
                  log_quote(edge->why).text);
        return;
    }
    enum link_state to = (enum link_state)edge->to;
    log_info("link.state", "service=%s link=%s>%s from=%s to=%s why=%s", link->service->name,
             link->from->name, link->to->name, link_state_name(link->state), link_state_name(to),
             log_quote(why).text);
    char shown[sizeof(link->why)]; /* `why` may be what stands there */
    text_print(shown, sizeof(shown), "%s", why);
    memcpy(link->why, shown, sizeof(shown));
    link->state = to;
    enter(link, to);
}

static void left(void *arg, const struct err *err)
{
    struct link *link = arg;
    if (err != NULL) {
        log_warn("membership.leave_failed",
                 "link=%s>%s why=%s doing=\"the session ends by its time-out\"", link->from->name,
                 link->to->name, log_quote(err->what).text);
    }
    link_stopped(link, NULL);
}

static struct err err_or_none(const struct err *err)
{
    struct err none = {0};
    return err == NULL ? none : *err;
}

void link_stopped(struct link *link, const struct err *why)
{
    struct err copy = err_or_none(why);
    if (link->heartbeat != NULL) {
        heartbeat_leave(link->heartbeat);
    }
    if (link->told_stopped) {
        return;
    }
    link->told_stopped = true;
    link->stop_leaving = true;
    loop_timer_cancel(link->stop_timer);
    link->state = LINK_STOPPED;
    link->callbacks.stopped(link->callbacks.arg, link, why == NULL ? NULL : &copy);
}

static void stop_late(void *arg)
{
    struct link *link = arg;
    log_warn("link.stop_late", "link=%s>%s doing=\"stopping with what is committed\"",
             link->from->name, link->to->name);
    link_stopped(link, NULL);
}

static void look_at_stop(struct link *link)
{
    if (!link->stopping || link->stop_leaving || link->state != LINK_STOPPED) {
        return;
    }
    link->stop_leaving = true;
    link_drop_all(link);
    if (link->membership == NULL) {
        link_stopped(link, NULL);
    } else {
        membership_leave(link->membership, link->target, LINK_LEAVE_MS, left, link);
    }
}

void link_stop(struct link *link)
{
    if (link->stopping) {
        return;
    }
    link->stopping = true;
    loop_timer_set(link->stop_timer, link->config->limits.drain_timeout_ms + LINK_LEAVE_MS + 1000);
    link_event(link, LINK_EV_STOP, "asked to stop");
    look_at_stop(link);
}

/* --- clusters and Redis ------------------------------------------------------------------------------------------- */

static void metadata_changed(void *arg)
{
    struct link *link = arg;
    if (link->engine == NULL) {
        return;
    }
    engine_metadata(link->engine);
    for (size_t i = 0; i < link->parts_count; i++) {
        part_metadata(link->parts[i]);
    }
    link_step(link);
}

static void store_conflict(void *arg, struct offset_track *track, const struct checkpoint *found)
{
    (void)arg;
    part_conflict(offset_track_owner(track), found);
}

static void store_state(void *arg, bool ready, const struct err *why)
{
    struct link *link = arg;
    link->map_err = err_or_none(ready ? NULL : why);
    if (ready) {
        log_info("map.ready", "link=%s>%s", link->from->name, link->to->name);
        return;
    }
    log_warn("map.away",
             "link=%s>%s why=%s doing=\"mirroring goes on; the map is kept in memory\" hint=%s",
             link->from->name, link->to->name, log_quote(link->map_err.what).text,
             log_quote(link->map_err.hint).text);
}

static void redis_changed(void *arg, enum redis_state state, const struct err *why)
{
    struct link *link = arg;
    if (link->store != NULL) {
        offset_store_redis_changed(link->store, state, why);
    } else { /* the store begins when both clusters have answered: then it is told */
        link->map_err = err_or_none(why);
    }
}

static bool role_now(void *arg, struct heartbeat_role *out)
{
    const struct link *link = arg;
    *out = (struct heartbeat_role){.epoch = link->role_epoch, .topic_id = link->control_topic_id};
    return !link->distrusted && out->epoch > 0;
}

/* Taken into account when the control topic is read next, within a second. */
static void role_seen(void *arg, const struct heartbeat_role *seen)
{
    struct link *link = arg;
    if (seen->epoch >= link->witness.epoch) {
        link->witness = *seen;
    }
}

static bool take_order(void *arg, const char *topic, int32_t partition, const json_t *order)
{
    struct link_part *part = part_find(arg, topic, partition);
    return part != NULL && part_order(part, order); /* else another worker's */
}

static void make_store(struct link *link)
{
    const char *prefix = link->to->redis == NULL ? "" : link->to->redis->prefix;
    const struct offset_store_options options = {
        .prefix = prefix,
        .service = link->service->name,
        .from = link->from->name,
        .to = link->to->name,
        .deployment = link->config->deployment,
        .source_cluster_id = cluster_id(link->source),
        .target_cluster_id = cluster_id(link->target),
        .map_memory_bytes = link->config->limits.map_memory_bytes,
        .interval_ms = link->config->limits.checkpoint_interval_ms};
    const struct offset_store_callbacks callbacks = {
        .conflict = store_conflict, .state = store_state, .arg = link};
    link->store = offset_store_new(link->loop, link->redis, &options, &callbacks);
    if (link->redis == NULL) {
        return;
    }
    struct err before = link->map_err;
    offset_store_redis_changed(link->store, redis_state(link->redis),
                               before.kind == ERR_NONE ? NULL : &before);
    const struct heartbeat_options beat = {.prefix = prefix,
                                           .service = link->service->name,
                                           .from = link->from->name,
                                           .to = link->to->name,
                                           .worker = link->config->worker};
    const struct heartbeat_callbacks beat_callbacks = {.report = link_report,
                                                       .order = take_order,
                                                       .role = role_now,
                                                       .role_seen = role_seen,
                                                       .arg = link};
    link->heartbeat = heartbeat_new(link->loop, link->redis, &beat, &beat_callbacks);
    link_rebuild_start(link);
    link_sweep_start(link);
    const struct group_sync_options groups = {
        .config = link->config, .service = link->service, .from = link->from, .to = link->to};
    const struct group_sync_callbacks groups_callbacks = {.reported = link_groups_reported,
                                                          .arg = link};
    link->groups = group_sync_new(link->loop, &groups, &groups_callbacks);
    link_tell_groups(link);
}

void link_step(struct link *link)
{
    if (cluster_id(link->source)[0] == '\0' || cluster_id(link->target)[0] == '\0' ||
        link->stopping) {
        return;
    }
    if (strcmp(cluster_id(link->source), cluster_id(link->target)) == 0) {
        struct err why = {0};
        err_set(&why, ERR_FATAL, "sites %s and %s are one cluster (%s)", link->from->name,
                link->to->name, cluster_id(link->source));
        err_hint(&why, "compare bootstrap.servers of both sites in %s", link->config->file);
        link_stopped(link, &why);
        return;
    }
    if (link->store == NULL) {
        make_store(link);
    }
    if (link->state == LINK_NO_ROLE && link->role_ours) {
        link_event(link, LINK_EV_ROLE, "the role epoch says that this link mirrors");
    }
}

static int64_t part_of(int64_t limit, double part)
{
    int64_t rate = (int64_t)((double)limit * part);
    return limit > 0 && rate < 1 ? 1 : rate;
}

/* A limit counts for all workers of the link together: each takes the part that its partitions are of all of them. */
static void share_limits(struct link *link)
{
    const struct config_service *service = link->service;
    int64_t total = 0;
    for (size_t i = 0; i < link->topics_count; i++) {
        const struct cluster_topic *topic = cluster_topic(link->source, link->topics[i]);
        total += topic == NULL ? 0 : topic->partitions_count;
    }
    double part = total < (int64_t)link->parts_count || total == 0
                      ? 1
                      : (double)link->parts_count / (double)total;
    if (part > 0 && link->engine != NULL) {
        engine_rates(link->engine, part_of(service->limit_initial_bytes, part),
                     part_of(service->limit_steady_bytes, part));
    }
}

static void tick(void *arg)
{
    struct link *link = arg;
    loop_timer_set(link->tick, LINK_TICK_MS);
    share_limits(link);
    link_tend_membership(link);
    link_metrics_tick(link);
    if (link->stopping) {
        look_at_stop(link);
    }
}

static void prepare_again(void *arg)
{
    struct link *link = arg;
    if (link->state == LINK_JOINING && link->membership == NULL && !link->stopping) {
        keeper_prepare(link->keeper);
    }
}

/* --- beginning and end -------------------------------------------------------------------------------------------- */

static bool make_redis(struct link *link, struct err *err)
{
    if (link->to->redis != NULL) {
        link->redis = doors_redis(link->loop, link->to, redis_changed, link, err);
    }
    return link->to->redis == NULL || link->redis != NULL;
}

static struct cluster *make_cluster(struct link *link, const struct config_site *site)
{
    const struct config_limits *limits = &link->config->limits;
    const struct cluster_options options = {.name = site->name,
                                            .client = &site->kafka,
                                            .pool = link->pool,
                                            .refresh_ms = LINK_METADATA_REFRESH_MS,
                                            .tcp_user_timeout_ms = limits->tcp_user_timeout_ms,
                                            .produce_until_ms = &link->deadline.until_ms,
                                            .max_answer_bytes = (size_t)limits->fetch_bytes +
                                                                LINK_ANSWER_SLACK_BYTES};
    return cluster_new(link->loop, &options);
}

void link_take_path(struct link *link, enum config_path path)
{
    /* As it was at the start: it outlives the engine, and only a restart changes what is taken of it. */
    const struct config_service *service = config_service(link->config, link->service->name);
    struct engine_callbacks engine_callbacks;
    link_engine_callbacks(link, &engine_callbacks);
    const struct engine_options engine_options = {.limits = &link->config->limits,
                                                  .id_deployment = link->config->deployment,
                                                  .id_service = link->service->name,
                                                  .filter = service->filter,
                                                  .compression = service->compression,
                                                  .merge = service->merge,
                                                  .records = path == PATH_RECORDS};
    link->engine = engine_new(link->loop, link->source, link->target, link->pool, &engine_options,
                              &engine_callbacks);
    link->path = path;
    link->streams_hash = config_streams_hash(link->service, path);
    const struct keeper_options keeper_options = {.service = link->service,
                                                  .from = link->from,
                                                  .to = link->to,
                                                  .worker = link->config->worker,
                                                  .path = path,
                                                  .interval_ms = 2000};
    const struct keeper_callbacks keeper_callbacks = {.synced = link_keeper_synced,
                                                      .gone = link_sweep_gone,
                                                      .trouble = link_keeper_trouble,
                                                      .arg = link};
    link->keeper = keeper_new(link->loop, &keeper_options, &keeper_callbacks);
}

struct link *link_new(struct loop *loop, const struct config *config,
                      const struct config_service *service, const struct config_site *from,
                      const struct config_site *to, struct metrics *metrics,
                      const struct link_callbacks *callbacks, struct err *err)
{
    struct link *link = must(calloc(1, sizeof(*link)));
    link->loop = loop;
    link->config = config;
    link->service = service;
    config_ref(service->config);
    link->from = from;
    link->to = to;
    link->callbacks = *callbacks;
    link->state = LINK_NO_ROLE;
    snprintf(link->why, sizeof(link->why), "no role epoch read yet");
    link->started_wall_ms = clock_wall_ms(loop_clock(loop));
    link->streams_match =
        true; /* until the control topic says otherwise; nothing is sent before it was read */
    control_topic_name(service->name, link->control_topic);
    deadline_init(&link->deadline, config->limits.session_timeout_ms,
                  config->limits.tcp_user_timeout_ms);
    link->pool = buf_pool_new(BUFFERS_KEPT_BYTES);
    link->source = make_cluster(link, from);
    link->target = make_cluster(link, to);
    link->load_timer = loop_timer_new(loop, link_load_groups, link);
    link->commit_timer = loop_timer_new(loop, link_commit, link);
    link->revoke_timer = loop_timer_new(loop, link_revoke_late, link);
    link->stop_timer = loop_timer_new(loop, stop_late, link);
    link->prepare_timer = loop_timer_new(loop, prepare_again, link);
    link->retreat_timer = loop_timer_new(loop, link_retreat, link);
    link->tick = loop_timer_new(loop, tick, link);
    link_metrics_start(link, metrics);
    const struct control_callbacks control_callbacks = {.state = link_control_changed, .arg = link};
    if (service->path != PATH_AUTO) {
        link_take_path(link, service->path);
    }
    link->control = control_new(loop, &to->kafka, service->name, &control_callbacks, err);
    if (link->control == NULL || !make_redis(link, err)) {
        link_free(link);
        return NULL;
    }
    link_follow_topics(link);
    cluster_on_change(link->source, metadata_changed, link);
    cluster_on_change(link->target, metadata_changed, link);
    loop_timer_set(link->tick, LINK_TICK_MS);
    return link;
}

void link_free(struct link *link)
{
    if (link == NULL) {
        return;
    }
    while (link->parts_count > 0) {
        part_free(link->parts[link->parts_count - 1]);
    }
    link_rebuild_done(link);
    keeper_free(link->keeper);
    group_sync_free(link->groups);
    json_decref(link->groups_report.notes);
    control_free(link->control);
    if (link->membership != NULL) {
        membership_free(link->membership);
    }
    if (link->heartbeat != NULL) {
        heartbeat_free(link->heartbeat);
    }
    redis_free(link->redis);
    link_sweep_done(link);
    offset_store_free(link->store);
    engine_detach(link->engine);
    cluster_free(link->source);
    cluster_free(link->target);
    engine_free(link->engine);
    loop_timer_free(link->load_timer);
    loop_timer_free(link->commit_timer);
    loop_timer_free(link->revoke_timer);
    loop_timer_free(link->stop_timer);
    loop_timer_free(link->prepare_timer);
    loop_timer_free(link->retreat_timer);
    loop_timer_free(link->tick);
    link_topics_clear(link);
    json_decref(link->topics_report);
    json_decref(link->adopted);
    free(link->parts);
    buf_pool_free(link->pool);
    config_free(link->service->config);
    free(link);
}

/* --- a configuration that was read again -------------------------------------------------------------------------- */

bool link_reloadable(const struct link *link, const struct config *config, struct err *err)
{
    const struct config_service *service = config_service(config, link->service->name);
    uint64_t hash = config_streams_hash(service, link->path);
    if (link->engine == NULL || hash == link->streams_hash ||
        (link->streams_pending && hash == link->streams_next) ||
        streams_judge(&link->streams_seen, hash) != STREAMS_OLDER) {
        return true;
    }
    err_set(err, ERR_REFUSED,
            "services.%s: these topics were mirrored before and replaced by others (streams epoch "
            "%lld at site %s): a file that was put back counts as an older one",
            service->name, (long long)link->streams_seen.streams_epoch, link->to->name);
    return err_hint(err, "to go back to them, raise \"revision\" of the service above %lld",
                    (long long)(service->revision > link->service->revision
                                    ? service->revision
                                    : link->service->revision));
}

void link_reload(struct link *link, const struct config *config)
{
    const struct config_service *before = link->service;
    link->service = config_service(config, before->name);
    config_ref(link->service->config);
    if (link->keeper != NULL) {
        keeper_reload(link->keeper, link->service);
    }
    if (link->groups != NULL) {
        group_sync_reload(link->groups, link->service);
    }
    config_free(before->config); /* `before` ends here, if nobody else has it */
    if (link->engine == NULL) {
        return;
    }
    uint64_t hash = config_streams_hash(link->service, link->path);
    link->streams_next = hash;
    link->streams_pending = hash != link->streams_hash;
    link_streams_compare(link);
}
