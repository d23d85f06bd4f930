/* See preflight_run() in preflight.h: the preflight as the first row of a plan. */
#include <jansson.h>
#include <string.h>

#include "failover/operation.h"
#include "failover/preflight.h"

struct telling {
    struct operation *op;
    json_t *findings;
    struct preflight_finding refused; /* the first */
    bool any_refused;
};

static json_t *text(const char *from)
{
    json_t *out = json_string(from);
    return out != NULL ? out : json_string("(no UTF-8)");
}

static void tell(void *arg, const struct preflight_finding *finding)
{
    struct telling *telling = arg;
    const char *name = preflight_name(finding->check);
    const char *level = preflight_level_name(finding->level);
    json_array_append_new(telling->findings,
                          json_pack("{sssssbsoso}", "check", name, "level", level, "forced",
                                    finding->forced ? 1 : 0, "what", text(finding->what), "hint",
                                    finding->hint[0] == '\0' ? json_null() : text(finding->hint)));
    if (finding->level != PREFLIGHT_OK) {
        operation_say(telling->op, "%s%s: %s: %s", level, finding->forced ? " (forced)" : "", name,
                      finding->what);
    }
    if (finding->level == PREFLIGHT_REFUSED && !telling->any_refused) {
        telling->any_refused = true;
        telling->refused = *finding;
    }
}

static bool verdict(const struct telling *telling, const struct preflight_result *result,
                    struct err *err)
{
    const struct preflight_finding *first = &telling->refused;
    if (!telling->any_refused) {
        return true;
    }
    const char *name = preflight_name(first->check);
    err_set(err, result->target_answers ? ERR_REFUSED : ERR_RETRY, "check %s: %.600s", name,
            first->what);
    if (preflight_forcible(first->check)) {
        const struct operation *op = telling->op;
        char typed[OPERATION_TYPED_BYTES];
        return err_hint(err, "%.110s%sor go on in spite of it: ferry %s %.100s --force %s",
                        first->hint, first->hint[0] == '\0' ? "" : "; ",
                        operation_kind_name(op->options.kind), operation_typed(op, typed), name);
    }
    return err_hint(err, "%.250s", first->hint);
}

bool preflight_run(struct operation *op, struct err *err)
{
    struct preflight_result result;
    struct telling telling = {.op = op};
    struct preflight_inputs inputs = {.config = op->config,
                                      .service = op->service,
                                      .from = op->from,
                                      .to = op->to,
                                      .target = op->target,
                                      .source = op->source,
                                      .redis = op->redis,
                                      .redis_err = &op->redis_err,
                                      .control = op->state,
                                      .operation_id = op->id,
                                      .timeout_ms = operation_left_ms(op),
                                      .acting = true,
                                      .planned = op->planned,
                                      .quick = true,
                                      /* A failover has a gate of its own for what is lost. */
                                      .skip = 1u << PREFLIGHT_COST};
    for (size_t i = 0; i < op->options.forced_count; i++) {
        const char *name = op->options.forced[i];
        uint32_t bits = 0;
        if (!operation_own_check(name) && !preflight_force(&name, 1, &bits, err)) {
            return false;
        }
        inputs.forced |= bits;
    }
    telling.findings = json_array();
    preflight_ask(&inputs, tell, &telling, &result);
    operation_note(
        op, "check",
        json_pack("{sosI}", "findings", telling.findings, "ms", (json_int_t)result.took_ms));
    return verdict(&telling, &result, err);
}
