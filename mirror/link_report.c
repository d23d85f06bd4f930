/* What a link tells: the heartbeat that `ferry status` and `ferry top` read, and faults. Unknown is shown as unknown. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "ferry_version.h"
#include "mirror/link_inside.h"

#define SEEN_LATELY_MS 1000 /* the rate is taken each second */

static json_t *int_or_null(int64_t value)
{
    return value < 0 ? json_null() : json_integer(value);
}

/* Source offsets of the map that are unmapped, and what becomes of them. */
static json_t *rebuild_json(const struct link *link)
{
    struct rebuild_left left = link_rebuild_left(link);
    double rate = link->rebuild.offsets_per_s;
    json_t *out = json_object();
    json_object_set_new(out, "left_offsets", int_or_null(left.known ? left.offsets : -1));
    json_object_set_new(out, "stopped_offsets", int_or_null(left.known ? left.stopped : -1));
    json_object_set_new(out, "stretches", int_or_null(left.known ? left.stretches : -1));
    json_object_set_new(out, "offsets_per_s", json_real(rate));
    json_object_set_new(out, "left_s",
                        left.known && left.offsets == 0 ? json_real(0)
                        : left.known && rate > 0        ? json_real((double)left.offsets / rate)
                                                        : json_null());
    json_object_set_new(out, "why", left.why == NULL ? json_null() : json_string(left.why));
    return out;
}

/* The source's end as it was told last, and when, however long ago: what a failover knows of a primary that is dead. */
static void put_seen(json_t *out, const struct link_part *part)
{
    const struct loop *loop = part->link->loop;
    int64_t at_ms = -1;
    int64_t end = part->task == NULL ? -1 : task_source_end(part->task, &at_ms);
    int64_t ago_ms = loop_now_ms(loop) - at_ms;
    json_object_set_new(out, "seen_end", int_or_null(end));
    json_object_set_new(out, "seen_ms",
                        end < 0 ? json_null()
                                : json_integer(clock_wall_ms(loop_clock(loop)) - ago_ms));
}

/* The rate of a mirror whose source is silent falls to 0 within a second or two: kept is what it was before. */
static void keep_rate(struct link *link)
{
    for (size_t i = 0; i < link->parts_count; i++) {
        int64_t at_ms = -1;
        const struct task *task = link->parts[i]->task;
        int64_t end = task == NULL ? -1 : task_source_end(task, &at_ms);
        if (end >= 0 && loop_now_ms(link->loop) - at_ms < SEEN_LATELY_MS) {
            link->seen_records_per_s = link->records_per_s;
            return;
        }
    }
}

static json_t *part_json(struct link_part *part)
{
    int64_t source_end = link_part_end(part);
    bool placed = part->track != NULL;
    struct link_lag lag = link_part_lag(part);
    const struct flow *flow = part->task == NULL ? NULL : task_flow(part->task);
    struct rebuild_left left = link_rebuild_part_left(part);
    int64_t unmapped = left.known ? left.offsets + left.stopped : -1;
    json_t *out = json_pack(
        "{sssisssssssosososososbsisfsssb}", "topic", part->topic, "partition", part->partition,
        "state", part_state_name(part->state), "why", part->why, "trouble",
        part->task == NULL ? "" : task_trouble(part->task), "source_next",
        int_or_null(placed ? part->at.source_next : -1), "target_next",
        int_or_null(placed ? part->at.target_next : -1), "source_end", int_or_null(source_end),
        "lag_records", int_or_null(lag.records), "lag_s",
        lag.ms < 0 ? json_null() : json_real((double)lag.ms / 1000.0), "order_not_guarded",
        part->not_guarded ? 1 : 0, "generation", placed ? part->at.generation : -1, "bytes_per_s",
        flow == NULL ? 0.0 : flow->bytes_per_s, "limited_by",
        flow_limit_name(flow == NULL ? FLOW_NOTHING : flow->limit), "slow_connection",
        part->task != NULL && task_is_slow(part->task) ? 1 : 0);
    json_object_set_new(out, "unmapped_offsets", int_or_null(unmapped));
    put_seen(out, part);
    return out;
}

/* What was re-encoded and what was filtered since the start, by reason; reasons that never came are left out. */
static json_t *recoded_json(const struct recode_counts *counts)
{
    json_t *out = json_object();
    for (int why = 0; why < BATCH_VERDICTS_COUNT; why++) {
        if (counts->batches[why] > 0) {
            json_object_set_new(out, batch_verdict_name((enum batch_verdict)why),
                                json_integer((json_int_t)counts->batches[why]));
        }
    }
    return out;
}

static json_t *filtered_json(const struct recode_counts *counts)
{
    return json_pack("{sIsI}", record_verdict_name(RECORD_KEY),
                     (json_int_t)counts->records[RECORD_KEY], record_verdict_name(RECORD_HEADER),
                     (json_int_t)counts->records[RECORD_HEADER]);
}

static const char *map_word(const struct link *link)
{
    if (link->redis == NULL) {
        return "none";
    }
    if (offset_store_ready(link->store)) {
        return "ready";
    }
    return link->map_err.kind == ERR_REFUSED ? "refused" : "away";
}

static json_t *round_trip(const struct link *link, bool of_source)
{
    int64_t us = engine_round_trip_us(link->engine, of_source);
    return us < 0 ? json_null() : json_real((double)us / 1000.0);
}

static json_t *worker_json(struct link *link)
{
    char started[CLOCK_TEXT_BYTES];
    char now[CLOCK_TEXT_BYTES];
    char host[256] = "";
    char link_name[300];
    gethostname(host, sizeof(host) - 1);
    snprintf(link_name, sizeof(link_name), "%s>%s", link->from->name, link->to->name);
    json_t *parts = json_array();
    for (size_t i = 0; i < link->parts_count; i++) {
        json_array_append_new(parts, part_json(link->parts[i]));
    }
    const char *why = link->why;
    if (link->control_denied[0] != '\0') {
        why = link->control_denied;
    } else if (link->group_denied[0] != '\0') {
        why = link->group_denied;
    } else if (link->state == LINK_RUNNING && !link->streams_match) {
        why = "this worker's configuration is not the newest: it writes nothing";
    } else if (link->state == LINK_RUNNING && !link_may_send(link)) {
        why = link->paused ? "paused by an order"
                           : "waits for the control topic or the send deadline";
    } else if (!cluster_reachable(link->source)) {
        why = cluster_last_error(link->source);
    } else if (!cluster_reachable(link->target)) {
        why = cluster_last_error(link->target);
    }
    const struct recode_counts *recoded = engine_recoded(link->engine);
    json_t *out = json_pack(
        "{sssisssssssssssssssosfsfsssssssIsbsIsssosososo}", "worker", link->config->worker, "pid",
        (int)getpid(), "host", host, "version", FERRY_VERSION, "started",
        clock_rfc3339(link->started_wall_ms, started), "time",
        clock_rfc3339(clock_wall_ms(loop_clock(link->loop)), now), "link", link_name, "state",
        link_state_name(link->state), "why", why, "partitions", parts, "records_per_s",
        link->records_per_s, "bytes_per_s", link->bytes_per_s, "redis", map_word(link), "redis_why",
        link->map_err.what, "redis_hint", link->map_err.hint, "role_epoch",
        (json_int_t)link->role_epoch, "keeper", link->control_ours ? 1 : 0, "resumes",
        (json_int_t)engine_counters(link->engine)->resumes, "limited_by",
        flow_limit_name(engine_flow_limit(link->engine)), "source_round_trip_ms",
        round_trip(link, true), "target_round_trip_ms", round_trip(link, false), "recoded_batches",
        recoded_json(recoded), "filtered_records", filtered_json(recoded));
    json_object_set_new(out, "path", json_string(config_path_name(link->path)));
    json_object_set_new(out, "repeated_records", json_integer((json_int_t)link->repeated_records));
    keep_rate(link);
    json_object_set_new(out, "seen_records_per_s", json_real(link->seen_records_per_s));
    json_object_set_new(
        out, "fenced", link->fence_acked[0] == '\0' ? json_null() : json_string(link->fence_acked));
    if (link->redis != NULL) { /* else there is no map */
        json_object_set_new(out, "rebuild", rebuild_json(link));
    }
    return out;
}

void link_groups_reported(void *arg, const struct group_report *report)
{
    struct link *link = arg;
    json_decref(link->groups_report.notes);
    link->groups_report = *report;
    json_incref(link->groups_report.notes);
    if (report->err.kind == ERR_NONE) {
        link->groups_done_ms = report->done_ms;
    }
}

/* Of the last round; how old, too. */
static json_t *groups_json(const struct link *link)
{
    const struct group_report *report = &link->groups_report;
    const struct group_counts *counts = &report->counts;
    int64_t age_ms = loop_now_ms(link->loop) - link->groups_done_ms;
    json_t *verdicts = json_object();
    json_t *held = json_object();
    for (int verdict = 0; verdict <= VERDICT_UNMAPPED; verdict++) {
        json_object_set_new(verdicts, verdict_text((enum verdict)verdict),
                            json_integer((json_int_t)counts->verdicts[verdict]));
    }
    for (int hold = GROUP_FREE + 1; hold < GROUP_HOLDS_COUNT; hold++) {
        json_object_set_new(held, group_hold_name((enum group_hold)hold),
                            json_integer((json_int_t)counts->holds[hold]));
    }
    json_t *out = json_pack("{sIsIsososs}", "groups", (json_int_t)counts->groups, "with_members",
                            (json_int_t)counts->member_groups, "verdicts", verdicts, "held", held,
                            "why", report->err.what);
    json_object_set_new(out, "age_s",
                        link->groups_done_ms == 0 ? json_null() : json_real((double)age_ms / 1e3));
    json_object_set_new(out, "reread",
                        json_pack("{sIsIsI}", "groups", (json_int_t)counts->reread_groups,
                                  "records", (json_int_t)counts->reread_records, "unknown_places",
                                  (json_int_t)counts->reread_unknown));
    json_object_set(out, "notes", report->notes);
    return out;
}

json_t *link_report(void *arg)
{
    struct link *link = arg;
    json_t *report = worker_json(link);
    if (link->control_ours && link->topics_report != NULL) { /* the keeper's word */
        json_object_set(report, "topics", link->topics_report);
    }
    if (link->control_ours && link->groups_report.done_ms > 0) {
        json_object_set_new(report, "groups", groups_json(link));
    }
    return report;
}

void link_report_fault(struct link_part *part)
{
    struct link *link = part->link;
    char when[CLOCK_TEXT_BYTES];
    if (link->heartbeat == NULL) {
        return;
    }
    if (part->fault == FAULT_NONE) {
        heartbeat_fault(link->heartbeat, part->topic, part->partition, NULL);
        return;
    }
    heartbeat_fault(link->heartbeat, part->topic, part->partition,
                    json_pack("{sssssssosososossss}", "kind", resume_fault_name(part->fault),
                              "what", part->fault_err.what, "hint", part->fault_err.hint,
                              "source_from", int_or_null(part->fault_source_from), "source_to",
                              int_or_null(part->fault_source_to), "target_from",
                              int_or_null(part->fault_target_from), "target_to",
                              int_or_null(part->fault_target_to), "time",
                              clock_rfc3339(part->fault_wall_ms, when), "worker",
                              link->config->worker));
}
