/* See gssapi.h. */
#include "kafka/gssapi.h"

#include <errno.h>
#include <sasl/sasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/heap.h"

#define MECHANISM "GSSAPI"

struct gssapi {
    sasl_conn_t *conn;
    sasl_callback_t callbacks[2];
    char *service;
    char *host;
    char *principal;
};

/* --- whose tickets ----------------------------------------------------------------------------------------------- */

struct identity {
    const char *site;
    const char *keytab;
    const char *principal;
};

static bool same(const char *a, const char *b)
{
    return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

static bool look(struct identity *one, const char *site, const struct config_client *client,
                 struct err *err)
{
    const char *mechanism = client == NULL ? NULL : config_client_get(client, "sasl.mechanism");

    if (mechanism == NULL || strcasecmp(mechanism, MECHANISM) != 0) {
        return true;
    }
    const char *keytab = config_client_get(client, "sasl.kerberos.keytab");
    const char *principal = config_client_get(client, "sasl.kerberos.principal");
    if (one->site == NULL) {
        *one = (struct identity){site, keytab, principal};
        return true;
    }
    if (!same(one->keytab, keytab) || !same(one->principal, principal)) {
        err_set(err, ERR_CONFIG,
                "sites %.100s and %.100s sign in to Kerberos as different principals or from "
                "different keytabs: a process has one",
                one->site, site);
        return err_hint(err, "one principal that both clusters know (realms may trust each other): "
                             "docs/sign-in.md#kerberos");
    }
    return true;
}

bool gssapi_prepare(const struct config *config, struct err *err)
{
    struct identity one = {.site = NULL};

    for (size_t i = 0; i < config->sites_count; i++) {
        const struct config_site *site = &config->sites[i];
        if (!look(&one, site->name, &site->kafka, err) ||
            !look(&one, site->name, site->operator_kafka, err)) {
            return false;
        }
    }
    /* not for two threads, and librdkafka calls it in whichever first needs a client: from here on it is there */
    int code = one.site == NULL ? SASL_OK : sasl_client_init(NULL);
    if (code != SASL_OK) {
        return err_set_code(err, ERR_CONFIG, code, "Cyrus SASL: %s",
                            sasl_errstring(code, NULL, NULL));
    }
    if (one.keytab != NULL && (setenv("KRB5_CLIENT_KTNAME", one.keytab, 1) != 0 ||
                               setenv("KRB5CCNAME", "MEMORY:ferry", 0) != 0)) {
        return err_set_code(err, ERR_CONFIG, errno, "environment: %s", strerror(errno));
    }
    return true;
}

/* --- Cyrus SASL -------------------------------------------------------------------------------------------------- */

static int log_nothing(void *context, int level, const char *message)
{
    (void)context;
    (void)level;
    (void)message;
    return SASL_OK; /* what fails is in sasl_errdetail() */
}

/* "generic failure: GSSAPI Error: Unspecified GSS failure. Minor code may provide more information (Ticket expired)": what
 * it comes down to stands in the parentheses. A ticket that ends in the middle of it: "...: The context has expired (Success)". */
static bool fail(const struct gssapi *gssapi, int code, struct err *err)
{
    char text[400];
    const char *detail = gssapi->conn == NULL ? "" : sasl_errdetail(gssapi->conn);
    const char *why = detail[0] == '\0' ? sasl_errstring(code, NULL, NULL) : detail;
    const char *major = strstr(why, "GSSAPI Error: ");
    const char *minor = major == NULL ? NULL : strchr(major, '(');

    if (minor != NULL && strcmp(minor, "(Success)") == 0) {
        minor = NULL;
    }
    snprintf(text, sizeof(text), "%s", minor == NULL ? why : minor + 1);
    size_t len = strlen(text);
    if (minor != NULL && len > 0 && text[len - 1] == ')') {
        text[len - 1] = '\0';
    }
    err_set_code(err, ERR_REFUSED, code, "Kerberos, for %.60s/%.250s: %s", gssapi->service,
                 gssapi->host, text);
    return err_hint(
        err,
        code == SASL_NOMECH
            ? "install libsasl2-modules-gssapi-mit"
            : "is there a ticket, and does the KDC know that service? docs/sign-in.md#kerberos");
}

struct gssapi *gssapi_new(const char *service, const char *host, const char *principal)
{
    struct gssapi *gssapi = must(calloc(1, sizeof(*gssapi)));

    gssapi->service = must_copy(service);
    gssapi->host = must_copy(host);
    gssapi->principal = must_copy(principal);
    gssapi->callbacks[0] =
        (sasl_callback_t){SASL_CB_LOG, (int (*)(void))(void (*)(void))log_nothing, NULL};
    gssapi->callbacks[1] = (sasl_callback_t){SASL_CB_LIST_END, NULL, NULL};
    return gssapi;
}

void gssapi_free(struct gssapi *gssapi)
{
    if (gssapi == NULL) {
        return;
    }
    if (gssapi->conn != NULL) {
        sasl_dispose(&gssapi->conn);
    }
    free(gssapi->service);
    free(gssapi->host);
    free(gssapi->principal);
    free(gssapi);
}

bool gssapi_begin(struct gssapi *gssapi, struct writer *out, struct err *err)
{
    const sasl_security_properties_t no_layer = {.max_ssf = 0, .maxbufsize = 0};
    const char *message = NULL;
    const char *mechanism = NULL;
    unsigned int len = 0;

    int code = sasl_client_new(gssapi->service, gssapi->host, NULL, NULL, gssapi->callbacks, 0,
                               &gssapi->conn);
    if (code == SASL_OK) {
        code = sasl_setprop(gssapi->conn, SASL_SEC_PROPS, &no_layer);
    }
    if (code == SASL_OK) {
        code = sasl_client_start(gssapi->conn, MECHANISM, NULL, &message, &len, &mechanism);
    }
    if (code != SASL_CONTINUE) {
        return fail(gssapi, code, err);
    }
    writer_bytes(out, message, len);
    return true;
}

/* "ferry" is "ferry" of any realm. */
static bool is_ours(const struct gssapi *gssapi, const char *name)
{
    const char *wanted = gssapi->principal;
    size_t len = wanted == NULL ? 0 : strlen(wanted);

    return wanted == NULL || strcmp(wanted, name) == 0 ||
           (strchr(wanted, '@') == NULL && strncmp(wanted, name, len) == 0 && name[len] == '@');
}

static bool check_principal(const struct gssapi *gssapi, struct err *err)
{
    const void *name = NULL;

    if (sasl_getprop(gssapi->conn, SASL_AUTHUSER, &name) != SASL_OK || name == NULL ||
        is_ours(gssapi, name)) {
        return true;
    }
    err_set(err, ERR_REFUSED,
            "Kerberos: the ticket is of %.200s, sasl.kerberos.principal is %.200s",
            (const char *)name, gssapi->principal);
    return err_hint(err, "klist -k KEYTAB: its first principal counts; klist: whose the cache is");
}

bool gssapi_hear(struct gssapi *gssapi, const void *message, size_t len, struct writer *out,
                 bool *out_last, struct err *err)
{
    const char *answer = NULL;
    unsigned int answer_len = 0;
    int code =
        sasl_client_step(gssapi->conn, message, (unsigned int)len, NULL, &answer, &answer_len);

    if (code != SASL_OK && code != SASL_CONTINUE) {
        return fail(gssapi, code, err);
    }
    if (code == SASL_OK && !check_principal(gssapi, err)) {
        return false;
    }
    writer_bytes(out, answer, answer_len);
    *out_last = code == SASL_OK;
    return true;
}
