/* Refusals before the success path: nothing is confirmed by accident. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/confirm.h"

static const struct command_option options[] = {
    {.name = "yes", .help = "do not ask"},
    {.name = NULL},
};
static const struct command leaf = {.name = "act", .args = "", .summary = "s", .options = options};

static char *shown;

/* Type `typed` (NULL: stdin is closed at once); *out_err as confirm() left it. */
static bool ask(bool yes, bool terminal, const char *typed, struct err *out_err)
{
    struct command_line line = {.path = {&leaf}};
    char input[600];
    size_t len = 0;
    if (yes) {
        line.options[line.options_count].name = "yes";
        line.options[line.options_count++].value = "";
    }
    snprintf(input, sizeof(input), "%s", typed == NULL ? "" : typed);
    FILE *in = typed == NULL ? fopen("/dev/null", "r") : fmemopen(input, strlen(input), "r");
    free(shown);
    shown = NULL;
    FILE *out = open_memstream(&shown, &len);
    *out_err = (struct err){0};
    bool ok = confirm_with(&line, "This does much.", "orders", terminal, in, out, out_err);
    fclose(in);
    fclose(out);
    return ok;
}

static void refused_without_a_terminal(void **state)
{
    (void)state;
    struct err err;
    assert_false(ask(false, false, "orders\n", &err)); /* a pipe that says it does not count */
    assert_int_equal(command_exit(&err), EXIT_UNCONFIRMED);
    assert_non_null(strstr(err.hint, "--yes"));
    assert_string_equal(shown, "");
}

static void refused_unless_the_name_is_typed(void **state)
{
    (void)state;
    static const char *const wrong[] = {"\n",        "y\n",       "yes\n",    "order\n",
                                        "orders \n", " orders\n", "ORDERS\n", "ordersorders\n",
                                        NULL};
    struct err err;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(ask(false, true, wrong[i], &err));
        assert_int_equal(command_exit(&err), EXIT_UNCONFIRMED);
    }
    assert_non_null(strstr(shown, "This does much."));
}

static void a_long_line_is_no_name(void **state)
{
    (void)state;
    struct err err;
    char typed[600];
    memset(typed, 'x', 500);
    snprintf(typed + 500, sizeof(typed) - 500,
             "\norders\n"); /* what is left is not taken for an answer */
    assert_false(ask(false, true, typed, &err));
}

static void confirmed(void **state)
{
    (void)state;
    struct err err;
    assert_true(ask(false, true, "orders\n", &err));
    assert_true(ask(false, true, "orders\r\n", &err));
    assert_true(ask(false, true, "orders", &err));
    assert_true(ask(true, false, NULL, &err));
    assert_string_equal(shown, ""); /* --yes asks nothing */
}

static int teardown(void **state)
{
    (void)state;
    free(shown);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_without_a_terminal),
        cmocka_unit_test(refused_unless_the_name_is_typed),
        cmocka_unit_test(a_long_line_is_no_name),
        cmocka_unit_test(confirmed),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
