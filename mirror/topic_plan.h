/* What must change at the target so that a topic can be mirrored: which topics belong, which settings a new one gets,
 * which settings of one that stands there are forced and what is given back later. Pure: lists in, lists out.
 *
 * Forced (measured): compression.type=producer keeps the producer's bytes; CreateTime keeps the producer's time; the
 * time bounds at their maximum, since the source took the record already; max.message.bytes at least the source's, since
 * a batch cannot be split on its way. A name that the target does not know is not forced (brokers before 3.6 have
 * message.timestamp.difference.max.ms instead of the two newer bounds).
 */
#ifndef FERRY_MIRROR_TOPIC_PLAN_H
#define FERRY_MIRROR_TOPIC_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "config/config.h"
#include "kafka/admin.h"

/* A topic of the service on both sides. */
struct topic_pair {
    char name[250];
    struct uuid source_id;
    struct uuid target_id; /* zero: to be created */
    int32_t source_partitions;
    int32_t
        target_partitions; /* 0: to be created; more than the source's is an error of this topic */
    char problem[256];     /* not mirrored, and why; "" = fine */
    char warning[256];     /* mirrored, but; "" = fine */
    bool gone_once; /* the source has no such topic; when the next turn hears it too, it is gone */
};

/* The topics of `source` that the service's patterns match, reserved names never, with their twins of `target`; sorted
 * by name, heap. Both lists are sorted in place. */
void topic_plan_pairs(const struct config_patterns *patterns, struct admin_topic *source,
                      size_t source_count, struct admin_topic *target, size_t target_count,
                      struct topic_pair **out, size_t *out_count);
/* Fills `problem` of a pair that can never be mirrored as it is. */
void topic_pair_judge(struct topic_pair *pair);

/* All settings of one topic, defaults included; list NULL = unknown. */
struct topic_settings {
    const struct admin_setting *list;
    size_t count;
};

struct topic_change {
    char name[128];
    char *value; /* what the target's topic is to have */
    char *old;   /* what is given back one day; NULL = then it is deleted */
    bool set;    /* false: it has this value already, only `old` is news */
    bool
        recorded; /* forced, so `old` must stand in the control topic; false: copied from the source */
};
struct topic_changes {
    struct topic_change *list;
    size_t count;
};
void topic_changes_done(struct topic_changes *changes);
bool topic_changes_any_set(const struct topic_changes *changes);
/* NULL-terminated name, value pairs of what is to be set, for admin calls: heap array of borrowed text. */
const char **topic_changes_pairs(const struct topic_changes *changes);

/* What a topic is created with: the source topic's own settings except those that belong to a cluster (throttles,
 * durability, tiered storage), and everything that is forced.
 *
 * @param known  the settings of any topic of the target: which names it knows; unknown = only names as old as Kafka 2.8
 */
void topic_plan_creation(struct topic_settings source, struct topic_settings known,
                         struct topic_changes *out);

/* What must be forced on a topic that stands at the target: only what differs.
 *
 * @param source    unknown = the source may not be read: its message size is not compared
 * @param recorded  what was forced on this very topic before, {SETTING:[old|null,new]}, or NULL; its `old` stays. When
 *                  nothing is recorded but the topic carries all that only a creation of ours sets, the source's own
 *                  settings are what is to be given back (the record was lost with a killed keeper)
 */
void topic_plan_existing(struct topic_settings source, struct topic_settings target,
                         const json_t *recorded, struct topic_changes *out);

#endif
