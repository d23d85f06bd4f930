/* See crc32c.h. Polynomial 0x1EDC6F41, reflected: bit 31 of a register is the coefficient of x^0.
 *
 * Shifting a register over n zero bytes multiplies it by x^(8n) mod P. n is taken byte by byte: powers[i][b] is
 * x^(8 * b * 256^i), so a length below 16 MiB needs at most three multiplications. With pclmul the product comes out
 * times x and crc32q reduces it times x^32, so the table for it holds the same powers divided by x^33.
 */
#include "kafka/crc32c.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* reflected */
#define ONE        0x80000000u /* x^0 */

/* The order of x modulo P: P = (x + 1) * (a primitive polynomial of degree 31). */
#define ORDER 0x7fffffffull

static uint32_t slices[8][256];
static uint32_t powers[8][256];
static uint32_t powers_clmul[8][256];

static uint32_t (*update)(uint32_t raw, const uint8_t *data, size_t len);
static uint32_t (*shift)(uint32_t raw, uint64_t zeros);

/* a * b mod P, one bit of b at a time: used to fill the tables and where there is no pclmul. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;

    for (uint32_t bit = ONE; bit != 0; bit >>= 1) {
        if (b & bit) {
            product ^= a;
        }
        a = (a >> 1) ^ (a & 1 ? POLYNOMIAL : 0);
    }
    return product;
}

static uint32_t power_of_x(uint64_t exponent)
{
    uint32_t result = ONE;

    for (uint32_t square = ONE >> 1; exponent != 0; exponent >>= 1) {
        if (exponent & 1) {
            result = multiply(result, square);
        }
        square = multiply(square, square);
    }
    return result;
}

static uint32_t update_portable(uint32_t raw, const uint8_t *data, size_t len)
{
    for (; len >= 8; data += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        word = le64toh(word) ^ raw;
        raw = slices[7][word & 0xff] ^ slices[6][word >> 8 & 0xff] ^ slices[5][word >> 16 & 0xff] ^
              slices[4][word >> 24 & 0xff] ^ slices[3][word >> 32 & 0xff] ^
              slices[2][word >> 40 & 0xff] ^ slices[1][word >> 48 & 0xff] ^ slices[0][word >> 56];
    }
    for (; len > 0; data++, len--) {
        raw = raw >> 8 ^ slices[0][(raw ^ *data) & 0xff];
    }
    return raw;
}

uint32_t crc32c_shift_portable(uint32_t raw, uint64_t zeros)
{
    for (int i = 0; zeros != 0; i++, zeros >>= 8) {
        if ((zeros & 0xff) != 0) {
            raw = multiply(raw, powers[i][zeros & 0xff]);
        }
    }
    return raw;
}

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>

__attribute__((target("sse4.2"))) static uint64_t step(uint64_t raw, const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, 8);
    return _mm_crc32_u64(raw, word);
}

__attribute__((target("sse4.2"))) static uint32_t update_serial(uint32_t raw, const uint8_t *data,
                                                                size_t len)
{
    uint64_t wide = raw;

    for (; len >= 8; data += 8, len -= 8) {
        wide = step(wide, data);
    }
    raw = (uint32_t)wide;
    for (; len > 0; data++, len--) {
        raw = _mm_crc32_u8(raw, *data);
    }
    return raw;
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t shift_clmul(uint32_t raw, uint64_t zeros)
{
    for (int i = 0; zeros != 0; i++, zeros >>= 8) {
        if ((zeros & 0xff) != 0) {
            __m128i a = _mm_cvtsi32_si128((int)raw);
            __m128i b = _mm_cvtsi32_si128((int)powers_clmul[i][zeros & 0xff]);
            __m128i product = _mm_clmulepi64_si128(a, b, 0);
            raw = (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
        }
    }
    return raw;
}

/* crc32q has a latency of three cycles and can begin each cycle: three streams, joined by shifting. */
#define STREAM_BYTES 1024

__attribute__((target("sse4.2,pclmul"))) static uint32_t
update_hardware(uint32_t raw, const uint8_t *data, size_t len)
{
    for (; len >= (size_t)3 * STREAM_BYTES; data += 3 * STREAM_BYTES, len -= 3 * STREAM_BYTES) {
        uint64_t first = raw;
        uint64_t second = 0;
        uint64_t third = 0;
        for (size_t i = 0; i < STREAM_BYTES; i += 8) {
            first = step(first, data + i);
            second = step(second, data + STREAM_BYTES + i);
            third = step(third, data + (size_t)2 * STREAM_BYTES + i);
        }
        raw = shift_clmul(shift_clmul((uint32_t)first, STREAM_BYTES) ^ (uint32_t)second,
                          STREAM_BYTES) ^
              (uint32_t)third;
    }
    return update_serial(raw, data, len);
}

static bool choose_hardware(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("pclmul")) {
        return false;
    }
    update = update_hardware;
    shift = shift_clmul;
    return true;
}
#else
static bool choose_hardware(void)
{
    return false;
}
#endif

static void fill_slices(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t raw = i;
        for (int bit = 0; bit < 8; bit++) {
            raw = (raw >> 1) ^ (raw & 1 ? POLYNOMIAL : 0);
        }
        slices[0][i] = raw;
    }
    for (int k = 1; k < 8; k++) {
        for (int i = 0; i < 256; i++) {
            uint32_t before = slices[k - 1][i];
            slices[k][i] = before >> 8 ^ slices[0][before & 0xff];
        }
    }
}

static void fill_powers(void)
{
    uint32_t divided_by_x33 = power_of_x(ORDER - 33);
    uint32_t base = power_of_x(8);

    for (int i = 0; i < 8; i++) {
        powers[i][0] = ONE;
        for (int b = 1; b < 256; b++) {
            powers[i][b] = multiply(powers[i][b - 1], base);
        }
        for (int b = 0; b < 256; b++) {
            powers_clmul[i][b] = multiply(powers[i][b], divided_by_x33);
        }
        base = multiply(powers[i][255], base);
    }
}

/* Before main(), so that no call has to ask whether the tables are there and no two threads fill them. */
__attribute__((constructor)) static void crc32c_prepare(void)
{
    fill_slices();
    fill_powers();
    if (!choose_hardware()) {
        update = update_portable;
        shift = crc32c_shift_portable;
    }
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    return ~update(~crc, data, len);
}

uint32_t crc32c_raw(const void *data, size_t len)
{
    return update(0, data, len);
}

uint32_t crc32c_shift(uint32_t raw, uint64_t zeros)
{
    return shift(raw, zeros);
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len)
{
    return ~update_portable(~crc, data, len);
}
