/* The map as it is stored: one offset translated, in both directions, and the runs. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/render.h"

#define LOG_BEGIN_TIMEOUT_MS 5000 /* the map answers without it */

/* --- translate ---------------------------------------------------------------------------------------------------- */

struct translated {
    const char *topic;
    int32_t partition;
    bool from_target;
    struct translation found;
    int64_t target_begin; /* of the target's log; -1 = unknown */
};

/* The map remembers what the target's retention deleted: what is gone is not "exact". */
static void clamp_to_log(struct context *context, struct translated *translated)
{
    struct translation *found = &translated->found;
    struct admin_offset begin = {
        .topic = translated->topic, .partition = translated->partition, .offset = -1};
    if (context->timeout_ms > LOG_BEGIN_TIMEOUT_MS) {
        context->timeout_ms = LOG_BEGIN_TIMEOUT_MS;
    }
    struct admin *target = context_target(context, NULL);
    bool ok = target != NULL && admin_list_offsets(target, OFFSET_SPEC_EARLIEST, &begin, 1, NULL);
    translated->target_begin = ok && begin.error == 0 ? begin.offset : -1;
    if (!translated->from_target && found->target_offset >= 0 &&
        found->target_offset < translated->target_begin) {
        found->verdict = VERDICT_LOST;
        found->target_offset = translated->target_begin;
    }
}

static void print_json(const struct context *context, const struct translated *translated)
{
    const struct translation *found = &translated->found;
    json_t *out = json_object();
    bool ahead = found->verdict == VERDICT_AHEAD;
    json_object_set_new(out, "service", json_string(context->service->name));
    json_object_set_new(out, "from", json_string(context->from->name));
    json_object_set_new(out, "to", json_string(context->to->name));
    json_object_set_new(out, "topic", json_string(translated->topic));
    json_object_set_new(out, "partition", json_integer(translated->partition));
    json_object_set_new(out, "source_offset", render_int_or_null(found->source_offset));
    json_object_set_new(out, "target_offset", render_int_or_null(found->target_offset));
    json_object_set_new(out, "verdict", json_string(verdict_text(found->verdict)));
    json_object_set_new(out, "ahead_count", render_int_or_null(ahead ? found->ahead_count : -1));
    json_object_set_new(out, "target_begin", render_int_or_null(translated->target_begin));
    render_json(out);
}

static const char *plain(int64_t offset, char out[RENDER_NUMBER_BYTES])
{
    snprintf(out, RENDER_NUMBER_BYTES, offset < 0 ? "unknown" : "%" PRId64, offset);
    return out;
}

static void print_text(const struct context *context, const struct translated *translated)
{
    const struct translation *found = &translated->found;
    char source[RENDER_NUMBER_BYTES];
    char target[RENDER_NUMBER_BYTES];
    printf("%s:%d  source %s  target %s  %s", translated->topic, translated->partition,
           plain(found->source_offset, source), plain(found->target_offset, target),
           verdict_text(found->verdict));
    if (found->verdict == VERDICT_AHEAD) {
        printf(" by %" PRId64, found->ahead_count);
    }
    putchar('\n');
    if (translated->target_begin < 0 && !translated->from_target && !context->quiet) {
        fprintf(stderr, "  where the log on %s begins is unknown: it does not answer\n",
                context->to->name);
    }
}

static bool translate(struct context *context, struct translated *translated, struct err *err)
{
    const struct command_line *line = context->line;
    int64_t partition;
    int64_t offset;
    translated->topic = line->args[1];
    translated->from_target = command_has(line, "from-target");
    if (!context_topic_ok(translated->topic)) {
        return err_set(err, ERR_USAGE, "'%.300s' is no topic's name", translated->topic);
    }
    if (!command_number(line->args[2], "partition", 0, INT32_MAX, &partition, err) ||
        !command_number(line->args[3], "offset", 0, INT64_MAX, &offset, err)) {
        return false;
    }
    translated->partition = (int32_t)partition;
    if (!context_view(context, err) ||
        !offset_view_translate(context->view, translated->topic, translated->partition, offset,
                               translated->from_target, &translated->found, err)) {
        return false;
    }
    clamp_to_log(context, translated);
    return true;
}

int cmd_offsets_translate(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    struct translated translated = {.target_begin = -1};
    int code = EXIT_DONE;
    if (!context_open(&context, line, &err) || !translate(&context, &translated, &err)) {
        code = command_fail(line, &err);
    } else {
        (context.json ? print_json : print_text)(&context, &translated);
        code = translated.found.verdict == VERDICT_UNMAPPED ? EXIT_PARTLY : EXIT_DONE;
    }
    context_close(&context);
    return code;
}

/* --- the runs ------------------------------------------------------------------------------------------------------- */

struct map {
    struct context *context;
    char topic[CONTEXT_TOPIC_BYTES]; /* "" = every */
    int32_t partition;               /* -1 = every */
    int64_t limit;                   /* 0 = all, printed as they come */
    const char *now_topic;           /* of the partition that is read */
    int32_t now_partition;
    struct offset_run *kept; /* the newest `limit`, a ring */
    char (*kept_incarnation)[INCARNATION_BYTES];
    uint64_t seen;
    uint64_t printed;
    uint64_t places;
    struct err *err;
    bool ok;
};

static void print_run(struct map *map, const char *incarnation, const struct offset_run *run)
{
    if (map->context->json) {
        json_t *value = json_pack("{sssisssIsIsI}", "topic", map->now_topic, "partition",
                                  map->now_partition, "incarnation", incarnation, "source_first",
                                  (json_int_t)run->source_first, "target_first",
                                  (json_int_t)run->target_first, "length", (json_int_t)run->length);
        printf(map->printed == 0 ? "\n" : ",\n");
        fputs("    ", stdout);
        json_dumpf(value, stdout, JSON_COMPACT | JSON_SORT_KEYS);
        json_decref(value);
    } else {
        printf("%18" PRId64 " %18" PRId64 " %16" PRId64 "  %s\n", run->source_first,
               run->target_first, run->length, incarnation);
    }
    map->printed++;
}

static bool take_run(void *arg, const char *incarnation, const struct offset_run *run)
{
    struct map *map = arg;
    if (map->limit == 0) {
        print_run(map, incarnation, run);
        return !ferror(stdout);
    }
    size_t at = map->seen++ % (uint64_t)map->limit;
    map->kept[at] = *run;
    snprintf(map->kept_incarnation[at], INCARNATION_BYTES, "%s", incarnation);
    return true;
}

static void print_kept(struct map *map)
{
    uint64_t limit = (uint64_t)map->limit;
    for (uint64_t i = map->seen > limit ? map->seen - limit : 0; i < map->seen; i++) {
        print_run(map, map->kept_incarnation[i % limit], &map->kept[i % limit]);
    }
    if (map->seen > limit && !map->context->json) {
        printf("%" PRIu64 " older runs are not shown: --limit 0\n", map->seen - limit);
    }
}

static bool is_wanted(const struct map *map, const char *topic, int32_t partition)
{
    return context_topic_ok(topic) && (map->topic[0] == '\0' || strcmp(map->topic, topic) == 0) &&
           (map->partition < 0 || map->partition == partition);
}

static bool take_place(void *arg, const char *topic, int32_t partition,
                       const struct checkpoint *checkpoint)
{
    struct map *map = arg;
    if (!is_wanted(map, topic, partition)) {
        return true;
    }
    map->places++;
    map->now_topic = topic;
    map->now_partition = partition;
    map->seen = 0;
    if (!map->context->json) {
        printf("%s:%d, mirrored to source %" PRId64 ", target %" PRId64 "\n", topic, partition,
               checkpoint->source_next, checkpoint->target_next);
        printf("%18s %18s %16s  %s\n", "source first", "target first", "length", "incarnation");
    }
    map->ok =
        offset_view_each_run(map->context->view, topic, partition, NULL, take_run, map, map->err);
    if (map->limit > 0) {
        print_kept(map);
    }
    return map->ok;
}

/* JSON is printed as it comes: ten million runs are not held in memory. */
static bool print_map(struct map *map)
{
    struct context *context = map->context;
    if (context->json) {
        fputs("{\n  \"runs\": [", stdout);
    }
    bool ok = offset_view_each_checkpoint(context->view, take_place, map, map->err) && map->ok;
    if (context->json) {
        printf("%s],\n  \"service\": \"%s\"\n}\n", map->printed == 0 ? "" : "\n  ",
               context->service->name);
    }
    if (ok && map->places == 0) {
        ok =
            err_set(map->err, ERR_REFUSED, "no checkpoint of %s%s on %s",
                    map->topic[0] == '\0' ? "service " : "",
                    map->topic[0] == '\0' ? context->service->name : map->topic, context->to->name);
    }
    return ok;
}

static bool open_map(struct map *map, const struct command_line *line, struct err *err)
{
    struct context *context = map->context;
    if (!context_open(context, line, err) ||
        !command_option_number(line, "limit", 0, 10000000, &map->limit, err) ||
        (line->args_count > 1 && !context_place(line->args[1], map->topic, &map->partition, err))) {
        return false;
    }
    size_t room = (size_t)map->limit + 1;
    map->kept = calloc(room, sizeof(*map->kept));
    map->kept_incarnation = calloc(room, sizeof(*map->kept_incarnation));
    if (map->kept == NULL || map->kept_incarnation == NULL) {
        abort();
    }
    return context_view(context, err);
}

int cmd_offsets_map(const struct command_line *line)
{
    struct context context;
    struct err err = {0};
    struct map map = {.context = &context, .partition = -1, .limit = 1000, .ok = true, .err = &err};
    bool ok = open_map(&map, line, &err) && print_map(&map);
    int code = ok ? EXIT_DONE : command_fail(line, &err);
    free(map.kept);
    free(map.kept_incarnation);
    context_close(&context);
    return code;
}
