/* kafka/control_reader against librdkafka's own cluster: what a leader says for a moment is asked again, what it says for good is
 * told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "base/log.h"
#include "kafka/admin_inside.h"
#include "kafka/control.h"

#define TOPIC   "ferry.control.s"
#define READ_MS 10000

struct fixture {
    rd_kafka_t *rk; /* the cluster's, and who writes */
    rd_kafka_mock_cluster_t *cluster;
    struct config_property properties[1];
    struct config_client client;
};

/* --- what the leader says of its end; that cluster knows no topic ids ---------------------------------------------------- */

static struct {
    int16_t code; /* so often */
    int times;
    int asked;
    int64_t end;
} leader;

struct admin *admin_new(const char *site, const struct config_client *settings, int32_t timeout_ms,
                        struct err *err)
{
    struct admin *admin = calloc(1, sizeof(*admin));
    (void)site;
    (void)err;
    admin->settings = settings;
    admin->timeout_ms = timeout_ms;
    return admin;
}
void admin_free(struct admin *admin)
{
    free(admin);
}
bool admin_cluster_id(struct admin *admin, char out[64], int32_t *out_brokers_count,
                      struct err *err)
{
    (void)admin;
    (void)err;
    out[0] = '\0';
    *out_brokers_count = 1;
    return true;
}
bool admin_describe_topic(struct admin *admin, const char *topic, struct admin_topic *out,
                          struct err *err)
{
    (void)admin;
    (void)err;
    assert_string_equal(topic, TOPIC);
    *out = (struct admin_topic){.name = TOPIC, .id = {{1}}, .partitions_count = 1};
    return true;
}
bool admin_list_offsets(struct admin *admin, enum admin_offset_spec spec,
                        struct admin_offset *offsets, size_t count, struct err *err)
{
    (void)admin;
    (void)err;
    assert_int_equal(count, 1);
    bool ends = spec == OFFSET_SPEC_STABLE;
    leader.asked += ends;
    offsets->error = ends && leader.asked <= leader.times ? leader.code : 0;
    offsets->offset = !ends ? 0 : offsets->error == 0 ? leader.end : -1;
    return true;
}
bool admin_create_topic(struct admin *admin, const char *topic, int32_t partitions_count,
                        int32_t replication_factor, const char *const *settings, struct err *err)
{
    (void)admin;
    (void)topic;
    (void)partitions_count;
    (void)replication_factor;
    (void)settings;
    (void)err;
    fail_msg("a topic that is there is not made");
    return false;
}
bool admin_may_make_topic(struct admin *admin, const char *topic, int32_t partitions_count,
                          int32_t replication_factor, const char *const *settings, struct err *err)
{
    return admin_create_topic(admin, topic, partitions_count, replication_factor, settings, err);
}

static void says(int16_t code, int times)
{
    leader.code = code;
    leader.times = times;
    leader.asked = 0;
}

/* --- the topic ------------------------------------------------------------------------------------------------------------- */

static void append(struct fixture *f, const char *key, const char *value)
{
    rd_kafka_resp_err_t code =
        rd_kafka_producev(f->rk, RD_KAFKA_V_TOPIC(TOPIC), RD_KAFKA_V_PARTITION(0),
                          RD_KAFKA_V_KEY((void *)(uintptr_t)key, strlen(key)),
                          RD_KAFKA_V_VALUE((void *)(uintptr_t)value, strlen(value)),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    assert_int_equal(code, RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_flush(f->rk, READ_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
}

static int start(void **state)
{
    char why[200];
    struct fixture *f = calloc(1, sizeof(*f));
    log_set_level(LOG_ERROR);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", why, sizeof(why)),
                     RD_KAFKA_CONF_OK);
    f->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    f->cluster = rd_kafka_handle_mock_cluster(f->rk);
    assert_int_equal(rd_kafka_mock_topic_create(f->cluster, TOPIC, 1, 1), 0);
    f->properties[0] = (struct config_property){
        .name = "bootstrap.servers",
        .value = (char *)(uintptr_t)rd_kafka_mock_cluster_bootstraps(f->cluster)};
    f->client = (struct config_client){.properties = f->properties, .properties_count = 1};
    leader.end = 1;
    append(f, "role", "{\"epoch\": 3, \"primary\": \"b\"}");
    *state = f;
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    rd_kafka_destroy(f->rk);
    free(f);
    return 0;
}

static void assert_read(struct fixture *f)
{
    struct err err = {0};
    struct control_state *state = control_read(&f->client, "s", READ_MS, &err);
    if (state == NULL) {
        fail_msg("%d: %s", err.code, err.what);
    }
    assert_int_equal(state->role_epoch, 3);
    assert_string_equal(state->primary, "b");
    control_state_free(state);
}

/* The epoch that we know is older, or newer, than the one of a leader that has just begun; its high watermark is not known yet. */
static void a_leader_that_settles_is_asked_again(void **state)
{
    static const int16_t codes[] = {
        RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,    RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
        RD_KAFKA_RESP_ERR_NOT_LEADER_OR_FOLLOWER, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        says(codes[i], 3);
        assert_read(f);
        assert_int_equal(leader.asked, 4);
    }
}

static void one_that_never_does_is_told_in_time(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    int64_t began_ms = clock_now_ms(clock_system());
    says(RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH, 1000);
    assert_null(control_read(&f->client, "s", 1000, &err));
    assert_in_range(clock_now_ms(clock_system()) - began_ms, 800, 3000);
    assert_int_equal(err.code, RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH);
    assert_in_range(leader.asked, 3, 11);
}

static void what_a_leader_says_for_good_is_told_at_once(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    says(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1);
    assert_null(control_read(&f->client, "s", READ_MS, &err));
    assert_int_equal(err.code, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    assert_int_equal(leader.asked, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_leader_that_settles_is_asked_again),
        TEST(one_that_never_does_is_told_in_time),
        TEST(what_a_leader_says_for_good_is_told_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
