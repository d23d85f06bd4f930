/* Tokens of OAuth 2 that requests to google and azure carry: asked for when they are needed, kept until they end. Blocks. */
#ifndef FERRY_DNS_BEARER_H
#define FERRY_DNS_BEARER_H

#include "dns/api.h"

struct bearer {
    char *header; /* "Authorization: Bearer ..", or NULL */
    int64_t until_ms;
};

/* Is there one that lasts for the next request? */
bool bearer_lasts(const struct bearer *bearer);

/* Sign in: POST of a form. @param form  secret; borrowed
 * @return false: API_... of api_ask() in err: ERR_REFUSED when it does not know us */
MUST_CHECK
bool bearer_sign_in(struct bearer *bearer, struct api *api, const char *url, const char *form,
                    struct err *err);

/* What it is signed in with was refused, or it is over. */
void bearer_drop(struct bearer *bearer);

#endif
