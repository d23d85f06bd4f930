/* A sign-in as Kafka wraps it: which mechanism (SaslHandshake), then the mechanism's own messages (SaslAuthenticate),
 * until both sides are content; how long it holds (KIP-368). No I/O: kafka/conn carries requests and answers.
 *
 * OAUTHBEARER and GSSAPI ask somebody else before they can begin, a token's server or a KDC: that blocks, and is done aside
 * (base/aside) before the broker hears of the sign-in. The others begin at once.
 *
 * User and password are read at each beginning, so that one that was changed on disk counts from the next connection, or
 * from the next time that a connection signs in anew.
 */
#ifndef FERRY_KAFKA_SIGN_IN_H
#define FERRY_KAFKA_SIGN_IN_H

#include "base/aside.h"
#include "config/config.h"
#include "kafka/oidc.h"
#include "kafka/proto.h"
#include "kafka/sasl.h"

struct sign_in {
    const struct config_client
        *client; /* sasl.mechanism, sasl.username, the secret sasl.password */
    enum sasl_mechanism mechanism;
    struct sasl *sasl;   /* while one is under way */
    struct writer first; /* its first message, where that was made aside */
    char user[128];      /* for people */
    struct oidc *oidc;   /* or NULL */
    uint64_t token;      /* which of its tokens */
    int64_t lifetime_ms;
};

/* Does the site's security.protocol ask for a sign-in? */
bool sign_in_wanted(const struct config_client *client);
void sign_in_init(struct sign_in *sign_in, const struct config_client *client);
void sign_in_done(struct sign_in *sign_in);

/* Is somebody to be asked before sign_in_begin()? Then: aside_new(.., sign_in_asking, sign_in_question(..), ..), and
 * sign_in_prepare() with what comes back. */
bool sign_in_asks(const struct sign_in *sign_in);
extern const struct aside_calls sign_in_asking;
/* @param host  the broker's, as we connect to it */
void *sign_in_question(const struct sign_in *sign_in, const char *host);
/* @return false: what went wrong there */
MUST_CHECK
bool sign_in_prepare(struct sign_in *sign_in, void *question, struct err *err);

/* Read who we are, where nobody is asked; write the SaslHandshake. ERR_CONFIG when that cannot be read. */
MUST_CHECK
bool sign_in_begin(struct sign_in *sign_in, struct writer *out, struct err *err);
/* Its answer; writes the first SaslAuthenticate. ERR_REFUSED when the broker does not want this mechanism. */
MUST_CHECK
bool sign_in_agreed(struct sign_in *sign_in, struct reader *reader, struct writer *out,
                    struct err *err);
/* A SaslAuthenticate's answer; writes the next one, or nothing when `*out_done`. ERR_REFUSED when the broker does not
 * take us, or does not prove that it is the one. */
MUST_CHECK
bool sign_in_answered(struct sign_in *sign_in, struct reader *reader, struct writer *out,
                      bool *out_done, struct err *err);
/* After this many milliseconds it is time to sign in anew; -1 = never. */
int64_t sign_in_again_ms(const struct sign_in *sign_in);

#endif
