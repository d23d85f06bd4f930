#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/render.h"

static void unknown_is_never_a_number(void **state)
{
    (void)state;
    char out[RENDER_NUMBER_BYTES];
    char when[RENDER_TIME_BYTES];
    assert_string_equal(render_count(-1, out), "unknown");
    assert_string_equal(render_seconds(-1, out), "unknown");
    assert_string_equal(render_seconds(0.0 / 0.0, out), "unknown");
    assert_string_equal(render_seconds(1e300, out), "unknown");
    assert_string_equal(render_share(-1, 5, out), "unknown");
    assert_string_equal(render_share(5, -1, out), "unknown");
    assert_string_equal(render_time(-1, when), "unknown");
    json_t *values[] = {render_int_or_null(-1), render_real_or_null(-1), render_time_or_null(-1),
                        render_string(NULL)};
    for (size_t i = 0; i < 4; i++) {
        assert_true(json_is_null(values[i]));
    }
}

static void numbers(void **state)
{
    (void)state;
    char out[RENDER_NUMBER_BYTES];
    assert_string_equal(render_count(0, out), "0");
    assert_string_equal(render_count(999, out), "999");
    assert_string_equal(render_count(1000, out), "1,000");
    assert_string_equal(render_count(INT64_MAX, out), "9,223,372,036,854,775,807");
    assert_string_equal(render_seconds(0, out), "0.0 s");
    assert_string_equal(render_seconds(119.94, out), "119.9 s");
    assert_string_equal(render_seconds(120, out), "2 min");
    assert_string_equal(render_seconds(7200, out), "2 h 0 min");
    assert_string_equal(render_seconds(200000, out), "2 d 7 h");
}

static void a_share_is_not_whole_before_it_is(void **state)
{
    (void)state;
    char out[RENDER_NUMBER_BYTES];
    assert_string_equal(render_share(999999, 1000000, out), "99.9 %");
    assert_string_equal(render_share(1000000, 1000000, out), "100.0 %");
    assert_string_equal(render_share(0, 10, out), "0.0 %");
    assert_string_equal(render_share(0, 0, out), "-");
}

static void times(void **state)
{
    (void)state;
    char out[RENDER_TIME_BYTES];
    setenv("TZ", "UTC", 1);
    tzset();
    assert_string_equal(render_time(1764039607123, out), "2025-11-25T03:00:07Z");
    setenv("TZ", "XYZ-8", 1);
    tzset();
    assert_string_equal(render_time(1764039607123, out), "2025-11-25T03:00:07Z [11:00:07 XYZ]");
    json_t *value = render_time_or_null(1764039607123);
    assert_string_equal(json_string_value(value), "2025-11-25T03:00:07.123Z");
    json_decref(value);
}

static void nothing_moves_the_cursor(void **state)
{
    (void)state;
    assert_string_equal(render_safe("a\033[2Jb\r\nc\x7f").text, "a?[2Jb??c?");
    assert_string_equal(render_safe("a\xc2\x9b"
                                    "2Jb")
                            .text,
                        "a?2Jb"); /* CSI as one character */
    assert_string_equal(render_safe("gr\xc3\xbc\xc3\x9f").text, "gr\xc3\xbc\xc3\x9f");
    assert_string_equal(render_safe("\xc2").text, "\xc2");
    assert_string_equal(render_safe(NULL).text, "");
    char big[3000];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    assert_int_equal(strlen(render_safe(big).text), 1023);
    json_t *value = render_string("a\xff\x01"
                                  "b");
    assert_string_equal(json_string_value(value), "a??b");
    json_decref(value);
}

static char *table(const char *const *cells, int columns, int rows)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    render_table(out, cells, columns, rows);
    fclose(out);
    return text;
}

static void tables(void **state)
{
    (void)state;
    static const char *const cells[] = {"topic", "lag", "state",   "a",  "1,000",
                                        "fine",  "bcd", "unknown", "bad"};
    char *text = table(cells, 3, 3);
    assert_string_equal(text, "topic      lag  state\na        1,000  fine\nbcd    unknown  bad\n");
    free(text);
    text = table(cells, 3, 1);
    assert_string_equal(text, "topic  lag  state\n");
    free(text);
}

static void a_long_name_is_not_cut(void **state)
{
    (void)state;
    char name[250];
    memset(name, 'n', 249);
    name[249] = '\0';
    const char *const cells[] = {"topic", "lag", "short", "7", name, "8"};
    char *text = table(cells, 2, 3);
    assert_non_null(strstr(text, name));
    assert_non_null(strstr(text, "short    7\n"));
    assert_non_null(strstr(text, "\n         8\n")); /* below it, in its column */
    free(text);
}

static char *wrapped(const char *words, int width, int begin, int indent)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    render_wrapped(out, words, width, begin, indent);
    fclose(out);
    return text;
}

static void wrapping(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        int begin;
        int indent;
        const char *expected;
    } cases[] = {
        {"one two three",     0, 2, "one two\n  three\n"  },
        {"one two",           8, 2, "one\n  two\n"        },
        {"a-word-too-long b", 0, 0, "a-word-too-long\nb\n"},
        {"one\ntwo",          0, 1, "one\n two\n"         },
        {"one\n",             0, 1, "one\n"               },
        {"",                  0, 4, "\n"                  },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text = wrapped(cases[i].words, 10, cases[i].begin, cases[i].indent);
        assert_string_equal(text, cases[i].expected);
        free(text);
    }
}

static void colours_only_where_they_are_wanted(void **state)
{
    (void)state;
    assert_true(render_color_wanted(true, NULL, "xterm"));
    assert_true(render_color_wanted(true, "", "xterm"));
    assert_false(render_color_wanted(true, "1", "xterm"));
    assert_false(render_color_wanted(false, NULL, "xterm"));
    assert_false(render_color_wanted(true, NULL, "dumb"));
    assert_false(render_color_wanted(true, NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_is_never_a_number),
        cmocka_unit_test(numbers),
        cmocka_unit_test(a_share_is_not_whole_before_it_is),
        cmocka_unit_test(times),
        cmocka_unit_test(nothing_moves_the_cursor),
        cmocka_unit_test(tables),
        cmocka_unit_test(a_long_name_is_not_cut),
        cmocka_unit_test(wrapping),
        cmocka_unit_test(colours_only_where_they_are_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
