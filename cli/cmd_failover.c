/* ferry failover, ferry switchover: options in, what it may cost said and accepted, one plan run, its report.
 *
 * Before the question nothing is written; behind it everything is, through failover/. What was begun is gone on with without a
 * question: it was answered.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/context.h"
#include "cli/left.h"
#include "cli/print_report.h"
#include "cli/render.h"
#include "failover/journal.h"
#include "failover/preflight.h"
#include "failover/report.h"

#define FAILOVER_S   300
#define SWITCHOVER_S 900
#define TIME_S_MAX   86400
#define FORCED_MAX   32

struct move { /* one run of the command */
    struct context context;
    struct operation op;
    struct operation_options options;
    char who[CONTEXT_WHO_BYTES];
    char *forced_text;
    const char *forced[FORCED_MAX];
    struct loss loss;
    bool measured;
};

/* --- options ------------------------------------------------------------------------------------------------------ */

static bool not_partly(const struct command_line *line, struct err *err)
{
    if (command_has(line, "topic")) {
        err_set(err, ERR_REFUSED,
                "--topic: a service moves whole: its names, its groups and its role are one");
        return err_hint(err,
                        "make the topic a service of its own, with a name of its own; the "
                        "whole: ferry %s",
                        command_of(line)->name);
    }
    if (command_has(line, "group")) {
        err_set(err, ERR_REFUSED,
                "--group: a service moves whole: a group elsewhere would read what nobody writes "
                "any more");
        return err_hint(err, "one group's offsets: ferry offsets show; ferry offsets reset");
    }
    return true;
}

static bool take_forced(struct move *move, struct err *err)
{
    const char *list = command_get(move->context.line, "force");
    char *rest = NULL;
    if (list == NULL) {
        return true;
    }
    move->forced_text = strdup(list);
    if (move->forced_text == NULL) {
        abort();
    }
    for (char *name = strtok_r(move->forced_text, ",", &rest); name != NULL;
         name = strtok_r(NULL, ",", &rest)) {
        if (move->options.forced_count == FORCED_MAX) {
            return err_set(err, ERR_USAGE, "--force: more than %d checks", FORCED_MAX);
        }
        const char *check = name;
        uint32_t bit;
        if (!operation_own_check(name) && !preflight_force(&check, 1, &bit, err)) {
            return false;
        }
        move->forced[move->options.forced_count++] = name;
    }
    move->options.forced = move->forced;
    return true;
}

static bool take_loss(struct move *move, struct err *err)
{
    const char *text = command_get(move->context.line, "allow-loss");
    move->options.allow_loss = move->context.service->max_loss;
    if (text == NULL) {
        return true;
    }
    if (strcmp(text, "unknown") == 0) {
        move->options.allow_loss = CONFIG_LOSS_ANY;
        return true;
    }
    return command_number(text, "--allow-loss", 0, INT64_MAX / 2, &move->options.allow_loss, err);
}

static bool take_options(struct move *move, enum operation_kind kind, struct err *err)
{
    const struct command_line *line = move->context.line;
    const char *reason = command_reason(line);
    int64_t seconds = kind == OPERATION_SWITCHOVER ? SWITCHOVER_S : FAILOVER_S;
    move->options = (struct operation_options){.kind = kind,
                                               .by = context_who(move->who),
                                               .reason = reason,
                                               .dns_done = command_has(line, "dns-done"),
                                               .dry_run = command_has(line, "dry-run"),
                                               .quiet = move->context.quiet};
    if (!not_partly(line, err) ||
        !command_option_number(line, "timeout", 1, TIME_S_MAX, &seconds, err) ||
        !take_forced(move, err) || !take_loss(move, err)) {
        return false;
    }
    move->options.timeout_ms = seconds * 1000;
    return true;
}

static bool target_site(const struct move *move, const struct config_site **out, struct err *err)
{
    const struct config_service *service = move->context.service;
    const char *name = command_get(move->context.line, "to");
    *out = NULL;
    for (size_t i = 0; name != NULL && *out == NULL && i <= service->others_count; i++) {
        const char *site = i == 0 ? service->home : service->others[i - 1];
        *out = strcmp(site, name) == 0 ? config_site(move->context.config, site) : NULL;
    }
    if (name == NULL || *out != NULL) {
        return true;
    }
    err_set(err, ERR_USAGE, "service %s has no site '%.100s'", service->name, name);
    return err_hint(err, "its sites: %s, %s, ..: ferry config show", service->home,
                    service->others[0]);
}

/* --- what it may cost --------------------------------------------------------------------------------------------- */

static bool primary_lives(struct move *move, struct err *err)
{
    struct operation *op = &move->op;
    char lag[RENDER_NUMBER_BYTES];
    char typed[OPERATION_TYPED_BYTES];
    if (op->planned || op->source == NULL || operation_forced(op, "primary-alive")) {
        return true;
    }
    err_set(err, ERR_REFUSED,
            "%s answers: a switchover would cost nothing but its time (%s records are to be "
            "mirrored first); a "
            "failover loses what is not mirrored yet",
            op->from->name, render_count(move->loss.at_most, lag));
    return err_hint(
        err, "ferry switchover %s; or it answers and is lost all the same: --force primary-alive",
        operation_typed(op, typed));
}

static bool loss_allowed(const struct move *move)
{
    int64_t allowed = move->options.allow_loss;
    return allowed == CONFIG_LOSS_ANY ||
           (allowed >= 0 && move->loss.at_most >= 0 && move->loss.at_most <= allowed);
}

/* Seconds count: what any loss is allowed for is measured behind the fence alone. */
static bool loss_matters(const struct move *move)
{
    bool any = command_has(move->context.line, "yes") && !move->options.dry_run &&
               (move->op.planned || move->options.allow_loss == CONFIG_LOSS_ANY);
    return !any || (!move->op.planned && move->op.source != NULL);
}

static bool loss_gate(struct move *move, struct err *err)
{
    char text[LOSS_TEXT_BYTES];
    char typed[OPERATION_TYPED_BYTES];
    const struct operation *op = &move->op;
    if (op->planned || !command_has(move->context.line, "yes") || loss_allowed(move)) {
        return true; /* without --yes the question says it */
    }
    err_set_code(err, ERR_USAGE, EXIT_UNCONFIRMED, "not confirmed: %.380s; %s",
                 loss_text(&move->loss, text),
                 move->options.allow_loss == CONFIG_LOSS_ASKED
                     ? "--yes needs --allow-loss"
                     : "more than --allow-loss or max_loss allows");
    return err_hint(err, "ferry failover %s --yes --allow-loss %s", operation_typed(op, typed),
                    move->loss.at_most < 0 ? "unknown" : "N");
}

static bool ask(struct move *move, struct err *err)
{
    char question[1600];
    char text[LOSS_TEXT_BYTES];
    const struct operation *op = &move->op;
    if (op->planned) {
        snprintf(question, sizeof(question),
                 "Service %s moves from %s to %s. Writers at %s are stopped, everything is "
                 "mirrored, names and groups move; "
                 "nothing is lost, or everything is taken back.",
                 op->service->name, op->from->name, op->to->name, op->from->name);
    } else {
        snprintf(question, sizeof(question),
                 "Service %s moves from %s to %s, without waiting for %s: %.380s. What is at %s "
                 "and not at %s stays there.",
                 op->service->name, op->from->name, op->to->name, op->from->name,
                 loss_text(&move->loss, text), op->from->name, op->to->name);
    }
    return confirm(move->context.line, question, op->service->name, err);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

/* Members of the closed operation's own record, for `ferry history`. */
static json_t *closing(const struct operation *op, const struct report_end *end,
                       const json_t *report)
{
    char when[CLOCK_TEXT_BYTES];
    return json_pack("{sssisssfsssosIsO}", "state", report_state_name(end->state), "exit",
                     end->exit, "ended", clock_rfc3339(end->ended_ms, when), "rto_s",
                     (double)(end->ended_ms - op->began_wall_ms) / 1000, "error",
                     end->err == NULL ? "" : end->err->what, "rpo",
                     json_incref(json_object_get(report, "rpo")), "made_epoch",
                     (json_int_t)op->state->role_epoch, "left", op->left);
}

/* An order that somebody gave since, as to pause, is not ours to end. */
static bool order_is_ours(const struct operation *op)
{
    const char *text = op->state->order_json;
    json_t *order = text == NULL ? NULL : json_parse(text, strlen(text), "order", NULL);
    const char *id = json_string_value(json_object_get(order, "operation"));
    bool ours = id != NULL && strcmp(id, op->id) == 0;
    json_decref(order);
    return ours;
}

static bool close_operation(struct move *move, const struct report_end *end, json_t *report,
                            struct err *err)
{
    struct operation *op = &move->op;
    bool none = !json_is_object(op->order_before);
    char *order = none ? NULL : json_text(op->order_before);
    const struct control_record record = {.key = "order",
                                          .value = none ? "{\"state\":\"run\"}" : order};
    operation_note(op, "report", report_to_keep(report));
    bool ok =
        journal_flush(op->journal, err) && journal_close(op->journal, closing(op, end, report),
                                                         &record, order_is_ours(op) ? 1 : 0, err);
    free(order);
    return ok;
}

static enum report_state state_of(enum plan_end end)
{
    switch (end) {
    case PLAN_DONE:
        return REPORT_DONE;
    case PLAN_PARTLY:
        return REPORT_PARTLY;
    case PLAN_STOPPED:
        return REPORT_OPEN;
    case PLAN_UNDONE:
        return REPORT_UNDONE;
    case PLAN_LOST:
        break;
    }
    return REPORT_LOST;
}

/* Taken back, but for what the source or Redis keeps. */
static bool undone_left(const struct operation *op)
{
    return json_is_string(json_object_get(operation_kept(op, "source"), "left")) ||
           json_is_string(json_object_get(operation_kept(op, "hints"), "left"));
}

static int exit_of(enum plan_end end, bool left, const struct err *err)
{
    switch (end) {
    case PLAN_DONE:
        return EXIT_DONE;
    case PLAN_UNDONE:
        return left ? EXIT_PARTLY : err->kind == ERR_REFUSED ? EXIT_REFUSED : EXIT_FAILED;
    case PLAN_STOPPED:
        return err->code == OPERATION_TIME_UP ? EXIT_TIME : EXIT_PARTLY;
    case PLAN_PARTLY:
    case PLAN_LOST:
        break;
    }
    return EXIT_PARTLY;
}

static void show(const struct move *move, json_t *take_report)
{
    if (move->context.json) {
        render_json(take_report);
    } else {
        print_report(take_report);
        json_decref(take_report);
    }
}

/* What ended stands open all the same: why it was taken back is not forgotten over it. */
static void not_closed(enum plan_end end, const struct err *why, struct err *err)
{
    const char *ended = end == PLAN_UNDONE ? "taken back" : "moved";
    if (err->kind == ERR_NONE) {
        err_set(err, why->kind, "%s, and the journal is not closed: %s", ended, why->what);
    } else {
        err_wrap(err, "%s, and the journal is not closed (%.200s)", ended, why->what);
    }
    err_hint(err, "the same command again closes it");
}

static int run(struct move *move, struct err *err)
{
    struct operation *op = &move->op;
    const struct step *at = NULL;
    enum plan_end end = plan_run(&plan_failover, op, &at, err);
    if (end == PLAN_DONE || end == PLAN_PARTLY) {
        left_take(op);
        end = json_array_size(op->left) > 0 ? PLAN_PARTLY : PLAN_DONE;
    }
    struct report_end told = {.state = state_of(end),
                              .exit = exit_of(end, end == PLAN_UNDONE && undone_left(op), err),
                              .step = at == NULL ? NULL : at->name,
                              .err = err->kind == ERR_NONE ? NULL : err,
                              .ended_ms = -1};
    bool closes = end == PLAN_DONE || end == PLAN_PARTLY || end == PLAN_UNDONE;
    if (!op->planned && end != PLAN_UNDONE) {
        loss_read(op, &move->loss);
        told.loss = &move->loss;
    } else if (end == PLAN_DONE || end == PLAN_PARTLY) {
        const json_t *late = json_object_get(operation_kept(op, "stragglers"), "records");
        int64_t records = json_is_integer(late) ? json_integer_value(late) : -1;
        move->loss = (struct loss){.at_least = -1,
                                   .at_most = records,
                                   .seen_offsets = -1,
                                   .last_seen_ms = -1,
                                   .records_per_s = -1};
        told.loss = &move->loss;
    }
    if (closes) {
        told.ended_ms = op->ended_ms >= 0 ? op->ended_ms : clock_wall_ms(op->clock);
    }
    json_t *report = report_json(op, &plan_failover, &told);
    json_t *before = json_object_get(operation_kept(op, "report"), "rpo");
    if (op->ended_ms >= 0 && before != NULL) { /* lost is what was lost then */
        json_object_set(report, "rpo", before);
    }
    struct err why = {0};
    if (closes && !close_operation(move, &told, report, &why)) {
        not_closed(end, &why, err);
        told.exit = EXIT_PARTLY;
        json_object_set_new(report, "exit", json_integer(told.exit));
    }
    show(move, report);
    if (told.exit != EXIT_DONE) {
        if (err->kind == ERR_NONE) {
            left_say(op, err);
        } else if (err->hint[0] == '\0' && told.exit == EXIT_PARTLY) {
            err_hint(err, "the same command again goes on");
        }
        command_fail(move->context.line, err);
    }
    return told.exit;
}

static int dry(struct move *move, struct err *err)
{
    struct operation *op = &move->op;
    const struct step *at = NULL;
    enum plan_end end = plan_run(&plan_failover, op, &at, err);
    struct report_end told = {.state = end == PLAN_DONE ? REPORT_DRY : REPORT_REFUSED,
                              .exit = end == PLAN_DONE ? EXIT_DONE : command_exit(err),
                              .step = at == NULL ? NULL : at->name,
                              .err = err,
                              .loss = &move->loss,
                              .ended_ms = -1};
    show(move, report_json(op, &plan_failover, &told));
    if (end != PLAN_DONE) {
        command_fail(move->context.line, err);
    }
    return told.exit;
}

/* --- the commands ------------------------------------------------------------------------------------------------- */

/* The newest of this kind to this site that has ended; its exit code. "" = none. */
static int last_like_this(const struct move *move, char last[OPERATION_ID_BYTES])
{
    const char *key;
    json_t *record;
    int code = EXIT_REFUSED;
    last[0] = '\0';
    json_object_foreach (move->op.operations, key, record) {
        const char *id = key + strlen("op/");
        const char *to = json_string_value(json_object_get(record, "to"));
        const char *kind = json_string_value(json_object_get(record, "kind"));
        json_t *exit = json_object_get(record, "exit");
        if (strchr(id, '/') == NULL && to != NULL && kind != NULL && json_is_integer(exit) &&
            strcmp(to, move->op.to->name) == 0 &&
            strcmp(kind, operation_kind_name(move->options.kind)) == 0 && strcmp(id, last) > 0 &&
            strlen(id) < OPERATION_ID_BYTES) {
            snprintf(last, OPERATION_ID_BYTES, "%s", id);
            code = (int)json_integer_value(exit);
        }
    }
    return code;
}

/* The service is there: by an operation like this one, whose end nobody saw perhaps, or otherwise. */
static int is_there(struct move *move, struct err *err)
{
    char last[OPERATION_ID_BYTES];
    int code = last_like_this(move, last);
    json_t *report = report_kept(move->op.operations, last);
    const char *epoch = "role_epoch";
    bool same = json_integer_value(json_object_get(report, epoch)) == move->op.state->role_epoch;
    if (report == NULL || !same) { /* another operation put it there */
        json_decref(report);
        err_hint(err, "to another site: ferry %s %s --to SITE",
                 operation_kind_name(move->options.kind), move->op.service->name);
        return command_fail(move->context.line, err);
    }
    if (!move->context.quiet) {
        fprintf(stderr, "  %s: this is the report of then\n", err->what);
    }
    show(move, report);
    return code;
}

static void on_signal(int number)
{
    (void)number;
    operation_interrupt();
}

/* The first one ends behind the row that runs; the second one at once. What was begun is gone on with by the same command. */
static void take_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static int act(struct move *move, struct err *err)
{
    const struct config_site *to = NULL;
    struct operation *op = &move->op;
    bool resume = false;
    if (!target_site(move, &to, err)) {
        return command_fail(move->context.line, err);
    }
    if (!operation_open(op, move->context.config, move->context.service, to, &move->options, err)) {
        return err->code == OPERATION_IS_THERE ? is_there(move, err)
                                               : command_fail(move->context.line, err);
    }
    if (!operation_find(op, &resume, err)) {
        return command_fail(move->context.line, err);
    }
    if (!resume) {
        move->loss =
            (struct loss){.at_least = -1, .at_most = -1, .seen_offsets = -1, .last_seen_ms = -1};
        if (loss_matters(move)) {
            loss_read(op, &move->loss);
        }
        if (!primary_lives(move, err)) {
            return command_fail(move->context.line, err);
        }
    }
    if (move->options.dry_run) {
        return dry(move, err);
    }
    if (!resume && (!loss_gate(move, err) || !ask(move, err))) {
        return command_fail(move->context.line, err);
    }
    if (!operation_lock(op, err)) {
        return command_fail(move->context.line, err);
    }
    if (op->resumed) {
        operation_say(op, "going on with %s", op->id);
    }
    take_signals();
    return run(move, err);
}

static int move_service(const struct command_line *line, enum operation_kind kind)
{
    struct move *move = calloc(1, sizeof(*move));
    struct err err = {0};
    if (move == NULL) {
        abort();
    }
    int code = context_service(&move->context, line, &err) && take_options(move, kind, &err)
                   ? act(move, &err)
                   : command_fail(line, &err);
    operation_done(&move->op);
    free(move->forced_text);
    context_close(&move->context);
    free(move);
    return code;
}

int cmd_failover(const struct command_line *line)
{
    return move_service(line, OPERATION_FAILOVER);
}

int cmd_switchover(const struct command_line *line)
{
    return move_service(line, OPERATION_SWITCHOVER);
}
