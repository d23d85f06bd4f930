/* mirror/flow: each thing that holds a partition back is called by its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "mirror/flow.h"

static struct flow_look busy(void)
{
    return (struct flow_look){.behind = true,
                              .fetching = true,
                              .window_bytes = 4 << 20,
                              .ack_ms = 3,
                              .source_round_us = 40,
                              .target_round_us = 40};
}

static void each_limit_has_its_name(void **state)
{
    (void)state;
    struct flow_look look = busy();
    assert_int_equal(flow_limit_of(&look), FLOW_SOURCE);
    look.source_round_us = 80000;
    assert_int_equal(flow_limit_of(&look), FLOW_LINE);
    look.fetching = false;
    look.queued_bytes = 1 << 20;
    assert_int_equal(flow_limit_of(&look), FLOW_TARGET);
    look.flight_bytes = 4 << 20;
    assert_int_equal(flow_limit_of(&look), FLOW_TARGET);
    look.target_round_us = 80000; /* a window each round trip: as fast as it can be */
    look.ack_ms = 90;
    assert_int_equal(flow_limit_of(&look), FLOW_WINDOW);
    look.ack_ms = 900; /* the line alone would have taken 80 */
    assert_int_equal(flow_limit_of(&look), FLOW_TARGET);
    look.memory_full = true;
    assert_int_equal(flow_limit_of(&look), FLOW_MEMORY);
    look.throttled = true;
    assert_int_equal(flow_limit_of(&look), FLOW_CONFIG);
}

static void who_has_copied_all_is_held_back_by_nothing(void **state)
{
    (void)state;
    struct flow_look look = busy();
    look.behind = false;
    assert_int_equal(flow_limit_of(&look), FLOW_NOTHING);
    look.queued_bytes = 100; /* on its way */
    assert_int_equal(flow_limit_of(&look), FLOW_NOTHING);
}

static void a_second_is_named_after_most_of_its_looks(void **state)
{
    (void)state;
    struct flow flow = {0};
    for (int64_t now_ms = 7000; now_ms <= 8000; now_ms += 100) {
        flow_moved(&flow, 1000);
        flow_look(&flow, now_ms < 7300 ? FLOW_SOURCE : FLOW_TARGET, now_ms);
    }
    assert_int_equal(flow.limit, FLOW_TARGET);
    assert_true(flow.bytes_per_s > 10999 && flow.bytes_per_s < 11001);
    for (int64_t now_ms = 8100; now_ms <= 9000; now_ms += 100) {
        flow_look(&flow, FLOW_NOTHING, now_ms);
    }
    assert_int_equal(flow.limit, FLOW_NOTHING);
    assert_true(flow.bytes_per_s < 1);
}

static void every_limit_has_a_word(void **state)
{
    (void)state;
    for (int limit = 0; limit < FLOW_LIMITS_COUNT; limit++) {
        assert_true(strlen(flow_limit_name((enum flow_limit)limit)) > 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_limit_has_its_name),
        cmocka_unit_test(who_has_copied_all_is_held_back_by_nothing),
        cmocka_unit_test(a_second_is_named_after_most_of_its_looks),
        cmocka_unit_test(every_limit_has_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
