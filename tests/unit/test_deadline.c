/* mirror/deadline: closed until a commit was taken, and never longer than the session allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mirror/deadline.h"

#define SESSION_MS 10000
#define USER_MS    3000
#define ALLOWED_MS (SESSION_MS - USER_MS - DEADLINE_SLACK_MS)

static void closed_before_the_first_commit(void **state)
{
    (void)state;
    struct deadline deadline;
    deadline_init(&deadline, SESSION_MS, USER_MS);
    assert_false(deadline_open(&deadline, 0));
    assert_false(deadline_open(&deadline, 1));
    assert_false(deadline_open(&deadline, INT64_MAX));
}

static void counts_from_when_it_was_sent(void **state)
{
    (void)state;
    struct deadline deadline;
    deadline_init(&deadline, SESSION_MS, USER_MS);
    deadline_renew(&deadline, 500000);
    assert_true(deadline_open(&deadline, 500000 + ALLOWED_MS - 1));
    assert_false(deadline_open(&deadline, 500000 + ALLOWED_MS));
}

static void late_answers_do_not_shorten_it(void **state)
{
    (void)state;
    struct deadline deadline;
    deadline_init(&deadline, SESSION_MS, USER_MS);
    deadline_renew(&deadline, 20000);
    deadline_renew(&deadline, 15000);
    assert_true(deadline_open(&deadline, 20000 + ALLOWED_MS - 1));
    assert_false(deadline_open(&deadline, 20000 + ALLOWED_MS));
}

static void a_new_assignment_begins_closed(void **state)
{
    (void)state;
    struct deadline deadline;
    deadline_init(&deadline, SESSION_MS, USER_MS);
    deadline_renew(&deadline, 20000);
    deadline_close(&deadline);
    assert_false(deadline_open(&deadline, 20001));
    deadline_renew(&deadline, 21000);
    assert_true(deadline_open(&deadline, 21001));
}

/* A stopped process wakes up past its deadline. */
static void a_commit_that_is_too_old_opens_nothing(void **state)
{
    (void)state;
    struct deadline deadline;
    deadline_init(&deadline, SESSION_MS, USER_MS);
    deadline_renew(&deadline, 1000);
    assert_false(deadline_open(&deadline, 1000 + SESSION_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_before_the_first_commit),
        cmocka_unit_test(counts_from_when_it_was_sent),
        cmocka_unit_test(late_answers_do_not_shorten_it),
        cmocka_unit_test(a_new_assignment_begins_closed),
        cmocka_unit_test(a_commit_that_is_too_old_opens_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
