/* mirror/producer: through what a partition keeps the id that the target gave out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kafka/error.h"
#include "mirror/producer.h"

#define ID    4711
#define EPOCH 3

static const struct checkpoint begin = {.source_next = 10, .sequence_next = 10, .generation = 2};

static struct producer given(void)
{
    struct producer producer;
    producer_init(&producer);
    assert_false(producer_goes_on(&producer, &begin, EPOCH));
    producer_give(&producer, ID, &begin, EPOCH);
    assert_true(producer_goes_on(&producer, &begin, EPOCH));
    return producer;
}

static void it_is_left_where_a_sequence_means_another_record(void **state)
{
    struct producer producer = given();
    struct checkpoint at = begin;

    (void)state;
    at.sequence_next = 9; /* before it began */
    assert_false(producer_goes_on(&producer, &at, EPOCH));
    at = begin;
    at.generation = 3;
    assert_false(producer_goes_on(&producer, &at, EPOCH));
    assert_false(producer_goes_on(&producer, &begin, EPOCH + 1)); /* the source's leader */
    at = begin;
    at.sequence_next = 1000;
    assert_true(producer_goes_on(&producer, &at, EPOCH));
}

static bool left_after(int16_t error, int64_t base_offset)
{
    struct producer producer = given();
    producer_doubted(&producer, error, base_offset, 50);
    return !producer_goes_on(&producer, &begin, EPOCH);
}

static void answers_that_say_nothing_of_it_keep_it(void **state)
{
    (void)state;
    assert_false(left_after(KAFKA_NOT_LEADER_OR_FOLLOWER, -1));
    assert_false(left_after(KAFKA_REQUEST_TIMED_OUT, -1));
    assert_false(left_after(KAFKA_NOT_ENOUGH_REPLICAS, -1));
    assert_false(left_after(KAFKA_NOT_ENOUGH_REPLICAS_AFTER_APPEND, -1));
    assert_false(left_after(KAFKA_TOPIC_AUTHORIZATION_FAILED, -1));
    assert_false(left_after(KAFKA_NONE, 51));
}

static void answers_that_contradict_it_end_it(void **state)
{
    (void)state;
    assert_true(left_after(KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    assert_true(left_after(KAFKA_DUPLICATE_SEQUENCE_NUMBER, -1));
    assert_true(left_after(KAFKA_INVALID_PRODUCER_EPOCH, -1));
    assert_true(left_after(KAFKA_UNKNOWN_PRODUCER_ID, -1));
    assert_true(left_after(KAFKA_UNKNOWN_SERVER_ERROR, -1));
    assert_true(left_after(KAFKA_NONE, 49));
}

static bool left_after_resume(struct resume_event event)
{
    struct producer producer = given();
    producer_resumed(&producer, &event);
    return !producer_goes_on(&producer, &begin, EPOCH);
}

static void where_it_was_counted_anew_it_is_left(void **state)
{
    (void)state;
    assert_false(left_after_resume((struct resume_event){0}));
    assert_false(left_after_resume((struct resume_event){.repeated_count = 5}));
    assert_false(
        left_after_resume((struct resume_event){.without_checkpoint = true, .began = true}));
    assert_true(left_after_resume((struct resume_event){.without_checkpoint = true}));
    assert_true(left_after_resume((struct resume_event){.target_truncated = true}));
    assert_true(left_after_resume((struct resume_event){.source_truncated = true}));
}

static struct parcel parcel_of(int64_t source_first, int64_t source_next, int32_t count,
                               int64_t sequence)
{
    return (struct parcel){.source_first = source_first,
                           .source_next = source_next,
                           .count = count,
                           .sequence = sequence};
}

static bool goes(const struct producer *producer, int64_t source_first, int64_t source_next,
                 int32_t count, int64_t sequence)
{
    const struct parcel parcel = parcel_of(source_first, source_next, count, sequence);
    return producer_same_again(producer, &parcel);
}

static void went(struct producer *producer, int64_t source_first, int64_t source_next,
                 int32_t count, int64_t sequence)
{
    const struct parcel parcel = parcel_of(source_first, source_next, count, sequence);
    producer_sent(producer, &parcel);
}

/* After a doubt the source is read again. */
static void what_went_out_goes_again_only_as_it_was(void **state)
{
    struct producer producer = given();

    (void)state;
    went(&producer, 10, 15, 5, 10);
    assert_true(goes(&producer, 10, 15, 5, 10));
    assert_true(goes(&producer, 10, 20, 10, 10)); /* with what stands behind it */
    assert_true(goes(&producer, 12, 15, 3, 12));
    assert_false(goes(&producer, 10, 16, 5, 10)); /* one is gone inside */
    assert_false(
        goes(&producer, 15, 20, 5, 10));         /* all are gone, and the position is behind them */
    assert_true(goes(&producer, 17, 30, 5, 15)); /* these went out never */
    producer_init(&producer);
    assert_true(goes(&producer, 10, 16, 5, 10)); /* no id, no sequence */
}

/* One was missing when they went out: whether it is the only one now cannot be told. */
static void behind_a_gap_it_is_known_again(void **state)
{
    struct producer producer = given();

    (void)state;
    went(&producer, 10, 16, 5, 10);
    went(&producer, 16, 20, 4, 15);
    went(&producer, 20, 24, 4, 19);
    assert_false(goes(&producer, 10, 16, 5, 10));
    assert_true(goes(&producer, 16, 24, 8, 15));
    assert_true(goes(&producer, 20, 24, 4, 19));
    assert_false(goes(&producer, 21, 25, 4, 19));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_left_where_a_sequence_means_another_record),
        cmocka_unit_test(answers_that_say_nothing_of_it_keep_it),
        cmocka_unit_test(answers_that_contradict_it_end_it),
        cmocka_unit_test(where_it_was_counted_anew_it_is_left),
        cmocka_unit_test(what_went_out_goes_again_only_as_it_was),
        cmocka_unit_test(behind_a_gap_it_is_known_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
