/* See admin_group_offsets() and admin_writer_allowed(): a question to a coordinator, on a loop and a cluster of its own, for the
 * length of the call. Which groups there are is librdkafka's question. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/admin_inside.h"
#include "kafka/error.h"
#include "kafka/group_ask.h"
#include "kafka/proto.h"

#ifndef __clang__
/* gcc's analyzer forgets what was stored under an index that it cannot compute, and calls it a leak; the tests run with
 * leak checks. */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

#define ANSWER_BYTES_MAX \
    (64 << 20) /* a committed partition takes some 200 bytes: 300,000 of them */
#define REFRESH_MS          2000
#define TCP_USER_TIMEOUT_MS 3000

struct offsets_call {
    struct loop *loop;
    const char *group;
    struct admin_group_offset *offsets;
    size_t count;
    struct err *err; /* the caller's */
    bool ok;
};

static void put(void *arg, struct writer *writer, int16_t version)
{
    const struct offsets_call *call = arg;
    const struct offset_fetch_want want = {.group = call->group};
    proto_put_offset_fetch(writer, version, false, &want, 1);
}

static void take(struct offsets_call *call, const struct offset_fetch_group *group)
{
    call->offsets = must(calloc((size_t)group->parts_count + 1, sizeof(*call->offsets)));
    for (int32_t i = 0; i < group->parts_count; i++) {
        const struct offset_fetch_part *part = &group->parts[i];
        struct admin_group_offset *offset = &call->offsets[call->count++];
        snprintf(offset->topic, sizeof(offset->topic), "%.*s",
                 part->topic.len > 0 ? part->topic.len : 0,
                 part->topic.data ? part->topic.data : "");
        offset->partition = part->partition;
        offset->offset = part->error != KAFKA_NONE || part->offset < 0 ? -1 : part->offset;
        if (part->metadata.len > 0) {
            offset->metadata = strndup(part->metadata.data, (size_t)part->metadata.len);
            if (!offset->metadata) {
                abort();
            }
        }
    }
}

static bool get(void *arg, struct reader *reader, int16_t version, int16_t *out_error,
                struct err *err)
{
    struct offsets_call *call = arg;
    struct offset_fetch_answer answer;
    if (!proto_get_offset_fetch_of_one(reader, version, &answer, err)) {
        return false;
    }
    *out_error = answer.groups[0].error;
    if (*out_error == KAFKA_NONE) { /* then it is the last one */
        take(call, &answer.groups[0]);
    }
    offset_fetch_answer_done(&answer);
    return true;
}

static void done(void *arg, const struct err *err)
{
    struct offsets_call *call = arg;
    call->ok = err == NULL;
    if (err && call->err) {
        *call->err = *err;
    }
    loop_stop(call->loop);
}

static void run(struct offsets_call *call, struct admin *admin, struct group_ask_what *what)
{
    const struct cluster_options options = {.name = admin->site,
                                            .client = admin->settings,
                                            .refresh_ms = REFRESH_MS,
                                            .tcp_user_timeout_ms = TCP_USER_TIMEOUT_MS,
                                            .max_answer_bytes = ANSWER_BYTES_MAX};
    what->group = call->group;
    what->timeout_ms = admin->timeout_ms;
    what->done = done;
    what->arg = call;
    call->loop = loop_new(clock_system());
    struct cluster *cluster = cluster_new(call->loop, &options);
    struct group_ask *ask = group_ask_new(call->loop, cluster, what);
    loop_run(call->loop);
    group_ask_free(ask);
    cluster_free(cluster);
    loop_free(call->loop);
}

bool admin_group_offsets(struct admin *admin, const char *group, struct admin_group_offset **out,
                         size_t *out_count, struct err *err)
{
    struct offsets_call call = {.group = group, .err = err};
    struct group_ask_what what = {.api = API_OFFSET_FETCH, .put = put, .get = get};
    run(&call, admin, &what);
    if (!call.ok) {
        return err_wrap(err, "%s: group offsets", admin->site);
    }
    *out = call.offsets;
    *out_count = call.count;
    return true;
}

bool admin_writer_allowed(struct admin *admin, const char *transactional_id, struct err *err)
{
    struct offsets_call call = {.group = transactional_id, .err = err};
    struct group_ask_what what = {.api = API_FIND_COORDINATOR, .transactional = true};
    run(&call, admin, &what);
    return call.ok || err_wrap(err, "%s", admin->site);
}

static void put_leave(void *arg, struct writer *writer, int16_t version)
{
    const struct offsets_call *call = arg;
    proto_put_leave_group(writer, version, call->group, "ferry-check-nobody", NULL, "ferry check");
}

/* It has no such member: that it says so is what was asked for. */
static bool get_left(void *arg, struct reader *reader, int16_t version, int16_t *out_error,
                     struct err *err)
{
    (void)arg;
    if (!proto_get_leave_group(reader, version, out_error, err)) {
        return false;
    }
    if (*out_error == KAFKA_UNKNOWN_MEMBER_ID || *out_error == KAFKA_GROUP_ID_NOT_FOUND) {
        *out_error = KAFKA_NONE;
    }
    return true;
}

bool admin_group_allowed(struct admin *admin, const char *group, bool commit, struct err *err)
{
    struct offsets_call call = {.group = group, .err = err};
    struct group_ask_what what = {
        .api = commit ? API_LEAVE_GROUP : API_FIND_COORDINATOR, .put = put_leave, .get = get_left};
    run(&call, admin, &what);
    return call.ok || err_wrap(err, "%s", admin->site);
}

/* ---- ending members ---- */

struct member_name {
    char *member_id;
    char *instance_id; /* NULL: not static */
};

struct members_call {
    struct offsets_call call; /* first: run() knows it */
    struct member_name *names;
    size_t count;
    bool unknown; /* no group of the classic protocol */
};

static void put_describe(void *arg, struct writer *writer, int16_t version)
{
    const struct members_call *call = arg;
    proto_put_describe_group(writer, API_DESCRIBE_GROUPS, version, call->call.group);
}

static char *copy(struct wire_string text)
{
    char *out = strndup(text.len > 0 ? text.data : "", text.len > 0 ? (size_t)text.len : 0);
    if (!out) {
        abort();
    }
    return out;
}

static void members_free(struct members_call *call)
{
    for (size_t i = 0; i < call->count; i++) {
        free(call->names[i].member_id);
        free(call->names[i].instance_id);
    }
    free(call->names);
    call->names = NULL;
    call->count = 0;
}

static bool get_described(void *arg, struct reader *reader, int16_t version, int16_t *out_error,
                          struct err *err)
{
    struct members_call *call = arg;
    struct describe_group_answer answer;
    if (!proto_get_describe_group(reader, API_DESCRIBE_GROUPS, version, &answer, err)) {
        return false;
    }
    members_free(call); /* of a try before */
    call->unknown = answer.error == KAFKA_GROUP_ID_NOT_FOUND ||
                    (answer.state.len == 4 && memcmp(answer.state.data, "Dead", 4) == 0);
    *out_error = call->unknown ? KAFKA_NONE : answer.error;
    call->names = calloc((size_t)answer.members_count + 1, sizeof(*call->names));
    if (!call->names) {
        abort();
    }
    for (int32_t i = 0; i < answer.members_count; i++) {
        const struct described_member *member = &answer.members[i];
        call->names[call->count++] =
            (struct member_name){copy(member->member_id),
                                 member->instance_id.len < 0 ? NULL : copy(member->instance_id)};
    }
    describe_group_answer_done(&answer);
    return true;
}

struct end_call {
    struct offsets_call call; /* first */
    const struct member_name *name;
};

static void put_end(void *arg, struct writer *writer, int16_t version)
{
    const struct end_call *call = arg;
    proto_put_leave_group(writer, version, call->call.group, call->name->member_id,
                          call->name->instance_id, "ferry offsets reset --stop-members");
}

bool admin_group_stop_members(struct admin *admin, const char *group, size_t *out_count,
                              struct err *err)
{
    struct members_call members = {
        .call = {.group = group, .err = err}
    };
    struct group_ask_what what = {
        .api = API_DESCRIBE_GROUPS, .put = put_describe, .get = get_described};
    run(&members.call, admin, &what);
    bool ok = members.call.ok;
    if (ok && members.unknown) {
        ok = err_set(err, ERR_REFUSED,
                     "its members are of the consumer protocol (KIP-848): they have to be ended "
                     "where they run");
    }
    for (size_t i = 0; ok && i < members.count; i++) {
        struct end_call end = {
            .call = {.group = group, .err = err},
              .name = &members.names[i]
        };
        what = (struct group_ask_what){.api = API_LEAVE_GROUP, .put = put_end, .get = get_left};
        run(&end.call, admin, &what);
        ok = end.call.ok;
    }
    *out_count = ok ? members.count : 0;
    members_free(&members);
    return ok || err_wrap(err, "%s: end members of group '%.200s'", admin->site, group);
}

void admin_group_offsets_free(struct admin_group_offset *offsets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(offsets[i].metadata);
    }
    free(offsets);
}

/* ---- which groups there are ---- */

void admin_names_free(char **names, size_t count)
{
    for (size_t i = 0; names && i < count; i++) {
        free(names[i]);
    }
    free(names);
}

static bool take_groups(struct admin *admin, const rd_kafka_ListConsumerGroups_result_t *result,
                        char ***out, size_t *out_count, struct err *err)
{
    size_t errors_count = 0;
    size_t count = 0;
    const rd_kafka_error_t **errors =
        rd_kafka_ListConsumerGroups_result_errors(result, &errors_count);
    if (errors_count > 0) {
        return admin_failed(admin, err, rd_kafka_error_code(errors[0]), "list groups",
                            rd_kafka_error_string(errors[0]));
    }
    const rd_kafka_ConsumerGroupListing_t **groups =
        rd_kafka_ListConsumerGroups_result_valid(result, &count);
    *out = calloc(count + 1, sizeof(**out));
    if (!*out) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        (*out)[i] = strdup(rd_kafka_ConsumerGroupListing_group_id(groups[i]));
        if (!(*out)[i]) {
            abort();
        }
    }
    *out_count = count;
    return true;
}

bool admin_list_groups(struct admin *admin, char ***out, size_t *out_count, struct err *err)
{
    struct admin_call call;
    admin_call_begin(&call, admin, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS);
    rd_kafka_ListConsumerGroups(client_handle(admin->client), call.options, call.queue);
    bool ok = admin_call_wait(&call, "list groups", err) &&
              take_groups(admin, rd_kafka_event_ListConsumerGroups_result(call.event), out,
                          out_count, err);
    admin_call_done(&call);
    return ok;
}
