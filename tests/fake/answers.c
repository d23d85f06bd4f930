#include "tests/fake/answers.h"

#include <assert.h>

struct wire_string fake_text(const char *text)
{
    return (struct wire_string){.data = text, .len = text == NULL ? -1 : (int32_t)strlen(text)};
}

static void put_text(struct writer *writer, struct wire_string text)
{
    wire_put_uvarint(writer, (uint32_t)(text.len + 1));
    if (text.len > 0) {
        writer_bytes(writer, text.data, (size_t)text.len);
    }
}

/* --- Metadata -------------------------------------------------------------------------------------------------- */

static void put_ids(struct writer *writer, int32_t count)
{
    wire_put_compact_array(writer, count);
    for (int32_t i = 0; i < count; i++) {
        writer_i32(writer, i);
    }
}

static void put_topic(struct writer *writer, const struct metadata_topic *topic)
{
    writer_i16(writer, topic->error);
    put_text(writer, topic->name);
    wire_put_uuid(writer, &topic->id);
    writer_i8(writer, topic->internal ? 1 : 0);
    wire_put_compact_array(writer, topic->partitions_count);
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        const struct metadata_partition *partition = &topic->partitions[i];
        writer_i16(writer, partition->error);
        writer_i32(writer, partition->index);
        writer_i32(writer, partition->leader);
        writer_i32(writer, partition->leader_epoch);
        put_ids(writer, partition->replicas_count);
        put_ids(writer, partition->in_sync_count);
        put_ids(writer, 0);
        wire_put_no_tags(writer);
    }
    writer_i32(writer, INT32_MIN);
    wire_put_no_tags(writer);
}

void fake_put_metadata(struct writer *writer, int16_t version, const struct metadata *metadata)
{
    writer_i32(writer, 0);
    wire_put_compact_array(writer, metadata->brokers_count);
    for (int32_t i = 0; i < metadata->brokers_count; i++) {
        writer_i32(writer, metadata->brokers[i].id);
        put_text(writer, metadata->brokers[i].host);
        writer_i32(writer, metadata->brokers[i].port);
        wire_put_compact_string(writer, NULL);
        wire_put_no_tags(writer);
    }
    put_text(writer, metadata->cluster_id);
    writer_i32(writer, metadata->controller);
    wire_put_compact_array(writer, metadata->topics_count);
    for (int32_t i = 0; i < metadata->topics_count; i++) {
        put_topic(writer, &metadata->topics[i]);
    }
    if (version <= 10) {
        writer_i32(writer, INT32_MIN);
    }
    wire_put_no_tags(writer);
}

/* --- Fetch ----------------------------------------------------------------------------------------------------- */

static void put_fetch_partition(struct writer *writer, const struct fetch_partition *partition)
{
    writer_i32(writer, partition->partition);
    writer_i16(writer, partition->error);
    writer_i64(writer, partition->high_watermark);
    writer_i64(writer, partition->last_stable_offset);
    writer_i64(writer, partition->log_start_offset);
    wire_put_compact_array(writer, partition->aborted_count == 0 ? -1 : partition->aborted_count);
    for (int32_t i = 0; i < partition->aborted_count; i++) {
        writer_i64(writer, partition->aborted[i].producer_id);
        writer_i64(writer, partition->aborted[i].first_offset);
        wire_put_no_tags(writer);
    }
    writer_i32(writer, -1);
    wire_put_uvarint(writer, (uint32_t)partition->records_len + 1);
    if (partition->records_len > 0) {
        writer_bytes(writer, partition->records, partition->records_len);
    }
    if (!partition->diverging) {
        wire_put_no_tags(writer);
        return;
    }
    wire_put_uvarint(writer, 1);
    wire_put_uvarint(writer, 0);
    wire_put_uvarint(writer, 13);
    writer_i32(writer, partition->diverging_epoch);
    writer_i64(writer, partition->diverging_end_offset);
    wire_put_no_tags(writer);
}

/* Each partition in a topic entry of its own: allowed, and simple. */
void fake_put_fetch(struct writer *writer, int16_t version, const struct fetch_answer *answer)
{
    writer_i32(writer, answer->throttle_ms);
    writer_i16(writer, answer->error);
    writer_i32(writer, 0);
    wire_put_compact_array(writer, answer->partitions_count);
    for (int32_t i = 0; i < answer->partitions_count; i++) {
        if (version >= 13) {
            wire_put_uuid(writer, &answer->partitions[i].topic_id);
        } else {
            put_text(writer, answer->partitions[i].topic);
        }
        wire_put_compact_array(writer, 1);
        put_fetch_partition(writer, &answer->partitions[i]);
        wire_put_no_tags(writer);
    }
    wire_put_no_tags(writer);
}

int32_t fake_get_fetch(struct reader body, int16_t version, struct fake_fetch *out, int32_t max)
{
    int32_t total = 0;

    reader_bytes(&body, version <= 14 ? 4 + 4 + 4 + 4 + 1 + 4 + 4 : 4 + 4 + 4 + 1 + 4 + 4);
    int32_t topics_count = wire_compact_array(&body, 3);
    for (int32_t t = 0; t < topics_count; t++) {
        struct fake_fetch one = {
            .topic = {NULL, -1}
        };
        if (version >= 13) {
            one.topic_id = wire_uuid(&body);
        } else {
            one.topic = wire_compact_string(&body);
        }
        int32_t count = wire_compact_array(&body, 33);
        for (int32_t i = 0; i < count && total < max; i++) {
            one.partition = reader_i32(&body);
            one.current_leader_epoch = reader_i32(&body);
            one.offset = reader_i64(&body);
            one.last_fetched_epoch = reader_i32(&body);
            reader_i64(&body);
            one.max_bytes = reader_i32(&body);
            wire_skip_tags(&body);
            out[total++] = one;
        }
        wire_skip_tags(&body);
    }
    assert(wire_compact_array(&body, 1) == 0);
    wire_compact_string(&body);
    wire_skip_tags(&body);
    assert(!body.bad && reader_left(&body) == 0);
    return total;
}

/* --- Produce --------------------------------------------------------------------------------------------------- */

void fake_put_produce(struct writer *writer, int16_t version, const struct produce_answer *answer)
{
    wire_put_compact_array(writer, answer->parts_count);
    for (int32_t i = 0; i < answer->parts_count; i++) {
        const struct produce_answer_part *part = &answer->parts[i];
        if (version >= 13) {
            wire_put_uuid(writer, &part->topic_id);
        } else {
            put_text(writer, part->topic);
        }
        wire_put_compact_array(writer, 1);
        writer_i32(writer, part->partition);
        writer_i16(writer, part->error);
        writer_i64(writer, part->base_offset);
        writer_i64(writer, part->log_append_time);
        writer_i64(writer, part->log_start_offset);
        wire_put_compact_array(writer, 0);
        put_text(writer, part->message);
        wire_put_no_tags(writer);
        wire_put_no_tags(writer);
    }
    writer_i32(writer, answer->throttle_ms);
    wire_put_no_tags(writer);
}

int32_t fake_get_produce(struct reader body, int16_t version, struct fake_produce *out, int32_t max)
{
    int32_t total = 0;

    wire_compact_string(&body); /* TransactionalId */
    assert(reader_i16(&body) == -1);
    reader_i32(&body);
    int32_t topics_count = wire_compact_array(&body, 3);
    for (int32_t t = 0; t < topics_count; t++) {
        struct fake_produce one = {
            .topic = {NULL, -1}
        };
        if (version >= 13) {
            one.topic_id = wire_uuid(&body);
        } else {
            one.topic = wire_compact_string(&body);
        }
        int32_t count = wire_compact_array(&body, 6);
        for (int32_t i = 0; i < count && total < max; i++) {
            one.partition = reader_i32(&body);
            one.records_len = wire_uvarint(&body) - 1;
            one.records = reader_bytes(&body, one.records_len);
            wire_skip_tags(&body);
            out[total++] = one;
        }
        wire_skip_tags(&body);
    }
    wire_skip_tags(&body);
    assert(!body.bad && reader_left(&body) == 0);
    return total;
}

/* --- small ones ------------------------------------------------------------------------------------------------ */

void fake_put_list_offsets(struct writer *writer, const struct list_offsets_answer *answer)
{
    writer_i32(writer, 0);
    wire_put_compact_array(writer, answer->parts_count);
    for (int32_t i = 0; i < answer->parts_count; i++) {
        put_text(writer, answer->parts[i].topic);
        wire_put_compact_array(writer, 1);
        writer_i32(writer, answer->parts[i].partition);
        writer_i16(writer, answer->parts[i].error);
        writer_i64(writer, answer->parts[i].timestamp);
        writer_i64(writer, answer->parts[i].offset);
        writer_i32(writer, answer->parts[i].leader_epoch);
        wire_put_no_tags(writer);
        wire_put_no_tags(writer);
    }
    wire_put_no_tags(writer);
}

static void put_only_partition(struct writer *writer, const char *topic)
{
    writer_i32(writer, 0);
    wire_put_compact_array(writer, 1);
    wire_put_compact_string(writer, topic);
    wire_put_compact_array(writer, 1);
}

static void put_three_no_tags(struct writer *writer)
{
    wire_put_no_tags(writer);
    wire_put_no_tags(writer);
    wire_put_no_tags(writer);
}

void fake_put_epoch_end(struct writer *writer, const char *topic, int32_t partition,
                        const struct epoch_end_answer *answer)
{
    put_only_partition(writer, topic);
    writer_i16(writer, answer->error);
    writer_i32(writer, partition);
    writer_i32(writer, answer->leader_epoch);
    writer_i64(writer, answer->end_offset);
    put_three_no_tags(writer);
}

void fake_put_describe_producers(struct writer *writer, const char *topic, int32_t partition,
                                 const struct describe_producers_answer *answer)
{
    put_only_partition(writer, topic);
    writer_i32(writer, partition);
    writer_i16(writer, answer->error);
    put_text(writer, answer->message);
    wire_put_compact_array(writer, answer->producers_count);
    for (int32_t i = 0; i < answer->producers_count; i++) {
        writer_i64(writer, answer->producers[i].producer_id);
        writer_i32(writer, answer->producers[i].producer_epoch);
        writer_i32(writer, answer->producers[i].last_sequence);
        writer_i64(writer, answer->producers[i].last_timestamp);
        writer_i32(writer, -1);
        writer_i64(writer, -1);
        wire_put_no_tags(writer);
    }
    put_three_no_tags(writer);
}

void fake_put_init_producer_id(struct writer *writer, const struct init_producer_id_answer *answer)
{
    writer_i32(writer, answer->throttle_ms);
    writer_i16(writer, answer->error);
    writer_i64(writer, answer->producer_id);
    writer_i16(writer, answer->producer_epoch);
    wire_put_no_tags(writer);
}

void fake_put_find_coordinator(struct writer *writer, int16_t version, const char *group,
                               const struct find_coordinator_answer *answer)
{
    writer_i32(writer, 0);
    if (version <= 3) {
        writer_i16(writer, answer->error);
        wire_put_compact_string(writer, NULL);
    } else {
        wire_put_compact_array(writer, 1);
        wire_put_compact_string(writer, group);
    }
    writer_i32(writer, answer->id);
    put_text(writer, answer->host);
    writer_i32(writer, answer->port);
    if (version >= 4) {
        writer_i16(writer, answer->error);
        wire_put_compact_string(writer, NULL);
        wire_put_no_tags(writer);
    }
    wire_put_no_tags(writer);
}

void fake_put_leave_group(struct writer *writer, int16_t error)
{
    writer_i32(writer, 0);
    writer_i16(writer, error);
    wire_put_compact_array(writer, 0);
    wire_put_no_tags(writer);
}

/* --- OffsetFetch ----------------------------------------------------------------------------------------------- */

/* Each partition in a topic entry of its own. */
static void put_offset_fetch_group(struct writer *writer, const struct offset_fetch_group *group)
{
    wire_put_compact_array(writer, group->parts_count);
    for (int32_t i = 0; i < group->parts_count; i++) {
        const struct offset_fetch_part *part = &group->parts[i];
        put_text(writer, part->topic);
        wire_put_compact_array(writer, 1);
        writer_i32(writer, part->partition);
        writer_i64(writer, part->offset);
        writer_i32(writer, part->leader_epoch);
        put_text(writer, part->metadata);
        writer_i16(writer, part->error);
        wire_put_no_tags(writer);
        wire_put_no_tags(writer);
    }
    writer_i16(writer, group->error);
}

void fake_put_offset_fetch(struct writer *writer, int16_t version,
                           const struct offset_fetch_answer *answer)
{
    writer_i32(writer, answer->throttle_ms);
    if (version >= 8) {
        wire_put_compact_array(writer, answer->groups_count);
    }
    for (int32_t i = 0; i < answer->groups_count; i++) {
        if (version >= 8) {
            put_text(writer, answer->groups[i].group);
        }
        put_offset_fetch_group(writer, &answer->groups[i]);
        if (version >= 8) {
            wire_put_no_tags(writer);
        }
    }
    wire_put_no_tags(writer);
}

static int32_t get_offset_fetch_topics(struct reader *body, struct wire_string group,
                                       struct fake_offset_fetch *out, int32_t max)
{
    int32_t total = 0;
    int32_t topics_count = wire_compact_array(body, 3);
    for (int32_t t = 0; t < topics_count; t++) {
        struct wire_string topic = wire_compact_string(body);
        int32_t count = wire_compact_array(body, 4);
        for (int32_t i = 0; i < count; i++) {
            struct fake_offset_fetch one = {group, topic, reader_i32(body)};
            if (total < max) {
                out[total++] = one;
            }
        }
        wire_skip_tags(body);
    }
    return total;
}

int32_t fake_get_offset_fetch(struct reader body, int16_t version, bool *out_require_stable,
                              struct fake_offset_fetch *out, int32_t max)
{
    int32_t total = 0;
    int32_t groups_count = version >= 8 ? wire_compact_array(&body, 4) : 1;

    for (int32_t g = 0; g < groups_count; g++) {
        struct wire_string group = wire_compact_string(&body);
        if (version >= 9) {
            assert(wire_compact_string(&body).len == -1);
            assert(reader_i32(&body) == -1);
        }
        total += get_offset_fetch_topics(&body, group, out + total, max - total);
        if (version >= 8) {
            wire_skip_tags(&body);
        }
    }
    *out_require_stable = reader_i8(&body) != 0;
    wire_skip_tags(&body);
    assert(!body.bad && reader_left(&body) == 0);
    return total;
}
