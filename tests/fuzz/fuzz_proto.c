/* Every answer decoder of kafka/proto: the first byte selects API and version, the rest is the answer. */
#include <stdint.h>

#include "kafka/proto.h"

#define SELECT(api, version) ((api) << 8 | (version))
static const int selectors[] = {
    SELECT(API_FETCH, 12),
    SELECT(API_FETCH, 13),
    SELECT(API_FETCH, 16),
    SELECT(API_PRODUCE, 9),
    SELECT(API_PRODUCE, 12),
    SELECT(API_PRODUCE, 13),
    SELECT(API_METADATA, 10),
    SELECT(API_METADATA, 12),
    SELECT(API_LIST_OFFSETS, 6),
    SELECT(API_LIST_OFFSETS, 7),
    SELECT(API_VERSIONS, 3),
    SELECT(API_OFFSET_FOR_LEADER_EPOCH, 4),
    SELECT(API_DESCRIBE_PRODUCERS, 0),
    SELECT(API_FIND_COORDINATOR, 3),
    SELECT(API_FIND_COORDINATOR, 4),
    SELECT(API_LEAVE_GROUP, 4),
    SELECT(API_LEAVE_GROUP, 5),
    SELECT(API_OFFSET_FETCH, 7),
    SELECT(API_OFFSET_FETCH, 8),
    SELECT(API_OFFSET_FETCH, 9),
    SELECT(API_LIST_GROUPS, 4),
    SELECT(API_LIST_GROUPS, 5),
    SELECT(API_DESCRIBE_GROUPS, 5),
    SELECT(API_OFFSET_COMMIT, 8),
    SELECT(API_OFFSET_COMMIT, 9),
    SELECT(API_SASL_HANDSHAKE, 1),
    SELECT(API_SASL_AUTHENTICATE, 2),
    SELECT(API_DESCRIBE_LOG_DIRS, 2),
    SELECT(API_DESCRIBE_LOG_DIRS, 3),
    SELECT(API_DESCRIBE_LOG_DIRS, 4),
    SELECT(API_CONSUMER_GROUP_DESCRIBE, 0),
    /* new ones at the end: the corpus names them by number */
    SELECT(API_FETCH, 10),
    SELECT(API_FETCH, 11),
    SELECT(API_PRODUCE, 7),
    SELECT(API_PRODUCE, 8),
    SELECT(API_METADATA, 7),
    SELECT(API_METADATA, 8),
    SELECT(API_METADATA, 9),
    SELECT(API_LIST_OFFSETS, 4),
    SELECT(API_VERSIONS, 0),
    SELECT(API_OFFSET_FOR_LEADER_EPOCH, 2),
    SELECT(API_FIND_COORDINATOR, 2),
    SELECT(API_LEAVE_GROUP, 2),
    SELECT(API_LEAVE_GROUP, 3),
    SELECT(API_OFFSET_FETCH, 5),
    SELECT(API_OFFSET_FETCH, 6),
    SELECT(API_LIST_GROUPS, 2),
    SELECT(API_LIST_GROUPS, 3),
    SELECT(API_DESCRIBE_GROUPS, 2),
    SELECT(API_DESCRIBE_GROUPS, 4),
    SELECT(API_OFFSET_COMMIT, 6),
    SELECT(API_SASL_AUTHENTICATE, 1),
    SELECT(API_DESCRIBE_LOG_DIRS, 1),
    SELECT(API_INIT_PRODUCER_ID, 2),
};
#define SELECTORS_COUNT (sizeof(selectors) / sizeof(selectors[0]))

static volatile uint8_t sink; /* what is read cannot be optimized away */

static void touch(struct wire_string string)
{
    for (int32_t i = 0; i < string.len; i++) {
        sink ^= (uint8_t)string.data[i];
    }
}

static void fetch(struct reader *reader, int16_t version)
{
    struct fetch_answer answer;
    struct err err;

    if (!proto_get_fetch(reader, version, &answer, &err)) {
        return;
    }
    for (int32_t i = 0; i < answer.partitions_count; i++) {
        struct fetch_partition *partition = &answer.partitions[i];
        touch(partition->topic);
        touch((struct wire_string){(const char *)partition->records,
                                   (int32_t)partition->records_len});
    }
    fetch_answer_done(&answer);
}

static void produce(struct reader *reader, int16_t version)
{
    struct produce_answer answer;
    struct err err;

    if (!proto_get_produce(reader, version, &answer, &err)) {
        return;
    }
    for (int32_t i = 0; i < answer.parts_count; i++) {
        touch(answer.parts[i].topic);
        touch(answer.parts[i].message);
    }
    produce_answer_done(&answer);
}

static void metadata(struct reader *reader, int16_t version)
{
    struct metadata answer;
    struct err err;

    if (!proto_get_metadata(reader, version, &answer, &err)) {
        return;
    }
    touch(answer.cluster_id);
    for (int32_t i = 0; i < answer.brokers_count; i++) {
        touch(answer.brokers[i].host);
    }
    for (int32_t i = 0; i < answer.topics_count; i++) {
        touch(answer.topics[i].name);
    }
    metadata_done(&answer);
}

static void offsets(struct reader *reader, int api, int16_t version)
{
    struct list_offsets_answer list;
    struct epoch_end_answer end;
    struct describe_producers_answer producers;
    struct init_producer_id_answer given;
    struct err err;

    if (api == API_LIST_OFFSETS && proto_get_list_offsets(reader, version, &list, &err)) {
        for (int32_t i = 0; i < list.parts_count; i++) {
            touch(list.parts[i].topic);
        }
        list_offsets_answer_done(&list);
    } else if (api == API_OFFSET_FOR_LEADER_EPOCH &&
               proto_get_epoch_end(reader, version, &end, &err)) {
        sink ^= (uint8_t)end.error;
    } else if (api == API_DESCRIBE_PRODUCERS &&
               proto_get_describe_producers(reader, &producers, &err)) {
        touch(producers.message);
        describe_producers_answer_done(&producers);
    } else if (api == API_INIT_PRODUCER_ID &&
               proto_get_init_producer_id(reader, version, &given, &err)) {
        sink ^= (uint8_t)given.producer_id;
    }
}

static void group_offsets(struct reader *reader, int16_t version)
{
    struct offset_fetch_answer answer;
    struct err err;

    if (!proto_get_offset_fetch(reader, version, &answer, &err)) {
        return;
    }
    for (int32_t i = 0; i < answer.groups_count; i++) {
        touch(answer.groups[i].group);
        for (int32_t j = 0; j < answer.groups[i].parts_count; j++) {
            touch(answer.groups[i].parts[j].topic);
            touch(answer.groups[i].parts[j].metadata);
        }
    }
    offset_fetch_answer_done(&answer);
}

static void log_dirs(struct reader *reader, int16_t version)
{
    struct log_dirs_answer answer;
    struct err err;

    if (proto_get_describe_log_dirs(reader, version, &answer, &err)) {
        for (int32_t i = 0; i < answer.dirs_count; i++) {
            touch(answer.dirs[i].path);
        }
        log_dirs_answer_done(&answer);
    }
}

static void groups(struct reader *reader, int api, int16_t version)
{
    struct list_groups_answer listed;
    struct describe_group_answer described;
    struct offset_commit_answer commits;
    struct find_coordinators_answer found;
    struct err err;

    if ((api == API_DESCRIBE_GROUPS || api == API_CONSUMER_GROUP_DESCRIBE) &&
        proto_get_describe_group(reader, (enum api_key)api, version, &described, &err)) {
        for (int32_t i = 0; i < described.members_count; i++) {
            touch(described.members[i].member_id);
            touch(described.members[i].instance_id);
            touch(described.members[i].client_id);
            touch(described.members[i].client_host);
        }
        describe_group_answer_done(&described);
    } else if (api == API_LIST_GROUPS && proto_get_list_groups(reader, version, &listed, &err)) {
        for (int32_t i = 0; i < listed.groups_count; i++) {
            touch(listed.groups[i].group);
            touch(listed.groups[i].protocol_type);
            touch(listed.groups[i].state);
            touch(listed.groups[i].type);
        }
        list_groups_answer_done(&listed);
    } else if (api == API_OFFSET_COMMIT &&
               proto_get_offset_commit(reader, version, &commits, &err)) {
        for (int32_t i = 0; i < commits.rows_count; i++) {
            touch(commits.rows[i].topic);
        }
        offset_commit_answer_done(&commits);
    } else if (api == API_FIND_COORDINATOR &&
               proto_get_find_coordinators(reader, version, &found, &err)) {
        for (int32_t i = 0; i < found.rows_count; i++) {
            touch(found.rows[i].group);
        }
        find_coordinators_answer_done(&found);
    }
}

static void rest(struct reader *reader, int api, int16_t version)
{
    struct api_versions versions;
    bool ask_older;
    struct find_coordinator_answer found;
    int16_t error;
    struct err err;

    if (api == API_VERSIONS &&
        proto_get_api_versions(reader, version, &versions, &ask_older, &err)) {
        sink ^= (uint8_t)versions.version[0];
    } else if (api == API_FIND_COORDINATOR &&
               proto_get_find_coordinator(reader, version, &found, &err)) {
        touch(found.host);
    } else if (api == API_LEAVE_GROUP && proto_get_leave_group(reader, version, &error, &err)) {
        sink ^= (uint8_t)error;
    }
}

static void sign_in(struct reader *reader, int api, int16_t version)
{
    struct sasl_handshake_answer handshake;
    struct sasl_authenticate_answer answer;
    struct err err;

    reader->rigid = version == 1;
    if (api == API_SASL_HANDSHAKE && proto_get_sasl_handshake(reader, &handshake, &err)) {
        for (int32_t i = 0; i < handshake.offered_count; i++) {
            touch(handshake.offered[i]);
        }
    } else if (api == API_SASL_AUTHENTICATE && proto_get_sasl_authenticate(reader, &answer, &err)) {
        touch(answer.message);
        touch(answer.bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    int selector = selectors[data[0] % SELECTORS_COUNT];
    int api = selector >> 8;
    int16_t version = (int16_t)(selector & 0xff);
    struct reader reader = reader_over(data + 1, size - 1);
    if (api == API_FETCH) {
        fetch(&reader, version);
    } else if (api == API_PRODUCE) {
        produce(&reader, version);
    } else if (api == API_METADATA) {
        metadata(&reader, version);
    } else if (api == API_OFFSET_FETCH) {
        group_offsets(&reader, version);
    } else if (api == API_DESCRIBE_LOG_DIRS) {
        log_dirs(&reader, version);
    } else if (api == API_SASL_HANDSHAKE || api == API_SASL_AUTHENTICATE) {
        sign_in(&reader, api, version);
    } else {
        struct reader again = reader;
        offsets(&reader, api, version);
        groups(&again, api, version); /* FindCoordinator has two readers */
        rest(&reader, api, version);
    }
    return 0;
}
