/* Dynamic updates: RFC 2136, signed with TSIG (RFC 8945). BIND, Knot, PowerDNS.
 *
 * The prerequisite makes it a compare-and-swap on the server: "this RRset exists with this value", "this name is not in
 * use". Servers are tried in the order of the file. Everything goes over TCP and is signed, questions too: what a get
 * says decides what is done next. An answer without a signature that fits decides nothing: it is read back what became
 * of the update, and the update is sent once more, which is safe because its prerequisite is.
 */
#include <stdlib.h>
#include <string.h>

#include "dns/exchange.h"
#include "dns/name.h"
#include "dns/provider.h"

#define RCODE_NXDOMAIN 3
#define RCODE_YXDOMAIN 6
#define RCODE_YXRRSET  7
#define RCODE_NXRRSET  8
#define RCODE_NOTAUTH  9
#define RCODE_NOTZONE  10
#define TSIG_BADSIG    16
#define TSIG_BADKEY    17
#define TSIG_BADTIME   18
#define PASSES         2 /* an update that got no answer is sent twice */

struct rfc2136 {
    struct dns_provider provider; /* first: it is what callers hold */
    const struct config_zone *zone;
    char zone_name[DNS_NAME_BYTES];
    char *secret;
    struct message_key key;
};

/* --- one server --------------------------------------------------------------------------------------------------- */

static void name_server(const struct rfc2136 *self, size_t server, struct err *err)
{
    err_wrap(err, "name server %s of zone %s", self->zone->servers.list[server].text,
             self->zone_name);
}

/* It answered, and not with a signature of our key. */
static void unsigned_answer(const struct rfc2136 *self, const struct message_answer *answer,
                            struct err *err)
{
    const char *key = self->key.name;
    switch (answer->tsig_error) {
    case TSIG_BADKEY:
        err_set_code(err, ERR_REFUSED, TSIG_BADKEY,
                     "does not know TSIG key '%.100s', or not for this (BADKEY)", key);
        break;
    case TSIG_BADSIG:
        err_set_code(err, ERR_REFUSED, TSIG_BADSIG,
                     "has another secret for TSIG key '%.100s' (BADSIG)", key);
        break;
    case TSIG_BADTIME:
        err_set_code(err, ERR_REFUSED, TSIG_BADTIME,
                     "its clock and ours differ by more than 300 s (BADTIME)");
        err_hint(err, "set the clocks: timedatectl; then the same command again");
        return;
    default:
        err_set_code(err, ERR_REFUSED, answer->rcode,
                     "answers %s without a signature of TSIG key '%.100s'",
                     message_rcode_name(answer->rcode), key);
    }
    err_hint(err, "compare dns.%s.tsig with the server's key: name, algorithm, secret",
             self->zone_name);
}

/* Ask one server. true: an answer with our signature. *out_sent: something may have arrived there */
static bool talk(const struct rfc2136 *self, size_t server, const struct message_query *query,
                 struct message_answer *out, bool *out_sent, struct err *err)
{
    struct exchange exchange = {
        .query = query, .to = &self->zone->servers.list[server].address, .tcp = true};
    exchange_all(&exchange, 1, self->zone->timeout_ms);
    *out_sent = exchange.sent;
    if (exchange.answered && exchange.answer.is_signed) {
        *out = exchange.answer;
        return true;
    }
    if (exchange.answered) {
        unsigned_answer(self, &exchange.answer, err);
    } else if (err != NULL) {
        *err = exchange.why;
        err_hint(err, "see whether %s answers there; the next of dns.%s.servers is tried by itself",
                 self->zone->servers.list[server].text, self->zone_name);
    }
    name_server(self, server, err);
    return false;
}

/* --- get ---------------------------------------------------------------------------------------------------------- */

static bool get_from(const struct rfc2136 *self, size_t server, const char *name,
                     struct dns_set *out, struct err *err)
{
    struct message_query query;
    struct message_answer answer;
    bool sent;
    if (!message_ask(&query, name, MESSAGE_CNAME, false, &self->key, err)) {
        return false;
    }
    bool ok = talk(self, server, &query, &answer, &sent, err);
    if (ok && !message_set(&answer, name, self->zone_name, true, out, err)) {
        name_server(self, server, err);
        ok = false;
    }
    message_query_done(&query);
    return ok;
}

/* The first reason counts: it is of the server that should have answered. */
static bool get(struct dns_provider *provider, const char *name, struct dns_set *out,
                struct err *err)
{
    struct rfc2136 *self = (struct rfc2136 *)provider;
    struct err first = {0};
    for (size_t i = 0; i < self->zone->servers.count; i++) {
        struct err why = {0};
        if (get_from(self, i, name, out, &why)) {
            return true;
        }
        if (i == 0) {
            first = why;
        }
    }
    if (err != NULL) {
        *err = first;
    }
    return false;
}

/* --- swap --------------------------------------------------------------------------------------------------------- */

enum verdict {
    TAKEN,
    MISMATCH, /* the prerequisite is not so */
    NOT_TAKEN,
    UNKNOWN, /* it may have been taken */
};

static enum verdict judge(const struct rfc2136 *self, const struct message_answer *answer,
                          struct err *err)
{
    switch (answer->rcode) {
    case 0:
        return TAKEN;
    case RCODE_NXDOMAIN:
    case RCODE_YXDOMAIN:
    case RCODE_YXRRSET:
    case RCODE_NXRRSET:
        return MISMATCH;
    case RCODE_NOTAUTH:
    case RCODE_NOTZONE:
        err_set_code(err, ERR_REFUSED, answer->rcode, "has no zone %s that holds the record (%s)",
                     self->zone_name, message_rcode_name(answer->rcode));
        err_hint(err, "configure the zone that the record lies in: dns.ZONE in the file");
        return NOT_TAKEN;
    default:
        err_set_code(err, ERR_REFUSED, answer->rcode, "does not take the update: %s",
                     message_rcode_name(answer->rcode));
        err_hint(err, "allow TSIG key %.60s to change type CNAME of this name: docs/dns.md#servers",
                 self->key.name);
        return NOT_TAKEN;
    }
}

static enum verdict update(const struct rfc2136 *self, size_t server,
                           const struct message_query *query, struct err *err)
{
    struct message_answer answer;
    bool sent = false;
    if (!talk(self, server, query, &answer, &sent, err)) {
        return sent ? UNKNOWN : NOT_TAKEN;
    }
    enum verdict verdict = judge(self, &answer, err);
    if (verdict == NOT_TAKEN) {
        name_server(self, server, err);
    }
    return verdict;
}

/* Every server in turn, until one decides. @param why  the first reason */
static enum verdict update_any(const struct rfc2136 *self, const struct message_query *query,
                               struct err *why)
{
    bool unknown = false;
    for (size_t i = 0; i < self->zone->servers.count; i++) {
        struct err err = {0};
        enum verdict verdict = update(self, i, query, &err);
        if (verdict == TAKEN || verdict == MISMATCH) {
            return verdict;
        }
        unknown = unknown || verdict == UNKNOWN;
        if (i == 0) {
            *why = err;
        }
    }
    return unknown ? UNKNOWN : NOT_TAKEN;
}

/* @param verdict  MISMATCH or UNKNOWN  @param out_again  it is not known, and `from` still stands */
static bool read_back(struct rfc2136 *self, const char *name, const struct dns_change *change,
                      enum verdict verdict, const struct err *why, bool *out_again, struct err *err)
{
    struct dns_set set;
    if (!get(&self->provider, name, &set, err)) {
        if (err != NULL) {
            err->kind = ERR_RETRY; /* whatever it is: what became of the update is not known */
        }
        err_hint(err, "the same command again finds out, and is safe");
        return err_wrap(err, "whether %s was changed is not known", name);
    }
    if (provider_outcome(name, change, &set, out_again, err)) {
        return true;
    }
    if (*out_again && verdict == MISMATCH) {
        /* the server's own word against its prerequisite */
        char text[DNS_TEXT_BYTES];
        *out_again = false;
        err_set(err, ERR_REFUSED,
                "%s: the server answers %s and holds no such record: made up from a wildcard or "
                "another record",
                name, dns_set_text(&set, text));
        return err_hint(err, "give the name a CNAME record of its own, then ferry dns adopt");
    }
    if (*out_again && err != NULL) {
        *err = *why;
    }
    return false;
}

static bool swap(struct dns_provider *provider, const char *name, const struct dns_change *change,
                 bool only_check, struct err *err)
{
    struct rfc2136 *self = (struct rfc2136 *)provider;
    struct message_query query;
    struct err why = {0};
    bool again = true;
    bool ok = false;
    if (!message_update(&query, self->zone_name, name, change, only_check, &self->key, err)) {
        return false;
    }
    for (int pass = 0; !ok && again && pass < PASSES; pass++) {
        enum verdict verdict = update_any(self, &query, &why);
        again = false;
        if (verdict == NOT_TAKEN && err != NULL) {
            *err = why;
        }
        if (verdict == MISMATCH || (verdict == UNKNOWN && !only_check)) {
            ok = read_back(self, name, change, verdict, &why, &again, err);
        } else if (verdict == UNKNOWN && err != NULL) {
            *err = why;
        }
        ok = ok || verdict == TAKEN;
    }
    message_query_done(&query);
    return ok;
}

/* An update that was answered stands. */
static bool settled(struct dns_provider *provider, const char *name, const char *value, bool *out,
                    struct err *err)
{
    (void)provider;
    (void)name;
    (void)value;
    (void)err;
    *out = true;
    return true;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void release(struct dns_provider *provider)
{
    struct rfc2136 *self = (struct rfc2136 *)provider;
    config_secret_free(self->secret);
    free(self);
}

struct dns_provider *rfc2136_new(const struct config_zone *zone, struct err *err)
{
    struct rfc2136 *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        abort();
    }
    self->provider = (struct dns_provider){get, swap, settled, release, NULL};
    self->zone = zone;
    self->secret = config_secret_read(zone->tsig_secret, err);
    self->key = (struct message_key){zone->tsig_name, zone->tsig_algorithm, self->secret};
    if (!dns_name(zone->name, self->zone_name) || self->secret == NULL ||
        !message_key_ok(&self->key, err)) {
        release(&self->provider);
        return NULL;
    }
    return &self->provider;
}
