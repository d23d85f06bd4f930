/* One connection to one broker: connect, TLS, ApiVersions, sign-in, requests in flight in order, time limits.
 *
 * A sign-in that ends (KIP-368) is made anew on the same connection before it does: what is in flight is answered first,
 * what is asked meanwhile waits inside and goes out in order. Nobody outside notices.
 * All on the loop's thread. A connection that breaks answers every request in flight with ERR_RETRY, then tells
 * `closed`, and is dead: the owner makes another one (with its own backoff).
 */
#ifndef FERRY_KAFKA_CONN_H
#define FERRY_KAFKA_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "kafka/proto.h"

struct conn;

/* How bytes go: as recv() and sendmsg() with errno, on a socket that does not block. What TLS fills in; tests too. */
struct conn_io {
    ssize_t (*recv)(void *arg, int fd, void *data, size_t len);
    ssize_t (*sendmsg)(void *arg, int fd, const struct msghdr *message);
    /* Is there more to recv() that the socket's readiness does not tell of? NULL = never */
    bool (*pending)(const void *arg);
    void *arg;
};

struct tls_context;
struct config_client;

struct conn_options {
    const char *host;
    int32_t port;
    const char *client_id;
    int32_t connect_timeout_ms;
    int32_t
        tcp_user_timeout_ms; /* the kernel gives up on bytes unacknowledged for so long; 0 = system's */
    int address_family;      /* AF_INET or AF_INET6 alone; 0 = AF_UNSPEC, any */
    int32_t send_buffer_bytes; /* of the socket; 0 = system's */
    int32_t receive_buffer_bytes;
    size_t max_answer_bytes;  /* a longer frame drops the connection before anything is allocated */
    struct buf_pool *pool;    /* answers are received into its blocks; NULL = heap */
    const struct conn_io *io; /* NULL = plain sockets; copied. TLS has its own */
    struct tls_context *tls;  /* NULL = in the clear; borrowed until conn_free() */
    const struct config_client *sign_in; /* NULL = nobody asks; borrowed likewise */
    /* Until when bytes of Produce and OffsetCommit requests may leave (CLOCK_BOOTTIME), looked at before each send: one that stands here
     * later breaks the connection. NULL = whenever; borrowed likewise. */
    const int64_t *produce_until_ms;
};

/* err.code (ERR_RETRY) of one that a broker closed because its session could not be made anew: it does not let us in any more. */
#define CONN_NOT_AGAIN 10003

struct conn_callbacks {
    void (*ready)(void *arg, struct conn *conn); /* connected, versions known, signed in */
    void (*closed)(void *arg, struct conn *conn,
                   const struct err *why); /* once; conn_free() may be called here */
    void *arg;
};

/* Starts connecting (names are resolved without blocking the loop: evdns or a helper thread). Never NULL. */
struct conn *conn_new(struct loop *loop, const struct conn_options *options,
                      const struct conn_callbacks *callbacks);
void conn_free(
    struct conn *conn); /* requests in flight are answered with ERR_RETRY first; NULL is fine */

bool conn_is_ready(const struct conn *conn);
bool conn_served(const struct conn *conn); /* an answer came since it is ready */
const struct api_versions *conn_versions(const struct conn *conn);
int32_t conn_in_flight_count(const struct conn *conn);
size_t conn_unsent_bytes(const struct conn *conn);   /* queued in user space */
const char *conn_name(const struct conn *conn);      /* "host:port" */
int64_t conn_round_trip_us(const struct conn *conn); /* shortest seen lately; -1 = unknown */

/* Bytes between pieces of a request that are sent from where they were received. */
struct conn_piece {
    size_t cut;        /* goes out when this many bytes of the writer have gone */
    struct buf *block; /* referenced until sent */
    const uint8_t *data;
    size_t len;
};

/* The answer: `reader` stands behind the response header and looks into `block` (take a reference to keep it);
 * NULL reader = failed, see err. */
typedef void conn_answer_fn(void *arg, struct reader *reader, struct buf *block,
                            const struct err *err);

/* Send a request; takes the writer's bytes (the writer is empty afterwards). Only when ready, or when it was in this
 * turn of the loop (a break is found while sending, and told in the next turn). Never calls back by itself. The answer is called
 * exactly once. A request unanswered for timeout_ms drops the connection; its time begins when the answer to the one
 * before it came (a broker serves a connection's requests one after the other). `pieces` ascending by cut, may be NULL. */
void conn_send(struct conn *conn, enum api_key api, int16_t version, struct writer *writer,
               const struct conn_piece *pieces, int32_t pieces_count, int32_t timeout_ms,
               conn_answer_fn *answer, void *arg);

#endif
