/* The doors of a site as a worker opens them: by its settings and secrets, read for each connection. */
#ifndef FERRY_MIRROR_DOORS_H
#define FERRY_MIRROR_DOORS_H

#include "base/err.h"
#include "base/loop.h"
#include "base/redis.h"
#include "config/config.h"

/* The Redis of a site that has one; NULL with err: its secret cannot be read, or its URL is none. `site` is borrowed for the
 * lifetime. */
struct redis *doors_redis(struct loop *loop, const struct config_site *site,
                          void (*changed)(void *arg, enum redis_state state, const struct err *why),
                          void *arg, struct err *err);

#endif
