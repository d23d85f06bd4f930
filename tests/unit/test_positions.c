#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failover/positions.h"

static struct position row(const char *topic, int32_t partition, int64_t source_next,
                           int32_t generation)
{
    struct position out = {
        .partition = partition, .placed = true, .source_begin = 0, .source_end = 100};
    snprintf(out.topic, sizeof(out.topic), "%s", topic);
    out.at.source_next = source_next;
    out.at.target_next = source_next;
    out.at.generation = generation;
    return out;
}

static void the_newer_of_two_counts(void **state)
{
    (void)state;
    struct position rows[] = {row("b", 0, 5, 0), row("a", 1, 7, 0), row("a", 1, 9, 0),
                              row("a", 0, 1, 0), row("b", 0, 2, 1)};
    rows[1].placed = true;
    struct positions positions = {.rows = rows, .count = 5};
    positions_settle(&positions);
    assert_int_equal(positions.count, 3);
    assert_string_equal(positions.rows[0].topic, "a");
    assert_int_equal(positions.rows[0].partition, 0);
    assert_int_equal(positions.rows[1].at.source_next, 9);
    assert_int_equal(positions.rows[2].at.generation, 1); /* though it is behind */
    assert_ptr_equal(positions_find(&positions, "a", 1), &positions.rows[1]);
    assert_null(positions_find(&positions, "a", 2));
    assert_null(positions_find(&positions, "c", 0));
}

static void nothing_is_found_in_nothing(void **state)
{
    (void)state;
    struct positions positions = {.rows = NULL};
    positions_settle(&positions);
    assert_null(positions_find(&positions, "a", 0));
}

static void lag(void **state)
{
    (void)state;
    struct position one = row("a", 0, 90, 0);
    assert_int_equal(position_lag(&one), 10);
    one.at.source_next = 100;
    assert_int_equal(position_lag(&one), 0);
    one.at.source_next = 101; /* the source lost records: what it got since cannot be counted */
    assert_int_equal(position_lag(&one), -1);
    one.at.source_next = 90;
    one.source_end = -1;
    assert_int_equal(position_lag(&one), -1);
}

static void what_nobody_mirrored_is_at_risk(void **state)
{
    (void)state;
    struct position one = row("a", 0, 100, 0);
    one.placed = false;
    one.source_begin = 40;
    assert_int_equal(position_held(&one), 60);
    assert_int_equal(position_lag(&one), 60);
    one.source_begin = -1;
    assert_int_equal(position_lag(&one), -1);
}

static void open_transactions_hold_back_and_count(void **state)
{
    (void)state;
    struct position row = {.placed = true, .source_stable = 100, .source_end = 350};
    row.at.source_next = 100;
    assert_int_equal(position_lag(&row), 250);
    assert_int_equal(position_held_back(&row), 250);
    row.at.source_next = 60; /* the mirror is not there yet: it is behind, nothing holds it back */
    assert_int_equal(position_lag(&row), 290);
    assert_int_equal(position_held_back(&row), 0);
    row.at.source_next = 100;
    row.source_stable = -1;
    assert_int_equal(position_held_back(&row), 0);
    row.source_stable = row.source_end = 100;
    assert_int_equal(position_held_back(&row), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newer_of_two_counts),
        cmocka_unit_test(nothing_is_found_in_nothing),
        cmocka_unit_test(lag),
        cmocka_unit_test(open_transactions_hold_back_and_count),
        cmocka_unit_test(what_nobody_mirrored_is_at_risk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
