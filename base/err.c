#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

__attribute__((format(printf, 4, 0))) static void set(struct err *err, enum err_kind kind, int code,
                                                      const char *format, va_list args)
{
    if (err == NULL) {
        return;
    }
    /* Through a copy: an argument may be the text that stands in `err` now. */
    char what[ERR_WHAT_BYTES];
    vsnprintf(what, sizeof(what), format, args);
    text_clean(what);
    err->kind = kind;
    err->code = code;
    memcpy(err->what, what, sizeof(what));
    err->hint[0] = '\0';
}

bool err_set(struct err *err, enum err_kind kind, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set(err, kind, 0, format, args);
    va_end(args);
    return false;
}

bool err_set_code(struct err *err, enum err_kind kind, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set(err, kind, code, format, args);
    va_end(args);
    return false;
}

bool err_wrap(struct err *err, const char *format, ...)
{
    if (err == NULL) {
        return false;
    }
    char context[ERR_WHAT_BYTES];
    char what[ERR_WHAT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof(context), format, args);
    va_end(args);
    memcpy(what, err->what, sizeof(what));
    size_t used = strlen(context);
    size_t room = sizeof(err->what) - used; /* at least the end's 0 */
    size_t len = strlen(what);
    memcpy(err->what, context, used + 1);
    if (room > 2) {
        memcpy(err->what + used, ": ", 2);
        len = len < room - 3 ? len : room - 3;
        memcpy(err->what + used + 2, what, len);
        err->what[used + 2 + len] = '\0';
    }
    text_clean(err->what);
    return false;
}

bool err_hint(struct err *err, const char *format, ...)
{
    if (err == NULL) {
        return false;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(err->hint, sizeof(err->hint), format, args);
    va_end(args);
    text_clean(err->hint);
    return false;
}

void err_clear(struct err *err)
{
    if (err != NULL) {
        *err = (struct err){0};
    }
}
