/* The rows of failover and switchover.
 *
 * What is true behind each row, in this order, and what the rows after it rely on:
 *   source, prove   planned: nobody writes at the source, its ends stand still
 *   drain           planned: the target holds every record below these ends
 *   fence           nothing of the mirror's arrives at the target any more, from no worker
 *   freeze          what groups are given follows from the journal alone
 *   role            no worker will mirror from the source again, whatever configuration it has
 *   offsets, hints  whoever arrives finds its place, and which records it has had
 *   open            clients may write at the target: from here on only forward
 *   dns, verify     names lead to the target, counted
 * The mirror's workers are fenced behind `drain`: in a switchover it is they who drain.
 */
#include "failover/step.h"
#include "failover/step_offsets.h"
#include "failover/steps.h"

/* clang-format off */
static const struct step rows[] = {
    {.name = "check", .does = "what speaks against it", .act = step_check_act, .plan = step_check_plan, .flags = STEP_ALWAYS | STEP_BEFORE_ROLE},
    {.name = "pre", .does = "hooks.pre", .act = step_pre_act, .plan = step_pre_plan},
    {.name = "source", .does = "the source's writers stop", .act = step_source_act, .undo = step_source_undo, .plan = step_source_plan},
    {.name = "prove", .does = "the source's ends stand still", .act = step_prove_act, .plan = step_prove_plan},
    {.name = "drain", .does = "everything is mirrored", .act = step_drain_act, .plan = step_drain_plan, .flags = STEP_PLANNED},
    {.name = "fence", .does = "the mirror's workers stop, proven at the target", .done = step_fence_done, .act = step_fence_act, .undo = step_fence_undo, .plan = step_fence_plan},
    {.name = "count", .does = "nobody wrote meanwhile; what is lost is still what was accepted", .act = step_count_act, .flags = STEP_ALWAYS | STEP_BEFORE_ROLE},
    {.name = "freeze", .does = "recovery point: where every group stands", .done = step_freeze_done, .act = step_freeze_act, .undo = step_freeze_undo, .plan = step_freeze_plan},
    {.name = "role", .does = "the target is primary: the next role epoch", .done = step_role_done, .act = step_role_act, .undo = step_role_undo, .plan = step_role_plan},
    {.name = "offsets", .does = "each group's translated offset is committed, its hint with it", .done = step_offsets_done, .act = step_offsets_act, .undo = step_offsets_undo, .plan = step_offsets_plan, .flags = STEP_SOFT},
    {.name = "hints", .does = "hints in Redis and in a topic", .done = step_hints_done, .act = step_hints_act, .undo = step_hints_undo, .plan = step_hints_plan, .flags = STEP_SOFT},
    {.name = "open", .does = "the target is writable: from here on only forward", .done = step_open_done, .act = step_open_act, .plan = step_open_plan, .flags = STEP_OPENS},
    {.name = "dns", .does = "names move", .done = step_dns_done, .act = step_dns_act, .plan = step_dns_plan},
    {.name = "verify", .does = "who says so", .act = step_verify_act, .flags = STEP_ALWAYS | STEP_SOFT},
    {.name = "evict", .does = "old sessions end", .act = step_evict_act, .plan = step_evict_plan, .flags = STEP_SOFT},
    {.name = "post", .does = "hooks.post", .act = step_post_act, .plan = step_post_plan, .flags = STEP_SOFT},
    {.name = "stragglers", .does = "who has arrived, who is at the old primary still, what was written there behind the cut", .act = step_stragglers_act, .flags = STEP_SOFT},
};
/* clang-format on */

const struct plan plan_failover = {rows, sizeof(rows) / sizeof(rows[0])};
