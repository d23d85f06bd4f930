/* See batch.h. Offsets of the header's fields are those of KIP-98; the CRC covers everything from Attributes on. */
#include "kafka/batch.h"

#include <assert.h>

#include <zlib.h>

#include "base/buf.h"
#include "kafka/batch_old.h"
#include "kafka/codec.h"
#include "kafka/crc32c.h"
#include "kafka/wire.h"

enum { /* where a field begins */
       AT_BASE_OFFSET = 0,
       AT_LENGTH = 8,
       AT_LEADER_EPOCH = 12,
       AT_MAGIC = 16,
       AT_CRC = 17,
       AT_ATTRIBUTES = 21,
       AT_PRODUCER_ID = 43,
       AT_PRODUCER_EPOCH = 51,
       AT_BASE_SEQUENCE = 53,
};
#define COVERED_BYTES \
    (BATCH_HEADER_BYTES - AT_ATTRIBUTES) /* 40: of the header, what the CRC covers */

/* The least that a message of magic 0 is: CRC, magic, attributes, two lengths. */
#define OLD_MESSAGE_MIN_BYTES 14
/* The least that a record is: its length, attributes, two deltas, two lengths, count of headers; a byte each. */
#define RECORD_MIN_BYTES 7

static bool bad(struct err *err, const char *what, int64_t value)
{
    return err_set(err, ERR_REFUSED, "batch: %s %lld", what, (long long)value);
}

static void read_header(struct batch *batch)
{
    struct reader reader = reader_over(batch->data, batch->len);

    reader_bytes(&reader, AT_LEADER_EPOCH); /* BaseOffset and Length are known */
    batch->leader_epoch = reader_i32(&reader);
    batch->magic = reader_i8(&reader);
    batch->crc = reader_u32(&reader);
    batch->attributes = reader_i16(&reader);
    batch->last_offset_delta = reader_i32(&reader);
    batch->base_timestamp = reader_i64(&reader);
    batch->max_timestamp = reader_i64(&reader);
    batch->producer_id = reader_i64(&reader);
    batch->producer_epoch = reader_i16(&reader);
    batch->base_sequence = reader_i32(&reader);
    batch->count = reader_i32(&reader);
    assert(!reader.bad && reader_left(&reader) == batch->len - BATCH_HEADER_BYTES);
}

static void read_old_header(struct batch *batch)
{
    struct reader reader = reader_over(batch->data, batch->len);

    reader_bytes(&reader, BATCH_LENGTH_PREFIX);
    batch->crc = reader_u32(&reader);
    reader_i8(&reader); /* magic, known */
    batch->attributes = (int16_t)(reader_i8(&reader) & (BATCH_CODEC_MASK | BATCH_LOG_APPEND_TIME));
    batch->leader_epoch = -1; /* older than epochs */
    batch->producer_id = -1;
    batch->producer_epoch = -1;
    batch->base_sequence = -1;
    assert(!reader.bad);
}

static bool check_header(const struct batch *batch, struct err *err)
{
    size_t records_len = batch->len - BATCH_HEADER_BYTES;

    if (batch->last_offset_delta < 0) {
        return bad(err, "LastOffsetDelta", batch->last_offset_delta);
    }
    if (batch->base_offset > INT64_MAX - 1 - batch->last_offset_delta) {
        return bad(err, "BaseOffset", batch->base_offset);
    }
    if (batch->count < 0 || batch->count > (int64_t)batch->last_offset_delta + 1) {
        return bad(err, "RecordCount", batch->count);
    }
    if (batch_codec(batch) == CODEC_NONE && (size_t)batch->count > records_len / RECORD_MIN_BYTES) {
        return bad(err, "too few bytes for RecordCount", batch->count);
    }
    return true;
}

enum batch_walk batch_walk(const uint8_t *data, size_t len, struct batch *out, struct err *err)
{
    struct batch batch = {.data = data};
    struct reader reader = reader_over(data, len);

    if (len == 0) {
        return BATCH_WALK_END;
    }
    batch.base_offset = reader_i64(&reader);
    int32_t length = reader_i32(&reader);
    reader_i32(&reader); /* PartitionLeaderEpoch; the CRC of old formats */
    batch.magic = reader_i8(&reader);
    if (reader.bad) {
        return BATCH_WALK_PARTIAL;
    }
    if (batch.base_offset < 0 ||
        batch.base_offset == INT64_MAX) { /* there is an offset behind it */
        bad(err, "BaseOffset", batch.base_offset);
        return BATCH_WALK_BAD;
    }
    if (batch.magic < 0 || batch.magic > 2) {
        bad(err, "magic", batch.magic);
        return BATCH_WALK_BAD;
    }
    if (length <
        (batch.magic == 2 ? BATCH_HEADER_BYTES - BATCH_LENGTH_PREFIX : OLD_MESSAGE_MIN_BYTES)) {
        bad(err, "Length", length);
        return BATCH_WALK_BAD;
    }
    batch.len = (size_t)length + BATCH_LENGTH_PREFIX;
    if (batch.len > len) {
        return BATCH_WALK_PARTIAL;
    }
    if (batch.magic < 2) {
        read_old_header(&batch);
    } else {
        read_header(&batch);
        if (!check_header(&batch, err)) {
            return BATCH_WALK_BAD;
        }
    }
    *out = batch;
    return BATCH_WALK_ONE;
}

bool batch_crc_ok(const struct batch *batch)
{
    if (batch->magic < 2) {
        return crc32_z(0, batch->data + AT_MAGIC, batch->len - AT_MAGIC) == batch->crc;
    }
    return crc32c(0, batch->data + AT_ATTRIBUTES, batch->len - AT_ATTRIBUTES) == batch->crc;
}

uint32_t batch_records_crc(const struct batch *batch)
{
    uint32_t header_crc = crc32c(0, batch->data + AT_ATTRIBUTES, COVERED_BYTES);
    return batch->crc ^ crc32c_shift(header_crc, batch->len - BATCH_HEADER_BYTES);
}

static void put_be(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = bytes; i > 0; i--, value >>= 8) {
        at[i - 1] = (uint8_t)value;
    }
}

/* The stored CRC, changed by what the header's change makes of it: bytes that differ, shifted over the records. */
static uint32_t patched_crc(const struct batch *batch, const uint8_t *header)
{
    uint8_t change[COVERED_BYTES];

    for (size_t i = 0; i < COVERED_BYTES; i++) {
        change[i] = batch->data[AT_ATTRIBUTES + i] ^ header[AT_ATTRIBUTES + i];
    }
    return batch->crc ^
           crc32c_shift(crc32c_raw(change, sizeof(change)), batch->len - BATCH_HEADER_BYTES);
}

void batch_patch_header(const struct batch *batch, int64_t producer_id, int32_t base_sequence,
                        uint8_t out[BATCH_HEADER_BYTES])
{
    uint16_t attributes = (uint16_t)batch->attributes;

    assert(batch->magic == 2 && base_sequence >= 0);
    attributes &= (uint16_t)~(BATCH_TRANSACTIONAL | BATCH_LOG_APPEND_TIME | BATCH_DELETE_HORIZON);
    memcpy(out, batch->data, BATCH_HEADER_BYTES);
    put_be(out + AT_BASE_OFFSET, 0, 8);
    put_be(out + AT_LEADER_EPOCH, UINT32_MAX, 4); /* -1: the broker writes its own */
    put_be(out + AT_ATTRIBUTES, attributes, 2);
    put_be(out + AT_PRODUCER_ID, (uint64_t)producer_id, 8);
    bool is_none = producer_id == BATCH_NO_PRODUCER;
    put_be(out + AT_PRODUCER_EPOCH, is_none ? UINT16_MAX : 0, 2);
    put_be(out + AT_BASE_SEQUENCE, is_none ? UINT32_MAX : (uint64_t)base_sequence, 4);
    put_be(out + AT_CRC, patched_crc(batch, out), 4);
}

enum batch_verdict batch_verdict(const struct batch *batch, int64_t max_message_bytes,
                                 int64_t max_timestamp)
{
    if (batch->magic != 2) {
        return BATCH_OLD_FORMAT;
    }
    if (batch_codec(batch) > CODEC_ZSTD || batch_is_control(batch)) {
        return BATCH_STRUCTURE;
    }
    if (batch->count == 0) {
        return BATCH_EMPTY;
    }
    if (batch->count != (int64_t)batch->last_offset_delta + 1) {
        return BATCH_INNER_HOLES;
    }
    if (batch->attributes & BATCH_LOG_APPEND_TIME) {
        return BATCH_APPEND_TIME;
    }
    if ((int64_t)batch->len > max_message_bytes) {
        return BATCH_TOO_LARGE;
    }
    if (batch->max_timestamp > max_timestamp) {
        return BATCH_TIMESTAMP_REFUSED;
    }
    return BATCH_PASSES;
}

const char *batch_verdict_text(enum batch_verdict verdict)
{
    switch (verdict) {
    case BATCH_PASSES:
        return "passes";
    case BATCH_OLD_FORMAT:
        return "message format 0 or 1";
    case BATCH_INNER_HOLES:
        return "records were compacted away inside the batch";
    case BATCH_EMPTY:
        return "no records left after compaction";
    case BATCH_APPEND_TIME:
        return "the source topic has message.timestamp.type=LogAppendTime";
    case BATCH_TOO_LARGE:
        return "larger than max.message.bytes of the target topic";
    case BATCH_TIMESTAMP_REFUSED:
        return "later than message.timestamp.after.max.ms of the target topic allows";
    case BATCH_STRUCTURE:
        return "a structure that no broker takes";
    case BATCH_INSIDE:
        return "it begins before the first offset wanted (DeleteRecords at the source cut into it)";
    case BATCH_FILTERED:
        return "its records are filtered";
    case BATCH_OTHER_CODEC:
        return "the line has a codec of its own";
    case BATCH_SMALL:
        return "small, with neighbours";
    case BATCH_CORRUPT:
        return "its checksum or its records are not what they claim";
    case BATCH_BOMB:
        return "it decompresses to more than is taken into memory";
    case BATCH_VERDICTS_COUNT:
        break;
    }
    return "unknown";
}

const char *batch_verdict_name(enum batch_verdict verdict)
{
    static const char *const names[BATCH_VERDICTS_COUNT] = {
        [BATCH_PASSES] = "passes",
        [BATCH_OLD_FORMAT] = "old-format",
        [BATCH_INNER_HOLES] = "inner-holes",
        [BATCH_EMPTY] = "empty",
        [BATCH_APPEND_TIME] = "append-time",
        [BATCH_TOO_LARGE] = "too-large",
        [BATCH_TIMESTAMP_REFUSED] = "timestamp",
        [BATCH_STRUCTURE] = "structure",
        [BATCH_INSIDE] = "inside",
        [BATCH_FILTERED] = "filtered",
        [BATCH_OTHER_CODEC] = "other-codec",
        [BATCH_SMALL] = "small",
        [BATCH_CORRUPT] = "corrupt",
        [BATCH_BOMB] = "bomb",
    };
    return (unsigned)verdict < BATCH_VERDICTS_COUNT ? names[verdict] : "unknown";
}

/* --- records --------------------------------------------------------------------------------------------------- */

/* Key or value: a length as varint, -1 = null. */
static const uint8_t *read_field(struct reader *reader, int32_t *out_len)
{
    int64_t len = wire_varlong(reader);

    *out_len = -1;
    if (len == -1 || reader->bad) {
        return NULL;
    }
    if (len < 0 || (uint64_t)len > reader_left(reader)) {
        reader->bad = true;
        return NULL;
    }
    *out_len = (int32_t)len; /* what is left of a record is below 2 GiB, see read_record() */
    return reader_bytes(reader, (size_t)len);
}

/* Headers are passed on as they are stored, but they must be what they claim. */
static void check_headers(struct reader *reader)
{
    int64_t count = wire_varlong(reader);

    if (count < 0 || (uint64_t)count > reader_left(reader) / 2) {
        reader->bad = true;
    }
    for (int64_t i = 0; i < count && !reader->bad; i++) {
        int32_t key_len;
        int32_t value_len;
        read_field(reader, &key_len);
        if (key_len < 0) {
            reader->bad = true;
        }
        read_field(reader, &value_len);
    }
}

static int64_t record_timestamp(const struct batch *batch, int64_t delta)
{
    if (batch->attributes & BATCH_LOG_APPEND_TIME) {
        return batch->max_timestamp;
    }
    return (int64_t)((uint64_t)batch->base_timestamp +
                     (uint64_t)delta); /* hostile deltas wrap, defined */
}

static bool read_record(const struct batch *batch, struct reader *records, struct record *out)
{
    int64_t len = wire_varlong(records);

    if (records->bad || len < 0 || len > INT32_MAX || (uint64_t)len > reader_left(records)) {
        return false;
    }
    struct reader reader = reader_over(reader_bytes(records, (size_t)len), (size_t)len);
    reader_i8(&reader); /* attributes, unused */
    out->timestamp = record_timestamp(batch, wire_varlong(&reader));
    int64_t offset_delta = wire_varlong(&reader);
    out->key = read_field(&reader, &out->key_len);
    out->value = read_field(&reader, &out->value_len);
    out->headers = reader.pos;
    check_headers(&reader);
    out->headers_len = (size_t)(reader.pos - out->headers);
    if (reader.bad || reader_left(&reader) > 0 || offset_delta < 0 ||
        offset_delta > batch->last_offset_delta) {
        return false;
    }
    out->offset = batch->base_offset + offset_delta;
    return true;
}

static bool walk_records(const struct batch *batch, struct reader *records,
                         bool (*each)(void *arg, const struct record *record), void *arg,
                         struct err *err)
{
    int64_t next_offset = batch->base_offset;

    for (int32_t i = 0; i < batch->count; i++) {
        struct record record;
        if (!read_record(batch, records, &record) || record.offset < next_offset) {
            return bad(err, "broken record", i);
        }
        next_offset = record.offset + 1;
        if (!each(arg, &record)) {
            return true;
        }
    }
    return reader_left(records) == 0 || bad(err, "bytes left over behind record", batch->count);
}

bool batch_each_record(const struct batch *batch, size_t max_bytes,
                       bool (*each)(void *arg, const struct record *record), void *arg,
                       struct err *err)
{
    if (batch->magic < 2) {
        return batch_old_each_record(batch, max_bytes, each, arg, err) ||
               err_wrap(err, "message at offset %lld", (long long)batch->base_offset);
    }
    const uint8_t *data = batch->data + BATCH_HEADER_BYTES;
    size_t len = batch->len - BATCH_HEADER_BYTES;
    uint8_t *plain = NULL;
    if (batch_codec(batch) != CODEC_NONE && batch->count > 0) {
        if (!codec_decompress(batch_codec(batch), data, len, max_bytes, &plain, &len, err)) {
            return err_wrap(err, "batch at offset %lld", (long long)batch->base_offset);
        }
        data = plain;
    }
    struct reader records = reader_over(data, len);
    bool ok = walk_records(batch, &records, each, arg, err);
    free(plain);
    return ok || err_wrap(err, "batch at offset %lld", (long long)batch->base_offset);
}

/* --- hash of a record ------------------------------------------------------------------------------------------ */

/* Two odd words and one multiplication to 128 bits, folded: each bit of the state depends on each bit before it. */
#define HASH_A 0x9e3779b97f4a7c15ull
#define HASH_B 0xd6e8feb86659fd93ull

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)(a ^ HASH_A) * (b ^ HASH_B);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_bytes(uint64_t state, const uint8_t *data, int64_t len)
{
    state = fold(state, (uint64_t)len); /* -1 for null; so "ab","" is not "a","b" */
    for (; len >= 8; data += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        state = fold(state, word) + HASH_B;
    }
    uint64_t tail = 0;
    for (int64_t i = 0; i < len; i++) {
        tail = tail << 8 | data[i];
    }
    return fold(state, tail) + HASH_B;
}

uint64_t record_hash(const struct record *record)
{
    uint64_t state = fold((uint64_t)record->timestamp, HASH_A);

    state = hash_bytes(state, record->key, record->key_len);
    state = hash_bytes(state, record->value, record->value_len);
    return hash_bytes(state, record->headers, (int64_t)record->headers_len);
}
