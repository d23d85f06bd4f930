/* config/parse: the text, its keys and the types of its values; each refusal says where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/parse.h"

/* What every file needs, so that one thing at a time is wrong. */
#define SITE    "\"sites\": {\"a\": {\"kafka\": {}}}"
#define SERVICE "\"home\": \"a\", \"others\": [], \"topics\": {\"include\": [\"t\"]}"
#define REST    "\"deployment\": \"d\", " SITE ", \"services\": {\"s\": {" SERVICE "}}"

static json_t *parsed(const char *text, struct err *err)
{
    const struct parse_text file = {.name = "f", .text = text, .len = strlen(text)};
    err_clear(err);
    return parse_config(&file, err);
}

static void accepted(const char *text)
{
    struct err err;
    json_t *tree = parsed(text, &err);
    if (tree == NULL) {
        fail_msg("%s", err.what);
    }
    json_decref(tree);
}

static void refused(const char *text, const char *what)
{
    struct err err;
    assert_null(parsed(text, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_string_equal(err.what, what);
}

static void the_text_itself(void **state)
{
    struct err err;
    (void)state;
    accepted("{" REST "}");
    accepted("\r\n{" REST "\r\n}\r\n"); /* CRLF is white space */
    refused("\xef\xbb\xbf{}", "f:1:1: the file begins with a byte order mark; save it without");
    refused("[]", "f:1:1: (file): expected an object, found an array");
    assert_null(parsed("{\"a\": NaN}", &err));
    assert_int_equal(strncmp(err.what, "f:1:9: ", 7), 0);
    assert_null(parsed("{\"a\": 1,}", &err));
    assert_int_equal(strncmp(err.what, "f:1:9: ", 7), 0);
    refused("[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]", "f:1:1: nested deeper than 16");
    size_t len = PARSE_BYTES_MAX + 1;
    char *large = malloc(len + 1);
    memset(large, ' ', len);
    large[len] = '\0';
    refused(large, "f:1:1: 1048577 bytes are more than a configuration may have (1048576)");
    free(large);
}

/* S59: unknown keys and keys that stand twice. */
static void keys_are_known_and_stand_once(void **state)
{
    (void)state;
    refused("{" REST ",\n  \"deployement\": \"x\"}",
            "f:2:3: deployement: unknown key; did you mean \"deployment\"?");
    refused("{" REST ",\n\"mirror\": {\"fecth\": 1}}",
            "f:2:12: mirror.fecth: unknown key; did you mean \"fetch\"?");
    refused("{" REST ",\n\"xyzzy\": 1}", "f:2:1: xyzzy: unknown key");
    refused("{" REST ",\n\"http.listen\": \"off\"}", "f:2:1: http.listen: unknown key");
    refused("{" REST ",\n\"http\": {},\n\"http\": {}}", "f:3:1: http: stands here twice");
    refused("{" REST ", \"http\": {\"listen\": \"off\",\n \"listen\": \"off\"}}",
            "f:2:2: http.listen: stands here twice");
    refused("{\"deployment\": \"d\", \"sites\": {\"\": {\"kafka\": {}}}}",
            "f:1:21: sites: an empty name");
}

static void what_is_needed_is_missed(void **state)
{
    (void)state;
    refused("{}", "f:1:1: (file): \"deployment\" is missing: name of this installation; part of "
                  "the producer ids, "
                  "so never change it");
    refused("{\"deployment\": \"d\", \"sites\": {\"a\": {}}}",
            "f:1:31: sites.a: \"kafka\" is missing: librdkafka properties as they are; "
            "bootstrap.servers is needed");
    refused("{\"deployment\": \"d\", " SITE ",\n\"services\": {\"s\": {\"home\": \"a\"}}}",
            "f:2:14: services.s: \"others\" is missing: the other sites in order of preference");
}

/* One value at mirror.X or beside it, and what is said of it. */
static void values_have_types(void **state)
{
    static const struct {
        const char *member;
        const char *what;
    } rows[] = {
        {"\"mirror\": {\"fetch\": \"64MB\"}",
         "f:2:12: mirror.fetch: expected a size such as \"64MiB\" (B, KiB, MiB, GiB, TiB), found "
         "a string 64MB"                                                                                                            },
        {"\"mirror\": {\"fetch\": 1.5}",                                        "f:2:12: mirror.fetch: expected a size such as \"64MiB\" "
                                         "(B, KiB, MiB, GiB, TiB), found a real number"     },
        {"\"mirror\": {\"fetch\": 1}",                                          "f:2:12: mirror.fetch: 1 is not in 16384..67108864" },
        {"\"mirror\": {\"fetch\": \"1TiB\"}",
         "f:2:12: mirror.fetch: 1099511627776 is not in 16384..67108864"                                                            },
        {"\"mirror\": {\"produce_timeout\": \"2MiB\"}",
         "f:2:12: mirror.produce_timeout: expected a duration such as \"250ms\" (ms, s, m, h), "
         "found a string 2MiB"                                                                                                      },
        {"\"mirror\": {\"connections_per_broker\": \"2\"}",
         "f:2:12: mirror.connections_per_broker: expected a whole number, found a string 2"                                         },
        {"\"mirror\": {\"connections_per_broker\": 9}",
         "f:2:12: mirror.connections_per_broker: 9 is not in 1..8"                                                                  },
        {"\"mirror\": null",                                                    "f:2:1: mirror: expected an object, found null"     },
        {"\"mirror\": [1]",                                                     "f:2:1: mirror: expected an object, found an array" },
        {"\"worker\": 5",                                                       "f:2:1: worker: expected a string, found an integer"},
        {"\"worker\": true",                                                    "f:2:1: worker: expected a string, found a boolean" },
        {"\"http\": {\"listen\": \"http://me:pw@0:1\"}",
         "f:2:10: http.listen: no user or password inside a URL: there are keys for them, and "
         "secrets are "
         "{\"file\": \"...\"} or {\"env\": \"...\"}"                                                                                },
        {"\"dns\": {\"z\": {\"provider\": \"exec\", \"servers\": {}}}",
         "f:2:35: dns.z.servers: expected an array, found an object"                                                                },
        {"\"dns\": {\"z\": {\"provider\": \"exec\", \"servers\": [\"a\", 1]}}",
         "f:2:52: dns.z.servers.1: expected a string, found an integer"                                                             },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[2048];
        snprintf(text, sizeof(text), "{" REST ",\n%s}", rows[i].member);
        refused(text, rows[i].what);
    }
    accepted("{" REST ", \"mirror\": {\"fetch\": 65536, \"produce_timeout\": \"2s\", "
             "\"checkpoint_interval\": 100}}");
}

static void in_site(const char *members, const char *what)
{
    char text[2048];
    snprintf(text, sizeof(text), "{\"sites\": {\"a\": {\n%s}}}", members);
    refused(text, what);
}

static void secrets_are_references(void **state)
{
    const char *form =
        "{\"file\": \"...\"} or {\"env\": \"...\"}; a secret never stands in this file";
    char what[256];
    (void)state;
    snprintf(what, sizeof(what),
             "f:2:15: sites.a.secrets.sasl.password: expected %s, found a string", form);
    in_site("\"secrets\": {  \"sasl.password\": \"hunter2\"}", what);
    snprintf(what, sizeof(what), "f:2:14: sites.a.secrets.p: expected %s, found an object", form);
    in_site("\"secrets\": { \"p\": {}}", what);
    in_site("\"secrets\": { \"p\": {\"file\": \"a\", \"env\": \"b\"}}", what);
    in_site("\"secrets\": { \"p\": {\"file\": \"\"}}", what);
    in_site("\"secrets\": { \"p\": {\"fiel\": \"a\"}}", what);
    in_site("\"secrets\": { \"p\": {\"file\": 1}}", what);
}

static void properties_are_scalars(void **state)
{
    (void)state;
    in_site("\"kafka\": {\"x\": {}}",
            "f:2:11: sites.a.kafka.x: expected a string, a number or a boolean, found an object");
    in_site("\"kafka\": {\"x\": null}",
            "f:2:11: sites.a.kafka.x: expected a string, a number or a boolean, found null");
    in_site("\"kafka\": {\"x\": \"SSL://u:p@h\"}",
            "f:2:11: sites.a.kafka.x: no user or password inside a URL: there are keys for them, "
            "and secrets are "
            "{\"file\": \"...\"} or {\"env\": \"...\"}");
}

static void choices_and_patterns(void **state)
{
    (void)state;
    refused("{\"services\": {\"s\": {\"path\": \"fast\"}}}",
            "f:1:21: services.s.path: expected one of batches|records|auto, found fast");
    refused("{\"services\": {\"s\": {\"start\": \"earliest|latest\"}}}",
            "f:1:21: services.s.start: expected one of earliest|latest, found earliest|latest");
    refused("{\"services\": {\"s\": {\"start\": 1}}}",
            "f:1:21: services.s.start: expected one of earliest|latest, found an integer");
    refused("{\"services\": {\"s\": {\"topics\": {\"include\": [\"a\", {\"glob\": \"b\"}]}}}}",
            "f:1:49: services.s.topics.include.1: expected a glob, or {\"regex\": \"...\"}, found "
            "an object");
    refused("{\"services\": {\"s\": {\"topics\": {\"include\": [\"\"]}}}}",
            "f:1:44: services.s.topics.include.0: expected a glob, or {\"regex\": \"...\"}, found "
            "a string");
}

/* Names of any length and kind neither overrun nor stop a message. */
static void names_may_be_anything(void **state)
{
    char text[9000];
    char name[4000];
    struct err err;
    (void)state;
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    snprintf(text, sizeof(text), "{\"%s\": 1}", name);
    assert_null(parsed(text, &err));
    assert_string_equal(err.what, "f:1:1: (file): a name below is too long");
    name[900] = '\0';
    snprintf(text, sizeof(text), "{\"%s\": 1}", name);
    assert_null(parsed(text, &err));
    assert_non_null(strstr(err.what, ": unknown key"));
    snprintf(text, sizeof(text), "{\"sites\": {\"%s\": {\"%s\": 1}}}", name, name);
    assert_null(parsed(text, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    refused("{\"a%s%n\": 1}", "f:1:2: a%s%n: unknown key");
    refused("{\"sites\": {\"\\u0061\": {\"x\": 1}}}",
            "f:1:2: sites.a.x: unknown key"); /* the nearest place */
}

static void numbers_of_checked_values(void **state)
{
    json_t *integer = json_integer(70000);
    json_t *text = json_string("2MiB");
    (void)state;
    assert_int_equal(parse_number("mirror.fetch", integer), 70000);
    assert_int_equal(parse_number("mirror.fetch", text), 2 << 20);
    assert_int_equal(parse_number("mirror.fetch", NULL), 4 << 20);
    json_decref(integer);
    json_decref(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_itself),
        cmocka_unit_test(keys_are_known_and_stand_once),
        cmocka_unit_test(what_is_needed_is_missed),
        cmocka_unit_test(values_have_types),
        cmocka_unit_test(secrets_are_references),
        cmocka_unit_test(properties_are_scalars),
        cmocka_unit_test(choices_and_patterns),
        cmocka_unit_test(names_may_be_anything),
        cmocka_unit_test(numbers_of_checked_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
