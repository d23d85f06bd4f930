/* What is told of a check: findings, their hints, lists of names. See preflight_inside.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/heap.h"
#include "failover/preflight_inside.h"

void preflight_tell(struct preflight_list *list, enum preflight_check check,
                    enum preflight_level level, const char *format, ...)
{
    va_list args;
    list->list = must(reallocarray(list->list, list->count + 1, sizeof(*list->list)));
    struct preflight_finding *finding = &list->list[list->count++];
    *finding = (struct preflight_finding){.check = check, .level = level};
    va_start(args, format);
    vsnprintf(finding->what, sizeof(finding->what), format, args);
    va_end(args);
}

void preflight_hint(struct preflight_list *list, const char *format, ...)
{
    struct preflight_finding *finding = &list->list[list->count - 1];
    va_list args;
    va_start(args, format);
    vsnprintf(finding->hint, sizeof(finding->hint), format, args);
    va_end(args);
}

void preflight_unknown(struct preflight_list *list, enum preflight_check check, const char *what,
                       const struct err *err)
{
    preflight_tell(list, check, PREFLIGHT_UNKNOWN, "%s: %s", what, err->what);
    preflight_hint(list, "%s", err->hint);
    list->list[list->count - 1].unreachable = err->kind == ERR_RETRY;
}

void preflight_late(const struct preflight *preflight, struct preflight_list *list,
                    enum preflight_check check, const char *what)
{
    preflight_tell(list, check, PREFLIGHT_UNKNOWN, "%s: no answer within %d ms", what,
                   preflight->limit_ms);
    list->list[list->count - 1].unreachable = true;
}

void preflight_name_add(struct preflight_names *names, const char *format, ...)
{
    char one[320];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(one, sizeof(one), format, args);
    va_end(args);
    names->count++;
    /* Room is kept for ", " and for the end. */
    if (len > 0 && names->shown + 1 == names->count &&
        names->used + (size_t)len + 24 < sizeof(names->text)) {
        names->used +=
            (size_t)snprintf(names->text + names->used, sizeof(names->text) - names->used, "%s%s",
                             names->shown > 0 ? ", " : "", one);
        names->shown++;
    }
}

const char *preflight_names_text(struct preflight_names *names)
{
    if (names->shown < names->count) {
        snprintf(names->text + names->used, sizeof(names->text) - names->used, " and %zu more",
                 names->count - names->shown);
    }
    return names->text;
}
