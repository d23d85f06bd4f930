#include "offsets/group_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/number.h"

/* Room for one more pointer in an array that doubles. */
static void *grow(void *items, size_t count, size_t *room)
{
    if (count < *room) {
        return items;
    }
    *room = *room == 0 ? 16 : *room * 2;
    return must(reallocarray(items, *room, sizeof(void *)));
}

/* Put one into such an array, before the one at `at`. @return the array */
static void *insert(void *items, size_t count, size_t *room, size_t at, void *item)
{
    void **list = grow(items, count, room);
    memmove(list + at + 1, list + at, (count - at) * sizeof(void *));
    list[at] = item;
    return list;
}

/* Groups and topics are kept in the order of their names. */
struct named {
    char *name;
};
static_assert(offsetof(struct group, name) == 0 && offsetof(struct group_topic, name) == 0,
              "both begin as struct named does");

static int compare_text(const char *a, size_t a_len, const char *b)
{
    size_t b_len = strlen(b);
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

/* Where the one of this name is in an array of them, or would be. */
static size_t name_place(const void *items, size_t count, const char *name, size_t len,
                         bool *out_there)
{
    const struct named *const *list = items;
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_text(name, len, list[middle]->name);
        if (order == 0) {
            *out_there = true;
            return middle;
        }
        low = order > 0 ? middle + 1 : low;
        high = order > 0 ? high : middle;
    }
    *out_there = false;
    return low;
}

/* --- kinds -------------------------------------------------------------------------------------------------------- */

const char *group_kind_name(enum group_kind kind)
{
    static const char *const names[GROUP_KINDS_COUNT] = {
        [GROUP_CONSUMER] = "consumer", [GROUP_STREAMS] = "streams", [GROUP_CONNECT] = "connect",
        [GROUP_SHARE] = "share",       [GROUP_OTHER] = "other",
    };
    return names[kind];
}

enum group_kind group_kind_of(const char *protocol_type, const char *type)
{
    if (strcasecmp(type, "share") == 0) {
        return GROUP_SHARE;
    }
    if (strcasecmp(type, "streams") == 0) {
        return GROUP_STREAMS;
    }
    if (strcmp(protocol_type, "connect") == 0) {
        return GROUP_CONNECT;
    }
    return protocol_type[0] == '\0' || strcmp(protocol_type, "consumer") == 0 ? GROUP_CONSUMER
                                                                              : GROUP_OTHER;
}

bool group_kind_carried(enum group_kind kind)
{
    return kind == GROUP_CONSUMER || kind == GROUP_STREAMS;
}

/* --- table -------------------------------------------------------------------------------------------------------- */

struct group_table *group_table_new(void)
{
    return must(calloc(1, sizeof(struct group_table)));
}

static void entry_free(struct group_entry *entry)
{
    group_entry_done(entry);
    free(entry);
}

static void group_free(struct group *group)
{
    for (size_t i = 0; i < group->entries_count; i++) {
        entry_free(group->entries[i]);
    }
    free(group->entries);
    free(group->name);
    free(group);
}

static void topic_free(struct group_topic *topic)
{
    for (int32_t i = 0; i < topic->parts_count; i++) {
        if (topic->parts[i] != NULL) {
            free(topic->parts[i]->asks);
            free(topic->parts[i]);
        }
    }
    free(topic->parts);
    free(topic->name);
    free(topic);
}

void group_table_free(struct group_table *table)
{
    if (table == NULL) {
        return;
    }
    for (size_t i = 0; i < table->groups_count; i++) {
        group_free(table->groups[i]);
    }
    for (size_t i = 0; i < table->topics_count; i++) {
        topic_free(table->topics[i]);
    }
    free(table->groups);
    free(table->topics);
    free(table);
}

struct group *group_find(const struct group_table *table, const char *name, size_t len)
{
    bool there;
    size_t at = name_place(table->groups, table->groups_count, name, len, &there);
    return there ? table->groups[at] : NULL;
}

struct group *group_make(struct group_table *table, const char *name)
{
    bool there;
    size_t at = name_place(table->groups, table->groups_count, name, strlen(name), &there);
    if (there) {
        return table->groups[at];
    }
    struct group *group = must(calloc(1, sizeof(*group)));
    group->name = must_copy(name);
    group->source_broker = -1;
    group->target_broker = -1;
    table->groups = insert(table->groups, table->groups_count, &table->groups_room, at, group);
    table->groups_count++;
    return group;
}

static bool topic_needed(const struct group_topic *topic)
{
    bool needed = topic->mirrored;
    for (int32_t p = 0; !needed && p < topic->parts_count; p++) {
        needed = topic->parts[p] != NULL && topic->parts[p]->entries_count > 0;
    }
    return needed;
}

static void sweep_topics(struct group_table *table)
{
    size_t kept = 0;
    for (size_t i = 0; i < table->topics_count; i++) {
        struct group_topic *topic = table->topics[i];
        if (topic_needed(topic)) {
            table->topics[kept++] = topic;
        } else {
            topic_free(topic);
        }
    }
    table->topics_count = kept;
}

void group_table_sweep(struct group_table *table)
{
    size_t kept = 0;
    for (size_t i = 0; i < table->groups_count; i++) {
        struct group *group = table->groups[i];
        if (group->at_source || group->entries_count > 0) {
            table->groups[kept++] = group;
        } else {
            group_free(group);
        }
    }
    table->groups_count = kept;
    sweep_topics(table);
}

/* --- topics and partitions ---------------------------------------------------------------------------------------- */

struct group_topic *group_topic_find(const struct group_table *table, const char *name, size_t len)
{
    bool there;
    size_t at = name_place(table->topics, table->topics_count, name, len, &there);
    return there ? table->topics[at] : NULL;
}

struct group_topic *group_topic_make(struct group_table *table, const char *name)
{
    bool there;
    size_t at = name_place(table->topics, table->topics_count, name, strlen(name), &there);
    if (there) {
        return table->topics[at];
    }
    struct group_topic *topic = must(calloc(1, sizeof(*topic)));
    topic->name = must_copy(name);
    table->topics = insert(table->topics, table->topics_count, &table->topics_room, at, topic);
    table->topics_count++;
    return topic;
}

void group_table_topics(struct group_table *table, const char *const *names, size_t count)
{
    for (size_t i = 0; i < table->topics_count; i++) {
        table->topics[i]->mirrored = false;
    }
    for (size_t i = 0; i < count; i++) {
        group_topic_make(table, names[i])->mirrored = true;
    }
}

struct group_part *group_part_make(struct group_topic *topic, int32_t partition)
{
    if (partition < 0 || partition >= GROUP_PARTITIONS_MAX) {
        return NULL;
    }
    if (partition >= topic->parts_count) {
        size_t count = (size_t)partition + 1;
        topic->parts = must(reallocarray(topic->parts, count, sizeof(struct group_part *)));
        memset(topic->parts + topic->parts_count, 0,
               (count - (size_t)topic->parts_count) * sizeof(struct group_part *));
        topic->parts_count = partition + 1;
    }
    struct group_part *part = topic->parts[partition];
    if (part == NULL) {
        part = topic->parts[partition] = must(calloc(1, sizeof(*part)));
        part->topic = topic->name;
        part->partition = partition;
        part->target_begin = -1;
    }
    return part;
}

void group_table_reading(struct group_table *table)
{
    table->reading++;
}

/* What it grew by counts half as much with each look that it grows less. */
static void follow_log(struct group_log *log, int64_t end)
{
    int64_t more = end - log->end;
    log->end = end;
    log->grown = number_most(more, log->grown / 2);
    log->still = more > 0 ? 0 : log->still + 1;
}

void group_part_checkpoint(const struct group_table *table, struct group_part *part,
                           const struct checkpoint *checkpoint)
{
    const struct checkpoint *before = &part->checkpoint;
    if (part->seen + 1 < table->reading || !checkpoint_same_incarnation(before, checkpoint) ||
        checkpoint->source_next < before->source_next ||
        checkpoint->target_next < before->target_next) {
        part->epoch++;
        part->log = (struct group_log){.end = checkpoint->target_next};
    } else {
        follow_log(&part->log, checkpoint->target_next);
    }
    part->seen = table->reading;
    part->checkpoint = *checkpoint;
}

/* --- places ------------------------------------------------------------------------------------------------------- */

static bool part_before(const struct group_part *a, const struct group_part *b)
{
    uintptr_t of_a = (uintptr_t)a->topic;
    uintptr_t of_b = (uintptr_t)b->topic;
    return of_a != of_b ? of_a < of_b : a->partition < b->partition;
}

static size_t entry_place(const struct group *group, const struct group_part *part)
{
    size_t low = 0;
    size_t high = group->entries_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        bool before = part_before(group->entries[middle]->part, part);
        low = before ? middle + 1 : low;
        high = before ? high : middle;
    }
    return low;
}

struct group_entry *group_entry_find(struct group *group, const struct group_part *part)
{
    /* Answers name partitions in the same order each second. */
    size_t next = group->near + 1 < group->entries_count ? group->near + 1 : 0;
    if (next < group->entries_count && group->entries[next]->part == part) {
        group->near = next;
        return group->entries[next];
    }
    size_t at = entry_place(group, part);
    bool there = at < group->entries_count && group->entries[at]->part == part;
    group->near = there ? at : group->near;
    return there ? group->entries[at] : NULL;
}

struct group_entry *group_entry_make(struct group_table *table, struct group *group,
                                     struct group_part *part)
{
    struct group_entry *entry = group_entry_find(group, part);
    if (entry != NULL) {
        return entry;
    }
    if (table->entries_count >= GROUP_ENTRIES_MAX) {
        table->dropped++;
        return NULL;
    }
    entry = must(calloc(1, sizeof(*entry)));
    entry->part = part;
    entry->facts = (struct group_facts){.source_offset = -1,
                                        .target_offset = -1,
                                        .verdict = VERDICT_UNMAPPED,
                                        .hold = GROUP_FREE,
                                        .committed = -1,
                                        .before = -1,
                                        .read_ms = -1,
                                        .limit = -1};
    entry->target_seen = -1;
    size_t at = entry_place(group, part);
    group->entries = insert(group->entries, group->entries_count, &group->entries_room, at, entry);
    group->entries_count++;
    table->entries_count++;
    part->entries_count++;
    return entry;
}

void group_entry_remove(struct group_table *table, struct group *group, size_t index)
{
    assert(index < group->entries_count);
    table->stored_count -= group->entries[index]->stored ? 1 : 0;
    group->entries[index]->part->entries_count--;
    entry_free(group->entries[index]);
    memmove(group->entries + index, group->entries + index + 1,
            (group->entries_count - index - 1) * sizeof(struct group_entry *));
    group->entries_count--;
    table->entries_count--;
    group->near = 0;
}

void group_table_unstored(struct group_table *table)
{
    for (size_t i = 0; i < table->groups_count; i++) {
        struct group *group = table->groups[i];
        for (size_t j = 0; j < group->entries_count; j++) {
            group->entries[j]->stored = false;
        }
    }
    table->stored_count = 0;
}

/* --- translation -------------------------------------------------------------------------------------------------- */

/* At the mirror's end, or past it, the checkpoint says it all. */
static bool map_by_checkpoint(struct group_entry *entry)
{
    const struct group_part *part = entry->part;
    int64_t ahead = entry->facts.source_offset - part->checkpoint.source_next;
    if (ahead < 0) {
        return false;
    }
    entry->mapped = true;
    entry->at_end = true;
    entry->found = (struct translation){.verdict = ahead == 0 ? VERDICT_EXACT : VERDICT_AHEAD,
                                        .source_offset = entry->facts.source_offset,
                                        .target_offset = part->checkpoint.target_next,
                                        .ahead_count = ahead};
    entry->found_epoch = part->epoch;
    return true;
}

static bool needs_the_map(const struct group_entry *entry, int64_t now_ms)
{
    return !entry->mapped || entry->at_end || entry->found_epoch != entry->part->epoch ||
           now_ms >= entry->ask_ms;
}

static void ask(struct group_part *part, struct group_entry *entry)
{
    part->asks = grow(part->asks, part->asks_count, &part->asks_room);
    part->asks[part->asks_count++] = entry;
}

static void clear_asks(struct group_table *table)
{
    for (size_t i = 0; i < table->topics_count; i++) {
        struct group_topic *topic = table->topics[i];
        for (int32_t p = 0; p < topic->parts_count; p++) {
            if (topic->parts[p] != NULL) {
                topic->parts[p]->asks_count = 0;
            }
        }
    }
}

/* @return true: it was put into its part's asks */
static bool map_entry(const struct group_table *table, struct group_entry *entry, int64_t now_ms,
                      bool room)
{
    struct group_part *part = entry->part;
    entry->pending = false;
    if (entry->facts.source_offset < 0 || part->seen == 0 || part->seen != table->reading) {
        entry->mapped = false;
        return false;
    }
    if (map_by_checkpoint(entry) || !needs_the_map(entry, now_ms)) {
        return false;
    }
    if (entry->found_epoch != part->epoch || entry->at_end) {
        entry->mapped = false; /* what it was is not so any more */
    }
    entry->pending = !entry->mapped;
    if (room) {
        ask(part, entry);
    }
    return room;
}

size_t group_table_map(struct group_table *table, int64_t now_ms, size_t most)
{
    size_t count = 0;
    size_t begin = table->groups_count == 0 ? 0 : table->turn % table->groups_count;
    bool full = false;
    clear_asks(table);
    for (size_t i = 0; i < table->groups_count; i++) {
        size_t at = (begin + i) % table->groups_count;
        struct group *group = table->groups[at];
        for (size_t j = 0; j < group->entries_count; j++) {
            count += map_entry(table, group->entries[j], now_ms, count < most) ? 1 : 0;
        }
        if (count >= most && !full) { /* the next one begins here */
            full = true;
            table->turn = at;
        }
    }
    return count;
}

static int by_source(const void *a, const void *b)
{
    int64_t of_a = (*(struct group_entry *const *)a)->facts.source_offset;
    int64_t of_b = (*(struct group_entry *const *)b)->facts.source_offset;
    return (of_a > of_b) - (of_a < of_b);
}

size_t group_table_limits(struct group_table *table)
{
    size_t count = 0;
    for (size_t i = 0; i < table->topics_count; i++) {
        struct group_topic *topic = table->topics[i];
        for (int32_t p = 0; p < topic->parts_count; p++) {
            if (topic->parts[p] != NULL) {
                topic->parts[p]->limit_wanted = false;
            }
        }
    }
    for (size_t i = 0; i < table->groups_count; i++) {
        const struct group *group = table->groups[i];
        for (size_t j = 0; group->read && j < group->entries_count; j++) {
            bool wanted = group_entry_wants_limit(group->entries[j], group->source_empty);
            group->entries[j]->part->limit_wanted |= wanted;
            count += wanted ? 1 : 0;
        }
    }
    return count;
}

void group_asks_sort(struct group_part *part)
{
    qsort(part->asks, part->asks_count, sizeof(struct group_entry *), by_source);
}

void group_entry_mapped(struct group_entry *entry, const struct translation *found, int64_t now_ms)
{
    int64_t again_ms = found->verdict == VERDICT_UNMAPPED ? GROUP_UNMAPPED_MS : GROUP_LOOK_MS;
    entry->mapped = true;
    entry->pending = false;
    entry->at_end = false;
    entry->found = *found;
    entry->found_epoch = entry->part->epoch;
    entry->ask_ms = now_ms + again_ms + group_entry_jitter(entry, again_ms);
}

/* --- counts ------------------------------------------------------------------------------------------------------- */

/* What this place would read again. @return there is something */
static bool count_reread(const struct group_table *table, const struct group_entry *entry,
                         struct group_counts *out)
{
    const struct group_part *part = entry->part;
    bool known = part->seen != 0 && part->seen == table->reading;
    int64_t records = known ? group_entry_reread(entry, &part->log) : -1;
    out->reread_unknown += records < 0 ? 1 : 0;
    out->reread_records +=
        records > 0 ? (uint64_t)number_least(records, INT64_MAX / GROUP_ENTRIES_MAX) : 0;
    return records > 0;
}

void group_table_count(const struct group_table *table, struct group_counts *out)
{
    *out = (struct group_counts){0};
    for (size_t i = 0; i < table->groups_count; i++) {
        const struct group *group = table->groups[i];
        out->kinds[group->kind] += group->at_source ? 1 : 0;
        if (!group_kind_carried(group->kind) || group->entries_count == 0) {
            continue;
        }
        out->groups++;
        out->member_groups += group->target_members ? 1 : 0;
        bool again = false;
        for (size_t j = 0; j < group->entries_count; j++) {
            const struct group_facts *facts = &group->entries[j]->facts;
            if (facts->source_offset >= 0) {
                out->verdicts[facts->verdict]++;
                out->holds[facts->hold]++;
                again = count_reread(table, group->entries[j], out) || again;
            }
        }
        out->reread_groups += again ? 1 : 0;
    }
}
