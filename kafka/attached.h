/* Who is attached to a cluster now: members of groups by client id and host, producers that partitions remember. Blocking, on
 * our own connections like kafka/groups.h; changes nothing. Each question has the admin's time limit.
 */
#ifndef FERRY_KAFKA_ATTACHED_H
#define FERRY_KAFKA_ATTACHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/admin.h"

struct attached_member { /* heap texts */
    char *client_id;
    char *host;        /* as its broker sees it: "/10.0.0.7" */
    char *instance_id; /* NULL: not static */
};

struct attached_group {
    const char *name; /* borrowed */
    int32_t coordinator;
    bool consumer_protocol; /* KIP-848; else the classic one */
    struct attached_member *members;
    size_t count;
    struct err err; /* ERR_NONE: `members` are all there are */
};
/* Fills in members and err of each. attached_groups_done() frees members, not the array. */
void attached_members(struct admin *admin, struct attached_group *groups, size_t count);
void attached_groups_done(struct attached_group *groups, size_t count);

struct
    attached_producer { /* one that is idempotent or transactional: a partition knows of no other */
    int64_t id;
    int32_t epoch;
    int32_t last_sequence;
    int64_t last_ms; /* timestamp of its last batch, by its own clock; -1 = none */
};

struct attached_part {
    const char *topic; /* borrowed */
    int32_t partition;
    struct attached_producer *producers;
    size_t count;
    struct err err;
};
/* Asks each partition's leader; for some thousands of partitions at most. */
void attached_producers(struct admin *admin, struct attached_part *parts, size_t count);
void attached_parts_done(struct attached_part *parts, size_t count);

#endif
