/* Brokers and their lanes; a lane is one connection that is made again when it is asked for. Behind kafka/cluster;
 * nobody else includes this.
 *
 * A lane that was asked for is tried with backoff until it is ready; once lost it waits to be asked for again.
 */
#ifndef FERRY_KAFKA_LANE_H
#define FERRY_KAFKA_LANE_H

#include "base/backoff.h"
#include "kafka/cluster.h"

struct lane;

struct lane_owner { /* what the lanes of one cluster share; filled by the cluster */
    struct loop *loop;
    struct conn_options options; /* host and port are each broker's */
    int32_t backoff_first_ms;
    int32_t backoff_cap_ms;
    uint32_t random_state; /* seeds of the lanes' jitter */
    bool closing;          /* nobody is told any more, nothing is made */
    void (*ready)(void *arg, struct lane *lane);
    /* was_ready: it was in use; else an attempt failed */
    void (*lost)(void *arg, struct lane *lane, bool was_ready, const struct err *why);
    void *arg;
};

struct broker {
    struct lane_owner *owner;
    int32_t id;  /* -1 = a bootstrap name */
    bool listed; /* in the latest answer; lanes of others are not made again */
    char host[CLUSTER_HOST_BYTES];
    int32_t port;
    struct lane *lanes;
};

struct lane {
    struct broker *broker;
    struct lane *next;
    int32_t number;
    struct conn *conn; /* being made or ready */
    bool ready;
    bool wanted; /* asked for and not ready since */
    struct backoff backoff;
    struct loop_timer *timer; /* pending = not to be tried yet */
};

struct broker *broker_new(struct lane_owner *owner, int32_t id);
void broker_free(
    struct broker *broker); /* requests in flight are answered first, nobody is told of the lanes */
bool broker_idle(const struct broker *broker); /* no lane has a connection */

struct lane *lane_find(const struct broker *broker, int32_t number); /* or NULL */
/* The lane when its connection is ready, else NULL. */
struct lane *lane_find_ready(const struct broker *broker, int32_t number);
/* The ready connection, or NULL with one being made. */
struct conn *lane_want(struct broker *broker, int32_t number);
/* Has the lane failed since it was last ready? */
bool lane_failing(const struct broker *broker, int32_t number);
/* Drop the connection: requests in flight are answered, then `lost` is told. */
void lane_drop(struct lane *lane, const struct err *why);
/* Drop it and want it no more; nobody is told. */
void lane_rest(struct lane *lane);

#endif
