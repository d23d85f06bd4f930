#include "failover/reach.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/heap.h"
#include "kafka/cluster.h"

#define SERVERS_MAX 16

struct reach { /* shared by who asks and a thread each server; the last one frees it */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int refs;
    size_t open; /* threads that have no answer yet */
    bool reached;
    char why[200];
    int64_t until_ms;
};

struct server {
    struct reach *reach;
    char host[CLUSTER_HOST_BYTES];
    int32_t port;
};

static void unref(struct reach *reach)
{
    pthread_mutex_lock(&reach->mutex);
    bool last = --reach->refs == 0;
    pthread_mutex_unlock(&reach->mutex);
    if (last) {
        pthread_cond_destroy(&reach->changed);
        pthread_mutex_destroy(&reach->mutex);
        free(reach);
    }
}

static int32_t left_ms(int64_t until_ms)
{
    int64_t left = until_ms - clock_now_ms(clock_system());
    return left > 0 ? (int32_t)left : 0;
}

/* @return NULL: connected; else why not */
static const char *connect_to(const struct addrinfo *address, int64_t until_ms)
{
    const char *why = NULL;
    int failed = 0;
    socklen_t len = sizeof(failed);
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return "no socket to be had";
    }
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        if (errno != EINPROGRESS) {
            why = errno == ECONNREFUSED ? "connection refused" : "unreachable";
        } else if (poll(&wait, 1, left_ms(until_ms)) <= 0) {
            why = "no answer in time";
        } else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) != 0 || failed != 0) {
            why = failed == ECONNREFUSED ? "connection refused" : "unreachable";
        }
    }
    close(fd);
    return why;
}

static const char *try_server(const struct server *server)
{
    char port[12];
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    snprintf(port, sizeof(port), "%d", server->port);
    if (getaddrinfo(server->host, port, &hints, &found) != 0) {
        return "this host does not resolve it";
    }
    const char *why = "no address";
    for (const struct addrinfo *at = found; at != NULL && why != NULL; at = at->ai_next) {
        why = connect_to(at, server->reach->until_ms);
    }
    freeaddrinfo(found);
    return why;
}

static void *server_thread(void *arg)
{
    struct server *server = arg;
    struct reach *reach = server->reach;
    const char *why = try_server(server);
    pthread_mutex_lock(&reach->mutex);
    reach->open--;
    reach->reached = reach->reached || why == NULL;
    if (why != NULL) {
        snprintf(reach->why, sizeof(reach->why), "%.120s:%d: %s", server->host, server->port, why);
    }
    pthread_cond_broadcast(&reach->changed);
    pthread_mutex_unlock(&reach->mutex);
    unref(reach);
    free(server);
    return NULL;
}

static struct reach *reach_new(int32_t timeout_ms)
{
    pthread_condattr_t attributes;
    struct reach *reach = must(calloc(1, sizeof(*reach)));
    reach->refs = 1;
    reach->until_ms = clock_now_ms(clock_system()) + timeout_ms;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&reach->mutex, NULL);
    pthread_cond_init(&reach->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return reach;
}

static void begin(struct reach *reach, const char *text, size_t len)
{
    pthread_t thread;
    struct server *server = must(calloc(1, sizeof(*server)));
    server->reach = reach;
    if (!cluster_parse_server(text, len, server->host, &server->port)) {
        free(server);
        return;
    }
    pthread_mutex_lock(&reach->mutex);
    reach->refs++;
    reach->open++;
    pthread_mutex_unlock(&reach->mutex);
    if (pthread_create(&thread, NULL, server_thread, server) != 0) {
        pthread_mutex_lock(&reach->mutex);
        reach->open--;
        pthread_mutex_unlock(&reach->mutex);
        unref(reach);
        free(server);
        return;
    }
    pthread_detach(thread);
}

static void begin_all(struct reach *reach, const char *servers)
{
    for (size_t i = 0; i < SERVERS_MAX && *servers != '\0'; i++) {
        size_t len = strcspn(servers, ",");
        begin(reach, servers, len);
        servers += len + (servers[len] == ',' ? 1 : 0);
    }
}

/* With the mutex. */
static void wait_for_answers(struct reach *reach, int32_t timeout_ms)
{
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (!reach->reached && reach->open > 0 && rc == 0) {
        rc = pthread_cond_timedwait(&reach->changed, &reach->mutex, &until);
    }
}

bool reach_any(const char *servers, int32_t timeout_ms, struct err *err)
{
    struct reach *reach = reach_new(timeout_ms);
    begin_all(reach, servers);
    pthread_mutex_lock(&reach->mutex);
    wait_for_answers(reach, timeout_ms);
    bool reached = reach->reached;
    if (!reached && reach->open > 0) {
        err_set(err, ERR_RETRY, "no answer within %.1f s", timeout_ms / 1000.0);
    } else if (!reached) {
        err_set(err, ERR_RETRY, "%s", reach->why[0] == '\0' ? "no address" : reach->why);
    }
    pthread_mutex_unlock(&reach->mutex);
    unref(reach);
    return reached;
}
