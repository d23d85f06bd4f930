#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mirror/streams.h"
#include "offsets/checkpoint.h"

static void the_first_configuration_is_epoch_1(void **state)
{
    (void)state;
    struct control_state control = {0};
    assert_int_equal(streams_judge(&control, 0xabc), STREAMS_WRITE);
    char *record = streams_advance(&control, 0xabc, 0);
    assert_string_equal(record, "{\"epoch\":1,\"hash\":\"0000000000000abc\",\"previous\":[]}");
    assert_int_equal(streams_judge(&control, 0xabc), STREAMS_OURS);
    free(record);
}

static void a_hash_never_seen_is_the_newest(void **state)
{
    (void)state;
    struct control_state control = {.streams_epoch = 4, .streams_hash = 1};
    assert_int_equal(streams_judge(&control, 2), STREAMS_WRITE);
    char *record = streams_advance(&control, 2, 0);
    assert_string_equal(record, "{\"epoch\":5,\"hash\":\"0000000000000002\",\"previous\":"
                                "[\"0000000000000001\"]}");
    free(record);
    assert_int_equal(streams_judge(&control, 1), STREAMS_OLDER);
}

/* Another filter is another stream; anything else that changes the hash is not. */
static void a_changed_filter_raises_the_least_generation(void **state)
{
    (void)state;
    struct control_state control = {0};
    free(streams_advance(&control, 1, 0xf));
    assert_int_equal(control.streams_generation, 0); /* nothing was mirrored before */
    free(streams_advance(&control, 2, 0xf));
    assert_int_equal(control.streams_generation, 0);
    char *record = streams_advance(&control, 3, 0xe);
    assert_int_equal(control.streams_generation, GENERATIONS_A_FILTER);
    assert_non_null(strstr(record, "\"filter\":\"000000000000000e\""));
    assert_non_null(strstr(record, "\"generation\":256"));
    free(record);
    record = streams_advance(&control, 4, 0); /* no filter any more */
    assert_int_equal(control.streams_generation, 2 * GENERATIONS_A_FILTER);
    assert_non_null(strstr(record, "\"generation\":512"));
    free(record);
}

/* The record stays one that readers take; the partitions say that there is no generation left. */
static void after_the_last_filter_the_generations_have_run_out(void **state)
{
    (void)state;
    struct control_state control = {0};
    for (uint64_t filter = 1; filter < 200; filter++) {
        free(streams_advance(&control, filter, filter));
        assert_true(control.streams_generation <= GENERATION_MAX || filter > 127);
    }
    assert_int_equal(control.streams_generation, GENERATION_MAX + 1);
}

/* Two workers, one not restarted yet, or a file that was put back: they must not take turns. */
static void a_replaced_hash_never_wins_again(void **state)
{
    (void)state;
    struct control_state control = {.streams_epoch = 1, .streams_hash = 1};
    for (uint64_t hash = 2; hash <= 17; hash++) {
        free(streams_advance(&control, hash, 0));
    }
    assert_int_equal(control.streams_epoch, 17);
    assert_int_equal(control.streams_previous_count, STREAMS_PREVIOUS_MAX);
    for (uint64_t hash = 1; hash <= 16; hash++) {
        assert_int_equal(streams_judge(&control, hash), STREAMS_OLDER);
    }
    assert_int_equal(streams_judge(&control, 17), STREAMS_OURS);
}

static void the_oldest_is_forgotten_first(void **state)
{
    (void)state;
    struct control_state control = {.streams_epoch = 1, .streams_hash = 1};
    for (uint64_t hash = 2; hash <= 18; hash++) {
        free(streams_advance(&control, hash, 0));
    }
    assert_int_equal(control.streams_previous_count, STREAMS_PREVIOUS_MAX);
    assert_int_equal(control.streams_previous[0], 2);
    assert_int_equal(control.streams_previous[15], 17);
    assert_int_equal(streams_judge(&control, 1), STREAMS_WRITE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_configuration_is_epoch_1),
        cmocka_unit_test(a_hash_never_seen_is_the_newest),
        cmocka_unit_test(a_changed_filter_raises_the_least_generation),
        cmocka_unit_test(after_the_last_filter_the_generations_have_run_out),
        cmocka_unit_test(a_replaced_hash_never_wins_again),
        cmocka_unit_test(the_oldest_is_forgotten_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
