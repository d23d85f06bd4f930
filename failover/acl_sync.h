/* ACL sync: which of the source's ACLs stand at the target while it is mirrored, and which wait until it is the primary. No
 * I/O: entries are read and changed by who calls.
 *
 * Copied is what reads (Read, Describe, DescribeConfigs; of All these) and what denies reading. Withheld, and remembered, is
 * everything else: Write, All, Create, Delete, Alter, AlterConfigs. An entry that reaches beyond the service's topics or
 * groups becomes one literal entry for each of them. No entry is copied without the DENY that bounds it at the source. Never:
 * Ferry's own principals, a DENY for User:* (it would stop Ferry too).
 *
 * Record `acls` of the control topic, written by `ferry acls`; an entry stands there before it stands on the cluster, and
 * leaves after it has left. A failover's `open` gives what is withheld:
 *   {"ours": [ENTRY..], "withheld": [ENTRY..], "by": .., "reason": .., "time": ..}
 *   ENTRY = [PERMISSION, OPERATION, RESOURCE, PATTERN, NAME, PRINCIPAL, HOST], in kafka-acls' words
 */
#ifndef FERRY_FAILOVER_ACL_SYNC_H
#define FERRY_FAILOVER_ACL_SYNC_H

#include <jansson.h>

#include "config/config.h"
#include "kafka/admin_acls.h"

/* An entry is some 130 bytes of the record, which may have 16 MiB. */
#define ACL_SYNC_MOST 50000

struct acl_sync_facts {
    const struct config_service *service;
    const char *const
        *topics; /* of the service, of both sides; what wide entries become entries of */
    size_t topics_count;
    const char *const *groups;
    size_t groups_count;
    const struct acl_list *source; /* about topics and groups, as they stand */
    const struct acl_list *target;
    const char *const *own; /* principals of Ferry, on both sides */
    size_t own_count;
    bool
        first_closes; /* the target may let everybody use what no entry concerns: a first one would lock out who relies on it,
                          Ferry too */
};

struct acl_sync_record {
    struct acl_list ours;
    struct acl_list withheld; /* as they would stand at the target */
};
void acl_sync_record_done(struct acl_sync_record *record);
/* Empty when the text is none; entries that are not of the form are passed over. */
void acl_sync_parse(const char *record_json, struct acl_sync_record *out);
/* "ours" and "withheld" as JSON arrays; new reference. */
json_t *acl_sync_entries(const struct acl_list *list);

struct acl_sync_plan {
    struct acl_sync_record record; /* as it should be; each list sorted, DENY first */
    struct acl_list theirs; /* stand at the target already, and somebody else put them there */
    struct acl_list left;   /* concern the service and are not copied */
    const char **whys;      /* of left, one each; static texts */
    size_t found; /* entries of the source that concern the service and are not Ferry's own */
    struct acl_list to_create;
    struct acl_list
        to_delete; /* ALLOW before DENY: nobody has more in between than before or after */
};

/* @param before  the record that stands; borrowed
 * @return false with ERR_REFUSED: more than ACL_SYNC_MOST entries; or the source has none about the service, while some are
 *         recorded as ours: a cluster that was made anew takes nothing away. `out` is to be freed in any case. */
MUST_CHECK
bool acl_sync_plan(const struct acl_sync_facts *facts, const struct acl_sync_record *before,
                   struct acl_sync_plan *out, struct err *err);
void acl_sync_plan_done(struct acl_sync_plan *plan);

#define ACL_SYNC_LINE_BYTES 300
/* "12 copied, 4 withheld; changed TIME"; "" when there is no record. Returns out. */
char *acl_sync_line(const char *record_json, char out[ACL_SYNC_LINE_BYTES]);

#endif
