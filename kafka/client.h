/* A librdkafka handle as the doors in this folder hold it: made from a site's settings, remembers why its last connection
 * failed, ends within a bound. Private to kafka/: everybody else goes through admin, membership and control.
 *
 * librdkafka resolves names in its own threads and joins them when it is destroyed, so an end may take as long as a
 * dead name server wants: it happens in a thread of its own, waited for only so long.
 */
#ifndef FERRY_KAFKA_CLIENT_H
#define FERRY_KAFKA_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"
#include "config/config.h"
#include "kafka/acl.h"

struct client;

/* @param type    RD_KAFKA_PRODUCER or RD_KAFKA_CONSUMER
 * @param settings  borrowed until client_free()
 * @param extra   properties that override the site's, NULL-terminated name, value pairs
 * @param events  RD_KAFKA_EVENT_... that come to the handle's queue. Admin calls learn of a refused sign-in by
 *                RD_KAFKA_EVENT_ERROR
 * @return NULL with ERR_CONFIG by name when librdkafka refuses a property, ERR_RETRY when it cannot start threads */
struct client *client_new(rd_kafka_type_t type, const struct config_client *settings,
                          const char *const *extra, int events, struct err *err);

/* End it, without leaving a group and without flushing. Waits at most wait_ms; what takes longer ends by itself. NULL is
 * fine. Queues taken from the handle are destroyed before. */
#define CLIENT_END_MS 1000 /* a healthy handle ends in 10 ms */
void client_free(struct client *client, int32_t wait_ms);

rd_kafka_t *client_handle(const struct client *client);

/* Forget what came to its queue. For handles that nobody polls, now and then: brokers that are away leave something there each few
 * seconds, whatever events were asked for. */
void client_drop_events(struct client *client);

/* Before it is used, at least now and then: a password that was changed on disk counts from its next connection. What TLS
 * is made from is read by a new handle only: client_is_old() says that it changed, and who owns the handle makes another
 * one when it can. Both look at files once a second. Not from two threads at once. */
void client_refresh(struct client *client);
bool client_is_old(struct client *client);

/* A handle that signs in by OAUTHBEARER uses this token from its next connection, and for sessions made anew. @thread any */
struct oidc;
struct oidc_token;
void client_give_token(rd_kafka_t *rk, const struct oidc *oidc, const struct oidc_token *token);

/* What a librdkafka code (its own: negative) or Kafka code means to who meets it: not reachable or busy ERR_RETRY, fenced
 * ERR_FATAL, all else ERR_REFUSED. */
enum err_kind client_err_kind(int code);

/* Fill `err` by code. When it says "not reachable" the last connection's error is put behind it; where there is no
 * token, why, and that one's hint. Returns false. */
bool client_err(struct client *client, struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* librdkafka told of a sign-in that failed: did the site's brokers refuse us, or who gives tokens? false: there is no token, because
 * nobody gave an answer. @param text  librdkafka's */
bool client_is_refused(const struct client *client, const char *text);

/* Why a call failed: which ACL is missing when that is why, else `text`, else librdkafka's words for the code. Returns out
 * or text. */
const char *client_why(const struct client *client, int code, const char *text,
                       enum acl_operation operation, enum acl_resource resource, const char *name,
                       char out[ACL_LACKS_BYTES]);

/* Monotonic milliseconds, for the bounds of blocking calls. */
int64_t client_now_ms(void);

#endif
