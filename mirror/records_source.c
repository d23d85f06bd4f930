#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/log.h"
#include "mirror/records.h"

#define TAKE_COUNT        512       /* records of one look at the queue */
#define CHUNK_RECORDS_MAX 4096      /* of one acknowledgment: a checkpoint lies between chunks */
#define CHUNK_BYTES_MAX   (1 << 20) /* likewise */
#define PREFETCH_LEAST_KB 1024
#define ENDS_EVERY_MS     1000
#define ENDS_TIMEOUT_MS   5000
#define ERRORS_A_LOOK     64

/* --- chunks ------------------------------------------------------------------------------------------------------- */

static void chunk_grow(struct chunk *chunk)
{
    chunk->capacity = chunk->capacity == 0 ? 64 : chunk->capacity * 2;
    chunk->messages =
        must(realloc(chunk->messages, (size_t)chunk->capacity * sizeof(rd_kafka_message_t *)));
}

static struct chunk *chunk_new(struct task *task)
{
    struct chunk *chunk = must(calloc(1, sizeof(*chunk)));
    chunk->task = task_ref(task);
    chunk->target_first = chunk->strayed = -1;
    return chunk;
}

/* Where its records stood: one run more when this one does not follow the one before it. */
static void add_run(struct chunk *chunk, int64_t offset)
{
    struct parcel *parcel = &chunk->parcel;
    struct recode_run *last =
        parcel->runs_count == 0 ? NULL : &parcel->runs[parcel->runs_count - 1];
    if (last != NULL && last->source_first + last->count == offset) {
        last->count++;
        return;
    }
    if (parcel->runs_count == chunk->runs_capacity) {
        chunk->runs_capacity = chunk->runs_capacity == 0 ? 4 : chunk->runs_capacity * 2;
        parcel->runs = must(realloc(parcel->runs, chunk->runs_capacity * sizeof(*parcel->runs)));
    }
    assert(parcel->runs != NULL);
    parcel->runs[parcel->runs_count++] = (struct recode_run){.source_first = offset, .count = 1};
}

static void chunk_add(struct chunk *chunk, rd_kafka_message_t *message)
{
    if (chunk->count == chunk->capacity) {
        chunk_grow(chunk);
    }
    if (chunk->count == 0) {
        chunk->parcel.source_first = message->offset;
    }
    add_run(chunk, message->offset);
    chunk->messages[chunk->count++] = message;
    chunk->bytes += records_one_bytes(message);
    chunk->payload_bytes += message->len + message->key_len;
    chunk->parcel.source_next = message->offset + 1;
    chunk->parcel.leader_epoch = rd_kafka_message_leader_epoch(message);
}

void records_chunk_free(struct chunk *chunk)
{
    struct task *task = chunk->task;
    task->engine->records->held_bytes -= (int64_t)chunk->bytes;
    for (int32_t i = 0; i < chunk->count; i++) {
        rd_kafka_message_destroy(chunk->messages[i]);
    }
    free(chunk->messages);
    free(chunk->parcel.runs);
    free(chunk);
    task_unref(task);
}

/* The core fixes its place on the target; its runs are the core's from now on. */
static void chunk_close(struct task *task)
{
    struct records_task *of = task->records;
    struct chunk *chunk = of->open;
    of->open = NULL;
    if (chunk == NULL) {
        return;
    }
    chunk->parcel.count = chunk->count;
    chunk->parcel.len = chunk->bytes;
    if (chunk->parcel.runs_count == 1) { /* as a batch that passed */
        free(chunk->parcel.runs);
        chunk->parcel.runs = NULL;
        chunk->parcel.runs_count = 0;
    }
    partition_take_parcel(&task->core, &chunk->parcel);
    chunk->parcel.runs = NULL;
    if (of->last == NULL) {
        of->first = chunk;
    } else {
        of->last->next = chunk;
    }
    of->last = chunk;
    of->unsent = of->unsent == NULL ? chunk : of->unsent;
}

/* --- a record ----------------------------------------------------------------------------------------------------- */

static struct throttle *throttle_of(const struct task *task)
{
    return task->steady ? &task->engine->steady : &task->engine->first_copy;
}

static void gather(struct records *records, struct task *task)
{
    if (task->records->gathering) {
        return;
    }
    if (records->gathered_count == records->gathered_capacity) {
        records->gathered_capacity =
            records->gathered_capacity == 0 ? 64 : records->gathered_capacity * 2;
        records->gathered =
            must(realloc(records->gathered, records->gathered_capacity * sizeof(struct task *)));
    }
    records->gathered[records->gathered_count++] = task_ref(task);
    task->records->gathering = true;
}

static void refuse(struct task *task, const rd_kafka_message_t *message, const char *why)
{
    struct records_task *of = task->records;
    of->refused = true;
    err_set(&of->refusal, ERR_REFUSED, "the record at source offset %lld may not pass: %s",
            (long long)message->offset, why);
    err_hint(&of->refusal, "see docs/records.md#limits; the path \"batches\" carries it");
}

/* Takes the message. */
static void take_record(struct records *records, struct task *task, rd_kafka_message_t *message)
{
    struct records_task *of = task->records;
    struct engine *engine = records->engine;
    int64_t next = of->passed > task->core.fetch_next ? of->passed : task->core.fetch_next;
    if (message->offset < next || of->refused) { /* read before, or asked for by nobody any more */
        rd_kafka_message_destroy(message);
        return;
    }
    gather(records, task);
    throttle_take(throttle_of(task), (int64_t)(message->len + message->key_len));
    enum record_verdict verdict = records_one_judge(engine->options.filter, message);
    const char *why = verdict == RECORD_KEPT ? records_one_refusal(message) : NULL;
    if (why != NULL) {
        of->passed = message->offset;
        refuse(task, message, why);
        rd_kafka_message_destroy(message);
        return;
    }
    of->passed = message->offset + 1;
    of->passed_epoch = rd_kafka_message_leader_epoch(message);
    if (verdict != RECORD_KEPT) {
        recode_count_filtered(engine->recode, verdict);
        rd_kafka_message_destroy(message);
        return;
    }
    if (of->open == NULL) {
        of->open = chunk_new(task);
    }
    size_t before = of->open->bytes;
    chunk_add(of->open, message);
    records->held_bytes += (int64_t)(of->open->bytes - before);
    if (of->open->count >= CHUNK_RECORDS_MAX || of->open->bytes >= CHUNK_BYTES_MAX) {
        chunk_close(task);
    }
}

/* --- what else comes over the queue ------------------------------------------------------------------------------- */

static void doubt(struct task *task, const rd_kafka_message_t *message, const char *what)
{
    struct err why = {0};
    err_set_code(&why, ERR_RETRY, message->err, "source: %s: %s", what,
                 message->payload == NULL ? rd_kafka_err2str(message->err)
                                          : (const char *)message->payload);
    task_doubt(task, &why);
}

/* librdkafka goes on behind a batch whose checksum is wrong: nothing that comes behind it counts. */
static void corrupt(struct task *task, const rd_kafka_message_t *message)
{
    struct err why = {0};
    if (++task->corrupt_count < CORRUPT_TRIES) {
        doubt(task, message, "broken bytes"); /* fetched again: it may have been the way here */
        return;
    }
    err_set(&why, ERR_REFUSED, "the batch at source offset %lld may not pass: %s",
            (long long)message->offset, rd_kafka_err2str(message->err));
    err_hint(&why, "see docs/faults.md#batch-refused");
    task_fault(task, FAULT_BATCH_REFUSED, message->offset, message->offset + 1, &why);
}

static void at_end(struct records *records, struct task *task, int64_t offset)
{
    gather(records, task); /* what was gathered is closed first; then a hole at the end is passed */
    task->records->passed = offset > task->records->passed ? offset : task->records->passed;
    task->steady = true;
    task->behind = false;
}

static void take_error(struct records *records, struct task *task,
                       const rd_kafka_message_t *message)
{
    char lacks[ACL_LACKS_BYTES];
    switch ((int)message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        task_trouble_is(task, "");
        at_end(records, task, message->offset);
        break;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET: /* out of range: retention, or another log */
    case RD_KAFKA_RESP_ERR__LOG_TRUNCATION:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        doubt(task, message, "the position is not in its log");
        break;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR__UNDERFLOW:
        corrupt(task, message);
        break;
    default:
        if (cluster_denied(records->engine->source, (int16_t)message->err, ACL_READ, ACL_TOPIC,
                           task->topic, lacks)) {
            task_trouble_is(task, lacks);
        } else {
            task_trouble_is(task, message->payload == NULL ? rd_kafka_err2str(message->err)
                                                           : (const char *)message->payload);
        }
        cluster_refresh(records->engine->source);
        break;
    }
}

static struct task *task_of(const rd_kafka_message_t *message)
{
    struct records_topic *topic = message->rkt == NULL ? NULL : rd_kafka_topic_opaque(message->rkt);
    if (topic == NULL || message->partition < 0 || message->partition >= topic->tasks_capacity) {
        return NULL;
    }
    struct task *task = topic->tasks[message->partition];
    return task != NULL && task->mode == TASK_CARRYING && task->records->started ? task : NULL;
}

static void take_one(struct records *records, rd_kafka_message_t *message)
{
    struct task *task = task_of(message);
    if (task == NULL) { /* nobody's any more */
        rd_kafka_message_destroy(message);
    } else if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        take_error(records, task, message);
        rd_kafka_message_destroy(message);
    } else {
        task->behind = true;
        task_trouble_is(task, "");
        take_record(records, task, message);
    }
}

/* --- one look at the queue ---------------------------------------------------------------------------------------- */

static void tell_refusal(struct task *task)
{
    struct records_task *of = task->records;
    if (of->refused && task->mode == TASK_CARRYING &&
        partition_flight_count(&task->core) + partition_queued_count(&task->core) == 0) {
        struct err why = of->refusal;
        of->refused = false;
        task_settle(task);
        task_fault(task, FAULT_BATCH_REFUSED, of->passed, of->passed + 1, &why);
    }
}

static int64_t window_bytes(const struct engine *engine)
{
    return engine->options.limits->partition_window_bytes;
}

static int64_t held_of(const struct task *task)
{
    return task->core.queued_bytes + task->core.flight_bytes;
}

static void set_paused(struct task *task, bool paused)
{
    struct records *records = task->engine->records;
    struct records_task *of = task->records;
    if (!of->started || of->paused == paused) {
        return;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, task->topic, task->index);
    rd_kafka_t *rk = client_handle(records->consumer);
    (void)(paused ? rd_kafka_pause_partitions(rk, list) : rd_kafka_resume_partitions(rk, list));
    rd_kafka_topic_partition_list_destroy(list);
    of->paused = paused;
}

/* Its window is full: what librdkafka holds of it beyond is given up and fetched again, so this is for a partition that
 * stands while others flow; when all of them are slow, the queue is left alone (has_room). */
static void hold_back(struct task *task)
{
    if (held_of(task) >= window_bytes(task->engine)) {
        set_paused(task, true);
    }
}

/* All that was gathered is one chunk a partition. */
static void close_gathered(struct records *records)
{
    for (size_t i = 0; i < records->gathered_count; i++) {
        struct task *task = records->gathered[i];
        struct records_task *of = task->records;
        of->gathering = false;
        if (task->mode == TASK_CARRYING) {
            chunk_close(task);
            partition_pass(&task->core, of->passed, of->passed_epoch);
            records_sink_ready(task);
            task_settle(task);
            hold_back(task);
            tell_refusal(task);
            task_look_leaderless(
                task, cluster_leader(task->engine->source, task->topic, task->index).broker);
        }
        task_unref(task);
    }
    records->gathered_count = 0;
}

/* Nobody may flow: then the queue is left alone, which costs nothing (what a pause gives up is fetched again). */
static bool all_throttled(struct engine *engine)
{
    int64_t now_ms = loop_now_ms(engine->loop);
    bool steady = engine->steady_count > 0 && throttle_room(&engine->steady, now_ms) > 0;
    bool first = engine->first_copy_count > 0 && throttle_room(&engine->first_copy, now_ms) > 0;
    return !steady && !first && engine->steady_count + engine->first_copy_count > 0;
}

/* Half a window each on the average, and the link's as the bound of all: then librdkafka stops fetching by itself. */
static bool has_room(const struct records *records)
{
    struct engine *engine = records->engine;
    if (records->reopening || all_throttled(engine)) {
        return false;
    }
    int64_t most = engine->options.limits->link_window_bytes / 2;
    int64_t average = (int64_t)engine->tasks_count * window_bytes(engine) / 2;
    return records->held_bytes < (average > 0 && average < most ? average : most);
}

void records_source_take(struct records *records)
{
    struct engine *engine = records->engine;
    rd_kafka_message_t *messages[TAKE_COUNT];
    engine->memory_full = false;
    if (records->consumer == NULL) {
        return;
    }
    for (;;) {
        if (!has_room(records)) {
            engine->memory_full = !all_throttled(engine);
            return; /* acknowledgments give the room back and look again */
        }
        ssize_t count =
            rd_kafka_consume_batch_queue(records->source_queue, 0, messages, TAKE_COUNT);
        for (ssize_t i = 0; i < count; i++) {
            take_one(records, messages[i]);
        }
        close_gathered(records);
        engine->counters.fetches += count > 0;
        if (count < TAKE_COUNT) {
            return;
        }
        records_sink_send(records);
    }
}

/* --- start, stop -------------------------------------------------------------------------------------------------- */

void records_source_free_topic(struct records_topic *topic)
{
    if (topic->source != NULL) {
        rd_kafka_topic_destroy(topic->source);
        topic->source = NULL;
    }
}

static rd_kafka_topic_t *source_topic(struct records *records, struct records_topic *topic)
{
    if (topic->source == NULL) {
        rd_kafka_t *rk = client_handle(records->consumer);
        rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(rk);
        rd_kafka_topic_conf_set_opaque(conf, topic);
        topic->source = must(rd_kafka_topic_new(rk, topic->name, conf));
    }
    return topic->source;
}

void records_source_start(struct task *task)
{
    struct records *records = task->engine->records;
    struct records_task *of = task->records;
    of->passed = task->core.fetch_next;
    of->passed_epoch = task->core.fetch_epoch;
    of->refused = false;
    if (records->consumer == NULL || of->started) {
        return;
    }
    of->paused = false;
    if (rd_kafka_consume_start_queue(source_topic(records, of->topic), task->index,
                                     task->core.fetch_next, records->source_queue) != 0) {
        task_trouble_is(task, rd_kafka_err2str(rd_kafka_last_error()));
        return; /* looked at again */
    }
    of->started = true;
}

/* What of it stands in the queue is outdated by that: librdkafka throws it away. */
void records_source_stop(struct task *task)
{
    struct records_task *of = task->records;
    if (of->started) {
        set_paused(task, false);
        (void)rd_kafka_consume_stop(of->topic->source, task->index);
        of->started = false;
    }
}

/* --- how far the source goes -------------------------------------------------------------------------------------- */

static struct task *find_task(const struct engine *engine, struct wire_string topic,
                              int32_t partition)
{
    size_t low = 0;
    size_t high = engine->tasks_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        struct task *task = engine->tasks[middle];
        size_t len = strlen(task->topic);
        size_t shorter = len < (size_t)topic.len ? len : (size_t)topic.len;
        int order = memcmp(task->topic, topic.data, shorter);
        order = order != 0 ? order : (len > (size_t)topic.len) - (len < (size_t)topic.len);
        order = order != 0 ? order : task->index - partition;
        if (order == 0) {
            return task;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

struct ends_question {
    struct engine *engine;
    int16_t version;
    int32_t broker;
};

static void take_ends(const struct ends_question *question, struct reader *reader)
{
    struct engine *engine = question->engine;
    struct list_offsets_answer answer;
    struct err err = {0};
    if (!proto_get_list_offsets(reader, question->version, &answer, &err)) {
        cluster_drop_conn(engine->source, question->broker, LANE_SMALL, err.what);
        return;
    }
    for (int32_t i = 0; i < answer.parts_count; i++) {
        const struct list_offsets_part *part = &answer.parts[i];
        struct task *task =
            part->topic.data == NULL ? NULL : find_task(engine, part->topic, part->partition);
        if (task != NULL && part->error == KAFKA_NONE && part->offset >= 0) {
            task->source_end = part->offset;
            task->source_end_at_ms = loop_now_ms(engine->loop);
            task->behind = task->behind && task->core.fetch_next < part->offset;
        }
    }
    list_offsets_answer_done(&answer);
}

static void ends_answered(void *arg, struct reader *reader, struct buf *block,
                          const struct err *err)
{
    struct ends_question *question = arg;
    (void)block;
    (void)err; /* asked again in a second; what is known ages */
    if (reader != NULL) {
        take_ends(question, reader);
    }
    free(question);
}

/* High watermarks of what a broker leads, by our own wire: librdkafka tells them with records only, and a source that is
 * silent must not look like one that is away. */
static void ask_ends(struct engine *engine, int32_t broker, const struct topic_partition *wants,
                     int32_t count)
{
    struct conn *conn = cluster_conn(engine->source, broker, LANE_SMALL);
    int16_t version = conn == NULL ? -1 : conn_versions(conn)->version[API_LIST_OFFSETS];
    if (version < 0) {
        return;
    }
    struct writer writer;
    struct ends_question *question = must(calloc(1, sizeof(*question)));
    *question = (struct ends_question){.engine = engine, .version = version, .broker = broker};
    writer_init(&writer);
    proto_put_list_offsets(&writer, version, false, LIST_OFFSETS_LATEST, wants, count);
    conn_send(conn, API_LIST_OFFSETS, version, &writer, NULL, 0, ENDS_TIMEOUT_MS, ends_answered,
              question);
}

static void ask_all_ends(struct engine *engine)
{
    struct topic_partition *wants = must(calloc(engine->tasks_count + 1, sizeof(*wants)));
    int32_t *leaders = must(calloc(engine->tasks_count + 1, sizeof(*leaders)));
    for (size_t i = 0; i < engine->tasks_count; i++) {
        const struct task *task = engine->tasks[i];
        leaders[i] = task->mode != TASK_CARRYING
                         ? -1
                         : cluster_leader(engine->source, task->topic, task->index).broker;
    }
    for (size_t i = 0; i < engine->tasks_count; i++) { /* tasks stand sorted by topic */
        int32_t broker = leaders[i];
        int32_t count = 0;
        for (size_t j = i; broker >= 0 && j < engine->tasks_count; j++) {
            if (leaders[j] == broker) {
                leaders[j] = -1;
                wants[count++] = (struct topic_partition){.topic = engine->tasks[j]->topic,
                                                          .partition = engine->tasks[j]->index};
            }
        }
        if (count > 0) {
            ask_ends(engine, broker, wants, count);
        }
    }
    free(wants);
    free(leaders);
}

/* --- ten times a second ------------------------------------------------------------------------------------------- */

static void look_at(struct task *task, int64_t now_ms)
{
    struct records_task *of = task->records;
    if (task->mode != TASK_CARRYING) {
        return;
    }
    if (!of->started && task->hold_until_ms <= now_ms) {
        records_source_start(task);
    }
    task->throttled = throttle_room(throttle_of(task), now_ms) <= 0;
    bool full = held_of(task) >= window_bytes(task->engine);
    bool half = held_of(task) > window_bytes(task->engine) / 2;
    bool apart = task->throttled && !all_throttled(task->engine);
    set_paused(task, apart || full || (of->paused && half));
    tell_refusal(task);
}

/* librdkafka tells of lost connections and of brokers that are all down: what is known with a partition is told there. */
static void drain_events(struct records *records)
{
    for (int i = 0; i < ERRORS_A_LOOK; i++) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(records->source_events, 0);
        if (event == NULL) {
            return;
        }
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR) {
            log_debug("records.source", "why=%s",
                      log_quote(rd_kafka_event_error_string(event)).text);
        }
        rd_kafka_event_destroy(event);
    }
}

static void reopen(struct records *records)
{
    struct engine *engine = records->engine;
    struct err why = {0};
    log_info("records.consumer_anew", "why=\"certificates or keys changed\"");
    for (size_t i = 0; i < engine->tasks_count; i++) {
        struct task *task = engine->tasks[i];
        err_set(&why, ERR_RETRY, "the source's consumer is made anew");
        task_doubt(task, &why);
    }
    records_source_close(records);
}

void records_source_look(struct records *records)
{
    struct engine *engine = records->engine;
    int64_t now_ms = loop_now_ms(engine->loop);
    if (records->consumer != NULL) {
        client_refresh(records->consumer);
        drain_events(records);
        records->reopening = client_is_old(records->consumer);
        if (records->reopening &&
            records->held_bytes == 0) { /* records do not outlive their handle */
            reopen(records);
        }
    }
    if (records->consumer == NULL) {
        struct err err = {0};
        if (!records_source_open(records, &err)) {
            log_debug("records.consumer", "why=%s", log_quote(err.what).text);
            return;
        }
    }
    engine->first_copy_count = engine->steady_count = 0;
    for (size_t i = 0; i < engine->tasks_count; i++) {
        struct task *task = engine->tasks[i];
        engine->steady_count += task->mode == TASK_CARRYING && task->steady;
        engine->first_copy_count += task->mode == TASK_CARRYING && !task->steady;
        look_at(task, now_ms);
    }
    if (now_ms - records->ends_ms >= ENDS_EVERY_MS) {
        records->ends_ms = now_ms;
        ask_all_ends(engine);
    }
}

/* --- the handle --------------------------------------------------------------------------------------------------- */

bool records_source_open(struct records *records, struct err *err)
{
    static const uint64_t one = 1;
    const struct config_limits *limits = records->engine->options.limits;
    char fetch[24];
    char part[24];
    char queue[24];
    int64_t queue_kb = (limits->link_window_bytes / 4) >> 10;
    queue_kb = queue_kb < PREFETCH_LEAST_KB ? PREFETCH_LEAST_KB : queue_kb;
    queue_kb = queue_kb > 2097151 ? 2097151 : queue_kb; /* librdkafka's bound */
    snprintf(fetch, sizeof(fetch), "%lld", (long long)limits->fetch_bytes);
    snprintf(part, sizeof(part), "%lld", (long long)limits->partition_fetch_bytes);
    snprintf(queue, sizeof(queue), "%lld", (long long)queue_kb);
    /* clang-format off */
    const char *const extra[] = {
        "enable.auto.commit", "false",
        "enable.auto.offset.store", "false",
        "auto.offset.reset", "error",
        "allow.auto.create.topics", "false",
        "isolation.level", "read_committed",
        "check.crcs", "true",
        "enable.partition.eof", "true",
        "fetch.wait.max.ms", "100",
        "fetch.error.backoff.ms", "100",
        "fetch.queue.backoff.ms", "20",
        "fetch.max.bytes", fetch,
        "fetch.message.max.bytes", part,
        "queued.min.messages", "1000000",
        "queued.max.messages.kbytes", queue,
        NULL};
    /* clang-format on */
    records->consumer =
        client_new(RD_KAFKA_CONSUMER, records->source_settings, extra, RD_KAFKA_EVENT_ERROR, err);
    if (records->consumer == NULL) {
        return false;
    }
    rd_kafka_t *rk = client_handle(records->consumer);
    records->source_queue = rd_kafka_queue_new(rk);
    records->source_events = rd_kafka_queue_get_main(rk);
    rd_kafka_queue_io_event_enable(records->source_queue, records->wake_fd, &one, sizeof(one));
    return true;
}

void records_source_close(struct records *records)
{
    if (records->consumer == NULL) {
        return;
    }
    for (size_t i = 0; i < records->topics_count; i++) {
        records_source_free_topic(records->topics[i]);
    }
    rd_kafka_queue_io_event_enable(records->source_queue, -1, NULL, 0);
    rd_kafka_queue_destroy(records->source_queue);
    rd_kafka_queue_destroy(records->source_events);
    client_free(records->consumer, CLIENT_END_MS);
    records->consumer = NULL;
}
