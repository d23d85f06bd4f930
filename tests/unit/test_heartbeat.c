#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis.h>

#include "base/log.h"
#include "mirror/beat_rows.h"
#include "mirror/heartbeat.h"

/* ---- a Redis that keeps what it is asked and answers when told ---- */

struct asked {
    char words[4][512];
    int words_count;
    bool script;
    redis_reply_fn *done;
    void *arg;
};
struct redis {
    enum redis_state state;
    struct asked asked[64];
    size_t count;
};

enum redis_state redis_state(const struct redis *redis)
{
    return redis->state;
}

static void ask(struct redis *redis, bool script, int argc, const char **argv,
                const size_t *argv_len, redis_reply_fn *done, void *arg)
{
    assert_true(redis->count < 64);
    struct asked *asked = &redis->asked[redis->count++];
    *asked = (struct asked){.words_count = argc, .script = script, .done = done, .arg = arg};
    for (int i = 0; i < argc; i++) {
        snprintf(asked->words[i], sizeof(asked->words[i]), "%.*s", (int)argv_len[i], argv[i]);
    }
}

void redis_call(struct redis *redis, int argc, const char **argv, const size_t *argv_len,
                redis_reply_fn *done, void *arg)
{
    ask(redis, false, argc, argv, argv_len, done, arg);
}

void redis_call_script(struct redis *redis, struct redis_script *script, int keys_count, int argc,
                       const char **argv, const size_t *argv_len, redis_reply_fn *done, void *arg)
{
    assert_int_equal(keys_count, 1);
    if (strcmp(script->name, "beat_seen") == 0) { /* its own test is the fence's, on a real Redis */
        assert_int_equal(argc, 4);
        assert_string_equal(argv[0], "p:{orders}:a>b:beats");
        done(arg, NULL, NULL);
        return;
    }
    assert_string_equal(script->name, "order_delete");
    ask(redis, true, argc, argv, argv_len, done, arg);
}

/* ---- a loop with one timer, on a clock that we turn ---- */

struct loop_timer {
    void (*fired)(void *arg);
    void *arg;
    int64_t at_ms; /* -1 = not set */
    struct loop *loop;
};
struct loop {
    struct clock_fake clock;
    struct loop_timer timer;
};

const struct clock *loop_clock(const struct loop *loop)
{
    return &loop->clock.clock;
}

struct loop_timer *loop_timer_new(struct loop *loop, void (*fired)(void *arg), void *arg)
{
    loop->timer = (struct loop_timer){fired, arg, -1, loop};
    return &loop->timer;
}

void loop_timer_set(struct loop_timer *timer, int64_t delay_ms)
{
    timer->at_ms = loop_now_ms(timer->loop) + delay_ms;
}

void loop_timer_cancel(struct loop_timer *timer)
{
    timer->at_ms = -1;
}

void loop_timer_free(struct loop_timer *timer)
{
    timer->at_ms = -1;
}

/* ---- rig ---- */

struct rig {
    struct loop loop;
    struct redis redis;
    struct heartbeat *heartbeat;
    int orders_count;
    char order_topic[250];
    int32_t order_partition;
    char order_text[256];
    bool order_ours;
    struct heartbeat_role role; /* epoch 0 = none */
    struct heartbeat_role seen;
    int rows_count; /* of the report */
};

static json_t *report(void *arg)
{
    const struct rig *rig = arg;
    json_t *told = json_pack("{s:s}", "state", "mirroring");
    if (rig->rows_count > 0) {
        json_object_set_new(told, "partitions", json_array());
    }
    for (int i = 0; i < rig->rows_count; i++) {
        json_array_append_new(json_object_get(told, "partitions"), json_pack("{s:i}", "at", i));
    }
    return told;
}

static bool order(void *arg, const char *topic, int32_t partition, const json_t *json)
{
    struct rig *rig = arg;
    rig->orders_count++;
    snprintf(rig->order_topic, sizeof(rig->order_topic), "%s", topic);
    rig->order_partition = partition;
    char *text = json_dumps(json, JSON_COMPACT);
    snprintf(rig->order_text, sizeof(rig->order_text), "%s", text);
    free(text);
    return rig->order_ours;
}

static bool role(void *arg, struct heartbeat_role *out)
{
    const struct rig *rig = arg;
    *out = rig->role;
    return rig->role.epoch > 0;
}

static void role_seen(void *arg, const struct heartbeat_role *seen)
{
    ((struct rig *)arg)->seen = *seen;
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    log_set_level(LOG_ERROR);
    clock_fake_init(&rig->loop.clock, 1000000, 5);
    rig->redis.state = REDIS_READY;
    rig->order_ours = true;
    struct heartbeat_options options = {"p:", "orders", "a", "b", "w1"};
    struct heartbeat_callbacks callbacks = {report, order, role, role_seen, rig};
    rig->heartbeat = heartbeat_new(&rig->loop, &rig->redis, &options, &callbacks);
    *state = rig;
    return 0;
}

/* Every call gets its answer; the door promises that. */
static void answer_all(struct rig *rig, const redisReply *reply)
{
    struct err err = {.kind = ERR_RETRY};
    size_t count = rig->redis.count;
    struct asked asked[64];
    memcpy(asked, rig->redis.asked, sizeof(asked));
    rig->redis.count = 0;
    for (size_t i = 0; i < count; i++) {
        asked[i].done(asked[i].arg, reply, reply ? NULL : &err);
    }
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    heartbeat_free(rig->heartbeat);
    answer_all(rig, NULL); /* after it was freed */
    free(rig);
    return 0;
}

static void beat(struct rig *rig)
{
    struct loop_timer *timer = &rig->loop.timer;
    clock_fake_advance(&rig->loop.clock, 1000);
    if (timer->at_ms >= 0 && timer->at_ms <= loop_now_ms(&rig->loop)) {
        timer->at_ms = -1;
        timer->fired(timer->arg);
    }
}

static const struct asked *asked_for(const struct rig *rig, const char *word, const char *key)
{
    for (size_t i = 0; i < rig->redis.count; i++) {
        if (strcmp(rig->redis.asked[i].words[0], word) == 0 &&
            strcmp(rig->redis.asked[i].words[1], key) == 0) {
            return &rig->redis.asked[i];
        }
    }
    return NULL;
}

static const redisReply integer_reply = {.type = REDIS_REPLY_INTEGER, .integer = 1};

/* Answers HGETALL with one field, everything else with 1. */
static void answer_orders(struct rig *rig, const char *field, const char *value)
{
    redisReply name = {.type = REDIS_REPLY_STRING, .str = strdup(field), .len = strlen(field)};
    redisReply text = {.type = REDIS_REPLY_STRING, .str = strdup(value), .len = strlen(value)};
    redisReply *elements[] = {&name, &text};
    redisReply array = {.type = REDIS_REPLY_ARRAY, .elements = 2, .element = elements};
    size_t count = rig->redis.count;
    struct asked asked[64];
    memcpy(asked, rig->redis.asked, sizeof(asked));
    rig->redis.count = 0;
    for (size_t i = 0; i < count; i++) {
        bool orders = strcmp(asked[i].words[0], "HGETALL") == 0;
        asked[i].done(asked[i].arg, orders ? &array : &integer_reply, NULL);
    }
    free(name.str);
    free(text.str);
}

/* ---- the worker's line ---- */

static void each_second_the_report_is_written(void **state)
{
    struct rig *rig = *state;
    beat(rig);
    const struct asked *hset = asked_for(rig, "HSET", "p:{orders}:workers");
    assert_non_null(hset);
    assert_string_equal(hset->words[2], "w1");
    assert_string_equal(hset->words[3], "{\"state\":\"mirroring\",\"time_ms\":1005}");
    assert_non_null(asked_for(rig, "HGETALL", "p:{orders}:a>b:orders"));
}

static void many_rows_are_written_packed(void **state)
{
    struct rig *rig = *state;
    rig->rows_count = BEAT_ROWS_PLAIN + 1;
    beat(rig);
    const struct asked *hset = asked_for(rig, "HSET", "p:{orders}:workers");
    assert_non_null(hset);
    json_t *told = json_loads(hset->words[3], 0, NULL);
    assert_string_equal(json_string_value(json_object_get(told, "state")), "mirroring");
    assert_null(json_object_get(told, "partitions"));
    assert_true(beat_rows_unpack(told));
    assert_int_equal(json_array_size(json_object_get(told, "partitions")), BEAT_ROWS_PLAIN + 1);
    json_decref(told);
}

static void nothing_is_asked_of_a_redis_that_is_away(void **state)
{
    struct rig *rig = *state;
    rig->redis.state = REDIS_AWAY;
    heartbeat_fault(rig->heartbeat, "t", 1, json_object());
    beat(rig);
    assert_int_equal(rig->redis.count, 0);
    rig->redis.state = REDIS_READY;
    beat(rig);
    assert_non_null(asked_for(rig, "HSET", "p:{orders}:a>b:faults"));
}

static void a_slow_redis_is_not_asked_twice(void **state)
{
    struct rig *rig = *state;
    beat(rig);
    size_t count = rig->redis.count;
    beat(rig);
    beat(rig);
    assert_int_equal(rig->redis.count, count);
}

static void a_worker_that_stops_takes_its_line_away(void **state)
{
    struct rig *rig = *state;
    heartbeat_leave(rig->heartbeat);
    const struct asked *hdel = asked_for(rig, "HDEL", "p:{orders}:workers");
    assert_non_null(hdel);
    assert_string_equal(hdel->words[2], "w1");
    rig->redis.count = 0;
    hdel->done(hdel->arg, NULL, NULL);
    beat(rig);
    assert_int_equal(rig->redis.count, 0);
}

/* ---- the witness of roles ---- */

#define ID_1 "00000000000000000000000000000001"
#define ID_2 "00000000000000000000000000000002"

/* A beat, and the answer to its HGET of the role; everything else is answered with 1 afterwards. */
static void answer_role(struct rig *rig, const char *text)
{
    redisReply reply = {.type = text ? REDIS_REPLY_STRING : REDIS_REPLY_NIL,
                        .str = text ? strdup(text) : NULL,
                        .len = text ? strlen(text) : 0};
    beat(rig);
    const struct asked *hget = asked_for(rig, "HGET", "p:{orders}:roles");
    assert_non_null(hget);
    assert_string_equal(hget->words[2], "b"); /* the target, where the role stands */
    struct asked copy = *hget;
    size_t at = (size_t)(hget - rig->redis.asked);
    memmove(&rig->redis.asked[at], &rig->redis.asked[at + 1],
            (rig->redis.count - at - 1) * sizeof(struct asked));
    rig->redis.count--;
    copy.done(copy.arg, &reply, NULL);
    free(reply.str);
}

static void a_role_that_redis_does_not_know_is_remembered_there(void **state)
{
    struct rig *rig = *state;
    rig->role.epoch = 3;
    rig->role.topic_id.bytes[15] = 1;
    answer_role(rig, NULL);
    const struct asked *hset = asked_for(rig, "HSET", "p:{orders}:roles");
    assert_non_null(hset);
    assert_string_equal(hset->words[2], "b");
    assert_string_equal(hset->words[3], "{\"epoch\": 3, \"topic_id\": \"" ID_1 "\"}");
    assert_int_equal(rig->seen.epoch, 0);
}

static void a_higher_role_in_redis_is_told_and_stays(void **state)
{
    struct rig *rig = *state;
    rig->role.epoch = 3;
    answer_role(rig, "{\"epoch\": 4, \"topic_id\": \"" ID_2 "\"}");
    assert_int_equal(rig->seen.epoch, 4);
    assert_int_equal(rig->seen.topic_id.bytes[15], 2);
    assert_null(asked_for(rig, "HSET", "p:{orders}:roles"));
}

static void a_worker_without_a_trusted_role_writes_none(void **state)
{
    struct rig *rig = *state;
    answer_role(rig, NULL);
    assert_null(asked_for(rig, "HSET", "p:{orders}:roles"));
}

static void garbage_for_a_role_is_nothing_and_is_replaced(void **state)
{
    static const char *const garbage[] = {"",
                                          "{",
                                          "[]",
                                          "{\"epoch\": 9}",
                                          "{\"epoch\": -1, \"topic_id\": \"" ID_1 "\"}",
                                          "{\"epoch\": 9, \"topic_id\": \"12\"}"};
    struct rig *rig = *state;
    rig->role.epoch = 1;
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        answer_role(rig, garbage[i]);
        assert_int_equal(rig->seen.epoch, 0);
        assert_non_null(asked_for(rig, "HSET", "p:{orders}:roles"));
        answer_all(rig, &integer_reply);
    }
}

/* ---- faults ---- */

static void a_fault_is_repeated_until_redis_took_it(void **state)
{
    struct rig *rig = *state;
    heartbeat_fault(rig->heartbeat, "t", 7, json_pack("{s:s}", "why", "hole"));
    const struct asked *hset = asked_for(rig, "HSET", "p:{orders}:a>b:faults");
    assert_non_null(hset);
    assert_string_equal(hset->words[2], "t:7");
    assert_string_equal(hset->words[3], "{\"why\":\"hole\"}");
    answer_all(rig, NULL);
    beat(rig);
    assert_non_null(asked_for(rig, "HSET", "p:{orders}:a>b:faults"));
    answer_all(rig, &integer_reply);
    beat(rig);
    assert_null(asked_for(rig, "HSET", "p:{orders}:a>b:faults"));
}

/* Redis may be flushed without our connection noticing. */
static void a_fault_is_told_again_after_a_while(void **state)
{
    struct rig *rig = *state;
    heartbeat_fault(rig->heartbeat, "t", 7, json_object());
    answer_all(rig, &integer_reply);
    for (int i = 0; i < 30; i++) {
        beat(rig);
    }
    assert_non_null(asked_for(rig, "HSET", "p:{orders}:a>b:faults"));
}

static void a_cleared_fault_is_deleted_and_forgotten(void **state)
{
    struct rig *rig = *state;
    heartbeat_fault(rig->heartbeat, "t", 7, json_object());
    heartbeat_fault(rig->heartbeat, "t", 7, NULL); /* while the first is on its way */
    answer_all(rig, &integer_reply);
    beat(rig);
    const struct asked *hdel = asked_for(rig, "HDEL", "p:{orders}:a>b:faults");
    assert_non_null(hdel);
    assert_string_equal(hdel->words[2], "t:7");
    answer_all(rig, &integer_reply);
    for (int i = 0; i < 31; i++) {
        beat(rig);
    }
    assert_null(asked_for(rig, "HDEL", "p:{orders}:a>b:faults"));
}

/* The next owner tells what stands there now: a fault that it cleared does not come back. */
static void a_forgotten_fault_is_neither_told_nor_cleared(void **state)
{
    struct rig *rig = *state;
    heartbeat_fault(rig->heartbeat, "t", 7, json_object());
    heartbeat_fault(rig->heartbeat, "t", 8, json_object());
    heartbeat_forget(rig->heartbeat, "t", 7); /* while it is on its way */
    answer_all(rig, &integer_reply);
    for (int i = 0; i < 31; i++) {
        beat(rig);
    }
    const struct asked *hset = asked_for(rig, "HSET", "p:{orders}:a>b:faults");
    assert_non_null(hset);
    assert_string_equal(hset->words[2], "t:8");
    assert_null(asked_for(rig, "HDEL", "p:{orders}:a>b:faults"));
}

static void an_answer_to_a_forgotten_fault_confirms_no_later_one(void **state)
{
    struct rig *rig = *state;
    heartbeat_fault(rig->heartbeat, "t", 7, json_object());
    struct asked first = rig->redis.asked[0];
    rig->redis.count = 0;
    heartbeat_forget(rig->heartbeat, "t", 7);
    heartbeat_fault(rig->heartbeat, "t", 7, json_object()); /* ours again, faulted again */
    struct asked second = rig->redis.asked[0];
    rig->redis.count = 0;
    first.done(first.arg, &integer_reply, NULL);
    struct err away = {.kind = ERR_RETRY};
    second.done(second.arg, NULL, &away);
    beat(rig);
    assert_non_null(asked_for(rig, "HSET", "p:{orders}:a>b:faults"));
}

/* ---- orders ---- */

static void an_order_of_ours_is_taken_once_and_deleted(void **state)
{
    struct rig *rig = *state;
    beat(rig);
    answer_orders(rig, "my.topic:12", "{\"do\":\"retry\"}");
    assert_int_equal(rig->orders_count, 1);
    assert_string_equal(rig->order_topic, "my.topic");
    assert_int_equal(rig->order_partition, 12);
    assert_string_equal(rig->order_text, "{\"do\":\"retry\"}");
    assert_int_equal(rig->redis.count, 1);
    assert_true(rig->redis.asked[0].script);
    assert_string_equal(rig->redis.asked[0].words[0], "p:{orders}:a>b:orders");
    assert_string_equal(rig->redis.asked[0].words[1], "my.topic:12");
    assert_string_equal(rig->redis.asked[0].words[2], "{\"do\":\"retry\"}");
    /* The deletion's answer was lost: seen again, it is deleted again, not obeyed again. */
    answer_all(rig, NULL);
    beat(rig);
    answer_orders(rig, "my.topic:12", "{\"do\":\"retry\"}");
    assert_int_equal(rig->orders_count, 1);
    answer_all(rig, &integer_reply);
    /* Given anew after it was deleted, it is obeyed. */
    beat(rig);
    answer_orders(rig, "my.topic:12", "{\"do\":\"retry\"}");
    assert_int_equal(rig->orders_count, 2);
}

static void anothers_order_stays(void **state)
{
    struct rig *rig = *state;
    rig->order_ours = false;
    beat(rig);
    answer_orders(rig, "t:0", "{}");
    assert_int_equal(rig->orders_count, 1);
    assert_int_equal(rig->redis.count, 0);
}

static void garbage_is_deleted_and_never_handed_out(void **state)
{
    struct rig *rig = *state;
    static const char *const fields[][2] = {
        {"t",             "{}"       },
        {":1",            "{}"       },
        {"t:",            "{}"       },
        {"t:-1",          "{}"       },
        {"t:1x",          "{}"       },
        {"t:99999999999", "{}"       },
        {"t:1",           "[1]"      },
        {"t:1",           "{"        },
        {"t:1",           "\"retry\""},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        beat(rig);
        answer_orders(rig, fields[i][0], fields[i][1]);
        assert_int_equal(rig->orders_count, 0);
        assert_int_equal(rig->redis.count, 1);
        assert_true(rig->redis.asked[0].script);
        answer_all(rig, &integer_reply);
    }
}

static void an_order_that_is_too_long_is_garbage(void **state)
{
    struct rig *rig = *state;
    char *text = malloc(5001);
    memset(text, ' ', 5000);
    memcpy(text, "{}", 2);
    text[5000] = '\0';
    beat(rig);
    answer_orders(rig, "t:1", text);
    assert_int_equal(rig->orders_count, 0);
    free(text);
}

static void replies_of_another_type_are_nothing(void **state)
{
    struct rig *rig = *state;
    beat(rig);
    answer_all(rig, &integer_reply);
    redisReply number = {.type = REDIS_REPLY_INTEGER};
    redisReply *elements[] = {&number, &number, &number};
    redisReply array = {.type = REDIS_REPLY_ARRAY, .elements = 3, .element = elements};
    beat(rig);
    answer_all(rig, &array);
    redisReply empty = {.type = REDIS_REPLY_ARRAY};
    beat(rig);
    answer_all(rig, &empty);
    assert_int_equal(rig->orders_count, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_second_the_report_is_written),
        TEST(many_rows_are_written_packed),
        TEST(nothing_is_asked_of_a_redis_that_is_away),
        TEST(a_slow_redis_is_not_asked_twice),
        TEST(a_worker_that_stops_takes_its_line_away),
        TEST(a_role_that_redis_does_not_know_is_remembered_there),
        TEST(a_higher_role_in_redis_is_told_and_stays),
        TEST(a_worker_without_a_trusted_role_writes_none),
        TEST(garbage_for_a_role_is_nothing_and_is_replaced),
        TEST(a_fault_is_repeated_until_redis_took_it),
        TEST(a_fault_is_told_again_after_a_while),
        TEST(a_cleared_fault_is_deleted_and_forgotten),
        TEST(a_forgotten_fault_is_neither_told_nor_cleared),
        TEST(an_answer_to_a_forgotten_fault_confirms_no_later_one),
        TEST(an_order_of_ours_is_taken_once_and_deleted),
        TEST(anothers_order_stays),
        TEST(garbage_is_deleted_and_never_handed_out),
        TEST(an_order_that_is_too_long_is_garbage),
        TEST(replies_of_another_type_are_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
