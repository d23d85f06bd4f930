/* What this worker does, for `ferry status`, and orders from the command; both through Redis, so both may be away.
 *
 * Each second: HSET PREFIX{SERVICE}:workers WORKER JSON (mirror/beat_rows); faults to FROM>TO:faults; orders are read from FROM>TO:orders
 * (HGETALL) and handed to the link when the partition is ours, then deleted. FROM>TO:beats has for each worker when it told
 * last, in ms on Redis's own clock, negative once it left in order: an operation that cannot ask dead workers judges by it
 * how long they have been silent (docs/adr/0015). `roles` remembers, for each target site, the
 * highest role epoch that a worker saw and the control topic that it stood in: a witness against a control topic that was
 * deleted and made again while no worker ran.
 */
#ifndef FERRY_MIRROR_HEARTBEAT_H
#define FERRY_MIRROR_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/loop.h"
#include "base/redis.h"
#include "kafka/wire.h"

struct heartbeat;

struct heartbeat_options {
    const char *prefix;
    const char *service;
    const char *from;
    const char *to;
    const char *worker;
};
struct heartbeat_role {
    int64_t epoch; /* 1 and up */
    struct uuid topic_id;
};
struct heartbeat_callbacks {
    /* The worker's JSON now (new reference). */
    json_t *(*report)(void *arg);
    /* An order for a partition: true = taken (it is ours), the field is deleted. `order` is hostile until checked. */
    bool (*order)(void *arg, const char *topic, int32_t partition, const json_t *order);
    /* The role epoch that our control topic shows; false = none that we trust. */
    bool (*role)(void *arg, struct heartbeat_role *out);
    /* What Redis remembers, each second. */
    void (*role_seen)(void *arg, const struct heartbeat_role *seen);
    void *arg;
};
struct heartbeat *heartbeat_new(struct loop *loop, struct redis *redis,
                                const struct heartbeat_options *options,
                                const struct heartbeat_callbacks *callbacks);
void heartbeat_free(struct heartbeat *heartbeat);
/* Publish or clear (NULL) a partition's fault; kept and repeated until Redis took it. Takes the reference. */
void heartbeat_fault(struct heartbeat *heartbeat, const char *topic, int32_t partition,
                     json_t *take_fault);
/* The partition is another worker's from now on, and so is what Redis says of it: nothing more is told. */
void heartbeat_forget(struct heartbeat *heartbeat, const char *topic, int32_t partition);
/* Tell now instead of at the next second. */
void heartbeat_now(struct heartbeat *heartbeat);
/* The worker stops: its field goes. */
void heartbeat_leave(struct heartbeat *heartbeat);

#endif
