#include "tests/fake/broker.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/fake/answers.h"

#define CONNECTIONS_MAX 64
#define APIS_MAX        128

struct answer { /* a frame that waits to be written */
    struct answer *next;
    int64_t due_ms;
    size_t sent;
    struct writer frame;
};

struct connection {
    struct fake_broker *broker;
    int fd;
    int32_t number;
    struct loop_fd *watch;
    struct loop_timer *timer;
    struct writer received;
    struct answer *first;
    int32_t answers_count;
    int64_t written;
};

struct fake_broker {
    struct loop *loop;
    int fd;
    int32_t port;
    struct loop_fd *watch;
    struct connection *connections[CONNECTIONS_MAX];
    int32_t accepted_count;
    struct fake_faults faults;
    struct {
        fake_handler_fn *handler;
        void *arg;
        int16_t min;
        int16_t max;
        int32_t requests_count;
    } apis[APIS_MAX];
    struct metadata metadata;
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void connection_close(struct connection *connection)
{
    struct fake_broker *broker = connection->broker;

    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        if (broker->connections[i] == connection) {
            broker->connections[i] = NULL;
        }
    }
    while (connection->first != NULL) {
        struct answer *answer = connection->first;
        connection->first = answer->next;
        writer_done(&answer->frame);
        free(answer);
    }
    loop_fd_free(connection->watch);
    loop_timer_free(connection->timer);
    writer_done(&connection->received);
    close(connection->fd);
    free(connection);
}

/* --- writing --------------------------------------------------------------------------------------------------- */

/* How much of the first answer may go now. */
static size_t allowance(const struct connection *connection)
{
    const struct fake_faults *faults = &connection->broker->faults;
    const struct answer *answer = connection->first;
    size_t len = answer->frame.len - answer->sent;

    if (faults->chunk_bytes > 0 && len > (size_t)faults->chunk_bytes) {
        len = (size_t)faults->chunk_bytes;
    }
    if (faults->cut_after_bytes > 0 &&
        connection->written + (int64_t)len > faults->cut_after_bytes) {
        len = (size_t)(faults->cut_after_bytes - connection->written);
    }
    return len;
}

static void pop_answer(struct connection *connection)
{
    struct answer *answer = connection->first;

    connection->first = answer->next;
    connection->answers_count--;
    writer_done(&answer->frame);
    free(answer);
}

/* @return false when the connection is closed */
static bool write_some(struct connection *connection)
{
    struct fake_faults *faults = &connection->broker->faults;

    while (connection->first != NULL) {
        struct answer *answer = connection->first;
        size_t len = allowance(connection);
        ssize_t sent =
            len == 0 ? 0
                     : send(connection->fd, answer->frame.data + answer->sent, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            loop_fd_interest(connection->watch, LOOP_READ | LOOP_WRITE);
            return true;
        }
        if (sent < 0 || (faults->cut_after_bytes > 0 &&
                         connection->written + sent >= faults->cut_after_bytes)) {
            connection_close(connection);
            return false;
        }
        connection->written += sent;
        answer->sent += (size_t)sent;
        if (answer->sent == answer->frame.len) {
            pop_answer(connection);
        }
        if (faults->chunk_bytes > 0) { /* the next crumb with the next turn */
            loop_timer_set(connection->timer, 0);
            return true;
        }
        if (connection->first != NULL && connection->first->due_ms > now_ms()) {
            loop_timer_set(connection->timer, connection->first->due_ms - now_ms());
            return true;
        }
    }
    loop_fd_interest(connection->watch, faults->deaf ? 0 : LOOP_READ);
    return true;
}

/* All that waits as one answer, so that it goes with one write. */
static void glue(struct connection *connection)
{
    while (connection->first->next != NULL) {
        struct answer *second = connection->first->next;
        writer_bytes(&connection->first->frame, second->frame.data, second->frame.len);
        connection->first->next = second->next;
        connection->answers_count--;
        writer_done(&second->frame);
        free(second);
    }
}

static bool write_due(struct connection *connection)
{
    struct fake_faults *faults = &connection->broker->faults;

    if (connection->first == NULL) {
        return true;
    }
    if (faults->coalesce_count > 1) {
        if (connection->answers_count < faults->coalesce_count) {
            return true;
        }
        glue(connection);
    }
    if (connection->first->due_ms > now_ms()) {
        loop_timer_set(connection->timer, connection->first->due_ms - now_ms());
        return true;
    }
    return write_some(connection);
}

static void timer_fired(void *arg)
{
    write_due(arg);
}

/* --- answering ------------------------------------------------------------------------------------------------- */

static void offer_versions(const struct fake_broker *broker, struct writer *answer)
{
    int32_t count = 0;

    for (int16_t key = 0; key < APIS_MAX; key++) {
        count += broker->apis[key].min <= broker->apis[key].max;
    }
    writer_i16(answer, 0);
    wire_put_compact_array(answer, count);
    for (int16_t key = 0; key < APIS_MAX; key++) {
        if (broker->apis[key].min <= broker->apis[key].max) {
            writer_i16(answer, key);
            writer_i16(answer, broker->apis[key].min);
            writer_i16(answer, broker->apis[key].max);
            wire_put_no_tags(answer);
        }
    }
    writer_i32(answer, 0);
    wire_put_no_tags(answer);
}

static enum fake_action handle(struct fake_broker *broker, const struct fake_request *request,
                               struct writer *answer)
{
    assert(request->api >= 0 && request->api < APIS_MAX);
    broker->apis[request->api].requests_count++;
    if (broker->faults.silent) {
        return FAKE_SILENT;
    }
    if (broker->apis[request->api].handler != NULL) {
        return broker->apis[request->api].handler(broker->apis[request->api].arg, request, answer);
    }
    if (request->api == API_VERSIONS) {
        offer_versions(broker, answer);
        return FAKE_ANSWER;
    }
    if (request->api == API_METADATA) {
        fake_put_metadata(answer, request->version, &broker->metadata);
        return FAKE_ANSWER;
    }
    return FAKE_CLOSE;
}

static void push_answer(struct connection *connection, const struct fake_request *request,
                        const struct writer *body)
{
    struct fake_faults *faults = &connection->broker->faults;
    struct answer *answer = calloc(1, sizeof(*answer));
    struct answer **at = &connection->first;

    assert(answer != NULL);
    writer_init(&answer->frame);
    writer_i32(&answer->frame, 0);
    writer_i32(&answer->frame, request->correlation + faults->correlation_lie);
    if (api_answer_tagged((enum api_key)request->api, request->version)) {
        wire_put_no_tags(&answer->frame);
    }
    if (body->len > 0) {
        writer_bytes(&answer->frame, body->data, body->len);
    }
    writer_patch_i32(&answer->frame, 0, (int32_t)answer->frame.len - 4 + faults->length_lie);
    answer->due_ms = now_ms() + faults->delay_ms;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = answer;
    connection->answers_count++;
}

/* @return false when the connection is closed */
static bool answer_one(struct connection *connection, const uint8_t *data, size_t len)
{
    struct fake_request request = {.connection = connection->number,
                                   .body = reader_over(data, len)};
    struct writer body;

    request.api = reader_i16(&request.body);
    request.version = reader_i16(&request.body);
    request.correlation = reader_i32(&request.body);
    request.client_id = wire_string(&request.body);
    if (api_flexible((enum api_key)request.api, request.version)) {
        wire_skip_tags(&request.body);
    }
    assert(!request.body.bad);
    writer_init(&body);
    enum fake_action action = handle(connection->broker, &request, &body);
    if (action == FAKE_ANSWER) {
        push_answer(connection, &request, &body);
    }
    writer_done(&body);
    if (action == FAKE_CLOSE) {
        connection_close(connection);
        return false;
    }
    return true;
}

static bool answer_all(struct connection *connection)
{
    struct reader reader = reader_over(connection->received.data, connection->received.len);

    while (reader_left(&reader) >= 4) {
        struct reader ahead = reader;
        int32_t len = reader_i32(&ahead);
        if (len < 0 || reader_left(&ahead) < (size_t)len) {
            break;
        }
        if (!answer_one(connection, ahead.pos, (size_t)len)) {
            return false;
        }
        reader_bytes(&ahead, (size_t)len);
        reader = ahead;
    }
    size_t left = reader_left(&reader);
    if (left > 0) {
        memmove(connection->received.data, reader.pos, left);
    }
    connection->received.len = left;
    return write_due(connection);
}

static void connection_ready(void *arg, int what)
{
    struct connection *connection = arg;
    uint8_t bytes[65536];

    if (what & LOOP_WRITE) {
        if (!write_some(connection)) {
            return;
        }
    }
    if (!(what & LOOP_READ) || connection->broker->faults.deaf) {
        loop_fd_interest(connection->watch, connection->broker->faults.deaf ? 0 : LOOP_READ);
        return;
    }
    ssize_t got = recv(connection->fd, bytes, sizeof(bytes), 0);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        connection_close(connection);
        return;
    }
    writer_bytes(&connection->received, bytes, (size_t)got);
    answer_all(connection);
}

/* --- life ------------------------------------------------------------------------------------------------------ */

static void acceptable(void *arg, int what)
{
    struct fake_broker *broker = arg;
    int fd = accept4(broker->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)what;
    for (int i = 0; fd >= 0 && i < CONNECTIONS_MAX; i++) {
        if (broker->connections[i] == NULL) {
            struct connection *connection = calloc(1, sizeof(*connection));
            assert(connection != NULL);
            connection->broker = broker;
            connection->fd = fd;
            connection->number = broker->accepted_count++;
            writer_init(&connection->received);
            connection->watch =
                loop_fd_new(broker->loop, fd, LOOP_READ, connection_ready, connection);
            connection->timer = loop_timer_new(broker->loop, timer_fired, connection);
            broker->connections[i] = connection;
            return;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}

void fake_broker_listen(struct fake_broker *broker, bool on)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)broker->port)};
    socklen_t len = sizeof(address);
    int yes = 1;

    loop_fd_free(broker->watch);
    broker->watch = NULL;
    if (broker->fd >= 0) {
        close(broker->fd);
    }
    broker->fd = -1;
    if (!on) {
        return;
    }
    broker->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(broker->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(broker->fd, (struct sockaddr *)&address, len) != 0 || listen(broker->fd, 64) != 0 ||
        getsockname(broker->fd, (struct sockaddr *)&address, &len) != 0) {
        abort();
    }
    broker->port = ntohs(address.sin_port);
    broker->watch = loop_fd_new(broker->loop, broker->fd, LOOP_READ, acceptable, broker);
}

struct fake_broker *fake_broker_new(struct loop *loop)
{
    struct fake_broker *broker = calloc(1, sizeof(*broker));

    assert(broker != NULL);
    broker->loop = loop;
    broker->fd = -1;
    for (int16_t key = 0; key < APIS_MAX; key++) {
        int16_t min;
        broker->apis[key].min = 1;
        broker->apis[key].max = 0;
        if (api_range((enum api_key)key, &min, &broker->apis[key].max)) {
            broker->apis[key].min = 0;
        }
    }
    fake_broker_listen(broker, true);
    return broker;
}

void fake_broker_drop(struct fake_broker *broker)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        if (broker->connections[i] != NULL) {
            connection_close(broker->connections[i]);
        }
    }
}

void fake_broker_free(struct fake_broker *broker)
{
    if (broker == NULL) {
        return;
    }
    fake_broker_drop(broker);
    fake_broker_listen(broker, false);
    free(broker);
}

void fake_broker_hear(struct fake_broker *broker)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        if (broker->connections[i] != NULL) {
            loop_fd_interest(broker->connections[i]->watch, LOOP_READ);
        }
    }
}

int32_t fake_broker_port(const struct fake_broker *broker)
{
    return broker->port;
}

struct fake_faults *fake_broker_faults(struct fake_broker *broker)
{
    return &broker->faults;
}

void fake_broker_on(struct fake_broker *broker, enum api_key api, fake_handler_fn *handler,
                    void *arg)
{
    broker->apis[api].handler = handler;
    broker->apis[api].arg = arg;
}

void fake_broker_metadata(struct fake_broker *broker, const struct metadata *metadata)
{
    broker->metadata = *metadata;
}

void fake_broker_offer(struct fake_broker *broker, enum api_key api, int16_t min, int16_t max)
{
    broker->apis[api].min = min;
    broker->apis[api].max = max;
}

int32_t fake_broker_requests(const struct fake_broker *broker, enum api_key api)
{
    return broker->apis[api].requests_count;
}

int32_t fake_broker_accepted(const struct fake_broker *broker)
{
    return broker->accepted_count;
}

int32_t fake_broker_connections(const struct fake_broker *broker)
{
    int32_t count = 0;

    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        count += broker->connections[i] != NULL;
    }
    return count;
}

void fake_broker_send(struct fake_broker *broker, const void *data, size_t len)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        if (broker->connections[i] != NULL &&
            send(broker->connections[i]->fd, data, len, MSG_NOSIGNAL) < 0) {
            abort();
        }
    }
}

bool fake_run_until(struct loop *loop, const bool *flag, int32_t limit_ms)
{
    int64_t end_ms = now_ms() + limit_ms;

    while (!*flag && now_ms() < end_ms) {
        loop_run_once(loop, 10);
    }
    return *flag;
}

void fake_run_for(struct loop *loop, int32_t ms)
{
    int64_t end_ms = now_ms() + ms;

    while (now_ms() < end_ms) {
        loop_run_once(loop, 5);
    }
}
