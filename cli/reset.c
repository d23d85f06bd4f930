#include "cli/reset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/heap.h"
#include "cli/log_reader.h"
#include "cli/verify.h"

/* --- what is wished ----------------------------------------------------------------------------------------------- */

static bool parse_to(const struct command_line *line, struct reset_wish *out, struct err *err)
{
    static const char *const words[] = {[RESET_TRANSLATED] = "translated",
                                        [RESET_EARLIEST] = "earliest",
                                        [RESET_LATEST] = "latest"};
    const char *text = command_get(line, "to");
    if (text == NULL) {
        return err_set(err, ERR_USAGE,
                       "where to? --to translated, earliest, latest, time=TIME or "
                       "source-offset=N");
    }
    out->text = text;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(text, words[i]) == 0) {
            out->to = (enum reset_to)i;
            return true;
        }
    }
    if (strncmp(text, "time=", 5) == 0) {
        out->to = RESET_TIME;
        return verify_since(text + 5, clock_wall_ms(clock_system()), &out->value, err);
    }
    if (strncmp(text, "source-offset=", 14) == 0) {
        out->to = RESET_SOURCE_OFFSET;
        if (out->partition < 0) {
            return err_set(err, ERR_USAGE, "--to source-offset needs --topic TOPIC:PARTITION");
        }
        return command_number(text + 14, "source-offset", 0, INT64_MAX - 1, &out->value, err);
    }
    return err_set(err, ERR_USAGE,
                   "--to %.100s is none of translated, earliest, latest, time=, "
                   "source-offset=",
                   text);
}

bool reset_wish(struct context *context, struct reset_wish *out, struct err *err)
{
    const struct command_line *line = context->line;
    const char *where = command_get(line, "topic");
    *out = (struct reset_wish){.group = command_get(line, "group"), .partition = -1};
    if ((out->group != NULL) == command_has(line, "all")) {
        return err_set(err, ERR_USAGE, "which groups? --group GROUP or --all");
    }
    return (where == NULL || context_place(where, out->topic, &out->partition, err)) &&
           parse_to(line, out, err);
}

/* --- gathering ---------------------------------------------------------------------------------------------------- */

static bool is_meant(void *arg, const char *name)
{
    const struct reset *reset = arg;
    return reset->wish.group != NULL
               ? strcmp(reset->wish.group, name) == 0
               : config_patterns_match(&reset->context->service->groups, name);
}

static bool is_place_meant(const struct reset *reset, const struct cut_part *part)
{
    const struct reset_wish *wish = &reset->wish;
    return (wish->topic[0] == '\0' || strcmp(wish->topic, part->topic) == 0) &&
           (wish->partition < 0 || wish->partition == part->partition);
}

static bool read_cut(struct reset *reset, struct err *err)
{
    struct context *context = reset->context;
    struct admin *target = context_target(context, err);
    if (target == NULL) {
        return false;
    }
    bool redis = context_redis(context, &context->redis_err);
    reset->door = groups_door_new(target);
    const struct cut_options options = {.target = target,
                                        .groups = reset->door,
                                        .redis = redis ? context->redis : NULL,
                                        .redis_err = &context->redis_err,
                                        .config = context->config,
                                        .service = context->service,
                                        .from = context->from,
                                        .to = context->to,
                                        .operation = reset->operation,
                                        .now_ms = clock_wall_ms(clock_system())};
    reset->has_cut = cut_read(&options, &reset->cut, err);
    return reset->has_cut;
}

/* Those that the target lists, and those that only the keeper knows. */
static bool read_groups(struct reset *reset, struct err *err)
{
    if (!groups_read(reset->door, is_meant, reset, &reset->groups, err)) {
        return false;
    }
    size_t listed = reset->groups.count;
    for (size_t i = 0; i < reset->cut.groups_count; i++) {
        const char *name = reset->cut.groups[i].name;
        const struct groups_list known = {.rows = reset->groups.rows, .count = listed};
        if (is_meant(reset, name) && groups_list_find(&known, name) == NULL) {
            groups_list_add(&reset->groups, name)->empty = true;
        }
    }
    groups_list_sort(&reset->groups);
    if (reset->groups.count == 0) {
        err_set(err, ERR_REFUSED, "no %s%.200s at %s",
                reset->wish.group == NULL ? "group" : "group ",
                reset->wish.group == NULL ? "" : reset->wish.group, reset->context->to->name);
        return err_hint(err, "ferry offsets show %.80s", reset->context->service->name);
    }
    return groups_fetch(reset->door, &reset->groups, err);
}

static struct reset_place *add_place(struct reset *reset, const char *group,
                                     const struct cut_part *part)
{
    if ((reset->count & (reset->count - 1)) == 0) {
        size_t room = reset->count == 0 ? 1 : reset->count * 2;
        reset->places = must(reallocarray(reset->places, room, sizeof(*reset->places)));
    }
    struct reset_place *place = &reset->places[reset->count++];
    *place =
        (struct reset_place){.group = group, .part = part, .stands = -1, .after = -1, .error = -1};
    return place;
}

static const struct cut_place *cut_place_of(const struct cut *cut, const char *group,
                                            const struct cut_part *part)
{
    for (size_t i = 0; i < cut->groups_count; i++) {
        for (size_t j = 0; strcmp(cut->groups[i].name, group) == 0 && j < cut->groups[i].count;
             j++) {
            if (cut->groups[i].places[j].part == part) {
                return &cut->groups[i].places[j];
            }
        }
    }
    return NULL;
}

/* --- where to ----------------------------------------------------------------------------------------------------- */

static int64_t clamp(const struct cut_part *part, int64_t offset)
{
    offset = offset < part->begin ? part->begin : offset;
    return offset > part->end ? part->end : offset;
}

static bool by_time(struct reset *reset, const struct cut_part *part, int64_t *out, struct err *err)
{
    struct log_reader *reader = log_reader_new(reset->context->to, reset->context->timeout_ms, err);
    int64_t found = -1;
    bool ok = reader != NULL && log_reader_since(reader, part->topic, part->partition,
                                                 reset->wish.value, &found, err);
    log_reader_free(reader);
    *out = found < 0 ? part->end : found; /* nothing is as young */
    return ok;
}

static bool by_source(struct reset *reset, const struct cut_part *part, int64_t *out,
                      struct err *err)
{
    struct translation found;
    if (!context_view(reset->context, err) ||
        !offset_view_translate(reset->context->view, part->topic, part->partition,
                               reset->wish.value, false, &found, err)) {
        return false;
    }
    *out = found.verdict == VERDICT_UNMAPPED ? -1 : found.target_offset;
    return true;
}

/* Where the wish is the same for all groups; -1 = not known. */
static bool of_part(struct reset *reset, const struct cut_part *part, int64_t *out, struct err *err)
{
    *out = -1;
    switch (reset->wish.to) {
    case RESET_EARLIEST:
        *out = part->begin;
        return true;
    case RESET_LATEST:
        *out = part->end;
        return true;
    case RESET_TIME:
        return by_time(reset, part, out, err);
    case RESET_SOURCE_OFFSET:
        return by_source(reset, part, out, err);
    case RESET_TRANSLATED:
        break;
    }
    return true;
}

/* What it may have read already: up to where it stood or the keeper's hint reaches; of a group that nobody knows anything of,
 * everything there is. */
static void find_hint(struct reset_place *place, const struct cut_place *known)
{
    bool told = known != NULL && known->facts.target_offset >= 0 && known->hint.until > 0;
    int64_t likely = place->stands;
    int64_t until = told ? known->hint.until : place->part->end;
    if (told && known->hint.likely_until > likely) {
        likely = known->hint.likely_until;
    }
    until = until < likely ? likely : until;
    likely = likely < place->after ? place->after : likely;
    until = until < likely ? likely : until;
    place->hint = (struct hint){.from = place->after,
                                .likely_until = likely,
                                .until = until,
                                .read_ms = told ? known->hint.read_ms : -1,
                                .mapped_until = place->after};
}

static void fill_place(struct reset *reset, struct reset_place *place, const struct groups_row *row,
                       int64_t after)
{
    const struct cut_place *known = cut_place_of(&reset->cut, place->group, place->part);
    const struct groups_place *found =
        groups_row_place(row, place->part->topic, place->part->partition);
    const char *text = found == NULL ? NULL : found->metadata;
    place->stands = found == NULL ? -1 : found->offset;
    if (known != NULL && known->metadata != NULL) {
        place->metadata = must(strdup(known->metadata));
    } else if (text != NULL && !hint_is(text, strlen(text))) {
        place->metadata = must(strdup(text));
    }
    if (reset->wish.to == RESET_TRANSLATED) {
        after = known == NULL || !reset->cut.of_redis ? -1 : known->facts.target_offset;
    }
    place->after = after < 0 ? -1 : clamp(place->part, after);
    if (place->after >= 0) {
        find_hint(place, known);
    }
}

/* A group without commits is given some only where it and the topic are named. */
static bool is_known(const struct reset *reset, const struct groups_row *row,
                     const struct cut_part *part)
{
    const struct groups_place *found = groups_row_place(row, part->topic, part->partition);
    return (found != NULL && found->offset >= 0) ||
           cut_place_of(&reset->cut, row->name, part) != NULL ||
           (reset->wish.group != NULL && reset->wish.topic[0] != '\0');
}

static bool fill_part(struct reset *reset, const struct cut_part *part, struct err *err)
{
    int64_t after;
    if (!of_part(reset, part, &after, err)) {
        return false;
    }
    for (size_t i = 0; i < reset->groups.count; i++) {
        const struct groups_row *row = &reset->groups.rows[i];
        if (row->err.kind == ERR_NONE && is_known(reset, row, part)) {
            fill_place(reset, add_place(reset, row->name, part), row, after);
        }
    }
    return true;
}

static int by_place(const void *a, const void *b)
{
    const struct reset_place *of_a = a;
    const struct reset_place *of_b = b;
    int order = strcmp(of_a->group, of_b->group);
    return order != 0 ? order : (of_a->part > of_b->part) - (of_a->part < of_b->part);
}

bool reset_gather(struct reset *reset, struct err *err)
{
    if (!read_cut(reset, err) || !read_groups(reset, err)) {
        return false;
    }
    for (size_t i = 0; i < reset->cut.parts_count; i++) {
        const struct cut_part *part = &reset->cut.parts[i];
        if (is_place_meant(reset, part) && !fill_part(reset, part, err)) {
            return false;
        }
    }
    if (reset->count == 0) {
        err_set(err, ERR_REFUSED, "none of these groups has a place in a mirrored topic%s%.200s",
                reset->wish.topic[0] == '\0' ? "" : ": ", reset->wish.topic);
        return err_hint(err, "ferry offsets show %.80s", reset->context->service->name);
    }
    qsort(reset->places, reset->count, sizeof(*reset->places), by_place);
    return true;
}

/* --- acting ------------------------------------------------------------------------------------------------------- */

bool reset_states(struct reset *reset, struct err *err)
{
    return groups_states(reset->door, &reset->groups, NULL, err);
}

bool reset_has_members(const struct reset *reset, const char *group)
{
    const struct groups_row *row = groups_list_find(&reset->groups, group);
    return row != NULL && row->listed && !row->empty;
}

static char *text_of(const struct reset *reset, const struct reset_place *place)
{
    char text[HINT_TEXT_BYTES];
    return place->metadata != NULL
               ? must(strdup(place->metadata))
               : must(strdup(hint_text(&reset->cut.origin, &place->hint, SIZE_MAX, text)));
}

static bool commit_once(struct reset *reset, bool hints, bool *out_shorter, struct err *err)
{
    struct groups_list commits = {0};
    struct groups_row *row = NULL;
    for (size_t i = 0; i < reset->count; i++) {
        struct reset_place *place = &reset->places[i];
        if (place->after < 0 || (place->sent && place->error == 0) ||
            reset_has_members(reset, place->group)) {
            continue;
        }
        if (row == NULL || strcmp(row->name, place->group) != 0) {
            row = groups_list_add(&commits, place->group);
            row->places = must(calloc(reset->count - i, sizeof(*row->places)));
        }
        place->sent = true;
        row->places[row->places_count++] = (struct groups_place){
            .topic = place->part->topic,
            .partition = place->part->partition,
            .offset = place->after,
            .metadata = hints || place->metadata != NULL ? text_of(reset, place) : NULL};
    }
    groups_list_sort(&commits);
    bool ok = commits.count == 0 || groups_commit(reset->door, &commits, err);
    *out_shorter = false;
    for (size_t i = 0; ok && i < reset->count; i++) {
        struct reset_place *place = &reset->places[i];
        const struct groups_row *done = groups_list_find(&commits, place->group);
        const struct groups_place *answer =
            done == NULL ? NULL
                         : groups_row_place(done, place->part->topic, place->part->partition);
        if (answer != NULL) {
            place->error = answer->error;
            *out_shorter = *out_shorter || answer->error == 12; /* OFFSET_METADATA_TOO_LARGE */
        }
    }
    groups_list_done(&commits);
    return ok;
}

bool reset_commit(struct reset *reset, struct err *err)
{
    bool shorter = false;
    return commit_once(reset, true, &shorter, err) &&
           (!shorter || commit_once(reset, false, &shorter, err));
}

void reset_done(struct reset *reset)
{
    for (size_t i = 0; i < reset->count; i++) {
        free(reset->places[i].metadata);
    }
    free(reset->places);
    groups_list_done(&reset->groups);
    if (reset->has_cut) {
        cut_done(&reset->cut);
    }
    groups_door_free(reset->door);
}
