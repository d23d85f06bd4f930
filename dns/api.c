#include "dns/api.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "dns/name.h"

#define PASSES \
    2 /* a change of which it is not known is tried again once, if `from` still stands there */

/* --- an answer ---------------------------------------------------------------------------------------------------- */

static bool name_api(const struct api *api, const char *doing, struct err *err)
{
    return err_wrap(err, "%s, %s", config_provider_name(api->zone->provider), doing);
}

bool api_unfit(const struct api *api, const char *doing, const char *what, struct err *err)
{
    err_set(err, ERR_RETRY, "answers what cannot be used: %s", what);
    err_hint(err, "is that the API? dns.%.60s.endpoint: docs/dns.md#%s", api->zone->name,
             config_provider_name(api->zone->provider));
    return name_api(api, doing, err);
}

static void refused(const struct api *api, const struct https_answer *answer, const char *words,
                    struct err *err)
{
    const char *provider = config_provider_name(api->zone->provider);
    int status = (int)answer->status;
    err_set_code(err, ERR_REFUSED, status, "HTTP %d%s%s", status, words[0] == '\0' ? "" : ": ",
                 words);
    err_hint(err, "are the keys of dns.%.60s right, and may its secret do this? docs/dns.md#%s",
             api->zone->name, provider);
}

static enum api_got unknown(const struct api *api, const struct https_answer *answer,
                            const char *words, struct err *err)
{
    int status = (int)answer->status;
    if (status >= 300 && status < 400) {
        err_set_code(err, ERR_RETRY, status, "HTTP %d: it leads elsewhere, and is not followed",
                     status);
        err_hint(err, "the API's own address: dns.%.60s.endpoint", api->zone->name);
    } else {
        err_set_code(err, ERR_RETRY, status, "HTTP %d%s%s", status, words[0] == '\0' ? "" : ": ",
                     words);
        err_hint(err, "the same command again finds out");
    }
    return API_UNKNOWN;
}

enum api_got api_judge(struct api *api, const struct https_ask *ask, const char *doing,
                       const struct https_answer *answer, const char *words, struct err *err)
{
    char shown[HTTPS_WORDS_BYTES] = "";
    enum api_got got = API_DONE;
    if (words != NULL) {
        https_words(api->https, words, shown);
    }
    if (answer->status >= 200 && answer->status < 300) {
        return API_DONE;
    }
    bool throttled = answer->status == 429 || (ask->throttled != NULL && ask->throttled(answer));
    if (throttled) {
        err_set_code(err, ERR_RETRY, (int)answer->status, "it is asked too much, says it%s%s",
                     shown[0] == '\0' ? "" : ": ", shown);
        err_hint(err, "the same command again, in a minute");
        got = API_REFUSED;
    } else if (answer->status >= 400 && answer->status < 500 && answer->status != 408) {
        refused(api, answer, shown, err);
        got = answer->status == 404                            ? API_MISSING
              : answer->status == 409 || answer->status == 412 ? API_MISMATCH
                                                               : API_REFUSED;
    } else {
        got = unknown(api, answer, shown, err);
    }
    name_api(api, doing, err);
    return got;
}

/* 2xx, and what it holds. */
static enum api_got take(struct api *api, const char *doing, const struct https_answer *answer,
                         const json_t *body, bool wanted, struct err *err)
{
    char shown[HTTPS_WORDS_BYTES];
    if (body == NULL && (wanted || answer->len > 0)) {
        api_unfit(api, doing, "no JSON", err);
        return API_UNKNOWN;
    }
    if (body == NULL || api->calls->success == NULL || api->calls->success(body)) {
        return API_DONE;
    }
    const char *words = api->calls->words == NULL ? NULL : api->calls->words(body);
    err_set_code(err, ERR_RETRY, (int)answer->status, "it was not done%s%s",
                 words == NULL ? "" : ": ",
                 words == NULL ? "" : https_words(api->https, words, shown));
    err_hint(err, "docs/dns.md#%s", config_provider_name(api->zone->provider));
    name_api(api, doing, err);
    return API_UNKNOWN;
}

enum api_got api_ask(struct api *api, const struct https_ask *ask, const char *doing,
                     json_t **out_json, struct https_answer *out_answer, struct err *err)
{
    struct https_answer answer;
    json_t *body = NULL;
    enum api_got got = API_UNKNOWN;
    if (out_json != NULL) {
        *out_json = NULL;
    }
    if (!https_ask(api->https, ask, &answer, err)) {
        name_api(api, doing, err);
        return answer.maybe_sent ? API_UNKNOWN : API_REFUSED;
    }
    body = json_parse(answer.body, answer.len, "its answer", NULL);
    if (!json_is_object(body)) {
        json_decref(body);
        body = NULL;
    }
    const char *words = api->calls->words == NULL ? NULL : api->calls->words(body);
    got = api_judge(api, ask, doing, &answer, words, err);
    if (got == API_DONE) {
        got = take(api, doing, &answer, body, out_json != NULL, err);
    }
    if (got == API_DONE && out_json != NULL) {
        *out_json = body;
        body = NULL;
    }
    json_decref(body);
    if (out_answer != NULL) {
        *out_answer = answer;
    } else {
        https_answer_done(&answer);
    }
    return got;
}

/* --- records ------------------------------------------------------------------------------------------------------ */

bool api_name_is(const json_t *value, const char *name)
{
    char own[DNS_NAME_BYTES];
    const char *text = json_string_value(value);
    return text != NULL && dns_name(text, own) && strcmp(own, name) == 0;
}

bool api_cname(const char *value, int64_t ttl_s, struct dns_set *out)
{
    struct dns_set set = {.kind = DNS_CNAME, .ttl_s = ttl_s};
    if (value == NULL || !dns_name(value, set.value) || ttl_s < 0 || ttl_s > INT32_MAX) {
        return false;
    }
    *out = set;
    return true;
}

/* --- get, swap ---------------------------------------------------------------------------------------------------- */

static bool get(struct dns_provider *provider, const char *name, struct dns_set *out,
                struct err *err)
{
    struct api *api = (struct api *)provider;
    *out = (struct dns_set){.kind = DNS_NOTHING, .ttl_s = -1};
    return api->calls->read(api, name, out, err);
}

static bool not_known(const char *name, struct err *err)
{
    err->kind = ERR_RETRY; /* whatever it is: what became of the change is not known */
    err_hint(err, "the same command again finds out, and is safe");
    return err_wrap(err, "whether %s was changed is not known", name);
}

/* It says done, and what is read back is what stood there before. */
static bool says_done(const struct api *api, const char *name, const struct dns_set *set,
                      struct err *err)
{
    char text[DNS_TEXT_BYTES];
    err_set(err, ERR_RETRY, "%s says done, and %s holds %s",
            config_provider_name(api->zone->provider), name, dns_set_text(set, text));
    return err_hint(err, "the same command again finds out");
}

/* @param got  what the attempt before ended in, API_DONE for the first. true: it is over, *out_ok says how. */
static bool over(struct api *api, const char *name, const struct dns_change *change, int pass,
                 enum api_got got, bool *out_ok, struct err *err)
{
    struct dns_set set;
    struct err why = *err; /* of the attempt before */
    bool unchanged = false;
    *out_ok = false;
    if (!get(&api->provider, name, &set, err)) {
        return pass == 0 || !not_known(name, err);
    }
    *out_ok = provider_outcome(name, change, &set, &unchanged, err);
    if (*out_ok || !unchanged) {
        return true;
    }
    if (pass > 0 && got == API_DONE) {
        return !says_done(api, name, &set, err);
    }
    *err = why;
    return pass == PASSES;
}

static bool swap(struct dns_provider *provider, const char *name, const struct dns_change *change,
                 bool only_check, struct err *err)
{
    struct api *api = (struct api *)provider;
    struct err own = {0};
    enum api_got got = API_DONE;
    bool ok = false;
    err = err == NULL ? &own : err;
    err_clear(err);
    for (int pass = 0; !over(api, name, change, pass, got, &ok, err); pass++) {
        if (only_check) {
            return true;
        }
        err_clear(err);
        got = api->calls->write(api, name, change, err);
        if (got == API_REFUSED || got == API_MISSING) {
            return false; /* nothing was done */
        }
        if (got == API_DONE && api->calls->compares) {
            return true;
        }
    }
    return ok;
}

static bool settled(struct dns_provider *provider, const char *name, const char *value, bool *out,
                    struct err *err)
{
    struct api *api = (struct api *)provider;
    (void)name;
    (void)value;
    *out = true;
    return api->calls->settled == NULL || api->calls->settled(api, out, err);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

bool api_init(struct api *api, const struct config_zone *zone, const struct api_calls *calls,
              const char *endpoint, struct err *err)
{
    api->provider = (struct dns_provider){get, swap, settled, api_free, NULL};
    api->zone = zone;
    api->calls = calls;
    api->endpoint = zone->endpoint == NULL ? endpoint : zone->endpoint;
    snprintf(api->ca_key, sizeof(api->ca_key), "dns.%.250s.ca", zone->name);
    snprintf(api->address_key, sizeof(api->address_key), "dns.%.250s.endpoint", zone->name);
    api->https = https_new(&(struct https_options){.ca = zone->ca,
                                                   .timeout_ms = zone->request_timeout_ms,
                                                   .ca_key = api->ca_key,
                                                   .address_key = api->address_key});
    api->secret = zone->secret == NULL ? NULL : config_secret_read(zone->secret, err);
    https_hide(api->https, api->secret);
    return dns_name(zone->name, api->zone_name) && (zone->secret == NULL || api->secret != NULL);
}

void api_free(struct dns_provider *provider)
{
    struct api *api = (struct api *)provider;
    if (api->calls->done != NULL) {
        api->calls->done(api);
    }
    https_free(api->https);
    config_secret_free(api->secret);
    free(api);
}
