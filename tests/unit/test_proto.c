/* kafka/proto: every version that we speak against bytes that Apache Kafka's own classes made (vectors/), each answer
 * cut at every byte, with every byte changed, with counts that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kafka/error.h"
#include "kafka/proto.h"
#include "tests/unit/vectors/proto_vectors.h"

static const struct uuid id_1 = {
    {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
     0xff}
};
static const struct uuid id_2 = {
    {0x10, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
     0xff}
};

#define VECTOR(name) {#name, name, sizeof(name)}
struct vector {
    const char *name;
    const uint8_t *data;
    size_t len;
};

static bool is(struct wire_string string, const char *text)
{
    return string.len == (int32_t)strlen(text) && memcmp(string.data, text, strlen(text)) == 0;
}

static void assert_written(struct writer *writer, struct vector vector)
{
    if (writer->len != vector.len) {
        print_error("%s: %zu bytes, expected %zu\n", vector.name, writer->len, vector.len);
    }
    assert_int_equal(writer->len, vector.len);
    if (vector.len > 0) { /* ListGroups 2 asks nothing */
        assert_memory_equal(writer->data, vector.data, vector.len);
    }
    writer_done(writer);
}

/* --- the table ------------------------------------------------------------------------------------------------- */

static void the_table_has_every_api(void **state)
{
    static const struct {
        enum api_key key;
        int16_t min;
        int16_t max;
    } rows[] = {
        {API_PRODUCE,                 7,  13},
        {API_FETCH,                   10, 16},
        {API_LIST_OFFSETS,            4,  7 },
        {API_METADATA,                7,  12},
        {API_OFFSET_COMMIT,           6,  9 },
        {API_OFFSET_FETCH,            5,  9 },
        {API_FIND_COORDINATOR,        2,  4 },
        {API_LEAVE_GROUP,             2,  5 },
        {API_DESCRIBE_GROUPS,         2,  5 },
        {API_LIST_GROUPS,             2,  5 },
        {API_SASL_HANDSHAKE,          1,  1 },
        {API_VERSIONS,                0,  3 },
        {API_INIT_PRODUCER_ID,        1,  2 },
        {API_OFFSET_FOR_LEADER_EPOCH, 2,  4 },
        {API_DESCRIBE_LOG_DIRS,       1,  4 },
        {API_SASL_AUTHENTICATE,       1,  2 },
        {API_DESCRIBE_PRODUCERS,      0,  0 },
        {API_CONSUMER_GROUP_DESCRIBE, 0,  0 },
    };
    int16_t min;
    int16_t max;

    (void)state;
    assert_int_equal(sizeof(rows) / sizeof(rows[0]), API_KEYS_COUNT);
    for (size_t i = 0; i < API_KEYS_COUNT; i++) {
        assert_true(api_range(rows[i].key, &min, &max));
        assert_int_equal(min, rows[i].min);
        assert_int_equal(max, rows[i].max);
        assert_string_not_equal(api_name(rows[i].key), "unknown API");
    }
    assert_false(api_range((enum api_key)999, &min, &max));
}

/* --- requests -------------------------------------------------------------------------------------------------- */

static void fetch_requests(void **state)
{
    static const struct vector vectors[] = {VECTOR(fetch_request_v10), VECTOR(fetch_request_v11),
                                            VECTOR(fetch_request_v12), VECTOR(fetch_request_v13),
                                            VECTOR(fetch_request_v14), VECTOR(fetch_request_v15),
                                            VECTOR(fetch_request_v16)};
    struct fetch_want wants[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        wants[i] = (struct fetch_want){.topic = i < 2 ? "orders" : "payments",
                                       .topic_id = i < 2 ? id_1 : id_2,
                                       .partition = i % 2,
                                       .current_leader_epoch = 7 + i % 2,
                                       .offset = 1000 + i % 2,
                                       .last_fetched_epoch = 6,
                                       .max_bytes = 65536};
    }
    for (int16_t version = 10; version <= 16; version++) {
        struct writer writer;
        writer_init(&writer);
        proto_put_fetch(&writer, version, 500, 1, 1 << 20, true, wants, 3);
        assert_written(&writer, vectors[version - 10]);
    }
}

static void produce_requests(void **state)
{
    static const struct vector vectors[] = {
        VECTOR(produce_request_v7),  VECTOR(produce_request_v8),  VECTOR(produce_request_v9),
        VECTOR(produce_request_v10), VECTOR(produce_request_v11), VECTOR(produce_request_v12),
        VECTOR(produce_request_v13)};
    struct produce_part parts[3] = {0};
    uint8_t records[162];
    size_t cuts[3];

    (void)state;
    for (int i = 0; i < 162; i++) {
        records[i] = (uint8_t)i;
    }
    for (int i = 0; i < 3; i++) {
        parts[i].topic = i < 2 ? "orders" : "payments";
        parts[i].topic_id = i < 2 ? id_1 : id_2;
        parts[i].partition = i % 2;
        parts[i].records = records + 61;
        parts[i].records_len = (size_t)(100 + i % 2);
        memcpy(parts[i].header, records, 61);
    }
    for (int16_t version = 7; version <= 13; version++) {
        struct writer framing;
        struct writer whole;
        size_t at = 0;
        writer_init(&framing);
        writer_init(&whole);
        proto_put_produce(&framing, version, 2000, parts, 3, cuts);
        for (int i = 0; i < 3; i++) {
            writer_bytes(&whole, framing.data + at, cuts[i] - at);
            writer_bytes(&whole, parts[i].records, parts[i].records_len);
            at = cuts[i];
        }
        writer_bytes(&whole, framing.data + at, framing.len - at);
        writer_done(&framing);
        assert_written(&whole, vectors[version - 7]);
    }
}

static void metadata_requests(void **state)
{
    static const struct vector some[] = {
        VECTOR(metadata_request_v7),  VECTOR(metadata_request_v8),  VECTOR(metadata_request_v9),
        VECTOR(metadata_request_v10), VECTOR(metadata_request_v11), VECTOR(metadata_request_v12)};
    static const struct vector all[] = {
        VECTOR(metadata_request_all_v7),  VECTOR(metadata_request_all_v8),
        VECTOR(metadata_request_all_v9),  VECTOR(metadata_request_all_v10),
        VECTOR(metadata_request_all_v11), VECTOR(metadata_request_all_v12)};
    static const char *const names[] = {"orders", "payments"};

    (void)state;
    for (int16_t version = 7; version <= 12; version++) {
        struct writer writer;
        writer_init(&writer);
        proto_put_metadata(&writer, version, names, 2);
        assert_written(&writer, some[version - 7]);
        writer_init(&writer);
        proto_put_metadata(&writer, version, NULL, 0);
        assert_written(&writer, all[version - 7]);
    }
}

static void list_offsets_requests(void **state)
{
    static const struct vector vectors[] = {
        VECTOR(list_offsets_request_v4), VECTOR(list_offsets_request_v5),
        VECTOR(list_offsets_request_v6), VECTOR(list_offsets_request_v7)};
    static const struct topic_partition wants[] = {
        {"orders",   0},
        {"orders",   3},
        {"payments", 1}
    };

    (void)state;
    for (int16_t version = 4; version <= 7; version++) {
        struct writer writer;
        writer_init(&writer);
        proto_put_list_offsets(&writer, version, true, LIST_OFFSETS_LATEST, wants, 3);
        assert_written(&writer, vectors[version - 4]);
    }
}

/* Brokers bound a consumer, replica id -1, by the high watermark: here it is none. The leader's epoch is held against it. */
static void log_ends_are_asked_as_no_consumer(void **state)
{
    static const struct log_end_want wants[] = {
        {.place = {"orders", 3}, .leader_epoch = 7},
        {.place = {"orders", 4}, .leader_epoch = 9},
    };
    struct writer writer;

    (void)state;
    writer_init(&writer);
    proto_put_log_ends(&writer, 7, wants, 2);
    struct reader reader = reader_over(writer.data, writer.len);
    assert_int_equal(reader_i32(&reader), -2);
    assert_int_equal(reader_i8(&reader), 0);
    assert_int_equal(wire_uvarint(&reader), 3);
    for (int32_t i = 0; i < 2; i++) {
        struct wire_string topic = wire_compact_string(&reader);
        assert_int_equal(topic.len, 6);
        assert_int_equal(wire_uvarint(&reader), 2);
        assert_int_equal(reader_i32(&reader), wants[i].place.partition);
        assert_int_equal(reader_i32(&reader), wants[i].leader_epoch);
        assert_int_equal(reader_i64(&reader), LIST_OFFSETS_LATEST);
        wire_skip_tags(&reader);
        wire_skip_tags(&reader);
    }
    wire_skip_tags(&reader);
    assert_false(reader.bad);
    assert_int_equal(reader_left(&reader), 0);
    writer_done(&writer);
}

static void small_requests(void **state)
{
    struct writer writer;

    (void)state;
    writer_init(&writer);
    proto_put_api_versions(&writer, 3, "0.1.0+g123");
    assert_written(&writer, (struct vector)VECTOR(api_versions_request_v3));
    writer_init(&writer);
    proto_put_api_versions(&writer, 0, "0.1.0+g123");
    assert_int_equal(writer.len, 0); /* as Kafka's own, and an array may not be empty */
    for (int16_t version = 2; version <= 4; version++) {
        static const struct vector vectors[] = {VECTOR(epoch_end_request_v2),
                                                VECTOR(epoch_end_request_v3),
                                                VECTOR(epoch_end_request_v4)};
        writer_init(&writer);
        proto_put_epoch_end(&writer, version, "orders", 4, 9, 8);
        assert_written(&writer, vectors[version - 2]);
    }
    writer_init(&writer);
    proto_put_describe_producers(&writer, "orders", 4);
    assert_written(&writer, (struct vector)VECTOR(describe_producers_request_v0));
    writer_init(&writer);
    proto_put_init_producer_id(&writer, 1);
    assert_written(&writer, (struct vector)VECTOR(init_producer_id_request_v1));
    writer_init(&writer);
    proto_put_init_producer_id(&writer, 2);
    assert_written(&writer, (struct vector)VECTOR(init_producer_id_request_v2));
    writer_init(&writer);
    proto_put_find_coordinator(&writer, 2, false, "ferry-orders-a-b");
    assert_written(&writer, (struct vector)VECTOR(find_coordinator_request_v2));
    writer_init(&writer);
    proto_put_find_coordinator(&writer, 3, false, "ferry-orders-a-b");
    assert_written(&writer, (struct vector)VECTOR(find_coordinator_request_v3));
    writer_init(&writer);
    proto_put_find_coordinator(&writer, 4, false, "ferry-orders-a-b");
    assert_written(&writer, (struct vector)VECTOR(find_coordinator_request_v4));
    writer_init(&writer);
    proto_put_leave_group(&writer, 2, "ferry-orders-a-b", "m-1", "worker-1", "drained");
    assert_written(&writer, (struct vector)VECTOR(leave_group_request_v2));
    writer_init(&writer);
    proto_put_leave_group(&writer, 3, "ferry-orders-a-b", NULL, "worker-1", "drained");
    assert_written(&writer, (struct vector)VECTOR(leave_group_request_v3));
    writer_init(&writer);
    proto_put_leave_group(&writer, 4, "ferry-orders-a-b", NULL, "worker-1", "drained");
    assert_written(&writer, (struct vector)VECTOR(leave_group_request_v4));
    writer_init(&writer);
    proto_put_leave_group(&writer, 5, "ferry-orders-a-b", "", "worker-1", "drained");
    assert_written(&writer, (struct vector)VECTOR(leave_group_request_v5));
    writer_init(&writer);
    proto_put_sasl_handshake(&writer, "SCRAM-SHA-512");
    assert_written(&writer, (struct vector)VECTOR(sasl_handshake_request_v1));
    writer_init(&writer);
    writer.rigid = true;
    proto_put_sasl_authenticate(&writer, "n,,n=u,r=x", 10);
    assert_written(&writer, (struct vector)VECTOR(sasl_authenticate_request_v1));
    writer_init(&writer);
    proto_put_sasl_authenticate(&writer, "n,,n=u,r=x", 10);
    assert_written(&writer, (struct vector)VECTOR(sasl_authenticate_request_v2));
}

static void offset_fetch_requests(void **state)
{
    static const struct vector some[] = {
        VECTOR(offset_fetch_request_v5), VECTOR(offset_fetch_request_v6),
        VECTOR(offset_fetch_request_v7), VECTOR(offset_fetch_request_v8),
        VECTOR(offset_fetch_request_v9)};
    static const struct vector all[] = {
        VECTOR(offset_fetch_request_all_v5), VECTOR(offset_fetch_request_all_v6),
        VECTOR(offset_fetch_request_all_v7), VECTOR(offset_fetch_request_all_v8),
        VECTOR(offset_fetch_request_all_v9)};
    static const struct topic_partition parts[] = {
        {"orders",   0},
        {"orders",   3},
        {"payments", 1}
    };
    static const struct offset_fetch_want wants[] = {
        {"ferry-orders-a-b", parts, 3},
        {"billing",          NULL,  0}
    };
    static const struct offset_fetch_want whole = {"ferry-orders-a-b", NULL, 0};

    (void)state;
    for (int16_t version = 5; version <= 9; version++) {
        struct writer writer;
        writer_init(&writer);
        proto_put_offset_fetch(&writer, version, true, wants, version <= 7 ? 1 : 2);
        assert_written(&writer, some[version - 5]);
        writer_init(&writer);
        proto_put_offset_fetch(&writer, version, false, &whole, 1);
        assert_written(&writer, all[version - 5]);
    }
}

static void requests_about_many_groups(void **state)
{
    static const struct vector lists[] = {
        VECTOR(list_groups_request_v2), VECTOR(list_groups_request_v3),
        VECTOR(list_groups_request_v4), VECTOR(list_groups_request_v5)};
    static const struct vector commits[] = {
        VECTOR(offset_commit_request_v6), VECTOR(offset_commit_request_v7),
        VECTOR(offset_commit_request_v8), VECTOR(offset_commit_request_v9)};
    static const char *const groups[] = {"billing", "audit"};
    static const struct offset_commit_part parts[] = {
        {"orders",   0, 4711,             "kept"},
        {"orders",   3, (int64_t)1 << 40, NULL  },
        {"payments", 1, 0,                ""    }
    };
    static const char *const alone[] = {"ferry-orders-a-b"};
    struct writer writer;

    (void)state;
    for (int16_t i = 0; i < 4; i++) {
        writer_init(&writer);
        proto_put_list_groups(&writer, (int16_t)(2 + i));
        assert_written(&writer, lists[i]);
        writer_init(&writer);
        proto_put_offset_commit(&writer, (int16_t)(6 + i), "billing", parts, 3);
        assert_written(&writer, commits[i]);
    }
    writer_init(&writer);
    proto_put_find_coordinators(&writer, 4, groups, 2);
    assert_written(&writer, (struct vector)VECTOR(find_coordinators_request_v4));
    writer_init(&writer);
    proto_put_find_coordinators(&writer, 3, alone, 1);
    assert_written(&writer, (struct vector)VECTOR(find_coordinator_request_v3));
    writer_init(&writer);
    proto_put_find_coordinators(&writer, 2, alone, 1);
    assert_written(&writer, (struct vector)VECTOR(find_coordinator_request_v2));
}

/* Brokers answer INVALID_REQUEST to a version with other characters, or one that ends in a dash. */
static void software_versions_are_made_acceptable(void **state)
{
    static const char *const pairs[][2] = {
        {"1.0",     "1.0"    },
        {"1.0+a_b", "1.0-a-b"},
        {"1.0-",    "1.0"    },
        {"",        "0"      },
        {"+x",      "0"      },
        {"---",     "0"      }
    };

    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct writer writer;
        writer_init(&writer);
        proto_put_api_versions(&writer, 3, pairs[i][0]);
        struct reader reader = reader_over(writer.data, writer.len);
        assert_true(is(wire_compact_string(&reader), "ferry"));
        assert_true(is(wire_compact_string(&reader), pairs[i][1]));
        writer_done(&writer);
    }
}

/* --- answers --------------------------------------------------------------------------------------------------- */

static void fetch_answers(void **state)
{
    static const struct vector vectors[] = {VECTOR(fetch_answer_v10), VECTOR(fetch_answer_v11),
                                            VECTOR(fetch_answer_v12), VECTOR(fetch_answer_v13),
                                            VECTOR(fetch_answer_v14), VECTOR(fetch_answer_v15),
                                            VECTOR(fetch_answer_v16)};

    (void)state;
    for (int16_t version = 10; version <= 16; version++) {
        struct reader reader = reader_over(vectors[version - 10].data, vectors[version - 10].len);
        struct fetch_answer answer;
        struct err err;
        assert_true(proto_get_fetch(&reader, version, &answer, &err));
        assert_int_equal(answer.throttle_ms, 3);
        assert_int_equal(answer.error, 0);
        assert_int_equal(answer.partitions_count, 3);
        struct fetch_partition *p = answer.partitions;
        for (int i = 0; i < 3; i++) {
            const char *name = i < 2 ? "orders" : "payments";
            const struct uuid *id = i < 2 ? &id_1 : &id_2;
            assert_true(version >= 13 ? uuid_equal(&p[i].topic_id, id) : is(p[i].topic, name));
            assert_int_equal(p[i].partition, i % 2);
        }
        assert_int_equal(p[0].high_watermark, 2000);
        assert_int_equal(p[0].last_stable_offset, 1990);
        assert_int_equal(p[0].log_start_offset, 10);
        assert_int_equal(p[0].aborted_count, 2);
        assert_int_equal(p[0].aborted[1].producer_id, 78);
        assert_int_equal(p[0].aborted[1].first_offset, 1007);
        assert_int_equal(p[0].records_len, 200);
        assert_int_equal(p[0].records[199], 199);
        assert_false(p[0].diverging);
        assert_int_equal(p[1].error, KAFKA_NOT_LEADER_OR_FOLLOWER);
        assert_null(p[1].records);
        assert_int_equal(p[1].aborted_count, 0);
        assert_int_equal(p[1].diverging, version >= 12);
        assert_int_equal(p[1].diverging_epoch, version >= 12 ? 5 : 0);
        assert_int_equal(p[1].diverging_end_offset, version >= 12 ? 998 : 0);
        assert_int_equal(p[2].records_len, 0);
        fetch_answer_done(&answer);
    }
}

static void produce_answers(void **state)
{
    static const struct vector vectors[] = {VECTOR(produce_answer_v7),  VECTOR(produce_answer_v8),
                                            VECTOR(produce_answer_v9),  VECTOR(produce_answer_v10),
                                            VECTOR(produce_answer_v11), VECTOR(produce_answer_v12),
                                            VECTOR(produce_answer_v13)};

    (void)state;
    for (int16_t version = 7; version <= 13; version++) {
        struct reader reader = reader_over(vectors[version - 7].data, vectors[version - 7].len);
        struct produce_answer answer;
        struct err err;
        assert_true(proto_get_produce(&reader, version, &answer, &err));
        assert_int_equal(answer.throttle_ms, 4);
        assert_int_equal(answer.parts_count, 2);
        assert_true(version >= 13 ? uuid_equal(&answer.parts[1].topic_id, &id_1)
                                  : is(answer.parts[1].topic, "orders"));
        assert_int_equal(answer.parts[0].base_offset, 123456);
        assert_int_equal(answer.parts[0].log_start_offset, 7);
        assert_int_equal(answer.parts[0].log_append_time, -1);
        assert_int_equal(answer.parts[0].message.len, -1);
        assert_int_equal(answer.parts[1].partition, 1);
        assert_int_equal(answer.parts[1].error, KAFKA_INVALID_RECORD);
        assert_true(version < 8 ? answer.parts[1].message.len == -1
                                : is(answer.parts[1].message, "bad"));
        produce_answer_done(&answer);
    }
}

static void metadata_answers(void **state)
{
    static const struct vector vectors[] = {
        VECTOR(metadata_answer_v7),  VECTOR(metadata_answer_v8),  VECTOR(metadata_answer_v9),
        VECTOR(metadata_answer_v10), VECTOR(metadata_answer_v11), VECTOR(metadata_answer_v12)};

    (void)state;
    for (int16_t version = 7; version <= 12; version++) {
        struct reader reader = reader_over(vectors[version - 7].data, vectors[version - 7].len);
        struct metadata metadata;
        struct err err;
        assert_true(proto_get_metadata(&reader, version, &metadata, &err));
        assert_true(is(metadata.cluster_id, "lkc-1"));
        assert_int_equal(metadata.controller, 1);
        assert_int_equal(metadata.brokers_count, 2);
        assert_int_equal(metadata.brokers[1].id, 2);
        assert_true(is(metadata.brokers[1].host, "b2.example.com"));
        assert_int_equal(metadata.brokers[1].port, 9093);
        assert_int_equal(metadata.topics_count, 2);
        struct metadata_topic *topic = &metadata.topics[0];
        assert_true(is(topic->name, "orders"));
        assert_true(version < 10 ? uuid_is_zero(&topic->id) : uuid_equal(&topic->id, &id_1));
        assert_true(topic->internal);
        assert_int_equal(topic->partitions_count, 3);
        assert_int_equal(topic->partitions[1].leader, 2);
        assert_int_equal(topic->partitions[1].leader_epoch, 11);
        assert_int_equal(topic->partitions[1].replicas_count, 2);
        assert_int_equal(topic->partitions[1].in_sync_count, 1);
        assert_int_equal(topic->partitions[2].error, KAFKA_LEADER_NOT_AVAILABLE);
        assert_int_equal(topic->partitions[2].leader, -1);
        assert_int_equal(metadata.topics[1].error, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
        metadata_done(&metadata);
    }
}

static void list_offsets_answers(void **state)
{
    static const struct vector vectors[] = {
        VECTOR(list_offsets_answer_v4), VECTOR(list_offsets_answer_v5),
        VECTOR(list_offsets_answer_v6), VECTOR(list_offsets_answer_v7)};

    (void)state;
    for (int16_t version = 4; version <= 7; version++) {
        struct reader reader = reader_over(vectors[version - 4].data, vectors[version - 4].len);
        struct list_offsets_answer answer;
        assert_true(proto_get_list_offsets(&reader, version, &answer, NULL));
        assert_int_equal(answer.parts_count, 2);
        assert_true(is(answer.parts[0].topic, "orders"));
        assert_int_equal(answer.parts[0].offset, 55);
        assert_int_equal(answer.parts[0].leader_epoch, 2);
        assert_int_equal(answer.parts[1].partition, 3);
        assert_int_equal(answer.parts[1].error, 6);
        list_offsets_answer_done(&answer);
    }
}

static void api_versions_answers(void **state)
{
    struct reader reader = reader_over(api_versions_answer_v3, sizeof(api_versions_answer_v3));
    struct api_versions versions;
    bool ask_older = true;
    struct err err;

    (void)state;
    assert_true(proto_get_api_versions(&reader, 3, &versions, &ask_older, &err));
    assert_false(ask_older);
    assert_int_equal(versions.version[API_PRODUCE], 13);
    assert_int_equal(versions.version[API_FETCH], 16);
    assert_int_equal(versions.version[API_LIST_OFFSETS], 7);
    assert_int_equal(versions.version[API_METADATA], 12);
    assert_int_equal(versions.version[API_FIND_COORDINATOR], 4);
    assert_int_equal(versions.version[API_LEAVE_GROUP], 3);
    assert_int_equal(versions.version[API_VERSIONS], 3);
    assert_int_equal(versions.version[API_OFFSET_FOR_LEADER_EPOCH], 4);
    assert_int_equal(versions.version[API_DESCRIBE_PRODUCERS], 0);
    assert_int_equal(versions.version[5], -1);
    reader = reader_over(api_versions_refused_v0, sizeof(api_versions_refused_v0));
    assert_true(proto_get_api_versions(&reader, 3, &versions, &ask_older, &err));
    assert_true(ask_older); /* Kafka 2.4 and later know what they speak of this API itself */
    assert_int_equal(versions.version[API_VERSIONS], 2);
    assert_int_equal(versions.version[API_FETCH], -1);
    reader = reader_over(api_versions_empty_v0, sizeof(api_versions_empty_v0));
    ask_older = false;
    assert_true(proto_get_api_versions(&reader, 3, &versions, &ask_older, &err)); /* 2.3 */
    assert_true(ask_older);
    reader = reader_over(api_versions_empty_v0, sizeof(api_versions_empty_v0));
    assert_false(proto_get_api_versions(&reader, 0, &versions, &ask_older, &err)); /* not again */
    reader = reader_over(api_versions_answer_v0, sizeof(api_versions_answer_v0));
    assert_true(proto_get_api_versions(&reader, 0, &versions, &ask_older, &err));
    assert_false(ask_older);
    assert_int_equal(versions.version[API_PRODUCE], 7);
    assert_int_equal(versions.version[API_FETCH], 11);
    assert_int_equal(versions.version[API_METADATA], 8);
    assert_int_equal(versions.version[API_OFFSET_FOR_LEADER_EPOCH], 3);
    assert_int_equal(versions.version[API_DESCRIBE_PRODUCERS], -1);
}

/* Ranges that no broker has: upside down, negative, an API that is offered twice. */
static void api_ranges_that_lie(void **state)
{
    struct writer writer;
    struct api_versions versions;
    bool ask_older;
    static const int16_t ranges[][3] = {
        {0,     13,        9        },
        {1,     -5,        -1       },
        {-3,    0,         9        },
        {32767, 0,         9        },
        {3,     INT16_MIN, INT16_MAX}
    };

    (void)state;
    writer_init(&writer);
    writer_i16(&writer, 0);
    wire_put_compact_array(&writer, 5);
    for (int i = 0; i < 5; i++) {
        writer_i16(&writer, ranges[i][0]);
        writer_i16(&writer, ranges[i][1]);
        writer_i16(&writer, ranges[i][2]);
        wire_put_no_tags(&writer);
    }
    writer_i32(&writer, 0);
    wire_put_no_tags(&writer);
    struct reader reader = reader_over(writer.data, writer.len);
    assert_true(proto_get_api_versions(&reader, 3, &versions, &ask_older, NULL));
    assert_int_equal(versions.version[API_PRODUCE], -1);
    assert_int_equal(versions.version[API_FETCH], -1);
    assert_int_equal(versions.version[API_METADATA], 12);
    writer_done(&writer);
}

static void small_answers(void **state)
{
    static const struct vector ends[] = {VECTOR(epoch_end_answer_v2), VECTOR(epoch_end_answer_v3),
                                         VECTOR(epoch_end_answer_v4)};
    struct reader reader;
    struct epoch_end_answer end;
    struct describe_producers_answer producers;

    (void)state;
    for (int16_t version = 2; version <= 4; version++) {
        reader = reader_over(ends[version - 2].data, ends[version - 2].len);
        assert_true(proto_get_epoch_end(&reader, version, &end, NULL));
        assert_int_equal(end.error, 0);
        assert_int_equal(end.leader_epoch, 8);
        assert_int_equal(end.end_offset, 4321);
    }
    reader = reader_over(describe_producers_answer_v0, sizeof(describe_producers_answer_v0));
    assert_true(proto_get_describe_producers(&reader, &producers, NULL));
    assert_int_equal(producers.error, 0);
    assert_int_equal(producers.message.len, -1);
    assert_int_equal(producers.producers_count, 2);
    assert_int_equal(producers.producers[0].producer_id, 0x4665000012345678);
    assert_int_equal(producers.producers[0].last_sequence, 99);
    assert_int_equal(producers.producers[0].last_timestamp, 1700000000000);
    assert_int_equal(producers.producers[1].producer_epoch, 2);
    describe_producers_answer_done(&producers);
    static const struct vector ids[] = {VECTOR(init_producer_id_answer_v1),
                                        VECTOR(init_producer_id_answer_v2)};
    for (int16_t version = 1; version <= 2; version++) {
        struct init_producer_id_answer id;
        reader = reader_over(ids[version - 1].data, ids[version - 1].len);
        assert_true(proto_get_init_producer_id(&reader, version, &id, NULL));
        assert_int_equal(id.throttle_ms, 7);
        assert_int_equal(id.error, 0);
        assert_int_equal(id.producer_id, 4711);
        assert_int_equal(id.producer_epoch, 0);
    }
}

static void group_answers(void **state)
{
    static const struct vector finds[] = {VECTOR(find_coordinator_answer_v2),
                                          VECTOR(find_coordinator_answer_v3),
                                          VECTOR(find_coordinator_answer_v4)};
    static const struct vector leaves[] = {
        VECTOR(leave_group_answer_v2), VECTOR(leave_group_answer_v3), VECTOR(leave_group_answer_v4),
        VECTOR(leave_group_answer_v5)};
    struct find_coordinator_answer found;
    int16_t error = 0;

    (void)state;
    for (int16_t version = 2; version <= 4; version++) {
        struct reader reader = reader_over(finds[version - 2].data, finds[version - 2].len);
        assert_true(proto_get_find_coordinator(&reader, version, &found, NULL));
        assert_int_equal(found.error, KAFKA_COORDINATOR_NOT_AVAILABLE);
        assert_int_equal(found.id, 3);
        assert_true(is(found.host, "b3"));
        assert_int_equal(found.port, 9094);
    }
    for (int16_t version = 2; version <= 5; version++) {
        struct reader reader = reader_over(leaves[version - 2].data, leaves[version - 2].len);
        error = 0;
        assert_true(proto_get_leave_group(&reader, version, &error, NULL));
        assert_int_equal(error, 25);
    }
}

static void sign_in_answers(void **state)
{
    struct sasl_handshake_answer handshake;
    struct sasl_authenticate_answer signed_in;
    struct reader reader = reader_over(sasl_handshake_answer_v1, sizeof(sasl_handshake_answer_v1));

    (void)state;
    assert_true(proto_get_sasl_handshake(&reader, &handshake, NULL));
    assert_int_equal(handshake.error, KAFKA_UNSUPPORTED_SASL_MECHANISM);
    assert_int_equal(handshake.offered_count, 2);
    assert_true(is(handshake.offered[0], "PLAIN"));
    assert_true(is(handshake.offered[1], "SCRAM-SHA-256"));
    reader = reader_over(sasl_authenticate_answer_v2, sizeof(sasl_authenticate_answer_v2));
    assert_true(proto_get_sasl_authenticate(&reader, &signed_in, NULL));
    assert_int_equal(signed_in.error, KAFKA_NONE);
    assert_true(is(signed_in.bytes, "v=abc"));
    assert_int_equal(signed_in.session_lifetime_ms, 60000);
    reader = reader_over(sasl_authenticate_refused_v2, sizeof(sasl_authenticate_refused_v2));
    assert_true(proto_get_sasl_authenticate(&reader, &signed_in, NULL));
    assert_int_equal(signed_in.error, KAFKA_SASL_AUTHENTICATION_FAILED);
    assert_true(is(signed_in.message, "no"));
    reader = reader_over(sasl_authenticate_answer_v1, sizeof(sasl_authenticate_answer_v1));
    reader.rigid = true;
    assert_true(proto_get_sasl_authenticate(&reader, &signed_in, NULL));
    assert_true(is(signed_in.bytes, "v=abc"));
    assert_int_equal(signed_in.session_lifetime_ms, 60000);
}

static void offset_fetch_answers(void **state)
{
    static const struct vector vectors[] = {
        VECTOR(offset_fetch_answer_v5), VECTOR(offset_fetch_answer_v6),
        VECTOR(offset_fetch_answer_v7), VECTOR(offset_fetch_answer_v8),
        VECTOR(offset_fetch_answer_v9)};

    (void)state;
    for (int16_t version = 5; version <= 9; version++) {
        struct reader reader = reader_over(vectors[version - 5].data, vectors[version - 5].len);
        struct offset_fetch_answer answer;
        assert_true(proto_get_offset_fetch(&reader, version, &answer, NULL));
        assert_int_equal(answer.throttle_ms, 6);
        assert_int_equal(answer.groups_count, version <= 7 ? 1 : 2);
        struct offset_fetch_group *group = &answer.groups[0];
        assert_true(version <= 7 ? group->group.len == -1 : is(group->group, "ferry-orders-a-b"));
        assert_int_equal(group->error, version <= 7 ? KAFKA_NOT_COORDINATOR : KAFKA_NONE);
        assert_int_equal(group->parts_count, 3);
        assert_true(is(group->parts[0].topic, "orders"));
        assert_int_equal(group->parts[0].offset, 4711);
        assert_int_equal(group->parts[0].leader_epoch, 5);
        assert_true(is(group->parts[0].metadata, "v1 checkpoint"));
        assert_int_equal(group->parts[0].error, KAFKA_NONE);
        assert_int_equal(group->parts[1].partition, 3);
        assert_int_equal(group->parts[1].offset, -1);
        assert_int_equal(group->parts[1].metadata.len, -1);
        assert_true(is(group->parts[2].topic, "payments"));
        assert_int_equal(group->parts[2].partition, 1);
        assert_int_equal(group->parts[2].error, 88);
        if (version >= 8) {
            assert_true(is(answer.groups[1].group, "billing"));
            assert_int_equal(answer.groups[1].error, KAFKA_NOT_COORDINATOR);
            assert_int_equal(answer.groups[1].parts_count, 0);
        }
        offset_fetch_answer_done(&answer);
    }
}

static void members_of_a_group(void **state)
{
    static const struct vector requests[] = {
        VECTOR(describe_group_request_v2), VECTOR(describe_group_request_v3),
        VECTOR(describe_group_request_v4), VECTOR(describe_group_request_v5)};
    static const struct vector answers[] = {
        VECTOR(describe_group_answer_v2), VECTOR(describe_group_answer_v3),
        VECTOR(describe_group_answer_v4), VECTOR(describe_group_answer_v5)};

    (void)state;
    for (int16_t version = 2; version <= 5; version++) {
        struct describe_group_answer answer;
        struct writer writer;
        struct err err;
        writer_init(&writer);
        proto_put_describe_group(&writer, API_DESCRIBE_GROUPS, version, "billing");
        assert_written(&writer, requests[version - 2]);
        struct reader reader = reader_over(answers[version - 2].data, answers[version - 2].len);
        assert_true(proto_get_describe_group(&reader, API_DESCRIBE_GROUPS, version, &answer, &err));
        assert_int_equal(answer.error, 0);
        assert_true(is(answer.state, "Stable"));
        assert_int_equal(answer.members_count, 2);
        assert_int_equal(answer.members[0].instance_id.len, -1);
        assert_true(is(answer.members[0].member_id, "app-1"));
        assert_true(is(answer.members[1].client_host, "/10.0.0.2"));
        assert_true(version < 4 ? answer.members[1].instance_id.len == -1
                                : is(answer.members[1].instance_id, "static-2"));
        describe_group_answer_done(&answer);
    }
}

static void members_of_a_consumer_group(void **state)
{
    static const struct vector vector = VECTOR(describe_consumer_group_answer_v0);
    struct describe_group_answer answer;
    struct writer writer;
    struct err err;

    (void)state;
    writer_init(&writer);
    proto_put_describe_group(&writer, API_CONSUMER_GROUP_DESCRIBE, 0, "billing");
    assert_written(&writer, (struct vector)VECTOR(describe_consumer_group_request_v0));
    struct reader reader = reader_over(vector.data, vector.len);
    assert_true(proto_get_describe_group(&reader, API_CONSUMER_GROUP_DESCRIBE, 0, &answer, &err));
    assert_int_equal(answer.error, 0);
    assert_true(is(answer.state, "Stable"));
    assert_int_equal(answer.members_count, 2);
    assert_true(is(answer.members[0].client_id, "app"));
    assert_true(is(answer.members[0].client_host, "/10.0.0.1"));
    assert_int_equal(answer.members[0].instance_id.len, -1);
    assert_true(is(answer.members[1].instance_id, "static-2"));
    assert_true(is(answer.members[1].client_host, "/10.0.0.2"));
    describe_group_answer_done(&answer);
}

static void list_groups_answers(void **state)
{
    static const struct vector vectors[] = {
        VECTOR(list_groups_answer_v2), VECTOR(list_groups_answer_v3), VECTOR(list_groups_answer_v4),
        VECTOR(list_groups_answer_v5)};

    (void)state;
    for (int16_t version = 2; version <= 5; version++) {
        struct reader reader = reader_over(vectors[version - 2].data, vectors[version - 2].len);
        struct list_groups_answer answer;
        assert_true(proto_get_list_groups(&reader, version, &answer, NULL));
        assert_int_equal(answer.error, KAFKA_COORDINATOR_LOAD_IN_PROGRESS);
        assert_int_equal(answer.groups_count, 2);
        assert_true(is(answer.groups[0].group, "billing"));
        assert_true(is(answer.groups[0].protocol_type, "consumer"));
        assert_true(is(answer.groups[1].group, "audit"));
        if (version < 4) {
            assert_int_equal(answer.groups[0].state.len, -1);
        } else {
            assert_true(is(answer.groups[0].state, "Stable"));
            assert_true(is(answer.groups[1].state, "Empty"));
        }
        if (version < 5) {
            assert_int_equal(answer.groups[0].type.len, -1);
        } else {
            assert_true(is(answer.groups[0].type, "consumer"));
            assert_true(is(answer.groups[1].type, "classic"));
        }
        list_groups_answer_done(&answer);
    }
}

static void log_dirs(void **state)
{
    static const struct vector requests[] = {
        VECTOR(log_dirs_request_v1), VECTOR(log_dirs_request_v2), VECTOR(log_dirs_request_v3),
        VECTOR(log_dirs_request_v4)};
    static const struct vector answers[] = {VECTOR(log_dirs_answer_v1), VECTOR(log_dirs_answer_v2),
                                            VECTOR(log_dirs_answer_v3), VECTOR(log_dirs_answer_v4)};

    (void)state;
    for (int16_t version = 1; version <= 4; version++) {
        struct writer writer;
        writer_init(&writer);
        proto_put_describe_log_dirs(&writer, version);
        assert_written(&writer, requests[version - 1]);
        struct reader reader = reader_over(answers[version - 1].data, answers[version - 1].len);
        struct log_dirs_answer answer;
        assert_true(proto_get_describe_log_dirs(&reader, version, &answer, NULL));
        assert_int_equal(answer.error, version >= 3 ? KAFKA_CLUSTER_AUTHORIZATION_FAILED : 0);
        assert_int_equal(answer.dirs_count, 2);
        assert_true(is(answer.dirs[0].path, "/var/lib/kafka"));
        assert_int_equal(answer.dirs[0].error, KAFKA_NONE);
        assert_int_equal(answer.dirs[0].total_bytes, version >= 4 ? INT64_C(1) << 40 : -1);
        assert_int_equal(answer.dirs[0].usable_bytes, version >= 4 ? INT64_C(1) << 39 : -1);
        assert_int_equal(answer.dirs[1].error, KAFKA_STORAGE_ERROR);
        assert_int_equal(answer.dirs[1].usable_bytes, -1);
        log_dirs_answer_done(&answer);
    }
}

static void answers_about_many_groups(void **state)
{
    static const struct vector commits[] = {
        VECTOR(offset_commit_answer_v6), VECTOR(offset_commit_answer_v7),
        VECTOR(offset_commit_answer_v8), VECTOR(offset_commit_answer_v9)};
    struct find_coordinators_answer found;
    struct reader reader =
        reader_over(find_coordinators_answer_v4, sizeof(find_coordinators_answer_v4));

    (void)state;
    assert_true(proto_get_find_coordinators(&reader, 4, &found, NULL));
    assert_int_equal(found.rows_count, 2);
    assert_true(is(found.rows[0].group, "billing"));
    assert_int_equal(found.rows[0].id, 3);
    assert_int_equal(found.rows[1].error, KAFKA_COORDINATOR_NOT_AVAILABLE);
    find_coordinators_answer_done(&found);
    for (int16_t version = 2; version <= 3; version++) {
        reader = version == 2
                     ? reader_over(find_coordinator_answer_v2, sizeof(find_coordinator_answer_v2))
                     : reader_over(find_coordinator_answer_v3, sizeof(find_coordinator_answer_v3));
        assert_true(proto_get_find_coordinators(&reader, version, &found, NULL));
        assert_int_equal(found.rows_count, 1);
        assert_int_equal(found.rows[0].id, 3);
        assert_int_equal(found.rows[0].error, KAFKA_COORDINATOR_NOT_AVAILABLE);
        find_coordinators_answer_done(&found);
    }
    for (int16_t version = 6; version <= 9; version++) {
        struct offset_commit_answer answer;
        reader = reader_over(commits[version - 6].data, commits[version - 6].len);
        assert_true(proto_get_offset_commit(&reader, version, &answer, NULL));
        assert_int_equal(answer.rows_count, 3);
        assert_true(is(answer.rows[1].topic, "orders"));
        assert_int_equal(answer.rows[1].partition, 3);
        assert_int_equal(answer.rows[1].error, 25);
        assert_true(is(answer.rows[2].topic, "payments"));
        assert_int_equal(answer.rows[2].error, KAFKA_NONE);
        offset_commit_answer_done(&answer);
    }
}

/* --- hostile answers ------------------------------------------------------------------------------------------- */

struct answer_case {
    enum api_key api;
    int16_t version;
    struct vector vector;
};

/* FindCoordinator has two readers: of one group, and of many. */
#define API_MANY_COORDINATORS    ((enum api_key)110)
#define CASE(api, version, name) {api, version, VECTOR(name)}
static const struct answer_case cases[] = {
    CASE(API_FETCH, 10, fetch_answer_v10),
    CASE(API_FETCH, 11, fetch_answer_v11),
    CASE(API_FETCH, 12, fetch_answer_v12),
    CASE(API_FETCH, 13, fetch_answer_v13),
    CASE(API_FETCH, 16, fetch_answer_v16),
    CASE(API_PRODUCE, 7, produce_answer_v7),
    CASE(API_PRODUCE, 8, produce_answer_v8),
    CASE(API_PRODUCE, 9, produce_answer_v9),
    CASE(API_PRODUCE, 12, produce_answer_v12),
    CASE(API_PRODUCE, 13, produce_answer_v13),
    CASE(API_METADATA, 7, metadata_answer_v7),
    CASE(API_METADATA, 8, metadata_answer_v8),
    CASE(API_METADATA, 9, metadata_answer_v9),
    CASE(API_METADATA, 10, metadata_answer_v10),
    CASE(API_METADATA, 12, metadata_answer_v12),
    CASE(API_LIST_OFFSETS, 4, list_offsets_answer_v4),
    CASE(API_LIST_OFFSETS, 7, list_offsets_answer_v7),
    CASE(API_VERSIONS, 0, api_versions_answer_v0),
    CASE(API_VERSIONS, 3, api_versions_answer_v3),
    CASE(API_VERSIONS, 3, api_versions_refused_v0),
    CASE(API_OFFSET_FOR_LEADER_EPOCH, 2, epoch_end_answer_v2),
    CASE(API_OFFSET_FOR_LEADER_EPOCH, 4, epoch_end_answer_v4),
    CASE(API_DESCRIBE_PRODUCERS, 0, describe_producers_answer_v0),
    CASE(API_INIT_PRODUCER_ID, 1, init_producer_id_answer_v1),
    CASE(API_INIT_PRODUCER_ID, 2, init_producer_id_answer_v2),
    CASE(API_FIND_COORDINATOR, 2, find_coordinator_answer_v2),
    CASE(API_FIND_COORDINATOR, 3, find_coordinator_answer_v3),
    CASE(API_FIND_COORDINATOR, 4, find_coordinator_answer_v4),
    CASE(API_LEAVE_GROUP, 2, leave_group_answer_v2),
    CASE(API_LEAVE_GROUP, 3, leave_group_answer_v3),
    CASE(API_LEAVE_GROUP, 4, leave_group_answer_v4),
    CASE(API_LEAVE_GROUP, 5, leave_group_answer_v5),
    CASE(API_OFFSET_FETCH, 5, offset_fetch_answer_v5),
    CASE(API_OFFSET_FETCH, 6, offset_fetch_answer_v6),
    CASE(API_OFFSET_FETCH, 7, offset_fetch_answer_v7),
    CASE(API_OFFSET_FETCH, 8, offset_fetch_answer_v8),
    CASE(API_OFFSET_FETCH, 9, offset_fetch_answer_v9),
    CASE(API_LIST_GROUPS, 2, list_groups_answer_v2),
    CASE(API_LIST_GROUPS, 3, list_groups_answer_v3),
    CASE(API_LIST_GROUPS, 4, list_groups_answer_v4),
    CASE(API_LIST_GROUPS, 5, list_groups_answer_v5),
    CASE(API_DESCRIBE_GROUPS, 2, describe_group_answer_v2),
    CASE(API_DESCRIBE_GROUPS, 3, describe_group_answer_v3),
    CASE(API_DESCRIBE_GROUPS, 4, describe_group_answer_v4),
    CASE(API_DESCRIBE_GROUPS, 5, describe_group_answer_v5),
    CASE(API_CONSUMER_GROUP_DESCRIBE, 0, describe_consumer_group_answer_v0),
    CASE(API_DESCRIBE_LOG_DIRS, 1, log_dirs_answer_v1),
    CASE(API_DESCRIBE_LOG_DIRS, 2, log_dirs_answer_v2),
    CASE(API_DESCRIBE_LOG_DIRS, 3, log_dirs_answer_v3),
    CASE(API_DESCRIBE_LOG_DIRS, 4, log_dirs_answer_v4),
    CASE(API_OFFSET_COMMIT, 6, offset_commit_answer_v6),
    CASE(API_OFFSET_COMMIT, 8, offset_commit_answer_v8),
    CASE(API_OFFSET_COMMIT, 9, offset_commit_answer_v9),
    CASE(API_MANY_COORDINATORS, 2, find_coordinator_answer_v2),
    CASE(API_MANY_COORDINATORS, 3, find_coordinator_answer_v3),
    CASE(API_MANY_COORDINATORS, 4, find_coordinators_answer_v4),
    CASE(API_SASL_HANDSHAKE, 1, sasl_handshake_answer_v1),
    CASE(API_SASL_AUTHENTICATE, 1, sasl_authenticate_answer_v1),
    CASE(API_SASL_AUTHENTICATE, 2, sasl_authenticate_answer_v2),
    CASE(API_SASL_AUTHENTICATE, 2, sasl_authenticate_refused_v2),
};

union any_answer {
    struct fetch_answer fetch;
    struct produce_answer produce;
    struct metadata metadata;
    struct list_offsets_answer list;
    struct offset_fetch_answer committed;
    struct api_versions versions;
    struct epoch_end_answer end;
    struct describe_producers_answer producers;
    struct init_producer_id_answer given;
    struct find_coordinator_answer coordinator;
    struct find_coordinators_answer coordinators;
    struct list_groups_answer listed;
    struct describe_group_answer described;
    struct offset_commit_answer commits;
    struct log_dirs_answer dirs;
    struct sasl_handshake_answer handshake;
    struct sasl_authenticate_answer signed_in;
    int16_t error;
};

static bool decode_bulk(struct reader *reader, enum api_key api, int16_t version, struct err *err,
                        bool *out_ok)
{
    union any_answer any;

    if (api == API_FETCH && (*out_ok = proto_get_fetch(reader, version, &any.fetch, err))) {
        fetch_answer_done(&any.fetch);
    } else if (api == API_PRODUCE &&
               (*out_ok = proto_get_produce(reader, version, &any.produce, err))) {
        produce_answer_done(&any.produce);
    } else if (api == API_METADATA &&
               (*out_ok = proto_get_metadata(reader, version, &any.metadata, err))) {
        metadata_done(&any.metadata);
    } else if (api == API_LIST_OFFSETS &&
               (*out_ok = proto_get_list_offsets(reader, version, &any.list, err))) {
        list_offsets_answer_done(&any.list);
    } else if (api == API_OFFSET_FETCH &&
               (*out_ok = proto_get_offset_fetch(reader, version, &any.committed, err))) {
        offset_fetch_answer_done(&any.committed);
    }
    return api == API_FETCH || api == API_PRODUCE || api == API_METADATA ||
           api == API_LIST_OFFSETS || api == API_OFFSET_FETCH;
}

static bool decode_groups(struct reader *reader, enum api_key api, int16_t version, struct err *err,
                          bool *out_ok)
{
    union any_answer any;

    if (api == API_LIST_GROUPS &&
        (*out_ok = proto_get_list_groups(reader, version, &any.listed, err))) {
        list_groups_answer_done(&any.listed);
    } else if (api == API_OFFSET_COMMIT &&
               (*out_ok = proto_get_offset_commit(reader, version, &any.commits, err))) {
        offset_commit_answer_done(&any.commits);
    } else if ((api == API_DESCRIBE_GROUPS || api == API_CONSUMER_GROUP_DESCRIBE) &&
               (*out_ok = proto_get_describe_group(reader, api, version, &any.described, err))) {
        describe_group_answer_done(&any.described);
    } else if (api == API_MANY_COORDINATORS &&
               (*out_ok = proto_get_find_coordinators(reader, version, &any.coordinators, err))) {
        find_coordinators_answer_done(&any.coordinators);
    } else if (api == API_DESCRIBE_LOG_DIRS &&
               (*out_ok = proto_get_describe_log_dirs(reader, version, &any.dirs, err))) {
        log_dirs_answer_done(&any.dirs);
    }
    return api == API_LIST_GROUPS || api == API_OFFSET_COMMIT || api == API_MANY_COORDINATORS ||
           api == API_DESCRIBE_GROUPS || api == API_CONSUMER_GROUP_DESCRIBE ||
           api == API_DESCRIBE_LOG_DIRS;
}

static bool decode_small(struct reader *reader, enum api_key api, int16_t version, struct err *err)
{
    union any_answer any;
    bool ask_older;

    if (api == API_VERSIONS) {
        return proto_get_api_versions(reader, version, &any.versions, &ask_older, err);
    }
    if (api == API_OFFSET_FOR_LEADER_EPOCH) {
        return proto_get_epoch_end(reader, version, &any.end, err);
    }
    if (api == API_INIT_PRODUCER_ID) {
        return proto_get_init_producer_id(reader, version, &any.given, err);
    }
    if (api == API_FIND_COORDINATOR) {
        return proto_get_find_coordinator(reader, version, &any.coordinator, err);
    }
    if (api == API_LEAVE_GROUP) {
        return proto_get_leave_group(reader, version, &any.error, err);
    }
    if (api == API_SASL_HANDSHAKE) {
        return proto_get_sasl_handshake(reader, &any.handshake, err);
    }
    if (api == API_SASL_AUTHENTICATE) {
        reader->rigid = version == 1;
        return proto_get_sasl_authenticate(reader, &any.signed_in, err);
    }
    if (proto_get_describe_producers(reader, &any.producers, err)) {
        describe_producers_answer_done(&any.producers);
        return true;
    }
    return false;
}

/* Decode from a block of exactly this size. */
static bool decode(const struct answer_case *c, const uint8_t *data, size_t len, struct err *err)
{
    uint8_t *copy = malloc(len == 0 ? 1 : len);
    bool ok = false;

    memcpy(copy, data, len);
    struct reader reader = reader_over(copy, len);
    if (!decode_bulk(&reader, c->api, c->version, err, &ok) &&
        !decode_groups(&reader, c->api, c->version, err, &ok)) {
        ok = decode_small(&reader, c->api, c->version, err);
    }
    free(copy);
    return ok;
}

/* S56: an answer that ends at any of its bytes is none. */
static void every_cut_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t len = 0; len < cases[i].vector.len; len++) {
            struct err err = {0};
            assert_false(decode(&cases[i], cases[i].vector.data, len, &err));
            assert_int_equal(err.kind, ERR_RETRY);
        }
        struct err err = {0};
        assert_true(decode(&cases[i], cases[i].vector.data, cases[i].vector.len, &err));
    }
}

static void bytes_left_over_are_refused(void **state)
{
    uint8_t data[4096] = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        memcpy(data, cases[i].vector.data, cases[i].vector.len);
        assert_false(decode(&cases[i], data, cases[i].vector.len + 1, &err));
        assert_int_equal(err.kind, ERR_RETRY);
        memset(data, 0, sizeof(data));
    }
}

/* S57: each byte to each of some values: an answer or a refusal, nothing read outside, nothing leaked. */
static void changed_bytes_harm_nothing(void **state)
{
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    uint8_t data[4096];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memcpy(data, cases[i].vector.data, cases[i].vector.len);
        for (size_t at = 0; at < cases[i].vector.len; at++) {
            for (size_t v = 0; v < sizeof(values); v++) {
                struct err err;
                data[at] = values[v];
                decode(&cases[i], data, cases[i].vector.len, &err);
            }
            data[at] = cases[i].vector.data[at];
        }
    }
}

/* S57: five bytes of 0xff are a count of 4,294,967,294: refused before anything is reserved (the sanitizer would abort). */
static void huge_counts_reserve_nothing(void **state)
{
    uint8_t data[4096];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t at = 0; at + 5 <= cases[i].vector.len; at++) {
            static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0x0f};
            static const uint8_t large[] = {0xff, 0xff, 0xff, 0xff, 0x07};
            struct err err;
            memcpy(data, cases[i].vector.data, cases[i].vector.len);
            memcpy(data + at, huge, sizeof(huge));
            decode(&cases[i], data, cases[i].vector.len, &err);
            memcpy(data + at, large, sizeof(large));
            decode(&cases[i], data, cases[i].vector.len, &err);
        }
    }
}

static void one_partition_means_one(void **state)
{
    uint8_t data[256];
    struct reader reader;
    struct epoch_end_answer end;

    (void)state;
    memcpy(data, epoch_end_answer_v4, sizeof(epoch_end_answer_v4));
    data[4] = 1; /* no topics: then the rest is left over, or the count is not one */
    reader = reader_over(data, sizeof(epoch_end_answer_v4));
    assert_false(proto_get_epoch_end(&reader, 4, &end, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_has_every_api),
        cmocka_unit_test(fetch_requests),
        cmocka_unit_test(produce_requests),
        cmocka_unit_test(metadata_requests),
        cmocka_unit_test(list_offsets_requests),
        cmocka_unit_test(log_ends_are_asked_as_no_consumer),
        cmocka_unit_test(small_requests),
        cmocka_unit_test(offset_fetch_requests),
        cmocka_unit_test(requests_about_many_groups),
        cmocka_unit_test(software_versions_are_made_acceptable),
        cmocka_unit_test(fetch_answers),
        cmocka_unit_test(produce_answers),
        cmocka_unit_test(metadata_answers),
        cmocka_unit_test(list_offsets_answers),
        cmocka_unit_test(api_versions_answers),
        cmocka_unit_test(api_ranges_that_lie),
        cmocka_unit_test(small_answers),
        cmocka_unit_test(group_answers),
        cmocka_unit_test(offset_fetch_answers),
        cmocka_unit_test(members_of_a_group),
        cmocka_unit_test(members_of_a_consumer_group),
        cmocka_unit_test(list_groups_answers),
        cmocka_unit_test(log_dirs),
        cmocka_unit_test(answers_about_many_groups),
        cmocka_unit_test(sign_in_answers),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(bytes_left_over_are_refused),
        cmocka_unit_test(changed_bytes_harm_nothing),
        cmocka_unit_test(huge_counts_reserve_nothing),
        cmocka_unit_test(one_partition_means_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
