/* What the files of TLS share. Private to kafka/tls*.c. */
#ifndef FERRY_KAFKA_TLS_INSIDE_H
#define FERRY_KAFKA_TLS_INSIDE_H

#include <openssl/types.h>

#include "kafka/tls.h"

/* OpenSSL's settings as the site's files and secrets are now, with a reference for the caller; NULL with ERR_CONFIG. */
SSL_CTX *tls_context_now(struct tls_context *context, struct err *err);
/* Is the certificate's name compared with the host's? */
bool tls_context_checks_name(const struct tls_context *context);

/* OpenSSL's oldest reason for a failure (what came first caused the rest), its queue is empty afterwards. Never NULL. */
const char *tls_openssl_reason(void);

#endif
