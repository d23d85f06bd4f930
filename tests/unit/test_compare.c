/* Two logs in memory and a map: what is lost, doubled, differing or foreign, and what cannot be judged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/compare.h"
#include "cli/verify.h"

#define RECORDS_MAX 64
#define NOWHERE     1000000 /* a bound that no record reaches */

/* A record is a letter; offsets without one are '.' (markers, holes, other people's). */
struct log {
    char letters[RECORDS_MAX + 1];
    int64_t at;
    int64_t end;
    int64_t fails_at; /* -1 = never */
};

static struct log source;
static struct log target;
static struct offset_run runs[8];
static int64_t unmapped_from; /* source offsets; both -1 = none */
static int64_t unmapped_until;
static int64_t older_source; /* one record of an older incarnation; -1 = none */
static int64_t older_target;
static int translations;
static struct compare_finding findings[32];
static size_t findings_count;

static enum compare_read peek(void *arg, struct compare_record *out, struct err *err)
{
    struct log *log = arg;
    int64_t len = (int64_t)strlen(log->letters);
    while (log->at < len && log->letters[log->at] == '.') {
        log->at++;
    }
    if (log->at == log->fails_at) {
        err_set(err, ERR_RETRY, "away");
        return COMPARE_FAILED;
    }
    if (log->at >= len || log->at >= log->end) {
        return COMPARE_END;
    }
    out->offset = log->at;
    out->digest = (uint64_t)log->letters[log->at];
    out->message = &log->letters[log->at];
    return COMPARE_RECORD;
}

static void pop(void *arg)
{
    struct log *log = arg;
    log->at++;
}

static bool same(void *arg, const void *a, const void *b)
{
    (void)arg;
    return *(const char *)a == *(const char *)b;
}

static bool translate(void *arg, int64_t offset, bool from_target, struct translation *out,
                      struct err *err)
{
    (void)arg;
    (void)err;
    translations++;
    *out = (struct translation){
        .verdict = VERDICT_ROUNDED, .source_offset = offset, .target_offset = -1};
    if (!from_target && offset >= unmapped_from && offset < unmapped_until) {
        out->verdict = VERDICT_UNMAPPED;
    }
    if (offset == (from_target ? older_target : older_source)) {
        *out = (struct translation){VERDICT_EXACT, older_source, older_target, 0};
    }
    return true;
}

/* The filter leaves out every z. */
static bool belongs(void *arg, const void *record)
{
    (void)arg;
    return *(const char *)record != 'z';
}

static void found(void *arg, const struct compare_finding *finding)
{
    (void)arg;
    findings[findings_count++] = *finding;
}

static int setup(void **state)
{
    (void)state;
    source = target = (struct log){.end = NOWHERE, .fails_at = -1};
    memset(runs, 0, sizeof(runs));
    unmapped_from = unmapped_until = older_source = older_target = -1;
    findings_count = 0;
    translations = 0;
    return 0;
}

static struct compare begin(const char *source_letters, const char *target_letters,
                            size_t runs_count)
{
    snprintf(source.letters, sizeof(source.letters), "%s", source_letters);
    snprintf(target.letters, sizeof(target.letters), "%s", target_letters);
    return (struct compare){
        .source = {peek, pop, &source},
        .target = {peek, pop, &target},
        .same = same,
        .translate = translate,
        .found = found,
        .runs = runs,
        .runs_count = runs_count
    };
}

static void run(struct compare *compare)
{
    struct err err;
    assert_true(compare_run(compare, &err));
    compare_done(compare);
}

static void check_finding(size_t at, enum compare_kind kind, int64_t source_offset,
                          int64_t target_offset, int64_t count)
{
    assert_true(at < findings_count);
    assert_int_equal(findings[at].kind, kind);
    assert_int_equal(findings[at].source_offset, source_offset);
    assert_int_equal(findings[at].target_offset, target_offset);
    assert_int_equal(findings[at].count, count);
}

static void same_logs(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 3};
    runs[1] = (struct offset_run){4, 3, 3};
    struct compare compare = begin("abc.def", "abcdef", 2);
    run(&compare);
    assert_int_equal(compare.counts.compared, 6);
    assert_int_equal(findings_count, 0);
    assert_int_equal(translations, 0); /* the runs say it all */
}

static void a_flipped_bit(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 4};
    struct compare compare = begin("abcd", "aXcd", 1);
    run(&compare);
    assert_int_equal(compare.counts.compared, 4);
    assert_int_equal(findings_count, 1);
    check_finding(0, COMPARE_DIFFERING, 1, 1, 1);
}

static void two_that_changed_places(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 4};
    struct compare compare = begin("abcd", "acbd", 1);
    run(&compare);
    assert_int_equal(findings_count, 1);
    check_finding(0, COMPARE_DIFFERING, 1, 1, 2); /* as a range */
}

static void lost_records(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 6};
    struct compare compare = begin("abcdef", "a..de.", 1);
    run(&compare);
    assert_int_equal(compare.counts.compared, 3);
    assert_int_equal(compare.counts.wrong[COMPARE_LOST], 3);
    assert_int_equal(findings_count, 2);
    check_finding(0, COMPARE_LOST, 1, 1, 2);
    check_finding(1, COMPARE_LOST, 5, 5, 1);
}

static void a_record_in_a_hole_of_the_map(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 2};
    runs[1] = (struct offset_run){3, 2, 1};
    struct compare compare = begin("abcd", "abd", 2);
    run(&compare);
    check_finding(0, COMPARE_LOST, 2, -1, 1);
}

static void below_the_targets_log(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 10, 4};
    struct compare compare = begin("abcd", "............cd", 1);
    compare.target_begin = 12;
    run(&compare);
    assert_int_equal(compare.counts.expired, 2);
    assert_int_equal(compare.counts.compared, 2);
    assert_int_equal(findings_count, 0);
}

static void foreign_and_doubled(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 2};
    runs[1] = (struct offset_run){2, 4, 2};
    struct compare compare = begin("abcd", "abXacdb", 2);
    run(&compare);
    assert_int_equal(findings_count, 3);
    check_finding(0, COMPARE_FOREIGN, -1, 2, 1);
    check_finding(1, COMPARE_DOUBLED, 0, 3, 1);
    check_finding(2, COMPARE_DOUBLED, 1, 6, 1);
    assert_int_equal(compare.counts.compared, 4);
}

static void what_the_source_forgot(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 5};
    struct compare compare = begin("..cde", "abcde", 1);
    compare.source_begin = 2;
    run(&compare);
    assert_int_equal(compare.counts.forgotten, 2);
    assert_int_equal(findings_count, 0);
}

static void a_map_that_leads_to_nothing(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 5}; /* offset 2 is a marker at the source */
    struct compare compare = begin("ab.de", "abXde", 1);
    run(&compare);
    assert_int_equal(findings_count, 1);
    check_finding(0, COMPARE_FOREIGN, -1, 2, 1);
}

static void compaction_takes_on_either_side(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 5};
    struct compare compare = begin("a.cde", "abc.e", 1);
    compare.compacted = true;
    run(&compare);
    assert_int_equal(compare.counts.forgotten, 1);
    assert_int_equal(compare.counts.compacted, 1);
    assert_int_equal(compare.counts.compared, 3);
    assert_int_equal(findings_count, 0);
}

static void an_unmapped_stretch_is_not_lost(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 2};
    runs[1] = (struct offset_run){12, 12, 2};
    unmapped_from = 2;
    unmapped_until = 12;
    struct compare compare = begin("abcdefghijklmn", "ab..........mn", 2);
    run(&compare);
    assert_int_equal(compare.counts.unmapped, 10);
    assert_int_equal(compare.counts.compared, 4);
    assert_int_equal(findings_count, 0);
    assert_int_equal(translations, 2); /* its first and its last, not each */
}

static void a_hole_beside_an_unmapped_stretch_is_lost(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 1};
    runs[1] = (struct offset_run){5, 5, 1};
    unmapped_from = 1;
    unmapped_until = 4; /* 4 is none of it */
    struct compare compare = begin("abcdef", "a....f", 2);
    run(&compare);
    assert_int_equal(compare.counts.unmapped, 3);
    check_finding(0, COMPARE_LOST, 4, -1, 1);
}

static void filtered_records_are_not_lost(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 2};
    runs[1] = (struct offset_run){3, 2, 1};
    runs[2] = (struct offset_run){5, 3, 1};
    struct compare compare = begin("abzdef", "abdf", 3);
    compare.belongs = belongs;
    run(&compare);
    assert_int_equal(compare.counts.filtered, 1);
    assert_int_equal(compare.counts.compared, 4);
    assert_int_equal(findings_count, 1); /* e passes, and is not there */
    check_finding(0, COMPARE_LOST, 4, -1, 1);
}

static void what_was_mirrored_is_compared_whatever_the_filter_is(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 4};
    struct compare compare = begin("azbz", "azb.", 1);
    compare.belongs = belongs;
    run(&compare);
    assert_int_equal(compare.counts.compared, 3);
    assert_int_equal(compare.counts.filtered, 0);
    check_finding(0, COMPARE_LOST, 3, 3, 1);
}

static void what_another_filter_had_is_not_judged(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 1};
    runs[1] = (struct offset_run){4, 1, 1};
    runs[2] = (struct offset_run){6, 2, 1};
    struct compare compare = begin("abczezg", "aeg", 3);
    compare.belongs = belongs;
    compare.filter_from = 4;
    run(&compare);
    assert_int_equal(compare.counts.unjudged, 3);
    assert_int_equal(compare.counts.filtered, 1);
    assert_int_equal(compare.counts.compared, 3);
    assert_int_equal(findings_count, 0);
}

static void filtered_in_an_unmapped_stretch(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){0, 0, 1};
    runs[1] = (struct offset_run){4, 3, 1};
    unmapped_from = 1;
    unmapped_until = 4;
    struct compare compare = begin("abzde", "abde", 2);
    compare.belongs = belongs;
    run(&compare);
    assert_int_equal(compare.counts.unmapped, 2);
    assert_int_equal(compare.counts.filtered, 1);
}

static void filtered_behind_the_checkpoint(void **state)
{
    (void)state;
    struct err err;
    runs[0] = (struct offset_run){0, 0, 2};
    struct compare compare = begin("abzczd", "abcd", 1);
    compare.belongs = belongs;
    source.end = target.end = 2;
    assert_true(compare_run(&compare, &err));
    source.end = target.end = NOWHERE;
    assert_true(compare_tail(&compare, &err));
    compare_done(&compare);
    assert_int_equal(compare.counts.behind, 2);
    assert_int_equal(compare.counts.filtered, 2);
    assert_int_equal(findings_count, 0);
}

static void an_older_incarnation(void **state)
{
    (void)state;
    runs[0] = (struct offset_run){3, 5, 2};
    older_source = 1;
    older_target = 1;
    struct compare compare = begin(".b.de", ".b...de", 1);
    run(&compare);
    assert_int_equal(compare.counts.compared, 3);
    assert_int_equal(findings_count, 0);
    setup(NULL);
    runs[0] = (struct offset_run){1, 2, 1};
    older_source = 5; /* the source lost it, the target keeps it */
    older_target = 1;
    compare = begin(".b", ".Xb", 1);
    run(&compare);
    assert_int_equal(compare.counts.forgotten, 1);
    assert_int_equal(findings_count, 0);
}

static void a_side_that_goes_away(void **state)
{
    (void)state;
    struct err err = {0};
    runs[0] = (struct offset_run){0, 0, 4};
    struct compare compare = begin("abcd", "aXcd", 1);
    target.fails_at = 2;
    assert_false(compare_run(&compare, &err));
    compare_done(&compare);
    assert_string_equal(err.what, "away");
    assert_int_equal(compare.counts.compared, 2); /* what was read counts */
    check_finding(0, COMPARE_DIFFERING, 1, 1, 1);
}

static void behind_the_checkpoint(void **state)
{
    (void)state;
    struct err err;
    runs[0] = (struct offset_run){0, 0, 3};
    struct compare compare = begin("abc.defg", "abcdebXf", 1);
    source.end = 4;
    target.end = 3;
    assert_true(compare_run(&compare, &err));
    source.end = target.end = NOWHERE;
    assert_true(compare_tail(&compare, &err));
    compare_done(&compare);
    assert_int_equal(compare.counts.compared, 3);
    assert_int_equal(compare.counts.behind, 3); /* d, e, f: not mapped yet */
    assert_int_equal(findings_count, 2);
    check_finding(0, COMPARE_DOUBLED, 1, 5, 1);
    check_finding(1, COMPARE_FOREIGN, -1, 6, 1);
}

static void much_is_remembered_and_bounded(void **state)
{
    (void)state;
    /* Logs of numbers: more records than one generation of what was seen holds. */
    struct compare compare = begin("", "", 0);
    compare.runs = runs;
    compare.runs_count = 1;
    runs[0] = (struct offset_run){0, 0, 1};
    for (int round = 0; round < 3; round++) {
        setup(NULL);
        runs[0] = (struct offset_run){0, 0, 1};
        snprintf(source.letters, sizeof(source.letters), "a");
        snprintf(target.letters, sizeof(target.letters), "aa");
        struct err err;
        compare.source_run = compare.target_run = 0;
        compare.seen.count = round == 1 ? COMPARE_SEEN_MAX : compare.seen.count;
        assert_true(compare_run(&compare, &err));
    }
    assert_int_equal(compare.counts.wrong[COMPARE_DOUBLED], 3);
    assert_non_null(compare.older.slots);
    compare_done(&compare);
}

/* --- small decisions ---------------------------------------------------------------------------------------------- */

static void cutting_runs(void **state)
{
    (void)state;
    struct offset_run all[] = {
        {0,  0,  5},
        {10, 5,  5},
        {20, 10, 5}
    };
    assert_int_equal(verify_cut_runs(all, 3, 12, 22), 2);
    assert_int_equal(all[0].source_first, 12);
    assert_int_equal(all[0].target_first, 7);
    assert_int_equal(all[0].length, 3);
    assert_int_equal(all[1].source_first, 20);
    assert_int_equal(all[1].length, 2);
    assert_int_equal(verify_cut_runs(all, 2, 100, 200), 0);
}

static void since(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "5",
                                        "m",
                                        "5x",
                                        "-5m",
                                        "5m ",
                                        "1h30m",
                                        "9999999999s",
                                        "2025-11-25",
                                        "2025-11-25T03:00:00",
                                        "2025-11-25T03:00:00+01:00"};
    int64_t out = -7;
    struct err err;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(verify_since(wrong[i], 1000000, &out, &err));
        assert_int_equal(out, -7);
    }
    assert_true(verify_since("90s", 1000000, &out, &err));
    assert_int_equal(out, 910000);
    assert_true(verify_since("7d", 1000000, &out, &err));
    assert_int_equal(out, 0);
    assert_true(verify_since("2025-11-25T03:00:07Z", 0, &out, &err));
    assert_true(out == 1764039607000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(same_logs, setup),
        cmocka_unit_test_setup(a_flipped_bit, setup),
        cmocka_unit_test_setup(two_that_changed_places, setup),
        cmocka_unit_test_setup(lost_records, setup),
        cmocka_unit_test_setup(a_record_in_a_hole_of_the_map, setup),
        cmocka_unit_test_setup(below_the_targets_log, setup),
        cmocka_unit_test_setup(foreign_and_doubled, setup),
        cmocka_unit_test_setup(what_the_source_forgot, setup),
        cmocka_unit_test_setup(a_map_that_leads_to_nothing, setup),
        cmocka_unit_test_setup(compaction_takes_on_either_side, setup),
        cmocka_unit_test_setup(an_unmapped_stretch_is_not_lost, setup),
        cmocka_unit_test_setup(a_hole_beside_an_unmapped_stretch_is_lost, setup),
        cmocka_unit_test_setup(filtered_records_are_not_lost, setup),
        cmocka_unit_test_setup(what_was_mirrored_is_compared_whatever_the_filter_is, setup),
        cmocka_unit_test_setup(what_another_filter_had_is_not_judged, setup),
        cmocka_unit_test_setup(filtered_in_an_unmapped_stretch, setup),
        cmocka_unit_test_setup(filtered_behind_the_checkpoint, setup),
        cmocka_unit_test_setup(an_older_incarnation, setup),
        cmocka_unit_test_setup(a_side_that_goes_away, setup),
        cmocka_unit_test_setup(behind_the_checkpoint, setup),
        cmocka_unit_test_setup(much_is_remembered_and_bounded, setup),
        cmocka_unit_test(cutting_runs),
        cmocka_unit_test(since),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
