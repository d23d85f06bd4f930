#include "mirror/lag.h"

void lag_observe(struct lag *lag, int64_t at_ms, int64_t end)
{
    if (lag->count > 0 && lag->samples[lag->count - 1].end == end) {
        return;
    }
    if (lag->count > 0 && lag->samples[lag->count - 1].end > end) {
        lag->count = 0; /* truncated: what was seen before says nothing */
    }
    if (lag->count == LAG_SAMPLES) {
        for (int32_t i = 0; i < LAG_SAMPLES / 2; i++) {
            lag->samples[i] = lag->samples[2 * i];
        }
        lag->count = LAG_SAMPLES / 2;
    }
    lag->samples[lag->count++] = (struct lag_sample){.at_ms = at_ms, .end = end};
}

int64_t lag_ms(const struct lag *lag, int64_t now_ms, int64_t source_next)
{
    if (lag->count == 0) {
        return -1;
    }
    for (int32_t i = 0; i < lag->count; i++) {
        if (lag->samples[i].end > source_next) {
            return now_ms - lag->samples[i].at_ms;
        }
    }
    return 0;
}
