/* Groups in a failover: the recovery point and the hints' figures (freeze), translated offsets committed with the hint in
 * their metadata (offsets), hints published (hints). Rows of plan.c; evidence: docs/failover.md. */
#ifndef FERRY_FAILOVER_STEP_OFFSETS_H
#define FERRY_FAILOVER_STEP_OFFSETS_H

#include "failover/step.h"

/* After `fence`: nothing of ours moves any more. */
bool step_freeze_done(struct operation *op, bool *out, struct err *err);
bool step_freeze_act(struct operation *op, struct err *err);
bool step_freeze_plan(struct operation *op, struct err *err);
bool step_freeze_undo(struct operation *op, struct err *err);

bool step_offsets_done(struct operation *op, bool *out, struct err *err);
bool step_offsets_act(struct operation *op, struct err *err);
bool step_offsets_plan(struct operation *op, struct err *err);
bool step_offsets_undo(struct operation *op, struct err *err);

bool step_hints_done(struct operation *op, bool *out, struct err *err);
bool step_hints_act(struct operation *op, struct err *err);
bool step_hints_plan(struct operation *op, struct err *err);
bool step_hints_undo(struct operation *op, struct err *err);

#endif
