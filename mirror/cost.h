/* How long a failover would take, from what has to be done: for `ferry status` and /metrics while nobody has measured one. Pure.
 */
#ifndef FERRY_MIRROR_COST_H
#define FERRY_MIRROR_COST_H

#include <stdint.h>

/* Seconds from the command's start to its end with workers that answer, without what name servers' answers live for.
 * @param partitions  of the service; @param places  of groups in partitions; -1 = unknown
 * @return -1 = unknown */
double cost_failover_s(int64_t partitions, int64_t places);

#endif
