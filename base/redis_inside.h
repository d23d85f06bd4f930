/* What the two doors to hiredis share: address, TLS, errors. For redis.c and redis_sync.c alone. */
#ifndef FERRY_BASE_REDIS_INSIDE_H
#define FERRY_BASE_REDIS_INSIDE_H

#include <hiredis/hiredis.h>
#include <openssl/types.h>

#include "base/redis.h"

#define REDIS_HOST_BYTES 256 /* longest name: 253 */
/* No answer that we ask for has so many parts or bytes: the largest are a page of map entries or every checkpoint of a
 * link (100,000 partitions of 150 bytes, two elements each). More is not Redis, or not ours. */
#define REDIS_ELEMENTS_MAX    (1 << 20)
#define REDIS_REPLY_BYTES_MAX ((size_t)64 << 20)

#define REDIS_TOO_LARGE "an answer that is too large"
/* Bytes that were received and belong to no whole reply yet. */
static inline size_t redis_unread(const redisContext *context)
{
    return context->reader->len - context->reader->pos;
}

struct redis_address {
    char host[REDIS_HOST_BYTES]; /* without brackets */
    int port;
    int database;
    bool tls;
};

/* redis://HOST[:PORT][/DB], rediss:// likewise. */
MUST_CHECK
bool redis_address_parse(const char *url, struct redis_address *out, struct err *err);

/* TLS 1.2 or newer, certificates of `ca_file` or the system's; freed by SSL_CTX_free(). NULL with ERR_CONFIG. */
SSL_CTX *redis_tls_new(const char *ca_file, struct err *err);
/* Begin TLS on a connection: the certificate must be for the address's host. The SSL is the context's; NULL with the
 * reason in context->errstr. */
SSL *redis_tls_begin(redisContext *context, SSL_CTX *tls, const struct redis_address *address);
/* Why a handshake failed, for people. */
void redis_tls_reason(const SSL *ssl, char *out, size_t out_bytes);

/* An error reply as `err`. */
void redis_reply_error(const struct redisReply *reply, struct err *err);
bool redis_reply_is(const struct redisReply *reply, const char *prefix);

/* "EVAL" and what follows, for one call: a new array of argc + 3 pointers and one of lengths, heap. */
void redis_script_argv(const char *command, const char *script, const char *keys, int argc,
                       const char **argv, const size_t *argv_len, const char ***out_argv,
                       size_t **out_len);

#endif
