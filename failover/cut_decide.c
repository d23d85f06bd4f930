/* What becomes of each place: the target's commits beside what the keeper knew. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/text.h"
#include "failover/cut_inside.h"
#include "kafka/error.h"
#include "kafka/group_questions.h"

const char *cut_verdict_text(enum cut_verdict verdict)
{
    static const char *const texts[CUT_VERDICTS_COUNT] = {
        [CUT_COMMITTED] = "committed", [CUT_DUE] = "due",           [CUT_PAST] = "past",
        [CUT_FOREIGN] = "foreign",     [CUT_UNMAPPED] = "unmapped", [CUT_MEMBERS] = "members",
        [CUT_REFUSED] = "refused",
    };
    return texts[verdict];
}

bool cut_verdict_open(enum cut_verdict verdict)
{
    return verdict == CUT_DUE || verdict == CUT_UNMAPPED || verdict == CUT_MEMBERS ||
           verdict == CUT_REFUSED;
}

/* --- decisions ---------------------------------------------------------------------------------------------------- */

/* The rules of docs/groups.md. A translation behind our own value: the source's group was rewound, or the target lost records;
 * the keeper would have followed within seconds. */
static enum cut_verdict may_write(const struct group_facts *facts, int64_t stood)
{
    bool known = facts->committed >= 0;
    bool ours = known && (stood == facts->committed || stood == facts->before);
    if (stood < 0 || ours || stood == facts->target_offset) {
        return CUT_DUE;
    }
    if (known) {
        return CUT_FOREIGN;
    }
    return stood > facts->target_offset ? CUT_PAST : CUT_DUE;
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

/* Where the map does not tell, it goes on where it stands. */
static void hint_from_there(struct cut_place *place)
{
    const struct hint_place what = {.from = place->stood,
                                    .mirrored_end = place->part->end,
                                    .source_offset = -1,
                                    .source_limit = -1,
                                    .read_ms = place->facts.read_ms,
                                    .looked_ms = -1,
                                    .alive_ms = -1};
    hint_done(&place->hint);
    hint_find(&what, NULL, 0, 0, &place->hint);
}

static void decide_place(const struct cut *cut, struct cut_place *place,
                         const struct groups_place *found)
{
    const char *text = found == NULL ? NULL : found->metadata;
    place->stood = found == NULL ? -1 : found->offset;
    if (text != NULL && place->stood >= 0 &&
        hint_is_of(text, strlen(text), cut->origin.operation)) {
        place->verdict = CUT_COMMITTED;
    } else if (place->facts.target_offset < 0) {
        place->verdict = CUT_UNMAPPED;
        if (place->stood >= 0) {
            hint_from_there(place);
        }
    } else if (place->metadata != NULL && place->stood == place->facts.target_offset &&
               same_text(place->metadata, text)) {
        place->verdict = CUT_COMMITTED;
    } else {
        place->verdict = may_write(&place->facts, place->stood);
    }
}

void cut_decide(struct cut *cut, const struct groups_list *list)
{
    for (size_t i = 0; i < cut->groups_count; i++) {
        struct cut_group *group = &cut->groups[i];
        const struct groups_row *row = groups_list_find(list, group->name);
        bool failed = row == NULL || row->err.kind != ERR_NONE;
        bool members = !failed && row->listed && !row->empty;
        snprintf(group->state, sizeof(group->state), "%s", failed ? "" : row->state);
        text_print(group->why, sizeof(group->why), "%s",
                   row == NULL ? "nobody asked for it" : row->err.what);
        for (size_t j = 0; j < group->count; j++) {
            struct cut_place *place = &group->places[j];
            decide_place(
                cut, place,
                failed ? NULL : groups_row_place(row, place->part->topic, place->part->partition));
            if (failed) {
                place->verdict = CUT_REFUSED;
            } else if (members && place->verdict != CUT_COMMITTED) {
                place->verdict = CUT_MEMBERS;
            }
        }
    }
}

void cut_list(const struct cut *cut, struct groups_list *out)
{
    *out = (struct groups_list){0};
    for (size_t i = 0; i < cut->groups_count; i++) {
        groups_list_add(out, cut->groups[i].name);
    }
    groups_list_sort(out);
}

/* --- commits ------------------------------------------------------------------------------------------------------ */

static char *commit_text(const struct cut *cut, const struct cut_place *place)
{
    char text[HINT_TEXT_BYTES];
    if (place->metadata != NULL) {
        return must(strdup(place->metadata));
    }
    return must(
        strdup(hint_text(&cut->origin, &place->hint, place->text_short ? 0 : SIZE_MAX, text)));
}

void cut_commits(const struct cut *cut, struct groups_list *out)
{
    *out = (struct groups_list){0};
    for (size_t i = 0; i < cut->groups_count; i++) {
        const struct cut_group *group = &cut->groups[i];
        struct groups_row *row = NULL;
        for (size_t j = 0; j < group->count; j++) {
            const struct cut_place *place = &group->places[j];
            if (place->verdict != CUT_DUE) {
                continue;
            }
            if (row == NULL) {
                row = groups_list_add(out, group->name);
                row->places = must(calloc(group->count, sizeof(*row->places)));
            }
            row->places[row->places_count++] =
                (struct groups_place){.topic = place->part->topic,
                                      .partition = place->part->partition,
                                      .offset = place->facts.target_offset,
                                      .metadata = commit_text(cut, place)};
        }
    }
    groups_list_sort(out);
}

/* @return true: it is to be committed once more */
static bool take_answer(struct cut_group *group, struct cut_place *place, int16_t error)
{
    if (error == KAFKA_NONE) {
        place->verdict = CUT_COMMITTED;
        place->stood = place->facts.target_offset;
    } else if (error == KAFKA_OFFSET_METADATA_TOO_LARGE && place->metadata == NULL &&
               !place->text_short) {
        place->text_short = true;
        return true;
    } else if (group_error_is_members(error)) {
        place->verdict = CUT_MEMBERS;
    } else {
        place->verdict = CUT_REFUSED;
        if (group->why[0] == '\0') {
            snprintf(group->why, sizeof(group->why), "%s:%d: %s", place->part->topic,
                     place->part->partition, kafka_error_name(error));
        }
    }
    return false;
}

bool cut_committed(struct cut *cut, const struct groups_list *list)
{
    bool again = false;
    for (size_t i = 0; i < cut->groups_count; i++) {
        struct cut_group *group = &cut->groups[i];
        const struct groups_row *row = groups_list_find(list, group->name);
        if (row == NULL) {
            continue;
        }
        text_print(group->why, sizeof(group->why), "%s", row->err.what);
        for (size_t j = 0; j < group->count; j++) {
            struct cut_place *place = &group->places[j];
            const struct groups_place *answer =
                place->verdict == CUT_DUE
                    ? groups_row_place(row, place->part->topic, place->part->partition)
                    : NULL;
            if (answer != NULL) {
                again = take_answer(group, place, answer->error) || again;
            }
        }
    }
    return again;
}

/* --- figures ------------------------------------------------------------------------------------------------------ */

void cut_count(const struct cut_group *group, struct cut_counts *out)
{
    *out = (struct cut_counts){.places = group->count};
    for (size_t i = 0; i < group->count; i++) {
        const struct cut_place *place = &group->places[i];
        out->verdicts[place->verdict]++;
        out->likely += place->hint.likely_until - place->hint.from;
        out->most += place->hint.until - place->hint.from;
    }
}

static json_t *offset_or_null(int64_t offset)
{
    return offset < 0 ? json_null() : json_integer(offset);
}

static json_t *open_places(const struct cut_group *group)
{
    json_t *out = json_array();
    for (size_t i = 0; i < group->count && json_array_size(out) < CUT_OPEN_MOST; i++) {
        const struct cut_place *place = &group->places[i];
        if (place->verdict == CUT_COMMITTED) {
            continue;
        }
        json_t *row = json_object();
        json_object_set_new(row, "topic", json_string(place->part->topic));
        json_object_set_new(row, "partition", json_integer(place->part->partition));
        json_object_set_new(row, "verdict", json_string(cut_verdict_text(place->verdict)));
        json_object_set_new(row, "stands_at", offset_or_null(place->stood));
        json_object_set_new(row, "translated", offset_or_null(place->facts.target_offset));
        json_array_append_new(out, row);
    }
    return out;
}

static json_t *group_report(const struct cut_group *group)
{
    struct cut_counts counts;
    cut_count(group, &counts);
    json_t *row = json_object();
    json_t *verdicts = json_object();
    enum cut_verdict worst =
        group->why[0] != '\0' && group->count == 0 ? CUT_REFUSED : CUT_COMMITTED;
    for (int i = 0; i < CUT_VERDICTS_COUNT; i++) {
        if (counts.verdicts[i] > 0) {
            const char *name = cut_verdict_text((enum cut_verdict)i);
            json_object_set_new(verdicts, name, json_integer((json_int_t)counts.verdicts[i]));
            worst = (enum cut_verdict)i > worst ? (enum cut_verdict)i : worst;
        }
    }
    json_object_set_new(row, "group", json_string(group->name));
    json_object_set_new(row, "state",
                        group->state[0] == '\0' ? json_null() : json_string(group->state));
    json_object_set_new(row, "verdict", json_string(cut_verdict_text(worst)));
    json_object_set_new(row, "places", json_integer((json_int_t)counts.places));
    json_object_set_new(row, "verdicts", verdicts);
    json_object_set_new(row, "reread_likely", json_integer(counts.likely));
    json_object_set_new(row, "reread_most", json_integer(counts.most));
    json_object_set_new(row, "why", group->why[0] == '\0' ? json_null() : json_string(group->why));
    json_object_set_new(row, "open", open_places(group));
    return row;
}

json_t *cut_report(const struct cut *cut)
{
    json_t *out = json_array();
    for (size_t i = 0; i < cut->groups_count; i++) {
        json_array_append_new(out, group_report(&cut->groups[i]));
    }
    return out;
}
