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

#define COMMAND_DEPTH_MAX   4  /* "ferry", area, verb, and one to spare */
#define COMMAND_OPTIONS_MAX 16 /* each is given once at most; no command has more */
#define COMMAND_ARGS_MAX    8

struct command_option {
    const char *name;  /* without dashes; one letter takes one dash */
    const char *value; /* what it takes, for help; "a|b" = one of these; NULL = a flag */
    const char *help;
    bool hidden; /* works, but is not in the help */
};

struct command_line; /* what was parsed */

struct command {
    const char *name;
    const char *args; /* for help: "SERVICE TOPIC PARTITION OFFSET" */
    int args_least;
    int args_most;
    const char *summary;
    const char *text; /* more help: paragraphs, wrapped when printed; NULL = none */
    const struct command_option *options; /* ends with a NULL name */
    int (*run)(const struct command_line *line);
    const struct command
        *children; /* ends with a NULL name; NULL = a leaf. With `run` it is both */
};

struct command_line {
    const struct command *path[COMMAND_DEPTH_MAX]; /* from the root to what was named */
    int depth;                                     /* of the last one */
    const char *args[COMMAND_ARGS_MAX];
    int args_count;
    struct {
        const char *name;
        const char *value; /* "" for a flag */
    } options[COMMAND_OPTIONS_MAX];
    int options_count;
    bool help;    /* --help was given, or a command is missing */
    bool nothing; /* a command is missing */
    int argc;     /* as it was typed */
    char **argv;
};

/* Options that every command has: --config, -o, -q, --timeout, --help. They may stand before the command too. */
extern const struct command_option command_common[];

static inline const struct command *command_of(const struct command_line *line)
{
    return line->path[line->depth];
}
/* Value of an option ("" for a flag), NULL when not given. */
const char *command_get(const struct command_line *line, const char *name);
/* --reason, for a record: "" = not given. What is no UTF-8 is a "?" from then on: a terminal may speak another encoding. */
const char *command_reason(const struct command_line *line);
bool command_has(const struct command_line *line, const char *name);
/* A whole number in range; false with ERR_USAGE. */
MUST_CHECK
bool command_number(const char *text, const char *what, int64_t least, int64_t most, int64_t *out,
                    struct err *err);
/* As command_number() of an option; *out is left alone when it is not given. */
MUST_CHECK
bool command_option_number(const struct command_line *line, const char *name, int64_t least,
                           int64_t most, int64_t *out, struct err *err);
/* "ferry offsets translate" */
char *command_name(const struct command_line *line, char *out, size_t room);

/* Names, options and arguments checked against the tree. false with ERR_USAGE; what is wrong names the command, the hint
 * its --help. Nothing is printed. */
MUST_CHECK
bool command_parse(const struct command *root, int argc, char **argv, struct command_line *out,
                   struct err *err);
/* Parse and run; prints help or the usage error. Returns the exit code. */
int command_main(const struct command *root, int argc, char **argv);

/* Help of what the line names, below 81 columns. */
void command_help(const struct command_line *line, FILE *out);
/* roff of the whole tree for man 1. */
void command_man(const struct command *root, FILE *out);

/* Completions of the whole tree for a shell, "bash" or "zsh"; false: another one. */
MUST_CHECK
bool command_completion(const struct command *root, const char *name, FILE *out);

/* Say on stderr what went wrong and what to type next (without a hint: what fits its kind), and give the exit code. */
int command_fail(const struct command_line *line, const struct err *err);
/* "  next: HINT"; and where that names no command, one more line "  then: COMMAND": what fits the error's kind. */
void command_next(const struct command_line *line, const struct err *err, FILE *out);
/* The exit code alone. */
int command_exit(const struct err *err);

#endif
