#include "cli/links.h"

#include "cli/render.h"

static bool each_link(struct context *context, links_fn *run, json_t *links, struct err *err)
{
    const struct config_service *service = context->service;
    if (command_has(context->line, "to") || command_has(context->line, "link")) {
        return run(context, links, err);
    }
    for (size_t i = 0; i < service->others_count; i++) {
        context_link(context, service, context->from,
                     config_site(context->config, service->others[i]));
        if (!run(context, links, err)) {
            return err_wrap(err, "%s > %s", context->from->name, context->to->name);
        }
    }
    return true;
}

int links_command(const struct command_line *line, links_fn *run)
{
    struct context context;
    struct err err = {0};
    json_t *links = json_array();
    bool ok = context_open(&context, line, &err) && each_link(&context, run, links, &err);
    int code = EXIT_DONE;
    if (ok && context.json) {
        render_json(json_pack("{sssO}", "service", context.service->name, "links", links));
    }
    if (!ok) {
        code = command_fail(line, &err);
        code = json_array_size(links) > 0 ? EXIT_PARTLY : code;
    }
    json_decref(links);
    context_close(&context);
    return code;
}
