/* What a failover now would cost, and why. Works when every ferryd, Redis or the source is dead; what cannot be known
 * is said to be unknown, never 0.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/beats.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/render.h"
#include "cli/status.h"
#include "cli/status_gather.h"
#include "cli/topics.h"
#include "cli/watch.h"
#include "failover/acl_sync.h"
#include "failover/fence.h"
#include "kafka/control.h"

#define STATUS_TIMEOUT_MS 5000 /* a dead thing is waited for once; three of them take 15 s */
#define WATCH_MS          2000
#define LAG_WARNING_S     10
#define LAG_CRITICAL_S    60
#define PARTS_SHOWN       8 /* that do not mirror; the rest is counted */

/* --- JSON ----------------------------------------------------------------------------------------------------------- */

static json_t *position_json(const struct position *row, const struct status_part *part)
{
    bool placed = row->placed;
    json_t *out = json_object();
    json_object_set_new(out, "topic", json_string(row->topic));
    json_object_set_new(out, "partition", json_integer(row->partition));
    json_object_set_new(out, "source_begin", render_int_or_null(row->source_begin));
    json_object_set_new(out, "source_end", render_int_or_null(row->source_end));
    json_object_set_new(out, "source_stable", render_int_or_null(row->source_stable));
    json_object_set_new(out, "source_next", render_int_or_null(placed ? row->at.source_next : -1));
    json_object_set_new(out, "target_next", render_int_or_null(placed ? row->at.target_next : -1));
    json_object_set_new(out, "generation", render_int_or_null(placed ? row->at.generation : -1));
    json_object_set_new(out, "lag_records", render_int_or_null(position_lag(row)));
    json_object_set_new(out, "lag_s", render_real_or_null(status_late(row, part)));
    json_object_set_new(out, "checkpoint_from", render_string(placed ? row->origin : NULL));
    json_object_set_new(out, "checkpoint_time", render_time_or_null(placed ? row->at.time_ms : -1));
    json_object_set_new(out, "source_recreated", json_boolean(row->of_other_topic));
    json_object_set_new(out, "worker", render_string(part->worker));
    json_object_set_new(out, "state", render_string(part->state));
    json_object_set_new(out, "trouble", render_string(part->trouble));
    json_object_set_new(out, "bytes_per_s", render_real_or_null(part->bytes_per_s));
    json_object_set_new(out, "limited_by", render_string(part->limited_by));
    json_object_set_new(out, "slow_connection", json_boolean(part->slow_connection));
    return out;
}

static json_t *or_null(json_t *value)
{
    return value == NULL ? json_null() : json_incref(value);
}

static json_t *error_or_null(const struct err *err)
{
    return err->kind == ERR_NONE ? json_null() : render_string(err->what);
}

static json_t *errors_json(const struct status *status)
{
    json_t *out = json_object();
    json_object_set_new(
        out, "target",
        error_or_null(status->role_epoch < 0 ? &status->role_err : &(struct err){0}));
    json_object_set_new(out, "redis", error_or_null(&status->redis_err));
    const struct positions *positions = &status->positions;
    json_object_set_new(out, "source",
                        error_or_null(positions->source_err.kind != ERR_NONE
                                          ? &positions->source_err
                                          : &positions->hidden_err));
    json_object_set_new(out, "group", error_or_null(&status->positions.group_err));
    return out;
}

static json_t *partitions_json(const struct status *status)
{
    const struct positions *positions = &status->positions;
    json_t *out = json_array();
    for (size_t i = 0; i < positions->count; i++) {
        json_array_append_new(out, position_json(&positions->rows[i], &status->parts[i]));
    }
    return out;
}

/* What the configuration of its sites leaves open to who stands on the line. */
static json_t *weak_json(const struct status *status)
{
    json_t *out = json_array();
    for (size_t side = 0; side < 2; side++) {
        const struct config_site *site = status->sites[side];
        const char *weak;
        for (size_t i = 0; (weak = config_client_weakness(&site->kafka, i)) != NULL; i++) {
            json_array_append_new(out, json_pack("{ssss}", "site", site->name, "what", weak));
        }
    }
    return out;
}

/* The one that is open; null also where it cannot be read. */
static json_t *operation_json(const struct status *status)
{
    const struct status_operation *operation = &status->operation;
    char command[STATUS_COMMAND_BYTES];
    if (!status->operation_open || operation->id[0] == '\0') {
        return json_null();
    }
    json_t *out = json_object();
    json_object_set_new(out, "id", render_string(operation->id));
    json_object_set_new(out, "kind", render_string(operation->kind));
    json_object_set_new(out, "to", render_string(operation->to));
    json_object_set_new(out, "step", render_string(operation->step));
    json_object_set_new(out, "undoing", json_boolean(operation->undoing));
    json_object_set_new(out, "by", render_string(operation->by));
    json_object_set_new(out, "began", render_string(operation->began));
    json_object_set_new(
        out, "next", render_string(status_operation_command(operation, status->service, command)));
    return out;
}

/* What carries it, and what that costs. */
static void put_path(json_t *out, const struct status *status)
{
    json_object_set_new(
        out, "path",
        render_string(status->path == PATH_AUTO ? NULL : config_path_name(status->path)));
    json_object_set_new(
        out, "control",
        json_string(status->sites[1]->kafka.single_writer ? "single-writer" : "fenced"));
    json_object_set_new(out, "path_auto", json_boolean(status->path_auto));
    json_object_set_new(out, "path_why",
                        render_string(status->path_why[0] == '\0' ? NULL : status->path_why));
    json_object_set_new(out, "repeated_records",
                        render_int_or_null(status->path == PATH_BATCHES ? 0 : status->repeated));
    json_object_set_new(
        out, "repeated_since",
        render_string(status->repeated_since[0] == '\0' ? NULL : status->repeated_since));
}

static json_t *link_json(const struct status *status)
{
    char line[STATUS_LINE_BYTES];
    char why[STATUS_WHY_BYTES];
    char fence[FENCE_LINE_BYTES];
    json_t *out = json_object();
    json_object_set_new(out, "from", json_string(status->from));
    json_object_set_new(out, "to", json_string(status->to));
    json_object_set_new(out, "summary", render_string(status_first_line(status, line)));
    json_object_set_new(out, "state", render_string(status_state(status)));
    json_object_set_new(out, "why", render_string(status_why(status, why)));
    json_object_set_new(out, "role_epoch", render_int_or_null(status->role_epoch));
    json_object_set_new(out, "primary",
                        render_string(status->role_epoch > 0 ? status->primary : NULL));
    json_object_set_new(out, "role_time", render_time_or_null(status->role_ms));
    json_object_set_new(
        out, "unprotected",
        status->role_epoch < 0
            ? json_null()
            : json_boolean(status->role_epoch > 0 && strcmp(status->primary, status->to) == 0));
    json_object_set_new(out, "paused", json_boolean(status->paused));
    json_object_set_new(out, "operation_open", json_boolean(status->operation_open));
    json_object_set_new(out, "operation", operation_json(status));
    json_object_set_new(
        out, "fence",
        render_string(status->role_epoch <= 0 ? NULL : fence_line(status->fence, fence)));
    json_object_set_new(out, "acls", render_string(status->acls[0] == '\0' ? NULL : status->acls));
    json_object_set_new(out, "lag_records", render_int_or_null(status->lag_records));
    json_object_set_new(out, "lag_s", render_real_or_null(status->lag_s));
    json_object_set_new(out, "seen_lag_records", render_int_or_null(status->seen_lag));
    json_object_set_new(out, "seen_time", render_time_or_null(status->seen_ms));
    json_object_set_new(out, "records_per_s", render_real_or_null(status->records_per_s));
    json_object_set_new(out, "groups", render_int_or_null(status->groups));
    json_object_set_new(out, "groups_age_s", render_real_or_null(status->groups_age_s));
    json_object_set_new(out, "reread_groups", render_int_or_null(status->reread_groups));
    json_object_set_new(out, "reread_records", render_int_or_null(status->reread_records));
    json_object_set_new(out, "failover_s", render_real_or_null(status->failover_s));
    json_object_set_new(out, "failover_s_from",
                        render_string(status->failover_s < 0    ? NULL
                                      : status->measured_s >= 0 ? "measured"
                                                                : "estimated"));
    json_object_set_new(out, "partitions", partitions_json(status));
    json_object_set_new(out, "topics",
                        or_null((json_t *)(uintptr_t)topics_report(status->workers)));
    json_object_set_new(out, "workers", or_null(status->workers));
    json_object_set_new(out, "gone_workers", or_null(status->gone));
    put_path(out, status);
    json_object_set_new(out, "faults", or_null(status->faults));
    json_object_set_new(out, "errors", errors_json(status));
    json_object_set_new(out, "weak", weak_json(status));
    json_object_set_new(out, "time", render_time_or_null(status->now_ms));
    return out;
}

/* --- text: topics ------------------------------------------------------------------------------------------------------ */

struct topic_row {
    const char *topic;
    int64_t partitions;
    int64_t held; /* source offsets that the source holds; -1 = unknown */
    int64_t lag;
    double late;
    int64_t oldest_ms; /* of its checkpoints; -1 = a partition has none */
};

static int64_t add_known(int64_t sum, int64_t value)
{
    return sum < 0 || value < 0 ? -1 : sum + value;
}

static size_t fold_topics(const struct status *status, struct topic_row *rows)
{
    size_t count = 0;
    for (size_t i = 0; i < status->positions.count; i++) {
        const struct position *position = &status->positions.rows[i];
        int64_t lag = position_lag(position);
        double late = status_late(position, &status->parts[i]);
        int64_t at_ms = position->placed ? position->at.time_ms : -1;
        if (count == 0 || strcmp(rows[count - 1].topic, position->topic) != 0) {
            rows[count++] = (struct topic_row){.topic = position->topic, .oldest_ms = at_ms};
        }
        struct topic_row *row = &rows[count - 1];
        row->partitions++;
        row->held = add_known(row->held, position_held(position));
        row->lag = add_known(row->lag, lag);
        row->late = row->late < 0 || late < 0 ? -1 : (late > row->late ? late : row->late);
        row->oldest_ms = at_ms < row->oldest_ms ? at_ms : row->oldest_ms;
    }
    return count;
}

#define TOPIC_COLUMNS 6

static void print_topics(const struct status *status)
{
    static const char *const head[TOPIC_COLUMNS] = {"topic", "parts",   "done",
                                                    "lag",   "seconds", "as of"};
    size_t most = status->positions.count + 1;
    struct topic_row *rows = calloc(most, sizeof(*rows));
    const char **cells = calloc((most + 1) * TOPIC_COLUMNS, sizeof(*cells));
    char(*texts)[TOPIC_COLUMNS][RENDER_NUMBER_BYTES] = calloc(most, sizeof(*texts));
    if (rows == NULL || cells == NULL || texts == NULL) {
        abort();
    }
    size_t count = fold_topics(status, rows);
    memcpy(cells, head, sizeof(head));
    for (size_t i = 0; i < count; i++) {
        const struct topic_row *row = &rows[i];
        const char **cell = &cells[(i + 1) * TOPIC_COLUMNS];
        int64_t done = row->held < 0 || row->lag < 0 ? -1 : row->held - row->lag;
        done = done < -1 ? 0 : done; /* behind what the source deleted meanwhile */
        double age = row->oldest_ms < 0 ? -1 : (double)(status->now_ms - row->oldest_ms) / 1000.0;
        cell[0] = row->topic;
        cell[1] = render_count(row->partitions, texts[i][1]);
        cell[2] = render_share(done, row->held, texts[i][2]);
        cell[3] = render_count(row->lag, texts[i][3]);
        cell[4] = render_seconds(row->late, texts[i][4]);
        cell[5] = row->oldest_ms < 0 ? "never" : render_seconds(age < 0 ? 0 : age, texts[i][5]);
    }
    render_table(stdout, cells, TOPIC_COLUMNS, (int)count + 1);
    free(rows);
    free(cells);
    free(texts);
}

/* --- text: the rest ---------------------------------------------------------------------------------------------------- */

static void print_unknown(const char *what, const struct err *err)
{
    char line[ERR_WHAT_BYTES + ERR_HINT_BYTES + 16];
    snprintf(line, sizeof(line), "%s%s%s", err->what,
             err->hint[0] == '\0' ? "" : "; next: ", err->hint);
    struct render_safe safe = render_safe(line);
    int used = printf("%s unknown: ", what);
    render_wrapped(stdout, safe.text, RENDER_WIDTH, used, 4);
}

static const char *word(const json_t *worker, const char *key)
{
    const char *text = json_string_value(json_object_get(worker, key));
    return text == NULL ? "unknown" : text;
}

/* Mirroring goes on without a map, but no offset is translated: why, and what to type. */
static void print_map(const json_t *worker)
{
    const char *why = json_string_value(json_object_get(worker, "redis_why"));
    const char *hint = json_string_value(json_object_get(worker, "redis_hint"));
    char line[1200];
    if (why == NULL || why[0] == '\0') {
        return;
    }
    snprintf(line, sizeof(line), "no map is kept: %.500s%s%.500s", why,
             hint == NULL || hint[0] == '\0' ? "" : "; next: ", hint == NULL ? "" : hint);
    struct render_safe safe = render_safe(line);
    fputs("    ", stdout);
    render_wrapped(stdout, safe.text, RENDER_WIDTH, 4, 4);
}

#define FLOW_TEXT_BYTES 200

/* " (80 ms to the source)"; "" when it is unknown. */
static const char *round_trip_text(const json_t *worker, const char *to, char *out, size_t room)
{
    char key[64];
    snprintf(key, sizeof(key), "%s_round_trip_ms", to);
    double ms = json_number_value(json_object_get(worker, key));
    if (ms <= 0 || ms > 1e6) {
        return "";
    }
    snprintf(out, room, " (%.0f ms to the %s)", ms, to);
    return out;
}

/* ", 11.2 MB/s limited by the line (80 ms to the source)" */
static char *flow_text(const json_t *worker, char out[FLOW_TEXT_BYTES])
{
    static const struct {
        const char *name;
        const char *text;
        const char *to; /* whose round trip is shown with it */
    } rows[] = {
        {"source",        " limited by the source",              NULL    },
        {"line",          " limited by the line",                "source"},
        {"window",        " limited by mirror.partition_window", "target"},
        {"target",        " limited by the target",              NULL    },
        {"memory",        " limited by mirror.link_window",      NULL    },
        {"configuration", " limited by configuration",           NULL    },
    };
    char rate[40] = "";
    char trip[60] = "";
    const char *by = "";
    const char *ms = "";
    const char *name = word(worker, "limited_by");
    double bytes = json_number_value(json_object_get(worker, "bytes_per_s"));
    if (bytes >= 0 && bytes < 1e15) {
        snprintf(rate, sizeof(rate), ", %.1f MB/s", bytes / 1e6);
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(name, rows[i].name) == 0) {
            by = rows[i].text;
            ms = rows[i].to == NULL ? "" : round_trip_text(worker, rows[i].to, trip, sizeof(trip));
        }
    }
    snprintf(out, FLOW_TEXT_BYTES, "%s%s%s", rate, by, ms);
    return out;
}

/* "batches re-encoded since its start: 12 (inner-holes 10, small 2)"; nothing when there is nothing. */
static void print_counts(const json_t *counts, const char *what)
{
    const char *reason;
    json_t *value;
    const char *before = " (";
    json_int_t sum = 0;
    json_object_foreach ((json_t *)(uintptr_t)counts, reason, value) {
        sum += json_integer_value(value);
    }
    if (sum == 0) {
        return;
    }
    printf("  %s: %lld", what, (long long)sum);
    json_object_foreach ((json_t *)(uintptr_t)counts, reason, value) {
        if (json_integer_value(value) > 0) {
            struct render_safe safe = render_safe(reason);
            printf("%s%.40s %lld", before, safe.text, (long long)json_integer_value(value));
            before = ", ";
        }
    }
    printf(")\n");
}

/* "  map: 120,000 source offsets are unmapped, being rebuilt at 8,000/s, about 15 s left" */
static void print_rebuild(const json_t *worker)
{
    const json_t *rebuild = json_object_get(worker, "rebuild");
    json_int_t left = json_integer_value(json_object_get(rebuild, "left_offsets"));
    json_int_t stopped = json_integer_value(json_object_get(rebuild, "stopped_offsets"));
    double rate = json_number_value(json_object_get(rebuild, "offsets_per_s"));
    const json_t *left_s = json_object_get(rebuild, "left_s");
    const char *why = json_string_value(json_object_get(rebuild, "why"));
    char number[RENDER_NUMBER_BYTES];
    char time_left[RENDER_NUMBER_BYTES];
    char per_s[RENDER_NUMBER_BYTES];
    char line[1000];
    if (left > 0) {
        double seconds = json_is_number(left_s) ? json_number_value(left_s) : -1;
        printf("  map: %s source offsets are unmapped, being rebuilt at %s/s, %s left\n",
               render_count(left, number),
               render_count(rate >= 0 && rate < 1e15 ? (int64_t)rate : -1, per_s),
               render_seconds(seconds < 1e9 ? seconds : -1, time_left));
    }
    if (stopped > 0) {
        snprintf(line, sizeof(line), "map: %s source offsets stay unmapped: %.700s",
                 render_count(stopped, number), why == NULL ? "unknown why" : why);
        struct render_safe safe = render_safe(line);
        fputs("  ", stdout);
        render_wrapped(stdout, safe.text, RENDER_WIDTH, 2, 4);
    }
}

static void print_worker(const struct status *status, const char *name, const json_t *worker)
{
    char line[1200];
    char flow[FLOW_TEXT_BYTES];
    char number[RENDER_NUMBER_BYTES];
    const json_t *rate = json_object_get(worker, "records_per_s");
    double age = (double)(status->now_ms - beat_ms(worker)) / 1000.0;
    const char *why = word(worker, "why");
    bool runs = strcmp(word(worker, "state"), "running") == 0 && why[0] == '\0';
    snprintf(
        line, sizeof(line),
        "worker %.64s on %.64s: %.32s%s%.200s, %zu partitions, %s records/s%s, map %.16s, %s%s",
        name, word(worker, "host"), word(worker, "state"), runs ? "" : ": ", runs ? "" : why,
        json_array_size(json_object_get(worker, "partitions")),
        render_count(json_is_number(rate) ? (int64_t)json_number_value(rate) : -1, number),
        flow_text(worker, flow), word(worker, "redis"), age < -1 ? "clock ahead" : "",
        age < -1 ? "" : "told ");
    size_t used = strlen(line);
    if (age >= -1) {
        snprintf(line + used, sizeof(line) - used, "%s ago",
                 render_seconds(age < 0 ? 0 : age, number));
    }
    struct render_safe safe = render_safe(line);
    render_wrapped(stdout, safe.text, RENDER_WIDTH, 0, 4);
    print_map(worker);
    print_rebuild(worker);
    print_counts(json_object_get(worker, "recoded_batches"), "batches re-encoded since its start");
    print_counts(json_object_get(worker, "filtered_records"), "records filtered since its start");
}

static void print_workers(const struct status *status)
{
    const char *name;
    json_t *worker;
    char when[RENDER_TIME_BYTES];
    if (status->workers == NULL) {
        print_unknown("workers and faults", &status->redis_err);
        return;
    }
    json_object_foreach (status->workers, name, worker) {
        print_worker(status, name, worker);
    }
    json_object_foreach (status->gone, name, worker) {
        struct render_safe safe = render_safe(name);
        printf("worker %s: not heard of since %s\n", safe.text, render_time(beat_ms(worker), when));
    }
    if (json_object_size(status->workers) == 0) {
        printf("%sno worker is alive%s: start ferryd\n", render_color(COLOR_BAD),
               render_color(COLOR_NONE));
    }
}

/* Partitions that are ours and do not mirror, with the worker's reason. */
static void print_idle(const struct status *status)
{
    /* Without any worker that is said once, not of each partition. */
    bool none = status->workers != NULL && json_object_size(status->workers) == 0;
    int64_t count = none ? 0 : status_idle_count(status);
    int shown = 0;
    for (size_t i = 0; i < status->positions.count && count > 0 && shown < PARTS_SHOWN; i++) {
        const struct status_part *part = &status->parts[i];
        if (status_part_flows(part)) {
            continue;
        }
        char line[800];
        const char *why = part->worker == NULL       ? ""
                          : part->trouble[0] != '\0' ? part->trouble
                                                     : part->why;
        snprintf(line, sizeof(line), "%s:%d %.32s%s%.400s", status->positions.rows[i].topic,
                 status->positions.rows[i].partition,
                 part->worker == NULL ? "without a worker" : part->state,
                 why[0] == '\0' ? "" : ": ", why);
        struct render_safe safe = render_safe(line);
        render_wrapped(stdout, safe.text, RENDER_WIDTH, 0, 4);
        shown++;
    }
    if (count > shown) {
        printf("and %lld more partitions that do not mirror now\n", (long long)count - shown);
    }
}

static void print_catching_up(const struct status *status)
{
    char records[RENDER_NUMBER_BYTES];
    char left[RENDER_NUMBER_BYTES];
    if (status->lag_records > 0 && status->records_per_s >= 1) {
        printf("catching up: %s records/s, at this rate %s left if nothing new came\n",
               render_count((int64_t)status->records_per_s, records),
               render_seconds((double)status->lag_records / status->records_per_s, left));
    }
}

/* Only committed records are mirrored, and nothing past the first open transaction. */
static void print_held_back(const struct status *status)
{
    char number[RENDER_NUMBER_BYTES];
    int64_t offsets = 0;
    int64_t partitions = 0;
    for (size_t i = 0; i < status->positions.count; i++) {
        int64_t held = position_held_back(&status->positions.rows[i]);
        offsets += held;
        partitions += held > 0 ? 1 : 0;
    }
    if (offsets > 0) {
        printf("%s source offsets of %lld partitions wait for open transactions\n",
               render_count(offsets, number), (long long)partitions);
    }
}

/* Which one `auto` is, and by what evidence. */
static void print_choice(const struct status *status)
{
    const char *path =
        status->path == PATH_AUTO ? "not chosen yet" : config_path_name(status->path);
    if (status->path_auto && status->role_epoch >= 0) {
        int used = printf("path auto: %s", path);
        if (status->path_why[0] != '\0') {
            struct render_safe safe = render_safe(status->path_why);
            used += printf(": ");
            render_wrapped(stdout, safe.text, RENDER_WIDTH, used, 4);
        } else {
            printf("%s\n", status->path == PATH_AUTO ? ": ferry enable chooses" : "");
        }
    }
}

static void print_path(const struct status *status)
{
    char number[RENDER_NUMBER_BYTES];
    print_choice(status);
    if (status->sites[1]->kafka.single_writer) {
        puts("control single-writer: operations are not fenced by the broker (docs/control.md)");
    }
    if (!status->at_least_once) {
        return;
    }
    if (status->repeated < 0) {
        puts("path records: at-least-once; how many records were repeated is unknown");
    } else if (status->repeated == 0) {
        puts("path records: at-least-once; no record was found repeated");
    } else {
        struct render_safe safe = render_safe(status->repeated_since);
        printf("path records: at-least-once, %s records were repeated since %s (docs/records.md)\n",
               render_count(status->repeated, number), safe.text);
    }
}

static void print_faults(const struct status *status)
{
    if (status_fault_count(status) > 0) {
        printf("%s%lld partitions faulted%s: ferry fault list %s\n", render_color(COLOR_BAD),
               (long long)status_fault_count(status), render_color(COLOR_NONE), status->service);
    }
}

static void print_head(const struct status *status)
{
    char line[STATUS_LINE_BYTES];
    char epoch[RENDER_NUMBER_BYTES];
    char when[RENDER_TIME_BYTES];
    bool well = status->lag_records >= 0 && status->role_epoch > 0 && !status->operation_open &&
                strcmp(status->primary, status->from) == 0;
    fputs(render_color(well ? COLOR_GOOD : COLOR_WARN), stdout);
    struct render_safe safe = render_safe(status_first_line(status, line));
    /* A command to type is not broken. */
    bool command = status->role_epoch == 0 || status->operation_open;
    int width = command ? STATUS_LINE_BYTES : RENDER_WIDTH;
    render_wrapped(stdout, safe.text, width, 0, 2);
    fputs(render_color(COLOR_NONE), stdout);
    snprintf(line, sizeof(line), "%s  %s > %s  %s  role epoch %s  %s", status->service,
             status->from, status->to, status_state(status),
             status->role_epoch == 0 ? "none" : render_count(status->role_epoch, epoch),
             render_time(status->now_ms, when));
    safe = render_safe(line);
    render_wrapped(stdout, safe.text, RENDER_WIDTH, 0, 4);
}

static void print_fence(const struct status *status)
{
    char line[FENCE_LINE_BYTES];
    if (status->role_epoch > 0) {
        struct render_safe safe = render_safe(fence_line(status->fence, line));
        int used = printf("write fence: ");
        render_wrapped(stdout, safe.text, RENDER_WIDTH, used, 4);
    }
}

static void print_acls_line(const struct status *status)
{
    if (status->acls[0] != '\0') {
        struct render_safe safe = render_safe(status->acls);
        printf("ACLs of %s: %s\n", status->from, safe.text);
    }
}

static void print_weak(const struct status *status)
{
    json_t *all = weak_json(status);
    const json_t *row;
    size_t i;
    json_array_foreach (all, i, row) {
        char line[400];
        snprintf(line, sizeof(line), "%swarning%s: site %.100s: %.200s", render_color(COLOR_WARN),
                 render_color(COLOR_NONE), json_string_value(json_object_get(row, "site")),
                 json_string_value(json_object_get(row, "what")));
        puts(line);
    }
    json_decref(all);
}

static void print_groups(const struct status *status)
{
    char *line = status_not_carried(status);
    if (line[0] != '\0') {
        struct render_safe safe = render_safe(line);
        render_wrapped(stdout, safe.text, RENDER_WIDTH, 0, 4);
    }
    free(line);
}

static void print_text(const struct status *status)
{
    print_head(status);
    print_weak(status);
    if (status->role_epoch < 0) {
        print_unknown("role", &status->role_err);
    }
    if (status->role_epoch == 0) {
        return;
    }
    print_fence(status);
    print_acls_line(status);
    print_path(status);
    print_workers(status);
    if (status->positions.source_err.kind != ERR_NONE) {
        print_unknown("source", &status->positions.source_err);
    }
    if (status->positions.hidden_err.kind != ERR_NONE) {
        print_unknown("source in part", &status->positions.hidden_err);
    }
    if (status->positions.count > 0) {
        print_topics(status);
    }
    topics_print(stdout, topics_report(status->workers));
    print_groups(status);
    print_idle(status);
    print_catching_up(status);
    print_held_back(status);
    print_faults(status);
}

/* --- a monitoring plugin ------------------------------------------------------------------------------------------------ */

static void print_figure(const char *name, double value, int decimals)
{
    if (value < 0) {
        printf(" %s=U", name);
    } else {
        printf(" %s=%.*f", name, decimals, value);
    }
}

static int print_check(const struct status *status, double warning_s, double critical_s)
{
    static const char *const words[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};
    char line[STATUS_LINE_BYTES];
    char why[STATUS_WHY_BYTES];
    enum status_verdict verdict = status_check(status, warning_s, critical_s, why);
    struct render_safe safe = render_safe(status_first_line(status, line));
    printf("FERRY %s - %s %s>%s: %s%s%s |", words[verdict], status->service, status->from,
           status->to, why, why[0] == '\0' ? "" : "; ", safe.text);
    print_figure("lag_records", (double)status->lag_records, 0);
    print_figure("lag_s", status->lag_s, 3);
    print_figure("faults", (double)status_fault_count(status), 0);
    print_figure("reread_records", (double)status->reread_records, 0);
    print_figure("failover_s", status->failover_s, 1);
    putchar('\n');
    return (int)verdict;
}

/* --- the command ---------------------------------------------------------------------------------------------------- */

struct show {
    struct context *context;
    bool one_service; /* else all */
    bool one_link;
    bool check;
    int64_t warning_s;
    int64_t critical_s;
    json_t *services; /* -o json */
    int code;         /* the worst */
    int links_count;
};

static int link_code(const struct status *status)
{
    if (status->role_epoch < 0) {
        return EXIT_UNREACHABLE;
    }
    return status->role_epoch == 0 ? EXIT_REFUSED : EXIT_DONE;
}

/* Worst of two plugin codes: critical, unknown, warning, ok. */
static int worse_verdict(int a, int b)
{
    static const int rank[] = {0, 1, 3, 2};
    return rank[a] >= rank[b] ? a : b;
}

static void show_link(struct show *show, json_t *links)
{
    struct context *context = show->context;
    struct status status;
    status_gather(&status, context);
    if (show->check) {
        int verdict = print_check(&status, (double)show->warning_s, (double)show->critical_s);
        show->code = worse_verdict(show->code, verdict);
    } else {
        int code = link_code(&status);
        show->code = code > show->code ? code : show->code;
        if (context->json) {
            json_array_append_new(links, link_json(&status));
        } else {
            fputs(show->links_count > 0 ? "\n" : "", stdout);
            print_text(&status);
        }
    }
    show->links_count++;
    status_done(&status);
}

static void show_service(struct show *show, const struct config_service *service)
{
    struct context *context = show->context;
    json_t *links = json_array();
    for (size_t i = 0; i < service->others_count; i++) {
        if (!show->one_link) {
            context_link(context, service, config_site(context->config, service->home),
                         config_site(context->config, service->others[i]));
        }
        if (!show->one_link || i == 0) {
            show_link(show, links);
        }
    }
    json_t *summary = json_object_get(json_array_get(links, 0), "summary");
    json_array_append_new(show->services,
                          json_pack("{sssssOso}", "service", service->name, "home", service->home,
                                    "summary", summary == NULL ? json_null() : summary, "links",
                                    links));
}

static void show_all(void *arg)
{
    struct show *show = arg;
    struct context *context = show->context;
    show->services = json_array();
    show->code = 0;
    show->links_count = 0;
    for (size_t i = 0; i < context->config->services_count; i++) {
        const struct config_service *service = &context->config->services[i];
        if (!show->one_service || service == context->service) {
            show_service(show, service);
        }
    }
    json_t *out = json_pack("{soso}", "services", show->services, "time",
                            render_time_or_null(clock_wall_ms(clock_system())));
    if (!context->json || show->check) {
        json_decref(out);
    } else if (command_has(context->line, "watch")) {
        render_json_line(out);
    } else {
        render_json(out);
    }
}

static bool open_status(struct show *show, const struct command_line *line, struct err *err)
{
    struct context *context = show->context;
    bool named = line->args_count > 0 || command_has(line, "link");
    bool ok = named ? context_open(context, line, err) : context_config(context, line, err);
    if (!command_has(line, "timeout")) {
        context->timeout_ms = STATUS_TIMEOUT_MS;
    }
    show->one_service = named;
    show->one_link = command_has(line, "link");
    show->check = command_has(line, "check");
    show->warning_s = LAG_WARNING_S;
    show->critical_s = LAG_CRITICAL_S;
    return ok && command_option_number(line, "warning", 0, INT32_MAX, &show->warning_s, err) &&
           command_option_number(line, "critical", 0, INT32_MAX, &show->critical_s, err);
}

int cmd_status(const struct command_line *line)
{
    struct context context;
    struct show show = {.context = &context};
    struct err err = {0};
    int code;
    if (!open_status(&show, line, &err)) {
        code = command_fail(line, &err);
        code = show.check ? (int)STATUS_UNKNOWN : code;
    } else if (command_has(line, "watch")) {
        watch_run(&context, WATCH_MS, 0, show_all, &show);
        code = show.code;
    } else {
        show_all(&show);
        code = show.code;
    }
    context_close(&context);
    return code;
}
