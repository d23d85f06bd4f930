/* TLS for connections to brokers, by OpenSSL on a socket that does not block: certificates and what is accepted
 * (`tls_context`, one a cluster), and one connection's session (`tls`). Properties are named and meant as in librdkafka.
 *
 * The broker's certificate must be valid and made for the name that we connect to, unless the site says otherwise in so
 * many words. TLS 1.2 or newer. Certificates, keys and passwords are looked at again for each connection: what was
 * renewed on disk counts from the next one. Loop thread only.
 */
#ifndef FERRY_KAFKA_TLS_H
#define FERRY_KAFKA_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "config/config.h"

/* Does the site's security.protocol ask for TLS? */
bool tls_wanted(const struct config_client *client);

/* A digest of all that TLS is made from (files by their identity, secrets by their value) as it is now; it changes when any
 * of it does. false: a secret cannot be read. @thread any */
#define TLS_MATERIAL_BYTES 32
MUST_CHECK
bool tls_material(const struct config_client *client, uint8_t out[TLS_MATERIAL_BYTES]);

struct tls_context;
/* `client` is borrowed for the lifetime; nothing is read yet. */
struct tls_context *tls_context_new(const struct config_client *client);
void tls_context_free(struct tls_context *context); /* sessions live on; NULL is fine */

/* Plaintext per record (RFC 8446): as many bytes of a frame may have been taken from the socket without being there yet. */
#define TLS_RECORD_BYTES 16384

struct tls;
/* A session on a connected socket, which stays the caller's.
 * @param host  name or address that was connected to: sent as SNI when it is a name, and checked
 * @return NULL with ERR_CONFIG: a file or property is not what it has to be */
struct tls *tls_new(struct tls_context *context, const char *host, int fd, struct err *err);
/* Says goodbye when it can be said at once; before the socket is closed. NULL is fine. */
void tls_free(struct tls *tls);

enum tls_progress { TLS_DONE, TLS_WANTS_READ, TLS_WANTS_WRITE, TLS_FAILED };
/* Again when the socket is ready for what it wants. TLS_FAILED: ERR_REFUSED when the certificate is not accepted (by
 * either side) or no version or cipher is common, ERR_RETRY when the connection broke. */
enum tls_progress tls_handshake(struct tls *tls, struct err *err);

/* Behind the handshake: is the broker's certificate made for this name, whatever the site says of checking? When does it end
 * (ms since 1970; -1 = unknown, or it showed none)? */
bool tls_made_for(const struct tls *tls, const char *host);
int64_t tls_end_ms(const struct tls *tls);

/* As recv() and sendmsg() of struct conn_io, `arg` being the tls. recv fills all of `data` unless nothing more is there;
 * sendmsg after EAGAIN must be offered the same bytes first. errno EPROTO: see tls_error(). */
ssize_t tls_recv(void *arg, int fd, void *data, size_t len);
ssize_t tls_sendmsg(void *arg, int fd, const struct msghdr *message);
/* Bytes were taken from the socket that tls_recv() has not given yet: no readiness will tell of them. */
bool tls_pending(const void *arg);
/* A read cannot go on before something was written (a new key is agreed on): read again when the socket takes bytes. */
bool tls_read_waits(const struct tls *tls);
/* What the last EPROTO was, in TLS's own words; kinds as above. */
void tls_error(const struct tls *tls, struct err *out);

#endif
