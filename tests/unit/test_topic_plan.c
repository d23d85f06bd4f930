#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"
#include "mirror/topic_plan.h"

#define MAX "9223372036854775807"

/* admin_setting.value is char *, but nothing here frees or writes it. */
#define OWN(name, text)     {name, (char *)(uintptr_t)(text), false}
#define DEFAULT(name, text) {name, (char *)(uintptr_t)(text), true}
#define SETTINGS(array)     ((struct topic_settings){array, sizeof(array) / sizeof((array)[0])})

static const struct admin_setting plain[] = {
    DEFAULT("compression.type", "producer"),
    DEFAULT("message.timestamp.type", "CreateTime"),
    DEFAULT("message.timestamp.after.max.ms", "3600000"),
    DEFAULT("message.timestamp.before.max.ms", MAX),
    DEFAULT("max.message.bytes", "1048588"),
    DEFAULT("cleanup.policy", "delete"),
    DEFAULT("retention.ms", "604800000"),
    DEFAULT("min.insync.replicas", "1"),
    DEFAULT("flush.ms", "1"),
    DEFAULT("remote.copy.disable", "false"),
};

static const struct topic_change *change_of(const struct topic_changes *changes, const char *name)
{
    for (size_t i = 0; i < changes->count; i++) {
        if (strcmp(changes->list[i].name, name) == 0) {
            return &changes->list[i];
        }
    }
    return NULL;
}

/* old NULL = given back by deleting */
static void assert_forced(const struct topic_changes *changes, const char *name, const char *value,
                          const char *old)
{
    const struct topic_change *change = change_of(changes, name);
    assert_non_null(change);
    assert_string_equal(change->value, value);
    assert_true(change->recorded);
    if (old) {
        assert_non_null(change->old);
        assert_string_equal(change->old, old);
    } else {
        assert_null(change->old);
    }
}

/* ---- topics ---- */

static struct config *config_of(const char *topics)
{
    char text[1024];
    struct err err;
    snprintf(text, sizeof(text),
             "{\"deployment\": \"test\", \"sites\": {"
             "\"a\": {\"kafka\": {\"bootstrap.servers\": \"localhost:1\"}},"
             "\"b\": {\"kafka\": {\"bootstrap.servers\": \"localhost:2\"}}},"
             "\"services\": {\"s\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": %s}}}",
             topics);
    struct config *config = config_parse(text, strlen(text), "test", &err);
    if (!config) {
        print_error("%s\n", err.what);
    }
    assert_non_null(config);
    return config;
}

static struct admin_topic topic(const char *name, uint8_t id, int32_t partitions)
{
    struct admin_topic topic = {.partitions_count = partitions, .replication_factor = 1};
    snprintf(topic.name, sizeof(topic.name), "%s", name);
    topic.id.bytes[0] = id;
    return topic;
}

static void reserved_names_never_belong(void **state)
{
    (void)state;
    struct config *config = config_of("{\"include\": [\"*\"]}");
    struct admin_topic source[] = {topic("ferry.control.s", 1, 1),
                                   topic("__consumer_offsets", 2, 50), topic("ferry-x", 3, 1),
                                   topic("orders", 4, 3)};
    struct topic_pair *pairs;
    size_t count;
    topic_plan_pairs(&config->services[0].topics, source, 4, NULL, 0, &pairs, &count);
    assert_int_equal(count, 1);
    assert_string_equal(pairs[0].name, "orders");
    assert_true(uuid_is_zero(&pairs[0].target_id));
    free(pairs);
    config_free(config);
}

static void excluded_topics_do_not_belong(void **state)
{
    (void)state;
    struct config *config = config_of("{\"include\": [\"orders.*\"], \"exclude\": [\"*.tmp\"]}");
    struct admin_topic source[] = {topic("orders.tmp", 1, 1), topic("orders.eu", 2, 1),
                                   topic("payments", 3, 1)};
    struct topic_pair *pairs;
    size_t count;
    topic_plan_pairs(&config->services[0].topics, source, 3, NULL, 0, &pairs, &count);
    assert_int_equal(count, 1);
    assert_string_equal(pairs[0].name, "orders.eu");
    free(pairs);
    config_free(config);
}

static void twins_are_found_and_judged(void **state)
{
    (void)state;
    struct config *config = config_of("{\"include\": [\"*\"]}");
    struct admin_topic source[] = {topic("z", 1, 2), topic("m", 2, 2), topic("a", 3, 2)};
    struct admin_topic target[] = {topic("z", 11, 1), topic("x", 12, 9), topic("a", 13, 3)};
    struct topic_pair *pairs;
    size_t count;
    topic_plan_pairs(&config->services[0].topics, source, 3, target, 3, &pairs, &count);
    assert_int_equal(count, 3);
    assert_string_equal(pairs[0].name, "a");
    assert_non_null(strstr(pairs[0].problem, "has 3 partitions, the source 2"));
    assert_string_equal(pairs[1].name, "m");
    assert_int_equal(pairs[1].target_partitions, 0);
    assert_string_equal(pairs[1].problem, "");
    assert_string_equal(pairs[2].name, "z");
    assert_int_equal(pairs[2].target_id.bytes[0], 11);
    assert_int_equal(pairs[2].target_partitions, 1); /* to be grown: no problem */
    assert_string_equal(pairs[2].problem, "");
    free(pairs);
    config_free(config);
}

static void no_topics_at_all(void **state)
{
    (void)state;
    struct config *config = config_of("{\"include\": [\"*\"]}");
    struct topic_pair *pairs;
    size_t count;
    topic_plan_pairs(&config->services[0].topics, NULL, 0, NULL, 0, &pairs, &count);
    assert_int_equal(count, 0);
    free(pairs);
    config_free(config);
}

/* ---- creation ---- */

/* Of a configuration that stays until the end. */
static const struct config_service *follows(void)
{
    static struct config *config;
    if (!config) {
        config = config_of("{\"include\": [\"*\"]}, \"topic_config\": {\"always\": "
                           "[\"remote.copy.disable\"], \"exclude\": [\"flush.*\"]}");
    }
    return &config->services[0];
}

static void a_new_topic_gets_what_is_forced(void **state)
{
    (void)state;
    struct topic_changes changes;
    topic_plan_creation(follows(), SETTINGS(plain), SETTINGS(plain), &changes);
    assert_int_equal(changes.count, 4);
    assert_forced(&changes, "compression.type", "producer", NULL);
    assert_forced(&changes, "message.timestamp.type", "CreateTime", NULL);
    assert_forced(&changes, "message.timestamp.after.max.ms", MAX, NULL);
    assert_forced(&changes, "message.timestamp.before.max.ms", MAX, NULL);
    topic_changes_done(&changes);
}

static void a_new_topic_gets_the_source_topics_own_settings(void **state)
{
    (void)state;
    static const struct admin_setting source[] = {
        OWN("cleanup.policy", "compact"),
        DEFAULT("retention.ms", "604800000"),
        OWN("min.insync.replicas", "2"),
        OWN("leader.replication.throttled.replicas", "0:1"),
        OWN("remote.storage.enable", "true"),
        OWN("local.retention.ms", "1000"),
        OWN("unclean.leader.election.enable", "true"),
        OWN("not.known.there", "1"),
        OWN("flush.ms", "5"),
        OWN("remote.copy.disable", "true"),
        OWN("compression.type", "gzip"),
        OWN("message.timestamp.type", "LogAppendTime"),
        OWN("max.message.bytes", "2000000"),
        {"a.sensitive.one", NULL, false},
    };
    struct topic_changes changes;
    topic_plan_creation(follows(), SETTINGS(source), SETTINGS(plain), &changes);
    const struct topic_change *policy = change_of(&changes, "cleanup.policy");
    assert_non_null(policy);
    assert_string_equal(policy->value, "compact");
    assert_true(policy->recorded && policy->follows); /* so that it can be taken back */
    assert_null(policy->old);
    assert_forced(&changes, "compression.type", "producer", "gzip");
    assert_forced(&changes, "message.timestamp.type", "CreateTime", "LogAppendTime");
    assert_string_equal(change_of(&changes, "max.message.bytes")->value, "2000000");
    assert_false(change_of(&changes, "max.message.bytes")->recorded); /* it is the source's own */
    assert_null(change_of(&changes, "flush.ms"));
    assert_string_equal(change_of(&changes, "remote.copy.disable")->value, "true");
    assert_int_equal(changes.count, 9); /* two of them note whose what is given back is */
    topic_changes_keep_forced(&changes);
    assert_int_equal(changes.count, 7);
    assert_null(change_of(&changes, "cleanup.policy"));
    topic_changes_done(&changes);
}

static void names_that_the_target_may_not_know_are_left_out(void **state)
{
    (void)state;
    struct topic_changes changes;
    topic_plan_creation(follows(), SETTINGS(plain), (struct topic_settings){NULL, 0}, &changes);
    assert_null(change_of(&changes, "message.timestamp.after.max.ms"));
    assert_non_null(change_of(&changes, "compression.type"));
    assert_string_equal(change_of(&changes, "max.message.bytes")->value, "1048588");
    topic_changes_done(&changes);
}

static void an_old_target_gets_the_old_time_bound(void **state)
{
    (void)state;
    static const struct admin_setting known[] = {
        DEFAULT("compression.type", "producer"),
        DEFAULT("message.timestamp.type", "CreateTime"),
        DEFAULT("message.timestamp.difference.max.ms", MAX),
        DEFAULT("max.message.bytes", "1048588"),
    };
    struct topic_changes changes;
    topic_plan_creation(follows(), SETTINGS(plain), SETTINGS(known), &changes);
    assert_forced(&changes, "message.timestamp.difference.max.ms", MAX, NULL);
    assert_null(change_of(&changes, "message.timestamp.after.max.ms"));
    topic_changes_done(&changes);
}

static void a_smaller_default_at_the_target_is_raised(void **state)
{
    (void)state;
    struct admin_setting known[sizeof(plain) / sizeof(plain[0])];
    memcpy(known, plain, sizeof(plain));
    known[4].value = (char *)(uintptr_t)"1000";
    struct topic_changes changes;
    topic_plan_creation(follows(), SETTINGS(plain), SETTINGS(known), &changes);
    assert_forced(&changes, "max.message.bytes", "1048588", NULL);
    topic_changes_done(&changes);
}

/* ---- a topic that stands there ---- */

static void only_what_differs_is_forced(void **state)
{
    (void)state;
    static const struct admin_setting target[] = {
        OWN("compression.type", "zstd"),
        DEFAULT("message.timestamp.type", "CreateTime"),
        DEFAULT("message.timestamp.after.max.ms", "3600000"),
        DEFAULT("message.timestamp.before.max.ms", MAX),
        OWN("max.message.bytes", "1000"),
        OWN("retention.ms", "1"),
    };
    struct topic_changes changes;
    topic_plan_existing(SETTINGS(plain), SETTINGS(target), NULL, &changes);
    assert_int_equal(changes.count, 3);
    assert_forced(&changes, "compression.type", "producer", "zstd");
    assert_forced(&changes, "message.timestamp.after.max.ms", MAX, NULL);
    assert_forced(&changes, "max.message.bytes", "1048588", "1000");
    assert_true(topic_changes_any_set(&changes));
    const char **pairs = topic_changes_pairs(&changes);
    assert_string_equal(pairs[0], "compression.type");
    assert_string_equal(pairs[1], "producer");
    assert_null(pairs[6]);
    free(pairs);
    topic_changes_done(&changes);
}

static void a_larger_size_at_the_target_is_fine(void **state)
{
    (void)state;
    static const struct admin_setting target[] = {OWN("max.message.bytes", "2000000")};
    struct topic_changes changes;
    topic_plan_existing(SETTINGS(plain), SETTINGS(target), NULL, &changes);
    assert_int_equal(changes.count, 0);
    topic_changes_done(&changes);
}

static void a_size_that_is_no_number_is_not_compared(void **state)
{
    (void)state;
    static const struct admin_setting source[] = {OWN("max.message.bytes", "12x")};
    static const struct admin_setting target[] = {OWN("max.message.bytes", "10")};
    struct topic_changes changes;
    topic_plan_existing(SETTINGS(source), SETTINGS(target), NULL, &changes);
    assert_int_equal(changes.count, 0);
    topic_changes_done(&changes);
    topic_plan_existing((struct topic_settings){NULL, 0}, SETTINGS(target), NULL, &changes);
    assert_int_equal(changes.count, 0);
    topic_changes_done(&changes);
}

/* Somebody changed it again: what was there first is what is given back. */
static void the_first_old_value_stays(void **state)
{
    (void)state;
    static const struct admin_setting target[] = {OWN("compression.type", "lz4")};
    json_t *recorded = json_pack("{s:[s,s]}", "compression.type", "gzip", "producer");
    struct topic_changes changes;
    topic_plan_existing(SETTINGS(plain), SETTINGS(target), recorded, &changes);
    assert_forced(&changes, "compression.type", "producer", "gzip");
    topic_changes_done(&changes);
    json_decref(recorded);
}

static void a_broken_record_counts_as_none(void **state)
{
    (void)state;
    static const struct admin_setting target[] = {OWN("compression.type", "lz4")};
    json_t *recorded = json_pack("{s:[i,s]}", "compression.type", 7, "producer");
    struct topic_changes changes;
    topic_plan_existing(SETTINGS(plain), SETTINGS(target), recorded, &changes);
    assert_forced(&changes, "compression.type", "producer", "lz4");
    topic_changes_done(&changes);
    json_decref(recorded);
}

static const struct admin_setting created[] = {
    OWN("compression.type", "producer"),        OWN("message.timestamp.type", "CreateTime"),
    OWN("message.timestamp.after.max.ms", MAX), OWN("message.timestamp.before.max.ms", MAX),
    DEFAULT("max.message.bytes", "1048588"),
};

/* The keeper that created it was killed before it wrote the record. */
static void a_lost_record_of_our_creation_is_made_again(void **state)
{
    (void)state;
    static const struct admin_setting source[] = {
        OWN("compression.type", "gzip"),
        OWN("message.timestamp.type", "CreateTime"),
    };
    struct topic_changes changes;
    topic_plan_existing(SETTINGS(source), SETTINGS(created), NULL, &changes);
    assert_forced(&changes, "compression.type", "producer", "gzip");
    assert_forced(&changes, "message.timestamp.after.max.ms", MAX, NULL);
    assert_false(change_of(&changes, "message.timestamp.type")->recorded); /* as at the source */
    assert_false(topic_changes_any_set(&changes));
    topic_changes_done(&changes);
}

static void what_is_recorded_and_right_is_no_news(void **state)
{
    (void)state;
    json_t *recorded = json_pack("{s:[n,s]}", "compression.type", "producer");
    struct topic_changes changes;
    topic_plan_existing(SETTINGS(plain), SETTINGS(created), recorded, &changes);
    assert_int_equal(changes.count, 0);
    topic_changes_done(&changes);
    json_decref(recorded);
}

/* A user's own compression.type=producer is not ours to delete one day. */
static void a_users_own_setting_is_not_taken_for_ours(void **state)
{
    (void)state;
    static const struct admin_setting target[] = {
        OWN("compression.type", "producer"),
        DEFAULT("message.timestamp.type", "CreateTime"),
    };
    struct topic_changes changes;
    topic_plan_existing(SETTINGS(plain), SETTINGS(target), NULL, &changes);
    assert_int_equal(changes.count, 0);
    topic_changes_done(&changes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reserved_names_never_belong),
        cmocka_unit_test(excluded_topics_do_not_belong),
        cmocka_unit_test(twins_are_found_and_judged),
        cmocka_unit_test(no_topics_at_all),
        cmocka_unit_test(a_new_topic_gets_what_is_forced),
        cmocka_unit_test(a_new_topic_gets_the_source_topics_own_settings),
        cmocka_unit_test(names_that_the_target_may_not_know_are_left_out),
        cmocka_unit_test(an_old_target_gets_the_old_time_bound),
        cmocka_unit_test(a_smaller_default_at_the_target_is_raised),
        cmocka_unit_test(only_what_differs_is_forced),
        cmocka_unit_test(a_larger_size_at_the_target_is_fine),
        cmocka_unit_test(a_size_that_is_no_number_is_not_compared),
        cmocka_unit_test(the_first_old_value_stays),
        cmocka_unit_test(a_broken_record_counts_as_none),
        cmocka_unit_test(a_lost_record_of_our_creation_is_made_again),
        cmocka_unit_test(what_is_recorded_and_right_is_no_news),
        cmocka_unit_test(a_users_own_setting_is_not_taken_for_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
