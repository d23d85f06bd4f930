/* Seconds at risk of one partition, on our own clock over observed end offsets: never from record timestamps, never by
 * comparing two clocks. "The oldest record that is not mirrored yet was there at least ... seconds ago."
 */
#ifndef FERRY_MIRROR_LAG_H
#define FERRY_MIRROR_LAG_H

#include <stdint.h>

#define LAG_SAMPLES 64 /* when full every second one goes: resolution halves, reach doubles */

struct lag {
    struct lag_sample {
        int64_t at_ms;
        int64_t end;
    } samples[LAG_SAMPLES];
    int32_t count;
};

/* The source ended at `end` when we looked. Ends that did not move add nothing. */
void lag_observe(struct lag *lag, int64_t at_ms, int64_t end);
/* Milliseconds since the first end beyond source_next was seen; 0 when everything seen is mirrored; -1 unknown. */
int64_t lag_ms(const struct lag *lag, int64_t now_ms, int64_t source_next);

#endif
