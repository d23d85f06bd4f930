/* What is printed from the tree of commands: help and the man page. */
#include <string.h>

#include "cli/command.h"
#include "cli/render.h"

#define LEFT_COLUMNS 26 /* of options and commands; a longer one has the line to itself */

/* --- help --------------------------------------------------------------------------------------------------------- */

static void print_pair(FILE *out, const char *left, const char *right)
{
    size_t len = strlen(left);
    fprintf(out, "  %s", left);
    if (len > LEFT_COLUMNS - 2) {
        fputc('\n', out);
        len = 0;
        fputs("  ", out);
    }
    fprintf(out, "%*s", (int)(LEFT_COLUMNS - len), "");
    render_wrapped(out, right, RENDER_WIDTH, LEFT_COLUMNS + 2, LEFT_COLUMNS + 2);
}

static void print_options(FILE *out, const struct command_option *options)
{
    for (; options != NULL && options->name != NULL; options++) {
        char left[80];
        if (options->hidden) {
            continue;
        }
        snprintf(left, sizeof(left), "%s%s%s%s", strlen(options->name) == 1 ? "-" : "--",
                 options->name, options->value == NULL ? "" : " ",
                 options->value == NULL ? "" : options->value);
        print_pair(out, left, options->help);
    }
}

static void print_children(FILE *out, const struct command *command)
{
    for (const struct command *child = command->children; child->name != NULL; child++) {
        char left[80];
        snprintf(left, sizeof(left), "%s%s%s", child->name, child->children != NULL ? " ..." : "",
                 "");
        print_pair(out, left, child->summary);
    }
}

void command_help(const struct command_line *line, FILE *out)
{
    const struct command *command = command_of(line);
    char name[128];
    char head[300];
    command_name(line, name, sizeof(name));
    snprintf(head, sizeof(head), "%s: %s", name, command->summary);
    render_wrapped(out, head, RENDER_WIDTH, 0, 4);
    if (command->run == NULL) {
        fprintf(out, "\nusage: %s COMMAND [ARGUMENTS] [OPTIONS]\n\n", name);
        print_children(out, command);
        fprintf(out, "\n`%s COMMAND --help` says more.\n", name);
        return;
    }
    fprintf(out, "\nusage: %s%s%s [OPTIONS]\n", name, command->args[0] == '\0' ? "" : " ",
            command->args);
    if (command->children != NULL) {
        fprintf(out, "       %s COMMAND [ARGUMENTS] [OPTIONS]\n\n", name);
        print_children(out, command);
    }
    if (command->text != NULL) {
        fputc('\n', out);
        render_wrapped(out, command->text, RENDER_WIDTH, 0, 0);
    }
    fputs("\noptions:\n", out);
    print_options(out, command->options);
    print_options(out, command_common);
}

/* --- man ---------------------------------------------------------------------------------------------------------- */

static void man_escaped(FILE *out, const char *text)
{
    for (bool begin = true; *text != '\0'; begin = *text++ == '\n') {
        if (begin && (*text == '.' || *text == '\'')) {
            fputs("\\&", out); /* else it would be a request */
        }
        if (*text == '\\') {
            fputs("\\e", out);
        } else if (*text == '-') {
            fputs("\\-", out);
        } else if (*text == '\n' && text[1] != '\0') {
            fputs("\n.PP\n", out);
        } else {
            fputc(*text, out);
        }
    }
}

static void man_options(FILE *out, const struct command_option *options)
{
    for (; options != NULL && options->name != NULL; options++) {
        if (options->hidden) {
            continue;
        }
        fprintf(out, ".TP\n\\fB%s", strlen(options->name) == 1 ? "\\-" : "\\-\\-");
        man_escaped(out, options->name);
        fputs("\\fR", out);
        if (options->value != NULL) {
            fputs(" \\fI", out);
            man_escaped(out, options->value);
            fputs("\\fR", out);
        }
        fputc('\n', out);
        man_escaped(out, options->help);
        fputc('\n', out);
    }
}

static void man_leaf(FILE *out, const struct command_line *line)
{
    const struct command *command = command_of(line);
    char name[128];
    fprintf(out, ".SS \"%s%s%s\"\n", command_name(line, name, sizeof(name)),
            command->args[0] == '\0' ? "" : " ", command->args);
    man_escaped(out, command->summary);
    fputc('\n', out);
    if (command->text != NULL) {
        fputs(".PP\n", out);
        man_escaped(out, command->text);
        fputc('\n', out);
    }
    man_options(out, command->options);
}

static void man_tree(FILE *out, struct command_line *line)
{
    const struct command *command = command_of(line);
    if (command->run != NULL) {
        man_leaf(out, line);
    }
    if (command->children == NULL) {
        return;
    }
    line->depth++;
    for (const struct command *child = command->children; child->name != NULL; child++) {
        line->path[line->depth] = child;
        man_tree(out, line);
    }
    line->depth--;
}

static const struct {
    const char *code;
    const char *meaning;
} exit_table[] = {
    {"0", "done and verified"                                                   },
    {"1", "failed, and nothing was changed; verify: something differs"          },
    {"2", "the command line is wrong"                                           },
    {"3", "refused by a check; status: the service has no role"                 },
    {"4", "partly done: run it again; verify and translate: a part is not known"},
    {"5", "time is up and nothing runs: run it again"                           },
    {"6", "a cluster or Redis cannot be reached"                                },
    {"7", "the configuration is wrong"                                          },
    {"8", "not confirmed: nothing was changed"                                  },
};

static void man_exits(FILE *out)
{
    fputs(".SH EXIT STATUS\n", out);
    for (size_t i = 0; i < sizeof(exit_table) / sizeof(exit_table[0]); i++) {
        fprintf(out, ".TP\n\\fB%s\\fR\n%s\n", exit_table[i].code, exit_table[i].meaning);
    }
    fputs(".PP\n\\fBferry status \\-\\-check\\fR exits as monitoring plugins do: 0 ok, 1 warning, "
          "2 critical, 3 unknown.\n",
          out);
}

void command_man(const struct command *root, FILE *out)
{
    struct command_line line = {.path = {root}};
    fputs(".\\\" Printed by `ferry help --man` from the tree of commands: change that.\n"
          ".TH FERRY 1 \"\" \"Ferry\" \"Ferry\"\n.SH NAME\nferry \\- ",
          out);
    man_escaped(out, root->summary);
    fputs("\n.SH SYNOPSIS\n\\fBferry\\fR \\fICOMMAND\\fR [\\fIARGUMENTS\\fR] "
          "[\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n",
          out);
    man_escaped(out, root->text);
    fputs("\n.SH COMMANDS\n", out);
    man_tree(out, &line);
    fputs(".SH COMMON OPTIONS\n", out);
    man_options(out, command_common);
    man_exits(out);
    fputs(".SH ENVIRONMENT\n.TP\n\\fBFERRY_CONFIG\\fR\nthe configuration, where "
          "\\fB\\-\\-config\\fR is not given\n.TP\n\\fBNO_COLOR\\fR\nno colours, also on a "
          "terminal\n.SH FILES\n/etc/ferry/ferry.json\n.SH SEE ALSO\n\\fBferryd\\fR(8)\n",
          out);
}
