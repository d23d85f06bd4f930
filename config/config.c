#include "config/config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "config/build.h"
#include "config/keys.h"

/* --- the file's top ----------------------------------------------------------------------------------------------- */

static void build_limits(struct config_limits *limits, const json_t *mirror)
{
#define LIMIT(key) parse_number("mirror." key, json_object_get(mirror, key))
    limits->partition_window_bytes = LIMIT("partition_window");
    limits->link_window_bytes = LIMIT("link_window");
    limits->fetch_bytes = LIMIT("fetch");
    limits->partition_fetch_bytes = LIMIT("partition_fetch");
    limits->map_memory_bytes = LIMIT("map_memory");
    limits->resume_read_bytes = LIMIT("resume_read");
    limits->rebuild_bytes = LIMIT("rebuild_rate");
    limits->produce_timeout_ms = (int32_t)LIMIT("produce_timeout");
    limits->checkpoint_interval_ms = (int32_t)LIMIT("checkpoint_interval");
    limits->session_timeout_ms = (int32_t)LIMIT("session_timeout");
    limits->tcp_user_timeout_ms = (int32_t)LIMIT("tcp_user_timeout");
    limits->connections_per_broker = (int32_t)LIMIT("connections_per_broker");
    limits->drain_timeout_ms = (int32_t)LIMIT("drain_timeout");
#undef LIMIT
}

/* What no single range can say. */
static bool limits_ok(const struct build *build)
{
    const struct config_limits *limits = &build->config->limits;

    /* session - TCP_USER_TIMEOUT - 1 s is the time to send after a commit; less than two seconds is none */
    if (limits->session_timeout_ms < limits->tcp_user_timeout_ms + 3000) {
        return parse_error(build->file, build->err, "mirror.session_timeout",
                           "must be at least 3 s longer than tcp_user_timeout: what lies between "
                           "is the time to send");
    }
    if (limits->link_window_bytes < 2 * limits->fetch_bytes) {
        return parse_error(build->file, build->err, "mirror.link_window",
                           "must hold at least two fetches");
    }
    return true;
}

static enum log_level log_level(const json_t *tree)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    const char *name = json_string_value(json_object_get(tree, "log_level"));
    enum log_level level = LOG_INFO;

    for (size_t i = 0; name != NULL && i < sizeof(names) / sizeof(names[0]); i++) {
        level = strcmp(name, names[i]) == 0 ? (enum log_level)i : level;
    }
    return level;
}

static const char *worker_name(const json_t *tree)
{
    char host[256] = "";
    const char *name = build_string(tree, "worker");

    if (name != NULL) {
        return name;
    }
    gethostname(host, sizeof(host) - 1);
    return build_copy(host[0] == '\0' ? "localhost" : host);
}

static const char *state_dir(const json_t *tree)
{
    const char *dir = build_string(tree, "state_dir");
    const char *given = getenv("STATE_DIRECTORY"); /* systemd's */

    if (dir != NULL) {
        return dir;
    }
    return build_copy(given != NULL && given[0] != '\0' ? given : "/var/lib/ferry");
}

/* Numbers, so that no name server is asked on the loop; [V6] in brackets. */
static bool host_ok(const char *host, size_t len)
{
    unsigned char address[sizeof(struct in6_addr)];
    char text[INET6_ADDRSTRLEN + 1];
    bool bracketed = len > 2 && host[0] == '[' && host[len - 1] == ']';

    len -= bracketed ? 2 : 0;
    if (len >= sizeof(text)) {
        return false;
    }
    memcpy(text, host + (bracketed ? 1 : 0), len);
    text[len] = '\0';
    return strcmp(text, "localhost") == 0 ||
           inet_pton(bracketed ? AF_INET6 : AF_INET, text, address) == 1;
}

/* Whether it can be listened on is known when it is tried. */
static bool listen_ok(const struct build *build, const char *listen)
{
    const char *colon = strrchr(listen, ':');
    size_t digits = colon == NULL ? 0 : strspn(colon + 1, "0123456789");

    return strcmp(listen, "off") == 0 ||
           (digits > 0 && digits <= 5 && colon[1 + digits] == '\0' && atoi(colon + 1) <= 65535 &&
            host_ok(listen, (size_t)(colon - listen))) ||
           parse_error(build->file, build->err, "http.listen",
                       "expected ADDR:PORT, ADDR a number or localhost, or \"off\"");
}

static bool build_top(const struct build *build, const json_t *tree)
{
    struct config *config = build->config;

    config->deployment = build_copy(json_string_value(json_object_get(tree, "deployment")));
    config->worker = worker_name(tree);
    config->state_dir = state_dir(tree);
    config->log_level = log_level(tree);
    config->http_listen = build_string(json_object_get(tree, "http"), "listen");
    if (config->http_listen == NULL) {
        config->http_listen = build_copy(keys_find("http.listen")->default_text);
    }
    build_limits(&config->limits, json_object_get(tree, "mirror"));
    return build_name_ok(build, config->deployment, "deployment") &&
           build_name_ok(build, config->worker, "worker") &&
           listen_ok(build, config->http_listen) && limits_ok(build);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static bool build_all(const struct build *build, const json_t *tree)
{
    struct config *config = build->config;
    json_t *sites = json_object_get(tree, "sites");
    json_t *services = json_object_get(tree, "services");
    json_t *zones = json_object_get(tree, "dns");
    const char *name;
    json_t *value;

    config->sites = build_heap(calloc(json_object_size(sites) + 1, sizeof(*config->sites)));
    config->services =
        build_heap(calloc(json_object_size(services) + 1, sizeof(*config->services)));
    config->zones = build_heap(calloc(json_object_size(zones) + 1, sizeof(*config->zones)));
    if (!build_top(build, tree)) {
        return false;
    }
    json_object_foreach (sites, name, value) {
        if (!build_site(build, &config->sites[config->sites_count++], name, value)) {
            return false;
        }
    }
    json_object_foreach (zones, name, value) {
        if (!build_zone(build, &config->zones[config->zones_count++], name, value)) {
            return false;
        }
    }
    json_object_foreach (services, name, value) {
        if (!build_service(build, &config->services[config->services_count++], name, value)) {
            return false;
        }
    }
    return build_services_apart(build);
}

struct config *config_parse(const char *text, size_t len, const char *name, struct err *err)
{
    struct parse_text file = {.name = name, .text = text, .len = len};
    json_t *tree = parse_config(&file, err);

    if (tree == NULL) {
        return NULL;
    }
    struct config *config = build_heap(calloc(1, sizeof(*config)));
    config->refs_count = 1;
    config->file = build_copy(name);
    struct build build = {.config = config, .file = &file, .err = err};
    bool ok = build_all(&build, tree);
    json_decref(tree);
    if (!ok) {
        config_free(config);
        return NULL;
    }
    return config;
}

static void replace(const char **at, const char *with)
{
    const char *before = *at;

    if (with != NULL) {
        *at = build_copy(with);
        build_drop(before);
    }
}

void config_override(struct config *config, const char *worker, const char *http_listen)
{
    replace(&config->worker, worker);
    replace(&config->http_listen, http_listen);
}

struct config *config_load(const char *file, struct err *err)
{
    size_t len = 0;
    char *text = build_read_file(file, PARSE_BYTES_MAX, true, &len, err);

    if (text == NULL) {
        err_hint(err, "name it: --config FILE or FERRY_CONFIG=FILE");
        return NULL;
    }
    struct config *config = config_parse(text, len, file, err);
    free(text);
    return config;
}

/* Owners hold it as const, because it never changes for them; the count is nobody's. */
static int32_t *refs_of(const struct config *config)
{
    return &((struct config *)(uintptr_t)config)->refs_count;
}

const struct config *config_ref(const struct config *config)
{
    if (config != NULL) {
        __atomic_add_fetch(refs_of(config), 1, __ATOMIC_RELAXED);
    }
    return config;
}

void config_free(const struct config *config)
{
    if (config == NULL || __atomic_sub_fetch(refs_of(config), 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    for (size_t i = 0; i < config->sites_count; i++) {
        build_site_done(&config->sites[i]);
    }
    for (size_t i = 0; i < config->services_count; i++) {
        build_service_done(&config->services[i]);
    }
    for (size_t i = 0; i < config->zones_count; i++) {
        build_zone_done(&config->zones[i]);
    }
    free(config->sites);
    free(config->services);
    free(config->zones);
    build_drop(config->file);
    build_drop(config->deployment);
    build_drop(config->http_listen);
    build_drop(config->worker);
    build_drop(config->state_dir);
    free((void *)(uintptr_t)config);
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

/* --- what determines the streams ---------------------------------------------------------------------------------- */

static void put_patterns(FILE *out, const struct config_pattern *patterns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "%s%s\n", patterns[i].kind == PATTERN_GLOB ? "g" : "r", patterns[i].text);
    }
    fputs("|", out);
}

/* Nothing at all without one: hashes of services that have none stay what they were. Names and globs hold any byte but 0,
 * so each list is told by its length. */
static void put_filter(FILE *out, const struct config_filter *filter)
{
    if (filter == NULL) {
        return;
    }
    fprintf(out, "filter|%zu|%zu|", filter->key.include_count, filter->key.exclude_count);
    put_patterns(out, filter->key.include, filter->key.include_count);
    put_patterns(out, filter->key.exclude, filter->key.exclude_count);
    for (size_t i = 0; i < filter->headers_count; i++) {
        const struct config_header *header = &filter->headers[i];
        fprintf(out, "header|%zu|%s|%zu|%zu|", strlen(header->name), header->name,
                header->globs.include_count, header->globs.exclude_count);
        put_patterns(out, header->globs.include, header->globs.include_count);
        put_patterns(out, header->globs.exclude, header->globs.exclude_count);
    }
}

static uint64_t hash_text(char *take_text, size_t len)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    uint64_t value = 0;

    SHA256((const unsigned char *)take_text, len, digest);
    free(take_text);
    for (int i = 0; i < 8; i++) {
        value = value << 8 | digest[i];
    }
    return value;
}

uint64_t config_filter_hash(const struct config_service *service)
{
    char *text = NULL;
    size_t len = 0;

    if (service->filter == NULL) {
        return 0;
    }
    FILE *out = build_heap(open_memstream(&text, &len));
    put_filter(out, service->filter);
    fclose(out);
    return hash_text(text, len);
}

uint64_t config_streams_hash(const struct config_service *service, enum config_path path)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = build_heap(open_memstream(&text, &len));

    /* "v1" is the form of what follows: changing it raises the generation of every partition of every service. Where a
     * new partition starts and what the policies say does not change which record a sequence number means. */
    fprintf(out, "v1|path=%d|names=%s|read_committed|revision=%lld|", path == PATH_RECORDS ? 1 : 0,
            service->names, (long long)service->revision);
    put_patterns(out, service->topics.include, service->topics.include_count);
    put_patterns(out, service->topics.exclude, service->topics.exclude_count);
    put_filter(out, service->filter);
    fclose(out);
    return hash_text(text, len);
}
