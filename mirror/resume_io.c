/* Does what mirror/resume asks: one question to one broker at a time, answers checked, every failure ends the run (the
 * link backs off and begins anew: a resume has no state worth keeping). And reads back a batch that is not proven, with
 * the same questions.
 */
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/log.h"
#include "kafka/topic_id.h"
#include "mirror/desk.h"
#include "mirror/engine_inside.h"
#include "mirror/place_answer.h"
#include "mirror/sequence.h"

#define SMALL_TIMEOUT_MS 5000
#define READ_TIMEOUT_MS  15000
#define READ_WAIT_MS     100
#define READ_BYTES       (1 << 20)
#define NO_CONN_WAIT_MS  50
#define NO_CONN_TRIES    200 /* 10 s without a connection to the leader: the link backs off */
#define READ_EMPTY_TRIES 20  /* 2 s of empty answers below the end */
#define READ_EMPTY_END   3 /* so many, and the log says that it goes as far: nothing is left there */
/* Questions under way to a broker: small ones are answered at 1,000 a second by one that is busy, 0.3 s for the last of
 * them; metadata has 3 s over the same connection. Of 80 ms still 3,000 a second. */
#define SMALL_AT_ONCE 256
#define READS_AT_ONCE 16 /* 16 MiB within READ_TIMEOUT_MS: 1 MB/s */

enum run_stage {
    RUN_LOAD,
    RUN_EPOCH,
    RUN_SOURCE_START,
    RUN_SOURCE_END,
    RUN_PRODUCERS,
    RUN_TARGET_START,
    RUN_TARGET_END,
    RUN_READ_TARGET,
    RUN_READ_SOURCE,
    RUN_READ_BACK,
    RUN_PORT,  /* the link was asked: floor or cut */
    RUN_TIMER, /* resume waits */
};

struct resume_run {
    struct task *task; /* not referenced: the task frees its run first */
    struct desk_place place;
    struct resume resume;
    enum run_stage stage;
    struct loop_timer *timer;
    int32_t tries_count;
    int32_t empty_count; /* answers without records in a row */
    int32_t wait_ms;
    int64_t position; /* of the read that is under way */
    struct resume_source source;
    struct resume_target target;
    task_read_back *read_back; /* NULL: a resume */
    int32_t refs_count;        /* the task's and one for each question */
    bool dead;
};

struct run_question {
    struct resume_run *run;
    struct desk *desk;
    enum run_stage stage;
    int16_t version;
    bool of_source;
    int32_t broker;
    int32_t lane;
};

static void run_unref(struct resume_run *run)
{
    if (--run->refs_count > 0) {
        return;
    }
    resume_done(&run->resume);
    free(run);
}

void resume_run_free(struct resume_run *run)
{
    if (run == NULL || run->dead) {
        return;
    }
    run->dead = true;
    desk_leave(&run->place);
    loop_timer_free(run->timer);
    run->timer = NULL;
    run_unref(run);
}

/* --- how it ends -------------------------------------------------------------------------------------------------- */

static struct task *leave(struct resume_run *run, enum task_mode mode)
{
    struct task *task = run->task;
    task->run = NULL;
    task->mode = mode;
    return task;
}

/* One of both is NULL. */
static void tell_read_back(struct resume_run *run, const struct batch *found, const struct err *why)
{
    run->task->proof = NULL;
    run->read_back(run->task, found, why);
    resume_run_free(run);
}

static void give_up(struct resume_run *run, const struct err *why, bool stalled)
{
    if (run->read_back != NULL) {
        tell_read_back(run, NULL, why);
        return;
    }
    struct task *task = leave(run, TASK_IDLE);
    struct err copy = *why;
    resume_run_free(run);
    task->engine->callbacks.waits(task->engine->callbacks.arg, task, &copy, stalled);
}

static void end(struct resume_run *run, enum resume_need how)
{
    struct task *task = leave(run, how == RESUME_DONE ? TASK_PLACED : TASK_IDLE);
    if (how == RESUME_DONE) {
        partition_place(&task->core, &run->resume.at, run->resume.compacted);
        producer_resumed(&task->producer, &run->resume.event);
    }
    task->engine->callbacks.resumed(task->engine->callbacks.arg, task, &run->resume, how);
    resume_run_free(run); /* nobody else points at it since leave() */
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static void step(struct resume_run *run);
static void follow(struct resume_run *run, enum resume_need need);
static void take(struct run_question *question, struct reader *reader);

static struct resume_run *run_at(struct desk_place *place)
{
    return (struct resume_run *)(void *)((char *)place - offsetof(struct resume_run, place));
}

/* Those who waited for it. When its connection is lost they look again who leads. */
static void serve(struct desk *desk, bool lost)
{
    struct desk_place *place;
    while ((place = desk_next(desk, lost)) != NULL) {
        if (lost) {
            loop_timer_set(run_at(place)->timer, NO_CONN_WAIT_MS);
        } else {
            step(run_at(place));
        }
    }
}

static void answered(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct run_question *question = arg;
    struct resume_run *run = question->run;
    struct desk *desk = question->desk;
    (void)block;
    desk_answered(desk);
    if (!run->dead) { /* who asks on goes first: whoever began comes to an end */
        if (reader == NULL) {
            give_up(run, err, false);
        } else {
            take(question, reader);
        }
    }
    run_unref(run);
    free(question);
    serve(desk, reader == NULL);
}

static void timer_fired(void *arg)
{
    struct resume_run *run = arg;
    if (run->stage == RUN_TIMER) {
        follow(run, resume_again(&run->resume, run->wait_ms));
        return;
    }
    step(run);
}

static bool asks_source(enum run_stage stage)
{
    return stage == RUN_EPOCH || stage == RUN_SOURCE_START || stage == RUN_SOURCE_END ||
           stage == RUN_READ_SOURCE;
}

static void retry_soon(struct resume_run *run, const char *what)
{
    if (++run->tries_count > NO_CONN_TRIES) {
        struct err why = {0};
        err_set(&why, ERR_RETRY, "%s", what);
        give_up(run, &why, false);
        return;
    }
    loop_timer_set(run->timer, NO_CONN_WAIT_MS);
}

static void put_fetch(struct resume_run *run, bool of_source, int16_t version, int32_t epoch,
                      struct writer *writer)
{
    const struct task *task = run->task;
    struct fetch_want want = {.topic = task->topic,
                              .topic_id = of_source ? task->source_topic_id : task->target_topic_id,
                              .partition = task->index,
                              .current_leader_epoch = epoch,
                              .offset = run->position,
                              .last_fetched_epoch = -1,
                              .max_bytes = READ_BYTES};
    proto_put_fetch(writer, version, READ_WAIT_MS, 1, READ_BYTES, of_source, &want, 1);
}

static enum api_key api_of(enum run_stage stage)
{
    switch (stage) {
    case RUN_EPOCH:
        return API_OFFSET_FOR_LEADER_EPOCH;
    case RUN_SOURCE_START:
    case RUN_SOURCE_END:
    case RUN_TARGET_START:
    case RUN_TARGET_END:
        return API_LIST_OFFSETS;
    case RUN_PRODUCERS:
        return API_DESCRIBE_PRODUCERS;
    case RUN_READ_TARGET:
    case RUN_READ_SOURCE:
    case RUN_READ_BACK:
        return API_FETCH;
    case RUN_LOAD:
    case RUN_PORT:
    case RUN_TIMER:
        break;
    }
    abort(); /* asks nobody */
}

static void put_question(struct resume_run *run, enum api_key api, int16_t version, int32_t epoch,
                         struct writer *writer)
{
    const struct task *task = run->task;
    struct topic_partition place = {.topic = task->topic, .partition = task->index};
    bool of_start = run->stage == RUN_SOURCE_START || run->stage == RUN_TARGET_START;
    if (api == API_OFFSET_FOR_LEADER_EPOCH) {
        proto_put_epoch_end(writer, version, task->topic, task->index, epoch,
                            run->resume.ask_epoch);
    } else if (api == API_LIST_OFFSETS) {
        proto_put_list_offsets(writer, version, run->stage == RUN_SOURCE_END,
                               of_start ? LIST_OFFSETS_EARLIEST : LIST_OFFSETS_LATEST, &place, 1);
    } else if (api == API_DESCRIBE_PRODUCERS) {
        proto_put_describe_producers(writer, task->topic, task->index);
    } else {
        put_fetch(run, run->stage == RUN_READ_SOURCE, version, epoch, writer);
    }
}

/* A broker offers what it likes: what conn asks for at its handshake is what everybody needs. */
static void not_spoken(struct resume_run *run, const struct conn *conn, enum api_key api)
{
    struct err why = {0};
    int16_t min = 0;
    int16_t max = 0;
    (void)api_range(api, &min, &max);
    err_set(&why, ERR_REFUSED, "%s does not speak %s %d as we do", conn_name(conn), api_name(api),
            min);
    err_hint(&why, "Kafka does since 2.2: is this one, and is nothing between us and it?");
    give_up(run, &why, true);
}

/* Path `batches` lives on what came with Kafka 2.8: ids of topics, DescribeProducers, where logs part in Fetch. Two workers of
 * one name are told apart by the target's groups, since 2.3. */
static bool serves(const struct engine *engine, const struct conn *conn, bool of_source,
                   struct err *why)
{
    int16_t metadata = conn_versions(conn)->version[API_METADATA];
    if (metadata < METADATA_STATIC_MEMBERS && !of_source) {
        err_set(why, ERR_REFUSED,
                "%s is older than Kafka 2.3: its groups know no static members, so it cannot be a "
                "target",
                conn_name(conn));
        return err_hint(why, "docs/records.md#old-kafka");
    }
    if (metadata < METADATA_IDS && !engine->options.records) {
        err_set(why, ERR_REFUSED, "%s is older than Kafka 2.8: path batches does not serve it",
                conn_name(conn));
        return err_hint(why, "set \"path\": \"records\" in the service: docs/records.md");
    }
    return true;
}

static void leaderless(struct resume_run *run, struct cluster *cluster, bool of_source)
{
    if (cluster_topic(cluster, run->task->topic) == NULL) {
        cluster_refresh(cluster);
        retry_soon(run, of_source ? "the source does not know the topic"
                                  : "the target does not know the topic");
        return;
    }
    retry_soon(run, of_source ? NO_LEADER("source") : NO_LEADER("target")); /* it looks by itself */
}

/* What a leader said of the position says nothing of the log of the next one, which may have lost it. */
static bool same_source(struct resume_run *run, int32_t epoch)
{
    struct task *task = run->task;
    if (task->source_epoch >= 0 && epoch != task->source_epoch) {
        struct err why = {0};
        err_set(&why, ERR_RETRY, "the source's leader changed, epoch %d instead of %d", epoch,
                task->source_epoch);
        give_up(run, &why, false);
        return false;
    }
    task->source_epoch = epoch;
    return true;
}

/* Ask the leader what the stage wants to know. */
static void step(struct resume_run *run)
{
    struct engine *engine = run->task->engine;
    bool of_source = asks_source(run->stage);
    bool reads = api_of(run->stage) == API_FETCH;
    struct cluster *cluster = of_source ? engine->source : engine->target;
    struct cluster_leader leader = cluster_leader(cluster, run->task->topic, run->task->index);
    if (leader.broker < 0) {
        leaderless(run, cluster, of_source);
        return;
    }
    if (of_source && !same_source(run, leader.epoch)) {
        return;
    }
    int32_t lane = reads ? LANE_READ : LANE_SMALL;
    struct conn *conn = cluster_conn(cluster, leader.broker, lane);
    if (conn == NULL) {
        retry_soon(run, cluster_last_error(cluster));
        return;
    }
    enum api_key api = api_of(run->stage);
    int16_t version = conn_versions(conn)->version[api];
    struct err why = {0};
    if (!serves(engine, conn, of_source, &why)) {
        give_up(run, &why, true);
        return;
    }
    if (version < 0) {
        not_spoken(run, conn, api);
        return;
    }
    struct desk *desk = desk_of(&engine->desks, of_source, leader.broker, lane,
                                reads ? READS_AT_ONCE : SMALL_AT_ONCE);
    if (!desk_ask(desk, &run->place)) {
        return; /* `serve` comes back here */
    }
    if (reads) {
        version =
            topic_id_version(version, FETCH_BY_ID,
                             of_source ? &run->task->source_topic_id : &run->task->target_topic_id);
    }
    struct writer writer;
    writer_init(&writer);
    put_question(run, api, version, leader.epoch, &writer);
    struct run_question *question = must(calloc(1, sizeof(*question)));
    *question = (struct run_question){.run = run,
                                      .desk = desk,
                                      .stage = run->stage,
                                      .version = version,
                                      .of_source = of_source,
                                      .broker = leader.broker,
                                      .lane = lane};
    run->refs_count++;
    conn_send(conn, api, version, &writer, NULL, 0, reads ? READ_TIMEOUT_MS : SMALL_TIMEOUT_MS,
              answered, question);
}

static void go(struct resume_run *run, enum run_stage stage)
{
    run->stage = stage;
    run->tries_count = run->empty_count = 0;
    step(run);
}

/* --- what resume needs next --------------------------------------------------------------------------------------- */

static void load(struct resume_run *run)
{
    struct engine *engine = run->task->engine;
    run->stage = RUN_LOAD;
    engine->callbacks.load(engine->callbacks.arg, run->task);
}

static void wait_a_while(struct resume_run *run)
{
    if (run->resume.stalled) {
        give_up(run, &run->resume.err, true);
        return;
    }
    run->stage = RUN_TIMER;
    run->wait_ms = run->resume.ask_wait_ms;
    loop_timer_set(run->timer, run->wait_ms);
}

static void follow(struct resume_run *run, enum resume_need need)
{
    struct engine *engine = run->task->engine;
    switch (need) {
    case NEED_CHECKPOINTS:
        load(run);
        break;
    case NEED_SOURCE:
        run->source = (struct resume_source){.epoch = -1, .epoch_end = -1};
        go(run, run->resume.ask_epoch >= 0 ? RUN_EPOCH : RUN_SOURCE_START);
        break;
    case NEED_TARGET:
        run->target = (struct resume_target){0};
        go(run, run->task->engine->options.records ? RUN_TARGET_START : RUN_PRODUCERS);
        break;
    case NEED_READ_TARGET:
        run->position = run->resume.ask_from;
        go(run, RUN_READ_TARGET);
        break;
    case NEED_READ_SOURCE:
        run->position = run->resume.ask_from;
        go(run, RUN_READ_SOURCE);
        break;
    case NEED_FLOOR:
        run->stage = RUN_PORT;
        engine->callbacks.floor(engine->callbacks.arg, run->task, &run->resume.runs_from,
                                run->resume.ask_from);
        break;
    case NEED_CUT:
        run->stage = RUN_PORT;
        engine->callbacks.cut(engine->callbacks.arg, run->task, &run->resume.at);
        break;
    case RESUME_WAIT:
        wait_a_while(run);
        break;
    case RESUME_DONE:
    case RESUME_FAULT:
        end(run, need);
        break;
    case RESUME_BROKEN:
        give_up(run, &run->resume.err, false);
        break;
    }
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

/* A Kafka error in an answer: metadata may be old; the link backs off and begins anew. */
static void failed(struct resume_run *run, const struct run_question *question, const char *what,
                   int16_t error)
{
    struct engine *engine = run->task->engine;
    struct err why = {0};
    if (error ==
        KAFKA_OFFSET_NOT_AVAILABLE) { /* a new leader's high watermark lags for a moment (KIP-207) */
        retry_soon(run, "OFFSET_NOT_AVAILABLE for too long");
        return;
    }
    struct cluster *cluster = question->of_source ? engine->source : engine->target;
    char lacks[ACL_LACKS_BYTES];
    bool denied = cluster_denied(cluster, error, ACL_READ, ACL_TOPIC, run->task->topic, lacks);
    cluster_refresh(cluster);
    err_set_code(&why, ERR_RETRY, error, "%s %s: %s", question->of_source ? "source" : "target",
                 what, denied ? lacks : kafka_error_name(error));
    err_hint(&why, "%s", denied ? ACL_HINT : kafka_error_info(error)->hint);
    give_up(run, &why, false);
}

static void broken(struct resume_run *run, const struct run_question *question,
                   const struct err *err)
{
    struct engine *engine = run->task->engine;
    cluster_drop_conn(question->of_source ? engine->source : engine->target, question->broker,
                      question->lane, err->what);
    if (!run->dead) {
        give_up(run, err, false);
    }
}

static void take_epoch(struct resume_run *run, const struct run_question *question,
                       struct reader *reader)
{
    struct epoch_end_answer answer;
    struct err err = {0};
    if (!proto_get_epoch_end(reader, question->version, &answer, &err)) {
        broken(run, question, &err);
    } else if (answer.error != KAFKA_NONE) {
        failed(run, question, "OffsetForLeaderEpoch", answer.error);
    } else {
        run->source.epoch_known = true;
        run->source.epoch = answer.leader_epoch;
        run->source.epoch_end = answer.end_offset;
        go(run, RUN_SOURCE_START);
    }
}

static void take_offset(struct resume_run *run, const struct run_question *question,
                        struct reader *reader)
{
    int64_t offset;
    int16_t error;
    struct err err = {0};
    if (!place_answer_offset(reader, question->version, &offset, &error, &err)) {
        broken(run, question, &err);
        return;
    }
    if (error != KAFKA_NONE) {
        failed(run, question, "ListOffsets", error);
        return;
    }
    if (question->stage == RUN_SOURCE_START) {
        run->source.log_start = offset;
        go(run, RUN_SOURCE_END);
    } else if (question->stage == RUN_SOURCE_END) {
        run->source.stable_end = offset;
        follow(run, resume_give_source(&run->resume, &run->source));
    } else if (question->stage == RUN_TARGET_START) {
        run->target.log_start = offset;
        go(run, RUN_TARGET_END);
    } else {
        run->target.end = offset;
        enum resume_need need = resume_give_target(&run->resume, &run->target);
        if (need == RESUME_WAIT) { /* its followers are late: it goes on where it stops nobody */
            run->task->late = true;
        }
        follow(run, need);
    }
}

static void keep_id(struct resume_target *target, int32_t generation, int32_t last_sequence)
{
    int32_t at = target->ids_count;
    if (at == RESUME_IDS_MAX) { /* the highest generations count: drop the lowest */
        at = 0;
        for (int32_t i = 1; i < target->ids_count; i++) {
            at = target->ids[i].generation < target->ids[at].generation ? i : at;
        }
        if (target->ids[at].generation > generation) {
            return;
        }
    } else {
        target->ids_count++;
    }
    target->ids[at].generation = generation;
    target->ids[at].last_sequence = last_sequence;
}

static void take_producers(struct resume_run *run, const struct run_question *question,
                           struct reader *reader)
{
    struct describe_producers_answer answer;
    struct err err = {0};
    if (!proto_get_describe_producers(reader, &answer, &err)) {
        broken(run, question, &err);
        return;
    }
    int16_t error = answer.error;
    for (int32_t i = 0; error == KAFKA_NONE && i < answer.producers_count; i++) {
        int32_t generation;
        if (sequence_id_ours(run->task->id_base, answer.producers[i].producer_id, &generation) &&
            answer.producers[i].last_sequence >= 0) {
            keep_id(&run->target, generation, answer.producers[i].last_sequence);
        }
    }
    describe_producers_answer_done(&answer);
    if (error != KAFKA_NONE) {
        failed(run, question, "DescribeProducers", error);
        return;
    }
    go(run, RUN_TARGET_START);
}

/* --- reading back ------------------------------------------------------------------------------------------------- */

/* @return false when reading is over (bound reached, bytes broken) */
static bool feed_target(struct resume_run *run, const struct fetch_partition *fetched)
{
    const uint8_t *data = fetched->records;
    size_t left = fetched->records_len;
    struct batch batch;
    struct err err;
    while (batch_walk(data, left, &batch, &err) == BATCH_WALK_ONE) {
        if (batch.base_offset >= run->resume.ask_to) {
            run->position = run->resume.ask_to;
            return true;
        }
        if (!resume_target_batch(&run->resume, &batch)) {
            return false;
        }
        int64_t next = batch.magic < 2 ? batch.base_offset + 1 : batch_next_offset(&batch);
        run->position = next > run->position ? next : run->position;
        data += batch.len;
        left -= batch.len;
    }
    return true;
}

static bool feed_source(struct resume_run *run, struct fetch_partition *fetched)
{
    const struct transfer_limits no_limits = {.max_message_bytes = INT64_MAX,
                                              .max_timestamp = INT64_MAX};
    const uint8_t *data = fetched->records;
    size_t left = fetched->records_len;
    struct transfer_filter filter;
    struct batch batch;
    struct err err;
    bool go_on = true;
    transfer_filter_init(&filter, fetched);
    while (go_on && batch_walk(data, left, &batch, &err) == BATCH_WALK_ONE) {
        enum transfer_what what;
        enum batch_verdict verdict;
        if (!transfer_decide(&filter, &batch, run->position, &no_limits, &what, &verdict, &err)) {
            break; /* asked again: a broken control record does not advance */
        }
        if (what != TRANSFER_BEFORE) {
            go_on = resume_source_batch(&run->resume, &batch, what != TRANSFER_SKIP);
            int64_t next = batch.magic < 2 ? batch.base_offset + 1 : batch_next_offset(&batch);
            run->position = next;
        }
        data += batch.len;
        left -= batch.len;
    }
    transfer_filter_done(&filter);
    return go_on;
}

static void read_on(struct resume_run *run, int64_t before, const char *what)
{
    if (run->position > before) {
        run->tries_count = 0;
        step(run);
        return;
    }
    if (++run->tries_count > READ_EMPTY_TRIES) {
        struct err why = {0};
        err_set(&why, ERR_RETRY, "%s gives nothing at offset %lld", what, (long long)run->position);
        give_up(run, &why, false);
        return;
    }
    loop_timer_set(run->timer, NO_CONN_WAIT_MS);
}

/* Compaction may have removed all that stood before an end. A broker that lags would say a lower end. */
static bool nothing_left(struct resume_run *run, const struct fetch_partition *fetched,
                         int64_t log_end, int64_t wanted_end)
{
    bool empty = fetched->records_len == 0 && log_end >= wanted_end;
    run->empty_count = empty ? run->empty_count + 1 : 0;
    return run->empty_count >= READ_EMPTY_END;
}

static void follow_read(struct resume_run *run, const struct run_question *question,
                        enum resume_need need)
{
    if (need == RESUME_BROKEN) {
        struct err why = run->resume.err;
        broken(run, question, &why);
        return;
    }
    follow(run, need);
}

static void take_read(struct resume_run *run, const struct run_question *question,
                      struct fetch_partition *fetched)
{
    int64_t before = run->position;
    bool of_target = question->stage == RUN_READ_TARGET;
    int64_t end = of_target ? run->resume.ask_to : fetched->last_stable_offset;
    if (run->position < end &&
        nothing_left(run, fetched, of_target ? fetched->high_watermark : end, end)) {
        run->position = end;
    }
    if (question->stage == RUN_READ_TARGET) {
        bool go_on = feed_target(run, fetched);
        if (!go_on || run->position >= run->resume.ask_to) {
            follow_read(run, question, resume_target_end(&run->resume));
            return;
        }
        read_on(run, before, "the target");
        return;
    }
    bool go_on = feed_source(run, fetched);
    bool at_end = run->position >= fetched->last_stable_offset;
    if (!go_on || at_end || resume_source_enough(&run->resume)) {
        follow_read(run, question, resume_source_end(&run->resume, run->position, at_end));
        return;
    }
    read_on(run, before, "the source");
}

/* The batch at the place, once the answer has it. */
static void take_back(struct resume_run *run, const struct fetch_partition *fetched)
{
    const uint8_t *data = fetched->records;
    size_t left = fetched->records_len;
    struct batch batch;
    struct err err;
    while (batch_walk(data, left, &batch, &err) == BATCH_WALK_ONE) {
        if (batch_next_offset(&batch) > run->position) {
            tell_read_back(run, &batch, NULL);
            return;
        }
        data += batch.len;
        left -= batch.len;
    }
    read_on(run, run->position, "the target");
}

static void take_fetch(struct resume_run *run, const struct run_question *question,
                       struct reader *reader)
{
    struct fetch_answer answer;
    int16_t error;
    struct err err = {0};
    if (!place_answer_fetch(reader, question->version, &answer, &error, &err)) {
        broken(run, question, &err);
        return;
    }
    if (error != KAFKA_NONE) {
        failed(run, question, "Fetch", error);
    } else if (run->read_back != NULL) {
        take_back(run, &answer.partitions[0]);
    } else {
        take_read(run, question, &answer.partitions[0]);
    }
    fetch_answer_done(&answer);
}

static void take(struct run_question *question, struct reader *reader)
{
    struct resume_run *run = question->run;
    switch (question->stage) {
    case RUN_EPOCH:
        take_epoch(run, question, reader);
        break;
    case RUN_SOURCE_START:
    case RUN_SOURCE_END:
    case RUN_TARGET_START:
    case RUN_TARGET_END:
        take_offset(run, question, reader);
        break;
    case RUN_PRODUCERS:
        take_producers(run, question, reader);
        break;
    case RUN_READ_TARGET:
    case RUN_READ_SOURCE:
    case RUN_READ_BACK:
        take_fetch(run, question, reader);
        break;
    case RUN_LOAD:
    case RUN_PORT:
    case RUN_TIMER:
        assert(false); /* they ask no broker */
        break;
    }
}

/* --- the link's answers ------------------------------------------------------------------------------------------- */

static struct resume_run *run_of(struct task *task, const struct resume_options *options)
{
    struct resume_run *run = must(calloc(1, sizeof(*run)));
    run->task = task;
    run->refs_count = 1;
    run->timer = loop_timer_new(task->engine->loop, timer_fired, run);
    resume_init(&run->resume, options);
    return run;
}

void task_read_back_at(struct task *task, int64_t offset, task_read_back *done)
{
    struct resume_run *run = run_of(task, &task->resume_options);
    assert(task->proof == NULL);
    task->proof = run;
    run->read_back = done;
    run->position = offset;
    go(run, RUN_READ_BACK);
}

struct resume_run *resume_run_new(struct task *task, const struct resume_options *options)
{
    struct resume_run *run = run_of(task, options);
    task->run = run; /* before the first callback: the link's answer may come at once */
    follow(run, resume_start(&run->resume));
    return task->run;
}

void resume_run_loaded(struct resume_run *run, const struct task_stored *stored)
{
    assert(run->stage == RUN_LOAD);
    follow(run, resume_give_checkpoints(&run->resume, stored->redis_found, &stored->redis,
                                        stored->group_found, &stored->group, &stored->garbage));
}

void resume_run_floor(struct resume_run *run, bool found, struct offset_run floor)
{
    assert(run->stage == RUN_PORT);
    follow(run, resume_give_floor(&run->resume, found, floor));
}

void resume_run_cut(struct resume_run *run)
{
    assert(run->stage == RUN_PORT);
    follow(run, resume_give_cut(&run->resume));
}
