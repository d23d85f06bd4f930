/* What speaks against moving the service now; `ferry check SERVICE`, and the first row of every plan. Changes nothing.
 * Evidence of row `check`: {"findings": [{"check", "level": "ok"|"warning"|"refused"|"unknown", "what", "hint"}..]}. */
#ifndef FERRY_FAILOVER_PREFLIGHT_H
#define FERRY_FAILOVER_PREFLIGHT_H

#include "failover/operation.h"

/* Look, say what is found, and operation_keep(op, "check", ..).
 *
 * @return false with ERR_REFUSED: a check refuses and was not named with --force; err names the first, the hint how to go on.
 *         ERR_RETRY: the target cannot be asked. What cannot be known of the source is `unknown` in a failover. */
MUST_CHECK
bool preflight_run(struct operation *op, struct err *err);

#endif
