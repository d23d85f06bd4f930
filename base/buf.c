#include "base/buf.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"

#define POOL_ORDERS 40 /* blocks by power of two; the largest that a caller asks for is 2^30 */

struct buf_pool {
    size_t keep_bytes;
    size_t kept_bytes;
    size_t used_bytes;
    struct buf *free[POOL_ORDERS];
};

struct buf_pool *buf_pool_new(size_t keep_bytes)
{
    struct buf_pool *pool = must(calloc(1, sizeof(*pool)));
    pool->keep_bytes = keep_bytes;
    return pool;
}

static void buf_destroy(struct buf *buf)
{
    free(buf->data);
    free(buf);
}

void buf_pool_free(struct buf_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    assert(pool->used_bytes == 0);
    for (int order = 0; order < POOL_ORDERS; order++) {
        while (pool->free[order] != NULL) {
            struct buf *buf = pool->free[order];
            pool->free[order] = buf->next;
            buf_destroy(buf);
        }
    }
    free(pool);
}

size_t buf_pool_used_bytes(const struct buf_pool *pool)
{
    return pool->used_bytes;
}

static int order_of(size_t capacity)
{
    int order = 12; /* 4 KiB at least */
    while (order < POOL_ORDERS && ((size_t)1 << order) < capacity) {
        order++;
    }
    assert(order < POOL_ORDERS);
    return order;
}

struct buf *buf_new(struct buf_pool *pool, size_t capacity)
{
    struct buf *buf = NULL;
    size_t size = capacity == 0 ? 1 : capacity;
    if (pool != NULL) {
        int order = order_of(size);
        size = (size_t)1 << order;
        buf = pool->free[order];
        if (buf != NULL) {
            pool->free[order] = buf->next;
            pool->kept_bytes -= buf->capacity;
        }
        pool->used_bytes += size;
    }
    if (buf == NULL) {
        buf = must(calloc(1, sizeof(*buf)));
        buf->data = must(malloc(size));
        buf->capacity = size;
        buf->pool = pool;
    }
    buf->len = 0;
    buf->refs_count = 1;
    buf->next = NULL;
    return buf;
}

struct buf *buf_ref(struct buf *buf)
{
    buf->refs_count++;
    return buf;
}

void buf_unref(struct buf *buf)
{
    if (buf == NULL) {
        return;
    }
    assert(buf->refs_count > 0);
    if (--buf->refs_count > 0) {
        return;
    }
    struct buf_pool *pool = buf->pool;
    if (pool == NULL) {
        buf_destroy(buf);
        return;
    }
    pool->used_bytes -= buf->capacity;
    if (pool->kept_bytes + buf->capacity > pool->keep_bytes) {
        buf_destroy(buf);
        return;
    }
    int order = order_of(buf->capacity);
    buf->next = pool->free[order];
    pool->free[order] = buf;
    pool->kept_bytes += buf->capacity;
}

/* --- reader ------------------------------------------------------------------------------------------------------- */

const uint8_t *reader_bytes(struct reader *reader, size_t len)
{
    if (reader->bad || len > reader_left(reader)) {
        reader->bad = true;
        return NULL;
    }
    const uint8_t *bytes = reader->pos;
    reader->pos += len;
    return bytes;
}

/* Answers are a few hundred fields a megabyte: read in one load, not by byte. */
int8_t reader_i8(struct reader *reader)
{
    const uint8_t *bytes = reader_bytes(reader, 1);
    return bytes == NULL ? 0 : (int8_t)bytes[0];
}

#define READER_NUMBER(name, type, bits, from_big_endian)           \
    type name(struct reader *reader)                               \
    {                                                              \
        const uint8_t *bytes = reader_bytes(reader, sizeof(type)); \
        uint##bits##_t value = 0;                                  \
        if (bytes != NULL) {                                       \
            memcpy(&value, bytes, sizeof(value));                  \
        }                                                          \
        return (type)from_big_endian(value);                       \
    }
READER_NUMBER(reader_i16, int16_t, 16, be16toh)
READER_NUMBER(reader_i32, int32_t, 32, be32toh)
READER_NUMBER(reader_u32, uint32_t, 32, be32toh)
READER_NUMBER(reader_i64, int64_t, 64, be64toh)

/* --- writer ------------------------------------------------------------------------------------------------------- */

void writer_init(struct writer *writer)
{
    *writer = (struct writer){0};
}

void writer_done(struct writer *writer)
{
    free(writer->data);
    writer_init(writer);
}

uint8_t *writer_room(struct writer *writer, size_t len)
{
    if (writer->data == NULL || writer->capacity - writer->len < len) {
        size_t capacity = writer->capacity == 0 ? 256 : writer->capacity;
        while (capacity - writer->len < len) {
            capacity *= 2;
        }
        writer->data = must(realloc(writer->data, capacity));
        writer->capacity = capacity;
    }
    return writer->data + writer->len;
}

void writer_bytes(struct writer *writer, const void *data, size_t len)
{
    if (len > 0) {
        memcpy(writer_room(writer, len), data, len);
    }
    writer->len += len;
}

static void write_big_endian(struct writer *writer, uint64_t value, size_t len)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(value >> (8 * (len - 1 - i)));
    }
    writer_bytes(writer, bytes, len);
}

void writer_i8(struct writer *writer, int8_t value)
{
    write_big_endian(writer, (uint8_t)value, 1);
}
void writer_i16(struct writer *writer, int16_t value)
{
    write_big_endian(writer, (uint16_t)value, 2);
}
void writer_i32(struct writer *writer, int32_t value)
{
    write_big_endian(writer, (uint32_t)value, 4);
}
void writer_u32(struct writer *writer, uint32_t value)
{
    write_big_endian(writer, value, 4);
}
void writer_i64(struct writer *writer, int64_t value)
{
    write_big_endian(writer, (uint64_t)value, 8);
}

void writer_patch_i32(struct writer *writer, size_t at, int32_t value)
{
    assert(at + 4 <= writer->len);
    for (size_t i = 0; i < 4; i++) {
        writer->data[at + i] = (uint8_t)((uint32_t)value >> (8 * (3 - i)));
    }
}

struct buf *writer_take(struct writer *writer)
{
    struct buf *buf = must(calloc(1, sizeof(*buf)));
    buf->data = writer->data != NULL ? writer->data : must(malloc(1));
    buf->len = writer->len;
    buf->capacity = writer->capacity;
    buf->refs_count = 1;
    writer_init(writer);
    return buf;
}
