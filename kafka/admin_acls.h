/* The door to librdkafka's admin API, blocking: access control lists, and what this principal may do. Threads, time limits
 * and errors as in kafka/admin.h.
 */
#ifndef FERRY_KAFKA_ADMIN_ACLS_H
#define FERRY_KAFKA_ADMIN_ACLS_H

#include "kafka/acl.h"
#include "kafka/admin.h"

struct acl { /* one entry; texts on the heap */
    enum acl_resource resource;
    enum acl_pattern pattern;
    char *name;
    char *principal; /* "User:alice" */
    char *host;      /* "*" = any */
    enum acl_operation operation;
    enum acl_permission permission;
};
struct acl_list { /* zeroed = empty */
    struct acl *acls;
    size_t count;
};
void acl_list_add(struct acl_list *list, const struct acl *acl); /* copies the texts */
void acl_list_free(struct acl_list *list);
bool acl_equal(const struct acl *a, const struct acl *b);
bool acl_list_has(const struct acl_list *list, const struct acl *acl);
/* Sort, DENY before ALLOW, then by resource, name and principal; what is there twice is there once then. */
void acl_list_sort(struct acl_list *list);
/* Those of `wanted` that `there` lacks, in wanted's order. */
void acl_list_missing(const struct acl_list *wanted, const struct acl_list *there,
                      struct acl_list *out);
/* Does an entry of this resource concern the topic or group? A wildcard is the literal name "*". */
bool acl_concerns(const struct acl *acl, enum acl_resource resource, const char *name);

/* All entries about resources of a kind. ERR_REFUSED code 54 (SECURITY_DISABLED) when the cluster has no authorizer, 31 when
 * we lack Describe on it: both are asked for before, because librdkafka (2.14) drops the error of this answer, and gives an
 * empty list. */
#define ACL_NO_AUTHORIZER 54
MUST_CHECK
bool admin_acls(struct admin *admin, enum acl_resource resource, struct acl_list *out,
                struct err *err);
/* Create or delete exactly these; what is there, or is not there any more, is success. Many requests when there are many:
 * what was done before a failure stays. */
MUST_CHECK
bool admin_acls_create(struct admin *admin, const struct acl_list *list, struct err *err);
MUST_CHECK
bool admin_acls_delete(struct admin *admin, const struct acl_list *list, struct err *err);

/* Operations as bits (1 << operation). */
bool acl_may(uint32_t operations, enum acl_operation operation);
struct admin_rights {
    const char *topic;
    uint32_t operations; /* out */
    bool told;           /* out; false: the broker does not say such things */
    struct err err; /* out; code 3: no such topic; an ACL's refusal: not even to be described */
};
/* What we may do with topics, as the cluster counts it: without an authorizer everything. */
MUST_CHECK
bool admin_topic_rights(struct admin *admin, struct admin_rights *rights, size_t count,
                        struct err *err);
/* And with the cluster. 0: nothing, or not even to be told. */
MUST_CHECK
bool admin_cluster_rights(struct admin *admin, uint32_t *out, struct err *err);
/* What decides without an entry, as the first broker that is asked has it configured. Brokers say that super.users and
 * allow.everyone.if.no.acl.found are set, and hide to what. */
struct admin_authorizer {
    bool known;       /* false: we may not read brokers' settings, so there is one */
    bool exists;      /* authorizer.class.name is set */
    bool everyone;    /* allow.everyone.if.no.acl.found is set; it may be false */
    bool super_users; /* there are some */
};
MUST_CHECK
bool admin_authorizer(struct admin *admin, struct admin_authorizer *out, struct err *err);
/* May topics of these names be created? Asked so that nothing is. errs[i] is ERR_NONE where it may, or where it exists. */
void admin_may_create(struct admin *admin, const char *const *topics, size_t count,
                      struct err *errs);

#endif
