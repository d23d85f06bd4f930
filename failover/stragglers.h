/* Who is still at the old primary, who has arrived at the new one, and what was written at the old one meanwhile: one look, as the
 * row `stragglers` of a plan keeps it and `ferry stragglers` repeats it. Reads only.
 *
 * Expected are the groups that had members at the cut, as the keeper saw them last (Redis, offsets/group_view.h); without Redis that is unknown.
 * Behind the cut the old primary's records are mirrored by nobody. Where its ends at the cut are known (it answered then)
 * `records` counts what came later; `at_risk` counts what is above the mirror's end, so also what was not mirrored at the cut,
 * at most: offsets of transaction markers are among it.
 *
 * Must never: wait for an old primary that does not answer; call unknown what is known, or the other way.
 *
 * A look is JSON, and evidence:
 *   {"old": {"site", "answers": bool, "why"}, "new": {"site"}, "looked": TIME, "cut": TIME,
 *    "expected": N|null, "expected_why": TEXT, "arrived": N, "at_old": N|null, "missing": N|null,
 *    "groups": [{"group", "expected": bool|null, "where": "old"|"both"|"new"|"neither"|"unknown", "why": TEXT,
 *                "old": [{"client_id", "host", "instance_id"|null}..], "old_count", "new": [..], "new_count"}..],
 *    "records": N|null, "at_risk": N|null, "written": N|null since the look before, "ends": N|null (sum),
 *    "topics": {TOPIC: records}, "partitions": [{"topic", "partition", "from", "end", "records": N|null, "at_risk"}..],
 *    "producers": [{"producer_id", "epoch", "partitions", "topic", "partition", "last_wrote": TIME}..]|null,
 *    "state": "done"|"left"|"unknown", "why": TEXT, "next": [TEXT..]}
 */
#ifndef FERRY_FAILOVER_STRAGGLERS_H
#define FERRY_FAILOVER_STRAGGLERS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "config/config.h"
#include "kafka/admin.h"

#define STRAGGLERS_MEMBERS_TOLD    100  /* of a group, on each side */
#define STRAGGLERS_PARTITIONS_TOLD 1000 /* and asked for their producers */

struct stragglers_ask {
    const struct config *config;
    const struct config_service *service;
    const struct config_site *from;
    const struct config_site *to;
    struct admin *target;
    struct admin *old;    /* NULL: it does not answer */
    const char *old_why;  /* why; "" = it does */
    const json_t *freeze; /* evidence of the operation */
    const json_t *prove;
};

/* @param before  the look before this one; NULL = none
 * @return new reference; NULL with ERR_RETRY: the new primary does not answer */
json_t *stragglers_look(const struct stragglers_ask *ask, const json_t *before, struct err *err);

enum stragglers_state {
    STRAGGLERS_DONE, /* everybody who was expected has arrived, and nothing is known to be left */
    STRAGGLERS_LEFT, /* somebody or something is at the old primary, or somebody expected is nowhere */
    STRAGGLERS_UNKNOWN, /* the old primary does not answer, and not everybody is known to have arrived */
};
enum stragglers_state stragglers_state(const json_t *look);
/* Nobody is on the way any more; what was written stays. */
bool stragglers_settled(const json_t *look);
/* "2 of 3 groups have arrived at b, 1 is at a still"; heap. */
char *stragglers_line(const json_t *look);

#endif
