/* See lookup.h. The thread and the loop share a job with two references; the thread tells by an eventfd that belongs to
 * the job, so it never touches a loop that may be gone. */
#include "base/lookup.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/heap.h"

/* Threads that wait for name servers: a dead resolver holds one for some 30 s, and each connection asks again about
 * every 2 s; above this the lookup fails at once and is tried later. */
#define LOOKUP_THREADS_MAX 64
#define LOOKUP_STACK_BYTES ((size_t)256 << 10)

static atomic_int threads_count;

struct lookup_job {
    atomic_int refs_count;
    atomic_bool answered; /* what follows is written before it and read behind it */
    int event_fd;
    int family;
    int rc; /* getaddrinfo's */
    struct addrinfo *addresses;
    char port[8];
    char host[256]; /* longest name: 253 */
};

struct lookup {
    struct lookup_job *job;
    struct loop_fd *watch;
    void (*done)(void *arg, struct addrinfo *addresses, const struct err *err);
    void *arg;
};

static void job_unref(struct lookup_job *job)
{
    if (job == NULL || atomic_fetch_sub(&job->refs_count, 1) > 1) {
        return;
    }
    if (job->addresses != NULL) {
        freeaddrinfo(job->addresses);
    }
    close(job->event_fd);
    free(job);
}

static int job_ask(struct lookup_job *job, int flags)
{
    struct addrinfo hints = {
        .ai_family = job->family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    return getaddrinfo(job->host, job->port, &hints, &job->addresses);
}

static void job_tell(struct lookup_job *job)
{
    uint64_t one = 1;

    atomic_store(&job->answered, true);
    ssize_t written = write(job->event_fd, &one, sizeof(one));
    (void)written; /* an eventfd takes its first count always */
}

static void *lookup_main(void *arg)
{
    struct lookup_job *job = arg;

    job->rc = job_ask(job, 0);
    if (job->rc != 0) {
        job->addresses = NULL;
    }
    job_tell(job);
    job_unref(job);
    atomic_fetch_sub(&threads_count, 1);
    return NULL;
}

static bool thread_start(struct lookup_job *job)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, LOOKUP_STACK_BYTES);
    atomic_fetch_add(&job->refs_count, 1);
    bool started = pthread_create(&thread, &attr, lookup_main, job) == 0;
    pthread_attr_destroy(&attr);
    if (!started) {
        atomic_fetch_sub(&job->refs_count, 1);
    }
    return started;
}

static void lookup_ready(void *arg, int what)
{
    struct lookup *lookup = arg;
    struct lookup_job *job = lookup->job;
    struct err err;

    (void)what;
    if (!atomic_load(&job->answered)) {
        return;
    }
    struct addrinfo *addresses = job->addresses;
    loop_fd_free(lookup->watch);
    lookup->watch = NULL;
    job->addresses = NULL;
    err_set_code(&err, ERR_RETRY, job->rc, "look up '%s': %s", job->host,
                 job->rc == EAI_AGAIN && addresses == NULL ? "no answer from the name servers"
                                                           : gai_strerror(job->rc));
    lookup->done(lookup->arg, addresses, addresses == NULL ? &err : NULL);
}

static struct lookup_job *job_new(const char *host, int32_t port, int family)
{
    struct lookup_job *job = must(calloc(1, sizeof(*job)));
    atomic_init(&job->refs_count, 1);
    atomic_init(&job->answered, false);
    job->family = family;
    snprintf(job->host, sizeof(job->host), "%s", host);
    snprintf(job->port, sizeof(job->port), "%u", (unsigned int)port & 0xffff);
    job->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return job;
}

/* An address needs no thread; a thread that cannot be had is an answer, too. */
static void job_begin(struct lookup_job *job)
{
    job->rc = job_ask(job, AI_NUMERICHOST);
    if (job->rc == 0) {
        job_tell(job);
        return;
    }
    job->addresses = NULL;
    if (atomic_fetch_add(&threads_count, 1) < LOOKUP_THREADS_MAX && thread_start(job)) {
        return;
    }
    atomic_fetch_sub(&threads_count, 1);
    job->rc = EAI_AGAIN;
    job_tell(job);
}

struct lookup *
lookup_new(struct loop *loop, const char *host, int32_t port, int family,
           void (*done)(void *arg, struct addrinfo *addresses, const struct err *err), void *arg)
{
    struct lookup *lookup = must(calloc(1, sizeof(*lookup)));
    lookup->job = job_new(host, port, family);
    lookup->done = done;
    lookup->arg = arg;
    if (lookup->job->event_fd < 0) { /* out of file descriptors */
        free(lookup->job);
        free(lookup);
        return NULL;
    }
    lookup->watch = loop_fd_new(loop, lookup->job->event_fd, LOOP_READ, lookup_ready, lookup);
    job_begin(lookup->job);
    return lookup;
}

void lookup_free(struct lookup *lookup)
{
    if (lookup == NULL) {
        return;
    }
    loop_fd_free(lookup->watch);
    job_unref(lookup->job);
    free(lookup);
}
