#include "kafka/admin_acls.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/admin_inside.h"

#ifndef __clang__
/* gcc's analyzer forgets what was stored under an index that it cannot compute, and calls it a leak; the tests run with
 * leak checks. */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

#define ACLS_AT_ONCE   500 /* an entry is some 300 bytes: 150 KB a request */
#define TOPICS_AT_ONCE 500

_Static_assert((int)ACL_TOPIC == RD_KAFKA_RESOURCE_TOPIC &&
                   (int)ACL_GROUP == RD_KAFKA_RESOURCE_GROUP &&
                   (int)ACL_TRANSACTIONAL_ID == RD_KAFKA_RESOURCE_TRANSACTIONAL_ID,
               "both are the protocol's");
_Static_assert((int)ACL_LITERAL == RD_KAFKA_RESOURCE_PATTERN_LITERAL &&
                   (int)ACL_PREFIXED == RD_KAFKA_RESOURCE_PATTERN_PREFIXED,
               "both are the protocol's");
_Static_assert((int)ACL_READ == RD_KAFKA_ACL_OPERATION_READ &&
                   (int)ACL_IDEMPOTENT_WRITE == RD_KAFKA_ACL_OPERATION_IDEMPOTENT_WRITE &&
                   (int)ACL_DENY == RD_KAFKA_ACL_PERMISSION_TYPE_DENY &&
                   (int)ACL_ALLOW == RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
               "both are the protocol's");

/* ---- lists ---- */

void acl_list_add(struct acl_list *list, const struct acl *acl)
{
    list->acls = must_grow(list->acls, list->count, sizeof(*list->acls));
    struct acl *own = &list->acls[list->count++];
    *own = *acl;
    own->name = must(strdup(acl->name));
    own->principal = must(strdup(acl->principal));
    own->host = must(strdup(acl->host));
}

static void acl_done(struct acl *acl)
{
    free(acl->name);
    free(acl->principal);
    free(acl->host);
}

void acl_list_free(struct acl_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        acl_done(&list->acls[i]);
    }
    free(list->acls);
    *list = (struct acl_list){0};
}

/* The protocol's number of DENY is the smaller one. */
static int acl_compare(const void *left, const void *right)
{
    const struct acl *a = left;
    const struct acl *b = right;
    const int orders[] = {(int)a->permission - (int)b->permission,
                          (int)a->resource - (int)b->resource,
                          strcmp(a->name, b->name),
                          (int)a->pattern - (int)b->pattern,
                          strcmp(a->principal, b->principal),
                          (int)a->operation - (int)b->operation,
                          strcmp(a->host, b->host)};
    size_t at = 0;
    while (at + 1 < sizeof(orders) / sizeof(orders[0]) && orders[at] == 0) {
        at++;
    }
    return orders[at];
}

bool acl_equal(const struct acl *a, const struct acl *b)
{
    return acl_compare(a, b) == 0;
}

bool acl_list_has(const struct acl_list *list, const struct acl *acl)
{
    for (size_t i = 0; i < list->count; i++) {
        if (acl_equal(&list->acls[i], acl)) {
            return true;
        }
    }
    return false;
}

void acl_list_sort(struct acl_list *list)
{
    size_t kept = 0;
    if (list->count > 1) {
        qsort(list->acls, list->count, sizeof(*list->acls), acl_compare);
    }
    for (size_t i = 0; i < list->count; i++) {
        if (kept > 0 && acl_equal(&list->acls[kept - 1], &list->acls[i])) {
            acl_done(&list->acls[i]);
        } else {
            list->acls[kept++] = list->acls[i];
        }
    }
    list->count = kept;
}

void acl_list_missing(const struct acl_list *wanted, const struct acl_list *there,
                      struct acl_list *out)
{
    struct acl_list sorted = {.acls = must(calloc(there->count + 1, sizeof(*sorted.acls))),
                              .count = there->count};
    *out = (struct acl_list){0};
    for (size_t i = 0; i < there->count; i++) {
        sorted.acls[i] = there->acls[i]; /* texts are borrowed */
    }
    qsort(sorted.acls, sorted.count, sizeof(*sorted.acls), acl_compare);
    for (size_t i = 0; i < wanted->count; i++) {
        if (!bsearch(&wanted->acls[i], sorted.acls, sorted.count, sizeof(*sorted.acls),
                     acl_compare)) {
            acl_list_add(out, &wanted->acls[i]);
        }
    }
    free(sorted.acls);
}

bool acl_concerns(const struct acl *acl, enum acl_resource resource, const char *name)
{
    if (acl->resource != resource) {
        return false;
    }
    if (acl->pattern == ACL_PREFIXED) {
        return strncmp(name, acl->name, strlen(acl->name)) == 0;
    }
    return strcmp(acl->name, "*") == 0 || strcmp(acl->name, name) == 0;
}

/* ---- one call ---- */

/* What is asked needs Describe of the cluster, what is changed Alter. */
static bool failed(struct admin *admin, struct err *err, int code, const char *what,
                   const char *text, enum acl_operation needs)
{
    char lacks[ACL_LACKS_BYTES];
    return admin_failed(
        admin, err, code, what,
        client_why(admin->client, code, text, needs, ACL_CLUSTER, ACL_CLUSTER_NAME, lacks));
}

static bool call_ok(struct admin_call *call, const char *what, enum acl_operation needs,
                    struct err *err)
{
    struct err why = {0};
    if (admin_call_wait(call, what, &why)) {
        return true;
    }
    if (acl_refusal(why.code)) {
        return failed(call->admin, err, why.code, what, NULL, needs);
    }
    if (err) {
        *err = why;
    }
    return false;
}

/* ---- change ---- */

static rd_kafka_AclBinding_t *binding(const struct acl *acl, bool filter)
{
    char why[256];
    rd_kafka_AclBinding_t *made =
        (filter ? rd_kafka_AclBindingFilter_new : rd_kafka_AclBinding_new)(
            (rd_kafka_ResourceType_t)acl->resource, acl->name,
            (rd_kafka_ResourcePatternType_t)acl->pattern, acl->principal, acl->host,
            (rd_kafka_AclOperation_t)acl->operation, (rd_kafka_AclPermissionType_t)acl->permission,
            why, sizeof(why));
    assert(made && "every field is given");
    return made;
}

static bool create_some(struct admin *admin, rd_kafka_AclBinding_t **wants, size_t count,
                        struct err *err)
{
    struct admin_call call;
    size_t results_count = 0;
    const rd_kafka_acl_result_t **results = NULL;
    admin_call_begin(&call, admin, RD_KAFKA_ADMIN_OP_CREATEACLS);
    rd_kafka_CreateAcls(client_handle(admin->client), wants, count, call.options, call.queue);
    bool ok = call_ok(&call, "create ACLs", ACL_ALTER, err);
    if (ok) {
        results = rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(call.event),
                                                  &results_count);
    }
    for (size_t i = 0; ok && i < results_count; i++) {
        const rd_kafka_error_t *error = rd_kafka_acl_result_error(results[i]);
        ok = !error || failed(admin, err, rd_kafka_error_code(error), "create ACLs",
                              rd_kafka_error_string(error), ACL_ALTER);
    }
    admin_call_done(&call);
    return ok;
}

static bool delete_some(struct admin *admin, rd_kafka_AclBinding_t **wants, size_t count,
                        struct err *err)
{
    struct admin_call call;
    size_t results_count = 0;
    const rd_kafka_DeleteAcls_result_response_t **results = NULL;
    admin_call_begin(&call, admin, RD_KAFKA_ADMIN_OP_DELETEACLS);
    rd_kafka_DeleteAcls(client_handle(admin->client), wants, count, call.options, call.queue);
    bool ok = call_ok(&call, "delete ACLs", ACL_ALTER, err);
    if (ok) {
        results = rd_kafka_DeleteAcls_result_responses(rd_kafka_event_DeleteAcls_result(call.event),
                                                       &results_count);
    }
    for (size_t i = 0; ok && i < results_count; i++) {
        const rd_kafka_error_t *error = rd_kafka_DeleteAcls_result_response_error(results[i]);
        ok = !error || failed(admin, err, rd_kafka_error_code(error), "delete ACLs",
                              rd_kafka_error_string(error), ACL_ALTER);
    }
    admin_call_done(&call);
    return ok;
}

static bool change(struct admin *admin, const struct acl_list *list, bool remove, struct err *err)
{
    bool ok = true;
    for (size_t at = 0; ok && at < list->count; at += ACLS_AT_ONCE) {
        size_t count = list->count - at < ACLS_AT_ONCE ? list->count - at : ACLS_AT_ONCE;
        rd_kafka_AclBinding_t **wants = must(calloc(count, sizeof(rd_kafka_AclBinding_t *)));
        for (size_t i = 0; i < count; i++) {
            wants[i] = binding(&list->acls[at + i], remove);
        }
        ok = (remove ? delete_some : create_some)(admin, wants, count, err);
        rd_kafka_AclBinding_destroy_array(wants, count);
        free(wants);
    }
    return ok;
}

bool admin_acls_create(struct admin *admin, const struct acl_list *list, struct err *err)
{
    return change(admin, list, false, err);
}

bool admin_acls_delete(struct admin *admin, const struct acl_list *list, struct err *err)
{
    return change(admin, list, true, err);
}

/* ---- what we may do ---- */

bool acl_may(uint32_t operations, enum acl_operation operation)
{
    return (operations & (1u << (unsigned)operation)) != 0;
}

static uint32_t bits(const rd_kafka_AclOperation_t *operations, size_t count)
{
    uint32_t out = 0;
    for (size_t i = 0; operations && i < count; i++) {
        out |=
            (int)operations[i] >= 0 && (int)operations[i] < 32 ? 1u << (unsigned)operations[i] : 0;
    }
    return out;
}

static void want_rights(struct admin_call *call)
{
    rd_kafka_error_t *refused =
        rd_kafka_AdminOptions_set_include_authorized_operations(call->options, 1);
    assert(!refused);
    (void)refused;
}

static void take_rights(struct admin *admin, const rd_kafka_TopicDescription_t *found,
                        struct admin_rights *rights)
{
    char what[320];
    char lacks[ACL_LACKS_BYTES];
    size_t count = 0;
    const rd_kafka_error_t *error = rd_kafka_TopicDescription_error(found);
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    rights->operations = 0;
    rights->told = false;
    rights->err = (struct err){0};
    if (code) {
        snprintf(what, sizeof(what), "topic '%s'", rights->topic);
        admin_failed(admin, &rights->err, code, what,
                     client_why(admin->client, code, rd_kafka_error_string(error), ACL_DESCRIBE,
                                ACL_TOPIC, rights->topic, lacks));
        return;
    }
    const rd_kafka_AclOperation_t *operations =
        rd_kafka_TopicDescription_authorized_operations(found, &count);
    rights->operations = bits(operations, count);
    rights->told = operations != NULL;
}

/* Answers come in an order of their own. */
static void take_all_rights(struct admin *admin, const rd_kafka_TopicDescription_t **found,
                            size_t found_count, struct admin_rights *rights, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        err_set(&rights[i].err, ERR_RETRY, "%s: topic '%s': not in the answer", admin->site,
                rights[i].topic);
        for (size_t at = 0; at < found_count; at++) {
            const rd_kafka_TopicDescription_t *one = found[(i + at) % found_count];
            if (strcmp(rd_kafka_TopicDescription_name(one), rights[i].topic) == 0) {
                take_rights(admin, one, &rights[i]);
                break;
            }
        }
    }
}

static bool rights_of_some(struct admin *admin, struct admin_rights *rights, size_t count,
                           struct err *err)
{
    struct admin_call call;
    size_t found_count = 0;
    const char **names = must(calloc(count, sizeof(*names)));
    for (size_t i = 0; i < count; i++) {
        names[i] = rights[i].topic;
    }
    rd_kafka_TopicCollection_t *topics = rd_kafka_TopicCollection_of_topic_names(names, count);
    admin_call_begin(&call, admin, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
    want_rights(&call);
    rd_kafka_DescribeTopics(client_handle(admin->client), topics, call.options, call.queue);
    bool ok = admin_call_wait(&call, "describe topics", err);
    if (ok) {
        const rd_kafka_TopicDescription_t **found = rd_kafka_DescribeTopics_result_topics(
            rd_kafka_event_DescribeTopics_result(call.event), &found_count);
        take_all_rights(admin, found, found_count, rights, count);
    }
    admin_call_done(&call);
    rd_kafka_TopicCollection_destroy(topics);
    free(names);
    return ok;
}

bool admin_topic_rights(struct admin *admin, struct admin_rights *rights, size_t count,
                        struct err *err)
{
    bool ok = true;
    for (size_t at = 0; ok && at < count; at += TOPICS_AT_ONCE) {
        size_t some = count - at < TOPICS_AT_ONCE ? count - at : TOPICS_AT_ONCE;
        ok = rights_of_some(admin, rights + at, some, err);
    }
    return ok;
}

bool admin_cluster_rights(struct admin *admin, uint32_t *out, struct err *err)
{
    struct admin_call call;
    size_t count = 0;
    admin_call_begin(&call, admin, RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER);
    want_rights(&call);
    rd_kafka_DescribeCluster(client_handle(admin->client), call.options, call.queue);
    bool ok = admin_call_wait(&call, "describe cluster", err);
    if (ok) {
        const rd_kafka_AclOperation_t *operations =
            rd_kafka_DescribeCluster_result_authorized_operations(
                rd_kafka_event_DescribeCluster_result(call.event), &count);
        *out = bits(operations, count);
    }
    admin_call_done(&call);
    return ok;
}

/* ---- the authorizer ---- */

/* -1 = none, with err */
static int32_t any_broker(struct admin *admin, struct err *err)
{
    struct admin_call call;
    size_t count = 0;
    int32_t id = -1;
    admin_call_begin(&call, admin, RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER);
    rd_kafka_DescribeCluster(client_handle(admin->client), call.options, call.queue);
    if (admin_call_wait(&call, "describe cluster", err)) {
        const rd_kafka_Node_t **nodes = rd_kafka_DescribeCluster_result_nodes(
            rd_kafka_event_DescribeCluster_result(call.event), &count);
        id = count > 0 ? rd_kafka_Node_id(nodes[0]) : -1;
        if (id < 0) {
            err_set(err, ERR_RETRY, "%s: describe cluster: no broker", admin->site);
        }
    }
    admin_call_done(&call);
    return id;
}

static void take_setting(struct admin_authorizer *out, const char *name, const char *value)
{
    if (strcmp(name, "authorizer.class.name") == 0) {
        out->exists = value && value[0] != '\0';
    } else if (strcmp(name, "super.users") == 0) {
        out->super_users = true;
    } else if (strcmp(name, "allow.everyone.if.no.acl.found") == 0) {
        out->everyone = !value || strcmp(value, "false") != 0; /* NULL: hidden */
    }
}

static void take_broker(const rd_kafka_ConfigResource_t *resource, struct admin_authorizer *out)
{
    size_t count = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    out->known = rd_kafka_ConfigResource_error(resource) == RD_KAFKA_RESP_ERR_NO_ERROR;
    for (size_t i = 0; out->known && i < count; i++) {
        take_setting(out, rd_kafka_ConfigEntry_name(entries[i]),
                     rd_kafka_ConfigEntry_value(entries[i]));
    }
}

bool admin_authorizer(struct admin *admin, struct admin_authorizer *out, struct err *err)
{
    struct admin_call call;
    char name[16];
    size_t count = 0;
    *out = (struct admin_authorizer){0};
    int32_t broker = any_broker(admin, err);
    if (broker < 0) {
        return false;
    }
    snprintf(name, sizeof(name), "%d", broker);
    rd_kafka_ConfigResource_t *want = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_BROKER, name);
    admin_call_begin(&call, admin, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_DescribeConfigs(client_handle(admin->client), &want, 1, call.options, call.queue);
    bool ok = admin_call_wait(&call, "settings of a broker", err);
    if (ok) {
        const rd_kafka_ConfigResource_t **found = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(call.event), &count);
        if (count == 1) {
            take_broker(found[0], out);
        }
    }
    admin_call_done(&call);
    rd_kafka_ConfigResource_destroy(want);
    return ok;
}

/* ---- list ---- */

static bool may_list(struct admin *admin, struct err *err)
{
    struct admin_authorizer authorizer;
    uint32_t operations = 0;
    if (!admin_authorizer(admin, &authorizer, err) ||
        !admin_cluster_rights(admin, &operations, err)) {
        return false;
    }
    if (authorizer.known && !authorizer.exists) {
        return err_set_code(err, ERR_REFUSED, ACL_NO_AUTHORIZER, "%s: no authorizer", admin->site);
    }
    return acl_may(operations, ACL_DESCRIBE) ||
           failed(admin, err, RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, "describe ACLs", NULL,
                  ACL_DESCRIBE);
}

static void take_acl(const rd_kafka_AclBinding_t *found, struct acl_list *out)
{
    const char *name = rd_kafka_AclBinding_name(found);
    const char *principal = rd_kafka_AclBinding_principal(found);
    const char *host = rd_kafka_AclBinding_host(found);
    const struct acl acl = {
        .resource = (enum acl_resource)rd_kafka_AclBinding_restype(found),
        .pattern = (enum acl_pattern)rd_kafka_AclBinding_resource_pattern_type(found),
        .name = (char *)(uintptr_t)name,
        .principal = (char *)(uintptr_t)principal,
        .host = (char *)(uintptr_t)host,
        .operation = (enum acl_operation)rd_kafka_AclBinding_operation(found),
        .permission = (enum acl_permission)rd_kafka_AclBinding_permission_type(found)};
    if (name && principal && host) {
        acl_list_add(out, &acl);
    }
}

bool admin_acls(struct admin *admin, enum acl_resource resource, struct acl_list *out,
                struct err *err)
{
    struct admin_call call;
    char why[256];
    if (!may_list(admin, err)) {
        return false;
    }
    rd_kafka_AclBindingFilter_t *filter = rd_kafka_AclBindingFilter_new(
        (rd_kafka_ResourceType_t)resource, NULL, RD_KAFKA_RESOURCE_PATTERN_ANY, NULL, NULL,
        RD_KAFKA_ACL_OPERATION_ANY, RD_KAFKA_ACL_PERMISSION_TYPE_ANY, why, sizeof(why));
    assert(filter);
    admin_call_begin(&call, admin, RD_KAFKA_ADMIN_OP_DESCRIBEACLS);
    rd_kafka_DescribeAcls(client_handle(admin->client), filter, call.options, call.queue);
    bool ok = call_ok(&call, "describe ACLs", ACL_DESCRIBE, err);
    size_t count = 0;
    const rd_kafka_AclBinding_t **found =
        ok ? rd_kafka_DescribeAcls_result_acls(rd_kafka_event_DescribeAcls_result(call.event),
                                               &count)
           : NULL;
    *out = (struct acl_list){0};
    for (size_t i = 0; i < count; i++) {
        take_acl(found[i], out);
    }
    admin_call_done(&call);
    rd_kafka_AclBinding_destroy(filter);
    return ok;
}

/* ---- what we may create ---- */

static void take_created(struct admin *admin, struct admin_call *call, struct err *errs,
                         size_t errs_count)
{
    char what[320];
    char lacks[ACL_LACKS_BYTES];
    size_t count = 0;
    const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result(call->event), &count);
    for (size_t i = 0; i < count && i < errs_count; i++) { /* in our order */
        const char *name = rd_kafka_topic_result_name(results[i]);
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[i]);
        if (acl_refusal(code)) { /* whatever else is wrong with the question is not the question */
            snprintf(what, sizeof(what), "create topic '%s'", name);
            admin_failed(admin, &errs[i], code, what,
                         client_why(admin->client, code, NULL, ACL_CREATE, ACL_TOPIC, name, lacks));
        }
    }
}

void admin_may_create(struct admin *admin, const char *const *topics, size_t count,
                      struct err *errs)
{
    struct admin_call call;
    struct err err = {0};
    char why[256];
    rd_kafka_NewTopic_t **wants = must(calloc(count + 1, sizeof(rd_kafka_NewTopic_t *)));
    for (size_t i = 0; i < count; i++) {
        errs[i] = (struct err){0};
        wants[i] = rd_kafka_NewTopic_new(topics[i], 1, 1, why, sizeof(why));
        assert(wants[i] && "a name, one partition, one replica");
    }
    admin_call_begin(&call, admin, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_resp_err_t refused =
        rd_kafka_AdminOptions_set_validate_only(call.options, 1, why, sizeof(why));
    assert(!refused);
    (void)refused;
    if (count > 0) {
        rd_kafka_CreateTopics(client_handle(admin->client), wants, count, call.options, call.queue);
        if (admin_call_wait(&call, "ask which topics may be created", &err)) {
            take_created(admin, &call, errs, count);
        } else {
            for (size_t i = 0; i < count; i++) {
                errs[i] = err;
            }
        }
    }
    admin_call_done(&call);
    rd_kafka_NewTopic_destroy_array(wants, count);
    free(wants);
}
