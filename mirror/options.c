#include "mirror/options.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKER_BYTES 100 /* with ".lock" below any file system's 255; group.instance.id takes 249 */

enum option_kind { OPTION_TEXT, OPTION_LEVEL, OPTION_FLAG };

static const struct option_row {
    const char *name;
    const char *argument; /* NULL: a flag */
    const char *variable; /* of the environment, asked when the option is not given */
    enum option_kind kind;
    size_t at; /* in struct options */
    const char *help;
} option_rows[] = {
    {"--config",    "FILE",          "FERRY_CONFIG", OPTION_TEXT,  offsetof(struct options, config),
     "configuration to run (" OPTIONS_CONFIG_DEFAULT ")"                                                                   },
    {"--http",      "ADDR:PORT|off", "FERRY_HTTP",   OPTION_TEXT,  offsetof(struct options, http),
     "where /metrics, /healthz and /readyz are served"                                                                     },
    {"--worker",    "NAME",          NULL,           OPTION_TEXT,  offsetof(struct options, worker),
     "this worker's name: unique in the group (host name)"                                                                 },
    {"--check",     NULL,            NULL,           OPTION_FLAG,  offsetof(struct options, check),
     "load and check the configuration, then exit"                                                                         },
    {"--log-level", "LEVEL",         NULL,           OPTION_LEVEL, offsetof(struct options, log_level),
     "debug, info, warn or error (as the configuration says)"                                                              },
    {"--version",   NULL,            NULL,           OPTION_FLAG,  offsetof(struct options, version),   "print the version"},
    {"--help",      NULL,            NULL,           OPTION_FLAG,  offsetof(struct options, help),      "print this"       },
};
#define ROWS_COUNT (sizeof(option_rows) / sizeof(option_rows[0]))

static bool parse_level(const char *text, enum log_level *out)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    static const enum log_level levels[] = {LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = levels[i];
            return true;
        }
    }
    return false;
}

static bool refused(struct err *err)
{
    return err_hint(err, "ferryd --help lists the options");
}

static bool apply(const struct option_row *row, const char *value, struct options *out,
                  struct err *err)
{
    char *field = (char *)out + row->at;
    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)(void *)field = true;
        return true;
    case OPTION_TEXT:
        if (value == NULL || *value == '\0') {
            err_set(err, ERR_USAGE, "%s is empty", row->name);
            return refused(err);
        }
        *(const char **)(void *)field = value;
        return true;
    case OPTION_LEVEL:
        if (!parse_level(value, (enum log_level *)(void *)field)) {
            err_set(err, ERR_USAGE, "--log-level: '%s' is not debug, info, warn or error", value);
            return refused(err);
        }
        out->log_level_given = true;
        return true;
    }
    return false;
}

/* "--name" or "--name=value". */
static const struct option_row *find(const char *argument, const char **out_value)
{
    const char *equals = strchr(argument, '=');
    size_t len = equals ? (size_t)(equals - argument) : strlen(argument);
    *out_value = equals ? equals + 1 : NULL;
    for (size_t i = 0; i < ROWS_COUNT; i++) {
        if (strlen(option_rows[i].name) == len &&
            strncmp(option_rows[i].name, argument, len) == 0) {
            return &option_rows[i];
        }
    }
    return NULL;
}

static bool parse_environment(const char *(*env)(const char *name), struct options *out,
                              struct err *err)
{
    for (size_t i = 0; i < ROWS_COUNT; i++) {
        const char *value = option_rows[i].variable ? env(option_rows[i].variable) : NULL;
        if (value && *value && !apply(&option_rows[i], value, out, err)) {
            return err_wrap(err, "%s", option_rows[i].variable);
        }
    }
    return true;
}

static bool parse_arguments(int argc, char *const *argv, struct options *out, struct err *err)
{
    for (int i = 1; i < argc; i++) {
        const char *value;
        const struct option_row *row = find(argv[i], &value);
        if (!row) {
            err_set(err, ERR_USAGE, "%s '%s'",
                    argv[i][0] == '-' ? "unknown option" : "unexpected argument", argv[i]);
            return refused(err);
        }
        if (!row->argument && value) {
            err_set(err, ERR_USAGE, "%s takes no value", row->name);
            return refused(err);
        }
        if (row->argument && !value) {
            value = ++i < argc ? argv[i] : NULL;
        }
        if (row->argument && !value) {
            err_set(err, ERR_USAGE, "%s wants a value: %s", row->name, row->argument);
            return refused(err);
        }
        if (!apply(row, value, out, err)) {
            return false;
        }
    }
    return true;
}

bool options_worker_valid(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= WORKER_BYTES && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

bool options_parse(int argc, char *const *argv, const char *(*env)(const char *name),
                   struct options *out, struct err *err)
{
    struct options options = {.config = OPTIONS_CONFIG_DEFAULT, .log_level = LOG_INFO};
    if (!parse_environment(env, &options, err) || !parse_arguments(argc, argv, &options, err)) {
        return false;
    }
    if (options.worker && !options_worker_valid(options.worker)) {
        err_set(err, ERR_USAGE,
                "--worker: '%s' is not a name: 1 to 100 letters, digits, '.', '_', '-', not "
                "beginning with '.'",
                options.worker);
        return refused(err);
    }
    *out = options;
    return true;
}

char *options_help(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert(out);
    fprintf(out,
            "usage: ferryd [OPTION]...\n\nMirrors Kafka topics between sites; see ferryd(8).\n\n");
    for (size_t i = 0; i < ROWS_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        char left[64];
        snprintf(left, sizeof(left), "%s%s%s", row->name, row->argument ? " " : "",
                 row->argument ? row->argument : "");
        fprintf(out, "  %-22s  %s", left, row->help);
        if (row->variable) {
            fprintf(out, " [%s]", row->variable);
        }
        fputc('\n', out);
    }
    fprintf(out,
            "\nSignals: TERM or INT once stops in order, twice at once.\n"
            "Exit codes: 0 stopped as asked, 1 failed or not drained in time, 2 usage, "
            "3 refused by a check,\n            7 configuration, or a newer worker of this name "
            "took over.\n");
    fclose(out);
    return text;
}
