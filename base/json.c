#include "base/json.h"

#include <assert.h>
#include <string.h>

#include "base/heap.h"
#include "base/json_place.h"

#define JSON_BYTES_MAX (16 << 20)

static void say_duplicate(const char *text, size_t len, const json_error_t *where, const char *name,
                          struct err *err)
{
    struct json_place place;

    json_place_before(text, len, (size_t)(where->position < 0 ? 0 : where->position), &place);
    err_set(err, ERR_CONFIG, "%s:%d:%d: %.300s: stands here twice", name, place.line, place.column,
            place.path);
}

json_t *json_parse(const char *text, size_t len, const char *name, struct err *err)
{
    json_error_t where;

    if (len > JSON_BYTES_MAX) {
        err_set(err, ERR_CONFIG, "%s:1:1: %zu bytes of JSON, more than %d", name, len,
                JSON_BYTES_MAX);
        return NULL;
    }
    if (json_depth(text, len) > JSON_DEPTH_MAX) {
        err_set(err, ERR_CONFIG, "%s:1:1: nested deeper than %d", name, JSON_DEPTH_MAX);
        return NULL;
    }
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    if (value == NULL && json_error_code(&where) == json_error_duplicate_key) {
        say_duplicate(text, len, &where, name, err);
    } else if (value == NULL) {
        err_set(err, ERR_CONFIG, "%s:%d:%d: %s", name, where.line, where.column, where.text);
    }
    return value;
}

static bool wrong(const char *key, const char *expected, const json_t *value, struct err *err)
{
    static const char *const types[] = {"object", "array", "string", "integer",
                                        "real",   "true",  "false",  "null"};
    return err_set(err, ERR_REFUSED, "%s: expected %s, found %s", key, expected,
                   value == NULL ? "nothing" : types[json_typeof(value)]);
}

bool json_get_string(const json_t *object, const char *key, const char **out, struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) {
        return wrong(key, "a string", value, err);
    }
    *out = json_string_value(value);
    return true;
}

bool json_get_int(const json_t *object, const char *key, int64_t *out, struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value)) {
        return wrong(key, "an integer", value, err);
    }
    *out = json_integer_value(value);
    return true;
}

bool json_get_bool(const json_t *object, const char *key, bool *out, struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_boolean(value)) {
        return wrong(key, "true or false", value, err);
    }
    *out = json_is_true(value);
    return true;
}

char *json_text(const json_t *value)
{
    assert(value != NULL); /* json_pack() gives none for what is no UTF-8 */
    return must(json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY));
}
char *json_pretty(const json_t *value)
{
    return json_dumps(value, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENCODE_ANY);
}
