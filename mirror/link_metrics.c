/* What a link shows to Prometheus. A figure that is not known now has no sample; counters are counted where it happens
 * and shown here, five times a second. Names and meanings: docs/metrics.md.
 */
#include <stddef.h>
#include <stdio.h>

#include "mirror/cost.h"
#include "mirror/link_inside.h"

#define SOURCE_END_STALE_MS 5000 /* an end that was not told for so long says nothing about now */
#define RATE_MS             1000

/* --- lag ---------------------------------------------------------------------------------------------------------- */

int64_t link_part_end(const struct link_part *part)
{
    int64_t at_ms = -1;
    if (part->task == NULL || task_trouble(part->task)[0] != '\0') {
        return -1;
    }
    int64_t source_end = task_source_end(part->task, &at_ms);
    return loop_now_ms(part->link->loop) - at_ms > SOURCE_END_STALE_MS ? -1 : source_end;
}

struct link_lag link_part_lag(const struct link_part *part)
{
    int64_t source_end = link_part_end(part);
    if (source_end < 0 || part->track == NULL) {
        return (struct link_lag){-1, -1};
    }
    int64_t records = source_end - part->at.source_next;
    return (struct link_lag){
        .records = records < 0 ? 0 : records,
        .ms = lag_ms(&part->lag, loop_now_ms(part->link->loop), part->at.source_next)};
}

/* --- what there is ------------------------------------------------------------------------------------------------ */

struct metric_row {
    size_t at; /* in struct link_metrics */
    enum metric_type type;
    const char *name;
    const char *help;
    const char *label; /* one more: NAME=VALUE; NULL = none */
    const char *value;
};
#define AT(member) offsetof(struct link_metrics, member)

/* clang-format off */
static const struct metric_row link_rows[] = {
    {AT(records), METRIC_COUNTER, "ferry_link_records_total", "Records acknowledged by the target.", NULL, NULL},
    {AT(bytes), METRIC_COUNTER, "ferry_link_bytes_total", "Bytes of batches acknowledged by the target.", NULL, NULL},
    {AT(batches), METRIC_COUNTER, "ferry_link_batches_total", "Batches acknowledged by the target.", NULL, NULL},
    {AT(fetches), METRIC_COUNTER, "ferry_link_fetches_total", "Fetch answers from the source.", NULL, NULL},
    {AT(produces), METRIC_COUNTER, "ferry_link_produces_total", "Produce requests to the target.", NULL, NULL},
    {AT(resumes), METRIC_COUNTER, "ferry_link_resumes_total", "Times a partition went through the resume procedure.", NULL, NULL},
    {AT(doubts), METRIC_COUNTER, "ferry_link_doubts_total", "Times the outcome of a batch was in doubt.", NULL, NULL},
    {AT(read_back), METRIC_COUNTER, "ferry_link_read_back_batches_total", "Batches of compacted stretches that count since they were read on the target.", NULL, NULL},
    {AT(repeated), METRIC_COUNTER, "ferry_link_repeated_records_total", "Records found on the target a second time (path records).", NULL, NULL},
    {AT(recode_made), METRIC_COUNTER, "ferry_link_recode_made_total", "Batches made of those that were opened.", NULL, NULL},
    {AT(source_throttle), METRIC_COUNTER, "ferry_link_throttle_seconds_total", "Time that brokers' quotas held this link back, as they told it.", "end", "source"},
    {AT(target_throttle), METRIC_COUNTER, "ferry_link_throttle_seconds_total", "", "end", "target"},
    {AT(state), METRIC_GAUGE, "ferry_link_state", "0 no role, 1 joining, 2 running, 3 draining, 4 stopped.", NULL, NULL},
    {AT(may_send), METRIC_GAUGE, "ferry_link_may_send", "1 while every gate is open and batches may leave.", NULL, NULL},
    {AT(role_epoch), METRIC_GAUGE, "ferry_link_role_epoch", "Role epoch read from the control topic; 0 = none was ever written.", NULL, NULL},
    {AT(operation_open), METRIC_GAUGE, "ferry_link_operation_open", "1 while an operation on the service is open: clients are not to be moved by hand.", NULL, NULL},
    {AT(unprotected), METRIC_GAUGE, "ferry_link_unprotected", "1 while the target is primary: what clients write there is mirrored nowhere by this link.", NULL, NULL},
    {AT(streams_epoch), METRIC_GAUGE, "ferry_link_streams_epoch", "Epoch of the streams in force; each change of the topic patterns raises it.", NULL, NULL},
    {AT(deadline_s), METRIC_GAUGE, "ferry_link_send_deadline_seconds", "Seconds for which this worker may still send; 0 = it may not.", NULL, NULL},
    {AT(commit_age), METRIC_GAUGE, "ferry_link_commit_age_seconds", "Seconds since ferry's group on the target took a commit of ours.", NULL, NULL},
    {AT(control_age), METRIC_GAUGE, "ferry_link_control_age_seconds", "Seconds since the control topic was read to its end.", NULL, NULL},
    {AT(keeper), METRIC_GAUGE, "ferry_link_keeper", "1 while this worker is the keeper of the service.", NULL, NULL},
    {AT(keeper_terms), METRIC_COUNTER, "ferry_link_keeper_terms_total", "Times that this worker became the keeper.", NULL, NULL},
    {AT(at_risk), METRIC_GAUGE, "ferry_link_at_risk_records", "Source offsets of this worker's partitions that are not mirrored yet.", NULL, NULL},
    {AT(lag_seconds), METRIC_GAUGE, "ferry_link_lag_seconds", "The worst of ferry_partition_lag_seconds of this worker.", NULL, NULL},
    {AT(lag_unknown), METRIC_GAUGE, "ferry_link_lag_unknown_partitions", "Partitions of this worker whose lag is not known now.", NULL, NULL},
    {AT(buffer_bytes), METRIC_GAUGE, "ferry_link_buffer_bytes", "Bytes of fetched batches held in memory.", NULL, NULL},
    {AT(source_up), METRIC_GAUGE, "ferry_link_source_up", "1 while the source cluster answers.", NULL, NULL},
    {AT(target_up), METRIC_GAUGE, "ferry_link_target_up", "1 while the target cluster answers.", NULL, NULL},
    {AT(source_conns), METRIC_GAUGE, "ferry_link_connections", "Connections to brokers that are ready.", "end", "source"},
    {AT(target_conns), METRIC_GAUGE, "ferry_link_connections", "", "end", "target"},
    {AT(slow), METRIC_GAUGE, "ferry_link_slow_partitions", "Partitions on a slow connection: the target replicates them late.", NULL, NULL},
    {AT(limit_initial), METRIC_GAUGE, "ferry_link_limit_initial_bytes", "Bytes a second of the link in initial sync; 0 = no limit.", NULL, NULL},
    {AT(limit_steady), METRIC_GAUGE, "ferry_link_limit_steady_bytes", "Bytes a second of the link when it has caught up; 0 = no limit.", NULL, NULL},
    {AT(drifted_topics), METRIC_GAUGE, "ferry_link_drifted_topics", "Topics whose settings at the target differ from what follows from the source; the keeper's word.", NULL, NULL},
    {AT(not_mirrored_topics), METRIC_GAUGE, "ferry_link_not_mirrored_topics", "Topics of the service that are not mirrored; the keeper's word.", NULL, NULL},
    {AT(source_deleted_topics), METRIC_GAUGE, "ferry_link_source_deleted_topics", "Topics that the source deleted and whose copy stands; the keeper's word.", NULL, NULL},
    {AT(topic_changes), METRIC_COUNTER, "ferry_link_topic_changes_total", "Settings of topics that this worker changed at the target because they follow the source.", NULL, NULL},
    {AT(groups), METRIC_GAUGE, "ferry_groups", "Groups whose offsets are carried; the keeper's word.", NULL, NULL},
    {AT(group_members), METRIC_GAUGE, "ferry_groups_with_members", "Of these, groups that have members at the target: nothing is committed for them.", NULL, NULL},
    {AT(reread_groups), METRIC_GAUGE, "ferry_groups_reread", "Groups that would read records again if clients moved now; the keeper's word.", NULL, NULL},
    {AT(reread_records), METRIC_GAUGE, "ferry_group_reread_records", "Records that they would read again, at most.", NULL, NULL},
    {AT(reread_unknown), METRIC_GAUGE, "ferry_group_reread_unknown_partitions", "Places of groups of which that is not known.", NULL, NULL},
    {AT(failover_s), METRIC_GAUGE, "ferry_link_failover_estimate_seconds", "How long a failover would take, from what has to be done; the keeper's word.", NULL, NULL},
    {AT(group_age), METRIC_GAUGE, "ferry_group_sync_age_seconds", "Seconds since the groups were read, translated and committed last.", NULL, NULL},
    {AT(group_took), METRIC_GAUGE, "ferry_group_sync_duration_seconds", "How long that took.", NULL, NULL},
    {AT(group_commits), METRIC_COUNTER, "ferry_group_commits_total", "Offsets of groups that the target took from this worker.", NULL, NULL},
    {AT(group_refused), METRIC_COUNTER, "ferry_group_commits_refused_total", "And that it did not take.", NULL, NULL},
    {AT(group_stored), METRIC_COUNTER, "ferry_group_stored_total", "Places of groups that this worker wrote to Redis.", NULL, NULL},
    {AT(redis_up), METRIC_GAUGE, "ferry_redis_up", "1 while the connection to the target site's Redis stands.", NULL, NULL},
    {AT(map_ready), METRIC_GAUGE, "ferry_map_ready", "1 while checkpoints and maps reach Redis.", NULL, NULL},
    {AT(map_pending), METRIC_GAUGE, "ferry_map_pending_runs", "Runs of the map that are in memory and not in Redis yet.", NULL, NULL},
    {AT(map_stored), METRIC_COUNTER, "ferry_map_advances_total", "Advances of checkpoints and maps that Redis took.", NULL, NULL},
    {AT(map_unmapped), METRIC_COUNTER, "ferry_map_unmapped_stretches_total", "Stretches of the map that could not be kept and are recorded as unmapped.", NULL, NULL},
    {AT(map_unmapped_offsets), METRIC_COUNTER, "ferry_map_unmapped_offsets_total", "Source offsets in those stretches.", NULL, NULL},
    {AT(map_left), METRIC_GAUGE, "ferry_map_unmapped_offsets", "Source offsets that are unmapped now and will be rebuilt from the logs.", NULL, NULL},
    {AT(map_stopped), METRIC_GAUGE, "ferry_map_unmapped_stopped_offsets", "Source offsets that stay unmapped: the logs do not hold what they are rebuilt from.", NULL, NULL},
    {AT(map_rebuilt), METRIC_COUNTER, "ferry_map_rebuilt_offsets_total", "Source offsets that were unmapped and were rebuilt.", NULL, NULL},
    {AT(map_rebuild_bytes), METRIC_COUNTER, "ferry_map_rebuild_bytes_total", "Bytes of both logs read for it.", NULL, NULL},
};
static const struct metric_row part_rows[] = {
    {AT(part_lag_records), METRIC_GAUGE, "ferry_partition_lag_records", "Source offsets not mirrored yet.", NULL, NULL},
    {AT(part_lag_seconds), METRIC_GAUGE, "ferry_partition_lag_seconds", "Seconds since the oldest record that is not mirrored was seen.", NULL, NULL},
    {AT(part_records), METRIC_COUNTER, "ferry_partition_records_total", "Records acknowledged by the target.", NULL, NULL},
    {AT(part_bytes), METRIC_COUNTER, "ferry_partition_bytes_total", "Bytes of batches acknowledged by the target.", NULL, NULL},
};
/* clang-format on */
#undef AT

static struct series *series_of(struct link *link, struct metrics *metrics,
                                const struct metric_row *row)
{
    const char *const labels[] = {"service", "from", "to", row->label, NULL};
    const char *const values[] = {link->service->name, link->from->name, link->to->name,
                                  row->value};
    return metric_series(metrics_add(metrics, row->type, row->name, row->help, labels), values);
}

static void start_states(struct link *link, struct metrics *metrics)
{
    for (int state = 0; state < PART_STATES_COUNT; state++) {
        const struct metric_row row = {.type = METRIC_GAUGE,
                                       .name = "ferry_link_partitions",
                                       .help = "Partitions of this worker by state.",
                                       .label = "state",
                                       .value = part_state_name((enum part_state)state)};
        link->metrics.partitions[state] = series_of(link, metrics, &row);
    }
}

static struct series *start_group(struct link *link, struct metrics *metrics, const char *name,
                                  const char *help, const char *label, const char *value)
{
    const struct metric_row row = {
        .type = METRIC_GAUGE, .name = name, .help = help, .label = label, .value = value};
    return series_of(link, metrics, &row);
}

static void start_groups(struct link *link, struct metrics *metrics)
{
    for (int kind = 0; kind < GROUP_KINDS_COUNT; kind++) {
        if (!group_kind_carried((enum group_kind)kind)) {
            link->metrics.group_kinds[kind] =
                start_group(link, metrics, "ferry_groups_not_carried",
                            "Groups of the source whose kind has no offsets that could be carried.",
                            "kind", group_kind_name((enum group_kind)kind));
        }
    }
    for (int verdict = 0; verdict <= VERDICT_UNMAPPED; verdict++) {
        link->metrics.group_verdicts[verdict] =
            start_group(link, metrics, "ferry_group_partitions",
                        "Places of groups by the verdict of their translation.", "verdict",
                        verdict_text((enum verdict)verdict));
    }
    for (int hold = GROUP_FREE + 1; hold < GROUP_HOLDS_COUNT; hold++) {
        link->metrics.group_holds[hold] = start_group(
            link, metrics, "ferry_group_held_partitions",
            "Places of groups whose translation is not committed at the target, by reason.",
            "reason", group_hold_name((enum group_hold)hold));
    }
}

static void start_gates(struct link *link, struct metrics *metrics)
{
    static const char *const names[LINK_GATES_COUNT] = {"role", "streams", "order", "control",
                                                        "deadline"};
    for (int gate = 0; gate < LINK_GATES_COUNT; gate++) {
        const struct metric_row row = {.type = METRIC_GAUGE,
                                       .name = "ferry_link_gate_open",
                                       .help = "1 while this gate is open; a batch leaves only "
                                               "while all are.",
                                       .label = "gate",
                                       .value = names[gate]};
        link->metrics.gates[gate] = series_of(link, metrics, &row);
    }
}

static void start_limited(struct link *link, struct metrics *metrics)
{
    for (int limit = 0; limit < FLOW_LIMITS_COUNT; limit++) {
        const struct metric_row row = {.type = METRIC_GAUGE,
                                       .name = "ferry_link_limited_partitions",
                                       .help = "Partitions of this worker by what keeps them from "
                                               "flowing faster; by=\"nothing\": all is copied.",
                                       .label = "by",
                                       .value = flow_limit_name((enum flow_limit)limit)};
        link->metrics.limited[limit] = series_of(link, metrics, &row);
    }
}

static bool is_reason(enum batch_verdict why)
{
    return why == BATCH_OLD_FORMAT || why == BATCH_INNER_HOLES || why == BATCH_APPEND_TIME ||
           why == BATCH_TOO_LARGE || why == BATCH_INSIDE || why == BATCH_FILTERED ||
           why == BATCH_OTHER_CODEC || why == BATCH_SMALL;
}

static void start_recode(struct link *link, struct metrics *metrics)
{
    struct metric_row row = {.type = METRIC_COUNTER,
                             .name = "ferry_link_recoded_batches_total",
                             .help = "Batches of the source that were opened and written anew, by "
                                     "reason.",
                             .label = "reason"};
    for (int why = 0; why < BATCH_VERDICTS_COUNT; why++) {
        if (is_reason((enum batch_verdict)why)) {
            row.value = batch_verdict_name((enum batch_verdict)why);
            link->metrics.recoded[why] = series_of(link, metrics, &row);
        }
    }
    row.name = "ferry_link_filtered_records_total";
    row.help = "Records that the service's filter leaves out, by what they fail by.";
    for (int by = RECORD_KEY; by < RECORD_VERDICTS_COUNT; by++) {
        row.value = record_verdict_name((enum record_verdict)by);
        link->metrics.filtered[by] = series_of(link, metrics, &row);
    }
}

void link_metrics_start(struct link *link, struct metrics *metrics)
{
    static const char *const part_labels[] = {"service", "from", "to", "topic", "partition", NULL};
    static const char *const fault_labels[] = {"service", "from", "to", "kind", NULL};
    char *base = (char *)&link->metrics;
    for (size_t i = 0; i < sizeof(link_rows) / sizeof(link_rows[0]); i++) {
        *(struct series **)(void *)(base + link_rows[i].at) =
            series_of(link, metrics, &link_rows[i]);
    }
    for (size_t i = 0; i < sizeof(part_rows) / sizeof(part_rows[0]); i++) {
        const struct metric_row *row = &part_rows[i];
        *(struct metric **)(void *)(base + row->at) =
            metrics_add(metrics, row->type, row->name, row->help, part_labels);
    }
    link->metrics.faults =
        metrics_add(metrics, METRIC_GAUGE, "ferry_link_faulted_partitions",
                    "Partitions of this worker that are faulted, by kind.", fault_labels);
    start_states(link, metrics);
    start_gates(link, metrics);
    start_groups(link, metrics);
    start_limited(link, metrics);
    start_recode(link, metrics);
}

/* --- partitions --------------------------------------------------------------------------------------------------- */

void link_metrics_part(struct link_part *part)
{
    struct link *link = part->link;
    char number[16];
    snprintf(number, sizeof(number), "%d", part->partition);
    const char *const values[] = {link->service->name, link->from->name, link->to->name,
                                  part->topic, number};
    part->metrics = (struct link_part_metrics){
        .lag_records = metric_series(link->metrics.part_lag_records, values),
        .lag_seconds = metric_series(link->metrics.part_lag_seconds, values),
        .records = metric_series(link->metrics.part_records, values),
        .bytes = metric_series(link->metrics.part_bytes, values)};
}

void link_metrics_part_gone(struct link_part *part)
{
    series_remove(part->metrics.lag_records);
    series_remove(part->metrics.lag_seconds);
    series_remove(part->metrics.records);
    series_remove(part->metrics.bytes);
}

void link_metrics_ack(struct link_part *part, const struct ack *ack)
{
    series_add(part->metrics.records, (double)ack->run.length);
    series_add(part->metrics.bytes, (double)ack->bytes);
}

static void set_known(struct series *series, double value)
{
    if (value < 0) {
        series_set_unknown(series);
    } else {
        series_set(series, value);
    }
}

static struct link_lag show_part(struct link_part *part, int64_t now_ms)
{
    int64_t source_end = link_part_end(part);
    if (source_end >= 0) {
        lag_observe(&part->lag, now_ms, source_end);
    }
    struct link_lag lag = link_part_lag(part);
    set_known(part->metrics.lag_records, (double)lag.records);
    set_known(part->metrics.lag_seconds, lag.ms < 0 ? -1 : (double)lag.ms / 1e3);
    return lag;
}

/* One unknown figure makes the sum unknown. */
static void show_lag(struct link *link, int64_t now_ms)
{
    struct link_lag all = {0, 0};
    int64_t unknown_count = 0;
    for (size_t i = 0; i < link->parts_count; i++) {
        struct link_lag lag = show_part(link->parts[i], now_ms);
        unknown_count += lag.records < 0 || lag.ms < 0;
        all.records += lag.records;
        all.ms = lag.ms > all.ms ? lag.ms : all.ms;
    }
    bool known = unknown_count == 0 && link->state == LINK_RUNNING;
    set_known(link->metrics.at_risk, known ? (double)all.records : -1);
    set_known(link->metrics.lag_seconds, known ? (double)all.ms / 1e3 : -1);
    series_set(link->metrics.lag_unknown, (double)unknown_count);
}

static void show_partitions(struct link *link)
{
    double states[PART_STATES_COUNT] = {0};
    double faults[FAULT_KINDS_COUNT] = {0};
    for (size_t i = 0; i < link->parts_count; i++) {
        states[link->parts[i]->state] += 1;
        if (link->parts[i]->state == PART_FAULTED) {
            faults[link->parts[i]->fault] += 1;
        }
    }
    for (int state = 0; state < PART_STATES_COUNT; state++) {
        series_set(link->metrics.partitions[state], states[state]);
    }
    for (int kind = FAULT_NONE + 1; kind < FAULT_KINDS_COUNT; kind++) {
        struct series **series = &link->metrics.faults_by_kind[kind];
        if (*series == NULL && faults[kind] > 0) {
            const char *const values[] = {link->service->name, link->from->name, link->to->name,
                                          resume_fault_name((enum resume_fault)kind)};
            *series = metric_series(link->metrics.faults, values);
        }
        if (*series != NULL) {
            series_set(*series, faults[kind]);
        }
    }
}

/* --- the link ----------------------------------------------------------------------------------------------------- */

/* Counters of ours only grow: what they are now is what is shown. */
static void show_count(struct series *series, double now)
{
    series_add(series, now - series_value(series));
}

static void show_counters(struct link *link)
{
    const struct engine_counters *now = engine_counters(link->engine);
    show_count(link->metrics.records, (double)now->records);
    show_count(link->metrics.bytes, (double)now->bytes);
    show_count(link->metrics.batches, (double)now->batches);
    show_count(link->metrics.fetches, (double)now->fetches);
    show_count(link->metrics.produces, (double)now->produces);
    show_count(link->metrics.resumes, (double)now->resumes);
    show_count(link->metrics.doubts, (double)now->doubts);
    show_count(link->metrics.read_back, (double)now->read_back);
    show_count(link->metrics.repeated, (double)link->repeated_records);
    show_count(link->metrics.source_throttle, (double)now->source_throttle_ms / 1e3);
    show_count(link->metrics.target_throttle, (double)now->target_throttle_ms / 1e3);
    show_count(link->metrics.keeper_terms, (double)link->keeper_terms);
}

static void show_recoded(struct link *link)
{
    const struct recode_counts *now = engine_recoded(link->engine);
    for (int why = 0; why < BATCH_VERDICTS_COUNT; why++) {
        if (link->metrics.recoded[why] != NULL) {
            show_count(link->metrics.recoded[why], (double)now->batches[why]);
        }
    }
    for (int by = RECORD_KEY; by < RECORD_VERDICTS_COUNT; by++) {
        show_count(link->metrics.filtered[by], (double)now->records[by]);
    }
    show_count(link->metrics.recode_made, (double)now->made);
}

static void show_gates(struct link *link, int64_t now_ms)
{
    int64_t left_ms = link->deadline.until_ms - now_ms;
    for (int gate = 0; gate < LINK_GATES_COUNT; gate++) {
        series_set(link->metrics.gates[gate], link_gate_open(link, (enum link_gate)gate) ? 1 : 0);
    }
    series_set(link->metrics.may_send, link_may_send(link) ? 1 : 0);
    series_set(link->metrics.deadline_s, left_ms > 0 ? (double)left_ms / 1e3 : 0);
    set_known(link->metrics.commit_age, link->membership == NULL || link->commit_last_ms == 0
                                            ? -1
                                            : (double)(now_ms - link->commit_last_ms) / 1e3);
    set_known(link->metrics.control_age,
              link->control_read_ms == 0 ? -1 : (double)(now_ms - link->control_read_ms) / 1e3);
}

/* Epochs are the control topic's: before it was read once they are not known. */
static void show_control(struct link *link)
{
    bool known = link->control_read_ms > 0;
    set_known(link->metrics.role_epoch, known ? (double)link->role_epoch : -1);
    set_known(link->metrics.operation_open, known ? (link->operation_open ? 1 : 0) : -1);
    set_known(link->metrics.unprotected, known ? (link->target_is_primary ? 1 : 0) : -1);
    set_known(link->metrics.streams_epoch, known ? (double)link->streams_seen.streams_epoch : -1);
    series_set(link->metrics.keeper, link->control_ours ? 1 : 0);
}

static int64_t pending_runs(const struct link *link)
{
    int64_t pending = 0;
    for (size_t i = 0; i < link->parts_count; i++) {
        const struct offset_track *track = link->parts[i]->track;
        pending += track == NULL ? 0 : offset_track_pending_runs(track);
    }
    return pending;
}

static void show_map(struct link *link)
{
    if (link->redis == NULL) { /* the site has none: there is nothing to be up or ready */
        return;
    }
    series_set(link->metrics.redis_up, redis_state(link->redis) == REDIS_READY ? 1 : 0);
    series_set(link->metrics.map_ready,
               link->store != NULL && offset_store_ready(link->store) ? 1 : 0);
    if (link->store != NULL) {
        const struct offset_counters *counters = offset_store_counters(link->store);
        show_count(link->metrics.map_stored, (double)counters->advances);
        show_count(link->metrics.map_unmapped, (double)counters->unmapped_stretches);
        show_count(link->metrics.map_unmapped_offsets, (double)counters->unmapped_offsets);
    }
    struct rebuild_left left = link_rebuild_left(link);
    set_known(link->metrics.map_left, left.known ? (double)left.offsets : -1);
    set_known(link->metrics.map_stopped, left.known ? (double)left.stopped : -1);
    show_count(link->metrics.map_rebuilt, (double)link->rebuild.offsets);
    show_count(link->metrics.map_rebuild_bytes, (double)link->rebuild.bytes);
}

static void show_clusters(struct link *link)
{
    series_set(link->metrics.buffer_bytes, (double)buf_pool_used_bytes(link->pool));
    series_set(link->metrics.source_up, cluster_reachable(link->source) ? 1 : 0);
    series_set(link->metrics.target_up, cluster_reachable(link->target) ? 1 : 0);
    series_set(link->metrics.source_conns, (double)cluster_conns_count(link->source));
    series_set(link->metrics.target_conns, (double)cluster_conns_count(link->target));
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

/* Once a second: what the heartbeat tells of it, and what costs more than a look. */
static void take_second(struct link *link, int64_t now_ms)
{
    if (now_ms - link->rates_ms < RATE_MS) {
        return;
    }
    const struct engine_counters *now = engine_counters(link->engine);
    double seconds = (double)(now_ms - link->rates_ms) / 1e3;
    link->records_per_s = (double)(now->records - link->counters_before.records) / seconds;
    link->bytes_per_s = (double)(now->bytes - link->counters_before.bytes) / seconds;
    link->counters_before = *now;
    link->rates_ms = now_ms;
    if (link->redis != NULL) { /* looks at each partition's list: once a second is enough */
        series_set(link->metrics.map_pending, (double)pending_runs(link));
    }
}

/* One worker a service knows: its keeper. */
static void show_topics(struct link *link)
{
    bool known = link->control_ours && link->topics_report != NULL;
    set_known(link->metrics.drifted_topics, known ? (double)link->drifted_topics : -1);
    set_known(link->metrics.not_mirrored_topics, known ? (double)link->not_mirrored_topics : -1);
    set_known(link->metrics.source_deleted_topics,
              known ? (double)link->source_deleted_topics : -1);
    show_count(link->metrics.topic_changes, (double)link->topic_changes);
}

static int64_t places_count(const struct group_counts *counts)
{
    uint64_t places = 0;
    for (int verdict = 0; verdict <= VERDICT_UNMAPPED; verdict++) {
        places += counts->verdicts[verdict];
    }
    return (int64_t)places;
}

static void show_groups(struct link *link, int64_t now_ms)
{
    const struct group_report *report = &link->groups_report;
    const struct group_counts *counts = &report->counts;
    bool known = link->control_ours && link->groups_done_ms > 0;
    set_known(link->metrics.groups, known ? (double)counts->groups : -1);
    set_known(link->metrics.group_members, known ? (double)counts->member_groups : -1);
    set_known(link->metrics.reread_groups, known ? (double)counts->reread_groups : -1);
    set_known(link->metrics.reread_records, known ? (double)counts->reread_records : -1);
    set_known(link->metrics.reread_unknown, known ? (double)counts->reread_unknown : -1);
    set_known(link->metrics.failover_s,
              known ? cost_failover_s(link->partitions_listed, places_count(counts)) : -1);
    set_known(link->metrics.group_age, known ? (double)(now_ms - link->groups_done_ms) / 1e3 : -1);
    set_known(link->metrics.group_took,
              known ? (double)(report->done_ms - report->began_ms) / 1e3 : -1);
    for (int kind = 0; kind < GROUP_KINDS_COUNT; kind++) {
        if (link->metrics.group_kinds[kind] != NULL) {
            set_known(link->metrics.group_kinds[kind], known ? (double)counts->kinds[kind] : -1);
        }
    }
    for (int verdict = 0; verdict <= VERDICT_UNMAPPED; verdict++) {
        set_known(link->metrics.group_verdicts[verdict],
                  known ? (double)counts->verdicts[verdict] : -1);
    }
    for (int hold = GROUP_FREE + 1; hold < GROUP_HOLDS_COUNT; hold++) {
        set_known(link->metrics.group_holds[hold], known ? (double)counts->holds[hold] : -1);
    }
    show_count(link->metrics.group_commits, (double)report->totals.commits);
    show_count(link->metrics.group_refused, (double)report->totals.refused);
    show_count(link->metrics.group_stored, (double)report->totals.stored);
}

void link_metrics_tick(struct link *link)
{
    int64_t now_ms = loop_now_ms(link->loop);
    show_lag(link, now_ms);
    show_partitions(link);
    show_counters(link);
    show_recoded(link);
    show_gates(link, now_ms);
    show_control(link);
    show_map(link);
    show_clusters(link);
    show_flow(link);
    show_topics(link);
    show_groups(link, now_ms);
    series_set(link->metrics.state, (double)link->state);
    take_second(link, now_ms);
}
