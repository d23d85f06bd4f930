#include "cli/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cli/beats.h"
#include "cli/render.h"
#include "cli/topics.h"
#include "mirror/cost.h"

void status_done(struct status *status)
{
    positions_free(&status->positions);
    free(status->parts);
    json_decref(status->fence);
    json_decref(status->workers);
    json_decref(status->gone);
    json_decref(status->faults);
}

/* --- from heartbeats, which are hostile ---------------------------------------------------------------------------- */

static bool is_mirroring(const char *state)
{
    return strcmp(state, "mirroring") == 0;
}

static void give_part(struct status *status, const char *worker, const json_t *part)
{
    int64_t partition = json_integer_value(json_object_get(part, "partition"));
    const char *topic = beat_text(part, "topic");
    struct position *row =
        partition < 0 || partition > INT32_MAX || strlen(topic) >= sizeof(row->topic)
            ? NULL
            : positions_find(&status->positions, topic, (int32_t)partition);
    if (row == NULL) {
        return;
    }
    struct status_part *of = &status->parts[row - status->positions.rows];
    /* Two workers may show one partition while it moves: the one that mirrors has it. */
    if (of->worker == NULL || !is_mirroring(of->state)) {
        *of = (struct status_part){
            .worker = worker,
            .state = beat_text(part, "state"),
            .why = beat_text(part, "why"),
            .trouble = beat_text(part, "trouble"),
            .lag_s = beat_number(part, "lag_s"),
            .bytes_per_s = beat_number(part, "bytes_per_s"),
            .limited_by = json_string_value(json_object_get(part, "limited_by")),
            .slow_connection = json_is_true(json_object_get(part, "slow_connection")),
        };
    }
}

static void give_parts(struct status *status)
{
    const char *name;
    json_t *worker;
    json_object_foreach (status->workers, name, worker) {
        size_t index;
        json_t *part;
        json_array_foreach (json_object_get(worker, "partitions"), index, part) {
            give_part(status, name, part);
        }
    }
}

static void sum_rates(struct status *status)
{
    const char *name;
    json_t *worker;
    status->records_per_s = status->workers == NULL ? -1 : 0;
    json_object_foreach (status->workers, name, worker) {
        double rate = beat_number(worker, "records_per_s");
        status->records_per_s =
            rate < 0 || status->records_per_s < 0 ? -1 : status->records_per_s + rate;
    }
}

/* --- lag ---------------------------------------------------------------------------------------------------------- */

double status_late(const struct position *position, const struct status_part *part)
{
    if (position->hidden) {
        return -1;
    }
    return position_lag(position) == 0 ? 0 : part->lag_s;
}

static void sum_lag(struct status *status)
{
    const struct positions *positions = &status->positions;
    bool known = positions->source_err.kind == ERR_NONE &&
                 (positions->count > 0 || positions->hidden_err.kind == ERR_NONE);
    int64_t records = known ? 0 : -1;
    double seconds = known ? 0 : -1;
    for (size_t i = 0; i < positions->count && known; i++) {
        int64_t lag = position_lag(&positions->rows[i]);
        double late = status_late(&positions->rows[i], &status->parts[i]);
        records = lag < 0 || records < 0 ? -1 : records + lag;
        seconds = late < 0 || seconds < 0 ? -1 : (late > seconds ? late : seconds);
    }
    status->lag_records = records;
    status->lag_s = seconds;
}

static void see_worker(struct status *status, const json_t *worker, int64_t *sum)
{
    size_t index;
    json_t *part;
    int64_t at_ms = beat_ms(worker);
    json_array_foreach (json_object_get(worker, "partitions"), index, part) {
        const json_t *lag = json_object_get(part, "lag_records");
        if (json_is_integer(lag) && json_integer_value(lag) >= 0) {
            *sum = *sum < 0 ? 0 : *sum;
            if (__builtin_add_overflow(*sum, json_integer_value(lag), sum)) {
                *sum = INT64_MAX; /* what stands there may be anybody's */
            }
            status->seen_ms = at_ms > status->seen_ms ? at_ms : status->seen_ms;
        }
    }
}

/* What workers saw last, dead ones too: for the case that the source is gone. */
static void see_lag(struct status *status)
{
    const char *name;
    json_t *worker;
    status->seen_lag = -1;
    status->seen_ms = -1;
    json_object_foreach (status->workers, name, worker) {
        see_worker(status, worker, &status->seen_lag);
    }
    json_object_foreach (status->gone, name, worker) {
        see_worker(status, worker, &status->seen_lag);
    }
}

/* What the keeper says of groups; NULL = no keeper does. */
static const json_t *groups_report(const struct status *status)
{
    const char *name;
    json_t *worker;
    json_object_foreach (status->workers, name, worker) {
        const json_t *groups = json_object_get(worker, "groups");
        if (json_is_object(groups)) {
            return groups;
        }
    }
    return NULL;
}

static double sum_of(const json_t *counts)
{
    const char *name;
    json_t *value;
    double sum = 0;
    json_object_foreach ((json_t *)(uintptr_t)counts, name, value) {
        sum += json_is_integer(value) && json_integer_value(value) > 0
                   ? (double)json_integer_value(value)
                   : 0;
    }
    return sum;
}

static int64_t bounded(double value)
{
    return value < 0 ? -1 : value < 1e15 ? (int64_t)value : (int64_t)1e15;
}

/* What a group reads meanwhile is not in what the keeper told a while ago. */
#define GROUPS_FRESH_S 10

static void sum_groups(struct status *status)
{
    const json_t *report = groups_report(status);
    const json_t *verdicts = json_object_get(report, "verdicts");
    const json_t *reread = json_object_get(report, "reread");
    double unmapped = beat_number(verdicts, "unmapped");
    status->groups_age_s = beat_number(report, "age_s");
    status->groups = status->groups_age_s < 0 ? -1 : bounded(beat_number(report, "groups"));
    status->reread_groups = status->reread_records = status->groups_waiting = -1;
    status->failover_s = status->measured_s;
    if (status->groups < 0) {
        return;
    }
    status->groups_waiting =
        bounded(sum_of(json_object_get(report, "held")) + (unmapped > 0 ? unmapped : 0));
    if (status->groups_age_s <= GROUPS_FRESH_S && beat_number(reread, "unknown_places") == 0) {
        status->reread_groups = bounded(beat_number(reread, "groups"));
        status->reread_records = bounded(beat_number(reread, "records"));
    }
    if (status->measured_s < 0 && status->positions.count > 0) {
        status->failover_s =
            cost_failover_s((int64_t)status->positions.count, bounded(sum_of(verdicts)));
    }
}

void status_sum(struct status *status)
{
    status->parts = calloc(status->positions.count + 1, sizeof(*status->parts));
    if (status->parts == NULL) {
        abort();
    }
    for (size_t i = 0; i < status->positions.count; i++) {
        status->parts[i].lag_s = status->parts[i].bytes_per_s = -1;
    }
    give_parts(status);
    sum_rates(status);
    sum_lag(status);
    see_lag(status);
    sum_groups(status);
}

bool status_part_flows(const struct status_part *part)
{
    return part->worker != NULL && is_mirroring(part->state) && part->trouble[0] == '\0';
}

int64_t status_idle_count(const struct status *status)
{
    int64_t count = 0;
    if (status->workers == NULL || status->positions.source_err.kind != ERR_NONE) {
        return -1;
    }
    for (size_t i = 0; i < status->positions.count; i++) {
        const struct status_part *part = &status->parts[i];
        count += status_part_flows(part) ? 0 : 1;
    }
    return count;
}

int64_t status_fault_count(const struct status *status)
{
    return status->faults == NULL ? -1 : (int64_t)json_object_size(status->faults);
}

/* --- kinds of groups ---------------------------------------------------------------------------------------------- */

#define GROUPS_NAMED 4

static void name_groups(struct text *out, const json_t *rows, const char *head)
{
    size_t count = json_array_size(rows);
    if (count == 0) {
        return;
    }
    text_puts(out, out->len == 0 ? "" : "; ");
    text_puts(out, head);
    for (size_t i = 0; i < count && i < GROUPS_NAMED; i++) {
        const json_t *row = json_array_get(rows, i);
        text_puts(out, i == 0 ? " " : ", ");
        text_puts(out, beat_text(row, "group"));
        text_puts(out, " (");
        text_puts(out, beat_text(row, "kind"));
        text_puts(out, ")");
    }
    if (count > GROUPS_NAMED) {
        text_puts(out, ", and ");
        text_number(out, (int64_t)(count - GROUPS_NAMED));
        text_puts(out, " more");
    }
}

char *status_not_carried(const struct status *status)
{
    const json_t *notes = json_object_get(groups_report(status), "notes");
    struct text out = {0};
    name_groups(&out, json_object_get(notes, "not_carried"), "groups that are not carried:");
    name_groups(&out, json_object_get(notes, "offsets_alone"), "with their offsets alone:");
    return text_take(&out);
}

/* --- words -------------------------------------------------------------------------------------------------------- */

static bool is_active(const struct status *status)
{
    return status->role_epoch > 0 && strcmp(status->primary, status->from) == 0;
}

/* "3 of 12 groups re-read at most 340 records (2 offsets not carried)". */
static void say_groups(const struct status *status, char *out, size_t room)
{
    char seconds[RENDER_NUMBER_BYTES];
    char records[RENDER_NUMBER_BYTES];
    char places[RENDER_NUMBER_BYTES];
    int used;
    if (status->groups < 0) {
        snprintf(out, room, "groups unknown (not synced yet)");
        return;
    }
    if (status->reread_records >= 0) {
        used = snprintf(out, room, "%lld of %lld groups re-read at most %s records",
                        (long long)status->reread_groups, (long long)status->groups,
                        render_count(status->reread_records, records));
    } else {
        used = snprintf(out, room, "what %lld groups re-read is unknown (synced %s ago)",
                        (long long)status->groups, render_seconds(status->groups_age_s, seconds));
    }
    if (status->groups_waiting > 0 && used > 0 && (size_t)used < room) {
        snprintf(out + used, room - (size_t)used, " (%s offsets not carried)",
                 render_count(status->groups_waiting, places));
    }
}

/* "about 3.2 s (as measured 2026-11-26T04:12:07Z)". */
static void say_time(const struct status *status, char *out, size_t room)
{
    char seconds[RENDER_NUMBER_BYTES];
    if (status->failover_s < 0) {
        snprintf(out, room, "time unknown");
    } else if (status->measured_s >= 0) {
        snprintf(out, room, "about %s (as measured%s%.39s)",
                 render_seconds(status->failover_s, seconds),
                 status->measured_when[0] == '\0' ? "" : " ", status->measured_when);
    } else {
        snprintf(out, room, "about %s (estimated)", render_seconds(status->failover_s, seconds));
    }
}

static void say_loss(const struct status *status, char *out, size_t room)
{
    char records[RENDER_NUMBER_BYTES];
    char seconds[RENDER_NUMBER_BYTES];
    char when[RENDER_TIME_BYTES];
    if (status->lag_records >= 0) {
        snprintf(out, room, "lose at most %s records (%s)",
                 render_count(status->lag_records, records),
                 status->lag_s < 0 ? "seconds unknown" : render_seconds(status->lag_s, seconds));
    } else if (status->seen_lag >= 0) {
        snprintf(out, room, "records lost unknown (%s behind when last seen, %s)",
                 render_count(status->seen_lag, records), render_time(status->seen_ms, when));
    } else {
        snprintf(out, room, "records lost unknown, seconds unknown");
    }
}

/* An operation is at work, or was left: nothing else counts then. */
static void say_operation(const struct status *status, char out[STATUS_LINE_BYTES])
{
    const struct status_operation *operation = &status->operation;
    char command[STATUS_COMMAND_BYTES];
    if (operation->id[0] == '\0') {
        snprintf(out, STATUS_LINE_BYTES,
                 "operation open, do not move clients by hand; its record cannot be read: "
                 "docs/failover.md");
        return;
    }
    snprintf(out, STATUS_LINE_BYTES, "operation open at %s%.47s, do not move clients by hand; %s",
             operation->undoing ? "undoing " : "",
             operation->step[0] == '\0' ? "its beginning" : operation->step,
             status_operation_command(operation, status->service, command));
}

static void say_other_primary(const struct status *status, char out[STATUS_LINE_BYTES])
{
    char when[RENDER_TIME_BYTES];
    if (strcmp(status->primary, status->to) == 0) {
        snprintf(out, STATUS_LINE_BYTES,
                 "unprotected since %s: %s is primary by role epoch %lld, and what is written "
                 "there is mirrored nowhere",
                 render_time(status->role_ms, when), status->primary,
                 (long long)status->role_epoch);
    } else {
        snprintf(out, STATUS_LINE_BYTES,
                 "%s is primary by role epoch %lld: nothing is mirrored from %s to %s",
                 status->primary, (long long)status->role_epoch, status->from, status->to);
    }
}

char *status_first_line(const struct status *status, char out[STATUS_LINE_BYTES])
{
    char loss[200];
    char groups[160];
    char time[120];
    if (status->operation_open) {
        say_operation(status, out);
        return out;
    }
    if (status->role_epoch == 0) {
        snprintf(out, STATUS_LINE_BYTES, "no role: %s is not mirrored to %s; next: ferry enable %s",
                 status->service, status->to, status->service);
        return out;
    }
    if (status->role_epoch > 0 && !is_active(status)) {
        say_other_primary(status, out);
        return out;
    }
    say_loss(status, loss, sizeof(loss));
    if (status->role_epoch < 0) {
        snprintf(out, STATUS_LINE_BYTES,
                 "%s does not say its role: no failover to it now; else: %s", status->to, loss);
        return out;
    }
    say_groups(status, groups, sizeof(groups));
    say_time(status, time, sizeof(time));
    snprintf(out, STATUS_LINE_BYTES, "if you failed over now: %s, %s, %s", loss, groups, time);
    return out;
}

/* The state that is furthest from running. */
static const char *workers_state(const struct status *status)
{
    const char *name;
    json_t *worker;
    const char *running = NULL;
    const char *other = NULL;
    json_object_foreach (status->workers, name, worker) {
        const char *state = beat_text(worker, "state");
        if (strcmp(state, "running") == 0) {
            running = state;
        } else if (state[0] != '\0') {
            other = state;
        }
    }
    if (running == NULL && other == NULL) {
        return "no worker";
    }
    return running != NULL ? running : other;
}

const char *status_state(const struct status *status)
{
    if (status->role_epoch <= 0) {
        return status->role_epoch == 0 ? "no role" : "unknown";
    }
    if (!is_active(status)) {
        return "not primary";
    }
    if (status->paused) {
        return "paused";
    }
    return status->workers == NULL ? "unknown" : workers_state(status);
}

char *status_why(const struct status *status, char out[STATUS_WHY_BYTES])
{
    out[0] = '\0';
    if (status->role_epoch < 0) {
        snprintf(out, STATUS_WHY_BYTES, "role unknown: %.200s", status->role_err.what);
    } else if (status->role_epoch > 0 && status->workers == NULL) {
        snprintf(out, STATUS_WHY_BYTES, "workers unknown: %.200s", status->redis_err.what);
    } else if (status->positions.source_err.kind != ERR_NONE) {
        snprintf(out, STATUS_WHY_BYTES, "source unknown: %.200s",
                 status->positions.source_err.what);
    } else if (status->positions.hidden_err.kind != ERR_NONE) {
        snprintf(out, STATUS_WHY_BYTES, "source unknown in part: %.200s",
                 status->positions.hidden_err.what);
    }
    return out;
}

/* --- a monitoring plugin -------------------------------------------------------------------------------------------- */

static enum status_verdict verdict(char why[STATUS_WHY_BYTES], enum status_verdict is,
                                   const char *text)
{
    snprintf(why, STATUS_WHY_BYTES, "%s", text);
    return is;
}

static bool maps_are_kept(const struct status *status)
{
    const char *name;
    json_t *worker;
    json_object_foreach (status->workers, name, worker) {
        const char *map = beat_text(worker, "redis");
        if (strcmp(map, "refused") == 0 || strcmp(map, "away") == 0) {
            return false;
        }
    }
    return true;
}

/* What is known to be bad comes before what is unknown, and that before what is worth a look. */
enum status_verdict status_check(const struct status *status, double warning_s, double critical_s,
                                 char why[STATUS_WHY_BYTES])
{
    int64_t idle = status_idle_count(status);
    if (status->operation_open) {
        snprintf(why, STATUS_WHY_BYTES, "operation open at %.47s",
                 status->operation.step[0] == '\0' ? "an unknown step" : status->operation.step);
        return STATUS_WARNING;
    }
    if (status->role_epoch == 0) {
        return verdict(why, STATUS_UNKNOWN, "no role");
    }
    if (status->role_epoch > 0 && !is_active(status)) {
        return verdict(why, STATUS_WARNING,
                       strcmp(status->primary, status->to) == 0
                           ? "unprotected: this site is primary, and mirrored nowhere"
                           : "another site is primary: not mirrored");
    }
    if (status_fault_count(status) > 0) {
        return verdict(why, STATUS_CRITICAL, "partitions are faulted");
    }
    if (status->workers != NULL && status->role_epoch > 0 &&
        json_object_size(status->workers) == 0) {
        return verdict(why, STATUS_CRITICAL, "no worker is alive");
    }
    if (status->lag_s > critical_s) {
        return verdict(why, STATUS_CRITICAL, "lag");
    }
    if (status->role_epoch < 0) {
        return verdict(why, STATUS_UNKNOWN, "the target's control topic cannot be read");
    }
    if (status->lag_records < 0) {
        return verdict(why, STATUS_UNKNOWN, "lag is unknown");
    }
    if (status->paused) {
        return verdict(why, STATUS_WARNING, "paused by an order");
    }
    if (status->lag_s > warning_s) {
        return verdict(why, STATUS_WARNING, "lag");
    }
    if (status->workers == NULL || status->faults == NULL) {
        return verdict(why, STATUS_WARNING,
                       status->has_redis ? "Redis does not answer: workers and faults unknown"
                                         : "no Redis at the target: workers and faults unknown");
    }
    if (status->lag_s < 0) {
        return verdict(why, STATUS_WARNING, "seconds of lag are unknown");
    }
    if (!maps_are_kept(status)) {
        return verdict(why, STATUS_WARNING, "a worker keeps no map: its Redis is refused or away");
    }
    if (topics_count(topics_report(status->workers), "not_mirrored_count") > 0) {
        return verdict(why, STATUS_WARNING, "topics that are not mirrored");
    }
    if (status->groups_age_s > critical_s) {
        return verdict(why, STATUS_WARNING, "offsets of groups are not carried any more");
    }
    return idle != 0 ? verdict(why, STATUS_WARNING, "partitions that nobody mirrors now")
                     : verdict(why, STATUS_OK, "");
}
