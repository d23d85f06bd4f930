#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t milliseconds(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t system_now(const struct clock *clock)
{
    (void)clock;
    return milliseconds(CLOCK_BOOTTIME);
}

static int64_t system_wall(const struct clock *clock)
{
    (void)clock;
    return milliseconds(CLOCK_REALTIME);
}

static const struct clock system_clock = {.now_ms = system_now, .wall_ms = system_wall};

const struct clock *clock_system(void)
{
    return &system_clock;
}

static int64_t fake_now(const struct clock *clock)
{
    return ((const struct clock_fake *)clock)->now;
}
static int64_t fake_wall(const struct clock *clock)
{
    return ((const struct clock_fake *)clock)->wall;
}

void clock_fake_init(struct clock_fake *fake, int64_t now_ms, int64_t wall_ms)
{
    *fake = (struct clock_fake){
        .clock = {.now_ms = fake_now, .wall_ms = fake_wall},
          .now = now_ms, .wall = wall_ms
    };
}

void clock_fake_advance(struct clock_fake *fake, int64_t ms)
{
    fake->now += ms;
    fake->wall += ms;
}

char *clock_rfc3339(int64_t wall_ms, char out[CLOCK_TEXT_BYTES])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    if (wall_ms < 0 || gmtime_r(&seconds, &utc) == NULL || utc.tm_year > 8099) {
        snprintf(out, CLOCK_TEXT_BYTES, "unknown");
        return out;
    }
    size_t used = strftime(out, CLOCK_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + used, CLOCK_TEXT_BYTES - used, ".%03dZ", (int)(wall_ms % 1000));
    return out;
}
