#include "cli/hints.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/heap.h"
#include "base/json.h"
#include "failover/cut.h"
#include "failover/hints_topic.h"

/* --- one group ---------------------------------------------------------------------------------------------------- */

static void group_free(struct hints_group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        hint_done(&group->places[i].hint);
    }
    free(group->places);
    free(group->name);
    *group = (struct hints_group){0};
}

static bool parse_place(const json_t *value, struct hints_place *out, struct err *err)
{
    const char *topic;
    const char *verdict;
    int64_t partition;
    if (!json_get_string(value, "topic", &topic, err) ||
        !json_get_int(value, "partition", &partition, err) ||
        !json_get_string(value, "verdict", &verdict, err)) {
        return false;
    }
    if (!context_topic_ok(topic) || partition < 0 || partition > INT32_MAX) {
        return err_set(err, ERR_REFUSED, "a hint of a strange place");
    }
    snprintf(out->topic, sizeof(out->topic), "%s", topic);
    out->partition = (int32_t)partition;
    snprintf(out->verdict, sizeof(out->verdict), "%.31s", verdict);
    return hint_json_parse(value, &out->hint, err);
}

static bool parse_head(const json_t *value, struct hints_group *out, struct err *err)
{
    const char *name;
    const char *operation;
    const char *cluster;
    int64_t version;
    if (!json_get_int(value, "version", &version, err) ||
        !json_get_string(value, "group", &name, err) ||
        !json_get_string(value, "operation", &operation, err) ||
        !json_get_string(value, "cluster", &cluster, err) ||
        !json_get_int(value, "cut_ms", &out->origin.cut_ms, err)) {
        return false;
    }
    if (version != 1 || !hint_word_ok(operation, HINT_OPERATION_BYTES) ||
        !hint_word_ok(cluster, HINT_CLUSTER_BYTES)) {
        return err_set(err, ERR_REFUSED, "hints of another version, or of a strange form");
    }
    snprintf(out->origin.operation, sizeof(out->origin.operation), "%s", operation);
    snprintf(out->origin.cluster, sizeof(out->origin.cluster), "%s", cluster);
    out->name = must(strdup(name));
    return true;
}

bool hints_group_parse(const json_t *value, struct hints_group *out, struct err *err)
{
    struct hints_group group = {0};
    const json_t *places = json_object_get(value, "places");
    size_t count = json_array_size(places);
    bool ok = parse_head(value, &group, err);
    group.places = must(calloc(count + 1, sizeof(*group.places)));
    for (size_t i = 0; ok && i < count; i++) {
        ok = parse_place(json_array_get(places, i), &group.places[i], err);
        group.count += ok ? 1 : 0;
    }
    if (!ok) {
        group_free(&group);
        if (err != NULL) {
            err->kind = ERR_REFUSED;
        }
        return false;
    }
    *out = group;
    return true;
}

static void take_group(struct hints *hints, const json_t *value)
{
    struct hints_group group;
    if (!hints_group_parse(value, &group, NULL)) {
        hints->strange++;
        return;
    }
    hints->groups = must(reallocarray(hints->groups, hints->count + 1, sizeof(*hints->groups)));
    hints->groups[hints->count++] = group;
}

/* --- where from --------------------------------------------------------------------------------------------------- */

/* Nothing there, or Redis away: the topic is asked. */
static void from_redis(struct context *context, const char *group, struct hints *out)
{
    char *suffix = NULL;
    if (group == NULL || !context_redis(context, NULL)) {
        return;
    }
    if (asprintf(&suffix, "hints:%s", group) < 0) {
        abort();
    }
    char *key = context_key(context, suffix);
    const char *argv[] = {"GET", key};
    struct err err = {0};
    redisReply *reply = redis_sync_call(context->redis, 2, argv, NULL, &err);
    if (reply == NULL) {
        context_redis_failed(context, &err);
    }
    json_t *value = reply != NULL && reply->type == REDIS_REPLY_STRING
                        ? json_parse(reply->str, reply->len, key, NULL)
                        : NULL;
    if (value != NULL) {
        out->from = "redis";
        take_group(out, value);
    }
    json_decref(value);
    freeReplyObject(reply);
    free(key);
    free(suffix);
}

static bool from_topic(struct context *context, const char *group, struct hints *out,
                       struct err *err)
{
    struct err why = {0};
    json_t *all =
        hints_topic_read(&context->to->kafka, context->service->name, context->timeout_ms, &why);
    if (all == NULL && !(why.kind == ERR_REFUSED && why.code == 3)) {
        *err = why;
        return false;
    }
    const char *name;
    json_t *value;
    json_object_foreach (all, name, value) {
        if (group == NULL || strcmp(group, name) == 0) {
            out->from = "topic";
            take_group(out, value);
        }
    }
    json_decref(all);
    return true;
}

static bool from_now(struct context *context, const char *group, struct hints *out, struct err *err)
{
    struct cut cut;
    struct admin *target = context_target(context, err);
    if (target == NULL) {
        return false;
    }
    bool redis = context_redis(context, &context->redis_err);
    struct groups_door *door = groups_door_new(target);
    const struct cut_options options = {.target = target,
                                        .groups = door,
                                        .redis = redis ? context->redis : NULL,
                                        .redis_err = &context->redis_err,
                                        .config = context->config,
                                        .service = context->service,
                                        .from = context->from,
                                        .to = context->to,
                                        .operation = "none",
                                        .now_ms = clock_wall_ms(clock_system())};
    struct groups_list list = {0};
    bool ok = cut_read(&options, &cut, err);
    if (ok) {
        cut_list(&cut, &list);
        ok = groups_states(door, &list, NULL, err) && groups_fetch(door, &list, err);
        if (ok) {
            cut_decide(&cut, &list);
        }
        for (size_t i = 0; ok && i < cut.groups_count; i++) {
            if (group == NULL || strcmp(group, cut.groups[i].name) == 0) {
                char *text = cut_hints(&cut, &cut.groups[i], &options);
                json_t *value = json_parse(text, strlen(text), "hints", NULL);
                take_group(out, value);
                json_decref(value);
                free(text);
            }
        }
        groups_list_done(&list);
        cut_done(&cut);
    }
    out->from = "now";
    groups_door_free(door);
    return ok;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct hints_group *)a)->name, ((const struct hints_group *)b)->name);
}

bool hints_read(struct context *context, const char *group, bool now, struct hints *out,
                struct err *err)
{
    bool ok = true;
    *out = (struct hints){.from = "topic"};
    if (now) {
        ok = from_now(context, group, out, err);
    } else {
        from_redis(context, group, out);
        ok = out->count > 0 || from_topic(context, group, out, err);
    }
    if (ok && out->count == 0) {
        ok = err_set(err, ERR_REFUSED, "no hints of %s%.200s %s",
                     group == NULL ? "any group" : "group ", group == NULL ? "" : group,
                     now ? "could be made now" : "are published on the link's target");
        err_hint(err, now ? "ferry offsets show %.80s" : "ferry hints %.80s --now",
                 context->service->name);
    }
    if (out->count > 1) {
        qsort(out->groups, out->count, sizeof(*out->groups), by_name);
    }
    return ok;
}

void hints_free(struct hints *hints)
{
    for (size_t i = 0; i < hints->count; i++) {
        group_free(&hints->groups[i]);
    }
    free(hints->groups);
    *hints = (struct hints){0};
}
