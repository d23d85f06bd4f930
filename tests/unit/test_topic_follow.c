/* Which settings follow the source, which are taken back, and what is said of the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"
#include "mirror/topic_follow.h"

/* admin_setting.value is char *, but nothing here frees or writes it. */
#define OWN(name, text)     {name, (char *)(uintptr_t)(text), false}
#define DEFAULT(name, text) {name, (char *)(uintptr_t)(text), true}
#define SETTINGS(...)                                                              \
    ((struct topic_settings){(const struct admin_setting[]){__VA_ARGS__},          \
                             sizeof((const struct admin_setting[]){__VA_ARGS__}) / \
                                 sizeof(struct admin_setting)})

struct rig {
    struct config *config;
    struct topic_follow follow;
    struct topic_changes changes;
    json_t *drifts;
    json_t *synced;
    json_t *refused;
};

static void configure(struct rig *rig, const char *topic_config)
{
    char text[1024];
    struct err err;
    snprintf(text, sizeof(text),
             "{\"deployment\": \"test\", \"sites\": {"
             "\"a\": {\"kafka\": {\"bootstrap.servers\": \"localhost:1\"}},"
             "\"b\": {\"kafka\": {\"bootstrap.servers\": \"localhost:2\"}}},"
             "\"services\": {\"s\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": "
             "{\"include\": [\"*\"]}, \"topic_config\": %s}}}",
             topic_config);
    config_free(rig->config);
    rig->config = config_parse(text, strlen(text), "test", &err);
    if (!rig->config) {
        fail_msg("%s", err.what);
    }
    rig->follow.service = &rig->config->services[0];
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    configure(rig, "{}");
    rig->follow.target_replicas = 3;
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    topic_changes_done(&rig->changes);
    json_decref(rig->drifts);
    json_decref(rig->synced);
    json_decref(rig->refused);
    config_free(rig->config);
    free(rig);
    return 0;
}

/* What we put there: name, what stood there before (NULL = nothing), our value. */
static void put_before(struct rig *rig, const char *name, const char *old, const char *ours)
{
    rig->synced = rig->synced ? rig->synced : json_object();
    json_object_set_new(rig->synced, name, json_pack("[s?, s]", old, ours));
    rig->follow.synced = rig->synced;
}

static void plan(struct rig *rig, struct topic_settings source, struct topic_settings target)
{
    topic_changes_done(&rig->changes);
    json_decref(rig->drifts);
    rig->follow.source = source;
    rig->follow.target = target;
    topic_follow_plan(&rig->follow, &rig->changes, &rig->drifts);
}

static const struct topic_change *change_of(const struct rig *rig, const char *name)
{
    for (size_t i = 0; i < rig->changes.count; i++) {
        if (strcmp(rig->changes.list[i].name, name) == 0) {
            return &rig->changes.list[i];
        }
    }
    return NULL;
}

static void assert_set(const struct rig *rig, const char *name, const char *value, const char *old)
{
    const struct topic_change *change = change_of(rig, name);
    assert_non_null(change);
    assert_true(change->set && change->follows && change->recorded && !change->ends);
    assert_string_equal(change->value, value);
    assert_string_equal(change->old ? change->old : "-", old ? old : "-");
}

/* The only thing that differs. */
static void assert_drift(const struct rig *rig, const char *name, const char *source,
                         const char *target, const char *why)
{
    const json_t *row = json_array_get(rig->drifts, 0);
    const char *there = json_string_value(json_object_get(row, "target"));
    assert_int_equal(json_array_size(rig->drifts), 1);
    assert_string_equal(json_string_value(json_object_get(row, "setting")), name);
    assert_string_equal(json_string_value(json_object_get(row, "source")), source);
    assert_string_equal(there ? there : "-", target ? target : "-");
    assert_non_null(strstr(json_string_value(json_object_get(row, "why")), why));
}

static void assert_quiet(const struct rig *rig)
{
    assert_int_equal(rig->changes.count, 0);
    assert_int_equal(json_array_size(rig->drifts), 0);
}

/* ---- set, changed, removed ---- */

static void what_the_sources_topic_sets_is_set(void **state)
{
    struct rig *rig = *state;
    plan(rig, SETTINGS(OWN("retention.ms", "5"), DEFAULT("segment.bytes", "1")),
         SETTINGS(DEFAULT("retention.ms", "7"), DEFAULT("segment.bytes", "2")));
    assert_int_equal(rig->changes.count, 1); /* brokers' defaults are not carried */
    assert_set(rig, "retention.ms", "5", NULL);
    assert_true(rig->changes.list[0].first);
    assert_int_equal(json_array_size(rig->drifts), 0);
}

static void what_stood_there_before_is_remembered_once(void **state)
{
    struct rig *rig = *state;
    plan(rig, SETTINGS(OWN("retention.ms", "5")), SETTINGS(OWN("retention.ms", "7")));
    assert_set(rig, "retention.ms", "5", "7");
    put_before(rig, "retention.ms", "7", "5");
    plan(rig, SETTINGS(OWN("retention.ms", "6")), SETTINGS(OWN("retention.ms", "5")));
    assert_set(rig, "retention.ms", "6", "7");
    assert_false(rig->changes.list[0].first);
}

static void what_is_the_same_is_no_news(void **state)
{
    struct rig *rig = *state;
    plan(rig, SETTINGS(OWN("retention.ms", "5")), SETTINGS(DEFAULT("retention.ms", "5")));
    assert_quiet(rig);
    put_before(rig, "retention.ms", NULL, "5");
    plan(rig, SETTINGS(OWN("retention.ms", "5")), SETTINGS(OWN("retention.ms", "5")));
    assert_quiet(rig);
}

static void what_is_removed_there_is_taken_back_here(void **state)
{
    struct rig *rig = *state;
    put_before(rig, "retention.ms", NULL, "5");
    plan(rig, SETTINGS(DEFAULT("retention.ms", "9")), SETTINGS(OWN("retention.ms", "5")));
    const struct topic_change *change = change_of(rig, "retention.ms");
    assert_true(change->set && change->ends && !change->recorded);
    assert_null(change->value);
    put_before(rig, "retention.ms", "7", "5");
    plan(rig, SETTINGS(DEFAULT("retention.ms", "9")), SETTINGS(OWN("retention.ms", "5")));
    assert_string_equal(change_of(rig, "retention.ms")->value, "7");
}

static void what_somebody_changed_since_is_theirs(void **state)
{
    struct rig *rig = *state;
    put_before(rig, "retention.ms", NULL, "5");
    plan(rig, SETTINGS(DEFAULT("retention.ms", "9")), SETTINGS(OWN("retention.ms", "6")));
    assert_int_equal(rig->changes.count, 1);
    assert_false(change_of(rig, "retention.ms")->set);
    assert_true(change_of(rig, "retention.ms")->ends);
    assert_false(topic_changes_any_set(&rig->changes));
}

static void what_only_the_target_sets_stays(void **state)
{
    struct rig *rig = *state;
    plan(rig, SETTINGS(DEFAULT("retention.ms", "9")), SETTINGS(OWN("retention.ms", "6")));
    assert_quiet(rig);
}

static void a_hand_on_what_follows_is_put_right(void **state)
{
    struct rig *rig = *state;
    put_before(rig, "retention.ms", NULL, "5");
    plan(rig, SETTINGS(OWN("retention.ms", "5")), SETTINGS(OWN("retention.ms", "6")));
    assert_set(rig, "retention.ms", "5", NULL);
}

static void a_lost_record_of_our_creation_is_made_again(void **state)
{
    struct rig *rig = *state;
    rig->follow.ours = true;
    plan(rig, SETTINGS(OWN("retention.ms", "5")), SETTINGS(OWN("retention.ms", "5")));
    const struct topic_change *change = change_of(rig, "retention.ms");
    assert_true(change->recorded && !change->set);
    assert_null(change->old);
}

static void a_broken_record_counts_as_none(void **state)
{
    struct rig *rig = *state;
    rig->synced =
        json_pack("{s:[i,s], s:s, s:[n]}", "retention.ms", 3, "5", "segment.ms", "x", "flush.ms");
    rig->follow.synced = rig->synced;
    plan(rig, SETTINGS(DEFAULT("retention.ms", "9")), SETTINGS(OWN("retention.ms", "5")));
    assert_quiet(rig);
}

/* ---- the lists ---- */

static void what_is_excluded_stays_and_is_told(void **state)
{
    struct rig *rig = *state;
    configure(rig, "{\"exclude\": [\"retention.*\"]}");
    put_before(rig, "retention.bytes", NULL, "3");
    plan(rig, SETTINGS(OWN("retention.ms", "5"), DEFAULT("retention.bytes", "-1")),
         SETTINGS(DEFAULT("retention.ms", "7"), OWN("retention.bytes", "3")));
    assert_int_equal(rig->changes.count, 0);
    assert_drift(rig, "retention.ms", "5", "7", "topic_config.exclude");
}

static void always_beats_exclude_and_what_is_asked_for(void **state)
{
    struct rig *rig = *state;
    struct topic_settings source = SETTINGS(OWN("remote.storage.enable", "true"));
    struct topic_settings target = SETTINGS(DEFAULT("remote.storage.enable", "false"));
    plan(rig, source, target);
    assert_int_equal(rig->changes.count, 0);
    assert_drift(rig, "remote.storage.enable", "true", "false", "unless topic_config.always");
    configure(rig, "{\"always\": [\"remote.*\"], \"exclude\": [\"*\"]}");
    plan(rig, source, target);
    assert_set(rig, "remote.storage.enable", "true", NULL);
}

static void forced_settings_and_names_of_brokers_never_follow(void **state)
{
    struct rig *rig = *state;
    configure(rig, "{\"always\": [\"*\"]}");
    plan(rig,
         SETTINGS(OWN("compression.type", "producer"), OWN("message.timestamp.type", "CreateTime"),
                  OWN("max.message.bytes", "1"),
                  OWN("leader.replication.throttled.replicas", "0:1"),
                  OWN("confluent.placement", "x")),
         SETTINGS(OWN("compression.type", "producer"), OWN("message.timestamp.type", "CreateTime"),
                  OWN("max.message.bytes", "9"),
                  DEFAULT("leader.replication.throttled.replicas", "")));
    assert_quiet(rig);
}

/* name: what is given back and whose it is; NULL = no word of it, "-" = nothing stood there. */
static void assert_gives_back(const struct rig *rig, const char *old, const char *before)
{
    const struct topic_change *forced = &rig->changes.list[0];
    const struct topic_change *source = &rig->changes.list[1];
    assert_int_equal(rig->changes.count, 2);
    assert_true(forced->recorded && !forced->set && !forced->follows);
    assert_string_equal(forced->value, "producer");
    assert_string_equal(forced->old ? forced->old : "-", old);
    assert_true(source->follows && !source->set && source->ends == !before);
    if (before) {
        assert_string_equal(source->old ? source->old : "-", before);
    }
}

/* The source's compression changes while ours is forced: after a failover it is the source's of that day. */
static void what_a_forced_setting_is_given_back_to_follows(void **state)
{
    struct rig *rig = *state;
    json_t *forced = json_pack("{s:[s,s]}", "compression.type", "zstd", "producer");
    struct topic_settings target = SETTINGS(OWN("compression.type", "producer"));
    rig->follow.forced = forced;
    plan(rig, SETTINGS(OWN("compression.type", "gzip")), target);
    assert_gives_back(rig, "gzip", "zstd");
    put_before(rig, "compression.type", "zstd", "gzip");
    plan(rig, SETTINGS(OWN("compression.type", "gzip")), target);
    assert_quiet(rig);
    plan(rig, SETTINGS(OWN("compression.type", "lz4")), target);
    assert_gives_back(rig, "lz4", "zstd");
    plan(rig, SETTINGS(DEFAULT("compression.type", "producer")), target);
    assert_gives_back(rig, "zstd", NULL);
    json_decref(forced);
}

static void without_sync_nothing_follows(void **state)
{
    struct rig *rig = *state;
    configure(rig, "{\"sync\": false}");
    put_before(rig, "segment.ms", NULL, "3");
    plan(rig, SETTINGS(OWN("retention.ms", "5")),
         SETTINGS(DEFAULT("retention.ms", "7"), OWN("segment.ms", "3")));
    assert_quiet(rig);
}

static void what_the_target_does_not_know_is_told(void **state)
{
    struct rig *rig = *state;
    plan(rig, SETTINGS(OWN("compression.zstd.level", "9"), OWN("remote.copy.disable", "true")),
         SETTINGS(DEFAULT("retention.ms", "7")));
    assert_int_equal(rig->changes.count, 0);
    assert_drift(rig, "compression.zstd.level", "9", NULL, "does not know");
}

static void what_was_refused_is_not_asked_for_again_until_it_changes(void **state)
{
    struct rig *rig = *state;
    rig->refused = json_pack("{s:{s:s, s:s}}", "segment.bytes", "value", "5", "why",
                             "the target refuses it: too small");
    rig->follow.refused = rig->refused;
    plan(rig, SETTINGS(OWN("segment.bytes", "5")), SETTINGS(DEFAULT("segment.bytes", "7")));
    assert_int_equal(rig->changes.count, 0);
    assert_drift(rig, "segment.bytes", "5", "7", "too small");
    plan(rig, SETTINGS(OWN("segment.bytes", "6")), SETTINGS(DEFAULT("segment.bytes", "7")));
    assert_set(rig, "segment.bytes", "6", NULL);
}

/* ---- durability ---- */

static void more_replicas_in_sync_follow_as_far_as_a_broker_may_be_away(void **state)
{
    struct rig *rig = *state;
    plan(rig, SETTINGS(OWN("min.insync.replicas", "2")),
         SETTINGS(DEFAULT("min.insync.replicas", "1")));
    assert_set(rig, "min.insync.replicas", "2", NULL);
    assert_int_equal(json_array_size(rig->drifts), 0);
    plan(rig, SETTINGS(OWN("min.insync.replicas", "3")),
         SETTINGS(DEFAULT("min.insync.replicas", "1")));
    assert_set(rig, "min.insync.replicas", "2", NULL);
    assert_drift(rig, "min.insync.replicas", "3", "2", "a broker may be away");
    rig->follow.target_replicas = 1;
    plan(rig, SETTINGS(OWN("min.insync.replicas", "2")),
         SETTINGS(DEFAULT("min.insync.replicas", "1")));
    assert_int_equal(rig->changes.count, 0);
    assert_drift(rig, "min.insync.replicas", "2", "1", "a broker may be away");
}

static void durability_never_sinks_below_the_targets_own(void **state)
{
    struct rig *rig = *state;
    plan(rig,
         SETTINGS(OWN("min.insync.replicas", "1"), OWN("unclean.leader.election.enable", "true")),
         SETTINGS(DEFAULT("min.insync.replicas", "2"),
                  DEFAULT("unclean.leader.election.enable", "false")));
    assert_int_equal(rig->changes.count, 0);
    assert_drift(rig, "unclean.leader.election.enable", "true", "false", "safe side");
    /* but what we raised comes down again */
    put_before(rig, "min.insync.replicas", NULL, "2");
    plan(rig, SETTINGS(OWN("min.insync.replicas", "1")), SETTINGS(OWN("min.insync.replicas", "2")));
    assert_true(change_of(rig, "min.insync.replicas")->ends);
    assert_null(change_of(rig, "min.insync.replicas")->value);
}

static void safety_follows(void **state)
{
    struct rig *rig = *state;
    plan(rig, SETTINGS(OWN("unclean.leader.election.enable", "false")),
         SETTINGS(DEFAULT("unclean.leader.election.enable", "true")));
    assert_set(rig, "unclean.leader.election.enable", "false", NULL);
    configure(rig, "{\"always\": [\"unclean.leader.election.enable\", \"min.insync.replicas\"]}");
    plan(rig,
         SETTINGS(OWN("unclean.leader.election.enable", "true"), OWN("min.insync.replicas", "1")),
         SETTINGS(DEFAULT("unclean.leader.election.enable", "false"),
                  DEFAULT("min.insync.replicas", "2")));
    assert_set(rig, "unclean.leader.election.enable", "true", NULL);
    assert_set(rig, "min.insync.replicas", "1", NULL);
}

/* ---- what is kept ---- */

/* From compact to delete while the target's brokers keep a week and the source's for ever. */
static void a_policy_that_would_delete_more_than_the_source_waits(void **state)
{
    struct rig *rig = *state;
    struct topic_settings target =
        SETTINGS(OWN("cleanup.policy", "compact"), DEFAULT("retention.ms", "604800000"),
                 DEFAULT("retention.bytes", "-1"));
    plan(rig,
         SETTINGS(OWN("cleanup.policy", "delete"), OWN("retention.bytes", "-1"),
                  DEFAULT("retention.ms", "-1")),
         target);
    assert_null(change_of(rig, "cleanup.policy"));
    const json_t *row = json_array_get(rig->drifts, 0);
    assert_string_equal(json_string_value(json_object_get(row, "setting")), "cleanup.policy");
    assert_non_null(strstr(json_string_value(json_object_get(row, "why")), "keeps less"));
    /* With a retention of its own, which follows too, both are the same. */
    plan(rig,
         SETTINGS(OWN("cleanup.policy", "delete"), DEFAULT("retention.bytes", "-1"),
                  OWN("retention.ms", "-1")),
         target);
    assert_set(rig, "cleanup.policy", "delete", "compact");
    assert_set(rig, "retention.ms", "-1", NULL);
}

/* Without a policy of its own it would be deleted from by the target's brokers, sooner than at the source. */
static void a_policy_is_not_taken_back_into_deletion(void **state)
{
    struct rig *rig = *state;
    put_before(rig, "cleanup.policy", NULL, "compact");
    plan(rig, SETTINGS(DEFAULT("cleanup.policy", "delete")),
         SETTINGS(OWN("cleanup.policy", "compact"), DEFAULT("retention.ms", "604800000")));
    assert_int_equal(rig->changes.count, 0);
    assert_drift(rig, "cleanup.policy", "delete", "compact", "keeps less");
    plan(rig, SETTINGS(DEFAULT("cleanup.policy", "delete"), DEFAULT("retention.ms", "604800000")),
         SETTINGS(OWN("cleanup.policy", "compact"), DEFAULT("retention.ms", "604800000")));
    assert_true(change_of(rig, "cleanup.policy")->set);
    assert_null(change_of(rig, "cleanup.policy")->value);
}

static void defaults_that_keep_another_time_are_told(void **state)
{
    struct rig *rig = *state;
    plan(rig, SETTINGS(DEFAULT("retention.ms", "-1"), DEFAULT("segment.ms", "1")),
         SETTINGS(DEFAULT("retention.ms", "604800000"), DEFAULT("segment.ms", "2")));
    assert_int_equal(rig->changes.count, 0);
    assert_drift(rig, "retention.ms", "-1", "604800000", "defaults of the brokers");
}

static void long_values_and_bytes_that_are_no_text_are_cut(void **state)
{
    (void)state;
    char value[5000];
    memset(value, 'x', sizeof(value));
    value[sizeof(value) - 1] = '\0';
    json_t *row = topic_drift("s", value, "\xff\xfe", "w");
    assert_int_equal(strlen(json_string_value(json_object_get(row, "source"))), 103);
    assert_string_equal(json_string_value(json_object_get(row, "target")), "(not text)");
    json_decref(row);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_the_sources_topic_sets_is_set),
        TEST(what_stood_there_before_is_remembered_once),
        TEST(what_is_the_same_is_no_news),
        TEST(what_is_removed_there_is_taken_back_here),
        TEST(what_somebody_changed_since_is_theirs),
        TEST(what_only_the_target_sets_stays),
        TEST(a_hand_on_what_follows_is_put_right),
        TEST(a_lost_record_of_our_creation_is_made_again),
        TEST(a_broken_record_counts_as_none),
        TEST(what_is_excluded_stays_and_is_told),
        TEST(always_beats_exclude_and_what_is_asked_for),
        TEST(forced_settings_and_names_of_brokers_never_follow),
        TEST(what_a_forced_setting_is_given_back_to_follows),
        TEST(without_sync_nothing_follows),
        TEST(what_the_target_does_not_know_is_told),
        TEST(what_was_refused_is_not_asked_for_again_until_it_changes),
        TEST(more_replicas_in_sync_follow_as_far_as_a_broker_may_be_away),
        TEST(durability_never_sinks_below_the_targets_own),
        TEST(safety_follows),
        TEST(a_policy_that_would_delete_more_than_the_source_waits),
        TEST(a_policy_is_not_taken_back_into_deletion),
        TEST(defaults_that_keep_another_time_are_told),
        TEST(long_values_and_bytes_that_are_no_text_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
