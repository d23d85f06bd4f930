/* Decompression of a batch's records with a hard bound on what may come out: a few bytes can claim gigabytes. And
 * compression, as the clients do it. */
#ifndef FERRY_KAFKA_CODEC_H
#define FERRY_KAFKA_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "kafka/batch.h"

#define CODEC_TOO_LARGE 1 /* err.code: more came out than was allowed */

/* Decompress `in`: gzip (members one after the other), snappy (raw, or in the frames of the Java library), lz4 frames,
 * zstd frames.
 *
 * @param max_bytes  most that may come out; more is refused, whatever the input claims
 * @param out        heap block of *out_len bytes, free() by the caller; set on success only
 * @return false with ERR_REFUSED when the bytes are not what the codec says or too many come out (code
 *         CODEC_TOO_LARGE). CODEC_NONE is refused too: there is nothing to decompress
 * @thread any
 */
MUST_CHECK
bool codec_decompress(enum batch_codec codec, const uint8_t *in, size_t in_len, size_t max_bytes,
                      uint8_t **out, size_t *out_len, struct err *err);

/* Compress and append, at each codec's default level: gzip one member, snappy one raw block (as librdkafka), lz4 a frame
 * of independent blocks (Kafka's reader knows no others), zstd a frame. CODEC_NONE copies.
 *
 * @return false with ERR_RETRY when the library fails, which is memory; nothing is appended then    @thread any
 */
MUST_CHECK
bool codec_compress(enum batch_codec codec, const uint8_t *in, size_t in_len, struct writer *out,
                    struct err *err);

/* "gzip"; "codec 5" is "unknown". */
const char *codec_name(enum batch_codec codec);

#endif
