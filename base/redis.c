/* One connection on the loop. hiredis gives the protocol and the buffers; the waiting is ours, because its own
 * asynchronous half asserts that a server answers only what was asked, looks names up on the caller's thread, and
 * counts no time while calls keep coming.
 *
 * A connection's life: waiting (reconnect timer) -> looking up -> connecting -> TLS -> greeting -> ready. One deadline
 * covers all from connecting to ready; then each call has its own. Whatever goes wrong ends in drop(), which answers
 * what is pending and sets the timer. Callers may free us in any callback: who goes on behind one sets `busy` before and asks leave().
 */
#include "base/redis.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/heap.h"
#include "base/lookup.h"
#include "base/redis_inside.h"

#define RECONNECT_FIRST_MS 100
#define RECONNECT_CAP_MS   2000 /* a restarted Redis is seen within 2.4 s */
#define REASON_BYTES       256

enum phase { PHASE_WAITING, PHASE_LOOKUP, PHASE_CONNECT, PHASE_TLS, PHASE_GREET, PHASE_READY };

struct redis_pending {
    redis_reply_fn *done;
    void *arg;
    int64_t sent_ms;
    size_t bytes;
    char *unsent; /* hiredis'; NULL: it was sent */
    struct redis_pending *next;
    /* a script, kept until it is known that it need not be sent whole */
    const char *script;
    int argc;
    char **argv;
    size_t *argv_len;
};

struct redis {
    struct loop *loop;
    struct redis_address address;
    char *username;
    char *password;
    char *(*read_password)(void *arg, struct err *err);
    void *password_arg;
    char *ca_file;
    int32_t timeout_ms;
    void (*changed)(void *arg, enum redis_state state, const struct err *why);
    void *arg;

    enum phase phase;
    struct lookup *lookup;
    struct addrinfo *addresses; /* of the last lookup */
    struct addrinfo *next_address;
    redisContext *context; /* owns the socket and its SSL */
    SSL *ssl;              /* the context's */
    struct loop_fd *watch;
    struct loop_timer *reconnect;
    struct loop_timer *deadline;
    struct backoff backoff;
    size_t reply_bytes; /* of the reply that is not whole yet; hiredis lets go of its parts */
    int greetings_left;
    enum redis_state told; /* by `changed` */
    bool told_once;

    struct redis_pending *first; /* answers come in this order */
    struct redis_pending *last;
    struct redis_pending *unsent; /* the first of those that wait for others' answers */
    int32_t pending_count;
    int32_t flight_count; /* of these, sent */
    size_t flight_bytes;
    bool late;  /* an answer may be here that nobody has read: the loop was busy elsewhere */
    bool busy;  /* callbacks run: redis_free() leaves the memory to leave() */
    bool freed; /* by a callback */
    char last_error[REASON_BYTES];
    bool refusing; /* the server said no, or is not the one: drop() tells of each new reason */
    char hint[ERR_HINT_BYTES];  /* what to do about that; "" = nothing that we know */
    char refused[REASON_BYTES]; /* the last one told */
};

static bool away(const struct redis *redis, struct err *err, const char *why)
{
    return err_set(err, ERR_RETRY, "Redis at %s:%d: %s", redis->address.host, redis->address.port,
                   why);
}

/* --- calls in flight ---------------------------------------------------------------------------------------------- */

static void pending_free(struct redis_pending *pending)
{
    redisFreeCommand(pending->unsent);
    for (int i = 0; i < pending->argc; i++) {
        free(pending->argv[i]);
    }
    free(pending->argv);
    free(pending->argv_len);
    free(pending);
}

static void pending_push(struct redis *redis, struct redis_pending *pending)
{
    pending->next = NULL;
    if (redis->last == NULL) {
        redis->first = pending;
    } else {
        redis->last->next = pending;
    }
    redis->last = pending;
    redis->pending_count++;
}

static struct redis_pending *pending_pop(struct redis *redis)
{
    struct redis_pending *pending = redis->first;

    if (pending != NULL) {
        redis->first = pending->next;
        redis->last = redis->first == NULL ? NULL : redis->last;
        redis->pending_count--;
    }
    return pending;
}

static void answer(struct redis_pending *pending, const redisReply *reply, const struct err *err)
{
    pending->done(pending->arg, reply, err);
    pending_free(pending);
}

/* --- the end of a connection -------------------------------------------------------------------------------------- */

static void close_connection(struct redis *redis)
{
    loop_timer_cancel(redis->deadline);
    redis->unsent = NULL; /* nobody sends them any more */
    redis->flight_count = 0;
    redis->flight_bytes = 0;
    loop_fd_free(redis->watch);
    redis->watch = NULL;
    if (redis->context != NULL) {
        redisFree(redis->context); /* the SSL and the socket with it */
    }
    redis->context = NULL;
    redis->ssl = NULL;
    redis->phase = PHASE_WAITING;
}

static void release(struct redis *redis);

/* Behind callbacks: false = one of them freed us. */
static bool leave(struct redis *redis)
{
    redis->busy = false;
    if (redis->freed) {
        release(redis);
        return false;
    }
    return true;
}

/* The last thing that is done with `redis` in a turn. */
static void tell(struct redis *redis, enum redis_state state, const struct err *why)
{
    if (!redis->told_once || redis->told != state) {
        redis->told_once = true;
        redis->told = state;
        redis->changed(redis->arg, state, why);
    }
}

static void connect_next(struct redis *redis);

/* The connection is over; what was asked on it is answered, and it is tried again later. Nothing may touch `redis`
 * behind this: a callback may have freed it. */
static void drop(struct redis *redis, const char *reason)
{
    struct err err = {0};
    bool try_next = redis->phase == PHASE_CONNECT && redis->next_address != NULL;

    snprintf(redis->last_error, sizeof(redis->last_error), "%s",
             reason); /* `reason` may be the context's */
    close_connection(redis);
    if (try_next) {
        connect_next(redis);
        return;
    }
    loop_timer_set(redis->reconnect, backoff_next_ms(&redis->backoff));
    away(redis, &err, redis->last_error);
    err_hint(&err, "%s", redis->hint);
    redis->hint[0] = '\0';
    redis->busy = true;
    while (redis->first != NULL) {
        answer(pending_pop(redis), NULL, &err);
    }
    if (!leave(redis)) {
        return;
    }
    if (redis->refusing && strcmp(redis->refused, redis->last_error) != 0) {
        snprintf(redis->refused, sizeof(redis->refused), "%s", redis->last_error);
        redis->told_once = false;
    }
    redis->refusing = false;
    tell(redis, REDIS_AWAY, &err);
}

static bool is_readable(const struct redis *redis)
{
    struct pollfd look = {.fd = redis->context->fd, .events = POLLIN};
    return poll(&look, 1, 0) == 1;
}

static void deadline_passed(void *arg)
{
    struct redis *redis = arg;
    char reason[REASON_BYTES];
    const char *missed = redis->phase == PHASE_CONNECT ? "connection"
                         : redis->phase == PHASE_TLS   ? "TLS handshake"
                                                       : "answer";
    int64_t left_ms = 0;

    if (redis->phase == PHASE_READY) {
        if (redis->first == NULL) {
            return; /* the next call sets it again */
        }
        left_ms = redis->first->sent_ms + redis->timeout_ms - loop_now_ms(redis->loop);
    }
    if (left_ms > 0) {
        loop_timer_set(redis->deadline, left_ms);
        return;
    }
    if (redis->phase == PHASE_READY && !redis->late && is_readable(redis)) {
        redis->late = true; /* read first, in the next turn */
        loop_timer_set(redis->deadline, 0);
        return;
    }
    snprintf(reason, sizeof(reason), "no %s within %d ms", missed, redis->timeout_ms);
    drop(redis, reason);
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void flush(struct redis *redis)
{
    int done = 0;

    if (redisBufferWrite(redis->context, &done) != REDIS_OK) {
        drop(redis, redis->context->errstr);
        return;
    }
    loop_fd_interest(redis->watch, LOOP_READ | (done ? 0 : LOOP_WRITE));
}

/* Into the buffer; the loop's next turn sends all that came together. */
static void append(struct redis *redis, int argc, const char **argv, const size_t *argv_len)
{
    if (redisAppendCommandArgv(redis->context, argc, argv, argv_len) != REDIS_OK) {
        abort(); /* out of memory is all that can fail */
    }
    loop_fd_interest(redis->watch, LOOP_READ | LOOP_WRITE);
}

static bool has_room(const struct redis *redis)
{
    return redis->flight_count < REDIS_FLIGHT_MAX && redis->flight_bytes < REDIS_FLIGHT_BYTES_MAX;
}

static void note_sent(struct redis *redis, struct redis_pending *pending)
{
    pending->sent_ms = loop_now_ms(redis->loop);
    redis->flight_count++;
    redis->flight_bytes += pending->bytes;
    if (!loop_timer_pending(redis->deadline)) {
        loop_timer_set(redis->deadline, redis->timeout_ms);
    }
}

static void send_waiting(struct redis *redis)
{
    struct redis_pending *pending;

    while ((pending = redis->unsent) != NULL && has_room(redis)) {
        if (redisAppendFormattedCommand(redis->context, pending->unsent, pending->bytes) !=
            REDIS_OK) {
            abort();
        }
        redisFreeCommand(pending->unsent);
        pending->unsent = NULL;
        redis->unsent = pending->next;
        note_sent(redis, pending);
        loop_fd_interest(redis->watch, LOOP_READ | LOOP_WRITE);
    }
}

static void send_pending(struct redis *redis, struct redis_pending *pending, int argc,
                         const char **argv, const size_t *argv_len)
{
    struct err err = {0};

    if (redis->phase != PHASE_READY) {
        away(redis, &err, redis->last_error[0] != '\0' ? redis->last_error : "not connected yet");
    } else if (redis->pending_count >= REDIS_PENDING_MAX) {
        away(redis, &err, "too many calls in flight");
    }
    if (err.kind != ERR_NONE) {
        answer(pending, NULL, &err);
        return;
    }
    long long len = redisFormatCommandArgv(&pending->unsent, argc, argv, argv_len);
    if (len < 0) {
        abort();
    }
    pending->bytes = (size_t)len;
    pending_push(redis, pending);
    if (redis->unsent == NULL) {
        redis->unsent = pending;
    }
    send_waiting(redis);
}

static struct redis_pending *pending_new(redis_reply_fn *done, void *arg)
{
    struct redis_pending *pending = must(calloc(1, sizeof(*pending)));

    pending->done = done;
    pending->arg = arg;
    return pending;
}

void redis_call(struct redis *redis, int argc, const char **argv, const size_t *argv_len,
                redis_reply_fn *done, void *arg)
{
    send_pending(redis, pending_new(done, arg), argc, argv, argv_len);
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

/* Keys and arguments, in case that Redis does not know the script. */
static void pending_keep(struct redis_pending *pending, const char *script, int argc,
                         const char **argv, const size_t *argv_len)
{
    pending->script = script;
    pending->argv = must(calloc((size_t)argc, sizeof(char *)));
    pending->argv_len = must(calloc((size_t)argc, sizeof(size_t)));
    for (; pending->argc < argc; pending->argc++) {
        size_t len = argv_len[pending->argc];
        char *copy = must(malloc(len + 1));
        memcpy(copy, argv[pending->argc], len);
        copy[len] = '\0';
        pending->argv[pending->argc] = copy;
        pending->argv_len[pending->argc] = len;
    }
}

void redis_call_script(struct redis *redis, struct redis_script *script, int keys_count, int argc,
                       const char **argv, const size_t *argv_len, redis_reply_fn *done, void *arg)
{
    char keys[16];
    const char **all;
    size_t *lens;
    struct redis_pending *pending = pending_new(done, arg);

    snprintf(keys, sizeof(keys), "%d", keys_count);
    redis_script_argv("EVALSHA", script_sha(script), keys, argc, argv, argv_len, &all, &lens);
    pending_keep(pending, script->text, argc + 3, all, lens);
    send_pending(redis, pending, argc + 3, all, lens);
    free(all);
    free(lens);
}

/* The same call with the whole script; its place in the order is a new one. */
static void send_whole(struct redis *redis, struct redis_pending *pending)
{
    char **argv = pending->argv;

    free(argv[0]);
    free(argv[1]);
    argv[0] = must(strdup("EVAL"));
    argv[1] = must(strdup(pending->script));
    pending->argv_len[0] = strlen(argv[0]);
    pending->argv_len[1] = strlen(argv[1]);
    pending->script = NULL;
    /* hiredis does not write to them */
    send_pending(redis, pending, pending->argc, (const char **)(uintptr_t)argv, pending->argv_len);
}

/* --- greeting ----------------------------------------------------------------------------------------------------- */

static void wipe(char *text)
{
    if (text != NULL) {
        OPENSSL_cleanse(text, strlen(text));
        free(text);
    }
}

static bool find_password(struct redis *redis, struct err *err)
{
    if (redis->read_password == NULL) {
        return true;
    }
    wipe(redis->password);
    redis->password = redis->read_password(redis->password_arg, err);
    return redis->password != NULL;
}

static void greet(struct redis *redis)
{
    char database[16];
    struct err err;
    if (!find_password(redis, &err)) {
        drop(redis, err.what);
        return;
    }
    const char *named[] = {"AUTH", redis->username, redis->password};
    const char *unnamed[] = {"AUTH", redis->password};
    const char *select[] = {"SELECT", database};

    redis->phase = PHASE_GREET;
    redis->greetings_left = redis->password != NULL ? 2 : 1;
    if (redis->password != NULL && redis->username != NULL) {
        append(redis, 3, named, NULL);
    } else if (redis->password != NULL) {
        append(redis, 2, unnamed, NULL);
    }
    snprintf(database, sizeof(database), "%d", redis->address.database);
    append(redis, 2, select, NULL);
}

static const char *greeted(struct redis *redis, const redisReply *reply, char why[REASON_BYTES])
{
    if (reply->type == REDIS_REPLY_ERROR) {
        struct err said = {0};
        redis_reply_error(reply, &said);
        memcpy(redis->hint, said.hint, sizeof(redis->hint));
        snprintf(why, REASON_BYTES, "%.200s", reply->str);
        redis->refusing = true;
        return why;
    }
    if (--redis->greetings_left == 0) {
        redis->phase = PHASE_READY;
        redis->last_error[0] = redis->refused[0] = '\0';
        backoff_reset(&redis->backoff);
        loop_timer_cancel(redis->deadline);
    }
    return NULL;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static void answered(struct redis *redis, const redisReply *reply)
{
    struct err err = {0};
    struct redis_pending *pending = pending_pop(redis);

    redis->flight_count--;
    redis->flight_bytes -= pending->bytes;
    redis->late = false;
    if (reply->type != REDIS_REPLY_ERROR) {
        answer(pending, reply, NULL);
    } else if (pending->script != NULL && redis_reply_is(reply, "NOSCRIPT")) {
        send_whole(redis, pending);
    } else {
        redis_reply_error(reply, &err);
        answer(pending, NULL, &err);
    }
}

/* One reply that is whole; NULL, or why the connection must end. */
static const char *take_reply(struct redis *redis, const redisReply *reply, char why[REASON_BYTES])
{
    if (redis->phase == PHASE_GREET) {
        return greeted(redis, reply, why);
    }
    if (redis->flight_count == 0) {
        return "an answer that nobody asked for";
    }
    answered(redis, reply);
    return NULL;
}

static void take_replies(struct redis *redis)
{
    char why[REASON_BYTES];
    const char *bad = NULL;
    bool was_ready = redis->phase == PHASE_READY;
    void *reply = NULL;

    redis->busy = true;
    while (bad == NULL && !redis->freed) {
        if (redisGetReplyFromReader(redis->context, &reply) != REDIS_OK) {
            bad = redis->context->errstr;
        } else if (reply == NULL) {
            break;
        } else {
            bad = take_reply(redis, reply, why);
            freeReplyObject(reply);
            if (!redis->freed) {
                redis->reply_bytes = redis_unread(redis->context);
            }
        }
    }
    if (!leave(redis)) {
        return;
    }
    assert(redis->context != NULL); /* only redis_free() closes it below callbacks */
    if (bad == NULL && redis->reply_bytes > REDIS_REPLY_BYTES_MAX) {
        bad = REDIS_TOO_LARGE;
    }
    if (bad != NULL) {
        drop(redis, bad);
        return;
    }
    send_waiting(redis);
    if (!was_ready && redis->phase == PHASE_READY) {
        tell(redis, REDIS_READY, NULL);
    }
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

static void shake_hands(struct redis *redis)
{
    int rc = SSL_do_handshake(redis->ssl);
    int error = SSL_get_error(redis->ssl, rc);

    if (rc == 1) {
        greet(redis);
    } else if (error == SSL_ERROR_WANT_READ) {
        loop_fd_interest(redis->watch, LOOP_READ);
    } else if (error == SSL_ERROR_WANT_WRITE) {
        loop_fd_interest(redis->watch, LOOP_WRITE);
    } else {
        char why[REASON_BYTES];
        redis_tls_reason(redis->ssl, why, sizeof(why));
        redis->refusing = true;
        drop(redis, why);
    }
}

static void connected(struct redis *redis)
{
    int error = 0;
    socklen_t len = sizeof(error);

    getsockopt(redis->context->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        drop(redis, strerror(error));
        return;
    }
    if (!redis->address.tls) {
        greet(redis);
        return;
    }
    struct err err;
    SSL_CTX *tls = redis_tls_new(redis->ca_file, &err);
    if (tls == NULL) {
        drop(redis, err.what);
        return;
    }
    redis->ssl = redis_tls_begin(redis->context, tls, &redis->address);
    SSL_CTX_free(tls); /* the session's now */
    if (redis->ssl == NULL) {
        drop(redis, redis->context->errstr);
        return;
    }
    redis->phase = PHASE_TLS;
    shake_hands(redis);
}

static void talk(struct redis *redis, int what)
{
    if ((what & LOOP_READ) == 0) {
        flush(redis);
        return;
    }
    size_t before = redis->context->reader->len;
    if (redisBufferRead(redis->context) != REDIS_OK) {
        drop(redis, redis->context->errstr);
        return;
    }
    redis->reply_bytes += redis->context->reader->len - before;
    take_replies(redis); /* a write that is due comes next turn */
}

static void socket_ready(void *arg, int what)
{
    struct redis *redis = arg;

    switch (redis->phase) {
    case PHASE_CONNECT:
        connected(redis);
        break;
    case PHASE_TLS:
        shake_hands(redis);
        break;
    case PHASE_GREET:
    case PHASE_READY:
        talk(redis, what);
        break;
    case PHASE_WAITING:
    case PHASE_LOOKUP:
        assert(false); /* nothing is watched */
    }
}

static int open_socket(const struct addrinfo *address)
{
    int one = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Connect to the next address of the last lookup. */
static void connect_next(struct redis *redis)
{
    const struct addrinfo *address = redis->next_address;
    redisOptions how = {.type = REDIS_CONN_USERFD, .options = REDIS_OPT_NONBLOCK};

    redis->phase = PHASE_CONNECT;
    redis->next_address = address->ai_next;
    how.endpoint.fd = open_socket(address);
    if (how.endpoint.fd < 0) {
        drop(redis, strerror(errno));
        return;
    }
    redis->context = must(redisConnectWithOptions(&how));
    redis->context->reader->maxelements = REDIS_ELEMENTS_MAX;
    redis->reply_bytes = 0;
    redis->watch = loop_fd_new(redis->loop, redis->context->fd, LOOP_WRITE, socket_ready, redis);
    loop_timer_set(redis->deadline, redis->timeout_ms);
}

static void looked_up(void *arg, struct addrinfo *addresses, const struct err *err)
{
    struct redis *redis = arg;

    lookup_free(redis->lookup);
    redis->lookup = NULL;
    if (redis->addresses != NULL) {
        freeaddrinfo(redis->addresses);
    }
    redis->addresses = redis->next_address = addresses;
    if (addresses == NULL) {
        drop(redis, err->what);
    } else {
        connect_next(redis);
    }
}

static void connect_again(void *arg)
{
    struct redis *redis = arg;

    redis->phase = PHASE_LOOKUP;
    redis->lookup = lookup_new(redis->loop, redis->address.host, redis->address.port, AF_UNSPEC,
                               looked_up, redis);
    if (redis->lookup == NULL) {
        drop(redis, "out of file descriptors");
    }
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct redis *redis_new(struct loop *loop, const struct redis_options *options,
                        void (*changed)(void *arg, enum redis_state state, const struct err *why),
                        void *arg, struct err *err)
{
    struct redis_address address;

    assert(options->timeout_ms > 0);
    if (!redis_address_parse(options->url, &address, err)) {
        return NULL;
    }
    if (address.tls) { /* what cannot be read now is said now */
        SSL_CTX *tls = redis_tls_new(options->ca_file, err);
        if (tls == NULL) {
            return NULL;
        }
        SSL_CTX_free(tls);
    }
    struct redis *redis = must(calloc(1, sizeof(*redis)));
    redis->loop = loop;
    redis->address = address;
    redis->ca_file = must_copy(options->ca_file);
    redis->username = must_copy(options->username);
    redis->password = must_copy(options->password);
    redis->read_password = options->read_password;
    redis->password_arg = options->password_arg;
    redis->timeout_ms = options->timeout_ms;
    redis->changed = changed;
    redis->arg = arg;
    backoff_init(&redis->backoff, RECONNECT_FIRST_MS, RECONNECT_CAP_MS, (uint32_t)address.port);
    redis->reconnect = loop_timer_new(loop, connect_again, redis);
    redis->deadline = loop_timer_new(loop, deadline_passed, redis);
    loop_timer_set(redis->reconnect, 0); /* from the loop: `changed` never comes before we return */
    return redis;
}

static void release(struct redis *redis)
{
    loop_timer_free(redis->reconnect);
    loop_timer_free(redis->deadline);
    lookup_free(redis->lookup);
    if (redis->addresses != NULL) {
        freeaddrinfo(redis->addresses);
    }
    free(redis->ca_file);
    free(redis->username);
    wipe(redis->password);
    free(redis);
}

void redis_free(struct redis *redis)
{
    struct err err = {0};

    if (redis == NULL) {
        return;
    }
    assert(!redis->freed);
    redis->freed = true;
    close_connection(redis);
    away(redis, &err, "closed by us");
    snprintf(redis->last_error, sizeof(redis->last_error), "closed by us");
    while (redis->first != NULL) {
        answer(pending_pop(redis), NULL, &err);
    }
    loop_timer_cancel(redis->reconnect);
    if (!redis->busy) {
        release(redis);
    }
}

enum redis_state redis_state(const struct redis *redis)
{
    return redis->phase == PHASE_READY ? REDIS_READY : REDIS_AWAY;
}

const char *redis_last_error(const struct redis *redis)
{
    return redis->last_error;
}
