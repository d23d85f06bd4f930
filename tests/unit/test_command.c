/* The command line: what is parsed, what is refused, and that help and man page say the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/commands.h"
#include "cli/render.h"

static int ran;

static int run_leaf(const struct command_line *line)
{
    (void)line;
    ran++;
    return 42;
}

static const struct command_option leaf_options[] = {
    {.name = "flag", .help = "a flag"},
    {.name = "count", .value = "N", .help = "a number"},
    {.name = "kind", .value = "a|b", .help = "one of two"},
    {.name = "man", .help = "hidden", .hidden = true},
    {.name = NULL},
};
static const struct command leaves[] = {
    {.name = "leaf",
     .args = "A [B]",
     .args_least = 1,
     .args_most = 2,
     .summary = "does",
     .options = leaf_options,
     .run = run_leaf},
    {.name = NULL},
};
static const struct command areas[] = {
    {.name = "area", .args = "", .summary = "an area", .children = leaves},
    {.name = "version", .args = "", .summary = "version", .run = run_leaf},
    {.name = NULL},
};
static const struct command root = {
    .name = "tool", .args = "", .summary = "tool", .text = "text", .children = areas};

#define WORDS_MAX 16
static char copy[512];
static char *argv[WORDS_MAX];
static int argc;

/* "area leaf x" as main() would get it behind the program's name. */
static bool parse(const char *text, struct command_line *line, struct err *err)
{
    char *rest = NULL;
    snprintf(copy, sizeof(copy), "tool %s", text);
    argc = 0;
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = word;
    }
    *err = (struct err){0};
    return command_parse(&root, argc, argv, line, err);
}

static void takes_options_anywhere(void **state)
{
    (void)state;
    struct command_line line;
    struct err err;
    assert_true(parse("--config f area -q leaf x --flag --count=7 -ojson y", &line, &err));
    assert_string_equal(command_of(&line)->name, "leaf");
    assert_int_equal(line.args_count, 2);
    assert_string_equal(line.args[0], "x");
    assert_string_equal(line.args[1], "y");
    assert_string_equal(command_get(&line, "config"), "f");
    assert_string_equal(command_get(&line, "count"), "7");
    assert_string_equal(command_get(&line, "o"), "json");
    assert_true(command_has(&line, "flag"));
    assert_true(command_has(&line, "q"));
    assert_false(command_has(&line, "kind"));
    assert_null(command_get(&line, "kind"));
}

static void two_dashes_end_options(void **state)
{
    (void)state;
    struct command_line line;
    struct err err;
    assert_true(parse("area leaf -- --flag -q", &line, &err));
    assert_int_equal(line.args_count, 2);
    assert_string_equal(line.args[0], "--flag");
    assert_int_equal(line.options_count, 0);
    assert_true(parse("area leaf -", &line, &err)); /* a name like any other */
    assert_string_equal(line.args[0], "-");
}

static void refuses(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"area leaf x --nothing",       "tool area leaf: unknown option '--nothing'"         },
        {"area leaf x --fla",           "tool area leaf: unknown option '--fla'"             },
        {"--flag area leaf x",          "tool: unknown option '--flag'"                      },
        {"area leaf x -z",              "tool area leaf: unknown option '-z'"                },
        {"area leaf x -qq",             "tool area leaf: unknown option '-qq'"               },
        {"area leaf x --o json",        "tool area leaf: unknown option '--o'"               },
        {"area leaf x --flag=1",        "tool area leaf: takes no value: '--flag=1'"         },
        {"area leaf x --count",         "tool area leaf: a value is missing behind '--count'"},
        {"area leaf x --count --flag",  "tool area leaf: a value is missing behind '--count'"},
        {"area leaf x --flag --flag",   "tool area leaf: given twice: 'flag'"                },
        {"area leaf x --kind c",        "tool area leaf: --kind takes a|b, not 'c'"          },
        {"area leaf x --kind a|b",      "tool area leaf: --kind takes a|b, not 'a|b'"        },
        {"area leaf x -o yaml",         "tool area leaf: -o takes text|json, not 'yaml'"     },
        {"area leaf",                   "tool area leaf: its arguments are 'A [B]'"          },
        {"area leaf x y z",             "tool area leaf: its arguments are 'A [B]'"          },
        {"area leaf 1 2 3 4 5 6 7 8 9", "tool area leaf: too many arguments"                 },
        {"area quite-another",          "tool area: there is no command 'quite-another'"     },
        {"nothing",                     "tool: there is no command 'nothing'"                },
        {"version now",                 "tool version: its arguments are 'none'"             },
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct command_line line;
        struct err err;
        assert_false(parse(wrong[i][0], &line, &err));
        assert_string_equal(err.what, wrong[i][1]);
        assert_int_equal(command_exit(&err), EXIT_USAGE);
        assert_non_null(strstr(err.hint, "--help"));
    }
}

static void says_what_was_meant(void **state)
{
    (void)state;
    struct command_line line;
    struct err err;
    assert_false(parse("area leav x", &line, &err));
    assert_string_equal(err.hint, "tool area leaf");
    assert_false(parse("aera leaf x", &line, &err));
    assert_string_equal(err.hint, "tool area");
}

static void help_is_never_in_the_way(void **state)
{
    (void)state;
    struct command_line line;
    struct err err;
    assert_true(parse("area leaf --help", &line, &err)); /* without its argument */
    assert_true(line.help && !line.nothing);
    assert_true(parse("area leaf -h", &line, &err));
    assert_true(line.help);
    assert_true(parse("area", &line, &err));
    assert_true(line.help && line.nothing);
    assert_true(parse("", &line, &err));
    assert_true(line.help && line.nothing);
    assert_true(parse("--version", &line, &err));
    assert_string_equal(command_of(&line)->name, "version");
}

static void runs_what_was_named(void **state)
{
    (void)state;
    struct command_line line;
    struct err err;
    assert_true(parse("area leaf x", &line, &err));
    ran = 0;
    assert_int_equal(command_main(&root, argc, argv), 42);
    assert_int_equal(ran, 1);
    assert_true(parse("area", &line, &err));
    assert_int_equal(command_main(&root, argc, argv), EXIT_USAGE);
    assert_int_equal(ran, 1);
}

static void numbers(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "", " 1", "+1", "-1", "1x", "0x1", "101", "99999999999999999999", "1 "};
    int64_t value = -5;
    struct err err;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(command_number(wrong[i], "n", 0, 100, &value, &err));
        assert_int_equal(value, -5);
    }
    assert_true(command_number("100", "n", 0, 100, &value, &err));
    assert_int_equal(value, 100);
    assert_true(command_number("9223372036854775807", "n", 0, INT64_MAX, &value, &err));
    assert_true(value == INT64_MAX);
}

static void exit_codes(void **state)
{
    (void)state;
    struct err err = {.kind = ERR_RETRY};
    assert_int_equal(command_exit(&err), 6);
    err.kind = ERR_REFUSED;
    assert_int_equal(command_exit(&err), 3);
    err.kind = ERR_CONFIG;
    assert_int_equal(command_exit(&err), 7);
    err.kind = ERR_FATAL;
    assert_int_equal(command_exit(&err), 1);
    err = (struct err){.kind = ERR_USAGE, .code = EXIT_UNCONFIRMED};
    assert_int_equal(command_exit(&err), 8);
}

/* --- ferry's own tree --------------------------------------------------------------------------------------------- */

static void check_columns(const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        if (len > RENDER_WIDTH) {
            fail_msg("%zu columns: %.*s", len, (int)len, text);
        }
        text += len + (text[len] == '\n' ? 1 : 0);
    }
}

static void check_node(struct command_line *line)
{
    const struct command *command = command_of(line);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    command_help(line, out);
    fclose(out);
    check_columns(text);
    assert_non_null(strstr(text, command->summary[0] == '\0' ? "?" : "usage:"));
    free(text);
    assert_true(strlen(command->summary) > 0);
    assert_true(command->children != NULL || command->run != NULL);
    assert_true(command->args_most <= COMMAND_ARGS_MAX);
    int count = 5; /* command_common */
    for (const struct command_option *o = command->options; o != NULL && o->name != NULL; o++) {
        assert_true(strlen(o->help) > 0);
        count++;
    }
    assert_true(count <= COMMAND_OPTIONS_MAX);
    for (const struct command *child = command->children; child != NULL && child->name != NULL;
         child++) {
        assert_true(line->depth + 1 < COMMAND_DEPTH_MAX);
        line->path[++line->depth] = child;
        check_node(line);
        line->depth--;
    }
}

static void check_next(struct command_line *line, enum err_kind kind, int code, const char *hint,
                       const char *wanted)
{
    char *text = NULL;
    size_t len = 0;
    struct err err;
    FILE *out = open_memstream(&text, &len);
    err_set_code(&err, kind, code, "it did not go");
    err_hint(&err, "%s", hint);
    command_next(line, &err, out);
    fclose(out);
    assert_string_equal(text, wanted);
    free(text);
}

/* Whatever went wrong, the last line is a command that can be typed. */
static void an_error_ends_in_a_command(void **state)
{
    char *words[] = {"ferry", "fence", "sync", "orders", "--reason", "it is me", NULL};
    struct command_line line;
    struct err err;
    (void)state;
    assert_true(command_parse(&ferry_commands, 6, words, &line, &err));
    check_next(&line, ERR_REFUSED, 0, "ferry history orders", "  next: ferry history orders\n");
    check_next(&line, ERR_REFUSED, 0, "end it first: ferry dns swap orders --to b",
               "  next: end it first: ferry dns swap orders --to b\n");
    check_next(&line, ERR_RETRY, 0, "see `ferry --help`", "  next: see `ferry --help`\n");
    check_next(&line, ERR_REFUSED, 0, "systemctl stop ferryd, then again",
               "  next: systemctl stop ferryd, then again\n");
    /* No command is in these. */
    check_next(&line, ERR_REFUSED, 0, "you stopped the writers yourself: --force source",
               "  next: you stopped the writers yourself: --force source\n"
               "  then: ferry fence sync orders --reason 'it is me'\n");
    check_next(&line, ERR_REFUSED, 0, "ferry may not, ferryd neither",
               "  next: ferry may not, ferryd neither\n"
               "  then: ferry fence sync orders --reason 'it is me'\n");
    check_next(&line, ERR_CONFIG, 0, "mend it", "  next: mend it\n  then: ferry config check\n");
    check_next(&line, ERR_USAGE, EXIT_UNCONFIRMED, "add --yes",
               "  next: add --yes\n  then: ferry fence sync orders --reason 'it is me'\n");
    /* Nor was there a hint. */
    check_next(&line, ERR_REFUSED, 0, "", "  next: ferry status orders\n");
    check_next(&line, ERR_RETRY, 0, "", "  next: ferry fence sync orders --reason 'it is me'\n");
    check_next(&line, ERR_FATAL, 0, "", "  next: ferry fence sync orders --reason 'it is me'\n");
    check_next(&line, ERR_USAGE, 0, "", "  next: ferry fence sync --help\n");
    check_next(&line, ERR_CONFIG, 0, "", "  next: ferry config check\n");
}

static void help_fits_a_terminal(void **state)
{
    (void)state;
    struct command_line line = {.path = {&ferry_commands}};
    check_node(&line);
}

static char *printed_man(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    command_man(&ferry_commands, out);
    fclose(out);
    return text;
}

static void man_page_is_the_printed_one(void **state)
{
    (void)state;
    char *printed = printed_man();
    char stored[65536];
    FILE *file = fopen("docs/man/ferry.1", "r");
    assert_non_null(file);
    size_t len = fread(stored, 1, sizeof(stored) - 1, file);
    fclose(file);
    stored[len] = '\0';
    if (strcmp(printed, stored) != 0) {
        fail_msg("docs/man/ferry.1 is older than the tree: build/bin/ferry help --man "
                 ">docs/man/ferry.1");
    }
    assert_non_null(strstr(printed, "ferry offsets translate SERVICE"));
    assert_null(strstr(printed, "\\-\\-man")); /* hidden */
    free(printed);
}

static void check_completion(const char *shell, const char *path)
{
    char *printed = NULL;
    size_t len = 0;
    char stored[65536];
    FILE *out = open_memstream(&printed, &len);
    assert_true(command_completion(&ferry_commands, shell, out));
    fclose(out);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    stored[fread(stored, 1, sizeof(stored) - 1, file)] = '\0';
    fclose(file);
    if (strcmp(printed, stored) != 0) {
        fail_msg("%s is older than the tree: make docs", path);
    }
    assert_null(strstr(printed, "--man")); /* hidden */
    free(printed);
}

static void completions_are_the_printed_ones(void **state)
{
    (void)state;
    check_completion("bash", "docs/completions/ferry.bash");
    check_completion("zsh", "docs/completions/_ferry");
    assert_false(command_completion(&ferry_commands, "fish", stdout));
}

/* It goes into records of the control topic: one that JSON does not take deleted the fence's, and left an operation without its own. */
static void a_reason_in_another_encoding_is_recorded(void **state)
{
    struct command_line line;
    struct err err = {0};
    char reason[] = "d\xe9lai";
    char *words[] = {"ferry", "failover", "orders", "--reason", reason, NULL};
    char *without[] = {"ferry", "failover", "orders", NULL};
    (void)state;
    assert_true(command_parse(&ferry_commands, 5, words, &line, &err));
    assert_string_equal(command_reason(&line), "d?lai");
    assert_true(command_parse(&ferry_commands, 3, without, &line, &err));
    assert_string_equal(command_reason(&line), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_options_anywhere),
        cmocka_unit_test(two_dashes_end_options),
        cmocka_unit_test(refuses),
        cmocka_unit_test(says_what_was_meant),
        cmocka_unit_test(help_is_never_in_the_way),
        cmocka_unit_test(runs_what_was_named),
        cmocka_unit_test(numbers),
        cmocka_unit_test(exit_codes),
        cmocka_unit_test(an_error_ends_in_a_command),
        cmocka_unit_test(help_fits_a_terminal),
        cmocka_unit_test(man_page_is_the_printed_one),
        cmocka_unit_test(completions_are_the_printed_ones),
        cmocka_unit_test(a_reason_in_another_encoding_is_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
