/* mirror/recode: what comes out holds the records that went in, each with its source offset; what is broken is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/crc32c.h"
#include "mirror/recode.h"
#include "tests/fake/batches.h"

#define ROUNDS      400
#define BATCHES_MAX 6
#define RECORDS_MAX 40
#define ALL_MAX     (BATCHES_MAX * RECORDS_MAX)

struct seen { /* a record, wherever it stands */
    uint64_t hash;
    int64_t offset;
};
struct list {
    struct seen records[ALL_MAX];
    size_t count;
    int64_t from; /* those below are not wanted */
    const struct config_filter *filter;
};

static uint64_t random_state = 88172645463325252u;
static uint32_t pick(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 33) % below);
}

static bool see(void *arg, const struct record *record)
{
    struct list *list = arg;
    if (record->offset >= list->from && record_filter_judge(list->filter, record) == RECORD_KEPT) {
        assert_true(list->count < ALL_MAX);
        list->records[list->count++] =
            (struct seen){.hash = record_hash(record), .offset = record->offset};
    }
    return true;
}

static struct batch walk(const uint8_t *data, size_t len)
{
    struct batch batch;
    struct err err;
    assert_int_equal(batch_walk(data, len, &batch, &err), BATCH_WALK_ONE);
    return batch;
}

static void see_all(struct list *list, const struct batch *batch)
{
    struct err err;
    if (!batch_each_record(batch, 1 << 20, see, list, &err)) {
        fail_msg("%s", err.what);
    }
}

/* Every batch that came out is one that may pass; its records with the source offsets that its runs name. */
static void take_made(struct recode *recode, struct list *out, int64_t *out_next,
                      size_t *out_batches)
{
    struct recoded made;
    *out_batches = 0;
    while (recode_take(recode, &made)) {
        struct batch batch = walk(made.block->data, made.block->len);
        struct list plain = {.from = INT64_MIN};
        size_t at = 0;
        assert_int_equal(batch.len, made.block->len);
        assert_true(batch_crc_ok(&batch));
        assert_int_equal(batch_verdict(&batch, INT64_MAX, INT64_MAX), BATCH_PASSES);
        assert_int_equal(batch.count, made.count);
        assert_int_equal(batch.leader_epoch, made.leader_epoch);
        see_all(&plain, &batch);
        for (size_t run = 0; run < made.runs_count; run++) {
            for (int32_t i = 0; i < made.runs[run].count; i++, at++) {
                assert_true(at < plain.count && plain.records[at].offset == (int64_t)at);
                assert_true(out->count < ALL_MAX);
                out->records[out->count++] =
                    (struct seen){plain.records[at].hash, made.runs[run].source_first + i};
            }
        }
        assert_int_equal(at, plain.count);
        assert_int_equal(made.source_first, made.runs[0].source_first);
        assert_true(made.source_first >= *out_next);
        assert_true(made.source_next > out->records[out->count - 1].offset);
        *out_next = made.source_next;
        (*out_batches)++;
        buf_unref(made.block);
        free(made.runs);
    }
}

static void same(const struct list *left, const struct list *right)
{
    assert_int_equal(left->count, right->count);
    for (size_t i = 0; i < left->count; i++) {
        assert_int_equal(left->records[i].offset, right->records[i].offset);
        assert_true(left->records[i].hash == right->records[i].hash);
    }
}

/* --- random batches ----------------------------------------------------------------------------------------------- */

static const char *const words[] = {NULL, "", "a", "key-1", "key-2", "a longer word that repeats"};

static void random_batch(struct writer *writer, int64_t base, int32_t epoch, enum batch_codec codec,
                         int16_t attributes)
{
    static const struct fake_header headers[] = {
        {"h",     "x" },
        {"h",     NULL},
        {"trace", ""  },
    };
    struct fake_record records[RECORDS_MAX] = {0};
    struct fake_batch spec = {.base_offset = base,
                              .leader_epoch = epoch,
                              .attributes = attributes,
                              .codec = codec,
                              .java_snappy = pick(2) == 0,
                              .base_timestamp = 1700000000000 + (int64_t)pick(1000),
                              .producer_id = 9,
                              .records = records};
    int32_t delta = (int32_t)pick(3);
    int32_t count = (int32_t)pick(RECORDS_MAX + 1);
    for (int32_t i = 0; i < count; i++) {
        records[i] = (struct fake_record){.timestamp_delta = (int64_t)pick(500) - 100,
                                          .offset_delta = delta,
                                          .key = words[pick(6)],
                                          .value = words[pick(6)],
                                          .headers = headers,
                                          .headers_count = (int32_t)pick(4)};
        delta += 1 + (pick(3) == 0 ? (int32_t)pick(4) : 0);
    }
    spec.count = count;
    spec.last_offset_delta = delta + (int32_t)pick(3);
    spec.max_timestamp = 1700000009999;
    fake_batch_write(writer, &spec);
}

static void push(struct recode *recode, const struct batch *batch, int64_t position)
{
    recode_push(recode, &(struct recode_item){.batch = *batch,
                                              .position = position,
                                              .epoch_before = 3,
                                              .why = BATCH_INNER_HOLES});
}

static void one_round(const struct recode_options *options, size_t bytes_max)
{
    struct recode *recode = recode_new(options);
    struct writer writer;
    size_t ends[BATCHES_MAX + 1] = {0};
    struct list before = {.filter = options->filter};
    struct list after = {0};
    enum batch_codec codec = (enum batch_codec)pick(5);
    int16_t attributes = pick(3) == 0 ? BATCH_LOG_APPEND_TIME : 0;
    uint32_t batches = 1 + pick(BATCHES_MAX);
    int64_t base = 100;
    int64_t next = 0;
    size_t made;
    writer_init(&writer);
    for (uint32_t i = 0; i < batches; i++) {
        random_batch(&writer, base, 4, codec, attributes);
        ends[i + 1] = writer.len;
        struct batch batch = walk(writer.data + ends[i], ends[i + 1] - ends[i]);
        base = batch_next_offset(&batch) + pick(5);
        before.from = 0;
    }
    before.from = 100 + (int64_t)pick(20);
    for (uint32_t i = 0; i < batches; i++) {
        struct batch batch = walk(writer.data + ends[i], ends[i + 1] - ends[i]);
        see_all(&before, &batch);
        push(recode, &batch, before.from);
        next = batch_next_offset(&batch);
    }
    struct recode_item failed;
    enum batch_verdict why;
    struct err err;
    int64_t reached = 0;
    assert_true(recode_wanted(recode));
    if (!recode_run(recode, bytes_max, &failed, &why, &err)) {
        fail_msg("%s", err.what);
    }
    take_made(recode, &after, &reached, &made);
    same(&before, &after);
    assert_int_equal(recode_reached(recode), next);
    if (before.count > 0 && bytes_max == 0) {
        assert_int_equal(reached,
                         next); /* what holds nothing behind the last record is passed with it */
        assert_int_equal(made, 1);
    }
    recode_free(recode);
    writer_done(&writer);
}

static void records_are_the_same_on_both_sides(void **state)
{
    (void)state;
    const struct recode_options options = {.plain_bytes_max = 1 << 20};
    for (int i = 0; i < ROUNDS; i++) {
        one_round(&options, 0);
    }
}

static void they_are_when_batches_are_cut(void **state)
{
    (void)state;
    const struct recode_options options = {.plain_bytes_max = 1 << 20};
    for (int i = 0; i < ROUNDS; i++) {
        one_round(&options, 80 + pick(400));
    }
}

static void they_are_with_another_codec(void **state)
{
    (void)state;
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        const struct recode_options options = {
            .plain_bytes_max = 1 << 20, .other_codec = true, .codec = (enum batch_codec)codec};
        for (int i = 0; i < ROUNDS / 5; i++) {
            one_round(&options, pick(2) == 0 ? 0 : 200);
        }
    }
}

static void they_are_but_for_what_is_filtered(void **state)
{
    (void)state;
    struct config_pattern keys[] = {{.text = "key-*"}};
    const struct config_filter filter = {
        .key = {.include = keys, .include_count = 1}
    };
    const struct recode_options options = {.plain_bytes_max = 1 << 20, .filter = &filter};
    for (int i = 0; i < ROUNDS; i++) {
        one_round(&options, 300);
    }
}

/* --- what is broken ----------------------------------------------------------------------------------------------- */

struct bench {
    struct recode *recode;
    struct writer writer;
    size_t ends[4];
    struct recode_item failed;
    enum batch_verdict why;
    struct err err;
};

static void three_batches(struct bench *bench, enum batch_codec codec)
{
    const struct recode_options options = {.plain_bytes_max = 1 << 20, .merge = true};
    *bench = (struct bench){.recode = recode_new(&options)};
    writer_init(&bench->writer);
    for (int i = 0; i < 3; i++) {
        fake_batch_plain(&bench->writer, 10 + 5 * i, 5, 20, codec);
        bench->ends[i + 1] = bench->writer.len;
    }
}

static void done(struct bench *bench)
{
    recode_free(bench->recode);
    writer_done(&bench->writer);
}

static void push_all(struct bench *bench, enum batch_verdict why)
{
    for (int i = 0; i < 3; i++) {
        struct batch batch =
            walk(bench->writer.data + bench->ends[i], bench->ends[i + 1] - bench->ends[i]);
        assert_true(recode_joins(bench->recode, &batch));
        recode_push(bench->recode, &(struct recode_item){.batch = batch,
                                                         .position = batch.base_offset,
                                                         .epoch_before = -1,
                                                         .why = why});
    }
}

static bool run(struct bench *bench)
{
    return recode_run(bench->recode, 0, &bench->failed, &bench->why, &bench->err);
}

static void a_flipped_bit_is_found_and_what_stands_before_it_made(void **state)
{
    struct list after = {0};
    struct bench bench;
    int64_t next = 0;
    size_t made;
    (void)state;
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        three_batches(&bench, (enum batch_codec)codec);
        bench.writer.data[bench.ends[2] - 3] ^= 4; /* in the second one's records */
        push_all(&bench, BATCH_SMALL);
        assert_false(run(&bench));
        assert_int_equal(bench.why, BATCH_CORRUPT);
        assert_int_equal(bench.failed.batch.base_offset, 15);
        assert_non_null(strstr(bench.err.what, "checksum"));
        after.count = 0;
        next = 0;
        take_made(bench.recode, &after, &next, &made);
        assert_int_equal(made, 1);
        assert_int_equal(after.count, 5);
        assert_int_equal(next, 15);
        assert_int_equal(recode_reached(bench.recode), 15);
        done(&bench);
    }
}

static void records_that_do_not_fit_their_checksummed_header_are_found(void **state)
{
    struct bench bench;
    (void)state;
    three_batches(&bench, CODEC_NONE);
    bench.writer.data[bench.ends[1] + BATCH_HEADER_BYTES] += 2; /* length of its first record */
    uint8_t *second = bench.writer.data + bench.ends[1];
    uint32_t crc = crc32c(0, second + 21, bench.ends[2] - bench.ends[1] - 21);
    writer_patch_i32(&bench.writer, bench.ends[1] + 17, (int32_t)crc);
    push_all(&bench, BATCH_SMALL);
    assert_false(run(&bench));
    assert_int_equal(bench.why, BATCH_CORRUPT);
    assert_int_equal(bench.failed.batch.base_offset, 15);
    done(&bench);
}

static void a_bomb_is_refused_by_name(void **state)
{
    const struct recode_options options = {.plain_bytes_max = (size_t)1 << 20};
    struct fake_record record = {.offset_delta = 1, .value_len = (size_t)3 << 20};
    struct fake_batch spec = {.codec = CODEC_ZSTD,
                              .last_offset_delta = 1,
                              .base_timestamp = 1,
                              .records = &record,
                              .count = 1};
    char *value = calloc(1, record.value_len);
    struct recode_item failed;
    enum batch_verdict why;
    struct err err;
    (void)state;
    record.value = value;
    for (int codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
        struct recode *recode = recode_new(&options);
        struct writer writer;
        writer_init(&writer);
        spec.codec = (enum batch_codec)codec;
        fake_batch_write(&writer, &spec);
        struct batch batch = walk(writer.data, writer.len);
        push(recode, &batch, 0);
        assert_false(recode_run(recode, 0, &failed, &why, &err));
        assert_int_equal(why, BATCH_BOMB);
        assert_non_null(strstr(batch_verdict_text(why), "decompresses"));
        writer_done(&writer);
        recode_free(recode);
    }
    free(value);
}

/* --- neighbours --------------------------------------------------------------------------------------------------- */

static void few_small_neighbours_are_left_alone(void **state)
{
    struct bench bench;
    (void)state;
    three_batches(&bench, CODEC_LZ4);
    push_all(&bench, BATCH_SMALL);
    assert_false(recode_wanted(bench.recode));
    struct batch more = walk(bench.writer.data, bench.ends[1]);
    recode_push(bench.recode, &(struct recode_item){.batch = more, .why = BATCH_SMALL});
    assert_true(recode_wanted(bench.recode));
    recode_clear(bench.recode);
    done(&bench);
}

static void what_is_compressed_must_be_smaller_to_be_merged(void **state)
{
    const struct recode_options pass_all = {.plain_bytes_max = 1 << 20};
    struct recode *none = recode_new(&pass_all);
    struct bench bench;
    (void)state;
    three_batches(&bench, CODEC_NONE);
    struct batch batch = walk(bench.writer.data, bench.ends[1]);
    batch.len = RECODE_PLAIN_SMALL_BYTES;
    assert_true(recode_small(bench.recode, &batch, true));
    assert_false(recode_small(none, &batch, true));
    batch.len++;
    assert_false(recode_small(bench.recode, &batch, true));
    batch.attributes = CODEC_LZ4;
    batch.len = RECODE_SMALL_BYTES;
    assert_true(recode_small(bench.recode, &batch, true));
    batch.len++;
    assert_false(recode_small(bench.recode, &batch, true));
    recode_free(none);
    done(&bench);
}

static void what_waits_for_nothing_must_be_tiny_to_be_merged(void **state)
{
    struct bench bench;
    (void)state;
    three_batches(&bench, CODEC_NONE);
    struct batch batch = walk(bench.writer.data, bench.ends[1]);
    batch.len = RECODE_SMALL_BYTES;
    assert_true(recode_small(bench.recode, &batch, false));
    batch.len++;
    assert_false(recode_small(bench.recode, &batch, false));
    assert_true(recode_small(bench.recode, &batch, true));
    done(&bench);
}

static void what_differs_does_not_join(void **state)
{
    struct bench bench;
    (void)state;
    three_batches(&bench, CODEC_NONE);
    struct batch batch = walk(bench.writer.data, bench.ends[1]);
    struct batch other = batch;
    push(bench.recode, &batch, 0);
    assert_true(recode_joins(bench.recode, &other));
    other.attributes = CODEC_LZ4;
    assert_false(recode_joins(bench.recode, &other));
    other.attributes = BATCH_LOG_APPEND_TIME;
    assert_false(recode_joins(bench.recode, &other));
    other.attributes = BATCH_TRANSACTIONAL; /* committed: not seen at the target */
    assert_true(recode_joins(bench.recode, &other));
    other.leader_epoch++;
    assert_false(recode_joins(bench.recode, &other));
    other = batch;
    other.len = RECODE_PLAIN_MERGE_BYTES - batch.len;
    assert_true(recode_joins(bench.recode, &other));
    other.len++;
    assert_false(recode_joins(bench.recode, &other));
    recode_clear(bench.recode);
    done(&bench);
}

static void reasons_are_counted(void **state)
{
    struct list after = {0};
    struct bench bench;
    int64_t next = 0;
    size_t made;
    (void)state;
    three_batches(&bench, CODEC_NONE);
    push_all(&bench, BATCH_APPEND_TIME);
    assert_true(run(&bench));
    take_made(bench.recode, &after, &next, &made);
    assert_int_equal(recode_counts(bench.recode)->batches[BATCH_APPEND_TIME], 3);
    assert_int_equal(recode_counts(bench.recode)->records[RECORD_KEPT], 15);
    assert_int_equal(recode_counts(bench.recode)->made, 1);
    done(&bench);
}

/* What nobody took is freed with the recoder. */
static void what_was_made_may_be_left(void **state)
{
    struct bench bench;
    (void)state;
    three_batches(&bench, CODEC_ZSTD);
    push_all(&bench, BATCH_FILTERED);
    assert_true(run(&bench));
    done(&bench);
    recode_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_the_same_on_both_sides),
        cmocka_unit_test(they_are_when_batches_are_cut),
        cmocka_unit_test(they_are_with_another_codec),
        cmocka_unit_test(they_are_but_for_what_is_filtered),
        cmocka_unit_test(a_flipped_bit_is_found_and_what_stands_before_it_made),
        cmocka_unit_test(records_that_do_not_fit_their_checksummed_header_are_found),
        cmocka_unit_test(a_bomb_is_refused_by_name),
        cmocka_unit_test(few_small_neighbours_are_left_alone),
        cmocka_unit_test(what_is_compressed_must_be_smaller_to_be_merged),
        cmocka_unit_test(what_waits_for_nothing_must_be_tiny_to_be_merged),
        cmocka_unit_test(what_differs_does_not_join),
        cmocka_unit_test(reasons_are_counted),
        cmocka_unit_test(what_was_made_may_be_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
