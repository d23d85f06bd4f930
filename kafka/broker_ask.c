/* See broker_ask.h. An ask is in the list from the beginning to its answer; `question` is what the connection holds, which
 * outlives the ask when we are freed first.
 */
#include "kafka/broker_ask.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "base/heap.h"

#define LOOK_MS 10 /* is the connection there now? asks nobody */

struct ask;

struct question {    /* given to the connection, which answers it for certain */
    struct ask *ask; /* NULL = answered already */
    int16_t version;
};

struct ask {
    struct broker_asks *asks;
    struct broker_ask what;
    int64_t until_ms;          /* for the connection */
    struct question *question; /* on its way; NULL = waits for a connection */
    TAILQ_ENTRY(ask) link;
};

TAILQ_HEAD(ask_list, ask);

struct broker_asks {
    struct loop *loop;
    struct cluster *cluster;
    struct broker_asks_options options;
    struct ask_list list;
    struct loop_timer *look;
};

/* @return false: not understood */
static bool finish(struct ask *ask, struct reader *reader, int16_t version, const struct err *err)
{
    struct broker_ask what = ask->what;
    TAILQ_REMOVE(&ask->asks->list, ask, link);
    if (ask->question != NULL) {
        ask->question->ask = NULL;
    }
    free(ask);
    return what.answer(what.arg, reader, version, err);
}

static void told(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct question *question = arg;
    struct ask *ask = question->ask;
    int16_t version = question->version;
    (void)block;
    if (ask == NULL) {
        free(question);
        return;
    }
    struct cluster *cluster = ask->asks->cluster;
    int32_t broker = ask->what.broker;
    int32_t lane = ask->what.lane;
    bool understood = finish(ask, reader, version, err);
    free(question);
    if (!understood && reader != NULL && broker != BROKER_ANY) {
        cluster_drop_conn(cluster, broker, lane, "its answer is not what the protocol says");
    }
}

static void send_it(struct ask *ask, struct conn *conn, int16_t version)
{
    struct writer writer;
    struct question *question = must(calloc(1, sizeof(*question)));
    question->ask = ask;
    question->version = version;
    ask->question = question;
    writer_init(&writer);
    ask->what.put(ask->what.arg, &writer, version);
    conn_send(conn, ask->what.api, version, &writer, NULL, 0, ask->asks->options.request_ms, told,
              question);
}

/* @return true: it was sent, or answered */
static bool try_one(struct ask *ask, int64_t now_ms)
{
    struct broker_asks *asks = ask->asks;
    struct err err;
    struct conn *conn = ask->what.broker == BROKER_ANY
                            ? cluster_any_conn(asks->cluster)
                            : cluster_conn(asks->cluster, ask->what.broker, ask->what.lane);
    if (conn != NULL && conn_is_ready(conn)) {
        int16_t version = conn_versions(conn)->version[ask->what.api];
        if (version >= 0) {
            send_it(ask, conn, version);
            return true;
        }
        err_set(&err, ERR_REFUSED, "broker %s does not offer %s in a version that we speak",
                conn_name(conn), api_name(ask->what.api));
        finish(ask, NULL, -1, &err);
        return true;
    }
    if (now_ms >= ask->until_ms || cluster_refuses(asks->cluster)) {
        err_set(&err, ERR_RETRY, "%s: broker %d: no connection within %lld ms%s%s",
                api_name(ask->what.api), ask->what.broker,
                (long long)(asks->options.wait_ms - (ask->until_ms - now_ms)),
                cluster_reachable(asks->cluster) ? "" : ": ",
                cluster_reachable(asks->cluster) ? "" : cluster_last_error(asks->cluster));
        finish(ask, NULL, -1, &err);
        return true;
    }
    return false;
}

/* An answer may ask anew, or end others: the list is walked from its beginning as long as something happens. */
static void look(void *arg)
{
    struct broker_asks *asks = arg;
    int64_t now_ms = loop_now_ms(asks->loop);
    struct ask *ask = TAILQ_FIRST(&asks->list);
    bool waiting = false;
    while (ask != NULL) {
        struct ask *next = TAILQ_NEXT(ask, link);
        if (ask->question == NULL && (now_ms >= ask->until_ms || cluster_refuses(asks->cluster))) {
            try_one(ask, now_ms);
            loop_timer_set(asks->look, 0); /* the list may be another one by now */
            return;
        }
        waiting = (ask->question == NULL && !try_one(ask, now_ms)) || waiting;
        ask = next;
    }
    if (waiting) {
        loop_timer_set(asks->look, LOOK_MS);
    }
}

struct broker_asks *broker_asks_new(struct loop *loop, struct cluster *cluster,
                                    const struct broker_asks_options *options)
{
    struct broker_asks *asks = must(calloc(1, sizeof(*asks)));
    asks->loop = loop;
    asks->cluster = cluster;
    asks->options = *options;
    TAILQ_INIT(&asks->list);
    asks->look = loop_timer_new(loop, look, asks);
    return asks;
}

void broker_asks_free(struct broker_asks *asks)
{
    struct err err;
    if (asks == NULL) {
        return;
    }
    err_set(&err, ERR_RETRY, "stopped");
    while (!TAILQ_EMPTY(&asks->list)) {
        finish(TAILQ_FIRST(&asks->list), NULL, -1, &err);
    }
    loop_timer_free(asks->look);
    free(asks);
}

void broker_ask(struct broker_asks *asks, const struct broker_ask *what)
{
    struct ask *ask = must(calloc(1, sizeof(*ask)));
    ask->asks = asks;
    ask->what = *what;
    ask->until_ms = loop_now_ms(asks->loop) + asks->options.wait_ms;
    TAILQ_INSERT_TAIL(&asks->list, ask, link);
    if (!loop_timer_pending(asks->look)) {
        loop_timer_set(asks->look, 0);
    }
}
