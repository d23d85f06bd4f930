/* A row of a plan, and who runs it. For each row in turn: is it done already (`done`)? else journal, act, is it done now?,
 * journal; the end of a row and the beginning of the next are one record, but for the row that opens. A resume is the same loop over the same rows; a dry run is that loop without `act`; undo goes backwards over
 * what was begun. Tests kill the process after every row, and resume.
 *
 * A row's functions are idempotent: `act` may run again after it ran in part or whole, `undo` likewise and also when `act`
 * never ran.
 */
#ifndef FERRY_FAILOVER_STEP_H
#define FERRY_FAILOVER_STEP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "failover/operation.h"

enum step_flag {
    STEP_ALWAYS =
        1, /* asked again at each resume, whatever the journal says: checks, verification */
    STEP_PLANNED = 2,      /* of a switchover alone */
    STEP_UNPLANNED = 4,    /* of a failover alone */
    STEP_OPENS = 8,        /* point of no return: nothing before it is undone once it was begun */
    STEP_BEFORE_ROLE = 32, /* with STEP_ALWAYS: not asked again once the target is primary */
    STEP_SOFT =
        16, /* what it cannot do is said and recorded, the rest goes on, and the operation ends as partly done (exit 4); the same
             * command does it once more */
};

/* false: err has kind and hint. ERR_REFUSED: a check said no; ERR_RETRY: the world may be better in a moment; ERR_FATAL:
 * another operator took over, or going on would be wrong. */
typedef bool step_fn(struct operation *op, struct err *err);

struct step {
    const char *name; /* key in the journal, in reports: lower case, at most 32 bytes */
    const char *does; /* "the mirror's writers stop, proven on the target": progress, docs */
    /* Is what it is for so already? *out; asked first and after `act`. NULL: the journal's word is all there is. */
    bool (*done)(struct operation *op, bool *out, struct err *err);
    step_fn *act;  /* leaves its evidence by operation_keep(op, name, ..), or operation_note() */
    step_fn *undo; /* NULL: there is nothing to undo */
    /* Of a dry run, instead of act: read, say and keep what would be done. NULL: only `does` is said. */
    step_fn *plan;
    unsigned flags;
};

struct plan {
    const struct step *steps;
    size_t count;
};

/* The rows of failover and switchover, in order; rows carry which of both they belong to. */
extern const struct plan plan_failover;

enum plan_end {
    PLAN_DONE,   /* every row */
    PLAN_PARTLY, /* every row, and soft ones could not do all (exit 4): operation->left */
    PLAN_UNDONE, /* it failed before the point of no return, and everything was taken back: err says why it failed */
    PLAN_STOPPED, /* it stands at a step (err): the same command again goes on */
    PLAN_LOST,    /* another operator has it */
};

/* Run what is left of it. In a dry run every row is planned and nothing is written. @param out_at  the row where it stopped */
enum plan_end plan_run(const struct plan *plan, struct operation *op, const struct step **out_at,
                       struct err *err);

#endif
