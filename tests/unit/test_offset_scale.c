/* What the map costs in Redis and how long a lookup takes, on a tenth of the size that is promised: 10 M runs below 60 MB,
 * a floor lookup below 1 ms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "offsets/offset_store.h"

#define RUNS         1000000
#define BYTES_LIMIT  6000000 /* of RUNS */
#define LOOKUPS      400
#define LOOKUP_MS    1.0
#define BATCH_COUNT  5 /* ~1 KB batches of 200-byte records; a marker behind each makes it a run */
#define TRACKS_ACKED 20000 /* runs between two turns of the loop */

static pid_t server_pid;
static char server_dir[64];
static char server_url[64];

static int start(void **state)
{
    static const char ours[] = "build/deps/bin/redis-server";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    char port[16];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    snprintf(port, sizeof(port), "%d", ntohs(address.sin_port));
    snprintf(server_url, sizeof(server_url), "redis://127.0.0.1:%s", port);
    snprintf(server_dir, sizeof(server_dir), "%s", "/tmp/ferry-scale-XXXXXX");
    assert_non_null(mkdtemp(server_dir));
    server_pid = fork();
    if (server_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test breaks */
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, 1);
        execlp(access(ours, X_OK) == 0 ? ours : "redis-server", "redis-server", "--bind",
               "127.0.0.1", "--port", port, "--save", "", "--dir", server_dir, (char *)NULL);
        _exit(127);
    }
    return 0;
}

static int stop(void **state)
{
    (void)state;
    kill(server_pid, SIGKILL);
    waitpid(server_pid, NULL, 0);
    return rmdir(server_dir);
}

static void nothing_state(void *arg, bool ready, const struct err *why)
{
    (void)arg;
    (void)ready;
    (void)why;
}

static void no_conflict(void *arg, struct offset_track *track, const struct checkpoint *found)
{
    (void)arg;
    (void)track;
    (void)found;
    fail();
}

static void told_redis(void *arg, enum redis_state state, const struct err *why)
{
    struct offset_store **store = arg;
    if (*store != NULL) {
        offset_store_redis_changed(*store, state, why);
    }
}

static void flushed(void *arg, bool all)
{
    *(int *)arg = all ? 1 : -1;
}

/* Run i: source has a marker after each batch, and now and then more. */
static struct offset_run run_at(int64_t i)
{
    return (struct offset_run){i * (BATCH_COUNT + 1) + i / 100 * 3, 70000000000 + i * BATCH_COUNT,
                               BATCH_COUNT};
}

static struct checkpoint place(int64_t i)
{
    struct offset_run last = run_at(i - 1);
    struct checkpoint at = {.generation = 1, .leader_epoch = -1, .time_ms = 1};
    at.source_topic_id.bytes[0] = 0xaa;
    at.target_topic_id.bytes[0] = 0xbb;
    at.source_next = i == 0 ? 0 : last.source_first + last.length;
    at.target_next = i == 0 ? run_at(0).target_first : last.target_first + last.length;
    at.sequence_next = i * BATCH_COUNT;
    return at;
}

static void write_runs(void)
{
    struct loop *loop = loop_new(clock_system());
    struct offset_store *store = NULL;
    struct err err = {0};
    int done = 0;
    const struct redis_options door = {.url = server_url, .timeout_ms = 5000};
    struct redis *redis = redis_new(loop, &door, told_redis, &store, &err);
    const struct offset_store_options options = {.prefix = "",
                                                 .service = "s",
                                                 .from = "a",
                                                 .to = "b",
                                                 .deployment = "d",
                                                 .source_cluster_id = "A",
                                                 .target_cluster_id = "B",
                                                 .map_memory_bytes = 64 << 20,
                                                 .interval_ms = 1};
    const struct offset_store_callbacks callbacks = {.conflict = no_conflict,
                                                     .state = nothing_state};
    store = offset_store_new(loop, redis, &options, &callbacks);
    while (!offset_store_ready(store)) {
        loop_run_once(loop, 5);
    }
    struct checkpoint at = place(0);
    struct offset_track *track = offset_track_new(store, "t", 0, NULL, NULL, &at, NULL, 0, NULL);
    for (int64_t i = 1; i <= RUNS; i++) {
        at = place(i);
        offset_track_ack(track, run_at(i - 1), &at);
        if (i % TRACKS_ACKED == 0) {
            loop_run_once(loop, 0);
        }
    }
    offset_store_flush(store, 60000, flushed, &done);
    while (done == 0) {
        loop_run_once(loop, 5);
    }
    assert_int_equal(done, 1);
    redis_free(redis);
    offset_store_free(store);
    loop_free(loop);
}

static int64_t used_memory(struct redis_sync *redis)
{
    struct err err;
    redisReply *reply = redis_sync_call(redis, 2, (const char *[]){"INFO", "memory"}, NULL, &err);
    assert_non_null(reply);
    const char *line = strstr(reply->str, "used_memory:");
    int64_t used = strtoll(line + strlen("used_memory:"), NULL, 10);
    freeReplyObject(reply);
    return used;
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The tenth percentile: others use this machine too. */
static double lookup_ms(struct redis_sync *redis, bool from_target)
{
    static double took[LOOKUPS];
    struct offset_view *view = offset_view_new(redis, "", "s", "a", "b");
    for (int64_t i = 0; i < LOOKUPS; i++) {
        struct offset_run run = run_at((i * 7919 * 101) % RUNS);
        struct translation got;
        struct err err;
        double begin_ms = now_ms();
        assert_true(offset_view_translate(view, "t", 0,
                                          (from_target ? run.target_first : run.source_first) + 2,
                                          from_target, &got, &err));
        took[i] = now_ms() - begin_ms;
        assert_int_equal(got.verdict, VERDICT_EXACT);
        assert_int_equal(got.source_offset, run.source_first + 2);
        assert_int_equal(got.target_offset, run.target_first + 2);
    }
    offset_view_free(view);
    qsort(took, LOOKUPS, sizeof(took[0]), by_value);
    return took[LOOKUPS / 10];
}

static void a_million_runs(void **state)
{
    struct err err = {0};
    struct redis_sync *redis = NULL;
    const struct redis_options options = {.url = server_url, .timeout_ms = 5000};
    (void)state;
    for (int i = 0; i < 200 && redis == NULL; i++) {
        redis = redis_sync_new(&options, &err);
        usleep(redis == NULL ? 20000 : 0);
    }
    assert_non_null(redis);
    int64_t before = used_memory(redis);
    write_runs();
    int64_t used = used_memory(redis) - before;
    double by_source = lookup_ms(redis, false);
    double by_target = lookup_ms(redis, true);
    print_message("%d runs: %lld bytes; lookups %.3f ms by source, %.3f ms by target\n", RUNS,
                  (long long)used, by_source, by_target);
    assert_in_range(used, 1000000, BYTES_LIMIT);
    assert_true(by_source < LOOKUP_MS);
    assert_true(by_target < LOOKUP_MS);
    redis_sync_free(redis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_million_runs)};
    log_set_level(LOG_ERROR);
    signal(SIGPIPE, SIG_IGN); /* as our programs do */
    return cmocka_run_group_tests(tests, start, stop);
}
