/* config/diff: what differs between two configurations, key by key, and what only a restart takes over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>

#include "config/config.h"

static const char base[] =
    "{\"deployment\": \"d\", \"worker\": \"w\", \"state_dir\": \"/s\", \"sites\": {\"a\": "
    "{\"kafka\": {\"bootstrap.servers\": \"a:1\"}, \"secrets\": {\"sasl.password\": {\"env\": "
    "\"FERRY_TEST_DIFF\"}}}, \"b\": {\"kafka\": {\"bootstrap.servers\": \"b:1\"}}}, "
    "\"services\": {\"s\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": "
    "[\"t\"]}}}}";

struct seen {
    char text[4000];
    int restarts_count;
};

static void see(void *arg, const struct config_change *change)
{
    struct seen *seen = arg;
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof(seen->text) - used, "%s %s > %s;", change->path,
             change->before, change->after);
    seen->restarts_count += change->restart;
}

static struct config *parsed(const char *text)
{
    struct err err = {0};
    struct config *config = config_parse(text, strlen(text), "f", &err);
    if (config == NULL) {
        fail_msg("%s", err.what);
    }
    return config;
}

/* `base` with one stretch of its text replaced. */
static struct seen differ(const char *what, const char *with)
{
    char text[2000];
    const char *at = strstr(base, what);
    struct seen seen = {.restarts_count = 0};
    assert_non_null(at);
    snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - base), base, with, at + strlen(what));
    struct config *before = parsed(base);
    struct config *after = parsed(text);
    config_diff(before, after, see, &seen);
    config_free(before);
    config_free(after);
    return seen;
}

static void nothing_differs(void **state)
{
    (void)state;
    assert_string_equal(differ("\"t\"", "\"t\"").text, "");
    /* written out is what it was by default */
    assert_string_equal(differ("\"deployment\"", "\"log_level\": \"info\", \"deployment\"").text,
                        "");
}

static void what_a_reload_takes_over(void **state)
{
    (void)state;
    struct seen seen = differ("[\"t\"]", "[\"t\", {\"regex\": \"u+\"}]");
    assert_string_equal(seen.text,
                        "services.s.topics.include [\"t\"] > [\"t\",{\"regex\":\"u+\"}];");
    assert_int_equal(seen.restarts_count, 0);
    seen = differ("\"deployment\"",
                  "\"log_level\": \"debug\", \"mirror\": {\"resume_read\": \"2GiB\"}, "
                  "\"deployment\"");
    assert_string_equal(
        seen.text, "log_level \"info\" > \"debug\";mirror.resume_read 1073741824 > 2147483648;");
    assert_int_equal(seen.restarts_count, 0);
}

static void what_needs_a_restart(void **state)
{
    static const struct {
        const char *what;
        const char *with;
        const char *path;
    } rows[] = {
        {"\"d\"",                                "\"e\"",                                                     "deployment "                     },
        {"a:1",                                  "a:2",                                                       "sites.a.kafka.bootstrap.servers "},
        {"FERRY_TEST_DIFF",                      "OTHER",                                                     "sites.a.secrets.sasl.password "  },
        {"\"home\": \"a\", \"others\": [\"b\"]", "\"home\": \"b\", \"others\": [\"a\"]",
         "services.s.home "                                                                                                                     },
        {"\"services\": {",
         "\"services\": {\"u\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": "
         "[\"u\"]}}, ",                                                                                       "services.u "                     },
        {"\"b\": {\"kafka\": {",                 "\"b\": {\"redis\": {\"url\": \"redis://r\"}, \"kafka\": {",
         "sites.b.redis "                                                                                                                       },
        {"\"deployment\"",                       "\"mirror\": {\"fetch\": \"8MiB\"}, \"deployment\"",         "mirror.fetch "                   },
        {"\"deployment\"",                       "\"http\": {\"listen\": \"off\"}, \"deployment\"",           "http.listen "                    },
    };
    (void)state;
    setenv("FERRY_TEST_DIFF", "hunter2", 1);
    setenv("OTHER", "hunter3", 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct seen seen = differ(rows[i].what, rows[i].with);
        if (strstr(seen.text, rows[i].path) == NULL || seen.restarts_count == 0) {
            fail_msg("%s: %d %s", rows[i].path, seen.restarts_count, seen.text);
        }
        assert_null(strstr(seen.text, "hunter"));
    }
}

static void owners_let_go_one_after_the_other(void **state)
{
    (void)state;
    struct config *config = parsed(base);
    const struct config *other = config_ref(config);
    config_override(config, "w9", NULL);
    config_free(config);
    assert_string_equal(other->worker, "w9");
    assert_string_equal(other->http_listen, "127.0.0.1:9464");
    config_free(other); /* the last one: the leak checker looks */
    assert_null(config_ref(NULL));
    config_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_differs),
        cmocka_unit_test(what_a_reload_takes_over),
        cmocka_unit_test(what_needs_a_restart),
        cmocka_unit_test(owners_let_go_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
