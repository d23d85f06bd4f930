/* config/patterns: what matches, what never does, what is no pattern. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/build.h"

static const struct parse_text file = {.name = "f", .text = "{}", .len = 2};

/* Patterns of a JSON text {"include": [...], "exclude": [...]}; false with what is wrong. */
static bool made(struct config_patterns *patterns, const char *text, bool topics, struct err *err)
{
    struct build build = {.file = &file, .err = err};
    json_t *tree = json_loads(text, 0, NULL);
    assert_non_null(tree);
    *patterns = (struct config_patterns){0};
    bool ok = build_patterns(&build, patterns, "services.s.topics", tree, topics);
    json_decref(tree);
    return ok;
}

static void check_match(const char *text, const char *name, bool expected)
{
    struct config_patterns patterns;
    struct err err;
    if (!made(&patterns, text, false, &err)) {
        fail_msg("%s: %s", text, err.what);
    }
    if (config_patterns_match(&patterns, name) != expected) {
        fail_msg("%s: %s", text, name);
    }
    build_patterns_done(&patterns);
}

static void matches(const char *text, const char *name)
{
    check_match(text, name, true);
}
static void differs(const char *text, const char *name)
{
    check_match(text, name, false);
}

static void globs(void **state)
{
    (void)state;
    matches("{\"include\": [\"orders\"]}", "orders");
    differs("{\"include\": [\"orders\"]}", "orders2");
    differs("{\"include\": [\"orders\"]}", "order");
    differs("{\"include\": [\"orders\"]}", "Orders");
    matches("{\"include\": [\"orders.*\"]}", "orders.eu.x");
    matches("{\"include\": [\"orders.*\"]}", "orders.");
    differs("{\"include\": [\"orders.*\"]}", "ordersXeu"); /* a dot is a dot */
    differs("{\"include\": [\"orders.*\"]}", "orders");
    matches("{\"include\": [\"a?c\"]}", "abc");
    differs("{\"include\": [\"a?c\"]}", "ac");
    matches("{\"include\": [\"*\"]}", "anything");
    matches("{\"include\": [\"*\"]}", "");
    matches("{\"include\": [\"**a**b**\"]}", "xaxbx");
    matches("{\"include\": [\"*ab\"]}", "aab");
    matches("{\"include\": [\"*a*b\"]}", "aXbab");
    differs("{\"include\": [\"*a*b\"]}", "aXbaX");
    matches("{\"include\": [\"a\", \"b\"]}", "b");
    differs("{\"include\": []}", "a");
    matches("{\"include\": [\"g[1]+*\"]}",
            "g[1]+*x"); /* groups have any letters: here these mean themselves */
    matches("{\"include\": [\"*\"]}", "a*b"); /* a star in a name is a letter */
    matches("{\"include\": [\"a*b\"]}", "a*b");
}

static void a_glob_of_stars_takes_no_time(void **state)
{
    char name[250];
    char glob[900] = "{\"include\": [\"";
    (void)state;
    memset(name, 'a', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    for (int i = 0; i < 100; i++) {
        strncat(glob, "*a*a", 5);
    }
    strncat(glob, "*b\"]}", 6);
    differs(glob, name);
}

static void expressions_are_anchored(void **state)
{
    (void)state;
    matches("{\"include\": [{\"regex\": \"orders(\\\\.[a-z]+)?\"}]}", "orders.eu");
    differs("{\"include\": [{\"regex\": \"orders(\\\\.[a-z]+)?\"}]}", "my-orders.eu");
    differs("{\"include\": [{\"regex\": \"orders(\\\\.[a-z]+)?\"}]}", "orders.EU");
    matches("{\"include\": [{\"regex\": \"a|b\"}]}", "b");
    differs("{\"include\": [{\"regex\": \"a|b\"}]}", "ab"); /* not ^a|b$ */
    differs("{\"include\": [{\"regex\": \"a|b\"}]}", "xb");
    matches("{\"include\": [{\"regex\": \".*\"}]}", "x");
    matches("{\"include\": [{\"regex\": \"^a$\"}]}", "a");
    differs("{\"include\": [{\"regex\": \"a\"}]}", "a\nb");
    matches("{\"include\": [{\"regex\": \"\\\\\\\\1\"}]}", "\\1"); /* a backslash and a one */
}

static void exclude_wins(void **state)
{
    (void)state;
    differs("{\"include\": [\"a.tmp\"], \"exclude\": [\"*.tmp\"]}", "a.tmp");
    matches("{\"include\": [\"*\"], \"exclude\": [\"*.tmp\", {\"regex\": \"x.*\"}]}", "a.txt");
    differs("{\"include\": [\"*\"], \"exclude\": [\"*.tmp\", {\"regex\": \"x.*\"}]}", "xa");
}

/* Ours are never mirrored, whatever a pattern says. */
static void reserved_names_never_match(void **state)
{
    static const char *const reserved[] = {"ferry.control.x", "ferry.", "ferry-x",
                                           "__consumer_offsets", "__"};
    static const char *const free_names[] = {"ferry",    "ferryx",  "_x", "_",
                                             "xferry.y", "Ferry.x", ""};
    (void)state;
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        assert_true(config_name_reserved(reserved[i]));
        differs("{\"include\": [\"*\", {\"regex\": \".*\"}]}", reserved[i]);
    }
    for (size_t i = 0; i < sizeof(free_names) / sizeof(free_names[0]); i++) {
        assert_false(config_name_reserved(free_names[i]));
    }
}

static void refused(const char *pattern, bool topics, const char *reason)
{
    struct config_patterns patterns;
    struct err err = {0};
    char text[2048];
    snprintf(text, sizeof(text), "{\"include\": [\"x\", %s]}", pattern);
    bool ok = made(&patterns, text, topics, &err);
    if (ok || strncmp(err.what, "f:1:1: services.s.topics.include.1: ", 36) != 0 ||
        strstr(err.what, reason) == NULL) {
        fail_msg("%s: %s", pattern, err.what);
    }
    build_patterns_done(&patterns);
}

static void what_is_no_pattern(void **state)
{
    char longer[1100];
    (void)state;
    refused("\"ferry.control.x\"", true, "reserved");
    refused("\"ferry.*\"", true, "reserved");
    refused("\"__consumer_offsets\"", true, "reserved");
    refused("\"ferry-x\"", false, "reserved");
    refused("\"a[0-9]\"", true, "'[' stands in no topic name");
    refused("\"a b\"", true, "' ' stands in no topic name");
    refused("\"^a\"", true, "'^' stands in no topic name");
    refused("{\"regex\": \"(\"}", true, "no regular expression");
    refused("{\"regex\": \"[a\"}", true, "no regular expression");
    refused("{\"regex\": \"a)|(b\"}", true,
            "no regular expression"); /* only between our brackets it is one */
    refused("{\"regex\": \"(.)\\\\1\"}", true, "back references");
    refused("{\"regex\": \"((a{1,99}){1,99}){1,99}\"}", true, "counts");
    memset(longer, 'a', sizeof(longer));
    memcpy(longer, "{\"regex\": \"", 11);
    memcpy(longer + 1050, "\"}", 3);
    refused(longer, true, "too long");
    memset(longer, 'a', sizeof(longer));
    longer[0] = '"';
    memcpy(longer + 1050, "\"", 2);
    refused(longer, true, "too long");
}

static void topics_need_a_pattern(void **state)
{
    struct config_patterns patterns;
    struct err err;
    (void)state;
    assert_false(made(&patterns, "{\"include\": []}", true, &err));
    assert_string_equal(
        err.what, "f:1:1: services.s.topics.include: names no topic: nothing would be mirrored");
    build_patterns_done(&patterns);
    assert_true(made(&patterns, "{}", false, &err)); /* no groups */
    build_patterns_done(&patterns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs),
        cmocka_unit_test(a_glob_of_stars_takes_no_time),
        cmocka_unit_test(expressions_are_anchored),
        cmocka_unit_test(exclude_wins),
        cmocka_unit_test(reserved_names_never_match),
        cmocka_unit_test(what_is_no_pattern),
        cmocka_unit_test(topics_need_a_pattern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
