/* Answers of Route 53: XML by expat, without document type or entities. What is read is hostile. No I/O. */
#ifndef FERRY_DNS_ROUTE53_XML_H
#define FERRY_DNS_ROUTE53_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/dns.h"

#define ROUTE53_TEXT_BYTES \
    1100 /* of one element: a name with \ooo escapes, or a message; longer is no answer */

struct route53_alias {
    char type[16];        /* "A", "AAAA" */
    char hosted_zone[40]; /* letters and digits alone; "" = it was something else */
    bool evaluate_health;
    char target[DNS_NAME_BYTES]; /* "" = it was no name */
};

#define ROUTE53_ALIASES_MAX 2
struct route53_sets { /* of the sets at a name */
    size_t cnames;
    size_t others;
    size_t addresses;                                  /* of others: A and AAAA that are no alias */
    struct route53_alias aliases[ROUTE53_ALIASES_MAX]; /* of others: A and AAAA */
    size_t aliases_count;
    size_t values; /* of the CNAMEs */
    bool chosen;   /* SetIdentifier: one of a set */
    bool alias;
    char value[DNS_NAME_BYTES]; /* of the last CNAME; "" = none that is a name */
    int64_t ttl_s;              /* -1 = none */
};

struct route53_answer {
    char root[48]; /* its element: what kind of answer it is */
    struct route53_sets sets;
    char id[80];     /* of a change; "" = none of these, or too long */
    char status[16]; /* of a change */
    char code[80];   /* of an error */
    char message[ROUTE53_TEXT_BYTES];
};

/* @param name  whose sets count; "" = nobody's. false: it is no XML, has a document type, or is out of bounds */
MUST_CHECK
bool route53_parse(const char *text, size_t len, const char *name, struct route53_answer *out);

#endif
