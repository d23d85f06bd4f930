/* One round of group sync: what the groups of a service have committed at the source, translated, kept in Redis, committed at
 * the target. Once a second, on the group thread's loop; waits for nobody else.
 *
 *   LOAD    once a term: what Redis keeps of each place
 *   LOOK    both clusters' groups; checkpoints; whose Redis it is
 *   READ    the source's commits, one request a coordinator
 *   LIMIT   where the source's logs end, for groups that have no members any more (offsets/hint.h)
 *   MAP     what is not translated yet, many places a call
 *   FIND    who coordinates, at the target, the groups that have something to be written and are not listed there
 *   TARGET  what these have committed there
 *   STORE   what changed, to Redis: before the commit, so that the next keeper knows it for ours
 *   COMMIT  what is to be committed
 *
 * A step that fails for some groups leaves those as they are: the next round sees to them.
 */
#ifndef FERRY_MIRROR_GROUP_ROUND_H
#define FERRY_MIRROR_GROUP_ROUND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/redis.h"
#include "config/config.h"
#include "kafka/broker_ask.h"
#include "kafka/cluster.h"
#include "offsets/group_table.h"

struct group_round;

struct group_end { /* one side of the link, on the group thread */
    const char *site;
    struct cluster *cluster;
    struct broker_asks *asks;
};

struct group_round_options {
    struct loop *loop;
    const struct config_service *service; /* read at the beginning of each round */
    const char *deployment;
    const char *prefix;
    struct group_end source;
    struct group_end target;
    struct redis *redis;
    struct group_table *table;
    /* May something be written now? Asked right before each act. false with ERR_RETRY: not now, it is waited for a moment;
     * ERR_REFUSED: not in this term. */
    bool (*may)(void *arg, struct err *err);
    /* The round is over. err NULL: all of it was done, though single groups may have failed. */
    void (*done)(void *arg, const struct err *err);
    void *arg;
};

struct group_totals { /* since the thread began */
    uint64_t rounds;
    uint64_t commits; /* offsets that the target took */
    uint64_t refused; /* and that it did not */
    uint64_t stored;  /* fields written to Redis */
    uint64_t lookups; /* places asked of the map */
};

struct group_round *group_round_new(const struct group_round_options *options);
/* What is under way is answered first: broker_asks_free(), redis_free(), then this. */
void group_round_free(struct group_round *round);
/* No step follows any more; before the doors are freed. */
void group_round_stop(struct group_round *round);
void group_round_service(struct group_round *round, const struct config_service *service);
void group_round_start(struct group_round *round); /* never while one is under way */
bool group_round_busy(const struct group_round *round);
const struct group_totals *group_round_totals(const struct group_round *round);

#endif
