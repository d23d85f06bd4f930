/* Azure DNS. A record set is replaced with If-Match and the tag that was read (If-None-Match: * makes one): that is a
 * compare-and-swap. Signed in by client credentials.
 *
 * https://learn.microsoft.com/en-us/rest/api/dns/record-sets/create-or-update
 * https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "dns/bearer.h"

#define ENDPOINT "https://management.azure.com"
#define SIGN_IN  "https://login.microsoftonline.com"
#define VERSION  "api-version=2018-05-01"

struct azure {
    struct api api; /* first */
    struct bearer bearer;
    char etag[128];   /* of the set that was read last */
    json_t *metadata; /* likewise: kept; or NULL */
};

static const char *words(const json_t *body)
{
    const json_t *error = json_object_get(body, "error");
    const char *said = json_string_value(json_object_get(body, "error_description"));
    said = said == NULL ? json_string_value(json_object_get(error, "message")) : said;
    said = said == NULL ? json_string_value(json_object_get(body, "message")) : said;
    return said == NULL ? json_string_value(error) : said;
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static bool sign_in(struct azure *self, struct err *err)
{
    const struct config_zone *zone = self->api.zone;
    char url[HTTPS_URL_BYTES];
    char form[4096] = "grant_type=client_credentials&client_id=";
    bool ok = https_encode(form, sizeof(form), zone->client);
    snprintf(form + strlen(form), sizeof(form) - strlen(form), "&scope=");
    ok = ok && https_encode(form, sizeof(form), self->api.endpoint);
    snprintf(form + strlen(form), sizeof(form) - strlen(form), "%%2F.default&client_secret=");
    ok = ok && https_encode(form, sizeof(form), self->api.secret);
    snprintf(url, sizeof(url), "%s/%s/oauth2/v2.0/token",
             zone->sign_in == NULL ? SIGN_IN : zone->sign_in, zone->tenant);
    if (!ok) {
        err_set(err, ERR_CONFIG, "dns.%.60s.secret is longer than any client secret", zone->name);
    }
    ok = ok && bearer_sign_in(&self->bearer, &self->api, url, form, err);
    explicit_bzero(form, sizeof(form));
    return ok;
}

/* "kafka" of kafka.example.com in example.com; "@" for the zone itself. */
static void relative(const struct api *api, const char *name, char out[DNS_NAME_BYTES])
{
    size_t below = strlen(name) - strlen(api->zone_name);
    snprintf(out, DNS_NAME_BYTES, "%.*s", below > 0 ? (int)below - 1 : 1, below > 0 ? name : "@");
}

/* @param more  behind the zone, with its query. @param condition  a header; NULL = none */
static enum api_got ask(struct azure *self, const char *method, const char *more, const char *body,
                        const char *condition, const char *doing, json_t **out_json,
                        struct err *err)
{
    const struct config_zone *zone = self->api.zone;
    char url[HTTPS_URL_BYTES];
    if (!bearer_lasts(&self->bearer) && !sign_in(self, err)) {
        return API_REFUSED; /* nothing was asked for yet */
    }
    snprintf(url, sizeof(url),
             "%s/subscriptions/%s/resourceGroups/%s/providers/Microsoft.Network/dnsZones/%s/%s",
             self->api.endpoint, zone->subscription, zone->resource_group, self->api.zone_name,
             more);
    const struct https_ask request = {
        .method = method,
        .url = url,
        .headers = {self->bearer.header, "Content-Type: application/json", condition},
        .body = body,
    };
    return api_ask(&self->api, &request, doing, out_json, NULL, err);
}

/* --- read --------------------------------------------------------------------------------------------------------- */

static bool take_cname(struct azure *self, const json_t *answer, struct dns_set *out)
{
    const json_t *properties = json_object_get(answer, "properties");
    const json_t *ttl = json_object_get(properties, "TTL");
    const json_t *cname = json_object_get(properties, "CNAMERecord");
    const json_t *target = json_object_get(properties, "targetResource");
    json_t *metadata = json_object_get(properties, "metadata");
    const char *etag = json_string_value(json_object_get(answer, "etag"));
    if (json_string_value(json_object_get(target, "id")) != NULL) {
        out->kind = DNS_OTHER; /* an alias of another resource */
        return true;
    }
    if (etag == NULL || strlen(etag) >= sizeof(self->etag) || strpbrk(etag, "\r\n") != NULL ||
        !json_is_integer(ttl)) {
        return false;
    }
    snprintf(self->etag, sizeof(self->etag), "%s", etag);
    json_decref(self->metadata);
    self->metadata = json_is_object(metadata) ? json_incref(metadata) : NULL;
    return api_cname(json_string_value(json_object_get(cname, "cname")), json_integer_value(ttl),
                     out);
}

/* No CNAME stands there: something else? */
static bool read_others(struct azure *self, const char *name, const char *doing,
                        struct dns_set *out, struct err *err)
{
    char more[2 * DNS_NAME_BYTES];
    char own[DNS_NAME_BYTES];
    json_t *answer;
    const json_t *set;
    size_t i;
    relative(&self->api, name, own);
    snprintf(more, sizeof(more), "recordsets?%%24recordsetnamesuffix=%s&%%24top=100&" VERSION, own);
    if (ask(self, "GET", more, NULL, NULL, doing, &answer, err) != API_DONE) {
        return false;
    }
    const json_t *sets = json_object_get(answer, "value");
    bool whole = json_string_value(json_object_get(answer, "nextLink")) == NULL;
    bool ok = json_is_array(sets);
    out->kind = DNS_NOTHING;
    json_array_foreach (sets, i, set) {
        const char *found = json_string_value(json_object_get(set, "name"));
        out->kind = found != NULL && strcasecmp(found, own) == 0 ? DNS_OTHER : out->kind;
    }
    json_decref(answer);
    return (ok && (whole || out->kind == DNS_OTHER)) ||
           api_unfit(&self->api, doing, "no whole list of records", err);
}

static bool read_name(struct api *api, const char *name, struct dns_set *out, struct err *err)
{
    struct azure *self = (struct azure *)api;
    char more[DNS_NAME_BYTES + 60];
    char own[DNS_NAME_BYTES];
    char doing[DNS_NAME_BYTES + 20];
    json_t *answer = NULL;
    snprintf(doing, sizeof(doing), "reading %s", name);
    relative(api, name, own);
    snprintf(more, sizeof(more), "CNAME/%s?" VERSION, own);
    enum api_got got = ask(self, "GET", more, NULL, NULL, doing, &answer, err);
    if (got == API_MISSING) {
        err_clear(err);
        return read_others(self, name, doing, out, err);
    }
    bool ok = got == API_DONE && take_cname(self, answer, out);
    if (got == API_DONE && !ok) {
        api_unfit(api, doing, "no record of its form", err);
    }
    json_decref(answer);
    return ok;
}

/* --- write -------------------------------------------------------------------------------------------------------- */

static enum api_got write_name(struct api *api, const char *name, const struct dns_change *change,
                               struct err *err)
{
    struct azure *self = (struct azure *)api;
    char more[DNS_NAME_BYTES + 60];
    char own[DNS_NAME_BYTES];
    char doing[DNS_NAME_BYTES + 20];
    char condition[sizeof(self->etag) + 20] = "If-None-Match: *";
    json_t *tree = json_pack("{s{sIs{ss}}}", "properties", "TTL", (json_int_t)change->ttl_s,
                             "CNAMERecord", "cname", change->to);
    if (change->from != NULL) {
        snprintf(condition, sizeof(condition), "If-Match: %s", self->etag);
        json_object_set(json_object_get(tree, "properties"), "metadata", self->metadata);
    }
    char *body = json_text(tree);
    snprintf(doing, sizeof(doing), "changing %s", name);
    relative(api, name, own);
    snprintf(more, sizeof(more), "CNAME/%s?" VERSION, own);
    enum api_got got = ask(self, "PUT", more, body, condition, doing, NULL, err);
    free(body);
    json_decref(tree);
    return got;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void done(struct api *api)
{
    struct azure *self = (struct azure *)api;
    bearer_drop(&self->bearer);
    json_decref(self->metadata);
}

struct dns_provider *azure_new(const struct config_zone *zone, struct err *err)
{
    static const struct api_calls calls = {
        .read = read_name, .write = write_name, .done = done, .words = words, .compares = true};
    struct azure *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        abort();
    }
    if (!api_init(&self->api, zone, &calls, ENDPOINT, err)) {
        api_free(&self->api.provider);
        return NULL;
    }
    return &self->api.provider;
}
