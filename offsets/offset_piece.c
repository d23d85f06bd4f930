#include "offsets/offset_piece.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "offsets/checkpoint.h"

#define PADDED 19 /* digits of INT64_MAX */

/* --- text --------------------------------------------------------------------------------------------------------- */

char *offset_piece_bound(int64_t offset, char out[OFFSET_PIECE_NUMBER_BYTES])
{
    assert(offset >= 0);
    snprintf(out, OFFSET_PIECE_NUMBER_BYTES, "%0*" PRId64, PADDED, offset);
    return out;
}

char *offset_piece_head(struct offset_place begin, char out[OFFSET_PIECE_HEAD_BYTES])
{
    assert(begin.source >= 0 && begin.target >= 0);
    snprintf(out, OFFSET_PIECE_HEAD_BYTES, "%0*" PRId64 " %0*" PRId64, PADDED, begin.source, PADDED,
             begin.target);
    return out;
}

size_t offset_piece_text(const struct offset_piece *piece, char out[OFFSET_PIECE_BYTES])
{
    struct offset_entry entry = {.packed_len = 0};
    struct offset_place first = piece->span.until;
    int64_t last_length = 0;
    char head[OFFSET_PIECE_HEAD_BYTES];
    if (piece->runs_count > 0) {
        offset_entry_pack(&entry, piece->span.begin.source, piece->span.begin.target, piece->runs,
                          piece->runs_count);
        first = (struct offset_place){piece->runs[0].source_first, piece->runs[0].target_first};
        last_length = piece->runs[piece->runs_count - 1].length;
    }
    int len =
        snprintf(out, OFFSET_PIECE_BYTES,
                 "%s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRIu64 " %d ",
                 offset_piece_head(piece->span.begin, head), piece->span.until.source,
                 piece->span.until.target, first.source, first.target, last_length, piece->unknown,
                 piece->tail_unknown ? 1 : 0);
    assert(len > 0 && (size_t)len + entry.packed_len <= OFFSET_PIECE_BYTES);
    memcpy(out + len, entry.packed, entry.packed_len);
    return (size_t)len + entry.packed_len;
}

/* Nineteen digits. */
static bool take_padded(const char *text, int64_t *out)
{
    size_t zeros = strspn(text, "0");
    zeros = zeros < PADDED ? zeros : PADDED - 1;
    return decimal_parse(text + zeros, PADDED - zeros, out) && *out >= 0;
}

bool offset_piece_head_parse(const char *text, size_t len, struct offset_place *out)
{
    struct offset_place place;
    if (len != 2 * PADDED + 1 || text[PADDED] != ' ' || !take_padded(text, &place.source) ||
        !take_padded(text + PADDED + 1, &place.target)) {
        return false;
    }
    *out = place;
    return true;
}

/* 64 bits without a sign, in the one shortest form. */
static bool take_mask(const char *text, size_t len, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value)) {
            return false;
        }
    }
    *out = value;
    return len > 0 && (text[0] != '0' || len == 1);
}

struct head { /* the numbers behind BEGIN */
    int64_t until[2];
    int64_t first[2];
    int64_t last_length;
    uint64_t unknown;
    int64_t tail;
};

/* @return where the packed bytes begin, NULL: that is no piece */
static const char *take_head(const char *text, size_t len, struct head *out)
{
    int64_t *const numbers[] = {&out->until[0],    &out->until[1], &out->first[0], &out->first[1],
                                &out->last_length, NULL,           &out->tail};
    const char *end = text + len;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        const char *space = memchr(text, ' ', (size_t)(end - text));
        if (space == NULL) {
            return NULL;
        }
        size_t digits = (size_t)(space - text);
        bool ok = numbers[i] == NULL ? take_mask(text, digits, &out->unknown)
                                     : decimal_parse(text, digits, numbers[i]) && *numbers[i] >= 0;
        if (!ok) {
            return NULL;
        }
        text = space + 1;
    }
    return text;
}

static bool run_within(const struct offset_run *run, const struct offset_place *until)
{
    return run->length > 0 && run->source_first <= until->source &&
           run->target_first <= until->target && run->length <= until->source - run->source_first &&
           run->length <= until->target - run->target_first;
}

static bool take_runs(const struct head *head, const char *packed, size_t len,
                      struct offset_piece *out, struct err *err)
{
    int64_t source_gap;
    int64_t target_gap;
    const struct offset_stretch *span = &out->span;
    if (len == 0) {
        out->runs_count = 0;
        return head->first[0] == span->until.source && head->first[1] == span->until.target &&
               head->last_length == 0;
    }
    if (head->first[0] == INT64_MAX ||
        !offset_entry_unpack(head->first[0] + 1, head->first[1], (const uint8_t *)packed, len,
                             out->runs, &out->runs_count, &source_gap, &target_gap, err)) {
        return false;
    }
    out->runs[out->runs_count - 1].length = head->last_length;
    bool ok = head->first[0] - source_gap == span->begin.source &&
              head->first[1] - target_gap == span->begin.target;
    for (size_t i = 0; ok && i < out->runs_count; i++) { /* their order is unpack's word */
        ok = run_within(&out->runs[i], &span->until);
    }
    return ok;
}

bool offset_piece_parse(const char *text, size_t len, struct offset_piece *out, struct err *err)
{
    struct head head;
    size_t begins = 2 * PADDED + 1;
    *out = (struct offset_piece){0};
    const char *packed = NULL;
    if (len > begins + 1 && text[begins] == ' ' &&
        offset_piece_head_parse(text, begins, &out->span.begin)) {
        packed = take_head(text + begins + 1, len - begins - 1, &head);
    }
    if (packed != NULL) {
        out->span.until = (struct offset_place){head.until[0], head.until[1]};
        out->unknown = head.unknown;
        out->tail_unknown = head.tail == 1;
    }
    struct err inner = {0};
    if (packed == NULL || head.tail > 1 || out->span.begin.source > out->span.until.source ||
        out->span.begin.target > out->span.until.target ||
        !take_runs(&head, packed, (size_t)(text + len - packed), out, &inner) ||
        (out->runs_count < OFFSET_MAP_PACK && head.unknown >> out->runs_count != 0)) {
        return err_set(err, ERR_REFUSED, "a piece of the rebuilt map has a strange form");
    }
    return true;
}

/* --- lookups ------------------------------------------------------------------------------------------------------ */

static int64_t side(struct offset_place place, bool from_target)
{
    return from_target ? place.target : place.source;
}

static struct offset_place begin_of(const struct offset_run *run)
{
    return (struct offset_place){run->source_first, run->target_first};
}

bool offset_piece_covers(const struct offset_piece *piece, int64_t offset, bool from_target)
{
    return side(piece->span.begin, from_target) <= offset &&
           offset < side(piece->span.until, from_target);
}

static void answer(struct translation *out, enum verdict verdict, bool from_target, int64_t other)
{
    out->verdict = verdict;
    out->ahead_count = 0;
    *(from_target ? &out->source_offset : &out->target_offset) = other;
}

void offset_piece_translate(const struct offset_piece *piece, int64_t offset, bool from_target,
                            struct translation *out)
{
    size_t next = 0; /* first run behind the offset */
    while (next < piece->runs_count && side(begin_of(&piece->runs[next]), from_target) <= offset) {
        next++;
    }
    if (next > 0) {
        const struct offset_run *floor = &piece->runs[next - 1];
        int64_t inside = offset - side(begin_of(floor), from_target);
        if (inside < floor->length) {
            answer(out, VERDICT_EXACT, from_target, side(begin_of(floor), !from_target) + inside);
            return;
        }
    }
    bool last = next == piece->runs_count;
    if (last ? piece->tail_unknown : (piece->unknown >> next & 1) != 0) {
        answer(out, VERDICT_UNMAPPED, from_target, -1);
        return;
    }
    /* What comes behind the piece stands at its end or later, and nothing of ours in between. */
    struct offset_place to = last ? piece->span.until : begin_of(&piece->runs[next]);
    answer(out, VERDICT_ROUNDED, from_target, side(to, !from_target));
}
