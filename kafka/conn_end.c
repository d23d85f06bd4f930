/* How a connection ends, and by when it must have been answered: what each other part of it calls. */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/heap.h"
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
