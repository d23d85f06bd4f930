#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "mirror/batches.h"
#include "mirror/sequence.h"

#define LANE_FIRST      1   /* lane 0 is for small requests */
#define LANE_FLIGHT_MAX 512 /* requests; 4 MiB a partition of 16 KiB batches are 256 */
#define LANE_UNSENT_MAX \
    (128 << 10) /* bytes queued in user space: the socket's own buffer keeps the line busy */
#define REQUEST_BYTES_MAX \
    (1 << 20) /* a broker serves one request of a connection at a time: keep them short */
#define REQUEST_PARTS_MAX 256
#define LANE_TASKS \
    8 /* partitions that share a lane before the next is opened: one request carries a batch of each */
#define ANSWER_GRACE_MS 3000 /* beyond the produce time-out */
#define CORRUPT_TRIES \
    2 /* a flipped bit on the way is fetched again; one on the source's disk stays */

/* One pinned connection to one target broker, and who has something to send on it. */
struct sink_lane {
    struct engine *engine;
    int32_t broker;
    int32_t lane;
    struct task *ready_first; /* queue through task->ready_next */
    struct task *ready_last;
};

struct sink_request {
    struct engine *engine;
    struct sink_lane *lane;
    int16_t version;
    int32_t count;
    struct task **tasks; /* references */
    uint32_t *tickets;
};

/* --- lanes -------------------------------------------------------------------------------------------------------- */

static struct sink_lane *lane_of(struct engine *engine, int32_t broker, int32_t lane)
{
    for (size_t i = 0; i < engine->lanes_count; i++) {
        if (engine->lanes[i]->broker == broker && engine->lanes[i]->lane == lane) {
            return engine->lanes[i];
        }
    }
    engine->lanes = realloc(engine->lanes, (engine->lanes_count + 1) * sizeof(struct sink_lane *));
    struct sink_lane *made = calloc(1, sizeof(*made));
    if (engine->lanes == NULL || made == NULL) {
        abort();
    }
    *made = (struct sink_lane){.engine = engine, .broker = broker, .lane = lane};
    engine->lanes[engine->lanes_count++] = made;
    return made;
}

void sink_free(struct engine *engine)
{
    for (size_t i = 0; i < engine->lanes_count; i++) {
        free(engine->lanes[i]);
    }
    free(engine->lanes);
}

void sink_unlink(struct task *task)
{
    if (!task->ready) {
        return;
    }
    struct task *before = NULL;
    for (struct task *at = task->lane->ready_first; at != task; at = at->ready_next) {
        before = at;
    }
    if (before == NULL) {
        task->lane->ready_first = task->ready_next;
    } else {
        before->ready_next = task->ready_next;
    }
    if (task->lane->ready_last == task) {
        task->lane->ready_last = before;
    }
    task->ready_next = NULL;
    task->ready = false;
}

void sink_route(struct task *task)
{
    struct engine *engine = task->engine;
    struct cluster_leader leader = cluster_leader(engine->target, task->topic, task->index);
    if (task->lane != NULL && leader.broker == task->target_leader.broker &&
        leader.epoch == task->target_leader.epoch) {
        return;
    }
    sink_unlink(task);
    task->target_leader = leader;
    task->lane =
        leader.broker < 0
            ? NULL
            : lane_of(engine, leader.broker,
                      LANE_FIRST +
                          (int32_t)(task->lane_pin / LANE_TASKS %
                                    (uint32_t)engine->options.limits->connections_per_broker));
}

void sink_ready(struct task *task)
{
    struct partition_bounds bounds = {.window_bytes =
                                          task->engine->options.limits->partition_window_bytes};
    if (task->ready || task->lane == NULL || task->mode != TASK_CARRYING ||
        partition_peek(&task->core, &bounds) == NULL) {
        return;
    }
    task->ready = true;
    task->ready_next = NULL;
    if (task->lane->ready_last == NULL) {
        task->lane->ready_first = task;
    } else {
        task->lane->ready_last->ready_next = task;
    }
    task->lane->ready_last = task;
}

static struct task *ready_pop(struct sink_lane *lane)
{
    struct task *task = lane->ready_first;
    lane->ready_first = task->ready_next;
    if (lane->ready_first == NULL) {
        lane->ready_last = NULL;
    }
    task->ready_next = NULL;
    task->ready = false;
    return task;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static void request_free(struct sink_request *request)
{
    for (int32_t i = 0; i < request->count; i++) {
        task_unref(request->tasks[i]);
    }
    free(request->tasks);
    free(request->tickets);
    free(request);
}

static bool current(const struct sink_request *request, int32_t at)
{
    const struct task *task = request->tasks[at];
    return task->ticket == request->tickets[at] &&
           (task->mode == TASK_CARRYING || task->mode == TASK_DRAINING);
}

static void refused(struct task *task, int16_t error, const struct err *why)
{
    if (error == KAFKA_CORRUPT_MESSAGE && ++task->corrupt_count < CORRUPT_TRIES) {
        task_doubt(task, why);
        return;
    }
    struct partition *core = &task->core;
    const struct parcel *parcel = &core->parcels[core->head & (core->parcels_capacity - 1)];
    task_fault(task, FAULT_BATCH_REFUSED, parcel->source_first, parcel->source_next, why);
}

static void advanced(struct task *task, const struct ack *ack)
{
    struct engine *engine = task->engine;
    task->corrupt_count = 0;
    engine->counters.records += (uint64_t)ack->run.length;
    engine->counters.bytes += ack->bytes;
    engine->moved_bytes += (int64_t)ack->bytes;
    engine->counters.batches++;
    engine->callbacks.ack(engine->callbacks.arg, task, ack);
    task_settle(task);
    sink_ready(task);
}

static void take_part(struct task *task, const struct produce_answer_part *part)
{
    struct ack ack;
    struct err why = {0};
    if (kafka_error_info(part->error)->leader_moved) {
        cluster_refresh(task->engine->target);
    }
    switch (partition_answer(&task->core, part->error, part->base_offset, &ack, &why)) {
    case ANSWERED_ADVANCED:
        advanced(task, &ack);
        break;
    case ANSWERED_DOUBT:
        task_doubt(task, &why);
        break;
    case ANSWERED_REFUSED:
        if (part->message.data != NULL) {
            err_wrap(&why, "%.*s", part->message.len > 200 ? 200 : part->message.len,
                     part->message.data);
        }
        refused(task, part->error, &why);
        break;
    }
}

static int32_t asked(const struct sink_request *request, const struct produce_answer_part *part,
                     int32_t cursor)
{
    for (int32_t tries = 0; tries < request->count; tries++) {
        int32_t at = (cursor + tries) % request->count;
        const struct task *task = request->tasks[at];
        bool same_topic =
            request->version >= 13
                ? uuid_equal(&task->target_topic_id, &part->topic_id)
                : part->topic.len == (int32_t)strlen(task->topic) &&
                      memcmp(part->topic.data, task->topic, (size_t)part->topic.len) == 0;
        if (same_topic && task->index == part->partition) {
            return at;
        }
    }
    return -1;
}

/* Every task of the request gets its part, or doubt. */
static void take_answer(struct sink_request *request, const struct produce_answer *answer)
{
    bool *told = calloc((size_t)request->count, sizeof(*told));
    if (told == NULL) {
        abort();
    }
    int32_t cursor = 0;
    request->engine->counters.target_throttle_ms +=
        answer->throttle_ms > 0 ? (uint64_t)answer->throttle_ms : 0;
    for (int32_t i = 0; i < answer->parts_count; i++) {
        int32_t at = asked(request, &answer->parts[i], cursor);
        if (at >= 0 && !told[at]) {
            told[at] = true;
            cursor = at + 1;
            if (current(request, at)) {
                take_part(request->tasks[at], &answer->parts[i]);
            }
        }
    }
    for (int32_t at = 0; at < request->count; at++) {
        if (!told[at] && current(request, at)) {
            struct err why = {0};
            err_set(&why, ERR_RETRY, "the answer leaves the partition out");
            task_doubt(request->tasks[at], &why);
        }
    }
    free(told);
}

static void lost(struct sink_request *request, const struct err *err)
{
    struct err why = *err;
    err_wrap(&why, "outcome unknown");
    for (int32_t at = 0; at < request->count; at++) {
        if (current(request, at)) {
            task_doubt(request->tasks[at], &why);
        }
    }
}

static void answered(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct sink_request *request = arg;
    struct engine *engine = request->engine;
    struct produce_answer answer;
    struct err bad = {0};
    (void)block;
    if (reader == NULL) {
        lost(request, err);
    } else if (!proto_get_produce(reader, request->version, &answer, &bad)) {
        lost(request, &bad);
        cluster_drop_conn(engine->target, request->lane->broker, request->lane->lane, bad.what);
    } else {
        take_answer(request, &answer);
        produce_answer_done(&answer);
    }
    for (int32_t i = 0; i < request->count; i++) {
        task_landed(request->tasks[i]);
    }
    request_free(request);
    if (reader != NULL) {
        engine_pump_soon(engine);
    }
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

struct sink_parcel { /* sorted by topic for the wire */
    struct task *task;
    struct parcel *parcel;
};

static int compare_topic(const void *a, const void *b)
{
    const struct sink_parcel *left = a;
    const struct sink_parcel *right = b;
    int order = strcmp(left->task->topic, right->task->topic);
    return order != 0 ? order : left->task->index - right->task->index;
}

/* Take one batch from each ready task. Those with more to send are queued again behind the others. */
static int32_t collect(struct sink_lane *lane, struct sink_parcel *out)
{
    struct engine *engine = lane->engine;
    struct partition_bounds bounds = {.window_bytes =
                                          engine->options.limits->partition_window_bytes};
    struct task *last = lane->ready_last;
    int64_t now_ms = loop_now_ms(engine->loop);
    size_t bytes = 0;
    int32_t count = 0;
    while (lane->ready_first != NULL && count < REQUEST_PARTS_MAX && bytes < REQUEST_BYTES_MAX) {
        struct task *task = ready_pop(lane);
        struct parcel *parcel = partition_peek(&task->core, &bounds);
        if (task->mode == TASK_CARRYING && parcel != NULL) {
            out[count++] = (struct sink_parcel){.task = task, .parcel = parcel};
            bytes += parcel->len;
            engine->moved_bytes += (int64_t)parcel->len;
            partition_sent(&task->core, now_ms);
            sink_ready(task);
        }
        if (task == last) {
            break; /* never the same partition twice in one request: the first one would be lost without a word */
        }
    }
    qsort(out, (size_t)count, sizeof(*out), compare_topic);
    return count;
}

static void fill_part(struct produce_part *part, const struct sink_parcel *from)
{
    struct batch batch;
    struct err err;
    enum batch_walk walk = batch_walk(from->parcel->data, from->parcel->len, &batch, &err);
    if (walk != BATCH_WALK_ONE) {
        abort(); /* it was walked when it came in; nobody writes to a block */
    }
    *part = (struct produce_part){.topic = from->task->topic,
                                  .topic_id = from->task->target_topic_id,
                                  .partition = from->task->index,
                                  .block = from->parcel->block,
                                  .records = from->parcel->data + BATCH_HEADER_BYTES,
                                  .records_len = from->parcel->len - BATCH_HEADER_BYTES};
    batch_patch_header(&batch, sequence_id(from->task->id_base, from->task->core.at.generation),
                       sequence_wire(from->parcel->sequence), part->header);
}

static void put_and_send(struct sink_request *request, struct conn *conn,
                         const struct sink_parcel *parcels)
{
    struct produce_part parts[REQUEST_PARTS_MAX];
    struct conn_piece pieces[REQUEST_PARTS_MAX];
    size_t cuts[REQUEST_PARTS_MAX];
    int32_t timeout_ms = request->engine->options.limits->produce_timeout_ms;
    struct writer writer;
    for (int32_t i = 0; i < request->count; i++) {
        fill_part(&parts[i], &parcels[i]);
    }
    writer_init(&writer);
    proto_put_produce(&writer, request->version, timeout_ms, parts, request->count, cuts);
    for (int32_t i = 0; i < request->count; i++) {
        pieces[i] = (struct conn_piece){.cut = cuts[i],
                                        .block = parts[i].block,
                                        .data = parts[i].records,
                                        .len = parts[i].records_len};
    }
    conn_send(conn, API_PRODUCE, request->version, &writer, pieces, request->count,
              timeout_ms + ANSWER_GRACE_MS, answered, request);
    for (int32_t i = 0; i < request->count; i++) {
        parcel_release(parcels[i].parcel);
    }
}

static void send_one(struct sink_lane *lane, struct conn *conn, int16_t version)
{
    struct sink_parcel parcels[REQUEST_PARTS_MAX];
    int32_t count = collect(lane, parcels);
    if (count == 0) {
        return;
    }
    struct sink_request *request = calloc(1, sizeof(*request));
    if (request == NULL) {
        abort();
    }
    *request = (struct sink_request){
        .engine = lane->engine, .lane = lane, .version = version, .count = count};
    request->tasks = calloc((size_t)count, sizeof(struct task *));
    request->tickets = calloc((size_t)count, sizeof(*request->tickets));
    if (request->tasks == NULL || request->tickets == NULL) {
        abort();
    }
    for (int32_t i = 0; i < count; i++) {
        request->tasks[i] = task_ref(parcels[i].task);
        request->tickets[i] = parcels[i].task->ticket;
        parcels[i].task->flying_count++;
    }
    lane->engine->counters.produces++;
    put_and_send(request, conn, parcels);
}

static void lane_pump(struct sink_lane *lane)
{
    struct engine *engine = lane->engine;
    if (lane->ready_first == NULL) {
        return;
    }
    struct conn *conn = cluster_conn(engine->target, lane->broker, lane->lane);
    if (conn == NULL) {
        return; /* told when it is ready */
    }
    int16_t version = conn_versions(conn)->version[API_PRODUCE];
    while (lane->ready_first != NULL && version >= 0 &&
           conn_in_flight_count(conn) < LANE_FLIGHT_MAX &&
           conn_unsent_bytes(conn) < LANE_UNSENT_MAX &&
           engine->callbacks.may_send(engine->callbacks.arg)) {
        send_one(lane, conn, version);
    }
}

void sink_pump(struct engine *engine)
{
    for (size_t i = 0; i < engine->lanes_count; i++) {
        lane_pump(engine->lanes[i]);
    }
}

void sink_conn_changed(struct engine *engine, int32_t broker, int32_t lane, bool is_lost)
{
    if (is_lost) { /* its requests were answered with an error first: whoever had one is in doubt already */
        for (size_t i = 0; i < engine->tasks_count; i++) {
            struct task *task = engine->tasks[i];
            if (task->lane != NULL && task->lane->broker == broker && task->lane->lane == lane &&
                task->mode == TASK_CARRYING && partition_flight_count(&task->core) == 0) {
                partition_reopen(&task->core);
            }
        }
        return;
    }
    sink_pump(engine);
}
