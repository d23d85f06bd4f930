#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/render.h"

static bool translate(struct context *context, const char *topic, int32_t partition, int64_t offset,
                      bool from_target, struct err *err)
{
    struct translation found;
    if (!context_view(context, err) ||
        !offset_view_translate(context->view, topic, partition, offset, from_target, &found, err)) {
        return false;
    }
    if (context->json) {
        json_t *source = found.source_offset < 0 ? json_null() : json_integer(found.source_offset);
        json_t *target = found.target_offset < 0 ? json_null() : json_integer(found.target_offset);
        render_json(json_pack("{sssssisosossso}", "service", context->service->name, "topic", topic,
                              "partition", partition, "source_offset", source, "target_offset",
                              target, "verdict", verdict_text(found.verdict), "ahead_count",
                              found.verdict == VERDICT_AHEAD ? json_integer(found.ahead_count)
                                                             : json_null()));
        return true;
    }
    char source[RENDER_NUMBER_BYTES] = "unknown";
    char target[RENDER_NUMBER_BYTES] = "unknown";
    if (found.source_offset >= 0) {
        snprintf(source, sizeof(source), "%" PRId64, found.source_offset);
    }
    if (found.target_offset >= 0) {
        snprintf(target, sizeof(target), "%" PRId64, found.target_offset);
    }
    printf("%s:%d  source %s  target %s  %s", topic, partition, source, target,
           verdict_text(found.verdict));
    if (found.verdict == VERDICT_AHEAD) {
        printf(" by %" PRId64, found.ahead_count);
    }
    putchar('\n');
    return true;
}

int cmd_offsets_translate(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    int64_t partition;
    int64_t offset;
    bool ok = context_open(&context, line, &err) &&
              command_number(line->args[2], "partition", 0, INT32_MAX, &partition, &err) &&
              command_number(line->args[3], "offset", 0, INT64_MAX, &offset, &err) &&
              translate(&context, line->args[1], (int32_t)partition, offset,
                        command_has(line, "from-target"), &err);
    int code = ok ? EXIT_DONE : command_fail(&err);
    context_close(&context);
    return code;
}

/* --- the runs ------------------------------------------------------------------------------------------------------- */

struct map_rows {
    json_t *list;
    const char *topic;
    int32_t partition;
    size_t limit; /* 0 = all */
};

static bool add_run(void *arg, const char *incarnation, const struct offset_run *run)
{
    struct map_rows *rows = arg;
    json_array_append_new(rows->list, json_pack("{sssisssIsIsI}", "topic", rows->topic, "partition",
                                                rows->partition, "incarnation", incarnation,
                                                "source_first", (json_int_t)run->source_first,
                                                "target_first", (json_int_t)run->target_first,
                                                "length", (json_int_t)run->length));
    if (rows->limit > 0 && json_array_size(rows->list) > rows->limit) {
        json_array_remove(rows->list, 0);
    }
    return true;
}

struct map_places {
    struct context *context;
    const char *topic; /* NULL = every */
    int32_t partition; /* -1 = every */
    size_t limit;
    json_t *all;
    bool ok;
    struct err *err;
};

static bool add_place(void *arg, const char *topic, int32_t partition,
                      const struct checkpoint *checkpoint)
{
    struct map_places *places = arg;
    (void)checkpoint;
    if ((places->topic != NULL && strcmp(places->topic, topic) != 0) ||
        (places->partition >= 0 && places->partition != partition)) {
        return true;
    }
    struct map_rows rows = {
        .list = json_array(), .topic = topic, .partition = partition, .limit = places->limit};
    places->ok = offset_view_each_run(places->context->view, topic, partition, NULL, add_run, &rows,
                                      places->err);
    json_array_extend(places->all, rows.list);
    json_decref(rows.list);
    return places->ok;
}

static void print_runs(const json_t *runs)
{
    size_t index;
    json_t *run;
    printf("%-32s %10s %16s %16s %16s\n", "topic:partition", "", "source first", "target first",
           "length");
    json_array_foreach (runs, index, run) {
        char place[300];
        snprintf(place, sizeof(place), "%s:%lld", json_string_value(json_object_get(run, "topic")),
                 (long long)json_integer_value(json_object_get(run, "partition")));
        printf("%-43s %16lld %16lld %16lld\n", place,
               (long long)json_integer_value(json_object_get(run, "source_first")),
               (long long)json_integer_value(json_object_get(run, "target_first")),
               (long long)json_integer_value(json_object_get(run, "length")));
    }
}

int cmd_offsets_map(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    char topic[250] = "";
    int64_t limit = 1000;
    struct map_places places = {
        .context = &context, .partition = -1, .all = json_array(), .ok = true, .err = &err};
    const char *limit_text = command_get(line, "limit");
    bool ok =
        context_open(&context, line, &err) &&
        (limit_text == NULL || command_number(limit_text, "--limit", 0, INT64_MAX, &limit, &err));
    if (ok && line->args_count > 1 && strchr(line->args[1], ':') != NULL) {
        ok = context_place(line->args[1], topic, &places.partition, &err);
        places.topic = topic;
    } else if (ok && line->args_count > 1) {
        places.topic = line->args[1];
    }
    places.limit = (size_t)limit;
    ok = ok && context_view(&context, &err) &&
         offset_view_each_checkpoint(context.view, add_place, &places, &err) && places.ok;
    if (ok && context.json) {
        render_json(json_pack("{sssO}", "service", context.service->name, "runs", places.all));
    } else if (ok) {
        print_runs(places.all);
    }
    json_decref(places.all);
    int code = ok ? EXIT_DONE : command_fail(&err);
    context_close(&context);
    return code;
}
