/* All groups of a link that are carried, with their places: the deciding core of group sync. Pure; one thread.
 *
 * Filled by what was read (Redis, the clusters' lists of groups, the source's commits, checkpoints), asked for what is to be
 * looked up in the map, read at the target, stored, committed. Bounded: GROUP_ENTRIES_MAX places; further ones are counted.
 */
#ifndef FERRY_OFFSETS_GROUP_TABLE_H
#define FERRY_OFFSETS_GROUP_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "offsets/checkpoint.h"
#include "offsets/group_entry.h"

#define GROUP_ENTRIES_MAX \
    1000000 /* about 300 bytes each: 300 MB, ten times what the second is promised for */
#define GROUP_PARTITIONS_MAX 200000 /* of one topic; what KRaft may have at all */
#define GROUP_ABSENT_MS      60000 /* a commit that the source does not show for so long is forgotten */

struct group_part { /* one mirrored partition */
    const char *topic;
    int32_t partition;
    uint64_t seen;                /* the last reading of checkpoints that had one of it; 0 = none */
    struct checkpoint checkpoint; /* of that */
    struct group_log log;         /* from checkpoint to checkpoint */
    int64_t target_begin;         /* of the target's log; -1 = unknown */
    bool limit_wanted;            /* by a group without members: group_table_limits() */
    uint64_t epoch;               /* what was translated before is of another map when it differs */
    struct group_entry **asks;    /* of this round, to be looked up; ascending by source offset */
    size_t asks_count;
    size_t asks_room;
    size_t entries_count; /* places of groups in it */
};

struct group_topic {
    char *name;
    bool mirrored;             /* in the link's list */
    struct group_part **parts; /* by partition; NULL = nobody spoke of it */
    int32_t parts_count;
};

enum group_kind {                 /* what becomes of it */
                  GROUP_CONSUMER, /* its offsets are all there is: carried */
                  GROUP_STREAMS, /* offsets carried; what it keeps in topics only as far as these are mirrored */
                  GROUP_CONNECT, /* Kafka Connect's workers: no offsets; a connector's group is a consumer */
                  GROUP_SHARE, /* a share group holds more than an offset: not carried */
                  GROUP_OTHER, /* members that are no consumers (schema registries): no offsets that mean something */
                  GROUP_KINDS_COUNT
};
const char *group_kind_name(enum group_kind kind);
/* By what a broker lists: protocol type ("" = none) and type ("" = not told). */
enum group_kind group_kind_of(const char *protocol_type, const char *type);
bool group_kind_carried(enum group_kind kind);

struct group {
    char *name;
    enum group_kind kind;
    bool at_source; /* listed in this round */
    int32_t source_broker;
    bool source_empty;     /* when it was listed last: it had members once, and has none */
    bool source_was_empty; /* likewise, the time before */
    bool source_members;   /* when it was listed last it had some */
    bool at_target; /* likewise; false with group_table.target_known: it has no members there */
    bool target_members;
    int32_t target_broker;        /* its coordinator; -1 = not known */
    bool due;                     /* the target is to be read in this round */
    bool read;                    /* the source's commits were read in this round */
    bool looked;                  /* the target's were */
    char refused[200];            /* why its coordinator refuses; "" = it does not */
    enum group_hold told;         /* what was logged of it last */
    struct group_entry **entries; /* by topic's address and partition */
    size_t entries_count;
    size_t entries_room;
    size_t near; /* where the last one was found */
};

struct group_table {
    struct group **groups; /* by name */
    size_t groups_count;
    size_t groups_room;
    struct group_topic **topics; /* by name */
    size_t topics_count;
    size_t topics_room;
    uint64_t reading; /* of checkpoints; counts them */
    size_t entries_count;
    size_t stored_count; /* fields of ours in Redis */
    uint64_t dropped;    /* places beyond the bound */
    size_t turn;         /* group that translation begins with */
};

struct group_table *group_table_new(void);
void group_table_free(struct group_table *table);

struct group *group_find(const struct group_table *table, const char *name, size_t len);
struct group *group_make(struct group_table *table, const char *name); /* or find */
/* Forget groups that nobody lists any more, and topics that are not mirrored any more, when they have no place left. */
void group_table_sweep(struct group_table *table);

struct group_topic *group_topic_find(const struct group_table *table, const char *name, size_t len);
struct group_topic *group_topic_make(struct group_table *table, const char *name);
/* The link's list: what is not in it is not mirrored, and not carried. */
void group_table_topics(struct group_table *table, const char *const *names, size_t count);
/* NULL: beyond GROUP_PARTITIONS_MAX. */
struct group_part *group_part_make(struct group_topic *topic, int32_t partition);
/* All checkpoints are read; those that group_part_checkpoint() is not told of now are not there. */
void group_table_reading(struct group_table *table);
/* One of them. Its map is another one when the incarnation changed, when it went back, or was not there before. */
void group_part_checkpoint(const struct group_table *table, struct group_part *part,
                           const struct checkpoint *checkpoint);

/* The place, or NULL. */
struct group_entry *group_entry_find(struct group *group, const struct group_part *part);
/* Find or make; NULL: the table is full. */
struct group_entry *group_entry_make(struct group_table *table, struct group *group,
                                     struct group_part *part);
/* Remove; its field in Redis is the caller's. */
void group_entry_remove(struct group_table *table, struct group *group, size_t index);

/* What Redis had was lost, or may be: everything is written again. */
void group_table_unstored(struct group_table *table);

/* Mark the partitions whose end at the source is wanted for groups that were read in this round. @return how many places */
size_t group_table_limits(struct group_table *table);
/* Translate what follows from a checkpoint alone (positions at the mirror's end and past it) and put what does not into its
 * part's asks, at most `most` of them. Then group_asks_sort(). @return how many are to be asked */
size_t group_table_map(struct group_table *table, int64_t now_ms, size_t most);
/* Ascending by source offset. */
void group_asks_sort(struct group_part *part);
#define GROUP_UNMAPPED_MS 5000 /* what is unmapped may be rebuilt meanwhile */
/* The map's answer for a place; unmapped ones are asked again later. */
void group_entry_mapped(struct group_entry *entry, const struct translation *found, int64_t now_ms);

struct group_counts { /* places, of groups that are carried */
    uint64_t verdicts[VERDICT_UNMAPPED + 1];
    uint64_t holds[GROUP_HOLDS_COUNT];
    uint64_t groups; /* carried, with a place */
    uint64_t kinds[GROUP_KINDS_COUNT];
    uint64_t member_groups;  /* with members at the target */
    uint64_t reread_groups;  /* that would read something again if they went on there now */
    uint64_t reread_records; /* so many, at most */
    uint64_t reread_unknown; /* places of which that is not known */
};
void group_table_count(const struct group_table *table, struct group_counts *out);

#endif
