#include "mirror/flow.h"

#include <string.h>

#define SECOND_MS 1000
/* An acknowledgment within two round trips and this is one that the line delayed, not the broker. */
#define ACK_SLACK_MS 50

static bool is_far(int64_t round_us)
{
    return round_us >= FLOW_FAR_US;
}

/* Bytes stand before the target: its broker's fault, or the line's? */
static enum flow_limit before_target(const struct flow_look *look)
{
    bool full = look->queued_bytes + look->flight_bytes >= look->window_bytes;
    bool prompt =
        look->ack_ms >= 0 && look->ack_ms <= look->target_round_us * 2 / 1000 + ACK_SLACK_MS;
    return full && prompt && is_far(look->target_round_us) ? FLOW_WINDOW : FLOW_TARGET;
}

enum flow_limit flow_limit_of(const struct flow_look *look)
{
    if (look->throttled) {
        return FLOW_CONFIG;
    }
    if (look->memory_full) {
        return FLOW_MEMORY;
    }
    if (look->queued_bytes + look->flight_bytes >= look->window_bytes) {
        return before_target(look);
    }
    if (!look->behind) {
        return FLOW_NOTHING;
    }
    if (look->fetching) {
        return is_far(look->source_round_us) ? FLOW_LINE : FLOW_SOURCE;
    }
    return look->queued_bytes > 0 ? before_target(look) : FLOW_SOURCE;
}

static enum flow_limit seen_most(const struct flow *flow)
{
    enum flow_limit most = FLOW_NOTHING;
    for (int limit = 1; limit < FLOW_LIMITS_COUNT; limit++) {
        if (flow->looks[limit] > flow->looks[most]) {
            most = (enum flow_limit)limit;
        }
    }
    return most;
}

void flow_look(struct flow *flow, enum flow_limit limit, int64_t now_ms)
{
    if (flow->began_ms == 0) {
        flow->began_ms = now_ms;
    }
    flow->looks[limit]++;
    int64_t passed_ms = now_ms - flow->began_ms;
    if (passed_ms < SECOND_MS) {
        return;
    }
    flow->limit = seen_most(flow);
    flow->bytes_per_s = (double)flow->bytes * 1000.0 / (double)passed_ms;
    flow->bytes = 0;
    flow->began_ms = now_ms;
    memset(flow->looks, 0, sizeof(flow->looks));
}

const char *flow_limit_name(enum flow_limit limit)
{
    static const char *const names[FLOW_LIMITS_COUNT] = {
        [FLOW_NOTHING] = "nothing",      [FLOW_SOURCE] = "source", [FLOW_LINE] = "line",
        [FLOW_WINDOW] = "window",        [FLOW_TARGET] = "target", [FLOW_MEMORY] = "memory",
        [FLOW_CONFIG] = "configuration",
    };
    return names[limit];
}
