/* Turns of a real loop in a test: for so long, or until something is so. Include it behind <cmocka.h>. */
#ifndef FERRY_TESTS_FAKE_TURNS_H
#define FERRY_TESTS_FAKE_TURNS_H

#include "base/loop.h"

#define TURNS_STEP_MS 5

/* The test fails when `condition` is not so within patience_ms. */
#define TURN_UNTIL(on, patience_ms, condition)                       \
    do {                                                             \
        struct loop *turned = (on);                                  \
        int64_t turns_end_ms = loop_now_ms(turned) + (patience_ms);  \
        while (!(condition) && loop_now_ms(turned) < turns_end_ms) { \
            loop_run_once(turned, TURNS_STEP_MS);                    \
        }                                                            \
        assert_true(condition);                                      \
    } while (0)

static inline void turn_for(struct loop *loop, int64_t ms)
{
    int64_t end_ms = loop_now_ms(loop) + ms;
    while (loop_now_ms(loop) < end_ms) {
        loop_run_once(loop, TURNS_STEP_MS);
    }
}

#endif
