#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "mirror/batches.h"

#define FETCH_LANE         1
#define FETCH_WAIT_MS      500
#define FETCH_WAIT_HELD_MS 100 /* while a partition is held back, so that it joins soon */
#define FETCH_GRACE_MS \
    10000 /* beyond the wait: a broker that does not answer by then is given up */
#define HOLD_ERROR_MS 200
#define QUEUE_PARTS \
    4 /* asked again when this part of a share is left: what waits long is sent from cold memory */
#define SHARE_LEAST_BYTES (64 << 10) /* a few batches of 16 KiB */

/* A Fetch in flight: which tasks it asked for, and with which tickets. */
struct source_request {
    struct engine *engine;
    int32_t broker;
    int16_t version;
    int32_t share; /* bytes asked of each */
    int32_t count;
    struct task **tasks; /* references */
    uint32_t *tickets;
};

static struct source_broker *broker_of(struct engine *engine, int32_t broker)
{
    for (size_t i = 0; i < engine->brokers_count; i++) {
        if (engine->brokers[i]->broker == broker) {
            return engine->brokers[i];
        }
    }
    engine->brokers =
        realloc(engine->brokers, (engine->brokers_count + 1) * sizeof(struct source_broker *));
    struct source_broker *made = calloc(1, sizeof(*made));
    if (engine->brokers == NULL || made == NULL) {
        abort();
    }
    *made = (struct source_broker){.engine = engine, .broker = broker};
    engine->brokers[engine->brokers_count++] = made;
    return made;
}

void source_free(struct engine *engine)
{
    for (size_t i = 0; i < engine->brokers_count; i++) {
        free(engine->brokers[i]);
    }
    free(engine->brokers);
}

static void request_free(struct source_request *request)
{
    for (int32_t i = 0; i < request->count; i++) {
        request->tasks[i]->fetching = false;
        task_unref(request->tasks[i]);
    }
    free(request->tasks);
    free(request->tickets);
    free(request);
}

static void hold(struct task *task, int64_t ms)
{
    task->hold_until_ms = loop_now_ms(task->engine->loop) + ms;
}

static void trouble(struct task *task, const char *what)
{
    if (strcmp(task->trouble, what) != 0) {
        snprintf(task->trouble, sizeof(task->trouble), "%s", what);
        if (what[0] != '\0') {
            log_warn("source.trouble", "topic=%s partition=%d why=%s doing=\"asking again\"",
                     task->topic, task->index, log_quote(what).text);
        }
    }
    if (what[0] != '\0') {
        hold(task, HOLD_ERROR_MS);
    }
}

/* --- an answer ---------------------------------------------------------------------------------------------------- */

static void refused(struct task *task, const struct partition_refusal *refusal)
{
    struct err why = {0};
    err_set(&why, ERR_REFUSED,
            "the batch of source offsets %lld..%lld (%zu bytes) may not pass: %s",
            (long long)refusal->source_first, (long long)refusal->source_next - 1, refusal->bytes,
            batch_verdict_text(refusal->verdict));
    err_hint(&why, "see docs/faults.md#batch-refused");
    task_fault(task, FAULT_BATCH_REFUSED, refusal->source_first, refusal->source_next, &why);
}

static void take_records(struct task *task, struct fetch_partition *fetched, struct buf *block)
{
    struct partition_refusal refusal;
    struct err err = {0};
    const struct transfer_limits limits = {.max_message_bytes = INT64_MAX,
                                           .max_timestamp = INT64_MAX};
    switch (partition_take(&task->core, fetched, block, &limits, &refusal, &err)) {
    case TOOK_OK:
        sink_ready(task);
        task_settle(task);
        break;
    case TOOK_REFUSED:
        /* What stands before it goes first; the fault comes when the position has reached it. */
        if (partition_flight_count(&task->core) + partition_queued_count(&task->core) == 0) {
            task_settle(task);
            refused(task, &refusal);
        } else {
            hold(task, HOLD_ERROR_MS);
            sink_ready(task);
        }
        break;
    case TOOK_BAD:
    case TOOK_BACK:
        task_doubt(task, &err);
        break;
    }
}

static void diverged(struct task *task, const struct fetch_partition *fetched)
{
    struct err why = {0};
    err_set(&why, ERR_RETRY,
            "the source's log of leader epoch %d ends at %lld, before our position %lld",
            fetched->diverging_epoch, (long long)fetched->diverging_end_offset,
            (long long)task->core.fetch_next);
    task_doubt(task, &why);
}

static void fetch_failed(struct task *task, int16_t error)
{
    struct err why = {0};
    const struct kafka_error_info *info = kafka_error_info(error);
    switch ((int)error) {
    case KAFKA_OFFSET_OUT_OF_RANGE:
        if (!task->epoch_unchecked && task->core.fetch_epoch >= 0) {
            task->epoch_unchecked =
                true; /* also said when the leader no longer knows our last epoch */
            return;
        }
        err_set_code(&why, ERR_RETRY, error, "source offset %lld is out of range",
                     (long long)task->core.fetch_next);
        task_doubt(task, &why);
        return;
    case KAFKA_UNKNOWN_TOPIC_ID:
    case KAFKA_INCONSISTENT_TOPIC_ID:
    case KAFKA_UNKNOWN_TOPIC_OR_PARTITION:
    case KAFKA_NOT_LEADER_OR_FOLLOWER:
    case KAFKA_FENCED_LEADER_EPOCH:
    case KAFKA_UNKNOWN_LEADER_EPOCH:
    case KAFKA_LEADER_NOT_AVAILABLE:
    case KAFKA_STORAGE_ERROR:
        cluster_refresh(task->engine->source);
        break;
    default:
        break;
    }
    trouble(task, info->name);
}

static void take_partition(struct task *task, struct fetch_partition *fetched, struct buf *block)
{
    if (fetched->error != KAFKA_NONE) {
        fetch_failed(task, fetched->error);
        return;
    }
    trouble(task, "");
    if (fetched->last_stable_offset >= 0) {
        task->source_end = fetched->last_stable_offset;
        task->source_end_at_ms = loop_now_ms(task->engine->loop);
    }
    if (fetched->diverging) {
        diverged(task, fetched);
        return;
    }
    if (fetched->records_len > 0) {
        take_records(task, fetched, block);
    }
}

/* The task that an answered partition belongs to; answers come in the order asked, mostly. */
static struct task *asked(struct source_request *request, const struct fetch_partition *fetched,
                          int32_t *cursor)
{
    for (int32_t tries = 0; tries < request->count; tries++) {
        int32_t at = (*cursor + tries) % request->count;
        struct task *task = request->tasks[at];
        bool same_topic =
            request->version >= 13
                ? uuid_equal(&task->source_topic_id, &fetched->topic_id)
                : fetched->topic.len == (int32_t)strlen(task->topic) &&
                      memcmp(fetched->topic.data, task->topic, (size_t)fetched->topic.len) == 0;
        if (same_topic && task->index == fetched->partition) {
            *cursor = at + 1;
            bool current = task->mode == TASK_CARRYING && task->ticket == request->tickets[at];
            return current ? task : NULL;
        }
    }
    return NULL;
}

static void take_answer(struct source_request *request, struct reader *reader, struct buf *block)
{
    struct fetch_answer answer;
    struct err err = {0};
    if (!proto_get_fetch(reader, request->version, &answer, &err)) {
        cluster_drop_conn(request->engine->source, request->broker, FETCH_LANE, err.what);
        return;
    }
    if (answer.error != KAFKA_NONE) {
        log_warn("source.fetch_failed", "broker=%d error=%s doing=\"asking again\"",
                 request->broker, kafka_error_name(answer.error));
    }
    int32_t cursor = 0;
    request->engine->counters.source_throttle_ms +=
        answer.throttle_ms > 0 ? (uint64_t)answer.throttle_ms : 0;
    for (int32_t i = 0; i < answer.partitions_count; i++) {
        struct task *task = asked(request, &answer.partitions[i], &cursor);
        if (task != NULL) {
            task->behind = answer.partitions[i].records_len >= (size_t)request->share / 2;
            take_partition(task, &answer.partitions[i], block);
        }
    }
    fetch_answer_done(&answer);
}

static void answered(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct source_request *request = arg;
    struct engine *engine = request->engine;
    (void)err; /* a lost connection is told by the cluster; the next pump asks again */
    broker_of(engine, request->broker)->asking = false;
    if (reader != NULL) {
        engine->counters.fetches++;
        take_answer(request, reader, block);
    }
    request_free(request);
    if (reader != NULL) {
        source_pump(engine); /* the next Fetch travels while we produce */
        engine_pump_soon(engine);
    }
}

/* --- a request ---------------------------------------------------------------------------------------------------- */

static bool is_led_by(const struct task *task, int32_t broker)
{
    return task->mode == TASK_CARRYING &&
           cluster_leader(task->engine->source, task->topic, task->index).broker == broker;
}

/* Bytes of one partition in one answer: those that are behind share it evenly. An answer full of one partition would
 * leave Produce requests with a batch of one partition each, and needs deep queues to mix them again: memory that has
 * left the processor's cache when it is sent. */
static int32_t share_of(const struct engine *engine, int32_t broker)
{
    int64_t most = engine->options.limits->partition_fetch_bytes;
    int64_t behind_count = 0;
    for (size_t i = 0; i < engine->tasks_count; i++) {
        behind_count += engine->tasks[i]->behind && is_led_by(engine->tasks[i], broker);
    }
    int64_t share = engine->options.limits->fetch_bytes / (behind_count > 0 ? behind_count : 1);
    share = share > SHARE_LEAST_BYTES ? share : SHARE_LEAST_BYTES;
    return (int32_t)(share < most ? share : most);
}

static bool wanted(const struct task *task, int32_t broker, int64_t now_ms,
                   const struct partition_bounds *bounds, bool *held)
{
    if (task->fetching || !is_led_by(task, broker)) {
        return false;
    }
    if (task->hold_until_ms > now_ms || !partition_wants(&task->core, bounds)) {
        *held = true;
        return false;
    }
    return true;
}

/* Tasks stand sorted by topic. Begin with task `turn`, then the rest of its topic from its beginning, then the other
 * topics in order: everybody is first once, and a topic never stands twice in a request. */
static void turn_order(const struct engine *engine, size_t turn, size_t *out_order)
{
    size_t first = turn;
    size_t last = turn;
    while (first > 0 && strcmp(engine->tasks[first - 1]->topic, engine->tasks[turn]->topic) == 0) {
        first--;
    }
    while (last + 1 < engine->tasks_count &&
           strcmp(engine->tasks[last + 1]->topic, engine->tasks[turn]->topic) == 0) {
        last++;
    }
    size_t count = 0;
    for (size_t i = turn; i <= last; i++) {
        out_order[count++] = i;
    }
    for (size_t i = first; i < turn; i++) {
        out_order[count++] = i;
    }
    for (size_t i = last + 1; i < engine->tasks_count; i++) {
        out_order[count++] = i;
    }
    for (size_t i = 0; i < first; i++) {
        out_order[count++] = i;
    }
}

static struct source_request *collect(struct engine *engine, struct source_broker *broker,
                                      bool *out_held)
{
    int32_t share = share_of(engine, broker->broker);
    struct partition_bounds bounds = {.window_bytes =
                                          engine->options.limits->partition_window_bytes,
                                      .queue_bytes = share / QUEUE_PARTS};
    int64_t now_ms = loop_now_ms(engine->loop);
    size_t *order = calloc(engine->tasks_count, sizeof(*order));
    struct source_request *request = calloc(1, sizeof(*request));
    if (order == NULL || request == NULL) {
        abort();
    }
    request->engine = engine;
    request->broker = broker->broker;
    request->share = share;
    request->tasks = calloc(engine->tasks_count, sizeof(struct task *));
    request->tickets = calloc(engine->tasks_count, sizeof(*request->tickets));
    if (request->tasks == NULL || request->tickets == NULL) {
        abort();
    }
    turn_order(engine, broker->turn++ % engine->tasks_count, order);
    for (size_t i = 0; i < engine->tasks_count; i++) {
        struct task *task = engine->tasks[order[i]];
        if (wanted(task, broker->broker, now_ms, &bounds, out_held)) {
            task->fetching = true;
            request->tickets[request->count] = task->ticket;
            request->tasks[request->count++] = task_ref(task);
        }
    }
    free(order);
    return request;
}

static void put_request(struct source_request *request, bool held, struct writer *writer)
{
    struct engine *engine = request->engine;
    struct fetch_want *wants = calloc((size_t)request->count, sizeof(*wants));
    if (wants == NULL) {
        abort();
    }
    for (int32_t i = 0; i < request->count; i++) {
        struct task *task = request->tasks[i];
        wants[i] = (struct fetch_want){
            .topic = task->topic,
            .topic_id = task->source_topic_id,
            .partition = task->index,
            .current_leader_epoch = cluster_leader(engine->source, task->topic, task->index).epoch,
            .offset = task->core.fetch_next,
            .last_fetched_epoch = task->epoch_unchecked ? -1 : task->core.fetch_epoch,
            .max_bytes = request->share};
    }
    proto_put_fetch(writer, request->version, held ? FETCH_WAIT_HELD_MS : FETCH_WAIT_MS, 1,
                    (int32_t)engine->options.limits->fetch_bytes, true, wants, request->count);
    free(wants);
}

static void ask(struct engine *engine, struct source_broker *broker)
{
    size_t used = buf_pool_used_bytes(engine->pool);
    if (broker->asking || used + (size_t)engine->options.limits->fetch_bytes >
                              (size_t)engine->options.limits->link_window_bytes) {
        return; /* acknowledgments give the room back and pump again */
    }
    struct conn *conn = cluster_conn(engine->source, broker->broker, FETCH_LANE);
    if (conn == NULL) {
        return;
    }
    bool held = false;
    struct source_request *request = collect(engine, broker, &held);
    request->version = conn_versions(conn)->version[API_FETCH];
    if (request->count == 0 || request->version < 0) {
        request_free(request);
        return;
    }
    struct writer writer;
    writer_init(&writer);
    put_request(request, held, &writer);
    broker->asking = true;
    conn_send(conn, API_FETCH, request->version, &writer, NULL, 0, FETCH_WAIT_MS + FETCH_GRACE_MS,
              answered, request);
}

bool source_idle(const struct engine *engine)
{
    for (size_t i = 0; i < engine->brokers_count; i++) {
        if (!engine->brokers[i]->asking) {
            return true;
        }
    }
    return engine->brokers_count == 0;
}

void source_pump(struct engine *engine)
{
    for (size_t i = 0; i < engine->tasks_count; i++) {
        struct task *task = engine->tasks[i];
        if (task->mode == TASK_CARRYING && !task->fetching) {
            int32_t leader = cluster_leader(engine->source, task->topic, task->index).broker;
            if (leader >= 0) {
                broker_of(engine, leader)->wanted = true;
            }
        }
    }
    for (size_t i = 0; i < engine->brokers_count; i++) {
        if (engine->brokers[i]->wanted) {
            engine->brokers[i]->wanted = false;
            ask(engine, engine->brokers[i]);
        }
    }
}
