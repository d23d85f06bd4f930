#include "cli/command.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/render.h"

#define NAME_ROOM 128

const struct command_option command_common[] = {
    {.name = "config",
     .value = "FILE",
     .help = "configuration; default FERRY_CONFIG, else /etc/ferry/ferry.json"},
    {.name = "o",
     .value = "text|json",
     .help = "how results are printed; json is stable, keys sorted"},
    {.name = "q", .help = "no talk on standard error, only results and errors"},
    {.name = "timeout",
     .value = "SECONDS",
     .help = "give up waiting for one answer or step after so long; default 30, status 5"},
    {.name = "help", .help = "say what the command does; also -h"},
    {.name = NULL},
};

/* --- what was given ----------------------------------------------------------------------------------------------- */

const char *command_get(const struct command_line *line, const char *name)
{
    for (int i = 0; i < line->options_count; i++) {
        if (strcmp(line->options[i].name, name) == 0) {
            return line->options[i].value;
        }
    }
    return NULL;
}

const char *command_reason(const struct command_line *line)
{
    char *reason = (char *)(uintptr_t)command_get(line, "reason"); /* in argv, which is ours */
    if (reason == NULL) {
        return "";
    }
    text_clean(reason);
    return reason;
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
    bool digits = text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
    if (!digits || *end != '\0' || errno != 0 || value < least || value > most) {
        return err_set(err, ERR_USAGE, "%s: '%.100s' is no number from %lld to %lld", what, text,
                       (long long)least, (long long)most);
    }
    *out = value;
    return true;
}

bool command_option_number(const struct command_line *line, const char *name, int64_t least,
                           int64_t most, int64_t *out, struct err *err)
{
    char what[64];
    const char *text = command_get(line, name);
    snprintf(what, sizeof(what), "--%s", name);
    return text == NULL || command_number(text, what, least, most, out, err);
}

char *command_name(const struct command_line *line, char *out, size_t room)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i <= line->depth && used < room; i++) {
        used += (size_t)snprintf(out + used, room - used, "%s%s", i == 0 ? "" : " ",
                                 line->path[i]->name);
    }
    return out;
}

/* --- parsing ------------------------------------------------------------------------------------------------------ */

static bool refuse(const struct command_line *line, struct err *err, const char *format,
                   const char *which)
{
    char name[NAME_ROOM];
    char what[ERR_WHAT_BYTES];
    command_name(line, name, sizeof(name));
    snprintf(what, sizeof(what), "%s%s%.200s%s", format, which == NULL ? "" : " '",
             which == NULL ? "" : which, which == NULL ? "" : "'");
    err_set(err, ERR_USAGE, "%s: %s", name, what);
    return err_hint(err, "%s --help", name);
}

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

static const struct command_option *option_find(const struct command_line *line, const char *name,
                                                size_t len)
{
    const struct command_option *option = option_in(command_of(line)->options, name, len);
    return option != NULL ? option : option_in(command_common, name, len);
}

/* "a|b" are choices when they are lower case; "TOPIC[:P]" is a word for the help. */
static bool value_fits(const char *choices, const char *value)
{
    size_t len = strlen(value);
    if (strchr(choices, '|') == NULL || choices[strspn(choices, "abcdefghijklmnopqrstuvwxyz|")]) {
        return true;
    }
    for (const char *at = choices; *at != '\0'; at += strspn(at, "|")) {
        size_t word = strcspn(at, "|");
        if (word == len && strncmp(at, value, len) == 0) {
            return true;
        }
        at += word;
    }
    return false;
}

static bool keep_option(struct command_line *line, const struct command_option *option,
                        const char *value, struct err *err)
{
    if (command_has(line, option->name)) {
        return refuse(line, err, "given twice:", option->name);
    }
    if (option->value != NULL && !value_fits(option->value, value)) {
        char what[200];
        snprintf(what, sizeof(what), "%s%s takes %s, not", option->name[1] == '\0' ? "-" : "--",
                 option->name, option->value);
        return refuse(line, err, what, value);
    }
    if (line->options_count == COMMAND_OPTIONS_MAX) {
        return refuse(line, err, "too many options", NULL);
    }
    line->options[line->options_count].name = option->name;
    line->options[line->options_count++].value = value;
    line->help = line->help || strcmp(option->name, "help") == 0;
    return true;
}

/* --name, --name=value, --name value; -n, -nvalue, -n=value, -n value. Moves *at over a value of its own. */
static bool take_option(struct command_line *line, int argc, char **argv, int *at, struct err *err)
{
    const char *text = argv[*at];
    bool is_long = text[1] == '-';
    const char *name = text + (is_long ? 2 : 1);
    size_t len = is_long ? strcspn(name, "=") : 1;
    const struct command_option *option = strcmp(text, "-h") == 0
                                              ? option_in(command_common, "help", 4)
                                              : option_find(line, name, len);
    if (option == NULL || (is_long && len < 2) ||
        (!is_long && option->value == NULL && name[1] != '\0')) {
        return refuse(line, err, "unknown option", text);
    }
    const char *rest = name + len;
    if (option->value == NULL) {
        return *rest == '=' ? refuse(line, err, "takes no value:", text)
                            : keep_option(line, option, "", err);
    }
    if (*rest != '\0') {
        return keep_option(line, option, rest + (*rest == '=' ? 1 : 0), err);
    }
    if (*at + 1 >= argc || strncmp(argv[*at + 1], "--", 2) == 0) {
        return refuse(line, err, "a value is missing behind", text);
    }
    return keep_option(line, option, argv[++*at], err);
}

/* How many letters differ, roughly: enough to say what was meant. */
static size_t distance(const char *a, const char *b)
{
    size_t same = 0;
    size_t longer = strlen(a) > strlen(b) ? strlen(a) : strlen(b);
    for (const char *at = b; *a != '\0'; a++) {
        const char *found = strchr(at, *a);
        if (found != NULL && found - at <= 1) {
            same++;
            at = found + 1;
        }
    }
    return longer - same;
}

static bool step_down(struct command_line *line, const char *word, struct err *err)
{
    const struct command *nearest = NULL;
    for (const struct command *child = command_of(line)->children; child->name != NULL; child++) {
        if (strcmp(child->name, word) == 0) {
            line->path[++line->depth] = child;
            return true;
        }
        if (nearest == NULL || distance(word, child->name) < distance(word, nearest->name)) {
            nearest = child;
        }
    }
    refuse(line, err, "there is no command", word);
    if (nearest != NULL && distance(word, nearest->name) <= 2) {
        char name[NAME_ROOM];
        err_hint(err, "%s %s", command_name(line, name, sizeof(name)), nearest->name);
    }
    return false;
}

static bool is_child(const struct command *command, const char *word)
{
    const struct command *child = command->children;
    while (child->name != NULL && strcmp(child->name, word) != 0) {
        child++;
    }
    return child->name != NULL;
}

/* Where a command has arguments and commands below it, the first word says which of both is meant. */
static bool take_word(struct command_line *line, const char *word, struct err *err)
{
    const struct command *command = command_of(line);
    bool leaf = command->children == NULL ||
                (command->run != NULL && (line->args_count > 0 || !is_child(command, word)));
    if (!leaf) {
        return step_down(line, word, err);
    }
    if (line->args_count == COMMAND_ARGS_MAX) {
        return refuse(line, err, "too many arguments", NULL);
    }
    line->args[line->args_count++] = word;
    return true;
}

static bool check_args(struct command_line *line, struct err *err)
{
    const struct command *command = command_of(line);
    if (command->run == NULL) {
        line->help = line->nothing = true;
        return true;
    }
    if (line->args_count < command->args_least || line->args_count > command->args_most) {
        return refuse(line, err, "its arguments are",
                      command->args[0] == '\0' ? "none" : command->args);
    }
    return true;
}

bool command_parse(const struct command *root, int argc, char **argv, struct command_line *out,
                   struct err *err)
{
    bool options = true;
    *out = (struct command_line){.path = {root}, .argc = argc, .argv = argv};
    for (int at = 1; at < argc; at++) {
        const char *word = argv[at];
        bool ok = true;
        if (options && strcmp(word, "--") == 0) {
            options = false;
        } else if (options && out->depth == 0 && strcmp(word, "--version") == 0) {
            ok = take_word(out, "version", err); /* what everybody types first */
        } else if (options && word[0] == '-' && word[1] != '\0') {
            ok = take_option(out, argc, argv, &at, err);
        } else {
            ok = take_word(out, word, err);
        }
        if (!ok) {
            return false;
        }
    }
    return out->help || check_args(out, err);
}

int command_main(const struct command *root, int argc, char **argv)
{
    struct command_line line;
    struct err err = {0};
    if (!command_parse(root, argc, argv, &line, &err)) {
        return command_fail(&line, &err);
    }
    if (line.help) {
        command_help(&line, line.nothing ? stderr : stdout);
        return line.nothing ? EXIT_USAGE : EXIT_DONE;
    }
    return command_of(&line)->run(&line);
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

int command_exit(const struct err *err)
{
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

/* As it was typed, quoted where a shell would need it. */
static void print_again(const struct command_line *line, FILE *out)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:=,@+";
    fputs(line->path[0]->name, out);
    for (int i = 1; i < line->argc; i++) {
        const char *word = line->argv[i];
        bool quote = word[0] == '\0' || word[strspn(word, plain)] != '\0';
        struct render_safe safe = render_safe(word);
        fprintf(out, quote ? " '%s'" : " %s", safe.text);
    }
}

/* Does the text name a command that can be typed as it stands, ours or one of the tools that go with Kafka and Redis? */
static bool names_command(const struct command *root, const char *text)
{
    static const char *const tools[] = {"kafka-", "systemctl ", "redis-cli ", "timedatectl"};
    for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++) {
        if (strstr(text, tools[i]) != NULL) {
            return true;
        }
    }
    size_t len = strlen(root->name);
    for (const char *at = strstr(text, root->name); at != NULL; at = strstr(at + 1, root->name)) {
        char word[NAME_ROOM];
        size_t room = at[len] == ' ' ? strcspn(at + len + 1, " ;,:`") : 0;
        snprintf(word, sizeof(word), "%.*s", (int)room, at + len + (room > 0 ? 1 : 0));
        if (room > 0 && (strcmp(word, "--help") == 0 || is_child(root, word))) {
            return true;
        }
    }
    return false;
}

/* By kind: where to look, or the same again as it was typed. @param hinted  a hint said what has to be done before */
static void print_command(const struct command_line *line, const struct err *err, bool hinted,
                          FILE *out)
{
    char name[NAME_ROOM];
    if (err->kind == ERR_CONFIG) {
        fprintf(out, "%s config check", line->path[0]->name);
    } else if (err->kind == ERR_USAGE && err->code != EXIT_UNCONFIRMED) {
        fprintf(out, "%s --help", command_name(line, name, sizeof(name)));
    } else if (err->kind == ERR_REFUSED && !hinted && line->args_count > 0) {
        struct render_safe safe = render_safe(line->args[0]);
        fprintf(out, "%s status %s", line->path[0]->name, safe.text);
    } else {
        print_again(line, out);
    }
    fputc('\n', out);
}

void command_next(const struct command_line *line, const struct err *err, FILE *out)
{
    bool hinted = err->hint[0] != '\0';
    if (hinted) {
        fprintf(out, "  next: %s\n", render_safe(err->hint).text);
        if (names_command(line->path[0], err->hint)) {
            return;
        }
    }
    fprintf(out, hinted ? "  then: " : "  next: ");
    print_command(line, err, hinted, out);
}

int command_fail(const struct command_line *line, const struct err *err)
{
    struct render_safe safe = render_safe(err->what);
    const char *root = line->path[0]->name;
    bool named = strncmp(safe.text, root, strlen(root)) == 0; /* usage errors name the command */
    fflush(stdout);
    fprintf(stderr, "%s%s%s\n", named ? "" : root, named ? "" : ": ", safe.text);
    command_next(line, err, stderr);
    return command_exit(err);
}
