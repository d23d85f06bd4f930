/* The blocking twin, for the command line: hiredis's own waiting, with limits of time and size. */
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/heap.h"
#include "base/redis_inside.h"

/* A whole answer may take so many times as long as one wait: a page of the map over a slow line. */
#define CALL_WAITS 10

struct redis_sync {
    redisContext *context;
    int32_t timeout_ms;
    SSL_CTX *tls;
    struct redis_address address;
};

static bool say(const struct redis_sync *redis, struct err *err)
{
    const char *why = redis->context == NULL ? "out of memory" : redis->context->errstr;

    return err_set(err, ERR_RETRY, "Redis at %s:%d: %s", redis->address.host, redis->address.port,
                   why);
}

static bool open_connection(struct redis_sync *redis, const struct redis_options *options,
                            struct err *err)
{
    struct timeval limit = {.tv_sec = options->timeout_ms / 1000,
                            .tv_usec = (options->timeout_ms % 1000) * 1000};
    redisOptions connect = {.connect_timeout = &limit, .command_timeout = &limit};

    REDIS_OPTIONS_SET_TCP(&connect, redis->address.host, redis->address.port);
    redis->context = redisConnectWithOptions(&connect);
    if (redis->context == NULL || redis->context->err != 0) {
        return say(redis, err);
    }
    redis->context->reader->maxelements = REDIS_ELEMENTS_MAX;
    if (!redis->address.tls) {
        return true;
    }
    redis->tls = redis_tls_new(options->ca_file, err);
    if (redis->tls == NULL) {
        return false;
    }
    return redis_tls_begin(redis->context, redis->tls, &redis->address) != NULL || say(redis, err);
}

/* No later call takes the rest of this answer for its own. */
static redisReply *give_up(struct redis_sync *redis, const char *why, struct err *err)
{
    redis->context->err = REDIS_ERR_OTHER;
    snprintf(redis->context->errstr, sizeof(redis->context->errstr), "%s", why);
    say(redis, err);
    return NULL;
}

static bool send_all(struct redis_sync *redis, int argc, const char **argv, const size_t *argv_len,
                     struct err *err)
{
    int done = 0;

    if (redisAppendCommandArgv(redis->context, argc, argv, argv_len) != REDIS_OK) {
        return say(redis, err);
    }
    while (!done) {
        if (redisBufferWrite(redis->context, &done) != REDIS_OK) {
            return say(redis, err);
        }
    }
    return true;
}

/* hiredis's own waits are each limited, not all of them together, nor what they bring. */
static redisReply *receive(struct redis_sync *redis, struct err *err)
{
    int64_t until_ms = clock_now_ms(clock_system()) + (int64_t)redis->timeout_ms * CALL_WAITS;
    size_t bytes = 0;
    void *reply = NULL;

    while (redisGetReplyFromReader(redis->context, &reply) == REDIS_OK && reply == NULL) {
        size_t before = redis->context->reader->len;
        if (redisBufferRead(redis->context) != REDIS_OK) {
            break;
        }
        bytes += redis->context->reader->len - before;
        if (bytes > REDIS_REPLY_BYTES_MAX) {
            return give_up(redis, REDIS_TOO_LARGE, err);
        }
        if (clock_now_ms(clock_system()) > until_ms) {
            return give_up(redis, "an answer that takes too long", err);
        }
    }
    if (reply == NULL) {
        say(redis, err);
    }
    return reply;
}

static bool ask(struct redis_sync *redis, int argc, const char **argv, struct err *err)
{
    struct redisReply *reply = redis_sync_call(redis, argc, argv, NULL, err);

    freeReplyObject(reply); /* NULL is fine */
    return reply != NULL;
}

static bool greet(struct redis_sync *redis, const struct redis_options *options, struct err *err)
{
    char database[16];
    const char *named[] = {"AUTH", options->username, options->password};
    const char *unnamed[] = {"AUTH", options->password};
    const char *select[] = {"SELECT", database};
    bool ok = true;

    snprintf(database, sizeof(database), "%d", redis->address.database);
    if (options->password != NULL) {
        ok = options->username != NULL ? ask(redis, 3, named, err) : ask(redis, 2, unnamed, err);
    }
    return ok && ask(redis, 2, select, err);
}

struct redis_sync *redis_sync_new(const struct redis_options *options, struct err *err)
{
    struct redis_sync *redis = must(calloc(1, sizeof(*redis)));
    redis->timeout_ms = options->timeout_ms;
    if (!redis_address_parse(options->url, &redis->address, err) ||
        !open_connection(redis, options, err) || !greet(redis, options, err)) {
        redis_sync_free(redis);
        return NULL;
    }
    return redis;
}

void redis_sync_free(struct redis_sync *redis)
{
    if (redis == NULL) {
        return;
    }
    redisFree(redis->context); /* NULL is fine */
    SSL_CTX_free(redis->tls);
    free(redis);
}

struct redisReply *redis_sync_call(struct redis_sync *redis, int argc, const char **argv,
                                   const size_t *argv_len, struct err *err)
{
    redisReply *reply = send_all(redis, argc, argv, argv_len, err) ? receive(redis, err) : NULL;

    if (reply == NULL) {
        return NULL;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        redis_reply_error(reply, err);
        freeReplyObject(reply);
        return NULL;
    }
    return reply;
}

bool redis_sync_takes_writes(struct redis_sync *redis, const char *key, struct err *err)
{
    struct err why = {0};
    const char *argv[] = {"SET", key, "", "XX"};
    bool takes = ask(redis, 4, argv, &why) || why.kind != ERR_RETRY;

    if (!takes && err != NULL) {
        *err = why;
    }
    return takes;
}

/* Whole each time: the command line calls a script once and has no use for its SHA. */
struct redisReply *redis_sync_script(struct redis_sync *redis, struct redis_script *script,
                                     int keys_count, int argc, const char **argv,
                                     const size_t *argv_len, struct err *err)
{
    char keys[16];
    const char **all;
    size_t *lens;

    snprintf(keys, sizeof(keys), "%d", keys_count);
    redis_script_argv("EVAL", script->text, keys, argc, argv, argv_len, &all, &lens);
    struct redisReply *reply = redis_sync_call(redis, argc + 3, all, lens, err);
    free(all);
    free(lens);
    return reply;
}
