/* kafka/broker_ask against a scripted broker: each ask is answered once, in time, whatever happens to its connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "kafka/broker_ask.h"
#include "tests/fake/broker.h"

#define PATIENCE_MS 8000

struct fixture {
    struct loop *loop;
    struct fake_broker *broker;
    struct metadata_broker list[1];
    struct metadata metadata;
    char servers[64];
    struct config_property properties[1];
    struct config_client client;
    struct cluster *cluster;
    struct broker_asks *asks;
    enum fake_action action;
    bool garbage;
    int32_t answers_count;
    int32_t wanted;
    bool all;
    struct err err;
    int32_t groups_count;
};

static enum fake_action serve(void *arg, const struct fake_request *request, struct writer *answer)
{
    struct fixture *f = arg;
    (void)request;
    writer_i32(answer, 0);
    writer_i16(answer, 0);
    wire_put_compact_array(answer, f->garbage ? 1000000 : 1);
    wire_put_compact_string(answer, "billing");
    wire_put_compact_string(answer, "consumer");
    wire_put_compact_string(answer, "Empty");
    wire_put_compact_string(answer, "classic");
    wire_put_no_tags(answer);
    wire_put_no_tags(answer);
    return f->action;
}

static void put(void *arg, struct writer *writer, int16_t version)
{
    (void)arg;
    proto_put_list_groups(writer, version);
}

static bool answered(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct fixture *f = arg;
    struct list_groups_answer answer;
    bool understood = true;
    f->all = ++f->answers_count >= f->wanted;
    f->err = (struct err){0};
    if (reader == NULL) {
        f->err = *err;
    } else if ((understood = proto_get_list_groups(reader, version, &answer, &f->err))) {
        f->groups_count += answer.groups_count;
        list_groups_answer_done(&answer);
    }
    return understood;
}

static void ask_in(struct fixture *f, int32_t broker, int32_t lane)
{
    const struct broker_ask what = {.broker = broker,
                                    .lane = lane,
                                    .api = API_LIST_GROUPS,
                                    .put = put,
                                    .answer = answered,
                                    .arg = f};
    int32_t before = f->answers_count;
    f->wanted++;
    f->all = false;
    broker_ask(f->asks, &what);
    assert_int_equal(f->answers_count, before); /* never from inside */
}

static void ask(struct fixture *f, int32_t broker)
{
    ask_in(f, broker, 0);
}

static int start(void **state)
{
    static const struct broker_asks_options options = {.wait_ms = 500, .request_ms = 500};
    struct fixture *f = calloc(1, sizeof(*f));
    log_set_level(LOG_ERROR);
    f->loop = loop_new(clock_system());
    f->broker = fake_broker_new(f->loop);
    f->list[0] = (struct metadata_broker){
        .id = 7, .host = {"127.0.0.1", 9},
             .port = fake_broker_port(f->broker)
    };
    f->metadata = (struct metadata){
        .cluster_id = {"c", 1},
          .controller = 7, .brokers = f->list, .brokers_count = 1
    };
    fake_broker_metadata(f->broker, &f->metadata);
    fake_broker_on(f->broker, API_LIST_GROUPS, serve, f);
    snprintf(f->servers, sizeof(f->servers), "127.0.0.1:%d", fake_broker_port(f->broker));
    f->properties[0] = (struct config_property){"bootstrap.servers", f->servers};
    f->client = (struct config_client){.properties = f->properties, .properties_count = 1};
    const struct cluster_options cluster = {.name = "a",
                                            .client = &f->client,
                                            .refresh_ms = 2000,
                                            .tcp_user_timeout_ms = 3000,
                                            .max_answer_bytes = 1 << 20};
    f->cluster = cluster_new(f->loop, &cluster);
    f->asks = broker_asks_new(f->loop, f->cluster, &options);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    broker_asks_free(f->asks);
    cluster_free(f->cluster);
    fake_broker_free(f->broker);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void know_the_broker(struct fixture *f)
{
    for (int i = 0; i < 100 && cluster_brokers_count(f->cluster) == 0; i++) {
        fake_run_for(f->loop, 20);
    }
    assert_int_equal(cluster_broker_at(f->cluster, 0), 7);
    assert_int_equal(cluster_broker_at(f->cluster, 1), -1);
}

static void many_at_once(void **state)
{
    struct fixture *f = *state;
    know_the_broker(f);
    for (int i = 0; i < 50; i++) {
        ask(f, i % 2 == 0 ? 7 : BROKER_ANY);
    }
    assert_true(fake_run_until(f->loop, &f->all, PATIENCE_MS));
    assert_int_equal(f->err.kind, ERR_NONE);
    assert_int_equal(f->groups_count, 50);
    fake_run_for(f->loop, 50);
    assert_int_equal(f->answers_count, 50);
}

static void a_broker_that_is_not_there(void **state)
{
    struct fixture *f = *state;
    know_the_broker(f);
    ask(f, 8);
    ask(f, 7);
    assert_true(fake_run_until(f->loop, &f->all, PATIENCE_MS));
    assert_int_equal(f->groups_count, 1);
    assert_int_equal(f->answers_count, 2);
    assert_int_equal(f->err.kind, ERR_RETRY);
}

static void lost_connections_and_silence(void **state)
{
    struct fixture *f = *state;
    static const enum fake_action actions[] = {FAKE_CLOSE, FAKE_SILENT};
    know_the_broker(f);
    for (int i = 0; i < 2; i++) {
        f->action = actions[i];
        ask(f, 7);
        assert_true(fake_run_until(f->loop, &f->all, PATIENCE_MS));
        assert_int_equal(f->err.kind, ERR_RETRY);
    }
    f->action = FAKE_ANSWER;
    ask(f, 7); /* the connection is made again */
    assert_true(fake_run_until(f->loop, &f->all, PATIENCE_MS));
    assert_int_equal(f->err.kind, ERR_NONE);
}

static void what_is_not_understood_costs_the_connection(void **state)
{
    struct fixture *f = *state;
    know_the_broker(f);
    f->garbage = true;
    ask(f, 7);
    assert_true(fake_run_until(f->loop, &f->all, PATIENCE_MS));
    assert_int_equal(f->err.kind, ERR_RETRY);
    int32_t accepted = fake_broker_accepted(f->broker);
    f->garbage = false;
    ask(f, 7);
    assert_true(fake_run_until(f->loop, &f->all, PATIENCE_MS));
    assert_int_equal(f->groups_count, 1);
    assert_true(fake_broker_accepted(f->broker) > accepted);
}

/* What is asked there does not wait for the others, and its garbage costs them nothing. */
static void a_lane_is_a_connection_of_its_own(void **state)
{
    struct fixture *f = *state;
    know_the_broker(f);
    ask(f, 7);
    assert_true(fake_run_until(f->loop, &f->all, PATIENCE_MS));
    int32_t accepted = fake_broker_accepted(f->broker);
    ask_in(f, 7, 1);
    ask_in(f, 7, 2);
    assert_true(fake_run_until(f->loop, &f->all, PATIENCE_MS));
    assert_int_equal(f->groups_count, 3);
    assert_int_equal(fake_broker_accepted(f->broker), accepted + 2);
    f->garbage = true;
    ask_in(f, 7, 1);
    assert_true(fake_run_until(f->loop, &f->all, PATIENCE_MS));
    assert_int_equal(f->err.kind, ERR_RETRY);
    f->garbage = false;
    ask(f, 7);
    ask_in(f, 7, 2);
    assert_true(fake_run_until(f->loop, &f->all, PATIENCE_MS));
    assert_int_equal(fake_broker_accepted(f->broker), accepted + 2); /* of lane 1 alone */
    ask_in(f, 7, 1);
    assert_true(fake_run_until(f->loop, &f->all, PATIENCE_MS));
    assert_int_equal(fake_broker_accepted(f->broker), accepted + 3);
}

static void an_api_that_is_not_offered(void **state)
{
    struct fixture *f = *state;
    fake_broker_offer(f->broker, API_LIST_GROUPS, 0, 1);
    know_the_broker(f);
    ask(f, 7);
    assert_true(fake_run_until(f->loop, &f->all, PATIENCE_MS));
    assert_int_equal(f->err.kind, ERR_REFUSED);
    assert_non_null(strstr(f->err.what, "ListGroups"));
}

/* --- a sign-in that is refused --------------------------------------------------------------------------------- */

static enum fake_action agree(void *arg, const struct fake_request *request, struct writer *answer)
{
    (void)arg;
    (void)request;
    writer_i16(answer, 0);
    writer_i32(answer, 1);
    wire_put_string(answer, "PLAIN");
    return FAKE_ANSWER;
}

static enum fake_action let_in(void *arg, const struct fake_request *request, struct writer *answer)
{
    const bool *refuse = arg;
    (void)request;
    writer_i16(answer, *refuse ? 58 : 0);
    wire_put_compact_string(answer, *refuse ? "go away" : NULL);
    wire_put_uvarint(answer, 1);
    writer_i64(answer, 0);
    wire_put_no_tags(answer);
    return FAKE_ANSWER;
}

/* Long before time is up; tried on all the same. */
static void who_is_not_let_in_hears_of_it_soon(void **state)
{
    static const struct broker_asks_options patient = {.wait_ms = 60000, .request_ms = 60000};
    struct fixture *f = *state;
    struct config_property properties[] = {
        {"bootstrap.servers", f->servers      },
        {"security.protocol", "SASL_PLAINTEXT"},
        {"sasl.mechanism",    "PLAIN"         },
        {"sasl.username",     "ferry"         },
        {"sasl.password",     "wrong"         }
    };
    const struct config_client client = {.properties = properties, .properties_count = 5};
    const struct cluster_options options = {.name = "a",
                                            .client = &client,
                                            .refresh_ms = 2000,
                                            .tcp_user_timeout_ms = 3000,
                                            .max_answer_bytes = 1 << 20};
    bool refuse = true;
    fake_broker_on(f->broker, API_SASL_HANDSHAKE, agree, NULL);
    fake_broker_on(f->broker, API_SASL_AUTHENTICATE, let_in, &refuse);
    struct cluster *own = f->cluster;
    struct broker_asks *own_asks = f->asks;
    f->cluster = cluster_new(f->loop, &options);
    f->asks = broker_asks_new(f->loop, f->cluster, &patient);
    ask(f, BROKER_ANY);
    fake_run_for(f->loop, 1000);
    assert_false(f->all || cluster_refuses(f->cluster)); /* it may be put right at once */
    assert_true(fake_run_until(f->loop, &f->all, PATIENCE_MS));
    assert_true(cluster_refuses(f->cluster));
    assert_non_null(strstr(f->err.what, "go away"));
    assert_null(strstr(f->err.what, "60000 ms"));
    refuse = false;
    for (int i = 0; i < 300 && cluster_refuses(f->cluster); i++) {
        fake_run_for(f->loop, 20);
    }
    ask(f, BROKER_ANY);
    assert_true(fake_run_until(f->loop, &f->all, PATIENCE_MS));
    assert_int_equal(f->groups_count, 1);
    broker_asks_free(f->asks);
    cluster_free(f->cluster);
    f->cluster = own;
    f->asks = own_asks;
}

static void what_is_open_at_the_end_is_answered(void **state)
{
    struct fixture *f = *state;
    know_the_broker(f);
    f->action = FAKE_SILENT;
    ask(f, 7);
    fake_run_for(f->loop, 100); /* on its way */
    ask(f, 7);                  /* not yet */
    broker_asks_free(f->asks);
    f->asks = NULL;
    assert_int_equal(f->answers_count, 2);
    assert_int_equal(f->err.kind, ERR_RETRY);
    fake_run_for(f->loop, 700);
    assert_int_equal(f->answers_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_at_once, start, end),
        cmocka_unit_test_setup_teardown(a_broker_that_is_not_there, start, end),
        cmocka_unit_test_setup_teardown(lost_connections_and_silence, start, end),
        cmocka_unit_test_setup_teardown(what_is_not_understood_costs_the_connection, start, end),
        cmocka_unit_test_setup_teardown(a_lane_is_a_connection_of_its_own, start, end),
        cmocka_unit_test_setup_teardown(an_api_that_is_not_offered, start, end),
        cmocka_unit_test_setup_teardown(who_is_not_let_in_hears_of_it_soon, start, end),
        cmocka_unit_test_setup_teardown(what_is_open_at_the_end_is_answered, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
