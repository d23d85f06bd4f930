/* Which ACLs are missing. Asked by what brokers say of our own rights, and by questions that a broker answers after it has
 * looked at the ACL and before it does anything: creating topics "validate only", who coordinates a writer.
 *
 * What may be done with a topic that the target does not have yet is known when it is there.
 */
#include <hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "cli/check.h"
#include "cli/permissions.h"
#include "failover/preflight.h"
#include "kafka/admin_acls.h"
#include "kafka/control.h"
#include "kafka/error.h"

#define ROOM_BYTES 1200
/* More is asked here than an operation asks, under the same name. */
#define CHECK_NAME preflight_name(PREFLIGHT_PERMISSIONS)

struct side {
    struct check *check;
    struct admin *admin;
    const struct config_site *site;
    char principal[ACL_PRINCIPAL_BYTES];
};

static const char *next_step(const struct side *side, char out[200])
{
    snprintf(out, 200, "ferry check %.80s --print-acls prints the line",
             side->check->context->service->name);
    return out;
}

static void missing(const struct side *side, enum check_level level, const char *lacks)
{
    char what[ROOM_BYTES];
    char next[200];
    snprintf(what, sizeof(what), "%.100s: %s", side->site->name, lacks);
    check_found_as(side->check, CHECK_NAME, level, what, next_step(side, next));
}

/* --- topics ------------------------------------------------------------------------------------------------------- */

struct names { /* topics as listed */
    struct admin_topic *source;
    size_t source_count;
    struct admin_topic *target;
    size_t target_count;
};

struct asked {
    struct admin_rights *rights;
    size_t count;
};

static void ask_for(struct asked *asked, const char *topic)
{
    for (size_t i = 0; i < asked->count; i++) {
        if (strcmp(asked->rights[i].topic, topic) == 0) {
            return;
        }
    }
    asked->rights = must(reallocarray(asked->rights, asked->count + 1, sizeof(*asked->rights)));
    asked->rights[asked->count++] = (struct admin_rights){.topic = topic};
}

/* Refused even to be described: then every right that includes that is missing, the others are not known. */
static bool lacks(const struct admin_rights *rights, enum acl_operation operation)
{
    if (rights->err.kind != ERR_NONE) {
        return acl_refusal(rights->err.code) && acl_includes(operation, ACL_DESCRIBE);
    }
    return rights->told && !acl_may(rights->operations, operation);
}

/* One finding an operation, however many topics lack it. */
static bool tell_operation(const struct side *side, const struct asked *asked,
                           enum acl_operation operation, enum check_level level)
{
    char text[ACL_LACKS_BYTES];
    char all[ROOM_BYTES];
    const char *first = NULL;
    size_t count = 0;
    for (size_t i = 0; i < asked->count; i++) {
        if (lacks(&asked->rights[i], operation)) {
            first = first == NULL ? asked->rights[i].topic : first;
            count++;
        }
    }
    if (first == NULL) {
        return true;
    }
    acl_lacks(side->principal, operation, ACL_TOPIC, first, text);
    if (count > 1) {
        snprintf(all, sizeof(all), "%s and %zu more topics", text, count - 1);
    } else {
        snprintf(all, sizeof(all), "%s", text);
    }
    missing(side, level, all);
    return false;
}

static bool tell_topics(const struct side *side, const struct asked *asked,
                        const enum acl_operation *operations)
{
    bool ok = true;
    for (; *operations != 0; operations++) {
        /* Create was needed when a topic was made, and will be for the next one. */
        ok = tell_operation(side, asked, *operations,
                            *operations == ACL_CREATE ? CHECK_WARNING : CHECK_REFUSED) &&
             ok;
    }
    bool silent = false;
    for (size_t i = 0; i < asked->count; i++) {
        const struct err *err = &asked->rights[i].err;
        silent = silent || (err->kind == ERR_NONE && !asked->rights[i].told);
        if (err->kind != ERR_NONE && !acl_refusal(err->code) && err->code != 3) {
            check_failed(side->check, err);
            ok = false;
        }
    }
    if (silent) {
        missing(
            side, CHECK_WARNING,
            "its brokers do not say what we may do with topics: an ACL that is missing is named "
            "when something fails");
    }
    return ok && !silent;
}

/* Topics named without a pattern are asked for by name: what may not be described is not listed. */
static void ask_named(struct asked *asked, const struct config_service *service)
{
    for (size_t i = 0; i < service->topics.include_count; i++) {
        const struct config_pattern *pattern = &service->topics.include[i];
        if (pattern->kind == PATTERN_GLOB && strpbrk(pattern->text, "*?") == NULL) {
            ask_for(asked, pattern->text);
        }
    }
}

static void ask_listed(struct asked *asked, const struct config_service *service,
                       const struct admin_topic *topics, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (config_patterns_match(&service->topics, topics[i].name)) {
            ask_for(asked, topics[i].name);
        }
    }
}

/* What one side shows is asked of both: a topic that we may not describe is not listed. */
static void ask_all(struct asked *asked, const struct config_service *service,
                    const struct names *names)
{
    ask_listed(asked, service, names->source, names->source_count);
    ask_listed(asked, service, names->target, names->target_count);
    ask_named(asked, service);
}

static bool ask(const struct side *side, struct asked *asked)
{
    struct err err = {0};
    if (!admin_topic_rights(side->admin, asked->rights, asked->count, &err)) {
        check_failed(side->check, &err);
        return false;
    }
    return true;
}

/* Patterns alone can be asked for nowhere. */
static void tell_nothing(const struct side *side)
{
    const struct config_patterns *topics = &side->check->context->service->topics;
    char text[ACL_LACKS_BYTES];
    char all[ROOM_BYTES];
    char name[300];
    for (size_t i = 0; i < topics->include_count; i++) {
        snprintf(name, sizeof(name), "%s", topics->include[i].text);
        if (name[0] != '*') {
            name[strcspn(name, "*")] = '\0'; /* as its ACL is named */
        }
        snprintf(all, sizeof(all), "no topic matches \"%.300s\": there is none, or %.600s",
                 topics->include[i].text,
                 acl_lacks(side->principal, ACL_READ, ACL_TOPIC, name, text));
        missing(side, CHECK_WARNING, all);
    }
}

static bool source_topics(const struct side *side, const struct names *names)
{
    struct asked asked = {.rights = NULL};
    bool ok = false;
    ask_all(&asked, side->check->context->service, names);
    if (asked.count == 0) {
        tell_nothing(side);
    } else {
        ok = ask(side, &asked) &&
             tell_topics(side, &asked, permissions_of_topics(PERMISSION_SOURCE));
    }
    free(asked.rights);
    return ok;
}

/* Those that the target lacks: may they be made? */
static bool may_create(const struct side *side, const char *const *names, size_t count)
{
    struct err *errs = must(calloc(count + 1, sizeof(*errs)));
    bool ok = true;
    admin_may_create(side->admin, names, count, errs);
    for (size_t i = 0; i < count && ok; i++) {
        if (acl_refusal(errs[i].code)) {
            char text[ACL_LACKS_BYTES];
            missing(side, CHECK_REFUSED,
                    acl_lacks(side->principal, ACL_CREATE, ACL_TOPIC, names[i], text));
            ok = false; /* one stands for all: they have one pattern, or are few */
        } else if (errs[i].kind != ERR_NONE) {
            check_failed(side->check, &errs[i]);
            ok = false;
        }
    }
    free(errs);
    return ok;
}

static bool split_and_tell(const struct side *side, struct asked *asked,
                           const enum acl_operation *operations)
{
    const char **absent = must(calloc(asked->count + 1, sizeof(*absent)));
    size_t absent_count = 0;
    size_t kept = 0;
    for (size_t i = 0; i < asked->count; i++) {
        if (asked->rights[i].err.code == 3 || acl_refusal(asked->rights[i].err.code)) {
            absent[absent_count++] = asked->rights[i].topic; /* or not to be told apart */
        }
        if (asked->rights[i].err.code != 3) {
            asked->rights[kept++] = asked->rights[i];
        }
    }
    asked->count = kept;
    bool ok = tell_topics(side, asked, operations);
    ok = may_create(side, absent, absent_count) && ok;
    free(absent);
    return ok;
}

static bool target_topics(const struct side *side, const struct names *names)
{
    struct asked asked = {.rights = NULL};
    ask_all(&asked, side->check->context->service, names);
    bool ok =
        ask(side, &asked) && split_and_tell(side, &asked, permissions_of_topics(PERMISSION_TARGET));
    free(asked.rights);
    return ok;
}

static bool control_topic(const struct side *side, enum permission_role role)
{
    char name[CONTROL_TOPIC_BYTES];
    struct asked asked = {.rights = NULL};
    ask_for(&asked, control_topic_name(side->check->context->service->name, name));
    bool ok = ask(side, &asked) && split_and_tell(side, &asked, permissions_of_control(role));
    free(asked.rights);
    return ok;
}

/* Where a failover's hints stand. */
static bool hints_topic(const struct side *side, const enum acl_operation *operations, bool create)
{
    const struct context *context = side->check->context;
    char name[PERMISSIONS_NAME_BYTES];
    const char *const names[] = {name};
    struct asked asked = {.rights = NULL};
    if (!permissions_groups_wanted(context->service, context->to)) {
        return true;
    }
    snprintf(name, sizeof(name), "ferry.hints.%s", context->service->name);
    ask_for(&asked, name);
    bool ok = ask(side, &asked);
    if (ok && asked.rights[0].err.code == 3) { /* it may be described, and there is none yet */
        ok = !create || may_create(side, names, 1);
    } else if (ok) {
        ok = tell_topics(side, &asked, operations);
    }
    free(asked.rights);
    return ok;
}

/* --- groups ------------------------------------------------------------------------------------------------------- */

/* A name that the pattern covers; nobody needs to have a group of it. */
static bool one_group(const struct side *side, const struct config_pattern *pattern, bool commit)
{
    enum acl_pattern kind;
    char resource[PERMISSIONS_NAME_BYTES];
    char name[PERMISSIONS_NAME_BYTES];
    char text[ACL_LACKS_BYTES];
    struct err err = {0};
    if (!permissions_group_resource(pattern, &kind, resource)) {
        return true; /* --print-acls has a note about it */
    }
    bool all = strcmp(resource, "*") == 0;
    snprintf(name, sizeof(name), "%s", all ? "ferry-check" : resource);
    if (admin_group_allowed(side->admin, name, commit, &err)) {
        return true;
    }
    if (acl_refusal(err.code)) {
        missing(side, CHECK_REFUSED,
                acl_lacks(side->principal, commit ? ACL_READ : ACL_DESCRIBE, ACL_GROUP, resource,
                          text));
    } else {
        check_failed(side->check, &err);
    }
    return false;
}

static bool groups(const struct side *side, bool commit)
{
    const struct context *context = side->check->context;
    const struct config_service *service = context->service;
    bool ok = true;
    if (!permissions_groups_wanted(service, context->to)) {
        return true;
    }
    for (size_t i = 0; i < service->groups.include_count; i++) {
        ok = one_group(side, &service->groups.include[i], commit) && ok;
    }
    return ok;
}

/* --- writers, cluster --------------------------------------------------------------------------------------------- */

/* A cluster makes its topic of transactions when it is first asked: 1 to 2 s. */
#define WRITER_MS 5000

static bool writer(const struct side *side, const char *role, bool *out_none)
{
    char id[320];
    struct err err = {0};
    if (side->site->kafka.single_writer) {
        return true; /* no transactions */
    }
    snprintf(id, sizeof(id), "ferry-%s-%s", role, side->check->context->service->name);
    admin_timeout(side->admin, WRITER_MS);
    bool allowed = admin_writer_allowed(side->admin, id, &err);
    admin_timeout(side->admin, side->check->context->timeout_ms);
    if (allowed) {
        return true;
    }
    if (acl_refusal(err.code)) {
        char text[ACL_LACKS_BYTES];
        missing(side, CHECK_REFUSED,
                acl_lacks(side->principal, ACL_WRITE, ACL_TRANSACTIONAL_ID, id, text));
    } else if (err.code == KAFKA_COORDINATOR_NOT_AVAILABLE) {
        check_found(side->check, CHECK_REFUSED, err.what,
                    "a cluster that takes no transactions wants \"control\": \"single-writer\" "
                    "(docs/control.md)");
        *out_none = true;
    } else {
        check_failed(side->check, &err);
    }
    return false;
}

static bool writers(const struct side *side)
{
    bool none = false;
    bool ok = writer(side, "keeper", &none);
    return (none || writer(side, "op", &none)) && ok; /* no transactions at all: said once */
}

static bool cluster_rights(const struct side *side, const enum acl_operation *wanted)
{
    uint32_t operations = 0;
    struct err err = {0};
    char text[ACL_LACKS_BYTES];
    if (!admin_cluster_rights(side->admin, &operations, &err)) {
        check_failed(side->check, &err);
        return false;
    }
    bool ok = true;
    for (; *wanted != 0; wanted++) {
        /* Without Describe, which Alter includes, the cluster does not tell of the others. */
        if (!acl_may(operations, *wanted) &&
            (operations != 0 || acl_includes(*wanted, ACL_DESCRIBE))) {
            missing(side, CHECK_WARNING,
                    acl_lacks(side->principal, *wanted, ACL_CLUSTER, ACL_CLUSTER_NAME, text));
            ok = false;
        }
    }
    return ok;
}

/* What `ferry acls` asks of the source. */
static bool source_cluster(const struct side *side)
{
    static const enum acl_operation wanted[] = {ACL_DESCRIBE, 0};
    const struct config_service *service = side->check->context->service;
    return (!service->acl_topics && !service->acl_groups) || cluster_rights(side, wanted);
}

static void fine(const struct side *side, const char *who, bool ok)
{
    char what[ROOM_BYTES];
    if (ok) {
        snprintf(what, sizeof(what), "%.100s: %s (%s) has every ACL that is asked for",
                 side->site->name, who, side->principal);
        check_found_as(side->check, CHECK_NAME, CHECK_OK, what, "");
    }
}

/* First: whoever is not would be waited for at each question. */
static bool is_let_in(const struct side *side, const char *who)
{
    char id[64];
    int32_t brokers_count;
    struct err err = {0};
    if (admin_cluster_id(side->admin, id, &brokers_count, &err)) {
        return true;
    }
    err_wrap(&err, "%s (%.200s)", who, side->principal);
    if (admin_not_signed_in(&err)) {
        check_found_as(side->check, CHECK_NAME, CHECK_REFUSED, err.what, err.hint);
    } else {
        check_failed(side->check, &err);
    }
    return false;
}

static void check_operator(struct check *check)
{
    const struct config_site *site = check->context->to;
    struct err err = {0};
    struct side side = {.check = check, .site = site};
    static const enum acl_operation wanted[] = {ACL_ALTER, ACL_DESCRIBE_CONFIGS, 0};
    if (site->operator_kafka == NULL) {
        return;
    }
    acl_principal(site->operator_kafka, side.principal);
    side.admin = admin_new(site->name, site->operator_kafka, check->context->timeout_ms, &err);
    if (side.admin == NULL) {
        err_wrap(&err, "the operator");
        check_failed(check, &err);
        return;
    }
    if (!is_let_in(&side, "the operator")) {
        admin_free(side.admin);
        return;
    }
    static const enum acl_operation hints[] = {ACL_CREATE, ACL_WRITE, 0};
    bool ok = control_topic(&side, PERMISSION_OPERATOR);
    ok = hints_topic(&side, hints, true) && ok;
    ok = writers(&side) && ok;
    ok = cluster_rights(&side, wanted) && ok;
    fine(&side, "the operator", ok);
    admin_free(side.admin);
}

void check_permissions(struct check *check)
{
    struct context *context = check->context;
    struct err err = {0};
    struct names names = {.source = NULL};
    struct side source = {.check = check, .site = context->from};
    struct side target = {.check = check, .site = context->to};
    acl_principal(&context->from->kafka, source.principal);
    acl_principal(&context->to->kafka, target.principal);
    source.admin = check->source_answers ? context_source(context, NULL) : NULL;
    target.admin = check->target_answers ? context_target(context, NULL) : NULL;
    if (source.admin != NULL &&
        !admin_list_topics(source.admin, &names.source, &names.source_count, &err)) {
        check_failed(check, &err);
        source.admin = NULL;
    }
    if (target.admin != NULL &&
        !admin_list_topics(target.admin, &names.target, &names.target_count, &err)) {
        check_failed(check, &err);
        target.admin = NULL;
    }
    if (source.admin != NULL) {
        bool ok = source_topics(&source, &names);
        ok = groups(&source, false) && ok;
        fine(&source, "the mirror", source_cluster(&source) && ok);
    }
    if (target.admin != NULL) {
        bool ok = target_topics(&target, &names);
        static const enum acl_operation hints[] = {ACL_READ, ACL_CREATE, ACL_WRITE, 0};
        static const enum acl_operation hints_read[] = {ACL_READ, 0};
        bool acts = context->to->operator_kafka == NULL;
        ok = control_topic(&target, PERMISSION_TARGET) && ok;
        ok = hints_topic(&target, acts ? hints : hints_read, acts) && ok;
        ok = groups(&target, true) && ok;
        ok = writers(&target) && ok;
        fine(&target, "the mirror", ok);
        check_operator(check);
    }
    free(names.source);
    free(names.target);
}

/* --- Redis -------------------------------------------------------------------------------------------------------- */

/* Redis 7 tells a script what its user may call without calling it. Older ones: then nothing is said. */
static const char ask_commands[] =
    "if not redis.acl_check_cmd then return {} end\n"
    "local no = {}\n"
    "for _, name in ipairs(ARGV) do\n"
    "  local args = {name, KEYS[1], 'x', 'x', 'x'}\n"
    "  if name == 'select' then args = {name, '0'} end\n"
    "  if name == 'info' or name == 'time' or name == 'ping' then args = {name} end\n"
    "  if name == 'del' or name == 'hlen' or name == 'get' then args = {name, KEYS[1]} end\n"
    "  if name == 'set' or name == 'pexpire' then args = {name, KEYS[1], '1'} end\n"
    "  if name == 'eval' or name == 'evalsha' then args = {name, 'x', '1', KEYS[1]} end\n"
    "  local ok, may = pcall(redis.acl_check_cmd, unpack(args))\n"
    "  if ok and not may then no[#no + 1] = name end\n"
    "end\n"
    "return no\n";

static void tell_commands(struct check *check, const redisReply *reply)
{
    char names[400] = "";
    size_t used = 0;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        const redisReply *name = reply->element[i];
        if (name->type == REDIS_REPLY_STRING && used < sizeof(names)) {
            used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%.40s",
                                     used > 0 ? ", " : "", name->str);
        }
    }
    if (used > 0) {
        char what[ROOM_BYTES];
        char next[200];
        const struct side side = {.check = check};
        const char *user = check->context->to->redis->username;
        snprintf(what, sizeof(what),
                 "Redis at %.100s: user %.100s may not call %s on keys of the service",
                 check->context->to->name, user == NULL ? "default" : user, names);
        check_found_as(check, CHECK_NAME, CHECK_REFUSED, what, next_step(&side, next));
    }
}

void check_redis_permissions(struct check *check)
{
    const char *argv[64] = {"EVAL", ask_commands, "1"};
    int argc = 3;
    struct err err = {0};
    char *key = context_key(check->context, "meta");
    argv[argc++] = key;
    for (const char *const *command = permissions_redis; *command != NULL; command++) {
        argv[argc++] = *command;
    }
    struct redisReply *reply = redis_sync_call(check->context->redis, argc, argv, NULL, &err);
    if (reply == NULL) {
        check_failed(check, &err);
    } else {
        tell_commands(check, reply);
    }
    freeReplyObject(reply); /* NULL is fine */
    free(key);
}
