#include "kafka/client.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/evp.h>

#include "base/backoff.h"
#include "base/heap.h"
#include "base/log.h"
#include "kafka/admin.h"
#include "kafka/oidc.h"
#include "kafka/sign_in.h"
#include "kafka/tls.h"

/* Before, a topic that is deleted and created again makes it free memory twice: docs/adr/0007-librdkafka-2.11.md. */
_Static_assert(RD_KAFKA_VERSION >= 0x020b0000, "librdkafka 2.11 or newer is needed: make setup");

#define LAST_ERROR_BYTES 256
#define LOOK_MS          1000 /* at the files of a site's secrets and certificates */
#define DIGEST_BYTES     32   /* SHA-256 */
/* A broker that is tried again and again: an attempt takes 0.4 ms of CPU, 4 a second are nothing, and one that is back
 * waits for us no longer. */
#define CONNECT_FIRST_MS 50
#define CONNECT_CAP_MS   250

/* Outlives the struct client while librdkafka ends: its threads log until the last moment. */
struct handle {
    rd_kafka_t *rk;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    char last_error[LAST_ERROR_BYTES];
    bool ending;
    bool ended;
    bool abandoned; /* nobody waits any more: who ends it frees it */
};

struct client {
    struct handle *handle;
    const struct config_client *settings;
    uint8_t password[DIGEST_BYTES]; /* its digest, as librdkafka has it */
    uint8_t material[TLS_MATERIAL_BYTES];
    int64_t password_ms; /* looked at */
    int64_t material_ms;
    bool old;
    struct oidc *oidc; /* signs in by OAUTHBEARER; else NULL */
    uint64_t token;    /* which of its tokens was given last */
};

/* ---- what librdkafka says ---- */

/* Its lines go to our debug log; owners hear of trouble through errors and tell it once. The newest error is kept, because
 * "timed out" alone helps nobody. */
static void log_line(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    struct handle *handle = rd_kafka_opaque(rk);
    bool is_error = level <= 4; /* LOG_WARNING of syslog */
    if (handle && is_error && strcmp(facility, "FAIL") == 0) {
        pthread_mutex_lock(&handle->mutex);
        snprintf(handle->last_error, sizeof(handle->last_error), "%s", text);
        pthread_mutex_unlock(&handle->mutex);
    }
    log_debug("librdkafka.line", "level=%d facility=%s text=%s", level, facility,
              log_quote(text).text);
}

/* ---- how often it connects ---- */

static struct timespec after_ms(int32_t wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

/* The end of the handle ends the wait. */
static void wait_unless_ending(struct handle *handle, int32_t wait_ms)
{
    struct timespec until = after_ms(wait_ms);
    int rc = 0;
    pthread_mutex_lock(&handle->mutex);
    while (!handle->ending && rc == 0) {
        rc = pthread_cond_timedwait(&handle->changed, &handle->mutex, &until);
    }
    pthread_mutex_unlock(&handle->mutex);
}

/* librdkafka (2.14) forgets its own back-off while a call waits for one broker: each attempt that fails wakes the call
 * (rd_kafka_broker_controller_async()), which asks for the next one "now". A broker that refuses connections costs a core
 * then, for as long as the call may take. Here each broker's thread waits before it makes a socket; it has no other work
 * then, and holds no lock. */
static int paced_socket(int domain, int type, int protocol, void *opaque)
{
    static _Thread_local struct backoff backoff; /* a thread serves one broker of one handle */
    static _Thread_local int64_t due_ms;
    int64_t now_ms = client_now_ms();
    if (now_ms >= due_ms + CONNECT_CAP_MS) { /* the first, or the last one has worked */
        backoff_init(&backoff, CONNECT_FIRST_MS, CONNECT_CAP_MS, (uint32_t)now_ms);
    } else if (now_ms < due_ms) {
        wait_unless_ending(opaque, (int32_t)(due_ms - now_ms));
    }
    due_ms = client_now_ms() + backoff_next_ms(&backoff);
    return socket(domain, type | SOCK_CLOEXEC, protocol);
}

/* ---- life ---- */

static void handle_free(struct handle *handle)
{
    pthread_cond_destroy(&handle->changed);
    pthread_mutex_destroy(&handle->mutex);
    free(handle);
}

static struct handle *handle_new(void)
{
    struct handle *handle = must(calloc(1, sizeof(*handle)));
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&handle->mutex, NULL);
    pthread_cond_init(&handle->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return handle;
}

/* ---- what changes on disk ---- */

/* User and password as they are now, and the password's digest. false: not to be read. */
static bool read_sign_in(const struct config_client *settings, char **user, char **password,
                         uint8_t digest[DIGEST_BYTES])
{
    struct err err;
    *password = NULL;
    if (!config_client_read(settings, "sasl.username", user, &err)) {
        *user = NULL;
        return false;
    }
    if (!config_client_read(settings, "sasl.password", password, &err)) {
        *password = NULL;
        return false;
    }
    return *user && *password &&
           EVP_Digest(*password, strlen(*password), digest, NULL, EVP_sha256(), NULL) == 1;
}

static void note_files(struct client *client)
{
    char *user = NULL;
    char *password = NULL;
    client->password_ms = client->material_ms = client_now_ms();
    if (sign_in_wanted(client->settings) &&
        !read_sign_in(client->settings, &user, &password, client->password)) {
        memset(client->password, 0, sizeof(client->password)); /* seen at the next look */
    }
    config_secret_free(user);
    config_secret_free(password);
    if (tls_wanted(client->settings) && !tls_material(client->settings, client->material)) {
        memset(client->material, 0, sizeof(client->material));
    }
}

/* The callback of client_conf has brought it the first one. Brokers may have refused that, and it is ours to know. */
static void refresh_token(struct client *client)
{
    struct oidc_token token;
    if (!oidc_kept(client->oidc, &token)) {
        return;
    }
    if (token.serial != client->token) {
        client->token = token.serial;
        client_give_token(client->handle->rk, client->oidc, &token);
    }
    oidc_token_done(&token);
}

void client_refresh(struct client *client)
{
    uint8_t now[DIGEST_BYTES];
    char *user = NULL;
    char *password = NULL;
    if (!sign_in_wanted(client->settings) || client_now_ms() < client->password_ms + LOOK_MS) {
        return;
    }
    client->password_ms = client_now_ms();
    if (client->oidc != NULL) {
        refresh_token(client);
        return;
    }
    if (read_sign_in(client->settings, &user, &password, now) &&
        memcmp(now, client->password, sizeof(now)) != 0) {
        rd_kafka_error_t *error = rd_kafka_sasl_set_credentials(client->handle->rk, user, password);
        if (error) { /* none is known for the mechanisms that we take */
            rd_kafka_error_destroy(error);
        } else {
            memcpy(client->password, now, sizeof(now));
        }
    }
    config_secret_free(user);
    config_secret_free(password);
}

bool client_is_old(struct client *client)
{
    uint8_t now[TLS_MATERIAL_BYTES];
    if (client->old || !tls_wanted(client->settings) ||
        client_now_ms() < client->material_ms + LOOK_MS) {
        return client->old;
    }
    client->material_ms = client_now_ms();
    client->old =
        tls_material(client->settings, now) && memcmp(now, client->material, sizeof(now)) != 0;
    return client->old;
}

struct client *client_new(rd_kafka_type_t type, const struct config_client *settings,
                          const char *const *extra, int events, struct err *err)
{
    char why[512];
    struct client *client = must(calloc(1, sizeof(*client)));
    client->settings = settings;
    note_files(client); /* before librdkafka reads them: what changes meanwhile is seen */
    rd_kafka_conf_t *conf = client_conf_new(settings, extra, err);
    if (!conf) {
        free(client);
        return NULL;
    }
    struct handle *handle = handle_new();
    rd_kafka_conf_set_opaque(conf, handle);
    rd_kafka_conf_set_log_cb(conf, log_line);
    rd_kafka_conf_set_socket_cb(conf, paced_socket);
    rd_kafka_conf_set_events(conf, events);
    handle->rk = rd_kafka_new(type, conf, why, sizeof(why));
    if (!handle->rk) {
        rd_kafka_conf_destroy(conf);
        handle_free(handle);
        free(client);
        /* Combinations of properties are checked here, threads are started here. */
        err_set(err, errno == EAGAIN ? ERR_RETRY : ERR_CONFIG, "kafka client: %s", why);
        return NULL;
    }
    client_conf_used(handle->rk);
    client->handle = handle;
    client->oidc = oidc_of(settings);
    return client;
}

static void destroy(struct handle *handle)
{
    rd_kafka_destroy_flags(handle->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

static void *end_handle(void *arg)
{
    struct handle *handle = arg;
    destroy(handle);
    pthread_mutex_lock(&handle->mutex);
    handle->ended = true;
    bool abandoned = handle->abandoned;
    pthread_cond_broadcast(&handle->changed);
    pthread_mutex_unlock(&handle->mutex);
    if (abandoned) {
        handle_free(handle);
    }
    return NULL;
}

static void stop_waiting(struct handle *handle)
{
    pthread_mutex_lock(&handle->mutex);
    handle->ending = true;
    pthread_cond_broadcast(&handle->changed);
    pthread_mutex_unlock(&handle->mutex);
}

/* true: it has ended, the handle is ours again. */
static bool wait_ended(struct handle *handle, int32_t wait_ms)
{
    struct timespec until = after_ms(wait_ms);
    int rc = 0;
    pthread_mutex_lock(&handle->mutex);
    while (!handle->ended && rc == 0) {
        rc = pthread_cond_timedwait(&handle->changed, &handle->mutex, &until);
    }
    bool ended = handle->ended;
    handle->abandoned = !ended;
    pthread_mutex_unlock(&handle->mutex);
    return ended;
}

void client_free(struct client *client, int32_t wait_ms)
{
    pthread_t thread;
    if (!client) {
        return;
    }
    struct handle *handle = client->handle;
    free(client);
    stop_waiting(handle);
    if (pthread_create(&thread, NULL, end_handle, handle) != 0) {
        destroy(handle); /* no thread to be had: then it takes what it takes */
        handle_free(handle);
        return;
    }
    if (wait_ended(handle, wait_ms)) {
        pthread_join(thread, NULL); /* behind its last lock: at once */
        handle_free(handle);
    } else {
        log_warn("client.end_slow", "waited_ms=%d doing=\"it ends in the background\"", wait_ms);
        pthread_detach(thread);
    }
}

rd_kafka_t *client_handle(const struct client *client)
{
    return client->handle->rk;
}

void client_drop_events(struct client *client)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(client->handle->rk);
    rd_kafka_event_t *event;
    while ((event = rd_kafka_queue_poll(queue, 0)) != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
}

/* ---- errors ---- */

static bool is_unreachable(int code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
        return true;
    default:
        return false;
    }
}

static bool is_passing(int code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__RETRY:
    case RD_KAFKA_RESP_ERR__IN_PROGRESS:
    case RD_KAFKA_RESP_ERR__DESTROY:
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
    case RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST:
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_OR_FOLLOWER:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
    case RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_PREFERRED_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED:
        return true;
    default:
        return false;
    }
}

enum err_kind client_err_kind(int code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
        return ERR_FATAL;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION: /* a password that was changed may be put right */
        return ERR_RETRY;
    default:
        return is_unreachable(code) || is_passing(code) ? ERR_RETRY : ERR_REFUSED;
    }
}

static void add_last(struct err *err, const char *text)
{
    size_t len = strlen(err->what);
    snprintf(err->what + len, sizeof(err->what) - len, " (last: %s)", text);
}

/* Without a token no connection is tried. */
static void add_last_error(struct client *client, struct err *err)
{
    struct err why;
    if (client->oidc != NULL && oidc_failed(client->oidc, &why)) {
        add_last(err, why.what);
        snprintf(err->hint, sizeof(err->hint), "%s", why.hint);
        return;
    }
    pthread_mutex_lock(&client->handle->mutex);
    if (client->handle->last_error[0] != '\0') {
        add_last(err, client->handle->last_error);
    }
    pthread_mutex_unlock(&client->handle->mutex);
}

bool client_is_refused(const struct client *client, const char *text)
{
    static const char no_token[] = "Failed to acquire SASL OAUTHBEARER token";
    struct err why;
    if (text == NULL || strncmp(text, no_token, sizeof(no_token) - 1) != 0) {
        return true;
    }
    return client->oidc != NULL && oidc_failed(client->oidc, &why) && why.kind != ERR_RETRY;
}

static void hint_for(const struct client *client, int code, struct err *err)
{
    char principal[ACL_PRINCIPAL_BYTES];
    switch (code) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        err_hint(err, ACL_HINT);
        break;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
        if (acl_principal(client->settings, principal)) {
            err_hint(err, "check the credentials of %.200s in the configuration", principal);
        } else {
            err_hint(err, "check what the site signs in with: docs/faults.md#sign-in");
        }
        break;
    default:
        break;
    }
}

bool client_err(struct client *client, struct err *err, int code, const char *format, ...)
{
    char what[ERR_WHAT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    err_set_code(err, client_err_kind(code), code, "%s", what);
    if (err) {
        hint_for(client, code, err);
        if (is_unreachable(code)) {
            add_last_error(client, err);
        }
    }
    return false;
}

const char *client_why(const struct client *client, int code, const char *text,
                       enum acl_operation operation, enum acl_resource resource, const char *name,
                       char out[ACL_LACKS_BYTES])
{
    if (acl_refusal(code)) {
        char principal[ACL_PRINCIPAL_BYTES];
        acl_principal(client->settings, principal);
        return acl_lacks(principal, operation, resource, name, out);
    }
    return text ? text : rd_kafka_err2str(code);
}

int64_t client_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
