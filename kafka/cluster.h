/* One cluster as the data path sees it: brokers, who leads what, connections by purpose, refresh and routing.
 *
 * Metadata is refreshed when a leader moved (at once, with backoff), on demand and every refresh_ms. Broker addresses
 * come from the latest answer; when all of them fail the bootstrap names are asked again. A metadata answer with
 * zero brokers is refused (librdkafka 5301: stuck for ever). Loop thread only.
 */
#ifndef FERRY_KAFKA_CLUSTER_H
#define FERRY_KAFKA_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "config/config.h"
#include "kafka/acl.h"
#include "kafka/conn.h"

struct cluster;

struct cluster_options {
    const char *name; /* site name, for logs */
    const struct config_client
        *client; /* bootstrap.servers, client.id, socket.*; borrowed for the lifetime */
    struct buf_pool *pool;
    int32_t refresh_ms; /* 2,000 for links */
    int32_t tcp_user_timeout_ms;
    size_t max_answer_bytes;
    const int64_t *produce_until_ms; /* see conn_options; NULL = whenever */
};

/* "host:port", "[v6]:port", "host" (port 9092), with or without "PLAINTEXT://" before it; `text` up to `len`, blanks
 * around it allowed. false: no host, or a port that is none. */
#define CLUSTER_HOST_BYTES 256
MUST_CHECK
bool cluster_parse_server(const char *text, size_t len, char out_host[CLUSTER_HOST_BYTES],
                          int32_t *out_port);

struct cluster *cluster_new(struct loop *loop, const struct cluster_options *options);
void cluster_free(struct cluster *cluster);

/* "" until the first metadata answer. */
const char *cluster_id(const struct cluster *cluster);
bool cluster_reachable(const struct cluster *cluster); /* the last metadata request succeeded */
const char *cluster_last_error(const struct cluster *cluster);
/* For whoever waits for an answer: nobody answers, and for 2 s whoever was tried did not let us in (cluster_last_error()). It is
 * tried on all the same. */
bool cluster_refuses(const struct cluster *cluster);

/* Topics whose metadata we follow; partitions of others are unknown. Copies the names. NULL, 0 = all topics. */
void cluster_follow(struct cluster *cluster, const char *const *topics, int32_t count);
void cluster_refresh(struct cluster *cluster); /* soon, coalesced, at most 5 a second */
/* Called after each metadata answer that was taken. One listener per cluster handle is enough: the link. */
void cluster_on_change(struct cluster *cluster, void (*changed)(void *arg), void *arg);

struct cluster_topic {
    const char *name;
    struct uuid id;
    int32_t partitions_count;
};
/* NULL when unknown or its metadata is an error. Valid until the next loop turn. */
const struct cluster_topic *cluster_topic(struct cluster *cluster, const char *name);
/* Kafka error of a followed topic's metadata; 0 = none. */
int16_t cluster_topic_error(const struct cluster *cluster, const char *name);
/* Is `error` a refusal for want of an ACL? Then `out` says of which one. */
bool cluster_denied(struct cluster *cluster, int16_t error, enum acl_operation operation,
                    enum acl_resource resource, const char *name, char out[ACL_LACKS_BYTES]);
/* Iterate: index 0.. until NULL. */
const struct cluster_topic *cluster_topic_at(struct cluster *cluster, int32_t index);

struct cluster_leader {
    int32_t broker; /* -1 = none or unknown */
    int32_t epoch;
    int32_t replicas_count; /* of the partition, the leader included; 0 = unknown */
};
struct cluster_leader cluster_leader(struct cluster *cluster, const char *topic, int32_t partition);
int32_t cluster_brokers_count(const struct cluster *cluster);
/* Ids of the brokers in the latest answer: index 0 .. until -1. */
int32_t cluster_broker_at(const struct cluster *cluster, int32_t index);
int32_t cluster_conns_count(const struct cluster *cluster); /* ready ones, of all lanes */

/* A ready connection to a broker for a purpose ("lane"): lane 0 is for small requests (metadata, offsets, producers),
 * 1.. are the caller's (fetch, produce connections). NULL while it is being made or waits for its backoff;
 * cluster_on_change's sibling below is told when it becomes ready. Lost connections are made again when asked for.
 * Ask for each request: what was given out holds for this turn of the loop. */
struct conn *cluster_conn(struct cluster *cluster, int32_t broker, int32_t lane);
/* Told when a connection became ready (err NULL) or was lost after it was: its requests in flight were answered first.
 * Also told, before it returns, of a connection that cluster_drop_conn() drops. */
void cluster_on_conn(struct cluster *cluster,
                     void (*changed)(void *arg, int32_t broker, int32_t lane, struct conn *conn,
                                     const struct err *lost),
                     void *arg);
/* Any broker, lane 0, e.g. for FindCoordinator; NULL when none is ready (one is being made). */
struct conn *cluster_any_conn(struct cluster *cluster);
/* Drop a connection on purpose (its requests in flight have an unknown outcome). */
void cluster_drop_conn(struct cluster *cluster, int32_t broker, int32_t lane, const char *why);

#endif
