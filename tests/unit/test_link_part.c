/* mirror/link_part and link_commit: answers that come late, orders, faults that are over. The engine, the group, the store
 * and the cluster are doors that keep what they are asked and answer when told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "mirror/link_inside.h"

/* ---- doors ---- */

struct task {
    void *owner;
    int resumes_count;
    int loaded_count;
    int floors_count;
    int cuts_count;
    int starts_count;
    bool held;
    struct task_stored stored;
    struct resume_options options;
};
struct engine {
    struct task *tasks[8]; /* as they were added; removed ones stay for the test to look at */
    size_t tasks_count;
};
struct asked { /* something that the store, or the group, owes an answer */
    enum { ASKED_LOAD, ASKED_FLOOR, ASKED_CUT, ASKED_GROUP, ASKED_COMMIT } what;
    void (*loaded)(void *, enum offset_loaded, const struct checkpoint *, const struct err *);
    void (*floor)(void *, bool, struct offset_run, const struct err *);
    void (*cut)(void *, bool, const struct err *);
    void (*group)(void *, const struct membership_commit *, size_t, const struct err *);
    void (*commit)(void *, const struct membership_commit *, size_t, int64_t, const struct err *);
    struct membership_commit *commits;
    size_t count;
    void *arg;
};
struct loop {
    struct clock_fake clock;
};
struct loop_timer {
    bool pending;
};
struct cluster {
    struct cluster_topic topic;
};
struct offset_track {
    void *owner;
};

static struct rig {
    struct link link;
    struct loop loop;
    struct engine engine;
    struct cluster source;
    struct cluster target;
    struct config config;
    struct config_service service;
    struct config_site from;
    struct config_site to;
    struct loop_timer timers[8];
    size_t timers_count;
    struct asked asked[32];
    size_t asked_count;
    enum resume_fault told; /* the last fault that was told to Redis */
    int told_count;
    struct link_part *part;
} *rig;

const struct clock *loop_clock(const struct loop *loop)
{
    return &loop->clock.clock;
}
struct loop_timer *loop_timer_new(struct loop *loop, void (*fired)(void *arg), void *arg)
{
    (void)loop;
    (void)fired;
    (void)arg;
    assert_true(rig->timers_count < 8);
    return &rig->timers[rig->timers_count++];
}
void loop_timer_set(struct loop_timer *timer, int64_t delay_ms)
{
    (void)delay_ms;
    timer->pending = true;
}
void loop_timer_cancel(struct loop_timer *timer)
{
    timer->pending = false;
}
bool loop_timer_pending(const struct loop_timer *timer)
{
    return timer->pending;
}
void loop_timer_free(struct loop_timer *timer)
{
    timer->pending = false;
}

const struct cluster_topic *cluster_topic(struct cluster *cluster, const char *name)
{
    assert_string_equal(name, "t");
    return cluster->topic.partitions_count > 0 ? &cluster->topic : NULL;
}

int16_t cluster_topic_error(const struct cluster *cluster, const char *name)
{
    (void)cluster;
    (void)name;
    return 0;
}
bool cluster_denied(struct cluster *cluster, int16_t error, enum acl_operation operation,
                    enum acl_resource resource, const char *name, char out[ACL_LACKS_BYTES])
{
    (void)cluster;
    (void)error;
    (void)operation;
    (void)resource;
    (void)name;
    (void)out;
    return false;
}

struct task *engine_add(struct engine *engine, const char *topic, int32_t partition,
                        const struct uuid *source_topic_id, const struct uuid *target_topic_id,
                        void *owner)
{
    struct task *task = calloc(1, sizeof(*task));
    (void)topic;
    (void)partition;
    (void)source_topic_id;
    (void)target_topic_id;
    task->owner = owner;
    assert_true(engine->tasks_count < 8);
    engine->tasks[engine->tasks_count++] = task;
    return task;
}
void engine_remove(struct engine *engine, struct task *task)
{
    (void)engine;
    task->owner = NULL;
}
void engine_resume(struct engine *engine, struct task *task, const struct resume_options *options)
{
    (void)engine;
    task->resumes_count++;
    task->held = false;
    task->options = *options;
}
void engine_loaded(struct engine *engine, struct task *task, const struct task_stored *stored)
{
    (void)engine;
    task->loaded_count++;
    task->stored = *stored;
}
void engine_floor(struct engine *engine, struct task *task, bool found, struct offset_run run)
{
    (void)engine;
    (void)found;
    (void)run;
    task->floors_count++;
}
void engine_cut_done(struct engine *engine, struct task *task)
{
    (void)engine;
    task->cuts_count++;
}
void engine_start(struct engine *engine, struct task *task)
{
    (void)engine;
    task->starts_count++;
}
void engine_hold(struct engine *engine, struct task *task)
{
    (void)engine;
    task->held = true;
}
void engine_drain(struct engine *engine, struct task *task)
{
    (void)engine;
    (void)task;
}
void engine_pump(struct engine *engine)
{
    (void)engine;
}
void link_note_denied(char denied[LINK_DENIED_BYTES], const struct err *why)
{
    (void)denied;
    (void)why;
}
void link_rebuild_forget(struct link_part *part)
{
    (void)part;
}
void *task_owner(const struct task *task)
{
    return task->owner;
}

static struct asked *ask(void)
{
    assert_true(rig->asked_count < 32);
    return &rig->asked[rig->asked_count++];
}
void offset_store_load(struct offset_store *store, const char *topic, int32_t partition,
                       void (*done)(void *, enum offset_loaded, const struct checkpoint *,
                                    const struct err *),
                       void *arg)
{
    (void)store;
    (void)topic;
    (void)partition;
    *ask() = (struct asked){.what = ASKED_LOAD, .loaded = done, .arg = arg};
}
void offset_store_floor_target(struct offset_store *store, const char *topic, int32_t partition,
                               const struct checkpoint *end, int64_t target_offset,
                               void (*done)(void *, bool, struct offset_run, const struct err *),
                               void *arg)
{
    (void)store;
    (void)topic;
    (void)partition;
    (void)end;
    (void)target_offset;
    *ask() = (struct asked){.what = ASKED_FLOOR, .floor = done, .arg = arg};
}
void offset_store_cut(struct offset_store *store, const char *topic, int32_t partition,
                      const struct checkpoint *to, const char *why,
                      void (*done)(void *, bool, const struct err *), void *arg)
{
    (void)store;
    (void)topic;
    (void)partition;
    (void)to;
    (void)why;
    *ask() = (struct asked){.what = ASKED_CUT, .cut = done, .arg = arg};
}
void offset_store_event(struct offset_store *store, const char *kind, const char *topic,
                        int32_t partition, const char *json_detail)
{
    (void)store;
    (void)kind;
    (void)topic;
    (void)partition;
    (void)json_detail;
}
void offset_store_repeated(struct offset_store *store, const char *topic, int32_t partition,
                           int64_t target_from, int64_t count)
{
    (void)store;
    (void)topic;
    (void)partition;
    (void)target_from;
    (void)count;
}
struct offset_track *offset_track_new(struct offset_store *store, const char *topic,
                                      int32_t partition, const struct checkpoint *stored,
                                      const struct checkpoint *from, const struct checkpoint *at,
                                      const struct offset_run *runs, size_t runs_count, void *owner)
{
    (void)store;
    (void)topic;
    (void)partition;
    (void)stored;
    (void)from;
    (void)at;
    (void)runs;
    (void)runs_count;
    struct offset_track *track = calloc(1, sizeof(*track));
    track->owner = owner;
    return track;
}
void offset_track_free(struct offset_track *track)
{
    free(track);
}
void offset_track_ack(struct offset_track *track, struct offset_run run,
                      const struct checkpoint *after)
{
    (void)track;
    (void)run;
    (void)after;
}
void offset_track_ack_part(struct offset_track *track, struct offset_run run)
{
    (void)track;
    (void)run;
}
bool offset_track_stored(const struct offset_track *track, struct checkpoint *out)
{
    (void)track;
    (void)out;
    return false;
}

int32_t membership_generation(const struct membership *membership)
{
    (void)membership;
    return 1;
}
void membership_commit(struct membership *membership, struct membership_commit *commits,
                       size_t count,
                       void (*done)(void *, const struct membership_commit *, size_t, int64_t,
                                    const struct err *),
                       void *arg)
{
    (void)membership;
    *ask() = (struct asked){
        .what = ASKED_COMMIT, .commit = done, .commits = commits, .count = count, .arg = arg};
}
void membership_committed(struct membership *membership, struct cluster *target,
                          struct membership_commit *wants, size_t count,
                          void (*done)(void *, const struct membership_commit *, size_t,
                                       const struct err *),
                          void *arg)
{
    (void)membership;
    (void)target;
    *ask() = (struct asked){
        .what = ASKED_GROUP, .group = done, .commits = wants, .count = count, .arg = arg};
}

void keeper_act(struct keeper *keeper, int64_t until_ms)
{
    (void)keeper;
    (void)until_ms;
}
void group_sync_act(struct group_sync *sync, int64_t until_ms)
{
    (void)sync;
    (void)until_ms;
}
void heartbeat_forget(struct heartbeat *heartbeat, const char *topic, int32_t partition)
{
    (void)heartbeat;
    (void)topic;
    (void)partition;
}

/* ---- the link beside its partitions ---- */

int64_t link_adopted_end(const struct link *link, const char *topic, int32_t partition)
{
    (void)link;
    (void)topic;
    (void)partition;
    return -1;
}
bool link_may_send(const struct link *link)
{
    (void)link;
    return true;
}
void link_look_at_leaving(struct link *link)
{
    (void)link;
}
void link_metrics_part(struct link_part *part)
{
    (void)part;
}
void link_metrics_part_gone(struct link_part *part)
{
    (void)part;
}
void link_metrics_ack(struct link_part *part, const struct ack *ack)
{
    (void)part;
    (void)ack;
}
void link_report_fault(struct link_part *part)
{
    rig->told = part->fault;
    rig->told_count++;
}

/* ---- rig ---- */

static struct engine_callbacks callbacks(void)
{
    struct engine_callbacks out;
    link_engine_callbacks(&rig->link, &out);
    return out;
}

static struct task *task(void)
{
    assert_non_null(rig->part->task);
    return rig->part->task;
}

static int setup(void **state)
{
    (void)state;
    rig = calloc(1, sizeof(*rig));
    log_set_level(LOG_ERROR);
    clock_fake_init(&rig->loop.clock, 1000000, 5);
    rig->from.name = "a";
    rig->to.name = "b";
    rig->source.topic = rig->target.topic = (struct cluster_topic){"t", {{1}}, 4};
    rig->link = (struct link){.loop = &rig->loop,
                              .config = &rig->config,
                              .service = &rig->service,
                              .from = &rig->from,
                              .to = &rig->to,
                              .engine = &rig->engine,
                              .source = &rig->source,
                              .target = &rig->target,
                              .redis = (struct redis *)rig, /* there is one */
                              .membership = (struct membership *)rig,
                              .load_timer = loop_timer_new(&rig->loop, NULL, NULL),
                              .commit_timer = loop_timer_new(&rig->loop, NULL, NULL)};
    deadline_init(&rig->link.deadline, 10000, 3000);
    rig->part = part_new(&rig->link, "t", 3);
    assert_int_equal(rig->part->state, PART_RESUMING);
    return 0;
}

static void answer_commit(const struct asked *asked)
{
    asked->commit(asked->arg, asked->commits, asked->count, 0, NULL);
    free(asked->commits);
}

static void answer_group(const struct asked *asked)
{
    for (size_t i = 0; i < asked->count; i++) {
        asked->commits[i].offset = -1;
    }
    asked->group(asked->arg, asked->commits, asked->count, NULL);
    free(asked->commits);
}

static void answer(const struct asked *asked)
{
    switch (asked->what) {
    case ASKED_LOAD:
        asked->loaded(asked->arg, LOADED_MISSING, NULL, NULL);
        break;
    case ASKED_FLOOR:
        asked->floor(asked->arg, false, (struct offset_run){0}, NULL);
        break;
    case ASKED_CUT:
        asked->cut(asked->arg, true, NULL);
        break;
    case ASKED_GROUP:
        answer_group(asked);
        break;
    case ASKED_COMMIT:
        answer_commit(asked);
        break;
    }
}

/* The oldest that is owed: of which kind? */
static struct asked owed(int what)
{
    assert_true(rig->asked_count > 0);
    struct asked asked = rig->asked[0];
    assert_int_equal(asked.what, what);
    rig->asked_count--;
    memmove(rig->asked, rig->asked + 1, rig->asked_count * sizeof(asked));
    return asked;
}

static int teardown(void **state)
{
    (void)state;
    while (rig->link.parts_count > 0) {
        part_free(rig->link.parts[0]);
    }
    for (size_t i = 0; i < rig->asked_count; i++) {
        answer(&rig->asked[i]); /* after it was freed */
    }
    for (size_t i = 0; i < rig->engine.tasks_count; i++) {
        free(rig->engine.tasks[i]);
    }
    free(rig->link.parts);
    free(rig);
    return 0;
}

static void resumed(enum resume_need how, enum resume_fault fault, int64_t at)
{
    struct resume resume = {
        .fault = fault,
        .fault_source_from = -1,
        .fault_source_to = -1,
        .event = {.began = true},
        .at = {.source_next = at, .target_next = at, .sequence_next = at}
    };
    err_set(&resume.err, ERR_REFUSED, "what is wrong");
    callbacks().resumed(&rig->link, task(), &resume, how);
}

static void mirrors(void)
{
    resumed(RESUME_DONE, FAULT_NONE, 10);
    link_commit(&rig->link);
    struct asked commit = owed(ASKED_COMMIT);
    answer(&commit);
    assert_int_equal(rig->part->state, PART_MIRRORING);
}

static bool order(const char *text)
{
    char json[256];
    snprintf(json, sizeof(json), "%s", text);
    for (char *at = json; *at != '\0'; at++) {
        *at = *at == '\'' ? '"' : *at;
    }
    json_t *order = json_loads(json, 0, NULL);
    assert_non_null(order);
    bool taken = part_order(rig->part, order);
    json_decref(order);
    return taken;
}

/* ---- faults ---- */

/* The worker that faulted it is gone, with the memory of it: whoever goes on takes the fault out of Redis. */
static void a_placed_partition_has_no_fault_in_redis(void **state)
{
    (void)state;
    resumed(RESUME_DONE, FAULT_NONE, 10);
    assert_int_equal(rig->part->state, PART_PLACED);
    assert_int_equal(rig->told_count, 1);
    assert_int_equal(rig->told, FAULT_NONE);
}

static void a_retry_of_what_mirrors_takes_a_stale_fault_away(void **state)
{
    (void)state;
    mirrors();
    rig->told_count = 0;
    assert_true(order("{'order': 'retry'}"));
    assert_int_equal(rig->told_count, 1);
    assert_int_equal(rig->told, FAULT_NONE);
}

/* ---- orders ---- */

#define RESYNC  "{'order': 'resync', 'id': '12', 'kind': 'source-recreated'}"
#define RESYNC2 "{'order': 'resync', 'id': '13', 'kind': 'source-recreated'}"
#define ACCEPT  "{'order': 'accept', 'id': '12', 'kind': 'gap', 'source_from': -1, 'source_to': -1}"

/* Its fault may be just what the order is about: that shows when it was resumed. */
static void orders_wait_while_a_partition_looks_for_its_place(void **state)
{
    (void)state;
    assert_int_equal(rig->part->state, PART_RESUMING);
    assert_false(order(RESYNC));
    assert_false(order(ACCEPT));
    assert_false(order("{'order': 'retry'}"));
    struct err err = {.kind = ERR_RETRY};
    callbacks().waits(&rig->link, task(), &err, true);
    assert_int_equal(rig->part->state, PART_STALLED);
    assert_false(order(RESYNC));
    assert_int_equal(task()->resumes_count, 1);
    assert_true(order("{'order': 'retry'}")); /* that is what it does anyway, now */
    assert_int_equal(task()->resumes_count, 2);
    resumed(RESUME_FAULT, FAULT_SOURCE_RECREATED, 0);
    assert_false(order(RESYNC));
    assert_int_equal(task()->resumes_count, 3);
    assert_true(task()->options.resync);
}

/* The order is Redis's until the position is there: a partition that changes its owner in between is resynced by the
 * next one. */
static void a_decision_stands_until_it_is_carried_out(void **state)
{
    (void)state;
    resumed(RESUME_FAULT, FAULT_SOURCE_RECREATED, 0);
    assert_false(order(RESYNC));
    assert_false(order(RESYNC));
    assert_int_equal(task()->resumes_count, 2);
    resumed(RESUME_DONE, FAULT_NONE, 10);
    assert_true(order(RESYNC));
    assert_int_equal(task()->resumes_count, 2);
}

static void a_decision_that_faults_again_is_not_carried_out_again(void **state)
{
    (void)state;
    resumed(RESUME_FAULT, FAULT_SOURCE_RECREATED, 0);
    assert_false(order(RESYNC));
    resumed(RESUME_FAULT, FAULT_SOURCE_RECREATED, 0);
    assert_true(order(RESYNC));
    assert_int_equal(task()->resumes_count, 2);
    assert_false(order(RESYNC2)); /* another one is */
    assert_int_equal(task()->resumes_count, 3);
}

static void an_order_about_another_fault_is_outdated(void **state)
{
    (void)state;
    resumed(RESUME_FAULT, FAULT_HOLE, 0);
    assert_true(order(RESYNC));
    assert_true(order(ACCEPT));
    assert_int_equal(task()->resumes_count, 1);
}

/* ---- answers that come late ---- */

/* A renewal flies while a doubt gives the partition another position, perhaps in a generation that stands nowhere yet. */
static void only_its_own_commit_starts_a_placed_partition(void **state)
{
    (void)state;
    mirrors();
    rig->part->commit_wanted = true;
    link_commit(&rig->link);
    struct asked old = owed(ASKED_COMMIT);
    struct err why = {.kind = ERR_RETRY};
    rig->part->acked = true;
    callbacks().doubt(&rig->link, task(), &why);
    resumed(RESUME_DONE, FAULT_NONE, 20);
    assert_int_equal(rig->part->state, PART_PLACED);
    answer(&old);
    assert_int_equal(rig->part->state, PART_PLACED);
    assert_int_equal(task()->starts_count, 1);
    link_commit(&rig->link);
    struct asked own = owed(ASKED_COMMIT);
    assert_int_equal(own.commits[0].offset, 20);
    answer(&own);
    assert_int_equal(rig->part->state, PART_MIRRORING);
    assert_int_equal(task()->starts_count, 2);
}

static void load(void)
{
    callbacks().load(&rig->link, task());
    link_load_groups(&rig->link);
}

static void the_topic_is_created_again(void)
{
    rig->source.topic.id.bytes[0]++;
    part_metadata(rig->part);
    assert_int_equal(rig->part->state, PART_RESUMING);
}

static void answers_to_a_forgotten_task_are_nobodys(void **state)
{
    (void)state;
    load();
    struct asked redis = owed(ASKED_LOAD);
    struct asked group = owed(ASKED_GROUP);
    the_topic_is_created_again();
    answer(&redis);
    answer(&group);
    assert_int_equal(task()->loaded_count, 0); /* it asked nothing yet */
    load();
    struct asked redis2 = owed(ASKED_LOAD);
    struct asked group2 = owed(ASKED_GROUP);
    answer(&redis2);
    assert_int_equal(task()->loaded_count, 0);
    answer(&group2);
    assert_int_equal(task()->loaded_count, 1);
}

/* Redis's answer to the first load is not the group's to the second. */
static void a_load_waits_for_both_of_its_own_answers(void **state)
{
    (void)state;
    load();
    struct asked redis = owed(ASKED_LOAD);
    struct asked group = owed(ASKED_GROUP);
    the_topic_is_created_again();
    load();
    struct asked redis2 = owed(ASKED_LOAD);
    struct asked group2 = owed(ASKED_GROUP);
    answer(&redis);
    answer(&redis2);
    answer(&group);
    assert_int_equal(task()->loaded_count, 0);
    answer(&group2);
    assert_int_equal(task()->loaded_count, 1);
}

static void a_floor_and_a_cut_are_answered_to_who_asked(void **state)
{
    (void)state;
    const struct checkpoint at = {0};
    callbacks().floor(&rig->link, task(), &at, 5);
    struct asked floor = owed(ASKED_FLOOR);
    the_topic_is_created_again();
    answer(&floor);
    assert_int_equal(task()->floors_count, 0);
    callbacks().cut(&rig->link, task(), &at);
    struct asked cut = owed(ASKED_CUT);
    the_topic_is_created_again();
    answer(&cut);
    assert_int_equal(task()->cuts_count, 0);
    callbacks().cut(&rig->link, task(), &at);
    cut = owed(ASKED_CUT);
    answer(&cut);
    assert_int_equal(task()->cuts_count, 1);
}

/* ---- what brokers say ---- */

/* Lines of the log that hold `what`, of this many waits for the same reason, each longer than what is kept of it. */
static int lines_of_waits(const char *what, int waits)
{
    char line[2048];
    int count = 0;
    struct err why = {0};
    char said[ERR_WHAT_BYTES];
    for (size_t i = 0; i + 2 < sizeof(said); i += 2) {
        memcpy(said + i, "\xc3\xa9", 3);
    }
    err_set(&why, ERR_RETRY, "%s", said);
    FILE *log = tmpfile();
    int saved = dup(STDERR_FILENO);
    dup2(fileno(log), STDERR_FILENO);
    log_set_level(LOG_INFO);
    for (int i = 0; i < waits; i++) {
        callbacks().waits(&rig->link, task(), &why, false);
        part_event(rig->part, PART_EV_BACK, "trying again");
    }
    log_set_level(LOG_ERROR);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(log);
    while (fgets(line, sizeof(line), log) != NULL) {
        count += strstr(line, what) != NULL;
    }
    fclose(log);
    return count;
}

/* It goes to the heartbeat, which is JSON: half a character of it would cost the worker's whole row. */
static void what_is_cut_is_text_and_told_once(void **state)
{
    (void)state;
    assert_int_equal(lines_of_waits("partition.state", 4), 1); /* nor that it is tried again */
    json_t *shown = json_string(rig->part->why);
    assert_non_null(shown);
    assert_true(json_string_length(shown) > 250);
    json_decref(shown);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_placed_partition_has_no_fault_in_redis),
        TEST(a_retry_of_what_mirrors_takes_a_stale_fault_away),
        TEST(orders_wait_while_a_partition_looks_for_its_place),
        TEST(a_decision_stands_until_it_is_carried_out),
        TEST(a_decision_that_faults_again_is_not_carried_out_again),
        TEST(an_order_about_another_fault_is_outdated),
        TEST(only_its_own_commit_starts_a_placed_partition),
        TEST(answers_to_a_forgotten_task_are_nobodys),
        TEST(a_load_waits_for_both_of_its_own_answers),
        TEST(a_floor_and_a_cut_are_answered_to_who_asked),
        TEST(what_is_cut_is_text_and_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
