/* kafka/path_probe against a scripted broker: what each kind of target is taken for, and what follows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "kafka/batch.h"
#include "kafka/error.h"
#include "kafka/path_probe_inside.h"
#include "tests/fake/answers.h"
#include "tests/fake/broker.h"

#define TOPIC      "ferry.probe.s"
#define TIMEOUT_MS 1500

enum kind {
    HONEST,
    REFUSES_ID,
    IGNORES_SEQUENCE,  /* a gap is appended */
    APPENDS_REPEATS,   /* a repeat is appended once more */
    FORGETS_PRODUCERS, /* DescribeProducers knows of none */
    DENIES_WRITE,
    DENIES_READ,
    SLOW_LEADER, /* the first answer: not leader */
};

struct fixture {
    struct loop *loop;
    struct fake_broker *broker;
    struct metadata_broker list[1];
    struct metadata_partition partition[1];
    struct metadata_topic topic[1];
    struct metadata metadata;
    char servers[64];
    struct config_property properties[1];
    struct config_client client;
    struct cluster *cluster;
    enum kind kind;
    struct path_probe probe;
    /* the log */
    int64_t end;
    int64_t producer_id;
    int32_t last_sequence;
    int32_t asked;
};

static int16_t judge(struct fixture *f, const struct batch *batch, int64_t *out_base)
{
    bool known = f->producer_id == batch->producer_id;
    f->asked++;
    if (f->kind == SLOW_LEADER && f->asked == 1) {
        return KAFKA_NOT_LEADER_OR_FOLLOWER;
    }
    if (f->kind == REFUSES_ID) {
        return KAFKA_INVALID_PRODUCER_ID_MAPPING;
    }
    if (f->kind == DENIES_WRITE) {
        return KAFKA_TOPIC_AUTHORIZATION_FAILED;
    }
    if (known && batch->base_sequence == f->last_sequence && f->kind != APPENDS_REPEATS) {
        *out_base = f->end - 1;
        return KAFKA_NONE;
    }
    if (known && batch->base_sequence != f->last_sequence && f->kind != IGNORES_SEQUENCE) {
        return KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER;
    }
    f->producer_id = batch->producer_id;
    f->last_sequence = batch->base_sequence;
    *out_base = f->end++;
    return KAFKA_NONE;
}

static enum fake_action produce(void *arg, const struct fake_request *request,
                                struct writer *answer)
{
    struct fixture *f = arg;
    struct fake_produce wants[2];
    struct batch batch;
    struct err err;
    assert_int_equal(fake_get_produce(request->body, request->version, wants, 2), 1);
    assert_int_equal(batch_walk(wants[0].records, wants[0].records_len, &batch, &err),
                     BATCH_WALK_ONE);
    assert_true(batch_crc_ok(&batch)); /* a broker looks */
    assert_true(batch.producer_id >= (int64_t)1 << 47);
    struct produce_answer_part part = {
        .topic = fake_text(TOPIC), .topic_id = f->topic[0].id, .base_offset = -1};
    part.error = judge(f, &batch, &part.base_offset);
    const struct produce_answer all = {.parts = &part, .parts_count = 1};
    fake_put_produce(answer, request->version, &all);
    return FAKE_ANSWER;
}

static enum fake_action producers(void *arg, const struct fake_request *request,
                                  struct writer *answer)
{
    struct fixture *f = arg;
    struct producer_state one = {.producer_id = f->producer_id, .last_sequence = f->last_sequence};
    (void)request;
    const struct describe_producers_answer all = {
        .error = f->kind == DENIES_READ ? KAFKA_TOPIC_AUTHORIZATION_FAILED : 0,
        .message = fake_text(NULL),
        .producers = &one,
        .producers_count = f->kind == FORGETS_PRODUCERS || f->kind == DENIES_READ ? 0 : 1};
    fake_put_describe_producers(answer, TOPIC, 0, &all);
    return FAKE_ANSWER;
}

static int start(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    log_set_level(LOG_ERROR);
    f->loop = loop_new(clock_system());
    f->broker = fake_broker_new(f->loop);
    f->producer_id = -1;
    f->list[0] = (struct metadata_broker){
        .id = 7, .host = fake_text("127.0.0.1"), .port = fake_broker_port(f->broker)};
    f->partition[0] = (struct metadata_partition){
        .leader = 7, .leader_epoch = 1, .replicas_count = 1, .in_sync_count = 1};
    f->topic[0] = (struct metadata_topic){
        .name = fake_text(TOPIC), .id = {{5}}, .partitions = f->partition, .partitions_count = 1};
    f->metadata = (struct metadata){.cluster_id = fake_text("c"),
                                    .controller = 7,
                                    .brokers = f->list,
                                    .brokers_count = 1,
                                    .topics = f->topic,
                                    .topics_count = 1};
    fake_broker_metadata(f->broker, &f->metadata);
    fake_broker_on(f->broker, API_PRODUCE, produce, f);
    fake_broker_on(f->broker, API_DESCRIBE_PRODUCERS, producers, f);
    snprintf(f->servers, sizeof(f->servers), "127.0.0.1:%d", fake_broker_port(f->broker));
    f->properties[0] = (struct config_property){.name = "bootstrap.servers", .value = f->servers};
    f->client = (struct config_client){.properties = f->properties, .properties_count = 1};
    const struct cluster_options options = {.name = "b",
                                            .client = &f->client,
                                            .refresh_ms = 200,
                                            .tcp_user_timeout_ms = 1000,
                                            .max_answer_bytes = 1 << 20};
    f->cluster = cluster_new(f->loop, &options);
    *state = f;
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    cluster_free(f->cluster);
    fake_broker_free(f->broker);
    loop_free(f->loop);
    free(f);
    return 0;
}

/* As if the source and librdkafka's producer were well. */
static void probe(struct fixture *f, enum kind kind)
{
    f->kind = kind;
    f->probe.facts[PROBE_SOURCE].word = f->probe.facts[PROBE_IDEMPOTENT].word = PROBE_YES;
    path_probe_wire(f->loop, f->cluster, TOPIC, TIMEOUT_MS, &f->probe);
}

static void assert_result(struct fixture *f, enum config_path wanted, const char *evidence)
{
    enum config_path found;
    char text[PATH_PROBE_TEXT_BYTES];
    assert_true(path_probe_result(&f->probe, &found));
    assert_int_equal(found, wanted);
    assert_non_null(strstr(path_probe_text(&f->probe, text), evidence));
}

static void assert_unknown(struct fixture *f, const char *evidence)
{
    enum config_path found;
    char text[PATH_PROBE_TEXT_BYTES];
    assert_false(path_probe_result(&f->probe, &found));
    assert_non_null(strstr(path_probe_text(&f->probe, text), evidence));
}

static void one_that_does_all_is_for_batches(void **state)
{
    struct fixture *f = *state;
    probe(f, HONEST);
    assert_result(f, PATH_BATCHES, "DescribeProducers tells it");
    assert_int_equal(f->end, 1); /* the repeat was not appended */
}

static void a_leader_that_is_new_at_it_is_asked_again(void **state)
{
    struct fixture *f = *state;
    probe(f, SLOW_LEADER);
    assert_result(f, PATH_BATCHES, "a producer id of Ferry's choosing is taken");
    assert_int_equal(f->asked, 4);
}

static void one_that_refuses_chosen_ids_is_for_records(void **state)
{
    struct fixture *f = *state;
    probe(f, REFUSES_ID);
    assert_result(f, PATH_RECORDS, "refused: INVALID_PRODUCER_ID_MAPPING");
}

static void sequences_must_be_kept(void **state)
{
    struct fixture *f = *state;
    probe(f, IGNORES_SEQUENCE);
    assert_result(f, PATH_RECORDS, "a gap in the sequence is answered with success");
}

static void a_repeat_must_be_known(void **state)
{
    struct fixture *f = *state;
    probe(f, APPENDS_REPEATS);
    assert_result(f, PATH_RECORDS, "sent again is answered with success, offset 1");
}

static void what_stands_there_must_be_told(void **state)
{
    struct fixture *f = *state;
    probe(f, FORGETS_PRODUCERS);
    assert_result(f, PATH_RECORDS, "DescribeProducers does not tell");
}

static void and_be_offered(void **state)
{
    struct fixture *f = *state;
    fake_broker_offer(f->broker, API_DESCRIBE_PRODUCERS, 1, 0);
    probe(f, HONEST);
    assert_result(f, PATH_RECORDS, "does not offer DescribeProducers");
}

static void what_is_denied_is_unknown_by_name(void **state)
{
    struct fixture *f = *state;
    probe(f, DENIES_WRITE);
    assert_unknown(f, "lacks Write on topic 'ferry.probe.s'");
    f->probe = (struct path_probe){0};
    probe(f, DENIES_READ);
    assert_unknown(f, "lacks Read on topic 'ferry.probe.s'");
}

static void a_refusal_decides_whatever_else_is_unknown(void **state)
{
    struct fixture *f = *state;
    probe(f, REFUSES_ID);
    f->probe.facts[PROBE_SOURCE] = (struct probe_fact){.word = PROBE_UNKNOWN};
    assert_result(f, PATH_RECORDS, "refused");
}

static void nobody_answers(void **state)
{
    struct fixture *f = *state;
    fake_broker_listen(f->broker, false);
    fake_broker_drop(f->broker);
    probe(f, HONEST);
    assert_unknown(f, "is not reached");
}

static void the_source_says_by_its_versions(void **state)
{
    struct fixture *f = *state;
    path_probe_source(f->loop, f->cluster, TIMEOUT_MS, &f->probe);
    assert_int_equal(f->probe.facts[PROBE_SOURCE].word, PROBE_YES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_that_does_all_is_for_batches, start, stop),
        cmocka_unit_test_setup_teardown(a_leader_that_is_new_at_it_is_asked_again, start, stop),
        cmocka_unit_test_setup_teardown(one_that_refuses_chosen_ids_is_for_records, start, stop),
        cmocka_unit_test_setup_teardown(sequences_must_be_kept, start, stop),
        cmocka_unit_test_setup_teardown(a_repeat_must_be_known, start, stop),
        cmocka_unit_test_setup_teardown(what_stands_there_must_be_told, start, stop),
        cmocka_unit_test_setup_teardown(and_be_offered, start, stop),
        cmocka_unit_test_setup_teardown(what_is_denied_is_unknown_by_name, start, stop),
        cmocka_unit_test_setup_teardown(a_refusal_decides_whatever_else_is_unknown, start, stop),
        cmocka_unit_test_setup_teardown(nobody_answers, start, stop),
        cmocka_unit_test_setup_teardown(the_source_says_by_its_versions, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
