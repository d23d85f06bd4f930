/* See admin.h: which topics there are, new ones, more partitions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kafka/admin_inside.h"

#include "base/heap.h"
#include "kafka/topic_id.h"

/* An answer of 500 topics * 100 partitions * 60 bytes = 3 MB; larger clusters take more requests. */
#define DESCRIBE_AT_ONCE 500
/* Between two looks at whether a new topic has its leaders: they are there after 20-100 ms. */
#define LEADER_POLL_MS 25

/* ---- describe ---- */

static bool all_led(const rd_kafka_TopicPartitionInfo_t **partitions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_Node_t *leader = rd_kafka_TopicPartitionInfo_leader(partitions[i]);
        if (!leader || rd_kafka_Node_id(leader) < 0) {
            return false;
        }
    }
    return count > 0;
}

/* Brokers before Kafka 2.8 have no ids. librdkafka knows the cluster's from its first metadata. */
static bool id_by_name(struct admin *admin, const char *name, struct uuid *out, struct err *err)
{
    char *cluster_id = rd_kafka_clusterid(client_handle(admin->client), admin->timeout_ms);
    if (cluster_id == NULL) {
        return err_set(err, ERR_RETRY, "%s: topic '%s': the cluster does not tell its id",
                       admin->site, name);
    }
    *out = topic_id_of_name(cluster_id, name);
    rd_kafka_mem_free(client_handle(admin->client), cluster_id);
    return true;
}

static void take_description(struct admin *admin, const rd_kafka_TopicDescription_t *found,
                             struct admin_description *out)
{
    char what[320];
    char lacks[ACL_LACKS_BYTES];
    size_t count = 0;
    size_t replicas_count = 0;
    const rd_kafka_error_t *error = rd_kafka_TopicDescription_error(found);
    const char *name = rd_kafka_TopicDescription_name(found);
    *out = (struct admin_description){0};
    snprintf(out->topic.name, sizeof(out->topic.name), "%s", name);
    if (rd_kafka_error_code(error)) {
        snprintf(what, sizeof(what), "topic '%s'", name);
        rd_kafka_resp_err_t code = rd_kafka_error_code(error);
        admin_failed(admin, &out->err, code, what,
                     client_why(admin->client, code, rd_kafka_error_string(error), ACL_DESCRIBE,
                                ACL_TOPIC, name, lacks));
        return;
    }
    const rd_kafka_TopicPartitionInfo_t **partitions =
        rd_kafka_TopicDescription_partitions(found, &count);
    if (count > 0) {
        rd_kafka_TopicPartitionInfo_replicas(partitions[0], &replicas_count);
    }
    out->topic.id = admin_uuid(rd_kafka_TopicDescription_topic_id(found));
    if (uuid_is_zero(&out->topic.id) && !id_by_name(admin, name, &out->topic.id, &out->err)) {
        return;
    }
    out->topic.partitions_count = (int32_t)count;
    out->topic.replication_factor = (int32_t)replicas_count;
    out->internal = rd_kafka_TopicDescription_is_internal(found) != 0;
    out->led = all_led(partitions, count);
}

/* Answers come in an order of their own. */
static void take_descriptions(struct admin *admin, const rd_kafka_TopicDescription_t **found,
                              const char *const *names, size_t count, struct admin_description *out)
{
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_TopicDescription_t *own = NULL;
        for (size_t tries = 0; tries < count && !own; tries++) {
            const rd_kafka_TopicDescription_t *other = found[(i + tries) % count];
            if (strcmp(rd_kafka_TopicDescription_name(other), names[i]) == 0) {
                own = other;
            }
        }
        if (own) {
            take_description(admin, own, &out[i]);
        } else {
            out[i] = (struct admin_description){0};
            err_set(&out[i].err, ERR_RETRY, "%s: topic '%s': not in the answer", admin->site,
                    names[i]);
        }
    }
}

static bool describe_some(struct admin *admin, const char *const *names, size_t count,
                          struct admin_description *out, struct err *err)
{
    struct admin_call call;
    size_t found_count = 0;
    const char **borrowed = must(calloc(count, sizeof(*borrowed)));
    memcpy(borrowed, names, count * sizeof(*borrowed));
    rd_kafka_TopicCollection_t *topics = rd_kafka_TopicCollection_of_topic_names(borrowed, count);
    admin_call_begin(&call, admin, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
    rd_kafka_DescribeTopics(client_handle(admin->client), topics, call.options, call.queue);
    bool ok = admin_call_wait(&call, "describe topics", err);
    if (ok) {
        const rd_kafka_TopicDescription_t **found = rd_kafka_DescribeTopics_result_topics(
            rd_kafka_event_DescribeTopics_result(call.event), &found_count);
        ok = found_count == count ||
             admin_failed(admin, err, RD_KAFKA_RESP_ERR__BAD_MSG, "describe topics", NULL);
        if (ok) {
            take_descriptions(admin, found, names, count, out);
        }
    }
    admin_call_done(&call);
    rd_kafka_TopicCollection_destroy(topics);
    free(borrowed);
    return ok;
}

bool admin_describe(struct admin *admin, const char *const *names, size_t count,
                    struct admin_description *out, struct err *err)
{
    for (size_t at = 0; at < count; at += DESCRIBE_AT_ONCE) {
        size_t some = count - at < DESCRIBE_AT_ONCE ? count - at : DESCRIBE_AT_ONCE;
        if (!describe_some(admin, names + at, some, out + at, err)) {
            return false;
        }
    }
    return true;
}

bool admin_describe_topic(struct admin *admin, const char *topic, struct admin_topic *out,
                          struct err *err)
{
    struct admin_description found;
    if (!admin_describe(admin, &topic, 1, &found, err)) {
        return false;
    }
    if (found.err.kind != ERR_NONE) {
        if (err) {
            *err = found.err;
        }
        return false;
    }
    *out = found.topic;
    return true;
}

/* ---- list ---- */

static size_t keep_own(const struct admin_description *found, size_t count,
                       struct admin_topic *topics, struct err *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (found[i].err.code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
            continue; /* deleted between the two questions */
        }
        if (found[i].err.kind != ERR_NONE) {
            *err = found[i].err;
            return 0;
        }
        if (!found[i].internal) {
            topics[kept++] = found[i].topic;
        }
    }
    return kept;
}

static bool describe_all(struct admin *admin, const struct rd_kafka_metadata *all,
                         struct admin_topic **out, size_t *out_count, struct err *err)
{
    struct err why = {0};
    size_t count = (size_t)all->topic_cnt;
    const char **names = must(calloc(count + 1, sizeof(*names)));
    struct admin_description *found = must(calloc(count + 1, sizeof(*found)));
    struct admin_topic *topics = must(calloc(count + 1, sizeof(*topics)));
    for (size_t i = 0; i < count; i++) {
        names[i] = all->topics[i].topic;
    }
    bool ok = admin_describe(admin, names, count, found, &why);
    if (ok) {
        *out_count = keep_own(found, count, topics, &why);
        ok = why.kind == ERR_NONE;
    }
    if (ok) {
        *out = topics;
        topics = NULL;
    } else if (err) {
        *err = why;
    }
    free(topics);
    free(found);
    free(names);
    return ok;
}

bool admin_list_topics(struct admin *admin, struct admin_topic **out, size_t *out_count,
                       struct err *err)
{
    const struct rd_kafka_metadata *all = NULL;
    admin_renew(admin);
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(client_handle(admin->client), 1, NULL, &all, admin->timeout_ms);
    if (code) {
        return admin_failed(admin, err, code, "list topics", NULL);
    }
    bool ok = describe_all(admin, all, out, out_count, err);
    rd_kafka_metadata_destroy(all);
    return ok;
}

/* ---- create ---- */

static rd_kafka_NewTopic_t *new_topic(const struct admin_new_topic *topic, struct err *err)
{
    char why[256];
    rd_kafka_NewTopic_t *made = rd_kafka_NewTopic_new(topic->name, topic->partitions_count,
                                                      topic->replication_factor, why, sizeof(why));
    if (!made) {
        err_set(err, ERR_REFUSED, "create topic '%s': %s", topic->name, why);
        return NULL;
    }
    for (const char *const *pair = topic->settings; pair && pair[0]; pair += 2) {
        rd_kafka_NewTopic_set_config(made, pair[0], pair[1]);
    }
    return made;
}

/* "Exists already" is success: whoever was first, it is there. */
static void take_created(struct admin *admin, const rd_kafka_topic_result_t *result,
                         struct err *err)
{
    char what[320];
    char lacks[ACL_LACKS_BYTES];
    const char *name = rd_kafka_topic_result_name(result);
    rd_kafka_resp_err_t code = rd_kafka_topic_result_error(result);
    if (code && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
        snprintf(what, sizeof(what), "create topic '%s'", name);
        admin_failed(admin, err, code, what,
                     client_why(admin->client, code, rd_kafka_topic_result_error_string(result),
                                ACL_CREATE, ACL_TOPIC, name, lacks));
    }
}

/* The brokers do it in its time, too, and are waited for. */
static void begin_patiently(struct admin_call *call, struct admin *admin, rd_kafka_admin_op_t what)
{
    char text[128];
    admin_call_begin(call, admin, what);
    rd_kafka_AdminOptions_set_operation_timeout(call->options, admin->timeout_ms, text,
                                                sizeof(text));
}

/* made[] in the order of the request; at[i] is its place in errs. */
static void create_made(struct admin *admin, rd_kafka_NewTopic_t **made, const size_t *at,
                        size_t count, bool ask, struct err *errs)
{
    struct admin_call call;
    struct err why = {0};
    char text[128];
    size_t results_count = 0;
    begin_patiently(&call, admin, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_validate_only(call.options, ask, text, sizeof(text));
    rd_kafka_CreateTopics(client_handle(admin->client), made, count, call.options, call.queue);
    if (!admin_call_wait(&call, "create topics", &why)) {
        for (size_t i = 0; i < count; i++) {
            errs[at[i]] = why;
        }
    } else {
        const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
            rd_kafka_event_CreateTopics_result(call.event), &results_count);
        for (size_t i = 0; i < results_count && i < count; i++) { /* in our order */
            take_created(admin, results[i], &errs[at[i]]);
        }
    }
    admin_call_done(&call);
}

static void nap_ms(int32_t ms)
{
    const struct timespec nap = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&nap, NULL);
}

/* One look at those that are not settled yet; how many are left. */
static size_t look_for_leaders(struct admin *admin, const struct admin_new_topic *topics,
                               size_t count, bool *settled, struct err *why)
{
    const char **names = must(calloc(count + 1, sizeof(*names)));
    size_t *at = must(calloc(count + 1, sizeof(*at)));
    struct admin_description *found = must(calloc(count + 1, sizeof(*found)));
    size_t asked = 0;
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        if (!settled[i]) {
            at[asked] = i;
            names[asked++] = topics[i].name;
        }
    }
    bool ok = admin_describe(admin, names, asked, found, why);
    for (size_t i = 0; i < asked; i++) {
        settled[at[i]] = ok && found[i].err.kind == ERR_NONE && found[i].led;
        left += !settled[at[i]];
    }
    free(found);
    free(at);
    free(names);
    return left;
}

static void wait_leaders(struct admin *admin, const struct admin_new_topic *topics, size_t count,
                         struct err *errs)
{
    struct err why = {0};
    int64_t until_ms = client_now_ms() + admin->timeout_ms;
    bool *settled = must(calloc(count + 1, sizeof(*settled)));
    for (size_t i = 0; i < count; i++) {
        settled[i] = errs[i].kind != ERR_NONE;
    }
    while (look_for_leaders(admin, topics, count, settled, &why) > 0) {
        if (client_now_ms() >= until_ms) {
            break;
        }
        nap_ms(LEADER_POLL_MS);
    }
    for (size_t i = 0; i < count; i++) {
        if (!settled[i]) {
            err_set_code(&errs[i], ERR_RETRY, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
                         "%s: topic '%s' was created and has no leader yet%s%s", admin->site,
                         topics[i].name, why.what[0] ? ": " : "", why.what);
        }
    }
    free(settled);
}

void admin_create_topics(struct admin *admin, const struct admin_new_topic *topics, size_t count,
                         struct err *out_errs)
{
    rd_kafka_NewTopic_t **made = must(calloc(count + 1, sizeof(rd_kafka_NewTopic_t *)));
    size_t *at = must(calloc(count + 1, sizeof(*at)));
    size_t made_count = 0;
    for (size_t i = 0; i < count; i++) {
        out_errs[i] = (struct err){0};
        made[made_count] = new_topic(&topics[i], &out_errs[i]);
        at[made_count] = i;
        made_count += made[made_count] != NULL;
    }
    if (made_count > 0) {
        create_made(admin, made, at, made_count, false, out_errs);
        wait_leaders(admin, topics, count, out_errs);
        rd_kafka_NewTopic_destroy_array(made, made_count);
    }
    free(at);
    free(made);
}

bool admin_create_topic(struct admin *admin, const char *topic, int32_t partitions_count,
                        int32_t replication_factor, const char *const *settings, struct err *err)
{
    const struct admin_new_topic want = {topic, partitions_count, replication_factor, settings};
    struct err why;
    admin_create_topics(admin, &want, 1, &why);
    if (why.kind != ERR_NONE && err) {
        *err = why;
    }
    return why.kind == ERR_NONE;
}

bool admin_may_make_topic(struct admin *admin, const char *topic, int32_t partitions_count,
                          int32_t replication_factor, const char *const *settings, struct err *err)
{
    const struct admin_new_topic want = {topic, partitions_count, replication_factor, settings};
    const size_t at = 0;
    struct err why = {0};
    rd_kafka_NewTopic_t *made = new_topic(&want, &why);
    if (made != NULL) {
        create_made(admin, &made, &at, 1, true, &why);
        rd_kafka_NewTopic_destroy(made);
    }
    if (why.kind != ERR_NONE && err) {
        *err = why;
    }
    return why.kind == ERR_NONE;
}

/* ---- one topic: deleted, or given more partitions ---- */

struct one_topic {
    struct admin *admin;
    const char *topic;
    const char *what;
    enum acl_operation needs; /* that a refusal lacks */
    struct err *err;
};

static bool only_result(const struct one_topic *one, const rd_kafka_topic_result_t **results,
                        size_t count)
{
    char lacks[ACL_LACKS_BYTES];
    bool alone = count == 1;
    rd_kafka_resp_err_t code =
        alone ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__BAD_MSG;
    const char *words = alone ? rd_kafka_topic_result_error_string(results[0]) : NULL;
    return !code || admin_failed(one->admin, one->err, code, one->what,
                                 client_why(one->admin->client, code, words, one->needs, ACL_TOPIC,
                                            one->topic, lacks));
}

bool admin_delete_topic(struct admin *admin, const char *topic, struct err *err)
{
    struct admin_call call;
    char what[320];
    size_t count = 0;
    const struct one_topic one = {admin, topic, what, ACL_DELETE, err};
    rd_kafka_DeleteTopic_t *wanted = rd_kafka_DeleteTopic_new(topic);
    snprintf(what, sizeof(what), "delete topic '%s'", topic);
    begin_patiently(&call, admin, RD_KAFKA_ADMIN_OP_DELETETOPICS);
    rd_kafka_DeleteTopics(client_handle(admin->client), &wanted, 1, call.options, call.queue);
    bool ok = admin_call_wait(&call, what, err);
    if (ok) {
        const rd_kafka_topic_result_t **results = rd_kafka_DeleteTopics_result_topics(
            rd_kafka_event_DeleteTopics_result(call.event), &count);
        ok = only_result(&one, results, count);
    }
    admin_call_done(&call);
    rd_kafka_DeleteTopic_destroy(wanted);
    return ok;
}

static bool grow(const struct one_topic *one, rd_kafka_NewPartitions_t *wants)
{
    struct admin_call call;
    size_t count = 0;
    begin_patiently(&call, one->admin, RD_KAFKA_ADMIN_OP_CREATEPARTITIONS);
    rd_kafka_CreatePartitions(client_handle(one->admin->client), &wants, 1, call.options,
                              call.queue);
    bool ok = admin_call_wait(&call, one->what, one->err);
    if (ok) {
        const rd_kafka_topic_result_t **results = rd_kafka_CreatePartitions_result_topics(
            rd_kafka_event_CreatePartitions_result(call.event), &count);
        ok = only_result(one, results, count);
    }
    admin_call_done(&call);
    return ok;
}

bool admin_grow_topic(struct admin *admin, const char *topic, int32_t partitions_count,
                      struct err *err)
{
    char what[320];
    char why[256];
    struct err failed = {0};
    struct admin_topic there;
    snprintf(what, sizeof(what), "grow topic '%s' to %d partitions", topic, partitions_count);
    rd_kafka_NewPartitions_t *wants =
        rd_kafka_NewPartitions_new(topic, (size_t)partitions_count, why, sizeof(why));
    if (!wants) {
        return err_set(err, ERR_REFUSED, "%s: %s: %s", admin->site, what, why);
    }
    const struct one_topic one = {admin, topic, what, ACL_ALTER, &failed};
    bool ok = grow(&one, wants);
    rd_kafka_NewPartitions_destroy(wants);
    /* Asked for what is there already, perhaps by ourselves when the answer was lost: that is success. */
    if (!ok && failed.code == RD_KAFKA_RESP_ERR_INVALID_PARTITIONS &&
        admin_describe_topic(admin, topic, &there, NULL)) {
        ok = there.partitions_count == partitions_count;
    }
    if (!ok && err) {
        *err = failed;
    }
    return ok;
}
