/* Checkpoints and maps of one link in the Redis of its target's site: never the only copy of a truth, never waited for.
 *
 * Keys are PREFIX{SERVICE}:FROM>TO:... as in the design. The data plane calls offset_track_ack() for every
 * acknowledged stretch and goes on; a tick sends at most one advance a partition (one Lua script: checkpoint and runs
 * together, a compare-and-swap). While Redis is away runs are kept packed up to `map_memory_bytes`; beyond it the
 * oldest stretch that is not stored becomes "unmapped": recorded (key ...:unmapped:TOPIC:PARTITION, a set of ranges) as soon as
 * Redis is back, and the map goes on behind it. Loop thread only.
 */
#ifndef FERRY_OFFSETS_OFFSET_STORE_H
#define FERRY_OFFSETS_OFFSET_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/redis.h"
#include "offsets/checkpoint.h"
#include "offsets/offset_map.h"
#include "offsets/translate.h"

struct offset_store;
struct offset_track; /* one partition of the link that this worker owns */

struct offset_store_options {
    const char *prefix; /* configured key prefix, may be "" */
    const char *service;
    const char *from;
    const char *to;
    const char *
        deployment; /* `meta`: another deployment, other clusters or a newer schema are refused by name */
    const char *source_cluster_id;
    const char *target_cluster_id;
    int64_t map_memory_bytes;
    int32_t interval_ms; /* between advances of one partition */
};

struct offset_store_callbacks {
    /* Another worker wrote this partition's checkpoint: `found` is ahead of us or of another incarnation. The engine
     * stops sending and resumes. */
    void (*conflict)(void *arg, struct offset_track *track, const struct checkpoint *found);
    /* The store came, went, or is refused: for good (ERR_REFUSED: evicting policy, other deployment, ...), or as long as Redis says
     * so (REDIS_SAYS: full, a replica, loading, ...). Mirroring goes on without the map. */
    void (*state)(void *arg, bool ready, const struct err *why);
    void *arg;
};

/* `redis` NULL = a site without Redis: everything is kept within the memory bound, nothing is stored; loads and cuts are
 * answered "away". */
struct offset_store *offset_store_new(struct loop *loop, struct redis *redis,
                                      const struct offset_store_options *options,
                                      const struct offset_store_callbacks *callbacks);
/* After redis_free(), whose last answers still come here. Tracks are freed before both, or by this. */
void offset_store_free(struct offset_store *store);
bool offset_store_ready(const struct offset_store *store);
/* The door's connection state; wire redis_new()'s `changed` to it. */
void offset_store_redis_changed(struct offset_store *store, enum redis_state state,
                                const struct err *why);

enum offset_loaded { LOADED_FOUND, LOADED_MISSING, LOADED_AWAY, LOADED_REFUSED };
/* Read a partition's checkpoint. FOUND: *checkpoint. MISSING: Redis answered and has none. AWAY: no answer within the
 * door's time-out, or this Redis is refused. REFUSED: the value is garbage or of another type (err names the key). */
void offset_store_load(struct offset_store *store, const char *topic, int32_t partition,
                       void (*done)(void *arg, enum offset_loaded what,
                                    const struct checkpoint *checkpoint, const struct err *err),
                       void *arg);

/* Begin to keep a partition from a resumed position. `stored` is what offset_store_load() found there (NULL: missing
 * or away), `at` is where the partition stands now (what resume decided, before the first new batch), and `runs` are
 * everything that was mirrored between `from` and `at` (`from` NULL: none, a new beginning). What lies between `stored`
 * and `from` is unmapped. */
struct offset_track *offset_track_new(struct offset_store *store, const char *topic,
                                      int32_t partition, const struct checkpoint *stored,
                                      const struct checkpoint *from, const struct checkpoint *at,
                                      const struct offset_run *runs, size_t runs_count,
                                      void *owner);
/* Stop keeping. What is pending is still stored, or taken over by the partition's next track while Redis is away. */
void offset_track_free(struct offset_track *track);
void *offset_track_owner(const struct offset_track *track);

/* An acknowledged stretch (length 0: only source_next moved over a hole) and the position behind it. Never fails, never
 * waits. */
void offset_track_ack(struct offset_track *track, struct offset_run run,
                      const struct checkpoint *after);
/* A run inside of a batch that holds more of them; the offset_track_ack() of its last run follows at once. */
void offset_track_ack_part(struct offset_track *track, struct offset_run run);
/* Where a successor has to begin so that nothing of the map is lost: what Redis confirmed last, at first `from`. false:
 * Redis is away or refuses, nothing was mirrored before: it may begin at the end. */
bool offset_track_stored(const struct offset_track *track, struct checkpoint *out);
int64_t offset_track_pending_runs(const struct offset_track *track);
struct offset_counters { /* of what Redis confirmed, since the start */
    uint64_t advances;
    uint64_t unmapped_stretches; /* recorded as unmapped */
    uint64_t unmapped_offsets;   /* source offsets in them */
};
const struct offset_counters *offset_store_counters(const struct offset_store *store);
/* Send all pending advances now and call `done` when each was answered or `timeout_ms` is over (orderly stop). */
void offset_store_flush(struct offset_store *store, int32_t timeout_ms,
                        void (*done)(void *arg, bool all), void *arg);

/* The last run that begins at or before a target offset in the stored map of `end`'s incarnation; it ends where the map
 * says, at `end` at the latest. For a target log that was truncated. found=false: nothing there or Redis away (err
 * set). */
void offset_store_floor_target(struct offset_store *store, const char *topic, int32_t partition,
                               const struct checkpoint *end, int64_t target_offset,
                               void (*done)(void *arg, bool found, struct offset_run run,
                                            const struct err *err),
                               void *arg);
/* Cut the stored map and checkpoint back to `to` (second Lua script): entries above are deleted, XSETID down, the
 * straddling entry added again shortened. Missing or already there = success. A map that was damaged, or has the last
 * record that stays elsewhere, is begun anew by the next track. */
void offset_store_cut(struct offset_store *store, const char *topic, int32_t partition,
                      const struct checkpoint *to, const char *why,
                      void (*done)(void *arg, bool ok, const struct err *err), void *arg);

/* Things that happened, to the `events` stream (bounded by MAXLEN ~ 10,000); dropped while Redis is away (the log line
 * stays). */
void offset_store_event(struct offset_store *store, const char *kind, const char *topic,
                        int32_t partition, const char *json_detail);

/* Records of ours that stand on the target a second time, from a target offset on (path `records`): to the hash `repeated`,
 * a field for each place, so that finding them again counts nothing twice: that is the newest place of a partition, behind its
 * checkpoint. Of more than a thousand the older half becomes one sum. Dropped while Redis is away, as events are. */
void offset_store_repeated(struct offset_store *store, const char *topic, int32_t partition,
                           int64_t target_from, int64_t count);

/* --- for the command: the same data, read with a blocking connection -------------------------------------------- */
struct offset_view;
struct offset_view *offset_view_new(struct redis_sync *redis, const char *prefix,
                                    const char *service, const char *from, const char *to);
void offset_view_free(struct offset_view *view);
/* false with ERR_REFUSED "no checkpoint" when there is none. */
MUST_CHECK
bool offset_view_checkpoint(struct offset_view *view, const char *topic, int32_t partition,
                            struct checkpoint *out, struct err *err);
/* Both directions; looks at the newest incarnation whose first source offset is <= the offset. */
MUST_CHECK
bool offset_view_translate(struct offset_view *view, const char *topic, int32_t partition,
                           int64_t offset, bool from_target, struct translation *out,
                           struct err *err);
/* The source offset from which on the checkpoint's topic was mirrored in a generation of at least `least`; the
 * checkpoint's own place when none is. */
MUST_CHECK
bool offset_view_generation_from(struct offset_view *view, const char *topic, int32_t partition,
                                 const struct checkpoint *checkpoint, int32_t least, int64_t *out,
                                 struct err *err);
/* Every run of the newest incarnation (or of `incarnation`) in order, oldest first; `each` returns false to stop. */
MUST_CHECK
bool offset_view_each_run(struct offset_view *view, const char *topic, int32_t partition,
                          const char *incarnation,
                          bool (*each)(void *arg, const char *incarnation,
                                       const struct offset_run *run),
                          void *arg, struct err *err);
/* As that, of the checkpoint's incarnation and from the entry on that holds a source offset: some runs before it may come first,
 * what was rebuilt before it does. */
MUST_CHECK
bool offset_view_runs_from(struct offset_view *view, const char *topic, int32_t partition,
                           const struct checkpoint *checkpoint, int64_t from,
                           bool (*each)(void *arg, const char *incarnation,
                                        const struct offset_run *run),
                           void *arg, struct err *err);
/* All partitions with a checkpoint. */
MUST_CHECK
bool offset_view_each_checkpoint(struct offset_view *view,
                                 bool (*each)(void *arg, const char *topic, int32_t partition,
                                              const struct checkpoint *checkpoint),
                                 void *arg, struct err *err);

#endif
