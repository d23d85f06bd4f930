/* See sign_in.h. */
#include "kafka/sign_in.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

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

void sign_in_done(struct sign_in *sign_in)
{
    sasl_free(sign_in->sasl);
    sign_in->sasl = NULL;
}

static void wipe(struct writer *writer)
{
    OPENSSL_cleanse(writer->data, writer->len); /* PLAIN: the password */
    writer_done(writer);
}

/* --- who we are ------------------------------------------------------------------------------------------------ */

static bool missing(struct err *err, const char *name)
{
    err_set(err, ERR_CONFIG, "sign-in: the site has no %s", name);
    return err_hint(err, "ferry config show; docs/faults.md#sign-in");
}

bool sign_in_begin(struct sign_in *sign_in, struct writer *out, struct err *err)
{
    const char *mechanism = config_client_get(sign_in->client, "sasl.mechanism");
    char *username = NULL;
    char *password = NULL;
    bool ok = false;

    sign_in_done(sign_in);
    if (mechanism == NULL) {
        return missing(err, "sasl.mechanism");
    }
    if (!sasl_mechanism_parse(mechanism, &sign_in->mechanism, err) ||
        !config_client_read(sign_in->client, "sasl.username", &username, err) ||
        !config_client_read(sign_in->client, "sasl.password", &password, err)) {
        goto done;
    }
    if (username == NULL || password == NULL) {
        missing(err, username == NULL ? "sasl.username" : "secret sasl.password");
        goto done;
    }
    snprintf(sign_in->user, sizeof(sign_in->user), "%s", username);
    sign_in->sasl = sasl_new(sign_in->mechanism, username, password, NULL);
    proto_put_sasl_handshake(out, sasl_mechanism_name(sign_in->mechanism));
    ok = true;
done:
    config_secret_free(username);
    config_secret_free(password);
    return ok;
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

/* Whatever `err` says, with who tried what before it. */
static bool as_user(const struct sign_in *sign_in, struct err *err)
{
    return err_wrap(err, "sign-in as '%s' by %s", sign_in->user,
                    sasl_mechanism_name(sign_in->mechanism));
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
    writer_init(&message);
    bool ok = sasl_step(sign_in->sasl, NULL, 0, &message, err);
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
    err_hint(err, "compare sasl.username and the secret sasl.password of this site with the "
                  "cluster's user; they are read anew at each attempt");
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
