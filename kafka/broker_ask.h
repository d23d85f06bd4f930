/* Requests to named brokers of a cluster, each waited for: its connection is made, the request goes as soon as that is ready,
 * and it is answered exactly once, in time or with an error. Many may be on their way; a broker answers those of one connection
 * one after the other, and begins none before the one before it is answered: lanes are how they go side by side. Loop thread
 * only.
 */
#ifndef FERRY_KAFKA_BROKER_ASK_H
#define FERRY_KAFKA_BROKER_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "kafka/cluster.h"
#include "kafka/proto.h"

struct broker_asks;

struct broker_asks_options {
    int32_t wait_ms; /* for a connection */
    int32_t
        request_ms; /* for an answer, from the one before it on; beyond it the connection is dropped */
};

#define BROKER_ANY (-1)

struct broker_ask {
    int32_t broker; /* or BROKER_ANY: whichever is ready */
    int32_t lane;   /* connection to it (cluster_conn()); of BROKER_ANY always 0 */
    enum api_key api;
    void (*put)(void *arg, struct writer *writer, int16_t version);
    /* Once, never inside broker_ask(). reader NULL: err says why (ERR_REFUSED: the broker does not offer the API). false: the
     * bytes are not what the protocol says; that connection is dropped. */
    bool (*answer)(void *arg, struct reader *reader, int16_t version, const struct err *err);
    void *arg;
};

/* `cluster` is borrowed and freed behind it. */
struct broker_asks *broker_asks_new(struct loop *loop, struct cluster *cluster,
                                    const struct broker_asks_options *options);
/* What is not answered yet is answered with an error first. NULL is fine. */
void broker_asks_free(struct broker_asks *asks);
void broker_ask(struct broker_asks *asks, const struct broker_ask *what);

#endif
