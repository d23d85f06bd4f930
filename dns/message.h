/* Messages of DNS, made and read: the door to ldns. No I/O; what is read is hostile.
 *
 * A query is bytes to be sent and what its answer must fit: id, question, signature. An answer is what of it matters
 * here, in bounds of our own. RFC 1035, RFC 2136 (UPDATE), RFC 8945 (TSIG).
 */
#ifndef FERRY_DNS_MESSAGE_H
#define FERRY_DNS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "dns/dns.h"

struct message_key { /* TSIG; borrowed texts, as names and base64 go */
    const char *name;
    const char *algorithm; /* "hmac-sha256" */
    const char *secret;
};

/* false with ERR_CONFIG when the secret is no base64, or is empty. */
MUST_CHECK
bool message_key_ok(const struct message_key *key, struct err *err);

enum message_type {
    MESSAGE_A = 1,
    MESSAGE_NS = 2,
    MESSAGE_CNAME = 5,
    MESSAGE_SOA = 6,
    MESSAGE_AAAA = 28
};

struct message_query {
    uint8_t *wire; /* heap */
    size_t len;
    uint16_t id;
    bool update;
    enum message_type type;        /* of a question */
    char name[DNS_NAME_BYTES];     /* asked for; of an update its zone */
    const struct message_key *key; /* NULL = not signed */
    void *mac;                     /* of the signature: ldns_rdf */
};

/* A question. @param key  NULL = unsigned; borrowed until message_query_done()
 * @param recursive  for a resolver */
MUST_CHECK
bool message_ask(struct message_query *out, const char *name, enum message_type type,
                 bool recursive, const struct message_key *key, struct err *err);

/* A signed update with a prerequisite: `from` is the one CNAME there (NULL: the name is not in use); then the CNAME is
 * replaced. @param only_check  the same prerequisite and permission, and nothing is changed: the value that is taken away
 * is the name itself, which the prerequisite rules out */
MUST_CHECK
bool message_update(struct message_query *out, const char *zone, const char *name,
                    const struct dns_change *change, bool only_check, const struct message_key *key,
                    struct err *err);
void message_query_done(struct message_query *query);

struct message_record {
    char owner[DNS_NAME_BYTES];
    enum message_type type;
    int64_t ttl_s;
    char value[DNS_NAME_BYTES]; /* name, or address as text */
};

#define MESSAGE_RECORDS_MAX \
    96 /* answer 32, authority and additional: more is no answer to what we ask */
struct message_answer {
    int rcode; /* 0 NOERROR, 3 NXDOMAIN, ... */
    bool authoritative;
    bool truncated;
    bool is_signed; /* with a signature that fits; always false when the query had none */
    int tsig_error; /* 16 BADSIG, 17 BADKEY, 18 BADTIME, 0; from an answer that may be anybody's */
    struct message_record records[MESSAGE_RECORDS_MAX]; /* of the types above */
    size_t records_count;
    size_t answers_count; /* those of the answer section come first */
    size_t authority_end; /* then those of the authority section, up to here */
};

/* @return false: ERR_RETRY and code 0   it is no answer to this query (another id, question): wait for the right one
 *                ERR_RETRY and code 1   it is, and cannot be read or trusted */
MUST_CHECK
bool message_read(const struct message_query *query, const uint8_t *wire, size_t len,
                  struct message_answer *out, struct err *err);

/* "NOERROR", "NXRRSET", ..; "rcode N". */
const char *message_rcode_name(int rcode);

/* What the answer to a question for a CNAME says of `name`. No I/O. @param zone  that the server should have
 * false with ERR_RETRY: the server does not know, or is not authoritative (where that was asked for) */
MUST_CHECK
bool message_set(const struct message_answer *answer, const char *name, const char *zone,
                 bool authoritative, struct dns_set *out, struct err *err);

#endif
