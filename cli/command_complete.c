/* Completions for shells, printed from the tree of commands: which words may stand behind what was typed. */
#include <string.h>

#include "cli/command.h"

#define PATH_ROOM 128

struct shell {
    const char *begin; /* up to the table of commands */
    const char *open;  /* before the words of a case */
    const char *path;  /* the variable that holds the commands so far */
    const char *middle;
    const char *end;
    void (*words)(FILE *out, const char *path, const struct command *command);
};

/* --- words -------------------------------------------------------------------------------------------------------- */

static const char *dashes(const struct command_option *option)
{
    return strlen(option->name) == 1 ? "-" : "--";
}

/* In single quotes of a shell. */
static void put_quoted(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            fputs("'\\''", out);
        } else {
            fputc(*text, out);
        }
    }
}

static void bash_words(FILE *out, const char *path, const struct command *command)
{
    const struct command_option *const lists[] = {command->options, command_common};
    fprintf(out, "        \"%s\") words='", path);
    for (const struct command *child = command->children; child != NULL && child->name != NULL;
         child++) {
        fprintf(out, "%s ", child->name);
    }
    for (size_t i = 0; command->run != NULL && i < 2; i++) {
        for (const struct command_option *option = lists[i]; option != NULL && option->name != NULL;
             option++) {
            if (!option->hidden) {
                fprintf(out, "%s%s ", dashes(option), option->name);
            }
        }
    }
    fputs("' ;;\n", out);
}

/* "name:what it is"; a colon in the name would end it, and none of ours has one. */
static void zsh_words(FILE *out, const char *path, const struct command *command)
{
    const struct command_option *const lists[] = {command->options, command_common};
    fprintf(out, "        (\"%s\") words_=(", path);
    for (const struct command *child = command->children; child != NULL && child->name != NULL;
         child++) {
        fprintf(out, "\n            '%s:", child->name);
        put_quoted(out, child->summary);
        fputc('\'', out);
    }
    for (size_t i = 0; command->run != NULL && i < 2; i++) {
        for (const struct command_option *option = lists[i]; option != NULL && option->name != NULL;
             option++) {
            if (!option->hidden) {
                fprintf(out, "\n            '%s%s:", dashes(option), option->name);
                put_quoted(out, option->help);
                fputc('\'', out);
            }
        }
    }
    fputs(") ;;\n", out);
}

/* --- shells ------------------------------------------------------------------------------------------------------- */

static const struct shell bash = {
    .begin = "# Printed by `ferry help --completion bash` from the tree of commands: change that.\n"
             "_ferry() {\n"
             "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
             "    local path=ferry words= word\n"
             "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
             "        case \"$path $word\" in\n",
    .open = "",
    .path = "path",
    .middle =
        "        esac\n"
        "    done\n"
        "    case $prev in\n"
        "        --config) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n"
        "        -o) mapfile -t COMPREPLY < <(compgen -W 'text json' -- \"$cur\"); return ;;\n"
        "    esac\n"
        "    case $path in\n",
    .end = "    esac\n"
           "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
           "}\n"
           "complete -F _ferry ferry\n",
    .words = bash_words};

static const struct shell zsh = {
    .begin = "#compdef ferry\n"
             "# Printed by `ferry help --completion zsh` from the tree of commands: change that.\n"
             "_ferry() {\n"
             "    local path_=ferry word\n"
             "    local -a words_\n"
             "    for word in ${words[2,CURRENT-1]}; do\n"
             "        case \"$path_ $word\" in\n",
    .open = "(",
    .path = "path_",
    .middle = "        esac\n"
              "    done\n"
              "    case ${words[CURRENT-1]} in\n"
              "        (--config) _files; return ;;\n"
              "        (-o) compadd text json; return ;;\n"
              "    esac\n"
              "    case $path_ in\n",
    .end = "    esac\n"
           "    _describe 'ferry' words_\n"
           "}\n"
           "_ferry \"$@\"\n",
    .words = zsh_words};

/* --- the tree ----------------------------------------------------------------------------------------------------- */

static void each(FILE *out, const struct shell *shell, const struct command *command,
                 const char *path, bool words)
{
    if (words) {
        shell->words(out, path, command);
    }
    for (const struct command *child = command->children; child != NULL && child->name != NULL;
         child++) {
        char below[PATH_ROOM];
        snprintf(below, sizeof(below), "%s %s", path, child->name);
        if (!words) {
            fprintf(out, "        %s\"%s\") %s=\"$%s $word\" ;;\n", shell->open, below, shell->path,
                    shell->path);
        }
        each(out, shell, child, below, words);
    }
}

bool command_completion(const struct command *root, const char *name, FILE *out)
{
    const struct shell *shell = strcmp(name, "bash") == 0  ? &bash
                                : strcmp(name, "zsh") == 0 ? &zsh
                                                           : NULL;
    if (shell == NULL) {
        return false;
    }
    fputs(shell->begin, out);
    each(out, shell, root, root->name, false);
    fputs(shell->middle, out);
    each(out, shell, root, root->name, true);
    fputs(shell->end, out);
    return true;
}
