#include "failover/acl_sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/json.h"

#define ENTRY_FIELDS 7
#define EVERYBODY    "User:*"

static const char why_own[] = "Ferry's own principal";
static const char why_excluded[] = "acl_sync.exclude names the principal";
static const char why_everybody[] = "a DENY for User:* would stop Ferry too";
static const char why_denied[] = "a DENY that bounds it at the source is not copied";
static const char why_unknown[] = "an operation that Ferry does not know";
static const char why_first[] =
    "no ACL of the target concerns it yet, and allow.everyone.if.no.acl.found may let everybody "
    "use it: the first one would lock the others out";

/* --- the record --------------------------------------------------------------------------------------------------- */

static bool parse_permission(const char *name, enum acl_permission *out)
{
    bool deny = strcmp(name, "Deny") == 0;
    *out = deny ? ACL_DENY : ACL_ALLOW;
    return deny || strcmp(name, "Allow") == 0;
}

static void take_entry(const json_t *entry, struct acl_list *out)
{
    const char *texts[ENTRY_FIELDS];
    struct acl acl;
    for (size_t i = 0; i < ENTRY_FIELDS; i++) {
        texts[i] = json_string_value(json_array_get(entry, i));
        if (texts[i] == NULL || texts[i][0] == '\0') {
            return;
        }
    }
    if (parse_permission(texts[0], &acl.permission) &&
        acl_operation_parse(texts[1], &acl.operation) &&
        acl_resource_parse(texts[2], &acl.resource) && acl_pattern_parse(texts[3], &acl.pattern)) {
        acl.name = (char *)(uintptr_t)texts[4];
        acl.principal = (char *)(uintptr_t)texts[5];
        acl.host = (char *)(uintptr_t)texts[6];
        acl_list_add(out, &acl);
    }
}

static void take_entries(const json_t *entries, struct acl_list *out)
{
    size_t index;
    json_t *entry;
    json_array_foreach (entries, index, entry) {
        take_entry(entry, out);
    }
    acl_list_sort(out);
}

static json_t *parse_record(const char *record_json)
{
    return record_json == NULL ? NULL : json_parse(record_json, strlen(record_json), "acls", NULL);
}

void acl_sync_parse(const char *record_json, struct acl_sync_record *out)
{
    json_t *record = parse_record(record_json);
    *out = (struct acl_sync_record){.ours = {.acls = NULL}};
    take_entries(json_object_get(record, "ours"), &out->ours);
    take_entries(json_object_get(record, "withheld"), &out->withheld);
    json_decref(record);
}

void acl_sync_record_done(struct acl_sync_record *record)
{
    acl_list_free(&record->ours);
    acl_list_free(&record->withheld);
}

json_t *acl_sync_entries(const struct acl_list *list)
{
    json_t *out = json_array();
    for (size_t i = 0; i < list->count; i++) {
        const struct acl *acl = &list->acls[i];
        json_array_append_new(
            out, json_pack("[sssssss]", acl->permission == ACL_DENY ? "Deny" : "Allow",
                           acl_operation_name(acl->operation), acl_resource_name(acl->resource),
                           acl_pattern_name(acl->pattern), acl->name, acl->principal, acl->host));
    }
    return out;
}

char *acl_sync_line(const char *record_json, char out[ACL_SYNC_LINE_BYTES])
{
    json_t *record = parse_record(record_json);
    const char *when = json_string_value(json_object_get(record, "time"));
    out[0] = '\0';
    if (record != NULL) {
        snprintf(out, ACL_SYNC_LINE_BYTES, "%zu copied, %zu withheld; changed %.100s",
                 json_array_size(json_object_get(record, "ours")),
                 json_array_size(json_object_get(record, "withheld")),
                 when == NULL ? "at an unknown time" : when);
    }
    json_decref(record);
    return out;
}

/* --- what concerns the service ------------------------------------------------------------------------------------ */

struct making {
    const struct acl_sync_facts *facts;
    const struct acl_sync_record *before;
    struct acl_sync_plan *plan;
    struct acl_list denies; /* of the source, not copied: what they bound is not copied either */
};

struct kind { /* topics or groups */
    const struct config_patterns *patterns;
    const char *const *names;
    size_t count;
};

static bool kind_of(const struct acl_sync_facts *facts, enum acl_resource resource,
                    struct kind *out)
{
    const struct config_service *service = facts->service;
    bool topic = resource == ACL_TOPIC;
    *out = topic ? (struct kind){&service->topics, facts->topics, facts->topics_count}
                 : (struct kind){&service->groups, facts->groups, facts->groups_count};
    return (topic && service->acl_topics) || (resource == ACL_GROUP && service->acl_groups);
}

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_wildcard(const struct acl *acl)
{
    return acl->pattern == ACL_LITERAL && strcmp(acl->name, "*") == 0;
}

/* May a name that begins so be a reserved one? */
static bool near_reserved(const char *prefix)
{
    static const char *const reserved[] = {"ferry.", "ferry-", "__"};
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        if (begins(prefix, reserved[i]) || begins(reserved[i], prefix)) {
            return true;
        }
    }
    return false;
}

/* Does every name that begins so belong to the service? Excluded names are looked for nowhere: any exclude makes it no. */
static bool prefix_belongs(const struct kind *kind, const char *prefix)
{
    if (kind->patterns->exclude_count > 0 || near_reserved(prefix)) {
        return false;
    }
    for (size_t i = 0; i < kind->patterns->include_count; i++) {
        const struct config_pattern *pattern = &kind->patterns->include[i];
        size_t plain = pattern->kind == PATTERN_GLOB ? strcspn(pattern->text, "*?") : 0;
        if (pattern->kind == PATTERN_GLOB && strcmp(pattern->text + plain, "*") == 0 &&
            strncmp(prefix, pattern->text, plain) == 0) {
            return true;
        }
    }
    return false;
}

/* Have both a name in common? */
static bool overlap(const struct acl *a, const struct acl *b)
{
    if (a->resource != b->resource) {
        return false;
    }
    if (is_wildcard(a) || is_wildcard(b)) {
        return true;
    }
    if (a->pattern == ACL_PREFIXED && b->pattern == ACL_PREFIXED) {
        return begins(a->name, b->name) || begins(b->name, a->name);
    }
    return a->pattern == ACL_PREFIXED ? acl_concerns(a, a->resource, b->name)
                                      : acl_concerns(b, b->resource, a->name);
}

/* Would the DENY take something of what the ALLOW gives? An operation gives Describe beside itself; a DENY takes itself alone. */
static bool bounds(const struct acl *deny, const struct acl *allow)
{
    bool who = strcmp(deny->principal, allow->principal) == 0 ||
               strcmp(deny->principal, EVERYBODY) == 0 || strcmp(allow->principal, EVERYBODY) == 0;
    return who && overlap(deny, allow) &&
           (deny->operation == ACL_ALL || acl_includes(allow->operation, deny->operation));
}

static bool any_bounds(const struct making *making, const struct acl *allow)
{
    for (size_t i = 0; allow->permission == ACL_ALLOW && i < making->denies.count; i++) {
        if (bounds(&making->denies.acls[i], allow)) {
            return true;
        }
    }
    return false;
}

/* --- one entry ---------------------------------------------------------------------------------------------------- */

static void leave(struct making *making, const struct acl *acl, const char *why)
{
    struct acl_sync_plan *plan = making->plan;
    plan->whys = must_grow(plan->whys, plan->left.count, sizeof(*plan->whys));
    plan->whys[plan->left.count] = why;
    acl_list_add(&plan->left, acl);
    if (acl->permission == ACL_DENY && why != why_own) {
        acl_list_add(&making->denies, acl);
    }
}

/* Does an entry of the target concern every name that this one does? Then it takes nothing from anybody. */
static bool covered(const struct acl_list *target, const struct acl *acl)
{
    for (size_t i = 0; i < target->count; i++) {
        const struct acl *other = &target->acls[i];
        bool literal = acl->pattern == ACL_LITERAL || other->pattern == ACL_PREFIXED;
        if (other->resource == acl->resource && (is_wildcard(other) || literal) &&
            acl_concerns(other, acl->resource, acl->name)) {
            return true;
        }
    }
    return false;
}

static void copy(struct making *making, const struct acl *acl)
{
    const struct acl_sync_facts *facts = making->facts;
    if (any_bounds(making, acl)) {
        leave(making, acl, why_denied);
    } else if (facts->first_closes && !covered(facts->target, acl)) {
        leave(making, acl, why_first);
    } else {
        acl_list_add(&making->plan->record.ours, acl);
    }
}

static void copy_as(struct making *making, const struct acl *acl, enum acl_operation operation)
{
    struct acl one = *acl;
    one.operation = operation;
    copy(making, &one);
}

/* @param acl  as it would stand at the target */
static void split(struct making *making, const struct acl *acl)
{
    switch (acl->operation) {
    case ACL_READ:
    case ACL_DESCRIBE:
    case ACL_DESCRIBE_CONFIGS:
        copy(making, acl);
        break;
    case ACL_ALL:
        if (acl->permission == ACL_DENY) {
            copy(making, acl);
            break;
        }
        copy_as(making, acl, ACL_READ);
        if (acl->resource == ACL_TOPIC) {
            copy_as(making, acl, ACL_DESCRIBE_CONFIGS);
        }
        acl_list_add(&making->plan->record.withheld, acl);
        break;
    case ACL_WRITE:
    case ACL_CREATE:
    case ACL_DELETE:
    case ACL_ALTER:
    case ACL_ALTER_CONFIGS:
        acl_list_add(&making->plan->record.withheld, acl);
        break;
    case ACL_CLUSTER_ACTION:
    case ACL_IDEMPOTENT_WRITE:
    default:
        leave(making, acl, why_unknown);
        break;
    }
}

/* What is nobody's business at the target, whatever it says. */
static const char *never(const struct making *making, const struct acl *acl)
{
    const struct acl_sync_facts *facts = making->facts;
    for (size_t i = 0; i < facts->own_count; i++) {
        if (strcmp(facts->own[i], acl->principal) == 0) {
            return why_own;
        }
    }
    if (config_principal_excluded(facts->service, acl->principal)) {
        return why_excluded;
    }
    return acl->permission == ACL_DENY && strcmp(acl->principal, EVERYBODY) == 0 ? why_everybody
                                                                                 : NULL;
}

static bool full(const struct making *making)
{
    const struct acl_sync_record *record = &making->plan->record;
    return record->ours.count + record->withheld.count + making->plan->left.count > ACL_SYNC_MOST;
}

/* The entry as it would stand at the target: as it is, or once for each name that it concerns. */
static void spread(struct making *making, const struct kind *kind, const struct acl *acl)
{
    bool literal = acl->pattern == ACL_LITERAL && !is_wildcard(acl);
    struct acl one = *acl;
    if (literal ||
        (prefix_belongs(kind, acl->name) && !is_wildcard(acl) && !any_bounds(making, acl))) {
        split(making, acl);
        return;
    }
    one.pattern = ACL_LITERAL;
    for (size_t i = 0; i < kind->count && !full(making); i++) {
        if (acl_concerns(acl, acl->resource, kind->names[i])) {
            one.name = (char *)(uintptr_t)kind->names[i];
            split(making, &one);
        }
    }
}

static bool concerns(const struct kind *kind, const struct acl *acl)
{
    if (acl->pattern == ACL_LITERAL && !is_wildcard(acl)) {
        return config_patterns_match(kind->patterns, acl->name);
    }
    bool any = acl->pattern == ACL_PREFIXED && prefix_belongs(kind, acl->name);
    for (size_t i = 0; !any && i < kind->count; i++) {
        any = acl_concerns(acl, acl->resource, kind->names[i]);
    }
    return any;
}

static void take(struct making *making, const struct acl *acl)
{
    struct kind kind;
    if (!kind_of(making->facts, acl->resource, &kind) || !concerns(&kind, acl)) {
        return;
    }
    const char *why = never(making, acl);
    making->plan->found += why != why_own ? 1 : 0;
    if (why != NULL) {
        leave(making, acl, why);
    } else {
        spread(making, &kind, acl);
    }
}

/* --- the plan ----------------------------------------------------------------------------------------------------- */

/* Every DENY first: an ALLOW is judged by those that are not copied. */
static void take_all(struct making *making, enum acl_permission permission)
{
    const struct acl_list *source = making->facts->source;
    for (size_t i = 0; i < source->count && !full(making); i++) {
        if (source->acls[i].permission == permission) {
            take(making, &source->acls[i]);
        }
    }
}

/* What stands at the target and is not recorded as ours is somebody else's, and stays. */
static void set_theirs_apart(struct making *making)
{
    struct acl_list *ours = &making->plan->record.ours;
    struct acl_list known = {.acls = NULL};
    struct acl_list kept = {.acls = NULL};
    acl_list_missing(making->facts->target, &making->before->ours, &known); /* others' */
    acl_list_missing(ours, &known, &kept);
    acl_list_missing(ours, &kept, &making->plan->theirs);
    acl_list_free(ours);
    acl_list_free(&known);
    *ours = kept;
}

static void reverse(struct acl_list *list)
{
    for (size_t i = 0; i < list->count / 2; i++) {
        struct acl *a = &list->acls[i];
        struct acl *b = &list->acls[list->count - 1 - i];
        struct acl one = *a;
        *a = *b;
        *b = one;
    }
}

static bool bounded(const struct making *making, struct err *err)
{
    if (full(making)) {
        err_set(err, ERR_REFUSED, "the ACLs of the source would be more than %d entries here",
                ACL_SYNC_MOST);
        return err_hint(err, "name principals in acl_sync.exclude, or split the service");
    }
    if (making->plan->found == 0 && making->before->ours.count > 0) {
        err_set(
            err, ERR_REFUSED,
            "the source has no ACL about the service any more, and %zu are copied: they are not "
            "taken away for that",
            making->before->ours.count);
        return err_hint(err, "if it is meant so: ferry acls remove %s",
                        making->facts->service->name);
    }
    return true;
}

bool acl_sync_plan(const struct acl_sync_facts *facts, const struct acl_sync_record *before,
                   struct acl_sync_plan *out, struct err *err)
{
    struct making making = {.facts = facts, .before = before, .plan = out};
    *out = (struct acl_sync_plan){.found = 0};
    take_all(&making, ACL_DENY);
    take_all(&making, ACL_ALLOW);
    acl_list_free(&making.denies);
    if (!bounded(&making, err)) {
        return false;
    }
    acl_list_sort(&out->record.ours);
    acl_list_sort(&out->record.withheld);
    set_theirs_apart(&making);
    acl_list_missing(&out->record.ours, facts->target, &out->to_create);
    acl_list_missing(&before->ours, &out->record.ours, &out->to_delete);
    acl_list_sort(&out->to_delete);
    reverse(&out->to_delete);
    return true;
}

void acl_sync_plan_done(struct acl_sync_plan *plan)
{
    acl_sync_record_done(&plan->record);
    acl_list_free(&plan->theirs);
    acl_list_free(&plan->left);
    acl_list_free(&plan->to_create);
    acl_list_free(&plan->to_delete);
    free(plan->whys);
}
