/* See lookup.h. */
#include "base/lookup.h"

#include "base/aside.h"
#include "base/heap.h"

struct job {
    int family;
    int rc; /* getaddrinfo's */
    struct addrinfo *addresses;
    char port[8];
    char host[256]; /* longest name: 253 */
};

struct lookup {
    struct aside *aside;
    void (*done)(void *arg, struct addrinfo *addresses, const struct err *err);
    void *arg;
};

static void ask(struct job *job, int flags)
{
    struct addrinfo hints = {
        .ai_family = job->family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};

    job->rc = getaddrinfo(job->host, job->port, &hints, &job->addresses);
    if (job->rc != 0) {
        job->addresses = NULL;
    }
}

static void run(void *job)
{
    ask(job, 0);
}

static void busy(void *job)
{
    ((struct job *)job)->rc = EAI_AGAIN;
}

static void drop(void *arg)
{
    struct job *job = arg;

    if (job->addresses != NULL) {
        freeaddrinfo(job->addresses);
    }
    free(job);
}

static void over(void *arg, void *taken)
{
    struct lookup *lookup = arg;
    struct job *job = taken;
    struct addrinfo *addresses = job->addresses;
    struct err err;

    job->addresses = NULL;
    err_set_code(&err, ERR_RETRY, job->rc, "look up '%s': %s", job->host,
                 job->rc == EAI_AGAIN && addresses == NULL ? "no answer from the name servers"
                                                           : gai_strerror(job->rc));
    lookup->done(lookup->arg, addresses, addresses == NULL ? &err : NULL);
}

/* A dead resolver holds a thread for some 30 s, and each connection asks again about every 2 s. */
static struct aside_kind lookups = {.threads_max = 64};

/* An address needs no thread. */
struct lookup *
lookup_new(struct loop *loop, const char *host, int32_t port, int family,
           void (*done)(void *arg, struct addrinfo *addresses, const struct err *err), void *arg)
{
    static const struct aside_calls by_thread = {
        .kind = &lookups, .run = run, .busy = busy, .drop = drop};
    static const struct aside_calls at_once = {.drop = drop};
    struct lookup *lookup = must(calloc(1, sizeof(*lookup)));
    struct job *job = must(calloc(1, sizeof(*job)));

    job->family = family;
    snprintf(job->host, sizeof(job->host), "%s", host);
    snprintf(job->port, sizeof(job->port), "%u", (unsigned int)port & 0xffff);
    ask(job, AI_NUMERICHOST);
    lookup->done = done;
    lookup->arg = arg;
    lookup->aside = aside_new(loop, job->rc == 0 ? &at_once : &by_thread, job, over, lookup);
    if (lookup->aside == NULL) { /* out of file descriptors */
        free(lookup);
        return NULL;
    }
    return lookup;
}

void lookup_free(struct lookup *lookup)
{
    if (lookup != NULL) {
        aside_free(lookup->aside);
        free(lookup);
    }
}
