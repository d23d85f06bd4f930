/* base/lookup: addresses at once, names by a thread, abandoned lookups, too many of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>

#include <semaphore.h>

#include "base/aside.h"
#include "base/lookup.h"

struct asked {
    bool done;
    int family;
    uint16_t port;
    struct err err;
    struct lookup *lookup;
};

static void answered(void *arg, struct addrinfo *addresses, const struct err *err)
{
    struct asked *asked = arg;

    assert_false(asked->done);
    asked->done = true;
    if (addresses != NULL) {
        assert_null(err);
        asked->family = addresses->ai_family;
        asked->port = asked->family == AF_INET
                          ? ntohs(((struct sockaddr_in *)(void *)addresses->ai_addr)->sin_port)
                          : ntohs(((struct sockaddr_in6 *)(void *)addresses->ai_addr)->sin6_port);
        freeaddrinfo(addresses);
    } else {
        asked->err = *err;
    }
    lookup_free(asked->lookup);
    asked->lookup = NULL;
}

static void ask_for(struct loop *loop, struct asked *asked, const char *host, int family)
{
    *asked = (struct asked){.done = false};
    asked->lookup = lookup_new(loop, host, 9092, family, answered, asked);
    assert_false(asked->done); /* never inside the call */
}

static void ask(struct loop *loop, struct asked *asked, const char *host)
{
    ask_for(loop, asked, host, AF_UNSPEC);
}

static void wait_for(struct loop *loop, const struct asked *asked)
{
    for (int i = 0; i < 1000 && !asked->done; i++) {
        loop_run_once(loop, 10);
    }
    assert_true(asked->done);
}

static void addresses_and_names(void **state)
{
    struct loop *loop = loop_new(clock_system());
    struct asked asked;

    (void)state;
    ask(loop, &asked, "127.0.0.1");
    wait_for(loop, &asked);
    assert_int_equal(asked.family, AF_INET);
    assert_int_equal(asked.port, 9092);
    ask(loop, &asked, "::1");
    wait_for(loop, &asked);
    assert_int_equal(asked.family, AF_INET6);
    assert_int_equal(asked.port, 9092);
    ask(loop, &asked, "localhost");
    wait_for(loop, &asked);
    assert_int_equal(asked.port, 9092);
    ask(loop, &asked, "no.such.name.invalid");
    wait_for(loop, &asked);
    assert_int_equal(asked.family, 0);
    assert_int_equal(asked.err.kind, ERR_RETRY);
    loop_free(loop);
}

static void one_family_alone(void **state)
{
    struct loop *loop = loop_new(clock_system());
    struct asked asked;

    (void)state;
    ask_for(loop, &asked, "127.0.0.1", AF_INET);
    wait_for(loop, &asked);
    assert_int_equal(asked.family, AF_INET);
    ask_for(loop, &asked, "127.0.0.1", AF_INET6);
    wait_for(loop, &asked);
    assert_int_equal(asked.family, 0);
    ask_for(loop, &asked, "localhost", AF_INET);
    wait_for(loop, &asked);
    assert_int_equal(asked.family, AF_INET);
    loop_free(loop);
}

/* Abandoned at once, many at a time, and the loop freed while threads still ask: nothing of ours is touched. */
static void abandoned(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        struct loop *loop = loop_new(clock_system());
        struct asked asked[20];
        for (int i = 0; i < 20; i++) {
            ask(loop, &asked[i], "localhost");
        }
        for (int i = 0; i < 20; i++) {
            lookup_free(asked[i].lookup);
        }
        loop_free(loop);
    }
    lookup_free(NULL);
}

/* Threads are bounded: what is above the bound fails at once and may be tried again. */
static void too_many(void **state)
{
    enum { COUNT = 200 };
    static struct asked asked[COUNT];
    struct loop *loop = loop_new(clock_system());

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        ask(loop, &asked[i], "localhost");
    }
    for (int i = 0; i < COUNT; i++) {
        wait_for(loop, &asked[i]);
        assert_true(asked[i].port == 9092 || asked[i].err.kind == ERR_RETRY);
    }
    loop_free(loop);
}

/* ---- others who wait ---- */

enum { STUCK = 100 };
static sem_t goes_on;
static atomic_int busy_count;
static atomic_int dropped_count;

static void wait_long(void *job)
{
    (void)job;
    sem_wait(&goes_on);
}

static void busy(void *job)
{
    (void)job;
    atomic_fetch_add(&busy_count, 1);
}

static void dropped(void *job)
{
    (void)job;
    atomic_fetch_add(&dropped_count, 1);
}

static void ended(void *arg, void *job)
{
    (void)arg;
    (void)job;
}

/* Whoever signs in waits for a KDC that does not answer, in as many threads as he may have: names are found all the same. */
static void another_kind_takes_no_threads_of_ours(void **state)
{
    static struct aside_kind kind = {.threads_max = 80};
    static const struct aside_calls calls = {
        .kind = &kind, .run = wait_long, .busy = busy, .drop = dropped};
    struct loop *loop = loop_new(clock_system());
    struct aside *stuck[STUCK];
    struct asked asked;

    (void)state;
    sem_init(&goes_on, 0, 0);
    for (int i = 0; i < STUCK; i++) {
        stuck[i] = aside_new(loop, &calls, NULL, ended, NULL);
    }
    assert_int_equal(atomic_load(&busy_count), STUCK - kind.threads_max);
    assert_true(aside_busy());
    ask(loop, &asked, "localhost");
    wait_for(loop, &asked);
    assert_int_equal(asked.port, 9092);
    for (int i = 0; i < STUCK; i++) {
        sem_post(&goes_on);
        aside_free(stuck[i]);
    }
    for (int i = 0; i < 500 && aside_busy(); i++) {
        loop_run_once(loop, 10);
    }
    assert_false(aside_busy());
    assert_int_equal(atomic_load(&kind.threads_count), 0);
    assert_int_equal(atomic_load(&dropped_count), STUCK);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_and_names),
        cmocka_unit_test(one_family_alone),
        cmocka_unit_test(abandoned),
        cmocka_unit_test(too_many),
        cmocka_unit_test(another_kind_takes_no_threads_of_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
