/* What stands at a service's names is recorded on each of its sites that has a control topic (docs/adr/0012): any of them may be the
 * only one left. An operation goes by the newest record, and tells the other sites what it changed.
 *
 * Must never: wait for a site for longer than a few seconds, or fail because one does not answer.
 */
#ifndef FERRY_FAILOVER_NAMES_ELSEWHERE_H
#define FERRY_FAILOVER_NAMES_ELSEWHERE_H

#include <jansson.h>

#include "failover/operation.h"

/* Another site has this record `dns`; NULL = none. Kept where it is newer than what was seen. */
void names_elsewhere_seen(struct operation *op, const char *dns_json);
/* op->state, read again from the target, has the newest that was seen. */
void names_elsewhere_take(struct operation *op);
/* Write op->state's record to the other sites: {SITE: "written" or why not}; a site without a control topic is not in it.
 * New reference. @thread one at a time, while nobody changes op->state */
json_t *names_elsewhere_tell(const struct operation *op);

#endif
