/* Hooks. Evidence of `pre`, `evict`, `post`: {"ran": bool, "said": TEXT}; `evict` without a program: {"must_restart": ..}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/child.h"
#include "base/json.h"
#include "failover/hooks.h"
#include "failover/steps.h"

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

static bool judge(const char *program, const struct child_result *result, int32_t timeout_ms,
                  struct err *err)
{
    if (result->code == 0) {
        return true;
    }
    if (result->time_up) {
        err_set(err, ERR_RETRY, "%.200s did not end within %d s", program, timeout_ms / 1000);
    } else if (result->code < 0) {
        err_set(err, ERR_RETRY, "%.200s was ended by signal %d", program, result->signal);
    } else {
        err_set(err, ERR_REFUSED, "%.200s ended with %d: %.300s", program, result->code,
                result->said);
    }
    return err_hint(err, "services.*.hooks in the configuration; it may be called again");
}

bool hook_run(struct operation *op, enum config_hook hook, const char *verb, struct err *err)
{
    const char *const *argv = op->service->hooks[hook];
    char texts[6][ENV_BYTES];
    struct child_result result = {.code = 0};
    char *in = story(op, verb);
    int32_t left = operation_left_ms(op);
    int32_t timeout_ms = op->service->hooks_timeout_ms;
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
        ok = judge(argv[0], &result, timeout_ms, err);
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
    return (!set || hook_run(op, hook, step, err)) &&
           operation_keep(op, step, json_pack("{sb}", "ran", set ? 1 : 0), err);
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

/* Clients that never reconnect keep their session with the old primary: who has no program for it has to restart them. */
bool step_evict_act(struct operation *op, struct err *err)
{
    if (!hook_is_set(op, HOOK_EVICT)) {
        operation_say(op,
                      "no hooks.evict: clients that hold a connection to %s have to be restarted",
                      op->from->name);
    }
    return run_row(op, HOOK_EVICT, "evict", err);
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
