/* Every key that a configuration file may hold: one table, from which checking, `ferry config reference` and the docs are
 * made. A path is dotted; `*` stands for a name that the user chooses, `[]` for the elements of an array.
 */
#ifndef FERRY_CONFIG_KEYS_H
#define FERRY_CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum key_type {
    KEY_OBJECT, /* its members stand in the table with longer paths */
    KEY_ARRAY,
    KEY_STRING,
    KEY_SCALAR, /* string, integer, real or boolean: a librdkafka property, kept as text */
    KEY_BOOL,
    KEY_BYTES,    /* integer, or "64MiB" */
    KEY_DURATION, /* integer milliseconds, or "5s" */
    KEY_COUNT,
    KEY_CHOICE,  /* one of `choices` */
    KEY_PATTERN, /* "glob*" or {"regex": "..."} */
    KEY_SECRET,  /* {"file": "..."} or {"env": "..."} */
};

struct key {
    const char *path;
    enum key_type type;
    const char *
        default_text; /* "" = none; shown in the reference, applied by config.c through keys_default() */
    int64_t least;
    int64_t most;
    const char *choices; /* "a|b" for KEY_CHOICE */
    bool required;
    bool
        restart; /* a change needs a restart of the worker: a reload (SIGHUP) that holds one is refused whole */
    const char *help;
};

extern const struct key config_keys[];
extern const size_t config_keys_count;

/* The key with exactly this table path, or NULL. */
const struct key *keys_find(const char *path);
#define KEY_PATH_BYTES 128 /* longer than the longest path of the table */
/* The key of a member called `name` below a table path ("" = top): the literal one, else the parent's `*`, else NULL. */
const struct key *keys_member(const char *parent, const char *name);
const struct key *keys_element(const char *array); /* of an array's table path */
/* The member of `parent` whose name looks most like an unknown one, or NULL. */
const char *keys_suggest(const char *parent, const char *name);
/* Text of a size or duration as number ("64MiB", "5s", "250"); false when it is none or its unit is wrong. */
bool keys_number(enum key_type type, const char *text, int64_t *out);
int64_t keys_default(const char *path);

#endif
