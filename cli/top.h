/* What workers tell of a link, as rows of partitions: sorted, with rates between two looks. No I/O: cmd_top.c fills it. */
#ifndef FERRY_CLI_TOP_H
#define FERRY_CLI_TOP_H

#include <jansson.h>
#include <stdint.h>

struct top_row { /* texts are the heartbeats' */
    const char *topic;
    int32_t partition;
    const char *state;
    const char *worker;
    const char *why;
    int64_t lag_records; /* -1 = unknown, as everywhere here */
    double lag_s;
    int64_t source_next;
    int64_t told_ms;
    double records_per_s; /* source offsets mirrored between two heartbeats of the worker */
};

struct top {
    json_t *workers; /* live ones by name; owned: rows point into it */
    struct top_row *rows;
    size_t count;
    double records_per_s;
    double bytes_per_s;
    int64_t lag_records;
    double lag_s; /* the worst */
};

/* Rows of the live workers in `take_workers`; rates against the look before (NULL: there is none, or another link's). */
void top_take(struct top *top, json_t *take_workers, const struct top *before);
void top_done(struct top *top);

#endif
