/* config/show: the effective configuration without a secret; docs/configuration.md is what the table says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>

#include "config/config.h"
#include "config/keys.h"
#include "config/properties.h"

static const char text[] =
    "{\"deployment\": \"d\", \"worker\": \"w\", \"state_dir\": \"/s\", \"sites\": {\"a\": "
    "{\"zone\": \"z\", "
    "\"kafka\": {\"bootstrap.servers\": \"a:1\", \"sasl.mechanism\": \"PLAIN\", "
    "\"security.protocol\": \"SASL_SSL\"}, "
    "\"secrets\": {\"sasl.password\": {\"env\": \"FERRY_TEST_SHOW\"}}, "
    "\"operator\": {\"secrets\": {\"sasl.password\": {\"file\": \"/run/op\"}}}, "
    "\"redis\": {\"url\": \"redis://r\", \"password\": {\"env\": \"FERRY_TEST_SHOW\"}}}, "
    "\"b\": {\"kafka\": {\"bootstrap.servers\": \"b:1\"}}}, "
    "\"services\": {\"s\": {\"home\": \"a\", \"others\": [\"b\"], \"topics\": {\"include\": "
    "[\"t\", {\"regex\": \"u+\"}]}, "
    "\"cname\": [{\"record\": \"k\", \"at\": {\"a\": \"x\"}}]}}}";

static json_t *shown(void)
{
    struct err err;
    struct config *config = config_parse(text, sizeof(text) - 1, "f", &err);
    if (config == NULL) {
        fail_msg("%s", err.what);
    }
    setenv("FERRY_TEST_SHOW", "hunter2", 1);
    char *show = config_show(config);
    assert_non_null(show);
    assert_null(strstr(show, "hunter2"));
    json_t *tree = json_loads(show, 0, NULL);
    assert_non_null(tree);
    free(show);
    config_free(config);
    return tree;
}

static const json_t *at(const json_t *tree, const char *a, const char *b, const char *c,
                        const char *d)
{
    const char *const names[] = {a, b, c, d};
    for (int i = 0; i < 4 && names[i] != NULL; i++) {
        tree = json_object_get(tree, names[i]);
        if (tree == NULL) {
            fail_msg("%s is not there", names[i]);
        }
    }
    return tree;
}

static void everything_is_shown_but_secrets(void **state)
{
    (void)state;
    json_t *tree = shown();
    assert_string_equal(json_string_value(at(tree, "deployment", NULL, NULL, NULL)), "d");
    assert_string_equal(json_string_value(at(tree, "http", "listen", NULL, NULL)),
                        "127.0.0.1:9464");
    assert_string_equal(json_string_value(at(at(tree, "sites", "a", "secrets", "sasl.password"),
                                             "env", NULL, NULL, NULL)),
                        "FERRY_TEST_SHOW");
    assert_string_equal(json_string_value(at(at(tree, "sites", "a", "operator", "secrets"),
                                             "sasl.password", "file", NULL, NULL)),
                        "/run/op");
    assert_string_equal(json_string_value(at(tree, "sites", "b", "kafka", "bootstrap.servers")),
                        "b:1");
    assert_int_equal(json_integer_value(at(tree, "sites", "a", "redis", "timeout")), 1000);
    assert_string_equal(json_string_value(at(tree, "services", "s", "on_truncation", NULL)),
                        "continue");
    assert_int_equal(
        json_array_size(at(at(tree, "services", "s", "topics", "include"), NULL, NULL, NULL, NULL)),
        2);
    assert_int_equal(strlen(json_string_value(at(tree, "streams_hash", "s", NULL, NULL))), 16);
    json_decref(tree);
}

/* Every key of "mirror" has its effective value: a new one that is forgotten here is found. */
static void no_limit_is_forgotten(void **state)
{
    (void)state;
    json_t *tree = shown();
    for (size_t i = 0; i < config_keys_count; i++) {
        const char *path = config_keys[i].path;
        if (strncmp(path, "mirror.", 7) == 0) {
            assert_true(json_integer_value(at(tree, "mirror", path + 7, NULL, NULL)) ==
                        keys_default(path));
        }
    }
    json_decref(tree);
}

static void the_reference_has_every_key(void **state)
{
    char *reference = config_reference();
    char cell[160];
    (void)state;
    for (size_t i = 0; i < config_keys_count; i++) {
        snprintf(cell, sizeof(cell), "\n| `%s` | ", config_keys[i].path);
        assert_non_null(strstr(reference, cell));
    }
    for (size_t i = 0; i < properties_count; i++) {
        snprintf(cell, sizeof(cell), "\n| `%s` | ", properties[i].name);
        assert_non_null(strstr(reference, cell));
    }
    assert_non_null(
        strstr(reference, "| `mirror.fetch` | size, 16KiB to 64MiB | 4MiB | restart | "));
    assert_non_null(strstr(reference, "| `services.*.topics.include.[]` | pattern |  | reload | "));
    assert_non_null(strstr(reference, "| `services.*.home` | string | **needed** | restart | "));
    free(reference);
}

static void the_document_is_what_the_table_says(void **state)
{
    char *reference = config_reference();
    size_t len = strlen(reference);
    char *document = calloc(1, len + 2);
    FILE *file = fopen("docs/configuration.md", "r");
    (void)state;
    assert_non_null(file);
    size_t got = fread(document, 1, len + 1, file);
    fclose(file);
    if (got != len || memcmp(document, reference, len) != 0) {
        fail_msg("docs/configuration.md is old: ferry config reference >docs/configuration.md");
    }
    free(document);
    free(reference);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_shown_but_secrets),
        cmocka_unit_test(no_limit_is_forgotten),
        cmocka_unit_test(the_reference_has_every_key),
        cmocka_unit_test(the_document_is_what_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
