/* The door to hiredis: one asynchronous connection on our loop that comes back by itself, named Lua scripts.
 *
 * Redis may be away, slow, flushed, or lying; the callers go on without it. A call made while it is away fails at once
 * (reply NULL, err ERR_RETRY); a call unanswered for timeout_ms since it was sent fails and drops the connection. Calls go in
 * the order they are made in, REDIS_FLIGHT_MAX at a time: of ten thousand at once the last ones are not late because of the
 * first. Replies are hostile: check type and length of each. Never more than `REDIS_PENDING_MAX` calls without an answer.
 */
#ifndef FERRY_BASE_REDIS_H
#define FERRY_BASE_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"

struct redis;
struct redisReply; /* hiredis' */

#define REDIS_PENDING_MAX \
    16384 /* 10,000 partitions of a worker that begin at once; a call beyond fails at once */
/* Sent and not answered: 100 us each, 25 ms of the time limit; the machine may be twenty times too small. 3,000 a second over a
 * line of 80 ms. And no more is sent while so many bytes of them are on the way: within the time limit at 1 MB/s. */
#define REDIS_FLIGHT_MAX       256
#define REDIS_FLIGHT_BYTES_MAX (1 << 20)

struct redis_options {
    const char *url;      /* redis://HOST:PORT/DB or rediss:// ; never holds a password */
    const char *username; /* ACL user or NULL */
    const char *password; /* or NULL; copied, wiped by redis_free() */
    /* Instead of `password`: asked for each connection, so that one that was changed counts. Heap, wiped and freed behind it;
     * NULL with err = the connection is not made. */
    char *(*read_password)(void *arg, struct err *err);
    void *password_arg;
    const char *ca_file; /* rediss:// only: CA bundle, NULL = system's; read for each connection */
    int32_t timeout_ms;
};

enum redis_state { REDIS_AWAY, REDIS_READY };

/* Is this a URL that redis_new() takes? ERR_CONFIG when not; a password in it is never in the text. */
MUST_CHECK
bool redis_url_ok(const char *url, struct err *err);

/* `changed` is told each time the connection comes and goes (err says why it went), and when a server that is there does not
 * let us in, for each new reason. */
struct redis *redis_new(struct loop *loop, const struct redis_options *options,
                        void (*changed)(void *arg, enum redis_state state, const struct err *why),
                        void *arg, struct err *err);
void redis_free(struct redis *redis); /* pending calls are answered with an error first */
enum redis_state redis_state(const struct redis *redis);
const char *redis_last_error(const struct redis *redis); /* "" when ready */

/* reply is NULL when the call failed (err filled); a Redis error reply is turned into err (kind RETRY for
 * LOADING/BUSY/READONLY/MOVED/OOM/MASTERDOWN/TRYAGAIN, with a hint; REFUSED for NOAUTH/WRONGPASS/NOPERM/WRONGTYPE/others) with
 * the reply NULL as well, so that a callback looks at one thing only. err.code is REDIS_SAYS then, and only then: a call that was
 * not sent, was lost or had no answer in time says nothing of what Redis takes. */
#define REDIS_SAYS 10001
typedef void redis_reply_fn(void *arg, const struct redisReply *reply, const struct err *err);

/* Send one command; argv are binary safe. `done` is always called exactly once, possibly before this returns. */
void redis_call(struct redis *redis, int argc, const char **argv, const size_t *argv_len,
                redis_reply_fn *done, void *arg);

/* EVALSHA with fallback to EVAL on NOSCRIPT. A script's text is a static string; its SHA is computed once. */
struct redis_script {
    const char *name;
    const char *text;
    char sha[41]; /* filled on first use */
};
void redis_call_script(struct redis *redis, struct redis_script *script, int keys_count, int argc,
                       const char **argv, const size_t *argv_len, redis_reply_fn *done, void *arg);

/* Blocking twin for the command line (own connection, same options and errors). */
struct redis_sync;
struct redis_sync *redis_sync_new(const struct redis_options *options, struct err *err);
void redis_sync_free(struct redis_sync *redis);
/* New reply (freeReplyObject by the caller) or NULL with err; error replies become err as above. */
struct redisReply *redis_sync_call(struct redis_sync *redis, int argc, const char **argv,
                                   const size_t *argv_len, struct err *err);
/* Does it take writes? One that answers may refuse them all (full, a replica, another node's keys). What is tried changes nothing.
 *
 * @param key  of the keys that are written, and nobody makes this one
 * @return false with ERR_RETRY; being denied it by an ACL says nothing */
MUST_CHECK
bool redis_sync_takes_writes(struct redis_sync *redis, const char *key, struct err *err);
struct redisReply *redis_sync_script(struct redis_sync *redis, struct redis_script *script,
                                     int keys_count, int argc, const char **argv,
                                     const size_t *argv_len, struct err *err);

#endif
