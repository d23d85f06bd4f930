/* kafka/membership on a loop. usage: membership_driver BOOTSTRAP GROUP INSTANCE [TOPIC...]
 *
 * in:  subscribe TOPIC.. | commit TOPIC PARTITION OFFSET METADATA | commit_many TOPIC COUNT METADATA |
 *      committed TOPIC COUNT | revoked_done | hold (revocations wait for revoked_done) | generation | leave | pings | quit
 * out: assigned, revoked, trouble, commit, committed, generation, left; turns of the loop that took long as "slow"
 */
#include "base/buf.h"
#include "kafka/cluster.h"
#include "kafka/membership.h"
#include "tests/integration/drivers/driver.h"

static struct loop *loop;
static struct membership *member;
static struct cluster *cluster;
static struct buf_pool *pool;
static const struct config_client *client;
static bool hold;
static struct loop_timer *beat;
static int64_t beat_ms;
static int64_t slowest_ms;

static int64_t now_ms(void)
{
    return loop_now_ms(loop);
}

static void say_parts(const char *event, const struct membership_partition *parts, size_t count,
                      const char *more)
{
    printf("%s ms=%lld generation=%d count=%zu%s parts=", event, (long long)now_ms(),
           membership_generation(member), count, more);
    for (size_t i = 0; i < count; i++) {
        printf("%s%s:%d", i ? "," : "", parts[i].topic, parts[i].partition);
    }
    say("%s", "");
}

static void assigned(void *arg, const struct membership_partition *parts, size_t count)
{
    (void)arg;
    say_parts("assigned", parts, count, "");
}

static void revoked(void *arg, const struct membership_partition *parts, size_t count, bool lost)
{
    (void)arg;
    say_parts("revoked", parts, count, lost ? " lost=yes" : " lost=no");
    if (!hold) {
        membership_revoked_done(member);
    }
}

static void trouble(void *arg, const struct err *why)
{
    (void)arg;
    say_err("trouble", why);
}

static void committed(void *arg, const struct membership_commit *commits, size_t count,
                      int64_t sent_ms, const struct err *err)
{
    size_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        bad += commits[i].error != 0;
    }
    free(arg);
    say("commit count=%zu bad=%zu error=%d took_ms=%lld why=%s", count, bad, commits[0].error,
        (long long)(now_ms() - sent_ms), err ? err->what : "");
}

static void found(void *arg, const struct membership_commit *commits, size_t count,
                  const struct err *err)
{
    free(arg);
    printf("committed count=%zu error=%d why=%s found=", count, commits[0].error,
           err ? err->what : "-");
    for (size_t i = 0; i < count; i++) {
        printf("%s%lld/%s", i ? "," : "", (long long)commits[i].offset,
               commits[i].metadata ? commits[i].metadata : "-");
    }
    say("%s", "");
}

static void left(void *arg, const struct err *err)
{
    (void)arg;
    say("left why=%s", err ? err->what : "-");
}

static struct membership_commit *many(const char *topic, int count, char **out_topic)
{
    struct membership_commit *commits = calloc((size_t)count, sizeof(*commits));
    *out_topic = strdup(topic);
    for (int i = 0; i < count; i++) {
        commits[i].topic = *out_topic;
        commits[i].partition = i;
    }
    return commits;
}

/* Ours, on the loop: who coordinates the group is asked through it. */
static struct cluster *target(void)
{
    struct cluster_options options = {.name = "target",
                                      .client = client,
                                      .refresh_ms = 2000,
                                      .tcp_user_timeout_ms = 3000,
                                      .max_answer_bytes = 8 << 20};
    if (!cluster) {
        options.pool = pool = buf_pool_new(1 << 20);
        cluster = cluster_new(loop, &options);
    }
    return cluster;
}

static void command(int count, char **words)
{
    struct err err;
    char *topic = NULL;
    if (strcmp(words[0], "subscribe") == 0) {
        if (!membership_subscribe(member, (const char *const *)words + 1, (size_t)count - 1,
                                  &err)) {
            say_err("subscribe", &err);
        }
    } else if (strcmp(words[0], "commit") == 0 && count >= 5) {
        struct membership_commit *commits = many(words[1], 1, &topic);
        commits[0].partition = atoi(words[2]);
        commits[0].offset = atoll(words[3]);
        commits[0].metadata = words[4];
        membership_commit(member, commits, 1, committed, topic);
    } else if (strcmp(words[0], "commit_many") == 0 && count >= 4) {
        struct membership_commit *commits = many(words[1], atoi(words[2]), &topic);
        for (int i = 0; i < atoi(words[2]); i++) {
            commits[i].offset = 1000 + i;
            commits[i].metadata = words[3];
        }
        membership_commit(member, commits, (size_t)atoi(words[2]), committed, topic);
    } else if (strcmp(words[0], "committed") == 0 && count >= 3) {
        struct membership_commit *wants = many(words[1], atoi(words[2]), &topic);
        membership_committed(member, target(), wants, (size_t)atoi(words[2]), found, topic);
    } else if (strcmp(words[0], "revoked_done") == 0) {
        membership_revoked_done(member);
    } else if (strcmp(words[0], "hold") == 0) {
        hold = true;
        say("holding");
    } else if (strcmp(words[0], "generation") == 0) {
        say("generation value=%d slowest_turn_ms=%lld", membership_generation(member),
            (long long)slowest_ms);
    } else if (strcmp(words[0], "leave") == 0) {
        membership_leave(member, target(), 2000, left, NULL);
    } else {
        loop_stop(loop);
    }
}

/* A turn that took long shows as a beat that came late. */
static void beaten(void *arg)
{
    int64_t late_ms = now_ms() - beat_ms - 10;
    (void)arg;
    slowest_ms = beat_ms > 0 && late_ms > slowest_ms ? late_ms : slowest_ms;
    beat_ms = now_ms();
    loop_timer_set(beat, 10);
}

int main(int argc, char **argv)
{
    static struct driver_input input = {.command = command};
    struct err err;
    loop = loop_new(clock_system());
    client = driver_client(argv[1]);
    const char *session = getenv("DRIVER_SESSION_MS");
    const char *poll = getenv("DRIVER_MAX_POLL_MS");
    const struct membership_options options = {.group = argv[2],
                                               .instance_id = argv[3],
                                               .session_timeout_ms =
                                                   session ? atoi(session) : 10000,
                                               .heartbeat_ms = 500,
                                               .metadata_refresh_ms = 2000,
                                               .max_poll_interval_ms = poll ? atoi(poll) : 30000};
    const struct membership_callbacks callbacks = {assigned, revoked, trouble, NULL};
    member = membership_new(loop, client, &options, &callbacks, &err);
    if (!member) {
        say_err("failed", &err);
        return 1;
    }
    say("ready ms=%lld", (long long)now_ms());
    if (argc > 4) {
        if (!membership_subscribe(member, (const char *const *)argv + 4, (size_t)argc - 4, &err)) {
            say_err("subscribe", &err);
        }
    }
    input.watch = loop_fd_new(loop, 0, LOOP_READ, driver_read, &input);
    beat = loop_timer_new(loop, beaten, NULL);
    loop_timer_set(beat, 10);
    loop_run(loop);
    int64_t began_ms = now_ms();
    membership_free(member);
    say("freed ms=%lld", (long long)(now_ms() - began_ms));
    cluster_free(cluster);
    if (pool) {
        buf_pool_free(pool);
    }
    loop_fd_free(input.watch);
    loop_timer_free(beat);
    loop_free(loop);
    return 0;
}
