/* base/buf: blocks that come back, a reader that never reads past the end, a writer that grows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void the_last_view_frees_a_block(void **state)
{
    (void)state;
    struct buf *buf = buf_new(NULL, 100);
    assert_true(buf->capacity >= 100);
    assert_int_equal(buf->len, 0);
    assert_ptr_equal(buf_ref(buf), buf);
    buf_unref(buf);
    memset(buf->data, 'x', 100); /* still ours; the sanitizer looks */
    buf_unref(buf);
    buf_unref(NULL);
    buf = buf_new(NULL, 0);
    buf_unref(buf);
}

static void a_pool_gives_blocks_again(void **state)
{
    struct buf_pool *pool = buf_pool_new(1 << 20);
    (void)state;
    struct buf *first = buf_new(pool, 5000);
    assert_int_equal(first->capacity, 8192);
    assert_int_equal(buf_pool_used_bytes(pool), 8192);
    first->len = 17;
    buf_ref(first);
    buf_unref(first);
    assert_int_equal(buf_pool_used_bytes(pool), 8192);
    buf_unref(first);
    assert_int_equal(buf_pool_used_bytes(pool), 0);
    struct buf *again = buf_new(pool, 8192);
    assert_ptr_equal(again, first);
    assert_int_equal(again->len, 0);
    assert_int_equal(again->refs_count, 1);
    struct buf *other = buf_new(pool, 8193);
    assert_int_equal(other->capacity, 16384);
    assert_int_equal(buf_pool_used_bytes(pool), 8192 + 16384);
    buf_unref(again);
    buf_unref(other);
    buf_pool_free(pool);
}

/* Kept bytes are bounded: what is above goes back to the heap (the leak checker sees the rest). */
static void a_pool_keeps_no_more_than_told(void **state)
{
    struct buf_pool *pool = buf_pool_new(3 * 4096);
    struct buf *held[8];
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 8; i++) {
            held[i] = buf_new(pool, 4096);
        }
        assert_int_equal(buf_pool_used_bytes(pool), 8 * 4096);
        for (int i = 0; i < 8; i++) {
            buf_unref(held[i]);
        }
        assert_int_equal(buf_pool_used_bytes(pool), 0);
    }
    buf_pool_free(pool);
    buf_pool_free(NULL);
}

static void numbers_go_and_come_back(void **state)
{
    struct writer writer;
    (void)state;
    writer_init(&writer);
    writer_i8(&writer, -2);
    writer_i16(&writer, INT16_MIN);
    writer_i32(&writer, -3);
    writer_u32(&writer, UINT32_MAX);
    writer_i64(&writer, INT64_MIN + 1);
    writer_bytes(&writer, "abc", 3);
    writer_bytes(&writer, NULL, 0);
    static const uint8_t expected[] = {0xfe, 0x80, 0x00, 0xff, 0xff, 0xff, 0xfd, 0xff,
                                       0xff, 0xff, 0xff, 0x80, 0,    0,    0,    0,
                                       0,    0,    1,    'a',  'b',  'c'};
    assert_int_equal(writer.len, sizeof(expected));
    assert_memory_equal(writer.data, expected, sizeof(expected));
    writer_patch_i32(&writer, 3, 0x01020304);
    struct buf *buf = writer_take(&writer);
    assert_int_equal(writer.len, 0);
    assert_null(writer.data);
    struct reader reader = reader_over(buf->data, buf->len);
    assert_int_equal(reader_i8(&reader), -2);
    assert_int_equal(reader_i16(&reader), INT16_MIN);
    assert_int_equal(reader_i32(&reader), 0x01020304);
    assert_int_equal(reader_u32(&reader), UINT32_MAX);
    assert_true(reader_i64(&reader) == INT64_MIN + 1);
    assert_memory_equal(reader_bytes(&reader, 3), "abc", 3);
    assert_int_equal(reader_left(&reader), 0);
    assert_false(reader.bad);
    buf_unref(buf);
    writer_done(&writer);
}

/* A decoder checks once, at its end: after the first read past it everything is 0 and nothing moves. */
static void a_read_past_the_end_latches(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5};
    (void)state;
    struct reader reader = reader_over(bytes, sizeof(bytes));
    assert_int_equal(reader_i32(&reader), 0x01020304);
    assert_int_equal(reader_i16(&reader), 0);
    assert_true(reader.bad);
    assert_int_equal(reader_i8(&reader), 0); /* one byte is left, and is not given */
    assert_null(reader_bytes(&reader, 0));
    assert_int_equal(reader_left(&reader), 1);
}

static void every_length_is_checked(void **state)
{
    static const uint8_t bytes[8] = {0};
    (void)state;
    for (size_t len = 0; len < 8; len++) {
        struct reader reader = reader_over(bytes, len);
        assert_int_equal(reader_i64(&reader), 0);
        assert_true(reader.bad);
    }
    struct reader reader = reader_over(bytes, 8);
    assert_null(reader_bytes(&reader, SIZE_MAX));
    assert_true(reader.bad);
    reader = reader_over(NULL, 0);
    assert_int_equal(reader_i8(&reader), 0);
    assert_true(reader.bad);
}

static void a_writer_grows(void **state)
{
    struct writer writer;
    char chunk[777];
    (void)state;
    writer_init(&writer);
    struct buf *empty = writer_take(&writer);
    assert_int_equal(empty->len, 0);
    assert_non_null(empty->data);
    buf_unref(empty);
    for (int i = 0; i < 1000; i++) {
        memset(chunk, i, sizeof(chunk));
        writer_bytes(&writer, chunk, sizeof(chunk));
    }
    assert_int_equal(writer.len, 777000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(writer.data[i * 777], i & 0xff);
        assert_int_equal(writer.data[i * 777 + 776], i & 0xff);
    }
    writer_done(&writer);
    assert_null(writer.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_view_frees_a_block),
        cmocka_unit_test(a_pool_gives_blocks_again),
        cmocka_unit_test(a_pool_keeps_no_more_than_told),
        cmocka_unit_test(numbers_go_and_come_back),
        cmocka_unit_test(a_read_past_the_end_latches),
        cmocka_unit_test(every_length_is_checked),
        cmocka_unit_test(a_writer_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
