/* failover/step, failover/journal: the loop over rows, ended after every single write and gone on with by another process; taken
 * back; taken over. The control topic is a JSON object. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "failover/journal.h"
#include "failover/step.h"

/* --- a control topic, and a world that steps change --------------------------------------------------------------- */

static struct world {
    json_t *topic; /* {KEY: record} */
    int writes;
    int die_at; /* the write that does not come to be any more; 0 = none */
    bool fenced;
    bool away; /* writes are not answered */
    const char *taken_by;
    bool closed_by;
    bool loses;  /* the next one stands, its answer is lost, and somebody becomes the writer */
    int renewed; /* that ends it */
    bool first, second, open, third; /* what rows do */
    int first_acts, opens;
    bool second_fails, third_fails, soft_fails;
    int soft_acts;
    size_t left;        /* of the last process */
    enum err_kind kind; /* of failures */
    const char *words;  /* likewise */
} world;

static bool store(void *arg, const struct control_record *records, size_t count, struct err *err)
{
    (void)arg;
    world.writes++;
    if (world.fenced || (world.die_at > 0 && world.writes >= world.die_at)) {
        return err_set(err, ERR_FATAL, "fenced");
    }
    if (world.away) {
        return err_set(err, ERR_RETRY, "no answer");
    }
    for (size_t i = 0; i < count; i++) {
        if (records[i].value == NULL) {
            json_object_del(world.topic, records[i].key);
        } else {
            assert_true(strlen(records[i].value) < 512 << 10);
            json_object_set_new(world.topic, records[i].key, json_loads(records[i].value, 0, NULL));
        }
    }
    if (world.loses) {
        json_t *ended = json_object_get(world.topic, "op/id");
        world.loses = false;
        world.fenced = true;
        if (world.taken_by != NULL) { /* goes on with it: opens it again, at the next beat */
            json_object_set_new(ended, "resumed_by", json_pack("[s]", world.taken_by));
            json_object_set_new(ended, "open", json_true());
        }
        if (world.closed_by) { /* took it over before, and closed it himself */
            json_object_set_new(ended, "state", json_string("undone"));
        }
        return err_set(err, ERR_RETRY, "no answer");
    }
    return true;
}

static json_t *read_again(void *arg, struct err *err)
{
    (void)arg;
    (void)err;
    return json_deep_copy(world.topic);
}

static bool renew(void *arg, struct err *err)
{
    (void)arg;
    (void)err;
    world.renewed++;
    world.fenced = false;
    return true;
}

static bool fails(bool wanted, struct err *err)
{
    return wanted &&
           !err_set(err, world.kind, "%s", world.words == NULL ? "it does not work" : world.words);
}

static bool first_act(struct operation *op, struct err *err)
{
    world.first = true;
    world.first_acts++;
    return operation_keep(op, "first", json_pack("{si}", "n", 7), err);
}
static bool first_undo(struct operation *op, struct err *err)
{
    (void)err;
    if (world.first) { /* what it did is known by whoever takes it back */
        assert_int_equal(json_integer_value(json_object_get(operation_kept(op, "first"), "n")), 7);
    }
    world.first = false;
    return true;
}
static bool second_done(struct operation *op, bool *out, struct err *err)
{
    (void)op;
    (void)err;
    *out = world.second;
    return true;
}
static bool second_act(struct operation *op, struct err *err)
{
    (void)op;
    if (fails(world.second_fails, err)) {
        return false;
    }
    assert_true(world.first);
    world.second = true;
    return true;
}
static bool second_undo(struct operation *op, struct err *err)
{
    (void)op;
    (void)err;
    assert_true(!world.second || world.first); /* backwards */
    world.second = false;
    return true;
}
static bool open_done(struct operation *op, bool *out, struct err *err)
{
    (void)op;
    (void)err;
    *out = world.open;
    return true;
}
static bool open_act(struct operation *op, struct err *err)
{
    (void)op;
    (void)err;
    assert_true(world.second);
    world.open = true;
    world.opens++;
    return true;
}
static bool third_act(struct operation *op, struct err *err)
{
    (void)op;
    if (fails(world.third_fails, err)) {
        return false;
    }
    world.third = true;
    return true;
}

static bool soft_act(struct operation *op, struct err *err)
{
    (void)op;
    world.soft_acts++;
    return !fails(world.soft_fails, err);
}

static const struct step steps[] = {
    {.name = "first", .does = "", .act = first_act, .undo = first_undo},
    {.name = "second", .does = "", .done = second_done, .act = second_act, .undo = second_undo},
    {.name = "planned", .does = "", .act = third_act, .flags = STEP_PLANNED},
    {.name = "open", .does = "", .done = open_done, .act = open_act, .flags = STEP_OPENS},
    {.name = "soft", .does = "", .act = soft_act, .flags = STEP_SOFT},
    {.name = "third", .does = "", .act = third_act},
};
static const struct plan plan = {steps, sizeof(steps) / sizeof(steps[0])};

/* --- one process -------------------------------------------------------------------------------------------------- */

static enum plan_end process(bool planned, struct err *err)
{
    const struct journal_door door = {.write = store};
    const struct step *at = NULL;
    const char *key;
    json_t *record;
    struct control_state *state = calloc(1, sizeof(*state));
    struct operation op = {
        .options = {.kind = OPERATION_FAILOVER, .by = "me", .reason = "", .quiet = true},
        .planned = planned,
        .clock = clock_system(),
        .state = state,
        .id = "20261126T000000Z-failover-0001",
        .evidence = json_object(),
        .left = json_array()
    };
    op.until_ms = clock_now_ms(op.clock) + 60000;
    json_t *mine = json_copy(json_object_get(world.topic, "op/20261126T000000Z-failover-0001"));
    op.journal =
        journal_new(&door, op.clock, op.id, mine == NULL ? json_object() : mine, world.topic);
    json_object_foreach (world.topic, key, record) {
        const char *step = strrchr(key, '/') + 1;
        if (journal_evidence(op.journal, step) != NULL) {
            json_object_set(op.evidence, step, journal_evidence(op.journal, step));
        }
    }
    enum plan_end end = plan_run(&plan, &op, &at, err);
    world.left = json_array_size(op.left);
    if (world.left > 0) {
        assert_string_equal(json_string_value(json_object_get(json_array_get(op.left, 0), "step")),
                            "soft");
        assert_true(json_is_true(json_object_get(json_array_get(op.left, 0), "again")));
    }
    journal_free(op.journal);
    json_decref(op.evidence);
    json_decref(op.left);
    free(state);
    return end;
}

static int begin(void **state)
{
    (void)state;
    json_decref(world.topic); /* tests begin again by themselves, too */
    world = (struct world){.topic = json_object(), .kind = ERR_REFUSED};
    return 0;
}
static int end(void **state)
{
    (void)state;
    json_decref(world.topic);
    world.topic = NULL;
    return 0;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void every_row_once(void **state)
{
    struct err err = {0};
    (void)state;
    assert_int_equal(process(false, &err), PLAN_DONE);
    assert_true(world.first && world.second && world.open && world.third);
    assert_int_equal(world.first_acts, 1);
    assert_null(json_object_get(world.topic, "op/20261126T000000Z-failover-0001/planned"));
    world.second_fails = world.third_fails = true; /* nothing is done again */
    assert_int_equal(process(false, &err), PLAN_DONE);
    assert_int_equal(world.first_acts, 1);
}

/* Ended before each write in turn: what was acted on and not written is found, or done again; the end is the same. */
static void killed_at_every_write(void **state)
{
    (void)state;
    for (int die_at = 1;; die_at++) {
        struct err err = {0};
        begin(state);
        world.die_at = die_at;
        enum plan_end first = process(false, &err);
        bool whole = first == PLAN_DONE;
        assert_true(whole || first == PLAN_LOST);
        world.die_at = 0;
        assert_int_equal(process(false, &err), PLAN_DONE);
        assert_true(world.first && world.second && world.open && world.third);
        assert_int_equal(world.opens, 1);
        assert_true(world.first_acts <= 2);
        end(state);
        if (whole) {
            /* one begins, one a row that is done, first's evidence, open alone */
            assert_int_equal(die_at - 1, 8);
            break;
        }
    }
    begin(state);
}

static json_t *entry(const char *step)
{
    char key[100];
    snprintf(key, sizeof(key), "op/20261126T000000Z-failover-0001/%s", step);
    return json_object_get(world.topic, key);
}

/* The end of a row and the beginning of the next are one record; the row that opens begins when all before it is done: what
 * fails there is still taken back. */
static void the_row_that_opens_begins_alone(void **state)
{
    struct err err = {0};
    (void)state;
    world.die_at = 4;
    assert_int_equal(process(true, &err), PLAN_LOST);
    assert_string_equal(json_string_value(json_object_get(entry("first"), "state")), "done");
    assert_string_equal(json_string_value(json_object_get(entry("second"), "state")), "began");
    begin(state);
    world.die_at = 6;
    process(true, &err);
    assert_string_equal(json_string_value(json_object_get(entry("planned"), "state")), "done");
    assert_null(entry("open"));
    world.die_at = 0;
    assert_int_equal(process(true, &err), PLAN_DONE);
}

/* What a row noted is durable with its end, and with its failure; until then it is a memory. */
static void what_is_noted_goes_with_the_next_record(void **state)
{
    const struct journal_door door = {.write = store};
    struct err err = {0};
    (void)state;
    struct journal *journal = journal_new(&door, clock_system(), "id", json_object(), NULL);
    assert_true(journal_step(journal, "a", JOURNAL_BEGAN, &err));
    journal_note(journal, "a", json_pack("{si}", "n", 1));
    assert_int_equal(world.writes, 1);
    assert_true(journal_step_on(journal, "a", "b", &err));
    assert_int_equal(world.writes, 2);
    json_t *found = journal_read_evidence(world.topic, "id", "a");
    assert_int_equal(json_integer_value(json_object_get(found, "n")), 1);
    json_decref(found);
    journal_note(journal, "b", json_pack("{si}", "n", 2));
    assert_true(journal_flush(journal, &err));
    assert_true(journal_flush(journal, &err));
    assert_int_equal(world.writes, 3);
    found = journal_read_evidence(world.topic, "id", "b");
    assert_int_equal(json_integer_value(json_object_get(found, "n")), 2);
    json_decref(found);
    world.fenced = true;
    journal_note(journal, "b", json_pack("{si}", "n", 3));
    assert_false(journal_flush(journal, &err));
    journal_free(journal);
}

static void a_refusal_is_taken_back(void **state)
{
    struct err err = {0};
    (void)state;
    world.second_fails = true;
    assert_int_equal(process(false, &err), PLAN_UNDONE);
    assert_true(!world.first && !world.second && !world.open);
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_string_equal(err.what, "it does not work");
}

/* A failover's primary is not coming back: what may be better in a moment is waited for by the operator. */
static void a_failover_stops_where_a_switchover_goes_back(void **state)
{
    struct err err = {0};
    (void)state;
    world.second_fails = true;
    world.kind = ERR_RETRY;
    assert_int_equal(process(false, &err), PLAN_STOPPED);
    assert_true(world.first);
    assert_int_equal(process(true, &err), PLAN_UNDONE);
    assert_true(!world.first);
}

static void killed_while_taking_back(void **state)
{
    (void)state;
    for (int die_at = 1; die_at < 12; die_at++) {
        struct err err = {0};
        begin(state);
        world.second_fails = true;
        world.die_at = die_at;
        process(true, &err);
        world.die_at = 0;
        bool decided = json_is_object(json_object_get(
            json_object_get(world.topic, "op/20261126T000000Z-failover-0001"), "undoing"));
        world.second_fails = !decided; /* decided once: it goes back although it would work now */
        assert_int_equal(process(true, &err), PLAN_UNDONE);
        assert_true(!world.first && !world.second && !world.open);
        end(state);
    }
    begin(state);
}

static void behind_open_only_forward(void **state)
{
    struct err err = {0};
    (void)state;
    world.third_fails = true;
    assert_int_equal(process(false, &err), PLAN_STOPPED);
    assert_true(world.first && world.second && world.open);
    world.third_fails = false;
    assert_int_equal(process(false, &err), PLAN_DONE);
    assert_int_equal(world.opens, 1);
}

/* Behind `open` what a soft row cannot do is told, the rest is done, and the next process tries it alone. */
static void what_a_soft_row_leaves_is_tried_again(void **state)
{
    struct err err = {0};
    (void)state;
    world.soft_fails = true;
    assert_int_equal(process(true, &err), PLAN_PARTLY);
    assert_int_equal(world.left, 1);
    assert_int_equal(err.kind, ERR_NONE);
    assert_true(world.third); /* the row behind it */
    assert_int_equal(process(true, &err), PLAN_PARTLY);
    assert_int_equal(world.soft_acts, 2);
    world.soft_fails = false;
    assert_int_equal(process(true, &err), PLAN_DONE);
    assert_int_equal(world.left, 0);
    assert_int_equal(world.soft_acts, 3);
    assert_int_equal(world.first_acts, 1);
    assert_int_equal(world.opens, 1);
}

/* What ended with something left is found while its role stands, and only by its like. */
static void an_ended_operation_with_something_left_is_found(void **state)
{
    char id[65];
    (void)state;
    json_t *left = json_pack("[{sssb}]", "step", "post", "again", 1);
    json_object_set_new(world.topic, "op/1",
                        json_pack("{sbsssssisO}", "open", 0, "kind", "failover", "to", "b",
                                  "made_epoch", 2, "left", left));
    json_object_set_new(world.topic, "op/1/post", json_pack("{ss}", "state", "began"));
    assert_non_null(journal_left_operation(world.topic, "failover", "b", 2, id, sizeof(id)));
    assert_string_equal(id, "1");
    assert_null(journal_left_operation(world.topic, "switchover", "b", 2, id, sizeof(id)));
    assert_null(journal_left_operation(world.topic, "failover", "c", 2, id, sizeof(id)));
    assert_null(journal_left_operation(world.topic, "failover", "b", 3, id, sizeof(id)));
    assert_string_equal(id, "");
    json_object_set_new(json_array_get(left, 0), "again", json_false()); /* for hands alone */
    assert_null(journal_left_operation(world.topic, "failover", "b", 2, id, sizeof(id)));
    json_decref(left);
}

/* A program of the operator's says what it likes. What it was refused for is recorded all the same: else a soft row would be
 * missing among what is left, which is "done", and an undo would have neither a reason nor a record. */
static void what_is_no_utf8_is_recorded_all_the_same(void **state)
{
    struct err err = {0};
    (void)state;
    world.soft_fails = true;
    world.words = "refus\xe9";
    assert_int_equal(process(true, &err), PLAN_PARTLY);
    assert_int_equal(world.left, 1);
    begin(state);
    world.second_fails = true;
    world.words = "refus\xe9";
    assert_int_equal(process(false, &err), PLAN_UNDONE);
    assert_string_equal(err.what, "refus?");
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_true(json_is_object(json_object_get(
        json_object_get(world.topic, "op/20261126T000000Z-failover-0001"), "undoing")));
}

static void another_has_it(void **state)
{
    struct err err = {0};
    (void)state;
    world.fenced = true;
    assert_int_equal(process(false, &err), PLAN_LOST);
    assert_false(world.first);
    assert_non_null(strstr(err.what, "another operator"));
}

static struct journal *begun(bool begin_it)
{
    const struct journal_door door = {.write = store, .read = read_again, .renew = renew};
    struct err err = {0};
    struct journal *journal =
        journal_new(&door, clock_system(), "id", json_pack("{s[]}", "resumed_by"), world.topic);
    assert_true(!begin_it || journal_begin(journal, &err));
    return journal;
}

/* A command became the writer and refused, since this operation is open: what stands there is ours, so it goes on. */
static void a_writer_of_a_moment_ends_nothing(void **state)
{
    struct err err = {0};
    (void)state;
    struct journal *journal = begun(true);
    for (int i = 1; i <= 3; i++) {
        world.fenced = true;
        assert_true(journal_step(journal, "fence", JOURNAL_BEGAN, &err));
        assert_int_equal(world.renewed, i);
    }
    assert_false(journal_lost(journal));
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(world.topic, "op/id/fence"), "state")),
        "began");
    journal_free(journal);
}

static void take_over(const char *key, json_t *value)
{
    json_object_set_new(json_object_get(world.topic, "op/id"), key, value);
}

/* Whatever another operator leaves of himself: it is his, and he is not fenced. */
static void an_operator_who_took_over_is_left_alone(void **state)
{
    static const char *const ways[] = {"resumed_by", "beat", "open"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct err err = {0};
        begin(state);
        struct journal *journal = begun(true);
        json_int_t beat =
            json_integer_value(json_object_get(json_object_get(world.topic, "op/id"), "beat"));
        world.fenced = true;
        /* who resumes writes the number that our refused write would have had */
        json_t *values[] = {json_pack("[s]", "bob"), json_integer(beat + 2), json_false()};
        for (size_t j = 0; j < 3; j++) {
            if (j == i) {
                take_over(ways[j], values[j]);
            } else {
                json_decref(values[j]);
            }
        }
        if (i == 0) {
            take_over("beat", json_integer(beat + 1));
        }
        assert_false(journal_step(journal, "fence", JOURNAL_BEGAN, &err));
        assert_true(journal_lost(journal));
        assert_int_equal(world.renewed, 0);
        assert_non_null(strstr(err.what, "another operator"));
        journal_free(journal);
        end(state);
    }
    begin(state);
}

/* Who resumes has written nothing yet: what stands there is not his, though it is as he read it. */
static void before_its_first_record_nothing_is_ours(void **state)
{
    struct err err = {0};
    (void)state;
    json_object_set_new(world.topic, "op/id",
                        json_pack("{sbsis[]}", "open", 1, "beat", 0, "resumed_by"));
    struct journal *journal = begun(false);
    world.fenced = true;
    assert_false(journal_begin(journal, &err));
    assert_int_equal(world.renewed, 0);
    journal_free(journal);
}

/* What ended stands open: nothing of the end is believed before it is there, and whoever goes on with it closes it. */
static void a_close_that_fails_leaves_it_open(void **state)
{
    struct err err = {0};
    (void)state;
    struct journal *journal = begun(true);
    world.away = true;
    assert_false(journal_close(journal, json_pack("{ss}", "state", "done"), NULL, 0, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_false(journal_lost(journal)); /* it is still his */
    journal_free(journal);
    const json_t *record = json_object_get(world.topic, "op/id");
    assert_true(json_is_true(json_object_get(record, "open")));
    assert_null(json_object_get(record, "state"));
    world.away = false;
    journal = begun(true);
    assert_true(journal_close(journal, json_pack("{ss}", "state", "done"), NULL, 0, &err));
    journal_free(journal);
    record = json_object_get(world.topic, "op/id");
    assert_true(json_is_false(json_object_get(record, "open")));
    assert_string_equal(json_string_value(json_object_get(record, "state")), "done");
}

/* Who becomes the writer next finds nothing open, so nobody took it over: the end is looked for before that is said. */
static void a_close_that_stands_is_one_though_nobody_said_so(void **state)
{
    struct err err = {0};
    (void)state;
    struct journal *journal = begun(true);
    const struct control_record order = {.key = "order", .value = "{\"state\":\"run\"}"};
    world.loses = true;
    assert_true(journal_close(journal, json_pack("{sssf}", "state", "done", "rto_s", 1.234), &order,
                              1, &err));
    assert_false(journal_lost(journal));
    assert_int_equal(world.renewed, 0); /* who writes now is left alone */
    journal_free(journal);
    assert_non_null(json_object_get(world.topic, "order"));
    assert_true(json_is_false(json_object_get(json_object_get(world.topic, "op/id"), "open")));
}

/* Fenced before it stood; or somebody goes on with what it left, since. */
static void a_close_that_does_not_stand_is_none(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct err err = {0};
        begin(state);
        struct journal *journal = begun(true);
        world.loses = i > 0;
        world.fenced = i == 0;
        world.taken_by = i == 1 ? "bob" : NULL;
        world.closed_by = i == 2;
        if (i == 0) {
            take_over("resumed_by", json_pack("[s]", "bob"));
        }
        assert_false(journal_close(journal, json_pack("{ss}", "state", "done"), NULL, 0, &err));
        assert_true(journal_lost(journal));
        assert_non_null(strstr(err.what, "another operator"));
        assert_int_equal(world.renewed, 0);
        journal_free(journal);
        end(state);
    }
    begin(state);
}

/* A beat is due each time that it is looked, but for a millisecond. */
static int64_t hasty_ms(const struct clock *clock)
{
    static atomic_llong now;
    (void)clock;
    return atomic_fetch_add(&now, JOURNAL_BEAT_MS - 1);
}

/* The beat writes members of the record anew while the main thread reads them. */
static void the_beat_takes_nothing_from_under_a_reader(void **state)
{
    const struct clock hasty = {.now_ms = hasty_ms, .wall_ms = hasty_ms};
    const struct journal_door door = {.write = store};
    struct err err = {0};
    (void)state;
    struct journal *journal =
        journal_new(&door, &hasty, "id", json_pack("{s{ss}}", "undoing", "why", "x"), NULL);
    assert_true(journal_begin(journal, &err));
    json_int_t beats = 0;
    int64_t ran_ms = 0;
    for (int64_t began_ms = clock_now_ms(clock_system());
         ran_ms < 400 || (beats <= 20 && ran_ms < 20000);
         ran_ms = clock_now_ms(clock_system()) - began_ms) {
        json_t *beat = journal_member(journal, "beat");
        json_t *time = journal_member(journal, "time");
        json_t *undoing = journal_member(journal, "undoing");
        assert_true(json_string_length(time) > 10);
        assert_string_equal(json_string_value(json_object_get(undoing, "why")), "x");
        beats = json_integer_value(beat);
        json_decref(beat);
        json_decref(time);
        json_decref(undoing);
    }
    journal_free(journal);
    assert_true(world.writes > 20); /* beats */
}

/* 1 MB of evidence, quotes and letters beyond ASCII in it. */
static void large_evidence_is_cut_and_found(void **state)
{
    const struct journal_door door = {.write = store};
    struct err err = {0};
    json_t *list = json_array();
    (void)state;
    for (int i = 0; i < 20000; i++) {
        json_array_append_new(list,
                              json_string("a \"quoted\" \xc3\xa4\xe2\x82\xac name of a group"));
    }
    json_t *evidence = json_pack("{so}", "groups", list);
    struct journal *journal = journal_new(&door, clock_system(), "id", json_object(), NULL);
    assert_true(journal_keep(journal, "freeze", json_incref(evidence), &err));
    assert_non_null(json_object_get(world.topic, "op/id/freeze/3"));
    json_t *found = journal_read_evidence(world.topic, "id", "freeze");
    assert_true(json_equal(found, evidence));
    json_decref(found);
    journal_free(journal);
    journal = journal_new(&door, clock_system(), "id", json_object(), world.topic);
    assert_true(json_equal(journal_evidence(journal, "freeze"), evidence));
    /* whoever goes on does not write it again, and it is found all the same */
    assert_true(journal_step(journal, "freeze", JOURNAL_DONE, &err));
    found = journal_read_evidence(world.topic, "id", "freeze");
    assert_true(json_equal(found, evidence));
    json_decref(found);
    json_object_del(world.topic,
                    "op/id/freeze/1"); /* a piece is missing: nothing, not half of it */
    assert_null(journal_read_evidence(world.topic, "id", "freeze"));
    json_decref(evidence);
    journal_free(journal);
}

static void old_steps_are_deleted(void **state)
{
    const struct journal_door door = {.write = store};
    struct err err = {0};
    (void)state;
    for (int i = 0; i < JOURNAL_KEPT + 5; i++) {
        char key[100];
        snprintf(key, sizeof(key), "op/2025%04d", i);
        json_object_set_new(world.topic, key, json_pack("{sbss}", "open", 0, "kind", "failover"));
        snprintf(key, sizeof(key), "op/f%07x", i); /* an order to a partition: not counted */
        json_object_set_new(world.topic, key, json_pack("{sb}", "open", 0));
        snprintf(key, sizeof(key), "op/2025%04d/fence", i);
        json_object_set_new(world.topic, key, json_pack("{ss}", "state", "done"));
    }
    struct journal *journal =
        journal_new(&door, clock_system(), "2026", json_object(), world.topic);
    assert_true(journal_begin(journal, &err));
    char id[65];
    assert_non_null(journal_open_operation(world.topic, id, sizeof(id)));
    assert_string_equal(id, "2026");
    assert_true(journal_close(journal, json_pack("{ss}", "state", "done"), NULL, 0, &err));
    journal_free(journal);
    assert_null(journal_open_operation(world.topic, id, sizeof(id)));
    assert_null(json_object_get(world.topic, "op/20250005/fence"));
    assert_non_null(json_object_get(world.topic, "op/20250005"));
    assert_non_null(json_object_get(world.topic, "op/20250006/fence"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_row_once, begin, end),
        cmocka_unit_test_setup_teardown(killed_at_every_write, begin, end),
        cmocka_unit_test_setup_teardown(the_row_that_opens_begins_alone, begin, end),
        cmocka_unit_test_setup_teardown(what_is_noted_goes_with_the_next_record, begin, end),
        cmocka_unit_test_setup_teardown(a_refusal_is_taken_back, begin, end),
        cmocka_unit_test_setup_teardown(a_failover_stops_where_a_switchover_goes_back, begin, end),
        cmocka_unit_test_setup_teardown(killed_while_taking_back, begin, end),
        cmocka_unit_test_setup_teardown(behind_open_only_forward, begin, end),
        cmocka_unit_test_setup_teardown(what_a_soft_row_leaves_is_tried_again, begin, end),
        cmocka_unit_test_setup_teardown(an_ended_operation_with_something_left_is_found, begin,
                                        end),
        cmocka_unit_test_setup_teardown(what_is_no_utf8_is_recorded_all_the_same, begin, end),
        cmocka_unit_test_setup_teardown(another_has_it, begin, end),
        cmocka_unit_test_setup_teardown(a_writer_of_a_moment_ends_nothing, begin, end),
        cmocka_unit_test_setup_teardown(an_operator_who_took_over_is_left_alone, begin, end),
        cmocka_unit_test_setup_teardown(before_its_first_record_nothing_is_ours, begin, end),
        cmocka_unit_test_setup_teardown(a_close_that_fails_leaves_it_open, begin, end),
        cmocka_unit_test_setup_teardown(a_close_that_stands_is_one_though_nobody_said_so, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_close_that_does_not_stand_is_none, begin, end),
        cmocka_unit_test_setup_teardown(the_beat_takes_nothing_from_under_a_reader, begin, end),
        cmocka_unit_test_setup_teardown(large_evidence_is_cut_and_found, begin, end),
        cmocka_unit_test_setup_teardown(old_steps_are_deleted, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
