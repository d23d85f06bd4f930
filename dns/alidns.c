/* Alibaba Cloud DNS. It knows no precondition: what stands there is read and compared, changed by the record's id, and read
 * back. Requests are signed with version 3 (ACS3-HMAC-SHA256), as the official SDKs do.
 *
 * https://help.aliyun.com/en/sdk/product-overview/v3-request-structure-and-signature
 * https://help.aliyun.com/en/dns/api-alidns-2015-01-09-updatedomainrecord
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "dns/api.h"

#define ENDPOINT       "https://alidns.aliyuncs.com"
#define ALGORITHM      "ACS3-HMAC-SHA256"
#define VERSION        "2015-01-09"
#define ID_BYTES       40
#define HASH_BYTES     32
#define HEX_BYTES      (2 * HASH_BYTES + 1)
#define PARAMETERS_MAX 8
#define TOKEN_BYTES    4096 /* of temporary credentials: about 1 KiB */

struct alidns {
    struct api api;        /* first */
    char *token;           /* of temporary credentials; or NULL */
    char record[ID_BYTES]; /* id of the CNAME that was read last */
};

struct parameter {
    const char *key;
    const char *value;
};

/* --- signature ---------------------------------------------------------------------------------------------------- */

static char *hex(const unsigned char *bytes, size_t count, char *out)
{
    for (size_t i = 0; i < count; i++) {
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    }
    return out;
}

static void sha256_hex(const char *text, char out[HEX_BYTES])
{
    unsigned char hash[HASH_BYTES];
    if (EVP_Digest(text, strlen(text), hash, NULL, EVP_sha256(), NULL) != 1) {
        abort();
    }
    hex(hash, sizeof(hash), out);
}

static void hmac_hex(const char *key, const char *text, char out[HEX_BYTES])
{
    unsigned char hash[HASH_BYTES];
    unsigned len = sizeof(hash);
    if (HMAC(EVP_sha256(), key, (int)strlen(key), (const unsigned char *)text, strlen(text), hash,
             &len) == NULL) {
        abort();
    }
    hex(hash, sizeof(hash), out);
}

static void host_of(const struct api *api, char out[256])
{
    const char *from = strstr(api->endpoint, "://") + 3;
    snprintf(out, 256, "%.*s", (int)strcspn(from, "/"), from);
}

/* What one request is signed with, besides its action and parameters. */
struct stamp {
    char date[CLOCK_TEXT_BYTES];
    char nonce[33];
    char body_hash[HEX_BYTES]; /* of an empty one: parameters stand in the query */
};

static void stamp_now(struct stamp *out)
{
    unsigned char random[16];
    if (RAND_bytes(random, sizeof(random)) != 1) {
        abort();
    }
    hex(random, sizeof(random), out->nonce);
    clock_rfc3339(clock_wall_ms(clock_system()), out->date);
    memcpy(out->date + strlen("2026-01-01T00:00:00"), "Z", 2); /* no milliseconds */
    sha256_hex("", out->body_hash);
}

/* "Authorization: ..", heap. Headers in the order of their names. */
static char *authorization(const struct alidns *self, const char *action, const char *query,
                           const struct stamp *stamp)
{
    const struct api *api = &self->api;
    const char *token = self->token == NULL ? "" : self->token;
    bool temporary = self->token != NULL;
    char host[256];
    char hash[HEX_BYTES];
    char signature[HEX_BYTES];
    char to_sign[sizeof(ALGORITHM) + HEX_BYTES];
    char *request = NULL;
    char *out = NULL;
    const char *names = temporary ? "host;x-acs-accesskey-id;x-acs-action;x-acs-content-sha256;"
                                    "x-acs-date;x-acs-security-token;x-acs-signature-nonce;"
                                    "x-acs-version"
                                  : "host;x-acs-action;x-acs-content-sha256;x-acs-date;"
                                    "x-acs-signature-nonce;x-acs-version";
    host_of(api, host);
    if (asprintf(&request,
                 "POST\n/\n%s\nhost:%s\n%s%s%sx-acs-action:%s\nx-acs-content-sha256:%s\n"
                 "x-acs-date:%s\n%s%s%sx-acs-signature-nonce:%s\nx-acs-version:" VERSION
                 "\n\n%s\n%s",
                 query, host, temporary ? "x-acs-accesskey-id:" : "",
                 temporary ? api->zone->access_key : "", temporary ? "\n" : "", action,
                 stamp->body_hash, stamp->date, temporary ? "x-acs-security-token:" : "", token,
                 temporary ? "\n" : "", stamp->nonce, names, stamp->body_hash) < 0) {
        abort();
    }
    sha256_hex(request, hash);
    config_secret_free(request);
    snprintf(to_sign, sizeof(to_sign), ALGORITHM "\n%s", hash);
    hmac_hex(api->secret, to_sign, signature);
    if (asprintf(&out, "Authorization: " ALGORITHM " Credential=%s,SignedHeaders=%s,Signature=%s",
                 api->zone->access_key, names, signature) < 0) {
        abort();
    }
    return out;
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static const char *words(const json_t *body)
{
    return json_string_value(json_object_get(body, "Message"));
}

/* "Throttling", "Throttling.User": status 400 or 503. */
static bool throttled(const struct https_answer *answer)
{
    return answer->status >= 400 && answer->body != NULL &&
           strstr(answer->body, "\"Throttling") != NULL;
}

/* @param parameters  in the order of their keys, which is the order that is signed; NULL value = left out */
static bool query_of(const struct parameter *parameters, char out[HTTPS_URL_BYTES])
{
    bool ok = true;
    out[0] = '\0';
    for (size_t i = 0; i < PARAMETERS_MAX && parameters[i].key != NULL; i++) {
        size_t len = strlen(out);
        if (parameters[i].value != NULL) {
            snprintf(out + len, HTTPS_URL_BYTES - len, "%s%s=", len == 0 ? "" : "&",
                     parameters[i].key);
            ok = ok && https_encode(out, HTTPS_URL_BYTES, parameters[i].value);
        }
    }
    return ok;
}

static enum api_got ask(struct alidns *self, const char *action, const struct parameter *parameters,
                        const char *doing, json_t **out_json, struct err *err)
{
    struct api *api = &self->api;
    struct stamp stamp;
    char query[HTTPS_URL_BYTES];
    char url[2 * HTTPS_URL_BYTES];
    char headers[5][200];
    char token[TOKEN_BYTES];
    if (!query_of(parameters, query)) {
        err_set(err, ERR_REFUSED, "alidns, %s: too long a name", doing);
        return API_REFUSED;
    }
    stamp_now(&stamp);
    char *signature = authorization(self, action, query, &stamp);
    snprintf(url, sizeof(url), "%s/?%s", api->endpoint, query);
    snprintf(headers[0], sizeof(headers[0]), "x-acs-action: %s", action);
    snprintf(headers[1], sizeof(headers[1]), "x-acs-content-sha256: %s", stamp.body_hash);
    snprintf(headers[2], sizeof(headers[2]), "x-acs-date: %s", stamp.date);
    snprintf(headers[3], sizeof(headers[3]), "x-acs-signature-nonce: %s", stamp.nonce);
    snprintf(headers[4], sizeof(headers[4]), "x-acs-accesskey-id: %s", api->zone->access_key);
    snprintf(token, sizeof(token), "x-acs-security-token: %s",
             self->token == NULL ? "" : self->token);
    bool temporary = self->token != NULL;
    const struct https_ask request = {
        .method = "POST",
        .url = url,
        .headers = {signature, headers[0], headers[1], headers[2], headers[3],
                    ("x-acs-version: " VERSION), "Accept: application/json",
                    temporary ? headers[4] : NULL, temporary ? token : NULL},
        .body = "",
        .throttled = throttled,
    };
    enum api_got got = api_ask(api, &request, doing, out_json, NULL, err);
    free(signature);
    return got;
}

/* --- read --------------------------------------------------------------------------------------------------------- */

static bool take_cname(struct alidns *self, const json_t *record, struct dns_set *out)
{
    const char *id = json_string_value(json_object_get(record, "RecordId"));
    const char *status = json_string_value(json_object_get(record, "Status"));
    const char *line = json_string_value(json_object_get(record, "Line"));
    const json_t *ttl = json_object_get(record, "TTL");
    if (out->kind != DNS_NOTHING) {
        out->kind = DNS_WEIGHTED; /* by weight, or by who asks (Line) */
        return true;
    }
    if (line != NULL && strcmp(line, "default") != 0) {
        out->kind = DNS_WEIGHTED; /* for some who ask alone */
        return true;
    }
    if (status != NULL && strcasecmp(status, "ENABLE") != 0) {
        out->kind = DNS_OTHER; /* it exists, and is not served */
        return true;
    }
    if (id == NULL || strlen(id) >= sizeof(self->record) ||
        strspn(id, "0123456789") != strlen(id) || !json_is_integer(ttl)) {
        return false;
    }
    snprintf(self->record, sizeof(self->record), "%s", id);
    return api_cname(json_string_value(json_object_get(record, "Value")), json_integer_value(ttl),
                     out);
}

static bool take_record(struct alidns *self, const json_t *record, struct dns_set *out)
{
    const char *type = json_string_value(json_object_get(record, "Type"));
    if (type == NULL) {
        return false;
    }
    if (strcmp(type, "CNAME") == 0) {
        return take_cname(self, record, out);
    }
    out->kind = out->kind == DNS_NOTHING ? DNS_OTHER : out->kind;
    return true;
}

static bool of_name(const struct api *api, const json_t *record, const char *name)
{
    char full[2 * DNS_NAME_BYTES];
    const char *rr = json_string_value(json_object_get(record, "RR"));
    snprintf(full, sizeof(full), "%.250s.%s", rr == NULL ? "?" : rr, api->zone_name);
    return strcasecmp(full, name) == 0;
}

static bool read_name(struct api *api, const char *name, struct dns_set *out, struct err *err)
{
    struct alidns *self = (struct alidns *)api;
    const struct parameter parameters[PARAMETERS_MAX] = {
        {"DomainName", api->zone_name},
        {"PageSize",   "100"         },
        {"SubDomain",  name          }
    };
    char doing[DNS_NAME_BYTES + 20];
    json_t *answer;
    const json_t *record;
    size_t i;
    snprintf(doing, sizeof(doing), "reading %s", name);
    if (ask(self, "DescribeSubDomainRecords", parameters, doing, &answer, err) != API_DONE) {
        return false;
    }
    const json_t *records = json_object_get(json_object_get(answer, "DomainRecords"), "Record");
    bool ok = json_is_array(records);
    json_array_foreach (records, i, record) {
        ok = ok && (!of_name(api, record, name) || take_record(self, record, out));
    }
    json_decref(answer);
    return ok || api_unfit(api, doing, "no list of records of their form", err);
}

/* --- write -------------------------------------------------------------------------------------------------------- */

static enum api_got write_name(struct api *api, const char *name, const struct dns_change *change,
                               struct err *err)
{
    struct alidns *self = (struct alidns *)api;
    bool fresh = change->from == NULL;
    char rr[DNS_NAME_BYTES];
    char ttl[24];
    char doing[DNS_NAME_BYTES + 20];
    size_t below = strlen(name) - strlen(api->zone_name);
    snprintf(doing, sizeof(doing), "changing %s", name);
    snprintf(rr, sizeof(rr), "%.*s", below > 0 ? (int)below - 1 : 1, below > 0 ? name : "@");
    snprintf(ttl, sizeof(ttl), "%lld", (long long)change->ttl_s);
    const struct parameter parameters[PARAMETERS_MAX] = {
        {"DomainName", fresh ? api->zone_name : NULL},
        {"RR",         rr                           },
        {"RecordId",   fresh ? NULL : self->record  },
        {"TTL",        ttl                          },
        {"Type",       "CNAME"                      },
        {"Value",      change->to                   },
    };
    enum api_got got =
        ask(self, fresh ? "AddDomainRecord" : "UpdateDomainRecord", parameters, doing, NULL, err);
    /* "DomainRecordDuplicate", "..NotExist": what stands there now is read, and judged */
    return got == API_REFUSED && err != NULL && err->code >= 400 && err->code < 500 &&
                   err->kind == ERR_REFUSED && err->code != 401 && err->code != 403
               ? API_MISMATCH
               : got;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void done(struct api *api)
{
    config_secret_free(((struct alidns *)api)->token);
}

static bool read_token(struct alidns *self, struct err *err)
{
    if (self->api.zone->session_token == NULL) {
        return true;
    }
    self->token = config_secret_read(self->api.zone->session_token, err);
    https_hide(self->api.https, self->token);
    return self->token != NULL;
}

struct dns_provider *alidns_new(const struct config_zone *zone, struct err *err)
{
    static const struct api_calls calls = {
        .read = read_name, .write = write_name, .done = done, .words = words};
    struct alidns *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        abort();
    }
    if (!api_init(&self->api, zone, &calls, ENDPOINT, err) || !read_token(self, err)) {
        api_free(&self->api.provider);
        return NULL;
    }
    return &self->api.provider;
}
