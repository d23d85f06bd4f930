/* failover/stragglers: what follows from a look. What is not known is neither nothing nor done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "failover/stragglers.h"

#define NONE (-1) /* null */

struct seen {
    int answers;
    int expected, arrived, at_old, missing;
    int records, at_risk, written;
    enum stragglers_state state;
    bool settled;
    const char *line;
};

static json_t *number(int value)
{
    return value < 0 ? json_null() : json_integer(value);
}

static json_t *look_of(const struct seen *seen)
{
    return json_pack(
        "{s{sssbss}s{ss}sososososososo}", "old", "site", "hz", "answers", seen->answers, "why", "",
        "new", "site", "sh", "expected", number(seen->expected), "arrived", number(seen->arrived),
        "at_old", number(seen->at_old), "missing", number(seen->missing), "records",
        number(seen->records), "at_risk", number(seen->at_risk), "written", number(seen->written));
}

static void a_look_says_what_it_knows(void **state)
{
    static const struct seen rows[] = {
        /* the old primary answers */
        {1, 3,    3, 0,    0,    0,    0,    0,    STRAGGLERS_DONE,    true,  "3 of 3 groups are at sh, 0 at hz still"},
        {1, 3,    2, 1,    0,    0,    0,    0,    STRAGGLERS_LEFT,    false, "2 of 3 groups are at sh, 1 at hz still"},
        {1, 3,    2, 0,    1,    0,    0,    0,    STRAGGLERS_LEFT,    false,
         "2 of 3 groups are at sh, 0 at hz still, 1 at neither side"                                                  },
        {1, 3,    3, 0,    0,    5,    5,    0,    STRAGGLERS_LEFT,    true,
         "3 of 3 groups are at sh, 0 at hz still"                                                                     }, /* they stay */
        {1, 3,    3, 0,    0,    NONE, 5,    0,    STRAGGLERS_LEFT,    true,
         "3 of 3 groups are at sh, 0 at hz still"                                                                     },
        {1, 3,    3, 0,    0,    0,    0,    2,    STRAGGLERS_LEFT,    false,
         "3 of 3 groups are at sh, 0 at hz still"                                                                     }, /* somebody writes */
        {1, 3,    3, 0,    0,    0,    0,    NONE, STRAGGLERS_DONE,    false,
         "3 of 3 groups are at sh, 0 at hz still"                                                                     }, /* the first look */
        {1, NONE, 2, 0,    NONE, NONE, 0,    0,    STRAGGLERS_DONE,    true,
         "2 groups are at sh, 0 at hz still; how many there were is unknown"                                          },
        /* it does not */
        {0, 3,    3, NONE, 0,    NONE, NONE, NONE, STRAGGLERS_DONE,    true,
         "3 of 3 groups are at sh, who is at hz is unknown: it does not answer"                                       },
        {0, 3,    1, NONE, 2,    NONE, NONE, NONE, STRAGGLERS_UNKNOWN, false,
         "1 of 3 groups are at sh, who is at hz is unknown: it does not answer"                                       },
        {0, NONE, 3, NONE, NONE, NONE, NONE, NONE, STRAGGLERS_UNKNOWN, false,
         "3 groups are at sh, who is at hz is unknown: it does not answer"                                            },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *look = look_of(&rows[i]);
        assert_non_null(look);
        char *line = stragglers_line(look);
        assert_string_equal(line, rows[i].line);
        assert_int_equal(stragglers_state(look), rows[i].state);
        assert_int_equal(stragglers_settled(look), rows[i].settled);
        free(line);
        json_decref(look);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_look_says_what_it_knows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
