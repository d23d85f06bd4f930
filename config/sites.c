/* Sites: how to reach a cluster and the Redis beside it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/redis.h"
#include "config/build.h"
#include "config/properties.h"

/* --- clients ------------------------------------------------------------------------------------------------------ */

static bool says(const struct config_client *client, const char *property, const char *value)
{
    const char *text = config_client_get(client, property);
    return text != NULL && strcasecmp(text, value) == 0;
}

const char *config_client_weakness(const struct config_client *client, size_t index)
{
    bool tls =
        says(client, "security.protocol", "SSL") || says(client, "security.protocol", "SASL_SSL");
    const char *url = config_client_get(client, "sasl.oauthbearer.token.endpoint.url");
    const struct {
        bool is_so;
        const char *what;
    } rows[] = {
        {tls && says(client, "enable.ssl.certificate.verification", "false"),
         "enable.ssl.certificate.verification is false: whoever answers is taken for a broker"},
        {tls && says(client, "ssl.endpoint.identification.algorithm", "none"),
         "ssl.endpoint.identification.algorithm is none: a certificate for any host is taken"},
        {says(client, "security.protocol", "SASL_PLAINTEXT") &&
             says(client, "sasl.mechanism", "PLAIN"),
         "sasl.mechanism PLAIN with SASL_PLAINTEXT: the password goes over the line in the clear"},
        {says(client, "security.protocol", "SASL_PLAINTEXT") &&
             says(client, "sasl.mechanism", "OAUTHBEARER"),
         "sasl.mechanism OAUTHBEARER with SASL_PLAINTEXT: the token goes over the line in the "
         "clear"},
        {url != NULL && strncmp(url, "https:", 6) != 0,
         "sasl.oauthbearer.token.endpoint.url is not https: the client secret and the token go "
         "over "
         "the line in the clear"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].is_so && index-- == 0) {
            return rows[i].what;
        }
    }
    return NULL;
}

static const char *scalar_text(const json_t *value)
{
    char text[64];

    switch (json_typeof(value)) {
    case JSON_STRING:
        return build_copy(json_string_value(value));
    case JSON_INTEGER:
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
        return build_copy(text);
    case JSON_TRUE:
        return build_copy("true");
    case JSON_FALSE:
        return build_copy("false");
    case JSON_REAL:
        snprintf(text, sizeof(text), "%.17g", json_real_value(value));
        return build_copy(text);
    case JSON_OBJECT:
    case JSON_ARRAY:
    case JSON_NULL:
        break;
    }
    return build_copy(""); /* the table of keys let none through */
}

static bool property_known(const struct build *build, const char *path, const char *name)
{
    char why[256];

    if (property_find(name) != NULL) {
        return true;
    }
    property_why_not(name, why, sizeof(why));
    return parse_error(build->file, build->err, path, "%s", why);
}

static bool property_ok(const struct build *build, const char *path,
                        const struct config_property *pair)
{
    char why[256];

    if (!property_known(build, path, pair->name)) {
        return false;
    }
    const struct property *property = property_find(pair->name);
    if (property->secret) {
        return parse_error(build->file, build->err, path,
                           "a secret does not stand in this file: move it to \"secrets\", as "
                           "{\"file\": \"...\"} or {\"env\": \"...\"}");
    }
    return property_value_ok(property, pair->value, why, sizeof(why)) ||
           parse_error(build->file, build->err, path, "%s", why);
}

static bool add_properties(const struct build *build, struct config_client *client,
                           const char *section, json_t *tree)
{
    const char *name;
    json_t *value;
    char path[BUILD_PATH_BYTES];

    client->properties =
        build_heap(calloc(json_object_size(tree) + 1, sizeof(*client->properties)));
    json_object_foreach (tree, name, value) {
        struct config_property *pair = &client->properties[client->properties_count++];
        pair->name = build_copy(name);
        pair->value = scalar_text(value);
        snprintf(path, sizeof(path), "%.500s.%.500s", section, name);
        if (!property_ok(build, path, pair)) {
            return false;
        }
    }
    return true;
}

static bool add_secrets(const struct build *build, struct config_client *client,
                        const char *section, json_t *tree)
{
    const char *name;
    json_t *value;
    char path[BUILD_PATH_BYTES];

    client->secrets = build_heap(calloc(json_object_size(tree) + 1, sizeof(*client->secrets)));
    json_object_foreach (tree, name, value) {
        struct config_secret *secret = &client->secrets[client->secrets_count++];
        snprintf(path, sizeof(path), "%.500s.%.500s", section, name);
        if (!build_secret(build, secret, path, name, value) || !property_known(build, path, name)) {
            return false;
        }
        if (config_client_get(client, name) != NULL) {
            return parse_error(build->file, build->err, path, "stands under \"kafka\" too");
        }
    }
    return true;
}

static bool has(const struct config_client *client, const char *name)
{
    for (size_t i = 0; i < client->secrets_count; i++) {
        if (strcmp(client->secrets[i].name, name) == 0) {
            return true;
        }
    }
    return config_client_get(client, name) != NULL;
}

/* Without these a token cannot even be asked for. */
static bool token_ok(const struct build *build, const struct config_client *client,
                     const char *path)
{
    static const char *const needed[] = {"sasl.oauthbearer.token.endpoint.url",
                                         "sasl.oauthbearer.client.id",
                                         "sasl.oauthbearer.client.secret"};
    char where[BUILD_PATH_BYTES];

    snprintf(where, sizeof(where), "%.500s.kafka.sasl.mechanism", path);
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (says(client, "sasl.mechanism", "OAUTHBEARER") && !has(client, needed[i])) {
            return parse_error(build->file, build->err, where, "OAUTHBEARER needs %s%s", needed[i],
                               property_find(needed[i])->secret ? " under \"secrets\"" : "");
        }
    }
    return true;
}

/* Half a sign-in never works, and would be found only when a link starts. */
static bool sign_in_ok(const struct build *build, const struct config_client *client,
                       const char *path)
{
    const char *protocol = config_client_get(client, "security.protocol");
    bool sasl = protocol != NULL && strncasecmp(protocol, "SASL", 4) == 0;
    char where[BUILD_PATH_BYTES];

    snprintf(where, sizeof(where), "%.500s.kafka.%s", path,
             sasl ? "security.protocol" : "sasl.mechanism");
    if (sasl && config_client_get(client, "sasl.mechanism") == NULL) {
        return parse_error(build->file, build->err, where, "needs sasl.mechanism beside it");
    }
    if (!sasl && config_client_get(client, "sasl.mechanism") != NULL) {
        return parse_error(build->file, build->err, where, "is of no use: security.protocol is %s",
                           protocol == NULL ? "PLAINTEXT" : protocol);
    }
    return token_ok(build, client, path);
}

/* What librdkafka refuses when it is used, or the wire client would understand otherwise, is said with the file. */
static bool pairs_ok(const struct build *build, const struct config_client *client,
                     const char *path)
{
    static const char *const backoffs[][2] = {
        {"reconnect.backoff.ms", "reconnect.backoff.max.ms"},
        {"retry.backoff.ms",     "retry.backoff.max.ms"    },
    };
    const char *protocol = config_client_get(client, "security.protocol");
    const char *servers = config_client_get(client, "bootstrap.servers");
    char where[BUILD_PATH_BYTES];

    protocol = protocol == NULL ? "PLAINTEXT" : protocol;
    if (servers != NULL && !property_servers_speak(servers, protocol)) {
        snprintf(where, sizeof(where), "%.500s.bootstrap.servers", path);
        return parse_error(build->file, build->err, where,
                           "names another protocol than security.protocol, %s", protocol);
    }
    if (config_client_get(client, "ssl.ca.pem") != NULL &&
        config_client_get(client, "ssl.ca.location") != NULL) {
        snprintf(where, sizeof(where), "%.500s.ssl.ca.pem", path);
        return parse_error(build->file, build->err, where,
                           "stands beside ssl.ca.location: write one of them");
    }
    for (size_t i = 0; i < sizeof(backoffs) / sizeof(backoffs[0]); i++) {
        const char *first = config_client_get(client, backoffs[i][0]);
        const char *last = config_client_get(client, backoffs[i][1]);
        if (first != NULL && last != NULL && atoi(first) > atoi(last)) {
            snprintf(where, sizeof(where), "%.500s.%s", path, backoffs[i][0]);
            return parse_error(build->file, build->err, where, "is above %s", backoffs[i][1]);
        }
    }
    return true;
}

static bool build_client(const struct build *build, struct config_client *client, const char *path,
                         const json_t *tree)
{
    char kafka[BUILD_PATH_BYTES];
    char secrets[BUILD_PATH_BYTES];

    snprintf(kafka, sizeof(kafka), "%.500s.kafka", path);
    snprintf(secrets, sizeof(secrets), "%.500s.secrets", path);
    return add_properties(build, client, kafka, json_object_get(tree, "kafka")) &&
           add_secrets(build, client, secrets, json_object_get(tree, "secrets")) &&
           sign_in_ok(build, client, path) && pairs_ok(build, client, kafka);
}

static void client_done(struct config_client *client)
{
    for (size_t i = 0; i < client->properties_count; i++) {
        build_drop(client->properties[i].name);
        build_drop(client->properties[i].value);
    }
    free(client->properties);
    for (size_t i = 0; i < client->secrets_count; i++) {
        build_secret_done(&client->secrets[i]);
    }
    free(client->secrets);
}

/* What the operator's own section says, over what the site says; a name it gives in one way is not kept in the other. */
static json_t *merged(const json_t *site, const json_t *over)
{
    json_t *tree = json_object();

    for (int i = 0; i < 2; i++) {
        const char *here = i == 0 ? "kafka" : "secrets";
        const char *there = i == 0 ? "secrets" : "kafka";
        json_t *members = json_object();
        const char *name;
        json_t *value;
        json_object_update(members, json_object_get(site, here));
        json_object_foreach (json_object_get(over, there), name, value) {
            json_object_del(members, name);
        }
        json_object_update(members, json_object_get(over, here));
        json_object_set_new(tree, here, members);
    }
    return tree;
}

static bool build_operator(const struct build *build, struct config_site *site, const char *path,
                           const json_t *tree)
{
    char section[BUILD_PATH_BYTES];
    const json_t *over = json_object_get(tree, "operator");

    if (over == NULL) {
        return true;
    }
    snprintf(section, sizeof(section), "%.500s.operator", path);
    site->operator_kafka = build_heap(calloc(1, sizeof(*site->operator_kafka)));
    json_t *both = merged(tree, over);
    bool ok = build_client(build, site->operator_kafka, section, both);
    json_decref(both);
    return ok;
}

/* --- Redis -------------------------------------------------------------------------------------------------------- */

static bool redis_error(const struct build *build, const char *site_path, const char *key,
                        const char *why)
{
    char path[BUILD_PATH_BYTES];

    snprintf(path, sizeof(path), "%.500s.redis.%s", site_path, key);
    return parse_error(build->file, build->err, path, "%s", why);
}

static bool redis_ok(const struct build *build, const struct config_redis *redis, const char *path)
{
    struct err err = {0};

    if (redis->url == NULL || !redis_url_ok(redis->url, &err)) {
        return redis_error(build, path, "url", redis->url == NULL ? "is empty" : err.what);
    }
    if (redis->prefix[strcspn(redis->prefix, "{}")] != '\0') {
        return redis_error(build, path, "prefix", "has a brace: they mark the hash slot");
    }
    if (redis->ca_file != NULL && strncmp(redis->url, "rediss:", 7) != 0) {
        return redis_error(build, path, "ca_file", "is of no use without rediss:// in the url");
    }
    return redis->username == NULL || redis->password != NULL ||
           redis_error(build, path, "username", "has no \"password\" beside it");
}

static bool build_redis(const struct build *build, struct config_site *site, const char *path,
                        const json_t *tree)
{
    char password_path[BUILD_PATH_BYTES];

    if (tree == NULL) {
        return true;
    }
    struct config_redis *redis = site->redis = build_heap(calloc(1, sizeof(*redis)));
    const json_t *password = json_object_get(tree, "password");
    redis->url = build_string(tree, "url");
    redis->username = build_string(tree, "username");
    redis->ca_file = build_string(tree, "ca_file");
    redis->prefix = build_string(tree, "prefix");
    redis->prefix = redis->prefix == NULL ? build_copy("") : redis->prefix;
    redis->timeout_ms =
        (int32_t)parse_number("sites.*.redis.timeout", json_object_get(tree, "timeout"));
    if (password != NULL) {
        snprintf(password_path, sizeof(password_path), "%.500s.redis.password", path);
        redis->password = build_heap(calloc(1, sizeof(*redis->password)));
        if (!build_secret(build, redis->password, password_path, "redis.password", password)) {
            return false;
        }
    }
    return redis_ok(build, redis, path);
}

static void redis_done(struct config_redis *redis)
{
    build_drop(redis->url);
    build_drop(redis->username);
    build_drop(redis->ca_file);
    build_drop(redis->prefix);
    if (redis->password != NULL) {
        build_secret_done(redis->password);
        free(redis->password);
    }
    free(redis);
}

/* --- sites -------------------------------------------------------------------------------------------------------- */

bool build_site(const struct build *build, struct config_site *site, const char *name,
                const json_t *tree)
{
    char path[BUILD_PATH_BYTES];

    snprintf(path, sizeof(path), "sites.%.500s", name);
    site->name = build_copy(name);
    site->region = build_string(tree, "region");
    site->zone = build_string(tree, "zone");
    if (!build_name_ok(build, name, path) || !build_client(build, &site->kafka, path, tree) ||
        !build_operator(build, site, path, tree) ||
        !build_redis(build, site, path, json_object_get(tree, "redis"))) {
        return false;
    }
    const char *control = json_string_value(json_object_get(tree, "control"));
    site->kafka.single_writer = control != NULL && strcasecmp(control, "single-writer") == 0;
    if (site->operator_kafka != NULL) {
        site->operator_kafka->single_writer = site->kafka.single_writer;
    }
    if (config_client_get(&site->kafka, "bootstrap.servers") == NULL) {
        strncat(path, ".kafka", sizeof(path) - strlen(path) - 1);
        return parse_error(build->file, build->err, path, "\"bootstrap.servers\" is missing");
    }
    return true;
}

void build_site_done(struct config_site *site)
{
    build_drop(site->name);
    build_drop(site->region);
    build_drop(site->zone);
    client_done(&site->kafka);
    if (site->operator_kafka != NULL) {
        client_done(site->operator_kafka);
        free(site->operator_kafka);
    }
    if (site->redis != NULL) {
        redis_done(site->redis);
    }
}
