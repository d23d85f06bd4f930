/* What carries data of one link, over our own wire: over the path `batches` (producer ids of our choosing, exactly once) or
 * `records` (ids that the target gives out, at least once).
 *
 * The link owns tasks (one partition each), decides when a task resumes, may send, drains or goes; the engine finds the
 * position (through mirror/resume), carries, and tells. Nothing flows back but acks and stop. Loop thread only.
 */
#ifndef FERRY_MIRROR_ENGINE_H
#define FERRY_MIRROR_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "config/config.h"
#include "kafka/cluster.h"
#include "mirror/flow.h"
#include "mirror/partition.h"
#include "mirror/resume.h"

struct engine;
struct task;

struct task_stored { /* what is stored of a task's position; the answer to engine_callbacks.load */
    enum resume_found redis_found;
    struct checkpoint redis;
    enum resume_found group_found;
    struct checkpoint group;
    struct err garbage;
};

struct engine_callbacks {
    /* May a batch leave now? Every gate of the link: role, control topic fresh, streams, deadline. */
    bool (*may_send)(void *arg);
    /* Read both checkpoints; answer with engine_loaded(). */
    void (*load)(void *arg, struct task *task);
    /* The map's run at or below a target offset; answer with engine_floor(). */
    void (*floor)(void *arg, struct task *task, const struct checkpoint *end,
                  int64_t target_offset);
    /* Cut map and checkpoint in the store; answer with engine_cut_done(). */
    void (*cut)(void *arg, struct task *task, const struct checkpoint *to);
    /* The resume procedure ended with DONE (the position is resume->at) or FAULT. `resume` is valid in the call only. */
    void (*resumed)(void *arg, struct task *task, const struct resume *resume,
                    enum resume_need how);
    /* It could not go on (I/O) or waits for the world: the link backs off and resumes anew. stalled: tell the operator. */
    void (*waits)(void *arg, struct task *task, const struct err *why, bool stalled);
    void (*ack)(void *arg, struct task *task, const struct ack *ack);
    /* The position is not ours to say any more; everything was dropped and nothing flies: resume. */
    void (*doubt)(void *arg, struct task *task, const struct err *why);
    /* Cannot go on: a batch that may not pass or that the target refuses. Everything before it is acknowledged or not:
     * the engine dropped the rest. */
    void (*fault)(void *arg, struct task *task, enum resume_fault kind, int64_t source_from,
                  int64_t source_to, const struct err *why);
    /* After engine_drain(): nothing flies any more. */
    void (*drained)(void *arg, struct task *task);
    void *arg;
};

struct engine_options {
    const struct config_limits *limits;
    const char *id_deployment; /* for the producer id */
    const char *id_service;
    const struct config_filter *filter; /* NULL = none */
    enum config_compression compression;
    bool merge;   /* small neighbours */
    bool records; /* the path, else `batches` */
};

/* `source` and `target` are borrowed; the engine takes their cluster_on_conn listeners, the link keeps
 * cluster_on_change and calls engine_metadata(). */
struct engine *engine_new(struct loop *loop, struct cluster *source, struct cluster *target,
                          struct buf_pool *pool, const struct engine_options *options,
                          const struct engine_callbacks *callbacks);
/* The end, first half: no task, no timer, no listener any more. Then the clusters are freed, which answers what still
 * flies, then the engine. */
void engine_detach(struct engine *engine);
void engine_free(struct engine *engine);
/* Metadata of either cluster changed. */
void engine_metadata(struct engine *engine);
/* Partitions were taken from us: batches that stand unsent in a connection do not leave any more; it breaks. */
void engine_drop_unsent(struct engine *engine);
/* A gate opened, or a tick: look whether something can go. */
void engine_pump(struct engine *engine);

struct task *engine_add(struct engine *engine, const char *topic, int32_t partition,
                        const struct uuid *source_topic_id, const struct uuid *target_topic_id,
                        void *owner);
/* Gone at once; late answers are ignored. */
void engine_remove(struct engine *engine, struct task *task);
/* Find the position (after everything that flies has come to rest). */
void engine_resume(struct engine *engine, struct task *task, const struct resume_options *options);
void engine_loaded(struct engine *engine, struct task *task, const struct task_stored *stored);
void engine_floor(struct engine *engine, struct task *task, bool found, struct offset_run run);
void engine_cut_done(struct engine *engine, struct task *task);
/* Go on from the resumed position: fetch, and send while may_send. */
void engine_start(struct engine *engine, struct task *task);
/* Drop everything; the link resumes the task next (another worker wrote). No callback. */
void engine_hold(struct engine *engine, struct task *task);
/* Take in and send nothing new; `drained` when nothing flies. */
void engine_drain(struct engine *engine, struct task *task);

void *task_owner(const struct task *task);
const char *task_topic(const struct task *task);
int32_t task_partition(const struct task *task);
/* Producer id at generation 0 of this task's stream. */
int64_t task_id_base(const struct task *task);
/* The high watermark that the source told with a Fetch answer; -1 = not yet known. When it was told. What stands behind an
 * open transaction is not mirrored, and at risk all the same. */
int64_t task_source_end(const struct task *task, int64_t *out_at_ms);
/* Its errors on the source side that hold it back, "" when none (lag is unknown then). */
const char *task_trouble(const struct task *task);
/* How much of it flows, and what keeps it from flowing faster. */
const struct flow *task_flow(const struct task *task);
/* Its acknowledgments came late: it has a connection apart from the others. */
bool task_is_slow(const struct task *task);

/* Bytes a second that may be fetched, of partitions that have not caught up since they were added and of those that have;
 * 0 = no limit. Counts from now on. */
void engine_rates(struct engine *engine, int64_t first_copy, int64_t steady);

/* The target's records are told by their content: at-least-once. false: by our producer id, exactly once. */
bool engine_by_content(const struct engine *engine);

/* What follows may be asked of NULL, an engine that is not there yet: it has nothing to tell. */

/* What most of the partitions are held back by that are held back at all. */
enum flow_limit engine_flow_limit(const struct engine *engine);
/* The longest round trip to a broker that a partition flows from, or to; -1 = unknown. */
int64_t engine_round_trip_us(const struct engine *engine, bool of_source);

struct engine_counters {
    uint64_t records;
    uint64_t bytes;
    uint64_t batches;
    uint64_t fetches;
    uint64_t produces;
    uint64_t resumes;
    uint64_t doubts;
    uint64_t read_back;          /* batches that count only since they were read on the target */
    uint64_t source_throttle_ms; /* that brokers' quotas held us back, by their own word */
    uint64_t target_throttle_ms;
};
const struct engine_counters *engine_counters(const struct engine *engine);
/* What was re-encoded and why, what was filtered. */
const struct recode_counts *engine_recoded(const struct engine *engine);

#endif
