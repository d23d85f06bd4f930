/* mirror/resume: every way to begin, every doubt, every fault with its range. Both logs are models; what the sim finds by
 * chance stands here by name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/batch_build.h"
#include "kafka/topic_id.h"
#include "mirror/resume.h"
#include "mirror/sequence.h"
#include "mirror/transfer.h"
#include "tests/fake/model_source.h"
#include "tests/fake/model_target.h"

#define ID_BASE ((int64_t)0x4659 << 47 | (int64_t)5 << 15)

struct bench {
    struct model_source source;
    struct model_target target;
    struct resume_options options;
    enum resume_found redis_found;
    struct checkpoint redis;
    enum resume_found group_found;
    struct checkpoint group;
    bool has_floor;
    struct offset_run floor;
    int64_t waited_ms; /* in the last run */
    void (*on_wait)(struct bench *bench);
    struct resume resume;
    bool ran;
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    model_source_init(&bench->source);
    model_target_init(&bench->target, ID_BASE);
    bench->options = (struct resume_options){.id_base = ID_BASE,
                                             .start = START_EARLIEST,
                                             .on_truncation = POLICY_CONTINUE,
                                             .on_foreign_write = POLICY_CONTINUE,
                                             .adopt_end = -1,
                                             .fell_to = -1,
                                             .read_bytes = 1 << 20};
    memset(&bench->options.source_topic_id, 1, sizeof(struct uuid));
    memset(&bench->options.target_topic_id, 2, sizeof(struct uuid));
    bench->redis_found = bench->group_found = CHECKPOINT_NONE;
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    if (bench->ran) {
        resume_done(&bench->resume);
    }
    model_source_done(&bench->source);
    model_target_done(&bench->target);
    free(bench);
    return 0;
}

/* --- the driver --------------------------------------------------------------------------------------------------- */

static enum resume_need read_target(struct bench *bench)
{
    struct resume *resume = &bench->resume;
    for (int32_t i = 0; i < bench->target.count; i++) {
        const struct model_entry *entry = &bench->target.entries[i];
        struct batch batch;
        struct err err;
        if (entry->removed || entry->next > bench->target.watermark) {
            continue;
        }
        assert_int_equal(batch_walk(entry->data, entry->len, &batch, &err), BATCH_WALK_ONE);
        if (!resume_target_batch(resume, &batch)) {
            break;
        }
    }
    return resume_target_end(resume);
}

static enum resume_need read_source(struct bench *bench)
{
    struct resume *resume = &bench->resume;
    const struct transfer_limits limits = {.max_message_bytes = INT64_MAX,
                                           .max_timestamp = INT64_MAX};
    struct fetch_partition fetched;
    struct transfer_filter filter;
    struct buf *block;
    struct batch batch;
    struct err err;
    bool go_on = true;
    assert_true(model_source_fetch(&bench->source, resume->ask_from, 1000, &fetched, &block));
    transfer_filter_init(&filter, &fetched);
    const uint8_t *data = fetched.records;
    size_t left = fetched.records_len;
    while (go_on && batch_walk(data, left, &batch, &err) == BATCH_WALK_ONE) {
        enum transfer_what what;
        enum batch_verdict verdict;
        assert_true(
            transfer_decide(&filter, &batch, resume->ask_from, &limits, &what, &verdict, &err));
        go_on =
            what == TRANSFER_BEFORE || resume_source_batch(resume, &batch, what != TRANSFER_SKIP);
        data += batch.len;
        left -= batch.len;
    }
    transfer_filter_done(&filter);
    free(fetched.aborted);
    buf_unref(block);
    return resume_source_end(resume, fetched.last_stable_offset, true);
}

static enum resume_need give_source(struct bench *bench)
{
    struct resume_source source = {.log_start = bench->source.log_start,
                                   .stable_end = model_source_stable_end(&bench->source)};
    source.epoch_known = bench->resume.ask_epoch >= 0;
    if (source.epoch_known) {
        model_source_epoch_end(&bench->source, bench->resume.ask_epoch, &source.epoch,
                               &source.epoch_end);
    }
    return resume_give_source(&bench->resume, &source);
}

static enum resume_need answer(struct bench *bench, enum resume_need need)
{
    struct resume *resume = &bench->resume;
    struct resume_target target;
    struct err garbage = {0};
    switch (need) {
    case NEED_CHECKPOINTS:
        err_set(&garbage, ERR_REFUSED, "key x is garbage");
        return resume_give_checkpoints(resume, bench->redis_found, &bench->redis,
                                       bench->group_found, &bench->group, &garbage);
    case NEED_SOURCE:
        return give_source(bench);
    case NEED_TARGET:
        model_target_describe(&bench->target, &target);
        if (bench->options.by_content) { /* nobody is asked for them */
            target.ids_count = 0;
        }
        return resume_give_target(resume, &target);
    case NEED_READ_TARGET:
        return read_target(bench);
    case NEED_READ_SOURCE:
        return read_source(bench);
    case NEED_FLOOR:
        return resume_give_floor(resume, bench->has_floor, bench->floor);
    case NEED_CUT:
        return resume_give_cut(resume);
    case RESUME_WAIT:
        bench->waited_ms += resume->ask_wait_ms;
        if (bench->on_wait != NULL) {
            bench->on_wait(bench);
        }
        return resume_again(resume, resume->ask_wait_ms);
    case RESUME_DONE:
    case RESUME_FAULT:
    case RESUME_BROKEN:
        break;
    }
    fail();
    return need;
}

/* Until it ends; RESUME_WAIT = stalled. */
static enum resume_need run(struct bench *bench)
{
    if (bench->ran) {
        resume_done(&bench->resume);
    }
    bench->ran = true;
    bench->waited_ms = 0;
    resume_init(&bench->resume, &bench->options);
    enum resume_need need = resume_start(&bench->resume);
    for (int steps = 0; need != RESUME_DONE && need != RESUME_FAULT && need != RESUME_BROKEN;
         steps++) {
        assert_true(steps < 5000);
        if (need == RESUME_WAIT && bench->resume.stalled) {
            return RESUME_WAIT;
        }
        need = answer(bench, need);
    }
    return need;
}

static void runs_into(struct bench *bench, enum resume_fault fault)
{
    enum resume_need need = run(bench);
    if (need != RESUME_FAULT || bench->resume.fault != fault) {
        fail_msg("need %d, fault %s instead of %s: %s", (int)need,
                 resume_fault_name(bench->resume.fault), resume_fault_name(fault),
                 bench->resume.err.what);
    }
    assert_true(strlen(bench->resume.err.what) > 0);
    assert_true(strlen(bench->resume.err.hint) > 0 || fault == FAULT_GARBAGE);
}

static void stands_at(struct bench *bench, int64_t source_next, int64_t target_next,
                      int64_t sequence_next, int32_t generation)
{
    enum resume_need need = run(bench);
    if (need != RESUME_DONE) {
        fail_msg("need %d, fault %s: %s", (int)need, resume_fault_name(bench->resume.fault),
                 bench->resume.err.what);
    }
    assert_int_equal(bench->resume.at.source_next, source_next);
    assert_int_equal(bench->resume.at.target_next, target_next);
    assert_int_equal(bench->resume.at.sequence_next, sequence_next);
    assert_int_equal(bench->resume.at.generation, generation);
}

/* --- the world ---------------------------------------------------------------------------------------------------- */

/* Source batches of `count` records each. */
static void grow(struct bench *bench, int32_t batches, int32_t count)
{
    for (int32_t i = 0; i < batches; i++) {
        model_source_append(&bench->source, count, -1, false);
    }
}

/* A worker copied the source batch at `offset`. */
static void copy_as(struct bench *bench, int64_t offset, int64_t sequence, int32_t generation)
{
    const struct model_batch *from = model_source_at(&bench->source, offset);
    struct batch batch;
    struct err err;
    int64_t at;
    assert_int_equal(batch_walk(from->data, from->len, &batch, &err), BATCH_WALK_ONE);
    uint8_t *bytes = malloc(from->len);
    memcpy(bytes, from->data, from->len);
    batch_patch_header(&batch, sequence_id(ID_BASE, generation), sequence_wire(sequence), bytes);
    const struct model_record records[MODEL_RECORDS_MAX] = {{0}};
    assert_int_equal(
        model_target_append(&bench->target, bytes, from->len, from->base, from->next, records, &at),
        0);
    free(bytes);
    bench->target.watermark = bench->target.end;
}

struct picked {
    struct batch_build build;
    const int64_t *offsets;
    size_t count;
};
static bool pick_record(void *arg, const struct record *record)
{
    struct picked *picked = arg;
    for (size_t i = 0; i < picked->count; i++) {
        if (picked->offsets[i] == record->offset) {
            batch_build_add(&picked->build, record);
        }
    }
    return true;
}

/* A worker made one batch of these source records. */
static void copy_records(struct bench *bench, const int64_t *offsets, size_t count,
                         int64_t sequence, int32_t generation)
{
    struct picked picked = {.offsets = offsets, .count = count};
    struct model_record *records = calloc(count, sizeof(*records));
    struct writer bytes;
    struct batch batch;
    struct err err;
    int64_t at;
    assert_non_null(records);
    batch_build_init(&picked.build);
    for (int32_t i = 0; i < bench->source.count; i++) {
        const struct model_batch *from = &bench->source.batches[i];
        assert_int_equal(batch_walk(from->data, from->len, &batch, &err), BATCH_WALK_ONE);
        assert_true(batch_each_record(&batch, 1 << 20, pick_record, &picked, &err));
    }
    assert_int_equal(picked.build.count, count);
    writer_init(&bytes);
    assert_true(batch_build_write(&picked.build, CODEC_NONE, 0, &bytes, &err));
    assert_int_equal(batch_walk(bytes.data, bytes.len, &batch, &err), BATCH_WALK_ONE);
    uint8_t header[BATCH_HEADER_BYTES];
    batch_patch_header(&batch, sequence_id(ID_BASE, generation), sequence_wire(sequence), header);
    memcpy(bytes.data, header, sizeof(header));
    assert_int_equal(model_target_append(&bench->target, bytes.data, bytes.len, offsets[0],
                                         offsets[count - 1] + 1, records, &at),
                     0);
    writer_done(&bytes);
    batch_build_done(&picked.build);
    free(records);
    bench->target.watermark = bench->target.end;
}

static void copy(struct bench *bench, int64_t offset)
{
    copy_as(bench, offset, offset, 0);
}

static struct checkpoint checkpoint(const struct bench *bench, int64_t source_next,
                                    int64_t target_next, int64_t sequence_next, int32_t epoch)
{
    return (struct checkpoint){.source_topic_id = bench->options.source_topic_id,
                               .target_topic_id = bench->options.target_topic_id,
                               .source_next = source_next,
                               .target_next = target_next,
                               .sequence_next = sequence_next,
                               .leader_epoch = epoch};
}

static void stored(struct bench *bench, int64_t source_next, int64_t target_next,
                   int64_t sequence_next, int32_t epoch)
{
    bench->redis_found = CHECKPOINT_FOUND;
    bench->redis = checkpoint(bench, source_next, target_next, sequence_next, epoch);
}

/* --- topics without ids: the logs say whether they are the checkpoint's ------------------------------------------- */

/* Five batches are there on both sides, and the checkpoint stands behind them. */
static void copied_by_name(struct bench *bench)
{
    bench->options.by_content = true;
    bench->options.before_span = 100;
    bench->options.source_topic_id = topic_id_of_name("lkc-1", "orders");
    grow(bench, 5, 4);
    for (int64_t at = 0; at < 20; at += 4) {
        copy(bench, at);
    }
    stored(bench, 20, 20, 20, 0);
}

/* Deleted and created again under the same name, with other records. */
static void make_source_anew(struct bench *bench, int32_t batches)
{
    model_source_done(&bench->source);
    model_source_init(&bench->source);
    bench->source.contents_count = 1000;
    grow(bench, batches, 4);
}

static void without_ids_the_same_log_goes_on(void **state)
{
    struct bench *bench = *state;
    copied_by_name(bench);
    grow(bench, 1, 4);
    stands_at(bench, 20, 20, 20, 0);
    assert_true(bench->resume.proven);
    copy(bench, 20); /* and what stands behind the checkpoint is paired as ever */
    stands_at(bench, 24, 24, 24, 0);
}

static void without_ids_another_log_is_known_by_its_records(void **state)
{
    struct bench *bench = *state;
    copied_by_name(bench);
    make_source_anew(bench, 9); /* longer than before, same leader epoch */
    runs_into(bench, FAULT_SOURCE_RECREATED);
}

static void without_ids_another_log_that_is_shorter_is_no_truncation(void **state)
{
    struct bench *bench = *state;
    copied_by_name(bench);
    make_source_anew(bench, 3);
    runs_into(bench, FAULT_SOURCE_RECREATED); /* by policy, a truncated one goes on */
}

static void without_ids_a_truncated_log_is_one(void **state)
{
    struct bench *bench = *state;
    copied_by_name(bench);
    model_source_truncate(&bench->source, 12);
    grow(bench, 4, 4);
    stands_at(bench, 12, 20, 12, 1);
    assert_true(bench->resume.event.source_truncated);
}

static void a_topic_that_gets_its_id_is_the_same(void **state)
{
    struct bench *bench = *state;
    copied_by_name(bench);
    memset(&bench->options.source_topic_id, 1, sizeof(struct uuid)); /* an upgrade */
    grow(bench, 1, 4);
    stands_at(bench, 20, 20, 20, 0);
    assert_true(uuid_equal(&bench->resume.at.source_topic_id, &bench->options.source_topic_id));
    assert_true(topic_id_is_of_name(&bench->resume.stored.source_topic_id));
}

static void a_topic_that_was_made_again_with_an_id_is_not(void **state)
{
    struct bench *bench = *state;
    copied_by_name(bench);
    memset(&bench->options.source_topic_id, 1, sizeof(struct uuid));
    make_source_anew(bench, 9);
    runs_into(bench, FAULT_SOURCE_RECREATED);
}

static void a_target_without_ids_that_was_made_again(void **state)
{
    struct bench *bench = *state;
    copied_by_name(bench);
    memset(&bench->options.source_topic_id, 1, sizeof(struct uuid));
    bench->options.target_topic_id = topic_id_of_name("lkc-2", "orders");
    bench->redis = checkpoint(bench, 20, 20, 20, 0);
    stands_at(bench, 20, 20, 20, 0);
    struct model_source source = bench->source;
    model_target_done(&bench->target);
    model_target_init(&bench->target, ID_BASE);
    model_source_init(&bench->source);
    bench->source.contents_count = 1000;
    grow(bench, 5, 4);
    for (int64_t at = 0; at < 20; at += 4) {
        copy(bench, at); /* others filled it */
    }
    model_source_done(&bench->source);
    bench->source = source;
    runs_into(bench, FAULT_TARGET_RECREATED);
}

/* Nothing left before the checkpoint: nothing can be said, and nothing is. */
static void without_ids_and_records_before_it_goes_on(void **state)
{
    struct bench *bench = *state;
    copied_by_name(bench);
    grow(bench, 1, 4);
    bench->source.log_start = 20;
    stands_at(bench, 20, 20, 20, 0);
}

/* --- by content: no id says what is ours -------------------------------------------------------------------------- */

static void by_content_a_position_may_lie_inside_a_batch_of_the_target(void **state)
{
    struct bench *bench = *state;
    bench->options.by_content = true;
    bench->options.before_span = 100;
    grow(bench, 4, 4);
    for (int64_t at = 0; at < 16; at += 4) {
        copy(bench, at);
    }
    stored(bench, 6, 6, 6, -1);
    stands_at(bench, 16, 16, 16, 0);
    assert_int_equal(bench->resume.runs.runs_count, 1);
    assert_int_equal(bench->resume.runs.runs[0].source_first, 6);
    assert_int_equal(bench->resume.runs.runs[0].length, 10);
    assert_int_equal(bench->resume.event.repeated_count, 0);
    assert_false(bench->resume.event.unprotected);
}

static void by_content_repeats_of_before_the_checkpoint_are_known(void **state)
{
    struct bench *bench = *state;
    bench->options.by_content = true;
    bench->options.before_span = 100;
    grow(bench, 4, 4);
    copy(bench, 0);
    copy(bench, 4);
    copy(bench, 8);
    copy_as(bench, 4, 4, 5); /* a producer that was taken for dead */
    copy(bench, 12);
    stored(bench, 8, 8, 8, -1);
    stands_at(bench, 16, 20, 16, 0);
    assert_int_equal(bench->resume.event.repeated_count, 4);
    assert_int_equal(bench->resume.event.repeated_from, 12);
    assert_int_equal(bench->resume.event.repeated_to, 16);
    assert_int_equal(bench->resume.event.foreign_count, 0);
    assert_int_equal(bench->resume.runs.runs_count, 2);
    assert_int_equal(bench->resume.runs.runs[1].target_first, 16);
}

static void by_content_a_tail_that_is_late_is_waited_for(void **state)
{
    struct bench *bench = *state;
    bench->options.by_content = true;
    bench->options.before_span = 100;
    grow(bench, 4, 4);
    copy(bench, 0);
    copy(bench, 4);
    stored(bench, 16, 16, 16, -1);
    stands_at(bench, 8, 8, 8, 0); /* it was lost: sent again */
    assert_int_equal(bench->waited_ms, RESUME_WAIT_TRIES_MS);
    assert_true(bench->resume.event.target_truncated);
    assert_int_equal(bench->resume.event.target_cut_from, 8);
}

static void by_content_the_tail_is_found_without_a_checkpoint(void **state)
{
    struct bench *bench = *state;
    bench->options.by_content = true;
    bench->options.before_span = 100;
    grow(bench, 4, 4);
    copy(bench, 0);
    copy(bench, 4);
    copy(bench, 8);
    enum resume_need need = run(bench);
    assert_int_equal(need, RESUME_DONE);
    assert_int_equal(bench->resume.at.source_next, 12);
    assert_int_equal(bench->resume.at.target_next, 12);
}

/* A batch went before its place, and more behind it: the end is the checkpoint's again, what stands before it is not. */
static void by_content_a_log_that_was_filled_again_is_a_fault(void **state)
{
    struct bench *bench = *state;
    bench->options.by_content = true;
    bench->options.before_span = 100;
    grow(bench, 4, 4);
    copy(bench, 0);
    copy_as(bench, 8, 4, 0);
    stored(bench, 8, 8, 8, -1);
    bench->options.fell_to = 4;
    runs_into(bench, FAULT_SEQUENCE);
    assert_non_null(strstr(bench->resume.err.what, "cut at offset 4 or before it"));
    bench->options.fell_to = 8; /* behind the checkpoint: what was there since is read */
    stands_at(bench, 8, 8, 8, 0);
}

/* What was deleted at the source before the mirror began was never mirrored. */
static void by_content_others_records_at_the_beginning_are_others(void **state)
{
    struct bench *bench = *state;
    bench->options.by_content = true;
    bench->options.before_span = 100;
    grow(bench, 5, 4);
    model_source_delete_before(&bench->source, 8);
    model_target_foreign(&bench->target, 2, false);
    copy_as(bench, 8, 8, 0);
    stored(bench, 8, 0, 8, -1);
    stands_at(bench, 12, 6, 12, 0);
    assert_int_equal(bench->resume.event.foreign_count, 2);
    assert_int_equal(bench->resume.event.foreign_to, 2);
    assert_int_equal(bench->resume.event.gone_count, 0);
}

static void by_content_a_hole_is_a_fault(void **state)
{
    struct bench *bench = *state;
    bench->options.by_content = true;
    bench->options.before_span = 100;
    grow(bench, 4, 4);
    copy(bench, 0);
    copy_as(bench, 8, 4, 0);
    stored(bench, 0, 0, 0, -1);
    runs_into(bench, FAULT_HOLE);
    assert_int_equal(bench->resume.fault_source_from, 4);
    assert_int_equal(bench->resume.fault_source_to, 8);
}

/* --- step 1 ------------------------------------------------------------------------------------------------------- */

static void garbage_is_a_fault(void **state)
{
    struct bench *bench = *state;
    stored(bench, 0, 0, 0, -1);
    bench->group_found = CHECKPOINT_GARBAGE;
    runs_into(bench, FAULT_GARBAGE);
    assert_string_equal(bench->resume.err.what, "key x is garbage");
}

static void topics_created_again_are_faults(void **state)
{
    struct bench *bench = *state;
    stored(bench, 5, 5, 5, 0);
    bench->redis.source_topic_id.bytes[0]++;
    runs_into(bench, FAULT_SOURCE_RECREATED);
    stored(bench, 5, 5, 5, 0);
    bench->redis.target_topic_id.bytes[0]++;
    runs_into(bench, FAULT_TARGET_RECREATED);
    /* The other copy knows better. */
    grow(bench, 1, 3);
    copy(bench, 0);
    bench->group_found = CHECKPOINT_FOUND;
    bench->group = checkpoint(bench, 3, 3, 3, 0);
    stands_at(bench, 3, 3, 3, 0);
}

/* A raised generation may stand in the group's commit alone. */
static void the_group_must_answer(void **state)
{
    struct bench *bench = *state;
    grow(bench, 1, 3);
    stored(bench, 0, 0, 0, -1);
    bench->group_found = CHECKPOINT_AWAY;
    assert_int_equal(run(bench), RESUME_WAIT);
    assert_true(bench->waited_ms >= RESUME_WAIT_TRIES_MS);
}

static void redis_is_waited_for_only_when_nothing_else_says(void **state)
{
    struct bench *bench = *state;
    grow(bench, 1, 3);
    bench->redis_found = CHECKPOINT_AWAY;
    stands_at(bench, 0, 0, 0, 0);
    assert_true(bench->waited_ms > 0);
    bench->group_found = CHECKPOINT_FOUND;
    bench->group = checkpoint(bench, 0, 0, 0, -1);
    stands_at(bench, 0, 0, 0, 0);
    assert_int_equal(bench->waited_ms, 0);
}

static void source_truncated_below_the_checkpoint(void **state)
{
    struct bench *bench = *state;
    grow(bench, 3, 4);
    for (int64_t at = 0; at < 12; at += 4) {
        copy(bench, at);
    }
    model_source_truncate(&bench->source, 8);
    grow(bench, 2, 4);
    stored(bench, 12, 12, 12, 0);
    bench->options.on_truncation = POLICY_FAULT;
    runs_into(bench, FAULT_SOURCE_TRUNCATED);
    assert_int_equal(bench->resume.fault_source_from, 8);
    assert_int_equal(bench->resume.fault_source_to, 12);
    bench->options.on_truncation = POLICY_CONTINUE;
    stands_at(bench, 8, 12, 8, 1);
    assert_int_equal(bench->resume.at.leader_epoch,
                     0); /* below the place everything is of that epoch or older */
    assert_true(bench->resume.event.source_truncated);
    assert_int_equal(bench->resume.event.truncated_from, 8);
    assert_int_equal(bench->resume.event.truncated_to, 12);
}

/* An epoch that the leader does not know: where the logs part nobody can say. */
static void an_unknown_epoch_is_a_fault(void **state)
{
    struct bench *bench = *state;
    grow(bench, 2, 4);
    copy(bench, 0);
    copy(bench, 4);
    stored(bench, 8, 8, 8, 3);
    runs_into(bench, FAULT_SOURCE_TRUNCATED);
    assert_int_equal(bench->resume.fault_source_from, -1);
    assert_int_equal(bench->resume.fault_source_to, 8);
}

static void a_source_that_ends_early_is_waited_for_then_faulted(void **state)
{
    struct bench *bench = *state;
    grow(bench, 1, 4);
    stored(bench, 8, 8, 8, -1);
    runs_into(bench, FAULT_SOURCE_TRUNCATED);
    assert_true(bench->waited_ms >= RESUME_WAIT_TRIES_MS);
}

static void what_retention_took_is_a_gap(void **state)
{
    struct bench *bench = *state;
    grow(bench, 3, 4);
    copy(bench, 0);
    model_source_delete_before(&bench->source, 8);
    stored(bench, 4, 4, 4, 0);
    runs_into(bench, FAULT_GAP);
    assert_int_equal(bench->resume.fault_source_from, 4);
    assert_int_equal(bench->resume.fault_source_to, 8);
}

static void an_operator_leaves_out_what_is_gone(void **state)
{
    struct bench *bench = *state;
    grow(bench, 4, 4);
    copy(bench, 0);
    model_source_delete_before(&bench->source, 8);
    stored(bench, 4, 4, 4, 0);
    bench->options.accept_from = 4;
    bench->options.accept_to = 8;
    stands_at(bench, 8, 4, 8, 1);
    assert_int_equal(bench->resume.event.accepted_from, 4);
    assert_int_equal(bench->resume.event.accepted_to, 8);
    model_source_delete_before(&bench->source, 12); /* more is gone by now */
    stands_at(bench, 12, 4, 12, 1);
    bench->options.accept_from = 6; /* that was another fault */
    runs_into(bench, FAULT_GAP);
}

static void an_operator_leaves_out_a_batch_that_is_there(void **state)
{
    struct bench *bench = *state;
    grow(bench, 3, 4);
    copy(bench, 0);
    stored(bench, 4, 4, 4, 0);
    bench->options.accept_from = 4;
    bench->options.accept_to = 8;
    stands_at(bench, 8, 4, 8, 1);
    bench->options.accept_to = 4;
    stands_at(bench, 4, 4, 4, 0);
}

static void an_operator_has_all_of_it_mirrored_anew(void **state)
{
    struct bench *bench = *state;
    grow(bench, 3, 4);
    copy(bench, 0);
    copy(bench, 4);
    copy_as(bench, 8, 8, 3); /* a generation that no checkpoint knows of */
    stored(bench, 8, 8, 8, 0);
    bench->options.resync = true;
    bench->options.resync_from = -1;
    stands_at(bench, 0, 12, 0, 4);
    assert_true(bench->resume.event.began && bench->resume.event.resynced);
    bench->options.resync_from = 4;
    stands_at(bench, 4, 12, 4, 4);
    bench->options.resync_from = 1000; /* beyond the end */
    stands_at(bench, 12, 12, 12, 4);
    bench->redis_found = CHECKPOINT_NONE;
    stands_at(bench, 12, 12, 12, 4);
}

static void the_last_generation_is_a_fault(void **state)
{
    struct bench *bench = *state;
    grow(bench, 2, 4);
    copy(bench, 0);
    copy(bench, 4);
    model_source_truncate(&bench->source, 4);
    grow(bench, 2, 4);
    stored(bench, 8, 8, 8, 0);
    bench->redis.generation = GENERATION_MAX;
    bench->target.producers[0].known = false;
    runs_into(bench, FAULT_GENERATIONS);
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */

static void a_target_with_others_records_is_refused(void **state)
{
    struct bench *bench = *state;
    grow(bench, 2, 4);
    model_target_foreign(&bench->target, 3, false);
    bench->target.watermark = bench->target.end;
    runs_into(bench, FAULT_NOT_EMPTY);
    bench->options.adopt_end = 2; /* another number than was adopted */
    runs_into(bench, FAULT_NOT_EMPTY);
    bench->options.adopt_end = 3;
    stands_at(bench, 0, 3, 0, 0);
    assert_true(bench->resume.event.began);
}

static void an_emptied_target_is_no_beginning(void **state)
{
    struct bench *bench = *state;
    grow(bench, 2, 4);
    copy(bench, 0);
    model_target_delete_before(&bench->target, 4);
    model_target_forget_producers(&bench->target);
    runs_into(bench, FAULT_NO_CHECKPOINT);
}

static void our_id_on_an_empty_target_is_waited_for(void **state)
{
    struct bench *bench = *state;
    grow(bench, 2, 4);
    copy(bench, 0);
    bench->target.watermark = 0;
    assert_int_equal(run(bench), RESUME_WAIT);
    assert_true(strstr(bench->resume.err.what, "not replicated") != NULL);
    bench->target.watermark = 4;
    stands_at(bench, 4, 4, 4, 0);
    assert_false(bench->resume.event.began);
}

static void begins_where_it_is_told(void **state)
{
    struct bench *bench = *state;
    grow(bench, 3, 4);
    model_source_delete_before(&bench->source, 4);
    stands_at(bench, 4, 0, 4, 0);
    bench->options.start = START_LATEST;
    stands_at(bench, 12, 0, 12, 0);
}

/* --- steps 2 and 3 ------------------------------------------------------------------------------------------------ */

static void nothing_newer_goes_on(void **state)
{
    struct bench *bench = *state;
    grow(bench, 2, 4);
    copy(bench, 0);
    stored(bench, 4, 4, 4, 0);
    stands_at(bench, 4, 4, 4, 0);
    assert_false(bench->resume.event.unprotected);
    model_target_forget_producers(&bench->target);
    stands_at(bench, 4, 4, 4, 0);
    assert_true(bench->resume.event.unprotected);
}

static void an_unreplicated_tail_is_waited_for(void **state)
{
    struct bench *bench = *state;
    grow(bench, 2, 4);
    copy(bench, 0);
    copy(bench, 4);
    bench->target.watermark = 4;
    stored(bench, 4, 4, 4, 0);
    assert_int_equal(run(bench), RESUME_WAIT);
    assert_true(strstr(bench->resume.err.what, "up to target offset 8") != NULL);
}

/* The broker forgets by the records' time, replicated or not. */
static void forget(struct bench *bench)
{
    model_target_forget_producers(&bench->target);
    if (bench->waited_ms > 2000) {
        bench->target.watermark = bench->target.end;
    }
}

static void what_the_broker_said_before_it_forgot_counts(void **state)
{
    struct bench *bench = *state;
    grow(bench, 2, 4);
    copy(bench, 0);
    copy(bench, 4);
    bench->target.watermark = 4;
    stored(bench, 4, 4, 4, 0);
    bench->on_wait = forget;
    stands_at(bench, 8, 8, 8, 0);
    assert_true(bench->waited_ms > 2000);
}

/* --- steps 4 to 6 ------------------------------------------------------------------------------------------------- */

static void a_hole_faults_with_its_range(void **state)
{
    struct bench *bench = *state;
    grow(bench, 4, 4);
    copy_as(bench, 0, 0, 0);
    copy_as(bench, 8, 4, 0);
    copy_as(bench, 12, 8, 0);
    stored(bench, 0, 0, 0, -1);
    runs_into(bench, FAULT_HOLE);
    assert_int_equal(bench->resume.fault_source_from, 4);
    assert_int_equal(bench->resume.fault_source_to, 8);
    assert_int_equal(bench->resume.fault_target_from, 4);
}

static void another_order_faults(void **state)
{
    struct bench *bench = *state;
    grow(bench, 3, 4);
    copy_as(bench, 0, 0, 0);
    copy_as(bench, 8, 4, 0);
    copy_as(bench, 4, 8, 0);
    stored(bench, 0, 0, 0, -1);
    runs_into(bench, FAULT_ORDER);
    assert_int_equal(bench->resume.fault_target_from, 4);
}

/* Equal bounds, other bytes: somebody took our sequences. */
static void a_stranger_faults(void **state)
{
    struct bench *bench = *state;
    grow(bench, 2, 4);
    copy(bench, 0);
    copy(bench, 4);
    model_source_forget(&bench->source, 1);
    grow(bench, 1, 4); /* what the source holds there is something else */
    stored(bench, 4, 4, 4, 0);
    runs_into(bench, FAULT_STRANGER);
    assert_int_equal(bench->resume.fault_target_from, 4);
}

static void a_batch_twice_faults(void **state)
{
    struct bench *bench = *state;
    grow(bench, 2, 4);
    copy(bench, 0);
    model_target_forget_producers(&bench->target);
    copy(bench, 0);
    stored(bench, 0, 0, 0, -1);
    runs_into(bench, FAULT_STRANGER);
    assert_int_equal(bench->resume.fault_target_from, 4);
}

static void others_between_ours_fault_by_policy(void **state)
{
    struct bench *bench = *state;
    grow(bench, 3, 4);
    copy(bench, 0);
    model_target_foreign(&bench->target, 3, false);
    model_target_foreign(&bench->target, 1, true); /* and the marker of a transaction */
    copy(bench, 4);
    stored(bench, 0, 0, 0, -1);
    bench->options.on_foreign_write = POLICY_FAULT;
    runs_into(bench, FAULT_FOREIGN_WRITE);
    assert_int_equal(bench->resume.fault_target_from, 4);
    assert_int_equal(bench->resume.fault_target_to, 8);
    bench->options.foreign_seen_end = 7;
    runs_into(bench, FAULT_FOREIGN_WRITE);
    bench->options.foreign_seen_end = 8;
    stands_at(bench, 8, 12, 8, 0);
    bench->options.foreign_seen_end = 0;
    bench->options.on_foreign_write = POLICY_CONTINUE;
    stands_at(bench, 8, 12, 8, 0);
    assert_int_equal(bench->resume.event.foreign_count, 4);
    assert_int_equal(bench->resume.runs.runs_count, 2);
    assert_int_equal(bench->resume.runs.runs[1].source_first, 4);
    assert_int_equal(bench->resume.runs.runs[1].target_first, 8);
}

static void too_much_to_read_faults(void **state)
{
    struct bench *bench = *state;
    grow(bench, 20, 4);
    for (int64_t at = 0; at < 80; at += 4) {
        copy(bench, at);
    }
    stored(bench, 0, 0, 0, -1);
    bench->options.read_bytes = 500;
    runs_into(bench, FAULT_TOO_DEEP);
    assert_true(strstr(bench->resume.err.hint, "--depth") != NULL);
}

/* The target holds what the source has, but the numbers on it are not what we would have sent. */
static void sequences_that_jump_fault(void **state)
{
    struct bench *bench = *state;
    grow(bench, 2, 4);
    copy(bench, 0);
    model_target_forget_producers(&bench->target);
    copy_as(bench, 4, 100, 0);
    stored(bench, 0, 0, 0, -1);
    runs_into(bench, FAULT_SEQUENCE);
}

/* Compaction of the target may have taken what the position is proven by. */
static void a_compacted_end_of_the_target_faults(void **state)
{
    struct bench *bench = *state;
    grow(bench, 4, 4);
    for (int64_t at = 0; at < 12; at += 4) {
        copy(bench, at);
    }
    stored(bench, 0, 0, 0, -1);
    model_target_compact(&bench->target, 2, true);
    runs_into(bench, FAULT_TAIL_GONE);
}

static void what_compaction_removed_at_the_target_is_allowed(void **state)
{
    struct bench *bench = *state;
    grow(bench, 5, 4);
    for (int64_t at = 0; at < 16; at += 4) {
        copy(bench, at);
    }
    stored(bench, 0, 0, 0, -1);
    model_target_compact(&bench->target, 1, false);
    model_target_compact(&bench->target, 2, true);
    stands_at(bench, 16, 16, 16, 0);
    assert_int_equal(bench->resume.runs.runs_count, 2);
    assert_int_equal(bench->resume.runs.runs[1].source_first, 12);
}

/* Bytes are within the bound, what a record takes in memory is not. */
static void records_count_against_the_bound(void **state)
{
    struct bench *bench = *state;
    grow(bench, 20, 4);
    for (int64_t at = 0; at < 80; at += 4) {
        copy(bench, at);
    }
    model_source_compact(&bench->source, 2, false, false, 1);
    stored(bench, 0, 0, 0, -1);
    bench->options.read_bytes = 20 * 120;
    runs_into(bench, FAULT_TOO_DEEP);
    bench->options.read_bytes *= 4;
    stands_at(bench, 80, 80, 80, 0);
}

static void the_stretch_is_paired_and_goes_to_the_map(void **state)
{
    struct bench *bench = *state;
    grow(bench, 2, 4);                                      /* 0..7 */
    model_source_append(&bench->source, 3, 0, false);       /* 8..10, aborted */
    model_source_end_transaction(&bench->source, 0, false); /* 11 */
    grow(bench, 2, 2);                                      /* 12..15 */
    copy_as(bench, 0, 0, 0);
    copy_as(bench, 4, 4, 0);
    copy_as(bench, 12, 8, 0);
    stored(bench, 4, 4, 4, 0);
    stands_at(bench, 14, 10, 10, 0);
    assert_int_equal(bench->resume.runs.runs_count, 2);
    assert_int_equal(bench->resume.runs.runs[0].source_first, 4);
    assert_int_equal(bench->resume.runs.runs[1].source_first, 12);
    assert_int_equal(bench->resume.runs.runs[1].target_first, 8);
    assert_int_equal(bench->resume.runs_from.source_next, 4);
}

static void sequences_wrap(void **state)
{
    struct bench *bench = *state;
    const int64_t start = ((int64_t)3 << 31) - 6;
    bench->source.end = bench->source.log_start = bench->source.epochs[0].start = start;
    grow(bench, 4, 4);
    for (int64_t at = 0; at < 12; at += 4) {
        copy(bench, start + at);
    }
    stored(bench, start + 4, 4, start + 4, 0);
    stands_at(bench, start + 12, 12, start + 12, 0);
}

static void what_compaction_removed_at_the_source_is_allowed(void **state)
{
    struct bench *bench = *state;
    grow(bench, 5, 4);
    for (int64_t at = 0; at < 16; at += 4) {
        copy(bench, at);
    }
    model_source_compact(&bench->source, 1, true, false, 0); /* nothing is left */
    model_source_compact(&bench->source, 2, true, true, 0);  /* its header is */
    stored(bench, 0, 0, 0, -1);
    stands_at(bench, 16, 16, 16, 0);
    assert_int_equal(bench->resume.event.gone_count, 8);
}

/* The last mirrored batch lost its last record: the position is behind the batch, not inside it. */
static void a_position_never_lies_inside_a_batch(void **state)
{
    struct bench *bench = *state;
    grow(bench, 3, 4);
    copy(bench, 0);
    copy(bench, 4);
    model_source_compact(&bench->source, 1, false, false, 3);
    stored(bench, 0, 0, 0, -1);
    stands_at(bench, 8, 8, 8, 0);
}

/* The source was truncated in the stretch that was mirrored since the checkpoint. */
static void lost_behind_the_checkpoint_goes_on_by_policy(void **state)
{
    struct bench *bench = *state;
    grow(bench, 4, 4);
    for (int64_t at = 0; at < 16; at += 4) {
        copy(bench, at);
    }
    model_source_truncate(&bench->source, 8);
    grow(bench, 3, 4);
    stored(bench, 4, 4, 4, 0);
    bench->options.on_truncation = POLICY_FAULT;
    runs_into(bench, FAULT_SOURCE_TRUNCATED);
    assert_int_equal(bench->resume.fault_source_from, 8);
    assert_int_equal(bench->resume.fault_target_from, 8);
    bench->options.on_truncation = POLICY_CONTINUE;
    stands_at(bench, 8, 16, 8, 1);
}

static void a_newer_generation_is_followed_from_its_first_batch(void **state)
{
    struct bench *bench = *state;
    grow(bench, 4, 4);
    copy(bench, 0);
    copy(bench, 4);
    copy_as(bench, 4, 4, 3); /* generation 3 began at source 4 */
    copy_as(bench, 8, 8, 3);
    stored(bench, 4, 4, 4, 0);
    stands_at(bench, 12, 16, 12, 3);
    assert_int_equal(bench->resume.runs_from.generation, 3);
    assert_int_equal(bench->resume.runs_from.source_next, 4);
    assert_int_equal(bench->resume.runs_from.target_next, 8);
}

/* The source was cut below the place where the newer generation began. */
static void a_newer_generation_beyond_the_source_faults(void **state)
{
    struct bench *bench = *state;
    grow(bench, 4, 4);
    copy(bench, 0);
    copy_as(bench, 12, 12, 1);
    model_source_forget(&bench->source, 2);
    stored(bench, 4, 4, 4, 0);
    runs_into(bench, FAULT_SOURCE_TRUNCATED);
}

static void a_newer_generation_that_is_not_replicated_is_waited_for(void **state)
{
    struct bench *bench = *state;
    grow(bench, 4, 4);
    copy(bench, 0);
    model_target_foreign(&bench->target, 4, false);
    copy_as(bench, 4, 4, 1);
    bench->target.watermark = 8;
    stored(bench, 4, 4, 4, 0);
    assert_int_equal(run(bench), RESUME_WAIT);
}

/* --- late batches of a worker that read the source before compaction ---------------------------------------------- */

static void what_was_emptied_before_the_position_explains_them(void **state)
{
    struct bench *bench = *state;
    grow(bench, 3, 2);
    copy(bench, 0);
    copy(bench, 2);
    model_source_compact(&bench->source, 1, true, false, 0);
    stored(bench, 4, 2, 2, 0); /* it had passed over 2..3 */
    runs_into(bench, FAULT_STRANGER);
    bench->options.before_span = 100;
    stands_at(bench, 4, 4, 4, 0);
    assert_int_equal(bench->resume.event.gone_count, 2);
    assert_true(bench->resume.compacted);
}

static void a_record_that_stands_there_again_is_not_gone(void **state)
{
    struct bench *bench = *state;
    bench->options.before_span = 100;
    grow(bench, 4, 2);
    copy(bench, 0);
    copy(bench, 2);
    copy_as(bench, 2, 4, 0);
    stored(bench, 2, 2, 2, 0);
    runs_into(bench, FAULT_STRANGER);
    model_source_compact(&bench->source, 2, true, false,
                         0); /* there is room for two that are gone */
    runs_into(bench, FAULT_ORDER);
    assert_int_equal(bench->resume.fault_target_from, 4);
    assert_int_equal(bench->resume.fault_source_from, 2);
}

/* --- step 7 ------------------------------------------------------------------------------------------------------- */

static void a_tail_that_retention_took_is_counted_or_a_fault(void **state)
{
    struct bench *bench = *state;
    grow(bench, 4, 4);
    for (int64_t at = 0; at < 12; at += 4) {
        copy(bench, at);
    }
    model_target_delete_before(&bench->target, 8);
    stored(bench, 4, 4, 4, 0);
    stands_at(bench, 12, 12, 12, 0);
    assert_true(bench->resume.event.by_count);
    assert_int_equal(bench->resume.runs.runs_count, 0);
    assert_int_equal(bench->resume.runs_from.source_next,
                     12); /* where its records stand is not known */
    model_source_compact(&bench->source, 1, false, false, 0);
    runs_into(bench, FAULT_TAIL_GONE); /* the count says nothing any more */
}

/* A position passed over offsets 4..7, and a batch from before compaction that holds them came late. */
static void a_count_behind_empty_offsets_is_a_fault(void **state)
{
    struct bench *bench = *state;
    bench->options.before_span = 100;
    grow(bench, 4, 4);
    copy(bench, 0);
    copy(bench, 4);
    model_source_compact(&bench->source, 1, true, false, 0);
    model_target_delete_before(&bench->target, 8);
    stored(bench, 8, 4, 4, 0);
    runs_into(bench, FAULT_TAIL_GONE);
}

static void a_count_with_others_in_it_is_a_fault(void **state)
{
    struct bench *bench = *state;
    grow(bench, 4, 4);
    copy(bench, 0);
    model_target_foreign(&bench->target, 2, false);
    copy(bench, 4);
    copy(bench, 8);
    model_target_delete_before(&bench->target, 10);
    stored(bench, 4, 4, 4, 0);
    runs_into(bench, FAULT_TAIL_GONE);
    assert_int_equal(bench->resume.fault_target_from, 4);
    assert_int_equal(bench->resume.fault_target_to, 10);
}

/* Truncated and grown again since: as many records, others. */
static void a_count_over_another_leader_is_a_fault(void **state)
{
    struct bench *bench = *state;
    grow(bench, 3, 4);
    for (int64_t at = 0; at < 12; at += 4) {
        copy(bench, at);
    }
    model_source_truncate(&bench->source, 4);
    grow(bench, 3, 4);
    model_target_delete_before(&bench->target, 12);
    stored(bench, 4, 4, 4, 0);
    runs_into(bench, FAULT_TAIL_GONE);
}

/* --- no checkpoint ------------------------------------------------------------------------------------------------ */

static void without_a_checkpoint_the_tail_is_found(void **state)
{
    struct bench *bench = *state;
    grow(bench, 3, 4);
    model_source_append(&bench->source, 2, 0, false);
    model_source_end_transaction(&bench->source, 0, false);
    grow(bench, 3, 4); /* 15.. */
    for (int64_t at = 0; at < 12; at += 4) {
        copy(bench, at);
    }
    copy_as(bench, 15, 12, 0);
    model_target_foreign(&bench->target, 2, false);
    bench->target.watermark = bench->target.end;
    stands_at(bench, 19, 18, 16, 0);
    assert_true(bench->resume.event.without_checkpoint);
    assert_int_equal(bench->resume.event.foreign_count, 2);
}

/* The same batch again and again: offset and sequence are not one where transactions were aborted, so only the whole
 * stream tells. */
static void a_tail_that_repeats_is_paired_from_the_first_batch(void **state)
{
    struct bench *bench = *state;
    model_source_append(&bench->source, 3, 0, false);       /* 0..2 */
    model_source_end_transaction(&bench->source, 0, false); /* 3 */
    grow(bench, 1, 4);                                      /* 4..7 */
    for (int i = 0; i < 9; i++) {
        model_source_append(&bench->source, 4, -1, true);
    }
    for (int64_t i = 0; i < 5; i++) {
        copy_as(bench, 4 + 4 * i, 4 * i, 0);
    }
    stands_at(bench, 24, 20, 20, 0);
    assert_true(bench->resume.from_first);
    model_target_delete_before(&bench->target, 4); /* the first batch is gone */
    runs_into(bench, FAULT_NO_CHECKPOINT);
}

static void a_tail_that_is_nowhere_faults(void **state)
{
    struct bench *bench = *state;
    grow(bench, 4, 4);
    copy(bench, 0);
    copy(bench, 4);
    model_source_compact(&bench->source, 1, false, false, 1);
    model_target_delete_before(&bench->target, 4);
    runs_into(bench, FAULT_NO_CHECKPOINT);
}

/* --- a truncated target ------------------------------------------------------------------------------------------- */

static void copies(struct bench *bench, int64_t until)
{
    for (int64_t at = 0; at < until; at += 4) {
        copy(bench, at);
    }
}

static void a_truncated_target_is_cut_back(void **state)
{
    struct bench *bench = *state;
    grow(bench, 5, 4);
    copies(bench, 16);
    stored(bench, 16, 16, 16, 0);
    model_target_truncate(&bench->target, 8);
    stands_at(bench, 8, 8, 8, 0); /* without the map */
    assert_true(bench->resume.event.target_truncated);
    assert_int_equal(bench->resume.event.target_cut_from, 8);
    assert_int_equal(bench->resume.event.target_cut_to, 16);
    bench->has_floor = true;
    bench->floor = (struct offset_run){4, 4, 4};
    stands_at(bench, 8, 8, 8, 0);
    /* The source holds it no more: the map's word is enough. */
    model_source_compact(&bench->source, 1, false, false, 0);
    stands_at(bench, 8, 8, 8, 0);
    assert_int_equal(bench->resume.at.leader_epoch, 0); /* a truncation from now on is still seen */
    /* It holds other bytes there: the map is another log's. */
    bench->floor = (struct offset_run){8, 4, 4};
    runs_into(bench, FAULT_NO_CHECKPOINT);
}

static void a_target_that_lost_everything_begins_where_it_began(void **state)
{
    struct bench *bench = *state;
    grow(bench, 5, 4);
    model_source_delete_before(&bench->source, 4);
    copy(bench, 4);
    copy(bench, 8);
    stored(bench, 12, 8, 12, 0);
    model_target_truncate(&bench->target, 0);
    stands_at(bench, 4, 0, 4, 0);
    assert_true(bench->resume.event.target_truncated);
}

/* Nothing of ours was left, and a batch that was on its way was taken at the wrong place: without the check of offsets
 * against sequences everything before it would be lost without a word. */
static void a_batch_that_stands_where_it_never_stood_is_no_place(void **state)
{
    struct bench *bench = *state;
    grow(bench, 6, 4);
    copies(bench, 16);
    stored(bench, 16, 16, 16, 0);
    model_target_truncate(&bench->target, 0);
    copy(bench, 12);
    runs_into(bench, FAULT_NO_CHECKPOINT);
}

/* The log was cut below the checkpoint and others wrote past it. */
static void a_batch_across_the_checkpoint_means_a_cut(void **state)
{
    struct bench *bench = *state;
    grow(bench, 6, 4);
    copies(bench, 16);
    stored(bench, 16, 16, 16, 0);
    model_target_truncate(&bench->target, 12);
    model_target_forget_producers(&bench->target);
    model_target_foreign(&bench->target, 3, false);
    model_target_foreign(&bench->target, 3, false);
    bench->target.watermark = bench->target.end;
    stands_at(bench, 12, 18, 12, 0);
    assert_true(bench->resume.event.target_truncated);
    assert_int_equal(bench->resume.event.foreign_count, 6);
}

/* Both logs lost their tails: the stream goes on below both, as another one. */
static void both_logs_truncated(void **state)
{
    struct bench *bench = *state;
    grow(bench, 5, 4);
    copies(bench, 20);
    stored(bench, 20, 20, 20, 0);
    model_source_truncate(&bench->source, 8);
    grow(bench, 4, 4);
    model_target_truncate(&bench->target, 16);
    bench->has_floor = true;
    bench->floor = (struct offset_run){0, 0, 20};
    model_source_forget(&bench->source, 4); /* not grown again yet, so nothing gainsays the map */
    stands_at(bench, 8, 16, 8, 1);
    model_target_truncate(&bench->target, 4);
    stands_at(bench, 4, 4, 4, 1);
}

/* --- what was re-encoded ------------------------------------------------------------------------------------------ */

static void merged_batches_are_paired_by_record(void **state)
{
    struct bench *bench = *state;
    grow(bench, 4, 3);
    stored(bench, 0, 0, 0, -1);
    copy_records(bench, (const int64_t[]){0, 1, 2, 3, 4}, 5, 0, 0); /* cut inside of the second */
    stands_at(bench, 5, 5, 5, 0);
    copy_records(bench, (const int64_t[]){5, 6, 7, 8}, 4, 5, 0);
    stands_at(bench, 9, 9, 9, 0);
    stored(bench, 5, 5, 5,
           0); /* a position inside of the source's batch: what stands before it is none of ours */
    stands_at(bench, 9, 9, 9, 0);
    assert_int_equal(bench->resume.runs.runs_count, 1);
    assert_int_equal(bench->resume.runs.runs[0].source_first, 5);
}

static void where_nothing_was_passed_over_nothing_is_unsure(void **state)
{
    struct bench *bench = *state;
    grow(bench, 3, 4);
    copy(bench, 0);
    copy(bench, 4);
    stored(bench, 4, 4, 4, 0);
    stands_at(bench, 8, 8, 8, 0);
    assert_false(bench->resume.compacted);
}

/* The records that follow the checkpoint on the target stood just before it at the source, far behind its beginning. */
static void before_the_checkpoint_nothing_is_too_deep(void **state)
{
    struct bench *bench = *state;
    bench->options.before_span = 1000;
    bench->options.read_bytes = 3000;
    grow(bench, 20, 4);
    copy_as(bench, 68, 64, 0);
    copy_as(bench, 72, 68, 0);
    model_source_compact(&bench->source, 0, true, false, 0);
    model_source_compact(&bench->source, 17, true, false, 0);
    stored(bench, 72, 0, 64, 0);
    stands_at(bench, 76, 8, 72, 0);
    assert_int_equal(bench->resume.event.gone_count, 4);
}

/* Retention took all that stood before the position, and none of it was passed over. */
static void a_vanished_tail_is_counted_from_where_the_source_begins(void **state)
{
    struct bench *bench = *state;
    bench->options.before_span = 1000;
    grow(bench, 4, 4);
    for (int64_t at = 0; at < 12; at += 4) {
        copy(bench, at);
    }
    model_source_delete_before(&bench->source, 4);
    bench->target.log_start = 12;
    stored(bench, 4, 4, 4, 0);
    stands_at(bench, 12, 12, 12, 0);
}

static void a_compacted_batch_leaves_its_holes_in_the_runs(void **state)
{
    struct bench *bench = *state;
    grow(bench, 2, 4);
    model_source_compact(&bench->source, 0, false, true, 1);
    stored(bench, 0, 0, 0, -1);
    copy_records(bench, (const int64_t[]){0, 2, 3}, 3, 0, 0);
    stands_at(bench, 4, 3, 3, 0);
    assert_int_equal(bench->resume.runs.runs_count, 2);
    assert_int_equal(bench->resume.runs.runs[1].source_first, 2);
    assert_int_equal(bench->resume.runs.runs[1].target_first, 1);
}

static void a_merged_tail_is_found_without_a_checkpoint(void **state)
{
    struct bench *bench = *state;
    grow(bench, 90, 1);
    for (int64_t at = 0; at < 80; at += 5) {
        copy_records(bench, (const int64_t[]){at, at + 1, at + 2, at + 3, at + 4}, 5, at, 0);
    }
    model_target_delete_before(&bench->target, 5); /* its first batch would tell too */
    stands_at(bench, 80, 80, 80, 0);
}

/* The stretch passed a filter that nobody knows any more: what is not there is no hole, and the stream goes on in the
 * generation that the control topic asks for. */
static void another_filter_is_another_generation(void **state)
{
    struct bench *bench = *state;
    grow(bench, 4, 3);
    stored(bench, 0, 0, 0, -1);
    copy_records(bench, (const int64_t[]){0, 2, 5, 7}, 4, 0, 0);
    runs_into(bench, FAULT_HOLE);
    bench->options.generation_least = 3;
    stands_at(bench, 8, 4, 8, 3);
    /* Nothing newer on the target: the same without reading. */
    stored(bench, 8, 4, 4, 0);
    stands_at(bench, 8, 4, 8, 3);
    assert_int_equal(bench->resume.at.leader_epoch, 0); /* a truncation below it is still seen */
    /* Once it stands there it is what goes on. */
    bench->redis.generation = 3;
    bench->redis.sequence_next = 8;
    stands_at(bench, 8, 4, 8, 3);
}

/* --- answers that cannot be true ---------------------------------------------------------------------------------- */

/* The batch says of itself where it stands: no checksum is over that. */
static void stands_elsewhere(uint8_t *data, int64_t base)
{
    for (int i = 0; i < 8; i++) {
        data[i] = (uint8_t)((uint64_t)base >> (56 - 8 * i));
    }
}

static void is_broken(struct bench *bench, const char *what)
{
    assert_int_equal(run(bench), RESUME_BROKEN);
    assert_int_equal(bench->resume.err.kind, ERR_RETRY);
    assert_non_null(strstr(bench->resume.err.what, what));
}

static void batches_of_the_target_that_overlap_are_broken(void **state)
{
    struct bench *bench = *state;
    grow(bench, 3, 3);
    stored(bench, 0, 0, 0, -1);
    copy(bench, 0);
    copy(bench, 3);
    copy(bench, 6);
    stands_elsewhere(bench->target.entries[1].data, 0); /* the same place as the first */
    is_broken(bench, "target offset 0");
    stands_elsewhere(bench->target.entries[1].data, 2);
    is_broken(bench, "target offset 2");
    bench->redis_found = CHECKPOINT_NONE; /* read backwards likewise */
    is_broken(bench, "target offset 2");
    stands_elsewhere(bench->target.entries[1].data, 3);
    stands_at(bench, 9, 9, 9, 0);
}

static void batches_of_the_source_that_overlap_are_broken(void **state)
{
    struct bench *bench = *state;
    grow(bench, 1, 2);
    grow(bench, 2, 3);
    stored(bench, 0, 0, 0, -1);
    copy(bench, 0);
    copy(bench, 2);
    copy(bench, 5);
    stands_elsewhere(bench->source.batches[1].data, 0);
    is_broken(bench, "source offset 0");
    stands_elsewhere(bench->source.batches[1].data, 1);
    is_broken(bench, "source offset 1");
    stands_elsewhere(bench->source.batches[1].data, 2);
    stands_at(bench, 8, 8, 8, 0);
}

/* A stream that a truncation or an operator raised passed the filter before it all the same. */
static void a_raised_stream_is_older_than_the_next_filter(void **state)
{
    struct bench *bench = *state;
    grow(bench, 4, 3);
    stored(bench, 0, 0, 0, -1);
    bench->redis.generation = GENERATIONS_A_FILTER - 1; /* the highest that a raise gets to */
    copy_records(bench, (const int64_t[]){0, 2, 5, 7}, 4, 0, 0);
    bench->options.resync = true;
    runs_into(bench, FAULT_GENERATIONS); /* no further under this filter */
    bench->options.generation_least = GENERATIONS_A_FILTER;
    stands_at(bench, 0, 4, 0, GENERATIONS_A_FILTER);
    bench->options.resync = false;
    stored(bench, 8, 4, 4, 0);
    bench->redis.generation = GENERATIONS_A_FILTER - 1;
    stands_at(bench, 8, 4, 8, GENERATIONS_A_FILTER);
    bench->options.generation_least = GENERATION_MAX + 1; /* filters have run out */
    runs_into(bench, FAULT_GENERATIONS);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(merged_batches_are_paired_by_record),
        T(where_nothing_was_passed_over_nothing_is_unsure),
        T(before_the_checkpoint_nothing_is_too_deep),
        T(a_vanished_tail_is_counted_from_where_the_source_begins),
        T(a_compacted_batch_leaves_its_holes_in_the_runs),
        T(a_merged_tail_is_found_without_a_checkpoint),
        T(another_filter_is_another_generation),
        T(a_raised_stream_is_older_than_the_next_filter),
        T(without_ids_the_same_log_goes_on),
        T(without_ids_another_log_is_known_by_its_records),
        T(without_ids_another_log_that_is_shorter_is_no_truncation),
        T(without_ids_a_truncated_log_is_one),
        T(a_topic_that_gets_its_id_is_the_same),
        T(a_topic_that_was_made_again_with_an_id_is_not),
        T(a_target_without_ids_that_was_made_again),
        T(without_ids_and_records_before_it_goes_on),
        T(by_content_a_position_may_lie_inside_a_batch_of_the_target),
        T(by_content_repeats_of_before_the_checkpoint_are_known),
        T(by_content_a_tail_that_is_late_is_waited_for),
        T(by_content_the_tail_is_found_without_a_checkpoint),
        T(by_content_a_log_that_was_filled_again_is_a_fault),
        T(by_content_others_records_at_the_beginning_are_others),
        T(by_content_a_hole_is_a_fault),
        T(garbage_is_a_fault),
        T(topics_created_again_are_faults),
        T(the_group_must_answer),
        T(redis_is_waited_for_only_when_nothing_else_says),
        T(source_truncated_below_the_checkpoint),
        T(an_unknown_epoch_is_a_fault),
        T(a_source_that_ends_early_is_waited_for_then_faulted),
        T(what_retention_took_is_a_gap),
        T(an_operator_leaves_out_what_is_gone),
        T(an_operator_leaves_out_a_batch_that_is_there),
        T(an_operator_has_all_of_it_mirrored_anew),
        T(the_last_generation_is_a_fault),
        T(a_target_with_others_records_is_refused),
        T(an_emptied_target_is_no_beginning),
        T(our_id_on_an_empty_target_is_waited_for),
        T(begins_where_it_is_told),
        T(nothing_newer_goes_on),
        T(an_unreplicated_tail_is_waited_for),
        T(what_the_broker_said_before_it_forgot_counts),
        T(a_hole_faults_with_its_range),
        T(another_order_faults),
        T(a_stranger_faults),
        T(a_batch_twice_faults),
        T(others_between_ours_fault_by_policy),
        T(sequences_that_jump_fault),
        T(a_compacted_end_of_the_target_faults),
        T(what_compaction_removed_at_the_target_is_allowed),
        T(too_much_to_read_faults),
        T(records_count_against_the_bound),
        T(the_stretch_is_paired_and_goes_to_the_map),
        T(sequences_wrap),
        T(what_compaction_removed_at_the_source_is_allowed),
        T(a_position_never_lies_inside_a_batch),
        T(lost_behind_the_checkpoint_goes_on_by_policy),
        T(a_newer_generation_is_followed_from_its_first_batch),
        T(a_newer_generation_beyond_the_source_faults),
        T(a_newer_generation_that_is_not_replicated_is_waited_for),
        T(a_tail_that_retention_took_is_counted_or_a_fault),
        T(what_was_emptied_before_the_position_explains_them),
        T(a_record_that_stands_there_again_is_not_gone),
        T(a_count_behind_empty_offsets_is_a_fault),
        T(a_count_with_others_in_it_is_a_fault),
        T(a_count_over_another_leader_is_a_fault),
        T(without_a_checkpoint_the_tail_is_found),
        T(a_tail_that_repeats_is_paired_from_the_first_batch),
        T(a_tail_that_is_nowhere_faults),
        T(a_truncated_target_is_cut_back),
        T(a_target_that_lost_everything_begins_where_it_began),
        T(a_batch_that_stands_where_it_never_stood_is_no_place),
        T(a_batch_across_the_checkpoint_means_a_cut),
        T(both_logs_truncated),
        T(batches_of_the_target_that_overlap_are_broken),
        T(batches_of_the_source_that_overlap_are_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
