/* kafka/cluster against scripted brokers: bootstrap, refresh, lanes and their backoff, brokers that lie or go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "kafka/cluster.h"
#include "kafka/error.h"
#include "tests/fake/answers.h"
#include "tests/fake/broker.h"
#include "tests/fake/turns.h"

#define PATIENCE_MS 5000

struct told {
    int32_t ready;
    int32_t lost;
    int32_t lost_lane_1;
    int32_t broker;
    int32_t lane;
    struct conn *conn;
};

struct fixture {
    struct loop *loop;
    struct fake_broker *brokers[2];
    struct metadata_broker list[2];
    struct metadata_partition partitions[2];
    struct metadata_topic topics[1];
    struct metadata metadata;
    char servers[256];
    struct config_property properties[4];
    struct config_client client;
    struct cluster *cluster;
    int32_t changes;
    struct told told;
};

static void on_change(void *arg)
{
    struct fixture *f = arg;
    f->changes++;
}

static void on_conn(void *arg, int32_t broker, int32_t lane, struct conn *conn,
                    const struct err *lost)
{
    struct fixture *f = arg;

    assert_true((conn == NULL) == (lost != NULL));
    f->told.ready += lost == NULL;
    f->told.lost += lost != NULL;
    f->told.lost_lane_1 += lost != NULL && lane == 1;
    f->told.broker = broker;
    f->told.lane = lane;
    f->told.conn = conn;
}

/* Let both brokers answer with the metadata that stands in the fixture. */
static void publish(struct fixture *f)
{
    f->metadata.brokers = f->list;
    f->metadata.topics = f->topics;
    for (int i = 0; i < 2; i++) {
        fake_broker_metadata(f->brokers[i], &f->metadata);
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    log_set_level(LOG_ERROR);
    f->loop = loop_new(clock_system());
    for (int i = 0; i < 2; i++) {
        f->brokers[i] = fake_broker_new(f->loop);
        f->list[i] = (struct metadata_broker){
            .id = i + 1, .host = fake_text("127.0.0.1"), .port = fake_broker_port(f->brokers[i])};
        f->partitions[i] =
            (struct metadata_partition){.index = i, .leader = i + 1, .leader_epoch = 3};
    }
    f->topics[0] = (struct metadata_topic){.name = fake_text("orders"),
                                           .id = {{7}},
                                           .partitions = f->partitions,
                                           .partitions_count = 2};
    f->metadata = (struct metadata){.cluster_id = fake_text("cluster-1"),
                                    .controller = 1,
                                    .brokers_count = 2,
                                    .topics_count = 1};
    publish(f);
    snprintf(f->servers, sizeof(f->servers), "127.0.0.1:%d", fake_broker_port(f->brokers[0]));
    f->properties[0] = (struct config_property){"bootstrap.servers", f->servers};
    f->properties[1] = (struct config_property){"reconnect.backoff.ms", "20"};
    f->properties[2] = (struct config_property){"reconnect.backoff.max.ms", "60"};
    f->properties[3] = (struct config_property){"socket.connection.setup.timeout.ms", "300"};
    f->client.properties = f->properties;
    f->client.properties_count = 4;
    *state = f;
    return 0;
}

static void open_cluster(struct fixture *f, int32_t refresh_ms)
{
    struct cluster_options options = {.name = "site-a",
                                      .client = &f->client,
                                      .refresh_ms = refresh_ms,
                                      .tcp_user_timeout_ms = 3000,
                                      .max_answer_bytes = 1 << 20};

    f->cluster = cluster_new(f->loop, &options);
    cluster_on_change(f->cluster, on_change, f);
    cluster_on_conn(f->cluster, on_conn, f);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    cluster_free(f->cluster);
    for (int i = 0; i < 2; i++) {
        fake_broker_free(f->brokers[i]);
    }
    loop_free(f->loop);
    free(f);
    return 0;
}

/* Run until the condition holds. */
#define UNTIL(f, condition) TURN_UNTIL((f)->loop, PATIENCE_MS, condition)

/* --- addresses ------------------------------------------------------------------------------------------------- */

static void servers_are_parsed(void **state)
{
    static const struct {
        const char *text;
        const char *host; /* NULL = refused */
        int32_t port;
    } rows[] = {
        {"kafka:9093",             "kafka",             9093 },
        {" kafka.example.com:1 ",  "kafka.example.com", 1    },
        {"kafka",                  "kafka",             9092 },
        {"[2001:db8::1]:9094",     "2001:db8::1",       9094 },
        {"[::1]",                  "::1",               9092 },
        {"2001:db8::1",            "2001:db8::1",       9092 },
        {"PLAINTEXT://kafka:9093", "kafka",             9093 },
        {"kafka:65535",            "kafka",             65535},
        {"kafka:65536",            NULL,                0    },
        {"kafka:0",                NULL,                0    },
        {"kafka:",                 NULL,                0    },
        {"kafka:9x",               NULL,                0    },
        {"kafka:99999999999",      NULL,                0    },
        {":9092",                  NULL,                0    },
        {"[::1",                   NULL,                0    },
        {"[::1]x",                 NULL,                0    },
        {"[]:1",                   NULL,                0    },
        {"",                       NULL,                0    },
        {"  ",                     NULL,                0    },
        {"PLAINTEXT://",           NULL,                0    },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char host[CLUSTER_HOST_BYTES];
        int32_t port = -1;
        size_t len = strlen(rows[i].text);
        char *exact = malloc(len + 1);
        memcpy(exact, rows[i].text, len);
        bool ok = cluster_parse_server(exact, len, host, &port);
        assert_int_equal(ok, rows[i].host != NULL);
        if (ok) {
            assert_string_equal(host, rows[i].host);
            assert_int_equal(port, rows[i].port);
        }
        free(exact);
    }
}

static void a_host_that_is_too_long_is_refused(void **state)
{
    char text[400];
    char host[CLUSTER_HOST_BYTES];
    int32_t port;

    (void)state;
    memset(text, 'h', sizeof(text));
    assert_true(cluster_parse_server(text, CLUSTER_HOST_BYTES - 1, host, &port));
    assert_false(cluster_parse_server(text, CLUSTER_HOST_BYTES, host, &port));
}

/* --- metadata -------------------------------------------------------------------------------------------------- */

static void it_learns_the_cluster(void **state)
{
    struct fixture *f = *state;

    open_cluster(f, 10000);
    assert_string_equal(cluster_id(f->cluster), "");
    assert_false(cluster_reachable(f->cluster));
    UNTIL(f, f->changes > 0);
    assert_string_equal(cluster_id(f->cluster), "cluster-1");
    assert_true(cluster_reachable(f->cluster));
    assert_string_equal(cluster_last_error(f->cluster), "");
    assert_int_equal(cluster_brokers_count(f->cluster), 2);
    assert_int_equal(cluster_topic(f->cluster, "orders")->partitions_count, 2);
    assert_null(cluster_topic(f->cluster, "other"));
    assert_string_equal(cluster_topic_at(f->cluster, 0)->name, "orders");
    assert_int_equal(cluster_leader(f->cluster, "orders", 1).broker, 2);
    assert_int_equal(cluster_leader(f->cluster, "orders", 1).epoch, 3);
}

static void seeds_are_tried_until_one_answers(void **state)
{
    struct fixture *f = *state;

    snprintf(f->servers, sizeof(f->servers), "127.0.0.1:1, ,no such:x,[::1]:1, 127.0.0.1:%d",
             fake_broker_port(f->brokers[1]));
    open_cluster(f, 10000);
    UNTIL(f, f->changes > 0);
    assert_true(cluster_reachable(f->cluster));
}

static void it_goes_on_to_the_brokers_and_lets_the_seed_go(void **state)
{
    struct fixture *f = *state;

    open_cluster(f, 100);
    UNTIL(f, f->changes > 3);
    UNTIL(f, fake_broker_connections(f->brokers[0]) == 1 &&
                 fake_broker_connections(f->brokers[1]) == 1);
    assert_int_equal(f->told.ready, 2); /* of the brokers; the seed is nobody's business */
}

static void note_answer(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    bool *answers = arg;

    (void)block;
    (void)err;
    answers[0] = true;
    answers[1] = reader != NULL;
}

static enum fake_action some_answer(void *arg, const struct fake_request *request,
                                    struct writer *answer)
{
    (void)arg;
    (void)request;
    writer_i64(answer, 0);
    return FAKE_ANSWER;
}

/* cluster_any_conn() may give out a seed; it is not closed under a request because a broker became ready. */
static void a_seed_with_a_request_in_flight_is_kept(void **state)
{
    struct fixture *f = *state;
    bool answers[2] = {false, false};
    struct conn *conn = NULL;
    struct writer writer;

    fake_broker_on(f->brokers[0], API_FIND_COORDINATOR, some_answer, NULL);
    open_cluster(f, 100);
    UNTIL(f, f->changes > 0);
    assert_int_equal(f->told.ready, 0); /* so it is the seed's */
    conn = cluster_any_conn(f->cluster);
    assert_non_null(conn);
    fake_broker_faults(f->brokers[0])->delay_ms = 150;
    writer_init(&writer);
    proto_put_find_coordinator(&writer, 4, false, "g");
    conn_send(conn, API_FIND_COORDINATOR, 4, &writer, NULL, 0, 2000, note_answer, answers);
    writer_done(&writer);
    UNTIL(f, answers[0]);
    assert_true(answers[1]);
    assert_true(f->told.ready > 0);
    UNTIL(f, f->told.ready == 2 && fake_broker_connections(f->brokers[0]) == 1);
}

static void metadata_is_refreshed(void **state)
{
    struct fixture *f = *state;

    open_cluster(f, 250);
    UNTIL(f, f->changes == 1);
    f->partitions[1].leader = 1;
    f->partitions[1].leader_epoch = 4;
    UNTIL(f, cluster_leader(f->cluster, "orders", 1).broker == 1);
    f->partitions[1].leader = 2; /* a broker that is behind */
    f->partitions[1].leader_epoch = 3;
    int32_t changes = f->changes;
    UNTIL(f, f->changes > changes + 2);
    assert_int_equal(cluster_leader(f->cluster, "orders", 1).broker, 1);
}

/* A thousand wishes are five requests a second. */
static void refreshes_are_coalesced(void **state)
{
    struct fixture *f = *state;

    open_cluster(f, 60000);
    UNTIL(f, f->changes == 1);
    int32_t before = f->changes;
    int64_t end_ms = loop_now_ms(f->loop) + 900;
    while (loop_now_ms(f->loop) < end_ms) {
        cluster_refresh(f->cluster);
        loop_run_once(f->loop, 1);
    }
    assert_in_range(f->changes - before, 3, 5);
    int32_t requests = fake_broker_requests(f->brokers[0], API_METADATA) +
                       fake_broker_requests(f->brokers[1], API_METADATA);
    assert_true(requests <= 6);
}

static void only_followed_topics_are_asked_for(void **state)
{
    static const char *const names[] = {"payments"};
    struct fixture *f = *state;

    open_cluster(f, 10000);
    cluster_follow(f->cluster, names, 1);
    UNTIL(f, f->changes > 0);
    assert_null(cluster_topic(f->cluster, "orders")); /* answered without being asked for */
    cluster_follow(f->cluster, NULL, 0);
    UNTIL(f, cluster_topic(f->cluster, "orders") != NULL);
}

static void without_a_leader_it_asks_soon(void **state)
{
    struct fixture *f = *state;

    f->partitions[0].leader = -1;
    open_cluster(f, 60000);
    UNTIL(f, f->changes == 1);
    f->partitions[0].leader = 2;
    f->partitions[0].leader_epoch = 4;
    int64_t begin_ms = loop_now_ms(f->loop);
    UNTIL(f, cluster_leader(f->cluster, "orders", 0).broker == 2);
    assert_true(loop_now_ms(f->loop) - begin_ms < 2000);
}

/* --- answers that are refused ---------------------------------------------------------------------------------- */

/* S23: metadata with no broker changes nothing. */
static void an_answer_without_brokers_is_refused(void **state)
{
    struct fixture *f = *state;

    open_cluster(f, 100);
    UNTIL(f, f->changes > 0);
    f->metadata.brokers_count = 0;
    publish(f);
    UNTIL(f, !cluster_reachable(f->cluster));
    assert_non_null(strstr(cluster_last_error(f->cluster), "without brokers"));
    assert_int_equal(cluster_brokers_count(f->cluster), 2); /* what was known stays */
    assert_non_null(cluster_topic(f->cluster, "orders"));
    f->metadata.brokers_count = 2;
    publish(f);
    UNTIL(f, cluster_reachable(f->cluster));
}

/* Each broker is looked for among all of them. */
static void an_answer_of_too_many_brokers_is_refused(void **state)
{
    struct fixture *f = *state;
    struct metadata many = {.cluster_id = fake_text("cluster-1"), .brokers_count = 4097};

    many.brokers = calloc((size_t)many.brokers_count, sizeof(*many.brokers));
    assert_non_null(many.brokers);
    for (int32_t i = 0; i < many.brokers_count; i++) {
        many.brokers[i] = (struct metadata_broker){
            .id = i + 1, .host = fake_text("127.0.0.1"), .port = f->list[0].port};
    }
    fake_broker_metadata(f->brokers[0], &many);
    open_cluster(f, 2000);
    UNTIL(f, strstr(cluster_last_error(f->cluster), "4097 brokers") != NULL);
    assert_string_equal(cluster_id(f->cluster), "");
    cluster_free(f->cluster);
    f->cluster = NULL;
    free(many.brokers);
}

static void addresses_that_are_none_are_refused(void **state)
{
    struct fixture *f = *state;

    open_cluster(f, 100);
    f->list[1].port = 0;
    publish(f);
    UNTIL(f, strstr(cluster_last_error(f->cluster), "no usable address") != NULL);
    assert_int_equal(f->changes, 0);
    f->list[1].port = 70000;
    fake_run_for(f->loop, 300);
    assert_int_equal(f->changes, 0);
    f->list[1].port = fake_broker_port(f->brokers[1]);
    f->list[1].host = fake_text("");
    fake_run_for(f->loop, 300);
    assert_int_equal(f->changes, 0);
}

/* S22: after a failover of names the bootstrap name leads to the other cluster: never mixed. */
static void another_cluster_behind_the_name_is_refused(void **state)
{
    struct fixture *f = *state;

    open_cluster(f, 100);
    UNTIL(f, f->changes > 0);
    f->metadata.cluster_id = fake_text("cluster-2");
    f->partitions[0].leader_epoch = 99;
    publish(f);
    UNTIL(f, !cluster_reachable(f->cluster));
    assert_non_null(strstr(cluster_last_error(f->cluster), "cluster-2"));
    assert_string_equal(cluster_id(f->cluster), "cluster-1");
    fake_run_for(f->loop, 300);
    assert_int_equal(cluster_leader(f->cluster, "orders", 0).epoch, 3);
}

static enum fake_action garbage(void *arg, const struct fake_request *request,
                                struct writer *answer)
{
    (void)arg;
    (void)request;
    writer_i64(answer, -1);
    return FAKE_ANSWER;
}

static void garbage_costs_the_connection(void **state)
{
    struct fixture *f = *state;

    fake_broker_on(f->brokers[0], API_METADATA, garbage, NULL);
    open_cluster(f, 100);
    UNTIL(f, fake_broker_accepted(f->brokers[0]) > 2);
    assert_false(cluster_reachable(f->cluster));
    assert_non_null(strstr(cluster_last_error(f->cluster), "Metadata"));
    fake_broker_on(f->brokers[0], API_METADATA, NULL, NULL);
    UNTIL(f, cluster_reachable(f->cluster));
}

/* --- brokers that go ------------------------------------------------------------------------------------------- */

static void when_all_brokers_fail_the_seeds_are_asked_again(void **state)
{
    struct fixture *f = *state;

    open_cluster(f, 200);
    UNTIL(f, f->changes > 0);
    UNTIL(f, f->told.ready == 2);
    /* the brokers come back under other addresses, known to the bootstrap name alone */
    struct fake_broker *moved = fake_broker_new(f->loop);
    snprintf(f->servers, sizeof(f->servers), "127.0.0.1:%d", fake_broker_port(f->brokers[0]));
    fake_broker_listen(f->brokers[1], false);
    fake_broker_drop(f->brokers[1]);
    f->list[0].port = fake_broker_port(moved);
    f->list[1].port = fake_broker_port(moved);
    publish(f);
    fake_broker_metadata(moved, &f->metadata);
    fake_broker_drop(f->brokers[0]);
    UNTIL(f, fake_broker_accepted(moved) >= 1);
    UNTIL(f, cluster_reachable(f->cluster));
    cluster_free(f->cluster);
    f->cluster = NULL;
    fake_broker_free(moved);
}

/* S23: all brokers are gone, and come back. */
static void all_gone_and_back(void **state)
{
    struct fixture *f = *state;

    open_cluster(f, 100);
    UNTIL(f, f->told.ready == 2);
    for (int i = 0; i < 2; i++) {
        fake_broker_listen(f->brokers[i], false);
        fake_broker_drop(f->brokers[i]);
    }
    UNTIL(f, !cluster_reachable(f->cluster));
    assert_non_null(strstr(cluster_last_error(f->cluster), "127.0.0.1"));
    fake_run_for(f->loop, 300);
    for (int i = 0; i < 2; i++) {
        fake_broker_listen(f->brokers[i], true);
    }
    UNTIL(f, cluster_reachable(f->cluster));
}

static void a_broker_that_hangs_is_passed_over(void **state)
{
    struct fixture *f = *state;

    open_cluster(f, 100);
    UNTIL(f, f->told.ready == 2);
    fake_broker_faults(f->brokers[0])->silent = true;
    int32_t requests = fake_broker_requests(f->brokers[1], API_METADATA);
    UNTIL(f, fake_broker_requests(f->brokers[1], API_METADATA) > requests + 3);
    assert_true(cluster_reachable(f->cluster));
}

static void a_broker_that_is_listed_no_more(void **state)
{
    struct fixture *f = *state;

    open_cluster(f, 100);
    UNTIL(f, f->told.ready == 2);
    assert_non_null(cluster_conn(f->cluster, 2, 0));
    f->metadata.brokers_count = 1;
    publish(f);
    UNTIL(f, cluster_brokers_count(f->cluster) == 1);
    assert_non_null(
        cluster_conn(f->cluster, 2, 0)); /* its connection stands: the answer may be behind */
    fake_broker_drop(f->brokers[1]);
    UNTIL(f, f->told.lost == 1);
    int32_t accepted = fake_broker_accepted(f->brokers[1]);
    assert_null(cluster_conn(f->cluster, 2, 0));
    fake_run_for(f->loop, 300);
    assert_int_equal(fake_broker_accepted(f->brokers[1]), accepted); /* not made again */
}

/* --- lanes ----------------------------------------------------------------------------------------------------- */

static void lanes_are_made_when_asked_for(void **state)
{
    struct fixture *f = *state;

    open_cluster(f, 10000);
    UNTIL(f, f->told.ready == 2);
    assert_null(cluster_conn(f->cluster, 2, 1));
    assert_null(cluster_conn(f->cluster, 77, 1)); /* no such broker */
    UNTIL(f, f->told.ready == 3);
    assert_int_equal(f->told.broker, 2);
    assert_int_equal(f->told.lane, 1);
    assert_ptr_equal(cluster_conn(f->cluster, 2, 1), f->told.conn);
    assert_ptr_not_equal(cluster_conn(f->cluster, 2, 0), f->told.conn);
    assert_int_equal(fake_broker_connections(f->brokers[1]), 2);
    assert_non_null(cluster_any_conn(f->cluster));
}

static void a_wanted_lane_is_tried_until_it_is_ready(void **state)
{
    struct fixture *f = *state;

    open_cluster(f, 60000);
    UNTIL(f, f->told.ready == 2);
    fake_broker_listen(f->brokers[1], false);
    assert_null(cluster_conn(f->cluster, 2, 1)); /* asked for once */
    fake_run_for(f->loop, 250);
    assert_int_equal(f->told.lost, 0); /* it never was */
    fake_broker_listen(f->brokers[1], true);
    UNTIL(f, f->told.ready == 3);
}

static void a_lost_lane_waits_to_be_asked_for(void **state)
{
    struct fixture *f = *state;

    open_cluster(f, 60000);
    UNTIL(f, f->told.ready == 2);
    cluster_conn(f->cluster, 2, 1);
    UNTIL(f, f->told.ready == 3);
    cluster_drop_conn(f->cluster, 2, 1, "a test");
    assert_int_equal(f->told.lost, 1); /* told before the call returns */
    assert_int_equal(f->told.lane, 1);
    fake_run_for(f->loop, 200);
    assert_int_equal(f->told.ready, 3);
    assert_null(cluster_conn(f->cluster, 2, 1));
    UNTIL(f, f->told.ready == 4);
    cluster_drop_conn(f->cluster, 2, 9, "no such lane");
    cluster_drop_conn(f->cluster, 9, 1, "no such broker");
    assert_int_equal(f->told.lost, 1);
}

struct reasker {
    struct fixture *f;
    int32_t failed;
    int32_t lost_seen; /* how often the lane was said to be lost when the last answer failed */
};

static void ask_again(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct reasker *reasker = arg;

    (void)block;
    (void)err;
    if (reader == NULL) {
        reasker->failed++;
        reasker->lost_seen = reasker->f->told.lost_lane_1;
        assert_null(cluster_conn(reasker->f->cluster, 2, 1)); /* the broken one is not given out */
        cluster_drop_conn(reasker->f->cluster, 2, 1, "again");
    }
}

/* Answers that fail ask for the lane again from inside: no second connection, no loop, one backoff. */
static void asking_again_inside_a_failed_answer(void **state)
{
    struct fixture *f = *state;
    struct reasker reasker = {.f = f};

    open_cluster(f, 60000);
    UNTIL(f, f->told.ready == 2);
    for (int drop = 0; drop < 2; drop++) {
        reasker.failed = 0;
        cluster_conn(f->cluster, 2, 1);
        UNTIL(f, cluster_conn(f->cluster, 2, 1) != NULL);
        struct conn *conn = cluster_conn(f->cluster, 2, 1);
        int32_t lost = f->told.lost_lane_1;
        fake_broker_faults(f->brokers[1])->silent = true;
        for (int i = 0; i < 3; i++) {
            struct writer writer;
            writer_init(&writer);
            writer_i64(&writer, 0);
            conn_send(conn, API_FETCH, 16, &writer, NULL, 0, 1000, ask_again, &reasker);
            writer_done(&writer);
        }
        if (drop == 0) {
            cluster_drop_conn(f->cluster, 2, 1, "a test");
        } else {
            fake_broker_drop(f->brokers[1]);
        }
        UNTIL(f, reasker.failed == 3);
        assert_int_equal(reasker.lost_seen, lost); /* all answers come before the loss is told */
        fake_broker_faults(f->brokers[1])->silent = false;
        UNTIL(f, cluster_conn(f->cluster, 2, 1) != NULL);
    }
    /* lane 0 went, too, and nobody asked for it */
    assert_int_equal(fake_broker_connections(f->brokers[1]), 1);
}

static void freed_with_requests_in_flight(void **state)
{
    struct fixture *f = *state;
    struct reasker reasker = {.f = f};
    struct writer writer;

    open_cluster(f, 100);
    UNTIL(f, f->told.ready == 2);
    struct conn *conn = cluster_conn(f->cluster, 2, 0);
    fake_broker_faults(f->brokers[0])->silent = true;
    fake_broker_faults(f->brokers[1])->silent = true;
    writer_init(&writer);
    writer_i64(&writer, 0);
    conn_send(conn, API_FETCH, 16, &writer, NULL, 0, 1000, ask_again, &reasker);
    writer_done(&writer);
    fake_run_for(f->loop, 150); /* a metadata request is in flight, too */
    struct told told = f->told;
    cluster_free(f->cluster);
    f->cluster = NULL;
    assert_int_equal(reasker.failed, 1);
    assert_int_equal(f->told.lost, told.lost);
}

/* What goes to librdkafka counts for the wire client, too. */
static void properties_reach_its_connections(void **state)
{
    struct fixture *f = *state;

    f->properties[3] = (struct config_property){"broker.address.family", "v6"};
    open_cluster(f, 60000);
    fake_run_for(f->loop, 300);
    assert_int_equal(fake_broker_accepted(f->brokers[0]), 0); /* listens at 127.0.0.1 */
    assert_non_null(strstr(cluster_last_error(f->cluster), "look up"));
    cluster_free(f->cluster);
    f->properties[3] = (struct config_property){"broker.address.family", "v4"};
    open_cluster(f, 60000);
    UNTIL(f, cluster_reachable(f->cluster));
}

static void nothing_goes_in_the_clear_that_was_configured_otherwise(void **state)
{
    struct fixture *f = *state;

    f->properties[3] = (struct config_property){"security.protocol", "SASL_SSL"};
    open_cluster(f, 100);
    fake_run_for(f->loop,
                 300); /* the broker waits for the rest of a hello that it takes for a length */
    assert_true(fake_broker_accepted(f->brokers[0]) > 0);
    assert_int_equal(fake_broker_requests(f->brokers[0], API_VERSIONS), 0);
    assert_false(cluster_reachable(f->cluster));
}

/* --- a session that ends --------------------------------------------------------------------------------------------- */

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
    (void)arg;
    (void)request;
    writer_i16(answer, 0);
    wire_put_text(answer, NULL);
    wire_put_blob_len(answer, 0);
    writer_i64(answer, 1200);
    wire_put_no_tags(answer);
    return FAKE_ANSWER;
}

static void sign_in(struct fixture *f)
{
    static struct config_secret secrets[] = {
        {.name = "sasl.password", .env = "TEST_CLUSTER_PASSWORD"}
    };
    static struct config_property properties[] = {
        {"bootstrap.servers", NULL            },
        {"security.protocol", "SASL_PLAINTEXT"},
        {"sasl.mechanism",    "PLAIN"         },
        {"sasl.username",     "ferry"         },
    };
    properties[0].value = f->servers;
    f->client = (struct config_client){
        .properties = properties, .properties_count = 4, .secrets = secrets, .secrets_count = 1};
    for (int i = 0; i < 2; i++) {
        fake_broker_on(f->brokers[i], API_SASL_HANDSHAKE, agree, NULL);
        fake_broker_on(f->brokers[i], API_SASL_AUTHENTICATE, let_in, NULL);
    }
    setenv("TEST_CLUSTER_PASSWORD", "pencil", 1);
}

/* The lines of the log from here to log_rows(). */
static int log_to(FILE *file)
{
    int saved = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    log_set_level(LOG_WARN);
    return saved;
}

static int log_rows(FILE *file, int saved, const char *event, const char *text)
{
    char line[4096];
    int count = 0;
    log_set_level(LOG_ERROR);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        count += strstr(line, event) != NULL && strstr(line, text) != NULL;
    }
    fclose(file);
    return count;
}

/* While others are there the cluster is, too: without that line nobody would say what ended it. */
static void a_session_that_is_not_made_anew_is_told_with_the_first_connection(void **state)
{
    struct fixture *f = *state;
    FILE *log = tmpfile();

    sign_in(f);
    open_cluster(f, 300);
    UNTIL(f, cluster_reachable(f->cluster));
    UNTIL(f, cluster_conn(f->cluster, 2, 1) != NULL);
    unsetenv("TEST_CLUSTER_PASSWORD");
    fake_run_for(f->loop, 1200);
    int saved = log_to(log);
    fake_broker_drop(f->brokers[1]);
    UNTIL(f, f->told.lost_lane_1 > 0);
    fake_run_for(f->loop, 50);
    assert_int_equal(log_rows(log, saved, "cluster.refused", "could not be made anew"), 1);
    assert_true(cluster_reachable(f->cluster));
}

static void a_protocol_that_nobody_knows_connects_nowhere(void **state)
{
    struct fixture *f = *state;

    f->properties[3] = (struct config_property){"security.protocol", "SASL_TLS"};
    open_cluster(f, 100);
    fake_run_for(f->loop, 300);
    assert_int_equal(fake_broker_accepted(f->brokers[0]), 0);
    assert_false(cluster_reachable(f->cluster));
    assert_non_null(strstr(cluster_last_error(f->cluster), "SASL_TLS"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_are_parsed),
        cmocka_unit_test(a_host_that_is_too_long_is_refused),
        TEST(it_learns_the_cluster),
        TEST(seeds_are_tried_until_one_answers),
        TEST(it_goes_on_to_the_brokers_and_lets_the_seed_go),
        TEST(a_seed_with_a_request_in_flight_is_kept),
        TEST(metadata_is_refreshed),
        TEST(refreshes_are_coalesced),
        TEST(only_followed_topics_are_asked_for),
        TEST(without_a_leader_it_asks_soon),
        TEST(an_answer_without_brokers_is_refused),
        TEST(an_answer_of_too_many_brokers_is_refused),
        TEST(addresses_that_are_none_are_refused),
        TEST(another_cluster_behind_the_name_is_refused),
        TEST(garbage_costs_the_connection),
        TEST(when_all_brokers_fail_the_seeds_are_asked_again),
        TEST(all_gone_and_back),
        TEST(a_broker_that_hangs_is_passed_over),
        TEST(a_broker_that_is_listed_no_more),
        TEST(lanes_are_made_when_asked_for),
        TEST(a_wanted_lane_is_tried_until_it_is_ready),
        TEST(a_lost_lane_waits_to_be_asked_for),
        TEST(asking_again_inside_a_failed_answer),
        TEST(freed_with_requests_in_flight),
        TEST(properties_reach_its_connections),
        TEST(a_session_that_is_not_made_anew_is_told_with_the_first_connection),
        TEST(nothing_goes_in_the_clear_that_was_configured_otherwise),
        TEST(a_protocol_that_nobody_knows_connects_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
