/* Inside of the path `records`: librdkafka reads the source and writes the target, record by record, for targets that take
 * no producer ids of our choosing. What its parts (records, records_source, records_sink, records_batch) share. Nobody
 * else includes this.
 *
 *   records         the two handles, topics, waking, and what mirror/engine calls
 *   records_source  librdkafka's consumer -> chunks; back pressure; how far the source goes
 *   records_sink    chunks -> librdkafka's producer; delivery reports -> acknowledgments
 *   records_one     one record: as a filter sees it, as a producer takes it
 *
 * Promises: a chunk's records are handed over in order; a delivery report counts only with the very target offset that
 * follows the one before it; whatever else happens drops the window, and mirror/resume finds the position on the
 * target's tail, by content, before anything more of the partition is sent. So a record may be repeated (by a producer
 * that died with records on the line), none is left out, and each repeat that is found is counted.
 * A gate that closes, or a partition that is taken from us with records on their way, ends the producer: what stands in
 * librdkafka's queues does not leave later. Loop thread only; librdkafka's own threads wake it through an eventfd.
 */
#ifndef FERRY_MIRROR_RECORDS_H
#define FERRY_MIRROR_RECORDS_H

#include <librdkafka/rdkafka.h>

#include "kafka/client.h"
#include "mirror/batches.h"

/* Consecutive records of one partition that came together: a parcel of mirror/partition, with what it carries. */
struct chunk {
    struct task *task; /* a reference */
    rd_kafka_message_t **
        messages; /* the source's; librdkafka's producer reads from their memory until it reports */
    int32_t count;
    int32_t capacity;
    int32_t sent;              /* handed to the producer */
    int32_t landed;            /* reported */
    bool dropped;              /* nobody's any more: freed when what was handed over has landed */
    bool done;                 /* landed, and an older one has not */
    rd_kafka_resp_err_t error; /* the first report that failed */
    int64_t target_first;      /* of its first record, as reported; -1 = none yet */
    int64_t strayed;           /* a report with another offset than the next one; -1 = none */
    int64_t target_next;       /* what the next report has to say */
    size_t bytes;              /* in memory */
    size_t payload_bytes;      /* keys and values */
    struct parcel parcel;      /* as it goes to the core */
    size_t runs_capacity;
    struct chunk *next;
};

struct records_topic {
    char *name;
    rd_kafka_topic_t *source; /* its opaque is this */
    rd_kafka_topic_t *target; /* of the producer that there is; NULL = not made */
    struct task **tasks;      /* by partition; NULL = not ours */
    int32_t tasks_capacity;
};

struct records_task {
    struct records_topic *topic;
    bool started; /* librdkafka fetches it */
    bool paused;
    struct chunk *first; /* in the order of the core's parcels */
    struct chunk *last;
    struct chunk *unsent; /* first of them that is not handed over in full */
    struct chunk *open;   /* being gathered */
    int64_t passed;       /* behind the last record looked at while gathering */
    int32_t passed_epoch;
    bool
        refused; /* a record that may not pass stands at `passed`: told when all before it is acknowledged */
    struct err refusal;
    bool gathering; /* in records->gathered */
};

struct records {
    struct engine *engine;
    const struct config_client *source_settings;
    const struct config_client *target_settings;
    int wake_fd;
    struct loop_fd *wake;
    struct client *consumer;
    rd_kafka_queue_t *source_queue;  /* records of all partitions */
    rd_kafka_queue_t *source_events; /* errors of the handle */
    bool reopening;          /* the consumer is made anew as soon as none of its records is held */
    struct client *producer; /* NULL: it ended, and the next one is not made yet */
    rd_kafka_queue_t *target_queue;
    bool idempotent; /* false: the target refused it once */
    bool retiring;   /* the producer ends when nothing of it flies */
    int64_t producer_due_ms;
    int64_t flying_count; /* records that librdkafka has, of all tasks */
    int64_t held_bytes;   /* of all chunks */
    struct task *ready_first;
    struct task *ready_last;
    struct records_topic **topics;
    size_t topics_count;
    struct task **gathered; /* tasks with an open chunk, of one look at the queue */
    size_t gathered_count;
    size_t gathered_capacity;
    int64_t ends_ms; /* the sources' ends were asked for */
};

/* --- records --- */
struct records_topic *records_topic(struct records *records, const char *name);
rd_kafka_topic_t *records_target(struct records *records, struct records_topic *topic);

/* --- records_source --- */
MUST_CHECK
bool records_source_open(struct records *records, struct err *err);
void records_source_close(struct records *records);
/* Fetch a task from its core's position; stop that. */
void records_source_start(struct task *task);
void records_source_stop(struct task *task);
/* Take what has come, as far as there is room. */
void records_source_take(struct records *records);
/* Ten times a second: who is held back, how far the source goes. */
void records_source_look(struct records *records);
void records_source_free_topic(struct records_topic *topic);

/* --- records_sink --- */
MUST_CHECK
bool records_sink_open(struct records *records, struct err *err);
/* Nothing of it leaves any more but what is on the line; it is made anew when all of it has landed. */
void records_sink_retire(struct records *records, const char *why);
/* The end: waits up to a second for the producer to give back what it holds. */
void records_sink_close(struct records *records);
void records_sink_ready(struct task *task);
void records_sink_unlink(struct task *task);
void records_sink_send(struct records *records);
void records_sink_take(struct records *records);
void records_sink_look(struct records *records);
void records_chunk_free(struct chunk *chunk);

/* --- records_one --- */
/* Does it pass the service's filter? */
enum record_verdict records_one_judge(const struct config_filter *filter,
                                      const rd_kafka_message_t *message);
/* What it takes in memory, librdkafka's structures of both sides included. */
#define RECORDS_OVERHEAD_BYTES 200
size_t records_one_bytes(const rd_kafka_message_t *message);
/* What a producer cannot write as it stands; NULL = it can. */
const char *records_one_refusal(const rd_kafka_message_t *message);
/* Hand it over without a copy of its value: it has to live until the report.
 * @return librdkafka's code; RD_KAFKA_RESP_ERR__QUEUE_FULL: later */
rd_kafka_resp_err_t records_one_produce(rd_kafka_t *producer, rd_kafka_topic_t *topic,
                                        rd_kafka_message_t *message, void *opaque);

#endif
