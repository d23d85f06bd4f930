#include "mirror/doors.h"

static char *redis_password(void *arg, struct err *err)
{
    return config_secret_read(arg, err);
}

struct redis *doors_redis(struct loop *loop, const struct config_site *site,
                          void (*changed)(void *arg, enum redis_state state, const struct err *why),
                          void *arg, struct err *err)
{
    const struct config_redis *redis = site->redis;
    char *password = NULL;
    if (redis->password != NULL && (password = redis_password(redis->password, err)) == NULL) {
        err_wrap(err, "site %s: Redis", site->name); /* said now, not when it connects */
        return NULL;
    }
    config_secret_free(password);
    const struct redis_options options = {.url = redis->url,
                                          .username = redis->username,
                                          .read_password =
                                              redis->password == NULL ? NULL : redis_password,
                                          .password_arg = redis->password,
                                          .ca_file = redis->ca_file,
                                          .timeout_ms = redis->timeout_ms};
    return redis_new(loop, &options, changed, arg, err);
}
