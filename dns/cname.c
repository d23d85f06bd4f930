/* One record of a service: the checks before a swap, the swap, and who says so afterwards. See dns.h. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "dns/name.h"
#include "dns/provider.h"
#include "dns/resolve.h"
#include "dns/settle.h"

#define ROUND_MS 500 /* between two looks at what servers say */

struct dns {
    const struct config *config;
    const struct config_cname *cname;
    const struct config_zone *zone;
    char record[DNS_NAME_BYTES];
    char zone_name[DNS_NAME_BYTES];
    char (*values)[DNS_NAME_BYTES];  /* of cname->at, in its order */
    struct dns_provider **providers; /* the zone's, and those of `also`; NULL: not needed yet */
    size_t providers_count;
    struct resolve_servers servers; /* who is authoritative; asked once */
};

/* --- life --------------------------------------------------------------------------------------------------------- */

static bool no_zone(const struct config *config, const char *record, struct err *err)
{
    err_set(err, ERR_REFUSED, "%.253s lies outside every zone of \"dns\" in %.200s", record,
            config->file);
    return err_hint(err, "add its zone there: docs/dns.md#configuration");
}

static bool all_have_aliases(const struct config_zone *zone)
{
    bool all = zone->provider == PROVIDER_ROUTE53;
    for (size_t i = 0; i < zone->also_count; i++) {
        all = all && zone->also[i].provider == PROVIDER_ROUTE53;
    }
    return all;
}

static bool no_alias(const struct dns *dns, struct err *err)
{
    err_set(err, ERR_REFUSED,
            "%.253s is an alias in the configuration, and zone %s has a provider without them",
            dns->record, dns->zone->name);
    return err_hint(err, "aliases are Route 53's: make it a CNAME (docs/dns.md#alias-records)");
}

struct dns *dns_open(const struct config *config, const struct config_cname *cname, struct err *err)
{
    struct dns *dns = calloc(1, sizeof(*dns));
    char(*values)[DNS_NAME_BYTES] = calloc(cname->at_count + 1, sizeof(*values));
    if (dns == NULL || values == NULL) {
        abort();
    }
    *dns = (struct dns){.config = config, .cname = cname, .values = values};
    bool ok = dns_name(cname->record, dns->record);
    for (size_t i = 0; i < cname->at_count; i++) {
        ok = ok && dns_name(cname->at[i].value, values[i]);
    }
    dns->zone = ok ? dns_zone_of(config, dns->record) : NULL;
    if (dns->zone == NULL) {
        no_zone(config, cname->record, err);
        dns_close(dns);
        return NULL;
    }
    if (dns_is_alias(dns) && !all_have_aliases(dns->zone)) {
        no_alias(dns, err);
        dns_close(dns);
        return NULL;
    }
    dns_name(dns->zone->name, dns->zone_name);
    dns->providers_count = 1 + dns->zone->also_count;
    dns->providers = calloc(dns->providers_count, sizeof(struct dns_provider *));
    if (dns->providers == NULL) {
        abort();
    }
    return dns;
}

void dns_close(struct dns *dns)
{
    if (dns == NULL) {
        return;
    }
    for (size_t i = 0; i < dns->providers_count; i++) {
        if (dns->providers[i] != NULL) {
            dns->providers[i]->free(dns->providers[i]);
        }
    }
    free(dns->providers);
    free(dns->values);
    free(dns);
}

const char *dns_record(const struct dns *dns)
{
    return dns->record;
}

const struct config_zone *dns_zone(const struct dns *dns)
{
    return dns->zone;
}

bool dns_is_alias(const struct dns *dns)
{
    return dns->cname->hosted_zones != NULL;
}

bool dns_evaluates_health(const struct dns *dns)
{
    return dns->cname->evaluate_health;
}

const char *dns_hosted_zone_of(const struct dns *dns, const char *value)
{
    for (size_t i = 0; dns_is_alias(dns) && i < dns->cname->at_count; i++) {
        if (strcmp(dns->values[i], value) == 0) {
            return dns->cname->hosted_zones[i];
        }
    }
    return NULL;
}

int64_t dns_ttl_s(const struct dns *dns)
{
    return dns->cname->ttl_s;
}

const char *dns_value_at(const struct dns *dns, const char *site)
{
    for (size_t i = 0; i < dns->cname->at_count; i++) {
        if (strcmp(dns->cname->at[i].name, site) == 0) {
            return dns->values[i];
        }
    }
    return NULL;
}

const char *dns_site_of(const struct dns *dns, const char *value)
{
    for (size_t i = 0; i < dns->cname->at_count; i++) {
        if (strcmp(dns->values[i], value) == 0) {
            return dns->cname->at[i].name;
        }
    }
    return NULL;
}

struct dns_provider *provider_new(const struct config_zone *zone, struct err *err)
{
    static struct dns_provider *(*const makers[])(const struct config_zone *, struct err *) = {
        [PROVIDER_RFC2136] = rfc2136_new, [PROVIDER_POWERDNS] = powerdns_new,
        [PROVIDER_ROUTE53] = route53_new, [PROVIDER_CLOUDFLARE] = cloudflare_new,
        [PROVIDER_ALIDNS] = alidns_new,   [PROVIDER_GOOGLE] = google_new,
        [PROVIDER_AZURE] = azure_new,     [PROVIDER_EXEC] = exec_new,
    };
    return makers[zone->provider](zone, err);
}

static const struct config_zone *zone_at(const struct dns *dns, size_t index)
{
    return index == 0 ? dns->zone : &dns->zone->also[index - 1];
}

static struct dns_provider *provider_at(struct dns *dns, size_t index, struct err *err)
{
    if (dns->providers[index] == NULL) {
        dns->providers[index] = provider_new(zone_at(dns, index), err);
        if (dns->providers[index] != NULL && dns_is_alias(dns)) {
            dns->providers[index]->alias(dns->providers[index], dns->cname);
        }
    }
    return dns->providers[index];
}

/* --- words -------------------------------------------------------------------------------------------------------- */

char *dns_set_text(const struct dns_set *set, char out[DNS_TEXT_BYTES])
{
    switch (set->kind) {
    case DNS_NOTHING:
        snprintf(out, DNS_TEXT_BYTES, "nothing");
        break;
    case DNS_CNAME:
        snprintf(out, DNS_TEXT_BYTES, "%s", set->value);
        break;
    case DNS_OTHER:
        snprintf(out, DNS_TEXT_BYTES, "other records than a CNAME");
        break;
    case DNS_SEVERAL:
        snprintf(out, DNS_TEXT_BYTES, "several values");
        break;
    case DNS_WEIGHTED:
        snprintf(out, DNS_TEXT_BYTES, "one of a weighted set");
        break;
    case DNS_ELSEWHERE:
        snprintf(out, DNS_TEXT_BYTES, "what zone %s has", set->value);
        break;
    case DNS_DIFFERS:
        snprintf(out, DNS_TEXT_BYTES, "not the same with each of its providers");
        break;
    }
    return out;
}

const char *dns_refusal_name(enum dns_refusal refusal)
{
    static const char *const names[] = {
        [DNS_REFUSED_EXISTS] = "exists-already",
        [DNS_REFUSED_MISSING] = "does-not-exist",
        [DNS_REFUSED_CHANGED] = "value-not-as-recorded",
        [DNS_REFUSED_NO_CNAME] = "no-cname",
        [DNS_REFUSED_SEVERAL] = "several-values",
        [DNS_REFUSED_WEIGHTED] = "weighted-set",
        [DNS_REFUSED_OUTSIDE] = "outside-the-zone",
        [DNS_REFUSED_NO_ADDRESS] = "target-without-address",
        [DNS_REFUSED_LOOP] = "loop",
        [DNS_REFUSED_DIFFERS] = "providers-differ",
        [DNS_REFUSED_BY_PROVIDER] = "refused-by-provider",
    };
    return names[refusal];
}

/* --- checks ------------------------------------------------------------------------------------------------------- */

static void refuse(struct dns_check *check, enum dns_refusal refusal, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void refuse(struct dns_check *check, enum dns_refusal refusal, const char *format, ...)
{
    va_list args;
    if (check->refusals_count == DNS_REFUSALS_MAX) {
        return;
    }
    check->refusals[check->refusals_count].refusal = refusal;
    va_start(args, format);
    vsnprintf(check->refusals[check->refusals_count].what, sizeof(check->refusals[0].what), format,
              args);
    va_end(args);
    check->refusals_count++;
}

/* What stands there against what should. */
static void judge_set(const struct dns *dns, const char *from, const char *to,
                      struct dns_check *check)
{
    const struct dns_set *set = &check->set;
    const char *record = dns->record;
    switch (set->kind) {
    case DNS_NOTHING:
        if (from != NULL) {
            refuse(check, DNS_REFUSED_MISSING, "%s does not exist", record);
        }
        return;
    case DNS_OTHER:
        refuse(check, DNS_REFUSED_NO_CNAME, "%s holds other records than %s, or names below it do",
               record, dns_is_alias(dns) ? "an alias" : "a CNAME");
        return;
    case DNS_SEVERAL:
        refuse(check, DNS_REFUSED_SEVERAL, "%s holds several values", record);
        return;
    case DNS_WEIGHTED:
        refuse(check, DNS_REFUSED_WEIGHTED, "%s is chosen from a weighted set", record);
        return;
    case DNS_ELSEWHERE:
        refuse(check, DNS_REFUSED_OUTSIDE, "%s lies in zone %s, which is cut off from %s", record,
               set->value, dns->zone_name);
        return;
    case DNS_DIFFERS:
        refuse(check, DNS_REFUSED_DIFFERS, "%s is not the same with each of its providers", record);
        return;
    case DNS_CNAME:
        break;
    }
    check->done = strcmp(set->value, to) == 0 && (from == NULL || strcmp(from, to) != 0);
    if (from == NULL) {
        refuse(check, DNS_REFUSED_EXISTS, "%s exists, with value %s", record, set->value);
    } else if (!check->done && strcmp(set->value, from) != 0) {
        refuse(check, DNS_REFUSED_CHANGED, "%s holds %s, recorded is %s", record, set->value, from);
    }
}

/* Where the new value leads. */
static void judge_value(const struct dns *dns, const char *to, struct dns_check *check)
{
    struct chain chain;
    enum chain_step step;
    struct err why = {0};
    if (strcmp(to, dns->record) == 0) {
        refuse(check, DNS_REFUSED_LOOP, "%s would lead to itself", to);
        return;
    }
    chain_begin(&chain, dns->record, to);
    if (!resolve_walk(dns->config, dns->zone, &chain, &step, &why)) {
        check->address_unknown = true;
        snprintf(check->unknown_why, sizeof(check->unknown_why), "%.255s", why.what);
        return;
    }
    if (step == CHAIN_LOOP) {
        refuse(check, DNS_REFUSED_LOOP, "%s leads back, by way of %s", to, chain_name(&chain));
    } else if (step == CHAIN_LONG) {
        refuse(check, DNS_REFUSED_LOOP, "%s leads over more names than clients follow", to);
    } else if (step != CHAIN_ADDRESS) {
        refuse(check, DNS_REFUSED_NO_ADDRESS, "%s has no address%s%s", to,
               chain.count > 2 ? ": it leads to " : "", chain.count > 2 ? chain_name(&chain) : "");
    }
}

/* One provider's word, with the real key and the real prerequisite. */
static bool ask_provider(struct dns *dns, size_t index, const char *from, const char *to,
                         struct dns_check *check, struct err *err)
{
    const struct dns_change change = {.from = from, .to = to, .ttl_s = dns->cname->ttl_s};
    struct dns_provider *provider = dns->providers[index];
    struct err why = {0};
    if (provider->swap(provider, dns->record, &change, true, &why)) {
        return true;
    }
    if (why.kind == ERR_REFUSED) {
        refuse(check, DNS_REFUSED_BY_PROVIDER, "%s", why.what);
        return true;
    }
    if (err != NULL) {
        *err = why;
    }
    return false;
}

/* What stands with each: `set` is of the first that the change is still to be made with, else of the first; `done` when
 * there is none. */
static bool judge_sets(struct dns *dns, const char *from, const char *to, struct dns_check *out,
                       struct err *err)
{
    bool done = true;
    for (size_t i = 0; i < dns->providers_count; i++) {
        struct dns_check one = {.set = {.ttl_s = -1}};
        struct dns_provider *provider = provider_at(dns, i, err);
        if (provider == NULL || !provider->get(provider, dns->record, &one.set, err)) {
            return false;
        }
        judge_set(dns, from, to, &one);
        if (i == 0 || (done && !one.done)) {
            out->set = one.set;
        }
        done = done && one.done;
        for (size_t j = 0; j < one.refusals_count; j++) {
            refuse(out, one.refusals[j].refusal, "%s", one.refusals[j].what);
        }
    }
    out->done = done;
    return true;
}

bool dns_check(struct dns *dns, const char *from, const char *to, struct dns_check *out,
               struct err *err)
{
    bool ok = true;
    *out = (struct dns_check){.set = {.ttl_s = -1}};
    if (!judge_sets(dns, from, to, out, err)) {
        return false;
    }
    if (!dns_is_alias(dns) && strcmp(dns->record, dns->zone_name) == 0 &&
        out->refusals_count < DNS_REFUSALS_MAX) {
        refuse(out, DNS_REFUSED_OUTSIDE, "%s is the zone itself: its apex cannot be a CNAME",
               dns->record);
    }
    if (from == NULL || strcmp(from, to) != 0) {
        judge_value(dns, to, out);
    }
    /* asked only where nothing else speaks against it */
    for (size_t i = 0; ok && !out->done && i < dns->providers_count; i++) {
        ok = out->refusals_count > 0 || ask_provider(dns, i, from, to, out, err);
    }
    return ok;
}

/* --- get, swap ---------------------------------------------------------------------------------------------------- */

static bool set_same(const struct dns_set *a, const struct dns_set *b)
{
    return a->kind == b->kind && (a->kind != DNS_CNAME || strcmp(a->value, b->value) == 0);
}

bool dns_get(struct dns *dns, struct dns_set *out, struct err *err)
{
    struct dns_set all = {.ttl_s = -1};
    for (size_t i = 0; i < dns->providers_count; i++) {
        struct dns_set set;
        struct dns_provider *provider = provider_at(dns, i, err);
        if (provider == NULL || !provider->get(provider, dns->record, &set, err)) {
            return false;
        }
        if (i > 0 && !set_same(&set, &all)) {
            set = (struct dns_set){.kind = DNS_DIFFERS, .ttl_s = -1};
        }
        all = all.kind == DNS_DIFFERS ? all : set;
    }
    *out = all;
    return true;
}

bool dns_stands(struct dns *dns, const char *value, bool *out, struct dns_set *set, struct err *err)
{
    bool stands = true;
    for (size_t i = 0; stands && i < dns->providers_count; i++) {
        struct dns_provider *provider = provider_at(dns, i, err);
        if (provider == NULL || !provider->get(provider, dns->record, set, err)) {
            return false;
        }
        stands = set->kind == DNS_CNAME && strcmp(set->value, value) == 0;
    }
    *out = stands;
    return true;
}

bool provider_outcome(const char *name, const struct dns_change *change, const struct dns_set *set,
                      bool *out_unchanged, struct err *err)
{
    char text[DNS_TEXT_BYTES];
    bool cname = set->kind == DNS_CNAME;
    bool only_ttl = change->from != NULL && strcmp(change->from, change->to) == 0;
    bool there = cname && strcmp(set->value, change->to) == 0;
    *out_unchanged = false;
    if (there && (!only_ttl || set->ttl_s == change->ttl_s)) {
        return true;
    }
    *out_unchanged = change->from == NULL ? set->kind == DNS_NOTHING
                                          : cname && strcmp(set->value, change->from) == 0;
    if (!*out_unchanged) {
        err_set(err, ERR_REFUSED, "%s holds %s, not %s: it was not changed", name,
                dns_set_text(set, text), change->from == NULL ? "nothing" : change->from);
        err_hint(err, "who changed it, and why? To take it as it is: ferry dns adopt");
    }
    return false;
}

/* A refusal of any of several is told before the first is changed. */
static bool nobody_refuses(struct dns *dns, const struct dns_change *change, struct err *err)
{
    for (size_t i = 0; dns->providers_count > 1 && i < dns->providers_count; i++) {
        struct err why = {0};
        struct dns_provider *provider = provider_at(dns, i, &why);
        if (provider == NULL || provider->swap(provider, dns->record, change, true, &why) ||
            why.kind != ERR_REFUSED) {
            continue;
        }
        if (err != NULL) {
            *err = why;
        }
        return false;
    }
    return true;
}

bool dns_swap(struct dns *dns, const struct dns_change *change, struct err *err)
{
    size_t moved = 0;
    struct err first = {0};
    if (!nobody_refuses(dns, change, err)) {
        return false;
    }
    for (size_t i = 0; i < dns->providers_count; i++) {
        struct err why = {0};
        struct dns_provider *provider = provider_at(dns, i, &why);
        if (provider != NULL && provider->swap(provider, dns->record, change, false, &why)) {
            moved++;
        } else if (first.kind == ERR_NONE) {
            first = why;
        }
    }
    if (moved > 0 && moved < dns->providers_count) {
        first.kind = ERR_RETRY;
        err_wrap(&first, "%s is changed with %zu of %zu providers", dns->record, moved,
                 dns->providers_count);
    }
    if (moved < dns->providers_count && err != NULL) {
        *err = first;
    }
    return moved == dns->providers_count;
}

/* --- who says so -------------------------------------------------------------------------------------------------- */

/* Unknown is not settled; the servers answer all the same. */
static bool settled_everywhere(struct dns *dns, const char *value)
{
    bool all = value != NULL;
    for (size_t i = 0; all && i < dns->providers_count; i++) {
        bool one = false;
        struct dns_provider *provider = provider_at(dns, i, NULL);
        all =
            provider != NULL && provider->settled(provider, dns->record, value, &one, NULL) && one;
    }
    return all;
}

/* An alias stands in no answer: it is the value whose addresses are answered. */
static void look(const struct dns *dns, struct dns_views *out)
{
    struct resolve_leads leads = {.count = 0};
    for (size_t i = 0; dns_is_alias(dns) && i < dns->cname->at_count; i++) {
        resolve_lead(dns->config, dns->zone, dns->values[i], &leads);
    }
    resolve_look(dns->zone, &dns->servers, dns->record, dns_is_alias(dns) ? &leads : NULL, out);
}

bool dns_look(struct dns *dns, const char *value, int64_t ttl_s, struct dns_views *out,
              struct err *err)
{
    *out = (struct dns_views){.count = 0};
    if (dns->servers.count == 0 &&
        !resolve_authoritative(dns->config, dns->zone, &dns->servers, err)) {
        return false;
    }
    look(dns, out);
    out->provider = settled_everywhere(dns, value);
    settle_count(out, value, ttl_s, dns->zone->settled_count);
    return true;
}

static void rest(int64_t ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static bool differs(const struct dns_views *a, const struct dns_views *b)
{
    return a->agree != b->agree || a->resolvers_agree != b->resolvers_agree ||
           a->provider != b->provider;
}

bool dns_settle(struct dns *dns, const char *value, int64_t ttl_s, int64_t wait_ms,
                void (*progress)(void *arg, const struct dns_views *views), void *arg,
                struct dns_views *out, struct err *err)
{
    const struct clock *clock = clock_system();
    int64_t until = clock_now_ms(clock) + wait_ms;
    struct dns_views before = {.agree = SIZE_MAX};
    for (;;) {
        if (!dns_look(dns, value, ttl_s, out, err)) {
            return false;
        }
        if (progress != NULL && differs(out, &before)) {
            progress(arg, out);
        }
        int64_t left = until - clock_now_ms(clock);
        if (out->settled || left <= 0) {
            return true;
        }
        before = *out;
        rest(left < ROUND_MS ? left : ROUND_MS);
    }
}
