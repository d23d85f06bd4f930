/* The names that clients know a service by: what stands there, whether a swap would work, the swap itself, and who says
 * so afterwards. The one header that failover/ and cli/ need.
 *
 *   struct dns *dns = dns_open(config, &service->cnames[i], &err);         once a record; no I/O
 *   dns_check(dns, recorded->value, dns_value_at(dns, "shanghai"), &check, &err)   changes nothing: every refusal by name
 *   ... the intent is made durable: struct dns_entry's `next`, in record `dns` of the control topic ...
 *   dns_swap(dns, &(struct dns_change){.from = recorded->value, .to = value, .ttl_s = check.set.ttl_s}, &err)
 *   ... the outcome is made durable: `value` ...
 *   dns_settle(dns, value, -1, wait_ms, NULL, NULL, &views, &err)                   k of n, resolvers included
 *
 * Promises: a record is changed by compare-and-swap from a value that the caller gives, never blindly; nothing else in
 * the zone is; "settled" is said of servers that were asked, never assumed; each call ends within its time. After an
 * interruption at any point the same swap again ends in the same state: what stands is then `from` or `to`.
 * Must never: change a record that holds several values or is chosen from a set; follow a name to nowhere.
 *
 * What stands is recorded in the control topic (key `dns`), not here: dns/ knows of no Kafka (docs/adr/0012).
 * Calls block, for dns.ZONE.timeout a server and attempt; from one thread at a time for each struct dns.
 */
#ifndef FERRY_DNS_DNS_H
#define FERRY_DNS_DNS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "config/config.h"

#define DNS_NAME_BYTES 254 /* 253, and the end */

/* --- what stands at a name ---------------------------------------------------------------------------------------- */

enum dns_kind {
    DNS_NOTHING, /* the name does not exist */
    DNS_CNAME, /* one value: a CNAME's, or the target of an alias where the configuration has one */
    DNS_OTHER, /* it exists and holds no CNAME (no alias) */
    DNS_SEVERAL,   /* several values */
    DNS_WEIGHTED,  /* one of a set that the provider chooses from: by weight, place, health */
    DNS_ELSEWHERE, /* it lies below a zone cut: another zone has it */
    DNS_DIFFERS,   /* the zone has several providers, and they do not hold the same */
};

struct dns_set {
    enum dns_kind kind;
    char value[DNS_NAME_BYTES]; /* of DNS_CNAME; of DNS_ELSEWHERE the zone that has it */
    int64_t ttl_s;              /* of DNS_CNAME, else -1 */
};

#define DNS_TEXT_BYTES 320
/* "kafka-a.example.com", "nothing", "several values". Returns out. */
char *dns_set_text(const struct dns_set *set, char out[DNS_TEXT_BYTES]);

/* --- one record of a service -------------------------------------------------------------------------------------- */

struct dns;

/* No I/O. @param config, cname  borrowed for the lifetime
 * @return NULL with ERR_REFUSED when the record lies in no zone of the configuration, or is an alias and its zone has a
 *         provider that has none */
struct dns *dns_open(const struct config *config, const struct config_cname *cname,
                     struct err *err);
void dns_close(struct dns *dns); /* NULL is fine */

const char *dns_record(const struct dns *dns); /* its name: lower case, no final dot */
const struct config_zone *dns_zone(const struct dns *dns);
/* Is the record an alias of Route 53? Its time to live is its target's: none is set. */
bool dns_is_alias(const struct dns *dns);
bool dns_evaluates_health(const struct dns *dns); /* of an alias, as configured */
/* Hosted zone of a value of an alias; NULL when the configuration does not know the value, or it is none. */
const char *dns_hosted_zone_of(const struct dns *dns, const char *value);
int64_t dns_ttl_s(const struct dns *dns); /* what the configuration has for it */
/* The value that the record has while this site is primary; NULL when the configuration has none. */
const char *dns_value_at(const struct dns *dns, const char *site);
/* The site whose value this is, or NULL. */
const char *dns_site_of(const struct dns *dns, const char *value);

/* What the provider says stands there; where the zone has several, what all of them say. ERR_RETRY: nobody answered. */
MUST_CHECK
bool dns_get(struct dns *dns, struct dns_set *out, struct err *err);

/* Does `value` stand there with every provider? @param set  what stands with the first that has something else. false: one did not
 * answer before another one had something else; `out` is as it was. */
MUST_CHECK
bool dns_stands(struct dns *dns, const char *value, bool *out, struct dns_set *set,
                struct err *err);

/* --- checks ------------------------------------------------------------------------------------------------------- */

enum dns_refusal {
    DNS_REFUSED_EXISTS,     /* to be created, and it exists */
    DNS_REFUSED_MISSING,    /* to be changed, and it does not exist */
    DNS_REFUSED_CHANGED,    /* another value than recorded */
    DNS_REFUSED_NO_CNAME,   /* other records stand there */
    DNS_REFUSED_SEVERAL,    /* several values */
    DNS_REFUSED_WEIGHTED,   /* chosen from a set */
    DNS_REFUSED_OUTSIDE,    /* outside the zone: at its apex, or below a zone cut */
    DNS_REFUSED_NO_ADDRESS, /* the new value leads to no address */
    DNS_REFUSED_LOOP,       /* the new value leads back to the record, or never ends */
    DNS_REFUSED_DIFFERS,    /* the zone's providers do not hold the same */
    DNS_REFUSED_BY_PROVIDER, /* the change would be refused, or what answers is made up (a wildcard) */
};
#define DNS_REFUSALS_MAX 4

/* "value-not-as-recorded", "several-values", ... stable: for JSON and reports. */
const char *dns_refusal_name(enum dns_refusal refusal);

struct dns_check {
    struct dns_set set; /* what stands now */
    bool done;          /* the new value stands there already: nothing is to be swapped */
    struct {
        enum dns_refusal refusal;
        char what[DNS_NAME_BYTES * 3];
    } refusals[DNS_REFUSALS_MAX];
    size_t refusals_count;
    bool
        address_unknown; /* nobody could say whether the new value has an address: a warning, in `unknown_why` */
    char unknown_why[256];
};

/* Would this swap work? Reads, and asks the provider for a change that changes nothing (rfc2136: the same key,
 * prerequisite and permission). `done` wins over DNS_REFUSED_CHANGED.
 *
 * @param from  recorded value; NULL = the record is to be created; equal to `to` = only the time to live changes
 * @param to    new value, as dns_value_at() gives it
 * @return false when it cannot be known: ERR_RETRY nobody answered, ERR_REFUSED the provider lets us not look
 */
MUST_CHECK
bool dns_check(struct dns *dns, const char *from, const char *to, struct dns_check *out,
               struct err *err);

/* --- the swap ----------------------------------------------------------------------------------------------------- */

struct dns_change {
    const char *from; /* what must stand there; NULL = nothing may */
    const char *to;
    int64_t ttl_s;
};

/* Compare and swap. True also when `to` stands there already. An answer that is lost is followed by reading back. With
 * several providers: each of them, also behind one that does not answer; ERR_RETRY when a part of them has it now.
 *
 * @return false: ERR_REFUSED  something else stands there (`what` has both values), or the provider does not take it:
 *                             nothing was changed
 *                ERR_RETRY    it is not known, or nobody answered: the same call again finds out
 */
MUST_CHECK
bool dns_swap(struct dns *dns, const struct dns_change *change, struct err *err);

/* What a person types when the provider cannot be reached: lines without any secret, heap. */
char *dns_by_hand(const struct dns *dns, const struct dns_change *change);

/* --- who says so -------------------------------------------------------------------------------------------------- */

struct dns_view { /* one server's answer */
    char server[80];
    bool resolver; /* recursive: ttl_s is what is left; else authoritative */
    bool answered;
    struct dns_set set;
    char why[160]; /* why there is no answer */
};

#define DNS_VIEWS_MAX 128 /* both lists of a zone: 64 each */
struct dns_views {
    struct dns_view list[DNS_VIEWS_MAX];
    size_t count;
    /* counted against the value that was asked for */
    size_t servers; /* n: authoritative ones */
    size_t agree;   /* k of them */
    size_t enough;  /* dns.ZONE.settled, or n */
    size_t resolvers;
    size_t resolvers_agree;
    bool provider;      /* every provider calls the change done */
    bool authoritative; /* k >= enough, and there are any */
    bool settled;       /* all of it: provider, authoritative, every resolver */
};

/* Ask every authoritative server and every resolver once, side by side. What they say is counted against `value` (NULL:
 * nothing agrees) and, where it is not negative, `ttl_s`. false with ERR_RETRY: nobody knows who is authoritative. */
MUST_CHECK
bool dns_look(struct dns *dns, const char *value, int64_t ttl_s, struct dns_views *out,
              struct err *err);

/* Ask again and again until it is settled or `wait_ms` is over. false: nobody could be asked; else see out->settled.
 * @param progress  called after each round that differs from the one before; NULL = nobody listens */
MUST_CHECK
bool dns_settle(struct dns *dns, const char *value, int64_t ttl_s, int64_t wait_ms,
                void (*progress)(void *arg, const struct dns_views *views), void *arg,
                struct dns_views *out, struct err *err);

/* --- what is recorded --------------------------------------------------------------------------------------------- */

/* Record `dns` of a control topic:
 *   {"epoch": N, "records": {NAME: {"value": NAME|null, "ttl": S, "next": NAME, "ttl_before": S}}, "by":.., "reason":.., "time":..}
 * value: what stands there since `epoch` (null: nothing, it is being created). next: a swap to it has begun; either may
 * stand. ttl_before: what `prepare` found. The record with the highest epoch counts, of those that can be read. */
struct dns_entry {
    char name[DNS_NAME_BYTES];
    char value[DNS_NAME_BYTES]; /* "" = null */
    char next[DNS_NAME_BYTES];  /* "" = none */
    int64_t ttl_s;
    int64_t ttl_before_s; /* -1 = none */
};

#define DNS_ENTRIES_MAX 64
struct dns_recorded {
    int64_t epoch; /* 0 = nothing is recorded */
    struct dns_entry entries[DNS_ENTRIES_MAX];
    size_t count;
};

/* From the record's text; NULL = none stands there. false with ERR_REFUSED: it is not of its form. */
MUST_CHECK
bool dns_recorded_parse(const char *json, struct dns_recorded *out, struct err *err);
/* New reference: "epoch" and "records". Who writes it adds by, reason, time. */
json_t *dns_recorded_json(const struct dns_recorded *recorded);
/* The entry of a name, or NULL. */
struct dns_entry *dns_recorded_find(struct dns_recorded *recorded, const char *name);
/* Likewise, made when it is not there; NULL when there is no room. */
struct dns_entry *dns_recorded_at(struct dns_recorded *recorded, const char *name);

#endif
