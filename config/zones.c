/* Zones: who changes records there, and who is asked what stands. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/build.h"
#include "config/keys.h"

#define PORT_DNS         53
#define SERVERS_MAX      64 /* of one list: each is asked in parallel, with a socket */
#define DNS_NAME_MAX     253
#define DNS_LABEL_MAX    63
#define COMMAND_ARGS_MAX 64

#define ALSO_MAX 3
#define URL_MAX  400 /* with a path and a query it stays below https.c's bound */
#define WORD_MAX 128

#define NEEDS_MAX 5
static const struct provider {
    const char *name;
    const char *needs[NEEDS_MAX]; /* keys */
} providers[] = {
    [PROVIDER_RFC2136] = {"rfc2136",    {"servers", "tsig"}                                             },
    [PROVIDER_POWERDNS] = {"powerdns",   {"secret", "endpoint"}                                          },
    [PROVIDER_ROUTE53] = {"route53",    {"secret", "access_key", "id"}                                  },
    [PROVIDER_CLOUDFLARE] = {"cloudflare", {"secret", "id"}                                                },
    [PROVIDER_ALIDNS] = {"alidns",     {"secret", "access_key"}                                        },
    [PROVIDER_GOOGLE] = {"google",     {"secret", "project", "id"}                                     },
    [PROVIDER_AZURE] = {"azure",      {"secret", "tenant", "client", "subscription", "resource_group"}},
    [PROVIDER_EXEC] = {"exec",       {"command"}                                                     },
};

const char *config_provider_name(enum config_provider provider)
{
    return providers[provider].name;
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static size_t length_without_dot(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && name[len - 1] == '.' ? len - 1 : len;
}

bool build_dns_name_same(const char *a, const char *b)
{
    size_t len = length_without_dot(a);
    return len == length_without_dot(b) && strncasecmp(a, b, len) == 0;
}

static bool labels_ok(const char *name, size_t len)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    size_t label = 0;
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '.' ? label == 0 : strchr(letters, name[i]) == NULL) {
            return false;
        }
        label = name[i] == '.' ? 0 : label + 1;
        if (label > DNS_LABEL_MAX) {
            return false;
        }
    }
    return label > 0;
}

bool build_dns_name_ok(const struct build *build, const char *name, const char *path)
{
    size_t len = length_without_dot(name);
    return (len > 0 && len <= DNS_NAME_MAX && labels_ok(name, len)) ||
           parse_error(build->file, build->err, path,
                       "\"%.80s\" is no name of DNS: labels of 1 to 63 letters, digits, dashes "
                       "and underscores; others as xn--...",
                       name);
}

/* --- servers ------------------------------------------------------------------------------------------------------ */

static bool port_of(const char *text, uint16_t *out)
{
    size_t digits = strspn(text, "0123456789");
    int port = digits > 0 && digits <= 5 && text[digits] == '\0' ? atoi(text) : 0;
    *out = (uint16_t)port;
    return port > 0 && port <= UINT16_MAX;
}

/* "192.0.2.53", "192.0.2.53:5353", "2001:db8::1", "[2001:db8::1]:5353" */
static bool server_address(const char *text, struct sockaddr_storage *out)
{
    char host[INET6_ADDRSTRLEN + 1];
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    uint16_t port = PORT_DNS;
    const char *end = text[0] == '[' ? strchr(text, ']') : strchr(text, ':');
    bool bare = text[0] != '[' && end != NULL && strchr(end + 1, ':') != NULL;
    const char *from = text[0] == '[' ? text + 1 : text;
    size_t len = end == NULL || bare ? strlen(from) : (size_t)(end - from);
    const char *rest = end == NULL || bare ? "" : end + (text[0] == '[' ? 1 : 0);

    if ((text[0] == '[' && end == NULL) || len >= sizeof(host) ||
        (rest[0] != '\0' && (rest[0] != ':' || !port_of(rest + 1, &port)))) {
        return false;
    }
    memcpy(host, from, len);
    host[len] = '\0';
    memset(out, 0, sizeof(*out));
    if (text[0] != '[' && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return true;
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
}

/* @param at  path of the object that has the key */
static bool build_servers(const struct build *build, struct config_servers *servers, const char *at,
                          const char *key, const json_t *tree)
{
    char path[BUILD_PATH_BYTES];
    const json_t *list = json_object_get(tree, key);
    size_t count = json_array_size(list);

    servers->list = build_heap(calloc(count + 1, sizeof(*servers->list)));
    if (count > SERVERS_MAX) {
        snprintf(path, sizeof(path), "%.900s.%s", at, key);
        return parse_error(build->file, build->err, path, "%zu servers; at most %d", count,
                           SERVERS_MAX);
    }
    while (servers->count < count) {
        const char *text = json_string_value(json_array_get(list, servers->count));
        struct config_server *server = &servers->list[servers->count];
        snprintf(path, sizeof(path), "%.900s.%s.%zu", at, key, servers->count++);
        server->text = build_copy(text);
        if (!server_address(text, &server->address)) {
            return parse_error(build->file, build->err, path,
                               "\"%.80s\" is no ADDRESS, ADDRESS:PORT or [V6]:PORT", text);
        }
    }
    return true;
}

static void servers_done(struct config_servers *servers)
{
    for (size_t i = 0; i < servers->count; i++) {
        build_drop(servers->list[i].text);
    }
    free(servers->list);
}

/* --- providers ---------------------------------------------------------------------------------------------------- */

static const char *const credentials_names[] = {
    [CREDENTIALS_KEYS] = "keys",
    [CREDENTIALS_ENVIRONMENT] = "environment",
    [CREDENTIALS_CONTAINER] = "container",
    [CREDENTIALS_INSTANCE] = "instance",
};

const char *config_credentials_name(enum config_credentials credentials)
{
    return credentials_names[credentials];
}

static enum config_credentials credentials_of(const json_t *tree)
{
    const char *name = json_string_value(json_object_get(tree, "credentials"));
    enum config_credentials found = name == NULL ? CREDENTIALS_KEYS : CREDENTIALS_INSTANCE;
    while (found > CREDENTIALS_KEYS && strcasecmp(credentials_names[found], name) != 0) {
        found--; /* the table of keys knows no other */
    }
    return found;
}

/* @param at  path of the zone, or of one of its `also` */
static bool needs_met(const struct build *build, const char *at, enum config_provider provider,
                      const json_t *tree)
{
    bool elsewhere = provider == PROVIDER_ROUTE53 && credentials_of(tree) != CREDENTIALS_KEYS;
    for (size_t i = 0; i < NEEDS_MAX && providers[provider].needs[i] != NULL; i++) {
        const char *key = providers[provider].needs[i];
        const json_t *value = json_object_get(tree, key);
        if (elsewhere && (strcmp(key, "secret") == 0 || strcmp(key, "access_key") == 0)) {
            if (value != NULL) {
                return parse_error(build->file, build->err, at,
                                   "\"%s\" is given, and \"credentials\" says elsewhere", key);
            }
            continue;
        }
        if (value == NULL || (json_is_string(value) && json_string_length(value) == 0) ||
            (json_is_array(value) && json_array_size(value) == 0)) {
            return parse_error(build->file, build->err, at, "\"%s\" is needed by this provider",
                               key);
        }
    }
    return true;
}

/* @param out  stays NULL when the key is not there */
static bool build_secret_at(const struct build *build, struct config_secret **out, const char *at,
                            const char *key, const json_t *tree)
{
    char path[BUILD_PATH_BYTES];
    const json_t *value = json_object_get(tree, key);
    if (value == NULL) {
        return true;
    }
    *out = build_heap(calloc(1, sizeof(**out)));
    snprintf(path, sizeof(path), "%.900s.%s", at, key);
    return build_secret(build, *out, path, path, value);
}

static bool build_tsig(const struct build *build, struct config_zone *zone, const char *at,
                       const json_t *tsig)
{
    char path[BUILD_PATH_BYTES];
    const char *algorithm = json_string_value(json_object_get(tsig, "algorithm"));

    zone->tsig_name = build_copy(json_string_value(json_object_get(tsig, "name")));
    zone->tsig_algorithm =
        build_copy(algorithm == NULL ? keys_find("dns.*.tsig.algorithm")->default_text : algorithm);
    snprintf(path, sizeof(path), "%.900s.tsig", at);
    if (!build_secret_at(build, &zone->tsig_secret, path, "secret", tsig)) {
        return false;
    }
    snprintf(path, sizeof(path), "%.900s.tsig.name", at);
    return build_dns_name_ok(build, zone->tsig_name, path);
}

static const char **build_words(const json_t *list, size_t *out_count)
{
    size_t count = json_array_size(list);
    const char **words = build_heap(calloc(count + 1, sizeof(*words)));
    for (size_t i = 0; i < count; i++) {
        words[i] = build_copy(json_string_value(json_array_get(list, i)));
    }
    *out_count = count;
    return words;
}

static bool command_ok(const struct build *build, const struct config_zone *zone, const char *at)
{
    char path[BUILD_PATH_BYTES];
    snprintf(path, sizeof(path), "%.900s.command", at);
    if (zone->command_count > COMMAND_ARGS_MAX) {
        return parse_error(build->file, build->err, path, "more than %d words", COMMAND_ARGS_MAX);
    }
    if (zone->command_count == 0 || zone->command[0][0] != '/') {
        return parse_error(build->file, build->err, path, "begins with no absolute path");
    }
    for (size_t i = 0; i < zone->environment_count; i++) {
        if (zone->environment[i][0] == '\0' || strchr(zone->environment[i], '=') != NULL) {
            snprintf(path, sizeof(path), "%.900s.environment.%zu", at, i);
            return parse_error(build->file, build->err, path, "is no name of a variable");
        }
    }
    return true;
}

/* An address of an API. Who may read it on the way would have the key: http is for PowerDNS, which speaks nothing else. */
static bool url_ok(const struct build *build, const struct config_zone *zone, const char *url,
                   const char *at, const char *key)
{
    char path[BUILD_PATH_BYTES];
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/:[]";
    size_t scheme = url == NULL                                                              ? 0
                    : strncmp(url, "https://", 8) == 0                                       ? 8
                    : strncmp(url, "http://", 7) == 0 && zone->provider == PROVIDER_POWERDNS ? 7
                                                                                             : 0;
    snprintf(path, sizeof(path), "%.900s.%s", at, key);
    return url == NULL ||
           (scheme > 0 && url[scheme] != '\0' && url[scheme] != '/' && strlen(url) < URL_MAX &&
            strspn(url, letters) == strlen(url)) ||
           parse_error(build->file, build->err, path, "\"%.80s\" is no https://HOST[:PORT][/PATH]",
                       url);
}

/* Parts of paths and headers of requests: nothing that could end them. */
static bool word_ok(const struct build *build, const char *word, const char *at, const char *key)
{
    char path[BUILD_PATH_BYTES];
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:()";
    snprintf(path, sizeof(path), "%.900s.%s", at, key);
    return word == NULL || (strlen(word) < WORD_MAX && strspn(word, letters) == strlen(word)) ||
           parse_error(build->file, build->err, path,
                       "letters, digits and -._:() alone, at most %d", WORD_MAX - 1);
}

static const char *build_url(const json_t *tree, const char *key)
{
    const char *text = json_string_value(json_object_get(tree, key));
    char *copy = text == NULL || text[0] == '\0' ? NULL : build_heap(strdup(text));
    for (size_t len = copy == NULL ? 0 : strlen(copy); len > 0 && copy[len - 1] == '/'; len--) {
        copy[len - 1] = '\0';
    }
    return copy;
}

static bool build_api(const struct build *build, struct config_zone *zone, const char *at,
                      const json_t *tree)
{
    const struct {
        const char *key;
        const char **out;
    } words[] = {
        {"access_key",     &zone->access_key    },
        {"id",             &zone->id            },
        {"region",         &zone->region        },
        {"project",        &zone->project       },
        {"tenant",         &zone->tenant        },
        {"client",         &zone->client        },
        {"subscription",   &zone->subscription  },
        {"resource_group", &zone->resource_group},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        *words[i].out = build_string(tree, words[i].key);
        if (!word_ok(build, *words[i].out, at, words[i].key)) {
            return false;
        }
    }
    zone->credentials = credentials_of(tree);
    zone->ca = build_string(tree, "ca");
    zone->endpoint = build_url(tree, "endpoint");
    zone->sign_in = build_url(tree, "sign_in");
    return build_secret_at(build, &zone->secret, at, "secret", tree) &&
           build_secret_at(build, &zone->session_token, at, "session_token", tree) &&
           url_ok(build, zone, zone->endpoint, at, "endpoint") &&
           url_ok(build, zone, zone->sign_in, at, "sign_in");
}

static enum config_provider provider_of(const char *name)
{
    size_t count = sizeof(providers) / sizeof(providers[0]);
    size_t found = 0;
    while (found < count - 1 && strcasecmp(providers[found].name, name) != 0) {
        found++;
    }
    return (enum config_provider)found; /* the table of keys knows no other */
}

/* What one provider is told. @param at  path of the zone, or of one of its `also` */
static bool build_provider(const struct build *build, struct config_zone *zone, const char *at,
                           const json_t *tree)
{
    const json_t *command = json_object_get(tree, "command");

    zone->provider = provider_of(json_string_value(json_object_get(tree, "provider")));
    zone->command_timeout_ms =
        (int32_t)parse_number("dns.*.command_timeout", json_object_get(tree, "command_timeout"));
    zone->request_timeout_ms =
        (int32_t)parse_number("dns.*.request_timeout", json_object_get(tree, "request_timeout"));
    if (!build_servers(build, &zone->servers, at, "servers", tree) ||
        !needs_met(build, at, zone->provider, tree)) {
        return false;
    }
    if (zone->provider == PROVIDER_RFC2136) {
        return build_tsig(build, zone, at, json_object_get(tree, "tsig"));
    }
    if (zone->provider != PROVIDER_EXEC) {
        return build_api(build, zone, at, tree);
    }
    zone->command = build_words(command, &zone->command_count);
    zone->environment = build_words(json_object_get(tree, "environment"), &zone->environment_count);
    return command_ok(build, zone, at);
}

static bool build_also(const struct build *build, struct config_zone *zone, const char *at,
                       const json_t *list)
{
    char path[BUILD_PATH_BYTES];
    size_t count = json_array_size(list);
    snprintf(path, sizeof(path), "%.900s.also", at);
    if (count > ALSO_MAX) {
        return parse_error(build->file, build->err, path, "more than %d further providers",
                           ALSO_MAX);
    }
    zone->also = build_heap(calloc(count + 1, sizeof(*zone->also)));
    while (zone->also_count < count) {
        struct config_zone *other = &zone->also[zone->also_count];
        snprintf(path, sizeof(path), "%.900s.also.%zu", at, zone->also_count);
        other->name = build_copy(zone->name);
        other->timeout_ms = zone->timeout_ms;
        if (!build_provider(build, other, path, json_array_get(list, zone->also_count++))) {
            return false;
        }
    }
    return true;
}

/* --- a zone ------------------------------------------------------------------------------------------------------- */

bool build_zone(const struct build *build, struct config_zone *zone, const char *name,
                const json_t *tree)
{
    char path[BUILD_PATH_BYTES];
#define NUMBER(key) ((int32_t)parse_number("dns.*." key, json_object_get(tree, key)))
    zone->name = build_copy(name);
    zone->settled_count = NUMBER("settled");
    zone->timeout_ms = NUMBER("timeout");
#undef NUMBER
    zone->regions = build_words(json_object_get(tree, "regions"), &zone->regions_count);
    snprintf(path, sizeof(path), "dns.%.300s", name);
    return build_dns_name_ok(build, name, path) &&
           build_servers(build, &zone->authoritative, path, "authoritative", tree) &&
           build_servers(build, &zone->resolvers, path, "resolvers", tree) &&
           build_provider(build, zone, path, tree) &&
           build_also(build, zone, path, json_object_get(tree, "also"));
}

static void words_done(const char **words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        build_drop(words[i]);
    }
    free(words);
}

static void secret_done(struct config_secret *secret)
{
    if (secret != NULL) {
        build_secret_done(secret);
        free(secret);
    }
}

void build_zone_done(struct config_zone *zone)
{
    const char *const texts[] = {
        zone->name,
        zone->tsig_name,
        zone->tsig_algorithm,
        zone->access_key,
        zone->id,
        zone->region,
        zone->project,
        zone->tenant,
        zone->client,
        zone->subscription,
        zone->ca,
        zone->endpoint,
        zone->sign_in,
        zone->resource_group,
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        build_drop(texts[i]);
    }
    for (size_t i = 0; i < zone->also_count; i++) {
        build_zone_done(&zone->also[i]);
    }
    free(zone->also);
    servers_done(&zone->servers);
    servers_done(&zone->authoritative);
    servers_done(&zone->resolvers);
    secret_done(zone->tsig_secret);
    secret_done(zone->secret);
    secret_done(zone->session_token);
    words_done(zone->command, zone->command_count);
    words_done(zone->environment, zone->environment_count);
    words_done(zone->regions, zone->regions_count);
}
