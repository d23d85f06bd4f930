/* http/server: answers, and what slow, large and many clients cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/server.h"
#include "tests/fake/turns.h"

struct rig {
    struct loop *loop;
    struct metrics *metrics;
    struct http_server *server;
    bool healthy;
    bool ready;
};

static bool is_healthy(void *arg)
{
    const struct rig *rig = arg;
    return rig->healthy;
}

static bool is_ready(void *arg, FILE *out)
{
    const struct rig *rig = arg;
    fprintf(out, "a link: %s\n", rig->ready ? "stands by" : "waits");
    return rig->ready;
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    struct err err;
    rig->loop = loop_new(clock_system());
    rig->metrics = metrics_new();
    rig->healthy = true;
    series_set(metric_series(metrics_add(rig->metrics, METRIC_GAUGE, "g", "G.", NULL), NULL), 7);
    rig->server =
        http_server_new(rig->loop, "127.0.0.1:0", rig->metrics, is_healthy, is_ready, rig, &err);
    assert_non_null(rig->server);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    http_server_free(rig->server);
    metrics_free(rig->metrics);
    loop_free(rig->loop);
    free(rig);
    return 0;
}

/* @param buffer_bytes  what its kernel takes while nobody reads; 0 = as it comes, which may be megabytes */
static int client_with(struct rig *rig, int buffer_bytes)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)http_server_port(rig->server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (buffer_bytes > 0) {
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(buffer_bytes)),
                         0);
    }
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static int client(struct rig *rig)
{
    return client_with(rig, 0);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What comes until the server closes, at most `ms` later; -1 = it did not. */
static ssize_t hear(struct rig *rig, int fd, char *out, size_t room, int64_t ms)
{
    int64_t until_ms = loop_now_ms(rig->loop) + ms;
    size_t len = 0;
    while (loop_now_ms(rig->loop) < until_ms) {
        ssize_t got = recv(fd, out + len, room - 1 - len, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            out[len] = '\0';
            return (ssize_t)len;
        }
        len += got > 0 ? (size_t)got : 0;
        loop_run_once(rig->loop, 5);
    }
    out[len] = '\0';
    return -1;
}

static const char *ask(struct rig *rig, const char *request)
{
    static char answer[20000];
    int fd = client(rig);
    say(fd, request);
    assert_true(hear(rig, fd, answer, sizeof(answer), 2000) > 0);
    close(fd);
    return answer;
}

static void metrics_and_health(void **state)
{
    struct rig *rig = *state;
    assert_string_equal(
        ask(rig, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        "Content-Length: 31\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        "# HELP g G.\n# TYPE g gauge\ng 7\n");
    const char *answer = ask(rig, "GET /healthz HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(answer, "200 OK\r\n"));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\nok\n");
    answer = ask(rig, "GET /readyz?verbose HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(answer, "HTTP/1.1 503 Service Unavailable\r\n"));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\nno\na link: waits\n");
    rig->ready = true;
    rig->healthy = false;
    answer = ask(rig, "GET /readyz HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(answer, " 200 "));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\nok\na link: stands by\n");
    assert_non_null(strstr(ask(rig, "GET /healthz HTTP/1.1\r\n\r\n"), " 503 "));
}

/* Thousands of partitions make a large text: it is rendered five times a second, not for each who asks. */
static void one_text_serves_all_for_a_moment(void **state)
{
    struct rig *rig = *state;
    struct metric *metric = metrics_add(rig->metrics, METRIC_GAUGE, "later", "Later.", NULL);
    assert_null(strstr(ask(rig, "GET /metrics HTTP/1.1\r\n\r\n"), "later 1"));
    series_set(metric_series(metric, NULL), 1);
    int64_t asked_ms = loop_now_ms(rig->loop);
    bool old = strstr(ask(rig, "GET /metrics HTTP/1.1\r\n\r\n"), "later 1") == NULL;
    assert_true(old || loop_now_ms(rig->loop) - asked_ms > HTTP_TEXT_MS / 2); /* a slow machine */
    turn_for(rig->loop, HTTP_TEXT_MS + 1);
    assert_non_null(strstr(ask(rig, "GET /metrics HTTP/1.1\r\n\r\n"), "later 1"));
}

static void head_has_no_body(void **state)
{
    struct rig *rig = *state;
    const char *answer = ask(rig, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(answer, "Content-Length: 31\r\n"));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    answer = ask(rig, "HEAD /x HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(answer, " 404 "));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

/* S58: other methods, other paths. */
static void everything_else_is_refused(void **state)
{
    struct rig *rig = *state;
    assert_non_null(strstr(ask(rig, "GET / HTTP/1.1\r\n\r\n"), " 404 Not Found\r\n"));
    assert_non_null(strstr(ask(rig, "GET /metrics/../x HTTP/1.1\r\n\r\n"), " 404 "));
    const char *answer = ask(rig, "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    assert_non_null(strstr(answer, " 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n"));
    assert_non_null(strstr(ask(rig, "nonsense\r\n\r\n"), " 400 Bad Request\r\n"));
    assert_non_null(strstr(ask(rig, "GET / HTTP/3.0\r\n\r\n"), " 505 "));
}

/* S58: a megabyte of request line: refused after 8 KiB, and the answer arrives although the client still sends. */
static void a_request_line_of_a_megabyte(void **state)
{
    struct rig *rig = *state;
    char answer[1000];
    char *line = malloc(1 << 20);
    size_t sent = 0;
    int fd = client(rig);
    memset(line, 'x', 1 << 20);
    memcpy(line, "GET /", 5);
    while (sent < (1 << 20)) {
        ssize_t part = send(fd, line + sent, (1 << 20) - sent, MSG_NOSIGNAL);
        if (part < 0 && errno != EAGAIN) {
            break;
        }
        sent += part > 0 ? (size_t)part : 0;
        loop_run_once(rig->loop, 1);
    }
    assert_int_equal(sent, 1 << 20);
    assert_true(hear(rig, fd, answer, sizeof(answer), 2000) > 0);
    assert_non_null(strstr(answer, " 431 Request Header Fields Too Large\r\n"));
    for (int i = 0; i < 3; i++) { /* a reset would take the answer from who has not read it yet */
        say(fd, "still talking");
        turn_for(rig->loop, 20);
    }
    close(fd);
    free(line);
}

#define ROOM        ((size_t)20 << 20)
#define LARGE_BYTES 5000000

static void large_metrics(struct rig *rig)
{
    static const char *const labels[] = {"n", NULL};
    struct metric *metric = metrics_add(rig->metrics, METRIC_GAUGE, "many", "Many.", labels);
    char name[100];
    for (int i = 0; i < 50000; i++) {
        snprintf(name, sizeof(name), "partition-number-%d-of-a-topic-with-a-name-that-is-%s", i,
                 "long-enough-to-make-the-whole-large");
        series_set(metric_series(metric, (const char *const[]){name}), 1);
    }
}

static void a_large_answer_arrives(void **state)
{
    struct rig *rig = *state;
    char *answer = malloc(ROOM);
    large_metrics(rig);
    int fd = client(rig);
    say(fd, "GET /metrics HTTP/1.1\r\n\r\n");
    turn_for(rig->loop, 300);
    assert_true(hear(rig, fd, answer, ROOM, 4000) > LARGE_BYTES);
    assert_non_null(strstr(answer, "number-49999-of"));
    close(fd);
    free(answer);
}

/* S58: a byte now and then keeps no connection, nor does silence, nor an answer that nobody takes. */
static void slow_clients_are_cut(void **state)
{
    struct rig *rig = *state;
    char *answer = malloc(ROOM);
    char byte;
    large_metrics(rig);
    int slow = client(rig);
    int silent = client(rig);
    int deaf = client_with(rig, 64 << 10);
    int64_t begin_ms = loop_now_ms(rig->loop);
    say(slow, "GET /metrics HTTP/1.1\r\n");
    say(deaf, "GET /metrics HTTP/1.1\r\n\r\n");
    bool open = true;
    int64_t answered_ms = 0;
    while (open && loop_now_ms(rig->loop) - begin_ms < 3 * HTTP_REQUEST_MS) {
        send(slow, "a", 1, MSG_NOSIGNAL);
        turn_for(rig->loop, 200);
        if (answered_ms == 0 && recv(deaf, &byte, 1, MSG_PEEK) > 0) {
            answered_ms = loop_now_ms(rig->loop);
        }
        ssize_t got = recv(slow, &byte, 1, 0);
        open = got < 0 && errno == EAGAIN;
    }
    assert_false(open);
    assert_in_range(loop_now_ms(rig->loop) - begin_ms, HTTP_REQUEST_MS - 200, 2 * HTTP_REQUEST_MS);
    assert_true(answered_ms > 0); /* the deaf one's time begins when its 5 MB are there */
    turn_for(rig->loop, answered_ms + HTTP_REQUEST_MS + 300 - loop_now_ms(rig->loop));
    assert_int_equal(hear(rig, silent, answer, ROOM, 500), 0);
    ssize_t len = hear(rig, deaf, answer, ROOM, 5000); /* what its kernel had taken */
    assert_in_range(len, 1, LARGE_BYTES - 1);
    close(slow);
    close(silent);
    close(deaf);
    free(answer);
}

/* S58: more than there may be: the newest is served, the ones that waited longest are gone. */
static void many_connections(void **state)
{
    struct rig *rig = *state;
    int fds[3 * HTTP_CONNECTIONS_MAX];
    char byte;
    const int count = (int)(sizeof(fds) / sizeof(fds[0]));
    for (int i = 0; i < count; i++) {
        fds[i] = client(rig);
        turn_for(rig->loop, 1);
    }
    turn_for(rig->loop, 100);
    assert_non_null(strstr(ask(rig, "GET /healthz HTTP/1.1\r\n\r\n"), " 200 "));
    int open = 0;
    for (int i = 0; i < count; i++) {
        bool is_open = recv(fds[i], &byte, 1, 0) < 0 && errno == EAGAIN;
        open += is_open;
        if (i < count - HTTP_CONNECTIONS_MAX) {
            assert_false(is_open);
        }
        close(fds[i]);
    }
    assert_int_equal(open, HTTP_CONNECTIONS_MAX - 1);
}

/* S7: out of descriptors the loop must not turn for nothing. */
static void out_of_descriptors(void **state)
{
    struct rig *rig = *state;
    struct rlimit before;
    struct rlimit none;
    int fd = client(rig);
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &none);
    struct timespec cpu_before;
    struct timespec cpu_after;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu_before);
    turn_for(rig->loop, 600);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu_after);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_true((cpu_after.tv_sec - cpu_before.tv_sec) * 1000 +
                    (cpu_after.tv_nsec - cpu_before.tv_nsec) / 1000000 <
                200);
    say(fd, "GET /healthz HTTP/1.1\r\n\r\n");
    char answer[1000];
    assert_true(hear(rig, fd, answer, sizeof(answer), 3000) > 0);
    assert_non_null(strstr(answer, " 200 "));
    close(fd);
}

static void it_may_end_with_clients_in_it(void **state)
{
    struct rig *rig = *state;
    int reading = client(rig);
    int draining = client(rig);
    say(draining, "GET /healthz HTTP/1.1\r\n\r\n");
    turn_for(rig->loop, 50);
    http_server_free(rig->server);
    rig->server = NULL;
    http_server_free(NULL);
    close(reading);
    close(draining);
}

static void addresses(void **state)
{
    static const char *const bad[] = {"",
                                      "9464",
                                      ":9464",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:x",
                                      "127.0.0.1:65536",
                                      "::1:0",
                                      "[127.0.0.1]:0",
                                      "[::1:0",
                                      "example.com:0",
                                      "127.0.0.1:-1",
                                      "[]:0"};
    struct rig *rig = *state;
    struct err err;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_null(
            http_server_new(rig->loop, bad[i], rig->metrics, is_healthy, is_ready, rig, &err));
        assert_int_equal(err.kind, ERR_CONFIG);
    }
    char taken[32];
    snprintf(taken, sizeof(taken), "localhost:%d", http_server_port(rig->server));
    assert_null(http_server_new(rig->loop, taken, rig->metrics, is_healthy, is_ready, rig, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_int_equal(err.code, EADDRINUSE);
    assert_non_null(strstr(err.hint, "--http"));
    struct http_server *v6 =
        http_server_new(rig->loop, "[::1]:0", rig->metrics, is_healthy, is_ready, rig, &err);
    if (v6 != NULL) { /* where there is IPv6 */
        assert_true(http_server_port(v6) > 0);
        http_server_free(v6);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(metrics_and_health),
        TEST(one_text_serves_all_for_a_moment),
        TEST(head_has_no_body),
        TEST(everything_else_is_refused),
        TEST(a_request_line_of_a_megabyte),
        TEST(a_large_answer_arrives),
        TEST(slow_clients_are_cut),
        TEST(many_connections),
        TEST(out_of_descriptors),
        TEST(it_may_end_with_clients_in_it),
        TEST(addresses),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
