/* mirror/link_rebuild: whose stretches are looked at. The store is a door that keeps whom it was asked about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mirror/link_inside.h"

/* ---- doors ---- */

struct loop {
    struct clock_fake clock;
};
struct loop_timer {
    void (*fired)(void *arg);
    void *arg;
};

static struct loop_timer rebuild_tick;
static int looks[10000]; /* by partition */

const struct clock *loop_clock(const struct loop *loop)
{
    return &loop->clock.clock;
}
struct loop_timer *loop_timer_new(struct loop *loop, void (*fired)(void *arg), void *arg)
{
    (void)loop;
    rebuild_tick = (struct loop_timer){fired, arg};
    return &rebuild_tick;
}
void loop_timer_set(struct loop_timer *timer, int64_t delay_ms)
{
    (void)timer;
    (void)delay_ms;
}
void loop_timer_free(struct loop_timer *timer)
{
    (void)timer;
}

bool offset_store_ready(const struct offset_store *store)
{
    (void)store;
    return true;
}
const struct offset_counters *offset_store_counters(const struct offset_store *store)
{
    static const struct offset_counters none;
    (void)store;
    return &none;
}
void offset_store_unmapped(struct offset_store *store, const char *topic, int32_t partition,
                           const struct checkpoint *at,
                           void (*done)(void *arg, enum offset_unmapped_what what,
                                        const struct offset_open *open, size_t count,
                                        const struct err *err),
                           void *arg)
{
    (void)store;
    (void)topic;
    (void)at;
    looks[partition]++;
    done(arg, UNMAPPED_KNOWN, NULL, 0, NULL);
}

/* Nothing is unmapped, so nothing is rebuilt. */
void offset_store_rebuilt(struct offset_store *store, const char *topic, int32_t partition,
                          const struct checkpoint *at, const struct offset_open *open,
                          const struct offset_piece *pieces, size_t count,
                          void (*done)(void *arg, const struct err *err), void *arg)
{
    (void)store;
    (void)topic;
    (void)partition;
    (void)at;
    (void)open;
    (void)pieces;
    (void)count;
    (void)done;
    (void)arg;
    fail();
}
void offset_track_ack(struct offset_track *track, struct offset_run run,
                      const struct checkpoint *after)
{
    (void)track;
    (void)run;
    (void)after;
    fail();
}
struct rebuild_run *rebuild_run_new(const struct rebuild_run_options *options, rebuild_run_fn *done,
                                    void *arg)
{
    (void)options;
    (void)done;
    (void)arg;
    fail();
    return NULL;
}
void rebuild_run_free(struct rebuild_run *run)
{
    assert_null(run);
}
const struct flow *task_flow(const struct task *task)
{
    static const struct flow none;
    (void)task;
    return &none;
}
int64_t task_id_base(const struct task *task)
{
    (void)task;
    return 0;
}
bool engine_by_content(const struct engine *engine)
{
    (void)engine;
    return false;
}

/* ---- tests ---- */

/* With more of them than are looked at in the time until the first are due again, the last had no turn at all. */
static void everybody_is_looked_at(void **state)
{
    static char somebody; /* has a track and a task */
    const int count = (int)(sizeof(looks) / sizeof(looks[0]));
    struct config config = {0};
    struct loop loop = {0};
    struct link link = {.loop = &loop, .config = &config};

    (void)state;
    clock_fake_init(&loop.clock, 1000, 1000);
    for (int32_t i = 0; i < count; i++) {
        struct link_part *part = calloc(1, sizeof(*part));
        assert_non_null(part);
        part->link = &link;
        part->partition = i;
        part->state = PART_MIRRORING;
        part->track = (struct offset_track *)(void *)&somebody;
        part->task = (struct task *)(void *)&somebody;
        link_index_add(part);
    }
    link_rebuild_start(&link);
    for (int tick = 0; tick < 200; tick++) { /* 40 s */
        rebuild_tick.fired(rebuild_tick.arg);
        clock_fake_advance(&loop.clock, 200);
    }
    for (int i = 0; i < count; i++) {
        assert_in_range(looks[i], 2, 3);
    }
    link_rebuild_done(&link);
    while (link.parts_count > 0) {
        struct link_part *part = link.parts[0];
        link_index_remove(part);
        free(part->rebuild.stretches);
        free(part);
    }
    free(link.parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_is_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
