/* PowerDNS by its HTTP API. It knows no precondition: what stands there is read and compared, replaced, and read back; a
 * change by somebody else between the two is overwritten. The same server by dynamic updates (rfc2136) compares itself.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "dns/api.h"

struct powerdns {
    struct api api;  /* first */
    char *header;    /* X-API-Key */
    bool is_primary; /* its secondaries are told */
};

static const char *words(const json_t *body)
{
    return json_string_value(json_object_get(body, "error"));
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* @param more  behind the zone: "/notify", "?rrset_name=..." */
static void zone_url(const struct api *api, const char *more, char out[HTTPS_URL_BYTES])
{
    const char *server = api->zone->id == NULL ? "localhost" : api->zone->id;
    snprintf(out, HTTPS_URL_BYTES, "%s/api/v1/servers/%s/zones/%s.%s", api->endpoint, server,
             api->zone_name, more);
}

static struct https_ask request(const struct powerdns *self, const char *method, const char *url,
                                const char *body)
{
    return (struct https_ask){
        .method = method,
        .url = url,
        .headers = {self->header, "Content-Type: application/json"},
        .body = body
    };
}

/* --- read --------------------------------------------------------------------------------------------------------- */

static bool take_cname(const json_t *rrset, struct dns_set *out)
{
    const json_t *records = json_object_get(rrset, "records");
    const json_t *first = json_array_get(records, 0);
    const json_t *ttl = json_object_get(rrset, "ttl");
    if (json_array_size(records) > 1) {
        out->kind = DNS_SEVERAL;
        return true;
    }
    if (json_is_true(json_object_get(first, "disabled"))) {
        out->kind = DNS_OTHER; /* it exists, and is not served */
        return true;
    }
    return json_is_integer(ttl) && api_cname(json_string_value(json_object_get(first, "content")),
                                             json_integer_value(ttl), out);
}

/* What stands at the name, of all sets of records that were sent. */
static bool take_rrset(const json_t *rrset, struct dns_set *out)
{
    const char *type = json_string_value(json_object_get(rrset, "type"));
    if (type == NULL) {
        return false;
    }
    if (strcmp(type, "LUA") == 0) {
        out->kind = DNS_WEIGHTED;
    } else if (strcmp(type, "CNAME") == 0) {
        return take_cname(rrset, out);
    } else if (out->kind == DNS_NOTHING) {
        out->kind = DNS_OTHER;
    }
    return true;
}

static bool read_name(struct api *api, const char *name, struct dns_set *out, struct err *err)
{
    struct powerdns *self = (struct powerdns *)api;
    char url[HTTPS_URL_BYTES];
    char more[DNS_NAME_BYTES + 20];
    char doing[DNS_NAME_BYTES + 20];
    json_t *zone;
    const json_t *rrset;
    size_t i;
    snprintf(more, sizeof(more), "?rrset_name=%s.", name);
    snprintf(doing, sizeof(doing), "reading %s", name);
    zone_url(api, more, url);
    const struct https_ask ask = request(self, "GET", url, NULL);
    if (api_ask(api, &ask, doing, &zone, NULL, err) != API_DONE) {
        return false;
    }
    const char *kind = json_string_value(json_object_get(zone, "kind"));
    const json_t *rrsets = json_object_get(zone, "rrsets");
    bool ok = json_is_array(rrsets);
    self->is_primary =
        kind != NULL && (strcmp(kind, "Master") == 0 || strcmp(kind, "Primary") == 0);
    json_array_foreach (rrsets, i, rrset) {
        ok = ok && (!api_name_is(json_object_get(rrset, "name"), name) || take_rrset(rrset, out));
    }
    json_decref(zone);
    return ok || api_unfit(api, doing, "no list of records of their form", err);
}

/* --- write -------------------------------------------------------------------------------------------------------- */

static enum api_got write_name(struct api *api, const char *name, const struct dns_change *change,
                               struct err *err)
{
    const struct powerdns *self = (const struct powerdns *)api;
    char url[HTTPS_URL_BYTES];
    char doing[DNS_NAME_BYTES + 20];
    char owner[DNS_NAME_BYTES + 1];
    char content[DNS_NAME_BYTES + 1];
    snprintf(owner, sizeof(owner), "%s.", name);
    snprintf(content, sizeof(content), "%s.", change->to);
    snprintf(doing, sizeof(doing), "changing %s", name);
    json_t *tree = json_pack("{s[{sssssssIs[{sssb}]}]}", "rrsets", "name", owner, "type", "CNAME",
                             "changetype", "REPLACE", "ttl", (json_int_t)change->ttl_s, "records",
                             "content", content, "disabled", 0);
    char *body = json_text(tree);
    zone_url(api, "", url);
    const struct https_ask ask = request(self, "PATCH", url, body);
    enum api_got got = api_ask(api, &ask, doing, NULL, NULL, err);
    if (got == API_DONE && self->is_primary) {
        zone_url(api, "/notify", url);
        const struct https_ask notify = request(self, "PUT", url, NULL);
        /* what its secondaries say is asked of them: nothing hangs on this */
        (void)api_ask(api, &notify, "telling its secondaries", NULL, NULL, NULL);
    }
    free(body);
    json_decref(tree);
    return got;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void done(struct api *api)
{
    config_secret_free(((struct powerdns *)api)->header);
}

struct dns_provider *powerdns_new(const struct config_zone *zone, struct err *err)
{
    static const struct api_calls calls = {
        .read = read_name, .write = write_name, .done = done, .words = words};
    struct powerdns *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        abort();
    }
    if (!api_init(&self->api, zone, &calls, NULL, err) ||
        asprintf(&self->header, "X-API-Key: %s", self->api.secret) < 0) {
        api_free(&self->api.provider);
        return NULL;
    }
    return &self->api.provider;
}
