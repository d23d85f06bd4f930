#include "tests/fake/batches.h"

#include <assert.h>
#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include "kafka/crc32c.h"
#include "kafka/wire.h"

#define JAVA_BLOCK_BYTES ((size_t)32 << 10) /* what the Java library cuts its input into */

static void put_field(struct writer *writer, const char *data, int64_t len)
{
    wire_put_varlong(writer, data == NULL ? -1 : len);
    if (data != NULL) {
        writer_bytes(writer, data, (size_t)len);
    }
}

static int64_t text_len(const char *text)
{
    return text == NULL ? -1 : (int64_t)strlen(text);
}

static void put_record(struct writer *writer, const struct fake_record *record, int32_t delta)
{
    struct writer body;
    int64_t value_len =
        record->value_len > 0 ? (int64_t)record->value_len : text_len(record->value);

    writer_init(&body);
    writer_i8(&body, 0);
    wire_put_varlong(&body, record->timestamp_delta);
    wire_put_varlong(&body, delta);
    put_field(&body, record->key,
              record->key_len > 0 ? (int64_t)record->key_len : text_len(record->key));
    put_field(&body, record->value, value_len);
    wire_put_varlong(&body, record->headers_count);
    for (int32_t i = 0; i < record->headers_count; i++) {
        put_field(&body, record->headers[i].key, text_len(record->headers[i].key));
        put_field(&body, record->headers[i].value, text_len(record->headers[i].value));
    }
    wire_put_varlong(writer, (int64_t)body.len);
    writer_bytes(writer, body.data, body.len);
    writer_done(&body);
}

/* --- codecs ---------------------------------------------------------------------------------------------------- */

static size_t gzip(uint8_t *out, size_t room, const uint8_t *data, size_t len)
{
    z_stream stream = {0};

    int rc =
        deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    assert(rc == Z_OK);
    stream.next_in = (z_const Bytef *)(uintptr_t)data;
    stream.avail_in = (uInt)len;
    stream.next_out = out;
    stream.avail_out = (uInt)room;
    rc = deflate(&stream, Z_FINISH);
    assert(rc == Z_STREAM_END);
    (void)rc;
    size_t out_len = room - stream.avail_out;
    deflateEnd(&stream);
    return out_len;
}

static size_t snappy_raw(uint8_t *out, size_t room, const uint8_t *data, size_t len)
{
    snappy_status status = snappy_compress((const char *)data, len, (char *)out, &room);
    assert(status == SNAPPY_OK);
    (void)status;
    return room;
}

static size_t snappy_java(uint8_t *out, size_t room, const uint8_t *data, size_t len)
{
    static const uint8_t head[16] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1};
    size_t at = sizeof(head);

    memcpy(out, head, sizeof(head));
    while (len > 0) {
        size_t part = len < JAVA_BLOCK_BYTES ? len : JAVA_BLOCK_BYTES;
        size_t block = snappy_raw(out + at + 4, room - at - 4, data, part);
        out[at] = (uint8_t)(block >> 24);
        out[at + 1] = (uint8_t)(block >> 16);
        out[at + 2] = (uint8_t)(block >> 8);
        out[at + 3] = (uint8_t)block;
        at += 4 + block;
        data += part;
        len -= part;
    }
    return at;
}

uint8_t *fake_compress(enum batch_codec codec, bool java_snappy, const uint8_t *data, size_t len,
                       size_t *out_len)
{
    size_t room = 2 * len + 65536; /* above every codec's bound */
    uint8_t *out = malloc(room);

    assert(out != NULL);
    switch (codec) {
    case CODEC_NONE:
        memcpy(out, data, len);
        *out_len = len;
        break;
    case CODEC_GZIP:
        *out_len = gzip(out, room, data, len);
        break;
    case CODEC_SNAPPY:
        *out_len =
            java_snappy ? snappy_java(out, room, data, len) : snappy_raw(out, room, data, len);
        break;
    case CODEC_LZ4:
        *out_len = LZ4F_compressFrame(out, room, data, len, NULL);
        break;
    case CODEC_ZSTD:
        *out_len = ZSTD_compress(out, room, data, len, 3);
        break;
    }
    return out;
}

/* --- batches --------------------------------------------------------------------------------------------------- */

struct totals {
    int32_t last_delta;
    int64_t max_timestamp;
};

static struct totals put_records(struct writer *writer, const struct fake_batch *batch)
{
    struct totals totals = {.last_delta = -1, .max_timestamp = batch->base_timestamp};

    for (int32_t i = 0; i < batch->count; i++) {
        const struct fake_record *record = &batch->records[i];
        int64_t timestamp = batch->base_timestamp + record->timestamp_delta;
        totals.last_delta = record->offset_delta < 0 ? totals.last_delta + 1 : record->offset_delta;
        put_record(writer, record, totals.last_delta);
        totals.max_timestamp = timestamp > totals.max_timestamp ? timestamp : totals.max_timestamp;
    }
    return totals;
}

static void put_header(struct writer *writer, const struct fake_batch *batch, struct totals totals,
                       size_t records_len)
{
    writer_i64(writer, batch->base_offset);
    writer_i32(writer, (int32_t)(BATCH_HEADER_BYTES - BATCH_LENGTH_PREFIX + records_len));
    writer_i32(writer, batch->leader_epoch);
    writer_i8(writer, 2);
    writer_u32(writer, 0);
    writer_i16(writer, (int16_t)(batch->attributes | (int16_t)batch->codec));
    writer_i32(writer, batch->last_offset_delta < 0 ? totals.last_delta : batch->last_offset_delta);
    writer_i64(writer, batch->base_timestamp);
    writer_i64(writer, batch->max_timestamp != 0 ? batch->max_timestamp : totals.max_timestamp);
    writer_i64(writer, batch->producer_id);
    writer_i16(writer, batch->producer_epoch);
    writer_i32(writer, batch->base_sequence);
    writer_i32(writer, batch->count);
}

void fake_batch_write(struct writer *writer, const struct fake_batch *batch)
{
    struct writer records;
    size_t begin = writer->len;
    size_t len = 0;

    writer_init(&records);
    struct totals totals = put_records(&records, batch);
    uint8_t *packed = batch->count == 0 ? NULL
                                        : fake_compress(batch->codec, batch->java_snappy,
                                                        records.data, records.len, &len);
    put_header(writer, batch, totals, len);
    writer_bytes(writer, packed == NULL ? (const uint8_t *)"" : packed, len);
    uint32_t crc = crc32c(0, writer->data + begin + 21, writer->len - begin - 21);
    writer_patch_i32(writer, begin + 17, (int32_t)crc);
    free(packed);
    writer_done(&records);
}

void fake_batch_plain(struct writer *writer, int64_t base_offset, int32_t count, size_t value_len,
                      enum batch_codec codec)
{
    struct fake_record *records = calloc((size_t)count, sizeof(*records));
    size_t size = value_len + 24;
    char *values = calloc((size_t)count, size);

    assert(records != NULL && values != NULL);
    for (int32_t i = 0; i < count; i++) {
        char *value = values + (size_t)i * size;
        int len = snprintf(value, size, "v%lld", (long long)(base_offset + i));
        if ((size_t)len < value_len) {
            memset(value + len, '.', value_len - (size_t)len);
        }
        records[i] = (struct fake_record){.timestamp_delta = i, .offset_delta = -1, .value = value};
    }
    struct fake_batch batch = {.base_offset = base_offset,
                               .codec = codec,
                               .last_offset_delta = -1,
                               .base_timestamp = 1700000000000,
                               .producer_id = -1,
                               .producer_epoch = -1,
                               .base_sequence = -1,
                               .records = records,
                               .count = count};
    fake_batch_write(writer, &batch);
    free(values);
    free(records);
}
