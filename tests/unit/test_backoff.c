/* base/backoff: doubling up to a cap, spread by a fifth, never zero. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/backoff.h"

static void waits_double_up_to_the_cap(void **state)
{
    static const int32_t middle[] = {100, 200, 400, 800, 1000, 1000, 1000};
    (void)state;
    for (uint32_t seed = 0; seed < 1000; seed++) {
        struct backoff backoff;
        backoff_init(&backoff, 100, 1000, seed);
        for (size_t i = 0; i < sizeof(middle) / sizeof(middle[0]); i++) {
            assert_in_range(backoff_next_ms(&backoff), middle[i] * 8 / 10, middle[i] * 12 / 10);
        }
        assert_int_equal(backoff.attempts_count, 7);
    }
}

static void a_success_begins_again(void **state)
{
    struct backoff backoff;
    (void)state;
    backoff_init(&backoff, 100, 1000, 1);
    for (int i = 0; i < 5; i++) {
        backoff_next_ms(&backoff);
    }
    backoff_reset(&backoff);
    assert_in_range(backoff_next_ms(&backoff), 80, 120);
}

static void workers_do_not_come_together(void **state)
{
    int32_t least = INT32_MAX;
    int32_t most = 0;
    (void)state;
    for (uint32_t seed = 0; seed < 100; seed++) {
        struct backoff backoff;
        backoff_init(&backoff, 1000, 1000, seed);
        int32_t wait = backoff_next_ms(&backoff);
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    assert_true(least < 850 && most > 1150);
}

static void edges(void **state)
{
    struct backoff backoff;
    (void)state;
    backoff_init(&backoff, 1, 1, 7);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(backoff_next_ms(&backoff), 1);
    }
    backoff_init(&backoff, INT32_MAX / 2, INT32_MAX / 2, 7); /* a fifth more must fit */
    assert_true(backoff_next_ms(&backoff) > 0);
    backoff.attempts_count = INT32_MAX - 1; /* years of attempts */
    assert_true(backoff_next_ms(&backoff) > 0);
    assert_true(backoff_next_ms(&backoff) > 0);
    assert_true(backoff_next_ms(&backoff) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_double_up_to_the_cap),
        cmocka_unit_test(a_success_begins_again),
        cmocka_unit_test(workers_do_not_come_together),
        cmocka_unit_test(edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
