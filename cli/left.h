/* What is left of a move whose rows are all done: what no second run mends, and what is said of it at the end. */
#ifndef FERRY_CLI_LEFT_H
#define FERRY_CLI_LEFT_H

#include "base/err.h"
#include "failover/operation.h"

/* Into op->left: a fence that is not proven, groups that are not where they go on, records behind the cut. For hands alone. */
void left_take(struct operation *op);

/* It ended with exit 4, and nothing failed: the gravest of op->left, and where to look. What the same command does once more comes
 * behind what somebody has to see to. */
void left_say(const struct operation *op, struct err *err);

#endif
