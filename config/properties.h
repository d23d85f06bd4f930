/* The librdkafka properties that a site may set: those that say how to reach a cluster. One table.
 *
 * They go to librdkafka as they are, and the wire client keeps the same meaning. How records are read, written and
 * shared out is what Ferry promises; a property that would change it is refused by name, and so is a misspelt one,
 * which librdkafka would refuse only when a client is made.
 */
#ifndef FERRY_CONFIG_PROPERTIES_H
#define FERRY_CONFIG_PROPERTIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum property_type {
    PROPERTY_TEXT,
    PROPERTY_NUMBER,
    PROPERTY_BOOL,
    PROPERTY_CHOICE,
    PROPERTY_SERVERS,
    PROPERTY_URL,  /* http:// or https:// */
    PROPERTY_PAIRS /* letters=text,letters=text (RFC 7628, 3.1) */
};

struct property {
    const char *name;
    enum property_type type;
    int64_t least; /* of a number, as in librdkafka */
    int64_t most;
    const char *choices; /* "a|b", in any case of letters */
    bool secret;         /* only ever by file or environment */
    int32_t longest;     /* bytes of a text; 0 = as long as it likes */
    const char *note;    /* what differs from librdkafka, for the table of keys; NULL = nothing */
};

#define PROPERTY_SERVERS_MAX 32 /* in bootstrap.servers */
#define PROPERTY_PAIRS_MAX   16 /* in sasl.oauthbearer.extensions */

extern const struct property properties[];
extern const size_t properties_count;

const struct property *property_find(const char *name); /* or NULL: see property_why_not() */
/* Does every PROTOCOL:// in bootstrap.servers say this one? */
bool property_servers_speak(const char *servers, const char *protocol);
/* Why a property that is not in the table is refused, for people. */
void property_why_not(const char *name, char *out, size_t out_bytes);
/* Is this a value of it? false with the reason in `out`; the value of a secret is never in it. */
MUST_CHECK
bool property_value_ok(const struct property *property, const char *value, char *out,
                       size_t out_bytes);

#endif
