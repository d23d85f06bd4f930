/* kafka/crc32c: RFC 3720 vectors, hardware against tables, and the algebra that the header patch stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kafka/crc32c.h"

static uint8_t noise[1 << 16];

static int fill_noise(void **state)
{
    (void)state;
    srand(1);
    for (size_t i = 0; i < sizeof(noise); i++) {
        noise[i] = (uint8_t)rand();
    }
    return 0;
}

static void rfc3720_vectors(void **state)
{
    uint8_t bytes[32];

    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x8a9136aau);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43u);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x46dd794eu);
    assert_int_equal(crc32c_portable(0, bytes, sizeof(bytes)), 0x46dd794eu);
    assert_int_equal(crc32c(0, bytes, 0), 0);
}

static uint32_t bit_by_bit(uint32_t crc, const uint8_t *data, size_t len)
{
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0);
        }
    }
    return ~crc;
}

/* Every length around the borders of words and of the three streams, at every alignment. */
static void hardware_tables_and_definition_agree(void **state)
{
    (void)state;
    for (size_t len = 0; len < 100; len++) {
        for (size_t at = 0; at < 9; at++) {
            uint32_t expected = bit_by_bit(0, noise + at, len);
            assert_int_equal(crc32c(0, noise + at, len), expected);
            assert_int_equal(crc32c_portable(0, noise + at, len), expected);
        }
    }
    for (size_t len = 3000; len < 3200; len++) {
        assert_int_equal(crc32c(5, noise + 1, len), crc32c_portable(5, noise + 1, len));
    }
    for (size_t len = 6100; len < 6200; len++) {
        assert_int_equal(crc32c(5, noise + 3, len), bit_by_bit(5, noise + 3, len));
    }
    assert_int_equal(crc32c(0, noise, sizeof(noise)), crc32c_portable(0, noise, sizeof(noise)));
}

static void checksums_continue(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < 200; cut++) {
        assert_int_equal(crc32c(crc32c(0, noise, cut), noise + cut, 200 - cut),
                         crc32c(0, noise, 200));
    }
}

static void raw_is_linear(void **state)
{
    uint8_t sum[300];

    (void)state;
    for (size_t i = 0; i < sizeof(sum); i++) {
        sum[i] = noise[i] ^ noise[1000 + i];
    }
    assert_int_equal(crc32c_raw(sum, sizeof(sum)),
                     crc32c_raw(noise, sizeof(sum)) ^ crc32c_raw(noise + 1000, sizeof(sum)));
}

static void shift_is_appending_zeros(void **state)
{
    static uint8_t zeros[70000];

    (void)state;
    for (size_t len = 0; len < sizeof(zeros); len += len < 600 ? 1 : 617) {
        memcpy(zeros, noise, 40);
        uint32_t expected = len < 40 ? 0 : crc32c_raw(zeros, len);
        if (len >= 40) {
            assert_int_equal(crc32c_shift(crc32c_raw(noise, 40), len - 40), expected);
            assert_int_equal(crc32c_shift_portable(crc32c_raw(noise, 40), len - 40), expected);
        }
    }
}

/* Shifts add up, also where all eight bytes of the count are in use. */
static void huge_shifts_add_up(void **state)
{
    static const uint64_t counts[] = {
        1, 255, 256, 65535, 1 << 24, 0xffffffffull, 0x0123456789abcdefull};

    (void)state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        uint32_t raw = 0xdeadbeefu + (uint32_t)i;
        uint32_t once = crc32c_shift(raw, counts[i] + 12345);
        assert_int_equal(once, crc32c_shift(crc32c_shift(raw, counts[i]), 12345));
        assert_int_equal(once, crc32c_shift_portable(raw, counts[i] + 12345));
    }
    assert_int_equal(crc32c_shift(77, 0), 77);
}

/* What batch_patch_header() does, 200,000 times: change 40 bytes, derive the checksum, compare with computing it. */
static void changed_beginnings_need_no_second_pass(void **state)
{
    static uint8_t data[1 << 16];

    (void)state;
    memcpy(data, noise, sizeof(data));
    for (int round = 0; round < 200000; round++) {
        uint8_t change[40] = {0};
        /* mostly short ones, so that 200,000 full computations take seconds */
        size_t len = 40 + (size_t)rand() % (round % 100 == 0 ? sizeof(data) - 40 : 400);
        uint32_t before = crc32c(0, data, len);
        for (int i = 0; i < 40; i++) {
            change[i] = (uint8_t)rand();
            data[i] ^= change[i];
        }
        uint32_t derived = before ^ crc32c_shift(crc32c_raw(change, 40), len - 40);
        assert_int_equal(derived, crc32c(0, data, len));
        assert_int_equal(derived, before ^ crc32c_shift_portable(crc32c_raw(change, 40), len - 40));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc3720_vectors),
        cmocka_unit_test(hardware_tables_and_definition_agree),
        cmocka_unit_test(checksums_continue),
        cmocka_unit_test(raw_is_linear),
        cmocka_unit_test(shift_is_appending_zeros),
        cmocka_unit_test(huge_shifts_add_up),
        cmocka_unit_test(changed_beginnings_need_no_second_pass),
    };
    return cmocka_run_group_tests(tests, fill_noise, NULL);
}
