/* Groups moved at the target: shown, confirmed, journaled, done. Everything is looked at again behind the fence of the control
 * topic's writer: an operation that began meanwhile is not disturbed. The journal's record never stands open: a reset that was
 * interrupted hinders no failover; the same command again ends it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "base/heap.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/render.h"
#include "cli/reset.h"
#include "kafka/control.h"
#include "kafka/group_questions.h"

#define COLUMNS    7
#define STOP_TRIES 5 /* members that were removed join again within a heartbeat, 3 s as it comes */
#define NAMES_MOST 5

/* --- showing ------------------------------------------------------------------------------------------------------ */

static const char *outcome(const struct reset *reset, const struct reset_place *place)
{
    if (place->sent && place->error == 0) {
        return "moved";
    }
    if (place->after < 0) {
        return "unknown";
    }
    if (reset_has_members(reset, place->group) || group_error_is_members(place->error)) {
        return "members";
    }
    return place->sent ? "refused" : "due";
}

static int64_t again_likely(const struct reset_place *place)
{
    return place->after < 0 ? -1 : place->hint.likely_until - place->hint.from;
}

static int64_t again_most(const struct reset_place *place)
{
    return place->after < 0 ? -1 : place->hint.until - place->hint.from;
}

static int64_t skipped(const struct reset_place *place)
{
    return place->after < 0 || place->stands < 0 ? -1
           : place->after > place->stands        ? place->after - place->stands
                                                 : 0;
}

static json_t *place_json(const struct reset *reset, const struct reset_place *place)
{
    json_t *row = json_object();
    json_object_set_new(row, "group", render_string(place->group));
    json_object_set_new(row, "topic", json_string(place->part->topic));
    json_object_set_new(row, "partition", json_integer(place->part->partition));
    json_object_set_new(row, "before", render_int_or_null(place->stands));
    json_object_set_new(row, "after", render_int_or_null(place->after));
    json_object_set_new(row, "reread_likely", render_int_or_null(again_likely(place)));
    json_object_set_new(row, "reread_most", render_int_or_null(again_most(place)));
    json_object_set_new(row, "skipped", render_int_or_null(skipped(place)));
    json_object_set_new(row, "outcome", json_string(outcome(reset, place)));
    return row;
}

static void print_json(const struct reset *reset, bool acted)
{
    json_t *out = json_object();
    json_t *places = json_array();
    for (size_t i = 0; i < reset->count; i++) {
        json_array_append_new(places, place_json(reset, &reset->places[i]));
    }
    json_object_set_new(out, "service", json_string(reset->context->service->name));
    json_object_set_new(out, "site", json_string(reset->context->to->name));
    json_object_set_new(out, "operation", acted ? json_string(reset->operation) : json_null());
    json_object_set_new(out, "to", render_string(reset->wish.text));
    json_object_set_new(out, "dry_run", json_boolean(!acted));
    json_object_set_new(out, "places", places);
    render_json(out);
}

static char *number(int64_t value, const char *none)
{
    char *out = NULL;
    int len = value < 0 ? asprintf(&out, "%s", none) : asprintf(&out, "%" PRId64, value);
    if (len < 0) {
        abort();
    }
    return out;
}

static void print_text(FILE *out, const struct reset *reset)
{
    static const char *const head[COLUMNS] = {"group", "partition", "before", "after",
                                              "again", "at most",   ""};
    size_t rows = reset->count + 1;
    char **cells = must(calloc(rows * COLUMNS, sizeof(*cells)));
    for (size_t i = 0; i < COLUMNS; i++) {
        cells[i] = must(strdup(head[i]));
    }
    for (size_t i = 0; i < reset->count; i++) {
        const struct reset_place *place = &reset->places[i];
        char **at = cells + (i + 1) * COLUMNS;
        char where[CONTEXT_TOPIC_BYTES + 16];
        char note[80];
        int64_t over = skipped(place);
        snprintf(where, sizeof(where), "%s:%" PRId32, place->part->topic, place->part->partition);
        snprintf(note, sizeof(note), "%s", outcome(reset, place));
        if (over > 0) {
            snprintf(note + strlen(note), sizeof(note) - strlen(note), ", skips %" PRId64, over);
        }
        at[0] = must(strdup(render_safe(place->group).text));
        at[1] = must(strdup(render_safe(where).text));
        at[2] = number(place->stands, "none");
        at[3] = number(place->after, "unknown");
        at[4] = number(again_likely(place), "unknown");
        at[5] = number(again_most(place), "unknown");
        at[6] = must(strdup(note));
    }
    render_table(out, (const char *const *)cells, COLUMNS, (int)rows);
    for (size_t i = 0; i < rows * COLUMNS; i++) {
        free(cells[i]);
    }
    free(cells);
}

/* --- may it be done ----------------------------------------------------------------------------------------------- */

/* An operation moves the same groups. */
static bool nobody_at_work(struct context *context, struct err *err)
{
    struct control_state *state =
        control_read(&context->to->kafka, context->service->name, context->timeout_ms, err);
    if (state == NULL) {
        return false;
    }
    bool open = state->operation_open;
    control_state_free(state);
    if (open) {
        err_set(err, ERR_REFUSED, "an operation on %s is open", context->service->name);
        err_hint(err, "ferry history %s", context->service->name);
    }
    return !open;
}

/* @return groups with members; *out names some of them */
static size_t with_members(const struct reset *reset, const char *but, char out[400])
{
    size_t count = 0;
    out[0] = '\0';
    for (size_t i = 0; i < reset->groups.count; i++) {
        const char *name = reset->groups.rows[i].name;
        bool is = reset_has_members(reset, name) && (but == NULL || strcmp(but, name) != 0);
        if (is && count++ < NAMES_MOST) {
            size_t used = strlen(out);
            snprintf(out + used, 400 - used, "%s%.60s", used == 0 ? "" : ", ",
                     render_safe(name).text);
        }
    }
    return count;
}

/* With --all the others are moved. */
static bool may_go(const struct reset *reset, struct err *err)
{
    char names[400];
    const char *stop = command_get(reset->context->line, "stop-members");
    size_t members = with_members(reset, stop, names);
    if (members == 0 || (reset->wish.group == NULL && members < reset->groups.count)) {
        return true;
    }
    err_set(err, ERR_REFUSED, "members at %s: %s", reset->context->to->name, names);
    return err_hint(err, "stop these clients, then again; or --stop-members GROUP");
}

static bool consent(struct reset *reset, struct err *err)
{
    const struct command_line *line = reset->context->line;
    const char *stop = command_get(line, "stop-members");
    char question[600];
    char names[400];
    size_t members = with_members(reset, stop, names);
    if (stop != NULL) {
        snprintf(question, sizeof(question),
                 "The members of group %.200s at %.100s are removed. A client that goes on polling "
                 "joins again within seconds, and goes on at the new offsets.",
                 stop, reset->context->to->name);
        if (!confirm(line, question, stop, err)) {
            return false;
        }
    }
    snprintf(question, sizeof(question),
             "%zu places of %zu groups are moved at %.100s as above.%s%s", reset->count,
             reset->groups.count, reset->context->to->name,
             members == 0 ? "" : " Groups with members stay: ", names);
    return confirm(line, question, reset->context->service->name, err);
}

/* --- the journal -------------------------------------------------------------------------------------------------- */

static char *record(const struct reset *reset, const char *state)
{
    const struct context *context = reset->context;
    const char *reason = command_reason(context->line);
    char who[CONTEXT_WHO_BYTES];
    char time[CLOCK_TEXT_BYTES];
    size_t moved = 0;
    json_t *groups = json_array();
    for (size_t i = 0; i < reset->count; i++) {
        moved += reset->places[i].sent && reset->places[i].error == 0 ? 1 : 0;
        if (i == 0 || strcmp(reset->places[i].group, reset->places[i - 1].group) != 0) {
            json_array_append_new(groups, render_string(reset->places[i].group));
        }
    }
    json_t *value = json_object();
    json_object_set_new(value, "open", json_false());
    json_object_set_new(value, "kind", json_string("reset"));
    json_object_set_new(value, "state", json_string(state));
    json_object_set_new(value, "service", json_string(context->service->name));
    json_object_set_new(value, "from", json_string(context->from->name));
    json_object_set_new(value, "to", json_string(context->to->name));
    json_object_set_new(value, "by", render_string(context_who(who)));
    json_object_set_new(value, "reason", json_string(reason));
    json_object_set_new(value, "began", json_string(clock_rfc3339(reset->cut.origin.cut_ms, time)));
    json_object_set_new(value, "time",
                        json_string(clock_rfc3339(clock_wall_ms(clock_system()), time)));
    json_object_set_new(value, "reset_to", render_string(reset->wish.text));
    json_object_set_new(value, "groups", groups);
    json_object_set_new(value, "places", json_integer((json_int_t)reset->count));
    json_object_set_new(value, "moved", json_integer((json_int_t)moved));
    char *text = must(json_text(value));
    json_decref(value);
    return text;
}

static bool journal(const struct reset *reset, struct control_writer *writer, const char *state,
                    struct err *err)
{
    char key[HINT_OPERATION_BYTES + 4];
    char *text = record(reset, state);
    snprintf(key, sizeof(key), "op/%s", reset->operation);
    const struct control_record one = {key, text};
    bool ok = control_write(writer, &one, 1, err);
    free(text);
    return ok;
}

/* --- doing -------------------------------------------------------------------------------------------------------- */

static bool still_due(const struct reset *reset, const char *group)
{
    for (size_t i = 0; i < reset->count; i++) {
        const struct reset_place *place = &reset->places[i];
        if (place->after >= 0 && !(place->sent && place->error == 0) &&
            strcmp(place->group, group) == 0) {
            return true;
        }
    }
    return false;
}

/* Between two joins of a client that goes on there is room for a commit. */
static bool stop_and_commit(struct reset *reset, const char *group, struct err *err)
{
    struct admin *target = context_target(reset->context, err);
    for (int i = 0; i < STOP_TRIES && still_due(reset, group); i++) {
        size_t count = 0;
        if (target == NULL || (reset_has_members(reset, group) &&
                               !admin_group_stop_members(target, group, &count, err))) {
            return false;
        }
        if (count > 0 && !reset->context->quiet) {
            fprintf(stderr, "  %zu members of %s removed\n", count, render_safe(group).text);
        }
        if (!reset_states(reset, err) || !reset_commit(reset, err)) {
            return false;
        }
    }
    return true;
}

static bool act(struct reset *reset, struct err *err)
{
    struct context *context = reset->context;
    const char *stop = command_get(context->line, "stop-members");
    struct control_writer *writer =
        context_op_writer(context, context->to, context_writer(context), err);
    bool ok = writer != NULL && nobody_at_work(context, err) && reset_states(reset, err) &&
              may_go(reset, err) && journal(reset, writer, "begun", err) &&
              reset_commit(reset, err) && (stop == NULL || stop_and_commit(reset, stop, err));
    struct err why = {0};
    if (writer != NULL && !journal(reset, writer, ok ? "done" : "failed", &why) && ok) {
        fprintf(stderr, "  not in the journal: %s\n", render_safe(why.what).text);
    }
    control_writer_free(writer);
    return ok;
}

static void name_operation(struct reset *reset)
{
    struct tm broken;
    char when[32];
    uint16_t random = 0;
    time_t seconds = (time_t)(clock_wall_ms(clock_system()) / 1000);
    gmtime_r(&seconds, &broken);
    strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &broken);
    if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
        random = 0;
    }
    snprintf(reset->operation, sizeof(reset->operation), "%s-reset-%04x", when, random);
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static int exit_of(const struct reset *reset)
{
    for (size_t i = 0; i < reset->count; i++) {
        if (!reset->places[i].sent || reset->places[i].error != 0) {
            return EXIT_PARTLY;
        }
    }
    for (size_t i = 0; i < reset->groups.count; i++) {
        if (reset->groups.rows[i].err.kind != ERR_NONE) {
            return EXIT_PARTLY;
        }
    }
    return EXIT_DONE;
}

static void say_groups(const struct reset *reset)
{
    for (size_t i = 0; i < reset->groups.count; i++) {
        if (reset->groups.rows[i].err.kind != ERR_NONE) {
            fprintf(stderr, "  %s\n", render_safe(reset->groups.rows[i].err.what).text);
        }
    }
}

static bool run(struct reset *reset, bool *out_acted, struct err *err)
{
    const struct context *context = reset->context;
    bool dry = command_has(context->line, "dry-run");
    if (!reset_wish(reset->context, &reset->wish, err) || !nobody_at_work(reset->context, err) ||
        !reset_gather(reset, err)) {
        return false;
    }
    if (!context->json) {
        print_text(dry ? stdout : stderr, reset);
    }
    if (!may_go(reset, err)) {
        return false;
    }
    *out_acted = !dry;
    return dry || (consent(reset, err) && act(reset, err));
}

int cmd_offsets_reset(const struct command_line *line)
{
    struct err err = {0};
    struct context context;
    struct reset reset = {.context = &context};
    bool acted = false;
    int code = EXIT_DONE;
    name_operation(&reset);
    if (!context_open(&context, line, &err) || !run(&reset, &acted, &err)) {
        code = command_fail(line, &err);
    } else {
        say_groups(&reset);
        code = acted ? exit_of(&reset) : EXIT_DONE;
        if (code != EXIT_DONE) {
            fprintf(stderr, "  next: ferry offsets show %s; then the same command again\n",
                    context.service->name);
        }
        if (context.json) {
            print_json(&reset, acted);
        } else if (acted) {
            print_text(stdout, &reset);
        }
    }
    reset_done(&reset);
    context_close(&context);
    return code;
}
