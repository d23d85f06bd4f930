#include "dns/aws_keys.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/heap.h"
#include "base/json.h"

#define LASTS_MS \
    300000 /* asked again so often: whoever gives them keeps them for as long as they last */
#define AGAIN_MS       30000 /* likewise, when nobody answered and the old ones hold */
#define FOR_EVER       INT64_MAX
#define WORD_MAX       4096 /* a session token has up to 2 KiB */
#define ROLE_MAX       64   /* of IAM */
#define HTTP_NOT_FOUND 404
#define INSTANCE_URL   "http://169.254.169.254"
#define ECS_URL        "http://169.254.170.2"
#define DOCS           "docs/dns.md#credentials"

static bool missing(const struct config_zone *zone, struct err *err, const char *what)
{
    err_set(err, ERR_CONFIG, "%s", what);
    return err_hint(err, "dns.%.60s.credentials: " DOCS, zone->name);
}

/* --- taking them -------------------------------------------------------------------------------------------------- */

/* What ends a header, or is none of its letters, is no part of a key. */
static bool word_ok(const char *word, size_t most)
{
    size_t len = word == NULL ? 0 : strlen(word);
    for (size_t i = 0; i < len; i++) {
        if (word[i] <= ' ' || word[i] > '~') {
            return false;
        }
    }
    return len > 0 && len <= most;
}

void aws_keys_done(struct aws_keys *keys)
{
    config_secret_free(keys->access_key);
    config_secret_free(keys->secret);
    config_secret_free(keys->token_header);
    *keys = (struct aws_keys){.access_key = NULL};
}

/* @param token  NULL, or "" = none */
static bool take(struct aws_keys *keys, struct https *https, const char *access_key,
                 const char *secret, const char *token, int64_t until_ms)
{
    bool has_token = token != NULL && token[0] != '\0';
    if (!word_ok(access_key, WORD_MAX) || !word_ok(secret, WORD_MAX) ||
        (has_token && !word_ok(token, WORD_MAX))) {
        return false;
    }
    aws_keys_done(keys);
    https_hide(https, secret);
    https_hide(https, token);
    keys->access_key = must_copy(access_key);
    keys->secret = must_copy(secret);
    if (has_token && asprintf(&keys->token_header, "X-Amz-Security-Token: %s", token) < 0) {
        abort();
    }
    keys->until_ms = until_ms;
    return true;
}

/* --- the configuration, the environment --------------------------------------------------------------------------- */

static bool from_configuration(struct aws_keys *keys, struct https *https,
                               const struct config_zone *zone, struct err *err)
{
    char *secret = config_secret_read(zone->secret, err);
    char *token = zone->session_token == NULL ? NULL : config_secret_read(zone->session_token, err);
    bool read = secret != NULL && (zone->session_token == NULL || token != NULL);
    bool ok = read && take(keys, https, zone->access_key, secret, token, FOR_EVER);
    if (read && !ok) {
        missing(zone, err, "what `secret` or `session_token` lead to is no key of AWS");
    }
    config_secret_free(secret);
    config_secret_free(token);
    return ok;
}

static bool from_environment(struct aws_keys *keys, struct https *https,
                             const struct config_zone *zone, struct err *err)
{
    return take(keys, https, getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY"),
                getenv("AWS_SESSION_TOKEN"), FOR_EVER) ||
           missing(zone, err,
                   "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not in the environment");
}

/* --- asking for them ---------------------------------------------------------------------------------------------- */

/* @param out  heap: its body */
static bool ask(struct https *https, const char *method, const char *url, const char *header,
                char **out, struct err *err)
{
    struct https_answer answer;
    const struct https_ask request = {
        .method = method, .url = url, .headers = {header}, .direct = true};
    if (!https_ask(https, &request, &answer, err)) {
        return false;
    }
    bool ok = answer.status == 200;
    if (ok) {
        *out = must(strdup(answer.body));
    } else {
        err_set_code(err, ERR_REFUSED, (int)answer.status, "%.200s answers HTTP %ld", url,
                     answer.status);
    }
    https_answer_done(&answer);
    return ok;
}

/* "2026-01-01T00:00:00Z", on the monotonic clock; 0 = it is no such time. */
static int64_t end_of(const char *text)
{
    struct tm tm = {0};
    const char *rest = text == NULL ? NULL : strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL || rest[0] == '\0' || strcmp(rest + strlen(rest) - 1, "Z") != 0) {
        return 0;
    }
    int64_t left_ms = (int64_t)timegm(&tm) * 1000 - clock_wall_ms(clock_system());
    return clock_now_ms(clock_system()) + left_ms;
}

/* {"AccessKeyId": .., "SecretAccessKey": .., "Token": .., "Expiration": ..} */
static bool take_json(struct aws_keys *keys, struct https *https, const char *url,
                      const char *header, struct err *err)
{
    char *body = NULL;
    if (!ask(https, "GET", url, header, &body, err)) {
        return false;
    }
    json_t *tree = json_parse(body, strlen(body), "its answer", NULL);
    const char *code = json_string_value(json_object_get(tree, "Code")); /* of the instance's */
    bool ok = (code == NULL || strcmp(code, "Success") == 0) &&
              take(keys, https, json_string_value(json_object_get(tree, "AccessKeyId")),
                   json_string_value(json_object_get(tree, "SecretAccessKey")),
                   json_string_value(json_object_get(tree, "Token")),
                   clock_now_ms(clock_system()) + LASTS_MS);
    if (ok) {
        keys->ends_ms = end_of(json_string_value(json_object_get(tree, "Expiration")));
    } else {
        err_set(err, ERR_REFUSED, "%.200s gives no keys", url);
    }
    json_decref(tree);
    config_secret_free(body);
    return ok;
}

/* --- a container's ------------------------------------------------------------------------------------------------ */

/* Who is sent the container's token: over https anybody, else the endpoints of ECS and EKS, and this host. */
static bool may_be_asked(const char *url)
{
    static const char *const hosts[] = {"169.254.170.2", "169.254.170.23", "[fd00:ec2::23]",
                                        "localhost", "[::1]"};
    if (strncmp(url, "https://", 8) == 0) {
        return true;
    }
    if (strncmp(url, "http://", 7) != 0) {
        return false;
    }
    const char *host = url + 7;
    size_t len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#");
    char text[INET6_ADDRSTRLEN + 3];
    struct in_addr address;
    snprintf(text, sizeof(text), "%.*s", (int)(len < sizeof(text) ? len : 0), host);
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        if (strcmp(text, hosts[i]) == 0) {
            return true;
        }
    }
    return inet_pton(AF_INET, text, &address) == 1 && ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
}

/* EKS renews it in its file. @param out  heap, or NULL: none is wanted */
static bool container_token(char **out, struct err *err)
{
    const char *file = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *text = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    const struct config_secret secret = {
        .name = "token", .file = file, .env = "AWS_CONTAINER_AUTHORIZATION_TOKEN"};
    *out = NULL;
    if (file == NULL && text == NULL) {
        return true;
    }
    *out = config_secret_read(&secret, err);
    return *out != NULL;
}

static bool from_container(struct aws_keys *keys, struct https *https,
                           const struct config_zone *zone, struct err *err)
{
    const char *relative = getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    char url[HTTPS_URL_BYTES];
    char *token = NULL;
    char *header = NULL;
    if (relative == NULL && full == NULL) {
        return missing(zone, err,
                       "neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor _FULL_URI is in the "
                       "environment");
    }
    snprintf(url, sizeof(url), "%s%s", relative == NULL ? "" : ECS_URL,
             relative == NULL ? full : relative);
    if (!may_be_asked(url)) {
        return missing(zone, err,
                       "AWS_CONTAINER_CREDENTIALS_FULL_URI leads elsewhere than to this host or "
                       "the endpoints of ECS and EKS");
    }
    bool ok = container_token(&token, err);
    if (ok && token != NULL && !word_ok(token, WORD_MAX)) {
        ok = missing(zone, err, "the container's authorization token is none");
    }
    if (ok) {
        https_hide(https, token);
        if (token != NULL && asprintf(&header, "Authorization: %s", token) < 0) {
            abort();
        }
        ok = take_json(keys, https, url, header, err);
    }
    config_secret_free(token);
    config_secret_free(header);
    return ok;
}

/* --- an instance's ------------------------------------------------------------------------------------------------ */

static bool role_ok(char *role)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+=,.@_-";
    role[strcspn(role, "\r\n")] = '\0';
    return role[0] != '\0' && strlen(role) <= ROLE_MAX && strspn(role, letters) == strlen(role);
}

static bool from_instance(struct aws_keys *keys, struct https *https,
                          const struct config_zone *zone, struct err *err)
{
    const char *base = getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    char url[HTTPS_URL_BYTES];
    char *token = NULL;
    char *role = NULL;
    char *header = NULL;
    bool ok = false;
    base = base == NULL || base[0] == '\0' ? INSTANCE_URL : base;
    int len = (int)strlen(base) - (base[strlen(base) - 1] == '/' ? 1 : 0);
    snprintf(url, sizeof(url), "%.*s/latest/api/token", len, base);
    if (!ask(https, "PUT", url, "X-aws-ec2-metadata-token-ttl-seconds: 21600", &token, err)) {
        err_hint(err,
                 "dns.%.60s.credentials: is this an instance of EC2? In a container the hop "
                 "limit of its metadata must be 2",
                 zone->name);
        goto done;
    }
    if (!word_ok(token, WORD_MAX) || asprintf(&header, "X-aws-ec2-metadata-token: %s", token) < 0) {
        err_set(err, ERR_REFUSED, "%.200s gives no token", url);
        goto done;
    }
    https_hide(https, token);
    snprintf(url, sizeof(url), "%.*s/latest/meta-data/iam/security-credentials/", len, base);
    bool told = ask(https, "GET", url, header, &role, err);
    if (!told && (err->kind != ERR_REFUSED || err->code != HTTP_NOT_FOUND)) {
        goto done;
    }
    if (!told || !role_ok(role)) {
        err_set(err, ERR_REFUSED, "the instance has no role");
        err_hint(err, "give it an instance profile that may change the zone: " DOCS);
        goto done;
    }
    snprintf(url, sizeof(url), "%.*s/latest/meta-data/iam/security-credentials/%s", len, base,
             role);
    ok = take_json(keys, https, url, header, err);
done:
    config_secret_free(token);
    config_secret_free(header);
    free(role);
    return ok;
}

static bool is_passing(const struct err *err)
{
    return err->kind == ERR_RETRY ||
           (err->kind == ERR_REFUSED && (err->code == 429 || err->code >= 500));
}

bool aws_keys_have(struct aws_keys *keys, struct https *https, const struct config_zone *zone,
                   struct err *err)
{
    static bool (*const sources[])(struct aws_keys *, struct https *, const struct config_zone *,
                                   struct err *) = {
        [CREDENTIALS_KEYS] = from_configuration,
        [CREDENTIALS_ENVIRONMENT] = from_environment,
        [CREDENTIALS_CONTAINER] = from_container,
        [CREDENTIALS_INSTANCE] = from_instance,
    };
    struct err why = {0};
    if (keys->access_key != NULL && clock_now_ms(clock_system()) < keys->until_ms) {
        return true;
    }
    if (sources[zone->credentials](keys, https, zone, &why)) {
        return true;
    }
    int64_t now_ms = clock_now_ms(clock_system());
    if (keys->access_key != NULL && now_ms < keys->ends_ms && is_passing(&why)) {
        keys->until_ms = now_ms + AGAIN_MS;
        return true;
    }
    if (err != NULL) {
        *err = why;
    }
    return false;
}
