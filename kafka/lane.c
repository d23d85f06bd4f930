/* See lane.h. */
#include "kafka/lane.h"

#include <assert.h>

#include "base/heap.h"

struct broker *broker_new(struct lane_owner *owner, int32_t id)
{
    struct broker *broker = must(calloc(1, sizeof(*broker)));

    broker->owner = owner;
    broker->id = id;
    return broker;
}

void broker_free(struct broker *broker)
{
    while (broker->lanes != NULL) {
        struct lane *lane = broker->lanes;
        struct conn *conn = lane->conn;
        lane->conn = NULL;
        conn_free(conn); /* its answers may still look for the lane */
        broker->lanes = lane->next;
        loop_timer_free(lane->timer);
        free(lane);
    }
    free(broker);
}

bool broker_idle(const struct broker *broker)
{
    for (const struct lane *lane = broker->lanes; lane != NULL; lane = lane->next) {
        if (lane->conn != NULL) {
            return false;
        }
    }
    return true;
}

/* --- a connection's life --------------------------------------------------------------------------------------- */

static void lane_ready(void *arg, struct conn *conn)
{
    struct lane *lane = arg;

    (void)conn;
    lane->ready = true;
    lane->wanted = false;
    lane->broker->owner->ready(lane->broker->owner->arg, lane);
}

/* The lane has no connection any more, and its next try waits for the backoff: said before anybody is told, so that
 * who asks again meanwhile does not connect at once. @return was it ready? */
static bool lane_clear(struct lane *lane, const struct conn *conn)
{
    bool was_ready = lane->ready;

    if (conn_served(conn)) { /* being ready is not enough: what is asked over it may break it */
        backoff_reset(&lane->backoff);
    }
    lane->conn = NULL;
    lane->ready = false;
    loop_timer_set(lane->timer, backoff_next_ms(&lane->backoff));
    return was_ready;
}

static void lane_tell_lost(struct lane *lane, bool was_ready, const struct err *why)
{
    struct lane_owner *owner = lane->broker->owner;

    if (!owner->closing) {
        owner->lost(owner->arg, lane, was_ready, why);
    }
}

static void lane_closed(void *arg, struct conn *conn, const struct err *why)
{
    struct lane *lane = arg;
    bool was_ready = lane_clear(lane, conn);

    conn_free(conn);
    lane_tell_lost(lane, was_ready, why);
}

static void lane_connect(struct lane *lane)
{
    struct lane_owner *owner = lane->broker->owner;
    struct conn_options options = owner->options;
    struct conn_callbacks callbacks = {.ready = lane_ready, .closed = lane_closed, .arg = lane};

    assert(lane->conn == NULL);
    options.host = lane->broker->host;
    options.port = lane->broker->port;
    lane->conn = conn_new(owner->loop, &options, &callbacks);
}

static void lane_backoff_over(void *arg)
{
    struct lane *lane = arg;

    if (lane->wanted && lane->conn == NULL && lane->broker->listed) {
        lane_connect(lane);
    }
}

/* --- asking ---------------------------------------------------------------------------------------------------- */

struct lane *lane_find(const struct broker *broker, int32_t number)
{
    struct lane *lane = broker->lanes;

    while (lane != NULL && lane->number != number) {
        lane = lane->next;
    }
    return lane;
}

struct lane *lane_find_ready(const struct broker *broker, int32_t number)
{
    struct lane *lane = lane_find(broker, number);
    bool ready = lane != NULL && lane->conn != NULL && lane->ready && conn_is_ready(lane->conn);
    return ready ? lane : NULL;
}

static struct lane *lane_get(struct broker *broker, int32_t number)
{
    struct lane_owner *owner = broker->owner;
    struct lane *lane = lane_find(broker, number);

    if (lane == NULL) {
        lane = must(calloc(1, sizeof(*lane)));
        lane->broker = broker;
        lane->number = number;
        backoff_init(&lane->backoff, owner->backoff_first_ms, owner->backoff_cap_ms,
                     owner->random_state++);
        lane->timer = loop_timer_new(owner->loop, lane_backoff_over, lane);
        lane->next = broker->lanes;
        broker->lanes = lane;
    }
    return lane;
}

struct conn *lane_want(struct broker *broker, int32_t number)
{
    struct lane *lane = lane_get(broker, number);

    if (lane_find_ready(broker, number) == lane) {
        return lane->conn;
    }
    lane->wanted = broker->listed && !broker->owner->closing;
    if (lane->wanted && lane->conn == NULL && !loop_timer_pending(lane->timer)) {
        lane_connect(lane);
    }
    return NULL; /* being made, about to be closed, or waiting for its backoff */
}

bool lane_failing(const struct broker *broker, int32_t number)
{
    const struct lane *lane = lane_find(broker, number);
    return lane != NULL && !lane->ready && lane->backoff.attempts_count > 0;
}

void lane_drop(struct lane *lane, const struct err *why)
{
    struct conn *conn = lane->conn;

    if (conn == NULL) {
        return;
    }
    bool was_ready = lane_clear(lane, conn);
    conn_free(conn);
    lane_tell_lost(lane, was_ready, why);
}

void lane_rest(struct lane *lane)
{
    struct conn *conn = lane->conn;

    lane->wanted = false;
    lane->conn = NULL;
    lane->ready = false;
    conn_free(conn);
}
