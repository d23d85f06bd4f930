/* Topics and partitions of the target follow the source: what is missing is created, what is too small is grown, and
 * the settings that the path needs are forced (measured: compression.type=producer, CreateTime, timestamps in the
 * future accepted, max.message.bytes at least the source's), each recorded so that it can be given back.
 *
 * Planning is pure; applying blocks and runs on the keeper's thread. Settings are read at the source and changed at the
 * target only; the target is grown before new partitions are mirrored; nothing is ever deleted or shrunk.
 */
#ifndef FERRY_MIRROR_TOPIC_SYNC_H
#define FERRY_MIRROR_TOPIC_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "config/config.h"
#include "kafka/admin.h"
#include "kafka/control.h"

/* The topics of one service on both sides, matched by the service's patterns. */
struct topic_pair {
    char name[250];
    struct uuid source_id;
    struct uuid target_id;    /* zero: to be created */
    int32_t source_partitions;
    int32_t target_partitions; /* 0: to be created; more than the source's is an error of this topic */
    char problem[256];         /* not mirrored, and why; "" = fine */
};
struct topic_sync {
    struct topic_pair *pairs;
    size_t pairs_count;
    char *forced_json; /* {"TOPIC":{"SETTING":["old"|null,"new"]}}: what was changed, for the record in the control topic */
};

/* Bring the target up to date: list both sides, create and grow, force settings.  `source` and `target` are admin
 * handles; `previous` (may be NULL) holds what is recorded as forced already. On false nothing is known; single topics
 * that could not be helped carry their `problem`. @thread keeper's */
MUST_CHECK bool topic_sync_run(const struct config_service *service, struct admin *source, struct admin *target,
                               const struct control_state *previous, struct topic_sync *out, struct err *err);
void topic_sync_done(struct topic_sync *sync);
/* The value of the control topic's `topics` record; heap. Topics with a problem or without target are left out. */
char *topic_sync_record(const struct topic_sync *sync, int64_t epoch);

#endif
