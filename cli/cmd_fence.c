/* The write fence of the target: shown, brought up to date, taken away. Set with sites.X.operator, never by ferryd.
 *
 * An entry stands in the record before it stands on the cluster, and leaves it afterwards; so whatever was interrupted, the
 * same command again ends it.
 */
#include "cli/cmd_fence.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/links.h"
#include "cli/render.h"
#include "failover/fence.h"
#include "kafka/control.h"

#define OWN_MAX 3

struct fence {
    struct context *context;
    struct admin *operator_admin; /* NULL: no operator is configured */
    json_t *before;               /* "topics" of the record; NULL = none */
    json_t *after;
    bool acls_known;
    struct acl_list acls; /* about topics, as they stand */
    struct admin_authorizer authorizer;
    char unset[400]; /* why nothing can be set; "" = it can */
    char own[OWN_MAX][ACL_PRINCIPAL_BYTES];
    size_t own_count;
    struct acl_list to_create;
    struct acl_list to_delete;
    bool removing; /* all of it is taken away */
};

static void fence_done(struct fence *fence)
{
    admin_free(fence->operator_admin);
    acl_list_free(&fence->acls);
    acl_list_free(&fence->to_create);
    acl_list_free(&fence->to_delete);
    json_decref(fence->before);
    json_decref(fence->after);
}

/* --- what there is ------------------------------------------------------------------------------------------------ */

static bool read_record(struct fence *fence, struct err *err)
{
    struct context *context = fence->context;
    struct control_state *state =
        control_read(&context->to->kafka, context->service->name, context->timeout_ms, err);
    if (state == NULL) {
        return false;
    }
    json_decref(fence->before);
    fence->before = fence_topics_parse(state->fence_json);
    control_state_free(state);
    return true;
}

static void add_own(struct fence *fence, const char *principal)
{
    snprintf(fence->own[fence->own_count++], ACL_PRINCIPAL_BYTES, "%s%s",
             strchr(principal, ':') == NULL ? "User:" : "", principal);
}

/* DENY beats every ALLOW: whose name is not certain must not be guessed. */
static void find_own(struct fence *fence)
{
    const struct context *context = fence->context;
    const char *given = command_get(context->line, "principal");
    char name[ACL_PRINCIPAL_BYTES];
    if (given != NULL) {
        add_own(fence, given);
    } else if (acl_principal(&context->to->kafka, name)) {
        add_own(fence, name);
    } else {
        snprintf(
            fence->unset, sizeof(fence->unset),
            "Ferry's own principal at %.100s cannot be read: ferry fence sync --principal NAME",
            context->to->name);
    }
    if (context->to->operator_kafka != NULL && acl_principal(context->to->operator_kafka, name)) {
        add_own(fence, name);
    }
}

/* false: not an answer about ACLs, but a cluster that cannot be asked. */
static bool read_acls(struct fence *fence, struct err *err)
{
    struct context *context = fence->context;
    struct err why = {0};
    fence->operator_admin =
        admin_new(context->to->name, context->to->operator_kafka, context->timeout_ms, &why);
    if (fence->operator_admin != NULL &&
        admin_acls(fence->operator_admin, ACL_TOPIC, &fence->acls, &why) &&
        admin_authorizer(fence->operator_admin, &fence->authorizer, &why)) {
        fence->acls_known = true;
        return true;
    }
    if (why.code == ACL_NO_AUTHORIZER) {
        snprintf(fence->unset, sizeof(fence->unset),
                 "%.100s has no authorizer: everybody may write", context->to->name);
        return true;
    }
    if (acl_refusal(why.code)) {
        snprintf(fence->unset, sizeof(fence->unset), "%.390s", why.what);
        return true;
    }
    if (err != NULL) {
        *err = why;
    }
    return false;
}

static bool read_cluster(struct fence *fence, struct err *err)
{
    const struct config_site *site = fence->context->to;
    find_own(fence);
    if (site->operator_kafka == NULL) {
        snprintf(fence->unset, sizeof(fence->unset), "sites.%.100s.operator is not configured",
                 site->name);
        return true;
    }
    return read_acls(fence, err);
}

/* --- what should be ----------------------------------------------------------------------------------------------- */

struct names {
    const char **list;
    size_t count;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void take_names(struct names *names, const struct config_service *service,
                       const struct admin_topic *topics, size_t count)
{
    names->list = reallocarray(names->list, names->count + count + 1, sizeof(*names->list));
    if (names->list == NULL) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        if (config_patterns_match(&service->topics, topics[i].name)) {
            names->list[names->count++] = topics[i].name;
        }
    }
}

static void plan(struct fence *fence, const struct admin_topic *source, size_t source_count,
                 const struct admin_topic *target, size_t target_count)
{
    struct names names = {.list = NULL};
    const char *own[OWN_MAX];
    take_names(&names, fence->context->service, source, source_count);
    take_names(&names, fence->context->service, target, target_count);
    qsort(names.list, names.count, sizeof(*names.list), compare_names);
    for (size_t i = 0; i < fence->own_count; i++) {
        own[i] = fence->own[i];
    }
    const struct fence_facts facts = {.unset = fence->unset[0] == '\0' ? NULL : fence->unset,
                                      .acls = &fence->acls,
                                      .own = own,
                                      .own_count = fence->own_count,
                                      .authorizer = &fence->authorizer};
    fence->after = fence_plan(names.list, names.count, &facts, fence->before);
    free(names.list);
}

/* What differs between the record and the plan, and between the plan and the cluster. */
static void compare(struct fence *fence)
{
    struct acl_list old;
    struct acl_list wanted;
    fence_entries(fence->before, &old);
    fence_entries(fence->after, &wanted);
    if (fence->acls_known && fence->unset[0] == '\0') {
        acl_list_missing(&wanted, &fence->acls, &fence->to_create);
    }
    acl_list_missing(&old, &wanted, &fence->to_delete);
    acl_list_free(&old);
    acl_list_free(&wanted);
}

/* New topics are fenced before they are there: those of the source count. */
static bool gather(struct fence *fence, struct err *err)
{
    struct context *context = fence->context;
    struct admin_topic *source = NULL;
    struct admin_topic *target = NULL;
    size_t source_count = 0;
    size_t target_count = 0;
    struct admin *from = context_source(context, err);
    struct admin *to = from == NULL ? NULL : context_target(context, err);
    bool ok = to != NULL && read_record(fence, err) && read_cluster(fence, err) &&
              admin_list_topics(from, &source, &source_count, err) &&
              admin_list_topics(to, &target, &target_count, err);
    if (ok) {
        plan(fence, source, source_count, target, target_count);
        compare(fence);
    }
    free(source);
    free(target);
    return ok;
}

/* --- doing it ----------------------------------------------------------------------------------------------------- */

static json_t *super_users_json(const struct fence *fence)
{
    return fence->authorizer.known ? json_boolean(fence->authorizer.super_users) : json_null();
}

static bool write_record(struct fence *fence, struct control_writer *writer, const json_t *topics,
                         struct err *err)
{
    const struct context *context = fence->context;
    char who[CONTEXT_WHO_BYTES];
    char when[CLOCK_TEXT_BYTES];
    const char *reason = command_reason(context->line);
    json_t *record = json_pack("{sOsssssssO}", "topics", topics, "by", context_who(who), "reason",
                               reason, "time", clock_rfc3339(clock_wall_ms(clock_system()), when),
                               "super_users", super_users_json(fence));
    char *text = json_text(record);
    const struct control_record records = {.key = "fence", .value = text};
    bool ok = control_write(writer, &records, 1, err);
    free(text);
    json_decref(record);
    return ok;
}

static bool change(struct fence *fence, struct control_writer *writer, struct err *err)
{
    json_t *both = fence_union(fence->before, fence->after);
    bool ok = write_record(fence, writer, both, err) &&
              (fence->to_create.count == 0 ||
               admin_acls_create(fence->operator_admin, &fence->to_create, err)) &&
              (fence->to_delete.count == 0 ||
               admin_acls_delete(fence->operator_admin, &fence->to_delete, err)) &&
              (json_equal(both, fence->after) || write_record(fence, writer, fence->after, err));
    json_decref(both);
    return ok;
}

/* Is the target still mirrored to, where it is to be fenced, and the record still the one that was planned from? Whoever is
 * primary is written to by everybody. */
static bool may_fence(const struct fence *fence, const struct control_state *state, struct err *err)
{
    const struct context *context = fence->context;
    const char *service = context->service->name;
    if (!fence->removing && strcmp(state->primary, context->from->name) != 0) {
        err_set(err, ERR_REFUSED, "the primary of %s is %s: %s is not mirrored to from %s", service,
                state->role_epoch == 0 ? "unknown" : state->primary, context->to->name,
                context->from->name);
        return err_hint(err, "ferry status %s", service);
    }
    json_t *now = fence_topics_parse(state->fence_json);
    bool same = json_equal(now, fence->before) || (now == NULL && fence->before == NULL);
    json_decref(now);
    if (!same) {
        err_set(err, ERR_REFUSED, "somebody else changed the write fence on %s meanwhile",
                context->to->name);
        err_hint(err, "ferry fence show %s; then again", service);
    }
    return same;
}

/* Behind the control topic's writer: nobody changes it any more. */
static bool still_so(const struct fence *fence, struct err *err)
{
    const struct context *context = fence->context;
    struct control_state *state =
        control_read(&context->to->kafka, context->service->name, context->timeout_ms, err);
    bool ok = state != NULL && may_fence(fence, state, err);
    control_state_free(state);
    return ok;
}

static bool apply(struct fence *fence, struct err *err)
{
    struct context *context = fence->context;
    if (fence->to_create.count == 0 && fence->to_delete.count == 0 &&
        json_equal(fence->before, fence->after)) {
        return true;
    }
    if (fence->to_delete.count > 0 && fence->operator_admin == NULL) {
        err_set(err, ERR_REFUSED, "%s: %zu entries are to be taken away, and %s", context->to->name,
                fence->to_delete.count, fence->unset);
        return err_hint(err, "configure it: the entries stay recorded until then");
    }
    struct control_writer *writer =
        context_op_writer(context, context->to, context_writer(context), err);
    bool ok = writer != NULL && still_so(fence, err) && change(fence, writer, err);
    control_writer_free(writer);
    return ok || err_wrap(err, "write fence on %s", context->to->name);
}

bool fence_set(struct context *context, char *out_line, size_t room, struct err *err)
{
    struct fence fence = {.context = context};
    char line[FENCE_LINE_BYTES];
    bool ok = gather(&fence, err) && apply(&fence, err);
    if (ok) {
        snprintf(out_line, room, "%s", fence_line(fence.after, line));
    }
    fence_done(&fence);
    return ok;
}

/* --- showing ------------------------------------------------------------------------------------------------------ */

static void join_names(const json_t *names, char *out, size_t room, size_t *used)
{
    size_t index;
    json_t *name;
    json_array_foreach (names, index, name) {
        const char *text = json_string_value(name);
        if (text != NULL && *used < room) {
            *used += (size_t)snprintf(out + *used, room - *used, "%s%.200s", *used > 0 ? ", " : "",
                                      text);
        }
    }
}

static void print_topic(const char *topic, const json_t *entry)
{
    char names[600] = "";
    char line[1400];
    size_t used = 0;
    const char *state = json_string_value(json_object_get(entry, "state"));
    const char *why = json_string_value(json_object_get(entry, "why"));
    state = state == NULL ? "none" : state;
    join_names(json_object_get(entry, "ours"), names, sizeof(names), &used);
    join_names(json_object_get(entry, "theirs"), names, sizeof(names), &used);
    if (strcmp(state, "denied") == 0) {
        snprintf(line, sizeof(line), "%.250s: denied to %s", topic, names);
    } else if (strcmp(state, "nobody") == 0) {
        snprintf(line, sizeof(line), "%.250s: no ACL lets anybody else write", topic);
    } else {
        snprintf(line, sizeof(line), "%.250s: none: %.500s%s%.500s", topic, why == NULL ? "" : why,
                 names[0] == '\0' ? "" : "; still denied to ", names);
    }
    struct render_safe safe = render_safe(line);
    render_wrapped(stdout, safe.text, RENDER_WIDTH, 0, 4);
}

static void print_topics(const struct fence *fence, const json_t *topics)
{
    const struct context *context = fence->context;
    const char *topic;
    json_t *entry;
    char line[FENCE_LINE_BYTES];
    printf("%s  %s > %s  write fence: %s\n", context->service->name, context->from->name,
           context->to->name, fence_line(topics, line));
    json_object_foreach ((json_t *)(uintptr_t)topics, topic, entry) {
        print_topic(topic, entry);
    }
    if (fence->acls_known && (fence->authorizer.super_users || !fence->authorizer.known)) {
        puts(fence->authorizer.known ? "no fence binds super users, and there are some"
                                     : "no fence binds super users, if there are any");
    }
}

static void print_changes(const char *word, const struct acl_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        char line[700];
        snprintf(line, sizeof(line), "%s DENY Write on topic '%.250s' for %.250s", word,
                 list->acls[i].name, list->acls[i].principal);
        puts(render_safe(line).text);
    }
}

static json_t *changes_json(const struct acl_list *list)
{
    json_t *out = json_array();
    for (size_t i = 0; i < list->count; i++) {
        json_array_append_new(out, json_pack("{ssss}", "topic", list->acls[i].name, "principal",
                                             list->acls[i].principal));
    }
    return out;
}

static json_t *link_json(const struct fence *fence, const json_t *topics)
{
    const struct context *context = fence->context;
    char line[FENCE_LINE_BYTES];
    return json_pack("{sssssssOsososo}", "from", context->from->name, "to", context->to->name,
                     "fence", fence_line(topics, line), "topics",
                     topics == NULL ? json_object() : (json_t *)(uintptr_t)topics, "create",
                     changes_json(&fence->to_create), "delete", changes_json(&fence->to_delete),
                     "super_users", super_users_json(fence));
}

/* --- the commands ------------------------------------------------------------------------------------------------- */

static bool show_link(struct context *context, json_t *links, struct err *err)
{
    struct fence fence = {.context = context};
    bool ok = gather(&fence, err);
    if (ok) {
        json_array_append_new(links, link_json(&fence, fence.before));
    }
    if (ok && !context->json) {
        print_topics(&fence, fence.before);
        print_changes("not set (ferry fence sync):", &fence.to_create);
        print_changes("not needed any more (ferry fence sync):", &fence.to_delete);
    }
    fence_done(&fence);
    return ok;
}

static bool ask(const struct fence *fence, const char *what, struct err *err)
{
    const struct context *context = fence->context;
    char question[600];
    snprintf(question, sizeof(question),
             "%s on %.100s: %zu entries that deny Write are made and %zu are taken away. Clients "
             "that still write to these topics there are refused from then on.",
             what, context->to->name, fence->to_create.count, fence->to_delete.count);
    return confirm(context->line, question, context->service->name, err);
}

/* Asked for, and it cannot be: that is no success. What is recorded stays. */
static bool can_be_set(const struct fence *fence, struct err *err)
{
    if (fence->unset[0] == '\0') {
        return true;
    }
    err_set(err, ERR_REFUSED, "no write fence can be set: %s", fence->unset);
    return err_hint(err, "docs/permissions.md#write-fence-of-the-target");
}

static bool sync_link(struct context *context, json_t *links, struct err *err)
{
    struct fence fence = {.context = context};
    bool dry = command_has(context->line, "dry-run");
    bool ok = gather(&fence, err);
    bool any = fence.to_create.count + fence.to_delete.count > 0;
    ok = ok && can_be_set(&fence, err);
    if (ok && !context->json) {
        print_topics(&fence, fence.after);
        print_changes("+", &fence.to_create);
        print_changes("-", &fence.to_delete);
    }
    ok = ok && (dry || ((!any || ask(&fence, "Write fence", err)) && apply(&fence, err)));
    if (ok) {
        json_array_append_new(links, link_json(&fence, fence.after));
    }
    fence_done(&fence);
    return ok;
}

/* The plan is that nothing is fenced. */
static bool remove_link(struct context *context, json_t *links, struct err *err)
{
    struct fence fence = {.context = context, .after = json_object(), .removing = true};
    bool ok = read_record(&fence, err) && read_cluster(&fence, err);
    if (ok) {
        fence_entries(fence.before, &fence.to_delete);
    }
    if (ok && !context->json) {
        print_changes("-", &fence.to_delete);
    }
    ok = ok && (fence.before == NULL ||
                (ask(&fence, "The write fence is taken away", err) && apply(&fence, err)));
    if (ok && !context->json) {
        printf("%s: no write fence on %s\n", context->service->name, context->to->name);
    }
    if (ok) {
        json_array_append_new(links, link_json(&fence, fence.after));
    }
    fence_done(&fence);
    return ok;
}

int cmd_fence_show(const struct command_line *line)
{
    return links_command(line, show_link);
}

int cmd_fence_sync(const struct command_line *line)
{
    return links_command(line, sync_link);
}

int cmd_fence_remove(const struct command_line *line)
{
    return links_command(line, remove_link);
}
