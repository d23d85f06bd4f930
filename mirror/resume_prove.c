/* Part of resume (resume_inside.h): are these still the logs that the checkpoint speaks of?
 *
 * A topic without an id of Kafka's (kafka/topic_id.h) can be deleted and created again unseen, and one that has got its id
 * since may be another. Leader epochs begin at 0 in each; a log that is shorter is noticed as truncated. What is left are
 * the records: one of those right before the checkpoint at the source must stand near its place on the target. Where
 * either side holds none there any more (retention, transactions that were aborted) nothing can be said, and we go on.
 */
#include "kafka/topic_id.h"
#include "mirror/resume_inside.h"

/* Offsets before the place. Of the target more: others' records, repeats and compaction move what we look for. */
#define SOURCE_SPAN 256
#define TARGET_SPAN 1024

bool resume_must_prove(const struct resume *resume)
{
    return resume->has_checkpoint && !resume->proven && !resume->options.resync &&
           (resume->ids_changed || topic_id_is_of_name(&resume->options.source_topic_id) ||
            topic_id_is_of_name(&resume->options.target_topic_id));
}

static enum resume_need go_on(struct resume *resume)
{
    resume->proven = true;
    resume->ask_records = resume_by_record(resume);
    return resume_decide_target(resume);
}

/* Behind which source offset both logs must agree: the checkpoint, or where the source was truncated below it. */
static int64_t place_of(const struct resume *resume)
{
    return resume->truncation_new_generation ? resume->event.truncated_from
                                             : resume->runs_from.source_next;
}

enum resume_need resume_prove(struct resume *resume)
{
    const struct checkpoint *at = &resume->runs_from;
    int64_t near = at->target_next - (at->source_next - place_of(resume));
    int64_t from = near - TARGET_SPAN;
    int64_t to = near + TARGET_SPAN;
    from = from < resume->target.log_start ? resume->target.log_start : from;
    to = to > resume->target.end ? resume->target.end : to;
    if (from >= to) {
        return go_on(resume);
    }
    resume->ask_records = true;
    return resume_read_target(resume, STEP_PROVE_TARGET, from, to);
}

enum resume_need resume_prove_target_end(struct resume *resume)
{
    int64_t place = place_of(resume);
    int64_t from = place - SOURCE_SPAN;
    from = from < resume->source.log_start ? resume->source.log_start : from;
    if (resume->target_units.count == 0 || from >= place) {
        return go_on(resume);
    }
    return resume_read_source(resume, STEP_PROVE_SOURCE, from);
}

bool resume_prove_enough(const struct resume *resume)
{
    return resume->source_expected >= place_of(resume);
}

static bool stands_on_target(const struct resume *resume, const struct pair_unit *unit)
{
    for (size_t i = 0; i < resume->target_units.count; i++) {
        if (resume->target_units.units[i].name == unit->name) {
            return true;
        }
    }
    return false;
}

static enum resume_need other_logs(struct resume *resume)
{
    const struct checkpoint *at = &resume->runs_from;
    bool source = topic_id_is_of_name(&resume->options.source_topic_id) ||
                  !topic_id_is_of_name(&resume->options.target_topic_id);
    resume->fault_source_to = at->source_next;
    resume->fault_target_to = at->target_next;
    err_set(&resume->err, ERR_REFUSED,
            "none of the records before source offset %lld stands before target offset %lld: the "
            "%s topic was deleted and created again, says its content",
            (long long)place_of(resume), (long long)at->target_next, source ? "source" : "target");
    err_hint(&resume->err,
             "offsets of the old topic mean nothing in the new one; see docs/faults.md#%s",
             source ? "source-recreated" : "target-recreated");
    return resume_faulted(resume, source ? FAULT_SOURCE_RECREATED : FAULT_TARGET_RECREATED);
}

enum resume_need resume_prove_source_end(struct resume *resume)
{
    int64_t place = place_of(resume);
    bool any = false;
    for (size_t i = resume->source_units.count; i > 0; i--) {
        const struct pair_unit *unit = &resume->source_units.units[i - 1];
        if (unit->first >= place) {
            continue;
        }
        any = true;
        if (stands_on_target(resume, unit)) {
            return go_on(resume);
        }
    }
    return any ? other_logs(resume) : go_on(resume);
}
