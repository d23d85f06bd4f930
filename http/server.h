/* Serves /metrics, /healthz and /readyz on the daemon's loop. Nothing here changes anything.
 *
 * Enough of HTTP/1.1 for scrapers and probes, one request a connection: GET and HEAD, else 405; other paths 404. Written
 * on our sockets and timers, because libevent's server has no limit of connections and none for a whole request
 * (docs/adr/0004). A hostile client costs a connection for HTTP_REQUEST_MS: request line and headers are bounded, a
 * slow one is cut, and when all connections are taken, the one that has waited longest goes.
 */
#ifndef FERRY_HTTP_SERVER_H
#define FERRY_HTTP_SERVER_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/metrics.h"

#define HTTP_CONNECTIONS_MAX   64
#define HTTP_HEADERS_BYTES_MAX 8192  /* 64 of them: 512 KiB */
#define HTTP_REQUEST_MS        5000  /* a whole request, and each step of reading the answer */
#define HTTP_ANSWER_MS         30000 /* the whole answer */
/* So long all are given one text of /metrics, one copy of it: who asks often does not hold the loop up. */
#define HTTP_TEXT_MS 200

struct http_server;

/* Listen on "ADDR:PORT" or "[V6]:PORT", ADDR a number or "localhost" (no name server is asked); port 0 takes a free one
 * (http_server_port()). healthz and readyz say whether; they run on the loop and must not block.
 * readyz writes why, lines, to `out`: they stand below the answer's "ok" or "no".
 * NULL with ERR_CONFIG (no address) or ERR_RETRY (cannot be listened on now). @thread loop's */
struct http_server *http_server_new(struct loop *loop, const char *listen, struct metrics *metrics,
                                    bool (*healthz)(void *arg),
                                    bool (*readyz)(void *arg, FILE *out), void *arg,
                                    struct err *err);
int http_server_port(const struct http_server *server);
void http_server_free(struct http_server *server); /* NULL is fine */

#endif
