#include "dns/bearer.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define TOKEN_BYTES_MAX (16 << 10)
#define EARLY_MS        60000 /* clocks and the way there */
#define LASTS_S         300   /* where the answer does not say */

bool bearer_lasts(const struct bearer *bearer)
{
    return bearer->header != NULL && clock_now_ms(clock_system()) < bearer->until_ms;
}

void bearer_drop(struct bearer *bearer)
{
    config_secret_free(bearer->header);
    *bearer = (struct bearer){.header = NULL};
}

/* What ends a header ends a token, too. */
static bool token_ok(const char *token)
{
    size_t len = token == NULL ? 0 : strlen(token);
    for (size_t i = 0; i < len; i++) {
        if (token[i] <= ' ' || token[i] > '~') {
            return false;
        }
    }
    return len > 0 && len <= TOKEN_BYTES_MAX;
}

static bool take(struct bearer *bearer, struct api *api, const json_t *answer)
{
    const char *token = json_string_value(json_object_get(answer, "access_token"));
    const json_t *lasts = json_object_get(answer, "expires_in");
    int64_t lasts_s = json_is_integer(lasts) ? json_integer_value(lasts) : LASTS_S;
    if (!token_ok(token) || lasts_s < 0 || lasts_s > INT32_MAX) {
        return false;
    }
    bearer_drop(bearer);
    https_hide(api->https, token);
    if (asprintf(&bearer->header, "Authorization: Bearer %s", token) < 0) {
        abort();
    }
    bearer->until_ms = clock_now_ms(clock_system()) + lasts_s * 1000 - EARLY_MS;
    return true;
}

bool bearer_sign_in(struct bearer *bearer, struct api *api, const char *url, const char *form,
                    struct err *err)
{
    const struct https_ask ask = {
        .method = "POST",
        .url = url,
        .headers = {"Content-Type: application/x-www-form-urlencoded"},
        .body = form,
    };
    json_t *answer;
    if (api_ask(api, &ask, "signing in", &answer, NULL, err) != API_DONE) {
        if (err != NULL && err->code >= 400 && err->code < 404) {
            err_hint(err, "is dns.%.60s.secret right, and still valid? docs/dns.md#%s",
                     api->zone->name, config_provider_name(api->zone->provider));
        }
        return false;
    }
    bool ok = take(bearer, api, answer);
    json_decref(answer);
    return ok || api_unfit(api, "signing in", "no token", err);
}
