#include "mirror/records.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/heap.h"
#include "base/log.h"

/* --- topics ------------------------------------------------------------------------------------------------------- */

struct records_topic *records_topic(struct records *records, const char *name)
{
    for (size_t i = 0; i < records->topics_count; i++) {
        if (strcmp(records->topics[i]->name, name) == 0) {
            return records->topics[i];
        }
    }
    records->topics = must(
        realloc(records->topics, (records->topics_count + 1) * sizeof(struct records_topic *)));
    struct records_topic *topic = must(calloc(1, sizeof(*topic)));
    topic->name = must(strdup(name));
    records->topics[records->topics_count++] = topic;
    return topic;
}

rd_kafka_topic_t *records_target(struct records *records, struct records_topic *topic)
{
    if (topic->target == NULL) {
        topic->target =
            must(rd_kafka_topic_new(client_handle(records->producer), topic->name, NULL));
    }
    return topic->target;
}

static void put_task(struct records_topic *topic, int32_t partition, struct task *task)
{
    if (partition >= topic->tasks_capacity) {
        int32_t capacity = partition + 1;
        topic->tasks = must(realloc(topic->tasks, (size_t)capacity * sizeof(struct task *)));
        memset(&topic->tasks[topic->tasks_capacity], 0,
               (size_t)(capacity - topic->tasks_capacity) * sizeof(struct task *));
        topic->tasks_capacity = capacity;
    }
    assert(topic->tasks != NULL);
    topic->tasks[partition] = task;
}

/* --- what the engine calls ---------------------------------------------------------------------------------------- */

static void path_pump(struct engine *engine)
{
    records_source_take(engine->records);
    records_sink_send(engine->records);
}

static void path_look(struct engine *engine)
{
    records_sink_look(engine->records);
    records_source_look(engine->records);
}

static void path_metadata(struct engine *engine)
{
    (void)engine; /* librdkafka finds leaders by itself */
}

static void path_add(struct task *task)
{
    struct records *records = task->engine->records;
    task->records = must(calloc(1, sizeof(*task->records)));
    task->records->topic = records_topic(records, task->topic);
    put_task(task->records->topic, task->index, task);
}

/* Chunks that librdkafka has nothing of are gone; the others are when it has reported. */
static void path_drop(struct task *task)
{
    struct records_task *of = task->records;
    records_source_stop(task);
    records_sink_unlink(task);
    if (of->open != NULL) {
        records_chunk_free(of->open);
        of->open = NULL;
    }
    while (of->first != NULL) {
        struct chunk *chunk = of->first;
        of->first = chunk->next;
        chunk->dropped = true;
        if (chunk->sent == chunk->landed) {
            task->flying_count -= chunk->sent > 0;
            records_chunk_free(chunk);
        }
    }
    of->last = of->unsent = NULL;
    of->refused = false;
}

/* What flies of a partition that is not ours any more must not leave later. */
static void path_remove(struct task *task)
{
    struct records *records = task->engine->records;
    if (task->flying_count > 0) {
        records_sink_retire(records, "records on their way of a partition that was taken from us");
    }
    put_task(task->records->topic, task->index, NULL);
}

static void path_freed(struct task *task)
{
    free(task->records);
    task->records = NULL;
}

static void path_slow(struct task *task)
{
    (void)task; /* librdkafka has one connection a broker */
}

static void path_drop_unsent(struct engine *engine)
{
    (void)engine; /* path_remove() has seen to it */
}

static int64_t path_round_trip_us(const struct task *task, bool of_source)
{
    struct cluster *cluster = of_source ? task->engine->source : task->engine->target;
    int32_t leader = cluster_leader(cluster, task->topic, task->index).broker;
    struct conn *conn = leader < 0 ? NULL : cluster_conn(cluster, leader, LANE_SMALL);
    return conn == NULL ? -1 : conn_round_trip_us(conn);
}

static void source_conn(void *arg, int32_t broker, int32_t lane, struct conn *conn,
                        const struct err *lost)
{
    struct engine *engine = arg;
    (void)broker;
    (void)lane;
    (void)conn;
    if (lost != NULL) {
        cluster_refresh(engine->source);
    }
}

static void target_conn(void *arg, int32_t broker, int32_t lane, struct conn *conn,
                        const struct err *lost)
{
    struct engine *engine = arg;
    (void)broker;
    (void)lane;
    (void)conn;
    if (lost != NULL) {
        cluster_refresh(engine->target);
    }
}

static void woken(void *arg, int what)
{
    struct records *records = arg;
    uint64_t count;
    (void)what;
    (void)!read(records->wake_fd, &count, sizeof(count));
    records_sink_take(records);
    engine_pump_soon(records->engine);
}

static void path_detach(struct engine *engine)
{
    struct records *records = engine->records;
    cluster_on_conn(engine->source, NULL, NULL);
    cluster_on_conn(engine->target, NULL, NULL);
    loop_fd_free(records->wake);
    records->wake = NULL;
    records_sink_close(records);
    records_source_close(records);
}

static void path_free(struct engine *engine)
{
    struct records *records = engine->records;
    for (size_t i = 0; i < records->topics_count; i++) {
        free(records->topics[i]->name);
        free(records->topics[i]->tasks);
        free(records->topics[i]);
    }
    free(records->topics);
    free(records->gathered);
    close(records->wake_fd);
    free(records);
}

static const struct engine_path records_path = {
    .by_content = true,
    .pump = path_pump,
    .pump_answered = path_pump,
    .look = path_look,
    .metadata = path_metadata,
    .add = path_add,
    .start = records_source_start,
    .drop = path_drop,
    .remove = path_remove,
    .freed = path_freed,
    .slow = path_slow,
    .drop_unsent = path_drop_unsent,
    .round_trip_us = path_round_trip_us,
    .detach = path_detach,
    .free = path_free,
};

static bool open_both(struct records *records, struct err *err)
{
    return records_source_open(records, err) && records_sink_open(records, err);
}

struct engine *records_new(struct loop *loop, struct cluster *source, struct cluster *target,
                           struct buf_pool *pool, const struct engine_options *options,
                           const struct engine_callbacks *callbacks, struct err *err)
{
    int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake_fd < 0) {
        err_set(err, ERR_RETRY, "path records: no file descriptor left");
        return NULL;
    }
    struct engine *engine =
        engine_new(loop, source, target, pool, options, callbacks, &records_path);
    struct records *records = must(calloc(1, sizeof(*records)));
    *records = (struct records){.engine = engine,
                                .source_settings = options->source_settings,
                                .target_settings = options->target_settings,
                                .wake_fd = wake_fd,
                                .idempotent = true};
    engine->records = records;
    records->wake = loop_fd_new(loop, wake_fd, LOOP_READ, woken, records);
    cluster_on_conn(source, source_conn, engine);
    cluster_on_conn(target, target_conn, engine);
    if (!open_both(records, err)) {
        err_wrap(err, "path records");
        engine_detach(engine);
        engine_free(engine);
        return NULL;
    }
    return engine;
}
