#include "offsets/group_entry.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/number.h"
#include "offsets/checkpoint.h"
#include "offsets/hint.h"

static const char *const hold_names[GROUP_HOLDS_COUNT] = {
    [GROUP_FREE] = "free",       [GROUP_OFF] = "off",   [GROUP_MEMBERS] = "members",
    [GROUP_FOREIGN] = "foreign", [GROUP_PAST] = "past", [GROUP_REFUSED] = "refused",
};

const char *group_hold_name(enum group_hold hold)
{
    return hold_names[hold];
}

int64_t group_entry_jitter(const struct group_entry *entry, int64_t of_ms)
{
    uint64_t bits = ((uint64_t)(uintptr_t)entry >> 4) * 0x9e3779b97f4a7c15U;
    return (int64_t)(bits >> 33) % (of_ms / 2 + 1);
}

/* --- source ------------------------------------------------------------------------------------------------------- */

/* Kafka's strings may hold a NUL; what is behind it is not carried. */
static size_t text_len(const char *text, size_t len)
{
    size_t bound = len < GROUP_METADATA_BYTES ? len : GROUP_METADATA_BYTES;
    return text == NULL ? 0 : strnlen(text, bound);
}

static void set_metadata(struct group_entry *entry, const char *text, size_t len)
{
    free(entry->metadata);
    entry->metadata = NULL;
    if (text != NULL) {
        size_t bound = text_len(text, len);
        entry->metadata = must(calloc(1, bound + 1));
        memcpy(entry->metadata, text, bound);
    }
}

static bool same_text(const char *ours, const char *text, size_t len)
{
    if (ours == NULL || text == NULL) {
        return ours == NULL && text == NULL;
    }
    size_t bound = text_len(text, len);
    return strlen(ours) == bound && memcmp(ours, text, bound) == 0;
}

#define PACE_GAP_MS \
    5000 /* not looked at for longer: how often it committed meanwhile is not known */
#define PACE_LONG_MS 60000 /* a group that rests says little of how it reads */
#define PACE_MEMORY  8     /* commits that a mean is of */

/* Rounded up, so that it gets there. */
static int64_t mean(int64_t before, int64_t now)
{
    int64_t more = now - before;
    return before + (more > 0 ? more + PACE_MEMORY - 1 : more) / PACE_MEMORY;
}

/* The first move has begun at an unknown time. */
static void measure(struct group_entry *entry, int64_t offset, int64_t now_ms)
{
    struct group_pace *pace = &entry->facts.pace;
    int64_t more = offset - entry->facts.source_offset;
    bool watched = entry->seen_ms != 0 && now_ms - entry->seen_ms <= PACE_GAP_MS;
    if (more > 0 && watched && entry->moved_ms != 0) {
        int64_t took_ms = now_ms - entry->moved_ms;
        took_ms = took_ms > PACE_LONG_MS ? PACE_LONG_MS : took_ms < 1 ? 1 : took_ms;
        bool known = pace->commits_ms > 0;
        pace->offsets = known ? mean(pace->offsets, more) : more;
        pace->commits_ms = known ? mean(pace->commits_ms, took_ms) : took_ms;
        entry->burst = number_most(more, entry->burst - entry->burst / PACE_MEMORY);
    }
    entry->moved_ms = watched ? now_ms : 0;
}

bool group_entry_source(struct group_entry *entry, int64_t offset, const char *metadata,
                        size_t metadata_len, int64_t now_ms, int64_t wall_ms)
{
    struct group_facts *facts = &entry->facts;
    bool other = offset != facts->source_offset;
    if (other && facts->source_offset >= 0) {
        measure(entry, offset, now_ms);
    }
    facts->read_ms = other ? wall_ms : facts->read_ms;
    entry->stood = other ? 0 : entry->stood + 1;
    entry->seen_ms = now_ms;
    entry->absent_ms = 0;
    if (hint_is(metadata, metadata_len)) {
        metadata = NULL;
    }
    if (!same_text(entry->metadata, metadata, metadata_len)) {
        set_metadata(entry, metadata, metadata_len);
        entry->metadata_stored = false;
        entry->metadata_seen = false;
    }
    if (other) {
        entry->rewound = entry->rewound || offset < facts->source_offset;
        facts->source_offset = offset;
        entry->mapped = false;
        entry->ask_ms = 0;
    }
    return other;
}

void group_entry_readers(struct group_entry *entry, bool empty, bool was_empty, bool moved)
{
    if (!empty) {
        entry->by_hand = false;
    } else if (moved && was_empty) {
        entry->by_hand = true;
    } else if (!moved) {
        return;
    }
    entry->facts.limit = -1;
}

bool group_entry_wants_limit(const struct group_entry *entry, bool empty)
{
    return empty && !entry->by_hand && entry->facts.limit < 0 && entry->facts.source_offset >= 0;
}

void group_entry_limit(struct group_entry *entry, int64_t source_end)
{
    int64_t least = entry->facts.source_offset;
    entry->facts.limit = source_end > least ? source_end : least;
}

/* --- translation -------------------------------------------------------------------------------------------------- */

void group_entry_settle(struct group_entry *entry, int64_t target_begin)
{
    struct group_facts *facts = &entry->facts;
    if (!entry->mapped) {
        facts->verdict = VERDICT_UNMAPPED;
        facts->target_offset = -1;
        facts->count = 0;
        return;
    }
    facts->verdict = entry->found.verdict;
    facts->target_offset = facts->verdict == VERDICT_UNMAPPED ? -1 : entry->found.target_offset;
    facts->count = facts->verdict == VERDICT_AHEAD ? entry->found.ahead_count : 0;
    if (facts->target_offset >= 0 && facts->target_offset < target_begin) {
        facts->count = target_begin - facts->target_offset;
        facts->target_offset = target_begin;
        facts->verdict = VERDICT_LOST;
    }
}

/* --- what is read again ------------------------------------------------------------------------------------------- */

int64_t group_pace_unseen(const struct group_pace *pace, int64_t unseen_ms)
{
    double more = (double)pace->offsets / (double)pace->commits_ms * (double)unseen_ms;
    return more >= 1e15 ? INT64_MAX : number_sum(pace->offsets, (int64_t)more);
}

#define LATE_LOOK_MS (2 * GROUP_LOOK_EACH_MS) /* a round of the keeper may take long */
#define QUIET_LOOKS \
    10 /* a second each: longer than clients leave between two commits as they come */

/* Neither the group nor the topic moves: what is mirrored now is all that can have been read. */
static bool is_quiet(const struct group_entry *entry, const struct group_log *log)
{
    int64_t looks = number_least(entry->stood, log->still);
    return looks >= QUIET_LOOKS && looks * GROUP_LOOK_EACH_MS / 2 >= entry->facts.pace.commits_ms;
}

int64_t group_entry_reread(const struct group_entry *entry, const struct group_log *log)
{
    const struct group_facts *facts = &entry->facts;
    int64_t stands = entry->target_seen >= 0 ? entry->target_seen : facts->committed;
    if (facts->source_offset < 0) {
        return 0;
    }
    if (stands < 0 || facts->target_offset < 0) {
        return -1;
    }
    int64_t grows = number_sum(log->grown, log->grown);
    int64_t behind = number_most(facts->target_offset - stands, 0);
    int64_t mirrored = number_sum(number_most(log->end - stands, 0), grows);
    const struct group_pace pace = {.offsets = number_most(facts->pace.offsets, entry->burst),
                                    .commits_ms = facts->pace.commits_ms};
    int64_t most = mirrored;
    if (pace.commits_ms > 0) { /* a mirror that catches up passes what the group is ahead by */
        int64_t passed = facts->verdict == VERDICT_AHEAD ? number_least(facts->count, grows) : 0;
        int64_t read = number_sum(passed, group_pace_unseen(&pace, LATE_LOOK_MS));
        most = number_sum(behind, read);
    }
    if (facts->limit >= facts->source_offset) { /* nobody reads for it */
        most = number_least(most, number_sum(behind, facts->limit - facts->source_offset));
        return number_least(most, mirrored);
    }
    return is_quiet(entry, log) ? number_least(most, mirrored) : most;
}

/* --- decision ----------------------------------------------------------------------------------------------------- */

static bool touch_is_due(const struct group_entry *entry, int64_t wall_ms)
{
    int64_t age_ms = wall_ms - entry->time_ms - group_entry_jitter(entry, GROUP_TOUCH_MS);
    return age_ms >= GROUP_TOUCH_MS || age_ms < -2 * GROUP_TOUCH_MS; /* or the clock was put back */
}

static bool is_held(const struct group_entry *entry)
{
    enum group_hold hold = entry->facts.hold;
    return hold == GROUP_FOREIGN || hold == GROUP_PAST || hold == GROUP_REFUSED;
}

bool group_entry_due(const struct group_entry *entry, bool off, bool members, int64_t now_ms,
                     int64_t wall_ms)
{
    const struct group_facts *facts = &entry->facts;
    if (off || members || facts->target_offset < 0 || facts->source_offset < 0) {
        return false;
    }
    if (now_ms >= entry->look_ms) {
        return true;
    }
    if (is_held(entry)) {
        return false;
    }
    return facts->target_offset != entry->target_seen || !entry->metadata_seen ||
           touch_is_due(entry, wall_ms);
}

/* May what stands at the target be replaced by the translation? */
static enum group_hold judge(struct group_entry *entry, const struct group_target *target)
{
    struct group_facts *facts = &entry->facts;
    int64_t want = facts->target_offset;
    bool ours = facts->committed >= 0 &&
                (target->offset == facts->committed || target->offset == facts->before);
    if (target->offset < 0) { /* it has none: expired, deleted, or never had */
        return GROUP_FREE;
    }
    if (facts->committed >= 0 && !ours && target->offset != want) {
        entry->past_ms = 0;
        return GROUP_FOREIGN;
    }
    if (want >= target->offset || !ours) {
        entry->past_ms = 0;
        return want >= target->offset ? GROUP_FREE : GROUP_PAST;
    }
    if (entry->past_ms == 0) {
        entry->past_ms = target->now_ms;
    }
    bool lasting = target->now_ms - entry->past_ms >= GROUP_PAST_MS;
    return entry->rewound || lasting ? GROUP_FREE : GROUP_PAST;
}

bool group_entry_decide(struct group_entry *entry, const struct group_target *target)
{
    struct group_facts *facts = &entry->facts;
    if (target->off || target->members) {
        facts->hold = target->off ? GROUP_OFF : GROUP_MEMBERS;
        return false;
    }
    if (facts->target_offset < 0 || facts->source_offset < 0) {
        facts->hold = GROUP_FREE;
        return false;
    }
    entry->target_seen = target->offset;
    entry->metadata_seen = target->same_metadata;
    facts->hold = judge(entry, target);
    if (facts->hold != GROUP_FREE) {
        entry->look_ms = target->now_ms + (entry->past_ms != 0 ? 1000 : GROUP_HELD_MS);
        return false;
    }
    entry->past_ms = 0;
    bool same = target->offset == facts->target_offset && target->same_metadata;
    if (same && facts->committed == facts->target_offset && !touch_is_due(entry, target->wall_ms)) {
        entry->rewound = false;
        entry->look_ms = target->now_ms + GROUP_LOOK_MS + group_entry_jitter(entry, GROUP_LOOK_MS);
        return false;
    }
    facts->before = target->offset;
    facts->committed = facts->target_offset;
    entry->time_ms = target->wall_ms;
    return true;
}

void group_entry_answered(struct group_entry *entry, bool ok, enum group_hold why, int64_t now_ms)
{
    if (ok) {
        entry->target_seen = entry->facts.committed;
        entry->metadata_seen = true;
        entry->rewound = false;
        entry->look_ms = now_ms + GROUP_LOOK_MS + group_entry_jitter(entry, GROUP_LOOK_MS);
        return;
    }
    entry->facts.hold = why;
    entry->look_ms = why == GROUP_REFUSED ? now_ms + GROUP_HELD_MS : 0;
}

/* --- what is kept ------------------------------------------------------------------------------------------------- */

static bool same_facts(const struct group_facts *a, const struct group_facts *b)
{
    return a->source_offset == b->source_offset && a->target_offset == b->target_offset &&
           a->verdict == b->verdict && a->count == b->count && a->hold == b->hold &&
           a->committed == b->committed && a->before == b->before && a->read_ms == b->read_ms &&
           a->pace.offsets == b->pace.offsets && a->pace.commits_ms == b->pace.commits_ms &&
           a->limit == b->limit;
}

bool group_entry_unsaved(const struct group_entry *entry)
{
    return !entry->stored || !entry->metadata_stored ||
           !same_facts(&entry->facts, &entry->stored_facts);
}

void group_entry_saved(struct group_entry *entry)
{
    entry->stored = true;
    entry->metadata_stored = true;
    entry->stored_facts = entry->facts;
}

void group_entry_done(struct group_entry *entry)
{
    free(entry->metadata);
    entry->metadata = NULL;
}

/* --- text --------------------------------------------------------------------------------------------------------- */

size_t group_entry_text(const struct group_entry *entry, char out[GROUP_TEXT_BYTES])
{
    const struct group_facts *facts = &entry->facts;
    int len = snprintf(out, GROUP_TEXT_BYTES,
                       "v2 %" PRId64 " %" PRId64 " %s %" PRId64 " %s %" PRId64 " %" PRId64
                       " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %s%.*s",
                       facts->source_offset, facts->target_offset, verdict_text(facts->verdict),
                       facts->count, group_hold_name(facts->hold), facts->committed, facts->before,
                       entry->time_ms, facts->read_ms, facts->pace.offsets, facts->pace.commits_ms,
                       facts->limit, entry->metadata == NULL ? "-" : "=", GROUP_METADATA_BYTES,
                       entry->metadata == NULL ? "" : entry->metadata);
    assert(len > 0 && len < GROUP_TEXT_BYTES);
    return (size_t)len;
}

struct words { /* one after the other, a space between two of them */
    const char *at;
    size_t left;
    bool bad;
};

static const char *take(struct words *words, size_t *out_len)
{
    const char *word = words->at;
    const char *end = memchr(word, ' ', words->left);
    *out_len = end == NULL ? 0 : (size_t)(end - word);
    if (*out_len == 0) {
        words->bad = true;
        return word;
    }
    words->left -= *out_len + 1;
    words->at = end + 1;
    return word;
}

static int64_t take_number(struct words *words)
{
    size_t len;
    int64_t value = -1;
    const char *word = take(words, &len);
    if (!words->bad && (!decimal_parse(word, len, &value) || value < -1)) {
        words->bad = true;
    }
    return value;
}

static bool is_word(const char *word, size_t len, const char *name)
{
    return strlen(name) == len && memcmp(word, name, len) == 0;
}

static enum verdict take_verdict(struct words *words)
{
    size_t len;
    const char *word = take(words, &len);
    for (int i = 0; !words->bad && i <= VERDICT_UNMAPPED; i++) {
        if (is_word(word, len, verdict_text((enum verdict)i))) {
            return (enum verdict)i;
        }
    }
    words->bad = true;
    return VERDICT_UNMAPPED;
}

static enum group_hold take_hold(struct words *words)
{
    size_t len;
    const char *word = take(words, &len);
    for (int i = 0; !words->bad && i < GROUP_HOLDS_COUNT; i++) {
        if (is_word(word, len, hold_names[i])) {
            return (enum group_hold)i;
        }
    }
    words->bad = true;
    return GROUP_FREE;
}

/* 0 = none that we know. */
static int take_version(struct words *words)
{
    size_t len;
    const char *word = take(words, &len);
    if (words->bad) {
        return 0;
    }
    return is_word(word, len, "v1") ? 1 : is_word(word, len, "v2") ? 2 : 0;
}

bool group_entry_parse(const char *text, size_t len, struct group_entry *out, struct err *err)
{
    struct words words = {.at = text, .left = len};
    struct group_facts facts = {.read_ms = -1, .limit = -1};
    int version = take_version(&words);
    if (version == 0) {
        return err_set(err, ERR_REFUSED, "a group's place does not begin with v2");
    }
    facts.source_offset = take_number(&words);
    facts.target_offset = take_number(&words);
    facts.verdict = take_verdict(&words);
    facts.count = take_number(&words);
    facts.hold = take_hold(&words);
    facts.committed = take_number(&words);
    facts.before = take_number(&words);
    int64_t time_ms = take_number(&words);
    if (version > 1) {
        facts.read_ms = take_number(&words);
        facts.pace.offsets = take_number(&words);
        facts.pace.commits_ms = take_number(&words);
        facts.limit = take_number(&words);
        words.bad = words.bad || facts.pace.offsets < 0 || facts.pace.commits_ms < 0;
    }
    bool none = !words.bad && words.left == 1 && words.at[0] == '-';
    bool some = !words.bad && words.left >= 1 && words.at[0] == '=';
    if (!(none || some) || words.left > GROUP_METADATA_BYTES + 1) {
        return err_set(err, ERR_REFUSED, "a group's place has a strange form");
    }
    out->facts = facts;
    out->time_ms = time_ms;
    set_metadata(out, none ? NULL : words.at + 1, words.left - 1);
    return true;
}

bool group_field_text(const char *group, const char *topic, int32_t partition,
                      char out[GROUP_FIELD_BYTES])
{
    int len = snprintf(out, GROUP_FIELD_BYTES, "%s:%s:%" PRId32, group, topic, partition);
    return len > 0 && len < GROUP_FIELD_BYTES;
}

static const char *last_colon(const char *text, size_t len)
{
    return memrchr(text, ':', len);
}

bool group_field_parse(const char *text, size_t len, char out_group[GROUP_FIELD_BYTES],
                       char out_topic[TOPIC_NAME_BYTES], int32_t *out_partition)
{
    const char *second = last_colon(text, len);
    const char *first = second == NULL ? NULL : last_colon(text, (size_t)(second - text));
    if (first == NULL || len >= GROUP_FIELD_BYTES || memchr(text, '\0', len) != NULL) {
        return false;
    }
    size_t group_len = (size_t)(first - text);
    if (!place_parse(first + 1, len - group_len - 1, out_topic, out_partition)) {
        return false;
    }
    snprintf(out_group, GROUP_FIELD_BYTES, "%.*s", (int)group_len, text);
    return true;
}
