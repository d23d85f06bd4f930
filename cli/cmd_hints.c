/* Which records a group may have processed already: what was published, asked for by group or by record. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "cli/commands.h"
#include "cli/hints.h"
#include "cli/render.h"

#define COLUMNS      6
#define SEEN_COLUMNS 3

static void warn_strange(const struct context *context, const struct hints *hints)
{
    if (hints->strange > 0 && !context->quiet) {
        fprintf(stderr, "  %zu values are none of Ferry's\n", hints->strange);
    }
}

static json_t *place_json(const struct hints_place *place)
{
    json_t *out = hint_json(&place->hint);
    json_object_set_new(out, "topic", render_string(place->topic));
    json_object_set_new(out, "partition", json_integer(place->partition));
    json_object_set_new(out, "verdict", render_string(place->verdict));
    json_object_set_new(out, "reread_likely",
                        json_integer(place->hint.likely_until - place->hint.from));
    json_object_set_new(out, "reread_most", json_integer(place->hint.until - place->hint.from));
    json_object_set_new(out, "read", render_time_or_null(place->hint.read_ms));
    return out;
}

static json_t *group_json(const struct hints_group *group)
{
    json_t *out = json_object();
    json_t *places = json_array();
    for (size_t i = 0; i < group->count; i++) {
        json_array_append_new(places, place_json(&group->places[i]));
    }
    json_object_set_new(out, "group", render_string(group->name));
    json_object_set_new(out, "operation", render_string(group->origin.operation));
    json_object_set_new(out, "cluster", render_string(group->origin.cluster));
    json_object_set_new(out, "cut", render_time_or_null(group->origin.cut_ms));
    json_object_set_new(out, "places", places);
    return out;
}

static void print_json(const struct context *context, const struct hints *hints)
{
    json_t *out = json_object();
    json_t *groups = json_array();
    for (size_t i = 0; i < hints->count; i++) {
        json_array_append_new(groups, group_json(&hints->groups[i]));
    }
    json_object_set_new(out, "service", json_string(context->service->name));
    json_object_set_new(out, "from", json_string(context->from->name));
    json_object_set_new(out, "to", json_string(context->to->name));
    json_object_set_new(out, "origin", json_string(hints->from));
    json_object_set_new(out, "groups", groups);
    render_json(out);
}

static char *number(int64_t value)
{
    char *out = NULL;
    if (asprintf(&out, "%" PRId64, value) < 0) {
        abort();
    }
    return out;
}

static void fill(char **cells, const struct hints_group *group, const struct hints_place *place)
{
    char where[CONTEXT_TOPIC_BYTES + 16];
    const struct hint *hint = &place->hint;
    snprintf(where, sizeof(where), "%s:%" PRId32, place->topic, place->partition);
    cells[0] = must(strdup(render_safe(group->name).text));
    cells[1] = must(strdup(render_safe(where).text));
    cells[2] = number(hint->from);
    cells[3] = number(hint->likely_until);
    cells[4] = number(hint->until);
    cells[5] = must(strdup(render_safe(place->verdict).text));
}

static void print_text(const struct context *context, const struct hints *hints)
{
    static const char *const head[COLUMNS] = {"group",        "partition", "from",
                                              "likely until", "until",     "commit"};
    size_t rows = 1;
    for (size_t i = 0; i < hints->count; i++) {
        rows += hints->groups[i].count;
    }
    char **cells = must(calloc(rows * COLUMNS, sizeof(*cells)));
    char **at = cells + COLUMNS;
    for (size_t i = 0; i < COLUMNS; i++) {
        cells[i] = must(strdup(head[i]));
    }
    for (size_t i = 0; i < hints->count; i++) {
        for (size_t j = 0; j < hints->groups[i].count; j++, at += COLUMNS) {
            fill(at, &hints->groups[i], &hints->groups[i].places[j]);
        }
    }
    char time[RENDER_TIME_BYTES];
    const struct hint_origin *origin = &hints->groups[0].origin;
    printf("operation %s, cut at %s, source cluster %s\n", render_safe(origin->operation).text,
           render_time(origin->cut_ms, time), render_safe(origin->cluster).text);
    if (strcmp(hints->from, "now") == 0) {
        printf("nothing of this is published: it is how it would be now\n");
    }
    render_table(stdout, (const char *const *)cells, COLUMNS, (int)rows);
    for (size_t i = 0; i < rows * COLUMNS; i++) {
        free(cells[i]);
    }
    free(cells);
    warn_strange(context, hints);
}

int cmd_hints(const struct command_line *line)
{
    struct err err = {0};
    struct context context;
    struct hints hints = {0};
    const char *group = line->args_count > 1 ? line->args[1] : NULL;
    int code = EXIT_DONE;
    if (!context_open(&context, line, &err) ||
        !hints_read(&context, group, command_has(line, "now"), &hints, &err)) {
        code = command_fail(line, &err);
    } else {
        (context.json ? print_json : print_text)(&context, &hints);
    }
    hints_free(&hints);
    context_close(&context);
    return code;
}

/* --- one record --------------------------------------------------------------------------------------------------- */

struct seen {
    struct context context;
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t source_offset; /* -1 = unknown */
    char cluster[HINT_CLUSTER_BYTES];
    struct hints hints;
};

static const struct hints_place *place_in(const struct seen *seen, const struct hints_group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        if (group->places[i].partition == seen->partition &&
            strcmp(group->places[i].topic, seen->topic) == 0) {
            return &group->places[i];
        }
    }
    return NULL;
}

/* By a hint that tells, else by the map. */
static void find_source(struct seen *seen)
{
    struct translation found;
    for (size_t i = 0; i < seen->hints.count && seen->source_offset < 0; i++) {
        const struct hints_group *group = &seen->hints.groups[i];
        const struct hints_place *place = place_in(seen, group);
        snprintf(seen->cluster, sizeof(seen->cluster), "%s", group->origin.cluster);
        if (place != NULL && !hint_source(&place->hint, seen->offset, &seen->source_offset)) {
            seen->source_offset = -1;
        }
    }
    if (seen->source_offset < 0 && context_view(&seen->context, NULL) &&
        offset_view_translate(seen->context.view, seen->topic, seen->partition, seen->offset, true,
                              &found, NULL) &&
        found.verdict == VERDICT_EXACT) {
        seen->source_offset = found.source_offset;
    }
}

static const char *seen_text(const struct seen *seen, const struct hints_group *group)
{
    const struct hints_place *place = place_in(seen, group);
    return place == NULL ? "unknown" : hint_seen_text(hint_seen(&place->hint, seen->offset));
}

static void seen_json(const struct seen *seen)
{
    json_t *out = json_object();
    json_t *groups = json_array();
    for (size_t i = 0; i < seen->hints.count; i++) {
        const struct hints_group *group = &seen->hints.groups[i];
        json_t *row = json_object();
        json_object_set_new(row, "group", render_string(group->name));
        json_object_set_new(row, "operation", render_string(group->origin.operation));
        json_object_set_new(row, "seen", json_string(seen_text(seen, group)));
        json_array_append_new(groups, row);
    }
    json_object_set_new(out, "service", json_string(seen->context.service->name));
    json_object_set_new(out, "topic", json_string(seen->topic));
    json_object_set_new(out, "partition", json_integer(seen->partition));
    json_object_set_new(out, "target_offset", json_integer(seen->offset));
    json_object_set_new(out, "source_cluster", render_string(seen->cluster));
    json_object_set_new(out, "source_offset", render_int_or_null(seen->source_offset));
    json_object_set_new(out, "groups", groups);
    render_json(out);
}

static void seen_print(const struct seen *seen)
{
    static const char *const head[SEEN_COLUMNS] = {"group", "processed already?", "operation"};
    size_t rows = seen->hints.count + 1;
    char **cells = must(calloc(rows * SEEN_COLUMNS, sizeof(*cells)));
    for (size_t i = 0; i < SEEN_COLUMNS; i++) {
        cells[i] = must(strdup(head[i]));
    }
    for (size_t i = 0; i < seen->hints.count; i++) {
        char **at = cells + (i + 1) * SEEN_COLUMNS;
        const struct hints_group *group = &seen->hints.groups[i];
        at[0] = must(strdup(render_safe(group->name).text));
        at[1] = must(strdup(seen_text(seen, group)));
        at[2] = must(strdup(render_safe(group->origin.operation).text));
    }
    if (seen->source_offset >= 0) {
        printf("%s/%s/%" PRId32 "/%" PRId64 " at the source\n", render_safe(seen->cluster).text,
               seen->topic, seen->partition, seen->source_offset);
    } else {
        printf("which record of the source that is, is not known\n");
    }
    render_table(stdout, (const char *const *)cells, SEEN_COLUMNS, (int)rows);
    for (size_t i = 0; i < rows * SEEN_COLUMNS; i++) {
        free(cells[i]);
    }
    free(cells);
    warn_strange(&seen->context, &seen->hints);
}

static bool seen_read(struct seen *seen, struct err *err)
{
    const struct command_line *line = seen->context.line;
    int64_t partition;
    seen->topic = line->args[1];
    if (!context_topic_ok(seen->topic)) {
        return err_set(err, ERR_USAGE, "'%.300s' is no topic's name", seen->topic);
    }
    if (!command_number(line->args[2], "partition", 0, INT32_MAX, &partition, err) ||
        !command_number(line->args[3], "offset", 0, INT64_MAX, &seen->offset, err)) {
        return false;
    }
    seen->partition = (int32_t)partition;
    seen->source_offset = -1;
    if (!hints_read(&seen->context, NULL, command_has(line, "now"), &seen->hints, err)) {
        return false;
    }
    find_source(seen);
    return true;
}

int cmd_hints_seen(const struct command_line *line)
{
    struct err err = {0};
    struct seen seen = {.cluster = "unknown"};
    int code = EXIT_DONE;
    if (!context_open(&seen.context, line, &err) || !seen_read(&seen, &err)) {
        code = command_fail(line, &err);
    } else {
        (seen.context.json ? seen_json : seen_print)(&seen);
    }
    hints_free(&seen.hints);
    context_close(&seen.context);
    return code;
}
