/* The runbook: what to type when, one row for each row of the plan. docs/runbook.md is printed from here. What a row does, to
 * which command it belongs and whether it can be taken back is the plan's word; what it says when it stops, and what is typed
 * then, is said here. A test holds both tables and the messages in the sources against each other.
 */
#ifndef FERRY_FAILOVER_RUNBOOK_H
#define FERRY_FAILOVER_RUNBOOK_H

#include <stdio.h>

#include "failover/step.h"

#define RUNBOOK_MESSAGES 3

struct runbook_row {
    const char *step; /* of the plan */
    const char *messages
        [RUNBOOK_MESSAGES]; /* as they are on the screen, ".." for what differs; NULL = no more */
    const char *type;       /* markdown, with a command */
};
/* NULL: the step has none. */
const struct runbook_row *runbook_row(const char *step);

void runbook_print(const struct plan *plan, FILE *out);

#endif
