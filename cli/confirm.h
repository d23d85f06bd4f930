/* Typed consent: an operator types the service's name. Without a terminal only --yes counts. */
#ifndef FERRY_CLI_CONFIRM_H
#define FERRY_CLI_CONFIRM_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "cli/command.h"

/* @param question  what will happen, whole sentences; printed to stderr on a terminal
 * @return false with ERR_USAGE and code EXIT_UNCONFIRMED in err->code when it was not confirmed */
MUST_CHECK
bool confirm(const struct command_line *line, const char *question, const char *name,
             struct err *err);

/* The same with its surroundings given: for tests. @param terminal  somebody sees the question and can answer */
MUST_CHECK
bool confirm_with(const struct command_line *line, const char *question, const char *name,
                  bool terminal, FILE *in, FILE *out, struct err *err);

#endif
