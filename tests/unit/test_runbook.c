/* docs/runbook.md, the plan and the messages in the sources say the same. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failover/runbook.h"

static char *printed(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    runbook_print(&plan_failover, out);
    fclose(out);
    return text;
}

static size_t lines_of(const char *text, const char *begin)
{
    size_t count = 0;
    for (; (text = strstr(text, begin)) != NULL; text++) {
        count++;
    }
    return count;
}

/* A step that was added has a row, one that went has none, and there is a command in each. */
static void rows_are_those_of_the_plan(void **state)
{
    char *text = printed();
    (void)state;
    for (size_t i = 0; i < plan_failover.count; i++) {
        const struct runbook_row *row = runbook_row(plan_failover.steps[i].name);
        if (row == NULL || strstr(row->type, "`ferry ") == NULL) {
            fail_msg("failover/runbook.c: nothing to type at %s", plan_failover.steps[i].name);
        }
    }
    assert_int_equal(lines_of(text, "\n| `"),
                     plan_failover.count + 1); /* `is at work` stands in the first table */
    assert_null(runbook_row("no-such-step"));
    free(text);
}

static void the_page_is_the_printed_one(void **state)
{
    char *text = printed();
    char stored[65536];
    FILE *file = fopen("docs/runbook.md", "r");
    (void)state;
    assert_non_null(file);
    stored[fread(stored, 1, sizeof(stored) - 1, file)] = '\0';
    fclose(file);
    if (strcmp(text, stored) != 0) {
        fail_msg("docs/runbook.md is older than the table: make docs");
    }
    free(text);
}

/* --- the messages ------------------------------------------------------------------------------------------------- */

#define TEXTS_BYTES (4 << 20)

/* A file's text behind `len` others, literals that stand one behind the other joined. */
static size_t take_file(const char *path, char *texts, size_t len)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t end = len + fread(texts + len, 1, TEXTS_BYTES - 1 - len, file);
    fclose(file);
    assert_true(end < TEXTS_BYTES - 1);
    texts[end] = '\0';
    char *to = texts + len;
    for (const char *at = texts + len; *at != '\0';) {
        size_t blanks = *at == '"' ? strspn(at + 1, " \n") : 0;
        if (blanks > 0 && at[1 + blanks] == '"') {
            at += blanks + 2;
        } else {
            *to++ = *at++;
        }
    }
    *to = '\0';
    return (size_t)(to - texts);
}

static char *sources(void)
{
    static const char *const patterns[] = {"failover/[!r]*.c", "cli/print_*.c",
                                           "cli/cmd_failover.c"};
    char *texts = malloc(TEXTS_BYTES);
    size_t len = 0;
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        glob_t found;
        assert_int_equal(glob(patterns[i], 0, NULL, &found), 0);
        for (size_t j = 0; j < found.gl_pathc; j++) {
            len = take_file(found.gl_pathv[j], texts, len);
        }
        globfree(&found);
    }
    return texts;
}

/* Each piece between two ".." stands somewhere. */
static void check_message(const char *texts, const char *message)
{
    for (const char *at = message; *at != '\0';) {
        const char *end = strstr(at, "..");
        size_t len = end == NULL ? strlen(at) : (size_t)(end - at);
        char piece[200];
        snprintf(piece, sizeof(piece), "%.*s", (int)len, at);
        for (size_t n = strlen(piece); n > 0 && strchr(": ", piece[n - 1]) != NULL; n--) {
            piece[n - 1] = '\0'; /* err_wrap() puts it there */
        }
        if (strspn(piece, " :,s") < strlen(piece) && strstr(texts, piece) == NULL) {
            fail_msg("nobody says '%s' (of '%s'): failover/runbook.c", piece, message);
        }
        at += len;
        at += strspn(at, ".");
    }
}

static void what_is_on_the_screen_is_what_is_said(void **state)
{
    char *texts = sources();
    (void)state;
    for (size_t i = 0; i < plan_failover.count; i++) {
        const struct runbook_row *row = runbook_row(plan_failover.steps[i].name);
        for (size_t j = 0; row != NULL && j < RUNBOOK_MESSAGES && row->messages[j] != NULL; j++) {
            check_message(texts, row->messages[j]);
        }
    }
    free(texts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_the_plan),
        cmocka_unit_test(the_page_is_the_printed_one),
        cmocka_unit_test(what_is_on_the_screen_is_what_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
