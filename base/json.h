/* The door to jansson: typed getters whose errors name the path. Values are borrowed unless said otherwise. */
#ifndef FERRY_BASE_JSON_H
#define FERRY_BASE_JSON_H

#include <jansson.h>

#include "base/err.h"

/* Parse text (duplicate keys, NaN and trailing bytes refused; at most 16 MiB, depth 64). Returns a new reference or
 * NULL with ERR_CONFIG; `what` begins with name:line:column. */
json_t *json_parse(const char *text, size_t len, const char *name, struct err *err);

/* Typed members of an object; missing or of another type: false with "NAME: PATH.key: expected ..." . */
MUST_CHECK
bool json_get_string(const json_t *object, const char *key, const char **out, struct err *err);
MUST_CHECK
bool json_get_int(const json_t *object, const char *key, int64_t *out, struct err *err);
MUST_CHECK
bool json_get_bool(const json_t *object, const char *key, bool *out, struct err *err);

/* Compact text with sorted keys, heap, free() by the caller; the same value always gives the same text. */
char *json_text(const json_t *value);
/* Indented text for people, heap. */
char *json_pretty(const json_t *value);

#endif
