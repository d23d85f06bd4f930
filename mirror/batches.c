#include "mirror/batches.h"

/* The path `batches`: source and sink on our own wire, as mirror/engine calls them. */

/* --- connections -------------------------------------------------------------------------------------------------- */

static void source_conn(void *arg, int32_t broker, int32_t lane, struct conn *conn,
                        const struct err *lost)
{
    struct engine *engine = arg;
    (void)broker;
    (void)lane;
    (void)conn;
    if (lost == NULL) {
        source_pump(engine);
    } else {
        cluster_refresh(engine->source);
    }
}

static void target_conn(void *arg, int32_t broker, int32_t lane, struct conn *conn,
                        const struct err *lost)
{
    struct engine *engine = arg;
    (void)conn;
    if (lost != NULL) {
        cluster_refresh(engine->target);
    }
    sink_conn_changed(engine, broker, lane, lost != NULL);
}

/* --- what the engine calls ---------------------------------------------------------------------------------------- */

static void path_pump(struct engine *engine)
{
    sink_pump(engine);
    source_pump(engine);
}

/* Behind acknowledgments there is nothing to ask for while every source broker is asked already: thousands of
 * partitions are not looked through for nothing. What changed otherwise is seen by the tick. */
static void path_pump_answered(struct engine *engine)
{
    sink_pump(engine);
    if (source_idle(engine)) {
        source_pump(engine);
    }
}

static void path_look(struct engine *engine)
{
    source_look(engine);
    sink_look(engine);
}

static void path_metadata(struct engine *engine)
{
    for (size_t i = 0; i < engine->tasks_count; i++) {
        struct task *task = engine->tasks[i];
        struct cluster_leader before = task->target_leader;
        sink_route(task);
        bool moved = before.broker != task->target_leader.broker ||
                     before.epoch != task->target_leader.epoch;
        if (moved && task->mode == TASK_CARRYING) {
            if (partition_flight_count(&task->core) > 0) {
                struct err why = {0};
                err_set(&why, ERR_RETRY,
                        "the target's leader moved from broker %d (epoch %d) to %d (epoch %d)",
                        before.broker, before.epoch, task->target_leader.broker,
                        task->target_leader.epoch);
                task_doubt(task, &why);
            } else {
                partition_reopen(&task->core);
                sink_ready(task);
            }
        }
    }
}

static void path_start(struct task *task)
{
    task->coming_back = false;
    if (task->slow) { /* the time of proof begins */
        sink_slow(task);
    }
    sink_route_anew(task);
}

static int64_t path_round_trip_us(const struct task *task, bool of_source)
{
    return of_source ? source_round_trip_us(task) : sink_round_trip_us(task);
}

static void path_detach(struct engine *engine)
{
    cluster_on_conn(engine->source, NULL, NULL);
    cluster_on_conn(engine->target, NULL, NULL);
}

static void path_free(struct engine *engine)
{
    source_free(engine);
    sink_free(engine);
}

static const struct engine_path batches_path = {
    .pump = path_pump,
    .pump_answered = path_pump_answered,
    .look = path_look,
    .metadata = path_metadata,
    .start = path_start,
    .remove = sink_unlink,
    .slow = sink_slow,
    .drop_unsent = sink_drop_unsent,
    .round_trip_us = path_round_trip_us,
    .detach = path_detach,
    .free = path_free,
};

struct engine *batches_new(struct loop *loop, struct cluster *source, struct cluster *target,
                           struct buf_pool *pool, const struct engine_options *options,
                           const struct engine_callbacks *callbacks)
{
    struct engine *engine =
        engine_new(loop, source, target, pool, options, callbacks, &batches_path);
    cluster_on_conn(source, source_conn, engine);
    cluster_on_conn(target, target_conn, engine);
    return engine;
}
