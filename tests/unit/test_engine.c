/* mirror/engine against scripted brokers: what a broker leaves out, and answers that no honest one gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "mirror/engine.h"
#include "tests/fake/answers.h"
#include "tests/fake/broker.h"

#define PATIENCE_MS      5000
#define ANSWER_BYTES_MAX (1 << 20)

struct site {
    struct fake_broker *broker;
    struct metadata_broker list;
    struct metadata_partition partition;
    struct metadata_topic topic;
    char servers[64];
    struct config_property properties[3];
    struct config_client client;
    struct cluster *cluster;
};

struct fixture {
    struct loop *loop;
    struct buf_pool *pool;
    struct config_limits limits;
    struct site source;
    struct site target;
    struct engine *engine;
    struct task *task;
    bool waits;
    bool stalled;
    bool resumed;
    enum resume_need how;
    struct err why;
    struct fetch_partition *fetched; /* the source's answer to Fetch */
    int32_t fetched_count;
};

/* --- two clusters of one broker each ------------------------------------------------------------------------------ */

static enum fake_action list_offsets(void *arg, const struct fake_request *request,
                                     struct writer *answer)
{
    struct list_offsets_part part = {.topic = fake_text("orders"), .leader_epoch = -1};
    struct list_offsets_answer all = {&part, 1};

    (void)arg;
    (void)request;
    fake_put_list_offsets(answer, &all);
    return FAKE_ANSWER;
}

static enum fake_action describe_producers(void *arg, const struct fake_request *request,
                                           struct writer *answer)
{
    struct describe_producers_answer none = {.message = fake_text(NULL)};

    (void)arg;
    (void)request;
    fake_put_describe_producers(answer, "orders", 0, &none);
    return FAKE_ANSWER;
}

static void open_site(struct fixture *f, struct site *site, const char *name, uint8_t topic_id)
{
    site->broker = fake_broker_new(f->loop);
    site->list = (struct metadata_broker){
        .id = 1, .host = fake_text("127.0.0.1"), .port = fake_broker_port(site->broker)};
    site->partition = (struct metadata_partition){.index = 0, .leader = 1, .leader_epoch = 3};
    site->topic = (struct metadata_topic){.name = fake_text("orders"),
                                          .id = {{topic_id}},
                                          .partitions = &site->partition,
                                          .partitions_count = 1};
    struct metadata metadata = {.cluster_id = fake_text(name),
                                .controller = 1,
                                .brokers = &site->list,
                                .brokers_count = 1,
                                .topics = &site->topic,
                                .topics_count = 1};
    fake_broker_metadata(site->broker, &metadata);
    fake_broker_on(site->broker, API_LIST_OFFSETS, list_offsets, f);
    fake_broker_on(site->broker, API_DESCRIBE_PRODUCERS, describe_producers, f);
    snprintf(site->servers, sizeof(site->servers), "127.0.0.1:%d", fake_broker_port(site->broker));
    site->properties[0] = (struct config_property){"bootstrap.servers", site->servers};
    site->properties[1] = (struct config_property){"reconnect.backoff.ms", "20"};
    site->properties[2] = (struct config_property){"reconnect.backoff.max.ms", "400"};
    site->client = (struct config_client){.properties = site->properties, .properties_count = 3};
    struct cluster_options options = {.name = name,
                                      .client = &site->client,
                                      .pool = f->pool,
                                      .refresh_ms = 2000,
                                      .tcp_user_timeout_ms = 3000,
                                      .max_answer_bytes = ANSWER_BYTES_MAX};
    site->cluster = cluster_new(f->loop, &options);
}

/* --- the link's part ---------------------------------------------------------------------------------------------- */

static bool on_may_send(void *arg)
{
    (void)arg;
    return true;
}

static void on_load(void *arg, struct task *task)
{
    struct fixture *f = arg;
    struct task_stored stored = {.redis_found = CHECKPOINT_NONE, .group_found = CHECKPOINT_NONE};
    engine_loaded(f->engine, task, &stored);
}

static void on_resumed(void *arg, struct task *task, const struct resume *resume,
                       enum resume_need how)
{
    struct fixture *f = arg;
    (void)task;
    f->resumed = true;
    f->how = how;
    f->why = resume->err;
}

static void on_waits(void *arg, struct task *task, const struct err *why, bool stalled)
{
    struct fixture *f = arg;
    (void)task;
    f->waits = true;
    f->stalled = stalled;
    f->why = *why;
}

static void on_ack(void *arg, struct task *task, const struct ack *ack)
{
    (void)arg;
    (void)task;
    (void)ack;
}

static void on_doubt(void *arg, struct task *task, const struct err *why)
{
    struct fixture *f = arg;
    (void)task;
    f->why = *why;
}

static void on_fault(void *arg, struct task *task, enum resume_fault kind, int64_t source_from,
                     int64_t source_to, const struct err *why)
{
    struct fixture *f = arg;
    (void)task;
    (void)kind;
    (void)source_from;
    (void)source_to;
    f->why = *why;
}

static void on_drained(void *arg, struct task *task)
{
    (void)arg;
    (void)task;
}

static void on_change(void *arg)
{
    struct fixture *f = arg;
    if (f->engine != NULL) {
        engine_metadata(f->engine);
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    log_set_level(LOG_ERROR);
    f->loop = loop_new(clock_system());
    f->pool = buf_pool_new(1 << 20);
    f->limits = (struct config_limits){.partition_window_bytes = 4 << 20,
                                       .link_window_bytes = 128 << 20,
                                       .fetch_bytes = 4 << 20,
                                       .partition_fetch_bytes = 1 << 20,
                                       .resume_read_bytes = 1 << 30,
                                       .produce_timeout_ms = 2000,
                                       .session_timeout_ms = 10000,
                                       .tcp_user_timeout_ms = 3000,
                                       .connections_per_broker = 2};
    open_site(f, &f->source, "cluster-a", 7);
    open_site(f, &f->target, "cluster-b", 8);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->engine != NULL) {
        engine_detach(f->engine);
    }
    cluster_free(f->source.cluster);
    cluster_free(f->target.cluster);
    engine_free(f->engine);
    fake_broker_free(f->source.broker);
    fake_broker_free(f->target.broker);
    loop_free(f->loop);
    buf_pool_free(f->pool);
    free(f);
    return 0;
}

static void run_until(struct fixture *f, const bool *flag)
{
    assert_true(fake_run_until(f->loop, flag, PATIENCE_MS));
}

/* An engine with one partition that looks for its position. */
static void begin(struct fixture *f)
{
    const struct engine_callbacks callbacks = {.may_send = on_may_send,
                                               .load = on_load,
                                               .resumed = on_resumed,
                                               .waits = on_waits,
                                               .ack = on_ack,
                                               .doubt = on_doubt,
                                               .fault = on_fault,
                                               .drained = on_drained,
                                               .arg = f};
    const struct engine_options options = {
        .limits = &f->limits, .id_deployment = "test", .id_service = "orders", .merge = true};
    const struct resume_options resume = {
        .start = START_EARLIEST, .adopt_end = -1, .read_bytes = 1 << 30};

    f->engine =
        batches_new(f->loop, f->source.cluster, f->target.cluster, f->pool, &options, &callbacks);
    cluster_on_change(f->source.cluster, on_change, f);
    cluster_on_change(f->target.cluster, on_change, f);
    while (cluster_topic(f->source.cluster, "orders") == NULL ||
           cluster_topic(f->target.cluster, "orders") == NULL) {
        loop_run_once(f->loop, 10);
    }
    f->task = engine_add(f->engine, "orders", 0, &f->source.topic.id, &f->target.topic.id, f);
    engine_resume(f->engine, f->task, &resume);
}

/* --- what a broker leaves out ------------------------------------------------------------------------------------- */

static void it_finds_its_position(void **state)
{
    struct fixture *f = *state;

    begin(f);
    run_until(f, &f->resumed);
    assert_int_equal(f->how, RESUME_DONE);
}

static void a_source_without_an_api_is_named(void **state)
{
    struct fixture *f = *state;

    fake_broker_offer(f->source.broker, API_LIST_OFFSETS, 1, 0);
    begin(f);
    run_until(f, &f->waits);
    assert_true(f->stalled);
    assert_int_equal(f->why.kind, ERR_REFUSED);
    assert_non_null(strstr(f->why.what, "ListOffsets 4"));
    assert_non_null(strstr(f->why.what, f->source.servers));
}

static void a_target_without_an_api_is_named(void **state)
{
    struct fixture *f = *state;

    fake_broker_offer(f->target.broker, API_DESCRIBE_PRODUCERS, 1, 0);
    begin(f);
    run_until(f, &f->waits);
    assert_int_equal(f->why.kind, ERR_REFUSED);
    assert_non_null(strstr(f->why.what, "DescribeProducers"));
    assert_non_null(strstr(f->why.what, f->target.servers));
}

/* --- answers that no honest broker gives -------------------------------------------------------------------------- */

static enum fake_action fetch(void *arg, const struct fake_request *request, struct writer *answer)
{
    const struct fixture *f = arg;
    struct fetch_answer all = {.partitions = f->fetched, .partitions_count = f->fetched_count};

    fake_put_fetch(answer, request->version, &all);
    return FAKE_ANSWER;
}

/* Each would be looked for among all that were asked for. */
static void an_answer_of_more_than_was_asked_for_costs_the_connection(void **state)
{
    struct fixture *f = *state;
    struct fetch_partition other = {.topic_id = {{9}}, .last_stable_offset = -1};
    struct fetch_partition fetched[2] = {other, other};

    f->fetched = fetched;
    f->fetched_count = 1;
    fake_broker_on(f->source.broker, API_FETCH, fetch, f);
    begin(f);
    run_until(f, &f->resumed);
    engine_start(f->engine, f->task);
    while (engine_counters(f->engine)->fetches < 3) {
        loop_run_once(f->loop, 10);
    }
    int32_t accepted = fake_broker_accepted(f->source.broker);
    fake_run_for(f->loop, 100);
    assert_int_equal(fake_broker_accepted(f->source.broker), accepted);
    f->fetched_count = 2;
    fake_run_for(f->loop, 300);
    assert_true(fake_broker_accepted(f->source.broker) > accepted);
}

static enum fake_action fetch_too_much(void *arg, const struct fake_request *request,
                                       struct writer *answer)
{
    static const uint8_t bytes[ANSWER_BYTES_MAX + 1];

    (void)arg;
    (void)request;
    writer_bytes(answer, bytes, sizeof(bytes));
    return FAKE_ANSWER;
}

/* A batch larger than an answer may be: the same again each time, at a pace that hurts nobody. */
static void a_batch_that_is_too_large_is_asked_for_ever_more_rarely(void **state)
{
    struct fixture *f = *state;

    fake_broker_on(f->source.broker, API_FETCH, fetch_too_much, NULL);
    begin(f);
    run_until(f, &f->resumed);
    engine_start(f->engine, f->task);
    fake_run_for(f->loop, 300);
    int32_t early = fake_broker_requests(f->source.broker, API_FETCH);
    assert_non_null(strstr(task_trouble(f->task), "are taken"));
    fake_run_for(f->loop, 1200); /* the cap is 400 ms */
    int32_t late = fake_broker_requests(f->source.broker, API_FETCH) - early;
    assert_true(early >= 2 && late <= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_finds_its_position, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_source_without_an_api_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_target_without_an_api_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_of_more_than_was_asked_for_costs_the_connection,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_that_is_too_large_is_asked_for_ever_more_rarely,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
