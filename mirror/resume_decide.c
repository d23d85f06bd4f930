/* Step 2 of resume: what follows of the target's ends and the checkpoint. See resume_inside.h. */
#include "mirror/resume_inside.h"

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
    resume->generation = resume_generation_behind(
        resume, highest > resume->generation ? highest : resume->generation);
    resume->event.began = resume->event.resynced = true;
    int64_t place = resume->options.resync_from;
    place = place < source->log_start ? source->log_start : place;
    place = place > source->stable_end ? source->stable_end : place;
    return resume->generation < 0 ? resume_generations_used(resume)
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
