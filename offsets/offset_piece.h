/* A piece of a map that was rebuilt from the two logs: some runs of an unmapped stretch, in one text. Pure.
 *
 * Pieces of an incarnation are members of one sorted set, all of score 0, so that they stand in the order of their text;
 * the stretch that they lie in stays recorded. They follow one another from the top of the stretch down: where the lowest
 * begins, rebuilding goes on. What no piece speaks of is unmapped.
 *
 *   BEGIN_SOURCE BEGIN_TARGET UNTIL_SOURCE UNTIL_TARGET FIRST_SOURCE FIRST_TARGET LAST_LENGTH UNKNOWN TAIL PACKED
 *
 * Numbers decimal, the first two of 19 digits with leading zeros, one space behind each. FIRST and PACKED are what
 * offset_map.h says of a stream's entry (FIRST its first run, gaps from BEGIN); a piece without any run has FIRST = UNTIL,
 * LAST_LENGTH 0 and nothing packed. UNKNOWN: bit i is set when records stood before run i that could not be paired any
 * more (the source compacted them): that gap is unmapped, not a hole. TAIL (0 or 1): likewise behind the last run.
 */
#ifndef FERRY_OFFSETS_OFFSET_PIECE_H
#define FERRY_OFFSETS_OFFSET_PIECE_H

#include "offsets/offset_backlog.h"
#include "offsets/translate.h"

struct offset_piece {
    struct offset_stretch span; /* what it speaks of */
    struct offset_run runs[OFFSET_MAP_PACK];
    size_t runs_count; /* 0: nothing in the span was mirrored */
    uint64_t unknown;
    bool tail_unknown;
};

#define OFFSET_PIECE_BYTES (256 + sizeof(((struct offset_entry *)NULL)->packed))
/* @return bytes written to out */
size_t offset_piece_text(const struct offset_piece *piece, char out[OFFSET_PIECE_BYTES]);
/* What is stored is hostile: strict, all runs in order and within the span. ERR_REFUSED otherwise. */
MUST_CHECK
bool offset_piece_parse(const char *text, size_t len, struct offset_piece *out, struct err *err);

/* An offset as the first numbers of a piece's text. */
#define OFFSET_PIECE_NUMBER_BYTES 20
char *offset_piece_bound(int64_t offset, char out[OFFSET_PIECE_NUMBER_BYTES]);
/* The first two numbers, where the lowest piece of a stretch begins. */
#define OFFSET_PIECE_HEAD_BYTES 40
char *offset_piece_head(struct offset_place begin, char out[OFFSET_PIECE_HEAD_BYTES]);
MUST_CHECK
bool offset_piece_head_parse(const char *text, size_t len, struct offset_place *out);

/* Does it say something about this offset? */
bool offset_piece_covers(const struct offset_piece *piece, int64_t offset, bool from_target);
/* What it says of an offset that it covers: exact, rounded to what comes next, or unmapped. `out` has the offset of the
 * side that is asked for. */
void offset_piece_translate(const struct offset_piece *piece, int64_t offset, bool from_target,
                            struct translation *out);

#endif
