/* Record batches for tests: built record by record, compressed as the clients do, with the right checksum. */
#ifndef FERRY_TESTS_FAKE_BATCHES_H
#define FERRY_TESTS_FAKE_BATCHES_H

#include "base/buf.h"
#include "kafka/batch.h"

struct fake_header {
    const char *key;
    const char *value; /* NULL = null */
};

struct fake_record {
    int64_t timestamp_delta;
    int32_t offset_delta; /* -1 = one more than the record before */
    const char *key;      /* NULL = null */
    const char *value;    /* NULL = null */
    size_t value_len;     /* 0 = strlen(value) */
    const struct fake_header *headers;
    int32_t headers_count;
    size_t key_len; /* 0 = strlen(key) */
};

struct fake_batch {
    int64_t base_offset;
    int32_t leader_epoch;
    int16_t attributes; /* without the codec */
    enum batch_codec codec;
    bool java_snappy;          /* the Java library's frames instead of one raw block */
    int32_t last_offset_delta; /* -1 = from the records */
    int64_t base_timestamp;
    int64_t max_timestamp; /* 0 = from the records */
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t base_sequence;
    const struct fake_record *records;
    int32_t count;
};

/* Append the batch. */
void fake_batch_write(struct writer *writer, const struct fake_batch *batch);
/* Append a batch of `count` records "v<base_offset + i>" of `value_len` bytes at least, no keys. */
void fake_batch_plain(struct writer *writer, int64_t base_offset, int32_t count, size_t value_len,
                      enum batch_codec codec);
/* Compress as a client does; heap, free() by the caller. */
uint8_t *fake_compress(enum batch_codec codec, bool java_snappy, const uint8_t *data, size_t len,
                       size_t *out_len);

#endif
