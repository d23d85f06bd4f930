/* kafka/group_ask and what asks through it (what is committed, leaving), against two scripted brokers: coordinators that
 * move, load, hang up, lie, and are gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "kafka/error.h"
#include "kafka/group_ask.h"
#include "kafka/membership_inside.h"
#include "tests/fake/answers.h"
#include "tests/fake/broker.h"

#define PATIENCE_MS              8000
#define GROUP                    "ferry-orders-a-b"
#define GROUP_AUTHORIZATION_FAIL 30

struct fixture;

struct side { /* one broker, and what it says for the first `turns` requests, then good things */
    struct fixture *f;
    struct fake_broker *broker;
    int16_t find_error;
    int16_t fetch_error;
    enum fake_action fetch_action;
    bool garbage;
    int32_t turns; /* of these; < 0 = for ever */
};

struct fixture {
    struct loop *loop;
    struct side sides[2];
    struct metadata_broker list[2];
    struct metadata metadata;
    char servers[256];
    struct config_property properties[4];
    struct config_client client;
    struct cluster *cluster;
    int32_t coordinator; /* whom both name */
    struct offset_fetch_part parts[8];
    int32_t parts_count;
    bool stable; /* what was asked for */
    int32_t asked_count;
    struct committeds committeds;
    /* what came back */
    bool done;
    int32_t dones_count;
    struct err err;
    struct membership_commit found[8];
    char metadata_texts[8][64];
};

static bool bad_turn(struct side *side)
{
    if (side->turns == 0) {
        return false;
    }
    side->turns -= side->turns > 0;
    return true;
}

static enum fake_action on_find(void *arg, const struct fake_request *request,
                                struct writer *answer)
{
    struct side *side = arg;
    struct find_coordinator_answer found = {
        .id = side->f->coordinator, .host = fake_text("127.0.0.1"), .port = 1};
    if (side->find_error != KAFKA_NONE && bad_turn(side)) {
        found = (struct find_coordinator_answer){
            .error = side->find_error, .id = -1, .host = fake_text(""), .port = -1};
    }
    fake_put_find_coordinator(answer, request->version, GROUP, &found);
    return FAKE_ANSWER;
}

static enum fake_action on_fetch(void *arg, const struct fake_request *request,
                                 struct writer *answer)
{
    struct side *side = arg;
    struct fixture *f = side->f;
    struct fake_offset_fetch wants[8];
    struct offset_fetch_group group = {
        .group = fake_text(GROUP), .parts = f->parts, .parts_count = f->parts_count};
    struct offset_fetch_answer whole = {.groups = &group, .groups_count = 1};

    f->asked_count = fake_get_offset_fetch(request->body, request->version, &f->stable, wants, 8);
    if (side->find_error == KAFKA_NONE && bad_turn(side)) {
        if (side->garbage) {
            writer_i32(answer, -1);
            return FAKE_ANSWER;
        }
        if (side->fetch_action != FAKE_ANSWER) {
            return side->fetch_action;
        }
        group.error = side->fetch_error;
        group.parts_count = 0;
    }
    fake_put_offset_fetch(answer, request->version, &whole);
    return FAKE_ANSWER;
}

static enum fake_action on_leave(void *arg, const struct fake_request *request,
                                 struct writer *answer)
{
    struct side *side = arg;
    (void)request;
    fake_put_leave_group(answer, bad_turn(side) ? side->fetch_error : KAFKA_NONE);
    return FAKE_ANSWER;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    log_set_level(LOG_ERROR);
    f->loop = loop_new(clock_system());
    for (int i = 0; i < 2; i++) {
        f->sides[i] = (struct side){.f = f, .broker = fake_broker_new(f->loop)};
        fake_broker_on(f->sides[i].broker, API_FIND_COORDINATOR, on_find, &f->sides[i]);
        fake_broker_on(f->sides[i].broker, API_OFFSET_FETCH, on_fetch, &f->sides[i]);
        fake_broker_on(f->sides[i].broker, API_LEAVE_GROUP, on_leave, &f->sides[i]);
        f->list[i] = (struct metadata_broker){.id = i + 1,
                                              .host = fake_text("127.0.0.1"),
                                              .port = fake_broker_port(f->sides[i].broker)};
    }
    f->metadata = (struct metadata){.cluster_id = fake_text("cluster-1"),
                                    .controller = 1,
                                    .brokers = f->list,
                                    .brokers_count = 2};
    for (int i = 0; i < 2; i++) {
        fake_broker_metadata(f->sides[i].broker, &f->metadata);
    }
    snprintf(f->servers, sizeof(f->servers), "127.0.0.1:%d,127.0.0.1:%d", f->list[0].port,
             f->list[1].port);
    f->properties[0] = (struct config_property){"bootstrap.servers", f->servers};
    f->properties[1] = (struct config_property){"reconnect.backoff.ms", "20"};
    f->properties[2] = (struct config_property){"reconnect.backoff.max.ms", "60"};
    f->properties[3] = (struct config_property){"socket.connection.setup.timeout.ms", "300"};
    f->client.properties = f->properties;
    f->client.properties_count = 4;
    struct cluster_options options = {.name = "site-b",
                                      .client = &f->client,
                                      .refresh_ms = 2000,
                                      .tcp_user_timeout_ms = 3000,
                                      .max_answer_bytes = 1 << 20};
    f->cluster = cluster_new(f->loop, &options);
    f->coordinator = 1;
    f->parts[0] = (struct offset_fetch_part){.topic = fake_text("t"),
                                             .partition = 0,
                                             .offset = 42,
                                             .leader_epoch = -1,
                                             .metadata = fake_text("checkpoint")};
    f->parts_count = 1;
    LIST_INIT(&f->committeds);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct err err;

    err_set(&err, ERR_RETRY, "the test ends");
    committed_end_all(&f->committeds, &err);
    cluster_free(f->cluster);
    for (int i = 0; i < 2; i++) {
        fake_broker_free(f->sides[i].broker);
    }
    loop_free(f->loop);
    free(f);
    return 0;
}

static void on_found(void *arg, const struct membership_commit *found, size_t count,
                     const struct err *err)
{
    struct fixture *f = arg;
    f->done = true;
    f->dones_count++;
    f->err = err ? *err : (struct err){0};
    for (size_t i = 0; i < count && i < 8; i++) {
        f->found[i] = found[i];
        snprintf(f->metadata_texts[i], sizeof(f->metadata_texts[i]), "%s",
                 found[i].metadata ? found[i].metadata : "-");
    }
}

static void ask_for(struct fixture *f, const struct membership_commit *wants, size_t count)
{
    struct membership_commit *copy = calloc(count, sizeof(*copy));
    memcpy(copy, wants, count * sizeof(*copy));
    f->done = false;
    committed_ask(&f->committeds, f->loop, f->cluster, GROUP, copy, count, on_found, f);
    assert_false(f->done); /* never inside */
}

static void ask(struct fixture *f)
{
    ask_for(f, &(struct membership_commit){.topic = "t", .partition = 0}, 1);
}

static void wait_done(struct fixture *f)
{
    assert_true(fake_run_until(f->loop, &f->done, PATIENCE_MS));
    assert_int_equal(f->dones_count, 1);
    assert_true(LIST_EMPTY(&f->committeds));
}

static void assert_found(struct fixture *f)
{
    wait_done(f);
    assert_string_equal(f->err.what, "");
    assert_int_equal(f->err.kind, ERR_NONE);
    assert_int_equal(f->found[0].error, KAFKA_NONE);
    assert_int_equal(f->found[0].offset, 42);
    assert_string_equal(f->metadata_texts[0], "checkpoint");
}

static int32_t fetches(struct fixture *f, int side)
{
    return fake_broker_requests(f->sides[side].broker, API_OFFSET_FETCH);
}

/* --- the coordinator refuses, moves, goes ---------------------------------------------------------------------- */

static void a_refusal_ends_it_at_once(void **state)
{
    struct fixture *f = *state;
    f->sides[0].fetch_error = GROUP_AUTHORIZATION_FAIL;
    f->sides[0].turns = -1;
    ask(f);
    wait_done(f);
    assert_int_equal(f->err.kind, ERR_REFUSED);
    assert_int_equal(f->err.code, GROUP_AUTHORIZATION_FAIL);
    assert_non_null(strstr(f->err.what, "User:ANONYMOUS lacks Read on group"));
    assert_non_null(strstr(f->err.what, GROUP));
    assert_int_equal(f->found[0].error, GROUP_AUTHORIZATION_FAIL);
    assert_int_equal(fetches(f, 0), 1);
}

static void errors_that_pass_are_waited_out(void **state)
{
    static const int16_t errors[] = {KAFKA_COORDINATOR_LOAD_IN_PROGRESS,
                                     KAFKA_COORDINATOR_NOT_AVAILABLE, KAFKA_NOT_COORDINATOR};
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        f->sides[0].fetch_error = errors[i];
        f->sides[0].turns = 3;
        f->dones_count = 0;
        ask(f);
        assert_found(f);
        assert_int_equal(fetches(f, 0), 4 * (i + 1));
    }
}

static void a_coordinator_that_is_not_there_yet_is_asked_for_again(void **state)
{
    struct fixture *f = *state;
    f->sides[0].find_error = f->sides[1].find_error = KAFKA_COORDINATOR_NOT_AVAILABLE;
    f->sides[0].turns = f->sides[1].turns = 3;
    ask(f);
    assert_found(f);
}

static void a_coordinator_that_moved_is_followed(void **state)
{
    struct fixture *f = *state;
    f->sides[0].fetch_error = KAFKA_NOT_COORDINATOR;
    f->sides[0].turns = -1;
    ask(f);
    while (fetches(f, 0) < 2) {
        loop_run_once(f->loop, 10);
    }
    assert_false(f->done);
    f->coordinator = 2;
    assert_found(f);
    assert_int_equal(fetches(f, 1), 1);
}

/* What aborted the process: the request is in the coordinator's hands when the connection breaks. */
static void a_connection_that_breaks_is_made_again(void **state)
{
    struct fixture *f = *state;
    f->sides[0].fetch_action = FAKE_CLOSE;
    f->sides[0].turns = 3;
    ask(f);
    assert_found(f);
    assert_int_equal(fetches(f, 0), 4);
}

static void an_answer_that_is_nonsense_costs_the_connection(void **state)
{
    struct fixture *f = *state;
    f->sides[0].garbage = true;
    f->sides[0].turns = 1;
    ask(f);
    while (fetches(f, 0) < 1) {
        loop_run_once(f->loop, 10);
    }
    int32_t accepted = fake_broker_accepted(f->sides[0].broker);
    assert_found(f);
    assert_int_equal(fake_broker_accepted(f->sides[0].broker), accepted + 1);
}

/* The others go on naming a dead coordinator for a while, then name its successor. */
static void a_dead_coordinator_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    fake_broker_listen(f->sides[0].broker, false);
    fake_broker_drop(f->sides[0].broker);
    ask(f);
    fake_run_for(f->loop, 300);
    assert_false(f->done);
    f->coordinator = 2;
    int64_t began_ms = loop_now_ms(f->loop);
    assert_found(f);
    assert_true(loop_now_ms(f->loop) - began_ms < 2000);
    assert_int_equal(fetches(f, 1), 1);
}

static void a_cluster_that_comes_back_in_time_is_enough(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        fake_broker_listen(f->sides[i].broker, false);
    }
    ask(f);
    fake_run_for(f->loop, 2000);
    assert_false(f->done);
    for (int i = 0; i < 2; i++) {
        fake_broker_listen(f->sides[i].broker, true);
    }
    assert_found(f);
}

static void five_seconds_are_the_end(void **state)
{
    struct fixture *f = *state;
    f->sides[0].fetch_error = KAFKA_COORDINATOR_LOAD_IN_PROGRESS;
    f->sides[0].turns = -1;
    int64_t began_ms = loop_now_ms(f->loop);
    ask(f);
    wait_done(f);
    int64_t took_ms = loop_now_ms(f->loop) - began_ms;
    assert_true(took_ms >= 4900 && took_ms < 6000);
    assert_int_equal(f->err.kind, ERR_RETRY);
    assert_non_null(strstr(f->err.what, "time is up"));
    assert_non_null(strstr(f->err.what, "COORDINATOR_LOAD_IN_PROGRESS"));
    assert_int_not_equal(f->found[0].error, KAFKA_NONE);
    assert_int_equal(f->found[0].offset, -1);
    assert_true(fetches(f, 0) > 10 && fetches(f, 0) < 60); /* patient, and not a storm */
}

static void a_broker_that_speaks_no_such_api_is_said(void **state)
{
    struct fixture *f = *state;
    fake_broker_offer(f->sides[0].broker, API_OFFSET_FETCH, 0, 4);
    ask(f);
    wait_done(f);
    assert_int_equal(f->err.kind, ERR_REFUSED);
    assert_non_null(strstr(f->err.what, "OffsetFetch"));
}

static void a_broker_of_2_8_is_understood(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        fake_broker_offer(f->sides[i].broker, API_OFFSET_FETCH, 0, 7);
        fake_broker_offer(f->sides[i].broker, API_FIND_COORDINATOR, 0, 3);
    }
    ask(f);
    assert_found(f);
}

/* --- ends ------------------------------------------------------------------------------------------------------ */

static bool is_answered(void *arg, struct reader *reader, int16_t version, int16_t *out_error,
                        struct err *err)
{
    struct offset_fetch_answer answer;
    (void)arg;
    if (!proto_get_offset_fetch(reader, version, &answer, err)) {
        return false;
    }
    *out_error = KAFKA_NONE;
    offset_fetch_answer_done(&answer);
    return true;
}

static void put_one(void *arg, struct writer *writer, int16_t version)
{
    static const struct topic_partition part = {"t", 0};
    static const struct offset_fetch_want want = {GROUP, &part, 1};
    (void)arg;
    proto_put_offset_fetch(writer, version, false, &want, 1);
}

static void on_end(void *arg, const struct err *err)
{
    on_found(arg, NULL, 0, err);
}

static struct group_ask *ask_bare(struct fixture *f, int32_t timeout_ms)
{
    const struct group_ask_what what = {.group = GROUP,
                                        .api = API_OFFSET_FETCH,
                                        .timeout_ms = timeout_ms,
                                        .put = put_one,
                                        .get = is_answered,
                                        .done = on_end,
                                        .arg = f};
    return group_ask_new(f->loop, f->cluster, &what);
}

/* Other requests are on that connection, too: our impatience is not theirs. */
static void giving_up_leaves_the_connection_alone(void **state)
{
    struct fixture *f = *state;
    ask(f);
    assert_found(f); /* connected */
    fake_broker_faults(f->sides[0].broker)->delay_ms = 400;
    int32_t accepted = fake_broker_accepted(f->sides[0].broker);
    f->done = false;
    f->dones_count = 0;
    struct group_ask *bare = ask_bare(f, 50);
    assert_true(fake_run_until(f->loop, &f->done, 300));
    assert_int_equal(f->err.kind, ERR_RETRY);
    group_ask_free(bare);
    fake_run_for(f->loop, 600); /* the answer comes, to nobody */
    assert_int_equal(f->dones_count, 1);
    f->dones_count = 0;
    ask(f);
    assert_found(f);
    assert_int_equal(fake_broker_accepted(f->sides[0].broker), accepted);
}

static void nobody_is_told_after_the_end(void **state)
{
    struct fixture *f = *state;
    fake_broker_faults(f->sides[0].broker)->delay_ms = 50;
    struct group_ask *bare = ask_bare(f, 5000);
    while (fetches(f, 0) == 0) {
        loop_run_once(f->loop, 10);
    }
    group_ask_free(bare); /* with a request in flight */
    fake_run_for(f->loop, 200);
    assert_int_equal(f->dones_count, 0);
}

static void open_questions_are_answered_at_the_end(void **state)
{
    struct fixture *f = *state;
    struct err err;
    f->sides[0].fetch_action = FAKE_SILENT;
    f->sides[0].turns = -1;
    ask(f);
    while (fetches(f, 0) == 0) {
        loop_run_once(f->loop, 10);
    }
    err_set(&err, ERR_RETRY, "the membership ends");
    committed_end_all(&f->committeds, &err);
    assert_int_equal(f->dones_count, 1);
    assert_int_equal(f->err.kind, ERR_RETRY);
    assert_int_not_equal(f->found[0].error, KAFKA_NONE);
}

/* --- what is committed ----------------------------------------------------------------------------------------- */

static void each_partition_gets_its_own(void **state)
{
    struct fixture *f = *state;
    static const struct membership_commit wants[] = {
        {.topic = "tt", .partition = 1},
        {.topic = "t",  .partition = 7},
        {.topic = "tt", .partition = 0},
        {.topic = "s",  .partition = 0},
        {.topic = "t",  .partition = 0},
    };
    f->parts[0] =
        (struct offset_fetch_part){fake_text("t"), 0, KAFKA_NONE, 10, -1, fake_text("t0")};
    f->parts[1] = (struct offset_fetch_part){fake_text("t"), 7, KAFKA_NONE, -1, -1, fake_text("")};
    f->parts[2] = (struct offset_fetch_part){
        fake_text("tt"), 0, KAFKA_TOPIC_AUTHORIZATION_FAILED, 5, -1, fake_text("x")};
    f->parts[3] =
        (struct offset_fetch_part){fake_text("tt"), 1, KAFKA_NONE, 21, -1, fake_text("tt1")};
    f->parts[4] =
        (struct offset_fetch_part){/* was not asked for */
                                   fake_text("ttt"), 1, KAFKA_NONE, 99, -1, fake_text("no")};
    f->parts_count = 5;
    ask_for(f, wants, 5);
    wait_done(f);
    assert_int_equal(f->err.kind, ERR_NONE);
    assert_int_equal(f->asked_count, 5);
    assert_false(f->stable); /* what a stranger's open transaction holds back does not hold us */
    assert_int_equal(f->found[0].offset, 21);
    assert_string_equal(f->metadata_texts[0], "tt1");
    assert_int_equal(f->found[1].offset, -1);
    assert_int_equal(f->found[1].error, KAFKA_NONE);
    assert_string_equal(f->metadata_texts[1], "-");
    assert_int_equal(f->found[2].error, KAFKA_TOPIC_AUTHORIZATION_FAILED);
    assert_int_equal(f->found[2].offset, -1);
    assert_string_equal(f->metadata_texts[2], "-");
    assert_int_not_equal(f->found[3].error, KAFKA_NONE); /* unanswered is not "nothing there" */
    assert_int_equal(f->found[4].offset, 10);
    assert_string_equal(f->metadata_texts[4], "t0");
}

/* --- leaving --------------------------------------------------------------------------------------------------- */

static void leaving_waits_out_what_passes(void **state)
{
    struct fixture *f = *state;
    f->sides[0].fetch_error = KAFKA_NOT_COORDINATOR;
    f->sides[0].turns = 2;
    struct leave *leave = leave_new(f->loop, f->cluster, GROUP, "w1", "", 2000, on_end, f);
    wait_done(f);
    assert_int_equal(f->err.kind, ERR_NONE);
    assert_int_equal(fake_broker_requests(f->sides[0].broker, API_LEAVE_GROUP), 3);
    leave_free(leave);
}

static void who_is_gone_already_has_left(void **state)
{
    struct fixture *f = *state;
    f->sides[0].fetch_error = 25; /* UNKNOWN_MEMBER_ID */
    f->sides[0].turns = -1;
    struct leave *leave = leave_new(f->loop, f->cluster, GROUP, "w1", "", 2000, on_end, f);
    wait_done(f);
    assert_int_equal(f->err.kind, ERR_NONE);
    leave_free(leave);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_refusal_ends_it_at_once),
        TEST(errors_that_pass_are_waited_out),
        TEST(a_coordinator_that_is_not_there_yet_is_asked_for_again),
        TEST(a_coordinator_that_moved_is_followed),
        TEST(a_connection_that_breaks_is_made_again),
        TEST(an_answer_that_is_nonsense_costs_the_connection),
        TEST(a_dead_coordinator_is_not_waited_for),
        TEST(a_cluster_that_comes_back_in_time_is_enough),
        TEST(five_seconds_are_the_end),
        TEST(a_broker_that_speaks_no_such_api_is_said),
        TEST(a_broker_of_2_8_is_understood),
        TEST(giving_up_leaves_the_connection_alone),
        TEST(nobody_is_told_after_the_end),
        TEST(open_questions_are_answered_at_the_end),
        TEST(each_partition_gets_its_own),
        TEST(leaving_waits_out_what_passes),
        TEST(who_is_gone_already_has_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
