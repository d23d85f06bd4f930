#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "kafka/topic_id.h"
#include "mirror/engine_inside.h"

#define FETCH_WAIT_MS      500
#define FETCH_WAIT_HELD_MS 100 /* while a partition is held back, so that it joins soon */
#define FETCH_GRACE_MS \
    10000 /* beyond the wait: a broker that does not answer by then is given up */
#define QUEUE_PARTS \
    4 /* asked again when this part of a share is left: what waits long is sent from cold memory */
#define SHARE_LEAST_BYTES (64 << 10) /* a few batches of 16 KiB */
/* A broker looks at each partition that a Fetch asks for, 10 us or so: where records trickle into a few of ten thousand, it
 * would be asked for all of them without a pause. Of what takes it so long it is asked half of the time at most. */
#define REST_US_A_PARTITION 20

/* A Fetch in flight: which tasks it asked for, and with which tickets. */
struct source_request {
    struct engine *engine;
    int32_t broker;
    int32_t lane;
    int16_t version;
    int32_t share;       /* bytes asked of each; less of those that a rate limit holds back */
    int64_t asked_bytes; /* counted in engine->asked_bytes */
    int64_t asked_ms;
    int32_t count;
    struct task **tasks; /* references */
    uint32_t *tickets;
    int32_t *shares;
};

static void rested(void *arg)
{
    source_pump(arg);
}

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
    *made = (struct source_broker){.engine = engine,
                                   .broker = broker,
                                   .lanes_count = 1,
                                   .round_trip_us = -1,
                                   .rest = loop_timer_new(engine->loop, rested, engine)};
    engine->brokers[engine->brokers_count++] = made;
    return made;
}

void source_detach(struct engine *engine)
{
    for (size_t i = 0; i < engine->brokers_count; i++) {
        loop_timer_cancel(engine->brokers[i]->rest);
    }
}

void source_free(struct engine *engine)
{
    for (size_t i = 0; i < engine->brokers_count; i++) {
        loop_timer_free(engine->brokers[i]->rest);
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
    request->engine->asked_bytes -= request->asked_bytes;
    free(request->tasks);
    free(request->tickets);
    free(request->shares);
    free(request);
}

static struct throttle *throttle_of(struct task *task)
{
    return task->steady ? &task->engine->steady : &task->engine->first_copy;
}

static void hold(struct task *task, int64_t ms)
{
    task->hold_until_ms = loop_now_ms(task->engine->loop) + ms;
}

/* Told once already, with the connection that it is about; `status` names the partitions. */
static void note_refused(const struct source_request *request, const struct err *why)
{
    for (int32_t i = 0; why->kind == ERR_REFUSED && i < request->count; i++) {
        struct task *task = request->tasks[i];
        text_print(task->trouble, sizeof(task->trouble), "%s", why->what);
    }
}

/* --- an answer ---------------------------------------------------------------------------------------------------- */

/* @param detail  what exactly is broken, when it is */
static void refused(struct task *task, const struct partition_refusal *refusal,
                    const struct err *detail)
{
    struct err why = {0};
    bool broken = refusal->verdict == BATCH_CORRUPT || refusal->verdict == BATCH_BOMB;
    err_set(&why, ERR_REFUSED,
            "the batch of source offsets %lld..%lld (%zu bytes) may not pass: %s%s%s",
            (long long)refusal->source_first, (long long)refusal->source_next - 1, refusal->bytes,
            batch_verdict_text(refusal->verdict), broken ? ": " : "", broken ? detail->what : "");
    if (refusal->verdict == BATCH_CORRUPT && ++task->corrupt_count < CORRUPT_TRIES) {
        task_doubt(task, &why); /* fetched again: it may have been the way here */
        return;
    }
    err_hint(&why, "see docs/faults.md#batch-refused");
    task_fault(task, FAULT_BATCH_REFUSED, refusal->source_first, refusal->source_next, &why);
}

static void take_records(struct task *task, struct fetch_partition *fetched, struct buf *block)
{
    struct partition_refusal refusal;
    struct err err = {0};
    const struct engine *engine = task->engine;
    const struct partition_bounds bounds = {.window_bytes =
                                                engine->options.limits->partition_window_bytes};
    recode_plain_bytes(engine->recode, (size_t)engine->options.limits->link_window_bytes / 2);
    task->core.waits = sink_waits(task);
    switch (partition_take(&task->core, fetched, block, &engine->transfer_limits, &bounds, &refusal,
                           &err)) {
    case TOOK_OK:
        sink_ready(task);
        task_settle(task);
        break;
    case TOOK_REFUSED:
        /* What stands before it goes first; the fault comes when the position has reached it. */
        if (partition_flight_count(&task->core) + partition_queued_count(&task->core) == 0) {
            task_settle(task);
            refused(task, &refusal, &err);
        } else {
            hold(task, TASK_HOLD_MS);
            sink_ready(task);
        }
        break;
    case TOOK_BAD:
    case TOOK_BACK:
    case TOOK_FULL: /* never told outside */
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

/* Retention has passed us, mostly: nothing of what flies can be read a second time, and the map would not know where it
 * stands. So a position that is out of range is a doubt when everything before it has been acknowledged. */
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
        if (partition_flight_count(&task->core) + partition_queued_count(&task->core) > 0) {
            hold(task, TASK_HOLD_MS); /* what we have of it goes first */
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
    char lacks[ACL_LACKS_BYTES];
    bool denied =
        cluster_denied(task->engine->source, error, ACL_READ, ACL_TOPIC, task->topic, lacks);
    task_trouble_is(task, denied ? lacks : info->name);
}

/* Of a worker that died nothing arrives later than this: a broker that answered our resume has it in its socket, and serves
 * that connection, or has ended it, within the seconds that each request may wait for replicas. */
#define LATE_MS 300000

static void take_partition(struct task *task, struct fetch_partition *fetched, struct buf *block)
{
    if (fetched->error != KAFKA_NONE) {
        fetch_failed(task, fetched->error);
        return;
    }
    task_trouble_is(task, "");
    if (fetched->high_watermark >= 0) {
        task->source_end = fetched->high_watermark;
        task->source_end_at_ms = loop_now_ms(task->engine->loop);
    }
    throttle_take(throttle_of(task), (int64_t)fetched->records_len);
    if (fetched->diverging) {
        diverged(task, fetched);
        return;
    }
    if (loop_now_ms(task->engine->loop) - task->started_ms >= LATE_MS) {
        partition_sure(&task->core);
    }
    if (fetched->records_len > 0) {
        take_records(task, fetched, block);
    } else {
        task_settle(task); /* it may be sure since */
    }
    task->steady = task->steady || task->core.fetch_next >= fetched->last_stable_offset;
}

/* The place in the request of the task that an answered partition belongs to, -1 = nobody's; answers come in the order
 * asked, mostly. */
static int32_t asked(const struct source_request *request, const struct fetch_partition *fetched,
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
            return current ? at : -1;
        }
    }
    return -1;
}

/* Each of its partitions is looked for among those asked for: more than those no honest broker sends. */
static bool get_answer(const struct source_request *request, struct reader *reader,
                       struct fetch_answer *out, struct err *err)
{
    if (!proto_get_fetch(reader, request->version, out, err)) {
        return false;
    }
    if (out->partitions_count <= request->count) {
        return true;
    }
    err_set(err, ERR_RETRY, "Fetch v%d: %d partitions in the answer, %d were asked for",
            request->version, out->partitions_count, request->count);
    fetch_answer_done(out);
    return false;
}

/* See REST_US_A_PARTITION. A Fetch that waited for records, or brought many, is followed by the next at once. */
static void rest_after(const struct source_request *request, size_t bytes)
{
    struct source_broker *broker = broker_of(request->engine, request->broker);
    int64_t rest_ms = request->asked_ms + (int64_t)request->count * REST_US_A_PARTITION / 1000 -
                      loop_now_ms(request->engine->loop);
    if (bytes < SHARE_LEAST_BYTES && rest_ms > 0) {
        broker->rests_until_ms = loop_now_ms(request->engine->loop) + rest_ms;
        loop_timer_set(broker->rest, rest_ms);
    }
}

static void take_answer(struct source_request *request, struct reader *reader, struct buf *block)
{
    struct fetch_answer answer;
    struct err err = {0};
    if (!get_answer(request, reader, &answer, &err)) {
        cluster_drop_conn(request->engine->source, request->broker, request->lane, err.what);
        return;
    }
    if (answer.error != KAFKA_NONE) {
        log_warn("source.fetch_failed", "broker=%d error=%s doing=\"asking again\"",
                 request->broker, kafka_error_name(answer.error));
    }
    int32_t cursor = 0;
    size_t bytes = 0;
    request->engine->counters.source_throttle_ms +=
        answer.throttle_ms > 0 ? (uint64_t)answer.throttle_ms : 0;
    for (int32_t i = 0; i < answer.partitions_count; i++) {
        bytes += answer.partitions[i].records_len;
        int32_t at = asked(request, &answer.partitions[i], &cursor);
        if (at >= 0) {
            struct task *task = request->tasks[at];
            task->behind = answer.partitions[i].records_len >= (size_t)request->shares[at] / 2;
            take_partition(task, &answer.partitions[i], block);
        }
    }
    fetch_answer_done(&answer);
    rest_after(request, bytes);
}

static void answered(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct source_request *request = arg;
    struct engine *engine = request->engine;
    broker_of(engine, request->broker)->asking &= ~(1u << request->lane);
    if (reader != NULL) {
        engine->counters.fetches++;
        take_answer(request, reader, block);
    } else { /* a lost connection is told by the cluster; the next pump asks again */
        note_refused(request, err);
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
    return task->mode == TASK_CARRYING && task->source_leader.broker == broker;
}

/* Bytes of one partition in one answer: those that are behind share it evenly, up to `most` of them. An answer full of one
 * partition would leave Produce requests with a batch of one partition each, and needs deep queues to mix them again:
 * memory that has left the processor's cache when it is sent. */
static int32_t share_of(const struct engine *engine, int32_t broker, int32_t most)
{
    int64_t most_bytes = engine->options.limits->partition_fetch_bytes;
    int64_t behind_count = 0;
    for (size_t i = 0; i < engine->tasks_count; i++) {
        behind_count += engine->tasks[i]->behind && is_led_by(engine->tasks[i], broker);
    }
    behind_count = behind_count < most ? behind_count : most;
    int64_t share = engine->options.limits->fetch_bytes / (behind_count > 0 ? behind_count : 1);
    share = share > SHARE_LEAST_BYTES ? share : SHARE_LEAST_BYTES;
    return (int32_t)(share < most_bytes ? share : most_bytes);
}

/* What a rate limit leaves of a share: the same for everybody who is under it. 0 = nothing now. */
static int32_t limited_share(struct task *task, int32_t share, int64_t now_ms)
{
    const struct engine *engine = task->engine;
    int64_t room = throttle_room(throttle_of(task), now_ms);
    int32_t count = task->steady ? engine->steady_count : engine->first_copy_count;
    if (room <= 0) {
        return 0;
    }
    int64_t part = room / (count > 0 ? count : 1);
    part = part > SHARE_LEAST_BYTES ? part : SHARE_LEAST_BYTES;
    return part < share ? (int32_t)part : share;
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

static struct source_request *request_new(struct engine *engine, int32_t broker, int32_t lane)
{
    struct source_request *request = calloc(1, sizeof(*request));
    if (request == NULL) {
        abort();
    }
    request->engine = engine;
    request->broker = broker;
    request->lane = lane;
    request->tasks = calloc(engine->tasks_count, sizeof(struct task *));
    request->tickets = calloc(engine->tasks_count, sizeof(*request->tickets));
    request->shares = calloc(engine->tasks_count, sizeof(*request->shares));
    if (request->tasks == NULL || request->tickets == NULL || request->shares == NULL) {
        abort();
    }
    return request;
}

static void add(struct source_request *request, struct task *task, int32_t share)
{
    task->fetching = true;
    request->tickets[request->count] = task->ticket;
    request->shares[request->count] = share;
    request->tasks[request->count++] = task_ref(task);
}

/* Up to `most` tasks that want to be fetched. *out_held: others do not want now. */
static void collect(struct source_request *request, struct source_broker *broker, int32_t most,
                    bool *out_held)
{
    struct engine *engine = request->engine;
    request->share = share_of(engine, broker->broker, most);
    struct partition_bounds bounds = {.window_bytes =
                                          engine->options.limits->partition_window_bytes,
                                      .queue_bytes = request->share / QUEUE_PARTS};
    int64_t now_ms = loop_now_ms(engine->loop);
    size_t *order = calloc(engine->tasks_count, sizeof(*order));
    if (order == NULL) {
        abort();
    }
    assert(engine->tasks_count > 0); /* one of them wants it */
    turn_order(engine, broker->turn++ % engine->tasks_count, order);
    for (size_t i = 0; i < engine->tasks_count && request->count < most; i++) {
        struct task *task = engine->tasks[order[i]];
        if (wanted(task, broker->broker, now_ms, &bounds, out_held)) {
            int32_t share = limited_share(task, request->share, now_ms);
            task->throttled = share == 0;
            *out_held = *out_held || task->throttled;
            if (share > 0) {
                add(request, task, share);
            }
        }
    }
    free(order);
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
        wants[i] = (struct fetch_want){.topic = task->topic,
                                       .topic_id = task->source_topic_id,
                                       .partition = task->index,
                                       .current_leader_epoch = task->source_leader.epoch,
                                       .offset = task->core.fetch_next,
                                       .last_fetched_epoch =
                                           task->epoch_unchecked ? -1 : task->core.fetch_epoch,
                                       .max_bytes = request->shares[i]};
    }
    proto_put_fetch(writer, request->version, held ? FETCH_WAIT_HELD_MS : FETCH_WAIT_MS, 1,
                    (int32_t)engine->options.limits->fetch_bytes, true, wants, request->count);
    free(wants);
}

/* The first connection asks while one answer more fits beside what is held; the others only while all that was asked
 * over them would fit too. */
static bool has_room(const struct engine *engine, int32_t lane)
{
    int64_t used = (int64_t)buf_pool_used_bytes(engine->pool) + engine->options.limits->fetch_bytes;
    if (lane > LANE_FIRST) {
        used += engine->asked_bytes;
    }
    return used <= engine->options.limits->link_window_bytes;
}

/* @return false when nobody is left to ask for */
static bool ask_over(struct engine *engine, struct source_broker *broker, int32_t lane)
{
    if ((broker->asking & (1u << lane)) != 0) {
        return true;
    }
    if (loop_now_ms(engine->loop) < broker->rests_until_ms) {
        return false;
    }
    if (!has_room(engine, lane)) {
        engine->memory_full = true;
        return false; /* acknowledgments give the room back and pump again */
    }
    struct conn *conn = cluster_conn(engine->source, broker->broker, lane);
    int16_t version = conn == NULL ? -1 : conn_versions(conn)->version[API_FETCH];
    if (version < 0) {
        return true;
    }
    bool held = false;
    int32_t lanes = broker->lanes_count;
    struct source_request *request = request_new(engine, broker->broker, lane);
    request->version = version;
    collect(request, broker, lanes == 1 ? INT32_MAX : (broker->led_count + lanes - 1) / lanes,
            &held);
    if (request->count == 0) {
        request_free(request);
        return false;
    }
    for (int32_t i = 0; i < request->count; i++) { /* by name when one of them has no id */
        request->version =
            topic_id_version(request->version, FETCH_BY_ID, &request->tasks[i]->source_topic_id);
    }
    if (lane > LANE_FIRST) {
        request->asked_bytes = engine->options.limits->fetch_bytes;
        engine->asked_bytes += request->asked_bytes;
    }
    struct writer writer;
    writer_init(&writer);
    put_request(request, held, &writer);
    broker->asking |= 1u << lane;
    request->asked_ms = loop_now_ms(engine->loop);
    conn_send(conn, API_FETCH, request->version, &writer, NULL, 0, FETCH_WAIT_MS + FETCH_GRACE_MS,
              answered, request);
    return true;
}

static void ask(struct engine *engine, struct source_broker *broker)
{
    int32_t lane = LANE_FIRST;
    while (lane < LANE_FIRST + broker->lanes_count && ask_over(engine, broker, lane)) {
        lane++;
    }
}

/* Near, one Fetch brings all partitions of a broker: the fewest requests. Far, the line would idle from the end of an
 * answer until what was asked next arrives; so partitions divide over connections whose answers come in turns. Not
 * pipelined on one connection: a Fetch that waits for records would hold back those behind it. */
static int32_t lanes_for(const struct source_broker *broker)
{
    if (broker->round_trip_us < FLOW_FAR_US || broker->led_count < 2) {
        return 1;
    }
    return broker->led_count < LANES_MAX ? broker->led_count : LANES_MAX;
}

void source_route(struct task *task)
{
    struct cluster *source = task->engine->source;
    task->source_leader = cluster_leader(source, task->topic, task->index);
    task->source_error = cluster_topic_error(source, task->topic);
}

/* Who may not even describe a topic is told of no leader, so nothing is asked that could be refused. */
static void look_denied(struct task *task)
{
    struct cluster *source = task->engine->source;
    char lacks[ACL_LACKS_BYTES];
    if (cluster_denied(source, task->source_error, ACL_READ, ACL_TOPIC, task->topic, lacks)) {
        task_trouble_is(task, lacks);
    }
}

void source_look(struct engine *engine)
{
    engine->first_copy_count = engine->steady_count = 0;
    for (size_t i = 0; i < engine->brokers_count; i++) {
        engine->brokers[i]->led_count = 0;
    }
    for (size_t i = 0; i < engine->tasks_count; i++) {
        struct task *task = engine->tasks[i];
        if (task->mode == TASK_CARRYING) {
            int32_t leader = task->source_leader.broker;
            engine->steady_count += task->steady;
            engine->first_copy_count += !task->steady;
            look_denied(task);
            task_look_leaderless(task, leader);
            if (leader >= 0) {
                broker_of(engine, leader)->led_count++;
            }
        }
    }
    for (size_t i = 0; i < engine->brokers_count; i++) {
        struct source_broker *broker = engine->brokers[i];
        struct conn *conn = broker->led_count == 0
                                ? NULL
                                : cluster_conn(engine->source, broker->broker, LANE_FIRST);
        broker->round_trip_us = conn == NULL ? -1 : conn_round_trip_us(conn);
        broker->lanes_count = lanes_for(broker);
    }
}

int64_t source_round_trip_us(const struct task *task)
{
    int32_t leader = task->source_leader.broker;
    return leader < 0 ? -1 : broker_of(task->engine, leader)->round_trip_us;
}

bool source_idle(const struct engine *engine)
{
    for (size_t i = 0; i < engine->brokers_count; i++) {
        const struct source_broker *broker = engine->brokers[i];
        if (broker->asking == 0 || __builtin_popcount(broker->asking) < broker->lanes_count) {
            return true;
        }
    }
    return engine->brokers_count == 0;
}

void source_pump(struct engine *engine)
{
    engine->memory_full = false;
    for (size_t i = 0; i < engine->tasks_count; i++) {
        struct task *task = engine->tasks[i];
        if (task->mode == TASK_CARRYING && !task->fetching) {
            int32_t leader = task->source_leader.broker;
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
