#include <stdlib.h>

#include "base/heap.h"
#include "base/log.h"
#include "kafka/path_probe.h"
#include "kafka/topic_id.h"
#include "mirror/batches.h"

/* The path `records`: batches pass over our own wire as over the path `batches`, under a producer id that the target's broker
 * gave out (InitProducerId) instead of one of our choosing. What is ours on the target is known by its records
 * (resume_options.by_content): at least once.
 *
 * An id is this worker's own: nobody else knows it, and the broker guards the order of a partition's batches under it for as
 * long as we go on. Several partitions share one; a partition gets another one for its next start when the broker contradicted
 * what we took to be its sequence (task->producer_spent), and when its generation is another one: then a sequence means another
 * record. Where the target gives no ids out, batches have none, and one of each partition flies at a time.
 */

#define ASK_TIMEOUT_MS 5000
#define ASK_AGAIN_MS   1000

struct records {
    struct engine *engine;
    int64_t
        producer_id; /* that partitions get which start now; BATCH_NO_PRODUCER = to be asked for */
    bool asking;
    bool none; /* the target gives none out */
    int64_t due_ms;
    int16_t told; /* the last error that was logged */
};

/* --- whose batches they are --------------------------------------------------------------------------------------- */

static void give(struct task *task, int64_t producer_id)
{
    task->producer_id = producer_id;
    task->producer_generation = task->core.at.generation;
    task->producer_spent = false;
    task->sequence_first = task->core.at.sequence_next;
    task->core.alone = producer_id == BATCH_NO_PRODUCER;
    task->unnamed = false;
}

/* It goes on under the id that it had: nothing says that the broker knows another sequence of it. */
static bool keeps(const struct task *task)
{
    const struct checkpoint *at = &task->core.at;
    return task->producer_id > BATCH_NO_PRODUCER && !task->producer_spent &&
           task->producer_generation == at->generation && at->sequence_next >= task->sequence_first;
}

static void ask(struct records *records);

static void name(struct task *task)
{
    struct records *records = task->engine->records;
    task->unnamed = true;
    if (keeps(task)) {
        task->unnamed = false;
    } else if (records->none) {
        give(task, BATCH_NO_PRODUCER);
    } else if (records->producer_id > BATCH_NO_PRODUCER &&
               records->producer_id != task->producer_id) {
        give(task, records->producer_id);
    } else {
        records->producer_id = BATCH_NO_PRODUCER; /* it had that one */
        ask(records);
    }
}

static void name_all(struct records *records)
{
    const struct engine *engine = records->engine;
    for (size_t i = 0; i < engine->tasks_count; i++) {
        struct task *task = engine->tasks[i];
        if (task->mode == TASK_CARRYING && task->unnamed) {
            name(task);
            sink_ready(task);
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
static void tell(struct records *records, int16_t error, const char *why)
{
    if (error != records->told) {
        records->told = error;
        log_warn("records.no_producer_id", "error=%s doing=\"asking again\"", log_quote(why).text);
    }
}

static void take_id(struct records *records, const struct init_producer_id_answer *answer)
{
    if (answer->error == KAFKA_NONE && answer->producer_id > BATCH_NO_PRODUCER &&
        answer->producer_epoch == 0) {
        records->producer_id = answer->producer_id;
        records->told = KAFKA_NONE;
        name_all(records);
        return;
    }
    if (path_probe_refuses_idempotence(answer->error)) {
        no_ids(records, kafka_error_name(answer->error));
        return;
    }
    tell(records, answer->error, kafka_error_name(answer->error));
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
    (void)err; /* asked again: the cluster has told of the connection */
    records->asking = false;
    if (reader != NULL && !proto_get_init_producer_id(reader, question->version, &answer, &bad)) {
        tell(records, KAFKA_UNKNOWN_SERVER_ERROR, bad.what);
    } else if (reader != NULL) {
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
    name(task);
    look_at_source_leader(task);
}

/* Whoever gets the partition next begins anew, we too: not under an id whose sequence there is forgotten. */
void records_remove(struct task *task)
{
    struct records *records = task->engine->records;
    if (task->producer_id == records->producer_id) {
        records->producer_id = BATCH_NO_PRODUCER;
    }
}

void records_metadata(struct engine *engine)
{
    for (size_t i = 0; i < engine->tasks_count; i++) {
        look_at_source_leader(engine->tasks[i]);
    }
}

void records_look(struct engine *engine)
{
    bool flying = false;
    bool unnamed = false;
    for (size_t i = 0; i < engine->tasks_count; i++) {
        const struct task *task = engine->tasks[i];
        flying = flying || task->flying_count > 0;
        unnamed = unnamed || (task->mode == TASK_CARRYING && task->unnamed);
    }
    if (unnamed) {
        ask(engine->records);
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
