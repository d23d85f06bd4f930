/* The door to librdkafka's admin API, blocking: topics, configs, offsets; and a group's offsets, which take our own wire
 * client (docs/adr/0001). For the keeper's thread and the command; never for the loop's thread. Every call has a time limit and says which cluster it spoke to.
 */
#ifndef FERRY_KAFKA_ADMIN_H
#define FERRY_KAFKA_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "config/config.h"
#include "kafka/wire.h"

struct admin;

/* A librdkafka configuration from a site's client settings and secrets (read now). `extra` overrides, NULL-terminated
 * name, value pairs. Properties that librdkafka refuses are ERR_CONFIG by name. Returned as void * (rd_kafka_conf_t *),
 * owned by the caller until given to rd_kafka_new(). */
void *client_conf_new(const struct config_client *client, const char *const *extra,
                      struct err *err);
/* When the handle made of it is there (rd_kafka_t): by OAUTHBEARER its tokens come by a thread of librdkafka's, whoever
 * polls it. */
void client_conf_used(void *handle);

/* `client` is borrowed for the lifetime. */
struct admin *admin_new(const char *site, const struct config_client *client, int32_t timeout_ms,
                        struct err *err);
void admin_free(struct admin *admin);
/* From here on a call takes no longer than this. Returns what it was before. */
int32_t admin_timeout(struct admin *admin, int32_t timeout_ms);

/* A call failed because brokers, or who gives tokens for them, refuse to let us in; a token's server that does not answer is no
 * refusal. Known 2 s after the first refusal at the latest, however long the call may take (a
 * password that is put right meanwhile counts). What is tried again and again may still succeed: its kind is ERR_RETRY. */
bool admin_not_signed_in(const struct err *err);

/* ERR_RETRY when it cannot be reached in time. @param out at least 64 bytes */
MUST_CHECK
bool admin_cluster_id(struct admin *admin, char out[64], int32_t *out_brokers_count,
                      struct err *err);

struct admin_topic {
    char name[250];
    struct uuid id;
    int32_t partitions_count;
    int32_t replication_factor;
};
/* All topics that are not internal (reserved names included), heap array. */
MUST_CHECK
bool admin_list_topics(struct admin *admin, struct admin_topic **out, size_t *out_count,
                       struct err *err);
/* One topic; ERR_REFUSED code 3 when it does not exist. */
MUST_CHECK
bool admin_describe_topic(struct admin *admin, const char *topic, struct admin_topic *out,
                          struct err *err);

struct admin_setting {
    char name[128];
    char *value;     /* heap */
    bool is_default; /* not set on the topic itself */
};
MUST_CHECK
bool admin_topic_settings(struct admin *admin, const char *topic, struct admin_setting **out,
                          size_t *out_count, struct err *err);
void admin_settings_free(struct admin_setting *settings, size_t count);
/* The settings of many topics, ADMIN_SETTINGS_TOPICS a request (100 topics * 35 settings * 150 bytes = 512 KiB an
 * answer). err.kind is ERR_NONE where it worked; a topic that fails does not fail the others. */
#define ADMIN_SETTINGS_TOPICS 100
struct admin_topic_config {
    const char *topic;
    struct admin_setting *settings; /* out: admin_settings_free() */
    size_t settings_count;
    struct err err;
};
void admin_topics_settings(struct admin *admin, struct admin_topic_config *configs, size_t count);

/* settings: NULL-terminated name, value pairs. "Exists already" is success. Waits until the topic has leaders. */
MUST_CHECK
bool admin_create_topic(struct admin *admin, const char *topic, int32_t partitions_count,
                        int32_t replication_factor, const char *const *settings, struct err *err);
/* The same question, and nothing is made: would the cluster take it (its policy, settings, our rights)? */
MUST_CHECK
bool admin_may_make_topic(struct admin *admin, const char *topic, int32_t partitions_count,
                          int32_t replication_factor, const char *const *settings, struct err *err);
/* All topics of one call; out_errs[i].kind is ERR_NONE where it worked. */
struct admin_new_topic {
    const char *name;
    int32_t partitions_count;
    int32_t replication_factor;
    const char *const *settings;
};
void admin_create_topics(struct admin *admin, const struct admin_new_topic *topics, size_t count,
                         struct err *out_errs);
/* ERR_REFUSED code 3 when it does not exist. For topics of our own alone. */
MUST_CHECK
bool admin_delete_topic(struct admin *admin, const char *topic, struct err *err);
MUST_CHECK
bool admin_grow_topic(struct admin *admin, const char *topic, int32_t partitions_count,
                      struct err *err);
/* IncrementalAlterConfigs: set (value) or delete (NULL value) pairs. */
MUST_CHECK
bool admin_alter_topic(struct admin *admin, const char *topic, const char *const *settings,
                       struct err *err);

/* Many topics in one request, ADMIN_SETTINGS_TOPICS each; errs as with admin_topics_settings(). */
struct admin_topic_change {
    const char *topic;
    const char *const *settings; /* as above */
    struct err err;              /* out */
};
void admin_alter_topics(struct admin *admin, struct admin_topic_change *changes, size_t count);

struct admin_offset {
    const char *topic;
    int32_t partition;
    int64_t offset; /* out; -1 = unknown */
    int16_t error;  /* out: Kafka error of this partition */
};
enum admin_offset_spec {
    OFFSET_SPEC_EARLIEST,
    OFFSET_SPEC_LATEST,
    OFFSET_SPEC_STABLE /* LSO: latest, read_committed */
};
MUST_CHECK
bool admin_list_offsets(struct admin *admin, enum admin_offset_spec spec,
                        struct admin_offset *offsets, size_t count, struct err *err);

struct admin_group_offset {
    char topic[250];
    int32_t partition;
    int64_t offset; /* -1 = none */
    char *metadata; /* heap; NULL = none */
};
/* All that the group has committed. ERR_RETRY when its coordinator does not answer in time. */
MUST_CHECK
bool admin_group_offsets(struct admin *admin, const char *group, struct admin_group_offset **out,
                         size_t *out_count, struct err *err);
void admin_group_offsets_free(struct admin_group_offset *offsets, size_t count);

/* May we describe this group (commit false), or commit for it (true)? Asks who coordinates it; for the latter has a member
 * leave it that it does not have: neither changes anything. ERR_REFUSED with the broker's code when not. */
MUST_CHECK
bool admin_group_allowed(struct admin *admin, const char *group, bool commit, struct err *err);

/* Remove the members that the group has now (classic protocol): whoever polls on joins again within a heartbeat. ERR_REFUSED:
 * members of the consumer protocol (KIP-848), which nobody but they themselves can end. */
MUST_CHECK
bool admin_group_stop_members(struct admin *admin, const char *group, size_t *out_count,
                              struct err *err);

/* Names of all groups that we may describe, heap. ERR_RETRY also when only some of the brokers answered. */
MUST_CHECK
bool admin_list_groups(struct admin *admin, char ***out, size_t *out_count, struct err *err);
void admin_names_free(char **names, size_t count);

/* May we begin as this transactional writer? Asks who coordinates it, which changes nothing; ERR_REFUSED names the ACL. A
 * principal that may describe the id and not write as it is not told apart. */
MUST_CHECK
bool admin_writer_allowed(struct admin *admin, const char *transactional_id, struct err *err);

#endif
