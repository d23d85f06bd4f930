/* mirror/pairing: two stretches of log side by side. Letters are contents; '.' is an offset that holds nothing, '-' one
 * that holds no record of ours (a marker), '|' the place where the source's leader changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "mirror/pairing.h"
#include "tests/fake/batches.h"

static void fill(struct pair_list *list, const char *text)
{
    int64_t offset = 0;
    int32_t epoch = 1;
    pair_list_init(list);
    for (; *text != '\0'; text++) {
        if (*text == '|') {
            epoch++;
            continue;
        }
        if (*text == '.') {
            pair_list_missing(list, offset, offset + 1);
        } else if (*text != '-') {
            if (list->count == list->capacity) {
                list->capacity = list->capacity * 2 + 8;
                list->units = realloc(list->units, list->capacity * sizeof(*list->units));
            }
            list->units[list->count++] = (struct pair_unit){.name = (uint64_t)*text,
                                                            .first = offset,
                                                            .next = offset + 1,
                                                            .count = 1,
                                                            .missing = list->missing,
                                                            .leader_epoch = epoch};
            list->records_count++;
        }
        offset++;
    }
}

static struct pairing run(const char *target, const char *source, bool batches, bool at_end)
{
    struct pair_list left;
    struct pair_list right;
    struct pairing out;
    fill(&left, target);
    fill(&right, source);
    pairing_run(&out, &left, &right, 0, batches, false, at_end, 1);
    pair_list_done(&left);
    pair_list_done(&right);
    return out;
}

static void check(const char *target, const char *source, enum pairing_verdict verdict,
                  int64_t source_next, int64_t gone)
{
    struct pairing out = run(target, source, false, true);
    if (out.verdict != verdict || (verdict == PAIRING_DONE && out.source_next != source_next) ||
        (verdict == PAIRING_DONE && out.gone_count != gone)) {
        fail_msg("%s over %s: verdict %d next %lld gone %lld", target, source, (int)out.verdict,
                 (long long)out.source_next, (long long)out.gone_count);
    }
    pairing_done(&out);
}

/* As run(), for a target that no id marks. @param source_from  the position */
static struct pairing run_repeats(const char *target, const char *source, int64_t source_from,
                                  bool strangers)
{
    struct pair_list left;
    struct pair_list right;
    struct pairing out;
    fill(&left, target);
    fill(&right, source);
    pairing_run_repeats(&out, &left, &right, source_from, strangers, false, true, 1);
    pair_list_done(&left);
    pair_list_done(&right);
    return out;
}

static void repeats(const char *target, const char *source, int64_t source_from, int64_t next,
                    int64_t repeated, int64_t foreign)
{
    struct pairing out = run_repeats(target, source, source_from, true);
    if (out.verdict != PAIRING_DONE || out.source_next != next || out.repeated_count != repeated ||
        out.foreign_count != foreign) {
        fail_msg("%s over %s: verdict %d next %lld repeated %lld foreign %lld", target, source,
                 (int)out.verdict, (long long)out.source_next, (long long)out.repeated_count,
                 (long long)out.foreign_count);
    }
    pairing_done(&out);
}

static void what_stands_there_again_is_counted(void **state)
{
    (void)state;
    repeats("abcdef", "abcdef", 0, 6, 0, 0);
    repeats("abcbcdef", "abcdef", 0, 6, 2, 0);  /* arrived between ours */
    repeats("abcdefbc", "abcdef", 0, 6, 2, 0);  /* behind them */
    repeats("abcabcabc", "abcdef", 0, 3, 6, 0); /* twice */
    repeats("bcdefg", "abcdefgh", 3, 7, 2, 0);  /* of before the position */
    repeats("ababc", "ababc", 0, 5, 0, 0);      /* the source has the same bytes twice */
    repeats("abXcd", "abcd", 0, 4, 0, 1);       /* somebody else's */
    repeats("bXcYbd", "abcd", 2, 4, 2, 2);      /* all of it */
    repeats("bb", "abcd", 2, -1, 2, 0);         /* nothing of ours behind the position */
}

static void the_first_copy_keeps_its_place(void **state)
{
    (void)state;
    struct pairing out = run_repeats("abcbcdef", "abcdef", 0, true);
    assert_int_equal(out.runs.runs_count, 2);
    assert_int_equal(out.runs.runs[0].target_first, 0);
    assert_int_equal(out.runs.runs[0].length, 3);
    assert_int_equal(out.runs.runs[1].source_first, 3);
    assert_int_equal(out.runs.runs[1].target_first, 5);
    assert_int_equal(out.repeated_from, 3);
    assert_int_equal(out.repeated_to, 5);
    pairing_done(&out);
}

static void what_does_not_follow_is_looked_for_before_the_position_first(void **state)
{
    (void)state;
    struct pairing out = run_repeats("Xcd", "cd", 0, false);
    assert_int_equal(out.verdict, PAIRING_STRANGER);
    pairing_done(&out);
}

static void a_hole_is_a_hole_without_ids_too(void **state)
{
    (void)state;
    struct pairing out = run_repeats("abd", "abcd", 0, true);
    assert_int_equal(out.verdict, PAIRING_HOLE);
    assert_int_equal(out.hole_from, 2);
    pairing_done(&out);
}

static void a_hole_is_named_with_its_range(void **state)
{
    (void)state;
    struct pairing out = run("abe", "abcdef", false, true);
    assert_int_equal(out.verdict, PAIRING_HOLE);
    assert_int_equal(out.hole_from, 2);
    assert_int_equal(out.hole_to, 4);
    assert_int_equal(out.at_target, 2);
    pairing_done(&out);
    check("b", "ab", PAIRING_HOLE, 0, 0);
    check("ab.e", "abcde", PAIRING_HOLE, 0, 0); /* one offset is empty, two records are missing */
}

static void another_order_is_named(void **state)
{
    (void)state;
    struct pairing out = run("acb", "abc", false, true);
    assert_int_equal(out.verdict, PAIRING_ORDER);
    assert_int_equal(out.hole_from, 1);
    assert_int_equal(out.hole_to, 2);
    assert_int_equal(out.at_target, 1);
    pairing_done(&out);
}

static void a_record_that_the_source_never_had_is_a_stranger(void **state)
{
    (void)state;
    struct pairing out = run("abx", "abc", false, true);
    assert_int_equal(out.verdict, PAIRING_STRANGER);
    assert_int_equal(out.at_target, 2);
    pairing_done(&out);
    check("xab", "abc", PAIRING_STRANGER, 0, 0);
    check("abxy", "ab.c", PAIRING_STRANGER, 0, 0); /* one may be gone, not two */
    check("axbb", "abc", PAIRING_STRANGER, 0, 0);
}

/* The same bytes around a gap: as many places as they repeat. */
static void what_repeats_around_a_gap_is_not_guessed(void **state)
{
    (void)state;
    check("aaaa", "..aaaaaa", PAIRING_AMBIGUOUS, 0, 0);
    check("aab", ".aab", PAIRING_DONE, 4, 0);   /* one place only: a marker stood in the gap */
    check("aaab", ".aabc", PAIRING_DONE, 4, 1); /* one is gone */
    check("abab", "..abab", PAIRING_AMBIGUOUS, 0, 0);
    check("abab", "..abx", PAIRING_DONE, 4, 2); /* behind the gap it goes on at one place only */
}

static void more_of_the_source_is_asked_for_before_a_verdict(void **state)
{
    (void)state;
    struct pairing out = run("abx", "abc", false, false);
    assert_int_equal(out.verdict, PAIRING_NEED_MORE);
    pairing_done(&out);
    out = run("abc", "ab", true, false);
    assert_int_equal(out.verdict, PAIRING_NEED_MORE);
    pairing_done(&out);
}

static void lost_by_the_source_where_its_leader_changes(void **state)
{
    (void)state;
    struct pairing out = run("abxy", "ab|cd", false, true);
    assert_int_equal(out.verdict, PAIRING_LOST);
    assert_int_equal(out.source_next, 2);
    assert_int_equal(out.leader_epoch, 1);
    assert_int_equal(out.at_target, 2);
    assert_int_equal(out.lost_count, 2);
    pairing_done(&out);
    check("abxy", "a|bcd", PAIRING_STRANGER, 0, 0);  /* not just there */
    check("abxyd", "ab|cd", PAIRING_STRANGER, 0, 0); /* something behind is at the source */
    check("abxy", "ab", PAIRING_STRANGER, 0, 0);     /* nothing says that the leader changed */
}

static void what_is_gone_on_one_side_is_allowed(void **state)
{
    (void)state;
    check("abcd", "a..d", PAIRING_DONE, 4, 2);   /* compacted at the source */
    check("a..d", "abcd", PAIRING_DONE, 4, 0);   /* at the target */
    check("abcd", "ab..e", PAIRING_DONE, 2, 2);  /* at the end */
    check("abcd", "....e", PAIRING_DONE, -1, 4); /* all of it */
    check("abc", "a-b--c-d", PAIRING_DONE, 6, 0);
    check("", "abc", PAIRING_DONE, -1, 0);
}

static void runs_are_merged_and_exact(void **state)
{
    (void)state;
    struct pairing out = run("abcd", "a-bc--d", false, true);
    assert_int_equal(out.verdict, PAIRING_DONE);
    assert_int_equal(out.runs.runs_count, 3);
    assert_int_equal(out.runs.runs[1].source_first, 2);
    assert_int_equal(out.runs.runs[1].target_first, 1);
    assert_int_equal(out.runs.runs[1].length, 2);
    assert_int_equal(out.source_count, 4);
    pairing_done(&out);
}

/* --- whole batches ------------------------------------------------------------------------------------------------ */

static void add_batch(struct pair_list *list, int64_t base, int32_t count, int32_t last_delta)
{
    static const struct fake_record records[] = {
        {.offset_delta = -1, .value = "a"},
        {.offset_delta = -1, .value = "b"},
        {.offset_delta = -1, .value = "c"},
    };
    const struct fake_batch spec = {.base_offset = base,
                                    .last_offset_delta = last_delta,
                                    .base_timestamp = 7,
                                    .records = records,
                                    .count = count};
    struct writer writer;
    struct batch batch;
    struct err err;
    writer_init(&writer);
    fake_batch_write(&writer, &spec);
    assert_int_equal(batch_walk(writer.data, writer.len, &batch, &err), BATCH_WALK_ONE);
    pair_list_batch(list, &batch);
    writer_done(&writer);
}

/* Compacted alike on both sides: the bytes are equal, but count says less than offsets do. */
static void batches_with_holes_are_paired_by_record(void **state)
{
    (void)state;
    struct pair_list target;
    struct pair_list source;
    struct pairing out;
    pair_list_init(&target);
    pair_list_init(&source);
    add_batch(&target, 0, 3, 5);
    add_batch(&source, 10, 3, 5);
    pairing_run(&out, &target, &source, 0, true, false, true, -1);
    assert_int_equal(out.verdict, PAIRING_NEED_RECORDS);
    pairing_done(&out);
    pair_list_clear(&target);
    pair_list_clear(&source);
    add_batch(&target, 0, 3, -1);
    pair_list_missing(&source, 9, 10);
    add_batch(&source, 10, 3, -1);
    pairing_run(&out, &target, &source, 0, true, false, true, -1);
    assert_int_equal(out.verdict, PAIRING_NEED_RECORDS); /* a gap: how much is gone? */
    pairing_done(&out);
    pair_list_clear(&source);
    add_batch(&source, 10, 3, -1);
    pairing_run(&out, &target, &source, 0, true, false, true, -1);
    assert_int_equal(out.verdict, PAIRING_DONE);
    assert_int_equal(out.source_next, 13);
    pairing_done(&out);
    pair_list_done(&target);
    pair_list_done(&source);
}

/* The last record's unit reaches to the batch's end: what stood behind it is gone, and a position is at a batch's end. */
static void records_fill_their_batch(void **state)
{
    (void)state;
    static const struct fake_record records[] = {
        {.offset_delta = 1, .value = "b"},
        {.offset_delta = 3, .value = "d"},
    };
    const struct fake_batch spec = {
        .base_offset = 10, .last_offset_delta = 5, .records = records, .count = 2};
    struct writer writer;
    struct batch batch;
    const struct pair_reading reading = {.max_bytes = 1 << 20};
    struct pair_list list;
    struct err err;
    writer_init(&writer);
    fake_batch_write(&writer, &spec);
    assert_int_equal(batch_walk(writer.data, writer.len, &batch, &err), BATCH_WALK_ONE);
    pair_list_init(&list);
    assert_true(pair_list_records(&list, &batch, &reading, &err));
    assert_int_equal(list.count, 2);
    assert_int_equal(list.units[0].first, 11);
    assert_int_equal(list.units[0].next, 12);
    assert_int_equal(list.units[0].missing, 1);
    assert_int_equal(list.units[1].first, 13);
    assert_int_equal(list.units[1].next, 16);
    assert_int_equal(list.units[1].missing, 2);
    assert_int_equal(list.missing, 4);
    pair_list_done(&list);
    writer_done(&writer);
}

/* A batch that was cut in two for the target leaves a position inside of the source's; a filter leaves records out that
 * are no hole. */
static void records_before_the_position_and_those_filtered_are_no_units(void **state)
{
    (void)state;
    static const struct fake_record records[] = {
        {.offset_delta = 0, .key = "k", .value = "a"},
        {.offset_delta = 1, .key = "k", .value = "b"},
        {.offset_delta = 2, .key = "x", .value = "c"},
        {.offset_delta = 4, .key = "k", .value = "e"},
    };
    struct config_pattern globs[] = {{.text = "x*"}};
    const struct config_filter filter = {
        .key = {.exclude = globs, .exclude_count = 1}
    };
    const struct pair_reading reading = {.max_bytes = 1 << 20, .from = 11, .filter = &filter};
    const struct fake_batch spec = {
        .base_offset = 10, .last_offset_delta = 4, .records = records, .count = 4};
    struct writer writer;
    struct batch batch;
    struct pair_list list;
    struct err err;
    writer_init(&writer);
    fake_batch_write(&writer, &spec);
    assert_int_equal(batch_walk(writer.data, writer.len, &batch, &err), BATCH_WALK_ONE);
    pair_list_init(&list);
    assert_true(pair_list_records(&list, &batch, &reading, &err));
    assert_int_equal(list.count, 2);
    assert_int_equal(list.units[0].first, 11);
    assert_int_equal(list.units[0].missing, 0);
    assert_int_equal(list.units[1].first, 14);
    assert_int_equal(list.units[1].missing, 1); /* 13; 12 is there and does not belong */
    pair_list_done(&list);
    writer_done(&writer);
}

static void a_tail_stands_whole_or_cut_off_by_retention(void **state)
{
    (void)state;
    struct pair_list tail;
    struct pair_list source;
    fill(&tail, "bc");
    fill(&source, "cabcbc");
    assert_false(pairing_tail_stands_at(&tail, &source, 0, false));
    assert_true(pairing_tail_stands_at(&tail, &source, 0, true));
    assert_false(pairing_tail_stands_at(&tail, &source, 2, true));
    assert_true(pairing_tail_stands_at(&tail, &source, 3, false));
    assert_true(pairing_tail_stands_at(&tail, &source, 5, false));
    pair_list_done(&tail);
    pair_list_done(&source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_stands_there_again_is_counted),
        cmocka_unit_test(the_first_copy_keeps_its_place),
        cmocka_unit_test(what_does_not_follow_is_looked_for_before_the_position_first),
        cmocka_unit_test(a_hole_is_a_hole_without_ids_too),
        cmocka_unit_test(a_hole_is_named_with_its_range),
        cmocka_unit_test(another_order_is_named),
        cmocka_unit_test(a_record_that_the_source_never_had_is_a_stranger),
        cmocka_unit_test(what_repeats_around_a_gap_is_not_guessed),
        cmocka_unit_test(more_of_the_source_is_asked_for_before_a_verdict),
        cmocka_unit_test(lost_by_the_source_where_its_leader_changes),
        cmocka_unit_test(what_is_gone_on_one_side_is_allowed),
        cmocka_unit_test(runs_are_merged_and_exact),
        cmocka_unit_test(batches_with_holes_are_paired_by_record),
        cmocka_unit_test(records_fill_their_batch),
        cmocka_unit_test(records_before_the_position_and_those_filtered_are_no_units),
        cmocka_unit_test(a_tail_stands_whole_or_cut_off_by_retention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
