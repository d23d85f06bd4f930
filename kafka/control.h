/* The control topic of a service on one site (`ferry.control.SERVICE`: compacted, one partition): role epochs, orders,
 * what determines the streams, the list of topics, the keeper, operations. Read to its end each second by a thread of
 * its own; written through fenced transactional producers. Each key has one writer.
 *
 *   role     {"epoch":N,"primary":SITE,"secondaries":[SITE..],"adopt":{TOPIC:[[PARTITION,END],..]},"by":..,"reason":..,"time":..}
 *   streams  {"epoch":N,"hash":"16 hex","previous":["16 hex"..],"path":PATH,"filter":"16 hex","generation":N}
 *   topics   {"epoch":N,"topics":[{"name":..,"source_id":"32 hex","target_id":"32 hex","partitions":N,
 *             "forced":{SETTING:[OLD|null, NEW]},"synced":{likewise}}..],"kept":{..},"gone":{..}}
 *   keeper   {"worker":..,"since":..}
 *   path     {"path":"batches"|"records","why":..,"by":..,"time":..}   the choice of "path": "auto"; by `ferry enable`
 *   fence    {"topics":{TOPIC:{..}},..}   failover/fence.h; by `ferry enable` and `ferry fence`
 *   dns      {"epoch":N,"records":{NAME:{..}},..}   dns/dns.h; by `ferry dns`
 *   acls     {"ours":[..],"withheld":[..],..}   failover/acl_sync.h; by `ferry acls`
 *   order    {"state":"run"|"pause"|"fence","operation":ID,"by":..,"reason":..,"time":..}   fence: drain and leave the group
 *   op/ID    {"open":true|false,..}   operations (failover/); one that cannot be read counts as open
 *   op/ID/STEP   their steps, for failover/ alone
 *
 * A record that is not of its form changes nothing: what stood there before counts, and `err` names the key for as long
 * as it stands. Topics are named as Kafka allows, each once; epochs begin at 1.
 */
#ifndef FERRY_KAFKA_CONTROL_H
#define FERRY_KAFKA_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "config/config.h"
#include "kafka/wire.h"

struct control_topic {
    char *name;
    struct uuid source_id;
    struct uuid target_id;
    int32_t partitions_count;
};

struct control_state {    /* one snapshot, immutable once published */
    int64_t read_ms;      /* loop clock (BOOTTIME): when the topic was last known read to its end */
    struct uuid topic_id; /* of the control topic itself */
    int64_t end_offset;
    int64_t role_epoch;    /* 0 = no role readable */
    char primary[128];     /* site name */
    char *role_json;       /* whole record, NULL when none */
    int64_t streams_epoch; /* 0 = none */
    uint64_t streams_hash;
    uint64_t streams_previous[16];
    size_t streams_previous_count;
    uint64_t streams_filter;       /* hash of the records' filter; 0 = none */
    int32_t streams_generation;    /* least generation of a stream; raised with the filter */
    enum config_path streams_path; /* PATH_AUTO: written before it was said */
    enum config_path path;         /* chosen for "path": "auto"; PATH_AUTO = none was */
    char *path_json;               /* whole record, NULL when none */
    bool has_topics;
    int64_t topics_epoch;
    char *topics_json; /* whole record (forced settings), NULL when none */
    struct control_topic *topics;
    size_t topics_count;
    char keeper[256];
    char *fence_json;         /* whole record, NULL when none */
    char *dns_json;           /* likewise */
    char *acls_json;          /* likewise */
    char *order_json;         /* likewise */
    bool paused;              /* order: pause */
    char fence_operation[65]; /* order: fence, of this operation; "" = none */
    bool operation_open;
};

#define CONTROL_TOPIC_BYTES 250
/* "ferry.control.SERVICE" */
char *control_topic_name(const char *service, char out[CONTROL_TOPIC_BYTES]);

struct control;
struct control_callbacks {
    /* On the loop's thread, after each read to the end that found anything new, and each second with a fresher read_ms.
     * The state is borrowed until the next call, NULL before the first. err: the last read failed (state keeps its old
     * read_ms), or a record cannot be read (state is fresh without it). */
    void (*state)(void *arg, const struct control_state *state, const struct err *err);
    void *arg;
};
/* Starts the reading thread; creates the topic when it does not exist (RF min(3, brokers), min.insync.replicas 2 from
 * three brokers on, compacted). One that was read and then deleted is not created again: err, code 3. `client` is
 * borrowed for the lifetime. */
struct control *control_new(struct loop *loop, const struct config_client *client,
                            const char *service, const struct control_callbacks *callbacks,
                            struct err *err);
void control_free(struct control *control); /* blocks at most ~1.5 s; NULL is fine */
/* Read again now instead of at the next second. @thread loop */
void control_poke(struct control *control);

/* --- writing, blocking: for the keeper's thread and the command -------------------------------------------------- */
struct control_writer;
/* `role` is "keeper" or "op": transactional.id ferry-ROLE-SERVICE, transaction.timeout.ms 10,000. An operation first
 * fences the keeper (init_transactions as the keeper), then itself. */
struct control_writer *control_writer_new(const struct config_client *client, const char *service,
                                          const char *role, struct err *err);
/* The same in two parts, for who has something else to wait for meanwhile: connected, and nobody is fenced; ERR as above. */
struct control_writer *control_writer_prepare(const struct config_client *client,
                                              const char *service, const char *role,
                                              struct err *err);
/* Fences. false: the writer is of no use, and the caller's to free. */
MUST_CHECK
bool control_writer_begin(struct control_writer *writer, struct err *err);
void control_writer_free(struct control_writer *writer);
/* Is it to be made anew? Certificates were renewed on disk, and are read then; or a transaction could not be ended in the
 * whole time of a call: behind a cluster that was away librdkafka may wait for that end for ever, and init_transactions()
 * of a new client ends it. */
bool control_writer_is_old(struct control_writer *writer);
struct control_record {
    const char *key;
    const char *value; /* NULL = tombstone */
};
/* All or nothing. ERR_FATAL code of librdkafka when fenced by another writer of the same role, for good. ERR_RETRY: it may
 * have been written (the answer was lost) or not; the next call ends what is open before it begins. At most ~10 s, as is
 * control_writer_new(). */
MUST_CHECK
bool control_write(struct control_writer *writer, const struct control_record *records,
                   size_t count, struct err *err);
/* After one that failed: may what it wrote come to count all the same? */
bool control_write_unknown(const struct control_writer *writer);
/* Then: end it once more. true: it counts. */
MUST_CHECK
bool control_write_again(struct control_writer *writer, struct err *err);
/* Read the topic to its end once, blocking; NULL with err (ERR_REFUSED code 3: the topic does not exist). */
struct control_state *control_read(const struct config_client *client, const char *service,
                                   int32_t timeout_ms, struct err *err);
/* Likewise, with operations and their steps as {KEY: record}; *out_operations is a new reference. */
struct control_state *control_read_operations(const struct config_client *client,
                                              const char *service, int32_t timeout_ms,
                                              json_t **out_operations, struct err *err);
/* Likewise, without the steps' evidence: where each stands, and how long it took. */
struct control_state *control_read_heads(const struct config_client *client, const char *service,
                                         int32_t timeout_ms, json_t **out_operations,
                                         struct err *err);
void control_state_free(struct control_state *state);
/* Create the topic as control_new() does, blocking; "exists" is success. */
MUST_CHECK
bool control_create(const struct config_client *client, const char *service, struct err *err);
/* Would the cluster take it? Asked alone, as it is written there (config_client.single_writer); "exists" is yes.
 * ERR_REFUSED with code 44 and what to do when its policy forbids it. */
struct admin;
MUST_CHECK
bool control_may_create(struct admin *admin, const char *service, struct err *err);

#endif
