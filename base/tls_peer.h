/* Whom a TLS client expects at the other end: the one rule for Kafka's and Redis's connections. */
#ifndef FERRY_BASE_TLS_PEER_H
#define FERRY_BASE_TLS_PEER_H

#include <stdbool.h>

#include <openssl/types.h>

#include "base/err.h"

/* Send the name (SNI; not for an address), and when `check` accept a certificate for this name or address only. false: out
 * of memory, or no name at all. */
MUST_CHECK
bool tls_peer_expect(SSL *ssl, const char *host, bool check);

#endif
