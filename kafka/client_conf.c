/* See client_conf_new() in admin.h: a site's settings as a librdkafka configuration. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <librdkafka/rdkafka.h>

#include "base/heap.h"
#include "kafka/admin.h"
#include "kafka/client.h"
#include "kafka/oidc.h"

/* What differs from librdkafka's defaults, all for the same reason: nobody may wait seconds for what takes a round trip.
 * A site's own settings win over these. */
/* clang-format off */
static const char *const defaults[] = {
    "client.id", "ferry",
    /* A broker that restarts is back after 1.5 s or more: asked again 50, 100, ... 1000 ms later. */
    "reconnect.backoff.ms", "50",
    "reconnect.backoff.max.ms", "1000",
    "retry.backoff.ms", "50",
    "retry.backoff.max.ms", "500",
    /* The farthest regions are 300 ms apart: TCP, TLS and SASL take 6 round trips. */
    "socket.connection.setup.timeout.ms", "5000",
    "socket.timeout.ms", "10000",
    "socket.nagle.disable", "true",
    "socket.keepalive.enable", "true",
    "topic.metadata.refresh.fast.interval.ms", "50",
    /* Whom it takes for the controller may hang: every answer names another one (KRaft). */
    "topic.metadata.refresh.interval.ms", "2000",
    /* A handle that has asked for its subscription to push metrics (KIP-714) takes a second to end. */
    "enable.metrics.push", "false",
    /* An idle connection that the broker closed is no event. */
    "log.connection.close", "false",
    "log.thread.name", "false",
    /* No kinit: tickets come from the keytab by Kerberos' own library (kafka/gssapi.h). */
    "sasl.kerberos.min.time.before.relogin", "0",
    NULL};
/* clang-format on */

/* --- tokens ------------------------------------------------------------------------------------------------------ */

/* librdkafka gets tokens, never the way to them: one question serves all. */
static bool is_ours(const char *name)
{
    return strncmp(name, "sasl.oauthbearer.", 17) == 0 || strcmp(name, "https.ca.location") == 0;
}

#define EXTENSIONS_MAX 32 /* keys and values */

/* "a=b,c=d" to a, b, c, d, in place. */
static size_t split(char *text, const char *out[EXTENSIONS_MAX])
{
    size_t count = 0;
    for (char *at = text; at != NULL && *at != '\0' && count + 2 <= EXTENSIONS_MAX;) {
        char *value = at + strcspn(at, "=");
        char *next = strchr(at, ',');
        out[count++] = at;
        out[count++] = *value == '\0' ? value : value + 1;
        *value = '\0';
        if (next != NULL) {
            *next++ = '\0';
        }
        at = next;
    }
    return count;
}

void client_give_token(rd_kafka_t *rk, const struct oidc *oidc, const struct oidc_token *token)
{
    char why[512];
    const char *pairs[EXTENSIONS_MAX];
    char *text = must_copy(oidc_extensions(oidc));
    size_t count = split(text, pairs);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t ends_ms = (int64_t)now.tv_sec * 1000 + token->lasts_ms;
    if (rd_kafka_oauthbearer_set_token(rk, token->text, ends_ms, token->name, pairs, count, why,
                                       sizeof(why)) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_oauthbearer_set_token_failure(rk, why);
    }
    free(text);
}

/* In a thread of librdkafka's that has nothing else to do: it may block. */
static void token_wanted(rd_kafka_t *rk, const char *config, void *opaque)
{
    struct oidc *oidc = oidc_numbered(atoi(config));
    struct oidc_token token;
    struct err err;
    (void)opaque;
    if (oidc_token(oidc, &token, &err)) {
        client_give_token(rk, oidc, &token);
        oidc_token_done(&token);
    } else {
        rd_kafka_oauthbearer_set_token_failure(rk, err.what);
    }
}

void client_conf_used(void *handle)
{
    rd_kafka_error_t *error = rd_kafka_sasl_background_callbacks_enable(handle);
    if (error != NULL) { /* it signs in otherwise */
        rd_kafka_error_destroy(error);
    }
}

/* --- properties -------------------------------------------------------------------------------------------------- */

/* The value may be a secret: then librdkafka's text, which may quote it, is not passed on. */
static bool set(rd_kafka_conf_t *conf, const char *name, const char *value, bool secret,
                struct err *err)
{
    char why[512];
    switch (rd_kafka_conf_set(conf, name, value, why, sizeof(why))) {
    case RD_KAFKA_CONF_OK:
        return true;
    case RD_KAFKA_CONF_UNKNOWN:
        return err_set(err, ERR_CONFIG, "kafka property '%s' is unknown to this librdkafka (%s)",
                       name, rd_kafka_version_str());
    case RD_KAFKA_CONF_INVALID:
        break;
    }
    return err_set(err, ERR_CONFIG, "kafka property '%s' is refused%s%s", name, secret ? "" : ": ",
                   secret ? "" : why);
}

static bool set_pairs(rd_kafka_conf_t *conf, const char *const *pairs, struct err *err)
{
    for (; pairs && pairs[0]; pairs += 2) {
        if (!set(conf, pairs[0], pairs[1], false, err)) {
            return false;
        }
    }
    return true;
}

static bool set_secrets(rd_kafka_conf_t *conf, const struct config_client *client, struct err *err)
{
    for (size_t i = 0; i < client->secrets_count; i++) {
        const struct config_secret *secret = &client->secrets[i];
        if (is_ours(secret->name)) {
            continue;
        }
        char *value = config_secret_read(secret, err);
        if (!value) {
            return err_wrap(err, "secret '%s'", secret->name);
        }
        bool ok = set(conf, secret->name, value, true, err);
        config_secret_free(value);
        if (!ok) {
            return false;
        }
    }
    return true;
}

static bool set_properties(rd_kafka_conf_t *conf, const struct config_client *client,
                           struct err *err)
{
    for (size_t i = 0; i < client->properties_count; i++) {
        const struct config_property *property = &client->properties[i];
        if (!is_ours(property->name) && !set(conf, property->name, property->value, false, err)) {
            return false;
        }
    }
    return true;
}

/* Two defaults of which the site may name one: the other gives way, librdkafka refuses a first wait above the last. */
static bool set_backoff(rd_kafka_conf_t *conf, const struct config_client *client,
                        const char *first_name, int first_ms, const char *last_name, int last_ms,
                        struct err *err)
{
    const char *first = config_client_get(client, first_name);
    const char *last = config_client_get(client, last_name);
    char text[16];
    if (first != NULL && last == NULL) {
        int given_ms = atoi(first);
        snprintf(text, sizeof(text), "%d", given_ms > last_ms ? given_ms : last_ms);
        return set(conf, last_name, text, false, err);
    }
    if (first == NULL && last != NULL) {
        int given_ms = atoi(last);
        snprintf(text, sizeof(text), "%d", given_ms < first_ms ? given_ms : first_ms);
        return set(conf, first_name, text, false, err);
    }
    return true;
}

static bool set_backoffs(rd_kafka_conf_t *conf, const struct config_client *client, struct err *err)
{
    return set_backoff(conf, client, "reconnect.backoff.ms", 50, "reconnect.backoff.max.ms", 1000,
                       err) &&
           set_backoff(conf, client, "retry.backoff.ms", 50, "retry.backoff.max.ms", 500, err);
}

static bool set_tokens(rd_kafka_conf_t *conf, const struct config_client *client, struct err *err)
{
    const struct oidc *oidc = oidc_of(client);
    char number[16];
    if (oidc == NULL) {
        return true;
    }
    rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, token_wanted);
    rd_kafka_conf_enable_sasl_queue(conf, 1);
    snprintf(number, sizeof(number), "%d", oidc_number(oidc));
    return set(conf, "sasl.oauthbearer.config", number, false, err);
}

void *client_conf_new(const struct config_client *client, const char *const *extra, struct err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (set_pairs(conf, defaults, err) && set_properties(conf, client, err) &&
        set_backoffs(conf, client, err) && set_secrets(conf, client, err) &&
        set_tokens(conf, client, err) && set_pairs(conf, extra, err)) {
        return conf;
    }
    rd_kafka_conf_destroy(conf);
    return NULL;
}
