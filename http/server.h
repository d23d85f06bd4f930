/* Serves /metrics, /healthz and /readyz on the daemon's loop; everything else is 404, other methods than GET and HEAD
 * are refused. Hostile clients cost a connection: request line and headers are bounded, one that says nothing for
 * HTTP_IDLE_S is cut. Nothing here changes anything.
 */
#ifndef FERRY_HTTP_SERVER_H
#define FERRY_HTTP_SERVER_H

#include <stdbool.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/metrics.h"

#define HTTP_HEADERS_BYTES_MAX 8192
#define HTTP_IDLE_S            5

struct http_server;

/* Listen on "ADDR:PORT" or "[V6]:PORT"; port 0 takes a free one (http_server_port()). healthz and readyz say whether.
 * NULL with ERR_CONFIG (address) or ERR_RETRY (in use). */
struct http_server *http_server_new(struct loop *loop, const char *listen, struct metrics *metrics,
                                    bool (*healthz)(void *arg), bool (*readyz)(void *arg),
                                    void *arg, struct err *err);
int http_server_port(const struct http_server *server);
void http_server_free(struct http_server *server); /* NULL is fine */

#endif
