#include "cli/permissions.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/path_probe.h"

#define NAME_BYTES PERMISSIONS_NAME_BYTES

/* Found by trying on brokers with StandardAuthorizer: with one of these less something fails (tests/integration/
 * test_permissions.py). Read and Write include Describe; AlterConfigs includes DescribeConfigs. */
static const enum acl_operation of_topics[PERMISSION_ROLES_COUNT][8] = {
    [PERMISSION_SOURCE] = {ACL_READ, ACL_DESCRIBE_CONFIGS, 0},
    [PERMISSION_TARGET] = {ACL_READ, ACL_WRITE, ACL_CREATE, ACL_ALTER, ACL_ALTER_CONFIGS, 0},
    [PERMISSION_OPERATOR] = {0},
};
static const enum acl_operation of_control[PERMISSION_ROLES_COUNT][8] = {
    [PERMISSION_SOURCE] = {0},
    [PERMISSION_TARGET] = {ACL_READ, ACL_WRITE, ACL_CREATE, ACL_DESCRIBE_CONFIGS, 0},
    [PERMISSION_OPERATOR] = {ACL_WRITE, ACL_CREATE, 0},
};
static const enum acl_operation of_probe[] = {ACL_CREATE, ACL_WRITE, ACL_READ, ACL_DELETE, 0};

const char *const permissions_redis[] = {
    "select", "ping",    "info",     "time",      "eval",        "evalsha", "del",       "get",
    "set",    "pexpire", "hget",     "hset",      "hsetnx",      "hdel",    "hgetall",   "hvals",
    "sadd",   "srem",    "smembers", "sismember", "xadd",        "xrange",  "xrevrange", "xdel",
    "xsetid", "zadd",    "zcard",    "zrange",    "zrangebylex", "hlen",    "hscan",     NULL};

const enum acl_operation *permissions_of_topics(enum permission_role role)
{
    return of_topics[role];
}

const enum acl_operation *permissions_of_control(enum permission_role role)
{
    return of_control[role];
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

static bool has(const struct permissions *all, const struct permission *row)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct permission *other = &all->rows[i];
        if (other->role == row->role && other->resource == row->resource &&
            other->pattern == row->pattern && other->operation == row->operation &&
            strcmp(other->name, row->name) == 0) {
            return true;
        }
    }
    return false;
}

static void add(struct permissions *out, enum permission_role role, enum acl_resource resource,
                enum acl_pattern pattern, const char *name, enum acl_operation operation)
{
    char copy[NAME_BYTES];
    struct permission row = {role, resource, pattern, copy, operation};
    snprintf(copy, sizeof(copy), "%s", name);
    if (!has(out, &row)) {
        out->rows = must(reallocarray(out->rows, out->count + 1, sizeof(*out->rows)));
        row.name = must(strdup(name));
        out->rows[out->count++] = row;
    }
}

static void add_topic(struct permissions *out, enum permission_role role, enum acl_pattern pattern,
                      const char *name)
{
    for (const enum acl_operation *operation = of_topics[role]; *operation != 0; operation++) {
        add(out, role, ACL_TOPIC, pattern, name, *operation);
    }
}

static void note(struct permissions *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void note(struct permissions *out, const char *format, ...)
{
    char line[600];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    json_array_append_new(out->notes, json_string(line));
}

/* --- topics ------------------------------------------------------------------------------------------------------- */

static void add_matching(struct permissions *out, enum permission_role role,
                         const struct config_service *service, const struct config_pattern *pattern,
                         const char *const *topics, size_t count)
{
    struct config_pattern include = *pattern;
    const struct config_patterns one = {.include = &include,
                                        .include_count = 1,
                                        .exclude = service->topics.exclude,
                                        .exclude_count = service->topics.exclude_count};
    for (size_t i = 0; i < count; i++) {
        if (config_patterns_match(&one, topics[i])) {
            add_topic(out, role, ACL_LITERAL, topics[i]);
        }
    }
}

static void add_pattern(struct permissions *out, enum permission_role role,
                        const struct config_service *service, const struct config_pattern *pattern,
                        const char *const *topics, size_t count)
{
    const char *text = pattern->text;
    size_t plain = pattern->kind == PATTERN_GLOB ? strcspn(text, "*?") : 0;
    char prefix[NAME_BYTES];
    if (pattern->kind == PATTERN_GLOB && text[plain] == '\0') {
        add_topic(out, role, ACL_LITERAL, text);
    } else if (pattern->kind == PATTERN_GLOB && strcmp(text, "*") == 0) {
        add_topic(out, role, ACL_LITERAL, "*");
    } else if (plain > 0 && plain < sizeof(prefix) && strcmp(text + plain, "*") == 0) {
        snprintf(prefix, sizeof(prefix), "%.*s", (int)plain, text);
        add_topic(out, role, ACL_PREFIXED, prefix);
    } else {
        add_matching(out, role, service, pattern, topics, count);
    }
}

static void note_pattern(struct permissions *out, const struct config_service *service,
                         const struct config_pattern *pattern)
{
    size_t plain = pattern->kind == PATTERN_GLOB ? strcspn(pattern->text, "*?") : 0;
    bool literal = pattern->kind == PATTERN_GLOB && pattern->text[plain] == '\0';
    bool trailing = pattern->kind == PATTERN_GLOB && strcmp(pattern->text + plain, "*") == 0;
    if (literal) {
        return;
    }
    if (!trailing) {
        note(out,
             "no ACL can say the pattern \"%.200s\": these are the topics that match now; print "
             "again when there are new ones",
             pattern->text);
    } else if (plain == 0) {
        note(out,
             "the pattern \"%.10s\" is every topic, internal and reserved ones too: name "
             "patterns with a beginning for narrower ACLs",
             pattern->text);
    } else if (service->topics.exclude_count > 0) {
        note(out, "the ACLs of \"%.200s\" also cover topics that the service excludes",
             pattern->text);
    }
}

/* --- groups ------------------------------------------------------------------------------------------------------- */

bool permissions_group_resource(const struct config_pattern *pattern, enum acl_pattern *out_pattern,
                                char out_name[PERMISSIONS_NAME_BYTES])
{
    const char *text = pattern->text;
    size_t plain = pattern->kind == PATTERN_GLOB ? strcspn(text, "*?") : 0;
    bool literal = pattern->kind == PATTERN_GLOB && text[plain] == '\0';
    bool all = pattern->kind == PATTERN_GLOB && strcmp(text, "*") == 0;
    bool trailing = pattern->kind == PATTERN_GLOB && plain > 0 && strcmp(text + plain, "*") == 0;
    if (!literal && !all && !trailing) {
        return false;
    }
    *out_pattern = trailing ? ACL_PREFIXED : ACL_LITERAL;
    snprintf(out_name, PERMISSIONS_NAME_BYTES, "%.*s", (int)(all ? 1 : plain), text);
    return true;
}

bool permissions_groups_wanted(const struct config_service *service, const struct config_site *to)
{
    return service->groups.include_count > 0 && to->redis != NULL;
}

/* Describe shows a group and its commits; Read lets us commit for it. */
static void add_groups(struct permissions *out, const struct config_service *service,
                       const struct config_site *to)
{
    enum acl_pattern pattern;
    char name[PERMISSIONS_NAME_BYTES];
    for (size_t i = 0; permissions_groups_wanted(service, to) && i < service->groups.include_count;
         i++) {
        const struct config_pattern *include = &service->groups.include[i];
        if (!permissions_group_resource(include, &pattern, name)) {
            note(
                out,
                "no ACL can say the pattern \"%.200s\" of groups: allow Describe on them at %.100s "
                "and Read at %.100s by name",
                include->text, service->home, to->name);
            continue;
        }
        add(out, PERMISSION_SOURCE, ACL_GROUP, pattern, name, ACL_DESCRIBE);
        add(out, PERMISSION_TARGET, ACL_GROUP, pattern, name,
            ACL_READ); /* each second, or in a failover alone where `commit` is false */
    }
}

/* --- everything --------------------------------------------------------------------------------------------------- */

static void add_writer(struct permissions *out, enum permission_role role, const char *writer,
                       const char *service, const struct config_site *to)
{
    char name[NAME_BYTES];
    if (to->kafka.single_writer) {
        return; /* no transactions */
    }
    snprintf(name, sizeof(name), "ferry-%s-%s", writer, service);
    add(out, role, ACL_TRANSACTIONAL_ID, ACL_LITERAL, name, ACL_WRITE);
}

static void add_own(struct permissions *out, const struct config_service *service,
                    const struct config_site *from, const struct config_site *to)
{
    enum permission_role operator_role =
        to->operator_kafka != NULL ? PERMISSION_OPERATOR : PERMISSION_TARGET;
    char name[NAME_BYTES];
    snprintf(name, sizeof(name), "ferry.control.%s", service->name);
    for (int role = 0; role < PERMISSION_ROLES_COUNT; role++) {
        for (const enum acl_operation *operation = of_control[role];
             *operation != 0 && (role != PERMISSION_OPERATOR || to->operator_kafka != NULL);
             operation++) {
            add(out, (enum permission_role)role, ACL_TOPIC, ACL_LITERAL, name, *operation);
        }
    }
    if (service->acl_topics || service->acl_groups) {
        add(out, PERMISSION_SOURCE, ACL_CLUSTER, ACL_LITERAL, ACL_CLUSTER_NAME, ACL_DESCRIBE);
    }
    if (permissions_groups_wanted(service, to)) { /* a failover's hints; `ferry hints` reads them */
        snprintf(name, sizeof(name), "ferry.hints.%s", service->name);
        add(out, operator_role, ACL_TOPIC, ACL_LITERAL, name, ACL_CREATE);
        add(out, operator_role, ACL_TOPIC, ACL_LITERAL, name, ACL_WRITE);
        add(out, PERMISSION_TARGET, ACL_TOPIC, ACL_LITERAL, name, ACL_READ);
    }
    path_probe_topic(service->name, name); /* `ferry check`, and `ferry enable` of path auto */
    for (const enum acl_operation *operation = of_probe; *operation != 0; operation++) {
        add(out, PERMISSION_TARGET, ACL_TOPIC, ACL_LITERAL, name, *operation);
    }
    snprintf(name, sizeof(name), "ferry-%s-%s-%s", service->name, from->name, to->name);
    add(out, PERMISSION_TARGET, ACL_GROUP, ACL_LITERAL, name, ACL_READ);
    add_writer(out, PERMISSION_TARGET, "keeper", service->name, to);
    add_writer(out, PERMISSION_TARGET, "op", service->name, to); /* ferry fault accept */
    add_writer(out, operator_role, "keeper", service->name, to);
    add_writer(out, operator_role, "op", service->name, to);
    if (to->operator_kafka != NULL) {
        add(out, PERMISSION_OPERATOR, ACL_CLUSTER, ACL_LITERAL, ACL_CLUSTER_NAME, ACL_ALTER);
        add(out, PERMISSION_OPERATOR, ACL_CLUSTER, ACL_LITERAL, ACL_CLUSTER_NAME,
            ACL_DESCRIBE_CONFIGS); /* super.users, allow.everyone.if.no.acl.found */
    }
}

void permissions_list(struct permissions *out, const struct config_service *service,
                      const struct config_site *from, const struct config_site *to,
                      const char *const *topics, size_t topics_count)
{
    *out = (struct permissions){.notes = json_array()};
    for (int role = 0; role < PERMISSION_ROLES_COUNT; role++) {
        for (size_t i = 0; i < service->topics.include_count; i++) {
            add_pattern(out, (enum permission_role)role, service, &service->topics.include[i],
                        topics, topics_count);
        }
    }
    for (size_t i = 0; i < service->topics.include_count; i++) {
        note_pattern(out, service, &service->topics.include[i]);
    }
    add_groups(out, service, to);
    add_own(out, service, from, to);
    if (to->operator_kafka == NULL) {
        note(out,
             "sites.%.100s.operator is not configured: `ferry` signs in as the mirror, and no "
             "write fence can be set, no ACL copied",
             to->name);
    }
}

void permissions_free(struct permissions *permissions)
{
    for (size_t i = 0; i < permissions->count; i++) {
        free(permissions->rows[i].name);
    }
    free(permissions->rows);
    json_decref(permissions->notes);
    *permissions = (struct permissions){0};
}

/* --- text --------------------------------------------------------------------------------------------------------- */

#define PLAIN_BYTES "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/=@,+-"

char *permissions_quote(const char *text)
{
    if (text[0] != '\0' && text[strspn(text, PLAIN_BYTES)] == '\0') {
        return must(strdup(text));
    }
    char *out = must(malloc(strlen(text) * 4 + 3)); /* ' becomes '\'' */
    char *to = out;
    *to++ = '\'';
    for (const char *from = text; *from != '\0'; from++) {
        if (*from == '\'') {
            memcpy(to, "'\\'", 3);
            to += 3;
        }
        *to++ = *from;
    }
    *to++ = '\'';
    *to = '\0';
    return out;
}

/* Keys of the service by their beginning; what globs mean in a prefix is taken by its letters. */
static char *key_pattern(const char *prefix, const char *service)
{
    char *out = must(malloc(strlen(prefix) * 2 + strlen(service) + 8));
    char *to = out;
    *to++ = '~';
    for (const char *from = prefix; *from != '\0'; from++) {
        if (strchr("*?[]^\\", *from) != NULL) {
            *to++ = '\\';
        }
        *to++ = *from;
    }
    snprintf(to, strlen(service) + 5, "{%s}:*", service);
    return out;
}

char *permissions_redis_line(const struct config_redis *redis, const char *service)
{
    char *out = NULL;
    size_t room = 0;
    FILE *stream = must(open_memstream(&out, &room));
    char *pattern = key_pattern(redis->prefix, service);
    char *keys = permissions_quote(pattern);
    char *user = permissions_quote(redis->username == NULL ? "ferry" : redis->username);
    fprintf(stream, "ACL SETUSER %s on '>PASSWORD' -@all", user);
    for (const char *const *command = permissions_redis; *command != NULL; command++) {
        fprintf(stream, " +%s", *command);
    }
    fprintf(stream, " %s", keys);
    fclose(stream);
    free(user);
    free(keys);
    free(pattern);
    return out;
}
