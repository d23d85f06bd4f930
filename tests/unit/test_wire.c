/* kafka/wire: known vectors, every cut, lengths and counts that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kafka/wire.h"

#define HOSTILE_ROUNDS 2000

/* A copy on the heap of exactly `len` bytes, so that the sanitizer sees one read too far. */
static uint8_t *exact(const void *data, size_t len)
{
    uint8_t *copy = malloc(len == 0 ? 1 : len);
    memcpy(copy, data, len);
    return copy;
}

static void uvarint_vectors(void **state)
{
    static const struct {
        uint32_t value;
        uint8_t bytes[5];
        size_t len;
    } vectors[] = {
        {0,          {0x00},                         1},
        {1,          {0x01},                         1},
        {127,        {0x7f},                         1},
        {128,        {0x80, 0x01},                   2},
        {300,        {0xac, 0x02},                   2},
        {16384,      {0x80, 0x80, 0x01},             3},
        {UINT32_MAX, {0xff, 0xff, 0xff, 0xff, 0x0f}, 5},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        struct writer writer;
        writer_init(&writer);
        wire_put_uvarint(&writer, vectors[i].value);
        assert_int_equal(writer.len, vectors[i].len);
        assert_memory_equal(writer.data, vectors[i].bytes, writer.len);
        struct reader reader = reader_over(writer.data, writer.len);
        assert_int_equal(wire_uvarint(&reader), vectors[i].value);
        assert_false(reader.bad);
        assert_int_equal(reader_left(&reader), 0);
        writer_done(&writer);
    }
}

static void uvarint_refuses_what_does_not_fit(void **state)
{
    static const uint8_t sixth_byte[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x01};
    static const uint8_t bit_33[] = {0xff, 0xff, 0xff, 0xff, 0x1f};
    static const uint8_t cut[] = {0x80};
    struct reader reader;

    (void)state;
    reader = reader_over(sixth_byte, sizeof(sixth_byte));
    assert_int_equal(wire_uvarint(&reader), 0);
    assert_true(reader.bad);
    reader = reader_over(bit_33, sizeof(bit_33));
    wire_uvarint(&reader);
    assert_true(reader.bad);
    reader = reader_over(cut, sizeof(cut));
    assert_int_equal(wire_uvarint(&reader), 0);
    assert_true(reader.bad);
}

static void varlong_round_trips(void **state)
{
    static const int64_t values[] = {0,  -1,        1,         -2,        63,        -64,
                                     64, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 1LL << 40};

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct writer writer;
        writer_init(&writer);
        wire_put_varlong(&writer, values[i]);
        struct reader reader = reader_over(writer.data, writer.len);
        assert_true(wire_varlong(&reader) == values[i]);
        assert_false(reader.bad);
        assert_int_equal(reader_left(&reader), 0);
        writer_done(&writer);
    }
}

static void varlong_vectors(void **state)
{
    static const uint8_t minus_one[] = {0x01};
    static const uint8_t sixty_four[] = {0x80, 0x01};
    static const uint8_t too_long[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03};
    struct reader reader;

    (void)state;
    reader = reader_over(minus_one, sizeof(minus_one));
    assert_int_equal(wire_varlong(&reader), -1);
    reader = reader_over(sixty_four, sizeof(sixty_four));
    assert_int_equal(wire_varlong(&reader), 64);
    reader = reader_over(too_long, sizeof(too_long));
    assert_int_equal(wire_varlong(&reader), 0);
    assert_true(reader.bad);
}

static void strings_round_trip(void **state)
{
    struct writer writer;

    (void)state;
    writer_init(&writer);
    wire_put_string(&writer, "orders");
    wire_put_string(&writer, NULL);
    wire_put_string(&writer, "");
    wire_put_compact_string(&writer, "orders");
    wire_put_compact_string(&writer, NULL);
    wire_put_compact_string(&writer, "");
    struct reader reader = reader_over(writer.data, writer.len);
    struct wire_string got[6];
    for (int i = 0; i < 6; i++) {
        got[i] = i < 3 ? wire_string(&reader) : wire_compact_string(&reader);
    }
    assert_false(reader.bad);
    assert_int_equal(reader_left(&reader), 0);
    for (int i = 0; i < 6; i += 3) {
        assert_int_equal(got[i].len, 6);
        assert_memory_equal(got[i].data, "orders", 6);
        assert_int_equal(got[i + 1].len, -1);
        assert_null(got[i + 1].data);
        assert_int_equal(got[i + 2].len, 0);
        assert_non_null(got[i + 2].data);
    }
    writer_done(&writer);
}

static void strings_refuse_lengths_that_lie(void **state)
{
    static const uint8_t longer_than_left[] = {0x00, 0x05, 'a', 'b'};
    static const uint8_t negative[] = {0xff, 0xfe, 'a', 'b'};
    static const uint8_t compact_huge[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 'a'};
    struct reader reader;

    (void)state;
    reader = reader_over(longer_than_left, sizeof(longer_than_left));
    assert_int_equal(wire_string(&reader).len, -1);
    assert_true(reader.bad);
    reader = reader_over(negative, sizeof(negative));
    wire_string(&reader);
    assert_true(reader.bad);
    reader = reader_over(compact_huge, sizeof(compact_huge));
    assert_null(wire_compact_string(&reader).data);
    assert_true(reader.bad);
}

static void arrays_refuse_counts_that_lie(void **state)
{
    static const uint8_t null_array[] = {0xff, 0xff, 0xff, 0xff};
    static const uint8_t minus_two[] = {0xff, 0xff, 0xff, 0xfe};
    static const uint8_t three_of_two[] = {0, 0, 0, 3, 1, 2, 3, 4};
    static const uint8_t two_of_two[] = {0, 0, 0, 2, 1, 2, 3, 4};
    static const uint8_t compact_max[] = {0xff, 0xff, 0xff, 0xff, 0x0f};
    static const uint8_t compact_null[] = {0};
    struct reader reader;

    (void)state;
    reader = reader_over(null_array, 4);
    assert_int_equal(wire_array(&reader, 2), -1);
    assert_false(reader.bad);
    reader = reader_over(minus_two, 4);
    assert_int_equal(wire_array(&reader, 2), 0);
    assert_true(reader.bad);
    reader = reader_over(three_of_two, 8);
    assert_int_equal(wire_array(&reader, 2), 0);
    assert_true(reader.bad);
    reader = reader_over(two_of_two, 8);
    assert_int_equal(wire_array(&reader, 2), 2);
    assert_false(reader.bad);
    reader = reader_over(compact_max, 5);
    assert_int_equal(wire_compact_array(&reader, 1), 0);
    assert_true(reader.bad);
    reader = reader_over(compact_null, 1);
    assert_int_equal(wire_compact_array(&reader, 1), -1);
    assert_false(reader.bad);
    reader = reader_over(compact_null, 0); /* a reader that is bad gives 0, not null: loops end */
    assert_int_equal(wire_compact_array(&reader, 1), 0);
    assert_true(reader.bad);
}

static void tags_are_walked_and_skipped(void **state)
{
    /* two fields: tag 0 of 2 bytes, tag 5 of none; then one byte that is not theirs */
    static const uint8_t bytes[] = {0x02, 0x00, 0x02, 0xaa, 0xbb, 0x05, 0x00, 0x77};
    struct reader reader = reader_over(bytes, sizeof(bytes));
    struct reader field;
    uint32_t tag = 99;
    uint32_t left = wire_uvarint(&reader);

    (void)state;
    assert_true(wire_next_tag(&reader, &left, &tag, &field));
    assert_int_equal(tag, 0);
    assert_int_equal(reader_left(&field), 2);
    assert_true(wire_next_tag(&reader, &left, &tag, &field));
    assert_int_equal(tag, 5);
    assert_int_equal(reader_left(&field), 0);
    assert_false(wire_next_tag(&reader, &left, &tag, &field));
    assert_false(reader.bad);
    assert_int_equal((uint8_t)reader_i8(&reader), 0x77);
    reader = reader_over(bytes, sizeof(bytes));
    wire_skip_tags(&reader);
    assert_int_equal((uint8_t)reader_i8(&reader), 0x77);
    assert_false(reader.bad);
}

static void tags_cut_anywhere_are_bad(void **state)
{
    static const uint8_t bytes[] = {0x02, 0x00, 0x02, 0xaa, 0xbb, 0x05, 0x00};

    (void)state;
    for (size_t len = 0; len < sizeof(bytes); len++) {
        uint8_t *copy = exact(bytes, len);
        struct reader reader = reader_over(copy, len);
        wire_skip_tags(&reader);
        assert_true(reader.bad);
        free(copy);
    }
}

static void huge_tag_counts_end_at_once(void **state)
{
    static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 0x01,
                                    0xff, 0xff, 0xff, 0xff, 0x0f};
    struct reader reader = reader_over(bytes, sizeof(bytes));

    (void)state;
    wire_skip_tags(&reader);
    assert_true(reader.bad);
}

static void uuids(void **state)
{
    struct uuid uuid;
    struct uuid other;
    char text[UUID_TEXT_BYTES];
    struct writer writer;

    (void)state;
    assert_true(uuid_parse_hex("00112233445566778899aaBBccddEEff", &uuid));
    assert_string_equal(uuid_hex(&uuid, text), "00112233445566778899aabbccddeeff");
    assert_false(uuid_is_zero(&uuid));
    other = uuid;
    assert_false(uuid_parse_hex("00112233445566778899aabbccddeef", &other));
    assert_false(uuid_parse_hex("00112233445566778899aabbccddeeff0", &other));
    assert_false(uuid_parse_hex("00112233445566778899aabbccddeefg", &other));
    assert_true(uuid_equal(&uuid, &other)); /* untouched by what failed */
    writer_init(&writer);
    wire_put_uuid(&writer, &uuid);
    struct reader reader = reader_over(writer.data, writer.len);
    other = wire_uuid(&reader);
    assert_true(uuid_equal(&uuid, &other));
    reader = reader_over(writer.data, writer.len - 1);
    other = wire_uuid(&reader);
    assert_true(reader.bad);
    assert_true(uuid_is_zero(&other));
    writer_done(&writer);
}

/* Whatever the bytes: no read past them (the sanitizer watches), and a bad reader stays bad and gives nothing. */
static void random_bytes_harm_nothing(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < HOSTILE_ROUNDS; round++) {
        uint8_t bytes[24];
        size_t len = (size_t)rand() % sizeof(bytes);
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (uint8_t)(rand() % 4 == 0 ? 0xff : rand());
        }
        uint8_t *copy = exact(bytes, len);
        struct reader reader = reader_over(copy, len);
        wire_compact_string(&reader);
        wire_skip_tags(&reader);
        wire_compact_array(&reader, 1);
        wire_varlong(&reader);
        wire_string(&reader);
        if (reader.bad) {
            assert_int_equal(wire_uvarint(&reader), 0);
            assert_null(wire_string(&reader).data);
            assert_true(reader.bad);
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uvarint_vectors),
        cmocka_unit_test(uvarint_refuses_what_does_not_fit),
        cmocka_unit_test(varlong_round_trips),
        cmocka_unit_test(varlong_vectors),
        cmocka_unit_test(strings_round_trip),
        cmocka_unit_test(strings_refuse_lengths_that_lie),
        cmocka_unit_test(arrays_refuse_counts_that_lie),
        cmocka_unit_test(tags_are_walked_and_skipped),
        cmocka_unit_test(tags_cut_anywhere_are_bad),
        cmocka_unit_test(huge_tag_counts_end_at_once),
        cmocka_unit_test(uuids),
        cmocka_unit_test(random_bytes_harm_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
