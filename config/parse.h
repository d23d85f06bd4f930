/* Configuration text to a checked JSON tree: every key known, every value of its type and in its range; errors say
 * FILE:LINE:COLUMN: PATH: reason.
 */
#ifndef FERRY_CONFIG_PARSE_H
#define FERRY_CONFIG_PARSE_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

struct parse_text { /* for errors found later; all borrowed */
    const char *name;
    const char *text;
    size_t len;
};

#define PARSE_BYTES_MAX (1 << 20)
#define PARSE_DEPTH_MAX 16 /* the table's longest path has 6 names */

/* Parse and check against the table of keys. New reference, or NULL with ERR_CONFIG. */
json_t *parse_config(const struct parse_text *file, struct err *err);
/* Fill `err` with "NAME:LINE:COLUMN: PATH: ..." for a path (or its nearest known parent). Returns false. */
bool parse_error(const struct parse_text *file, struct err *err, const char *path,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Number of a size, duration or count value that was checked. */
int64_t parse_number(const char *table_path, const json_t *value);

#endif
