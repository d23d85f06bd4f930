/* Who is denied, who never is, what is remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failover/fence.h"

static struct acl_list acls;
static struct admin_authorizer authorizer;
static const char *const own[] = {"User:ferry", "User:oper"};
static const char *const topics[] = {"orders"};

static int set_up(void **state)
{
    (void)state;
    authorizer = (struct admin_authorizer){.known = true, .exists = true};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    acl_list_free(&acls);
    return 0;
}

static void entry(enum acl_permission permission, enum acl_operation operation,
                  enum acl_pattern pattern, const char *name, const char *principal)
{
    const struct acl acl = {.resource = ACL_TOPIC,
                            .pattern = pattern,
                            .name = (char *)(uintptr_t)name,
                            .principal = (char *)(uintptr_t)principal,
                            .host = (char *)(uintptr_t)"*",
                            .operation = operation,
                            .permission = permission};
    acl_list_add(&acls, &acl);
}

static json_t *plan_with(const char *unset, const json_t *before)
{
    const struct fence_facts facts = {
        .unset = unset, .acls = &acls, .own = own, .own_count = 2, .authorizer = &authorizer};
    return fence_plan(topics, 1, &facts, before);
}

static void assert_plan(const char *before, const char *expected)
{
    json_t *old = before == NULL ? NULL : json_loads(before, 0, NULL);
    json_t *plan = plan_with(NULL, old);
    json_t *wanted = json_loads(expected, 0, NULL);
    assert_non_null(wanted);
    char *text = json_dumps(plan, JSON_SORT_KEYS);
    char *wanted_text = json_dumps(wanted, JSON_SORT_KEYS);
    assert_string_equal(text, wanted_text);
    free(text);
    free(wanted_text);
    json_decref(wanted);
    json_decref(plan);
    json_decref(old);
}

static void every_holder_of_write_is_denied(void **state)
{
    (void)state;
    entry(ACL_ALLOW, ACL_WRITE, ACL_LITERAL, "orders", "User:a");
    entry(ACL_ALLOW, ACL_WRITE, ACL_LITERAL, "orders", "User:a"); /* from another host: once */
    entry(ACL_ALLOW, ACL_ALL, ACL_PREFIXED, "ord", "User:b");
    entry(ACL_ALLOW, ACL_WRITE, ACL_LITERAL, "*", "User:c");
    entry(ACL_ALLOW, ACL_READ, ACL_LITERAL, "orders", "User:reader");
    entry(ACL_ALLOW, ACL_WRITE, ACL_LITERAL, "order", "User:another-topic");
    entry(ACL_ALLOW, ACL_WRITE, ACL_PREFIXED, "orders.", "User:another-prefix");
    entry(ACL_ALLOW, ACL_WRITE, ACL_PREFIXED, "ord", "User:ferry");
    entry(ACL_ALLOW, ACL_ALL, ACL_LITERAL, "*", "User:oper");
    assert_plan(NULL, "{\"orders\": {\"state\": \"denied\", \"ours\": [\"User:a\", \"User:b\", "
                      "\"User:c\"], \"theirs\": [], \"why\": \"\"}}");
}

static void what_others_denied_is_not_ours(void **state)
{
    (void)state;
    entry(ACL_ALLOW, ACL_WRITE, ACL_LITERAL, "orders", "User:a");
    entry(ACL_DENY, ACL_WRITE, ACL_LITERAL, "orders", "User:a");
    assert_plan(NULL, "{\"orders\": {\"state\": \"denied\", \"ours\": [], \"theirs\": "
                      "[\"User:a\"], \"why\": \"\"}}");
    /* The same entry, recorded as ours. */
    assert_plan("{\"orders\": {\"ours\": [\"User:a\"]}}",
                "{\"orders\": {\"state\": \"denied\", \"ours\": [\"User:a\"], \"theirs\": [], "
                "\"why\": \"\"}}");
}

static void what_was_ours_stays_recorded(void **state)
{
    (void)state;
    entry(ACL_ALLOW, ACL_WRITE, ACL_LITERAL, "orders", "User:*");
    json_t *before = json_loads("{\"orders\": {\"ours\": [\"User:a\"]}}", 0, NULL);
    json_t *plan = plan_with(NULL, before);
    const json_t *orders = json_object_get(plan, "orders");
    assert_string_equal(json_string_value(json_object_get(orders, "state")), "none");
    assert_int_equal(json_array_size(json_object_get(orders, "ours")), 1);
    json_decref(plan);
    json_decref(before);
}

/* An operation denied it to the mirror, and the site is mirrored to again. */
static void what_is_ferrys_own_is_denied_no_more(void **state)
{
    (void)state;
    entry(ACL_ALLOW, ACL_WRITE, ACL_LITERAL, "orders", "User:a");
    entry(ACL_DENY, ACL_WRITE, ACL_LITERAL, "orders", "User:ferry");
    assert_plan("{\"orders\": {\"state\": \"denied\", \"ours\": [\"User:ferry\"], \"theirs\": []}}",
                "{\"orders\": {\"state\": \"denied\", \"ours\": [\"User:a\"], \"theirs\": [], "
                "\"why\": \"\"}}");
}

static void nobody_else_may_write(void **state)
{
    (void)state;
    entry(ACL_ALLOW, ACL_WRITE, ACL_PREFIXED, "ord", "User:ferry");
    assert_plan(NULL, "{\"orders\": {\"state\": \"nobody\", \"ours\": [], \"theirs\": [], "
                      "\"why\": \"\"}}");
}

static void assert_none(const char *unset, const char *why)
{
    json_t *plan = plan_with(unset, NULL);
    const json_t *orders = json_object_get(plan, "orders");
    assert_string_equal(json_string_value(json_object_get(orders, "state")), "none");
    assert_non_null(strstr(json_string_value(json_object_get(orders, "why")), why));
    assert_int_equal(json_array_size(json_object_get(orders, "ours")), 0);
    json_decref(plan);
}

static void it_is_none_where_it_cannot_be(void **state)
{
    (void)state;
    assert_none("no operator", "no operator");
    authorizer.everyone = true;
    assert_none(NULL, "allow.everyone.if.no.acl.found");
    authorizer.known = false;
    assert_none(NULL, "not known");
    entry(ACL_ALLOW, ACL_ALL, ACL_LITERAL, "*", "User:*");
    entry(ACL_ALLOW, ACL_WRITE, ACL_LITERAL, "orders", "User:a");
    assert_none(NULL, "User:* may All on the literal topic '*'");
}

/* A broker's own words, longer than what is kept of them: the topic's entry is there all the same. */
static void a_reason_is_cut_between_characters(void **state)
{
    char said[ERR_WHAT_BYTES];
    (void)state;
    for (size_t i = 0; i + 2 < sizeof(said); i += 2) {
        memcpy(said + i, "\xc3\xa9", 3);
    }
    for (size_t more = 0; more < 2; more++) {
        char text[sizeof(said) + 1];
        snprintf(text, sizeof(text), "%s%s", more == 0 ? "" : "x", said);
        json_t *plan = plan_with(text, NULL);
        const json_t *why = json_object_get(json_object_get(plan, "orders"), "why");
        assert_true(json_string_length(why) > 300);
        json_decref(plan);
    }
}

static void entries_are_those_of_the_record(void **state)
{
    struct acl_list list;
    struct acl_list missing;
    (void)state;
    json_t *record = fence_topics_parse(
        "{\"topics\": {\"a\": {\"ours\": [\"User:x\", 7, \"User:y\"], \"theirs\": [\"User:z\"]}, "
        "\"b\": 1}}");
    fence_entries(record, &list);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.acls[1].principal, "User:y");
    assert_int_equal(list.acls[1].permission, ACL_DENY);
    entry(ACL_DENY, ACL_WRITE, ACL_LITERAL, "a", "User:x");
    acl_list_missing(&list, &acls, &missing);
    assert_int_equal(missing.count, 1);
    assert_string_equal(missing.acls[0].principal, "User:y");
    acl_list_free(&list);
    acl_list_free(&missing);
    json_decref(record);
    assert_null(fence_topics_parse("{\"topics\": 1}"));
    assert_null(fence_topics_parse("nothing"));
    assert_null(fence_topics_parse(NULL));
}

static void between_two_records_both_count(void **state)
{
    (void)state;
    json_t *before = json_loads(
        "{\"a\": {\"ours\": [\"User:x\"]}, \"gone\": {\"ours\": [\"User:z\"]}}", 0, NULL);
    json_t *after = json_loads("{\"a\": {\"ours\": [\"User:y\"]}}", 0, NULL);
    json_t *both = fence_union(before, after);
    struct acl_list list;
    fence_entries(both, &list);
    assert_int_equal(list.count, 3);
    acl_list_free(&list);
    json_decref(both);
    both = fence_union(NULL, after);
    assert_true(json_equal(both, after));
    json_decref(both);
    json_decref(after);
    json_decref(before);
}

static void assert_line(const char *record, const char *expected)
{
    char line[FENCE_LINE_BYTES];
    json_t *parsed = record == NULL ? NULL : json_loads(record, 0, NULL);
    assert_string_equal(fence_line(parsed, line), expected);
    json_decref(parsed);
}

static void one_line_says_it(void **state)
{
    (void)state;
    assert_line(NULL, "none: none was set");
    assert_line("{}", "none: none was set");
    assert_line("{\"a\": {\"state\": \"denied\"}, \"b\": {\"state\": \"nobody\"}}", "2 topics");
    assert_line("{\"a\": {\"state\": \"none\", \"why\": \"so\"}}", "none: so");
    assert_line("{\"a\": {\"state\": \"denied\"}, \"b\": {\"state\": \"?\"}, \"c\": 5}",
                "1 topics, 2 without: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_holder_of_write_is_denied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_others_denied_is_not_ours, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_ours_stays_recorded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_ferrys_own_is_denied_no_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_else_may_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_none_where_it_cannot_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reason_is_cut_between_characters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(entries_are_those_of_the_record, set_up, tear_down),
        cmocka_unit_test_setup_teardown(between_two_records_both_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_line_says_it, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
