/* Inside of topic_sync: one turn, and what its parts share. Nobody else includes this.
 *
 *   topic_sync    lists both sides, decides and plans; remembers and tells what came of it
 *   topic_act     acts at the target: record, create, grow, alter
 *   topic_record  the outcome, as it is recorded and as people read it
 */
#ifndef FERRY_MIRROR_TOPIC_SYNC_INSIDE_H
#define FERRY_MIRROR_TOPIC_SYNC_INSIDE_H

#include "mirror/topic_follow.h"
#include "mirror/topic_memory.h"
#include "mirror/topic_sync.h"

struct work { /* beside each pair */
    const struct remembered *before;
    bool create;
    bool check;
    bool checked; /* now */
    struct admin_topic_config source;
    struct admin_topic_config target;
    struct topic_changes changes; /* forced; of a creation: all */
    struct topic_changes follows;
    json_t *drifts; /* of this check; NULL = not checked */
    bool bare;      /* the target did not take it with the source's settings: created without */
};

struct turn {
    const struct config_service *service;
    struct admin *source;
    struct admin *target;
    struct topic_memory *memory;
    const struct topic_hooks *hooks;
    int64_t now_ms;
    struct admin_topic *source_topics;
    size_t source_count;
    struct admin_topic *target_topics;
    size_t target_count;
    struct topic_pair *pairs;
    struct work *works;
    size_t count;
    size_t created_count;
};

static inline struct topic_settings settings_of(const struct admin_topic_config *config)
{
    bool there = config->err.kind == ERR_NONE && config->settings;
    return (struct topic_settings){there ? config->settings : NULL,
                                   there ? config->settings_count : 0};
}

/* topic_sync */
/* Was its first check passed already? Then it goes on through what may fail now. */
bool turn_stands(const struct turn *turn, size_t i);
/* That is wrong with pair i: a warning while it stands, else a problem, which keeps it from being mirrored. */
void turn_trouble(struct turn *turn, size_t i, const struct err *err);
/* What is planned, into memory, from where the records are built. */
void turn_note_planned(struct turn *turn);
/* The target once more: the new topics' ids, and what others made of them. */
MUST_CHECK
bool turn_list_again(struct turn *turn, struct err *err);

/* topic_act: each asks hooks->may_act right before it changes anything. false with err: the turn ends here; what a single
 * topic could not be helped with stands in its pair. */
/* Make durable what standing topics' settings were, where any will be changed. Topics that were not mirrored yet stay out of
 * the record until their settings are forced. */
MUST_CHECK
bool turn_record_intent(struct turn *turn, struct err *err);
MUST_CHECK
bool turn_create(struct turn *turn, struct err *err);
MUST_CHECK
bool turn_grow(struct turn *turn, struct err *err);
MUST_CHECK
bool turn_alter(struct turn *turn, struct err *err);

/* topic_record */
/* What is recorded of the turn as it is now. topic_sync_done() is the caller's. */
void turn_record(const struct turn *turn, struct topic_sync *out);
/* Likewise with what stays different, and the news, which is told once. */
void turn_outcome(struct turn *turn, struct topic_sync *out);

#endif
