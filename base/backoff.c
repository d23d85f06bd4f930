#include "base/backoff.h"

void backoff_init(struct backoff *backoff, int32_t first_ms, int32_t cap_ms, uint32_t seed)
{
    *backoff = (struct backoff){
        .first_ms = first_ms, .cap_ms = cap_ms, .random_state = seed * 2654435761u + 1};
}

int32_t backoff_next_ms(struct backoff *backoff)
{
    int64_t wait_ms = backoff->first_ms;
    for (int32_t i = 0; i < backoff->attempts_count && wait_ms < backoff->cap_ms; i++) {
        wait_ms *= 2;
    }
    if (wait_ms > backoff->cap_ms) {
        wait_ms = backoff->cap_ms;
    }
    backoff->attempts_count += backoff->attempts_count < INT32_MAX;
    backoff->random_state =
        backoff->random_state * 1664525u + 1013904223u; /* jitter needs no better one */
    int64_t percent = 80 + (int64_t)(backoff->random_state >> 16) % 41;
    int64_t jittered = wait_ms * percent / 100;
    return (int32_t)(jittered < 1 ? 1 : jittered);
}

void backoff_reset(struct backoff *backoff)
{
    backoff->attempts_count = 0;
}
