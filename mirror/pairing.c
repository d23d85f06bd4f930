#include "mirror/pairing.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"

void pair_list_init(struct pair_list *list)
{
    *list = (struct pair_list){0};
}

void pair_list_done(struct pair_list *list)
{
    free(list->units);
    *list = (struct pair_list){0};
}

void pair_list_clear(struct pair_list *list)
{
    list->count = 0;
    list->records_count = 0;
    list->missing = 0;
}

static void pair_list_add(struct pair_list *list, struct pair_unit unit)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 256 : list->capacity * 2;
        /* bounded by resume_read_bytes: 1 GiB of 69-byte batches are 15 M units */
        list->units = must(realloc(list->units, capacity * sizeof(*list->units)));
        list->capacity = capacity;
    }
    unit.missing = list->missing;
    list->units[list->count++] = unit;
    list->records_count += unit.count;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value; /* splitmix64's finalizer: every input bit reaches every output bit */
    hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
    return hash ^ hash >> 31;
}

void pair_list_batch(struct pair_list *list, const struct batch *batch)
{
    uint64_t name = mix(1, batch_records_crc(batch));
    name = mix(name, (uint64_t)batch->len << 32 | (uint32_t)batch->count);
    name = mix(name, (uint64_t)batch->base_timestamp);
    name = mix(name, (uint64_t)batch->max_timestamp);
    name = mix(name, (uint64_t)(batch->attributes & BATCH_CODEC_MASK));
    pair_list_add(list, (struct pair_unit){.name = name,
                                           .first = batch->base_offset,
                                           .next = batch_next_offset(batch),
                                           .count = batch->count,
                                           .leader_epoch = batch->leader_epoch});
}

struct records_arg {
    struct pair_list *list;
    const struct batch *batch;
    const struct pair_reading *reading;
    int64_t expected;
    int32_t left;
};

static bool add_record(void *arg, const struct record *record)
{
    struct records_arg *add = arg;
    bool last = --add->left == 0;
    if (record->offset < add->reading->from ||
        (add->reading->to > 0 && record->offset >= add->reading->to)) {
        return true;
    }
    if (record_filter_judge(add->reading->filter, record) != RECORD_KEPT) {
        pair_list_missing(add->list, add->expected, record->offset);
        add->expected = record->offset + 1;
        return true;
    }
    pair_list_missing(add->list, add->expected, record->offset);
    pair_list_add(add->list, (struct pair_unit){.name = record_hash(record),
                                                .first = record->offset,
                                                .next = last ? batch_next_offset(add->batch)
                                                             : record->offset + 1,
                                                .count = 1,
                                                .leader_epoch = add->batch->leader_epoch});
    add->expected = record->offset + 1;
    return true;
}

bool pair_list_records(struct pair_list *list, const struct batch *batch,
                       const struct pair_reading *reading, struct err *err)
{
    struct records_arg arg = {.list = list,
                              .batch = batch,
                              .reading = reading,
                              .expected = batch->base_offset,
                              .left = batch->count};
    if (batch->magic < 2 ||
        arg.expected < reading->from) { /* where an old one begins stands inside */
        arg.expected = reading->from;
    }
    if (!batch_each_record(batch, reading->max_bytes, add_record, &arg, err)) {
        return err_wrap(err, "batch at offset %lld", (long long)batch->base_offset);
    }
    int64_t end = batch_next_offset(batch);
    pair_list_missing(list, arg.expected, reading->to > 0 && reading->to < end ? reading->to : end);
    return true;
}

void pair_list_missing(struct pair_list *list, int64_t from, int64_t to)
{
    if (to > from) {
        list->missing += to - from;
    }
}

void pair_list_backwards(struct pair_list *list, const struct pair_list *read, int64_t top)
{
    int64_t behind = read->missing; /* missing offsets up to what was added last */
    for (size_t i = read->count; i-- > 0;) {
        const struct pair_unit *unit = &read->units[i];
        assert(unit->count == 1 && unit->first < top);
        list->missing += behind - unit->missing;
        behind = unit->missing;
        int64_t first = top - 1 - unit->first;
        pair_list_add(list, (struct pair_unit){.name = unit->name,
                                               .first = first,
                                               .next = first + 1,
                                               .count = 1,
                                               .leader_epoch = -1}); /* says nothing backwards */
    }
    list->missing += behind;
}

/* --- where does a name stand? an index over one list ------------------------------------------------------------- */
struct name_slot {
    uint64_t name;
    size_t index; /* + 1; 0 = empty */
};
struct name_index {
    struct name_slot *slots;
    size_t mask;
    size_t *later; /* next unit of the same name + 1 */
};

static void name_index_build(struct name_index *index, const struct pair_list *list)
{
    size_t size = 64;
    while (size < list->count * 2) {
        size *= 2;
    }
    index->slots = calloc(size, sizeof(*index->slots));
    index->later = calloc(list->count + 1, sizeof(*index->later));
    if (index->slots == NULL || index->later == NULL) {
        abort();
    }
    index->mask = size - 1;
    for (size_t i = list->count; i-- > 0;) { /* backwards: the slot ends on the earliest */
        size_t at = list->units[i].name & index->mask;
        while (index->slots[at].index != 0 && index->slots[at].name != list->units[i].name) {
            at = (at + 1) & index->mask;
        }
        index->later[i] = index->slots[at].index;
        index->slots[at] = (struct name_slot){.name = list->units[i].name, .index = i + 1};
    }
}

static void name_index_done(struct name_index *index)
{
    free(index->slots);
    free(index->later);
}

/* The first unit of this name at all, in an index that was never advanced; SIZE_MAX: none. */
static size_t name_index_first(const struct name_index *index, uint64_t name)
{
    size_t at = name & index->mask;
    while (index->slots[at].index != 0 && index->slots[at].name != name) {
        at = (at + 1) & index->mask;
    }
    return index->slots[at].index == 0 ? SIZE_MAX : index->slots[at].index - 1;
}

/* The first unit of this name at or after `from`, or SIZE_MAX. Advances the slot, as `from` only grows. */
static size_t name_index_find(struct name_index *index, uint64_t name, size_t from)
{
    size_t at = name & index->mask;
    while (index->slots[at].index != 0 && index->slots[at].name != name) {
        at = (at + 1) & index->mask;
    }
    while (index->slots[at].index != 0 && index->slots[at].index - 1 < from) {
        size_t later = index->later[index->slots[at].index - 1];
        if (later == 0) {
            return SIZE_MAX;
        }
        index->slots[at].index = later;
    }
    return index->slots[at].index == 0 ? SIZE_MAX : index->slots[at].index - 1;
}

/* --- pairing ------------------------------------------------------------------------------------------------------ */
struct pairing_walk {
    struct pairing *out;
    const struct pair_list *target;
    const struct pair_list *source;
    bool any_filter;
    bool repeats;
    bool strangers;
    struct name_index before_index; /* of the source, never advanced: where a name stands first */
    bool before_built;
    struct name_index source_index;
    struct name_index target_index;
    size_t i;             /* next target unit */
    size_t j;             /* next source unit */
    int64_t gone_pending; /* target records without source since the last pair */
    int64_t missing_seen; /* source's missing offsets up to the last pair */
    int64_t target_missing_seen;
};

static void pair(struct pairing_walk *walk)
{
    const struct pair_unit *target = &walk->target->units[walk->i++];
    const struct pair_unit *source = &walk->source->units[walk->j++];
    struct offset_run run = {source->first, target->first, source->count};
    offset_map_append(&walk->out->runs, run);
    walk->out->source_next = source->next;
    walk->out->source_count += source->count;
    walk->out->leader_epoch = source->leader_epoch;
    walk->missing_seen = source->missing;
    walk->target_missing_seen = target->missing;
    walk->gone_pending = 0;
}

static bool fail(struct pairing_walk *walk, enum pairing_verdict verdict, int64_t from, int64_t to)
{
    walk->out->verdict = verdict;
    walk->out->hole_from = from;
    walk->out->hole_to = to;
    walk->out->at_target = walk->target->units[walk->i].first;
    return false;
}

/* Empty source offsets between the last pair and source unit j: as many records may be gone there since. */
static int64_t source_room(const struct pairing_walk *walk)
{
    int64_t missing = walk->j < walk->source->count ? walk->source->units[walk->j].missing
                                                    : walk->source->missing;
    return missing - walk->missing_seen - walk->gone_pending;
}

static void pass_gone(struct pairing_walk *walk, size_t count)
{
    walk->gone_pending += (int64_t)count;
    walk->out->gone_count += (int64_t)count;
    walk->i += count;
}

/* The source's leader changed just where the two logs part, and nothing from there on is at the source: it lost what
 * the target holds (unclean election), nobody forged it. */
static bool lost_by_source(struct pairing_walk *walk, int32_t epoch_before)
{
    if (walk->out->leader_epoch >= 0) {
        epoch_before = walk->out->leader_epoch;
    }
    if (epoch_before < 0 || walk->j == walk->source->count ||
        walk->source->units[walk->j].leader_epoch == epoch_before) {
        return false;
    }
    for (size_t i = walk->i; i < walk->target->count; i++) {
        if (name_index_find(&walk->source_index, walk->target->units[i].name, walk->j) !=
            SIZE_MAX) {
            return false;
        }
    }
    return true;
}

static void pass_foreign(struct pairing_walk *walk)
{
    struct pairing *out = walk->out;
    const struct pair_unit *unit = &walk->target->units[walk->i++];
    out->foreign_from = out->foreign_count == 0 ? unit->first : out->foreign_from;
    out->foreign_to = unit->first + unit->count;
    out->foreign_count += unit->count;
}

/* Where target unit i stands at the source before unit j; SIZE_MAX: nowhere. */
static size_t stands_before(struct pairing_walk *walk)
{
    if (!walk->before_built) {
        name_index_build(&walk->before_index, walk->source);
        walk->before_built = true;
    }
    size_t at = name_index_first(&walk->before_index, walk->target->units[walk->i].name);
    return at < walk->j ? at : SIZE_MAX;
}

/* Target unit i was paired already: it stands there again. */
static bool pass_repeat(struct pairing_walk *walk)
{
    struct pairing *out = walk->out;
    const struct pair_unit *unit = &walk->target->units[walk->i];
    if (!walk->repeats || stands_before(walk) == SIZE_MAX) {
        return false;
    }
    out->repeated_from = out->repeated_count == 0 ? unit->first : out->repeated_from;
    out->repeated_to = unit->first + unit->count;
    out->repeated_count += unit->count;
    walk->i++;
    return true;
}

/* Target unit i is nowhere in the source from unit j on. */
static bool nowhere(struct pairing_walk *walk, bool source_at_end, int32_t epoch_before)
{
    if (walk->repeats && !walk->strangers) {
        return fail(walk, PAIRING_STRANGER, -1, -1);
    }
    if (!source_at_end) {
        return fail(walk, PAIRING_NEED_MORE, -1, -1);
    }
    if (source_room(walk) > 0) {
        /* Of two with the same bytes compaction takes the first: where that one stands, this one was not taken. */
        size_t before = walk->repeats ? SIZE_MAX : stands_before(walk);
        if (before != SIZE_MAX) {
            const struct pair_unit *again = &walk->source->units[before];
            return fail(walk, PAIRING_ORDER, again->first, again->next);
        }
        pass_gone(walk, 1);
        return true;
    }
    bool lost = lost_by_source(walk, epoch_before);
    if (walk->strangers && !lost) {
        pass_foreign(walk);
        return true;
    }
    walk->out->lost_count = lost ? (int64_t)(walk->target->count - walk->i) : 0; /* a record each */
    return fail(walk, lost ? PAIRING_LOST : PAIRING_STRANGER, -1, -1);
}

/* Target unit i does not stand at source unit j. */
static bool mend(struct pairing_walk *walk, bool source_at_end, int32_t epoch_before)
{
    const struct pair_unit *target = &walk->target->units[walk->i];
    const struct pair_unit *skipped = &walk->source->units[walk->j]; /* if there is one */
    size_t at_target = walk->j == walk->source->count
                           ? SIZE_MAX
                           : name_index_find(&walk->target_index, skipped->name, walk->i);
    if (at_target != SIZE_MAX && (int64_t)(at_target - walk->i) <= source_room(walk)) {
        pass_gone(walk, at_target - walk->i); /* what stands before it was removed since */
        return true;
    }
    size_t found = name_index_find(&walk->source_index, target->name, walk->j);
    if (found == SIZE_MAX) {
        return nowhere(walk, source_at_end, epoch_before);
    }
    int64_t until = walk->source->units[found].first;
    if (walk->any_filter) { /* they did not pass the filter of their time */
        walk->j = found;
        return true;
    }
    if (at_target != SIZE_MAX) {
        return fail(walk, PAIRING_ORDER, skipped->first, until);
    }
    /* The target may have compacted them away since: then it has as many empty offsets there. */
    if ((int64_t)(found - walk->j) > target->missing - walk->target_missing_seen) {
        return fail(walk, PAIRING_HOLE, skipped->first, until);
    }
    for (; walk->j < found; walk->j++) {
        walk->out->source_count += walk->source->units[walk->j].count;
    }
    return true;
}

/* --- gaps of the source: some of the target's units may have stood there ------------------------------------------ */

static bool gap_before(const struct pairing_walk *walk)
{
    return walk->j < walk->source->count &&
           walk->source->units[walk->j].missing > walk->missing_seen;
}

/* Do target units from `i` on match the source from unit j on, up to the next gap of either? */
static bool fits_from(const struct pairing_walk *walk, size_t i)
{
    const struct pair_unit *target = &walk->target->units[i];
    const struct pair_unit *source = &walk->source->units[walk->j];
    size_t most = walk->target->count - i;
    most = most < walk->source->count - walk->j ? most : walk->source->count - walk->j;
    for (size_t at = 0; at < most; at++) {
        if (target[at].missing > target->missing || source[at].missing > source->missing) {
            return true;
        }
        if (target[at].name != source[at].name) {
            return false;
        }
    }
    return true;
}

/* Where in the target does it go on behind the gap? SIZE_MAX: nowhere within the room. *out_count: at how many places */
static size_t behind_gap(struct pairing_walk *walk, size_t *out_count)
{
    uint64_t name = walk->source->units[walk->j].name;
    size_t first = name_index_find(&walk->target_index, name, walk->i);
    size_t found = SIZE_MAX;
    *out_count = 0;
    for (size_t i = first;
         i != SIZE_MAX && (int64_t)(i - walk->i) <= source_room(walk) && *out_count < 2;
         i = walk->target_index.later[i] - 1) { /* 0 is the end, and SIZE_MAX then */
        if (fits_from(walk, i)) {
            found = *out_count == 0 ? i : found;
            (*out_count)++;
        }
    }
    return found;
}

static bool cross_gap(struct pairing_walk *walk, bool source_at_end)
{
    size_t count;
    size_t found = behind_gap(walk, &count);
    if (count > 1) {
        return fail(walk, source_at_end ? PAIRING_AMBIGUOUS : PAIRING_NEED_MORE, -1, -1);
    }
    if (count == 1) {
        pass_gone(walk, found - walk->i);
        pair(walk);
        return true;
    }
    return true;
}

static bool same(const struct pairing_walk *walk)
{
    return walk->j < walk->source->count &&
           walk->target->units[walk->i].name == walk->source->units[walk->j].name &&
           walk->target->units[walk->i].count == walk->source->units[walk->j].count;
}

/* Holes inside a batch: its runs are known from its records alone. */
static bool dense(const struct pair_unit *unit)
{
    return unit->next - unit->first == unit->count;
}

static void pair_batches(struct pairing_walk *walk, bool source_at_end)
{
    while (walk->i < walk->target->count) {
        if (same(walk) && dense(&walk->source->units[walk->j]) && !gap_before(walk)) {
            pair(walk);
            continue;
        }
        bool may_come = walk->j == walk->source->count && !source_at_end;
        walk->out->verdict = may_come ? PAIRING_NEED_MORE : PAIRING_NEED_RECORDS;
        return;
    }
}

static void pair_records(struct pairing_walk *walk, bool source_at_end, int32_t epoch_before)
{
    name_index_build(&walk->source_index, walk->source);
    name_index_build(&walk->target_index, walk->target);
    while (walk->i < walk->target->count) {
        size_t before = walk->i;
        if (walk->repeats && !same(walk) && pass_repeat(walk)) {
            continue;
        }
        if (gap_before(walk) && !cross_gap(walk, source_at_end)) {
            break;
        }
        if (walk->i > before) {
            continue;
        }
        if (same(walk)) {
            pair(walk);
        } else if (!mend(walk, source_at_end, epoch_before)) {
            break;
        }
    }
    name_index_done(&walk->source_index);
    name_index_done(&walk->target_index);
    name_index_done(&walk->before_index); /* if it was built */
}

/* What stands before the position has its place already; offsets that are empty between the two may have held records. */
static void pass_before(struct pairing_walk *walk, int64_t source_from)
{
    const struct pair_list *source = walk->source;
    while (walk->j < source->count && source->units[walk->j].first < source_from) {
        walk->missing_seen = source->units[walk->j++].missing;
    }
}

void pairing_run(struct pairing *out, const struct pair_list *target,
                 const struct pair_list *source, int64_t source_from, bool whole_batches,
                 bool any_filter, bool source_at_end, int32_t epoch_before)
{
    *out = (struct pairing){.verdict = PAIRING_DONE, .source_next = -1, .leader_epoch = -1};
    offset_map_init(&out->runs);
    struct pairing_walk walk = {
        .out = out, .target = target, .source = source, .any_filter = any_filter};
    pass_before(&walk, source_from);
    if (whole_batches) {
        pair_batches(&walk, source_at_end);
    } else {
        pair_records(&walk, source_at_end, epoch_before);
    }
}

void pairing_run_repeats(struct pairing *out, const struct pair_list *target,
                         const struct pair_list *source, int64_t source_from, bool strangers,
                         bool any_filter, bool source_at_end, int32_t epoch_before)
{
    *out = (struct pairing){.verdict = PAIRING_DONE, .source_next = -1, .leader_epoch = -1};
    offset_map_init(&out->runs);
    struct pairing_walk walk = {.out = out,
                                .target = target,
                                .source = source,
                                .any_filter = any_filter,
                                .repeats = true,
                                .strangers = strangers};
    pass_before(&walk, source_from);
    pair_records(&walk, source_at_end, epoch_before);
}

void pairing_done(struct pairing *pairing)
{
    offset_map_done(&pairing->runs);
}

bool pairing_tail_stands_at(const struct pair_list *tail, const struct pair_list *source,
                            size_t last, bool cut_off)
{
    if (tail->count > last + 1 && !cut_off) {
        return false;
    }
    for (size_t back = 0; back < tail->count && back <= last; back++) {
        const struct pair_unit *target = &tail->units[tail->count - 1 - back];
        const struct pair_unit *unit = &source->units[last - back];
        if (target->name != unit->name || target->count != unit->count) {
            return false;
        }
    }
    return true;
}

/* --- one batch ---------------------------------------------------------------------------------------------------- */

static bool same_names(const struct pair_list *a, const struct pair_list *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = a->units[i].name == b->units[i].name;
    }
    return same;
}

bool pairing_same_records(const struct batch *a, const struct batch *b, struct err *err)
{
    const struct pair_reading reading = {.max_bytes = PAIR_BATCH_BYTES_MAX};
    struct pair_list left = {0};
    struct pair_list right = {0};
    pair_list_batch(&left, a);
    pair_list_batch(&right, b);
    bool same = same_names(&left, &right);
    if (!same) { /* the broker may have compressed it anew */
        pair_list_clear(&left);
        pair_list_clear(&right);
        same = pair_list_records(&left, a, &reading, err) &&
               pair_list_records(&right, b, &reading, err) && same_names(&left, &right);
    }
    pair_list_done(&left);
    pair_list_done(&right);
    return same;
}
