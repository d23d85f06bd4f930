/* base/loop: descriptors, timers that are never early, signals, calls from other threads, the end of a turn, frees in
 * callbacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"

struct seen {
    struct loop *loop;
    struct loop_fd *watch;
    struct loop_timer *timer;
    struct loop_signal *signal;
    int fd;
    int what;
    int count;
    int64_t at_ms;
};

static int setup(void **state)
{
    struct seen *seen = calloc(1, sizeof(*seen));
    seen->loop = loop_new(clock_system());
    *state = seen;
    return 0;
}

static int teardown(void **state)
{
    struct seen *seen = *state;
    loop_free(seen->loop);
    free(seen);
    return 0;
}

static void note(void *arg, int what)
{
    struct seen *seen = arg;
    char byte;
    seen->what = what;
    seen->count++;
    if (what & LOOP_READ) {
        assert_int_equal(read(seen->fd, &byte, 1), 1);
    }
}

static void a_descriptor_tells_what_is_asked_for(void **state)
{
    struct seen *seen = *state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    seen->fd = fds[0];
    seen->watch = loop_fd_new(seen->loop, fds[0], LOOP_READ, note, seen);
    loop_run_once(seen->loop, 5);
    assert_int_equal(seen->count, 0); /* writable, but nobody asked */
    assert_int_equal(write(fds[1], "ab", 2), 2);
    loop_run_once(seen->loop, 1000);
    assert_int_equal(seen->what, LOOP_READ);
    loop_run_once(seen->loop, 1000); /* level: there is a byte left */
    assert_int_equal(seen->count, 2);
    loop_fd_interest(seen->watch, LOOP_READ | LOOP_WRITE);
    loop_run_once(seen->loop, 1000);
    assert_int_equal(seen->what, LOOP_WRITE);
    loop_fd_interest(seen->watch, 0);
    assert_int_equal(write(fds[1], "c", 1), 1);
    loop_run_once(seen->loop, 5);
    assert_int_equal(seen->count, 3);
    loop_fd_free(seen->watch);
    loop_fd_free(NULL);
    close(fds[0]); /* ours to close */
    close(fds[1]);
}

static void free_watch(void *arg, int what)
{
    struct seen *seen = arg;
    (void)what;
    loop_fd_free(seen->watch);
    seen->count++;
}

static void free_timer(void *arg)
{
    struct seen *seen = arg;
    loop_timer_free(seen->timer);
    seen->count++;
}

static void free_signal(void *arg)
{
    struct seen *seen = arg;
    loop_signal_free(seen->signal);
    seen->count++;
}

static void handles_may_be_freed_in_their_own_callbacks(void **state)
{
    struct seen *seen = *state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(write(fds[1], "a", 1), 1);
    seen->watch = loop_fd_new(seen->loop, fds[0], LOOP_READ | LOOP_WRITE, free_watch, seen);
    loop_run_once(seen->loop, 1000);
    assert_int_equal(seen->count, 1);
    seen->timer = loop_timer_new(seen->loop, free_timer, seen);
    loop_timer_set(seen->timer, 0);
    loop_run_once(seen->loop, 1000);
    assert_int_equal(seen->count, 2);
    seen->signal = loop_signal_new(seen->loop, SIGUSR1, free_signal, seen);
    raise(SIGUSR1);
    loop_run_once(seen->loop, 1000);
    assert_int_equal(seen->count, 3);
    loop_timer_free(NULL);
    loop_signal_free(NULL);
    close(fds[0]);
    close(fds[1]);
}

static void stamp(void *arg)
{
    struct seen *seen = arg;
    seen->count++;
    seen->at_ms = loop_now_ms(seen->loop);
    loop_stop(seen->loop);
}

static void nothing(void *arg, int what)
{
    (void)arg;
    (void)what;
}

/* Who is woken to look at his clock must find that the time has come. A descriptor that is always ready makes the loop
 * look at its timers all the time, which is when libevent's coarse clock is early. */
static void a_timer_is_never_early(void **state)
{
    struct seen *seen = *state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    seen->watch = loop_fd_new(seen->loop, fds[0], LOOP_WRITE, nothing, seen);
    seen->timer = loop_timer_new(seen->loop, stamp, seen);
    for (int delay = 0; delay < 30; delay++) {
        usleep(3300); /* somewhere between two ticks of that clock */
        int64_t begin = loop_now_ms(seen->loop);
        loop_timer_set(seen->timer, delay);
        assert_true(loop_timer_pending(seen->timer));
        loop_run(seen->loop);
        assert_false(loop_timer_pending(seen->timer));
        assert_true(seen->at_ms - begin >= delay);
        assert_true(seen->at_ms - begin < delay + 500);
    }
    assert_int_equal(seen->count, 30);
    loop_timer_free(seen->timer);
    loop_fd_free(seen->watch);
    close(fds[0]);
    close(fds[1]);
}

static void sleep_and_set(void *arg)
{
    struct seen *seen = arg;
    usleep(60 * 1000); /* a callback that takes long: libevent's clock stands meanwhile */
    seen->what = (int)loop_now_ms(seen->loop);
    loop_timer_set(seen->timer, 50);
}

static void a_timer_set_behind_long_work_is_not_early(void **state)
{
    struct seen *seen = *state;
    struct loop_timer *worker = loop_timer_new(seen->loop, sleep_and_set, seen);
    seen->timer = loop_timer_new(seen->loop, stamp, seen);
    loop_timer_set(worker, 0);
    loop_run(seen->loop);
    assert_true((int)seen->at_ms - seen->what >= 50);
    loop_timer_free(worker);
    loop_timer_free(seen->timer);
}

static void a_timer_can_be_moved_and_cancelled(void **state)
{
    struct seen *seen = *state;
    seen->timer = loop_timer_new(seen->loop, stamp, seen);
    loop_timer_set(seen->timer, 3600000);
    loop_timer_set(seen->timer, -5); /* the past is now */
    loop_run_once(seen->loop, 1000);
    assert_int_equal(seen->count, 1);
    loop_timer_set(seen->timer, 1);
    loop_timer_cancel(seen->timer);
    loop_timer_cancel(seen->timer);
    assert_false(loop_timer_pending(seen->timer));
    loop_run_once(seen->loop, 20);
    assert_int_equal(seen->count, 1);
    loop_timer_free(seen->timer);
}

static void run_once_comes_back_when_nothing_happens(void **state)
{
    struct seen *seen = *state;
    int64_t begin = loop_now_ms(seen->loop);
    loop_run_once(seen->loop, 30);
    loop_run_once(seen->loop, 0);
    assert_in_range(loop_now_ms(seen->loop) - begin, 20, 2000);
}

#define CALLS_COUNT 10000

static void counted(void *arg)
{
    int *next = arg;
    (*next)++;
}

struct poster {
    struct loop *loop;
    int posted;
    int done;
};

static void take_order(void *arg)
{
    struct poster *poster = arg;
    poster->done++;
}

static void *post_many(void *arg)
{
    struct poster *poster = arg;
    for (int i = 0; i < CALLS_COUNT; i++) {
        loop_post(poster->loop, take_order, poster);
    }
    return NULL;
}

static void calls_of_other_threads_run_here(void **state)
{
    struct seen *seen = *state;
    struct poster posters[2] = {{.loop = seen->loop}, {.loop = seen->loop}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
    }
    for (int turn = 0;
         turn < 100000 && (posters[0].done < CALLS_COUNT || posters[1].done < CALLS_COUNT);
         turn++) {
        loop_run_once(seen->loop, 100);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(posters[i].done, CALLS_COUNT);
    }
}

struct step {
    struct seen *seen;
    int number;
};

static void in_order(void *arg)
{
    struct step *step = arg;
    assert_int_equal(step->seen->count, step->number);
    step->seen->count++;
}

static void calls_keep_their_order(void **state)
{
    struct seen *seen = *state;
    struct step steps[100];
    for (int i = 0; i < 100; i++) {
        steps[i] = (struct step){.seen = seen, .number = i};
        loop_post(seen->loop, in_order, &steps[i]);
    }
    loop_run_once(seen->loop, 1000);
    assert_int_equal(seen->count, 100);
}

static void calls_that_never_ran_are_not_run_by_free(void **state)
{
    int count = 0;
    struct loop *loop = loop_new(clock_system());
    (void)state;
    loop_post(loop, counted, &count);
    loop_free(loop);
    loop_free(NULL);
    assert_int_equal(count, 0);
}

struct turn {
    struct loop *loop;
    struct loop_after *after;
    struct loop_after *other;
    struct loop_timer *timer;
    int32_t rest_us;
    int ready_count;
    int after_count;
    int64_t ready_ms;
    int64_t rested_ms;
};

static void end_of_turn(void *arg)
{
    struct turn *turn = arg;
    turn->after_count++;
    assert_int_equal(turn->ready_count, 2); /* both calls of the turn came first */
}

static void ask_twice(void *arg)
{
    struct turn *turn = arg;
    turn->ready_count++;
    loop_after_ask(turn->after);
    loop_after_ask(turn->after);
}

static void the_end_of_a_turn_is_told_once_and_last(void **state)
{
    struct seen *seen = *state;
    struct turn turn = {.loop = seen->loop};
    turn.after = loop_after_new(seen->loop, end_of_turn, &turn);
    loop_post(seen->loop, ask_twice, &turn);
    loop_post(seen->loop, ask_twice, &turn);
    loop_run_once(seen->loop, 1000);
    assert_int_equal(turn.ready_count, 2);
    assert_int_equal(turn.after_count, 1);
    loop_after_ask(turn.after);
    loop_after_free(turn.after); /* is not told any more */
    loop_run_once(seen->loop, 1);
    assert_int_equal(turn.after_count, 1);
}

static void free_other(void *arg)
{
    struct turn *turn = arg;
    loop_after_free(turn->other);
    turn->other = NULL;
    loop_after_free(turn->after);
    turn->after = NULL;
}

static void the_end_of_a_turn_may_free_itself_and_others(void **state)
{
    struct seen *seen = *state;
    struct turn turn = {.loop = seen->loop};
    turn.after = loop_after_new(seen->loop, free_other, &turn);
    turn.other = loop_after_new(seen->loop, end_of_turn, &turn);
    loop_after_ask(turn.other);
    loop_after_ask(turn.after);
    loop_run_once(seen->loop, 1);
    assert_null(turn.after);
    assert_int_equal(turn.after_count, 0);
    loop_after_free(NULL);
}

static void next_turn(void *arg)
{
    struct turn *turn = arg;
    turn->rested_ms = loop_now_ms(turn->loop);
    loop_stop(turn->loop);
}

static void rest_then_more(void *arg)
{
    struct turn *turn = arg;
    turn->ready_ms = loop_now_ms(turn->loop);
    loop_rest(turn->loop, turn->rest_us);
    loop_timer_set(turn->timer, 0);
}

static int64_t gap_behind_a_rest(struct loop *loop, int32_t rest_us)
{
    struct turn turn = {.loop = loop, .rest_us = rest_us};
    turn.timer = loop_timer_new(loop, next_turn, &turn);
    loop_post(loop, rest_then_more, &turn);
    loop_run(loop);
    loop_timer_free(turn.timer);
    return turn.rested_ms - turn.ready_ms;
}

static void a_rest_delays_the_next_turn_and_no_later_one(void **state)
{
    struct seen *seen = *state;
    assert_true(gap_behind_a_rest(seen->loop, 200000) >= 199);
    assert_true(gap_behind_a_rest(seen->loop, 0) < 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_descriptor_tells_what_is_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(handles_may_be_freed_in_their_own_callbacks, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_timer_is_never_early, setup, teardown),
        cmocka_unit_test_setup_teardown(a_timer_set_behind_long_work_is_not_early, setup, teardown),
        cmocka_unit_test_setup_teardown(a_timer_can_be_moved_and_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(run_once_comes_back_when_nothing_happens, setup, teardown),
        cmocka_unit_test_setup_teardown(calls_of_other_threads_run_here, setup, teardown),
        cmocka_unit_test_setup_teardown(calls_keep_their_order, setup, teardown),
        cmocka_unit_test_setup_teardown(calls_that_never_ran_are_not_run_by_free, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_of_a_turn_is_told_once_and_last, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_of_a_turn_may_free_itself_and_others, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_rest_delays_the_next_turn_and_no_later_one, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
