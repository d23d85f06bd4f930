/* The preflight of a failover as part of `ferry check`, with what a failover now would cost. */
#include <string.h>

#include "cli/check.h"
#include "cli/status_gather.h"
#include "failover/preflight.h"

#define BIT(check) (1u << (check))
/* All that the target's cluster would have to say; that it does not is told already. */
#define OF_TARGET                                                                      \
    (BIT(PREFLIGHT_TARGET) | BIT(PREFLIGHT_CONTROL) | BIT(PREFLIGHT_TOPICS) |          \
     BIT(PREFLIGHT_LEADERS) | BIT(PREFLIGHT_REPLICAS) | BIT(PREFLIGHT_CAPACITY) |      \
     BIT(PREFLIGHT_GROUPS) | BIT(PREFLIGHT_PERMISSIONS) | BIT(PREFLIGHT_CERTIFICATE) | \
     BIT(PREFLIGHT_ADVERTISED))

static enum check_level level_of(const struct preflight_finding *finding)
{
    switch (finding->level) {
    case PREFLIGHT_OK:
        return CHECK_OK;
    case PREFLIGHT_WARNING:
        return CHECK_WARNING;
    case PREFLIGHT_UNKNOWN:
        return finding->unreachable ? CHECK_UNREACHABLE : CHECK_UNKNOWN;
    case PREFLIGHT_REFUSED:
        break;
    }
    return CHECK_REFUSED;
}

static void found(void *arg, const struct preflight_finding *finding)
{
    check_found_as(arg, preflight_name(finding->check), level_of(finding), finding->what,
                   finding->hint);
}

void check_preflight(struct check *check)
{
    struct context *context = check->context;
    struct preflight_result result;
    struct status status;
    status_gather(&status, context);
    const struct preflight_cost cost = {.lag_records = status.lag_records,
                                        .lag_s = status.lag_s,
                                        .groups = -1,
                                        .reread_records = -1};
    struct err redis_err = {0};
    bool redis = context->to->redis != NULL && context_redis(context, &redis_err);
    const struct preflight_inputs inputs = {
        .config = context->config,
        .service = context->service,
        .from = context->from,
        .to = context->to,
        .target = check->target_answers ? context_target(context, NULL) : NULL,
        .source = check->source_answers ? context_source(context, NULL) : NULL,
        .redis = redis ? context->redis : NULL,
        .redis_err = redis ? NULL : &redis_err,
        .cost = &cost,
        .timeout_ms = context->timeout_ms,
        .skip = BIT(PREFLIGHT_PERMISSIONS) | (check->target_answers ? 0 : OF_TARGET)};
    preflight_ask(&inputs, found, check, &result);
    status_done(&status);
}
