/* The store on the real loop with a real redis-server: what it says afterwards is what was acknowledged, or "unmapped".
 * The truth is a plain array of records. */
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
#include <unistd.h>

#include "base/log.h"
#include "offsets/offset_forget.h"
#include "offsets/offset_rebuild.h"
#include "offsets/offset_store.h"
#include "tests/fake/turns.h"

#define BASE      "p:{orders}:a>b"
#define TOPIC     "t.x"
#define PARTITION 3
#define FIELD     TOPIC ":3"

/* --- random, repeatable ------------------------------------------------------------------------------------------- */
static uint64_t random_state;
static int64_t pick(int64_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((random_state >> 33) % (uint64_t)below);
}

/* --- what was mirrored -------------------------------------------------------------------------------------------- */
#define RECORDS_MAX 100000
static struct {
    int64_t source, target;
} truth[RECORDS_MAX];
static int truth_count;
static int32_t generation = 1;

static void make_truth_from(int begin, int count, int64_t source, int64_t target, int64_t run_max)
{
    int64_t left = 0;
    truth_count = count;
    for (int i = begin; i < count; i++) {
        if (left-- == 0) {
            left = pick(run_max);
            source += pick(3) == 0 ? pick(6) : (i > begin); /* markers, compaction */
            target += pick(8) == 0 ? pick(3) : 0;           /* foreign records */
        }
        truth[i].source = source++;
        truth[i].target = target++;
    }
}

static void make_truth(uint64_t seed, int count, int64_t run_max)
{
    random_state = seed;
    make_truth_from(0, count, pick(4), pick(2) * 3, run_max);
}

static struct checkpoint position(int records)
{
    struct checkpoint at = {.generation = generation,
                            .leader_epoch = 3,
                            .sequence_next = records,
                            .time_ms = 1000 + records};
    at.source_topic_id.bytes[0] = 0xaa;
    at.target_topic_id.bytes[0] = 0xbb;
    at.source_next = records == 0 ? truth[0].source : truth[records - 1].source + 1;
    at.target_next = records == 0 ? truth[0].target : truth[records - 1].target + 1;
    return at;
}

static struct checkpoint beginning(void)
{
    struct checkpoint at = position(0);
    at.sequence_next = at.source_next;
    at.leader_epoch = -1;
    return at;
}

static struct offset_map runs_between(int from, int to)
{
    struct offset_map map;
    offset_map_init(&map);
    for (int i = from; i < to; i++) {
        offset_map_append(&map, (struct offset_run){truth[i].source, truth[i].target, 1});
    }
    return map;
}

/* --- a redis-server ----------------------------------------------------------------------------------------------- */
static struct {
    char dir[64];
    int port;
    pid_t pid;
    struct redis_sync *sync;
} server;

static int listen_somewhere(int *out_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *out_port = ntohs(address.sin_port);
    return fd;
}

static void server_start(void)
{
    static const char ours[] = "build/deps/bin/redis-server";
    char port[16];
    struct err err = {0};
    snprintf(port, sizeof(port), "%d", server.port);
    server.pid = fork();
    if (server.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test breaks */
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, 1);
        execlp(access(ours, X_OK) == 0 ? ours : "redis-server", "redis-server", "--bind",
               "127.0.0.1", "--port", port, "--save", "", "--dir", server.dir, (char *)NULL);
        _exit(127);
    }
    char url[64];
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", server.port);
    const struct redis_options options = {.url = url, .timeout_ms = 5000};
    for (int i = 0; i < 200 && server.sync == NULL; i++) {
        server.sync = redis_sync_new(&options, &err);
        usleep(server.sync == NULL ? 20000 : 0);
    }
    assert_non_null(server.sync);
}

static void server_kill(void)
{
    redis_sync_free(server.sync);
    server.sync = NULL;
    kill(server.pid, SIGKILL);
    waitpid(server.pid, NULL, 0);
}

static int group_setup(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    snprintf(server.dir, sizeof(server.dir), "%s", "/tmp/ferry-store-XXXXXX");
    assert_non_null(mkdtemp(server.dir));
    close(listen_somewhere(&server.port));
    server_start();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    server_kill();
    return rmdir(server.dir);
}

/* One command, its words one after another; the answer must be no error. */
static redisReply *say(int argc, const char **argv, const size_t *lens)
{
    struct err err = {0};
    redisReply *reply = redis_sync_call(server.sync, argc, argv, lens, &err);
    if (reply == NULL) {
        fail_msg("%s: %s", argv[0], err.what);
    }
    return reply;
}
#define SAY(...)                                                       \
    say((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), \
        (const char *[]){__VA_ARGS__}, NULL)
#define DO(...) freeReplyObject(SAY(__VA_ARGS__))

static char *map_key(void)
{
    static char key[200];
    char name[INCARNATION_BYTES];
    struct checkpoint at = position(0);
    snprintf(key, sizeof(key), BASE ":map:" FIELD ":%s", checkpoint_incarnation(&at, name));
    return key;
}

static const char *index_text(void)
{
    static char text[300];
    char name[INCARNATION_BYTES];
    struct checkpoint at = position(0);
    redisReply *reply = SAY("HGET", BASE ":incarnations:" FIELD, checkpoint_incarnation(&at, name));
    snprintf(text, sizeof(text), "%s", reply->type == REDIS_REPLY_STRING ? reply->str : "");
    freeReplyObject(reply);
    return text;
}

static long long number(redisReply *take_reply)
{
    long long value = take_reply->integer;
    freeReplyObject(take_reply);
    return value;
}

static bool stored_checkpoint(struct checkpoint *out)
{
    struct err err;
    redisReply *reply = SAY("HGET", BASE ":checkpoints", FIELD);
    bool there =
        reply->type == REDIS_REPLY_STRING && checkpoint_parse(reply->str, reply->len, out, &err);
    freeReplyObject(reply);
    return there;
}

/* All keys, as RESTORE takes them. */
struct copy {
    size_t count;
    char *keys[16];
    redisReply *dumps[16];
};

static struct copy copy_take(void)
{
    struct copy copy = {0};
    redisReply *keys = SAY("KEYS", "*");
    copy.count = keys->elements;
    for (size_t i = 0; i < copy.count; i++) {
        copy.keys[i] = strdup(keys->element[i]->str);
        copy.dumps[i] = SAY("DUMP", copy.keys[i]);
    }
    freeReplyObject(keys);
    return copy;
}

static void copy_put_back(const struct copy *copy, const char *only)
{
    if (only[0] == '\0') {
        DO("FLUSHALL");
    }
    for (size_t i = 0; i < copy->count; i++) {
        if (strstr(copy->keys[i], only) != NULL) {
            const char *argv[] = {"RESTORE", copy->keys[i], "0", copy->dumps[i]->str, "REPLACE"};
            const size_t lens[] = {7, strlen(copy->keys[i]), 1, copy->dumps[i]->len, 7};
            freeReplyObject(say(5, argv, lens));
        }
    }
}

static bool copy_equal(const struct copy *a, const struct copy *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++) {
        bool found = false;
        for (size_t j = 0; j < b->count; j++) {
            found = found ||
                    (strcmp(a->keys[i], b->keys[j]) == 0 && a->dumps[i]->len == b->dumps[j]->len &&
                     memcmp(a->dumps[i]->str, b->dumps[j]->str, a->dumps[i]->len) == 0);
        }
        equal = found;
    }
    return equal;
}

static void copy_done(struct copy *copy)
{
    for (size_t i = 0; i < copy->count; i++) {
        free(copy->keys[i]);
        freeReplyObject(copy->dumps[i]);
    }
}

/* --- a proxy that loses answers ----------------------------------------------------------------------------------- */
struct proxy {
    struct loop *loop;
    int listen_fd, port;
    int client_fd, server_fd; /* -1 = none */
    struct loop_fd *listens, *from_client, *from_server;
    int swallow; /* answers that are lost, and the connection with them */
    int swallowed;
    bool keeps; /* what the client said before it went is not delivered, nor lost */
    int late_client_fd, late_server_fd;
};

static void proxy_close(struct proxy *proxy)
{
    loop_fd_free(proxy->from_client);
    loop_fd_free(proxy->from_server);
    proxy->from_client = proxy->from_server = NULL;
    if (proxy->client_fd >= 0) {
        close(proxy->client_fd);
        close(proxy->server_fd);
    }
    proxy->client_fd = proxy->server_fd = -1;
}

static void proxy_pass(struct proxy *proxy, int from, int to)
{
    static char bytes[1 << 20];
    ssize_t len = recv(from, bytes, sizeof(bytes), 0);
    if (len <= 0) {
        proxy_close(proxy);
        return;
    }
    if (from == proxy->server_fd && proxy->swallow > 0) {
        proxy->swallow--;
        proxy->swallowed++;
        proxy_close(proxy);
        return;
    }
    assert_int_equal(send(to, bytes, (size_t)len, MSG_NOSIGNAL), len);
}

static void client_says(void *arg, int what)
{
    struct proxy *proxy = arg;
    (void)what;
    proxy_pass(proxy, proxy->client_fd, proxy->server_fd);
}

static void server_says(void *arg, int what)
{
    struct proxy *proxy = arg;
    (void)what;
    proxy_pass(proxy, proxy->server_fd, proxy->client_fd);
}

static void proxy_accept(void *arg, int what)
{
    struct proxy *proxy = arg;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)server.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    (void)what;
    if (proxy->keeps) {
        proxy->keeps = false;
        proxy->late_client_fd = dup(proxy->client_fd);
        proxy->late_server_fd = dup(proxy->server_fd);
    }
    proxy_close(proxy);
    proxy->client_fd = accept(proxy->listen_fd, NULL, NULL);
    proxy->server_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(proxy->server_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    proxy->from_client = loop_fd_new(proxy->loop, proxy->client_fd, LOOP_READ, client_says, proxy);
    proxy->from_server = loop_fd_new(proxy->loop, proxy->server_fd, LOOP_READ, server_says, proxy);
}

/* Now it comes after all. */
static void proxy_deliver(struct proxy *proxy)
{
    static char bytes[1 << 20];
    ssize_t len = recv(proxy->late_client_fd, bytes, sizeof(bytes), 0);
    assert_true(len > 0);
    assert_int_equal(send(proxy->late_server_fd, bytes, (size_t)len, MSG_NOSIGNAL), len);
    assert_true(recv(proxy->late_server_fd, bytes, sizeof(bytes), 0) > 0);
    close(proxy->late_client_fd);
    close(proxy->late_server_fd);
}

static void proxy_hold(struct proxy *proxy, bool hold)
{
    loop_fd_interest(proxy->from_server, hold ? 0 : LOOP_READ);
}

/* --- a worker ----------------------------------------------------------------------------------------------------- */
struct worker {
    struct loop *loop;
    struct proxy proxy;
    struct redis *redis;
    struct offset_store *store;
    struct offset_track *track;
    int records; /* acknowledged */
    int ready_count, away_count, conflicts_count;
    char why[ERR_WHAT_BYTES];
    enum err_kind why_kind;
    struct checkpoint conflict;
    bool answered;
    enum offset_loaded loaded;
    struct checkpoint checkpoint;
    struct err err;
    bool ok;
    struct offset_run run;
    int flushes_count;
    bool flushed_all;
};

struct setting {
    const char *deployment;
    const char *cluster;
    int64_t map_memory;
    int32_t interval_ms;
    int32_t timeout_ms; /* of a call to Redis */
};

#define UNTIL(worker, condition) TURN_UNTIL((worker)->loop, 12000, condition)

static void told_state(void *arg, bool ready, const struct err *why)
{
    struct worker *worker = arg;
    worker->ready_count += ready;
    worker->away_count += !ready;
    worker->why_kind = why == NULL ? ERR_NONE : why->kind;
    snprintf(worker->why, sizeof(worker->why), "%s", why == NULL ? "" : why->what);
}

static void told_conflict(void *arg, struct offset_track *track, const struct checkpoint *found)
{
    struct worker *worker = arg;
    assert_ptr_equal(offset_track_owner(track), worker);
    worker->conflicts_count++;
    worker->conflict = *found;
    offset_track_free(track); /* as the mirror does */
    worker->track = NULL;
}

static void redis_told(void *arg, enum redis_state state, const struct err *why)
{
    struct worker *worker = arg;
    if (worker->store != NULL) {
        offset_store_redis_changed(worker->store, state, why);
    }
}

static void open_store(struct worker *worker, const struct setting *setting)
{
    struct setting none = {0};
    setting = setting == NULL ? &none : setting;
    const struct offset_store_options options = {
        .prefix = "p:",
        .service = "orders",
        .from = "a",
        .to = "b",
        .deployment = setting->deployment == NULL ? "prod" : setting->deployment,
        .source_cluster_id = setting->cluster == NULL ? "C1" : setting->cluster,
        .target_cluster_id = "C2",
        .map_memory_bytes = setting->map_memory == 0 ? 64 << 20 : setting->map_memory,
        .interval_ms = setting->interval_ms == 0 ? 5 : setting->interval_ms};
    const struct offset_store_callbacks callbacks = {
        .conflict = told_conflict, .state = told_state, .arg = worker};
    worker->store = offset_store_new(worker->loop, worker->redis, &options, &callbacks);
}

static struct worker *worker_new(const struct setting *setting, bool wait)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    struct proxy *proxy = &worker->proxy;
    char url[64];
    struct err err = {0};
    proxy->loop = worker->loop = loop_new(clock_system());
    proxy->client_fd = proxy->server_fd = -1;
    proxy->listen_fd = listen_somewhere(&proxy->port);
    proxy->listens = loop_fd_new(worker->loop, proxy->listen_fd, LOOP_READ, proxy_accept, proxy);
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d",
             setting == NULL ? server.port : proxy->port); /* NULL: without the proxy */
    int32_t timeout_ms = setting == NULL || setting->timeout_ms == 0 ? 400 : setting->timeout_ms;
    const struct redis_options options = {.url = url, .timeout_ms = timeout_ms};
    worker->redis = redis_new(worker->loop, &options, redis_told, worker, &err);
    assert_non_null(worker->redis);
    open_store(worker, setting);
    if (wait) {
        UNTIL(worker, offset_store_ready(worker->store));
    }
    return worker;
}

static void worker_free(struct worker *worker)
{
    redis_free(worker->redis);
    offset_store_free(worker->store);
    proxy_close(&worker->proxy);
    loop_fd_free(worker->proxy.listens);
    close(worker->proxy.listen_fd);
    loop_free(worker->loop);
    free(worker);
}

static void loaded(void *arg, enum offset_loaded what, const struct checkpoint *checkpoint,
                   const struct err *err)
{
    struct worker *worker = arg;
    worker->answered = true;
    worker->loaded = what;
    assert_true((what == LOADED_FOUND) == (checkpoint != NULL));
    worker->checkpoint = checkpoint == NULL ? (struct checkpoint){0} : *checkpoint;
    worker->err = err == NULL ? (struct err){0} : *err;
}

static enum offset_loaded load(struct worker *worker)
{
    worker->answered = false;
    offset_store_load(worker->store, TOPIC, PARTITION, loaded, worker);
    UNTIL(worker, worker->answered);
    return worker->loaded;
}

static void done(void *arg, bool ok, const struct err *err)
{
    struct worker *worker = arg;
    worker->answered = true;
    worker->ok = ok;
    worker->err = err == NULL ? (struct err){0} : *err;
}

static void cut(struct worker *worker, const struct checkpoint *to)
{
    worker->answered = false;
    offset_store_cut(worker->store, TOPIC, PARTITION, to, "a test", done, worker);
    UNTIL(worker, worker->answered);
}

static void flushed(void *arg, bool all)
{
    struct worker *worker = arg;
    worker->flushes_count++;
    worker->flushed_all = all;
}

static bool flush(struct worker *worker)
{
    int before = worker->flushes_count;
    offset_store_flush(worker->store, 10000, flushed, worker);
    UNTIL(worker, worker->flushes_count > before);
    return worker->flushed_all;
}

static void floor_found(void *arg, bool found, struct offset_run run, const struct err *err)
{
    struct worker *worker = arg;
    done(arg, found, err);
    worker->run = run;
    assert_true(found == (err == NULL));
}

static bool find_floor(struct worker *worker, const struct checkpoint *end, int64_t target)
{
    worker->answered = false;
    offset_store_floor_target(worker->store, TOPIC, PARTITION, end, target, floor_found, worker);
    UNTIL(worker, worker->answered);
    return worker->ok;
}

static struct offset_track *track_new(struct worker *worker, const struct checkpoint *stored,
                                      const struct checkpoint *from, int records)
{
    struct checkpoint at = records == 0 ? beginning() : position(records);
    int begin = 0;
    while (from != NULL && begin < records && truth[begin].source < from->source_next) {
        begin++;
    }
    struct offset_map runs = runs_between(from == NULL ? records : begin, records);
    worker->records = records;
    worker->track = offset_track_new(worker->store, TOPIC, PARTITION, stored, from, &at, runs.runs,
                                     runs.runs_count, worker);
    offset_map_done(&runs);
    return worker->track;
}

static void begin_at_first(struct worker *worker)
{
    track_new(worker, NULL, NULL, 0);
}

/* As resume does: from what Redis holds. */
static void go_on(struct worker *worker, int records)
{
    if (load(worker) == LOADED_FOUND) {
        struct checkpoint stored = worker->checkpoint;
        track_new(worker, &stored, &stored, records);
    } else {
        assert_int_equal(worker->loaded, LOADED_MISSING);
        begin_at_first(worker);
    }
}

/* Acknowledge up to `records`, in stretches that are cut at random. */
static void ack_to(struct worker *worker, int records)
{
    while (worker->records < records) {
        int from = worker->records;
        int to = from + 1;
        while (to < records && pick(6) != 0 && truth[to].source == truth[to - 1].source + 1 &&
               truth[to].target == truth[to - 1].target + 1) {
            to++;
        }
        struct offset_run run = {truth[from].source, truth[from].target, to - from};
        struct checkpoint after = position(to);
        offset_track_ack(worker->track, run, &after);
        worker->records = to;
        if (pick(50) == 0) {
            loop_run_once(worker->loop, 0);
        }
    }
}

/* --- is it the truth? --------------------------------------------------------------------------------------------- */
static struct offset_view *view_new(void)
{
    return offset_view_new(server.sync, "p:", "orders", "a", "b");
}

struct direction {
    bool by_target;
    int records; /* of the truth count */
    int64_t step;
    int64_t from;
};

static int64_t side(int record, bool target)
{
    return target ? truth[record].target : truth[record].source;
}

static int64_t check_direction(const struct direction *how)
{
    struct offset_view *view = view_new();
    struct checkpoint at = position(how->records);
    bool by_target = how->by_target;
    int64_t end = by_target ? at.target_next : at.source_next;
    int64_t unmapped = 0;
    int record = 0;
    for (int64_t offset = how->from; offset < end; offset += how->step) {
        struct translation got;
        struct err err = {0};
        while (record < how->records && side(record, by_target) < offset) {
            record++;
        }
        bool exact = record < how->records && side(record, by_target) == offset;
        int64_t want = record < how->records ? side(record, !by_target)
                       : by_target           ? at.source_next
                                             : at.target_next;
        if (!offset_view_translate(view, TOPIC, PARTITION, offset, by_target, &got, &err)) {
            fail_msg("%s", err.what);
        }
        int64_t to = by_target ? got.source_offset : got.target_offset;
        if (got.verdict == VERDICT_UNMAPPED) {
            unmapped++;
        } else if (got.verdict != (exact ? VERDICT_EXACT : VERDICT_ROUNDED) || to != want) {
            fail_msg("offset %lld by %s: %s %lld, truth %s %lld", (long long)offset,
                     by_target ? "target" : "source", verdict_text(got.verdict), (long long)to,
                     exact ? "exact" : "rounded", (long long)want);
        }
    }
    offset_view_free(view);
    return unmapped;
}

struct walked {
    struct offset_map map;
};

static bool walked_one(void *arg, const char *incarnation, const struct offset_run *run)
{
    struct walked *walked = arg;
    assert_int_equal(strlen(incarnation), 16 + 1 + 16 + 1 + 1);
    offset_map_append(&walked->map, *run);
    return true;
}

/* Every run, in order, is a run of the truth; `whole`: and nothing is missing. */
static void check_runs(int records, bool whole)
{
    struct offset_view *view = view_new();
    struct walked walked = {0};
    struct err err = {0};
    struct offset_map want = runs_between(0, records);
    assert_true(offset_view_each_run(view, TOPIC, PARTITION, NULL, walked_one, &walked, &err));
    if (whole) {
        assert_int_equal(walked.map.runs_count, want.runs_count);
        assert_memory_equal(walked.map.runs, want.runs,
                            want.runs_count * sizeof(struct offset_run));
    }
    for (size_t i = 0; i < walked.map.runs_count; i++) {
        const struct offset_run *run = &walked.map.runs[i];
        const struct offset_run *floor = offset_map_floor(&want, run->source_first);
        assert_non_null(floor);
        assert_int_equal(run->source_first - floor->source_first,
                         run->target_first - floor->target_first);
        assert_true(run->source_first + run->length <= floor->source_first + floor->length);
    }
    offset_map_done(&walked.map);
    offset_map_done(&want);
    offset_view_free(view);
}

/* @return offsets that are unmapped */
static int64_t check(int records)
{
    struct checkpoint at;
    int64_t step = records > 5000 ? 17 : records > 1000 ? 3 : 1;
    int64_t unmapped = check_direction(&(struct direction){false, records, step, truth[0].source}) +
                       check_direction(&(struct direction){true, records, step, truth[0].target});
    assert_true(stored_checkpoint(&at));
    struct checkpoint want = position(records);
    assert_int_equal(at.source_next, want.source_next);
    assert_int_equal(at.target_next, want.target_next);
    assert_int_equal(at.sequence_next, want.sequence_next);
    check_runs(records, unmapped == 0);
    return unmapped;
}

static int test_setup(void **state)
{
    (void)state;
    generation = 1;
    DO("FLUSHALL");
    DO("CONFIG", "SET", "maxmemory-policy", "noeviction");
    return 0;
}

/* --- the way as it should be -------------------------------------------------------------------------------------- */
static void what_was_acknowledged_is_what_is_translated(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        DO("FLUSHALL");
        make_truth(seed * 7919, 300 + (int)seed * 60, 1 + (int64_t)seed * 2);
        struct worker *worker = worker_new(NULL, true);
        assert_int_equal(load(worker), LOADED_MISSING);
        begin_at_first(worker);
        ack_to(worker, truth_count / 2);
        assert_true(flush(worker));
        assert_int_equal(check(truth_count / 2), 0);
        worker_free(worker);
        worker = worker_new(NULL, true); /* another goes on behind it, with what it paired */
        go_on(worker, truth_count / 2 + 40);
        ack_to(worker, truth_count);
        assert_true(flush(worker));
        assert_int_equal(offset_track_pending_runs(worker->track), 0);
        struct checkpoint stored;
        assert_true(offset_track_stored(worker->track, &stored));
        assert_int_equal(stored.source_next, position(truth_count).source_next);
        assert_int_equal(load(worker), LOADED_FOUND);
        assert_int_equal(worker->checkpoint.sequence_next, truth_count);
        assert_int_equal(check(truth_count), 0);
        assert_int_equal(worker->conflicts_count, 0);
        worker_free(worker);
    }
}

static void past_the_end_is_ahead_and_nothing_is_no_checkpoint(void **state)
{
    (void)state;
    struct err err = {0};
    struct translation got;
    struct checkpoint at;
    struct offset_view *view = view_new();
    assert_false(offset_view_translate(view, TOPIC, PARTITION, 1, false, &got, &err));
    assert_non_null(strstr(err.what, "no checkpoint"));
    assert_false(offset_view_checkpoint(view, TOPIC, PARTITION, &at, &err));
    assert_non_null(strstr(err.what, "no checkpoint"));
    make_truth(5, 100, 9);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 100);
    assert_true(flush(worker));
    int64_t end = position(100).source_next;
    assert_true(offset_view_translate(view, TOPIC, PARTITION, end, false, &got, &err));
    assert_int_equal(got.verdict, VERDICT_EXACT);
    assert_int_equal(got.target_offset, position(100).target_next);
    assert_true(offset_view_translate(view, TOPIC, PARTITION, end + 7, false, &got, &err));
    assert_int_equal(got.verdict, VERDICT_AHEAD);
    assert_int_equal(got.ahead_count, 7);
    assert_true(offset_view_translate(view, TOPIC, PARTITION, INT64_MAX, false, &got, &err));
    assert_int_equal(got.verdict, VERDICT_AHEAD);
    offset_view_free(view);
    worker_free(worker);
}

static void a_dense_stretch_is_one_entry(void **state)
{
    (void)state;
    make_truth(1, 1, 1);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    for (int64_t i = 0; i < 3600; i++) { /* an hour, 1,000 records a second */
        struct checkpoint after = position(0);
        after.source_next += 1000 * (i + 1);
        after.target_next += 1000 * (i + 1);
        offset_track_ack(
            worker->track,
            (struct offset_run){after.source_next - 1000, after.target_next - 1000, 1000}, &after);
        if (i % 100 == 0) {
            turn_for(worker->loop, 12);
        }
    }
    assert_true(flush(worker));
    assert_int_equal(number(SAY("XLEN", map_key())), 1);
    worker_free(worker);
}

static void a_raised_generation_goes_on_beside_the_old(void **state)
{
    (void)state;
    struct err err = {0};
    struct translation got;
    make_truth(77, 400, 5);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 200);
    assert_true(flush(worker));
    struct checkpoint old = position(200);
    generation = 2;
    struct checkpoint begin = old;
    begin.generation = 2;
    begin.sequence_next = begin.source_next;
    begin.leader_epoch = -1;
    offset_track_free(worker->track);
    worker->track =
        offset_track_new(worker->store, TOPIC, PARTITION, &old, &begin, &begin, NULL, 0, worker);
    ack_to(worker, 400);
    assert_true(flush(worker));
    assert_int_equal(worker->conflicts_count, 0);
    struct offset_view *view = view_new();
    for (int i = 0; i < 400; i++) { /* whatever began the newest at or before an offset answers */
        for (int by_target = 0; by_target < 2; by_target++) {
            assert_true(offset_view_translate(view, TOPIC, PARTITION, side(i, by_target), by_target,
                                              &got, &err));
            assert_int_equal(got.verdict, VERDICT_EXACT);
            assert_int_equal(by_target ? got.source_offset : got.target_offset,
                             side(i, !by_target));
        }
    }
    offset_view_free(view);
    worker_free(worker);
}

/* --- Redis away --------------------------------------------------------------------------------------------------- */
static void away_at_the_start(void **state)
{
    (void)state;
    make_truth(3, 900, 4);
    server_kill();
    struct worker *worker = worker_new(NULL, false);
    assert_int_equal(load(worker), LOADED_AWAY);
    begin_at_first(worker);
    ack_to(worker, 900);
    assert_false(flush(worker)); /* and it says so */
    assert_true(offset_track_pending_runs(worker->track) > 100);
    struct checkpoint at;
    assert_false(offset_track_stored(worker->track, &at));
    server_start();
    UNTIL(worker, offset_store_ready(worker->store));
    assert_true(flush(worker));
    assert_int_equal(check(900), 0);
    worker_free(worker);
}

static void away_and_empty_in_the_middle(void **state)
{
    (void)state;
    make_truth(4, 1500, 4);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 500);
    turn_for(worker->loop, 30);
    server_kill();
    ack_to(worker, 1000);
    UNTIL(worker, !offset_store_ready(worker->store));
    turn_for(worker->loop, 30);
    server_start();
    UNTIL(worker, offset_store_ready(worker->store));
    ack_to(worker, 1500);
    assert_true(flush(worker));
    assert_int_equal(check(1500), 0);
    assert_int_equal(worker->conflicts_count, 0);
    worker_free(worker);
}

static void slow_in_the_middle(void **state)
{
    (void)state;
    make_truth(6, 1500, 4);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 500);
    kill(server.pid, SIGSTOP);
    ack_to(worker, 1000);
    UNTIL(worker, worker->away_count > 0);
    assert_int_equal(load(worker), LOADED_AWAY);
    kill(server.pid, SIGCONT);
    UNTIL(worker, worker->ready_count > 1);
    ack_to(worker, 1500);
    assert_true(flush(worker));
    assert_int_equal(check(1500), 0);
    worker_free(worker);
}

static void flushed_in_the_middle(void **state)
{
    (void)state;
    make_truth(8, 1500, 4);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    for (int i = 1; i <= 5; i++) {
        ack_to(worker, i * 300);
        turn_for(worker->loop, 20);
        DO("FLUSHALL");
    }
    struct checkpoint after = position(1500);
    offset_track_ack(worker->track, (struct offset_run){0}, &after);
    assert_true(flush(worker));
    assert_int_equal(check(1500), 0);
    turn_for(worker->loop, 50);
    assert_int_equal(number(SAY("EXISTS", "p:{orders}:meta")), 1);
    worker_free(worker);
}

static void flushed_beyond_what_is_kept(void **state)
{
    (void)state;
    make_truth(9, 80000, 1);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 70000);
    assert_true(flush(worker));
    assert_int_equal(check(70000), 0);
    DO("FLUSHALL");
    ack_to(worker, 80000);
    assert_true(flush(worker));
    int64_t unmapped = check(80000);
    assert_in_range(unmapped, 1000, 8000); /* every 17th, both ways; the newest are there */
    assert_int_equal(number(SAY("SCARD", BASE ":unmapped:" FIELD)), 1);
    struct err err = {0};
    struct translation got;
    struct offset_view *view = view_new();
    assert_true(
        offset_view_translate(view, TOPIC, PARTITION, truth[79000].source, false, &got, &err));
    assert_int_equal(got.verdict, VERDICT_EXACT);
    assert_true(offset_view_translate(view, TOPIC, PARTITION, truth[10].source, false, &got, &err));
    assert_int_equal(got.verdict, VERDICT_UNMAPPED);
    offset_view_free(view);
    worker_free(worker);
}

static void beyond_the_memory_is_unmapped(void **state)
{
    (void)state;
    make_truth(10, 20000, 2);
    struct setting setting = {.map_memory = 64 << 10};
    struct worker *worker = worker_new(&setting, true);
    begin_at_first(worker);
    ack_to(worker, 500);
    assert_true(flush(worker));
    kill(server.pid, SIGSTOP);
    UNTIL(worker, worker->away_count > 0 || (ack_to(worker, worker->records + 1), false));
    ack_to(worker, 19000);
    kill(server.pid, SIGCONT);
    UNTIL(worker, offset_store_ready(worker->store));
    ack_to(worker, 20000);
    assert_true(flush(worker));
    int64_t unmapped = check(20000);
    assert_true(unmapped > 100);
    assert_true(number(SAY("SCARD", BASE ":unmapped:" FIELD)) >= 1);
    struct err err = {0};
    struct translation got;
    struct offset_view *view = view_new();
    assert_true(
        offset_view_translate(view, TOPIC, PARTITION, truth[400].source, false, &got, &err));
    assert_int_equal(got.verdict, VERDICT_EXACT); /* what was stored before */
    assert_true(
        offset_view_translate(view, TOPIC, PARTITION, truth[19990].source, false, &got, &err));
    assert_int_equal(got.verdict, VERDICT_EXACT);
    offset_view_free(view);
    worker_free(worker);
}

/* Freed while nothing could be stored: the partition's next track has it. */
static void what_is_pending_outlives_a_resume(void **state)
{
    (void)state;
    make_truth(11, 1200, 3);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 300);
    assert_true(flush(worker));
    server_kill();
    UNTIL(worker, !offset_store_ready(worker->store));
    ack_to(worker, 700);
    offset_track_free(worker->track);
    turn_for(worker->loop, 20);
    struct checkpoint group = position(650); /* the second checkpoint */
    track_new(worker, NULL, &group, 800);
    ack_to(worker, 1000);
    offset_track_free(worker->track); /* and it is stored, even when nobody goes on */
    server_start();
    UNTIL(worker, offset_store_ready(worker->store));
    assert_true(flush(worker));
    assert_int_equal(check(1000), 0);
    go_on(worker, 1000);
    ack_to(worker, 1200);
    assert_true(flush(worker));
    assert_int_equal(check(1200), 0);
    assert_int_equal(worker->conflicts_count, 0);
    worker_free(worker);
}

/* --- older copies, lost answers, others --------------------------------------------------------------------------- */
static void an_older_copy_is_brought_up(void **state)
{
    (void)state;
    make_truth(12, 1500, 3);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 500);
    assert_true(flush(worker));
    struct copy copy = copy_take();
    ack_to(worker, 1000);
    assert_true(flush(worker));
    copy_put_back(&copy, "");
    ack_to(worker, 1500);
    assert_true(flush(worker));
    assert_int_equal(check(1500), 0);
    copy_done(&copy);
    worker_free(worker);
}

/* One key alone is older, or gone: never wrong. */
static void parts_of_an_older_copy_are_never_believed(void **state)
{
    static const char *const parts[] = {":checkpoints", ":map:", ":incarnations:"};
    (void)state;
    for (int i = 0; i < 6; i++) {
        DO("FLUSHALL");
        make_truth(13 + (uint64_t)i, 1500, 3);
        struct worker *worker = worker_new(NULL, true);
        begin_at_first(worker);
        ack_to(worker, 500);
        assert_true(flush(worker));
        struct copy copy = copy_take();
        ack_to(worker, 1000);
        assert_true(flush(worker));
        if (i < 3) {
            copy_put_back(&copy, parts[i]);
        } else {
            struct checkpoint at = position(0);
            char stale[INCARNATION_BYTES + 32];
            checkpoint_incarnation(&at, stale);
            snprintf(stale + strlen(stale), 32, " 5 5 900 900");
            DO("SADD", BASE ":unmapped:" FIELD, stale);
            for (size_t k = 0; k < copy.count; k++) {
                if (strstr(copy.keys[k], parts[i - 3]) != NULL) {
                    DO("DEL", copy.keys[k]);
                }
            }
        }
        ack_to(worker, 1500);
        assert_true(flush(worker));
        int64_t unmapped = check(1500);
        assert_int_equal(unmapped, 0); /* all is within what is kept */
        assert_int_equal(number(SAY("EXISTS", BASE ":unmapped:" FIELD)), 0);
        copy_done(&copy);
        worker_free(worker);
    }
}

/* Somebody deletes the newest entries: their IDs are taken nevertheless. */
static void deleted_entries_are_written_again(void **state)
{
    (void)state;
    make_truth(19, 2000, 2);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 1500);
    assert_true(flush(worker));
    redisReply *last = SAY("XREVRANGE", map_key(), "+", "-", "COUNT", "3");
    for (size_t i = 0; i < 3; i++) {
        DO("XDEL", map_key(), last->element[i]->element[0]->str);
    }
    freeReplyObject(last);
    ack_to(worker, 2000);
    assert_true(flush(worker));
    int64_t unmapped = check(2000);
    assert_in_range(unmapped, 0, 400);
    worker_free(worker);
}

/* As they lie there, before anybody wrote them again. */
static void what_was_deleted_is_unmapped_until_then(void **state)
{
    (void)state;
    make_truth(18, 900, 2);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 900);
    assert_true(flush(worker));
    worker_free(worker);
    redisReply *last = SAY("XREVRANGE", map_key(), "+", "-", "COUNT", "2");
    for (size_t i = 0; i < last->elements; i++) {
        DO("XDEL", map_key(), last->element[i]->element[0]->str);
    }
    freeReplyObject(last);
    assert_in_range(check(900), 10, 900);
}

static void a_lost_answer_doubles_and_loses_nothing(void **state)
{
    (void)state;
    struct setting setting = {0};
    for (uint64_t seed = 20; seed < 24; seed++) {
        DO("FLUSHALL");
        make_truth(seed, 1500, 3);
        struct worker *worker = worker_new(&setting, true);
        begin_at_first(worker);
        ack_to(worker, 300);
        assert_true(flush(worker));
        for (int records = 500; records <= 1500; records += 200) {
            int lost = worker->proxy.swallowed;
            worker->proxy.swallow = 1;
            ack_to(worker, records);
            offset_store_flush(worker->store, 10000, flushed, worker); /* sends it at once */
            UNTIL(worker, worker->proxy.swallowed > lost);
            UNTIL(worker, !offset_store_ready(worker->store));
            UNTIL(worker, offset_store_ready(worker->store));
        }
        assert_true(flush(worker));
        assert_int_equal(check(1500), 0);
        assert_int_equal(worker->conflicts_count, 0);
        worker_free(worker);
    }
}

/* It lay in a buffer while the worker came back and went on. */
static void an_advance_that_arrives_late_changes_nothing(void **state)
{
    (void)state;
    struct setting setting = {0};
    make_truth(25, 900, 1000000); /* one run: no newer entry stands in its way */
    assert_int_equal(truth[899].target - truth[0].target, 899);
    struct worker *worker = worker_new(&setting, true);
    begin_at_first(worker);
    ack_to(worker, 300);
    assert_true(flush(worker));
    worker->proxy.keeps = true;
    loop_fd_interest(worker->proxy.from_client, 0);
    ack_to(worker, 500);
    offset_store_flush(worker->store, 10000, flushed, worker);
    UNTIL(worker, !offset_store_ready(worker->store));
    ack_to(worker, 600);
    UNTIL(worker, offset_store_ready(worker->store));
    assert_true(flush(worker));
    struct copy before = copy_take();
    proxy_deliver(&worker->proxy);
    struct copy after = copy_take();
    assert_true(copy_equal(&before, &after));
    copy_done(&before);
    copy_done(&after);
    ack_to(worker, 900);
    assert_true(flush(worker));
    assert_int_equal(check(900), 0);
    worker_free(worker);
}

static void the_one_behind_is_told(void **state)
{
    (void)state;
    make_truth(30, 1000, 3);
    struct worker *behind = worker_new(NULL, true);
    struct worker *ahead = worker_new(NULL, true);
    begin_at_first(behind);
    ack_to(behind, 300);
    assert_true(flush(behind));
    go_on(ahead, 300);
    ack_to(ahead, 600);
    assert_true(flush(ahead));
    ack_to(behind, 400);
    UNTIL(behind, behind->conflicts_count == 1);
    assert_int_equal(behind->conflict.source_next, position(600).source_next);
    assert_null(behind->track);
    assert_int_equal(check(600), 0); /* it changed nothing */
    go_on(behind, 700);              /* and it may become the one that is ahead */
    assert_true(flush(behind));
    ack_to(ahead, 650);
    UNTIL(ahead, ahead->conflicts_count == 1);
    assert_int_equal(check(700), 0);
    worker_free(behind);
    worker_free(ahead);
}

static void the_one_that_is_as_far_goes_on(void **state)
{
    (void)state;
    make_truth(31, 1000, 3);
    struct worker *one = worker_new(NULL, true);
    struct worker *other = worker_new(NULL, true);
    begin_at_first(one);
    begin_at_first(other);
    for (int i = 1; i <= 10; i++) { /* both saw the same acknowledgments */
        ack_to(one, i * 100);
        assert_true(flush(one));
        ack_to(other, i * 100);
        assert_true(flush(other));
    }
    assert_int_equal(one->conflicts_count + other->conflicts_count, 0);
    assert_int_equal(check(1000), 0);
    worker_free(one);
    worker_free(other);
}

static void a_lower_generation_is_told(void **state)
{
    (void)state;
    make_truth(32, 500, 3);
    struct worker *old = worker_new(NULL, true);
    begin_at_first(old);
    ack_to(old, 100);
    assert_true(flush(old));
    struct worker *newer = worker_new(NULL, true);
    struct checkpoint stored = position(100);
    generation = 2;
    struct checkpoint begin = position(100);
    newer->records = 100;
    newer->track =
        offset_track_new(newer->store, TOPIC, PARTITION, &stored, &begin, &begin, NULL, 0, newer);
    ack_to(newer, 200);
    assert_true(flush(newer));
    generation = 1;
    ack_to(old, 300);
    UNTIL(old, old->conflicts_count == 1);
    assert_int_equal(old->conflict.generation, 2);
    worker_free(old);
    worker_free(newer);
}

/* --- refusals ----------------------------------------------------------------------------------------------------- */
static void a_checkpoint_that_is_none_is_named(void **state)
{
    (void)state;
    make_truth(40, 200, 3);
    struct worker *worker = worker_new(NULL, true);
    DO("HSET", BASE ":checkpoints", FIELD, "v1 what is this");
    assert_int_equal(load(worker), LOADED_REFUSED);
    assert_non_null(strstr(worker->err.what, BASE ":checkpoints, field " FIELD));
    begin_at_first(worker);
    ack_to(worker, 200);
    assert_false(flush(worker));
    redisReply *there = SAY("HGET", BASE ":checkpoints", FIELD);
    assert_string_equal(there->str, "v1 what is this"); /* nobody overwrote it */
    freeReplyObject(there);
    struct err err = {0};
    struct checkpoint at;
    struct offset_view *view = view_new();
    assert_false(offset_view_checkpoint(view, TOPIC, PARTITION, &at, &err));
    assert_non_null(strstr(err.what, FIELD));
    offset_view_free(view);
    worker_free(worker);
}

/* S34: a key of another type. */
static void keys_of_another_type_are_refused(void **state)
{
    (void)state;
    make_truth(41, 200, 3);
    const char *keys[] = {BASE ":checkpoints", map_key(), BASE ":incarnations:" FIELD};
    for (int i = 0; i < 3; i++) {
        DO("FLUSHALL");
        struct worker *worker = worker_new(NULL, true);
        DO("SET", keys[i], "x");
        enum offset_loaded what = load(worker);
        assert_int_equal(what, i == 0 ? LOADED_REFUSED : LOADED_MISSING);
        assert_true(i != 0 || strstr(worker->err.what, BASE ":checkpoints") != NULL);
        begin_at_first(worker);
        ack_to(worker, 200);
        assert_false(flush(worker));
        struct checkpoint at;
        assert_false(offset_track_stored(worker->track, &at));
        assert_int_equal(worker->conflicts_count, 0);
        worker_free(worker);
    }
}

/* S34: garbage for a value. */
static void garbage_in_the_index_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "1",
                                      "x 1 1 1 1 1 1 1 1",
                                      "1 9 9 5 5 -1 -1 -1 -1",
                                      "1 0 0 9223372036854775808 1 -1 -1 -1 -1",
                                      "1 0 0 5 5 9 9 1 0",
                                      "1 0 0 5 5 5 5 -1 -1",
                                      "1 0 0 5 5 -5 5 1 0",
                                      "1 0 0 5 5 5 5 9 9",
                                      "1 0 0 5 5 5 5 1 0 "};
    (void)state;
    make_truth(42, 200, 3);
    for (size_t i = 1; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char name[INCARNATION_BYTES];
        char text[CHECKPOINT_TEXT_BYTES];
        struct checkpoint at = position(100);
        DO("FLUSHALL");
        struct worker *worker = worker_new(NULL, true);
        DO("HSET", BASE ":checkpoints", FIELD, checkpoint_text(&at, text));
        DO("HSET", BASE ":incarnations:" FIELD, checkpoint_incarnation(&at, name), bad[i]);
        go_on(worker, 100);
        ack_to(worker, 200);
        assert_false(flush(worker));
        struct translation got;
        struct err err = {0};
        struct offset_view *view = view_new();
        assert_false(offset_view_translate(view, TOPIC, PARTITION, 3, false, &got, &err));
        offset_view_free(view);
        worker_free(worker);
    }
}

static void a_redis_that_evicts_is_refused_by_name(void **state)
{
    (void)state;
    make_truth(43, 200, 3);
    DO("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    struct worker *worker = worker_new(NULL, false);
    UNTIL(worker, worker->why_kind == ERR_REFUSED);
    assert_non_null(strstr(worker->why, "allkeys-lru"));
    begin_at_first(worker);
    ack_to(worker, 200);
    assert_false(flush(worker));
    struct checkpoint at;
    assert_false(stored_checkpoint(&at));
    DO("CONFIG", "SET", "maxmemory-policy", "noeviction");
    UNTIL(worker, offset_store_ready(worker->store)); /* seen by itself */
    assert_true(flush(worker));
    assert_int_equal(check(200), 0);
    DO("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu"); /* changed later */
    UNTIL(worker, !offset_store_ready(worker->store));
    assert_non_null(strstr(worker->why, "allkeys-lfu"));
    worker_free(worker);
}

/* S33: it answers, and takes nothing: not ready, said once, asked again; what was mirrored meanwhile is stored behind. */
static void a_redis_that_takes_no_writes_is_not_ready(void **state)
{
    static const struct {
        const char *says, *begin[3], *end[3];
        int argc;
    } rows[] = {
        {"OOM",      {"CONFIG", "SET", "maxmemory"},  {"CONFIG", "SET", "maxmemory"}, 4},
        {"READONLY", {"REPLICAOF", "127.0.0.1", "1"}, {"REPLICAOF", "NO", "ONE"},     3},
    };
    (void)state;
    make_truth(46, 300, 3);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        DO("FLUSHALL");
        struct worker *worker = worker_new(NULL, true);
        begin_at_first(worker);
        ack_to(worker, 100);
        assert_true(flush(worker));
        const char *begin[] = {rows[i].begin[0], rows[i].begin[1], rows[i].begin[2], "1"};
        const char *end[] = {rows[i].end[0], rows[i].end[1], rows[i].end[2], "0"};
        freeReplyObject(say(rows[i].argc, begin, NULL));
        ack_to(worker, 200);
        int64_t begin_ms = loop_now_ms(worker->loop);
        UNTIL(worker, !offset_store_ready(worker->store));
        assert_true(loop_now_ms(worker->loop) - begin_ms < 3000); /* seen by what it refused */
        assert_int_equal(worker->why_kind, ERR_RETRY);
        assert_non_null(strstr(worker->why, rows[i].says));
        assert_false(flush(worker));
        assert_true(offset_track_pending_runs(worker->track) > 0);
        assert_int_equal(load(worker), LOADED_FOUND); /* it may be read all the same */
        turn_for(worker->loop, 2500);
        assert_int_equal(worker->away_count, 1);
        freeReplyObject(say(rows[i].argc, end, NULL));
        begin_ms = loop_now_ms(worker->loop);
        UNTIL(worker, offset_store_ready(worker->store));
        assert_true(loop_now_ms(worker->loop) - begin_ms < 3000);
        ack_to(worker, 300);
        assert_true(flush(worker));
        assert_int_equal(check(300), 0);
        worker_free(worker);
    }
}

/* S34: another deployment, other clusters, a newer schema. */
static void another_installation_is_refused_by_name(void **state)
{
    static const struct {
        const char *field, *there, *named;
    } rows[] = {
        {"deployment", "other", "deployment is other"},
        {"cluster:a",  "C9",    "cluster:a is C9"    },
        {"cluster:b",  "C9",    "cluster:b is C9"    },
        {"schema",     "2",     "schema is 2"        },
    };
    (void)state;
    make_truth(44, 200, 3);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[CHECKPOINT_TEXT_BYTES];
        struct checkpoint theirs = position(100);
        DO("FLUSHALL");
        DO("HSET", "p:{orders}:meta", rows[i].field, rows[i].there);
        DO("HSET", BASE ":checkpoints", FIELD, checkpoint_text(&theirs, text));
        struct worker *worker = worker_new(NULL, false);
        UNTIL(worker, redis_state(worker->redis) == REDIS_READY);
        assert_int_equal(load(worker),
                         LOADED_AWAY); /* theirs is not read, before it is known either */
        UNTIL(worker, worker->why_kind == ERR_REFUSED);
        assert_non_null(strstr(worker->why, rows[i].named));
        assert_int_equal(load(worker), LOADED_AWAY);
        begin_at_first(worker);
        ack_to(worker, 200);
        struct checkpoint to = position(50);
        cut(worker, &to);
        assert_false(worker->ok);
        assert_false(flush(worker));
        struct checkpoint at;
        assert_true(stored_checkpoint(&at));
        assert_int_equal(at.sequence_next, 100);
        assert_int_equal(number(SAY("HLEN", "p:{orders}:meta")), 1);
        worker_free(worker);
    }
}

/* --- a target that was truncated ---------------------------------------------------------------------------------- */
static void a_cut_is_the_shorter_truth(void **state)
{
    (void)state;
    for (uint64_t seed = 50; seed < 64; seed++) {
        DO("FLUSHALL");
        make_truth(seed, 600, 1 + (int64_t)(seed % 7));
        int kept = 1 + (int)pick(599);
        struct worker *worker = worker_new(NULL, true);
        begin_at_first(worker);
        ack_to(worker, 600);
        assert_true(flush(worker));
        long long first_source, first_target, ordinal;
        assert_int_equal(
            sscanf(index_text(), "%lld %lld %lld", &ordinal, &first_source, &first_target), 3);
        offset_track_free(worker->track);
        struct checkpoint to = position(kept);
        cut(worker, &to);
        assert_true(worker->ok);
        assert_int_equal(check(kept), 0);
        struct copy once = copy_take();
        cut(worker, &to);
        assert_true(worker->ok);
        struct copy twice = copy_take();
        assert_true(copy_equal(&once, &twice));
        copy_done(&once);
        copy_done(&twice);
        long long kept_source, kept_target;
        assert_int_equal(
            sscanf(index_text(), "%lld %lld %lld", &ordinal, &kept_source, &kept_target), 3);
        assert_int_equal(kept_source, first_source);
        assert_int_equal(kept_target, first_target);
        /* The same records again, elsewhere. */
        make_truth_from(kept, 700, to.source_next + pick(3), to.target_next + pick(3), 5);
        go_on(worker, kept);
        ack_to(worker, 700);
        assert_true(flush(worker));
        assert_int_equal(check(700), 0);
        assert_int_equal(worker->conflicts_count, 0);
        worker_free(worker);
    }
}

/* Everything was truncated. */
static void a_cut_to_the_beginning(void **state)
{
    (void)state;
    make_truth(81, 300, 3);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 300);
    assert_true(flush(worker));
    offset_track_free(worker->track);
    struct checkpoint to = beginning();
    cut(worker, &to);
    assert_true(worker->ok);
    assert_int_equal(number(SAY("EXISTS", map_key())), 0);
    go_on(worker, 0);
    ack_to(worker, 300);
    assert_true(flush(worker));
    assert_int_equal(check(300), 0);
    worker_free(worker);
}

/* Redis stands behind the place: a cut adds nothing and moves nothing. */
static void a_cut_never_moves_forward(void **state)
{
    (void)state;
    make_truth(82, 600, 3);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 300);
    assert_true(flush(worker));
    struct copy before = copy_take();
    struct checkpoint to = position(500);
    cut(worker, &to);
    assert_true(worker->ok);
    struct copy after = copy_take();
    assert_true(copy_equal(&before, &after));
    copy_done(&before);
    copy_done(&after);
    worker_free(worker);
}

static void a_cut_clips_what_is_unmapped(void **state)
{
    (void)state;
    make_truth(83, 600, 3);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 600);
    assert_true(flush(worker));
    char name[INCARNATION_BYTES];
    char stretch[200];
    struct checkpoint to = position(300);
    checkpoint_incarnation(&to, name);
    for (int i = 1; i < 6; i++) { /* [100, 150) [200, 250) [300, ...) */
        snprintf(stretch, sizeof(stretch), "%s %lld %lld %lld %lld", name,
                 (long long)truth[i * 100 - 20].source, (long long)truth[i * 100 - 20].target,
                 (long long)truth[i * 100 + 20].source, (long long)truth[i * 100 + 20].target);
        DO("SADD", BASE ":unmapped:" FIELD, stretch);
    }
    offset_track_free(worker->track);
    cut(worker, &to);
    assert_true(worker->ok);
    assert_int_equal(number(SAY("SCARD", BASE ":unmapped:" FIELD)), 3);
    snprintf(stretch, sizeof(stretch), "%s %lld %lld %lld %lld", name, (long long)truth[280].source,
             (long long)truth[280].target, (long long)to.source_next, (long long)to.target_next);
    assert_int_equal(number(SAY("SISMEMBER", BASE ":unmapped:" FIELD, stretch)), 1);
    worker_free(worker);
}

/* --- what is rebuilt from the logs -------------------------------------------------------------------------------- */

struct told_open {
    bool answered;
    enum offset_unmapped_what what;
    struct offset_open open[64];
    size_t count;
    struct err err;
};

static void open_told(void *arg, enum offset_unmapped_what what, const struct offset_open *open,
                      size_t count, const struct err *err)
{
    struct told_open *told = arg;
    *told = (struct told_open){.answered = true, .what = what, .count = count};
    assert_true(count <= 64 && (what == UNMAPPED_AWAY) == (err != NULL));
    if (count > 0) {
        memcpy(told->open, open, count * sizeof(*open));
    }
    told->err = err == NULL ? (struct err){0} : *err;
}

static struct told_open ask_unmapped(struct worker *worker)
{
    static struct told_open told;
    struct checkpoint at = position(0);
    told.answered = false;
    offset_store_unmapped(worker->store, TOPIC, PARTITION, &at, open_told, &told);
    UNTIL(worker, told.answered);
    return told;
}

static void rebuilt_told(void *arg, const struct err *err)
{
    done(arg, err == NULL, err);
}

static int first_record_from(int64_t source)
{
    int record = 0;
    while (record < truth_count && truth[record].source < source) {
        record++;
    }
    return record;
}

/* What reading the logs would give: the newest `records` below the top, or all down to the beginning. */
static bool store_block(struct worker *worker, struct offset_open *open, int records)
{
    static struct offset_piece pieces[600];
    struct checkpoint at = position(0);
    int to = first_record_from(open->top.source);
    int least = first_record_from(open->stretch.begin.source);
    int from = to - records > least ? to - records : least;
    struct offset_map map = runs_between(from, to);
    size_t count = (map.runs_count + OFFSET_MAP_PACK - 1) / OFFSET_MAP_PACK;
    assert_true(count > 0 && count <= 600);
    memset(pieces, 0, sizeof(pieces));
    for (size_t i = 0; i < count; i++) {
        size_t left = map.runs_count - i * OFFSET_MAP_PACK;
        struct offset_piece *piece = &pieces[i];
        piece->runs_count = left < OFFSET_MAP_PACK ? left : OFFSET_MAP_PACK;
        memcpy(piece->runs, &map.runs[i * OFFSET_MAP_PACK],
               piece->runs_count * sizeof(struct offset_run));
        piece->span.begin =
            i == 0 && from == least
                ? open->stretch.begin
                : (struct offset_place){piece->runs[0].source_first, piece->runs[0].target_first};
        piece->span.until = open->top;
        if (i > 0) {
            pieces[i - 1].span.until = piece->span.begin;
        }
    }
    offset_map_done(&map);
    worker->answered = false;
    offset_store_rebuilt(worker->store, TOPIC, PARTITION, &at, open, pieces, count, rebuilt_told,
                         worker);
    UNTIL(worker, worker->answered);
    if (worker->ok) {
        open->top = pieces[0].span.begin;
    }
    return worker->ok;
}

static const char *pieces_key(void)
{
    static char key[200];
    char name[INCARNATION_BYTES];
    struct checkpoint at = position(0);
    snprintf(key, sizeof(key), BASE ":rebuilt:" TOPIC ":%d:%s", PARTITION,
             checkpoint_incarnation(&at, name));
    return key;
}

/* A map of which a good part did not fit into memory. */
static struct worker *with_a_stretch(uint64_t seed, int records)
{
    static struct setting setting = {.map_memory = 64 << 10};
    make_truth(seed, records, 2);
    struct worker *worker = worker_new(&setting, true);
    begin_at_first(worker);
    ack_to(worker, 500);
    assert_true(flush(worker));
    kill(server.pid, SIGSTOP);
    UNTIL(worker, worker->away_count > 0 || (ack_to(worker, worker->records + 1), false));
    ack_to(worker, records - 500);
    kill(server.pid, SIGCONT);
    UNTIL(worker, offset_store_ready(worker->store));
    ack_to(worker, records);
    assert_true(flush(worker));
    return worker;
}

static void what_was_rebuilt_is_the_truth(void **state)
{
    (void)state;
    struct worker *worker = with_a_stretch(90, 20000);
    int64_t before = check(20000);
    assert_true(before > 100);
    struct told_open told = ask_unmapped(worker);
    assert_int_equal(told.what, UNMAPPED_KNOWN);
    assert_true(told.count > 0);
    for (size_t i = 0; i < told.count; i++) {
        assert_false(offset_open_done(&told.open[i]));
        for (int block = 0; !offset_open_done(&told.open[i]); block++) {
            assert_true(store_block(worker, &told.open[i], 1 + (int)pick(3000)));
            struct told_open now = ask_unmapped(worker);
            assert_memory_equal(&now.open[i], &told.open[i], sizeof(now.open[i]));
            if (block == 2) {
                int64_t unmapped = check(20000);
                assert_true(unmapped <= before);
                before = unmapped;
            }
        }
    }
    assert_int_equal(check(20000), 0);
    DO("DEL", pieces_key()); /* lost alone: what it said is unmapped again, not a hole */
    assert_true(check_direction(&(struct direction){true, 20000, 41, truth[0].target}) > 100);
    worker_free(worker);
}

static void two_that_rebuild_are_one(void **state)
{
    (void)state;
    struct worker *worker = with_a_stretch(91, 20000);
    struct told_open told = ask_unmapped(worker);
    struct offset_open other = told.open[0];
    assert_true(store_block(worker, &told.open[0], 2000));
    int64_t pieces = number(SAY("ZCARD", pieces_key()));
    assert_false(store_block(worker, &other, 1500)); /* it saw what was there before */
    assert_int_equal(worker->err.kind, ERR_RETRY);
    assert_int_equal(number(SAY("ZCARD", pieces_key())), pieces);
    assert_true(store_block(worker, &told.open[0], 2000));
    DO("DEL", BASE ":unmapped:" FIELD);
    assert_false(store_block(worker, &told.open[0], 2000));
    worker_free(worker);
}

static void a_cut_and_a_flush_take_what_was_rebuilt(void **state)
{
    (void)state;
    struct worker *worker = with_a_stretch(92, 20000);
    struct told_open told = ask_unmapped(worker);
    while (!offset_open_done(&told.open[0])) {
        assert_true(store_block(worker, &told.open[0], 2000));
    }
    struct offset_stretch stretch = told.open[0].stretch;
    int inside = first_record_from((stretch.begin.source + stretch.until.source) / 2);
    struct checkpoint to = position(inside);
    offset_track_free(worker->track);
    cut(worker, &to);
    assert_true(worker->ok);
    assert_int_equal(number(SAY("EXISTS", pieces_key())), 0);
    truth_count = inside; /* what came behind is another history */
    (void)check(inside);
    told = ask_unmapped(worker);
    assert_int_equal(told.open[0].top.source, to.source_next);
    DO("FLUSHALL");
    told = ask_unmapped(worker);
    assert_int_equal(told.what, UNMAPPED_FLUSHED);
    worker_free(worker);
}

static void garbage_among_the_pieces_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"x", "0000000000000000000 0000000000000000000 9",
                                      "0000000000000000000 0000000000000000000 40 30 40 30 0 0 7 ",
                                      "0000000000000009999 0000000000000000005 9 30 9 30 0 0 0 "};
    struct worker *worker = with_a_stretch(93, 20000);
    struct told_open told = ask_unmapped(worker);
    int64_t inside = (told.open[0].stretch.begin.source + told.open[0].stretch.until.source) / 2;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        DO("DEL", pieces_key());
        DO("ZADD", pieces_key(), "0", bad[i]);
        struct offset_view *view = view_new();
        struct translation got = {0};
        struct err err = {0};
        bool ok = offset_view_translate(view, TOPIC, PARTITION, inside, false, &got, &err);
        assert_true(ok ? got.verdict == VERDICT_UNMAPPED : err.kind == ERR_REFUSED);
        offset_view_free(view);
    }
    /* In good form, but it says something else than what stands beside it. */
    struct offset_open open = told.open[0];
    struct checkpoint at = position(0);
    struct offset_piece piece = {
        .span = {{0, 0}, open.top},
          .runs = {{0, 0, 5000}},
          .runs_count = 1
    };
    char text[OFFSET_PIECE_BYTES];
    size_t len = offset_piece_text(&piece, text);
    DO("DEL", pieces_key());
    redisReply *reply =
        redis_sync_call(server.sync, 4, (const char *[]){"ZADD", pieces_key(), "0", text},
                        (size_t[]){4, strlen(pieces_key()), 1, len}, &(struct err){0});
    assert_non_null(reply);
    freeReplyObject(reply);
    assert_true(check_direction(&(struct direction){false, 20000, 41, truth[0].source}) > 100);
    DO("DEL", pieces_key());
    DO("ZADD", pieces_key(), "0",
       bad[0]); /* stands behind every bound: no lowest piece of the stretch */
    assert_int_equal(ask_unmapped(worker).what, UNMAPPED_KNOWN);
    char stretch[200];
    char name[INCARNATION_BYTES];
    snprintf(stretch, sizeof(stretch), "%s 5 x 7 8", checkpoint_incarnation(&at, name));
    DO("SADD", BASE ":unmapped:" FIELD, stretch);
    snprintf(stretch, sizeof(stretch), "%s 9 9 3 3", name);
    DO("SADD", BASE ":unmapped:" FIELD, stretch);
    told = ask_unmapped(worker);
    assert_int_equal(told.what, UNMAPPED_AWAY);
    assert_int_equal(told.err.kind, ERR_REFUSED);
    worker_free(worker);
}

/* The map has the last record elsewhere than the log: it is not believed, nor is the log's place. */
static void a_cut_that_contradicts_begins_anew(void **state)
{
    (void)state;
    make_truth(84, 600, 3);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 600);
    assert_true(flush(worker));
    offset_track_free(worker->track);
    struct checkpoint to = position(300);
    to.source_next -= 40;
    cut(worker, &to);
    assert_true(worker->ok);
    assert_int_equal(load(worker), LOADED_MISSING);
    struct checkpoint from = position(300);
    track_new(worker, NULL, &from, 300);
    ack_to(worker, 600);
    assert_true(flush(worker));
    assert_true(check(600) > 100);
    worker_free(worker);
}

static void the_floor_is_the_truths(void **state)
{
    (void)state;
    make_truth(85, 500, 4);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 500);
    struct checkpoint end = position(500);
    end.source_next += 5; /* a hole and foreign records behind the last run */
    end.target_next += 4;
    offset_track_ack(worker->track, (struct offset_run){0}, &end);
    assert_true(flush(worker));
    struct offset_map map = runs_between(0, 500);
    for (int64_t target = 0; target < end.target_next + 3; target++) {
        const struct offset_run *want = offset_map_floor_target(&map, target);
        assert_int_equal(find_floor(worker, &end, target), want != NULL);
        if (want != NULL) {
            assert_memory_equal(&worker->run, want, sizeof(*want));
        }
    }
    struct checkpoint shorter = position(250); /* at the end that is known, at the latest */
    assert_true(find_floor(worker, &shorter, truth[249].target));
    assert_true(worker->run.source_first + worker->run.length <= shorter.source_next);
    offset_map_done(&map);
    worker_free(worker);
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */
static bool not_here(void *arg, const char *topic)
{
    (void)arg;
    return strcmp(topic, TOPIC) != 0;
}
static bool any_topic(void *arg, const char *topic)
{
    (void)arg;
    (void)topic;
    return true;
}

static struct {
    json_t *rows;
    int listed_count;
    int answers_count;
    int gone_count;
} forgot;

static void take_rows(void *arg, json_t *take)
{
    (void)arg;
    json_decref(forgot.rows);
    forgot.rows = take;
    forgot.listed_count++;
}
static void take_gone(void *arg, bool gone)
{
    (void)arg;
    forgot.answers_count++;
    forgot.gone_count += gone ? 1 : 0;
}

static void without_redis_nothing_is_listed_and_nothing_goes(struct worker *worker)
{
    forgot.listed_count = forgot.answers_count = 0;
    offset_forget_list(worker->store, any_topic, take_rows, NULL);
    offset_forget(worker->store, FIELD, "v1", take_gone, NULL);
    assert_int_equal(forgot.listed_count + forgot.answers_count, 2);
    assert_null(forgot.rows);
    assert_int_equal(forgot.gone_count, 0);
}

static void a_site_without_redis(void **state)
{
    (void)state;
    make_truth(90, 3000, 2);
    struct worker *worker = calloc(1, sizeof(*worker));
    worker->loop = loop_new(clock_system());
    struct setting setting = {.map_memory = 16 << 10};
    open_store(worker, &setting);
    offset_store_redis_changed(worker->store, REDIS_AWAY, NULL);
    assert_int_equal(load(worker), LOADED_AWAY);
    struct checkpoint at = position(10);
    assert_false(find_floor(worker, &at, 5));
    cut(worker, &at);
    assert_false(worker->ok);
    without_redis_nothing_is_listed_and_nothing_goes(worker);
    begin_at_first(worker);
    ack_to(worker, 3000);
    turn_for(worker->loop, 30);
    assert_false(flush(worker));
    assert_false(offset_track_stored(worker->track, &at));
    assert_false(offset_store_ready(worker->store));
    offset_store_event(worker->store, "x", TOPIC, PARTITION, "{}");
    offset_track_free(worker->track);
    track_new(worker, NULL, NULL, 3000);
    offset_store_free(worker->store);
    loop_free(worker->loop);
    free(worker);
}

static void nothing_is_left_when_it_is_freed_in_flight(void **state)
{
    (void)state;
    struct setting setting = {0};
    make_truth(91, 3000, 2);
    for (int i = 0; i < 8; i++) {
        DO("FLUSHALL");
        struct worker *worker = worker_new(&setting, true);
        begin_at_first(worker);
        ack_to(worker, 300);
        assert_true(flush(worker));
        proxy_hold(&worker->proxy, true);
        ack_to(worker, 1000);
        turn_for(worker->loop, 20); /* an advance is under way */
        struct checkpoint at = position(200);
        if (i % 2 == 1) {
            offset_track_free(worker->track);
        }
        if (i & 2) {
            offset_store_load(worker->store, TOPIC, PARTITION, loaded, worker);
            offset_store_cut(worker->store, TOPIC, PARTITION, &at, "x", done, worker);
            offset_store_floor_target(worker->store, TOPIC, PARTITION, &at, 5, floor_found, worker);
            offset_store_event(worker->store, "x", TOPIC, PARTITION, "{}");
        }
        if (i & 4) {
            offset_store_flush(worker->store, 10000, flushed, worker);
        }
        worker_free(worker);
    }
}

/* The door takes so many calls: what fails at once is made again later. It is not Redis that refuses it. */
static void calls_that_fail_at_once_are_made_again(void **state)
{
    (void)state;
    struct setting setting = {.timeout_ms = 10000}; /* so many calls may take a while */
    make_truth(92, 500, 3);
    struct worker *worker = worker_new(&setting, true);
    begin_at_first(worker);
    ack_to(worker, 100);
    assert_true(flush(worker));
    for (int i = 0; i < REDIS_PENDING_MAX + 10; i++) {
        offset_store_event(worker->store, "x", TOPIC, PARTITION, "{}");
    }
    offset_store_redis_changed(worker->store, REDIS_READY, NULL); /* whose it is, is asked anew */
    assert_true(offset_store_ready(worker->store));
    assert_int_equal(worker->away_count, 0);
    ack_to(worker, 300);
    offset_store_flush(worker->store, 10000, flushed, worker);
    offset_track_free(worker->track); /* at that moment */
    UNTIL(worker, worker->flushes_count == 2);
    assert_true(worker->flushed_all);
    go_on(worker, 300);
    ack_to(worker, 500);
    assert_true(flush(worker));
    assert_int_equal(check(500), 0);
    worker_free(worker);
}

static void a_flush_ends_in_time(void **state)
{
    (void)state;
    struct setting setting = {0};
    make_truth(93, 300, 3);
    struct worker *worker = worker_new(&setting, true);
    assert_true(flush(worker)); /* nothing to store */
    begin_at_first(worker);
    ack_to(worker, 300);
    turn_for(worker->loop, 20);
    proxy_hold(&worker->proxy, true);
    struct checkpoint after = position(300);
    after.source_next++;
    offset_track_ack(worker->track, (struct offset_run){0}, &after);
    offset_store_flush(worker->store, 100, flushed, worker);
    int64_t begin_ms = loop_now_ms(worker->loop);
    UNTIL(worker, worker->flushes_count == 2);
    assert_false(worker->flushed_all);
    assert_in_range(loop_now_ms(worker->loop) - begin_ms, 90, 350);
    worker_free(worker);
}

static void events_are_kept(void **state)
{
    (void)state;
    struct worker *worker = worker_new(NULL, true);
    offset_store_event(worker->store, "source.truncated", TOPIC, PARTITION, "{\"a\": 1}");
    UNTIL(worker, number(SAY("XLEN", "p:{orders}:events")) == 1);
    redisReply *reply = SAY("XRANGE", "p:{orders}:events", "-", "+");
    const redisReply *fields = reply->element[0]->element[1];
    assert_int_equal(fields->elements, 10);
    assert_string_equal(fields->element[1]->str, "source.truncated");
    assert_string_equal(fields->element[7]->str, "{\"a\": 1}");
    freeReplyObject(reply);
    worker_free(worker);
}

/* What `ferry status` adds up. */
static long long repeated_sum(char out_first[40])
{
    long long sum = 0;
    redisReply *all = SAY("HGETALL", BASE ":repeated");
    snprintf(out_first, 40, "%s", "9");
    for (size_t i = 0; i < all->elements; i += 2) {
        long long records;
        char when[40];
        assert_int_equal(sscanf(all->element[i + 1]->str,
                                "{\"records\": %lld, \"time\": \"%39[^\"]\"}", &records, when),
                         2);
        sum += records;
        if (strcmp(when, out_first) < 0) {
            snprintf(out_first, 40, "%s", when);
        }
    }
    freeReplyObject(all);
    return sum;
}

static void repeats_are_counted_in_a_hash_that_does_not_grow(void **state)
{
    (void)state;
    enum { PLACES = 2600 };
    char first[40];
    struct worker *worker = worker_new(NULL, true);
    DO("HSET", BASE ":repeated", "t:0:7",
       "{\"records\": 4000000000, \"time\": \"2025-01-02T03:04:05.678Z\"}");
    DO("HSET", BASE ":repeated", "what", "somebody else's");
    for (int i = 0; i < PLACES; i++) {
        offset_store_repeated(worker->store, TOPIC, PARTITION, i, 2);
        offset_store_repeated(worker->store, TOPIC, PARTITION, i,
                              3); /* found again, with one more */
        if (i % 100 == 99) {
            char field[40];
            snprintf(field, sizeof(field), FIELD ":%d", i);
            UNTIL(worker, number(SAY("HEXISTS", BASE ":repeated", field)) == 1);
        }
    }
    assert_in_range(number(SAY("HLEN", BASE ":repeated")), 500, 1000);
    DO("HDEL", BASE ":repeated", "what");
    assert_int_equal(repeated_sum(first), 4000000000 + 3 * PLACES);
    assert_string_equal(first, "2025-01-02T03:04:05.678Z");
    worker_free(worker);
}

static long long keys_count(void)
{
    redisReply *keys = SAY("KEYS", BASE ":*");
    long long count = (long long)keys->elements;
    freeReplyObject(keys);
    return count;
}

/* A partition that neither side has: nothing of it stays, whatever its generations; its neighbours have theirs. */
static void what_neither_side_has_is_forgotten_whole(void **state)
{
    (void)state;
    char other[CHECKPOINT_TEXT_BYTES];
    memset(&forgot, 0, sizeof(forgot));
    make_truth(95, 300, 3);
    struct worker *worker = worker_new(NULL, true);
    begin_at_first(worker);
    ack_to(worker, 100);
    assert_true(flush(worker));
    struct checkpoint old = position(100);
    generation = 2; /* a second map beside it */
    struct checkpoint begin = old;
    begin.generation = 2;
    begin.sequence_next = begin.source_next;
    begin.leader_epoch = -1;
    offset_track_free(worker->track);
    worker->track =
        offset_track_new(worker->store, TOPIC, PARTITION, &old, &begin, &begin, NULL, 0, worker);
    ack_to(worker, 300);
    assert_true(flush(worker));
    DO("SADD", BASE ":unmapped:" FIELD, "x");
    struct checkpoint at = position(10);
    DO("HSET", BASE ":checkpoints", "other:3", checkpoint_text(&at, other));
    DO("HSET", BASE ":checkpoints", "garbage", "x");
    DO("HSET", BASE ":checkpoints", "worse:1", "x");
    DO("SET", BASE ":map:other:3:x", "theirs");
    offset_forget_list(worker->store, not_here, take_rows, NULL);
    UNTIL(worker, forgot.listed_count == 1);
    assert_int_equal(json_object_size(forgot.rows), 2); /* other, worse */
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(forgot.rows, "other"), "other:3")),
        other);
    offset_forget_list(worker->store, any_topic, take_rows, NULL);
    UNTIL(worker, forgot.listed_count == 2);
    const char *text =
        json_string_value(json_object_get(json_object_get(forgot.rows, TOPIC), FIELD));
    long long before = keys_count();
    offset_forget(worker->store, FIELD, other, take_gone, NULL); /* not what stands there */
    offset_forget(worker->store, "worse:1", "x", take_gone, NULL);
    offset_forget(worker->store, "garbage", "x", take_gone, NULL);
    UNTIL(worker, forgot.answers_count == 3);
    assert_int_equal(forgot.gone_count, 0);
    assert_int_equal(keys_count(), before);
    offset_forget(worker->store, FIELD, text, take_gone, NULL);
    UNTIL(worker, forgot.answers_count == 4);
    assert_int_equal(forgot.gone_count, 1);
    assert_int_equal(number(SAY("HEXISTS", BASE ":checkpoints", FIELD)), 0);
    assert_int_equal(keys_count(), before - 4); /* two maps, incarnations, unmapped */
    assert_int_equal(number(SAY("EXISTS", BASE ":map:other:3:x")), 1);
    assert_int_equal(number(SAY("HLEN", BASE ":checkpoints")), 3);
    worker_free(worker);
    json_decref(forgot.rows);
    memset(&forgot, 0, sizeof(forgot));
}

static bool count_places(void *arg, const char *topic, int32_t partition,
                         const struct checkpoint *checkpoint)
{
    int *count = arg;
    assert_string_equal(topic, "a:b");
    assert_int_equal(partition, 7);
    assert_int_equal(checkpoint->sequence_next, 10);
    (*count)++;
    return true;
}

static void all_checkpoints_are_listed(void **state)
{
    (void)state;
    char text[CHECKPOINT_TEXT_BYTES];
    struct err err = {0};
    int count = 0;
    make_truth(94, 10, 2);
    struct checkpoint at = position(10);
    struct offset_view *view = view_new();
    assert_true(offset_view_each_checkpoint(view, count_places, &count, &err));
    DO("HSET", BASE ":checkpoints", "a:b:7", checkpoint_text(&at, text));
    assert_true(offset_view_each_checkpoint(view, count_places, &count, &err));
    assert_int_equal(count, 1);
    DO("DEL", BASE ":checkpoints");
    DO("HSET", BASE ":checkpoints", "x:07", text);
    assert_false(offset_view_each_checkpoint(view, count_places, &count, &err));
    assert_non_null(strstr(err.what, "field 'x:07'"));
    offset_view_free(view);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup(test, test_setup)
    const struct CMUnitTest tests[] = {
        T(what_was_acknowledged_is_what_is_translated),
        T(past_the_end_is_ahead_and_nothing_is_no_checkpoint),
        T(a_dense_stretch_is_one_entry),
        T(a_raised_generation_goes_on_beside_the_old),
        T(away_at_the_start),
        T(away_and_empty_in_the_middle),
        T(slow_in_the_middle),
        T(flushed_in_the_middle),
        T(flushed_beyond_what_is_kept),
        T(beyond_the_memory_is_unmapped),
        T(what_is_pending_outlives_a_resume),
        T(an_older_copy_is_brought_up),
        T(parts_of_an_older_copy_are_never_believed),
        T(deleted_entries_are_written_again),
        T(what_was_deleted_is_unmapped_until_then),
        T(a_lost_answer_doubles_and_loses_nothing),
        T(an_advance_that_arrives_late_changes_nothing),
        T(the_one_behind_is_told),
        T(the_one_that_is_as_far_goes_on),
        T(a_lower_generation_is_told),
        T(a_checkpoint_that_is_none_is_named),
        T(keys_of_another_type_are_refused),
        T(garbage_in_the_index_is_refused),
        T(a_redis_that_evicts_is_refused_by_name),
        T(a_redis_that_takes_no_writes_is_not_ready),
        T(another_installation_is_refused_by_name),
        T(a_cut_is_the_shorter_truth),
        T(a_cut_to_the_beginning),
        T(a_cut_never_moves_forward),
        T(a_cut_clips_what_is_unmapped),
        T(what_was_rebuilt_is_the_truth),
        T(two_that_rebuild_are_one),
        T(a_cut_and_a_flush_take_what_was_rebuilt),
        T(garbage_among_the_pieces_is_refused),
        T(a_cut_that_contradicts_begins_anew),
        T(the_floor_is_the_truths),
        T(a_site_without_redis),
        T(nothing_is_left_when_it_is_freed_in_flight),
        T(calls_that_fail_at_once_are_made_again),
        T(a_flush_ends_in_time),
        T(events_are_kept),
        T(repeats_are_counted_in_a_hash_that_does_not_grow),
        T(what_neither_side_has_is_forgotten_whole),
        T(all_checkpoints_are_listed),
    };
    signal(SIGPIPE, SIG_IGN); /* as our programs do */
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
