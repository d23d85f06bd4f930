/* kafka/error: a test a row. Names as in Apache Kafka 4.3; outcomes as measured (2, 10, 32, 53, 87 refused; 5, 19, 45, 47
 * not appended; 3, 6, 7, 20 unknown) or, for the rest, as certain by the place of the check before the append. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kafka/error.h"

static const struct {
    int16_t code;
    const char *name;
    enum produce_outcome produce;
    bool leader_moved;
} expected[] = {
    {-1,  "UNKNOWN_SERVER_ERROR",                  PRODUCE_UNKNOWN,      false},
    {0,   "NONE",                                  PRODUCE_APPENDED,     false},
    {1,   "OFFSET_OUT_OF_RANGE",                   PRODUCE_UNKNOWN,      false},
    {2,   "CORRUPT_MESSAGE",                       PRODUCE_REFUSED,      false},
    {3,   "UNKNOWN_TOPIC_OR_PARTITION",            PRODUCE_UNKNOWN,      true },
    {4,   "INVALID_FETCH_SIZE",                    PRODUCE_UNKNOWN,      false},
    {5,   "LEADER_NOT_AVAILABLE",                  PRODUCE_NOT_APPENDED, true },
    {6,   "NOT_LEADER_OR_FOLLOWER",                PRODUCE_UNKNOWN,      true },
    {7,   "REQUEST_TIMED_OUT",                     PRODUCE_UNKNOWN,      false},
    {8,   "BROKER_NOT_AVAILABLE",                  PRODUCE_UNKNOWN,      true },
    {9,   "REPLICA_NOT_AVAILABLE",                 PRODUCE_UNKNOWN,      true },
    {10,  "MESSAGE_TOO_LARGE",                     PRODUCE_REFUSED,      false},
    {11,  "STALE_CONTROLLER_EPOCH",                PRODUCE_UNKNOWN,      false},
    {12,  "OFFSET_METADATA_TOO_LARGE",             PRODUCE_UNKNOWN,      false},
    {13,  "NETWORK_EXCEPTION",                     PRODUCE_UNKNOWN,      false},
    {14,  "COORDINATOR_LOAD_IN_PROGRESS",          PRODUCE_UNKNOWN,      false},
    {15,  "COORDINATOR_NOT_AVAILABLE",             PRODUCE_UNKNOWN,      false},
    {16,  "NOT_COORDINATOR",                       PRODUCE_UNKNOWN,      false},
    {17,  "INVALID_TOPIC_EXCEPTION",               PRODUCE_REFUSED,      false},
    {18,  "RECORD_LIST_TOO_LARGE",                 PRODUCE_REFUSED,      false},
    {19,  "NOT_ENOUGH_REPLICAS",                   PRODUCE_NOT_APPENDED, false},
    {20,  "NOT_ENOUGH_REPLICAS_AFTER_APPEND",      PRODUCE_UNKNOWN,      false},
    {21,  "INVALID_REQUIRED_ACKS",                 PRODUCE_UNKNOWN,      false},
    {22,  "ILLEGAL_GENERATION",                    PRODUCE_UNKNOWN,      false},
    {23,  "INCONSISTENT_GROUP_PROTOCOL",           PRODUCE_UNKNOWN,      false},
    {24,  "INVALID_GROUP_ID",                      PRODUCE_UNKNOWN,      false},
    {25,  "UNKNOWN_MEMBER_ID",                     PRODUCE_UNKNOWN,      false},
    {26,  "INVALID_SESSION_TIMEOUT",               PRODUCE_UNKNOWN,      false},
    {27,  "REBALANCE_IN_PROGRESS",                 PRODUCE_UNKNOWN,      false},
    {28,  "INVALID_COMMIT_OFFSET_SIZE",            PRODUCE_UNKNOWN,      false},
    {29,  "TOPIC_AUTHORIZATION_FAILED",            PRODUCE_NOT_APPENDED, false},
    {30,  "GROUP_AUTHORIZATION_FAILED",            PRODUCE_UNKNOWN,      false},
    {31,  "CLUSTER_AUTHORIZATION_FAILED",          PRODUCE_NOT_APPENDED, false},
    {32,  "INVALID_TIMESTAMP",                     PRODUCE_REFUSED,      false},
    {33,  "UNSUPPORTED_SASL_MECHANISM",            PRODUCE_UNKNOWN,      false},
    {34,  "ILLEGAL_SASL_STATE",                    PRODUCE_UNKNOWN,      false},
    {35,  "UNSUPPORTED_VERSION",                   PRODUCE_NOT_APPENDED, false},
    {36,  "TOPIC_ALREADY_EXISTS",                  PRODUCE_UNKNOWN,      false},
    {37,  "INVALID_PARTITIONS",                    PRODUCE_UNKNOWN,      false},
    {38,  "INVALID_REPLICATION_FACTOR",            PRODUCE_UNKNOWN,      false},
    {39,  "INVALID_REPLICA_ASSIGNMENT",            PRODUCE_UNKNOWN,      false},
    {40,  "INVALID_CONFIG",                        PRODUCE_UNKNOWN,      false},
    {41,  "NOT_CONTROLLER",                        PRODUCE_UNKNOWN,      false},
    {42,  "INVALID_REQUEST",                       PRODUCE_REFUSED,      false},
    {43,  "UNSUPPORTED_FOR_MESSAGE_FORMAT",        PRODUCE_REFUSED,      false},
    {44,  "POLICY_VIOLATION",                      PRODUCE_UNKNOWN,      false},
    {45,  "OUT_OF_ORDER_SEQUENCE_NUMBER",          PRODUCE_NOT_APPENDED, false},
    {46,  "DUPLICATE_SEQUENCE_NUMBER",             PRODUCE_UNKNOWN,      false},
    {47,  "INVALID_PRODUCER_EPOCH",                PRODUCE_NOT_APPENDED, false},
    {48,  "INVALID_TXN_STATE",                     PRODUCE_REFUSED,      false},
    {49,  "INVALID_PRODUCER_ID_MAPPING",           PRODUCE_NOT_APPENDED, false},
    {50,  "INVALID_TRANSACTION_TIMEOUT",           PRODUCE_UNKNOWN,      false},
    {51,  "CONCURRENT_TRANSACTIONS",               PRODUCE_UNKNOWN,      false},
    {52,  "TRANSACTION_COORDINATOR_FENCED",        PRODUCE_UNKNOWN,      false},
    {53,  "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", PRODUCE_REFUSED,      false},
    {54,  "SECURITY_DISABLED",                     PRODUCE_UNKNOWN,      false},
    {55,  "OPERATION_NOT_ATTEMPTED",               PRODUCE_UNKNOWN,      false},
    {56,  "KAFKA_STORAGE_ERROR",                   PRODUCE_UNKNOWN,      true },
    {57,  "LOG_DIR_NOT_FOUND",                     PRODUCE_UNKNOWN,      false},
    {58,  "SASL_AUTHENTICATION_FAILED",            PRODUCE_UNKNOWN,      false},
    {59,  "UNKNOWN_PRODUCER_ID",                   PRODUCE_NOT_APPENDED, false},
    {60,  "REASSIGNMENT_IN_PROGRESS",              PRODUCE_UNKNOWN,      false},
    {61,  "DELEGATION_TOKEN_AUTH_DISABLED",        PRODUCE_UNKNOWN,      false},
    {62,  "DELEGATION_TOKEN_NOT_FOUND",            PRODUCE_UNKNOWN,      false},
    {63,  "DELEGATION_TOKEN_OWNER_MISMATCH",       PRODUCE_UNKNOWN,      false},
    {64,  "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED",  PRODUCE_UNKNOWN,      false},
    {65,  "DELEGATION_TOKEN_AUTHORIZATION_FAILED", PRODUCE_UNKNOWN,      false},
    {66,  "DELEGATION_TOKEN_EXPIRED",              PRODUCE_UNKNOWN,      false},
    {67,  "INVALID_PRINCIPAL_TYPE",                PRODUCE_UNKNOWN,      false},
    {68,  "NON_EMPTY_GROUP",                       PRODUCE_UNKNOWN,      false},
    {69,  "GROUP_ID_NOT_FOUND",                    PRODUCE_UNKNOWN,      false},
    {70,  "FETCH_SESSION_ID_NOT_FOUND",            PRODUCE_UNKNOWN,      false},
    {71,  "INVALID_FETCH_SESSION_EPOCH",           PRODUCE_UNKNOWN,      false},
    {72,  "LISTENER_NOT_FOUND",                    PRODUCE_UNKNOWN,      true },
    {73,  "TOPIC_DELETION_DISABLED",               PRODUCE_UNKNOWN,      false},
    {74,  "FENCED_LEADER_EPOCH",                   PRODUCE_UNKNOWN,      true },
    {75,  "UNKNOWN_LEADER_EPOCH",                  PRODUCE_UNKNOWN,      true },
    {76,  "UNSUPPORTED_COMPRESSION_TYPE",          PRODUCE_REFUSED,      false},
    {77,  "STALE_BROKER_EPOCH",                    PRODUCE_UNKNOWN,      false},
    {78,  "OFFSET_NOT_AVAILABLE",                  PRODUCE_UNKNOWN,      false},
    {79,  "MEMBER_ID_REQUIRED",                    PRODUCE_UNKNOWN,      false},
    {80,  "PREFERRED_LEADER_NOT_AVAILABLE",        PRODUCE_UNKNOWN,      false},
    {81,  "GROUP_MAX_SIZE_REACHED",                PRODUCE_UNKNOWN,      false},
    {82,  "FENCED_INSTANCE_ID",                    PRODUCE_UNKNOWN,      false},
    {83,  "ELIGIBLE_LEADERS_NOT_AVAILABLE",        PRODUCE_UNKNOWN,      false},
    {84,  "ELECTION_NOT_NEEDED",                   PRODUCE_UNKNOWN,      false},
    {85,  "NO_REASSIGNMENT_IN_PROGRESS",           PRODUCE_UNKNOWN,      false},
    {86,  "GROUP_SUBSCRIBED_TO_TOPIC",             PRODUCE_UNKNOWN,      false},
    {87,  "INVALID_RECORD",                        PRODUCE_REFUSED,      false},
    {88,  "UNSTABLE_OFFSET_COMMIT",                PRODUCE_UNKNOWN,      false},
    {89,  "THROTTLING_QUOTA_EXCEEDED",             PRODUCE_UNKNOWN,      false},
    {90,  "PRODUCER_FENCED",                       PRODUCE_NOT_APPENDED, false},
    {91,  "RESOURCE_NOT_FOUND",                    PRODUCE_UNKNOWN,      false},
    {92,  "DUPLICATE_RESOURCE",                    PRODUCE_UNKNOWN,      false},
    {93,  "UNACCEPTABLE_CREDENTIAL",               PRODUCE_UNKNOWN,      false},
    {94,  "INCONSISTENT_VOTER_SET",                PRODUCE_UNKNOWN,      false},
    {95,  "INVALID_UPDATE_VERSION",                PRODUCE_UNKNOWN,      false},
    {96,  "FEATURE_UPDATE_FAILED",                 PRODUCE_UNKNOWN,      false},
    {97,  "PRINCIPAL_DESERIALIZATION_FAILURE",     PRODUCE_UNKNOWN,      false},
    {98,  "SNAPSHOT_NOT_FOUND",                    PRODUCE_UNKNOWN,      false},
    {100, "UNKNOWN_TOPIC_ID",                      PRODUCE_UNKNOWN,      true },
    {101, "DUPLICATE_BROKER_REGISTRATION",         PRODUCE_UNKNOWN,      false},
    {102, "BROKER_ID_NOT_REGISTERED",              PRODUCE_UNKNOWN,      false},
    {103, "INCONSISTENT_TOPIC_ID",                 PRODUCE_UNKNOWN,      true },
    {104, "INCONSISTENT_CLUSTER_ID",               PRODUCE_UNKNOWN,      false},
    {105, "TRANSACTIONAL_ID_NOT_FOUND",            PRODUCE_UNKNOWN,      false},
    {106, "FETCH_SESSION_TOPIC_ID_ERROR",          PRODUCE_UNKNOWN,      false},
    {107, "INELIGIBLE_REPLICA",                    PRODUCE_UNKNOWN,      false},
    {108, "NEW_LEADER_ELECTED",                    PRODUCE_UNKNOWN,      false},
    {109, "OFFSET_MOVED_TO_TIERED_STORAGE",        PRODUCE_UNKNOWN,      false},
    {110, "FENCED_MEMBER_EPOCH",                   PRODUCE_UNKNOWN,      false},
    {111, "UNRELEASED_INSTANCE_ID",                PRODUCE_UNKNOWN,      false},
    {112, "UNSUPPORTED_ASSIGNOR",                  PRODUCE_UNKNOWN,      false},
    {113, "STALE_MEMBER_EPOCH",                    PRODUCE_UNKNOWN,      false},
    {114, "MISMATCHED_ENDPOINT_TYPE",              PRODUCE_UNKNOWN,      false},
    {115, "UNSUPPORTED_ENDPOINT_TYPE",             PRODUCE_UNKNOWN,      false},
    {116, "UNKNOWN_CONTROLLER_ID",                 PRODUCE_UNKNOWN,      false},
    {117, "UNKNOWN_SUBSCRIPTION_ID",               PRODUCE_UNKNOWN,      false},
    {118, "TELEMETRY_TOO_LARGE",                   PRODUCE_UNKNOWN,      false},
    {119, "INVALID_REGISTRATION",                  PRODUCE_UNKNOWN,      false},
    {120, "TRANSACTION_ABORTABLE",                 PRODUCE_UNKNOWN,      false},
    {121, "INVALID_RECORD_STATE",                  PRODUCE_UNKNOWN,      false},
    {122, "SHARE_SESSION_NOT_FOUND",               PRODUCE_UNKNOWN,      false},
    {123, "INVALID_SHARE_SESSION_EPOCH",           PRODUCE_UNKNOWN,      false},
    {124, "FENCED_STATE_EPOCH",                    PRODUCE_UNKNOWN,      false},
    {125, "INVALID_VOTER_KEY",                     PRODUCE_UNKNOWN,      false},
    {126, "DUPLICATE_VOTER",                       PRODUCE_UNKNOWN,      false},
    {127, "VOTER_NOT_FOUND",                       PRODUCE_UNKNOWN,      false},
    {128, "INVALID_REGULAR_EXPRESSION",            PRODUCE_UNKNOWN,      false},
    {129, "REBOOTSTRAP_REQUIRED",                  PRODUCE_UNKNOWN,      false},
    {130, "STREAMS_INVALID_TOPOLOGY",              PRODUCE_UNKNOWN,      false},
    {131, "STREAMS_INVALID_TOPOLOGY_EPOCH",        PRODUCE_UNKNOWN,      false},
    {132, "STREAMS_TOPOLOGY_FENCED",               PRODUCE_UNKNOWN,      false},
    {133, "SHARE_SESSION_LIMIT_REACHED",           PRODUCE_UNKNOWN,      false},
};

/* S25, S26: what each code says of a batch: appended, not appended, refused, or in doubt. */
static void each_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        const struct kafka_error_info *info = kafka_error_info(expected[i].code);
        assert_int_equal(info->code, expected[i].code);
        assert_string_equal(info->name, expected[i].name);
        assert_string_equal(kafka_error_name(expected[i].code), expected[i].name);
        assert_int_equal(info->produce, expected[i].produce);
        assert_int_equal(info->leader_moved, expected[i].leader_moved);
        assert_non_null(info->hint);
    }
}

/* Every code that is in no row, over the whole range: unknown, never "not appended", never "appended". */
static void all_other_codes_are_unknown(void **state)
{
    (void)state;
    for (int code = INT16_MIN; code <= INT16_MAX; code++) {
        bool listed = false;
        for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
            listed = listed || expected[i].code == code;
        }
        if (!listed) {
            assert_string_equal(kafka_error_name((int16_t)code), "UNKNOWN_CODE");
            assert_int_equal(kafka_error_info((int16_t)code)->produce, PRODUCE_UNKNOWN);
        }
    }
}

static void only_zero_is_appended(void **state)
{
    (void)state;
    for (int code = INT16_MIN; code <= INT16_MAX; code++) {
        assert_int_equal(kafka_error_info((int16_t)code)->produce == PRODUCE_APPENDED, code == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row),
        cmocka_unit_test(all_other_codes_are_unknown),
        cmocka_unit_test(only_zero_is_appended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
