/* What follows from facts about a target: each refusal by name, and unknown where nobody said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failover/preflight_inside.h"

#define NOW_MS INT64_C(1764039607000)
#define GIB    ((int64_t)1 << 30)

/* --- a target at which all is well -------------------------------------------------------------------------------- */

struct world {
    struct config_site from;
    struct config_site to;
    struct config_cname cname;
    struct config_service service;
    struct config_pattern everything;
    struct preflight_part parts[2];
    struct preflight_topic topic;
    struct preflight_broker broker;
    struct preflight_dir dir;
    struct preflight_cluster target;
    struct preflight_cluster source;
    struct preflight_topic source_topic;
    struct preflight_least least;
    struct preflight_settings settings;
    struct preflight_expected expected;
    struct preflight_control control;
    struct preflight_redis redis;
    struct preflight_permissions permissions;
    struct preflight_shown shown;
    struct preflight_certificates certificate;
    struct preflight_certificates *certificates[1];
    struct preflight_record record;
    struct preflight_record *records[1];
    struct preflight_servers servers;
    struct preflight_servers *all_servers[1];
    struct config_redis memory;
    struct config config;
    struct preflight preflight;
    struct preflight_list list;
};

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->config.limits =
        (struct config_limits){.session_timeout_ms = 10000, .tcp_user_timeout_ms = 3000};
    w->memory = (struct config_redis){.url = "redis://127.0.0.1:1/0"};
    w->from = (struct config_site){.name = "a", .region = "one"};
    w->to = (struct config_site){.name = "b", .region = "two", .redis = &w->memory};
    w->cname = (struct config_cname){.record = "kafka.dr.test", .ttl_s = 30};
    w->everything = (struct config_pattern){.kind = PATTERN_GLOB, .text = "*"};
    w->service = (struct config_service){
        .name = "orders", .home = "a", .rto_s = 60, .cnames = &w->cname, .cnames_count = 1};
    w->service.topics = (struct config_patterns){.include = &w->everything, .include_count = 1};
    w->service.groups = w->service.topics;
    for (int32_t i = 0; i < 2; i++) {
        w->parts[i] = (struct preflight_part){.index = i, .leader = 1, .replicas = 3, .in_sync = 3};
    }
    w->topic = (struct preflight_topic){.name = "t", .parts = w->parts, .parts_count = 2};
    w->broker = (struct preflight_broker){
        .id = 1, .host = "b1", .port = 9092, .looked = true, .resolves = true};
    w->dir = (struct preflight_dir){
        .broker = 1, .path = "/data", .total_bytes = 100 * GIB, .usable_bytes = 60 * GIB};
    w->target = (struct preflight_cluster){.known = true,
                                           .id = "B",
                                           .brokers = &w->broker,
                                           .brokers_count = 1,
                                           .replicas_count = 6,
                                           .topics = &w->topic,
                                           .topics_count = 1,
                                           .dirs = &w->dir,
                                           .dirs_count = 1};
    w->source_topic = w->topic;
    w->source = (struct preflight_cluster){.known = true,
                                           .id = "A",
                                           .brokers = &w->broker,
                                           .brokers_count = 1,
                                           .topics = &w->source_topic,
                                           .topics_count = 1};
    w->least = (struct preflight_least){.topic = "t", .least = 2};
    w->settings = (struct preflight_settings){.list = &w->least, .count = 1};
    w->expected = (struct preflight_expected){.topic = "t", .partitions = 2};
    w->control = (struct preflight_control){
        .known = true, .role_epoch = 1, .primary = "a", .topics = &w->expected, .topics_count = 1};
    w->redis = (struct preflight_redis){.policy = "noeviction", .clock_known = true};
    w->shown = (struct preflight_shown){
        .answered = true, .fits = true, .ends_ms = NOW_MS + INT64_C(90) * 86400 * 1000};
    w->certificate = (struct preflight_certificates){.server = "b1:9092", .records = &w->shown};
    w->certificates[0] = &w->certificate;
    w->record =
        (struct preflight_record){.recorded = true, .to = "kafka-b.dr.test", .checked = true};
    w->record.check.set =
        (struct dns_set){.kind = DNS_CNAME, .value = "kafka-a.dr.test", .ttl_s = 30};
    w->records[0] = &w->record;
    w->servers.views.count = 2;
    snprintf(w->servers.views.list[0].server, 80, "192.0.2.53");
    snprintf(w->servers.views.list[1].server, 80, "198.51.100.53:5353");
    w->all_servers[0] = &w->servers;
    w->preflight = (struct preflight){
        .in = {.config = &w->config,
               .service = &w->service,
               .from = &w->from,
               .to = &w->to,
               .acting = true},
        .limit_ms = 2000,
        .now_ms = NOW_MS,
        .target = &w->target,
        .source = &w->source,
        .settings = &w->settings,
        .control = &w->control,
        .redis = &w->redis,
        .permissions = &w->permissions,
        .certificates = w->certificates,
        .certificates_count = 1,
        .records = w->records,
        .servers = w->all_servers
    };
    return w;
}

static void world_done(struct world *w)
{
    free(w->list.list);
    free(w);
}

/* The one finding of a check that is told anew. */
static const struct preflight_finding *only(struct world *w, preflight_tell_fn *tell)
{
    w->list.count = 0;
    tell(&w->preflight, &w->list);
    assert_int_equal(w->list.count, 1);
    return &w->list.list[0];
}

static bool says(const struct preflight_finding *finding, enum preflight_level level,
                 const char *words)
{
    bool ok = finding->level == level && strstr(finding->what, words) != NULL;
    if (!ok) {
        print_error("%s: %s\n", preflight_level_name(finding->level), finding->what);
    }
    return ok;
}

#define SAYS(w, tell, level, words) assert_true(says(only(w, tell), level, words))

/* --- names --------------------------------------------------------------------------------------------------------- */

static void checks_have_names_that_can_be_forced(void **state)
{
    static const char *const good[] = {"leaders", "certificate", "name-servers"};
    static const char *const fixed[] = {"target"};
    static const char *const wrong[] = {"leader"};
    enum preflight_check check;
    uint32_t forced = 0;
    struct err err;
    (void)state;
    for (int i = 0; i < PREFLIGHT_CHECKS_COUNT; i++) {
        assert_true(preflight_parse(preflight_name((enum preflight_check)i), &check));
        assert_int_equal(check, i);
        assert_true(strlen(preflight_about(check)) > 10);
    }
    assert_true(preflight_force(good, 3, &forced, &err));
    assert_int_equal(forced, 1u << PREFLIGHT_LEADERS | 1u << PREFLIGHT_CERTIFICATE |
                                 1u << PREFLIGHT_NAME_SERVERS);
    assert_false(preflight_force(fixed, 1, &forced, &err));
    assert_int_equal(err.kind, ERR_USAGE);
    assert_false(preflight_force(wrong, 1, &forced, &err));
    assert_non_null(strstr(err.what, "'leader'"));
}

static void names_that_do_not_fit_are_counted(void **state)
{
    struct preflight_names names = {.count = 0};
    (void)state;
    for (int i = 0; i < 500; i++) {
        preflight_name_add(&names, "topic-of-some-length-%03d", i);
    }
    const char *text = preflight_names_text(&names);
    assert_true(strlen(text) < sizeof(names.text));
    assert_non_null(strstr(text, "topic-of-some-length-000, topic-of-some-length-001"));
    char end[40];
    snprintf(end, sizeof(end), " and %zu more", names.count - names.shown);
    assert_string_equal(text + strlen(text) - strlen(end), end);
}

/* --- all is well, and nobody answers --------------------------------------------------------------------------------- */

static void all_is_well(void **state)
{
    static preflight_tell_fn *const tells[] = {
        preflight_tell_target,       preflight_tell_control,     preflight_tell_topics,
        preflight_tell_leaders,      preflight_tell_replicas,    preflight_tell_capacity,
        preflight_tell_groups,       preflight_tell_permissions, preflight_tell_certificates,
        preflight_tell_advertised,   preflight_tell_dns,         preflight_tell_ttl,
        preflight_tell_name_servers, preflight_tell_redis,       preflight_tell_clock,
        preflight_tell_place};
    struct world *w = world_new();
    (void)state;
    for (size_t i = 0; i < sizeof(tells) / sizeof(tells[0]); i++) {
        assert_true(says(only(w, tells[i]), PREFLIGHT_OK, ""));
    }
    world_done(w);
}

static void what_did_not_come_in_time_is_unknown(void **state)
{
    static preflight_tell_fn *const tells[] = {
        preflight_tell_control,     preflight_tell_topics,       preflight_tell_leaders,
        preflight_tell_replicas,    preflight_tell_capacity,     preflight_tell_groups,
        preflight_tell_permissions, preflight_tell_certificates, preflight_tell_advertised,
        preflight_tell_dns,         preflight_tell_ttl,          preflight_tell_name_servers,
        preflight_tell_redis,       preflight_tell_clock};
    struct world *w = world_new();
    (void)state;
    struct preflight *p = &w->preflight;
    p->target = p->source = NULL;
    p->settings = NULL;
    p->control = NULL;
    p->redis = NULL;
    p->permissions = NULL;
    w->certificates[0] = NULL;
    w->records[0] = NULL;
    w->all_servers[0] = NULL;
    for (size_t i = 0; i < sizeof(tells) / sizeof(tells[0]); i++) {
        assert_true(says(only(w, tells[i]), PREFLIGHT_UNKNOWN, ""));
    }
    SAYS(w, preflight_tell_target, PREFLIGHT_REFUSED, "b: no answer within 2000 ms");
    assert_true(w->list.list[0].unreachable);
    world_done(w);
}

/* --- the cluster ------------------------------------------------------------------------------------------------------ */

static void one_cluster_twice(void **state)
{
    struct world *w = world_new();
    (void)state;
    snprintf(w->source.id, sizeof(w->source.id), "B");
    SAYS(w, preflight_tell_target, PREFLIGHT_REFUSED, "sites a and b are one cluster");
    world_done(w);
}

static void a_switchover_needs_the_source(void **state)
{
    struct world *w = world_new();
    (void)state;
    w->preflight.in.planned = true;
    w->source.known = false;
    err_set(&w->source.err, ERR_RETRY, "a: no broker answers");
    preflight_tell_target(&w->preflight, &w->list);
    assert_int_equal(w->list.count, 2);
    assert_true(says(&w->list.list[1], PREFLIGHT_REFUSED, "no broker answers"));
    assert_non_null(strstr(w->list.list[1].hint, "ferry failover orders"));
    world_done(w);
}

static void topics_that_are_missing(void **state)
{
    struct world *w = world_new();
    (void)state;
    w->source_topic.parts_count = 3;
    SAYS(w, preflight_tell_topics, PREFLIGHT_REFUSED, "t (2 of 3)");
    w->source_topic.parts_count = 1;
    SAYS(w, preflight_tell_topics, PREFLIGHT_WARNING, "t (2, the source has 1)");
    w->target.topics_count = 0;
    SAYS(w, preflight_tell_topics, PREFLIGHT_REFUSED, "lacks 1 of 1 topics: t");
    w->preflight.source = NULL; /* dead: the keeper's list says what there should be */
    w->expected.partitions = 2;
    SAYS(w, preflight_tell_topics, PREFLIGHT_REFUSED, "lacks 1 of 1 topics: t");
    w->control.role_epoch = 0; /* never enabled: nobody has made it */
    SAYS(w, preflight_tell_topics, PREFLIGHT_WARNING, "lacks 1 of 1 topics");
    w->control.topics = NULL;
    w->control.topics_count = 0;
    SAYS(w, preflight_tell_topics, PREFLIGHT_UNKNOWN, "the source is not asked");
    world_done(w);
}

static void partitions_without_a_leader(void **state)
{
    struct world *w = world_new();
    (void)state;
    w->parts[1].leader = -1;
    SAYS(w, preflight_tell_leaders, PREFLIGHT_REFUSED, "1 of 2 partitions have no leader: t:1");
    world_done(w);
}

static void replicas_that_are_not_in_sync(void **state)
{
    struct world *w = world_new();
    (void)state;
    w->parts[0].in_sync = 2;
    SAYS(w, preflight_tell_replicas, PREFLIGHT_WARNING, "t:0 (2 of 3 in sync)");
    w->parts[0].in_sync = 1;
    SAYS(w, preflight_tell_replicas, PREFLIGHT_REFUSED, "t:0 (1 in sync, 2 needed)");
    w->parts[0].in_sync = 3;
    w->settings.count = 0;
    SAYS(w, preflight_tell_replicas, PREFLIGHT_UNKNOWN, "min.insync.replicas of 1 topics");
    err_set(&w->settings.err, ERR_REFUSED, "User:x lacks DescribeConfigs");
    SAYS(w, preflight_tell_replicas, PREFLIGHT_UNKNOWN, "lacks DescribeConfigs");
    world_done(w);
}

static void room_for_what_clients_write(void **state)
{
    struct world *w = world_new();
    (void)state;
    w->dir.usable_bytes = 9 * GIB;
    SAYS(w, preflight_tell_capacity, PREFLIGHT_WARNING, "less than 10 % free: broker 1: /data");
    w->dir.usable_bytes = GIB / 8;
    SAYS(w, preflight_tell_capacity, PREFLIGHT_REFUSED, "without room");
    w->dir.usable_bytes = w->dir.total_bytes = -1;
    SAYS(w, preflight_tell_capacity, PREFLIGHT_UNKNOWN, "do not say (Kafka before 3.3)");
    w->dir.error = 56;
    SAYS(w, preflight_tell_capacity, PREFLIGHT_WARNING, "offline: broker 1: /data");
    w->dir = (struct preflight_dir){.total_bytes = 100 * GIB, .usable_bytes = 60 * GIB};
    err_set(&w->target.dirs_err, ERR_REFUSED, "User:x lacks Describe on cluster");
    SAYS(w, preflight_tell_capacity, PREFLIGHT_UNKNOWN, "lacks Describe on cluster");
    world_done(w);
}

static void fewer_brokers_and_many_partitions(void **state)
{
    struct world *w = world_new();
    (void)state;
    w->source.brokers_count = 3;
    w->target.replicas_count = 4001;
    preflight_tell_capacity(&w->preflight, &w->list);
    assert_int_equal(w->list.count, 3);
    assert_true(says(&w->list.list[0], PREFLIGHT_WARNING, "4001 partitions a broker"));
    assert_true(says(&w->list.list[1], PREFLIGHT_WARNING, "b has 1 brokers, a has 3"));
    assert_true(says(&w->list.list[2], PREFLIGHT_OK, "60.0 of 100.0 GiB"));
    world_done(w);
}

/* While a worker joins, the leader of the workers' group is silent for longer than its session allows. */
static void more_partitions_than_the_session_bears(void **state)
{
    struct world *w = world_new();
    (void)state;
    w->source_topic.parts_count = 4000;
    SAYS(w, preflight_tell_capacity, PREFLIGHT_OK, "GiB free");
    w->source_topic.parts_count = 10000;
    w->list.count = 0;
    preflight_tell_capacity(&w->preflight, &w->list);
    assert_int_equal(w->list.count, 2);
    assert_true(says(&w->list.list[0], PREFLIGHT_WARNING, "10000 partitions in one service"));
    assert_true(says(&w->list.list[0], PREFLIGHT_WARNING, "about 13 s"));
    assert_non_null(strstr(w->list.list[0].hint, "\"session_timeout\": \"31s\""));
    w->config.limits.session_timeout_ms = 31000;
    SAYS(w, preflight_tell_capacity, PREFLIGHT_OK, "GiB free");
    w->source_topic.parts_count = 4000;
    w->topic.parts_count =
        7000; /* of topics that the source deleted, say: no part of a second too few */
    w->config.limits.session_timeout_ms = 17000;
    w->list.count = 0;
    preflight_tell_capacity(&w->preflight, &w->list);
    assert_true(says(&w->list.list[0], PREFLIGHT_WARNING, "7000 partitions in one service"));
    assert_non_null(strstr(w->list.list[0].hint, "\"session_timeout\": \"18s\""));
    w->source_topic.parts_count = 100000;
    w->list.count = 0;
    preflight_tell_capacity(&w->preflight, &w->list);
    assert_null(strstr(w->list.list[0].hint, "session_timeout"));
    assert_non_null(strstr(w->list.list[0].hint, "divide the service"));
    world_done(w);
}

static void names_without_an_address(void **state)
{
    struct world *w = world_new();
    (void)state;
    w->broker.resolves = false;
    w->broker.nowhere = true;
    SAYS(w, preflight_tell_advertised, PREFLIGHT_REFUSED, "without an address: b1 (broker 1)");
    w->broker.nowhere = false; /* the name servers do not answer: that says nothing of the name */
    snprintf(w->broker.why, sizeof(w->broker.why), "no answer from the name servers");
    SAYS(w, preflight_tell_advertised, PREFLIGHT_UNKNOWN, "no answer from the name servers");
    assert_true(w->list.list[0].unreachable);
    w->broker.looked = false;
    SAYS(w, preflight_tell_advertised, PREFLIGHT_UNKNOWN, "no answer in time");
    world_done(w);
}

static void groups_with_members(void **state)
{
    struct preflight_group groups[] = {
        {.name = "billing", .state = "Stable", .commits = 3, .concerns = true},
        {.name = "elsewhere", .state = "Stable", .commits = 3},
        {.name = "new", .state = "PreparingRebalance"},
        {.name = "silent", .state = "Stable"}
    };
    struct world *w = world_new();
    (void)state;
    w->target.groups = groups;
    w->target.groups_count = 4;
    SAYS(w, preflight_tell_groups, PREFLIGHT_WARNING,
         "3 groups have members at b: they stay where they are, nothing is committed for them: "
         "billing (Stable), new (PreparingRebalance), silent (Stable)");
    w->target.groups_count = 0;
    err_set(&w->target.dirs_err, ERR_REFUSED, "User:x lacks Describe on the cluster");
    SAYS(w, preflight_tell_groups, PREFLIGHT_UNKNOWN, "not shown to us: User:x lacks Describe");
    w->service.groups_commit = true; /* then there is an ACL for them, or its lack is told */
    SAYS(w, preflight_tell_groups, PREFLIGHT_OK, "no group of the service has members");
    err_set(&w->target.groups_err, ERR_RETRY, "broker 2: no connection");
    SAYS(w, preflight_tell_groups, PREFLIGHT_UNKNOWN, "broker 2: no connection");
    world_done(w);
}

/* --- state and rights -------------------------------------------------------------------------------------------------- */

static void the_role(void **state)
{
    struct world *w = world_new();
    (void)state;
    w->control.operation_open = true;
    SAYS(w, preflight_tell_control, PREFLIGHT_REFUSED, "an operation on orders is open");
    w->preflight.in.operation_id = "ours";
    SAYS(w, preflight_tell_control, PREFLIGHT_OK, "a is primary, role epoch 1");
    w->preflight.in.operation_id = NULL;
    w->control.operation_open = false;
    snprintf(w->control.primary, sizeof(w->control.primary), "b");
    SAYS(w, preflight_tell_control, PREFLIGHT_REFUSED, "b is primary already");
    w->control.role_epoch = 0;
    SAYS(w, preflight_tell_control, PREFLIGHT_REFUSED, "orders has no role");
    w->preflight.in.acting = false; /* `ferry check` comes before `ferry enable` */
    SAYS(w, preflight_tell_control, PREFLIGHT_WARNING, "orders has no role");
    w->control.known = false;
    err_set(&w->control.err, ERR_REFUSED, "User:x lacks Read on topic");
    SAYS(w, preflight_tell_control, PREFLIGHT_REFUSED, "lacks Read");
    err_set(&w->control.err, ERR_RETRY, "no answer");
    SAYS(w, preflight_tell_control, PREFLIGHT_UNKNOWN, "no answer");
    world_done(w);
}

static void rights_that_are_missing(void **state)
{
    struct world *w = world_new();
    (void)state;
    w->permissions.lacks_count = 1;
    snprintf(w->permissions.lacks[0], PREFLIGHT_TEXT_BYTES, "User:op lacks Alter on cluster");
    SAYS(w, preflight_tell_permissions, PREFLIGHT_REFUSED, "b: User:op lacks Alter on cluster");
    w->permissions.lacks_count = 0;
    err_set(&w->permissions.unknown, ERR_RETRY, "timed out");
    SAYS(w, preflight_tell_permissions, PREFLIGHT_UNKNOWN, "timed out");
    world_done(w);
}

static void sites_in_one_place(void **state)
{
    struct world *w = world_new();
    (void)state;
    w->to.region = "ONE";
    SAYS(w, preflight_tell_place, PREFLIGHT_WARNING, "both sites are in region one: they may");
    w->from.zone = w->to.zone = "z";
    SAYS(w, preflight_tell_place, PREFLIGHT_WARNING, "region one and zone z");
    w->to.region = NULL;
    SAYS(w, preflight_tell_place, PREFLIGHT_UNKNOWN, "b has no region");
    world_done(w);
}

static void redis_and_clocks(void **state)
{
    struct world *w = world_new();
    (void)state;
    snprintf(w->redis.policy, sizeof(w->redis.policy), "allkeys-lru");
    SAYS(w, preflight_tell_redis, PREFLIGHT_REFUSED, "Redis may evict keys (allkeys-lru)");
    snprintf(w->redis.policy, sizeof(w->redis.policy), "volatile-lru"); /* ours have no end */
    SAYS(w, preflight_tell_redis, PREFLIGHT_OK, "evicts nothing of ours");
    w->redis.policy[0] = '\0';
    SAYS(w, preflight_tell_redis, PREFLIGHT_UNKNOWN, "does not say whether it evicts");
    w->redis.apart_ms = -8000;
    SAYS(w, preflight_tell_clock, PREFLIGHT_WARNING, "-8 s apart");
    w->redis.clock_known = false;
    SAYS(w, preflight_tell_clock, PREFLIGHT_UNKNOWN, "did not tell its time");
    err_set(&w->redis.err, ERR_RETRY, "connection refused");
    SAYS(w, preflight_tell_redis, PREFLIGHT_UNKNOWN, "goes on without it");
    w->to.redis = NULL;
    SAYS(w, preflight_tell_redis, PREFLIGHT_WARNING, "has no Redis");
    world_done(w);
}

static void what_it_would_cost(void **state)
{
    struct preflight_cost cost = {
        .lag_records = 12, .lag_s = 0.5, .groups = 2, .reread_records = 340};
    struct world *w = world_new();
    (void)state;
    SAYS(w, preflight_tell_cost, PREFLIGHT_UNKNOWN, "it was not measured");
    w->preflight.in.cost = &cost;
    SAYS(w, preflight_tell_cost, PREFLIGHT_OK,
         "at most 12 records (0.5 s) would be lost, 2 groups would read at most 340 records again");
    cost.reread_records = -1;
    SAYS(w, preflight_tell_cost, PREFLIGHT_UNKNOWN, "would read again is unknown");
    cost.lag_records = -1;
    SAYS(w, preflight_tell_cost, PREFLIGHT_UNKNOWN, "an unknown number of records would be lost");
    world_done(w);
}

/* --- names and certificates -------------------------------------------------------------------------------------------- */

static void certificates(void **state)
{
    struct world *w = world_new();
    (void)state;
    w->shown.ends_ms = NOW_MS + INT64_C(13) * 86400 * 1000;
    SAYS(w, preflight_tell_certificates, PREFLIGHT_WARNING, "the certificate of b1:9092 ends at");
    w->shown.fits = false;
    err_set(&w->shown.err, ERR_REFUSED, "hostname mismatch (localhost)");
    SAYS(w, preflight_tell_certificates, PREFLIGHT_REFUSED,
         "clients that know it as kafka.dr.test would not accept b1:9092: hostname mismatch");
    w->shown.answered = false;
    err_set(&w->shown.err, ERR_RETRY, "Connection refused");
    SAYS(w, preflight_tell_certificates, PREFLIGHT_UNKNOWN, "Connection refused");
    w->preflight.certificates_count = 0;
    SAYS(w, preflight_tell_certificates, PREFLIGHT_OK, "without TLS");
    world_done(w);
}

static void records(void **state)
{
    struct world *w = world_new();
    (void)state;
    SAYS(w, preflight_tell_dns, PREFLIGHT_OK,
         "kafka.dr.test would move from kafka-a.dr.test to kafka-b.dr.test");
    w->record.check.done = true;
    SAYS(w, preflight_tell_dns, PREFLIGHT_OK, "stands at kafka-b.dr.test already");
    w->record.check.refusals_count = 1;
    w->record.check.refusals[0].refusal = DNS_REFUSED_CHANGED;
    snprintf(w->record.check.refusals[0].what, 99, "other.dr.test stands there");
    SAYS(w, preflight_tell_dns, PREFLIGHT_REFUSED,
         "kafka.dr.test: value-not-as-recorded: other.dr.test stands there");
    w->record.checked = false;
    err_set(&w->record.err, ERR_REFUSED, "TSIG: BADKEY");
    SAYS(w, preflight_tell_dns, PREFLIGHT_REFUSED, "BADKEY");
    err_set(&w->record.err, ERR_RETRY, "nobody answered");
    SAYS(w, preflight_tell_dns, PREFLIGHT_UNKNOWN, "nobody answered");
    err_clear(&w->record.err);
    SAYS(w, preflight_tell_dns, PREFLIGHT_REFUSED, "has no value at site b");
    w->record.recorded = false;
    SAYS(w, preflight_tell_dns, PREFLIGHT_REFUSED, "is not recorded");
    w->preflight.in.acting = false;
    SAYS(w, preflight_tell_dns, PREFLIGHT_WARNING, "is not recorded");
    w->service.cnames_count = 0;
    SAYS(w, preflight_tell_dns, PREFLIGHT_OK, "by hand");
    world_done(w);
}

static void time_to_live(void **state)
{
    struct world *w = world_new();
    (void)state;
    w->record.check.set.ttl_s = 61;
    SAYS(w, preflight_tell_ttl, PREFLIGHT_WARNING, "for 61 s, rto is 60 s");
    assert_string_equal(w->list.list[0].hint, "ferry dns prepare orders --ttl 30");
    w->record.check.set.ttl_s = 60;
    SAYS(w, preflight_tell_ttl, PREFLIGHT_OK, "60 s at most");
    world_done(w);
}

/* Is what is said of the name servers a warning with these words? */
static bool warned(struct world *w, const char *words)
{
    bool found = false;
    w->list.count = 0;
    preflight_tell_name_servers(&w->preflight, &w->list);
    for (size_t i = 0; i < w->list.count; i++) {
        found = found || (w->list.list[i].level == PREFLIGHT_WARNING &&
                          strstr(w->list.list[i].what, words) != NULL);
    }
    return found;
}

static void authority_in_the_region_of_the_primary(void **state)
{
    struct world *w = world_new();
    struct config_zone also = {.name = "dr.test", .provider = PROVIDER_ALIDNS};
    struct config_zone zone = {.name = "dr.test", .provider = PROVIDER_ROUTE53};
    const char *regions[] = {"one", "ONE"};
    (void)state;
    w->servers.zone = &zone;
    SAYS(w, preflight_tell_name_servers, PREFLIGHT_OK, "in more than one network");
    w->from.region = "us-east-1";
    assert_true(warned(w, "who changes zone dr.test stands in us-east-1, the region of a"));
    zone.also = &also;
    zone.also_count = 1;
    assert_false(warned(w, "region of a")); /* nobody says where the other is */
    zone.provider = PROVIDER_ALIDNS;
    zone.endpoint = "https://alidns.cn-hangzhou.aliyuncs.com";
    zone.also_count = 0;
    w->from.region = "cn-hangzhou";
    assert_true(warned(w, "stands in cn-hangzhou"));
    w->from.region = "one";
    assert_false(warned(w, "region of a"));
    zone.regions = regions;
    zone.regions_count = 2;
    assert_true(warned(w, "all authority over zone dr.test stands in one"));
    regions[1] = "two";
    assert_false(warned(w, "region of a"));
    world_done(w);
}

static void name_servers_in_one_network(void **state)
{
    struct world *w = world_new();
    (void)state;
    struct dns_view *views = w->servers.views.list;
    snprintf(views[1].server, 80, "192.0.2.54");
    SAYS(w, preflight_tell_name_servers, PREFLIGHT_WARNING, "all in network 192.0.2.0/24");
    snprintf(views[0].server, 80, "[2001:db8:1::1]:53");
    snprintf(views[1].server, 80, "2001:db8:1:ff::1");
    SAYS(w, preflight_tell_name_servers, PREFLIGHT_WARNING, "all in network 2001:db8:1::/48");
    views[0].resolver = true;
    SAYS(w, preflight_tell_name_servers, PREFLIGHT_WARNING, "1 name server, all in");
    views[1].resolver = true;
    SAYS(w, preflight_tell_name_servers, PREFLIGHT_UNKNOWN, "where the name servers");
    world_done(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_have_names_that_can_be_forced),
        cmocka_unit_test(names_that_do_not_fit_are_counted),
        cmocka_unit_test(all_is_well),
        cmocka_unit_test(what_did_not_come_in_time_is_unknown),
        cmocka_unit_test(one_cluster_twice),
        cmocka_unit_test(a_switchover_needs_the_source),
        cmocka_unit_test(topics_that_are_missing),
        cmocka_unit_test(partitions_without_a_leader),
        cmocka_unit_test(replicas_that_are_not_in_sync),
        cmocka_unit_test(room_for_what_clients_write),
        cmocka_unit_test(fewer_brokers_and_many_partitions),
        cmocka_unit_test(more_partitions_than_the_session_bears),
        cmocka_unit_test(names_without_an_address),
        cmocka_unit_test(groups_with_members),
        cmocka_unit_test(the_role),
        cmocka_unit_test(rights_that_are_missing),
        cmocka_unit_test(sites_in_one_place),
        cmocka_unit_test(redis_and_clocks),
        cmocka_unit_test(what_it_would_cost),
        cmocka_unit_test(certificates),
        cmocka_unit_test(records),
        cmocka_unit_test(time_to_live),
        cmocka_unit_test(name_servers_in_one_network),
        cmocka_unit_test(authority_in_the_region_of_the_primary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
