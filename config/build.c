#include "config/build.h"

#include <stdlib.h>
#include <string.h>

void *build_heap(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

const char *build_copy(const char *text)
{
    return text == NULL ? NULL : build_heap(strdup(text));
}

void build_drop(const char *text)
{
    free((void *)(uintptr_t)text);
}

const char *build_string(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text == NULL || text[0] == '\0' ? NULL : build_copy(text);
}

bool build_name_ok(const struct build *build, const char *name, const char *path)
{
    size_t len = strlen(name);
    size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return (len > 0 && len <= BUILD_NAME_MAX && good == len) ||
           parse_error(build->file, build->err, path,
                       "\"%.80s\" is no name: 1 to %d letters, digits, dots, underscores, dashes",
                       name, BUILD_NAME_MAX);
}
