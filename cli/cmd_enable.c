/* Writes the first role epoch of a service on each target. Never done by ferryd: a worker with an old file and an empty
 * Redis must not be able to make itself primary's mirror.
 *
 * Everything is checked before the question, and again behind the fence of the control topic's writer: whoever wrote
 * meanwhile is seen. Nothing is written on a target before the operator said yes; a service that has its role already, and
 * lacks the choice of its path alone, is not asked about: what is written of it then is that choice, and a scratch topic.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/heap.h"
#include "base/json.h"
#include "cli/cmd_fence.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/context.h"
#include "cli/paths.h"
#include "cli/render.h"
#include "kafka/control.h"
#include "mirror/streams.h"

#define CODE_NO_TOPIC 3 /* UNKNOWN_TOPIC_OR_PARTITION */
#define HELD_SHOWN    5 /* topics named in the question */

static const struct config_client *operator_of(const struct config_site *site)
{
    return site->operator_kafka != NULL ? site->operator_kafka : &site->kafka;
}

/* --- checks ------------------------------------------------------------------------------------------------------- */

static bool different_clusters(struct context *context, struct err *err)
{
    char source_id[64];
    char target_id[64];
    int32_t brokers;
    struct admin *source = context_source(context, err);
    struct admin *target = source == NULL ? NULL : context_target(context, err);
    if (target == NULL || !admin_cluster_id(source, source_id, &brokers, err) ||
        !admin_cluster_id(target, target_id, &brokers, err)) {
        return false;
    }
    if (strcmp(source_id, target_id) != 0) {
        return true;
    }
    err_set(err, ERR_REFUSED, "sites %s and %s are one cluster (%s)", context->from->name,
            context->to->name, source_id);
    return err_hint(err, "compare bootstrap.servers of both sites in %.150s",
                    context->config->file);
}

/* The role as it stands. @param out_epoch  0 = none was ever written  @param out_path  what carries the service; PATH_AUTO: that is
 * still to be chosen */
static bool look_at_role(struct context *context, int64_t *out_epoch, enum config_path *out_path,
                         struct err *err)
{
    struct control_state *state =
        control_read(&context->to->kafka, context->service->name, context->timeout_ms, err);
    if (state == NULL) {
        bool no_topic = err->kind == ERR_REFUSED && err->code == CODE_NO_TOPIC;
        *out_epoch = 0;
        *out_path = context->service->path;
        if (no_topic) {
            err_clear(err);
        }
        return no_topic;
    }
    *out_epoch = state->role_epoch;
    *out_path = streams_path(state, context->service);
    bool ok = state->role_epoch == 0 || strcmp(state->primary, context->from->name) == 0;
    if (!ok) {
        err_set(err, ERR_REFUSED,
                "role epoch %lld on %s says that %s is primary: enable writes "
                "only the first epoch",
                (long long)state->role_epoch, context->to->name, state->primary);
        err_hint(err, "ferry status %s", context->service->name);
    }
    control_state_free(state);
    return ok;
}

/* The highest role epoch that Redis remembers: from `roles`, and from workers of this link. 0 = none, or no Redis. */
static int64_t remembered_epoch(struct context *context)
{
    const char *name;
    json_t *worker;
    char link[300];
    json_t *roles = context_service_hash(context, "roles", NULL);
    json_t *workers = context_service_hash(context, "workers", NULL);
    int64_t epoch =
        json_integer_value(json_object_get(json_object_get(roles, context->to->name), "epoch"));
    snprintf(link, sizeof(link), "%s>%s", context->from->name, context->to->name);
    json_object_foreach (workers, name, worker) {
        const char *of = json_string_value(json_object_get(worker, "link"));
        int64_t seen = json_integer_value(json_object_get(worker, "role_epoch"));
        epoch = of != NULL && strcmp(of, link) == 0 && seen > epoch ? seen : epoch;
    }
    json_decref(roles);
    json_decref(workers);
    return epoch;
}

/* An epoch that was seen says that the control topic was deleted: a fault of the service, not a beginning. Redis may be
 * away: it is asked as a witness, not needed. */
static bool nobody_saw_role(struct context *context, struct err *err)
{
    int64_t epoch = context->to->redis == NULL ? 0 : remembered_epoch(context);
    if (epoch == 0) {
        return true;
    }
    char *workers = context_key(context, "workers");
    char *roles = context_key(context, "roles");
    err_set(err, ERR_REFUSED,
            "no role epoch stands on %s, but Redis remembers epoch %lld: the "
            "control topic was deleted or emptied",
            context->to->name, (long long)epoch);
    err_hint(err,
             "docs/faults.md#control; a new beginning is wanted: redis-cli DEL '%.80s' '%.80s'",
             workers, roles);
    free(workers);
    free(roles);
    return false;
}

/* --- what the target holds ---------------------------------------------------------------------------------------- */

/* End offsets of one topic as [[partition, end], ...]; *out_pairs NULL = it is empty. */
static bool topic_ends(struct context *context, const struct admin_topic *topic, json_t **out_pairs,
                       struct err *err)
{
    size_t count = (size_t)topic->partitions_count;
    struct admin_offset *ends = calloc(count + 1, sizeof(*ends));
    if (ends == NULL) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        ends[i] = (struct admin_offset){.topic = topic->name, .partition = (int32_t)i};
    }
    bool ok = admin_list_offsets(context->target.admin, OFFSET_SPEC_LATEST, ends, count, err);
    bool holds = false;
    json_t *pairs = json_array();
    for (size_t i = 0; ok && i < count; i++) {
        if (ends[i].error != 0 || ends[i].offset < 0) {
            ok = err_set_code(err, ERR_RETRY, ends[i].error, "%s: the end of %s:%zu is unknown",
                              context->to->name, topic->name, i);
        }
        holds = holds || ends[i].offset > 0;
        json_array_append_new(pairs, json_pack("[iI]", (int)i, (json_int_t)ends[i].offset));
    }
    free(ends);
    *out_pairs = ok && holds ? json_incref(pairs) : NULL;
    json_decref(pairs);
    return ok;
}

/* Target topics of the service that hold records: {TOPIC: [[partition, end], ..]}. NULL with err. */
static json_t *held_topics(struct context *context, struct err *err)
{
    struct admin_topic *topics = NULL;
    size_t count = 0;
    bool ok = admin_list_topics(context->target.admin, &topics, &count, err);
    json_t *held = json_object();
    for (size_t i = 0; ok && i < count; i++) {
        json_t *pairs = NULL;
        if (config_patterns_match(&context->service->topics, topics[i].name)) {
            ok = topic_ends(context, &topics[i], &pairs, err);
        }
        if (pairs != NULL) {
            json_object_set_new(held, topics[i].name, pairs);
        }
    }
    free(topics);
    if (!ok) {
        json_decref(held);
        return NULL;
    }
    return held;
}

/* "3 topics (a, b, c)" */
static void name_held(const json_t *held, char *out, size_t room)
{
    size_t shown = 0;
    const char *topic;
    json_t *ends;
    size_t used = (size_t)snprintf(out, room, "%zu topics (", json_object_size(held));
    json_object_foreach ((json_t *)(uintptr_t)held, topic, ends) {
        if (shown < HELD_SHOWN && used < room) {
            used += (size_t)snprintf(out + used, room - used, "%s%.100s", shown == 0 ? "" : ", ",
                                     topic);
        }
        shown++;
    }
    if (used < room) {
        snprintf(out + used, room - used, "%s)", shown > HELD_SHOWN ? ", ..." : "");
    }
}

static bool may_adopt(const struct context *context, const json_t *held, struct err *err)
{
    char names[700];
    if (json_object_size(held) == 0 || command_has(context->line, "adopt")) {
        return true;
    }
    name_held(held, names, sizeof(names));
    err_set(err, ERR_REFUSED, "%s hold records on %s already", names, context->to->name);
    return err_hint(err,
                    "empty them, or take them over as they are: ferry enable %s --to %s --adopt",
                    context->service->name, context->to->name);
}

static bool ask(const struct context *context, const json_t *held, struct err *err)
{
    char question[1400];
    char names[700];
    name_held(held, names, sizeof(names));
    bool some = json_object_size(held) > 0;
    bool fence = context->to->operator_kafka != NULL && !command_has(context->line, "no-fence");
    snprintf(question, sizeof(question),
             "From now on ferryd mirrors service %s from %s to %s, and writes into its topics "
             "there.%s%s%s%s",
             context->service->name, context->from->name, context->to->name,
             fence ? " Others that are allowed to write to them there are denied it." : "",
             some ? " It takes over " : "", some ? names : "",
             some ? " with the records that they hold: those stay, and are not compared with the "
                    "source."
                  : "");
    return confirm(context->line, question, context->service->name, err);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static char *role_text(const struct context *context, json_t *held)
{
    char who[CONTEXT_WHO_BYTES];
    char when[CLOCK_TEXT_BYTES];
    const char *reason = command_reason(context->line);
    json_t *secondaries = json_array();
    for (size_t i = 0; i < context->service->others_count; i++) {
        json_array_append_new(secondaries, json_string(context->service->others[i]));
    }
    json_t *role =
        json_pack("{sisssosososssO}", "epoch", 1, "primary", context->from->name, "secondaries",
                  secondaries, "by", render_string(context_who(who)), "reason", json_string(reason),
                  "time", clock_rfc3339(clock_wall_ms(clock_system()), when), "adopt", held);
    char *text = json_text(role);
    json_decref(role);
    return text;
}

/* Behind the fence: is it still as the operator was told? The ends that are recorded are those of now. */
static bool still_so(struct context *context, const json_t *asked, json_t **out_held,
                     struct err *err)
{
    int64_t epoch = 0;
    enum config_path path;
    const char *topic;
    json_t *ends;
    if (!look_at_role(context, &epoch, &path, err)) {
        return false;
    }
    if (epoch > 0) {
        return err_set(err, ERR_REFUSED, "somebody else enabled the service meanwhile");
    }
    json_t *held = held_topics(context, err);
    json_object_foreach (held, topic, ends) {
        if (json_object_get(asked, topic) == NULL) {
            err_set(err, ERR_REFUSED, "topic %s on %s got records meanwhile", topic,
                    context->to->name);
            err_hint(err, "ferry enable %s", context->service->name);
            json_decref(held);
            return false;
        }
    }
    *out_held = held;
    return held != NULL;
}

/* The end of the transaction was not heard of: it is asked for once more, then the topic is. */
static bool find_out(struct context *context, struct control_writer *writer, bool *out_unknown,
                     struct err *err)
{
    int64_t epoch = 0;
    enum config_path path;
    if (control_write_again(writer, err)) {
        return true;
    }
    *out_unknown = control_write_unknown(writer);
    if (*out_unknown && look_at_role(context, &epoch, &path, NULL) && epoch > 0) {
        *out_unknown = false;
        return true;
    }
    if (*out_unknown) {
        err_wrap(err, "whether %s is enabled on %s is not known", context->service->name,
                 context->to->name);
        err_hint(err, "ferry status %s; then ferry enable again: it takes what stands there",
                 context->service->name);
    }
    return false;
}

/* Where the service's names lead, as the source has it recorded that was a target itself: on the way back a primary that is lost
 * cannot be asked. Heap; NULL = nothing is recorded there, or it may not be read: `ferry dns adopt` says it then. */
static char *names_at_source(const struct context *context)
{
    struct err why = {0};
    struct control_state *state =
        control_read(&context->from->kafka, context->service->name, context->timeout_ms, &why);
    char *names = state == NULL || state->dns_json == NULL ? NULL : must(strdup(state->dns_json));
    control_state_free(state);
    return names;
}

/* @param choice  of the path, to be written with it; PATH_AUTO = none
 * @param out_unknown  failed, and the role may come to stand all the same */
static bool write_role(struct context *context, const json_t *asked,
                       const struct paths_choice *choice, bool *out_unknown, struct err *err)
{
    const struct config_client *client = operator_of(context->to);
    const char *service = context->service->name;
    json_t *held = NULL;
    if (!control_create(client, service, err)) {
        return false;
    }
    char *names = names_at_source(context);
    struct control_writer *writer = context_op_writer(context, context->to, client, err);
    bool ok = writer != NULL && still_so(context, asked, &held, err);
    if (ok) {
        char *role = role_text(context, held);
        char *path = choice->path != PATH_AUTO ? paths_record(choice) : NULL;
        struct control_record records[3] = {
            {.key = "role", .value = role}
        };
        size_t count = 1;
        if (names != NULL) {
            records[count++] = (struct control_record){.key = "dns", .value = names};
        }
        if (path != NULL) {
            records[count++] = (struct control_record){.key = "path", .value = path};
        }
        ok = control_write(writer, records, count, err) ||
             (control_write_unknown(writer) && find_out(context, writer, out_unknown, err));
        free(role);
        free(path);
    }
    json_decref(held);
    free(names);
    control_writer_free(writer);
    return ok;
}

/* Behind the fence: has somebody else chosen meanwhile, or does the service run by now? Then that stands, and is told. */
static bool take_standing(struct context *context, struct paths_choice *choice, bool *out_stands,
                          struct err *err)
{
    int64_t epoch = 0;
    enum config_path path = PATH_AUTO;
    if (!look_at_role(context, &epoch, &path, err)) {
        return false;
    }
    if (epoch == 0) {
        err_set(err, ERR_RETRY, "the role of %s on %s is gone", context->service->name,
                context->to->name);
        return err_hint(err, "ferry status %s", context->service->name);
    }
    *out_stands = path != PATH_AUTO;
    if (*out_stands) {
        *choice = (struct paths_choice){.path = path, .why = "chosen meanwhile by somebody else"};
    }
    return true;
}

/* Of a service that has its role: configured `auto` since, and nothing ever ran. */
static bool write_choice(struct context *context, struct paths_choice *choice, struct err *err)
{
    bool stands = false;
    struct control_writer *writer =
        context_op_writer(context, context->to, operator_of(context->to), err);
    bool ok = writer != NULL && take_standing(context, choice, &stands, err);
    if (ok && !stands) {
        char *text = paths_record(choice);
        const struct control_record record = {.key = "path", .value = text};
        ok = control_write(writer, &record, 1, err);
        free(text);
    }
    control_writer_free(writer);
    return ok;
}

/* --- the command -------------------------------------------------------------------------------------------------- */

struct enabled {
    json_t *links; /* results, for -o json */
    size_t written;
    bool unfenced; /* the fence was asked for and failed */
    bool unknown;  /* a role that may stand, or not */
};

/* @param choice  made now; NULL, or PATH_AUTO: there was none to make  @param fence  what became of it; NULL = nothing was done */
static void tell(const struct context *context, struct enabled *enabled, bool already,
                 int64_t epoch, const struct paths_choice *choice, const char *fence)
{
    bool chosen = choice != NULL && choice->path != PATH_AUTO;
    const char *service = context->service->name;
    json_array_append_new(enabled->links,
                          json_pack("{sssssIsbsososo}", "from", context->from->name, "to",
                                    context->to->name, "epoch", (json_int_t)epoch, "already",
                                    already ? 1 : 0, "fence", render_string(fence), "path",
                                    render_string(chosen ? config_path_name(choice->path) : NULL),
                                    "path_why", render_string(chosen ? choice->why : NULL)));
    enabled->written += already ? 0 : 1;
    if (!context->json) {
        printf("%s: %s > %s %s (role epoch %lld)\n", service, context->from->name,
               context->to->name, already ? "is already enabled" : "enabled", (long long)epoch);
        if (chosen) {
            printf("%s: path auto is %s: %s\n", service, config_path_name(choice->path),
                   render_safe(choice->why).text);
        }
        if (fence != NULL) {
            printf("%s: write fence on %s: %s\n", service, context->to->name,
                   render_safe(fence).text);
        }
    }
}

/* The service is enabled whatever becomes of the fence. */
static void fence_and_tell(struct context *context, struct enabled *enabled,
                           const struct paths_choice *choice)
{
    char line[500];
    struct err err = {0};
    if (command_has(context->line, "no-fence")) {
        tell(context, enabled, false, 1, choice, NULL);
    } else if (fence_set(context, line, sizeof(line), &err)) {
        tell(context, enabled, false, 1, choice, line);
    } else {
        snprintf(line, sizeof(line), "failed: %.450s", err.what);
        tell(context, enabled, false, 1, choice, line);
        enabled->unfenced = true;
        err_hint(&err, "ferry fence sync %s", context->service->name);
        command_fail(context->line, &err);
    }
}

static bool enable_link(struct context *context, struct enabled *enabled, struct err *err)
{
    int64_t epoch = 0;
    enum config_path path;
    struct paths_choice choice = {.path = PATH_AUTO};
    if (!different_clusters(context, err) || !look_at_role(context, &epoch, &path, err)) {
        return false;
    }
    if (epoch == 0 && !nobody_saw_role(context, err)) {
        return false;
    }
    if (epoch > 0) { /* the command may be run again */
        bool ok = path != PATH_AUTO ||
                  (paths_choose(context, &choice, err) && write_choice(context, &choice, err));
        if (ok) {
            tell(context, enabled, true, epoch, &choice, NULL);
        }
        return ok;
    }
    json_t *held = held_topics(context, err);
    bool ok = held != NULL && may_adopt(context, held, err) && ask(context, held, err) &&
              (path != PATH_AUTO || paths_choose(context, &choice, err)) &&
              write_role(context, held, &choice, &enabled->unknown, err);
    json_decref(held);
    if (ok) {
        fence_and_tell(context, enabled, &choice);
    }
    return ok;
}

static bool enable_links(struct context *context, struct enabled *enabled, struct err *err)
{
    const struct config_service *service = context->service;
    if (command_has(context->line, "to")) {
        return enable_link(context, enabled, err);
    }
    for (size_t i = 0; i < service->others_count; i++) {
        context_link(context, service, context->from,
                     config_site(context->config, service->others[i]));
        if (!enable_link(context, enabled, err)) {
            return err_wrap(err, "%s > %s", context->from->name, context->to->name);
        }
    }
    return true;
}

static void print_result(struct context *context, struct enabled *enabled)
{
    const char *service = context->service->name;
    if (context->json) {
        render_json(json_pack("{sssO}", "service", service, "links", enabled->links));
    } else if (enabled->written > 0 && !context->quiet) {
        fprintf(stderr, "  next: start ferryd where it is not running; ferry status %s\n", service);
        if (context->service->acl_topics || context->service->acl_groups) {
            fprintf(stderr, "  and:  ferry acls sync %s\n", service);
        }
    }
}

int cmd_enable(const struct command_line *line)
{
    struct context context;
    struct enabled enabled = {.links = json_array()};
    struct err err = {0};
    bool ok = context_open(&context, line, &err) && enable_links(&context, &enabled, &err);
    int code = EXIT_DONE;
    if (ok || enabled.written > 0) {
        print_result(&context, &enabled);
    }
    if (!ok) {
        code = command_fail(line, &err);
        code = enabled.written > 0 || enabled.unknown ? EXIT_PARTLY : code;
    } else if (enabled.unfenced) {
        code = EXIT_PARTLY;
        fprintf(stderr, "  next: ferry fence show %s; ferry fence sync %s\n", context.service->name,
                context.service->name);
    }
    json_decref(enabled.links);
    context_close(&context);
    return code;
}
