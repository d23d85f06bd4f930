/* The effective configuration and the table of keys, for people. Secrets are shown as where they come from. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "config/build.h"
#include "config/config.h"
#include "config/keys.h"
#include "config/properties.h"

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
    put_string(tree, "control", site->kafka.single_writer ? "single-writer" : "fenced");
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

static json_t *topic_config_json(const struct config_service *service)
{
    const struct config_patterns *settings = &service->topic_config;
    return json_pack("{sbsoso}", "sync", service->topic_config_sync, "always",
                     pattern_list(settings->include, settings->include_count), "exclude",
                     pattern_list(settings->exclude, settings->exclude_count));
}

static json_t *acl_sync_json(const struct config_service *service)
{
    const struct config_patterns *principals = &service->acl_principals;
    return json_pack("{sbsbso}", "topics", service->acl_topics, "groups", service->acl_groups,
                     "exclude", pattern_list(principals->exclude, principals->exclude_count));
}

static void put_alias(json_t *tree, const struct config_cname *cname)
{
    json_t *zones = json_object();
    for (size_t i = 0; cname->hosted_zones != NULL && i < cname->at_count; i++) {
        put_string(zones, cname->at[i].name, cname->hosted_zones[i]);
    }
    if (cname->hosted_zones != NULL) {
        json_object_set(tree, "alias", zones);
        json_object_set_new(tree, "evaluate_target_health", json_boolean(cname->evaluate_health));
    }
    json_decref(zones);
}

static json_t *cnames_json(const struct config_service *service)
{
    json_t *list = json_array();
    for (size_t i = 0; i < service->cnames_count; i++) {
        json_t *at = json_object();
        for (size_t j = 0; j < service->cnames[i].at_count; j++) {
            put_string(at, service->cnames[i].at[j].name, service->cnames[i].at[j].value);
        }
        json_t *item = json_pack("{sssosi}", "record", service->cnames[i].record, "at", at, "ttl",
                                 service->cnames[i].ttl_s * 1000);
        put_alias(item, &service->cnames[i]);
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *filter_json(const struct config_filter *filter)
{
    json_t *headers = json_object();
    for (size_t i = 0; i < filter->headers_count; i++) {
        json_object_set_new(headers, filter->headers[i].name,
                            patterns_json(&filter->headers[i].globs));
    }
    return json_pack("{soso}", "key", patterns_json(&filter->key), "headers", headers);
}

static json_t *words_json(const char *const *words, size_t count);

static json_t *hooks_json(const struct config_service *service)
{
    json_t *tree = json_pack("{si}", "timeout", service->hooks_timeout_ms);
    for (int hook = 0; hook < CONFIG_HOOKS_COUNT; hook++) {
        const char **words = service->hooks[hook];
        size_t count = 0;
        while (words != NULL && words[count] != NULL) {
            count++;
        }
        if (count > 0) {
            json_object_set_new(tree, config_hook_name((enum config_hook)hook),
                                words_json(words, count));
        }
    }
    return tree;
}

static json_t *service_json(const struct config_service *service)
{
    json_t *others = json_array();
    for (size_t i = 0; i < service->others_count; i++) {
        json_array_append_new(others, json_string(service->others[i]));
    }
    json_t *tree = json_pack(
        "{sssosssssssIsssss{sIsI}sososssbso}", "home", service->home, "others", others, "path",
        config_path_name(service->path), "names", service->names, "start",
        service->start == START_EARLIEST ? "earliest" : "latest", "revision",
        (json_int_t)service->revision, "on_truncation",
        service->on_truncation == POLICY_FAULT ? "fault" : "continue", "on_foreign_write",
        service->on_foreign_write == POLICY_FAULT ? "fault" : "continue", "limits", "initial",
        (json_int_t)service->limit_initial_bytes, "steady", (json_int_t)service->limit_steady_bytes,
        "topics", patterns_json(&service->topics), "groups", patterns_json(&service->groups),
        "compression", config_compression_name(service->compression), "merge",
        service->merge ? 1 : 0, "cname", cnames_json(service));
    json_object_set_new(json_object_get(tree, "groups"), "commit",
                        json_boolean(service->groups_commit));
    json_object_set_new(tree, "on_source_deleted", json_string("keep"));
    json_object_set_new(tree, "rto", json_integer((json_int_t)service->rto_s * 1000));
    json_object_set_new(tree, "topic_config", topic_config_json(service));
    json_object_set_new(tree, "acl_sync", acl_sync_json(service));
    json_object_set_new(tree, "hooks", hooks_json(service));
    if (service->max_loss != CONFIG_LOSS_ASKED) {
        json_object_set_new(tree, "max_loss",
                            service->max_loss == CONFIG_LOSS_ANY ? json_string("unknown")
                                                                 : json_integer(service->max_loss));
    }
    if (service->filter != NULL) {
        json_object_set_new(tree, "filter", filter_json(service->filter));
    }
    return tree;
}

static json_t *servers_json(const struct config_servers *servers)
{
    json_t *list = json_array();
    for (size_t i = 0; i < servers->count; i++) {
        json_array_append_new(list, json_string(servers->list[i].text));
    }
    return list;
}

static json_t *words_json(const char *const *words, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, json_string(words[i]));
    }
    return list;
}

/* What one provider was told. */
static void put_provider(json_t *tree, const struct config_zone *zone)
{
    json_object_set_new(tree, "provider", json_string(config_provider_name(zone->provider)));
    json_object_set_new(tree, "servers", servers_json(&zone->servers));
    if (zone->provider == PROVIDER_RFC2136) {
        json_object_set_new(tree, "tsig",
                            json_pack("{ssssso}", "name", zone->tsig_name, "algorithm",
                                      zone->tsig_algorithm, "secret",
                                      secret_json(zone->tsig_secret)));
        return;
    }
    if (zone->provider == PROVIDER_EXEC) {
        json_object_set_new(tree, "command", words_json(zone->command, zone->command_count));
        json_object_set_new(tree, "command_timeout", json_integer(zone->command_timeout_ms));
        json_object_set_new(tree, "environment",
                            words_json(zone->environment, zone->environment_count));
        return;
    }
    const struct {
        const char *key;
        const char *value;
    } texts[] = {
        {"access_key",     zone->access_key    },
        {"id",             zone->id            },
        {"region",         zone->region        },
        {"project",        zone->project       },
        {"tenant",         zone->tenant        },
        {"client",         zone->client        },
        {"subscription",   zone->subscription  },
        {"resource_group", zone->resource_group},
        {"endpoint",       zone->endpoint      },
        {"sign_in",        zone->sign_in       },
        {"ca",             zone->ca            },
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].value != NULL) {
            json_object_set_new(tree, texts[i].key, json_string(texts[i].value));
        }
    }
    if (zone->provider == PROVIDER_ROUTE53) {
        json_object_set_new(tree, "credentials",
                            json_string(config_credentials_name(zone->credentials)));
    }
    if (zone->secret != NULL) {
        json_object_set_new(tree, "secret", secret_json(zone->secret));
    }
    if (zone->session_token != NULL) {
        json_object_set_new(tree, "session_token", secret_json(zone->session_token));
    }
    json_object_set_new(tree, "request_timeout", json_integer(zone->request_timeout_ms));
}

static json_t *zone_json(const struct config_zone *zone)
{
    json_t *also = json_array();
    json_t *tree = json_pack("{sososisi}", "authoritative", servers_json(&zone->authoritative),
                             "resolvers", servers_json(&zone->resolvers), "settled",
                             zone->settled_count, "timeout", zone->timeout_ms);
    put_provider(tree, zone);
    for (size_t i = 0; i < zone->also_count; i++) {
        json_t *other = json_object();
        put_provider(other, &zone->also[i]);
        json_array_append_new(also, other);
    }
    json_object_set_new(tree, "also", also);
    json_object_set_new(tree, "regions", words_json(zone->regions, zone->regions_count));
    return tree;
}

static json_t *limits_json(const struct config_limits *limits)
{
    return json_pack(
        "{sIsIsIsIsIsIsIsisisisisisi}", "partition_window",
        (json_int_t)limits->partition_window_bytes, "link_window",
        (json_int_t)limits->link_window_bytes, "fetch", (json_int_t)limits->fetch_bytes,
        "partition_fetch", (json_int_t)limits->partition_fetch_bytes, "map_memory",
        (json_int_t)limits->map_memory_bytes, "resume_read", (json_int_t)limits->resume_read_bytes,
        "rebuild_rate", (json_int_t)limits->rebuild_bytes, "produce_timeout",
        limits->produce_timeout_ms, "checkpoint_interval", limits->checkpoint_interval_ms,
        "session_timeout", limits->session_timeout_ms, "tcp_user_timeout",
        limits->tcp_user_timeout_ms, "connections_per_broker", limits->connections_per_broker,
        "drain_timeout", limits->drain_timeout_ms);
}

json_t *build_tree(const struct config *config)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    json_t *sites = json_object();
    json_t *services = json_object();
    json_t *zones = json_object();
    for (size_t i = 0; i < config->zones_count; i++) {
        json_object_set_new(zones, config->zones[i].name, zone_json(&config->zones[i]));
    }
    for (size_t i = 0; i < config->sites_count; i++) {
        json_object_set_new(sites, config->sites[i].name, site_json(&config->sites[i]));
    }
    for (size_t i = 0; i < config->services_count; i++) {
        json_object_set_new(services, config->services[i].name, service_json(&config->services[i]));
    }
    return json_pack("{sssssssssososos{ss}so}", "deployment", config->deployment, "worker",
                     config->worker, "state_dir", config->state_dir, "log_level",
                     levels[config->log_level], "sites", sites, "services", services, "dns", zones,
                     "http", "listen", config->http_listen, "mirror", limits_json(&config->limits));
}

static json_t *hash_of(const struct config_service *service, enum config_path path)
{
    char hash[17];
    snprintf(hash, sizeof(hash), "%016" PRIx64, config_streams_hash(service, path));
    return json_string(hash);
}

/* Of path `auto` either, by its name: which one it is stands in the control topic. */
static json_t *hash_json(const struct config_service *service)
{
    if (service->path != PATH_AUTO) {
        return hash_of(service, service->path);
    }
    return json_pack("{soso}", config_path_name(PATH_BATCHES), hash_of(service, PATH_BATCHES),
                     config_path_name(PATH_RECORDS), hash_of(service, PATH_RECORDS));
}

char *config_show(const struct config *config)
{
    json_t *tree = build_tree(config);
    json_t *hashes = json_object();
    for (size_t i = 0; i < config->services_count; i++) {
        json_object_set_new(hashes, config->services[i].name, hash_json(&config->services[i]));
    }
    json_object_set_new(tree, "streams_hash", hashes);
    char *text = json_pretty(tree);
    json_decref(tree);
    return text;
}

/* --- the reference ------------------------------------------------------------------------------------------------ */

/* A number as people write it: the largest unit that leaves nothing over. */
static void put_amount(FILE *out, enum key_type type, int64_t amount)
{
    static const struct {
        enum key_type type;
        int64_t factor;
        const char *unit;
    } units[] = {
        {KEY_BYTES,    (int64_t)1 << 40, "TiB"},
        {KEY_BYTES,    1 << 30,          "GiB"},
        {KEY_BYTES,    1 << 20,          "MiB"},
        {KEY_BYTES,    1 << 10,          "KiB"},
        {KEY_DURATION, 60000,            "m"  },
        {KEY_DURATION, 1000,             "s"  },
        {KEY_DURATION, 1,                "ms" },
    };
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (units[i].type == type && amount > 0 && amount % units[i].factor == 0) {
            fprintf(out, "%" PRId64 "%s", amount / units[i].factor, units[i].unit);
            return;
        }
    }
    fprintf(out, "%" PRId64, amount);
}

/* A table's cell: bars would end it. */
static void put_choices(FILE *out, const char *choices)
{
    for (; *choices != '\0'; choices++) {
        if (*choices == '|') {
            fputs(", ", out);
        } else {
            fputc(*choices, out);
        }
    }
}

static void put_type(FILE *out, const struct key *key)
{
    static const char *const names[] = {
        [KEY_OBJECT] = "object",     [KEY_ARRAY] = "array",
        [KEY_STRING] = "string",     [KEY_SCALAR] = "string, number or boolean",
        [KEY_BOOL] = "boolean",      [KEY_BYTES] = "size",
        [KEY_DURATION] = "duration", [KEY_COUNT] = "whole number",
        [KEY_CHOICE] = "one of ",    [KEY_PATTERN] = "pattern",
        [KEY_SECRET] = "secret",
    };
    fputs(names[key->type], out);
    if (key->type == KEY_CHOICE) {
        put_choices(out, key->choices);
    }
    if (key->most > 0) {
        fputs(", ", out);
        put_amount(out, key->type, key->least);
        fputs(" to ", out);
        put_amount(out, key->type, key->most);
    }
}

static void put_key(FILE *out, const struct key *key)
{
    bool leaf = key->type != KEY_OBJECT && key->type != KEY_ARRAY;

    fprintf(out, "| `%s` | ", key->path);
    put_type(out, key);
    fprintf(out, " | %s | %s | %s |\n",
            key->required                                               ? "**needed**"
            : key->default_text != NULL && key->default_text[0] != '\0' ? key->default_text
                                                                        : "",
            !leaf          ? ""
            : key->restart ? "restart"
                           : "reload",
            key->help);
}

static void put_property(FILE *out, const struct property *property)
{
    fprintf(out, "| `%s` | ", property->name);
    switch (property->type) {
    case PROPERTY_TEXT:
        fputs(property->secret ? "only under `secrets`" : "text", out);
        break;
    case PROPERTY_NUMBER:
        fprintf(out, "%" PRId64 " to %" PRId64, property->least, property->most);
        break;
    case PROPERTY_BOOL:
        fputs("true or false", out);
        break;
    case PROPERTY_CHOICE:
        put_choices(out, property->choices);
        break;
    case PROPERTY_SERVERS:
        fputs("`HOST:PORT`, and more behind commas", out);
        break;
    case PROPERTY_URL:
        fputs("`https://HOST[:PORT]/PATH`", out);
        break;
    case PROPERTY_PAIRS:
        fputs("`KEY=VALUE`, and more behind commas", out);
        break;
    }
    fprintf(out, " | %s |\n", property->note == NULL ? "" : property->note);
}

static const char reference_begin[] =
    "# Configuration: every key\n\n"
    "Printed by `ferry config reference` from the table that also checks the file; not edited by "
    "hand.\n\n"
    "One JSON file (UTF-8, at most 1 MiB), named by `--config`, `FERRY_CONFIG`, or "
    "`/etc/ferry/ferry.json`. Unknown and duplicate keys,\n"
    "wrong units and values out of range are errors that name FILE:LINE:COLUMN and the path. "
    "Nothing starts with a file that is wrong.\n\n"
    "In a path, `*` is a name of your choice and `[]` each element of an array.\n\n"
    "- **size**: bytes, or `\"64MiB\"` (B, KiB, MiB, GiB, TiB). **duration**: milliseconds, or "
    "`\"250ms\"` (ms, s, m, h).\n"
    "- **secret**: `{\"file\": \"/run/secrets/x\"}` or `{\"env\": \"NAME\"}`. The value never "
    "stands in the file; a secret's file that group or others may write is refused.\n"
    "- **pattern**: a glob, `*` any run of characters, `?` one, a dot is a dot; or `{\"regex\": "
    "\"...\"}`, a POSIX extended expression that must match the whole name\n"
    "  (no counts in braces, no back references). Names that begin with `ferry.`, `ferry-` or "
    "`__` are never matched.\n"
    "- **change**: `reload` is taken over while ferryd runs (SIGHUP, `systemctl reload ferryd`); "
    "`restart` needs a restart: a reload that\n  finds such a change is refused whole, by name, "
    "and the configuration before goes on. What a secret's file holds is read when it is used: "
    "neither is needed.\n\n"
    "| key | type | default | change | meaning |\n|---|---|---|---|---|\n";

static const char reference_properties[] =
    "\n## Properties of a cluster (`sites.*.kafka`)\n\n"
    "librdkafka's names and meanings; the wire client keeps to them. What would change how records "
    "are read, written or shared out is refused by name.\n"
    "Certificates, keys and passwords are looked at again for each connection. TLS 1.2 or "
    "newer.\n\n"
    "| property | value | note |\n|---|---|---|\n";

char *config_reference(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL) {
        abort();
    }
    fputs(reference_begin, out);
    for (size_t i = 0; i < config_keys_count; i++) {
        put_key(out, &config_keys[i]);
    }
    fputs(reference_properties, out);
    for (size_t i = 0; i < properties_count; i++) {
        put_property(out, &properties[i]);
    }
    fclose(out);
    return text;
}
