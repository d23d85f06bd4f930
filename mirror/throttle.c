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
    *throttle = (struct throttle){.rate = rate, .filled_ms = now_ms};
    throttle->left = burst(throttle);
}

int64_t throttle_room(struct throttle *throttle, int64_t now_ms)
{
    if (throttle->rate <= 0) {
        return INT64_MAX;
    }
    int64_t most = burst(throttle);
    int64_t missing = most - throttle->left;
    int64_t passed_ms = now_ms - throttle->filled_ms;
    /* Whole bytes only; the rest of the time stays for the next look. */
    double earned = (double)throttle->rate * (double)passed_ms / 1000.0;
    if (earned >= (double)missing) {
        throttle->left = most;
        throttle->filled_ms = now_ms;
    } else if (earned >= 1) {
        int64_t bytes = (int64_t)earned;
        throttle->left += bytes;
        throttle->filled_ms += (int64_t)((double)bytes * 1000.0 / (double)throttle->rate);
    }
    return throttle->left;
}

void throttle_take(struct throttle *throttle, int64_t bytes)
{
    if (throttle->rate > 0) {
        throttle->left -= bytes;
    }
}
