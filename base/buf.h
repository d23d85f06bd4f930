/* Bytes: a refcounted block that one reader filled and many views look into, a bounded reader and a growing writer.
 *
 * A block is what a Fetch answer is received into and what a Produce request is sent from: the last view frees it.
 * Reference counts are not atomic: blocks live on one loop's thread.
 */
#ifndef FERRY_BASE_BUF_H
#define FERRY_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct buf_pool;

struct buf {
    uint8_t *data;
    size_t len;      /* bytes in use */
    size_t capacity; /* bytes allocated */
    int32_t refs_count;
    struct buf_pool *pool; /* where the last unref puts it; NULL = heap */
    struct buf *next;      /* free list of the pool */
};

/* Blocks that are used again instead of returned to the heap: first touch of fresh pages costs more than the copy. */
struct buf_pool *buf_pool_new(size_t keep_bytes);
void buf_pool_free(struct buf_pool *pool); /* all blocks must be back */
/* Bytes of blocks now handed out, for the memory bound and the metric. */
size_t buf_pool_used_bytes(const struct buf_pool *pool);

/* A block of at least `capacity` bytes, len 0, one reference. Never NULL: out of memory aborts (a bound on what is
 * asked for stands at every caller). `pool` may be NULL. */
struct buf *buf_new(struct buf_pool *pool, size_t capacity);
struct buf *buf_ref(struct buf *buf);
void buf_unref(struct buf *buf); /* NULL is fine */

/* Reads big-endian Kafka primitives. The first read past the end latches `bad`; every later read gives 0 and changes
 * nothing, so a decoder checks once at its end. */
struct reader {
    const uint8_t *pos;
    const uint8_t *end;
    bool bad;
    bool rigid; /* for the types that lie above: kafka/wire.h; nothing here looks at it */
};

static inline struct reader reader_over(const void *data, size_t len)
{
    const uint8_t *bytes = len > 0 ? data : (const uint8_t *)""; /* NULL has no offsets */
    /* cppcheck-suppress pointerOutOfBoundsCond ; `len` bytes are there */
    return (struct reader){.pos = bytes, .end = bytes + len, .bad = false};
}
static inline size_t reader_left(const struct reader *reader)
{
    return (size_t)(reader->end - reader->pos);
}
int8_t reader_i8(struct reader *reader);
int16_t reader_i16(struct reader *reader);
int32_t reader_i32(struct reader *reader);
uint32_t reader_u32(struct reader *reader);
int64_t reader_i64(struct reader *reader);
/* `len` bytes in place, or NULL and bad. */
const uint8_t *reader_bytes(struct reader *reader, size_t len);

/* Grows on the heap; `data` is owned until writer_done() or taken with writer_take(). */
struct writer {
    uint8_t *data;
    size_t len;
    size_t capacity;
    bool rigid; /* as a reader's */
};
void writer_init(struct writer *writer);
void writer_done(struct writer *writer);
void writer_i8(struct writer *writer, int8_t value);
void writer_i16(struct writer *writer, int16_t value);
void writer_i32(struct writer *writer, int32_t value);
void writer_u32(struct writer *writer, uint32_t value);
void writer_i64(struct writer *writer, int64_t value);
void writer_bytes(struct writer *writer, const void *data, size_t len);
/* Room for `len` bytes behind what is there, to be filled in place; then `writer->len` is raised by what was used. */
uint8_t *writer_room(struct writer *writer, size_t len);
/* Overwrite an i32 written before, e.g. a length that is known only now. */
void writer_patch_i32(struct writer *writer, size_t at, int32_t value);
/* The bytes as a block with one reference; the writer is empty afterwards. */
struct buf *writer_take(struct writer *writer);

#endif
