/* kafka/client: a broker that refuses connections costs no core, and is found again when it is back; a token's server that does
 * not answer is no wrong password. kafka/admin: what it did not answer is no offset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "base/log.h"
#include "kafka/admin.h"
#include "kafka/admin_inside.h"
#include "kafka/client.h"

#define AWAY_MS      2000
#define AWAY_CPU_MAX 0.2 /* s; without a pace 0.7 to 0.9, with it 0.004 */
#define BACK_MS      1500

static double cpu_seconds(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* A question to a partition's leader: a call that waits for one broker, as those to the controller do. */
static bool knows_end(struct admin *admin)
{
    struct admin_offset offset = {.topic = "t", .partition = 0};
    struct err err;
    bool known =
        admin_list_offsets(admin, OFFSET_SPEC_LATEST, &offset, 1, &err) && offset.error == 0;
    assert_int_equal(known ? 0 : -1, offset.offset); /* nobody goes on with what was not answered */
    return known;
}

/* The cluster is librdkafka's own, of one broker. */
static void test_a_broker_that_refuses_connections_costs_no_core(void **state)
{
    (void)state;
    static struct config_property property = {"bootstrap.servers", "127.0.0.1:1"};
    static const char *const extra[] = {"test.mock.num.brokers", "1", NULL};
    const struct config_client site = {.properties = &property, .properties_count = 1};
    struct err err = {0};
    struct client *client = client_new(RD_KAFKA_PRODUCER, &site, extra, 0, &err);
    assert_non_null(client);
    struct admin admin = {.site = "b", .client = client, .timeout_ms = 10000};
    rd_kafka_mock_cluster_t *cluster = rd_kafka_handle_mock_cluster(client_handle(client));
    assert_non_null(cluster);
    assert_int_equal(0, rd_kafka_mock_topic_create(cluster, "t", 1, 1));
    assert_true(knows_end(&admin));

    assert_int_equal(0, rd_kafka_mock_broker_set_down(cluster, 1));
    double before = cpu_seconds();
    int64_t until_ms = client_now_ms() + AWAY_MS;
    for (int64_t now_ms = client_now_ms(); now_ms < until_ms; now_ms = client_now_ms()) {
        admin.timeout_ms = (int32_t)(until_ms - now_ms);
        assert_false(knows_end(&admin));
    }
    double used = cpu_seconds() - before;
    if (used > AWAY_CPU_MAX) {
        fail_msg("%.2f s of CPU in %.1f s of waiting", used, AWAY_MS / 1000.0);
    }

    assert_int_equal(0, rd_kafka_mock_broker_set_up(cluster, 1));
    admin.timeout_ms = BACK_MS;
    assert_true(knows_end(&admin));
    client_free(client, CLIENT_END_MS);
}

/* A record was given up, and its report is there when the same handle is asked something: it is no answer. */
static void test_a_late_report_is_no_answer(void **state)
{
    (void)state;
    static struct config_property property = {"bootstrap.servers", "127.0.0.1:1"};
    static const char *const extra[] = {"test.mock.num.brokers", "1", "linger.ms", "60000", NULL};
    const struct config_client site = {.properties = &property, .properties_count = 1};
    struct err err = {0};
    struct client *client =
        client_new(RD_KAFKA_PRODUCER, &site, extra, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR, &err);
    assert_non_null(client);
    rd_kafka_t *rk = client_handle(client);
    struct admin admin = {.site = "b", .client = client, .timeout_ms = 5000};
    assert_int_equal(0, rd_kafka_mock_topic_create(rd_kafka_handle_mock_cluster(rk), "t", 1, 1));
    assert_int_equal(0,
                     rd_kafka_producev(rk, RD_KAFKA_V_TOPIC("t"), RD_KAFKA_V_PARTITION(0),
                                       RD_KAFKA_V_VALUE((void *)(uintptr_t)"x", 1),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END));
    assert_int_equal(0, rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE));
    assert_true(knows_end(&admin));
    client_free(client, CLIENT_END_MS);
}

#define API_LIST_OFFSETS_KEY 2
#define MANY                 1203 /* two calls of 500, and a rest */

static size_t list_requests_since_before(rd_kafka_mock_cluster_t *cluster)
{
    size_t count = 0;
    size_t found = 0;
    rd_kafka_mock_request_t **requests = rd_kafka_mock_get_requests(cluster, &count);
    for (size_t i = 0; i < count; i++) {
        found += rd_kafka_mock_request_api_key(requests[i]) == API_LIST_OFFSETS_KEY ? 1 : 0;
    }
    rd_kafka_mock_request_destroy_array(requests, count);
    rd_kafka_mock_clear_requests(cluster);
    return found;
}

/* So many records stand in a partition: some on each side of where a call ends. */
static int records_of(int32_t partition)
{
    return partition % 100 == 99 || partition % 100 == 0 || partition == MANY - 1
               ? partition % 7 + 1
               : 0;
}

static void write_records(rd_kafka_t *rk)
{
    for (int32_t partition = 0; partition < MANY; partition++) {
        for (int i = 0; i < records_of(partition); i++) {
            assert_int_equal(
                0, rd_kafka_producev(rk, RD_KAFKA_V_TOPIC("t"), RD_KAFKA_V_PARTITION(partition),
                                     RD_KAFKA_V_VALUE((void *)(uintptr_t)"x", 1),
                                     RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END));
        }
    }
    assert_int_equal(0, rd_kafka_flush(rk, 10000));
}

/* librdkafka's time grows with the square of what one call asks for: never more than 500 at once, each answered in its place. */
static void test_many_offsets_are_asked_500_a_call(void **state)
{
    (void)state;
    static struct config_property property = {"bootstrap.servers", "127.0.0.1:1"};
    static const char *const extra[] = {"test.mock.num.brokers", "1", NULL};
    const struct config_client site = {.properties = &property, .properties_count = 1};
    struct err err = {0};
    struct client *client = client_new(RD_KAFKA_PRODUCER, &site, extra, 0, &err);
    assert_non_null(client);
    struct admin admin = {.site = "b", .client = client, .timeout_ms = 20000};
    rd_kafka_mock_cluster_t *cluster = rd_kafka_handle_mock_cluster(client_handle(client));
    assert_int_equal(0, rd_kafka_mock_topic_create(cluster, "t", MANY, 1));
    write_records(client_handle(client));
    static struct admin_offset offsets[MANY];
    static const size_t counts[] = {1, 499, 500, 501, 1000, MANY};
    static const size_t calls[] = {1, 1, 1, 2, 2, 3};
    rd_kafka_mock_start_request_tracking(cluster);
    for (size_t n = 0; n < sizeof(counts) / sizeof(counts[0]); n++) {
        for (size_t i = 0; i < counts[n];
             i++) { /* backwards: places and partitions are two things */
            offsets[i] = (struct admin_offset){.topic = "t", .partition = MANY - 1 - (int32_t)i};
        }
        assert_true(admin_list_offsets(&admin, OFFSET_SPEC_LATEST, offsets, counts[n], &err));
        for (size_t i = 0; i < counts[n]; i++) {
            assert_int_equal(0, offsets[i].error);
            assert_int_equal(offsets[i].partition, MANY - 1 - (int32_t)i);
            assert_int_equal(records_of(offsets[i].partition), offsets[i].offset);
        }
        assert_int_equal(calls[n], list_requests_since_before(cluster));
    }
    assert_true(admin_list_offsets(&admin, OFFSET_SPEC_LATEST, offsets, 0, &err));
    assert_int_equal(0, list_requests_since_before(cluster));
    client_free(client, CLIENT_END_MS);
}

/* Brokers that are away: an event each few seconds, for as long as nobody polls. */
static int events_of_dead_brokers(int events)
{
    static struct config_property property = {"bootstrap.servers", "127.0.0.1:1,127.0.0.1:2"};
    const struct config_client site = {.properties = &property, .properties_count = 1};
    struct err err = {0};
    struct client *client = client_new(RD_KAFKA_PRODUCER, &site, NULL, events, &err);
    assert_non_null(client);
    int count = 0;
    for (int i = 0; i < 30 && count == 0; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        count = rd_kafka_outq_len(client_handle(client));
    }
    for (int i = 0; i < 10 && rd_kafka_outq_len(client_handle(client)) > 0;
         i++) { /* one may come */
        client_drop_events(client);
    }
    assert_int_equal(rd_kafka_outq_len(client_handle(client)), 0);
    client_free(client, CLIENT_END_MS);
    return count;
}

static void test_what_nobody_polls_is_forgotten(void **state)
{
    (void)state;
    assert_in_range(events_of_dead_brokers(RD_KAFKA_EVENT_ERROR), 1, 10);
    assert_in_range(events_of_dead_brokers(0), 1, 10); /* when none comes it is needed no more */
}

/* ---- tokens ---- */

/* Whoever asks is not known here. */
static void *refuse_all(void *arg)
{
    static const char answer[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 26\r\nConnection: "
                                 "close\r\n\r\n{\"error\":\"invalid_client\"}";
    char question[4096];
    int fd;
    while ((fd = accept(*(int *)arg, NULL, NULL)) >= 0) {
        (void)!read(fd, question, sizeof(question));
        (void)!write(fd, answer, sizeof(answer) - 1);
        close(fd);
    }
    return NULL;
}

static int listening(int *out_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(0, bind(fd, (struct sockaddr *)&address, len));
    assert_int_equal(0, getsockname(fd, (struct sockaddr *)&address, &len));
    *out_port = ntohs(address.sin_port);
    return fd;
}

/* Ask a cluster by a token that nobody gives; twice: how long until we are told, in ms. */
static int64_t ask_without_token(int port, int32_t timeout_ms, struct err errs[2])
{
    char url[64];
    char id[64];
    int32_t brokers_count;
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/token", port);
    setenv("FERRY_TEST_SECRET", "x", 1);
    struct config_property properties[] = {
        {"bootstrap.servers",                   "127.0.0.1:1"   },
        {"security.protocol",                   "SASL_PLAINTEXT"},
        {"sasl.mechanism",                      "OAUTHBEARER"   },
        {"sasl.oauthbearer.method",             "oidc"          },
        {"sasl.oauthbearer.token.endpoint.url", url             },
        {"sasl.oauthbearer.client.id",          "ferry"         }
    };
    struct config_secret secret = {.name = "sasl.oauthbearer.client.secret",
                                   .env = "FERRY_TEST_SECRET"};
    const struct config_client site = {
        .properties = properties, .properties_count = 6, .secrets = &secret, .secrets_count = 1};
    struct admin *admin = admin_new("berlin", &site, timeout_ms, &errs[0]);
    assert_non_null(admin);
    int64_t begun_ms = client_now_ms();
    for (int i = 0; i < 2; i++) { /* librdkafka tells of it once */
        assert_false(admin_cluster_id(admin, id, &brokers_count, &errs[i]));
        assert_int_equal(errs[i].kind, ERR_RETRY);
    }
    int64_t took_ms = client_now_ms() - begun_ms;
    admin_free(admin);
    return took_ms / 2;
}

static void said(const struct err *err, const char *what, const char *hint)
{
    if (strstr(err->what, what) == NULL || strstr(err->hint, hint) == NULL ||
        strstr(err->hint, "User:") != NULL) {
        fail_msg("%s\n%s\nwanted: %s, %s", err->what, err->hint, what, hint);
    }
}

static void test_a_token_endpoint_that_is_away_is_no_refusal(void **state)
{
    struct err errs[2] = {0};
    char where[64];
    int port;
    int fd = listening(&port); /* no: it is bound alone */
    (void)state;
    int64_t took_ms = ask_without_token(port, 2000, errs);
    snprintf(where, sizeof(where), "the token endpoint: 127.0.0.1:%d ", port);
    for (int i = 0; i < 2; i++) {
        said(&errs[i], where, "reachable from this host?");
        assert_false(admin_not_signed_in(&errs[i]));
    }
    said(&errs[1], "does not answer: ", "");
    assert_in_range(took_ms, 1900, 4000); /* it may be back: the whole of the time */
    close(fd);
}

static void test_a_token_endpoint_that_refuses_us_is_one(void **state)
{
    struct err errs[2] = {0};
    pthread_t thread;
    int port;
    int fd = listening(&port);
    (void)state;
    assert_int_equal(0, listen(fd, 5));
    assert_int_equal(0, pthread_create(&thread, NULL, refuse_all, &fd));
    int64_t took_ms = ask_without_token(port, 8000, errs);
    said(&errs[0], "answers HTTP 401, invalid_client", "sasl.oauthbearer.client.secret");
    assert_true(admin_not_signed_in(&errs[0]) && admin_not_signed_in(&errs[1]));
    assert_in_range(took_ms, 0, 4000);
    shutdown(fd, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(fd);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_broker_that_refuses_connections_costs_no_core),
        cmocka_unit_test(test_a_late_report_is_no_answer),
        cmocka_unit_test(test_many_offsets_are_asked_500_a_call),
        cmocka_unit_test(test_what_nobody_polls_is_forgotten),
        cmocka_unit_test(test_a_token_endpoint_that_is_away_is_no_refusal),
        cmocka_unit_test(test_a_token_endpoint_that_refuses_us_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
