#include "kafka/batch_build.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "kafka/codec.h"
#include "kafka/crc32c.h"

#define VARLONG_BYTES 10
#define HEAD_BYTES    (5 * VARLONG_BYTES) /* length, attributes, two deltas, length of the key */
#define AT_CRC        17                  /* of the header; what it covers begins behind it */
#define AT_LENGTH     8
#define AT_ATTRIBUTES 21

void batch_build_init(struct batch_build *build)
{
    *build = (struct batch_build){0};
    writer_init(&build->records);
}

void batch_build_done(struct batch_build *build)
{
    writer_done(&build->records);
}

void batch_build_clear(struct batch_build *build)
{
    build->records.len = 0;
    build->count = 0;
}

/* --- records: one head of varints, then bytes as they are -------------------------------------------------------- */

static uint64_t zigzag(int64_t value)
{
    /* cppcheck-suppress shiftTooManyBitsSigned ; arithmetic in gcc and clang */
    return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

static size_t varlong_bytes(int64_t value)
{
    size_t bytes = 1;
    for (uint64_t left = zigzag(value) >> 7; left != 0; left >>= 7) {
        bytes++;
    }
    return bytes;
}

static uint8_t *put_varlong(uint8_t *at, int64_t value)
{
    uint64_t left = zigzag(value);
    for (; left >= 0x80; left >>= 7) {
        *at++ = (uint8_t)(left | 0x80);
    }
    *at++ = (uint8_t)left;
    return at;
}

static uint8_t *put_bytes(uint8_t *at, const uint8_t *data, int64_t len)
{
    if (len > 0) {
        memcpy(at, data, (size_t)len);
        at += len;
    }
    return at;
}

static size_t payload_bytes(const struct record *record)
{
    return (record->key_len > 0 ? (size_t)record->key_len : 0) +
           (record->value_len > 0 ? (size_t)record->value_len : 0) + record->headers_len;
}

size_t batch_build_record_bytes(const struct record *record)
{
    return HEAD_BYTES + VARLONG_BYTES + payload_bytes(record);
}

void batch_build_add(struct batch_build *build, const struct record *record)
{
    struct writer *records = &build->records;

    if (build->count == 0) {
        build->base_timestamp = record->timestamp;
        build->max_timestamp = record->timestamp;
    }
    if (record->timestamp > build->max_timestamp) {
        build->max_timestamp = record->timestamp;
    }
    int64_t timestamp_delta =
        (int64_t)((uint64_t)record->timestamp - (uint64_t)build->base_timestamp);
    size_t body = 1 + varlong_bytes(timestamp_delta) + varlong_bytes(build->count) +
                  varlong_bytes(record->key_len) + varlong_bytes(record->value_len) +
                  payload_bytes(record);
    uint8_t *begin = writer_room(records, VARLONG_BYTES + body);
    uint8_t *at = put_varlong(begin, (int64_t)body);
    *at++ = 0; /* attributes, unused */
    at = put_varlong(at, timestamp_delta);
    at = put_varlong(at, build->count);
    at = put_varlong(at, record->key_len);
    at = put_bytes(at, record->key, record->key_len);
    at = put_varlong(at, record->value_len);
    at = put_bytes(at, record->value, record->value_len);
    at = put_bytes(at, record->headers, (int64_t)record->headers_len);
    records->len += (size_t)(at - begin);
    build->count++;
}

/* --- the batch --------------------------------------------------------------------------------------------------- */

static void put_header(const struct batch_build *build, enum batch_codec codec,
                       int32_t leader_epoch, struct writer *out)
{
    writer_i64(out, 0); /* BaseOffset */
    writer_i32(out, 0); /* Length, known later */
    writer_i32(out, leader_epoch);
    writer_i8(out, 2);
    writer_u32(out, 0); /* CRC, known later */
    writer_i16(out, (int16_t)codec);
    writer_i32(out, build->count - 1);
    writer_i64(out, build->base_timestamp);
    writer_i64(out, build->max_timestamp);
    writer_i64(out, -1); /* ProducerId, ProducerEpoch, BaseSequence: the sink's */
    writer_i16(out, -1);
    writer_i32(out, -1);
    writer_i32(out, build->count);
}

/* What is known only when the records are there. */
static void finish(uint8_t *batch, size_t len)
{
    uint32_t length = htobe32((uint32_t)(len - BATCH_LENGTH_PREFIX));
    uint32_t crc = htobe32(crc32c(0, batch + AT_ATTRIBUTES, len - AT_ATTRIBUTES));

    memcpy(batch + AT_LENGTH, &length, sizeof(length));
    memcpy(batch + AT_CRC, &crc, sizeof(crc));
}

bool batch_build_write(const struct batch_build *build, enum batch_codec codec,
                       int32_t leader_epoch, struct writer *out, struct err *err)
{
    size_t begin = out->len;

    assert(build->count > 0);
    put_header(build, codec, leader_epoch, out);
    if (!codec_compress(codec, build->records.data, build->records.len, out, err)) {
        out->len = begin;
        return false;
    }
    finish(out->data + begin, out->len - begin);
    return true;
}

struct buf *batch_build_block(const struct batch_build *build, int32_t leader_epoch,
                              struct buf_pool *pool)
{
    struct buf *block = buf_new(pool, batch_build_bytes(build));
    struct writer header;

    assert(build->count > 0);
    writer_init(&header);
    put_header(build, CODEC_NONE, leader_epoch, &header);
    memcpy(block->data, header.data, header.len);
    memcpy(block->data + header.len, build->records.data, build->records.len);
    block->len = header.len + build->records.len;
    finish(block->data, block->len);
    writer_done(&header);
    return block;
}
