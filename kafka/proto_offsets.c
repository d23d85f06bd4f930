/* See proto.h: what a leader knows of a partition (ListOffsets, OffsetForLeaderEpoch, DescribeProducers). */
#include <assert.h>

#include "kafka/proto_private.h"

/* --- ListOffsets ----------------------------------------------------------------------------------------------- */

static void put_list_offsets_topic(struct writer *writer, int64_t timestamp,
                                   const struct topic_partition *wants, int32_t count)
{
    wire_put_text(writer, wants[0].topic);
    wire_put_list(writer, count);
    for (int32_t i = 0; i < count; i++) {
        writer_i32(writer, wants[i].partition);
        writer_i32(writer, -1); /* CurrentLeaderEpoch: do not check */
        writer_i64(writer, timestamp);
        wire_put_no_tags(writer);
    }
    wire_put_no_tags(writer);
}

void proto_put_list_offsets(struct writer *writer, int16_t version, bool read_committed,
                            int64_t timestamp, const struct topic_partition *wants, int32_t count)
{
    proto_begin(writer, API_LIST_OFFSETS, version);
    writer_i32(writer, -1); /* ReplicaId: a consumer */
    writer_i8(writer, read_committed ? 1 : 0);
    wire_put_list(writer, proto_topic_runs_count(wants, count));
    for (int32_t i = 0; i < count;) {
        int32_t run = proto_topic_run(wants + i, count - i);
        put_list_offsets_topic(writer, timestamp, wants + i, run);
        i += run;
    }
    wire_put_no_tags(writer);
}

/* -2 is the replica id of Kafka's own tools: a broker bounds only a consumer, -1, by its high watermark. Each partition stands in a
 * topic of its own, which brokers take. */
#define REPLICA_DEBUGGING (-2)

void proto_put_log_ends(struct writer *writer, int16_t version, const struct log_end_want *wants,
                        int32_t count)
{
    proto_begin(writer, API_LIST_OFFSETS, version);
    writer_i32(writer, REPLICA_DEBUGGING);
    writer_i8(writer, 0);
    wire_put_list(writer, count);
    for (int32_t i = 0; i < count; i++) {
        wire_put_text(writer, wants[i].place.topic);
        wire_put_list(writer, 1);
        writer_i32(writer, wants[i].place.partition);
        writer_i32(writer, wants[i].leader_epoch);
        writer_i64(writer, LIST_OFFSETS_LATEST);
        wire_put_no_tags(writer);
        wire_put_no_tags(writer);
    }
    wire_put_no_tags(writer);
}

static void get_list_offsets_topic(struct reader *reader, struct proto_array *array)
{
    struct wire_string name = wire_text(reader);
    int32_t count =
        proto_count(reader, 27); /* index 4, error 2, timestamp 8, offset 8, epoch 4, tags 1 */

    proto_array_reserve(array, count, sizeof(struct list_offsets_part));
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        struct list_offsets_part *part = (struct list_offsets_part *)array->items + array->count++;
        part->topic = name;
        part->partition = reader_i32(reader);
        part->error = reader_i16(reader);
        part->timestamp = reader_i64(reader);
        part->offset = reader_i64(reader);
        part->leader_epoch = reader_i32(reader);
        wire_skip_tags(reader);
    }
    wire_skip_tags(reader);
}

bool proto_get_list_offsets(struct reader *reader, int16_t version, struct list_offsets_answer *out,
                            struct err *err)
{
    struct proto_array parts = {0};

    proto_enter(reader, API_LIST_OFFSETS, version);
    reader_i32(reader); /* ThrottleTimeMs */
    int32_t topics_count = proto_count(reader, 3);
    for (int32_t i = 0; i < topics_count && !reader->bad; i++) {
        get_list_offsets_topic(reader, &parts);
    }
    wire_skip_tags(reader);
    if (!proto_finish(reader, API_LIST_OFFSETS, version, err)) {
        free(parts.items);
        return false;
    }
    *out = (struct list_offsets_answer){.parts = parts.items, .parts_count = parts.count};
    return true;
}

void list_offsets_answer_done(struct list_offsets_answer *answer)
{
    free(answer->parts);
    *answer = (struct list_offsets_answer){0};
}

/* --- one topic, one partition ---------------------------------------------------------------------------------- */

/* Behind ThrottleTimeMs: an array of one topic, its name, an array of one partition. */
static void enter_only_partition(struct reader *reader, size_t min_bytes)
{
    reader_i32(reader); /* ThrottleTimeMs */
    int32_t topics_count = proto_count(reader, 3);
    wire_text(reader);
    int32_t partitions_count = proto_count(reader, min_bytes);
    if (topics_count != 1 || partitions_count != 1) {
        reader->bad = true; /* we asked for exactly one */
    }
}

static void leave_only_partition(struct reader *reader)
{
    wire_skip_tags(reader); /* partition */
    wire_skip_tags(reader); /* topic */
    wire_skip_tags(reader); /* answer */
}

void proto_put_epoch_end(struct writer *writer, int16_t version, const char *topic,
                         int32_t partition, int32_t current_leader_epoch, int32_t epoch)
{
    proto_begin(writer, API_OFFSET_FOR_LEADER_EPOCH, version);
    if (version >= 3) {
        writer_i32(writer, -1); /* ReplicaId: a consumer */
    }
    wire_put_list(writer, 1);
    wire_put_text(writer, topic);
    wire_put_list(writer, 1);
    writer_i32(writer, partition);
    writer_i32(writer, current_leader_epoch);
    writer_i32(writer, epoch);
    wire_put_no_tags(writer);
    wire_put_no_tags(writer);
    wire_put_no_tags(writer);
}

bool proto_get_epoch_end(struct reader *reader, int16_t version, struct epoch_end_answer *out,
                         struct err *err)
{
    struct epoch_end_answer answer = {0};

    proto_enter(reader, API_OFFSET_FOR_LEADER_EPOCH, version);
    enter_only_partition(reader, 19);
    answer.error = reader_i16(reader);
    reader_i32(reader); /* Partition */
    answer.leader_epoch = reader_i32(reader);
    answer.end_offset = reader_i64(reader);
    leave_only_partition(reader);
    if (!proto_finish(reader, API_OFFSET_FOR_LEADER_EPOCH, version, err)) {
        return false;
    }
    *out = answer;
    return true;
}

void proto_put_describe_producers(struct writer *writer, const char *topic, int32_t partition)
{
    wire_put_list(writer, 1);
    wire_put_text(writer, topic);
    wire_put_list(writer, 1);
    writer_i32(writer, partition);
    wire_put_no_tags(writer);
    wire_put_no_tags(writer);
}

static void get_producers(struct reader *reader, struct describe_producers_answer *answer)
{
    struct proto_array producers = {0};
    int32_t count = proto_count(reader, 37); /* ids and times 3 * 8, 3 * 4, tags 1 */

    proto_array_reserve(&producers, count, sizeof(*answer->producers));
    answer->producers = producers.items;
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        struct producer_state *producer = &answer->producers[answer->producers_count++];
        producer->producer_id = reader_i64(reader);
        producer->producer_epoch = reader_i32(reader);
        producer->last_sequence = reader_i32(reader);
        producer->last_timestamp = reader_i64(reader);
        reader_i32(reader); /* CoordinatorEpoch */
        reader_i64(reader); /* CurrentTxnStartOffset */
        wire_skip_tags(reader);
    }
}

bool proto_get_describe_producers(struct reader *reader, struct describe_producers_answer *out,
                                  struct err *err)
{
    struct describe_producers_answer answer = {0};

    enter_only_partition(reader, 9);
    reader_i32(reader); /* PartitionIndex */
    answer.error = reader_i16(reader);
    answer.message = wire_text(reader);
    get_producers(reader, &answer);
    leave_only_partition(reader);
    if (!proto_finish(reader, API_DESCRIBE_PRODUCERS, 0, err)) {
        describe_producers_answer_done(&answer);
        return false;
    }
    *out = answer;
    return true;
}

void describe_producers_answer_done(struct describe_producers_answer *answer)
{
    free(answer->producers);
    *answer = (struct describe_producers_answer){0};
}
