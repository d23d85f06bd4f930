/* What the keeper knows of its topics between two turns: which were checked when, what is recorded as forced. Private to
 * mirror/topic_sync; keeper's thread.
 */
#ifndef FERRY_MIRROR_TOPIC_MEMORY_H
#define FERRY_MIRROR_TOPIC_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "kafka/admin.h"
#include "mirror/topic_plan.h"
#include "mirror/topic_sync.h"

struct remembered {
    char name[250];
    struct uuid source_id;
    struct uuid target_id;
    int32_t partitions;
    int64_t checked_ms; /* settings of both sides were compared then; -1 = never */
    bool listed;        /* stands in the record: is mirrored */
    bool gone_once;     /* the last turn's word was that the source has no such topic */
    uint32_t told_hash; /* of the problem and warning logged last */
};

struct topic_memory {
    struct remembered *topics; /* sorted by name */
    size_t topics_count;
    json_t
        *kept; /* {TOPIC:{"target_id":hex,"forced":{SETTING:[old|null,new]},"synced":{likewise}}} */
    json_t *gone; /* deleted at the source: {TOPIC:{"source_id":hex,"target_id":hex,"since":..}} */
    json_t *drifts;  /* {TOPIC:[row of topic_drift()]}: as of its last check */
    json_t *refused; /* {TOPIC:{SETTING:{"value":..,"why":..,"at_ms":..}}}: by the target, lately */
    json_t *news;    /* what was changed at the target since it was told last */
    struct admin_setting *known; /* of any topic of the target: which names it knows */
    size_t known_count;
};

/* By name; NULL = never seen. */
struct remembered *topic_memory_find(const struct topic_memory *memory, const char *name);
/* Is it the very same pair of topics, by id? */
bool topic_memory_same(const struct remembered *before, const struct topic_pair *pair);

/* {SETTING:[old|null,new]} of a topic: forced, or followed from the source; borrowed, NULL = none. */
const json_t *topic_memory_forced(const struct topic_memory *memory, const char *topic);
const json_t *topic_memory_synced(const struct topic_memory *memory, const char *topic);
/* Add what of the changes is to be recorded; target_id zero = being created. */
void topic_memory_note(struct topic_memory *memory, const char *topic, const struct uuid *target_id,
                       const struct topic_changes *changes);
/* A setting that followed does not any more. */
void topic_memory_unnote(struct topic_memory *memory, const char *topic, const char *setting);
/* Nothing of it is ours: its creation failed. */
void topic_memory_drop(struct topic_memory *memory, const char *topic);

/* What the target refused of this topic and is not asked for again yet; borrowed, NULL = nothing. */
const json_t *topic_memory_refused(struct topic_memory *memory, const char *topic, int64_t now_ms);
void topic_memory_refuse(struct topic_memory *memory, const char *topic, const char *setting,
                         const char *value, const char *why, int64_t now_ms);

/* Of topics that are not there any more, or not the same, nothing is known. `target` finds a topic's id there. */
void topic_memory_drop_stale(struct topic_memory *memory,
                             const struct uuid *(*target)(void *arg, const char *topic), void *arg);

#endif
