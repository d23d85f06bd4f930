#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "ferry_version.h"
#include "kafka/conn_inside.h"

/* A secret that cannot be read when it is time to sign in anew is looked for again: the session has some time left. */
#define SIGN_IN_RETRY_MS 1000
/* What one answer may take then: batches wait behind it, and their send deadline runs. */
#define SIGN_IN_AGAIN_STEP_MS 5000
/* An idle connection is probed: what stands between (NAT, firewalls) forgets after some minutes. */
#define KEEP_IDLE_S 60

/* --- sign-in --------------------------------------------------------------------------------------------------- */

static int32_t connect_left_ms(const struct conn *conn)
{
    int64_t left_ms = conn->connect_deadline_ms - loop_now_ms(conn->loop);
    return left_ms > 1 ? (int32_t)left_ms : 1;
}

static void be_ready(struct conn *conn)
{
    if (conn->state == CONN_BREAKING) {
        return;
    }
    conn->state = CONN_READY;
    conn->callbacks.ready(conn->callbacks.arg, conn);
}

static void sign_in_ask(struct conn *conn, enum api_key api, struct writer *writer,
                        conn_answer_fn *answer)
{
    int32_t most_ms = conn->options.connect_timeout_ms;
    int32_t again_ms = most_ms < SIGN_IN_AGAIN_STEP_MS ? most_ms : SIGN_IN_AGAIN_STEP_MS;
    int32_t timeout_ms = conn->signing ? again_ms : connect_left_ms(conn);

    conn_send_request(conn, api, conn->versions.version[api], writer, NULL, 0, timeout_ms, answer,
                      conn);
}

/* For what is put into SaslAuthenticate, in the encoding of the broker's version. */
static struct writer sign_in_writer(const struct conn *conn)
{
    struct writer writer;

    writer_init(&writer);
    writer.rigid =
        !api_flexible(API_SASL_AUTHENTICATE, conn->versions.version[API_SASL_AUTHENTICATE]);
    return writer;
}

static void signed_in(struct conn *conn)
{
    int64_t again_ms = sign_in_again_ms(&conn->sign_in);

    err_clear(&conn->not_again);
    if (again_ms >= 0) {
        loop_timer_set(conn->again, again_ms);
    }
    if (conn->signing) {
        conn_send_held(conn);
    } else {
        be_ready(conn);
    }
}

static void sign_in_step(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct conn *conn = arg;
    struct writer writer = sign_in_writer(conn);
    struct err why;
    bool done = false;

    (void)block;
    if (err != NULL) {
        return; /* broken already */
    }
    reader->rigid = writer.rigid;
    if (!sign_in_answered(&conn->sign_in, reader, &writer, &done, &why)) {
        conn_break_with(conn, &why);
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
    struct writer writer = sign_in_writer(conn);
    struct err why;

    (void)block;
    if (err != NULL) {
        return;
    }
    if (sign_in_agreed(&conn->sign_in, reader, &writer, &why)) {
        sign_in_ask(conn, API_SASL_AUTHENTICATE, &writer, sign_in_step);
    } else {
        conn_break_with(conn, &why);
    }
    writer_done(&writer);
}

static bool sign_in_offered(const struct conn *conn, struct err *err)
{
    return (conn->versions.version[API_SASL_HANDSHAKE] >= 0 &&
            conn->versions.version[API_SASL_AUTHENTICATE] >= 0) ||
           err_set(err, ERR_REFUSED, "a broker that offers no sign-in (SaslAuthenticate 1)");
}

/* A session that cannot be made anew goes on until its end. */
static void cannot_sign_in(struct conn *conn, struct err *why)
{
    if (conn->state == CONN_READY) {
        conn->not_again = *why;
        loop_timer_set(conn->again, SIGN_IN_RETRY_MS);
    } else {
        conn_break_with(conn, why);
    }
}

/* What was asked for first is there, or nothing was. */
static void sign_in_now(struct conn *conn)
{
    struct writer writer;
    struct err why;

    writer_init(&writer);
    if (sign_in_begin(&conn->sign_in, &writer, &why)) {
        conn->signing = conn->state == CONN_READY;
        sign_in_ask(conn, API_SASL_HANDSHAKE, &writer, sign_in_first);
    } else {
        cannot_sign_in(conn, &why);
    }
    writer_done(&writer);
}

static void sign_in_asked(void *arg, void *question)
{
    struct conn *conn = arg;
    struct err why;

    conn_enter(conn);
    bool ok = sign_in_prepare(&conn->sign_in, question, &why);
    aside_free(conn->asking);
    conn->asking = NULL;
    if (conn->state != CONN_SIGN_IN && conn->state != CONN_READY) {
        /* about to be closed */
    } else if (ok) {
        sign_in_now(conn);
    } else {
        cannot_sign_in(conn, &why);
    }
    conn_leave(conn);
}

/* @return false with why: out of file descriptors */
static bool sign_in_ask_first(struct conn *conn, struct err *why)
{
    void *question = sign_in_question(&conn->sign_in, conn->options.host);

    conn->asking = aside_new(conn->loop, &sign_in_asking, question, sign_in_asked, conn);
    return conn->asking != NULL ||
           err_set_code(why, ERR_RETRY, EMFILE, "sign-in: %s", strerror(EMFILE));
}

static void sign_in(struct conn *conn)
{
    struct err why;

    if (!sign_in_offered(conn, &why)) {
        conn_break_with(conn, &why);
    } else if (!sign_in_asks(&conn->sign_in)) {
        sign_in_now(conn);
    } else if (!sign_in_ask_first(conn, &why)) { /* the timer of the last request runs on */
        conn_break_with(conn, &why);
    }
}

void conn_sign_in_again(void *arg)
{
    struct conn *conn = arg;
    struct err why;

    if (conn->state != CONN_READY) {
        return; /* about to be closed */
    }
    conn_enter(conn);
    if (!sign_in_asks(&conn->sign_in)) {
        sign_in_now(conn);
    } else if (!sign_in_ask_first(conn, &why)) {
        cannot_sign_in(conn, &why);
    }
    conn_leave(conn);
}

/* --- handshake ------------------------------------------------------------------------------------------------- */

static bool versions_serve(const struct api_versions *versions)
{
    return versions->version[API_METADATA] >= 0 && versions->version[API_FETCH] >= 0 &&
           versions->version[API_PRODUCE] >= 0;
}

static void versions_answered(void *arg, struct reader *reader, struct buf *block,
                              const struct err *err);

static void ask_versions(struct conn *conn, int16_t version)
{
    struct writer writer;

    conn->versions_version = version;
    writer_init(&writer);
    proto_put_api_versions(&writer, version, FERRY_VERSION);
    conn_send_request(conn, API_VERSIONS, version, &writer, NULL, 0, connect_left_ms(conn),
                      versions_answered, conn);
    writer_done(&writer);
}

static void versions_told(struct conn *conn)
{
    struct err why;

    if (!versions_serve(&conn->versions)) {
        err_set(&why, ERR_REFUSED, "%s: a broker without Produce 7, Fetch 10, Metadata 7",
                conn->name);
        err_hint(&why, "Kafka 2.2 is the oldest that Ferry speaks: docs/records.md");
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

static void versions_answered(void *arg, struct reader *reader, struct buf *block,
                              const struct err *err)
{
    struct conn *conn = arg;
    bool ask_older;
    struct err why;

    (void)block;
    if (err != NULL) {
        return; /* broken already */
    }
    if (!proto_get_api_versions(reader, conn->versions_version, &conn->versions, &ask_older,
                                &why)) {
        conn_break_with(conn, &why);
    } else if (ask_older) {    /* never of version 0 */
        ask_versions(conn, 0); /* before Kafka 2.4 */
    } else {
        versions_told(conn);
    }
}

static void handshake(struct conn *conn)
{
    conn->state = CONN_HANDSHAKE;
    loop_timer_cancel(conn->timer);
    ask_versions(conn, 3);
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
        conn_want(conn, LOOP_READ);
        break;
    case TLS_WANTS_WRITE:
        conn_want(conn, LOOP_WRITE);
        break;
    case TLS_FAILED:
        conn_break_with(conn, &why);
        break;
    }
}

static void begin_tls(struct conn *conn)
{
    struct err why;

    conn->state = CONN_TLS;
    conn->tls = tls_new(conn->options.tls, conn->options.host, conn->fd, &why);
    if (conn->tls == NULL) {
        conn_break_with(conn, &why);
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
        conn_connect_next(conn);
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
            conn_flush(conn);
        }
        if (read && conn->state != CONN_BREAKING) {
            conn_readable(conn);
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
        conn_release_socket(conn);
        return false;
    }
    conn->interest = LOOP_WRITE;
    conn->watch = loop_fd_new(conn->loop, conn->fd, LOOP_WRITE, fd_ready, conn);
    set_attempt_timer(conn);
    return true;
}

void conn_connect_next(struct conn *conn)
{
    conn_release_socket(conn);
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
        conn_connect_next(conn);
    }
    conn_leave(conn);
}

void conn_begin(struct conn *conn)
{
    conn->connect_deadline_ms = loop_now_ms(conn->loop) + conn->options.connect_timeout_ms;
    conn->lookup = lookup_new(conn->loop, conn->options.host, conn->options.port,
                              conn->options.address_family, looked_up, conn);
    if (conn->lookup == NULL) {
        conn_break_format(conn, "look up: %s", strerror(EMFILE));
        return;
    }
    loop_timer_set(conn->timer, conn->options.connect_timeout_ms);
}
