#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/check.h"
#include "cli/render.h"

const char *check_level_name(enum check_level level)
{
    static const char *const names[] = {"ok", "warning", "unknown", "refused", "unreachable"};
    return names[level];
}

void check_found(struct check *check, enum check_level level, const char *what, const char *hint)
{
    check_found_as(check, NULL, level, what, hint);
}

void check_found_as(struct check *check, const char *name, enum check_level level, const char *what,
                    const char *hint)
{
    json_t *row = json_object();
    json_object_set_new(row, "check", render_string(name));
    json_object_set_new(row, "level", json_string(check_level_name(level)));
    json_object_set_new(row, "what", render_string(what));
    json_object_set_new(row, "next", hint[0] == '\0' ? json_null() : render_string(hint));
    json_array_append_new(check->findings, row);
    check->worst = level > check->worst ? level : check->worst;
    if (check->context->json || (level == CHECK_OK && check->context->quiet)) {
        return;
    }
    char head[64];
    snprintf(head, sizeof(head), "%s: %s%s", check_level_name(level), name == NULL ? "" : name,
             name == NULL ? "" : ": ");
    enum render_color color = level == CHECK_OK                                  ? COLOR_GOOD
                              : level == CHECK_WARNING || level == CHECK_UNKNOWN ? COLOR_WARN
                                                                                 : COLOR_BAD;
    printf("%s%s%s", render_color(color), head, render_color(COLOR_NONE));
    struct render_safe safe = render_safe(what);
    render_wrapped(stdout, safe.text, RENDER_WIDTH, (int)strlen(head), 4);
    if (hint[0] != '\0') {
        safe = render_safe(hint);
        fputs("    next: ", stdout);
        render_wrapped(stdout, safe.text, RENDER_WIDTH, 10, 4);
    }
}

void check_failed(struct check *check, const struct err *err)
{
    check_found(check, err->kind == ERR_RETRY ? CHECK_UNREACHABLE : CHECK_REFUSED, err->what,
                err->hint);
}
