/* offsets/group_entry: what is kept of a group's place, and when its translation may be committed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "offsets/group_entry.h"

#define WALL_MS 1764000000000
#define NOW_MS  1000

static struct group_entry fresh(int64_t source)
{
    struct group_entry entry = {
        .facts = {.source_offset = -1,
                  .target_offset = -1,
                  .verdict = VERDICT_UNMAPPED,
                  .committed = -1,
                  .before = -1,
                  .read_ms = -1,
                  .limit = -1},
        .target_seen = -1
    };
    group_entry_source(&entry, source, "kept", 4, NOW_MS, WALL_MS);
    return entry;
}

static void maps_to(struct group_entry *entry, enum verdict verdict, int64_t target)
{
    entry->mapped = true;
    entry->found = (struct translation){.verdict = verdict, .target_offset = target};
    group_entry_settle(entry, -1);
}

/* @return was it decided to commit? */
static bool decide(struct group_entry *entry, int64_t target, int64_t now_ms)
{
    const struct group_target now = {.offset = target,
                                     .same_metadata = target >= 0,
                                     .now_ms = now_ms,
                                     .wall_ms = WALL_MS + now_ms};
    return group_entry_decide(entry, &now);
}

/* Committed once at 500, and the target took it. */
static struct group_entry ours_at_500(void)
{
    struct group_entry entry = fresh(1000);
    maps_to(&entry, VERDICT_EXACT, 500);
    assert_true(decide(&entry, -1, 0));
    group_entry_answered(&entry, true, GROUP_FREE, 0);
    return entry;
}

static void the_first_commit_is_the_translation(void **state)
{
    (void)state;
    struct group_entry entry = fresh(1000);
    maps_to(&entry, VERDICT_EXACT, 500);
    assert_true(group_entry_due(&entry, false, false, 1, WALL_MS));
    assert_true(decide(&entry, -1, 0));
    assert_int_equal(entry.facts.committed, 500);
    assert_int_equal(entry.facts.before, -1);
    assert_int_equal(entry.time_ms, WALL_MS);
    group_entry_answered(&entry, true, GROUP_FREE, 0);
    assert_false(group_entry_due(&entry, false, false, 1, WALL_MS));
    assert_false(decide(&entry, 500, 100));
    group_entry_done(&entry);
}

static void it_goes_forward_over_our_own(void **state)
{
    (void)state;
    struct group_entry entry = ours_at_500();
    group_entry_source(&entry, 1100, "kept", 4, NOW_MS, WALL_MS);
    assert_false(entry.mapped);
    maps_to(&entry, VERDICT_EXACT, 600);
    assert_true(group_entry_due(&entry, false, false, 1000, WALL_MS + 1000));
    assert_true(decide(&entry, 500, 1000));
    assert_int_equal(entry.facts.committed, 600);
    assert_int_equal(entry.facts.before, 500);
    group_entry_done(&entry);
}

/* The answer was lost: whether it arrived or not, what stands there is ours. */
static void both_values_of_a_lost_answer_are_ours(void **state)
{
    (void)state;
    static const int64_t there[] = {500, 600};
    for (int i = 0; i < 2; i++) {
        struct group_entry entry = ours_at_500();
        group_entry_source(&entry, 1100, "kept", 4, NOW_MS, WALL_MS);
        maps_to(&entry, VERDICT_EXACT, 600);
        assert_true(decide(&entry, 500, 1000));
        group_entry_answered(&entry, false, GROUP_FREE, 1000);
        group_entry_source(&entry, 1200, "kept", 4, NOW_MS, WALL_MS);
        maps_to(&entry, VERDICT_EXACT, 700);
        assert_true(group_entry_due(&entry, false, false, 2000, WALL_MS));
        assert_true(decide(&entry, there[i], 2000));
        assert_int_equal(entry.facts.before, there[i]);
        group_entry_done(&entry);
    }
}

static void an_operators_commit_is_respected(void **state)
{
    (void)state;
    static const int64_t theirs[] = {0, 450, 550, 10000}; /* behind ours and past it */
    for (int i = 0; i < 4; i++) {
        struct group_entry entry = ours_at_500();
        group_entry_source(&entry, 1100, "kept", 4, NOW_MS, WALL_MS);
        maps_to(&entry, VERDICT_EXACT, 600);
        for (int64_t ms = 1000; ms < 60000; ms += 1000) {
            assert_false(decide(&entry, theirs[i], ms));
            assert_int_equal(entry.facts.hold, GROUP_FOREIGN);
        }
        assert_true(decide(&entry, -1, 60000)); /* deleted: that is how it is given back */
        group_entry_done(&entry);
    }
}

static void a_rewound_source_is_followed_over_our_own_alone(void **state)
{
    (void)state;
    struct group_entry entry = ours_at_500();
    group_entry_source(&entry, 800, "kept", 4, NOW_MS, WALL_MS);
    maps_to(&entry, VERDICT_EXACT, 300);
    assert_true(decide(&entry, 500, 1000));
    assert_int_equal(entry.facts.committed, 300);
    group_entry_done(&entry);
    entry = ours_at_500();
    group_entry_source(&entry, 800, "kept", 4, NOW_MS, WALL_MS);
    maps_to(&entry, VERDICT_EXACT, 300);
    assert_false(decide(&entry, 501, 1000));
    assert_int_equal(entry.facts.hold, GROUP_FOREIGN);
    group_entry_done(&entry);
}

/* Nothing of ours is known: forward alone, and not over what is past. */
static void without_memory_it_only_goes_forward(void **state)
{
    (void)state;
    struct group_entry entry = fresh(1000);
    maps_to(&entry, VERDICT_EXACT, 500);
    for (int64_t ms = 0; ms < 60000; ms += 1000) {
        assert_false(decide(&entry, 501, ms));
        assert_int_equal(entry.facts.hold, GROUP_PAST);
    }
    group_entry_source(&entry, 900, "kept", 4, NOW_MS,
                       WALL_MS); /* rewound besides: still not ours */
    maps_to(&entry, VERDICT_EXACT, 400);
    assert_false(decide(&entry, 501, 60000));
    group_entry_source(&entry, 2000, "kept", 4, NOW_MS, WALL_MS);
    maps_to(&entry, VERDICT_EXACT, 1500);
    assert_true(decide(&entry, 501, 61000));
    group_entry_done(&entry);
}

/* A target that lost records: our commit is past the mirror's end, and stays so. A Redis that was put back heals. */
static void what_is_past_the_translation_goes_back_when_that_lasts(void **state)
{
    (void)state;
    struct group_entry entry = ours_at_500();
    maps_to(&entry, VERDICT_AHEAD, 400);
    assert_false(decide(&entry, 500, 1000));
    assert_int_equal(entry.facts.hold, GROUP_PAST);
    maps_to(&entry, VERDICT_EXACT, 500);
    assert_false(decide(&entry, 500, 5000));
    assert_int_equal(entry.facts.hold, GROUP_FREE);
    maps_to(&entry, VERDICT_AHEAD, 400);
    assert_false(decide(&entry, 500, 6000));
    assert_false(decide(&entry, 500, 6000 + GROUP_PAST_MS - 1));
    assert_true(decide(&entry, 500, 6000 + GROUP_PAST_MS));
    assert_int_equal(entry.facts.committed, 400);
    group_entry_done(&entry);
}

static void members_and_off_keep_hands_away(void **state)
{
    (void)state;
    struct group_entry entry = fresh(1000);
    maps_to(&entry, VERDICT_EXACT, 500);
    struct group_target target = {.members = true, .offset = -1};
    assert_false(group_entry_due(&entry, false, true, 1, WALL_MS));
    assert_false(group_entry_decide(&entry, &target));
    assert_int_equal(entry.facts.hold, GROUP_MEMBERS);
    target = (struct group_target){.off = true, .offset = -1};
    assert_false(group_entry_due(&entry, true, false, 1, WALL_MS));
    assert_false(group_entry_decide(&entry, &target));
    assert_int_equal(entry.facts.hold, GROUP_OFF);
    assert_int_equal(entry.facts.committed, -1);
    group_entry_done(&entry);
}

static void what_has_no_translation_is_not_committed(void **state)
{
    (void)state;
    struct group_entry entry = fresh(1000);
    group_entry_settle(&entry, -1);
    assert_int_equal(entry.facts.verdict, VERDICT_UNMAPPED);
    assert_false(group_entry_due(&entry, false, false, 1, WALL_MS));
    assert_false(decide(&entry, -1, 0));
    maps_to(&entry, VERDICT_UNMAPPED, -1);
    assert_false(decide(&entry, -1, 0));
    group_entry_done(&entry);
}

static void before_the_targets_log_is_lost(void **state)
{
    (void)state;
    struct group_entry entry = fresh(1000);
    entry.mapped = true;
    entry.found = (struct translation){.verdict = VERDICT_EXACT, .target_offset = 500};
    group_entry_settle(&entry, 520);
    assert_int_equal(entry.facts.verdict, VERDICT_LOST);
    assert_int_equal(entry.facts.count, 20);
    assert_int_equal(entry.facts.target_offset, 520);
    group_entry_settle(&entry, 500);
    assert_int_equal(entry.facts.verdict, VERDICT_EXACT);
    assert_int_equal(entry.facts.target_offset, 500);
    group_entry_done(&entry);
}

static void an_idle_group_is_committed_again(void **state)
{
    (void)state;
    struct group_entry entry = ours_at_500();
    int64_t later = GROUP_TOUCH_MS + GROUP_TOUCH_MS / 2 + 1;
    assert_false(group_entry_due(&entry, false, false, 1000, WALL_MS + 1000));
    assert_true(group_entry_due(&entry, false, false, 1000, WALL_MS + later));
    assert_true(decide(&entry, 500, later));
    assert_int_equal(entry.facts.committed, 500);
    assert_int_equal(entry.time_ms, WALL_MS + later);
    group_entry_answered(&entry, true, GROUP_FREE, later);
    assert_false(decide(&entry, 500, later + 1000));
    assert_true(decide(&entry, -1, later + 2000)); /* it had expired */
    group_entry_done(&entry);
}

static void other_metadata_is_committed_too(void **state)
{
    (void)state;
    struct group_entry entry = ours_at_500();
    group_entry_source(&entry, 1000, "other", 5, NOW_MS, WALL_MS);
    assert_string_equal(entry.metadata, "other");
    assert_true(entry.mapped);
    assert_true(group_entry_due(&entry, false, false, 1000, WALL_MS));
    const struct group_target target = {.offset = 500, .same_metadata = false, .wall_ms = WALL_MS};
    assert_true(group_entry_decide(&entry, &target));
    assert_int_equal(entry.facts.committed, 500);
    group_entry_source(&entry, 1000, NULL, 0, NOW_MS, WALL_MS);
    assert_null(entry.metadata);
    group_entry_done(&entry);
}

static void a_refusal_is_waited_out_and_members_are_not(void **state)
{
    (void)state;
    struct group_entry entry = fresh(1000);
    maps_to(&entry, VERDICT_EXACT, 500);
    assert_true(decide(&entry, -1, 0));
    group_entry_answered(&entry, false, GROUP_REFUSED, 0);
    assert_int_equal(entry.facts.hold, GROUP_REFUSED);
    assert_false(group_entry_due(&entry, false, false, GROUP_HELD_MS - 1, WALL_MS));
    assert_true(group_entry_due(&entry, false, false, GROUP_HELD_MS, WALL_MS));
    group_entry_answered(&entry, false, GROUP_MEMBERS, 10000);
    assert_true(group_entry_due(&entry, false, false, 10001, WALL_MS));
    group_entry_done(&entry);
}

static void what_is_stored_is_written_once(void **state)
{
    (void)state;
    struct group_entry entry = ours_at_500();
    assert_true(group_entry_unsaved(&entry));
    group_entry_saved(&entry);
    assert_false(group_entry_unsaved(&entry));
    group_entry_source(&entry, 1000, "kept", 4, NOW_MS, WALL_MS);
    assert_false(group_entry_unsaved(&entry));
    group_entry_source(&entry, 1000, "other", 5, NOW_MS, WALL_MS);
    assert_true(group_entry_unsaved(&entry));
    group_entry_saved(&entry);
    group_entry_source(&entry, 1001, "other", 5, NOW_MS, WALL_MS);
    assert_true(group_entry_unsaved(&entry));
    group_entry_done(&entry);
}

/* --- text --------------------------------------------------------------------------------------------------------- */

static void text_and_back(void **state)
{
    (void)state;
    char text[GROUP_TEXT_BYTES];
    struct err err = {0};
    struct group_entry entry = ours_at_500();
    struct group_entry read = {0};
    size_t len = group_entry_text(&entry, text);
    assert_string_equal(text,
                        "v2 1000 500 exact 0 free 500 -1 1764000000000 1764000000000 0 0 -1 =kept");
    assert_true(group_entry_parse(text, len, &read, &err));
    assert_string_equal(read.metadata, "kept");
    assert_int_equal(read.facts.committed, 500);
    assert_int_equal(read.time_ms, WALL_MS);
    group_entry_source(&entry, 1200, "a b = c\n", 8, NOW_MS, WALL_MS);
    maps_to(&entry, VERDICT_AHEAD, 600);
    entry.facts.count = 7;
    entry.facts.hold = GROUP_MEMBERS;
    entry.facts.pace = (struct group_pace){.offsets = 200, .commits_ms = 1000};
    entry.facts.limit = 1200;
    len = group_entry_text(&entry, text);
    assert_string_equal(
        text, "v2 1200 600 ahead 7 members 500 -1 1764000000000 1764000000000 200 1000 1200 "
              "=a b = c\n");
    assert_true(group_entry_parse(text, len, &read, &err));
    assert_string_equal(read.metadata, "a b = c\n");
    assert_int_equal(read.facts.hold, GROUP_MEMBERS);
    assert_int_equal(read.facts.read_ms, WALL_MS);
    assert_int_equal(read.facts.pace.offsets, 200);
    assert_int_equal(read.facts.pace.commits_ms, 1000);
    assert_int_equal(read.facts.limit, 1200);
    group_entry_source(&entry, 1200, NULL, 0, NOW_MS, WALL_MS);
    len = group_entry_text(&entry, text);
    assert_true(group_entry_parse(text, len, &read, &err));
    assert_null(read.metadata);
    group_entry_done(&entry);
    group_entry_done(&read);
}

static void the_first_form_is_still_read(void **state)
{
    (void)state;
    static const char text[] = "v1 1000 500 exact 0 free 500 -1 77 =kept";
    struct group_entry read = {0};
    struct err err = {0};
    assert_true(group_entry_parse(text, strlen(text), &read, &err));
    assert_int_equal(read.time_ms, 77);
    assert_int_equal(read.facts.read_ms, -1);
    assert_int_equal(read.facts.pace.commits_ms, 0);
    assert_int_equal(read.facts.limit, -1);
    group_entry_done(&read);
}

/* One look a second. @return the last one's time */
static int64_t look_each_second(struct group_entry *entry, int64_t now_ms, int64_t offset,
                                int64_t more, int times)
{
    for (int i = 1; i <= times; i++) {
        now_ms += 1000;
        group_entry_source(entry, offset + more * i, NULL, 0, now_ms, WALL_MS + now_ms);
    }
    return now_ms;
}

static void pace_is_of_what_was_watched(void **state)
{
    (void)state;
    struct group_entry entry = fresh(1000);
    const struct group_pace *pace = &entry.facts.pace;
    int64_t now_ms = look_each_second(&entry, NOW_MS, 1000, 100, 1);
    assert_int_equal(pace->commits_ms, 0); /* it moved once: since when is not known */
    now_ms = look_each_second(&entry, now_ms, 1100, 100, 1);
    assert_int_equal(pace->offsets, 100);
    assert_int_equal(pace->commits_ms, 1000);
    assert_int_equal(entry.facts.read_ms, WALL_MS + now_ms);
    look_each_second(&entry, now_ms, 1200, 0, 3); /* it rests */
    assert_int_equal(entry.facts.read_ms, WALL_MS + now_ms);
    now_ms = look_each_second(&entry, now_ms + 3000, 1200, 200, 60);
    assert_in_range(pace->offsets, 198, 200);
    assert_in_range(pace->commits_ms, 1000, 1010);
    struct group_pace before = *pace;
    group_entry_source(&entry, 1000000, NULL, 0, now_ms + 60000, WALL_MS); /* nobody looked */
    assert_int_equal(pace->offsets, before.offsets);
    now_ms = look_each_second(&entry, now_ms + 60000, 1000000, -100, 3); /* rewound */
    assert_int_equal(pace->offsets, before.offsets);
    group_entry_done(&entry);
}

static void a_hint_is_no_metadata_of_the_groups(void **state)
{
    (void)state;
    static const char hint[] =
        "ferry1 op=x from=1 likely=1 until=1 cluster=c read=-1 cut=-1 mapped=1 runs=- !";
    struct group_entry entry = fresh(1000);
    group_entry_source(&entry, 1000, hint, strlen(hint), NOW_MS, WALL_MS);
    assert_null(entry.metadata);
    group_entry_done(&entry);
}

static void other_text_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "v1",
        "v3 1000 500 exact 0 free 500 -1 1 =",
        "v2 1000 500 exact 0 free 500 -1 1 =",
        "v2 1000 500 exact 0 free 500 -1 1 1 0 0 =",
        "v2 1000 500 exact 0 free 500 -1 1 1 -1 0 -1 =",
        "v2 1000 500 exact 0 free 500 -1 1 1 0 -1 -1 =",
        "v2 1000 500 exact 0 free 500 -1 1 1 0 0 -2 =",
        "v1 1000 500 exact 0 free 500 -1 1",
        "v1 1000 500 exact 0 free 500 -1 1 ",
        "v1 1000 500 exact 0 free 500 -1 1 kept",
        "v1 1000 500 exact 0 free 500 -1 1 -x",
        "v1 01000 500 exact 0 free 500 -1 1 =",
        "v1 1000 500 Exact 0 free 500 -1 1 =",
        "v1 1000 500 exact 0 gone 500 -1 1 =",
        "v1 1000 500 exact 0 free 500 -2 1 =",
        "v1 1000  500 exact 0 free 500 -1 1 =",
        "v1 99999999999999999999 500 exact 0 free 500 -1 1 =",
    };
    struct group_entry read = {0};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct err err = {0};
        assert_false(group_entry_parse(texts[i], strlen(texts[i]), &read, &err));
        assert_int_equal(err.kind, ERR_REFUSED);
    }
    assert_null(read.metadata);
}

static void long_metadata_is_cut(void **state)
{
    (void)state;
    char text[GROUP_TEXT_BYTES];
    struct err err = {0};
    char *longer = malloc(10000);
    memset(longer, 'x', 10000);
    struct group_entry entry = fresh(1000);
    struct group_entry read = {0};
    group_entry_source(&entry, 1000, longer, 10000, NOW_MS, WALL_MS);
    assert_int_equal(strlen(entry.metadata), GROUP_METADATA_BYTES);
    entry.metadata_stored = true;
    group_entry_source(&entry, 1000, longer, 10000, NOW_MS, WALL_MS); /* the same next time */
    assert_true(entry.metadata_stored);
    size_t len = group_entry_text(&entry, text);
    assert_true(group_entry_parse(text, len, &read, &err));
    assert_int_equal(strlen(read.metadata), GROUP_METADATA_BYTES);
    group_entry_done(&entry);
    group_entry_done(&read);
    free(longer);
}

/* What it would read again where the log ends at `end`. */
static int64_t again_at(const struct group_entry *entry, int64_t end, int64_t grown, int64_t still)
{
    const struct group_log log = {.end = end, .grown = grown, .still = still};
    return group_entry_reread(entry, &log);
}

static void what_would_be_read_again(void **state)
{
    (void)state;
    struct group_entry entry = fresh(1000);
    maps_to(&entry, VERDICT_EXACT, 500);
    entry.target_seen = -1;
    assert_int_equal(again_at(&entry, 900, 0, 0), -1); /* nothing stands at the target yet */
    group_entry_done(&entry);
    entry = ours_at_500();
    assert_int_equal(again_at(&entry, 900, 0, 0), 400);  /* it may have read to the end */
    assert_int_equal(again_at(&entry, 900, 30, 0), 460); /* and what comes until we look again */
    assert_int_equal(again_at(&entry, 400, 0, 0), 0);
    group_entry_source(&entry, 1100, "kept", 4, NOW_MS + 1000, WALL_MS + 1000);
    maps_to(&entry, VERDICT_EXACT, 600); /* translated, and 500 stands there still */
    entry.facts.limit = 1100;
    assert_int_equal(again_at(&entry, 900, 0, 0), 100);
    maps_to(&entry, VERDICT_UNMAPPED, -1);
    assert_int_equal(again_at(&entry, 900, 0, 0), -1);
    entry.facts.source_offset = -1; /* gone at the source */
    assert_int_equal(again_at(&entry, 900, 0, 0), 0);
    group_entry_done(&entry);
}

/* That it stood at the end when we looked says nothing of what it reads until its next commit: the log grows. */
static void a_group_that_reads_on_reads_more_than_there_is(void **state)
{
    (void)state;
    struct group_entry entry = ours_at_500();
    entry.facts.pace = (struct group_pace){.offsets = 50, .commits_ms = 2000};
    assert_int_equal(again_at(&entry, 900, 0, 0), 100);  /* a commit's worth, and a late look's */
    assert_int_equal(again_at(&entry, 500, 10, 0), 100); /* it stands at the end */
    entry.burst = 80;                                    /* and reads more at times */
    assert_int_equal(again_at(&entry, 500, 10, 0), 160);
    entry.burst = 0;
    maps_to(&entry, VERDICT_AHEAD, 500);
    entry.facts.count =
        1000; /* of which the mirror may pass as many as it does until a late look */
    assert_int_equal(again_at(&entry, 500, 10, 0), 120);
    maps_to(&entry, VERDICT_EXACT, 500);
    entry.facts.count = 0;

    entry.stood = 9; /* s; both stand, but not for longer than clients take from commit to commit */
    assert_int_equal(again_at(&entry, 520, 0, 9), 100);
    entry.stood = 10;
    assert_int_equal(again_at(&entry, 520, 0, 9), 100);
    assert_int_equal(again_at(&entry, 520, 0, 10), 20); /* nobody writes, it does not move */
    assert_int_equal(again_at(&entry, 500, 0, 10), 0);
    assert_int_equal(again_at(&entry, 900, 0, 10), 100);
    entry.facts.pace.commits_ms = 10000; /* a pause between two commits is none */
    assert_int_equal(again_at(&entry, 500, 0, 10), 60);
    assert_int_equal(again_at(&entry, 500, 0, 20), 60);
    entry.stood = 20;
    assert_int_equal(again_at(&entry, 500, 0, 20), 0);

    entry.stood = 0;
    entry.facts.limit =
        1010; /* its last member was gone when the source ended there: it reads no more */
    assert_int_equal(again_at(&entry, 900, 10, 0), 10);
    assert_int_equal(again_at(&entry, 505, 0, 0), 5);
    group_entry_done(&entry);
}

static void bursts_are_remembered_for_some_commits(void **state)
{
    (void)state;
    struct group_entry entry = ours_at_500();
    int64_t at = 1000;
    for (int i = 1; i <= 40; i++) {
        at += i == 20 ? 800 : 100;
        assert_true(group_entry_source(&entry, at, "kept", 4, NOW_MS + i * 1000, WALL_MS));
        assert_int_equal(entry.stood, 0);
        assert_int_equal(entry.burst, i < 2 ? 0 : i < 20 ? 100 : i == 20 ? 800 : entry.burst);
        assert_true(i < 20 || entry.burst >= 100);
    }
    assert_int_equal(entry.burst, 100);
    assert_false(group_entry_source(&entry, at, "kept", 4, NOW_MS + 41000, WALL_MS));
    assert_int_equal(entry.stood, 1);
    group_entry_done(&entry);
}

static void fields(void **state)
{
    (void)state;
    char text[GROUP_FIELD_BYTES];
    char group[GROUP_FIELD_BYTES];
    char topic[250];
    int32_t partition = 0;
    assert_true(group_field_text("a:b", "orders.eu", 7, text));
    assert_string_equal(text, "a:b:orders.eu:7");
    assert_true(group_field_parse(text, strlen(text), group, topic, &partition));
    assert_string_equal(group, "a:b");
    assert_string_equal(topic, "orders.eu");
    assert_int_equal(partition, 7);
    static const char *const wrong[] = {
        "", ":", "g", "g:t", "g:t:", "g:t:-1", "g:t:x", "g::1", "g:t:2147483648"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(group_field_parse(wrong[i], strlen(wrong[i]), group, topic, &partition));
    }
    char longer[GROUP_FIELD_BYTES + 1];
    memset(longer, 'g', GROUP_FIELD_BYTES);
    longer[GROUP_FIELD_BYTES] = '\0';
    assert_false(group_field_text(longer, "t", 0, text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_commit_is_the_translation),
        cmocka_unit_test(it_goes_forward_over_our_own),
        cmocka_unit_test(both_values_of_a_lost_answer_are_ours),
        cmocka_unit_test(an_operators_commit_is_respected),
        cmocka_unit_test(a_rewound_source_is_followed_over_our_own_alone),
        cmocka_unit_test(without_memory_it_only_goes_forward),
        cmocka_unit_test(what_is_past_the_translation_goes_back_when_that_lasts),
        cmocka_unit_test(members_and_off_keep_hands_away),
        cmocka_unit_test(what_has_no_translation_is_not_committed),
        cmocka_unit_test(before_the_targets_log_is_lost),
        cmocka_unit_test(an_idle_group_is_committed_again),
        cmocka_unit_test(other_metadata_is_committed_too),
        cmocka_unit_test(a_refusal_is_waited_out_and_members_are_not),
        cmocka_unit_test(what_is_stored_is_written_once),
        cmocka_unit_test(text_and_back),
        cmocka_unit_test(the_first_form_is_still_read),
        cmocka_unit_test(pace_is_of_what_was_watched),
        cmocka_unit_test(a_hint_is_no_metadata_of_the_groups),
        cmocka_unit_test(other_text_is_refused),
        cmocka_unit_test(long_metadata_is_cut),
        cmocka_unit_test(what_would_be_read_again),
        cmocka_unit_test(a_group_that_reads_on_reads_more_than_there_is),
        cmocka_unit_test(bursts_are_remembered_for_some_commits),
        cmocka_unit_test(fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
