#include "base/loop.h"

#include <assert.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/heap.h"

struct loop_call {
    void (*call)(void *arg);
    void *arg;
    struct loop_call *next;
};

struct loop {
    const struct clock *clock;
    struct event_base *base;
    pthread_mutex_t lock; /* guards first, last */
    struct loop_call *first;
    struct loop_call *last;
    int wake_fd;
    struct event *wake;
    bool stopped;
    int32_t rest_us;          /* asked for in this turn */
    struct loop_after *asked; /* those to be called at the end of this turn */
};

struct loop_after {
    struct loop *loop;
    bool pending;
    struct loop_after *next;
    void (*call)(void *arg);
    void *arg;
};

struct loop_fd {
    struct loop *loop;
    int fd;
    int interest;
    struct event *event; /* NULL while nothing is watched */
    void (*ready)(void *arg, int what);
    void *arg;
};

struct loop_timer {
    struct event *event;
    int64_t due_ms; /* on the system's clock */
    void (*fired)(void *arg);
    void *arg;
};

struct loop_signal {
    struct event *event;
    void (*fired)(void *arg);
    void *arg;
};

/* --- calls from other threads ------------------------------------------------------------------------------------- */

static struct loop_call *take_calls(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct loop_call *calls = loop->first;
    loop->first = loop->last = NULL;
    pthread_mutex_unlock(&loop->lock);
    return calls;
}

static void woken(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    uint64_t count;
    (void)what;
    if (read(fd, &count, sizeof(count)) < 0) {
        return; /* somebody read it already */
    }
    struct loop_call *calls = take_calls(loop);
    while (calls != NULL) {
        struct loop_call *call = calls;
        calls = call->next;
        call->call(call->arg);
        free(call);
    }
}

void loop_post(struct loop *loop, void (*call)(void *arg), void *arg)
{
    struct loop_call *made = must(calloc(1, sizeof(*made)));
    made->call = call;
    made->arg = arg;
    pthread_mutex_lock(&loop->lock);
    if (loop->last == NULL) {
        loop->first = made;
    } else {
        loop->last->next = made;
    }
    loop->last = made;
    pthread_mutex_unlock(&loop->lock);
    uint64_t one = 1;
    if (write(loop->wake_fd, &one, sizeof(one)) < 0) {
        return; /* the counter is full: the loop is awake anyway */
    }
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

struct loop *loop_new(const struct clock *clock)
{
    struct loop *loop = must(calloc(1, sizeof(*loop)));
    loop->clock = clock;
    loop->base = must(event_base_new());
    pthread_mutex_init(&loop->lock, NULL);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->wake_fd < 0) {
        abort();
    }
    loop->wake = must(event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, woken, loop));
    event_add(loop->wake, NULL);
    return loop;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    struct loop_call *calls = take_calls(loop);
    while (calls != NULL) {
        struct loop_call *next = calls->next;
        free(calls);
        calls = next;
    }
    event_free(loop->wake);
    event_base_free(loop->base);
    close(loop->wake_fd);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

/* A call may ask for others, or free them. */
static void end_turn(struct loop *loop)
{
    while (loop->asked != NULL) {
        struct loop_after *after = loop->asked;
        loop->asked = after->next;
        after->pending = false;
        after->call(after->arg);
    }
}

static void rest(struct loop *loop)
{
    struct timespec time = {.tv_nsec = loop->rest_us * 1000L};
    loop->rest_us = 0;
    if (time.tv_nsec > 0) {
        nanosleep(&time, NULL); /* a signal ends it: good */
    }
}

void loop_run(struct loop *loop)
{
    loop->stopped = false;
    while (!loop->stopped) {
        event_base_loop(loop->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY);
        end_turn(loop);
        rest(loop);
    }
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
    event_base_loopbreak(loop->base);
}

void loop_rest(struct loop *loop, int32_t us)
{
    assert(us >= 0 && us < 1000000);
    loop->rest_us = us > loop->rest_us ? us : loop->rest_us;
}

static void nothing(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

void loop_run_once(struct loop *loop, int32_t wait_ms)
{
    struct timeval wait = {.tv_sec = wait_ms / 1000, .tv_usec = (wait_ms % 1000) * 1000};
    struct event *limit = must(event_new(loop->base, -1, 0, nothing, NULL));
    event_add(limit, &wait);
    event_base_loop(loop->base, EVLOOP_ONCE);
    event_free(limit);
    end_turn(loop);
    loop->rest_us = 0;
}

const struct clock *loop_clock(const struct loop *loop)
{
    return loop->clock;
}
struct event_base *loop_event_base(struct loop *loop)
{
    return loop->base;
}

/* --- file descriptors --------------------------------------------------------------------------------------------- */

static void fd_ready(evutil_socket_t fd, short what, void *arg)
{
    struct loop_fd *watch = arg;
    (void)fd;
    watch->ready(watch->arg, (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0));
}

struct loop_fd *loop_fd_new(struct loop *loop, int fd, int interest,
                            void (*ready)(void *arg, int what), void *arg)
{
    struct loop_fd *watch = must(calloc(1, sizeof(*watch)));
    watch->loop = loop;
    watch->fd = fd;
    watch->ready = ready;
    watch->arg = arg;
    loop_fd_interest(watch, interest);
    return watch;
}

void loop_fd_interest(struct loop_fd *watch, int interest)
{
    if (watch->interest == interest) {
        return;
    }
    watch->interest = interest;
    if (watch->event != NULL) {
        event_free(watch->event);
        watch->event = NULL;
    }
    if (interest == 0) {
        return;
    }
    short what = (short)(EV_PERSIST | (interest & LOOP_READ ? EV_READ : 0) |
                         (interest & LOOP_WRITE ? EV_WRITE : 0));
    watch->event = must(event_new(watch->loop->base, watch->fd, what, fd_ready, watch));
    event_add(watch->event, NULL);
}

void loop_fd_free(struct loop_fd *watch)
{
    if (watch == NULL) {
        return;
    }
    loop_fd_interest(watch, 0);
    free(watch);
}

/* --- timers ------------------------------------------------------------------------------------------------------- */

static void timer_add(struct loop_timer *timer, int64_t delay_ms)
{
    struct timeval delay = {.tv_sec = delay_ms / 1000, .tv_usec = (delay_ms % 1000) * 1000};

    event_add(timer->event, &delay);
}

/* libevent's clock moves in steps of some milliseconds, so it may fire that much early, and who asked would look at his
 * own clock and find that nothing is due. */
static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
    struct loop_timer *timer = arg;
    int64_t left_ms = timer->due_ms - clock_now_ms(clock_system());

    (void)fd;
    (void)what;
    if (left_ms > 0) {
        timer_add(timer, left_ms);
    } else {
        timer->fired(timer->arg);
    }
}

struct loop_timer *loop_timer_new(struct loop *loop, void (*fired)(void *arg), void *arg)
{
    struct loop_timer *timer = must(calloc(1, sizeof(*timer)));
    timer->fired = fired;
    timer->arg = arg;
    timer->event = must(event_new(loop->base, -1, 0, timer_fired, timer));
    return timer;
}

void loop_timer_set(struct loop_timer *timer, int64_t delay_ms)
{
    int64_t wait_ms = delay_ms < 0 ? 0 : delay_ms;

    timer->due_ms = clock_now_ms(clock_system()) + wait_ms;
    timer_add(timer, wait_ms);
}

void loop_timer_cancel(struct loop_timer *timer)
{
    event_del(timer->event);
}
bool loop_timer_pending(const struct loop_timer *timer)
{
    return event_pending(timer->event, EV_TIMEOUT, NULL);
}

void loop_timer_free(struct loop_timer *timer)
{
    if (timer == NULL) {
        return;
    }
    event_free(timer->event);
    free(timer);
}

/* --- the end of a turn -------------------------------------------------------------------------------------------- */

struct loop_after *loop_after_new(struct loop *loop, void (*call)(void *arg), void *arg)
{
    struct loop_after *after = must(calloc(1, sizeof(*after)));
    *after = (struct loop_after){.loop = loop, .call = call, .arg = arg};
    return after;
}

void loop_after_ask(struct loop_after *after)
{
    if (!after->pending) {
        after->pending = true;
        after->next = after->loop->asked;
        after->loop->asked = after;
    }
}

void loop_after_free(struct loop_after *after)
{
    if (after == NULL) {
        return;
    }
    struct loop_after **at = &after->loop->asked;
    while (*at != NULL && *at != after) {
        at = &(*at)->next;
    }
    if (*at == after) {
        *at = after->next;
    }
    free(after);
}

/* --- signals ------------------------------------------------------------------------------------------------------ */

static void signal_fired(evutil_socket_t fd, short what, void *arg)
{
    struct loop_signal *watch = arg;
    (void)fd;
    (void)what;
    watch->fired(watch->arg);
}

struct loop_signal *loop_signal_new(struct loop *loop, int signo, void (*fired)(void *arg),
                                    void *arg)
{
    struct loop_signal *watch = must(calloc(1, sizeof(*watch)));
    watch->fired = fired;
    watch->arg = arg;
    watch->event = must(evsignal_new(loop->base, signo, signal_fired, watch));
    event_add(watch->event, NULL);
    return watch;
}

void loop_signal_free(struct loop_signal *watch)
{
    if (watch == NULL) {
        return;
    }
    event_free(watch->event);
    free(watch);
}
