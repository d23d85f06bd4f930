/* See proto.h: Fetch without a session, by topic name (10 to 12) or topic id (13 and later). */
#include <assert.h>

#include "kafka/proto_private.h"

/* The least bytes of one PartitionData: index 4, error 2, three offsets 24, aborted 1, replica 4, records 1, tags 1. */
#define FETCH_PARTITION_MIN_BYTES 37

static bool same_topic(int16_t version, const struct fetch_want *a, const struct fetch_want *b)
{
    return version >= 13 ? uuid_equal(&a->topic_id, &b->topic_id) : strcmp(a->topic, b->topic) == 0;
}

/* How many of `wants` from the first on are of its topic. */
static int32_t topic_run(int16_t version, const struct fetch_want *wants, int32_t count)
{
    int32_t run = 1;

    while (run < count && same_topic(version, &wants[0], &wants[run])) {
        run++;
    }
    return run;
}

static void put_fetch_partition(struct writer *writer, int16_t version,
                                const struct fetch_want *want)
{
    writer_i32(writer, want->partition);
    writer_i32(writer, want->current_leader_epoch);
    writer_i64(writer, want->offset);
    if (version >= 12) {
        writer_i32(writer, want->last_fetched_epoch);
    }
    writer_i64(writer, -1); /* LogStartOffset: followers only */
    writer_i32(writer, want->max_bytes);
    wire_put_no_tags(writer);
}

static void put_fetch_topic(struct writer *writer, int16_t version, const struct fetch_want *wants,
                            int32_t count)
{
    if (version >= 13) {
        wire_put_uuid(writer, &wants[0].topic_id);
    } else {
        wire_put_text(writer, wants[0].topic);
    }
    wire_put_list(writer, count);
    for (int32_t i = 0; i < count; i++) {
        put_fetch_partition(writer, version, &wants[i]);
    }
    wire_put_no_tags(writer);
}

void proto_put_fetch(struct writer *writer, int16_t version, int32_t max_wait_ms, int32_t min_bytes,
                     int32_t max_bytes, bool read_committed, const struct fetch_want *wants,
                     int32_t count)
{
    int32_t topics_count = 0;

    proto_begin(writer, API_FETCH, version);
    for (int32_t i = 0; i < count; i += topic_run(version, wants + i, count - i)) {
        topics_count++;
    }
    if (version <= 14) {
        writer_i32(
            writer,
            -1); /* ReplicaId; later versions have it as a tagged field whose default is -1 */
    }
    writer_i32(writer, max_wait_ms);
    writer_i32(writer, min_bytes);
    writer_i32(writer, max_bytes);
    writer_i8(writer, read_committed ? 1 : 0);
    writer_i32(writer, 0);  /* SessionId */
    writer_i32(writer, -1); /* SessionEpoch: no session */
    wire_put_list(writer, topics_count);
    for (int32_t i = 0; i < count;) {
        int32_t run = topic_run(version, wants + i, count - i);
        put_fetch_topic(writer, version, wants + i, run);
        i += run;
    }
    wire_put_list(writer, 0); /* ForgottenTopicsData */
    if (version >= 11) {
        wire_put_text(writer, ""); /* RackId */
    }
    wire_put_no_tags(writer);
}

static void get_aborted(struct reader *reader, struct fetch_partition *partition)
{
    struct proto_array aborted = {0};
    int32_t count = wire_list(reader, 17);

    if (count <= 0) { /* null without read_committed */
        return;
    }
    proto_array_reserve(&aborted, count, sizeof(*partition->aborted));
    partition->aborted = aborted.items;
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        struct fetch_aborted *one = &partition->aborted[partition->aborted_count++];
        one->producer_id = reader_i64(reader);
        one->first_offset = reader_i64(reader);
        wire_skip_tags(reader);
    }
}

static void get_records(struct reader *reader, struct fetch_partition *partition)
{
    struct wire_string records = wire_blob(reader);

    if (records.len > 0) {
        partition->records = (const uint8_t *)records.data;
        partition->records_len = (size_t)records.len;
    }
}

static bool get_diverging(struct reader *field, struct fetch_partition *partition)
{
    partition->diverging_epoch = reader_i32(field);
    partition->diverging_end_offset = reader_i64(field);
    wire_skip_tags(field);
    partition->diverging =
        partition->diverging_epoch != -1 || partition->diverging_end_offset != -1;
    return !field->bad;
}

static void get_fetch_tags(struct reader *reader, struct fetch_partition *partition)
{
    uint32_t left = reader->rigid ? 0 : wire_uvarint(reader);
    uint32_t tag;
    struct reader field;

    while (wire_next_tag(reader, &left, &tag, &field)) {
        /* 1 CurrentLeader and 2 SnapshotId are skipped: metadata says who leads */
        if (tag == 0 && !get_diverging(&field, partition)) {
            reader->bad = true;
        }
    }
}

static void get_fetch_partition(struct reader *reader, int16_t version,
                                struct fetch_partition *partition)
{
    partition->partition = reader_i32(reader);
    partition->error = reader_i16(reader);
    partition->high_watermark = reader_i64(reader);
    partition->last_stable_offset = reader_i64(reader);
    partition->log_start_offset = reader_i64(reader);
    get_aborted(reader, partition);
    if (version >= 11) {
        reader_i32(reader); /* PreferredReadReplica: we send no rack, so there is none */
    }
    get_records(reader, partition);
    get_fetch_tags(reader, partition);
}

static void get_fetch_topic(struct reader *reader, int16_t version, struct proto_array *array)
{
    struct wire_string name = {NULL, -1};
    struct uuid id = {{0}};

    if (version >= 13) {
        id = wire_uuid(reader);
    } else {
        name = wire_text(reader);
    }
    int32_t count = proto_count(reader, FETCH_PARTITION_MIN_BYTES);
    proto_array_reserve(array, count, sizeof(struct fetch_partition));
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        struct fetch_partition *partition = (struct fetch_partition *)array->items + array->count++;
        partition->topic = name;
        partition->topic_id = id;
        get_fetch_partition(reader, version, partition);
    }
    wire_skip_tags(reader);
}

bool proto_get_fetch(struct reader *reader, int16_t version, struct fetch_answer *out,
                     struct err *err)
{
    struct proto_array partitions = {0};
    struct fetch_answer answer = {0};

    proto_enter(reader, API_FETCH, version);
    answer.throttle_ms = reader_i32(reader);
    answer.error = reader_i16(reader);
    reader_i32(reader); /* SessionId */
    int32_t topics_count = proto_count(reader, version >= 13 ? 18 : 3);
    for (int32_t i = 0; i < topics_count && !reader->bad; i++) {
        get_fetch_topic(reader, version, &partitions);
    }
    wire_skip_tags(reader); /* NodeEndpoints */
    answer.partitions = partitions.items;
    answer.partitions_count = partitions.count;
    if (!proto_finish(reader, API_FETCH, version, err)) {
        fetch_answer_done(&answer);
        return false;
    }
    *out = answer;
    return true;
}

void fetch_answer_done(struct fetch_answer *answer)
{
    for (int32_t i = 0; i < answer->partitions_count; i++) {
        free(answer->partitions[i].aborted);
    }
    free(answer->partitions);
    *answer = (struct fetch_answer){0};
}
