/* Where a link is: every partition that belongs to it, its checkpoint, and the source's offsets now.
 *
 * The checkpoint is the newer of Redis's and the commit metadata of ferry's group on the target; whichever is there. The
 * partitions are those that the source has now: one that nobody mirrored yet counts with everything it holds. While the
 * source does not answer they are those with a checkpoint, and its offsets are unknown; so are those of a topic that it does not
 * list and does not call unknown either: access was taken away. Checkpoints are read before the source's ends, so lag errs to
 * the higher side.
 */
#ifndef FERRY_FAILOVER_POSITIONS_H
#define FERRY_FAILOVER_POSITIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/redis.h"
#include "config/config.h"
#include "kafka/admin.h"
#include "offsets/checkpoint.h"

#define POSITION_TOPIC_BYTES 250

struct position {
    char topic[POSITION_TOPIC_BYTES];
    int32_t partition;
    bool placed;         /* `at` counts; false: nobody mirrored it, as far as can be known */
    bool of_other_topic; /* there is a checkpoint, of a topic of this name that was deleted */
    bool hidden;         /* the source does not show the topic: its offsets cannot be asked for */
    const char *origin;  /* "redis" or "group" */
    struct checkpoint at;
    int64_t source_begin; /* -1 = unknown */
    int64_t
        source_end; /* high watermark: what a failover would lose, in open transactions or behind them, too */
    int64_t
        source_stable; /* last stable offset: from there on an open transaction holds the mirror; -1 = unknown */
};

struct positions {
    struct position *rows; /* by topic and partition */
    size_t count;
    size_t room;
    struct err redis_err;  /* ERR_NONE: Redis's checkpoints are in it */
    struct err group_err;  /* ERR_NONE: the group's are */
    struct err source_err; /* ERR_NONE: the source's partitions and offsets are */
    /* Why it does not show topics that have a checkpoint, or any: their offsets are unknown. */
    struct err hidden_err;
};

struct positions_doors { /* of one link; a door that is NULL has its reason beside it */
    const struct config_service *service;
    const struct config_site *from;
    const struct config_site *to;
    struct redis_sync *redis; /* of the target's site */
    struct err redis_err;
    struct admin *source;
    struct err source_err;
    struct admin *target;
    struct err target_err;
};
/* Never fails: what cannot be known is unknown. A door that does not answer is not asked again. */
void positions_read(struct positions *positions, const struct positions_doors *doors);
void positions_free(struct positions *positions);

/* Source offsets not mirrored: records at risk, at most. -1 = unknown. */
int64_t position_lag(const struct position *position);
/* Source offsets that a mirror which goes on gets to now: those below the last stable offset. -1 = unknown. */
int64_t position_to_go(const struct position *position);
/* Those of position_lag() that an open transaction holds back, when nothing else does; 0 also when that is unknown. */
int64_t position_held_back(const struct position *position);
/* Source offsets that the source holds now; -1 = unknown. */
int64_t position_held(const struct position *position);
struct position *positions_find(const struct positions *positions, const char *topic,
                                int32_t partition);

/* For the above and for tests: sort, and of rows of one partition keep the newest checkpoint. */
void positions_settle(struct positions *positions);

#endif
