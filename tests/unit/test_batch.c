/* kafka/batch: header, patch, verdicts, records; every cut; headers that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kafka/batch.h"
#include "kafka/crc32c.h"
#include "kafka/wire.h"
#include "tests/fake/batches.h"

#define PATCH_ROUNDS 200000

static const struct fake_header headers[] = {
    {"trace", "abc"},
    {"none",  NULL },
};
static const struct fake_record three[] = {
    {.timestamp_delta = 0, .offset_delta = -1, .key = "k1", .value = "v1"},
    {.timestamp_delta = 5, .offset_delta = -1, .key = NULL, .value = NULL},
    {.timestamp_delta = 3,
     .offset_delta = -1,
     .key = "",
     .value = "",
     .headers = headers,
     .headers_count = 2},
};
static const struct fake_batch ordinary = {
    .base_offset = 1000,
    .leader_epoch = 7,
    .last_offset_delta = -1,
    .base_timestamp = 1700000000000,
    .producer_id = 4242,
    .producer_epoch = 3,
    .base_sequence = 17,
    .records = three,
    .count = 3,
};

/* The batch in a block of exactly its size. */
struct made {
    uint8_t *data;
    size_t len;
};

static struct made make(const struct fake_batch *spec)
{
    struct writer writer;
    struct made made;

    writer_init(&writer);
    fake_batch_write(&writer, spec);
    made.len = writer.len;
    made.data = malloc(writer.len);
    memcpy(made.data, writer.data, writer.len);
    writer_done(&writer);
    return made;
}

static struct batch decode(struct made made)
{
    struct batch batch;
    struct err err;

    assert_int_equal(batch_walk(made.data, made.len, &batch, &err), BATCH_WALK_ONE);
    return batch;
}

/* A checksum that was made right for bytes that a test changed. */
static void mend_crc(struct made made)
{
    uint32_t crc = crc32c(0, made.data + 21, made.len - 21);
    for (int i = 0; i < 4; i++) {
        made.data[17 + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
}

static void header_is_decoded(void **state)
{
    struct made made = make(&ordinary);
    struct batch batch = decode(made);

    (void)state;
    assert_ptr_equal(batch.data, made.data);
    assert_int_equal(batch.len, made.len);
    assert_int_equal(batch.base_offset, 1000);
    assert_int_equal(batch.leader_epoch, 7);
    assert_int_equal(batch.magic, 2);
    assert_int_equal(batch.attributes, 0);
    assert_int_equal(batch.last_offset_delta, 2);
    assert_int_equal(batch.base_timestamp, 1700000000000);
    assert_int_equal(batch.max_timestamp, 1700000000005);
    assert_int_equal(batch.producer_id, 4242);
    assert_int_equal(batch.producer_epoch, 3);
    assert_int_equal(batch.base_sequence, 17);
    assert_int_equal(batch.count, 3);
    assert_int_equal(batch_next_offset(&batch), 1003);
    assert_true(batch_crc_ok(&batch));
    made.data[made.len - 1] ^= 1;
    assert_false(batch_crc_ok(&batch));
    free(made.data);
}

static void every_cut_is_partial(void **state)
{
    struct made made = make(&ordinary);
    struct batch batch;
    struct err err;

    (void)state;
    assert_int_equal(batch_walk(made.data, 0, &batch, &err), BATCH_WALK_END);
    for (size_t len = 1; len < made.len; len++) {
        uint8_t *copy = malloc(len);
        memcpy(copy, made.data, len);
        assert_int_equal(batch_walk(copy, len, &batch, &err), BATCH_WALK_PARTIAL);
        free(copy);
    }
    free(made.data);
}

static void put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = bytes; i > 0; i--, value >>= 8) {
        at[i - 1] = (uint8_t)value;
    }
}

/* S57: lengths, counts and deltas that are negative, huge or contradict each other. */
static void headers_that_lie_are_bad(void **state)
{
    static const struct {
        size_t at;
        int bytes;
        int64_t value;
    } lies[] = {
        {0,  8, -1       },
        {0,  8, INT64_MAX}, /* BaseOffset + LastOffsetDelta overflows */
        {8,  4, -1       },
        {8,  4, 48       }, /* less than a header */
        {8,  4, INT32_MIN},
        {16, 1, 3        },
        {16, 1, -1       },
        {23, 4, -1       }, /* LastOffsetDelta */
        {57, 4, -1       }, /* RecordCount */
        {57, 4, 4        }, /* more records than offsets */
        {57, 4, INT32_MAX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct made made = make(&ordinary);
        struct batch batch;
        struct err err = {0};
        put(made.data + lies[i].at, (uint64_t)lies[i].value, lies[i].bytes);
        assert_int_equal(batch_walk(made.data, made.len, &batch, &err), BATCH_WALK_BAD);
        assert_string_not_equal(err.what, "");
        free(made.data);
    }
}

static void more_records_than_bytes_is_bad(void **state)
{
    struct made made = make(&ordinary);
    struct batch batch;
    struct err err;

    (void)state;
    put(made.data + 23, 999999, 4);
    put(made.data + 57, 1000000, 4);
    assert_int_equal(batch_walk(made.data, made.len, &batch, &err), BATCH_WALK_BAD);
    free(made.data);
}

static void old_formats_are_walked_over(void **state)
{
    uint8_t message[40] = {0};
    struct batch batch;
    struct err err;

    (void)state;
    put(message, 55, 8);
    put(message + 8, 28, 4);
    message[16] = 1;
    assert_int_equal(batch_walk(message, sizeof(message), &batch, &err), BATCH_WALK_ONE);
    assert_int_equal(batch.base_offset, 55);
    assert_int_equal(batch.len, 40);
    assert_int_equal(batch.magic, 1);
    assert_int_equal(batch_verdict(&batch, INT64_MAX, INT64_MAX), BATCH_OLD_FORMAT);
    put(message, INT64_MAX, 8);
    assert_int_equal(batch_walk(message, sizeof(message), &batch, &err), BATCH_WALK_BAD);
    put(message, 55, 8);
    put(message + 8, 13, 4);
    assert_int_equal(batch_walk(message, sizeof(message), &batch, &err), BATCH_WALK_BAD);
}

static void patch_writes_what_a_mirror_sends(void **state)
{
    struct fake_batch spec = ordinary;
    uint8_t header[BATCH_HEADER_BYTES];
    int64_t ours = (int64_t)0x4665000000000000;

    (void)state;
    spec.attributes = BATCH_TRANSACTIONAL | BATCH_LOG_APPEND_TIME | BATCH_DELETE_HORIZON;
    spec.codec = CODEC_ZSTD;
    struct made made = make(&spec);
    struct batch batch = decode(made);
    batch_patch_header(&batch, ours, INT32_MAX, header);
    memcpy(made.data, header, sizeof(header));
    struct batch sent = decode(made);
    assert_int_equal(sent.base_offset, 0);
    assert_int_equal(sent.leader_epoch, -1);
    assert_int_equal(sent.attributes, CODEC_ZSTD);
    assert_int_equal(sent.producer_id, ours);
    assert_int_equal(sent.producer_epoch, 0);
    assert_int_equal(sent.base_sequence, INT32_MAX);
    assert_int_equal(sent.count, 3);
    assert_int_equal(sent.last_offset_delta, 2);
    assert_int_equal(sent.base_timestamp, 1700000000000);
    assert_true(batch_crc_ok(&sent));
    free(made.data);
}

/* 200,000 random headers over random bytes: the derived checksum is the computed one, and a bit that flipped before
 * the patch is still seen after it. */
static void patched_checksums_equal_computed_ones(void **state)
{
    static uint8_t data[4096];

    (void)state;
    srand(3);
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)rand();
    }
    for (int round = 0; round < PATCH_ROUNDS; round++) {
        struct batch batch = {.data = data, .len = 61 + (size_t)rand() % 500, .magic = 2};
        uint8_t header[BATCH_HEADER_BYTES];
        data[21 + rand() % 40] = (uint8_t)rand();
        batch.attributes = (int16_t)(data[21] << 8 | data[22]);
        batch.crc = crc32c(0, data + 21, batch.len - 21);
        batch_patch_header(&batch, (int64_t)rand() << 32 | rand(), rand(), header);
        uint32_t computed = crc32c(0, header + 21, 40);
        computed = crc32c(computed, data + 61, batch.len - 61);
        uint32_t patched = (uint32_t)header[17] << 24 | (uint32_t)header[18] << 16 |
                           (uint32_t)header[19] << 8 | header[20];
        assert_int_equal(patched, computed);
    }
}

static void a_flipped_bit_stays_visible(void **state)
{
    struct made made = make(&ordinary);

    (void)state;
    for (size_t bit = 0; bit < (made.len - 61) * 8; bit++) {
        struct batch batch = decode(made);
        uint8_t header[BATCH_HEADER_BYTES];
        uint8_t *copy = malloc(made.len);
        memcpy(copy, made.data, made.len);
        copy[61 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        batch.data = copy;
        batch_patch_header(&batch, 99, 5, header);
        memcpy(copy, header, sizeof(header));
        batch_walk(copy, made.len, &batch, NULL);
        assert_false(batch_crc_ok(&batch));
        free(copy);
    }
    free(made.data);
}

static void records_crc_depends_on_records_alone(void **state)
{
    struct made made = make(&ordinary);
    struct batch batch = decode(made);
    uint32_t expected = crc32c(0, made.data + 61, made.len - 61);
    uint8_t header[BATCH_HEADER_BYTES];

    (void)state;
    assert_int_equal(batch_records_crc(&batch), expected);
    batch_patch_header(&batch, 5, 6, header);
    memcpy(made.data, header, sizeof(header));
    batch = decode(made);
    assert_int_equal(batch_records_crc(&batch), expected);
    made.data[made.len - 1] ^= 4;
    mend_crc(made);
    batch = decode(made);
    assert_int_not_equal(batch_records_crc(&batch), expected);
    free(made.data);
}

static void verdicts(void **state)
{
    struct {
        struct fake_batch spec;
        int64_t max_bytes;
        int64_t max_timestamp;
        enum batch_verdict verdict;
    } rows[] = {
        {ordinary, INT64_MAX, INT64_MAX,     BATCH_PASSES           },
        {ordinary, INT64_MAX, 1700000000005, BATCH_PASSES           },
        {ordinary, INT64_MAX, 1700000000004, BATCH_TIMESTAMP_REFUSED},
        {ordinary, 61,        INT64_MAX,     BATCH_TOO_LARGE        },
        {ordinary, INT64_MAX, INT64_MAX,     BATCH_INNER_HOLES      },
        {ordinary, INT64_MAX, INT64_MAX,     BATCH_APPEND_TIME      },
        {ordinary, INT64_MAX, INT64_MAX,     BATCH_EMPTY            },
        {ordinary, INT64_MAX, INT64_MAX,     BATCH_STRUCTURE        },
        {ordinary, INT64_MAX, INT64_MAX,     BATCH_STRUCTURE        },
    };

    (void)state;
    rows[4].spec.last_offset_delta = 9;
    rows[5].spec.attributes = BATCH_LOG_APPEND_TIME;
    rows[6].spec.count = 0;
    rows[6].spec.last_offset_delta = 4;
    rows[7].spec.attributes = BATCH_CONTROL;
    rows[8].spec.attributes = 5; /* a codec that does not exist */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct made made = make(&rows[i].spec);
        struct batch batch = decode(made);
        assert_int_equal(batch_verdict(&batch, rows[i].max_bytes, rows[i].max_timestamp),
                         rows[i].verdict);
        assert_string_not_equal(batch_verdict_text(rows[i].verdict), "unknown");
        free(made.data);
    }
}

static void size_limit_is_inclusive(void **state)
{
    struct made made = make(&ordinary);
    struct batch batch = decode(made);

    (void)state;
    assert_int_equal(batch_verdict(&batch, (int64_t)made.len, INT64_MAX), BATCH_PASSES);
    assert_int_equal(batch_verdict(&batch, (int64_t)made.len - 1, INT64_MAX), BATCH_TOO_LARGE);
    free(made.data);
}

/* --- records --------------------------------------------------------------------------------------------------- */

struct seen {
    struct record records[8];
    uint64_t hashes[8];
    int32_t count;
    int32_t stop_after;
};

static bool see(void *arg, const struct record *record)
{
    struct seen *seen = arg;

    seen->hashes[seen->count % 8] = record_hash(record);
    seen->records[seen->count++ % 8] = *record;
    return seen->count != seen->stop_after;
}

static void records_come_out_of_every_codec(void **state)
{
    uint64_t first_hash = 0;

    (void)state;
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD + 1; codec++) {
        struct fake_batch spec = ordinary;
        struct seen seen = {0};
        struct err err = {0};
        spec.codec = codec > CODEC_ZSTD ? CODEC_SNAPPY : (enum batch_codec)codec;
        spec.java_snappy = codec > CODEC_ZSTD;
        struct made made = make(&spec);
        struct batch batch = decode(made);
        assert_true(batch_each_record(&batch, 1 << 20, see, &seen, &err));
        assert_int_equal(seen.count, 3);
        assert_int_equal(seen.records[0].offset, 1000);
        assert_int_equal(seen.records[2].offset, 1002);
        assert_int_equal(seen.records[1].timestamp, 1700000000005);
        assert_int_equal(seen.records[0].key_len, 2);
        assert_int_equal(seen.records[0].value_len, 2);
        assert_int_equal(seen.records[1].key_len, -1);
        assert_null(seen.records[1].key);
        assert_null(seen.records[1].value);
        assert_int_equal(seen.records[2].key_len, 0);
        assert_non_null(seen.records[2].key);
        first_hash = codec == CODEC_NONE ? seen.hashes[2] : first_hash;
        assert_true(seen.hashes[2] == first_hash);
        assert_true(seen.hashes[0] != seen.hashes[1]);
        free(made.data);
    }
}

static void walking_stops_when_told(void **state)
{
    struct made made = make(&ordinary);
    struct batch batch = decode(made);
    struct seen seen = {.stop_after = 2};

    (void)state;
    assert_true(batch_each_record(&batch, 1 << 20, see, &seen, NULL));
    assert_int_equal(seen.count, 2);
    free(made.data);
}

static void append_time_is_what_readers_see(void **state)
{
    struct fake_batch spec = ordinary;
    struct seen seen = {0};

    (void)state;
    spec.attributes = BATCH_LOG_APPEND_TIME;
    spec.max_timestamp = 1800000000000;
    struct made made = make(&spec);
    struct batch batch = decode(made);
    assert_true(batch_each_record(&batch, 1 << 20, see, &seen, NULL));
    assert_int_equal(seen.records[0].timestamp, 1800000000000);
    assert_int_equal(seen.records[2].timestamp, 1800000000000);
    free(made.data);
}

static void inner_holes_keep_their_offsets(void **state)
{
    static const struct fake_record holed[] = {
        {.offset_delta = 2, .value = "a"},
        {.offset_delta = 7, .value = "b"},
    };
    struct fake_batch spec = ordinary;
    struct seen seen = {0};

    (void)state;
    spec.records = holed;
    spec.count = 2;
    spec.last_offset_delta = 9;
    struct made made = make(&spec);
    struct batch batch = decode(made);
    assert_true(batch_each_record(&batch, 1 << 20, see, &seen, NULL));
    assert_int_equal(seen.records[0].offset, 1002);
    assert_int_equal(seen.records[1].offset, 1007);
    free(made.data);
}

static void records_that_lie_are_refused(void **state)
{
    static const struct fake_record backwards[] = {
        {.offset_delta = 1, .value = "a"},
        {.offset_delta = 0, .value = "b"},
    };
    static const struct fake_record outside[] = {
        {.offset_delta = 5, .value = "a"}
    };
    struct fake_batch specs[] = {ordinary, ordinary};
    struct seen seen = {0};

    (void)state;
    specs[0].records = backwards;
    specs[0].count = 2;
    specs[0].last_offset_delta = 1;
    specs[1].records = outside;
    specs[1].count = 1;
    specs[1].last_offset_delta = 4;
    for (int i = 0; i < 2; i++) {
        struct made made = make(&specs[i]);
        struct batch batch = decode(made);
        struct err err = {0};
        assert_false(batch_each_record(&batch, 1 << 20, see, &seen, &err));
        assert_int_equal(err.kind, ERR_REFUSED);
        free(made.data);
    }
}

/* Every byte of the record region, with every bit flipped and cut at every length: an answer or an error, nothing read
 * outside. */
static void damaged_records_harm_nothing(void **state)
{
    (void)state;
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        struct fake_batch spec = ordinary;
        spec.codec = (enum batch_codec)codec;
        struct made made = make(&spec);
        struct batch batch = decode(made);
        for (size_t at = 61; at < made.len; at++) {
            for (int bit = 0; bit < 8; bit++) {
                struct seen seen = {0};
                struct err err;
                made.data[at] ^= (uint8_t)(1 << bit);
                bool ok = batch_each_record(&batch, 1 << 16, see, &seen, &err);
                assert_true(ok || err.kind == ERR_REFUSED);
                made.data[at] ^= (uint8_t)(1 << bit);
            }
        }
        for (size_t len = 61; len < made.len; len++) {
            struct made cut = {malloc(len), len};
            struct seen seen = {0};
            memcpy(cut.data, made.data, len);
            put(cut.data + 8, len - 12, 4);
            if (batch_walk(cut.data, len, &batch, NULL) == BATCH_WALK_ONE) {
                assert_false(batch_each_record(&batch, 1 << 16, see, &seen, NULL));
            }
            free(cut.data);
        }
        free(made.data);
    }
}

/* S57: what decompresses to more than may be held. */
static void bombs_are_refused(void **state)
{
    struct writer writer;

    (void)state;
    for (int codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
        struct batch batch;
        struct seen seen = {0};
        struct err err = {0};
        writer_init(&writer);
        fake_batch_plain(&writer, 0, 2, 1 << 20, (enum batch_codec)codec);
        assert_int_equal(batch_walk(writer.data, writer.len, &batch, NULL), BATCH_WALK_ONE);
        assert_false(batch_each_record(&batch, 1 << 20, see, &seen, &err));
        assert_int_equal(err.kind, ERR_REFUSED);
        assert_int_equal(seen.count, 0);
        assert_true(batch_each_record(&batch, (2 << 20) + 100, see, &seen, &err));
        writer_done(&writer);
    }
}

static void hash_tells_fields_apart(void **state)
{
    const uint8_t *ab = (const uint8_t *)"ab";
    struct record base = {.timestamp = 5,
                          .key = ab,
                          .key_len = 2,
                          .value = ab,
                          .value_len = 0,
                          .headers = ab,
                          .headers_len = 1};
    struct record other = base;
    uint64_t hash = record_hash(&base);

    (void)state;
    other.offset = 77;
    assert_true(record_hash(&other) == hash); /* the offset is not part of what is compared */
    other.timestamp = 6;
    assert_true(record_hash(&other) != hash);
    other = base;
    other.key_len = 1; /* "a" + "b" is not "ab" + "" */
    other.value = ab + 1;
    other.value_len = 1;
    assert_true(record_hash(&other) != hash);
    other = base;
    other.value = NULL;
    other.value_len = -1;
    assert_true(record_hash(&other) != hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_is_decoded),
        cmocka_unit_test(every_cut_is_partial),
        cmocka_unit_test(headers_that_lie_are_bad),
        cmocka_unit_test(more_records_than_bytes_is_bad),
        cmocka_unit_test(old_formats_are_walked_over),
        cmocka_unit_test(patch_writes_what_a_mirror_sends),
        cmocka_unit_test(patched_checksums_equal_computed_ones),
        cmocka_unit_test(a_flipped_bit_stays_visible),
        cmocka_unit_test(records_crc_depends_on_records_alone),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(size_limit_is_inclusive),
        cmocka_unit_test(records_come_out_of_every_codec),
        cmocka_unit_test(walking_stops_when_told),
        cmocka_unit_test(append_time_is_what_readers_see),
        cmocka_unit_test(inner_holes_keep_their_offsets),
        cmocka_unit_test(records_that_lie_are_refused),
        cmocka_unit_test(damaged_records_harm_nothing),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(hash_tells_fields_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
