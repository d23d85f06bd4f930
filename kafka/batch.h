/* RecordBatch v2 (magic 2, KIP-98): a 61-byte header and a block of records that a relay need not open.
 *
 * Views only: nothing here owns bytes. Every length is checked against the view before it is used.
 * Offsets are int64 as in Kafka; `count` is RecordCount; a batch may hold fewer records than
 * LastOffsetDelta + 1 (inner holes, after compaction).
 */
#ifndef FERRY_KAFKA_BATCH_H
#define FERRY_KAFKA_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define BATCH_HEADER_BYTES  61
#define BATCH_LENGTH_PREFIX 12 /* BaseOffset and Length come before what Length counts */

enum { /* Attributes */
       BATCH_CODEC_MASK = 0x07,
       BATCH_LOG_APPEND_TIME = 0x08,
       BATCH_TRANSACTIONAL = 0x10,
       BATCH_CONTROL = 0x20,
       BATCH_DELETE_HORIZON = 0x40,
};
enum batch_codec { CODEC_NONE, CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD };

struct batch {           /* a decoded header and where its bytes are */
    const uint8_t *data; /* of the whole batch, header included; borrowed */
    size_t len;          /* Length + 12 */
    int64_t base_offset;
    int32_t leader_epoch; /* PartitionLeaderEpoch */
    int8_t magic;
    uint32_t crc; /* as stored */
    int16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t count;
};

static inline int64_t batch_next_offset(const struct batch *batch)
{
    return batch->base_offset + batch->last_offset_delta + 1;
}
static inline bool batch_is_control(const struct batch *batch)
{
    return batch->attributes & BATCH_CONTROL;
}
static inline bool batch_is_transactional(const struct batch *batch)
{
    return batch->attributes & BATCH_TRANSACTIONAL;
}

enum batch_walk { BATCH_WALK_ONE, BATCH_WALK_END, BATCH_WALK_PARTIAL, BATCH_WALK_BAD };

/* Decode the batch at `data`. ONE: *out is filled. END: len is 0. PARTIAL: the answer was cut inside this batch
 * (normal at the end of a Fetch answer). BAD: lengths or counts that no broker writes; `err` says which.
 * Old formats (magic 0, 1; KIP-32) come out as ONE message, of which base_offset, len, magic, crc and the bits of
 * codec and LogAppendTime are set. A compressed one holds others and base_offset is that of its *last* record, so
 * batch_next_offset() is right for them, too. */
enum batch_walk batch_walk(const uint8_t *data, size_t len, struct batch *out, struct err *err);

/* Does the stored CRC match the bytes? (CRC-32C from Attributes to the end; CRC-32 from the magic on in old formats.) */
bool batch_crc_ok(const struct batch *batch);

/* CRC-32C of the record region alone, from the stored CRC and the header by algebra: equal for the same record bytes
 * whatever the header says. The caller has reason to trust the stored CRC (a broker checked it). */
uint32_t batch_records_crc(const struct batch *batch);

#define BATCH_NO_PRODUCER (-1)

/* The header a mirror sends: BaseOffset 0, PartitionLeaderEpoch -1, this producer id, epoch 0, base_sequence (31 bits), or
 * BATCH_NO_PRODUCER, which has neither;
 * transactional, LogAppendTime and delete-horizon bits cleared; CRC recomputed by algebra, so that the producer's own
 * checksum goes end to end.  @param out  gets BATCH_HEADER_BYTES bytes; the records follow from batch->data + 61 */
void batch_patch_header(const struct batch *batch, int64_t producer_id, int32_t base_sequence,
                        uint8_t out[BATCH_HEADER_BYTES]);

/* Why a batch may not be passed as it is; BATCH_PASSES when it may. */
enum batch_verdict {
    BATCH_PASSES,
    BATCH_OLD_FORMAT,        /* magic 0 or 1                                   */
    BATCH_INNER_HOLES,       /* count < LastOffsetDelta + 1                    */
    BATCH_EMPTY,             /* count 0: retained by compaction, offsets only  */
    BATCH_APPEND_TIME,       /* LogAppendTime: readers saw MaxTimestamp        */
    BATCH_TOO_LARGE,         /* over the target's max.message.bytes            */
    BATCH_TIMESTAMP_REFUSED, /* over the target's message.timestamp.after.max.ms */
    BATCH_STRUCTURE,         /* nothing a broker would take                    */
    /* These are the mirror's to say, batch_verdict() does not: */
    BATCH_INSIDE,      /* begins before the position wanted              */
    BATCH_FILTERED,    /* records are filtered by key or header          */
    BATCH_OTHER_CODEC, /* the line has a codec of its own                */
    BATCH_SMALL,       /* too small to be worth a request: merged        */
    BATCH_CORRUPT,     /* checksum or records are not what they claim    */
    BATCH_BOMB,        /* decompresses to more than is taken into memory */
    BATCH_VERDICTS_COUNT,
};
enum batch_verdict batch_verdict(const struct batch *batch, int64_t max_message_bytes,
                                 int64_t max_timestamp);
const char *batch_verdict_text(enum batch_verdict verdict);
const char *
batch_verdict_name(enum batch_verdict verdict); /* one word, for labels: "inner-holes" */

static inline enum batch_codec batch_codec(const struct batch *batch)
{
    return (enum batch_codec)(batch->attributes & BATCH_CODEC_MASK);
}

/* One record inside a batch that is not compressed, or whose records were decompressed. */
struct record {
    int64_t offset;
    int64_t timestamp;    /* what a consumer sees (LogAppendTime: the batch's MaxTimestamp) */
    const uint8_t *key;   /* NULL when null */
    int32_t key_len;      /* -1 when null   */
    const uint8_t *value; /* NULL when null */
    int32_t value_len;
    const uint8_t *headers; /* encoded headers with their count, as stored */
    size_t headers_len;
};

/* Walk the records of a batch, decompressing when needed (at most max_bytes of output: bombs are refused, code
 * CODEC_TOO_LARGE). `each` returns false to stop. false with err when the bytes are not what the header claims.
 * Records of old formats have no headers (their count, 0, is there) and, in magic 0, no timestamp: -1. */
MUST_CHECK
bool batch_each_record(const struct batch *batch, size_t max_bytes,
                       bool (*each)(void *arg, const struct record *record), void *arg,
                       struct err *err);

/* 64-bit hash of what a consumer sees of a record: key, value, headers, timestamp (not its offset). */
uint64_t record_hash(const struct record *record);

#endif
