#include "offsets/hint.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/json.h"
#include "base/number.h"
#include "base/text.h"
#include "offsets/checkpoint.h"

void hint_done(struct hint *hint)
{
    free(hint->runs);
    hint->runs = NULL;
    hint->runs_count = 0;
}

/* --- ranges ------------------------------------------------------------------------------------------------------- */

struct span { /* runs, and what is known without them */
    const struct offset_run *runs;
    size_t count;
    const struct hint_place *place;
    int64_t end;
};

/* The last run that begins at or before the offset of that side; count = none. */
static size_t floor_of(const struct span *span, int64_t offset, bool target)
{
    size_t low = 0;
    size_t high = span->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct offset_run *run = &span->runs[middle];
        if ((target ? run->target_first : run->source_first) <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? span->count : low - 1;
}

/* Where everything before `source` ends at the target, by the map; where that says nothing, at `otherwise`. Never by the
 * distance: records of others may lie between ours. */
static int64_t reach(const struct span *span, int64_t source, int64_t otherwise)
{
    int64_t from = span->place->from;
    int64_t bound = otherwise;
    if (source <= span->place->source_offset) {
        return from;
    }
    size_t at = floor_of(span, source - 1, false);
    size_t next = at == span->count ? 0 : at + 1;
    if (at < span->count && source - span->runs[at].source_first <= span->runs[at].length) {
        bound = span->runs[at].target_first + (source - span->runs[at].source_first);
    } else if (next < span->count) {
        bound = span->runs[next].target_first; /* a hole */
    }
    bound = number_least(bound, span->end);
    return bound < from ? from : bound;
}

/* Likely so: without the map as many records as offsets. */
static int64_t guess(const struct span *span, int64_t source)
{
    const struct hint_place *place = span->place;
    bool known = place->source_offset >= 0 && source > place->source_offset;
    return reach(span, source,
                 known ? number_sum(place->from, source - place->source_offset) : span->end);
}

/* What the keeper did not see lasted no longer than to its next look, where nothing tells more. */
static int64_t unseen(const struct hint_place *place)
{
    bool told = place->looked_ms >= 0 && place->alive_ms > place->looked_ms;
    return group_pace_unseen(&place->pace,
                             told ? place->alive_ms - place->looked_ms : GROUP_LOOK_EACH_MS);
}

static void find_runs(const struct span *span, size_t most, struct hint *out)
{
    size_t at = floor_of(span, out->from, true);
    int64_t place = out->from;
    size_t count = 0;
    out->mapped_until = out->from;
    most = most < HINT_RUNS_MAX ? most : HINT_RUNS_MAX;
    if (out->until == out->from || at == span->count || most == 0) {
        return;
    }
    size_t room = span->count - at < most ? span->count - at : most;
    out->runs = must(calloc(room, sizeof(*out->runs)));
    for (; at < span->count && count < room && place < out->until; at++) {
        const struct offset_run *run = &span->runs[at];
        if (place < run->target_first || place - run->target_first >= run->length) {
            break; /* it does not follow: not known */
        }
        int64_t skip = place - run->target_first;
        out->runs[count++] = (struct hint_run){place, run->source_first + skip};
        place = number_least(out->until, run->target_first + run->length);
    }
    out->runs_count = count;
    out->mapped_until = place;
}

void hint_find(const struct hint_place *place, const struct offset_run *runs, size_t runs_count,
               size_t most, struct hint *out)
{
    int64_t end = place->mirrored_end < place->from ? place->from : place->mirrored_end;
    const struct span span = {runs, runs_count, place, end};
    *out = (struct hint){.from = place->from, .until = end, .read_ms = place->read_ms};
    if (place->source_limit >= 0 && place->limit_holds) {
        out->until = reach(&span, place->source_limit, end);
    }
    out->likely_until = out->until;
    if (place->source_limit >= 0) {
        out->likely_until = number_least(out->until, guess(&span, place->source_limit));
    }
    if (place->pace.commits_ms > 0 && place->source_offset >= 0) {
        out->likely_until = number_least(
            out->likely_until, guess(&span, number_sum(place->source_offset, unseen(place))));
    }
    find_runs(&span, most, out);
}

/* --- one record --------------------------------------------------------------------------------------------------- */

const char *hint_seen_text(enum hint_seen seen)
{
    static const char *const texts[] = {
        [HINT_COMMITTED] = "committed",
        [HINT_LIKELY] = "likely",
        [HINT_POSSIBLE] = "possible",
        [HINT_NEW] = "no",
    };
    return texts[seen];
}

enum hint_seen hint_seen(const struct hint *hint, int64_t target_offset)
{
    if (target_offset < hint->from) {
        return HINT_COMMITTED;
    }
    if (target_offset >= hint->until) {
        return HINT_NEW;
    }
    return target_offset < hint->likely_until ? HINT_LIKELY : HINT_POSSIBLE;
}

bool hint_source(const struct hint *hint, int64_t target_offset, int64_t *out_source)
{
    if (target_offset < hint->from || target_offset >= hint->mapped_until) {
        return false;
    }
    size_t at = hint->runs_count;
    while (at > 0 && hint->runs[at - 1].target_first > target_offset) {
        at--;
    }
    if (at == 0) {
        return false;
    }
    *out_source =
        hint->runs[at - 1].source_first + (target_offset - hint->runs[at - 1].target_first);
    return true;
}

/* --- text --------------------------------------------------------------------------------------------------------- */

#define WORD_BYTES "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
#define NAME       "ferry"
#define BEGIN      "ferry1 "
#define END        " !"

bool hint_word_ok(const char *word, size_t room)
{
    size_t len = strnlen(word, room);
    return len > 0 && len < room && strspn(word, WORD_BYTES) == len;
}

/* By hand: one is made for each of 80,000 places while clients wait. */
static char *put_word(char *at, const char *word)
{
    size_t len = strlen(word);
    memcpy(at, word, len);
    return at + len;
}

static char *put_field(char *at, const char *name, int64_t value)
{
    return text_digits(put_word(at, name), value);
}

#define RUN_BYTES (2 * TEXT_NUMBER_BYTES + 1)

static char *put_run(char *at, const struct hint_run *run)
{
    at = text_digits(at, run->target_first);
    *at++ = ':';
    return text_digits(at, run->source_first);
}

/* Of what is left: all runs that have room, and until where they reach. */
static size_t runs_that_fit(const struct hint *hint, size_t most, size_t room)
{
    char one[RUN_BYTES];
    size_t count = 0;
    size_t used = 0;
    while (count < hint->runs_count && count < most) {
        used += (size_t)(put_run(one, &hint->runs[count]) - one) + 1; /* a comma, too */
        if (used > room) {
            break;
        }
        count++;
    }
    return count;
}

char *hint_text(const struct hint_origin *origin, const struct hint *hint, size_t most,
                char out[HINT_TEXT_BYTES])
{
    assert(hint_word_ok(origin->operation, HINT_OPERATION_BYTES));
    assert(hint_word_ok(origin->cluster, HINT_CLUSTER_BYTES));
    char *at = put_word(put_word(out, BEGIN "op="), origin->operation);
    at = put_field(at, " from=", hint->from);
    at = put_field(at, " likely=", hint->likely_until);
    at = put_field(at, " until=", hint->until);
    at = put_word(put_word(at, " cluster="), origin->cluster);
    at = put_field(at, " read=", hint->read_ms);
    at = put_field(at, " cut=", origin->cut_ms);
    assert(at - out < 512); /* 140 of words, 5 numbers of 20, 60 of names */
    size_t room = HINT_TEXT_BYTES - (size_t)(at - out) -
                  sizeof(" mapped=9223372036854775807 runs=") - sizeof(END);
    size_t count = runs_that_fit(hint, most, room);
    int64_t mapped = count == 0 ? hint->from : hint->mapped_until;
    if (count > 0 && count < hint->runs_count) {
        mapped = hint->runs[count].target_first;
    }
    at = put_word(put_field(at, " mapped=", mapped), count == 0 ? " runs=-" : " runs=");
    for (size_t i = 0; i < count; i++) {
        at = put_run(i == 0 ? at : put_word(at, ","), &hint->runs[i]);
    }
    at = put_word(at, END);
    *at = '\0';
    assert(at - out < HINT_TEXT_BYTES);
    return out;
}

struct fields { /* NAME=VALUE, a space behind each */
    const char *at;
    const char *end;
    const char *bad; /* the first that is not of its form */
};

static const char *take(struct fields *fields, const char *name, size_t *out_len)
{
    size_t name_len = strlen(name);
    size_t left = (size_t)(fields->end - fields->at);
    const char *space = memchr(fields->at, ' ', left);
    bool ok = fields->bad == NULL && space != NULL && (size_t)(space - fields->at) > name_len + 1 &&
              memcmp(fields->at, name, name_len) == 0 && fields->at[name_len] == '=';
    if (!ok) {
        fields->bad = fields->bad == NULL ? name : fields->bad;
        *out_len = 0;
        return "";
    }
    const char *value = fields->at + name_len + 1;
    *out_len = (size_t)(space - value);
    fields->at = space + 1;
    return value;
}

static int64_t take_number(struct fields *fields, const char *name, int64_t lowest)
{
    size_t len;
    int64_t value = lowest;
    const char *text = take(fields, name, &len);
    if (fields->bad == NULL && (!decimal_parse(text, len, &value) || value < lowest)) {
        fields->bad = name;
        return lowest;
    }
    return value;
}

static void take_word(struct fields *fields, const char *name, char *out, size_t room)
{
    size_t len;
    const char *text = take(fields, name, &len);
    snprintf(out, room, "%.*s", (int)(len < room ? len : 0), text);
    if (fields->bad == NULL && (len >= room || strlen(out) != len || !hint_word_ok(out, room))) {
        fields->bad = name;
    }
}

static bool take_run(const char *text, size_t len, struct hint_run *out)
{
    const char *colon = memchr(text, ':', len);
    size_t first = colon == NULL ? 0 : (size_t)(colon - text);
    return colon != NULL && decimal_parse(text, first, &out->target_first) &&
           decimal_parse(colon + 1, len - first - 1, &out->source_first) &&
           out->target_first >= 0 && out->source_first >= 0;
}

/* Ascending on both sides, the first at `from`, all below `mapped`. */
static bool runs_ok(const struct hint *hint)
{
    const struct hint_run *runs = hint->runs;
    if (hint->runs_count == 0) {
        return hint->mapped_until == hint->from;
    }
    for (size_t i = 1; i < hint->runs_count; i++) {
        int64_t length = runs[i].target_first - runs[i - 1].target_first;
        if (length <= 0 || runs[i].source_first < number_sum(runs[i - 1].source_first, length)) {
            return false;
        }
    }
    const struct hint_run *last = &runs[hint->runs_count - 1];
    int64_t length = hint->mapped_until - last->target_first;
    return runs[0].target_first == hint->from && length > 0 &&
           last->source_first <= INT64_MAX - length;
}

static void take_runs(struct fields *fields, struct hint *hint)
{
    size_t len;
    const char *text = take(fields, "runs", &len);
    if (fields->bad != NULL || (len == 1 && text[0] == '-')) {
        return;
    }
    hint->runs = must(calloc(len / 3 + 1, sizeof(*hint->runs))); /* "1:1" each, at least */
    const char *end = text + len;
    while (text <= end) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        const char *stop = comma == NULL ? end : comma;
        if ((size_t)(stop - text) < 3 ||
            !take_run(text, (size_t)(stop - text), &hint->runs[hint->runs_count])) {
            fields->bad = "runs";
            return;
        }
        hint->runs_count++;
        text = stop + 1;
    }
}

static bool ranges_ok(const struct hint *hint)
{
    return hint->from >= 0 && hint->from <= hint->likely_until &&
           hint->likely_until <= hint->until && hint->from <= hint->mapped_until &&
           hint->mapped_until <= hint->until && runs_ok(hint);
}

static const char *parse_fields(struct fields *fields, struct hint_origin *origin,
                                struct hint *hint)
{
    take_word(fields, "op", origin->operation, sizeof(origin->operation));
    hint->from = take_number(fields, "from", 0);
    hint->likely_until = take_number(fields, "likely", 0);
    hint->until = take_number(fields, "until", 0);
    take_word(fields, "cluster", origin->cluster, sizeof(origin->cluster));
    hint->read_ms = take_number(fields, "read", -1);
    origin->cut_ms = take_number(fields, "cut", -1);
    hint->mapped_until = take_number(fields, "mapped", 0);
    take_runs(fields, hint);
    if (fields->bad == NULL && (fields->end - fields->at != 1 || fields->at[0] != '!')) {
        return "the end";
    }
    if (fields->bad == NULL && !ranges_ok(hint)) {
        return "the ranges";
    }
    return fields->bad;
}

bool hint_parse(const char *text, size_t len, struct hint_origin *out_origin, struct hint *out,
                struct err *err)
{
    size_t begin = strlen(BEGIN);
    if (len <= begin || len >= HINT_TEXT_BYTES || memcmp(text, BEGIN, begin) != 0) {
        return err_set(err, ERR_REFUSED, "it does not begin as a hint: %s", BEGIN);
    }
    struct fields fields = {.at = text + begin, .end = text + len};
    struct hint_origin origin = {0};
    struct hint hint = {0};
    const char *bad = parse_fields(&fields, &origin, &hint);
    if (bad != NULL) {
        hint_done(&hint);
        return err_set(err, ERR_REFUSED, "a hint where %s is not of its form", bad);
    }
    *out_origin = origin;
    *out = hint;
    return true;
}

/* Where the operation's name begins; NULL: it is no hint. */
static const char *operation_in(const char *text, size_t len)
{
    size_t at = strlen(NAME);
    if (text == NULL || len < at || memcmp(text, NAME, at) != 0) {
        return NULL;
    }
    size_t digits = at;
    while (at < len && text[at] >= '0' && text[at] <= '9') {
        at++;
    }
    bool is = at > digits && len - at > strlen(" op=") && memcmp(text + at, " op=", 4) == 0;
    return is ? text + at + 4 : NULL;
}

bool hint_is(const char *text, size_t len)
{
    return operation_in(text, len) != NULL;
}

bool hint_is_of(const char *text, size_t len, const char *operation)
{
    const char *word = operation_in(text, len);
    size_t word_len = strlen(operation);
    return word != NULL && (size_t)(text + len - word) > word_len &&
           memcmp(word, operation, word_len) == 0 && word[word_len] == ' ';
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

static void put_member(struct text *out, const char *begin, int64_t value)
{
    text_puts(out, begin);
    text_number(out, value);
}

void hint_put_json(const struct hint *hint, struct text *out)
{
    put_member(out, "\"from\":", hint->from);
    put_member(out, ",\"likely_until\":", hint->likely_until);
    put_member(out, ",\"until\":", hint->until);
    put_member(out, ",\"read_ms\":", hint->read_ms);
    put_member(out, ",\"mapped_until\":", hint->mapped_until);
    text_puts(out, ",\"runs\":[");
    for (size_t i = 0; i < hint->runs_count; i++) {
        put_member(out, i == 0 ? "[" : ",[", hint->runs[i].target_first);
        put_member(out, ",", hint->runs[i].source_first);
        text_puts(out, "]");
    }
    text_puts(out, "]");
}

json_t *hint_json(const struct hint *hint)
{
    struct text text = {0};
    text_puts(&text, "{");
    hint_put_json(hint, &text);
    text_puts(&text, "}");
    char *whole = text_take(&text);
    json_t *out = json_loads(whole, 0, NULL);
    free(whole);
    assert(out != NULL);
    return out;
}

static bool json_runs(const json_t *value, struct hint *out)
{
    const json_t *runs = json_object_get(value, "runs");
    size_t count = json_array_size(runs);
    if (!json_is_array(runs) || count > HINT_RUNS_MAX) {
        return false;
    }
    out->runs = must(calloc(count + 1, sizeof(*out->runs)));
    for (size_t i = 0; i < count; i++) {
        const json_t *run = json_array_get(runs, i);
        const json_t *target = json_array_get(run, 0);
        const json_t *source = json_array_get(run, 1);
        if (!json_is_integer(target) || !json_is_integer(source) || json_array_size(run) != 2 ||
            json_integer_value(target) < 0 || json_integer_value(source) < 0) {
            return false;
        }
        out->runs[out->runs_count++] =
            (struct hint_run){json_integer_value(target), json_integer_value(source)};
    }
    return true;
}

bool hint_json_parse(const json_t *value, struct hint *out, struct err *err)
{
    struct hint hint = {0};
    bool ok = json_get_int(value, "from", &hint.from, err) &&
              json_get_int(value, "likely_until", &hint.likely_until, err) &&
              json_get_int(value, "until", &hint.until, err) &&
              json_get_int(value, "read_ms", &hint.read_ms, err) &&
              json_get_int(value, "mapped_until", &hint.mapped_until, err);
    if (ok && (!json_runs(value, &hint) || !ranges_ok(&hint) || hint.read_ms < -1)) {
        ok = err_set(err, ERR_REFUSED, "a hint whose ranges contradict each other");
    } else if (!ok && err != NULL) {
        err->kind = ERR_REFUSED;
    }
    if (!ok) {
        hint_done(&hint);
        return false;
    }
    *out = hint;
    return true;
}
