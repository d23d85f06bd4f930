/* What a group may have processed already where it goes on at the target, and how such a record is recognised. Pure.
 *
 *   from <= record < likely_until   read again for certain, as far as rates tell
 *   from <= record < until          may be read again
 *   until <= record                 no repeat: the group cannot have had it
 *
 * `until` is proof: where the mirror ended at the cut, or, of a group that nobody reads for any more, the records that were
 * at the source when its last member was gone. `likely_until` is the last commit that was seen, what the group reads between
 * two commits, and what it read after we looked for the last time. Both are offsets of the target.
 *
 * A record's stable name is source cluster id / topic / partition / source offset: whoever keeps what it has done under that
 * name knows a repeat for certain. `runs` tell the source offset of each record in [from, mapped_until).
 *
 * In a commit's metadata it is one line that carries its own end (some clients read behind the metadata's):
 *
 *   ferry1 op=OPERATION from=N likely=N until=N cluster=ID read=MS cut=MS mapped=N runs=T:S,T:S,... !
 *
 * MS since 1970 UTC, -1 = unknown; runs=- none. A run T:S says that the record at T is the source's at S; it ends where the next
 * begins, the last one at `mapped`. Topic and partition are those of the commit. Runs that have no room are left out from the
 * end; then mapped < until.
 */
#ifndef FERRY_OFFSETS_HINT_H
#define FERRY_OFFSETS_HINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"
#include "offsets/group_entry.h"
#include "offsets/offset_map.h"

#define HINT_OPERATION_BYTES 80
#define HINT_CLUSTER_BYTES   64
#define HINT_RUNS_MAX        200 /* 25 bytes each in JSON */

struct hint_origin { /* what all hints of one operation share */
    char operation[HINT_OPERATION_BYTES];
    char cluster[HINT_CLUSTER_BYTES]; /* of the source */
    int64_t cut_ms;                   /* wall clock: nothing of the source is mirrored after it */
};

struct hint_run {
    int64_t target_first;
    int64_t source_first;
};

struct hint {
    int64_t from;
    int64_t likely_until;
    int64_t until;
    int64_t
        read_ms; /* wall clock: the commit that `from` comes from was seen first; -1 = unknown */
    int64_t mapped_until;  /* `from` where nothing is known of source offsets */
    struct hint_run *runs; /* heap; ascending */
    size_t runs_count;
};
void hint_done(struct hint *hint);

struct hint_place {        /* what is known at the cut of a group's place in a partition */
    int64_t from;          /* target: where it goes on */
    int64_t mirrored_end;  /* target: >= from, or it is taken for `from` */
    int64_t source_offset; /* its last commit that was seen; -1 = unknown */
    int64_t source_limit;  /* nobody read for it at or behind that source offset; -1 = not known */
    bool
        limit_holds; /* seen so within GROUP_LATELY_MS of the cut: else somebody may have come since */
    struct group_pace pace; /* commits_ms 0 = unknown */
    int64_t read_ms;        /* as in struct hint */
    int64_t looked_ms;      /* wall clock: the source's commits were read last; -1 = unknown */
    int64_t alive_ms;       /* wall clock: the source's newest sign of life; -1 = unknown */
};
/* @param runs  of the partition around [from, mirrored_end), ascending, each with its length; NULL, 0 = the map is not known
 * @param most  so many runs the hint has, HINT_RUNS_MAX at most */
void hint_find(const struct hint_place *place, const struct offset_run *runs, size_t runs_count,
               size_t most, struct hint *out);

enum hint_seen {
    HINT_COMMITTED, /* before `from`: the group has committed past it */
    HINT_LIKELY,
    HINT_POSSIBLE,
    HINT_NEW, /* no repeat */
};
const char *hint_seen_text(enum hint_seen seen);
enum hint_seen hint_seen(const struct hint *hint, int64_t target_offset);
/* Which record of the source stands there? false: the hint does not tell. */
MUST_CHECK
bool hint_source(const struct hint *hint, int64_t target_offset, int64_t *out_source);

/* Far below offset.metadata.max.bytes (4,096 as it comes); some 20 runs. */
#define HINT_TEXT_BYTES 1024
/* `most` bounds the runs (0: none), for a broker that takes less. Returns out. */
char *hint_text(const struct hint_origin *origin, const struct hint *hint, size_t most,
                char out[HINT_TEXT_BYTES]);
/* Strict: what hint_text() writes and nothing else. ERR_REFUSED says which field is not of its form. */
MUST_CHECK
bool hint_parse(const char *text, size_t len, struct hint_origin *out_origin, struct hint *out,
                struct err *err);
/* Does it begin as one, of whatever version? NULL is none. */
bool hint_is(const char *text, size_t len);
/* Is it one of that operation? */
bool hint_is_of(const char *text, size_t len, const char *operation);

/* {"from","likely_until","until","read_ms","mapped_until","runs":[[target, source],..]}; new reference. */
json_t *hint_json(const struct hint *hint);
/* Its members, without the braces around them. */
void hint_put_json(const struct hint *hint, struct text *out);
/* Strict about what it knows; other members are left alone. ERR_REFUSED otherwise. */
MUST_CHECK
bool hint_json_parse(const json_t *value, struct hint *out, struct err *err);
/* May it stand for an operation or a cluster in the text? */
bool hint_word_ok(const char *word, size_t room);

#endif
