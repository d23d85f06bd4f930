/* Inside of a round of group sync: what its parts share. Nobody else includes this.
 *
 *   group_round        the steps, one after the other; when something may be written; what is told
 *   group_round_read   what the brokers of both sides are asked: LOOK, READ, LIMIT, FIND, TARGET
 *   group_round_redis  what Redis is asked, some calls at a time: LOAD, LOOK, MAP
 *   group_round_write  STORE and COMMIT
 *
 * A step begins calls, each of which counts as one that the step waits for; the last answer begins the next step.
 */
#ifndef FERRY_MIRROR_GROUP_ROUND_INSIDE_H
#define FERRY_MIRROR_GROUP_ROUND_INSIDE_H

#include <sys/queue.h>

#include "mirror/group_round.h"
#include "offsets/offset_script.h"

#define ROUND_PARTS_A_REQUEST 1000

enum round_step {
    ROUND_LOAD,
    ROUND_LOOK,
    ROUND_READ,
    ROUND_LIMIT,
    ROUND_MAP,
    ROUND_FIND,
    ROUND_TARGET,
    ROUND_GATE,
    ROUND_STORE,
    ROUND_GATE_AGAIN,
    ROUND_COMMIT,
    ROUND_DONE,
};

struct group_round {
    struct group_round_options options;
    char *base;
    char *meta_key;
    char *checkpoints_key;
    char *groups_key;
    char *read_key;
    char *lately_key;
    char *members_key;
    char *members_told;         /* what stands there; NULL = not known */
    int64_t members_ms;         /* loop clock: since when */
    int64_t read_ms;            /* wall clock: the source's commits were asked for */
    struct redis_script floors; /* copies of this thread's own */
    struct redis_script groups;
    enum round_step step;
    bool busy;
    bool stopped;
    int32_t waiting; /* answers that the step waits for, and one while it is begun */
    struct loop_timer *gate;
    int32_t gate_tries;
    uint64_t number;
    struct err err;     /* why the round failed; ERR_NONE = it did not */
    struct err trouble; /* the first of single groups' or brokers' */
    bool loaded;
    char cursor[24];     /* HSCAN */
    size_t strangers;    /* fields of groups that are none of ours */
    size_t stored_there; /* HLEN */
    bool recount;        /* strangers are to be counted anew */
    bool source_known;   /* every broker said which groups it has */
    bool target_known;
    bool incomplete; /* not read, or not translated, for every group */
    bool store_failed;
    TAILQ_HEAD(round_calls, round_call) calls; /* to Redis, that wait for others */
    int32_t calls_flying;
    bool pumping;
    int64_t begins_ms;
    int64_t told_ms;
    char told[200];
    int32_t told_groups;
    struct group_totals totals;
};

static inline int64_t round_now_ms(const struct group_round *round)
{
    return loop_now_ms(round->options.loop);
}

static inline int64_t round_wall_ms(const struct group_round *round)
{
    return clock_wall_ms(loop_clock(round->options.loop));
}

/* group_round */
/* One answer more that the step waits for; round_one_done() when it is there. */
void round_wait(struct group_round *round);
void round_one_done(struct group_round *round);
/* The round cannot go on: it ends with this step. The first reason counts, here and below. */
void round_fail(struct group_round *round, const struct err *err);
/* Some groups are left to the next round. */
void round_note(struct group_round *round, const struct err *err);
/* Likewise, and the round does not count as one that was done: it did not see every group. */
void round_incomplete(struct group_round *round, const struct err *err);

/* group_round_read */
/* Both clusters' lists of groups, and what Redis says meanwhile. */
void round_look(struct group_round *round);
/* The source's commits of what is carried; where the target's logs begin, now and then. */
void round_read_source(struct group_round *round);
/* Where the source's logs end, for groups that nobody reads for any more; behind READ: asked after they were seen empty. */
void round_read_limits(struct group_round *round);
/* Decides for which groups the target is read; asks for the coordinators that its list did not tell. */
void round_find(struct group_round *round);
/* What those groups have committed at the target. */
void round_read_target(struct group_round *round);

/* The places of one topic follow one another: the last one found. */
struct topic_walk {
    const char *data;
    struct group_topic *topic; /* NULL = not mirrored */
};
/* The topic of that name, when it is mirrored. `name` is a view into the answer that `walk` goes through. */
struct group_topic *round_topic_of(struct group_round *round, struct topic_walk *walk,
                                   struct wire_string name);

/* group_round_redis */
/* What Redis keeps of each place, some fields a call: again until round->loaded. */
void round_load(struct group_round *round);
/* Checkpoints, how many fields are there, whose Redis it is. */
void round_look_redis(struct group_round *round);
/* When the source's groups were read last, for offsets/hint.h: not told of a round that failed for some of them. */
void round_tell_read(struct group_round *round);
/* Look up what does not follow from a checkpoint alone. */
void round_map(struct group_round *round);
/* Call Redis; the step waits for it. `script` NULL = a command. `done` is called once, from within too, when it fails at
 * once or the round is stopped. */
void round_call_redis(struct group_round *round, struct redis_script *script, int keys_count,
                      struct script_arguments *take_arguments, redis_reply_fn *done, void *arg);
/* Send what may fly; of a stopped round, answer all that waits. */
void round_pump_calls(struct group_round *round);

/* group_round_write */
/* What changed, to Redis; what each place's commit will be is decided on the way. */
void round_store(struct group_round *round);
/* What was decided, to the target, unless Redis did not take it. */
void round_commit(struct group_round *round);

#endif
