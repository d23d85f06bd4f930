/* Configuration text to a checked JSON tree: every key known, every value of its type and in its range; errors say
 * FILE:LINE:COLUMN: PATH: reason.
 */
#ifndef FERRY_CONFIG_PARSE_H
#define FERRY_CONFIG_PARSE_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

struct parse_places; /* path -> line and column */

/* Parse and check against the table of keys. New reference, or NULL with ERR_CONFIG. *out_places stays valid until
 * parse_places_free(), for errors found later. */
json_t *parse_config(const char *text, size_t len, const char *name,
                     struct parse_places **out_places, struct err *err);
void parse_places_free(struct parse_places *places);
/* Fill `err` with "NAME:LINE:COLUMN: PATH: ..." for a path (or its nearest known parent). Returns false. */
bool parse_error(const struct parse_places *places, struct err *err, const char *path,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Number of a size, duration or count value that was checked. */
int64_t parse_number(const char *table_path, const json_t *value);

#endif
