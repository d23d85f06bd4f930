#include "mirror/resume_inside.h"

/* --- the stretch of the target ------------------------------------------------------------------------------------ */

/* The newer generation began inside the stretch: its first batch carries its source position as its sequence. */
static enum resume_need rebase(struct resume *resume)
{
    if (resume->runs_from.target_next < resume->target.log_start) {
        return resume_read_back(
            resume); /* its first batch may be among those that retention removed */
    }
    resume->generation = resume->newer_generation;
    resume->runs_from.generation = resume->newer_generation;
    resume->runs_from.source_next = resume->newer_sequence;
    resume->runs_from.sequence_next = resume->newer_sequence;
    resume->runs_from.target_next = resume->newer_first;
    resume->runs_from.leader_epoch = -1;
    resume->any_filter = resume->generation < resume->options.generation_least;
    resume->ask_records = resume_by_record(resume);
    resume->truncation_new_generation = false;
    resume->event.source_truncated = false;
    if (resume->newer_sequence > resume->source.stable_end) {
        return resume_truncated_somewhere(resume);
    }
    return resume_decide_target(resume);
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
    return resume_faulted(resume, FAULT_TAIL_GONE);
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

/* What a worker that died can have had on its way begins there, or behind it. */
static int64_t before_checkpoint(const struct resume *resume)
{
    int64_t from = resume->runs_from.source_next - resume->options.before_span;
    return from < 0 ? 0 : from;
}

static enum resume_need count_vanished(struct resume *resume)
{
    /* Step 7: between the checkpoint and the log's start records are gone; only their number is known, and only if
     * nobody else wrote. */
    const struct checkpoint *from = &resume->runs_from;
    int64_t broker_end = resume_broker_end(resume, from->generation, from->sequence_next);
    int64_t sequence_end = resume->sequence_end >= 0 ? resume->sequence_end : broker_end;
    bool alone = sequence_end >= 0 && resume->event.foreign_count == 0 &&
                 resume->target.end - from->target_next == sequence_end - from->sequence_next;
    if (!alone || from->source_next < resume->source.log_start) {
        return tail_gone(resume, resume->target.log_start);
    }
    resume->sequence_end = sequence_end;
    resume->count_left = sequence_end - from->sequence_next;
    resume->ask_records = resume_by_record(resume);
    resume->event.by_count = true;
    return resume_read_source(resume, STEP_COUNT,
                              resume_passed_over(from) ? before_checkpoint(resume)
                                                       : from->source_next);
}

enum resume_need resume_forward_end(struct resume *resume)
{
    const struct checkpoint *from = &resume->runs_from;
    if (resume->straddled) {
        return resume_read_back(resume);
    }
    if (resume->newer_first >= 0) {
        return rebase(resume);
    }
    int64_t near = resume->sequence_end >= 0 ? resume->sequence_end : from->sequence_next;
    int64_t broker_end = resume_broker_end(resume, from->generation, near);
    bool newer = broker_end > near || resume_highest_generation(resume) > resume->generation;
    bool vanished = from->target_next < resume->target.log_start;
    if (newer && (resume->waited_ms < RESUME_WAIT_TRIES_MS || resume->sequence_end >= 0)) {
        return resume_not_replicated(resume, resume->target.end +
                                                 (broker_end > near ? broker_end - near : 1));
    }
    if (newer &&
        !vanished) { /* waited in vain, and nothing of ours behind the checkpoint: then it stands before it? */
        return resume_read_back(resume);
    }
    if (resume->truncation_new_generation) {
        return resume_raise_generation(resume, from->leader_epoch);
    }
    resume->event.unprotected = broker_end < 0 && !resume->options.by_content;
    if (vanished) {
        return count_vanished(resume);
    }
    if (tail_compacted(resume)) {
        return tail_gone(resume, resume->target.end);
    }
    if (resume->target_units.count == 0) { /* others wrote, we did not */
        return resume_finish(resume, from->source_next, resume->target.end, from->sequence_next,
                             from->leader_epoch);
    }
    return resume_read_source(resume, STEP_PAIR, from->source_next);
}

/* --- paired with the source --------------------------------------------------------------------------------------- */

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
        return resume_faulted(resume, FAULT_HOLE);
    case PAIRING_ORDER:
        err_set(&resume->err, ERR_REFUSED,
                "records from target offset %lld on stand in another order than at source "
                "offset %lld",
                (long long)pairing->at_target, (long long)pairing->hole_from);
        err_hint(&resume->err, "see docs/faults.md#order");
        return resume_faulted(resume, FAULT_ORDER);
    case PAIRING_AMBIGUOUS:
        err_set(&resume->err, ERR_REFUSED,
                "records are gone at the source, and the same bytes stand around them again and "
                "again: how many of "
                "the target's records from offset %lld on belong there cannot be told",
                (long long)pairing->at_target);
        err_hint(&resume->err, "see docs/faults.md#no-checkpoint");
        return resume_faulted(resume, FAULT_NO_CHECKPOINT);
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
    return resume_faulted(resume, FAULT_STRANGER);
}

static enum resume_need paired(struct resume *resume, struct pairing *pairing)
{
    const struct checkpoint *from = &resume->runs_from;
    offset_map_done(&resume->runs);
    resume->runs = pairing->runs;
    offset_map_init(&pairing->runs); /* moved */
    resume->event.gone_count = pairing->gone_count;
    resume->compacted = resume->source_units.missing > 0;
    /* What the sequence counts is on the source, or gone there, or gone on both sides. */
    int64_t explained = pairing->source_count + pairing->gone_count;
    if (resume->options.by_content) {
        resume->sequence_end = from->sequence_next + explained;
        resume->event.repeated_count = pairing->repeated_count;
        resume->event.repeated_from = pairing->repeated_from;
        resume->event.repeated_to = pairing->repeated_to;
        if (pairing->foreign_count >
            0) { /* batches of others, as transactions, are counted already */
            bool first = resume->event.foreign_count == 0;
            resume->event.foreign_from = first ? pairing->foreign_from : resume->event.foreign_from;
            resume->event.foreign_to = first || pairing->foreign_to > resume->event.foreign_to
                                           ? pairing->foreign_to
                                           : resume->event.foreign_to;
            resume->event.foreign_count += pairing->foreign_count;
        }
    }
    int64_t counted = resume->sequence_end - from->sequence_next;
    if (explained > counted || counted - explained > resume->target_units.missing) {
        err_set(&resume->err, ERR_REFUSED,
                "the target's batches behind the checkpoint end with sequence %lld, %lld behind "
                "it, but "
                "%lld records of the source belong to them",
                (long long)resume->sequence_end, (long long)counted, (long long)explained);
        err_hint(&resume->err, "see docs/faults.md#sequence");
        return resume_faulted(resume, FAULT_SEQUENCE);
    }
    bool none = pairing->source_next < 0;
    return resume_finish(resume, none ? from->source_next : pairing->source_next,
                         resume->target.end, resume->sequence_end,
                         none ? from->leader_epoch : pairing->leader_epoch);
}

/* The source was truncated behind the checkpoint, in the stretch that was mirrored since. */
static enum resume_need lost_behind(struct resume *resume, const struct pairing *pairing)
{
    const struct checkpoint *from = &resume->runs_from;
    bool none = pairing->source_next < 0;
    int64_t place = none ? from->source_next : pairing->source_next;
    resume->fault_target_from = pairing->at_target;
    enum resume_need need = resume_source_truncated(resume, place, place + pairing->lost_count);
    if (need == RESUME_FAULT) {
        return need;
    }
    resume->fault_target_from = -1;
    return resume_raise_generation(resume, none ? from->leader_epoch : pairing->leader_epoch);
}

/* A record on the target that does not follow: what stands before the checkpoint? Also when the same bytes stand again
 * further on at the source. */
static enum resume_need look_back(struct resume *resume)
{
    int64_t next = resume->runs_from.source_next;
    int64_t from = before_checkpoint(resume);
    if (from < resume->source.log_start) { /* what is gone there says nothing */
        from = resume->source.log_start < next ? resume->source.log_start : next;
    }
    resume->looked_back = true;
    enum resume_need need = resume_read_source(resume, STEP_PAIR, from);
    resume->ask_to =
        resume->options.before_span; /* records beyond the number that the target has */
    return need;
}

/* Does it help to know what stands before the checkpoint? By content, records that stand there again. Else a record that
 * does not follow was written by a worker that read the source before compaction emptied the offsets that the checkpoint
 * has passed over since. */
static bool helped_by_before(const struct resume *resume, enum pairing_verdict verdict)
{
    if (resume->options.by_content) {
        return verdict == PAIRING_STRANGER || verdict == PAIRING_ORDER || verdict == PAIRING_HOLE;
    }
    return resume_passed_over(&resume->runs_from) &&
           (verdict == PAIRING_STRANGER || (verdict == PAIRING_NEED_MORE && resume->ask_records));
}

enum resume_need resume_pair_end(struct resume *resume, int64_t next, bool at_end)
{
    struct pairing pairing;
    enum resume_need need;
    if (resume->options.by_content) {
        pairing_run_repeats(&pairing, &resume->target_units, &resume->source_units,
                            resume->runs_from.source_next, resume->looked_back, resume->any_filter,
                            at_end, resume->runs_from.leader_epoch);
    } else {
        pairing_run(&pairing, &resume->target_units, &resume->source_units,
                    resume->runs_from.source_next, !resume->ask_records, resume->any_filter, at_end,
                    resume->runs_from.leader_epoch);
    }
    if (!resume->looked_back && helped_by_before(resume, pairing.verdict)) {
        pairing_done(&pairing);
        return look_back(resume);
    }
    switch (pairing.verdict) {
    case PAIRING_DONE:
        need = paired(resume, &pairing);
        break;
    case PAIRING_NEED_RECORDS:
        resume->ask_records = true;
        need = resume_read_target(resume, STEP_FORWARD, resume->runs_from.target_next,
                                  resume->target.end);
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

/* --- step 7: by count --------------------------------------------------------------------------------------------- */

enum resume_need resume_count_end(struct resume *resume)
{
    const struct checkpoint *from = &resume->runs_from;
    int64_t left = resume->count_left;
    int64_t missing = 0;
    for (size_t i = 0; i < resume->source_units.count && left > 0; i++) {
        const struct pair_unit unit = resume->source_units.units[i];
        if (unit.first < from->source_next) {
            missing = unit.missing;
            continue;
        }
        left -= unit.count;
        if (unit.missing > missing || unit.next - unit.first != unit.count ||
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
            return resume_finish(resume, at.source_next, at.target_next, at.sequence_next,
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
    return resume_faulted(resume, FAULT_TAIL_GONE);
}
