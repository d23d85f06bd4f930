/* mirror/engine against scripted brokers: what a broker leaves out, and answers that no honest one gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kafka/topic_id.h"
#include "mirror/engine.h"
#include "mirror/engine_inside.h"
#include "tests/fake/answers.h"
#include "tests/fake/batches.h"
#include "tests/fake/broker.h"
#include "tests/fake/turns.h"

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
    int32_t resumed_count;
    bool starts; /* whoever has its position, at once */
    int32_t started_count;
    enum resume_need how;
    struct err why;
    struct fetch_partition *fetched; /* the source's answer to Fetch */
    int32_t fetched_count;
    /* over the path `records` */
    bool records;
    int32_t doubts_count;
    struct writer log; /* the source's: batches of one record */
    int64_t ids_from;  /* the target gives out these */
    int16_t ids_error; /* or this */
    int16_t ids_epoch;
    int16_t produce_error; /* once */
    int64_t moved[2];      /* so far from where it belongs the first batch goes, and the second */
    int64_t listed_end;    /* of the target, as it tells */
    bool silent;           /* the target answers no Produce */
    bool passed;           /* the source's log ends before what is asked for next */
    int64_t acked_next;    /* source offset */
    struct batch taken[8]; /* the headers that came to the target */
    int32_t taken_count;
    int64_t target_end;
    /* over the path `batches` */
    struct writer kept; /* the newest batch that came to the target */
    enum { READ_BACK, READ_BACK_LOST, READ_BACK_OTHER, READ_BACK_DRAINED } read_back;
};

/* --- two clusters of one broker each ------------------------------------------------------------------------------ */

static enum fake_action list_offsets(void *arg, const struct fake_request *request,
                                     struct writer *answer)
{
    const struct fixture *f = arg;
    struct list_offsets_part part = {
        .topic = fake_text("orders"), .offset = f->listed_end, .leader_epoch = -1};
    struct list_offsets_answer all = {&part, 1};

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
    f->resumed = true;
    f->resumed_count++;
    f->how = how;
    f->why = resume->err;
    if (f->starts) {
        engine_start(f->engine, task);
        f->started_count++;
    }
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
    struct fixture *f = arg;
    (void)task;
    f->acked_next = ack->at.source_next;
}

static void on_doubt(void *arg, struct task *task, const struct err *why)
{
    struct fixture *f = arg;
    (void)task;
    f->doubts_count++;
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
    struct fixture *f = arg;
    engine_remove(f->engine, task);
    f->task = NULL;
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
    writer_init(&f->log);
    writer_init(&f->kept);
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
    writer_done(&f->log);
    writer_done(&f->kept);
    free(f);
    return 0;
}

static void run_until(struct fixture *f, const bool *flag)
{
    assert_true(fake_run_until(f->loop, flag, PATIENCE_MS));
}

static void find_position_of(struct fixture *f, struct task *task)
{
    const struct resume_options resume = {
        .start = START_EARLIEST, .adopt_end = -1, .read_bytes = 1 << 30};
    f->resumed = false;
    engine_resume(f->engine, task, &resume);
}

static void find_position(struct fixture *f)
{
    find_position_of(f, f->task);
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
    const struct engine_options options = {.limits = &f->limits,
                                           .id_deployment = "test",
                                           .id_service = "orders",
                                           .merge = !f->records,
                                           .records = f->records};

    f->engine =
        engine_new(f->loop, f->source.cluster, f->target.cluster, f->pool, &options, &callbacks);
    cluster_on_change(f->source.cluster, on_change, f);
    cluster_on_change(f->target.cluster, on_change, f);
    while (cluster_topic(f->source.cluster, "orders") == NULL ||
           cluster_topic(f->target.cluster, "orders") == NULL) {
        loop_run_once(f->loop, 10);
    }
    f->task = engine_add(f->engine, "orders", 0, &f->source.topic.id, &f->target.topic.id, f);
    find_position(f);
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

/* --- thousands at once --------------------------------------------------------------------------------------------- */

#define CROWD   1000
#define AT_ONCE 256

static void begin_crowd(struct fixture *f)
{
    for (int i = 0; i < CROWD; i++) {
        struct task *task =
            engine_add(f->engine, "orders", 0, &f->source.topic.id, &f->target.topic.id, f);
        find_position_of(f, task);
    }
}

/* Else the last of ten thousand were answered after their time limit, and metadata, over the same connection, after its own. */
static void not_all_of_a_crowd_ask_at_once(void **state)
{
    struct fixture *f = *state;

    begin(f);
    run_until(f, &f->resumed);
    f->resumed_count = 0;
    int32_t before = fake_broker_requests(f->source.broker, API_LIST_OFFSETS);
    fake_broker_faults(f->source.broker)->delay_ms = 200;
    begin_crowd(f);
    turn_for(f->loop, 100);
    assert_int_equal(fake_broker_requests(f->source.broker, API_LIST_OFFSETS) - before, AT_ONCE);
    fake_broker_faults(f->source.broker)->delay_ms = 0;
    TURN_UNTIL(f->loop, PATIENCE_MS, f->resumed_count == CROWD);
    assert_false(f->waits);
}

/* Those that had not asked yet look for the leader again; who had, is told. */
static void a_crowd_goes_on_over_a_new_connection(void **state)
{
    struct fixture *f = *state;

    begin(f);
    run_until(f, &f->resumed);
    f->resumed_count = 0;
    fake_broker_faults(f->source.broker)->silent = true;
    begin_crowd(f);
    turn_for(f->loop, 100);
    fake_broker_faults(f->source.broker)->silent = false;
    fake_broker_drop(f->source.broker);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->resumed_count == CROWD - AT_ONCE);
    assert_true(f->waits);
}

/* Who goes while it waits for its turn takes no other's. */
static void who_goes_leaves_the_queue(void **state)
{
    struct fixture *f = *state;
    struct task *tasks[AT_ONCE + 3];
    int count = (int)(sizeof(tasks) / sizeof(tasks[0]));

    begin(f);
    run_until(f, &f->resumed);
    f->resumed_count = 0;
    fake_broker_faults(f->source.broker)->delay_ms = 100;
    for (int i = 0; i < count; i++) {
        tasks[i] = engine_add(f->engine, "orders", 0, &f->source.topic.id, &f->target.topic.id, f);
        find_position_of(f, tasks[i]);
    }
    engine_remove(f->engine, tasks[count - 2]);
    engine_remove(f->engine, tasks[0]); /* asks already */
    fake_broker_faults(f->source.broker)->delay_ms = 0;
    TURN_UNTIL(f->loop, PATIENCE_MS, f->resumed_count == count - 2);
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

static enum fake_action fetch_nothing(void *arg, const struct fake_request *request,
                                      struct writer *answer)
{
    const struct fetch_answer none = {.error = KAFKA_NONE};

    (void)arg;
    fake_put_fetch(answer, request->version, &none);
    return FAKE_ANSWER;
}

/* Each Fetch costs a broker a look at every partition: 1,000 of them every 20 ms at most, while little comes. */
static void a_source_is_not_asked_for_thousands_without_a_pause(void **state)
{
    struct fixture *f = *state;

    fake_broker_on(f->source.broker, API_FETCH, fetch_nothing, NULL);
    begin(f);
    run_until(f, &f->resumed);
    engine_start(f->engine, f->task);
    turn_for(f->loop, 200);
    assert_true(fake_broker_requests(f->source.broker, API_FETCH) > 20); /* one is nothing */
    begin_crowd(f);
    f->starts = true;
    TURN_UNTIL(f->loop, PATIENCE_MS, f->started_count == CROWD);
    turn_for(f->loop, 100);
    int32_t before = fake_broker_requests(f->source.broker, API_FETCH);
    turn_for(f->loop, 1000);
    assert_in_range(fake_broker_requests(f->source.broker, API_FETCH) - before, 5, 51);
}

/* --- the path `records`: whose its batches are -------------------------------------------------------------------- */

static enum fake_action fetch_log(void *arg, const struct fake_request *request,
                                  struct writer *answer)
{
    struct fixture *f = arg;
    struct fake_fetch want = {0};
    assert_int_equal(fake_get_fetch(request->body, request->version, &want, 1), 1);
    const uint8_t *data = f->log.data;
    size_t left = f->log.len;
    struct batch batch;
    while (left > 0 && batch_walk(data, left, &batch, NULL) == BATCH_WALK_ONE &&
           batch.base_offset < want.offset) {
        data += batch.len;
        left -= batch.len;
    }
    struct fetch_partition part = {.topic = fake_text("orders"),
                                   .topic_id = f->source.topic.id,
                                   .error = f->passed && left == 0 ? KAFKA_OFFSET_OUT_OF_RANGE
                                                                   : KAFKA_NONE,
                                   .high_watermark = 100,
                                   .last_stable_offset = 100,
                                   .records = data,
                                   .records_len = left};
    struct fetch_answer all = {.partitions = &part, .partitions_count = 1};
    fake_put_fetch(answer, request->version, &all);
    return FAKE_ANSWER;
}

/* The log begins at 10: the core counts from there, the broker from 0. */
static enum fake_action list_log(void *arg, const struct fake_request *request,
                                 struct writer *answer)
{
    struct list_offsets_part part = {
        .topic = fake_text("orders"), .offset = 10, .leader_epoch = -1};
    struct list_offsets_answer all = {&part, 1};

    (void)arg;
    (void)request;
    fake_put_list_offsets(answer, &all);
    return FAKE_ANSWER;
}

static enum fake_action init_producer_id(void *arg, const struct fake_request *request,
                                         struct writer *answer)
{
    struct fixture *f = arg;
    (void)request;
    struct init_producer_id_answer given = {.error = f->ids_error,
                                            .producer_id = f->ids_error ? -1 : f->ids_from++,
                                            .producer_epoch = f->ids_error ? -1 : f->ids_epoch};
    fake_put_init_producer_id(answer, &given);
    return FAKE_ANSWER;
}

static enum fake_action produce(void *arg, const struct fake_request *request,
                                struct writer *answer)
{
    struct fixture *f = arg;
    struct fake_produce part = {0};
    struct err err;
    assert_int_equal(fake_get_produce(request->body, request->version, &part, 1), 1);
    int64_t moved = f->taken_count < 2 ? f->moved[f->taken_count] : 0;
    struct batch *batch = &f->taken[f->taken_count++];
    assert_int_equal(batch_walk(part.records, part.records_len, batch, &err), BATCH_WALK_ONE);
    assert_true(batch_crc_ok(batch));
    writer_done(&f->kept);
    writer_init(&f->kept);
    writer_bytes(&f->kept, part.records, part.records_len);
    struct produce_answer_part one = {.topic = fake_text("orders"),
                                      .topic_id = part.topic_id,
                                      .error = f->produce_error,
                                      .base_offset = f->produce_error ? -1 : f->target_end + moved,
                                      .message = fake_text(NULL)};
    struct produce_answer all = {.parts = &one, .parts_count = 1};
    f->target_end += f->produce_error ? 0 : batch->count;
    f->produce_error = KAFKA_NONE;
    fake_put_produce(answer, request->version, &all);
    if (f->read_back ==
        READ_BACK_DRAINED) { /* long before it is answered: nothing is fetched any more */
        engine_drain(f->engine, f->task);
    }
    return f->silent ? FAKE_SILENT : FAKE_ANSWER;
}

static void begin_records(struct fixture *f)
{
    f->records = true;
    f->ids_from = 4711;
    fake_batch_plain(&f->log, 10, 3, 10, CODEC_LZ4);
    fake_batch_plain(&f->log, 13, 2, 10, CODEC_NONE);
    fake_broker_on(f->source.broker, API_LIST_OFFSETS, list_log, f);
    fake_broker_on(f->source.broker, API_FETCH, fetch_log, f);
    fake_broker_on(f->target.broker, API_INIT_PRODUCER_ID, init_producer_id, f);
    fake_broker_on(f->target.broker, API_PRODUCE, produce, f);
    begin(f);
    run_until(f, &f->resumed);
    assert_int_equal(f->how, RESUME_DONE);
    engine_start(f->engine, f->task);
}

static void assert_header(const struct batch *batch, int64_t id, int16_t epoch, int32_t sequence)
{
    assert_int_equal(batch->producer_id, id);
    assert_int_equal(batch->producer_epoch, epoch);
    assert_int_equal(batch->base_sequence, sequence);
}

static void batches_go_under_an_id_that_the_target_gave(void **state)
{
    struct fixture *f = *state;

    begin_records(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 2);
    assert_header(&f->taken[0], 4711, 0, 0);
    assert_header(&f->taken[1], 4711, 0, 3);
    assert_int_equal(fake_broker_requests(f->target.broker, API_INIT_PRODUCER_ID), 1);
    assert_int_equal(fake_broker_requests(f->target.broker, API_DESCRIBE_PRODUCERS), 0);
}

/* The broker guards them still: what it has of the lost connection is told from what comes now. */
static void after_a_lost_connection_they_go_on_under_it(void **state)
{
    struct fixture *f = *state;

    f->silent = true;
    begin_records(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 1);
    f->silent = false;
    f->target_end = 0; /* it never arrived */
    fake_broker_drop(f->target.broker);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->doubts_count == 1);
    find_position(f);
    run_until(f, &f->resumed);
    engine_start(f->engine, f->task);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 3);
    assert_header(&f->taken[1], 4711, 0, 0);
    assert_header(&f->taken[2], 4711, 0, 3);
}

static void resume_after_doubt(struct fixture *f)
{
    TURN_UNTIL(f->loop, PATIENCE_MS, f->doubts_count == 1);
    f->target_end = 0;
    find_position(f);
    run_until(f, &f->resumed);
    engine_start(f->engine, f->task);
}

/* The first batch is on its way, and its connection breaks. */
static void lose_one(struct fixture *f)
{
    f->silent = true;
    begin_records(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 1);
    f->silent = false;
    fake_broker_drop(f->target.broker);
}

/* Which may have other records where that one had been read. */
static void from_another_leader_of_the_source_they_go_under_another_id(void **state)
{
    struct fixture *f = *state;

    lose_one(f);
    f->source.partition.leader_epoch = 4;
    cluster_refresh(f->source.cluster);
    TURN_UNTIL(f->loop, PATIENCE_MS, cluster_leader(f->source.cluster, "orders", 0).epoch == 4);
    resume_after_doubt(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 3);
    assert_header(&f->taken[1], 4712, 0, 0);
    assert_header(&f->taken[2], 4712, 0, 3);
}

/* As many records with other offsets: under the same id they would be taken for those that were on their way. */
static void what_the_source_lacks_now_goes_under_another_id(void **state)
{
    struct fixture *f = *state;

    lose_one(f);
    f->log.len = 0;
    fake_batch_plain(&f->log, 11, 3, 10, CODEC_NONE);
    fake_batch_plain(&f->log, 14, 2, 10, CODEC_NONE);
    resume_after_doubt(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 3);
    assert_header(&f->taken[1], 4712, 0, 0);
    assert_header(&f->taken[2], 4712, 0, 3);
}

/* S11: nobody can read at the source any more what was on its way when retention passed it: its place is known by its
 * acknowledgment alone. */
static void a_position_that_retention_passed_is_a_doubt_when_what_flies_has_landed(void **state)
{
    struct fixture *f = *state;

    f->passed = true;
    fake_broker_faults(f->target.broker)->delay_ms = 100;
    begin_records(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->doubts_count == 1);
    assert_non_null(strstr(f->why.what, "source offset 15 is out of range"));
    assert_int_equal(f->taken_count, 2);
    assert_int_equal(f->acked_next, 15);
}

static void an_id_that_the_broker_contradicts_is_left(void **state)
{
    struct fixture *f = *state;

    f->produce_error = KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER;
    begin_records(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->doubts_count == 1);
    find_position(f);
    run_until(f, &f->resumed);
    engine_start(f->engine, f->task);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 3);
    assert_header(&f->taken[0], 4711, 0, 0);
    assert_header(&f->taken[1], 4712, 0, 0);
    assert_header(&f->taken[2], 4712, 0, 3);
}

/* Where the leader moved nothing is said of the id. */
static void a_leader_that_moved_contradicts_nothing(void **state)
{
    struct fixture *f = *state;

    f->produce_error = KAFKA_NOT_LEADER_OR_FOLLOWER;
    begin_records(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->doubts_count == 1);
    find_position(f);
    run_until(f, &f->resumed);
    engine_start(f->engine, f->task);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 3);
    assert_header(&f->taken[2], 4711, 0, 3);
}

/* Its sequence was taken: a broker that others write to is not asked for an id each time. */
static void behind_others_records_they_go_on_under_it(void **state)
{
    struct fixture *f = *state;

    f->moved[0] = 5;
    begin_records(f);
    resume_after_doubt(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 3);
    assert_header(&f->taken[1], 4711, 0, 0);
    assert_header(&f->taken[2], 4711, 0, 3);
}

/* What is answered with an older place was taken for a repeat. */
static void what_passes_for_a_repeat_leaves_the_id(void **state)
{
    struct fixture *f = *state;

    f->moved[1] = -3;
    begin_records(f);
    resume_after_doubt(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 4);
    assert_header(&f->taken[1], 4711, 0, 3);
    assert_header(&f->taken[2], 4712, 0, 0);
    assert_header(&f->taken[3], 4712, 0, 3);
}

/* Nothing of it flies; it is told why, and not by the log alone. */
static void a_partition_without_an_id_is_stalled_by_name(void **state)
{
    struct fixture *f = *state;

    f->ids_epoch = 3;
    begin_records(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->doubts_count == 1);
    assert_int_equal(f->taken_count, 0);
    assert_non_null(strstr(f->why.what, "no producer id"));
    assert_non_null(strstr(f->why.what, "no id of epoch 0"));
    f->ids_epoch = 0;
    find_position(f);
    run_until(f, &f->resumed);
    engine_start(f->engine, f->task);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 2);
}

/* The followers are late, and no sequence would tell the same batch again. */
static void without_an_id_what_is_not_replicated_is_waited_for(void **state)
{
    struct fixture *f = *state;

    f->ids_error = KAFKA_CLUSTER_AUTHORIZATION_FAILED;
    f->produce_error = KAFKA_REQUEST_TIMED_OUT;
    begin_records(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->doubts_count == 1);
    find_position(f);
    turn_for(f->loop, 500);
    assert_false(f->resumed);
    assert_int_equal(fake_broker_requests(f->target.broker, API_FETCH), 0);
    f->listed_end = 3;
    TURN_UNTIL(f->loop, PATIENCE_MS, fake_broker_requests(f->target.broker, API_FETCH) > 0);
    assert_int_equal(f->taken_count, 1);
}

static void without_ids_one_batch_flies_at_a_time(void **state)
{
    struct fixture *f = *state;

    f->ids_error = KAFKA_CLUSTER_AUTHORIZATION_FAILED;
    begin_records(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 2);
    assert_header(&f->taken[0], -1, -1, -1);
    assert_header(&f->taken[1], -1, -1, -1);
    f->silent = true;
    fake_batch_plain(&f->log, 15, 1, 10, CODEC_NONE);
    fake_batch_plain(&f->log, 16, 1, 10, CODEC_NONE);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 3);
    turn_for(f->loop, 300);
    assert_int_equal(f->taken_count, 3);
}

/* A coordinator that loads is asked again, and nothing goes meanwhile. */
static void nothing_goes_before_an_id_is_there(void **state)
{
    struct fixture *f = *state;

    f->ids_error = KAFKA_COORDINATOR_LOAD_IN_PROGRESS;
    begin_records(f);
    turn_for(f->loop, 300);
    assert_int_equal(f->taken_count, 0);
    f->ids_error = KAFKA_NONE;
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 2);
    assert_header(&f->taken[0], 4711, 0, 0);
}

/* Its Fetch does not say that the logs part. */
static void a_new_leader_of_an_old_source_is_a_doubt(void **state)
{
    struct fixture *f = *state;

    f->source.topic.id = topic_id_of_name("cluster-a", "orders");
    begin_records(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->taken_count == 2);
    turn_for(f->loop, 300);
    assert_int_equal(f->doubts_count, 0);
    f->source.partition.leader_epoch = 4;
    cluster_refresh(f->source.cluster);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->doubts_count == 1);
    assert_non_null(strstr(f->why.what, "leader changed, epoch 4 instead of 3"));
}

/* It has not said where its log begins when another one leads. */
static enum fake_action list_never(void *arg, const struct fake_request *request,
                                   struct writer *answer)
{
    struct fixture *f = arg;
    struct list_offsets_part part = {.topic = fake_text("orders"),
                                     .error = KAFKA_OFFSET_NOT_AVAILABLE,
                                     .offset = -1,
                                     .leader_epoch = -1};
    struct list_offsets_answer all = {&part, 1};

    (void)request;
    f->source.partition.leader_epoch = 4;
    cluster_refresh(f->source.cluster);
    fake_put_list_offsets(answer, &all);
    return FAKE_ANSWER;
}

static void a_source_whose_leader_changes_is_asked_from_the_beginning(void **state)
{
    struct fixture *f = *state;

    fake_broker_on(f->source.broker, API_LIST_OFFSETS, list_never, f);
    begin(f);
    run_until(f, &f->waits);
    assert_false(f->stalled);
    assert_non_null(strstr(f->why.what, "leader changed, epoch 4 instead of 3"));
}

/* --- read back ---------------------------------------------------------------------------------------------------- */

/* The batch that came last, or as many other records. */
static enum fake_action fetch_back(void *arg, const struct fake_request *request,
                                   struct writer *answer)
{
    struct fixture *f = arg;
    struct fake_fetch want = {0};
    struct writer other;
    assert_int_equal(fake_get_fetch(request->body, request->version, &want, 1), 1);
    writer_init(&other);
    fake_batch_plain(&other, want.offset, f->taken[f->taken_count - 1].count, 9, CODEC_NONE);
    bool is_other = f->read_back == READ_BACK_OTHER;
    f->kept.data[7] = (uint8_t)want.offset; /* the end of BaseOffset: no checksum covers it */
    struct fetch_partition part = {.topic = fake_text("orders"),
                                   .topic_id = f->target.topic.id,
                                   .high_watermark = 100,
                                   .last_stable_offset = 100,
                                   .records = is_other ? other.data : f->kept.data,
                                   .records_len = is_other ? other.len : f->kept.len};
    struct fetch_answer all = {.partitions = &part, .partitions_count = 1};
    fake_put_fetch(answer, request->version, &all);
    writer_done(&other);
    return f->read_back == READ_BACK_LOST ? FAKE_CLOSE : FAKE_ANSWER;
}

static void begin_batches(struct fixture *f)
{
    fake_broker_on(f->source.broker, API_LIST_OFFSETS, list_log, f);
    fake_broker_on(f->source.broker, API_FETCH, fetch_log, f);
    fake_broker_on(f->target.broker, API_PRODUCE, produce, f);
    fake_broker_on(f->target.broker, API_FETCH, fetch_back, f);
    begin(f);
    run_until(f, &f->resumed);
    assert_int_equal(f->how, RESUME_DONE);
    engine_start(f->engine, f->task);
}

/* Two batches of the source, and empty offsets between the two. */
static void begin_compacted(struct fixture *f)
{
    fake_batch_plain(&f->log, 10, 3, 10, CODEC_LZ4);
    fake_batch_plain(&f->log, 20, 2, 10, CODEC_NONE);
    begin_batches(f);
}

/* Nothing comes any more: a switchover waits for the position at the end. */
static void empty_offsets_at_the_end_are_passed_when_nothing_is_late_any_more(void **state)
{
    struct fixture *f = *state;
    const struct fake_batch header = {.base_offset = 20, .last_offset_delta = 4, .producer_id = -1};
    fake_batch_plain(&f->log, 10, 3, 10, CODEC_LZ4);
    fake_batch_write(&f->log, &header);
    begin_batches(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->acked_next == 13);
    turn_for(f->loop, 200);
    assert_int_equal(f->acked_next, 13);
    f->task->started_ms -= 300000;
    TURN_UNTIL(f->loop, PATIENCE_MS, f->acked_next == 25);
}

static void behind_empty_offsets_it_counts_when_it_was_read_back(void **state)
{
    struct fixture *f = *state;
    begin_compacted(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->acked_next == 22);
    assert_int_equal(f->taken_count, 2);
    assert_int_equal(engine_counters(f->engine)->read_back,
                     fake_broker_requests(f->target.broker, API_FETCH));
    assert_true(engine_counters(f->engine)->read_back > 0);
    assert_int_equal(engine_counters(f->engine)->records, 5);
    assert_int_equal(f->doubts_count, 0);
}

static void what_cannot_be_read_back_is_a_doubt(void **state)
{
    struct fixture *f = *state;
    f->read_back = READ_BACK_LOST;
    begin_compacted(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->doubts_count == 1);
    assert_non_null(strstr(f->why.what, "reading back target offset"));
    assert_int_equal(engine_counters(f->engine)->read_back, 0);
}

static void other_records_there_are_a_doubt(void **state)
{
    struct fixture *f = *state;
    f->read_back = READ_BACK_OTHER;
    begin_compacted(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->doubts_count == 1);
    assert_non_null(strstr(f->why.what, "holds other records"));
    assert_int_equal(engine_counters(f->engine)->read_back, 0);
}

static void who_is_drained_with_what_was_read_back_may_be_removed(void **state)
{
    struct fixture *f = *state;
    f->read_back = READ_BACK_DRAINED;
    begin_compacted(f);
    TURN_UNTIL(f->loop, PATIENCE_MS, f->task == NULL);
    assert_int_equal(engine_counters(f->engine)->read_back, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_finds_its_position, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_source_whose_leader_changes_is_asked_from_the_beginning,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            empty_offsets_at_the_end_are_passed_when_nothing_is_late_any_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(behind_empty_offsets_it_counts_when_it_was_read_back,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_back_is_a_doubt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_records_there_are_a_doubt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_drained_with_what_was_read_back_may_be_removed,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_source_without_an_api_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_target_without_an_api_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_all_of_a_crowd_ask_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_crowd_goes_on_over_a_new_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_goes_leaves_the_queue, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_of_more_than_was_asked_for_costs_the_connection,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_that_is_too_large_is_asked_for_ever_more_rarely,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_source_is_not_asked_for_thousands_without_a_pause, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(batches_go_under_an_id_that_the_target_gave, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(after_a_lost_connection_they_go_on_under_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(from_another_leader_of_the_source_they_go_under_another_id,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_source_lacks_now_goes_under_another_id, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_position_that_retention_passed_is_a_doubt_when_what_flies_has_landed, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(an_id_that_the_broker_contradicts_is_left, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_leader_that_moved_contradicts_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(behind_others_records_they_go_on_under_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_passes_for_a_repeat_leaves_the_id, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_partition_without_an_id_is_stalled_by_name, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(without_an_id_what_is_not_replicated_is_waited_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(without_ids_one_batch_flies_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_goes_before_an_id_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_leader_of_an_old_source_is_a_doubt, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
