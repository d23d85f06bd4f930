/* Writes the first role epoch of a service on each target. Never done by ferryd: a worker with an old file and an empty
 * Redis must not be able to make itself primary's mirror.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/context.h"
#include "cli/render.h"
#include "kafka/control.h"

static const struct config_client *operator_of(const struct config_site *site)
{
    return site->operator_kafka != NULL ? site->operator_kafka : &site->kafka;
}

static bool different_clusters(struct context *context, struct err *err)
{
    char source[64];
    char target[64];
    int32_t brokers;
    if (!context_source(context, err) || !context_target(context, err) ||
        !admin_cluster_id(context->source, source, &brokers, err) ||
        !admin_cluster_id(context->target, target, &brokers, err)) {
        return false;
    }
    if (strcmp(source, target) != 0) {
        return true;
    }
    err_set(err, ERR_REFUSED, "sites %s and %s are one cluster (%s)", context->from->name,
            context->to->name, source);
    return err_hint(err, "compare bootstrap.servers of both sites in %s", context->config->file);
}

/* End offsets of one topic as [[partition, end], ...] when it holds any; NULL = empty. */
static json_t *topic_ends(struct context *context, const struct admin_topic *topic, bool *out_ok,
                          struct err *err)
{
    struct admin_offset *ends = calloc((size_t)topic->partitions_count + 1, sizeof(*ends));
    json_t *pairs = json_array();
    bool holds = false;
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        ends[i] = (struct admin_offset){.topic = topic->name, .partition = i};
    }
    *out_ok = admin_list_offsets(context->target, OFFSET_SPEC_LATEST, ends,
                                 (size_t)topic->partitions_count, err);
    for (int32_t i = 0; *out_ok && i < topic->partitions_count; i++) {
        holds = holds || ends[i].offset > 0;
        json_array_append_new(pairs, json_pack("[iI]", i, (json_int_t)ends[i].offset));
    }
    free(ends);
    if (*out_ok && holds) {
        return pairs;
    }
    json_decref(pairs);
    return NULL;
}

/* Target topics of the service that hold records: {TOPIC: [[partition, end], ..]}. NULL with err. */
static json_t *held_topics(struct context *context, struct err *err)
{
    struct admin_topic *topics = NULL;
    size_t count = 0;
    if (!admin_list_topics(context->target, &topics, &count, err)) {
        return NULL;
    }
    json_t *held = json_object();
    for (size_t i = 0; i < count && held != NULL; i++) {
        bool ok = true;
        json_t *pairs = config_patterns_match(&context->service->topics, topics[i].name)
                            ? topic_ends(context, &topics[i], &ok, err)
                            : NULL;
        if (!ok) {
            json_decref(held);
            held = NULL;
        } else if (pairs != NULL) {
            json_object_set_new(held, topics[i].name, pairs);
        }
    }
    free(topics);
    return held;
}

static bool may_adopt(struct context *context, json_t *held, struct err *err)
{
    const char *topic = "";
    json_t *ends;
    json_object_foreach (held, topic, ends) {
        break;
    }
    if (json_object_size(held) == 0) {
        return true;
    }
    if (!command_has(context->line, "adopt")) {
        err_set(err, ERR_REFUSED, "%zu topics of %s hold records already, for example %s",
                json_object_size(held), context->to->name, topic);
        return err_hint(err, "empty them, or take them over: ferry enable %s --adopt",
                        context->service->name);
    }
    return true;
}

static json_t *role_record(struct context *context, json_t *held)
{
    char who[320];
    char when[CLOCK_TEXT_BYTES];
    const char *reason = command_get(context->line, "reason");
    json_t *secondaries = json_array();
    context_who(who);
    for (size_t i = 0; i < context->service->others_count; i++) {
        json_array_append_new(secondaries, json_string(context->service->others[i]));
    }
    json_t *role =
        json_pack("{sisssosssssssO}", "epoch", 1, "primary", context->from->name, "secondaries",
                  secondaries, "by", who, "reason", reason == NULL ? "" : reason, "time",
                  clock_rfc3339(clock_wall_ms(clock_system()), when), "adopt", held);
    return role;
}

static bool write_role(struct context *context, json_t *held, struct err *err)
{
    struct control_writer *writer =
        control_writer_new(operator_of(context->to), context->service->name, "op", err);
    if (writer == NULL) {
        return false;
    }
    json_t *role = role_record(context, held);
    char *text = json_text(role);
    const struct control_record record = {.key = "role", .value = text};
    bool ok = control_write(writer, &record, 1, err);
    free(text);
    json_decref(role);
    control_writer_free(writer);
    return ok;
}

static void tell(const struct context *context, bool already, int64_t epoch)
{
    if (context->json) {
        render_json(json_pack("{sssssssIsb}", "service", context->service->name, "from",
                              context->from->name, "to", context->to->name, "epoch",
                              (json_int_t)epoch, "already", already ? 1 : 0));
        return;
    }
    printf("%s: %s > %s %s (role epoch %lld)\n", context->service->name, context->from->name,
           context->to->name, already ? "is enabled already" : "enabled", (long long)epoch);
}

/* Already enabled with the same primary is success: the command may be run again. */
static bool look_at_role(struct context *context, bool *out_already, struct err *err)
{
    *out_already = false;
    if (!control_create(operator_of(context->to), context->service->name, err)) {
        return false;
    }
    struct control_state *state =
        control_read(&context->to->kafka, context->service->name, context->timeout_ms, err);
    if (state == NULL) {
        return false;
    }
    bool ok = true;
    if (state->role_epoch > 0 && strcmp(state->primary, context->from->name) != 0) {
        err_set(err, ERR_REFUSED, "role epoch %lld on %s says that %s is primary",
                (long long)state->role_epoch, context->to->name, state->primary);
        ok = err_hint(err, "the service failed over; enable writes only the first epoch");
    } else if (state->role_epoch > 0) {
        *out_already = true;
        tell(context, true, state->role_epoch);
    }
    control_state_free(state);
    return ok;
}

static bool enable_link(struct context *context, struct err *err)
{
    bool already = false;
    char question[1024];
    if (!different_clusters(context, err) || !look_at_role(context, &already, err)) {
        return false;
    }
    if (already) {
        return true;
    }
    json_t *held = held_topics(context, err);
    if (held == NULL) {
        return false;
    }
    snprintf(question, sizeof(question),
             "This starts to mirror service %s from %s to %s. %zu topics of the target hold "
             "records already%s.",
             context->service->name, context->from->name, context->to->name, json_object_size(held),
             json_object_size(held) > 0 ? " and are taken over as they are" : "");
    bool ok = may_adopt(context, held, err) &&
              confirm(context->line, question, context->service->name, err) &&
              write_role(context, held, err);
    json_decref(held);
    if (ok) {
        tell(context, false, 1);
    }
    return ok;
}

int cmd_enable(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    bool ok = context_open(&context, line, &err);
    bool one = command_has(line, "to");
    for (size_t i = 0; ok && i < context.service->others_count; i++) {
        const char *name = context.service->others[i];
        if (one && strcmp(name, context.to->name) != 0) {
            continue;
        }
        if (context.target != NULL) {
            admin_free(context.target);
            context.target = NULL;
        }
        context.to = config_site(context.config, name);
        ok = enable_link(&context, &err);
    }
    int code = ok ? EXIT_DONE : command_fail(&err);
    context_close(&context);
    return code;
}
