#include "cli/context.h"

#include <hiredis.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/text.h"
#include "kafka/gssapi.h"

#define TIMEOUT_S     30
#define TIMEOUT_S_MAX 3600 /* what kafka/admin takes */

/* --- configuration, service, link --------------------------------------------------------------------------------- */

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
    const char *output = command_get(line, "o");
    *context = (struct context){.line = line};
    if (!command_option_number(line, "timeout", 1, TIMEOUT_S_MAX, &seconds, err)) {
        return false;
    }
    context->timeout_ms = (int32_t)(seconds * 1000);
    context->json = output != NULL && strcmp(output, "json") == 0;
    context->quiet = command_has(line, "q");
    context->config = config_load(config_file(line), err);
    return context->config != NULL && gssapi_prepare(context->config, err);
}

/* A site of the service, or NULL. */
static const struct config_site *site_of(const struct context *context, const char *name,
                                         size_t len)
{
    const struct config_service *service = context->service;
    for (size_t i = 0; i <= service->others_count; i++) {
        const char *site = i == 0 ? service->home : service->others[i - 1];
        if (strlen(site) == len && strncmp(site, name, len) == 0) {
            return config_site(context->config, site);
        }
    }
    return NULL;
}

static bool no_link(const struct context *context, const char *text, struct err *err)
{
    err_set(err, ERR_USAGE, "service %s has no link '%.100s'", context->service->name, text);
    return err_hint(err, "its first link is %s:%s; all: ferry config show", context->service->home,
                    context->service->others[0]);
}

/* --to SITE; a command whose --to is something else names links by --link alone. */
static const char *site_wanted(const struct command_line *line)
{
    const struct command_option *option = command_of(line)->options;
    while (option != NULL && option->name != NULL && strcmp(option->name, "to") != 0) {
        option++;
    }
    bool site = option != NULL && option->value != NULL && strcmp(option->value, "SITE") == 0;
    return site ? command_get(line, "to") : NULL;
}

static bool resolve_link(struct context *context, struct err *err)
{
    const char *link = command_get(context->line, "link");
    const char *to = site_wanted(context->line);
    const char *colon = link == NULL ? NULL : strchr(link, ':');
    if (link != NULL && to != NULL) {
        return err_set(err, ERR_USAGE, "--link and --to both name a link: give one");
    }
    if (link != NULL && colon == NULL) {
        return no_link(context, link, err);
    }
    const char *from_name = link == NULL ? context->service->home : link;
    size_t from_len = link == NULL ? strlen(from_name) : (size_t)(colon - link);
    const char *to_name = link != NULL ? colon + 1 : to != NULL ? to : context->service->others[0];
    context->from = site_of(context, from_name, from_len);
    context->to = site_of(context, to_name, strlen(to_name));
    if (context->from == NULL || context->to == NULL || context->from == context->to) {
        return no_link(context, link != NULL ? link : to, err);
    }
    return true;
}

static bool resolve_service(struct context *context, struct err *err)
{
    const struct command_line *line = context->line;
    const struct config *config = context->config;
    const char *name = line->args_count > 0 ? line->args[0] : NULL;
    if (name == NULL && config->services_count == 1) {
        name = config->services[0].name;
    }
    if (name == NULL) {
        return err_set(err, ERR_USAGE, "%s has %zu services: name one", config->file,
                       config->services_count);
    }
    context->service = config_service(config, name);
    if (context->service == NULL) {
        err_set(err, ERR_USAGE, "there is no service '%.100s' in %s", name, config->file);
        return err_hint(err, "ferry config show");
    }
    return true;
}

bool context_service(struct context *context, const struct command_line *line, struct err *err)
{
    return context_config(context, line, err) && resolve_service(context, err);
}

bool context_open(struct context *context, const struct command_line *line, struct err *err)
{
    return context_service(context, line, err) && resolve_link(context, err);
}

/* --- doors -------------------------------------------------------------------------------------------------------- */

static void door_close(struct context_door *door)
{
    admin_free(door->admin);
    *door = (struct context_door){.admin = NULL};
}

static void redis_close(struct context *context)
{
    offset_view_free(context->view);
    redis_sync_free(context->redis);
    context->view = NULL;
    context->redis = NULL;
    err_clear(&context->redis_err);
}

void context_retry(struct context *context)
{
    door_close(&context->source);
    door_close(&context->target);
    redis_close(context);
}

void context_close(struct context *context)
{
    context_retry(context);
    config_free(context->config);
    context->config = NULL;
}

void context_link(struct context *context, const struct config_service *service,
                  const struct config_site *from, const struct config_site *to)
{
    if (context->from != from) {
        door_close(&context->source);
    }
    if (context->to != to) {
        door_close(&context->target);
    }
    if (context->to != to || context->from != from || context->service != service) {
        redis_close(context); /* the view is of one link */
    }
    context->service = service;
    context->from = from;
    context->to = to;
}

static struct admin *door_open(struct context *context, struct context_door *door,
                               const struct config_site *site, struct err *err)
{
    if (door->admin == NULL && door->err.kind == ERR_NONE) {
        door->admin = admin_new(site->name, &site->kafka, context->timeout_ms, &door->err);
    }
    bool closed = door->err.kind != ERR_NONE;
    if (closed && err != NULL) {
        *err = door->err;
    }
    return closed ? NULL : door->admin;
}

struct admin *context_source(struct context *context, struct err *err)
{
    return door_open(context, &context->source, context->from, err);
}

struct admin *context_target(struct context *context, struct err *err)
{
    return door_open(context, &context->target, context->to, err);
}

static bool door_failed(struct context_door *door, const struct err *err)
{
    if (err->kind == ERR_RETRY) {
        door->err = *err;
    }
    return false;
}

bool context_source_failed(struct context *context, const struct err *err)
{
    return door_failed(&context->source, err);
}

bool context_target_failed(struct context *context, const struct err *err)
{
    return door_failed(&context->target, err);
}

static bool redis_open(struct context *context, struct err *err)
{
    const struct config_redis *redis = context->to->redis;
    char *password = NULL;
    if (redis == NULL) {
        err_set(err, ERR_REFUSED, "site %s has no Redis, so there is no map to ask",
                context->to->name);
        return err_hint(err, "add sites.%s.redis to %.150s", context->to->name,
                        context->config->file);
    }
    if (redis->password != NULL) {
        password = config_secret_read(redis->password, err);
        if (password == NULL) {
            return false;
        }
    }
    int32_t timeout_ms =
        redis->timeout_ms < context->timeout_ms ? redis->timeout_ms : context->timeout_ms;
    const struct redis_options options = {.url = redis->url,
                                          .username = redis->username,
                                          .password = password,
                                          .ca_file = redis->ca_file,
                                          .timeout_ms = timeout_ms};
    context->redis = redis_sync_new(&options, err);
    config_secret_free(password);
    return context->redis != NULL;
}

bool context_redis(struct context *context, struct err *err)
{
    if (context->redis == NULL && context->redis_err.kind == ERR_NONE) {
        redis_open(context, &context->redis_err);
    }
    if (context->redis == NULL && err != NULL) {
        *err = context->redis_err;
    }
    return context->redis != NULL;
}

bool context_redis_failed(struct context *context, const struct err *err)
{
    if (err->kind == ERR_RETRY) {
        struct err why = *err;
        redis_close(context);
        context->redis_err = why;
    }
    return false;
}

bool context_redis_takes_beats(struct context *context, struct err *err)
{
    char *key = context_key(context, "status");
    bool takes = context_redis(context, err) && redis_sync_takes_writes(context->redis, key, err);
    free(key);
    if (!takes && err->code == REDIS_SAYS) {
        err_wrap(err, "Redis refuses what workers tell it");
    }
    return takes;
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

void context_positions(struct context *context, struct positions *out)
{
    struct positions_doors doors = {
        .service = context->service, .from = context->from, .to = context->to};
    doors.redis = context_redis(context, &doors.redis_err) ? context->redis : NULL;
    doors.source = context_source(context, &doors.source_err);
    doors.target = context_target(context, &doors.target_err);
    positions_read(out, &doors);
    context_redis_failed(context, &out->redis_err);
    context_target_failed(context, &out->group_err);
    context_source_failed(context, &out->source_err);
}

/* --- who writes --------------------------------------------------------------------------------------------------- */

const struct config_client *context_writer(const struct context *context)
{
    const struct config_site *site = context->to;
    return site->operator_kafka != NULL ? site->operator_kafka : &site->kafka;
}

struct control_writer *context_op_writer(const struct context *context,
                                         const struct config_site *site,
                                         const struct config_client *client, struct err *err)
{
    const char *service = context->service->name;
    struct control_state *state = control_read(&site->kafka, service, context->timeout_ms, err);
    bool open = state != NULL && (state->operation_open || state->fence_operation[0] != '\0');
    bool readable = state != NULL;
    control_state_free(state);
    if (open) {
        err_set(err, ERR_REFUSED, "an operation on service %s is open", service);
        err_hint(err, "ferry history %s; ferry status %s", service, service);
    }
    return readable && !open ? control_writer_new(client, service, "op", err) : NULL;
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

static json_t *parse_hash(const redisReply *reply)
{
    json_t *hash = json_object();
    bool pairs = reply->type == REDIS_REPLY_ARRAY || reply->type == REDIS_REPLY_MAP;
    for (size_t i = 0; pairs && i + 1 < reply->elements; i += 2) {
        const redisReply *field = reply->element[i];
        const redisReply *value = reply->element[i + 1];
        if (field->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING) {
            json_t *parsed = json_parse(value->str, value->len, "value", NULL);
            if (json_is_object(parsed)) {
                json_object_set(hash, field->str, parsed); /* refuses names that are no UTF-8 */
            }
            json_decref(parsed);
        }
    }
    return hash;
}

json_t *context_hash(struct context *context, const char *key, struct err *err)
{
    const char *argv[] = {"HGETALL", key};
    struct err why = {0};
    redisReply *reply =
        context_redis(context, &why) ? redis_sync_call(context->redis, 2, argv, NULL, &why) : NULL;
    if (reply == NULL) {
        err_wrap(&why, "%s", key);
        context_redis_failed(context, &why);
        if (err != NULL) {
            *err = why;
        }
        return NULL;
    }
    json_t *hash = parse_hash(reply);
    freeReplyObject(reply);
    return hash;
}

json_t *context_link_hash(struct context *context, const char *suffix, struct err *err)
{
    char *key = context_link_key(context, suffix);
    json_t *hash = context_hash(context, key, err);
    free(key);
    return hash;
}

json_t *context_service_hash(struct context *context, const char *suffix, struct err *err)
{
    char *key = context_key(context, suffix);
    json_t *hash = context_hash(context, key, err);
    free(key);
    return hash;
}

/* --- words -------------------------------------------------------------------------------------------------------- */

bool context_topic_ok(const char *name)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(name);
    return len > 0 && len < CONTEXT_TOPIC_BYTES && strspn(name, letters) == len;
}

bool context_place(const char *text, char topic[CONTEXT_TOPIC_BYTES], int32_t *out_partition,
                   struct err *err)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon == NULL ? strlen(text) : (size_t)(colon - text);
    int64_t partition = -1;
    snprintf(topic, CONTEXT_TOPIC_BYTES, "%.*s", (int)(len < 300 ? len : 300), text);
    if (len >= CONTEXT_TOPIC_BYTES || !context_topic_ok(topic)) {
        return err_set(err, ERR_USAGE, "'%.300s' is no TOPIC or TOPIC:PARTITION", text);
    }
    if (colon != NULL && !command_number(colon + 1, "partition", 0, INT32_MAX, &partition, err)) {
        return false;
    }
    *out_partition = (int32_t)partition;
    return true;
}

char *context_who(char out[CONTEXT_WHO_BYTES])
{
    char host[256] = "";
    const struct passwd *user = getpwuid(getuid());
    gethostname(host, sizeof(host) - 1);
    snprintf(out, CONTEXT_WHO_BYTES, "%.60s@%s", user == NULL ? "unknown" : user->pw_name, host);
    return out;
}
