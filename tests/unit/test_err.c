/* base/err: outermost context first, never more than there is room for, NULL is fine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static void an_error_has_kind_text_and_code(void **state)
{
    struct err err;
    (void)state;
    assert_false(err_set(&err, ERR_REFUSED, "topic '%s'", "orders"));
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_int_equal(err.code, 0);
    assert_string_equal(err.what, "topic 'orders'");
    assert_string_equal(err.hint, "");
    assert_false(err_set_code(&err, ERR_RETRY, 7, "timed out"));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_int_equal(err.code, 7);
}

static void context_stands_before_what_went_wrong(void **state)
{
    struct err err;
    (void)state;
    err_set_code(&err, ERR_FATAL, 13, "denied");
    assert_false(err_wrap(&err, "open %s", "a"));
    assert_false(err_wrap(&err, "start"));
    assert_string_equal(err.what, "start: open a: denied");
    assert_int_equal(err.kind, ERR_FATAL);
    assert_int_equal(err.code, 13);
}

static void a_new_error_has_no_old_hint(void **state)
{
    struct err err;
    (void)state;
    err_set(&err, ERR_CONFIG, "a");
    assert_false(err_hint(&err, "try %d", 1));
    assert_string_equal(err.hint, "try 1");
    err_wrap(&err, "b");
    assert_string_equal(err.hint, "try 1"); /* context keeps it */
    err_set(&err, ERR_CONFIG, "c");
    assert_string_equal(err.hint, "");
}

static void long_text_is_cut_not_overrun(void **state)
{
    struct {
        struct err err;
        char guard[8];
    } held;
    char text[4 * ERR_WHAT_BYTES];
    (void)state;
    memset(&held, 'g', sizeof(held));
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    err_set(&held.err, ERR_RETRY, "%s", text);
    err_hint(&held.err, "%s", text);
    assert_int_equal(strlen(held.err.what), ERR_WHAT_BYTES - 1);
    assert_int_equal(strlen(held.err.hint), ERR_HINT_BYTES - 1);
    err_wrap(&held.err, "%s", text);
    assert_int_equal(strlen(held.err.what), ERR_WHAT_BYTES - 1);
    err_set(&held.err, ERR_RETRY, "inner");
    err_wrap(&held.err, "%.*s", ERR_WHAT_BYTES - 4, text); /* room for the colon alone */
    assert_int_equal(strlen(held.err.what), ERR_WHAT_BYTES - 1);
    assert_memory_equal(held.guard, "gggggggg", 8);
}

/* Journals and reports are JSON, which takes nothing else: a text that a broker or a program says, or that is cut within a
 * character, would be missing there as a whole. */
static void it_is_utf8_wherever_it_is_cut(void **state)
{
    struct err err;
    char text[2 * ERR_WHAT_BYTES];
    (void)state;
    for (size_t i = 0; i + 3 < sizeof(text); i += 3) {
        snprintf(text + i, sizeof(text) - i, "\xe4\xb8\xad");
    }
    err_set(&err, ERR_RETRY, "a%s", text);
    err_hint(&err, "a%s", text);
    assert_string_equal(err.what + ERR_WHAT_BYTES - 1 - 4, "\xe4\xb8\xad?");
    assert_string_equal(err.hint + ERR_HINT_BYTES - 1 - 5, "\xe4\xb8\xad??");
    err_wrap(&err, "d\xe9");
    assert_memory_equal(err.what, "d?: a\xe4", 6);
}

static void an_error_may_be_made_from_itself(void **state)
{
    struct err err;
    (void)state;
    err_set(&err, ERR_RETRY, "first");
    err_set(&err, ERR_FATAL, "again: %s", err.what);
    assert_string_equal(err.what, "again: first");
}

static void nobody_needs_to_look(void **state)
{
    (void)state;
    assert_false(err_set(NULL, ERR_RETRY, "a"));
    assert_false(err_set_code(NULL, ERR_RETRY, 1, "a"));
    assert_false(err_wrap(NULL, "a"));
    assert_false(err_hint(NULL, "a"));
    err_clear(NULL);
}

static void clear_forgets_all(void **state)
{
    struct err err;
    (void)state;
    err_set_code(&err, ERR_RETRY, 3, "a");
    err_hint(&err, "b");
    err_clear(&err);
    assert_int_equal(err.kind, ERR_NONE);
    assert_int_equal(err.code, 0);
    assert_string_equal(err.what, "");
    assert_string_equal(err.hint, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_has_kind_text_and_code),
        cmocka_unit_test(context_stands_before_what_went_wrong),
        cmocka_unit_test(a_new_error_has_no_old_hint),
        cmocka_unit_test(long_text_is_cut_not_overrun),
        cmocka_unit_test(it_is_utf8_wherever_it_is_cut),
        cmocka_unit_test(an_error_may_be_made_from_itself),
        cmocka_unit_test(nobody_needs_to_look),
        cmocka_unit_test(clear_forgets_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
