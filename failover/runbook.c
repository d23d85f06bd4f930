#include "failover/runbook.h"

#include <stdbool.h>
#include <string.h>

/* clang-format off */
static const struct runbook_row rows[] = {
    {"check", {"check ..: .."}, "what the line says; all of them: `ferry check SERVICE`. Past one: the same with `--force CHECK`"},
    {"pre", {".. ended with ..: ..", ".. did not end within .. s"}, "mend the program of `hooks.pre`, then `ferry COMMAND SERVICE`"},
    {"source", {"nothing stops the writers at ..: .."}, "`sites.X.operator` or `hooks.fence` in the configuration; you stopped them yourself: `ferry switchover SERVICE --force source`"},
    {"prove", {"somebody still writes at .., as to .."}, "who may: `kafka-acls.sh --bootstrap-server OLD --list --topic TOPIC` (super users are bound by none); stop them, then `ferry switchover SERVICE`"},
    {"drain", {"the mirror does not get to the end: ..", "a transaction is open at .. in ..:..: from offset .. on nothing is stable"}, "`ferry status SERVICE`, `ferry fault list SERVICE`; a transaction: `kafka-transactions.sh --bootstrap-server OLD find-hanging --broker-id ID`. Then `ferry switchover SERVICE`"},
    {"fence", {"the mirror's workers are not proven to have stopped: .."}, "`systemctl stop ferryd` where the line names workers, then `ferry COMMAND SERVICE`; they are certainly dead: the same with `--force fence`"},
    {"count", {"somebody still writes at .., as to ..", "more than --allow-loss or max_loss allows now: .."}, "a switchover: as at `prove`. A failover: `ferry failover SERVICE --yes --allow-loss N`, or `unknown`"},
    {"freeze", {"where groups stand: .."}, "the target or its coordinators do not answer: `ferry check SERVICE`, then `ferry COMMAND SERVICE`"},
    {"role", {NULL}, "the target's control topic is not written: `ferry check SERVICE`, then `ferry COMMAND SERVICE`"},
    {"offsets", {".. of .. groups do not stand where they should at ..: .."}, "exit 4 at the end: end their members at the new primary, then `ferry offsets reset SERVICE --group GROUP --to translated`. A switchover was taken back: end them, then `ferry switchover SERVICE`"},
    {"hints", {"hints are not in .., but in the groups' metadata: .."}, "nothing that clients wait for: `ferry COMMAND SERVICE` writes them"},
    {"open", {NULL}, "an ACL or a topic's setting is not changed, the line says which: `ferry check SERVICE --print-acls`, then `ferry COMMAND SERVICE`"},
    {"dns", {"set .. CNAME .. by hand, then: ferry .. --dns-done", "--dns-done, and .. stands there, not .."}, "what the line says, at the provider; then `ferry COMMAND SERVICE --dns-done`"},
    {"verify", {"not every name server says so yet: the change stands, and propagates"}, "`ferry dns show SERVICE`; `ferry COMMAND SERVICE` waits on"},
    {"evict", {".. ended with ..: ..", "restart .."}, "clients that keep their session: restart those under `restart` in the report, or mend `hooks.evict`; then `ferry stragglers SERVICE`"},
    {"post", {".. ended with ..: .."}, "mend the program of `hooks.post`, then `ferry COMMAND SERVICE`"},
    {"stragglers", {"records were written at .. behind the cut"}, "`ferry stragglers SERVICE --timeout 300`: who is there still, what is there, and how it is read. `ferry COMMAND SERVICE` is done"},
};
/* clang-format on */

const struct runbook_row *runbook_row(const char *step)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].step, step) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static void print_head(FILE *out)
{
    fputs(
        "# Runbook: what to type when\n\n"
        "Printed by `make docs` from the table of steps (`failover/plan.c`, `failover/runbook.c`). "
        "COMMAND is `failover` or `switchover`, OLD an address of the old primary.\n\n"
        "| what you see | type |\n|---|---|\n"
        "| before anything: could it be moved now? | `ferry check SERVICE`; `ferry COMMAND SERVICE "
        "--dry-run` writes nothing |\n"
        "| the primary is lost | `ferry failover SERVICE`; it says what may be lost, the service's "
        "name is typed. Without a terminal: `--yes --allow-loss N`, or `unknown` |\n"
        "| both sides are healthy | `ferry switchover SERVICE`: nothing is lost, or everything is "
        "taken back |\n"
        "| it was killed, the terminal is gone, Ctrl-C, time is up | `ferry COMMAND SERVICE` from "
        "any host that has the configuration goes on where it stood |\n"
        "| `is at work at step ..` | a colleague has it: `ferry history SERVICE OPERATION` follows "
        "|\n"
        "| it stops at a step (`stands at`, or the word before the line) | the table below |\n"
        "| it ended | `ferry stragglers SERVICE --timeout 300`, then `ferry status SERVICE` |\n"
        "| exit 4 | something is left: the last line says what, and the next command |\n\n"
        "Every error ends in the next command (`next:`, and where that is advice, `then:`). What "
        "is not typed by hand between `role` and the end: records of names, offsets, ACLs.\n\n"
        "| step | what it does | on the screen when it stops there | type | taken back |\n"
        "|---|---|---|---|---|\n",
        out);
}

/* "switchover" only, "failover" only, or both. */
static const char *whose(const struct step *step)
{
    return (step->flags & STEP_PLANNED) != 0     ? " (switchover alone)"
           : (step->flags & STEP_UNPLANNED) != 0 ? " (failover alone)"
                                                 : "";
}

static const char *back(const struct step *step, bool opened)
{
    if (opened) {
        return "no: only forward";
    }
    return (step->flags & STEP_PLANNED) != 0
               ? "yes, by itself"
               : "yes, by itself; a failover where a check refuses, else it stands here";
}

static void print_row(const struct step *step, bool opened, FILE *out)
{
    const struct runbook_row *row = runbook_row(step->name);
    fprintf(out, "| `%s`%s | %s |", step->name, whose(step), step->does);
    for (size_t i = 0; row != NULL && i < RUNBOOK_MESSAGES && row->messages[i] != NULL; i++) {
        fprintf(out, "%s `%s`", i == 0 ? "" : ";", row->messages[i]);
    }
    fprintf(out, "%s | %s%s | %s |\n",
            row == NULL || row->messages[0] == NULL ? " an error of the target" : "",
            (step->flags & STEP_SOFT) == 0 ? ""
            : opened                       ? "(the rest goes on) "
                                           : "(a failover goes on) ",
            row == NULL ? "" : row->type, back(step, opened));
}

void runbook_print(const struct plan *plan, FILE *out)
{
    bool opened = false;
    print_head(out);
    for (size_t i = 0; i < plan->count; i++) {
        opened = opened || (plan->steps[i].flags & STEP_OPENS) != 0;
        print_row(&plan->steps[i], opened, out);
    }
}
