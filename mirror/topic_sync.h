/* Topics and partitions of the target follow the source: what is missing is created, what is too small is grown, and
 * the settings that the path needs are forced (mirror/topic_plan), each recorded so that it can be given back; the others
 * follow the source's (mirror/topic_follow), recorded so that only what we put there is taken back.
 *
 * Planning is pure; applying blocks and runs on the keeper's thread. Settings are read at the source and changed at the
 * target only; the target is grown before new partitions are mirrored; nothing is ever deleted or shrunk. What a setting
 * was is durable (hooks.record) before it is changed on a topic that stood there before us.
 */
#ifndef FERRY_MIRROR_TOPIC_SYNC_H
#define FERRY_MIRROR_TOPIC_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "config/config.h"
#include "kafka/admin.h"
#include "kafka/control.h"
#include "mirror/topic_plan.h"

/* The topics of one service on both sides, matched by the service's patterns. */
struct topic_sync {
    struct topic_pair *pairs; /* sorted by name */
    size_t pairs_count;
    char *
        forced_json; /* {"TOPIC":{"SETTING":["old"|null,"new"]}}: what was changed, for the record in the control topic */
    char *synced_json; /* likewise: what was put there because the source's topic has it */
    char *
        gone_json; /* {"TOPIC":{"source_id":..,"target_id":..,"since":RFC 3339}}: deleted at the source */
    char *
        target_ids_json; /* {"TOPIC":"32 hex"}: which topic of that name forced_json speaks of; zeros = being created */
    json_t *drifts; /* [{"topic","setting","source","target","why"}], the first TOPIC_ROWS_MOST */
    int64_t drifts_count;
    int64_t drifted_count; /* topics that have any */
    json_t
        *news; /* [{"topic","setting","before","after"}]: settings changed since the last outcome */
};
#define TOPIC_ROWS_MOST 50 /* each of ~300 bytes, in each heartbeat */

/* What was checked and what is recorded, so that a turn without news costs one list call a side. Keeper's thread. */
struct topic_memory;
struct topic_memory *topic_memory_new(void);
void topic_memory_free(struct topic_memory *memory);
/* A term of the keeper begins: what the control topic records counts, not what we remember (state NULL: no record). */
void topic_memory_load(struct topic_memory *memory, const struct control_state *state);

/* The service's configuration is another one: look at all topics again. */
void topic_memory_recheck(struct topic_memory *memory);

struct topic_hooks {
    /* Asked right before each change at the target. false with err: we are not the keeper any more. */
    bool (*may_act)(void *arg, struct err *err);
    /* Make the sync as it is planned durable, before settings of standing topics are changed. NULL: such settings are
     * left alone, and topics that need it carry a problem. */
    bool (*record)(void *arg, const struct topic_sync *planned, struct err *err);
    void *arg;
};

/* Bring the target up to date: list both sides, create and grow, force settings. `source` and `target` are admin
 * handles, now_ms any clock that does not go back. On false nothing is known; single topics that could not be helped
 * carry their `problem` (not mirrored) or `warning` (mirrored, but). A topic that the source does not list any more stays
 * while the source does not say by name that it is gone. @thread keeper's */
MUST_CHECK
bool topic_sync_run(const struct config_service *service, struct admin *source,
                    struct admin *target, struct topic_memory *memory,
                    const struct topic_hooks *hooks, int64_t now_ms, struct topic_sync *out,
                    struct err *err);
void topic_sync_done(struct topic_sync *sync);
/* For people, bounded: {"drift":[..],"drift_count":n,"drifted_topics":n,"not_mirrored":[{"topic","why"}],
 * "not_mirrored_count":n,"incomplete":[likewise],"incomplete_count":n,"source_deleted":[{"topic","since"}],
 * "source_deleted_count":n}. New reference. */
json_t *topic_sync_report(const struct topic_sync *sync);
/* The value of the control topic's `topics` record; heap. Topics with a problem or without target are left out; what was
 * forced and followed on those stands under "kept": {"TOPIC":{"target_id":..,"forced":{..},"synced":{..}}}; what the
 * source deleted under "gone". */
char *topic_sync_record(const struct topic_sync *sync, int64_t epoch);

#endif
