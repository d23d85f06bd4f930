/* See sasl.h. SCRAM in RFC 5802's own names: client-first, server-first, client-final, server-final. */
#include "kafka/sasl.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/heap.h"
#include "kafka/gssapi.h"

#define NONCE_BYTES           24 /* 192 bits, 32 characters */
#define SALT_MAX              1024
#define NONCE_MAX             1024  /* ours and the server's together */
#define GS2_HEADER            "n,," /* no channel binding, no other identity */
#define GS2_BASE64            "biws"
#define ITERATIONS_DIGITS_MAX 9

enum stage { STAGE_BEGIN, STAGE_FIRST_SENT, STAGE_FINAL_SENT, STAGE_DONE, STAGE_FAILED };

struct sasl {
    enum sasl_mechanism mechanism;
    enum stage stage;
    char *username;
    char *password;
    char *nonce;                               /* ours */
    struct writer first_bare;                  /* client-first-message-bare */
    uint8_t server_signature[EVP_MAX_MD_SIZE]; /* the one that is right */
    struct gssapi *gssapi;                     /* or NULL */
};

struct span { /* a part of the server's message */
    const char *data;
    size_t len;
};

static const char *const names[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER",
                                    "GSSAPI"};

bool sasl_mechanism_parse(const char *name, enum sasl_mechanism *out, struct err *err)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcasecmp(name, names[i]) == 0) {
            *out = (enum sasl_mechanism)i;
            return true;
        }
    }
    return err_set(err, ERR_CONFIG,
                   "sasl.mechanism %.40s: Ferry signs in with PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, "
                   "OAUTHBEARER and GSSAPI",
                   name);
}

const char *sasl_mechanism_name(enum sasl_mechanism mechanism)
{
    return names[mechanism];
}

/* --- texts ----------------------------------------------------------------------------------------------------- */

static void put_text(struct writer *out, const char *text)
{
    writer_bytes(out, text, strlen(text));
}

static void put_base64(struct writer *out, const uint8_t *data, size_t len)
{
    unsigned char text[4 * ((EVP_MAX_MD_SIZE + 2) / 3) + 1];

    assert(len <= EVP_MAX_MD_SIZE);
    int text_len = EVP_EncodeBlock(text, data, (int)len);
    writer_bytes(out, text, (size_t)text_len);
}

static bool base64_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* Strict: whole groups, no blanks, padding at the end alone. @return bytes in `out`, 0 = not base64, or too long */
static size_t get_base64(struct span text, uint8_t *out, size_t most)
{
    size_t padding = 0;

    while (padding < 2 && padding < text.len && text.data[text.len - 1 - padding] == '=') {
        padding++;
    }
    if (text.len == 0 || text.len % 4 != 0 || text.len / 4 * 3 > most) {
        return 0;
    }
    for (size_t i = 0; i < text.len - padding; i++) {
        if (!base64_char(text.data[i])) {
            return 0;
        }
    }
    int len = EVP_DecodeBlock(out, (const unsigned char *)text.data, (int)text.len);
    return len < (int)padding ? 0 : (size_t)len - padding;
}

/* A comma ends a field and an equals sign begins an escape: neither stands in a name as it is. */
static void put_name(struct writer *out, const char *name)
{
    for (; *name != '\0'; name++) {
        if (*name == ',') {
            put_text(out, "=2C");
        } else if (*name == '=') {
            put_text(out, "=3D");
        } else {
            writer_i8(out, *name);
        }
    }
}

/* --- SCRAM ----------------------------------------------------------------------------------------------------- */

static const EVP_MD *digest_of(const struct sasl *sasl)
{
    return sasl->mechanism == SASL_SCRAM_SHA_256 ? EVP_sha256() : EVP_sha512();
}

static size_t digest_len(const struct sasl *sasl)
{
    return (size_t)EVP_MD_get_size(digest_of(sasl));
}

static void hmac(const struct sasl *sasl, const uint8_t *key, const void *data, size_t len,
                 uint8_t out[EVP_MAX_MD_SIZE])
{
    unsigned int out_len = 0;

    must(HMAC(digest_of(sasl), key, (int)digest_len(sasl), data, len, out, &out_len));
    assert(out_len == digest_len(sasl));
}

static bool refuse(struct err *err, const char *why)
{
    return err_set(err, ERR_REFUSED, "the server's sign-in message %s", why);
}

/* Cut the next "k=value" off; what follows stands behind a comma. */
static bool next_field(struct span *left, char key, struct span *out)
{
    if (left->len < 2 || left->data[0] != key || left->data[1] != '=') {
        return false;
    }
    const char *comma = memchr(left->data, ',', left->len);
    size_t len = comma == NULL ? left->len : (size_t)(comma - left->data);
    size_t skip = comma == NULL ? len : len + 1;
    *out = (struct span){left->data + 2, len - 2};
    *left = (struct span){left->data + skip, left->len - skip};
    return true;
}

static bool get_iterations(struct span text, int *out)
{
    int value = 0;

    if (text.len == 0 || text.len > ITERATIONS_DIGITS_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (text.data[i] - '0');
    }
    *out = value;
    return true;
}

static bool nonce_ok(const struct sasl *sasl, struct span nonce)
{
    size_t ours = strlen(sasl->nonce);

    if (nonce.len <= ours || nonce.len > NONCE_MAX || memcmp(nonce.data, sasl->nonce, ours) != 0) {
        return false;
    }
    for (size_t i = 0; i < nonce.len; i++) {
        if (nonce.data[i] <= ' ' || nonce.data[i] > '~') {
            return false;
        }
    }
    return true;
}

struct server_first {
    struct span nonce;
    uint8_t salt[SALT_MAX];
    size_t salt_len;
    int iterations;
};

/* r=...,s=...,i=... and extensions behind it, which have no meaning here. One that must be understood stands first (m=). */
static bool get_server_first(const struct sasl *sasl, struct span message, struct server_first *out,
                             struct err *err)
{
    struct span salt;
    struct span iterations;

    if (!next_field(&message, 'r', &out->nonce) || !next_field(&message, 's', &salt) ||
        !next_field(&message, 'i', &iterations)) {
        return refuse(err, "is not r=...,s=...,i=...");
    }
    if (!nonce_ok(sasl, out->nonce)) {
        return refuse(err, "does not continue our nonce");
    }
    out->salt_len = get_base64(salt, out->salt, sizeof(out->salt));
    if (out->salt_len == 0) {
        return refuse(err, "has no usable salt");
    }
    if (!get_iterations(iterations, &out->iterations) || out->iterations < SASL_ITERATIONS_MIN ||
        out->iterations > SASL_ITERATIONS_MAX) {
        refuse(err, "asks for a number of iterations that is not taken");
        return err_hint(err, "%d to %d are; keep the user's credentials with as many",
                        SASL_ITERATIONS_MIN, SASL_ITERATIONS_MAX);
    }
    return true;
}

static void put_client_first(struct sasl *sasl, struct writer *out)
{
    put_text(&sasl->first_bare, "n=");
    put_name(&sasl->first_bare, sasl->username);
    put_text(&sasl->first_bare, ",r=");
    put_text(&sasl->first_bare, sasl->nonce);
    put_text(out, GS2_HEADER);
    writer_bytes(out, sasl->first_bare.data, sasl->first_bare.len);
    sasl->stage = STAGE_FIRST_SENT;
}

/* ClientProof, and the signature that the server must come with. */
static void prove(struct sasl *sasl, const struct server_first *first, const struct writer *auth,
                  uint8_t proof[EVP_MAX_MD_SIZE])
{
    uint8_t salted[EVP_MAX_MD_SIZE];
    uint8_t client_key[EVP_MAX_MD_SIZE];
    uint8_t stored_key[EVP_MAX_MD_SIZE];
    uint8_t server_key[EVP_MAX_MD_SIZE];
    int len = (int)digest_len(sasl);

    if (PKCS5_PBKDF2_HMAC(sasl->password, (int)strlen(sasl->password), first->salt,
                          (int)first->salt_len, first->iterations, digest_of(sasl), len,
                          salted) != 1) {
        abort(); /* out of memory is all that can fail */
    }
    hmac(sasl, salted, "Client Key", 10, client_key);
    if (EVP_Digest(client_key, (size_t)len, stored_key, NULL, digest_of(sasl), NULL) != 1) {
        abort();
    }
    hmac(sasl, stored_key, auth->data, auth->len, proof);
    for (int i = 0; i < len; i++) {
        proof[i] ^= client_key[i];
    }
    hmac(sasl, salted, "Server Key", 10, server_key);
    hmac(sasl, server_key, auth->data, auth->len, sasl->server_signature);
    OPENSSL_cleanse(salted, sizeof(salted));
    OPENSSL_cleanse(client_key, sizeof(client_key));
    OPENSSL_cleanse(stored_key, sizeof(stored_key));
    OPENSSL_cleanse(server_key, sizeof(server_key));
}

static bool put_client_final(struct sasl *sasl, struct span message, struct writer *out,
                             struct err *err)
{
    struct server_first first = {0};
    struct writer auth;
    uint8_t proof[EVP_MAX_MD_SIZE];

    if (!get_server_first(sasl, message, &first, err)) {
        return false;
    }
    writer_init(&auth); /* AuthMessage; its end is client-final-message-without-proof */
    writer_bytes(&auth, sasl->first_bare.data, sasl->first_bare.len);
    writer_i8(&auth, ',');
    writer_bytes(&auth, message.data, message.len);
    writer_i8(&auth, ',');
    size_t final_at = auth.len;
    put_text(&auth, "c=" GS2_BASE64 ",r=");
    writer_bytes(&auth, first.nonce.data, first.nonce.len);
    prove(sasl, &first, &auth, proof);
    writer_bytes(out, auth.data + final_at, auth.len - final_at);
    put_text(out, ",p=");
    put_base64(out, proof, digest_len(sasl));
    writer_done(&auth);
    sasl->stage = STAGE_FINAL_SENT;
    return true;
}

static bool check_server_final(struct sasl *sasl, struct span message, struct err *err)
{
    uint8_t signature[EVP_MAX_MD_SIZE + 3];
    struct span field;

    if (next_field(&message, 'e', &field)) {
        return refuse(err, "says that it does not accept our proof");
    }
    if (!next_field(&message, 'v', &field) ||
        get_base64(field, signature, sizeof(signature)) != digest_len(sasl)) {
        return refuse(err, "has no signature");
    }
    if (CRYPTO_memcmp(signature, sasl->server_signature, digest_len(sasl)) != 0) {
        refuse(err, "has a wrong signature: it does not know our password");
        return err_hint(err, "is this address the broker's? somebody may stand between");
    }
    sasl->stage = STAGE_DONE;
    return true;
}

/* --- PLAIN ----------------------------------------------------------------------------------------------------- */

static void put_plain(struct sasl *sasl, struct writer *out)
{
    writer_i8(out, 0); /* no other identity */
    put_text(out, sasl->username);
    writer_i8(out, 0);
    put_text(out, sasl->password);
    sasl->stage = STAGE_FINAL_SENT;
}

/* --- OAUTHBEARER ----------------------------------------------------------------------------------------------- */

#define FIELD_END "\x01"

static void put_bearer(struct sasl *sasl, struct writer *out)
{
    put_text(out, GS2_HEADER FIELD_END "auth=Bearer ");
    put_text(out, sasl->password);
    put_text(out, FIELD_END);
    for (const char *at = sasl->username; *at != '\0'; at++) { /* the extensions */
        put_text(out, *at == ',' ? FIELD_END : (char[]){*at, '\0'});
    }
    put_text(out, sasl->username[0] == '\0' ? FIELD_END : FIELD_END FIELD_END);
    sasl->stage = STAGE_FINAL_SENT;
}

/* Nothing, or why not, in JSON: then it is to be answered by an empty field, before the server says it with a code. */
static bool hear_bearer(struct sasl *sasl, struct span message, struct writer *out)
{
    if (message.len > 0) {
        put_text(out, FIELD_END);
        sasl->stage = STAGE_FAILED;
    } else {
        sasl->stage = STAGE_DONE;
    }
    return true;
}

/* --- the conversation ------------------------------------------------------------------------------------------ */

static char *random_nonce(void)
{
    uint8_t bytes[NONCE_BYTES];
    char *text = must(calloc(1, 4 * NONCE_BYTES / 3 + 1));

    if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
        abort(); /* nothing that follows would be safe */
    }
    EVP_EncodeBlock((unsigned char *)text, bytes, sizeof(bytes));
    return text;
}

struct sasl *sasl_new(enum sasl_mechanism mechanism, const char *username, const char *password,
                      const char *nonce)
{
    struct sasl *sasl = must(calloc(1, sizeof(*sasl)));

    sasl->mechanism = mechanism;
    sasl->username = must(strdup(username));
    sasl->password = must(strdup(password));
    sasl->nonce = nonce == NULL ? random_nonce() : must(strdup(nonce));
    writer_init(&sasl->first_bare);
    return sasl;
}

struct sasl *sasl_new_bearer(const char *token, const char *extensions)
{
    return sasl_new(SASL_OAUTHBEARER, extensions == NULL ? "" : extensions, token, "");
}

struct sasl *sasl_new_gssapi(const char *service, const char *host, const char *principal)
{
    struct sasl *sasl = sasl_new(SASL_GSSAPI, "", "", "");

    sasl->gssapi = gssapi_new(service, host, principal);
    return sasl;
}

void sasl_free(struct sasl *sasl)
{
    if (sasl == NULL) {
        return;
    }
    OPENSSL_cleanse(sasl->password, strlen(sasl->password));
    free(sasl->password);
    free(sasl->username);
    free(sasl->nonce);
    gssapi_free(sasl->gssapi);
    writer_done(&sasl->first_bare);
    free(sasl);
}

bool sasl_is_done(const struct sasl *sasl)
{
    return sasl->stage == STAGE_DONE;
}

static bool begin(struct sasl *sasl, struct writer *out, struct err *err)
{
    switch (sasl->mechanism) {
    case SASL_PLAIN:
        put_plain(sasl, out);
        break;
    case SASL_SCRAM_SHA_256:
    case SASL_SCRAM_SHA_512:
        put_client_first(sasl, out);
        break;
    case SASL_OAUTHBEARER:
        put_bearer(sasl, out);
        break;
    case SASL_GSSAPI:
        sasl->stage = STAGE_FIRST_SENT;
        return gssapi_begin(sasl->gssapi, out, err);
    }
    return true;
}

/* More than one message comes before ours that is the last. */
static bool hear_gssapi(struct sasl *sasl, struct span message, struct writer *out, struct err *err)
{
    bool last = false;

    if (!gssapi_hear(sasl->gssapi, message.data, message.len, out, &last, err)) {
        return false;
    }
    sasl->stage = last ? STAGE_FINAL_SENT : STAGE_FIRST_SENT;
    return true;
}

static bool step(struct sasl *sasl, struct span message, struct writer *out, struct err *err)
{
    enum sasl_mechanism mechanism = sasl->mechanism;

    switch (sasl->stage) {
    case STAGE_BEGIN:
        return begin(sasl, out, err);
    case STAGE_FIRST_SENT:
        return mechanism == SASL_GSSAPI ? hear_gssapi(sasl, message, out, err)
                                        : put_client_final(sasl, message, out, err);
    case STAGE_FINAL_SENT:
        if (mechanism == SASL_SCRAM_SHA_256 || mechanism == SASL_SCRAM_SHA_512) {
            return check_server_final(sasl, message, err);
        }
        if (mechanism == SASL_OAUTHBEARER) {
            return hear_bearer(sasl, message, out);
        }
        sasl->stage = STAGE_DONE; /* that it answered without an error is all it says */
        return true;
    case STAGE_DONE:
    case STAGE_FAILED:
        break;
    }
    return refuse(err, "comes when everything was said");
}

bool sasl_step(struct sasl *sasl, const void *message, size_t len, struct writer *out,
               struct err *err)
{
    bool ok = len <= SASL_MESSAGE_MAX
                  ? step(sasl, (struct span){len == 0 ? "" : message, len}, out, err)
                  : refuse(err, "is too long");
    if (!ok) {
        sasl->stage = STAGE_FAILED;
    }
    return ok;
}
