#include "config/keys.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/words.h"

#define KIB ((int64_t)1 << 10)
#define MIB ((int64_t)1 << 20)
#define GIB ((int64_t)1 << 30)
#define TIB ((int64_t)1 << 40)

/* clang-format off */
/* Who changes records of a zone: the same keys for the first provider and for those of `also`. */
#define PROVIDER_KEYS(at) \
    {.path = at ".provider", .type = KEY_CHOICE, .choices = "rfc2136|powerdns|route53|cloudflare|alidns|google|azure|exec", .required = true, .help = "who changes records there: dynamic updates, the API of a provider, or a program of yours (docs/dns.md#providers)"}, \
    {.path = at ".servers", .type = KEY_ARRAY, .help = "rfc2136: who takes updates, tried in order"}, \
    {.path = at ".servers.[]", .type = KEY_STRING, .help = "ADDRESS, ADDRESS:PORT or [V6]:PORT; no names: they may not resolve on that day"}, \
    {.path = at ".tsig", .type = KEY_OBJECT, .help = "rfc2136: key of dynamic updates; needed"}, \
    {.path = at ".tsig.name", .type = KEY_STRING, .required = true, .help = "its name"}, \
    {.path = at ".tsig.algorithm", .type = KEY_CHOICE, .default_text = "hmac-sha256", .choices = "hmac-sha256|hmac-sha512", .help = "as the server has it"}, \
    {.path = at ".tsig.secret", .type = KEY_SECRET, .required = true, .help = "where it is read from; base64"}, \
    {.path = at ".secret", .type = KEY_SECRET, .help = "every provider with an API: where its key is read from: API key (powerdns), token (cloudflare), secret access key (route53, alidns), client secret (azure), the service account's JSON (google)"}, \
    {.path = at ".access_key", .type = KEY_STRING, .default_text = "", .help = "route53, alidns: id of the access key; needed, unless `credentials` come from elsewhere"}, \
    {.path = at ".credentials", .type = KEY_CHOICE, .default_text = "keys", .choices = "keys|environment|container|instance", .help = "route53: where its keys come from: `access_key` and `secret`, the variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, the endpoint of ECS or EKS, or the instance's metadata (docs/dns.md#route53)"}, \
    {.path = at ".session_token", .type = KEY_SECRET, .help = "route53, alidns: where the token of temporary credentials is read from"}, \
    {.path = at ".id", .type = KEY_STRING, .default_text = "", .help = "of the zone: hosted zone (route53), managed zone (google), zone id (cloudflare); needed by those; powerdns: of the server, else localhost"}, \
    {.path = at ".region", .type = KEY_STRING, .default_text = "", .help = "route53: that requests are signed for; default us-east-1, in China cn-northwest-1"}, \
    {.path = at ".project", .type = KEY_STRING, .default_text = "", .help = "google: project of the zone; needed"}, \
    {.path = at ".tenant", .type = KEY_STRING, .default_text = "", .help = "azure: directory of the client; needed"}, \
    {.path = at ".client", .type = KEY_STRING, .default_text = "", .help = "azure: id of the application that signs in; needed"}, \
    {.path = at ".subscription", .type = KEY_STRING, .default_text = "", .help = "azure: of the zone; needed"}, \
    {.path = at ".resource_group", .type = KEY_STRING, .default_text = "", .help = "azure: of the zone; needed"}, \
    {.path = at ".endpoint", .type = KEY_STRING, .default_text = "", .help = "https://HOST[:PORT][/PATH] of the API; default: the provider's public one; needed by powerdns, which may have http://"}, \
    {.path = at ".sign_in", .type = KEY_STRING, .default_text = "", .help = "google, azure: https://... that gives tokens; default: the provider's public one"}, \
    {.path = at ".ca", .type = KEY_STRING, .default_text = "", .help = "file of certificates that the endpoint's must lead to; default: the system's"}, \
    {.path = at ".request_timeout", .type = KEY_DURATION, .default_text = "10s", .least = 100, .most = 120000, .help = "an API has so long for one request, waits that it asks for included"}, \
    {.path = at ".command", .type = KEY_ARRAY, .help = "exec: the program and its arguments, no shell (docs/dns.md)"}, \
    {.path = at ".command.[]", .type = KEY_STRING, .help = "first an absolute path, then arguments"}, \
    {.path = at ".command_timeout", .type = KEY_DURATION, .default_text = "20s", .least = 100, .most = 600000, .help = "exec: ended after so long"}, \
    {.path = at ".environment", .type = KEY_ARRAY, .help = "exec: variables that are passed on; others are not, but for PATH and LANG"}, \
    {.path = at ".environment.[]", .type = KEY_STRING, .help = "a name"}

const struct key config_keys[] = {
    {.path = "deployment", .type = KEY_STRING, .required = true, .restart = true, .help = "name of this installation; part of the producer ids, so never change it"},
    {.path = "worker", .type = KEY_STRING, .default_text = "", .restart = true, .help = "name of this worker, unique in the group; default: the host's name"},
    {.path = "state_dir", .type = KEY_STRING, .default_text = "", .restart = true, .help = "folder of the worker's lock; default: $STATE_DIRECTORY, else /var/lib/ferry"},
    {.path = "log_level", .type = KEY_CHOICE, .default_text = "info", .choices = "debug|info|warn|error", .help = "which lines ferryd writes; its option --log-level beats it"},
    {.path = "sites", .type = KEY_OBJECT, .required = true, .help = "Kafka clusters by name"},
    {.path = "sites.*", .type = KEY_OBJECT, .restart = true, .help = "one Kafka cluster in one place"},
    {.path = "sites.*.region", .type = KEY_STRING, .default_text = "", .help = "for `ferry check`: both sites in one region is a warning"},
    {.path = "sites.*.zone", .type = KEY_STRING, .default_text = "", .help = "likewise"},
    {.path = "sites.*.control", .type = KEY_CHOICE, .default_text = "fenced", .choices = "fenced|single-writer", .restart = true, .help = "how the control topic is written there: by transactions, which fence who wrote before; or, on a cluster that refuses transactions or compaction, with acks=all by one writer (docs/control.md)"},
    {.path = "sites.*.kafka", .type = KEY_OBJECT, .required = true, .restart = true, .help = "librdkafka properties as they are; bootstrap.servers is needed"},
    {.path = "sites.*.kafka.*", .type = KEY_SCALAR, .restart = true, .help = "one property; secrets do not belong here"},
    {.path = "sites.*.secrets", .type = KEY_OBJECT, .restart = true, .help = "secret librdkafka properties"},
    {.path = "sites.*.secrets.*", .type = KEY_SECRET, .restart = true, .help = "where the value is read from, when a client is made"},
    {.path = "sites.*.operator", .type = KEY_OBJECT, .help = "client of `ferry` for what ferryd may not do (fences, roles)"},
    {.path = "sites.*.operator.kafka", .type = KEY_OBJECT, .help = "properties that differ from the site's"},
    {.path = "sites.*.operator.kafka.*", .type = KEY_SCALAR, .help = "one property"},
    {.path = "sites.*.operator.secrets", .type = KEY_OBJECT, .help = "secret properties that differ"},
    {.path = "sites.*.operator.secrets.*", .type = KEY_SECRET, .help = "where the value is read from"},
    {.path = "sites.*.redis", .type = KEY_OBJECT, .restart = true, .help = "shared memory at this site; a link uses its target's"},
    {.path = "sites.*.redis.url", .type = KEY_STRING, .required = true, .restart = true, .help = "redis://HOST:PORT/DB or rediss://; never with a password"},
    {.path = "sites.*.redis.username", .type = KEY_STRING, .default_text = "", .restart = true, .help = "ACL user"},
    {.path = "sites.*.redis.password", .type = KEY_SECRET, .restart = true, .help = "where the password is read from"},
    {.path = "sites.*.redis.ca_file", .type = KEY_STRING, .default_text = "", .restart = true, .help = "CA bundle for rediss://; default: the system's"},
    {.path = "sites.*.redis.prefix", .type = KEY_STRING, .default_text = "", .restart = true, .help = "before every key"},
    {.path = "sites.*.redis.timeout", .type = KEY_DURATION, .default_text = "1s", .least = 50, .most = 60000, .restart = true, .help = "a call unanswered for so long drops the connection"},
    {.path = "services", .type = KEY_OBJECT, .required = true, .help = "what is protected together, by name"},
    {.path = "services.*", .type = KEY_OBJECT, .restart = true, .help = "topics, groups and names of one service"},
    {.path = "services.*.home", .type = KEY_STRING, .required = true, .restart = true, .help = "the site that is primary in normal times"},
    {.path = "services.*.others", .type = KEY_ARRAY, .required = true, .restart = true, .help = "the other sites in order of preference"},
    {.path = "services.*.others.[]", .type = KEY_STRING, .restart = true, .help = "a site"},
    {.path = "services.*.path", .type = KEY_CHOICE, .default_text = "batches", .choices = "batches|records|auto", .restart = true, .help = "way to carry data: exactly once, under producer ids of our choosing; or at least once, for targets that take none and for Kafka before 2.8; or as `ferry enable` finds out and records (docs/records.md)"},
    {.path = "services.*.names", .type = KEY_CHOICE, .default_text = "identity", .choices = "identity", .restart = true, .help = "topics keep their names"},
    {.path = "services.*.start", .type = KEY_CHOICE, .default_text = "earliest", .choices = "earliest|latest", .help = "where a partition begins that was never mirrored"},
    {.path = "services.*.revision", .type = KEY_COUNT, .default_text = "0", .least = 0, .most = 1000000, .help = "raise it to bring an older configuration back (docs/adr/0003)"},
    {.path = "services.*.rto", .type = KEY_DURATION, .default_text = "60s", .least = 1000, .most = 86400000, .help = "how long clients may be without a cluster, in whole seconds: `ferry check` warns of answers of name servers that are kept longer"},
    {.path = "services.*.on_truncation", .type = KEY_CHOICE, .default_text = "continue", .choices = "continue|fault", .help = "the source lost records that are mirrored (unclean election)"},
    {.path = "services.*.on_foreign_write", .type = KEY_CHOICE, .default_text = "continue", .choices = "continue|fault", .help = "somebody else wrote to a mirror topic"},
    {.path = "services.*.on_source_deleted", .type = KEY_CHOICE, .default_text = "keep", .choices = "keep", .help = "a source topic was deleted: its copy stays, nothing is mirrored into it any more (docs/topics.md)"},
    {.path = "services.*.topics", .type = KEY_OBJECT, .required = true, .help = "which topics"},
    {.path = "services.*.topics.include", .type = KEY_ARRAY, .required = true, .help = "patterns"},
    {.path = "services.*.topics.include.[]", .type = KEY_PATTERN, .help = "a glob (* any run, ? one), or {\"regex\": \"...\"}, anchored"},
    {.path = "services.*.topics.exclude", .type = KEY_ARRAY, .help = "patterns; exclude wins"},
    {.path = "services.*.topics.exclude.[]", .type = KEY_PATTERN, .help = "likewise"},
    {.path = "services.*.topic_config", .type = KEY_OBJECT, .help = "which settings of the source's topics the target's get (docs/topics.md)"},
    {.path = "services.*.topic_config.sync", .type = KEY_BOOL, .default_text = "true", .help = "follow them; false: only when a topic is created"},
    {.path = "services.*.topic_config.always", .type = KEY_ARRAY, .help = "patterns of settings that follow although they do not by default; beats exclude"},
    {.path = "services.*.topic_config.always.[]", .type = KEY_PATTERN, .help = "of names of settings, as remote.*"},
    {.path = "services.*.topic_config.exclude", .type = KEY_ARRAY, .help = "patterns of settings that do not follow"},
    {.path = "services.*.topic_config.exclude.[]", .type = KEY_PATTERN, .help = "likewise"},
    {.path = "services.*.groups", .type = KEY_OBJECT, .help = "which consumer groups"},
    {.path = "services.*.groups.include", .type = KEY_ARRAY, .required = true, .help = "patterns"},
    {.path = "services.*.groups.include.[]", .type = KEY_PATTERN, .help = "likewise"},
    {.path = "services.*.groups.exclude", .type = KEY_ARRAY, .help = "patterns; exclude wins"},
    {.path = "services.*.groups.exclude.[]", .type = KEY_PATTERN, .help = "likewise"},
    {.path = "services.*.groups.commit", .type = KEY_BOOL, .default_text = "true", .help = "commit their translated offsets at the target; false: only keep them in Redis (docs/groups.md)"},
    {.path = "services.*.acl_sync", .type = KEY_OBJECT, .help = "which ACLs of the source `ferry acls sync` copies to the target; without it none (docs/acls.md)"},
    {.path = "services.*.acl_sync.topics", .type = KEY_BOOL, .default_text = "false", .help = "those that concern topics of the service: what reads; what writes or alters is withheld, and remembered"},
    {.path = "services.*.acl_sync.groups", .type = KEY_BOOL, .default_text = "false", .help = "those that concern groups of the service"},
    {.path = "services.*.acl_sync.exclude", .type = KEY_ARRAY, .help = "patterns of principals whose ACLs are not copied; Ferry's own never are"},
    {.path = "services.*.acl_sync.exclude.[]", .type = KEY_PATTERN, .help = "of whole principals, as User:admin-*"},
    {.path = "services.*.limits", .type = KEY_OBJECT, .help = "bytes a second of each of its links, all workers together"},
    {.path = "services.*.limits.initial", .type = KEY_BYTES, .default_text = "0", .least = 0, .most = 64 * GIB, .help = "of partitions that have not caught up since their worker took them; 0 = no limit"},
    {.path = "services.*.limits.steady", .type = KEY_BYTES, .default_text = "0", .least = 0, .most = 64 * GIB, .help = "of partitions that have; 0 = no limit"},
    {.path = "services.*.filter", .type = KEY_OBJECT, .restart = true, .help = "which records: those that fail it are not mirrored; every batch is opened and written anew"},
    {.path = "services.*.filter.key", .type = KEY_OBJECT, .restart = true, .help = "globs over the record's key; a null key matches none"},
    {.path = "services.*.filter.key.include", .type = KEY_ARRAY, .restart = true, .help = "without it every key belongs, null too"},
    {.path = "services.*.filter.key.include.[]", .type = KEY_STRING, .restart = true, .help = "a glob over bytes (* any run, ? one)"},
    {.path = "services.*.filter.key.exclude", .type = KEY_ARRAY, .restart = true, .help = "globs; exclude wins"},
    {.path = "services.*.filter.key.exclude.[]", .type = KEY_STRING, .restart = true, .help = "likewise"},
    {.path = "services.*.filter.headers", .type = KEY_OBJECT, .restart = true, .help = "by header; a record has to pass all of them"},
    {.path = "services.*.filter.headers.*", .type = KEY_OBJECT, .restart = true, .help = "globs over the value of the header of this name; a null value matches none"},
    {.path = "services.*.filter.headers.*.include", .type = KEY_ARRAY, .restart = true, .help = "one header of the name has to match; without it none needs to be there"},
    {.path = "services.*.filter.headers.*.include.[]", .type = KEY_STRING, .restart = true, .help = "a glob"},
    {.path = "services.*.filter.headers.*.exclude", .type = KEY_ARRAY, .restart = true, .help = "globs; exclude wins"},
    {.path = "services.*.filter.headers.*.exclude.[]", .type = KEY_STRING, .restart = true, .help = "likewise"},
    {.path = "services.*.compression", .type = KEY_CHOICE, .default_text = "source", .choices = "source|none|gzip|snappy|lz4|zstd", .restart = true, .help = "codec of what is written; any but `source` opens batches that have another one"},
    {.path = "services.*.merge", .type = KEY_BOOL, .default_text = "true", .restart = true, .help = "four or more neighbouring batches of at most 4 KiB (64 KiB when uncompressed and the target is replicated or far) become one of at most 60 (240) KiB when they come in one answer; false: what may pass passes unopened"},
    {.path = "services.*.max_loss", .type = KEY_SCALAR, .help = "records that `ferry failover` may lose without --allow-loss: a number, or \"unknown\""},
    {.path = "services.*.hooks", .type = KEY_OBJECT, .help = "programs that a failover calls, no shell (docs/failover.md)"},
    {.path = "services.*.hooks.timeout", .type = KEY_DURATION, .default_text = "60s", .least = 100, .most = 3600000, .help = "ended after so long"},
    {.path = "services.*.hooks.pre", .type = KEY_ARRAY, .help = "before anything is changed; its failure stops the operation"},
    {.path = "services.*.hooks.pre.[]", .type = KEY_STRING, .help = "first an absolute path, then arguments"},
    {.path = "services.*.hooks.fence", .type = KEY_ARRAY, .help = "stops the source's writers, instead of ACLs; called with FERRY_HOOK=unfence to undo it"},
    {.path = "services.*.hooks.fence.[]", .type = KEY_STRING, .help = "likewise"},
    {.path = "services.*.hooks.evict", .type = KEY_ARRAY, .help = "switchover: ends clients' old sessions once the names have moved"},
    {.path = "services.*.hooks.evict.[]", .type = KEY_STRING, .help = "likewise"},
    {.path = "services.*.hooks.post", .type = KEY_ARRAY, .help = "when everything is done"},
    {.path = "services.*.hooks.post.[]", .type = KEY_STRING, .help = "likewise"},
    {.path = "services.*.cname", .type = KEY_ARRAY, .help = "records that move at a failover"},
    {.path = "services.*.cname.[]", .type = KEY_OBJECT, .help = "one record"},
    {.path = "services.*.cname.[].record", .type = KEY_STRING, .required = true, .help = "its name"},
    {.path = "services.*.cname.[].at", .type = KEY_OBJECT, .required = true, .help = "its value by site"},
    {.path = "services.*.cname.[].at.*", .type = KEY_STRING, .help = "the name that clients reach the site by"},
    {.path = "services.*.cname.[].alias", .type = KEY_OBJECT, .help = "route53: the record is an alias, no CNAME; hosted zone of its target by site, one for each of `at` (docs/dns.md#alias-records)"},
    {.path = "services.*.cname.[].alias.*", .type = KEY_STRING, .help = "hosted zone id of the load balancer, or of the zone that has the target"},
    {.path = "services.*.cname.[].evaluate_target_health", .type = KEY_BOOL, .default_text = "false", .help = "of an alias: as Route 53 has it"},
    {.path = "services.*.cname.[].ttl", .type = KEY_DURATION, .default_text = "30s", .least = 1000, .most = 86400000, .help = "whole seconds: the record is created with it; a longer one is warned about, `ferry dns prepare` lowers to it"},
    {.path = "dns", .type = KEY_OBJECT, .help = "zones by name, for `ferry dns` and failovers (docs/dns.md); ferryd needs none"},
    {.path = "dns.*", .type = KEY_OBJECT, .help = "one zone; records lie in the longest that fits"},
    PROVIDER_KEYS("dns.*"),
    {.path = "dns.*.also", .type = KEY_ARRAY, .help = "further providers of the same zone: every change is made with all of them, in this order, this one first (docs/dns.md#several-providers)"},
    {.path = "dns.*.also.[]", .type = KEY_OBJECT, .help = "one of them"},
    PROVIDER_KEYS("dns.*.also.[]"),
    {.path = "dns.*.regions", .type = KEY_ARRAY, .help = "regions that who changes and who answers the zone stands in, named as `sites.X.region`; for `ferry check`"},
    {.path = "dns.*.regions.[]", .type = KEY_STRING, .help = "one of them"},
    {.path = "dns.*.authoritative", .type = KEY_ARRAY, .help = "who is asked what clients get; default: the zone's NS records"},
    {.path = "dns.*.authoritative.[]", .type = KEY_STRING, .help = "likewise"},
    {.path = "dns.*.resolvers", .type = KEY_ARRAY, .help = "recursive servers that clients use: asked for the new name's address, and settled only when all of them say so"},
    {.path = "dns.*.resolvers.[]", .type = KEY_STRING, .help = "likewise"},
    {.path = "dns.*.settled", .type = KEY_COUNT, .default_text = "0", .least = 0, .most = 64, .help = "a change is settled when so many authoritative servers say so; 0 = all of them"},
    {.path = "dns.*.timeout", .type = KEY_DURATION, .default_text = "2s", .least = 100, .most = 30000, .help = "a server has so long to answer, then the next is tried"},
    {.path = "http", .type = KEY_OBJECT, .help = "metrics and health"},
    {.path = "http.listen", .type = KEY_STRING, .default_text = "127.0.0.1:9464", .restart = true, .help = "ADDR:PORT, or \"off\""},
    {.path = "mirror", .type = KEY_OBJECT, .help = "limits of the data path"},
    {.path = "mirror.partition_window", .type = KEY_BYTES, .default_text = "4MiB", .least = 64 * KIB, .most = 256 * MIB, .help = "unacknowledged and queued bytes of one partition"},
    {.path = "mirror.link_window", .type = KEY_BYTES, .default_text = "128MiB", .least = 4 * MIB, .most = 64 * GIB, .help = "fetched bytes held by one link"},
    {.path = "mirror.fetch", .type = KEY_BYTES, .default_text = "4MiB", .least = 16 * KIB, .most = 64 * MIB, .restart = true, .help = "one Fetch answer"},
    {.path = "mirror.partition_fetch", .type = KEY_BYTES, .default_text = "1MiB", .least = 16 * KIB, .most = 64 * MIB, .help = "one partition's part of it"},
    {.path = "mirror.map_memory", .type = KEY_BYTES, .default_text = "64MiB", .least = 64 * KIB, .most = 64 * GIB, .restart = true, .help = "runs kept while Redis is away"},
    {.path = "mirror.resume_read", .type = KEY_BYTES, .default_text = "1GiB", .least = MIB, .most = TIB, .help = "how much of a log is read back to find the place"},
    {.path = "mirror.rebuild_rate", .type = KEY_BYTES, .default_text = "8MiB", .least = 0, .most = 64 * GIB, .help = "bytes a second of both logs that a worker reads for each link to rebuild unmapped stretches of its map; 0: none is rebuilt"},
    {.path = "mirror.produce_timeout", .type = KEY_DURATION, .default_text = "2s", .least = 100, .most = 60000, .help = "the target has so long to replicate a batch"},
    {.path = "mirror.checkpoint_interval", .type = KEY_DURATION, .default_text = "250ms", .least = 10, .most = 10000, .restart = true, .help = "how often a moved checkpoint goes to Redis"},
    {.path = "mirror.session_timeout", .type = KEY_DURATION, .default_text = "10s", .least = 6000, .most = 300000, .restart = true, .help = "a worker that is silent for so long loses its partitions"},
    {.path = "mirror.tcp_user_timeout", .type = KEY_DURATION, .default_text = "3s", .least = 500, .most = 60000, .restart = true, .help = "the kernel gives up on unacknowledged bytes after so long"},
    {.path = "mirror.connections_per_broker", .type = KEY_COUNT, .default_text = "2", .least = 1, .most = 8, .restart = true, .help = "to each target broker; 8 to one that is far (a round trip of 5 ms)"},
    {.path = "mirror.drain_timeout", .type = KEY_DURATION, .default_text = "10s", .least = 100, .most = 300000, .help = "an orderly stop may take so long"},
};
/* clang-format on */
const size_t config_keys_count = sizeof(config_keys) / sizeof(config_keys[0]);

const struct key *keys_find(const char *path)
{
    for (size_t i = 0; i < config_keys_count; i++) {
        if (strcmp(config_keys[i].path, path) == 0) {
            return &config_keys[i];
        }
    }
    return NULL;
}

const struct key *keys_member(const char *parent, const char *name)
{
    char path[KEY_PATH_BYTES];
    size_t used =
        (size_t)snprintf(path, sizeof(path), "%s%s", parent, parent[0] == '\0' ? "" : ".");
    size_t len = strlen(name);
    if (used + len + 1 > sizeof(path)) {
        len = 0; /* longer than any key of the table: only a `*` can be meant */
    }
    memcpy(path + used, name, len);
    path[used + len] = '\0';
    /* "http.listen" as one name is not the key of that path */
    bool plain = len > 0 && strpbrk(name, ".*[") == NULL;
    const struct key *literal = plain ? keys_find(path) : NULL;
    if (literal != NULL) {
        return literal;
    }
    memcpy(path + used, "*", 2);
    return keys_find(path);
}

const struct key *keys_element(const char *array)
{
    char path[KEY_PATH_BYTES];

    snprintf(path, sizeof(path), "%s.[]", array);
    return keys_find(path);
}

const char *keys_suggest(const char *parent, const char *name)
{
    size_t parent_len = strlen(parent);
    const char *best = NULL;
    size_t best_distance = WORDS_NEAR;
    for (size_t i = 0; i < config_keys_count; i++) {
        const char *path = config_keys[i].path;
        const char *last = strrchr(path, '.');
        const char *key = last == NULL ? path : last + 1;
        size_t above = last == NULL ? 0 : (size_t)(last - path);
        bool sibling = above == parent_len && strncmp(path, parent, parent_len) == 0;
        size_t key_distance = sibling ? words_distance(name, key) : SIZE_MAX;
        if (key_distance < best_distance && key_distance < strlen(key)) {
            best = key;
            best_distance = key_distance;
        }
    }
    return best;
}

bool keys_number(enum key_type type, const char *text, int64_t *out)
{
    static const struct {
        enum key_type type;
        const char *unit;
        int64_t factor;
    } units[] = {
        {KEY_BYTES,    "",    1      },
        {KEY_BYTES,    "B",   1      },
        {KEY_BYTES,    "KiB", KIB    },
        {KEY_BYTES,    "MiB", MIB    },
        {KEY_BYTES,    "GiB", GIB    },
        {KEY_BYTES,    "TiB", TIB    },
        {KEY_DURATION, "",    1      },
        {KEY_DURATION, "ms",  1      },
        {KEY_DURATION, "s",   1000   },
        {KEY_DURATION, "m",   60000  },
        {KEY_DURATION, "h",   3600000},
        {KEY_COUNT,    "",    1      }
    };
    char *end;
    if (!isdigit((unsigned char)text[0]) || strlen(text) > 18) {
        return false;
    }
    int64_t value = strtoll(text, &end, 10);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (units[i].type == type && strcmp(units[i].unit, end) == 0) {
            return !__builtin_mul_overflow(value, units[i].factor, out);
        }
    }
    return false;
}

int64_t keys_default(const char *path)
{
    const struct key *key = keys_find(path);
    int64_t value = 0;
    assert(key != NULL);
    bool ok = keys_number(key->type, key->default_text, &value);
    assert(ok);
    (void)ok;
    return value;
}
