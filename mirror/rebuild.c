#include "mirror/rebuild.h"

#include <assert.h>
#include <stdlib.h>

#include "base/heap.h"
#include "base/number.h"
#include "mirror/sequence.h"

#define SPAN_LEAST   16
#define SPAN_GROWTH  8
#define SOURCE_SLACK 64 /* more than the ratio says: markers come in bursts */
#define SOURCE_LEAST 1024
#define BEYOND_RECORDS \
    256 /* so many source records below the last pair, and twice what is left: it is not there */

/* --- what is read next -------------------------------------------------------------------------------------------- */

static enum rebuild_need ask(struct rebuild *rebuild, bool of_target, int64_t count)
{
    int64_t floor = of_target ? rebuild->floor.target : rebuild->floor.source;
    rebuild->ask_to = of_target ? rebuild->low.target : rebuild->low.source;
    rebuild->ask_from = number_most(floor, rebuild->ask_to - number_most(count, 1));
    rebuild->expected = rebuild->ask_from;
    pair_list_clear(&rebuild->read);
    return of_target ? REBUILD_READ_TARGET : REBUILD_READ_SOURCE;
}

static enum rebuild_need more_target(struct rebuild *rebuild)
{
    int64_t so_far = rebuild->open.top.target - rebuild->low.target;
    return ask(rebuild, true,
               number_least(number_most(so_far, rebuild->pace->span), REBUILD_SPAN_MAX));
}

static enum rebuild_need more_source(struct rebuild *rebuild)
{
    int64_t so_far = rebuild->open.top.source - rebuild->low.source;
    double ratio = rebuild->pace->source_ratio > 1 ? rebuild->pace->source_ratio : 1;
    double guess = (double)rebuild->target.count * ratio + SOURCE_SLACK;
    int64_t wanted = guess < REBUILD_UNITS_MAX ? (int64_t)guess : REBUILD_UNITS_MAX;
    if (so_far > 0) {
        wanted = number_most(so_far, SOURCE_LEAST);
    }
    return ask(rebuild, false, number_least(wanted, REBUILD_UNITS_MAX));
}

static bool target_is_read(const struct rebuild *rebuild)
{
    return rebuild->low.target <= rebuild->floor.target;
}

static bool source_is_read(const struct rebuild *rebuild)
{
    return rebuild->low.source <= rebuild->floor.source;
}

/* --- what a block gives ------------------------------------------------------------------------------------------- */

static struct offset_run forwards(const struct rebuild *rebuild, const struct offset_run *run)
{
    return (struct offset_run){rebuild->open.top.source - run->source_first - run->length,
                               rebuild->open.top.target - run->target_first - run->length,
                               run->length};
}

/* Runs as they are, oldest first; unknown[i]: behind run i stand records, of either side, that have no pair. */
struct found {
    struct offset_run *runs;
    bool *unknown;
    size_t count;
    size_t left; /* target units below the lowest pair */
};

static int64_t first_of(const struct offset_run *run, bool of_target)
{
    return of_target ? run->target_first : run->source_first;
}

/* @return units below the lowest pair */
static size_t mark_unpaired(struct found *found, const struct pair_list *units, bool of_target,
                            const struct offset_map *pairs)
{
    size_t at = 0; /* first run, from the top, that does not end above the unit */
    for (size_t i = 0; i < units->count; i++) {
        int64_t unit = units->units[i].first;
        while (at < found->count &&
               unit >= first_of(&pairs->runs[at], of_target) + pairs->runs[at].length) {
            at++;
        }
        if (at == found->count) {
            return units->count - i;
        }
        if (unit < first_of(&pairs->runs[at], of_target)) {
            found->unknown[found->count - 1 - at] = true;
        }
    }
    return 0;
}

static void found_make(struct found *found, const struct rebuild *rebuild,
                       const struct offset_map *pairs)
{
    size_t count = pairs->runs_count;
    *found = (struct found){.runs = calloc(count + 1, sizeof(*found->runs)),
                            .unknown = calloc(count + 1, sizeof(*found->unknown)),
                            .count = count};
    if (found->runs == NULL || found->unknown == NULL) {
        abort(); /* bounded by REBUILD_UNITS_MAX */
    }
    for (size_t i = 0; i < count; i++) {
        found->runs[count - 1 - i] = forwards(rebuild, &pairs->runs[i]);
    }
    (void)mark_unpaired(found, &rebuild->source, false, pairs);
    found->left = mark_unpaired(found, &rebuild->target, true, pairs);
}

static void found_done(struct found *found)
{
    free(found->runs);
    free(found->unknown);
}

static struct offset_place begin_of(const struct offset_run *run)
{
    return (struct offset_place){run->source_first, run->target_first};
}

static void fill_piece(struct offset_piece *piece, const struct found *found, size_t at)
{
    size_t left = found->count - at;
    piece->runs_count = left < OFFSET_MAP_PACK ? left : OFFSET_MAP_PACK;
    for (size_t i = 0; i < piece->runs_count; i++) {
        piece->runs[i] = found->runs[at + i];
        if (i > 0 && found->unknown[at + i - 1]) {
            piece->unknown |= (uint64_t)1 << i;
        }
    }
    piece->tail_unknown = piece->runs_count > 0 && found->unknown[at + piece->runs_count - 1];
}

static void keep_pace(struct rebuild *rebuild, const struct found *found)
{
    struct rebuild_pace *pace = rebuild->pace;
    int64_t offsets = number_most(rebuild->open.top.target - rebuild->low.target, 1);
    int64_t each = number_most(rebuild->target_bytes / offsets, 1);
    int64_t span = number_least(REBUILD_BLOCK_BYTES / each, pace->span * SPAN_GROWTH);
    pace->span = number_most(number_least(span, REBUILD_SPAN_MAX), SPAN_LEAST);
    size_t paired = rebuild->target.count - found->left;
    if (found->count > 0 && paired > 0) {
        int64_t source = rebuild->open.top.source - found->runs[0].source_first;
        pace->source_ratio = (double)source / (double)paired;
    }
}

/* Below the lowest pair: are there records of the target without a pair, or were there any (compaction leaves nothing)? */
static bool rest_is_unknown(const struct rebuild *rebuild, const struct found *found)
{
    const struct pair_list *target = &rebuild->target;
    int64_t missing = target->count == 0 ? 0 : target->units[target->count - 1].missing;
    return found->left > 0 || target->missing > missing;
}

/* @param whole  nothing of ours stands below in the stretch: what was found reaches down to its beginning */
static enum rebuild_need store(struct rebuild *rebuild, const struct found *found, bool whole)
{
    size_t count = (found->count + OFFSET_MAP_PACK - 1) / OFFSET_MAP_PACK;
    count = count == 0 ? 1 : count;
    assert(whole || found->count > 0);
    rebuild->pieces = must(calloc(count, sizeof(*rebuild->pieces)));
    rebuild->pieces_count = count;
    for (size_t i = 0; i < count; i++) {
        struct offset_piece *piece = &rebuild->pieces[i];
        fill_piece(piece, found, i * OFFSET_MAP_PACK);
        piece->span.begin = i == 0 && whole ? rebuild->open.stretch.begin
                                            : begin_of(&found->runs[i * OFFSET_MAP_PACK]);
        piece->span.until = rebuild->open.top;
        if (i > 0) {
            rebuild->pieces[i - 1].span.until = piece->span.begin;
        }
    }
    if (whole && rest_is_unknown(rebuild, found)) {
        struct offset_piece *lowest = &rebuild->pieces[0];
        lowest->unknown |= lowest->runs_count > 0;
        lowest->tail_unknown = lowest->tail_unknown || lowest->runs_count == 0;
    }
    keep_pace(rebuild, found);
    return REBUILD_STORE;
}

/* --- the ends ----------------------------------------------------------------------------------------------------- */

static enum rebuild_need stop_source_begins(struct rebuild *rebuild)
{
    err_set(&rebuild->why, ERR_REFUSED, "the source's log begins at offset %lld",
            (long long)rebuild->source_start);
    return REBUILD_STOP;
}

static enum rebuild_need stop_target_begins(struct rebuild *rebuild)
{
    err_set(&rebuild->why, ERR_REFUSED,
            rebuild->older
                ? "target offsets below %lld were written by an older generation of the stream"
                : "the target's log begins at offset %lld",
            (long long)rebuild->floor.target);
    return REBUILD_STOP;
}

static enum rebuild_need stop_gone(struct rebuild *rebuild)
{
    if (rebuild->source_start > rebuild->open.stretch.begin.source && rebuild->source.count == 0) {
        return stop_source_begins(rebuild);
    }
    err_set(&rebuild->why, ERR_REFUSED,
            "records of the target at and below offset %lld are not at the source any more",
            (long long)(rebuild->open.top.target - 1 - rebuild->target.units[0].first));
    return REBUILD_STOP;
}

static enum rebuild_need stop_contrary(struct rebuild *rebuild, const struct pairing *pairing)
{
    static const char *const texts[] = {
        [PAIRING_NEED_MORE] = "is not found among the source's next records",
        [PAIRING_HOLE] = "stands behind source records that the target does not hold",
        [PAIRING_ORDER] = "stands in another order than at the source",
        [PAIRING_STRANGER] = "is none that the source holds",
        [PAIRING_AMBIGUOUS] = "is one of several equal ones, of which the source lost some",
    };
    const char *text =
        pairing->verdict < sizeof(texts) / sizeof(texts[0]) ? texts[pairing->verdict] : NULL;
    int64_t at = pairing->at_target; /* backwards */
    err_set(&rebuild->why, ERR_REFUSED, "the record at target offset %lld %s",
            (long long)(rebuild->open.top.target - 1 - at),
            text == NULL ? "cannot be paired" : text);
    return REBUILD_STOP;
}

/* All of ours that the target holds in the stretch has its pair. */
static enum rebuild_need bottom(struct rebuild *rebuild, const struct found *found)
{
    bool whole = !rebuild->older && rebuild->floor.target <= rebuild->open.stretch.begin.target;
    return whole || found->count > 0 ? store(rebuild, found, whole) : stop_target_begins(rebuild);
}

static bool may_be_further(const struct rebuild *rebuild, const struct pairing *pairing,
                           const struct found *found)
{
    if (source_is_read(rebuild) || rebuild->source.count >= REBUILD_UNITS_MAX) {
        return false;
    }
    if (found->count == 0) {
        return true;
    }
    size_t beyond = 0;
    for (size_t i = rebuild->source.count;
         i > 0 && rebuild->source.units[i - 1].first >= pairing->source_next; i--) {
        beyond++;
    }
    return beyond < 2 * found->left + BEYOND_RECORDS;
}

static bool more_target_may_be(const struct rebuild *rebuild)
{
    return !target_is_read(rebuild) && rebuild->target.count < REBUILD_UNITS_MAX;
}

static enum rebuild_need judge(struct rebuild *rebuild, const struct pairing *pairing,
                               const struct found *found)
{
    bool done = pairing->verdict == PAIRING_DONE;
    if (done && found->left == 0 && target_is_read(rebuild)) {
        return bottom(rebuild, found);
    }
    if (pairing->verdict == PAIRING_NEED_MORE && may_be_further(rebuild, pairing, found)) {
        return more_source(rebuild);
    }
    if (found->count > 0) { /* what is below may fit from there on, or stops it then */
        bool whole = found->runs[0].source_first <= rebuild->open.stretch.begin.source;
        return store(rebuild, found, whole);
    }
    if ((done || pairing->verdict == PAIRING_NEED_MORE) && rebuild->source.count > 0 &&
        more_target_may_be(rebuild)) {
        return more_target(rebuild);
    }
    return done ? stop_gone(rebuild) : stop_contrary(rebuild, pairing);
}

static enum rebuild_need pair_block(struct rebuild *rebuild)
{
    struct pairing pairing;
    struct found found;
    pairing_run(&pairing, &rebuild->target, &rebuild->source, 0, false, false,
                source_is_read(rebuild), -1);
    found_make(&found, rebuild, &pairing.runs);
    enum rebuild_need need = judge(rebuild, &pairing, &found);
    found_done(&found);
    pairing_done(&pairing);
    return need;
}

/* --- what the driver calls ---------------------------------------------------------------------------------------- */

enum rebuild_need rebuild_begin(struct rebuild *rebuild, const struct rebuild_options *options,
                                struct rebuild_pace *pace, const struct offset_open *open,
                                int64_t source_start, int64_t target_start)
{
    const struct offset_place *begin = &open->stretch.begin;
    assert(!offset_open_done(open));
    *rebuild = (struct rebuild){
        .options = *options,
        .pace = pace,
        .open = *open,
        .source_start = source_start,
        .target_start = target_start,
        .floor = {number_most(begin->source, source_start),
                  number_most(begin->target, target_start)},
        .low = open->top
    };
    pair_list_init(&rebuild->read);
    pair_list_init(&rebuild->target);
    pair_list_init(&rebuild->source);
    if (pace->span == 0) {
        pace->span = REBUILD_SPAN_FIRST;
    }
    if (rebuild->floor.target >= open->top.target) { /* nothing of ours is left there */
        return bottom(rebuild, &(struct found){0});
    }
    return rebuild->floor.source >= open->top.source ? stop_source_begins(rebuild)
                                                     : more_target(rebuild);
}

void rebuild_done(struct rebuild *rebuild)
{
    pair_list_done(&rebuild->read);
    pair_list_done(&rebuild->target);
    pair_list_done(&rebuild->source);
    free(rebuild->pieces);
    *rebuild = (struct rebuild){0};
}

static bool add_records(struct rebuild *rebuild, const struct batch *batch,
                        const struct config_filter *filter, struct err *err)
{
    const struct pair_reading reading = {.max_bytes = REBUILD_BATCH_BYTES_MAX,
                                         .from = rebuild->expected,
                                         .to = rebuild->ask_to,
                                         .filter = filter};
    int64_t next = batch_next_offset(batch);
    if (!pair_list_records(&rebuild->read, batch, &reading, err)) {
        return false;
    }
    rebuild->expected = number_least(next, rebuild->ask_to);
    return true;
}

/* Nothing of the batch is asked for. */
static bool outside(const struct rebuild *rebuild, const struct batch *batch)
{
    return batch_next_offset(batch) <= rebuild->expected || batch->base_offset >= rebuild->ask_to;
}

bool rebuild_target_batch(struct rebuild *rebuild, const struct batch *batch, struct err *err)
{
    int32_t generation = -1;
    if (outside(rebuild, batch)) {
        return true;
    }
    int64_t next = number_least(batch_next_offset(batch), rebuild->ask_to);
    rebuild->target_bytes += (int64_t)batch->len;
    bool ours = batch->magic == 2 && !batch_is_control(batch) && /* ours is never old */
                (rebuild->options.by_content ||
                 sequence_id_ours(rebuild->options.id_base, batch->producer_id, &generation));
    if (rebuild->options.by_content) {
        generation = rebuild->options.generation;
    }
    if (ours && generation < rebuild->options.generation) { /* another incarnation's: below it */
        pair_list_clear(&rebuild->read);
        rebuild->floor.target = next;
        rebuild->older = true;
        rebuild->expected = next;
        return true;
    }
    pair_list_missing(&rebuild->read, rebuild->expected, batch->base_offset);
    if (!ours || generation != rebuild->options.generation) {
        rebuild->expected = next;
        return true;
    }
    rebuild->expected = number_most(rebuild->expected, batch->base_offset);
    return add_records(rebuild, batch, NULL, err);
}

bool rebuild_source_batch(struct rebuild *rebuild, const struct batch *batch, bool kept,
                          struct err *err)
{
    if (outside(rebuild, batch)) {
        return true;
    }
    if (batch->magic < 2) { /* where it begins stands inside */
        return add_records(rebuild, batch, rebuild->options.filter, err);
    }
    pair_list_missing(&rebuild->read, rebuild->expected, batch->base_offset);
    rebuild->expected = number_most(rebuild->expected, batch->base_offset);
    if (batch->count == 0 && !batch_is_control(batch)) { /* compaction kept the header alone */
        int64_t next = number_least(batch_next_offset(batch), rebuild->ask_to);
        pair_list_missing(&rebuild->read, rebuild->expected, next);
        rebuild->expected = next;
        return true;
    }
    if (kept) {
        return add_records(rebuild, batch, rebuild->options.filter, err);
    }
    rebuild->expected = number_least(batch_next_offset(batch), rebuild->ask_to);
    return true;
}

enum rebuild_need rebuild_read_end(struct rebuild *rebuild, bool of_target)
{
    pair_list_missing(&rebuild->read, rebuild->expected, rebuild->ask_to);
    if (of_target) {
        pair_list_backwards(&rebuild->target, &rebuild->read, rebuild->open.top.target);
        rebuild->low.target = number_most(rebuild->ask_from, rebuild->floor.target);
    } else {
        pair_list_backwards(&rebuild->source, &rebuild->read, rebuild->open.top.source);
        rebuild->low.source = rebuild->ask_from;
        if (source_is_read(rebuild)) { /* what retention removed stood there */
            pair_list_missing(&rebuild->source, rebuild->open.stretch.begin.source,
                              rebuild->floor.source);
        }
    }
    pair_list_clear(&rebuild->read);
    if (rebuild->target.count == 0) { /* foreign records alone so far */
        return target_is_read(rebuild) ? bottom(rebuild, &(struct found){0}) : more_target(rebuild);
    }
    bool source_begun = rebuild->low.source < rebuild->open.top.source;
    return source_begun ? pair_block(rebuild) : more_source(rebuild);
}
