/* kafka/codec: every codec and size comes back, the bound holds to the byte, damage is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kafka/codec.h"
#include "tests/fake/batches.h"

static const struct {
    enum batch_codec codec;
    bool java;
} forms[] = {
    {CODEC_GZIP,   false},
    {CODEC_SNAPPY, false},
    {CODEC_SNAPPY, true },
    {CODEC_LZ4,    false},
    {CODEC_ZSTD,   false},
};
#define FORMS_COUNT (sizeof(forms) / sizeof(forms[0]))

/* Half noise, half text that repeats. */
static uint8_t *sample(size_t len)
{
    uint8_t *data = malloc(len + 1);

    srand(11);
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)(i % 64 < 32 ? 'a' + (int)(i % 16) : rand());
    }
    return data;
}

static void every_size_comes_back(void **state)
{
    static const size_t sizes[] = {1, 2, 100, 4095, 65535, 65536, 65537, 131072, 300000, 1 << 20};

    (void)state;
    for (size_t form = 0; form < FORMS_COUNT; form++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            uint8_t *data = sample(sizes[i]);
            size_t packed_len;
            uint8_t *packed =
                fake_compress(forms[form].codec, forms[form].java, data, sizes[i], &packed_len);
            uint8_t *out = NULL;
            size_t out_len = 0;
            struct err err = {0};
            /* exactly at the bound */
            assert_true(codec_decompress(forms[form].codec, packed, packed_len, sizes[i], &out,
                                         &out_len, &err));
            assert_int_equal(out_len, sizes[i]);
            assert_memory_equal(out, data, sizes[i]);
            free(out);
            out = NULL;
            /* one byte above it */
            assert_false(codec_decompress(forms[form].codec, packed, packed_len, sizes[i] - 1, &out,
                                          &out_len, &err));
            assert_int_equal(err.kind, ERR_REFUSED);
            assert_null(out);
            free(packed);
            free(data);
        }
    }
}

static void every_cut_is_refused(void **state)
{
    uint8_t *data = sample(3000);

    (void)state;
    for (size_t form = 0; form < FORMS_COUNT; form++) {
        size_t packed_len;
        uint8_t *packed =
            fake_compress(forms[form].codec, forms[form].java, data, 3000, &packed_len);
        for (size_t len = 0; len < packed_len; len++) {
            uint8_t *cut = malloc(len == 0 ? 1 : len);
            uint8_t *out;
            size_t out_len;
            struct err err;
            memcpy(cut, packed, len);
            bool ok = codec_decompress(forms[form].codec, cut, len, 1 << 20, &out, &out_len, &err);
            /* the Java frames may end behind any block; here there is one, so behind the head */
            if (ok) {
                assert_true(forms[form].java && len == 16 && out_len == 0 && out != NULL);
                free(out);
            }
            free(cut);
        }
        free(packed);
    }
    free(data);
}

static void flipped_bits_harm_nothing(void **state)
{
    uint8_t *data = sample(700);

    (void)state;
    for (size_t form = 0; form < FORMS_COUNT; form++) {
        size_t packed_len;
        uint8_t *packed =
            fake_compress(forms[form].codec, forms[form].java, data, 700, &packed_len);
        for (size_t bit = 0; bit < packed_len * 8; bit++) {
            uint8_t *out;
            size_t out_len;
            packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (codec_decompress(forms[form].codec, packed, packed_len, 4096, &out, &out_len,
                                 NULL)) {
                assert_true(out_len <= 4096);
                free(out);
            }
            packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        free(packed);
    }
    free(data);
}

static void members_and_frames_one_after_the_other(void **state)
{
    static const enum batch_codec codecs[] = {CODEC_GZIP, CODEC_LZ4, CODEC_ZSTD};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        size_t len;
        uint8_t *one = fake_compress(codecs[i], false, (const uint8_t *)"hello ", 6, &len);
        uint8_t *two = malloc(2 * len);
        uint8_t *out;
        size_t out_len;
        memcpy(two, one, len);
        memcpy(two + len, one, len);
        assert_true(codec_decompress(codecs[i], two, 2 * len, 100, &out, &out_len, NULL));
        assert_int_equal(out_len, 12);
        assert_memory_equal(out, "hello hello ", 12);
        free(out);
        free(one);
        free(two);
    }
}

/* A few bytes that claim 4 GiB: refused before anything is reserved. */
static void snappy_claims_are_checked_first(void **state)
{
    static const uint8_t claims[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x61};
    uint8_t *out = NULL;
    size_t out_len;
    struct err err = {0};

    (void)state;
    assert_false(
        codec_decompress(CODEC_SNAPPY, claims, sizeof(claims), SIZE_MAX / 2, &out, &out_len, &err));
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_non_null(strstr(err.what, "cannot hold"));
}

static void nothing_and_unknown_are_refused(void **state)
{
    uint8_t *out;
    size_t out_len;

    (void)state;
    assert_false(codec_decompress(CODEC_NONE, (const uint8_t *)"x", 1, 10, &out, &out_len, NULL));
    assert_false(
        codec_decompress((enum batch_codec)7, (const uint8_t *)"x", 1, 10, &out, &out_len, NULL));
    for (size_t form = 0; form < FORMS_COUNT; form++) {
        assert_false(codec_decompress(forms[form].codec, NULL, 0, 10, &out, &out_len, NULL));
    }
    assert_string_equal(codec_name(CODEC_ZSTD), "zstd");
    assert_string_equal(codec_name((enum batch_codec)6), "unknown");
}

/* What we compress comes back by our own reader; other people's are asked in tests/integration/test_recode.py. */
static void what_we_compress_comes_back(void **state)
{
    static const size_t sizes[] = {1, 100, 65536, 65537, 300000};
    (void)state;
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            uint8_t *data = sample(sizes[i]);
            struct writer packed;
            struct err err = {0};
            writer_init(&packed);
            writer_bytes(&packed, "head", 4); /* it is appended to what is there */
            assert_true(codec_compress((enum batch_codec)codec, data, sizes[i], &packed, &err));
            assert_memory_equal(packed.data, "head", 4);
            if (codec == CODEC_NONE) {
                assert_memory_equal(packed.data + 4, data, sizes[i]);
            } else {
                uint8_t *out = NULL;
                size_t out_len = 0;
                assert_true(codec_decompress((enum batch_codec)codec, packed.data + 4,
                                             packed.len - 4, sizes[i], &out, &out_len, &err));
                assert_int_equal(out_len, sizes[i]);
                assert_memory_equal(out, data, sizes[i]);
                free(out);
            }
            writer_done(&packed);
            free(data);
        }
    }
    struct writer none;
    writer_init(&none);
    assert_false(codec_compress((enum batch_codec)7, (const uint8_t *)"x", 1, &none, NULL));
    assert_int_equal(none.len, 0);
    writer_done(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_comes_back),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(flipped_bits_harm_nothing),
        cmocka_unit_test(members_and_frames_one_after_the_other),
        cmocka_unit_test(snappy_claims_are_checked_first),
        cmocka_unit_test(nothing_and_unknown_are_refused),
        cmocka_unit_test(what_we_compress_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
