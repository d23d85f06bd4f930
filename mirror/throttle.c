#include "mirror/throttle.h"

/* Kept while nothing flows: longer than two looks of the engine (100 ms each), so that a look that comes late costs no
 * bytes; short, because it may pass at once. */
#define BURST_MS 250

static int64_t burst(const struct throttle *throttle)
{
    int64_t bytes = throttle->rate / 1000 * BURST_MS + throttle->rate % 1000 * BURST_MS / 1000;
    return bytes > 0 ? bytes : 1;
}

void throttle_set(struct throttle *throttle, int64_t rate, int64_t now_ms)
{
    if (rate == throttle->rate) {
        return;
    }
    if (throttle->rate <= 0) {
        *throttle = (struct throttle){.rate = rate, .filled_ms = now_ms};
        throttle->left = burst(throttle);
        return;
    }
    (void)throttle_room(throttle, now_ms); /* what the old rate earned until now */
    throttle->rate = rate;
    int64_t most = burst(throttle);
    throttle->left = throttle->left < most ? throttle->left : most;
    throttle->rest = 0;
}

int64_t throttle_room(struct throttle *throttle, int64_t now_ms)
{
    if (throttle->rate <= 0) {
        return INT64_MAX;
    }
    int64_t most = burst(throttle);
    int64_t passed_ms = now_ms - throttle->filled_ms;
    throttle->filled_ms = now_ms;
    if ((double)throttle->rate * (double)passed_ms / 1000.0 >= (double)(most - throttle->left)) {
        throttle->left = most;
        throttle->rest = 0;
    } else { /* less than is missing, so nothing overflows */
        int64_t earned = throttle->rate * passed_ms + throttle->rest;
        throttle->left += earned / 1000;
        throttle->rest = earned % 1000;
    }
    return throttle->left;
}

void throttle_take(struct throttle *throttle, int64_t bytes)
{
    if (throttle->rate > 0) {
        throttle->left -= bytes;
    }
}
