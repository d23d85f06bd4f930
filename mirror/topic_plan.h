/* What must change at the target so that a topic can be mirrored: which topics belong, which settings a new one gets,
 * which settings of one that stands there are forced and what is given back later. Pure: lists in, lists out.
 *
 * What else follows the source on a topic that stands there: mirror/topic_follow.
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
    int32_t target_replicas;
    char problem[256]; /* not mirrored, and why; "" = fine */
    char warning[256]; /* mirrored, but; "" = fine */
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
/* By name; NULL = the cluster does not know it. */
const struct admin_setting *topic_setting(struct topic_settings settings, const char *name);
/* The topic's own value; NULL when it follows the broker's. */
const char *topic_setting_own(struct topic_settings settings, const char *name);
/* A value of a broker, so not trusted to be a number: -1 then, and for NULL. */
int64_t topic_setting_number(const struct admin_setting *setting);

struct topic_change {
    char name[128];
    char *value;   /* what the target's topic is to have; NULL = nothing of its own */
    char *old;     /* what stood there before us; NULL = nothing of its own */
    bool set;      /* false: it has this value already, only what is recorded is news */
    bool recorded; /* `old` must stand in the control topic */
    bool
        follows; /* the source's; false: forced, to be given back when the target becomes primary */
    bool ends;   /* it is not ours any more once it is done: out of the record */
    bool first;  /* nothing was recorded before */
};
struct topic_changes {
    struct topic_change *list;
    size_t count;
};
/* Room for `most` changes. */
void topic_changes_init(struct topic_changes *changes, size_t most);
/* `set` is true; texts are copied. */
struct topic_change *topic_changes_add(struct topic_changes *changes, const char *name,
                                       const char *value);
void topic_changes_done(struct topic_changes *changes);
bool topic_changes_any_set(const struct topic_changes *changes);
/* NULL-terminated name, value pairs of what is to be set, for admin calls: heap array of borrowed text. */
const char **topic_changes_pairs(const struct topic_changes *changes);
/* Take out what is set because the source has it: the target refused to create the topic with it. */
void topic_changes_keep_forced(struct topic_changes *changes);
/* What a record {SETTING:[old|null,new]} says; false when it says nothing that makes sense. Borrowed. */
bool topic_recorded(const json_t *recorded, const char *name, const char **out_old,
                    const char **out_new);

/* The value that a setting is forced to, whatever the source has; NULL for all others, the size too. */
const char *topic_plan_forced_value(const char *name);

/* What a topic is created with: those of the source topic's own settings that follow (never what belongs to a cluster:
 * throttles, durability, tiered storage), and everything that is forced.
 *
 * @param known  the settings of any topic of the target: which names it knows; unknown = only names as old as Kafka 2.8
 */
void topic_plan_creation(const struct config_service *service, struct topic_settings source,
                         struct topic_settings known, struct topic_changes *out);

/* What must be forced on a topic that stands at the target: only what differs.
 *
 * @param source    unknown = the source may not be read: its message size is not compared
 * @param recorded  what was forced on this very topic before, {SETTING:[old|null,new]}, or NULL; its `old` stays. When
 *                  nothing is recorded but the topic carries all that only a creation of ours sets, the source's own
 *                  settings are what is to be given back (the record was lost with a killed keeper)
 */
/* Nothing is recorded, but the topic carries all that only a creation of ours sets. */
bool topic_plan_looks_ours(struct topic_settings target, const json_t *recorded);
void topic_plan_existing(struct topic_settings source, struct topic_settings target,
                         const json_t *recorded, struct topic_changes *out);

#endif
