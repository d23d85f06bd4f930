/* Names of DNS as text: lower case, no final dot, so that equal names are equal texts. No I/O. */
#ifndef FERRY_DNS_NAME_H
#define FERRY_DNS_NAME_H

#include <stdbool.h>

#include "dns/dns.h"

/* @param text  as a person, a file or a server wrote it; case and a final dot do not matter
 * @return false when it can be no name of a host: labels of 1 to 63 letters, digits, dashes and underscores, 253 in all.
 *         `out` is "" then. Names in other scripts come as xn--... */
bool dns_name(const char *text, char out[DNS_NAME_BYTES]);

/* Is `name` the zone's apex or below it? Both as dns_name() gave them. */
bool dns_name_below(const char *name, const char *zone);

/* The zone of the configuration that a record lies in: the longest whose name it is below; NULL = none. */
const struct config_zone *dns_zone_of(const struct config *config, const char *name);

#endif
