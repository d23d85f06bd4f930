/* offsets/group_table, offsets/group_lookup: groups and their places, what is asked of the map and what its answer says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <hiredis/hiredis.h>

#include "offsets/group_lookup.h"

#define NOW_MS  1000
#define WALL_MS 1764000000000

static struct checkpoint checkpoint_of(int32_t generation, int64_t source_next, int64_t target_next)
{
    struct checkpoint checkpoint = {.generation = generation,
                                    .source_next = source_next,
                                    .target_next = target_next,
                                    .sequence_next = target_next,
                                    .leader_epoch = -1,
                                    .time_ms = 1};
    checkpoint.source_topic_id.bytes[0] = 0xaa;
    checkpoint.target_topic_id.bytes[0] = 0xbb;
    return checkpoint;
}

static void read_checkpoint(struct group_table *table, struct group_part *part, int32_t generation,
                            int64_t source_next, int64_t target_next)
{
    struct checkpoint checkpoint = checkpoint_of(generation, source_next, target_next);
    group_table_reading(table);
    group_part_checkpoint(table, part, &checkpoint);
}

/* --- table -------------------------------------------------------------------------------------------------------- */

static void kinds(void **state)
{
    (void)state;
    assert_int_equal(group_kind_of("consumer", "classic"), GROUP_CONSUMER);
    assert_int_equal(group_kind_of("consumer", "consumer"), GROUP_CONSUMER);
    assert_int_equal(group_kind_of("consumer", ""), GROUP_CONSUMER);
    assert_int_equal(group_kind_of("", "classic"), GROUP_CONSUMER);
    assert_int_equal(group_kind_of("connect", "classic"), GROUP_CONNECT);
    assert_int_equal(group_kind_of("share", "Share"), GROUP_SHARE);
    assert_int_equal(group_kind_of("streams", "streams"), GROUP_STREAMS);
    assert_int_equal(group_kind_of("sr", "classic"), GROUP_OTHER);
    assert_true(group_kind_carried(GROUP_STREAMS));
    assert_false(group_kind_carried(GROUP_SHARE));
    assert_false(group_kind_carried(GROUP_CONNECT));
}

static void groups_and_places_are_found_again(void **state)
{
    (void)state;
    struct group_table *table = group_table_new();
    char name[32];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "g%d", i * 37 % 100);
        struct group *group = group_make(table, name);
        group->at_source = true;
        for (int t = 0; t < 3; t++) {
            struct group_topic *topic = group_topic_make(table, t == 0   ? "a"
                                                                : t == 1 ? "b"
                                                                         : "a.b");
            for (int32_t p = 0; p < 5; p++) {
                assert_non_null(group_entry_make(table, group, group_part_make(topic, 4 - p)));
            }
        }
    }
    assert_int_equal(table->groups_count, 100);
    assert_int_equal(table->entries_count, 1500);
    assert_null(group_find(table, "g", 1));
    assert_null(group_find(table, "g100", 4));
    struct group *group = group_find(table, "g42", 3);
    struct group_topic *topic = group_topic_find(table, "a.b", 3);
    for (int round = 0; round < 2; round++) {
        for (int32_t p = 0; p < 5; p++) {
            struct group_entry *entry = group_entry_find(group, group_part_make(topic, p));
            assert_int_equal(entry->part->partition, p);
            assert_string_equal(entry->part->topic, "a.b");
        }
    }
    assert_null(group_part_make(topic, -1));
    assert_null(group_part_make(topic, INT32_MAX)); /* a broker that lies reserves nothing */
    while (group->entries_count > 0) {
        group_entry_remove(table, group, group->entries_count / 2);
    }
    assert_int_equal(table->entries_count, 1485);
    group->at_source = false;
    group_table_sweep(table);
    assert_null(group_find(table, "g42", 3));
    assert_int_equal(table->groups_count, 99);
    group_table_free(table);
}

static struct group_entry *one_place(struct group_table *table, int64_t source)
{
    struct group *group = group_make(table, "g");
    struct group_part *part = group_part_make(group_topic_make(table, "t"), 0);
    struct group_entry *entry = group_entry_make(table, group, part);
    group_entry_source(entry, source, NULL, 0, NOW_MS, WALL_MS);
    return entry;
}

static void the_checkpoint_answers_for_its_end_and_behind(void **state)
{
    (void)state;
    struct group_table *table = group_table_new();
    struct group_entry *entry = one_place(table, 1000);
    assert_int_equal(group_table_map(table, 0, 10),
                     0); /* no checkpoint: unmapped, and nobody to ask */
    group_entry_settle(entry, -1);
    assert_int_equal(entry->facts.verdict, VERDICT_UNMAPPED);
    read_checkpoint(table, entry->part, 0, 1000, 600);
    assert_int_equal(group_table_map(table, 0, 10), 0);
    group_entry_settle(entry, -1);
    assert_int_equal(entry->facts.verdict, VERDICT_EXACT);
    assert_int_equal(entry->facts.target_offset, 600);
    group_entry_source(entry, 1010, NULL, 0, NOW_MS, WALL_MS);
    assert_int_equal(group_table_map(table, 0, 10), 0);
    group_entry_settle(entry, -1);
    assert_int_equal(entry->facts.verdict, VERDICT_AHEAD);
    assert_int_equal(entry->facts.count, 10);
    assert_int_equal(entry->facts.target_offset, 600);
    group_table_reading(table); /* the checkpoint is gone: nothing is known */
    assert_int_equal(group_table_map(table, 0, 10), 0);
    group_entry_settle(entry, -1);
    assert_int_equal(entry->facts.verdict, VERDICT_UNMAPPED);
    group_table_free(table);
}

static void tell(struct group_entry *entry, enum verdict verdict, int64_t target, int64_t now_ms)
{
    const struct translation found = {
        .verdict = verdict, .source_offset = entry->facts.source_offset, .target_offset = target};
    group_entry_mapped(entry, &found, now_ms);
}

static void the_map_is_asked_when_it_may_say_something_new(void **state)
{
    (void)state;
    struct group_table *table = group_table_new();
    struct group_entry *entry = one_place(table, 900);
    read_checkpoint(table, entry->part, 0, 1000, 600);
    assert_int_equal(group_table_map(table, 0, 10), 1);
    assert_true(entry->pending);
    tell(entry, VERDICT_EXACT, 550, 0);
    assert_false(entry->pending);
    read_checkpoint(table, entry->part, 0, 1100, 700);
    assert_int_equal(group_table_map(table, 1000, 10), 0);
    group_entry_source(entry, 950, NULL, 0, NOW_MS, WALL_MS); /* it went on */
    assert_int_equal(group_table_map(table, 2000, 10), 1);
    tell(entry, VERDICT_EXACT, 580, 2000);
    read_checkpoint(table, entry->part, 0, 1050, 650); /* cut */
    assert_int_equal(group_table_map(table, 3000, 10), 1);
    tell(entry, VERDICT_EXACT, 580, 3000);
    read_checkpoint(table, entry->part, 1, 1060, 660); /* another generation */
    assert_int_equal(group_table_map(table, 4000, 10), 1);
    tell(entry, VERDICT_UNMAPPED, -1, 4000);
    read_checkpoint(table, entry->part, 1, 1060, 660);
    assert_int_equal(group_table_map(table, 5000, 10), 0); /* not each second */
    assert_int_equal(group_table_map(table, 4000 + 2 * GROUP_UNMAPPED_MS, 10), 1);
    group_table_free(table);
}

/* Where it stood was the end; where the next record came to be only the map knows. */
static void what_stood_at_the_end_is_asked_for_when_the_mirror_went_on(void **state)
{
    (void)state;
    struct group_table *table = group_table_new();
    struct group_entry *entry = one_place(table, 1000);
    read_checkpoint(table, entry->part, 0, 1000, 600);
    assert_int_equal(group_table_map(table, 0, 10), 0);
    read_checkpoint(table, entry->part, 0, 1001, 651);
    assert_int_equal(group_table_map(table, 1000, 10), 1);
    assert_true(entry->pending);
    tell(entry, VERDICT_EXACT, 650, 1000);
    read_checkpoint(table, entry->part, 0, 1002, 652);
    assert_int_equal(group_table_map(table, 2000, 10), 0);
    group_table_free(table);
}

static void a_full_round_goes_on_where_it_ended(void **state)
{
    (void)state;
    struct group_table *table = group_table_new();
    struct group_part *part = group_part_make(group_topic_make(table, "t"), 0);
    char name[16];
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "g%d", i);
        group_entry_source(group_entry_make(table, group_make(table, name), part), 900 - i, NULL, 0,
                           NOW_MS, WALL_MS);
    }
    read_checkpoint(table, part, 0, 1000, 600);
    for (int round = 0; round < 4; round++) {
        assert_int_equal(group_table_map(table, 0, 3), round < 3 ? 3 : 1);
        group_asks_sort(part);
        for (size_t i = 0; i < part->asks_count; i++) {
            assert_true(i == 0 || part->asks[i - 1]->facts.source_offset <=
                                      part->asks[i]->facts.source_offset);
            tell(part->asks[i], VERDICT_EXACT, 1, 0);
        }
    }
    assert_int_equal(group_table_map(table, 0, 3), 0);
    group_table_free(table);
}

/* By how much a log grows until the next look, and since when it stands: what is read again hangs on both. */
static void what_a_log_does_from_look_to_look(void **state)
{
    (void)state;
    struct group_table *table = group_table_new();
    struct group_part *part = group_part_make(group_topic_make(table, "t"), 0);
    static const struct {
        int64_t end, grown, still;
    } looks[] = {
        {100, 0,  0}, /* how long it had stood there is not known */
        {140, 40, 0},
        {150, 20, 0},
        {150, 10, 1},
        {150, 5,  2},
        {151, 2,  0},
        {90,  0,  0}, /* cut: another map */
        {90,  0,  1},
    };
    for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
        read_checkpoint(table, part, 1, looks[i].end, looks[i].end);
        assert_int_equal(part->log.end, looks[i].end);
        assert_int_equal(part->log.grown, looks[i].grown);
        assert_int_equal(part->log.still, looks[i].still);
    }
    group_table_reading(table); /* one look did not find it */
    read_checkpoint(table, part, 1, 5000, 5000);
    assert_int_equal(part->log.grown, 0);
    group_table_free(table);
}

static void counts(void **state)
{
    (void)state;
    struct group_table *table = group_table_new();
    struct group_entry *entry = one_place(table, 1000);
    struct group_counts now;
    struct group *share = group_make(table, "s");
    share->kind = GROUP_SHARE;
    share->at_source = true;
    group_find(table, "g", 1)->at_source = true;
    group_find(table, "g", 1)->target_members = true;
    entry->facts.verdict = VERDICT_ROUNDED;
    entry->facts.hold = GROUP_MEMBERS;
    group_table_count(table, &now);
    assert_int_equal(now.groups, 1);
    assert_int_equal(now.member_groups, 1);
    assert_int_equal(now.kinds[GROUP_SHARE], 1);
    assert_int_equal(now.kinds[GROUP_CONSUMER], 1);
    assert_int_equal(now.verdicts[VERDICT_ROUNDED], 1);
    assert_int_equal(now.holds[GROUP_MEMBERS], 1);
    group_table_free(table);
}

/* --- replies ------------------------------------------------------------------------------------------------------ */

/* A reply as the wire has it, so that hiredis makes it. */
static redisReply *reply_of(const char *wire)
{
    void *reply = NULL;
    redisReader *reader = redisReaderCreate();
    assert_int_equal(redisReaderFeed(reader, wire, strlen(wire)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    redisReaderFree(reader);
    return reply;
}

#define WIRE_BYTES 4000
#define NOW_MS     1000
#define WALL_MS    1764000000000

static size_t put(char wire[WIRE_BYTES], size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static size_t put(char wire[WIRE_BYTES], size_t at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(wire + at, WIRE_BYTES - at, format, args);
    va_end(args);
    assert_true(len >= 0 && at + (size_t)len < WIRE_BYTES);
    return at + (size_t)len;
}

static size_t bulk(char wire[WIRE_BYTES], size_t at, const char *text)
{
    return put(wire, at, "$%zu\r\n%s\r\n", strlen(text), text);
}

#define INCARNATION "aa00000000000000.bb00000000000000.0"

/* One run, source 100 and target 50, that ends at the index's place; the offsets share one answer. */
static redisReply *one_run(const char *index_text, int places_count, const char *head)
{
    char wire[WIRE_BYTES];
    char text[CHECKPOINT_TEXT_BYTES];
    struct checkpoint checkpoint = checkpoint_of(0, 200, 150);
    size_t at = put(wire, 0, "%s", head);
    at = bulk(wire, at, checkpoint_text(&checkpoint, text));
    at = bulk(wire, at, index_text);
    at = put(wire, at, "*2\r\n$6\r\n101-50\r\n*2\r\n$1\r\nr\r\n$2\r\n");
    /* packed: source gap, target gap = 100, 50: what stood before is a hole */
    at = put(wire, at, "d2\r\n");
    at = put(wire, at, "*2\r\n");
    at = bulk(wire, at, INCARNATION);
    at = bulk(wire, at, index_text);
    at = put(wire, at, "*0\r\n*1\r\n*3\r\n*2\r\n$6\r\n101-50\r\n*2\r\n$1\r\nr\r\n$2\r\n");
    at = put(wire, at, "d2\r\n*0\r\n$0\r\n\r\n*%d\r\n", places_count);
    for (int i = 0; i < places_count; i++) {
        at = put(wire, at, ":0\r\n");
    }
    return reply_of(wire);
}

#define INDEX "1 0 0 200 150 200 150 101 50"

static struct group_lookup lookup_of(struct group_entry **entries, size_t count)
{
    struct group_lookup lookup = {.part = entries[0]->part, .count = count};
    lookup.entries = malloc(count * sizeof(entries[0]));
    memcpy(lookup.entries, entries, count * sizeof(entries[0]));
    snprintf(lookup.incarnation, sizeof(lookup.incarnation), "%s", INCARNATION);
    return lookup;
}

static void places_share_an_answer(void **state)
{
    (void)state;
    struct group_table *table = group_table_new();
    struct group_part *part = group_part_make(group_topic_make(table, "t"), 0);
    struct group_entry *entries[3];
    static const int64_t sources[] = {100, 150, 199};
    static const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        entries[i] = group_entry_make(table, group_make(table, names[i]), part);
        group_entry_source(entries[i], sources[i], NULL, 0, NOW_MS, WALL_MS);
    }
    struct group_lookup lookup = lookup_of(entries, 3);
    struct script_arguments arguments = {0};
    group_lookup_arguments(&lookup, "{s}:a>b", &arguments);
    assert_int_equal(arguments.count, PART_KEYS_COUNT + 2 + 3);
    assert_string_equal(arguments.argv[PART_KEYS_COUNT + 2], "101");
    script_arguments_done(&arguments);
    redisReply *reply = one_run(INDEX, 3, "*7\r\n");
    struct err err = {0};
    size_t left = 9;
    assert_true(group_lookup_reply(&lookup, reply, 0, &left, &err));
    assert_int_equal(left, 0);
    for (int i = 0; i < 3; i++) {
        group_entry_settle(entries[i], -1);
        assert_int_equal(entries[i]->facts.verdict, VERDICT_EXACT);
        assert_int_equal(entries[i]->facts.target_offset, sources[i] - 50);
    }
    freeReplyObject(reply);
    free(lookup.entries);
    group_table_free(table);
}

static void another_incarnation_is_asked_again(void **state)
{
    (void)state;
    struct group_table *table = group_table_new();
    struct group_entry *entry = one_place(table, 150);
    struct group_lookup lookup = lookup_of(&entry, 1);
    snprintf(lookup.incarnation, sizeof(lookup.incarnation), "%s", "aa.bb.1");
    redisReply *reply = one_run(INDEX, 1, "*7\r\n");
    struct err err = {0};
    size_t left = 0;
    assert_true(group_lookup_reply(&lookup, reply, 0, &left, &err));
    assert_int_equal(left, 1);
    assert_string_equal(lookup.incarnation, INCARNATION);
    assert_false(entry->mapped);
    assert_true(group_lookup_reply(&lookup, reply, 0, &left, &err));
    assert_int_equal(left, 0);
    assert_int_equal(entry->found.target_offset, 100);
    freeReplyObject(reply);
    free(lookup.entries);
    group_table_free(table);
}

static void strange_answers_say_nothing(void **state)
{
    (void)state;
    static const char *const wires[] = {
        "*0\r\n",
        "$2\r\nno\r\n",
        ":1\r\n",
        "*7\r\n*0\r\n*0\r\n*0\r\n*0\r\n*0\r\n*0\r\n*1\r\n:0\r\n",
        "*7\r\n$0\r\n\r\n$0\r\n\r\n*0\r\n*0\r\n*0\r\n*0\r\n*1\r\n:0\r\n",
        "*7\r\n$0\r\n\r\n$0\r\n\r\n*0\r\n*0\r\n*0\r\n*0\r\n*1\r\n:-1\r\n",
        "*7\r\n$0\r\n\r\n$0\r\n\r\n*0\r\n*0\r\n*0\r\n*1\r\n:3\r\n*1\r\n:0\r\n"};
    struct group_table *table = group_table_new();
    struct group_entry *entry = one_place(table, 150);
    for (size_t i = 0; i < sizeof(wires) / sizeof(wires[0]); i++) {
        struct group_lookup lookup = lookup_of(&entry, 1);
        redisReply *reply = reply_of(wires[i]);
        struct err err = {0};
        size_t left = 0;
        assert_false(group_lookup_reply(&lookup, reply, 0, &left, &err));
        assert_int_equal(err.kind, ERR_REFUSED);
        assert_false(entry->mapped);
        freeReplyObject(reply);
        free(lookup.entries);
    }
    group_table_free(table);
}

static void what_redis_keeps_is_read_back(void **state)
{
    (void)state;
    char wire[WIRE_BYTES];
    size_t at = put(wire, 0, "*8\r\n");
    at = bulk(wire, at, "a:b:t:3");
    at = bulk(wire, at, "v2 10 5 exact 0 free 5 4 77 66 3 1000 9 =m");
    at = bulk(wire, at, "a:b:t:3"); /* HSCAN may tell of one twice */
    at = bulk(wire, at, "v2 10 5 exact 0 free 5 4 77 66 3 1000 9 =m");
    at = bulk(wire, at, "g:t:0");
    at = bulk(wire, at, "garbage");
    at = bulk(wire, at, "garbage");
    bulk(wire, at, "v2 10 5 exact 0 free 5 4 77 66 3 1000 9 =m");
    struct group_table *table = group_table_new();
    redisReply *reply = reply_of(wire);
    assert_int_equal(group_fields_reply(table, reply), 2);
    assert_int_equal(table->stored_count, 1);
    struct group *group = group_find(table, "a:b", 3);
    assert_int_equal(group->entries_count, 1);
    assert_int_equal(group->entries[0]->facts.committed, 5);
    assert_string_equal(group->entries[0]->metadata, "m");
    assert_false(group_entry_unsaved(group->entries[0]));
    group_table_unstored(table);
    assert_true(group_entry_unsaved(group->entries[0]));
    freeReplyObject(reply);
    group_table_free(table);
}

static void checkpoints_are_read(void **state)
{
    (void)state;
    char wire[WIRE_BYTES];
    char text[CHECKPOINT_TEXT_BYTES];
    struct checkpoint checkpoint = checkpoint_of(0, 200, 150);
    size_t at = put(wire, 0, "*6\r\n");
    at = bulk(wire, at, "t:0");
    at = bulk(wire, at, checkpoint_text(&checkpoint, text));
    at = bulk(wire, at, "t:x");
    at = bulk(wire, at, text);
    at = bulk(wire, at, "t:1");
    bulk(wire, at, "v1");
    struct group_table *table = group_table_new();
    const char *const mirrored[] = {"t"};
    redisReply *reply = reply_of(wire);
    group_table_topics(table, mirrored, 1);
    assert_int_equal(group_checkpoints_reply(table, reply), 2);
    struct group_part *part = group_part_make(group_topic_make(table, "t"), 0);
    assert_int_equal(part->seen, table->reading);
    assert_int_equal(part->checkpoint.target_next, 150);
    freeReplyObject(reply);
    group_table_free(table);
}

/* A topic that was mirrored, with groups, and is deleted on both sides: its checkpoint stays in Redis, nothing of it here. */
static void a_topic_that_is_not_mirrored_any_more_is_forgotten_with_its_last_place(void **state)
{
    (void)state;
    char wire[WIRE_BYTES];
    char text[CHECKPOINT_TEXT_BYTES];
    const char *const both[] = {"old", "t"};
    struct checkpoint checkpoint = checkpoint_of(0, 200, 150);
    size_t at = put(wire, 0, "*4\r\n");
    at = bulk(wire, at, "old:0");
    at = bulk(wire, at, checkpoint_text(&checkpoint, text));
    at = bulk(wire, at, "t:0");
    bulk(wire, at, text);
    struct group_table *table = group_table_new();
    redisReply *reply = reply_of(wire);
    group_table_topics(table, both, 2);
    assert_int_equal(group_checkpoints_reply(table, reply), 0);
    struct group *group = group_make(table, "g");
    group->at_source = true;
    for (size_t i = 0; i < 2; i++) {
        struct group_part *part = group_part_make(group_topic_make(table, both[i]), 0);
        assert_int_equal(part->seen, table->reading);
        assert_non_null(group_entry_make(table, group, part));
    }
    group_table_topics(table, both + 1, 1);
    group_table_sweep(table);
    assert_non_null(group_topic_find(table, "old", 3)); /* its place is forgotten in a minute */
    struct group_topic *old = group_topic_find(table, "old", 3);
    struct group_entry *entry = group_entry_find(group, group_part_make(old, 0));
    assert_int_equal(entry->part->entries_count, 1);
    group_entry_remove(table, group, group->entries[0] == entry ? 0 : 1);
    group_table_sweep(table);
    assert_null(group_topic_find(table, "old", 3));
    assert_int_equal(group_checkpoints_reply(table, reply),
                     0); /* nor does what Redis keeps bring it back */
    assert_int_equal(table->topics_count, 1);
    group_table_topics(table, both, 2); /* the source has it again */
    assert_int_equal(group_checkpoints_reply(table, reply), 0);
    assert_int_equal(group_part_make(group_topic_find(table, "old", 3), 0)->seen, table->reading);
    group_table_topics(table, NULL, 0);
    group->at_source = false;
    group_entry_remove(table, group, 0);
    group_table_sweep(table);
    assert_int_equal(table->groups_count, 0);
    assert_int_equal(table->topics_count, 0);
    freeReplyObject(reply);
    group_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(groups_and_places_are_found_again),
        cmocka_unit_test(the_checkpoint_answers_for_its_end_and_behind),
        cmocka_unit_test(the_map_is_asked_when_it_may_say_something_new),
        cmocka_unit_test(what_stood_at_the_end_is_asked_for_when_the_mirror_went_on),
        cmocka_unit_test(a_full_round_goes_on_where_it_ended),
        cmocka_unit_test(what_a_log_does_from_look_to_look),
        cmocka_unit_test(counts),
        cmocka_unit_test(places_share_an_answer),
        cmocka_unit_test(another_incarnation_is_asked_again),
        cmocka_unit_test(strange_answers_say_nothing),
        cmocka_unit_test(what_redis_keeps_is_read_back),
        cmocka_unit_test(checkpoints_are_read),
        cmocka_unit_test(a_topic_that_is_not_mirrored_any_more_is_forgotten_with_its_last_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
