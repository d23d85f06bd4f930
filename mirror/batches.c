#include "mirror/engine_inside.h"

#include "mirror/sequence.h"

/* Source and sink on our own wire, as mirror/engine calls them. */

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

void batches_pump(struct engine *engine)
{
    sink_pump(engine);
    source_pump(engine);
}

/* Behind acknowledgments there is nothing to ask for while every source broker is asked already: thousands of
 * partitions are not looked through for nothing. What changed otherwise is seen by the tick. */
void batches_pump_answered(struct engine *engine)
{
    sink_pump(engine);
    if (source_idle(engine)) {
        source_pump(engine);
    }
}

void batches_look(struct engine *engine)
{
    source_look(engine);
    sink_look(engine);
    if (engine->records != NULL) {
        records_look(engine);
    }
}

void batches_metadata(struct engine *engine)
{
    if (engine->records != NULL) {
        records_metadata(engine);
    }
    for (size_t i = 0; i < engine->tasks_count; i++) {
        struct task *task = engine->tasks[i];
        struct cluster_leader before = task->target_leader;
        source_route(task);
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

void batches_start(struct task *task)
{
    task->coming_back = false;
    if (task->slow || task->late) { /* the time of proof begins */
        sink_slow(task);
    }
    task->late = false;
    sink_route_anew(task);
    if (task->engine->records != NULL) {
        records_start(task);
    } else {
        task->producer.id = sequence_id(task->id_base, task->core.at.generation);
    }
}

void batches_remove(struct task *task)
{
    sink_unlink(task);
    if (task->engine->records != NULL) {
        records_remove(task);
    }
}

int64_t batches_round_trip_us(const struct task *task, bool of_source)
{
    return of_source ? source_round_trip_us(task) : sink_round_trip_us(task);
}

void batches_detach(struct engine *engine)
{
    source_detach(engine);
    cluster_on_conn(engine->source, NULL, NULL);
    cluster_on_conn(engine->target, NULL, NULL);
}

void batches_attach(struct engine *engine)
{
    cluster_on_conn(engine->source, source_conn, engine);
    cluster_on_conn(engine->target, target_conn, engine);
}
