/* Have the mirror's own writers stopped for certain? The judgement alone, no I/O; why it is sound: docs/adr/0015.
 *
 * A worker of Ferry writes only while it is in ferry's group, while its last commit is younger than session - TCP_USER_TIMEOUT - 1 s,
 * and while it has read the control topic within 8 s. What it handed to its kernel arrives within TCP_USER_TIMEOUT, or never.
 */
#ifndef FERRY_FAILOVER_FENCE_PROOF_H
#define FERRY_FAILOVER_FENCE_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kafka/admin_probe.h"

#define PROOF_CONTROL_MS 8000 /* a control topic older than that closes the gate (mirror/link.c) */
#define PROOF_SLACK_MS   1000
#define PROOF_CLOCKS_MS  5000 /* Redis may have failed over to a machine with another clock */

enum fence_proof {
    PROOF_NONE,
    PROOF_DENIED, /* every leader refuses a write of the mirror's principal */
    PROOF_LEFT, /* the group is empty, and every worker that was heard of lately acknowledged the order and left */
    PROOF_SILENT, /* the group is empty, and no worker was heard of for longer than any may write; on Redis's clock */
    PROOF_TIME, /* the group is empty, and the order stands for longer than anybody writes who has not read it */
};
/* "denied", "left", "silent", "time"; "none". */
const char *fence_proof_name(enum fence_proof proof);

struct fence_worker { /* as Redis has it */
    int64_t seen_ms;  /* on Redis's clock */
    bool left;        /* in order, by its own word */
    bool acked;       /* this operation's order */
};

struct fence_look {
    enum group_presence group;
    bool denied;      /* a probe was refused by every leader */
    int64_t order_ms; /* for how long the order stands, at least */
    bool redis;       /* it answered; else what follows is unknown */
    int64_t redis_ms; /* its clock */
    const struct fence_worker *workers;
    size_t count;
    int32_t session_ms;
    int32_t tcp_user_timeout_ms;
};

enum fence_proof fence_judge(const struct fence_look *look);
/* For how long nobody of them may have been heard of: session + TCP_USER_TIMEOUT, and slack for clocks. */
int64_t fence_silent_ms(const struct fence_look *look);
/* How long the order has to stand for PROOF_TIME. */
int64_t fence_order_ms(const struct fence_look *look);

#endif
