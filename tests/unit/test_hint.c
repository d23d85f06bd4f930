/* offsets/hint: what a group may read again, in numbers that hold; one text form, strictly read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "offsets/hint.h"

#define CUT_MS 1764000000000

static const struct hint_origin origin = {
    .operation = "20261126T120000Z-failover-1a2b", .cluster = "abc_DEF-1", .cut_ms = CUT_MS};

/* Target = source - 1000 up to source 5000, then a hole of 10 at the source. */
static const struct offset_run runs[] = {
    {.source_first = 1000, .target_first = 0,    .length = 4000},
    {.source_first = 5010, .target_first = 4000, .length = 4990},
};

/* Committed 3000 of the source, which is 2000 here; 100 a second, a commit each second. */
static struct hint_place live(void)
{
    return (struct hint_place){
        .from = 2000,
        .mirrored_end = 8990,
        .source_offset = 3000,
        .source_limit = -1,
        .limit_holds = true,
        .pace = {.offsets = 100, .commits_ms = 1000},
        .read_ms = CUT_MS - 5000,
        .looked_ms = CUT_MS - 1000,
        .alive_ms = CUT_MS
    };
}

static struct hint find(const struct hint_place *place)
{
    struct hint hint;
    hint_find(place, runs, 2, HINT_RUNS_MAX, &hint);
    return hint;
}

static void a_live_group_gets_two_seconds_of_its_rate(void **state)
{
    (void)state;
    struct hint_place place = live();
    struct hint hint = find(&place);
    assert_int_equal(hint.from, 2000);
    assert_int_equal(hint.likely_until, 2200); /* one between two commits, one since we looked */
    assert_int_equal(hint.until, 8990);        /* it has members: anything that was mirrored */
    hint_done(&hint);
    place.alive_ms =
        place.looked_ms + 30000; /* nobody looked for half a minute, and the mirror went on */
    hint = find(&place);
    assert_int_equal(hint.likely_until, 2000 + 100 + 3000 - 10); /* of which 10 are a hole */
    hint_done(&hint);
    place.looked_ms = -1;
    hint = find(&place);
    assert_int_equal(hint.likely_until, 2200);
    hint_done(&hint);
}

static void what_is_not_known_is_not_narrow(void **state)
{
    (void)state;
    struct hint_place place = live();
    place.pace = (struct group_pace){0};
    struct hint hint = find(&place);
    assert_int_equal(hint.likely_until, hint.until);
    hint_done(&hint);
    place = live();
    place.source_offset = -1; /* Redis is gone */
    hint_find(&place, NULL, 0, HINT_RUNS_MAX, &hint);
    assert_int_equal(hint.likely_until, 8990);
    assert_int_equal(hint.until, 8990);
    assert_int_equal(hint.mapped_until, hint.from);
    assert_int_equal(hint.runs_count, 0);
    hint_done(&hint);
}

/* A group that stopped at 40 %: nobody has read what came to the source after its last member left. */
static void a_group_that_stands_gets_no_more_than_it_can_have_read(void **state)
{
    (void)state;
    struct hint_place place = live();
    place.source_limit = 3150;
    struct hint hint = find(&place);
    assert_int_equal(hint.until, 2150);
    assert_int_equal(hint.likely_until, 2150); /* never past the proof */
    hint_done(&hint);
    place.source_limit = 3000; /* it had read all there was */
    hint = find(&place);
    assert_int_equal(hint.until, 2000);
    assert_int_equal(hint.runs_count, 0);
    hint_done(&hint);
    place.source_limit = 5005; /* inside the hole: up to what was mirrored next */
    hint = find(&place);
    assert_int_equal(hint.until, 4000);
    hint_done(&hint);
    place.source_limit = 100000;
    hint = find(&place);
    assert_int_equal(hint.until, 8990);
    hint_done(&hint);
}

/* The keeper did not look at the end: somebody may have joined, read and not committed. */
static void a_stale_limit_is_likely_and_no_proof(void **state)
{
    (void)state;
    struct hint_place place = live();
    place.source_limit = 3150;
    place.limit_holds = false;
    struct hint hint = find(&place);
    assert_int_equal(hint.until, 8990);
    assert_int_equal(hint.likely_until, 2150);
    hint_done(&hint);
    place.pace = (struct group_pace){0};
    hint = find(&place);
    assert_int_equal(hint.likely_until, 2150);
    hint_done(&hint);
}

/* Without the map a limit is likely alone: others may have written to the target, too. */
static void a_limit_proves_nothing_without_the_map(void **state)
{
    (void)state;
    struct hint_place place = live();
    struct hint hint;
    place.source_limit = 3150;
    hint_find(&place, NULL, 0, HINT_RUNS_MAX, &hint);
    assert_int_equal(hint.until, 8990);
    assert_int_equal(hint.likely_until, 2150);
    hint_done(&hint);
}

/* Somebody else wrote 500 records to the target in front of what was mirrored next: what the group had read lies behind them. */
static void records_of_others_at_the_target_are_counted(void **state)
{
    (void)state;
    static const struct offset_run apart[] = {
        {.source_first = 1000, .target_first = 0,    .length = 2100},
        {.source_first = 3100, .target_first = 2600, .length = 1000},
    };
    static const struct {
        int64_t limit;
        int64_t until;
    } rows[] = {
        {3100, 2100}, /* all of the first run, and nothing behind it */
        {3150, 2650}, /* 150 offsets, and 650 records */
        {4100, 3600}, /* what was mirrored: the others' at the end are not repeats */
        {4101, 8990}, /* behind the map */
    };
    struct hint_place place = live();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct hint hint;
        place.source_limit = rows[i].limit;
        hint_find(&place, apart, 2, HINT_RUNS_MAX, &hint);
        assert_int_equal(hint.until, rows[i].until);
        hint_done(&hint);
    }
    struct hint hint;
    place.source_limit = -1;
    hint_find(&place, apart, 2, HINT_RUNS_MAX, &hint);
    assert_int_equal(hint.likely_until, 2700);
    hint_done(&hint);
}

static void a_group_at_or_past_the_mirror_reads_nothing_again(void **state)
{
    (void)state;
    struct hint_place place = live();
    place.from = 8990;
    place.source_offset = 20000;
    struct hint hint = find(&place);
    assert_int_equal(hint.until, 8990);
    assert_int_equal(hint.likely_until, 8990);
    assert_int_equal(hint_seen(&hint, 8990), HINT_NEW);
    hint_done(&hint);
    place.from = 9500; /* the target lost records */
    hint = find(&place);
    assert_int_equal(hint.until, 9500);
    hint_done(&hint);
}

static void records_have_their_source_offsets(void **state)
{
    (void)state;
    struct hint_place place = live();
    struct hint hint = find(&place);
    int64_t source;
    assert_int_equal(hint.runs_count, 2);
    assert_int_equal(hint.mapped_until, 8990);
    assert_true(hint_source(&hint, 2000, &source));
    assert_int_equal(source, 3000);
    assert_true(hint_source(&hint, 3999, &source));
    assert_int_equal(source, 4999);
    assert_true(hint_source(&hint, 4000, &source));
    assert_int_equal(source, 5010);
    assert_false(hint_source(&hint, 1999, &source));
    assert_false(hint_source(&hint, 8990, &source));
    assert_int_equal(hint_seen(&hint, 1999), HINT_COMMITTED);
    assert_int_equal(hint_seen(&hint, 2000), HINT_LIKELY);
    assert_int_equal(hint_seen(&hint, 2199), HINT_LIKELY);
    assert_int_equal(hint_seen(&hint, 2200), HINT_POSSIBLE);
    assert_int_equal(hint_seen(&hint, 8989), HINT_POSSIBLE);
    assert_int_equal(hint_seen(&hint, 8990), HINT_NEW);
    hint_done(&hint);
}

static void an_unmapped_stretch_ends_what_is_told(void **state)
{
    (void)state;
    static const struct offset_run torn[] = {
        {.source_first = 1000, .target_first = 0,    .length = 1500},
        {.source_first = 5010, .target_first = 4000, .length = 4990},
    };
    struct hint_place place = live();
    struct hint hint;
    place.from = 1000;
    place.source_offset = 2000;
    hint_find(&place, torn, 2, HINT_RUNS_MAX, &hint);
    assert_int_equal(hint.runs_count, 1);
    assert_int_equal(hint.mapped_until, 1500);
    hint_done(&hint);
}

static void text_and_back(void **state)
{
    (void)state;
    char text[HINT_TEXT_BYTES];
    char again[HINT_TEXT_BYTES];
    struct hint_place place = live();
    struct hint hint = find(&place);
    struct hint read;
    struct hint_origin read_origin;
    struct err err = {0};
    hint_text(&origin, &hint, SIZE_MAX, text);
    assert_string_equal(text,
                        "ferry1 op=20261126T120000Z-failover-1a2b from=2000 likely=2200 until=8990 "
                        "cluster=abc_DEF-1 read=1763999995000 cut=1764000000000 mapped=8990 "
                        "runs=2000:3000,4000:5010 !");
    assert_true(hint_is(text, strlen(text)));
    assert_true(hint_is_of(text, strlen(text), origin.operation));
    assert_false(hint_is_of(text, strlen(text), "20261126T120000Z-failover-1a2"));
    assert_true(hint_parse(text, strlen(text), &read_origin, &read, &err));
    assert_string_equal(hint_text(&read_origin, &read, SIZE_MAX, again), text);
    hint_done(&read);
    assert_non_null(strstr(hint_text(&origin, &hint, 1, text), " mapped=4000 runs=2000:3000 !"));
    hint_text(&origin, &hint, 0, text);
    assert_non_null(strstr(text, " mapped=2000 runs=- !"));
    assert_true(hint_parse(text, strlen(text), &read_origin, &read, &err));
    hint_done(&read);
    hint_done(&hint);
}

/* Far below what a broker takes, and all that is said stays true. */
static void many_runs_are_cut_to_fit(void **state)
{
    (void)state;
    struct offset_run many[150];
    char text[HINT_TEXT_BYTES];
    struct hint hint;
    struct hint read;
    struct hint_origin read_origin;
    struct err err = {0};
    int64_t big = 4000000000000000000;
    for (int64_t i = 0; i < 150; i++) {
        many[i] = (struct offset_run){big + i * 20, big + i * 10, 10};
    }
    const struct hint_place place = {.from = big,
                                     .mirrored_end = big + 1500,
                                     .source_offset = big,
                                     .source_limit = -1,
                                     .read_ms = -1,
                                     .looked_ms = -1,
                                     .alive_ms = -1};
    hint_find(&place, many, 150, HINT_RUNS_MAX, &hint);
    assert_int_equal(hint.runs_count, 150);
    hint_text(&origin, &hint, SIZE_MAX, text);
    assert_true(strlen(text) < HINT_TEXT_BYTES);
    assert_true(hint_parse(text, strlen(text), &read_origin, &read, &err));
    assert_in_range(read.runs_count, 15, 40);
    assert_int_equal(read.until, big + 1500);
    assert_int_equal(read.mapped_until, big + (int64_t)read.runs_count * 10);
    hint_done(&read);
    hint_done(&hint);
}

static void other_text_is_refused(void **state)
{
    (void)state;
#define HEAD "ferry1 op=o from=10 likely=20 until=30 cluster=c read=-1 cut=5 "
    static const char *const texts[] = {
        "",
        "ferry1 ",
        "ferry2 op=o from=10 likely=20 until=30 cluster=c read=-1 cut=5 mapped=10 runs=- !",
        HEAD "mapped=10 runs=-",
        HEAD "mapped=10 runs=- ",
        HEAD "mapped=10 runs=- !!",
        HEAD "mapped=10 runs=- ! ",
        HEAD "mapped=10 runs= !",
        HEAD "mapped=20 runs=- !",          /* known without runs */
        HEAD "mapped=31 runs=10:1 !",       /* past until */
        HEAD "mapped=20 runs=11:1 !",       /* not from `from` */
        HEAD "mapped=20 runs=10:1,10:2 !",  /* no length */
        HEAD "mapped=20 runs=10:1,15:3 !",  /* two records with one source offset */
        HEAD "mapped=20 runs=10:1,20:30 !", /* begins where nothing is mapped */
        HEAD "mapped=20 runs=10:1, !",
        HEAD "mapped=20 runs=10:-1 !",
        HEAD "mapped=20 runs=10 !",
        HEAD "mapped=20 runs=10:9223372036854775807 !",
        "ferry1 op=o from=10 likely=9 until=30 cluster=c read=-1 cut=5 mapped=10 runs=- !",
        "ferry1 op=o from=10 likely=31 until=30 cluster=c read=-1 cut=5 mapped=10 runs=- !",
        "ferry1 op=o from=-1 likely=20 until=30 cluster=c read=-1 cut=5 mapped=-1 runs=- !",
        "ferry1 op=o from=010 likely=20 until=30 cluster=c read=-1 cut=5 mapped=10 runs=- !",
        "ferry1 op= from=10 likely=20 until=30 cluster=c read=-1 cut=5 mapped=10 runs=- !",
        "ferry1 op=o! from=10 likely=20 until=30 cluster=c read=-1 cut=5 mapped=10 runs=- !",
        "ferry1 op=o from=10 until=30 likely=20 cluster=c read=-1 cut=5 mapped=10 runs=- !",
        "ferry1 op=o from=10 likely=20 until=30 cluster=c read=-2 cut=5 mapped=10 runs=- !",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct hint hint;
        struct hint_origin found;
        struct err err = {0};
        if (hint_parse(texts[i], strlen(texts[i]), &found, &hint, &err)) {
            fail_msg("taken: %s", texts[i]);
        }
        assert_int_equal(err.kind, ERR_REFUSED);
    }
    static const char good[] = HEAD "mapped=20 runs=10:1,15:6 !";
    struct hint hint;
    struct hint_origin found;
    assert_true(hint_parse(good, strlen(good), &found, &hint, NULL));
    hint_done(&hint);
}

static void what_is_a_hint(void **state)
{
    (void)state;
    assert_false(hint_is(NULL, 0));
    assert_false(hint_is("", 0));
    assert_false(hint_is("ferry", 5));
    assert_false(hint_is("ferryboat op=1 ", 15));
    assert_false(hint_is("ferry1 op=", 10));
    assert_true(hint_is("ferry12 op=x", 12));
    assert_false(hint_is_of("ferry1 op=x", 11, "x")); /* it may go on */
    assert_true(hint_is_of("ferry1 op=x from", 16, "x"));
}

static void json_and_back(void **state)
{
    (void)state;
    struct hint_place place = live();
    struct hint hint = find(&place);
    struct hint read;
    struct err err = {0};
    json_t *value = hint_json(&hint);
    assert_true(hint_json_parse(value, &read, &err));
    assert_int_equal(read.likely_until, hint.likely_until);
    assert_int_equal(read.runs_count, 2);
    assert_int_equal(read.runs[1].source_first, 5010);
    hint_done(&read);
    static const char *const broken[][2] = {
        {"from",         "3000"           },
        {"until",        "2100"           },
        {"until",        "\"x\""          },
        {"mapped_until", "9000"           },
        {"runs",         "[[2000]]"       },
        {"runs",         "[[2000,3000.5]]"},
        {"runs",         "[[2001,3000]]"  },
        {"runs",         "{}"             },
        {"runs",         "[[2000,-1]]"    },
        {"read_ms",      "-2"             },
    };
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        json_t *other = json_deep_copy(value);
        json_t *member = json_loads(broken[i][1], JSON_DECODE_ANY, NULL);
        assert_non_null(member);
        json_object_set_new(other, broken[i][0], member);
        if (hint_json_parse(other, &read, &err)) {
            fail_msg("taken: %s %s", broken[i][0], broken[i][1]);
        }
        assert_int_equal(err.kind, ERR_REFUSED);
        json_decref(other);
    }
    json_decref(value);
    hint_done(&hint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_live_group_gets_two_seconds_of_its_rate),
        cmocka_unit_test(what_is_not_known_is_not_narrow),
        cmocka_unit_test(a_group_that_stands_gets_no_more_than_it_can_have_read),
        cmocka_unit_test(a_stale_limit_is_likely_and_no_proof),
        cmocka_unit_test(a_limit_proves_nothing_without_the_map),
        cmocka_unit_test(records_of_others_at_the_target_are_counted),
        cmocka_unit_test(a_group_at_or_past_the_mirror_reads_nothing_again),
        cmocka_unit_test(records_have_their_source_offsets),
        cmocka_unit_test(an_unmapped_stretch_ends_what_is_told),
        cmocka_unit_test(text_and_back),
        cmocka_unit_test(many_runs_are_cut_to_fit),
        cmocka_unit_test(other_text_is_refused),
        cmocka_unit_test(what_is_a_hint),
        cmocka_unit_test(json_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
