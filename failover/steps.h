/* The functions that rows of plan.c name, by concern. What each leaves as evidence stands above it in its file. */
#ifndef FERRY_FAILOVER_STEPS_H
#define FERRY_FAILOVER_STEPS_H

#include "failover/step.h"

/* step_fence.c: the mirror's own writers */
bool step_fence_done(struct operation *op, bool *out, struct err *err);
bool step_fence_act(struct operation *op, struct err *err);
bool step_fence_undo(struct operation *op, struct err *err);
bool step_fence_plan(struct operation *op, struct err *err);

/* step_source.c: the source's writers; do they stand still; is everything mirrored */
bool step_source_act(struct operation *op, struct err *err);
bool step_source_undo(struct operation *op, struct err *err);
bool step_source_plan(struct operation *op, struct err *err);
bool step_prove_act(struct operation *op, struct err *err);
bool step_prove_plan(struct operation *op, struct err *err);
bool step_count_act(struct operation *op, struct err *err);
bool step_drain_act(struct operation *op, struct err *err);
bool step_drain_plan(struct operation *op, struct err *err);

/* step_role.c */
bool step_role_done(struct operation *op, bool *out, struct err *err);
bool step_role_act(struct operation *op, struct err *err);
bool step_role_undo(struct operation *op, struct err *err);
bool step_role_plan(struct operation *op, struct err *err);

/* step_open.c: the target is writable */
bool step_open_done(struct operation *op, bool *out, struct err *err);
bool step_open_act(struct operation *op, struct err *err);
bool step_open_plan(struct operation *op, struct err *err);

/* step_dns.c: names are moved, and it is looked whether everybody says so */
bool step_dns_done(struct operation *op, bool *out, struct err *err);
bool step_dns_act(struct operation *op, struct err *err);
bool step_dns_plan(struct operation *op, struct err *err);
bool step_verify_act(struct operation *op, struct err *err);

/* step_hooks.c: programs of the operator's */
bool step_pre_act(struct operation *op, struct err *err);
bool step_evict_act(struct operation *op, struct err *err);
bool step_post_act(struct operation *op, struct err *err);
bool step_pre_plan(struct operation *op, struct err *err);
bool step_evict_plan(struct operation *op, struct err *err);
bool step_post_plan(struct operation *op, struct err *err);

/* step_stragglers.c: who is there still, who has arrived, what came later */
bool step_stragglers_act(struct operation *op, struct err *err);

/* step_check.c */
bool step_check_act(struct operation *op, struct err *err);
bool step_check_plan(struct operation *op, struct err *err);

#endif
