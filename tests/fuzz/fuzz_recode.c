/* mirror/recode over a Fetch answer's records: what comes out may pass, holds the records that went in, and the runs name
 * their offsets. The first byte says how: codec of the line, filter, size of what is made, where the position lies, and whether
 * checksums are made right, so that what stands behind them is reached. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "kafka/crc32c.h"
#include "mirror/recode.h"

#define PLAIN_BYTES_MAX ((size_t)1 << 20)

struct sums { /* order matters */
    uint64_t hash;
    uint64_t count;
    int64_t from;
    const struct config_filter *filter;
};

static void need(bool what)
{
    if (!what) {
        abort();
    }
}

static uint64_t mix(uint64_t sum, uint64_t value)
{
    return (sum ^ value) * 0x9e3779b97f4a7c15ull + 1;
}

static bool sum_source(void *arg, const struct record *record)
{
    struct sums *sums = arg;
    if (record->offset >= sums->from && record_filter_judge(sums->filter, record) == RECORD_KEPT) {
        sums->hash = mix(mix(sums->hash, record_hash(record)), (uint64_t)record->offset);
        sums->count++;
    }
    return true;
}

struct made_sums {
    struct sums *sums;
    const struct recoded *made;
    size_t run;
    int32_t in_run;
};

static bool sum_made(void *arg, const struct record *record)
{
    struct made_sums *made = arg;
    need(made->run < made->made->runs_count);
    const struct recode_run *run = &made->made->runs[made->run];
    int64_t offset = run->source_first + made->in_run;
    made->sums->hash = mix(mix(made->sums->hash, record_hash(record)), (uint64_t)offset);
    made->sums->count++;
    if (++made->in_run == run->count) {
        made->run++;
        made->in_run = 0;
    }
    return true;
}

static void take(struct recode *recode, struct sums *out)
{
    struct recoded made;
    struct err err;
    while (recode_take(recode, &made)) {
        struct batch batch;
        need(batch_walk(made.block->data, made.block->len, &batch, &err) == BATCH_WALK_ONE);
        need(batch.len == made.block->len && batch_crc_ok(&batch));
        need(batch_verdict(&batch, INT64_MAX, INT64_MAX) == BATCH_PASSES);
        struct made_sums sums = {.sums = out, .made = &made};
        need(batch_each_record(&batch, PLAIN_BYTES_MAX * 2, sum_made, &sums, &err));
        need(sums.run == made.runs_count && made.source_next > made.source_first);
        buf_unref(made.block);
        free(made.runs);
    }
}

static void run(struct recode *recode, size_t bytes_max, struct sums *before)
{
    struct recode_item failed;
    enum batch_verdict why = BATCH_PASSES;
    struct sums after = {0};
    struct err err = {0};
    bool ok = recode_run(recode, bytes_max, &failed, &why, &err);
    take(recode, &after);
    if (ok) {
        need(after.count == before->count && after.hash == before->hash);
    } else {
        need(err.what[0] != '\0' && (why == BATCH_CORRUPT || why == BATCH_BOMB));
    }
    before->hash = before->count = 0;
}

static void put_be32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

static void mend_checksums(uint8_t *data, size_t size)
{
    struct batch batch;
    struct err err;
    for (size_t at = 0; batch_walk(data + at, size - at, &batch, &err) == BATCH_WALK_ONE;
         at += batch.len) {
        uint8_t *begin = data + at;
        if (batch.magic == 2) {
            put_be32(begin + 17, crc32c(0, begin + 21, batch.len - 21));
        } else {
            put_be32(begin + 12, (uint32_t)crc32_z(0, begin + 16, batch.len - 16));
        }
    }
}

static void look(const uint8_t *data, size_t size, uint8_t how);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    uint8_t *copy = malloc(size);
    need(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    if (data[0] & 64) {
        mend_checksums(copy, size - 1);
    }
    look(copy, size - 1, data[0]);
    free(copy);
    return 0;
}

static void look(const uint8_t *data, size_t size, uint8_t how)
{
    static struct config_pattern globs[] = {{.text = "*1*"}};
    static struct config_header headers[] = {
        {.name = "h", .globs = {.exclude = globs, .exclude_count = 1}}
    };
    static const struct config_filter filter = {
        .key = {.exclude = globs, .exclude_count = 1},
          .headers = headers, .headers_count = 1
    };
    const struct recode_options options = {.plain_bytes_max = PLAIN_BYTES_MAX,
                                           .other_codec = (how & 7) > 0,
                                           .codec = (enum batch_codec)((how & 7) % 5),
                                           .filter = how & 8 ? &filter : NULL};
    size_t bytes_max = how & 16 ? 200 : 0;
    struct recode *recode = recode_new(&options);
    struct sums before = {.filter = options.filter};
    struct batch batch;
    struct err err;
    int64_t next = 0;
    size_t at = 0;
    size_t queued = 0;
    while (batch_walk(data + at, size - at, &batch, &err) == BATCH_WALK_ONE &&
           batch.base_offset >= next) {
        if (!recode_joins(recode, &batch)) {
            run(recode, bytes_max, &before);
            queued = 0;
        }
        before.from = how & 32 ? batch.base_offset + 1 : next;
        /* what cannot be read is refused below; what can is summed up to where it ends */
        if (!batch_each_record(&batch, PLAIN_BYTES_MAX, sum_source, &before, &err)) {
            before.count = UINT64_MAX;
        }
        recode_push(recode, &(struct recode_item){.batch = batch,
                                                  .position = before.from,
                                                  .epoch_before = -1,
                                                  .why = BATCH_INNER_HOLES});
        queued++;
        next = batch_next_offset(&batch);
        at += batch.len;
    }
    if (queued > 0) {
        run(recode, bytes_max, &before);
    }
    recode_free(recode);
}
