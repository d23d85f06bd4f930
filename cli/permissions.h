/* What each principal must be allowed to do, as narrow as the configuration permits: the one table behind what `ferry check
 * --print-acls` prints, what `ferry check` asks for, and docs/permissions.md. No I/O.
 */
#ifndef FERRY_CLI_PERMISSIONS_H
#define FERRY_CLI_PERMISSIONS_H

#include <jansson.h>

#include "config/config.h"
#include "kafka/acl.h"

#define PERMISSIONS_NAME_BYTES 320

enum permission_role {
    PERMISSION_SOURCE,   /* the mirror's principal at the source: it reads, nothing else */
    PERMISSION_TARGET,   /* the mirror's principal at the target */
    PERMISSION_OPERATOR, /* sites.X.operator at the target; without one these are the mirror's */
    PERMISSION_ROLES_COUNT
};

struct permission {
    enum permission_role role;
    enum acl_resource resource;
    enum acl_pattern pattern;
    char *name; /* heap */
    enum acl_operation operation;
};
struct permissions {
    struct permission *rows;
    size_t count;
    json_t *notes; /* strings: what the rows cannot say */
};

/* @param topics  names of topics that the source shows now: those that match stand for patterns that no ACL can say */
void permissions_list(struct permissions *out, const struct config_service *service,
                      const struct config_site *from, const struct config_site *to,
                      const char *const *topics, size_t topics_count);
void permissions_free(struct permissions *permissions);

/* What topics of the service need; ends with 0. */
const enum acl_operation *permissions_of_topics(enum permission_role role);
/* What the control topic needs. */
const enum acl_operation *permissions_of_control(enum permission_role role);

/* Are groups of the service synced to this site? */
bool permissions_groups_wanted(const struct config_service *service, const struct config_site *to);
/* The ACL resource that a pattern of groups becomes; false: none can say it. */
MUST_CHECK
bool permissions_group_resource(const struct config_pattern *pattern, enum acl_pattern *out_pattern,
                                char out_name[PERMISSIONS_NAME_BYTES]);

/* Redis commands that ferryd and ferry send, their scripts included; ends with NULL. */
extern const char *const permissions_redis[];
/* "ACL SETUSER ..." for redis-cli; heap. */
char *permissions_redis_line(const struct config_redis *redis, const char *service);

/* In single quotes where a shell wants them; heap. */
char *permissions_quote(const char *text);

#endif
