/* mirror/link_sweep: which topics' maps are forgotten. Redis and the keeper are doors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "mirror/link_inside.h"
#include "offsets/offset_forget.h"

/* ---- doors ---- */

struct loop_timer {
    void (*fired)(void *arg);
    void *arg;
};

static struct door {
    struct loop_timer timer;
    json_t *checkpoints; /* {TOPIC: {FIELD: TEXT}} of everything; NULL = Redis is away */
    int lists_count;
    void (*held)(void *arg, json_t *take_rows); /* an answer that has not come yet */
    bool hold;
    json_t *asked;     /* of the keeper last */
    char forgot[1000]; /* fields and texts */
    bool may_send;
} door;

struct loop_timer *loop_timer_new(struct loop *loop, void (*fired)(void *arg), void *arg)
{
    (void)loop;
    door.timer = (struct loop_timer){fired, arg};
    return &door.timer;
}
void loop_timer_set(struct loop_timer *timer, int64_t delay_ms)
{
    (void)timer;
    assert_int_equal(delay_ms, 600000);
}
void loop_timer_free(struct loop_timer *timer)
{
    (void)timer;
}
bool link_may_send(const struct link *link)
{
    (void)link;
    return door.may_send;
}
void keeper_ask(struct keeper *keeper, json_t *take_names)
{
    (void)keeper;
    json_decref(door.asked);
    door.asked = take_names;
}
void offset_forget_list(struct offset_store *store, bool (*wanted)(void *arg, const char *topic),
                        void (*done)(void *arg, json_t *take_rows), void *arg)
{
    const char *topic;
    json_t *rows;
    json_t *out = door.checkpoints == NULL ? NULL : json_object();
    (void)store;
    door.lists_count++;
    json_object_foreach (door.checkpoints, topic, rows) {
        if (wanted(arg, topic)) {
            json_object_set_new(out, topic, json_deep_copy(rows));
        }
    }
    if (door.hold) {
        door.held = done;
        json_decref(out);
        return;
    }
    done(arg, out);
}
void offset_forget(struct offset_store *store, const char *field, const char *text,
                   void (*done)(void *arg, bool gone), void *arg)
{
    size_t len = strlen(door.forgot);
    (void)store;
    snprintf(door.forgot + len, sizeof(door.forgot) - len, "%s=%s ", field, text);
    done(arg, true);
}

/* ---- a link whose keeper we are ---- */

static struct link one;
static char *names[] = {(char *)(uintptr_t)"here", (char *)(uintptr_t)"there"};
static struct config_site from = {.name = (char *)(uintptr_t)"a"};
static struct config_site to = {.name = (char *)(uintptr_t)"b"};

static int setup(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    door = (struct door){.may_send = true};
    door.checkpoints =
        json_pack("{s{ssss}s{ss}s{ssss}}", "here", "here:0", "v1 h0", "here:1", "v1 h1", "there",
                  "there:0", "v1 t0", "old", "old:0", "v1 o0", "old:1", "v1 o1");
    one = (struct link){.from = &from,
                        .to = &to,
                        .topics = names,
                        .topics_count = 2,
                        .has_list = true,
                        .control_ours = true,
                        .store = (struct offset_store *)&door,
                        .keeper = (struct keeper *)&door};
    link_sweep_start(&one);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    link_sweep_done(&one);
    json_decref(door.asked);
    json_decref(door.checkpoints);
    return 0;
}

static void look(void)
{
    json_decref(door.asked);
    door.asked = NULL;
    door.timer.fired(door.timer.arg);
}

static void gone(const char *topic)
{
    json_t *topics = json_pack("{sb}", topic, 1);
    link_sweep_gone(&one, topics);
    json_decref(topics);
}

static const char *asked(size_t at)
{
    return json_string_value(json_array_get(door.asked, at));
}

static void what_neither_side_has_goes_behind_the_second_look(void **state)
{
    (void)state;
    look();
    assert_null(door.asked);
    look();
    assert_int_equal(json_array_size(door.asked), 1);
    assert_string_equal(asked(0), "old");
    assert_string_equal(door.forgot, ""); /* nobody has said so yet */
    gone("old");
    assert_string_equal(door.forgot, "old:0=v1 o0 old:1=v1 o1 ");
    gone("old"); /* once */
    assert_string_equal(door.forgot, "old:0=v1 o0 old:1=v1 o1 ");
}

static void what_is_mirrored_or_unknown_never_goes(void **state)
{
    (void)state;
    look();
    look();
    gone("here"); /* whoever says so */
    gone("never-heard-of");
    assert_string_equal(door.forgot, "");
}

/* A worker that is late still writes it; or the topic is back. */
static void what_changes_is_not_asked_for(void **state)
{
    (void)state;
    look();
    json_object_set_new(json_object_get(door.checkpoints, "old"), "old:1", json_string("v1 new"));
    look();
    assert_null(door.asked);
    look();
    assert_string_equal(asked(0), "old");
    names[1] = (char *)(uintptr_t)"old"; /* mirrored again */
    look();
    names[1] = (char *)(uintptr_t)"there";
    assert_true(json_array_size(door.asked) == 0);
    gone("old"); /* a late answer */
    assert_string_equal(door.forgot, "");
}

/* Another worker, another role, an operation, a configuration that is not the newest. */
static void who_is_not_the_keeper_forgets_nothing(void **state)
{
    (void)state;
    look();
    look();
    one.control_ours = false;
    gone("old");
    one.control_ours = true;
    door.may_send = false;
    gone("old");
    assert_string_equal(door.forgot, "");
    int lists = door.lists_count;
    look();
    assert_int_equal(door.lists_count, lists);
    door.may_send = true;
    look(); /* what was seen before counts no more */
    assert_null(door.asked);
    gone("old");
    assert_string_equal(door.forgot, "old:0=v1 o0 old:1=v1 o1 ");
}

static void a_redis_that_is_away_begins_anew(void **state)
{
    (void)state;
    json_t *kept = door.checkpoints;
    look();
    door.checkpoints = NULL;
    look();
    assert_null(door.asked);
    door.checkpoints = kept;
    look();
    assert_null(door.asked);
    look();
    assert_string_equal(asked(0), "old");
    door.hold = true; /* it does not answer: not asked twice */
    int lists = door.lists_count;
    look();
    look();
    assert_int_equal(door.lists_count, lists + 1);
    door.held(&one, NULL);
    door.hold = false;
    look();
    assert_int_equal(door.lists_count, lists + 2);
}

/* Those that the target still has are asked for again and again: the others have their turn. */
static void each_has_its_turn(void **state)
{
    char name[20];
    (void)state;
    json_object_del(door.checkpoints, "old");
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "old%d", i);
        json_object_set_new(door.checkpoints, name, json_pack("{ss}", name, "v1"));
    }
    json_t *all = json_object();
    look();
    for (int i = 0; i < 3; i++) {
        look();
        assert_int_equal(json_array_size(door.asked), KEEPER_ASKED_MOST);
        for (size_t j = 0; j < KEEPER_ASKED_MOST; j++) {
            json_object_set_new(all, asked(j), json_true());
        }
    }
    assert_int_equal(json_object_size(all), 40);
    json_decref(all);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_neither_side_has_goes_behind_the_second_look),
        TEST(what_is_mirrored_or_unknown_never_goes),
        TEST(what_changes_is_not_asked_for),
        TEST(who_is_not_the_keeper_forgets_nothing),
        TEST(a_redis_that_is_away_begins_anew),
        TEST(each_has_its_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
