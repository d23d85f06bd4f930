/* Capped, jittered exponential retries: first, 2 * first, ... up to cap, each +-20 %. */
#ifndef FERRY_BASE_BACKOFF_H
#define FERRY_BASE_BACKOFF_H

#include <stdint.h>

struct backoff {
    int32_t first_ms;
    int32_t cap_ms;
    int32_t attempts_count; /* since the last reset */
    uint32_t random_state;
};

void backoff_init(struct backoff *backoff, int32_t first_ms, int32_t cap_ms, uint32_t seed);
/* Milliseconds to wait before the next attempt; counts the attempt. */
int32_t backoff_next_ms(struct backoff *backoff);
void backoff_reset(struct backoff *backoff);

#endif
