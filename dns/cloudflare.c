/* Cloudflare. It documents no precondition: what stands there is read and compared, changed by the record's id, and read
 * back. A record that was replaced since has another id, so the change misses it; one that was edited in place since is
 * overwritten. https://developers.cloudflare.com/api/resources/dns/subresources/records/
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "dns/api.h"

#define ENDPOINT "https://api.cloudflare.com/client/v4"
#define ID_BYTES 65

struct cloudflare {
    struct api api;        /* first */
    char *header;          /* Authorization */
    char record[ID_BYTES]; /* id of the CNAME that was read last */
};

/* "success" stands beside every answer; it counts, also behind status 200. */
static bool success(const json_t *body)
{
    return json_is_true(json_object_get(body, "success"));
}

static const char *words(const json_t *body)
{
    const json_t *first = json_array_get(json_object_get(body, "errors"), 0);
    return json_string_value(json_object_get(first, "message"));
}

static struct https_ask request(const struct cloudflare *self, const char *method, const char *url,
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

static bool take_cname(struct cloudflare *self, const json_t *record, struct dns_set *out)
{
    static const char hex[] = "0123456789abcdefABCDEF";
    const char *id = json_string_value(json_object_get(record, "id"));
    const json_t *ttl = json_object_get(record, "ttl");
    if (json_is_true(json_object_get(record, "proxied"))) {
        out->kind =
            DNS_OTHER; /* clients are given addresses of Cloudflare's: Kafka does not pass there */
        return true;
    }
    if (out->kind != DNS_NOTHING) {
        out->kind = DNS_SEVERAL;
        return true;
    }
    if (id == NULL || strlen(id) >= sizeof(self->record) || strspn(id, hex) != strlen(id) ||
        !json_is_integer(ttl)) {
        return false;
    }
    snprintf(self->record, sizeof(self->record), "%s", id);
    return api_cname(json_string_value(json_object_get(record, "content")), json_integer_value(ttl),
                     out);
}

static bool take_record(struct cloudflare *self, const json_t *record, struct dns_set *out)
{
    const char *type = json_string_value(json_object_get(record, "type"));
    if (type == NULL) {
        return false;
    }
    if (strcmp(type, "CNAME") == 0) {
        return take_cname(self, record, out);
    }
    out->kind = DNS_OTHER;
    return true;
}

static bool read_name(struct api *api, const char *name, struct dns_set *out, struct err *err)
{
    struct cloudflare *self = (struct cloudflare *)api;
    char url[HTTPS_URL_BYTES];
    char doing[DNS_NAME_BYTES + 20];
    json_t *answer;
    const json_t *record;
    size_t i;
    snprintf(doing, sizeof(doing), "reading %s", name);
    snprintf(url, sizeof(url), "%s/zones/%s/dns_records?name.exact=%s&per_page=100", api->endpoint,
             api->zone->id, name);
    const struct https_ask ask = request(self, "GET", url, NULL);
    if (api_ask(api, &ask, doing, &answer, NULL, err) != API_DONE) {
        return false;
    }
    const json_t *records = json_object_get(answer, "result");
    bool ok = json_is_array(records);
    json_array_foreach (records, i, record) {
        ok = ok && (!api_name_is(json_object_get(record, "name"), name) ||
                    take_record(self, record, out));
    }
    json_decref(answer);
    return ok || api_unfit(api, doing, "no list of records of their form", err);
}

/* --- write -------------------------------------------------------------------------------------------------------- */

static enum api_got write_name(struct api *api, const char *name, const struct dns_change *change,
                               struct err *err)
{
    const struct cloudflare *self = (const struct cloudflare *)api;
    bool fresh = change->from == NULL;
    char url[HTTPS_URL_BYTES];
    char doing[DNS_NAME_BYTES + 20];
    json_t *tree = json_pack("{sssI}", "content", change->to, "ttl", (json_int_t)change->ttl_s);
    if (fresh) {
        json_object_set_new(tree, "type", json_string("CNAME"));
        json_object_set_new(tree, "name", json_string(name));
        json_object_set_new(tree, "proxied", json_false());
    }
    char *body = json_text(tree);
    snprintf(doing, sizeof(doing), "changing %s", name);
    snprintf(url, sizeof(url), "%s/zones/%s/dns_records%s%s", api->endpoint, api->zone->id,
             fresh ? "" : "/", fresh ? "" : self->record);
    const struct https_ask ask = request(self, fresh ? "POST" : "PATCH", url, body);
    enum api_got got = api_ask(api, &ask, doing, NULL, NULL, err);
    free(body);
    json_decref(tree);
    /* the record was taken away since: what stands there now is read */
    return got == API_MISSING ? API_MISMATCH : got;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void done(struct api *api)
{
    config_secret_free(((struct cloudflare *)api)->header);
}

struct dns_provider *cloudflare_new(const struct config_zone *zone, struct err *err)
{
    static const struct api_calls calls = {
        .read = read_name, .write = write_name, .done = done, .words = words, .success = success};
    struct cloudflare *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        abort();
    }
    if (!api_init(&self->api, zone, &calls, ENDPOINT, err) ||
        asprintf(&self->header, "Authorization: Bearer %s", self->api.secret) < 0) {
        api_free(&self->api.provider);
        return NULL;
    }
    return &self->api.provider;
}
