#include "config/config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "config/keys.h"
#include "config/parse.h"

#define FILE_BYTES_MAX   (1 << 20)
#define SECRET_BYTES_MAX (64 << 10)
#define PATH_BYTES       512
#define BELOW_BYTES      (PATH_BYTES + 320) /* a path and a member below it */
#define NAME_BYTES_MAX   64 /* site and service names stand in group, topic and key names */
#define TOPIC_NAME_MAX   249

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static const char *copy(const char *text)
{
    return text == NULL ? NULL : must(strdup(text));
}
static void drop(const char *text)
{
    free((void *)(uintptr_t)text);
}

struct build { /* while a configuration is made */
    struct config *config;
    const struct parse_places *places;
    struct err *err;
};

static const char *string_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL || text[0] == '\0' ? NULL : copy(text);
}

/* --- names ---------------------------------------------------------------------------------------------------------- */

/* They become part of Kafka group ids, topic names and Redis keys, and `>` and `:` separate them there. */
static bool name_ok(const struct build *build, const char *path, const char *name)
{
    size_t len = strlen(name);
    size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (len == 0 || len > NAME_BYTES_MAX || good != len) {
        return parse_error(build->places, build->err, path,
                           "a name has 1 to %d letters, digits, dots, underscores or dashes",
                           NAME_BYTES_MAX);
    }
    return true;
}

bool config_name_reserved(const char *name)
{
    return strncmp(name, "ferry.", 6) == 0 || strncmp(name, "ferry-", 6) == 0 ||
           strncmp(name, "__", 2) == 0;
}

/* --- clients -------------------------------------------------------------------------------------------------------- */

/* Properties that concern connections; what would change how records are read or written is not the user's to set. */
static const char *const property_prefixes[] = {"bootstrap.servers",
                                                "metadata.broker.list",
                                                "security.protocol",
                                                "sasl.",
                                                "ssl.",
                                                "enable.ssl.",
                                                "client.id",
                                                "client.dns.lookup",
                                                "socket.",
                                                "connections.",
                                                "reconnect.",
                                                "retry.backoff",
                                                "broker.address.",
                                                "metadata.",
                                                "topic.metadata.",
                                                "api.version.",
                                                "enable.sasl.",
                                                "https.ca."};
static const char *const secret_properties[] = {"sasl.password", "ssl.key.password",
                                                "ssl.keystore.password",
                                                "sasl.oauthbearer.client.secret", "ssl.key.pem"};

static bool property_allowed(const char *name)
{
    for (size_t i = 0; i < sizeof(property_prefixes) / sizeof(property_prefixes[0]); i++) {
        if (strncmp(name, property_prefixes[i], strlen(property_prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static bool property_secret(const char *name)
{
    for (size_t i = 0; i < sizeof(secret_properties) / sizeof(secret_properties[0]); i++) {
        if (strcmp(name, secret_properties[i]) == 0) {
            return true;
        }
    }
    return false;
}

static const char *scalar_text(const json_t *value)
{
    char text[64];
    if (json_is_string(value)) {
        return copy(json_string_value(value));
    }
    if (json_is_boolean(value)) {
        return copy(json_is_true(value) ? "true" : "false");
    }
    if (json_is_integer(value)) {
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
    } else {
        snprintf(text, sizeof(text), "%.17g", json_real_value(value));
    }
    return copy(text);
}

static bool add_property(const struct build *build, struct config_client *client, const char *path,
                         const char *name, const json_t *value)
{
    char key_path[BELOW_BYTES];
    snprintf(key_path, sizeof(key_path), "%.500s.%.250s", path, name);
    if (property_secret(name)) {
        return parse_error(build->places, build->err, key_path,
                           "a secret does not stand in this file: use secrets.%s = {\"file\": ...} "
                           "or {\"env\": ...}",
                           name);
    }
    if (!property_allowed(name)) {
        return parse_error(
            build->places, build->err, key_path,
            "Ferry cannot honour this property: only those about connections, TLS and sign-in");
    }
    client->properties = must(
        realloc(client->properties, (client->properties_count + 1) * sizeof(*client->properties)));
    client->properties[client->properties_count++] =
        (struct config_property){.name = copy(name), .value = scalar_text(value)};
    return true;
}

static struct config_secret secret_of(const char *name, const json_t *value)
{
    return (struct config_secret){
        .name = copy(name), .file = string_at(value, "file"), .env = string_at(value, "env")};
}

/* A secret file that others may write can be swapped by them: refused when the configuration is loaded. */
static bool secret_file_ok(const struct build *build, const char *path,
                           const struct config_secret *secret)
{
    struct stat status;
    if (secret->file == NULL || stat(secret->file, &status) != 0) {
        return true; /* missing: said when it is read, it may be mounted later */
    }
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return parse_error(build->places, build->err, path,
                           "%s may be written by others: chmod go-w", secret->file);
    }
    return true;
}

static bool add_secrets(const struct build *build, struct config_client *client, const char *path,
                        json_t *secrets)
{
    const char *name;
    json_t *value;
    char key_path[BELOW_BYTES];
    json_object_foreach (secrets, name, value) {
        client->secrets =
            must(realloc(client->secrets, (client->secrets_count + 1) * sizeof(*client->secrets)));
        client->secrets[client->secrets_count++] = secret_of(name, value);
        snprintf(key_path, sizeof(key_path), "%.500s.%.250s", path, name);
        if (!secret_file_ok(build, key_path, &client->secrets[client->secrets_count - 1])) {
            return false;
        }
    }
    return true;
}

static bool build_client(const struct build *build, struct config_client *client, const char *path,
                         const json_t *site)
{
    const char *name;
    json_t *value;
    char section[BELOW_BYTES];
    snprintf(section, sizeof(section), "%s.kafka", path);
    json_t *properties = json_object_get(site, "kafka");
    json_object_foreach (properties, name, value) {
        if (!add_property(build, client, section, name, value)) {
            return false;
        }
    }
    snprintf(section, sizeof(section), "%s.secrets", path);
    return add_secrets(build, client, section, json_object_get(site, "secrets"));
}

const char *config_client_get(const struct config_client *client, const char *property)
{
    for (size_t i = 0; i < client->properties_count; i++) {
        if (strcmp(client->properties[i].name, property) == 0) {
            return client->properties[i].value;
        }
    }
    return NULL;
}

/* --- sites ---------------------------------------------------------------------------------------------------------- */

static bool build_redis(const struct build *build, struct config_site *site, const char *path,
                        const json_t *redis)
{
    char url_path[BELOW_BYTES];
    snprintf(url_path, sizeof(url_path), "%s.redis.url", path);
    if (redis == NULL) {
        return true;
    }
    site->redis = must(calloc(1, sizeof(*site->redis)));
    site->redis->url = string_at(redis, "url");
    site->redis->username = string_at(redis, "username");
    site->redis->ca_file = string_at(redis, "ca_file");
    site->redis->prefix = string_at(redis, "prefix");
    site->redis->prefix = site->redis->prefix == NULL ? copy("") : site->redis->prefix;
    site->redis->timeout_ms =
        (int32_t)parse_number("sites.*.redis.timeout", json_object_get(redis, "timeout"));
    const char *url = site->redis->url == NULL ? "" : site->redis->url;
    if (strncmp(url, "redis://", 8) != 0 && strncmp(url, "rediss://", 9) != 0) {
        return parse_error(build->places, build->err, url_path,
                           "expected redis://HOST:PORT/DB or rediss://...");
    }
    if (strchr(url, '@') != NULL) {
        return parse_error(
            build->places, build->err, url_path,
            "no user or password inside a URL: use username and password = {\"file\": ...}");
    }
    if (strpbrk(site->redis->prefix, "{}") != NULL) {
        return parse_error(build->places, build->err, url_path,
                           "a prefix has no braces: they mark the hash slot");
    }
    const json_t *password = json_object_get(redis, "password");
    if (password != NULL) {
        site->redis->password = must(calloc(1, sizeof(*site->redis->password)));
        *site->redis->password = secret_of("redis.password", password);
        snprintf(url_path, sizeof(url_path), "%s.redis.password", path);
        return secret_file_ok(build, url_path, site->redis->password);
    }
    return true;
}

/* The operator's client is the site's with what differs. */
static bool build_operator(const struct build *build, struct config_site *site, const char *path,
                           const json_t *tree, const json_t *operator)
{
    char section[BELOW_BYTES];
    if (operator== NULL) {
        return true;
    }
    snprintf(section, sizeof(section), "%s.operator", path);
    site->operator_kafka = must(calloc(1, sizeof(*site->operator_kafka)));
    json_t *kafka = json_object();
    json_t *secrets = json_object();
    json_object_update(kafka, json_object_get(tree, "kafka"));
    json_object_update(kafka, json_object_get(operator, "kafka"));
    json_object_update(secrets, json_object_get(tree, "secrets"));
    json_object_update(secrets, json_object_get(operator, "secrets"));
    json_t *merged = json_pack("{soso}", "kafka", kafka, "secrets", secrets);
    bool ok = build_client(build, site->operator_kafka, section, merged);
    json_decref(merged);
    return ok;
}

static bool build_site(const struct build *build, struct config_site *site, const char *name,
                       const json_t *tree)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "sites.%.100s", name);
    site->name = copy(name);
    site->region = string_at(tree, "region");
    site->zone = string_at(tree, "zone");
    if (!name_ok(build, path, name) || !build_client(build, &site->kafka, path, tree) ||
        !build_operator(build, site, path, tree, json_object_get(tree, "operator")) ||
        !build_redis(build, site, path, json_object_get(tree, "redis"))) {
        return false;
    }
    if (config_client_get(&site->kafka, "bootstrap.servers") == NULL) {
        strncat(path, ".kafka", sizeof(path) - strlen(path) - 1);
        return parse_error(build->places, build->err, path, "\"bootstrap.servers\" is missing");
    }
    return true;
}

/* --- patterns ------------------------------------------------------------------------------------------------------- */

static bool glob_match(const char *glob, const char *name)
{
    const char *star = NULL;
    const char *back = NULL;
    while (*name !=
           '\0') { /* linear in memory, quadratic at worst: names have at most 249 letters */
        if (*glob == '?' || (*glob == *name && *glob != '*')) {
            glob++;
            name++;
        } else if (*glob == '*') {
            star = glob++;
            back = name;
        } else if (star != NULL) {
            glob = star + 1;
            name = ++back;
        } else {
            return false;
        }
    }
    while (*glob == '*') {
        glob++;
    }
    return *glob == '\0';
}

static bool pattern_match(const struct config_pattern *pattern, const char *name)
{
    if (pattern->kind == PATTERN_GLOB) {
        return glob_match(pattern->text, name);
    }
    return regexec(pattern->compiled, name, 0, NULL, 0) == 0;
}

bool config_patterns_match(const struct config_patterns *patterns, const char *name)
{
    bool matched = false;
    if (config_name_reserved(name)) {
        return false;
    }
    for (size_t i = 0; i < patterns->exclude_count; i++) {
        if (pattern_match(&patterns->exclude[i], name)) {
            return false;
        }
    }
    for (size_t i = 0; i < patterns->include_count && !matched; i++) {
        matched = pattern_match(&patterns->include[i], name);
    }
    return matched;
}

static bool compile_regex(const struct build *build, struct config_pattern *pattern,
                          const char *path)
{
    size_t len = strlen(pattern->text);
    char *anchored = must(malloc(len + 5));
    snprintf(anchored, len + 5, "^(%s)$", pattern->text);
    regex_t *compiled = must(calloc(1, sizeof(*compiled)));
    int result = len > TOPIC_NAME_MAX * 4 ? REG_ESPACE
                                          : regcomp(compiled, anchored, REG_EXTENDED | REG_NOSUB);
    free(anchored);
    if (result != 0) {
        char why[128];
        regerror(result, NULL, why, sizeof(why));
        free(compiled);
        return parse_error(build->places, build->err, path,
                           "the regular expression does not compile: %s", why);
    }
    pattern->compiled = compiled;
    return true;
}

static bool build_pattern(const struct build *build, struct config_pattern *pattern,
                          const char *path, const json_t *value)
{
    const char *glob = json_string_value(value);
    if (glob == NULL) {
        pattern->kind = PATTERN_REGEX;
        pattern->text = string_at(value, "regex");
        return compile_regex(build, pattern, path);
    }
    pattern->kind = PATTERN_GLOB;
    pattern->text = copy(glob);
    if (config_name_reserved(glob)) {
        return parse_error(
            build->places, build->err, path,
            "names that begin with ferry., ferry- or __ are reserved and never mirrored");
    }
    size_t good =
        strspn(glob, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-*?");
    if (strstr(path, ".topics.") != NULL && good != strlen(glob)) {
        return parse_error(
            build->places, build->err, path,
            "'%c' stands in no topic name; a regular expression is written {\"regex\": \"...\"}",
            glob[good]);
    }
    return true;
}

static bool build_list(const struct build *build, struct config_pattern **out, size_t *out_count,
                       const char *path, const char *list, const json_t *array)
{
    size_t count = json_array_size(array);
    *out = must(calloc(count + 1, sizeof(**out)));
    for (size_t i = 0; i < count; i++) {
        char item[PATH_BYTES];
        snprintf(item, sizeof(item), "%.400s.%s.%zu", path, list, i);
        *out_count = i + 1;
        if (!build_pattern(build, &(*out)[i], item, json_array_get(array, i))) {
            return false;
        }
    }
    return true;
}

static bool build_patterns(const struct build *build, struct config_patterns *patterns,
                           const char *path, const json_t *tree)
{
    return build_list(build, &patterns->include, &patterns->include_count, path, "include",
                      json_object_get(tree, "include")) &&
           build_list(build, &patterns->exclude, &patterns->exclude_count, path, "exclude",
                      json_object_get(tree, "exclude"));
}

/* --- services ------------------------------------------------------------------------------------------------------- */

static bool choice_is(const json_t *tree, const char *key, const char *value)
{
    const char *text = json_string_value(json_object_get(tree, key));
    return text != NULL && strcmp(text, value) == 0;
}

static bool build_others(const struct build *build, struct config_service *service,
                         const char *path, const json_t *others)
{
    size_t count = json_array_size(others);
    service->others = must(calloc(count + 1, sizeof(char *)));
    for (size_t i = 0; i < count; i++) {
        char item[PATH_BYTES];
        const char *name = json_string_value(json_array_get(others, i));
        snprintf(item, sizeof(item), "%.400s.others.%zu", path, i);
        service->others[service->others_count++] = copy(name);
        if (config_site(build->config, name) == NULL) {
            return parse_error(build->places, build->err, item, "there is no site \"%s\"", name);
        }
        if (strcmp(name, service->home) == 0) {
            return parse_error(build->places, build->err, item, "\"%s\" is the home site", name);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(service->others[j], name) == 0) {
                return parse_error(build->places, build->err, item, "\"%s\" stands here twice",
                                   name);
            }
        }
    }
    if (count == 0) {
        return parse_error(build->places, build->err, path,
                           "others names no site: nothing would be mirrored");
    }
    return true;
}

static bool build_cnames(const struct build *build, struct config_service *service,
                         const char *path, const json_t *records)
{
    size_t count = json_array_size(records);
    service->cnames = must(calloc(count + 1, sizeof(*service->cnames)));
    for (size_t i = 0; i < count; i++) {
        const json_t *record = json_array_get(records, i);
        struct config_cname *cname = &service->cnames[service->cnames_count++];
        json_t *at = json_object_get(record, "at");
        const char *site;
        json_t *value;
        cname->record = string_at(record, "record");
        cname->at = must(calloc(json_object_size(at) + 1, sizeof(*cname->at)));
        json_object_foreach (at, site, value) {
            char item[PATH_BYTES];
            snprintf(item, sizeof(item), "%.300s.cname.%zu.at.%.100s", path, i, site);
            cname->at[cname->at_count++] = (struct config_property){
                .name = copy(site), .value = copy(json_string_value(value))};
            if (config_site(build->config, site) == NULL) {
                return parse_error(build->places, build->err, item, "there is no site \"%s\"",
                                   site);
            }
        }
    }
    return true;
}

static bool build_service(const struct build *build, struct config_service *service,
                          const char *name, const json_t *tree)
{
    char path[PATH_BYTES];
    char section[BELOW_BYTES];
    snprintf(path, sizeof(path), "services.%.100s", name);
    service->name = copy(name);
    service->home = string_at(tree, "home");
    service->path = PATH_BATCHES;
    service->names = copy("identity");
    service->start = choice_is(tree, "start", "latest") ? START_LATEST : START_EARLIEST;
    service->revision = parse_number("services.*.revision", json_object_get(tree, "revision"));
    service->on_truncation =
        choice_is(tree, "on_truncation", "fault") ? POLICY_FAULT : POLICY_CONTINUE;
    service->on_foreign_write =
        choice_is(tree, "on_foreign_write", "fault") ? POLICY_FAULT : POLICY_CONTINUE;
    if (!name_ok(build, path, name)) {
        return false;
    }
    snprintf(section, sizeof(section), "%s.home", path);
    if (service->home == NULL || config_site(build->config, service->home) == NULL) {
        return parse_error(build->places, build->err, section, "there is no site \"%s\"",
                           service->home == NULL ? "" : service->home);
    }
    if (!build_others(build, service, path, json_object_get(tree, "others"))) {
        return false;
    }
    snprintf(section, sizeof(section), "%s.topics", path);
    if (!build_patterns(build, &service->topics, section, json_object_get(tree, "topics"))) {
        return false;
    }
    snprintf(section, sizeof(section), "%s.groups", path);
    return build_patterns(build, &service->groups, section, json_object_get(tree, "groups")) &&
           build_cnames(build, service, path, json_object_get(tree, "cname"));
}

/* The same literal topic in two services is known to clash without asking a broker; patterns are compared with the
 * topics that exist when a link starts. */
static bool services_clash(const struct build *build)
{
    struct config *config = build->config;
    for (size_t a = 0; a < config->services_count; a++) {
        for (size_t b = 0; b < config->services_count; b++) {
            const struct config_service *left = &config->services[a];
            const struct config_service *right = &config->services[b];
            for (size_t i = 0; a != b && i < left->topics.include_count; i++) {
                const struct config_pattern *pattern = &left->topics.include[i];
                bool literal =
                    pattern->kind == PATTERN_GLOB && strpbrk(pattern->text, "*?") == NULL;
                if (literal && config_patterns_match(&right->topics, pattern->text) &&
                    config_patterns_match(&left->topics, pattern->text)) {
                    char path[PATH_BYTES];
                    snprintf(path, sizeof(path), "services.%.100s.topics.include.%zu", left->name,
                             i);
                    parse_error(build->places, build->err, path,
                                "topic %s belongs to service \"%s\" too", pattern->text,
                                right->name);
                    return true;
                }
            }
        }
    }
    return false;
}

/* --- the whole ------------------------------------------------------------------------------------------------------ */

static void build_limits(struct config_limits *limits, const json_t *mirror)
{
#define LIMIT(key) parse_number("mirror." key, json_object_get(mirror, key))
    limits->partition_window_bytes = LIMIT("partition_window");
    limits->link_window_bytes = LIMIT("link_window");
    limits->fetch_bytes = LIMIT("fetch");
    limits->partition_fetch_bytes = LIMIT("partition_fetch");
    limits->map_memory_bytes = LIMIT("map_memory");
    limits->resume_read_bytes = LIMIT("resume_read");
    limits->produce_timeout_ms = (int32_t)LIMIT("produce_timeout");
    limits->checkpoint_interval_ms = (int32_t)LIMIT("checkpoint_interval");
    limits->session_timeout_ms = (int32_t)LIMIT("session_timeout");
    limits->tcp_user_timeout_ms = (int32_t)LIMIT("tcp_user_timeout");
    limits->connections_per_broker = (int32_t)LIMIT("connections_per_broker");
    limits->drain_timeout_ms = (int32_t)LIMIT("drain_timeout");
#undef LIMIT
}

static bool check_limits(const struct build *build)
{
    const struct config_limits *limits = &build->config->limits;
    if (limits->session_timeout_ms < limits->tcp_user_timeout_ms + 3000) {
        return parse_error(build->places, build->err, "mirror.session_timeout",
                           "must be at least 3 s longer than tcp_user_timeout: what lies between "
                           "is the time to send");
    }
    if (limits->link_window_bytes < 2 * limits->fetch_bytes) {
        return parse_error(build->places, build->err, "mirror.link_window",
                           "must hold at least two fetches");
    }
    return true;
}

static const char *worker_name(const json_t *tree)
{
    char host[256] = "";
    const char *name = string_at(tree, "worker");
    if (name != NULL) {
        return name;
    }
    gethostname(host, sizeof(host) - 1);
    return copy(host[0] == '\0' ? "localhost" : host);
}

static const char *state_dir(const json_t *tree)
{
    const char *dir = string_at(tree, "state_dir");
    const char *given = getenv("STATE_DIRECTORY"); /* systemd */
    if (dir != NULL) {
        return dir;
    }
    return copy(given != NULL && given[0] != '\0' ? given : "/var/lib/ferry");
}

static bool build_all(const struct build *build, json_t *tree)
{
    struct config *config = build->config;
    json_t *sites = json_object_get(tree, "sites");
    json_t *services = json_object_get(tree, "services");
    const char *name;
    json_t *value;
    config->deployment = string_at(tree, "deployment");
    if (config->deployment == NULL || !name_ok(build, "deployment", config->deployment)) {
        return config->deployment != NULL ||
               parse_error(build->places, build->err, "deployment", "is empty");
    }
    config->worker = worker_name(tree);
    config->state_dir = state_dir(tree);
    const char *listen = string_at(json_object_get(tree, "http"), "listen");
    config->http_listen = listen != NULL ? listen : copy(keys_find("http.listen")->default_text);
    build_limits(&config->limits, json_object_get(tree, "mirror"));
    config->sites = must(calloc(json_object_size(sites) + 1, sizeof(*config->sites)));
    config->services = must(calloc(json_object_size(services) + 1, sizeof(*config->services)));
    json_object_foreach (sites, name, value) {
        if (!build_site(build, &config->sites[config->sites_count++], name, value)) {
            return false;
        }
    }
    json_object_foreach (services, name, value) {
        if (!build_service(build, &config->services[config->services_count++], name, value)) {
            return false;
        }
    }
    return name_ok(build, "worker", config->worker) && check_limits(build) &&
           !services_clash(build);
}

struct config *config_parse(const char *text, size_t len, const char *name, struct err *err)
{
    struct parse_places *places = NULL;
    json_t *tree = parse_config(text, len, name, &places, err);
    if (tree == NULL) {
        return NULL;
    }
    struct config *config = must(calloc(1, sizeof(*config)));
    config->file = copy(name);
    struct build build = {.config = config, .places = places, .err = err};
    bool ok = build_all(&build, tree);
    json_decref(tree);
    parse_places_free(places);
    if (!ok) {
        config_free(config);
        return NULL;
    }
    return config;
}

/* Whole small file as heap text, NULL with err. */
static char *read_file(const char *file, size_t most, enum err_kind kind, size_t *out_len,
                       struct err *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        err_set_code(err, kind, errno, "%s: %s", file, strerror(errno));
        return NULL;
    }
    char *text = must(malloc(most + 2));
    size_t len = 0;
    ssize_t got;
    while ((got = read(fd, text + len, most + 1 - len)) > 0) {
        len += (size_t)got;
    }
    int error = errno;
    close(fd);
    if (got < 0 || len > most) {
        err_set_code(err, kind, got < 0 ? error : EFBIG, "%s: %s", file,
                     strerror(got < 0 ? error : EFBIG));
        free(text);
        return NULL;
    }
    text[len] = '\0';
    *out_len = len;
    return text;
}

struct config *config_load(const char *file, struct err *err)
{
    size_t len = 0;
    char *text = read_file(file, FILE_BYTES_MAX, ERR_CONFIG, &len, err);
    if (text == NULL) {
        err_hint(err, "name it: --config FILE or FERRY_CONFIG=FILE");
        return NULL;
    }
    struct config *config = config_parse(text, len, file, err);
    free(text);
    return config;
}

static void secret_done(struct config_secret *secret)
{
    drop(secret->name);
    drop(secret->file);
    drop(secret->env);
}

static void properties_free(struct config_property *properties, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        drop(properties[i].name);
        drop(properties[i].value);
    }
    free(properties);
}

static void client_done(struct config_client *client)
{
    properties_free(client->properties, client->properties_count);
    for (size_t i = 0; i < client->secrets_count; i++) {
        secret_done(&client->secrets[i]);
    }
    free(client->secrets);
}

static void site_done(struct config_site *site)
{
    drop(site->name);
    drop(site->region);
    drop(site->zone);
    client_done(&site->kafka);
    if (site->operator_kafka != NULL) {
        client_done(site->operator_kafka);
        free(site->operator_kafka);
    }
    if (site->redis != NULL) {
        drop(site->redis->url);
        drop(site->redis->username);
        drop(site->redis->ca_file);
        drop(site->redis->prefix);
        if (site->redis->password != NULL) {
            secret_done(site->redis->password);
            free(site->redis->password);
        }
        free(site->redis);
    }
}

static void pattern_list_free(struct config_pattern *patterns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        drop(patterns[i].text);
        if (patterns[i].compiled != NULL) {
            regfree(patterns[i].compiled);
            free(patterns[i].compiled);
        }
    }
    free(patterns);
}

static void service_done(struct config_service *service)
{
    drop(service->name);
    drop(service->home);
    drop(service->names);
    for (size_t i = 0; i < service->others_count; i++) {
        drop(service->others[i]);
    }
    free(service->others);
    pattern_list_free(service->topics.include, service->topics.include_count);
    pattern_list_free(service->topics.exclude, service->topics.exclude_count);
    pattern_list_free(service->groups.include, service->groups.include_count);
    pattern_list_free(service->groups.exclude, service->groups.exclude_count);
    for (size_t i = 0; i < service->cnames_count; i++) {
        drop(service->cnames[i].record);
        properties_free(service->cnames[i].at, service->cnames[i].at_count);
    }
    free(service->cnames);
}

void config_free(struct config *config)
{
    if (config == NULL) {
        return;
    }
    for (size_t i = 0; i < config->sites_count; i++) {
        site_done(&config->sites[i]);
    }
    for (size_t i = 0; i < config->services_count; i++) {
        service_done(&config->services[i]);
    }
    free(config->sites);
    free(config->services);
    drop(config->file);
    drop(config->deployment);
    drop(config->http_listen);
    drop(config->worker);
    drop(config->state_dir);
    free(config);
}

const struct config_site *config_site(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->sites_count; i++) {
        if (strcmp(config->sites[i].name, name) == 0) {
            return &config->sites[i];
        }
    }
    return NULL;
}

const struct config_service *config_service(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->services_count; i++) {
        if (strcmp(config->services[i].name, name) == 0) {
            return &config->services[i];
        }
    }
    return NULL;
}

/* --- secrets -------------------------------------------------------------------------------------------------------- */

void config_secret_free(char *text)
{
    if (text != NULL) {
        OPENSSL_cleanse(text, strlen(text));
        free(text);
    }
}

static char *read_secret_file(const struct config_secret *secret, struct err *err)
{
    struct stat status;
    size_t len = 0;
    if (stat(secret->file, &status) == 0 && (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        err_set(err, ERR_CONFIG, "%s may be written by others", secret->file);
        err_hint(err, "chmod go-w %s", secret->file);
        return NULL;
    }
    return read_file(secret->file, SECRET_BYTES_MAX, ERR_CONFIG, &len, err);
}

char *config_secret_read(const struct config_secret *secret, struct err *err)
{
    char *text = NULL;
    if (secret->file != NULL) {
        text = read_secret_file(secret, err);
    } else if (getenv(secret->env) != NULL) {
        text = must(strdup(getenv(secret->env)));
    } else {
        err_set(err, ERR_CONFIG, "the environment has no %s", secret->env);
    }
    if (text == NULL) {
        err_wrap(err, "secret %s", secret->name);
        return NULL;
    }
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r')) {
        text[--len] = '\0';
    }
    if (len == 0) {
        err_set(err, ERR_CONFIG, "secret %s: %s is empty", secret->name,
                secret->file != NULL ? secret->file : secret->env);
        config_secret_free(text);
        return NULL;
    }
    return text;
}

/* --- what determines the streams ------------------------------------------------------------------------------------ */

static void put_patterns(FILE *out, const struct config_pattern *patterns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "%s%s\n", patterns[i].kind == PATTERN_GLOB ? "g" : "r", patterns[i].text);
    }
    fputs("|", out);
}

uint64_t config_streams_hash(const struct config_service *service)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char *text = NULL;
    size_t len = 0;
    FILE *out = must(open_memstream(&text, &len));
    /* v1: the form of what follows; start and on_truncation do not change which record a sequence number means */
    fprintf(out, "v1|path=%d|names=%s|read_committed|revision=%lld|", (int)service->path,
            service->names, (long long)service->revision);
    put_patterns(out, service->topics.include, service->topics.include_count);
    put_patterns(out, service->topics.exclude, service->topics.exclude_count);
    fclose(out);
    SHA256((const unsigned char *)text, len, digest);
    free(text);
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | digest[i];
    }
    return value;
}
