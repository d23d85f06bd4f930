#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/log.h"
#include "config/config.h"
#include "mirror/keeper.h"
#include "tests/fake/admin_fake.h"

static const struct fake_setting defaults[] = {
    {"compression.type",       "producer"  },
    {"message.timestamp.type", "CreateTime"},
    {"max.message.bytes",      "1048588"   },
};

/* ---- a control topic that takes everything, or says no ---- */

struct written {
    char *key;
    char *value;
};
static struct fake_control {
    pthread_mutex_t mutex;
    struct written records[64];
    size_t count;
    int writers_count;
    enum err_kind fail; /* of the next write */
} control = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* Both sides of every rig: keeper_new() knows them by their site's name only. */
static struct admin source;
static struct admin target;

struct admin *admin_new(const char *site, const struct config_client *client, int32_t timeout_ms,
                        struct err *err)
{
    (void)client;
    (void)timeout_ms;
    (void)err;
    return strcmp(site, "a") == 0 ? &source : &target;
}

void admin_free(struct admin *admin)
{
    (void)admin;
}

struct control_writer {
    int number;
};

struct control_writer *control_writer_new(const struct config_client *client, const char *service,
                                          const char *role, struct err *err)
{
    (void)client;
    (void)err;
    assert_string_equal(service, "s");
    assert_string_equal(role, "keeper");
    struct control_writer *writer = calloc(1, sizeof(*writer));
    pthread_mutex_lock(&control.mutex);
    writer->number = ++control.writers_count;
    pthread_mutex_unlock(&control.mutex);
    return writer;
}

bool control_writer_is_old(struct control_writer *writer)
{
    (void)writer;
    return false;
}

void control_writer_free(struct control_writer *writer)
{
    free(writer);
}

bool control_write(struct control_writer *writer, const struct control_record *records,
                   size_t count, struct err *err)
{
    (void)writer;
    pthread_mutex_lock(&control.mutex);
    enum err_kind fail = control.fail;
    control.fail = ERR_NONE;
    for (size_t i = 0; i < count && fail == ERR_NONE; i++) {
        struct written *slot = &control.records[control.count++];
        slot->key = strdup(records[i].key);
        slot->value = strdup(records[i].value);
    }
    pthread_mutex_unlock(&control.mutex);
    return fail == ERR_NONE || err_set(err, fail, "the writer was fenced");
}

static size_t count_of(const char *key)
{
    size_t count = 0;
    pthread_mutex_lock(&control.mutex);
    for (size_t i = 0; i < control.count; i++) {
        count += strcmp(control.records[i].key, key) == 0;
    }
    pthread_mutex_unlock(&control.mutex);
    return count;
}

static const char *last_of(const char *key)
{
    const char *value = "";
    pthread_mutex_lock(&control.mutex);
    for (size_t i = 0; i < control.count; i++) {
        if (strcmp(control.records[i].key, key) == 0) {
            value = control.records[i].value; /* stays until teardown */
        }
    }
    pthread_mutex_unlock(&control.mutex);
    return value;
}

static size_t records_count(void)
{
    pthread_mutex_lock(&control.mutex);
    size_t count = control.count;
    pthread_mutex_unlock(&control.mutex);
    return count;
}

static void fail_next_write(enum err_kind kind)
{
    pthread_mutex_lock(&control.mutex);
    control.fail = kind;
    pthread_mutex_unlock(&control.mutex);
}

/* ---- rig ---- */

struct rig {
    struct config *config;
    struct loop *loop;
    struct keeper *keeper;
    struct control_state state;
    int synced_count;
    int failed_count;
    int trouble_count;
    char last_error[ERR_WHAT_BYTES];
    size_t last_pairs_count;
    int gone_count; /* answers */
    char gone[200]; /* the last one */
};

static void on_synced(void *arg, const struct topic_sync *sync, const struct err *err)
{
    struct rig *rig = arg;
    if (sync) {
        rig->synced_count++;
        rig->last_pairs_count = sync->pairs_count;
    } else {
        rig->failed_count++;
        snprintf(rig->last_error, sizeof(rig->last_error), "%s", err->what);
    }
}

static void on_gone(void *arg, const json_t *topics)
{
    struct rig *rig = arg;
    const char *topic;
    json_t *word;
    rig->gone_count++;
    rig->gone[0] = '\0';
    json_object_foreach ((json_t *)(uintptr_t)topics, topic, word) {
        size_t len = strlen(rig->gone);
        snprintf(rig->gone + len, sizeof(rig->gone) - len, "%s ", topic);
    }
}

static void on_trouble(void *arg, const struct err *err)
{
    struct rig *rig = arg;
    assert_int_equal(err->kind, ERR_FATAL);
    rig->trouble_count++;
}

static int setup(void **state)
{
    static const char text[] = "{\"deployment\": \"test\", \"sites\": {"
                               "\"a\": {\"kafka\": {\"bootstrap.servers\": \"localhost:1\"}},"
                               "\"b\": {\"kafka\": {\"bootstrap.servers\": \"localhost:2\"}}},"
                               "\"services\": {\"s\": {\"home\": \"a\", \"others\": [\"b\"], "
                               "\"topics\": {\"include\": [\"*\"]}}}}";
    struct rig *rig = calloc(1, sizeof(*rig));
    struct err err;
    log_set_level(LOG_ERROR);
    rig->config = config_parse(text, strlen(text), "test", &err);
    assert_non_null(rig->config);
    fake_init(&source, 1, defaults, sizeof(defaults) / sizeof(defaults[0]));
    fake_init(&target, 101, defaults, sizeof(defaults) / sizeof(defaults[0]));
    fake_add(&target, "ferry.control.s", 1);
    fake_add(&source, "orders", 2);
    control.count = 0;
    control.writers_count = 0;
    control.fail = ERR_NONE;
    rig->loop = loop_new(clock_system());
    struct keeper_options options = {.service = &rig->config->services[0],
                                     .from = config_site(rig->config, "a"),
                                     .to = config_site(rig->config, "b"),
                                     .worker = "w1",
                                     .path = PATH_BATCHES,
                                     .interval_ms = 20};
    struct keeper_callbacks callbacks = {
        .synced = on_synced, .gone = on_gone, .trouble = on_trouble, .arg = rig};
    rig->keeper = keeper_new(rig->loop, &options, &callbacks);
    rig->state.role_epoch = 1;
    rig->state.end_offset = 1;
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    keeper_free(rig->keeper);
    loop_run_once(rig->loop, 10); /* what was posted is dropped */
    loop_free(rig->loop);
    config_free(rig->config);
    for (size_t i = 0; i < control.count; i++) {
        free(control.records[i].key);
        free(control.records[i].value);
    }
    free(rig);
    return 0;
}

static void show(struct rig *rig)
{
    rig->state.read_ms = loop_now_ms(rig->loop);
    keeper_control(rig->keeper, &rig->state);
}

static void act(struct rig *rig)
{
    keeper_act(rig->keeper, loop_now_ms(rig->loop) + 6000);
}

static bool created(const char *topic)
{
    FAKE_LOCKED;
    return fake_find(&target, topic) != NULL;
}

static int lists_count(void)
{
    FAKE_LOCKED;
    return source.lists_count;
}

static int writers_count(void)
{
    pthread_mutex_lock(&control.mutex);
    int count = control.writers_count;
    pthread_mutex_unlock(&control.mutex);
    return count;
}

static void wait_until(struct rig *rig, const int *counter, int at_least)
{
    for (int i = 0; i < 300 && *counter < at_least; i++) {
        loop_run_once(rig->loop, 10);
    }
    assert_true(*counter >= at_least);
}

static void wait_a_while(struct rig *rig)
{
    for (int i = 0; i < 15; i++) { /* many intervals */
        loop_run_once(rig->loop, 10);
    }
}

/* ---- tests ---- */

static void nothing_is_done_without_being_asked(void **state)
{
    struct rig *rig = *state;
    show(rig);
    wait_a_while(rig);
    assert_int_equal(lists_count(), 0);
    assert_int_equal(writers_count(), 0);
}

static void a_term_writes_streams_keeper_and_topics_once(void **state)
{
    struct rig *rig = *state;
    act(rig);
    show(rig);
    wait_until(rig, &rig->synced_count, 4);
    assert_int_equal(count_of("streams"), 1);
    assert_int_equal(count_of("keeper"), 1);
    assert_int_equal(count_of("topics"), 1); /* though the reader has seen none of them yet */
    assert_non_null(strstr(last_of("streams"), "\"epoch\":1"));
    assert_non_null(strstr(last_of("keeper"), "\"worker\":\"w1\""));
    assert_non_null(strstr(last_of("topics"), "\"epoch\":1"));
    assert_non_null(strstr(last_of("topics"), "\"name\":\"orders\""));
    assert_true(created("orders"));
    assert_int_equal(writers_count(), 1);
}

static void nothing_is_done_with_an_old_view_of_the_control_topic(void **state)
{
    struct rig *rig = *state;
    rig->state.read_ms = loop_now_ms(rig->loop) - 1000;
    act(rig);
    keeper_control(rig->keeper, &rig->state);
    wait_a_while(rig);
    assert_int_equal(writers_count(), 0);
    show(rig);
    wait_until(rig, &rig->synced_count, 1);
}

static void nothing_is_done_past_the_deadline(void **state)
{
    struct rig *rig = *state;
    keeper_act(rig->keeper, loop_now_ms(rig->loop) - 1);
    show(rig);
    wait_a_while(rig);
    assert_int_equal(writers_count(), 0);
}

static void nothing_is_done_without_a_role_or_during_an_operation(void **state)
{
    struct rig *rig = *state;
    rig->state.role_epoch = 0;
    act(rig);
    show(rig);
    wait_a_while(rig);
    rig->state.role_epoch = 1;
    rig->state.operation_open = true;
    rig->state.end_offset++;
    show(rig);
    wait_a_while(rig);
    assert_int_equal(writers_count(), 0);
    rig->state.operation_open = false;
    rig->state.end_offset++;
    show(rig);
    wait_until(rig, &rig->synced_count, 1);
}

static void an_older_configuration_does_nothing_and_says_so(void **state)
{
    struct rig *rig = *state;
    rig->state.streams_epoch = 2;
    rig->state.streams_hash = 1;
    rig->state.streams_previous[0] = config_streams_hash(&rig->config->services[0], PATH_BATCHES);
    rig->state.streams_previous_count = 1;
    act(rig);
    show(rig);
    wait_until(rig, &rig->failed_count, 1);
    assert_non_null(strstr(rig->last_error, "older than the newest in the control topic"));
    assert_int_equal(records_count(), 0);
    assert_false(created("orders"));
}

static void a_newer_configuration_raises_the_epoch(void **state)
{
    struct rig *rig = *state;
    rig->state.streams_epoch = 2;
    rig->state.streams_hash = 1;
    act(rig);
    show(rig);
    wait_until(rig, &rig->synced_count, 1);
    assert_non_null(strstr(last_of("streams"), "\"epoch\":3"));
    assert_non_null(strstr(last_of("streams"), "\"previous\":[\"0000000000000001\"]"));
}

/* A configuration that was read again: its hash is the newest, its topics come, and nothing of the one before is used. */
static void a_reload_raises_the_epoch_and_the_list(void **state)
{
    struct rig *rig = *state;
    static const char text[] = "{\"deployment\": \"test\", \"sites\": {"
                               "\"a\": {\"kafka\": {\"bootstrap.servers\": \"localhost:1\"}},"
                               "\"b\": {\"kafka\": {\"bootstrap.servers\": \"localhost:2\"}}},"
                               "\"services\": {\"s\": {\"home\": \"a\", \"others\": [\"b\"], "
                               "\"topics\": {\"include\": [\"pay*\"]}}}}";
    struct err err;
    act(rig);
    show(rig);
    wait_until(rig, &rig->synced_count, 1);
    {
        FAKE_LOCKED;
        fake_add(&source, "payments", 1);
    }
    struct config *fresh = config_parse(text, strlen(text), "test", &err);
    assert_non_null(fresh);
    keeper_reload(rig->keeper, &fresh->services[0]);
    keeper_reload(rig->keeper, &fresh->services[0]); /* twice before a turn */
    config_free(fresh);
    wait_until(rig, &rig->synced_count, rig->synced_count + 2);
    assert_int_equal(count_of("streams"), 2);
    assert_non_null(strstr(last_of("streams"), "\"epoch\":2"));
    assert_non_null(strstr(last_of("topics"), "payments"));
    assert_null(strstr(last_of("topics"), "\"name\":\"orders\""));
}

static void a_new_topic_raises_the_lists_epoch(void **state)
{
    struct rig *rig = *state;
    act(rig);
    show(rig);
    wait_until(rig, &rig->synced_count, 1);
    {
        FAKE_LOCKED;
        fake_add(&source, "payments", 1);
    }
    wait_until(rig, &rig->synced_count, rig->synced_count + 2);
    assert_int_equal(count_of("topics"), 2);
    assert_non_null(strstr(last_of("topics"), "\"epoch\":2"));
    assert_non_null(strstr(last_of("topics"), "payments"));
}

/* Thousands of topics that appear little by little: behind each list the workers share out all partitions again. */
static void a_large_list_is_not_written_again_at_once(void **state)
{
    struct rig *rig = *state;
    {
        FAKE_LOCKED;
        fake_add(&source, "many", 700);
    }
    act(rig);
    show(rig);
    wait_until(rig, &rig->synced_count, 1);
    {
        FAKE_LOCKED;
        fake_add(&source, "payments", 1);
    }
    wait_a_while(rig);
    assert_int_equal(count_of("topics"), 1);
    wait_until(rig, &rig->synced_count, 2); /* 0.7 s later */
    assert_int_equal(count_of("topics"), 2);
    assert_non_null(strstr(last_of("topics"), "payments"));
}

/* Also when the list is not the first of its term; and what is not mirrored is not shared out. */
static void only_what_is_shared_out_is_waited_for(void **state)
{
    struct rig *rig = *state;
    act(rig);
    show(rig);
    wait_until(rig, &rig->synced_count, 2); /* one without news */
    {
        FAKE_LOCKED;
        target.fail_create = "huge";
        fake_add(&source, "huge", 100000);
        fake_add(&source, "payments", 1);
    }
    for (int i = 0; i < 300 && count_of("topics") < 2; i++) {
        loop_run_once(rig->loop, 10);
    }
    assert_non_null(strstr(last_of("topics"), "payments"));
    wait_until(rig, &rig->synced_count, rig->synced_count + 3); /* huge has a problem: no rest */
    {
        FAKE_LOCKED;
        fake_add(&source, "many", 20000);
    }
    for (int i = 0; i < 300 && count_of("topics") < 3; i++) {
        loop_run_once(rig->loop, 10);
    }
    assert_non_null(strstr(last_of("topics"), "many"));
    int lists = lists_count();
    wait_a_while(rig);
    assert_in_range(lists_count(), lists, lists + 1);
}

/* However many topics there are, the brokers have four fifths of the time for others. */
static void a_turn_that_took_long_is_rested_from(void **state)
{
    struct rig *rig = *state;
    source.slow_ms = 100;
    act(rig);
    show(rig);
    wait_until(rig, &rig->synced_count, 2); /* the first writes the list */
    int lists = lists_count();
    int64_t until_ms = loop_now_ms(rig->loop) + 1200;
    while (loop_now_ms(rig->loop) < until_ms) {
        show(rig);
        loop_run_once(rig->loop, 10);
    }
    assert_in_range(lists_count() - lists, 1, 3); /* with an interval alone some ten */
}

/* A broker that answers late, or not at all, says nothing of how large its cluster is. */
static void a_turn_that_failed_is_tried_again_soon(void **state)
{
    struct rig *rig = *state;
    source.slow_ms = 500;
    source.away = true;
    act(rig);
    for (int i = 0; i < 280 && rig->failed_count < 3; i++) {
        show(rig);
        loop_run_once(rig->loop, 10);
    }
    assert_true(rig->failed_count >= 3);
}

static void what_a_rest_is(void **state)
{
    (void)state;
    assert_int_equal(keeper_rest_ms(2000, true, 100, 0), 2000);
    assert_int_equal(keeper_rest_ms(2000, true, 500, 0), 2000);
    assert_int_equal(keeper_rest_ms(2000, true, 501, 0), 2004);
    assert_int_equal(keeper_rest_ms(2000, true, 6000, 0), 20000);
    assert_int_equal(keeper_rest_ms(2000, false, 6000, 0), 2000); /* it failed, or made topics */
    assert_int_equal(keeper_rest_ms(2000, false, 10, 2001), 2001);
    assert_int_equal(keeper_rest_ms(2000, false, 10, 200000), 20000);
}

static void the_next_term_reads_what_stands_there(void **state)
{
    struct rig *rig = *state;
    act(rig);
    show(rig);
    wait_until(rig, &rig->synced_count, 1);
    /* The reader catches up, the term ends, another begins. */
    rig->state.end_offset += 6;
    rig->state.streams_epoch = 1;
    rig->state.streams_hash = config_streams_hash(&rig->config->services[0], PATH_BATCHES);
    rig->state.has_topics = true;
    rig->state.topics_epoch = 1;
    rig->state.topics_json = strdup(last_of("topics"));
    keeper_act(rig->keeper, 0);
    wait_a_while(rig);
    int before = rig->synced_count;
    source.slow_ms =
        600; /* the first turn looks at every topic: it says nothing of the next ones */
    act(rig);
    for (int i = 0; i < 280 && rig->synced_count < before + 2; i++) {
        show(rig);
        loop_run_once(rig->loop, 10);
    }
    assert_true(rig->synced_count >= before + 2);
    assert_int_equal(writers_count(), 2); /* fences who was keeper in between */
    assert_int_equal(count_of("streams"), 1);
    assert_int_equal(count_of("keeper"), 2);
    assert_int_equal(count_of("topics"), 1);
    free(rig->state.topics_json);
}

static void a_fenced_keeper_stops_and_tells(void **state)
{
    struct rig *rig = *state;
    fail_next_write(ERR_FATAL);
    act(rig);
    show(rig);
    wait_until(rig, &rig->trouble_count, 1);
    act(rig); /* the next renewal, too soon to come back */
    show(rig);
    wait_a_while(rig);
    assert_int_equal(records_count(), 0);
    assert_int_equal(rig->trouble_count, 1);
    assert_int_equal(writers_count(), 1);
}

static void a_write_that_fails_for_now_is_tried_again(void **state)
{
    struct rig *rig = *state;
    fail_next_write(ERR_RETRY);
    act(rig);
    show(rig);
    wait_until(rig, &rig->failed_count, 1);
    wait_until(rig, &rig->synced_count, 1);
    assert_int_equal(count_of("streams"), 1);
}

static void preparing_creates_topics_and_writes_no_record(void **state)
{
    struct rig *rig = *state;
    keeper_prepare(rig->keeper);
    wait_until(rig, &rig->synced_count, 1);
    assert_true(created("orders"));
    assert_int_equal(rig->last_pairs_count, 1);
    assert_int_equal(writers_count(), 0);
}

static void a_list_that_fails_is_told(void **state)
{
    struct rig *rig = *state;
    source.away = true;
    keeper_prepare(rig->keeper);
    wait_until(rig, &rig->failed_count, 1);
    assert_non_null(strstr(rig->last_error, "time is up"));
}

/* Both clusters' word about the very name: what is hidden, or cannot be asked for, is not gone. */
static void what_neither_side_has_is_told_to_who_asked(void **state)
{
    struct rig *rig = *state;
    {
        FAKE_LOCKED;
        fake_add(&source, "hidden", 1)->hidden = true;
        fake_add(&target, "copy", 1);
        fake_add(&target, "covered", 1)->hidden = true;
    }
    keeper_ask(rig->keeper, json_pack("[s]", "orders"));
    act(rig);
    keeper_ask(rig->keeper,
               json_pack("[ssssssi]", "orders", "hidden", "copy", "covered", "no", "nor", 7));
    show(rig);
    wait_until(rig, &rig->gone_count, 1);
    assert_true(rig->synced_count >= 1);
    assert_string_equal(rig->gone, "no nor ");
    wait_a_while(rig);
    assert_int_equal(rig->gone_count, 1); /* once a question */
    json_t *many = json_array();
    char name[20];
    for (int i = 0; i < KEEPER_ASKED_MOST + 1; i++) {
        snprintf(name, sizeof(name), "%c", 'a' + i);
        json_array_append_new(many, json_string(name));
    }
    keeper_ask(rig->keeper, many);
    wait_until(rig, &rig->gone_count, 2);
    assert_int_equal(strlen(rig->gone), 2 * KEEPER_ASKED_MOST);
    {
        FAKE_LOCKED;
        source.away = true; /* nothing is known */
    }
    keeper_ask(rig->keeper, json_pack("[s]", "no"));
    wait_until(rig, &rig->failed_count, 2);
    assert_int_equal(rig->gone_count, 2);
    keeper_ask(rig->keeper, json_pack("[s]", "no")); /* never answered: freed */
}

/* teardown frees it in the middle of everything */
static void it_can_be_freed_at_any_time(void **state)
{
    struct rig *rig = *state;
    keeper_prepare(rig->keeper);
    act(rig);
    show(rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_done_without_being_asked),
        TEST(a_term_writes_streams_keeper_and_topics_once),
        TEST(nothing_is_done_with_an_old_view_of_the_control_topic),
        TEST(nothing_is_done_past_the_deadline),
        TEST(nothing_is_done_without_a_role_or_during_an_operation),
        TEST(an_older_configuration_does_nothing_and_says_so),
        TEST(a_newer_configuration_raises_the_epoch),
        TEST(a_reload_raises_the_epoch_and_the_list),
        TEST(a_new_topic_raises_the_lists_epoch),
        TEST(a_large_list_is_not_written_again_at_once),
        TEST(only_what_is_shared_out_is_waited_for),
        TEST(a_turn_that_took_long_is_rested_from),
        TEST(a_turn_that_failed_is_tried_again_soon),
        cmocka_unit_test(what_a_rest_is),
        TEST(the_next_term_reads_what_stands_there),
        TEST(a_fenced_keeper_stops_and_tells),
        TEST(a_write_that_fails_for_now_is_tried_again),
        TEST(preparing_creates_topics_and_writes_no_record),
        TEST(a_list_that_fails_is_told),
        TEST(what_neither_side_has_is_told_to_who_asked),
        TEST(it_can_be_freed_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
