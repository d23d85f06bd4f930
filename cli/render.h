/* How results look: aligned columns for people, JSON for programs, numbers that say "unknown". */
#ifndef FERRY_CLI_RENDER_H
#define FERRY_CLI_RENDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define RENDER_COLUMNS_MAX  10
#define RENDER_NUMBER_BYTES 32
#define RENDER_TIME_BYTES   64
#define RENDER_WIDTH        80 /* an on-call's terminal, an incident channel */

/* "1,234,567"; "unknown" for negative values. Returns out. */
char *render_count(int64_t value, char out[RENDER_NUMBER_BYTES]);
/* "4.1 s", "3 min", "2 h 5 min"; "unknown" for negative values. */
char *render_seconds(double seconds, char out[RENDER_NUMBER_BYTES]);
/* "99.9 %": never rounded up to 100; "unknown" when either is negative, "-" when there is nothing to do. */
char *render_share(int64_t done, int64_t all, char out[RENDER_NUMBER_BYTES]);
/* "2026-11-25T03:00:07Z [04:00:07 CET]", the bracket only where local time differs; "unknown" for negative values. */
char *render_time(int64_t wall_ms, char out[RENDER_TIME_BYTES]);
/* What came from a broker, Redis or the command line, for a terminal: control characters as '?', cut to fit. */
struct render_safe {
    char text[1024];
};
struct render_safe render_safe(const char *text);

/* Rows of cells, the first row is the head. A column whose cells all are numbers or "unknown" stands right; a first cell
 * that would make the line longer than RENDER_WIDTH stands on a line of its own: names are never cut. */
void render_table(FILE *out, const char *const *cells, int columns, int rows);
/* Words wrapped below `width` columns. @param begin  columns that the first line uses already  @param indent  of the
 * following lines. A line feed in the text begins a line. Ends with a line feed. */
void render_wrapped(FILE *out, const char *text, int width, int begin, int indent);

/* Takes the reference; indented JSON with sorted keys to stdout. */
void render_json(json_t *take_value);
/* The same on one line, for streams. */
void render_json_line(json_t *take_value);
json_t *render_string(const char *text);      /* NULL = null; bytes that are no UTF-8 become '?' */
json_t *render_int_or_null(int64_t value);    /* negative = null */
json_t *render_real_or_null(double value);    /* negative = null */
json_t *render_time_or_null(int64_t wall_ms); /* RFC 3339 UTC; negative = null */

/* Escape sequences for stdout, "" when it is no terminal, or NO_COLOR or a dumb terminal says so. */
enum render_color { COLOR_NONE, COLOR_GOOD, COLOR_WARN, COLOR_BAD };
const char *render_color(enum render_color color);
bool render_color_wanted(bool terminal, const char *no_color, const char *term);

#endif
