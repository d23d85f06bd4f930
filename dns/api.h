/* What providers with an API over HTTPS have in common: how an answer is judged, and a swap that reads, compares, changes
 * and reads back. A provider's file fills in how its records are read and written.
 *
 * Promises: an answer that is lost, or that is none (HTML, a redirect, "success": false behind 200), decides nothing: it is
 * read back what stands there. A change is tried twice at most, the second time only after `from` was read again.
 */
#ifndef FERRY_DNS_API_H
#define FERRY_DNS_API_H

#include <jansson.h>

#include "base/https.h"
#include "dns/provider.h"

struct api;

enum api_got {
    API_DONE,     /* it was done; of a read: here it is */
    API_MISSING,  /* 404 */
    API_MISMATCH, /* 409, 412: what was to be replaced does not stand there */
    API_REFUSED,  /* nothing was done, and err says why */
    API_UNKNOWN,  /* it may have been done, and err says why it is not known */
};

struct api_calls {
    /* What stands at the name; the provider keeps what write() needs (record id, tag). */
    bool (*read)(struct api *api, const char *name, struct dns_set *out, struct err *err);
    /* Replace what read() found last. */
    enum api_got (*write)(struct api *api, const char *name, const struct dns_change *change,
                          struct err *err);
    /* Is the last change done everywhere? NULL = what was answered stands. */
    bool (*settled)(struct api *api, bool *out, struct err *err);
    /* Whatever of the provider's own is to be freed; NULL = nothing. */
    void (*done)(struct api *api);
    /* What an error answer says, from its body; NULL = nothing. `body` is NULL when it is no JSON object. */
    const char *(*words)(const json_t *body);
    /* Does this 2xx answer say that it was done? NULL = it does. */
    bool (*success)(const json_t *body);
    bool
        compares; /* write() is a compare-and-swap by the provider: its yes needs no reading back */
};

struct api {
    struct dns_provider provider; /* first: it is what callers hold */
    const struct config_zone *zone;
    const struct api_calls *calls;
    char zone_name[DNS_NAME_BYTES];
    const char *endpoint;
    char *secret;
    struct https *https;
    char ca_key[300]; /* dns.ZONE.ca, for errors */
    char address_key[300];
};

/* For a provider's _new(): fills all of the above. false with ERR_CONFIG: its secret cannot be read; api_free() either way
 * frees `api` itself, which is heap. @param endpoint  unless the configuration has one */
MUST_CHECK
bool api_init(struct api *api, const struct config_zone *zone, const struct api_calls *calls,
              const char *endpoint, struct err *err);
void api_free(struct dns_provider *provider);

/* Ask, judge, parse. @param out_json  new reference, of an object; NULL when there is no body, or it is none. NULL: not
 * wanted. An answer of 2xx that is to have JSON and has none is API_UNKNOWN.
 * @param doing  for errors: "reading kafka.example.com" */
enum api_got api_ask(struct api *api, const struct https_ask *ask, const char *doing,
                     json_t **out_json, struct https_answer *out_answer, struct err *err);

/* The same judgement of an answer that is not JSON. @param words  of the answer; NULL = none */
enum api_got api_judge(struct api *api, const struct https_ask *ask, const char *doing,
                       const struct https_answer *answer, const char *words, struct err *err);

/* ERR_RETRY "PROVIDER, doing: answers what cannot be used". Returns false. */
bool api_unfit(const struct api *api, const char *doing, const char *what, struct err *err);

/* A name of a record as it came from the other side: lower case and without its final dot. false: it is no name. */
bool api_name_is(const json_t *value, const char *name);

/* One CNAME from its parts. false: it is no name, or the time to live is none. */
MUST_CHECK
bool api_cname(const char *value, int64_t ttl_s, struct dns_set *out);

#endif
