#include "mirror/engine.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "mirror/engine_inside.h"
#include "mirror/sequence.h"

#define TICK_MS \
    100 /* looks again at what was held back: gates, errors of single partitions, memory */
/* From 64 KiB within 4 ms on (16 MB/s) a turn of the loop waits until 2 ms of the stream have gathered: half the CPU of a
 * turn for each answer (measured: 1.0 instead of 1.4 CPU-s/GB). Slower flows are not delayed. */
#define REST_BYTES     (64 << 10)
#define REST_WITHIN_MS 4
#define REST_US        2000

/* --- the engine --------------------------------------------------------------------------------------------------- */

static enum flow_limit limit_now(const struct task *task)
{
    const struct partition *core = &task->core;
    const struct flow_look look = {
        .behind = task->behind,
        .fetching = task->fetching,
        .throttled = task->throttled && !task->fetching,
        .memory_full = task->engine->memory_full && !task->fetching,
        .queued_bytes = core->queued_bytes,
        .flight_bytes = core->flight_bytes,
        .window_bytes = task->engine->options.limits->partition_window_bytes,
        .ack_ms = task->ack_ms,
        .source_round_us = batches_round_trip_us(task, true),
        .target_round_us = batches_round_trip_us(task, false),
    };
    return task->mode == TASK_CARRYING ? flow_limit_of(&look) : FLOW_NOTHING;
}

static void tick(void *arg)
{
    struct engine *engine = arg;
    int64_t now_ms = loop_now_ms(engine->loop);
    batches_look(engine);
    for (size_t i = 0; i < engine->tasks_count;
         i++) { /* before what held them back is looked at anew */
        flow_look(&engine->tasks[i]->flow, limit_now(engine->tasks[i]), now_ms);
    }
    engine_pump(engine);
    loop_timer_set(engine->tick, TICK_MS);
}

/* A stream of small answers would have a turn of the loop for each; gathered for a moment they cost one. */
static void rest_in_stream(struct engine *engine)
{
    if (engine->moved_bytes < REST_BYTES) {
        return;
    }
    int64_t now_ms = loop_now_ms(engine->loop);
    if (now_ms - engine->rested_ms < REST_WITHIN_MS) {
        loop_rest(engine->loop, REST_US);
    }
    engine->moved_bytes = 0;
    engine->rested_ms = now_ms;
}

static void pump(void *arg)
{
    struct engine *engine = arg;
    if (engine->started) {
        batches_pump(engine);
    } else {
        batches_pump_answered(engine);
    }
    engine->started = false;
    rest_in_stream(engine);
}

/* The line's codec, when it has one; else what is re-encoded keeps the source's. */
static bool line_codec(enum config_compression compression, enum batch_codec *out)
{
    static const enum batch_codec codecs[] = {
        [COMPRESSION_SOURCE] = CODEC_NONE, [COMPRESSION_NONE] = CODEC_NONE,
        [COMPRESSION_GZIP] = CODEC_GZIP,   [COMPRESSION_SNAPPY] = CODEC_SNAPPY,
        [COMPRESSION_LZ4] = CODEC_LZ4,     [COMPRESSION_ZSTD] = CODEC_ZSTD,
    };
    *out = codecs[compression];
    return compression != COMPRESSION_SOURCE;
}

static void set_up_recode(struct engine *engine)
{
    const struct engine_options *options = &engine->options;
    enum batch_codec codec;
    bool other = line_codec(options->compression, &codec);
    const struct recode_options recode = {.pool = engine->pool,
                                          .plain_bytes_max =
                                              (size_t)options->limits->link_window_bytes / 2,
                                          .merge = options->merge,
                                          .other_codec = other,
                                          .codec = codec,
                                          .filter = options->filter};
    engine->recode = recode_new(&recode);
    engine->transfer_limits = (struct transfer_limits){.max_message_bytes = INT64_MAX,
                                                       .max_timestamp = INT64_MAX,
                                                       .filtered = options->filter != NULL,
                                                       .other_codec = other,
                                                       .codec = codec};
}

struct engine *engine_new(struct loop *loop, struct cluster *source, struct cluster *target,
                          struct buf_pool *pool, const struct engine_options *options,
                          const struct engine_callbacks *callbacks)
{
    struct engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL) {
        abort();
    }
    engine->loop = loop;
    engine->source = source;
    engine->target = target;
    engine->pool = pool;
    engine->options = *options;
    engine->callbacks = *callbacks;
    set_up_recode(engine);
    engine->tick = loop_timer_new(loop, tick, engine);
    engine->pump = loop_after_new(loop, pump, engine);
    loop_timer_set(engine->tick, TICK_MS);
    if (options->records) {
        records_init(engine);
    }
    batches_attach(engine);
    return engine;
}

void engine_detach(struct engine *engine)
{
    if (engine == NULL) {
        return;
    }
    loop_timer_free(engine->tick);
    engine->tick = NULL;
    loop_after_free(engine->pump);
    engine->pump = NULL;
    while (engine->tasks_count > 0) {
        engine_remove(engine, engine->tasks[engine->tasks_count - 1]);
    }
    batches_detach(engine);
}

void engine_free(struct engine *engine)
{
    if (engine == NULL) {
        return;
    }
    assert(engine->tick == NULL);
    source_free(engine);
    sink_free(engine);
    desks_done(&engine->desks);
    records_free(engine);
    recode_free(engine->recode);
    free(engine->tasks);
    free(engine);
}

void engine_metadata(struct engine *engine)
{
    batches_metadata(engine);
    engine_pump(engine);
}

void engine_drop_unsent(struct engine *engine)
{
    sink_drop_unsent(engine);
}

void engine_pump(struct engine *engine)
{
    batches_pump(engine);
}

/* --- tasks -------------------------------------------------------------------------------------------------------- */

static int compare_place(const struct task *task, const char *topic, int32_t partition)
{
    int order = strcmp(task->topic, topic);
    return order != 0 ? order : task->index - partition;
}

/* How many tasks stand before this one's place: where it stands, or belongs. */
static size_t place_of(const struct engine *engine, const struct task *task)
{
    size_t low = 0;
    size_t high = engine->tasks_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_place(engine->tasks[middle], task->topic, task->index) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void insert(struct engine *engine, struct task *task)
{
    size_t at = place_of(engine, task);
    engine->tasks = must_grow(engine->tasks, engine->tasks_count, sizeof(struct task *));
    memmove(&engine->tasks[at + 1], &engine->tasks[at],
            (engine->tasks_count - at) * sizeof(struct task *));
    engine->tasks[at] = task;
    engine->tasks_count++;
}

struct task *engine_add(struct engine *engine, const char *topic, int32_t partition,
                        const struct uuid *source_topic_id, const struct uuid *target_topic_id,
                        void *owner)
{
    struct task *task = calloc(1, sizeof(*task));
    char *name = strdup(topic);
    if (task == NULL || name == NULL) {
        abort();
    }
    task->engine = engine;
    task->refs_count = 1;
    task->owner = owner;
    task->topic = name;
    task->index = partition;
    task->source_topic_id = *source_topic_id;
    task->target_topic_id = *target_topic_id;
    task->id_base =
        sequence_id_base(engine->options.id_deployment, engine->options.id_service,
                         cluster_id(engine->source), cluster_id(engine->target), source_topic_id);
    task->source_end = -1;
    task->source_end_at_ms = -1;
    task->ack_ms = -1;
    producer_init(&task->producer);
    task->source_epoch = -1;
    task->fell_to = -1;
    task->target_leader = (struct cluster_leader){.broker = -1, .epoch = -1};
    task->lane_pin = engine->pins_count++;
    partition_init(&task->core);
    task->core.recode = engine->recode;
    task->core.unsure_records = engine->options.records ? 0 : PARTITION_WINDOW_RECORDS;
    source_route(task);
    insert(engine, task);
    return task;
}

void engine_remove(struct engine *engine, struct task *task)
{
    resume_run_free(task->run);
    task->run = NULL;
    task->resume_wanted = false;
    batches_remove(task);
    task_drop(task);
    task->mode = TASK_GONE;
    task->news = NEWS_NONE;
    size_t at = place_of(engine, task);
    while (engine->tasks[at] != task) { /* one that goes may have its successor beside it */
        at++;
    }
    memmove(&engine->tasks[at], &engine->tasks[at + 1],
            (engine->tasks_count - at - 1) * sizeof(struct task *));
    engine->tasks_count--;
    task_unref(task);
}

void engine_resume(struct engine *engine, struct task *task, const struct resume_options *options)
{
    assert(task->mode == TASK_IDLE || task->mode == TASK_PLACED);
    task_drop(task);
    task->mode = TASK_RESUMING;
    task->resume_options = *options;
    task->resume_options.id_base = task->id_base;
    task->resume_options.source_topic_id = task->source_topic_id;
    task->resume_options.target_topic_id = task->target_topic_id;
    task->source_epoch = -1; /* known with the first question to the source */
    task->resume_options.filter = task->engine->options.filter;
    task->resume_options.by_content = engine_by_content(engine);
    task->resume_options.before_span = 2 * sink_bounds(task).window_records;
    task->resume_options.appended_end = sink_appended_end(task);
    task->resume_options.fell_to = task->fell_to;
    task->resume_wanted = true;
    task->engine->counters.resumes++;
    task_ref(task);
    task_look_at_rest(task);
    task_unref(task);
}

void engine_loaded(struct engine *engine, struct task *task, const struct task_stored *stored)
{
    (void)engine;
    if (task->run != NULL) {
        resume_run_loaded(task->run, stored);
    }
}

void engine_floor(struct engine *engine, struct task *task, bool found, struct offset_run run)
{
    (void)engine;
    if (task->run != NULL) {
        resume_run_floor(task->run, found, run);
    }
}

void engine_cut_done(struct engine *engine, struct task *task)
{
    (void)engine;
    if (task->run != NULL) {
        resume_run_cut(task->run);
    }
}

void engine_start(struct engine *engine, struct task *task)
{
    assert(task->mode == TASK_PLACED);
    task->mode = TASK_CARRYING;
    task->epoch_unchecked = false;
    task->hold_until_ms = 0;
    batches_start(task);
    engine->started = true; /* thousands do in one turn: all are looked through once */
    engine_pump_soon(engine);
}

void engine_hold(struct engine *engine, struct task *task)
{
    (void)engine;
    task_drop(task);
    task->mode = TASK_IDLE;
    task->news = NEWS_NONE;
}

void engine_drain(struct engine *engine, struct task *task)
{
    (void)engine;
    if (task->mode == TASK_CARRYING) {
        task->mode = TASK_DRAINING;
        task_ref(task);
        task_look_at_drained(task);
        task_unref(task);
        return;
    }
    resume_run_free(task->run);
    task->run = NULL;
    task->resume_wanted = false;
    task->mode = TASK_IDLE;
    task->news = NEWS_DRAINED;
    task_ref(task);
    task_look_at_rest(task);
    task_unref(task);
}

enum flow_limit engine_flow_limit(const struct engine *engine)
{
    int32_t counts[FLOW_LIMITS_COUNT] = {0};
    enum flow_limit most = FLOW_NOTHING;
    for (size_t i = 0; engine != NULL && i < engine->tasks_count; i++) {
        enum flow_limit limit = engine->tasks[i]->flow.limit;
        if (limit != FLOW_NOTHING && ++counts[limit] > counts[most]) {
            most = limit;
        }
    }
    return most;
}

int64_t engine_round_trip_us(const struct engine *engine, bool of_source)
{
    int64_t longest_us = -1;
    for (size_t i = 0; engine != NULL && i < engine->tasks_count; i++) {
        const struct task *task = engine->tasks[i];
        int64_t us = batches_round_trip_us(task, of_source);
        longest_us = us > longest_us ? us : longest_us;
    }
    return longest_us;
}

void engine_rates(struct engine *engine, int64_t first_copy, int64_t steady)
{
    int64_t now_ms = loop_now_ms(engine->loop);
    throttle_set(&engine->first_copy, first_copy, now_ms);
    throttle_set(&engine->steady, steady, now_ms);
}

bool engine_by_content(const struct engine *engine)
{
    return engine->records != NULL;
}

const struct engine_counters *engine_counters(const struct engine *engine)
{
    static const struct engine_counters none;
    return engine != NULL ? &engine->counters : &none;
}

const struct recode_counts *engine_recoded(const struct engine *engine)
{
    static const struct recode_counts none;
    return engine != NULL ? recode_counts(engine->recode) : &none;
}
