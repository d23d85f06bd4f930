#include "dns/exchange.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/loop.h"

#define ANSWER_MAX    65535
#define LENGTH_BYTES  2
#define PORT_DNS      53
#define STRANGERS_MAX 100 /* datagrams that are no answer of ours, then we stop looking */

struct round;
struct talk { /* one exchange while it runs */
    struct exchange *exchange;
    struct round *round;
    int fd; /* -1 = over */
    struct loop_fd *watch;
    bool tcp;
    size_t sent;
    size_t got;
    int strangers;
    uint8_t *buffer; /* LENGTH_BYTES + ANSWER_MAX */
};

struct round {
    struct loop *loop;
    struct talk *talks;
    size_t count;
    size_t open;
};

char *exchange_server(const struct sockaddr_storage *address, char out[EXCHANGE_SERVER_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "?";
    bool v6 = address->ss_family == AF_INET6;
    const struct sockaddr_in *in4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
    int port = ntohs(v6 ? in6->sin6_port : in4->sin_port);
    inet_ntop(address->ss_family, v6 ? (const void *)&in6->sin6_addr : &in4->sin_addr, host,
              sizeof(host));
    if (port == PORT_DNS) {
        snprintf(out, EXCHANGE_SERVER_BYTES, "%s", host);
    } else {
        snprintf(out, EXCHANGE_SERVER_BYTES, v6 ? "[%s]:%d" : "%s:%d", host, port);
    }
    return out;
}

/* --- the end of one ----------------------------------------------------------------------------------------------- */

static void hang_up(struct talk *talk)
{
    loop_fd_free(talk->watch);
    talk->watch = NULL;
    if (talk->fd >= 0) {
        close(talk->fd);
    }
    talk->fd = -1;
}

static void end(struct talk *talk)
{
    hang_up(talk);
    talk->round->open--;
    if (talk->round->open == 0) {
        loop_stop(talk->round->loop);
    }
}

static void fail(struct talk *talk, const char *what, int error)
{
    struct err *why = &talk->exchange->why;
    if (error != 0) {
        err_set_code(why, ERR_RETRY, error, "%s: %s", what, strerror(error));
    } else {
        err_set(why, ERR_RETRY, "%s", what);
    }
    end(talk);
}

static void begin(struct talk *talk, bool tcp);

/* @return it was an answer, good or bad: the talk is over, or goes on over TCP */
static bool take(struct talk *talk, const uint8_t *wire, size_t len)
{
    struct exchange *exchange = talk->exchange;
    struct err why = {0};
    bool ok = message_read(exchange->query, wire, len, &exchange->answer, &why);
    if (!ok && why.code == 0) {
        return false;
    }
    if (ok && exchange->answer.truncated && !talk->tcp) {
        hang_up(talk);
        begin(talk, true);
        return true;
    }
    if (ok && exchange->answer.truncated) {
        fail(talk, "its answer is cut", 0);
        return true;
    }
    exchange->answered = ok;
    if (!ok) {
        exchange->why = why;
    }
    end(talk);
    return true;
}

/* --- UDP ---------------------------------------------------------------------------------------------------------- */

static void send_datagram(struct talk *talk)
{
    const struct message_query *query = talk->exchange->query;
    ssize_t sent = send(talk->fd, query->wire, query->len, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        fail(talk, "cannot be asked", errno);
    }
}

static void datagram(struct talk *talk)
{
    ssize_t got = recv(talk->fd, talk->buffer, ANSWER_MAX, 0);
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            fail(talk, "does not answer", errno);
        }
        return;
    }
    if (!take(talk, talk->buffer, (size_t)got) && ++talk->strangers == STRANGERS_MAX) {
        fail(talk, "sends answers to what was not asked", 0);
    }
}

/* --- TCP ---------------------------------------------------------------------------------------------------------- */

static void write_stream(struct talk *talk)
{
    const struct message_query *query = talk->exchange->query;
    const uint8_t head[LENGTH_BYTES] = {(uint8_t)(query->len >> 8), (uint8_t)query->len};
    while (talk->sent < LENGTH_BYTES + query->len) {
        bool in_head = talk->sent < LENGTH_BYTES;
        const uint8_t *from = in_head ? head + talk->sent : query->wire + talk->sent - LENGTH_BYTES;
        size_t left = in_head ? LENGTH_BYTES - talk->sent : LENGTH_BYTES + query->len - talk->sent;
        ssize_t sent = send(talk->fd, from, left, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (sent < 0) {
            fail(talk, "cannot be reached", errno);
            return;
        }
        talk->sent += (size_t)sent;
        talk->exchange->sent = true;
    }
    loop_fd_interest(talk->watch, LOOP_READ);
}

/* A stream that begins with another message than ours is of no more use. */
static void read_stream(struct talk *talk)
{
    size_t want = LENGTH_BYTES;
    if (talk->got >= LENGTH_BYTES) {
        want += (size_t)talk->buffer[0] << 8 | talk->buffer[1];
    }
    ssize_t got = recv(talk->fd, talk->buffer + talk->got, want - talk->got, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        fail(talk, got < 0 ? "gave no answer" : "hung up without an answer", got < 0 ? errno : 0);
        return;
    }
    talk->got += (size_t)got;
    if (talk->got < LENGTH_BYTES) {
        return;
    }
    want = LENGTH_BYTES + ((size_t)talk->buffer[0] << 8 | talk->buffer[1]);
    if (talk->got == want && !take(talk, talk->buffer + LENGTH_BYTES, want - LENGTH_BYTES)) {
        fail(talk, "answers what was not asked", 0);
    }
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static void ready(void *arg, int what)
{
    struct talk *talk = arg;
    if (!talk->tcp) {
        datagram(talk);
    } else if ((what & LOOP_WRITE) != 0) {
        write_stream(talk);
    } else {
        read_stream(talk);
    }
}

static void begin(struct talk *talk, bool tcp)
{
    const struct sockaddr_storage *to = talk->exchange->to;
    socklen_t len =
        to->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int type = (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
    talk->tcp = tcp;
    talk->sent = talk->got = 0;
    talk->fd = socket(to->ss_family, type, 0);
    if (talk->fd < 0) {
        fail(talk, "cannot be asked", errno);
        return;
    }
    if (connect(talk->fd, (const struct sockaddr *)to, len) != 0 && errno != EINPROGRESS) {
        fail(talk, "cannot be reached", errno);
        return;
    }
    talk->watch =
        loop_fd_new(talk->round->loop, talk->fd, tcp ? LOOP_WRITE : LOOP_READ, ready, talk);
    if (!tcp) {
        talk->exchange->sent = true;
        send_datagram(talk);
    }
}

static void half_time(void *arg)
{
    struct round *round = arg;
    for (size_t i = 0; i < round->count; i++) {
        struct talk *talk = &round->talks[i];
        if (talk->fd >= 0 && !talk->tcp) {
            send_datagram(talk);
        }
    }
}

static void time_is_up(void *arg)
{
    struct round *round = arg;
    for (size_t i = 0; i < round->count; i++) {
        if (round->talks[i].fd >= 0) {
            fail(&round->talks[i], "does not answer", ETIMEDOUT);
        }
    }
}

static void run(struct round *round, struct exchange *list, int32_t timeout_ms)
{
    struct loop_timer *half = loop_timer_new(round->loop, half_time, round);
    struct loop_timer *full = loop_timer_new(round->loop, time_is_up, round);
    loop_timer_set(half, timeout_ms / 2);
    loop_timer_set(full, timeout_ms);
    round->open = round->count + 1; /* one for us: nobody is the last while others are to begin */
    for (size_t i = 0; i < round->count; i++) {
        uint8_t *buffer = malloc(LENGTH_BYTES + ANSWER_MAX);
        if (buffer == NULL) {
            abort();
        }
        list[i].answered = list[i].sent = false;
        err_clear(&list[i].why);
        round->talks[i] =
            (struct talk){.exchange = &list[i], .round = round, .fd = -1, .buffer = buffer};
        begin(&round->talks[i], list[i].tcp);
    }
    if (--round->open > 0) {
        loop_run(round->loop);
    }
    loop_timer_free(half);
    loop_timer_free(full);
    for (size_t i = 0; i < round->count; i++) {
        free(round->talks[i].buffer);
    }
}

void exchange_all(struct exchange *list, size_t count, int32_t timeout_ms)
{
    struct round round = {.count = count};
    if (count == 0) {
        return;
    }
    round.talks = calloc(count, sizeof(*round.talks));
    round.loop = loop_new(clock_system());
    if (round.talks == NULL || round.loop == NULL) {
        abort();
    }
    run(&round, list, timeout_ms);
    loop_free(round.loop);
    free(round.talks);
}
