/* Which partitions are ours: Kafka's own group protocol on the target cluster, through one librdkafka consumer that
 * fetches nothing (its own assignment stays empty). Events come on our loop; nothing here blocks it.
 *
 * Classic protocol, cooperative-sticky, static member (group.instance.id = worker), explicit commits whose metadata is
 * the second checkpoint. A revoked partition is given back only after membership_revoked_done(): until then the
 * owner drains its window and commits. When a newcomer with the same instance id fences us, `fatal` says so.
 */
#ifndef FERRY_KAFKA_MEMBERSHIP_H
#define FERRY_KAFKA_MEMBERSHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "config/config.h"
#include "kafka/cluster.h"

struct membership;

struct membership_partition {
    const char *topic; /* borrowed for the callback */
    int32_t partition;
};

struct membership_callbacks {
    /* Incrementally assigned (cooperative). May come with count 0 when the group settled and we got nothing new. */
    void (*assigned)(void *arg, const struct membership_partition *parts, size_t count);
    /* Incrementally taken. lost: the session is over, others may own them already: drop at once, commit nothing.
     * Otherwise drain, commit, then call membership_revoked_done() within ~max.poll.interval. */
    void (*revoked)(void *arg, const struct membership_partition *parts, size_t count, bool lost);
    /* ERR_FATAL: fenced by a newcomer with our instance id, or librdkafka's fatal error. ERR_RETRY: not reachable now;
     * with code MEMBERSHIP_OUTLIVED nothing more will come: free this membership and make another. */
    void (*trouble)(void *arg, const struct err *why);
    void *arg;
};

#define MEMBERSHIP_OUTLIVED 82 /* FENCED_INSTANCE_ID, by ourselves */

struct membership_options {
    const char *group;
    const char *instance_id;
    int32_t session_timeout_ms;   /* 10,000 */
    int32_t heartbeat_ms;         /* 500 */
    int32_t metadata_refresh_ms;  /* 2,000 */
    int32_t max_poll_interval_ms; /* 30,000; a longer session counts */
};

/* NULL with ERR_CONFIG when the settings are refused. `client` is borrowed: its secrets are read now and then. */
struct membership *membership_new(struct loop *loop, const struct config_client *client,
                                  const struct membership_options *options,
                                  const struct membership_callbacks *callbacks, struct err *err);
/* Closes without leaving the group (a static member keeps its assignment for a restart); blocks at most ~1 s. Commits and
 * questions that are open are answered with ERR_RETRY before it returns; the callbacks are not called any more. */
void membership_free(struct membership *membership);

/* Certificates were renewed on disk: only a membership that is made anew reads them. When there is trouble, it is time. */
bool membership_is_old(struct membership *membership);

MUST_CHECK
bool membership_subscribe(struct membership *membership, const char *const *topics, size_t count,
                          struct err *err);
void membership_revoked_done(struct membership *membership);
/* The group's view changes with each rebalance; a commit counts only when the value is the same before and after. -1 while
 * there is none: before the first assignment, after one was lost. */
int32_t membership_generation(const struct membership *membership);

struct membership_commit {
    const char *topic;
    int32_t partition;
    int64_t offset;
    const char *metadata; /* <= 4 KiB */
    int16_t error;        /* out, per partition */
};
#define MEMBERSHIP_COMMIT_MAX 1000 /* one request of 6,000 fails whole; 5,000 was seen to work */
/* Commit in the assignment's own generation, asynchronously; `done` gets the same array (owned by membership until
 * then: pass heap, it is freed after done) and the time the request was handed over. err NULL = every partition ok. */
void membership_commit(struct membership *membership, struct membership_commit *commits,
                       size_t count,
                       void (*done)(void *arg, const struct membership_commit *commits,
                                    size_t count, int64_t sent_ms, const struct err *err),
                       void *arg);
/* The group's committed offsets and metadata for these partitions, asynchronously (array freed after done; offset -1 =
 * none; metadata NULL = none), through `target`: a coordinator that moves, loads or breaks its connection is asked again,
 * for 5 s at most, then `done` has ERR_RETRY. A partition with an error of its own is not "none": nothing was said of it. */
void membership_committed(struct membership *membership, struct cluster *target,
                          struct membership_commit *wants, size_t count,
                          void (*done)(void *arg, const struct membership_commit *found,
                                       size_t count, const struct err *err),
                          void *arg);
/* Leave for good: LeaveGroup with our instance id through `target` (librdkafka sends none for static members), so that
 * the others take over at once. `done` comes within timeout_ms, never inside this call. Afterwards the membership takes
 * no more part: only membership_free(). A newcomer with our id is not thrown out: `done` has the error. */
void membership_leave(struct membership *membership, struct cluster *target, int32_t timeout_ms,
                      void (*done)(void *arg, const struct err *err), void *arg);

#endif
