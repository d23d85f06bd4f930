#include "config/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_place.h"
#include "config/keys.h"
#include "config/words.h"

#define PATH_BYTES JSON_PATH_BYTES

bool parse_error(const struct parse_text *file, struct err *err, const char *path,
                 const char *format, ...)
{
    char reason[ERR_WHAT_BYTES / 2];
    struct json_place place;
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    json_place_find(file->text, file->len, path, &place);
    return err_set(err, ERR_CONFIG, "%s:%d:%d: %.250s: %s", file->name, place.line, place.column,
                   path[0] == '\0' ? "(file)" : path, reason);
}

/* --- check against the table ---------------------------------------------------------------------------------------- */

struct check {
    const struct parse_text *file;
    struct err *err;
    char path[PATH_BYTES]; /* concrete, as in errors */
    const char *table;     /* the table's path of the same place */
};

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {"an object",     "an array",  "a string",  "an integer",
                                        "a real number", "a boolean", "a boolean", "null"};
    return names[json_typeof(value)];
}

static bool check_number(struct check *check, const struct key *key, const json_t *value)
{
    int64_t number = 0;
    bool ok = json_is_integer(value) || (json_is_string(value) && key->type != KEY_COUNT);
    if (ok && json_is_integer(value)) {
        number = json_integer_value(value);
    } else if (ok) {
        ok = keys_number(key->type, json_string_value(value), &number);
    }
    if (!ok) {
        const char *form =
            key->type == KEY_BYTES      ? "a size such as \"64MiB\" (B, KiB, MiB, GiB, TiB)"
            : key->type == KEY_DURATION ? "a duration such as \"250ms\" (ms, s, m, h)"
                                        : "a whole number";
        return parse_error(check->file, check->err, check->path, "expected %s, found %s%s%s", form,
                           type_name(value), json_is_string(value) ? " " : "",
                           json_is_string(value) ? json_string_value(value) : "");
    }
    if (number < key->least || number > key->most) {
        return parse_error(check->file, check->err, check->path, "%lld is not in %lld..%lld",
                           (long long)number, (long long)key->least, (long long)key->most);
    }
    return true;
}

static bool check_choice(struct check *check, const struct key *key, const json_t *value)
{
    const char *text = json_string_value(value);

    return (text != NULL && words_choice(key->choices, text)) ||
           parse_error(check->file, check->err, check->path, "expected one of %s, found %s",
                       key->choices, text != NULL ? text : type_name(value));
}

/* "scheme://user:password@host": such text gets into logs and lists of processes. */
static bool url_with_user(const char *text)
{
    const char *host = strstr(text, "://");

    return host != NULL && strchr(host, '@') != NULL;
}

static bool check_no_password(struct check *check, const json_t *value)
{
    return !json_is_string(value) || !url_with_user(json_string_value(value)) ||
           parse_error(check->file, check->err, check->path,
                       "no user or password inside a URL: there are keys for them, and secrets are "
                       "{\"file\": \"...\"} or {\"env\": \"...\"}");
}

static bool one_string_member(const json_t *value, const char *a, const char *b)
{
    const json_t *member = json_object_get(value, a);
    member = member != NULL || b == NULL ? member : json_object_get(value, b);
    return json_object_size(value) == 1 && json_is_string(member) &&
           json_string_value(member)[0] != '\0';
}

static bool check_leaf(struct check *check, const struct key *key, const json_t *value)
{
    bool ok = true;
    const char *form = "";
    switch (key->type) {
    case KEY_STRING:
        ok = json_is_string(value);
        form = "a string";
        break;
    case KEY_SCALAR:
        ok = json_is_string(value) || json_is_integer(value) || json_is_boolean(value) ||
             json_is_real(value);
        form = "a string, a number or a boolean";
        break;
    case KEY_BOOL:
        ok = json_is_boolean(value);
        form = "true or false";
        break;
    case KEY_PATTERN:
        ok = (json_is_string(value) && json_string_length(value) > 0) ||
             one_string_member(value, "regex", NULL);
        form = "a glob, or {\"regex\": \"...\"}";
        break;
    case KEY_SECRET:
        ok = one_string_member(value, "file", "env");
        form = "{\"file\": \"...\"} or {\"env\": \"...\"}; a secret never stands in this file";
        break;
    case KEY_CHOICE:
        return check_choice(check, key, value);
    case KEY_BYTES:
    case KEY_DURATION:
    case KEY_COUNT:
        return check_number(check, key, value);
    case KEY_OBJECT:
    case KEY_ARRAY:
        break;
    }
    if (!ok) {
        return parse_error(check->file, check->err, check->path, "expected %s, found %s", form,
                           type_name(value));
    }
    return check_no_password(check, value);
}

static bool check_value(struct check *check, const struct key *key, const json_t *value);

/* @param key  what the member is in the table; NULL = unknown */
static bool check_member(struct check *check, const char *name, const struct key *key,
                         const json_t *value)
{
    size_t path_len = strlen(check->path);
    const char *table = check->table;
    if (path_len + strlen(name) + 2 >= PATH_BYTES) {
        return parse_error(check->file, check->err, check->path, "a name below is too long");
    }
    snprintf(check->path + path_len, PATH_BYTES - path_len, "%s%s", path_len > 0 ? "." : "", name);
    bool ok;
    if (key == NULL) {
        const char *suggested = keys_suggest(table, name);
        ok = parse_error(check->file, check->err, check->path, "unknown key%s%s%s",
                         suggested == NULL ? "" : "; did you mean \"",
                         suggested == NULL ? "" : suggested, suggested == NULL ? "" : "\"?");
    } else {
        check->table = key->path;
        ok = check_value(check, key, value);
    }
    check->path[path_len] = '\0';
    check->table = table;
    return ok;
}

static bool check_required(struct check *check, const json_t *object)
{
    size_t table_len = strlen(check->table);
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct key *key = &config_keys[i];
        const char *last = strrchr(key->path, '.');
        const char *name = last == NULL ? key->path : last + 1;
        size_t above = last == NULL ? 0 : (size_t)(last - key->path);
        bool member = above == table_len && strncmp(key->path, check->table, table_len) == 0;
        if (key->required && member && json_object_get(object, name) == NULL) {
            return parse_error(check->file, check->err, check->path, "\"%s\" is missing: %s", name,
                               key->help);
        }
    }
    return true;
}

static bool check_object(struct check *check, json_t *object)
{
    const char *name;
    json_t *value;
    json_object_foreach (object, name, value) {
        if (name[0] == '\0') {
            return parse_error(check->file, check->err, check->path, "an empty name");
        }
        if (!check_member(check, name, keys_member(check->table, name), value)) {
            return false;
        }
    }
    return check_required(check, object);
}

static bool check_array(struct check *check, const json_t *array)
{
    size_t index;
    json_t *value;
    char name[32];
    const struct key *element = keys_element(check->table);
    json_array_foreach (array, index, value) {
        snprintf(name, sizeof(name), "%zu", index);
        if (!check_member(check, name, element, value)) {
            return false;
        }
    }
    return true;
}

/* @param key  NULL = the whole file */
static bool check_value(struct check *check, const struct key *key, const json_t *value)
{
    if (key == NULL || key->type == KEY_OBJECT) {
        json_t *members =
            (json_t *)(uintptr_t)value; /* jansson's iterators want it so; nothing is changed */
        return json_is_object(value)
                   ? check_object(check, members)
                   : parse_error(check->file, check->err, check->path,
                                 "expected an object, found %s", type_name(value));
    }
    if (key->type == KEY_ARRAY) {
        return json_is_array(value) ? check_array(check, value)
                                    : parse_error(check->file, check->err, check->path,
                                                  "expected an array, found %s", type_name(value));
    }
    return check_leaf(check, key, value);
}

static bool text_ok(const struct parse_text *file, struct err *err)
{
    if (file->len > PARSE_BYTES_MAX) {
        return err_set(err, ERR_CONFIG,
                       "%s:1:1: %zu bytes are more than a configuration may have (%d)", file->name,
                       file->len, PARSE_BYTES_MAX);
    }
    if (file->len >= 3 && memcmp(file->text, "\xef\xbb\xbf", 3) == 0) {
        return err_set(err, ERR_CONFIG,
                       "%s:1:1: the file begins with a byte order mark; save it without",
                       file->name);
    }
    if (json_depth(file->text, file->len) > PARSE_DEPTH_MAX) {
        return err_set(err, ERR_CONFIG, "%s:1:1: nested deeper than %d", file->name,
                       PARSE_DEPTH_MAX);
    }
    return true;
}

json_t *parse_config(const struct parse_text *file, struct err *err)
{
    json_t *tree = text_ok(file, err) ? json_parse(file->text, file->len, file->name, err) : NULL;
    struct check check = {.file = file, .err = err, .table = ""};

    if (tree != NULL && !check_value(&check, NULL, tree)) {
        json_decref(tree);
        tree = NULL;
    }
    return tree;
}

int64_t parse_number(const char *table_path, const json_t *value)
{
    int64_t number = 0;
    if (value == NULL) {
        return keys_default(table_path);
    }
    if (json_is_integer(value)) {
        return json_integer_value(value);
    }
    keys_number(keys_find(table_path)->type, json_string_value(value),
                &number); /* checked before */
    return number;
}
