/* See tls.h: certificates, keys and what is accepted.
 *
 * Reading a system's authorities takes 20 ms, so what was read is kept until a file's identity (inode, size, times) or a
 * secret has changed.
 */
#include <assert.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "kafka/tls_inside.h"

#include "base/heap.h"

/* Inside OpenSSL, so that a read of the socket brings several records: one call for 64 KiB instead of two a record. */
#define READ_AHEAD_BYTES ((size_t)64 << 10)

struct tls_context {
    const struct config_client *client;
    SSL_CTX *ctx;                     /* or NULL: nothing read yet */
    uint8_t seen[TLS_MATERIAL_BYTES]; /* what it was made from */
};

/* Everything that a context is made from; the values are secrets, or may be. */
enum material {
    CA_LOCATION,
    CA_PEM,
    CRL_LOCATION,
    CERTIFICATE_LOCATION,
    CERTIFICATE_PEM,
    KEY_LOCATION,
    KEY_PEM,
    KEY_PASSWORD,
    KEYSTORE_LOCATION,
    KEYSTORE_PASSWORD,
    MATERIALS_COUNT
};

static const struct {
    const char *property;
    bool is_path;
} materials[MATERIALS_COUNT] = {
    [CA_LOCATION] = {"ssl.ca.location",          true },
    [CA_PEM] = {"ssl.ca.pem",               false},
    [CRL_LOCATION] = {"ssl.crl.location",         true },
    [CERTIFICATE_LOCATION] = {"ssl.certificate.location", true },
    [CERTIFICATE_PEM] = {"ssl.certificate.pem",      false},
    [KEY_LOCATION] = {"ssl.key.location",         true },
    [KEY_PEM] = {"ssl.key.pem",              false},
    [KEY_PASSWORD] = {"ssl.key.password",         false},
    [KEYSTORE_LOCATION] = {"ssl.keystore.location",    true },
    [KEYSTORE_PASSWORD] = {"ssl.keystore.password",    false},
};

struct values {
    char *text[MATERIALS_COUNT]; /* NULL = not set */
};

bool tls_wanted(const struct config_client *client)
{
    const char *protocol = config_client_get(client, "security.protocol");

    return protocol != NULL &&
           (strcasecmp(protocol, "ssl") == 0 || strcasecmp(protocol, "sasl_ssl") == 0);
}

struct tls_context *tls_context_new(const struct config_client *client)
{
    struct tls_context *context = must(calloc(1, sizeof(*context)));
    context->client = client;
    return context;
}

void tls_context_free(struct tls_context *context)
{
    if (context != NULL) {
        SSL_CTX_free(context->ctx);
        free(context);
    }
}

const char *tls_openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());

    ERR_clear_error();
    return reason == NULL ? "no reason given" : reason;
}

static bool says(const struct tls_context *context, const char *property, const char *value)
{
    const char *text = config_client_get(context->client, property);

    return text != NULL && strcasecmp(text, value) == 0;
}

bool tls_context_checks_name(const struct tls_context *context)
{
    return !says(context, "ssl.endpoint.identification.algorithm", "none") &&
           !says(context, "enable.ssl.certificate.verification", "false");
}

/* --- what there is now ----------------------------------------------------------------------------------------- */

static void values_done(struct values *values)
{
    for (size_t i = 0; i < MATERIALS_COUNT; i++) {
        config_secret_free(values->text[i]);
        values->text[i] = NULL;
    }
}

static bool values_read(const struct config_client *client, struct values *out, struct err *err)
{
    *out = (struct values){0};
    for (size_t i = 0; i < MATERIALS_COUNT; i++) {
        if (!config_client_read(client, materials[i].property, &out->text[i], err)) {
            values_done(out);
            return false;
        }
    }
    return true;
}

static void digest_file(EVP_MD_CTX *digest, const char *path)
{
    struct stat status;

    if (stat(path, &status) != 0) {
        EVP_DigestUpdate(digest, "missing", 7);
        return;
    }
    EVP_DigestUpdate(digest, &status.st_dev, sizeof(status.st_dev));
    EVP_DigestUpdate(digest, &status.st_ino, sizeof(status.st_ino));
    EVP_DigestUpdate(digest, &status.st_size, sizeof(status.st_size));
    EVP_DigestUpdate(digest, &status.st_mtim, sizeof(status.st_mtim));
    EVP_DigestUpdate(digest, &status.st_ctim, sizeof(status.st_ctim));
}

static const char *system_authorities(void)
{
    const char *named = getenv(X509_get_default_cert_file_env());

    return named != NULL ? named : X509_get_default_cert_file();
}

static void digest_values(const struct values *values, uint8_t out[TLS_MATERIAL_BYTES])
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();

    if (digest == NULL || EVP_DigestInit(digest, EVP_sha256()) != 1) {
        abort();
    }
    for (size_t i = 0; i < MATERIALS_COUNT; i++) {
        const char *text = values->text[i];
        if (text == NULL) {
            EVP_DigestUpdate(digest, "-", 1);
            continue;
        }
        EVP_DigestUpdate(digest, text, strlen(text) + 1);
        if (materials[i].is_path) {
            digest_file(digest, text);
        }
    }
    digest_file(digest, system_authorities());
    EVP_DigestFinal(digest, out, NULL);
    EVP_MD_CTX_free(digest);
}

bool tls_material(const struct config_client *client, uint8_t out[TLS_MATERIAL_BYTES])
{
    struct values values;
    struct err err;

    if (!values_read(client, &values, &err)) {
        return false;
    }
    digest_values(&values, out);
    values_done(&values);
    return true;
}

/* --- authorities ----------------------------------------------------------------------------------------------- */

static bool refuse(struct err *err, const char *property, const char *what)
{
    err_set(err, ERR_CONFIG, "%s: %s: %s", property, what, tls_openssl_reason());
    return err_hint(err, "docs/faults.md#tls");
}

static BIO *memory_of(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);

    if (bio == NULL) {
        abort();
    }
    return bio;
}

static bool add_authorities(SSL_CTX *ctx, const char *pem, struct err *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    BIO *bio = memory_of(pem);
    X509 *certificate;
    int count = 0;
    bool ok = true;

    while (ok && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        ok = X509_STORE_add_cert(store, certificate) == 1;
        X509_free(certificate);
        count++;
    }
    BIO_free(bio);
    if (!ok || count == 0) {
        return refuse(err, "ssl.ca.pem", "no certificate can be read");
    }
    ERR_clear_error(); /* the end of the text is one */
    return true;
}

static bool load_authorities(SSL_CTX *ctx, const struct values *values, struct err *err)
{
    const char *location = values->text[CA_LOCATION];
    struct stat status;

    if (values->text[CA_PEM] != NULL) {
        return add_authorities(ctx, values->text[CA_PEM], err);
    }
    if (location == NULL || strcmp(location, "probe") == 0) { /* as librdkafka: look for them */
        return SSL_CTX_set_default_verify_paths(ctx) == 1 ||
               refuse(err, "ssl.ca.location", "the system's certificates");
    }
    bool folder = stat(location, &status) == 0 && S_ISDIR(status.st_mode);
    int ok =
        folder ? SSL_CTX_load_verify_dir(ctx, location) : SSL_CTX_load_verify_file(ctx, location);
    return ok == 1 || refuse(err, "ssl.ca.location", location);
}

static bool load_revoked(SSL_CTX *ctx, const struct values *values, struct err *err)
{
    const char *location = values->text[CRL_LOCATION];
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);

    if (location == NULL) {
        return true;
    }
    if (X509_STORE_load_file(store, location) != 1) {
        return refuse(err, "ssl.crl.location", location);
    }
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    return true;
}

/* --- our own certificate --------------------------------------------------------------------------------------- */

static int give_password(char *out, int size, int writing, void *arg)
{
    const char *password = arg;
    size_t len = password == NULL ? 0 : strlen(password);

    (void)writing;
    if (size < 0 || len > (size_t)size) {
        return -1;
    }
    memcpy(out, password == NULL ? "" : password, len);
    return (int)len;
}

static bool load_chain(SSL_CTX *ctx, const struct values *values, struct err *err)
{
    const char *location = values->text[CERTIFICATE_LOCATION];
    X509 *certificate;
    bool ok = true;

    if (location != NULL) {
        return SSL_CTX_use_certificate_chain_file(ctx, location) == 1 ||
               refuse(err, "ssl.certificate.location", location);
    }
    if (values->text[CERTIFICATE_PEM] == NULL) {
        return true;
    }
    BIO *bio = memory_of(values->text[CERTIFICATE_PEM]);
    certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    ok = certificate != NULL && SSL_CTX_use_certificate(ctx, certificate) == 1;
    X509_free(certificate);
    while (ok && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        ok = SSL_CTX_add0_chain_cert(ctx, certificate) == 1;
    }
    BIO_free(bio);
    if (ok) {
        ERR_clear_error();
        return true;
    }
    return refuse(err, "ssl.certificate.pem", "no certificate can be read");
}

static bool load_key(SSL_CTX *ctx, const struct values *values, struct err *err)
{
    const char *location = values->text[KEY_LOCATION];
    const char *property = location != NULL ? "ssl.key.location" : "ssl.key.pem";

    if (location == NULL && values->text[KEY_PEM] == NULL) {
        return true;
    }
    BIO *bio = location != NULL ? BIO_new_file(location, "r") : memory_of(values->text[KEY_PEM]);
    EVP_PKEY *key =
        bio == NULL ? NULL
                    : PEM_read_bio_PrivateKey(bio, NULL, give_password, values->text[KEY_PASSWORD]);
    bool ok = key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    EVP_PKEY_free(key);
    BIO_free(bio);
    return ok || refuse(err, property, location != NULL ? location : "the key cannot be read");
}

static bool load_keystore(SSL_CTX *ctx, const struct values *values, struct err *err)
{
    const char *location = values->text[KEYSTORE_LOCATION];
    const char *password = values->text[KEYSTORE_PASSWORD];
    EVP_PKEY *key = NULL;
    X509 *certificate = NULL;
    STACK_OF(X509) *chain = NULL;

    if (location == NULL) {
        return true;
    }
    BIO *bio = BIO_new_file(location, "rb");
    PKCS12 *store = bio == NULL ? NULL : d2i_PKCS12_bio(bio, NULL);
    bool ok = store != NULL && PKCS12_parse(store, password, &key, &certificate, &chain) == 1 &&
              SSL_CTX_use_cert_and_key(ctx, certificate, key, chain, 1) == 1;
    PKCS12_free(store);
    BIO_free(bio);
    EVP_PKEY_free(key);
    X509_free(certificate);
    sk_X509_pop_free(chain, X509_free);
    return ok || refuse(err, "ssl.keystore.location", location);
}

static bool pair_fits(SSL_CTX *ctx, struct err *err)
{
    bool certificate = SSL_CTX_get0_certificate(ctx) != NULL;
    bool key = SSL_CTX_get0_privatekey(ctx) != NULL;

    if (!certificate && !key) {
        return true;
    }
    if (certificate && key && SSL_CTX_check_private_key(ctx) == 1) {
        return true;
    }
    ERR_clear_error();
    err_set(err, ERR_CONFIG, "client certificate: %s",
            !certificate ? "a key without a certificate"
            : !key       ? "a certificate without a key"
                         : "certificate and key do not belong together");
    return err_hint(err,
                    "ssl.certificate.location and ssl.key.location go together; while both are "
                    "being replaced this passes by itself");
}

/* --- what is accepted ------------------------------------------------------------------------------------------ */

static bool accept_lists(const struct tls_context *context, SSL_CTX *ctx, struct err *err)
{
    const char *ciphers = config_client_get(context->client, "ssl.cipher.suites");
    const char *curves = config_client_get(context->client, "ssl.curves.list");
    const char *sigalgs = config_client_get(context->client, "ssl.sigalgs.list");
    void *lists[] = {(void *)(uintptr_t)curves, (void *)(uintptr_t)sigalgs}; /* copied */

    if (ciphers != NULL && SSL_CTX_set_cipher_list(ctx, ciphers) != 1) {
        return refuse(err, "ssl.cipher.suites", ciphers);
    }
    if (curves != NULL && SSL_CTX_set1_curves_list(ctx, lists[0]) != 1) {
        return refuse(err, "ssl.curves.list", curves);
    }
    return sigalgs == NULL || SSL_CTX_set1_sigalgs_list(ctx, lists[1]) == 1 ||
           refuse(err, "ssl.sigalgs.list", sigalgs);
}

static SSL_CTX *make(const struct tls_context *context, const struct values *values,
                     struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    bool verify = !says(context, "enable.ssl.certificate.verification", "false");

    if (ctx == NULL) {
        abort();
    }
    ERR_clear_error();
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_verify(ctx, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    /* Frames have lengths: one that is cut off is noticed, so the end of a stream needs no proof of its own. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_default_passwd_cb(ctx, give_password); /* nobody is asked on a terminal */
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD_BYTES);
    if (load_authorities(ctx, values, err) && load_revoked(ctx, values, err) &&
        load_chain(ctx, values, err) && load_key(ctx, values, err) &&
        load_keystore(ctx, values, err) && pair_fits(ctx, err) && accept_lists(context, ctx, err)) {
        return ctx;
    }
    SSL_CTX_free(ctx);
    return NULL;
}

SSL_CTX *tls_context_now(struct tls_context *context, struct err *err)
{
    uint8_t now[TLS_MATERIAL_BYTES];
    struct values values;

    if (!values_read(context->client, &values, err)) {
        return NULL;
    }
    digest_values(&values, now); /* before reading: what changes meanwhile is seen the next time */
    if (context->ctx == NULL || memcmp(now, context->seen, sizeof(now)) != 0) {
        SSL_CTX *made = make(context, &values, err);
        if (made != NULL) {
            SSL_CTX_free(context->ctx);
            context->ctx = made;
            memcpy(context->seen, now, sizeof(now));
        } else {
            SSL_CTX_free(context->ctx); /* not the old ones: what the files say is what counts */
            context->ctx = NULL;
        }
    }
    values_done(&values);
    if (context->ctx != NULL) {
        SSL_CTX_up_ref(context->ctx);
    }
    return context->ctx;
}
