/* mirror/throttle: never more than the rate, never less while there is a backlog, overdrafts are paid back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mirror/throttle.h"

#define MIB ((int64_t)1 << 20)

static void without_a_limit_there_is_always_room(void **state)
{
    (void)state;
    struct throttle throttle = {0};
    throttle_take(&throttle, 100 * MIB);
    assert_true(throttle_room(&throttle, 0) == INT64_MAX);
}

/* Whoever looks every `step_ms` and takes `piece` bytes whenever there is room: how much passed in a minute? */
static int64_t passed(int64_t rate, int64_t piece, int64_t step_ms)
{
    struct throttle throttle = {0};
    int64_t sum = 0;
    throttle_set(&throttle, rate, 5000);
    for (int64_t now_ms = 5000; now_ms < 65000; now_ms += step_ms) {
        while (throttle_room(&throttle, now_ms) > 0) {
            throttle_take(&throttle, piece);
            sum += piece;
        }
    }
    return sum;
}

static void a_backlog_passes_at_the_rate(void **state)
{
    (void)state;
    const struct {
        int64_t rate, piece, step_ms;
    } rows[] = {
        {8 * MIB, 64 << 10, 100},
        {8 * MIB, 64 << 10, 1  },
        {8 * MIB, 4 * MIB,  100}, /* pieces larger than what a burst holds */
        {MIB,     1 << 20,  7  },
        {999,     61,       3  }, /* a step earns less than three bytes */
        {3,       1,        1  },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t sum = passed(rows[i].rate, rows[i].piece, rows[i].step_ms);
        int64_t due = rows[i].rate * 60;
        assert_true(sum >= due * 98 / 100);
        assert_true(sum <= due * 102 / 100 + rows[i].rate / 4 + rows[i].piece);
    }
}

static void quiet_hours_do_not_pass_at_once(void **state)
{
    (void)state;
    struct throttle throttle = {0};
    throttle_set(&throttle, 8 * MIB, 0);
    assert_true(throttle_room(&throttle, (int64_t)24 * 3600 * 1000) <= 2 * MIB);
}

static void an_overdraft_is_paid_back_first(void **state)
{
    (void)state;
    struct throttle throttle = {0};
    throttle_set(&throttle, MIB, 0);
    throttle_take(&throttle, throttle_room(&throttle, 0) + 2 * MIB);
    assert_true(throttle_room(&throttle, 1900) <= 0);
    assert_true(throttle_room(&throttle, 2100) > 0);
}

static void a_new_limit_counts_at_once_and_the_same_one_changes_nothing(void **state)
{
    (void)state;
    struct throttle throttle = {0};
    throttle_set(&throttle, MIB, 0);
    throttle_take(&throttle, 100 * MIB);
    throttle_set(&throttle, MIB, 10);
    assert_true(throttle_room(&throttle, 20) < 0);
    throttle_set(&throttle, 2 * MIB, 30); /* what is owed is paid back at the new rate */
    assert_true(throttle_room(&throttle, 40000) < 0);
    assert_true(throttle_room(&throttle, 51000) > 0);
    throttle_set(&throttle, 0, 60000);
    assert_true(throttle_room(&throttle, 60000) == INT64_MAX);
    throttle_set(&throttle, MIB, 60000); /* after none, one begins with its burst */
    assert_true(throttle_room(&throttle, 60000) > 0);
}

/* A worker's share of a link's limit follows its partitions: it may change at each look. */
static void a_rate_that_changes_all_the_time_is_kept(void **state)
{
    (void)state;
    struct throttle throttle = {0};
    int64_t sum = 0;
    for (int64_t now_ms = 0; now_ms < 60000; now_ms += 100) {
        throttle_set(&throttle, MIB + now_ms / 100 % 2, now_ms);
        while (throttle_room(&throttle, now_ms) > 0) {
            throttle_take(&throttle, MIB / 16);
            sum += MIB / 16;
        }
    }
    assert_true(sum <= 61 * MIB);
    assert_true(sum >= 58 * MIB);
}

static void what_is_left_of_a_high_rate_is_no_burst_of_a_low_one(void **state)
{
    (void)state;
    struct throttle throttle = {0};
    throttle_set(&throttle, 100 * MIB, 0);
    throttle_set(&throttle, MIB, 0);
    assert_true(throttle_room(&throttle, 0) <= MIB / 4);
}

static void the_largest_rates_do_not_overflow(void **state)
{
    (void)state;
    struct throttle throttle = {0};
    throttle_set(&throttle, INT64_MAX / 1000, 0);
    throttle_take(&throttle, MIB);
    assert_true(throttle_room(&throttle, 1) > 0);
    throttle_take(&throttle, INT64_MAX / 1000);
    assert_true(throttle_room(&throttle, INT64_MAX / 2) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_limit_there_is_always_room),
        cmocka_unit_test(a_backlog_passes_at_the_rate),
        cmocka_unit_test(quiet_hours_do_not_pass_at_once),
        cmocka_unit_test(an_overdraft_is_paid_back_first),
        cmocka_unit_test(a_new_limit_counts_at_once_and_the_same_one_changes_nothing),
        cmocka_unit_test(a_rate_that_changes_all_the_time_is_kept),
        cmocka_unit_test(what_is_left_of_a_high_rate_is_no_burst_of_a_low_one),
        cmocka_unit_test(the_largest_rates_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
