/* Services: what is protected together, and between which sites. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/build.h"

static bool choice_is(const json_t *tree, const char *key, const char *value)
{
    const char *text = json_string_value(json_object_get(tree, key));

    return text != NULL && strcasecmp(text, value) == 0;
}

static enum config_policy policy_of(const json_t *tree, const char *key)
{
    return choice_is(tree, key, "fault") ? POLICY_FAULT : POLICY_CONTINUE;
}

/* --- how records are written -------------------------------------------------------------------------------------- */

static const char *const compressions[] = {
    [COMPRESSION_SOURCE] = "source", [COMPRESSION_NONE] = "none", [COMPRESSION_GZIP] = "gzip",
    [COMPRESSION_SNAPPY] = "snappy", [COMPRESSION_LZ4] = "lz4",   [COMPRESSION_ZSTD] = "zstd",
};

const char *config_path_name(enum config_path path)
{
    static const char *const names[] = {
        [PATH_BATCHES] = "batches", [PATH_RECORDS] = "records", [PATH_AUTO] = "auto"};
    return names[path];
}

const char *config_compression_name(enum config_compression compression)
{
    return compressions[compression];
}

static enum config_compression compression_of(const json_t *tree)
{
    for (size_t i = 0; i < sizeof(compressions) / sizeof(compressions[0]); i++) {
        if (choice_is(tree, "compression", compressions[i])) {
            return (enum config_compression)i;
        }
    }
    return COMPRESSION_SOURCE;
}

static bool site_known(const struct build *build, const char *path, const char *name)
{
    return config_site(build->config, name) != NULL ||
           parse_error(build->file, build->err, path, "there is no site \"%s\"", name);
}

/* --- sites of a service ------------------------------------------------------------------------------------------- */

static bool has_other(const struct config_service *service, const char *name)
{
    for (size_t i = 0; i < service->others_count; i++) {
        if (strcmp(service->others[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_site(const struct config_service *service, const char *name)
{
    return strcmp(service->home, name) == 0 || has_other(service, name);
}

static bool add_other(const struct build *build, struct config_service *service, const char *path,
                      const char *name)
{
    if (!site_known(build, path, name)) {
        return false;
    }
    if (strcmp(name, service->home) == 0) {
        return parse_error(build->file, build->err, path, "\"%s\" is the home site", name);
    }
    if (has_other(service, name)) {
        return parse_error(build->file, build->err, path, "\"%s\" stands here twice", name);
    }
    service->others[service->others_count++] = build_copy(name);
    return true;
}

static bool build_sites(const struct build *build, struct config_service *service, const char *path,
                        const json_t *tree)
{
    char item[BUILD_PATH_BYTES];
    const json_t *others = json_object_get(tree, "others");
    size_t count = json_array_size(others);

    service->home = build_copy(json_string_value(json_object_get(tree, "home")));
    snprintf(item, sizeof(item), "%.500s.home", path);
    if (!site_known(build, item, service->home)) {
        return false;
    }
    service->others = build_heap(calloc(count + 1, sizeof(*service->others)));
    for (size_t i = 0; i < count; i++) {
        snprintf(item, sizeof(item), "%.500s.others.%zu", path, i);
        if (!add_other(build, service, item, json_string_value(json_array_get(others, i)))) {
            return false;
        }
    }
    snprintf(item, sizeof(item), "%.500s.others", path);
    return count > 0 ||
           parse_error(build->file, build->err, item, "names no site: nothing would be mirrored");
}

/* --- names that clients know -------------------------------------------------------------------------------------- */

#define HOSTED_ZONE_MAX 32

/* Where the target of an alias lies, for each site that the record has a value at; and for no other. */
static bool build_alias(const struct build *build, struct config_cname *cname, const char *path,
                        const json_t *alias)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    char item[BUILD_PATH_BYTES];
    if (alias == NULL) {
        return true;
    }
    snprintf(item, sizeof(item), "%.500s.alias", path);
    cname->hosted_zones = build_heap(calloc(cname->at_count + 1, sizeof(*cname->hosted_zones)));
    for (size_t i = 0; i < cname->at_count; i++) {
        const char *site = cname->at[i].name;
        const char *id = json_string_value(json_object_get(alias, site));
        if (id == NULL || id[0] == '\0' || strlen(id) > HOSTED_ZONE_MAX ||
            strspn(id, letters) != strlen(id)) {
            return parse_error(build->file, build->err, item,
                               "a hosted zone id is needed for site \"%s\": letters and digits",
                               site);
        }
        cname->hosted_zones[i] = build_copy(id);
    }
    return json_object_size(alias) == cname->at_count ||
           parse_error(build->file, build->err, item, "names sites that \"at\" does not have");
}

static bool build_cname(const struct build *build, const struct config_service *service,
                        struct config_cname *cname, const char *path, const json_t *tree)
{
    char item[BUILD_PATH_BYTES];
    const char *site;
    json_t *value;
    json_t *at = json_object_get(tree, "at");

    cname->ttl_s =
        (int32_t)(parse_number("services.*.cname.[].ttl", json_object_get(tree, "ttl")) / 1000);
    cname->record = build_copy(json_string_value(json_object_get(tree, "record")));
    cname->evaluate_health = json_is_true(json_object_get(tree, "evaluate_target_health"));
    cname->at = build_heap(calloc(json_object_size(at) + 1, sizeof(*cname->at)));
    json_object_foreach (at, site, value) {
        cname->at[cname->at_count++] = (struct config_property){
            .name = build_copy(site), .value = build_copy(json_string_value(value))};
        snprintf(item, sizeof(item), "%.500s.at.%.400s", path, site);
        if (!site_known(build, item, site)) {
            return false;
        }
        if (!has_site(service, site)) {
            return parse_error(build->file, build->err, item, "\"%s\" is no site of this service",
                               site);
        }
        if (!build_dns_name_ok(build, json_string_value(value), item)) {
            return false;
        }
    }
    snprintf(item, sizeof(item), "%.500s.record", path);
    return build_dns_name_ok(build, cname->record, item) &&
           build_alias(build, cname, path, json_object_get(tree, "alias"));
}

static bool build_cnames(const struct build *build, struct config_service *service,
                         const char *path, const json_t *records)
{
    char item[BUILD_PATH_BYTES];
    size_t count = json_array_size(records);

    service->cnames = build_heap(calloc(count + 1, sizeof(*service->cnames)));
    while (service->cnames_count < count) {
        size_t i = service->cnames_count++;
        snprintf(item, sizeof(item), "%.500s.cname.%zu", path, i);
        if (!build_cname(build, service, &service->cnames[i], item, json_array_get(records, i))) {
            return false;
        }
    }
    return true;
}

/* --- a service ---------------------------------------------------------------------------------------------------- */

bool build_service(const struct build *build, struct config_service *service, const char *name,
                   const json_t *tree)
{
    char path[BUILD_PATH_BYTES];
    char topics[BUILD_PATH_BYTES];
    char groups[BUILD_PATH_BYTES];
    char settings[BUILD_PATH_BYTES];
    const json_t *topic_config = json_object_get(tree, "topic_config");
    const json_t *acl_sync = json_object_get(tree, "acl_sync");
    char acls[BUILD_PATH_BYTES];
    char filter[BUILD_PATH_BYTES];

    snprintf(path, sizeof(path), "services.%.400s", name);
    snprintf(topics, sizeof(topics), "%.500s.topics", path);
    snprintf(groups, sizeof(groups), "%.500s.groups", path);
    snprintf(settings, sizeof(settings), "%.500s.topic_config", path);
    snprintf(acls, sizeof(acls), "%.500s.acl_sync.exclude", path);
    snprintf(filter, sizeof(filter), "%.500s.filter", path);
    service->config = build->config;
    service->name = build_copy(name);
    service->path = choice_is(tree, "path", "records") ? PATH_RECORDS
                    : choice_is(tree, "path", "auto")  ? PATH_AUTO
                                                       : PATH_BATCHES;
    service->names = build_copy("identity");
    service->start = choice_is(tree, "start", "latest") ? START_LATEST : START_EARLIEST;
    service->revision = parse_number("services.*.revision", json_object_get(tree, "revision"));
    service->rto_s = (int32_t)(parse_number("services.*.rto", json_object_get(tree, "rto")) / 1000);
    service->on_truncation = policy_of(tree, "on_truncation");
    service->on_foreign_write = policy_of(tree, "on_foreign_write");
    service->groups_commit =
        !json_is_false(json_object_get(json_object_get(tree, "groups"), "commit"));
    service->topic_config_sync = !json_is_false(json_object_get(topic_config, "sync"));
    service->acl_topics = json_is_true(json_object_get(acl_sync, "topics"));
    service->acl_groups = json_is_true(json_object_get(acl_sync, "groups"));
    const json_t *limits = json_object_get(tree, "limits");
    service->limit_initial_bytes =
        parse_number("services.*.limits.initial", json_object_get(limits, "initial"));
    service->limit_steady_bytes =
        parse_number("services.*.limits.steady", json_object_get(limits, "steady"));
    service->compression = compression_of(tree);
    service->merge = !json_is_false(json_object_get(tree, "merge"));
    return build_name_ok(build, name, path) && build_sites(build, service, path, tree) &&
           build_patterns(build, &service->topics, topics, json_object_get(tree, "topics"), true) &&
           build_patterns(build, &service->groups, groups, json_object_get(tree, "groups"),
                          false) &&
           build_topic_config(build, &service->topic_config, settings, topic_config) &&
           build_pattern_list(build, &service->acl_principals.exclude,
                              &service->acl_principals.exclude_count, acls,
                              json_object_get(acl_sync, "exclude"), false) &&
           build_filter(build, &service->filter, filter, json_object_get(tree, "filter")) &&
           build_cnames(build, service, path, json_object_get(tree, "cname")) &&
           build_moves(build, service, path, tree);
}

static void cname_done(struct config_cname *cname)
{
    build_drop(cname->record);
    for (size_t i = 0; i < cname->at_count; i++) {
        build_drop(cname->at[i].name);
        build_drop(cname->at[i].value);
        build_drop(cname->hosted_zones == NULL ? NULL : cname->hosted_zones[i]);
    }
    free(cname->hosted_zones);
    free(cname->at);
}

void build_service_done(struct config_service *service)
{
    build_drop(service->name);
    build_drop(service->home);
    build_drop(service->names);
    for (size_t i = 0; i < service->others_count; i++) {
        build_drop(service->others[i]);
    }
    free(service->others);
    build_patterns_done(&service->topics);
    build_patterns_done(&service->groups);
    build_patterns_done(&service->topic_config);
    build_patterns_done(&service->acl_principals);
    build_filter_done(service->filter);
    for (size_t i = 0; i < service->cnames_count; i++) {
        cname_done(&service->cnames[i]);
    }
    free(service->cnames);
    build_moves_done(service);
}

bool config_principal_excluded(const struct config_service *service, const char *principal)
{
    return build_pattern_any(service->acl_principals.exclude, service->acl_principals.exclude_count,
                             principal);
}

/* --- services beside each other ----------------------------------------------------------------------------------- */

static bool share_a_site(const struct config_service *a, const struct config_service *b)
{
    bool shared = has_site(b, a->home);

    for (size_t i = 0; i < a->others_count; i++) {
        shared = shared || has_site(b, a->others[i]);
    }
    return shared;
}

/* The same pattern twice, and nothing that takes topics out of either. */
static bool same_pattern(const struct config_service *a, const struct config_pattern *pattern,
                         const struct config_service *b)
{
    for (size_t i = 0; i < b->topics.include_count; i++) {
        const struct config_pattern *other = &b->topics.include[i];
        if (other->kind == pattern->kind && strcmp(other->text, pattern->text) == 0) {
            return a->topics.exclude_count == 0 && b->topics.exclude_count == 0;
        }
    }
    return false;
}

static bool clash(const struct config_service *a, const struct config_pattern *pattern,
                  const struct config_service *b)
{
    bool literal = pattern->kind == PATTERN_GLOB && strpbrk(pattern->text, "*?") == NULL;

    return literal ? config_patterns_match(&a->topics, pattern->text) &&
                         config_patterns_match(&b->topics, pattern->text)
                   : same_pattern(a, pattern, b);
}

static bool pair_apart(const struct build *build, const struct config_service *a,
                       const struct config_service *b)
{
    char path[BUILD_PATH_BYTES];

    for (size_t i = 0; i < a->topics.include_count; i++) {
        const struct config_pattern *pattern = &a->topics.include[i];
        if (clash(a, pattern, b)) {
            snprintf(path, sizeof(path), "services.%s.topics.include.%zu", a->name, i);
            return parse_error(build->file, build->err, path,
                               "\"%s\" belongs to service \"%s\" too, which has a site in common",
                               pattern->text, b->name);
        }
    }
    return true;
}

/* One record has one service that moves it. */
static bool record_apart(const struct build *build, const struct config_service *a, size_t index,
                         const struct config_service *b)
{
    char path[BUILD_PATH_BYTES];

    for (size_t i = 0; i < b->cnames_count; i++) {
        if ((a != b || i > index) &&
            build_dns_name_same(a->cnames[index].record, b->cnames[i].record)) {
            snprintf(path, sizeof(path), "services.%s.cname.%zu.record", b->name, i);
            return parse_error(build->file, build->err, path,
                               "\"%.253s\" stands in service \"%s\" already", b->cnames[i].record,
                               a->name);
        }
    }
    return true;
}

static bool records_apart(const struct build *build, const struct config_service *a,
                          const struct config_service *b)
{
    for (size_t i = 0; i < a->cnames_count; i++) {
        if (!record_apart(build, a, i, b)) {
            return false;
        }
    }
    return true;
}

/* Only what is certain without asking a broker: a named topic that the other service takes too, or the same pattern.
 * What two different patterns both match is seen when the topics are. */
bool build_services_apart(const struct build *build)
{
    const struct config *config = build->config;

    for (size_t a = 0; a < config->services_count; a++) {
        for (size_t b = 0; b < config->services_count; b++) {
            if (a != b && share_a_site(&config->services[a], &config->services[b]) &&
                !pair_apart(build, &config->services[a], &config->services[b])) {
                return false;
            }
            if (a <= b && !records_apart(build, &config->services[a], &config->services[b])) {
                return false;
            }
        }
    }
    return true;
}

const char *config_service_rival(const struct config_service *service, const char *topic)
{
    const struct config *config = service->config;

    for (size_t i = 0; i < config->services_count; i++) {
        const struct config_service *other = &config->services[i];
        if (other != service && share_a_site(service, other) &&
            config_patterns_match(&other->topics, topic)) {
            return other->name;
        }
    }
    return NULL;
}
