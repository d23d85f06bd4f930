/* The last look of an operation: who has arrived, who is at the old primary still, what was written there behind the cut. It waits for
 * nobody: `ferry stragglers` does. Evidence of `stragglers`: a look, failover/stragglers.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "failover/steps.h"
#include "failover/stragglers.h"

static void say_records(struct operation *op, const json_t *look)
{
    const json_t *records = json_object_get(look, "records");
    const json_t *at_risk = json_object_get(look, "at_risk");
    if (json_is_integer(records)) {
        operation_say(op, "%lld records at %s behind the cut",
                      (long long)json_integer_value(records), op->from->name);
    } else if (json_is_integer(at_risk)) {
        operation_say(op, "%lld records at most at %s are not mirrored",
                      (long long)json_integer_value(at_risk), op->from->name);
    } else {
        operation_say(op, "records at %s behind the cut: unknown, it does not answer",
                      op->from->name);
    }
}

bool step_stragglers_act(struct operation *op, struct err *err)
{
    const struct stragglers_ask ask = {.config = op->config,
                                       .service = op->service,
                                       .from = op->from,
                                       .to = op->to,
                                       .target = op->target,
                                       .old = op->source,
                                       .old_why = op->source_err.what,
                                       .freeze = operation_kept(op, "freeze"),
                                       .prove = operation_kept(op, "prove")};
    json_t *look = stragglers_look(&ask, NULL, err);
    if (look == NULL) {
        return false;
    }
    char *line = stragglers_line(look);
    operation_say(op, "%s", line);
    free(line);
    say_records(op, look);
    return operation_keep(op, "stragglers", look, err);
}
