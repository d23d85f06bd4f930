#include "mirror/resume.h"

#include "kafka/topic_id.h"
#include "mirror/resume_inside.h"
#include "mirror/sequence.h"

#define WAIT_STEP_MS 100
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

/* --- the ways out ------------------------------------------------------------------------------------------------- */

bool resume_by_record(const struct resume *resume)
{
    return resume->options.filter != NULL || resume->any_filter || resume->options.by_content;
}

enum resume_need resume_faulted(struct resume *resume, enum resume_fault kind)
{
    resume->fault = kind;
    return RESUME_FAULT;
}

static enum resume_need wait_for(struct resume *resume, int32_t wait_ms)
{
    resume->ask_wait_ms = wait_ms;
    resume->stalled = resume->waited_ms >= RESUME_WAIT_TRIES_MS;
    return RESUME_WAIT;
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

int32_t resume_highest_generation(const struct resume *resume)
{
    int32_t highest = -1;
    for (int32_t i = 0; i < resume->target.ids_count; i++) {
        if (resume->target.ids[i].generation > highest) {
            highest = resume->target.ids[i].generation;
        }
    }
    return highest;
}

/* All that retention has deleted by now goes with it: the operator knows that what is gone stays gone. */
static int64_t accepted_end(const struct resume *resume, int64_t source_next)
{
    const struct resume_options *options = &resume->options;
    bool covers = source_next >= options->accept_from && source_next < options->accept_to;
    if (!covers) {
        return source_next;
    }
    return resume->source.log_start > options->accept_to ? resume->source.log_start
                                                         : options->accept_to;
}

/* The next generation; -1: none is left. A raise stays below the generations of the filter after this one, or the stream
 * would pass for one that went through it. */
static int32_t generation_behind(const struct resume *resume, int32_t generation)
{
    int32_t next = generation + 1;
    bool of_next_filter =
        next % GENERATIONS_A_FILTER == 0 && next > resume->options.generation_least;
    return next > GENERATION_MAX || of_next_filter ? -1 : next;
}

/* What is left out changes which record a sequence means, so the stream goes on behind it as another one. */
static bool leave_out(struct resume *resume, int64_t to)
{
    struct checkpoint *at = &resume->at;
    int32_t highest = resume_highest_generation(resume);
    resume->event.accepted_from = at->source_next;
    resume->event.accepted_to = to;
    at->generation = generation_behind(resume, highest > at->generation ? highest : at->generation);
    at->source_next = to;
    at->sequence_next = to;
    at->leader_epoch = -1; /* of the batch before it, which we never saw */
    resume->generation = at->generation;
    offset_map_done(&resume->runs);
    offset_map_init(&resume->runs);
    return at->generation >= 0;
}

static enum resume_need generations_used(struct resume *resume)
{
    err_set(&resume->err, ERR_FATAL,
            "all generations of the stream are used: %d under one filter, %d filters",
            GENERATIONS_A_FILTER, (GENERATION_MAX + 1) / GENERATIONS_A_FILTER);
    err_hint(&resume->err, "give the link another deployment id, or mirror into a new topic");
    return resume_faulted(resume, FAULT_GENERATIONS);
}

/* The filter changed since: the records behind the position are another function of their sequence. The generation is
 * the caller's to have committed before its first batch; the runs belong to the one before. */
static void go_on_refiltered(struct resume *resume, int64_t source_next, int64_t *sequence_next)
{
    if (resume->generation >= resume->options.generation_least) {
        return;
    }
    resume->generation = resume->options.generation_least;
    *sequence_next = source_next;
    offset_map_done(&resume->runs);
    offset_map_init(&resume->runs);
}

enum resume_need resume_finish(struct resume *resume, int64_t source_next, int64_t target_next,
                               int64_t sequence_next, int32_t leader_epoch)
{
    go_on_refiltered(resume, source_next, &sequence_next);
    if (resume->generation > GENERATION_MAX) {
        return generations_used(resume);
    }
    resume->at = (struct checkpoint){.source_topic_id = resume->options.source_topic_id,
                                     .target_topic_id = resume->options.target_topic_id,
                                     .generation = resume->generation,
                                     .source_next = source_next,
                                     .target_next = target_next,
                                     .sequence_next = sequence_next,
                                     .leader_epoch = leader_epoch};
    int64_t behind = accepted_end(resume, source_next);
    if (behind > source_next && !leave_out(resume, behind)) {
        return generations_used(resume);
    }
    if (behind < resume->source.log_start) {
        resume->fault_source_from = source_next;
        resume->fault_source_to = resume->source.log_start;
        err_set(&resume->err, ERR_REFUSED,
                "source offsets %lld..%lld were deleted by the source's retention before they were "
                "mirrored",
                (long long)source_next, (long long)resume->source.log_start - 1);
        err_hint(&resume->err, "they cannot be had any more; see docs/faults.md#gap; to go on "
                               "without them: ferry fault accept SERVICE TOPIC:PARTITION");
        return resume_faulted(resume, FAULT_GAP);
    }
    bool unseen = resume->event.foreign_count > 0 &&
                  resume->event.foreign_to > resume->options.foreign_seen_end;
    if (unseen && resume->options.on_foreign_write == POLICY_FAULT) {
        resume->fault_target_from = resume->event.foreign_from;
        resume->fault_target_to = resume->event.foreign_to;
        err_set(&resume->err, ERR_REFUSED,
                "%lld records at target offsets %lld..%lld were not written by ferry",
                (long long)resume->event.foreign_count, (long long)resume->event.foreign_from,
                (long long)resume->event.foreign_to - 1);
        err_hint(&resume->err,
                 "find the writer and stop it; then: ferry fault retry SERVICE TOPIC:PARTITION");
        return resume_faulted(resume, FAULT_FOREIGN_WRITE);
    }
    return RESUME_DONE;
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
        return wait_for(resume, WAIT_STEP_MS * 5);
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
            return wait_for(resume, WAIT_STEP_MS * 5);
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

enum resume_need resume_truncated_somewhere(struct resume *resume)
{
    const struct checkpoint *from = &resume->runs_from;
    err_set(&resume->err, ERR_REFUSED,
            "the source lost records below offset %lld (leader epoch %d ends at %lld of epoch %d "
            "there) and does not "
            "say from where on",
            (long long)from->source_next, from->leader_epoch, (long long)resume->source.epoch_end,
            resume->source.epoch);
    err_hint(&resume->err, "an unclean leader election; compare both sides: ferry verify SERVICE "
                           "--topic TOPIC:PARTITION");
    resume->fault_source_to = from->source_next;
    return resume_faulted(resume, FAULT_SOURCE_TRUNCATED);
}

enum resume_need resume_source_truncated(struct resume *resume, int64_t place, int64_t until)
{
    resume->event.source_truncated = true;
    resume->event.truncated_from = place;
    resume->event.truncated_to = until;
    if (resume->options.on_truncation == POLICY_FAULT) {
        resume->fault_source_from = place;
        resume->fault_source_to = until;
        err_set(&resume->err, ERR_REFUSED,
                "the source lost records %lld..%lld that are mirrored already (unclean leader "
                "election)",
                (long long)place, (long long)until - 1);
        err_hint(&resume->err,
                 "set on_truncation to \"continue\" to keep them on the target and go on");
        return resume_faulted(resume, FAULT_SOURCE_TRUNCATED);
    }
    resume->truncation_new_generation = true;
    resume->step = STEP_TARGET;
    return NEED_TARGET;
}

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
            return wait_for(resume, WAIT_STEP_MS);
        }
        return resume_truncated_somewhere(resume);
    }
    resume->waited_ms = 0;
    resume->step = STEP_TARGET;
    return NEED_TARGET;
}

/* --- step 2: the target ------------------------------------------------------------------------------------------- */

int64_t resume_broker_end(const struct resume *resume, int32_t generation, int64_t near)
{
    for (int32_t i = 0; i < resume->target.ids_count; i++) {
        if (resume->target.ids[i].generation == generation) {
            return sequence_widen(resume->target.ids[i].last_sequence, near) + 1;
        }
    }
    return -1;
}

enum resume_need resume_not_replicated(struct resume *resume, int64_t expected_end)
{
    err_set(&resume->err, ERR_RETRY,
            "records up to target offset %lld are not replicated yet (high watermark %lld)",
            (long long)expected_end, (long long)resume->target.end);
    err_hint(&resume->err, "the target's in-sync replicas are behind or below min.insync.replicas");
    return wait_for(resume, WAIT_STEP_MS);
}

enum resume_need resume_raise_generation(struct resume *resume, int32_t leader_epoch)
{
    int32_t highest = resume_highest_generation(resume);
    if (highest > resume->generation) {
        resume->generation = highest;
    }
    resume->generation = generation_behind(resume, resume->generation);
    if (resume->generation < 0) {
        return generations_used(resume);
    }
    resume->event.truncated_target_from = resume->runs_from.target_next;
    offset_map_done(&resume->runs);
    offset_map_init(&resume->runs);
    int64_t place = resume->event.truncated_from;
    return resume_finish(resume, place, resume->target.end, place, leader_epoch);
}

static enum resume_need begin(struct resume *resume)
{
    resume->event.began = true;
    resume->generation = 0;
    int64_t start = resume->options.start == START_EARLIEST ? resume->source.log_start
                                                            : resume->source.stable_end;
    return resume_finish(resume, start, resume->target.end, start, -1);
}

/* The same records again as another stream: what stands on the target stays, and no sequence of it counts. */
static enum resume_need resync(struct resume *resume)
{
    const struct resume_source *source = &resume->source;
    int32_t highest = resume_highest_generation(resume);
    resume->generation =
        generation_behind(resume, highest > resume->generation ? highest : resume->generation);
    resume->event.began = resume->event.resynced = true;
    int64_t place = resume->options.resync_from;
    place = place < source->log_start ? source->log_start : place;
    place = place > source->stable_end ? source->stable_end : place;
    return resume->generation < 0 ? generations_used(resume)
                                  : resume_finish(resume, place, resume->target.end, place, -1);
}

static enum resume_need without_checkpoint(struct resume *resume)
{
    const struct resume_target *target = &resume->target;
    resume->event.without_checkpoint = true;
    bool untouched = target->end == 0 && target->log_start == 0;
    bool adopted = resume->options.adopt_end >= 0 && target->end == resume->options.adopt_end;
    if ((untouched || adopted) && target->ids_count == 0) {
        return begin(resume);
    }
    if (untouched) { /* our id has state, so a batch of ours is on its way below the high watermark */
        return resume_not_replicated(resume, 1);
    }
    return resume_read_back(resume);
}

/* So far the target's log is known to go, replicated or not. */
static int64_t known_end(const struct resume *resume)
{
    int64_t checkpoint = resume->has_checkpoint ? resume->runs_from.target_next : 0;
    int64_t appended = resume->options.appended_end;
    return appended > checkpoint ? appended : checkpoint;
}

enum resume_need resume_decide_target(struct resume *resume)
{
    const struct resume_target *target = &resume->target;
    const struct checkpoint *from = &resume->runs_from;
    if (resume->options.resync) {
        return resync(resume);
    }
    if (resume->options.by_content && target->end < known_end(resume) &&
        resume->waited_ms <
            RESUME_WAIT_TRIES_MS) { /* no sequence says that it was lost, not late */
        return resume_not_replicated(resume, known_end(resume));
    }
    if (!resume->has_checkpoint) {
        return without_checkpoint(resume);
    }
    int64_t broker_end = resume_broker_end(resume, from->generation, from->sequence_next);
    bool newer_generation = resume_highest_generation(resume) > from->generation;
    bool fell = resume->options.by_content && resume->options.fell_to >= 0 &&
                resume->options.fell_to < from->target_next; /* and was filled again since */
    if (target->end < from->target_next || fell ||
        (broker_end >= 0 && broker_end < from->sequence_next)) {
        return resume_read_back(resume); /* the target lost records that the checkpoint counts */
    }
    int64_t newer = broker_end < 0 ? 0 : broker_end - from->sequence_next;
    if (target->end < from->target_next + newer + (newer_generation ? 1 : 0)) {
        if (resume->waited_ms < RESUME_WAIT_TRIES_MS) {
            return resume_not_replicated(resume, from->target_next + newer);
        } /* in vain: if the last one is there already, records are missing before it */
        if (target->end == from->target_next) {
            return resume_read_back(resume);
        }
    }
    if (target->end == from->target_next) {
        resume->event.unprotected =
            broker_end < 0 && from->target_next > target->log_start && !resume->options.by_content;
        if (resume->truncation_new_generation) {
            return resume_raise_generation(resume, from->leader_epoch);
        }
        return resume_finish(resume, from->source_next, from->target_next, from->sequence_next,
                             from->leader_epoch);
    }
    int64_t read_from =
        from->target_next < target->log_start ? target->log_start : from->target_next;
    return resume_read_target(resume, STEP_FORWARD, read_from, target->end);
}

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
