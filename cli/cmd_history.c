/* ferry history: what was done with a service, out of the control topics of its sites; one operation step by step. Reads only. */
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/print_report.h"
#include "cli/render.h"
#include "failover/journal.h"
#include "failover/report.h"
#include "kafka/control.h"

#define SITE_MS     5000
#define COLUMNS     6
#define LISTED_MOST 200

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* Every site's operations in one object; a site that does not answer is told of. @return how many sites answered */
static size_t read_sites(struct context *context, json_t *out)
{
    const struct config_service *service = context->service;
    size_t answered = 0;
    for (size_t i = 0; i <= service->others_count; i++) {
        const char *name = i == 0 ? service->home : service->others[i - 1];
        const struct config_site *site = config_site(context->config, name);
        const struct config_client *client = &site->kafka;
        json_t *operations = NULL;
        struct err err = {0};
        int32_t wait_ms = context->timeout_ms < SITE_MS ? context->timeout_ms : SITE_MS;
        struct control_state *state =
            control_read_operations(client, service->name, wait_ms, &operations, &err);
        bool none = state == NULL && err.kind == ERR_REFUSED && err.code == 3; /* no such topic */
        answered += state != NULL || none ? 1 : 0;
        if (state != NULL) {
            json_object_update(out, operations);
        } else if (!none && !context->quiet) {
            fprintf(stderr, "  %s: unknown: %s\n", name, render_safe(err.what).text);
        }
        json_decref(operations);
        control_state_free(state);
    }
    return answered;
}

static const char *text_of(const json_t *record, const char *key)
{
    const char *text = json_string_value(json_object_get(record, key));
    return text == NULL ? "" : text;
}

static int newest_first(const void *a, const void *b)
{
    return strcmp(*(const char *const *)b, *(const char *const *)a);
}

/* Ids, the newest first; they point into `operations`. */
static const char **ids_of(const json_t *operations, size_t *out_count)
{
    const char *key;
    json_t *record;
    const char **ids = calloc(json_object_size(operations) + 1, sizeof(*ids));
    if (ids == NULL) {
        abort();
    }
    *out_count = 0;
    json_object_foreach ((json_t *)(uintptr_t)operations, key, record) {
        if (strncmp(key, "op/", 3) == 0 && strchr(key + 3, '/') == NULL) {
            ids[(*out_count)++] = key + 3;
        }
    }
    qsort(ids, *out_count, sizeof(*ids), newest_first);
    return ids;
}

static json_t *record_of(const json_t *operations, const char *id)
{
    char key[100];
    snprintf(key, sizeof(key), "op/%.90s", id);
    return json_object_get(operations, key);
}

static const char *state_of(const json_t *record)
{
    return json_is_true(json_object_get(record, "open")) ? "open" : text_of(record, "state");
}

/* --- the list ----------------------------------------------------------------------------------------------------- */

static json_t *row_json(const char *id, json_t *record)
{
    json_t *row = json_copy(record);
    json_object_set_new(row, "operation", json_string(id));
    json_object_set_new(row, "state", json_string(state_of(record)));
    json_object_del(row, "beat");
    return row;
}

static void print_list(const json_t *operations, const char *const *ids, size_t count)
{
    const char **cells = calloc((count + 1) * COLUMNS, sizeof(*cells));
    char(*texts)[2][400] = calloc(count + 1, sizeof(*texts));
    if (cells == NULL || texts == NULL) {
        abort();
    }
    const char *head[COLUMNS] = {"OPERATION", "MOVE", "STATE", "SECONDS", "BY", "REASON"};
    memcpy(cells, head, sizeof(head));
    for (size_t i = 0; i < count; i++) {
        json_t *record = record_of(operations, ids[i]);
        json_t *seconds = json_object_get(record, "rto_s");
        const char **row = cells + (i + 1) * COLUMNS;
        snprintf(texts[i][0], sizeof(texts[i][0]), "%.100s > %.100s", text_of(record, "from"),
                 text_of(record, "to"));
        snprintf(texts[i][1], sizeof(texts[i][1]), json_is_number(seconds) ? "%.1f" : "unknown",
                 json_number_value(seconds));
        row[0] = ids[i];
        row[1] = texts[i][0];
        row[2] = state_of(record);
        row[3] = texts[i][1];
        row[4] = text_of(record, "by");
        row[5] = text_of(record, "reason");
    }
    render_table(stdout, cells, COLUMNS, (int)count + 1);
    free(cells);
    free(texts);
}

static void list(const struct context *context, const json_t *operations)
{
    size_t count = 0;
    const char **ids = ids_of(operations, &count);
    count = count < LISTED_MOST ? count : LISTED_MOST;
    if (context->json) {
        json_t *rows = json_array();
        for (size_t i = 0; i < count; i++) {
            json_array_append_new(rows, row_json(ids[i], record_of(operations, ids[i])));
        }
        render_json(json_pack("{ssso}", "service", context->service->name, "operations", rows));
    } else if (count == 0) {
        printf("%s: no operation is recorded\n", context->service->name);
    } else {
        print_list(operations, ids, count);
    }
    free(ids);
}

/* --- one of them -------------------------------------------------------------------------------------------------- */

static void print_steps(const json_t *operations, const char *id)
{
    char prefix[100];
    const char *key;
    json_t *record;
    size_t len = (size_t)snprintf(prefix, sizeof(prefix), "op/%.80s/", id);
    json_object_foreach ((json_t *)(uintptr_t)operations, key, record) {
        if (strncmp(key, prefix, len) == 0 && strchr(key + len, '/') == NULL) {
            char line[300];
            snprintf(line, sizeof(line), "  %-12.40s %-8.20s %s", key + len,
                     text_of(record, "state"), text_of(record, "began"));
            puts(render_safe(line).text);
        }
    }
}

static bool one(const struct context *context, const json_t *operations, const char *id,
                struct err *err)
{
    json_t *record = record_of(operations, id);
    if (record == NULL) {
        err_set(err, ERR_USAGE, "no operation '%.64s' of %s is recorded", id,
                context->service->name);
        return err_hint(err, "ferry history %s", context->service->name);
    }
    json_t *report = report_kept(operations, id);
    if (context->json) {
        json_t *row = row_json(id, record);
        json_object_set_new(row, "report", report == NULL ? json_null() : json_incref(report));
        render_json(row);
    } else if (report != NULL) {
        print_report(report);
    } else {
        printf("%s %s > %s by %s since %s: %s%s%s\n", text_of(record, "kind"),
               text_of(record, "from"), text_of(record, "to"),
               render_safe(text_of(record, "by")).text, text_of(record, "began"), state_of(record),
               text_of(record, "step")[0] == '\0' ? "" : " at ", text_of(record, "step"));
        print_steps(operations, id);
    }
    json_decref(report);
    return true;
}

int cmd_history(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    json_t *operations = json_object();
    bool ok = context_service(&context, line, &err);
    if (ok && read_sites(&context, operations) == 0) {
        ok = err_set(&err, ERR_RETRY, "no site of %s answers", context.service->name);
    }
    if (ok && line->args_count > 1) {
        ok = one(&context, operations, line->args[1], &err);
    } else if (ok) {
        list(&context, operations);
    }
    int code = ok ? EXIT_DONE : command_fail(line, &err);
    json_decref(operations);
    context_close(&context);
    return code;
}
