/* See proto.h: Produce with acks -1, by topic name (7 to 12) or topic id (13), one batch a partition; InitProducerId. */
#include <assert.h>

#include "kafka/proto_private.h"

/* The least bytes of one PartitionProduceResponse: index 4, error 2, three int64, tags 1; later errors and message. */
#define PRODUCE_PARTITION_MIN_BYTES 31

static bool same_topic(int16_t version, const struct produce_part *a, const struct produce_part *b)
{
    return version >= 13 ? uuid_equal(&a->topic_id, &b->topic_id) : strcmp(a->topic, b->topic) == 0;
}

static int32_t topic_run(int16_t version, const struct produce_part *parts, int32_t count)
{
    int32_t run = 1;

    while (run < count && same_topic(version, &parts[0], &parts[run])) {
        run++;
    }
    return run;
}

/* A partition listed twice is answered with success and its first batch is lost (measured on 3.3 to 4.3): our bug, so
 * an assertion. Ascending partitions cost one comparison each. */
static bool partitions_differ(const struct produce_part *parts, int32_t count)
{
    int32_t highest = -1;

    for (int32_t i = 0; i < count; i++) {
        for (int32_t k = 0; parts[i].partition <= highest && k < i; k++) {
            if (parts[k].partition == parts[i].partition) {
                return false;
            }
        }
        if (parts[i].partition > highest) {
            highest = parts[i].partition;
        }
    }
    return true;
}

static void put_produce_topic(struct writer *writer, int16_t version,
                              const struct produce_part *parts, int32_t count, size_t *out_cuts)
{
    assert(partitions_differ(parts, count));
    if (version >= 13) {
        wire_put_uuid(writer, &parts[0].topic_id);
    } else {
        wire_put_text(writer, parts[0].topic);
    }
    wire_put_list(writer, count);
    for (int32_t i = 0; i < count; i++) {
        size_t len = sizeof(parts[i].header) + parts[i].records_len;
        writer_i32(writer, parts[i].partition);
        wire_put_blob_len(writer, len);
        writer_bytes(writer, parts[i].header, sizeof(parts[i].header));
        out_cuts[i] = writer->len;
        wire_put_no_tags(writer);
    }
    wire_put_no_tags(writer);
}

void proto_put_produce(struct writer *writer, int16_t version, int32_t timeout_ms,
                       const struct produce_part *parts, int32_t count, size_t *out_cuts)
{
    int32_t topics_count = 0;

    proto_begin(writer, API_PRODUCE, version);
    for (int32_t i = 0; i < count; i += topic_run(version, parts + i, count - i)) {
        topics_count++;
    }
    wire_put_text(writer, NULL); /* TransactionalId */
    writer_i16(writer, -1);      /* Acks: all in-sync replicas */
    writer_i32(writer, timeout_ms);
    wire_put_list(writer, topics_count);
    for (int32_t i = 0; i < count;) {
        int32_t run = topic_run(version, parts + i, count - i);
        put_produce_topic(writer, version, parts + i, run, out_cuts + i);
        i += run;
    }
    wire_put_no_tags(writer);
}

static void skip_record_errors(struct reader *reader)
{
    int32_t count = proto_count(reader, 6);

    for (int32_t i = 0; i < count && !reader->bad; i++) {
        reader_i32(reader); /* BatchIndex */
        wire_text(reader);  /* BatchIndexErrorMessage */
        wire_skip_tags(reader);
    }
}

static void get_produce_part(struct reader *reader, int16_t version,
                             struct produce_answer_part *part)
{
    part->partition = reader_i32(reader);
    part->error = reader_i16(reader);
    part->base_offset = reader_i64(reader);
    part->log_append_time = reader_i64(reader);
    part->log_start_offset = reader_i64(reader);
    part->message = (struct wire_string){.data = NULL, .len = -1};
    if (version >= 8) {
        skip_record_errors(reader);
        part->message = wire_text(reader);
    }
    wire_skip_tags(reader); /* CurrentLeader */
}

static void get_produce_topic(struct reader *reader, int16_t version, struct proto_array *array)
{
    struct wire_string name = {NULL, -1};
    struct uuid id = {{0}};

    if (version >= 13) {
        id = wire_uuid(reader);
    } else {
        name = wire_text(reader);
    }
    int32_t count = proto_count(reader, PRODUCE_PARTITION_MIN_BYTES);
    proto_array_reserve(array, count, sizeof(struct produce_answer_part));
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        struct produce_answer_part *part =
            (struct produce_answer_part *)array->items + array->count++;
        part->topic = name;
        part->topic_id = id;
        get_produce_part(reader, version, part);
    }
    wire_skip_tags(reader);
}

bool proto_get_produce(struct reader *reader, int16_t version, struct produce_answer *out,
                       struct err *err)
{
    struct proto_array parts = {0};
    struct produce_answer answer = {0};

    proto_enter(reader, API_PRODUCE, version);
    int32_t topics_count = proto_count(reader, version >= 13 ? 18 : 3);
    for (int32_t i = 0; i < topics_count && !reader->bad; i++) {
        get_produce_topic(reader, version, &parts);
    }
    answer.throttle_ms = reader_i32(reader);
    wire_skip_tags(reader); /* NodeEndpoints */
    answer.parts = parts.items;
    answer.parts_count = parts.count;
    if (!proto_finish(reader, API_PRODUCE, version, err)) {
        produce_answer_done(&answer);
        return false;
    }
    *out = answer;
    return true;
}

void produce_answer_done(struct produce_answer *answer)
{
    free(answer->parts);
    *answer = (struct produce_answer){0};
}

/* --- InitProducerId ----------------------------------------------------------------------------------------------- */

void proto_put_init_producer_id(struct writer *writer, int16_t version)
{
    proto_begin(writer, API_INIT_PRODUCER_ID, version);
    wire_put_text(writer, NULL);   /* TransactionalId */
    writer_i32(writer, INT32_MAX); /* TransactionTimeoutMs: of none */
    wire_put_no_tags(writer);
}

bool proto_get_init_producer_id(struct reader *reader, int16_t version,
                                struct init_producer_id_answer *out, struct err *err)
{
    struct init_producer_id_answer answer = {0};

    proto_enter(reader, API_INIT_PRODUCER_ID, version);
    answer.throttle_ms = reader_i32(reader);
    answer.error = reader_i16(reader);
    answer.producer_id = reader_i64(reader);
    answer.producer_epoch = reader_i16(reader);
    wire_skip_tags(reader);
    if (!proto_finish(reader, API_INIT_PRODUCER_ID, version, err)) {
        return false;
    }
    *out = answer;
    return true;
}
