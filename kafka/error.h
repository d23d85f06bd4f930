/* One table: Kafka error code -> name, and for Produce answers what it says about the batch (measured on 4.3.1). */
#ifndef FERRY_KAFKA_ERROR_H
#define FERRY_KAFKA_ERROR_H

#include <stdbool.h>
#include <stdint.h>

enum kafka_error {
    KAFKA_UNKNOWN_SERVER_ERROR = -1,
    KAFKA_NONE = 0,
    KAFKA_OFFSET_OUT_OF_RANGE = 1,
    KAFKA_CORRUPT_MESSAGE = 2,
    KAFKA_UNKNOWN_TOPIC_OR_PARTITION = 3,
    KAFKA_LEADER_NOT_AVAILABLE = 5,
    KAFKA_NOT_LEADER_OR_FOLLOWER = 6,
    KAFKA_REQUEST_TIMED_OUT = 7,
    KAFKA_MESSAGE_TOO_LARGE = 10,
    KAFKA_OFFSET_METADATA_TOO_LARGE = 12,
    KAFKA_COORDINATOR_LOAD_IN_PROGRESS = 14,
    KAFKA_COORDINATOR_NOT_AVAILABLE = 15,
    KAFKA_NOT_COORDINATOR = 16,
    KAFKA_NOT_ENOUGH_REPLICAS = 19,
    KAFKA_NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20,
    KAFKA_ILLEGAL_GENERATION = 22,
    KAFKA_UNKNOWN_MEMBER_ID = 25,
    KAFKA_REBALANCE_IN_PROGRESS = 27,
    KAFKA_TOPIC_AUTHORIZATION_FAILED = 29,
    KAFKA_GROUP_AUTHORIZATION_FAILED = 30,
    KAFKA_CLUSTER_AUTHORIZATION_FAILED = 31,
    KAFKA_INVALID_TIMESTAMP = 32,
    KAFKA_UNSUPPORTED_SASL_MECHANISM = 33,
    KAFKA_ILLEGAL_SASL_STATE = 34,
    KAFKA_UNSUPPORTED_VERSION = 35,
    KAFKA_INVALID_REQUEST = 42,
    KAFKA_UNSUPPORTED_FOR_MESSAGE_FORMAT = 43,
    KAFKA_POLICY_VIOLATION = 44,
    KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER = 45,
    KAFKA_DUPLICATE_SEQUENCE_NUMBER = 46,
    KAFKA_INVALID_PRODUCER_EPOCH = 47,
    KAFKA_INVALID_TXN_STATE = 48,
    KAFKA_INVALID_PRODUCER_ID_MAPPING = 49,
    KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53,
    KAFKA_STORAGE_ERROR = 56,
    KAFKA_SASL_AUTHENTICATION_FAILED = 58,
    KAFKA_UNKNOWN_PRODUCER_ID = 59,
    KAFKA_GROUP_ID_NOT_FOUND = 69,
    KAFKA_FENCED_LEADER_EPOCH = 74,
    KAFKA_UNKNOWN_LEADER_EPOCH = 75,
    KAFKA_OFFSET_NOT_AVAILABLE = 78,
    KAFKA_INVALID_RECORD = 87,
    KAFKA_THROTTLING_QUOTA_EXCEEDED = 89,
    KAFKA_UNKNOWN_TOPIC_ID = 100,
    KAFKA_INCONSISTENT_TOPIC_ID = 103,
    KAFKA_STALE_MEMBER_EPOCH = 113,
};

/* What a Produce answer says of the batch that was sent. */
enum produce_outcome {
    PRODUCE_APPENDED,     /* acknowledged; base_offset still has to be the expected one         */
    PRODUCE_UNKNOWN,      /* may or may not stand in the log: only the resume procedure may say */
    PRODUCE_NOT_APPENDED, /* certainly not; something else must change first (leader, sequence) */
    PRODUCE_REFUSED,      /* never, as it is: the partition faults with the evidence            */
};

struct kafka_error_info {
    int16_t code;
    const char *name; /* as in the Kafka protocol, e.g. "NOT_LEADER_OR_FOLLOWER" */
    enum produce_outcome produce;
    bool leader_moved; /* refresh metadata */
    const char *hint;  /* for on-call; may be "" */
};

/* Never NULL: codes we do not know are unknown outcomes, named "ERROR_<code>" in a static buffer per code range is
 * not needed - the name is "UNKNOWN_CODE". @thread any */
const struct kafka_error_info *kafka_error_info(int16_t code);
const char *kafka_error_name(int16_t code);

#endif
