#include <assert.h>

#include "mirror/resume_inside.h"
#include "mirror/sequence.h"

#define BACK_SPAN_FIRST 1000 /* offsets; grows fourfold */
#define BACK_BYTES_ENOUGH \
    (16                   \
     << 20) /* then fewer than RESUME_TAIL_UNITS will do: 64 batches of the usual 256 KiB at most */

/* --- the newest batches of ours ----------------------------------------------------------------------------------- */

bool resume_same_stream(const struct resume *resume)
{
    return resume->has_checkpoint && resume->generation == resume->runs_from.generation;
}

enum resume_need resume_read_back(struct resume *resume)
{
    resume->back_span = BACK_SPAN_FIRST;
    int64_t from = resume->target.end - resume->back_span;
    from = from < resume->target.log_start ? resume->target.log_start : from;
    return resume_read_target(resume, STEP_BACK, from, resume->target.end);
}

static enum resume_need none_of_ours(struct resume *resume)
{
    const struct checkpoint *from = &resume->runs_from;
    bool whole_log = resume->target.log_start == 0;
    /* Nothing was removed, so what the broker's state speaks of is above the end. */
    if (whole_log && resume_highest_generation(resume) >= resume->generation) {
        return resume_not_replicated(resume, resume->target.end + 1);
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
        return resume_faulted(resume, FAULT_NOT_EMPTY);
    }
    err_set(&resume->err, ERR_REFUSED,
            "%s, and no batch of ours is left in target offsets %lld..%lld to find the place by",
            resume->has_checkpoint ? "the target was truncated below the checkpoint"
                                   : "there is no checkpoint",
            (long long)resume->target.log_start, (long long)resume->target.end - 1);
    err_hint(&resume->err, "see docs/faults.md#no-checkpoint");
    return resume_faulted(resume, FAULT_NO_CHECKPOINT);
}

static const struct pair_unit *tail_last(const struct resume *resume)
{
    return &resume->target_units.units[resume->target_units.count - 1];
}

/* Where the tail can begin at the source: a record never stands before its sequence number's place, holes only push it
 * up. */
static int64_t find_lowest(const struct resume *resume)
{
    if (resume->options.by_content && !resume_same_stream(resume)) {
        return 0;
    }
    int64_t lowest = resume->hint_source >= 0
                         ? resume->hint_source - tail_last(resume)->count
                         : resume->sequence_end - resume->target_units.records_count;
    return lowest < 0 ? 0 : lowest;
}

static enum resume_need find_in_source(struct resume *resume)
{
    int64_t lowest = find_lowest(resume);
    enum resume_need need = resume_read_source(resume, STEP_FIND, lowest);
    return lowest > resume->source.stable_end ? resume_find_end(resume) : need;
}

/* The broker's last sequence lies before the checkpoint, but batches of ours stand behind it: the log was cut, others
 * wrote into the gap, and ours went on behind them. Where the cut was nobody knows. */
static enum resume_need contradicted(struct resume *resume)
{
    const struct checkpoint *from = &resume->runs_from;
    resume->fault_target_from = from->target_next;
    resume->fault_target_to = resume->ours_end;
    if (resume->options.by_content) {
        err_set(&resume->err, ERR_REFUSED,
                "the target's log was cut at offset %lld or before it, and filled again behind the "
                "checkpoint at target offset %lld",
                (long long)resume->options.fell_to, (long long)from->target_next);
    } else {
        err_set(&resume->err, ERR_REFUSED,
                "the target's last batch of ours, before target offset %lld, has a lower sequence "
                "than the checkpoint at target offset %lld",
                (long long)resume->ours_end, (long long)from->target_next);
    }
    err_hint(&resume->err, "see docs/faults.md#sequence");
    return resume_faulted(resume, FAULT_SEQUENCE);
}

enum resume_need resume_back_end(struct resume *resume)
{
    size_t units = resume->target_units.count;
    if (resume->ask_from > resume->target.log_start &&
        (units == 0 || (units < RESUME_TAIL_UNITS && resume->read_bytes < BACK_BYTES_ENOUGH))) {
        resume->back_span *= 4;
        int64_t from = resume->target.end - resume->back_span;
        from = from < resume->target.log_start ? resume->target.log_start : from;
        return resume_read_target(resume, STEP_BACK, from, resume->target.end);
    }
    if (units == 0) {
        return none_of_ours(resume);
    }
    if (resume_highest_generation(resume) >
        resume->generation) { /* its first batch: not replicated yet */
        return resume_not_replicated(resume, resume->target.end + 1);
    }
    int64_t broker_end = resume_broker_end(resume, resume->generation, resume->sequence_end);
    if (broker_end >= 0 && sequence_wire(broker_end) != sequence_wire(resume->sequence_end)) {
        return resume_not_replicated(resume, resume->ours_end + broker_end - resume->sequence_end);
    }
    if (resume_same_stream(resume)) {
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
    if (!resume_same_stream(resume)) {
        return resume->options.by_content ||
               sequence_widen_below(sequence_wire(resume->sequence_end), unit->next) >= 0;
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
    resume->ask_records = resume_by_record(resume);
    resume->has_checkpoint = true;
    resume->generation =
        -1; /* any generation is newer: rebase() takes the highest one's first batch */
    resume->runs_from = (struct checkpoint){.source_topic_id = resume->options.source_topic_id,
                                            .target_topic_id = resume->options.target_topic_id,
                                            .generation = -1,
                                            .leader_epoch = -1};
    return resume_read_target(resume, STEP_FORWARD, 0, resume->target.end);
}

static enum resume_need found_place(struct resume *resume, int64_t source_next,
                                    int32_t leader_epoch)
{
    const struct checkpoint *from = &resume->runs_from;
    if (!resume_same_stream(resume)) {
        resume->sequence_end =
            resume->options.by_content
                ? source_next
                : sequence_widen_below(sequence_wire(resume->sequence_end), source_next);
    }
    resume->at = (struct checkpoint){.source_topic_id = resume->options.source_topic_id,
                                     .target_topic_id = resume->options.target_topic_id,
                                     .generation = resume->generation,
                                     .source_next = source_next,
                                     .target_next = resume->ours_end,
                                     .sequence_next = resume->sequence_end,
                                     .leader_epoch = leader_epoch};
    resume_count_foreign(resume, resume->ours_end, resume->target.end);
    if (resume_same_stream(resume)) {
        resume->event.target_truncated = true;
        resume->event.target_cut_from = resume->ours_end;
        resume->event.target_cut_to = from->target_next;
        resume->step = STEP_CUT;
        return NEED_CUT;
    }
    resume->runs_from = resume->at;
    return resume_finish(resume, source_next, resume->target.end, resume->sequence_end,
                         leader_epoch);
}

enum resume_need resume_find_end(struct resume *resume)
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
        return resume_read_back(resume);
    }
    if (resume->hint_source < 0 && !resume_same_stream(resume) && resume->target.log_start == 0 &&
        !resume->from_first && !resume->options.by_content) {
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
    return resume_faulted(resume, FAULT_NO_CHECKPOINT);
}

/* --- the target was cut there ------------------------------------------------------------------------------------- */

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
        return resume_raise_generation(resume, below ? resume->at.leader_epoch : resume->ask_epoch);
    }
    return resume_finish(resume, resume->at.source_next, resume->target.end,
                         resume->at.sequence_next, resume->at.leader_epoch);
}
