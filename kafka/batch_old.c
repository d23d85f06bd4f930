/* See batch_old.h. The checksum of the outer message covers everything inside and is the caller's to verify
 * (batch_crc_ok); those of the inner ones are not looked at, as no consumer does. */
#include "kafka/batch_old.h"

#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "kafka/codec.h"

#define NO_TIMESTAMP        (-1)
#define LZ4_HEAD_BYTES      7 /* magic, FLG, BD, HC */
#define LZ4_HEAD_SIZE_BYTES 8 /* more, when FLG says that the content's size stands there */
#define LZ4_FLG_SIZE        0x08

struct message {
    int64_t offset;
    int8_t magic;
    int8_t attributes;
    int64_t timestamp;
    const uint8_t *key;
    int32_t key_len;
    const uint8_t *value;
    int32_t value_len;
};

static bool broken(struct err *err, const char *what)
{
    return err_set(err, ERR_REFUSED, "old message format: %s", what);
}

/* Key or value: int32 length, -1 = null. */
static const uint8_t *read_field(struct reader *reader, int32_t *out_len)
{
    int32_t len = reader_i32(reader);

    *out_len = -1;
    if (len == -1 || reader->bad) {
        return NULL;
    }
    if (len < 0 || (size_t)len > reader_left(reader)) {
        reader->bad = true;
        return NULL;
    }
    *out_len = len;
    return reader_bytes(reader, (size_t)len);
}

static bool read_message(struct reader *set, struct message *out)
{
    out->offset = reader_i64(set);
    int32_t size = reader_i32(set);
    if (set->bad || size < 0 || (size_t)size > reader_left(set)) {
        return false;
    }
    struct reader reader = reader_over(reader_bytes(set, (size_t)size), (size_t)size);
    reader_u32(&reader); /* CRC */
    out->magic = reader_i8(&reader);
    out->attributes = reader_i8(&reader);
    out->timestamp = out->magic == 1 ? reader_i64(&reader) : NO_TIMESTAMP;
    out->key = read_field(&reader, &out->key_len);
    out->value = read_field(&reader, &out->value_len);
    return !reader.bad && reader_left(&reader) == 0;
}

static bool give(const struct message *message, int64_t offset, int64_t timestamp,
                 bool (*each)(void *arg, const struct record *record), void *arg)
{
    static const uint8_t no_headers = 0; /* a count */
    const struct record record = {.offset = offset,
                                  .timestamp = timestamp,
                                  .key = message->key,
                                  .key_len = message->key_len,
                                  .value = message->value,
                                  .value_len = message->value_len,
                                  .headers = &no_headers,
                                  .headers_len = 1};
    return each(arg, &record);
}

/* Is it a set of plain messages of this format, in order? *out_last: the last one's offset as written. */
static bool check_set(const uint8_t *data, size_t len, int8_t magic, int64_t *out_last,
                      struct err *err)
{
    struct reader set = reader_over(data, len);
    int64_t last = -1;

    while (reader_left(&set) > 0) {
        struct message message;
        if (!read_message(&set, &message) || message.magic != magic) {
            return broken(err, "a broken message inside a compressed one");
        }
        if ((message.attributes & BATCH_CODEC_MASK) != CODEC_NONE) {
            return broken(err, "compressed twice");
        }
        if (message.offset <= last) {
            return broken(err, "offsets inside a compressed message go back");
        }
        last = message.offset;
    }
    *out_last = last;
    return last >= 0 || broken(err, "a compressed message without messages");
}

static bool each_inside(const struct message *outer, const uint8_t *data, size_t len,
                        bool (*each)(void *arg, const struct record *record), void *arg,
                        struct err *err)
{
    struct reader set = reader_over(data, len);
    int64_t last = -1;

    if (!check_set(data, len, outer->magic, &last, err)) {
        return false;
    }
    if (last > outer->offset) {
        return broken(err, "offsets inside a compressed message pass its own");
    }
    int64_t base = outer->magic == 1 ? outer->offset - last : 0;
    while (reader_left(&set) > 0) {
        struct message message;
        if (!read_message(&set, &message)) {
            return broken(err, "a broken message"); /* checked: cannot be */
        }
        bool append_time = outer->attributes & BATCH_LOG_APPEND_TIME;
        if (!give(&message, base + message.offset,
                  append_time ? outer->timestamp : message.timestamp, each, arg)) {
            return true;
        }
    }
    return true;
}

/* Clients of format 0 summed the LZ4 frame's magic into its header checksum (KAFKA-3160), which no library takes. One
 * byte has 256 values: the right one is the one that the library takes. */
static bool mend_lz4(uint8_t *frame, size_t len)
{
    size_t head = LZ4_HEAD_BYTES;

    if (len < head) {
        return false;
    }
    head += frame[4] & LZ4_FLG_SIZE ? LZ4_HEAD_SIZE_BYTES : 0;
    for (int value = 0; value < 256 && len >= head; value++) {
        LZ4F_dctx *context = NULL;
        LZ4F_frameInfo_t info;
        size_t used = len;
        if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION))) {
            return false;
        }
        frame[head - 1] = (uint8_t)value;
        bool taken = !LZ4F_isError(LZ4F_getFrameInfo(context, &info, frame, &used));
        LZ4F_freeDecompressionContext(context);
        if (taken) {
            return true;
        }
    }
    return false;
}

static bool decompress(const struct message *outer, size_t max_bytes, uint8_t **out,
                       size_t *out_len, struct err *err)
{
    enum batch_codec codec = (enum batch_codec)(outer->attributes & BATCH_CODEC_MASK);
    size_t len = outer->value_len < 0 ? 0 : (size_t)outer->value_len;

    if (codec != CODEC_LZ4 || outer->magic != 0 || len == 0) {
        return codec_decompress(codec, outer->value, len, max_bytes, out, out_len, err);
    }
    uint8_t *copy = malloc(len);
    if (copy == NULL) {
        return err_set(err, ERR_RETRY, "out of memory");
    }
    memcpy(copy, outer->value, len);
    bool ok = mend_lz4(copy, len) ? codec_decompress(codec, copy, len, max_bytes, out, out_len, err)
                                  : broken(err, "an LZ4 frame without a header");
    free(copy);
    return ok;
}

bool batch_old_each_record(const struct batch *batch, size_t max_bytes,
                           bool (*each)(void *arg, const struct record *record), void *arg,
                           struct err *err)
{
    struct reader set = reader_over(batch->data, batch->len);
    struct message outer;
    uint8_t *plain = NULL;
    size_t plain_len = 0;

    if (!read_message(&set, &outer) || outer.magic > 1) {
        return broken(err, "lengths do not fit");
    }
    if ((outer.attributes & BATCH_CODEC_MASK) == CODEC_NONE) {
        give(&outer, outer.offset, outer.timestamp, each, arg);
        return true;
    }
    if (!decompress(&outer, max_bytes, &plain, &plain_len, err)) {
        return false;
    }
    bool ok = each_inside(&outer, plain, plain_len, each, arg, err);
    free(plain);
    return ok;
}
