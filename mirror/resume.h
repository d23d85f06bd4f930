/* Where to go on: the only way to begin, or to go on after any doubt. Deciding core without I/O.
 *
 * It asks (enum resume_need), the driver answers with one of the resume_give_... calls, each of which gives the next
 * need, until RESUME_DONE, RESUME_FAULT, RESUME_BROKEN or RESUME_WAIT. The seven steps of the design:
 *
 *   1 newest consistent checkpoint; topic ids; source truncated below it?      NEED_CHECKPOINTS, NEED_SOURCE
 *     without ids: are these the logs that it speaks of?                       NEED_READ_TARGET, NEED_READ_SOURCE
 *   2 last sequence of our id and the target's end, once they agree            NEED_TARGET, RESUME_WAIT
 *   3 nothing newer: go on                                                     RESUME_DONE
 *   4 read the target from the checkpoint to its end                           NEED_READ_TARGET
 *   5 read the source through the same filter and pair                         NEED_READ_SOURCE
 *   6 runs to the map; the sequence goes on behind the last one                RESUME_DONE
 *   7 tail gone by retention: by count                                         NEED_READ_SOURCE
 * and two roads beside it: no checkpoint anywhere, and a target that was truncated below the checkpoint (both find the
 * newest batches of ours from the target's end backwards and look for the one place in the source where they stand;
 * when there are several, the whole stream is paired from its first batch, which carries its position as its sequence).
 *
 * It never guesses: what cannot be proven is a fault with its evidence. It never begins at `start` when anything of
 * ours was seen on the target.
 */
#ifndef FERRY_MIRROR_RESUME_H
#define FERRY_MIRROR_RESUME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "config/config.h"
#include "kafka/batch.h"
#include "kafka/wire.h"
#include "mirror/pairing.h"
#include "offsets/checkpoint.h"
#include "offsets/offset_map.h"

#define RESUME_WAIT_TRIES_MS \
    30000 /* unreplicated tail: after so long the partition is stalled by name */
#define RESUME_TAIL_UNITS \
    64 /* batches of the tail that are compared when no checkpoint says where */

struct resume_options {
    struct uuid source_topic_id;
    struct uuid target_topic_id;
    int64_t id_base; /* producer id at generation 0 */
    enum config_start start;
    enum config_policy on_truncation;
    enum config_policy on_foreign_write;
    int64_t foreign_seen_end; /* foreign records below are known to an operator: no fault */
    int64_t adopt_end; /* `ferry enable --adopt` saw foreign records up to here; -1 = not adopted */
    int64_t read_bytes; /* bound of each stretch that is read back */
    /* An operator leaves these source offsets out (`ferry fault accept`); equal = none. */
    int64_t accept_from;
    int64_t accept_to;
    /* An operator has the partition mirrored anew, behind what the target holds (`ferry fault resync`). */
    bool resync;
    int64_t resync_from;                /* source offset; -1 = where the source's log begins */
    const struct config_filter *filter; /* borrowed; what fails it is not mirrored. NULL = none */
    /* No producer id tells which records on the target are ours (path `records`): all are taken for ours whose content
     * stands at the source, and those that stand there a second time for repeats. */
    bool by_content;
    /* No sequence tells a repeat: the target said that it appended up to here, and did not say that its followers have it. */
    int64_t appended_end;
    /* ... that a batch went to this offset, before its place: what stood from there on is gone. -1 = nothing such */
    int64_t fell_to;
    int64_t before_span; /* so many records a producer that died can have had on its way */
    int32_t
        generation_least; /* a stream that is older passed another filter, and goes on in this one */
};

enum resume_need {
    NEED_CHECKPOINTS, /* Redis and the group's commit */
    NEED_SOURCE,      /* log start, last stable offset, end of resume->ask_epoch */
    NEED_TARGET,      /* log start, high watermark, our ids */
    NEED_READ_TARGET, /* [ask_from, ask_to) */
    NEED_READ_SOURCE, /* from ask_from, until resume_source_enough() or the end */
    NEED_FLOOR,       /* the map's run at or below target offset ask_from */
    NEED_CUT,         /* cut map and checkpoint of the store back to resume->at */
    RESUME_WAIT,      /* ask_wait_ms, then resume_again(); `stalled` says whether to tell */
    RESUME_DONE,
    RESUME_FAULT,
    RESUME_BROKEN, /* a broker answered what cannot be: drop its connection, begin anew */
};

enum resume_fault { /* names of fault kinds: docs/faults.md */
                    FAULT_NONE,
                    FAULT_SOURCE_RECREATED,
                    FAULT_TARGET_RECREATED,
                    FAULT_SOURCE_TRUNCATED,
                    FAULT_GAP,  /* source retention passed the mirror */
                    FAULT_HOLE, /* a record that should be there is not */
                    FAULT_ORDER,
                    FAULT_STRANGER,
                    FAULT_FOREIGN_WRITE,
                    FAULT_NOT_EMPTY,     /* target holds records, none ours, not adopted */
                    FAULT_NO_CHECKPOINT, /* and the tail cannot be paired for sure */
                    FAULT_TOO_DEEP,      /* more to read than the bound */
                    FAULT_TAIL_GONE,     /* target retention removed what had to be paired */
                    FAULT_SEQUENCE,      /* the broker's last sequence contradicts the checkpoint */
                    FAULT_GENERATIONS,   /* all 32,767 used */
                    FAULT_BATCH_REFUSED, /* the target refuses a batch for ever, or it may not pass */
                    FAULT_GARBAGE,       /* stored state cannot be read */
                    FAULT_KINDS_COUNT,
};
const char *resume_fault_name(enum resume_fault fault); /* "hole", "gap", ... */

enum resume_found { CHECKPOINT_NONE, CHECKPOINT_FOUND, CHECKPOINT_AWAY, CHECKPOINT_GARBAGE };

struct resume_source { /* answer to NEED_SOURCE */
    int64_t log_start;
    int64_t stable_end; /* last stable offset */
    bool epoch_known;   /* ask_epoch was asked and answered */
    int32_t epoch;      /* the largest epoch <= the asked one at the leader; -1 none */
    int64_t epoch_end;
};
#define RESUME_IDS_MAX 64
struct resume_target { /* answer to NEED_TARGET */
    int64_t log_start;
    int64_t end; /* high watermark */
    struct {
        int32_t generation;
        int32_t last_sequence;
    } ids[RESUME_IDS_MAX]; /* ours only; the highest generations when there are more */
    int32_t ids_count;
};

struct resume_event { /* what has to be told and recorded, beside the position */
    bool
        source_truncated; /* [truncated_from, truncated_to) is on the target and no more at the source */
    int64_t truncated_from;
    int64_t truncated_to;
    int64_t truncated_target_from;
    bool
        target_truncated; /* target offsets [target_cut_from, target_cut_to) are gone and will be sent again */
    int64_t target_cut_from;
    int64_t target_cut_to;
    int64_t foreign_count; /* target offsets that are not ours */
    int64_t foreign_from;
    int64_t foreign_to;
    int64_t gone_count;
    int64_t repeated_count; /* by content: records of ours that stand there again */
    int64_t repeated_from;  /* target offsets */
    int64_t repeated_to;
    int64_t accepted_from; /* source offsets that are left out for good; equal = none */
    int64_t accepted_to;
    bool began;    /* beginning of the partition */
    bool resynced; /* again, behind what the target holds: an operator wanted it */
    bool without_checkpoint;
    bool by_count;    /* step 7 */
    bool unprotected; /* the broker holds no state of our id although records of ours stand there */
};

struct resume {
    /* --- read by the driver --- */
    int64_t ask_from;
    int64_t ask_to;
    int32_t ask_epoch;
    int32_t ask_wait_ms;
    bool ask_records; /* NEED_READ_...: the bytes are walked record by record (resume does it) */
    bool stalled;
    struct checkpoint at; /* RESUME_DONE: the position; NEED_CUT: what to cut to */
    bool has_stored;      /* `stored` is what Redis holds */
    struct checkpoint stored;
    struct offset_map runs; /* between the checkpoint and `at`, same incarnation */
    struct checkpoint
        runs_from; /* where they begin: the checkpoint that was used; valid unless event.began */
    bool
        compacted; /* RESUME_DONE: offsets of the source were empty in the stretch that was paired */
    struct resume_event event;
    enum resume_fault fault;
    struct err
        err; /* RESUME_FAULT: evidence and way out; RESUME_WAIT: what for; RESUME_BROKEN: why */
    int64_t fault_source_from, fault_source_to, fault_target_from, fault_target_to; /* -1 = none */
    /* --- private --- */
    struct resume_options options;
    enum resume_step {
        STEP_CHECKPOINTS,
        STEP_SOURCE,
        STEP_TARGET,
        STEP_PROVE_TARGET,
        STEP_PROVE_SOURCE,
        STEP_FORWARD,
        STEP_PAIR,
        STEP_BACK,
        STEP_FIND,
        STEP_FLOOR,
        STEP_CUT,
        STEP_COUNT
    } step;
    bool has_checkpoint;
    struct resume_source source;
    struct resume_target target;
    int64_t waited_ms;
    int64_t away_ms;
    int64_t read_bytes;
    int32_t generation; /* of the stream whose batches are ours in this stretch */
    struct pair_list target_units;
    struct pair_list source_units;
    int64_t target_expected; /* next offset of the stretch being read */
    int64_t source_expected;
    bool source_begun;    /* a batch of it was taken: the next one begins behind it */
    bool broken;          /* batches that overlap: no log holds them */
    int64_t ours_end;     /* target offset behind the newest batch of ours */
    int64_t sequence_end; /* sequence behind it */
    int64_t newer_first;  /* first batch of a newer generation, -1 = none */
    int32_t newer_generation;
    int64_t newer_sequence;
    int64_t hint_source; /* position from the map for a truncated target; -1 = none */
    bool straddled;   /* a batch lies across the checkpoint's place: the target was cut below it */
    bool looked_back; /* the source was read from before the checkpoint */
    bool from_first;  /* the whole stream is paired from its first batch: no other road was left */
    int64_t count_left; /* step 7 */
    int64_t back_span;
    bool truncation_new_generation;
    bool
        ids_changed; /* the checkpoint knew a topic by its name, now it has an id, or the other way */
    bool proven;     /* by content: that these are the checkpoint's logs */
    bool any_filter; /* the checkpoint's stream passed a filter that we do not know */
};

void resume_init(struct resume *resume, const struct resume_options *options);
void resume_done(struct resume *resume);
/* Begin: gives NEED_CHECKPOINTS. */
enum resume_need resume_start(struct resume *resume);

enum resume_need resume_give_checkpoints(struct resume *resume, enum resume_found redis_found,
                                         const struct checkpoint *redis,
                                         enum resume_found group_found,
                                         const struct checkpoint *group, const struct err *garbage);
enum resume_need resume_give_source(struct resume *resume, const struct resume_source *source);
enum resume_need resume_give_target(struct resume *resume, const struct resume_target *target);
enum resume_need resume_give_floor(struct resume *resume, bool found, struct offset_run run);
enum resume_need resume_give_cut(struct resume *resume);
/* After RESUME_WAIT. */
enum resume_need resume_again(struct resume *resume, int32_t waited_ms);

/* One batch of NEED_READ_TARGET, in order (those below ask_from or at and above ask_to are ignored). false: stop and
 * call resume_target_end() - the bound is reached or the bytes are broken. */
MUST_CHECK
bool resume_target_batch(struct resume *resume, const struct batch *batch);
enum resume_need resume_target_end(struct resume *resume);
/* One batch of NEED_READ_SOURCE: kept = it passes the filter; others are offsets without records. */
MUST_CHECK
bool resume_source_batch(struct resume *resume, const struct batch *batch, bool kept);
/* Enough was read: the driver need not fetch on. */
bool resume_source_enough(const struct resume *resume);
/* @param next    where reading stopped: everything before was given
 * @param at_end  that is the last stable offset */
enum resume_need resume_source_end(struct resume *resume, int64_t next, bool at_end);

#endif
