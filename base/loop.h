/* The door to libevent: file descriptors, timers, signals, calls from other threads. One loop, one thread.
 *
 * Callbacks run on the loop's thread and must not block. A handle may be freed inside its own callback.
 */
#ifndef FERRY_BASE_LOOP_H
#define FERRY_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

struct loop;
struct loop_fd;
struct loop_timer;
struct loop_signal;
struct loop_after;
struct event_base; /* libevent's, for hiredis and evhttp only */

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

struct loop *loop_new(const struct clock *clock);
void loop_free(struct loop *loop);
void loop_run(struct loop *loop);  /* until loop_stop() */
void loop_stop(struct loop *loop); /* after the callback that is running */
/* Run whatever is ready, waiting at most wait_ms; for tests. */
void loop_run_once(struct loop *loop, int32_t wait_ms);
const struct clock *loop_clock(const struct loop *loop);
static inline int64_t loop_now_ms(const struct loop *loop)
{
    return clock_now_ms(loop_clock(loop));
}
struct event_base *loop_event_base(struct loop *loop);

/* Watch an fd (level-triggered). `interest` is LOOP_READ | LOOP_WRITE; 0 = watch nothing for now. */
struct loop_fd *loop_fd_new(struct loop *loop, int fd, int interest,
                            void (*ready)(void *arg, int what), void *arg);
void loop_fd_interest(struct loop_fd *watch, int interest);
void loop_fd_free(struct loop_fd *watch); /* does not close the fd; NULL is fine */

/* A one-shot timer; may be set again, also from its own callback. */
struct loop_timer *loop_timer_new(struct loop *loop, void (*fired)(void *arg), void *arg);
void loop_timer_set(struct loop_timer *timer, int64_t delay_ms);
void loop_timer_cancel(struct loop_timer *timer);
bool loop_timer_pending(const struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer); /* NULL is fine */

/* A call at the end of the turn, when all that was ready has had its callback: once, however often it was asked for. */
struct loop_after *loop_after_new(struct loop *loop, void (*call)(void *arg), void *arg);
void loop_after_ask(struct loop_after *after);
void loop_after_free(struct loop_after *after); /* NULL is fine */

/* More of the same is on its way: let it gather for `us` microseconds (below a second) before the next turn, so that one
 * turn handles what would have cost many. Everybody on the loop waits that long. For this turn only. */
void loop_rest(struct loop *loop, int32_t us);

struct loop_signal *loop_signal_new(struct loop *loop, int signo, void (*fired)(void *arg),
                                    void *arg);
void loop_signal_free(struct loop_signal *watch);

/* Have `call(arg)` run soon on the loop's thread. @thread any: the only call that is. Order is kept. */
void loop_post(struct loop *loop, void (*call)(void *arg), void *arg);

#endif
