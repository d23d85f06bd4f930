/* What a link shows: the heartbeat that `ferry status` reads, faults, metrics. Unknown is shown as unknown. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "ferry_version.h"
#include "mirror/link_inside.h"

#define SOURCE_END_STALE_MS 5000 /* an end that was not told for so long says nothing about now */
#define RATE_MS             1000

/* --- lag ---------------------------------------------------------------------------------------------------------- */

/* The source's end as far as it is known now; -1 = unknown (not told lately, or an error stands in between). */
static int64_t known_end(const struct link_part *part)
{
    int64_t at_ms = -1;
    if (part->task == NULL || task_trouble(part->task)[0] != '\0') {
        return -1;
    }
    int64_t source_end = task_source_end(part->task, &at_ms);
    return loop_now_ms(part->link->loop) - at_ms > SOURCE_END_STALE_MS ? -1 : source_end;
}

static json_t *int_or_null(int64_t value)
{
    return value < 0 ? json_null() : json_integer(value);
}

static json_t *part_json(struct link_part *part)
{
    int64_t now_ms = loop_now_ms(part->link->loop);
    int64_t source_end = known_end(part);
    bool placed = part->track != NULL;
    int64_t lag_records = source_end < 0 || !placed ? -1 : source_end - part->at.source_next;
    int64_t late_ms =
        source_end < 0 || !placed ? -1 : lag_ms(&part->lag, now_ms, part->at.source_next);
    const struct flow *flow = part->task == NULL ? NULL : task_flow(part->task);
    return json_pack(
        "{sssisssssosososososbsisfsssb}", "topic", part->topic, "partition", part->partition,
        "state", part_state_name(part->state), "why", part->why, "source_next",
        int_or_null(placed ? part->at.source_next : -1), "target_next",
        int_or_null(placed ? part->at.target_next : -1), "source_end", int_or_null(source_end),
        "lag_records", int_or_null(lag_records < 0 && lag_records != -1 ? 0 : lag_records), "lag_s",
        late_ms < 0 ? json_null() : json_real((double)late_ms / 1000.0), "order_not_guarded",
        part->not_guarded ? 1 : 0, "generation", placed ? part->at.generation : -1, "bytes_per_s",
        flow == NULL ? 0.0 : flow->bytes_per_s, "limited_by",
        flow_limit_name(flow == NULL ? FLOW_NOTHING : flow->limit), "slow_connection",
        part->task != NULL && task_is_slow(part->task) ? 1 : 0);
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

json_t *link_report(void *arg)
{
    struct link *link = arg;
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
    if (link->state == LINK_RUNNING && !link->streams_match) {
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
    return json_pack(
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

/* --- metrics ------------------------------------------------------------------------------------------------------ */

static const char *const link_labels[] = {"service", "from", "to", NULL};
static const char *const part_labels[] = {"service", "from", "to", "topic", "partition", NULL};
static const char *const limit_labels[] = {"service", "from", "to", "by", NULL};
static const char *const reason_labels[] = {"service", "from", "to", "reason", NULL};
static const char *const state_labels[] = {"service", "from", "to", "state", NULL};

static struct series *link_series(struct link *link, struct metrics *metrics, enum metric_type type,
                                  const char *name, const char *help)
{
    const char *values[] = {link->service->name, link->from->name, link->to->name};
    return metric_series(metrics_add(metrics, type, name, help, link_labels), values);
}

static bool is_reason(enum batch_verdict why)
{
    return why == BATCH_OLD_FORMAT || why == BATCH_INNER_HOLES || why == BATCH_APPEND_TIME ||
           why == BATCH_TOO_LARGE || why == BATCH_INSIDE || why == BATCH_FILTERED ||
           why == BATCH_OTHER_CODEC || why == BATCH_SMALL;
}

static struct series *reason_series(struct link *link, struct metric *metric, const char *reason)
{
    const char *values[] = {link->service->name, link->from->name, link->to->name, reason};
    return metric_series(metric, values);
}

static void start_recode(struct link *link, struct metrics *metrics)
{
    struct link_metrics *m = &link->metrics;
    struct metric *recoded = metrics_add(
        metrics, METRIC_COUNTER, "ferry_link_recoded_batches_total",
        "Batches of the source that were opened and written anew, by reason.", reason_labels);
    struct metric *filtered = metrics_add(
        metrics, METRIC_COUNTER, "ferry_link_filtered_records_total",
        "Records that the service's filter leaves out, by what they fail by.", reason_labels);
    for (int why = 0; why < BATCH_VERDICTS_COUNT; why++) {
        m->recoded[why] =
            is_reason((enum batch_verdict)why)
                ? reason_series(link, recoded, batch_verdict_name((enum batch_verdict)why))
                : NULL;
    }
    for (int by = RECORD_KEY; by < RECORD_VERDICTS_COUNT; by++) {
        m->filtered[by] =
            reason_series(link, filtered, record_verdict_name((enum record_verdict)by));
    }
    m->recode_made = link_series(link, metrics, METRIC_COUNTER, "ferry_link_recode_made_total",
                                 "Batches made of those that were opened.");
}

void link_report_start(struct link *link, struct metrics *metrics)
{
    struct link_metrics *m = &link->metrics;
    m->records = link_series(link, metrics, METRIC_COUNTER, "ferry_link_records_total",
                             "Records acknowledged by the target.");
    m->bytes = link_series(link, metrics, METRIC_COUNTER, "ferry_link_bytes_total",
                           "Bytes of batches acknowledged by the target.");
    m->batches = link_series(link, metrics, METRIC_COUNTER, "ferry_link_batches_total",
                             "Batches acknowledged by the target.");
    m->fetches = link_series(link, metrics, METRIC_COUNTER, "ferry_link_fetches_total",
                             "Fetch answers from the source.");
    m->produces = link_series(link, metrics, METRIC_COUNTER, "ferry_link_produces_total",
                              "Produce requests to the target.");
    m->resumes = link_series(link, metrics, METRIC_COUNTER, "ferry_link_resumes_total",
                             "Times a partition went through the resume procedure.");
    m->doubts = link_series(link, metrics, METRIC_COUNTER, "ferry_link_doubts_total",
                            "Times the outcome of a batch was in doubt.");
    start_recode(link, metrics);
    m->state = link_series(link, metrics, METRIC_GAUGE, "ferry_link_state",
                           "0 no role, 1 joining, 2 running, 3 draining, 4 stopped.");
    m->role_epoch = link_series(link, metrics, METRIC_GAUGE, "ferry_link_role_epoch",
                                "Role epoch read from the control topic; 0 = none.");
    m->deadline_s = link_series(link, metrics, METRIC_GAUGE, "ferry_link_send_deadline_seconds",
                                "Seconds for which this worker may still send; 0 = it may not.");
    m->redis_ready = link_series(link, metrics, METRIC_GAUGE, "ferry_map_ready",
                                 "1 while checkpoints and maps reach Redis.");
    m->buffer_bytes = link_series(link, metrics, METRIC_GAUGE, "ferry_link_buffer_bytes",
                                  "Bytes of fetched batches held in memory.");
    m->source_up = link_series(link, metrics, METRIC_GAUGE, "ferry_link_source_up",
                               "1 while the source cluster answers.");
    m->target_up = link_series(link, metrics, METRIC_GAUGE, "ferry_link_target_up",
                               "1 while the target cluster answers.");
    m->lag_records = metrics_add(metrics, METRIC_GAUGE, "ferry_partition_lag_records",
                                 "Source offsets not mirrored yet; NaN = unknown.", part_labels);
    m->lag_seconds =
        metrics_add(metrics, METRIC_GAUGE, "ferry_partition_lag_seconds",
                    "Seconds since the oldest record that is not mirrored was seen; NaN = unknown.",
                    part_labels);
    struct metric *partitions = metrics_add(metrics, METRIC_GAUGE, "ferry_link_partitions",
                                            "Partitions of this worker by state.", state_labels);
    for (int state = 0; state < PART_STATES_COUNT; state++) {
        const char *values[] = {link->service->name, link->from->name, link->to->name,
                                part_state_name((enum part_state)state)};
        m->partitions[state] = metric_series(partitions, values);
    }
    struct metric *limited = metrics_add(metrics, METRIC_GAUGE, "ferry_link_limited_partitions",
                                         "Partitions of this worker by what keeps them from "
                                         "flowing faster; by=\"nothing\": all is copied.",
                                         limit_labels);
    for (int limit = 0; limit < FLOW_LIMITS_COUNT; limit++) {
        const char *values[] = {link->service->name, link->from->name, link->to->name,
                                flow_limit_name((enum flow_limit)limit)};
        m->limited[limit] = metric_series(limited, values);
    }
    m->slow = link_series(link, metrics, METRIC_GAUGE, "ferry_link_slow_partitions",
                          "Partitions on a slow connection: the target replicates them late.");
    m->limit_initial = link_series(link, metrics, METRIC_GAUGE, "ferry_link_limit_initial_bytes",
                                   "Bytes a second of the link in initial sync; 0 = no limit.");
    m->limit_steady =
        link_series(link, metrics, METRIC_GAUGE, "ferry_link_limit_steady_bytes",
                    "Bytes a second of the link when it has caught up; 0 = no limit.");
}

void link_report_part(struct link_part *part)
{
    struct link *link = part->link;
    char number[16];
    snprintf(number, sizeof(number), "%d", part->partition);
    const char *values[] = {link->service->name, link->from->name, link->to->name, part->topic,
                            number};
    part->lag_records_series = metric_series(link->metrics.lag_records, values);
    part->lag_seconds_series = metric_series(link->metrics.lag_seconds, values);
}

void link_report_part_gone(struct link_part *part)
{
    series_remove(part->lag_records_series);
    series_remove(part->lag_seconds_series);
}

static void show_part(struct link_part *part, int64_t now_ms)
{
    int64_t source_end = known_end(part);
    if (source_end >= 0) {
        lag_observe(&part->lag, now_ms, source_end);
    }
    if (source_end < 0 || part->track == NULL) {
        series_set_unknown(part->lag_records_series);
        series_set_unknown(part->lag_seconds_series);
        return;
    }
    int64_t lag = source_end - part->at.source_next;
    series_set(part->lag_records_series, lag < 0 ? 0 : (double)lag);
    series_set(part->lag_seconds_series,
               (double)lag_ms(&part->lag, now_ms, part->at.source_next) / 1000.0);
}

static void show_counters(struct link *link)
{
    const struct engine_counters *now = engine_counters(link->engine);
    struct engine_counters *shown = &link->metrics.shown;
    series_add(link->metrics.records, (double)(now->records - shown->records));
    series_add(link->metrics.bytes, (double)(now->bytes - shown->bytes));
    series_add(link->metrics.batches, (double)(now->batches - shown->batches));
    series_add(link->metrics.fetches, (double)(now->fetches - shown->fetches));
    series_add(link->metrics.produces, (double)(now->produces - shown->produces));
    series_add(link->metrics.resumes, (double)(now->resumes - shown->resumes));
    series_add(link->metrics.doubts, (double)(now->doubts - shown->doubts));
    *shown = *now;
}

static void show_recoded(struct link *link)
{
    const struct recode_counts *now = engine_recoded(link->engine);
    struct link_metrics *m = &link->metrics;
    for (int why = 0; why < BATCH_VERDICTS_COUNT; why++) {
        if (m->recoded[why] != NULL) {
            series_add(m->recoded[why], (double)(now->batches[why] - m->recode_shown.batches[why]));
        }
    }
    for (int by = RECORD_KEY; by < RECORD_VERDICTS_COUNT; by++) {
        series_add(m->filtered[by], (double)(now->records[by] - m->recode_shown.records[by]));
    }
    series_add(m->recode_made, (double)(now->made - m->recode_shown.made));
    m->recode_shown = *now;
}

static void show_rates(struct link *link, int64_t now_ms)
{
    if (now_ms - link->rates_ms < RATE_MS) {
        return;
    }
    const struct engine_counters *now = engine_counters(link->engine);
    double seconds = (double)(now_ms - link->rates_ms) / 1000.0;
    link->records_per_s = (double)(now->records - link->counters_before.records) / seconds;
    link->bytes_per_s = (double)(now->bytes - link->counters_before.bytes) / seconds;
    link->counters_before = *now;
    link->rates_ms = now_ms;
}

static void show_flow(struct link *link)
{
    double limited[FLOW_LIMITS_COUNT] = {0};
    double slow = 0;
    for (size_t i = 0; i < link->parts_count; i++) {
        const struct task *task = link->parts[i]->task;
        if (task != NULL) {
            limited[task_flow(task)->limit] += 1;
            slow += task_is_slow(task) ? 1 : 0;
        }
    }
    for (int limit = 0; limit < FLOW_LIMITS_COUNT; limit++) {
        series_set(link->metrics.limited[limit], limited[limit]);
    }
    series_set(link->metrics.slow, slow);
    series_set(link->metrics.limit_initial, (double)link->service->limit_initial_bytes);
    series_set(link->metrics.limit_steady, (double)link->service->limit_steady_bytes);
}

void link_report_tick(struct link *link)
{
    int64_t now_ms = loop_now_ms(link->loop);
    show_flow(link);
    double counts[PART_STATES_COUNT] = {0};
    for (size_t i = 0; i < link->parts_count; i++) {
        show_part(link->parts[i], now_ms);
        counts[link->parts[i]->state] += 1;
    }
    for (int state = 0; state < PART_STATES_COUNT; state++) {
        series_set(link->metrics.partitions[state], counts[state]);
    }
    show_counters(link);
    show_recoded(link);
    show_rates(link, now_ms);
    int64_t left_ms = link->deadline.until_ms - now_ms;
    series_set(link->metrics.state, (double)link->state);
    series_set(link->metrics.role_epoch, (double)link->role_epoch);
    series_set(link->metrics.deadline_s, left_ms > 0 ? (double)left_ms / 1000.0 : 0);
    series_set(link->metrics.redis_ready,
               link->store != NULL && offset_store_ready(link->store) ? 1 : 0);
    series_set(link->metrics.buffer_bytes, (double)buf_pool_used_bytes(link->pool));
    series_set(link->metrics.source_up, cluster_reachable(link->source) ? 1 : 0);
    series_set(link->metrics.target_up, cluster_reachable(link->target) ? 1 : 0);
}
