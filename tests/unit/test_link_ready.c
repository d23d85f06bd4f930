/* mirror/link_ready: behind which workers a rollout may go on, and what the others are told to wait for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mirror/link_inside.h"

/* ---- doors ---- */

struct cluster {
    bool reachable;
    const char *error;
};
struct redis {
    enum redis_state state;
    const char *error;
};
struct offset_store {
    bool ready;
};

static struct rig {
    struct link link;
    struct config_service service;
    struct config_site from;
    struct config_site to;
    struct cluster source;
    struct cluster target;
    struct redis redis;
    struct offset_store store;
    bool gates[LINK_GATES_COUNT];
    char why[LINK_READY_BYTES];
} *rig;

bool cluster_reachable(const struct cluster *cluster)
{
    return cluster->reachable;
}
const char *cluster_last_error(const struct cluster *cluster)
{
    return cluster->error;
}
enum redis_state redis_state(const struct redis *redis)
{
    return redis->state;
}
const char *redis_last_error(const struct redis *redis)
{
    return redis->error;
}
bool offset_store_ready(const struct offset_store *store)
{
    return store->ready;
}
bool link_gate_open(const struct link *link, enum link_gate gate)
{
    assert_ptr_equal(link, &rig->link);
    return rig->gates[gate];
}

/* ---- a link that mirrors three partitions, both sites and Redis there ---- */

static int mirroring(void **state)
{
    static struct rig one;
    (void)state;
    static char service[] = "orders";
    static char from[] = "hangzhou";
    static char to[] = "shanghai";
    static int engine; /* nothing is asked of it */
    one = (struct rig){
        .source = {.reachable = true, .error = ""},
        .target = {.reachable = true, .error = ""},
        .redis = {.state = REDIS_READY, .error = ""},
        .store = {.ready = true}
    };
    rig = &one;
    rig->service.name = service;
    rig->from.name = from;
    rig->to.name = to;
    for (int gate = 0; gate < LINK_GATES_COUNT; gate++) {
        rig->gates[gate] = true;
    }
    struct link *link = &rig->link;
    link->service = &rig->service;
    link->from = &rig->from;
    link->to = &rig->to;
    link->source = &rig->source;
    link->target = &rig->target;
    link->redis = &rig->redis;
    link->store = &rig->store;
    link->engine = (struct engine *)(void *)&engine;
    link->state = LINK_RUNNING;
    link->control_read_ms = 1;
    link->role_epoch = 1;
    link->role_ours = true;
    link->source_is_primary = true;
    link->streams_match = true;
    link->streams_hash = 7;
    link->streams_seen.streams_epoch = 1;
    link->streams_seen.streams_hash = 7;
    link->parts_count = 3;
    return 0;
}

static void failed_over(void)
{
    rig->link.state = LINK_NO_ROLE;
    rig->link.role_ours = false;
    rig->link.role_epoch = 2;
    rig->link.source_is_primary = false;
    rig->link.target_is_primary = true;
    rig->link.parts_count = 0;
    rig->gates[GATE_ROLE] = rig->gates[GATE_DEADLINE] = false;
    rig->source = (struct cluster){.reachable = false, .error = "connection refused"};
}

static void is(bool ready, const char *why)
{
    bool found = link_ready(&rig->link, rig->why);
    assert_string_equal(rig->why, why);
    assert_int_equal(found, ready);
}

/* ---- it mirrors ---- */

static void a_member_with_all_it_needs(void **state)
{
    (void)state;
    is(true, "mirrors 3 partitions");
    rig->link.parts_count = 0; /* more workers than partitions */
    rig->gates[GATE_DEADLINE] = false;
    is(true, "mirrors 0 partitions");
    rig->link.redis = NULL; /* a site without Redis */
    is(true, "mirrors 0 partitions");
}

static void what_it_needs_is_away(void **state)
{
    (void)state;
    rig->source = (struct cluster){.reachable = false, .error = "a:9092: connection refused"};
    is(false, "hangzhou: a:9092: connection refused");
    rig->source.error = "";
    is(false, "hangzhou: no answer yet");
    rig->source.reachable = true;
    rig->target = (struct cluster){.reachable = false, .error = "b:9092: no\nanswer"};
    is(false, "shanghai: b:9092: no?answer");
    rig->target.reachable = true;
    rig->gates[GATE_DEADLINE] = false;
    is(false, "ferry's group takes no commits of this worker: nothing is sent");
    snprintf(rig->link.group_denied, LINK_DENIED_BYTES, "lacks Read on its group");
    is(false, "lacks Read on its group");
}

static void it_is_no_member_yet(void **state)
{
    (void)state;
    rig->link.state = LINK_JOINING;
    is(false, "joining: no member of ferry's group yet");
    rig->link.state = LINK_RUNNING;
    rig->link.streams_match = false;
    rig->link.streams_seen.streams_epoch = 0;
    is(false, "no keeper has said yet what is mirrored");
    rig->link.state = LINK_DRAINING;
    is(false, "stopping");
    rig->link.state = LINK_RUNNING;
    rig->link.stopping = true;
    is(false, "stopping");
}

static void redis_is_away_or_of_no_use(void **state)
{
    (void)state;
    rig->redis = (struct redis){.state = REDIS_AWAY, .error = "connection refused"};
    is(false, "the Redis of shanghai: connection refused");
    rig->redis.error = "";
    is(false, "the Redis of shanghai: no connection yet");
    rig->redis.state = REDIS_READY;
    err_set(&rig->link.map_err, ERR_REFUSED, "evicts keys");
    is(false, "the Redis of shanghai: evicts keys");
    err_clear(&rig->link.map_err);
    rig->store.ready = false;
    is(false, "the Redis of shanghai was not looked through yet");
}

/* The newest waits for a keeper that has it: the rollout has to come to that one. */
static void an_older_file_is_not_ready_and_the_newest_is(void **state)
{
    (void)state;
    rig->link.streams_match = false;
    rig->link.streams_hash = 8;
    is(true, "stands by: its newer configuration waits for a keeper that has it");
    rig->link.streams_seen.streams_previous_count = 1;
    rig->link.streams_seen.streams_previous[0] = 8;
    is(false, "this worker's configuration is not the newest: it writes nothing");
    failed_over();
    is(false, "this worker's configuration is not the newest: it writes nothing");
}

/* ---- it stands by ---- */

static void behind_a_failover(void **state)
{
    (void)state;
    failed_over();
    is(true, "stands by: shanghai is primary by role epoch 2");
    rig->link.target_is_primary = false; /* the other one of two secondaries */
    is(true, "stands by: another site is primary by role epoch 2");
    rig->link.store = NULL; /* a worker that was started since: the source never answered */
    is(true, "stands by: another site is primary by role epoch 2");
}

static void behind_a_failover_what_it_needs_is_away(void **state)
{
    (void)state;
    failed_over();
    rig->redis = (struct redis){.state = REDIS_AWAY, .error = "connection refused"};
    is(false, "the Redis of shanghai: connection refused");
    rig->gates[GATE_CONTROL] = false;
    is(false, "the control topic on shanghai is not read any more");
    rig->target = (struct cluster){.reachable = false, .error = "b:9092: connection refused"};
    is(false, "the control topic on shanghai is not read any more: b:9092: connection refused");
    snprintf(rig->link.control_denied, LINK_DENIED_BYTES, "User:mirror lacks Read");
    rig->link.control_read_ms = 0;
    is(false, "the control topic on shanghai was not read yet: User:mirror lacks Read");
}

static void by_order(void **state)
{
    (void)state;
    rig->link.paused = true;
    rig->source.reachable = false;
    is(true, "stands by: paused by an order: ferry resume orders");
    rig->link.role_ours = false;
    rig->link.state = LINK_RETREATING;
    memcpy(rig->link.fence, "op1", sizeof("op1"));
    is(true, "stands by: fenced by operation op1");
    rig->link.fence[0] = '\0';
    is(true, "stands by: fenced by operation that was taken back");
}

static void before_enable(void **state)
{
    (void)state;
    rig->link.state = LINK_NO_ROLE;
    rig->link.role_ours = rig->link.source_is_primary = false;
    rig->link.role_epoch = 0;
    is(true, "stands by: no role yet: ferry enable orders");
}

static void nobody_chose_the_path_or_it_cannot_be_taken(void **state)
{
    (void)state;
    rig->link.state = LINK_NO_ROLE;
    rig->link.role_ours = false;
    rig->link.engine = NULL;
    rig->link.path_unchosen = true;
    snprintf(rig->link.why, sizeof(rig->link.why), "path auto: nobody has chosen yet");
    is(true, "path auto: nobody has chosen yet");
    rig->link.path_unchosen = false;
    snprintf(rig->link.why, sizeof(rig->link.why), "path records: no such mechanism");
    is(false, "path records: no such mechanism");
}

static void a_control_topic_that_cannot_be_believed(void **state)
{
    (void)state;
    failed_over();
    rig->link.distrusted = true;
    snprintf(rig->link.why, sizeof(rig->link.why), "the control topic was created again");
    is(false, "the control topic was created again");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_member_with_all_it_needs, mirroring),
        cmocka_unit_test_setup(what_it_needs_is_away, mirroring),
        cmocka_unit_test_setup(it_is_no_member_yet, mirroring),
        cmocka_unit_test_setup(redis_is_away_or_of_no_use, mirroring),
        cmocka_unit_test_setup(an_older_file_is_not_ready_and_the_newest_is, mirroring),
        cmocka_unit_test_setup(behind_a_failover, mirroring),
        cmocka_unit_test_setup(behind_a_failover_what_it_needs_is_away, mirroring),
        cmocka_unit_test_setup(by_order, mirroring),
        cmocka_unit_test_setup(before_enable, mirroring),
        cmocka_unit_test_setup(nobody_chose_the_path_or_it_cannot_be_taken, mirroring),
        cmocka_unit_test_setup(a_control_topic_that_cannot_be_believed, mirroring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
