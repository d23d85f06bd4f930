#include "cli/topics.h"

#include <stdbool.h>
#include <string.h>

#include "cli/beats.h"
#include "cli/render.h"

/* Two while the control topic's partition moves: the one that wrote last. */
const json_t *topics_report(const json_t *workers)
{
    const json_t *report = NULL;
    int64_t newest_ms = -1;
    const char *name;
    json_t *worker;
    json_object_foreach ((json_t *)(uintptr_t)workers, name, worker) {
        const json_t *topics = json_object_get(worker, "topics");
        int64_t at_ms = beat_ms(worker);
        if (json_is_object(topics) && at_ms >= newest_ms) {
            report = topics;
            newest_ms = at_ms;
        }
    }
    return report;
}

int64_t topics_count(const json_t *report, const char *key)
{
    const json_t *count = json_object_get(report, key);
    return json_is_integer(count) && json_integer_value(count) >= 0 ? json_integer_value(count)
                                                                    : -1;
}

/* NULL in JSON: nothing is set there. */
static const char *value_text(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text == NULL ? "nothing" : text[0] == '\0' ? "empty" : text;
}

static void say_not_mirrored(const json_t *row, char *line, size_t room)
{
    snprintf(line, room, "topic %.249s is not mirrored: %.300s", beat_text(row, "topic"),
             beat_text(row, "why"));
}

static void say_incomplete(const json_t *row, char *line, size_t room)
{
    snprintf(line, room, "topic %.249s: %.300s", beat_text(row, "topic"), beat_text(row, "why"));
}

static void say_source_deleted(const json_t *row, char *line, size_t room)
{
    snprintf(line, room,
             "topic %.249s was deleted at the source (seen %.40s): its copy stays, nothing is "
             "mirrored into it (docs/topics.md)",
             beat_text(row, "topic"), beat_text(row, "since"));
}

static void say_drift(const json_t *row, char *line, size_t room)
{
    snprintf(line, room,
             "topic %.249s: %.127s is %.110s at the source, %.110s at the target: %.250s",
             beat_text(row, "topic"), beat_text(row, "setting"), value_text(row, "source"),
             value_text(row, "target"), beat_text(row, "why"));
}

static const struct kind {
    const char *rows;
    const char *count;
    void (*say)(const json_t *row, char *line, size_t room);
    const char *more;
} kinds[] = {
    {"not_mirrored",   "not_mirrored_count",   say_not_mirrored,   "topics that are not mirrored"      },
    {"source_deleted", "source_deleted_count", say_source_deleted,
     "topics that the source deleted"                                                                  },
    {"incomplete",     "incomplete_count",     say_incomplete,     "topics with a warning"             },
    {"drift",          "drift_count",          say_drift,          "settings that differ at the target"},
};

static void print_kind(FILE *out, const json_t *report, const struct kind *kind)
{
    const json_t *rows = json_object_get(report, kind->rows);
    int64_t count = topics_count(report, kind->count);
    size_t shown = 0;
    char line[1000];
    for (; shown < json_array_size(rows) && shown < TOPICS_SHOWN; shown++) {
        kind->say(json_array_get(rows, shown), line, sizeof(line));
        struct render_safe safe = render_safe(line);
        render_wrapped(out, safe.text, RENDER_WIDTH, 0, 4);
    }
    if (count > (int64_t)shown) {
        fprintf(out, "and %lld more %s\n", (long long)(count - (int64_t)shown), kind->more);
    }
}

void topics_print(FILE *out, const json_t *report)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        print_kind(out, report, &kinds[i]);
    }
}
