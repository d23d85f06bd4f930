/* A call that blocks, made by a thread of its own; its end is told on the loop. For what no library does without blocking:
 * names, the KDC, a token's server.
 */
#ifndef FERRY_BASE_ASIDE_H
#define FERRY_BASE_ASIDE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/loop.h"

struct aside;

/* Calls that may use up each other's threads, and nobody else's. */
struct aside_kind {
    int threads_max; /* above this a call fails at once and is tried later */
    atomic_int threads_count;
};

struct aside_calls {
    struct aside_kind *kind; /* NULL where run is */
    /* In the thread, alone with the job. NULL: there is nothing to wait for, it is done in the next turn. */
    void (*run)(void *job);
    /* Instead of run() when no thread is to be had: too many wait already, or the system gives none. */
    void (*busy)(void *job);
    /* Frees the job, once, in either thread, when both have let go of it. */
    void (*drop)(void *job);
};

/* Begin. `done` is called once on the loop, in a later turn, unless aside_free() comes first; `job` is the loop's then.
 *
 * @param calls     static
 * @param take_job  dropped even when this fails
 * @return NULL when out of file descriptors; freed by aside_free() only, which may be called in `done` */
struct aside *aside_new(struct loop *loop, const struct aside_calls *calls, void *take_job,
                        void (*done)(void *arg, void *job), void *arg);
/* NULL is fine; the thread ends by itself later and touches nothing but its job. */
void aside_free(struct aside *aside);
/* Does a thread still wait for somebody? A main that returns then would have its libraries taken down under it: it ends by
 * _exit(). @thread any */
bool aside_busy(void);

#endif
