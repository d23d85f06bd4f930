/* The write fence of one link's target, as `ferry enable` and `ferry fence` set it. */
#ifndef FERRY_CLI_CMD_FENCE_H
#define FERRY_CLI_CMD_FENCE_H

#include "cli/context.h"

/* Work out what is to be denied and do it, recorded in the control topic before. The service is enabled, the operator said
 * yes. Without sites.X.operator the fence is recorded as none, with the mirror's credentials. @param out_line  "3 topics",
 * "none: REASON" */
MUST_CHECK
bool fence_set(struct context *context, char *out_line, size_t room, struct err *err);

#endif
