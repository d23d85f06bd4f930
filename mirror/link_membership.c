#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/log.h"
#include "base/text.h"
#include "mirror/link_inside.h"

#define HEARTBEAT_MS 500
#define MAX_POLL_MS  30000
#define WAITING_MS   60000 /* and twice the session: the leader of thousands assigns for a while */

/* --- partitions come and go --------------------------------------------------------------------------------------- */

void link_subscribe(struct link *link, bool with_list)
{
    const char **names = must(calloc(link->topics_count + 1, sizeof(*names)));
    struct err err = {0};
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
        link_subscribe(
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

/* A part that was told to go and is not at rest. Asked with each part that comes to rest, so the search begins where it ended:
 * thousands that go are not looked through thousands of times. */
static bool any_not_at_rest(struct link *link)
{
    for (size_t tries = 0; tries < link->parts_count; tries++) {
        size_t at = (link->leaving_turn + tries) % link->parts_count;
        const struct link_part *part = link->parts[at];
        if (part->leaving && (!part->drained || part->commit_wanted || part->commit_flying)) {
            link->leaving_turn = at;
            return true;
        }
    }
    return false;
}

static bool any_leaving(const struct link *link)
{
    for (size_t i = 0; i < link->parts_count; i++) {
        if (link->parts[i]->leaving) {
            return true;
        }
    }
    return false;
}

void link_look_at_leaving(struct link *link)
{
    if (any_not_at_rest(link)) {
        link_commit_soon(link);
        return;
    }
    bool leaving = any_leaving(link);
    bool going = (link->stopping && link->state == LINK_DRAINING && !link->stop_leaving) ||
                 (link->state == LINK_RETREATING && !link->retreat_leaving);
    if (!leaving && !link->revoking && !going) {
        return;
    }
    if (!link->revoke_flushed && leaving && link->store != NULL) {
        link->revoke_flushed = true; /* asked once; `flushed` comes back here */
        offset_store_flush(link->store, 1000, flushed, link);
        return;
    }
    give_back(link);
}

void link_revoke_late(void *arg)
{
    struct link *link = arg;
    log_warn("membership.revoke_late",
             "link=%s>%s doing=\"giving the partitions back; their next owner resumes\"",
             link->from->name, link->to->name);
    link->retreat_dirty = true;
    engine_drop_unsent(link->engine);
    give_back(link);
}

void link_leave_marked(struct link *link)
{
    for (size_t i = link->parts_count;
         i-- > 0;) { /* backwards: when some are given back inside, those behind them move up */
        if (i < link->parts_count && link->parts[i]->leaving && !link->parts[i]->drained) {
            part_leave(link->parts[i]);
        }
    }
    link_look_at_leaving(link);
}

static void leave_parts(struct link *link, const struct membership_partition *parts, size_t count)
{
    link->revoke_flushed = false;
    loop_timer_set(link->revoke_timer, LINK_REVOKE_MS);
    for (size_t i = 0; i < count;
         i++) { /* all are marked first: the last one at rest gives all of them back */
        struct link_part *part = part_find(link, parts[i].topic, parts[i].partition);
        if (part != NULL) {
            part->leaving = true;
        }
    }
    link_leave_marked(link);
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
    text_print(denied, LINK_DENIED_BYTES, "%s", now ? why->what : "");
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
    link_drop_all(link);
    link_event(link, LINK_EV_FENCED, why->what);
    link_stopped(link, why);
}

/* --- joining ------------------------------------------------------------------------------------------------------ */

void link_join(struct link *link)
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
                                               .metadata_refresh_ms = LINK_METADATA_REFRESH_MS,
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
    link_follow_topics(link);
    link_subscribe(link, !link->has_list); /* see assigned(): with a list, control topic first */
    loop_timer_set(link->commit_timer, LINK_TICK_MS);
}

void link_drop_all(struct link *link)
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

void link_leave_group(struct link *link)
{
    link_drop_all(link);
    membership_free(link->membership);
    link->membership = NULL;
    link->join_again = NULL; /* it was about that one */
    link->revoking = false;
    link->commit_flying = false;
    loop_timer_cancel(link->commit_timer);
}

static void join_again(struct link *link)
{
    log_warn("membership.anew", "link=%s>%s why=\"%s\" doing=\"joining again\"", link->from->name,
             link->to->name, link->join_again);
    link_leave_group(link);
    link_join(link);
}

/* librdkafka (2.14) may never ask again to be let in: seen when the coordinator unloaded the group and was away for a minute,
 * after which it stood idle. Where the target answers and the group has nothing for us for so long, another handle asks. */
static void look_at_waiting(struct link *link)
{
    int64_t now_ms = loop_now_ms(link->loop);
    bool waits = link->membership != NULL && membership_generation(link->membership) < 0 &&
                 cluster_reachable(link->target);
    if (!waits) {
        link->waiting_ms = 0;
    } else if (link->waiting_ms == 0) {
        link->waiting_ms = now_ms;
    } else if (now_ms - link->waiting_ms >=
               WAITING_MS + 2 * (int64_t)link->config->limits.session_timeout_ms) {
        link->waiting_ms = 0;
        link->join_again = "the group did not let us in";
    }
}

void link_tend_membership(struct link *link)
{
    bool wanted = link->state == LINK_JOINING || link->state == LINK_RUNNING;
    look_at_waiting(link);
    if (wanted && link->membership == NULL && link->has_list) {
        link_join(link);
    }
    if (link->join_again != NULL && link->membership != NULL && !link->stopping &&
        link->state != LINK_RETREATING) { /* which leaves, and is told when it has */
        join_again(link);
    }
}
