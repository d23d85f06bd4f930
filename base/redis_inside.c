#include "base/redis_inside.h"

#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/tls_peer.h"

/* --- the address -------------------------------------------------------------------------------------------------- */

static bool number_of(const char *text, int most, int *out)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value > most) {
        return false;
    }
    *out = (int)value;
    return true;
}

/* Cut "[V6]:PORT" or "HOST:PORT" in place. */
static bool split_port(char *text, char **out_host, char **out_port)
{
    char *colon = strrchr(text, ':');

    *out_host = text;
    if (text[0] == '[') {
        char *close = strchr(text, ']');
        if (close == NULL || (close[1] != '\0' && close[1] != ':')) {
            return false;
        }
        *close = '\0';
        *out_host = text + 1;
        colon = close[1] == ':' ? close + 1 : NULL;
    }
    if (colon != NULL) {
        *colon = '\0';
    }
    *out_port = colon == NULL ? NULL : colon + 1;
    return true;
}

static bool address_split(char *rest, struct redis_address *out)
{
    char *host = NULL;
    char *port = NULL;
    char *slash = strchr(rest, '/');

    if (slash != NULL) {
        *slash = '\0';
        if (slash[1] != '\0' && !number_of(slash + 1, 1 << 20, &out->database)) {
            return false;
        }
    }
    if (!split_port(rest, &host, &port) || (port != NULL && !number_of(port, 65535, &out->port))) {
        return false;
    }
    size_t len = strlen(host);
    if (len == 0 || len >= sizeof(out->host)) {
        return false;
    }
    memcpy(out->host, host, len + 1);
    return true;
}

bool redis_address_parse(const char *url, struct redis_address *out, struct err *err)
{
    char rest[REDIS_HOST_BYTES + 32];
    struct redis_address address = {.port = 6379};
    bool plain = strncmp(url, "redis://", 8) == 0;

    address.tls = strncmp(url, "rediss://", 9) == 0;
    if (strchr(url, '@') != NULL) { /* first: what follows may quote the URL */
        return err_set(err, ERR_CONFIG,
                       "a Redis URL holds no user or password: use username and password");
    }
    if (!plain && !address.tls) {
        return err_set(err, ERR_CONFIG, "'%.300s' is no redis:// or rediss:// URL", url);
    }
    int len = snprintf(rest, sizeof(rest), "%s", url + (plain ? 8 : 9));
    if ((size_t)len >= sizeof(rest) || !address_split(rest, &address)) {
        return err_set(err, ERR_CONFIG, "'%.300s' is not redis://HOST:PORT/DB", url);
    }
    *out = address;
    return true;
}

bool redis_url_ok(const char *url, struct err *err)
{
    struct redis_address address;

    return redis_address_parse(url, &address, err);
}

/* --- TLS ---------------------------------------------------------------------------------------------------------- */

/* OpenSSL's newest reason; its queue is empty afterwards. */
static const char *tls_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return reason == NULL ? "the connection was closed" : reason;
}

SSL_CTX *redis_tls_new(const char *ca_file, struct err *err)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

    if (tls == NULL) {
        abort();
    }
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    int ok = ca_file != NULL ? SSL_CTX_load_verify_file(tls, ca_file)
                             : SSL_CTX_set_default_verify_paths(tls);
    if (ok != 1) {
        err_set(err, ERR_CONFIG, "Redis TLS: certificates of %s: %s",
                ca_file == NULL ? "the system" : ca_file, tls_reason());
        SSL_CTX_free(tls);
        return NULL;
    }
    return tls;
}

SSL *redis_tls_begin(redisContext *context, SSL_CTX *tls, const struct redis_address *address)
{
    SSL *ssl = SSL_new(tls);

    if (ssl == NULL) {
        abort();
    }
    SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION); /* a write never has to wait for a read */
    /* hiredis's own way checks the chain but not whose certificate it is */
    bool ours =
        !tls_peer_expect(ssl, address->host, true) || redisInitiateSSL(context, ssl) != REDIS_OK;
    if (!ours) {
        return ssl;
    }
    char said[sizeof(context->errstr)];
    memcpy(said, context->errstr, sizeof(said));
    if (SSL_get_verify_result(ssl) != X509_V_OK) { /* says more than hiredis's text */
        redis_tls_reason(ssl, context->errstr, sizeof(context->errstr));
    } else { /* the server may be one without TLS: it can answer before we have looked */
        snprintf(context->errstr, sizeof(context->errstr), "TLS: %.100s", said);
    }
    SSL_free(ssl); /* hiredis did not take it */
    return NULL;
}

void redis_tls_reason(const SSL *ssl, char *out, size_t out_bytes)
{
    long verified = SSL_get_verify_result(ssl);

    snprintf(out, out_bytes, "TLS: %s",
             verified != X509_V_OK ? X509_verify_cert_error_string(verified) : tls_reason());
}

/* --- replies ------------------------------------------------------------------------------------------------------ */

bool redis_reply_is(const struct redisReply *reply, const char *prefix)
{
    return strncmp(reply->str, prefix, strlen(prefix)) == 0;
}

#define OF_CLUSTER                                                                       \
    "a node of a Redis Cluster without these keys: sites.*.redis.url must name the one " \
    "that has them, or a Redis without cluster mode; redis-cli CLUSTER NODES"
#define OF_USER "sites.*.redis.username and .password, or its ACL: redis-cli ACL LOG"

/* What we know how to answer. ERR_RETRY: it may be well again in a moment. */
static const struct saying {
    const char *begins;
    enum err_kind kind;
    const char *hint;
} sayings[] = {
    {"LOADING",     ERR_RETRY,   "it reads its file: wait; redis-cli INFO persistence"         },
    {"BUSY ",       ERR_RETRY,   "a script keeps it busy: redis-cli SCRIPT KILL"               },
    {"READONLY",    ERR_RETRY,   "a replica, name the primary: redis-cli INFO replication"     },
    {"MOVED",       ERR_RETRY,   OF_CLUSTER                                                    },
    {"ASK ",        ERR_RETRY,   OF_CLUSTER                                                    },
    {"TRYAGAIN",    ERR_RETRY,   OF_CLUSTER                                                    },
    {"CLUSTERDOWN", ERR_RETRY,   OF_CLUSTER                                                    },
    {"OOM",         ERR_RETRY,   "its memory is full, raise maxmemory: redis-cli INFO memory"  },
    {"MISCONF",     ERR_RETRY,   "it cannot save, is its disk full? redis-cli INFO persistence"},
    {"MASTERDOWN",  ERR_RETRY,   "a replica without its primary: redis-cli INFO replication"   },
    {"NOREPLICAS",  ERR_RETRY,   "too few replicas are there: redis-cli INFO replication"      },
    {"NOAUTH",      ERR_REFUSED, OF_USER                                                       },
    {"WRONGPASS",   ERR_REFUSED, OF_USER                                                       },
    {"NOPERM",      ERR_REFUSED, OF_USER                                                       },
};

void redis_reply_error(const struct redisReply *reply, struct err *err)
{
    struct saying found = {"", ERR_REFUSED, ""};
    for (size_t i = 0; i < sizeof(sayings) / sizeof(sayings[0]); i++) {
        if (redis_reply_is(reply, sayings[i].begins)) {
            found = sayings[i];
        }
    }
    err_set_code(err, found.kind, REDIS_SAYS, "Redis says: %.400s", reply->str);
    err_hint(err, "%s", found.hint);
}

void redis_script_argv(const char *command, const char *script, const char *keys, int argc,
                       const char **argv, const size_t *argv_len, const char ***out_argv,
                       size_t **out_len)
{
    const char **all = calloc((size_t)argc + 3, sizeof(*all));
    size_t *lens = calloc((size_t)argc + 3, sizeof(*lens));

    if (all == NULL || lens == NULL) {
        abort();
    }
    all[0] = command;
    all[1] = script;
    all[2] = keys;
    for (int i = 0; i < argc; i++) {
        all[i + 3] = argv[i];
    }
    for (int i = 0; i < argc + 3; i++) {
        lens[i] = i < 3 || argv_len == NULL ? strlen(all[i]) : argv_len[i - 3];
    }
    *out_argv = all;
    *out_len = lens;
}
