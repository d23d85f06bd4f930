/* failover/plan: the order of the rows, which is the safety of the whole; each line here is a sentence of plan.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "failover/step.h"

static size_t at(const char *name)
{
    for (size_t i = 0; i < plan_failover.count; i++) {
        if (strcmp(plan_failover.steps[i].name, name) == 0) {
            return i;
        }
    }
    fail_msg("no row %s", name);
    return 0;
}

static const struct step *row(const char *name)
{
    return &plan_failover.steps[at(name)];
}

static void what_comes_before_what(void **state)
{
    static const struct {
        const char *first;
        const char *then;
        const char *why;
    } pairs[] = {
        {"check",   "pre",        "a refusal calls no program"                                       },
        {"source",  "prove",      "ends stand still once nobody writes"                              },
        {"prove",   "drain",      "everything is up to the proven ends"                              },
        {"drain",   "fence",      "it is the workers who drain"                                      },
        {"fence",   "count",      "what is counted behind the fence is lost, and is told before role"},
        {"count",   "role",       "what came meanwhile takes everything back"                        },
        {"fence",   "freeze",     "the mirror's end moves no more"                                   },
        {"freeze",  "role",       "what groups get is in the journal before anything is new"         },
        {"role",    "offsets",    "no keeper commits over it"                                        },
        {"offsets", "hints",      "a hint tells what was committed"                                  },
        {"hints",   "open",       "hints are there before the first client"                          },
        {"offsets", "open",       "groups find their place when they come"                           },
        {"open",    "dns",        "nobody is led to a site that refuses him"                         },
        {"dns",     "verify",     "who says so"                                                      },
        {"verify",  "evict",      "who is thrown out finds the new site"                             },
        {"evict",   "stragglers", "old sessions have ended"                                          },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        if (at(pairs[i].first) >= at(pairs[i].then)) {
            fail_msg("%s before %s: %s", pairs[i].first, pairs[i].then, pairs[i].why);
        }
    }
}

/* What changes the world before `open` can be taken back, and what it did is known again by whoever resumes. */
static void what_can_be_taken_back(void **state)
{
    static const char *const changing[] = {"source", "fence", "role", "offsets", "hints"};
    (void)state;
    for (size_t i = 0; i < sizeof(changing) / sizeof(changing[0]); i++) {
        assert_non_null(row(changing[i])->undo);
    }
    for (size_t i = at("open"); i < plan_failover.count; i++) {
        assert_null(plan_failover.steps[i].undo);
    }
    for (size_t i = 0; i < plan_failover.count; i++) {
        bool opens = (plan_failover.steps[i].flags & STEP_OPENS) != 0;
        assert_int_equal(opens, i == at("open"));
    }
}

/* What may be missing at the end, and what is asked again each time. */
static void which_rows_are_soft(void **state)
{
    static const char *const soft[] = {"offsets", "hints", "verify", "evict", "post", "stragglers"};
    size_t count = 0;
    (void)state;
    for (size_t i = 0; i < plan_failover.count; i++) {
        count += (plan_failover.steps[i].flags & STEP_SOFT) != 0 ? 1 : 0;
    }
    assert_int_equal(count, sizeof(soft) / sizeof(soft[0]));
    for (size_t i = 0; i < sizeof(soft) / sizeof(soft[0]); i++) {
        assert_true(row(soft[i])->flags & STEP_SOFT);
    }
    const unsigned again = STEP_ALWAYS | STEP_BEFORE_ROLE;
    assert_int_equal(row("check")->flags & again, again);
    assert_int_equal(row("count")->flags & again, again);
    assert_int_equal(row("verify")->flags & again, STEP_ALWAYS);
    assert_int_equal(row("drain")->flags, STEP_PLANNED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_before_what),
        cmocka_unit_test(what_can_be_taken_back),
        cmocka_unit_test(which_rows_are_soft),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
