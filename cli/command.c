#include "cli/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ferry_version.h"

#define DEPTH_MAX 4

const struct command_option command_common[] = {
    {"config",  "FILE",      "configuration; default FERRY_CONFIG, else /etc/ferry/ferry.json"},
    {"o",       "text|json", "how results are printed; json is stable"                        },
    {"q",       NULL,        "no talk on standard error, only results and errors"             },
    {"timeout", "SECONDS",   "give up after so long; default 30"                              },
    {"help",    NULL,        "this"                                                           },
    {NULL,      NULL,        NULL                                                             },
};

static const struct command_option *option_in(const struct command_option *options,
                                              const char *name, size_t len)
{
    for (; options != NULL && options->name != NULL; options++) {
        if (strlen(options->name) == len && strncmp(options->name, name, len) == 0) {
            return options;
        }
    }
    return NULL;
}

const char *command_get(const struct command_line *line, const char *name)
{
    for (int i = 0; i < line->options_count; i++) {
        if (strcmp(line->options[i].name, name) == 0) {
            return line->options[i].value;
        }
    }
    return NULL;
}

bool command_has(const struct command_line *line, const char *name)
{
    return command_get(line, name) != NULL;
}

bool command_number(const char *text, const char *what, int64_t least, int64_t most, int64_t *out,
                    struct err *err)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < least || value > most) {
        return err_set(err, ERR_USAGE, "%s: '%s' is no number from %lld to %lld", what, text,
                       (long long)least, (long long)most);
    }
    *out = value;
    return true;
}

/* --- help --------------------------------------------------------------------------------------------------------- */

static void path_of(const struct command *const *path, int depth, char *out, size_t room)
{
    out[0] = '\0';
    for (int i = 0; i <= depth; i++) {
        size_t used = strlen(out);
        snprintf(out + used, room - used, "%s%s", i == 0 ? "" : " ", path[i]->name);
    }
}

static void print_options(FILE *out, const struct command_option *options)
{
    for (; options != NULL && options->name != NULL; options++) {
        char left[64];
        const char *dashes = strlen(options->name) == 1 ? "-" : "--";
        snprintf(left, sizeof(left), "%s%s%s%s", dashes, options->name,
                 options->value == NULL ? "" : " ", options->value == NULL ? "" : options->value);
        fprintf(out, "  %-26s %s\n", left, options->help);
    }
}

static void print_help(FILE *out, const struct command *const *path, int depth)
{
    const struct command *command = path[depth];
    char name[128];
    path_of(path, depth, name, sizeof(name));
    if (command->children != NULL) {
        fprintf(out, "%s: %s\n\nusage: %s COMMAND\n\n", name, command->summary, name);
        for (const struct command *child = command->children; child->name != NULL; child++) {
            fprintf(out, "  %s %-12s %s\n", child->children != NULL ? "+" : " ", child->name,
                    child->summary);
        }
        fprintf(out, "\n`%s COMMAND --help` says more.\n", name);
        return;
    }
    fprintf(out, "%s: %s\n\nusage: %s%s%s [OPTIONS]\n", name, command->summary, name,
            command->args[0] == '\0' ? "" : " ", command->args);
    if (command->text != NULL) {
        fprintf(out, "\n%s", command->text);
    }
    fputs("\noptions:\n", out);
    print_options(out, command->options);
    print_options(out, command_common);
}

static void man_escaped(FILE *out, const char *text)
{
    bool begin = true;
    for (; *text != '\0'; text++) {
        if (begin && (*text == '.' || *text == '\'')) {
            fputs("\\&", out);
        }
        if (*text == '\\') {
            fputs("\\\\", out);
        } else if (*text == '-') {
            fputs("\\-", out);
        } else {
            fputc(*text, out);
        }
        begin = *text == '\n';
    }
}

static void man_options(FILE *out, const struct command_option *options)
{
    for (; options != NULL && options->name != NULL; options++) {
        fprintf(out, ".TP\n\\fB%s%s\\fR%s%s\n", strlen(options->name) == 1 ? "\\-" : "\\-\\-",
                options->name, options->value == NULL ? "" : " ",
                options->value == NULL ? "" : options->value);
        man_escaped(out, options->help);
        fputc('\n', out);
    }
}

static void man_leaf(FILE *out, const struct command *const *path, int depth)
{
    const struct command *command = path[depth];
    char name[128];
    if (command->children != NULL) {
        const struct command *below[DEPTH_MAX];
        memcpy(below, path, sizeof(*path) * (size_t)(depth + 1));
        for (const struct command *child = command->children; child->name != NULL; child++) {
            below[depth + 1] = child;
            man_leaf(out, below, depth + 1);
        }
        return;
    }
    path_of(path, depth, name, sizeof(name));
    fprintf(out, ".SS %s %s\n", name, command->args);
    man_escaped(out, command->summary);
    fputs(".\n", out);
    if (command->text != NULL) {
        fputs(".PP\n", out);
        man_escaped(out, command->text);
    }
    man_options(out, command->options);
}

void command_man(const struct command *root, FILE *out)
{
    const struct command *path[DEPTH_MAX] = {root};
    fprintf(out, ".TH FERRY 1 \"\" \"ferry " FERRY_VERSION "\"\n.SH NAME\nferry \\- ");
    man_escaped(out, root->summary);
    fputs("\n.SH SYNOPSIS\n\\fBferry\\fR COMMAND [ARGUMENTS] [OPTIONS]\n.SH COMMANDS\n", out);
    man_leaf(out, path, 0);
    fputs(".SH COMMON OPTIONS\n", out);
    man_options(out, command_common);
    fputs(".SH EXIT STATUS\n"
          "0 done and verified; 1 failed and nothing changed; 2 usage; 3 refused by a check; 4 "
          "partly done, a re-run\n"
          "resumes; 5 time is up and nothing runs, a re-run resumes; 6 cannot reach; 7 "
          "configuration; 8 not confirmed.\n"
          "\\fBferry status \\-\\-check\\fR: 0 ok, 1 warning, 2 critical, 3 unknown, as monitoring "
          "plugins.\n"
          ".SH ENVIRONMENT\nFERRY_CONFIG, NO_COLOR\n.SH SEE ALSO\nferryd(8)\n",
          out);
}

/* --- parsing ------------------------------------------------------------------------------------------------------ */

static int usage(const struct command *const *path, int depth, const char *what, const char *which)
{
    char name[128];
    path_of(path, depth, name, sizeof(name));
    fprintf(stderr, "%s: %s%s%s\n%s --help\n", name, what, which == NULL ? "" : ": ",
            which == NULL ? "" : which, name);
    return EXIT_USAGE;
}

/* One option at argv[*at]; moves *at over its value. NULL = fine, else what is wrong. */
static const char *take_option(struct command_line *line, int argc, char **argv, int *at)
{
    const char *text = argv[*at];
    const char *name = text + (text[1] == '-' ? 2 : 1);
    size_t len = strcspn(name, "=");
    const struct command_option *option = option_in(line->command->options, name, len);
    option = option != NULL ? option : option_in(command_common, name, len);
    if (option == NULL) {
        return "unknown option";
    }
    if (line->options_count == COMMAND_OPTIONS_MAX) {
        return "too many options";
    }
    const char *value = "";
    if (option->value != NULL) {
        value = name[len] == '=' ? name + len + 1 : (*at + 1 < argc ? argv[++*at] : NULL);
        if (value == NULL) {
            return "the option needs a value";
        }
    } else if (name[len] == '=') {
        return "the option takes no value";
    }
    line->options[line->options_count].name = option->name;
    line->options[line->options_count++].value = value;
    return NULL;
}

static int run_leaf(const struct command *const *path, int depth, int argc, char **argv)
{
    struct command_line line = {.command = path[depth]};
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            const char *wrong = take_option(&line, argc, argv, &i);
            if (wrong != NULL) {
                return usage(path, depth, wrong, argv[i < argc ? i : argc - 1]);
            }
        } else if (line.args_count == COMMAND_ARGS_MAX) {
            return usage(path, depth, "too many arguments", NULL);
        } else {
            line.args[line.args_count++] = argv[i];
        }
    }
    if (command_has(&line, "help")) {
        print_help(stdout, path, depth);
        return EXIT_DONE;
    }
    const char *output = command_get(&line, "o");
    if (output != NULL && strcmp(output, "json") != 0 && strcmp(output, "text") != 0) {
        return usage(path, depth, "-o takes text or json", NULL);
    }
    if (line.args_count < path[depth]->args_least || line.args_count > path[depth]->args_most) {
        return usage(path, depth, "arguments are",
                     path[depth]->args[0] == '\0' ? "none" : path[depth]->args);
    }
    return path[depth]->run(&line);
}

int command_main(const struct command *root, int argc, char **argv)
{
    const struct command *path[DEPTH_MAX] = {root};
    int depth = 0;
    int at = 1;
    while (path[depth]->children != NULL) {
        if (at >= argc) {
            print_help(stderr, path, depth);
            return EXIT_USAGE;
        }
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            print_help(stdout, path, depth);
            return EXIT_DONE;
        }
        const struct command *child = path[depth]->children;
        while (child->name != NULL && strcmp(child->name, argv[at]) != 0) {
            child++;
        }
        if (child->name == NULL) {
            return usage(path, depth, "unknown command", argv[at]);
        }
        path[++depth] = child;
        at++;
    }
    return run_leaf(path, depth, argc - at, argv + at);
}

int command_fail(const struct err *err)
{
    fprintf(stderr, "ferry: %s\n", err->what);
    if (err->hint[0] != '\0') {
        fprintf(stderr, "  next: %s\n", err->hint);
    }
    switch (err->kind) {
    case ERR_RETRY:
        return EXIT_UNREACHABLE;
    case ERR_REFUSED:
        return EXIT_REFUSED;
    case ERR_CONFIG:
        return EXIT_CONFIGURATION;
    case ERR_USAGE:
        return err->code == EXIT_UNCONFIRMED ? EXIT_UNCONFIRMED : EXIT_USAGE;
    case ERR_FATAL:
    case ERR_NONE:
        break;
    }
    return EXIT_FAILED;
}
