/* Decompression of a batch's records with a hard bound on what may come out: a few bytes can claim gigabytes. */
#ifndef FERRY_KAFKA_CODEC_H
#define FERRY_KAFKA_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/batch.h"

/* Decompress `in`: gzip (members one after the other), snappy (raw, or in the frames of the Java library), lz4 frames,
 * zstd frames.
 *
 * @param max_bytes  most that may come out; more is refused, whatever the input claims
 * @param out        heap block of *out_len bytes, free() by the caller; set on success only
 * @return false with ERR_REFUSED when the bytes are not what the codec says or too many come out. CODEC_NONE is
 *         refused too: there is nothing to decompress
 * @thread any
 */
MUST_CHECK
bool codec_decompress(enum batch_codec codec, const uint8_t *in, size_t in_len, size_t max_bytes,
                      uint8_t **out, size_t *out_len, struct err *err);

/* "gzip"; "codec 5" is "unknown". */
const char *codec_name(enum batch_codec codec);

#endif
