/* How we prove who we are: PLAIN (RFC 4616), SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, 7677), OAUTHBEARER (RFC 7628), GSSAPI
 * (RFC 4752, kafka/gssapi), as the client's side of a conversation: a message of the server in, our next one out. No I/O, but
 * for the first message of GSSAPI.
 *
 * With SCRAM the password never leaves us, and the server proves that it knows it, too: a sign-in is done only when its
 * signature is the right one. The server is hostile until then: its messages, the nonce, the salt and the number of
 * iterations are bounded, because the loop stands still while they are counted.
 */
#ifndef FERRY_KAFKA_SASL_H
#define FERRY_KAFKA_SASL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum sasl_mechanism {
    SASL_PLAIN,
    SASL_SCRAM_SHA_256,
    SASL_SCRAM_SHA_512,
    SASL_OAUTHBEARER,
    SASL_GSSAPI
};

/* As Kafka names it, in any case of letters; ERR_CONFIG for one that we do not know. */
MUST_CHECK
bool sasl_mechanism_parse(const char *name, enum sasl_mechanism *out, struct err *err);
const char *sasl_mechanism_name(enum sasl_mechanism mechanism);

/* Kafka brokers make 4,096 to 16,384 iterations; 200,000 are 0.1 s of SHA-512. Fewer than 4,096 protect nobody who meets a
 * false server (RFC 7677). */
#define SASL_ITERATIONS_MIN 4096
#define SASL_ITERATIONS_MAX 200000
#define SASL_MESSAGE_MAX \
    4096 /* of a server: nonce, salt, count; Kafka's are below 200 bytes, an AP-REP has 150 */

struct sasl;

/* @param nonce  NULL = random; a test gives the one of the RFC's example */
struct sasl *sasl_new(enum sasl_mechanism mechanism, const char *username, const char *password,
                      const char *nonce);
/* @param extensions  "key=value,key=value", or NULL */
struct sasl *sasl_new_bearer(const char *token, const char *extensions);
/* The first sasl_step() may ask a KDC: it blocks, in any thread; those after it do not.
 * @param service, host  the broker's principal is service/host  @param principal  ours must be this; NULL = any */
struct sasl *sasl_new_gssapi(const char *service, const char *host, const char *principal);
void sasl_free(struct sasl *sasl); /* wipes what it knew; NULL is fine */

/* The first call begins: `message` is empty then. Our next message is written behind what `out` holds, nothing when the
 * conversation is over.
 * @return false with ERR_REFUSED: the server's message is not what the mechanism says, or proves that it does not know
 *         the password */
MUST_CHECK
bool sasl_step(struct sasl *sasl, const void *message, size_t len, struct writer *out,
               struct err *err);
/* Everything was said, and the server has proven what its mechanism lets it prove. */
bool sasl_is_done(const struct sasl *sasl);

#endif
