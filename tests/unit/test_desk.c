/* mirror/desk: who may ask now, and who waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mirror/desk.h"

static void one_desk_a_connection(void **state)
{
    struct desks desks = {0};
    struct desk *desk = desk_of(&desks, true, 1, 0, 2);

    (void)state;
    assert_ptr_equal(desk_of(&desks, true, 1, 0, 2), desk);
    assert_ptr_not_equal(desk_of(&desks, false, 1, 0, 2), desk);
    assert_ptr_not_equal(desk_of(&desks, true, 2, 0, 2), desk);
    assert_ptr_not_equal(desk_of(&desks, true, 1, 9, 2), desk);
    assert_int_equal(desks.count, 4);
    desks_done(&desks);
}

static void so_many_at_a_time_and_the_others_in_order(void **state)
{
    struct desks desks = {0};
    struct desk *desk = desk_of(&desks, true, 1, 0, 2);
    struct desk *other = desk_of(&desks, true, 2, 0, 2);
    struct desk_place places[6] = {0};

    (void)state;
    assert_true(desk_ask(desk, &places[0]));
    assert_true(desk_ask(desk, &places[1]));
    assert_false(desk_ask(desk, &places[2]));
    assert_false(desk_ask(desk, &places[3]));
    assert_false(desk_ask(desk, &places[4]));
    assert_true(desk_ask(other, &places[5])); /* a broker that hangs is nobody else's */
    assert_null(desk_next(desk, false));
    desk_answered(desk);
    desk_leave(&places[3]);
    desk_leave(&places[3]); /* once more is nothing */
    assert_ptr_equal(desk_next(desk, false), &places[2]);
    assert_true(desk_ask(desk, &places[2]));
    assert_null(desk_next(desk, false));
    desk_answered(desk);
    assert_ptr_equal(desk_next(desk, false), &places[4]);
    assert_null(desk_next(desk, false));
    desks_done(&desks);
}

static void a_lost_connection_sends_all_away(void **state)
{
    struct desks desks = {0};
    struct desk *desk = desk_of(&desks, false, 1, 0, 1);
    struct desk_place places[3] = {0};

    (void)state;
    assert_true(desk_ask(desk, &places[0]));
    assert_false(desk_ask(desk, &places[1]));
    assert_false(desk_ask(desk, &places[2]));
    assert_ptr_equal(desk_next(desk, true), &places[1]);
    assert_ptr_equal(desk_next(desk, true), &places[2]);
    assert_null(desk_next(desk, true));
    desks_done(&desks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_desk_a_connection),
        cmocka_unit_test(so_many_at_a_time_and_the_others_in_order),
        cmocka_unit_test(a_lost_connection_sends_all_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
