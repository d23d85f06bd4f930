/* See request_queue.h. */
#include "kafka/request_queue.h"

#include <assert.h>
#include <openssl/crypto.h>

/* Requests in flight: 8,192 partitions that each ask one thing while they resume, eight times over. */
#define IN_FLIGHT_MAX 65536

/* Length, ApiKey, version, correlation id, client id, no tags. */
#define PREFIX_BYTES(client_id_len) (4 + 2 + 2 + 4 + 2 + (client_id_len) + 1)
#define CORRELATION_AT              8

static void put_prefix(struct request *request, const char *client_id, size_t frame_len)
{
    struct writer writer;

    writer_init(&writer);
    writer_i32(&writer, (int32_t)frame_len);
    writer_i16(&writer, (int16_t)request->api);
    writer_i16(&writer, request->version);
    writer_i32(&writer, request->correlation);
    wire_put_string(&writer, client_id);
    if (api_flexible(request->api, request->version)) {
        wire_put_no_tags(&writer);
    }
    assert(writer.len == request->prefix_len);
    memcpy(request->prefix, writer.data, writer.len);
    writer_done(&writer);
}

struct request *request_new(struct writer *writer, const char *client_id,
                            const struct conn_piece *pieces, int32_t pieces_count)
{
    size_t prefix_len = PREFIX_BYTES(client_id == NULL ? 0 : strlen(client_id));
    size_t pieces_len = (size_t)pieces_count * sizeof(struct conn_piece);
    struct request *request = calloc(1, sizeof(*request) + pieces_len + prefix_len);
    size_t cut = 0;

    if (request == NULL) {
        abort();
    }
    request->prefix = (uint8_t *)request->pieces + pieces_len;
    request->prefix_len = prefix_len;
    request->pieces_count = pieces_count;
    for (int32_t i = 0; i < pieces_count; i++) {
        assert(pieces[i].cut >= cut && pieces[i].cut <= writer->len);
        cut = pieces[i].cut;
        request->pieces[i] = pieces[i];
        buf_ref(pieces[i].block);
    }
    request->body = writer_take(writer);
    return request;
}

/* A sign-in's bytes may be a password: they do not stay in memory that is given back. */
static void drop_body(struct request *request)
{
    if (request->body != NULL && request->api == API_SASL_AUTHENTICATE) {
        OPENSSL_cleanse(request->body->data, request->body->len);
    }
    buf_unref(request->body);
    request->body = NULL;
}

void request_free(struct request *request)
{
    for (int32_t i = 0; i < request->pieces_count; i++) {
        buf_unref(request->pieces[i].block); /* NULL when it is gone */
    }
    drop_body(request);
    free(request);
}

static size_t request_len(const struct request *request)
{
    size_t len = request->prefix_len + request->body->len;

    for (int32_t i = 0; i < request->pieces_count; i++) {
        len += request->pieces[i].len;
    }
    return len;
}

static void append(struct request_queue *queue, struct request *request, size_t len)
{
    request->next = NULL;
    if (queue->tail == NULL) {
        queue->head = request;
    } else {
        queue->tail->next = request;
    }
    queue->tail = request;
    if (queue->unsent == NULL) {
        queue->unsent = request;
    }
    queue->count++;
    queue->unsent_bytes += len;
    assert(queue->count <= IN_FLIGHT_MAX);
}

void request_queue_push(struct request_queue *queue, struct request *request, const char *client_id)
{
    if (!api_flexible(request->api, request->version)) {
        request->prefix_len--; /* room was made for the byte that says "no tags" */
    }
    size_t len = request_len(request);
    assert(len - 4 <= INT32_MAX);
    put_prefix(request, client_id, len - 4);
    append(queue, request, len);
}

void request_queue_move_head(struct request_queue *from, struct request_queue *to,
                             int32_t correlation)
{
    struct request *request = from->head;
    size_t len = request_len(request);

    assert(from->unsent == request && request->segment == 0 && request->segment_sent == 0);
    from->head = from->unsent = request->next;
    if (from->head == NULL) {
        from->tail = NULL;
    }
    from->count--;
    from->unsent_bytes -= len;
    request->correlation = correlation;
    for (int i = 0; i < 4; i++) {
        request->prefix[CORRELATION_AT + i] = (uint8_t)((uint32_t)correlation >> (24 - 8 * i));
    }
    append(to, request, len);
}

struct request *request_queue_pop(struct request_queue *queue)
{
    struct request *request = queue->head;

    assert(queue->unsent != request); /* a connection that breaks forgets what is unsent first */
    queue->head = request->next;
    if (queue->head == NULL) {
        queue->tail = NULL;
    }
    queue->count--;
    return request;
}

/* A request is prefix, body up to the first cut, first piece, body up to the second cut, ... , rest of the body. */
static int32_t segments_count(const struct request *request)
{
    return 2 + 2 * request->pieces_count;
}

static struct iovec request_segment(const struct request *request, int32_t index)
{
    const uint8_t *data = request->prefix;
    size_t len = request->prefix_len;

    if (index >= 2 && index % 2 == 0) {
        data = request->pieces[index / 2 - 1].data;
        len = request->pieces[index / 2 - 1].len;
    } else if (index > 0) {
        int32_t part = index / 2; /* of the body: from the cut before it to the cut behind it */
        size_t begin = part == 0 ? 0 : request->pieces[part - 1].cut;
        size_t end = part == request->pieces_count ? request->body->len : request->pieces[part].cut;
        data = request->body->data + begin;
        len = end - begin;
    }
    return (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = len};
}

size_t request_queue_gather(const struct request_queue *queue, struct iovec *out, int max,
                            int *out_count)
{
    size_t bytes = 0;
    int count = 0;

    for (const struct request *request = queue->unsent; request != NULL; request = request->next) {
        for (int32_t i = request->segment; i < segments_count(request); i++) {
            struct iovec segment = request_segment(request, i);
            size_t sent = i == request->segment ? request->segment_sent : 0;
            if (segment.iov_len == sent) {
                continue;
            }
            if (count == max) {
                *out_count = count;
                return bytes;
            }
            segment.iov_base = (uint8_t *)segment.iov_base + sent;
            segment.iov_len -= sent;
            bytes += segment.iov_len;
            out[count++] = segment;
        }
    }
    *out_count = count;
    return bytes;
}

static void segment_gone(struct request *request)
{
    if (request->segment >= 2 && request->segment % 2 == 0) {
        struct conn_piece *piece = &request->pieces[request->segment / 2 - 1];
        buf_unref(piece->block);
        piece->block = NULL;
    }
    request->segment++;
    request->segment_sent = 0;
    if (request->segment == segments_count(request)) {
        drop_body(request);
    }
}

void request_queue_sent(struct request_queue *queue, size_t bytes)
{
    assert(bytes <= queue->unsent_bytes);
    queue->unsent_bytes -= bytes;
    while (queue->unsent != NULL) {
        struct request *request = queue->unsent;
        while (request->segment < segments_count(request)) {
            size_t left =
                request_segment(request, request->segment).iov_len - request->segment_sent;
            if (left > bytes) {
                request->segment_sent += bytes;
                return;
            }
            bytes -= left;
            segment_gone(request);
        }
        queue->unsent = request->next;
    }
}
