#include "mirror/beat_rows.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/json.h"
#include "kafka/codec.h"

#define PLAIN  "partitions"
#define PACKED "partitions_zstd"

static json_t *base64(const uint8_t *bytes, size_t len)
{
    char *text = must(malloc((len + 2) / 3 * 4 + 1));
    EVP_EncodeBlock((unsigned char *)text, bytes, (int)len);
    json_t *out = json_string(text);
    free(text);
    return out;
}

void beat_rows_pack(json_t *beat)
{
    json_t *rows = json_object_get(beat, PLAIN);
    struct err err;
    struct writer packed;
    if (json_array_size(rows) <= BEAT_ROWS_PLAIN) {
        return;
    }
    char *text = must(json_dumps(rows, JSON_COMPACT)); /* unsorted, in half the time */
    size_t len = strlen(text);
    writer_init(&packed);
    if (len <= BEAT_ROWS_BYTES_MAX &&
        codec_compress(CODEC_ZSTD, (const uint8_t *)text, len, &packed, &err)) {
        json_object_set_new(beat, PACKED, base64(packed.data, packed.len));
        json_object_del(beat, PLAIN);
    }
    writer_done(&packed);
    free(text);
}

/* NULL: it is none. */
static json_t *rows_of(const uint8_t *packed, size_t len)
{
    uint8_t *text = NULL;
    size_t text_len = 0;
    struct err err;
    json_t *rows = NULL;
    if (codec_decompress(CODEC_ZSTD, packed, len, BEAT_ROWS_BYTES_MAX, &text, &text_len, &err)) {
        rows = json_parse((const char *)text, text_len, PLAIN, &err);
    }
    free(text);
    if (json_is_array(rows)) {
        return rows;
    }
    json_decref(rows);
    return NULL;
}

bool beat_rows_unpack(json_t *beat)
{
    const json_t *packed = json_object_get(beat, PACKED);
    size_t len = json_string_length(packed);
    if (packed == NULL) {
        return true;
    }
    if (!json_is_string(packed) || len < 4 || len % 4 != 0 || len > BEAT_ROWS_BYTES_MAX) {
        return false;
    }
    const char *text = json_string_value(packed);
    size_t padding = (text[len - 1] == '=' ? 1U : 0U) + (text[len - 2] == '=' ? 1U : 0U);
    uint8_t *bytes = must(malloc(len / 4 * 3));
    int got = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len);
    json_t *rows = got < 3 ? NULL : rows_of(bytes, (size_t)got - padding);
    free(bytes);
    if (rows == NULL) {
        return false;
    }
    json_object_set_new(beat, PLAIN, rows);
    json_object_del(beat, PACKED);
    return true;
}
