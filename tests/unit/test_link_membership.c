/* mirror/link_membership: when a link joins its group, and joins it again. The group is a door that counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/heap.h"
#include "base/log.h"
#include "mirror/link_inside.h"

/* ---- doors ---- */

struct membership {
    struct membership_callbacks callbacks;
};

static struct {
    int made;
    int freed;
    bool old; /* certificates were renewed */
    int32_t generation;
} group;
static struct clock_fake time_now;
static bool target_answers;

const struct clock *loop_clock(const struct loop *loop)
{
    (void)loop;
    return &time_now.clock;
}
bool cluster_reachable(const struct cluster *cluster)
{
    (void)cluster;
    return target_answers;
}
int32_t membership_generation(const struct membership *membership)
{
    (void)membership;
    return group.generation;
}

struct membership *membership_new(struct loop *loop, const struct config_client *client,
                                  const struct membership_options *options,
                                  const struct membership_callbacks *callbacks, struct err *err)
{
    struct membership *membership = must(calloc(1, sizeof(*membership)));
    (void)loop;
    (void)client;
    (void)err;
    assert_string_equal(options->group, "ferry-orders-a-b");
    membership->callbacks = *callbacks;
    group.made++;
    return membership;
}
void membership_free(struct membership *membership)
{
    group.freed += membership == NULL ? 0 : 1;
    free(membership);
}
bool membership_is_old(struct membership *membership)
{
    (void)membership;
    return group.old;
}
bool membership_subscribe(struct membership *membership, const char *const *topics, size_t count,
                          struct err *err)
{
    (void)membership;
    (void)topics;
    (void)count;
    (void)err;
    return true;
}
void membership_revoked_done(struct membership *membership)
{
    (void)membership;
}

void loop_timer_set(struct loop_timer *timer, int64_t delay_ms)
{
    (void)timer;
    (void)delay_ms;
}
void loop_timer_cancel(struct loop_timer *timer)
{
    (void)timer;
}
void engine_drop_unsent(struct engine *engine)
{
    (void)engine;
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
void offset_store_flush(struct offset_store *store, int32_t timeout_ms,
                        void (*done)(void *arg, bool ok), void *arg)
{
    (void)store;
    (void)timeout_ms;
    (void)done;
    (void)arg;
}
void link_event(struct link *link, enum link_event event, const char *why)
{
    (void)link;
    (void)event;
    (void)why;
}
void link_follow_topics(struct link *link)
{
    (void)link;
}
void link_stopped(struct link *link, const struct err *why)
{
    (void)link;
    (void)why;
}
void link_commit_soon(struct link *link)
{
    (void)link;
}
struct link_part *part_find(struct link *link, const char *topic, int32_t partition)
{
    (void)link;
    (void)topic;
    (void)partition;
    return NULL;
}
struct link_part *part_new(struct link *link, const char *topic, int32_t partition)
{
    (void)link;
    (void)topic;
    (void)partition;
    return NULL;
}
void part_free(struct link_part *part)
{
    (void)part;
}
void part_leave(struct link_part *part)
{
    (void)part;
}

/* ---- a link ---- */

static struct rig {
    struct link link;
    struct config config;
    struct config_service service;
    struct config_site from;
    struct config_site to;
} rig;

/* In its group, and running. */
static struct link *joined(void)
{
    struct link *link = &rig.link;
    rig = (struct rig){.service = {.name = (char *)(uintptr_t)"orders"},
                       .from = {.name = (char *)(uintptr_t)"a"},
                       .to = {.name = (char *)(uintptr_t)"b"}};
    group = (typeof(group)){.generation = 1};
    clock_fake_init(&time_now, 1000, 1000);
    target_answers = true;
    rig.config.limits.session_timeout_ms = 10000;
    *link = (struct link){.config = &rig.config,
                          .service = &rig.service,
                          .from = &rig.from,
                          .to = &rig.to,
                          .state = LINK_RUNNING,
                          .has_list = true};
    link_tend_membership(link);
    assert_int_equal(group.made, 1);
    link_tend_membership(link);
    assert_int_equal(group.made, 1); /* once */
    return link;
}

static void trouble(struct link *link, int code)
{
    struct err why = {0};
    err_set_code(&why, ERR_RETRY, code, "trouble");
    link->membership->callbacks.trouble(link->membership->callbacks.arg, &why);
}

static void what_is_of_no_use_is_made_anew(void **state)
{
    (void)state;
    for (int renewed = 0; renewed < 2; renewed++) {
        struct link *link = joined();
        group.old = renewed == 1;
        trouble(link, renewed ? 0 : MEMBERSHIP_OUTLIVED);
        link_tend_membership(link);
        assert_int_equal(group.made, 2);
        assert_int_equal(group.freed, 1);
        link_tend_membership(link);
        assert_int_equal(group.made, 2);
        link_leave_group(link);
    }
    struct link *link = joined();
    trouble(link, 0); /* which passes by itself */
    link_tend_membership(link);
    assert_int_equal(group.made, 1);
    link_leave_group(link);
}

static void tend_for(struct link *link, int64_t ms)
{
    for (int64_t at = 0; at < ms; at += 200) {
        clock_fake_advance(&time_now, 200);
        link_tend_membership(link);
    }
}

/* librdkafka was seen to stand idle when the coordinator had been away. */
static void a_group_that_never_answers_is_asked_by_another(void **state)
{
    (void)state;
    struct link *link = joined();
    group.generation = -1; /* lost */
    tend_for(link, 79000); /* a minute and twice the session */
    assert_int_equal(group.made, 1);
    tend_for(link, 2000);
    assert_int_equal(group.made, 2);
    assert_int_equal(group.freed, 1);
    tend_for(link, 79000); /* each has its time */
    assert_int_equal(group.made, 2);
    group.generation = 2;
    tend_for(link, 79000);
    group.generation = -1;
    tend_for(link, 79000);
    assert_int_equal(group.made, 2);
    target_answers = false; /* nobody could let us in */
    tend_for(link, 200000);
    assert_int_equal(group.made, 2);
    link_leave_group(link);
}

/* An operation's order `fence`: the group is being left, and a membership that is made anew would never say that it has been;
 * what is more, it would take partitions of a target that is about to be opened. */
static void a_link_that_retreats_joins_nothing(void **state)
{
    (void)state;
    struct link *link = joined();
    trouble(link, MEMBERSHIP_OUTLIVED);
    link->state = LINK_RETREATING;
    link_tend_membership(link);
    assert_int_equal(group.made, 1);
    assert_int_equal(group.freed, 0);
    link_leave_group(link); /* as `retreated` does */
    link_tend_membership(link);
    assert_int_equal(group.made, 1);
    link->state = LINK_NO_ROLE;
    link_tend_membership(link);
    assert_int_equal(group.made, 1);
    link->state = LINK_JOINING; /* the order was withdrawn */
    link_tend_membership(link);
    assert_int_equal(group.made, 2);
    link_leave_group(link);
}

static void a_link_that_stops_joins_nothing(void **state)
{
    (void)state;
    struct link *link = joined();
    trouble(link, MEMBERSHIP_OUTLIVED);
    link->stopping = true;
    link_tend_membership(link);
    assert_int_equal(group.made, 1);
    link_leave_group(link);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_of_no_use_is_made_anew),
        cmocka_unit_test(a_group_that_never_answers_is_asked_by_another),
        cmocka_unit_test(a_link_that_retreats_joins_nothing),
        cmocka_unit_test(a_link_that_stops_joins_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
