/* What most commands begin with: configuration, service, link, and doors to both clusters and Redis, opened when first
 * asked for. One context a command; freed whole.
 */
#ifndef FERRY_CLI_CONTEXT_H
#define FERRY_CLI_CONTEXT_H

#include <jansson.h>

#include "base/redis.h"
#include "cli/command.h"
#include "config/config.h"
#include "kafka/admin.h"
#include "offsets/checkpoint.h"
#include "offsets/offset_store.h"

struct context {
    const struct command_line *line;
    struct config *config;
    const struct config_service *service;
    const struct config_site *from;
    const struct config_site *to;
    int32_t timeout_ms;
    bool json;
    bool quiet;
    struct admin *source;
    struct admin *target;
    struct redis_sync *redis;
    struct offset_view *view;
};

/* Load the configuration; resolve args[0] as service and --link FROM>TO or --to SITE (default: home and its first
 * other). The context is valid to free in any case. */
MUST_CHECK
bool context_open(struct context *context, const struct command_line *line, struct err *err);
/* Only the configuration. */
MUST_CHECK
bool context_config(struct context *context, const struct command_line *line, struct err *err);
void context_close(struct context *context);

MUST_CHECK
bool context_source(struct context *context, struct err *err);
MUST_CHECK
bool context_target(struct context *context, struct err *err);
/* ERR_REFUSED when the target's site has no Redis. */
MUST_CHECK
bool context_redis(struct context *context, struct err *err);
MUST_CHECK
bool context_view(struct context *context, struct err *err);

/* "PREFIX{SERVICE}:SUFFIX", and with the link "PREFIX{SERVICE}:FROM>TO:SUFFIX"; heap. */
char *context_key(const struct context *context, const char *suffix);
char *context_link_key(const struct context *context, const char *suffix);
/* HGETALL as object of parsed JSON values; fields that do not parse are left out. New reference or NULL with err. */
json_t *context_hash(struct context *context, const char *key, struct err *err);

/* TOPIC:PARTITION; false with ERR_USAGE. @param topic 250 bytes */
MUST_CHECK
bool context_place(const char *text, char topic[250], int32_t *out_partition, struct err *err);
/* "user@host". */
void context_who(char out[320]);
/* Positions of the link's partitions: the newer of Redis and the group's commits; whichever is there. */
struct context_position {
    char topic[250];
    int32_t partition;
    struct checkpoint at;
    int64_t source_end; /* stable end now; -1 unknown */
};
MUST_CHECK
bool context_positions(struct context *context, struct context_position **out, size_t *out_count,
                       struct err *redis_err, struct err *err);

#endif
