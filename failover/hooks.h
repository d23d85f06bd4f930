/* Programs of the operator's that an operation calls: services.X.hooks. No shell; told by environment and standard input what is
 * going on (docs/failover.md). The same program may be called again after a crash, so it has to bear that.
 */
#ifndef FERRY_FAILOVER_HOOKS_H
#define FERRY_FAILOVER_HOOKS_H

#include "failover/operation.h"

bool hook_is_set(const struct operation *op, enum config_hook hook);
/* @param verb  "pre", "fence", "unfence", "evict", "post": FERRY_HOOK
 * @return false with ERR_REFUSED: its exit code is not 0; ERR_RETRY: its time was up, or it could not be started */
MUST_CHECK
bool hook_run(struct operation *op, enum config_hook hook, const char *verb, struct err *err);

#endif
