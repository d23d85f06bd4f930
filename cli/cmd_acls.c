/* ACLs of the source at the target: shown, brought up to date, taken away. With sites.X.operator, never by ferryd
 * (docs/adr/0011).
 *
 * An entry stands in the record before it stands on the cluster, and leaves it afterwards; so whatever was interrupted, the
 * same command again ends it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/links.h"
#include "cli/render.h"
#include "failover/acl_sync.h"
#include "kafka/control.h"

#define OWN_MAX       4
#define CODE_NO_TOPIC 3 /* UNKNOWN_TOPIC_OR_PARTITION */

struct names {
    const char **list;
    size_t count;
    struct admin_topic *topics[2]; /* of source and target; what the list borrows from */
    char **groups[2];
    size_t groups_count[2];
};

struct acls {
    struct context *context;
    struct control_state *state; /* of the control topic, before the question */
    struct acl_sync_record before;
    struct admin *operator_admin;
    struct acl_list source;
    struct acl_list target;
    struct names topics;
    struct names groups;
    char own[OWN_MAX][ACL_PRINCIPAL_BYTES];
    size_t own_count;
    struct acl_sync_plan plan;
};

static void names_done(struct names *names)
{
    for (size_t side = 0; side < 2; side++) {
        free(names->topics[side]);
        admin_names_free(names->groups[side], names->groups_count[side]);
    }
    free(names->list);
}

static void acls_done(struct acls *acls)
{
    admin_free(acls->operator_admin);
    control_state_free(acls->state);
    acl_sync_record_done(&acls->before);
    acl_sync_plan_done(&acls->plan);
    acl_list_free(&acls->source);
    acl_list_free(&acls->target);
    names_done(&acls->topics);
    names_done(&acls->groups);
}

/* --- may it be? --------------------------------------------------------------------------------------------------- */

static struct control_state *read_control(const struct context *context, struct err *err)
{
    struct control_state *state =
        control_read(&context->to->kafka, context->service->name, context->timeout_ms, err);
    if (state == NULL && err->kind == ERR_REFUSED && err->code == CODE_NO_TOPIC) {
        err_set(err, ERR_REFUSED, "%s has no role on %s", context->service->name,
                context->to->name);
        err_hint(err, "ferry enable %s", context->service->name);
    }
    return state;
}

static bool read_record(struct acls *acls, struct err *err)
{
    acls->state = read_control(acls->context, err);
    if (acls->state != NULL) {
        acl_sync_parse(acls->state->acls_json, &acls->before);
    }
    return acls->state != NULL;
}

static bool wanted(const struct context *context, struct err *err)
{
    const struct config_service *service = context->service;
    if (service->acl_topics || service->acl_groups) {
        return true;
    }
    err_set(err, ERR_REFUSED, "acl_sync of %s is off: no ACL is copied", service->name);
    return err_hint(err, "services.%.80s.acl_sync in %.120s; docs/acls.md", service->name,
                    context->config->file);
}

/* Whoever writes to the control topic fences an operation that is at work. */
static bool no_operation(const struct context *context, const struct control_state *state,
                         struct err *err)
{
    if (!state->operation_open) {
        return true;
    }
    err_set(err, ERR_REFUSED, "an operation of %s is open", context->service->name);
    return err_hint(err, "ferry status %s", context->service->name);
}

/* The ACLs of what is not the primary (any more) mean nothing here. */
static bool is_secondary(const struct context *context, const struct control_state *state,
                         struct err *err)
{
    const char *service = context->service->name;
    if (state->role_epoch == 0) {
        err_set(err, ERR_REFUSED, "%s has no role on %s", service, context->to->name);
        return err_hint(err, "ferry enable %s", service);
    }
    if (strcmp(state->primary, context->from->name) != 0) {
        err_set(err, ERR_REFUSED, "the primary of %s is %s: nothing is copied from %s", service,
                state->primary, context->from->name);
        return err_hint(err, "ferry status %s", service);
    }
    return no_operation(context, state, err);
}

static bool open_operator(struct acls *acls, struct err *err)
{
    const struct config_site *site = acls->context->to;
    if (site->operator_kafka == NULL) {
        err_set(err, ERR_REFUSED, "sites.%.100s.operator is not configured: ACLs are made with it",
                site->name);
        return err_hint(err, "docs/acls.md; ferryd may not alter ACLs");
    }
    acls->operator_admin =
        admin_new(site->name, site->operator_kafka, acls->context->timeout_ms, err);
    return acls->operator_admin != NULL;
}

/* Asked before anything is recorded: what cannot be made is not to be shown as copied. */
static bool may_alter(const struct acls *acls, struct err *err)
{
    const struct config_site *site = acls->context->to;
    char who[ACL_PRINCIPAL_BYTES];
    char text[ACL_LACKS_BYTES];
    uint32_t operations = 0;
    if (!admin_cluster_rights(acls->operator_admin, &operations, err)) {
        return false;
    }
    if (acl_may(operations, ACL_ALTER)) {
        return true;
    }
    acl_principal(site->operator_kafka, who);
    err_set(err, ERR_REFUSED, "%s: %s", site->name,
            acl_lacks(who, ACL_ALTER, ACL_CLUSTER, ACL_CLUSTER_NAME, text));
    return err_hint(err, ACL_HINT);
}

/* --- what there is ------------------------------------------------------------------------------------------------ */

static bool no_authorizer(const char *site, const char *then, struct err *err)
{
    return err->code == ACL_NO_AUTHORIZER
               ? err_set(err, ERR_REFUSED, "%s has no authorizer: %s", site, then)
               : false;
}

static bool read_acls(const struct config_service *service, struct admin *admin,
                      struct acl_list *out, struct err *err)
{
    struct acl_list groups = {.acls = NULL};
    bool ok = admin_acls(admin, ACL_TOPIC, out, err) &&
              (!service->acl_groups || admin_acls(admin, ACL_GROUP, &groups, err));
    for (size_t i = 0; ok && i < groups.count; i++) {
        acl_list_add(out, &groups.acls[i]);
    }
    acl_list_free(&groups);
    return ok;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Those of the service; a name that both sides have is there twice then. */
static void add_name(struct names *names, const struct config_patterns *patterns, const char *name)
{
    if (config_patterns_match(patterns, name)) {
        names->list = reallocarray(names->list, names->count + 1, sizeof(*names->list));
        if (names->list == NULL) {
            abort();
        }
        names->list[names->count++] = name;
    }
}

static void sort_names(struct names *names)
{
    size_t kept = 0;
    if (names->count > 1) {
        qsort(names->list, names->count, sizeof(*names->list), compare_names);
    }
    for (size_t i = 0; i < names->count; i++) {
        if (kept == 0 || strcmp(names->list[kept - 1], names->list[i]) != 0) {
            names->list[kept++] = names->list[i];
        }
    }
    names->count = kept;
}

/* Of both sides: what one of them does not show, or has no more, keeps its ACLs. */
static bool read_names(struct acls *acls, struct admin *const sides[2], struct err *err)
{
    const struct config_service *service = acls->context->service;
    bool ok = true;
    for (size_t side = 0; ok && side < 2; side++) {
        struct names *topics = &acls->topics;
        struct names *groups = &acls->groups;
        size_t count = 0;
        ok = admin_list_topics(sides[side], &topics->topics[side], &count, err);
        for (size_t i = 0; ok && i < count; i++) {
            add_name(topics, &service->topics, topics->topics[side][i].name);
        }
        ok = ok && (!service->acl_groups || admin_list_groups(sides[side], &groups->groups[side],
                                                              &groups->groups_count[side], err));
        for (size_t i = 0; ok && i < groups->groups_count[side]; i++) {
            add_name(groups, &service->groups, groups->groups[side][i]);
        }
    }
    sort_names(&acls->topics);
    sort_names(&acls->groups);
    return ok;
}

static bool find_own(struct acls *acls, struct err *err)
{
    const struct config_site *from = acls->context->from;
    const struct config_site *to = acls->context->to;
    const struct config_client *clients[OWN_MAX] = {&from->kafka, &to->kafka, from->operator_kafka,
                                                    to->operator_kafka};
    for (size_t i = 0; i < OWN_MAX; i++) {
        if (clients[i] != NULL && !acl_principal(clients[i], acls->own[acls->own_count++])) {
            err_set(err, ERR_REFUSED, "Ferry's own principal at %s cannot be read",
                    i % 2 == 0 ? from->name : to->name);
            return err_hint(err, "its ACLs must not be copied: see sites.*.kafka and its secrets");
        }
    }
    return true;
}

/* Brokers hide to what allow.everyone.if.no.acl.found is set. A topic that no entry concerns, and that is refused to the
 * mirror, shows that it lets nobody in; a super user cannot show it. */
static bool first_closes(const struct acls *acls, const struct admin_authorizer *authorizer)
{
    char name[CONTEXT_TOPIC_BYTES];
    struct err err = {0};
    struct admin_rights rights = {.topic = name};
    struct admin *mirror = context_target(acls->context, NULL);
    snprintf(name, sizeof(name), "ferry-acls.%.200s", acls->context->service->name);
    if (authorizer->known && !authorizer->everyone) {
        return false;
    }
    for (size_t i = 0; i < acls->target.count; i++) {
        if (acl_concerns(&acls->target.acls[i], ACL_TOPIC, name)) {
            return true;
        }
    }
    return mirror == NULL || !admin_topic_rights(mirror, &rights, 1, &err) ||
           !acl_refusal(rights.err.code);
}

static bool make_plan(struct acls *acls, bool closes, struct err *err)
{
    const char *own[OWN_MAX];
    for (size_t i = 0; i < acls->own_count; i++) {
        own[i] = acls->own[i];
    }
    const struct acl_sync_facts facts = {.service = acls->context->service,
                                         .topics = acls->topics.list,
                                         .topics_count = acls->topics.count,
                                         .groups = acls->groups.list,
                                         .groups_count = acls->groups.count,
                                         .source = &acls->source,
                                         .target = &acls->target,
                                         .own = own,
                                         .own_count = acls->own_count,
                                         .first_closes = closes};
    return acl_sync_plan(&facts, &acls->before, &acls->plan, err);
}

/* Both clusters and the plan. What the record says is there already. */
static bool compare(struct acls *acls, struct err *err)
{
    struct context *context = acls->context;
    const struct config_service *service = context->service;
    struct admin_authorizer authorizer;
    if (!wanted(context, err) || !is_secondary(context, acls->state, err) ||
        !open_operator(acls, err) || !find_own(acls, err)) {
        return false;
    }
    struct admin *source = context_source(context, err);
    if (source == NULL || !read_acls(service, source, &acls->source, err)) {
        return source != NULL &&
               no_authorizer(context->from->name, "there is no ACL to be copied", err);
    }
    if (!read_acls(service, acls->operator_admin, &acls->target, err)) {
        return no_authorizer(context->to->name, "no ACL can be made there", err);
    }
    struct admin *const sides[2] = {source, acls->operator_admin};
    return admin_authorizer(acls->operator_admin, &authorizer, err) &&
           read_names(acls, sides, err) && make_plan(acls, first_closes(acls, &authorizer), err);
}

/* --- doing it ----------------------------------------------------------------------------------------------------- */

static bool write_record(const struct acls *acls, struct control_writer *writer,
                         const struct acl_list *ours, struct err *err)
{
    const struct context *context = acls->context;
    char who[CONTEXT_WHO_BYTES];
    char when[CLOCK_TEXT_BYTES];
    const char *reason = command_reason(context->line);
    json_t *record = json_pack("{sososososs}", "ours", acl_sync_entries(ours), "withheld",
                               acl_sync_entries(&acls->plan.record.withheld), "by",
                               render_string(context_who(who)), "reason", json_string(reason),
                               "time", clock_rfc3339(clock_wall_ms(clock_system()), when));
    char *text = json_text(record);
    const struct control_record one = {.key = "acls", .value = text};
    bool ok = control_write(writer, &one, 1, err);
    free(text);
    json_decref(record);
    return ok;
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Behind the fence of the writer: is it still as the operator was told? */
static bool still_so(const struct acls *acls, bool removing, struct err *err)
{
    struct control_state *now = read_control(acls->context, err);
    bool ok = now != NULL && (removing ? no_operation(acls->context, now, err)
                                       : is_secondary(acls->context, now, err));
    if (ok && !same_text(now->acls_json, acls->state->acls_json)) {
        err_set(err, ERR_REFUSED, "somebody else copied ACLs meanwhile");
        err_hint(err, "ferry acls show %s", acls->context->service->name);
        ok = false;
    }
    control_state_free(now);
    return ok;
}

/* What is recorded in between: nothing that is made is forgotten, nothing that is not deleted yet. */
static bool change(const struct acls *acls, struct control_writer *writer, bool *out_begun,
                   struct err *err)
{
    const struct acl_sync_plan *plan = &acls->plan;
    struct acl_list both = {.acls = NULL};
    acl_list_missing(&plan->record.ours, &acls->before.ours, &both);
    for (size_t i = 0; i < acls->before.ours.count; i++) {
        acl_list_add(&both, &acls->before.ours.acls[i]);
    }
    acl_list_sort(&both);
    bool ok = write_record(acls, writer, &both, err);
    *out_begun = ok || control_write_unknown(writer);
    ok = ok &&
         (plan->to_create.count == 0 ||
          admin_acls_create(acls->operator_admin, &plan->to_create, err)) &&
         (plan->to_delete.count == 0 ||
          (admin_acls_delete(acls->operator_admin, &plan->to_delete, err) &&
           write_record(acls, writer, &plan->record.ours, err)));
    acl_list_free(&both);
    return ok;
}

static bool same_entries(const struct acl_list *a, const struct acl_list *b)
{
    bool same = a->count == b->count; /* both are sorted */
    for (size_t i = 0; same && i < a->count; i++) {
        same = acl_equal(&a->acls[i], &b->acls[i]);
    }
    return same;
}

/* Whoever runs it each minute disturbs nobody: nothing is written where nothing changes. */
static bool up_to_date(const struct acls *acls)
{
    const struct acl_sync_plan *plan = &acls->plan;
    return acls->state->acls_json != NULL && plan->to_create.count == 0 &&
           plan->to_delete.count == 0 && same_entries(&plan->record.ours, &acls->before.ours) &&
           same_entries(&plan->record.withheld, &acls->before.withheld);
}

static struct control_writer *open_writer(const struct acls *acls, bool removing, struct err *err)
{
    const struct context *context = acls->context;
    struct control_writer *writer =
        context_op_writer(context, context->to, context_writer(context), err);
    if (writer != NULL && !still_so(acls, removing, err)) {
        control_writer_free(writer);
        writer = NULL;
    }
    return writer;
}

static bool apply(const struct acls *acls, bool *out_begun, struct err *err)
{
    struct control_writer *writer = open_writer(acls, false, err);
    bool ok = writer != NULL && change(acls, writer, out_begun, err);
    control_writer_free(writer);
    return ok;
}

static bool forget(const struct acls *acls, bool *out_begun, struct err *err)
{
    const struct control_record gone = {.key = "acls", .value = NULL};
    struct control_writer *writer = open_writer(acls, true, err);
    *out_begun = writer != NULL;
    bool ok = writer != NULL &&
              (acls->before.ours.count == 0 ||
               admin_acls_delete(acls->operator_admin, &acls->before.ours, err)) &&
              control_write(writer, &gone, 1, err);
    control_writer_free(writer);
    return ok;
}

/* --- showing ------------------------------------------------------------------------------------------------------ */

static void print_entries(const char *word, const struct acl_list *list, const char *const *whys)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct acl *acl = &list->acls[i];
        char line[1000];
        snprintf(line, sizeof(line), "%s %s %s on %s%s '%.250s' for %.250s%s%.60s%s%s", word,
                 acl->permission == ACL_DENY ? "DENY" : "ALLOW", acl_operation_name(acl->operation),
                 acl->pattern == ACL_PREFIXED ? "prefixed " : "", acl_resource_name(acl->resource),
                 acl->name, acl->principal, strcmp(acl->host, "*") == 0 ? "" : " from ",
                 strcmp(acl->host, "*") == 0 ? "" : acl->host, whys == NULL ? "" : ": ",
                 whys == NULL ? "" : whys[i]);
        struct render_safe safe = render_safe(line);
        render_wrapped(stdout, safe.text, RENDER_WIDTH, 0, 4);
    }
}

static json_t *entries_json(const struct acl_list *list, const char *const *whys)
{
    json_t *out = json_array();
    for (size_t i = 0; i < list->count; i++) {
        const struct acl *acl = &list->acls[i];
        json_t *entry = json_pack(
            "{sssssssssososo}", "permission", acl->permission == ACL_DENY ? "Deny" : "Allow",
            "operation", acl_operation_name(acl->operation), "resource",
            acl_resource_name(acl->resource), "pattern", acl_pattern_name(acl->pattern), "name",
            render_string(acl->name), "principal", render_string(acl->principal), "host",
            render_string(acl->host));
        if (whys != NULL) {
            json_object_set_new(entry, "why", json_string(whys[i]));
        }
        json_array_append_new(out, entry);
    }
    return out;
}

/* @param why  it could not be compared; NULL = it was */
static json_t *link_json(const struct acls *acls, const struct acl_sync_record *record,
                         const char *why)
{
    const struct context *context = acls->context;
    const struct acl_sync_plan *plan = &acls->plan;
    bool known = why == NULL;
    return json_pack(
        "{sssssososososososo}", "from", context->from->name, "to", context->to->name, "copied",
        entries_json(&record->ours, NULL), "withheld", entries_json(&record->withheld, NULL),
        "theirs", known ? entries_json(&plan->theirs, NULL) : json_null(), "left",
        known ? entries_json(&plan->left, plan->whys) : json_null(), "create",
        known ? entries_json(&plan->to_create, NULL) : json_null(), "delete",
        known ? entries_json(&plan->to_delete, NULL) : json_null(), "unknown", render_string(why));
}

static void print_head(const struct acls *acls, const struct acl_sync_record *record)
{
    const struct context *context = acls->context;
    printf("%s  %s > %s  ACLs: %zu copied, %zu withheld until %s is the primary\n",
           context->service->name, context->from->name, context->to->name, record->ours.count,
           record->withheld.count, context->to->name);
}

static void print_record(const struct acls *acls)
{
    print_head(acls, &acls->before);
    print_entries("copied:", &acls->before.ours, NULL);
    print_entries("withheld:", &acls->before.withheld, NULL);
}

static void print_compared(const struct acls *acls)
{
    const struct acl_sync_plan *plan = &acls->plan;
    struct acl_list fresh;
    acl_list_missing(&plan->record.withheld, &acls->before.withheld, &fresh);
    print_entries("there already, not Ferry's:", &plan->theirs, NULL);
    print_entries("not copied:", &plan->left, plan->whys);
    print_entries("not copied yet (ferry acls sync):", &plan->to_create, NULL);
    print_entries("not withheld yet (ferry acls sync):", &fresh, NULL);
    print_entries("gone at the source (ferry acls sync):", &plan->to_delete, NULL);
    acl_list_free(&fresh);
}

/* --- the commands ------------------------------------------------------------------------------------------------- */

/* The record is shown whatever the clusters say. */
static bool show_link(struct context *context, json_t *links, struct err *err)
{
    struct acls acls = {.context = context};
    struct err why = {0};
    bool ok = read_record(&acls, err);
    bool compared = ok && compare(&acls, &why);
    if (ok && !context->json) {
        print_record(&acls);
    }
    if (compared && !context->json) {
        print_compared(&acls);
    } else if (ok && !context->json) {
        struct render_safe safe = render_safe(why.what);
        int used = printf("what has changed since is unknown: ");
        render_wrapped(stdout, safe.text, RENDER_WIDTH, used, 4);
    }
    if (ok) {
        json_array_append_new(links, link_json(&acls, &acls.before, compared ? NULL : why.what));
    }
    acls_done(&acls);
    return ok;
}

static bool ask(const struct acls *acls, struct err *err)
{
    const struct context *context = acls->context;
    const struct acl_sync_plan *plan = &acls->plan;
    char question[600];
    snprintf(question, sizeof(question),
             "ACL sync on %.100s: %zu ACLs are made and %zu are taken away; %zu are withheld until "
             "it is the primary.",
             context->to->name, plan->to_create.count, plan->to_delete.count,
             plan->record.withheld.count);
    return confirm(context->line, question, context->service->name, err);
}

static bool ask_to_remove(const struct acls *acls, struct err *err)
{
    const struct context *context = acls->context;
    char question[600];
    snprintf(
        question, sizeof(question),
        "All that was copied to %.100s is taken away: %zu ACLs. Whoever reads there by them is "
        "refused from then on.",
        context->to->name, acls->before.ours.count);
    return confirm(context->line, question, context->service->name, err);
}

static void print_plan(const struct acls *acls)
{
    print_head(acls, &acls->plan.record);
    print_entries("+", &acls->plan.to_create, NULL);
    print_entries("-", &acls->plan.to_delete, NULL);
    print_entries("not copied:", &acls->plan.left, acls->plan.whys);
}

static bool sync_link(struct context *context, json_t *links, struct err *err)
{
    struct acls acls = {.context = context};
    bool begun = false;
    bool ok = read_record(&acls, err) && compare(&acls, err) && may_alter(&acls, err);
    bool nothing = ok && (command_has(context->line, "dry-run") || up_to_date(&acls));
    if (ok && !context->json) {
        print_plan(&acls);
    }
    ok = ok && (nothing || (ask(&acls, err) && apply(&acls, &begun, err)));
    if (ok || begun) { /* begun and not ended: exit 4 */
        json_array_append_new(links, link_json(&acls, &acls.plan.record, NULL));
    }
    acls_done(&acls);
    return ok;
}

static bool remove_link(struct context *context, json_t *links, struct err *err)
{
    struct acls acls = {.context = context};
    bool begun = false;
    bool ok = read_record(&acls, err) && no_operation(context, acls.state, err) &&
              open_operator(&acls, err) && may_alter(&acls, err);
    bool nothing = ok && acls.state->acls_json == NULL;
    if (ok && !context->json) {
        print_entries("-", &acls.before.ours, NULL);
    }
    ok = ok && (nothing || (ask_to_remove(&acls, err) && forget(&acls, &begun, err)));
    if (ok && !context->json) {
        printf("%s: no copied ACL on %s\n", context->service->name, context->to->name);
    }
    if (ok || begun) {
        const struct acl_sync_record none = {.ours = {.acls = NULL}};
        json_array_append_new(links, link_json(&acls, ok ? &none : &acls.before, NULL));
    }
    acls_done(&acls);
    return ok;
}

int cmd_acls_show(const struct command_line *line)
{
    return links_command(line, show_link);
}

int cmd_acls_sync(const struct command_line *line)
{
    return links_command(line, sync_link);
}

int cmd_acls_remove(const struct command_line *line)
{
    return links_command(line, remove_link);
}
