/* services.*.filter: which records belong. Keys and header values are bytes, so globs alone, and no name is reserved. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/build.h"

#define GLOB_BYTES_MAX   1000
#define GLOBS_MAX        64 /* of one list: each is tried on every record */
#define HEADERS_MAX      16
#define HEADER_BYTES_MAX 249

static bool build_globs(const struct build *build, struct config_pattern **out, size_t *out_count,
                        const char *path, const json_t *array)
{
    size_t count = json_array_size(array);
    char item[BUILD_PATH_BYTES];

    if (count > GLOBS_MAX) {
        return parse_error(build->file, build->err, path, "more than %d globs", GLOBS_MAX);
    }
    *out = build_heap(calloc(count + 1, sizeof(**out)));
    while (*out_count < count) {
        const char *text = json_string_value(json_array_get(array, *out_count));
        snprintf(item, sizeof(item), "%.900s.%zu", path, *out_count);
        if (strlen(text) > GLOB_BYTES_MAX) {
            return parse_error(build->file, build->err, item, "the pattern is too long");
        }
        (*out)[(*out_count)++] =
            (struct config_pattern){.kind = PATTERN_GLOB, .text = build_copy(text)};
    }
    return true;
}

static bool build_lists(const struct build *build, struct config_patterns *globs, const char *path,
                        const json_t *tree)
{
    char include[BUILD_PATH_BYTES];
    char exclude[BUILD_PATH_BYTES];
    const json_t *included = json_object_get(tree, "include");

    snprintf(include, sizeof(include), "%.900s.include", path);
    snprintf(exclude, sizeof(exclude), "%.900s.exclude", path);
    if (included != NULL && json_array_size(included) == 0) {
        return parse_error(build->file, build->err, include,
                           "names nothing: no record would be mirrored");
    }
    return build_globs(build, &globs->include, &globs->include_count, include, included) &&
           build_globs(build, &globs->exclude, &globs->exclude_count, exclude,
                       json_object_get(tree, "exclude"));
}

static bool build_headers(const struct build *build, struct config_filter *filter, const char *path,
                          json_t *tree)
{
    char item[BUILD_PATH_BYTES];
    const char *name;
    json_t *value;

    snprintf(item, sizeof(item), "%.500s.headers", path);
    if (json_object_size(tree) > HEADERS_MAX) {
        return parse_error(build->file, build->err, item, "more than %d headers", HEADERS_MAX);
    }
    filter->headers = build_heap(calloc(json_object_size(tree) + 1, sizeof(*filter->headers)));
    json_object_foreach (tree, name, value) {
        struct config_header *header = &filter->headers[filter->headers_count++];
        header->name = build_copy(name);
        snprintf(item, sizeof(item), "%.500s.headers.%.300s", path, name);
        if (strlen(name) > HEADER_BYTES_MAX) {
            return parse_error(build->file, build->err, item, "the name is too long");
        }
        if (!build_lists(build, &header->globs, item, value)) {
            return false;
        }
    }
    return true;
}

static bool says_something(const struct config_filter *filter)
{
    bool says = filter->key.include_count + filter->key.exclude_count > 0;
    for (size_t i = 0; i < filter->headers_count; i++) {
        const struct config_patterns *globs = &filter->headers[i].globs;
        says = says || globs->include_count + globs->exclude_count > 0;
    }
    return says;
}

bool build_filter(const struct build *build, struct config_filter **out, const char *path,
                  const json_t *tree)
{
    char key[BUILD_PATH_BYTES];

    if (tree == NULL) {
        return true;
    }
    struct config_filter *filter = build_heap(calloc(1, sizeof(*filter)));
    *out = filter;
    snprintf(key, sizeof(key), "%.500s.key", path);
    if (!build_lists(build, &filter->key, key, json_object_get(tree, "key")) ||
        !build_headers(build, filter, path, json_object_get(tree, "headers"))) {
        return false;
    }
    return says_something(filter) ||
           parse_error(build->file, build->err, path, "filters nothing: leave it out");
}

void build_filter_done(struct config_filter *filter)
{
    if (filter == NULL) {
        return;
    }
    build_patterns_done(&filter->key);
    for (size_t i = 0; i < filter->headers_count; i++) {
        build_drop(filter->headers[i].name);
        build_patterns_done(&filter->headers[i].globs);
    }
    free(filter->headers);
    free(filter);
}
