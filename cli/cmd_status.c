/* What a failover now would cost, and why. Works when every ferryd, Redis or the source is dead; what cannot be known
 * is said to be unknown, never 0.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/render.h"
#include "kafka/control.h"

#define WORKER_FRESH_MS 10000 /* a heartbeat comes each second: an older one is from the past */
#define WATCH_S         2
#define LAG_WARN_S      10.0
#define LAG_CRITICAL_S  60.0

struct status {
    struct context *context;
    int64_t role_epoch; /* 0 none; -1 unknown */
    char primary[128];
    struct err control_err;
    struct err redis_err; /* kind ERR_NONE: Redis answers */
    struct err positions_err;
    struct context_position *positions;
    size_t positions_count;
    bool positions_known;
    json_t *workers;     /* fresh heartbeats by name; NULL unknown */
    json_t *stale;       /* others */
    json_t *faults;      /* NULL unknown */
    int64_t lag_records; /* sum; -1 unknown */
    double lag_s;        /* worst; -1 unknown */
};

/* --- gathering ---------------------------------------------------------------------------------------------------- */

static void ask_control(struct status *status)
{
    struct context *context = status->context;
    struct control_state *state = control_read(&context->to->kafka, context->service->name,
                                               context->timeout_ms, &status->control_err);
    if (state == NULL) {
        status->role_epoch =
            status->control_err.code == 3 ? 0 : -1; /* no topic: nobody ever enabled it */
        return;
    }
    status->role_epoch = state->role_epoch;
    snprintf(status->primary, sizeof(status->primary), "%s", state->primary);
    control_state_free(state);
}

static int64_t wall_of(const char *text)
{
    struct tm utc = {0};
    if (text == NULL || strptime(text, "%Y-%m-%dT%H:%M:%S", &utc) == NULL) {
        return -1;
    }
    return (int64_t)timegm(&utc) * 1000;
}

static void ask_workers(struct status *status)
{
    struct context *context = status->context;
    struct err err;
    char link[300];
    char *key = context_key(context, "workers");
    json_t *all = context_hash(context, key, &err);
    free(key);
    snprintf(link, sizeof(link), "%s>%s", context->from->name, context->to->name);
    if (all == NULL) {
        return;
    }
    status->workers = json_object();
    status->stale = json_object();
    const char *name;
    json_t *worker;
    int64_t now = clock_wall_ms(clock_system());
    json_object_foreach (all, name, worker) {
        const char *of_link = json_string_value(json_object_get(worker, "link"));
        int64_t at = wall_of(json_string_value(json_object_get(worker, "time")));
        if (of_link != NULL && strcmp(of_link, link) == 0) {
            bool fresh = at >= 0 && now - at < WORKER_FRESH_MS;
            json_object_set(fresh ? status->workers : status->stale, name, worker);
        }
    }
    json_decref(all);
    key = context_link_key(context, "faults");
    status->faults = context_hash(context, key, &err);
    free(key);
}

/* The worst seconds at risk that any worker saw; a partition that nobody owns makes it unknown. */
static double worst_lag_s(const struct status *status)
{
    double worst = 0;
    size_t seen = 0;
    const char *name;
    json_t *worker;
    json_object_foreach (status->workers, name, worker) {
        size_t index;
        json_t *part;
        json_array_foreach (json_object_get(worker, "partitions"), index, part) {
            const json_t *lag = json_object_get(part, "lag_s");
            if (!json_is_number(lag)) {
                return -1;
            }
            worst = json_number_value(lag) > worst ? json_number_value(lag) : worst;
            seen++;
        }
    }
    return seen > 0 && seen >= status->positions_count ? worst : -1;
}

static int64_t lag_records(const struct status *status)
{
    int64_t sum = 0;
    if (!status->positions_known || status->positions_count == 0) {
        return -1;
    }
    for (size_t i = 0; i < status->positions_count; i++) {
        const struct context_position *position = &status->positions[i];
        if (position->source_end < 0) {
            return -1;
        }
        if (position->source_end > position->at.source_next) {
            sum += position->source_end - position->at.source_next;
        }
    }
    return sum;
}

static void gather(struct status *status, struct context *context)
{
    *status = (struct status){.context = context, .lag_records = -1, .lag_s = -1};
    ask_control(status);
    status->positions_known =
        context_positions(context, &status->positions, &status->positions_count, &status->redis_err,
                          &status->positions_err);
    ask_workers(status);
    status->lag_records = lag_records(status);
    status->lag_s = status->workers == NULL ? -1 : worst_lag_s(status);
}

static void status_done(struct status *status)
{
    free(status->positions);
    json_decref(status->workers);
    json_decref(status->stale);
    json_decref(status->faults);
}

/* --- verdicts ------------------------------------------------------------------------------------------------------- */

static bool no_role(const struct status *status)
{
    return status->role_epoch == 0;
}

static void first_line(const struct status *status, char *out, size_t room)
{
    char records[RENDER_NUMBER_BYTES];
    char seconds[RENDER_NUMBER_BYTES];
    if (no_role(status)) {
        snprintf(out, room, "no role: the service is not mirrored; ferry enable %s",
                 status->context->service->name);
        return;
    }
    snprintf(out, room,
             "if you failed over now: lose at most %s records (%s), groups unknown (not synced by "
             "this release)",
             render_count(status->lag_records, records), render_seconds(status->lag_s, seconds));
}

static const char *link_state(const struct status *status)
{
    if (no_role(status)) {
        return "no role";
    }
    if (status->role_epoch < 0 || status->workers == NULL) {
        return "unknown";
    }
    return json_object_size(status->workers) > 0 ? "running" : "no worker";
}

/* 0 ok, 1 warning, 2 critical, 3 unknown: as monitoring plugins. */
static int plugin_code(const struct status *status)
{
    if (status->role_epoch <= 0 || status->lag_records < 0) {
        return 3;
    }
    bool none = status->workers != NULL && json_object_size(status->workers) == 0;
    if (none || json_object_size(status->faults) > 0 || status->lag_s > LAG_CRITICAL_S) {
        return 2;
    }
    return status->lag_s > LAG_WARN_S || status->lag_s < 0 || status->redis_err.kind != ERR_NONE
               ? 1
               : 0;
}

static int print_check(const struct status *status)
{
    static const char *const words[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};
    char line[512];
    int code = plugin_code(status);
    first_line(status, line, sizeof(line));
    printf("FERRY %s - %s: %s; %zu faults\n", words[code], status->context->service->name, line,
           status->faults == NULL ? 0 : json_object_size(status->faults));
    return code;
}

/* --- JSON ----------------------------------------------------------------------------------------------------------- */

static json_t *int_or_null(int64_t value)
{
    return value < 0 ? json_null() : json_integer(value);
}

static json_t *position_json(const struct context_position *position)
{
    int64_t lag = position->source_end < 0 ? -1 : position->source_end - position->at.source_next;
    char when[CLOCK_TEXT_BYTES];
    return json_pack("{sssisIsIsosossis}", "topic", position->topic, "partition",
                     position->partition, "source_next", (json_int_t)position->at.source_next,
                     "target_next", (json_int_t)position->at.target_next, "source_end",
                     int_or_null(position->source_end), "lag_records",
                     position->source_end < 0 ? json_null() : json_integer(lag < 0 ? 0 : lag),
                     "generation", position->at.generation, "checkpoint_time",
                     clock_rfc3339(position->at.time_ms, when));
}

static json_t *or_null(json_t *value)
{
    return value == NULL ? json_null() : json_incref(value);
}

static json_t *status_json(const struct status *status)
{
    char line[512];
    char now[CLOCK_TEXT_BYTES];
    json_t *positions = json_array();
    first_line(status, line, sizeof(line));
    for (size_t i = 0; i < status->positions_count; i++) {
        json_array_append_new(positions, position_json(&status->positions[i]));
    }
    json_t *out = json_pack("{ss ss ss ss ss}", "service", status->context->service->name, "from",
                            status->context->from->name, "to", status->context->to->name, "summary",
                            line, "time", clock_rfc3339(clock_wall_ms(clock_system()), now));
    json_object_set_new(out, "state", json_string(link_state(status)));
    json_object_set_new(out, "role_epoch", int_or_null(status->role_epoch));
    json_object_set_new(out, "primary",
                        status->role_epoch > 0 ? json_string(status->primary) : json_null());
    json_object_set_new(out, "lag_records", int_or_null(status->lag_records));
    json_object_set_new(out, "lag_s", status->lag_s < 0 ? json_null() : json_real(status->lag_s));
    json_object_set_new(out, "redis",
                        status->redis_err.kind == ERR_NONE ? json_string("ready")
                                                           : json_string(status->redis_err.what));
    json_object_set_new(out, "partitions", status->positions_known ? positions : json_null());
    if (!status->positions_known) {
        json_decref(positions);
    }
    json_object_set_new(out, "workers", or_null(status->workers));
    json_object_set_new(out, "stale_workers", or_null(status->stale));
    json_object_set_new(out, "faults", or_null(status->faults));
    return out;
}

/* --- text ----------------------------------------------------------------------------------------------------------- */

struct topic_row {
    const char *topic;
    int64_t partitions;
    int64_t done;
    int64_t end; /* -1 unknown */
    int64_t lag;
    int64_t oldest_ms; /* of its checkpoints */
};

static size_t fold_topics(const struct status *status, struct topic_row *rows)
{
    size_t count = 0;
    for (size_t i = 0; i < status->positions_count; i++) {
        const struct context_position *position = &status->positions[i];
        if (count == 0 || strcmp(rows[count - 1].topic, position->topic) != 0) {
            rows[count++] =
                (struct topic_row){.topic = position->topic, .oldest_ms = position->at.time_ms};
        }
        struct topic_row *row = &rows[count - 1];
        bool known = position->source_end >= 0 && row->end >= 0;
        int64_t lag = position->source_end - position->at.source_next;
        row->partitions++;
        row->done += position->at.source_next;
        row->end = known ? row->end + position->source_end : -1;
        row->lag = known ? row->lag + (lag > 0 ? lag : 0) : -1;
        row->oldest_ms =
            position->at.time_ms < row->oldest_ms ? position->at.time_ms : row->oldest_ms;
    }
    return count;
}

static void print_topics(const struct status *status)
{
    struct topic_row *rows = calloc(status->positions_count + 1, sizeof(*rows));
    size_t count = fold_topics(status, rows);
    const char **cells = calloc((count + 1) * 5, sizeof(*cells));
    char(*texts)[5][RENDER_NUMBER_BYTES] = calloc(count + 1, sizeof(*texts));
    static const char *const head[] = {"topic", "partitions", "lag", "done", "checkpoint age"};
    int64_t now = clock_wall_ms(clock_system());
    memcpy(cells, head, sizeof(head));
    for (size_t i = 0; i < count; i++) {
        const char **row = &cells[(i + 1) * 5];
        row[0] = rows[i].topic;
        row[1] = render_count(rows[i].partitions, texts[i][1]);
        row[2] = render_count(rows[i].lag, texts[i][2]);
        if (rows[i].end > 0) {
            snprintf(texts[i][3], RENDER_NUMBER_BYTES, "%.1f %%",
                     100.0 * (double)rows[i].done / (double)rows[i].end);
        } else {
            snprintf(texts[i][3], RENDER_NUMBER_BYTES, rows[i].end == 0 ? "-" : "unknown");
        }
        row[3] = texts[i][3];
        row[4] = render_seconds((double)(now - rows[i].oldest_ms) / 1000.0, texts[i][4]);
    }
    render_table(cells, 5, (int)count + 1);
    free(rows);
    free(cells);
    free(texts);
}

static double rate_of(const struct status *status, const char *key)
{
    double sum = 0;
    const char *name;
    json_t *worker;
    json_object_foreach (status->workers, name, worker) {
        sum += json_number_value(json_object_get(worker, key));
    }
    return sum;
}

static void print_workers(const struct status *status)
{
    const char *name;
    json_t *worker;
    if (status->workers == NULL) {
        printf("workers: unknown (%s)\n", status->redis_err.what);
        return;
    }
    json_object_foreach (status->workers, name, worker) {
        const char *state = json_string_value(json_object_get(worker, "state"));
        printf("worker %s  %s  %zu partitions  %.0f records/s  map %s\n", name,
               state == NULL ? "unknown" : state,
               json_array_size(json_object_get(worker, "partitions")),
               json_number_value(json_object_get(worker, "records_per_s")),
               json_string_value(json_object_get(worker, "redis")));
    }
    json_object_foreach (status->stale, name, worker) {
        printf("worker %s  not heard of since %s\n", name,
               json_string_value(json_object_get(worker, "time")));
    }
    if (json_object_size(status->workers) == 0) {
        puts("no worker is alive: start ferryd");
    }
}

static void print_text(const struct status *status)
{
    const struct context *context = status->context;
    char line[512];
    char left[RENDER_NUMBER_BYTES];
    char now[CLOCK_TEXT_BYTES];
    double rate = rate_of(status, "records_per_s");
    first_line(status, line, sizeof(line));
    puts(line);
    printf("%s  %s > %s  %s  role epoch %s%lld  %s\n", context->service->name, context->from->name,
           context->to->name, link_state(status), status->role_epoch < 0 ? "unknown " : "",
           (long long)status->role_epoch, clock_rfc3339(clock_wall_ms(clock_system()), now));
    if (no_role(status)) {
        return;
    }
    print_workers(status);
    if (!status->positions_known) {
        printf("positions: unknown (%s)\n", status->positions_err.what);
    } else if (status->positions_count > 0) {
        print_topics(status);
    }
    if (status->lag_records > 0 && rate > 0) {
        printf("catching up: %.0f records/s, about %s left\n", rate,
               render_seconds((double)status->lag_records / rate, left));
    }
    if (json_object_size(status->faults) > 0) {
        printf("%zu partitions faulted: ferry fault list %s\n", json_object_size(status->faults),
               context->service->name);
    } else if (status->faults == NULL) {
        puts("faults: unknown");
    }
}

/* --- the command ---------------------------------------------------------------------------------------------------- */

static int show(struct context *context)
{
    struct status status;
    int code;
    gather(&status, context);
    if (command_has(context->line, "check")) {
        code = print_check(&status);
    } else {
        if (context->json) {
            render_json(status_json(&status));
        } else {
            print_text(&status);
        }
        code = no_role(&status) ? EXIT_REFUSED : EXIT_DONE;
    }
    status_done(&status);
    return code;
}

int cmd_status(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    int code;
    if (!context_open(&context, line, &err)) {
        code = command_fail(&err);
    } else if (!command_has(line, "watch")) {
        code = show(&context);
    } else {
        while (true) {
            if (isatty(STDOUT_FILENO)) {
                fputs("\033[H\033[2J", stdout);
            }
            code = show(&context);
            fflush(stdout);
            sleep(WATCH_S);
        }
    }
    context_close(&context);
    return code;
}
