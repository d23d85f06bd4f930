/* ferry pause, ferry resume: an order to every worker of a link, in the control topic of its target. Behind the fence of the writer
 * it is looked again whether an operation is open: its orders are its own.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/context.h"
#include "cli/render.h"
#include "kafka/control.h"

struct ordering {
    struct context *context;
    bool pause;
    bool asked;
    json_t *links;
    size_t changed;
};

static bool look(struct ordering *ordering, bool *out_mirrors, bool *out_paused, struct err *err)
{
    struct context *context = ordering->context;
    struct control_state *state =
        control_read(&context->to->kafka, context->service->name, context->timeout_ms, err);
    if (state == NULL) {
        return false;
    }
    *out_mirrors = state->role_epoch > 0 && strcmp(state->primary, context->from->name) == 0;
    *out_paused = state->paused;
    bool ok = !state->operation_open && state->fence_operation[0] == '\0';
    if (!ok) {
        err_set(err, ERR_REFUSED, "an operation on service %s is open: its orders are its own",
                context->service->name);
        err_hint(err, "ferry history %s", context->service->name);
    }
    control_state_free(state);
    return ok;
}

static char *order_text(const struct ordering *ordering)
{
    char who[CONTEXT_WHO_BYTES];
    char when[CLOCK_TEXT_BYTES];
    const char *reason = command_reason(ordering->context->line);
    json_t *order = json_pack("{sssososs}", "state", ordering->pause ? "pause" : "run", "by",
                              render_string(context_who(who)), "reason", json_string(reason),
                              "time", clock_rfc3339(clock_wall_ms(clock_system()), when));
    char *text = json_text(order);
    json_decref(order);
    return text;
}

static bool write_order(struct ordering *ordering, struct err *err)
{
    struct context *context = ordering->context;
    bool mirrors = false;
    bool paused = false;
    struct control_writer *writer =
        context_op_writer(context, context->to, context_writer(context), err);
    bool ok = writer != NULL && look(ordering, &mirrors, &paused, err);
    if (ok) {
        char *text = order_text(ordering);
        const struct control_record record = {.key = "order", .value = text};
        ok = control_write(writer, &record, 1, err);
        free(text);
    }
    control_writer_free(writer);
    return ok;
}

static bool ask(struct ordering *ordering, struct err *err)
{
    char question[400];
    const char *service = ordering->context->service->name;
    if (!ordering->pause || ordering->asked) {
        return true;
    }
    snprintf(question, sizeof(question),
             "Mirroring of service %s stops until `ferry resume %s`: what a failover would lose "
             "grows with every "
             "record that is written.",
             service, service);
    ordering->asked = confirm(ordering->context->line, question, service, err);
    return ordering->asked;
}

static bool order_link(struct ordering *ordering, struct err *err)
{
    struct context *context = ordering->context;
    bool mirrors = false;
    bool paused = false;
    if (!look(ordering, &mirrors, &paused, err)) {
        return false;
    }
    bool already = paused == ordering->pause;
    if (mirrors && !already && (!ask(ordering, err) || !write_order(ordering, err))) {
        return false;
    }
    const char *state = !mirrors ? "not mirrored" : ordering->pause ? "paused" : "running";
    ordering->changed += mirrors && !already ? 1 : 0;
    json_array_append_new(ordering->links,
                          json_pack("{sssssssb}", "from", context->from->name, "to",
                                    context->to->name, "state", state, "already", already ? 1 : 0));
    if (!context->json) {
        printf("%s: %s > %s is %s%s\n", context->service->name, context->from->name,
               context->to->name, state, mirrors && already ? " already" : "");
    }
    return true;
}

static int order(const struct command_line *line, bool pause)
{
    struct context context;
    struct err err = {0};
    struct ordering ordering = {.context = &context, .pause = pause, .links = json_array()};
    bool ok = context_open(&context, line, &err);
    bool all = ok && !command_has(line, "to") && !command_has(line, "link");
    const struct config_service *service = context.service;
    ok = ok && (all || order_link(&ordering, &err));
    for (size_t i = 0; ok && all && i < service->others_count; i++) {
        context_link(&context, service, context.from,
                     config_site(context.config, service->others[i]));
        ok = order_link(&ordering, &err);
    }
    if (ok && context.json) {
        render_json(json_pack("{sssO}", "service", service->name, "links", ordering.links));
    }
    int code = ok ? EXIT_DONE : command_fail(line, &err);
    code = !ok && ordering.changed > 0 ? EXIT_PARTLY : code;
    json_decref(ordering.links);
    context_close(&context);
    return code;
}

int cmd_pause(const struct command_line *line)
{
    return order(line, true);
}

int cmd_resume(const struct command_line *line)
{
    return order(line, false);
}
