/* kafka/conn against a scripted broker: order, pieces, cuts, lies, time limits, and being freed inside callbacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/aside.h"
#include "config/config.h"
#include "kafka/conn.h"
#include "kafka/error.h"
#include "tests/fake/answers.h"
#include "tests/fake/broker.h"

#define ANSWER_BYTES_MAX ((size_t)8 << 20)
#define PATIENCE_MS      20000 /* what comes at once, on a loaded machine with sanitizers */

struct fixture {
    struct loop *loop;
    struct buf_pool *pool;
    struct fake_broker *broker;
    struct conn *conn;
    bool ready;
    bool closed;
    struct err why;
    struct buf *block; /* what a test sends from */
    struct buf *kept;  /* an answer that it keeps */
};

/* A test that ended early has left its stack, where its questions stood: nothing is told of them any more. */
static bool over;

static void on_ready(void *arg, struct conn *conn)
{
    struct fixture *f = arg;

    assert_ptr_equal(conn, f->conn);
    assert_true(conn_is_ready(conn));
    f->ready = true;
}

static void on_closed(void *arg, struct conn *conn, const struct err *why)
{
    struct fixture *f = arg;

    assert_false(f->closed);
    f->closed = true;
    f->why = *why;
    conn_free(conn);
    f->conn = NULL;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->loop = loop_new(clock_system());
    f->pool = buf_pool_new(1 << 20);
    f->broker = fake_broker_new(f->loop);
    over = false;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    over = true;
    conn_free(f->conn);
    fake_broker_free(f->broker);
    loop_free(f->loop);
    buf_unref(f->block);
    buf_unref(f->kept);
    assert_int_equal(buf_pool_used_bytes(f->pool), 0); /* every block is back */
    buf_pool_free(f->pool);
    free(f);
    return 0;
}

static struct conn_options options_of(const struct fixture *f)
{
    return (struct conn_options){
        .host = "127.0.0.1",
        .port = fake_broker_port(f->broker),
        .client_id = "test",
        .connect_timeout_ms = PATIENCE_MS,
        .tcp_user_timeout_ms = 3000,
        .max_answer_bytes = ANSWER_BYTES_MAX,
        .pool = f->pool,
    };
}

static void connect_with(struct fixture *f, const struct conn_options *options)
{
    struct conn_callbacks callbacks = {on_ready, on_closed, f};
    f->conn = conn_new(f->loop, options, &callbacks);
}

static void connect_ready(struct fixture *f)
{
    struct conn_options options = options_of(f);

    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
}

/* --- a request whose answer is looked at ----------------------------------------------------------------------- */

struct asked {
    bool done;
    bool ok;
    int64_t value;
    size_t len;
    int32_t calls;
    int32_t order;
    int32_t *orders; /* counts answers */
    struct err err;
    struct conn **free_this;
    struct buf **keep; /* where the answer's block goes; NULL = nowhere */
};

static void answered(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct asked *asked = arg;

    if (over) {
        return;
    }
    asked->done = true;
    asked->calls++;
    asked->ok = reader != NULL;
    if (asked->orders != NULL) {
        asked->order = (*asked->orders)++;
    }
    if (reader != NULL) {
        assert_null(err);
        asked->len = reader_left(reader);
        asked->value = reader_i64(reader);
        if (asked->keep != NULL) {
            *asked->keep = buf_ref(block);
        }
    } else {
        assert_non_null(err);
        asked->err = *err;
    }
    if (asked->free_this != NULL) {
        conn_free(*asked->free_this);
        *asked->free_this = NULL;
    }
}

/* The request carries a number, which the handler below gives back, followed by as many bytes. */
static void ask(struct fixture *f, struct asked *asked, int64_t number, int32_t timeout_ms)
{
    struct writer writer;

    assert_non_null(f->conn); /* it broke before, for being late */
    writer_init(&writer);
    writer_i64(&writer, number);
    conn_send(f->conn, API_FETCH, 16, &writer, NULL, 0, timeout_ms, answered, asked);
    assert_int_equal(writer.len, 0);
    writer_done(&writer);
}

static enum fake_action echo(void *arg, const struct fake_request *request, struct writer *answer)
{
    struct reader body = request->body;
    int64_t number = reader_i64(&body);

    (void)arg;
    writer_i64(answer, number);
    for (int64_t i = 0; i < number; i++) {
        writer_i8(answer, (int8_t)i);
    }
    return FAKE_ANSWER;
}

/* --- connecting ------------------------------------------------------------------------------------------------ */

static void it_connects_and_knows_versions(void **state)
{
    struct fixture *f = *state;

    connect_ready(f);
    assert_int_equal(conn_versions(f->conn)->version[API_FETCH], 16);
    assert_int_equal(conn_versions(f->conn)->version[API_LEAVE_GROUP], 5);
    assert_int_equal(conn_in_flight_count(f->conn), 0);
    assert_int_equal(conn_unsent_bytes(f->conn), 0);
    assert_non_null(strstr(conn_name(f->conn), "127.0.0.1:"));
}

static void names_are_looked_up(void **state)
{
    struct fixture *f = *state;
    struct conn_options options = options_of(f);

    options.host = "localhost"; /* also ::1, where nobody listens: every address is tried */
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
}

static void a_name_that_is_none_closes(void **state)
{
    struct fixture *f = *state;
    struct conn_options options = options_of(f);

    options.host = "no.such.name.invalid";
    options.connect_timeout_ms = 3000;
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_int_equal(f->why.kind, ERR_RETRY);
    assert_non_null(strstr(f->why.what, "no.such.name.invalid"));
}

static void a_port_that_nobody_listens_on_closes(void **state)
{
    struct fixture *f = *state;
    struct conn_options options = options_of(f);

    fake_broker_listen(f->broker, false);
    connect_with(f, &options);
    assert_false(f->closed); /* never inside conn_new() */
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_int_equal(f->why.kind, ERR_RETRY);
    assert_int_equal(f->why.code, ECONNREFUSED);
}

static void a_broker_that_never_answers_closes(void **state)
{
    struct fixture *f = *state;
    struct conn_options options = options_of(f);

    options.connect_timeout_ms = 100;
    fake_broker_faults(f->broker)->silent = true;
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_non_null(strstr(f->why.what, "ApiVersions unanswered"));
}

struct elder {    /* ApiVersions as a broker before Kafka 2.4 answers it */
    bool knows_3; /* asked in version 3 it tells what it has of ApiVersions, as 2.4 and later do */
    int32_t asked_0;
    bool refuses_all;
};

static enum fake_action versions_of_old(void *arg, const struct fake_request *request,
                                        struct writer *answer)
{
    static const int16_t ranges[][3] = {
        {API_PRODUCE,           0, 7 },
        {API_FETCH,             0, 11},
        {API_METADATA,          0, 8 },
        {API_LEAVE_GROUP,       0, 2 },
        {API_SASL_HANDSHAKE,    0, 1 },
        {API_SASL_AUTHENTICATE, 0, 1 }
    };
    struct elder *elder = arg;
    bool too_new = request->version > 2 || elder->refuses_all;

    elder->asked_0 += request->version == 0;
    writer_i16(answer, too_new ? KAFKA_UNSUPPORTED_VERSION : KAFKA_NONE);
    if (too_new) {
        writer_i32(answer, elder->knows_3 ? 1 : 0);
    } else {
        writer_i32(answer, 6);
    }
    for (int i = 0; i < 6 && !too_new; i++) {
        writer_i16(answer, ranges[i][0]);
        writer_i16(answer, ranges[i][1]);
        writer_i16(answer, ranges[i][2]);
    }
    if (too_new && elder->knows_3) {
        writer_i16(answer, API_VERSIONS);
        writer_i16(answer, 0);
        writer_i16(answer, 2);
    }
    return FAKE_ANSWER;
}

static void an_old_broker_is_asked_as_it_understands(void **state)
{
    struct fixture *f = *state;

    for (int knows_3 = 0; knows_3 < 2; knows_3++) {
        struct elder elder = {.knows_3 = knows_3 == 1};
        fake_broker_on(f->broker, API_VERSIONS, versions_of_old, &elder);
        f->ready = false;
        connect_ready(f);
        assert_int_equal(elder.asked_0, 1);
        assert_int_equal(fake_broker_accepted(f->broker), 1 + knows_3); /* the same connection */
        assert_int_equal(conn_versions(f->conn)->version[API_PRODUCE], 7);
        assert_int_equal(conn_versions(f->conn)->version[API_LEAVE_GROUP], 2);
        assert_int_equal(conn_versions(f->conn)->version[API_DESCRIBE_PRODUCERS], -1);
        if (knows_3 == 0) {
            conn_free(f->conn);
            f->conn = NULL;
        }
    }
}

/* One that refuses version 0, too, is none: no loop of asking. */
static void a_broker_that_knows_no_versions_closes(void **state)
{
    struct fixture *f = *state;
    struct conn_options options = options_of(f);
    struct elder elder = {.refuses_all = true};

    fake_broker_on(f->broker, API_VERSIONS, versions_of_old, &elder);
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_int_equal(f->why.code, KAFKA_UNSUPPORTED_VERSION);
    assert_int_equal(elder.asked_0, 1);
}

static void a_broker_too_old_is_refused_with_a_hint(void **state)
{
    struct fixture *f = *state;
    struct conn_options options = options_of(f);

    fake_broker_offer(f->broker, API_FETCH, 0, 9);
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_int_equal(f->why.kind, ERR_REFUSED);
    assert_string_not_equal(f->why.hint, "");
}

static void freed_before_it_began(void **state)
{
    struct fixture *f = *state;
    struct conn_options options = options_of(f);

    connect_with(f, &options);
    conn_free(f->conn);
    f->conn = NULL;
    fake_run_for(f->loop, 20);
    assert_false(f->closed);
    assert_int_equal(fake_broker_accepted(f->broker), 0);
}

static void freed_while_a_name_is_looked_up(void **state)
{
    struct fixture *f = *state;
    struct conn_options options = options_of(f);

    options.host = "slow.name.invalid";
    connect_with(f, &options);
    loop_run_once(f->loop, 0);
    conn_free(f->conn);
    f->conn = NULL;
    fake_run_for(f->loop, 50);
    assert_false(f->closed);
}

/* --- requests -------------------------------------------------------------------------------------------------- */

static void answers_come_in_order(void **state)
{
    struct fixture *f = *state;
    struct asked asked[50] = {0};
    int32_t order = 0;

    connect_ready(f);
    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    for (int i = 0; i < 50; i++) {
        asked[i].orders = &order;
        ask(f, &asked[i], i * 7, PATIENCE_MS);
    }
    assert_int_equal(conn_in_flight_count(f->conn), 50);
    assert_true(fake_run_until(f->loop, &asked[49].done, PATIENCE_MS));
    for (int i = 0; i < 50; i++) {
        assert_int_equal(asked[i].calls, 1);
        assert_int_equal(asked[i].order, i);
        assert_int_equal(asked[i].value, i * 7);
        assert_int_equal(asked[i].len, 8 + i * 7);
    }
    assert_int_equal(conn_in_flight_count(f->conn), 0);
}

/* S56: frames around the size of the scratch, cut and glued in every way. */
static void every_size_in_every_crumbling(void **state)
{
    static const int32_t chunks[] = {0, 1, 3, 4, 5, 1000, 16384, 65536};
    static const int64_t numbers[] = {0,     1,     100,   16364, 16365, 16366, 16367,
                                      16368, 16371, 16372, 16376, 20000, 100000};
    struct fixture *f = *state;

    connect_ready(f);
    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    for (size_t c = 0; c < sizeof(chunks) / sizeof(chunks[0]); c++) {
        struct asked asked[13] = {0};
        fake_broker_faults(f->broker)->chunk_bytes = chunks[c];
        for (int i = 0; i < 13; i++) {
            ask(f, &asked[i], chunks[c] > 0 && chunks[c] < 1000 ? numbers[i] % 300 : numbers[i],
                20000);
        }
        assert_true(fake_run_until(f->loop, &asked[12].done, 20000));
        for (int i = 0; i < 13; i++) {
            assert_true(asked[i].ok);
            assert_int_equal(asked[i].len, 8 + asked[i].value);
        }
    }
}

/* One byte a recv(), whatever is there. */
static ssize_t recv_one_byte(void *arg, int fd, void *data, size_t len)
{
    (void)arg;
    return recv(fd, data, len > 0 ? 1 : 0, 0);
}

/* Seven bytes a sendmsg(), whatever is offered. */
static ssize_t send_seven_bytes(void *arg, int fd, const struct msghdr *message)
{
    struct iovec first = message->msg_iov[0];
    struct msghdr less = {.msg_iov = &first, .msg_iovlen = 1};

    (void)arg;
    first.iov_len = first.iov_len < 7 ? first.iov_len : 7;
    return sendmsg(fd, &less, MSG_NOSIGNAL);
}

/* S56: the same by single bytes. */
static void one_byte_at_a_time(void **state)
{
    static const struct conn_io io = {.recv = recv_one_byte, .sendmsg = send_seven_bytes};
    struct fixture *f = *state;
    struct conn_options options = options_of(f);
    struct asked asked[4] = {0};

    options.io = &io;
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    for (int i = 0; i < 4; i++) {
        ask(f, &asked[i], i * 6000, 10000);
    }
    assert_true(fake_run_until(f->loop, &asked[3].done, 20000));
    assert_int_equal(asked[3].len, 18008);
}

static void glued_answers(void **state)
{
    struct fixture *f = *state;
    struct asked asked[10] = {0};

    connect_ready(f);
    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    fake_broker_faults(f->broker)->coalesce_count = 10;
    for (int i = 0; i < 10; i++) {
        ask(f, &asked[i], i == 5 ? 50000 : i, PATIENCE_MS);
    }
    assert_true(fake_run_until(f->loop, &asked[9].done, PATIENCE_MS));
    for (int i = 0; i < 10; i++) {
        assert_true(asked[i].ok);
    }
}

static void an_answer_may_be_kept(void **state)
{
    struct fixture *f = *state;
    struct asked asked = {.keep = &f->kept};

    connect_ready(f);
    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    ask(f, &asked, 100000, PATIENCE_MS);
    assert_true(fake_run_until(f->loop, &asked.done, PATIENCE_MS));
    conn_free(f->conn);
    f->conn = NULL;
    assert_int_equal(f->kept->len, 4 + 1 + 8 + 100000);
    assert_int_equal(f->kept->data[f->kept->len - 1], (uint8_t)99999);
}

/* --- pieces ---------------------------------------------------------------------------------------------------- */

struct collected {
    uint8_t *data;
    size_t len;
    bool done;
};

static enum fake_action collect(void *arg, const struct fake_request *request,
                                struct writer *answer)
{
    struct collected *collected = arg;

    free(collected->data);
    collected->len = reader_left(&request->body);
    collected->data = malloc(collected->len);
    memcpy(collected->data, request->body.pos, collected->len);
    collected->done = true;
    writer_i64(answer, 1);
    return FAKE_ANSWER;
}

/* More pieces than one sendmsg() takes, larger than the socket's buffer, some empty, some at the same cut. */
static void pieces_go_out_where_they_belong(void **state)
{
    struct fixture *f = *state;
    enum { PIECES = 300 };
    struct conn_piece pieces[PIECES];
    struct buf *block = f->block = buf_new(f->pool, 1 << 20);
    struct collected collected = {0};
    struct writer writer;
    struct writer expected;
    struct asked asked = {0};
    size_t at = 0;

    for (size_t i = 0; i < 1 << 20; i++) {
        block->data[i] = (uint8_t)(i * 31);
    }
    writer_init(&writer);
    writer_init(&expected);
    for (int i = 0; i < 1000; i++) {
        writer_i8(&writer, (int8_t)i);
    }
    for (int i = 0; i < PIECES; i++) {
        size_t cut = (size_t)(i / 2) * 6;
        size_t len = i % 7 == 0 ? 0 : (size_t)(i * 997 % 90000);
        pieces[i] =
            (struct conn_piece){.cut = cut, .block = block, .data = block->data + i, .len = len};
        writer_bytes(&expected, writer.data + at, cut - at);
        writer_bytes(&expected, pieces[i].data, len);
        at = cut;
    }
    writer_bytes(&expected, writer.data + at, writer.len - at);
    connect_ready(f);
    fake_broker_on(f->broker, API_PRODUCE, collect, &collected);
    conn_send(f->conn, API_PRODUCE, 13, &writer, pieces, PIECES, 3 * PATIENCE_MS, answered, &asked);
    assert_true(conn_unsent_bytes(f->conn) > 0);
    assert_true(block->refs_count > 1);
    assert_true(fake_run_until(f->loop, &asked.done, 3 * PATIENCE_MS));
    assert_int_equal(collected.len, expected.len);
    assert_memory_equal(collected.data, expected.data, expected.len);
    assert_int_equal(block->refs_count, 1); /* let go when sent */
    assert_int_equal(conn_unsent_bytes(f->conn), 0);
    free(collected.data);
    writer_done(&expected);
    writer_done(&writer);
}

static void pieces_are_let_go_when_it_breaks(void **state)
{
    struct fixture *f = *state;
    struct buf *block = f->block = buf_new(f->pool, 8 << 20);
    struct conn_piece piece = {.cut = 2, .block = block, .data = block->data, .len = 8 << 20};
    struct asked asked[2] = {0};
    struct writer writer;

    memset(block->data, 1, 8 << 20);
    connect_ready(f);
    fake_broker_faults(f->broker)->deaf = true;
    for (int i = 0; i < 2; i++) {
        writer_init(&writer);
        writer_i64(&writer, 0);
        conn_send(f->conn, API_PRODUCE, 13, &writer, &piece, 1, 10000, answered, &asked[i]);
        writer_done(&writer);
    }
    assert_int_equal(block->refs_count, 3);
    fake_run_for(f->loop, 30);
    fake_broker_drop(f->broker);
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_false(asked[0].ok);
    assert_false(asked[1].ok);
    assert_int_equal(asked[1].calls, 1);
    assert_int_equal(block->refs_count, 1);
}

/* --- hostile brokers ------------------------------------------------------------------------------------------- */

static void expect_break(struct fixture *f, const char *what)
{
    struct asked asked[3] = {0};

    for (int i = 0; i < 3; i++) {
        ask(f, &asked[i], 10, PATIENCE_MS);
    }
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(asked[i].calls, 1);
    }
    assert_false(asked[2].ok);
    assert_int_equal(asked[2].err.kind, ERR_RETRY);
    if (strstr(f->why.what, what) == NULL) {
        print_error("'%s' does not say '%s'\n", f->why.what, what);
        fail();
    }
}

static void a_wrong_correlation_id_breaks(void **state)
{
    struct fixture *f = *state;

    connect_ready(f);
    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    fake_broker_faults(f->broker)->correlation_lie = 1;
    expect_break(f, "nothing that was asked");
}

static void a_negative_correlation_id_breaks(void **state)
{
    struct fixture *f = *state;

    connect_ready(f);
    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    fake_broker_faults(f->broker)->correlation_lie = INT32_MIN;
    expect_break(f, "nothing that was asked");
}

static void an_answer_that_nobody_asked_for_breaks(void **state)
{
    static const uint8_t frame[] = {0, 0, 0, 5, 0, 0, 0, 1, 0};
    struct fixture *f = *state;

    connect_ready(f);
    fake_broker_send(f->broker, frame, sizeof(frame));
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_non_null(strstr(f->why.what, "nothing that was asked"));
}

static void lengths_out_of_bounds_break_before_anything_is_reserved(void **state)
{
    static const uint8_t frames[][4] = {
        {0xff, 0xff, 0xff, 0xff},
        {0x80, 0,    0,    0   },
        {0,    0,    0,    0   },
        {0,    0,    0,    3   },
        {0x7f, 0xff, 0xff, 0xff},
        {0,    0x80, 0,    1   }
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        struct asked asked = {0};
        f->ready = f->closed = false;
        connect_ready(f);
        fake_broker_faults(f->broker)->silent = true;
        ask(f, &asked, 1, PATIENCE_MS);
        fake_broker_send(f->broker, frames[i], 4);
        assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
        assert_non_null(strstr(f->why.what, "are taken"));
        assert_int_equal(asked.calls, 1);
        assert_int_equal(buf_pool_used_bytes(f->pool), 0);
        fake_broker_faults(f->broker)->silent = false;
    }
}

/* A batch that is larger than we take comes again each time: that is to be told, and mended by hand. */
static void a_fetch_answer_that_is_too_long_is_refused_with_a_hint(void **state)
{
    static const uint8_t frame[] = {0, 0x80, 0, 1, 0, 0, 0, 1};
    struct fixture *f = *state;
    struct asked asked = {0};

    connect_ready(f);
    assert_false(conn_served(f->conn));
    fake_broker_faults(f->broker)->silent = true;
    ask(f, &asked, 1, PATIENCE_MS);
    fake_broker_send(f->broker, frame, sizeof(frame));
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_int_equal(f->why.kind, ERR_REFUSED);
    assert_non_null(strstr(f->why.what, "8388609 bytes"));
    assert_non_null(strstr(f->why.hint, "mirror.fetch"));
}

static void a_length_that_lies_breaks(void **state)
{
    struct fixture *f = *state;

    connect_ready(f);
    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    fake_broker_faults(f->broker)->length_lie = -2;
    expect_break(f,
                 ""); /* the next frame begins in the middle of this one: one of several reasons */
}

static void a_broken_answer_header_breaks(void **state)
{
    static const uint8_t frame[] = {0, 0, 0, 6,    0,
                                    0, 0, 1, 0xff, 0xff}; /* id 1, tags that do not end */
    struct fixture *f = *state;
    struct asked asked = {0};

    connect_ready(f);
    fake_broker_faults(f->broker)->silent = true;
    ask(f, &asked, 1, PATIENCE_MS);
    fake_broker_send(f->broker, frame, sizeof(frame));
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_non_null(strstr(f->why.what, "answer header"));
    assert_false(asked.ok);
}

/* An answer to a request that has not left this process cannot be one. */
static void an_answer_before_the_request_is_gone_breaks(void **state)
{
    static const uint8_t frame[] = {0, 0, 0, 5, 0, 0, 0, 1, 0};
    struct fixture *f = *state;
    struct buf *block = f->block = buf_new(f->pool, 8 << 20);
    struct conn_piece piece = {.cut = 0, .block = block, .data = block->data, .len = 8 << 20};
    struct asked asked = {0};
    struct writer writer;

    memset(block->data, 0, 8 << 20);
    connect_ready(f);
    fake_broker_faults(f->broker)->deaf = true;
    writer_init(&writer);
    writer_i64(&writer, 0);
    conn_send(f->conn, API_PRODUCE, 13, &writer, &piece, 1, 5000, answered, &asked);
    writer_done(&writer);
    fake_broker_send(f->broker, frame, sizeof(frame));
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_non_null(strstr(f->why.what, "nothing that was asked"));
    assert_false(asked.ok);
}

/* The answer to ApiVersions cut at every byte, then an answer cut at every byte: closed, told once, nothing leaks. */
static void cut_at_every_byte(void **state)
{
    struct fixture *f = *state;
    int64_t handshake_bytes = 4 + 4 + 2 + 1 + API_KEYS_COUNT * 7 + 4 + 1;

    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    for (int64_t bytes = 1; bytes <= handshake_bytes + 30; bytes++) {
        struct conn_options options = options_of(f);
        struct asked asked = {0};
        f->ready = f->closed = false;
        fake_broker_faults(f->broker)->cut_after_bytes = bytes;
        connect_with(f, &options);
        while (!f->ready && !f->closed) {
            loop_run_once(f->loop, 10);
        }
        assert_int_equal(f->ready, bytes >= handshake_bytes);
        if (f->ready && !f->closed) {
            ask(f, &asked, 100, PATIENCE_MS);
        }
        assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
        assert_false(asked.ok);
        assert_true(asked.calls <= 1);
        assert_int_equal(f->why.kind, ERR_RETRY);
    }
}

/* --- time limits ----------------------------------------------------------------------------------------------- */

static void an_unanswered_request_breaks(void **state)
{
    struct fixture *f = *state;
    struct asked first = {0};
    struct asked behind = {0};
    int64_t begin_ms;

    connect_ready(f);
    fake_broker_faults(f->broker)->silent = true;
    begin_ms = loop_now_ms(f->loop);
    ask(f, &first, 1, 80);
    ask(f, &behind, 1, 60000);
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_in_range(loop_now_ms(f->loop) - begin_ms, 79, 1000);
    assert_non_null(strstr(f->why.what, "Fetch unanswered for 80 ms"));
    assert_false(first.ok);
    assert_false(behind.ok);
}

/* A broker serves one request of a connection at a time: who waits behind others is not unanswered. */
static void a_requests_time_begins_when_it_is_first(void **state)
{
    struct fixture *f = *state;
    struct asked asked[6] = {0};

    connect_ready(f);
    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    for (int i = 0; i < 6; i++) {
        fake_broker_faults(f->broker)->delay_ms = 60 * (i + 1);
        ask(f, &asked[i], i, 110);
        fake_run_for(f->loop, 5);
    }
    assert_true(fake_run_until(f->loop, &asked[5].done, PATIENCE_MS));
    assert_true(asked[5].ok);
    assert_false(f->closed);
    fake_broker_faults(f->broker)->silent = true;
    int64_t begin_ms = loop_now_ms(f->loop);
    ask(f, &asked[0], 1, 110);
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_in_range(loop_now_ms(f->loop) - begin_ms, 109, 1000);
}

static void answered_requests_have_no_time_limit(void **state)
{
    struct fixture *f = *state;

    connect_ready(f);
    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    for (int i = 0; i < 5; i++) {
        struct asked asked = {0};
        ask(f, &asked, 1, 60);
        assert_true(fake_run_until(f->loop, &asked.done, PATIENCE_MS));
        fake_run_for(f->loop, 30);
    }
    fake_run_for(f->loop, 150);
    assert_false(f->closed);
    assert_true(conn_is_ready(f->conn));
}

static void a_late_answer_in_time_is_fine(void **state)
{
    struct fixture *f = *state;
    struct asked asked = {0};

    connect_ready(f);
    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    fake_broker_faults(f->broker)->delay_ms = 100;
    ask(f, &asked, 5, PATIENCE_MS);
    assert_true(fake_run_until(f->loop, &asked.done, PATIENCE_MS));
    assert_true(asked.ok);
}

/* --- being freed inside callbacks ------------------------------------------------------------------------------ */

static void freed_in_an_answer(void **state)
{
    struct fixture *f = *state;
    struct asked asked[5] = {0};

    connect_ready(f);
    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    fake_broker_faults(f->broker)->coalesce_count = 5;
    asked[1].free_this = &f->conn;
    for (int i = 0; i < 5; i++) {
        ask(f, &asked[i], 1, PATIENCE_MS);
    }
    assert_true(fake_run_until(f->loop, &asked[4].done, PATIENCE_MS));
    assert_true(asked[1].ok);
    for (int i = 2; i < 5; i++) {
        assert_int_equal(asked[i].calls, 1);
        assert_false(asked[i].ok);
    }
    assert_false(f->closed); /* the owner freed it: nothing to tell */
    fake_run_for(f->loop, 20);
}

static void freed_in_a_failed_answer(void **state)
{
    struct fixture *f = *state;
    struct asked asked[3] = {0};

    connect_ready(f);
    fake_broker_faults(f->broker)->silent = true;
    asked[0].free_this = &f->conn;
    for (int i = 0; i < 3; i++) {
        ask(f, &asked[i], 1, PATIENCE_MS);
    }
    fake_run_for(f->loop, 10);
    fake_broker_drop(f->broker);
    assert_true(fake_run_until(f->loop, &asked[2].done, PATIENCE_MS));
    assert_int_equal(asked[0].calls, 1);
    assert_int_equal(asked[2].calls, 1);
    assert_false(f->closed);
}

static void freed_with_requests_in_flight(void **state)
{
    struct fixture *f = *state;
    struct asked asked[3] = {0};

    connect_ready(f);
    fake_broker_faults(f->broker)->silent = true;
    for (int i = 0; i < 3; i++) {
        ask(f, &asked[i], 1, PATIENCE_MS);
    }
    conn_free(f->conn);
    f->conn = NULL;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(asked[i].calls, 1);
        assert_false(asked[i].ok);
        assert_int_equal(asked[i].err.kind, ERR_RETRY);
    }
    assert_false(f->closed);
}

static ssize_t send_fails(void *arg, int fd, const struct msghdr *message)
{
    int *sends_left = arg;

    if ((*sends_left)-- > 0) {
        return sendmsg(fd, message, MSG_NOSIGNAL);
    }
    errno = EPIPE;
    return -1;
}

/* An error while sending is told in the next turn; requests made meanwhile are answered with the others. */
static void a_send_that_fails_does_not_call_back(void **state)
{
    struct fixture *f = *state;
    struct conn_options options = options_of(f);
    int sends_left = 1;
    struct conn_io io = {.recv = recv_one_byte, .sendmsg = send_fails, .arg = &sends_left};
    struct asked asked[2] = {0};

    options.io = &io;
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
    ask(f, &asked[0], 1, PATIENCE_MS);
    assert_false(asked[0].done);
    assert_false(f->closed);
    assert_false(conn_is_ready(f->conn));
    ask(f, &asked[1], 1, PATIENCE_MS);
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_int_equal(asked[0].calls, 1);
    assert_int_equal(asked[1].calls, 1);
    assert_int_equal(f->why.code, EPIPE);
}

static ssize_t interrupted_recv(void *arg, int fd, void *data, size_t len)
{
    static int calls;

    (void)arg;
    if (calls++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return recv(fd, data, len, 0);
}

static ssize_t interrupted_send(void *arg, int fd, const struct msghdr *message)
{
    static int calls;

    (void)arg;
    if (calls++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return sendmsg(fd, message, MSG_NOSIGNAL);
}

static ssize_t recv_noting_fd(void *arg, int fd, void *data, size_t len)
{
    *(int *)arg = fd;
    return recv(fd, data, len, 0);
}

static ssize_t send_plainly(void *arg, int fd, const struct msghdr *message)
{
    (void)arg;
    return sendmsg(fd, message, MSG_NOSIGNAL);
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);

    assert_int_equal(getsockopt(fd, level, option, &value, &len), 0);
    return value;
}

static void a_socket_is_as_the_site_says(void **state)
{
    struct fixture *f = *state;
    struct conn_options options = options_of(f);
    int fd = -1;
    struct conn_io io = {.recv = recv_noting_fd, .sendmsg = send_plainly, .arg = &fd};

    options.io = &io;
    options.send_buffer_bytes = 20000;
    options.receive_buffer_bytes = 30000;
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_SNDBUF), 40000); /* Linux tells the double */
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_RCVBUF), 60000);
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
}

static void signals_in_between_are_nothing(void **state)
{
    static const struct conn_io io = {.recv = interrupted_recv, .sendmsg = interrupted_send};
    struct fixture *f = *state;
    struct conn_options options = options_of(f);
    struct asked asked = {0};

    options.io = &io;
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    ask(f, &asked, 70000, PATIENCE_MS);
    assert_true(fake_run_until(f->loop, &asked.done, PATIENCE_MS));
    assert_true(asked.ok);
}

/* --- bytes that no socket tells of ----------------------------------------------------------------------------- */

struct hoard { /* takes what the socket has and gives it out in its own time, as TLS does */
    uint8_t data[65536];
    size_t at;
    size_t len;
};

static ssize_t recv_hoarded(void *arg, int fd, void *data, size_t len)
{
    struct hoard *hoard = arg;

    if (hoard->at == hoard->len) {
        ssize_t got = recv(fd, hoard->data, sizeof(hoard->data), 0);
        if (got <= 0) {
            return got;
        }
        hoard->at = 0;
        hoard->len = (size_t)got;
    }
    len = len < hoard->len - hoard->at ? len : hoard->len - hoard->at;
    memcpy(data, hoard->data + hoard->at, len);
    hoard->at += len;
    return (ssize_t)len;
}

static ssize_t send_all(void *arg, int fd, const struct msghdr *message)
{
    (void)arg;
    return sendmsg(fd, message, MSG_NOSIGNAL);
}

static bool hoards(const void *arg)
{
    const struct hoard *hoard = arg;
    return hoard->at < hoard->len;
}

static void what_io_holds_is_asked_for(void **state)
{
    struct fixture *f = *state;
    struct hoard *hoard = calloc(1, sizeof(*hoard));
    const struct conn_io io = {
        .recv = recv_hoarded, .sendmsg = send_all, .pending = hoards, .arg = hoard};
    struct conn_options options = options_of(f);
    struct asked asked[60] = {0};

    options.io = &io;
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
    fake_broker_on(f->broker, API_FETCH, echo, NULL);
    fake_broker_faults(f->broker)->coalesce_count = 60; /* one write, then silence */
    for (int i = 0; i < 60; i++) {
        ask(f, &asked[i], i % 3 == 0 ? 30000 : 500, PATIENCE_MS);
    }
    assert_true(fake_run_until(f->loop, &asked[59].done, PATIENCE_MS));
    for (int i = 0; i < 60; i++) {
        assert_true(asked[i].ok);
    }
    free(hoard);
}

/* --- sign-in --------------------------------------------------------------------------------------------------- */

struct gate { /* the broker's side */
    int64_t lifetime_ms;
    int16_t error;
    bool open;          /* between SaslHandshake and the end nothing else may come */
    int32_t close_from; /* this sign-in is hung up on; 0 = none */
    int32_t signed_in;
    int32_t silent_from; /* from this sign-in on its last step is not answered; 0 = none */
};

static enum fake_action agree(void *arg, const struct fake_request *request, struct writer *answer)
{
    struct gate *gate = arg;
    struct reader body = request->body;
    struct wire_string mechanism = wire_string(&body);

    assert_int_equal(request->version, 1);
    assert_int_equal(mechanism.len, 5);
    assert_int_equal(reader_left(&body), 0);
    assert_false(gate->open);
    gate->open = true;
    writer_i16(answer, 0);
    writer_i32(answer, 1);
    wire_put_string(answer, "PLAIN");
    return FAKE_ANSWER;
}

static enum fake_action let_in(void *arg, const struct fake_request *request, struct writer *answer)
{
    struct gate *gate = arg;
    struct reader body = request->body;
    bool rigid = request->version == 1; /* Kafka before 2.5 */
    struct wire_string bytes;

    body.rigid = answer->rigid = rigid;
    bytes = wire_blob(&body);
    assert_int_equal(reader_left(&body), rigid ? 0 : 1); /* no tags */
    assert_true(gate->open);
    assert_int_equal(bytes.len, 13);
    assert_memory_equal(bytes.data, "\0ferry\0pencil", 13);
    gate->open = false;
    gate->signed_in++;
    if (gate->close_from > 0 && gate->signed_in >= gate->close_from) {
        return FAKE_CLOSE;
    }
    if (gate->silent_from > 0 && gate->signed_in >= gate->silent_from) {
        return FAKE_SILENT;
    }
    writer_i16(answer, gate->error);
    wire_put_text(answer, gate->error != 0 ? "go away" : NULL);
    wire_put_blob_len(answer, 0);
    writer_i64(answer, gate->lifetime_ms);
    wire_put_no_tags(answer);
    return FAKE_ANSWER;
}

static enum fake_action echo_behind_gate(void *arg, const struct fake_request *request,
                                         struct writer *answer)
{
    const struct gate *gate = arg;

    assert_false(gate->open);
    return echo(NULL, request, answer);
}

static struct config_property sign_in_properties[] = {
    {"sasl.mechanism", "PLAIN" },
    {"sasl.username",  "ferry" },
    {"sasl.password",  "pencil"}
};
static const struct config_client sign_in_client = {.properties = sign_in_properties,
                                                    .properties_count = 3};

static void connect_signing_in(struct fixture *f, struct gate *gate)
{
    struct conn_options options = options_of(f);

    fake_broker_on(f->broker, API_SASL_HANDSHAKE, agree, gate);
    fake_broker_on(f->broker, API_SASL_AUTHENTICATE, let_in, gate);
    fake_broker_on(f->broker, API_FETCH, echo_behind_gate, gate);
    options.sign_in = &sign_in_client;
    connect_with(f, &options);
}

static void it_signs_in_before_it_is_ready(void **state)
{
    struct fixture *f = *state;
    struct gate gate = {0};
    struct asked asked = {0};

    connect_signing_in(f, &gate);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
    assert_int_equal(gate.signed_in, 1);
    ask(f, &asked, 100, PATIENCE_MS);
    assert_true(fake_run_until(f->loop, &asked.done, PATIENCE_MS));
    assert_true(asked.ok);
}

static void it_signs_in_at_an_old_broker(void **state)
{
    struct fixture *f = *state;
    struct gate gate = {.lifetime_ms = 60000};
    struct elder elder = {0};

    fake_broker_on(f->broker, API_VERSIONS, versions_of_old, &elder);
    connect_signing_in(f, &gate);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
    assert_int_equal(gate.signed_in, 1);
}

static void who_is_refused_is_never_ready(void **state)
{
    struct fixture *f = *state;
    struct gate gate = {.error = KAFKA_SASL_AUTHENTICATION_FAILED};

    connect_signing_in(f, &gate);
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_false(f->ready);
    assert_int_equal(f->why.kind, ERR_REFUSED);
    assert_non_null(strstr(f->why.what, "go away"));
    assert_non_null(strstr(f->why.what, "127.0.0.1:"));
}

/* Requests all the time; the broker asserts that none comes in between. */
static void it_signs_in_anew_and_nobody_notices(void **state)
{
    struct fixture *f = *state;
    struct gate gate = {.lifetime_ms = 1500};
    struct asked asked[400] = {0};
    int32_t order = 0;

    connect_signing_in(f, &gate);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
    fake_broker_faults(f->broker)->delay_ms = 15;
    for (int i = 0; i < 400; i++) {
        asked[i].orders = &order;
        ask(f, &asked[i], i, PATIENCE_MS);
        fake_run_for(f->loop, 7);
    }
    assert_true(fake_run_until(f->loop, &asked[399].done, PATIENCE_MS));
    for (int i = 0; i < 400; i++) {
        assert_true(asked[i].ok);
        assert_int_equal(asked[i].calls, 1);
        assert_int_equal(asked[i].order, i);
        assert_int_equal(asked[i].value, i);
    }
    assert_true(gate.signed_in >= 3);
    assert_int_equal(fake_broker_accepted(f->broker), 1);
    assert_int_equal(conn_in_flight_count(f->conn), 0);
    assert_int_equal(conn_unsent_bytes(f->conn), 0);
}

static void what_is_held_is_answered_when_it_breaks(void **state)
{
    struct fixture *f = *state;
    struct gate gate = {.lifetime_ms = 1500, .close_from = 2};
    struct asked asked[200] = {0};
    int32_t failed = 0;
    int made = 0;

    connect_signing_in(f, &gate);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
    fake_broker_faults(f->broker)->delay_ms = 30;
    for (; made < 200 && !f->closed; made++) {
        ask(f, &asked[made], made, PATIENCE_MS);
        fake_run_for(f->loop, 10);
    }
    assert_true(f->closed);
    for (int i = 0; i < made; i++) {
        assert_int_equal(asked[i].calls, 1);
        failed += asked[i].ok ? 0 : 1;
    }
    assert_true(failed > 0);
    assert_true(made > failed);
}

static struct config_secret pencil[] = {
    {.name = "sasl.password", .env = "TEST_CONN_PENCIL"}
};
static const struct config_client pencil_client = {
    .properties = sign_in_properties, .properties_count = 2, .secrets = pencil, .secrets_count = 1};

/* It serves until its end; why it ends is then known, and told apart from a broker that went. */
static void a_session_that_cannot_be_made_anew_says_so(void **state)
{
    struct fixture *f = *state;
    struct gate gate = {.lifetime_ms = 1200};
    struct asked asked = {0};
    struct conn_options options = options_of(f);

    setenv("TEST_CONN_PENCIL", "pencil", 1);
    fake_broker_on(f->broker, API_SASL_HANDSHAKE, agree, &gate);
    fake_broker_on(f->broker, API_SASL_AUTHENTICATE, let_in, &gate);
    fake_broker_on(f->broker, API_FETCH, echo_behind_gate, &gate);
    options.sign_in = &pencil_client;
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
    unsetenv("TEST_CONN_PENCIL");
    fake_run_for(f->loop, 1200);
    assert_false(f->closed);
    ask(f, &asked, 100, 1000);
    assert_true(fake_run_until(f->loop, &asked.done, PATIENCE_MS));
    assert_true(asked.ok);
    fake_broker_drop(f->broker);
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_int_equal(f->why.kind, ERR_RETRY);
    assert_int_equal(f->why.code, CONN_NOT_AGAIN);
    assert_non_null(strstr(f->why.what, "the session could not be made anew"));
    assert_non_null(strstr(f->why.what, "TEST_CONN_PENCIL"));
}

static void write_as(struct fixture *f, struct asked *asked, enum api_key api, int16_t version,
                     size_t len)
{
    struct writer writer;

    writer_init(&writer);
    for (size_t i = 0; i < len; i += 8) {
        writer_i64(&writer, 0);
    }
    conn_send(f->conn, api, version, &writer, NULL, 0, 5000, answered, asked);
    writer_done(&writer);
}

static struct config_property token_properties[] = {
    {"sasl.mechanism",                      "OAUTHBEARER"         },
    {"sasl.oauthbearer.token.endpoint.url", "https://127.0.0.1:1/"},
    {"sasl.oauthbearer.client.id",          "ferry"               },
};
static struct config_secret token_secrets[] = {
    {.name = "sasl.oauthbearer.client.secret", .env = "TEST_CONN_SECRET"}
};
static const struct config_client token_client = {.properties = token_properties,
                                                  .properties_count = 3,
                                                  .secrets = token_secrets,
                                                  .secrets_count = 1};

static void connect_by_token(struct fixture *f)
{
    struct conn_options options = options_of(f);

    options.sign_in = &token_client;
    options.connect_timeout_ms = 1000;
    connect_with(f, &options);
}

/* The broker hears of no sign-in that cannot be made. */
static void why_there_is_no_token_is_said(void **state)
{
    struct fixture *f = *state;

    unsetenv("TEST_CONN_SECRET");
    connect_by_token(f);
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_false(f->ready);
    assert_int_equal(f->why.kind, ERR_CONFIG);
    assert_non_null(strstr(f->why.what, "127.0.0.1:"));
    assert_non_null(strstr(f->why.what, "sign-in as 'ferry' by OAUTHBEARER: "));
    assert_non_null(strstr(f->why.what, "TEST_CONN_SECRET"));
}

/* Nobody listens there: the question is asked again for longer than the connection may take. */
static void nobody_waits_for_a_token_for_ever(void **state)
{
    struct fixture *f = *state;
    int64_t began_ms = loop_now_ms(f->loop);

    setenv("TEST_CONN_SECRET", "sesame", 1);
    sleep(1); /* the failure of the test before is not everybody's any more */
    connect_by_token(f);
    assert_true(fake_run_until(f->loop, &f->closed, PATIENCE_MS));
    assert_true(loop_now_ms(f->loop) - began_ms < 3500);
    assert_non_null(strstr(f->why.what, "gives no answer"));
    assert_true(aside_busy()); /* and touches nothing of ours when it comes back */
}

static void freed_while_a_token_is_asked_for(void **state)
{
    struct fixture *f = *state;

    setenv("TEST_CONN_SECRET", "sesame", 1);
    connect_by_token(f);
    fake_run_for(f->loop, 100);
    conn_free(f->conn);
    f->conn = NULL;
    for (int i = 0; i < 100 && aside_busy(); i++) {
        fake_run_for(f->loop, 100);
    }
    assert_false(aside_busy());
}

static void produce(struct fixture *f, struct asked *asked, size_t len)
{
    write_as(f, asked, API_PRODUCE, 13, len);
}

/* A batch that was held while we signed in anew may meet another worker's when its deadline is past. */
static void no_batch_leaves_behind_a_sign_in_past_its_deadline(void **state)
{
    struct fixture *f = *state;
    struct gate gate = {.lifetime_ms = 1500};
    struct asked asked = {0};
    int64_t until_ms = INT64_MAX;
    struct conn_options options = options_of(f);

    fake_broker_on(f->broker, API_SASL_HANDSHAKE, agree, &gate);
    fake_broker_on(f->broker, API_SASL_AUTHENTICATE, let_in, &gate);
    fake_broker_on(f->broker, API_PRODUCE, echo, NULL);
    options.sign_in = &sign_in_client;
    options.produce_until_ms = &until_ms;
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
    produce(f, &asked, 8);
    assert_true(fake_run_until(f->loop, &asked.done, PATIENCE_MS));
    assert_true(asked.ok);
    asked = (struct asked){0};
    fake_broker_faults(f->broker)->delay_ms = 200;
    while (!gate.open) {
        loop_run_once(f->loop, 10);
    }
    produce(f, &asked, 8);
    until_ms = loop_now_ms(f->loop) + 100;
    fake_run_until(f->loop, &f->closed, PATIENCE_MS);
    assert_int_equal(fake_broker_requests(f->broker, API_PRODUCE), 1);
    assert_true(f->closed && asked.done && !asked.ok);
    assert_non_null(strstr(f->why.what, "send deadline"));
}

/* As after SIGSTOP: the rest of what was queued does not go when the broker reads again. */
static void leaves_no_full_socket_past_its_deadline(struct fixture *f, enum api_key api,
                                                    int16_t version)
{
    struct asked asked[16] = {0};
    int64_t until_ms = INT64_MAX;
    struct conn_options options = options_of(f);

    options.produce_until_ms = &until_ms;
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
    fake_broker_on(f->broker, api, echo, NULL);
    fake_broker_faults(f->broker)->deaf = true;
    for (int i = 0; i < 16; i++) {
        write_as(f, &asked[i], api, version, 1 << 20);
    }
    assert_true(conn_unsent_bytes(f->conn) > 0);
    until_ms = 0;
    fake_run_for(f->loop, 50);
    assert_false(f->closed); /* what has left may still be answered */
    fake_broker_faults(f->broker)->deaf = false;
    fake_broker_hear(f->broker);
    fake_run_until(f->loop, &f->closed, PATIENCE_MS);
    assert_true(fake_broker_requests(f->broker, api) < 16);
    assert_true(f->closed);
    assert_non_null(strstr(f->why.what, "send deadline"));
}

static void no_batch_leaves_a_full_socket_past_its_deadline(void **state)
{
    leaves_no_full_socket_past_its_deadline(*state, API_PRODUCE, 13);
}

/* A keeper's: an operation has put something else in its place meanwhile. */
static void no_group_commit_leaves_a_full_socket_past_its_deadline(void **state)
{
    leaves_no_full_socket_past_its_deadline(*state, API_OFFSET_COMMIT, 8);
}

/* What reads only may come late. */
static void a_question_leaves_past_the_deadline(void **state)
{
    struct fixture *f = *state;
    struct asked asked = {0};
    int64_t until_ms = 0;
    struct conn_options options = options_of(f);

    options.produce_until_ms = &until_ms;
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
    fake_broker_on(f->broker, API_OFFSET_FETCH, echo, NULL);
    write_as(f, &asked, API_OFFSET_FETCH, 8, 8);
    assert_true(fake_run_until(f->loop, &asked.done, PATIENCE_MS));
    assert_true(asked.ok);
}

/* What waits behind it has little time: no step of a later sign-in may take as long as a connect. */
static void a_later_sign_in_waits_for_five_seconds_at_most(void **state)
{
    struct fixture *f = *state;
    struct gate gate = {.lifetime_ms = 1300, .silent_from = 2};
    struct conn_options options = options_of(f);
    int64_t began_ms;

    fake_broker_on(f->broker, API_SASL_HANDSHAKE, agree, &gate);
    fake_broker_on(f->broker, API_SASL_AUTHENTICATE, let_in, &gate);
    options.sign_in = &sign_in_client;
    options.connect_timeout_ms = 60000;
    connect_with(f, &options);
    assert_true(fake_run_until(f->loop, &f->ready, PATIENCE_MS));
    began_ms = loop_now_ms(f->loop);
    assert_true(fake_run_until(f->loop, &f->closed, 12000));
    assert_true(loop_now_ms(f->loop) - began_ms < 8000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_connects_and_knows_versions),
        TEST(an_old_broker_is_asked_as_it_understands),
        TEST(a_broker_that_knows_no_versions_closes),
        TEST(it_signs_in_at_an_old_broker),
        TEST(names_are_looked_up),
        TEST(a_name_that_is_none_closes),
        TEST(a_port_that_nobody_listens_on_closes),
        TEST(a_broker_that_never_answers_closes),
        TEST(a_broker_too_old_is_refused_with_a_hint),
        TEST(freed_before_it_began),
        TEST(freed_while_a_name_is_looked_up),
        TEST(answers_come_in_order),
        TEST(every_size_in_every_crumbling),
        TEST(one_byte_at_a_time),
        TEST(glued_answers),
        TEST(an_answer_may_be_kept),
        TEST(pieces_go_out_where_they_belong),
        TEST(pieces_are_let_go_when_it_breaks),
        TEST(a_wrong_correlation_id_breaks),
        TEST(a_negative_correlation_id_breaks),
        TEST(an_answer_that_nobody_asked_for_breaks),
        TEST(lengths_out_of_bounds_break_before_anything_is_reserved),
        TEST(a_fetch_answer_that_is_too_long_is_refused_with_a_hint),
        TEST(a_length_that_lies_breaks),
        TEST(a_broken_answer_header_breaks),
        TEST(an_answer_before_the_request_is_gone_breaks),
        TEST(cut_at_every_byte),
        TEST(an_unanswered_request_breaks),
        TEST(a_requests_time_begins_when_it_is_first),
        TEST(answered_requests_have_no_time_limit),
        TEST(a_late_answer_in_time_is_fine),
        TEST(what_io_holds_is_asked_for),
        TEST(it_signs_in_before_it_is_ready),
        TEST(who_is_refused_is_never_ready),
        TEST(it_signs_in_anew_and_nobody_notices),
        TEST(what_is_held_is_answered_when_it_breaks),
        TEST(a_session_that_cannot_be_made_anew_says_so),
        TEST(why_there_is_no_token_is_said),
        TEST(nobody_waits_for_a_token_for_ever),
        TEST(freed_while_a_token_is_asked_for),
        TEST(no_batch_leaves_behind_a_sign_in_past_its_deadline),
        TEST(no_batch_leaves_a_full_socket_past_its_deadline),
        TEST(no_group_commit_leaves_a_full_socket_past_its_deadline),
        TEST(a_question_leaves_past_the_deadline),
        TEST(a_later_sign_in_waits_for_five_seconds_at_most),
        TEST(freed_in_an_answer),
        TEST(freed_in_a_failed_answer),
        TEST(freed_with_requests_in_flight),
        TEST(a_send_that_fails_does_not_call_back),
        TEST(a_socket_is_as_the_site_says),
        TEST(signals_in_between_are_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
