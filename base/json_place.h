/* Where a member stands in JSON text: jansson keeps no places of values, and an error without one is a search.
 *
 * A path is written as in errors: names and array indices, joined by dots ("sites.a.kafka", "others.0"). A name that
 * is written with escapes is not decoded here, so its parent's place is found: an inexact place, never a wrong one.
 */
#ifndef FERRY_BASE_JSON_PLACE_H
#define FERRY_BASE_JSON_PLACE_H

#include <stddef.h>

#define JSON_DEPTH_MAX  64
#define JSON_PATH_BYTES 1024 /* a longer path ends where this is full */

struct json_place {
    int line;   /* from 1 */
    int column; /* from 1, in characters of UTF-8 */
    char path[JSON_PATH_BYTES];
};

/* The member at `path`, or at the longest beginning of it that is there; 1:1 and "" when there is none.
 * The text may be anything: no valid JSON, no place. */
void json_place_find(const char *text, size_t len, const char *path, struct json_place *out);

/* The last member whose name (or element whose value) begins before `offset`. */
void json_place_before(const char *text, size_t len, size_t offset, struct json_place *out);

/* How many objects and arrays are open at the deepest place. */
int json_depth(const char *text, size_t len);

#endif
