/* base/redis: against a server that this test scripts byte by byte, and against a real one, plain and with TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/redis.h"
#include "tests/fake/turns.h"

/* ---- what callbacks saw ------------------------------------------------------------------------------------------ */

struct seen {
    struct loop *loop;
    struct redis *redis;
    int ready_count;
    int away_count;
    char why[ERR_WHAT_BYTES];
    int replies_count;
    int errors_count;
    enum err_kind kind; /* of the last error */
    int code;
    char error[ERR_WHAT_BYTES];
    char hint[ERR_HINT_BYTES];
    char text[256]; /* of the last reply, with its number when it is one */
    bool free_in_reply;
    bool free_when_ready;
    bool call_again;
};

static void changed(void *arg, enum redis_state state, const struct err *why)
{
    struct seen *seen = arg;
    if (state == REDIS_READY) {
        seen->ready_count++;
        assert_null(why);
        if (seen->free_when_ready) {
            redis_free(seen->redis);
            seen->redis = NULL;
        }
        return;
    }
    seen->away_count++;
    assert_int_equal(why->kind, ERR_RETRY);
    snprintf(seen->why, sizeof(seen->why), "%s", why->what);
    snprintf(seen->hint, sizeof(seen->hint), "%s", why->hint);
}

static void replied(void *arg, const struct redisReply *reply, const struct err *err)
{
    struct seen *seen = arg;
    assert_true((reply == NULL) == (err != NULL));
    if (reply == NULL) {
        seen->errors_count++;
        seen->kind = err->kind;
        seen->code = err->code;
        snprintf(seen->error, sizeof(seen->error), "%s", err->what);
        snprintf(seen->hint, sizeof(seen->hint), "%s", err->hint);
    } else {
        seen->replies_count++;
        if (reply->type == REDIS_REPLY_INTEGER) {
            snprintf(seen->text, sizeof(seen->text), "%lld", reply->integer);
        } else {
            snprintf(seen->text, sizeof(seen->text), "%.200s",
                     reply->str != NULL ? reply->str : "");
        }
    }
    if (seen->call_again) {
        seen->call_again = false;
        redis_call(seen->redis, 1, (const char *[]){"AGAIN"}, NULL, replied, seen);
    }
    if (seen->free_in_reply && seen->redis != NULL) {
        struct redis *redis = seen->redis;
        seen->redis = NULL;
        redis_free(redis);
    }
}

static void call(struct seen *seen, const char *word)
{
    redis_call(seen->redis, 1, &word, NULL, replied, seen);
}

#define UNTIL(seen, condition) TURN_UNTIL((seen)->loop, 5000, condition)

/* ---- a server of our own ----------------------------------------------------------------------------------------- */

struct server {
    struct seen seen;
    int listen_fd;
    int fd; /* the connection, -1 = none */
    int port;
};

static int listen_somewhere(int *out_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *out_port = ntohs(address.sin_port);
    return fd;
}

static void open_redis(struct seen *seen, const char *host, int port, int timeout_ms)
{
    char url[300];
    struct err err = {0};
    snprintf(url, sizeof(url), "redis://%s:%d/3", host, port);
    const struct redis_options options = {.url = url, .timeout_ms = timeout_ms};
    seen->redis = redis_new(seen->loop, &options, changed, seen, &err);
    assert_non_null(seen->redis);
}

static int setup(void **state)
{
    struct server *server = calloc(1, sizeof(*server));
    server->seen.loop = loop_new(clock_system());
    server->fd = -1;
    server->listen_fd = listen_somewhere(&server->port);
    *state = server;
    return 0;
}

static int teardown(void **state)
{
    struct server *server = *state;
    redis_free(server->seen.redis);
    loop_run_once(server->seen.loop, 0);
    loop_free(server->seen.loop);
    close(server->listen_fd);
    if (server->fd >= 0) {
        close(server->fd);
    }
    free(server);
    return 0;
}

static bool readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

static void server_accept(struct server *server)
{
    UNTIL(&server->seen, readable(server->listen_fd));
    if (server->fd >= 0) {
        close(server->fd);
    }
    server->fd = accept(server->listen_fd, NULL, NULL);
    assert_true(server->fd >= 0);
}

/* What the client says next must be this. */
static void server_expect(struct server *server, const char *expected)
{
    char got[4096];
    size_t len = 0;
    size_t wanted = strlen(expected);
    while (len < wanted) {
        UNTIL(&server->seen, readable(server->fd));
        ssize_t part = recv(server->fd, got + len, wanted - len, 0);
        assert_true(part > 0);
        len += (size_t)part;
    }
    got[len] = '\0';
    assert_string_equal(got, expected);
}

static void server_say(struct server *server, const char *text)
{
    assert_int_equal(send(server->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

#define SELECT_3 "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"

static void server_greet(struct server *server)
{
    int before = server->seen.ready_count;
    server_accept(server);
    server_expect(server, SELECT_3);
    server_say(server, "+OK\r\n");
    UNTIL(&server->seen, server->seen.ready_count > before);
}

static void begin(struct server *server, int timeout_ms)
{
    open_redis(&server->seen, "127.0.0.1", server->port, timeout_ms);
    server_greet(server);
}

static void replies_come_to_their_calls(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    begin(server, 1000);
    assert_int_equal(redis_state(seen->redis), REDIS_READY);
    assert_string_equal(redis_last_error(seen->redis), "");
    const char *argv[] = {"SET", "k\0y", ""};
    const size_t lens[] = {3, 3, 0};
    redis_call(seen->redis, 3, argv, lens, replied, seen);
    call(seen, "B");
    server_expect(server, "*3\r\n$3\r\nSET\r\n$3\r\nk");
    char binary[16];
    UNTIL(seen, readable(server->fd));
    assert_true(recv(server->fd, binary, 10, MSG_WAITALL) == 10); /* \0y\r\n$0\r\n\r\n */
    server_expect(server, "*1\r\n$1\r\nB\r\n");
    server_say(server, "$3\r\nab"); /* in pieces */
    loop_run_once(seen->loop, 20);
    assert_int_equal(seen->replies_count, 0);
    server_say(server, "c\r\n:42");
    UNTIL(seen, seen->replies_count == 1);
    assert_string_equal(seen->text, "abc");
    server_say(server, "\r\n");
    UNTIL(seen, seen->replies_count == 2);
    assert_string_equal(seen->text, "42");
}

static void before_it_is_ready_calls_fail_at_once(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    open_redis(seen, "127.0.0.1", server->port, 1000);
    call(seen, "A");
    assert_int_equal(seen->errors_count, 1);
    assert_int_equal(seen->kind, ERR_RETRY);
    assert_int_equal(seen->code, 0); /* nobody has said anything */
    assert_non_null(strstr(seen->error, "not connected yet"));
    server_greet(server);
    assert_int_equal(seen->away_count, 0);
}

/* S33: which errors pass and which do not; of those that pass it is said what to do. */
static void error_replies_become_errors(void **state)
{
    static const struct {
        const char *reply;
        enum err_kind kind;
    } rows[] = {
        {"-LOADING Redis is loading\r\n", ERR_RETRY  },
        {"-BUSY a script runs\r\n",       ERR_RETRY  },
        {"-READONLY replica\r\n",         ERR_RETRY  },
        {"-MOVED 1 h:1\r\n",              ERR_RETRY  },
        {"-OOM maxmemory\r\n",            ERR_RETRY  },
        {"-MASTERDOWN x\r\n",             ERR_RETRY  },
        {"-TRYAGAIN x\r\n",               ERR_RETRY  },
        {"-ASK 1 h:1\r\n",                ERR_RETRY  },
        {"-CLUSTERDOWN x\r\n",            ERR_RETRY  },
        {"-MISCONF x\r\n",                ERR_RETRY  },
        {"-NOREPLICAS x\r\n",             ERR_RETRY  },
        {"-NOAUTH x\r\n",                 ERR_REFUSED},
        {"-NOPERM x\r\n",                 ERR_REFUSED},
        {"-WRONGPASS x\r\n",              ERR_REFUSED},
        {"-WRONGTYPE x\r\n",              ERR_REFUSED},
        {"-BUSYGROUP x\r\n",              ERR_REFUSED},
        {"-ERR x\r\n",                    ERR_REFUSED},
        {"-\r\n",                         ERR_REFUSED}
    };
    struct server *server = *state;
    struct seen *seen = &server->seen;
    begin(server, 1000);
    for (int i = 0; i < (int)(sizeof(rows) / sizeof(rows[0])); i++) {
        call(seen, "A");
        server_expect(server, "*1\r\n$1\r\nA\r\n");
        server_say(server, rows[i].reply);
        UNTIL(seen, seen->errors_count == i + 1);
        assert_int_equal(seen->kind, rows[i].kind);
        assert_int_equal(seen->code, REDIS_SAYS);
        assert_true(seen->hint[0] != '\0' || rows[i].kind != ERR_RETRY);
    }
    assert_int_equal(seen->replies_count, 0);
    assert_int_equal(redis_state(seen->redis), REDIS_READY);
}

/* Calls that keep coming must not hide that none is answered. */
static void a_server_that_answers_nothing_is_dropped(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    begin(server, 200);
    int64_t begin_ms = loop_now_ms(seen->loop);
    int calls = 0;
    while (seen->away_count == 0 && loop_now_ms(seen->loop) - begin_ms < 3000) {
        call(seen, "A");
        calls++;
        turn_for(seen->loop, 10);
    }
    assert_true(calls < 1000); /* it was not the number of calls that ended it */
    assert_int_equal(seen->away_count, 1);
    assert_in_range(loop_now_ms(seen->loop) - begin_ms, 200, 1000);
    assert_int_equal(seen->errors_count, calls);
    assert_int_equal(seen->kind, ERR_RETRY);
    assert_int_equal(seen->code, 0);
    assert_non_null(strstr(seen->why, "no answer within 200 ms"));
    assert_non_null(strstr(redis_last_error(seen->redis), "no answer"));
    server_greet(server); /* and it comes back */
    assert_int_equal(redis_state(seen->redis), REDIS_READY);
}

static void a_slow_server_that_answers_is_kept(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    begin(server, 300);
    for (int i = 0; i < 4; i++) {
        call(seen, "A");
        call(seen, "A");
        turn_for(seen->loop, 150);
        server_say(server, "+x\r\n+x\r\n");
        UNTIL(seen, seen->replies_count == 2 * (i + 1));
    }
    loop_run_once(seen->loop, 400); /* idle is no silence */
    assert_int_equal(seen->away_count, 0);
}

static void a_greeting_without_an_answer_ends(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    open_redis(seen, "127.0.0.1", server->port, 200);
    server_accept(server);
    server_expect(server, SELECT_3);
    UNTIL(seen, seen->away_count == 1);
    assert_non_null(strstr(seen->why, "no answer within 200 ms"));
    server_accept(server);
    server_expect(server, SELECT_3);
    loop_run_once(seen->loop, 0);
    assert_int_equal(seen->away_count, 1); /* told once */
    for (int i = 0; i < 2; i++) { /* a server that says no is another matter, told once too */
        server_say(server, "-ERR DB index is out of range\r\n");
        UNTIL(seen, strstr(redis_last_error(seen->redis), "out of range") != NULL);
        assert_int_equal(seen->away_count, 2);
        assert_non_null(strstr(seen->why, "out of range"));
        if (i == 0) {
            server_accept(server);
            server_expect(server, SELECT_3);
        }
    }
    assert_int_equal(seen->ready_count, 0);
    server_greet(server);
}

static void lies_cost_a_connection(void **state)
{
    static const char *const lies[] = {
        "+nobody asked\r\n",
        "-nobody asked\r\n",
        "not a reply\r\n",
        "$99999999999999999999\r\n",
        "*2147483647\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n+deep\r\n",
    };
    struct server *server = *state;
    struct seen *seen = &server->seen;
    begin(server, 1000);
    for (int i = 0; i < (int)(sizeof(lies) / sizeof(lies[0])); i++) {
        server_say(server, lies[i]);
        UNTIL(seen, seen->away_count == i + 1);
        assert_int_equal(redis_state(seen->redis), REDIS_AWAY);
        server_greet(server);
    }
}

static void an_endless_answer_is_cut(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    char *chunk = malloc(1 << 20);
    memset(chunk, 'x', 1 << 20);
    begin(server, 60000); /* the size is to end it, not the time, on a slow machine too */
    call(seen, "A");
    fcntl(server->fd, F_SETFL, O_NONBLOCK);
    server_say(server, "$500000000\r\n");
    size_t sent = 0;
    while (seen->away_count == 0 && sent < (200 << 20)) {
        ssize_t part = send(server->fd, chunk, 1 << 20, MSG_NOSIGNAL);
        sent += part > 0 ? (size_t)part : 0;
        loop_run_once(seen->loop, 1);
    }
    assert_int_equal(seen->away_count, 1);
    assert_non_null(strstr(seen->why, "too large"));
    assert_in_range(sent, 64 << 20, 100 << 20);
    assert_int_equal(seen->errors_count, 1);
    free(chunk);
}

/* Each part is small, and hiredis lets go of its bytes: what they make is memory all the same. */
static void an_endless_array_is_cut(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    static char part[4 + 1 + 2 + 1000 + 2 + 1]; /* "$1000\r\n", 1000 bytes, "\r\n" */
    size_t sent = 0;
    begin(server, 60000);
    call(seen, "A");
    fcntl(server->fd, F_SETFL, O_NONBLOCK);
    server_say(server, "*1000000\r\n");
    int len = snprintf(part, sizeof(part), "$1000\r\n%01000d\r\n", 7);
    size_t at = 0;
    while (seen->away_count == 0 && sent < (200 << 20)) {
        ssize_t gone = send(server->fd, part + at, (size_t)len - at, MSG_NOSIGNAL);
        sent += gone > 0 ? (size_t)gone : 0;
        at = (at + (gone > 0 ? (size_t)gone : 0)) % (size_t)len;
        if (gone < 0 || sent % (256 << 10) < (size_t)len) {
            loop_run_once(seen->loop, 1);
        }
    }
    assert_int_equal(seen->away_count, 1);
    assert_non_null(strstr(seen->why, "too large"));
    assert_in_range(sent, 64 << 20, 100 << 20);
}

static void a_lost_connection_answers_all(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    begin(server, 1000);
    for (int i = 0; i < 100; i++) {
        call(seen, "A");
    }
    seen->call_again = true; /* from within: fails at once */
    loop_run_once(seen->loop, 10);
    close(server->fd);
    server->fd = -1;
    UNTIL(seen, seen->away_count == 1);
    assert_int_equal(seen->errors_count, 101);
    assert_int_equal(seen->replies_count, 0);
    server_greet(server);
    call(seen, "A");
    server_expect(server, "*1\r\n$1\r\nA\r\n"); /* nothing of before is sent again */
}

static void too_many_calls_fail_at_once(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    begin(server, 1000);
    for (int i = 0; i < REDIS_PENDING_MAX; i++) {
        call(seen, "A");
    }
    assert_int_equal(seen->errors_count, 0);
    call(seen, "A");
    assert_int_equal(seen->errors_count, 1);
    assert_int_equal(seen->code, 0); /* Redis was not asked */
    assert_non_null(strstr(seen->error, "too many calls"));
    redis_free(seen->redis); /* answers the others */
    seen->redis = NULL;
    assert_int_equal(seen->errors_count, 1 + REDIS_PENDING_MAX);
}

/* Bytes that came to the server since it was asked last. */
static size_t server_takes(struct server *server)
{
    char got[64 << 10];
    size_t all = 0;
    turn_for(server->seen.loop, 30);
    while (readable(server->fd)) {
        ssize_t len = recv(server->fd, got, sizeof(got), 0);
        assert_true(len > 0);
        all += (size_t)len;
        turn_for(server->seen.loop, 10);
    }
    return all;
}

/* The last of ten thousand is not late because of the first; their order stays. */
static void so_many_calls_are_on_the_way(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    const size_t call_bytes = strlen("*1\r\n$1\r\nA\r\n");
    begin(server, 300);
    for (int i = 0; i < REDIS_FLIGHT_MAX + 2; i++) {
        call(seen, "A");
    }
    call(seen, "B");
    assert_int_equal(server_takes(server), REDIS_FLIGHT_MAX * call_bytes);
    for (int i = 0; i < REDIS_FLIGHT_MAX; i++) {
        server_say(server, "+a\r\n");
    }
    server_expect(server, "*1\r\n$1\r\nA\r\n*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n");
    turn_for(seen->loop, 200); /* their time began when they were sent */
    server_say(server, "+a\r\n+a\r\n+b\r\n");
    UNTIL(seen, seen->replies_count == REDIS_FLIGHT_MAX + 3);
    assert_string_equal(seen->text, "b");
    assert_int_equal(seen->errors_count, 0);
    assert_int_equal(seen->away_count, 0);
}

static void no_more_bytes_than_a_line_carries_in_time(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    static char large[REDIS_FLIGHT_BYTES_MAX + 1];
    begin(server, 1000);
    memset(large, 'x', sizeof(large) - 1);
    call(seen, large);
    call(seen, "A");
    assert_in_range(server_takes(server), sizeof(large), sizeof(large) + 20);
    server_say(server, "+x\r\n");
    server_expect(server, "*1\r\n$1\r\nA\r\n");
    call(seen, large); /* waits for nobody's bytes but its own */
    assert_in_range(server_takes(server), sizeof(large), sizeof(large) + 20);
    close(server->fd); /* those that wait are answered, too */
    server->fd = -1;
    call(seen, "A");
    UNTIL(seen, seen->errors_count == 3);
}

/* It answered in time; the loop was busy with something else. */
static void answers_that_nobody_has_read_are_not_late(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    char one[256];
    char answers[REDIS_FLIGHT_MAX * sizeof(one)]; /* 16 KiB are read at a time */
    size_t len = 0;
    int one_len = snprintf(one, sizeof(one), "$200\r\n%0200d\r\n", 7);
    begin(server, 100);
    for (int i = 0; i < REDIS_FLIGHT_MAX; i++) {
        call(seen, "A");
        memcpy(answers + len, one, (size_t)one_len + 1);
        len += (size_t)one_len;
    }
    for (int i = 0; i < 5; i++) {
        loop_run_once(seen->loop, 5);
    }
    server_say(server, answers);
    usleep(200 * 1000);
    UNTIL(seen, seen->replies_count + seen->errors_count == REDIS_FLIGHT_MAX);
    assert_int_equal(seen->errors_count, 0);
}

static void it_may_be_freed_anywhere(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    begin(server, 1000); /* in a reply, with more behind it */
    for (int i = 0; i < 3; i++) {
        call(seen, "A");
    }
    seen->free_in_reply = true;
    loop_run_once(seen->loop, 10);
    server_say(server, "+a\r\n+b\r\n+c\r\n");
    UNTIL(seen, seen->redis == NULL);
    assert_int_equal(seen->replies_count, 1);
    assert_int_equal(seen->errors_count, 2);
    assert_non_null(strstr(seen->error, "closed by us"));

    begin(server, 1000); /* in a failure */
    for (int i = 0; i < 3; i++) {
        call(seen, "A");
    }
    loop_run_once(seen->loop, 10);
    close(server->fd);
    server->fd = -1;
    UNTIL(seen, seen->redis == NULL);
    assert_int_equal(seen->errors_count, 5);
    assert_int_equal(seen->away_count, 0);

    seen->free_in_reply = false; /* when it is ready */
    seen->free_when_ready = true;
    open_redis(seen, "127.0.0.1", server->port, 1000);
    server_accept(server);
    server_say(server, "+OK\r\n");
    UNTIL(seen, seen->redis == NULL);

    open_redis(seen, "localhost", server->port, 1000); /* while the name is looked up */
    loop_run_once(seen->loop, 10);
    redis_free(seen->redis);
    open_redis(seen, "127.0.0.1", server->port, 1000); /* at once */
    redis_free(seen->redis);
    seen->redis = NULL;
    redis_free(NULL);
}

static void nobody_there_is_told_once_and_tried_again(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    int port = server->port;
    close(server->listen_fd);
    open_redis(seen, "127.0.0.1", port, 1000);
    UNTIL(seen, seen->away_count == 1);
    assert_non_null(strstr(seen->why, "Connection refused"));
    loop_run_once(seen->loop, 150);
    loop_run_once(seen->loop, 300);
    assert_int_equal(seen->away_count, 1);
    call(seen, "A");
    assert_non_null(strstr(seen->error, "Connection refused"));
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(server->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(bind(server->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(server->listen_fd, 8), 0);
    server_greet(server);
}

static void a_name_that_is_not_there_blocks_nobody(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    open_redis(seen, "ferry.invalid", server->port, 1000);
    int64_t begin_ms = loop_now_ms(seen->loop);
    loop_run_once(seen->loop, 10);
    assert_true(loop_now_ms(seen->loop) - begin_ms < 200);
    call(seen, "A");
    assert_int_equal(seen->errors_count, 1);
}

/* localhost is ::1 and 127.0.0.1 on many machines: the second address is tried when the first refuses. */
static void every_address_of_a_name_is_tried(void **state)
{
    struct server *server = *state;
    open_redis(&server->seen, "localhost", server->port, 1000);
    server_greet(server);
    assert_int_equal(server->seen.away_count, 0);
}

static void passwords_go_first(void **state)
{
    struct server *server = *state;
    struct seen *seen = &server->seen;
    char url[64];
    struct err err = {0};
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", server->port);
    struct redis_options options = {.url = url, .password = "secret", .timeout_ms = 1000};
    seen->redis = redis_new(seen->loop, &options, changed, seen, &err);
    server_accept(server);
    server_expect(server, "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n");
    server_say(server, "-WRONGPASS invalid\r\n+OK\r\n");
    UNTIL(seen, seen->away_count == 1);
    assert_non_null(strstr(seen->why, "WRONGPASS"));
    assert_non_null(strstr(seen->hint, ".password"));
    assert_int_equal(seen->ready_count, 0);
    redis_free(seen->redis);
    options.username = "ferry";
    seen->redis = redis_new(seen->loop, &options, changed, seen, &err);
    server_accept(server);
    server_expect(server, "*3\r\n$4\r\nAUTH\r\n$5\r\nferry\r\n$6\r\nsecret\r\n");
    server_say(server, "+OK\r\n");
    loop_run_once(seen->loop, 20);
    assert_int_equal(seen->ready_count, 0);
    server_say(server, "+OK\r\n");
    UNTIL(seen, seen->ready_count == 1);
}

static void scripts_are_sent_whole_when_unknown(void **state)
{
    static struct redis_script script = {.name = "one", .text = "return 1"};
    struct server *server = *state;
    struct seen *seen = &server->seen;
    begin(server, 1000);
    redis_call_script(seen->redis, &script, 1, 2, (const char *[]){"k", "v"}, NULL, replied, seen);
    assert_string_equal(script.sha, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    server_expect(server,
                  "*5\r\n$7\r\nEVALSHA\r\n$40\r\ne0e1f9fabfc9d4800c877a703b823ac0578ff8db\r\n"
                  "$1\r\n1\r\n$1\r\nk\r\n$1\r\nv\r\n");
    server_say(server, "-NOSCRIPT No matching script\r\n");
    server_expect(server,
                  "*5\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n1\r\n$1\r\nk\r\n$1\r\nv\r\n");
    assert_int_equal(seen->errors_count, 0);
    server_say(server, "-NOSCRIPT again\r\n"); /* nonsense: it ends here */
    UNTIL(seen, seen->errors_count == 1);
    assert_int_equal(seen->kind, ERR_REFUSED);
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static void bad_urls_are_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "localhost:6379",
                                      "http://h:1",
                                      "redis://",
                                      "redis://:6379",
                                      "redis://h:x",
                                      "redis://h:-1",
                                      "redis://h: 1",
                                      "redis://h:65536",
                                      "redis://h:1/x",
                                      "redis://h:1/1/2",
                                      "redis://[::1",
                                      "redis://[::1]x:1",
                                      "redis://user:hunter2@h:1",
                                      "http://user:hunter2@h:1"};
    struct server *server = *state;
    struct err err;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct redis_options options = {.url = bad[i], .timeout_ms = 100};
        err_clear(&err);
        assert_null(redis_new(server->seen.loop, &options, changed, NULL, &err));
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_null(strstr(err.what, "hunter2"));
        assert_null(redis_sync_new(&options, &err));
    }
    char longer[600];
    memset(longer, 'h', sizeof(longer));
    memcpy(longer, "redis://", 8);
    longer[sizeof(longer) - 1] = '\0';
    const struct redis_options options = {.url = longer, .timeout_ms = 100};
    assert_null(redis_new(server->seen.loop, &options, changed, NULL, &err));
    const struct redis_options no_ca = {
        .url = "rediss://h:1", .ca_file = "/nonexistent", .timeout_ms = 100};
    assert_null(redis_new(server->seen.loop, &no_ca, changed, NULL, &err));
    assert_non_null(strstr(err.what, "/nonexistent"));
}

/* ---- a real server ----------------------------------------------------------------------------------------------- */

struct real {
    struct seen seen;
    char dir[64];
    int port;
    int tls_port;
    pid_t pid;
};

static int free_port(void)
{
    int port;
    close(listen_somewhere(&port));
    return port;
}

static const char *server_program(void)
{
    static const char ours[] = "build/deps/bin/redis-server";
    return access(ours, X_OK) == 0 ? ours : "redis-server";
}

/* A certificate for the name localhost, and for no address. */
static void make_certificate(const char *dir)
{
    char command[512];
    snprintf(command, sizeof(command),
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
             "-keyout %s/key.pem -out %s/cert.pem -subj /CN=localhost "
             "-addext subjectAltName=DNS:localhost 2>/dev/null",
             dir, dir);
    assert_int_equal(system(command), 0);
}

static void real_exec(const struct real *real)
{
    char config[1024];
    char file[128];
    int len =
        snprintf(config, sizeof(config),
                 "bind 127.0.0.1\nport %d\ntls-port %d\ntls-cert-file %s/cert.pem\n"
                 "tls-key-file %s/key.pem\ntls-ca-cert-file %s/cert.pem\ntls-auth-clients no\n"
                 "requirepass pw\nsave \"\"\ndir %s\nlogfile %s/log\n",
                 real->port, real->tls_port, real->dir, real->dir, real->dir, real->dir, real->dir);
    snprintf(file, sizeof(file), "%s/redis.conf", real->dir);
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, config, (size_t)len) != len) {
        _exit(126);
    }
    execlp(server_program(), "redis-server", file, (char *)NULL);
    _exit(127);
}

static void real_start(struct real *real)
{
    real->pid = fork();
    assert_true(real->pid >= 0);
    if (real->pid == 0) {
        real_exec(real);
    }
}

static void real_kill(struct real *real)
{
    kill(real->pid, SIGKILL);
    waitpid(real->pid, NULL, 0);
}

static int real_setup(void **state)
{
    struct real *real = calloc(1, sizeof(*real));
    real->seen.loop = loop_new(clock_system());
    snprintf(real->dir, sizeof(real->dir), "%s", "/tmp/ferry-redis-XXXXXX");
    assert_non_null(mkdtemp(real->dir));
    make_certificate(real->dir);
    real->port = free_port();
    real->tls_port = free_port();
    real_start(real);
    *state = real;
    return 0;
}

static int real_teardown(void **state)
{
    struct real *real = *state;
    char command[128];
    redis_free(real->seen.redis);
    loop_free(real->seen.loop);
    real_kill(real);
    snprintf(command, sizeof(command), "rm -rf %s", real->dir);
    assert_int_equal(system(command), 0);
    free(real);
    return 0;
}

static struct redis *real_open(struct real *real, const char *host, bool tls, const char *ca_file)
{
    char url[64];
    struct err err = {0};
    snprintf(url, sizeof(url), "%s://%s:%d/1", tls ? "rediss" : "redis", host,
             tls ? real->tls_port : real->port);
    const struct redis_options options = {
        .url = url, .password = "pw", .ca_file = ca_file, .timeout_ms = 2000};
    struct redis *redis = redis_new(real->seen.loop, &options, changed, &real->seen, &err);
    assert_non_null(redis);
    return redis;
}

static void a_real_server_dies_and_comes_back(void **state)
{
    static struct redis_script script = {.name = "add",
                                         .text = "return redis.call('INCRBY', KEYS[1], ARGV[1])"};
    struct real *real = *state;
    struct seen *seen = &real->seen;
    seen->redis = real_open(real, "127.0.0.1", false, NULL);
    UNTIL(seen, seen->ready_count == 1);
    for (int i = 0; i < 1000; i++) {
        redis_call_script(seen->redis, &script, 1, 2, (const char *[]){"n", "2"}, NULL, replied,
                          seen);
    }
    UNTIL(seen, seen->replies_count == 1000);
    assert_string_equal(seen->text, "2000");
    assert_int_equal(seen->errors_count, 0);
    real_kill(real);
    UNTIL(seen, redis_state(seen->redis) == REDIS_AWAY);
    real_start(real);
    UNTIL(seen, redis_state(seen->redis) == REDIS_READY);
    redis_call_script(seen->redis, &script, 1, 2, (const char *[]){"n", "3"}, NULL, replied, seen);
    UNTIL(seen, seen->replies_count == 1001);
    assert_string_equal(seen->text, "3"); /* it has forgotten the number and the script */
    kill(real->pid, SIGSTOP);
    redis_call(seen->redis, 1, (const char *[]){"PING"}, NULL, replied, seen);
    UNTIL(seen, seen->errors_count == 1);
    assert_non_null(strstr(seen->error, "no answer within 2000 ms"));
    kill(real->pid, SIGCONT);
    UNTIL(seen, redis_state(seen->redis) == REDIS_READY);
}

static void tls_checks_whose_certificate_it_is(void **state)
{
    struct real *real = *state;
    struct seen *seen = &real->seen;
    char ca_file[128];
    snprintf(ca_file, sizeof(ca_file), "%s/cert.pem", real->dir);
    seen->redis = real_open(real, "localhost", true, ca_file);
    UNTIL(seen, seen->ready_count == 1);
    char large[100000];
    memset(large, 'x', sizeof(large));
    const char *set[] = {"SET", "large", large};
    redis_call(seen->redis, 3, set, (const size_t[]){3, 5, sizeof(large)}, replied, seen);
    redis_call(seen->redis, 2, (const char *[]){"STRLEN", "large"}, NULL, replied, seen);
    redis_call(seen->redis, 2, (const char *[]){"GET", "large"}, NULL, replied, seen);
    UNTIL(seen, seen->replies_count == 2);
    assert_string_equal(seen->text, "100000");
    UNTIL(seen, seen->replies_count == 3);
    redis_free(seen->redis);
    seen->away_count = 0;                                      /* one while the server came up */
    seen->redis = real_open(real, "127.0.0.1", true, ca_file); /* not its name */
    UNTIL(seen, seen->away_count == 1);
    assert_non_null(strstr(seen->why, "IP address mismatch"));
    redis_free(seen->redis);
    seen->away_count = 0;
    seen->redis = real_open(real, "localhost", true, NULL); /* nobody we know */
    UNTIL(seen, seen->away_count == 1);
    assert_non_null(strstr(seen->why, "certificate"));
    redis_free(seen->redis);
    seen->away_count = 0;
    real->tls_port = real->port; /* a server that does not speak TLS */
    seen->redis = real_open(real, "localhost", true, ca_file);
    UNTIL(seen, seen->away_count == 1);
    assert_non_null(strstr(seen->why, "TLS"));
    assert_int_equal(seen->ready_count, 1);
}

static struct redis_sync *sync_open(struct real *real, const char *host, bool tls,
                                    const char *password, struct err *err)
{
    char url[64];
    char ca_file[128];
    snprintf(url, sizeof(url), "%s://%s:%d/2", tls ? "rediss" : "redis", host,
             tls ? real->tls_port : real->port);
    snprintf(ca_file, sizeof(ca_file), "%s/cert.pem", real->dir);
    const struct redis_options options = {
        .url = url, .password = password, .ca_file = ca_file, .timeout_ms = 300};
    return redis_sync_new(&options, err);
}

static void the_blocking_twin(void **state)
{
    static struct redis_script script = {.name = "join", .text = "return KEYS[1] .. ARGV[1]"};
    struct real *real = *state;
    struct err err = {0};
    real->seen.redis = real_open(real, "127.0.0.1", false, NULL); /* to know that it is up */
    UNTIL(&real->seen, real->seen.ready_count == 1);
    for (int tls = 0; tls < 2; tls++) {
        struct redis_sync *redis = sync_open(real, "localhost", tls == 1, "pw", &err);
        if (redis == NULL) {
            fail_msg("%s", err.what);
        }
        const char *argv[] = {"k", "a\0b"};
        struct redisReply *reply =
            redis_sync_script(redis, &script, 1, 2, argv, (const size_t[]){1, 3}, &err);
        assert_non_null(reply);
        assert_int_equal(reply->len, 4);
        assert_memory_equal(reply->str, "ka\0b", 4);
        freeReplyObject(reply);
        assert_null(redis_sync_call(redis, 1, (const char *[]){"NONSENSE"}, NULL, &err));
        assert_int_equal(err.kind, ERR_REFUSED);
        kill(real->pid, SIGSTOP);
        assert_null(redis_sync_call(redis, 1, (const char *[]){"PING"}, NULL, &err));
        assert_int_equal(err.kind, ERR_RETRY);
        kill(real->pid, SIGCONT);
        redis_sync_free(redis);
    }
    assert_null(sync_open(real, "localhost", false, "wrong", &err));
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_null(sync_open(real, "localhost", false, NULL, &err));
    assert_non_null(strstr(err.what, "NOAUTH"));
    assert_null(sync_open(real, "127.0.0.1", true, "pw", &err)); /* not its name */
    assert_non_null(strstr(err.what, "IP address mismatch"));
    real_kill(real);
    assert_null(sync_open(real, "localhost", false, "pw", &err));
    assert_int_equal(err.kind, ERR_RETRY);
    redis_sync_free(NULL);
}

/* A server in a process of its own: greets, then says `part` without end, with a rest between. */
static pid_t endless_server(int listen_fd, const char *first, const char *part, useconds_t rest_us)
{
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    char got[256];
    int fd = accept(listen_fd, NULL, NULL);
    ssize_t len = recv(fd, got, sizeof(got), 0); /* SELECT */
    len = send(fd, "+OK\r\n", 5, MSG_NOSIGNAL);
    len = recv(fd, got, sizeof(got), 0);
    len = send(fd, first, strlen(first), MSG_NOSIGNAL);
    while (len > 0) {
        len = send(fd, part, strlen(part), MSG_NOSIGNAL);
        usleep(rest_us);
    }
    _exit(0);
}

static void the_blocking_twin_has_limits(void **state)
{
    static char part[1100];
    static const struct {
        const char *first;
        bool trickles;
        const char *why;
    } rows[] = {
        {"*1000000\r\n",  false, "too large"     },
        {"$60000000\r\n", true,  "takes too long"}, /* each byte in time */
    };
    (void)state;
    snprintf(part, sizeof(part), "$1000\r\n%01000d\r\n", 7);
    for (size_t i = 0; i < 2; i++) {
        int port;
        char url[64];
        struct err err = {0};
        int fd = listen_somewhere(&port);
        pid_t pid = endless_server(fd, rows[i].first, rows[i].trickles ? "x" : part,
                                   rows[i].trickles ? 10000 : 0);
        snprintf(url, sizeof(url), "redis://127.0.0.1:%d/3", port);
        const struct redis_options options = {.url = url,
                                              .timeout_ms = rows[i].trickles ? 400 : 20000};
        struct redis_sync *redis = redis_sync_new(&options, &err);
        assert_non_null(redis);
        alarm(60); /* without the limit it would not end */
        assert_null(redis_sync_call(redis, 1, (const char *[]){"A"}, NULL, &err));
        alarm(0);
        assert_int_equal(err.kind, ERR_RETRY);
        if (strstr(err.what, rows[i].why) == NULL) {
            fail_msg("%s", err.what);
        }
        assert_null(redis_sync_call(redis, 1, (const char *[]){"B"}, NULL, &err)); /* nor a rest */
        redis_sync_free(redis);
        close(fd);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}

int main(void)
{
#define SCRIPTED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define REAL(test)     cmocka_unit_test_setup_teardown(test, real_setup, real_teardown)
    const struct CMUnitTest tests[] = {
        SCRIPTED(replies_come_to_their_calls),
        SCRIPTED(before_it_is_ready_calls_fail_at_once),
        SCRIPTED(error_replies_become_errors),
        SCRIPTED(a_server_that_answers_nothing_is_dropped),
        SCRIPTED(a_slow_server_that_answers_is_kept),
        SCRIPTED(a_greeting_without_an_answer_ends),
        SCRIPTED(lies_cost_a_connection),
        SCRIPTED(an_endless_answer_is_cut),
        SCRIPTED(an_endless_array_is_cut),
        SCRIPTED(a_lost_connection_answers_all),
        SCRIPTED(too_many_calls_fail_at_once),
        SCRIPTED(so_many_calls_are_on_the_way),
        SCRIPTED(no_more_bytes_than_a_line_carries_in_time),
        SCRIPTED(answers_that_nobody_has_read_are_not_late),
        SCRIPTED(it_may_be_freed_anywhere),
        SCRIPTED(nobody_there_is_told_once_and_tried_again),
        SCRIPTED(a_name_that_is_not_there_blocks_nobody),
        SCRIPTED(every_address_of_a_name_is_tried),
        SCRIPTED(passwords_go_first),
        SCRIPTED(scripts_are_sent_whole_when_unknown),
        SCRIPTED(bad_urls_are_refused),
        REAL(a_real_server_dies_and_comes_back),
        REAL(tls_checks_whose_certificate_it_is),
        REAL(the_blocking_twin),
        cmocka_unit_test(the_blocking_twin_has_limits),
    };
    signal(SIGPIPE, SIG_IGN); /* as our programs do */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
