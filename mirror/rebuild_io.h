/* Does what mirror/rebuild asks: reads a block of a stretch from both clusters, over connections of its own, and within a
 * bound of bytes a second. One block a run; nothing is written. Loop thread only.
 */
#ifndef FERRY_MIRROR_REBUILD_IO_H
#define FERRY_MIRROR_REBUILD_IO_H

#include "base/loop.h"
#include "kafka/cluster.h"
#include "mirror/rebuild.h"
#include "mirror/throttle.h"

struct rebuild_run;

struct rebuild_run_options {
    struct loop *loop;
    struct cluster *source;
    struct cluster *target;
    const char *topic; /* copied */
    int32_t partition;
    struct uuid source_topic_id;
    struct uuid target_topic_id;
    struct throttle *throttle; /* bytes of both sides; borrowed */
    uint64_t *bytes;           /* counted; borrowed */
    struct rebuild_options core;
    struct rebuild_pace *pace; /* borrowed */
    struct offset_open open;   /* not done */
};

/* The block was read (STORE or STOP, see `rebuild`), or err says why not: try again later. The run is freed by its owner,
 * in the call or later. */
typedef void rebuild_run_fn(void *arg, enum rebuild_need how, const struct rebuild *rebuild,
                            const struct err *err);

struct rebuild_run *rebuild_run_new(const struct rebuild_run_options *options, rebuild_run_fn *done,
                                    void *arg);
/* Late answers are ignored. NULL is fine. */
void rebuild_run_free(struct rebuild_run *run);

#endif
