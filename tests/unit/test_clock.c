/* base/clock: times for people, a clock that a test owns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

static void times_are_rfc_3339(void **state)
{
    char out[CLOCK_TEXT_BYTES];
    (void)state;
    assert_string_equal(clock_rfc3339(0, out), "1970-01-01T00:00:00.000Z");
    assert_string_equal(clock_rfc3339(1795662007123, out), "2026-11-26T03:00:07.123Z");
    assert_string_equal(clock_rfc3339(951782400999, out), "2000-02-29T00:00:00.999Z");
    assert_string_equal(clock_rfc3339(253402300799999, out), "9999-12-31T23:59:59.999Z");
}

/* A broker may send any timestamp. */
static void what_is_no_time_is_unknown(void **state)
{
    static const int64_t values[] = {-1, INT64_MIN, INT64_MAX, 253402300800000};
    char out[CLOCK_TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        assert_string_equal(clock_rfc3339(values[i], out), "unknown");
    }
}

static void the_system_clock_goes_forward(void **state)
{
    const struct clock *clock = clock_system();
    (void)state;
    int64_t before = clock_now_ms(clock);
    assert_true(before > 0);
    assert_true(clock_now_ms(clock) >= before);
    assert_true(clock_wall_ms(clock) > 1500000000000);
}

static void a_fake_clock_stands_until_told(void **state)
{
    struct clock_fake fake;
    (void)state;
    clock_fake_init(&fake, 1000, 5000);
    assert_int_equal(clock_now_ms(&fake.clock), 1000);
    assert_int_equal(clock_wall_ms(&fake.clock), 5000);
    clock_fake_advance(&fake, 250);
    assert_int_equal(clock_now_ms(&fake.clock), 1250);
    assert_int_equal(clock_wall_ms(&fake.clock), 5250);
    fake.wall -= 3600000; /* somebody set the wall clock back: ours does not care */
    assert_int_equal(clock_now_ms(&fake.clock), 1250);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_rfc_3339),
        cmocka_unit_test(what_is_no_time_is_unknown),
        cmocka_unit_test(the_system_clock_goes_forward),
        cmocka_unit_test(a_fake_clock_stands_until_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
