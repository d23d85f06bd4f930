/* Inside of a connection: what its parts share. Nobody else includes this.
 *
 *   conn          what the owner calls, timers
 *   conn_open     from a name to a connection that is ready: lookup, connect, TLS, versions, sign-in, and that anew
 *   conn_traffic  requests go out, answers come in
 *   conn_end      how it ends, time limits
 *
 * Each calls those below it alone.
 *
 * Each entry from the loop stands between conn_enter() and conn_leave(). What breaks while the loop calls us ends at once
 * (conn_break...); what breaks while the owner calls us, in the next turn (conn_break_later).
 */
#ifndef FERRY_KAFKA_CONN_INSIDE_H
#define FERRY_KAFKA_CONN_INSIDE_H

#include <netdb.h>

#include "base/aside.h"
#include "base/lookup.h"
#include "kafka/conn.h"
#include "kafka/request_queue.h"
#include "kafka/sign_in.h"
#include "kafka/tls.h"

/* Begins of frames, and small frames whole. Larger ones continue straight into their block. */
#define SCRATCH_BYTES ((size_t)16 << 10)
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
    int16_t versions_version; /* that ApiVersions was asked in */
    struct conn_io io;
    struct tls *tls; /* or NULL */
    struct sign_in sign_in;
    struct aside *asking;     /* somebody whom the sign-in needs; or NULL */
    bool signing;             /* anew: requests go to `held` */
    struct loop_timer *again; /* when it is time for that */
    struct err not_again;     /* why it could not be made anew, lately; ERR_NONE = it could */
    int32_t next_correlation;
    struct request_queue queue;
    struct request_queue held;
    struct buf *frame; /* being received; frame->len bytes are there */
    size_t frame_len;
    size_t scratch_len;
    int lowat; /* SO_RCVLOWAT as set */
    uint8_t scratch[SCRATCH_BYTES];
};

/* --- conn_end --- */
void conn_enter(struct conn *conn);
void conn_leave(struct conn *conn); /* conn may be gone */
/* The end: nothing is received or sent from here on; everybody who waits is told, the owner last. The caller stands
 * inside conn_enter(), so that the memory outlives this. */
void conn_break(struct conn *conn, const struct err *why);
void conn_break_format(struct conn *conn, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* With the connection's name before it. */
void conn_break_with(struct conn *conn, struct err *why);
/* A broker that does not understand us, or whom we did not tell who we are, just closes. */
void conn_break_closed(struct conn *conn);
/* Found while the owner calls us (conn->why is filled): told in the next turn, so that no call calls back. */
void conn_break_later(struct conn *conn);
/* What a failed recv or sendmsg was: the socket's errno, or TLS's own words. */
void conn_io_error(const struct conn *conn, const char *what, int error, struct err *out);
void conn_release_socket(struct conn *conn);
/* A broker serves a connection's requests one after the other, so only the first one's time runs, and not before the
 * answer ahead of it came: a deep pipeline to a slow broker is slow, not dead. There is a first one. */
int64_t conn_head_deadline_ms(const struct conn *conn);
/* The timer is moved forward only: in a steady stream of requests it is set about once a time limit. */
void conn_watch_deadline(struct conn *conn, int64_t deadline_ms);

/* --- conn_open --- */
void conn_begin(struct conn *conn); /* look the name up */
/* Try the next address; behind the last one, break. */
void conn_connect_next(struct conn *conn);
/* Timer. The broker answers what is in flight first, so that its answers need nobody's attention here. */
void conn_sign_in_again(void *arg);

/* --- conn_traffic --- */
void conn_want(struct conn *conn, int interest); /* LOOP_READ | LOOP_WRITE */
/* As conn_send(), in any state in which bytes may go. */
void conn_send_request(struct conn *conn, enum api_key api, int16_t version, struct writer *writer,
                       const struct conn_piece *pieces, int32_t pieces_count, int32_t timeout_ms,
                       conn_answer_fn *answer, void *arg);
/* What was asked for while we signed in anew. */
void conn_send_held(struct conn *conn);
/* Send what the socket takes. Never calls back: an error is kept for the next turn. */
void conn_flush(struct conn *conn);
/* Receive what is there, up to a turn's worth; deliver whole answers. */
void conn_readable(struct conn *conn);

#endif
