/* A scripted broker on the test's own loop: listens on a free port of 127.0.0.1, answers by handlers, and can delay,
 * cut, crumble, glue together, and lie about lengths and correlation ids.
 *
 *     struct fake_broker *broker = fake_broker_new(loop);
 *     fake_broker_on(broker, API_FETCH, my_handler, &my_state);
 *     fake_broker_faults(broker)->chunk_bytes = 1;
 *
 * ApiVersions is answered by itself with what kafka/proto speaks, Metadata with what fake_broker_metadata() was given;
 * an API without a handler closes the connection.
 */
#ifndef FERRY_TESTS_FAKE_BROKER_H
#define FERRY_TESTS_FAKE_BROKER_H

#include "base/buf.h"
#include "base/loop.h"
#include "kafka/proto.h"

struct fake_broker;

struct fake_request {
    int16_t api;
    int16_t version;
    int32_t correlation;
    int32_t connection; /* counted from 0 since the broker was made */
    struct wire_string client_id;
    struct reader body; /* behind the header */
};

enum fake_action {
    FAKE_ANSWER,
    FAKE_SILENT, /* this request is never answered */
    FAKE_CLOSE,  /* close this connection now, without what waits to be written */
};

/* Write the answer without length and header. */
typedef enum fake_action fake_handler_fn(void *arg, const struct fake_request *request,
                                         struct writer *answer);

struct fake_faults {     /* all zero = an honest broker; may be changed at any time */
    int32_t delay_ms;    /* each answer waits so long; order is kept */
    int32_t chunk_bytes; /* written in one turn of the loop; 0 = all at once */
    int64_t
        cut_after_bytes; /* the connection is closed when so many bytes are written to it; 0 = never */
    int32_t coalesce_count;  /* answers are held until so many are there; 0 = not held */
    int32_t length_lie;      /* added to the length of each frame */
    int32_t correlation_lie; /* added to each correlation id */
    bool silent;             /* requests are read and never answered */
    bool deaf;               /* nothing is read */
};

struct fake_broker *fake_broker_new(struct loop *loop);
void fake_broker_free(struct fake_broker *broker); /* NULL is fine */
int32_t fake_broker_port(const struct fake_broker *broker);
struct fake_faults *fake_broker_faults(struct fake_broker *broker);

/* NULL handler = the broker's own again. */
void fake_broker_on(struct fake_broker *broker, enum api_key api, fake_handler_fn *handler,
                    void *arg);
/* What Metadata is answered with, copied as it is: texts and arrays stay the caller's and must live on. */
void fake_broker_metadata(struct fake_broker *broker, const struct metadata *metadata);
/* What ApiVersions offers of an API; min > max = not offered. */
void fake_broker_offer(struct fake_broker *broker, enum api_key api, int16_t min, int16_t max);

int32_t fake_broker_requests(const struct fake_broker *broker,
                             enum api_key api);                    /* since the start */
int32_t fake_broker_connections(const struct fake_broker *broker); /* open now */
int32_t fake_broker_accepted(const struct fake_broker *broker);    /* since the start */
void fake_broker_drop(struct fake_broker *broker);                 /* close all connections */
void fake_broker_send(struct fake_broker *broker, const void *data,
                      size_t len);                 /* raw bytes to all of them */
void fake_broker_hear(struct fake_broker *broker); /* read again what waited while it was deaf */
void fake_broker_listen(struct fake_broker *broker,
                        bool on); /* off: connections are refused; on: the same port again */

/* Run the loop until `*flag`, at most limit_ms. @return *flag */
bool fake_run_until(struct loop *loop, const bool *flag, int32_t limit_ms);
/* Run the loop for so long. */
void fake_run_for(struct loop *loop, int32_t ms);

#endif
