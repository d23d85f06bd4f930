#include "mirror/resume.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mirror/sequence.h"

#define WAIT_STEP_MS 100
#define AWAY_WAIT_MS \
    10000 /* Redis away and nothing in the group's commit: so long it may still come */
#define BACK_SPAN_FIRST 1000 /* offsets; grows fourfold */
#define BACK_BYTES_ENOUGH \
    (16                   \
     << 20) /* then fewer than RESUME_TAIL_UNITS will do: 64 batches of the usual 256 KiB at most */
#define RECORDS_BYTES_MAX \
    (256                  \
     << 20) /* decompressed bytes of one batch: brokers cap a batch at 2 GiB, people at 10 MiB */

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

/* Records of the source do not all belong to the stream. */
static bool filtered(const struct resume *resume)
{
    return resume->options.filter != NULL || resume->any_filter;
}

/* What the source's records of this stretch have to pass. */
static const struct config_filter *filter_of(const struct resume *resume)
{
    return resume->any_filter ? NULL : resume->options.filter;
}

/* The text is in resume->err already. */
static enum resume_need fault(struct resume *resume, enum resume_fault kind)
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

static int32_t highest_generation(const struct resume *resume)
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
    int32_t highest = highest_generation(resume);
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
    return fault(resume, FAULT_GENERATIONS);
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

static enum resume_need finish(struct resume *resume, int64_t source_next, int64_t target_next,
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
        return fault(resume, FAULT_GAP);
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
        return fault(resume, FAULT_FOREIGN_WRITE);
    }
    return RESUME_DONE;
}

/* --- step 1: the checkpoint --------------------------------------------------------------------------------------- */

static bool same_topics(const struct resume *resume, const struct checkpoint *checkpoint)
{
    return uuid_equal(&checkpoint->source_topic_id, &resume->options.source_topic_id) &&
           uuid_equal(&checkpoint->target_topic_id, &resume->options.target_topic_id);
}

static void choose(struct resume *resume, const struct checkpoint *candidate)
{
    if (!same_topics(resume, candidate)) {
        return;
    }
    if (!resume->has_checkpoint || checkpoint_newer(candidate, &resume->runs_from)) {
        resume->runs_from = *candidate;
        resume->has_checkpoint = true;
    }
}

static enum resume_need recreated(struct resume *resume, const struct checkpoint *old)
{
    bool source = !uuid_equal(&old->source_topic_id, &resume->options.source_topic_id);
    err_set(&resume->err, ERR_REFUSED,
            "the %s topic was deleted and created again since source offset %lld",
            source ? "source" : "target", (long long)old->source_next);
    err_hint(&resume->err,
             "offsets of the old topic mean nothing in the new one; see docs/faults.md#%s",
             source ? "source-recreated" : "target-recreated");
    return fault(resume, source ? FAULT_SOURCE_RECREATED : FAULT_TARGET_RECREATED);
}

enum resume_need resume_give_checkpoints(struct resume *resume, enum resume_found redis_found,
                                         const struct checkpoint *redis,
                                         enum resume_found group_found,
                                         const struct checkpoint *group, const struct err *garbage)
{
    resume->has_checkpoint = false;
    resume->has_stored = redis_found == CHECKPOINT_FOUND;
    resume->generation = 0;
    if (redis_found == CHECKPOINT_GARBAGE || group_found == CHECKPOINT_GARBAGE) {
        resume->err = *garbage;
        return fault(resume, FAULT_GARBAGE);
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
    resume->ask_records = filtered(resume); /* batches say nothing then */
    resume->ask_epoch = resume->has_checkpoint ? resume->runs_from.leader_epoch : -1;
    resume->step = STEP_SOURCE;
    return NEED_SOURCE;
}

/* --- the source: was it truncated below the checkpoint? ----------------------------------------------------------- */

static enum resume_need truncated_somewhere(struct resume *resume)
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
    return fault(resume, FAULT_SOURCE_TRUNCATED);
}

static enum resume_need source_truncated(struct resume *resume, int64_t place, int64_t until)
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
        return fault(resume, FAULT_SOURCE_TRUNCATED);
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
            return truncated_somewhere(resume);
        }
        if (source->epoch_end < from->source_next) {
            return source_truncated(resume, source->epoch_end, from->source_next);
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
        return truncated_somewhere(resume);
    }
    resume->waited_ms = 0;
    resume->step = STEP_TARGET;
    return NEED_TARGET;
}

/* --- step 2: the target ------------------------------------------------------------------------------------------- */

/* The broker's last sequence for a generation, widened near `near`; -1 = it holds no state. */
static int64_t broker_sequence_end(const struct resume *resume, int32_t generation, int64_t near)
{
    for (int32_t i = 0; i < resume->target.ids_count; i++) {
        if (resume->target.ids[i].generation == generation) {
            return sequence_widen(resume->target.ids[i].last_sequence, near) + 1;
        }
    }
    return -1;
}

static enum resume_need read_target(struct resume *resume, enum resume_step step, int64_t from,
                                    int64_t to)
{
    pair_list_clear(&resume->target_units);
    resume->read_bytes = 0;
    resume->step = step;
    resume->ask_from = from;
    resume->ask_to = to;
    resume->target_expected = from;
    resume->ours_end = -1;
    resume->sequence_end = -1;
    resume->newer_first = -1;
    resume->straddled = false;
    resume->event.foreign_count = 0;
    return NEED_READ_TARGET;
}

static enum resume_need read_source(struct resume *resume, enum resume_step step, int64_t from)
{
    pair_list_clear(&resume->source_units);
    resume->read_bytes = 0;
    resume->step = step;
    resume->source_expected = from;
    resume->source_begun = false;
    if (from < resume->source.log_start) {
        pair_list_missing(&resume->source_units, from, resume->source.log_start);
        resume->source_expected = resume->source.log_start;
    }
    resume->ask_from = resume->source_expected;
    resume->ask_to = 0;
    return NEED_READ_SOURCE;
}

static enum resume_need not_replicated(struct resume *resume, int64_t expected_end)
{
    err_set(&resume->err, ERR_RETRY,
            "records up to target offset %lld are not replicated yet (high watermark %lld)",
            (long long)expected_end, (long long)resume->target.end);
    err_hint(&resume->err, "the target's in-sync replicas are behind or below min.insync.replicas");
    return wait_for(resume, WAIT_STEP_MS);
}

/* The source lost what stands behind `truncated_from`: the stream goes on there as another function. */
static enum resume_need raise_generation(struct resume *resume, int32_t leader_epoch)
{
    int32_t highest = highest_generation(resume);
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
    return finish(resume, place, resume->target.end, place, leader_epoch);
}

static enum resume_need begin(struct resume *resume)
{
    resume->event.began = true;
    resume->generation = 0;
    int64_t start = resume->options.start == START_EARLIEST ? resume->source.log_start
                                                            : resume->source.stable_end;
    return finish(resume, start, resume->target.end, start, -1);
}

/* The same records again as another stream: what stands on the target stays, and no sequence of it counts. */
static enum resume_need resync(struct resume *resume)
{
    const struct resume_source *source = &resume->source;
    int32_t highest = highest_generation(resume);
    resume->generation =
        generation_behind(resume, highest > resume->generation ? highest : resume->generation);
    resume->event.began = resume->event.resynced = true;
    int64_t place = resume->options.resync_from;
    place = place < source->log_start ? source->log_start : place;
    place = place > source->stable_end ? source->stable_end : place;
    return resume->generation < 0 ? generations_used(resume)
                                  : finish(resume, place, resume->target.end, place, -1);
}

static enum resume_need read_back(struct resume *resume)
{
    resume->back_span = BACK_SPAN_FIRST;
    int64_t from = resume->target.end - resume->back_span;
    from = from < resume->target.log_start ? resume->target.log_start : from;
    return read_target(resume, STEP_BACK, from, resume->target.end);
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
        return not_replicated(resume, 1);
    }
    return read_back(resume);
}

static enum resume_need decide_target(struct resume *resume)
{
    const struct resume_target *target = &resume->target;
    const struct checkpoint *from = &resume->runs_from;
    if (resume->options.resync) {
        return resync(resume);
    }
    if (!resume->has_checkpoint) {
        return without_checkpoint(resume);
    }
    int64_t broker_end = broker_sequence_end(resume, from->generation, from->sequence_next);
    bool newer_generation = highest_generation(resume) > from->generation;
    if (target->end < from->target_next || (broker_end >= 0 && broker_end < from->sequence_next)) {
        return read_back(resume); /* the target lost records that the checkpoint counts */
    }
    int64_t newer = broker_end < 0 ? 0 : broker_end - from->sequence_next;
    if (target->end < from->target_next + newer + (newer_generation ? 1 : 0)) {
        if (resume->waited_ms < RESUME_WAIT_TRIES_MS) {
            return not_replicated(resume, from->target_next + newer);
        } /* in vain: if the last one is there already, records are missing before it */
        if (target->end == from->target_next) {
            return read_back(resume);
        }
    }
    if (target->end == from->target_next) {
        resume->event.unprotected = broker_end < 0 && from->target_next > target->log_start;
        if (resume->truncation_new_generation) {
            return raise_generation(resume, from->leader_epoch);
        }
        return finish(resume, from->source_next, from->target_next, from->sequence_next,
                      from->leader_epoch);
    }
    int64_t read_from =
        from->target_next < target->log_start ? target->log_start : from->target_next;
    return read_target(resume, STEP_FORWARD, read_from, target->end);
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
    return decide_target(resume);
}

/* --- step 4: the target's batches --------------------------------------------------------------------------------- */

static bool too_deep(struct resume *resume, const char *side)
{
    if (resume->read_bytes <= resume->options.read_bytes) {
        return false;
    }
    err_set(&resume->err, ERR_REFUSED, "more than %lld MiB of the %s would have to be read back",
            (long long)(resume->options.read_bytes >> 20), side);
    err_hint(&resume->err, "ferry fault retry SERVICE TOPIC:PARTITION --depth %lld",
             (long long)resume->options.read_bytes * 8);
    resume->fault = FAULT_TOO_DEEP;
    return true;
}

/* The first batch of an answer may begin before what was asked for; BaseOffset is under no checksum. */
static bool in_order(struct resume *resume, const struct batch *batch, int64_t expected,
                     const char *side)
{
    if (batch->base_offset >= expected) {
        return true;
    }
    resume->broken = true;
    return err_set(&resume->err, ERR_RETRY,
                   "batch at %s offset %lld stands behind one that ends at %lld", side,
                   (long long)batch->base_offset, (long long)expected);
}

static void count_foreign(struct resume *resume, int64_t from, int64_t to)
{
    if (to <= from) {
        return;
    }
    if (resume->event.foreign_count == 0) {
        resume->event.foreign_from = from;
    }
    resume->event.foreign_count += to - from;
    resume->event.foreign_to = to;
}

/* @param from    records below do not belong to the stretch; a batch that begins before it is taken record by record.
 *                (Looking for a tail there is no position, only the lowest place: whole batches are what it is found by.)
 * @param filter  of the source; on the target everything passed it */
static bool add_unit(struct resume *resume, struct pair_list *list, const struct batch *batch,
                     const char *side, int64_t from, const struct config_filter *filter)
{
    const struct pair_reading reading = {
        .max_bytes = RECORDS_BYTES_MAX, .from = from, .filter = filter};
    bool whole = batch->magic == 2 && (resume->step == STEP_FIND || batch->base_offset >= from);
    if (!resume->ask_records && whole) {
        pair_list_batch(list, batch);
        return true;
    }
    /* A compressed batch can claim many records: what they take here counts against the bound too. */
    resume->read_bytes += (int64_t)batch->count * (int64_t)sizeof(struct pair_unit);
    if (too_deep(resume, side)) {
        return false;
    }
    if (!pair_list_records(list, batch, &reading, &resume->err)) {
        resume->fault = FAULT_GARBAGE;
        return false;
    }
    return true;
}

/* Reading forward from a checkpoint: batches of its generation are ours, a newer one restarts the stretch. */
static bool forward_batch(struct resume *resume, const struct batch *batch, bool ours,
                          int32_t generation)
{
    resume->straddled = resume->straddled || batch->base_offset < resume->runs_from.target_next;
    if (ours && generation > resume->generation) {
        if (resume->newer_first < 0 || generation > resume->newer_generation) {
            resume->newer_first = batch->base_offset;
            resume->newer_generation = generation;
            resume->newer_sequence =
                sequence_widen(batch->base_sequence, resume->runs_from.source_next);
        }
        return true;
    }
    if (!ours || generation < resume->generation) {
        count_foreign(resume, batch->base_offset, batch_next_offset(batch));
        return true;
    }
    int64_t near =
        resume->sequence_end >= 0 ? resume->sequence_end : resume->runs_from.sequence_next;
    resume->sequence_end =
        sequence_widen(batch->base_sequence, near) + batch->last_offset_delta + 1;
    resume->ours_end = batch_next_offset(batch);
    return add_unit(resume, &resume->target_units, batch, "target", batch->base_offset, NULL);
}

static void keep_newest(struct pair_list *units)
{
    size_t drop = units->count - RESUME_TAIL_UNITS;
    for (size_t i = 0; i < drop; i++) {
        units->records_count -= units->units[i].count;
    }
    memmove(units->units, units->units + drop, RESUME_TAIL_UNITS * sizeof(*units->units));
    units->count = RESUME_TAIL_UNITS;
}

/* Reading back from the end: only the newest batches of the highest generation matter. */
static bool back_batch(struct resume *resume, const struct batch *batch, bool ours,
                       int32_t generation)
{
    if (!ours || generation < resume->generation) {
        return true;
    }
    if (generation > resume->generation) {
        pair_list_clear(&resume->target_units);
        resume->generation = generation;
    }
    if (resume->target_units.count >= (size_t)RESUME_TAIL_UNITS * 2) {
        keep_newest(&resume->target_units);
    }
    resume->ours_end = batch_next_offset(batch);
    resume->sequence_end =
        batch->base_sequence + (int64_t)batch->last_offset_delta + 1; /* wire; widened later */
    return add_unit(resume, &resume->target_units, batch, "target", batch->base_offset, NULL);
}

bool resume_target_batch(struct resume *resume, const struct batch *batch)
{
    int64_t next = batch->magic < 2 ? batch->base_offset + 1 : batch_next_offset(batch);
    if (next <= resume->ask_from || batch->base_offset >= resume->ask_to) {
        return true;
    }
    bool begun = resume->target_expected > resume->ask_from;
    if (begun && !in_order(resume, batch, resume->target_expected, "target")) {
        return false;
    }
    resume->read_bytes += (int64_t)batch->len;
    if (too_deep(resume, "target")) {
        return false;
    }
    pair_list_missing(&resume->target_units, resume->target_expected, batch->base_offset);
    resume->target_expected = next;
    if (batch->magic < 2) { /* ours is never old */
        count_foreign(resume, batch->base_offset, next);
        return true;
    }
    int32_t generation = 0;
    bool ours = sequence_id_ours(resume->options.id_base, batch->producer_id, &generation) &&
                !batch_is_control(batch);
    return resume->step == STEP_BACK ? back_batch(resume, batch, ours, generation)
                                     : forward_batch(resume, batch, ours, generation);
}

/* The newer generation began inside the stretch: its first batch carries its source position as its sequence. */
static enum resume_need rebase(struct resume *resume)
{
    if (resume->runs_from.target_next < resume->target.log_start) {
        return read_back(resume); /* its first batch may be among those that retention removed */
    }
    resume->generation = resume->newer_generation;
    resume->runs_from.generation = resume->newer_generation;
    resume->runs_from.source_next = resume->newer_sequence;
    resume->runs_from.sequence_next = resume->newer_sequence;
    resume->runs_from.target_next = resume->newer_first;
    resume->runs_from.leader_epoch = -1;
    resume->any_filter = resume->generation < resume->options.generation_least;
    resume->ask_records = filtered(resume);
    resume->truncation_new_generation = false;
    resume->event.source_truncated = false;
    if (resume->newer_sequence > resume->source.stable_end) {
        return truncated_somewhere(resume);
    }
    return decide_target(resume);
}

static enum resume_need tail_gone(struct resume *resume, int64_t until)
{
    const struct checkpoint *from = &resume->runs_from;
    resume->fault_target_from = from->target_next;
    resume->fault_target_to = until;
    err_set(&resume->err, ERR_REFUSED,
            "records in target offsets %lld..%lld, behind the checkpoint, were deleted by the "
            "target's retention "
            "or compaction and cannot be counted",
            (long long)from->target_next, (long long)until - 1);
    err_hint(&resume->err, "see docs/faults.md#tail-gone");
    return fault(resume, FAULT_TAIL_GONE);
}

/* Did the end of the stretch hold records that are no more? Then "behind the last pair" is not the position. */
static bool tail_compacted(struct resume *resume)
{
    struct pair_list *units = &resume->target_units;
    pair_list_missing(units, resume->target_expected, resume->ask_to);
    resume->target_expected = resume->ask_to;
    int64_t before = units->count == 0 ? 0 : units->units[units->count - 1].missing;
    return units->missing > before;
}

static enum resume_need count_vanished(struct resume *resume)
{
    /* Step 7: between the checkpoint and the log's start records are gone; only their number is known, and only if
     * nobody else wrote. */
    const struct checkpoint *from = &resume->runs_from;
    int64_t broker_end = broker_sequence_end(resume, from->generation, from->sequence_next);
    int64_t sequence_end = resume->sequence_end >= 0 ? resume->sequence_end : broker_end;
    bool alone = sequence_end >= 0 && resume->event.foreign_count == 0 &&
                 resume->target.end - from->target_next == sequence_end - from->sequence_next;
    if (!alone || from->source_next < resume->source.log_start) {
        return tail_gone(resume, resume->target.log_start);
    }
    resume->sequence_end = sequence_end;
    resume->count_left = sequence_end - from->sequence_next;
    resume->ask_records = filtered(resume);
    resume->event.by_count = true;
    return read_source(resume, STEP_COUNT, from->source_next);
}

static enum resume_need forward_end(struct resume *resume)
{
    const struct checkpoint *from = &resume->runs_from;
    if (resume->straddled) {
        return read_back(resume);
    }
    if (resume->newer_first >= 0) {
        return rebase(resume);
    }
    int64_t near = resume->sequence_end >= 0 ? resume->sequence_end : from->sequence_next;
    int64_t broker_end = broker_sequence_end(resume, from->generation, near);
    bool newer = broker_end > near || highest_generation(resume) > resume->generation;
    bool vanished = from->target_next < resume->target.log_start;
    if (newer && (resume->waited_ms < RESUME_WAIT_TRIES_MS || resume->sequence_end >= 0)) {
        return not_replicated(resume,
                              resume->target.end + (broker_end > near ? broker_end - near : 1));
    }
    if (newer &&
        !vanished) { /* waited in vain, and nothing of ours behind the checkpoint: then it stands before it? */
        return read_back(resume);
    }
    if (resume->truncation_new_generation) {
        return raise_generation(resume, from->leader_epoch);
    }
    resume->event.unprotected = broker_end < 0;
    if (vanished) {
        return count_vanished(resume);
    }
    if (tail_compacted(resume)) {
        return tail_gone(resume, resume->target.end);
    }
    if (resume->target_units.count == 0) { /* others wrote, we did not */
        return finish(resume, from->source_next, resume->target.end, from->sequence_next,
                      from->leader_epoch);
    }
    return read_source(resume, STEP_PAIR, from->source_next);
}

/* --- reading back ------------------------------------------------------------------------------------------------- */

static enum resume_need none_of_ours(struct resume *resume)
{
    const struct checkpoint *from = &resume->runs_from;
    bool whole_log = resume->target.log_start == 0;
    /* Nothing was removed, so what the broker's state speaks of is above the end. */
    if (whole_log && highest_generation(resume) >= resume->generation) {
        return not_replicated(resume, resume->target.end + 1);
    }
    if (resume->has_checkpoint && whole_log && resume->target.end == 0 && from->generation == 0 &&
        from->sequence_next >= from->target_next) {
        /* Everything of ours is gone and nobody else wrote: the sequence of the first batch was its source position. */
        int64_t start = from->sequence_next - from->target_next;
        resume->event.target_truncated = true;
        resume->event.target_cut_from = 0;
        resume->event.target_cut_to = from->target_next;
        resume->at = *from;
        resume->at.source_next = resume->at.sequence_next = start;
        resume->at.target_next = 0;
        resume->at.leader_epoch = -1;
        resume->step = STEP_CUT;
        return NEED_CUT;
    }
    resume->fault_target_from = resume->target.log_start;
    resume->fault_target_to = resume->target.end;
    if (!resume->has_checkpoint && whole_log) {
        err_set(&resume->err, ERR_REFUSED,
                "the target holds %lld records and none of them is ferry's",
                (long long)resume->target.end);
        err_hint(&resume->err, "an empty topic, or: ferry enable SERVICE --adopt");
        return fault(resume, FAULT_NOT_EMPTY);
    }
    err_set(&resume->err, ERR_REFUSED,
            "%s, and no batch of ours is left in target offsets %lld..%lld to find the place by",
            resume->has_checkpoint ? "the target was truncated below the checkpoint"
                                   : "there is no checkpoint",
            (long long)resume->target.log_start, (long long)resume->target.end - 1);
    err_hint(&resume->err, "see docs/faults.md#no-checkpoint");
    return fault(resume, FAULT_NO_CHECKPOINT);
}

static const struct pair_unit *tail_last(const struct resume *resume)
{
    return &resume->target_units.units[resume->target_units.count - 1];
}

/* Where the tail can begin at the source: a record never stands before its sequence number's place, holes only push it
 * up. */
static int64_t find_lowest(const struct resume *resume)
{
    int64_t lowest = resume->hint_source >= 0
                         ? resume->hint_source - tail_last(resume)->count
                         : resume->sequence_end - resume->target_units.records_count;
    return lowest < 0 ? 0 : lowest;
}

static enum resume_need find_end(struct resume *resume);

static enum resume_need find_in_source(struct resume *resume)
{
    int64_t lowest = find_lowest(resume);
    enum resume_need need = read_source(resume, STEP_FIND, lowest);
    return lowest > resume->source.stable_end ? find_end(resume) : need;
}

static bool same_stream(const struct resume *resume)
{
    return resume->has_checkpoint && resume->generation == resume->runs_from.generation;
}

/* The broker's last sequence lies before the checkpoint, but batches of ours stand behind it: the log was cut, others
 * wrote into the gap, and ours went on behind them. Where the cut was nobody knows. */
static enum resume_need contradicted(struct resume *resume)
{
    const struct checkpoint *from = &resume->runs_from;
    resume->fault_target_from = from->target_next;
    resume->fault_target_to = resume->ours_end;
    err_set(&resume->err, ERR_REFUSED,
            "the target's last batch of ours, before target offset %lld, has a lower sequence than "
            "the checkpoint "
            "at target offset %lld",
            (long long)resume->ours_end, (long long)from->target_next);
    err_hint(&resume->err, "see docs/faults.md#sequence");
    return fault(resume, FAULT_SEQUENCE);
}

static enum resume_need back_end(struct resume *resume)
{
    size_t units = resume->target_units.count;
    if (resume->ask_from > resume->target.log_start &&
        (units == 0 || (units < RESUME_TAIL_UNITS && resume->read_bytes < BACK_BYTES_ENOUGH))) {
        resume->back_span *= 4;
        int64_t from = resume->target.end - resume->back_span;
        from = from < resume->target.log_start ? resume->target.log_start : from;
        return read_target(resume, STEP_BACK, from, resume->target.end);
    }
    if (units == 0) {
        return none_of_ours(resume);
    }
    if (highest_generation(resume) > resume->generation) { /* its first batch: not replicated yet */
        return not_replicated(resume, resume->target.end + 1);
    }
    int64_t broker_end = broker_sequence_end(resume, resume->generation, resume->sequence_end);
    if (broker_end >= 0 && sequence_wire(broker_end) != sequence_wire(resume->sequence_end)) {
        return not_replicated(resume, resume->ours_end + broker_end - resume->sequence_end);
    }
    if (same_stream(resume)) {
        if (resume->ours_end >= resume->runs_from.target_next) {
            return contradicted(resume);
        }
        resume->sequence_end =
            sequence_widen(sequence_wire(resume->sequence_end), resume->runs_from.sequence_next);
        resume->step = STEP_FLOOR;
        resume->ask_from = resume->ours_end - 1;
        return NEED_FLOOR;
    }
    resume->sequence_end = sequence_wire(resume->sequence_end);
    return find_in_source(resume);
}

enum resume_need resume_target_end(struct resume *resume)
{
    if (resume->broken) {
        return RESUME_BROKEN;
    }
    if (resume->fault != FAULT_NONE) {
        return RESUME_FAULT;
    }
    return resume->step == STEP_BACK ? back_end(resume) : forward_end(resume);
}

enum resume_need resume_give_floor(struct resume *resume, bool found, struct offset_run run)
{
    assert(resume->step == STEP_FLOOR);
    int64_t last = resume->ours_end - 1;
    resume->hint_source = -1;
    if (found && run.length > 0 && last >= run.target_first &&
        last < run.target_first + run.length) {
        resume->hint_source = run.source_first + (last - run.target_first) + 1;
    }
    return find_in_source(resume);
}

/* --- step 5: the source's batches --------------------------------------------------------------------------------- */

bool resume_source_batch(struct resume *resume, const struct batch *batch, bool kept)
{
    int64_t from = resume->source_expected;
    if (batch_next_offset(batch) <= from) {
        return true;
    }
    if (resume->source_begun && batch->magic == 2 && !in_order(resume, batch, from, "source")) {
        return false;
    }
    resume->source_begun = true;
    resume->read_bytes += (int64_t)batch->len;
    if (too_deep(resume, "source")) {
        return false;
    }
    resume->source_expected = batch_next_offset(batch);
    if (batch->magic < 2) {
        return add_unit(resume, &resume->source_units, batch, "source", from, filter_of(resume));
    }
    pair_list_missing(&resume->source_units, from, batch->base_offset);
    if (batch->count == 0 && !batch_is_control(batch)) { /* compaction kept the header alone */
        pair_list_missing(&resume->source_units, batch->base_offset, batch_next_offset(batch));
        return true;
    }
    return !kept ||
           add_unit(resume, &resume->source_units, batch, "source", from, filter_of(resume));
}

bool resume_source_enough(const struct resume *resume)
{
    if (resume->step == STEP_PAIR) {
        return resume->source_units.records_count >=
               resume->target_units.records_count + resume->ask_to;
    }
    if (resume->step == STEP_COUNT) {
        return resume->source_units.records_count >= resume->count_left;
    }
    assert(resume->step == STEP_FIND);
    if (resume->hint_source >= 0) {
        return resume->source_expected >= resume->hint_source;
    }
    return same_stream(resume) && resume->source_expected >= resume->runs_from.source_next;
}

static enum resume_need pairing_failed(struct resume *resume, const struct pairing *pairing)
{
    resume->fault_source_from = pairing->hole_from;
    resume->fault_source_to = pairing->hole_to;
    resume->fault_target_from = pairing->at_target;
    err_hint(&resume->err, "ferry verify SERVICE --topic TOPIC:PARTITION shows both sides");
    switch (pairing->verdict) {
    case PAIRING_HOLE:
        err_set(&resume->err, ERR_REFUSED,
                "source offsets %lld..%lld are not on the target although later ones are (target "
                "offset %lld)",
                (long long)pairing->hole_from, (long long)pairing->hole_to - 1,
                (long long)pairing->at_target);
        err_hint(&resume->err, "see docs/faults.md#hole");
        return fault(resume, FAULT_HOLE);
    case PAIRING_ORDER:
        err_set(&resume->err, ERR_REFUSED,
                "records from target offset %lld on stand in another order than at source "
                "offset %lld",
                (long long)pairing->at_target, (long long)pairing->hole_from);
        err_hint(&resume->err, "see docs/faults.md#order");
        return fault(resume, FAULT_ORDER);
    case PAIRING_AMBIGUOUS:
        err_set(&resume->err, ERR_REFUSED,
                "records are gone at the source, and the same bytes stand around them again and "
                "again: how many of "
                "the target's records from offset %lld on belong there cannot be told",
                (long long)pairing->at_target);
        err_hint(&resume->err, "see docs/faults.md#no-checkpoint");
        return fault(resume, FAULT_NO_CHECKPOINT);
    case PAIRING_STRANGER:
    case PAIRING_LOST:
    case PAIRING_NEED_MORE:
    case PAIRING_NEED_RECORDS:
    case PAIRING_DONE:
        break;
    }
    err_set(&resume->err, ERR_REFUSED,
            "the record at target offset %lld carries our id, but the source has no such "
            "record at or after offset %lld",
            (long long)pairing->at_target, (long long)resume->runs_from.source_next);
    err_hint(&resume->err, "see docs/faults.md#stranger");
    return fault(resume, FAULT_STRANGER);
}

static enum resume_need paired(struct resume *resume, struct pairing *pairing)
{
    const struct checkpoint *from = &resume->runs_from;
    offset_map_done(&resume->runs);
    resume->runs = pairing->runs;
    offset_map_init(&pairing->runs); /* moved */
    resume->event.gone_count = pairing->gone_count;
    /* What the sequence counts is on the source, or gone there, or gone on both sides. */
    int64_t counted = resume->sequence_end - from->sequence_next;
    int64_t explained = pairing->source_count + pairing->gone_count;
    if (explained > counted || counted - explained > resume->target_units.missing) {
        err_set(&resume->err, ERR_REFUSED,
                "the target's batches behind the checkpoint end with sequence %lld, %lld behind "
                "it, but "
                "%lld records of the source belong to them",
                (long long)resume->sequence_end, (long long)counted, (long long)explained);
        err_hint(&resume->err, "see docs/faults.md#sequence");
        return fault(resume, FAULT_SEQUENCE);
    }
    bool none = pairing->source_next < 0;
    return finish(resume, none ? from->source_next : pairing->source_next, resume->target.end,
                  resume->sequence_end, none ? from->leader_epoch : pairing->leader_epoch);
}

/* The source was truncated behind the checkpoint, in the stretch that was mirrored since. */
static enum resume_need lost_behind(struct resume *resume, const struct pairing *pairing)
{
    const struct checkpoint *from = &resume->runs_from;
    bool none = pairing->source_next < 0;
    int64_t place = none ? from->source_next : pairing->source_next;
    resume->fault_target_from = pairing->at_target;
    enum resume_need need = source_truncated(resume, place, place + pairing->lost_count);
    if (need == RESUME_FAULT) {
        return need;
    }
    resume->fault_target_from = -1;
    return raise_generation(resume, none ? from->leader_epoch : pairing->leader_epoch);
}

static enum resume_need pair_end(struct resume *resume, int64_t next, bool at_end)
{
    struct pairing pairing;
    enum resume_need need;
    pairing_run(&pairing, &resume->target_units, &resume->source_units, !resume->ask_records,
                resume->any_filter, at_end, resume->runs_from.leader_epoch);
    switch (pairing.verdict) {
    case PAIRING_DONE:
        need = paired(resume, &pairing);
        break;
    case PAIRING_NEED_RECORDS:
        resume->ask_records = true;
        need = read_target(resume, STEP_FORWARD, resume->runs_from.target_next, resume->target.end);
        break;
    case PAIRING_NEED_MORE:
        resume->ask_to =
            resume->ask_to * 2 + 1000; /* records beyond the number that the target has */
        resume->ask_from = next;
        need = NEED_READ_SOURCE;
        break;
    case PAIRING_LOST:
        need = lost_behind(resume, &pairing);
        break;
    case PAIRING_HOLE:
    case PAIRING_ORDER:
    case PAIRING_STRANGER:
    case PAIRING_AMBIGUOUS:
    default:
        need = pairing_failed(resume, &pairing);
        break;
    }
    pairing_done(&pairing);
    return need;
}

static enum resume_need count_end(struct resume *resume)
{
    const struct checkpoint *from = &resume->runs_from;
    int64_t left = resume->count_left;
    for (size_t i = 0; i < resume->source_units.count && left > 0; i++) {
        const struct pair_unit unit = resume->source_units.units[i];
        left -= unit.count;
        if (unit.missing > 0 || unit.next - unit.first != unit.count ||
            unit.leader_epoch != from->leader_epoch) {
            break; /* compacted since, or maybe truncated and grown again: the count says nothing */
        }
        if (left == 0) {
            const struct checkpoint at = {.source_topic_id = from->source_topic_id,
                                          .target_topic_id = from->target_topic_id,
                                          .generation = from->generation,
                                          .source_next = unit.next,
                                          .target_next = resume->target.end,
                                          .sequence_next = resume->sequence_end,
                                          .leader_epoch = unit.leader_epoch};
            resume->runs_from = at; /* where each record of the stretch stands is not known */
            return finish(resume, at.source_next, at.target_next, at.sequence_next,
                          at.leader_epoch);
        }
    }
    resume->fault_target_from = from->target_next;
    resume->fault_target_to = resume->target.log_start;
    err_set(&resume->err, ERR_REFUSED,
            "%lld records behind the checkpoint were deleted by the target's retention, and "
            "counting the source from "
            "offset %lld does not end at a batch",
            (long long)resume->count_left, (long long)from->source_next);
    err_hint(&resume->err, "see docs/faults.md#tail-gone");
    return fault(resume, FAULT_TAIL_GONE);
}

/* --- where does the tail stand in the source? --------------------------------------------------------------------- */

/* Records of the source between unit `index` and the checkpoint. */
static int64_t records_to_checkpoint(const struct resume *resume, size_t index)
{
    const struct pair_list *source = &resume->source_units;
    int64_t records = 0;
    for (size_t i = index + 1;
         i < source->count && source->units[i].first < resume->runs_from.source_next; i++) {
        records += source->units[i].count;
    }
    return records;
}

/* Truncation moves nothing: the tail stands on the target where it stood when the checkpoint was made. Offsets and
 * sequences between the two agree, unless others wrote in between, and then only the map can tell. (An id whose batches
 * are all gone may begin anywhere: a batch that was on its way then stands where it never stood.) */
static bool tail_stands_where_it_stood(const struct resume *resume)
{
    const struct checkpoint *from = &resume->runs_from;
    int64_t offsets = from->target_next - resume->ours_end;
    int64_t counted = from->sequence_next - resume->sequence_end;
    return counted >= 0 && (resume->hint_source >= 0 ? offsets >= counted : offsets == counted);
}

/* Can the tail's last unit be this one, by what the sequence counts? *out_exact: it must be. */
static bool place_fits(const struct resume *resume, size_t index, bool *out_exact)
{
    const struct pair_unit *unit = &resume->source_units.units[index];
    const struct checkpoint *from = &resume->runs_from;
    *out_exact = false;
    if (!same_stream(resume)) {
        return sequence_widen_below(sequence_wire(resume->sequence_end), unit->next) >= 0;
    }
    if (unit->next > from->source_next || !tail_stands_where_it_stood(resume)) {
        return false;
    }
    if (resume->hint_source >= 0) { /* behind its record; nothing is left up to the batch's end */
        return unit->first + unit->count <= resume->hint_source &&
               resume->hint_source <= unit->next;
    }
    int64_t counted = from->sequence_next - resume->sequence_end;
    int64_t records = records_to_checkpoint(resume, index);
    *out_exact = records == counted;
    return records <= counted; /* fewer: compacted since */
}

/* How many places there are; several are one when one of them has exactly the right number of records behind it. */
static size_t find_place(const struct resume *resume, size_t *out_index)
{
    bool cut_off = resume->hint_source >= 0 || find_lowest(resume) < resume->source.log_start;
    size_t places = 0;
    size_t exact_places = 0;
    size_t exact_index = 0;
    for (size_t i = 0; i < resume->source_units.count; i++) {
        bool exact;
        if (!pairing_tail_stands_at(&resume->target_units, &resume->source_units, i, cut_off) ||
            !place_fits(resume, i, &exact)) {
            continue;
        }
        *out_index = i;
        places++;
        if (exact) {
            exact_index = i;
            exact_places++;
        }
    }
    if (places > 1 && exact_places == 1) {
        *out_index = exact_index;
        return 1;
    }
    return places;
}

/* The map names the place and the source holds nothing there any more (retention, compaction) that could gainsay it. */
static bool map_stands_alone(const struct resume *resume)
{
    if (resume->hint_source < 0 || !tail_stands_where_it_stood(resume)) {
        return false;
    }
    int64_t first = resume->hint_source - tail_last(resume)->count;
    for (size_t i = 0; i < resume->source_units.count; i++) {
        const struct pair_unit *unit = &resume->source_units.units[i];
        if (unit->first < resume->hint_source && unit->next > first &&
            unit->next - unit->first == unit->count) {
            return false;
        }
    }
    return true;
}

/* The tail stands at several places, or compaction changed it at the source. While the target holds its whole log the
 * stream's first batch is there, and its sequence is its source position: pair everything from there. */
static enum resume_need pair_from_first(struct resume *resume)
{
    resume->from_first = true;
    resume->ask_records = filtered(resume);
    resume->has_checkpoint = true;
    resume->generation =
        -1; /* any generation is newer: rebase() takes the highest one's first batch */
    resume->runs_from = (struct checkpoint){.source_topic_id = resume->options.source_topic_id,
                                            .target_topic_id = resume->options.target_topic_id,
                                            .generation = -1,
                                            .leader_epoch = -1};
    return read_target(resume, STEP_FORWARD, 0, resume->target.end);
}

static enum resume_need found_place(struct resume *resume, int64_t source_next,
                                    int32_t leader_epoch)
{
    const struct checkpoint *from = &resume->runs_from;
    if (!same_stream(resume)) {
        resume->sequence_end =
            sequence_widen_below(sequence_wire(resume->sequence_end), source_next);
    }
    resume->at = (struct checkpoint){.source_topic_id = resume->options.source_topic_id,
                                     .target_topic_id = resume->options.target_topic_id,
                                     .generation = resume->generation,
                                     .source_next = source_next,
                                     .target_next = resume->ours_end,
                                     .sequence_next = resume->sequence_end,
                                     .leader_epoch = leader_epoch};
    count_foreign(resume, resume->ours_end, resume->target.end);
    if (same_stream(resume)) {
        resume->event.target_truncated = true;
        resume->event.target_cut_from = resume->ours_end;
        resume->event.target_cut_to = from->target_next;
        resume->step = STEP_CUT;
        return NEED_CUT;
    }
    resume->runs_from = resume->at;
    return finish(resume, source_next, resume->target.end, resume->sequence_end, leader_epoch);
}

static enum resume_need find_end(struct resume *resume)
{
    size_t index = 0;
    size_t places = find_place(resume, &index);
    if (places == 1) {
        const struct pair_unit *unit = &resume->source_units.units[index];
        return found_place(resume, unit->next, unit->leader_epoch);
    }
    if (map_stands_alone(
            resume)) { /* what stands before it is of the checkpoint's epoch or an older one */
        return found_place(resume, resume->hint_source, resume->ask_epoch);
    }
    if (places == 0 &&
        !resume->ask_records) { /* what was re-encoded or merged is known by its records alone */
        resume->ask_records = true;
        return read_back(resume);
    }
    if (resume->hint_source < 0 && !same_stream(resume) && resume->target.log_start == 0 &&
        !resume->from_first) {
        return pair_from_first(resume);
    }
    resume->fault_target_to = resume->ours_end;
    err_set(&resume->err, ERR_REFUSED,
            "%s: the newest batch of ours (before target offset %lld) %s %zu places of the source",
            resume->has_checkpoint ? "the target was truncated below the checkpoint"
                                   : "there is no checkpoint",
            (long long)resume->ours_end,
            resume->hint_source >= 0 ? "should stand elsewhere, says the map; it stands at"
                                     : "stands at",
            places);
    err_hint(&resume->err, "see docs/faults.md#no-checkpoint");
    return fault(resume, FAULT_NO_CHECKPOINT);
}

enum resume_need resume_give_cut(struct resume *resume)
{
    assert(resume->step == STEP_CUT);
    resume->runs_from = resume->at;
    if (resume->has_stored) {
        resume->stored = resume->at;
    }
    if (resume->truncation_new_generation) { /* both logs lost their tails */
        int64_t place = resume->event.truncated_from;
        bool below = resume->at.source_next < place;
        resume->event.truncated_from = below ? resume->at.source_next : place;
        return raise_generation(resume, below ? resume->at.leader_epoch : resume->ask_epoch);
    }
    return finish(resume, resume->at.source_next, resume->target.end, resume->at.sequence_next,
                  resume->at.leader_epoch);
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
    if (resume->step == STEP_PAIR) {
        return pair_end(resume, next, at_end);
    }
    return resume->step == STEP_COUNT ? count_end(resume) : find_end(resume);
}
