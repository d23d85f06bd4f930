#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kafka/control_records.h"

#define ID "0123456789abcdef0123456789abcdef"
#define TOPIC(name) \
    "{\"name\":\"" name "\",\"source_id\":\"" ID "\",\"target_id\":\"" ID "\",\"partitions\":3}"

static struct control_records *records;
static struct err err;

static int setup(void **state)
{
    (void)state;
    records = control_records_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    control_records_free(records);
    return 0;
}

static bool put(const char *key, const char *value)
{
    err = (struct err){0};
    return control_records_put(records, key, strlen(key), value, value ? strlen(value) : 0, &err);
}

static struct control_state *now(void)
{
    return control_records_state(records);
}

static void test_nothing_written_is_no_role(void **state)
{
    (void)state;
    struct control_state *empty = now();
    assert_int_equal(empty->role_epoch, 0);
    assert_string_equal(empty->primary, "");
    assert_null(empty->role_json);
    assert_null(empty->acls_json);
    assert_null(empty->path_json);
    assert_int_equal(empty->path, PATH_AUTO);
    assert_int_equal(empty->streams_path, PATH_AUTO);
    assert_int_equal(empty->streams_epoch, 0);
    assert_false(empty->has_topics);
    assert_false(empty->paused);
    assert_false(empty->operation_open);
    assert_null(control_records_bad(records));
    control_state_free(empty);
}

static void test_each_key_is_read(void **state)
{
    (void)state;
    assert_true(put("role", "{\"epoch\":3,\"primary\":\"hz\",\"secondaries\":[\"sh\"]}"));
    assert_true(put("streams", "{\"epoch\":2,\"hash\":\"00000000000000ff\",\"previous\":"
                               "[\"0000000000000001\"],\"path\":\"records\"}"));
    assert_true(put("path", "{\"path\":\"batches\",\"why\":\"it does all\"}"));
    assert_true(put("topics", "{\"epoch\":5,\"topics\":[" TOPIC("a") "," TOPIC("b") "]}"));
    assert_true(put("keeper", "{\"worker\":\"w1\",\"since\":\"now\"}"));
    assert_true(put("order", "{\"state\":\"pause\"}"));
    assert_true(put("fence", "{\"topics\":{\"a\":{\"ours\":[\"User:x\"]}}}"));
    assert_true(put("dns", "{\"epoch\":1,\"records\":{\"kafka.dr.test\":{}}}"));
    assert_true(put("acls", "{\"ours\":[[\"Allow\"]]}"));
    struct control_state *got = now();
    assert_int_equal(got->role_epoch, 3);
    assert_string_equal(got->primary, "hz");
    assert_non_null(strstr(got->role_json, "secondaries"));
    assert_int_equal(got->streams_epoch, 2);
    assert_int_equal(got->streams_hash, 0xff);
    assert_int_equal(got->streams_previous_count, 1);
    assert_int_equal(got->streams_previous[0], 1);
    assert_true(got->has_topics);
    assert_int_equal(got->topics_epoch, 5);
    assert_int_equal(got->topics_count, 2);
    assert_string_equal(got->topics[1].name, "b");
    assert_int_equal(got->topics[1].partitions_count, 3);
    assert_int_equal(got->topics[1].target_id.bytes[0], 0x01);
    assert_string_equal(got->keeper, "w1");
    assert_true(got->paused);
    assert_non_null(strstr(got->fence_json, "User:x"));
    assert_non_null(strstr(got->dns_json, "kafka.dr.test"));
    assert_non_null(strstr(got->acls_json, "Allow"));
    assert_int_equal(got->streams_path, PATH_RECORDS);
    assert_int_equal(got->path, PATH_BATCHES);
    assert_non_null(strstr(got->path_json, "it does all"));
    control_state_free(got);
}

static void test_tombstones_take_back(void **state)
{
    (void)state;
    test_each_key_is_read(state);
    static const char *const keys[] = {"role",  "streams", "topics", "keeper", "order",
                                       "fence", "acls",    "dns",    "path"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        assert_true(put(keys[i], NULL));
    }
    test_nothing_written_is_no_role(state);
}

/* Each of these changes nothing, is told with its key's name, and is forgotten with the next good record. */
static const struct {
    const char *key;
    const char *bad;
    const char *good;
} hostile[] = {
    {"role",    "",                                                              NULL                                         },
    {"role",    "null",                                                          NULL                                         },
    {"role",    "[]",                                                            NULL                                         },
    {"role",    "{\"epoch\":1,\"primary\":\"x\"} trailing",                      NULL                                         },
    {"role",    "{\"epoch\":1,\"epoch\":2,\"primary\":\"x\"}",                   NULL                                         },
    {"role",    "{\"epoch\":0,\"primary\":\"x\"}",                               NULL                                         },
    {"role",    "{\"epoch\":-1,\"primary\":\"x\"}",                              NULL                                         },
    {"role",    "{\"epoch\":9223372036854775807,\"primary\":\"x\"}",             NULL                                         },
    {"role",    "{\"epoch\":9223372036854775808,\"primary\":\"x\"}",             NULL                                         },
    {"role",    "{\"epoch\":1.5,\"primary\":\"x\"}",                             NULL                                         },
    {"role",    "{\"epoch\":\"1\",\"primary\":\"x\"}",                           NULL                                         },
    {"role",    "{\"epoch\":1}",                                                 NULL                                         },
    {"role",    "{\"epoch\":1,\"primary\":\"\"}",                                NULL                                         },
    {"role",    "{\"epoch\":1,\"primary\":7}",                                   NULL                                         },
    {"streams", "{\"epoch\":1,\"hash\":\"00000000000000ff\",\"path\":\"auto\"}",
     "{\"epoch\":1,\"hash\":\"00000000000000ff\"}"                                                                            },
    {"path",    "{\"path\":\"auto\"}",                                           "{\"path\":\"records\"}"                     },
    {"path",    "{\"why\":\"x\"}",                                               "{\"path\":\"batches\"}"                     },
    {"path",    "{\"path\":1}",                                                  "{\"path\":\"batches\"}"                     },
    {"streams", "{\"epoch\":1}",                                                 "{\"epoch\":1,\"hash\":\"00000000000000ff\"}"},
    {"streams", "{\"epoch\":1,\"hash\":\"ff\"}",                                 "{\"epoch\":1,\"hash\":\"00000000000000ff\"}"},
    {"streams", "{\"epoch\":1,\"hash\":\"00000000000000FG\"}",
     "{\"epoch\":1,\"hash\":\"00000000000000ff\"}"                                                                            },
    {"streams", "{\"epoch\":1,\"hash\":\"00000000000000ff\",\"previous\":7}",
     "{\"epoch\":1,\"hash\":\"00000000000000ff\"}"                                                                            },
    {"streams", "{\"epoch\":1,\"hash\":\"00000000000000ff\",\"previous\":[7]}",
     "{\"epoch\":1,\"hash\":\"00000000000000ff\"}"                                                                            },
    {"topics",  "{\"epoch\":1,\"topics\":{}}",                                   "{\"epoch\":1,\"topics\":[]}"                },
    {"topics",  "{\"epoch\":1,\"topics\":[7]}",                                  "{\"epoch\":1,\"topics\":[]}"                },
    {"topics",  "{\"epoch\":1,\"topics\":[" TOPIC("a") "," TOPIC("a") "]}",
     "{\"epoch\":1,\"topics\":[]}"                                                                                            },
    {"topics",  "{\"epoch\":1,\"topics\":[" TOPIC("a/b") "]}",                   "{\"epoch\":1,\"topics\":[]}"                },
    {"topics",  "{\"epoch\":1,\"topics\":[" TOPIC("..") "]}",                    "{\"epoch\":1,\"topics\":[]}"                },
    {"topics",  "{\"epoch\":1,\"topics\":[" TOPIC("a") ",{\"name\":\"b\"}]}",
     "{\"epoch\":1,\"topics\":[]}"                                                                                            },
    {"keeper",  "{\"worker\":7}",                                                "{\"worker\":\"w\"}"                         },
    {"fence",   "{\"topics\":[]}",                                               "{\"topics\":{}}"                            },
    {"dns",     "{\"records\":[]}",                                              "{\"records\":{}}"                           },
    {"acls",    "{\"ours\":{}}",                                                 "{\"ours\":[]}"                              },
    {"order",   "{\"state\":\"stop\"}",                                          "{\"state\":\"run\"}"                        },
};

static void test_hostile_records_change_nothing(void **state)
{
    (void)state;
    test_each_key_is_read(state);
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        const char *good = hostile[i].good ? hostile[i].good : "{\"epoch\":3,\"primary\":\"hz\"}";
        struct control_state *before = now();
        assert_false(put(hostile[i].key, hostile[i].bad));
        assert_int_equal(err.kind, ERR_REFUSED);
        assert_non_null(strstr(err.what, hostile[i].key));
        assert_non_null(control_records_bad(records));
        struct control_state *after = now();
        assert_int_equal(after->role_epoch, before->role_epoch);
        assert_int_equal(after->streams_hash, before->streams_hash);
        assert_int_equal(after->topics_count, before->topics_count);
        assert_string_equal(after->keeper, before->keeper);
        assert_int_equal(after->paused, before->paused);
        assert_false(after->operation_open);
        control_state_free(before);
        control_state_free(after);
        assert_true(put(hostile[i].key, good));
        assert_null(control_records_bad(records));
    }
}

static void test_previous_holds_no_more_than_the_state(void **state)
{
    (void)state;
    char text[1024] = "{\"epoch\":1,\"hash\":\"00000000000000ff\",\"previous\":[";
    for (int i = 0; i < 17; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "%s\"%016x\"", i ? "," : "", (unsigned)i);
    }
    size_t len = strlen(text);
    snprintf(text + len, sizeof(text) - len, "]}");
    assert_false(put("streams", text));
}

static void test_a_long_name_is_not_cut(void **state)
{
    (void)state;
    char text[512];
    char name[129];
    memset(name, 'x', sizeof(name) - 1);
    name[128] = '\0';
    snprintf(text, sizeof(text), "{\"epoch\":1,\"primary\":\"%s\"}", name);
    assert_false(put("role", text));
    name[127] = '\0';
    snprintf(text, sizeof(text), "{\"epoch\":1,\"primary\":\"%s\"}", name);
    assert_true(put("role", text));
}

static bool is_open(void)
{
    struct control_state *got = now();
    bool open = got->operation_open;
    control_state_free(got);
    return open;
}

static void test_operations(void **state)
{
    (void)state;
    assert_true(put("op/1", "{\"open\":true}"));
    assert_true(put("op/2", "{\"open\":true}"));
    assert_true(put("op/1/check", "whatever a step holds"));
    assert_true(is_open());
    assert_true(put("op/1", "{\"open\":false}"));
    assert_true(is_open());
    assert_true(put("op/2", NULL));
    assert_false(is_open());
    assert_true(put("op/2", NULL)); /* again */
}

static void test_an_unreadable_operation_counts_as_open(void **state)
{
    (void)state;
    assert_false(put("op/7", "{\"open\":\"perhaps\"}"));
    assert_true(is_open());
    assert_non_null(control_records_bad(records));
    assert_true(put("op/8", "{\"open\":false}")); /* another's good record heals nothing */
    assert_non_null(control_records_bad(records));
    assert_true(put("op/7", NULL));
    assert_null(control_records_bad(records));
    assert_false(is_open());
}

static void test_operations_are_bounded(void **state)
{
    (void)state;
    char key[32];
    bool all = true;
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "op/%d", i);
        all = put(key, "{\"open\":true}") && all;
    }
    assert_false(all);
    assert_true(is_open());
}

static void test_other_keys_are_passed_over(void **state)
{
    (void)state;
    static const char zero[] = "ro\0le";
    char long_key[400];
    memset(long_key, 'k', sizeof(long_key) - 1);
    long_key[399] = '\0';
    assert_true(put("of-a-later-version", "not json"));
    assert_true(put("op/", "not json"));
    assert_true(put(long_key, "not json"));
    assert_true(control_records_put(records, NULL, 0, "x", 1, &err));
    assert_true(control_records_put(records, zero, 5, "x", 1, &err));
    test_nothing_written_is_no_role(state);
}

static void test_a_snapshot_stands_by_itself(void **state)
{
    (void)state;
    test_each_key_is_read(state);
    struct control_state *got = now();
    assert_true(put("topics", NULL));
    assert_true(put("role", NULL));
    control_records_free(records);
    records = control_records_new();
    assert_string_equal(got->topics[0].name, "a");
    assert_non_null(strstr(got->role_json, "hz"));
    control_state_free(got);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_written_is_no_role),
        TEST(test_each_key_is_read),
        TEST(test_tombstones_take_back),
        TEST(test_hostile_records_change_nothing),
        TEST(test_previous_holds_no_more_than_the_state),
        TEST(test_a_long_name_is_not_cut),
        TEST(test_operations),
        TEST(test_an_unreadable_operation_counts_as_open),
        TEST(test_operations_are_bounded),
        TEST(test_other_keys_are_passed_over),
        TEST(test_a_snapshot_stands_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
