/* What speaks against it: another operation, then preflight_run(); both look behind the fence of the journal's writer, too. Evidence:
 * preflight.h. */
#include "failover/preflight.h"
#include "failover/steps.h"

bool step_check_act(struct operation *op, struct err *err)
{
    return operation_is_alone(op, err) && preflight_run(op, err);
}

bool step_check_plan(struct operation *op, struct err *err)
{
    return preflight_run(op, err);
}
