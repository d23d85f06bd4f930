/* kafka/client: a broker that refuses connections costs no core, and is found again when it is back. kafka/admin: what it did
 * not answer is no offset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

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

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_broker_that_refuses_connections_costs_no_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
