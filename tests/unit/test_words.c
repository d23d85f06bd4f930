/* config/words: near words and sets of words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/words.h"

static void distances(void **state)
{
    (void)state;
    assert_int_equal(words_distance("", ""), 0);
    assert_int_equal(words_distance("abc", "abc"), 0);
    assert_int_equal(words_distance("abc", ""), 3);
    assert_int_equal(words_distance("", "abc"), 3);
    assert_int_equal(words_distance("kitten", "sitting"), 3);
    assert_int_equal(words_distance("sitting", "kitten"), 3);
    assert_int_equal(words_distance("exlude", "exclude"), 1);
    assert_int_equal(words_distance("ab", "ba"), 2);
}

static void long_words_are_near_nothing(void **state)
{
    char longest[65];
    char longer[66];
    (void)state;
    memset(longest, 'x', sizeof(longest));
    memset(longer, 'x', sizeof(longer));
    longest[64] = longer[65] = '\0';
    assert_int_equal(words_distance(longest, longest), 0);
    assert_int_equal(words_distance(longest, "x"), 63);
    assert_true(words_distance(longer, longest) == SIZE_MAX);
    assert_true(words_distance("x", longer) == SIZE_MAX);
}

static void choices(void **state)
{
    (void)state;
    assert_true(words_choice("a|bc|d", "a"));
    assert_true(words_choice("a|bc|d", "BC"));
    assert_true(words_choice("a|bc|d", "d"));
    assert_true(words_choice("one", "one"));
    assert_false(words_choice("a|bc|d", "b"));
    assert_false(words_choice("a|bc|d", "bcd"));
    assert_false(words_choice("a|bc|d", "a|bc"));
    assert_false(words_choice("a|bc|d", ""));
    assert_false(words_choice("a|bc|d", "|"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances),
        cmocka_unit_test(long_words_are_near_nothing),
        cmocka_unit_test(choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
