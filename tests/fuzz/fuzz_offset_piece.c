/* A piece of the rebuilt map as Redis gives it. What is taken is written in the same bytes again, its runs lie in order
 * within its span, and every offset that it covers has an answer within it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "offsets/offset_piece.h"

static void check_runs(const struct offset_piece *piece)
{
    struct offset_place at = piece->span.begin;
    for (size_t i = 0; i < piece->runs_count; i++) {
        const struct offset_run *run = &piece->runs[i];
        if (run->length <= 0 || run->source_first < at.source || run->target_first < at.target) {
            abort();
        }
        at =
            (struct offset_place){run->source_first + run->length, run->target_first + run->length};
    }
    if (at.source > piece->span.until.source || at.target > piece->span.until.target) {
        abort();
    }
}

static void check_answer(const struct offset_piece *piece, int64_t offset, bool from_target)
{
    struct translation out = {.source_offset = offset, .target_offset = offset};
    if (!offset_piece_covers(piece, offset, from_target)) {
        return;
    }
    offset_piece_translate(piece, offset, from_target, &out);
    int64_t to = from_target ? out.source_offset : out.target_offset;
    int64_t begin = from_target ? piece->span.begin.source : piece->span.begin.target;
    int64_t until = from_target ? piece->span.until.source : piece->span.until.target;
    if (out.verdict == VERDICT_UNMAPPED ? to != -1 : to < begin || to > until) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct offset_piece piece;
    struct err err = {0};
    char again[OFFSET_PIECE_BYTES];
    char *text = malloc(size + (size == 0)); /* as long as it is, so that a read beyond is seen */
    memcpy(text, data, size);
    if (offset_piece_parse(text, size, &piece, &err)) {
        check_runs(&piece);
        if (offset_piece_text(&piece, again) != size || memcmp(again, text, size) != 0) {
            abort();
        }
        check_answer(&piece, piece.span.begin.source, false);
        check_answer(&piece, piece.span.until.source - 1, false);
        check_answer(&piece, piece.span.begin.target, true);
        check_answer(&piece, piece.span.until.target - 1, true);
    } else if (err.kind != ERR_REFUSED) {
        abort();
    }
    free(text);
    return 0;
}
