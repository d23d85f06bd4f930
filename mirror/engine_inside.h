/* Inside of the engine: what its parts share. Nobody else includes this.
 *
 *   engine     what the link calls: the tasks and their modes
 *   batches    what carries, for the engine
 *   records    over the path `records`: whose the batches are (mirror/producer), and what that path sees to beside
 *   source     one Fetch in flight a source broker, many partitions; several, to a far one  -> partition_take()
 *   sink       Produce requests of one batch for each of many partitions, pinned lanes -> partition_answer()
 *   task       the rest before every doubt: a task resumes only when nothing of it flies
 *   resume_io  does what mirror/resume asks, and reads back what is not proven
 *
 * Each calls those below it alone.
 */
#ifndef FERRY_MIRROR_ENGINE_INSIDE_H
#define FERRY_MIRROR_ENGINE_INSIDE_H

#include "mirror/desk.h"
#include "mirror/engine.h"
#include "mirror/flow.h"
#include "mirror/producer.h"
#include "mirror/throttle.h"

/* Connections to one broker, by purpose. Fetches go to the source, Produce requests to the target; either is spread over
 * LANES_MAX of them when the broker is far. */
#define LANE_SMALL 0 /* small requests: nothing waits behind a long one */
#define LANE_FIRST 1
#define LANES_MAX \
    8 /* brokers as they come hold 100 KiB a connection on the line: 8 are 10 MB/s at 80 ms */
#define LANE_READ 9 /* long reads of resume */
#define LANE_SLOW \
    10 /* target: partitions whose acknowledgments do not come stop no neighbour there */

enum task_mode {
    TASK_IDLE, /* waits for the link's word */
    TASK_RESUMING,
    TASK_PLACED, /* the position is proven, not started */
    TASK_CARRYING,
    TASK_DRAINING, /* what flies may land */
    TASK_GONE,     /* removed; late answers still hold references */
};

enum task_news {
    NEWS_NONE,
    NEWS_DOUBT,
    NEWS_FAULT,
    NEWS_DRAINED
}; /* told when nothing flies any more */

struct sink_lane;
struct resume_run;
struct records;

struct task {
    struct engine *engine;
    int32_t refs_count;
    void *owner;
    char *topic;
    int32_t index;
    struct uuid source_topic_id;
    struct uuid target_topic_id;
    int64_t id_base;
    enum task_mode mode;
    uint32_t ticket;      /* raised at each drop: answers to older requests are nobody's */
    int32_t flying_count; /* produce requests not answered yet, of any ticket */
    struct partition core;
    /* news for the link that wait until nothing flies */
    enum task_news news;
    enum resume_fault news_fault;
    int64_t news_from, news_to;
    struct err news_err;
    /* source side */
    bool fetching; /* part of a Fetch in flight */
    bool behind;   /* the last Fetch answer was full of it: more waits at the source */
    bool
        epoch_unchecked; /* the leader does not know our last epoch any more: resume proved the position */
    bool steady;         /* caught up with the source once; before: its first copy */
    bool throttled;        /* not asked for at the last look: a rate limit */
    int64_t hold_until_ms; /* after an error of its own */
    char trouble[400];     /* a principal and a topic's name in it */
    int64_t source_end;    /* high watermark as told; -1 unknown */
    int64_t source_end_at_ms;
    struct cluster_leader source_leader; /* as metadata said last */
    int16_t source_error;                /* likewise, of the topic */
    int64_t leaderless_ms; /* since when its source partition has no leader; 0 = it has one */
    int32_t corrupt_count; /* times in a row that the target, or we, found a batch corrupt */
    /* target side */
    struct cluster_leader target_leader;
    struct sink_lane *lane; /* NULL while the leader is unknown */
    uint32_t lane_pin;
    bool ready; /* in the lane's queue */
    struct task *ready_next;
    bool slow;             /* on the broker's slow connection */
    bool late;             /* its resume waited for followers: it goes on there, too */
    bool coming_back;      /* from it: nothing is sent until what flies has landed */
    int64_t slow_until_ms; /* acknowledged in time until then: it comes back */
    int64_t ack_ms;        /* from sending to acknowledgment, of the last one; -1 = none yet */
    struct flow flow;
    /* whose its batches are */
    struct producer producer;
    /* path `records` alone */
    int64_t unnamed_ms; /* since when it waits for another id, and sends nothing; 0 = it does not */
    int32_t source_epoch;   /* of the leader that the position was found at; -1 = unknown */
    int64_t appended_end;   /* see resume_options */
    int32_t appended_epoch; /* of the target's leader that said so */
    int64_t fell_to;        /* see resume_options */
    /* resuming */
    struct resume_run *run;
    struct resume_run *proof; /* the oldest batch in flight is being read back */
    bool resume_wanted;       /* as soon as nothing flies */
    struct resume_options resume_options;
};

struct source_broker {
    struct engine *engine;
    int32_t broker;
    uint32_t asking;        /* lanes that have a Fetch in flight, a bit each */
    bool wanted;            /* by some task, in this pump */
    uint32_t turn;          /* which task stands first: brokers fill answers in the order asked */
    int32_t lanes_count;    /* connections that its partitions are fetched over */
    int32_t led_count;      /* our partitions that it leads */
    int64_t round_trip_us;  /* -1 = unknown */
    int64_t rests_until_ms; /* it is not asked before */
    struct loop_timer *rest;
};

struct engine {
    struct records *records; /* path `records` alone; NULL = the path `batches` */
    struct loop *loop;
    struct cluster *source;
    struct cluster *target;
    struct buf_pool *pool;
    struct recode *recode; /* of all partitions: what it makes stands in their queues */
    struct transfer_limits transfer_limits;
    struct engine_options options;
    struct engine_callbacks callbacks;
    struct task **tasks; /* sorted by topic, partition */
    size_t tasks_count;
    struct source_broker **brokers;
    size_t brokers_count;
    struct sink_lane **lanes;
    size_t lanes_count;
    struct desks desks; /* where resumes ask */
    uint32_t pins_count;
    struct loop_timer *tick;
    struct engine_counters counters;
    struct throttle first_copy; /* bytes fetched of partitions that never caught up yet */
    struct throttle steady;     /* of those that did */
    int32_t first_copy_count;   /* tasks that carry, of each kind */
    int32_t steady_count;
    int64_t asked_bytes;     /* of Fetch answers that are not here yet, beyond one a broker */
    bool memory_full;        /* at the last pump: nothing was asked for */
    struct loop_after *pump; /* once after all answers of a loop turn: requests go out together */
    bool started;            /* some task was, in this turn: the next pump looks at everybody */
    int64_t moved_bytes;     /* sent since the last look at the rate */
    int64_t rested_ms;       /* when that was */
};

struct task *task_ref(struct task *task);
void task_unref(struct task *task);
/* Everything of it is dropped; `news` is told when nothing flies. */
void task_doubt(struct task *task, const struct err *why);
void task_fault(struct task *task, enum resume_fault kind, int64_t source_from, int64_t source_to,
                const struct err *why);
#define CORRUPT_TRIES \
    2 /* a flipped bit on the way is fetched again; one on the source's disk stays */
/* One of its requests was answered or lost. */
void task_landed(struct task *task);
/* Nothing of it is to be sent; what flies is nobody's. */
void task_drop(struct task *task);
/* Tell its news, or begin its resume, when nothing flies. The caller holds a reference. */
void task_look_at_rest(struct task *task);
void task_look_at_drained(struct task *task);
/* The position moved without an answer (a hole at the end of what was fetched). */
void task_settle(struct task *task);
/* What holds it back on the source side; "" = nothing any more. Told once; it is not asked for during TASK_HOLD_MS. */
void task_trouble_is(struct task *task, const char *what);
#define TASK_HOLD_MS 200
/* At each look: nobody is asked for a partition without leader, so no answer says why nothing comes. */
void task_look_leaderless(struct task *task, int32_t leader);
#define NO_LEADER(side) \
    "the " side " partition has no leader: its brokers are down, or their log directories failed"

/* Behind all answers of this turn of the loop. */
static inline void engine_pump_soon(struct engine *engine)
{
    loop_after_ask(engine->pump);
}
void source_pump(struct engine *engine);
bool source_idle(
    const struct engine *engine); /* some broker that we know could be asked for more */
/* Ten times a second: how far brokers are, who is in its first copy. */
void source_look(struct engine *engine);
/* Who leads the task's partition at the source, by the newest metadata. */
void source_route(struct task *task);
int64_t source_round_trip_us(const struct task *task); /* to its source broker; -1 = unknown */
void source_detach(struct engine *engine);             /* it asks by itself no more */
void source_free(struct engine *engine);

void sink_route(struct task *task);      /* find its lane by the target's leader */
void sink_route_anew(struct task *task); /* nothing of it flies: also the connection may change */
void sink_ready(struct task *task);      /* something may be sendable */
void sink_unlink(struct task *task);     /* nothing of it is to be sent */
void sink_pump(struct engine *engine);
/* Ten times a second: is a connection blocked by a partition that is not replicated, may a slow one come back? */
void sink_look(struct engine *engine);
/* Its acknowledgments do not come: its next batches go over the slow connection. Nothing of it flies. */
void sink_slow(struct task *task);
/* For resume_options. */
int64_t sink_appended_end(const struct task *task);
/* Of one partition's window. */
struct partition_bounds sink_bounds(const struct task *task);
int64_t sink_round_trip_us(const struct task *task); /* to its target broker; -1 = unknown */
bool sink_waits(const struct task *task); /* each of its batches: for replicas, or a long line */
/* Break the connections in which batches stand unsent. */
void sink_drop_unsent(struct engine *engine);
void sink_conn_changed(struct engine *engine, int32_t broker, int32_t lane, bool lost);
void sink_free(struct engine *engine);

/* --- batches: both paths, called by mirror/engine.c alone --- */
/* Look for what can be fetched and sent. */
void batches_pump(struct engine *engine);
/* Likewise behind acknowledgments. */
void batches_pump_answered(struct engine *engine);
void batches_look(struct engine *engine); /* ten times a second */
/* Metadata of either cluster changed. */
void batches_metadata(struct engine *engine);
void batches_start(struct task *task); /* fetch from the core's position */
void batches_remove(struct task *task);
int64_t batches_round_trip_us(const struct task *task, bool of_source);
void batches_attach(struct engine *engine);
void batches_detach(struct engine *engine);

/* --- records: what that path does beside --- */
void records_init(struct engine *engine);
void records_free(struct engine *engine);
void records_start(struct task *task);
void records_remove(struct task *task);
void records_metadata(struct engine *engine);
void records_look(struct engine *engine);

struct resume_run *resume_run_new(struct task *task, const struct resume_options *options);
void resume_run_free(struct resume_run *run); /* late answers are ignored */
void resume_run_loaded(struct resume_run *run, const struct task_stored *stored);
void resume_run_floor(struct resume_run *run, bool found, struct offset_run floor);
void resume_run_cut(struct resume_run *run);

/* @param found  the batch at the offset, valid in the call only; NULL: err says why it was not read */
typedef void task_read_back(struct task *task, const struct batch *found, const struct err *err);
/* Read the target's batch at `offset` (a question to its leader); task_drop() ends it without a word. */
void task_read_back_at(struct task *task, int64_t offset, task_read_back *done);

#endif
