/* The records of the service: would the swap work, for how long do clients keep what they were told, are the servers that say
 * so in one place?
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/heap.h"
#include "failover/preflight_inside.h"

/* --- asking ---------------------------------------------------------------------------------------------------------- */

/* As `ferry dns plan`: a swap that was begun counts as recorded where its value stands. */
static void check_record(struct dns *dns, const struct dns_entry *entry,
                         struct preflight_record *out)
{
    out->checked = dns_check(dns, entry->value, out->to, &out->check, &out->err);
    bool begun = out->checked && entry->next[0] != '\0' && out->check.set.kind == DNS_CNAME &&
                 strcmp(out->check.set.value, entry->next) == 0;
    if (begun && out->check.refusals_count > 0) {
        out->checked = dns_check(dns, entry->next, out->to, &out->check, &out->err);
    }
}

static void ask_record(struct preflight *preflight, struct dns *dns, struct preflight_record *out)
{
    struct dns_recorded recorded;
    const char *to = dns_value_at(dns, preflight->in.to->name);
    if (!preflight_recorded(preflight, &recorded, &out->recorded_err)) {
        return;
    }
    const struct dns_entry *entry = dns_recorded_find(&recorded, dns_record(dns));
    out->recorded = entry != NULL && entry->value[0] != '\0';
    snprintf(out->to, sizeof(out->to), "%s", to == NULL ? "" : to);
    if (entry != NULL && out->recorded && to != NULL) {
        check_record(dns, entry, out);
    }
}

void preflight_ask_record(struct preflight *preflight, size_t index)
{
    struct preflight_record *out = must(calloc(1, sizeof(*out)));
    struct dns *dns =
        dns_open(preflight->in.config, &preflight->in.service->cnames[index], &out->err);
    if (dns != NULL) {
        ask_record(preflight, dns, out);
    }
    dns_close(dns);
    preflight_publish(preflight, &preflight->records[index], out, free);
}

void preflight_ask_servers(struct preflight *preflight, size_t index)
{
    struct preflight_servers *out = must(calloc(1, sizeof(*out)));
    struct dns *dns =
        dns_open(preflight->in.config, &preflight->in.service->cnames[index], &out->err);
    out->zone = dns == NULL ? NULL : dns_zone(dns);
    if (dns != NULL && dns_look(dns, NULL, -1, &out->views, &out->err)) {
        err_clear(&out->err);
    }
    dns_close(dns);
    preflight_publish(preflight, &preflight->servers[index], out, free);
}

/* --- records --------------------------------------------------------------------------------------------------------- */

static const char *record_name(const struct preflight *preflight, size_t index)
{
    return preflight->in.service->cnames[index].record;
}

static void tell_refusals(const struct preflight *preflight, const char *name,
                          const struct preflight_record *record, struct preflight_list *out)
{
    for (size_t i = 0; i < record->check.refusals_count; i++) {
        enum dns_refusal refusal = record->check.refusals[i].refusal;
        preflight_tell(out, PREFLIGHT_DNS, PREFLIGHT_REFUSED, "%.253s: %s: %.300s", name,
                       dns_refusal_name(refusal), record->check.refusals[i].what);
        if (refusal == DNS_REFUSED_CHANGED) {
            preflight_hint(out, "who put it there? To take it as it is: ferry dns adopt %s",
                           preflight->in.service->name);
        } else {
            preflight_hint(out, "ferry dns plan %s --to %.100s; docs/dns.md#refusals",
                           preflight->in.service->name, preflight->in.to->name);
        }
    }
}

static void tell_checked(const struct preflight *preflight, const char *name,
                         const struct preflight_record *record, struct preflight_list *out)
{
    const struct dns_check *check = &record->check;
    tell_refusals(preflight, name, record, out);
    if (check->address_unknown) {
        preflight_tell(out, PREFLIGHT_DNS, PREFLIGHT_UNKNOWN, "%.253s: address of %.253s: %.200s",
                       name, record->to, check->unknown_why);
        out->list[out->count - 1].unreachable = true;
    } else if (check->refusals_count == 0 && check->done) {
        preflight_tell(out, PREFLIGHT_DNS, PREFLIGHT_OK, "%.253s stands at %.253s already", name,
                       record->to);
    } else if (check->refusals_count == 0) {
        preflight_tell(out, PREFLIGHT_DNS, PREFLIGHT_OK, "%.250s would move from %.180s to %.180s",
                       name, check->set.value, record->to);
    }
}

static void tell_record(const struct preflight *preflight, size_t index, struct preflight_list *out)
{
    const struct preflight_record *record = preflight->records[index];
    const char *name = record_name(preflight, index);
    const char *service = preflight->in.service->name;
    char what[300];
    snprintf(what, sizeof(what), "record %.253s", name);
    if (record == NULL) {
        preflight_late(preflight, out, PREFLIGHT_DNS, what);
    } else if (record->recorded_err.kind != ERR_NONE) {
        preflight_unknown(out, PREFLIGHT_DNS, what, &record->recorded_err);
    } else if (record->checked) {
        tell_checked(preflight, name, record, out);
    } else if (record->err.kind == ERR_RETRY) {
        preflight_unknown(out, PREFLIGHT_DNS, what, &record->err);
    } else if (record->err.kind != ERR_NONE) {
        preflight_tell(out, PREFLIGHT_DNS, PREFLIGHT_REFUSED, "%s: %.300s", what, record->err.what);
        preflight_hint(out, "%s", record->err.hint);
    } else if (record->recorded) {
        preflight_tell(out, PREFLIGHT_DNS, PREFLIGHT_REFUSED, "%s has no value at site %.100s",
                       what, preflight->in.to->name);
        preflight_hint(out, "services.%s.cname, at.%.100s", service, preflight->in.to->name);
    } else {
        preflight_tell(out, PREFLIGHT_DNS,
                       preflight->in.acting ? PREFLIGHT_REFUSED : PREFLIGHT_WARNING,
                       "what stands at %.253s is not recorded: it cannot be moved", name);
        preflight_hint(out, "it exists: ferry dns adopt %s; it does not: ferry dns create %s",
                       service, service);
    }
}

void preflight_tell_dns(const struct preflight *preflight, struct preflight_list *out)
{
    for (size_t i = 0; i < preflight->in.service->cnames_count; i++) {
        tell_record(preflight, i, out);
    }
    if (preflight->in.service->cnames_count == 0) {
        preflight_tell(out, PREFLIGHT_DNS, PREFLIGHT_OK,
                       "the service has no records: its clients are given the servers of %.100s by "
                       "hand",
                       preflight->in.to->name);
    }
}

/* --- time to live ------------------------------------------------------------------------------------------------------ */

void preflight_tell_ttl(const struct preflight *preflight, struct preflight_list *out)
{
    const struct config_service *service = preflight->in.service;
    int64_t longest_s = -1;
    for (size_t i = 0; i < service->cnames_count; i++) {
        const struct preflight_record *record = preflight->records[i];
        int64_t ttl_s = record != NULL && record->checked ? record->check.set.ttl_s : -1;
        if (ttl_s < 0) {
            preflight_tell(out, PREFLIGHT_TTL, PREFLIGHT_UNKNOWN,
                           "how long answers for %.253s are kept: what stands there is not known",
                           record_name(preflight, i));
        } else if (ttl_s > service->rto_s) {
            preflight_tell(out, PREFLIGHT_TTL, PREFLIGHT_WARNING,
                           "clients may keep an old answer for %.253s for %lld s, rto is %d s",
                           record_name(preflight, i), (long long)ttl_s, service->rto_s);
            preflight_hint(out, "ferry dns prepare %s --ttl %d", service->name,
                           service->cnames[i].ttl_s < service->rto_s ? service->cnames[i].ttl_s
                                                                     : service->rto_s);
        }
        longest_s = ttl_s > longest_s ? ttl_s : longest_s;
    }
    if (out->count == 0 && service->cnames_count > 0) {
        preflight_tell(out, PREFLIGHT_TTL, PREFLIGHT_OK,
                       "answers for the records are kept for %lld s at most, rto is %d s",
                       (long long)longest_s, service->rto_s);
    } else if (out->count == 0) {
        preflight_tell(out, PREFLIGHT_TTL, PREFLIGHT_OK, "the service has no records");
    }
}

/* --- name servers -------------------------------------------------------------------------------------------------------- */

/* The network that a server is in, by its first 24 or 48 bits: what is announced, and lost, together. false: not an address */
static bool network_of(const char *server, char out[INET6_ADDRSTRLEN + 4])
{
    char text[80];
    struct in_addr four;
    struct in6_addr six;
    snprintf(text, sizeof(text), "%s", server[0] == '[' ? server + 1 : server);
    text[strcspn(text, server[0] == '[' ? "]" : " ")] = '\0';
    if (inet_pton(AF_INET6, text, &six) == 1) {
        memset(&six.s6_addr[6], 0, 10);
        inet_ntop(AF_INET6, &six, out, INET6_ADDRSTRLEN);
        memcpy(out + strlen(out), "/48", 4);
        return true;
    }
    text[strcspn(text, ":")] = '\0';
    if (inet_pton(AF_INET, text, &four) != 1) {
        return false;
    }
    four.s_addr &= htonl(0xffffff00U);
    inet_ntop(AF_INET, &four, out, INET6_ADDRSTRLEN);
    memcpy(out + strlen(out), "/24", 4);
    return true;
}

static void tell_servers(const char *record, const struct dns_views *views,
                         struct preflight_list *out)
{
    char first[INET6_ADDRSTRLEN + 4] = "";
    char other[INET6_ADDRSTRLEN + 4];
    size_t count = 0;
    bool several = false;
    for (size_t i = 0; i < views->count; i++) {
        if (views->list[i].resolver || !network_of(views->list[i].server, other)) {
            continue;
        }
        count++;
        several = several || (first[0] != '\0' && strcmp(first, other) != 0);
        if (first[0] == '\0') {
            memcpy(first, other, sizeof(first));
        }
    }
    if (count == 0) {
        preflight_tell(out, PREFLIGHT_NAME_SERVERS, PREFLIGHT_UNKNOWN,
                       "where the name servers of %.253s are", record);
    } else if (!several) {
        preflight_tell(
            out, PREFLIGHT_NAME_SERVERS, PREFLIGHT_WARNING,
            "%.253s: %zu name server%s, all in network %s: lost with it, no name is moved", record,
            count, count == 1 ? "" : "s", first);
        preflight_hint(out, "docs/check.md#name-servers");
    } else {
        preflight_tell(out, PREFLIGHT_NAME_SERVERS, PREFLIGHT_OK,
                       "%.253s: %zu name servers, in more than one network", record, count);
    }
}

/* The region that changes of a zone are made in, as far as the provider's own word and the endpoint's name tell; NULL = they
 * do not. @param region  that is looked for */
static const char *changed_in(const struct config_zone *zone, const char *region)
{
    if (zone->provider == PROVIDER_ROUTE53) {
        bool china = zone->region != NULL && strncmp(zone->region, "cn-", 3) == 0;
        return china ? "cn-northwest-1" : "us-east-1";
    }
    return zone->endpoint != NULL && strcasestr(zone->endpoint, region) != NULL ? region : NULL;
}

/* Is all that is known of it in this region, and something known? */
static bool authority_within(const struct config_zone *zone, const char *region)
{
    for (size_t i = 0; i < zone->regions_count; i++) {
        if (strcasecmp(zone->regions[i], region) != 0) {
            return false;
        }
    }
    for (size_t i = 0; zone->regions_count == 0 && i <= zone->also_count; i++) {
        const char *there = changed_in(i == 0 ? zone : &zone->also[i - 1], region);
        if (there == NULL || strcasecmp(there, region) != 0) {
            return false;
        }
    }
    return true;
}

/* Who can still move the name when the primary's region is lost? */
static void tell_region(const struct preflight *preflight, const char *record,
                        const struct config_zone *zone, struct preflight_list *out)
{
    const struct config_site *from = preflight->in.from;
    if (zone == NULL || from->region == NULL || !authority_within(zone, from->region)) {
        return;
    }
    preflight_tell(out, PREFLIGHT_NAME_SERVERS, PREFLIGHT_WARNING,
                   "%.253s: %s zone %.200s stands in %.60s, the region of %.60s: lost with it, no "
                   "name is moved",
                   record, zone->regions_count > 0 ? "all authority over" : "who changes",
                   zone->name, from->region, from->name);
    preflight_hint(out,
                   "a second provider elsewhere: dns.%.60s.also; known otherwise: .regions; "
                   "docs/check.md#name-servers",
                   zone->name);
}

void preflight_tell_name_servers(const struct preflight *preflight, struct preflight_list *out)
{
    char what[300];
    for (size_t i = 0; i < preflight->in.service->cnames_count; i++) {
        const struct preflight_servers *servers = preflight->servers[i];
        snprintf(what, sizeof(what), "name servers of %.253s", record_name(preflight, i));
        if (servers == NULL) {
            preflight_late(preflight, out, PREFLIGHT_NAME_SERVERS, what);
        } else if (servers->err.kind != ERR_NONE) {
            preflight_unknown(out, PREFLIGHT_NAME_SERVERS, what, &servers->err);
        } else {
            tell_servers(record_name(preflight, i), &servers->views, out);
        }
        tell_region(preflight, record_name(preflight, i), servers == NULL ? NULL : servers->zone,
                    out);
    }
    if (preflight->in.service->cnames_count == 0) {
        preflight_tell(out, PREFLIGHT_NAME_SERVERS, PREFLIGHT_OK, "the service has no records");
    }
}
