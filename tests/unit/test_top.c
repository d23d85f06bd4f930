/* cli/top: rows of partitions from heartbeats, which anybody may have written; rates between two looks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/top.h"

static json_t *parsed(const char *text)
{
    json_error_t error;
    json_t *tree = json_loads(text, 0, &error);
    if (tree == NULL) {
        fail_msg("%d: %s", error.column, error.text);
    }
    return tree;
}

#define PART(topic, partition, lag, late, next)                                            \
    "{\"topic\": \"" topic "\", \"partition\": " #partition ", \"state\": \"mirroring\", " \
    "\"lag_records\": " #lag ", \"lag_s\": " #late ", \"source_next\": " #next "}"

static const char first[] =
    "{\"w1\": {\"time_ms\": 1000, \"records_per_s\": 10.0, \"bytes_per_s\": 100.0, \"partitions\": "
    "[" PART("a", 0, 0, 0.0, 50) "," PART(
        "a", 1, 7, 0.5, 60) "]}, "
                            "\"w2\": {\"time_ms\": 5000, \"records_per_s\": 5.5, \"bytes_per_s\": "
                            "1.0, \"partitions\": "
                            "[" PART("b", 0, 2, 9.0, 5) "," PART("c", 3, null, null, null) "]}}";
static const char second[] =
    "{\"w1\": {\"time_ms\": 3000, \"records_per_s\": 10.0, \"bytes_per_s\": 100.0, \"partitions\": "
    "[" PART("a", 0, 0, 0.0, 250) "," PART(
        "a", 1, 7, 0.5, 50) "]}, "
                            "\"w2\": {\"time_ms\": 5000, \"records_per_s\": 5.5, \"bytes_per_s\": "
                            "1.0, \"partitions\": "
                            "[" PART("b", 0, 2, 9.0,
                                     5) "]}, "
                                        "\"w3\": {\"time_ms\": 5000, \"records_per_s\": 0.0, "
                                        "\"bytes_per_s\": 0.0, \"partitions\": "
                                        "[" PART("c", 3, 1, 0.1, 9) "]}}";

static const struct top_row *row_of(const struct top *top, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < top->count; i++) {
        if (strcmp(top->rows[i].topic, topic) == 0 && top->rows[i].partition == partition) {
            return &top->rows[i];
        }
    }
    fail_msg("%s:%d is not there", topic, partition);
    return NULL;
}

static void what_is_unknown_or_far_behind_stands_first(void **state)
{
    struct top top;
    (void)state;
    top_take(&top, parsed(first), NULL);
    assert_int_equal(top.count, 4);
    assert_string_equal(top.rows[0].topic, "c"); /* not known */
    assert_string_equal(top.rows[1].topic, "b"); /* 9 s */
    assert_string_equal(top.rows[2].topic, "a");
    assert_int_equal(top.rows[2].partition, 1);
    assert_string_equal(top.rows[3].worker, "w1");
    assert_true(top.records_per_s > 15.4 && top.records_per_s < 15.6);
    assert_int_equal(top.lag_records, -1); /* one unknown makes the sum unknown */
    assert_true(top.lag_s < 0);
    assert_true(top.rows[3].records_per_s < 0); /* nothing to compare with */
    top_done(&top);
}

static void rates_are_of_one_workers_two_heartbeats(void **state)
{
    struct top before;
    struct top top;
    struct top third;
    (void)state;
    top_take(&before, parsed(first), NULL);
    top_take(&top, parsed(second), &before);
    top_done(&before);
    assert_true(row_of(&top, "a", 0)->records_per_s == 100); /* 200 in two seconds */
    assert_true(row_of(&top, "a", 1)->records_per_s < 0);    /* went back: begun anew */
    assert_true(row_of(&top, "b", 0)->records_per_s < 0);    /* told nothing new, nothing before */
    assert_true(row_of(&top, "c", 3)->records_per_s < 0);    /* another worker's */
    assert_int_equal(top.lag_records, 10);
    assert_true(top.lag_s == 9);
    top_take(&third, parsed(second), &top); /* no heartbeat came between: what it said holds */
    assert_true(row_of(&third, "a", 0)->records_per_s == 100);
    top_done(&top);
    top_done(&third);
}

static void nobody_is_there(void **state)
{
    struct top top;
    (void)state;
    top_take(&top, json_object(), NULL);
    assert_int_equal(top.count, 0);
    assert_true(top.records_per_s < 0 && top.lag_s < 0);
    assert_int_equal(top.lag_records, -1);
    top_done(&top);
    top_done(&top);
}

static void what_is_no_heartbeat_hurts_nobody(void **state)
{
    struct top top;
    (void)state;
    top_take(
        &top,
        parsed("{\"w\": {\"partitions\": [1, null, {}, {\"topic\": \"../x\", \"partition\": 0}, "
               "{\"topic\": \"t\", \"partition\": -1}, {\"topic\": \"t\", \"partition\": "
               "99999999999}, {\"topic\": 7, \"partition\": 0}, {\"topic\": \"t\", "
               "\"partition\": 2, \"lag_records\": 9223372036854775807, \"lag_s\": \"x\"}, "
               "{\"topic\": \"t\", \"partition\": 3, \"lag_records\": 9223372036854775807, "
               "\"lag_s\": 1e300}]}, \"v\": {\"partitions\": {\"a\": 1}}}"),
        NULL);
    assert_int_equal(top.count, 2);
    assert_int_equal(top.lag_records, -1); /* more than a number holds */
    assert_string_equal(top.rows[0].state, "");
    top_done(&top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_unknown_or_far_behind_stands_first),
        cmocka_unit_test(rates_are_of_one_workers_two_heartbeats),
        cmocka_unit_test(nobody_is_there),
        cmocka_unit_test(what_is_no_heartbeat_hurts_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
