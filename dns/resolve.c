#include "dns/resolve.h"

#include <arpa/inet.h>
#include <ldns/ldns.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "dns/exchange.h"
#include "dns/name.h"

#define PORT_DNS       53
#define RCODE_NXDOMAIN 3
#define WALK_TURNS_MAX (CHAIN_NAMES_MAX + 2)

/* --- whom to ask -------------------------------------------------------------------------------------------------- */

struct ask { /* servers for one question, tried in turn */
    struct sockaddr_storage list[RESOLVE_SERVERS_MAX];
    size_t count;
    bool recursive;
    char zone[DNS_NAME_BYTES]; /* of authoritative ones */
    int32_t timeout_ms;
};

static void add_servers(struct ask *ask, const struct config_servers *servers)
{
    for (size_t i = 0; i < servers->count && ask->count < RESOLVE_SERVERS_MAX; i++) {
        ask->list[ask->count++] = servers->list[i].address;
    }
}

/* As /etc/resolv.conf has them. */
static void add_system(struct ask *ask)
{
    ldns_resolver *system = NULL;
    if (ldns_resolver_new_frm_file(&system, NULL) != LDNS_STATUS_OK) {
        return;
    }
    ldns_rdf **servers = ldns_resolver_nameservers(system);
    size_t count = ldns_resolver_nameserver_count(system);
    for (size_t i = 0; i < count && ask->count < RESOLVE_SERVERS_MAX; i++) {
        size_t size = 0;
        struct sockaddr_storage *address =
            ldns_rdf2native_sockaddr_storage(servers[i], PORT_DNS, &size);
        if (address != NULL) {
            ask->list[ask->count++] = *address;
        }
        free(address);
    }
    ldns_resolver_deep_free(system);
}

static void resolvers_of(const struct config_zone *zone, struct ask *out)
{
    *out = (struct ask){.recursive = true, .timeout_ms = zone->timeout_ms};
    add_servers(out, &zone->resolvers);
    if (out->count == 0) {
        add_system(out);
    }
}

/* Those that have the zone, or none. */
static void servers_of(const struct config_zone *zone, struct ask *out)
{
    *out = (struct ask){.timeout_ms = zone->timeout_ms};
    dns_name(zone->name, out->zone);
    add_servers(out, &zone->servers);
    add_servers(out, &zone->authoritative);
}

/* --- one question ------------------------------------------------------------------------------------------------- */

static bool usable(const struct ask *ask, const struct message_answer *answer)
{
    return (answer->rcode == 0 || answer->rcode == RCODE_NXDOMAIN) &&
           (ask->recursive || answer->authoritative);
}

/* The first server that knows; the questions go to it side by side. */
static bool ask_for(const struct ask *ask, const char *name, const enum message_type *types,
                    size_t count, struct message_answer *out, struct err *err)
{
    struct message_query queries[2] = {{.wire = NULL}, {.wire = NULL}};
    bool ok = false;
    bool made = true;
    for (size_t i = 0; i < count; i++) {
        made = made && message_ask(&queries[i], name, types[i], ask->recursive, NULL, err);
    }
    if (made) {
        err_set(err, ERR_RETRY, "no server is known that could say");
    }
    for (size_t server = 0; made && !ok && server < ask->count; server++) {
        struct exchange talks[2] = {
            {.query = &queries[0], .to = &ask->list[server]},
            {.query = &queries[1], .to = &ask->list[server]}
        };
        char text[EXCHANGE_SERVER_BYTES];
        exchange_all(talks, count, ask->timeout_ms);
        ok = true;
        for (size_t i = 0; ok && i < count; i++) {
            ok = talks[i].answered && usable(ask, &talks[i].answer);
            out[i] = talks[i].answer;
            exchange_server(&ask->list[server], text);
            if (!talks[i].answered) {
                err_set(err, ERR_RETRY, "%s %.200s", text, talks[i].why.what);
            } else if (!ok) {
                err_set(err, ERR_RETRY, "%s answers %s%s", text,
                        message_rcode_name(talks[i].answer.rcode),
                        talks[i].answer.rcode == 0 ? ", and does not have the zone" : "");
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        message_query_done(&queries[i]);
    }
    return ok || err_wrap(err, "%s", name);
}

/* --- where a name leads ------------------------------------------------------------------------------------------- */

/* Both kinds of addresses, of one mind. */
static bool ask_addresses(const struct ask *ask, struct chain *chain, enum chain_step *out,
                          struct err *err)
{
    static const enum message_type types[] = {MESSAGE_A, MESSAGE_AAAA};
    struct message_answer answers[2];
    struct chain with_a = *chain;
    if (!ask_for(ask, chain_name(chain), types, 2, answers, err)) {
        return false;
    }
    *out = chain_follow(&with_a, &answers[0]);
    if (*out == CHAIN_NOWHERE || *out == CHAIN_ASK) {
        struct chain with_aaaa = *chain;
        enum chain_step step = chain_follow(&with_aaaa, &answers[1]);
        if (step == CHAIN_ADDRESS) {
            *chain = with_aaaa;
            *out = step;
            return true;
        }
    }
    *chain = with_a;
    return true;
}

static bool ask_anybody(const struct config *config, const struct config_zone *zone,
                        struct chain *chain, enum chain_step *out, struct err *err)
{
    struct ask ask;
    const struct config_zone *own = dns_zone_of(config, chain_name(chain));
    if (own != NULL) {
        servers_of(own, &ask);
        if (ask.count > 0 && ask_addresses(&ask, chain, out, err)) {
            return true;
        }
    }
    resolvers_of(zone, &ask);
    return ask_addresses(&ask, chain, out, err);
}

bool resolve_walk(const struct config *config, const struct config_zone *zone, struct chain *chain,
                  enum chain_step *out, struct err *err)
{
    enum chain_step step = CHAIN_ASK;
    for (int turn = 0; step == CHAIN_ASK && turn < WALK_TURNS_MAX; turn++) {
        if (!ask_anybody(config, zone, chain, &step, err)) {
            return false;
        }
    }
    *out = step == CHAIN_ASK ? CHAIN_LONG : step;
    return true;
}

/* --- who is authoritative ----------------------------------------------------------------------------------------- */

static bool address_of(const char *text, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(PORT_DNS);
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(PORT_DNS);
        return true;
    }
    return false;
}

/* @param answer  to the question for NS: its additional section may have the address */
static void add_name_server(const struct config *config, const struct config_zone *zone,
                            const struct message_answer *answer, const char *host,
                            struct resolve_servers *out)
{
    struct chain chain;
    enum chain_step step;
    struct resolve_server *server = &out->list[out->count++];
    for (size_t i = answer->authority_end; i < answer->records_count; i++) {
        const struct message_record *record = &answer->records[i];
        if (strcmp(record->owner, host) == 0 && address_of(record->value, &server->address)) {
            exchange_server(&server->address, server->text);
            return;
        }
    }
    chain_begin(&chain, "", host);
    if (resolve_walk(config, zone, &chain, &step, NULL) && step == CHAIN_ADDRESS &&
        address_of(chain.addresses[0], &server->address)) {
        exchange_server(&server->address, server->text);
    } else {
        server->address.ss_family = 0;
        snprintf(server->text, sizeof(server->text), "%.79s", host);
    }
}

static void take_given(const struct config_servers *given, struct resolve_servers *out)
{
    for (size_t i = 0; i < given->count && i < RESOLVE_SERVERS_MAX; i++) {
        out->list[i].address = given->list[i].address;
        snprintf(out->list[i].text, sizeof(out->list[i].text), "%.79s", given->list[i].text);
        out->count++;
    }
}

bool resolve_authoritative(const struct config *config, const struct config_zone *zone,
                           struct resolve_servers *out, struct err *err)
{
    static const enum message_type type = MESSAGE_NS;
    struct message_answer answer = {.rcode = 0};
    struct ask ask;
    char apex[DNS_NAME_BYTES];
    struct err own = {0};
    err = err == NULL ? &own : err;
    *out = (struct resolve_servers){.count = 0};
    if (zone->authoritative.count > 0) {
        take_given(&zone->authoritative, out);
        return true;
    }
    dns_name(zone->name, apex);
    servers_of(zone, &ask);
    if (ask.count == 0 || !ask_for(&ask, apex, &type, 1, &answer, err)) {
        resolvers_of(zone, &ask);
        if (!ask_for(&ask, apex, &type, 1, &answer, err)) {
            err_hint(err, "name them: dns.%s.authoritative", zone->name);
            return err_wrap(err, "the name servers of zone %s are not known", apex);
        }
    }
    for (size_t i = 0; i < answer.answers_count && out->count < RESOLVE_SERVERS_MAX; i++) {
        const struct message_record *record = &answer.records[i];
        if (record->type == MESSAGE_NS && strcmp(record->owner, apex) == 0) {
            add_name_server(config, zone, &answer, record->value, out);
        }
    }
    if (out->count == 0) {
        err_set(err, ERR_RETRY, "zone %s has no NS records", apex);
        return err_hint(err, "name its servers: dns.%s.authoritative", zone->name);
    }
    return true;
}

/* --- what each says ----------------------------------------------------------------------------------------------- */

void resolve_lead(const struct config *config, const struct config_zone *zone, const char *name,
                  struct resolve_leads *leads)
{
    struct chain chain;
    enum chain_step step;
    chain_begin(&chain, "", name);
    if (leads->count == RESOLVE_LEADS_MAX || !resolve_walk(config, zone, &chain, &step, NULL) ||
        step != CHAIN_ADDRESS) {
        return;
    }
    leads->list[leads->count].name = name;
    leads->list[leads->count].count = chain.addresses_count;
    memcpy(leads->list[leads->count++].addresses, chain.addresses, sizeof(chain.addresses));
}

static bool leads_to(const struct resolve_leads *leads, size_t index, const char *address)
{
    for (size_t i = 0; i < leads->list[index].count; i++) {
        if (strcmp(leads->list[index].addresses[i], address) == 0) {
            return true;
        }
    }
    return false;
}

/* Are these addresses all one name's? A balancer answers with a part of its own. */
static bool all_lead(const struct resolve_leads *leads, size_t index,
                     const struct message_answer *answer, const char *record, int64_t *out_ttl_s)
{
    size_t count = 0;
    for (size_t i = 0; i < answer->answers_count; i++) {
        const struct message_record *found = &answer->records[i];
        if (found->type != MESSAGE_A || strcmp(found->owner, record) != 0) {
            continue;
        }
        if (!leads_to(leads, index, found->value)) {
            return false;
        }
        *out_ttl_s = found->ttl_s;
        count++;
    }
    return count > 0;
}

static void take_lead(const struct resolve_leads *leads, const struct message_answer *answer,
                      const char *record, struct dns_set *set)
{
    int64_t ttl_s = -1;
    for (size_t i = 0; i < leads->count; i++) {
        if (all_lead(leads, i, answer, record, &ttl_s)) {
            set->kind = DNS_CNAME;
            set->ttl_s = ttl_s;
            snprintf(set->value, sizeof(set->value), "%s", leads->list[i].name);
            return;
        }
    }
}

static void take_view(const struct exchange *talk, const char *record, const char *zone,
                      const struct resolve_leads *leads, struct dns_view *view)
{
    struct err why = {0};
    view->answered = talk->answered &&
                     message_set(&talk->answer, record, zone, !view->resolver, &view->set, &why);
    if (view->answered && leads != NULL && view->set.kind == DNS_OTHER) {
        take_lead(leads, &talk->answer, record, &view->set);
    }
    if (!view->answered) {
        snprintf(view->why, sizeof(view->why), "%.159s",
                 talk->answered ? why.what : talk->why.what);
    }
}

static void add_view(struct dns_views *out, const char *text, bool resolver)
{
    struct dns_view *view = &out->list[out->count++];
    *view = (struct dns_view){.resolver = resolver, .set = {.ttl_s = -1}};
    snprintf(view->server, sizeof(view->server), "%.79s", text);
}

void resolve_look(const struct config_zone *zone, const struct resolve_servers *servers,
                  const char *record, const struct resolve_leads *leads, struct dns_views *out)
{
    enum message_type type = leads == NULL ? MESSAGE_CNAME : MESSAGE_A;
    struct message_query plain;
    struct message_query recursive;
    struct exchange *talks = calloc(DNS_VIEWS_MAX, sizeof(*talks)); /* 50 KiB each */
    size_t views[DNS_VIEWS_MAX];                                    /* talk -> view */
    size_t count = 0;
    char apex[DNS_NAME_BYTES];
    dns_name(zone->name, apex);
    out->count = 0;
    if (talks == NULL || !message_ask(&plain, record, type, false, NULL, NULL) ||
        !message_ask(&recursive, record, type, true, NULL, NULL)) {
        abort(); /* a name that dns_name() let through is one */
    }
    for (size_t i = 0; i < servers->count; i++) {
        add_view(out, servers->list[i].text, false);
        if (servers->list[i].address.ss_family == 0) {
            snprintf(out->list[i].why, sizeof(out->list[i].why), "its address is not known");
        } else {
            views[count] = i;
            talks[count++] = (struct exchange){.query = &plain, .to = &servers->list[i].address};
        }
    }
    for (size_t i = 0; i < zone->resolvers.count; i++) {
        views[count] = out->count;
        add_view(out, zone->resolvers.list[i].text, true);
        talks[count++] =
            (struct exchange){.query = &recursive, .to = &zone->resolvers.list[i].address};
    }
    exchange_all(talks, count, zone->timeout_ms);
    for (size_t i = 0; i < count; i++) {
        take_view(&talks[i], record, apex, leads, &out->list[views[i]]);
    }
    message_query_done(&plain);
    message_query_done(&recursive);
    free(talks);
}
