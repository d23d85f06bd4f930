#include "base/redis.h"

#include <assert.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"

#define RECONNECT_FIRST_MS 100
#define RECONNECT_CAP_MS   2000
#define HOST_BYTES         256

struct redis_address {
    char host[HOST_BYTES];
    int port;
    int database;
    bool tls;
};

struct redis {
    struct loop *loop;
    struct redis_address address;
    char *username;
    char *password;
    int32_t timeout_ms;
    redisSSLContext *tls;
    redisAsyncContext *context; /* NULL while away */
    enum redis_state state;
    void (*changed)(void *arg, enum redis_state state, const struct err *why);
    void *arg;
    struct loop_timer *reconnect;
    struct backoff backoff;
    int32_t pending_count;
    bool closing;
    char last_error[ERR_WHAT_BYTES];
};

struct redis_pending {
    struct redis *redis;
    redis_reply_fn *done;
    void *arg;
    /* a script that may have to be sent whole */
    struct redis_script *script;
    int argc;
    char **argv;
    size_t *argv_len;
};

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static void connect_now(void *arg);

/* --- the address -------------------------------------------------------------------------------------------------- */

static bool parse_number(const char *text, int most, int *out)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < 0 || value > most) {
        return false;
    }
    *out = (int)value;
    return true;
}

static bool parse_url(const char *url, struct redis_address *out, struct err *err)
{
    char rest[HOST_BYTES + 32];
    *out = (struct redis_address){.port = 6379};
    const char *after = strstr(url, "://");
    if (after == NULL || (strncmp(url, "redis:", 6) != 0 && strncmp(url, "rediss:", 7) != 0)) {
        return err_set(err, ERR_CONFIG, "'%s' is no redis:// or rediss:// URL", url);
    }
    out->tls = strncmp(url, "rediss:", 7) == 0;
    snprintf(rest, sizeof(rest), "%s", after + 3);
    if (strchr(rest, '@') != NULL) {
        return err_set(err, ERR_CONFIG,
                       "a Redis URL holds no user or password; use username and password");
    }
    char *slash = strchr(rest, '/');
    if (slash != NULL) {
        *slash = '\0';
        if (slash[1] != '\0' && !parse_number(slash + 1, 1 << 20, &out->database)) {
            return err_set(err, ERR_CONFIG, "'%s': the database is no number", url);
        }
    }
    char *host = rest;
    char *colon = strrchr(rest, ':');
    if (rest[0] == '[') { /* [v6]:port */
        char *close = strchr(rest, ']');
        if (close == NULL) {
            return err_set(err, ERR_CONFIG, "'%s': '[' without ']'", url);
        }
        *close = '\0';
        host = rest + 1;
        colon = close[1] == ':' ? close + 1 : NULL;
    }
    if (colon != NULL) {
        *colon = '\0';
        if (!parse_number(colon + 1, 65535, &out->port)) {
            return err_set(err, ERR_CONFIG, "'%s': the port is no number", url);
        }
    }
    if (host[0] == '\0') {
        return err_set(err, ERR_CONFIG, "'%s' names no host", url);
    }
    if (strlen(host) >= sizeof(out->host)) {
        return err_set(err, ERR_CONFIG, "the host name of a Redis URL is longer than %d",
                       HOST_BYTES - 1);
    }
    memcpy(out->host, host, strlen(host) + 1);
    return true;
}

static redisSSLContext *tls_new(const struct redis_options *options, const char *host,
                                struct err *err)
{
    redisSSLContextError error = REDIS_SSL_CTX_NONE;
    redisInitOpenSSL();
    redisSSLOptions ssl = {.cacert_filename = options->ca_file,
                           .capath = options->ca_file == NULL ? "/etc/ssl/certs" : NULL,
                           .server_name = host,
                           .verify_mode = REDIS_SSL_VERIFY_PEER};
    redisSSLContext *context = redisCreateSSLContextWithOptions(&ssl, &error);
    if (context == NULL) {
        err_set(err, ERR_CONFIG, "Redis TLS: %s", redisSSLContextGetError(error));
    }
    return context;
}

/* --- replies ------------------------------------------------------------------------------------------------------ */

static bool starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void reply_error(const redisReply *reply, struct err *err)
{
    static const char *const passing[] = {"LOADING",     "BUSY ",   "READONLY",   "MOVED",
                                          "ASK ",        "OOM",     "MASTERDOWN", "TRYAGAIN",
                                          "CLUSTERDOWN", "MISCONF", "NOREPLICAS"};
    enum err_kind kind = ERR_REFUSED;
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
        if (starts(reply->str, passing[i])) {
            kind = ERR_RETRY;
        }
    }
    err_set(err, kind, "Redis says: %.400s", reply->str);
}

static void pending_free(struct redis_pending *pending)
{
    for (int i = 0; i < pending->argc; i++) {
        free(pending->argv[i]);
    }
    free(pending->argv);
    free(pending->argv_len);
    free(pending);
}

static void send_pending(struct redis *redis, struct redis_pending *pending);

static void replied(redisAsyncContext *context, void *raw, void *privdata)
{
    struct redis_pending *pending = privdata;
    struct redis *redis = pending->redis;
    redisReply *reply = raw;
    struct err err = {0};
    redis->pending_count--;
    if (reply == NULL) {
        err_set(&err, ERR_RETRY, "Redis at %s:%d: %s", redis->address.host, redis->address.port,
                context->errstr != NULL && context->errstr[0] != '\0' ? context->errstr
                                                                      : "connection closed");
    } else if (reply->type == REDIS_REPLY_ERROR) {
        if (pending->script != NULL && starts(reply->str, "NOSCRIPT") &&
            redis->context == context && redis->state == REDIS_READY) {
            free(pending->argv[0]);
            free(pending->argv[1]);
            pending->argv[0] = must(strdup("EVAL"));
            pending->argv[1] = must(strdup(pending->script->text));
            pending->argv_len[0] = 4;
            pending->argv_len[1] = strlen(pending->script->text);
            pending->script = NULL;
            send_pending(redis, pending);
            return;
        }
        reply_error(reply, &err);
        reply = NULL;
    }
    pending->done(pending->arg, reply, reply == NULL ? &err : NULL);
    pending_free(pending);
}

static void fail_now(struct redis *redis, struct redis_pending *pending, const char *why)
{
    struct err err = {0};
    err_set(&err, ERR_RETRY, "Redis at %s:%d: %s", redis->address.host, redis->address.port, why);
    pending->done(pending->arg, NULL, &err);
    pending_free(pending);
}

static void send_pending(struct redis *redis, struct redis_pending *pending)
{
    if (redis->pending_count >= REDIS_PENDING_MAX) {
        fail_now(redis, pending, "too many calls in flight");
        return;
    }
    redis->pending_count++;
    const char **argv =
        (const char **)(uintptr_t)pending->argv; /* hiredis does not write to them */
    if (redisAsyncCommandArgv(redis->context, replied, pending, pending->argc, argv,
                              pending->argv_len) != REDIS_OK) {
        redis->pending_count--;
        fail_now(redis, pending, "not connected");
    }
}

static struct redis_pending *pending_new(struct redis *redis, redis_reply_fn *done, void *arg,
                                         int room)
{
    struct redis_pending *pending = must(calloc(1, sizeof(*pending)));
    pending->redis = redis;
    pending->done = done;
    pending->arg = arg;
    pending->argv = must(calloc((size_t)room, sizeof(char *)));
    pending->argv_len = must(calloc((size_t)room, sizeof(size_t)));
    return pending;
}

static void pending_add(struct redis_pending *pending, const char *data, size_t len)
{
    char *copy = must(malloc(len + 1));
    memcpy(copy, data, len);
    copy[len] = '\0';
    pending->argv[pending->argc] = copy;
    pending->argv_len[pending->argc++] = len;
}

static size_t arg_len(const char **argv, const size_t *argv_len, int i)
{
    return argv_len != NULL ? argv_len[i] : strlen(argv[i]);
}

void redis_call(struct redis *redis, int argc, const char **argv, const size_t *argv_len,
                redis_reply_fn *done, void *arg)
{
    struct redis_pending *pending = pending_new(redis, done, arg, argc);
    for (int i = 0; i < argc; i++) {
        pending_add(pending, argv[i], arg_len(argv, argv_len, i));
    }
    if (redis->state != REDIS_READY) {
        fail_now(redis, pending,
                 redis->last_error[0] != '\0' ? redis->last_error : "not connected yet");
        return;
    }
    send_pending(redis, pending);
}

/* --- scripts ------------------------------------------------------------------------------------------------------ */

static const char *script_sha(struct redis_script *script)
{
    if (script->sha[0] == '\0') {
        unsigned char digest[SHA_DIGEST_LENGTH];
        SHA1((const unsigned char *)script->text, strlen(script->text), digest);
        for (int i = 0; i < SHA_DIGEST_LENGTH; i++) {
            snprintf(script->sha + 2 * i, 3, "%02x", digest[i]);
        }
    }
    return script->sha;
}

void redis_call_script(struct redis *redis, struct redis_script *script, int keys_count, int argc,
                       const char **argv, const size_t *argv_len, redis_reply_fn *done, void *arg)
{
    char keys[16];
    snprintf(keys, sizeof(keys), "%d", keys_count);
    struct redis_pending *pending = pending_new(redis, done, arg, argc + 3);
    pending->script = script;
    pending_add(pending, "EVALSHA", 7);
    pending_add(pending, script_sha(script), 40);
    pending_add(pending, keys, strlen(keys));
    for (int i = 0; i < argc; i++) {
        pending_add(pending, argv[i], arg_len(argv, argv_len, i));
    }
    if (redis->state != REDIS_READY) {
        fail_now(redis, pending,
                 redis->last_error[0] != '\0' ? redis->last_error : "not connected yet");
        return;
    }
    send_pending(redis, pending);
}

/* --- the connection ----------------------------------------------------------------------------------------------- */

static void gone(struct redis *redis, const char *why)
{
    struct err err = {0};
    bool was_ready = redis->state == REDIS_READY;
    bool first = redis->last_error[0] == '\0';
    redis->state = REDIS_AWAY;
    redis->context = NULL;
    snprintf(redis->last_error, sizeof(redis->last_error), "%s",
             why != NULL && why[0] != '\0' ? why : "closed");
    if (redis->closing) {
        return;
    }
    loop_timer_set(redis->reconnect, backoff_next_ms(&redis->backoff));
    if (was_ready || first) {
        err_set(&err, ERR_RETRY, "Redis at %s:%d: %s", redis->address.host, redis->address.port,
                redis->last_error);
        redis->changed(redis->arg, REDIS_AWAY, &err);
    }
}

static void disconnected(const redisAsyncContext *context, int status)
{
    struct redis *redis = context->data;
    if (redis != NULL && redis->context == context) {
        gone(redis, status == REDIS_OK ? "closed" : context->errstr);
    }
}

static void ready(struct redis *redis)
{
    redis->state = REDIS_READY;
    redis->last_error[0] = '\0';
    backoff_reset(&redis->backoff);
    redis->changed(redis->arg, REDIS_READY, NULL);
}

/* AUTH and SELECT go first; the last answer of them makes the connection ready. */
static void greeted(redisAsyncContext *context, void *raw, void *privdata)
{
    struct redis *redis = context->data;
    redisReply *reply = raw;
    (void)privdata;
    if (redis == NULL || redis->context != context || reply == NULL) {
        return; /* `disconnected` tells */
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        char why[256];
        snprintf(why, sizeof(why), "%.200s", reply->str);
        redis->context = NULL;
        context->data = NULL;
        redisAsyncDisconnect(context);
        gone(redis, why);
        return;
    }
    if (privdata != NULL) {
        ready(redis);
    }
}

static void greet(struct redis *redis)
{
    static char last; /* marks the last greeting */
    if (redis->password != NULL && redis->username != NULL) {
        redisAsyncCommand(redis->context, greeted, NULL, "AUTH %s %s", redis->username,
                          redis->password);
    } else if (redis->password != NULL) {
        redisAsyncCommand(redis->context, greeted, NULL, "AUTH %s", redis->password);
    }
    redisAsyncCommand(redis->context, greeted, &last, "SELECT %d", redis->address.database);
}

static void connected(const redisAsyncContext *context, int status)
{
    struct redis *redis = context->data;
    if (redis == NULL || redis->context != context) {
        return;
    }
    if (status != REDIS_OK) {
        gone(redis, context->errstr); /* hiredis frees the context */
        return;
    }
    greet(redis);
}

static void connect_now(void *arg)
{
    struct redis *redis = arg;
    redisOptions options = {0};
    struct timeval limit = {.tv_sec = redis->timeout_ms / 1000,
                            .tv_usec = (redis->timeout_ms % 1000) * 1000};
    REDIS_OPTIONS_SET_TCP(&options, redis->address.host, redis->address.port);
    options.connect_timeout = &limit;
    options.command_timeout = &limit;
    redisAsyncContext *context = redisAsyncConnectWithOptions(&options);
    if (context == NULL || context->err != 0) {
        char why[256];
        snprintf(why, sizeof(why), "%s", context == NULL ? "out of memory" : context->errstr);
        if (context != NULL) {
            redisAsyncFree(context);
        }
        gone(redis, why);
        return;
    }
    context->data = redis;
    redis->context = context;
    if (redis->tls != NULL && redisInitiateSSLWithContext(&context->c, redis->tls) != REDIS_OK) {
        char why[256];
        snprintf(why, sizeof(why), "TLS: %s", context->c.errstr);
        context->data = NULL;
        redis->context = NULL;
        redisAsyncFree(context);
        gone(redis, why);
        return;
    }
    redisLibeventAttach(context, loop_event_base(redis->loop));
    redisAsyncSetConnectCallback(context, connected);
    redisAsyncSetDisconnectCallback(context, disconnected);
    redisAsyncSetTimeout(context, limit);
}

static char *copy_or_null(const char *text)
{
    return text == NULL ? NULL : must(strdup(text));
}

struct redis *redis_new(struct loop *loop, const struct redis_options *options,
                        void (*changed)(void *arg, enum redis_state state, const struct err *why),
                        void *arg, struct err *err)
{
    struct redis_address address;
    if (!parse_url(options->url, &address, err)) {
        return NULL;
    }
    struct redis *redis = must(calloc(1, sizeof(*redis)));
    redis->loop = loop;
    redis->address = address;
    redis->username = copy_or_null(options->username);
    redis->password = copy_or_null(options->password);
    redis->timeout_ms = options->timeout_ms;
    redis->changed = changed;
    redis->arg = arg;
    backoff_init(&redis->backoff, RECONNECT_FIRST_MS, RECONNECT_CAP_MS, (uint32_t)address.port);
    redis->reconnect = loop_timer_new(loop, connect_now, redis);
    if (address.tls) {
        redis->tls = tls_new(options, redis->address.host, err);
        if (redis->tls == NULL) {
            redis_free(redis);
            return NULL;
        }
    }
    loop_timer_set(redis->reconnect,
                   0); /* from the loop, so that `changed` never comes before we return */
    return redis;
}

static void wipe(char *text)
{
    if (text != NULL) {
        OPENSSL_cleanse(text, strlen(text));
        free(text);
    }
}

void redis_free(struct redis *redis)
{
    if (redis == NULL) {
        return;
    }
    redis->closing = true;
    redis->state = REDIS_AWAY;
    if (redis->context != NULL) {
        redisAsyncContext *context = redis->context;
        redis->context = NULL;
        redisAsyncFree(context); /* answers what is pending with NULL first */
    }
    loop_timer_free(redis->reconnect);
    redisFreeSSLContext(redis->tls);
    free(redis->username);
    wipe(redis->password);
    free(redis);
}

enum redis_state redis_state(const struct redis *redis)
{
    return redis->state;
}
const char *redis_last_error(const struct redis *redis)
{
    return redis->last_error;
}

/* --- blocking ----------------------------------------------------------------------------------------------------- */

struct redis_sync {
    redisContext *context;
    redisSSLContext *tls;
    struct redis_address address;
};

static bool sync_greet(struct redis_sync *redis, const struct redis_options *options,
                       struct err *err)
{
    char database[16];
    snprintf(database, sizeof(database), "%d", redis->address.database);
    const char *auth[] = {"AUTH", options->username, options->password};
    const char *auth_only[] = {"AUTH", options->password};
    const char *select[] = {"SELECT", database};
    struct redisReply *reply;
    if (options->password != NULL) {
        bool named = options->username != NULL;
        reply = redis_sync_call(redis, named ? 3 : 2, named ? auth : auth_only, NULL, err);
        if (reply == NULL) {
            return false;
        }
        freeReplyObject(reply);
    }
    reply = redis_sync_call(redis, 2, select, NULL, err);
    if (reply == NULL) {
        return false;
    }
    freeReplyObject(reply);
    return true;
}

struct redis_sync *redis_sync_new(const struct redis_options *options, struct err *err)
{
    struct redis_sync *redis = must(calloc(1, sizeof(*redis)));
    struct timeval limit = {.tv_sec = options->timeout_ms / 1000,
                            .tv_usec = (options->timeout_ms % 1000) * 1000};
    if (!parse_url(options->url, &redis->address, err)) {
        free(redis);
        return NULL;
    }
    redisOptions connect = {0};
    REDIS_OPTIONS_SET_TCP(&connect, redis->address.host, redis->address.port);
    connect.connect_timeout = &limit;
    connect.command_timeout = &limit;
    redis->context = redisConnectWithOptions(&connect);
    bool ok = redis->context != NULL && redis->context->err == 0;
    if (!ok) {
        err_set(err, ERR_RETRY, "Redis at %s:%d: %s", redis->address.host, redis->address.port,
                redis->context == NULL ? "out of memory" : redis->context->errstr);
    }
    if (ok && redis->address.tls) {
        redis->tls = tls_new(options, redis->address.host, err);
        ok = redis->tls != NULL;
        if (ok && redisInitiateSSLWithContext(redis->context, redis->tls) != REDIS_OK) {
            ok = err_set(err, ERR_RETRY, "Redis at %s:%d: TLS: %s", redis->address.host,
                         redis->address.port, redis->context->errstr);
        }
    }
    if (!ok || !sync_greet(redis, options, err)) {
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
    if (redis->context != NULL) {
        redisFree(redis->context);
    }
    redisFreeSSLContext(redis->tls);
    free(redis);
}

struct redisReply *redis_sync_call(struct redis_sync *redis, int argc, const char **argv,
                                   const size_t *argv_len, struct err *err)
{
    redisReply *reply = redisCommandArgv(redis->context, argc, argv, argv_len);
    if (reply == NULL) {
        err_set(err, ERR_RETRY, "Redis at %s:%d: %s", redis->address.host, redis->address.port,
                redis->context->errstr);
        return NULL;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        reply_error(reply, err);
        freeReplyObject(reply);
        return NULL;
    }
    return reply;
}

struct redisReply *redis_sync_script(struct redis_sync *redis, struct redis_script *script,
                                     int keys_count, int argc, const char **argv,
                                     const size_t *argv_len, struct err *err)
{
    char keys[16];
    snprintf(keys, sizeof(keys), "%d", keys_count);
    const char **all = must(calloc((size_t)argc + 3, sizeof(char *)));
    size_t *lens = must(calloc((size_t)argc + 3, sizeof(size_t)));
    all[0] = "EVAL"; /* the command line calls a script once: no use for its SHA */
    all[1] = script->text;
    all[2] = keys;
    for (int i = 0; i < 3; i++) {
        lens[i] = strlen(all[i]);
    }
    for (int i = 0; i < argc; i++) {
        all[i + 3] = argv[i];
        lens[i + 3] = arg_len(argv, argv_len, i);
    }
    struct redisReply *reply = redis_sync_call(redis, argc + 3, all, lens, err);
    free(all);
    free(lens);
    return reply;
}
