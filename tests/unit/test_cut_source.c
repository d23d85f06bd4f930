/* failover/cut_source: the source's commits once more, in a switchover. The source's coordinators and the map are doors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/heap.h"
#include "failover/cut_inside.h"
#include "offsets/offset_store.h"

#define SEEN_MS 5 /* the keeper's last look */
#define EARLIER                                                                                  \
    "ferry1 op=20250101T000000Z-failover-0000 from=1 likely=1 until=1 cluster=c read=-1 cut=-1 " \
    "mapped=1 runs=- !"

/* ---- doors ---- */

static struct {
    struct groups_list list; /* what the source has; given away */
    bool dead;
    int64_t mapped_until;    /* source offsets below it stand 1000 lower at the target */
    enum err_kind map_fails; /* ERR_NONE: the map answers */
    int asked;               /* translations */
} source;

bool groups_read(struct groups_door *door, bool (*wanted)(void *arg, const char *name), void *arg,
                 struct groups_list *out, struct err *err)
{
    (void)door;
    (void)wanted;
    (void)arg;
    *out = (struct groups_list){0};
    if (source.dead) {
        return err_set(err, ERR_RETRY, "a does not answer");
    }
    *out = source.list;
    source.list = (struct groups_list){0};
    return true;
}
bool groups_fetch(struct groups_door *door, struct groups_list *list, struct err *err)
{
    (void)door;
    (void)list;
    (void)err;
    return true;
}
bool groups_states(struct groups_door *door, struct groups_list *list, struct err *out_partly,
                   struct err *err)
{
    (void)door;
    (void)list;
    (void)out_partly;
    (void)err;
    return true;
}

struct offset_view {
    int unused;
};
static struct offset_view view;

struct offset_view *offset_view_new(struct redis_sync *redis, const char *prefix,
                                    const char *service, const char *from, const char *to)
{
    (void)redis;
    (void)prefix;
    (void)service;
    (void)from;
    (void)to;
    return &view;
}
void offset_view_free(struct offset_view *one)
{
    assert_ptr_equal(one, &view);
}
bool offset_view_translate(struct offset_view *one, const char *topic, int32_t partition,
                           int64_t offset, bool to_source, struct translation *out, struct err *err)
{
    (void)one;
    (void)topic;
    (void)partition;
    assert_false(to_source);
    source.asked++;
    if (source.map_fails != ERR_NONE) {
        return err_set(err, source.map_fails, "redis does not answer");
    }
    bool mapped = offset < source.mapped_until;
    *out = (struct translation){.verdict = mapped ? VERDICT_EXACT : VERDICT_UNMAPPED,
                                .source_offset = offset,
                                .target_offset = mapped ? offset - 1000 : -1};
    return true;
}
bool offset_view_each_checkpoint(struct offset_view *one,
                                 bool (*each)(void *arg, const char *topic, int32_t partition,
                                              const struct checkpoint *checkpoint),
                                 void *arg, struct err *err)
{
    (void)one;
    (void)each;
    (void)arg;
    (void)err;
    return false;
}
bool offset_view_runs_from(struct offset_view *one, const char *topic, int32_t partition,
                           const struct checkpoint *end, int64_t source_offset,
                           bool (*each)(void *arg, const char *incarnation,
                                        const struct offset_run *run),
                           void *arg, struct err *err)
{
    (void)one;
    (void)topic;
    (void)partition;
    (void)end;
    (void)source_offset;
    (void)each;
    (void)arg;
    (void)err;
    return false;
}

/* ---- a cut as the keeper saw it ---- */

static struct config_redis redis = {.prefix = (char *)(uintptr_t)"ferry:"};
static struct config_site site_a = {.name = (char *)(uintptr_t)"a"};
static struct config_site site_b = {.name = (char *)(uintptr_t)"b", .redis = &redis};
static struct config_service service = {.name = (char *)(uintptr_t)"orders"};
static const struct cut_options options = {
    .service = &service, .from = &site_a, .to = &site_b, .operation = "op"};

/* Group g stands at 1500 of t:0 and of t:1; nobody read for it. */
static struct cut as_seen(void)
{
    struct cut cut = {.of_redis = true, .looked_ms = SEEN_MS};
    cut_part_add(&cut, "t", 0);
    cut_part_add(&cut, "t", 1);
    cut_part_add(&cut, "t", 2);
    struct cut_group *group = cut_group_add(&cut, "g");
    for (int i = 0; i < 2; i++) {
        struct cut_place *place = cut_place_add(group, &cut.parts[i]);
        place->facts = (struct group_facts){
            .source_offset = 1500,
            .target_offset = 500,
            .verdict = VERDICT_EXACT,
            .committed = 480,
            .before = 470,
            .read_ms = SEEN_MS,
            .pace = {.offsets = 10, .commits_ms = 1000},
            .limit = 1600
        };
    }
    source.list = (struct groups_list){0};
    source.dead = false;
    source.mapped_until = 5000;
    source.map_fails = ERR_NONE;
    source.asked = 0;
    return cut;
}

static struct groups_row *source_has(const char *group, bool empty)
{
    struct groups_row *row = groups_list_add(&source.list, group);
    row->listed = true;
    row->empty = empty;
    row->places = must(calloc(8, sizeof(*row->places)));
    return row;
}

static void stands(struct groups_row *row, const char *topic, int32_t partition, int64_t offset,
                   const char *metadata)
{
    row->places[row->places_count++] =
        (struct groups_place){.topic = topic,
                              .partition = partition,
                              .offset = offset,
                              .metadata = metadata == NULL ? NULL : must(strdup(metadata))};
}

static const struct cut_place *place(const struct cut *cut, const char *group, int32_t partition)
{
    for (size_t i = 0; i < cut->groups_count; i++) {
        for (size_t j = 0; j < cut->groups[i].count; j++) {
            const struct cut_place *one = &cut->groups[i].places[j];
            if (strcmp(cut->groups[i].name, group) == 0 && one->part->partition == partition) {
                return one;
            }
        }
    }
    return NULL;
}

/* ---- tests ---- */

static void what_a_group_committed_since_counts(void **state)
{
    (void)state;
    struct err err = {0};
    struct cut cut = as_seen();
    struct groups_row *row = source_has("g", true);
    stands(row, "t", 0, 1700, NULL);
    stands(row, "t", 1, 1500, NULL);
    assert_true(cut_read_source(&cut, &options, &err));
    assert_int_equal(source.asked, 1); /* what did not move is not asked for */
    const struct group_facts *moved = &place(&cut, "g", 0)->facts;
    assert_int_equal(moved->source_offset, 1700);
    assert_int_equal(moved->target_offset, 700);
    assert_int_equal(moved->committed, 480); /* what is ours at the target stays what it is */
    assert_int_equal(moved->before, 470);
    assert_int_equal(moved->pace.offsets, 10);
    assert_int_equal(moved->limit, -1); /* somebody reads for it */
    assert_true(moved->read_ms > SEEN_MS && cut.looked_ms == moved->read_ms);
    const struct group_facts *stood = &place(&cut, "g", 1)->facts;
    assert_int_equal(stood->target_offset, 500);
    assert_int_equal(stood->read_ms, SEEN_MS);
    assert_int_equal(stood->limit, 1600); /* nobody reads for it still */
    cut_done(&cut);
}

/* Its commit has not moved, and it may have read on all the same. */
static void a_group_that_has_members_now_has_no_limit(void **state)
{
    (void)state;
    struct err err = {0};
    struct cut cut = as_seen();
    stands(source_has("g", false), "t", 0, 1500, NULL);
    assert_true(cut_read_source(&cut, &options, &err));
    assert_int_equal(place(&cut, "g", 0)->facts.limit, -1);
    assert_int_equal(place(&cut, "g", 1)->facts.limit, 1600); /* it was not told of */
    cut_done(&cut);
}

static void a_rewind_counts_too(void **state)
{
    (void)state;
    struct err err = {0};
    struct cut cut = as_seen();
    stands(source_has("g", true), "t", 0, 1100, NULL);
    assert_true(cut_read_source(&cut, &options, &err));
    assert_int_equal(place(&cut, "g", 0)->facts.target_offset, 100);
    cut_done(&cut);
}

static void groups_and_places_that_are_new_are_added_in_order(void **state)
{
    (void)state;
    struct err err = {0};
    struct cut cut = as_seen();
    struct groups_row *row = source_has("a", true);
    stands(row, "t", 2, 1200, "mine");
    stands(row, "t", 0, 1300, EARLIER); /* a hint speaks of another move */
    stands(source_has("g", true), "t", 2, 1400, NULL);
    assert_true(cut_read_source(&cut, &options, &err));
    assert_int_equal(cut.groups_count, 2);
    assert_string_equal(cut.groups[0].name, "a");
    assert_int_equal(cut.groups[0].places[0].part->partition, 0);
    assert_null(place(&cut, "a", 0)->metadata);
    assert_string_equal(place(&cut, "a", 2)->metadata, "mine");
    assert_int_equal(place(&cut, "a", 2)->facts.target_offset, 200);
    assert_int_equal(place(&cut, "a", 2)->facts.committed, -1);
    assert_int_equal(cut.groups[1].count, 3);
    assert_int_equal(place(&cut, "g", 2)->facts.target_offset, 400);
    cut_done(&cut);
}

static void what_says_nothing_of_the_service_changes_nothing(void **state)
{
    (void)state;
    struct err err = {0};
    struct cut cut = as_seen();
    struct groups_row *row = source_has("g", true);
    stands(row, "t", 7, 1700, NULL); /* nobody mirrored it */
    stands(row, "t", 0, -1, NULL);
    stands(row, "t", 1, 1700, NULL);
    row->places[2].error = 3;
    assert_true(cut_read_source(&cut, &options, &err));
    assert_int_equal(cut.groups[0].count, 2);
    assert_int_equal(place(&cut, "g", 0)->facts.source_offset, 1500);
    assert_int_equal(place(&cut, "g", 1)->facts.source_offset, 1500);
    cut_done(&cut);
}

/* Never past the translation: what the map does not know stays as the keeper saw it, and the report says so. */
static void what_is_not_in_the_map_stays(void **state)
{
    (void)state;
    struct err err = {0};
    struct cut cut = as_seen();
    source.mapped_until = 1600;
    struct groups_row *row = source_has("g", true);
    stands(row, "t", 0, 1700, NULL);
    stands(row, "t", 1, 1550, NULL);
    assert_false(cut_read_source(&cut, &options, &err));
    assert_non_null(strstr(err.what, "1 commits are not in the map"));
    assert_int_equal(place(&cut, "g", 0)->facts.target_offset, 500);
    assert_int_equal(place(&cut, "g", 1)->facts.target_offset, 550);
    assert_int_equal(cut.looked_ms, SEEN_MS);
    cut_done(&cut);
}

static void a_redis_that_does_not_answer_is_asked_once(void **state)
{
    (void)state;
    static const struct {
        enum err_kind kind;
        int asked;
    } rows[] = {
        {ERR_RETRY,   1},
        {ERR_REFUSED, 2}, /* of one partition: the other may be known */
    };
    for (size_t i = 0; i < 2; i++) {
        struct err err = {0};
        struct cut cut = as_seen();
        source.map_fails = rows[i].kind;
        struct groups_row *row = source_has("g", true);
        stands(row, "t", 0, 1700, NULL);
        stands(row, "t", 1, 1800, NULL);
        assert_false(cut_read_source(&cut, &options, &err));
        assert_int_equal(source.asked, rows[i].asked);
        assert_non_null(strstr(err.what, "2 commits"));
        cut_done(&cut);
    }
}

static void a_group_that_fails_keeps_no_other_from_being_read(void **state)
{
    (void)state;
    struct err err = {0};
    struct cut cut = as_seen();
    err_set(&source_has("b", true)->err, ERR_REFUSED, "a: lacks Describe");
    stands(source_has("g", true), "t", 0, 1700, NULL);
    assert_false(cut_read_source(&cut, &options, &err));
    assert_string_equal(err.what, "a: lacks Describe");
    assert_int_equal(place(&cut, "g", 0)->facts.target_offset, 700);
    assert_int_equal(cut.looked_ms, SEEN_MS);
    cut_done(&cut);
}

static void a_source_that_does_not_answer_changes_nothing(void **state)
{
    (void)state;
    struct err err = {0};
    struct cut cut = as_seen();
    source.dead = true;
    assert_false(cut_read_source(&cut, &options, &err));
    assert_string_equal(err.what, "a does not answer");
    assert_int_equal(place(&cut, "g", 0)->facts.read_ms, SEEN_MS);
    cut_done(&cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_group_committed_since_counts),
        cmocka_unit_test(a_group_that_has_members_now_has_no_limit),
        cmocka_unit_test(a_rewind_counts_too),
        cmocka_unit_test(groups_and_places_that_are_new_are_added_in_order),
        cmocka_unit_test(what_says_nothing_of_the_service_changes_nothing),
        cmocka_unit_test(what_is_not_in_the_map_stays),
        cmocka_unit_test(a_redis_that_does_not_answer_is_asked_once),
        cmocka_unit_test(a_group_that_fails_keeps_no_other_from_being_read),
        cmocka_unit_test(a_source_that_does_not_answer_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
