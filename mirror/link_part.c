#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "kafka/topic_id.h"
#include "mirror/link_inside.h"

#define LOAD_GATHER_MS 5 /* parts that come together ask the coordinator together */
#define STALL_FIRST_MS 100
#define STALL_CAP_MS   5000

/* --- parts of a link ---------------------------------------------------------------------------------------------- */

static void timer_fired(void *arg)
{
    struct link_part *part = arg;
    part_event(part, PART_EV_BACK, "trying again");
}

struct link_part *part_new(struct link *link, const char *topic, int32_t partition)
{
    struct link_part *part = must(calloc(1, sizeof(*part)));
    part->link = link;
    snprintf(part->topic, sizeof(part->topic), "%s", topic);
    part->partition = partition;
    link_index_add(part);
    part->state = PART_WAITING;
    part->since_ms = loop_now_ms(link->loop);
    part->resume_depth = link->config->limits.resume_read_bytes;
    part->timer = loop_timer_new(link->loop, timer_fired, part);
    backoff_init(&part->backoff, STALL_FIRST_MS, STALL_CAP_MS, (uint32_t)part->id);
    link_metrics_part(part);
    part_metadata(part);
    return part;
}

void part_free(struct link_part *part)
{
    struct link *link = part->link;
    link_rebuild_forget(part);
    link_metrics_part_gone(part);
    if (link->heartbeat != NULL) {
        heartbeat_forget(link->heartbeat, part->topic, part->partition);
    }
    if (part->track != NULL) {
        offset_track_free(part->track);
    }
    if (part->task != NULL) {
        engine_remove(link->engine, part->task);
    }
    loop_timer_free(part->timer);
    link_index_remove(part);
    free(part);
}

/* --- states ------------------------------------------------------------------------------------------------------- */

static void resume(struct link_part *part)
{
    struct link *link = part->link;
    struct resume_options options = {
        .start = link->service->start,
        .on_truncation = link->service->on_truncation,
        .on_foreign_write = link->service->on_foreign_write,
        .foreign_seen_end = part->foreign_seen_end,
        .generation_least = part->link->streams_generation,
        .adopt_end = link_adopted_end(link, part->topic, part->partition),
        .read_bytes = part->resume_depth,
        .accept_from = part->accept_from,
        .accept_to = part->accept_to,
        .resync = part->resync,
        .resync_from = part->resync_from,
    };
    if (part->track !=
        NULL) { /* what it holds is flushed by the store; the next position is resume's to say */
        offset_track_free(part->track);
        part->track = NULL;
    }
    part->commit_wanted = false;
    link_rebuild_forget(part);
    engine_resume(link->engine, part->task, &options);
}

static void enter(struct link_part *part, enum part_state state)
{
    switch (state) {
    case PART_RESUMING:
        resume(part);
        break;
    case PART_PLACED:
        part->commit_wanted = true;
        link_commit_soon(part->link);
        break;
    case PART_MIRRORING:
        part->acked = false;
        engine_start(part->link->engine, part->task);
        break;
    case PART_STALLED:
        loop_timer_set(part->timer, backoff_next_ms(&part->backoff));
        break;
    case PART_DRAINING:
        loop_timer_cancel(part->timer);
        if (part->task != NULL) {
            engine_drain(part->link->engine, part->task);
        } else {
            part_event(part, PART_EV_EMPTY, "nothing was begun");
        }
        break;
    case PART_GONE:
        loop_timer_cancel(part->timer);
        part->drained = true;
        part->commit_wanted = part->track != NULL; /* its last position */
        link_look_at_leaving(part->link);
        break;
    case PART_WAITING:
    case PART_FAULTED:
    case PART_STATES_COUNT:
        break;
    }
}

void part_event(struct link_part *part, enum part_event event, const char *why)
{
    const struct fsm_edge *edge = part_edge(part->state, event);
    if (edge->to < 0) {
        log_debug("partition.event_refused", "topic=%s partition=%d state=%s event=%s why=%s",
                  part->topic, part->partition, part_state_name(part->state),
                  part_event_name(event), log_quote(edge->why).text);
        return;
    }
    enum part_state to = (enum part_state)edge->to;
    char shown[sizeof(part->why)];
    text_print(shown, sizeof(shown), "%s", why);
    bool again = to == PART_RESUMING && part->state == PART_STALLED;
    bool same = to == PART_STALLED && strcmp(part->why, shown) == 0;
    bool quiet = again || same; /* what stays as it is for hours is told once */
    log_event(quiet ? LOG_DEBUG : LOG_INFO, "partition.state",
              "topic=%s partition=%d from=%s to=%s why=%s", part->topic, part->partition,
              part_state_name(part->state), part_state_name(to), log_quote(why).text);
    part->state = to;
    part->since_ms = loop_now_ms(part->link->loop);
    if (!again || part->why[0] == '\0') {
        memcpy(part->why, shown, sizeof(shown));
    }
    enter(part, to);
}

/* --- topic ids ---------------------------------------------------------------------------------------------------- */

static void forget_task(struct link_part *part, const char *why)
{
    if (part->task != NULL) {
        engine_remove(part->link->engine, part->task);
        part->task = NULL;
    }
    if (part->track != NULL) {
        offset_track_free(part->track);
        part->track = NULL;
    }
    loop_timer_cancel(part->timer);
    part->question++;
    part->load_group_wanted = false;
    part->commit_wanted = false;
    part->state = PART_WAITING;
    snprintf(part->why, sizeof(part->why), "%s", why);
}

static void say_unknown(struct link_part *part, const struct cluster_topic *source,
                        const struct cluster_topic *target)
{
    struct link *link = part->link;
    bool of_target = target == NULL;
    struct cluster *cluster = of_target ? link->target : link->source;
    char lacks[ACL_LACKS_BYTES];
    if (cluster_denied(cluster, cluster_topic_error(cluster, part->topic), ACL_READ, ACL_TOPIC,
                       part->topic, lacks)) {
        text_print(part->why, sizeof(part->why), "%s: %s", of_target ? "target" : "source", lacks);
    } else {
        snprintf(part->why, sizeof(part->why), "the %s does not know the %s",
                 of_target ? "target" : "source",
                 source == NULL || target == NULL ? "topic" : "partition");
    }
}

void part_metadata(struct link_part *part)
{
    struct link *link = part->link;
    const struct cluster_topic *source = cluster_topic(link->source, part->topic);
    const struct cluster_topic *target = cluster_topic(link->target, part->topic);
    if (part->leaving) {
        return;
    }
    if (source == NULL || target == NULL || part->partition >= source->partitions_count) {
        if (part->task == NULL) {
            say_unknown(part, source, target);
        }
        return; /* a topic that vanished keeps its task: metadata may be back, the logs decide */
    }
    if (part->task != NULL && (!uuid_equal(&part->source_topic_id, &source->id) ||
                               !uuid_equal(&part->target_topic_id, &target->id))) {
        bool other = topic_id_other(&part->source_topic_id, &source->id) ||
                     topic_id_other(&part->target_topic_id, &target->id);
        log_warn(other ? "partition.topic_recreated" : "partition.topic_id",
                 "topic=%s partition=%d doing=\"resuming against the checkpoint\"", part->topic,
                 part->partition);
        forget_task(part, other ? "the topic was created again" : "the topic has an id now");
    }
    if (part->task == NULL && part->state == PART_WAITING) {
        part->source_topic_id = source->id;
        part->target_topic_id = target->id;
        part->task =
            engine_add(link->engine, part->topic, part->partition, &source->id, &target->id, part);
        part_event(part, PART_EV_READY, "the partition is ours");
    }
}

/* --- reading what is stored --------------------------------------------------------------------------------------- */

struct
    part_call { /* an answer that finds its part by id, while that has asked nothing newer, or nobody */
    struct link *link;
    uint64_t id;
    uint64_t question;
};

static struct part_call *call_new(struct link_part *part)
{
    struct part_call *call = must(calloc(1, sizeof(*call)));
    call->link = part->link;
    call->id = part->id;
    call->question = part->question;
    return call;
}

static struct link_part *call_take(void *arg)
{
    struct part_call *call = arg;
    struct link_part *part = part_by_id(call->link, call->id);
    bool still_asked = part != NULL && part->question == call->question;
    free(call);
    return still_asked ? part : NULL;
}

static void loaded_one(struct link_part *part)
{
    if (--part->loads_left == 0 && part->state == PART_RESUMING) {
        engine_loaded(part->link->engine, part->task, &part->stored);
    }
}

static void redis_loaded(void *arg, enum offset_loaded what, const struct checkpoint *checkpoint,
                         const struct err *err)
{
    struct link_part *part = call_take(arg);
    if (part == NULL) {
        return;
    }
    switch (what) {
    case LOADED_FOUND:
        part->stored.redis_found = CHECKPOINT_FOUND;
        part->stored.redis = *checkpoint;
        break;
    case LOADED_MISSING:
        part->stored.redis_found = CHECKPOINT_NONE;
        break;
    case LOADED_AWAY:
        part->stored.redis_found = CHECKPOINT_AWAY;
        break;
    case LOADED_REFUSED:
        part->stored.redis_found = CHECKPOINT_GARBAGE;
        part->stored.garbage = *err;
        break;
    }
    loaded_one(part);
}

static void group_found(struct link_part *part, const struct membership_commit *found,
                        const struct err *err)
{
    struct task_stored *stored = &part->stored;
    if (err != NULL || found->error != KAFKA_NONE) {
        stored->group_found = CHECKPOINT_AWAY;
    } else if (found->offset < 0 || found->metadata == NULL || found->metadata[0] == '\0') {
        stored->group_found = CHECKPOINT_NONE;
    } else if (checkpoint_parse(found->metadata, strlen(found->metadata), &stored->group,
                                &stored->garbage)) {
        stored->group_found = CHECKPOINT_FOUND;
    } else {
        err_wrap(&stored->garbage, "commit metadata of ferry's group on %s", part->link->to->name);
        stored->group_found = CHECKPOINT_GARBAGE;
    }
    loaded_one(part);
}

struct load_call {
    struct link *link;
    uint64_t ids[MEMBERSHIP_COMMIT_MAX];
    uint64_t questions[MEMBERSHIP_COMMIT_MAX];
};

static void groups_loaded(void *arg, const struct membership_commit *found, size_t count,
                          const struct err *err)
{
    struct load_call *call = arg;
    for (size_t i = 0; i < count; i++) {
        struct link_part *part = part_by_id(call->link, call->ids[i]);
        if (part != NULL && part->question == call->questions[i]) {
            group_found(part, &found[i], err);
        }
    }
    free(call);
}

void link_load_groups(void *arg)
{
    struct link *link = arg;
    struct membership_commit *wants = calloc(MEMBERSHIP_COMMIT_MAX, sizeof(*wants));
    struct load_call *call = calloc(1, sizeof(*call));
    size_t count = 0;
    if (wants == NULL || call == NULL) {
        abort();
    }
    call->link = link;
    for (size_t i = 0;
         i < link->parts_count && count < MEMBERSHIP_COMMIT_MAX && link->membership != NULL; i++) {
        struct link_part *part = link->parts[i];
        if (part->load_group_wanted) {
            part->load_group_wanted = false;
            call->ids[count] = part->id;
            call->questions[count] = part->question;
            wants[count++] =
                (struct membership_commit){.topic = part->topic, .partition = part->partition};
        }
    }
    if (count == 0) {
        free(wants);
        free(call);
        return;
    }
    if (count == MEMBERSHIP_COMMIT_MAX) {
        loop_timer_set(link->load_timer, LOAD_GATHER_MS);
    }
    membership_committed(link->membership, link->target, wants, count, groups_loaded, call);
}

static void engine_load(void *arg, struct task *task)
{
    struct link *link = arg;
    struct link_part *part = task_owner(task);
    part->stored = (struct task_stored){.redis_found = CHECKPOINT_NONE};
    part->question++;
    part->loads_left = 2;
    part->load_group_wanted = true;
    if (!loop_timer_pending(link->load_timer)) {
        loop_timer_set(link->load_timer, LOAD_GATHER_MS);
    }
    if (link->redis == NULL) {
        loaded_one(part);
    } else {
        offset_store_load(link->store, part->topic, part->partition, redis_loaded, call_new(part));
    }
}

static void floor_found(void *arg, bool found, struct offset_run run, const struct err *err)
{
    struct link_part *part = call_take(arg);
    (void)err; /* without the map the logs are searched */
    if (part != NULL && part->task != NULL) {
        engine_floor(part->link->engine, part->task, found, run);
    }
}

static void engine_floor_wanted(void *arg, struct task *task, const struct checkpoint *end_at,
                                int64_t target_offset)
{
    struct link *link = arg;
    struct link_part *part = task_owner(task);
    if (link->redis == NULL) {
        engine_floor(link->engine, task, false, (struct offset_run){0});
        return;
    }
    part->question++;
    offset_store_floor_target(link->store, part->topic, part->partition, end_at, target_offset,
                              floor_found, call_new(part));
}

static void cut_done(void *arg, bool ok, const struct err *err)
{
    struct link_part *part = call_take(arg);
    if (part == NULL || part->task == NULL) {
        return;
    }
    if (!ok) { /* the track's own compare-and-swap finds the difference when Redis is back */
        log_warn(
            "map.cut_failed",
            "topic=%s partition=%d why=%s doing=\"going on; the map heals at the next advance\"",
            part->topic, part->partition, log_quote(err->what).text);
    }
    engine_cut_done(part->link->engine, part->task);
}

static void engine_cut_wanted(void *arg, struct task *task, const struct checkpoint *to)
{
    struct link *link = arg;
    struct link_part *part = task_owner(task);
    if (link->redis == NULL) {
        engine_cut_done(link->engine, task);
        return;
    }
    part->question++;
    offset_store_cut(link->store, part->topic, part->partition, to, "the target was truncated",
                     cut_done, call_new(part));
}

/* --- what resume found -------------------------------------------------------------------------------------------- */

void part_record_event(struct link_part *part, const char *kind, json_t *take_detail)
{
    char *text = json_text(take_detail);
    log_warn(kind, "topic=%s partition=%d detail=%s doing=\"recorded\"", part->topic,
             part->partition, text);
    offset_store_event(part->link->store, kind, part->topic, part->partition, text);
    free(text);
    json_decref(take_detail);
}

static void tell_events(struct link_part *part, const struct resume *resume)
{
    const struct resume_event *event = &resume->event;
    if (event->source_truncated) {
        part_record_event(part, "source.truncated",
                          json_pack("{sIsIsIsi}", "source_from", (json_int_t)event->truncated_from,
                                    "source_to", (json_int_t)event->truncated_to, "target_next",
                                    (json_int_t)resume->at.target_next, "generation",
                                    resume->at.generation));
    }
    if (event->target_truncated) {
        part_record_event(part, "target.truncated",
                          json_pack("{sIsI}", "target_from", (json_int_t)event->target_cut_from,
                                    "target_to", (json_int_t)event->target_cut_to));
    }
    if (event->foreign_count > 0) {
        part_record_event(part, "target.foreign_write",
                          json_pack("{sIsIsI}", "target_from", (json_int_t)event->foreign_from,
                                    "target_to", (json_int_t)event->foreign_to, "offsets",
                                    (json_int_t)event->foreign_count));
    }
    if (event->repeated_count > 0) {
        part->link->repeated_records += (uint64_t)event->repeated_count;
        offset_store_repeated(part->link->store, part->topic, part->partition, event->repeated_from,
                              event->repeated_count);
        part_record_event(part, "target.records_repeated",
                          json_pack("{sIsIsI}", "target_from", (json_int_t)event->repeated_from,
                                    "target_to", (json_int_t)event->repeated_to, "records",
                                    (json_int_t)event->repeated_count));
    }
    if (event->gone_count > 0) {
        part_record_event(part, "source.records_gone",
                          json_pack("{sI}", "records", (json_int_t)event->gone_count));
    }
    if (event->accepted_to > event->accepted_from) {
        part_record_event(part, "source.left_out",
                          json_pack("{sIsIsIsi}", "source_from", (json_int_t)event->accepted_from,
                                    "source_to", (json_int_t)event->accepted_to, "target_next",
                                    (json_int_t)resume->at.target_next, "generation",
                                    resume->at.generation));
    }
    if (event->resynced) {
        part_record_event(part, "partition.resynced",
                          json_pack("{sIsIsi}", "source_next", (json_int_t)resume->at.source_next,
                                    "target_next", (json_int_t)resume->at.target_next, "generation",
                                    resume->at.generation));
    }
    if (event->by_count) {
        part_record_event(part, "target.tail_counted",
                          json_pack("{sIsI}", "source_next", (json_int_t)resume->at.source_next,
                                    "target_next", (json_int_t)resume->at.target_next));
    }
    part->not_guarded = event->unprotected;
}

static void place(struct link_part *part, const struct resume *resume)
{
    struct link *link = part->link;
    const struct checkpoint *stored = resume->has_stored ? &resume->stored : NULL;
    part->placements++;
    part->at = resume->at;
    part->at.time_ms = clock_wall_ms(loop_clock(link->loop));
    part->track = offset_track_new(link->store, part->topic, part->partition, stored,
                                   resume->event.began ? NULL : &resume->runs_from, &part->at,
                                   resume->runs.runs, resume->runs.runs_count, part);
    part->resume_depth = link->config->limits.resume_read_bytes;
    part->accept_from = part->accept_to = 0;
    part->resync = false;
    char why[128];
    snprintf(why, sizeof(why), "%s source offset %lld, target offset %lld, generation %d",
             resume->event.began ? "beginning at" : "going on at", (long long)part->at.source_next,
             (long long)part->at.target_next, part->at.generation);
    part->fault = FAULT_NONE;
    link_report_fault(part); /* also one that an earlier owner told */
    part_event(part, PART_EV_PLACED, why);
}

static void set_fault(struct link_part *part, enum resume_fault kind, int64_t source_from,
                      int64_t source_to, const struct err *why)
{
    part->fault = kind;
    part->fault_err = *why;
    part->fault_source_from = source_from;
    part->fault_source_to = source_to;
    part->fault_target_from = part->fault_target_to = -1;
    part->fault_wall_ms = clock_wall_ms(loop_clock(part->link->loop));
}

static void tell_fault(struct link_part *part)
{
    log_error("partition.faulted", "topic=%s partition=%d kind=%s what=%s hint=%s", part->topic,
              part->partition, resume_fault_name(part->fault), log_quote(part->fault_err.what).text,
              log_quote(part->fault_err.hint).text);
    link_report_fault(part);
    part_event(part, PART_EV_FAULT, part->fault_err.what);
}

static void engine_resumed(void *arg, struct task *task, const struct resume *resume,
                           enum resume_need how)
{
    struct link_part *part = task_owner(task);
    (void)arg;
    tell_events(part, resume);
    if (how == RESUME_DONE) {
        place(part, resume);
        part_refilter(part); /* the filter may have changed while it was looked for */
        return;
    }
    set_fault(part, resume->fault, resume->fault_source_from, resume->fault_source_to,
              &resume->err);
    part->fault_target_from = resume->fault_target_from;
    part->fault_target_to = resume->fault_target_to;
    tell_fault(part);
}

static void engine_waits(void *arg, struct task *task, const struct err *why, bool stalled)
{
    struct link_part *part = task_owner(task);
    (void)arg;
    if (stalled) {
        log_warn("partition.stalled",
                 "topic=%s partition=%d why=%s hint=%s doing=\"looking again\"", part->topic,
                 part->partition, log_quote(why->what).text, log_quote(why->hint).text);
    }
    part_event(part, PART_EV_WAIT, why->what);
}

static void engine_ack(void *arg, struct task *task, const struct ack *ack)
{
    struct link *link = arg;
    struct link_part *part = task_owner(task);
    if (!ack->last) {
        offset_track_ack_part(part->track, ack->run);
        return;
    }
    part->at = ack->at;
    part->at.time_ms = clock_wall_ms(loop_clock(link->loop));
    part->bytes_since_commit += (int64_t)ack->bytes;
    if (!part->acked) {
        part->acked = true;
        backoff_reset(&part->backoff);
    }
    offset_track_ack(part->track, ack->run, &part->at);
    link_metrics_ack(part, ack);
}

static void engine_doubt(void *arg, struct task *task, const struct err *why)
{
    struct link_part *part = task_owner(task);
    (void)arg;
    /* Without one acknowledgment since the last resume the same would happen at once again: back off first. */
    part_event(part, part->acked ? PART_EV_DOUBT : PART_EV_WAIT, why->what);
}

static void engine_fault(void *arg, struct task *task, enum resume_fault kind, int64_t source_from,
                         int64_t source_to, const struct err *why)
{
    struct link_part *part = task_owner(task);
    (void)arg;
    set_fault(part, kind, source_from, source_to, why);
    tell_fault(part);
}

static void engine_drained(void *arg, struct task *task)
{
    struct link_part *part = task_owner(task);
    (void)arg;
    part_event(part, PART_EV_EMPTY, "nothing flies any more");
}

static bool engine_may_send(void *arg)
{
    return link_may_send(arg);
}

void link_engine_callbacks(struct link *link, struct engine_callbacks *out)
{
    *out = (struct engine_callbacks){.may_send = engine_may_send,
                                     .load = engine_load,
                                     .floor = engine_floor_wanted,
                                     .cut = engine_cut_wanted,
                                     .resumed = engine_resumed,
                                     .waits = engine_waits,
                                     .ack = engine_ack,
                                     .doubt = engine_doubt,
                                     .fault = engine_fault,
                                     .drained = engine_drained,
                                     .arg = link};
}

/* --- from the link ------------------------------------------------------------------------------------------------ */

void part_leave(struct link_part *part)
{
    part->leaving = true;
    part_event(part, PART_EV_REVOKED, "another worker goes on, or we stop");
}

void part_committed(struct link_part *part)
{
    if (part->state == PART_PLACED) {
        part_event(part, PART_EV_COMMITTED, "the position is committed");
    }
}

static void hold_and_resume(struct link_part *part, const char *why)
{
    if (part->state == PART_MIRRORING || part->state == PART_PLACED) {
        engine_hold(part->link->engine, part->task);
        part_event(part, part->acked ? PART_EV_DOUBT : PART_EV_WAIT, why);
    }
}

void part_refilter(struct link_part *part)
{
    if (part->at.generation < part->link->streams_generation) {
        hold_and_resume(part, "the filter changed: the stream goes on in a new generation");
    }
}

void part_conflict(struct link_part *part, const struct checkpoint *found)
{
    struct err why = {0};
    err_set(&why, ERR_RETRY,
            "another worker's checkpoint stands in Redis (generation %d, source offset %lld)",
            found->generation, (long long)found->source_next);
    hold_and_resume(part, why.what);
}
