/* base/text: what is appended is what is there; numbers as printf writes them, strings as jansson reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static void it_grows(void **state)
{
    (void)state;
    struct text text = {0};
    char *empty = text_take(&text);
    assert_string_equal(empty, "");
    free(empty);
    for (int i = 0; i < 10000; i++) {
        text_puts(&text, "0123456789");
    }
    assert_int_equal(text.len, 100000);
    char *whole = text_take(&text);
    assert_int_equal(strlen(whole), 100000);
    assert_string_equal(whole + 99990, "0123456789");
    free(whole);
    assert_int_equal(text.len, 0);
}

static void numbers_are_printfs(void **state)
{
    (void)state;
    static const int64_t values[] = {
        0,         1,         -1,        9,   10,     99,      100,     INT32_MAX,
        INT32_MIN, INT64_MAX, INT64_MIN, -10, 123456, 1000000, -999999, INT64_MAX - 1};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct text text = {0};
        char wanted[TEXT_NUMBER_BYTES + 1];
        snprintf(wanted, sizeof(wanted), "%" PRId64, values[i]);
        text_number(&text, values[i]);
        char *found = text_take(&text);
        assert_string_equal(found, wanted);
        free(found);
    }
}

/* jansson says what UTF-8 is: whatever comes out it takes, and what it takes comes out as it was. */
static void what_is_no_utf8_becomes_a_question_mark(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        const char *to;
    } rows[] = {
        {"",                           ""                      },
        {"d\xc3\xa9 \xe4\xb8\xad",     "d\xc3\xa9 \xe4\xb8\xad"},
        {"refus\xe9 ",                 "refus? "               },
        {"cut \xe4\xb8",               "cut ??"                },
        {"\xc0\xaf \xe0\x80\xaf",      "?? ???"                },
        {"\xed\xa0\x80",               "???"                   },
        {"\xf4\x90\x80\x80 \xf5 \xff", "???? ? ?"              },
        {"\xf0\x9f\x9a\xa2",           "\xf0\x9f\x9a\xa2"      },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[64];
        snprintf(text, sizeof(text), "%s", rows[i].from);
        text_clean(text);
        assert_string_equal(text, rows[i].to);
    }
    for (unsigned bytes = 0; bytes < 1 << 24; bytes += 0x0101 + bytes % 7) {
        char text[] = {(char)bytes, (char)(bytes >> 8), (char)(bytes >> 16), (char)0x80, '\0'};
        text_clean(text);
        json_t *value = json_string(text);
        assert_non_null(value);
        json_decref(value);
    }
}

/* Of what brokers say a part is kept: no row of JSON is lost over where it is cut, wherever that is. */
static void what_is_printed_is_cut_between_characters(void **state)
{
    static const char said[] = "refus\xc3\xa9: \xe4\xb8\xad \xf0\x9f\x9a\xa2 \xff!";
    (void)state;
    for (size_t room = 1; room < sizeof(said) + 8; room++) {
        char text[64];
        text_print(text, room, "a %s", said);
        assert_true(strlen(text) < room);
        json_t *value = json_string(text);
        assert_non_null(value);
        json_decref(value);
    }
    char text[64];
    text_print(text, sizeof(text), "%s %d", said, 7);
    assert_string_equal(text, "refus\xc3\xa9: \xe4\xb8\xad \xf0\x9f\x9a\xa2 ?! 7");
    text_print(text, 9, "%s", "sieben \xc3\xa9");
    assert_string_equal(text, "sieben ?");
}

/* A group may have any name, and its name is said on the terminal of who fails it over. */
static void what_a_terminal_obeys_becomes_a_question_mark(void **state)
{
    (void)state;
    char text[] = "a\x1b[31m b\xc2\x9b"
                  "2J \xc2\xa0\xc3\x9b\x7f\n\xc2";
    text_safe(text);
    assert_string_equal(text, "a?[31m b??2J \xc2\xa0\xc3\x9b???");
}

static void strings_are_read_back(void **state)
{
    (void)state;
    static const char *const strings[] = {"", "plain", "a \"quoted\" \\ one", "\xc3\xa4\n\t\x01"};
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        struct text text = {0};
        text_quoted(&text, strings[i]);
        char *found = text_take(&text);
        json_t *value = json_loads(found, JSON_DECODE_ANY, NULL);
        assert_string_equal(json_string_value(value), strings[i]);
        json_decref(value);
        free(found);
    }
    struct text text = {0};
    text_quoted(&text, "no UTF-8: \xff");
    char *found = text_take(&text);
    assert_string_equal(found, "\"?\"");
    free(found);
}

static void insides_of_strings_are_read_back(void **state)
{
    (void)state;
    static const char inside[] = "\"{\\\"a\\\": [1, \\\\]}\"";
    struct text text = {0};
    text_puts(&text, "\"");
    text_escaped(&text, inside, strlen(inside));
    text_puts(&text, "\"");
    char *found = text_take(&text);
    json_t *value = json_loads(found, JSON_DECODE_ANY, NULL);
    assert_string_equal(json_string_value(value), inside);
    json_decref(value);
    free(found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_grows),
        cmocka_unit_test(numbers_are_printfs),
        cmocka_unit_test(what_is_no_utf8_becomes_a_question_mark),
        cmocka_unit_test(what_is_printed_is_cut_between_characters),
        cmocka_unit_test(what_a_terminal_obeys_becomes_a_question_mark),
        cmocka_unit_test(strings_are_read_back),
        cmocka_unit_test(insides_of_strings_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
