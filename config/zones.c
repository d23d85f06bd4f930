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

static const char *const providers[] = {[PROVIDER_RFC2136] = "rfc2136", [PROVIDER_EXEC] = "exec"};

const char *config_provider_name(enum config_provider provider)
{
    return providers[provider];
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

static bool build_servers(const struct build *build, struct config_servers *servers,
                          const char *zone, const char *key, const json_t *tree)
{
    char path[BUILD_PATH_BYTES];
    const json_t *list = json_object_get(tree, key);
    size_t count = json_array_size(list);

    servers->list = build_heap(calloc(count + 1, sizeof(*servers->list)));
    if (count > SERVERS_MAX) {
        snprintf(path, sizeof(path), "dns.%.300s.%s", zone, key);
        return parse_error(build->file, build->err, path, "%zu servers; at most %d", count,
                           SERVERS_MAX);
    }
    while (servers->count < count) {
        const char *text = json_string_value(json_array_get(list, servers->count));
        struct config_server *server = &servers->list[servers->count];
        snprintf(path, sizeof(path), "dns.%.300s.%s.%zu", zone, key, servers->count++);
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

static bool needed(const struct build *build, const char *zone, const char *key, bool there)
{
    char path[BUILD_PATH_BYTES];
    snprintf(path, sizeof(path), "dns.%.300s", zone);
    return there ||
           parse_error(build->file, build->err, path, "\"%s\" is needed by this provider", key);
}

static bool build_tsig(const struct build *build, struct config_zone *zone, const json_t *tsig)
{
    char path[BUILD_PATH_BYTES];
    const char *algorithm = json_string_value(json_object_get(tsig, "algorithm"));

    zone->tsig_name = build_copy(json_string_value(json_object_get(tsig, "name")));
    zone->tsig_algorithm =
        build_copy(algorithm == NULL ? keys_find("dns.*.tsig.algorithm")->default_text : algorithm);
    zone->tsig_secret = build_heap(calloc(1, sizeof(*zone->tsig_secret)));
    snprintf(path, sizeof(path), "dns.%.300s.tsig.secret", zone->name);
    if (!build_secret(build, zone->tsig_secret, path, path, json_object_get(tsig, "secret"))) {
        return false;
    }
    snprintf(path, sizeof(path), "dns.%.300s.tsig.name", zone->name);
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

static bool command_ok(const struct build *build, const struct config_zone *zone)
{
    char path[BUILD_PATH_BYTES];
    snprintf(path, sizeof(path), "dns.%.300s.command", zone->name);
    if (zone->command_count > COMMAND_ARGS_MAX) {
        return parse_error(build->file, build->err, path, "more than %d words", COMMAND_ARGS_MAX);
    }
    if (zone->command_count == 0 || zone->command[0][0] != '/') {
        return parse_error(build->file, build->err, path, "begins with no absolute path");
    }
    for (size_t i = 0; i < zone->environment_count; i++) {
        if (zone->environment[i][0] == '\0' || strchr(zone->environment[i], '=') != NULL) {
            snprintf(path, sizeof(path), "dns.%.300s.environment.%zu", zone->name, i);
            return parse_error(build->file, build->err, path, "is no name of a variable");
        }
    }
    return true;
}

static bool build_provider(const struct build *build, struct config_zone *zone, const json_t *tree)
{
    const json_t *tsig = json_object_get(tree, "tsig");
    const json_t *command = json_object_get(tree, "command");

    if (zone->provider == PROVIDER_RFC2136) {
        return needed(build, zone->name, "servers", zone->servers.count > 0) &&
               needed(build, zone->name, "tsig", tsig != NULL) && build_tsig(build, zone, tsig);
    }
    zone->command = build_words(command, &zone->command_count);
    zone->environment = build_words(json_object_get(tree, "environment"), &zone->environment_count);
    return needed(build, zone->name, "command", command != NULL) && command_ok(build, zone);
}

/* --- a zone ------------------------------------------------------------------------------------------------------- */

bool build_zone(const struct build *build, struct config_zone *zone, const char *name,
                const json_t *tree)
{
    char path[BUILD_PATH_BYTES];
    const char *provider = json_string_value(json_object_get(tree, "provider"));
#define NUMBER(key) ((int32_t)parse_number("dns.*." key, json_object_get(tree, key)))
    zone->name = build_copy(name);
    zone->provider = strcasecmp(provider, "exec") == 0 ? PROVIDER_EXEC : PROVIDER_RFC2136;
    zone->settled_count = NUMBER("settled");
    zone->timeout_ms = NUMBER("timeout");
    zone->command_timeout_ms = NUMBER("command_timeout");
#undef NUMBER
    snprintf(path, sizeof(path), "dns.%.300s", name);
    return build_dns_name_ok(build, name, path) &&
           build_servers(build, &zone->servers, name, "servers", tree) &&
           build_servers(build, &zone->authoritative, name, "authoritative", tree) &&
           build_servers(build, &zone->resolvers, name, "resolvers", tree) &&
           build_provider(build, zone, tree);
}

static void words_done(const char **words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        build_drop(words[i]);
    }
    free(words);
}

void build_zone_done(struct config_zone *zone)
{
    build_drop(zone->name);
    servers_done(&zone->servers);
    servers_done(&zone->authoritative);
    servers_done(&zone->resolvers);
    build_drop(zone->tsig_name);
    build_drop(zone->tsig_algorithm);
    if (zone->tsig_secret != NULL) {
        build_secret_done(zone->tsig_secret);
        free(zone->tsig_secret);
    }
    words_done(zone->command, zone->command_count);
    words_done(zone->environment, zone->environment_count);
}
