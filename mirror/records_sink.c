#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kafka/path_probe.h"
#include "mirror/records.h"

#define EVENT_MESSAGES    256
#define PRODUCER_RETRY_MS 1000 /* a producer that failed is made anew at most so often */
#define END_MS            1000
#define RETIRED_END_MS    50 /* of a producer that nothing flies of; a healthy one ends in 10 ms */

/* --- who has something to send ------------------------------------------------------------------------------------ */

void records_sink_ready(struct task *task)
{
    struct records *records = task->engine->records;
    if (task->ready || task->mode != TASK_CARRYING || task->records->unsent == NULL) {
        return;
    }
    task->ready = true;
    task->ready_next = NULL;
    if (records->ready_last == NULL) {
        records->ready_first = task;
    } else {
        records->ready_last->ready_next = task;
    }
    records->ready_last = task;
}

static struct task *ready_pop(struct records *records)
{
    struct task *task = records->ready_first;
    records->ready_first = task->ready_next;
    if (records->ready_first == NULL) {
        records->ready_last = NULL;
    }
    task->ready = false;
    task->ready_next = NULL;
    return task;
}

void records_sink_unlink(struct task *task)
{
    struct records *records = task->engine->records;
    struct task *before = NULL;
    if (!task->ready) {
        return;
    }
    for (struct task *at = records->ready_first; at != task; at = at->ready_next) {
        before = at;
    }
    if (before == NULL) {
        records->ready_first = task->ready_next;
    } else {
        before->ready_next = task->ready_next;
    }
    if (records->ready_last == task) {
        records->ready_last = before;
    }
    task->ready = false;
    task->ready_next = NULL;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void produce_failed(struct task *task, rd_kafka_resp_err_t code)
{
    struct records *records = task->engine->records;
    struct err why = {0};
    if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        const struct chunk *chunk = task->records->unsent;
        int64_t at = chunk->messages[chunk->sent]->offset;
        err_set_code(&why, ERR_REFUSED, code,
                     "the record at source offset %lld is larger than librdkafka writes",
                     (long long)at);
        err_hint(&why, "see docs/faults.md#batch-refused");
        task_fault(task, FAULT_BATCH_REFUSED, at, at + 1, &why);
        return;
    }
    err_set_code(&why, ERR_RETRY, code, "the producer takes no record: %s", rd_kafka_err2str(code));
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        records_sink_retire(records, why.what);
    }
    task_doubt(task, &why);
}

static void handed_over(struct task *task, struct chunk *chunk)
{
    struct records *records = task->engine->records;
    if (chunk->sent++ == 0) {
        partition_sent(&task->core, loop_now_ms(task->engine->loop));
        task->flying_count++;
    }
    records->flying_count++;
}

/* @return false when the producer has no room: later */
static bool send_chunk(struct task *task, struct chunk *chunk)
{
    struct records *records = task->engine->records;
    rd_kafka_topic_t *topic = records_target(records, task->records->topic);
    while (chunk->sent < chunk->count) {
        rd_kafka_resp_err_t code = records_one_produce(client_handle(records->producer), topic,
                                                       chunk->messages[chunk->sent], chunk);
        if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            return false;
        }
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            produce_failed(task, code);
            return true;
        }
        handed_over(task, chunk);
    }
    task->records->unsent = chunk->next;
    task->engine->counters.produces++;
    return true;
}

/* May its next chunk go: begun already, or the core says so. */
static bool may_go(struct task *task)
{
    const struct partition_bounds bounds = {
        .window_bytes = task->engine->options.limits->partition_window_bytes};
    const struct chunk *chunk = task->records->unsent;
    return task->mode == TASK_CARRYING && chunk != NULL &&
           (chunk->sent > 0 || partition_peek(&task->core, &bounds) != NULL);
}

void records_sink_send(struct records *records)
{
    const struct engine_callbacks *callbacks = &records->engine->callbacks;
    while (records->ready_first != NULL && records->producer != NULL && !records->retiring &&
           callbacks->may_send(callbacks->arg)) {
        struct task *task = ready_pop(records);
        if (!may_go(task)) {
            continue; /* an acknowledgment makes it ready again */
        }
        bool room = send_chunk(task, task->records->unsent);
        records_sink_ready(task);
        if (!room) {
            return;
        }
    }
}

/* --- acknowledgments ---------------------------------------------------------------------------------------------- */

static void advanced(struct task *task, struct ack *ack, const struct chunk *chunk)
{
    struct engine *engine = task->engine;
    ack->bytes = ack->last ? chunk->payload_bytes : 0; /* the core counts memory */
    task->corrupt_count = 0;
    engine->counters.records += (uint64_t)ack->run.length;
    engine->counters.bytes += ack->bytes;
    engine->counters.batches += ack->last;
    engine->moved_bytes += (int64_t)ack->bytes;
    flow_moved(&task->flow, (int64_t)ack->bytes);
    engine->callbacks.ack(engine->callbacks.arg, task, ack);
    if (ack->last) {
        task->ack_ms = loop_now_ms(engine->loop) - ack->sent_ms;
    }
}

static void unknown_place(struct task *task, const struct chunk *chunk)
{
    struct err why = {0};
    if (chunk->strayed < 0) {
        err_set(&why, ERR_RETRY,
                "the target does not say where the records of source offsets %lld..%lld went",
                (long long)chunk->parcel.source_first, (long long)chunk->parcel.source_next - 1);
    } else {
        err_set(&why, ERR_RETRY,
                "records of source offsets %lld..%lld went to target offset %lld, not to %lld",
                (long long)chunk->parcel.source_first, (long long)chunk->parcel.source_next - 1,
                (long long)chunk->strayed, (long long)chunk->target_next);
    }
    task_doubt(task, &why);
}

static void report_failed(struct task *task, rd_kafka_resp_err_t code)
{
    struct err why = {0};
    char lacks[ACL_LACKS_BYTES];
    if (code > 0 && cluster_denied(task->engine->target, (int16_t)code, ACL_WRITE, ACL_TOPIC,
                                   task->topic, lacks)) {
        err_set_code(&why, ERR_RETRY, code, "target: %s", lacks);
    } else {
        err_set_code(&why, ERR_RETRY, code, "the target did not take records: %s",
                     rd_kafka_err2str(code));
    }
    task_doubt(task, &why);
}

/* The oldest chunk has landed: what the target says of it. */
static void answer(struct task *task, const struct chunk *chunk)
{
    struct ack ack;
    struct err why = {0};
    bool of_kafka = chunk->error > 0;
    if (chunk->error == RD_KAFKA_RESP_ERR_NO_ERROR &&
        (chunk->strayed >= 0 || chunk->target_first < 0)) {
        unknown_place(task, chunk);
        return;
    }
    if (chunk->error < 0 ||
        (of_kafka && kafka_error_info((int16_t)chunk->error)->produce != PRODUCE_REFUSED)) {
        report_failed(task, chunk->error);
        return;
    }
    switch (partition_answer(&task->core, (int16_t)chunk->error, chunk->target_first, &ack, &why)) {
    case ANSWERED_ADVANCED:
        do {
            advanced(task, &ack, chunk);
        } while (partition_more(&task->core, &ack));
        task_settle(task);
        break;
    case ANSWERED_DOUBT:
        task_doubt(task, &why);
        break;
    case ANSWERED_REFUSED:
        task_fault(task, FAULT_BATCH_REFUSED, chunk->parcel.source_first, chunk->parcel.source_next,
                   &why);
        break;
    }
}

static void take_off(struct task *task)
{
    struct records_task *of = task->records;
    struct chunk *chunk = of->first;
    of->first = chunk->next;
    if (of->first == NULL) {
        of->last = NULL;
    }
}

static void chunk_landed(struct chunk *chunk)
{
    struct task *task = task_ref(chunk->task);
    struct records_task *of = task->records;
    if (chunk->dropped) {
        records_chunk_free(chunk);
        task_landed(task);
    } else {
        chunk->done = true;
    }
    while (of->first != NULL && of->first->done) {
        struct chunk *oldest = of->first;
        take_off(task); /* what drops the window does not find it any more */
        answer(task, oldest);
        records_chunk_free(oldest);
        task_landed(task);
    }
    records_sink_ready(task);
    task_unref(task);
}

static void take_report(struct records *records, const rd_kafka_message_t *message)
{
    struct chunk *chunk = message->_private;
    records->flying_count--;
    chunk->landed++;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        chunk->error = chunk->error == RD_KAFKA_RESP_ERR_NO_ERROR ? message->err : chunk->error;
    } else if (chunk->landed == 1 && message->offset >= 0) {
        chunk->target_first = message->offset;
        chunk->target_next = message->offset + 1;
    } else if (message->offset != chunk->target_next || message->offset < 0) {
        bool first = chunk->strayed < 0 && message->offset >= 0;
        chunk->strayed = first ? message->offset : chunk->strayed;
        chunk->target_first = message->offset >= 0 ? chunk->target_first : -1;
    } else {
        chunk->target_next++;
    }
    if (chunk->landed == chunk->sent && (chunk->dropped || chunk->sent == chunk->count)) {
        chunk_landed(chunk);
    }
}

/* --- the producer's end ------------------------------------------------------------------------------------------- */

void records_sink_retire(struct records *records, const char *why)
{
    if (records->producer == NULL || records->retiring) {
        return;
    }
    records->retiring = true;
    log_warn("records.producer_ended",
             "flying_records=%lld why=%s doing=\"another one, once the target's tail was read\"",
             (long long)records->flying_count, log_quote(why).text);
    (void)rd_kafka_purge(client_handle(records->producer), RD_KAFKA_PURGE_F_QUEUE |
                                                               RD_KAFKA_PURGE_F_INFLIGHT |
                                                               RD_KAFKA_PURGE_F_NON_BLOCKING);
}

static void free_producer(struct records *records, int32_t wait_ms)
{
    for (size_t i = 0; i < records->topics_count; i++) {
        if (records->topics[i]->target != NULL) {
            rd_kafka_topic_destroy(records->topics[i]->target);
            records->topics[i]->target = NULL;
        }
    }
    rd_kafka_queue_io_event_enable(records->target_queue, -1, NULL, 0);
    rd_kafka_queue_destroy(records->target_queue);
    client_free(records->producer, wait_ms);
    records->producer = NULL;
    records->retiring = false;
}

/* A target that refuses to be asked for a producer id at all: then each connection has one request in flight. */
static void fatal(struct records *records)
{
    char why[512] = "";
    rd_kafka_resp_err_t code =
        rd_kafka_fatal_error(client_handle(records->producer), why, sizeof(why));
    if (records->idempotent && path_probe_refuses_idempotence(code)) {
        records->idempotent = false;
        log_warn("records.not_idempotent",
                 "why=%s doing=\"one request in flight: an answer that is lost repeats records\"",
                 log_quote(why).text);
    }
    records_sink_retire(records, why);
}

static void take_event(struct records *records, rd_kafka_event_t *event)
{
    const rd_kafka_message_t *messages[EVENT_MESSAGES];
    size_t count = 0;
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
        while ((count = rd_kafka_event_message_array(event, messages, EVENT_MESSAGES)) > 0) {
            for (size_t i = 0; i < count; i++) {
                take_report(records, messages[i]);
            }
        }
        break;
    case RD_KAFKA_EVENT_ERROR:
        if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__FATAL) {
            fatal(records);
        } else {
            log_debug("records.target", "why=%s",
                      log_quote(rd_kafka_event_error_string(event)).text);
        }
        break;
    default:
        break;
    }
}

void records_sink_take(struct records *records)
{
    rd_kafka_event_t *event = NULL;
    while (records->producer != NULL &&
           (event = rd_kafka_queue_poll(records->target_queue, 0)) != NULL) {
        take_event(records, event);
        rd_kafka_event_destroy(event);
    }
}

static void make_anew(struct records *records)
{
    struct err err = {0};
    int64_t now_ms = loop_now_ms(records->engine->loop);
    if (now_ms < records->producer_due_ms) {
        return;
    }
    records->producer_due_ms = now_ms + PRODUCER_RETRY_MS;
    if (!records_sink_open(records, &err)) {
        log_warn("records.producer_failed", "why=%s doing=\"trying again\"",
                 log_quote(err.what).text);
    }
}

void records_sink_look(struct records *records)
{
    const struct engine_callbacks *callbacks = &records->engine->callbacks;
    if (records->producer != NULL) {
        client_refresh(records->producer);
        if (client_is_old(records->producer)) {
            records_sink_retire(records, "certificates or keys changed");
        } else if (records->flying_count > 0 && !callbacks->may_send(callbacks->arg)) {
            records_sink_retire(records, "a gate of the link is closed");
        }
        records_sink_take(records);
    }
    if (records->retiring && records->flying_count == 0) {
        free_producer(records, RETIRED_END_MS);
    }
    if (records->producer == NULL) {
        make_anew(records);
    }
}

bool records_sink_open(struct records *records, struct err *err)
{
    static const uint64_t one = 1;
    const struct engine_options *options = &records->engine->options;
    char timeout[24];
    bool same =
        options->compression == COMPRESSION_SOURCE; /* librdkafka does not tell what it was */
    snprintf(timeout, sizeof(timeout), "%d", options->limits->produce_timeout_ms);
    /* clang-format off */
    const char *const extra[] = {
        "enable.idempotence", records->idempotent ? "true" : "false",
        /* A batch that the target refuses for ever ends the producer: what follows it does not pass by. */
        "enable.gapless.guarantee", records->idempotent ? "true" : "false",
        "max.in.flight.requests.per.connection", records->idempotent ? "5" : "1",
        "acks", "all",
        "message.timeout.ms", "0",
        "request.timeout.ms", timeout,
        "message.max.bytes", "1000000000",
        "batch.num.messages", "100000",
        "linger.ms", "5",
        "queue.buffering.max.messages", "0", /* the window bounds them */
        "queue.buffering.max.kbytes", "2097151",
        "compression.type", same ? "none" : config_compression_name(options->compression),
        NULL};
    /* clang-format on */
    records->producer = client_new_bounded(RD_KAFKA_PRODUCER, records->target_settings, extra,
                                           RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR,
                                           options->limits->tcp_user_timeout_ms, err);
    if (records->producer == NULL) {
        return false;
    }
    records->target_queue = rd_kafka_queue_get_main(client_handle(records->producer));
    rd_kafka_queue_io_event_enable(records->target_queue, records->wake_fd, &one, sizeof(one));
    return true;
}

void records_sink_close(struct records *records)
{
    if (records->producer == NULL) {
        return;
    }
    if (records->flying_count > 0) {
        records_sink_retire(records, "the link ends");
    }
    int64_t until_ms = client_now_ms() + END_MS;
    while (records->flying_count > 0 && client_now_ms() < until_ms) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(records->target_queue, 10);
        if (event != NULL) {
            take_event(records, event);
            rd_kafka_event_destroy(event);
        }
    }
    free_producer(records, CLIENT_END_MS);
}
