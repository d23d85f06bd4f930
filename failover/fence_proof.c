#include "failover/fence_proof.h"

const char *fence_proof_name(enum fence_proof proof)
{
    static const char *const names[] = {"none", "denied", "left", "silent", "time"};
    return names[proof];
}

int64_t fence_silent_ms(const struct fence_look *look)
{
    return (int64_t)look->session_ms + look->tcp_user_timeout_ms + PROOF_CLOCKS_MS;
}

int64_t fence_order_ms(const struct fence_look *look)
{
    return (int64_t)PROOF_CONTROL_MS + look->tcp_user_timeout_ms + PROOF_SLACK_MS;
}

/* Redis that remembers nobody may have been flushed: it is no witness. */
static enum fence_proof witness(const struct fence_look *look)
{
    bool acked = false;
    if (!look->redis || look->count == 0) {
        return PROOF_NONE;
    }
    for (size_t i = 0; i < look->count; i++) {
        const struct fence_worker *worker = &look->workers[i];
        bool silent = look->redis_ms - worker->seen_ms >= fence_silent_ms(look);
        if (!silent && !worker->left && !worker->acked) {
            return PROOF_NONE;
        }
        acked = acked || worker->acked;
    }
    return acked ? PROOF_LEFT : PROOF_SILENT;
}

enum fence_proof fence_judge(const struct fence_look *look)
{
    if (look->denied) {
        return PROOF_DENIED;
    }
    if (look->group != GROUP_EMPTY && look->group != GROUP_ABSENT) {
        return PROOF_NONE;
    }
    enum fence_proof proof = witness(look);
    if (proof == PROOF_NONE && look->order_ms >= fence_order_ms(look)) {
        proof = PROOF_TIME;
    }
    return proof;
}
