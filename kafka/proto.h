/* Requests and responses of the few Kafka APIs that we speak, from the versions of Kafka 2.2 on.
 *
 * | API                   | key | versions we speak                                     |
 * | Produce               | 0   | 7 .. 12 (topic names), 13 (topic ids)                 |
 * | Fetch                 | 1   | 10 .. 12 (topic names), 13 .. 16 (topic ids)          |
 * | ListOffsets           | 2   | 4 .. 7                                                |
 * | Metadata              | 3   | 7 .. 9, 10 .. 12 (topic ids)                          |
 * | OffsetCommit          | 8   | 6 .. 9                                                |
 * | OffsetFetch           | 9   | 5 .. 7 (one group), 8 .. 9 (many groups)              |
 * | FindCoordinator       | 10  | 2 .. 3 (one key), 4 (many keys)                       |
 * | LeaveGroup            | 13  | 2 (by member id), 3 .. 5 (by instance id, too)        |
 * | DescribeGroups        | 15  | 2 .. 5                                                |
 * | ListGroups            | 16  | 2 .. 3, 4 (states), 5 (types of groups, KIP-848)      |
 * | SaslHandshake         | 17  | 1 (never flexible: headers v1 and v0)                 |
 * | ApiVersions           | 18  | 3, 0 for whom does not know that (answer header v0)   |
 * | OffsetForLeaderEpoch  | 23  | 2 .. 4                                                |
 * | DescribeLogDirs       | 35  | 1 .. 4 (4: how much room there is, KIP-827)           |
 * | SaslAuthenticate      | 36  | 1 .. 2                                                |
 * | DescribeProducers     | 61  | 0                                                     |
 * | ConsumerGroupDescribe | 69  | 0 (groups of KIP-848)                                 |
 *
 * Flexible versions (KIP-482) have compact types and tagged fields; kafka/wire writes and reads both encodings.
 * A request is written without length and header: kafka/conn puts them before it. A response reader starts after the
 * response header. Decoders never trust a length; they return false with ERR_RETRY (the connection is dropped, the
 * process goes on) when bytes are not what the API says. Decoded structs borrow from the answer's bytes and own
 * their arrays (…_done frees them).
 */
#ifndef FERRY_KAFKA_PROTO_H
#define FERRY_KAFKA_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "kafka/wire.h"

enum api_key {
    API_PRODUCE = 0,
    API_FETCH = 1,
    API_LIST_OFFSETS = 2,
    API_METADATA = 3,
    API_OFFSET_COMMIT = 8,
    API_OFFSET_FETCH = 9,
    API_FIND_COORDINATOR = 10,
    API_LEAVE_GROUP = 13,
    API_DESCRIBE_GROUPS = 15,
    API_LIST_GROUPS = 16,
    API_SASL_HANDSHAKE = 17,
    API_VERSIONS = 18,
    API_INIT_PRODUCER_ID = 22,
    API_OFFSET_FOR_LEADER_EPOCH = 23,
    API_DESCRIBE_LOG_DIRS = 35,
    API_SASL_AUTHENTICATE = 36,
    API_DESCRIBE_PRODUCERS = 61,
    API_CONSUMER_GROUP_DESCRIBE = 69,
    API_KEYS_COUNT = 18,
};

/* Name for logs, and the range we speak; false when we do not speak this API. */
bool api_range(enum api_key key, int16_t *out_min, int16_t *out_max);
const char *api_name(enum api_key key);
/* Are its types compact, with tagged fields (KIP-482)? Then the header of the request ends in some, too. */
bool api_flexible(enum api_key key, int16_t version);
/* Does the header of its answer end in tagged fields? */
bool api_answer_tagged(enum api_key key, int16_t version);

/* What a broker offers, one entry for each API we speak; version -1 = not offered in a version that we speak. */
struct api_versions {
    int16_t version[70]; /* by api key: highest that both speak, or -1 */
};
void api_versions_none(struct api_versions *versions);

void proto_put_api_versions(struct writer *writer, int16_t version, const char *software_version);
/* A broker that does not know `version` says so in version 0, with its range of this API (since 2.4) or nothing: then
 * *out_ask_older, and it is to be asked in version 0 (KIP-511). */
MUST_CHECK
bool proto_get_api_versions(struct reader *reader, int16_t version, struct api_versions *out,
                            bool *out_ask_older, struct err *err);

/* --- sign-in --------------------------------------------------------------------------------------------------- */
void proto_put_sasl_handshake(struct writer *writer, const char *mechanism);
#define SASL_OFFERED_MAX 16 /* Kafka knows five mechanisms; more than these are skipped */
struct sasl_handshake_answer {
    int16_t error;
    struct wire_string offered[SASL_OFFERED_MAX];
    int32_t offered_count;
};
MUST_CHECK
bool proto_get_sasl_handshake(struct reader *reader, struct sasl_handshake_answer *out,
                              struct err *err);

/* Versions 1 and 2 differ in their encoding alone: writer->rigid and reader->rigid say it (!api_flexible()). */
void proto_put_sasl_authenticate(struct writer *writer, const void *bytes, size_t len);
struct sasl_authenticate_answer {
    int16_t error;
    struct wire_string message; /* of the error */
    struct wire_string bytes;
    int64_t session_lifetime_ms; /* 0 = no end */
};
MUST_CHECK
bool proto_get_sasl_authenticate(struct reader *reader, struct sasl_authenticate_answer *out,
                                 struct err *err);

/* --- Metadata -------------------------------------------------------------------------------------------------- */
struct metadata_broker {
    int32_t id;
    struct wire_string host;
    int32_t port;
};
struct metadata_partition {
    int32_t index;
    int16_t error;
    int32_t leader; /* -1 = none */
    int32_t leader_epoch;
    int32_t replicas_count;
    int32_t in_sync_count;
};
struct metadata_topic {
    int16_t error;
    struct wire_string name;
    struct uuid id; /* zero before version 10 (Kafka 2.8) */
    bool internal;
    struct metadata_partition *partitions;
    int32_t partitions_count;
};
struct metadata {
    struct wire_string cluster_id;
    int32_t controller;
    struct metadata_broker *brokers;
    int32_t brokers_count;
    struct metadata_topic *topics;
    int32_t topics_count;
};
enum {                              /* Kafka has them since */
       METADATA_STATIC_MEMBERS = 8, /* 2.3: groups know members by instance id (not told here) */
       METADATA_IDS = 10,           /* 2.8: topics have ids */
};
/* All topics when names is NULL. Never creates topics. */
void proto_put_metadata(struct writer *writer, int16_t version, const char *const *names,
                        int32_t count);
MUST_CHECK
bool proto_get_metadata(struct reader *reader, int16_t version, struct metadata *out,
                        struct err *err);
void metadata_done(struct metadata *metadata);

/* --- Fetch ----------------------------------------------------------------------------------------------------- */
enum { FETCH_BY_ID = 13 }; /* from this version on topics are named by their ids alone */
struct fetch_want {        /* one partition of a request */
    const char *topic;     /* used up to version 12 */
    struct uuid topic_id;  /* used by version 13+ */
    int32_t partition;
    int32_t current_leader_epoch; /* -1 = do not check */
    int64_t offset;
    int32_t last_fetched_epoch; /* version 12+; -1 = do not check */
    int32_t max_bytes;
};
/* `wants` sorted so that partitions of one topic stand together. */
void proto_put_fetch(struct writer *writer, int16_t version, int32_t max_wait_ms, int32_t min_bytes,
                     int32_t max_bytes, bool read_committed, const struct fetch_want *wants,
                     int32_t count);
struct fetch_aborted {
    int64_t producer_id;
    int64_t first_offset;
};
struct fetch_partition {
    struct wire_string topic; /* up to version 12 */
    struct uuid topic_id;     /* version 13+ */
    int32_t partition;
    int16_t error;
    int64_t high_watermark;
    int64_t last_stable_offset;
    int64_t log_start_offset;
    bool
        diverging; /* version 12+, DivergingEpoch present: our last fetched epoch is not the leader's */
    int32_t diverging_epoch;
    int64_t diverging_end_offset;
    struct fetch_aborted *aborted;
    int32_t aborted_count;
    const uint8_t *records; /* into the answer's bytes */
    size_t records_len;
};
struct fetch_answer {
    int32_t throttle_ms;
    int16_t error;
    struct fetch_partition *partitions;
    int32_t partitions_count;
};
MUST_CHECK
bool proto_get_fetch(struct reader *reader, int16_t version, struct fetch_answer *out,
                     struct err *err);
void fetch_answer_done(struct fetch_answer *answer);

/* --- Produce --------------------------------------------------------------------------------------------------- */
struct produce_part { /* one partition of a request: exactly one batch, a partition never twice */
    const char *topic;
    struct uuid topic_id;
    int32_t partition;
    struct buf *block;      /* holds the batch; referenced until the answer */
    const uint8_t *records; /* into block: what follows the 61 bytes */
    size_t records_len;
    uint8_t header[61]; /* patched */
};
struct produce_answer_part {
    struct wire_string topic;
    struct uuid topic_id;
    int32_t partition;
    int16_t error;
    int64_t base_offset;
    int64_t log_append_time;
    int64_t log_start_offset;
    struct wire_string message;
};
struct produce_answer {
    int32_t throttle_ms;
    struct produce_answer_part *parts;
    int32_t parts_count;
};
/* Write the request as pieces: `writer` gets all framing and the patched headers; out_cuts[i] is the length of
 * `writer` at which the record bytes of parts[i] come in between. `parts` sorted by topic. acks is -1. */
void proto_put_produce(struct writer *writer, int16_t version, int32_t timeout_ms,
                       const struct produce_part *parts, int32_t count, size_t *out_cuts);
MUST_CHECK
bool proto_get_produce(struct reader *reader, int16_t version, struct produce_answer *out,
                       struct err *err);
void produce_answer_done(struct produce_answer *answer);

/* A producer id of the broker's giving, for an idempotent producer without transactions; any broker is asked. */
void proto_put_init_producer_id(struct writer *writer, int16_t version);
struct init_producer_id_answer {
    int32_t throttle_ms;
    int16_t error;
    int64_t producer_id;
    int16_t producer_epoch; /* 0: only transactions raise it */
};
MUST_CHECK
bool proto_get_init_producer_id(struct reader *reader, int16_t version,
                                struct init_producer_id_answer *out, struct err *err);

/* --- small ones: one partition a request is fine, many are allowed --------------------------------------------- */
struct topic_partition {
    const char *topic;
    int32_t partition;
};

enum { LIST_OFFSETS_LATEST = -1, LIST_OFFSETS_EARLIEST = -2 };
void proto_put_list_offsets(struct writer *writer, int16_t version, bool read_committed,
                            int64_t timestamp, const struct topic_partition *wants, int32_t count);
/* Where the leader's log ends, replicated or not: asked as brokers ask, not as a consumer; answered likewise. */
struct log_end_want {
    struct topic_partition place;
    int32_t leader_epoch; /* -1 = do not check */
};
void proto_put_log_ends(struct writer *writer, int16_t version, const struct log_end_want *wants,
                        int32_t count);
struct list_offsets_part {
    struct wire_string topic;
    int32_t partition;
    int16_t error;
    int64_t timestamp;
    int64_t offset;
    int32_t leader_epoch;
};
struct list_offsets_answer {
    struct list_offsets_part *parts;
    int32_t parts_count;
};
MUST_CHECK
bool proto_get_list_offsets(struct reader *reader, int16_t version, struct list_offsets_answer *out,
                            struct err *err);
void list_offsets_answer_done(struct list_offsets_answer *answer);

/* End offset of `epoch` at the leader; -1/-1 in the answer = unknown there. */
void proto_put_epoch_end(struct writer *writer, int16_t version, const char *topic,
                         int32_t partition, int32_t current_leader_epoch, int32_t epoch);
struct epoch_end_answer {
    int16_t error;
    int32_t leader_epoch;
    int64_t end_offset;
};
MUST_CHECK
bool proto_get_epoch_end(struct reader *reader, int16_t version, struct epoch_end_answer *out,
                         struct err *err);

void proto_put_describe_producers(struct writer *writer, const char *topic, int32_t partition);
struct producer_state {
    int64_t producer_id;
    int32_t producer_epoch;
    int32_t last_sequence;
    int64_t last_timestamp;
};
struct describe_producers_answer {
    int16_t error;
    struct wire_string message;
    struct producer_state *producers;
    int32_t producers_count;
};
MUST_CHECK
bool proto_get_describe_producers(struct reader *reader, struct describe_producers_answer *out,
                                  struct err *err);
void describe_producers_answer_done(struct describe_producers_answer *answer);

/* Of a group, or of a transactional id. */
void proto_put_find_coordinator(struct writer *writer, int16_t version, bool transactional,
                                const char *group);
struct find_coordinator_answer {
    int16_t error;
    int32_t id;
    struct wire_string host;
    int32_t port;
};
MUST_CHECK
bool proto_get_find_coordinator(struct reader *reader, int16_t version,
                                struct find_coordinator_answer *out, struct err *err);

/* Of many groups. Versions before 4 take one a request. */
void proto_put_find_coordinators(struct writer *writer, int16_t version, const char *const *groups,
                                 int32_t count);
struct coordinator_row {
    struct wire_string group; /* null before version 4: the one that was asked for */
    int16_t error;
    int32_t id;
};
struct find_coordinators_answer {
    struct coordinator_row *rows;
    int32_t rows_count;
};
MUST_CHECK
bool proto_get_find_coordinators(struct reader *reader, int16_t version,
                                 struct find_coordinators_answer *out, struct err *err);
void find_coordinators_answer_done(struct find_coordinators_answer *answer);

/* The groups that a broker coordinates, and which we may describe; all states, all types. */
void proto_put_list_groups(struct writer *writer, int16_t version);
struct listed_group {
    struct wire_string group;
    struct wire_string protocol_type; /* "consumer", "connect", ...; "" = no member ever joined */
    struct wire_string state;         /* "Empty", "Stable", ...; null before 4 */
    struct wire_string type;          /* "classic", "consumer", "share", "streams"; null before 5 */
};
struct list_groups_answer {
    int16_t error;
    struct listed_group *groups;
    int32_t groups_count;
};
MUST_CHECK
bool proto_get_list_groups(struct reader *reader, int16_t version, struct list_groups_answer *out,
                           struct err *err);
void list_groups_answer_done(struct list_groups_answer *answer);

/* Members of one group: of the classic protocol by API_DESCRIBE_GROUPS, of the consumer protocol (KIP-848) by
 * API_CONSUMER_GROUP_DESCRIBE. Of another protocol than the API's there is no such group: "Dead", GROUP_ID_NOT_FOUND. */
void proto_put_describe_group(struct writer *writer, enum api_key api, int16_t version,
                              const char *group);
struct described_member {
    struct wire_string member_id;
    struct wire_string instance_id; /* null: not static, or DescribeGroups before version 4 */
    struct wire_string client_id;
    struct wire_string client_host;
};
struct describe_group_answer {
    int16_t error;
    struct wire_string state;
    struct described_member *members;
    int32_t members_count;
};
/* ERR_RETRY also when it is not about one group. */
MUST_CHECK
bool proto_get_describe_group(struct reader *reader, enum api_key api, int16_t version,
                              struct describe_group_answer *out, struct err *err);
void describe_group_answer_done(struct describe_group_answer *answer);

/* Where a broker keeps its logs, without what is in them. */
void proto_put_describe_log_dirs(struct writer *writer, int16_t version);
struct log_dir {
    int16_t error; /* KAFKA_STORAGE_ERROR: offline */
    struct wire_string path;
    int64_t total_bytes;  /* of its file system; -1 = the broker does not say (before version 4) */
    int64_t usable_bytes; /* of these; likewise */
};
struct log_dirs_answer {
    int16_t
        error; /* from version 3 on; before it no directory is told of to whom may not see them */
    struct log_dir *dirs;
    int32_t dirs_count;
};
MUST_CHECK
bool proto_get_describe_log_dirs(struct reader *reader, int16_t version,
                                 struct log_dirs_answer *out, struct err *err);
void log_dirs_answer_done(struct log_dirs_answer *answer);

/* What groups have committed. Versions before 8 (Kafka 2.8) take one group a request. */
struct offset_fetch_want {
    const char *group;
    const struct topic_partition
        *parts; /* partitions of one topic stand together; NULL = all there are */
    int32_t parts_count;
};
/* require_stable: a partition with a commit in an open transaction is answered UNSTABLE_OFFSET_COMMIT. */
void proto_put_offset_fetch(struct writer *writer, int16_t version, bool require_stable,
                            const struct offset_fetch_want *wants, int32_t count);
struct offset_fetch_part {
    struct wire_string topic;
    int32_t partition;
    int16_t error;
    int64_t offset;       /* -1 = nothing is committed */
    int32_t leader_epoch; /* -1 = none */
    struct wire_string metadata;
};
struct offset_fetch_group {
    struct wire_string group; /* version 8+ */
    int16_t error;            /* of the group as a whole; its parts may be missing then */
    struct offset_fetch_part *parts;
    int32_t parts_count;
};
struct offset_fetch_answer {
    int32_t throttle_ms;
    struct offset_fetch_group *groups;
    int32_t groups_count;
};
MUST_CHECK
bool proto_get_offset_fetch(struct reader *reader, int16_t version, struct offset_fetch_answer *out,
                            struct err *err);
/* Of a question about one group: ERR_RETRY, too, when the answer is about none or several. */
MUST_CHECK
bool proto_get_offset_fetch_of_one(struct reader *reader, int16_t version,
                                   struct offset_fetch_answer *out, struct err *err);
void offset_fetch_answer_done(struct offset_fetch_answer *answer);

/* Commit for a group without members, as no member of it (member id "", generation -1): its coordinator refuses while
 * it has some. Without leader epochs: the source's mean nothing at the target. */
struct offset_commit_part {
    const char *topic; /* partitions of one topic stand together */
    int32_t partition;
    int64_t offset;
    const char *metadata; /* NULL = none */
};
void proto_put_offset_commit(struct writer *writer, int16_t version, const char *group,
                             const struct offset_commit_part *parts, int32_t count);
struct offset_commit_row {
    struct wire_string topic;
    int32_t partition;
    int16_t error;
};
struct offset_commit_answer {
    struct offset_commit_row *rows;
    int32_t rows_count;
};
MUST_CHECK
bool proto_get_offset_commit(struct reader *reader, int16_t version,
                             struct offset_commit_answer *out, struct err *err);
void offset_commit_answer_done(struct offset_commit_answer *answer);

/* Version 2 knows member ids alone: instance_id is left out. */
void proto_put_leave_group(struct writer *writer, int16_t version, const char *group,
                           const char *member_id, const char *instance_id, const char *reason);
/* The group's error, else the member's. */
MUST_CHECK
bool proto_get_leave_group(struct reader *reader, int16_t version, int16_t *out_error,
                           struct err *err);

#endif
