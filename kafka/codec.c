/* See codec.h. All codecs but snappy are streams: each turn of a loop either takes input, gives output, or ends. */
#include "kafka/codec.h"

#include <assert.h>
#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"

/* The window that a zstd frame may ask for: the format's default limit, and what level 22 uses. Only touched pages of
 * it are real, and it goes with the frame. */
#define ZSTD_WINDOW_LOG_MAX 27 /* 128 MiB */

#define OUTPUT_FIRST_BYTES ((size_t)64 << 10)

/* Output that doubles until max_bytes. */
struct output {
    uint8_t *data;
    size_t len;
    size_t capacity;
    size_t max_bytes;
};

const char *codec_name(enum batch_codec codec)
{
    switch (codec) {
    case CODEC_NONE:
        return "none";
    case CODEC_GZIP:
        return "gzip";
    case CODEC_SNAPPY:
        return "snappy";
    case CODEC_LZ4:
        return "lz4";
    case CODEC_ZSTD:
        return "zstd";
    default:
        return "unknown";
    }
}

static bool output_resize(struct output *output, size_t capacity)
{
    assert(capacity <= output->max_bytes);
    uint8_t *data = realloc(output->data, capacity == 0 ? 1 : capacity);
    if (data == NULL) {
        return false;
    }
    output->data = data;
    output->capacity = capacity;
    return true;
}

/* Room for `more` bytes, by doubling up to the bound; false when the bound or the memory forbids it. */
static bool output_reserve(struct output *output, size_t more)
{
    size_t capacity =
        output->capacity < OUTPUT_FIRST_BYTES / 2 ? OUTPUT_FIRST_BYTES : 2 * output->capacity;
    if (more > output->max_bytes - output->len) {
        return false;
    }
    if (more <= output->capacity - output->len) {
        return true;
    }
    if (capacity < output->len + more) {
        capacity = output->len + more;
    }
    return output_resize(output, capacity < output->max_bytes ? capacity : output->max_bytes);
}

/* Room for a stream to go on. At the bound it goes on without: a stream that ends exactly there still has to say so.
 * false: out of memory, or nothing may come out at all. */
static bool output_open(struct output *output)
{
    if (output->len == output->max_bytes) {
        return output->data != NULL || output_resize(output, output->max_bytes);
    }
    return output_reserve(output, 1);
}

static bool refuse_large(const struct output *output, struct err *err)
{
    return err_set_code(err, ERR_REFUSED, CODEC_TOO_LARGE, "more than %zu bytes come out",
                        output->max_bytes);
}

static bool out_of_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "out of memory");
}

/* --- gzip ------------------------------------------------------------------------------------------------------ */

static bool gzip_run(z_stream *stream, struct output *output, struct err *err)
{
    for (;;) {
        if (!output_open(output)) {
            return out_of_memory(err);
        }
        size_t room = output->capacity - output->len;
        stream->next_out = output->data + output->len;
        stream->avail_out = room > UINT32_MAX ? UINT32_MAX : (uInt)room;
        uInt offered = stream->avail_out;
        uInt had = stream->avail_in;
        int rc = inflate(stream, Z_NO_FLUSH);
        output->len += offered - stream->avail_out;
        if (rc == Z_STREAM_END) {
            if (stream->avail_in == 0) {
                return true;
            }
            if (inflateReset(stream) != Z_OK) {
                return err_set(err, ERR_REFUSED, "gzip: cannot begin a further member");
            }
            continue;
        }
        if (rc != Z_OK && rc != Z_BUF_ERROR) {
            return err_set(err, ERR_REFUSED, "gzip: %s", stream->msg ? stream->msg : "broken");
        }
        if (had == stream->avail_in && offered == stream->avail_out) { /* nothing moved */
            if (output->len == output->max_bytes && stream->avail_in > 0) {
                return refuse_large(output, err);
            }
            return err_set(err, ERR_REFUSED, "gzip: the stream is cut");
        }
    }
}

static bool gzip(const uint8_t *in, size_t in_len, struct output *output, struct err *err)
{
    z_stream stream = {0};

    if (in_len > UINT32_MAX) {
        return err_set(err, ERR_REFUSED, "gzip: too long");
    }
    if (inflateInit2(&stream, 15 + 16) != Z_OK) { /* largest window, gzip header */
        return out_of_memory(err);
    }
    stream.next_in = (z_const Bytef *)(uintptr_t)in;
    stream.avail_in = (uInt)in_len;
    bool ok = gzip_run(&stream, output, err);
    inflateEnd(&stream);
    return ok;
}

/* --- snappy ---------------------------------------------------------------------------------------------------- */

static bool snappy_block(const uint8_t *in, size_t in_len, struct output *output, struct err *err)
{
    size_t len;

    if (snappy_uncompressed_length((const char *)in, in_len, &len) != SNAPPY_OK) {
        return err_set(err, ERR_REFUSED, "snappy: no length");
    }
    if (len > output->max_bytes - output->len) {
        return refuse_large(output, err);
    }
    if (len / 22 >
        in_len) { /* three bytes give at most 64: what is reserved follows from bytes that are there */
        return err_set(err, ERR_REFUSED, "snappy: %zu bytes cannot hold %zu", in_len, len);
    }
    if (!output_open(output) || !output_reserve(output, len)) {
        return out_of_memory(err);
    }
    if (snappy_uncompress((const char *)in, in_len, (char *)output->data + output->len, &len) !=
        SNAPPY_OK) {
        return err_set(err, ERR_REFUSED, "snappy: broken");
    }
    output->len += len;
    return true;
}

/* The Java library's framing: magic, two versions, then blocks with a length before each. */
static bool snappy(const uint8_t *in, size_t in_len, struct output *output, struct err *err)
{
    static const uint8_t magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
    struct reader reader = reader_over(in, in_len);

    if (in_len < 16 || memcmp(in, magic, sizeof(magic)) != 0) {
        return snappy_block(in, in_len, output, err);
    }
    if (!output_open(output)) { /* no block at all is no bytes, not no answer */
        return out_of_memory(err);
    }
    reader_bytes(&reader, 16);
    while (reader_left(&reader) > 0) {
        uint32_t len = reader_u32(&reader);
        const uint8_t *block = reader_bytes(&reader, len);
        if (reader.bad) {
            return err_set(err, ERR_REFUSED, "snappy: a block is cut");
        }
        if (!snappy_block(block, len, output, err)) {
            return false;
        }
    }
    return true;
}

/* --- lz4 ------------------------------------------------------------------------------------------------------- */

static bool lz4_run(LZ4F_dctx *context, const uint8_t *in, size_t in_len, struct output *output,
                    struct err *err)
{
    size_t hint = 1;

    while (in_len > 0 || hint != 0) {
        if (!output_open(output)) {
            return out_of_memory(err);
        }
        size_t gave = output->capacity - output->len;
        size_t took = in_len;
        hint = LZ4F_decompress(context, output->data + output->len, &gave, in, &took, NULL);
        if (LZ4F_isError(hint)) {
            return err_set(err, ERR_REFUSED, "lz4: %s", LZ4F_getErrorName(hint));
        }
        in += took;
        in_len -= took;
        output->len += gave;
        if (took == 0 && gave == 0) {
            return output->len == output->max_bytes
                       ? refuse_large(output, err)
                       : err_set(err, ERR_REFUSED, "lz4: the frame is cut");
        }
    }
    return true;
}

static bool lz4(const uint8_t *in, size_t in_len, struct output *output, struct err *err)
{
    LZ4F_dctx *context = NULL;

    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION))) {
        return out_of_memory(err);
    }
    bool ok = lz4_run(context, in, in_len, output, err);
    LZ4F_freeDecompressionContext(context);
    return ok;
}

/* --- zstd ------------------------------------------------------------------------------------------------------ */

static bool zstd_run(ZSTD_DStream *stream, ZSTD_inBuffer *in, struct output *output,
                     struct err *err)
{
    size_t hint = 1;

    while (in->pos < in->size || hint != 0) {
        if (!output_open(output)) {
            return out_of_memory(err);
        }
        ZSTD_outBuffer out = {output->data, output->capacity, output->len};
        size_t took = in->pos;
        hint = ZSTD_decompressStream(stream, &out, in);
        if (ZSTD_isError(hint)) {
            return err_set(err, ERR_REFUSED, "zstd: %s", ZSTD_getErrorName(hint));
        }
        bool moved = took != in->pos || out.pos != output->len;
        output->len = out.pos;
        if (!moved) {
            return output->len == output->max_bytes
                       ? refuse_large(output, err)
                       : err_set(err, ERR_REFUSED, "zstd: the frame is cut");
        }
    }
    return true;
}

static bool zstd(const uint8_t *in, size_t in_len, struct output *output, struct err *err)
{
    ZSTD_inBuffer input = {in, in_len, 0};
    ZSTD_DStream *stream = ZSTD_createDStream();

    if (stream == NULL) {
        return out_of_memory(err);
    }
    bool ok =
        !ZSTD_isError(ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX))
            ? zstd_run(stream, &input, output, err)
            : err_set(err, ERR_RETRY, "zstd: cannot bound the window");
    ZSTD_freeDStream(stream);
    return ok;
}

static bool decompress(enum batch_codec codec, const uint8_t *in, size_t in_len,
                       struct output *output, struct err *err)
{
    switch (codec) {
    case CODEC_GZIP:
        return gzip(in, in_len, output, err);
    case CODEC_SNAPPY:
        return snappy(in, in_len, output, err);
    case CODEC_LZ4:
        return lz4(in, in_len, output, err);
    case CODEC_ZSTD:
        return zstd(in, in_len, output, err);
    case CODEC_NONE:
    default:
        return err_set(err, ERR_REFUSED, "codec %d is none that we know", (int)codec);
    }
}

bool codec_decompress(enum batch_codec codec, const uint8_t *in, size_t in_len, size_t max_bytes,
                      uint8_t **out, size_t *out_len, struct err *err)
{
    struct output output = {.max_bytes = max_bytes};

    if (in_len == 0) { /* `in` may be NULL then, as an old message's null value is */
        return err_set(err, ERR_REFUSED, "%s: there is nothing to decompress", codec_name(codec));
    }
    if (!decompress(codec, in, in_len, &output, err)) {
        free(output.data);
        return false;
    }
    *out = output.data;
    *out_len = output.len;
    return true;
}

/* --- compression ------------------------------------------------------------------------------------------------- */

static size_t deflate_all(uint8_t *out, size_t room, const uint8_t *in, size_t in_len)
{
    z_stream stream = {0};

    if (in_len > UINT32_MAX || room > UINT32_MAX ||
        deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) !=
            Z_OK) {
        return 0;
    }
    stream.next_in = (z_const Bytef *)(uintptr_t)in;
    stream.avail_in = (uInt)in_len;
    stream.next_out = out;
    stream.avail_out = (uInt)room;
    bool ok = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    size_t out_len = room - stream.avail_out;
    deflateEnd(&stream);
    return ok ? out_len : 0;
}

static const LZ4F_preferences_t lz4_preferences = {
    .frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockIndependent}
};

/* Most that can come out; 0 = none of ours. */
static size_t compress_bound(enum batch_codec codec, size_t in_len)
{
    switch (codec) {
    case CODEC_NONE:
        return in_len + 1;
    case CODEC_GZIP:
        return in_len + in_len / 1000 + 64; /* stored blocks: 5 bytes each 16 KiB; head and tail */
    case CODEC_SNAPPY:
        return snappy_max_compressed_length(in_len);
    case CODEC_LZ4:
        return LZ4F_compressFrameBound(in_len, &lz4_preferences);
    case CODEC_ZSTD:
        return ZSTD_compressBound(in_len);
    default:
        return 0;
    }
}

/* 0: it failed; nothing compresses to nothing, not even nothing. */
static size_t compress_into(enum batch_codec codec, const uint8_t *in, size_t in_len, uint8_t *out,
                            size_t room)
{
    size_t len = room;

    switch (codec) {
    case CODEC_GZIP:
        return deflate_all(out, room, in, in_len);
    case CODEC_SNAPPY:
        return snappy_compress((const char *)in, in_len, (char *)out, &len) == SNAPPY_OK ? len : 0;
    case CODEC_LZ4:
        len = LZ4F_compressFrame(out, room, in, in_len, &lz4_preferences);
        return LZ4F_isError(len) ? 0 : len;
    case CODEC_ZSTD:
        len = ZSTD_compress(out, room, in, in_len, ZSTD_CLEVEL_DEFAULT);
        return ZSTD_isError(len) ? 0 : len;
    case CODEC_NONE:
    default:
        return 0;
    }
}

bool codec_compress(enum batch_codec codec, const uint8_t *in, size_t in_len, struct writer *out,
                    struct err *err)
{
    if (codec == CODEC_NONE) {
        writer_bytes(out, in, in_len);
        return true;
    }
    size_t bound = compress_bound(codec, in_len);
    if (bound == 0) {
        return err_set(err, ERR_REFUSED, "codec %d is none that we know", (int)codec);
    }
    uint8_t *room = writer_room(out, bound);
    size_t len = compress_into(codec, in, in_len, room, bound);
    if (len == 0) {
        return err_set(err, ERR_RETRY, "%s: cannot compress %zu bytes", codec_name(codec), in_len);
    }
    out->len += len;
    return true;
}
