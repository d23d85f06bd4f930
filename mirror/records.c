#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/log.h"
#include "kafka/path_probe.h"
#include "kafka/topic_id.h"
#include "mirror/engine_inside.h"

/* The path `records`: batches pass over our own wire as over the path `batches`, under a producer id that the target's broker
 * gave out (InitProducerId) instead of one of our choosing. What is ours on the target is known by its records
 * (resume_options.by_content): at least once.
 *
 * An id is this worker's own: nobody else knows it, and the broker guards the order of a partition's batches under it for as
 * long as we go on. Several partitions share one; when one of them leaves it for another, mirror/producer says. Where the
 * target gives no ids out, batches have none, and one of each partition flies at a time.
 */

#define ASK_TIMEOUT_MS 5000
#define ASK_AGAIN_MS   1000
#define NAMELESS_MS    3000 /* so long without an id, and the partition is stalled by name */

struct records {
    struct engine *engine;
    int64_t
        producer_id; /* that partitions get which start now; BATCH_NO_PRODUCER = to be asked for */
    bool asking;
    bool none; /* the target gives none out */
    int64_t due_ms;
    const char *why; /* it gave none lately; NULL = it did */
};

/* --- whose batches they are --------------------------------------------------------------------------------------- */

static void give(struct task *task, int64_t producer_id)
{
    producer_give(&task->producer, producer_id, &task->core.at, task->source_epoch);
    task->core.alone = producer_id == BATCH_NO_PRODUCER;
    task->unnamed_ms = 0;
}

static void ask(struct records *records);

static void name(struct task *task)
{
    struct records *records = task->engine->records;
    if (producer_goes_on(&task->producer, &task->core.at, task->source_epoch)) {
        task->unnamed_ms = 0;
    } else if (records->none) {
        give(task, BATCH_NO_PRODUCER);
    } else if (records->producer_id > BATCH_NO_PRODUCER &&
               records->producer_id != task->producer.id) {
        give(task, records->producer_id);
    } else {
        if (task->unnamed_ms == 0) {
            task->unnamed_ms = loop_now_ms(task->engine->loop);
        }
        records->producer_id = BATCH_NO_PRODUCER; /* it had that one */
        ask(records);
    }
}

static bool is_unnamed(const struct task *task)
{
    return task->mode == TASK_CARRYING && task->unnamed_ms > 0;
}

static void name_all(struct records *records)
{
    const struct engine *engine = records->engine;
    for (size_t i = 0; i < engine->tasks_count; i++) {
        if (is_unnamed(engine->tasks[i])) {
            name(engine->tasks[i]);
            sink_ready(engine->tasks[i]);
        }
    }
    engine_pump_soon(records->engine);
}

static void no_ids(struct records *records, const char *why)
{
    records->none = true;
    log_warn(
        "records.not_idempotent",
        "why=%s doing=\"one batch of a partition in flight: an answer that is lost repeats it\"",
        log_quote(why).text);
    name_all(records);
}

/* Asked each second: said once. */
static void none_yet(struct records *records, const char *why)
{
    if (records->why == NULL || strcmp(why, records->why) != 0) {
        log_warn("records.no_producer_id", "why=%s doing=\"asking again\"", log_quote(why).text);
    }
    records->why = why;
}

static void take_id(struct records *records, const struct init_producer_id_answer *answer)
{
    if (path_probe_refuses_idempotence(answer->error)) {
        no_ids(records, kafka_error_name(answer->error));
    } else if (answer->error != KAFKA_NONE) {
        none_yet(records, kafka_error_name(answer->error));
    } else if (answer->producer_id <= BATCH_NO_PRODUCER || answer->producer_epoch != 0) {
        none_yet(records, "the answer holds no id of epoch 0");
    } else {
        records->producer_id = answer->producer_id;
        records->why = NULL;
        name_all(records);
    }
}

struct question {
    struct records *records;
    int16_t version;
};

static void answered(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct question *question = arg;
    struct records *records = question->records;
    struct init_producer_id_answer answer;
    struct err bad = {0};
    (void)block;
    (void)err; /* the cluster has told of the connection */
    records->asking = false;
    if (reader == NULL) {
        none_yet(records, "no answer");
    } else if (!proto_get_init_producer_id(reader, question->version, &answer, &bad)) {
        none_yet(records, "an answer that cannot be read");
    } else {
        take_id(records, &answer);
    }
    free(question);
}

static void ask(struct records *records)
{
    struct engine *engine = records->engine;
    int64_t now_ms = loop_now_ms(engine->loop);
    if (records->asking || now_ms < records->due_ms) {
        return;
    }
    struct conn *conn = cluster_any_conn(engine->target);
    if (conn == NULL || !conn_is_ready(conn)) {
        return; /* the next look */
    }
    int16_t version = conn_versions(conn)->version[API_INIT_PRODUCER_ID];
    records->due_ms = now_ms + ASK_AGAIN_MS;
    if (version < 0) {
        no_ids(records, "the target does not offer InitProducerId");
        return;
    }
    struct question *question = must(calloc(1, sizeof(*question)));
    *question = (struct question){.records = records, .version = version};
    struct writer writer;
    writer_init(&writer);
    proto_put_init_producer_id(&writer, version);
    records->asking = true;
    conn_send(conn, API_INIT_PRODUCER_ID, version, &writer, NULL, 0, ASK_TIMEOUT_MS, answered,
              question);
}

/* --- a source without Fetch 12 ------------------------------------------------------------------------------------ */

/* Before Kafka 2.7 a Fetch does not say that the logs parted before its position: what a new leader has is compared by a
 * resume. Told from those by the topic's id, which Kafka gives since 2.8. */
static void look_at_source_leader(struct task *task)
{
    struct err why = {0};
    int32_t epoch = cluster_leader(task->engine->source, task->topic, task->index).epoch;
    if (epoch < 0 || !topic_id_is_of_name(&task->source_topic_id)) {
        return;
    }
    if (task->source_epoch < 0) {
        task->source_epoch = epoch;
    } else if (epoch != task->source_epoch && task->mode == TASK_CARRYING) {
        err_set(&why, ERR_RETRY, "the source's leader changed, epoch %d instead of %d", epoch,
                task->source_epoch);
        task_doubt(task, &why);
    }
}

/* --- what the engine calls ---------------------------------------------------------------------------------------- */

void records_start(struct task *task)
{
    task->unnamed_ms = 0;
    task->appended_end = 0;
    task->fell_to = -1;
    name(task);
    look_at_source_leader(task);
}

/* Whoever gets the partition next begins anew, we too: not under an id whose sequence there is forgotten. */
void records_remove(struct task *task)
{
    struct records *records = task->engine->records;
    if (task->producer.id == records->producer_id) {
        records->producer_id = BATCH_NO_PRODUCER;
    }
}

void records_metadata(struct engine *engine)
{
    for (size_t i = 0; i < engine->tasks_count; i++) {
        look_at_source_leader(engine->tasks[i]);
    }
}

/* It is told why nothing of it goes; then it resumes, and asks again. */
static void look_at_nameless(struct task *task)
{
    const char *why = task->engine->records->why;
    struct err err = {0};
    if (loop_now_ms(task->engine->loop) - task->unnamed_ms >= NAMELESS_MS) {
        err_set(&err, ERR_RETRY, "the target gives out no producer id (InitProducerId): %s",
                why == NULL ? "no answer yet" : why);
        task_doubt(task, &err);
    }
}

void records_look(struct engine *engine)
{
    bool flying = false;
    bool unnamed = false;
    for (size_t i = 0; i < engine->tasks_count; i++) {
        struct task *task = engine->tasks[i];
        flying = flying || task->flying_count > 0;
        if (is_unnamed(task)) {
            unnamed = true;
            look_at_nameless(task);
        }
    }
    if (unnamed) {
        name_all(engine->records);
    }
    if (flying && !engine->callbacks.may_send(engine->callbacks.arg)) {
        sink_drop_unsent(engine); /* no sequence of ours refuses it when it arrives late */
    }
}

void records_init(struct engine *engine)
{
    engine->records = must(calloc(1, sizeof(*engine->records)));
    *engine->records = (struct records){.engine = engine, .producer_id = BATCH_NO_PRODUCER};
}

void records_free(struct engine *engine)
{
    free(engine->records);
}
