/* base/json_place: places of members in good text; an end on any text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_place.h"

static const char text[] =
    "{\"a\": 1,\n"
    "  \"b\": {\"\xc3\xa9\xc3\xa9\": 2, \"c.d\": [10, {\"e\": \"x{\\\"y\"},\n"
    "    []]},\r\n"
    "\t\"f\" : { \"g\": {} } }";

static void found(const char *path, const char *expected, int line, int column)
{
    struct json_place place;
    json_place_find(text, strlen(text), path, &place);
    assert_string_equal(place.path, expected);
    assert_int_equal(place.line, line);
    assert_int_equal(place.column, column);
}

static void members_have_places(void **state)
{
    (void)state;
    found("a", "a", 1, 2);
    found("b", "b", 2, 3);
    found("b.\xc3\xa9\xc3\xa9", "b.\xc3\xa9\xc3\xa9", 2, 9);
    found("b.c.d", "b.c.d", 2, 18); /* characters are counted, not bytes */
    found("b.c.d.0", "b.c.d.0", 2, 26);
    found("b.c.d.1.e", "b.c.d.1.e", 2, 31);
    found("b.c.d.2", "b.c.d.2", 3, 5);
    found("f.g", "f.g", 4, 10);
}

static void the_nearest_place_stands_for_one_that_is_not_there(void **state)
{
    (void)state;
    found("f.h.i", "f", 4, 2);
    found("b.c.d.9", "b.c.d", 2, 18);
    found("fg", "", 1, 1);
    found("", "", 1, 1);
}

static void before_an_offset(void **state)
{
    struct json_place place;
    (void)state;
    json_place_before(text, strlen(text), (size_t)(strstr(text, "\"x{") - text), &place);
    assert_string_equal(place.path, "b.c.d.1.e");
    json_place_before(text, strlen(text), 0, &place);
    assert_string_equal(place.path, "");
    json_place_before(text, strlen(text), SIZE_MAX, &place);
    assert_string_equal(place.path, "f.g");
}

static void any_text_comes_to_an_end(void **state)
{
    static const char *const broken[] = {
        "",   "{",        "[",        "\"",     "{\"",       "{\"a",   "{\"a\"", "{\"a\":",
        "[,", "[}",       "[:",       "{\"a\\", "[[[[",      "]",      "[1 2",   "[\"a\" \"b\"",
        "{,", "{\"a\":]", "{\"a\":}", "[{]}",   "{\"a\" 1}", "[\x01]", "\\",     "{\"\\"};
    struct json_place place;
    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        json_place_find(broken[i], strlen(broken[i]), "a.0.b", &place);
        json_place_before(broken[i], strlen(broken[i]), 100, &place);
        json_depth(broken[i], strlen(broken[i]));
    }
    /* and every beginning of a good text */
    for (size_t len = 0; len < strlen(text); len++) {
        char *part = malloc(len + 1);
        memcpy(part, text, len);
        json_place_find(part, len, "f.g", &place);
        free(part);
    }
}

static void depth(void **state)
{
    char deep[1000];
    struct json_place place;
    (void)state;
    assert_int_equal(json_depth(text, strlen(text)), 4);
    assert_int_equal(json_depth("[\"[[[\\\"[[\"]", 12), 1);
    memset(deep, '[', sizeof(deep));
    json_place_find(deep, sizeof(deep), "0.0.0", &place); /* no deeper than the bound */
    assert_string_equal(place.path, "0.0.0");
    assert_int_equal(json_depth(deep, sizeof(deep)), 1000);
}

/* One line of a megabyte, and a path that is longer than a path can be. */
static void large_text_takes_no_time(void **state)
{
    size_t len = 0;
    char *large = malloc(4 << 20);
    struct json_place place;
    (void)state;
    large[len++] = '{';
    for (int i = 0; i < 100000; i++) {
        len += (size_t)snprintf(large + len, 20, "\"k%d\":1,", i);
    }
    len += (size_t)snprintf(large + len, 20, "\"z\":{\"");
    memset(large + len, 'n', 3000);
    len += 3000;
    len += (size_t)snprintf(large + len, 20, "\":{\"q\":1}}}");
    json_place_find(large, len, "z.q", &place);
    assert_string_equal(place.path, "z.q"); /* the long name is left out */
    assert_true(place.column > 1000000);
    json_place_before(large, len, len, &place);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_have_places),
        cmocka_unit_test(the_nearest_place_stands_for_one_that_is_not_there),
        cmocka_unit_test(before_an_offset),
        cmocka_unit_test(any_text_comes_to_an_end),
        cmocka_unit_test(depth),
        cmocka_unit_test(large_text_takes_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
