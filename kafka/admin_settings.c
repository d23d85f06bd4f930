/* See admin.h: the settings of topics, read and changed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/admin_inside.h"

#include "base/heap.h"

#ifndef __clang__
/* gcc's analyzer forgets what was stored under an index that it cannot compute, and calls it a leak; the tests run with
 * leak checks. */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

void admin_settings_free(struct admin_setting *settings, size_t count)
{
    for (size_t i = 0; settings && i < count; i++) {
        free(settings[i].value);
    }
    free(settings);
}

/* ---- read ---- */

static void take_entries(const rd_kafka_ConfigResource_t *resource,
                         struct admin_topic_config *config)
{
    size_t count = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    config->settings = must(calloc(count + 1, sizeof(*config->settings)));
    config->settings_count = count;
    for (size_t i = 0; i < count; i++) {
        struct admin_setting *setting = &config->settings[i];
        const char *value = rd_kafka_ConfigEntry_value(entries[i]); /* NULL: sensitive */
        snprintf(setting->name, sizeof(setting->name), "%s", rd_kafka_ConfigEntry_name(entries[i]));
        setting->value = must(strdup(value ? value : ""));
        setting->is_default =
            rd_kafka_ConfigEntry_source(entries[i]) != RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG;
    }
}

static void take_resource(struct admin *admin, const rd_kafka_ConfigResource_t *resource,
                          struct admin_topic_config *config)
{
    char what[320];
    char lacks[ACL_LACKS_BYTES];
    rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(resource);
    if (!code) {
        take_entries(resource, config);
        return;
    }
    snprintf(what, sizeof(what), "settings of topic '%s'", config->topic);
    admin_failed(admin, &config->err, code, what,
                 client_why(admin->client, code, rd_kafka_ConfigResource_error_string(resource),
                            ACL_DESCRIBE_CONFIGS, ACL_TOPIC, config->topic, lacks));
}

static struct admin_topic_config *config_of(struct admin_topic_config *configs, size_t count,
                                            size_t guess, const char *topic)
{
    for (size_t tries = 0; tries < count; tries++) {
        struct admin_topic_config *config = &configs[(guess + tries) % count];
        if (strcmp(config->topic, topic) == 0) {
            return config;
        }
    }
    return NULL;
}

static void take_answer(struct admin_call *call, struct admin_topic_config *configs, size_t count)
{
    size_t found_count = 0;
    const rd_kafka_ConfigResource_t **found = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(call->event), &found_count);
    for (size_t i = 0; i < count; i++) {
        err_set(&configs[i].err, ERR_RETRY, "%s: settings of topic '%s': not in the answer",
                call->admin->site, configs[i].topic);
    }
    for (size_t i = 0; i < found_count; i++) {
        struct admin_topic_config *config =
            config_of(configs, count, i, rd_kafka_ConfigResource_name(found[i]));
        if (config && !config->settings) {
            config->err = (struct err){0};
            take_resource(call->admin, found[i], config);
        }
    }
}

static void read_some(struct admin *admin, struct admin_topic_config *configs, size_t count)
{
    struct admin_call call;
    struct err why = {0};
    rd_kafka_ConfigResource_t **wants = must(calloc(count, sizeof(rd_kafka_ConfigResource_t *)));
    for (size_t i = 0; i < count; i++) {
        wants[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, configs[i].topic);
    }
    admin_call_begin(&call, admin, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_DescribeConfigs(client_handle(admin->client), wants, count, call.options, call.queue);
    if (admin_call_wait(&call, "settings of topics", &why)) {
        take_answer(&call, configs, count);
    } else {
        for (size_t i = 0; i < count; i++) {
            configs[i].err = why;
        }
    }
    rd_kafka_ConfigResource_destroy_array(wants, count);
    free(wants);
    admin_call_done(&call);
}

void admin_topics_settings(struct admin *admin, struct admin_topic_config *configs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        configs[i].settings = NULL;
        configs[i].settings_count = 0;
        configs[i].err = (struct err){0};
    }
    for (size_t at = 0; at < count; at += ADMIN_SETTINGS_TOPICS) {
        size_t some = count - at < ADMIN_SETTINGS_TOPICS ? count - at : ADMIN_SETTINGS_TOPICS;
        read_some(admin, configs + at, some);
    }
}

bool admin_topic_settings(struct admin *admin, const char *topic, struct admin_setting **out,
                          size_t *out_count, struct err *err)
{
    struct admin_topic_config config = {.topic = topic};
    admin_topics_settings(admin, &config, 1);
    if (config.err.kind != ERR_NONE) {
        if (err) {
            *err = config.err;
        }
        return false;
    }
    *out = config.settings;
    *out_count = config.settings_count;
    return true;
}

/* ---- change ---- */

static bool put_changes(rd_kafka_ConfigResource_t *resource, const char *const *settings,
                        const char *what, struct err *err)
{
    for (const char *const *pair = settings; pair[0]; pair += 2) {
        rd_kafka_error_t *error = rd_kafka_ConfigResource_add_incremental_config(
            resource, pair[0],
            pair[1] ? RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET : RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE,
            pair[1]);
        if (error) {
            err_set(err, ERR_REFUSED, "%s: %s", what, rd_kafka_error_string(error));
            rd_kafka_error_destroy(error);
            return false;
        }
    }
    return true;
}

static void take_altered(struct admin_call *call, struct admin_topic_change *changes,
                         size_t changes_count)
{
    char lacks[ACL_LACKS_BYTES];
    size_t count = 0;
    const rd_kafka_ConfigResource_t **found = rd_kafka_IncrementalAlterConfigs_result_resources(
        rd_kafka_event_IncrementalAlterConfigs_result(call->event), &count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(found[i]);
        const char *name = rd_kafka_ConfigResource_name(found[i]);
        for (size_t j = 0; j < changes_count; j++) {
            struct admin_topic_change *change = &changes[j];
            char what[320];
            if (strcmp(change->topic, name) != 0) {
                continue;
            }
            err_clear(&change->err);
            snprintf(what, sizeof(what), "alter topic '%s'", name);
            if (code) {
                admin_failed(call->admin, &change->err, code, what,
                             client_why(call->admin->client, code,
                                        rd_kafka_ConfigResource_error_string(found[i]),
                                        ACL_ALTER_CONFIGS, ACL_TOPIC, name, lacks));
            }
        }
    }
}

/* Every change begins as one that was not answered. */
static void alter_some(struct admin *admin, struct admin_topic_change *changes, size_t count)
{
    struct admin_call call;
    struct err why = {0};
    rd_kafka_ConfigResource_t **resources = calloc(count, sizeof(rd_kafka_ConfigResource_t *));
    size_t made = 0;
    bool ok = true;
    if (!resources) {
        abort();
    }
    admin_call_begin(&call, admin, RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS);
    for (; ok && made < count; made++) {
        char what[320];
        snprintf(what, sizeof(what), "alter topic '%s'", changes[made].topic);
        resources[made] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, changes[made].topic);
        ok = put_changes(resources[made], changes[made].settings, what, &why);
    }
    if (ok) {
        rd_kafka_IncrementalAlterConfigs(client_handle(admin->client), resources, count,
                                         call.options, call.queue);
        ok = admin_call_wait(&call, "alter topics", &why);
    }
    if (ok) {
        err_set(&why, ERR_RETRY, "%s: alter topics: one was not answered", admin->site);
    }
    for (size_t i = 0; i < count; i++) {
        changes[i].err = why;
    }
    if (ok) {
        take_altered(&call, changes, count);
    }
    rd_kafka_ConfigResource_destroy_array(resources, made);
    free(resources);
    admin_call_done(&call);
}

void admin_alter_topics(struct admin *admin, struct admin_topic_change *changes, size_t count)
{
    for (size_t at = 0; at < count; at += ADMIN_SETTINGS_TOPICS) {
        size_t some = count - at < ADMIN_SETTINGS_TOPICS ? count - at : ADMIN_SETTINGS_TOPICS;
        alter_some(admin, changes + at, some);
    }
}

bool admin_alter_topic(struct admin *admin, const char *topic, const char *const *settings,
                       struct err *err)
{
    struct admin_topic_change change = {.topic = topic, .settings = settings};
    admin_alter_topics(admin, &change, 1);
    if (change.err.kind != ERR_NONE && err) {
        *err = change.err;
    }
    return change.err.kind == ERR_NONE;
}
