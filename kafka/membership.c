/* See membership.h. All on the loop's thread: librdkafka works in threads of its own and rings `wake_fd`.
 *
 * What is called here and waits for librdkafka's main thread (assign, unassign, subscribe) is a message to it and back, 20 us;
 * it never waits for a broker. Its one long computation, the leader's assignment of partitions, is done when the event
 * that we answer is there.
 */
#include "kafka/membership.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/heap.h"
#include "kafka/error.h"
#include "kafka/membership_inside.h"

#ifndef __clang__
/* gcc's analyzer forgets what was stored under an index that it cannot compute, and calls it a leak; the tests run with
 * leak checks. */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

#define EVENTS_A_TURN      256  /* then others get their turn; a rebalance makes 2, a commit 1 */
#define TICK_MS            1000 /* polled at least so often: max.poll.interval.ms is 30,000 */
#define TROUBLE_AGAIN_MS   5000 /* the same trouble is told again no sooner */
#define FENCED_INSTANCE_ID 82

static rd_kafka_t *handle_of(const struct membership *membership)
{
    return client_handle(membership->client);
}

/* ---- telling the owner ---- */

static void tell_trouble(struct membership *membership, const struct err *why)
{
    int64_t now_ms = loop_now_ms(membership->loop);
    bool fatal = why->kind == ERR_FATAL;
    bool again = why->code == membership->trouble_code && membership->trouble_ms > 0 &&
                 now_ms - membership->trouble_ms < TROUBLE_AGAIN_MS;
    if (!membership->client || membership->fatal_told || (again && !fatal)) {
        return;
    }
    membership->trouble_code = why->code;
    membership->trouble_ms = now_ms;
    membership->fatal_told = fatal;
    membership->callbacks.trouble(membership->callbacks.arg, why);
}

/* A session that ended without an answer (the coordinator was away) is begun anew with our instance id and gets another
 * member id. A commit that waited for the coordinator carries the old one: it is fenced by ourselves, and librdkafka
 * takes that for the end of its handle. Nobody else is there. */
static bool fenced_by_ourselves(const struct membership *membership)
{
    const struct group_call *call;
    if (membership->old_until_ms == INT64_MAX) {
        return true;
    }
    LIST_FOREACH(call, &membership->calls, entry)
    {
        if (call->sent_ms <= membership->old_until_ms) {
            return true;
        }
    }
    return false;
}

static void tell_fenced(struct membership *membership, bool by_ourselves)
{
    struct err why;
    if (by_ourselves) {
        err_set_code(&why, ERR_RETRY, MEMBERSHIP_OUTLIVED,
                     "group '%s': a commit outlived its session, and librdkafka gave up",
                     membership->group);
        tell_trouble(membership, &why);
        return;
    }
    err_set_code(&why, ERR_FATAL, FENCED_INSTANCE_ID,
                 "group '%s': another process joined with our id '%s'", membership->group,
                 membership->instance_id);
    err_hint(&why, "every worker needs a name of its own (\"worker\" in the configuration)");
    tell_trouble(membership, &why);
}

static void tell_error(struct membership *membership, int code, const char *text)
{
    struct err why;
    if (!membership->client) {
        return;
    }
    if (code == FENCED_INSTANCE_ID) {
        tell_fenced(membership, fenced_by_ourselves(membership));
        return;
    }
    char lacks[ACL_LACKS_BYTES];
    bool of_group = code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    client_err(membership->client, &why, code, "group '%s': %s", membership->group,
               of_group ? client_why(membership->client, code, text, ACL_READ, ACL_GROUP,
                                     membership->group, lacks)
               : text   ? text
                        : rd_kafka_err2str(code));
    tell_trouble(membership, &why);
}

static void tell_kafka_error(struct membership *membership, rd_kafka_error_t *error)
{
    if (error) {
        tell_error(membership, rd_kafka_error_code(error), rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
    }
}

typedef void tell_parts_fn(struct membership *membership, const struct membership_partition *parts,
                           size_t count, bool lost);

static void tell_assigned(struct membership *membership, const struct membership_partition *parts,
                          size_t count, bool lost)
{
    (void)lost;
    membership->callbacks.assigned(membership->callbacks.arg, parts, count);
}

static void tell_revoked(struct membership *membership, const struct membership_partition *parts,
                         size_t count, bool lost)
{
    membership->callbacks.revoked(membership->callbacks.arg, parts, count, lost);
}

static void tell_parts(struct membership *membership, tell_parts_fn *tell,
                       const rd_kafka_topic_partition_list_t *list, bool lost)
{
    size_t count = (size_t)list->cnt;
    struct membership_partition *parts = must(calloc(count + 1, sizeof(*parts)));
    for (size_t i = 0; i < count; i++) {
        parts[i] = (struct membership_partition){list->elems[i].topic, list->elems[i].partition};
    }
    tell(membership, parts, count, lost);
    free(parts);
}

/* ---- partitions come and go ---- */

static void read_generation(struct membership *membership)
{
    rd_kafka_consumer_group_metadata_t *metadata =
        rd_kafka_consumer_group_metadata(handle_of(membership));
    if (metadata) {
        membership->generation = rd_kafka_consumer_group_metadata_generation_id(metadata);
        rd_kafka_consumer_group_metadata_destroy(metadata);
    }
}

/* Tell librdkafka that its event was taken. Its own assignment stays empty: it keeps the group's apart (what is owned, sent
 * and revoked), and one that is empty has nothing to fetch, by construction. With the partitions in it, paused, 2,000 of
 * them kept its threads busy for 7 s after each rebalance. tests/integration/test_membership.py holds it to that. */
static void answer(struct membership *membership,
                   rd_kafka_error_t *(*call)(rd_kafka_t *rk,
                                             const rd_kafka_topic_partition_list_t *list))
{
    rd_kafka_topic_partition_list_t *none = rd_kafka_topic_partition_list_new(0);
    tell_kafka_error(membership, call(handle_of(membership), none));
    rd_kafka_topic_partition_list_destroy(none);
}

/* Only before the first assignment the protocol is not cooperative yet: then everything is to be given back. */
static rd_kafka_error_t *unassign(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *none)
{
    const char *protocol = rd_kafka_rebalance_protocol(rk);
    if (protocol && strcmp(protocol, "COOPERATIVE") == 0) {
        return rd_kafka_incremental_unassign(rk, none);
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(rk, NULL);
    return code ? rd_kafka_error_new(code, "unassign: %s", rd_kafka_err2str(code)) : NULL;
}

static void on_assign(struct membership *membership, const rd_kafka_topic_partition_list_t *parts)
{
    read_generation(membership);
    if (membership->old_until_ms == INT64_MAX) {
        membership->old_until_ms = loop_now_ms(membership->loop);
    }
    answer(membership, rd_kafka_incremental_assign);
    if (membership->client) { /* trouble may have ended us */
        tell_parts(membership, tell_assigned, parts, false);
    }
}

static void on_revoke(struct membership *membership, const rd_kafka_topic_partition_list_t *parts)
{
    bool lost = rd_kafka_assignment_lost(handle_of(membership)) != 0;
    membership->revoking = true;
    if (lost) {
        membership->generation = -1; /* what is still on its way counts no more */
        membership->old_until_ms = INT64_MAX;
    }
    if (parts->cnt == 0) {
        membership_revoked_done(membership);
        return;
    }
    tell_parts(membership, tell_revoked, parts, lost);
}

void membership_revoked_done(struct membership *membership)
{
    if (membership->revoking && membership->client) {
        answer(membership, unassign);
    }
    membership->revoking = false;
}

static void on_rebalance(struct membership *membership, rd_kafka_event_t *event)
{
    const rd_kafka_topic_partition_list_t *parts = rd_kafka_event_topic_partition_list(event);
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        on_assign(membership, parts);
    } else if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        on_revoke(membership, parts);
    } else {
        tell_error(membership, code, rd_kafka_event_error_string(event));
    }
}

/* ---- commits ---- */

static struct group_call *call_new(struct membership *membership,
                                   struct membership_commit *take_commits, size_t count, void *arg)
{
    struct group_call *call = must(calloc(1, sizeof(*call)));
    call->commits = take_commits;
    call->count = count;
    call->arg = arg;
    call->sent_ms = loop_now_ms(membership->loop);
    call->wants = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_topic_partition_list_add(call->wants, take_commits[i].topic,
                                          take_commits[i].partition);
    }
    LIST_INSERT_HEAD(&membership->calls, call, entry);
    return call;
}

static void call_free(struct group_call *call)
{
    rd_kafka_topic_partition_list_destroy(call->wants);
    free(call->commits);
    free(call);
}

/* Answer and free. err NULL: every partition has its own answer, and all are good. */
static void call_end(struct group_call *call, const struct err *err)
{
    LIST_REMOVE(call, entry);
    call->done(call->arg, call->commits, call->count, call->sent_ms, err);
    call_free(call);
}

/* The request as a whole failed: so did each partition of it. */
static void call_fail(struct group_call *call, const struct err *err)
{
    for (size_t i = 0; i < call->count; i++) {
        call->commits[i].error = (int16_t)(err->code ? err->code : RD_KAFKA_RESP_ERR__FAIL);
    }
    call_end(call, err);
}

static void put_metadata(rd_kafka_topic_partition_t *part, const char *metadata)
{
    size_t len = metadata ? strlen(metadata) : 0;
    if (len > 0) {
        part->metadata = must(rd_kafka_mem_malloc(NULL, len));
        memcpy(part->metadata, metadata, len);
        part->metadata_size = len;
    }
}

void membership_commit(struct membership *membership, struct membership_commit *commits,
                       size_t count,
                       void (*done)(void *arg, const struct membership_commit *commits,
                                    size_t count, int64_t sent_ms, const struct err *err),
                       void *arg)
{
    assert(count > 0 && count <= MEMBERSHIP_COMMIT_MAX);
    struct group_call *call = call_new(membership, commits, count, arg);
    call->done = done;
    for (size_t i = 0; i < count; i++) {
        call->wants->elems[i].offset = commits[i].offset;
        put_metadata(&call->wants->elems[i], commits[i].metadata);
        commits[i].error = KAFKA_NONE;
    }
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__DESTROY;
    if (membership->client) {
        code = rd_kafka_commit_queue(handle_of(membership), call->wants, membership->queue, NULL,
                                     call);
    }
    if (code) {
        struct err why;
        err_set_code(&why, ERR_RETRY, code, "commit of group '%s': %s", membership->group,
                     rd_kafka_err2str(code));
        call_fail(call, &why);
    }
}

/* Each partition's own error; how many have one, and the first. */
static size_t take_errors(struct group_call *call, const rd_kafka_topic_partition_list_t *answered,
                          int *out_first, const char **out_topic)
{
    size_t failed = 0;
    for (size_t i = 0; i < call->count; i++) {
        const rd_kafka_topic_partition_t *want = &call->wants->elems[i];
        const rd_kafka_topic_partition_t *part =
            answered ? rd_kafka_topic_partition_list_find(answered, want->topic, want->partition)
                     : NULL;
        call->commits[i].error = (int16_t)(part ? part->err : RD_KAFKA_RESP_ERR__FAIL);
        if (call->commits[i].error != KAFKA_NONE && failed++ == 0) {
            *out_first = call->commits[i].error;
            *out_topic = want->topic;
        }
    }
    return failed;
}

static void on_committed(struct membership *membership, rd_kafka_event_t *event)
{
    struct group_call *call = rd_kafka_event_opaque(event);
    struct err why = {0};
    int whole = rd_kafka_event_error(event);
    int first = 0;
    const char *topic = "";
    char lacks[ACL_LACKS_BYTES];
    bool old = call->sent_ms <= membership->old_until_ms;
    size_t failed = take_errors(call, rd_kafka_event_topic_partition_list(event), &first, &topic);
    int code = first != 0 ? first : whole;
    if (code != 0) {
        bool of_group = code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
        client_err(membership->client, &why, code,
                   "commit of group '%s': %s (%zu of %zu partitions)", membership->group,
                   client_why(membership->client, code, NULL, ACL_READ,
                              of_group ? ACL_GROUP : ACL_TOPIC,
                              of_group ? membership->group : topic, lacks),
                   failed > 0 ? failed : call->count, call->count);
    }
    if (whole != 0 && (whole < 0 || failed == 0)) { /* < 0: librdkafka's own, nobody was asked */
        call_fail(call, &why);
    } else {
        call_end(call, code != 0 ? &why : NULL);
    }
    if (code == FENCED_INSTANCE_ID) {
        tell_fenced(membership, old); /* sooner than the next heartbeat */
    }
}

/* ---- what is committed ---- */

void membership_committed(struct membership *membership, struct cluster *target,
                          struct membership_commit *wants, size_t count,
                          void (*done)(void *arg, const struct membership_commit *found,
                                       size_t count, const struct err *err),
                          void *arg)
{
    assert(count > 0 && count <= MEMBERSHIP_COMMIT_MAX);
    if (membership->client) {
        committed_ask(&membership->committeds, membership->loop, target, membership->group, wants,
                      count, done, arg);
        return;
    }
    struct err why;
    err_set(&why, ERR_RETRY, "commits of group '%s': we are leaving", membership->group);
    committed_refuse(wants, count, done, arg, &why);
}

/* ---- events ---- */

static void on_error(struct membership *membership, rd_kafka_event_t *event)
{
    int code = rd_kafka_event_error(event);
    if (rd_kafka_event_error_is_fatal(event) && code != FENCED_INSTANCE_ID) {
        struct err why;
        err_set_code(&why, ERR_FATAL, code, "group '%s': %s", membership->group,
                     rd_kafka_event_error_string(event));
        tell_trouble(membership, &why);
    } else {
        tell_error(membership, code, rd_kafka_event_error_string(event));
    }
}

static void on_event(struct membership *membership, rd_kafka_event_t *event)
{
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_REBALANCE:
        on_rebalance(membership, event);
        break;
    case RD_KAFKA_EVENT_OFFSET_COMMIT:
        on_committed(membership, event);
        break;
    case RD_KAFKA_EVENT_ERROR:
        on_error(membership, event);
        break;
    default: /* nothing else was asked for */
        break;
    }
}

static void forget(struct membership *membership)
{
    free(membership);
}

static void end_client(struct membership *membership)
{
    if (membership->ending) {
        rd_kafka_queue_io_event_enable(membership->queue, -1, NULL, 0);
        rd_kafka_queue_destroy(membership->queue);
        client_free(membership->ending, CLIENT_END_MS);
        close(membership->wake_fd);
        membership->ending = NULL;
    }
}

/* Everything that waits; polling is also what tells librdkafka that we are alive. */
static void serve(struct membership *membership)
{
    int32_t events_count = 0;
    membership->serving = true;
    while (membership->client && events_count < EVENTS_A_TURN) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(membership->queue, 0);
        if (!event) {
            break;
        }
        on_event(membership, event);
        rd_kafka_event_destroy(event);
        events_count++;
    }
    membership->serving = false;
    if (membership->client) {
        loop_timer_set(membership->tick, events_count == EVENTS_A_TURN ? 0 : TICK_MS);
        return;
    }
    end_client(membership);
    if (membership->doomed) {
        forget(membership);
    }
}

static void woken(void *arg, int what)
{
    struct membership *membership = arg;
    uint64_t count;
    (void)what;
    if (read(membership->wake_fd, &count, sizeof(count)) < 0) {
        return; /* read already */
    }
    serve(membership);
}

static void tick(void *arg)
{
    struct membership *membership = arg;
    client_refresh(membership->client);
    serve(membership);
}

/* ---- life ---- */

static struct client *new_client(const struct config_client *settings,
                                 const struct membership_options *options, struct err *err)
{
    char session[16];
    char heartbeat[16];
    char refresh[16];
    char poll[16];
    /* librdkafka wants no session longer than that */
    int32_t poll_ms = options->max_poll_interval_ms > options->session_timeout_ms
                          ? options->max_poll_interval_ms
                          : options->session_timeout_ms;
    snprintf(session, sizeof(session), "%d", options->session_timeout_ms);
    snprintf(heartbeat, sizeof(heartbeat), "%d", options->heartbeat_ms);
    snprintf(refresh, sizeof(refresh), "%d", options->metadata_refresh_ms);
    snprintf(poll, sizeof(poll), "%d", poll_ms);
    /* clang-format off */
    const char *const extra[] = {
        "group.id", options->group,
        "group.instance.id", options->instance_id,
        "group.protocol", "classic",
        "partition.assignment.strategy", "cooperative-sticky",
        "session.timeout.ms", session,
        "heartbeat.interval.ms", heartbeat,
        "max.poll.interval.ms", poll,
        "topic.metadata.refresh.interval.ms", refresh,
        "enable.auto.commit", "false",
        "enable.auto.offset.store", "false",
        "auto.offset.reset", "error",
        "allow.auto.create.topics", "false",
        NULL};
    /* clang-format on */
    return client_new(
        RD_KAFKA_CONSUMER, settings, extra,
        RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_OFFSET_COMMIT | RD_KAFKA_EVENT_ERROR, err);
}

static void watch_queue(struct membership *membership)
{
    static const uint64_t one = 1;
    rd_kafka_poll_set_consumer(handle_of(membership)); /* errors of the handle come the same way */
    membership->queue = rd_kafka_queue_get_consumer(handle_of(membership));
    membership->wake =
        loop_fd_new(membership->loop, membership->wake_fd, LOOP_READ, woken, membership);
    membership->tick = loop_timer_new(membership->loop, tick, membership);
    rd_kafka_queue_io_event_enable(membership->queue, membership->wake_fd, &one, sizeof(one));
    loop_timer_set(membership->tick, 0); /* what came before the watch */
}

struct membership *membership_new(struct loop *loop, const struct config_client *client,
                                  const struct membership_options *options,
                                  const struct membership_callbacks *callbacks, struct err *err)
{
    int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake_fd < 0) {
        err_set(err, ERR_RETRY, "group '%s': no file descriptor left", options->group);
        return NULL;
    }
    struct client *made = new_client(client, options, err);
    if (!made) {
        err_wrap(err, "group '%s'", options->group);
        close(wake_fd);
        return NULL;
    }
    struct membership *membership = must(calloc(1, sizeof(*membership)));
    membership->loop = loop;
    membership->callbacks = *callbacks;
    snprintf(membership->group, sizeof(membership->group), "%s", options->group);
    snprintf(membership->instance_id, sizeof(membership->instance_id), "%s", options->instance_id);
    membership->client = made;
    membership->wake_fd = wake_fd;
    membership->generation = -1;
    membership->old_until_ms = -1;
    LIST_INIT(&membership->calls);
    LIST_INIT(&membership->committeds);
    watch_queue(membership);
    return membership;
}

static void fail_calls(struct membership *membership, const char *why)
{
    struct err err;
    err_set(&err, ERR_RETRY, "group '%s': %s", membership->group, why);
    struct group_call *call = LIST_FIRST(&membership->calls);
    while (call) { /* an answer may ask again: that one fails at once, for the client is gone */
        call_fail(call, &err);
        call = LIST_FIRST(&membership->calls);
    }
    committed_end_all(&membership->committeds, &err);
}

/* The owner's callbacks are not called any more, open calls are answered, librdkafka's handle ends. */
static void finish(struct membership *membership, const char *why)
{
    if (!membership->client) {
        return;
    }
    membership->ending = membership->client;
    membership->client = NULL;
    membership->generation = -1;
    loop_fd_free(membership->wake);
    loop_timer_free(membership->tick);
    membership->wake = NULL;
    membership->tick = NULL;
    fail_calls(membership, why);
    if (!membership->serving) {
        end_client(membership);
    }
}

void membership_free(struct membership *membership)
{
    if (!membership) {
        return;
    }
    finish(membership, "the membership ends");
    leave_free(membership->leave);
    membership->leave = NULL;
    membership->doomed = true;
    if (!membership->serving) {
        forget(membership);
    }
}

bool membership_subscribe(struct membership *membership, const char *const *topics, size_t count,
                          struct err *err)
{
    if (!membership->client) {
        return err_set(err, ERR_RETRY, "subscribe group '%s': we are leaving", membership->group);
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_topic_partition_list_add(list, topics[i], RD_KAFKA_PARTITION_UA);
    }
    rd_kafka_resp_err_t code = rd_kafka_subscribe(handle_of(membership), list);
    rd_kafka_topic_partition_list_destroy(list);
    return !code || client_err(membership->client, err, code, "subscribe group '%s': %s",
                               membership->group, rd_kafka_err2str(code));
}

bool membership_is_old(struct membership *membership)
{
    return membership->client && client_is_old(membership->client);
}

int32_t membership_generation(const struct membership *membership)
{
    return membership->generation;
}

void membership_leave(struct membership *membership, struct cluster *target, int32_t timeout_ms,
                      void (*done)(void *arg, const struct err *err), void *arg)
{
    char member_id[256] = "";
    assert(!membership->leave);
    if (membership->client) {
        rd_kafka_consumer_group_metadata_t *metadata =
            rd_kafka_consumer_group_metadata(handle_of(membership));
        if (metadata) {
            snprintf(member_id, sizeof(member_id), "%s",
                     rd_kafka_consumer_group_metadata_member_id(metadata));
            rd_kafka_consumer_group_metadata_destroy(metadata);
        }
        /* First librdkafka ends, or its next heartbeat would join again. */
        finish(membership, "we are leaving");
    }
    membership->leave = leave_new(membership->loop, target, membership->group,
                                  membership->instance_id, member_id, timeout_ms, done, arg);
}
