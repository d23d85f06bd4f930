#include "dns/message.h"

#include <ldns/ldns.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "dns/name.h"

#define WIRE_MAX       65535
#define HEADER_BYTES   12
#define FUDGE_S        300 /* RFC 8945: how far two clocks may differ */
#define SECRET_MAX     4096
#define ANSWERS_MAX    32
#define KEY_LEAST_BITS 128

#define RCODE_NOERROR  0
#define RCODE_NXDOMAIN 3

_Static_assert(MESSAGE_A == (int)LDNS_RR_TYPE_A && MESSAGE_NS == (int)LDNS_RR_TYPE_NS &&
                   MESSAGE_CNAME == (int)LDNS_RR_TYPE_CNAME &&
                   MESSAGE_SOA == (int)LDNS_RR_TYPE_SOA && MESSAGE_AAAA == (int)LDNS_RR_TYPE_AAAA,
               "types are the registry's numbers");

/* --- making ------------------------------------------------------------------------------------------------------- */

bool message_key_ok(const struct message_key *key, struct err *err)
{
    ldns_rdf *bytes = NULL;
    bool base64 =
        strlen(key->secret) < SECRET_MAX && ldns_str2rdf_b64(&bytes, key->secret) == LDNS_STATUS_OK;
    size_t len = base64 ? ldns_rdf_size(bytes) : 0;
    if (base64) {
        OPENSSL_cleanse(ldns_rdf_data(bytes), len);
    }
    ldns_rdf_deep_free(bytes);
    if (len * 8 >= KEY_LEAST_BITS) {
        return true;
    }
    err_set(err, ERR_CONFIG, "the secret of TSIG key '%.100s' is %s", key->name,
            !base64 ? "no base64" : "shorter than 128 bits");
    return err_hint(err, "as tsig-keygen prints it, without quotes: dns.*.tsig.secret");
}

static uint16_t random_id(void)
{
    uint16_t id;
    if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id)) {
        abort();
    }
    return id;
}

/* Names that dns_name() let through are names to ldns. */
static ldns_rdf *name_rdf(const char *name)
{
    ldns_rdf *rdf = ldns_dname_new_frm_str(name);
    if (rdf == NULL) {
        abort();
    }
    return rdf;
}

static ldns_rr *new_rr(const char *owner, ldns_rr_type type, ldns_rr_class class, uint32_t ttl,
                       const char *target)
{
    ldns_rr *rr = ldns_rr_new();
    if (rr == NULL) {
        abort();
    }
    ldns_rr_set_owner(rr, name_rdf(owner));
    ldns_rr_set_type(rr, type);
    ldns_rr_set_class(rr, class);
    ldns_rr_set_ttl(rr, ttl);
    if (target != NULL && !ldns_rr_push_rdf(rr, name_rdf(target))) {
        abort();
    }
    return rr;
}

static void push(ldns_pkt *packet, ldns_pkt_section section, ldns_rr *take_rr)
{
    if (!ldns_pkt_push_rr(packet, section, take_rr)) {
        abort();
    }
}

static ldns_pkt *new_packet(struct message_query *query, const char *name, ldns_rr_type type)
{
    ldns_pkt *packet = ldns_pkt_new();
    ldns_rr *question = new_rr(name, type, LDNS_RR_CLASS_IN, 0, NULL);
    if (packet == NULL) {
        abort();
    }
    ldns_rr_set_question(question, true);
    push(packet, LDNS_SECTION_QUESTION, question);
    query->id = random_id();
    ldns_pkt_set_id(packet, query->id);
    query->type = (enum message_type)type;
    snprintf(query->name, sizeof(query->name), "%s", name);
    return packet;
}

static bool sign(struct message_query *query, ldns_pkt *packet, struct err *err)
{
    const struct message_key *key = query->key;
    if (key == NULL) {
        return true;
    }
    if (ldns_pkt_tsig_sign(packet, key->name, key->secret, FUDGE_S, key->algorithm, NULL) !=
        LDNS_STATUS_OK) {
        return err_set(err, ERR_CONFIG, "nothing can be signed with TSIG key '%.100s' (%s)",
                       key->name, key->algorithm);
    }
    query->mac = ldns_rdf_clone(ldns_rr_rdf(ldns_pkt_tsig(packet), 3));
    return query->mac != NULL || err_set(err, ERR_FATAL, "out of memory");
}

/* Signed, as bytes. The packet is taken. */
static bool finish(struct message_query *query, ldns_pkt *take_packet, struct err *err)
{
    bool ok = sign(query, take_packet, err);
    if (ok && ldns_pkt2wire(&query->wire, take_packet, &query->len) != LDNS_STATUS_OK) {
        query->wire = NULL;
        ok = err_set(err, ERR_FATAL, "'%.253s' does not fit a message of DNS", query->name);
    }
    ldns_pkt_free(take_packet);
    if (!ok) {
        message_query_done(query);
    }
    return ok;
}

bool message_ask(struct message_query *out, const char *name, enum message_type type,
                 bool recursive, const struct message_key *key, struct err *err)
{
    *out = (struct message_query){.key = key};
    ldns_pkt *packet = new_packet(out, name, (ldns_rr_type)type);
    ldns_pkt_set_rd(packet, recursive);
    return finish(out, packet, err);
}

bool message_update(struct message_query *out, const char *zone, const char *name,
                    const struct dns_change *change, bool only_check, const struct message_key *key,
                    struct err *err)
{
    *out = (struct message_query){.key = key, .update = true};
    ldns_pkt *packet = new_packet(out, zone, LDNS_RR_TYPE_SOA);
    ldns_pkt_set_opcode(packet, LDNS_PACKET_UPDATE);
    push(packet, LDNS_SECTION_ANSWER,
         change->from == NULL
             ? new_rr(name, LDNS_RR_TYPE_ANY, LDNS_RR_CLASS_NONE, 0, NULL)
             : new_rr(name, LDNS_RR_TYPE_CNAME, LDNS_RR_CLASS_IN, 0, change->from));
    if (only_check) {
        /* Permission is looked at for what is to be changed: taking away a value that cannot stand there is that. */
        push(packet, LDNS_SECTION_AUTHORITY,
             new_rr(name, LDNS_RR_TYPE_CNAME, LDNS_RR_CLASS_NONE, 0, name));
    } else {
        if (change->from != NULL) {
            push(packet, LDNS_SECTION_AUTHORITY,
                 new_rr(name, LDNS_RR_TYPE_CNAME, LDNS_RR_CLASS_ANY, 0, NULL));
        }
        push(packet, LDNS_SECTION_AUTHORITY,
             new_rr(name, LDNS_RR_TYPE_CNAME, LDNS_RR_CLASS_IN, (uint32_t)change->ttl_s,
                    change->to));
    }
    return finish(out, packet, err);
}

void message_query_done(struct message_query *query)
{
    LDNS_FREE(query->wire);
    ldns_rdf_deep_free(query->mac);
    query->mac = NULL;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

const char *message_rcode_name(int rcode)
{
    static const char *const names[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",
                                        "NOTIMP",  "REFUSED", "YXDOMAIN", "YXRRSET",
                                        "NXRRSET", "NOTAUTH", "NOTZONE"};
    size_t index = (size_t)rcode;
    return index < sizeof(names) / sizeof(names[0]) ? names[index] : "another refusal";
}

static bool unreadable(struct err *err, const char *what)
{
    return err_set_code(err, ERR_RETRY, 1, "its answer cannot be used: %s", what);
}

/* Text of a name or an address; "?" for what is none of ours: it equals nothing. */
static void value_of(const ldns_rr *rr, char out[DNS_NAME_BYTES])
{
    const ldns_rdf *rdf = ldns_rr_rd_count(rr) > 0 ? ldns_rr_rdf(rr, 0) : NULL;
    char *text = rdf == NULL ? NULL : ldns_rdf2str(rdf);
    bool address =
        ldns_rr_get_type(rr) == LDNS_RR_TYPE_A || ldns_rr_get_type(rr) == LDNS_RR_TYPE_AAAA;
    if (text != NULL && address) {
        snprintf(out, DNS_NAME_BYTES, "%s", text);
    } else if (text == NULL || !dns_name(text, out)) {
        snprintf(out, DNS_NAME_BYTES, "?");
    }
    free(text);
}

static bool ours(ldns_rr_type type)
{
    return type == LDNS_RR_TYPE_A || type == LDNS_RR_TYPE_AAAA || type == LDNS_RR_TYPE_CNAME ||
           type == LDNS_RR_TYPE_NS || type == LDNS_RR_TYPE_SOA;
}

static bool take_section(struct message_answer *out, const ldns_rr_list *list, struct err *err)
{
    size_t count = list == NULL ? 0 : ldns_rr_list_rr_count(list);
    if (count > ANSWERS_MAX) {
        return unreadable(err, "it has more records than there can be");
    }
    for (size_t i = 0; i < count; i++) {
        const ldns_rr *rr = ldns_rr_list_rr(list, i);
        struct message_record *record = &out->records[out->records_count];
        char *owner = ldns_rdf2str(ldns_rr_owner(rr));
        if (ldns_rr_get_class(rr) == LDNS_RR_CLASS_IN && ours(ldns_rr_get_type(rr)) &&
            owner != NULL && dns_name(owner, record->owner)) {
            record->type = (enum message_type)ldns_rr_get_type(rr);
            record->ttl_s = ldns_rr_ttl(rr) > INT32_MAX ? 0 : ldns_rr_ttl(rr); /* RFC 2181, 8 */
            value_of(rr, record->value);
            out->records_count++;
        }
        free(owner);
    }
    return true;
}
_Static_assert(3 * ANSWERS_MAX <= MESSAGE_RECORDS_MAX, "three sections fit");

/* The question must come back, in any case of letters. An update's may be left out (RFC 2136, 3.8). */
static bool question_fits(const struct message_query *query, const ldns_pkt *packet)
{
    const ldns_rr_list *list = ldns_pkt_question(packet);
    size_t count = list == NULL ? 0 : ldns_rr_list_rr_count(list);
    if (count != 1) {
        return count == 0 && query->update;
    }
    const ldns_rr *rr = ldns_rr_list_rr(list, 0);
    char name[DNS_NAME_BYTES];
    char *owner = ldns_rdf2str(ldns_rr_owner(rr));
    bool fits = owner != NULL && dns_name(owner, name) && strcmp(name, query->name) == 0 &&
                ldns_rr_get_type(rr) == (ldns_rr_type)query->type;
    free(owner);
    return fits;
}

static int tsig_error(const ldns_pkt *packet)
{
    const ldns_rr *tsig = ldns_pkt_tsig(packet);
    const ldns_rdf *error =
        tsig == NULL || ldns_rr_rd_count(tsig) < 6 ? NULL : ldns_rr_rdf(tsig, 5);
    return error != NULL && ldns_rdf_size(error) == 2 ? ldns_rdf2native_int16(error) : 0;
}

/* ldns takes the algorithm from the answer: a weaker one than ours does not count. */
static bool algorithm_fits(const struct message_key *key, const ldns_pkt *packet)
{
    const ldns_rr *tsig = ldns_pkt_tsig(packet);
    char name[DNS_NAME_BYTES];
    if (tsig == NULL || ldns_rr_rd_count(tsig) < 7) {
        return false;
    }
    char *text = ldns_rdf2str(ldns_rr_rdf(tsig, 0));
    bool fits = text != NULL && dns_name(text, name) && strcasecmp(name, key->algorithm) == 0;
    free(text);
    return fits;
}

static void check_signature(const struct message_query *query, ldns_pkt *packet,
                            const uint8_t *wire, size_t len, struct message_answer *out)
{
    out->tsig_error = tsig_error(packet);
    if (query->key != NULL && query->mac != NULL && algorithm_fits(query->key, packet)) {
        out->is_signed = ldns_pkt_tsig_verify(packet, wire, len, query->key->name,
                                              query->key->secret, query->mac);
    }
}

static bool take(const struct message_query *query, const ldns_pkt *packet,
                 struct message_answer *out, struct err *err)
{
    if (!question_fits(query, packet)) {
        return err_set(err, ERR_RETRY, "an answer to another question");
    }
    out->rcode = (int)ldns_pkt_get_rcode(packet);
    out->authoritative = ldns_pkt_aa(packet);
    out->truncated = ldns_pkt_tc(packet);
    if (query->update) {
        return true;
    }
    if (!take_section(out, ldns_pkt_answer(packet), err)) {
        return false;
    }
    out->answers_count = out->records_count;
    if (!take_section(out, ldns_pkt_authority(packet), err)) {
        return false;
    }
    out->authority_end = out->records_count;
    return take_section(out, ldns_pkt_additional(packet), err);
}

/* A second signature is a format error (RFC 8945, 5.2); ldns_wire2pkt() of ldns 1.8 keeps the last one and loses the memory of
 * the others. */
static bool signed_twice(const uint8_t *wire, size_t len)
{
    size_t at = HEADER_BYTES;
    int signatures = 0;
    for (int section = 0; section < 4; section++) {
        int count = wire[4 + 2 * section] << 8 | wire[5 + 2 * section];
        for (int i = 0; i < count; i++) {
            ldns_rr *record = NULL;
            ldns_pkt_section kind = section == 0 ? LDNS_SECTION_QUESTION : LDNS_SECTION_ANSWER;
            if (ldns_wire2rr(&record, wire, len, &at, kind) != LDNS_STATUS_OK) {
                return signatures > 1; /* no message: told by who reads it whole */
            }
            signatures += ldns_rr_get_type(record) == LDNS_RR_TYPE_TSIG;
            ldns_rr_free(record);
        }
    }
    return signatures > 1;
}

bool message_read(const struct message_query *query, const uint8_t *wire, size_t len,
                  struct message_answer *out, struct err *err)
{
    ldns_pkt *packet = NULL;
    struct message_answer answer = {0};
    bool another = len < HEADER_BYTES || len > WIRE_MAX || (wire[0] << 8 | wire[1]) != query->id ||
                   (wire[2] & 0x80) == 0 || (wire[2] >> 3 & 0xf) != (query->update ? 5 : 0);
    if (another) {
        return err_set(err, ERR_RETRY, "no answer to what was asked");
    }
    if (signed_twice(wire, len) || ldns_wire2pkt(&packet, wire, len) != LDNS_STATUS_OK) {
        return unreadable(err, "no message of DNS");
    }
    bool ok = take(query, packet, &answer, err);
    if (ok) {
        check_signature(query, packet, wire, len, &answer);
        *out = answer;
    }
    ldns_pkt_free(packet);
    return ok;
}

/* --- meaning ------------------------------------------------------------------------------------------------------ */

/* A referral: the authority section names a zone between ours and the name. */
static const struct message_record *referral(const struct message_answer *answer, const char *name,
                                             const char *zone)
{
    for (size_t i = answer->answers_count; i < answer->authority_end; i++) {
        const struct message_record *record = &answer->records[i];
        if (record->type == MESSAGE_NS && dns_name_below(name, record->owner) &&
            dns_name_below(record->owner, zone) && strcmp(record->owner, zone) != 0) {
            return record;
        }
    }
    return NULL;
}

/* A zone below ours, that the same server has: its own SOA, or NS, speaks for the name. */
static const struct message_record *deeper_zone(const struct message_answer *answer,
                                                const char *name, const char *zone)
{
    for (size_t i = answer->answers_count; i < answer->authority_end; i++) {
        const struct message_record *record = &answer->records[i];
        if (record->type == MESSAGE_SOA && dns_name_below(name, record->owner) &&
            dns_name_below(record->owner, zone) && strcmp(record->owner, zone) != 0) {
            return record;
        }
    }
    return referral(answer, name, zone);
}

static void elsewhere(struct dns_set *out, const char *zone)
{
    *out = (struct dns_set){.kind = DNS_ELSEWHERE, .ttl_s = -1};
    snprintf(out->value, sizeof(out->value), "%s", zone);
}

static void take_cnames(const struct message_answer *answer, const char *name, struct dns_set *out)
{
    bool other = false;
    for (size_t i = 0; i < answer->answers_count; i++) {
        const struct message_record *record = &answer->records[i];
        bool here = strcmp(record->owner, name) == 0;
        if (here && record->type == MESSAGE_CNAME && out->kind == DNS_NOTHING) {
            out->kind = DNS_CNAME;
            out->ttl_s = record->ttl_s;
            snprintf(out->value, sizeof(out->value), "%s", record->value);
        } else if (here && record->type == MESSAGE_CNAME) {
            *out = (struct dns_set){.kind = DNS_SEVERAL, .ttl_s = -1};
        }
        other = other || here;
    }
    if (out->kind == DNS_NOTHING && (other || answer->rcode == RCODE_NOERROR)) {
        out->kind = DNS_OTHER;
    }
}

bool message_set(const struct message_answer *answer, const char *name, const char *zone,
                 bool authoritative, struct dns_set *out, struct err *err)
{
    const struct message_record *cut = authoritative ? deeper_zone(answer, name, zone) : NULL;
    struct dns_set set = {.kind = DNS_NOTHING, .ttl_s = -1};
    if (answer->rcode != RCODE_NOERROR && answer->rcode != RCODE_NXDOMAIN) {
        return err_set_code(err, ERR_RETRY, answer->rcode, "answers %s",
                            message_rcode_name(answer->rcode));
    }
    if (cut != NULL) {
        elsewhere(out, cut->owner);
        return true;
    }
    if (authoritative && !answer->authoritative) {
        return err_set(err, ERR_RETRY, "is not authoritative for %.253s", zone);
    }
    take_cnames(answer, name, &set);
    *out = set;
    return true;
}
