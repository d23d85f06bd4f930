/* Hooks. Evidence of `pre`, `evict`, `post`: {"ran": bool, "said": TEXT}; `evict` without a program: {"must_restart": ..}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/child.h"
#include "base/json.h"
#include "failover/hooks.h"
#include "failover/steps.h"
#include "kafka/groups.h"

#define ENV_BYTES 400

bool hook_is_set(const struct operation *op, enum config_hook hook)
{
    return op->service->hooks[hook] != NULL;
}

static char *story(const struct operation *op, const char *verb)
{
    json_t *all = json_pack("{sssssssssssssI}", "operation", op->id, "kind",
                            operation_kind_name(op->options.kind), "service", op->service->name,
                            "from", op->from->name, "to", op->to->name, "hook", verb, "role_epoch",
                            (json_int_t)op->state->role_epoch);
    char *text = json_text(all);
    json_decref(all);
    return text;
}

/* @param code  of the error when its time is up */
static bool judge(const char *program, const struct child_result *result, int32_t timeout_ms,
                  int code, struct err *err)
{
    if (result->code == 0) {
        return true;
    }
    if (result->time_up) {
        err_set_code(err, ERR_RETRY, code, "%.200s did not end within %d s", program,
                     timeout_ms / 1000);
    } else if (result->code < 0) {
        err_set(err, ERR_RETRY, "%.200s was ended by signal %d", program, result->signal);
    } else {
        err_set(err, ERR_REFUSED, "%.200s ended with %d: %.300s", program, result->code,
                result->said);
    }
    return err_hint(err, "services.*.hooks in the configuration; the same command calls it again");
}

bool hook_run(struct operation *op, enum config_hook hook, const char *verb, struct err *err)
{
    const char *const *argv = op->service->hooks[hook];
    if (argv == NULL) { /* it was there when the operation began */
        return err_set(err, ERR_REFUSED, "hooks.%s is not configured any more",
                       config_hook_name(hook));
    }
    char texts[6][ENV_BYTES];
    struct child_result result = {.code = 0};
    char *in = story(op, verb);
    int32_t left = operation_left_ms(op);
    int32_t timeout_ms = op->service->hooks_timeout_ms;
    int code = left < timeout_ms ? OPERATION_TIME_UP : 0; /* the operation's time, not its own */
    timeout_ms = left < timeout_ms ? left : timeout_ms;
    snprintf(texts[0], ENV_BYTES, "FERRY_HOOK=%s", verb);
    snprintf(texts[1], ENV_BYTES, "FERRY_OPERATION=%s", op->id);
    snprintf(texts[2], ENV_BYTES, "FERRY_KIND=%s", operation_kind_name(op->options.kind));
    snprintf(texts[3], ENV_BYTES, "FERRY_SERVICE=%s", op->service->name);
    snprintf(texts[4], ENV_BYTES, "FERRY_FROM=%s", op->from->name);
    snprintf(texts[5], ENV_BYTES, "FERRY_TO=%s", op->to->name);
    const char *const env[] = {texts[0],
                               texts[1],
                               texts[2],
                               texts[3],
                               texts[4],
                               texts[5],
                               "PATH=/usr/local/bin:/usr/bin:/bin",
                               NULL};
    const struct child_options options = {
        .argv = argv, .env = env, .in = in, .timeout_ms = timeout_ms};
    bool ok = child_run(&options, &result, err);
    if (ok) {
        ok = judge(argv[0], &result, timeout_ms, code, err);
        child_result_done(&result);
    }
    free(in);
    return ok;
}

static bool run_row(struct operation *op, enum config_hook hook, const char *step, struct err *err)
{
    bool set = hook_is_set(op, hook);
    if (set) {
        operation_say(op, "%s", op->service->hooks[hook][0]);
    }
    if (set && !hook_run(op, hook, step, err)) {
        return false;
    }
    operation_note(op, step, json_pack("{sb}", "ran", set ? 1 : 0));
    return true;
}

static bool plan_row(struct operation *op, enum config_hook hook, const char *step, struct err *err)
{
    bool set = hook_is_set(op, hook);
    operation_say(op, "%s", set ? op->service->hooks[hook][0] : "no program is configured");
    return operation_keep(op, step, json_pack("{sb}", "would_run", set ? 1 : 0), err);
}

bool step_pre_act(struct operation *op, struct err *err)
{
    return run_row(op, HOOK_PRE, "pre", err);
}

bool step_pre_plan(struct operation *op, struct err *err)
{
    return plan_row(op, HOOK_PRE, "pre", err);
}

static bool of_service(void *arg, const char *name)
{
    const struct operation *op = arg;
    return config_patterns_match(&op->service->groups, name);
}

/* Groups that have members at the old primary now; null when it does not say. */
static json_t *still_there(struct operation *op)
{
    struct groups_list list = {.rows = NULL};
    struct err why = {0};
    if (op->source == NULL) {
        return json_null();
    }
    struct groups_door *door = groups_door_new(op->source);
    bool ok = groups_read(door, of_service, op, &list, &why);
    json_t *names = ok ? json_array() : json_null();
    for (size_t i = 0; ok && i < list.count; i++) {
        if (list.rows[i].listed && !list.rows[i].empty) {
            json_array_append_new(names, json_string(list.rows[i].name));
        }
    }
    groups_list_done(&list);
    groups_door_free(door);
    return names;
}

/* Where no name moves every client has to be told; those of groups are known by name. */
static json_t *all_groups(const struct operation *op)
{
    const char *name;
    json_t *places;
    json_t *names = json_array();
    json_object_foreach (json_object_get(operation_kept(op, "freeze"), "groups"), name, places) {
        json_array_append_new(names, json_string(name));
    }
    return names;
}

/* Clients that never reconnect keep their session with the old primary: who has no program for it has to restart them. In a
 * failover sessions end with the primary, and only where no name moves somebody has to act. */
bool step_evict_act(struct operation *op, struct err *err)
{
    bool runs = op->planned && hook_is_set(op, HOOK_EVICT);
    bool ended = true;
    if (runs) {
        operation_say(op, "%s", op->service->hooks[HOOK_EVICT][0]);
        ended = hook_run(op, HOOK_EVICT, "evict", err);
    }
    json_t *restart = op->names_count == 0 ? all_groups(op)
                      : op->planned        ? still_there(op)
                                           : json_array();
    if (json_array_size(restart) > 0) {
        operation_say(op, "%zu groups have to be restarted, and whoever produces to %s",
                      json_array_size(restart), op->from->name);
    }
    operation_note(op, "evict",
                   json_pack("{sbso}", "ran", runs && ended ? 1 : 0, "must_restart", restart));
    return ended;
}

bool step_evict_plan(struct operation *op, struct err *err)
{
    return plan_row(op, HOOK_EVICT, "evict", err);
}

bool step_post_act(struct operation *op, struct err *err)
{
    return run_row(op, HOOK_POST, "post", err);
}

bool step_post_plan(struct operation *op, struct err *err)
{
    return plan_row(op, HOOK_POST, "post", err);
}
