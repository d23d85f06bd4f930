#include "cli/context.h"

#include <hiredis/hiredis.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

#define TIMEOUT_S 30

static const char *config_file(const struct command_line *line)
{
    const char *file = command_get(line, "config");
    const char *environment = getenv("FERRY_CONFIG");
    if (file != NULL) {
        return file;
    }
    return environment != NULL && environment[0] != '\0' ? environment : "/etc/ferry/ferry.json";
}

bool context_config(struct context *context, const struct command_line *line, struct err *err)
{
    int64_t seconds = TIMEOUT_S;
    const char *timeout = command_get(line, "timeout");
    const char *output = command_get(line, "o");
    *context = (struct context){.line = line};
    if (timeout != NULL && !command_number(timeout, "--timeout", 1, 86400, &seconds, err)) {
        return false;
    }
    context->timeout_ms = (int32_t)(seconds * 1000);
    context->json = output != NULL && strcmp(output, "json") == 0;
    context->quiet = command_has(line, "q");
    context->config = config_load(config_file(line), err);
    return context->config != NULL;
}

static bool resolve_link(struct context *context, struct err *err)
{
    const struct config_service *service = context->service;
    const char *to = command_get(context->line, "to");
    const char *name = to != NULL ? to : service->others[0];
    for (size_t i = 0; i < service->others_count; i++) {
        if (strcmp(service->others[i], name) == 0) {
            context->from = config_site(context->config, service->home);
            context->to = config_site(context->config, name);
            return true;
        }
    }
    return err_set(err, ERR_USAGE, "service %s is not mirrored to a site \"%s\"", service->name,
                   name);
}

bool context_open(struct context *context, const struct command_line *line, struct err *err)
{
    if (!context_config(context, line, err)) {
        return false;
    }
    const char *name = line->args_count > 0 ? line->args[0] : NULL;
    if (name == NULL && context->config->services_count == 1) {
        name = context->config->services[0]
                   .name; /* reading commands may leave out the only one there is */
    }
    context->service = name == NULL ? NULL : config_service(context->config, name);
    if (context->service == NULL) {
        err_set(err, ERR_USAGE,
                name == NULL ? "name the service" : "there is no service \"%s\" in %s",
                name == NULL ? "" : name, context->config->file);
        return err_hint(err, "ferry config show");
    }
    return resolve_link(context, err);
}

void context_close(struct context *context)
{
    offset_view_free(context->view);
    redis_sync_free(context->redis);
    admin_free(context->source);
    admin_free(context->target);
    config_free(context->config);
}

bool context_source(struct context *context, struct err *err)
{
    if (context->source == NULL) {
        context->source =
            admin_new(context->from->name, &context->from->kafka, context->timeout_ms, err);
    }
    return context->source != NULL;
}

bool context_target(struct context *context, struct err *err)
{
    if (context->target == NULL) {
        context->target =
            admin_new(context->to->name, &context->to->kafka, context->timeout_ms, err);
    }
    return context->target != NULL;
}

bool context_redis(struct context *context, struct err *err)
{
    const struct config_redis *redis = context->to->redis;
    char *password = NULL;
    if (context->redis != NULL) {
        return true;
    }
    if (redis == NULL) {
        err_set(err, ERR_REFUSED, "site %s has no Redis, so there is no map to ask",
                context->to->name);
        return err_hint(err, "add sites.%s.redis to the configuration", context->to->name);
    }
    if (redis->password != NULL) {
        password = config_secret_read(redis->password, err);
        if (password == NULL) {
            return false;
        }
    }
    const struct redis_options options = {.url = redis->url,
                                          .username = redis->username,
                                          .password = password,
                                          .ca_file = redis->ca_file,
                                          .timeout_ms = redis->timeout_ms};
    context->redis = redis_sync_new(&options, err);
    config_secret_free(password);
    return context->redis != NULL;
}

bool context_view(struct context *context, struct err *err)
{
    if (context->view == NULL && context_redis(context, err)) {
        context->view =
            offset_view_new(context->redis, context->to->redis->prefix, context->service->name,
                            context->from->name, context->to->name);
    }
    return context->view != NULL;
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

static char *key_text(const struct context *context, const char *link, const char *suffix)
{
    const char *prefix = context->to->redis == NULL ? "" : context->to->redis->prefix;
    char *text = NULL;
    if (asprintf(&text, "%s{%s}:%s%s", prefix, context->service->name, link, suffix) < 0) {
        abort();
    }
    return text;
}

char *context_key(const struct context *context, const char *suffix)
{
    return key_text(context, "", suffix);
}

char *context_link_key(const struct context *context, const char *suffix)
{
    char link[300];
    snprintf(link, sizeof(link), "%s>%s:", context->from->name, context->to->name);
    return key_text(context, link, suffix);
}

json_t *context_hash(struct context *context, const char *key, struct err *err)
{
    const char *argv[] = {"HGETALL", key};
    if (!context_redis(context, err)) {
        return NULL;
    }
    redisReply *reply = redis_sync_call(context->redis, 2, argv, NULL, err);
    if (reply == NULL) {
        return NULL;
    }
    json_t *hash = json_object();
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        const redisReply *field = reply->element[i];
        const redisReply *value = reply->element[i + 1];
        if (field->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING) {
            json_t *parsed = json_parse(value->str, value->len, field->str, NULL);
            if (parsed != NULL) {
                json_object_set_new(hash, field->str, parsed);
            }
        }
    }
    freeReplyObject(reply);
    return hash;
}

bool context_place(const char *text, char topic[250], int32_t *out_partition, struct err *err)
{
    const char *colon = strrchr(text, ':');
    int64_t partition;
    if (colon == NULL || colon == text || (size_t)(colon - text) >= 250) {
        return err_set(err, ERR_USAGE, "'%s' is not TOPIC:PARTITION", text);
    }
    if (!command_number(colon + 1, "partition", 0, INT32_MAX, &partition, err)) {
        return false;
    }
    snprintf(topic, 250, "%.*s", (int)(colon - text), text);
    *out_partition = (int32_t)partition;
    return true;
}

void context_who(char out[320])
{
    char host[256] = "";
    const struct passwd *user = getpwuid(getuid());
    gethostname(host, sizeof(host) - 1);
    snprintf(out, 320, "%.60s@%s", user == NULL ? "unknown" : user->pw_name, host);
}

/* --- positions ---------------------------------------------------------------------------------------------------- */

struct positions {
    struct context_position *rows;
    size_t count;
};

static void keep_newer(struct positions *positions, const char *topic, int32_t partition,
                       const struct checkpoint *at)
{
    for (size_t i = 0; i < positions->count; i++) {
        struct context_position *row = &positions->rows[i];
        if (row->partition == partition && strcmp(row->topic, topic) == 0) {
            if (checkpoint_newer(at, &row->at)) {
                row->at = *at;
            }
            return;
        }
    }
    positions->rows = realloc(positions->rows, (positions->count + 1) * sizeof(*positions->rows));
    if (positions->rows == NULL) {
        abort();
    }
    struct context_position *row = &positions->rows[positions->count++];
    *row = (struct context_position){.partition = partition, .at = *at, .source_end = -1};
    snprintf(row->topic, sizeof(row->topic), "%s", topic);
}

static bool from_redis(void *arg, const char *topic, int32_t partition,
                       const struct checkpoint *checkpoint)
{
    keep_newer(arg, topic, partition, checkpoint);
    return true;
}

static bool from_group(struct context *context, struct positions *positions, struct err *err)
{
    char group[256];
    struct admin_group_offset *offsets = NULL;
    size_t count = 0;
    snprintf(group, sizeof(group), "ferry-%s-%s-%s", context->service->name, context->from->name,
             context->to->name);
    if (!context_target(context, err) ||
        !admin_group_offsets(context->target, group, &offsets, &count, err)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct checkpoint at;
        const char *text = offsets[i].metadata;
        if (text != NULL && checkpoint_parse(text, strlen(text), &at, NULL)) {
            keep_newer(positions, offsets[i].topic, offsets[i].partition, &at);
        }
    }
    admin_group_offsets_free(offsets, count);
    return true;
}

static int compare_rows(const void *a, const void *b)
{
    const struct context_position *left = a;
    const struct context_position *right = b;
    int order = strcmp(left->topic, right->topic);
    return order != 0 ? order
                      : (left->partition > right->partition) - (left->partition < right->partition);
}

static void ask_source_ends(struct context *context, struct positions *positions)
{
    struct admin_offset *ends = calloc(positions->count + 1, sizeof(*ends));
    if (ends == NULL) {
        abort();
    }
    for (size_t i = 0; i < positions->count; i++) {
        ends[i] = (struct admin_offset){.topic = positions->rows[i].topic,
                                        .partition = positions->rows[i].partition,
                                        .offset = -1};
    }
    struct err err;
    if (context_source(context, &err) &&
        admin_list_offsets(context->source, OFFSET_SPEC_STABLE, ends, positions->count, &err)) {
        for (size_t i = 0; i < positions->count; i++) {
            positions->rows[i].source_end = ends[i].error == 0 ? ends[i].offset : -1;
        }
    }
    free(ends);
}

bool context_positions(struct context *context, struct context_position **out, size_t *out_count,
                       struct err *redis_err, struct err *err)
{
    struct positions positions = {0};
    err_clear(redis_err);
    bool redis = context_view(context, redis_err) &&
                 offset_view_each_checkpoint(context->view, from_redis, &positions, redis_err);
    bool group = from_group(context, &positions, err);
    if (!redis && !group) {
        free(positions.rows);
        return false;
    }
    if (positions.count > 0) {
        qsort(positions.rows, positions.count, sizeof(*positions.rows), compare_rows);
        ask_source_ends(context, &positions);
    }
    *out = positions.rows;
    *out_count = positions.count;
    return true;
}
