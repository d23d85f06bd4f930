/* Hints of all places of a cut: from facts, ends and, where Redis is there, the map. */
#include <stdlib.h>

#include "base/heap.h"
#include "failover/cut_inside.h"
#include "offsets/offset_store.h"

#define WINDOW_RUNS 2000 /* of a partition's map at once; 64 an entry */
#define WINDOWS_MAX \
    2000 /* some 0.3 ms each: half a second of the whole, beyond it hints are without source offsets */
#define RUNS_MAX   400000 /* of all hints together: 10 MB of JSON */
#define RUNS_LEAST 8      /* of each, all the same */

struct window { /* of a partition's map */
    struct offset_run *runs;
    size_t count;
    int64_t source_end; /* behind the last one */
    size_t loads;       /* of all partitions */
};

static bool take_run(void *arg, const char *incarnation, const struct offset_run *run)
{
    struct window *window = arg;
    (void)incarnation;
    bool follows = true;
    if (window->count > 0) {
        const struct offset_run *last = &window->runs[window->count - 1];
        follows = run->source_first >= last->source_first + last->length &&
                  run->target_first >= last->target_first + last->length;
    }
    if (!follows || run->length <= 0 || run->source_first > INT64_MAX / 2 ||
        run->target_first > INT64_MAX / 2 || run->length > INT64_MAX / 4) {
        return false; /* not what ferry writes */
    }
    window->runs[window->count++] = *run;
    window->source_end = run->source_first + run->length;
    return window->count < WINDOW_RUNS;
}

/* Empty: nothing is known. */
static void load_window(struct window *window, struct offset_view *view,
                        const struct cut_part *part, int64_t source)
{
    struct err err;
    window->count = 0;
    window->source_end = -1;
    if (view == NULL || window->loads++ >= WINDOWS_MAX) {
        return;
    }
    if (!offset_view_runs_from(view, part->topic, part->partition, &part->at, source, take_run,
                               window, &err)) {
        window->count = 0; /* hints go without: what they bound is proven without the map, too */
        window->loads =
            err.kind == ERR_RETRY ? WINDOWS_MAX : window->loads; /* not waited for again */
    }
}

static bool in_window(const struct window *window, int64_t source)
{
    return window->count > 0 && window->runs[0].source_first <= source &&
           source < window->source_end;
}

/* The mirror went on since the keeper looked: what it was ahead by is there now. */
static void catch_up(struct cut_place *place, const struct window *window)
{
    struct group_facts *facts = &place->facts;
    for (size_t i = 0; facts->verdict == VERDICT_AHEAD && i < window->count; i++) {
        const struct offset_run *run = &window->runs[i];
        if (facts->source_offset >= run->source_first &&
            facts->source_offset - run->source_first < run->length) {
            facts->verdict = VERDICT_EXACT;
            facts->count = 0;
            facts->target_offset = run->target_first + (facts->source_offset - run->source_first);
        }
    }
}

static void clamp(struct cut_place *place)
{
    struct group_facts *facts = &place->facts;
    const struct cut_part *part = place->part;
    if (facts->target_offset >= 0 && facts->target_offset < part->begin) {
        facts->count = part->begin - facts->target_offset;
        facts->target_offset = part->begin;
        facts->verdict = VERDICT_LOST;
    }
    if (facts->target_offset > part->end) { /* the target lost records */
        facts->target_offset = part->end;
    }
}

static void find_hint(const struct cut *cut, struct cut_place *place, const struct window *window,
                      size_t most)
{
    const struct group_facts *facts = &place->facts;
    hint_done(&place->hint);
    clamp(place);
    const struct hint_place what = {.from = facts->target_offset,
                                    .mirrored_end = place->part->end,
                                    .source_offset = facts->source_offset,
                                    .source_limit = facts->limit,
                                    .limit_holds = cut->lately,
                                    .pace = facts->pace,
                                    .read_ms = facts->read_ms,
                                    .looked_ms = cut->looked_ms,
                                    .alive_ms = cut->alive_ms};
    if (facts->target_offset >= 0) {
        hint_find(&what, window->runs, window->count, most, &place->hint);
    }
}

static int by_source(const void *a, const void *b)
{
    const struct cut_place *of_a = *(struct cut_place *const *)a;
    const struct cut_place *of_b = *(struct cut_place *const *)b;
    if (of_a->part != of_b->part) {
        return (of_a->part > of_b->part) - (of_a->part < of_b->part);
    }
    return (of_a->facts.source_offset > of_b->facts.source_offset) -
           (of_a->facts.source_offset < of_b->facts.source_offset);
}

void cut_find_hints(struct cut *cut, const struct cut_options *options)
{
    struct window window = {.runs = must(calloc(WINDOW_RUNS, sizeof(struct offset_run)))};
    struct cut_place **places;
    size_t count = 0;
    size_t all = 0;
    for (size_t i = 0; i < cut->groups_count; i++) {
        all += cut->groups[i].count;
    }
    size_t most = RUNS_MAX / (all + 1);
    places = must(calloc(all + 1, sizeof(struct cut_place *)));
    for (size_t i = 0; i < cut->groups_count; i++) {
        for (size_t j = 0; j < cut->groups[i].count; j++) {
            places[count++] = &cut->groups[i].places[j];
        }
    }
    qsort(places, count, sizeof(struct cut_place *), by_source);
    struct offset_view *view =
        cut->of_redis && options->redis != NULL
            ? offset_view_new(options->redis, options->to->redis->prefix, options->service->name,
                              options->from->name, options->to->name)
            : NULL;
    for (size_t i = 0; i < count; i++) {
        int64_t source = places[i]->facts.source_offset;
        bool other = i == 0 || places[i]->part != places[i - 1]->part;
        bool wanted = source >= 0 && source < places[i]->part->at.source_next;
        if (other) {
            window.count = 0;
        }
        if (wanted && !in_window(&window, source)) {
            load_window(&window, view, places[i]->part, source);
        }
        catch_up(places[i], &window);
        find_hint(cut, places[i], &window, most > RUNS_LEAST ? most : RUNS_LEAST);
    }
    offset_view_free(view);
    free(places);
    free(window.runs);
}
