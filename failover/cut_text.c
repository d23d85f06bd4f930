/* A cut as evidence, and as what is published of it. Evidence is compact: 80,000 places are some 7 MB. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/heap.h"
#include "base/json.h"
#include "base/text.h"
#include "failover/cut_inside.h"

/* --- evidence ----------------------------------------------------------------------------------------------------- */

/* One partition: [PARTITION, BEGIN, END, checkpoint]. One place: "PARTITION VERDICT SOURCE TARGET COMMITTED
 * BEFORE READ OFFSETS COMMITS LIMIT;". */
static json_t *parts_json(const struct cut *cut)
{
    json_t *out = json_object();
    char text[CHECKPOINT_TEXT_BYTES];
    for (size_t i = 0; i < cut->parts_count; i++) {
        const struct cut_part *part = &cut->parts[i];
        json_t *rows = json_object_get(out, part->topic);
        if (rows == NULL) {
            rows = json_array();
            json_object_set_new(out, part->topic, rows);
        }
        json_t *row = json_pack("[iIIs]", part->partition, (json_int_t)part->begin,
                                (json_int_t)part->end, checkpoint_text(&part->at, text));
        json_array_append_new(rows, row);
    }
    return out;
}

#define PLACE_NUMBERS 10

static void put_place(struct text *text, const struct cut_place *place)
{
    const struct group_facts *facts = &place->facts;
    const int64_t numbers[PLACE_NUMBERS] = {place->part->partition, (int64_t)facts->verdict,
                                            facts->source_offset,   facts->target_offset,
                                            facts->committed,       facts->before,
                                            facts->read_ms,         facts->pace.offsets,
                                            facts->pace.commits_ms, facts->limit};
    for (int i = 0; i < PLACE_NUMBERS; i++) {
        text_number(text, numbers[i]);
        text_put(text, i + 1 < PLACE_NUMBERS ? " " : ";", 1);
    }
}

static void end_topic(json_t *topics, const char *topic, struct text *text)
{
    if (topic != NULL) {
        json_object_set_new(topics, topic, json_stringn_nocheck(text->data, text->len)); /* ASCII */
        text->len = 0;
    }
}

static json_t *places_json(const struct cut_group *group)
{
    json_t *topics = json_object();
    struct text text = {0};
    const char *topic = NULL;
    for (size_t i = 0; i < group->count; i++) {
        const struct cut_place *place = &group->places[i];
        if (topic == NULL || strcmp(topic, place->part->topic) != 0) {
            end_topic(topics, topic, &text);
            topic = place->part->topic;
        }
        put_place(&text, place);
    }
    end_topic(topics, topic, &text);
    free(text.data);
    return topics;
}

/* Applications keep bytes there, too. Heap. */
static char *hex_of(const char *text)
{
    size_t len = strlen(text);
    char *out = must(malloc(2 * len + 1));
    for (size_t i = 0; i < len; i++) {
        snprintf(out + 2 * i, 3, "%02x", (unsigned char)text[i]);
    }
    out[2 * len] = '\0';
    return out;
}

static int digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

/* Heap; NULL: not of that form. */
static char *of_hex(const char *hex)
{
    size_t len = hex == NULL ? 0 : strlen(hex);
    char *out = must(malloc(len / 2 + 1));
    for (size_t i = 0; i < len / 2; i++) {
        int high = digit(hex[2 * i]);
        int low = digit(hex[2 * i + 1]);
        if (high < 0 || low < 0 || (high == 0 && low == 0)) {
            free(out);
            return NULL;
        }
        out[i] = (char)(high * 16 + low);
    }
    out[len / 2] = '\0';
    return out;
}

/* Few groups have it. [[topic, partition, text in hex]..] */
static json_t *metadata_json(const struct cut_group *group)
{
    json_t *out = json_array();
    for (size_t i = 0; i < group->count; i++) {
        const struct cut_place *place = &group->places[i];
        if (place->metadata == NULL) {
            continue;
        }
        json_t *row = json_array();
        json_array_append_new(row, json_string(place->part->topic));
        json_array_append_new(row, json_integer(place->part->partition));
        char *hex = hex_of(place->metadata);
        json_array_append_new(row, json_string(hex));
        json_array_append_new(out, row);
        free(hex);
    }
    return out;
}

static json_t *time_or_null(int64_t wall_ms)
{
    char text[CLOCK_TEXT_BYTES];
    return wall_ms < 0 ? json_null() : json_string(clock_rfc3339(wall_ms, text));
}

json_t *cut_json(const struct cut *cut)
{
    json_t *groups = json_object();
    json_t *metadata = json_object();
    for (size_t i = 0; i < cut->groups_count; i++) {
        const struct cut_group *group = &cut->groups[i];
        json_object_set_new(groups, group->name, places_json(group));
        json_t *own = metadata_json(group);
        if (json_array_size(own) > 0) {
            json_object_set_new(metadata, group->name, own);
        } else {
            json_decref(own);
        }
    }
    json_t *out = json_object();
    json_object_set_new(out, "cut", time_or_null(cut->origin.cut_ms));
    json_object_set_new(out, "cut_ms", json_integer(cut->origin.cut_ms));
    json_object_set_new(out, "cluster", json_string(cut->origin.cluster));
    json_object_set_new(out, "origin", json_string(cut->of_redis ? "redis" : "target"));
    json_object_set_new(out, "why_not",
                        cut->why_not[0] == '\0' ? json_null() : json_string(cut->why_not));
    json_object_set_new(out, "looked", time_or_null(cut->looked_ms));
    json_object_set_new(out, "looked_ms", json_integer(cut->looked_ms));
    json_object_set_new(out, "lately", json_boolean(cut->lately));
    json_object_set_new(out, "alive", time_or_null(cut->alive_ms));
    json_object_set_new(out, "members",
                        cut->members == NULL ? json_null() : json_incref(cut->members));
    json_object_set_new(out, "partitions", parts_json(cut));
    json_object_set_new(out, "groups", groups);
    json_object_set_new(out, "metadata", metadata);
    return out;
}

/* --- and back ----------------------------------------------------------------------------------------------------- */

static bool parse_part(struct cut *cut, const char *topic, const json_t *row)
{
    const json_t *partition = json_array_get(row, 0);
    const json_t *begin = json_array_get(row, 1);
    const json_t *end = json_array_get(row, 2);
    const char *text = json_string_value(json_array_get(row, 3));
    struct checkpoint at;
    if (!json_is_integer(partition) || !json_is_integer(begin) || !json_is_integer(end) ||
        text == NULL || strlen(topic) >= 250 || json_integer_value(partition) < 0 ||
        json_integer_value(partition) > INT32_MAX ||
        !checkpoint_parse(text, strlen(text), &at, NULL)) {
        return false;
    }
    struct cut_part *part = cut_part_add(cut, topic, (int32_t)json_integer_value(partition));
    part->begin = json_integer_value(begin);
    part->end = json_integer_value(end);
    part->at = at;
    return true;
}

static bool parse_place(const char **text, int64_t numbers[PLACE_NUMBERS])
{
    const char *at = *text;
    for (int i = 0; i < PLACE_NUMBERS; i++) {
        size_t len = strcspn(at, i + 1 < PLACE_NUMBERS ? " ;" : ";");
        bool last = i + 1 == PLACE_NUMBERS;
        if (at[len] != (last ? ';' : ' ') || !decimal_parse(at, len, &numbers[i]) ||
            numbers[i] < -1) {
            return false;
        }
        at += len + 1;
    }
    *text = at;
    return true;
}

static bool parse_places(struct cut *cut, struct cut_group *group, const char *topic,
                         const char *text)
{
    while (*text != '\0') {
        int64_t n[PLACE_NUMBERS];
        if (!parse_place(&text, n) || n[0] < 0 || n[0] > INT32_MAX || n[1] < 0 ||
            n[1] > VERDICT_UNMAPPED || n[7] < 0 || n[8] < 0) {
            return false;
        }
        struct cut_part *part = cut_part_find(cut, topic, (int32_t)n[0]);
        if (part == NULL) {
            return false;
        }
        cut_place_add(group, part)->facts = (struct group_facts){
            .verdict = (enum verdict)n[1],
            .source_offset = n[2],
            .target_offset = n[3],
            .committed = n[4],
            .before = n[5],
            .read_ms = n[6],
            .pace = {.offsets = n[7], .commits_ms = n[8]},
            .limit = n[9]
        };
    }
    return true;
}

static struct cut_place *place_of(struct cut *cut, struct cut_group *group, const json_t *row)
{
    const char *topic = json_string_value(json_array_get(row, 0));
    json_int_t partition = json_integer_value(json_array_get(row, 1));
    const struct cut_part *part = topic == NULL || partition < 0 || partition > INT32_MAX
                                      ? NULL
                                      : cut_part_find(cut, topic, (int32_t)partition);
    for (size_t i = 0; part != NULL && i < group->count; i++) {
        if (group->places[i].part == part) {
            return &group->places[i];
        }
    }
    return NULL;
}

static bool parse_metadata(struct cut *cut, struct cut_group *group, const json_t *rows)
{
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        struct cut_place *place = place_of(cut, group, row);
        if (place == NULL || place->metadata != NULL) {
            return false;
        }
        place->metadata = of_hex(json_string_value(json_array_get(row, 2)));
        if (place->metadata == NULL) {
            return false;
        }
    }
    return true;
}

static bool parse_groups(struct cut *cut, const json_t *value)
{
    const char *name;
    const char *topic;
    json_t *topics;
    json_t *text;
    json_object_foreach ((json_t *)(uintptr_t)json_object_get(value, "groups"), name, topics) {
        struct cut_group *group = cut_group_add(cut, name);
        json_object_foreach (topics, topic, text) {
            const char *places = json_string_value(text);
            if (places == NULL || !parse_places(cut, group, topic, places)) {
                return false;
            }
        }
        if (!parse_metadata(cut, group,
                            json_object_get(json_object_get(value, "metadata"), name))) {
            return false;
        }
    }
    return true;
}

static bool parse_parts(struct cut *cut, const json_t *value)
{
    const char *topic;
    json_t *rows;
    json_object_foreach ((json_t *)(uintptr_t)json_object_get(value, "partitions"), topic, rows) {
        for (size_t i = 0; i < json_array_size(rows); i++) {
            if (!parse_part(cut, topic, json_array_get(rows, i))) {
                return false;
            }
        }
    }
    cut_parts_sort(cut);
    return true;
}

bool cut_parse(const json_t *value, const struct cut_options *options, struct cut *out,
               struct err *err)
{
    const char *cluster = NULL;
    const char *origin = NULL;
    cut_begin(out, options);
    bool ok = json_get_int(value, "cut_ms", &out->origin.cut_ms, err) &&
              json_get_int(value, "looked_ms", &out->looked_ms, err) &&
              json_get_string(value, "cluster", &cluster, err) &&
              json_get_string(value, "origin", &origin, err);
    if (ok && (!hint_word_ok(cluster, HINT_CLUSTER_BYTES) || !parse_parts(out, value) ||
               !parse_groups(out, value))) {
        ok = err_set(err, ERR_REFUSED, "the recovery point in the journal is not of its form");
    }
    if (!ok) {
        cut_done(out);
        return false;
    }
    snprintf(out->origin.cluster, sizeof(out->origin.cluster), "%s", cluster);
    out->of_redis = strcmp(origin, "redis") == 0;
    const char *why_not = json_string_value(json_object_get(value, "why_not"));
    text_print(out->why_not, sizeof(out->why_not), "%s", why_not == NULL ? "" : why_not);
    out->lately = json_is_true(json_object_get(value, "lately"));
    json_t *members = json_object_get(value, "members");
    out->members = json_is_array(members) ? json_incref(members) : NULL;
    cut_groups_sort(out);
    cut_find_hints(out, options);
    return true;
}

/* --- what is published -------------------------------------------------------------------------------------------- */

static void put_hint(struct text *out, const struct cut_place *place)
{
    hint_put_json(&place->hint, out);
    text_puts(out, ",\"topic\":");
    text_quoted(out, place->part->topic);
    text_puts(out, ",\"partition\":");
    text_number(out, place->part->partition);
    text_puts(out, ",\"verdict\":\"");
    text_puts(out, cut_verdict_text(place->verdict));
    text_puts(out, "\"}");
}

static void put_origin(struct text *out, const struct cut *cut, const struct cut_group *group,
                       const struct cut_options *options)
{
    const struct {
        const char *begin;
        const char *value;
    } words[] = {
        {"{\"version\":1,\"operation\":", cut->origin.operation },
        {",\"service\":",                 options->service->name},
        {",\"group\":",                   group->name           },
        {",\"from_site\":",               options->from->name   },
        {",\"to_site\":",                 options->to->name     },
        {",\"cluster\":",                 cut->origin.cluster   }
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        text_puts(out, words[i].begin);
        text_quoted(out, words[i].value);
    }
    text_puts(out, ",\"cut_ms\":");
    text_number(out, cut->origin.cut_ms);
}

/* As text, not as a tree: 80,000 places take jansson half a second. */
char *cut_hints(const struct cut *cut, const struct cut_group *group,
                const struct cut_options *options)
{
    struct text out = {0};
    bool first = true;
    put_origin(&out, cut, group, options);
    text_puts(&out, ",\"places\":[");
    for (size_t i = 0; i < group->count; i++) {
        const struct cut_place *place = &group->places[i];
        if (place->facts.target_offset < 0 && place->stood < 0) {
            continue; /* nothing is known, and it stands nowhere */
        }
        text_puts(&out, first ? "{" : ",{");
        put_hint(&out, place);
        first = false;
    }
    text_puts(&out, "]}");
    return text_take(&out);
}
