/* Inside of resume: what its parts share. Nobody else includes this.
 *
 *   resume          the order of the steps: checkpoints, the source's ends, the target's
 *   resume_prove    topics without ids: are these the logs that the checkpoint speaks of?
 *   resume_forward  from a checkpoint: what stands behind it at the target, paired with the source or counted
 *   resume_decide   what follows of the target's ends
 *   resume_back     without a checkpoint, or below it: the newest batches of ours, and where they stand in the source
 *   resume_read     a stretch of either log while it is read: its bounds, its batches
 *   resume_out      the ways out
 *
 * Each calls those below it alone.
 * A road ends where it begins: each of these calls gives the next need, and what it needs to know stands in struct resume.
 */
#ifndef FERRY_MIRROR_RESUME_INSIDE_H
#define FERRY_MIRROR_RESUME_INSIDE_H

#include "mirror/resume.h"

#define RESUME_WAIT_STEP_MS 100

/* --- resume_out --- */
/* Batches say nothing: records of the source do not all belong to the stream, or another than we made the batches. */
bool resume_by_record(const struct resume *resume);
/* Did the stream pass over offsets before this position? It began with its position as its sequence, so they are the same
 * until it does: of markers, of what a filter refuses, or of what compaction emptied. */
bool resume_passed_over(const struct checkpoint *at);
/* RESUME_FAULT; the text is in resume->err already. */
enum resume_need resume_faulted(struct resume *resume, enum resume_fault kind);
/* RESUME_WAIT: ask again in wait_ms. */
enum resume_need resume_wait_for(struct resume *resume, int32_t wait_ms);
/* The generation behind this one; -1 = none is left, which is the fault below. */
int32_t resume_generation_behind(const struct resume *resume, int32_t generation);
enum resume_need resume_generations_used(struct resume *resume);
/* RESUME_WAIT: what ends at expected_end does not lie below the target's high watermark yet. */
enum resume_need resume_not_replicated(struct resume *resume, int64_t expected_end);
/* RESUME_DONE with this position, or the fault that forbids to go on from it. */
enum resume_need resume_finish(struct resume *resume, int64_t source_next, int64_t target_next,
                               int64_t sequence_next, int32_t leader_epoch);
/* The source lost what stands behind `truncated_from`: the stream goes on there as another function.
 * @param leader_epoch  of the last batch before that place */
enum resume_need resume_raise_generation(struct resume *resume, int32_t leader_epoch);
/* The source was truncated below the position, and does not say where: a fault. */
enum resume_need resume_truncated_somewhere(struct resume *resume);
/* It was truncated at `place`; we mirrored up to `until`. Goes on with the target, or is a fault, by policy. */
enum resume_need resume_source_truncated(struct resume *resume, int64_t place, int64_t until);

/* Newest generation of ours that the target's leader has state of; -1 = none. */
int32_t resume_highest_generation(const struct resume *resume);
/* The broker's last sequence for a generation, widened near `near`; -1 = it holds no state. */
int64_t resume_broker_end(const struct resume *resume, int32_t generation, int64_t near);
/* --- resume_decide --- */
/* What follows of the target's ends and resume->runs_from. */
enum resume_need resume_decide_target(struct resume *resume);

/* --- resume_prove --- */
/* Is it to be shown that both logs are the checkpoint's? */
bool resume_must_prove(const struct resume *resume);
/* Read what stands before the checkpoint's place, on the target, then at the source; then decide, or a fault. */
enum resume_need resume_prove(struct resume *resume);
enum resume_need resume_prove_target_end(struct resume *resume);
bool resume_prove_enough(const struct resume *resume);
enum resume_need resume_prove_source_end(struct resume *resume);

/* --- resume_read --- */
/* Read [from, to) of the target for `step`: what was read of it before is forgotten. */
enum resume_need resume_read_target(struct resume *resume, enum resume_step step, int64_t from,
                                    int64_t to);
/* Likewise the source, up to its end or resume_source_enough(). */
enum resume_need resume_read_source(struct resume *resume, enum resume_step step, int64_t from);
/* Target offsets [from, to) are not ours. Ascending. */
void resume_count_foreign(struct resume *resume, int64_t from, int64_t to);

/* --- resume_forward --- */
/* The target was read from the checkpoint to its end. */
enum resume_need resume_forward_end(struct resume *resume);
/* The source, too, as far as the target's records ask for. @param next  where reading stopped */
enum resume_need resume_pair_end(struct resume *resume, int64_t next, bool at_end);
/* The source, as many records as the sequence counts. */
enum resume_need resume_count_end(struct resume *resume);

/* --- resume_back --- */
/* Read the target from its end backwards, until enough batches of ours are found. */
enum resume_need resume_read_back(struct resume *resume);
/* So far it was read: more of it, or the source where the tail can stand. */
enum resume_need resume_back_end(struct resume *resume);
/* The source was read there: the one place, another road, or a fault. */
enum resume_need resume_find_end(struct resume *resume);
/* Are the batches found of the checkpoint's stream? Then its sequence tells more. */
bool resume_same_stream(const struct resume *resume);

#endif
