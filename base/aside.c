/* See aside.h. The thread and the loop share a box with two references; the thread tells by an eventfd that belongs to the
 * box, so it never touches a loop that may be gone. */
#include "base/aside.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/heap.h"

#define STACK_BYTES ((size_t)512 << 10) /* a TLS handshake of libcurl needs some 100 KiB */

static atomic_int threads_count; /* of all kinds */

struct box {
    const struct aside_calls *calls;
    void *job;
    atomic_int refs_count;
    atomic_bool over; /* the job is written before it and read behind it */
    int event_fd;
};

struct aside {
    struct box *box;
    struct loop_fd *watch;
    void (*done)(void *arg, void *job);
    void *arg;
};

static void box_unref(struct box *box)
{
    if (atomic_fetch_sub(&box->refs_count, 1) > 1) {
        return;
    }
    box->calls->drop(box->job);
    close(box->event_fd);
    free(box);
}

static void tell(struct box *box)
{
    uint64_t one = 1;

    atomic_store(&box->over, true);
    ssize_t written = write(box->event_fd, &one, sizeof(one));
    (void)written; /* an eventfd takes its first count always */
}

static void *thread_main(void *arg)
{
    struct box *box = arg;

    struct aside_kind *kind = box->calls->kind;

    box->calls->run(box->job);
    tell(box);
    box_unref(box);
    atomic_fetch_sub(&kind->threads_count, 1);
    atomic_fetch_sub(&threads_count, 1);
    return NULL;
}

static bool thread_start(struct box *box)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    atomic_fetch_add(&box->refs_count, 1);
    bool started = pthread_create(&thread, &attr, thread_main, box) == 0;
    pthread_attr_destroy(&attr);
    if (!started) {
        atomic_fetch_sub(&box->refs_count, 1);
    }
    return started;
}

static void begin(struct box *box)
{
    struct aside_kind *kind = box->calls->kind;

    if (box->calls->run == NULL) {
        tell(box);
        return;
    }
    atomic_fetch_add(&threads_count, 1);
    if (atomic_fetch_add(&kind->threads_count, 1) < kind->threads_max && thread_start(box)) {
        return;
    }
    atomic_fetch_sub(&kind->threads_count, 1);
    atomic_fetch_sub(&threads_count, 1);
    box->calls->busy(box->job);
    tell(box);
}

static void ready(void *arg, int what)
{
    struct aside *aside = arg;

    (void)what;
    if (!atomic_load(&aside->box->over)) {
        return;
    }
    loop_fd_free(aside->watch);
    aside->watch = NULL;
    aside->done(aside->arg, aside->box->job);
}

struct aside *aside_new(struct loop *loop, const struct aside_calls *calls, void *take_job,
                        void (*done)(void *arg, void *job), void *arg)
{
    int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (event_fd < 0) {
        calls->drop(take_job);
        return NULL;
    }
    struct aside *aside = must(calloc(1, sizeof(*aside)));
    struct box *box = must(calloc(1, sizeof(*box)));
    *box = (struct box){.calls = calls, .job = take_job, .event_fd = event_fd};
    atomic_init(&box->refs_count, 1);
    atomic_init(&box->over, false);
    *aside = (struct aside){.box = box, .done = done, .arg = arg};
    aside->watch = loop_fd_new(loop, event_fd, LOOP_READ, ready, aside);
    begin(box);
    return aside;
}

bool aside_busy(void)
{
    return atomic_load(&threads_count) > 0;
}

void aside_free(struct aside *aside)
{
    if (aside == NULL) {
        return;
    }
    loop_fd_free(aside->watch);
    box_unref(aside->box);
    free(aside);
}
