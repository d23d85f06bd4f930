/* kafka/control_single against librdkafka's own cluster: answers that come late, and what they may not be taken for. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "base/log.h"
#include "kafka/admin.h"
#include "kafka/client.h"
#include "kafka/control_single.h"

#define TOPIC        "ferry.control.s"
#define CALL_MS      10000
#define API_PRODUCE  0
#define API_LIST_OFF 2
#define LATE_MS      1500
#define SHORT_MS     500

struct fixture {
    rd_kafka_t *rk; /* the cluster's, and somebody else who writes */
    rd_kafka_mock_cluster_t *cluster;
    struct config_property properties[1];
    struct config_client client;
    struct control_single *single;
};

static int start(void **state)
{
    char why[200];
    struct err err = {0};
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
    f->client = (struct config_client){
        .properties = f->properties, .properties_count = 1, .single_writer = true};
    f->single = control_single_new(&f->client, TOPIC, &err);
    if (f->single == NULL) {
        fail_msg("%s", err.what);
    }
    assert_true(control_single_begin(f->single, client_now_ms() + CALL_MS, &err));
    *state = f;
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    control_single_free(f->single);
    rd_kafka_destroy(f->rk);
    free(f);
    return 0;
}

static void late(struct fixture *f, int16_t api, rd_kafka_resp_err_t code)
{
    rd_kafka_mock_broker_push_request_error_rtts(f->cluster, 1, api, 1, code, LATE_MS);
}

static bool write_one(struct fixture *f, const char *value, int64_t within_ms, struct err *err)
{
    const struct control_record record = {.key = "role", .value = value};
    *err = (struct err){0};
    return control_single_write(f->single, &record, 1, client_now_ms() + within_ms, err);
}

static void assert_written(struct fixture *f, const char *value)
{
    struct err err;
    if (!write_one(f, value, CALL_MS, &err)) {
        fail_msg("%s: %s", value, err.what);
    }
}

static void assert_end(struct fixture *f, int64_t wanted)
{
    struct err err = {0};
    struct admin_offset offset = {.topic = TOPIC, .partition = 0};
    struct admin *admin = admin_new("b", &f->client, CALL_MS, &err);
    assert_non_null(admin);
    assert_true(admin_list_offsets(admin, OFFSET_SPEC_LATEST, &offset, 1, &err));
    admin_free(admin);
    assert_int_equal(offset.offset, wanted);
}

/* The report of the write before comes while the next one asks for the end: it is neither that answer nor this write's report. */
static void a_late_answer_is_nobody_elses(void **state)
{
    struct fixture *f = *state;
    struct err err;
    assert_written(f, "1");
    for (int64_t end = 2; end < 6; end += 2) {
        late(f, API_PRODUCE, RD_KAFKA_RESP_ERR_NO_ERROR);
        assert_false(write_one(f, "2", SHORT_MS, &err));
        assert_int_equal(err.kind, ERR_RETRY);
        assert_true(control_single_unsure(f->single));
        late(f, API_LIST_OFF, RD_KAFKA_RESP_ERR_NO_ERROR);
        assert_written(f, "3");
        assert_end(f, end + 1);
    }
}

/* What is on its way still is waited for; nothing is sent behind it that could be taken for it. */
static void nothing_is_sent_behind_one_that_is_on_its_way(void **state)
{
    struct fixture *f = *state;
    struct err err;
    assert_written(f, "1");
    late(f, API_PRODUCE, RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_false(write_one(f, "2", SHORT_MS, &err));
    assert_false(write_one(f, "3", 1, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_true(control_single_unsure(f->single));
    assert_end(f, 2);
    assert_written(f, "3");
    assert_end(f, 3);
}

/* --- what librdkafka sends again ------------------------------------------------------------------------------------- */

struct other {
    struct fixture *f;
    const char *value;
    int times;
};

static void append(struct fixture *f, const char *value)
{
    rd_kafka_resp_err_t code = rd_kafka_producev(
        f->rk, RD_KAFKA_V_TOPIC(TOPIC), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY("role", 4),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)value, strlen(value)),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    assert_int_equal(code, RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_flush(f->rk, CALL_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
}

/* While our own Produce is on its way. */
static void *append_meanwhile(void *arg)
{
    const struct other *other = arg;
    const struct timespec wait = {.tv_nsec = SHORT_MS * 1000000L};
    nanosleep(&wait, NULL);
    for (int i = 0; i < other->times; i++) {
        append(other->f, other->value);
    }
    return NULL;
}

/* "duplicate", and no offset: the answer to what was sent again. What stands there by then: `value`, so often. */
static bool write_answered_as_duplicate(struct fixture *f, const char *value, int times,
                                        struct err *err)
{
    pthread_t thread;
    struct other other = {.f = f, .value = value, .times = times};
    late(f, API_PRODUCE, RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER);
    assert_int_equal(pthread_create(&thread, NULL, append_meanwhile, &other), 0);
    bool ok = write_one(f, "2", CALL_MS, err);
    pthread_join(thread, NULL);
    return ok;
}

static void what_was_sent_again_is_ours(void **state)
{
    struct fixture *f = *state;
    struct err err;
    assert_written(f, "1");
    assert_true(write_answered_as_duplicate(f, "2", 1, &err));
    assert_written(f, "3");
    assert_true(write_answered_as_duplicate(f, "2", 2, &err)); /* without idempotence: twice */
    assert_written(f, "3");
    assert_end(f, 6);
}

static void somebody_elses_is_told(void **state)
{
    struct fixture *f = *state;
    struct err err;
    assert_written(f, "1");
    assert_false(write_answered_as_duplicate(f, "other", 1, &err));
    assert_int_equal(err.kind, ERR_FATAL);
}

static void nor_is_it_there_with_nothing(void **state)
{
    struct fixture *f = *state;
    struct err err;
    assert_written(f, "1");
    assert_false(write_answered_as_duplicate(f, "", 0, &err));
    assert_int_equal(err.kind, ERR_FATAL);
}

/* One that was not answered, and as many records as it had: those of somebody else. */
static void a_number_alone_is_no_proof(void **state)
{
    struct fixture *f = *state;
    struct err err;
    assert_written(f, "1");
    late(f, API_PRODUCE, RD_KAFKA_RESP_ERR_INVALID_RECORD); /* not appended */
    assert_false(write_one(f, "2", SHORT_MS, &err));
    append(f, "other");
    assert_false(write_one(f, "3", CALL_MS, &err));
    assert_int_equal(err.kind, ERR_FATAL);
    assert_end(f, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_late_answer_is_nobody_elses, start, stop),
        cmocka_unit_test_setup_teardown(nothing_is_sent_behind_one_that_is_on_its_way, start, stop),
        cmocka_unit_test_setup_teardown(what_was_sent_again_is_ours, start, stop),
        cmocka_unit_test_setup_teardown(somebody_elses_is_told, start, stop),
        cmocka_unit_test_setup_teardown(nor_is_it_there_with_nothing, start, stop),
        cmocka_unit_test_setup_teardown(a_number_alone_is_no_proof, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
