/* Sites, services and links as the configuration file names them: loaded whole or not at all.
 *
 * A loaded configuration never changes, but for the limits of the one that ferryd began with; a reload makes another one.
 * Everything is owned by the struct config and lives until its last owner's config_free(). Secrets are read from their file or environment when asked for, never kept in here,
 * never printed: `ferry config show` prints where they come from.
 */
#ifndef FERRY_CONFIG_CONFIG_H
#define FERRY_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/log.h"

struct config_property { /* a librdkafka property as written, name and value */
    const char *name;
    const char *value;
};

struct config_secret { /* {"file": ...} or {"env": ...} */
    const char *name;  /* e.g. "sasl.password" */
    const char *file;  /* or NULL */
    const char *env;   /* or NULL */
};

struct config_client {                  /* how to reach one Kafka cluster */
    struct config_property *properties; /* never secrets; bootstrap.servers is among them */
    size_t properties_count;
    struct config_secret *secrets;
    size_t secrets_count;
    bool
        single_writer; /* sites.X.control: the cluster takes no transactions, or does not compact */
};

struct config_redis {
    const char *url;
    const char *username;           /* or NULL */
    const char *ca_file;            /* or NULL */
    struct config_secret *password; /* or NULL */
    const char *prefix;             /* of every key, default "" */
    int32_t timeout_ms;
};

struct config_site {
    const char *name;
    const char *region; /* or NULL */
    const char *zone;   /* or NULL */
    struct config_client kafka;
    struct config_client *operator_kafka; /* sites.X.operator, or NULL */
    struct config_redis *redis;           /* or NULL: no Redis at this site */
};

enum config_pattern_kind { PATTERN_GLOB, PATTERN_REGEX };

struct config_pattern {
    enum config_pattern_kind kind;
    const char *text;
    void *compiled; /* regex_t of a PATTERN_REGEX, private to config.c */
};

struct config_patterns { /* exclude wins; reserved names never match */
    struct config_pattern *include;
    size_t include_count;
    struct config_pattern *exclude;
    size_t exclude_count;
};

struct config_header { /* one header that a filter looks at */
    const char *name;
    struct config_patterns globs; /* over its value */
};

/* Which records belong. Globs over bytes; exclude wins; no include = everything. */
struct config_filter {
    struct config_patterns key;
    struct config_header *headers;
    size_t headers_count;
};

enum config_compression {                     /* of what is written to the target */
                          COMPRESSION_SOURCE, /* as the source has it: batches pass unopened */
                          COMPRESSION_NONE,
                          COMPRESSION_GZIP,
                          COMPRESSION_SNAPPY,
                          COMPRESSION_LZ4,
                          COMPRESSION_ZSTD,
};
const char *config_compression_name(enum config_compression compression);

enum config_path {
    PATH_AUTO, /* of a service: as the control topic says. Elsewhere: not known, not said */
    PATH_BATCHES,
    PATH_RECORDS,
};
const char *config_path_name(enum config_path path);
enum config_start { START_EARLIEST, START_LATEST };
enum config_policy { POLICY_FAULT, POLICY_CONTINUE };

struct config_cname {
    const char *record;
    struct config_property *at; /* site name -> name that clients reach it by */
    size_t at_count;
    const char **
        hosted_zones; /* in the order of `at`: of its alias target; NULL = a CNAME record, no alias */
    bool evaluate_health; /* EvaluateTargetHealth of the alias */
    int32_t ttl_s;        /* default 30: created with it, a longer one is warned about */
};

enum config_provider {
    PROVIDER_RFC2136,
    PROVIDER_POWERDNS,
    PROVIDER_ROUTE53,
    PROVIDER_CLOUDFLARE,
    PROVIDER_ALIDNS,
    PROVIDER_GOOGLE,
    PROVIDER_AZURE,
    PROVIDER_EXEC,
};
const char *config_provider_name(enum config_provider provider);

enum config_credentials {                          /* PROVIDER_ROUTE53: where its keys come from */
                          CREDENTIALS_KEYS,        /* access_key, secret, session_token */
                          CREDENTIALS_ENVIRONMENT, /* AWS_ACCESS_KEY_ID, .. */
                          CREDENTIALS_CONTAINER,   /* ECS, EKS: AWS_CONTAINER_CREDENTIALS_.. */
                          CREDENTIALS_INSTANCE,    /* EC2: metadata service, version 2 */
};

const char *config_credentials_name(enum config_credentials credentials);

struct config_server { /* of names: a number, never a name */
    const char *text;  /* as it is written */
    struct sockaddr_storage address;
};

struct config_servers {
    struct config_server *list;
    size_t count;
};

struct config_zone { /* dns.NAME: where records live and who changes them */
    const char *name;
    enum config_provider provider;
    struct config_servers servers;       /* take updates, tried in order */
    struct config_servers authoritative; /* none = the zone's NS records */
    struct config_servers resolvers;
    int32_t settled_count; /* so many authoritative servers are enough; 0 = all */
    int32_t timeout_ms;    /* of one server's answer */
    const char *tsig_name; /* PROVIDER_RFC2136, else NULL, as are both below */
    const char *tsig_algorithm;
    struct config_secret *tsig_secret;
    const char **command; /* PROVIDER_EXEC: its argv, NULL behind it */
    size_t command_count;
    int32_t command_timeout_ms;
    const char **environment; /* names that are passed on */
    size_t environment_count;
    /* of providers with an API; NULL = not set */
    struct config_secret *secret;
    struct config_secret *session_token;
    enum config_credentials credentials;
    const char *access_key;
    const char *id; /* of the zone */
    const char *region;
    const char *project;
    const char *tenant;
    const char *client;
    const char *subscription;
    const char *resource_group;
    const char *endpoint; /* "https://...", no final slash */
    const char *sign_in;  /* likewise */
    const char *ca;       /* file */
    int32_t request_timeout_ms;
    const char **regions; /* that the zone's authority is said to stand in */
    size_t regions_count;
    struct config_zone
        *also; /* further providers: what a provider is told, and the zone's name, is set */
    size_t also_count;
};

enum config_hook { HOOK_PRE, HOOK_FENCE, HOOK_EVICT, HOOK_POST, CONFIG_HOOKS_COUNT };
const char *config_hook_name(enum config_hook hook);
#define CONFIG_LOSS_ANY   (-1) /* "unknown": also one that nobody knows */
#define CONFIG_LOSS_ASKED (-2) /* nothing is configured: the operator says */

struct config;
struct config_service {
    const struct config *config; /* that it is part of */
    const char *name;
    const char *home;    /* site name */
    const char **others; /* site names in order of preference */
    size_t others_count;
    enum config_path path;
    const char *names; /* "identity" is all there is for now */
    enum config_start start;
    int64_t revision; /* in the streams hash: raise it to bring an older configuration back */
    int32_t rto_s;    /* default 60: how long clients may be without a cluster */
    enum config_policy
        on_truncation; /* source lost records that were mirrored: default continue (new generation) */
    enum config_policy
        on_foreign_write; /* somebody else wrote to a mirror topic: default continue (a new run) */
    int64_t limit_initial_bytes; /* a second, of one link; 0 = none */
    int64_t limit_steady_bytes;
    struct config_patterns topics;
    bool topic_config_sync;              /* settings of topics follow; false: only at creation */
    struct config_patterns topic_config; /* of names of settings; include is the list `always` */
    struct config_patterns groups;
    bool
        groups_commit; /* their translated offsets, at the target; false: they are in Redis alone */
    bool acl_topics;   /* acl_sync: ACLs of its topics are copied, and of its groups */
    bool acl_groups;
    struct config_patterns acl_principals; /* include is unused; exclude: never copied */
    struct config_filter *filter;          /* or NULL: every record belongs */
    enum config_compression compression;
    bool merge; /* small neighbours; default true */
    struct config_cname *cnames;
    size_t cnames_count;
    int64_t max_loss; /* records that a failover may lose unasked, or CONFIG_LOSS_... */
    const char **hooks[CONFIG_HOOKS_COUNT]; /* argv with a NULL behind it; NULL = none */
    int32_t hooks_timeout_ms;
};

struct config_limits {              /* "mirror": {...} at the top level */
    int64_t partition_window_bytes; /* default 4 MiB: unacknowledged bytes of one partition  */
    int64_t link_window_bytes;      /* default 128 MiB: buffers held by one link             */
    int64_t fetch_bytes;            /* default 4 MiB: one Fetch answer                       */
    int64_t partition_fetch_bytes;  /* default 1 MiB                                          */
    int64_t map_memory_bytes;       /* default 64 MiB: runs kept while Redis is away          */
    int64_t resume_read_bytes;      /* default 1 GiB: bound of step 4 of the resume procedure */
    int64_t rebuild_bytes;          /* default 8 MiB a second and link; 0 = no rebuilding     */
    int32_t produce_timeout_ms;     /* default 2000 */
    int32_t checkpoint_interval_ms; /* default 250: how often a moved checkpoint goes to Redis */
    int32_t session_timeout_ms;     /* default 10000 */
    int32_t tcp_user_timeout_ms;    /* default 3000 */
    int32_t connections_per_broker; /* default 2, 1..8: to each target broker                 */
    int32_t drain_timeout_ms;       /* default 10000: SIGTERM, how long the window may take   */
};

struct config {
    const char *file;
    const char *deployment;
    struct config_site *sites;
    size_t sites_count;
    struct config_service *services;
    size_t services_count;
    struct config_zone *zones;
    size_t zones_count;
    struct config_limits limits;
    enum log_level log_level; /* default info */
    const char *http_listen;  /* "127.0.0.1:9464", or "off" */
    const char *worker;       /* this worker's name, default host name */
    const char
        *state_dir; /* flock and local journal copies, default /var/lib/ferry or $STATE_DIRECTORY */
    int32_t refs_count; /* private to config.c */
};

/* Load and check `file`. NULL with ERR_CONFIG; `what` is "FILE:LINE:COLUMN: PATH: reason", every error of the file
 * is found by calling again after mending one: the first one is told. Secret files that others may write are refused.
 * @thread any */
struct config *config_load(const char *file, struct err *err);
/* As config_load() from memory; `name` stands for the file in errors. */
struct config *config_parse(const char *text, size_t len, const char *name, struct err *err);
/* What the command line said beats the file; NULL = it said nothing. Before anybody else has the configuration. */
void config_override(struct config *config, const char *worker, const char *http_listen);
/* One more owner, who gives it back with config_free(): a link and its keeper's thread let go of a configuration that was
 * replaced at times of their own. @thread any */
const struct config *config_ref(const struct config *config);
/* Let go; the last owner frees it. NULL is fine. @thread any */
void config_free(const struct config *config);

/* What differs between two configurations in effect, key by key; secrets by reference. */
struct config_change {
    const char *path;   /* "services.orders.topics.include" */
    const char *before; /* JSON; "" = was not there */
    const char *after;  /* JSON; "" = is not there any more */
    bool restart;       /* only a restart takes it over */
};
void config_diff(const struct config *before, const struct config *after,
                 void (*each)(void *arg, const struct config_change *change), void *arg);

const struct config_site *config_site(const struct config *config, const char *name); /* or NULL */
const struct config_service *config_service(const struct config *config,
                                            const char *name); /* or NULL */
const char *config_client_get(const struct config_client *client,
                              const char *property); /* or NULL */
/* What would let somebody on the line read or change what is said, by the site's own settings: index 0.. until NULL. */
const char *config_client_weakness(const struct config_client *client, size_t index);

/* Does a topic or group of this name belong? Reserved names (ferry.*, ferry-*, __*) never do. */
bool config_patterns_match(const struct config_patterns *patterns, const char *name);
bool config_name_reserved(const char *name);
/* Does acl_sync.exclude match this principal ("User:alice")? */
bool config_principal_excluded(const struct config_service *service, const char *principal);
/* Another service that has a site in common with this one and whose patterns match the topic too, or NULL. What is
 * certain from the patterns alone was refused by config_load(). */
const char *config_service_rival(const struct config_service *service, const char *topic);

/* How a setting of a topic gets to another cluster: docs/topics.md has the reasons. */
enum config_setting_rule {
    SETTING_FOLLOWS,   /* what is set on the source's topic is set on the target's */
    SETTING_SAFE_SIDE, /* durability: only towards more of it, unless `always` names it */
    SETTING_ASKED,     /* only where `always` names it: needs what another cluster may lack */
    SETTING_FORCED,    /* the copy needs a value of its own (mirror/topic_plan) */
    SETTING_NEVER,     /* speaks of brokers, or of formats that only some of them know */
};
enum config_setting_rule config_setting_rule(const char *name);
/* Does the service's topic_config.always, or .exclude, match this setting's name? */
bool config_setting_always(const struct config_service *service, const char *name);
bool config_setting_excluded(const struct config_service *service, const char *name);

/* Read a secret now: heap text without the trailing newline, free with config_secret_free() which wipes it.
 * Refused: missing, empty, larger than 64 KiB, a file that group or others may write. */
char *config_secret_read(const struct config_secret *secret, struct err *err);
void config_secret_free(char *text);
/* What a property of a client is set to, wherever it stands: a copy of its text, or its secret as it is now. *out is NULL
 * when it is not set; free it with config_secret_free(). */
MUST_CHECK
bool config_client_read(const struct config_client *client, const char *property, char **out,
                        struct err *err);

/* 64-bit hash of what determines the streams of a service (filters, isolation, path, names, sites' order is not in
 * it): workers whose hash differs from the control topic's `streams` do not write. Stable over versions.
 * @param path  that it is carried by, never PATH_AUTO: the service's own, or mirror/streams.h */
uint64_t config_streams_hash(const struct config_service *service, enum config_path path);
/* Of the filter alone; 0 = there is none. */
uint64_t config_filter_hash(const struct config_service *service);

/* The whole effective configuration with defaults, as JSON text without secrets; heap. For `ferry config show`. */
char *config_show(const struct config *config);

/* Markdown table of every key for docs/configuration.md, printed from the one table of keys; heap. */
char *config_reference(void);

#endif
