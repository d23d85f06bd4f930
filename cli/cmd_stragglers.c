/* ferry stragglers: who is still at the old primary of the last move, who has arrived, what was written there behind the cut.
 * Reads only. The old primary is asked for 1 s a look, 2.5 s more where a connection is taken.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/print_stragglers.h"
#include "cli/render.h"
#include "cli/watch.h"
#include "failover/journal.h"
#include "failover/reach.h"
#include "failover/stragglers.h"
#include "kafka/control.h"

#define SITE_MS    10000
#define REACH_MS   1000 /* for a connection; the same as a failover's probe */
#define ANSWER_MS  2500
#define EVERY_MS   2000
#define TIME_S_MAX 86400
#define NO_TOPIC   3 /* UNKNOWN_TOPIC_OR_PARTITION */

struct moved { /* one run of the command */
    struct context context;
    char id[100];
    const struct config_site *from;
    const struct config_site *to;
    json_t *record; /* of the operation */
    json_t *freeze;
    json_t *prove;
    json_t *look; /* the newest */
    struct err err;
};

/* --- which move --------------------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *record, const char *key)
{
    const char *text = json_string_value(json_object_get(record, key));
    return text == NULL ? "" : text;
}

/* It moved the service, or is about to. */
static bool counts(const json_t *record)
{
    const char *kind = text_of(record, "kind");
    const char *state = text_of(record, "state");
    bool moves = strcmp(kind, "failover") == 0 || strcmp(kind, "switchover") == 0;
    return moves && (json_is_true(json_object_get(record, "open")) || strcmp(state, "done") == 0 ||
                     strcmp(state, "partly") == 0);
}

static void take(struct moved *moved, json_t *operations, const char *id, json_t *record)
{
    json_decref(moved->record);
    json_decref(moved->freeze);
    json_decref(moved->prove);
    snprintf(moved->id, sizeof(moved->id), "%.99s", id);
    moved->record = json_incref(record);
    moved->freeze = journal_read_evidence(operations, id, "freeze");
    moved->prove = journal_read_evidence(operations, id, "prove");
    moved->from = config_site(moved->context.config, text_of(record, "from"));
    moved->to = config_site(moved->context.config, text_of(record, "to"));
}

/* The newest of this site's journal, if it is newer than what was found before. Ids begin with their time. */
static void take_newest(struct moved *moved, json_t *operations)
{
    const char *key;
    json_t *record;
    char newest[100] = "";
    json_object_foreach (operations, key, record) {
        const char *id = strncmp(key, "op/", 3) == 0 ? key + 3 : "/";
        if (strchr(id, '/') == NULL && strlen(id) < sizeof(newest) && counts(record) &&
            strcmp(id, newest) > 0) {
            snprintf(newest, sizeof(newest), "%s", id);
        }
    }
    if (newest[0] != '\0' && strcmp(newest, moved->id) > 0) {
        char of[110];
        snprintf(of, sizeof(of), "op/%s", newest);
        take(moved, operations, newest, json_object_get(operations, of));
    }
}

/* A site that takes no connection is not waited for: it is the old primary, mostly. @return it answered */
static bool read_site(struct moved *moved, const struct config_site *site, struct err *err)
{
    json_t *operations = NULL;
    const char *servers = config_client_get(&site->kafka, "bootstrap.servers");
    if (servers == NULL || !reach_any(servers, REACH_MS, err)) {
        err_wrap(err, "%s does not answer", site->name);
        return false;
    }
    struct control_state *state = control_read_operations(
        &site->kafka, moved->context.service->name, SITE_MS, &operations, err);
    bool none = state == NULL && err->kind == ERR_REFUSED && err->code == NO_TOPIC;
    if (state != NULL) {
        take_newest(moved, operations);
    }
    json_decref(operations);
    bool answered = state != NULL || none;
    control_state_free(state);
    return answered;
}

static bool not_yet(const struct moved *moved, struct err *err)
{
    bool open = json_is_true(json_object_get(moved->record, "open"));
    if (!open || moved->freeze != NULL) {
        return false;
    }
    err_set(err, ERR_REFUSED, "%s stands open at %.40s: nobody has to move yet", moved->id,
            text_of(moved->record, "step"));
    err_hint(err, "ferry %s %s", text_of(moved->record, "kind"), moved->context.service->name);
    return true;
}

static bool find_move(struct moved *moved, struct err *err)
{
    const struct config_service *service = moved->context.service;
    size_t answered = 0;
    struct err why = {0};
    for (size_t i = 0; i <= service->others_count; i++) {
        const char *name = i == 0 ? service->home : service->others[i - 1];
        answered += read_site(moved, config_site(moved->context.config, name), &why) ? 1 : 0;
    }
    if (answered == 0) {
        *err = why;
        err_wrap(err, "no site of %s answers", service->name);
        return err_hint(err, "ferry status %s", service->name);
    }
    if (moved->record == NULL) {
        err_set(err, ERR_REFUSED, "no failover or switchover of %s is recorded%s%s", service->name,
                answered <= service->others_count ? ": " : "",
                answered <= service->others_count ? why.what : "");
        return err_hint(err, "ferry history %s", service->name);
    }
    if (moved->from == NULL || moved->to == NULL) {
        err_set(err, ERR_CONFIG, "%s moved from %.100s to %.100s: not both are configured",
                moved->id, text_of(moved->record, "from"), text_of(moved->record, "to"));
        return err_hint(err, "ferry config show");
    }
    return !not_yet(moved, err);
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

static bool look(struct moved *moved, struct err *err)
{
    struct err silent = {0};
    const char *servers = config_client_get(&moved->from->kafka, "bootstrap.servers");
    struct admin *target = admin_new(moved->to->name, &moved->to->kafka, SITE_MS, err);
    struct admin *old = target != NULL && servers != NULL && reach_any(servers, REACH_MS, &silent)
                            ? admin_new(moved->from->name, &moved->from->kafka, ANSWER_MS, &silent)
                            : NULL;
    const struct stragglers_ask ask = {.config = moved->context.config,
                                       .service = moved->context.service,
                                       .from = moved->from,
                                       .to = moved->to,
                                       .target = target,
                                       .old = old,
                                       .old_why = silent.what,
                                       .freeze = moved->freeze,
                                       .prove = moved->prove};
    json_t *now = target == NULL ? NULL : stragglers_look(&ask, moved->look, err);
    admin_free(old);
    admin_free(target);
    if (now == NULL) {
        return false;
    }
    json_decref(moved->look);
    moved->look = now;
    return true;
}

static int exit_of(const json_t *look)
{
    switch (stragglers_state(look)) {
    case STRAGGLERS_DONE:
        return EXIT_DONE;
    case STRAGGLERS_LEFT:
        return EXIT_PARTLY;
    case STRAGGLERS_UNKNOWN:
        break;
    }
    return EXIT_TIME;
}

/* Said when it is another one than before. */
static void say_line(const struct moved *moved, char **last)
{
    char *line = stragglers_line(moved->look);
    if (!moved->context.quiet && (*last == NULL || strcmp(*last, line) != 0)) {
        fprintf(stderr, "  %s\n", render_safe(line).text);
    }
    free(*last);
    *last = line;
}

/* Until nobody is on the way, or time is up. Whether somebody writes takes two looks. */
static bool wait_for_them(struct moved *moved, int64_t wait_ms, struct err *err)
{
    const struct clock *clock = clock_system();
    int64_t until_ms = clock_now_ms(clock) + wait_ms;
    char *last = NULL;
    bool ok = look(moved, err);
    bool answers = ok && json_is_integer(json_object_get(moved->look, "ends"));
    bool again = ok && answers && json_is_null(json_object_get(moved->look, "written"));
    while (ok && !stragglers_settled(moved->look) &&
           (again || clock_now_ms(clock) + EVERY_MS <= until_ms)) {
        struct err passing = {0};
        if (wait_ms > 0) {
            say_line(moved, &last);
        }
        usleep((again && wait_ms == 0 ? EVERY_MS / 2 : EVERY_MS) * 1000);
        again = false;
        if (!look(moved, &passing) && !moved->context.quiet) {
            fprintf(stderr, "  %s\n", render_safe(passing.what).text);
        }
    }
    free(last);
    return ok;
}

/* --- telling ------------------------------------------------------------------------------------------------------ */

static json_t *whole(const struct moved *moved)
{
    json_t *out = json_deep_copy(moved->look);
    json_object_set_new(out, "service", json_string(moved->context.service->name));
    json_object_set_new(out, "operation", json_string(moved->id));
    json_object_set_new(out, "exit", json_integer(exit_of(moved->look)));
    return out;
}

static void show(const struct moved *moved)
{
    char line[500];
    if (moved->context.json) {
        json_t *out = whole(moved);
        if (command_has(moved->context.line, "watch")) {
            render_json_line(out);
        } else {
            render_json(out);
        }
        return;
    }
    snprintf(line, sizeof(line), "%s of %s from %s to %s, cut at %s",
             text_of(moved->record, "kind"), moved->context.service->name, moved->from->name,
             moved->to->name, text_of(moved->look, "cut"));
    puts(render_safe(line).text);
    print_stragglers(moved->look);
}

static void show_again(void *arg)
{
    struct moved *moved = arg;
    struct err err = {0};
    if (look(moved, &err)) {
        show(moved);
    } else {
        command_fail(moved->context.line, &err);
    }
}

static int run(struct moved *moved, struct err *err)
{
    int64_t seconds = 0;
    if (!command_option_number(moved->context.line, "timeout", 0, TIME_S_MAX, &seconds, err) ||
        !find_move(moved, err)) {
        return command_fail(moved->context.line, err);
    }
    if (command_has(moved->context.line, "watch")) {
        watch_run(&moved->context, EVERY_MS, 0, show_again, moved);
        return moved->look == NULL ? EXIT_UNREACHABLE : exit_of(moved->look);
    }
    if (!wait_for_them(moved, seconds * 1000, err)) {
        return command_fail(moved->context.line, err);
    }
    show(moved);
    return exit_of(moved->look);
}

int cmd_stragglers(const struct command_line *line)
{
    struct moved moved = {.record = NULL};
    struct err err = {0};
    int code =
        context_service(&moved.context, line, &err) ? run(&moved, &err) : command_fail(line, &err);
    json_decref(moved.record);
    json_decref(moved.freeze);
    json_decref(moved.prove);
    json_decref(moved.look);
    context_close(&moved.context);
    return code;
}
