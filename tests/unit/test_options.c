#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mirror/options.h"

static const char *config_variable;
static const char *http_variable;

static const char *fake_env(const char *name)
{
    if (strcmp(name, "FERRY_CONFIG") == 0) {
        return config_variable;
    }
    return strcmp(name, "FERRY_HTTP") == 0 ? http_variable : NULL;
}

static bool parse(const char *a, const char *b, const char *c, struct options *out, struct err *err)
{
    const char *const words[] = {"ferryd", a, b, c, NULL};
    int argc = 1;
    while (words[argc]) {
        argc++;
    }
    *err = (struct err){0};
    return options_parse(argc, (char *const *)(uintptr_t)words, fake_env, out, err);
}

static int setup(void **state)
{
    (void)state;
    config_variable = NULL;
    http_variable = NULL;
    return 0;
}

static void defaults(void **state)
{
    (void)state;
    struct options options;
    struct err err;
    assert_true(parse(NULL, NULL, NULL, &options, &err));
    assert_string_equal(options.config, "/etc/ferry/ferry.json");
    assert_null(options.http);
    assert_null(options.worker);
    assert_int_equal(options.log_level, LOG_INFO);
    assert_false(options.check || options.version || options.help);
}

static void both_forms_of_a_value(void **state)
{
    (void)state;
    struct options options;
    struct err err;
    assert_true(parse("--config", "a.json", "--http=off", &options, &err));
    assert_string_equal(options.config, "a.json");
    assert_string_equal(options.http, "off");
    assert_true(parse("--log-level=debug", "--check", NULL, &options, &err));
    assert_int_equal(options.log_level, LOG_DEBUG);
    assert_true(options.check);
}

static void the_command_line_beats_the_environment(void **state)
{
    (void)state;
    struct options options;
    struct err err;
    config_variable = "env.json";
    http_variable = "127.0.0.1:1";
    assert_true(parse("--config=line.json", NULL, NULL, &options, &err));
    assert_string_equal(options.config, "line.json");
    assert_string_equal(options.http, "127.0.0.1:1");
    config_variable = "";
    assert_true(parse(NULL, NULL, NULL, &options, &err));
    assert_string_equal(options.config, "/etc/ferry/ferry.json");
}

static void assert_usage(const char *a, const char *b, const char *what)
{
    struct options options = {.config = "untouched"};
    struct err err;
    assert_false(parse(a, b, NULL, &options, &err));
    assert_int_equal(err.kind, ERR_USAGE);
    assert_non_null(strstr(err.what, what));
    assert_non_null(strstr(err.hint, "--help"));
    assert_string_equal(options.config, "untouched");
}

static void wrong_command_lines_are_refused(void **state)
{
    (void)state;
    assert_usage("--configs", "x", "unknown option '--configs'");
    assert_usage("--conf", "x", "unknown option '--conf'");
    assert_usage("orders", NULL, "unexpected argument 'orders'");
    assert_usage("--config", NULL, "--config wants a value");
    assert_usage("--config=", NULL, "--config is empty");
    assert_usage("--check=yes", NULL, "--check takes no value");
    assert_usage("--log-level", "loud", "'loud'");
    assert_usage("-v", NULL, "unknown option '-v'");
}

static void worker_names_are_file_names(void **state)
{
    (void)state;
    assert_true(options_worker_valid("w-1.example_com"));
    assert_false(options_worker_valid(""));
    assert_false(options_worker_valid("../x"));
    assert_false(options_worker_valid(".x"));
    assert_false(options_worker_valid("a b"));
    char longest[102];
    memset(longest, 'a', sizeof(longest));
    longest[100] = '\0';
    assert_true(options_worker_valid(longest));
    longest[100] = 'a';
    longest[101] = '\0';
    assert_false(options_worker_valid(longest));
    assert_usage("--worker", "../etc", "'../etc' is not a name");
}

static void help_names_every_option(void **state)
{
    (void)state;
    static const char *const names[] = {"--config FILE",  "--http ADDR:PORT|off", "--worker NAME",
                                        "--check",        "--log-level LEVEL",    "--version",
                                        "[FERRY_CONFIG]", "[FERRY_HTTP]",         "--help"};
    char *help = options_help();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_non_null(strstr(help, names[i]));
    }
    free(help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults, setup),
        cmocka_unit_test_setup(both_forms_of_a_value, setup),
        cmocka_unit_test_setup(the_command_line_beats_the_environment, setup),
        cmocka_unit_test_setup(wrong_command_lines_are_refused, setup),
        cmocka_unit_test_setup(worker_names_are_file_names, setup),
        cmocka_unit_test_setup(help_names_every_option, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
