/* kafka/batch_old: message sets of formats 0 and 1 as Apache Kafka's own classes write them; cut and damaged ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "kafka/batch.h"
#include "tests/unit/vectors/old_batches.h"

struct old_set {
    const char *name;
    const uint8_t *data;
    size_t len;
    int magic;
    bool append_time;
};
#define SET(name, magic, append_time) {#name, name, sizeof(name), magic, append_time}
static const struct old_set sets[] = {
    SET(old_v0_none, 0, false),       SET(old_v0_gzip, 0, false), SET(old_v0_snappy, 0, false),
    SET(old_v0_lz4, 0, false),        SET(old_v1_none, 1, false), SET(old_v1_gzip, 1, false),
    SET(old_v1_snappy, 1, false),     SET(old_v1_lz4, 1, false),  SET(old_v1_gzip_append, 1, true),
    SET(old_v1_none_append, 1, true),
};
#define SETS_COUNT (sizeof(sets) / sizeof(sets[0]))

#define RECORDS_MAX 8

struct seen {
    struct record records[RECORDS_MAX];
    char keys[RECORDS_MAX][32];
    char values[RECORDS_MAX][64];
    size_t count;
};

static void copy_text(char *out, size_t size, const uint8_t *data, int32_t len)
{
    assert_true(len < (int32_t)size);
    if (len > 0) {
        memcpy(out, data, (size_t)len);
    }
}

static bool see(void *arg, const struct record *record)
{
    struct seen *seen = arg;
    assert_true(seen->count < RECORDS_MAX);
    copy_text(seen->keys[seen->count], sizeof(seen->keys[0]), record->key, record->key_len);
    copy_text(seen->values[seen->count], sizeof(seen->values[0]), record->value, record->value_len);
    assert_int_equal(record->headers_len, 1);
    assert_int_equal(record->headers[0], 0);
    seen->records[seen->count++] = *record;
    return true;
}

/* All messages of a set; false when one is refused. */
static bool read_set(const uint8_t *data, size_t len, size_t max_bytes, struct seen *out,
                     struct err *err)
{
    struct batch batch;
    size_t at = 0;
    *out = (struct seen){0};
    while (batch_walk(data + at, len - at, &batch, err) == BATCH_WALK_ONE) {
        if (!batch_each_record(&batch, max_bytes, see, out, err)) {
            return false;
        }
        at += batch.len;
    }
    return true;
}

/* S17: formats 0 and 1, every codec, nested. */
static void records_of_every_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETS_COUNT; i++) {
        struct seen seen;
        struct err err = {0};
        if (!read_set(sets[i].data, sets[i].len, 4096, &seen, &err)) {
            fail_msg("%s: %s", sets[i].name, err.what);
        }
        assert_int_equal(seen.count, 3);
        static const int64_t offsets[] = {100, 101, 104};
        for (int at = 0; at < 3; at++) {
            int64_t stamp = sets[i].magic == 0    ? -1
                            : sets[i].append_time ? 1600000000999
                                                  : 1600000000000 + at;
            assert_int_equal(seen.records[at].offset, offsets[at]);
            assert_int_equal(seen.records[at].timestamp, stamp);
        }
        assert_string_equal(seen.keys[0], "key");
        assert_string_equal(seen.values[0], "value of the first");
        assert_int_equal(seen.records[1].key_len, -1);
        assert_null(seen.records[1].key);
        assert_string_equal(seen.values[1], "null key, value of the first");
        assert_string_equal(seen.keys[2], "tombstone");
        assert_int_equal(seen.records[2].value_len, -1);
        assert_null(seen.records[2].value);
    }
}

static void a_compressed_message_ends_with_its_last_record(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETS_COUNT; i++) {
        struct batch batch;
        struct err err;
        size_t at = 0;
        int64_t next = 0;
        while (batch_walk(sets[i].data + at, sets[i].len - at, &batch, &err) == BATCH_WALK_ONE) {
            assert_int_equal(batch.magic, sets[i].magic);
            assert_true(batch_crc_ok(&batch));
            assert_int_equal(batch.leader_epoch, -1);
            assert_int_equal(!!(batch.attributes & BATCH_LOG_APPEND_TIME), sets[i].append_time);
            next = batch_next_offset(&batch);
            at += batch.len;
        }
        assert_int_equal(next, 105);
    }
}

static void a_flipped_bit_does_not_fit_the_checksum(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETS_COUNT; i++) {
        uint8_t *copy = malloc(sets[i].len);
        struct batch batch;
        struct err err;
        memcpy(copy, sets[i].data, sets[i].len);
        copy[18] ^= 1; /* of the first message: behind its attributes */
        assert_int_equal(batch_walk(copy, sets[i].len, &batch, &err), BATCH_WALK_ONE);
        assert_false(batch_crc_ok(&batch));
        free(copy);
    }
}

static bool look(void *arg, const struct record *record)
{
    uint64_t *sum = arg;
    *sum ^= record_hash(record);
    return true;
}

/* Any byte may be anything: refused or read, nothing else (ASan looks). */
static void damage_harms_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETS_COUNT; i++) {
        uint8_t *copy = malloc(sets[i].len);
        for (size_t at = 8; at < sets[i].len; at++) {
            for (int bit = 0; bit < 8; bit += 3) {
                struct batch batch;
                struct err err = {0};
                memcpy(copy, sets[i].data, sets[i].len);
                copy[at] ^= (uint8_t)(1 << bit);
                if (batch_walk(copy, sets[i].len, &batch, &err) == BATCH_WALK_ONE) {
                    uint64_t sum = 0;
                    bool ok = batch.magic < 2 && batch_each_record(&batch, 4096, look, &sum, &err);
                    assert_true(ok || batch.magic == 2 || err.what[0] != '\0');
                }
            }
        }
        free(copy);
    }
}

static void bombs_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETS_COUNT; i++) {
        struct seen seen;
        struct err err = {0};
        struct batch batch;
        assert_int_equal(batch_walk(sets[i].data, sets[i].len, &batch, &err), BATCH_WALK_ONE);
        if (batch_codec(&batch) != CODEC_NONE) {
            assert_false(read_set(sets[i].data, sets[i].len, 16, &seen, &err));
            assert_non_null(strstr(err.what, "more than 16 bytes"));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_of_every_form),
        cmocka_unit_test(a_compressed_message_ends_with_its_last_record),
        cmocka_unit_test(a_flipped_bit_does_not_fit_the_checksum),
        cmocka_unit_test(damage_harms_nothing),
        cmocka_unit_test(bombs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
