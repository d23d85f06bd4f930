/* Counting who says so. No I/O. */
#ifndef FERRY_DNS_SETTLE_H
#define FERRY_DNS_SETTLE_H

#include "dns/dns.h"

/* Does this answer say what was asked for? A resolver's time to live is what is left of it: less is fine, more is an
 * answer of before. @param ttl_s  -1 = it does not matter */
bool settle_agrees(const struct dns_view *view, const char *value, int64_t ttl_s);

/* Fill the counts of `views` from its list and `provider`. Never settled on no authoritative server at all, whatever
 * `enough` says. @param enough  0 = all of them; more than there are = all */
void settle_count(struct dns_views *views, const char *value, int64_t ttl_s, int32_t enough);

#endif
