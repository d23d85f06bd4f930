#include <assert.h>
#include <errno.h>

#include "kafka/conn_inside.h"

/* Received in one turn of the loop, so that a fast broker does not starve the others: 1 ms at 4 GB/s. */
#define TURN_BYTES ((size_t)4 << 20)
/* Pieces in one sendmsg(): 64 partitions of a request with framing between them; more go with the next call. */
#define SEND_PIECES 128
/* Of a long frame: a wake-up each 256 KiB instead of each packet. */
#define LOWAT_FRAME_BYTES ((size_t)256 << 10)
/* A record of TLS that has come in parts stands inside OpenSSL: its bytes wake nobody. It may be counted as read from the
 * socket, whole, and so may the overhead of others: two records. */
#define LOWAT_TLS_SLACK ((size_t)2 * TLS_RECORD_BYTES)

/* --- sending --------------------------------------------------------------------------------------------------- */

void conn_want(struct conn *conn, int interest)
{
    if (conn->interest != interest) {
        conn->interest = interest;
        loop_fd_interest(conn->watch, interest);
    }
}

/* A batch that waits here past its worker's send deadline may meet another worker at the target, and a group's commit what
 * an operation has put in its place: nothing of it leaves, nor the rest of one that has begun. All have the same deadline. */
static bool is_late(const struct conn *conn)
{
    const int64_t *until_ms = conn->options.produce_until_ms;

    if (until_ms == NULL || loop_now_ms(conn->loop) < *until_ms) {
        return false;
    }
    for (const struct request *r = conn->queue.unsent; r != NULL; r = r->next) {
        if (r->api == API_PRODUCE || r->api == API_OFFSET_COMMIT) {
            return true;
        }
    }
    return false;
}

void conn_flush(struct conn *conn)
{
    while (conn->queue.unsent != NULL) {
        struct iovec segments[SEND_PIECES];
        int count = 0;
        if (is_late(conn)) {
            err_set(&conn->why, ERR_RETRY,
                    "%s: what it writes stood unsent until the send deadline", conn->name);
            conn_break_later(conn);
            return;
        }
        size_t offered = request_queue_gather(&conn->queue, segments, SEND_PIECES, &count);
        struct msghdr message = {.msg_iov = segments, .msg_iovlen = (size_t)count};
        ssize_t sent = conn->io.sendmsg(conn->io.arg, conn->fd, &message);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            conn_io_error(conn, "send", errno, &conn->why);
            conn_break_later(conn);
            return;
        }
        request_queue_sent(&conn->queue, sent < 0 ? 0 : (size_t)sent);
        if (sent < 0 || (size_t)sent < offered) { /* full */
            conn_want(conn, LOOP_READ | LOOP_WRITE);
            return;
        }
    }
    conn_want(conn, LOOP_READ);
}

static int32_t next_correlation(struct conn *conn)
{
    int32_t correlation = conn->next_correlation;

    conn->next_correlation = correlation == INT32_MAX ? 0 : correlation + 1;
    return correlation;
}

static bool is_sign_in(enum api_key api)
{
    return api == API_SASL_HANDSHAKE || api == API_SASL_AUTHENTICATE;
}

void conn_send_request(struct conn *conn, enum api_key api, int16_t version, struct writer *writer,
                       const struct conn_piece *pieces, int32_t pieces_count, int32_t timeout_ms,
                       conn_answer_fn *answer, void *arg)
{
    const char *client_id = conn->options.client_id;
    struct request *request = request_new(writer, client_id, pieces, pieces_count);
    bool idle = conn->queue.unsent == NULL;

    request->api = api;
    request->version = version;
    request->timeout_ms = timeout_ms;
    request->sent_ms = loop_now_ms(conn->loop);
    request->answer = answer;
    request->arg = arg;
    if (conn->signing && !is_sign_in(api)) { /* its correlation id is given when it goes */
        request_queue_push(&conn->held, request, client_id);
        return;
    }
    request->correlation = next_correlation(conn);
    request_queue_push(&conn->queue, request, client_id);
    if (conn->state == CONN_BREAKING) { /* answered with the others in the next turn */
        return;
    }
    if (conn->queue.head == request) {
        conn_watch_deadline(conn, conn_head_deadline_ms(conn));
    }
    if (idle) {
        conn_flush(conn);
    }
}

void conn_send(struct conn *conn, enum api_key api, int16_t version, struct writer *writer,
               const struct conn_piece *pieces, int32_t pieces_count, int32_t timeout_ms,
               conn_answer_fn *answer, void *arg)
{
    assert(conn->state == CONN_READY || conn->state == CONN_BREAKING);
    assert(answer != NULL && timeout_ms > 0);
    conn_send_request(conn, api, version, writer, pieces, pieces_count, timeout_ms, answer, arg);
}

void conn_send_held(struct conn *conn)
{
    bool idle = conn->queue.unsent == NULL;

    conn->signing = false;
    while (conn->held.head != NULL) {
        request_queue_move_head(&conn->held, &conn->queue, next_correlation(conn));
    }
    if (conn->state == CONN_BREAKING || conn->queue.head == NULL) {
        return;
    }
    conn_watch_deadline(conn, conn_head_deadline_ms(conn));
    if (idle) {
        conn_flush(conn);
    }
}

/* --- receiving ------------------------------------------------------------------------------------------------- */

static bool io_pending(const struct conn *conn)
{
    return conn->io.pending != NULL && conn->io.pending(conn->io.arg);
}

/* Takes the frame's reference. The reader stands behind the header when the owner gets it. */
static void deliver(struct conn *conn, struct buf *frame)
{
    struct reader reader = reader_over(frame->data, frame->len);
    int32_t correlation = reader_i32(&reader);

    if (conn->queue.head == NULL || conn->queue.head == conn->queue.unsent ||
        correlation != conn->queue.head->correlation) {
        conn_break_format(conn, "an answer (id %d) to nothing that was asked", correlation);
        buf_unref(frame);
        return;
    }
    if (api_answer_tagged(conn->queue.head->api, conn->queue.head->version)) {
        wire_skip_tags(&reader);
    }
    if (reader.bad) {
        conn_break_format(conn, "%s: a broken answer header", api_name(conn->queue.head->api));
        buf_unref(frame);
        return;
    }
    struct request *request = request_queue_pop(&conn->queue);
    conn->answered_ms = loop_now_ms(conn->loop);
    conn->served = conn->state == CONN_READY;
    if (conn->queue.head != NULL) {
        conn_watch_deadline(conn, conn_head_deadline_ms(conn));
    }
    request->answer(request->arg, &reader, frame, NULL);
    request_free(request);
    buf_unref(frame);
}

/* Does what follows the length belong to the request that waits first? */
static bool is_head_fetch(const struct conn *conn, struct reader behind)
{
    const struct request *head = conn->queue.head;
    return head != NULL && head->api == API_FETCH && reader_left(&behind) >= 4 &&
           reader_i32(&behind) == head->correlation;
}

/* The length stands before the frame and is a claim: nothing is reserved for one that is out of bounds. */
static bool frame_length_ok(struct conn *conn, int32_t len, const struct reader *behind)
{
    if (len >= FRAME_MIN_BYTES && (size_t)len <= conn->options.max_answer_bytes) {
        return true;
    }
    struct err why;
    err_set(&why, ERR_RETRY, "%s: an answer of %d bytes; %d to %zu are taken", conn->name, len,
            FRAME_MIN_BYTES, conn->options.max_answer_bytes);
    if (len >= FRAME_MIN_BYTES && is_head_fetch(conn, *behind)) {
        why.kind = ERR_REFUSED; /* it would be as long each time: a batch is given whole (KIP-74) */
        err_hint(&why, "one batch of a topic is as large: raise mirror.fetch (answers are taken up "
                       "to 16 MiB beyond it) and restart ferryd");
    }
    conn_break(conn, &why);
    return false;
}

/* Take whole frames out of the scratch; what begins a longer one moves to its block. */
static void parse_scratch(struct conn *conn)
{
    size_t at = 0;

    while (conn->state != CONN_CLOSED && conn->frame == NULL && conn->scratch_len - at >= 4) {
        struct reader reader = reader_over(conn->scratch + at, conn->scratch_len - at);
        int32_t len = reader_i32(&reader);
        if (!frame_length_ok(conn, len, &reader)) {
            return;
        }
        struct buf *frame = buf_new(conn->options.pool, (size_t)len);
        size_t have = reader_left(&reader) < (size_t)len ? reader_left(&reader) : (size_t)len;
        memcpy(frame->data, reader.pos, have);
        frame->len = have;
        at += 4 + have;
        if (have == (size_t)len) {
            deliver(conn, frame);
        } else {
            conn->frame = frame;
            conn->frame_len = (size_t)len;
        }
    }
    if (conn->state != CONN_CLOSED) {
        conn->scratch_len -= at;
        memmove(conn->scratch, conn->scratch + at, conn->scratch_len);
    }
}

/* One recv(). @return bytes, 0 = none now or broken */
static size_t receive(struct conn *conn, void *data, size_t len)
{
    ssize_t got;

    do {
        got = conn->io.recv(conn->io.arg, conn->fd, data, len);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        return (size_t)got;
    }
    if (got == 0) {
        conn_break_closed(conn);
    } else if (errno != EAGAIN && errno != EWOULDBLOCK) {
        struct err why;
        conn_io_error(conn, "receive", errno, &why);
        conn_break(conn, &why);
    }
    return 0;
}

/* Continue the frame in its block. @return false when there is nothing more to read now */
static bool receive_frame(struct conn *conn, size_t *bytes)
{
    struct buf *frame = conn->frame;
    size_t left = conn->frame_len - frame->len;
    size_t got = receive(conn, frame->data + frame->len, left);

    if (got == 0) {
        return false;
    }
    frame->len += got;
    *bytes += got;
    if (got < left) {
        return false;
    }
    conn->frame = NULL;
    deliver(conn, frame);
    return false; /* what follows is told by the loop: no call that finds nothing */
}

static bool receive_scratch(struct conn *conn, size_t *bytes)
{
    size_t room = SCRATCH_BYTES - conn->scratch_len;
    size_t got = receive(conn, conn->scratch + conn->scratch_len, room);

    if (got == 0) {
        return false;
    }
    conn->scratch_len += got;
    *bytes += got;
    parse_scratch(conn);
    return got == room;
}

/* The kernel wakes us when so many bytes are there. Within a frame they are sure to come and of no use alone; one wake-up
 * for each packet would cost more than the copy. Between frames every answer counts at once. */
static int wanted_lowat(const struct conn *conn)
{
    size_t left = conn->frame == NULL ? 1 : conn->frame_len - conn->frame->len;

    if (conn->tls != NULL) {
        left = left > LOWAT_TLS_SLACK ? left - LOWAT_TLS_SLACK : 1;
    }
    return (int)(left < LOWAT_FRAME_BYTES ? left : LOWAT_FRAME_BYTES);
}

static void set_lowat(struct conn *conn)
{
    int wanted = wanted_lowat(conn);
    if (conn->state != CONN_CLOSED && wanted != conn->lowat) {
        conn->lowat = wanted;
        (void)setsockopt(conn->fd, SOL_SOCKET, SO_RCVLOWAT, &wanted, sizeof(wanted));
    }
}

void conn_readable(struct conn *conn)
{
    size_t bytes = 0;
    bool more = true;

    while (conn->state != CONN_CLOSED && bytes < TURN_BYTES && (more || io_pending(conn))) {
        more = conn->frame != NULL ? receive_frame(conn, &bytes) : receive_scratch(conn, &bytes);
    }
    if (conn->state == CONN_CLOSED) {
        return;
    }
    set_lowat(conn);
    if (io_pending(conn)) { /* the loop does not know of it */
        loop_timer_set(conn->kick, 0);
    }
    if (conn->tls != NULL && tls_read_waits(conn->tls)) {
        conn_want(conn, LOOP_READ | LOOP_WRITE);
    }
}
