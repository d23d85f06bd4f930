#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/log.h"
#include "config/config.h"
#include "mirror/topic_sync.h"
#include "tests/fake/admin_fake.h"

#define MAX "9223372036854775807"

static const struct fake_setting defaults[] = {
    {"compression.type",                "producer"  },
    {"message.timestamp.type",          "CreateTime"},
    {"message.timestamp.after.max.ms",  "3600000"   },
    {"message.timestamp.before.max.ms", MAX         },
    {"max.message.bytes",               "1048588"   },
    {"cleanup.policy",                  "delete"    },
};

static const struct fake_setting more_defaults[] = {
    {"compression.type",               "producer"  },
    {"message.timestamp.type",         "CreateTime"},
    {"message.timestamp.after.max.ms", "3600000"   },
    {"max.message.bytes",              "1048588"   },
    {"cleanup.policy",                 "delete"    },
    {"max.compaction.lag.ms",          MAX         },
};

struct rig {
    struct config *config;
    struct admin source;
    struct admin target;
    struct topic_memory *memory;
    struct topic_sync sync;
    struct err err;
    int64_t now_ms;
    int acts_left;     /* may_act() says no after so many */
    char *recorded;    /* what hooks.record was given */
    char *target_then; /* compression.type of "orders" at the target at that moment */
};

static int setup(void **state)
{
    static const char text[] = "{\"deployment\": \"test\", \"sites\": {"
                               "\"a\": {\"kafka\": {\"bootstrap.servers\": \"localhost:1\"}},"
                               "\"b\": {\"kafka\": {\"bootstrap.servers\": \"localhost:2\"}}},"
                               "\"services\": {\"s\": {\"home\": \"a\", \"others\": [\"b\"], "
                               "\"topics\": {\"include\": [\"*\"]}}, "
                               "\"t\": {\"home\": \"a\", \"others\": [\"b\"], "
                               "\"topics\": {\"include\": [\"share?\"]}}}}";
    struct rig *rig = calloc(1, sizeof(*rig));
    log_set_level(LOG_ERROR);
    rig->config = config_parse(text, strlen(text), "test", &rig->err);
    assert_non_null(rig->config);
    fake_init(&rig->source, 1, defaults, sizeof(defaults) / sizeof(defaults[0]));
    fake_init(&rig->target, 101, defaults, sizeof(defaults) / sizeof(defaults[0]));
    fake_add(&rig->target, "ferry.control.s", 1);
    rig->memory = topic_memory_new();
    rig->acts_left = 1000;
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    topic_sync_done(&rig->sync);
    topic_memory_free(rig->memory);
    config_free(rig->config);
    free(rig->recorded);
    free(rig->target_then);
    free(rig);
    return 0;
}

static bool may_act(void *arg, struct err *err)
{
    struct rig *rig = arg;
    return rig->acts_left-- > 0 || err_set(err, ERR_RETRY, "not the keeper any more");
}

static bool record(void *arg, const struct topic_sync *planned, struct err *err)
{
    struct rig *rig = arg;
    (void)err;
    free(rig->recorded);
    free(rig->target_then);
    rig->recorded = topic_sync_record(planned, 1);
    struct fake_topic *orders = fake_find(&rig->target, "orders");
    const char *then = orders ? fake_own(orders, "compression.type") : NULL;
    rig->target_then = then ? strdup(then) : NULL;
    return true;
}

static bool run_with(struct rig *rig, bool with_record)
{
    struct topic_hooks hooks = {may_act, with_record ? record : NULL, rig};
    topic_sync_done(&rig->sync);
    rig->err = (struct err){0};
    return topic_sync_run(&rig->config->services[0], &rig->source, &rig->target, rig->memory,
                          &hooks, rig->now_ms, &rig->sync, &rig->err);
}

static void run(struct rig *rig)
{
    bool ok = run_with(rig, true);
    if (!ok) {
        print_error("%s\n", rig->err.what);
    }
    assert_true(ok);
}

static const struct topic_pair *pair_of(const struct rig *rig, const char *name)
{
    for (size_t i = 0; i < rig->sync.pairs_count; i++) {
        if (strcmp(rig->sync.pairs[i].name, name) == 0) {
            return &rig->sync.pairs[i];
        }
    }
    return NULL;
}

static json_t *record_json(const struct rig *rig)
{
    char *text = topic_sync_record(&rig->sync, 7);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    free(text);
    return json;
}

/* The state that a reader of the record has; topics' names are borrowed from the rig's sync. */
static struct control_state state_of(const struct rig *rig, char *text)
{
    struct control_state state = {.has_topics = true, .topics_epoch = 7, .topics_json = text};
    state.topics = calloc(rig->sync.pairs_count + 1, sizeof(*state.topics));
    for (size_t i = 0; i < rig->sync.pairs_count; i++) {
        const struct topic_pair *pair = &rig->sync.pairs[i];
        state.topics[state.topics_count++] =
            (struct control_topic){(char *)(uintptr_t)pair->name, pair->source_id, pair->target_id,
                                   pair->source_partitions};
    }
    return state;
}

static void reload(struct rig *rig)
{
    char *text = topic_sync_record(&rig->sync, 7);
    struct control_state state = state_of(rig, text);
    topic_memory_free(rig->memory); /* another worker */
    rig->memory = topic_memory_new();
    topic_memory_load(rig->memory, &state);
    free(state.topics);
    free(text);
}

/* ---- creation ---- */

static void a_missing_topic_is_created_with_its_settings(void **state)
{
    struct rig *rig = *state;
    fake_set(fake_add(&rig->source, "orders", 3), "cleanup.policy", "compact");
    rig->target.brokers_count = 5;
    run(rig);
    struct fake_topic *made = fake_find(&rig->target, "orders");
    assert_non_null(made);
    assert_int_equal(made->partitions, 3);
    assert_int_equal(made->replicas, 3);
    assert_string_equal(fake_own(made, "cleanup.policy"), "compact");
    assert_string_equal(fake_own(made, "message.timestamp.after.max.ms"), MAX);
    const struct topic_pair *pair = pair_of(rig, "orders");
    assert_string_equal(pair->problem, "");
    assert_int_equal(pair->target_id.bytes[15], made->id);
    assert_int_equal(pair->target_partitions, 3);
}

static void the_record_names_ids_partitions_and_what_was_forced(void **state)
{
    struct rig *rig = *state;
    fake_set(fake_add(&rig->source, "orders", 3), "compression.type", "gzip");
    run(rig);
    json_t *json = record_json(rig);
    const json_t *topic = json_array_get(json_object_get(json, "topics"), 0);
    assert_int_equal(json_integer_value(json_object_get(json, "epoch")), 7);
    assert_string_equal(json_string_value(json_object_get(topic, "name")), "orders");
    assert_string_equal(json_string_value(json_object_get(topic, "source_id")),
                        "00000000000000000000000000000001");
    assert_string_equal(json_string_value(json_object_get(topic, "target_id")),
                        "00000000000000000000000000000066");
    assert_int_equal(json_integer_value(json_object_get(topic, "partitions")), 3);
    const json_t *pair = json_object_get(json_object_get(topic, "forced"), "compression.type");
    assert_string_equal(json_string_value(json_array_get(pair, 0)), "gzip");
    assert_string_equal(json_string_value(json_array_get(pair, 1)), "producer");
    pair = json_object_get(json_object_get(topic, "forced"), "message.timestamp.after.max.ms");
    assert_true(json_is_null(json_array_get(pair, 0)));
    assert_null(json_object_get(json, "kept"));
    json_decref(json);
}

static void reserved_topics_are_never_created(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "ferry.control.other", 1);
    fake_add(&rig->source, "__consumer_offsets", 50);
    run(rig);
    assert_int_equal(rig->sync.pairs_count, 0);
    assert_int_equal(rig->target.topics_count, 1);
}

static void one_refused_creation_does_not_stop_the_others(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "a", 1);
    fake_add(&rig->source, "b", 1);
    rig->target.fail_create = "a";
    run(rig);
    assert_non_null(strstr(pair_of(rig, "a")->problem, "not authorized"));
    assert_string_equal(pair_of(rig, "b")->problem, "");
    json_t *json = record_json(rig);
    assert_int_equal(json_array_size(json_object_get(json, "topics")), 1);
    assert_null(json_object_get(json, "kept"));
    json_decref(json);
    rig->target.fail_create = NULL;
    run(rig);
    assert_string_equal(pair_of(rig, "a")->problem, "");
}

/* A compacted topic made with default settings would be deleted from. */
static void nothing_is_created_when_the_sources_settings_cannot_be_read(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "a", 1);
    rig->source.fail_settings = "a";
    run(rig);
    assert_null(fake_find(&rig->target, "a"));
    assert_non_null(strstr(pair_of(rig, "a")->problem, "cannot be read"));
}

static void many_topics_take_few_requests(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 60; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%02d", i);
        fake_add(&rig->source, name, 1);
    }
    run(rig);
    assert_int_equal(rig->target.creates_count, 2);
    assert_int_equal(rig->sync.pairs_count, 60);
}

/* ---- nothing new ---- */

static void a_turn_without_news_costs_two_lists(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "a", 1);
    fake_add(&rig->target, "a", 1);
    fake_add(&rig->source, "b", 1);
    run(rig);
    int source_lists = rig->source.lists_count;
    int target_lists = rig->target.lists_count;
    int settings = rig->source.settings_topics_count + rig->target.settings_topics_count;
    rig->now_ms += 2000;
    run(rig);
    assert_int_equal(rig->source.lists_count, source_lists + 1);
    assert_int_equal(rig->target.lists_count, target_lists + 1);
    assert_int_equal(rig->source.settings_topics_count + rig->target.settings_topics_count,
                     settings);
    assert_int_equal(rig->sync.pairs_count, 2);
}

static void what_was_changed_by_others_is_forced_again_after_a_minute(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "orders", 1);
    run(rig);
    fake_set(fake_find(&rig->target, "orders"), "compression.type", "zstd");
    rig->now_ms += 60000;
    run(rig);
    assert_string_equal(fake_own(fake_find(&rig->target, "orders"), "compression.type"),
                        "producer");
    /* It went on meanwhile, and what is given back is still what the source has: nothing of its own. */
    assert_non_null(strstr(rig->recorded, "\"topics\":[{"));
    assert_non_null(strstr(rig->sync.forced_json, "\"compression.type\":[null,\"producer\"]"));
}

static void a_larger_message_size_at_the_source_is_followed(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "orders", 1);
    run(rig);
    fake_set(fake_find(&rig->source, "orders"), "max.message.bytes", "5000000");
    rig->now_ms += 60000;
    run(rig);
    assert_string_equal(fake_own(fake_find(&rig->target, "orders"), "max.message.bytes"),
                        "5000000");
}

/* ---- settings that follow ---- */

static const char *at_target(struct rig *rig, const char *topic, const char *setting)
{
    const char *own = fake_own(fake_find(&rig->target, topic), setting);
    return own ? own : "-";
}

static void pass(struct rig *rig, int64_t ms)
{
    rig->now_ms += ms;
    run(rig);
}

static const json_t *drift(const struct rig *rig, size_t at, const char *key)
{
    return json_object_get(json_array_get(rig->sync.drifts, at), key);
}

static void a_setting_of_the_source_follows_through_its_life(void **state)
{
    struct rig *rig = *state;
    struct fake_topic *orders = fake_add(&rig->source, "orders", 1);
    fake_set(orders, "cleanup.policy", "compact");
    run(rig);
    assert_non_null(strstr(rig->sync.synced_json, "\"cleanup.policy\":[null,\"compact\"]"));
    fake_set(orders, "cleanup.policy", "compact,delete");
    pass(rig, 10000);
    assert_string_equal(at_target(rig, "orders", "cleanup.policy"), "compact,delete");
    assert_int_equal(json_array_size(rig->sync.news), 1);
    reload(rig); /* the next keeper knows what is ours */
    fake_set(orders, "cleanup.policy", NULL);
    pass(rig, 10000);
    assert_string_equal(at_target(rig, "orders", "cleanup.policy"), "-");
    assert_null(strstr(rig->sync.synced_json, "cleanup.policy"));
    pass(rig, 10000);
    assert_int_equal(json_array_size(rig->sync.news), 0);
    assert_int_equal(rig->sync.drifts_count, 0);
}

static void what_is_taken_back_is_what_stood_there_before(void **state)
{
    struct rig *rig = *state;
    struct fake_topic *orders = fake_add(&rig->source, "orders", 1);
    fake_set(orders, "cleanup.policy", "compact");
    fake_set(fake_add(&rig->target, "orders", 1), "cleanup.policy", "compact,delete");
    run(rig);
    /* Durable before it was changed. */
    assert_non_null(strstr(rig->recorded, "\"cleanup.policy\":[\"compact,delete\",\"compact\"]"));
    assert_string_equal(at_target(rig, "orders", "cleanup.policy"), "compact");
    fake_set(orders, "cleanup.policy", NULL);
    pass(rig, 10000);
    assert_string_equal(at_target(rig, "orders", "cleanup.policy"), "compact,delete");
}

static void a_keeper_killed_between_record_and_change_leaves_no_claim(void **state)
{
    struct rig *rig = *state;
    struct fake_topic *orders = fake_add(&rig->source, "orders", 1);
    fake_add(&rig->target, "orders", 1);
    run(rig);
    fake_set(orders, "cleanup.policy", "compact");
    rig->now_ms += 10000;
    rig->acts_left = 1; /* the record, not the change */
    assert_false(run_with(rig, true));
    assert_non_null(strstr(rig->recorded, "\"cleanup.policy\":[null,\"compact\"]"));
    fake_set(orders, "cleanup.policy", NULL);
    fake_set(fake_find(&rig->target, "orders"), "cleanup.policy", "delete"); /* somebody's */
    rig->acts_left = 1000;
    pass(rig, 10000);
    assert_string_equal(at_target(rig, "orders", "cleanup.policy"), "delete");
    assert_null(strstr(rig->sync.synced_json, "cleanup.policy"));
}

static void one_refused_setting_stops_no_other_and_is_named(void **state)
{
    struct rig *rig = *state;
    struct fake_topic *orders = fake_add(&rig->source, "orders", 1);
    fake_add(&rig->target, "orders", 1);
    fake_set(orders, "cleanup.policy", "compact");
    fake_set(orders, "max.compaction.lag.ms", "1");
    rig->target.defaults = more_defaults;
    rig->target.defaults_count = sizeof(more_defaults) / sizeof(more_defaults[0]);
    rig->target.refuse_setting = "max.compaction.lag.ms";
    run(rig);
    assert_string_equal(at_target(rig, "orders", "cleanup.policy"), "compact");
    assert_string_equal(pair_of(rig, "orders")->problem, "");
    assert_int_equal(rig->sync.drifts_count, 1);
    assert_string_equal(json_string_value(drift(rig, 0, "topic")), "orders");
    assert_string_equal(json_string_value(drift(rig, 0, "setting")), "max.compaction.lag.ms");
    assert_non_null(strstr(json_string_value(drift(rig, 0, "why")), "the target refuses it"));
    assert_null(strstr(rig->sync.synced_json, "max.compaction.lag.ms"));
    /* Not asked for again at each check, told at each turn. */
    int alters = rig->target.alters_count;
    pass(rig, 10000);
    pass(rig, 2000);
    assert_int_equal(rig->target.alters_count, alters);
    assert_int_equal(rig->sync.drifts_count, 1);
    rig->target.refuse_setting = NULL;
    pass(rig, 300000);
    assert_string_equal(at_target(rig, "orders", "max.compaction.lag.ms"), "1");
    assert_int_equal(rig->sync.drifts_count, 0);
}

/* It begins without the setting, and nothing is mirrored before the rest of them is there. */
static void a_topic_whose_creation_is_refused_for_a_setting_is_created_without(void **state)
{
    struct rig *rig = *state;
    struct fake_topic *orders = fake_add(&rig->source, "orders", 1);
    fake_set(orders, "cleanup.policy", "compact");
    fake_set(orders, "max.compaction.lag.ms", "1");
    fake_add(&rig->source, "other", 1);
    rig->target.defaults = more_defaults;
    rig->target.defaults_count = sizeof(more_defaults) / sizeof(more_defaults[0]);
    rig->target.refuse_setting = "max.compaction.lag.ms";
    run(rig);
    assert_non_null(fake_find(&rig->target, "orders"));
    assert_non_null(strstr(pair_of(rig, "orders")->problem, "just created"));
    assert_string_equal(pair_of(rig, "other")->problem, "");
    assert_string_equal(at_target(rig, "orders", "compression.type"), "producer");
    pass(rig, 2000);
    assert_string_equal(pair_of(rig, "orders")->problem, "");
    assert_string_equal(at_target(rig, "orders", "cleanup.policy"), "compact");
    assert_int_equal(rig->sync.drifts_count, 1);
    /* Still what is given back, and still what is taken back. */
    assert_non_null(strstr(rig->sync.forced_json, "\"compression.type\":[null,\"producer\"]"));
    assert_non_null(strstr(rig->sync.synced_json, "\"cleanup.policy\":[null,\"compact\"]"));
}

static void settings_that_may_not_be_changed_are_told(void **state)
{
    struct rig *rig = *state;
    struct fake_topic *orders = fake_add(&rig->source, "orders", 1);
    fake_add(&rig->target, "orders", 1);
    run(rig);
    fake_set(orders, "cleanup.policy", "compact");
    rig->target.fail_alter = "orders";
    pass(rig, 10000);
    assert_string_equal(pair_of(rig, "orders")->problem, "");
    assert_non_null(strstr(json_string_value(drift(rig, 0, "why")), "not authorized"));
    assert_null(strstr(rig->sync.synced_json, "cleanup.policy"));
    rig->target.fail_alter = NULL;
    pass(rig, 10000);
    assert_string_equal(at_target(rig, "orders", "cleanup.policy"), "compact");
}

static void before_a_term_nothing_follows(void **state)
{
    struct rig *rig = *state;
    fake_set(fake_add(&rig->source, "orders", 1), "cleanup.policy", "compact");
    fake_set(fake_add(&rig->target, "orders", 1), "message.timestamp.after.max.ms", MAX);
    assert_true(run_with(rig, false));
    assert_int_equal(rig->target.alters_count, 0);
    assert_int_equal(rig->sync.drifts_count, 0);
}

/* Whole requests of 100, the oldest first, so that each has its turn. */
static void many_topics_are_checked_in_turns(void **state)
{
    struct rig *rig = *state;
    const int *read = &rig->source.settings_topics_count;
    for (int i = 0; i < 130; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%03d", i);
        fake_add(&rig->source, name, 1);
    }
    rig->now_ms = 1000;
    run(rig);
    fake_set(fake_find(&rig->source, "t129"), "cleanup.policy", "compact");
    int before = *read;
    pass(rig, 10000);
    assert_int_equal(*read, before + 100);
    assert_string_equal(at_target(rig, "t129", "cleanup.policy"), "-");
    pass(rig, 2000);
    assert_int_equal(*read, before + 130);
    assert_string_equal(at_target(rig, "t129", "cleanup.policy"), "compact");
    pass(rig, 2000);
    assert_int_equal(*read, before + 130);
    topic_memory_recheck(rig->memory); /* another configuration: at once */
    pass(rig, 2000);
    assert_int_equal(*read, before + 230);
    fake_set(fake_find(&rig->source, "t129"), "cleanup.policy", NULL);
    pass(rig, 10000); /* all are due: those that waited longer come first */
    assert_int_equal(*read, before + 330);
    assert_string_equal(at_target(rig, "t129", "cleanup.policy"), "-");
}

static void what_differs_is_bounded_and_counted(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 60; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%02d", i);
        fake_add(&rig->source, name, 1);
        fake_add(&rig->target, name, 2); /* more than the source has */
    }
    fake_add(&rig->target, "ferry.x", 1);
    run(rig);
    json_t *report = topic_sync_report(&rig->sync);
    assert_int_equal(rig->sync.drifted_count, 60);
    assert_int_equal(json_array_size(json_object_get(report, "drift")), TOPIC_ROWS_MOST);
    assert_int_equal(json_integer_value(json_object_get(report, "drift_count")), 60);
    assert_int_equal(json_array_size(json_object_get(report, "not_mirrored")), TOPIC_ROWS_MOST);
    assert_int_equal(json_integer_value(json_object_get(report, "not_mirrored_count")), 60);
    assert_string_equal(json_string_value(drift(rig, 0, "setting")), "partitions");
    assert_string_equal(json_string_value(drift(rig, 0, "source")), "1");
    assert_string_equal(json_string_value(drift(rig, 0, "target")), "2");
    json_decref(report);
}

/* ---- a topic that stands there ---- */

static void old_values_are_durable_before_they_are_changed(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "orders", 1);
    fake_set(fake_add(&rig->target, "orders", 1), "compression.type", "zstd");
    run(rig);
    assert_string_equal(rig->target_then, "zstd");
    /* Not mirrored before its settings are forced, but what they were stands there. */
    assert_non_null(strstr(rig->recorded, "\"topics\":[]"));
    assert_non_null(strstr(rig->recorded, "\"compression.type\":[\"zstd\",\"producer\"]"));
    assert_string_equal(fake_own(fake_find(&rig->target, "orders"), "compression.type"),
                        "producer");
    assert_string_equal(pair_of(rig, "orders")->problem, "");
}

static void without_a_term_standing_topics_are_left_alone(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "orders", 1);
    fake_add(&rig->source, "new", 1);
    fake_set(fake_add(&rig->target, "orders", 1), "compression.type", "zstd");
    assert_true(run_with(rig, false));
    assert_int_equal(rig->target.alters_count, 0);
    assert_non_null(strstr(pair_of(rig, "orders")->problem, "not forced yet"));
    assert_string_equal(pair_of(rig, "new")->problem, "");
    run(rig);
    assert_string_equal(pair_of(rig, "orders")->problem, "");
}

static void settings_that_cannot_be_read_or_forced_are_that_topics_problem(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "a", 1);
    fake_add(&rig->target, "a", 1);
    fake_add(&rig->source, "b", 1);
    fake_add(&rig->target, "b", 1);
    fake_add(&rig->source, "c", 1);
    fake_add(&rig->target, "c", 1);
    rig->target.fail_settings = "a";
    rig->target.fail_alter = "b";
    run(rig);
    assert_non_null(strstr(pair_of(rig, "a")->problem, "cannot be read"));
    assert_non_null(strstr(pair_of(rig, "b")->problem, "cannot be forced"));
    assert_string_equal(pair_of(rig, "c")->problem, "");
    rig->target.fail_settings = NULL;
    rig->target.fail_alter = NULL;
    run(rig);
    assert_string_equal(pair_of(rig, "a")->problem, "");
    assert_string_equal(pair_of(rig, "b")->problem, "");
}

/* P8: what is mirrored goes on through a read that fails later. */
static void a_mirrored_topic_goes_on_when_its_settings_cannot_be_read(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "a", 1);
    run(rig);
    rig->target.fail_settings = "a";
    rig->now_ms += 60000;
    run(rig);
    assert_string_equal(pair_of(rig, "a")->problem, "");
    assert_non_null(strstr(pair_of(rig, "a")->warning, "cannot be read"));
}

static void a_source_that_hides_its_settings_is_only_a_warning_for_a_standing_topic(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "a", 1);
    fake_add(&rig->target, "a", 1);
    rig->source.fail_settings = "a";
    run(rig);
    assert_string_equal(pair_of(rig, "a")->problem, "");
    assert_non_null(strstr(pair_of(rig, "a")->warning, "not compared"));
}

/* ---- partitions ---- */

static void partitions_are_grown(void **state)
{
    struct rig *rig = *state;
    struct fake_topic *orders = fake_add(&rig->source, "orders", 2);
    run(rig);
    orders->partitions = 5;
    run(rig);
    assert_int_equal(fake_find(&rig->target, "orders")->partitions, 5);
    assert_int_equal(pair_of(rig, "orders")->target_partitions, 5);
}

static void partitions_that_cannot_be_grown_do_not_stop_the_others(void **state)
{
    struct rig *rig = *state;
    struct fake_topic *orders = fake_add(&rig->source, "orders", 2);
    run(rig);
    orders->partitions = 5;
    rig->target.fail_grow = "orders";
    run(rig);
    assert_string_equal(pair_of(rig, "orders")->problem, "");
    assert_non_null(strstr(pair_of(rig, "orders")->warning, "partitions 2 to 4 are missing"));
    json_t *json = record_json(rig);
    const json_t *topic = json_array_get(json_object_get(json, "topics"), 0);
    assert_int_equal(json_integer_value(json_object_get(topic, "partitions")), 2);
    json_decref(json);
}

static void more_partitions_at_the_target_are_a_problem_by_name(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "a", 2);
    fake_add(&rig->target, "a", 3);
    fake_add(&rig->source, "b", 2);
    run(rig);
    assert_non_null(strstr(pair_of(rig, "a")->problem, "3 partitions"));
    assert_string_equal(pair_of(rig, "b")->problem, "");
    assert_int_equal(rig->target.grows_count, 0);
}

/* What was forced on a topic that is not mirrored any more can still be given back. */
static void forced_settings_of_a_topic_with_a_problem_are_kept(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "orders", 1);
    fake_set(fake_add(&rig->target, "orders", 1), "compression.type", "zstd");
    run(rig);
    fake_find(&rig->target, "orders")->partitions = 9;
    reload(rig);
    run(rig);
    json_t *json = record_json(rig);
    const json_t *kept = json_object_get(json_object_get(json, "kept"), "orders");
    assert_int_equal(json_array_size(json_object_get(json, "topics")), 0);
    assert_string_equal(json_string_value(json_object_get(kept, "target_id")),
                        "00000000000000000000000000000066");
    const json_t *pair = json_object_get(json_object_get(kept, "forced"), "compression.type");
    assert_string_equal(json_string_value(json_array_get(pair, 0)), "zstd");
    json_decref(json);
    /* ... and through the next worker, too. */
    reload(rig);
    fake_find(&rig->target, "orders")->partitions = 1;
    run(rig);
    assert_non_null(strstr(rig->sync.forced_json, "\"compression.type\":[\"zstd\",\"producer\"]"));
}

static void a_recreated_target_topic_has_nothing_to_give_back(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "orders", 1);
    fake_set(fake_add(&rig->target, "orders", 1), "compression.type", "zstd");
    run(rig);
    fake_remove(&rig->target, "orders");
    run(rig);
    assert_null(strstr(rig->sync.forced_json, "zstd"));
    assert_string_equal(pair_of(rig, "orders")->problem, "");
}

static void what_was_forced_on_a_topic_is_not_given_back_to_its_successor(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "orders", 1);
    fake_set(fake_add(&rig->target, "orders", 1), "compression.type", "zstd");
    run(rig);
    fake_remove(&rig->target, "orders");
    fake_set(fake_add(&rig->target, "orders", 1), "compression.type", "lz4");
    run(rig);
    assert_non_null(strstr(rig->sync.forced_json, "\"compression.type\":[\"lz4\",\"producer\"]"));
}

/* ---- what the source does not list ---- */

static void a_topic_of_two_services_is_refused_by_name(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "shared", 1);
    run(rig);
    assert_int_equal(rig->sync.pairs_count, 1);
    assert_non_null(strstr(rig->sync.pairs[0].problem, "service \"t\" takes it too"));
    assert_null(fake_find(&rig->target, "shared"));
}

static void a_mirrored_topic_goes_on_when_another_service_takes_it_too(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "sharpd", 1);
    run(rig);
    run(rig);
    assert_string_equal(rig->sync.pairs[0].problem, "");
    /* as after a restart with another configuration */
    memcpy((char *)(uintptr_t)rig->config->services[1].topics.include[0].text, "sharp?", 6);
    run(rig);
    assert_string_equal(rig->sync.pairs[0].problem, "");
    assert_non_null(strstr(rig->sync.pairs[0].warning, "service \"t\" takes it too"));
}

static void a_deleted_topic_leaves_the_list(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "orders", 1);
    run(rig);
    fake_remove(&rig->source, "orders");
    run(rig);
    assert_string_equal(pair_of(rig, "orders")->problem, ""); /* it may come back at once */
    run(rig);
    assert_int_equal(rig->sync.pairs_count, 0);
    assert_non_null(fake_find(&rig->target, "orders")); /* nothing is ever deleted */
    assert_non_null(strstr(rig->sync.forced_json, "orders"));
    /* It is named, by the next keeper too, until its copy goes. */
    for (int keeper = 0; keeper < 2; keeper++) {
        json_t *report = topic_sync_report(&rig->sync);
        const json_t *row = json_array_get(json_object_get(report, "source_deleted"), 0);
        assert_string_equal(json_string_value(json_object_get(row, "topic")), "orders");
        assert_non_null(json_string_value(json_object_get(row, "since")));
        assert_int_equal(json_integer_value(json_object_get(report, "source_deleted_count")), 1);
        json_decref(report);
        reload(rig);
        run(rig);
    }
    fake_remove(&rig->target, "orders");
    run(rig);
    assert_string_equal(rig->sync.gone_json, "{}");
}

static void a_topic_that_the_source_has_again_is_not_called_deleted(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "orders", 1);
    run(rig);
    fake_remove(&rig->source, "orders");
    run(rig);
    run(rig);
    fake_add(&rig->source, "orders", 1);
    run(rig);
    assert_string_equal(rig->sync.gone_json, "{}");
    assert_string_equal(pair_of(rig, "orders")->problem, ""); /* its partitions fault by name */
}

/* Its place in the list is its partitions' owners: they would be taken away, and given back two turns later. */
static void a_topic_that_is_created_again_never_leaves_the_list(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "orders", 1);
    run(rig);
    for (int i = 0; i < 3; i++) { /* once is not twice, however often */
        fake_remove(&rig->source, "orders");
        run(rig);
        reload(rig); /* another keeper: it counts anew */
        run(rig);
        const struct topic_pair *pair = pair_of(rig, "orders");
        assert_non_null(pair);
        assert_string_equal(pair->problem, "");
        int id = fake_add(&rig->source, "orders", 1)->id;
        run(rig);
        pair = pair_of(rig, "orders");
        assert_non_null(pair);
        assert_int_equal(pair->source_id.bytes[15], id);
    }
}

/* Access that was taken away hides a topic from the list: its mirroring is not ended by that. */
static void a_hidden_topic_stays_in_the_list(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "orders", 4);
    fake_add(&rig->source, "a", 1);
    run(rig);
    fake_find(&rig->source, "orders")->hidden = true;
    reload(rig);
    run(rig);
    const struct topic_pair *pair = pair_of(rig, "orders");
    assert_non_null(pair);
    assert_int_equal(pair->source_partitions, 4);
    assert_int_equal(pair->source_id.bytes[15], 1);
    assert_string_equal(pair->problem, "");
    assert_true(pair->warning[0]);
}

static void a_list_that_fails_changes_nothing(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "orders", 1);
    run(rig);
    rig->source.away = true;
    assert_false(run_with(rig, true));
    assert_int_equal(rig->err.kind, ERR_RETRY);
    rig->source.away = false;
    run(rig);
    assert_int_equal(rig->sync.pairs_count, 1);
}

/* ---- the term ---- */

static void a_keeper_that_lost_its_term_changes_nothing(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "new", 1);
    rig->acts_left = 0;
    assert_false(run_with(rig, true));
    assert_null(fake_find(&rig->target, "new"));
    assert_int_equal(rig->target.creates_count, 0);
}

static void each_change_asks_again(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "new", 1);
    fake_add(&rig->source, "small", 2);
    fake_add(&rig->target, "small", 1);
    fake_add(&rig->source, "other", 1);
    fake_set(fake_add(&rig->target, "other", 1), "compression.type", "zstd");
    rig->acts_left = 3; /* the record, the creation, the growth; not the settings */
    assert_false(run_with(rig, true));
    assert_int_equal(rig->target.creates_count, 1);
    assert_int_equal(rig->target.grows_count, 1);
    assert_int_equal(rig->target.alters_count, 0);
    rig->acts_left = 1000;
    run(rig); /* the next keeper finishes it */
    assert_string_equal(pair_of(rig, "other")->problem, "");
    assert_non_null(strstr(rig->sync.forced_json, "zstd"));
}

static void what_was_looked_at_before_joining_is_not_looked_at_again(void **state)
{
    struct rig *rig = *state;
    fake_add(&rig->source, "orders", 1);
    assert_true(run_with(rig, false));
    int settings = rig->source.settings_topics_count + rig->target.settings_topics_count;
    topic_memory_load(rig->memory, NULL);
    run(rig);
    assert_int_equal(rig->source.settings_topics_count + rig->target.settings_topics_count,
                     settings);
    assert_non_null(strstr(rig->sync.forced_json, "\"compression.type\":[null,\"producer\"]"));
}

static void a_hostile_record_is_read_as_far_as_it_makes_sense(void **state)
{
    struct rig *rig = *state;
    static const char *const texts[] = {
        "",
        "[]",
        "{\"topics\": 5, \"kept\": []}",
        "{\"topics\": [5, {\"name\": 7}]}",
        "{\"topics\": [{\"name\": \"a\", \"target_id\": \"zz\", \"forced\": {\"x\": 1}}]}",
        "{\"kept\": {\"a\": 5, \"b\": {\"target_id\": null, \"forced\": []}}}",
        "{\"gone\": {\"orders\": 5, \"b\": {\"target_id\": null, \"since\": []}}}",
        "{\"topics\": [{\"name\": \"orders\", \"synced\": [], \"target_id\": "
        "\"00000000000000000000000000000066\"}], \"gone\": []}",
    };
    fake_add(&rig->source, "orders", 1);
    run(rig);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char *text = strdup(texts[i]);
        struct control_state control = state_of(rig, text);
        topic_memory_load(rig->memory, &control);
        free(control.topics);
        free(text);
        run(rig);
        assert_int_equal(rig->sync.pairs_count, 1);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_missing_topic_is_created_with_its_settings),
        TEST(the_record_names_ids_partitions_and_what_was_forced),
        TEST(reserved_topics_are_never_created),
        TEST(one_refused_creation_does_not_stop_the_others),
        TEST(nothing_is_created_when_the_sources_settings_cannot_be_read),
        TEST(many_topics_take_few_requests),
        TEST(a_turn_without_news_costs_two_lists),
        TEST(what_was_changed_by_others_is_forced_again_after_a_minute),
        TEST(a_larger_message_size_at_the_source_is_followed),
        TEST(a_setting_of_the_source_follows_through_its_life),
        TEST(what_is_taken_back_is_what_stood_there_before),
        TEST(a_keeper_killed_between_record_and_change_leaves_no_claim),
        TEST(one_refused_setting_stops_no_other_and_is_named),
        TEST(a_topic_whose_creation_is_refused_for_a_setting_is_created_without),
        TEST(settings_that_may_not_be_changed_are_told),
        TEST(before_a_term_nothing_follows),
        TEST(many_topics_are_checked_in_turns),
        TEST(what_differs_is_bounded_and_counted),
        TEST(old_values_are_durable_before_they_are_changed),
        TEST(without_a_term_standing_topics_are_left_alone),
        TEST(settings_that_cannot_be_read_or_forced_are_that_topics_problem),
        TEST(a_mirrored_topic_goes_on_when_its_settings_cannot_be_read),
        TEST(a_source_that_hides_its_settings_is_only_a_warning_for_a_standing_topic),
        TEST(partitions_are_grown),
        TEST(partitions_that_cannot_be_grown_do_not_stop_the_others),
        TEST(more_partitions_at_the_target_are_a_problem_by_name),
        TEST(forced_settings_of_a_topic_with_a_problem_are_kept),
        TEST(a_recreated_target_topic_has_nothing_to_give_back),
        TEST(what_was_forced_on_a_topic_is_not_given_back_to_its_successor),
        TEST(a_topic_of_two_services_is_refused_by_name),
        TEST(a_mirrored_topic_goes_on_when_another_service_takes_it_too),
        TEST(a_deleted_topic_leaves_the_list),
        TEST(a_topic_that_the_source_has_again_is_not_called_deleted),
        TEST(a_topic_that_is_created_again_never_leaves_the_list),
        TEST(a_hidden_topic_stays_in_the_list),
        TEST(a_list_that_fails_changes_nothing),
        TEST(a_keeper_that_lost_its_term_changes_nothing),
        TEST(each_change_asks_again),
        TEST(what_was_looked_at_before_joining_is_not_looked_at_again),
        TEST(a_hostile_record_is_read_as_far_as_it_makes_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
