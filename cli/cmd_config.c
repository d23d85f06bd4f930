#include <stdlib.h>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/render.h"

int cmd_config_check(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    int code = EXIT_DONE;
    if (!context_config(&context, line, &err)) {
        code = command_fail(line, &err);
    } else if (context.json) {
        render_json(json_pack("{sosbsIsI}", "file", render_string(context.config->file), "ok", 1,
                              "sites", (json_int_t)context.config->sites_count, "services",
                              (json_int_t)context.config->services_count));
    } else {
        printf("%s: ok, %zu sites, %zu services\n", context.config->file,
               context.config->sites_count, context.config->services_count);
    }
    context_close(&context);
    return code;
}

int cmd_config_show(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    int code = EXIT_DONE;
    if (!context_config(&context, line, &err)) {
        code = command_fail(line, &err);
    } else {
        char *text = config_show(context.config);
        puts(text);
        free(text);
    }
    context_close(&context);
    return code;
}

int cmd_config_reference(const struct command_line *line)
{
    (void)line;
    char *text = config_reference();
    fputs(text, stdout);
    free(text);
    return EXIT_DONE;
}
