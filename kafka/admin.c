/* See admin.h: the handle, one call, and what is not about a topic's own data. */
#include "kafka/admin.h"

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

/* librdkafka ends a call by its own limit; this much later it is our bug or its. */
#define ANSWER_SLACK_MS 1000
/* It tries a sign-in that was refused again until the call's time is up. A password that was put right meanwhile has so long,
 * and no more than half of the call's time: who asks hears of it. */
#define REFUSED_MS 2000

struct admin *admin_new(const char *site, const struct config_client *settings, int32_t timeout_ms,
                        struct err *err)
{
    struct client *client =
        client_new(RD_KAFKA_PRODUCER, settings, NULL, RD_KAFKA_EVENT_ERROR, err);
    if (!client) {
        err_wrap(err, "%s", site);
        return NULL;
    }
    struct admin *admin = must(calloc(1, sizeof(*admin)));
    snprintf(admin->site, sizeof(admin->site), "%s", site);
    admin->client = client;
    admin->settings = settings;
    admin->timeout_ms = timeout_ms;
    return admin;
}

void admin_free(struct admin *admin)
{
    if (admin) {
        client_free(admin->client, CLIENT_END_MS);
        free(admin);
    }
}

int32_t admin_timeout(struct admin *admin, int32_t timeout_ms)
{
    int32_t before_ms = admin->timeout_ms;
    admin->timeout_ms = timeout_ms;
    return before_ms;
}

/* ---- one call ---- */

void admin_renew(struct admin *admin)
{
    struct err err;
    client_refresh(admin->client);
    if (!admin->settings || !client_is_old(admin->client)) { /* without: somebody else's handle */
        return;
    }
    struct client *made =
        client_new(RD_KAFKA_PRODUCER, admin->settings, NULL, RD_KAFKA_EVENT_ERROR, &err);
    if (made) { /* else files are being replaced: the next call tries again */
        client_free(admin->client, CLIENT_END_MS);
        admin->client = made;
    }
}

/* What befalls the handle comes where the answer comes; NULL: no longer. */
static void forward_errors(const struct admin_call *call, rd_kafka_queue_t *to)
{
    rd_kafka_queue_t *errors = rd_kafka_queue_get_main(client_handle(call->admin->client));
    rd_kafka_queue_forward(errors, to);
    rd_kafka_queue_destroy(errors);
}

void admin_call_begin(struct admin_call *call, struct admin *admin, rd_kafka_admin_op_t operation)
{
    char why[128];
    admin_renew(admin);
    rd_kafka_t *rk = client_handle(admin->client);
    *call = (struct admin_call){.admin = admin,
                                .queue = rd_kafka_queue_new(rk),
                                .options = rd_kafka_AdminOptions_new(rk, operation)};
    forward_errors(call, call->queue);
    rd_kafka_resp_err_t code = rd_kafka_AdminOptions_set_request_timeout(
        call->options, admin->timeout_ms, why, sizeof(why));
    assert(!code && "between 1 ms and an hour");
    (void)code;
    rd_kafka_AdminOptions_set_opaque(call->options, call);
}

bool admin_failed(struct admin *admin, struct err *err, int code, const char *what,
                  const char *text)
{
    return client_err(admin->client, err, code, "%s: %s: %s", admin->site, what,
                      text ? text : rd_kafka_err2str(code));
}

static int64_t refused_until_ms(const struct admin *admin)
{
    int32_t half_ms = admin->timeout_ms / 2;
    return client_now_ms() + (half_ms < REFUSED_MS ? half_ms : REFUSED_MS);
}

static void take_error(struct admin *admin, rd_kafka_event_t *event, int64_t *until_ms)
{
    if (!admin->refused && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__AUTHENTICATION &&
        client_is_refused(admin->client, rd_kafka_event_error_string(event))) {
        int64_t refused_ms = refused_until_ms(admin);
        admin->refused = true;
        *until_ms = refused_ms < *until_ms ? refused_ms : *until_ms;
    }
}

/* The answer, NULL = none came in time. librdkafka tells a refusal that repeats itself once in 30 s: it counts until
 * somebody answers. What else comes by the handle's own queue (a delivery report of a producer) answers nothing. */
static rd_kafka_event_t *wait_answer(struct admin_call *call)
{
    struct admin *admin = call->admin;
    int64_t until_ms = admin->refused ? refused_until_ms(admin)
                                      : client_now_ms() + admin->timeout_ms + ANSWER_SLACK_MS;
    for (;;) {
        int64_t left_ms = until_ms - client_now_ms();
        rd_kafka_event_t *event = rd_kafka_queue_poll(call->queue, left_ms > 0 ? (int)left_ms : 0);
        if (!event || rd_kafka_event_opaque(event) == call) {
            return event;
        }
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR) {
            take_error(admin, event, &until_ms);
        }
        rd_kafka_event_destroy(event);
    }
}

bool admin_not_signed_in(const struct err *err)
{
    return err->code == RD_KAFKA_RESP_ERR__AUTHENTICATION;
}

bool admin_call_wait(struct admin_call *call, const char *what, struct err *err)
{
    struct admin *admin = call->admin;
    call->event = wait_answer(call);
    rd_kafka_resp_err_t code =
        call->event ? rd_kafka_event_error(call->event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (admin->refused && code == RD_KAFKA_RESP_ERR__TIMED_OUT) {
        return admin_failed(admin, err, RD_KAFKA_RESP_ERR__AUTHENTICATION, what, NULL);
    }
    admin->refused = admin->refused && code;
    return !code || admin_failed(admin, err, code, what,
                                 call->event ? rd_kafka_event_error_string(call->event) : NULL);
}

void admin_call_done(struct admin_call *call)
{
    forward_errors(call, NULL);
    if (call->event) {
        rd_kafka_event_destroy(call->event);
    }
    rd_kafka_AdminOptions_destroy(call->options);
    rd_kafka_queue_destroy(call->queue);
}

struct uuid admin_uuid(const rd_kafka_Uuid_t *uuid)
{
    struct uuid out = {0};
    uint64_t halves[2] = {(uint64_t)rd_kafka_Uuid_most_significant_bits(uuid),
                          (uint64_t)rd_kafka_Uuid_least_significant_bits(uuid)};
    for (int i = 0; i < 16; i++) {
        out.bytes[i] = (uint8_t)(halves[i / 8] >> (56 - 8 * (i % 8)));
    }
    return out;
}

/* ---- the cluster ---- */

bool admin_cluster_id(struct admin *admin, char out[64], int32_t *out_brokers_count,
                      struct err *err)
{
    struct admin_call call;
    size_t brokers_count = 0;
    admin_call_begin(&call, admin, RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER);
    rd_kafka_DescribeCluster(client_handle(admin->client), call.options, call.queue);
    bool ok = admin_call_wait(&call, "describe cluster", err);
    if (ok) {
        const rd_kafka_DescribeCluster_result_t *result =
            rd_kafka_event_DescribeCluster_result(call.event);
        const char *id = rd_kafka_DescribeCluster_result_cluster_id(result);
        rd_kafka_DescribeCluster_result_nodes(result, &brokers_count);
        snprintf(out, 64, "%s", id ? id : "");
        *out_brokers_count = (int32_t)brokers_count;
    }
    admin_call_done(&call);
    return ok;
}

/* ---- offsets ---- */

/* librdkafka (2.14) looks for each partition of a call among all of them, twice: 2 s of 10,000 in one. */
#define LIST_AT_ONCE 500

static int64_t offset_spec(enum admin_offset_spec spec)
{
    return spec == OFFSET_SPEC_EARLIEST ? RD_KAFKA_OFFSET_SPEC_EARLIEST
                                        : RD_KAFKA_OFFSET_SPEC_LATEST;
}

static void take_offset(const rd_kafka_topic_partition_t *found, struct admin_offset *offsets,
                        size_t count, size_t guess)
{
    /* Answers come leader by leader; within one they keep our order, so the guess is mostly right. */
    for (size_t tries = 0; tries < count; tries++) {
        struct admin_offset *offset = &offsets[(guess + tries) % count];
        if (offset->partition == found->partition && strcmp(offset->topic, found->topic) == 0) {
            /* librdkafka (2.14) drops the error of a leader that did not answer: what is left is no error, and no offset */
            bool unanswered = !found->err && found->offset < 0;
            offset->error =
                (int16_t)(unanswered ? RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE : found->err);
            offset->offset = offset->error ? -1 : found->offset;
            return;
        }
    }
}

static rd_kafka_topic_partition_list_t *wants_list(enum admin_offset_spec spec,
                                                   struct admin_offset *offsets, size_t count)
{
    rd_kafka_topic_partition_list_t *wants = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_topic_partition_list_add(wants, offsets[i].topic, offsets[i].partition)->offset =
            offset_spec(spec);
        offsets[i].offset = -1;
        offsets[i].error = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    }
    return wants;
}

static bool list_some(struct admin *admin, enum admin_offset_spec spec,
                      struct admin_offset *offsets, size_t count, struct err *err)
{
    struct admin_call call;
    rd_kafka_topic_partition_list_t *wants = wants_list(spec, offsets, count);
    admin_call_begin(&call, admin, RD_KAFKA_ADMIN_OP_LISTOFFSETS);
    if (spec == OFFSET_SPEC_STABLE) {
        rd_kafka_error_t *refused = rd_kafka_AdminOptions_set_isolation_level(
            call.options, RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED);
        assert(!refused);
        (void)refused;
    }
    rd_kafka_ListOffsets(client_handle(admin->client), wants, call.options, call.queue);
    bool ok = admin_call_wait(&call, "list offsets", err);
    if (ok) {
        size_t found_count = 0;
        const rd_kafka_ListOffsetsResultInfo_t **infos = rd_kafka_ListOffsets_result_infos(
            rd_kafka_event_ListOffsets_result(call.event), &found_count);
        for (size_t i = 0; i < found_count; i++) {
            take_offset(rd_kafka_ListOffsetsResultInfo_topic_partition(infos[i]), offsets, count,
                        i);
        }
    }
    rd_kafka_topic_partition_list_destroy(wants);
    admin_call_done(&call);
    return ok;
}

bool admin_list_offsets(struct admin *admin, enum admin_offset_spec spec,
                        struct admin_offset *offsets, size_t count, struct err *err)
{
    for (size_t at = 0; at < count; at += LIST_AT_ONCE) {
        size_t some = count - at < LIST_AT_ONCE ? count - at : LIST_AT_ONCE;
        if (!list_some(admin, spec, offsets + at, some, err)) {
            return false;
        }
    }
    return true;
}
