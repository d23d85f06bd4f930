#include "cli/print_report.h"

#include <stdlib.h>
#include <string.h>

#include "cli/print_stragglers.h"
#include "cli/render.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "unknown" : text;
}

static char *count_of(const json_t *object, const char *key, char out[RENDER_NUMBER_BYTES])
{
    json_t *value = json_object_get(object, key);
    return render_count(json_is_integer(value) ? json_integer_value(value) : -1, out);
}

static char *seconds_of(const json_t *object, const char *key, char out[RENDER_NUMBER_BYTES])
{
    json_t *value = json_object_get(object, key);
    return render_seconds(json_is_number(value) ? json_number_value(value) : -1, out);
}

static void say(const char *label, const char *text)
{
    char line[1200];
    snprintf(line, sizeof(line), "%-12s %.1100s", label, text);
    struct render_safe safe = render_safe(line);
    render_wrapped(stdout, safe.text, RENDER_WIDTH, 0, 13);
}

static void print_rpo(const json_t *report)
{
    const json_t *rpo = json_object_get(report, "rpo");
    json_t *records = json_object_get(rpo, "records");
    json_t *rate = json_object_get(rpo, "records_per_s");
    char line[500];
    char count[RENDER_NUMBER_BYTES];
    if (!json_is_object(rpo)) {
        return;
    }
    if (json_is_integer(records)) {
        snprintf(line, sizeof(line), "%s records at most",
                 render_count(json_integer_value(records), count));
    } else if (json_is_string(json_object_get(rpo, "last_seen"))) {
        snprintf(line, sizeof(line),
                 "unknown, %s did not answer; last seen %s, %s offsets then were not mirrored, "
                 "rate then %.0f/s",
                 text_of(report, "from"), text_of(rpo, "last_seen"),
                 count_of(rpo, "seen_offsets", count), json_number_value(rate));
    } else {
        snprintf(line, sizeof(line), "unknown, %s did not answer; when it was last seen is unknown",
                 text_of(report, "from"));
    }
    say("lost", line);
}

static void print_names(const json_t *report)
{
    size_t index;
    json_t *row;
    json_array_foreach (json_object_get(report, "dns"), index, row) {
        char line[700];
        char agree[RENDER_NUMBER_BYTES];
        char servers[RENDER_NUMBER_BYTES];
        snprintf(line, sizeof(line), "%.250s is %.250s: %s of %s name servers say so",
                 text_of(row, "record"), text_of(row, "to"), count_of(row, "agree", agree),
                 count_of(row, "servers", servers));
        say("name", line);
    }
    const json_t *client = json_object_get(report, "client");
    if (json_is_object(client)) {
        say("clients", "no name moves; give them, and restart them with:");
        printf("             bootstrap.servers=%s\n",
               render_safe(text_of(client, "bootstrap.servers")).text);
    }
}

static void print_steps(const json_t *report)
{
    const json_t *rto = json_object_get(report, "rto");
    char line[1000] = "";
    char seconds[RENDER_NUMBER_BYTES];
    size_t used = 0;
    size_t index;
    json_t *step;
    json_array_foreach (json_object_get(rto, "steps"), index, step) {
        json_t *took = json_object_get(step, "seconds");
        if (json_is_number(took) && used < sizeof(line) - 1) {
            used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%.32s %.2f",
                                     used == 0 ? "" : ", ", text_of(step, "step"),
                                     json_number_value(took));
        }
    }
    say("took", seconds_of(rto, "seconds", seconds));
    if (line[0] != '\0') {
        say("", line);
    }
}

static void print_restarts(const json_t *report)
{
    char line[1000] = "";
    size_t used = 0;
    size_t index;
    json_t *name;
    json_array_foreach (json_object_get(report, "must_restart"), index, name) {
        if (used < sizeof(line) - 1) {
            used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%.200s",
                                     used == 0 ? "" : ", ", json_string_value(name));
        }
    }
    if (used > 0) {
        say("restart", line);
    }
}

/* Clients arrive behind the operation's end: the command that tells of them then. */
static void print_next(const json_t *report)
{
    const char *state = text_of(report, "state");
    char line[300];
    if (strcmp(state, "done") == 0 || strcmp(state, "partly") == 0) {
        snprintf(line, sizeof(line), "ferry stragglers %.100s --timeout 300",
                 text_of(report, "service"));
        say("next", line);
    }
}

/* What the operation did not do, and what to type. */
static void print_left(const json_t *report)
{
    size_t index;
    json_t *row;
    bool again = false;
    char line[1100];
    json_array_foreach (json_object_get(report, "left"), index, row) {
        const char *hint = text_of(row, "hint");
        snprintf(line, sizeof(line), "%.32s: %.700s%s%.300s", text_of(row, "step"),
                 text_of(row, "what"), hint[0] == '\0' ? "" : "; ", hint);
        say("left", line);
        again = again || json_is_true(json_object_get(row, "again"));
    }
    if (again) {
        snprintf(line, sizeof(line), "ferry %s %s --to %s does once more what it can of it",
                 text_of(report, "kind"), text_of(report, "service"), text_of(report, "to"));
        say("", line);
    }
}

void print_report(const json_t *report)
{
    char line[700];
    snprintf(line, sizeof(line), "%s of %s from %s to %s: %s", text_of(report, "kind"),
             text_of(report, "service"), text_of(report, "from"), text_of(report, "to"),
             text_of(report, "state"));
    puts(render_safe(line).text);
    snprintf(line, sizeof(line), "%.100s by %.200s%s%.300s", text_of(report, "operation"),
             text_of(report, "by"), text_of(report, "reason")[0] == '\0' ? "" : ": ",
             text_of(report, "reason"));
    say("operation", line);
    if (json_is_string(json_object_get(report, "step"))) {
        say("stands at", text_of(report, "step"));
    }
    if (json_is_object(json_object_get(report, "fence"))) {
        say("fence", text_of(json_object_get(report, "fence"), "why"));
    }
    print_rpo(report);
    print_names(report);
    print_restarts(report);
    print_stragglers_lines(json_object_get(json_object_get(report, "evidence"), "stragglers"));
    print_left(report);
    print_next(report);
    if (json_is_string(json_object_get(report, "unprotected_since"))) {
        snprintf(line, sizeof(line), "%s is unprotected since %s: nobody mirrors %s",
                 text_of(report, "service"), text_of(report, "unprotected_since"),
                 text_of(report, "to"));
        say("now", line);
    }
    print_steps(report);
}
