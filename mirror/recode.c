#include "mirror/recode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/batch_build.h"
#include "kafka/codec.h"

#define PLAIN_FREE_BYTES ((size_t)16 << 20) /* any batch may become so large */
#define PLAIN_RATIO      64 /* beyond that: text that people write comes to 30 at most */
/* Records of one batch before compression, in sizes of what may come out: more would be cut again afterwards. */
#define GATHER_RATIO 8

struct part { /* a batch in the making */
    struct batch_build build;
    struct recode_run *runs;
    size_t runs_count;
    size_t runs_capacity;
    int64_t source_next;
    int32_t leader_epoch;
};

struct recode {
    struct recode_options options;
    struct recode_counts counts;
    struct recode_item items[RECODE_ITEMS_MAX];
    size_t items_count;
    size_t items_bytes;
    bool must; /* one of them may not pass */
    /* of the run that is under way */
    struct part part;
    struct writer packed; /* scratch: the batch as sent, before it gets a block of its size */
    enum batch_codec codec;
    size_t bytes_max;
    int64_t position;
    int32_t leader_epoch;
    int64_t reached;
    bool failed;
    struct err *err;
    struct recoded *made;
    size_t made_count;
    size_t made_capacity;
    size_t made_taken;
};

static void part_init(struct part *part)
{
    *part = (struct part){.source_next = -1};
    batch_build_init(&part->build);
}

static void part_done(struct part *part)
{
    batch_build_done(&part->build);
    free(part->runs);
}

struct recode *recode_new(const struct recode_options *options)
{
    struct recode *recode = must(calloc(1, sizeof(*recode)));
    recode->options = *options;
    part_init(&recode->part);
    writer_init(&recode->packed);
    return recode;
}

void recode_free(struct recode *recode)
{
    struct recoded left;
    if (recode == NULL) {
        return;
    }
    while (recode_take(recode, &left)) {
        buf_unref(left.block);
        free(left.runs);
    }
    part_done(&recode->part);
    writer_done(&recode->packed);
    free(recode->made);
    free(recode);
}

void recode_plain_bytes(struct recode *recode, size_t plain_bytes_max)
{
    recode->options.plain_bytes_max = plain_bytes_max;
}

const struct recode_counts *recode_counts(const struct recode *recode)
{
    return &recode->counts;
}

/* --- the queue --------------------------------------------------------------------------------------------------- */

/* What must be equal for two batches to become one. */
static int kind(const struct batch *batch)
{
    return (batch->attributes & (BATCH_CODEC_MASK | BATCH_LOG_APPEND_TIME)) | batch->magic << 8;
}

static bool is_plain(const struct batch *batch)
{
    return batch_codec(batch) == CODEC_NONE;
}

bool recode_small(const struct recode *recode, const struct batch *batch, bool waits)
{
    return recode->options.merge &&
           batch->len <= (waits && is_plain(batch) ? RECODE_PLAIN_SMALL_BYTES : RECODE_SMALL_BYTES);
}

bool recode_joins(const struct recode *recode, const struct batch *batch)
{
    if (recode->items_count == 0) {
        return true;
    }
    const struct batch *last = &recode->items[recode->items_count - 1].batch;
    return recode->items_count < RECODE_ITEMS_MAX && kind(last) == kind(batch) &&
           last->leader_epoch == batch->leader_epoch &&
           recode->items_bytes + batch->len <=
               (is_plain(batch) ? RECODE_PLAIN_MERGE_BYTES : RECODE_MERGE_BYTES);
}

void recode_push(struct recode *recode, const struct recode_item *item)
{
    assert(recode_joins(recode, &item->batch));
    recode->items[recode->items_count++] = *item;
    recode->items_bytes += item->batch.len;
    recode->must = recode->must || item->why != BATCH_SMALL;
}

const struct recode_item *recode_items(const struct recode *recode, size_t *out_count)
{
    *out_count = recode->items_count;
    return recode->items;
}

bool recode_wanted(const struct recode *recode)
{
    return recode->must || recode->items_count >= RECODE_MERGE_LEAST;
}

void recode_clear(struct recode *recode)
{
    recode->items_count = 0;
    recode->items_bytes = 0;
    recode->must = false;
}

/* --- a batch is made --------------------------------------------------------------------------------------------- */

static void add_run(struct part *part, int64_t source_offset)
{
    if (part->runs_count > 0) {
        struct recode_run *last = &part->runs[part->runs_count - 1];
        if (last->source_first + last->count == source_offset) {
            last->count++;
            return;
        }
    }
    if (part->runs_count == part->runs_capacity) {
        part->runs_capacity = part->runs_capacity == 0 ? 8 : part->runs_capacity * 2;
        part->runs = must(realloc(part->runs, part->runs_capacity * sizeof(*part->runs)));
    }
    part->runs[part->runs_count++] = (struct recode_run){.source_first = source_offset, .count = 1};
}

static void part_add(struct part *part, const struct record *record, int64_t source_offset)
{
    batch_build_add(&part->build, record);
    add_run(part, source_offset);
    part->source_next = source_offset + 1;
}

static void part_clear(struct part *part)
{
    batch_build_clear(&part->build);
    part->runs_count = 0;
}

static void keep_made(struct recode *recode, const struct part *part, struct buf *block)
{
    if (recode->made_count == recode->made_capacity) {
        recode->made_capacity = recode->made_capacity == 0 ? 8 : recode->made_capacity * 2;
        recode->made = must(realloc(recode->made, recode->made_capacity * sizeof(*recode->made)));
    }
    struct recode_run *runs = must(malloc(part->runs_count * sizeof(*runs)));
    memcpy(runs, part->runs, part->runs_count * sizeof(*runs));
    recode->made[recode->made_count++] = (struct recoded){.block = block,
                                                          .count = part->build.count,
                                                          .leader_epoch = part->leader_epoch,
                                                          .source_first = runs[0].source_first,
                                                          .source_next = part->source_next,
                                                          .runs = runs,
                                                          .runs_count = part->runs_count};
    recode->counts.made++;
}

static bool close_part(struct recode *recode, struct part *part);

struct halving { /* a part that came out too large, dealt out to two */
    const struct part *whole;
    size_t run;
    int32_t in_run;
    struct part halves[2];
};

static bool deal_out(void *arg, const struct record *record)
{
    struct halving *halving = arg;
    const struct recode_run *run = &halving->whole->runs[halving->run];
    int64_t source_offset = run->source_first + halving->in_run;
    bool second = record->offset >= halving->whole->build.count / 2;
    part_add(&halving->halves[second], record, source_offset);
    if (++halving->in_run == run->count) {
        halving->run++;
        halving->in_run = 0;
    }
    return true;
}

static bool close_halves(struct recode *recode, const struct part *whole)
{
    struct halving halving = {.whole = whole};
    struct writer plain;
    struct batch batch;
    writer_init(&plain);
    for (int i = 0; i < 2; i++) {
        part_init(&halving.halves[i]);
        halving.halves[i].leader_epoch = whole->leader_epoch;
    }
    bool ok =
        batch_build_write(&whole->build, CODEC_NONE, whole->leader_epoch, &plain, recode->err) &&
        batch_walk(plain.data, plain.len, &batch, recode->err) == BATCH_WALK_ONE &&
        batch_each_record(&batch, 0, deal_out, &halving, recode->err);
    halving.halves[1].source_next = whole->source_next;
    ok = ok && close_part(recode, &halving.halves[0]) && close_part(recode, &halving.halves[1]);
    for (int i = 0; i < 2; i++) {
        part_done(&halving.halves[i]);
    }
    writer_done(&plain);
    return ok;
}

static bool compress(struct recode *recode, const struct part *part, size_t *out_len)
{
    recode->packed.len = 0;
    if (!batch_build_write(&part->build, recode->codec, part->leader_epoch, &recode->packed,
                           recode->err)) {
        return false;
    }
    *out_len = recode->packed.len;
    return true;
}

static struct buf *block_of(struct recode *recode, const struct part *part)
{
    if (recode->codec == CODEC_NONE) {
        return batch_build_block(&part->build, part->leader_epoch, recode->options.pool);
    }
    struct buf *block = buf_new(recode->options.pool, recode->packed.len);
    memcpy(block->data, recode->packed.data, recode->packed.len);
    block->len = recode->packed.len;
    return block;
}

/* The part becomes a batch, or two or more if it is too large compressed. */
static bool close_part(struct recode *recode, struct part *part)
{
    size_t len = batch_build_bytes(&part->build);
    bool ok = true;
    if (part->build.count == 0) {
        return true;
    }
    if (recode->codec != CODEC_NONE && !compress(recode, part, &len)) {
        ok = false;
    } else if (len > recode->bytes_max && part->build.count > 1) {
        ok = close_halves(recode, part); /* each has fewer records: it ends */
    } else {
        keep_made(recode, part, block_of(recode, part));
    }
    part_clear(part);
    return ok;
}

/* --- records come in --------------------------------------------------------------------------------------------- */

static size_t gather_bytes(const struct recode *recode)
{
    return recode->codec == CODEC_NONE ? recode->bytes_max : recode->bytes_max * GATHER_RATIO;
}

static bool take_record(void *arg, const struct record *record)
{
    struct recode *recode = arg;
    struct part *part = &recode->part;
    if (record->offset < recode->position) {
        return true;
    }
    enum record_verdict verdict = record_filter_judge(recode->options.filter, record);
    recode->counts.records[verdict]++;
    if (verdict == RECORD_KEPT) {
        if (part->build.count > 0 &&
            batch_build_bytes(&part->build) + batch_build_record_bytes(record) >
                gather_bytes(recode) &&
            !close_part(recode, part)) {
            recode->failed = true;
            return false;
        }
        part_add(part, record, record->offset);
        part->leader_epoch = recode->leader_epoch;
    }
    recode->reached = record->offset + 1;
    return true;
}

static size_t plain_most(const struct recode *recode, size_t len)
{
    size_t most = len * PLAIN_RATIO > PLAIN_FREE_BYTES ? len * PLAIN_RATIO : PLAIN_FREE_BYTES;
    return most < recode->options.plain_bytes_max ? most : recode->options.plain_bytes_max;
}

static bool take_item(struct recode *recode, const struct recode_item *item,
                      enum batch_verdict *out_why)
{
    const struct batch *batch = &item->batch;
    *out_why = BATCH_CORRUPT;
    recode->position = item->position;
    recode->leader_epoch = batch->leader_epoch;
    if (!batch_crc_ok(batch)) {
        return err_set(recode->err, ERR_RETRY, "checksum %08x does not fit the bytes", batch->crc);
    }
    if (!batch_each_record(batch, plain_most(recode, batch->len), take_record, recode,
                           recode->err)) {
        if (recode->err->code == CODEC_TOO_LARGE) {
            *out_why = BATCH_BOMB;
        } else if (recode->err->kind == ERR_RETRY) {
            *out_why = BATCH_PASSES;
        }
        return false;
    }
    if (recode->failed) {
        *out_why = BATCH_PASSES;
        return false;
    }
    recode->counts.batches[item->why]++;
    recode->reached = batch_next_offset(batch);
    if (recode->part.build.count > 0) {
        recode->part.source_next = recode->reached;
    }
    return true;
}

static void begin(struct recode *recode, size_t bytes_max, struct err *err)
{
    const struct recode_item *first = &recode->items[0];
    recode->err = err;
    recode->failed = false;
    recode->reached = first->position;
    recode->bytes_max = bytes_max == 0 ? RECODE_BATCH_BYTES : bytes_max;
    recode->codec =
        recode->options.other_codec ? recode->options.codec : batch_codec(&first->batch);
    part_clear(&recode->part);
}

bool recode_run(struct recode *recode, size_t bytes_max, struct recode_item *out_failed,
                enum batch_verdict *out_why, struct err *err)
{
    struct err own;
    bool ok = true;
    assert(recode->items_count > 0 && recode->made_taken == recode->made_count);
    recode->made_count = recode->made_taken = 0;
    begin(recode, bytes_max, err == NULL ? &own : err);
    err_clear(recode->err);
    for (size_t i = 0; ok && i < recode->items_count; i++) {
        ok = take_item(recode, &recode->items[i], out_why);
        if (!ok) {
            *out_failed = recode->items[i];
        }
    }
    struct err closing = {0};
    struct err *first_err = recode->err;
    recode->err = &closing;
    if (!close_part(recode, &recode->part) && ok) {
        ok = false;
        *first_err = closing;
        *out_failed = recode->items[recode->items_count - 1];
        *out_why = BATCH_PASSES;
    }
    recode->err = NULL;
    recode_clear(recode);
    return ok;
}

bool recode_take(struct recode *recode, struct recoded *out)
{
    if (recode->made_taken == recode->made_count) {
        return false;
    }
    *out = recode->made[recode->made_taken++];
    return true;
}

int64_t recode_reached(const struct recode *recode)
{
    return recode->reached;
}
