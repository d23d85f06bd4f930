/* Does anybody take a connection at these addresses? The cheapest question there is, bounded to the millisecond: names are looked up and
 * connections tried side by side on threads that are left behind when time is up. A refused connection is an answer: nobody.
 */
#ifndef FERRY_FAILOVER_REACH_H
#define FERRY_FAILOVER_REACH_H

#include <stdint.h>

#include "base/err.h"

/* @param servers  as bootstrap.servers has them
 * @return false with ERR_RETRY: none of them; `what` says of the last one why, "no answer within 1.0 s" */
MUST_CHECK
bool reach_any(const char *servers, int32_t timeout_ms, struct err *err);

#endif
