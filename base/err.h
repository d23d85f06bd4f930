/* What went wrong, for whom, and what to type next.
 *
 * An error is a value that the caller owns; nobody logs and returns: it is logged once, by who handles it.
 * `kind` decides policy, `what` says it with the outermost context first, `hint` tells on-call the next command. Both are
 * UTF-8, whatever brokers and programs say and wherever it is cut: they go to journals and reports, which are JSON.
 */
#ifndef FERRY_BASE_ERR_H
#define FERRY_BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

#define MUST_CHECK __attribute__((warn_unused_result))

enum err_kind {
    ERR_NONE = 0,
    ERR_RETRY,   /* the world may be better in a moment: back off and try again          */
    ERR_REFUSED, /* a check said no; nothing was changed                                  */
    ERR_FATAL,   /* going on would be wrong: stop this thing                              */
    ERR_CONFIG,  /* the configuration is wrong; `what` begins with file:line:column       */
    ERR_USAGE,   /* the command line is wrong                                             */
};

#define ERR_WHAT_BYTES \
    768 /* longest: path + topic (249) + two addresses + reason; cut, never overrun */
#define ERR_HINT_BYTES 256

struct err {
    enum err_kind kind;
    int code; /* Kafka error code, errno or HTTP status; 0 when there is none */
    char what[ERR_WHAT_BYTES];
    char hint[ERR_HINT_BYTES];
};

/* Fill `err` (NULL is allowed: the caller only wants the bool) and return false, so that
 * `return err_set(err, ...)` reads as one thing. The hint is cleared. @thread any */
bool err_set(struct err *err, enum err_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As err_set() with a Kafka error code or errno beside the text. @thread any */
bool err_set_code(struct err *err, enum err_kind kind, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Put context before what is there: "commit group 'a': connection refused". Returns false. */
bool err_wrap(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Say what to type next. Returns false, so it can stand after err_set() in a return. */
bool err_hint(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

void err_clear(struct err *err);

#endif
