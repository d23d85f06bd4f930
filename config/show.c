/* The effective configuration and the table of keys, for people. Secrets are shown as where they come from. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "config/config.h"
#include "config/keys.h"

static json_t *secret_json(const struct config_secret *secret)
{
    return secret->file != NULL ? json_pack("{ss}", "file", secret->file)
                                : json_pack("{ss}", "env", secret->env);
}

static void put_client(json_t *site, const struct config_client *client)
{
    json_t *kafka = json_object();
    json_t *secrets = json_object();
    for (size_t i = 0; i < client->properties_count; i++) {
        json_object_set_new(kafka, client->properties[i].name,
                            json_string(client->properties[i].value));
    }
    for (size_t i = 0; i < client->secrets_count; i++) {
        json_object_set_new(secrets, client->secrets[i].name, secret_json(&client->secrets[i]));
    }
    json_object_set_new(site, "kafka", kafka);
    json_object_set_new(site, "secrets", secrets);
}

static void put_string(json_t *object, const char *key, const char *value)
{
    if (value != NULL) {
        json_object_set_new(object, key, json_string(value));
    }
}

static json_t *site_json(const struct config_site *site)
{
    json_t *tree = json_object();
    put_string(tree, "region", site->region);
    put_string(tree, "zone", site->zone);
    put_client(tree, &site->kafka);
    if (site->operator_kafka != NULL) {
        json_t *operator_tree = json_object();
        put_client(operator_tree, site->operator_kafka);
        json_object_set_new(tree, "operator", operator_tree);
    }
    if (site->redis != NULL) {
        json_t *redis = json_pack("{sssssi}", "url", site->redis->url, "prefix",
                                  site->redis->prefix, "timeout", site->redis->timeout_ms);
        put_string(redis, "username", site->redis->username);
        put_string(redis, "ca_file", site->redis->ca_file);
        if (site->redis->password != NULL) {
            json_object_set_new(redis, "password", secret_json(site->redis->password));
        }
        json_object_set_new(tree, "redis", redis);
    }
    return tree;
}

static json_t *pattern_list(const struct config_pattern *patterns, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, patterns[i].kind == PATTERN_GLOB
                                        ? json_string(patterns[i].text)
                                        : json_pack("{ss}", "regex", patterns[i].text));
    }
    return list;
}

static json_t *patterns_json(const struct config_patterns *patterns)
{
    return json_pack("{soso}", "include", pattern_list(patterns->include, patterns->include_count),
                     "exclude", pattern_list(patterns->exclude, patterns->exclude_count));
}

static json_t *cnames_json(const struct config_service *service)
{
    json_t *list = json_array();
    for (size_t i = 0; i < service->cnames_count; i++) {
        json_t *at = json_object();
        for (size_t j = 0; j < service->cnames[i].at_count; j++) {
            put_string(at, service->cnames[i].at[j].name, service->cnames[i].at[j].value);
        }
        json_array_append_new(list,
                              json_pack("{ssso}", "record", service->cnames[i].record, "at", at));
    }
    return list;
}

static json_t *service_json(const struct config_service *service)
{
    json_t *others = json_array();
    for (size_t i = 0; i < service->others_count; i++) {
        json_array_append_new(others, json_string(service->others[i]));
    }
    return json_pack(
        "{sssosssssssIsssssososo}", "home", service->home, "others", others, "path", "batches",
        "names", service->names, "start", service->start == START_EARLIEST ? "earliest" : "latest",
        "revision", (json_int_t)service->revision, "on_truncation",
        service->on_truncation == POLICY_FAULT ? "fault" : "continue", "on_foreign_write",
        service->on_foreign_write == POLICY_FAULT ? "fault" : "continue", "topics",
        patterns_json(&service->topics), "groups", patterns_json(&service->groups), "cname",
        cnames_json(service));
}

static json_t *limits_json(const struct config_limits *limits)
{
    return json_pack(
        "{sIsIsIsIsIsIsisisisisisi}", "partition_window",
        (json_int_t)limits->partition_window_bytes, "link_window",
        (json_int_t)limits->link_window_bytes, "fetch", (json_int_t)limits->fetch_bytes,
        "partition_fetch", (json_int_t)limits->partition_fetch_bytes, "map_memory",
        (json_int_t)limits->map_memory_bytes, "resume_read", (json_int_t)limits->resume_read_bytes,
        "produce_timeout", limits->produce_timeout_ms, "checkpoint_interval",
        limits->checkpoint_interval_ms, "session_timeout", limits->session_timeout_ms,
        "tcp_user_timeout", limits->tcp_user_timeout_ms, "connections_per_broker",
        limits->connections_per_broker, "drain_timeout", limits->drain_timeout_ms);
}

char *config_show(const struct config *config)
{
    json_t *sites = json_object();
    json_t *services = json_object();
    json_t *hashes = json_object();
    for (size_t i = 0; i < config->sites_count; i++) {
        json_object_set_new(sites, config->sites[i].name, site_json(&config->sites[i]));
    }
    for (size_t i = 0; i < config->services_count; i++) {
        char hash[17];
        snprintf(hash, sizeof(hash), "%016" PRIx64, config_streams_hash(&config->services[i]));
        json_object_set_new(services, config->services[i].name, service_json(&config->services[i]));
        json_object_set_new(hashes, config->services[i].name, json_string(hash));
    }
    json_t *tree = json_pack("{sssssssosos{ss}soso}", "deployment", config->deployment, "worker",
                             config->worker, "state_dir", config->state_dir, "sites", sites,
                             "services", services, "http", "listen", config->http_listen, "mirror",
                             limits_json(&config->limits), "streams_hash", hashes);
    char *text = json_pretty(tree);
    json_decref(tree);
    return text;
}

char *config_reference(void)
{
    static const char *const types[] = {"object",   "array", "string", "scalar",  "boolean", "size",
                                        "duration", "count", "choice", "pattern", "secret"};
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL) {
        abort();
    }
    fputs("| key | type | default | meaning |\n|---|---|---|---|\n", out);
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct key *key = &config_keys[i];
        fprintf(out, "| `%s` | %s", key->path, types[key->type]);
        for (const char *at = key->choices; at != NULL && *at != '\0'; at++) {
            if (at == key->choices) {
                fputs(": ", out);
            }
            fputs(*at == '|' ? ", " : (char[]){*at, '\0'}, out);
        }
        fprintf(out, " | %s | %s%s |\n", key->default_text == NULL ? "" : key->default_text,
                key->required ? "needed; " : "", key->help);
    }
    fclose(out);
    return text;
}
