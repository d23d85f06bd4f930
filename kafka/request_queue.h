/* Requests of one connection in the order they were made: from `head` on those that wait for their answer, from
 * `unsent` on those that are not gone whole. Behind kafka/conn; nobody else includes this.
 *
 * A request is a prefix (length and header), the caller's bytes, and between them pieces that are sent from where they
 * were received. What is gone is let go at once: the block of a piece, at the end the caller's bytes.
 */
#ifndef FERRY_KAFKA_REQUEST_QUEUE_H
#define FERRY_KAFKA_REQUEST_QUEUE_H

#include <sys/uio.h>

#include "kafka/conn.h"

struct request {
    struct request *next;
    enum api_key api;
    int16_t version;
    int32_t correlation;
    int32_t timeout_ms;
    int64_t sent_ms; /* handed over */
    conn_answer_fn *answer;
    void *arg;
    uint8_t *prefix; /* behind the pieces */
    size_t prefix_len;
    struct buf *body;
    int32_t segment;     /* the one to send next */
    size_t segment_sent; /* bytes of it that are gone */
    int32_t pieces_count;
    struct conn_piece pieces[];
};

struct request_queue { /* all zero = empty */
    struct request *head;
    struct request *tail;
    struct request *unsent;
    int32_t count;
    size_t unsent_bytes;
};

/* Takes the writer's bytes and a reference to each block; the caller fills what follows `next`, then pushes. */
struct request *request_new(struct writer *writer, const char *client_id,
                            const struct conn_piece *pieces, int32_t pieces_count);
void request_free(struct request *request);

/* Writes the prefix (api, version and correlation are filled) and appends. */
void request_queue_push(struct request_queue *queue, struct request *request,
                        const char *client_id);
/* The head, nothing of which is gone, goes to the end of another queue under another correlation id. */
void request_queue_move_head(struct request_queue *from, struct request_queue *to,
                             int32_t correlation);
/* The head, for request_free(); the queue is not empty. */
struct request *request_queue_pop(struct request_queue *queue);
/* Up to `max` segments that are to be sent next, of as many requests as fit. @return their bytes */
size_t request_queue_gather(const struct request_queue *queue, struct iovec *out, int max,
                            int *out_count);
/* So many bytes are gone. */
void request_queue_sent(struct request_queue *queue, size_t bytes);

#endif
