/* Tokens for OAUTHBEARER: asked for at the site's token endpoint (OAuth 2, client_credentials; RFC 6749, 4.4), kept until
 * half of their life is over, one for all connections and librdkafka handles of equal settings. Blocks.
 *
 * Promises: the server's certificate is verified, no redirect is followed, an answer has 1 MiB and a token 16 KiB at most;
 * id and secret are read for each question, so that changed ones count from the next. One question at a time: who comes
 * meanwhile gets its answer, a failure too. A token that cannot be renewed is used until it ends.
 * Must never: show secret or token, whatever the server says.
 */
#ifndef FERRY_KAFKA_OIDC_H
#define FERRY_KAFKA_OIDC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "config/config.h"

#define OIDC_TIMEOUT_MS  4000 /* of a question; below what a connection may take */
#define OIDC_NAME_BYTES  256
#define OIDC_TOKEN_BYTES (16 << 10)
/* Of its life, then the next is asked for: before sessions are made anew (sign_in), so that each ends later by a good part of a life. */
#define OIDC_RENEW_PERCENT 50

struct oidc;

struct oidc_token {
    char *text;
    int64_t lasts_ms;           /* from now */
    uint64_t serial;            /* which of them, from 1 */
    char name[OIDC_NAME_BYTES]; /* its claim "sub", else our client id: for people */
};
void oidc_token_done(struct oidc_token *token); /* wipes it */

/* Where this site's tokens come from: the same for equal settings, kept until the process ends.
 * @param client  copied what is needed. @return NULL: it does not sign in by OAUTHBEARER. @thread any */
struct oidc *oidc_of(const struct config_client *client);
/* By a number, for who can keep no pointer. @return NULL: there is none of that number */
int oidc_number(const struct oidc *oidc);
struct oidc *oidc_numbered(int number);
const char *oidc_client_id(const struct oidc *oidc); /* "" when it stands among the secrets */
/* "key=value,key=value", or NULL. */
const char *oidc_extensions(const struct oidc *oidc);

/* The token that is kept, or a new one.
 * @return false: ERR_REFUSED when the server does not know us or gives no token, ERR_RETRY when it does not answer,
 *         ERR_CONFIG when the secret cannot be read
 * @thread any; blocks for OIDC_TIMEOUT_MS at most */
MUST_CHECK
bool oidc_token(struct oidc *oidc, struct oidc_token *out, struct err *err);
/* The token that is kept, without asking. false: there is none that lasts. @thread any */
bool oidc_kept(struct oidc *oidc, struct oidc_token *out);
/* Why there is none: how the last question ended, or that it has no answer yet (ERR_RETRY). false: there is one, or nobody has
 * asked. @thread any */
bool oidc_failed(struct oidc *oidc, struct err *out);
/* A broker did not take this one: the next is asked for, but no more than one in a few seconds. @thread any */
void oidc_refused(struct oidc *oidc, uint64_t serial);

/* What the server answered, read without any I/O. Of a failure `err` says which claim.
 * @param name  for errors: its host @param body  ends with a 0 @param out  lasts_ms, text, name
 * @return false: ERR_REFUSED */
MUST_CHECK
bool oidc_read(const char *name, const char *body, size_t len, struct oidc_token *out,
               struct err *err);

#endif
