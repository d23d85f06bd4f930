/* What a service's failovers follow: max_loss, hooks. */
#include <stdlib.h>
#include <string.h>

#include "config/build.h"

#define HOOK_ARGS_MAX 64
#define LOSS_DIGITS   15 /* fits an int64_t and a JSON number */

const char *config_hook_name(enum config_hook hook)
{
    static const char *const names[CONFIG_HOOKS_COUNT] = {"pre", "fence", "evict", "post"};
    return names[hook];
}

static bool build_loss(const struct build *build, struct config_service *service, const char *path,
                       const json_t *tree)
{
    const json_t *value = json_object_get(tree, "max_loss");
    const char *text = json_string_value(value);
    char item[BUILD_PATH_BYTES];
    service->max_loss = CONFIG_LOSS_ASKED;
    if (value == NULL) {
        return true;
    }
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        service->max_loss = json_integer_value(value);
        return true;
    }
    if (text != NULL && strcmp(text, "unknown") == 0) {
        service->max_loss = CONFIG_LOSS_ANY;
        return true;
    }
    snprintf(item, sizeof(item), "%.500s.max_loss", path);
    return parse_error(build->file, build->err, item,
                       "expected a number of records, or \"unknown\"");
}

static bool build_hook(const struct build *build, const char ***out, const char *path,
                       const json_t *words)
{
    size_t count = json_array_size(words);
    if (words == NULL) {
        return true;
    }
    const char *program = json_string_value(json_array_get(words, 0));
    if (program == NULL || program[0] != '/') {
        return parse_error(build->file, build->err, path, "begins with no absolute path");
    }
    if (count > HOOK_ARGS_MAX) {
        return parse_error(build->file, build->err, path, "more than %d words", HOOK_ARGS_MAX);
    }
    *out = build_heap(calloc(count + 1, sizeof(**out)));
    for (size_t i = 0; i < count; i++) {
        (*out)[i] = build_copy(json_string_value(json_array_get(words, i)));
    }
    return true;
}

bool build_moves(const struct build *build, struct config_service *service, const char *path,
                 const json_t *tree)
{
    const json_t *hooks = json_object_get(tree, "hooks");
    char item[BUILD_PATH_BYTES];
    service->hooks_timeout_ms =
        (int32_t)parse_number("services.*.hooks.timeout", json_object_get(hooks, "timeout"));
    for (int hook = 0; hook < CONFIG_HOOKS_COUNT; hook++) {
        const char *name = config_hook_name((enum config_hook)hook);
        snprintf(item, sizeof(item), "%.500s.hooks.%s", path, name);
        if (!build_hook(build, &service->hooks[hook], item, json_object_get(hooks, name))) {
            return false;
        }
    }
    return build_loss(build, service, path, tree);
}

void build_moves_done(struct config_service *service)
{
    for (int hook = 0; hook < CONFIG_HOOKS_COUNT; hook++) {
        for (size_t i = 0; service->hooks[hook] != NULL && service->hooks[hook][i] != NULL; i++) {
            build_drop(service->hooks[hook][i]);
        }
        free(service->hooks[hook]);
    }
}
