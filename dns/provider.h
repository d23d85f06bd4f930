/* What a provider of DNS fills in: what stands, swap if unchanged, is it done. One file each; cname.c is the only caller.
 *
 * Blocking, each call within its own time. Names as dns_name() has them. What comes from the other side is hostile: it
 * ends in a dns_set of our own or an error, nothing else.
 */
#ifndef FERRY_DNS_PROVIDER_H
#define FERRY_DNS_PROVIDER_H

#include "dns/dns.h"

struct dns_provider {
    /* What stands at the name, by the provider's own word. ERR_RETRY: it does not answer; ERR_REFUSED, ERR_CONFIG: it
     * does not know us, or we cannot ask. */
    bool (*get)(struct dns_provider *provider, const char *name, struct dns_set *out,
                struct err *err);

    /* Put `change->to` there if `change->from` is what stands there (NULL: nothing), and change nothing else. True also
     * when `to` stands there already. A lost answer is followed by reading back.
     * @param only_check  change nothing; would it work?
     * ERR_REFUSED: something else stands there, or it is not taken: nothing was changed. ERR_RETRY: not known. */
    bool (*swap)(struct dns_provider *provider, const char *name, const struct dns_change *change,
                 bool only_check, struct err *err);

    /* Does the provider call its last change done? Whether servers say so is asked apart (dns/resolve). */
    bool (*settled)(struct dns_provider *provider, const char *name, const char *value, bool *out,
                    struct err *err);

    void (*free)(struct dns_provider *provider);

    /* The record is an alias: where the targets that it may have lie. Before anything is asked; borrowed for the lifetime.
     * NULL = there are none with this provider. */
    void (*alias)(struct dns_provider *provider, const struct config_cname *cname);
};

/* One file each. @param zone  borrowed for the lifetime. NULL with ERR_CONFIG: a secret or a program is missing */
struct dns_provider *rfc2136_new(const struct config_zone *zone, struct err *err);
struct dns_provider *powerdns_new(const struct config_zone *zone, struct err *err);
struct dns_provider *route53_new(const struct config_zone *zone, struct err *err);
struct dns_provider *cloudflare_new(const struct config_zone *zone, struct err *err);
struct dns_provider *alidns_new(const struct config_zone *zone, struct err *err);
struct dns_provider *google_new(const struct config_zone *zone, struct err *err);
struct dns_provider *azure_new(const struct config_zone *zone, struct err *err);
struct dns_provider *exec_new(const struct config_zone *zone, struct err *err);

/* Of the configuration's choice. */
struct dns_provider *provider_new(const struct config_zone *zone, struct err *err);

/* After a swap of which it is not known, or that was refused: what does `set`, read since, say?
 * true = `to` stands there. Else ERR_REFUSED with both values, or, while `from` stands there, nothing is said:
 * *out_unchanged is true and err is left alone. */
bool provider_outcome(const char *name, const struct dns_change *change, const struct dns_set *set,
                      bool *out_unchanged, struct err *err);

#endif
