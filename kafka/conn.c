/* See conn.h. One state after the other: LOOKUP, CONNECT, TLS, HANDSHAKE, SIGN_IN, READY; from each of them to BREAKING or
 * CLOSED. TLS and SIGN_IN are passed over where they are not asked for.
 *
 * Callbacks may free the connection: each entry from the loop counts `depth`, and the memory goes with the last one.
 */
#include "kafka/conn.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <unistd.h>

#include "ferry_version.h"
#include "base/lookup.h"
#include "base/tcp.h"
#include "kafka/request_queue.h"
#include "kafka/sign_in.h"
#include "kafka/tls.h"

/* Begins of frames, and small frames whole. Larger ones continue straight into their block. */
#define SCRATCH_BYTES ((size_t)16 << 10)
/* Received in one turn of the loop, so that a fast broker does not starve the others: 1 ms at 4 GB/s. */
#define TURN_BYTES ((size_t)4 << 20)
/* Pieces in one sendmsg(): 64 partitions of a request with framing between them; more go with the next call. */
#define SEND_PIECES 128
/* Of a long frame: a wake-up each 256 KiB instead of each packet. */
#define LOWAT_FRAME_BYTES ((size_t)256 << 10)
/* A record of TLS that has come in parts stands inside OpenSSL: its bytes wake nobody. It may be counted as read from the
 * socket, whole, and so may the overhead of others: two records. */
#define LOWAT_TLS_SLACK ((size_t)2 * TLS_RECORD_BYTES)
/* A secret that cannot be read when it is time to sign in anew is looked for again: the session has some time left. */
#define SIGN_IN_RETRY_MS 1000
/* What one answer may take then: batches wait behind it, and their send deadline runs. */
#define SIGN_IN_AGAIN_STEP_MS 5000
/* An idle connection is probed: what stands between (NAT, firewalls) forgets after some minutes. */
#define KEEP_IDLE_S 60
/* The correlation id, the least that a frame holds. */
#define FRAME_MIN_BYTES 4

enum conn_state {
    CONN_LOOKUP,
    CONN_CONNECT,
    CONN_TLS,
    CONN_HANDSHAKE, /* ApiVersions */
    CONN_SIGN_IN,
    CONN_READY,
    CONN_BREAKING, /* found broken inside a call of the owner: closed in the next turn */
    CONN_CLOSED,
};

struct conn {
    struct loop *loop;
    struct conn_options options; /* texts are ours */
    struct conn_callbacks callbacks;
    char name[300];
    enum conn_state state;
    int32_t depth;
    bool doomed;
    int fd;
    struct loop_fd *watch;
    int interest;
    struct loop_timer *timer; /* connecting: of this address; later: the earliest deadline known */
    int64_t timer_ms;         /* when it fires */
    struct loop_timer *kick;  /* what waits for the next turn */
    struct lookup *lookup;
    struct addrinfo *addresses;
    struct addrinfo *address; /* being tried */
    int64_t connect_deadline_ms;
    int64_t answered_ms; /* when the last answer came */
    bool served;         /* an answer came since it is ready */
    struct err why;      /* why it broke, or the last address failed */
    struct api_versions versions;
    struct conn_io io;
    struct tls *tls; /* or NULL */
    struct sign_in sign_in;
    bool signing;             /* anew: requests go to `held` */
    struct loop_timer *again; /* when it is time for that */
    int32_t next_correlation;
    struct request_queue queue;
    struct request_queue held;
    struct buf *frame; /* being received; frame->len bytes are there */
    size_t frame_len;
    size_t scratch_len;
    int lowat; /* SO_RCVLOWAT as set */
    uint8_t scratch[SCRATCH_BYTES];
};

static void conn_break(struct conn *conn, const struct err *why);
static void connect_next(struct conn *conn);

/* --- plain sockets --------------------------------------------------------------------------------------------- */

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

static bool io_pending(const struct conn *conn)
{
    return conn->io.pending != NULL && conn->io.pending(conn->io.arg);
}

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

static void conn_enter(struct conn *conn)
{
    conn->depth++;
}

static void conn_leave(struct conn *conn)
{
    if (--conn->depth == 0 && conn->doomed) {
        conn_delete(conn);
    }
}

static void release_socket(struct conn *conn)
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
    release_socket(conn);
    loop_timer_cancel(conn->timer);
    loop_timer_cancel(conn->kick);
    loop_timer_cancel(conn->again);
    sign_in_done(&conn->sign_in);
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

/* The end: nothing is received or sent from here on; everybody who waits is told, the owner last. The caller stands
 * inside conn_enter(), so that the memory outlives this. */
static void conn_break(struct conn *conn, const struct err *why)
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

static void break_format(struct conn *conn, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void break_format(struct conn *conn, const char *format, ...)
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

/* With the connection's name before it. */
static void break_with(struct conn *conn, struct err *why)
{
    err_wrap(why, "%s", conn->name);
    conn_break(conn, why);
}

/* What a failed recv or sendmsg was: the socket's errno, or TLS's own words. */
static void io_error(const struct conn *conn, const char *what, int error, struct err *out)
{
    if (error == EPROTO && conn->tls != NULL) {
        tls_error(conn->tls, out);
        err_wrap(out, "%s", conn->name);
    } else {
        err_set_code(out, ERR_RETRY, error, "%s: %s: %s", conn->name, what, strerror(error));
    }
}

/* A broker that does not understand us, or whom we did not tell who we are, just closes. */
static void break_closed(struct conn *conn)
{
    struct err why;

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

/* Found while the owner calls us (`why` is filled): told in the next turn, so that no call calls back. */
static void break_later(struct conn *conn)
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

/* The timer is moved forward only: in a steady stream of requests it is set about once a time limit. */
static void watch_deadline(struct conn *conn, int64_t deadline_ms)
{
    if (loop_timer_pending(conn->timer) && conn->timer_ms <= deadline_ms) {
        return;
    }
    int64_t delay_ms = deadline_ms - loop_now_ms(conn->loop);
    conn->timer_ms = deadline_ms;
    loop_timer_set(conn->timer, delay_ms > 0 ? delay_ms : 0);
}

/* A broker serves a connection's requests one after the other, so only the first one's time runs, and not before the
 * answer ahead of it came: a deep pipeline to a slow broker is slow, not dead. */
static int64_t head_deadline_ms(const struct conn *conn)
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
    if (head_deadline_ms(conn) <= loop_now_ms(conn->loop)) {
        break_format(conn, "%s unanswered for %d ms", api_name(head->api), head->timeout_ms);
        return;
    }
    watch_deadline(conn, head_deadline_ms(conn));
}

static void timer_fired(void *arg)
{
    struct conn *conn = arg;

    conn_enter(conn);
    if (conn->state == CONN_LOOKUP) {
        break_format(conn, "look up: no answer for %d ms", conn->options.connect_timeout_ms);
    } else if (conn->state == CONN_CONNECT) {
        err_set_code(&conn->why, ERR_RETRY, ETIMEDOUT, "%s: connect: no answer", conn->name);
        connect_next(conn);
    } else if (conn->state == CONN_TLS) {
        break_format(conn, "TLS handshake: no answer");
    } else {
        check_deadlines(conn);
    }
    conn_leave(conn);
}

/* --- sending --------------------------------------------------------------------------------------------------- */

static void want(struct conn *conn, int interest)
{
    if (conn->interest != interest) {
        conn->interest = interest;
        loop_fd_interest(conn->watch, interest);
    }
}

/* A batch that waits here past its worker's send deadline may meet another worker at the target: nothing of it leaves,
 * nor the rest of one that has begun. All have the same deadline. */
static bool is_late(const struct conn *conn)
{
    const int64_t *until_ms = conn->options.produce_until_ms;

    if (until_ms == NULL || loop_now_ms(conn->loop) < *until_ms) {
        return false;
    }
    for (const struct request *r = conn->queue.unsent; r != NULL; r = r->next) {
        if (r->api == API_PRODUCE) {
            return true;
        }
    }
    return false;
}

/* Send what the socket takes. Never calls back: an error is kept for the next turn. */
static void flush(struct conn *conn)
{
    while (conn->queue.unsent != NULL) {
        struct iovec segments[SEND_PIECES];
        int count = 0;
        if (is_late(conn)) {
            err_set(&conn->why, ERR_RETRY, "%s: batches stood unsent until the send deadline",
                    conn->name);
            break_later(conn);
            return;
        }
        size_t offered = request_queue_gather(&conn->queue, segments, SEND_PIECES, &count);
        struct msghdr message = {.msg_iov = segments, .msg_iovlen = (size_t)count};
        ssize_t sent = conn->io.sendmsg(conn->io.arg, conn->fd, &message);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            io_error(conn, "send", errno, &conn->why);
            break_later(conn);
            return;
        }
        request_queue_sent(&conn->queue, sent < 0 ? 0 : (size_t)sent);
        if (sent < 0 || (size_t)sent < offered) { /* full */
            want(conn, LOOP_READ | LOOP_WRITE);
            return;
        }
    }
    want(conn, LOOP_READ);
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

static void send_request(struct conn *conn, enum api_key api, int16_t version,
                         struct writer *writer, const struct conn_piece *pieces,
                         int32_t pieces_count, int32_t timeout_ms, conn_answer_fn *answer,
                         void *arg)
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
        watch_deadline(conn, head_deadline_ms(conn));
    }
    if (idle) {
        flush(conn);
    }
}

void conn_send(struct conn *conn, enum api_key api, int16_t version, struct writer *writer,
               const struct conn_piece *pieces, int32_t pieces_count, int32_t timeout_ms,
               conn_answer_fn *answer, void *arg)
{
    assert(conn->state == CONN_READY || conn->state == CONN_BREAKING);
    assert(answer != NULL && timeout_ms > 0);
    send_request(conn, api, version, writer, pieces, pieces_count, timeout_ms, answer, arg);
}

/* What was asked for while we signed in anew. */
static void send_held(struct conn *conn)
{
    bool idle = conn->queue.unsent == NULL;

    conn->signing = false;
    while (conn->held.head != NULL) {
        request_queue_move_head(&conn->held, &conn->queue, next_correlation(conn));
    }
    if (conn->state == CONN_BREAKING || conn->queue.head == NULL) {
        return;
    }
    watch_deadline(conn, head_deadline_ms(conn));
    if (idle) {
        flush(conn);
    }
}

/* --- receiving ------------------------------------------------------------------------------------------------- */

/* Takes the frame's reference. The reader stands behind the header when the owner gets it. */
static void deliver(struct conn *conn, struct buf *frame)
{
    struct reader reader = reader_over(frame->data, frame->len);
    int32_t correlation = reader_i32(&reader);

    if (conn->queue.head == NULL || conn->queue.head == conn->queue.unsent ||
        correlation != conn->queue.head->correlation) {
        break_format(conn, "an answer (id %d) to nothing that was asked", correlation);
        buf_unref(frame);
        return;
    }
    if (api_answer_tagged(conn->queue.head->api)) {
        wire_skip_tags(&reader);
    }
    if (reader.bad) {
        break_format(conn, "%s: a broken answer header", api_name(conn->queue.head->api));
        buf_unref(frame);
        return;
    }
    struct request *request = request_queue_pop(&conn->queue);
    conn->answered_ms = loop_now_ms(conn->loop);
    conn->served = conn->state == CONN_READY;
    if (conn->queue.head != NULL) {
        watch_deadline(conn, head_deadline_ms(conn));
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
        break_closed(conn);
    } else if (errno != EAGAIN && errno != EWOULDBLOCK) {
        struct err why;
        io_error(conn, "receive", errno, &why);
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

static void readable(struct conn *conn)
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
        want(conn, LOOP_READ | LOOP_WRITE);
    }
}

/* --- sign-in --------------------------------------------------------------------------------------------------- */

static int32_t connect_left_ms(const struct conn *conn)
{
    int64_t left_ms = conn->connect_deadline_ms - loop_now_ms(conn->loop);
    return left_ms > 1 ? (int32_t)left_ms : 1;
}

static void be_ready(struct conn *conn);

static void sign_in_ask(struct conn *conn, enum api_key api, struct writer *writer,
                        conn_answer_fn *answer)
{
    int32_t most_ms = conn->options.connect_timeout_ms;
    int32_t again_ms = most_ms < SIGN_IN_AGAIN_STEP_MS ? most_ms : SIGN_IN_AGAIN_STEP_MS;
    int32_t timeout_ms = conn->signing ? again_ms : connect_left_ms(conn);
    int16_t version = api == API_SASL_HANDSHAKE ? 1 : 2;

    send_request(conn, api, version, writer, NULL, 0, timeout_ms, answer, conn);
}

static void signed_in(struct conn *conn)
{
    int64_t again_ms = sign_in_again_ms(&conn->sign_in);

    if (again_ms >= 0) {
        loop_timer_set(conn->again, again_ms);
    }
    if (conn->signing) {
        send_held(conn);
    } else {
        be_ready(conn);
    }
}

static void sign_in_step(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct conn *conn = arg;
    struct writer writer;
    struct err why;
    bool done = false;

    (void)block;
    if (err != NULL) {
        return; /* broken already */
    }
    writer_init(&writer);
    if (!sign_in_answered(&conn->sign_in, reader, &writer, &done, &why)) {
        break_with(conn, &why);
    } else if (done) {
        signed_in(conn);
    } else {
        sign_in_ask(conn, API_SASL_AUTHENTICATE, &writer, sign_in_step);
    }
    writer_done(&writer);
}

static void sign_in_first(void *arg, struct reader *reader, struct buf *block,
                          const struct err *err)
{
    struct conn *conn = arg;
    struct writer writer;
    struct err why;

    (void)block;
    if (err != NULL) {
        return;
    }
    writer_init(&writer);
    if (sign_in_agreed(&conn->sign_in, reader, &writer, &why)) {
        sign_in_ask(conn, API_SASL_AUTHENTICATE, &writer, sign_in_step);
    } else {
        break_with(conn, &why);
    }
    writer_done(&writer);
}

static bool sign_in_offered(const struct conn *conn, struct err *err)
{
    return (conn->versions.version[API_SASL_HANDSHAKE] >= 0 &&
            conn->versions.version[API_SASL_AUTHENTICATE] >= 0) ||
           err_set(err, ERR_REFUSED, "a broker that offers no sign-in (SaslAuthenticate 2)");
}

static void sign_in(struct conn *conn)
{
    struct writer writer;
    struct err why;

    writer_init(&writer);
    if (sign_in_offered(conn, &why) && sign_in_begin(&conn->sign_in, &writer, &why)) {
        sign_in_ask(conn, API_SASL_HANDSHAKE, &writer, sign_in_first);
    } else {
        break_with(conn, &why);
    }
    writer_done(&writer);
}

/* The broker answers what is in flight first, so that its answers need nobody's attention here. */
static void sign_in_again(void *arg)
{
    struct conn *conn = arg;
    struct writer writer;
    struct err why;

    if (conn->state != CONN_READY) {
        return; /* about to be closed */
    }
    conn_enter(conn);
    writer_init(&writer);
    if (sign_in_begin(&conn->sign_in, &writer, &why)) {
        conn->signing = true;
        sign_in_ask(conn, API_SASL_HANDSHAKE, &writer, sign_in_first);
    } else {
        loop_timer_set(conn->again, SIGN_IN_RETRY_MS);
    }
    writer_done(&writer);
    conn_leave(conn);
}

/* --- handshake ------------------------------------------------------------------------------------------------- */

static bool versions_serve(const struct api_versions *versions)
{
    return versions->version[API_METADATA] >= 0 && versions->version[API_FETCH] >= 0 &&
           versions->version[API_PRODUCE] >= 0;
}

static void be_ready(struct conn *conn)
{
    if (conn->state == CONN_BREAKING) {
        return;
    }
    conn->state = CONN_READY;
    conn->callbacks.ready(conn->callbacks.arg, conn);
}

static void handshake_answered(void *arg, struct reader *reader, struct buf *block,
                               const struct err *err)
{
    struct conn *conn = arg;
    struct err why;

    (void)block;
    if (err != NULL) {
        return; /* broken already */
    }
    if (!proto_get_api_versions(reader, &conn->versions, &why)) {
        break_with(conn, &why);
        return;
    }
    if (!versions_serve(&conn->versions)) {
        err_set(&why, ERR_REFUSED, "%s: a broker without Produce 9, Fetch 12, Metadata 10",
                conn->name);
        err_hint(&why, "brokers before Kafka 2.8 are served by \"path\": \"records\"");
        conn_break(conn, &why);
        return;
    }
    if (conn->options.sign_in == NULL || conn->state == CONN_BREAKING) {
        be_ready(conn);
        return;
    }
    conn->state = CONN_SIGN_IN;
    sign_in(conn);
}

static void handshake(struct conn *conn)
{
    struct writer writer;

    conn->state = CONN_HANDSHAKE;
    loop_timer_cancel(conn->timer);
    writer_init(&writer);
    proto_put_api_versions(&writer, FERRY_VERSION);
    send_request(conn, API_VERSIONS, 3, &writer, NULL, 0, connect_left_ms(conn), handshake_answered,
                 conn);
    writer_done(&writer);
}

/* --- TLS ------------------------------------------------------------------------------------------------------- */

static void shake_hands(struct conn *conn)
{
    struct err why;

    switch (tls_handshake(conn->tls, &why)) {
    case TLS_DONE:
        handshake(conn);
        break;
    case TLS_WANTS_READ:
        want(conn, LOOP_READ);
        break;
    case TLS_WANTS_WRITE:
        want(conn, LOOP_WRITE);
        break;
    case TLS_FAILED:
        break_with(conn, &why);
        break;
    }
}

static void begin_tls(struct conn *conn)
{
    struct err why;

    conn->state = CONN_TLS;
    conn->tls = tls_new(conn->options.tls, conn->options.host, conn->fd, &why);
    if (conn->tls == NULL) {
        break_with(conn, &why);
        return;
    }
    conn->io = (struct conn_io){
        .recv = tls_recv, .sendmsg = tls_sendmsg, .pending = tls_pending, .arg = conn->tls};
    loop_timer_set(conn->timer, connect_left_ms(conn));
    shake_hands(conn);
}

/* --- connecting ------------------------------------------------------------------------------------------------ */

static void set_option(int fd, int level, int option, int value)
{
    /* An option that the kernel refuses costs speed or a later notice, not correctness. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

static void set_options(const struct conn *conn)
{
    set_option(conn->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(conn->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(conn->fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
    if (conn->options.send_buffer_bytes > 0) { /* before connect(): the window's scale follows */
        set_option(conn->fd, SOL_SOCKET, SO_SNDBUF, conn->options.send_buffer_bytes);
    }
    if (conn->options.receive_buffer_bytes > 0) {
        set_option(conn->fd, SOL_SOCKET, SO_RCVBUF, conn->options.receive_buffer_bytes);
    }
    if (conn->options.tcp_user_timeout_ms > 0) {
        set_option(conn->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, conn->options.tcp_user_timeout_ms);
    }
}

static void connected(struct conn *conn)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        error = errno;
    }
    if (error != 0) {
        err_set_code(&conn->why, ERR_RETRY, error, "%s: connect: %s", conn->name, strerror(error));
        connect_next(conn);
        return;
    }
    freeaddrinfo(conn->addresses);
    conn->addresses = NULL;
    conn->address = NULL;
    if (conn->options.tls != NULL) {
        begin_tls(conn);
    } else {
        handshake(conn);
    }
}

static void fd_ready(void *arg, int what)
{
    struct conn *conn = arg;

    conn_enter(conn);
    if (conn->state == CONN_CONNECT) {
        connected(conn);
    } else if (conn->state == CONN_TLS) {
        shake_hands(conn);
    } else {
        bool read = (what & LOOP_READ) || (conn->tls != NULL && tls_read_waits(conn->tls));
        if ((what & LOOP_WRITE) && conn->state != CONN_BREAKING) {
            flush(conn);
        }
        if (read && conn->state != CONN_BREAKING) {
            readable(conn);
        }
    }
    conn_leave(conn);
}

/* Addresses from this one on share the time that is left. */
static void set_attempt_timer(struct conn *conn)
{
    int64_t left_ms = conn->connect_deadline_ms - loop_now_ms(conn->loop);
    int64_t addresses_count = 1;

    for (struct addrinfo *a = conn->address->ai_next; a != NULL; a = a->ai_next) {
        addresses_count++;
    }
    loop_timer_set(conn->timer, left_ms > 0 ? left_ms / addresses_count : 0);
}

static bool try_address(struct conn *conn)
{
    struct addrinfo *address = conn->address;

    conn->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0) {
        err_set_code(&conn->why, ERR_RETRY, errno, "%s: socket: %s", conn->name, strerror(errno));
        return false;
    }
    set_options(conn);
    if (connect(conn->fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS) {
        err_set_code(&conn->why, ERR_RETRY, errno, "%s: connect: %s", conn->name, strerror(errno));
        release_socket(conn);
        return false;
    }
    conn->interest = LOOP_WRITE;
    conn->watch = loop_fd_new(conn->loop, conn->fd, LOOP_WRITE, fd_ready, conn);
    set_attempt_timer(conn);
    return true;
}

static void connect_next(struct conn *conn)
{
    release_socket(conn);
    conn->address = conn->address == NULL ? conn->addresses : conn->address->ai_next;
    while (conn->address != NULL && !try_address(conn)) {
        conn->address = conn->address->ai_next;
    }
    if (conn->address == NULL) {
        conn_break(conn, &conn->why);
    }
}

static void looked_up(void *arg, struct addrinfo *addresses, const struct err *err)
{
    struct conn *conn = arg;

    conn_enter(conn);
    lookup_free(conn->lookup);
    conn->lookup = NULL;
    if (addresses == NULL) {
        conn_break(conn, err);
    } else {
        conn->state = CONN_CONNECT;
        conn->addresses = addresses;
        connect_next(conn);
    }
    conn_leave(conn);
}

static void begin(struct conn *conn)
{
    conn->connect_deadline_ms = loop_now_ms(conn->loop) + conn->options.connect_timeout_ms;
    conn->lookup = lookup_new(conn->loop, conn->options.host, conn->options.port,
                              conn->options.address_family, looked_up, conn);
    if (conn->lookup == NULL) {
        break_format(conn, "look up: %s", strerror(EMFILE));
        return;
    }
    loop_timer_set(conn->timer, conn->options.connect_timeout_ms);
}

static void kicked(void *arg)
{
    struct conn *conn = arg;

    conn_enter(conn);
    if (conn->state == CONN_BREAKING) {
        conn_break(conn, &conn->why);
    } else if (conn->state == CONN_LOOKUP) {
        begin(conn);
    } else {
        readable(conn);
    }
    conn_leave(conn);
}

/* --- what the owner calls -------------------------------------------------------------------------------------- */

static char *copy_text(const char *text)
{
    char *copy = text == NULL ? NULL : strdup(text);

    if (text != NULL && copy == NULL) {
        abort();
    }
    return copy;
}

struct conn *conn_new(struct loop *loop, const struct conn_options *options,
                      const struct conn_callbacks *callbacks)
{
    struct conn *conn = calloc(1, sizeof(*conn));

    if (conn == NULL) {
        abort();
    }
    assert(options->host != NULL && options->connect_timeout_ms > 0 &&
           options->max_answer_bytes >= FRAME_MIN_BYTES);
    conn->loop = loop;
    conn->options = *options;
    conn->options.host = copy_text(options->host);
    conn->options.client_id = copy_text(options->client_id);
    conn->io = options->io == NULL ? plain_io : *options->io;
    sign_in_init(&conn->sign_in, options->sign_in);
    conn->callbacks = *callbacks;
    conn->fd = -1;
    snprintf(conn->name, sizeof(conn->name), strchr(options->host, ':') ? "[%s]:%d" : "%s:%d",
             options->host, options->port);
    api_versions_none(&conn->versions);
    conn->timer = loop_timer_new(loop, timer_fired, conn);
    conn->kick = loop_timer_new(loop, kicked, conn);
    conn->again = loop_timer_new(loop, sign_in_again, conn);
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
