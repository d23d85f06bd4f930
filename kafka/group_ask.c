/* See group_ask.h.
 *
 * FINDING -> (coordinator known) -> ASKING -> done. Whatever goes wrong leads back to FINDING: who coordinates may have
 * changed meanwhile. A coordinator that is told to us and cannot be reached is forgotten after UNREACHED_MS: the other
 * brokers name the dead one until its session with the controller ends, and another one afterwards.
 */
#include "kafka/group_ask.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/backoff.h"
#include "base/heap.h"
#include "kafka/error.h"
#include "kafka/proto.h"

#define LOOK_MS        20  /* is the connection there now? asks nobody */
#define AGAIN_FIRST_MS 20  /* a broker that refuses for now is asked again; with AGAIN_CAP_MS ... */
#define AGAIN_CAP_MS   200 /* ... that makes about 30 requests in 5 s */
#define UNREACHED_MS   500
/* A request unanswered for so long costs the connection and what else is in flight there, so our own end, which may be
 * a millisecond away, is not the limit: then the question is given up and its answer dropped when it comes. */
#define REQUEST_MS 5000

struct group_ask {
    struct loop *loop;
    struct cluster *cluster;
    char group[256];
    struct group_ask_what what;
    int32_t coordinator; /* -1 = not known */
    int64_t told_ms;     /* when it was told to us */
    struct backoff backoff;
    struct loop_timer *again;
    struct loop_timer *deadline;
    struct question *question; /* on its way; NULL = none */
    struct err last;           /* why it is not done yet */
};

/* Given to the connection, which answers it for certain; we may be gone by then. */
struct question {
    struct group_ask *ask; /* NULL = gone */
    int16_t version;
};

static void step(void *arg);

static const char *kind_of(const struct group_ask *ask)
{
    return ask->what.transactional ? "transactional id" : "group";
}

static void drop_question(struct group_ask *ask)
{
    if (ask->question) {
        ask->question->ask = NULL;
        ask->question = NULL;
    }
}

static void finish(struct group_ask *ask, const struct err *err)
{
    struct err copy = err ? *err : (struct err){0}; /* it may be ours, and `done` may free us */
    drop_question(ask);
    loop_timer_cancel(ask->again);
    loop_timer_cancel(ask->deadline);
    ask->what.done(ask->what.arg, err ? &copy : NULL);
}

static void time_is_up(void *arg)
{
    struct group_ask *ask = arg;
    err_wrap(&ask->last, "%s of %s '%s': time is up", api_name(ask->what.api), kind_of(ask),
             ask->group);
    finish(ask, &ask->last);
}

/* The answer's question: NULL when the ask is gone; freed here. */
static struct group_ask *answered(struct question *question)
{
    struct group_ask *ask = question->ask;
    if (ask) {
        ask->question = NULL;
    }
    free(question);
    return ask;
}

static bool is_passing(int16_t error)
{
    return error == KAFKA_COORDINATOR_LOAD_IN_PROGRESS ||
           error == KAFKA_COORDINATOR_NOT_AVAILABLE || error == KAFKA_NOT_COORDINATOR;
}

static void again(struct group_ask *ask, const struct err *err)
{
    ask->last = *err;
    ask->coordinator = -1;
    loop_timer_set(ask->again, backoff_next_ms(&ask->backoff));
}

static void refused(struct group_ask *ask, enum api_key api, int16_t error)
{
    struct err why;
    char lacks[ACL_LACKS_BYTES];
    bool denied = cluster_denied(
        ask->cluster, error, ask->what.transactional ? ACL_WRITE : ACL_READ,
        ask->what.transactional ? ACL_TRANSACTIONAL_ID : ACL_GROUP, ask->group, lacks);
    err_set_code(&why, is_passing(error) ? ERR_RETRY : ERR_REFUSED, error, "%s of %s '%s': %s",
                 api_name(api), kind_of(ask), ask->group, denied ? lacks : kafka_error_name(error));
    err_hint(&why, "%s", denied ? ACL_HINT : kafka_error_info(error)->hint);
    if (is_passing(error)) {
        again(ask, &why);
    } else {
        finish(ask, &why);
    }
}

/* Its answers are not what the protocol says: another connection may do better. */
static void misunderstood(struct group_ask *ask, const struct err *why)
{
    struct cluster *cluster = ask->cluster;
    int32_t coordinator = ask->coordinator;
    again(ask, why);
    if (coordinator >= 0) { /* last: others are told of it, who may free us */
        cluster_drop_conn(cluster, coordinator, 0, why->what);
    }
}

static void told(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct question *question = arg;
    int16_t version = question->version;
    int16_t error = KAFKA_NONE;
    struct err why;
    struct group_ask *ask = answered(question);
    (void)block;
    if (!ask) {
        return;
    }
    if (!reader) {
        again(ask, err);
    } else if (!ask->what.get(ask->what.arg, reader, version, &error, &why)) {
        misunderstood(ask, &why);
    } else if (error == KAFKA_NONE) {
        finish(ask, NULL);
    } else {
        refused(ask, ask->what.api, error);
    }
}

static void found(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct question *question = arg;
    int16_t version = question->version;
    struct find_coordinator_answer answer;
    struct err why;
    struct group_ask *ask = answered(question);
    (void)block;
    if (!ask) {
        return;
    }
    if (!reader) {
        again(ask, err);
    } else if (!proto_get_find_coordinator(reader, version, &answer, &why)) {
        misunderstood(ask, &why);
    } else if (answer.error != KAFKA_NONE) {
        refused(ask, API_FIND_COORDINATOR, answer.error);
    } else if (ask->what.api == API_FIND_COORDINATOR) {
        finish(ask, NULL);
    } else {
        ask->coordinator = answer.id;
        ask->told_ms = loop_now_ms(ask->loop);
        step(ask);
    }
}

static void request(struct group_ask *ask, struct conn *conn, enum api_key api)
{
    struct writer writer;
    int16_t version = conn_versions(conn)->version[api];
    if (version < 0) {
        err_set(&ask->last, ERR_REFUSED, "%s does not speak %s as we do", conn_name(conn),
                api_name(api));
        finish(ask, &ask->last);
        return;
    }
    struct question *question = must(calloc(1, sizeof(*question)));
    *question = (struct question){.ask = ask, .version = version};
    ask->question = question;
    writer_init(&writer);
    if (api == API_FIND_COORDINATOR) {
        proto_put_find_coordinator(&writer, version, ask->what.transactional, ask->group);
    } else {
        ask->what.put(ask->what.arg, &writer, version);
    }
    conn_send(conn, api, version, &writer, NULL, 0, REQUEST_MS,
              api == API_FIND_COORDINATOR ? found : told, question);
    writer_done(&writer);
}

static void wait_for_conn(struct group_ask *ask)
{
    const char *why = cluster_last_error(ask->cluster);
    if (ask->coordinator < 0) {
        err_set(&ask->last, ERR_RETRY, "no connection to the cluster%s%s", why[0] ? ": " : "", why);
    } else if (ask->coordinator >= 0 && loop_now_ms(ask->loop) - ask->told_ms >= UNREACHED_MS) {
        err_set(&ask->last, ERR_RETRY, "no connection to broker %d, which coordinates the group",
                ask->coordinator);
        ask->coordinator = -1;
        cluster_refresh(ask->cluster); /* it may stand at another address now */
    }
    if (cluster_refuses(ask->cluster)) {
        time_is_up(ask);
        return;
    }
    loop_timer_set(ask->again, LOOK_MS);
}

static void step(void *arg)
{
    struct group_ask *ask = arg;
    bool finding = ask->coordinator < 0;
    struct conn *conn =
        finding ? cluster_any_conn(ask->cluster) : cluster_conn(ask->cluster, ask->coordinator, 0);
    if (conn) {
        request(ask, conn, finding ? API_FIND_COORDINATOR : ask->what.api);
    } else {
        wait_for_conn(ask);
    }
}

struct group_ask *group_ask_new(struct loop *loop, struct cluster *cluster,
                                const struct group_ask_what *what)
{
    struct group_ask *ask = must(calloc(1, sizeof(*ask)));
    ask->loop = loop;
    ask->cluster = cluster;
    ask->what = *what;
    snprintf(ask->group, sizeof(ask->group), "%s", what->group);
    ask->what.group = ask->group;
    ask->coordinator = -1;
    backoff_init(&ask->backoff, AGAIN_FIRST_MS, AGAIN_CAP_MS, (uint32_t)loop_now_ms(loop));
    err_set(&ask->last, ERR_RETRY, "no connection to the cluster");
    ask->again = loop_timer_new(loop, step, ask);
    ask->deadline = loop_timer_new(loop, time_is_up, ask);
    loop_timer_set(ask->again, 0);
    loop_timer_set(ask->deadline, what->timeout_ms);
    return ask;
}

void group_ask_free(struct group_ask *ask)
{
    if (!ask) {
        return;
    }
    drop_question(ask);
    loop_timer_free(ask->again);
    loop_timer_free(ask->deadline);
    free(ask);
}
