/* Write fence of the target: while a topic is mirrored nobody but Ferry writes to it. One DENY Write for each principal that
 * holds an ALLOW Write on the topic (literal, prefixed, wildcard). No I/O: entries are read and changed by who calls.
 *
 * Record `fence` of the control topic, written by `ferry enable`, `ferry fence sync` and `remove`; a failover's `open` takes
 * away exactly what it calls ours:
 *   {"topics": {TOPIC: {"state": "denied"|"nobody"|"none", "ours": [PRINCIPAL..], "theirs": [PRINCIPAL..], "why": TEXT}},
 *    "super_users": true|false|null, "by": .., "reason": .., "time": ..}
 * denied: those principals are denied (theirs: by somebody else's entry). nobody: no entry lets anybody else write. none: it
 * cannot be, and why. super_users: not bound by any fence; null = not known whether there are any.
 */
#ifndef FERRY_FAILOVER_FENCE_H
#define FERRY_FAILOVER_FENCE_H

#include <jansson.h>

#include "kafka/admin_acls.h"

struct fence_facts {
    const char *unset;           /* why nothing can be set at all; NULL = it can */
    const struct acl_list *acls; /* about topics of the target, as they stand */
    const char *const *own;      /* principals of Ferry, never denied */
    size_t own_count;
    const struct admin_authorizer *authorizer;
};

/* The record's "topics" as they should be; new reference. What is recorded as ours stays for as long as the topic is in
 * `topics`: a principal whose ALLOW went may get it back.
 * @param before  "topics" of the record that stands; NULL = none */
json_t *fence_plan(const char *const *topics, size_t count, const struct fence_facts *facts,
                   const json_t *before);

/* "topics" of a record; NULL when the text is none. New reference. */
json_t *fence_topics_parse(const char *record_json);
/* The entries that are ours. */
void fence_entries(const json_t *topics, struct acl_list *out);
/* Everything that is ours in either. For the time between two records. New reference. */
json_t *fence_union(const json_t *before, const json_t *after);

#define FENCE_LINE_BYTES 500
/* "3 topics fenced, 1 without a fence: REASON"; "none: REASON". Returns out. */
char *fence_line(const json_t *topics, char out[FENCE_LINE_BYTES]);

#endif
