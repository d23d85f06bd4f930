/* From a checked tree to a struct config: what the parts share (build.c), and what each does for config.c; and back to a tree for
 * show.c and diff.c. Nobody else. */
#ifndef FERRY_CONFIG_BUILD_H
#define FERRY_CONFIG_BUILD_H

#include <jansson.h>

#include "config/config.h"
#include "config/parse.h"

#define BUILD_PATH_BYTES 1024 /* as errors have it; longer ones are cut */
/* Sites, services, workers and deployments are part of group ids, topic names and keys of Redis. Longest topic name:
 * "ferry.control." + 64 of 249. */
#define BUILD_NAME_MAX 64

struct build {
    struct config *config;
    const struct parse_text *file;
    struct err *err;
};

/* Heap that is there: a configuration is 1 MiB at most. */
void *build_heap(void *memory);
const char *build_copy(const char *text); /* NULL stays NULL */
void build_drop(const char *text);        /* what build_copy() made */
/* A copy of a string member; NULL when it is missing or empty. */
const char *build_string(const json_t *object, const char *key);
/* Error at `path` unless it is a name; `path` is a format. */
MUST_CHECK
bool build_name_ok(const struct build *build, const char *name, const char *path);

/* Fill; what was made is freed by the _done functions also after an error. */
MUST_CHECK
bool build_site(const struct build *build, struct config_site *site, const char *name,
                const json_t *tree);
void build_site_done(struct config_site *site);
MUST_CHECK
bool build_service(const struct build *build, struct config_service *service, const char *name,
                   const json_t *tree);
void build_service_done(struct config_service *service);
/* max_loss and hooks. @param path  of the service */
MUST_CHECK
bool build_moves(const struct build *build, struct config_service *service, const char *path,
                 const json_t *tree);
void build_moves_done(struct config_service *service);
/* No topic may belong to two services that have a site in common. */
MUST_CHECK
bool build_services_apart(const struct build *build);

/* One array of patterns. @param topics  whether they match topics */
MUST_CHECK
bool build_pattern_list(const struct build *build, struct config_pattern **out, size_t *out_count,
                        const char *path, const json_t *array, bool topics);
/* Does any of them match? Reserved names too. */
bool build_pattern_any(const struct config_pattern *patterns, size_t count, const char *name);
/* @param path  of the object that has include and exclude; @param topics  whether they match topics */
MUST_CHECK
bool build_patterns(const struct build *build, struct config_patterns *patterns, const char *path,
                    const json_t *tree, bool topics);
/* "always" and "exclude" of a service's topic_config. A name in `always` that can never follow is refused. */
MUST_CHECK
bool build_topic_config(const struct build *build, struct config_patterns *patterns,
                        const char *path, const json_t *tree);
void build_patterns_done(struct config_patterns *patterns);

/* Fill; freed by build_zone_done() also after an error. */
MUST_CHECK
bool build_zone(const struct build *build, struct config_zone *zone, const char *name,
                const json_t *tree);
void build_zone_done(struct config_zone *zone);
/* Error at `path` unless it can be a name of DNS: labels of 1 to 63 letters, digits, dashes and underscores. */
MUST_CHECK
bool build_dns_name_ok(const struct build *build, const char *name, const char *path);
/* The same name of DNS: case and a final dot do not count. */
bool build_dns_name_same(const char *a, const char *b);

/* services.*.filter; *out stays NULL without one. */
MUST_CHECK
bool build_filter(const struct build *build, struct config_filter **out, const char *path,
                  const json_t *tree);
void build_filter_done(struct config_filter *filter);

/* {"file": ...} or {"env": ...}; refused when others may write the file. */
MUST_CHECK
bool build_secret(const struct build *build, struct config_secret *secret, const char *path,
                  const char *name, const json_t *value);
void build_secret_done(struct config_secret *secret);

/* The effective configuration, defaults included, secrets by reference; new reference. Its members are named as the
 * keys are. */
json_t *build_tree(const struct config *config);

/* Whole small file as heap text with a 0 behind it; NULL with ERR_CONFIG.
 * @param others_may_write  false: refused when group or others may write it */
char *build_read_file(const char *file, size_t most, bool others_may_write, size_t *out_len,
                      struct err *err);

#endif
