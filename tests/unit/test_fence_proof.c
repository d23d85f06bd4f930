/* failover/fence_proof: when it may be said that nobody of the mirror writes any more; each fact that is missing takes it away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "failover/fence_proof.h"

static struct fence_worker workers[2];

static struct fence_look look(void)
{
    workers[0] = (struct fence_worker){.seen_ms = 1000000};
    workers[1] = (struct fence_worker){.seen_ms = 1000000};
    return (struct fence_look){.group = GROUP_EMPTY,
                               .order_ms = 100,
                               .redis = true,
                               .redis_ms = 1000100,
                               .workers = workers,
                               .count = 2,
                               .session_ms = 10000,
                               .tcp_user_timeout_ms = 3000};
}

static void who_was_heard_of_has_to_answer(void **state)
{
    struct fence_look seen = look();
    (void)state;
    assert_int_equal(fence_judge(&seen), PROOF_NONE);
    workers[0].acked = true;
    assert_int_equal(fence_judge(&seen), PROOF_NONE); /* the other one may write */
    workers[1].left = true;
    assert_int_equal(fence_judge(&seen), PROOF_LEFT);
    seen.group = GROUP_MEMBERS; /* somebody whom Redis does not know */
    assert_int_equal(fence_judge(&seen), PROOF_NONE);
    seen.group = GROUP_UNKNOWN;
    assert_int_equal(fence_judge(&seen), PROOF_NONE);
}

static void silence_counts_on_one_clock_and_is_long(void **state)
{
    struct fence_look seen = look();
    (void)state;
    seen.redis_ms = 1000000 + 17999;
    assert_int_equal(fence_judge(&seen), PROOF_NONE);
    seen.redis_ms = 1000000 + 18000; /* 10 s + 3 s, and 5 s for a clock that moved with Redis */
    assert_int_equal(fence_judge(&seen), PROOF_SILENT);
    workers[1].seen_ms = seen.redis_ms - 500;
    assert_int_equal(fence_judge(&seen), PROOF_NONE);
    seen.count = 0; /* flushed: no witness */
    assert_int_equal(fence_judge(&seen), PROOF_NONE);
    seen.count = 1;
    seen.redis = false;
    assert_int_equal(fence_judge(&seen), PROOF_NONE);
}

static void an_order_that_stands_long_enough(void **state)
{
    struct fence_look seen = look();
    (void)state;
    seen.redis = false;
    seen.order_ms = 11999;
    assert_int_equal(fence_judge(&seen), PROOF_NONE);
    seen.order_ms = 12000; /* 8 s of a control topic that is not read, 3 s in a kernel, 1 s */
    assert_int_equal(fence_judge(&seen), PROOF_TIME);
    seen.group = GROUP_ABSENT;
    assert_int_equal(fence_judge(&seen), PROOF_TIME);
    seen.group = GROUP_MEMBERS;
    assert_int_equal(fence_judge(&seen), PROOF_NONE);
}

static void a_refused_write_needs_nothing_else(void **state)
{
    struct fence_look seen = look();
    (void)state;
    seen.group = GROUP_MEMBERS;
    seen.denied = true;
    assert_int_equal(fence_judge(&seen), PROOF_DENIED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_was_heard_of_has_to_answer),
        cmocka_unit_test(silence_counts_on_one_clock_and_is_long),
        cmocka_unit_test(an_order_that_stands_long_enough),
        cmocka_unit_test(a_refused_write_needs_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
