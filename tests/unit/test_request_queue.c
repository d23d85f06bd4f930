/* kafka/request_queue: what gather() offers, whatever was sent of it, is the frames one after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kafka/request_queue.h"

static struct request *make(struct request_queue *queue, int32_t id,
                            const struct conn_piece *pieces, int32_t count)
{
    struct writer writer;

    writer_init(&writer);
    for (int i = 0; i < 10; i++) {
        writer_i8(&writer, (int8_t)('0' + i));
    }
    struct request *request = request_new(&writer, "me", pieces, count);
    request->api = API_PRODUCE;
    request->version = 13;
    request->correlation = id;
    request_queue_push(queue, request, "me");
    writer_done(&writer);
    return request;
}

/* Send all with at most `segments` a call, of which `bytes` go. */
static struct writer drain(struct request_queue *queue, int segments, size_t bytes)
{
    struct writer out;

    writer_init(&out);
    while (queue->unsent != NULL) {
        struct iovec offered[16];
        int count = 0;
        size_t total = request_queue_gather(queue, offered, segments, &count);
        size_t sent = total < bytes ? total : bytes;
        size_t left = sent;
        assert_in_range(count, 1, segments);
        for (int i = 0; i < count && left > 0; i++) {
            size_t part = offered[i].iov_len < left ? offered[i].iov_len : left;
            assert_true(offered[i].iov_len > 0);
            writer_bytes(&out, offered[i].iov_base, part);
            left -= part;
        }
        request_queue_sent(queue, sent);
    }
    assert_int_equal(queue->unsent_bytes, 0);
    return out;
}

static const uint8_t
    expected[] = {0,   0,   0,   33,  0,   0,   0,   13,  0,   0,
                  0,   5,   0,   2,   'm', 'e', 0, /* length, header */
                  'A', 'A', '0', '1', '2', 'B', 'B', 'B', 'C', '3',
                  '4', '5', '6', '7', '8', '9', 'D', 'D', 'D', 'D', /* pieces */
                  0,   0,   0,   23,  0,   0,   0,   13,  0,   0,
                  0,   6,   0,   2,   'm', 'e', 0, /* the next one, without pieces */
                  '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'};

static void frames_whatever_is_sent(void **state)
{
    (void)state;
    for (int segments = 1; segments <= 16; segments++) {
        for (size_t bytes = 1; bytes < 90; bytes++) {
            struct request_queue queue = {0};
            struct buf *block = buf_new(NULL, 16);
            memcpy(block->data, "AABBBCDDDD", 10);
            struct conn_piece pieces[] = {
                {0,  block, block->data,     2},
                {3,  block, block->data + 2, 3},
                {3,  block, block->data + 5, 1},
                {7,  block, block->data + 5, 0},
                {10, block, block->data + 6, 4},
            };
            make(&queue, 5, pieces, 5);
            make(&queue, 6, NULL, 0);
            assert_int_equal(queue.count, 2);
            assert_int_equal(queue.unsent_bytes, sizeof(expected));
            struct writer out = drain(&queue, segments, bytes);
            assert_int_equal(out.len, sizeof(expected));
            assert_memory_equal(out.data, expected, sizeof(expected));
            assert_int_equal(block->refs_count, 1); /* let go as they went */
            request_free(request_queue_pop(&queue));
            request_free(request_queue_pop(&queue));
            assert_null(queue.head);
            assert_null(queue.tail);
            assert_int_equal(queue.count, 0);
            buf_unref(block);
            writer_done(&out);
        }
    }
}

static void what_was_not_sent_is_let_go_with_the_request(void **state)
{
    struct request_queue queue = {0};
    struct buf *block = buf_new(NULL, 16);
    struct conn_piece piece = {4, block, block->data, 16};

    (void)state;
    make(&queue, 1, &piece, 1);
    request_queue_sent(&queue, 20);
    assert_int_equal(block->refs_count, 2);
    queue.unsent = NULL; /* as a connection that breaks does */
    request_free(request_queue_pop(&queue));
    assert_int_equal(block->refs_count, 1);
    buf_unref(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_whatever_is_sent),
        cmocka_unit_test(what_was_not_sent_is_let_go_with_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
