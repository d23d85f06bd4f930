/* See step.h: the one loop over rows. What it promises: a row is journaled as begun before its act, and as done behind it; what
 * was done is not done again; behind the row that opens nothing is taken back.
 *
 * FERRY_FAILPOINT=STEP:before|act|after kills the process there, without a word, for tests of exactly that.
 */
#include "failover/step.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "failover/journal.h"

#define UNDO_MS 120000 /* taking back has time of its own */

struct run {
    const struct plan *plan;
    struct operation *op;
    const struct step *begun; /* journaled with the end of the row before; NULL = none */
};

static void failpoint(const struct step *step, const char *where)
{
    char here[80];
    const char *wanted = getenv("FERRY_FAILPOINT");
    snprintf(here, sizeof(here), "%s:%s", step->name, where);
    if (wanted != NULL && strcmp(wanted, here) == 0) {
        kill(getpid(), SIGKILL);
    }
}

static bool belongs(const struct step *step, const struct operation *op)
{
    unsigned both = STEP_PLANNED | STEP_UNPLANNED;
    return (step->flags & both) == 0 ||
           (step->flags & (op->planned ? STEP_PLANNED : STEP_UNPLANNED)) != 0;
}

static bool is_done(const struct step *step, struct operation *op, bool *out, struct err *err)
{
    *out = false;
    return step->done == NULL || step->done(op, out, err);
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

/* Behind `act` the world has to be as the row is for. */
static bool verify(const struct step *step, struct operation *op, struct err *err)
{
    bool done = false;
    if (step->done == NULL) {
        return true;
    }
    if (!step->done(op, &done, err)) {
        return false;
    }
    return done || err_set(err, ERR_RETRY, "%s was done, and is not so", step->name);
}

static const struct step *next_of(const struct run *run, const struct step *step)
{
    const struct step *end = run->plan->steps + run->plan->count;
    const struct step *next = step + 1;
    while (next < end && !belongs(next, run->op)) {
        next++;
    }
    return next < end ? next : NULL;
}

/* Not the row that opens: once that has begun nothing is taken back, so it begins when nothing is before it any more. */
static bool goes_along(const struct run *run, const struct step *next)
{
    return next != NULL && (next->flags & STEP_OPENS) == 0 &&
           journal_state(run->op->journal, next->name) == JOURNAL_NOTHING &&
           operation_in_time(run->op, NULL);
}

/* One transaction for the end of a row and the beginning of the next: nothing is done between the two. */
static bool end_row(struct run *run, const struct step *step, struct err *err)
{
    const struct step *next = next_of(run, step);
    if (!goes_along(run, next)) {
        return journal_step(run->op->journal, step->name, JOURNAL_DONE, err);
    }
    if (!journal_step_on(run->op->journal, step->name, next->name, err)) {
        return false;
    }
    run->begun = next;
    return true;
}

static bool begin_row(const struct run *run, const struct step *step, struct err *err)
{
    return run->begun == step || journal_step(run->op->journal, step->name, JOURNAL_BEGAN, err);
}

static bool act(struct run *run, const struct step *step, struct err *err)
{
    struct operation *op = run->op;
    if (!operation_in_time(op, err) || !begin_row(run, step, err)) {
        return false;
    }
    failpoint(step, "before");
    if (!step->act(op, err)) {
        return false;
    }
    failpoint(step, "act");
    if (!verify(step, op, err) || !end_row(run, step, err)) {
        return false;
    }
    failpoint(step, "after");
    return true;
}

static bool row(struct run *run, const struct step *step, struct err *err)
{
    struct operation *op = run->op;
    bool done = false;
    enum journal_state state = journal_state(op->journal, step->name);
    bool again = (step->flags & STEP_ALWAYS) != 0 &&
                 ((step->flags & STEP_BEFORE_ROLE) == 0 || op->state->role_epoch == op->role_epoch);
    if (state == JOURNAL_DONE && !again) {
        return true;
    }
    if (!is_done(step, op, &done, err)) {
        return false;
    }
    if (!done || again) {
        return act(run, step, err);
    }
    /* Found so: by us before we were killed, or by somebody else. */
    failpoint(step, "before");
    if (!begin_row(run, step, err)) {
        return false;
    }
    failpoint(step, "act");
    if (!end_row(run, step, err)) {
        return false;
    }
    failpoint(step, "after");
    return true;
}

/* --- backward ----------------------------------------------------------------------------------------------------- */

static bool undo_row(const struct step *step, struct operation *op, struct err *err)
{
    enum journal_state state = journal_state(op->journal, step->name);
    if (step->undo == NULL || state == JOURNAL_NOTHING || state == JOURNAL_UNDONE) {
        return true;
    }
    op->step = step->name;
    operation_say(op, "taken back");
    failpoint(step, "undo");
    return step->undo(op, err) && journal_step(op->journal, step->name, JOURNAL_UNDONE, err);
}

/* @param count  rows from the beginning that may have begun */
static bool undo(struct run *run, size_t count, const struct step **out_at, struct err *err)
{
    for (size_t i = count; i-- > 0;) {
        const struct step *step = &run->plan->steps[i];
        if (belongs(step, run->op) && !undo_row(step, run->op, err)) {
            *out_at = step;
            return false;
        }
    }
    return true;
}

static bool opened(const struct run *run)
{
    for (size_t i = 0; i < run->plan->count; i++) {
        const struct step *step = &run->plan->steps[i];
        if ((step->flags & STEP_OPENS) != 0 && belongs(step, run->op) &&
            journal_state(run->op->journal, step->name) != JOURNAL_NOTHING) {
            return true;
        }
    }
    return false;
}

static bool undoing(const struct operation *op)
{
    json_t *why = journal_member(op->journal, "undoing");
    bool is = json_is_object(why);
    json_decref(why);
    return is;
}

/* Decided once, and durable: who resumes takes back too. */
static bool decide_undo(struct operation *op, const struct step *at, const struct err *why,
                        struct err *err)
{
    return journal_set(op->journal, "undoing",
                       json_pack("{sssssssi}", "at", at->name, "why", why->what, "hint", why->hint,
                                 "kind", (int)why->kind),
                       err);
}

static void why_undone(const struct operation *op, struct err *err)
{
    json_t *why = journal_member(op->journal, "undoing");
    const char *what = json_string_value(json_object_get(why, "why"));
    const char *hint = json_string_value(json_object_get(why, "hint"));
    err_set(err, (enum err_kind)json_integer_value(json_object_get(why, "kind")), "%s",
            what == NULL ? "" : what);
    err_hint(err, "%s", hint == NULL ? "" : hint);
    json_decref(why);
}

static enum plan_end take_back(struct run *run, const struct step **out_at, struct err *err)
{
    /* That the time was up is often why. */
    int64_t until_ms = clock_now_ms(run->op->clock) + UNDO_MS;
    run->op->until_ms = run->op->until_ms > until_ms ? run->op->until_ms : until_ms;
    if (undo(run, run->plan->count, out_at, err)) {
        why_undone(run->op, err);
        return PLAN_UNDONE;
    }
    if (journal_lost(run->op->journal)) {
        return PLAN_LOST;
    }
    err_wrap(err, "taking back");
    return PLAN_STOPPED;
}

/* A switchover goes back whatever failed; a failover only where a check said no, since its primary is not coming back by that. */
static enum plan_end failed(struct run *run, const struct step *step, const struct step **out_at,
                            struct err *err)
{
    struct operation *op = run->op;
    struct err why = *err;
    *out_at = step;
    if (journal_lost(op->journal)) {
        return PLAN_LOST;
    }
    if (operation_interrupted() && !operation_in_time(op, err)) {
        return PLAN_STOPPED;
    }
    if (opened(run) || (!op->planned && err->kind == ERR_RETRY)) {
        return PLAN_STOPPED;
    }
    operation_say(op, "failed: %s", why.what);
    if (!decide_undo(op, step, &why, err)) {
        return journal_lost(op->journal) ? PLAN_LOST : PLAN_STOPPED;
    }
    return take_back(run, out_at, err);
}

/* A soft row that fails is said, and the rest goes on; not in a switchover that can still be taken back, nor when no time is
 * left for the rest. */
static bool may_go_on(const struct run *run, const struct step *step, const struct err *err)
{
    return operation_in_time(run->op, NULL) && (step->flags & STEP_SOFT) != 0 &&
           err->kind != ERR_FATAL && !journal_lost(run->op->journal) &&
           (!run->op->planned || opened(run));
}

/* What the row that failed had found. That it cannot be written is told by the next record. */
static void flush(struct operation *op)
{
    struct err why;
    if (!journal_flush(op->journal, &why)) {
        operation_say(op, "not in the journal: %s", why.what);
    }
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

static enum plan_end dry(struct run *run, const struct step **out_at, struct err *err)
{
    struct operation *op = run->op;
    for (size_t i = 0; i < run->plan->count; i++) {
        const struct step *step = &run->plan->steps[i];
        if (!belongs(step, op)) {
            continue;
        }
        op->step = step->name;
        operation_say(op, "%s", step->does);
        if (step->plan != NULL && !step->plan(op, err)) {
            *out_at = step;
            return PLAN_STOPPED;
        }
    }
    return PLAN_DONE;
}

enum plan_end plan_run(const struct plan *plan, struct operation *op, const struct step **out_at,
                       struct err *err)
{
    struct run run = {.plan = plan, .op = op};
    *out_at = NULL;
    if (op->options.dry_run) {
        return dry(&run, out_at, err);
    }
    if (undoing(op)) {
        return take_back(&run, out_at, err);
    }
    for (size_t i = 0; i < plan->count; i++) {
        const struct step *step = &plan->steps[i];
        if (!belongs(step, op)) {
            continue;
        }
        op->step = step->name;
        if ((!operation_interrupted() || operation_in_time(op, err)) && row(&run, step, err)) {
            continue;
        }
        flush(op);
        if (may_go_on(&run, step, err)) {
            operation_say(op, "not done: %s%s%s", err->what, err->hint[0] == '\0' ? "" : "; ",
                          err->hint);
            operation_leave(op, step->name, err, true);
            err_clear(err);
            continue;
        }
        return failed(&run, step, out_at, err);
    }
    return json_array_size(op->left) > 0 ? PLAN_PARTLY : PLAN_DONE;
}
