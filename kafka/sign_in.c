/* See sign_in.h. */
#include "kafka/sign_in.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/heap.h"
#include "kafka/error.h"

/* Of a session's life. The broker ends a connection that asks for anything later than that; what is in flight is answered
 * first, so the rest of the time is for the slowest answer. */
#define AGAIN_PERCENT 80
/* Brokers refuse a second sign-in within one second of the first (KIP-368). */
#define AGAIN_MIN_MS 1200

bool sign_in_wanted(const struct config_client *client)
{
    const char *protocol = config_client_get(client, "security.protocol");

    return protocol != NULL &&
           (strcasecmp(protocol, "sasl_plaintext") == 0 || strcasecmp(protocol, "sasl_ssl") == 0);
}

void sign_in_init(struct sign_in *sign_in, const struct config_client *client)
{
    *sign_in = (struct sign_in){.client = client};
}

static void wipe(struct writer *writer)
{
    OPENSSL_cleanse(writer->data, writer->len); /* PLAIN: the password; a token */
    writer_done(writer);
}

void sign_in_done(struct sign_in *sign_in)
{
    sasl_free(sign_in->sasl);
    sign_in->sasl = NULL;
    wipe(&sign_in->first);
}

/* Whatever `err` says, with who tried what before it. */
static bool as_user(const struct sign_in *sign_in, struct err *err)
{
    return err_wrap(err, "sign-in as '%s' by %s", sign_in->user,
                    sasl_mechanism_name(sign_in->mechanism));
}

/* --- who we are ------------------------------------------------------------------------------------------------ */

static bool missing(struct err *err, const char *name)
{
    err_set(err, ERR_CONFIG, "sign-in: the site has no %s", name);
    return err_hint(err, "ferry config show; docs/faults.md#sign-in");
}

static bool read_password(struct sign_in *sign_in, struct err *err)
{
    char *username = NULL;
    char *password = NULL;
    bool ok = false;

    sign_in_done(sign_in);
    if (!config_client_read(sign_in->client, "sasl.username", &username, err) ||
        !config_client_read(sign_in->client, "sasl.password", &password, err)) {
        goto done;
    }
    if (username == NULL || password == NULL) {
        missing(err, username == NULL ? "sasl.username" : "secret sasl.password");
        goto done;
    }
    snprintf(sign_in->user, sizeof(sign_in->user), "%s", username);
    sign_in->sasl = sasl_new(sign_in->mechanism, username, password, NULL);
    ok = true;
done:
    config_secret_free(username);
    config_secret_free(password);
    return ok;
}

bool sign_in_begin(struct sign_in *sign_in, struct writer *out, struct err *err)
{
    const char *mechanism = config_client_get(sign_in->client, "sasl.mechanism");

    if (mechanism == NULL) {
        return missing(err, "sasl.mechanism");
    }
    if (!sasl_mechanism_parse(mechanism, &sign_in->mechanism, err) ||
        (!sign_in_asks(sign_in) && !read_password(sign_in, err))) {
        return false;
    }
    proto_put_sasl_handshake(out, sasl_mechanism_name(sign_in->mechanism));
    return true;
}

/* --- somebody else is asked first ------------------------------------------------------------------------------- */

struct question { /* the thread's: nothing in it is the connection's */
    struct oidc *oidc;
    char *service;
    char *host;
    char *principal;
    char user[128];
    uint64_t token;
    struct sasl *sasl; /* what comes of it */
    struct writer first;
    struct err err; /* ERR_NONE: it went well */
};

static bool is(const struct sign_in *sign_in, enum sasl_mechanism mechanism)
{
    const char *name = config_client_get(sign_in->client, "sasl.mechanism");
    return name != NULL && strcasecmp(name, sasl_mechanism_name(mechanism)) == 0;
}

bool sign_in_asks(const struct sign_in *sign_in)
{
    return is(sign_in, SASL_OAUTHBEARER) || is(sign_in, SASL_GSSAPI);
}

void *sign_in_question(const struct sign_in *sign_in, const char *host)
{
    const struct config_client *client = sign_in->client;
    const char *service = config_client_get(client, "sasl.kerberos.service.name");
    const char *principal = config_client_get(client, "sasl.kerberos.principal");
    struct question *question = must(calloc(1, sizeof(*question)));

    question->oidc = oidc_of(client);
    question->host = must_copy(host);
    question->service = must_copy(service == NULL ? "kafka" : service);
    question->principal = must_copy(principal);
    snprintf(question->user, sizeof(question->user), "%s",
             question->oidc != NULL ? oidc_client_id(question->oidc)
             : principal == NULL    ? "whom the ticket is of"
                                    : principal);
    writer_init(&question->first);
    return question;
}

static bool ask(struct question *question)
{
    struct oidc_token token;

    if (question->oidc == NULL) {
        question->sasl = sasl_new_gssapi(question->service, question->host, question->principal);
    } else if (oidc_token(question->oidc, &token, &question->err)) {
        question->sasl = sasl_new_bearer(token.text, oidc_extensions(question->oidc));
        question->token = token.serial;
        snprintf(question->user, sizeof(question->user), "%.127s", token.name);
        oidc_token_done(&token);
    } else {
        return false;
    }
    return sasl_step(question->sasl, NULL, 0, &question->first, &question->err);
}

static void question_run(void *arg)
{
    struct question *question = arg;

    if (ask(question)) {
        err_clear(&question->err);
    }
}

static void question_busy(void *arg)
{
    struct question *question = arg;

    err_set(&question->err, ERR_RETRY, "too many wait for an answer about who we are");
}

static void question_drop(void *arg)
{
    struct question *question = arg;

    sasl_free(question->sasl);
    wipe(&question->first);
    free(question->service);
    free(question->host);
    free(question->principal);
    free(question);
}

/* A KDC that does not answer holds a thread for tens of seconds, and each connection asks again after its back-off. */
static struct aside_kind sign_ins = {.threads_max = 32};

const struct aside_calls sign_in_asking = {
    .kind = &sign_ins, .run = question_run, .busy = question_busy, .drop = question_drop};

bool sign_in_prepare(struct sign_in *sign_in, void *taken, struct err *err)
{
    struct question *question = taken;

    sign_in_done(sign_in);
    sign_in->oidc = question->oidc;
    sign_in->mechanism = question->oidc != NULL ? SASL_OAUTHBEARER : SASL_GSSAPI;
    snprintf(sign_in->user, sizeof(sign_in->user), "%s", question->user);
    if (question->err.kind != ERR_NONE) {
        *err = question->err;
        return as_user(sign_in, err);
    }
    sign_in->sasl = question->sasl;
    sign_in->first = question->first;
    sign_in->token = question->token;
    question->sasl = NULL;
    writer_init(&question->first);
    return true;
}

/* --- what the broker says -------------------------------------------------------------------------------------- */

/* A broker's text, as one line of printable characters. */
static void clean(struct wire_string text, char *out, size_t out_bytes)
{
    size_t len = text.len < 0 ? 0 : (size_t)text.len;

    len = len < out_bytes - 1 ? len : out_bytes - 1;
    for (size_t i = 0; i < len; i++) {
        out[i] = text.data[i] >= ' ' && text.data[i] <= '~' ? text.data[i] : '?';
    }
    out[len] = '\0';
}

static bool not_offered(const struct sign_in *sign_in, const struct sasl_handshake_answer *answer,
                        struct err *err)
{
    char list[256] = "";
    size_t len = 0;

    for (int32_t i = 0; i < answer->offered_count && len + 2 < sizeof(list); i++) {
        char name[48];
        clean(answer->offered[i], name, sizeof(name));
        int more = snprintf(list + len, sizeof(list) - len, "%s%s", i > 0 ? ", " : "", name);
        len += more > 0 ? (size_t)more : 0;
    }
    err_set_code(err, ERR_REFUSED, answer->error, "the broker does not take this mechanism%s%s",
                 list[0] == '\0' ? "" : "; it takes ", list);
    err_hint(err, "set sasl.mechanism of this site to one that the listener takes");
    return as_user(sign_in, err);
}

bool sign_in_agreed(struct sign_in *sign_in, struct reader *reader, struct writer *out,
                    struct err *err)
{
    struct sasl_handshake_answer answer;
    struct writer message;

    if (!proto_get_sasl_handshake(reader, &answer, err)) {
        return as_user(sign_in, err);
    }
    if (answer.error == KAFKA_UNSUPPORTED_SASL_MECHANISM) {
        return not_offered(sign_in, &answer, err);
    }
    if (answer.error != KAFKA_NONE) {
        err_set_code(err, ERR_REFUSED, answer.error, "%s", kafka_error_name(answer.error));
        err_hint(err, "a listener that asks for no sign-in says so: compare security.protocol of "
                      "this site with the listener's");
        return as_user(sign_in, err);
    }
    message = sign_in->first; /* made already, or nothing */
    writer_init(&sign_in->first);
    bool ok = message.len > 0 || sasl_step(sign_in->sasl, NULL, 0, &message, err);
    if (ok) {
        proto_put_sasl_authenticate(out, message.data, message.len);
    }
    wipe(&message);
    return ok || as_user(sign_in, err);
}

static bool not_taken(const struct sign_in *sign_in, const struct sasl_authenticate_answer *answer,
                      struct err *err)
{
    char text[256];

    clean(answer->message, text, sizeof(text));
    err_set_code(err, ERR_REFUSED, answer->error, "refused: %s",
                 text[0] != '\0' ? text : kafka_error_name(answer->error));
    switch (sign_in->mechanism) {
    case SASL_PLAIN:
    case SASL_SCRAM_SHA_256:
    case SASL_SCRAM_SHA_512:
        err_hint(err, "compare sasl.username and the secret sasl.password of this site with the "
                      "cluster's user; they are read anew at each attempt");
        break;
    case SASL_OAUTHBEARER:
        oidc_refused(sign_in->oidc, sign_in->token);
        err_hint(err, "is the token of the issuer and for the audience that the broker wants? "
                      "sasl.oauthbearer.scope; another one is asked for: docs/sign-in.md#tokens");
        break;
    case SASL_GSSAPI:
        err_hint(err, "does the broker have a key for that service, and know our realm? "
                      "docs/sign-in.md#kerberos");
        break;
    }
    return as_user(sign_in, err);
}

bool sign_in_answered(struct sign_in *sign_in, struct reader *reader, struct writer *out,
                      bool *out_done, struct err *err)
{
    struct sasl_authenticate_answer answer;
    struct writer message;

    if (!proto_get_sasl_authenticate(reader, &answer, err)) {
        return as_user(sign_in, err);
    }
    if (answer.error != KAFKA_NONE) {
        return not_taken(sign_in, &answer, err);
    }
    size_t len = answer.bytes.len < 0 ? 0 : (size_t)answer.bytes.len;
    writer_init(&message);
    bool ok = sasl_step(sign_in->sasl, answer.bytes.data, len, &message, err);
    bool done = ok && sasl_is_done(sign_in->sasl);
    if (done) {
        sign_in->lifetime_ms = answer.session_lifetime_ms;
        sign_in_done(sign_in);
        *out_done = true;
    } else if (ok) {
        proto_put_sasl_authenticate(out, message.data, message.len);
        *out_done = false;
    }
    wipe(&message);
    return ok || as_user(sign_in, err);
}

int64_t sign_in_again_ms(const struct sign_in *sign_in)
{
    if (sign_in->lifetime_ms <= 0 || sign_in->lifetime_ms > INT64_MAX / 100) {
        return -1;
    }
    int64_t again_ms = sign_in->lifetime_ms * AGAIN_PERCENT / 100;
    return again_ms > AGAIN_MIN_MS ? again_ms : AGAIN_MIN_MS;
}
