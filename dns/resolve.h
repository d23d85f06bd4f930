/* What servers say that clients ask: who is authoritative, what each of them answers, where a name leads. Reads only;
 * unsigned questions, as clients ask them.
 */
#ifndef FERRY_DNS_RESOLVE_H
#define FERRY_DNS_RESOLVE_H

#include <sys/socket.h>

#include "dns/chain.h"
#include "dns/dns.h"

#define RESOLVE_SERVERS_MAX 64

struct resolve_server {
    struct sockaddr_storage address; /* ss_family 0: its address is not known */
    char text[80];                   /* address, or the name whose address is not known */
};

struct resolve_servers {
    struct resolve_server list[RESOLVE_SERVERS_MAX];
    size_t count;
};

/* The zone's authoritative servers: dns.ZONE.authoritative, else its NS records, each with its first address. One whose
 * address is not known is in the list and never answers. ERR_RETRY: nobody says. */
MUST_CHECK
bool resolve_authoritative(const struct config *config, const struct config_zone *zone,
                           struct resolve_servers *out, struct err *err);

/* Names and the addresses that each has now: what servers say of an alias is compared with them. */
#define RESOLVE_LEADS_MAX 16 /* sites of a service */
struct resolve_leads {
    struct {
        const char *name; /* borrowed */
        char addresses[CHAIN_ADDRESSES_MAX][48];
        size_t count;
    } list[RESOLVE_LEADS_MAX];
    size_t count;
};

/* Add a name; one that leads to no address, or of which nobody says, is left out: nothing is it then. */
void resolve_lead(const struct config *config, const struct config_zone *zone, const char *name,
                  struct resolve_leads *leads);

/* Ask all of them and the zone's resolvers for the record; fills list and count of `out` alone.
 * @param leads  NULL: for its CNAME. Else for its addresses (A): an answer whose addresses are all one of these names' is
 *               told as that name */
void resolve_look(const struct config_zone *zone, const struct resolve_servers *servers,
                  const char *record, const struct resolve_leads *leads, struct dns_views *out);

/* Follow the chain to its end. Names in a zone of the configuration are asked of its servers, others of the resolvers:
 * `zone`'s, else the system's.
 * @return false with ERR_RETRY: nobody said */
MUST_CHECK
bool resolve_walk(const struct config *config, const struct config_zone *zone, struct chain *chain,
                  enum chain_step *out, struct err *err);

#endif
