/* The ways out of resume: a position, a fault, waiting; and what the target's ids say. See resume_inside.h. */
#include "mirror/resume_inside.h"
#include "mirror/sequence.h"

bool resume_by_record(const struct resume *resume)
{
    return resume->options.filter != NULL || resume->any_filter || resume->options.by_content;
}

enum resume_need resume_faulted(struct resume *resume, enum resume_fault kind)
{
    resume->fault = kind;
    return RESUME_FAULT;
}

enum resume_need resume_wait_for(struct resume *resume, int32_t wait_ms)
{
    resume->ask_wait_ms = wait_ms;
    resume->stalled = resume->waited_ms >= RESUME_WAIT_TRIES_MS;
    return RESUME_WAIT;
}

bool resume_passed_over(const struct checkpoint *at)
{
    return at->sequence_next != at->source_next;
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
int32_t resume_generation_behind(const struct resume *resume, int32_t generation)
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
    at->generation =
        resume_generation_behind(resume, highest > at->generation ? highest : at->generation);
    at->source_next = to;
    at->sequence_next = to;
    at->leader_epoch = -1; /* of the batch before it, which we never saw */
    resume->generation = at->generation;
    offset_map_done(&resume->runs);
    offset_map_init(&resume->runs);
    return at->generation >= 0;
}

enum resume_need resume_generations_used(struct resume *resume)
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
        return resume_generations_used(resume);
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
        return resume_generations_used(resume);
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
    return resume_wait_for(resume, RESUME_WAIT_STEP_MS);
}

enum resume_need resume_raise_generation(struct resume *resume, int32_t leader_epoch)
{
    int32_t highest = resume_highest_generation(resume);
    if (highest > resume->generation) {
        resume->generation = highest;
    }
    resume->generation = resume_generation_behind(resume, resume->generation);
    if (resume->generation < 0) {
        return resume_generations_used(resume);
    }
    resume->event.truncated_target_from = resume->runs_from.target_next;
    offset_map_done(&resume->runs);
    offset_map_init(&resume->runs);
    int64_t place = resume->event.truncated_from;
    return resume_finish(resume, place, resume->target.end, place, leader_epoch);
}
