/* mirror/transfer: what may not pass, what is skipped, what passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "mirror/transfer.h"
#include "tests/fake/batches.h"

#define NO_LIMIT INT64_MAX

static const struct transfer_limits no_limits = {.max_message_bytes = NO_LIMIT,
                                                 .max_timestamp = NO_LIMIT};

struct made {
    struct writer writer;
    struct batch batch;
};

static void make(struct made *made, const struct fake_batch *spec)
{
    struct err err;
    writer_init(&made->writer);
    fake_batch_write(&made->writer, spec);
    assert_int_equal(batch_walk(made->writer.data, made->writer.len, &made->batch, &err),
                     BATCH_WALK_ONE);
}

static const struct fake_record two[] = {
    {.offset_delta = -1, .value = "a"},
    {.offset_delta = -1, .value = "b"},
};
static const struct fake_batch plain = {.base_offset = 10,
                                        .last_offset_delta = -1,
                                        .base_timestamp = 1000,
                                        .producer_id = 7,
                                        .records = two,
                                        .count = 2};

/* One decision with a filter of its own. */
static enum transfer_what decide(const struct fake_batch *spec, int64_t position,
                                 const struct transfer_limits *limits, enum batch_verdict *verdict)
{
    struct fetch_partition none = {0};
    struct transfer_filter filter;
    struct made made;
    enum transfer_what what;
    struct err err;
    make(&made, spec);
    transfer_filter_init(&filter, &none);
    assert_true(transfer_decide(&filter, &made.batch, position, limits, &what, verdict, &err));
    transfer_filter_done(&filter);
    writer_done(&made.writer);
    return what;
}

static void what_may_not_pass_is_named(void **state)
{
    (void)state;
    enum batch_verdict verdict;
    struct fake_batch spec = plain;
    struct transfer_limits limits = no_limits;

    spec.last_offset_delta = 4; /* compaction */
    assert_int_equal(decide(&spec, 10, &no_limits, &verdict), TRANSFER_RECODE);
    assert_int_equal(verdict, BATCH_INNER_HOLES);
    spec = plain;
    spec.attributes = BATCH_LOG_APPEND_TIME;
    assert_int_equal(decide(&spec, 10, &no_limits, &verdict), TRANSFER_RECODE);
    assert_int_equal(verdict, BATCH_APPEND_TIME);
    limits.max_message_bytes = 60; /* two records can go in two batches, one cannot */
    assert_int_equal(decide(&plain, 10, &limits, &verdict), TRANSFER_RECODE);
    assert_int_equal(verdict, BATCH_TOO_LARGE);
    spec = plain;
    spec.count = 1;
    assert_int_equal(decide(&spec, 10, &limits, &verdict), TRANSFER_REFUSED);
    assert_int_equal(verdict, BATCH_TOO_LARGE);
    limits = (struct transfer_limits){.max_message_bytes = NO_LIMIT, .max_timestamp = 999};
    assert_int_equal(decide(&plain, 10, &limits, &verdict), TRANSFER_REFUSED);
    assert_int_equal(verdict, BATCH_TIMESTAMP_REFUSED);
}

/* DeleteRecords can put the log's start into the middle of a batch. */
static void a_position_inside_a_batch_is_re_encoded_by_its_own_name(void **state)
{
    (void)state;
    enum batch_verdict verdict;
    assert_int_equal(decide(&plain, 11, &no_limits, &verdict), TRANSFER_RECODE);
    assert_int_equal(verdict, BATCH_INSIDE);
    assert_string_not_equal(batch_verdict_text(verdict), "unknown");
}

/* A filter opens everything, a codec of the line what has another one. */
static void a_service_can_want_batches_otherwise(void **state)
{
    (void)state;
    enum batch_verdict verdict;
    struct fake_batch spec = plain;
    struct transfer_limits limits = no_limits;

    limits.filtered = true;
    assert_int_equal(decide(&plain, 10, &limits, &verdict), TRANSFER_RECODE);
    assert_int_equal(verdict, BATCH_FILTERED);
    assert_int_equal(decide(&plain, 12, &limits, &verdict), TRANSFER_BEFORE);
    limits = no_limits;
    limits.other_codec = true;
    limits.codec = CODEC_ZSTD;
    assert_int_equal(decide(&plain, 10, &limits, &verdict), TRANSFER_RECODE);
    assert_int_equal(verdict, BATCH_OTHER_CODEC);
    spec.codec = CODEC_ZSTD;
    assert_int_equal(decide(&spec, 10, &limits, &verdict), TRANSFER_PASS);
}

static void old_formats_are_re_encoded(void **state)
{
    (void)state;
    struct fetch_partition none = {0};
    struct transfer_filter filter;
    struct batch batch = {.magic = 1, .base_offset = 3, .len = 40};
    enum transfer_what what;
    enum batch_verdict verdict;
    struct err err;
    transfer_filter_init(&filter, &none);
    assert_true(transfer_decide(&filter, &batch, 3, &no_limits, &what, &verdict, &err));
    assert_int_equal(what, TRANSFER_RECODE);
    assert_int_equal(verdict, BATCH_OLD_FORMAT);
    assert_true(transfer_decide(&filter, &batch, 4, &no_limits, &what, &verdict, &err));
    assert_int_equal(what, TRANSFER_BEFORE);
    transfer_filter_done(&filter);
}

static void a_broken_marker_is_an_error(void **state)
{
    (void)state;
    static const char key[] = {0, 0, 0};
    const struct fake_record record = {.key = key, .key_len = 3};
    struct fake_batch spec = plain;
    struct fetch_partition none = {0};
    struct transfer_filter filter;
    struct made made;
    enum transfer_what what;
    enum batch_verdict verdict;
    struct err err = {0};
    spec.attributes = BATCH_CONTROL | BATCH_TRANSACTIONAL;
    spec.records = &record;
    spec.count = 1;
    make(&made, &spec);
    transfer_filter_init(&filter, &none);
    assert_false(transfer_decide(&filter, &made.batch, 0, &no_limits, &what, &verdict, &err));
    assert_true(strlen(err.what) > 0);
    transfer_filter_done(&filter);
    writer_done(&made.writer);
}

static void what_was_read_before_and_what_is_empty_is_no_record(void **state)
{
    (void)state;
    enum batch_verdict verdict;
    struct fake_batch spec = plain;
    assert_int_equal(decide(&plain, 12, &no_limits, &verdict), TRANSFER_BEFORE);
    spec.count = 0;
    spec.last_offset_delta = 5;
    assert_int_equal(decide(&spec, 10, &no_limits, &verdict), TRANSFER_SKIP);
    assert_int_equal(decide(&spec, 12, &no_limits, &verdict), TRANSFER_SKIP); /* even from inside */
}

static void an_ordinary_batch_passes(void **state)
{
    (void)state;
    enum batch_verdict verdict;
    struct fake_batch spec = plain;
    assert_int_equal(decide(&plain, 10, &no_limits, &verdict), TRANSFER_PASS);
    assert_int_equal(decide(&plain, 0, &no_limits, &verdict), TRANSFER_PASS);
    spec.attributes = BATCH_TRANSACTIONAL;
    assert_int_equal(decide(&spec, 10, &no_limits, &verdict), TRANSFER_PASS);
    assert_int_equal(verdict, BATCH_PASSES);
}

/* --- transactions ------------------------------------------------------------------------------------------------- */

struct step {
    int64_t base;
    int64_t producer_id;
    char kind; /* d data, t in a transaction, A and C markers */
    enum transfer_what what;
};

static void walk(const struct step *steps, size_t count, struct fetch_aborted *aborted,
                 int32_t aborted_count, int64_t position)
{
    static const char abort_key[4] = {0, 0, 0, 0};
    static const char commit_key[4] = {0, 0, 0, 1};
    struct fetch_partition fetched = {.aborted = aborted, .aborted_count = aborted_count};
    struct transfer_filter filter;
    transfer_filter_init(&filter, &fetched);
    for (size_t i = 0; i < count; i++) {
        const struct step *step = &steps[i];
        const struct fake_record marker = {.key = step->kind == 'A' ? abort_key : commit_key,
                                           .key_len = 4};
        bool control = step->kind == 'A' || step->kind == 'C';
        struct fake_batch spec = plain;
        struct made made;
        enum transfer_what what;
        enum batch_verdict verdict;
        struct err err;
        spec.base_offset = step->base;
        spec.producer_id = step->producer_id;
        spec.attributes = step->kind == 'd' ? 0 : BATCH_TRANSACTIONAL;
        if (control) {
            spec.attributes |= BATCH_CONTROL;
            spec.records = &marker;
            spec.count = 1;
        }
        make(&made, &spec);
        assert_true(
            transfer_decide(&filter, &made.batch, position, &no_limits, &what, &verdict, &err));
        assert_int_equal(what, step->what);
        writer_done(&made.writer);
    }
    transfer_filter_done(&filter);
}

static void aborted_transactions_are_skipped_to_their_marker(void **state)
{
    (void)state;
    struct fetch_aborted aborted[] = {
        {.producer_id = 2, .first_offset = 20},
        {.producer_id = 1, .first_offset = 0 }
    };
    const struct step steps[] = {
        {0,  1, 't', TRANSFER_SKIP},
        {2,  2, 't', TRANSFER_PASS},
        {4,  2, 'C', TRANSFER_SKIP},
        {5,  1, 't', TRANSFER_SKIP},
        {7,  1, 'd', TRANSFER_PASS},
        {9,  1, 'A', TRANSFER_SKIP},
        {10, 1, 't', TRANSFER_PASS},
        {12, 1, 'C', TRANSFER_SKIP},
        {20, 2, 't', TRANSFER_SKIP},
        {22, 2, 'A', TRANSFER_SKIP},
        {23, 2, 't', TRANSFER_PASS},
    };
    walk(steps, sizeof(steps) / sizeof(steps[0]), aborted, 2, 0);
}

/* The answer begins in the middle of it: the list names where it began. */
static void a_transaction_that_began_before_the_answer_is_known(void **state)
{
    (void)state;
    struct fetch_aborted aborted[] = {
        {.producer_id = 1, .first_offset = 3}
    };
    const struct step steps[] = {
        {20, 1, 't', TRANSFER_SKIP},
        {22, 1, 'A', TRANSFER_SKIP},
        {23, 1, 't', TRANSFER_PASS},
    };
    walk(steps, 3, aborted, 1, 20);
}

/* Twice by one producer: the first marker does not end the second transaction before it begins. */
static void two_aborted_transactions_of_one_producer(void **state)
{
    (void)state;
    struct fetch_aborted aborted[] = {
        {.producer_id = 1, .first_offset = 0 },
        {.producer_id = 1, .first_offset = 10}
    };
    const struct step steps[] = {
        {0,  1, 't', TRANSFER_SKIP},
        {2,  1, 'A', TRANSFER_SKIP},
        {3,  1, 't', TRANSFER_PASS},
        {5,  1, 'C', TRANSFER_SKIP},
        {10, 1, 't', TRANSFER_SKIP},
        {12, 1, 'A', TRANSFER_SKIP},
    };
    walk(steps, 6, aborted, 2, 0);
}

/* Batches before the position are passed over, their markers are not. */
static void markers_before_the_position_count(void **state)
{
    (void)state;
    struct fetch_aborted aborted[] = {
        {.producer_id = 1, .first_offset = 0}
    };
    const struct step steps[] = {
        {0, 1, 't', TRANSFER_BEFORE},
        {2, 1, 'A', TRANSFER_BEFORE},
        {3, 1, 't', TRANSFER_PASS  },
    };
    walk(steps, 3, aborted, 1, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_not_pass_is_named),
        cmocka_unit_test(a_position_inside_a_batch_is_re_encoded_by_its_own_name),
        cmocka_unit_test(a_service_can_want_batches_otherwise),
        cmocka_unit_test(old_formats_are_re_encoded),
        cmocka_unit_test(a_broken_marker_is_an_error),
        cmocka_unit_test(what_was_read_before_and_what_is_empty_is_no_record),
        cmocka_unit_test(an_ordinary_batch_passes),
        cmocka_unit_test(aborted_transactions_are_skipped_to_their_marker),
        cmocka_unit_test(a_transaction_that_began_before_the_answer_is_known),
        cmocka_unit_test(two_aborted_transactions_of_one_producer),
        cmocka_unit_test(markers_before_the_position_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
