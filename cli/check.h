/* What the parts of `ferry check` share: one link's findings. Private to cli/cmd_check.c, check_*.c, print_acls.c.
 */
#ifndef FERRY_CLI_CHECK_H
#define FERRY_CLI_CHECK_H

#include <jansson.h>

#include "cli/context.h"

enum check_level { CHECK_OK, CHECK_WARNING, CHECK_UNKNOWN, CHECK_REFUSED, CHECK_UNREACHABLE };
const char *check_level_name(enum check_level level); /* "ok", "warning", .. */

struct check {
    struct context *context;
    json_t *findings; /* of this link */
    enum check_level worst;
    char source_id[64];
    char target_id[64];
    bool source_answers;
    bool target_answers;
};

/* One finding: kept, and printed at once unless JSON is wanted. @param hint  what to do; "" = nothing */
void check_found(struct check *check, enum check_level level, const char *what, const char *hint);
/* Likewise, under a check's name (failover/preflight.h). */
void check_found_as(struct check *check, const char *name, enum check_level level, const char *what,
                    const char *hint);
/* Not reached is unreachable, all else refused. */
void check_failed(struct check *check, const struct err *err);

/* Which ACLs are missing, by name; asks so that nothing is changed. */
void check_permissions(struct check *check);
/* Which path can carry it: tried on a scratch topic at the target. Both clusters answer. */
void check_path(struct check *check);
/* Could we fail over to it now? */
void check_preflight(struct check *check);
/* And which commands Redis would refuse us. Its connection is open. */
void check_redis_permissions(struct check *check);

/* `--print-acls`: what is to be allowed, as commands. @param links  where -o json collects them */
void print_acls(struct context *context, json_t *links);

#endif
