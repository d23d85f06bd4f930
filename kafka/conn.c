/* See conn.h. One state after the other: LOOKUP, CONNECT, TLS, HANDSHAKE, SIGN_IN, READY; from each of them to BREAKING or
 * CLOSED. TLS and SIGN_IN are passed over where they are not asked for.
 *
 * Callbacks may free the connection: each entry from the loop counts `depth`, and the memory goes with the last one.
 */
#include "kafka/conn.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/heap.h"
#include "base/tcp.h"
#include "kafka/conn_inside.h"

/* --- life ------------------------------------------------------------------------------------------------------ */

static void conn_delete(struct conn *conn)
{
    assert(conn->state == CONN_CLOSED && conn->queue.head == NULL && conn->held.head == NULL);
    loop_timer_free(conn->timer);
    loop_timer_free(conn->kick);
    loop_timer_free(conn->again);
    free((char *)(uintptr_t)conn->options.host);
    free((char *)(uintptr_t)conn->options.client_id);
    free(conn);
}

void conn_enter(struct conn *conn)
{
    conn->depth++;
}

void conn_leave(struct conn *conn)
{
    if (--conn->depth == 0 && conn->doomed) {
        conn_delete(conn);
    }
}

void conn_release_socket(struct conn *conn)
{
    loop_fd_free(conn->watch);
    conn->watch = NULL;
    tls_free(conn->tls);
    conn->tls = NULL;
    if (conn->fd >= 0) {
        close(conn->fd);
    }
    conn->fd = -1;
}

static void release_all(struct conn *conn)
{
    conn_release_socket(conn);
    loop_timer_cancel(conn->timer);
    loop_timer_cancel(conn->kick);
    loop_timer_cancel(conn->again);
    sign_in_done(&conn->sign_in);
    aside_free(conn->asking);
    conn->asking = NULL;
    lookup_free(conn->lookup);
    conn->lookup = NULL;
    if (conn->addresses != NULL) {
        freeaddrinfo(conn->addresses);
    }
    conn->addresses = NULL;
    buf_unref(conn->frame);
    conn->frame = NULL;
    conn->queue.unsent = conn->held.unsent = NULL;
    conn->queue.unsent_bytes = conn->held.unsent_bytes = 0;
}

static void fail_queue(struct request_queue *queue, const struct err *why)
{
    while (queue->head != NULL) {
        struct request *request = request_queue_pop(queue);
        request->answer(request->arg, NULL, NULL, why);
        request_free(request);
    }
}

static void fail_all(struct conn *conn, const struct err *why)
{
    fail_queue(&conn->queue, why);
    fail_queue(&conn->held, why);
}

void conn_break(struct conn *conn, const struct err *why)
{
    if (conn->state == CONN_CLOSED) {
        return;
    }
    struct err copy = *why;
    assert(conn->depth > 0);
    conn->state = CONN_CLOSED;
    release_all(conn);
    fail_all(conn, &copy);
    if (!conn->doomed) {
        conn->callbacks.closed(conn->callbacks.arg, conn, &copy);
    }
}

void conn_break_format(struct conn *conn, const char *format, ...)
{
    char text[256];
    struct err why;
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    err_set(&why, ERR_RETRY, "%s: %s", conn->name, text);
    conn_break(conn, &why);
}

void conn_break_with(struct conn *conn, struct err *why)
{
    err_wrap(why, "%s", conn->name);
    conn_break(conn, why);
}

void conn_io_error(const struct conn *conn, const char *what, int error, struct err *out)
{
    if (error == EPROTO && conn->tls != NULL) {
        tls_error(conn->tls, out);
        err_wrap(out, "%s", conn->name);
    } else {
        err_set_code(out, ERR_RETRY, error, "%s: %s: %s", conn->name, what, strerror(error));
    }
}

void conn_break_closed(struct conn *conn)
{
    struct err why;

    if (conn->not_again.kind != ERR_NONE) {
        why = conn->not_again;
        why.kind = ERR_RETRY; /* to those who wait for answers */
        why.code = CONN_NOT_AGAIN;
        err_wrap(&why, "%s: closed by the broker, the session could not be made anew", conn->name);
        conn_break(conn, &why);
        return;
    }
    err_set(&why, ERR_RETRY, "%s: closed by the broker", conn->name);
    if (conn->state == CONN_HANDSHAKE && conn->tls == NULL) {
        err_hint(&why, "a listener with TLS does so when it is spoken to in the clear: compare "
                       "security.protocol of this site with the listener's");
    } else if (conn->state == CONN_READY && !conn->served && conn->options.sign_in == NULL) {
        err_hint(&why, "a listener that asks for a sign-in does so: compare security.protocol of "
                       "this site with the listener's");
    }
    conn_break(conn, &why);
}

void conn_break_later(struct conn *conn)
{
    conn->state = CONN_BREAKING;
    loop_fd_interest(conn->watch, 0);
    conn->interest = 0;
    loop_timer_set(conn->kick, 0);
}

void conn_free(struct conn *conn)
{
    struct err why;

    if (conn == NULL) {
        return;
    }
    conn_enter(conn);
    conn->doomed = true;
    err_set(&why, ERR_RETRY, "%s: closed by us", conn->name);
    conn_break(conn, &why);
    fail_all(conn, &why); /* inside an answer that failed: those behind it are not answered yet */
    conn_leave(conn);
}

/* --- time limits ----------------------------------------------------------------------------------------------- */

void conn_watch_deadline(struct conn *conn, int64_t deadline_ms)
{
    if (loop_timer_pending(conn->timer) && conn->timer_ms <= deadline_ms) {
        return;
    }
    int64_t delay_ms = deadline_ms - loop_now_ms(conn->loop);
    conn->timer_ms = deadline_ms;
    loop_timer_set(conn->timer, delay_ms > 0 ? delay_ms : 0);
}

int64_t conn_head_deadline_ms(const struct conn *conn)
{
    const struct request *head = conn->queue.head;
    int64_t turn_ms = head->sent_ms > conn->answered_ms ? head->sent_ms : conn->answered_ms;
    return turn_ms + head->timeout_ms;
}

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
