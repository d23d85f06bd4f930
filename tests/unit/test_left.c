/* cli/left: of what is left behind a move the gravest is said, with the command that goes with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "cli/left.h"

static struct config_service service;
static const struct config_site from = {.name = (char *)(uintptr_t)"a"};
static const struct config_site to = {.name = (char *)(uintptr_t)"b"};

/* As the rows left it: what was proven, groups that are not where they should be, records behind the cut (-1 = unknown). */
static struct operation after(const char *proof, int groups, int records)
{
    service = (struct config_service){.name = (char *)(uintptr_t)"orders", .others_count = 1};
    struct operation op = {
        .service = &service,
        .from = &from,
        .to = &to,
        .id = "ID",
        .planned = true,
        .options = {.kind = OPERATION_SWITCHOVER},
        .left = json_array(),
        .evidence = json_pack("{s{ss}s{sisi}s{so}}", "fence", "proof", proof, "offsets", "groups",
                              9, "unresolved", groups, "stragglers", "records",
                              records < 0 ? json_null() : json_integer(records)),
    };
    return op;
}

static void done(struct operation *op)
{
    json_decref(op->left);
    json_decref(op->evidence);
}

static void check(struct operation op, size_t count, const char *what, const char *hint)
{
    struct err err = {0};
    left_take(&op);
    assert_int_equal(json_array_size(op.left), count);
    left_say(&op, &err);
    if (strstr(err.what, what) == NULL || strcmp(err.hint, hint) != 0) {
        fail_msg("%s; next: %s", err.what, err.hint);
    }
    done(&op);
}

static void nothing(void **state)
{
    struct operation op = after("left", 0, 0);
    (void)state;
    left_take(&op);
    assert_int_equal(json_array_size(op.left), 0);
    done(&op);
}

static void each_has_its_command(void **state)
{
    (void)state;
    check(after("left", 0, 6), 1, "6 records were written at a", "ferry stragglers orders");
    check(after("left", 0, -1), 1, "what is written at a behind the cut is not known",
          "ferry stragglers orders --timeout 300");
    check(after("time", 2, 0), 1, "2 groups are not where",
          "ferry offsets show orders; ferry hints orders");
    check(after("none", 0, 0), 1, "not proven to have stopped",
          "systemctl stop ferryd where they run; ferry history orders ID");
}

static void the_gravest_is_said(void **state)
{
    (void)state;
    check(after("none", 2, 6), 3, "3 things are left, the first: moved, and the mirror's workers",
          "systemctl stop ferryd where they run; ferry history orders ID");
    check(after("left", 2, -1), 2, "2 groups are not where",
          "ferry offsets show orders; ferry hints orders");
}

static struct operation with_row(int groups, int records)
{
    struct operation op = after("left", groups, records);
    struct err why = {0};
    err_set(&why, ERR_RETRY, "1 of 2 name servers says so");
    operation_leave(&op, "verify", &why, true);
    return op;
}

/* What the same command does once more is named, behind what somebody has to see to. */
static void a_row_that_is_done_again(void **state)
{
    (void)state;
    check(with_row(0, 0), 1, "verify could not do all: 1 of 2 name servers says so",
          "ferry switchover orders");
    check(with_row(0, -1), 2, "verify could not do all", "ferry switchover orders");
    check(with_row(1, 0), 2, "1 group is not where",
          "ferry offsets show orders; ferry hints orders");
    struct operation op = with_row(0, 0);
    service.others_count = 2; /* then the command needs the site */
    check(op, 1, "verify could not do all", "ferry switchover orders --to b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing),
        cmocka_unit_test(each_has_its_command),
        cmocka_unit_test(the_gravest_is_said),
        cmocka_unit_test(a_row_that_is_done_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
