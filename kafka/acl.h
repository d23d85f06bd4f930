/* Access control lists in Kafka's own words, and what is said when a broker refuses: which principal lacks which
 * operation on which resource. No I/O but reading who a site signs in as.
 *
 * An operation includes others: Read, Write, Delete and Alter include Describe; AlterConfigs includes DescribeConfigs.
 */
#ifndef FERRY_KAFKA_ACL_H
#define FERRY_KAFKA_ACL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "config/config.h"

enum acl_resource { /* numbers of the protocol, as of what follows */
                    ACL_TOPIC = 2,
                    ACL_GROUP = 3,
                    ACL_CLUSTER = 4,
                    ACL_TRANSACTIONAL_ID = 5,
};
enum acl_pattern { ACL_LITERAL = 3, ACL_PREFIXED = 4 };
enum acl_operation {
    ACL_ALL = 2,
    ACL_READ = 3,
    ACL_WRITE = 4,
    ACL_CREATE = 5,
    ACL_DELETE = 6,
    ACL_ALTER = 7,
    ACL_DESCRIBE = 8,
    ACL_CLUSTER_ACTION = 9,
    ACL_DESCRIBE_CONFIGS = 10,
    ACL_ALTER_CONFIGS = 11,
    ACL_IDEMPOTENT_WRITE = 12,
};
enum acl_permission { ACL_DENY = 2, ACL_ALLOW = 3 };

/* As kafka-acls takes and prints them: "topic", "AlterConfigs", "prefixed"; "unknown" for what we do not know. */
const char *acl_resource_name(enum acl_resource resource);
const char *acl_operation_name(enum acl_operation operation);
const char *acl_pattern_name(enum acl_pattern pattern);
/* The other way; false: no such name. */
MUST_CHECK
bool acl_resource_parse(const char *name, enum acl_resource *out);
MUST_CHECK
bool acl_operation_parse(const char *name, enum acl_operation *out);
MUST_CHECK
bool acl_pattern_parse(const char *name, enum acl_pattern *out);

/* Does a right to `has` include `wanted`? */
bool acl_includes(enum acl_operation has, enum acl_operation wanted);

#define ACL_CLUSTER_NAME    "kafka-cluster"
#define ACL_PRINCIPAL_BYTES 256
/* Whom a cluster takes the client for, as brokers name principals that map nothing: "User:NAME" of sasl.username,
 * the "sub" of the token that is kept, the first part of sasl.kerberos.principal,
 * "User:SUBJECT" of the client certificate (RFC 2253), else "User:ANONYMOUS". false: it cannot be known from here (a
 * secret or certificate that cannot be read); then it is "User:?". @thread any */
bool acl_principal(const struct config_client *client, char out[ACL_PRINCIPAL_BYTES]);

/* Is it one of the codes by which a broker refuses for want of an ACL (29, 30, 31, 53)? */
bool acl_refusal(int code);

#define ACL_LACKS_BYTES 700
/* "User:ferry lacks Read on topic 'orders'": what an ACL must allow. Returns out. */
char *acl_lacks(const char *principal, enum acl_operation operation, enum acl_resource resource,
                const char *name, char out[ACL_LACKS_BYTES]);
/* What to do about it, as a hint. */
#define ACL_HINT "allow it on that cluster: `ferry check SERVICE --print-acls` prints the lines"

#endif
