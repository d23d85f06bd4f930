/* base/json: what is refused and where it stands, typed members, one text for one value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

static json_t *parsed(const char *text)
{
    struct err err = {0};
    json_t *value = json_parse(text, strlen(text), "t", &err);
    if (value == NULL) {
        fail_msg("%s", err.what);
    }
    return value;
}

static void refused(const char *text, const char *what)
{
    struct err err = {0};
    assert_null(json_parse(text, strlen(text), "t", &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    if (strncmp(err.what, what, strlen(what)) != 0) { /* jansson's words may change behind it */
        assert_string_equal(err.what, what);
    }
}

static void errors_say_line_and_column(void **state)
{
    (void)state;
    refused("{\"a\": 1,\n \"b\": nope}", "t:2:10: ");
    refused("{\"a\": NaN}", "t:1:9: ");
    refused("{\"a\": 1} x", "t:1:10: ");
    refused("", "t:1:0: ");
}

static void a_duplicate_key_is_named_where_it_comes_again(void **state)
{
    (void)state;
    refused("{\"a\": 1, \"a\": 2}", "t:1:10: a: stands here twice");
    refused(
        "{\"b\": {\"x\": 1},\n \"c\": [{\"y\": {}},\n  {\"\\u00e9\": 1, \"z\": 1,\n   \"z\": 2}]}",
        "t:4:4: c.1.z: stands here twice");
}

static void an_escape_hides_no_depth(void **state)
{
    struct err err;
    char text[400];
    (void)state;
    /* a string that ends in an escaped quote, then depth; and depth that stands inside a string */
    char *at = stpcpy(text, "[\"\\\"\",");
    memset(at, '[', 70);
    memset(at + 70, ']', 70);
    memcpy(at + 140, "]", sizeof("]"));
    assert_null(json_parse(text, strlen(text), "t", &err));
    assert_string_equal(err.what, "t:1:1: nested deeper than 64");
    at = stpcpy(text, "[\"\\\"");
    memset(at, '[', 70);
    memcpy(at + 70, "\"]", sizeof("\"]"));
    json_decref(parsed(text));
}

/* S59: size and depth. */
static void bounds(void **state)
{
    struct err err;
    size_t len = (16 << 20) + 1;
    char *text = malloc(len);
    (void)state;
    memset(text, ' ', len);
    memcpy(text, "{}", 2);
    assert_null(json_parse(text, len, "t", &err));
    assert_non_null(strstr(err.what, "16777217 bytes"));
    json_t *value = json_parse(text, len - 1, "t", &err);
    assert_non_null(value);
    json_decref(value);
    free(text);
    refused("{\"a\": 9223372036854775808}", "t:1:25: ");
    refused("{\"a\": 1e999}", "t:1:11: ");
    refused("{\"a\\u0000b\": 1}", "t:1:11: ");
    refused("{\"a\": \"\xff\"}", "t:1:7: ");
}

static void members_are_typed(void **state)
{
    json_t *value =
        parsed("{\"s\": \"x\", \"i\": -5, \"b\": true, \"f\": false, \"r\": 1.5, \"n\": null}");
    const char *text = "untouched";
    int64_t number = 77;
    bool truth = false;
    struct err err;
    (void)state;
    assert_true(json_get_string(value, "s", &text, &err));
    assert_string_equal(text, "x");
    assert_true(json_get_int(value, "i", &number, &err));
    assert_int_equal(number, -5);
    assert_true(json_get_bool(value, "b", &truth, &err));
    assert_true(truth);
    assert_true(json_get_bool(value, "f", &truth, &err));
    assert_false(truth);
    assert_false(json_get_string(value, "i", &text, &err));
    assert_string_equal(err.what, "i: expected a string, found integer");
    assert_string_equal(text, "x");
    assert_false(json_get_int(value, "r", &number, &err));
    assert_string_equal(err.what, "r: expected an integer, found real");
    assert_false(json_get_int(value, "gone", &number, &err));
    assert_string_equal(err.what, "gone: expected an integer, found nothing");
    assert_false(json_get_bool(value, "n", &truth, &err));
    assert_string_equal(err.what, "n: expected true or false, found null");
    assert_int_equal(number, -5);
    json_decref(value);
}

static void the_same_value_has_one_text(void **state)
{
    (void)state;
    json_t *value = parsed("{\"b\": [1, {\"d\": \"\\u00e9\", \"c\": null}],\n \"a\": true}");
    char *text = json_text(value);
    assert_string_equal(text, "{\"a\":true,\"b\":[1,{\"c\":null,\"d\":\"\xc3\xa9\"}]}");
    free(text);
    text = json_pretty(value);
    assert_string_equal(text, "{\n  \"a\": true,\n  \"b\": [\n    1,\n    {\n      \"c\": null,\n  "
                              "    \"d\": \"\xc3\xa9\"\n"
                              "    }\n  ]\n}");
    free(text);
    json_decref(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_say_line_and_column),
        cmocka_unit_test(a_duplicate_key_is_named_where_it_comes_again),
        cmocka_unit_test(an_escape_hides_no_depth),
        cmocka_unit_test(bounds),
        cmocka_unit_test(members_are_typed),
        cmocka_unit_test(the_same_value_has_one_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
