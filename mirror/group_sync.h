/* Group sync of one link, done by the keeper: each second the groups' commits of the source are read, translated, kept in Redis
 * and committed at the target (mirror/group_round). On a thread of its own with clusters and a Redis connection of its own:
 * 100,000 commits are read and compared each second, and the data path waits for none of that.
 *
 * Written is only inside the keeper's send deadline, with a control topic read less than 1 s ago, while the role is ours and no
 * operation is open; the link hands these in. Loop thread of the link only.
 */
#ifndef FERRY_MIRROR_GROUP_SYNC_H
#define FERRY_MIRROR_GROUP_SYNC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "config/config.h"
#include "mirror/group_round.h"

struct group_sync;

struct group_sync_options {
    const struct config
        *config; /* borrowed for the lifetime, as the sites in it; the service is referenced */
    const struct config_service *service;
    const struct config_site *from;
    const struct config_site *to; /* has a Redis */
};

struct group_report { /* of one round */
    struct err err;   /* ERR_NONE: it was done */
    int64_t began_ms; /* loop clock */
    int64_t done_ms;
    struct group_counts counts;
    struct group_totals totals;
    uint64_t dropped; /* places beyond the bound */
    json_t *
        notes; /* groups that are not carried, or held back: {"not_carried": [...], "held": [...]}, some of each */
};

struct group_sync_callbacks {
    void (*reported)(void *arg, const struct group_report *report); /* borrowed */
    void *arg;
};

struct group_sync *group_sync_new(struct loop *loop, const struct group_sync_options *options,
                                  const struct group_sync_callbacks *callbacks);
void group_sync_free(struct group_sync *sync); /* ends the thread; NULL is fine */
/* The service as a configuration that was read again has it. */
void group_sync_reload(struct group_sync *sync, const struct config_service *service);
/* We are the keeper until until_ms (loop clock); 0 = not any more. The first call starts the thread. */
void group_sync_act(struct group_sync *sync, int64_t until_ms);
/* The control topic was read; `may`: the role is ours and no operation is open. */
void group_sync_control(struct group_sync *sync, int64_t read_ms, bool may);
/* Topics that are mirrored. Copied. */
void group_sync_topics(struct group_sync *sync, const char *const *names, size_t count);

#endif
