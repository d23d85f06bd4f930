#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "mirror/engine_inside.h"
#include "mirror/sequence.h"

#define LANE_FLIGHT_MAX 512 /* requests; 4 MiB a partition of 16 KiB batches are 256 */
#define LANE_UNSENT_MAX \
    (128 << 10) /* bytes queued in user space: the socket's own buffer keeps the line busy */
#define REQUEST_BYTES_MAX \
    (1 << 20) /* a broker serves one request of a connection at a time: keep them short */
#define REQUEST_PARTS_MAX 256
#define LANE_TASKS \
    8 /* partitions that share a lane before the next is opened: one request carries a batch of each */
#define ANSWER_GRACE_MS 3000 /* beyond the produce time-out */
/* A connection that is silent for so long, beyond two round trips, may be blocked: a broker serves one request of a
 * connection at a time, and that one waits until all its partitions are replicated. It is blocked when a high watermark
 * that it waits for then stands still for another while: a broker that is only busy moves it. */
#define BLOCKED_MS 500
#define STILL_MS   500
#define TURNS_TO_KNOW \
    32 /* answers until a connection's usual time is known: a cold broker is slow at first */
#define PROBE_TIMEOUT_MS 2000
#define USUAL_SHARE \
    8 /* the last answer's part in what is usual; and so many times that is unusual */
#define BLOCKED_AGAIN_MS \
    5000 /* between two connections that are given up: a broker in trouble is not helped by new ones */
#define SLOW_MS 5000 /* acknowledged in time for so long, a partition leaves the slow connection */

/* One pinned connection to one target broker, and who has something to send on it. */
struct sink_lane {
    struct engine *engine;
    int32_t broker;
    int32_t lane;
    struct task *ready_first; /* queue through task->ready_next */
    struct task *ready_last;
    struct sink_request *flying_first; /* queue through request->next: answers come in this order */
    struct sink_request *flying_last;
    int64_t turn_ms;      /* since when the first of them is the first */
    uint32_t turns_count; /* answers so far */
    double usual_ms;      /* that an answer lets wait, lately */
    bool probing;
    uint32_t
        still_turn; /* high watermarks that the first request waits for, summed up, at this turn */
    int64_t still_sum;
    int64_t still_ms;      /* since when */
    int64_t given_up_ms;   /* blocked, and made anew: not again at once */
    int64_t round_trip_us; /* -1 = unknown */
};

struct sink_request {
    struct engine *engine;
    struct sink_lane *lane;
    struct sink_request *next;
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
    *made =
        (struct sink_lane){.engine = engine, .broker = broker, .lane = lane, .round_trip_us = -1};
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

/* Near, partitions share a connection, so that one request carries a batch of each. Far, more connections carry more: the
 * broker's socket buffers hold only so much on the line for each of them. */
static int32_t lane_for(const struct task *task, int32_t broker)
{
    struct engine *engine = task->engine;
    struct conn *conn = cluster_conn(engine->target, broker, LANE_SMALL);
    uint32_t near_count = (uint32_t)engine->options.limits->connections_per_broker;
    if (task->slow) {
        return LANE_SLOW;
    }
    if (conn != NULL && conn_round_trip_us(conn) >= FLOW_FAR_US) {
        return LANE_FIRST + (int32_t)(task->lane_pin % LANES_MAX);
    }
    return LANE_FIRST + (int32_t)(task->lane_pin / LANE_TASKS % near_count);
}

static void route_to(struct task *task, struct cluster_leader leader)
{
    sink_unlink(task);
    task->target_leader = leader;
    task->lane = leader.broker < 0
                     ? NULL
                     : lane_of(task->engine, leader.broker, lane_for(task, leader.broker));
}

void sink_route(struct task *task)
{
    struct cluster_leader leader = cluster_leader(task->engine->target, task->topic, task->index);
    if (task->lane == NULL || leader.broker != task->target_leader.broker ||
        leader.epoch != task->target_leader.epoch) {
        route_to(task, leader);
    }
    task->target_leader.replicas_count = leader.replicas_count;
}

void sink_route_anew(struct task *task)
{
    route_to(task, cluster_leader(task->engine->target, task->topic, task->index));
}

/* Over the path `records` also in records: a resume looks so far back for what a dead worker had on its way. */
#define WINDOW_RECORD_BYTES 200

struct partition_bounds sink_bounds(const struct task *task)
{
    int64_t bytes = task->engine->options.limits->partition_window_bytes;
    int64_t records =
        task->engine->options.records ? bytes / WINDOW_RECORD_BYTES : PARTITION_WINDOW_RECORDS;
    return (struct partition_bounds){.window_bytes = bytes, .window_records = records};
}

void sink_ready(struct task *task)
{
    struct partition_bounds bounds = sink_bounds(task);
    if (task->ready || task->lane == NULL || task->mode != TASK_CARRYING || task->coming_back ||
        task->unnamed_ms > 0 || partition_peek(&task->core, &bounds) == NULL) {
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

/* --- the slow connection ------------------------------------------------------------------------------------------ */

void sink_slow(struct task *task)
{
    if (!task->slow) {
        log_info("sink.slow",
                 "topic=%s partition=%d broker=%d doing=\"on the broker's slow connection until it "
                 "is replicated in time again\"",
                 task->topic, task->index, task->target_leader.broker);
    }
    task->slow = true;
    task->coming_back = false;
    task->slow_until_ms = loop_now_ms(task->engine->loop) + SLOW_MS;
}

/* Nothing of it flies: what it sends next may go over another connection. */
static void come_back(struct task *task)
{
    log_info("sink.in_time", "topic=%s partition=%d doing=\"back beside the others\"", task->topic,
             task->index);
    task->slow = false;
    task->coming_back = false;
    sink_route_anew(task);
    partition_reopen(&task->core);
    sink_ready(task);
}

static void look_at_slow(struct task *task, int64_t now_ms)
{
    int64_t oldest_ms = partition_oldest_sent_ms(&task->core);
    if (oldest_ms >= 0 && now_ms - oldest_ms >= BLOCKED_MS) {
        task->slow_until_ms = now_ms + SLOW_MS;
    }
    if (now_ms < task->slow_until_ms || task->coming_back) {
        return;
    }
    if (partition_flight_count(&task->core) == 0) {
        come_back(task);
    } else {
        task->coming_back = true;
        sink_unlink(task);
    }
}

static void acknowledged(struct task *task, int64_t sent_ms)
{
    int64_t now_ms = loop_now_ms(task->engine->loop);
    task->ack_ms = now_ms - sent_ms;
    if (!task->slow) {
        return;
    }
    if (task->ack_ms >= BLOCKED_MS) {
        task->slow_until_ms = now_ms + SLOW_MS;
    }
    if (task->coming_back && partition_flight_count(&task->core) == 0) {
        come_back(task);
    }
}

static bool is_blocked(const struct sink_lane *lane, int64_t now_ms)
{
    int64_t far_ms = lane->round_trip_us > 0 ? lane->round_trip_us * 2 / 1000 : 0;
    int64_t patience_ms = BLOCKED_MS + far_ms + (int64_t)(lane->usual_ms * USUAL_SHARE);
    bool again = lane->given_up_ms > 0 && now_ms - lane->given_up_ms < BLOCKED_AGAIN_MS;
    bool known = lane->turns_count >= TURNS_TO_KNOW;
    return lane->flying_first != NULL && known && !again && now_ms - lane->turn_ms >= patience_ms;
}

/* Somebody beside those that the first request waits for. */
static bool has_neighbours(const struct sink_lane *lane)
{
    const struct engine *engine = lane->engine;
    int32_t count = 0;
    for (size_t i = 0; i < engine->tasks_count; i++) {
        count += engine->tasks[i]->lane == lane && engine->tasks[i]->mode == TASK_CARRYING;
    }
    return count > 1;
}

struct sink_probe {
    struct sink_lane *lane;
    uint32_t turns_count;
    int16_t version;
};

/* The first request waits for this one: its batch was appended, and is not below the high watermark. */
static bool is_waited_for(const struct task *task, int64_t high_watermark)
{
    const struct parcel *parcel = partition_oldest(&task->core);
    return high_watermark < parcel->target_first + parcel->count;
}

static bool current(const struct sink_request *request, int32_t at);
static int32_t asked(const struct sink_request *request, bool by_id, const struct uuid *topic_id,
                     struct wire_string topic, int32_t partition, int32_t cursor);

/* The first request's partitions that it waits for. @return how many; *out_sum of their high watermarks */
static int32_t waited_for(const struct sink_request *request,
                          const struct list_offsets_answer *answer, bool mark_slow,
                          int64_t *out_sum)
{
    int32_t count = 0;
    int32_t cursor = 0;
    *out_sum = 0;
    for (int32_t i = 0; i < answer->parts_count; i++) {
        const struct list_offsets_part *part = &answer->parts[i];
        int32_t at = asked(request, false, NULL, part->topic, part->partition, cursor);
        cursor = at < 0 ? cursor : at + 1;
        if (at >= 0 && part->error == KAFKA_NONE && current(request, at) &&
            partition_flight_count(&request->tasks[at]->core) > 0 &&
            is_waited_for(request->tasks[at], part->offset)) {
            *out_sum += part->offset % INT32_MAX;
            count++;
            if (mark_slow) {
                sink_slow(request->tasks[at]);
            }
        }
    }
    return count;
}

/* Nothing has moved since an earlier look at the same request. */
static bool stands_still(struct sink_lane *lane, int64_t sum)
{
    int64_t now_ms = loop_now_ms(lane->engine->loop);
    if (lane->still_ms == 0 || lane->still_turn != lane->turns_count || lane->still_sum != sum) {
        lane->still_turn = lane->turns_count;
        lane->still_sum = sum;
        lane->still_ms = now_ms;
    }
    return now_ms - lane->still_ms >= STILL_MS;
}

static void give_up(struct sink_lane *lane, int32_t count)
{
    char why[80];
    snprintf(why, sizeof(why), "blocked by %d partitions that are not replicated", count);
    log_info("sink.blocked", "broker=%d connection=%d why=%s doing=\"going on over a new one\"",
             lane->broker, lane->lane, log_quote(why).text);
    lane->given_up_ms = loop_now_ms(lane->engine->loop);
    cluster_drop_conn(lane->engine->target, lane->broker, lane->lane, why);
}

/* The broker answers others, and still not this connection. Those behind it are resumed on a new one at once; those that
 * are not replicated wait apart. A broker that does not answer at all is none of this: time limits end its connections. */
static void probe_answered(void *arg, struct reader *reader, struct buf *block,
                           const struct err *err)
{
    struct sink_probe *probe = arg;
    struct sink_lane *lane = probe->lane;
    struct list_offsets_answer answer;
    struct err bad;
    (void)block;
    (void)err;
    lane->probing = false;
    if (reader != NULL && proto_get_list_offsets(reader, probe->version, &answer, &bad)) {
        bool same = lane->flying_first != NULL && lane->turns_count == probe->turns_count &&
                    answer.parts_count <= lane->flying_first->count;
        int64_t sum = 0;
        int32_t count = same ? waited_for(lane->flying_first, &answer, false, &sum) : 0;
        if (count > 0 && stands_still(lane, sum)) {
            waited_for(lane->flying_first, &answer, true, &sum);
            give_up(lane, count);
        }
        list_offsets_answer_done(&answer);
    }
    free(probe);
}

static void probe(struct sink_lane *lane)
{
    const struct sink_request *request = lane->flying_first;
    struct conn *conn = cluster_conn(lane->engine->target, lane->broker, LANE_SMALL);
    int16_t version = conn == NULL ? -1 : conn_versions(conn)->version[API_LIST_OFFSETS];
    if (version < 0 || lane->probing || !has_neighbours(lane)) {
        return;
    }
    struct topic_partition *places = calloc((size_t)request->count, sizeof(*places));
    struct sink_probe *asks = calloc(1, sizeof(*asks));
    if (places == NULL || asks == NULL) {
        abort();
    }
    for (int32_t i = 0; i < request->count; i++) {
        places[i] = (struct topic_partition){.topic = request->tasks[i]->topic,
                                             .partition = request->tasks[i]->index};
    }
    *asks = (struct sink_probe){.lane = lane, .turns_count = lane->turns_count, .version = version};
    struct writer writer;
    writer_init(&writer);
    proto_put_list_offsets(&writer, asks->version, false, LIST_OFFSETS_LATEST, places,
                           request->count);
    lane->probing = true;
    conn_send(conn, API_LIST_OFFSETS, asks->version, &writer, NULL, 0, PROBE_TIMEOUT_MS,
              probe_answered, asks);
    free(places);
}

void sink_look(struct engine *engine)
{
    int64_t now_ms = loop_now_ms(engine->loop);
    for (size_t i = 0; i < engine->tasks_count; i++) {
        if (engine->tasks[i]->slow && engine->tasks[i]->mode == TASK_CARRYING) {
            look_at_slow(engine->tasks[i], now_ms);
        }
    }
    for (size_t i = 0; i < engine->lanes_count; i++) {
        struct sink_lane *lane = engine->lanes[i];
        struct conn *conn = lane->flying_first == NULL
                                ? NULL
                                : cluster_conn(engine->target, lane->broker, lane->lane);
        if (conn != NULL) {
            lane->round_trip_us = conn_round_trip_us(conn);
        }
        if (lane->lane != LANE_SLOW && is_blocked(lane, now_ms)) {
            probe(lane);
        }
    }
}

int64_t sink_round_trip_us(const struct task *task)
{
    return task->lane == NULL ? -1 : task->lane->round_trip_us;
}

bool sink_waits(const struct task *task)
{
    return task->target_leader.replicas_count > 1 || sink_round_trip_us(task) >= FLOW_FAR_US;
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

static bool of_a_record(int16_t error)
{
    return error == KAFKA_INVALID_RECORD || error == KAFKA_INVALID_TIMESTAMP;
}

/* What we made is larger than the target takes (its limit is not ours to read), or holds a record that it does not take:
 * smaller ones, made of the same records, until what is refused stands alone. */
static bool can_be_smaller(struct partition *core, const struct parcel *parcel, int16_t error)
{
    bool helps = error == KAFKA_MESSAGE_TOO_LARGE || of_a_record(error);
    if (!helps || parcel->runs == NULL || parcel->count == 1) {
        return false;
    }
    core->recode_bytes_max = parcel->len / 2;
    return true;
}

static void refused(struct task *task, int16_t error, const struct err *why)
{
    struct partition *core = &task->core;
    const struct parcel *parcel = partition_oldest(core);
    if ((error == KAFKA_CORRUPT_MESSAGE && ++task->corrupt_count < CORRUPT_TRIES) ||
        can_be_smaller(core, parcel, error)) {
        task_doubt(task, why);
        return;
    }
    if (of_a_record(error)) {
        core->recode_bytes_max = 0; /* it is found; the others may be as large as ever */
    }
    task_fault(task, FAULT_BATCH_REFUSED, parcel->source_first, parcel->source_next, why);
}

static void advanced(struct task *task, const struct ack *ack)
{
    struct engine *engine = task->engine;
    task->corrupt_count = 0;
    engine->counters.records += (uint64_t)ack->run.length;
    engine->counters.bytes += ack->bytes;
    engine->moved_bytes += (int64_t)ack->bytes;
    engine->counters.batches += ack->last;
    flow_moved(&task->flow, (int64_t)ack->bytes);
    engine->callbacks.ack(engine->callbacks.arg, task, ack);
    if (ack->last) {
        task_settle(task);
        acknowledged(task, ack->sent_ms);
        sink_ready(task);
    }
}

/* It waited for its followers, and everybody behind it with it. Sent again meanwhile it waits again, or stands there twice. */
static void not_replicated(struct task *task)
{
    const struct parcel *parcel = partition_oldest(&task->core);
    sink_slow(task);
    task->appended_end = parcel->target_first + parcel->count;
    task->appended_epoch = task->target_leader.epoch;
}

/* Another leader may never have had it. */
int64_t sink_appended_end(const struct task *task)
{
    struct cluster_leader leader = cluster_leader(task->engine->target, task->topic, task->index);
    return leader.epoch == task->appended_epoch ? task->appended_end : 0;
}

static void acked(struct task *task, struct ack *ack)
{
    do {
        advanced(task, ack);
    } while (partition_more(&task->core, ack));
    task_settle(task);
    sink_ready(task);
}

/* What stands on the target in the place of a batch that was answered with success. No request has a reference any more:
 * whoever hears that the task is drained may remove it. */
static void read_back(struct task *task, const struct batch *found, const struct err *err)
{
    struct ack ack;
    struct err why = {0};
    struct engine *engine = task->engine;
    task_ref(task);
    if (found == NULL) {
        why = *err;
        err_wrap(&why, "reading back target offset %lld",
                 (long long)partition_oldest(&task->core)->target_first);
        task_doubt(task, &why);
    } else if (!partition_same(&task->core, found, &why)) {
        task_doubt(task, &why);
    } else {
        engine->counters.read_back++;
        partition_proven(&task->core, &ack);
        acked(task, &ack);
        task_look_at_drained(task);
        engine_pump_soon(engine);
    }
    task_unref(task);
}

static void take_part(struct task *task, const struct produce_answer_part *part)
{
    struct ack ack;
    struct err why = {0};
    char lacks[ACL_LACKS_BYTES];
    int64_t expected = partition_oldest(&task->core)->target_first;
    if (kafka_error_info(part->error)->leader_moved) {
        cluster_refresh(task->engine->target);
    }
    switch (partition_answer(&task->core, part->error, part->base_offset, &ack, &why)) {
    case ANSWERED_ADVANCED:
        acked(task, &ack);
        break;
    case ANSWERED_UNPROVEN:
        task_read_back_at(task, expected, read_back);
        break;
    case ANSWERED_DOUBT:
        producer_doubted(&task->producer, part->error, part->base_offset, expected);
        task->fell_to =
            part->error == KAFKA_NONE && part->base_offset < expected ? part->base_offset : -1;
        if (part->error == KAFKA_REQUEST_TIMED_OUT ||
            part->error == KAFKA_NOT_ENOUGH_REPLICAS_AFTER_APPEND) {
            not_replicated(task);
        }
        if (cluster_denied(task->engine->target, part->error, ACL_WRITE, ACL_TOPIC, task->topic,
                           lacks)) {
            err_set_code(&why, ERR_RETRY, part->error, "target: %s", lacks);
        }
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

static int32_t asked(const struct sink_request *request, bool by_id, const struct uuid *topic_id,
                     struct wire_string topic, int32_t partition, int32_t cursor)
{
    for (int32_t tries = 0; tries < request->count; tries++) {
        int32_t at = (cursor + tries) % request->count;
        const struct task *task = request->tasks[at];
        bool same_topic = by_id ? uuid_equal(&task->target_topic_id, topic_id)
                                : topic.len == (int32_t)strlen(task->topic) &&
                                      memcmp(topic.data, task->topic, (size_t)topic.len) == 0;
        if (same_topic && task->index == partition) {
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
        const struct produce_answer_part *part = &answer->parts[i];
        int32_t at = asked(request, request->version >= 13, &part->topic_id, part->topic,
                           part->partition, cursor);
        if (at >= 0 && !told[at]) {
            told[at] = true;
            cursor = at + 1;
            if (current(request, at)) {
                take_part(request->tasks[at], part);
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

static void flying_push(struct sink_request *request)
{
    struct sink_lane *lane = request->lane;
    if (lane->flying_last == NULL) {
        lane->flying_first = request;
        lane->turn_ms = loop_now_ms(lane->engine->loop);
    } else {
        lane->flying_last->next = request;
    }
    lane->flying_last = request;
}

static void flying_pop(struct sink_request *request)
{
    struct sink_lane *lane = request->lane;
    assert(lane->flying_first == request); /* a connection's answers come in order, failures too */
    lane->flying_first = request->next;
    if (lane->flying_first == NULL) {
        lane->flying_last = NULL;
    }
    int64_t now_ms = loop_now_ms(lane->engine->loop);
    lane->usual_ms += ((double)(now_ms - lane->turn_ms) - lane->usual_ms) / USUAL_SHARE;
    lane->turn_ms = now_ms;
    lane->turns_count++;
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

/* Each of its parts is looked for among those sent: more than those no honest broker answers. */
static bool get_answer(const struct sink_request *request, struct reader *reader,
                       struct produce_answer *out, struct err *err)
{
    if (!proto_get_produce(reader, request->version, out, err)) {
        return false;
    }
    if (out->parts_count <= request->count) {
        return true;
    }
    err_set(err, ERR_RETRY, "Produce v%d: %d partitions in the answer, %d were sent",
            request->version, out->parts_count, request->count);
    produce_answer_done(out);
    return false;
}

static void answered(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct sink_request *request = arg;
    struct engine *engine = request->engine;
    struct produce_answer answer;
    struct err bad = {0};
    (void)block;
    flying_pop(request);
    if (reader == NULL) {
        lost(request, err);
    } else if (!get_answer(request, reader, &answer, &bad)) {
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

/* Not under the id that it has, maybe: as soon as nothing of it flies mirror/records gives it another one. */
static bool may_go(struct task *task, const struct parcel *next)
{
    bool own = !task->engine->options.records || producer_same_again(&task->producer, next);
    if (!own && task->unnamed_ms == 0 && partition_flight_count(&task->core) == 0) {
        task->producer.spent = true;
        task->unnamed_ms = loop_now_ms(task->engine->loop);
        partition_reopen(&task->core);
    }
    return own && task->unnamed_ms == 0;
}

/* Take one batch from each ready task. Those with more to send are queued again behind the others. */
static int32_t collect(struct sink_lane *lane, struct sink_parcel *out)
{
    struct engine *engine = lane->engine;
    struct task *last = lane->ready_last;
    int64_t now_ms = loop_now_ms(engine->loop);
    size_t bytes = 0;
    int32_t count = 0;
    while (lane->ready_first != NULL && count < REQUEST_PARTS_MAX && bytes < REQUEST_BYTES_MAX) {
        struct task *task = ready_pop(lane);
        struct partition_bounds bounds = sink_bounds(task);
        struct parcel *parcel = partition_peek(&task->core, &bounds);
        if (task->mode == TASK_CARRYING && parcel != NULL && may_go(task, parcel)) {
            out[count++] = (struct sink_parcel){.task = task, .parcel = parcel};
            bytes += parcel->len;
            engine->moved_bytes += (int64_t)parcel->len;
            producer_sent(&task->producer, parcel);
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
    const struct producer *producer = &from->task->producer;
    batch_patch_header(&batch, producer->id,
                       sequence_wire(from->parcel->sequence - producer->sequence_first),
                       part->header);
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
    flying_push(request);
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

void sink_drop_unsent(struct engine *engine)
{
    for (size_t i = 0; i < engine->lanes_count; i++) {
        const struct sink_lane *lane = engine->lanes[i];
        struct conn *conn = lane->flying_first == NULL
                                ? NULL
                                : cluster_conn(engine->target, lane->broker, lane->lane);
        if (conn != NULL && conn_unsent_bytes(conn) > 0) {
            cluster_drop_conn(engine->target, lane->broker, lane->lane,
                              "batches unsent of partitions that were taken from us");
        }
    }
}

void sink_conn_changed(struct engine *engine, int32_t broker, int32_t lane, bool is_lost)
{
    if (is_lost) { /* its requests were answered with an error first: whoever had one is in doubt already */
        for (size_t i = 0; i < engine->tasks_count; i++) {
            struct task *task = engine->tasks[i];
            if (task->lane != NULL && task->lane->broker == broker && task->lane->lane == lane &&
                task->mode == TASK_CARRYING &&
                (partition_flight_count(&task->core) == 0 || task->proof != NULL)) {
                partition_reopen(&task->core);
            }
        }
        return;
    }
    sink_pump(engine);
}
