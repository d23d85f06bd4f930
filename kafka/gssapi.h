/* Kerberos: SASL's GSSAPI (RFC 4752) without a security layer, by Cyrus SASL, as librdkafka does it, so that both have one
 * identity: that of the process's ticket cache, or of its client keytab, from which MIT's library gets and renews tickets
 * by itself. No kinit is run.
 */
#ifndef FERRY_KAFKA_GSSAPI_H
#define FERRY_KAFKA_GSSAPI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "config/config.h"

/* Where a site signs in so: make Cyrus SASL ready. Where it names a keytab: have Kerberos find it (KRB5_CLIENT_KTNAME), with tickets in this process's memory unless
 * KRB5CCNAME says where. Once, when nothing else runs yet: it changes the environment.
 * @return false: ERR_CONFIG when two sites name different keytabs or principals: a process has one */
MUST_CHECK
bool gssapi_prepare(const struct config *config, struct err *err);

struct gssapi;

/* No I/O. @param principal  of whom the ticket must be; NULL = whoever it is of */
struct gssapi *gssapi_new(const char *service, const char *host, const char *principal);
void gssapi_free(struct gssapi *gssapi); /* NULL is fine */

/* Our first message. Asks the KDC for what the cache lacks: blocks. @thread any
 * @return false with ERR_REFUSED: no ticket, the KDC does not know the broker, or no module for Kerberos is installed */
MUST_CHECK
bool gssapi_begin(struct gssapi *gssapi, struct writer *out, struct err *err);
/* A message of the broker's, and our next. @param out_last  nothing of the mechanism follows it */
MUST_CHECK
bool gssapi_hear(struct gssapi *gssapi, const void *message, size_t len, struct writer *out,
                 bool *out_last, struct err *err);

#endif
