/* What groups have committed at the source, where that is at the target, and what stands there: as the keeper left it in Redis. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/render.h"
#include "offsets/group_view.h"
#include "offsets/hint.h"
#include "offsets/offset_script.h"

#define ROWS_MAX 1000000 /* more places than a keeper keeps */
#define COLUMNS  8

struct row {
    char *group;
    char topic[CONTEXT_TOPIC_BYTES];
    int32_t partition;
    struct group_entry kept;
    int64_t likely; /* records that it would read again in a failover now; -1 = unknown */
    int64_t most;   /* and at most */
};

struct mirrored { /* how far a partition is */
    char topic[CONTEXT_TOPIC_BYTES];
    int32_t partition;
    int64_t target_next;
    int64_t time_ms;
};

struct show {
    struct context context;
    const char *group; /* NULL = all */
    struct row *rows;
    size_t count;
    size_t room;
    size_t strangers;
    struct mirrored *parts; /* by place */
    size_t parts_count;
    size_t parts_room;
    int64_t looked_ms; /* wall clock: the source's commits were read last; -1 = unknown */
    bool lately;
    int64_t alive_ms; /* wall clock: the newest checkpoint */
};

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void take(void *arg, const char *group, const char *topic, int32_t partition,
                 struct group_entry *entry)
{
    struct show *show = arg;
    struct row row = {.partition = partition, .kept = *entry, .likely = -1, .most = -1};
    if ((show->group != NULL && strcmp(show->group, group) != 0) || show->count >= ROWS_MAX) {
        return;
    }
    if (show->count == show->room) {
        show->room = show->room == 0 ? 64 : show->room * 2;
        show->rows = must(reallocarray(show->rows, show->room, sizeof(*show->rows)));
    }
    entry->metadata = NULL; /* the row's now */
    row.group = must(strdup(group));
    snprintf(row.topic, sizeof(row.topic), "%s", topic);
    show->rows[show->count++] = row;
}

static int by_place(const void *a, const void *b)
{
    const struct row *of_a = a;
    const struct row *of_b = b;
    int order = strcmp(of_a->group, of_b->group);
    order = order != 0 ? order : strcmp(of_a->topic, of_b->topic);
    return order != 0 ? order
                      : (of_a->partition > of_b->partition) - (of_a->partition < of_b->partition);
}

/* HSCAN may tell of a field twice. */
static void sort_rows(struct show *show)
{
    size_t kept = 0;
    if (show->count > 0) {
        qsort(show->rows, show->count, sizeof(*show->rows), by_place);
    }
    for (size_t i = 0; i < show->count; i++) {
        if (kept > 0 && by_place(&show->rows[kept - 1], &show->rows[i]) == 0) {
            group_entry_done(&show->rows[i].kept);
            free(show->rows[i].group);
        } else {
            show->rows[kept++] = show->rows[i];
        }
    }
    show->count = kept;
}

static int by_part(const void *a, const void *b)
{
    const struct mirrored *of_a = a;
    const struct mirrored *of_b = b;
    int order = strcmp(of_a->topic, of_b->topic);
    return order != 0 ? order
                      : (of_a->partition > of_b->partition) - (of_a->partition < of_b->partition);
}

static bool take_part(void *arg, const char *topic, int32_t partition,
                      const struct checkpoint *checkpoint)
{
    struct show *show = arg;
    if (show->parts_count == show->parts_room) {
        show->parts_room = show->parts_room == 0 ? 64 : show->parts_room * 2;
        show->parts = must(reallocarray(show->parts, show->parts_room, sizeof(*show->parts)));
    }
    struct mirrored *part = &show->parts[show->parts_count++];
    *part = (struct mirrored){.partition = partition,
                              .target_next = checkpoint->target_next,
                              .time_ms = checkpoint->time_ms};
    snprintf(part->topic, sizeof(part->topic), "%s", topic);
    show->alive_ms = part->time_ms > show->alive_ms ? part->time_ms : show->alive_ms;
    return true;
}

/* As offsets/hint.h bounds it without the map. */
static void count_again(const struct show *show, struct row *row)
{
    struct mirrored key = {.partition = row->partition};
    snprintf(key.topic, sizeof(key.topic), "%s", row->topic);
    const struct mirrored *part =
        show->parts_count == 0
            ? NULL
            : bsearch(&key, show->parts, show->parts_count, sizeof(*show->parts), by_part);
    const struct group_facts *facts = &row->kept.facts;
    if (part == NULL || facts->target_offset < 0 || facts->source_offset < 0) {
        return;
    }
    const struct hint_place what = {.from = facts->target_offset,
                                    .mirrored_end = part->target_next,
                                    .source_offset = facts->source_offset,
                                    .source_limit = facts->limit,
                                    .limit_holds = show->lately,
                                    .pace = facts->pace,
                                    .read_ms = facts->read_ms,
                                    .looked_ms = show->looked_ms,
                                    .alive_ms = show->alive_ms};
    struct hint hint;
    hint_find(&what, NULL, 0, 0, &hint);
    row->likely = hint.likely_until - hint.from;
    row->most = hint.until - hint.from;
    hint_done(&hint);
}

/* What cannot be read is unknown. */
static void read_again(struct show *show, const char *base)
{
    show->looked_ms = show->alive_ms = -1;
    if (!context_view(&show->context, NULL) ||
        !offset_view_each_checkpoint(show->context.view, take_part, show, NULL) ||
        !group_view_read_ms(show->context.redis, base, &show->looked_ms, NULL) ||
        !group_view_lately(show->context.redis, base, &show->lately, NULL)) {
        return;
    }
    if (show->parts_count > 0) {
        qsort(show->parts, show->parts_count, sizeof(*show->parts), by_part);
    }
    for (size_t i = 0; i < show->count; i++) {
        count_again(show, &show->rows[i]);
    }
}

static bool read_rows(struct show *show, struct err *err)
{
    bool ok = context_redis(&show->context, err);
    if (ok) {
        char *base = offset_base_key(show->context.to->redis->prefix, show->context.service->name,
                                     show->context.from->name, show->context.to->name);
        ok = group_view_each(show->context.redis, base, take, show, &show->strangers, err) ||
             context_redis_failed(&show->context, err);
        if (ok) {
            read_again(show, base);
        }
        free(base);
    }
    sort_rows(show);
    if (ok && show->count == 0) {
        ok = err_set(err, ERR_REFUSED, "no offset of %s%.200s is kept at %s",
                     show->group == NULL ? "any group" : "group ",
                     show->group == NULL ? "" : show->group, show->context.to->name);
        err_hint(err, "services.%.80s.groups names groups; a keeper reads them each second",
                 show->context.service->name);
    }
    return ok;
}

/* --- showing ------------------------------------------------------------------------------------------------------ */

static json_t *row_json(const struct row *row)
{
    const struct group_facts *facts = &row->kept.facts;
    json_t *out = json_object();
    json_object_set_new(out, "group", render_string(row->group));
    json_object_set_new(out, "topic", render_string(row->topic));
    json_object_set_new(out, "partition", json_integer(row->partition));
    json_object_set_new(out, "source_offset", render_int_or_null(facts->source_offset));
    json_object_set_new(out, "target_offset", render_int_or_null(facts->target_offset));
    json_object_set_new(out, "verdict", json_string(verdict_text(facts->verdict)));
    json_object_set_new(out, "count", json_integer(facts->count));
    json_object_set_new(out, "reread_likely", render_int_or_null(row->likely));
    json_object_set_new(out, "reread_most", render_int_or_null(row->most));
    json_object_set_new(out, "held",
                        facts->hold == GROUP_FREE ? json_null()
                                                  : json_string(group_hold_name(facts->hold)));
    json_object_set_new(out, "committed", render_int_or_null(facts->committed));
    json_object_set_new(out, "committed_time",
                        render_time_or_null(row->kept.time_ms > 0 ? row->kept.time_ms : -1));
    json_object_set_new(out, "metadata",
                        row->kept.metadata == NULL ? json_null()
                                                   : render_string(row->kept.metadata));
    return out;
}

static void print_json(const struct show *show)
{
    json_t *out = json_object();
    json_t *rows = json_array();
    for (size_t i = 0; i < show->count; i++) {
        json_array_append_new(rows, row_json(&show->rows[i]));
    }
    json_object_set_new(out, "service", json_string(show->context.service->name));
    json_object_set_new(out, "from", json_string(show->context.from->name));
    json_object_set_new(out, "to", json_string(show->context.to->name));
    json_object_set_new(out, "offsets", rows);
    render_json(out);
}

static const char *offset_text(int64_t offset, const char *none, char out[RENDER_NUMBER_BYTES])
{
    if (offset < 0) {
        return none;
    }
    snprintf(out, RENDER_NUMBER_BYTES, "%" PRId64, offset);
    return out;
}

static char *verdict_cell(const struct group_facts *facts)
{
    char *text = NULL;
    int len = facts->verdict == VERDICT_AHEAD || facts->verdict == VERDICT_LOST
                  ? asprintf(&text, "%s %" PRId64, verdict_text(facts->verdict), facts->count)
                  : asprintf(&text, "%s", verdict_text(facts->verdict));
    if (len < 0) {
        abort();
    }
    return text;
}

static void fill_row(const struct row *row, char *cells[COLUMNS])
{
    const struct group_facts *facts = &row->kept.facts;
    char number[RENDER_NUMBER_BYTES];
    char place[CONTEXT_TOPIC_BYTES + 16];
    snprintf(place, sizeof(place), "%s:%" PRId32, row->topic, row->partition);
    cells[0] = must(strdup(render_safe(row->group).text));
    cells[1] = must(strdup(render_safe(place).text));
    cells[2] = must(strdup(offset_text(facts->source_offset, "gone", number)));
    cells[3] = must(strdup(offset_text(facts->target_offset, "unknown", number)));
    cells[4] = verdict_cell(facts);
    cells[5] =
        must(strdup(facts->hold == GROUP_FREE ? (facts->committed >= 0 ? "committed" : "not yet")
                                              : group_hold_name(facts->hold)));
    cells[6] = must(strdup(offset_text(row->likely, "unknown", number)));
    cells[7] = must(strdup(offset_text(row->most, "unknown", number)));
}

static void print_text(const struct show *show)
{
    static const char *const head[COLUMNS] = {"group",   "partition",     "source", "target",
                                              "verdict", "at the target", "again",  "at most"};
    size_t cells_count = (show->count + 1) * COLUMNS;
    char **cells = must(calloc(cells_count, sizeof(*cells)));
    for (size_t i = 0; i < COLUMNS; i++) {
        cells[i] = must(strdup(head[i]));
    }
    for (size_t i = 0; i < show->count; i++) {
        fill_row(&show->rows[i], cells + (i + 1) * COLUMNS);
    }
    render_table(stdout, (const char *const *)cells, COLUMNS, (int)show->count + 1);
    for (size_t i = 0; i < cells_count; i++) {
        free(cells[i]);
    }
    free(cells);
    if (show->strangers > 0 && !show->context.quiet) {
        fprintf(stderr, "  %zu fields of that hash are none of Ferry's\n", show->strangers);
    }
}

int cmd_offsets_show(const struct command_line *line)
{
    struct err err = {0};
    struct show show = {.group = line->args_count > 1 ? line->args[1] : NULL};
    int code = EXIT_DONE;
    if (!context_open(&show.context, line, &err) || !read_rows(&show, &err)) {
        code = command_fail(line, &err);
    } else {
        (show.context.json ? print_json : print_text)(&show);
        for (size_t i = 0; i < show.count; i++) {
            bool unknown = show.rows[i].kept.facts.verdict == VERDICT_UNMAPPED;
            code = unknown ? EXIT_PARTLY : code;
        }
    }
    for (size_t i = 0; i < show.count; i++) {
        group_entry_done(&show.rows[i].kept);
        free(show.rows[i].group);
    }
    free(show.rows);
    free(show.parts);
    context_close(&show.context);
    return code;
}
