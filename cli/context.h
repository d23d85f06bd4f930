/* What most commands begin with: configuration, service, link, and doors to both clusters and Redis, opened when first
 * asked for. One context a command; freed whole.
 *
 * A door that could not be opened or did not answer is not asked again for the same link: with a dead cluster the
 * command waits for it once.
 */
#ifndef FERRY_CLI_CONTEXT_H
#define FERRY_CLI_CONTEXT_H

#include <jansson.h>

#include "base/redis.h"
#include "cli/command.h"
#include "config/config.h"
#include "kafka/admin.h"
#include "kafka/control.h"
#include "failover/positions.h"
#include "offsets/offset_store.h"

#define CONTEXT_TOPIC_BYTES 250
#define CONTEXT_WHO_BYTES   320

struct context_door {
    struct admin *admin;
    struct err err; /* why it is closed; ERR_NONE = not tried, or open */
};

struct context {
    const struct command_line *line;
    struct config *config;
    const struct config_service *service;
    const struct config_site *from;
    const struct config_site *to;
    int32_t timeout_ms;
    bool json;
    bool quiet;
    struct context_door source;
    struct context_door target;
    struct redis_sync *redis;
    struct err redis_err;
    struct offset_view *view;
};

/* Only the configuration. The context is valid to close in any case. */
MUST_CHECK
bool context_config(struct context *context, const struct command_line *line, struct err *err);
/* And args[0] as the service, without a link. */
MUST_CHECK
bool context_service(struct context *context, const struct command_line *line, struct err *err);
/* And args[0] as the service (it may be left out where there is only one), and its link: --link FROM:TO, else from home to
 * --to SITE or to the first other. */
MUST_CHECK
bool context_open(struct context *context, const struct command_line *line, struct err *err);
void context_close(struct context *context);
/* Go on with another service or link: doors are closed where they lead elsewhere, and may be tried again. */
void context_link(struct context *context, const struct config_service *service,
                  const struct config_site *from, const struct config_site *to);
/* All doors are closed and may be tried again: for the next round of --watch. */
void context_retry(struct context *context);

/* The door, or NULL with err. */
struct admin *context_source(struct context *context, struct err *err);
struct admin *context_target(struct context *context, struct err *err);
/* An answer did not come: do not wait for the next one. Returns false. */
bool context_source_failed(struct context *context, const struct err *err);
bool context_target_failed(struct context *context, const struct err *err);
/* ERR_REFUSED when the target's site has no Redis. */
MUST_CHECK
bool context_redis(struct context *context, struct err *err);
/* An answer did not come or was cut: the connection is of no more use. Returns false. */
bool context_redis_failed(struct context *context, const struct err *err);
/* Does Redis take what workers tell it? One that answers and refuses writes is silent of workers that live. What is tried changes
 * nothing. false with what Redis says, or why it did not answer. */
MUST_CHECK
bool context_redis_takes_beats(struct context *context, struct err *err);
MUST_CHECK
bool context_view(struct context *context, struct err *err);

/* "PREFIX{SERVICE}:SUFFIX", and with the link "PREFIX{SERVICE}:FROM>TO:SUFFIX"; heap. */
char *context_key(const struct context *context, const char *suffix);
char *context_link_key(const struct context *context, const char *suffix);
/* HGETALL as object of parsed JSON objects; fields that are none are left out. New reference or NULL with err. */
json_t *context_hash(struct context *context, const char *key, struct err *err);
/* The hash of the link (or of the service) by its suffix. */
json_t *context_link_hash(struct context *context, const char *suffix, struct err *err);
json_t *context_service_hash(struct context *context, const char *suffix, struct err *err);

/* Where the link is, through the doors that can be opened. */
void context_positions(struct context *context, struct positions *out);

/* May it be a topic's name? What is none does not come from Kafka. */
bool context_topic_ok(const char *name);
/* "TOPIC" (*out_partition = -1) or "TOPIC:PARTITION"; false with ERR_USAGE. */
MUST_CHECK
bool context_place(const char *text, char topic[CONTEXT_TOPIC_BYTES], int32_t *out_partition,
                   struct err *err);
/* Who `ferry` signs in as where it writes on the target: sites.X.operator, else the mirror. */
const struct config_client *context_writer(const struct context *context);

/* A writer of the service's control topic at `site`, for a command that is no operation itself. It fences whoever has one, so it
 * is looked right before whether an operation is open: ERR_REFUSED names the next command. What was read earlier is read
 * again by the caller, behind it. control_writer_free(). */
struct control_writer *context_op_writer(const struct context *context,
                                         const struct config_site *site,
                                         const struct config_client *client, struct err *err);

/* "user@host". */
char *context_who(char out[CONTEXT_WHO_BYTES]);

#endif
