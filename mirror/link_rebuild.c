/* What of the map is unmapped is rebuilt from the two logs, by the worker that owns the partition: behind the mirroring, one
 * block at a time and link, within mirror.rebuild_rate. How far it is stands in Redis alone, so whoever owns the partition
 * next goes on from there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/log.h"
#include "base/text.h"
#include "mirror/link_inside.h"

#define REBUILD_TICK_MS 200
#define LOOK_MS         10000 /* Redis may lose anything at any time */
#define LOOK_AGAIN_MS   500   /* a position that is not stored yet is by then */
/* 640 a second, in turn: of 10,000 partitions each has its look within 16 s. */
#define LOOKS_A_TICK 128
#define AGAIN_MS     5000
#define RATE_MS      1000

/* --- what is unmapped --------------------------------------------------------------------------------------------- */

static bool rebuilds(const struct link_part *part)
{
    return part->state == PART_MIRRORING && part->track != NULL && part->task != NULL &&
           !part->leaving;
}

static bool has_rest(const struct part_stretch *stretch)
{
    return !offset_open_done(&stretch->open);
}

static void add_left(struct rebuild_left *left, const struct link_part *part)
{
    const struct part_rebuild *rebuild = &part->rebuild;
    for (size_t i = 0; i < rebuild->stretches_count; i++) {
        const struct part_stretch *stretch = &rebuild->stretches[i];
        if (has_rest(stretch)) {
            int64_t offsets = stretch->open.top.source - stretch->open.stretch.begin.source;
            *(stretch->stopped ? &left->stopped : &left->offsets) += offsets;
            left->stretches++;
            left->why = stretch->stopped ? rebuild->why : left->why;
        }
    }
}

struct rebuild_left link_rebuild_part_left(const struct link_part *part)
{
    struct rebuild_left left = {.known = part->rebuild.known};
    add_left(&left, part);
    return left;
}

struct rebuild_left link_rebuild_left(const struct link *link)
{
    struct rebuild_left left = {.known = !link->rebuild.away};
    for (size_t i = 0; i < link->parts_count; i++) {
        const struct link_part *part = link->parts[i];
        left.known = left.known && (part->rebuild.known || !rebuilds(part));
        add_left(&left, part);
    }
    return left;
}

static void drop_run(struct link *link)
{
    rebuild_run_free(link->rebuild.run);
    link->rebuild.run = NULL;
}

void link_rebuild_forget(struct link_part *part)
{
    struct link *link = part->link;
    if (link->rebuild.run != NULL && link->rebuild.run_part == part->id) {
        drop_run(link);
    }
    free(part->rebuild.stretches);
    part->rebuild = (struct part_rebuild){.asking = part->rebuild.asking};
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

struct part_call { /* a part may be gone, or stand elsewhere, when an answer comes */
    struct link *link;
    uint64_t id;
    struct checkpoint at;
};

static struct part_call *part_call_new(const struct link_part *part)
{
    struct part_call *call = must(calloc(1, sizeof(*call)));
    *call = (struct part_call){part->link, part->id, part->at};
    return call;
}

static struct link_part *part_call_take(struct part_call *take_call, bool *out_same)
{
    struct link_part *part = part_by_id(take_call->link, take_call->id);
    *out_same = part != NULL && part->track != NULL &&
                checkpoint_same_incarnation(&part->at, &take_call->at);
    free(take_call);
    return part;
}

static bool same_place(struct offset_place a, struct offset_place b)
{
    return a.source == b.source && a.target == b.target;
}

static bool was_stopped(const struct part_rebuild *before, const struct offset_open *open)
{
    for (size_t i = 0; i < before->stretches_count; i++) {
        const struct part_stretch *stretch = &before->stretches[i];
        if (stretch->stopped && same_place(stretch->open.top, open->top) &&
            same_place(stretch->open.stretch.begin, open->stretch.begin)) {
            return true;
        }
    }
    return false;
}

static void take_stretches(struct part_rebuild *rebuild, const struct offset_open *open,
                           size_t count)
{
    struct part_stretch *stretches = must(calloc(count + 1, sizeof(*stretches)));
    for (size_t i = 0; i < count; i++) {
        stretches[i] =
            (struct part_stretch){.open = open[i], .stopped = was_stopped(rebuild, &open[i])};
    }
    free(rebuild->stretches);
    rebuild->stretches = stretches;
    rebuild->stretches_count = count;
    rebuild->known = true;
}

/* Nothing of the partition is in Redis any more, and nothing came since that would have told the store so. */
static void tell_position(struct link_part *part)
{
    struct offset_run nothing = {part->at.source_next, part->at.target_next, 0};
    offset_track_ack(part->track, nothing, &part->at);
    part->rebuild.looked_ms = loop_now_ms(part->link->loop) - LOOK_MS + LOOK_AGAIN_MS;
}

static void unmapped_told(void *arg, enum offset_unmapped_what what, const struct offset_open *open,
                          size_t count, const struct err *err)
{
    bool same;
    struct link_part *part = part_call_take(arg, &same);
    if (part == NULL) {
        return;
    }
    part->rebuild.asking = false;
    if (!same) {
        return;
    }
    part->rebuild.known = false; /* also what it said before */
    if (what == UNMAPPED_KNOWN) {
        take_stretches(&part->rebuild, open, count);
    } else if (what == UNMAPPED_FLUSHED && rebuilds(part)) {
        tell_position(part);
    } else if (what == UNMAPPED_AWAY && err->kind == ERR_REFUSED) {
        log_error("map.refused",
                  "topic=%s partition=%d why=%s doing=\"nothing of its map is rebuilt; looking "
                  "again in %d s\" hint=\"docs/faults.md#garbage\"",
                  part->topic, part->partition, log_quote(err->what).text, LOOK_MS / 1000);
    }
}

static bool look_is_due(const struct link_part *part, int64_t now_ms)
{
    const struct part_rebuild *rebuild = &part->rebuild;
    bool running = part->link->rebuild.run != NULL && part->link->rebuild.run_part == part->id;
    return rebuilds(part) && !rebuild->asking && !running &&
           (rebuild->wanted || rebuild->looked_ms == 0 || now_ms - rebuild->looked_ms >= LOOK_MS);
}

static void see_away(struct link *link)
{
    link->rebuild.away = true;
    for (size_t i = 0; i < link->parts_count; i++) {
        link->parts[i]->rebuild.known = false;
    }
}

/* We recorded a stretch, whose it is, is not told; or Redis is back, maybe as an older copy. */
static void see_changed(struct link *link)
{
    uint64_t recorded = offset_store_counters(link->store)->unmapped_stretches;
    if (recorded == link->rebuild.stretches_seen && !link->rebuild.away) {
        return;
    }
    link->rebuild.away = false;
    link->rebuild.stretches_seen = recorded;
    for (size_t i = 0; i < link->parts_count; i++) {
        link->parts[i]->rebuild.wanted = true;
    }
}

static void look(struct link *link, int64_t now_ms)
{
    int looks = 0;
    for (size_t i = 0; i < link->parts_count && looks < LOOKS_A_TICK; i++) {
        struct link_part *part = link->parts[++link->rebuild.look_turn % link->parts_count];
        if (look_is_due(part, now_ms)) {
            part->rebuild.asking = true;
            part->rebuild.wanted = false;
            part->rebuild.looked_ms = now_ms;
            looks++;
            offset_store_unmapped(link->store, part->topic, part->partition, &part->at,
                                  unmapped_told, part_call_new(part));
        }
    }
}

/* --- blocks ------------------------------------------------------------------------------------------------------- */

static void pause_part(struct link_part *part, const struct err *why)
{
    log_debug("map.rebuild_waits", "topic=%s partition=%d why=%s", part->topic, part->partition,
              log_quote(why->what).text);
    part->rebuild.again_ms = loop_now_ms(part->link->loop) + AGAIN_MS;
    part->rebuild.wanted = true;
}

static void stop_stretch(struct link_part *part, struct part_stretch *stretch,
                         const struct err *why)
{
    stretch->stopped = true;
    text_print(part->rebuild.why, sizeof(part->rebuild.why), "%s:%d: %s", part->topic,
               part->partition, why->what);
    log_warn("map.rebuild_stopped",
             "topic=%s partition=%d source_from=%lld source_to=%lld why=%s doing=\"these offsets "
             "stay unmapped\"",
             part->topic, part->partition, (long long)stretch->open.stretch.begin.source,
             (long long)stretch->open.top.source, log_quote(why->what).text);
}

static void move_top(struct link_part *part, struct part_stretch *stretch, struct offset_place top)
{
    struct link *link = part->link;
    link->rebuild.offsets += (uint64_t)(stretch->open.top.source - top.source);
    stretch->open.top = top;
    if (!has_rest(stretch)) {
        log_info("map.rebuilt", "topic=%s partition=%d source_from=%lld source_to=%lld",
                 part->topic, part->partition, (long long)stretch->open.stretch.begin.source,
                 (long long)stretch->open.stretch.until.source);
    }
}

struct store_call {
    struct part_call *part;
    uint64_t run;
    struct offset_place top; /* once it is stored */
};

/* While a run of a part is there nobody looks at its stretches: they are those that it began with. */
static void stored(void *arg, const struct err *err)
{
    struct store_call *call = arg;
    struct link *link = call->part->link;
    struct offset_place top = call->top;
    bool ours = link->rebuild.run != NULL && link->rebuild.runs_count == call->run;
    bool same;
    struct link_part *part = part_call_take(call->part, &same);
    free(call);
    if (!ours) {
        return;
    }
    drop_run(link);
    if (part != NULL && same && err == NULL) {
        move_top(part, &part->rebuild.stretches[link->rebuild.run_stretch], top);
    } else if (part != NULL && same) {
        pause_part(part, err);
    }
}

static void read_over(void *arg, enum rebuild_need how, const struct rebuild *rebuild,
                      const struct err *err)
{
    struct link *link = arg;
    struct link_part *part = part_by_id(link, link->rebuild.run_part); /* else the run was freed */
    struct part_stretch *stretch = &part->rebuild.stretches[link->rebuild.run_stretch];
    if (how == REBUILD_STORE) {
        struct store_call *call = must(calloc(1, sizeof(*call)));
        *call = (struct store_call){part_call_new(part), link->rebuild.runs_count,
                                    rebuild->pieces[0].span.begin};
        offset_store_rebuilt(link->store, part->topic, part->partition, &part->at, &stretch->open,
                             rebuild->pieces, rebuild->pieces_count, stored, call);
        return;
    }
    if (err != NULL) {
        pause_part(part, err);
    } else {
        stop_stretch(part, stretch, &rebuild->why);
    }
    drop_run(link);
}

static void begin_block(struct link_part *part, size_t at)
{
    struct link *link = part->link;
    /* The filter of the start, which a reload does not change and does not free. */
    const struct config_service *service = config_service(link->config, link->service->name);
    const struct rebuild_run_options options = {
        .loop = link->loop,
        .source = link->source,
        .target = link->target,
        .topic = part->topic,
        .partition = part->partition,
        .source_topic_id = part->source_topic_id,
        .target_topic_id = part->target_topic_id,
        .throttle = &link->rebuild.throttle,
        .bytes = &link->rebuild.bytes,
        .core = {.id_base = task_id_base(part->task),
                 .by_content = engine_by_content(link->engine),
                 .generation = part->at.generation,
                 .filter = service->filter},
        .pace = &part->rebuild.pace,
        .open = part->rebuild.stretches[at].open,
    };
    link->rebuild.run_part = part->id;
    link->rebuild.run_stretch = at;
    link->rebuild.runs_count++;
    link->rebuild.run = rebuild_run_new(&options, read_over, link);
}

/* More waits at its source: mirroring it comes first. */
static bool is_behind(const struct link_part *part)
{
    return task_flow(part->task)->limit != FLOW_NOTHING;
}

/* The newest stretch that is not over; SIZE_MAX: none. */
static size_t next_stretch(const struct link_part *part)
{
    for (size_t i = 0; i < part->rebuild.stretches_count; i++) {
        const struct part_stretch *stretch = &part->rebuild.stretches[i];
        if (has_rest(stretch) && !stretch->stopped) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* One block of each partition in turn. */
static void begin_next(struct link *link, int64_t now_ms)
{
    for (size_t i = 0; i < link->parts_count; i++) {
        struct link_part *part = link->parts[++link->rebuild.turn % link->parts_count];
        const struct part_rebuild *rebuild = &part->rebuild;
        bool may = rebuilds(part) && rebuild->known && !rebuild->asking && !rebuild->wanted &&
                   now_ms >= rebuild->again_ms && !is_behind(part);
        size_t at = may ? next_stretch(part) : SIZE_MAX;
        if (at != SIZE_MAX) {
            begin_block(part, at);
            return;
        }
    }
}

/* --- the tick ----------------------------------------------------------------------------------------------------- */

/* The rate of the last seconds, while there is something to do. */
static void keep_rate(struct link *link, int64_t now_ms)
{
    struct link_rebuild *rebuild = &link->rebuild;
    int64_t passed_ms = now_ms - rebuild->rate_ms;
    if (passed_ms < RATE_MS) {
        return;
    }
    double now = (double)(rebuild->offsets - rebuild->offsets_before) * 1e3 / (double)passed_ms;
    bool idle = link_rebuild_left(link).offsets == 0;
    rebuild->offsets_per_s = idle ? 0 : rebuild->offsets_per_s * 0.75 + now * 0.25;
    rebuild->offsets_before = rebuild->offsets;
    rebuild->rate_ms = now_ms;
}

static void tick(void *arg)
{
    struct link *link = arg;
    int64_t now_ms = loop_now_ms(link->loop);
    int64_t rate = link->config->limits.rebuild_bytes;
    loop_timer_set(link->rebuild.tick, REBUILD_TICK_MS);
    keep_rate(link, now_ms);
    if (!offset_store_ready(link->store)) {
        see_away(link);
        return;
    }
    if (link->stopping) {
        return;
    }
    see_changed(link);
    look(link, now_ms);
    if (rate > 0) {
        throttle_set(&link->rebuild.throttle, rate, now_ms);
        if (link->rebuild.run == NULL) {
            begin_next(link, now_ms);
        }
    }
}

void link_rebuild_start(struct link *link)
{
    link->rebuild.rate_ms = loop_now_ms(link->loop);
    link->rebuild.tick = loop_timer_new(link->loop, tick, link);
    loop_timer_set(link->rebuild.tick, REBUILD_TICK_MS);
}

void link_rebuild_done(struct link *link)
{
    drop_run(link);
    loop_timer_free(link->rebuild.tick);
    link->rebuild.tick = NULL;
}
