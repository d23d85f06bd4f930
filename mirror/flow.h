/* How much of a partition flows, and what keeps it from flowing faster. Pure: looked at ten times a second, said once a
 * second. For people; nothing is decided by it.
 */
#ifndef FERRY_MIRROR_FLOW_H
#define FERRY_MIRROR_FLOW_H

#include <stdbool.h>
#include <stdint.h>

enum flow_limit {
    FLOW_NOTHING, /* all that there is was copied */
    FLOW_SOURCE,  /* the source's broker takes its time */
    FLOW_LINE,    /* the source is far: what it sends is on its way */
    FLOW_WINDOW,  /* the target is far: a window of bytes waits for a round trip */
    FLOW_TARGET,  /* the target's broker takes its time */
    FLOW_MEMORY,  /* the link holds as much as it may */
    FLOW_CONFIG,  /* a rate limit of the configuration */
    FLOW_LIMITS_COUNT,
};

/* From here on a cluster is far: what travels is worth more than what an answer costs. A region's zones are 1 to 2 ms
 * apart, regions 10 ms and more. */
#define FLOW_FAR_US 5000

struct flow_look { /* at one partition, now */
    bool behind;   /* its last Fetch answer was full: more waits at the source */
    bool fetching;
    bool throttled;       /* nothing was asked for because of a rate limit */
    bool memory_full;     /* nothing was asked for because the link's buffers are used up */
    int64_t queued_bytes; /* fetched, not sent */
    int64_t flight_bytes; /* sent, not acknowledged */
    int64_t window_bytes;
    int64_t ack_ms;          /* from sending to acknowledgment, of the last one; -1 = none yet */
    int64_t source_round_us; /* round trips; -1 = unknown */
    int64_t target_round_us;
};
enum flow_limit flow_limit_of(const struct flow_look *look);

struct flow {
    int32_t looks[FLOW_LIMITS_COUNT]; /* in this second */
    int64_t bytes;                    /* acknowledged in this second */
    enum flow_limit limit;            /* of the last whole second */
    double bytes_per_s;               /* likewise */
    int64_t began_ms;                 /* this second; 0 = not begun */
};
void flow_look(struct flow *flow, enum flow_limit limit, int64_t now_ms);
static inline void flow_moved(struct flow *flow, int64_t bytes)
{
    flow->bytes += bytes;
}

/* "nothing", "source", "line", "window", "target", "memory", "configuration": in heartbeats and metrics. */
const char *flow_limit_name(enum flow_limit limit);

#endif
