/* See admin_probe.h. The write that is asked for is one batch header of magic 1 in a request that takes magic 2 alone: brokers look
 * at ACLs first (29), then refuse it as INVALID_RECORD before their log is touched.
 */
#include "kafka/admin_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/admin_inside.h"
#include "kafka/broker_ask.h"
#include "kafka/error.h"
#include "kafka/group_ask.h"
#include "kafka/proto.h"

#define ANSWER_BYTES_MAX    (16 << 20) /* 100,000 groups of 100 bytes; 100,000 partitions of 60 */
#define REFRESH_MS          500
#define TCP_USER_TIMEOUT_MS 3000
#define LOOK_MS             10
#define HEADER_MAGIC        16 /* its place in a batch header */
#define HEADER_LENGTH       8

static struct cluster *open_cluster(struct admin *admin, struct loop *loop)
{
    const struct cluster_options options = {.name = admin->site,
                                            .client = admin->settings,
                                            .refresh_ms = REFRESH_MS,
                                            .tcp_user_timeout_ms = TCP_USER_TIMEOUT_MS,
                                            .max_answer_bytes = ANSWER_BYTES_MAX};
    return cluster_new(loop, &options);
}

/* ---- who is in a group ---- */

struct presence_call {
    struct loop *loop;
    const char *group;
    enum group_presence found;
    bool untold; /* listed without its state: a broker before Kafka 2.6 */
    bool ok;
    struct err *err;
};

static void put_list(void *arg, struct writer *writer, int16_t version)
{
    (void)arg;
    proto_put_list_groups(writer, version);
}

static bool is_text(const struct wire_string *string, const char *text)
{
    return string->len >= 0 && (size_t)string->len == strlen(text) &&
           memcmp(string->data, text, (size_t)string->len) == 0;
}

static enum group_presence presence_of(const struct wire_string *state)
{
    return is_text(state, "Empty")  ? GROUP_EMPTY
           : is_text(state, "Dead") ? GROUP_ABSENT
                                    : GROUP_MEMBERS;
}

static void put_group(void *arg, struct writer *writer, int16_t version)
{
    const struct presence_call *call = arg;
    proto_put_describe_group(writer, API_DESCRIBE_GROUPS, version, call->group);
}

static bool get_group(void *arg, struct reader *reader, int16_t version, int16_t *out_error,
                      struct err *err)
{
    struct presence_call *call = arg;
    struct describe_group_answer answer;
    if (!proto_get_describe_group(reader, API_DESCRIBE_GROUPS, version, &answer, err)) {
        return false;
    }
    *out_error = answer.error;
    call->found = presence_of(&answer.state);
    call->untold = false;
    describe_group_answer_done(&answer);
    return true;
}

static bool get_list(void *arg, struct reader *reader, int16_t version, int16_t *out_error,
                     struct err *err)
{
    struct presence_call *call = arg;
    struct list_groups_answer answer;
    if (!proto_get_list_groups(reader, version, &answer, err)) {
        return false;
    }
    *out_error = answer.error;
    call->found = GROUP_ABSENT;
    call->untold = false;
    for (int32_t i = 0; i < answer.groups_count; i++) {
        const struct listed_group *row = &answer.groups[i];
        if (is_text(&row->group, call->group)) {
            call->found = presence_of(&row->state);
            call->untold = row->state.len < 0;
        }
    }
    list_groups_answer_done(&answer);
    return true;
}

static void presence_done(void *arg, const struct err *err)
{
    struct presence_call *call = arg;
    call->ok = err == NULL;
    if (err && call->err) {
        *call->err = *err;
    }
    loop_stop(call->loop);
}

static bool ask_presence(struct admin *admin, struct presence_call *call)
{
    struct group_ask_what what = {.group = call->group,
                                  .api = call->untold ? API_DESCRIBE_GROUPS : API_LIST_GROUPS,
                                  .put = call->untold ? put_group : put_list,
                                  .get = call->untold ? get_group : get_list,
                                  .timeout_ms = admin->timeout_ms,
                                  .done = presence_done,
                                  .arg = call};
    call->loop = loop_new(clock_system());
    struct cluster *cluster = open_cluster(admin, call->loop);
    struct group_ask *ask = group_ask_new(call->loop, cluster, &what);
    loop_run(call->loop);
    group_ask_free(ask);
    cluster_free(cluster);
    loop_free(call->loop);
    return call->ok;
}

bool admin_group_presence(struct admin *admin, const char *group, enum group_presence *out,
                          struct err *err)
{
    struct presence_call call = {.group = group, .err = err};
    struct admin_group_offset *offsets = NULL;
    size_t count = 0;
    if (!ask_presence(admin, &call) || (call.untold && !ask_presence(admin, &call))) {
        return err_wrap(err, "%s: is anybody in group '%s'", admin->site, group);
    }
    if (call.found == GROUP_ABSENT) {
        /* A broker that has just stopped being its coordinator lists it no more: one that has offsets exists. */
        if (!admin_group_offsets(admin, group, &offsets, &count, err)) {
            return false;
        }
        admin_group_offsets_free(offsets, count);
        call.found = count > 0 ? GROUP_UNKNOWN : GROUP_ABSENT;
    }
    *out = call.found;
    return true;
}

/* ---- how old is it ---- */

bool admin_metadata_version(struct admin *admin, int16_t *out, struct err *err)
{
    struct loop *loop = loop_new(clock_system());
    struct cluster *cluster = open_cluster(admin, loop);
    int64_t until_ms = loop_now_ms(loop) + admin->timeout_ms;
    struct conn *conn = NULL;
    bool ready = false;
    cluster_follow(cluster, (const char *const[]){""}, 0); /* no topic */
    while (!ready && loop_now_ms(loop) < until_ms) {
        loop_run_once(loop, LOOK_MS);
        conn = cluster_any_conn(cluster);
        ready = conn != NULL && conn_is_ready(conn);
    }
    if (ready) {
        *out = conn_versions(conn)->version[API_METADATA];
    } else {
        err_set(err, ERR_RETRY, "%s: which versions it speaks: %s", admin->site,
                cluster_last_error(cluster));
    }
    cluster_free(cluster);
    loop_free(loop);
    return ready;
}

/* ---- may we write ---- */

struct probe_call {
    struct loop *loop;
    struct admin *admin;
    struct cluster *cluster;
    struct broker_asks *asks;
    const char *const *topics;
    size_t topics_count;
    struct write_probe probe;
    struct loop_timer *look;
    int64_t until_ms;
    size_t open;
    bool begun;
    struct err err; /* ERR_NONE = none */
};

struct probe_ask { /* of one leader */
    struct probe_call *call;
    struct produce_part *parts;
    int32_t count;
};

static void put_probe(void *arg, struct writer *writer, int16_t version)
{
    struct probe_ask *ask = arg;
    size_t *cuts = must(calloc((size_t)ask->count + 1, sizeof(*cuts)));
    proto_put_produce(writer, version, 1000, ask->parts, ask->count, cuts);
    free(cuts);
}

static void finish(struct probe_call *call)
{
    if (--call->open == 0) {
        loop_stop(call->loop);
    }
}

static void take_part(struct probe_call *call, const struct probe_ask *ask,
                      const struct produce_answer_part *part)
{
    call->probe.asked++;
    if (part->error == KAFKA_TOPIC_AUTHORIZATION_FAILED) {
        call->probe.refused++;
        return;
    }
    if (part->error == KAFKA_INVALID_RECORD || part->error == KAFKA_CORRUPT_MESSAGE) {
        call->probe.allowed++;
    } else {
        err_set_code(&call->err, ERR_RETRY, part->error, "%s: may we write: %s", call->admin->site,
                     kafka_error_name(part->error));
    }
    snprintf(call->probe.example, sizeof(call->probe.example), "%.250s:%d", ask->parts[0].topic,
             part->partition);
}

static bool probe_answered(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct probe_ask *ask = arg;
    struct probe_call *call = ask->call;
    struct produce_answer answer;
    struct err why;
    bool understood = true;
    if (!reader) {
        call->err = *err;
    } else if (!(understood = proto_get_produce(reader, version, &answer, &why))) {
        call->err = why;
    } else {
        for (int32_t i = 0; i < answer.parts_count; i++) {
            take_part(call, ask, &answer.parts[i]);
        }
        produce_answer_done(&answer);
    }
    free(ask->parts);
    free(ask);
    finish(call);
    return understood;
}

/* 61 bytes that no broker appends. */
static void bad_header(uint8_t header[61])
{
    memset(header, 0, 61);
    header[HEADER_LENGTH + 3] = 61 - 12;
    header[HEADER_MAGIC] = 1;
}

static void ask_leader(struct probe_call *call, int32_t broker)
{
    size_t room = 0;
    struct probe_ask *ask = must(calloc(1, sizeof(*ask)));
    ask->call = call;
    for (size_t i = 0; i < call->topics_count; i++) {
        const struct cluster_topic *topic = cluster_topic(call->cluster, call->topics[i]);
        for (int32_t at = 0; at < topic->partitions_count; at++) {
            if (cluster_leader(call->cluster, call->topics[i], at).broker != broker) {
                continue;
            }
            if ((size_t)ask->count == room) {
                room = room == 0 ? 64 : room * 2;
                ask->parts = must(reallocarray(ask->parts, room, sizeof(*ask->parts)));
            }
            struct produce_part *part = &ask->parts[ask->count++];
            *part = (struct produce_part){
                .topic = call->topics[i], .topic_id = topic->id, .partition = at};
            bad_header(part->header);
        }
    }
    if (ask->count == 0) {
        free(ask->parts);
        free(ask);
        return;
    }
    const struct broker_ask what = {.broker = broker,
                                    .api = API_PRODUCE,
                                    .put = put_probe,
                                    .answer = probe_answered,
                                    .arg = ask};
    call->open++;
    broker_ask(call->asks, &what);
}

/* Every topic is known with a leader for each partition. */
static bool all_known(struct probe_call *call)
{
    for (size_t i = 0; i < call->topics_count; i++) {
        const struct cluster_topic *topic = cluster_topic(call->cluster, call->topics[i]);
        if (!topic) {
            return false;
        }
        for (int32_t at = 0; at < topic->partitions_count; at++) {
            if (cluster_leader(call->cluster, call->topics[i], at).broker < 0) {
                return false;
            }
        }
    }
    return true;
}

static void look(void *arg)
{
    struct probe_call *call = arg;
    if (call->begun) {
        return;
    }
    if (all_known(call)) {
        call->begun = true;
        call->open = 1; /* ours: an answer may come inside */
        for (int32_t i = 0; i < cluster_brokers_count(call->cluster); i++) {
            ask_leader(call, cluster_broker_at(call->cluster, i));
        }
        finish(call);
    } else if (loop_now_ms(call->loop) >= call->until_ms) {
        const char *why = cluster_last_error(call->cluster);
        err_set(&call->err, ERR_RETRY, "%s: may we write: not every leader is known%s%s",
                call->admin->site, why[0] ? ": " : "", why);
        loop_stop(call->loop);
    } else {
        loop_timer_set(call->look, LOOK_MS);
    }
}

bool admin_probe_write(struct admin *admin, const char *const *topics, size_t count,
                       struct write_probe *out, struct err *err)
{
    struct probe_call call = {.admin = admin, .topics = topics, .topics_count = count};
    const struct broker_asks_options options = {.wait_ms = admin->timeout_ms,
                                                .request_ms = admin->timeout_ms};
    *out = (struct write_probe){0};
    if (count == 0) {
        return true;
    }
    call.loop = loop_new(clock_system());
    call.cluster = open_cluster(admin, call.loop);
    cluster_follow(call.cluster, topics, (int32_t)count);
    call.asks = broker_asks_new(call.loop, call.cluster, &options);
    call.look = loop_timer_new(call.loop, look, &call);
    call.until_ms = loop_now_ms(call.loop) + admin->timeout_ms;
    loop_timer_set(call.look, 0);
    loop_run(call.loop);
    loop_timer_free(call.look);
    broker_asks_free(call.asks);
    cluster_free(call.cluster);
    loop_free(call.loop);
    if (call.err.kind != ERR_NONE) {
        if (err) {
            *err = call.err;
            err->kind = ERR_RETRY;
        }
        return false;
    }
    *out = call.probe;
    return true;
}
