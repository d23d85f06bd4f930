/* The command line and environment of ferryd: one table, from which --help is printed too. */
#ifndef FERRY_MIRROR_OPTIONS_H
#define FERRY_MIRROR_OPTIONS_H

#include <stdbool.h>

#include "base/err.h"
#include "base/log.h"

#define OPTIONS_CONFIG_DEFAULT "/etc/ferry/ferry.json"

struct options {
    const char *config; /* borrowed from argv or the environment, as everything here */
    const char *http;   /* NULL: as the configuration says */
    const char *worker; /* NULL: likewise */
    enum log_level log_level;
    bool log_level_given; /* it beats the configuration's */
    bool check;
    bool version;
    bool help;
};

/* ERR_USAGE with a hint. @param env  getenv(), or a test's */
MUST_CHECK
bool options_parse(int argc, char *const *argv, const char *(*env)(const char *name),
                   struct options *out, struct err *err);

/* Names file names and group members: 1 to 100 of letters, digits, '.', '_', '-', and no '.' first. */
bool options_worker_valid(const char *name);

/* Heap text. */
char *options_help(void);

#endif
