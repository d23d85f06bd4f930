/* The tree of commands: each node knows its name, summary, options and what runs it; help and the man page are printed
 * from it, so they cannot differ from what is parsed.
 */
#ifndef FERRY_CLI_COMMAND_H
#define FERRY_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

/* Exit codes; stable, documented in the man page. */
enum exit_code {
    EXIT_DONE = 0,   /* done and verified */
    EXIT_FAILED = 1, /* failed, nothing changed */
    EXIT_USAGE = 2,
    EXIT_REFUSED = 3, /* by a check */
    EXIT_PARTLY = 4,  /* re-run resumes */
    EXIT_TIME = 5,    /* time is up and nothing runs; re-run resumes */
    EXIT_UNREACHABLE = 6,
    EXIT_CONFIGURATION = 7,
    EXIT_UNCONFIRMED = 8,
};

#define COMMAND_OPTIONS_MAX 16
#define COMMAND_ARGS_MAX    8

struct command_option {
    const char *name;  /* without dashes */
    const char *value; /* what it takes, for help; NULL = a flag */
    const char *help;
};

struct command_line; /* what was parsed */

struct command {
    const char *name;
    const char *args; /* for help: "SERVICE TOPIC PARTITION OFFSET" */
    int args_least;
    int args_most;
    const char *summary;
    const char *text;                     /* more help, whole lines; NULL = none */
    const struct command_option *options; /* ends with a NULL name */
    int (*run)(const struct command_line *line);
    const struct command *children; /* ends with a NULL name; NULL = a leaf */
};

struct command_line {
    const struct command *command;
    const char *args[COMMAND_ARGS_MAX];
    int args_count;
    struct {
        const char *name;
        const char *value;
    } options[COMMAND_OPTIONS_MAX];
    int options_count;
};

/* Options that every command has: --config, -o, -q, --timeout, --help. */
extern const struct command_option command_common[];

/* Value of an option ("" for a flag), NULL when not given. */
const char *command_get(const struct command_line *line, const char *name);
bool command_has(const struct command_line *line, const char *name);
/* A whole number in range; false with ERR_USAGE. */
bool command_number(const char *text, const char *what, int64_t least, int64_t most, int64_t *out,
                    struct err *err);

/* Parse and run; prints help or the usage error. Returns the exit code. */
int command_main(const struct command *root, int argc, char **argv);
/* roff of the whole tree for man 1. */
void command_man(const struct command *root, FILE *out);

/* Say what went wrong on stderr, with the next command, and give the exit code that fits. */
int command_fail(const struct err *err);

#endif
