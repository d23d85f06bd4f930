/* Builds a RecordBatch v2 from records: dense, CreateTime, no transaction, nobody's producer id. What a mirror sends
 * when it cannot pass the source's own batch.
 */
#ifndef FERRY_KAFKA_BATCH_BUILD_H
#define FERRY_KAFKA_BATCH_BUILD_H

#include "base/buf.h"
#include "kafka/batch.h"

struct batch_build {
    struct writer records; /* as they stand in the batch, not compressed */
    int32_t count;
    int64_t base_timestamp; /* of the first record: the others' are relative to it */
    int64_t max_timestamp;
};

void batch_build_init(struct batch_build *build);
void batch_build_done(struct batch_build *build);
/* Empty again; keeps its memory. */
void batch_build_clear(struct batch_build *build);
/* One more record: offset delta = records before it; key, value, headers, timestamp as they are. Its offset is the
 * caller's to remember. */
void batch_build_add(struct batch_build *build, const struct record *record);
/* Bytes of the batch if it is not compressed, header included. */
static inline size_t batch_build_bytes(const struct batch_build *build)
{
    return BATCH_HEADER_BYTES + build->records.len;
}
/* At most so many bytes does this record add. */
size_t batch_build_record_bytes(const struct record *record);
/* Append the batch (base offset 0, this leader epoch) to `out`. @return false with ERR_RETRY: out of memory; `out` is as
 * it was. @pre at least one record */
MUST_CHECK
bool batch_build_write(const struct batch_build *build, enum batch_codec codec,
                       int32_t leader_epoch, struct writer *out, struct err *err);
/* The batch uncompressed, as a block of `pool` with one reference. @pre at least one record */
struct buf *batch_build_block(const struct batch_build *build, int32_t leader_epoch,
                              struct buf_pool *pool);

#endif
