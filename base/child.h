/* One run of a program that the operator names: text in, text out, a bound on time and on both. Blocks.
 *
 * Promises: no shell; the environment is what the caller lists; none of our descriptors, signals' handlers or masks go
 * along; the program and what it starts are one process group, and are ended when time is up. What it writes beyond the
 * bound is read and dropped.
 */
#ifndef FERRY_BASE_CHILD_H
#define FERRY_BASE_CHILD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CHILD_OUT_BYTES \
    ((size_t)64 << 10)       /* of its standard output; more is an error of its own: out_cut */
#define CHILD_SAID_BYTES 400 /* of its standard error: the beginning */

struct child_options {
    const char *const *argv; /* [0] is an absolute path; ends with NULL */
    const char *const *env;  /* "NAME=value"; ends with NULL */
    const char *in;          /* its standard input; "" = none */
    int32_t timeout_ms;
};

struct child_result {
    int code;     /* its exit code; -1: a signal ended it, or time was up */
    int signal;   /* that signal; 0 = none */
    bool time_up; /* we ended it */
    bool out_cut;
    char *out; /* heap, ends with a 0; never NULL after success */
    size_t out_len;
    char said[CHILD_SAID_BYTES]; /* for people; not yet safe for a terminal */
};

/* @return false: it was not started. ERR_CONFIG: it is no program, or others may write it; ERR_RETRY: out of something */
MUST_CHECK
bool child_run(const struct child_options *options, struct child_result *out, struct err *err);
void child_result_done(struct child_result *result);

#endif
