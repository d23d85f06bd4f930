#include "config/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "config/keys.h"

#define CONFIG_BYTES_MAX (1 << 20)
#define PATH_BYTES       1024
#define DEPTH_MAX        16

struct place {
    char *path;
    int line;
    int column;
};

struct parse_places {
    char *name;
    struct place *places;
    size_t count;
    size_t capacity;
};

/* --- where does each key stand? a second walk over text that jansson took already ------------------------------------ */

struct scan {
    const char *pos;
    const char *end;
    const char *line_begin;
    int line;
    struct parse_places *out;
    char path[PATH_BYTES];
};

static void places_add(struct parse_places *places, const char *path, int line, int column)
{
    if (places->count == places->capacity) {
        places->capacity = places->capacity == 0 ? 64 : places->capacity * 2;
        places->places = realloc(places->places, places->capacity * sizeof(*places->places));
    }
    char *copy = strdup(path);
    if (places->places == NULL || copy == NULL) {
        abort();
    }
    places->places[places->count++] = (struct place){.path = copy, .line = line, .column = column};
}

static void skip_space(struct scan *scan)
{
    while (scan->pos < scan->end && strchr(" \t\r\n", *scan->pos) != NULL) {
        if (*scan->pos == '\n') {
            scan->line++;
            scan->line_begin = scan->pos + 1;
        }
        scan->pos++;
    }
}

static void skip_string(struct scan *scan)
{
    scan->pos++;
    while (scan->pos < scan->end && *scan->pos != '"') {
        scan->pos += *scan->pos == '\\' ? 2 : 1;
    }
    scan->pos++;
}

static void scan_value(struct scan *scan, int depth);

static void scan_member(struct scan *scan, size_t path_len, const char *name, size_t name_len,
                        int depth)
{
    size_t used = path_len;
    if (path_len + name_len + 2 < PATH_BYTES) {
        if (used > 0) {
            scan->path[used++] = '.';
        }
        memcpy(scan->path + used, name, name_len);
        scan->path[used + name_len] = '\0';
    }
    places_add(scan->out, scan->path, scan->line, (int)(scan->pos - scan->line_begin) + 1);
    scan_value(scan, depth + 1);
    scan->path[path_len] = '\0';
}

static void scan_object(struct scan *scan, int depth)
{
    size_t path_len = strlen(scan->path);
    scan->pos++;
    for (skip_space(scan); scan->pos < scan->end && *scan->pos == '"'; skip_space(scan)) {
        const char *name = scan->pos + 1;
        const char *key_begin = scan->pos;
        skip_string(scan);
        size_t name_len = (size_t)(scan->pos - 1 - name);
        int line = scan->line;
        int column = (int)(key_begin - scan->line_begin) + 1;
        skip_space(scan);
        scan->pos++; /* the colon */
        skip_space(scan);
        size_t before = scan->out->count;
        scan_member(scan, path_len, name, name_len, depth);
        scan->out->places[before].line = line; /* the key's place, not its value's */
        scan->out->places[before].column = column;
        skip_space(scan);
        if (scan->pos < scan->end && *scan->pos == ',') {
            scan->pos++;
        }
    }
    scan->pos++;
}

static void scan_array(struct scan *scan, int depth)
{
    size_t path_len = strlen(scan->path);
    char index[16];
    scan->pos++;
    skip_space(scan);
    for (int i = 0; scan->pos < scan->end && *scan->pos != ']'; i++) {
        int len = snprintf(index, sizeof(index), "%d", i);
        scan_member(scan, path_len, index, (size_t)len, depth);
        skip_space(scan);
        if (scan->pos < scan->end && *scan->pos == ',') {
            scan->pos++;
        }
        skip_space(scan);
    }
    scan->pos++;
}

static void scan_value(struct scan *scan, int depth)
{
    skip_space(scan);
    if (scan->pos >= scan->end || depth > DEPTH_MAX * 4) {
        return;
    }
    if (*scan->pos == '{') {
        scan_object(scan, depth);
    } else if (*scan->pos == '[') {
        scan_array(scan, depth);
    } else if (*scan->pos == '"') {
        skip_string(scan);
    } else {
        while (scan->pos < scan->end && strchr(",]} \t\r\n", *scan->pos) == NULL) {
            scan->pos++;
        }
    }
}

static struct parse_places *find_places(const char *text, size_t len, const char *name)
{
    struct parse_places *places = calloc(1, sizeof(*places));
    if (places == NULL) {
        abort();
    }
    places->name = strdup(name);
    struct scan scan = {
        .pos = text, .end = text + len, .line_begin = text, .line = 1, .out = places};
    scan_value(&scan, 0);
    return places;
}

void parse_places_free(struct parse_places *places)
{
    if (places == NULL) {
        return;
    }
    for (size_t i = 0; i < places->count; i++) {
        free(places->places[i].path);
    }
    free(places->places);
    free(places->name);
    free(places);
}

bool parse_error(const struct parse_places *places, struct err *err, const char *path,
                 const char *format, ...)
{
    char reason[512];
    int line = 1;
    int column = 1;
    size_t longest = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    for (size_t i = 0; i < places->count; i++) {
        size_t len = strlen(places->places[i].path);
        if (len >= longest && strncmp(places->places[i].path, path, len) == 0 &&
            (path[len] == '\0' || path[len] == '.')) {
            longest = len;
            line = places->places[i].line;
            column = places->places[i].column;
        }
    }
    return err_set(err, ERR_CONFIG, "%s:%d:%d: %.300s: %s", places->name, line, column,
                   path[0] == '\0' ? "(file)" : path, reason);
}

/* --- check against the table ---------------------------------------------------------------------------------------- */

struct check {
    const struct parse_places *places;
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
                                        : "an integer";
        return parse_error(check->places, check->err, check->path, "expected %s, found %s%s%s",
                           form, type_name(value), json_is_string(value) ? " " : "",
                           json_is_string(value) ? json_string_value(value) : "");
    }
    if (number < key->least || number > key->most) {
        return parse_error(check->places, check->err, check->path, "%lld is not in %lld..%lld",
                           (long long)number, (long long)key->least, (long long)key->most);
    }
    return true;
}

static bool check_choice(struct check *check, const struct key *key, const json_t *value)
{
    const char *text = json_string_value(value);
    size_t len = text == NULL ? 0 : strlen(text);
    for (const char *choice = key->choices; len > 0 && choice != NULL;
         choice = strchr(choice, '|')) {
        choice += *choice == '|';
        if (strncmp(choice, text, len) == 0 && (choice[len] == '|' || choice[len] == '\0')) {
            return true;
        }
    }
    return parse_error(check->places, check->err, check->path, "expected one of %s, found %s",
                       key->choices, text != NULL ? text : type_name(value));
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
        ok = json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
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
    return ok || parse_error(check->places, check->err, check->path, "expected %s, found %s", form,
                             type_name(value));
}

static bool check_value(struct check *check, const struct key *key, const json_t *value);

/* @param key  what the member is in the table; NULL = unknown */
static bool check_member(struct check *check, const char *name, const struct key *key,
                         const json_t *value)
{
    size_t path_len = strlen(check->path);
    const char *table = check->table;
    if (path_len + strlen(name) + 2 >= PATH_BYTES) {
        return parse_error(check->places, check->err, check->path, "a name below is too long");
    }
    snprintf(check->path + path_len, PATH_BYTES - path_len, "%s%s", path_len > 0 ? "." : "", name);
    bool ok;
    if (key == NULL) {
        const char *suggested = keys_suggest(table, name);
        ok = parse_error(check->places, check->err, check->path, "unknown key%s%s%s",
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
            return parse_error(check->places, check->err, check->path, "\"%s\" is missing: %s",
                               name, key->help);
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
            return parse_error(check->places, check->err, check->path, "an empty name");
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
    const struct key *element = keys_member(check->table, "[]");
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
                   : parse_error(check->places, check->err, check->path,
                                 "expected an object, found %s", type_name(value));
    }
    if (key->type == KEY_ARRAY) {
        return json_is_array(value) ? check_array(check, value)
                                    : parse_error(check->places, check->err, check->path,
                                                  "expected an array, found %s", type_name(value));
    }
    return check_leaf(check, key, value);
}

json_t *parse_config(const char *text, size_t len, const char *name,
                     struct parse_places **out_places, struct err *err)
{
    if (len > CONFIG_BYTES_MAX) {
        err_set(err, ERR_CONFIG, "%s:1:1: %zu bytes are more than a configuration may have (%d)",
                name, len, CONFIG_BYTES_MAX);
        return NULL;
    }
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        err_set(err, ERR_CONFIG, "%s:1:1: the file begins with a byte order mark; save it without",
                name);
        return NULL;
    }
    json_t *tree = json_parse(text, len, name, err);
    if (tree == NULL) {
        return NULL;
    }
    struct parse_places *places = find_places(text, len, name);
    struct check check = {.places = places, .err = err, .table = ""};
    if (!check_value(&check, NULL, tree)) {
        json_decref(tree);
        parse_places_free(places);
        return NULL;
    }
    *out_places = places;
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
