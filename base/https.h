/* The door to libcurl: requests to APIs (providers of DNS, servers of tokens), and their answers.
 *
 * Promises: the peer's certificate is verified always, against `ca` or the system's; no redirect is followed; an
 * answer has 1 MiB at most; a request has `timeout_ms`, with every wait and repetition that the other side asked for; nothing that was named to https_hide() is in an error. Proxies by environment (https_proxy, no_proxy).
 * Must never: repeat what changes something and may have arrived. Blocks. From one thread at a time each.
 */
#ifndef FERRY_BASE_HTTPS_H
#define FERRY_BASE_HTTPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define HTTPS_ANSWER_BYTES \
    (1 << 20) /* the longest that we ask for is the records of one name: a few KiB */
#define HTTPS_URL_BYTES   1400
#define HTTPS_HEADERS_MAX 12

struct https_answer {
    long status; /* 0 = there is none */
    char *body;  /* heap, a 0 behind it; https_answer_done() */
    size_t len;
    char etag[128];  /* "" = none, or one that is too long */
    bool maybe_sent; /* there is no answer, and the request may have arrived */
};

struct https_ask {
    const char *method;
    const char *url;                        /* percent-encoded where needed */
    const char *headers[HTTPS_HEADERS_MAX]; /* "Name: value"; NULL ends them */
    const char *body;                       /* or NULL */
    const char *
        sigv4; /* "aws:amz:REGION:SERVICE": signed so by libcurl, with user and password; or NULL */
    const char *user;
    const char *password;
    bool direct; /* by no proxy: what is asked stands on this machine or beside it */
    /* More answers that say "not now, and nothing was done" than status 429. NULL = none. */
    bool (*throttled)(const struct https_answer *answer);
};

struct https;

struct https_options {  /* borrowed until https_free() */
    const char *ca;     /* file of PEM certificates, these and no others; NULL = the system's */
    int32_t timeout_ms; /* of a request, all attempts together */
    const char *ca_key; /* keys of the configuration, for errors: of `ca` */
    const char *address_key; /* of the address */
};

struct https *https_new(const struct https_options *options); /* no I/O */
void https_free(struct https *https);                         /* NULL is fine */

/* Never shown, whatever the other side says. @param secret  copied; NULL is fine. Of more than 8 the last counts. */
void https_hide(struct https *https, const char *secret);

/* Ask. A refusal to serve now (429, `throttled`) is followed by another attempt after its Retry-After, or a growing pause,
 * while the time lasts; then it is the answer. A read (GET) is repeated when its connection failed, too.
 *
 * @return false: no answer. ERR_RETRY; ERR_CONFIG: the file `ca` cannot be used. The error names the host. */
MUST_CHECK
bool https_ask(struct https *https, const struct https_ask *ask, struct https_answer *out,
               struct err *err);
void https_answer_done(struct https_answer *answer);

/* What the other side says, fit to be shown: printable, in one line, cut, and nothing when it repeats a secret. Returns
 * out. */
#define HTTPS_WORDS_BYTES 240
char *https_words(const struct https *https, const char *text, char out[HTTPS_WORDS_BYTES]);

/* Percent-encode what is not unreserved (RFC 3986) behind what stands in `out`; false when it has no room. */
MUST_CHECK
bool https_encode(char *out, size_t room, const char *text);

#endif
