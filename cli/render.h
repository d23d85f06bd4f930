/* How results look: aligned columns for people, JSON for programs, numbers that say "unknown". */
#ifndef FERRY_CLI_RENDER_H
#define FERRY_CLI_RENDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define RENDER_COLUMNS_MAX  10
#define RENDER_NUMBER_BYTES 32

/* "1,234,567"; "unknown" for negative values. Returns out. */
char *render_count(int64_t value, char out[RENDER_NUMBER_BYTES]);
/* "4.1 s", "3 min", "2 h 5 min"; "unknown" for negative values. */
char *render_seconds(double seconds, char out[RENDER_NUMBER_BYTES]);
/* Rows of cells, the first row is the head; a column whose cells all begin with a digit or "unknown" stands right. */
void render_table(const char *const *cells, int columns, int rows);
/* Takes the reference; pretty JSON with sorted keys to stdout. */
void render_json(json_t *take_value);

#endif
