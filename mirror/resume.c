#include "mirror/resume.h"

#include <assert.h>

#include "kafka/topic_id.h"
#include "mirror/resume_inside.h"

#define AWAY_WAIT_MS \
    10000 /* Redis away and nothing in the group's commit: so long it may still come */

static const char *const fault_names[FAULT_KINDS_COUNT] = {
    [FAULT_NONE] = "none",
    [FAULT_SOURCE_RECREATED] = "source-recreated",
    [FAULT_TARGET_RECREATED] = "target-recreated",
    [FAULT_SOURCE_TRUNCATED] = "source-truncated",
    [FAULT_GAP] = "gap",
    [FAULT_HOLE] = "hole",
    [FAULT_ORDER] = "order",
    [FAULT_STRANGER] = "stranger",
    [FAULT_FOREIGN_WRITE] = "foreign-write",
    [FAULT_NOT_EMPTY] = "not-empty",
    [FAULT_NO_CHECKPOINT] = "no-checkpoint",
    [FAULT_TOO_DEEP] = "too-deep",
    [FAULT_TAIL_GONE] = "tail-gone",
    [FAULT_SEQUENCE] = "sequence",
    [FAULT_GENERATIONS] = "generations",
    [FAULT_BATCH_REFUSED] = "batch-refused",
    [FAULT_GARBAGE] = "garbage",
};

const char *resume_fault_name(enum resume_fault fault)
{
    return (unsigned)fault < FAULT_KINDS_COUNT ? fault_names[fault] : "unknown";
}

void resume_init(struct resume *resume, const struct resume_options *options)
{
    *resume = (struct resume){.options = *options};
    offset_map_init(&resume->runs);
    pair_list_init(&resume->target_units);
    pair_list_init(&resume->source_units);
}

void resume_done(struct resume *resume)
{
    offset_map_done(&resume->runs);
    pair_list_done(&resume->target_units);
    pair_list_done(&resume->source_units);
}

enum resume_need resume_start(struct resume *resume)
{
    resume->step = STEP_CHECKPOINTS;
    resume->fault_source_from = resume->fault_source_to = -1;
    resume->fault_target_from = resume->fault_target_to = -1;
    resume->hint_source = -1;
    resume->newer_first = -1;
    return NEED_CHECKPOINTS;
}

enum resume_need resume_again(struct resume *resume, int32_t waited_ms)
{
    resume->waited_ms += waited_ms;
    if (resume->step == STEP_CHECKPOINTS) {
        resume->away_ms += waited_ms;
        return NEED_CHECKPOINTS;
    }
    if (resume->step == STEP_SOURCE) {
        return NEED_SOURCE;
    }
    resume->step = STEP_TARGET;
    return NEED_TARGET;
}

/* --- step 1: the checkpoint --------------------------------------------------------------------------------------- */

static bool same_topics(const struct resume *resume, const struct checkpoint *checkpoint)
{
    return uuid_equal(&checkpoint->source_topic_id, &resume->options.source_topic_id) &&
           uuid_equal(&checkpoint->target_topic_id, &resume->options.target_topic_id);
}

/* A cluster that was upgraded since has ids where names had to do: resume_prove() shows that the logs are the same. */
static void choose(struct resume *resume, const struct checkpoint *candidate)
{
    const struct resume_options *options = &resume->options;
    if (topic_id_other(&candidate->source_topic_id, &options->source_topic_id) ||
        topic_id_other(&candidate->target_topic_id, &options->target_topic_id)) {
        return;
    }
    if (!resume->has_checkpoint || checkpoint_newer(candidate, &resume->runs_from)) {
        resume->ids_changed = !same_topics(resume, candidate);
        resume->runs_from = *candidate;
        resume->runs_from.source_topic_id = options->source_topic_id;
        resume->runs_from.target_topic_id = options->target_topic_id;
        resume->has_checkpoint = true;
    }
}

static enum resume_need recreated(struct resume *resume, const struct checkpoint *old)
{
    bool source = topic_id_other(&old->source_topic_id, &resume->options.source_topic_id);
    err_set(&resume->err, ERR_REFUSED,
            "the %s topic was deleted and created again since source offset %lld",
            source ? "source" : "target", (long long)old->source_next);
    err_hint(&resume->err,
             "offsets of the old topic mean nothing in the new one; see docs/faults.md#%s",
             source ? "source-recreated" : "target-recreated");
    return resume_faulted(resume, source ? FAULT_SOURCE_RECREATED : FAULT_TARGET_RECREATED);
}

enum resume_need resume_give_checkpoints(struct resume *resume, enum resume_found redis_found,
                                         const struct checkpoint *redis,
                                         enum resume_found group_found,
                                         const struct checkpoint *group, const struct err *garbage)
{
    resume->has_checkpoint = resume->ids_changed = resume->proven = false;
    resume->has_stored = redis_found == CHECKPOINT_FOUND;
    resume->generation = 0;
    if (redis_found == CHECKPOINT_GARBAGE || group_found == CHECKPOINT_GARBAGE) {
        resume->err = *garbage;
        return resume_faulted(resume, FAULT_GARBAGE);
    }
    /* A raised generation may stand there alone, and nothing is sent before the group takes a commit anyway. */
    if (group_found == CHECKPOINT_AWAY) {
        err_set(&resume->err, ERR_RETRY,
                "the group's coordinator does not say where the mirror is");
        return resume_wait_for(resume, RESUME_WAIT_STEP_MS * 5);
    }
    if (redis_found == CHECKPOINT_FOUND) {
        resume->stored = *redis;
        choose(resume, redis);
    }
    if (group_found == CHECKPOINT_FOUND) {
        choose(resume, group);
    }
    if (resume->options.resync) { /* only the generation counts: none is used twice */
        resume->generation = resume->has_checkpoint ? resume->runs_from.generation : 0;
        resume->has_checkpoint = false;
        resume->ask_epoch = -1;
        resume->step = STEP_SOURCE;
        return NEED_SOURCE;
    }
    if (!resume->has_checkpoint) {
        if (redis_found == CHECKPOINT_FOUND || group_found == CHECKPOINT_FOUND) {
            return recreated(resume, redis_found == CHECKPOINT_FOUND ? redis : group);
        }
        if (redis_found == CHECKPOINT_AWAY && resume->away_ms < AWAY_WAIT_MS) { /* or for good */
            err_set(&resume->err, ERR_RETRY, "Redis does not say where the mirror is");
            return resume_wait_for(resume, RESUME_WAIT_STEP_MS * 5);
        }
    }
    resume->waited_ms = 0;
    resume->generation = resume->has_checkpoint ? resume->runs_from.generation : 0;
    resume->any_filter =
        resume->has_checkpoint && resume->generation < resume->options.generation_least;
    resume->ask_records = resume_by_record(resume); /* batches say nothing then */
    resume->ask_epoch = resume->has_checkpoint ? resume->runs_from.leader_epoch : -1;
    resume->step = STEP_SOURCE;
    return NEED_SOURCE;
}

/* --- the source: was it truncated below the checkpoint? ----------------------------------------------------------- */

enum resume_need resume_give_source(struct resume *resume, const struct resume_source *source)
{
    resume->source = *source;
    resume->truncation_new_generation = false;
    resume->event.source_truncated = false;
    const struct checkpoint *from = &resume->runs_from;
    if (resume->has_checkpoint && source->epoch_known && from->leader_epoch >= 0) {
        if (source->epoch != from->leader_epoch) {
            return resume_truncated_somewhere(resume);
        }
        if (source->epoch_end < from->source_next) {
            return resume_source_truncated(resume, source->epoch_end, from->source_next);
        }
    }
    if (resume->has_checkpoint && source->stable_end < from->source_next) {
        if (resume->waited_ms <
            RESUME_WAIT_TRIES_MS) { /* a new leader's end may lag for a moment */
            err_set(&resume->err, ERR_RETRY,
                    "the source ends at %lld, before the mirror's position %lld",
                    (long long)source->stable_end, (long long)from->source_next);
            return resume_wait_for(resume, RESUME_WAIT_STEP_MS);
        }
        return resume_truncated_somewhere(resume);
    }
    resume->waited_ms = 0;
    resume->step = STEP_TARGET;
    return NEED_TARGET;
}

/* --- step 2: the target ------------------------------------------------------------------------------------------- */

/* What the broker said of an id while we waited stays said: it forgets by the records' time, replicated or not. */
static void keep_forgotten(struct resume_target *target, const struct resume_target *before)
{
    int32_t told = target->ids_count;
    for (int32_t i = 0; i < before->ids_count && target->ids_count < RESUME_IDS_MAX; i++) {
        bool there = false;
        for (int32_t j = 0; j < told; j++) {
            there = there || target->ids[j].generation == before->ids[i].generation;
        }
        if (!there) {
            target->ids[target->ids_count++] = before->ids[i];
        }
    }
}

enum resume_need resume_give_target(struct resume *resume, const struct resume_target *target)
{
    struct resume_target now = *target;
    keep_forgotten(&now, &resume->target);
    resume->target = now;
    return resume_must_prove(resume) ? resume_prove(resume) : resume_decide_target(resume);
}

/* --- what was read decides ---------------------------------------------------------------------------------------- */

enum resume_need resume_target_end(struct resume *resume)
{
    if (resume->broken) {
        return RESUME_BROKEN;
    }
    if (resume->fault != FAULT_NONE) {
        return RESUME_FAULT;
    }
    if (resume->step == STEP_PROVE_TARGET) {
        return resume_prove_target_end(resume);
    }
    return resume->step == STEP_BACK ? resume_back_end(resume) : resume_forward_end(resume);
}

bool resume_source_enough(const struct resume *resume)
{
    if (resume->step == STEP_PAIR) {
        return resume->source_units.records_count >=
               resume->target_units.records_count + resume->ask_to;
    }
    if (resume->step == STEP_PROVE_SOURCE) {
        return resume_prove_enough(resume);
    }
    if (resume->step == STEP_COUNT) {
        return resume->source_units.records_count >=
               resume->count_left + resume->options.before_span;
    }
    assert(resume->step == STEP_FIND);
    if (resume->hint_source >= 0) {
        return resume->source_expected >= resume->hint_source;
    }
    return resume_same_stream(resume) && resume->source_expected >= resume->runs_from.source_next;
}

enum resume_need resume_source_end(struct resume *resume, int64_t next, bool at_end)
{
    if (resume->broken) {
        return RESUME_BROKEN;
    }
    if (resume->fault != FAULT_NONE) {
        return RESUME_FAULT;
    }
    pair_list_missing(&resume->source_units, resume->source_expected, next);
    if (next > resume->source_expected) {
        resume->source_expected = next;
    }
    if (resume->step == STEP_PROVE_SOURCE) {
        return resume_prove_source_end(resume);
    }
    if (resume->step == STEP_PAIR) {
        return resume_pair_end(resume, next, at_end);
    }
    return resume->step == STEP_COUNT ? resume_count_end(resume) : resume_find_end(resume);
}
