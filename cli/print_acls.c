/* `ferry check --print-acls`: lines to run, by somebody who may alter ACLs. Nothing is asked but which topics there are. */
#include <stdlib.h>
#include <string.h>

#include "cli/check.h"
#include "cli/permissions.h"
#include "cli/render.h"

struct printed {
    struct context *context;
    struct permissions permissions;
    json_t *rows; /* -o json */
};

/* --- names -------------------------------------------------------------------------------------------------------- */

/* "alice" as "User:alice", as kafka-acls wants it. */
static void name_principal(const char *given, const struct config_client *client,
                           char out[ACL_PRINCIPAL_BYTES], json_t *notes)
{
    if (given != NULL) {
        snprintf(out, ACL_PRINCIPAL_BYTES, "%s%s", strchr(given, ':') == NULL ? "User:" : "",
                 given);
    } else if (!acl_principal(client, out)) {
        json_array_append_new(notes, json_string("the name of a principal (User:?) cannot be read "
                                                 "here: give --principal, --operator-principal"));
    }
}

static const char *principal_of(const struct printed *printed, enum permission_role role,
                                char out[ACL_PRINCIPAL_BYTES])
{
    const struct context *context = printed->context;
    const struct command_line *line = context->line;
    json_t *notes = printed->permissions.notes;
    if (role == PERMISSION_SOURCE) {
        name_principal(command_get(line, "principal"), &context->from->kafka, out, notes);
    } else if (role == PERMISSION_TARGET) {
        name_principal(command_get(line, "principal"), &context->to->kafka, out, notes);
    } else {
        name_principal(command_get(line, "operator-principal"), context->to->operator_kafka, out,
                       notes);
    }
    return out;
}

static const struct config_site *site_of(const struct printed *printed, enum permission_role role)
{
    return role == PERMISSION_SOURCE ? printed->context->from : printed->context->to;
}

/* --- one line ----------------------------------------------------------------------------------------------------- */

static bool same_resource(const struct permission *a, const struct permission *b)
{
    return a->role == b->role && a->resource == b->resource && a->pattern == b->pattern &&
           strcmp(a->name, b->name) == 0;
}

/* Of row `first` and every later one about the same resource, or of this one alone. */
static char *command_text(const struct printed *printed, size_t first, bool alone,
                          const char *principal)
{
    const struct permissions *all = &printed->permissions;
    const struct permission *row = &all->rows[first];
    const char *servers =
        config_client_get(&site_of(printed, row->role)->kafka, "bootstrap.servers");
    char *out = NULL;
    size_t room = 0;
    FILE *stream = open_memstream(&out, &room);
    if (stream == NULL) {
        abort();
    }
    char *quoted_servers = permissions_quote(servers);
    char *who = permissions_quote(principal);
    char *name = permissions_quote(row->name);
    fprintf(stream,
            "kafka-acls --bootstrap-server %s --command-config admin.properties --add "
            "--allow-principal %s",
            quoted_servers, who);
    for (size_t i = first; i < all->count; i++) {
        if (i == first || (!alone && same_resource(row, &all->rows[i]))) {
            fprintf(stream, " --operation %s", acl_operation_name(all->rows[i].operation));
        }
    }
    if (row->resource == ACL_CLUSTER) {
        fputs(" --cluster", stream);
    } else {
        fprintf(stream, " --%s %s", acl_resource_name(row->resource), name);
    }
    if (row->pattern == ACL_PREFIXED) {
        fputs(" --resource-pattern-type prefixed", stream);
    }
    fclose(stream);
    free(name);
    free(who);
    free(quoted_servers);
    return out;
}

static bool is_first(const struct permissions *all, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (same_resource(&all->rows[i], &all->rows[at])) {
            return false;
        }
    }
    return true;
}

/* --- everything --------------------------------------------------------------------------------------------------- */

static void print_role(struct printed *printed, enum permission_role role)
{
    static const char *const words[] = {"the mirror reads", "the mirror writes", "the operator"};
    const struct permissions *all = &printed->permissions;
    char principal[ACL_PRINCIPAL_BYTES];
    bool head = false;
    for (size_t i = 0; i < all->count; i++) {
        if (all->rows[i].role != role) {
            continue;
        }
        if (!head) {
            principal_of(printed, role, principal);
            if (!printed->context->json) {
                printf("# %s: %s (%s)\n", site_of(printed, role)->name, words[role], principal);
            }
            head = true;
        }
        char *text = command_text(printed, i, printed->context->json, principal);
        if (printed->context->json) {
            json_array_append_new(
                printed->rows,
                json_pack(
                    "{sssssssssssssOss}", "site", site_of(printed, role)->name, "principal",
                    principal, "resource", acl_resource_name(all->rows[i].resource), "pattern",
                    acl_pattern_name(all->rows[i].pattern), "name", all->rows[i].name, "operation",
                    acl_operation_name(all->rows[i].operation), "operator",
                    role == PERMISSION_OPERATOR ? json_true() : json_false(), "command", text));
        } else if (is_first(all, i)) {
            puts(text);
        }
        free(text);
    }
}

/* Names for the patterns that no ACL can say; without an answer there are none, and that is noted. */
static void list_permissions(struct printed *printed)
{
    struct context *context = printed->context;
    struct admin_topic *topics = NULL;
    size_t count = 0;
    struct err err = {0};
    struct admin *source = context_source(context, &err);
    bool ok = source != NULL && admin_list_topics(source, &topics, &count, &err);
    const char **names = calloc(count + 1, sizeof(*names));
    if (names == NULL) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        names[i] = topics[i].name;
    }
    permissions_list(&printed->permissions, context->service, context->from, context->to, names,
                     count);
    if (!ok) {
        char note[600];
        snprintf(note, sizeof(note), "%.100s did not say which topics there are (%.300s)",
                 context->from->name, err.what);
        json_array_append_new(printed->permissions.notes, render_string(note));
    }
    free(names);
    free(topics);
}

void print_acls(struct context *context, json_t *links)
{
    struct printed printed = {.context = context, .rows = json_array()};
    char *redis = context->to->redis == NULL
                      ? NULL
                      : permissions_redis_line(context->to->redis, context->service->name);
    size_t index;
    json_t *note;
    list_permissions(&printed);
    if (!context->json) {
        printf("# %s  %s > %s\n", context->service->name, context->from->name, context->to->name);
    }
    for (int role = 0; role < PERMISSION_ROLES_COUNT; role++) {
        print_role(&printed, (enum permission_role)role);
    }
    if (redis != NULL && !context->json) {
        printf("# Redis at %s, in redis-cli (PASSWORD is yours to choose)\n%s\n", context->to->name,
               redis);
    }
    json_array_foreach (printed.permissions.notes, index, note) {
        if (!context->json) {
            struct render_safe safe = render_safe(json_string_value(note));
            printf("# note: %s\n", safe.text);
        }
    }
    json_array_append_new(links, json_pack("{sssssOsoso}", "from", context->from->name, "to",
                                           context->to->name, "acls", printed.rows, "redis",
                                           redis == NULL ? json_null() : json_string(redis),
                                           "notes", json_incref(printed.permissions.notes)));
    json_decref(printed.rows);
    permissions_free(&printed.permissions);
    free(redis);
}
