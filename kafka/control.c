/* See control.h: the thread that reads, and what comes of it on the loop.
 *
 * The thread leaves its newest snapshot in a slot and rings an eventfd; a slow loop sees only the newest. Both sides hold
 * `struct shared`: when control_free() does not want to wait any longer the thread frees it by itself.
 */
#include "kafka/control.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/heap.h"
#include "base/log.h"
#include "kafka/control_reader.h"

#define READ_EVERY_MS  1000
#define READ_MS        6000 /* one reading; who waits for it is without permission to write after 8 s */
#define FREE_MS        1500 /* librdkafka's end and one slice of a wait */
#define RETRY_FIRST_MS 100

struct shared {
    const struct clock *clock;
    struct control_reader *reader; /* the thread's; control_reader_wake() by others */
    pthread_mutex_t mutex;         /* guards what follows */
    pthread_cond_t changed;
    struct control_state *state; /* newest, not fetched by the loop yet */
    struct err err;              /* beside it; ERR_NONE = none */
    bool told;                   /* something is in the slot */
    int wake_fd;                 /* the loop's; -1 = nobody listens */
    bool ended;                  /* the thread has nothing to do any more */
    bool abandoned;              /* nobody waits for it */
    atomic_bool stop;
    atomic_bool poked;
};

struct control {
    struct shared *shared;
    pthread_t thread;
    struct loop_fd *watch;
    int wake_fd;
    struct control_callbacks callbacks;
    struct control_state *shown; /* what the callback has */
    bool calling;
    bool doomed;
};

/* ---- the thread ---- */

static void shared_free(struct shared *shared)
{
    control_reader_free(shared->reader, CLIENT_END_MS);
    control_state_free(shared->state);
    pthread_cond_destroy(&shared->changed);
    pthread_mutex_destroy(&shared->mutex);
    free(shared);
}

static void tell(struct shared *shared, struct control_state *take_state, const struct err *err)
{
    uint64_t one = 1;
    pthread_mutex_lock(&shared->mutex);
    if (take_state) {
        control_state_free(shared->state);
        shared->state = take_state;
    }
    shared->err = err ? *err : (struct err){0};
    shared->told = true;
    if (shared->wake_fd >= 0 && write(shared->wake_fd, &one, sizeof(one)) < 0) {
        /* its counter is full: the loop is awake anyway */
    }
    pthread_mutex_unlock(&shared->mutex);
}

/* Whoever comes first creates the topic. One that was there and is gone was deleted: making it anew would look as if
 * nothing had happened. */
static bool read_or_create(struct shared *shared, bool seen, struct err *err)
{
    if (control_reader_read(shared->reader, READ_MS, &shared->stop, err)) {
        return true;
    }
    if (err->code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        return false;
    }
    if (seen) {
        err_wrap(err, "it was there and was deleted");
        return err_hint(err, "docs/faults.md#control");
    }
    return control_reader_create(shared->reader, err) &&
           control_reader_read(shared->reader, READ_MS, &shared->stop, err);
}

static bool read_and_tell(struct shared *shared, bool seen)
{
    struct err err = {0};
    struct err bad;
    int64_t now_ms = clock_now_ms(shared->clock); /* what is there now will be read */
    if (!read_or_create(shared, seen, &err)) {
        if (!atomic_load(&shared->stop)) {
            tell(shared, NULL, &err);
        }
        return false;
    }
    struct control_state *state = control_reader_state(shared->reader, &bad);
    state->read_ms = now_ms;
    tell(shared, state, bad.kind == ERR_NONE ? NULL : &bad);
    return true;
}

static bool is_called(const struct shared *shared)
{
    return atomic_load(&shared->poked) || atomic_load(&shared->stop);
}

/* Until the time is up or somebody asks. @param sooner  also when there is something new to read; not after a failure,
 * where what is new may be the next failure */
static void wait_turn(struct shared *shared, int32_t wait_ms, bool sooner)
{
    int64_t until_ms = client_now_ms() + wait_ms;
    int64_t left_ms = wait_ms;
    while (left_ms > 0 && !is_called(shared)) {
        control_reader_wait(shared->reader, (int32_t)left_ms);
        left_ms = sooner ? 0 : until_ms - client_now_ms();
    }
    atomic_store(&shared->poked, false);
}

static void *read_thread(void *arg)
{
    struct shared *shared = arg;
    struct backoff backoff;
    bool seen = false;
    backoff_init(&backoff, RETRY_FIRST_MS, READ_EVERY_MS, (uint32_t)client_now_ms());
    while (!atomic_load(&shared->stop)) {
        int64_t began_ms = client_now_ms();
        if (read_and_tell(shared, seen)) {
            seen = true;
            backoff_reset(&backoff);
            wait_turn(shared, (int32_t)(began_ms + READ_EVERY_MS - client_now_ms()), true);
        } else {
            wait_turn(shared, backoff_next_ms(&backoff), false);
        }
    }
    pthread_mutex_lock(&shared->mutex);
    shared->ended = true;
    bool abandoned = shared->abandoned;
    pthread_cond_signal(&shared->changed);
    pthread_mutex_unlock(&shared->mutex);
    if (abandoned) {
        shared_free(shared);
    }
    return NULL;
}

/* ---- the loop ---- */

static void control_forget(struct control *control)
{
    control_state_free(control->shown);
    free(control);
}

static void arrived(void *arg, int what)
{
    struct control *control = arg;
    struct shared *shared = control->shared;
    uint64_t count;
    (void)what;
    if (read(control->wake_fd, &count, sizeof(count)) < 0) {
        return; /* read already */
    }
    pthread_mutex_lock(&shared->mutex);
    struct control_state *state = shared->state;
    struct err err = shared->err;
    bool told = shared->told;
    shared->state = NULL;
    shared->told = false;
    pthread_mutex_unlock(&shared->mutex);
    struct control_state *before = state ? control->shown : NULL;
    control->shown = state ? state : control->shown;
    control->calling = true;
    if (told) {
        control->callbacks.state(control->callbacks.arg, control->shown,
                                 err.kind == ERR_NONE ? NULL : &err);
    }
    control->calling = false;
    control_state_free(before); /* borrowed until the call after it */
    if (control->doomed) {
        control_forget(control);
    }
}

static struct shared *shared_new(struct loop *loop, struct control_reader *take_reader, int wake_fd)
{
    pthread_condattr_t attributes;
    struct shared *shared = must(calloc(1, sizeof(*shared)));
    shared->clock = loop_clock(loop);
    shared->reader = take_reader;
    shared->wake_fd = wake_fd;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&shared->mutex, NULL);
    pthread_cond_init(&shared->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return shared;
}

struct control *control_new(struct loop *loop, const struct config_client *client,
                            const char *service, const struct control_callbacks *callbacks,
                            struct err *err)
{
    struct control_reader *reader = control_reader_new(client, service, err);
    int wake_fd = reader ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : -1;
    if (wake_fd < 0) {
        if (reader) {
            err_set(err, ERR_RETRY, "control topic of '%s': no file descriptor left", service);
        }
        control_reader_free(reader, CLIENT_END_MS);
        return NULL;
    }
    struct control *control = must(calloc(1, sizeof(*control)));
    control->shared = shared_new(loop, reader, wake_fd);
    control->wake_fd = wake_fd;
    control->callbacks = *callbacks;
    if (pthread_create(&control->thread, NULL, read_thread, control->shared) != 0) {
        err_set(err, ERR_RETRY, "control topic of '%s': no thread to be had", service);
        shared_free(control->shared);
        close(wake_fd);
        free(control);
        return NULL;
    }
    control->watch = loop_fd_new(loop, wake_fd, LOOP_READ, arrived, control);
    return control;
}

/* true: the thread has ended. */
static bool wait_ended(struct shared *shared)
{
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += FREE_MS / 1000;
    until.tv_nsec += (long)(FREE_MS % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&shared->mutex);
    shared->wake_fd = -1;
    while (!shared->ended && rc == 0) {
        rc = pthread_cond_timedwait(&shared->changed, &shared->mutex, &until);
    }
    bool ended = shared->ended;
    shared->abandoned = !ended;
    pthread_mutex_unlock(&shared->mutex);
    return ended;
}

static void thread_end(struct control *control)
{
    struct shared *shared = control->shared;
    atomic_store(&shared->stop, true);
    control_reader_wake(shared->reader);
    if (wait_ended(shared)) {
        pthread_join(control->thread, NULL);
        shared_free(shared);
    } else {
        pthread_detach(control->thread);
    }
}

void control_free(struct control *control)
{
    if (!control) {
        return;
    }
    loop_fd_free(control->watch);
    thread_end(control);
    close(control->wake_fd);
    if (control->calling) {
        control->doomed = true;
    } else {
        control_forget(control);
    }
}

void control_poke(struct control *control)
{
    atomic_store(&control->shared->poked, true);
    control_reader_wake(control->shared->reader);
}
