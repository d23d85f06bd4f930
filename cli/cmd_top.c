/* Links and partitions as they run, from the heartbeats in the target's Redis: nothing is asked of either cluster, so a
 * round costs one call and a dead cluster slows nothing. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/beats.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/render.h"
#include "cli/top.h"
#include "cli/watch.h"

#define EVERY_MS    1000 /* a heartbeat comes so often */
#define TIMEOUT_MS  3000
#define ROWS_PLAIN  20
#define ROWS_LEAST  3
#define LINES_OTHER 4 /* of a link beside its partitions: its line, workers, head, an empty one */
#define COLUMNS     6

struct shown_link { /* kept from round to round, for rates and for who is alive */
    const struct config_service *service;
    const struct config_site *to;
    struct top top;
    json_t *beats; /* all of the service, as they were */
};

struct show {
    struct context *context;
    bool one_service;
    bool one_link;
    int64_t times;
    int64_t rows; /* 0 = what fits */
    struct shown_link *links;
    size_t links_count;
    json_t *out; /* -o json */
    int code;
};

/* --- gathering ---------------------------------------------------------------------------------------------------- */

static json_t *alive_of(const struct context *context, json_t *beats, const json_t *before)
{
    int64_t now_ms = clock_wall_ms(clock_system());
    json_t *alive = json_object();
    const char *name;
    json_t *worker;
    json_object_foreach (beats, name, worker) {
        if (beat_of_link(worker, context->from->name, context->to->name) &&
            beat_alive(worker, json_object_get(before, name), now_ms)) {
            json_object_set(alive, name, worker);
        }
    }
    return alive;
}

static struct shown_link *link_of(struct show *show)
{
    const struct context *context = show->context;
    for (size_t i = 0; i < show->links_count; i++) {
        if (show->links[i].service == context->service && show->links[i].to == context->to) {
            return &show->links[i];
        }
    }
    show->links = realloc(show->links, (show->links_count + 1) * sizeof(*show->links));
    if (show->links == NULL) {
        abort();
    }
    struct shown_link *link = &show->links[show->links_count++];
    *link = (struct shown_link){.service = context->service, .to = context->to};
    return link;
}

/* false: Redis does not say. */
static bool gather(struct context *context, struct shown_link *link, struct err *err)
{
    json_t *beats = beats_read(context, err);
    json_t *alive = beats == NULL ? NULL : alive_of(context, beats, link->beats);
    struct top before = link->top;
    bool known =
        beats != NULL && (json_object_size(alive) > 0 || context_redis_takes_beats(context, err));
    if (known) {
        top_take(&link->top, json_incref(alive), before.workers == NULL ? NULL : &before);
        top_done(&before);
        json_decref(link->beats);
        link->beats = json_incref(beats);
    } else {
        top_done(&link->top);
    }
    json_decref(alive);
    json_decref(beats);
    return known;
}

/* --- text --------------------------------------------------------------------------------------------------------- */

static const char *rate_text(double value, char out[RENDER_NUMBER_BYTES])
{
    return render_count(value < 0 ? -1 : (int64_t)(value + 0.5), out);
}

static const char *bytes_text(double value, char out[RENDER_NUMBER_BYTES])
{
    if (value < 0) {
        return "unknown";
    }
    snprintf(out, RENDER_NUMBER_BYTES, "%.1f", value / 1e6);
    return out;
}

static void print_line(const struct context *context, const struct top *top)
{
    char line[800];
    char records[RENDER_NUMBER_BYTES];
    char bytes[RENDER_NUMBER_BYTES];
    char lag[RENDER_NUMBER_BYTES];
    char seconds[RENDER_NUMBER_BYTES];
    snprintf(line, sizeof(line),
             "%.64s  %.64s > %.64s  %zu workers  %s records/s  %s MB/s  lag %s, %s",
             context->service->name, context->from->name, context->to->name,
             json_object_size(top->workers), rate_text(top->records_per_s, records),
             bytes_text(top->bytes_per_s, bytes), render_count(top->lag_records, lag),
             render_seconds(top->lag_s, seconds));
    struct render_safe safe = render_safe(line);
    printf("%s%s%s\n", render_color(json_object_size(top->workers) == 0 ? COLOR_BAD : COLOR_NONE),
           safe.text, render_color(COLOR_NONE));
}

static void print_workers(const struct top *top)
{
    const char *name;
    json_t *worker;
    json_object_foreach (top->workers, name, worker) {
        const char *why = beat_text(worker, "why");
        const char *state = beat_text(worker, "state");
        if (strcmp(state, "running") != 0 || strcmp(beat_text(worker, "redis"), "ready") != 0) {
            char line[600];
            snprintf(line, sizeof(line), "  worker %.64s: %.32s%s%.200s, map %.16s", name, state,
                     why[0] == '\0' ? "" : ": ", why, beat_text(worker, "redis"));
            struct render_safe safe = render_safe(line);
            printf("%s\n", safe.text);
        }
    }
    if (json_object_size(top->workers) == 0) {
        puts("  no worker is alive: start ferryd");
    }
}

static int64_t rows_that_fit(const struct show *show)
{
    struct winsize size = {0};
    if (show->rows > 0) {
        return show->rows;
    }
    if (isatty(STDOUT_FILENO) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 ||
        size.ws_row == 0) {
        return ROWS_PLAIN;
    }
    int64_t links = show->links_count > 0 ? (int64_t)show->links_count : 1;
    int64_t rows = (size.ws_row - 2) / links - LINES_OTHER;
    return rows > ROWS_LEAST ? rows : ROWS_LEAST;
}

static void print_rows(const struct top *top, int64_t most)
{
    static const char *const head[COLUMNS] = {"partition", "state",     "lag",
                                              "seconds",   "records/s", "worker"};
    size_t count = top->count < (size_t)most ? top->count : (size_t)most;
    const char **cells = calloc((count + 1) * COLUMNS, sizeof(*cells));
    char(*texts)[3][RENDER_NUMBER_BYTES] = calloc(count + 1, sizeof(*texts));
    struct render_safe(*safe)[3] = calloc(count + 1, sizeof(*safe));
    if (cells == NULL || texts == NULL || safe == NULL) {
        abort();
    }
    memcpy(cells, head, sizeof(head));
    for (size_t i = 0; i < count; i++) {
        const struct top_row *row = &top->rows[i];
        const char **cell = &cells[(i + 1) * COLUMNS];
        char place[300];
        snprintf(place, sizeof(place), "%s:%d", row->topic, row->partition);
        safe[i][0] = render_safe(place);
        safe[i][1] = render_safe(row->state);
        safe[i][2] = render_safe(row->worker);
        cell[0] = safe[i][0].text;
        cell[1] = safe[i][1].text;
        cell[2] = render_count(row->lag_records, texts[i][0]);
        cell[3] = render_seconds(row->lag_s, texts[i][1]);
        cell[4] = rate_text(row->records_per_s, texts[i][2]);
        cell[5] = safe[i][2].text;
    }
    if (count > 0) {
        render_table(stdout, cells, COLUMNS, (int)count + 1);
    }
    if (count < top->count) {
        printf("and %zu more\n", top->count - count);
    }
    free(cells);
    free(texts);
    free(safe);
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

static json_t *rows_json(const struct top *top)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < top->count; i++) {
        const struct top_row *row = &top->rows[i];
        json_array_append_new(
            rows, json_pack("{sssisososososososo}", "topic", row->topic, "partition",
                            row->partition, "state", render_string(row->state), "why",
                            render_string(row->why), "worker", render_string(row->worker),
                            "lag_records", render_int_or_null(row->lag_records), "lag_s",
                            render_real_or_null(row->lag_s), "source_next",
                            render_int_or_null(row->source_next), "records_per_s",
                            render_real_or_null(row->records_per_s)));
    }
    return rows;
}

static json_t *link_json(const struct context *context, const struct top *top,
                         const struct err *err)
{
    bool known = err->kind == ERR_NONE;
    return json_pack("{sssssssososososososo}", "service", context->service->name, "from",
                     context->from->name, "to", context->to->name, "workers",
                     render_int_or_null(known ? (int64_t)json_object_size(top->workers) : -1),
                     "records_per_s", render_real_or_null(known ? top->records_per_s : -1),
                     "bytes_per_s", render_real_or_null(known ? top->bytes_per_s : -1),
                     "lag_records", render_int_or_null(known ? top->lag_records : -1), "lag_s",
                     render_real_or_null(known ? top->lag_s : -1), "partitions",
                     known ? rows_json(top) : json_null(), "error",
                     known ? json_null() : render_string(err->what));
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static void show_link(struct show *show)
{
    struct context *context = show->context;
    struct shown_link *link = link_of(show);
    struct err err = {0};
    bool known = gather(context, link, &err);
    if (!known) {
        show->code = err.kind == ERR_REFUSED ? EXIT_REFUSED : EXIT_UNREACHABLE;
    }
    if (context->json) {
        json_array_append_new(show->out, link_json(context, &link->top, &err));
    } else if (!known) {
        struct render_safe safe = render_safe(err.what);
        struct render_safe next = render_safe(err.hint);
        printf("%s  %s > %s  unknown: %s\n%s%s%s", context->service->name, context->from->name,
               context->to->name, safe.text, err.hint[0] == '\0' ? "" : "  next: ", next.text,
               err.hint[0] == '\0' ? "" : "\n");
    } else {
        print_line(context, &link->top);
        print_workers(&link->top);
        print_rows(&link->top, rows_that_fit(show));
    }
}

static void show_service(struct show *show, const struct config_service *service)
{
    struct context *context = show->context;
    for (size_t i = 0; i < service->others_count; i++) {
        if (show->one_link) {
            show_link(show);
            return;
        }
        context_link(context, service, config_site(context->config, service->home),
                     config_site(context->config, service->others[i]));
        show_link(show);
    }
}

static void show_all(void *arg)
{
    struct show *show = arg;
    struct context *context = show->context;
    const struct config_service *named = show->one_service ? context->service : NULL;
    char when[RENDER_TIME_BYTES];
    int64_t now_ms = clock_wall_ms(clock_system());
    show->code = EXIT_DONE;
    show->out = json_array();
    if (!context->json) {
        printf("ferry top  %s\n", render_time(now_ms, when));
    }
    for (size_t i = 0; i < context->config->services_count; i++) {
        const struct config_service *service = &context->config->services[i];
        if (named == NULL || service == named) {
            show_service(show, service);
        }
    }
    json_t *out = json_pack("{soso}", "links", show->out, "time", render_time_or_null(now_ms));
    if (context->json) {
        render_json_line(out);
    } else {
        json_decref(out);
    }
}

static bool open_top(struct show *show, const struct command_line *line, struct err *err)
{
    struct context *context = show->context;
    bool named = line->args_count > 0 || command_has(line, "link");
    bool ok = named ? context_open(context, line, err) : context_config(context, line, err);
    if (!command_has(line, "timeout")) {
        context->timeout_ms = TIMEOUT_MS;
    }
    show->one_service = named;
    show->one_link = command_has(line, "link");
    return ok && command_option_number(line, "n", 1, INT32_MAX, &show->times, err) &&
           command_option_number(line, "rows", 1, 100000, &show->rows, err);
}

int cmd_top(const struct command_line *line)
{
    struct context context;
    struct show show = {.context = &context};
    struct err err = {0};
    if (!open_top(&show, line, &err)) {
        show.code = command_fail(line, &err);
    } else {
        watch_run(&context, EVERY_MS, show.times, show_all, &show);
    }
    for (size_t i = 0; i < show.links_count; i++) {
        top_done(&show.links[i].top);
        json_decref(show.links[i].beats);
    }
    free(show.links);
    context_close(&context);
    return show.code;
}
