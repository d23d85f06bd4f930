/* What records of operations say to who looks: strict about their form, since anybody with Write may have made them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/status_operation.h"

static json_t *records(const char *text)
{
    json_t *out = json_loads(text, 0, NULL);
    assert_non_null(out);
    return out;
}

static void the_newest_open_one_counts(void **state)
{
    (void)state;
    struct status_operation found;
    char command[STATUS_COMMAND_BYTES];
    json_t *all = records(
        "{\"op/20260101T000000Z-failover-1\": {\"open\": true, \"kind\": \"failover\", \"to\": "
        "\"c\"},"
        " \"op/20260102T000000Z-switchover-1\": {\"open\": true, \"kind\": \"switchover\", \"to\": "
        "\"b\", \"step\": \"drain\", \"by\": \"alice@host\", \"undoing\": true},"
        " \"op/20260102T000000Z-switchover-1/drain\": {\"open\": true},"
        " \"op/20260103T000000Z-failover-1\": {\"open\": false},"
        " \"op/20260104T000000Z-failover-1\": {\"open\": \"yes\"}, \"op/\": {\"open\": true},"
        " \"role\": {\"open\": true}, \"op/20260105\": []}");
    assert_true(status_operation_open(all, &found));
    assert_string_equal(found.id, "20260102T000000Z-switchover-1");
    assert_string_equal(found.step, "drain");
    assert_string_equal(found.by, "alice@host");
    assert_true(found.undoing);
    assert_string_equal(status_operation_command(&found, "orders", command),
                        "ferry switchover orders --to b");
    snprintf(found.kind, sizeof(found.kind), "drill"); /* of a version after this one */
    assert_string_equal(status_operation_command(&found, "orders", command), "ferry status orders");
    json_decref(all);
    assert_false(status_operation_open(NULL, &found));
}

static void the_newest_one_that_was_done_is_the_measure(void **state)
{
    (void)state;
    char when[40];
    json_t *all = records(
        "{\"op/1\": {\"open\": false, \"state\": \"done\", \"to\": \"b\", \"began\": \"then\"},"
        " \"op/1/check\": {\"state\": \"done\", \"ms\": 1500}, \"op/1/dns\": {\"state\": \"done\", "
        "\"ms\": 2000}, \"op/1/dns/0\": {\"text\": \"..\"}, \"op/1/report\": {},"
        " \"op/2\": {\"open\": false, \"state\": \"undone\", \"to\": \"b\"},"
        " \"op/2/check\": {\"state\": \"done\", \"ms\": 1},"
        " \"op/3\": {\"open\": false, \"state\": \"done\", \"to\": \"c\"},"
        " \"op/3/check\": {\"state\": \"done\", \"ms\": 1},"
        " \"op/4\": {\"open\": true, \"to\": \"b\"}, \"op/4/check\": {\"state\": \"done\", \"ms\": "
        "1},"
        " \"op/6\": {\"open\": false, \"state\": \"done\", \"to\": \"b\"}}");
    assert_true(status_operation_took(all, "b", when) == 3.5);
    assert_string_equal(when, "then");
    assert_true(status_operation_took(all, "d", when) == -1);
    assert_string_equal(when, "");
    json_object_set_new(json_object_get(all, "op/1/dns"), "ms", json_integer(-5));
    assert_true(status_operation_took(all, "b", when) == -1);
    json_decref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_open_one_counts),
        cmocka_unit_test(the_newest_one_that_was_done_is_the_measure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
