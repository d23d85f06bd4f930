#include <string.h>

#include "mirror/resume_inside.h"
#include "mirror/sequence.h"

/* --- a stretch begins --------------------------------------------------------------------------------------------- */

enum resume_need resume_read_target(struct resume *resume, enum resume_step step, int64_t from,
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

enum resume_need resume_read_source(struct resume *resume, enum resume_step step, int64_t from)
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

/* --- its bounds --------------------------------------------------------------------------------------------------- */

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

void resume_count_foreign(struct resume *resume, int64_t from, int64_t to)
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

/* --- its batches -------------------------------------------------------------------------------------------------- */

/* What the source's records of this stretch have to pass. */
static const struct config_filter *filter_of(const struct resume *resume)
{
    return resume->any_filter ? NULL : resume->options.filter;
}

/* @param from    records below do not belong to the stretch; a batch that begins before it is taken record by record.
 *                (Looking for a tail there is no position, only the lowest place: whole batches are what it is found by.)
 * @param filter  of the source; on the target everything passed it */
static bool add_unit(struct resume *resume, struct pair_list *list, const struct batch *batch,
                     const char *side, int64_t from, const struct config_filter *filter)
{
    const struct pair_reading reading = {
        .max_bytes = PAIR_BATCH_BYTES_MAX, .from = from, .filter = filter};
    int64_t position = resume->runs_from.source_next;
    bool across = resume->step == STEP_COUNT && batch->base_offset < position &&
                  batch_next_offset(batch) > position;
    bool whole =
        batch->magic == 2 && !across && (resume->step == STEP_FIND || batch->base_offset >= from);
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

/* --- step 4: the target's batches --------------------------------------------------------------------------------- */

/* Reading forward from a checkpoint: batches of its generation are ours, a newer one restarts the stretch. */
static bool forward_batch(struct resume *resume, const struct batch *batch, bool ours,
                          int32_t generation)
{
    bool by_content =
        resume->options.by_content; /* known record by record: we stand where we like */
    bool across = batch->base_offset < resume->runs_from.target_next;
    resume->straddled = resume->straddled || (across && !by_content);
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
        resume_count_foreign(resume, batch->base_offset, batch_next_offset(batch));
        return true;
    }
    if (by_content) {
        resume->ours_end = batch_next_offset(batch);
        return add_unit(resume, &resume->target_units, batch, "target",
                        resume->runs_from.target_next, NULL);
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
    if (resume->options
            .by_content) { /* counted back from the checkpoint, as if all between were ours */
        const struct checkpoint *from = &resume->runs_from;
        int64_t counted = from->sequence_next - (from->target_next - resume->ours_end);
        resume->sequence_end = resume->has_checkpoint && counted > 0 ? counted : 0;
    }
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
        resume_count_foreign(resume, batch->base_offset, next);
        return true;
    }
    int32_t generation = resume->generation;
    bool ours = (resume->options.by_content ||
                 sequence_id_ours(resume->options.id_base, batch->producer_id, &generation)) &&
                !batch_is_control(batch);
    if (resume->step == STEP_PROVE_TARGET) {
        return batch_is_control(batch) ||
               add_unit(resume, &resume->target_units, batch, "target", batch->base_offset, NULL);
    }
    return resume->step == STEP_BACK ? back_batch(resume, batch, ours, generation)
                                     : forward_batch(resume, batch, ours, generation);
}

/* --- step 5: the source's batches --------------------------------------------------------------------------------- */

/* What stands far before the position is no reason to stop: what was read of it makes room for what stands nearer. (By
 * content it tells repeats from others' records.) */
static void forget_far_before(struct resume *resume, const struct batch *batch)
{
    bool before = resume->step == STEP_PAIR && batch->base_offset < resume->runs_from.source_next;
    if (before && !resume->options.by_content &&
        resume->read_bytes > resume->options.read_bytes / 2) {
        pair_list_clear(&resume->source_units);
        resume->read_bytes = 0;
    }
}

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
    forget_far_before(resume, batch);
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
