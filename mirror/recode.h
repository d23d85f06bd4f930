/* Makes batches that the target takes out of those that may not pass: a queue of neighbours goes in, dense batches come
 * out, with the exact runs of source offsets. Pure: no I/O, memory alone.
 *
 * Promises: a source batch's checksum is verified before anything of it is used. Records come out in order, each at most
 * once, with key, value, headers and the timestamp that consumers of the source see. Every source offset that holds a
 * record which belongs is in exactly one run; what holds none is in no run. At most `plain_bytes_max` bytes of one batch
 * are decompressed at a time, and at most 64 times its size beyond the first 16 MiB.
 */
#ifndef FERRY_MIRROR_RECODE_H
#define FERRY_MIRROR_RECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "config/config.h"
#include "kafka/batch.h"
#include "mirror/record_filter.h"

#define RECODE_BATCH_BYTES \
    ((size_t)1 << 20) /* of a batch made: brokers take 1,048,588 bytes unless told otherwise */
/* Not larger: worth to be merged with its neighbours. What is not compressed costs a copy and two checksums alone, and where
 * each batch waits for replicas or a long line, one of 240 KiB waits once instead of fifteen times; what is compressed
 * would have to be compressed again. */
#define RECODE_SMALL_BYTES       4096
#define RECODE_PLAIN_SMALL_BYTES ((size_t)64 << 10)
/* Of neighbours: what is made fits a block of 64 or 256 KiB. */
#define RECODE_MERGE_BYTES       ((size_t)60 << 10)
#define RECODE_PLAIN_MERGE_BYTES ((size_t)240 << 10)
#define RECODE_MERGE_LEAST       4 /* fewer small ones pass as they are: then nobody waits behind them */
#define RECODE_ITEMS_MAX \
    1024 /* a batch has 68 bytes at least: 60 KiB hold 900; a copy for each is dear already */

struct recode_options {
    struct buf_pool *pool;  /* where what is made lives; NULL = heap */
    size_t plain_bytes_max; /* of one source batch in memory, decompressed */
    bool merge;             /* small neighbours that may pass, too */
    bool other_codec;       /* the line has a codec of its own: `codec`; else the source's */
    enum batch_codec codec;
    const struct config_filter *filter; /* borrowed; NULL = none */
};

struct recode_run { /* source offsets of consecutive records */
    int64_t source_first;
    int32_t count;
};

struct recoded { /* one dense batch */
    struct buf *block;
    int32_t count;
    int32_t leader_epoch;
    int64_t source_first; /* of its first record */
    int64_t source_next;  /* behind its last one and what holds none behind that */
    struct recode_run *runs;
    size_t runs_count;
};

struct recode_counts {
    uint64_t batches[BATCH_VERDICTS_COUNT]; /* source batches that were re-encoded, by reason */
    uint64_t records[RECORD_VERDICTS_COUNT];
    uint64_t made; /* batches that came out */
};

struct recode;
struct recode *recode_new(const struct recode_options *options);
void recode_free(struct recode *recode);
/* From now on; the configuration may be read again while it runs. */
void recode_plain_bytes(struct recode *recode, size_t plain_bytes_max);
const struct recode_counts *recode_counts(const struct recode *recode);
struct recode_item { /* a source batch that waits for its neighbours */
    struct batch batch;
    int64_t
        position; /* records from here on; where the log is fetched again if this one is broken */
    int32_t epoch_before; /* of the batch before it */
    enum batch_verdict why;
};

/* May it pass, but is it wanted to be merged with its neighbours?
 * @param waits  the target answers late: its partition has replicas to wait for, or stands far away */
bool recode_small(const struct recode *recode, const struct batch *batch, bool waits);
/* May it stand behind what is queued? Same codec, kind of timestamp, format and leader epoch, and room. */
bool recode_joins(const struct recode *recode, const struct batch *batch);
/* @param why  what keeps it from passing; BATCH_SMALL = nothing does */
void recode_push(struct recode *recode, const struct recode_item *item);
const struct recode_item *recode_items(const struct recode *recode, size_t *out_count);
/* Is it worth it, or may each pass as it is? */
bool recode_wanted(const struct recode *recode);
/* Queue it no more. */
void recode_clear(struct recode *recode);

/* Re-encode what is queued, and queue it no more.
 *
 * @param bytes_max  of a batch made, unless one record alone is larger; 0 = RECODE_BATCH_BYTES
 * @param out_failed on false: the item that is broken; its records before the broken place came out
 * @param out_why    on false: BATCH_CORRUPT or BATCH_BOMB; BATCH_PASSES: out of memory
 * @return false when an item's checksum or its records are not what they claim, or it is too large decompressed.
 *         What stands before it is made in any case
 */
MUST_CHECK
bool recode_run(struct recode *recode, size_t bytes_max, struct recode_item *out_failed,
                enum batch_verdict *out_why, struct err *err);
/* What was made, oldest first: block and runs are the caller's (buf_unref, free). false: no more. */
bool recode_take(struct recode *recode, struct recoded *out);
/* How far the last recode_run() came: everything before is in what it made, or holds nothing that belongs. */
int64_t recode_reached(const struct recode *recode);

#endif
