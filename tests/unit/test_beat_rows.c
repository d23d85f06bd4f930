/* mirror/beat_rows: what a worker tells of many partitions, small on the way and whole where it is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "base/json.h"
#include "kafka/codec.h"
#include "mirror/beat_rows.h"

/* As mirror/link_report has it: 1,000 topics of ten partitions, each somewhere else, some of them moving. */
static json_t *row_of(int n)
{
    char topic[64];
    json_int_t source = (json_int_t)n * 2654435761 % 1000000007;
    json_int_t target = source - n % 977;
    json_int_t lag = n % 7 == 0 ? n % 389 : 0;
    snprintf(topic, sizeof(topic), "orders.region%d.events", n / 10);
    return json_pack("{sssisssssssIsIsIsIsfsbsisfsssbsIsIsI}", "topic", topic, "partition", n % 10,
                     "state", "mirroring", "why", "", "trouble", "", "source_next", source,
                     "target_next", target, "source_end", source + lag, "lag_records", lag, "lag_s",
                     lag > 0 ? 0.25 + n % 5 : 0.0, "order_not_guarded", 0, "generation", 1,
                     "bytes_per_s", lag > 0 ? 1234.5678 * (n % 31) : 0.0, "limited_by", "nothing",
                     "slow_connection", 0, "unmapped_offsets", (json_int_t)0, "seen_end",
                     source + lag, "seen_ms", 1764158697000 + (json_int_t)n * 7919 % 1000);
}

static json_t *beat_of(int rows_count)
{
    json_t *rows = json_array();
    for (int i = 0; i < rows_count; i++) {
        json_array_append_new(rows, row_of(i));
    }
    return json_pack("{ssssso}", "worker", "w1", "fenced", "op-1", "partitions", rows);
}

static size_t bytes_of(const json_t *beat)
{
    char *text = json_text(beat);
    size_t len = strlen(text);
    free(text);
    return len;
}

static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void many_rows_are_small_and_come_back_as_they_were(void **state)
{
    (void)state;
    static const int counts[] = {BEAT_ROWS_PLAIN + 1, 500, 10000};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        json_t *beat = beat_of(counts[i]);
        json_t *before = json_deep_copy(beat);
        json_t *rows = json_incref(json_object_get(beat, "partitions")); /* freed either way */
        double began = cpu_ms();
        size_t plain = bytes_of(beat);
        double plain_ms = cpu_ms() - began;
        began = cpu_ms();
        beat_rows_pack(beat);
        size_t packed = bytes_of(beat);
        double packed_ms = cpu_ms() - began;
        /* Who asks only what the worker is at reads no rows. */
        assert_string_equal(json_string_value(json_object_get(beat, "fenced")), "op-1");
        assert_null(json_object_get(beat, "partitions"));
        began = cpu_ms();
        assert_true(beat_rows_unpack(beat));
        printf("%d rows: %zu bytes were %zu; %.0f ms to tell them were %.0f, %.0f to unpack\n",
               counts[i], packed, plain, packed_ms, plain_ms, cpu_ms() - began);
        assert_true(json_equal(beat, before));
        assert_true(packed * (counts[i] == 10000 ? 8 : 3) < plain);
        json_decref(rows);
        json_decref(before);
        json_decref(beat);
    }
}

static void few_rows_stay_readable(void **state)
{
    (void)state;
    static const int counts[] = {0, 1, BEAT_ROWS_PLAIN};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        json_t *beat = beat_of(counts[i]);
        json_t *before = json_deep_copy(beat);
        beat_rows_pack(beat);
        assert_true(json_equal(beat, before));
        assert_true(beat_rows_unpack(beat));
        assert_true(json_equal(beat, before));
        json_decref(before);
        json_decref(beat);
    }
}

static void refused(json_t *take_packed)
{
    json_t *beat = json_pack("{ssso}", "worker", "w1", "partitions_zstd", take_packed);
    json_t *before = json_deep_copy(beat);
    assert_false(beat_rows_unpack(beat));
    assert_true(json_equal(beat, before));
    json_decref(before);
    json_decref(beat);
}

static json_t *packed_of(const uint8_t *text, size_t len)
{
    char base64[8192];
    struct writer packed;
    struct err err;
    writer_init(&packed);
    assert_true(codec_compress(CODEC_ZSTD, text, len, &packed, &err));
    assert_in_range(packed.len, 1, 6000);
    EVP_EncodeBlock((unsigned char *)base64, packed.data, (int)packed.len);
    writer_done(&packed);
    return json_string(base64);
}

/* Rows are there whole, or the worker has told nothing. */
static void a_part_of_them_is_refused(void **state)
{
    (void)state;
    json_t *beat = beat_of(100);
    beat_rows_pack(beat);
    const char *text = json_string_value(json_object_get(beat, "partitions_zstd"));
    size_t len = strlen(text);
    for (size_t cut = 0; cut < len; cut++) {
        refused(json_stringn(text, cut));
    }
    for (size_t at = 0; at < len; at += 17) {
        char *bad = strdup(text);
        bad[at] = '*';
        refused(json_string(bad));
        free(bad);
    }
    json_decref(beat);
    refused(json_integer(7));
    refused(json_null());
    refused(json_array());
    refused(json_string("===="));
    refused(json_string("AAAA"));
    refused(packed_of((const uint8_t *)"{}", 2));
    refused(packed_of((const uint8_t *)"[1", 2));
}

/* A few bytes that become more than anybody reads. */
static void a_bomb_is_refused(void **state)
{
    (void)state;
    size_t len = BEAT_ROWS_BYTES_MAX;
    uint8_t *spaces = malloc(len + 1);
    memset(spaces, ' ', len + 1);
    memcpy(spaces, "[]", 2);
    refused(packed_of(spaces, len + 1));
    json_t *beat = json_pack("{so}", "partitions_zstd", packed_of(spaces, len));
    assert_true(beat_rows_unpack(beat));
    assert_true(json_is_array(json_object_get(beat, "partitions")));
    json_decref(beat);
    free(spaces);
}

static void more_than_is_read_is_told_as_it_is(void **state)
{
    (void)state;
    char *much = malloc(1 << 20);
    json_t *rows = json_array();
    json_t *beat = json_pack("{so}", "partitions", rows);
    memset(much, 'x', 1 << 20);
    for (int i = 0; i < BEAT_ROWS_PLAIN + 1; i++) {
        json_array_append_new(rows, json_stringn(much, 1 << 20));
    }
    beat_rows_pack(beat);
    assert_int_equal(json_array_size(json_object_get(beat, "partitions")), BEAT_ROWS_PLAIN + 1);
    json_decref(beat);
    free(much);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_rows_are_small_and_come_back_as_they_were),
        cmocka_unit_test(few_rows_stay_readable),
        cmocka_unit_test(a_part_of_them_is_refused),
        cmocka_unit_test(a_bomb_is_refused),
        cmocka_unit_test(more_than_is_read_is_told_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
