/* What the keeper of a link says of its topics, as it stands in the workers' heartbeats: which are not mirrored, which the
 * source deleted, which settings differ and why. Hostile until checked; no I/O but printing.
 */
#ifndef FERRY_CLI_TOPICS_H
#define FERRY_CLI_TOPICS_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* The newest word of a keeper among these workers; borrowed. NULL = none of them says anything. */
const json_t *topics_report(const json_t *workers);
/* "not_mirrored_count" and the like; -1 = unknown. */
int64_t topics_count(const json_t *report, const char *key);
/* For people: at most TOPICS_SHOWN rows of each kind, the rest is counted. NULL prints nothing. */
#define TOPICS_SHOWN 8
void topics_print(FILE *out, const json_t *report);

#endif
