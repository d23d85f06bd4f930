/* Time behind a pointer, so that a test owns it. The daemon uses clock_system(). */
#ifndef FERRY_BASE_CLOCK_H
#define FERRY_BASE_CLOCK_H

#include <stdint.h>

struct clock {
    /* Milliseconds on CLOCK_BOOTTIME: never goes back, counts suspended time (send deadlines depend on it). */
    int64_t (*now_ms)(const struct clock *clock);
    /* Milliseconds since 1970-01-01 UTC, for people and records only; never for time limits. */
    int64_t (*wall_ms)(const struct clock *clock);
};

const struct clock *clock_system(void);

static inline int64_t clock_now_ms(const struct clock *clock)
{
    return clock->now_ms(clock);
}
static inline int64_t clock_wall_ms(const struct clock *clock)
{
    return clock->wall_ms(clock);
}

/* A clock that stands until it is told; for tests and the simulator. */
struct clock_fake {
    struct clock clock; /* first member: &fake.clock is a clock */
    int64_t now;
    int64_t wall;
};
void clock_fake_init(struct clock_fake *fake, int64_t now_ms, int64_t wall_ms);
void clock_fake_advance(struct clock_fake *fake, int64_t ms);

#define CLOCK_TEXT_BYTES 32
/* RFC 3339 UTC with milliseconds, "2026-11-25T03:00:07.123Z"; "unknown" for negative values. Returns out. */
char *clock_rfc3339(int64_t wall_ms, char out[CLOCK_TEXT_BYTES]);

#endif
