/* Google Cloud DNS. A change has deletions and additions and is all or nothing; what is deleted has to be what stands there
 * exactly: that is a compare-and-swap. Signed in as a service account, by a JWT that OpenSSL signs (RFC 7523).
 *
 * https://cloud.google.com/dns/docs/reference/rest/v1/changes/create
 * https://developers.google.com/identity/protocols/oauth2/service-account#httprest
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "dns/bearer.h"

#define ENDPOINT "https://dns.googleapis.com"
#define TOKENS \
    "https://oauth2.googleapis.com/token" /* and the audience, wherever tokens are given */
#define SCOPE         "https://www.googleapis.com/auth/ndev.clouddns.readwrite"
#define GRANT         "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
#define ASSERTION_S   600
#define SIGNATURE_MAX 1024 /* RSA of 8192 bits */

struct google {
    struct api api;     /* first */
    json_t *account;    /* the service account's file */
    const char *tokens; /* where tokens are given */
    EVP_PKEY *key;
    struct bearer bearer;
    struct dns_set found; /* by the last read: what a deletion has to name */
    char change_id[64];   /* of the last change; "" = none of ours */
};

static const char *words(const json_t *body)
{
    const json_t *error = json_object_get(body, "error");
    const char *said = json_string_value(json_object_get(body, "error_description"));
    said = said == NULL ? json_string_value(json_object_get(error, "message")) : said;
    return said == NULL ? json_string_value(error) : said;
}

/* --- signing in --------------------------------------------------------------------------------------------------- */

/* base64url without padding, heap. */
static char *base64url(const unsigned char *bytes, size_t len)
{
    char *out = calloc(1, (len + 2) / 3 * 4 + 1);
    if (out == NULL) {
        abort();
    }
    EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);
    for (char *at = out; *at != '\0'; at++) {
        *at = *at == '+' ? '-' : *at == '/' ? '_' : *at;
    }
    out[strcspn(out, "=")] = '\0';
    return out;
}

static char *base64url_json(json_t *take_tree)
{
    char *text = json_text(take_tree);
    char *out = base64url((const unsigned char *)text, strlen(text));
    free(text);
    json_decref(take_tree);
    return out;
}

/* RS256 over `text`; heap, or NULL when the key does not sign so. */
static char *sign(EVP_PKEY *key, const char *text)
{
    unsigned char signature[SIGNATURE_MAX];
    size_t len = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok =
        context != NULL && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA &&
        EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(context, signature, &len, (const unsigned char *)text, strlen(text)) == 1;
    EVP_MD_CTX_free(context);
    return ok ? base64url(signature, len) : NULL;
}

static bool sign_in(struct google *self, struct err *err)
{
    int64_t now_s = clock_wall_ms(clock_system()) / 1000;
    const char *key_id = json_string_value(json_object_get(self->account, "private_key_id"));
    const char *mail = json_string_value(json_object_get(self->account, "client_email"));
    char *head = base64url_json(
        json_pack("{ssssss}", "alg", "RS256", "typ", "JWT", "kid", key_id == NULL ? "" : key_id));
    char *claims =
        base64url_json(json_pack("{sssssssIsI}", "iss", mail, "scope", SCOPE, "aud", TOKENS, "iat",
                                 (json_int_t)now_s, "exp", (json_int_t)now_s + ASSERTION_S));
    char *text = NULL;
    char *form = NULL;
    if (asprintf(&text, "%s.%s", head, claims) < 0) {
        abort();
    }
    char *signature = sign(self->key, text);
    bool ok = signature != NULL;
    if (!ok) {
        err_set(err, ERR_CONFIG, "dns.%.60s.secret: its private_key does not sign (RSA, SHA-256)",
                self->api.zone->name);
    } else if (asprintf(&form, "grant_type=%s&assertion=%s.%s", GRANT, text, signature) < 0) {
        abort();
    }
    ok = ok && bearer_sign_in(&self->bearer, &self->api, self->tokens, form, err);
    free(head);
    free(claims);
    free(signature);
    config_secret_free(form);
    free(text);
    return ok;
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* @param more  behind the managed zone */
static enum api_got ask(struct google *self, const char *method, const char *more, const char *body,
                        const char *doing, json_t **out_json, struct err *err)
{
    const struct config_zone *zone = self->api.zone;
    char url[HTTPS_URL_BYTES];
    if (!bearer_lasts(&self->bearer) && !sign_in(self, err)) {
        return API_REFUSED; /* nothing was asked for yet */
    }
    snprintf(url, sizeof(url), "%s/dns/v1/projects/%s/managedZones/%s/%s", self->api.endpoint,
             zone->project, zone->id, more);
    const struct https_ask request = {
        .method = method,
        .url = url,
        .headers = {self->bearer.header, "Content-Type: application/json"},
        .body = body,
    };
    return api_ask(&self->api, &request, doing, out_json, NULL, err);
}

/* --- read --------------------------------------------------------------------------------------------------------- */

static bool take_cname(const json_t *rrset, struct dns_set *out)
{
    const json_t *values = json_object_get(rrset, "rrdatas");
    const json_t *ttl = json_object_get(rrset, "ttl");
    if (json_array_size(values) > 1) {
        out->kind = DNS_SEVERAL;
        return true;
    }
    return json_is_integer(ttl) &&
           api_cname(json_string_value(json_array_get(values, 0)), json_integer_value(ttl), out);
}

static bool take_rrset(const json_t *rrset, struct dns_set *out)
{
    const char *type = json_string_value(json_object_get(rrset, "type"));
    if (type == NULL) {
        return false;
    }
    if (json_object_get(rrset, "routingPolicy") != NULL) {
        out->kind = DNS_WEIGHTED; /* by weight, place or health */
        return true;
    }
    if (strcmp(type, "CNAME") == 0) {
        return take_cname(rrset, out);
    }
    out->kind = DNS_OTHER;
    return true;
}

static bool read_name(struct api *api, const char *name, struct dns_set *out, struct err *err)
{
    struct google *self = (struct google *)api;
    char more[DNS_NAME_BYTES + 20];
    char doing[DNS_NAME_BYTES + 20];
    json_t *answer;
    const json_t *rrset;
    size_t i;
    snprintf(doing, sizeof(doing), "reading %s", name);
    snprintf(more, sizeof(more), "rrsets?name=%s.", name);
    if (ask(self, "GET", more, NULL, doing, &answer, err) != API_DONE) {
        return false;
    }
    const json_t *rrsets = json_object_get(answer, "rrsets");
    bool ok = json_is_array(rrsets);
    json_array_foreach (rrsets, i, rrset) {
        ok = ok && (!api_name_is(json_object_get(rrset, "name"), name) || take_rrset(rrset, out));
    }
    json_decref(answer);
    self->found = *out;
    return ok || api_unfit(api, doing, "no list of records of their form", err);
}

/* --- write -------------------------------------------------------------------------------------------------------- */

static json_t *rrset_json(const char *name, const char *value, int64_t ttl_s)
{
    char owner[DNS_NAME_BYTES + 1];
    char text[DNS_NAME_BYTES + 1];
    snprintf(owner, sizeof(owner), "%s.", name);
    snprintf(text, sizeof(text), "%s.", value);
    return json_pack("{sssssIs[s]}", "name", owner, "type", "CNAME", "ttl", (json_int_t)ttl_s,
                     "rrdatas", text);
}

static void keep_id(struct google *self, const json_t *answer)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    const char *id = json_string_value(json_object_get(answer, "id"));
    bool fits =
        id != NULL && strlen(id) < sizeof(self->change_id) && strspn(id, letters) == strlen(id);
    snprintf(self->change_id, sizeof(self->change_id), "%s", fits ? id : "");
}

static enum api_got write_name(struct api *api, const char *name, const struct dns_change *change,
                               struct err *err)
{
    struct google *self = (struct google *)api;
    char doing[DNS_NAME_BYTES + 20];
    json_t *answer = NULL;
    json_t *tree = json_pack("{s[o]}", "additions", rrset_json(name, change->to, change->ttl_s));
    if (change->from != NULL) {
        json_object_set_new(
            tree, "deletions",
            json_pack("[o]", rrset_json(name, self->found.value, self->found.ttl_s)));
    }
    char *body = json_text(tree);
    snprintf(doing, sizeof(doing), "changing %s", name);
    enum api_got got = ask(self, "POST", "changes", body, doing, &answer, err);
    if (got == API_DONE) {
        keep_id(self, answer);
    }
    json_decref(answer);
    free(body);
    json_decref(tree);
    return got == API_MISSING ? API_MISMATCH : got; /* what was to be deleted is not there */
}

static bool settled(struct api *api, bool *out, struct err *err)
{
    struct google *self = (struct google *)api;
    char more[100];
    json_t *answer;
    if (self->change_id[0] == '\0') {
        return true; /* of another process: its servers are asked */
    }
    snprintf(more, sizeof(more), "changes/%s", self->change_id);
    if (ask(self, "GET", more, NULL, "asking for the change", &answer, err) != API_DONE) {
        return false;
    }
    const char *status = json_string_value(json_object_get(answer, "status"));
    *out = status != NULL && strcmp(status, "done") == 0;
    json_decref(answer);
    return true;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void done(struct api *api)
{
    struct google *self = (struct google *)api;
    bearer_drop(&self->bearer);
    EVP_PKEY_free(self->key);
    json_decref(self->account);
}

static bool read_account(struct google *self, struct err *err)
{
    const struct config_zone *zone = self->api.zone;
    self->account = json_parse(self->api.secret, strlen(self->api.secret), "its text", NULL);
    const char *key = json_string_value(json_object_get(self->account, "private_key"));
    const char *mail = json_string_value(json_object_get(self->account, "client_email"));
    const char *tokens = json_string_value(json_object_get(self->account, "token_uri"));
    if (key == NULL || mail == NULL) {
        err_set(err, ERR_CONFIG, "dns.%.60s.secret is no service account's JSON", zone->name);
        return err_hint(err, "docs/dns.md#google");
    }
    https_hide(self->api.https, key);
    BIO *bio = BIO_new_mem_buf(key, -1);
    self->key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (self->key == NULL) {
        err_set(err, ERR_CONFIG, "dns.%.60s.secret: its private_key cannot be read", zone->name);
        return err_hint(err, "docs/dns.md#google");
    }
    self->tokens = zone->sign_in != NULL                                   ? zone->sign_in
                   : tokens != NULL && strncmp(tokens, "https://", 8) == 0 ? tokens
                                                                           : TOKENS;
    return true;
}

struct dns_provider *google_new(const struct config_zone *zone, struct err *err)
{
    static const struct api_calls calls = {.read = read_name,
                                           .write = write_name,
                                           .settled = settled,
                                           .done = done,
                                           .words = words,
                                           .compares = true};
    struct google *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        abort();
    }
    if (!api_init(&self->api, zone, &calls, ENDPOINT, err) || !read_account(self, err)) {
        api_free(&self->api.provider);
        return NULL;
    }
    return &self->api.provider;
}
