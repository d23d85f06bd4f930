/* Two logs of one partition, read forward side by side and compared by the map: the deciding part of `ferry verify`.
 *
 * No I/O: sides and map are given as calls. Both sides show what a consumer sees (read_committed), in rising offsets. What
 * is found:
 *
 *   lost       the source has a record that the map sends to a target offset where nothing is, or that it calls a hole
 *   differing  both are there and are not the same
 *   doubled    the target has a record that the map does not know, and it is the same as one it was seen to hold before
 *   foreign    ... and it is not
 *
 * What cannot be judged is counted, never guessed: expired (the target's log begins behind it), unmapped, compacted (one
 * side of a compacted topic lacks it), forgotten (the target holds it, the source does not any more), unjudged (in a hole
 * of the map, and which filter the mirror had then is not known). What the service's filter leaves out is filtered, and
 * right.
 */
#ifndef FERRY_CLI_COMPARE_H
#define FERRY_CLI_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "offsets/translate.h"

struct compare_record {
    int64_t offset;
    uint64_t digest;     /* of all that is compared: the same records have the same */
    const void *message; /* for `same` */
};

enum compare_read { COMPARE_RECORD, COMPARE_END, COMPARE_FAILED };

struct compare_side {
    /* The record in front; it stays there. END: none below the side's end. FAILED: err says why. */
    enum compare_read (*peek)(void *arg, struct compare_record *out, struct err *err);
    void (*pop)(void *arg);
    void *arg;
};

enum compare_kind {
    COMPARE_LOST,
    COMPARE_DOUBLED,
    COMPARE_DIFFERING,
    COMPARE_FOREIGN,
    COMPARE_KINDS
};
const char *compare_kind_text(enum compare_kind kind);

struct compare_finding { /* `count` records in a row on both sides */
    enum compare_kind kind;
    int64_t source_offset; /* -1 = none */
    int64_t target_offset; /* -1 = none */
    int64_t count;
};

/* Records seen on the target, for "doubled": the newest 512 Ki to 1 Mi of them; 16 bytes each, at most half full: 32 MiB. */
#define COMPARE_SEEN_MAX (512 << 10)
struct compare_seen_slot {
    uint64_t digest; /* 0 = free */
    int64_t source_offset;
};
struct compare_seen {
    struct compare_seen_slot *slots;
    size_t capacity; /* a power of two */
    size_t count;
};

struct compare_counts {
    uint64_t compared; /* pairs */
    uint64_t wrong[COMPARE_KINDS];
    uint64_t expired;
    uint64_t unmapped;
    uint64_t compacted;
    uint64_t forgotten;
    uint64_t filtered; /* of the source, nowhere on the target, and the filter leaves them out */
    uint64_t unjudged; /* of the source, nowhere on the target; another filter may have had them */
    uint64_t
        behind; /* on the target behind the checkpoint, in the source's order: not mapped yet */
};

struct compare {
    struct compare_side source;
    struct compare_side target;
    bool (*same)(void *arg, const void *source, const void *target);
    /* Does a source record pass the service's filter? NULL = there is none. */
    bool (*belongs)(void *arg, const void *source);
    int64_t filter_from; /* source offset from which on the mirror had that filter; 0 = always */
    /* The whole map, for offsets between the runs; false = it could not be asked. */
    bool (*translate)(void *arg, int64_t offset, bool from_target, struct translation *out,
                      struct err *err);
    void (*found)(void *arg, const struct compare_finding *finding); /* ranges, in order */
    void *arg;
    const struct offset_run *runs; /* of the newest incarnation, oldest first */
    size_t runs_count;
    int64_t source_begin; /* where the logs begin */
    int64_t target_begin;
    bool compacted;
    struct compare_counts counts;
    /* private */
    size_t source_run;
    size_t target_run;
    int64_t unmapped_until; /* source offsets below are unmapped, as far as the gap goes */
    struct compare_seen seen;
    struct compare_seen older;
    struct compare_finding open; /* count 0 = none */
};

/* Everything that the sides show. false with err: a side or the map could not be read to its end; the counts are true for
 * what was read. */
MUST_CHECK
bool compare_run(struct compare *compare, struct err *err);
/* Then, behind the checkpoint: what the target still shows must be what the source shows next, in its order and but for
 * what is filtered. @pre the mirror has the filter there: filter_from is not behind it */
MUST_CHECK
bool compare_tail(struct compare *compare, struct err *err);
/* Tell the last finding, free what was remembered. Counts stay. */
void compare_done(struct compare *compare);

#endif
