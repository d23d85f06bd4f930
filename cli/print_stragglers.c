#include "cli/print_stragglers.h"

#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "cli/render.h"
#include "failover/stragglers.h"

#define COLUMNS       4
#define NAMED_GROUPS  8 /* in a line of a report */
#define NAMED_PARTS   8
#define LABEL_COLUMNS 13

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

static const char *site_of(const json_t *look, const char *side)
{
    return text_of(json_object_get(look, side), "site");
}

static int64_t number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static void say(const char *label, const char *text)
{
    char line[1200];
    snprintf(line, sizeof(line), "%-12s %.1100s", label, text);
    render_wrapped(stdout, render_safe(line).text, RENDER_WIDTH, 0, LABEL_COLUMNS);
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

static bool is_at_old(const json_t *row)
{
    const char *where = text_of(row, "where");
    return strcmp(where, "old") == 0 || strcmp(where, "both") == 0;
}

/* Groups that are there still, each with one of its members. */
static void say_left(const json_t *look)
{
    char line[1000] = "";
    size_t used = 0;
    size_t named = 0;
    size_t index;
    json_t *row;
    json_array_foreach (json_object_get(look, "groups"), index, row) {
        const json_t *member = json_array_get(json_object_get(row, "old"), 0);
        if (!is_at_old(row) || used >= sizeof(line) - 1) {
            continue;
        }
        if (named++ == NAMED_GROUPS) {
            snprintf(line + used, sizeof(line) - used, ", ..");
            break;
        }
        used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%.100s",
                                 used == 0 ? "" : ", ", text_of(row, "group"));
        if (member != NULL && used < sizeof(line) - 1) {
            used += (size_t)snprintf(line + used, sizeof(line) - used, " (%.60s at %.60s)",
                                     text_of(member, "client_id"), text_of(member, "host"));
        }
    }
    if (named > 0) {
        say("still there", line);
    }
}

static void say_records(const json_t *look)
{
    char line[700];
    char count[RENDER_NUMBER_BYTES];
    const char *from = site_of(look, "old");
    const char *to = site_of(look, "new");
    int64_t records = number_of(look, "records");
    int64_t at_risk = number_of(look, "at_risk");
    if (records > 0) {
        snprintf(line, sizeof(line),
                 "%s records were written at %.100s behind the cut and are not at %.100s: nobody "
                 "mirrors them",
                 render_count(records, count), from, to);
    } else if (records < 0 && at_risk > 0) {
        snprintf(line, sizeof(line),
                 "%s records at most are at %.100s and not at %.100s: not mirrored at the cut, or "
                 "written later; nobody mirrors them",
                 render_count(at_risk, count), from, to);
    } else if (records < 0 && at_risk < 0) {
        snprintf(line, sizeof(line), "what is written at %.100s is unknown: it does not answer",
                 from);
    } else {
        return;
    }
    say("stragglers", line);
}

static void say_partitions(const json_t *look)
{
    char line[1000] = "";
    size_t used = 0;
    size_t index;
    json_t *row;
    json_array_foreach (json_object_get(look, "partitions"), index, row) {
        char count[RENDER_NUMBER_BYTES];
        if (used >= sizeof(line) - 1) {
            break;
        }
        if (index == NAMED_PARTS) {
            snprintf(line + used, sizeof(line) - used, ", ..");
            break;
        }
        used += (size_t)snprintf(
            line + used, sizeof(line) - used, "%s%.250s:%lld from %lld: %s", used == 0 ? "" : ", ",
            text_of(row, "topic"), (long long)number_of(row, "partition"),
            (long long)number_of(row, "from"), render_count(number_of(row, "at_risk"), count));
    }
    if (used > 0) {
        say("", line);
    }
}

void print_stragglers_lines(const json_t *look)
{
    if (!json_is_object(json_object_get(look, "old"))) {
        return; /* the operation never came so far, or is of an older version */
    }
    char *line = stragglers_line(look);
    say("clients", line);
    free(line);
    say_left(look);
    say_records(look);
    say_partitions(look);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static void say_producers(const json_t *look)
{
    char line[300];
    size_t index;
    json_t *row;
    if (number_of(look, "written") > 0) {
        char count[RENDER_NUMBER_BYTES];
        snprintf(line, sizeof(line), "%s records came to %.100s since the look before this one",
                 render_count(number_of(look, "written"), count), site_of(look, "old"));
        say("writing", line);
    }
    json_array_foreach (json_object_get(look, "producers"), index, row) {
        long long more = (long long)number_of(row, "partitions") - 1;
        snprintf(line, sizeof(line),
                 "id %lld, epoch %lld, wrote to %.100s:%lld%s, last at %.40s by its own clock",
                 (long long)number_of(row, "producer_id"), (long long)number_of(row, "epoch"),
                 text_of(row, "topic"), (long long)number_of(row, "partition"),
                 more > 0 ? " and others" : "", text_of(row, "last_wrote"));
        say(index == 0 ? "producers" : "", line);
    }
}

struct table {
    char **cells;
    size_t count;
    size_t room;
};

static void add_row(struct table *table, const char *const row[COLUMNS])
{
    if (table->count + COLUMNS > table->room) {
        table->room = table->room == 0 ? 64 * COLUMNS : table->room * 2;
        table->cells = must(reallocarray(table->cells, table->room, sizeof(*table->cells)));
    }
    for (int i = 0; i < COLUMNS; i++) {
        table->cells[table->count++] = must(strdup(render_safe(row[i]).text));
    }
}

static void add_members(struct table *table, const json_t *row, const char *side, const char *site)
{
    size_t index;
    json_t *member;
    json_array_foreach (json_object_get(row, side), index, member) {
        const char *const cells[COLUMNS] = {text_of(row, "group"), site,
                                            text_of(member, "client_id"), text_of(member, "host")};
        add_row(table, cells);
    }
}

static void add_group(struct table *table, const json_t *look, const json_t *row)
{
    size_t before = table->count;
    const char *where = text_of(row, "where");
    add_members(table, row, "old", site_of(look, "old"));
    add_members(table, row, "new", site_of(look, "new"));
    if (table->count == before) {
        const char *place = strcmp(where, "old") == 0   ? site_of(look, "old")
                            : strcmp(where, "new") == 0 ? site_of(look, "new")
                                                        : where;
        const char *const cells[COLUMNS] = {text_of(row, "group"), place, "-",
                                            text_of(row, "why")[0] == '\0' ? "-"
                                                                           : text_of(row, "why")};
        add_row(table, cells);
    }
}

static void print_groups(const json_t *look)
{
    static const char *const head[COLUMNS] = {"group", "where", "client id", "host"};
    struct table table = {.cells = NULL};
    size_t index;
    json_t *row;
    add_row(&table, head);
    json_array_foreach (json_object_get(look, "groups"), index, row) {
        add_group(&table, look, row);
    }
    if (table.count > COLUMNS) {
        render_table(stdout, (const char *const *)table.cells, COLUMNS,
                     (int)(table.count / COLUMNS));
    }
    for (size_t i = 0; i < table.count; i++) {
        free(table.cells[i]);
    }
    free(table.cells);
}

void print_stragglers(const json_t *look)
{
    size_t index;
    json_t *line;
    print_stragglers_lines(look);
    say_producers(look);
    print_groups(look);
    json_array_foreach (json_object_get(look, "next"), index, line) {
        char text[1000];
        snprintf(text, sizeof(text), "next: %.950s", json_string_value(line));
        puts(render_safe(text).text); /* not wrapped: it is copied from here */
    }
}
