/* See conn.h. One state after the other: LOOKUP, CONNECT, TLS, HANDSHAKE, SIGN_IN, READY; from each of them to BREAKING or
 * CLOSED. TLS and SIGN_IN are passed over where they are not asked for.
 *
 * Callbacks may free the connection: each entry from the loop counts `depth`, and the memory goes with the last one.
 */
#include "kafka/conn.h"

#include <assert.h>
#include <errno.h>

#include "base/heap.h"
#include "base/tcp.h"
#include "kafka/conn_inside.h"

/* --- time limits ----------------------------------------------------------------------------------------------- */

static void check_deadlines(struct conn *conn)
{
    const struct request *head = conn->queue.head;

    if (head == NULL) {
        return;
    }
    if (conn_head_deadline_ms(conn) <= loop_now_ms(conn->loop)) {
        conn_break_format(conn, "%s unanswered for %d ms", api_name(head->api), head->timeout_ms);
        return;
    }
    conn_watch_deadline(conn, conn_head_deadline_ms(conn));
}

static void timer_fired(void *arg)
{
    struct conn *conn = arg;

    conn_enter(conn);
    if (conn->state == CONN_LOOKUP) {
        conn_break_format(conn, "look up: no answer for %d ms", conn->options.connect_timeout_ms);
    } else if (conn->state == CONN_CONNECT) {
        err_set_code(&conn->why, ERR_RETRY, ETIMEDOUT, "%s: connect: no answer", conn->name);
        conn_connect_next(conn);
    } else if (conn->state == CONN_TLS) {
        conn_break_format(conn, "TLS handshake: no answer");
    } else if (conn->state == CONN_SIGN_IN && conn->asking != NULL) {
        conn_break_format(conn,
                          "sign-in: who vouches for us (KDC, token endpoint) gives no answer");
    } else {
        check_deadlines(conn);
    }
    conn_leave(conn);
}

/* --- what waited for the next turn -------------------------------------------------------------------------------- */

static void kicked(void *arg)
{
    struct conn *conn = arg;

    conn_enter(conn);
    if (conn->state == CONN_BREAKING) {
        conn_break(conn, &conn->why);
    } else if (conn->state == CONN_LOOKUP) {
        conn_begin(conn);
    } else {
        conn_readable(conn);
    }
    conn_leave(conn);
}

/* --- plain sockets ------------------------------------------------------------------------------------------------ */

static ssize_t plain_recv(void *arg, int fd, void *data, size_t len)
{
    (void)arg;
    return recv(fd, data, len, 0);
}

static ssize_t plain_sendmsg(void *arg, int fd, const struct msghdr *message)
{
    (void)arg;
    return sendmsg(fd, message, MSG_NOSIGNAL);
}

static const struct conn_io plain_io = {.recv = plain_recv, .sendmsg = plain_sendmsg};

/* --- what the owner calls -------------------------------------------------------------------------------------- */

struct conn *conn_new(struct loop *loop, const struct conn_options *options,
                      const struct conn_callbacks *callbacks)
{
    struct conn *conn = must(calloc(1, sizeof(*conn)));

    assert(options->host != NULL && options->connect_timeout_ms > 0 &&
           options->max_answer_bytes >= FRAME_MIN_BYTES);
    conn->loop = loop;
    conn->options = *options;
    conn->options.host = must_copy(options->host);
    conn->options.client_id = must_copy(options->client_id);
    conn->io = options->io == NULL ? plain_io : *options->io;
    sign_in_init(&conn->sign_in, options->sign_in);
    conn->callbacks = *callbacks;
    conn->fd = -1;
    snprintf(conn->name, sizeof(conn->name), strchr(options->host, ':') ? "[%s]:%d" : "%s:%d",
             options->host, options->port);
    api_versions_none(&conn->versions);
    conn->timer = loop_timer_new(loop, timer_fired, conn);
    conn->kick = loop_timer_new(loop, kicked, conn);
    conn->again = loop_timer_new(loop, conn_sign_in_again, conn);
    loop_timer_set(conn->kick, 0);
    return conn;
}

bool conn_is_ready(const struct conn *conn)
{
    return conn->state == CONN_READY;
}

bool conn_served(const struct conn *conn)
{
    return conn->served;
}

const struct api_versions *conn_versions(const struct conn *conn)
{
    return &conn->versions;
}

int32_t conn_in_flight_count(const struct conn *conn)
{
    return conn->queue.count + conn->held.count;
}

size_t conn_unsent_bytes(const struct conn *conn)
{
    return conn->queue.unsent_bytes + conn->held.unsent_bytes;
}

const char *conn_name(const struct conn *conn)
{
    return conn->name;
}

int64_t conn_round_trip_us(const struct conn *conn)
{
    return conn->fd < 0 ? -1 : tcp_round_trip_us(conn->fd);
}
