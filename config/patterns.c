/* Which topics and groups belong: globs and anchored regular expressions, exclude wins, ours never. */
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/build.h"

#define PATTERN_BYTES_MAX 996 /* four times the longest topic name: none needs more */
#define NAME_BYTES        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

bool config_name_reserved(const char *name)
{
    return strncmp(name, "ferry.", 6) == 0 || strncmp(name, "ferry-", 6) == 0 ||
           strncmp(name, "__", 2) == 0;
}

/* --- matching ----------------------------------------------------------------------------------------------------- */

/* On a mismatch only the last star is tried again one character further: at most name * glob steps. */
static bool glob_match(const char *glob, const char *name)
{
    const char *star = NULL;
    const char *back = NULL;

    while (*name != '\0') {
        if (*glob == '*') {
            star = glob++;
            back = name;
        } else if (*glob == '?' || *glob == *name) {
            glob++;
            name++;
        } else if (star != NULL) {
            glob = star + 1;
            name = ++back;
        } else {
            return false;
        }
    }
    return glob[strspn(glob, "*")] == '\0';
}

static bool pattern_match(const struct config_pattern *pattern, const char *name)
{
    return pattern->kind == PATTERN_GLOB ? glob_match(pattern->text, name)
                                         : regexec(pattern->compiled, name, 0, NULL, 0) == 0;
}

bool build_pattern_any(const struct config_pattern *patterns, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (pattern_match(&patterns[i], name)) {
            return true;
        }
    }
    return false;
}

bool config_patterns_match(const struct config_patterns *patterns, const char *name)
{
    return !config_name_reserved(name) &&
           !build_pattern_any(patterns->exclude, patterns->exclude_count, name) &&
           build_pattern_any(patterns->include, patterns->include_count, name);
}

/* --- making ------------------------------------------------------------------------------------------------------- */

static bool refuse(const struct build *build, const char *path, const char *why)
{
    return parse_error(build->file, build->err, path, "%s", why);
}

/* Compile, or say why not. The regex is freed when it fails. */
static bool compile(const struct build *build, const char *path, const char *text, regex_t *out)
{
    char why[128];
    int rc = regcomp(out, text, REG_EXTENDED | REG_NOSUB);

    if (rc == 0) {
        return true;
    }
    regerror(rc, NULL, why, sizeof(why));
    return parse_error(build->file, build->err, path, "no regular expression (POSIX extended): %s",
                       why);
}

/* Counts and back references are refused: they make the C library's matcher take any time and memory, and names of
 * topics need neither. */
static bool regex_bounded(const struct build *build, const char *path, const char *text)
{
    if (strlen(text) > PATTERN_BYTES_MAX) {
        return refuse(build, path, "the regular expression is too long");
    }
    if (strchr(text, '{') != NULL) {
        return refuse(build, path, "counts such as {2,3} are not understood: use * and +");
    }
    for (const char *at = text; (at = strchr(at, '\\')) != NULL; at++) {
        if (at[1] >= '0' && at[1] <= '9') {
            return refuse(build, path, "back references are not understood");
        }
        at += at[1] != '\0'; /* what is escaped, a backslash too */
    }
    return true;
}

static bool build_regex(const struct build *build, struct config_pattern *pattern, const char *path)
{
    char anchored[PATTERN_BYTES_MAX + 8];
    regex_t alone;

    if (!regex_bounded(build, path, pattern->text)) {
        return false;
    }
    /* by itself first: "a)|(b" is an expression only between our brackets */
    if (!compile(build, path, pattern->text, &alone)) {
        return false;
    }
    regfree(&alone);
    snprintf(anchored, sizeof(anchored), "^(%s)$", pattern->text);
    regex_t *compiled = build_heap(calloc(1, sizeof(*compiled)));
    if (!compile(build, path, anchored, compiled)) {
        free(compiled);
        return false;
    }
    pattern->compiled = compiled;
    return true;
}

static bool glob_ok(const struct build *build, const char *path, const char *glob, bool topics)
{
    const char *wild = topics ? NAME_BYTES "*?" : NULL;
    size_t good = wild == NULL ? strlen(glob) : strspn(glob, wild);

    if (config_name_reserved(glob)) {
        return refuse(build, path,
                      "names that begin with ferry., ferry- or __ are reserved and never mirrored");
    }
    if (glob[good] != '\0') {
        return parse_error(build->file, build->err, path,
                           "'%c' stands in no topic name; a regular expression is written "
                           "{\"regex\": \"...\"}",
                           glob[good]);
    }
    return strlen(glob) <= PATTERN_BYTES_MAX || refuse(build, path, "the pattern is too long");
}

static bool build_pattern(const struct build *build, struct config_pattern *pattern,
                          const char *path, const json_t *value, bool topics)
{
    pattern->kind = json_is_string(value) ? PATTERN_GLOB : PATTERN_REGEX;
    if (pattern->kind == PATTERN_GLOB) {
        pattern->text = build_copy(json_string_value(value));
        return glob_ok(build, path, pattern->text, topics);
    }
    pattern->text = build_string(value, "regex");
    return build_regex(build, pattern, path);
}

bool build_pattern_list(const struct build *build, struct config_pattern **out, size_t *out_count,
                        const char *path, const json_t *array, bool topics)
{
    size_t count = json_array_size(array);
    char item[BUILD_PATH_BYTES];

    *out = build_heap(calloc(count + 1, sizeof(**out)));
    while (*out_count < count) {
        size_t i = (*out_count)++;
        snprintf(item, sizeof(item), "%.900s.%zu", path, i);
        if (!build_pattern(build, &(*out)[i], item, json_array_get(array, i), topics)) {
            return false;
        }
    }
    return true;
}

bool build_patterns(const struct build *build, struct config_patterns *patterns, const char *path,
                    const json_t *tree, bool topics)
{
    char include[BUILD_PATH_BYTES];
    char exclude[BUILD_PATH_BYTES];

    snprintf(include, sizeof(include), "%.900s.include", path);
    snprintf(exclude, sizeof(exclude), "%.900s.exclude", path);
    if (topics && json_array_size(json_object_get(tree, "include")) == 0) {
        return refuse(build, include, "names no topic: nothing would be mirrored");
    }
    return build_pattern_list(build, &patterns->include, &patterns->include_count, include,
                              json_object_get(tree, "include"), topics) &&
           build_pattern_list(build, &patterns->exclude, &patterns->exclude_count, exclude,
                              json_object_get(tree, "exclude"), topics);
}

static void list_done(struct config_pattern *patterns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        build_drop(patterns[i].text);
        if (patterns[i].compiled != NULL) {
            regfree(patterns[i].compiled);
            free(patterns[i].compiled);
        }
    }
    free(patterns);
}

void build_patterns_done(struct config_patterns *patterns)
{
    list_done(patterns->include, patterns->include_count);
    list_done(patterns->exclude, patterns->exclude_count);
}
