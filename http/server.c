/* One connection: reading the request -> writing the answer -> draining (what the client still sends is thrown away, or
 * its kernel would throw our answer away) -> closed. A timer bounds each. */
#include "http/server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/heap.h"
#include "http/request.h"

#define DRAIN_MS  1000 /* a client that reads its answer closes within a round trip */
#define PAUSE_MS  1000 /* out of file descriptors: accept again after so long */
#define BACKLOG   16
#define HEAD_ROOM 256 /* the longest head that we write has 190 bytes */

enum phase { PHASE_READING, PHASE_WRITING, PHASE_DRAINING };

struct connection {
    struct http_server *server;
    struct connection *previous; /* in the order they came */
    struct connection *next;
    int fd;
    enum phase phase;
    struct loop_fd *watch;
    struct loop_timer *deadline;
    int64_t answer_until_ms;
    char head[HEAD_ROOM];
    size_t head_len;
    struct buf *body; /* shared between connections; NULL = none */
    size_t sent;      /* of both */
    size_t in_len;
    char in[HTTP_HEADERS_BYTES_MAX];
};

struct http_server {
    struct loop *loop;
    int fd;
    struct loop_fd *watch;
    struct loop_timer *pause;
    struct metrics *metrics;
    struct buf *text; /* the last /metrics */
    int64_t text_ms;  /* when it was rendered */
    bool (*healthz)(void *arg);
    bool (*readyz)(void *arg, FILE *out);
    void *arg;
    struct connection *first; /* has waited longest */
    struct connection *last;
    int count;
};

/* --- connections -------------------------------------------------------------------------------------------------- */

static void connection_unlink(struct http_server *server, struct connection *connection)
{
    if (connection->previous == NULL) {
        server->first = connection->next;
    } else {
        connection->previous->next = connection->next;
    }
    if (connection->next == NULL) {
        server->last = connection->previous;
    } else {
        connection->next->previous = connection->previous;
    }
}

static void connection_free(struct connection *connection)
{
    struct http_server *server = connection->server;

    connection_unlink(server, connection);
    server->count--;
    loop_fd_free(connection->watch);
    loop_timer_free(connection->deadline);
    close(connection->fd);
    buf_unref(connection->body);
    free(connection);
}

static void too_late(void *arg)
{
    connection_free(arg);
}

static void drain_begin(struct connection *connection)
{
    connection->phase = PHASE_DRAINING;
    shutdown(connection->fd, SHUT_WR);
    loop_fd_interest(connection->watch, LOOP_READ);
    loop_timer_set(connection->deadline, DRAIN_MS);
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

/* What is to be sent next. @return how many parts */
static size_t unsent(const struct connection *connection, struct iovec parts[2])
{
    size_t count = 0;
    size_t of_body = 0;

    if (connection->sent < connection->head_len) {
        parts[count++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)(connection->head + connection->sent),
                           .iov_len = connection->head_len - connection->sent};
    } else {
        of_body = connection->sent - connection->head_len;
    }
    if (connection->body != NULL && of_body < connection->body->len) {
        parts[count++] = (struct iovec){.iov_base = connection->body->data + of_body,
                                        .iov_len = connection->body->len - of_body};
    }
    return count;
}

static void write_some(struct connection *connection)
{
    int64_t left_ms = connection->answer_until_ms - loop_now_ms(connection->server->loop);
    size_t body_len = connection->body == NULL ? 0 : connection->body->len;
    struct iovec parts[2];
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = unsent(connection, parts)};
    ssize_t sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL);

    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        connection_free(connection);
        return;
    }
    connection->sent += sent > 0 ? (size_t)sent : 0;
    if (connection->sent == connection->head_len + body_len) {
        drain_begin(connection);
        return;
    }
    loop_fd_interest(connection->watch, LOOP_WRITE);
    if (sent > 0) {
        loop_timer_set(connection->deadline, left_ms < HTTP_REQUEST_MS ? left_ms : HTTP_REQUEST_MS);
    }
}

static const char *reason_of(enum http_status status)
{
    switch (status) {
    case HTTP_OK:
        return "OK";
    case HTTP_BAD_REQUEST:
        return "Bad Request";
    case HTTP_NOT_FOUND:
        return "Not Found";
    case HTTP_METHOD_NOT_ALLOWED:
        return "Method Not Allowed";
    case HTTP_TOO_LARGE:
        return "Request Header Fields Too Large";
    case HTTP_UNAVAILABLE:
        return "Service Unavailable";
    case HTTP_VERSION:
        return "HTTP Version Not Supported";
    case HTTP_NOT_YET:
        break;
    }
    return "";
}

/* Takes the body's reference. */
static void answer(struct connection *connection, enum http_status status, bool head,
                   const char *type, struct buf *body)
{
    int len =
        snprintf(connection->head, HEAD_ROOM,
                 "HTTP/1.1 %d %s\r\n%sContent-Type: %s\r\nContent-Length: %zu\r\n"
                 "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                 (int)status, reason_of(status),
                 status == HTTP_METHOD_NOT_ALLOWED ? "Allow: GET, HEAD\r\n" : "", type, body->len);
    assert(len > 0 && len < HEAD_ROOM);
    connection->head_len = (size_t)len;
    if (head) {
        buf_unref(body);
    } else {
        connection->body = body;
    }
    connection->phase = PHASE_WRITING;
    connection->answer_until_ms = loop_now_ms(connection->server->loop) + HTTP_ANSWER_MS;
    loop_timer_set(connection->deadline, HTTP_REQUEST_MS);
    write_some(connection);
}

static struct buf *block_of(const char *text, size_t len)
{
    struct buf *block = buf_new(NULL, len);

    memcpy(block->data, text, len);
    block->len = len;
    return block;
}

static void answer_text(struct connection *connection, enum http_status status, bool head,
                        const char *text)
{
    answer(connection, status, head, "text/plain; charset=utf-8", block_of(text, strlen(text)));
}

static void answer_metrics(struct connection *connection, bool head)
{
    struct http_server *server = connection->server;
    int64_t now_ms = loop_now_ms(server->loop);

    if (server->text == NULL || now_ms - server->text_ms >= HTTP_TEXT_MS) {
        size_t len = 0;
        char *text = metrics_text(server->metrics, &len);
        buf_unref(server->text);
        server->text = block_of(text, len);
        server->text_ms = now_ms;
        free(text);
    }
    answer(connection, HTTP_OK, head, "text/plain; version=0.0.4; charset=utf-8",
           buf_ref(server->text));
}

static void answer_ready(struct connection *connection, bool head)
{
    const struct http_server *server = connection->server;
    char *text = NULL;
    size_t len = 0;
    FILE *out = must(open_memstream(&text, &len));
    fputs("no\n", out);
    bool ready = server->readyz(server->arg, out);
    fclose(out);
    memcpy(text, ready ? "ok" : "no", 2);
    answer_text(connection, ready ? HTTP_OK : HTTP_UNAVAILABLE, head, text);
    free(text);
}

static void serve(struct connection *connection, const struct http_request *request)
{
    struct http_server *server = connection->server;
    if (strcmp(request->path, "/metrics") == 0) {
        answer_metrics(connection, request->head);
    } else if (strcmp(request->path, "/healthz") == 0) {
        bool ok = server->healthz(server->arg);
        answer_text(connection, ok ? HTTP_OK : HTTP_UNAVAILABLE, request->head,
                    ok ? "ok\n" : "no\n");
    } else if (strcmp(request->path, "/readyz") == 0) {
        answer_ready(connection, request->head);
    } else {
        answer_text(connection, HTTP_NOT_FOUND, request->head,
                    "there is /metrics, /healthz and /readyz\n");
    }
}

/* --- the request -------------------------------------------------------------------------------------------------- */

static void read_some(struct connection *connection)
{
    struct http_request request;
    ssize_t got = recv(connection->fd, connection->in + connection->in_len,
                       sizeof(connection->in) - connection->in_len, 0);

    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        connection_free(connection);
        return;
    }
    connection->in_len += got > 0 ? (size_t)got : 0;
    enum http_status status =
        http_request_parse(connection->in, connection->in_len, sizeof(connection->in), &request);
    if (status == HTTP_OK) {
        serve(connection, &request);
    } else if (status != HTTP_NOT_YET) {
        char text[64];
        snprintf(text, sizeof(text), "%s\n", reason_of(status));
        answer_text(connection, status, request.head, text);
    }
}

static void drain_some(struct connection *connection)
{
    ssize_t got = recv(connection->fd, connection->in, sizeof(connection->in), 0);

    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        connection_free(connection);
    }
}

static void connection_ready(void *arg, int what)
{
    struct connection *connection = arg;

    (void)what; /* one thing is watched for in each phase */
    switch (connection->phase) {
    case PHASE_READING:
        read_some(connection);
        break;
    case PHASE_WRITING:
        write_some(connection);
        break;
    case PHASE_DRAINING:
        drain_some(connection);
        break;
    }
}

/* --- listening ---------------------------------------------------------------------------------------------------- */

static void connection_new(struct http_server *server, int fd)
{
    struct connection *connection = must(calloc(1, sizeof(*connection)));

    /* who is served takes a moment; who waits longest means no good */
    if (server->count == HTTP_CONNECTIONS_MAX) {
        connection_free(server->first);
    }
    connection->server = server;
    connection->fd = fd;
    connection->previous = server->last;
    *(server->last == NULL ? &server->first : &server->last->next) = connection;
    server->last = connection;
    server->count++;
    connection->watch = loop_fd_new(server->loop, fd, LOOP_READ, connection_ready, connection);
    connection->deadline = loop_timer_new(server->loop, too_late, connection);
    loop_timer_set(connection->deadline, HTTP_REQUEST_MS);
}

/* One a turn: the data path has its turns, too. */
static void knocked(void *arg, int what)
{
    struct http_server *server = arg;
    int fd = accept4(server->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)what;
    if (fd >= 0) {
        connection_new(server, fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        loop_fd_interest(server->watch, 0); /* or we would be called again at once, for ever */
        loop_timer_set(server->pause, PAUSE_MS);
    }
}

static void pause_over(void *arg)
{
    struct http_server *server = arg;

    loop_fd_interest(server->watch, LOOP_READ);
}

struct address {
    struct sockaddr_storage storage;
    socklen_t len;
};

static bool host_parse(const char *host, uint16_t port, struct address *out)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const char *text = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;

    *out = (struct address){.len = 0};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        memcpy(&out->storage, &v4, sizeof(v4));
        out->len = sizeof(v4);
    } else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
        memcpy(&out->storage, &v6, sizeof(v6));
        out->len = sizeof(v6);
    }
    return out->len > 0;
}

static bool address_parse(const char *text, struct address *out, struct err *err)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    size_t len = colon == NULL ? 0 : (size_t)(colon - text);
    size_t digits = colon == NULL ? 0 : strspn(colon + 1, "0123456789");
    bool bracketed = len >= 2 && text[0] == '[' && colon[-1] == ']';

    len -= bracketed ? 2 : 0;
    if (len == 0 || len >= sizeof(host) || digits == 0 || digits > 5 || colon[1 + digits] != '\0' ||
        atoi(colon + 1) > 65535) {
        return err_set(err, ERR_CONFIG, "'%.100s' is not ADDR:PORT", text);
    }
    memcpy(host, text + (bracketed ? 1 : 0), len);
    host[len] = '\0';
    return (bracketed == (strchr(host, ':') != NULL) &&
            host_parse(host, (uint16_t)atoi(colon + 1), out)) ||
           err_set(err, ERR_CONFIG, "'%.100s': ADDR is a number such as 127.0.0.1 or [::1]", text);
}

static int listen_on(const struct address *address)
{
    int one = 1;
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)&address->storage, address->len) != 0 ||
        listen(fd, BACKLOG) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

struct http_server *http_server_new(struct loop *loop, const char *listen, struct metrics *metrics,
                                    bool (*healthz)(void *arg),
                                    bool (*readyz)(void *arg, FILE *out), void *arg,
                                    struct err *err)
{
    struct address address = {.len = 0};

    if (!address_parse(listen, &address, err)) {
        return NULL;
    }
    int fd = listen_on(&address);
    if (fd < 0) {
        err_set_code(err, ERR_RETRY, errno, "cannot listen on %s: %s", listen, strerror(errno));
        err_hint(err, "another process has the port? --http ADDR:PORT or --http off");
        return NULL;
    }
    struct http_server *server = must(calloc(1, sizeof(*server)));
    server->loop = loop;
    server->fd = fd;
    server->metrics = metrics;
    server->healthz = healthz;
    server->readyz = readyz;
    server->arg = arg;
    server->watch = loop_fd_new(loop, fd, LOOP_READ, knocked, server);
    server->pause = loop_timer_new(loop, pause_over, server);
    return server;
}

int http_server_port(const struct http_server *server)
{
    struct address address = {.len = sizeof(address.storage)};
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;

    if (getsockname(server->fd, (struct sockaddr *)&address.storage, &address.len) != 0) {
        return -1;
    }
    memcpy(&v6, &address.storage, sizeof(v6));
    memcpy(&v4, &address.storage, sizeof(v4));
    return ntohs(address.storage.ss_family == AF_INET6 ? v6.sin6_port : v4.sin_port);
}

void http_server_free(struct http_server *server)
{
    if (server == NULL) {
        return;
    }
    for (struct connection *connection = server->first, *next; connection != NULL;
         connection = next) {
        next = connection->next;
        connection_free(connection);
    }
    buf_unref(server->text);
    loop_fd_free(server->watch);
    loop_timer_free(server->pause);
    close(server->fd);
    free(server);
}
