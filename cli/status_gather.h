/* What `ferry status` and `ferry check` know of a link, asked for: the target's control topic, Redis, both clusters' offsets. What
 * does not answer is waited for once, and unknown then.
 */
#ifndef FERRY_CLI_STATUS_GATHER_H
#define FERRY_CLI_STATUS_GATHER_H

#include "cli/context.h"
#include "cli/status.h"

/* Never fails. status_done() afterwards. */
void status_gather(struct status *status, struct context *context);

#endif
