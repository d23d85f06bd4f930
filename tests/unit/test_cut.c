/* failover/cut: what becomes of each place of a group at the target, and what is kept of it for whoever resumes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/heap.h"
#include "failover/cut_inside.h"

#define OPERATION "20261126T120000Z-failover-1a2b"
#define OURS \
    "ferry1 op=" OPERATION " from=1 likely=1 until=1 cluster=c read=-1 cut=-1 mapped=1 runs=- !"
#define EARLIER                                                                                  \
    "ferry1 op=20250101T000000Z-failover-0000 from=1 likely=1 until=1 cluster=c read=-1 cut=-1 " \
    "mapped=1 runs=- !"

/* One group with one place: translated to 500, of a log that ends at 900. */
static struct cut one_place(int64_t committed, int64_t before, const char *metadata)
{
    struct cut cut = {
        .origin = {.operation = OPERATION, .cluster = "c", .cut_ms = 7},
          .of_redis = true
    };
    struct cut_part *part = cut_part_add(&cut, "t", 0);
    part->end = 900;
    struct cut_place *place = cut_place_add(cut_group_add(&cut, "g"), part);
    place->facts = (struct group_facts){
        .source_offset = 1000,
        .target_offset = 500,
        .committed = committed,
        .before = before,
        .read_ms = 5,
        .pace = {.offsets = 10, .commits_ms = 1000},
        .limit = 1020
    };
    place->hint = (struct hint){
        .from = 500, .likely_until = 510, .until = 520, .read_ms = 5, .mapped_until = 500};
    place->metadata = metadata == NULL ? NULL : must(strdup(metadata));
    return cut;
}

/* @param offset  -1 = it has none */
static struct groups_list target_has(const char *state, int64_t offset, const char *metadata)
{
    struct groups_list list = {0};
    struct groups_row *row = groups_list_add(&list, "g");
    row->listed = true;
    row->empty = strcmp(state, "Empty") == 0;
    snprintf(row->state, sizeof(row->state), "%s", state);
    row->places = must(calloc(1, sizeof(*row->places)));
    row->places_count = 1;
    row->places[0] =
        (struct groups_place){.topic = "t",
                              .offset = offset,
                              .metadata = metadata == NULL ? NULL : must(strdup(metadata))};
    return list;
}

static enum cut_verdict decide(struct cut *cut, struct groups_list *take_list)
{
    cut_decide(cut, take_list);
    groups_list_done(take_list);
    return cut->groups[0].places[0].verdict;
}

static void each_place_has_its_verdict(void **state)
{
    (void)state;
    static const struct {
        int64_t committed; /* by us; -1 = never */
        int64_t before;
        const char *own; /* metadata of the group */
        const char *group_state;
        int64_t stands;
        const char *there; /* metadata at the target */
        enum cut_verdict verdict;
    } rows[] = {
        {-1,  -1,  NULL,   "Empty",  -1,  NULL,    CUT_DUE      },
        {500, -1,  NULL,   "Empty",  500, NULL,    CUT_DUE      }, /* for the hint */
        {480, -1,  NULL,   "Empty",  480, NULL,    CUT_DUE      },
        {490, 480, NULL,   "Empty",  480, NULL,    CUT_DUE      }, /* the answer was lost: it is ours */
        {600, -1,  NULL,   "Empty",  600, NULL,    CUT_DUE      }, /* the source was rewound since */
        {480, -1,  NULL,   "Empty",  490, NULL,    CUT_FOREIGN  },
        {480, -1,  NULL,   "Empty",  700, NULL,    CUT_FOREIGN  },
        {480, -1,  NULL,   "Empty",  500, NULL,    CUT_DUE      }, /* where it belongs, whoever did it */
        {-1,  -1,  NULL,   "Empty",  501, NULL,    CUT_PAST     },
        {-1,  -1,  NULL,   "Empty",  499, NULL,    CUT_DUE      },
        {480, -1,  NULL,   "Empty",  500, OURS,    CUT_COMMITTED},
        {480, -1,  NULL,   "Empty",  500, EARLIER, CUT_DUE      },
        {480, -1,  NULL,   "Stable", 480, NULL,    CUT_MEMBERS  },
        {480, -1,  NULL,   "Stable", 500, OURS,    CUT_COMMITTED}, /* they came after us */
        {500, -1,  "mine", "Empty",  500, "mine",  CUT_COMMITTED}, /* kept; there is nothing to do */
        {500, -1,  "mine", "Empty",  500, NULL,    CUT_DUE      },
        {480, -1,  "mine", "Empty",  480, "mine",  CUT_DUE      },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cut cut = one_place(rows[i].committed, rows[i].before, rows[i].own);
        struct groups_list list = target_has(rows[i].group_state, rows[i].stands, rows[i].there);
        enum cut_verdict verdict = decide(&cut, &list);
        if (verdict != rows[i].verdict) {
            fail_msg("row %zu: %s, not %s", i, cut_verdict_text(verdict),
                     cut_verdict_text(rows[i].verdict));
        }
        cut_done(&cut);
    }
}

static void what_is_not_mapped_stays_and_gets_a_hint_from_there(void **state)
{
    (void)state;
    struct cut cut = one_place(480, -1, NULL);
    struct groups_list list = target_has("Empty", 480, NULL);
    struct cut_place *place = &cut.groups[0].places[0];
    place->facts.target_offset = -1;
    assert_int_equal(decide(&cut, &list), CUT_UNMAPPED);
    assert_int_equal(place->hint.from, 480);
    assert_int_equal(place->hint.until, 900);
    assert_true(cut_verdict_open(place->verdict));
    cut_done(&cut);
}

static void a_group_that_could_not_be_asked_is_refused_with_the_reason(void **state)
{
    (void)state;
    struct cut cut = one_place(480, -1, NULL);
    struct groups_list list = target_has("Empty", 480, NULL);
    err_set(&list.rows[0].err, ERR_REFUSED, "b: lacks Read");
    assert_int_equal(decide(&cut, &list), CUT_REFUSED);
    assert_string_equal(cut.groups[0].why, "b: lacks Read");
    cut_done(&cut);
}

static void commits_carry_the_hint_or_the_groups_own_text(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        struct cut cut = one_place(480, -1, own ? "mine" : NULL);
        struct groups_list list = target_has("Empty", 480, own ? "mine" : NULL);
        struct groups_list commits;
        assert_int_equal(decide(&cut, &list), CUT_DUE);
        cut_commits(&cut, &commits);
        assert_int_equal(commits.count, 1);
        const struct groups_place *place = &commits.rows[0].places[0];
        assert_int_equal(place->offset, 500);
        if (own) {
            assert_string_equal(place->metadata, "mine");
        } else {
            assert_true(hint_is_of(place->metadata, strlen(place->metadata), OPERATION));
        }
        groups_list_done(&commits);
        cut_done(&cut);
    }
}

/* A broker that takes shorter metadata alone is asked once more. */
static void answers_are_taken(void **state)
{
    (void)state;
    static const struct {
        int16_t error;
        bool again;
        enum cut_verdict verdict;
    } rows[] = {
        {0,  false, CUT_COMMITTED},
        {12, true,  CUT_DUE      }, /* OFFSET_METADATA_TOO_LARGE */
        {25, false, CUT_MEMBERS  }, /* UNKNOWN_MEMBER_ID */
        {30, false, CUT_REFUSED  }, /* GROUP_AUTHORIZATION_FAILED */
        {-1, false, CUT_REFUSED  }, /* no word */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cut cut = one_place(480, -1, NULL);
        struct groups_list list = target_has("Empty", 480, NULL);
        struct groups_list commits;
        decide(&cut, &list);
        cut_commits(&cut, &commits);
        commits.rows[0].places[0].error = rows[i].error;
        assert_true(cut_committed(&cut, &commits) == rows[i].again);
        assert_int_equal(cut.groups[0].places[0].verdict, rows[i].verdict);
        groups_list_done(&commits);
        if (rows[i].again) {
            cut_commits(&cut, &commits);
            assert_non_null(strstr(commits.rows[0].places[0].metadata, " runs=- !"));
            commits.rows[0].places[0].error = 12;
            assert_false(cut_committed(&cut, &commits)); /* not for ever */
            groups_list_done(&commits);
        }
        cut_done(&cut);
    }
}

/* Another process makes the same commits from it, without Redis. */
static void evidence_and_back(void **state)
{
    (void)state;
    struct err err = {0};
    const struct err away = {.kind = ERR_RETRY};
    const struct cut_options options = {.operation = OPERATION, .redis_err = &away};
    struct cut cut = one_place(480, 470, "a \xff text");
    struct cut back;
    cut.looked_ms = 9;
    cut.lately = true;
    json_t *value = cut_json(&cut);
    assert_true(cut_parse(value, &options, &back, &err));
    const struct cut_place *place = &back.groups[0].places[0];
    assert_string_equal(place->metadata, "a \xff text");
    assert_int_equal(place->facts.target_offset, 500);
    assert_int_equal(place->facts.committed, 480);
    assert_int_equal(place->facts.before, 470);
    assert_int_equal(place->facts.limit, 1020);
    assert_int_equal(place->hint.from, 500);
    assert_int_equal(place->hint.likely_until,
                     520); /* as it follows from the facts, bounded by the limit */
    assert_int_equal(back.origin.cut_ms, 7);
    assert_true(back.lately);
    cut_done(&back);
    static const char *const texts[] = {
        "\"0 0 1000 500 480 470 5 10 1000;\"", /* a number is missing */
        "\"0 9 1000 500 480 470 5 10 1000 -1;\"",
        "\"1 0 1000 500 480 470 5 10 1000 -1;\"", /* no such partition */
        "\"0 0 1000 500 480 470 5 10 1000 -1\"",
        "7",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *other = json_deep_copy(value);
        json_object_set_new(json_object_get(json_object_get(other, "groups"), "g"), "t",
                            json_loads(texts[i], JSON_DECODE_ANY, NULL));
        json_object_del(json_object_get(other, "metadata"), "g");
        if (cut_parse(other, &options, &back, &err)) {
            fail_msg("taken: %s", texts[i]);
        }
        json_decref(other);
    }
    json_decref(value);
    cut_done(&cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_place_has_its_verdict),
        cmocka_unit_test(what_is_not_mapped_stays_and_gets_a_hint_from_there),
        cmocka_unit_test(a_group_that_could_not_be_asked_is_refused_with_the_reason),
        cmocka_unit_test(commits_carry_the_hint_or_the_groups_own_text),
        cmocka_unit_test(answers_are_taken),
        cmocka_unit_test(evidence_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
