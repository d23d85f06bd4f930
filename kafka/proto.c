/* See proto.h. The table of what we speak, ApiVersions and Metadata; the other APIs are in proto_<area>.c. */
#include "kafka/proto.h"

#include <assert.h>

#include "base/heap.h"
#include "kafka/error.h"
#include "kafka/proto_private.h"

/* The one place that knows which versions we speak; kafka/conn speaks the highest that the broker does, too. `flexible` is
 * the first version with compact types and tagged fields (KIP-482). The lowest ones are Kafka 2.2's, which knows leader
 * epochs; DescribeProducers is 2.8's. */
#define NEVER INT16_MAX
static const struct api_info {
    enum api_key key;
    const char *name;
    int16_t min;
    int16_t max;
    int16_t flexible;
} apis[] = {
    {API_PRODUCE,                 "Produce",               7,  13, 9    },
    {API_FETCH,                   "Fetch",                 10, 16, 12   },
    {API_LIST_OFFSETS,            "ListOffsets",           4,  7,  6    },
    {API_METADATA,                "Metadata",              7,  12, 9    },
    {API_OFFSET_COMMIT,           "OffsetCommit",          6,  9,  8    },
    {API_OFFSET_FETCH,            "OffsetFetch",           5,  9,  6    },
    {API_FIND_COORDINATOR,        "FindCoordinator",       2,  4,  3    },
    {API_LEAVE_GROUP,             "LeaveGroup",            2,  5,  4    },
    {API_DESCRIBE_GROUPS,         "DescribeGroups",        2,  5,  5    },
    {API_LIST_GROUPS,             "ListGroups",            2,  5,  3    },
    {API_SASL_HANDSHAKE,          "SaslHandshake",         1,  1,  NEVER},
    {API_VERSIONS,                "ApiVersions",           0,  3,  3    },
    {API_INIT_PRODUCER_ID,        "InitProducerId",        1,  2,  2    },
    {API_OFFSET_FOR_LEADER_EPOCH, "OffsetForLeaderEpoch",  2,  4,  4    },
    {API_DESCRIBE_LOG_DIRS,       "DescribeLogDirs",       1,  4,  2    },
    {API_SASL_AUTHENTICATE,       "SaslAuthenticate",      1,  2,  2    },
    {API_DESCRIBE_PRODUCERS,      "DescribeProducers",     0,  0,  0    },
    {API_CONSUMER_GROUP_DESCRIBE, "ConsumerGroupDescribe", 0,  0,  0    },
};
_Static_assert(sizeof(apis) / sizeof(apis[0]) == API_KEYS_COUNT, "one row an API");

static const struct api_info *api_find(int key)
{
    for (size_t i = 0; i < API_KEYS_COUNT; i++) {
        if ((int)apis[i].key == key) {
            return &apis[i];
        }
    }
    return NULL;
}

bool api_range(enum api_key key, int16_t *out_min, int16_t *out_max)
{
    const struct api_info *api = api_find((int)key);

    if (api == NULL) {
        return false;
    }
    *out_min = api->min;
    *out_max = api->max;
    return true;
}

const char *api_name(enum api_key key)
{
    const struct api_info *api = api_find((int)key);
    return api == NULL ? "unknown API" : api->name;
}

bool api_flexible(enum api_key key, int16_t version)
{
    const struct api_info *api = api_find((int)key);
    return api != NULL && version >= api->flexible;
}

bool api_answer_tagged(enum api_key key, int16_t version)
{
    /* ApiVersions keeps the old header: it is asked before versions are known. */
    return key != API_VERSIONS && api_flexible(key, version);
}

static bool speaks(enum api_key api, int16_t version)
{
    int16_t min;
    int16_t max;
    return api_range(api, &min, &max) && version >= min && version <= max;
}

void proto_begin(struct writer *writer, enum api_key api, int16_t version)
{
    assert(speaks(api, version));
    writer->rigid = !api_flexible(api, version);
}

void proto_enter(struct reader *reader, enum api_key api, int16_t version)
{
    assert(speaks(api, version));
    reader->rigid = !api_flexible(api, version);
}

void proto_array_reserve(struct proto_array *array, int32_t more, size_t element_bytes)
{
    assert(more >= 0 && array->count <= INT32_MAX / 2 - more);
    int32_t needed = array->count + more;
    if (needed <= array->capacity) {
        return;
    }
    /* Doubling: an answer of many topics with one partition each does not copy its array once a topic. */
    int32_t capacity = needed > 2 * array->capacity ? needed : 2 * array->capacity;
    void *items = must(realloc(array->items, (size_t)capacity * element_bytes));
    memset((char *)items + (size_t)array->count * element_bytes, 0,
           (size_t)(capacity - array->count) * element_bytes);
    array->items = items;
    array->capacity = capacity;
}

int32_t proto_count(struct reader *reader, size_t min_element_bytes)
{
    int32_t count = wire_list(reader, min_element_bytes);

    if (count < 0) {
        reader->bad = true;
        return 0;
    }
    return count;
}

int32_t proto_topic_run(const struct topic_partition *wants, int32_t count)
{
    int32_t run = 1;

    while (run < count && strcmp(wants[0].topic, wants[run].topic) == 0) {
        run++;
    }
    return run;
}

int32_t proto_topic_runs_count(const struct topic_partition *wants, int32_t count)
{
    int32_t runs_count = 0;

    for (int32_t i = 0; i < count; i += proto_topic_run(wants + i, count - i)) {
        runs_count++;
    }
    return runs_count;
}

bool proto_finish(const struct reader *reader, enum api_key api, int16_t version, struct err *err)
{
    if (reader->bad) {
        return err_set(err, ERR_RETRY, "%s v%d: the answer is not what the protocol says",
                       api_name(api), version);
    }
    if (reader_left(reader) > 0) {
        return err_set(err, ERR_RETRY, "%s v%d: %zu bytes left over behind the answer",
                       api_name(api), version, reader_left(reader));
    }
    return true;
}

/* --- ApiVersions ----------------------------------------------------------------------------------------------- */

void api_versions_none(struct api_versions *versions)
{
    for (size_t i = 0; i < sizeof(versions->version) / sizeof(versions->version[0]); i++) {
        versions->version[i] = -1;
    }
}

static bool version_char_ok(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Brokers refuse a version that is not letters, digits, dots and dashes, first and last no dot or dash. */
static void put_software_version(struct writer *writer, const char *version)
{
    char text[32];
    size_t len = 0;

    for (const char *c = version; *c != '\0' && len < sizeof(text) - 1; c++) {
        bool ok = version_char_ok(*c) || *c == '.' || *c == '-';
        text[len++] = ok ? *c : '-';
    }
    while (len > 0 && !version_char_ok(text[len - 1])) {
        len--;
    }
    text[len] = '\0';
    wire_put_text(writer, version_char_ok(text[0]) ? text : "0");
}

void proto_put_api_versions(struct writer *writer, int16_t version, const char *software_version)
{
    proto_begin(writer, API_VERSIONS, version);
    if (version < 3) {
        return; /* nobody asks who we are */
    }
    wire_put_text(writer, "ferry");
    put_software_version(writer, software_version);
    wire_put_no_tags(writer);
}

static void note_version(struct api_versions *out, int16_t key, int16_t min, int16_t max)
{
    const struct api_info *api = api_find(key);

    if (api == NULL || max < min) {
        return;
    }
    int16_t low = min > api->min ? min : api->min;
    int16_t high = max < api->max ? max : api->max;
    out->version[key] = low <= high ? high : -1;
}

static void get_api_ranges(struct reader *reader, struct api_versions *out)
{
    int32_t count = proto_count(reader, 7);

    for (int32_t i = 0; i < count && !reader->bad; i++) {
        int16_t key = reader_i16(reader);
        int16_t min = reader_i16(reader);
        int16_t max = reader_i16(reader);
        wire_skip_tags(reader);
        note_version(out, key, min, max);
    }
}

bool proto_get_api_versions(struct reader *reader, int16_t version, struct api_versions *out,
                            bool *out_ask_older, struct err *err)
{
    struct api_versions versions;
    int16_t error = reader_i16(reader);
    bool refused = version > 0 && error == KAFKA_UNSUPPORTED_VERSION;

    if (refused) {
        version = 0; /* answered so, for those who asked too much */
    }
    api_versions_none(&versions);
    proto_enter(reader, API_VERSIONS, version);
    get_api_ranges(reader, &versions);
    if (version > 0) {
        reader_i32(reader); /* ThrottleTimeMs */
    }
    wire_skip_tags(reader);
    if (!proto_finish(reader, API_VERSIONS, version, err)) {
        return false;
    }
    if (error != KAFKA_NONE && !refused) {
        return err_set_code(err, ERR_RETRY, error, "ApiVersions: %s", kafka_error_name(error));
    }
    *out = versions;
    *out_ask_older = refused;
    return true;
}

/* --- Metadata -------------------------------------------------------------------------------------------------- */

void proto_put_metadata(struct writer *writer, int16_t version, const char *const *names,
                        int32_t count)
{
    static const struct uuid no_id;

    proto_begin(writer, API_METADATA, version);
    wire_put_list(writer, names == NULL ? -1 : count);
    for (int32_t i = 0; names != NULL && i < count; i++) {
        if (version >= 10) {
            wire_put_uuid(writer, &no_id);
        }
        wire_put_text(writer, names[i]);
        wire_put_no_tags(writer);
    }
    writer_i8(writer,
              0); /* AllowAutoTopicCreation: a mirror that asks for a name must not make it */
    if (version >= 8 && version <= 10) {
        writer_i8(writer, 0); /* IncludeClusterAuthorizedOperations */
    }
    if (version >= 8) {
        writer_i8(writer, 0); /* IncludeTopicAuthorizedOperations */
    }
    wire_put_no_tags(writer);
}

static void get_brokers(struct reader *reader, struct metadata *out)
{
    struct proto_array brokers = {0};
    int32_t count = proto_count(reader, 11);

    proto_array_reserve(&brokers, count, sizeof(*out->brokers));
    out->brokers = brokers.items;
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        struct metadata_broker *broker = &out->brokers[out->brokers_count++];
        broker->id = reader_i32(reader);
        broker->host = wire_text(reader);
        broker->port = reader_i32(reader);
        wire_text(reader); /* Rack */
        wire_skip_tags(reader);
    }
}

static int32_t skip_i32_array(struct reader *reader)
{
    int32_t count = proto_count(reader, 4);
    reader_bytes(reader, (size_t)count * 4);
    return count;
}

static void get_metadata_partitions(struct reader *reader, struct metadata_topic *topic)
{
    struct proto_array partitions = {0};
    int32_t count = proto_count(reader, 18);

    proto_array_reserve(&partitions, count, sizeof(*topic->partitions));
    topic->partitions = partitions.items;
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        struct metadata_partition *partition = &topic->partitions[topic->partitions_count++];
        partition->error = reader_i16(reader);
        partition->index = reader_i32(reader);
        partition->leader = reader_i32(reader);
        partition->leader_epoch = reader_i32(reader);
        partition->replicas_count = skip_i32_array(reader);
        partition->in_sync_count = skip_i32_array(reader);
        skip_i32_array(reader); /* OfflineReplicas */
        wire_skip_tags(reader);
    }
}

static void get_metadata_topics(struct reader *reader, int16_t version, struct metadata *out)
{
    struct proto_array topics = {0};
    /* error 2, name 1, id 16, internal 1, partitions 1, operations 4, tags 1; version 7 has no operations */
    int32_t count = proto_count(reader, version >= 10 ? 26 : 6);

    proto_array_reserve(&topics, count, sizeof(*out->topics));
    out->topics = topics.items;
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        struct metadata_topic *topic = &out->topics[out->topics_count++];
        topic->error = reader_i16(reader);
        topic->name = wire_text(reader);
        if (version >= 10) {
            topic->id = wire_uuid(reader);
        }
        topic->internal = reader_i8(reader) != 0;
        get_metadata_partitions(reader, topic);
        if (version >= 8) {
            reader_i32(reader); /* TopicAuthorizedOperations */
        }
        wire_skip_tags(reader);
    }
}

bool proto_get_metadata(struct reader *reader, int16_t version, struct metadata *out,
                        struct err *err)
{
    struct metadata metadata = {0};

    proto_enter(reader, API_METADATA, version);
    reader_i32(reader); /* ThrottleTimeMs */
    get_brokers(reader, &metadata);
    metadata.cluster_id = wire_text(reader);
    metadata.controller = reader_i32(reader);
    get_metadata_topics(reader, version, &metadata);
    if (version >= 8 && version <= 10) {
        reader_i32(reader); /* ClusterAuthorizedOperations */
    }
    wire_skip_tags(reader);
    if (!proto_finish(reader, API_METADATA, version, err)) {
        metadata_done(&metadata);
        return false;
    }
    *out = metadata;
    return true;
}

void metadata_done(struct metadata *metadata)
{
    for (int32_t i = 0; i < metadata->topics_count; i++) {
        free(metadata->topics[i].partitions);
    }
    free(metadata->topics);
    free(metadata->brokers);
    *metadata = (struct metadata){0};
}
