#include "mirror/link.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "mirror/doors.h"
#include "mirror/link_inside.h"
#include "mirror/streams.h"

#define TICK_MS             200
#define CONTROL_FRESH_MS    8000 /* not read to its end for so long: nothing is produced */
#define METADATA_REFRESH_MS 2000
#define HEARTBEAT_MS        500
#define MAX_POLL_MS         30000
#define REVOKE_MS \
    4000 /* what flies lands or fails within produce time-out + grace; then it is given back */
#define LEAVE_MS           2000
#define PREPARE_RETRY_MS   500
#define BUFFERS_KEPT_BYTES (32 << 20)
#define TROUBLE_AGAIN_MS   60000

static void link_event(struct link *link, enum link_event event, const char *why);
static void drop_all(struct link *link);
static void stopped(struct link *link, const struct err *why);

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

int64_t link_adopted_end(const struct link *link, const char *topic, int32_t partition)
{
    int64_t adopted = -1;
    struct err err;
    json_t *adopt = link->adopt_json == NULL
                        ? NULL
                        : json_parse(link->adopt_json, strlen(link->adopt_json), "adopt", &err);
    json_t *pairs = json_object_get(adopt, topic);
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        json_t *pair = json_array_get(pairs, i);
        if (json_integer_value(json_array_get(pair, 0)) == partition &&
            json_is_integer(json_array_get(pair, 1))) {
            adopted = json_integer_value(json_array_get(pair, 1));
        }
    }
    json_decref(adopt);
    return adopted;
}

/* --- topics ------------------------------------------------------------------------------------------------------- */

static void topics_free(struct link *link)
{
    for (size_t i = 0; i < link->topics_count; i++) {
        free(link->topics[i]);
    }
    free(link->topics);
    link->topics = NULL;
    link->topics_count = 0;
}

static void topics_add(struct link *link, const char *name)
{
    link->topics = realloc(link->topics, (link->topics_count + 1) * sizeof(char *));
    char *copy = strdup(name);
    if (link->topics == NULL || copy == NULL) {
        abort();
    }
    link->topics[link->topics_count++] = copy;
}

/* Both clusters' metadata of what we mirror; nothing else is asked for. */
static void follow_topics(struct link *link)
{
    static const char *const none[] = {
        NULL}; /* no topics: brokers and cluster id only; NULL would ask for all */
    const char *const *names = link->topics_count == 0 ? none : (const char *const *)link->topics;
    cluster_follow(link->source, names, (int32_t)link->topics_count);
    cluster_follow(link->target, names, (int32_t)link->topics_count);
}

static void subscribe(struct link *link, bool with_list)
{
    const char **names = calloc(link->topics_count + 1, sizeof(*names));
    struct err err = {0};
    if (names == NULL) {
        abort();
    }
    size_t count = 0;
    names[count++] = link->control_topic;
    for (size_t i = 0; with_list && i < link->topics_count; i++) {
        names[count++] = link->topics[i];
    }
    if (!membership_subscribe(link->membership, names, count, &err)) {
        log_error("membership.subscribe_failed", "link=%s>%s why=%s", link->from->name,
                  link->to->name, log_quote(err.what).text);
    }
    link->subscribed_all = with_list;
    free(names);
}

/* --- partitions come and go --------------------------------------------------------------------------------------- */

static void assigned(void *arg, const struct membership_partition *parts, size_t count)
{
    struct link *link = arg;
    if (link->stopping ||
        link->state == LINK_RETREATING) { /* what comes while we drain is begun by its next owner */
        link_commit_soon(link);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(parts[i].topic, link->control_topic) == 0) {
            link->control_ours = true;
            link->control_committed = false;
            link->keeper_terms++;
            log_info("keeper.elected", "service=%s link=%s>%s", link->service->name,
                     link->from->name, link->to->name);
        } else if (part_find(link, parts[i].topic, parts[i].partition) == NULL) {
            part_new(link, parts[i].topic, parts[i].partition);
        }
    }
    if (link->state == LINK_JOINING) {
        link_event(link, LINK_EV_JOINED, "the group gave its assignment");
    }
    if (!link->subscribed_all) {
        subscribe(
            link,
            true); /* a restarted static member keeps its old assignment: the list comes second */
    }
    link_commit_soon(link);
}

static void give_back(struct link *link)
{
    for (size_t i = link->parts_count; i-- > 0;) {
        if (link->parts[i]->leaving) {
            part_free(link->parts[i]);
        }
    }
    loop_timer_cancel(link->revoke_timer);
    if (link->revoking) {
        link->revoking = false;
        membership_revoked_done(link->membership);
    }
    if (link->parts_count > 0) {
        return;
    }
    if (link->state == LINK_RETREATING) {
        /* Bytes that the kernel holds leave it within this time or never. */
        int32_t wait_ms = link->retreat_dirty ? link->config->limits.tcp_user_timeout_ms : 0;
        if (!link->retreat_leaving) {
            loop_timer_set(link->retreat_timer, wait_ms);
        }
    } else if (link->stopping) {
        link_event(link, LINK_EV_DRAINED, "every window is empty and committed");
    }
}

static void flushed(void *arg, bool all)
{
    struct link *link = arg;
    (void)all; /* what Redis did not take stands in the group's commit */
    link->revoke_flushed = true;
    link_look_at_leaving(link);
}

void link_look_at_leaving(struct link *link)
{
    bool leaving = false;
    bool waiting = false;
    for (size_t i = 0; i < link->parts_count; i++) {
        struct link_part *part = link->parts[i];
        leaving = leaving || part->leaving;
        waiting = waiting ||
                  (part->leaving && (!part->drained || part->commit_wanted || part->commit_flying));
    }
    bool going = (link->stopping && link->state == LINK_DRAINING && !link->stop_leaving) ||
                 (link->state == LINK_RETREATING && !link->retreat_leaving);
    if (!leaving && !link->revoking && !going) {
        return;
    }
    if (waiting) {
        link_commit_soon(link);
        return;
    }
    if (!link->revoke_flushed && leaving && link->store != NULL) {
        link->revoke_flushed = true; /* asked once; `flushed` comes back here */
        offset_store_flush(link->store, 1000, flushed, link);
        return;
    }
    give_back(link);
}

static void revoke_late(void *arg)
{
    struct link *link = arg;
    log_warn("membership.revoke_late",
             "link=%s>%s doing=\"giving the partitions back; their next owner resumes\"",
             link->from->name, link->to->name);
    link->retreat_dirty = true;
    engine_drop_unsent(link->engine);
    give_back(link);
}

static void leave_marked(struct link *link)
{
    for (size_t i = link->parts_count;
         i-- > 0;) { /* backwards: what is given back inside moves up from the end */
        if (i < link->parts_count && link->parts[i]->leaving && !link->parts[i]->drained) {
            part_leave(link->parts[i]);
        }
    }
    link_look_at_leaving(link);
}

static void leave_parts(struct link *link, const struct membership_partition *parts, size_t count)
{
    link->revoke_flushed = false;
    loop_timer_set(link->revoke_timer, REVOKE_MS);
    for (size_t i = 0; i < count;
         i++) { /* all are marked first: the last one at rest gives all of them back */
        struct link_part *part = part_find(link, parts[i].topic, parts[i].partition);
        if (part != NULL) {
            part->leaving = true;
        }
    }
    leave_marked(link);
}

static void control_lost(struct link *link)
{
    link->control_ours = false;
    link->groups_done_ms = 0; /* the next keeper's word counts */
    link->control_committed = false;
    keeper_act(link->keeper, 0);
    if (link->groups != NULL) {
        group_sync_act(link->groups, 0);
    }
}

static void revoked(void *arg, const struct membership_partition *parts, size_t count, bool lost)
{
    struct link *link = arg;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(parts[i].topic, link->control_topic) == 0) {
            control_lost(link);
        }
    }
    link->revoking = true;
    if (!lost) {
        leave_parts(link, parts, count);
        return;
    }
    log_warn("membership.lost",
             "link=%s>%s partitions=%zu doing=\"dropping what was queued; joining again\"",
             link->from->name, link->to->name, count);
    deadline_close(&link->deadline);
    for (size_t i = 0; i < count; i++) {
        struct link_part *part = part_find(link, parts[i].topic, parts[i].partition);
        if (part != NULL) {
            part_free(part);
        }
    }
    engine_drop_unsent(link->engine);
    link->revoking = false;
    membership_revoked_done(link->membership);
}

void link_note_denied(char denied[LINK_DENIED_BYTES], const struct err *why)
{
    bool now = acl_refusal(why->code);
    snprintf(denied, LINK_DENIED_BYTES, "%.*s", now ? LINK_DENIED_BYTES - 1 : 0, why->what);
}

static void membership_trouble(void *arg, const struct err *why)
{
    struct link *link = arg;
    link_note_denied(link->group_denied, why);
    if (why->kind != ERR_FATAL) {
        log_warn("membership.trouble", "link=%s>%s why=%s doing=\"librdkafka connects again\"",
                 link->from->name, link->to->name, log_quote(why->what).text);
        if (why->code == MEMBERSHIP_OUTLIVED) {
            link->join_again = "a commit outlived its session";
        } else if (membership_is_old(link->membership)) {
            link->join_again = "certificates were renewed";
        }
        return;
    }
    drop_all(link);
    link_event(link, LINK_EV_FENCED, why->what);
    stopped(link, why);
}

/* --- joining ------------------------------------------------------------------------------------------------------ */

static void join(struct link *link)
{
    char group[256];
    struct err err = {0};
    snprintf(group, sizeof(group), "ferry-%s-%s-%s", link->service->name, link->from->name,
             link->to->name);
    const struct membership_options options = {.group = group,
                                               .instance_id = link->config->worker,
                                               .session_timeout_ms =
                                                   link->config->limits.session_timeout_ms,
                                               .heartbeat_ms = HEARTBEAT_MS,
                                               .metadata_refresh_ms = METADATA_REFRESH_MS,
                                               .max_poll_interval_ms = MAX_POLL_MS};
    const struct membership_callbacks callbacks = {
        .assigned = assigned, .revoked = revoked, .trouble = membership_trouble, .arg = link};
    link->membership = membership_new(link->loop, &link->to->kafka, &options, &callbacks, &err);
    if (link->membership == NULL) {
        log_error("membership.failed", "link=%s>%s why=%s hint=%s doing=\"trying again\"",
                  link->from->name, link->to->name, log_quote(err.what).text,
                  log_quote(err.hint).text);
        return;
    }
    follow_topics(link);
    subscribe(link, !link->has_list); /* see assigned(): with a list, control topic first */
    loop_timer_set(link->commit_timer, TICK_MS);
}

static void drop_all(struct link *link)
{
    deadline_close(&link->deadline);
    while (link->parts_count > 0) {
        part_free(link->parts[link->parts_count - 1]);
    }
    engine_drop_unsent(link->engine);
    if (link->control_ours) {
        control_lost(link);
    }
}

static void leave_group(struct link *link)
{
    drop_all(link);
    membership_free(link->membership);
    link->membership = NULL;
    link->revoking = false;
    link->commit_flying = false;
    loop_timer_cancel(link->commit_timer);
}

/* librdkafka's handle is of no use any more: it read certificates that were renewed since, or gave up. A static member gets
 * its partitions back; what was in flight is looked for by the resume procedure. */
static void join_again(struct link *link)
{
    log_warn("membership.anew", "link=%s>%s why=\"%s\" doing=\"joining again\"", link->from->name,
             link->to->name, link->join_again);
    link->join_again = NULL;
    leave_group(link);
    join(link);
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
    leave_marked(link);
}

static void enter(struct link *link, enum link_state state)
{
    switch (state) {
    case LINK_JOINING:
        if (!link->has_list) {
            keeper_prepare(link->keeper); /* topics exist before anybody joins for them */
        } else {
            join(link);
        }
        break;
    case LINK_NO_ROLE:
        if (link->membership != NULL) {
            leave_group(
                link); /* a role that went away: whoever has it now writes; nothing of ours may follow */
        }
        break;
    case LINK_RETREATING:
        link->retreat_dirty = false;
        link->retreat_leaving = false;
        leave_all(link, REVOKE_MS);
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

static void link_event(struct link *link, enum link_event event, const char *why)
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
    link->state = to;
    snprintf(link->why, sizeof(link->why), "%s", why);
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
    stopped(link, NULL);
}

static struct err err_or_none(const struct err *err)
{
    struct err none = {0};
    return err == NULL ? none : *err;
}

static void stopped(struct link *link, const struct err *why)
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
    stopped(link, NULL);
}

static void look_at_stop(struct link *link)
{
    if (!link->stopping || link->stop_leaving || link->state != LINK_STOPPED) {
        return;
    }
    link->stop_leaving = true;
    drop_all(link);
    if (link->membership == NULL) {
        stopped(link, NULL);
    } else {
        membership_leave(link->membership, link->target, LEAVE_MS, left, link);
    }
}

void link_stop(struct link *link)
{
    if (link->stopping) {
        return;
    }
    link->stopping = true;
    loop_timer_set(link->stop_timer, link->config->limits.drain_timeout_ms + LEAVE_MS + 1000);
    link_event(link, LINK_EV_STOP, "asked to stop");
    look_at_stop(link);
}

/* --- an operation's order ----------------------------------------------------------------------------------------- */

/* Told at once: the operation waits for it. */
static void look_at_fence(struct link *link)
{
    bool still = link->state == LINK_NO_ROLE && link->membership == NULL;
    if (link->fence[0] == '\0') {
        link->fence_acked[0] = '\0';
    } else if (still && strcmp(link->fence_acked, link->fence) != 0) {
        memcpy(link->fence_acked, link->fence, sizeof(link->fence));
        snprintf(link->why, sizeof(link->why), "operation %s has fenced this worker", link->fence);
        log_info("link.fenced", "service=%s link=%s>%s operation=%s", link->service->name,
                 link->from->name, link->to->name, link->fence);
        if (link->heartbeat != NULL) {
            heartbeat_now(link->heartbeat);
        }
    }
}

static void retreated(void *arg, const struct err *err)
{
    struct link *link = arg;
    if (err != NULL) {
        log_warn("membership.leave_failed",
                 "link=%s>%s why=%s doing=\"the session ends by its time-out\"", link->from->name,
                 link->to->name, log_quote(err->what).text);
    }
    link_event(link, LINK_EV_DRAINED, "fenced by an operation");
    look_at_fence(link);
    if (link->stopping) {
        link_event(link, LINK_EV_STOP, "asked to stop");
    } else {
        link_step(link); /* the order may have been withdrawn meanwhile */
    }
}

static void retreat(void *arg)
{
    struct link *link = arg;
    if (link->state != LINK_RETREATING || link->retreat_leaving) {
        return;
    }
    link->retreat_leaving = true;
    drop_all(link);
    if (link->membership == NULL) {
        retreated(link, NULL);
    } else {
        membership_leave(link->membership, link->target, LEAVE_MS, retreated, link);
    }
}

/* --- what the control topic says ---------------------------------------------------------------------------------- */

static char *adopt_text(const char *role_json)
{
    struct err err;
    json_t *role =
        role_json == NULL ? NULL : json_parse(role_json, strlen(role_json), "role", &err);
    json_t *adopt = json_object_get(role, "adopt");
    char *text = json_is_object(adopt) ? json_text(adopt) : NULL;
    json_decref(role);
    return text;
}

/* NULL = it may be believed. */
static const char *control_wrong(const struct link *link, const struct control_state *state)
{
    const struct heartbeat_role *witness = &link->witness;
    bool has_topic = !uuid_is_zero(&state->topic_id);
    if (has_topic && !uuid_is_zero(&link->control_topic_id) &&
        !uuid_equal(&link->control_topic_id, &state->topic_id)) {
        return "was deleted and created again";
    }
    if (state->role_epoch < link->role_epoch) {
        return "shows an older role epoch than before";
    }
    if (state->role_epoch < witness->epoch) {
        return "shows an older role epoch than Redis remembers";
    }
    if (has_topic && state->role_epoch == witness->epoch && witness->epoch > 0 &&
        !uuid_equal(&witness->topic_id, &state->topic_id)) {
        return "is another topic than the one that Redis remembers";
    }
    return NULL;
}

/* The topic was made anew or an older epoch stands there: not a beginning, a fault of the service. */
static bool control_trusted(struct link *link, const struct control_state *state)
{
    const char *wrong = control_wrong(link, state);
    if (wrong == NULL) {
        link->distrusted = false;
        return true;
    }
    snprintf(link->why, sizeof(link->why), "the control topic on %.100s %s", link->to->name, wrong);
    if (!link->distrusted) {
        log_error(
            "control.distrusted",
            "service=%s link=%s>%s epoch=%lld remembered=%lld why=%s doing=\"writing nothing\" "
            "hint=\"ferry status %s; docs/faults.md#control\"",
            link->service->name, link->from->name, link->to->name, (long long)state->role_epoch,
            (long long)link->witness.epoch, log_quote(link->why).text, link->service->name);
    }
    link->distrusted = true;
    return false;
}

static void take_role(struct link *link, const struct control_state *state)
{
    bool trusted = control_trusted(link, state);
    bool named = trusted && state->role_epoch > 0 && strcmp(state->primary, link->from->name) == 0;
    bool ours = named && link->fence[0] == '\0';
    if (trusted) {
        link->control_topic_id = state->topic_id;
        link->role_epoch = state->role_epoch;
        link->operation_open = state->operation_open;
        link->target_is_primary =
            state->role_epoch > 0 && strcmp(state->primary, link->to->name) == 0;
    }
    if (ours && link->adopt_json == NULL) {
        link->adopt_json = adopt_text(state->role_json);
    }
    if (ours == link->role_ours) {
        return;
    }
    link->role_ours = ours;
    if (named && !ours) {
        link_event(link, LINK_EV_RETREAT, "an operation fences us");
    } else if (!ours) {
        link_event(link, LINK_EV_NO_ROLE,
                   trusted ? "the role epoch names another primary, or none" : link->why);
    }
}

static bool list_changed(const struct link *link, const struct control_state *state)
{
    if (!link->has_list || state->topics_count != link->topics_count) {
        return true;
    }
    for (size_t i = 0; i < state->topics_count; i++) {
        if (strcmp(state->topics[i].name, link->topics[i]) != 0) {
            return true;
        }
    }
    return false;
}

/* Commits of other topics are not carried. */
static void tell_groups(struct link *link)
{
    if (link->groups != NULL) {
        group_sync_topics(link->groups, (const char *const *)link->topics, link->topics_count);
    }
}

static void count_partitions(struct link *link, const struct control_state *state)
{
    link->partitions_listed = state->has_topics ? 0 : -1;
    for (size_t i = 0; state->has_topics && i < state->topics_count; i++) {
        link->partitions_listed += state->topics[i].partitions_count;
    }
}

static void take_list(struct link *link, const struct control_state *state)
{
    count_partitions(link, state);
    if (!state->has_topics || !list_changed(link, state)) {
        return;
    }
    bool first = !link->has_list;
    topics_free(link);
    for (size_t i = 0; i < state->topics_count; i++) {
        topics_add(link, state->topics[i].name);
    }
    link->has_list = true;
    link->list_epoch = state->topics_epoch;
    tell_groups(link);
    if (link->membership == NULL) {
        return;
    }
    log_info("link.topics", "service=%s link=%s>%s topics=%zu", link->service->name,
             link->from->name, link->to->name, link->topics_count);
    follow_topics(link);
    if (link->subscribed_all || first) {
        subscribe(link, true);
    }
}

/* Read each second: a trouble that stays is told once a minute, another one at once. */
static void control_trouble(struct link *link, const struct err *why)
{
    link_note_denied(link->control_denied, why);
    int64_t now_ms = loop_now_ms(link->loop);
    bool again = link->control_trouble_ms > 0 && link->control_trouble_code == why->code &&
                 now_ms - link->control_trouble_ms < TROUBLE_AGAIN_MS;
    if (again) {
        return;
    }
    link->control_trouble_ms = now_ms;
    link->control_trouble_code = why->code;
    log_warn("control.trouble", "service=%s link=%s>%s why=%s doing=\"reading again\"",
             link->service->name, link->from->name, link->to->name, log_quote(why->what).text);
}

static void streams_see(struct link *link, const struct control_state *state)
{
    struct control_state *seen = &link->streams_seen;
    seen->streams_epoch = state->streams_epoch;
    seen->streams_hash = state->streams_hash;
    seen->streams_previous_count = state->streams_previous_count;
    memcpy(seen->streams_previous, state->streams_previous, sizeof(seen->streams_previous));
}

/* What we mirror by is the control topic's; a reload that waited for it comes into force. */
static void streams_compare(struct link *link)
{
    const struct control_state *seen = &link->streams_seen;
    if (link->streams_pending && streams_judge(seen, link->streams_next) == STREAMS_OURS) {
        link->streams_pending = false;
        link->streams_hash = link->streams_next;
        log_info("link.streams", "service=%s link=%s>%s epoch=%lld hash=%016llx",
                 link->service->name, link->from->name, link->to->name,
                 (long long)seen->streams_epoch, (unsigned long long)link->streams_hash);
    }
    bool match = streams_judge(seen, link->streams_hash) == STREAMS_OURS;
    if (seen->streams_epoch > 0 && !match && link->streams_match) {
        log_error("link.streams_differ",
                  "service=%s link=%s>%s doing=\"writing nothing\" hint=\"this worker's "
                  "configuration of the service is not the newest: compare `ferry config show` on "
                  "all workers, reload those with the old file\"",
                  link->service->name, link->from->name, link->to->name);
    }
    link->streams_match = match;
}

/* The filter of the records changed: what is mirrored from now on is another stream. */
static void take_generation(struct link *link, int32_t least)
{
    if (least <= link->streams_generation) {
        return;
    }
    link->streams_generation = least;
    for (size_t i = 0; i < link->parts_count; i++) {
        part_refilter(link->parts[i]);
    }
}

static void control_changed(void *arg, const struct control_state *state, const struct err *err)
{
    struct link *link = arg;
    if (err != NULL) {
        control_trouble(link, err);
    } else {
        link->control_trouble_ms = 0;
        link->control_denied[0] = '\0';
    }
    if (state == NULL) {
        return;
    }
    link->control_read_ms = state->read_ms;
    link->control_end = state->end_offset;
    link->paused = state->paused;
    memcpy(link->fence, state->fence_operation, sizeof(link->fence));
    streams_see(link, state);
    streams_compare(link);
    take_generation(link,
                    link->streams_match ? state->streams_generation : link->streams_generation);
    take_role(link, state);
    look_at_fence(link);
    take_list(link, state);
    keeper_control(link->keeper, state);
    if (link->groups != NULL) {
        group_sync_control(link->groups, state->read_ms,
                           link->role_ours && link->streams_match && !state->operation_open);
    }
    link_step(link);
}

static int64_t count_in(const json_t *report, const char *key)
{
    return json_integer_value(json_object_get(report, key));
}

/* For status and metrics; what the keeper changed, for the events. */
static void take_topics_report(struct link *link, const struct topic_sync *sync)
{
    size_t index;
    json_t *change;
    json_decref(link->topics_report);
    link->topics_report = topic_sync_report(sync);
    link->drifted_topics = count_in(link->topics_report, "drifted_topics");
    link->not_mirrored_topics = count_in(link->topics_report, "not_mirrored_count");
    link->source_deleted_topics = count_in(link->topics_report, "source_deleted_count");
    json_array_foreach (sync->news, index, change) {
        link->topic_changes++;
        if (link->store != NULL) {
            char *text = json_text(change);
            offset_store_event(link->store, "topic.setting",
                               json_string_value(json_object_get(change, "topic")), -1, text);
            free(text);
        }
    }
}

static void keeper_synced(void *arg, const struct topic_sync *sync, const struct err *err)
{
    struct link *link = arg;
    if (err != NULL) {
        log_warn("keeper.sync_failed",
                 "service=%s link=%s>%s why=%s hint=%s doing=\"trying again\"", link->service->name,
                 link->from->name, link->to->name, log_quote(err->what).text,
                 log_quote(err->hint).text);
    }
    if (sync != NULL) {
        take_topics_report(link, sync);
    }
    if (link->state != LINK_JOINING || link->membership != NULL || link->stopping) {
        control_poke(link->control); /* the list may have changed */
        return;
    }
    if (sync == NULL) {
        loop_timer_set(link->prepare_timer, PREPARE_RETRY_MS);
        return;
    }
    if (!link->has_list) {
        topics_free(link);
        for (size_t i = 0; i < sync->pairs_count; i++) {
            if (sync->pairs[i].problem[0] == '\0') {
                topics_add(link, sync->pairs[i].name);
            }
        }
    }
    join(link);
}

static void keeper_trouble(void *arg, const struct err *err)
{
    struct link *link = arg;
    log_warn("keeper.fenced",
             "service=%s link=%s>%s why=%s doing=\"acting again when no operation is open\"",
             link->service->name, link->from->name, link->to->name, log_quote(err->what).text);
}

/* --- clusters and Redis ------------------------------------------------------------------------------------------- */

static void metadata_changed(void *arg)
{
    struct link *link = arg;
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
    log_warn("map.away", "link=%s>%s why=%s doing=\"mirroring goes on; the map is kept in memory\"",
             link->from->name, link->to->name, log_quote(why == NULL ? "" : why->what).text);
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
    const struct group_sync_options groups = {
        .config = link->config, .service = link->service, .from = link->from, .to = link->to};
    const struct group_sync_callbacks groups_callbacks = {.reported = link_groups_reported,
                                                          .arg = link};
    link->groups = group_sync_new(link->loop, &groups, &groups_callbacks);
    tell_groups(link);
}

/* Whatever came: is there something to begin? */
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
        stopped(link, &why);
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
    if (part > 0) {
        engine_rates(link->engine, part_of(service->limit_initial_bytes, part),
                     part_of(service->limit_steady_bytes, part));
    }
}

static void tick(void *arg)
{
    struct link *link = arg;
    loop_timer_set(link->tick, TICK_MS);
    share_limits(link);
    if ((link->state == LINK_JOINING || link->state == LINK_RUNNING) && link->membership == NULL &&
        link->has_list) {
        join(link);
    }
    if (link->join_again != NULL && link->membership != NULL && !link->stopping) {
        join_again(link);
    }
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
                                            .refresh_ms = METADATA_REFRESH_MS,
                                            .tcp_user_timeout_ms = limits->tcp_user_timeout_ms,
                                            .produce_until_ms = &link->deadline.until_ms,
                                            .max_answer_bytes = (size_t)limits->fetch_bytes +
                                                                LINK_ANSWER_SLACK_BYTES};
    return cluster_new(link->loop, &options);
}

struct link *link_new(struct loop *loop, const struct config *config,
                      const struct config_service *service, const struct config_site *from,
                      const struct config_site *to, struct metrics *metrics,
                      const struct link_callbacks *callbacks, struct err *err)
{
    struct link *link = calloc(1, sizeof(*link));
    if (link == NULL) {
        abort();
    }
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
    link->streams_hash = config_streams_hash(service);
    link->streams_match =
        true; /* until the control topic says otherwise; nothing is sent before it was read */
    control_topic_name(service->name, link->control_topic);
    deadline_init(&link->deadline, config->limits.session_timeout_ms,
                  config->limits.tcp_user_timeout_ms);
    link->pool = buf_pool_new(BUFFERS_KEPT_BYTES);
    link->source = make_cluster(link, from);
    link->target = make_cluster(link, to);
    struct engine_callbacks engine_callbacks;
    link_engine_callbacks(link, &engine_callbacks);
    const struct engine_options engine_options = {.limits = &config->limits,
                                                  .id_deployment = config->deployment,
                                                  .id_service = service->name,
                                                  .filter = service->filter,
                                                  .compression = service->compression,
                                                  .merge = service->merge};
    link->engine = batches_new(loop, link->source, link->target, link->pool, &engine_options,
                               &engine_callbacks);
    link->load_timer = loop_timer_new(loop, link_load_groups, link);
    link->commit_timer = loop_timer_new(loop, link_commit, link);
    link->revoke_timer = loop_timer_new(loop, revoke_late, link);
    link->stop_timer = loop_timer_new(loop, stop_late, link);
    link->prepare_timer = loop_timer_new(loop, prepare_again, link);
    link->retreat_timer = loop_timer_new(loop, retreat, link);
    link->tick = loop_timer_new(loop, tick, link);
    link_metrics_start(link, metrics);
    const struct keeper_options keeper_options = {
        .service = service, .from = from, .to = to, .worker = config->worker, .interval_ms = 2000};
    const struct keeper_callbacks keeper_callbacks = {
        .synced = keeper_synced, .trouble = keeper_trouble, .arg = link};
    link->keeper = keeper_new(loop, &keeper_options, &keeper_callbacks);
    const struct control_callbacks control_callbacks = {.state = control_changed, .arg = link};
    link->control = control_new(loop, &to->kafka, service->name, &control_callbacks, err);
    if (link->control == NULL || !make_redis(link, err)) {
        link_free(link);
        return NULL;
    }
    follow_topics(link);
    cluster_on_change(link->source, metadata_changed, link);
    cluster_on_change(link->target, metadata_changed, link);
    loop_timer_set(link->tick, TICK_MS);
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
    topics_free(link);
    json_decref(link->topics_report);
    free(link->adopt_json);
    free(link->parts);
    buf_pool_free(link->pool);
    config_free(link->service->config);
    free(link);
}

bool link_configured(const struct link *link)
{
    return link->state == LINK_RUNNING && link->role_ours && link->streams_match;
}

/* --- a configuration that was read again -------------------------------------------------------------------------- */

bool link_reloadable(const struct link *link, const struct config *config, struct err *err)
{
    const struct config_service *service = config_service(config, link->service->name);
    uint64_t hash = config_streams_hash(service);
    if (hash == link->streams_hash || (link->streams_pending && hash == link->streams_next) ||
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
    keeper_reload(link->keeper, link->service);
    if (link->groups != NULL) {
        group_sync_reload(link->groups, link->service);
    }
    config_free(before->config); /* `before` ends here, if nobody else has it */
    uint64_t hash = config_streams_hash(link->service);
    link->streams_next = hash;
    link->streams_pending = hash != link->streams_hash;
    streams_compare(link);
}
