#include "http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct http_server {
    struct evhttp *http;
    struct evhttp_bound_socket *bound;
    struct metrics *metrics;
    bool (*healthz)(void *arg);
    bool (*readyz)(void *arg);
    void *arg;
};

static void answer(struct evhttp_request *request, int code, const char *type, const char *body,
                   size_t len)
{
    struct evbuffer *out = evbuffer_new();
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_add_header(headers, "Connection",
                      "close"); /* scrapers come once in seconds: no idle connections */
    if (evhttp_request_get_command(request) == EVHTTP_REQ_GET) {
        evbuffer_add(out, body, len);
    }
    evhttp_send_reply(request, code, NULL, out);
    evbuffer_free(out);
}

static void serve_metrics(struct evhttp_request *request, void *arg)
{
    struct http_server *server = arg;
    size_t len;
    char *text = metrics_text(server->metrics, &len);
    answer(request, HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text, len);
    free(text);
}

static void serve_verdict(struct evhttp_request *request, bool ok)
{
    const char *body = ok ? "ok\n" : "no\n";
    answer(request, ok ? HTTP_OK : HTTP_SERVUNAVAIL, "text/plain; charset=utf-8", body,
           strlen(body));
}

static void serve_healthz(struct evhttp_request *request, void *arg)
{
    struct http_server *server = arg;
    serve_verdict(request, server->healthz(server->arg));
}

static void serve_readyz(struct evhttp_request *request, void *arg)
{
    struct http_server *server = arg;
    serve_verdict(request, server->readyz(server->arg));
}

static void serve_other(struct evhttp_request *request, void *arg)
{
    static const char body[] = "there is /metrics, /healthz and /readyz\n";
    (void)arg;
    answer(request, HTTP_NOTFOUND, "text/plain; charset=utf-8", body, sizeof(body) - 1);
}

static bool split(const char *text, char host[128], int *out_port, struct err *err)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= 128) {
        return err_set(err, ERR_CONFIG, "'%s' is not ADDR:PORT", text);
    }
    char *end;
    long port = strtol(colon + 1, &end, 10);
    if (end == colon + 1 || *end != '\0' || port < 0 || port > 65535) {
        return err_set(err, ERR_CONFIG, "'%s': the port is not 0..65535", text);
    }
    size_t len = (size_t)(colon - text);
    bool bracketed = len >= 2 && text[0] == '[' && text[len - 1] == ']';
    snprintf(host, 128, "%.*s", (int)(bracketed ? len - 2 : len), bracketed ? text + 1 : text);
    *out_port = (int)port;
    return true;
}

struct http_server *http_server_new(struct loop *loop, const char *listen, struct metrics *metrics,
                                    bool (*healthz)(void *arg), bool (*readyz)(void *arg),
                                    void *arg, struct err *err)
{
    char host[128];
    int port = 0;
    if (!split(listen, host, &port, err)) {
        return NULL;
    }
    struct http_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        abort();
    }
    server->metrics = metrics;
    server->healthz = healthz;
    server->readyz = readyz;
    server->arg = arg;
    server->http = evhttp_new(loop_event_base(loop));
    if (server->http == NULL) {
        abort();
    }
    evhttp_set_allowed_methods(server->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_max_headers_size(server->http, HTTP_HEADERS_BYTES_MAX);
    evhttp_set_max_body_size(server->http, 0);
    evhttp_set_timeout(server->http, HTTP_IDLE_S);
    evhttp_set_cb(server->http, "/metrics", serve_metrics, server);
    evhttp_set_cb(server->http, "/healthz", serve_healthz, server);
    evhttp_set_cb(server->http, "/readyz", serve_readyz, server);
    evhttp_set_gencb(server->http, serve_other, server);
    server->bound = evhttp_bind_socket_with_handle(server->http, host, (uint16_t)port);
    if (server->bound == NULL) {
        err_set_code(err, ERR_RETRY, errno, "cannot listen on %s: %s", listen, strerror(errno));
        err_hint(err, "another process has the port? --http ADDR:PORT or --http off");
        http_server_free(server);
        return NULL;
    }
    return server;
}

int http_server_port(const struct http_server *server)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (getsockname(evhttp_bound_socket_get_fd(server->bound), (struct sockaddr *)&address, &len) !=
        0) {
        return -1;
    }
    return address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port)
                                         : ntohs(((struct sockaddr_in *)&address)->sin_port);
}

void http_server_free(struct http_server *server)
{
    if (server == NULL) {
        return;
    }
    evhttp_free(server->http);
    free(server);
}
