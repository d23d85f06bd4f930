/* kafka/batch over a Fetch answer's records: walk, verdict, patch, records; what is derived is compared with what is
 * computed. */
#include <stdint.h>

#include "kafka/batch.h"
#include "kafka/crc32c.h"

#define RECORDS_BYTES_MAX ((size_t)1 << 20)

static bool look(void *arg, const struct record *record)
{
    uint64_t *sum = arg;
    *sum ^= record_hash(record);
    return true;
}

static void check_crc(const struct batch *batch)
{
    uint8_t header[BATCH_HEADER_BYTES];

    batch_patch_header(batch, 4242, 17, header);
    if (!batch_crc_ok(batch)) {
        return;
    }
    uint32_t crc = crc32c(0, header + 21, BATCH_HEADER_BYTES - 21);
    crc = crc32c(crc, batch->data + BATCH_HEADER_BYTES, batch->len - BATCH_HEADER_BYTES);
    uint32_t patched = (uint32_t)header[17] << 24 | (uint32_t)header[18] << 16 |
                       (uint32_t)header[19] << 8 | header[20];
    uint32_t records = crc32c(0, batch->data + BATCH_HEADER_BYTES, batch->len - BATCH_HEADER_BYTES);
    if (crc != patched || records != batch_records_crc(batch)) {
        abort();
    }
}

static void take(const struct batch *batch)
{
    uint64_t sum = 0;
    struct err err;

    if (batch_verdict_text(batch_verdict(batch, 1 << 20, INT64_MAX))[0] == '\0') {
        abort();
    }
    if (batch->magic == 2) {
        check_crc(batch);
    }
    if (!batch_each_record(batch, RECORDS_BYTES_MAX, look, &sum, &err) && err.what[0] == '\0') {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct batch batch;
    struct err err;
    size_t at = 0;

    while (batch_walk(data + at, size - at, &batch, &err) == BATCH_WALK_ONE) {
        if (batch.len < BATCH_LENGTH_PREFIX || batch.len > size - at ||
            batch_next_offset(&batch) <= batch.base_offset) {
            abort();
        }
        take(&batch);
        at += batch.len;
    }
    return 0;
}
