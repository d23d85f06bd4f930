/* One group's place in one partition: what it has committed at the source, where that is at the target, what stands there,
 * and whether we may write. Pure.
 *
 * Promises: a commit of ours is never past the translation of the source's commit; it goes forward, and back only where the
 * source's group was rewound or the target lost records; it replaces our own last value alone. Where we never committed
 * (as after a flush of Redis) it goes forward alone, over a commit that is not past the translation.
 *
 * Kept in Redis, hash BASE:groups, field GROUP:TOPIC:PARTITION (a group may have colons in its name, a topic may not):
 *
 *   v2 SOURCE TARGET VERDICT COUNT HOLD COMMITTED BEFORE TIME READ OFFSETS COMMITS LIMIT METADATA
 *
 * Numbers decimal, -1 = none. TARGET the translation; COUNT of an `ahead` or `lost` verdict; COMMITTED what we committed at
 * the target last, or are about to; BEFORE what stood there when we did; TIME in ms since 1970 UTC, of that commit; READ
 * likewise, when SOURCE was seen first; OFFSETS and COMMITS the group's pace; LIMIT a source offset at or behind which nobody
 * read for the group; METADATA "-" for none, else "=" and the group's own text to the end. v1 has no READ .. LIMIT.
 */
#ifndef FERRY_OFFSETS_GROUP_ENTRY_H
#define FERRY_OFFSETS_GROUP_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "offsets/translate.h"

enum group_hold {
    GROUP_FREE,    /* nothing keeps the translation from being committed at the target */
    GROUP_OFF,     /* the service's configuration says that none is */
    GROUP_MEMBERS, /* the group has members at the target: it is theirs */
    GROUP_FOREIGN, /* somebody else committed there since we did */
    GROUP_PAST,    /* the target's commit is past the translation, and not ours to take back */
    GROUP_REFUSED, /* the target's coordinator refuses it, or does not answer */
    GROUP_HOLDS_COUNT
};
const char *group_hold_name(enum group_hold hold);

#define GROUP_METADATA_BYTES \
    4096 /* offset.metadata.max.bytes is 4,096 as it comes; longer is cut */

struct group_part;

/* Mean of what was seen lately. Commits faster than we look count as one a look. */
struct group_pace {
    int64_t offsets;    /* of the source, between two commits */
    int64_t commits_ms; /* between two commits; 0 = not known */
};
#define GROUP_LOOK_EACH_MS 1000 /* the source's commits are read so often */
/* Source offsets read since the last commit that was seen: up to the next one, and what nobody looked at since.
 * @param unseen_ms  since the last look
 * @return INT64_MAX where it does not fit; the pace is known */
int64_t group_pace_unseen(const struct group_pace *pace, int64_t unseen_ms);

struct group_log { /* of a partition at the target, as the keeper sees it */
    int64_t end;   /* everything that was mirrored lies below it */
    int64_t grown; /* by so many offsets between two looks: the most lately */
    int64_t still; /* looks since it grew last */
};

struct group_facts {       /* what is kept */
    int64_t source_offset; /* -1 = none any more */
    int64_t target_offset; /* -1 = no translation */
    enum verdict verdict;
    int64_t count; /* source offsets ahead of the mirror; target offsets lost */
    enum group_hold hold;
    int64_t committed; /* -1 = we never did */
    int64_t before;
    int64_t read_ms; /* wall clock: source_offset was seen first; -1 = unknown */
    struct group_pace pace;
    int64_t
        limit; /* the source's end when the group was seen without members; -1 = it has some, or not known */
};

struct group_entry {
    struct group_part *part; /* of the table */
    struct group_facts facts;
    char *metadata; /* of the source's commit; heap, NULL = none */
    int64_t time_ms;
    /* kept in Redis so */
    bool stored;
    bool metadata_stored;
    struct group_facts stored_facts;
    /* translated */
    bool mapped; /* the three below are of source_offset, in the map as it is */
    struct translation found;
    uint64_t found_epoch; /* of the part's map */
    bool at_end; /* it stood at the mirror's end: where the next record came to be is asked then */
    int64_t ask_ms; /* what is known is asked again then; what is unmapped, not before */
    /* read */
    int64_t absent_ms; /* not in the source's answers since; 0 = it is */
    int64_t seen_ms;   /* loop clock: the source's answer had it last; 0 = not since we began */
    int64_t moved_ms;  /* likewise, and its offset was another one; 0 = not since we began */
    int64_t stood;     /* looks since its offset was another one */
    int64_t burst;     /* source offsets between two commits: the most lately; not kept in Redis */
    bool rewound;      /* at the source, since our last commit */
    int64_t past_ms;   /* our own commit is past the translation since; 0 = it is not */
    int64_t look_ms;   /* the target is to be read again then */
    int64_t target_seen; /* what it had at the last look, or what we committed since; -1 = none */
    bool metadata_seen;  /* the same metadata stands there */
    bool
        by_hand; /* it moved while the group had no members: somebody reads with assigned partitions, unseen */
    /* of the round under way */
    uint64_t round;     /* the last one in which the source's answer had it */
    bool pending;       /* the map was not asked, or did not answer: nothing is decided */
    bool due;           /* the target is read for it */
    int64_t target_now; /* what it has; -1 = none */
    bool same_metadata;
    bool committing;
};

struct group_target { /* what is known of the target when it is decided */
    bool off;
    bool members;
    int64_t offset; /* its commit; -1 = none */
    bool same_metadata;
    int64_t now_ms;  /* loop clock */
    int64_t wall_ms; /* wall clock */
};

#define GROUP_LATELY_MS \
    5000 /* so long BASE:groups-lately stands behind a look at the source's groups */
#define GROUP_TOUCH_MS 21600000 /* 6 h: far below offsets.retention.minutes, 7 days as it comes */
#define GROUP_LOOK_MS  60000    /* a target that does as it should is read again so often */
#define GROUP_HELD_MS  5000     /* and one that holds something back */
#define GROUP_PAST_MS \
    10000 /* a Redis that was put back heals within a moment; a truncated target does not */

/* So that what began together is not due together: up to half of what it is added to. */
int64_t group_entry_jitter(const struct group_entry *entry, int64_t of_ms);
/* A source commit was read: facts, what is to be translated again, whether it was rewound, its pace. A hint of ours
 * (offsets/hint.h) is no metadata of the group's.
 * @param now_ms, wall_ms  loop and wall clock
 * @return it is another offset than before */
bool group_entry_source(struct group_entry *entry, int64_t offset, const char *metadata,
                        size_t metadata_len, int64_t now_ms, int64_t wall_ms);
/* Can somebody have read for it who did not commit? Behind group_entry_source().
 * @param empty, was_empty  the group had no members when it was listed last, and the time before
 * @param moved  its commit is another one than at the last look */
void group_entry_readers(struct group_entry *entry, bool empty, bool was_empty, bool moved);
/* Is the source's end to be asked for, which bounds what was read for it? */
bool group_entry_wants_limit(const struct group_entry *entry, bool empty);
void group_entry_limit(struct group_entry *entry, int64_t source_end);
/* Verdict and target offset from the map's answer and where the target's log begins (-1 = not known). */
void group_entry_settle(struct group_entry *entry, int64_t target_begin);
/* Has it to be decided, and the target to be read for it? */
bool group_entry_due(const struct group_entry *entry, bool off, bool members, int64_t now_ms,
                     int64_t wall_ms);
/* Decide. true: commit facts.target_offset; then `committed`, `before` and the time say so already, to be stored first. */
MUST_CHECK
bool group_entry_decide(struct group_entry *entry, const struct group_target *target);
/* What the target answered to the commit. */
void group_entry_answered(struct group_entry *entry, bool ok, enum group_hold why, int64_t now_ms);
/* Records of the target that the group would read again, at most, if the source went away now and it went on there: from what
 * stands there to where it may have read. A group that reads on gets what it reads up to its next commit and until we look
 * again, late: the log grows meanwhile. One that nobody reads for, and one that stands at a log that stands, no more than there is.
 * -1 = not known: nothing stands there, or it has no translation. */
int64_t group_entry_reread(const struct group_entry *entry, const struct group_log *log);
/* Does what Redis holds differ? */
bool group_entry_unsaved(const struct group_entry *entry);
/* It is sent: it stands there, unless the round fails. */
void group_entry_saved(struct group_entry *entry);
void group_entry_done(struct group_entry *entry); /* what it owns */

#define GROUP_TEXT_BYTES (384 + GROUP_METADATA_BYTES)
/* @return bytes written to out, a NUL behind them */
size_t group_entry_text(const struct group_entry *entry, char out[GROUP_TEXT_BYTES]);
/* Strict. Only facts, metadata and time are filled in. ERR_REFUSED otherwise. */
MUST_CHECK
bool group_entry_parse(const char *text, size_t len, struct group_entry *out, struct err *err);

#define GROUP_FIELD_BYTES \
    700 /* group ids have no bound in Kafka but a string's: longer ones are not carried */
/* false: too long. */
MUST_CHECK
bool group_field_text(const char *group, const char *topic, int32_t partition,
                      char out[GROUP_FIELD_BYTES]);
MUST_CHECK
bool group_field_parse(const char *text, size_t len, char out_group[GROUP_FIELD_BYTES],
                       char out_topic[TOPIC_NAME_BYTES], int32_t *out_partition);

#endif
