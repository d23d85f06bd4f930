/* mirror/rebuild over two logs that are made up: what its pieces say of every offset is the truth, or "unmapped". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mirror/rebuild.h"
#include "mirror/sequence.h"
#include "tests/fake/batches.h"

#define ID_BASE    ((int64_t)SEQUENCE_ID_PREFIX << 47 | (int64_t)7 << 15)
#define GENERATION 3
#define SLOTS_MAX  4000

static uint64_t random_state;
static int64_t pick(int64_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((random_state >> 33) % (uint64_t)below);
}

/* --- two logs ----------------------------------------------------------------------------------------------------- */

enum kind { RECORD, MARKER, ABORTED, FOREIGN, OLDER };
struct slot {
    enum kind kind;
    int batch;
    int content;
    int64_t other; /* offset on the other side when it was mirrored; -1 = was not */
    bool gone;     /* compacted since */
};
struct side_log {
    struct slot slots[SLOTS_MAX];
    int64_t end;
    int64_t start;
    int batches;
};
static struct side_log source;
static struct side_log target;

static struct slot *append(struct side_log *side, enum kind kind, int content)
{
    struct slot *slot = &side->slots[side->end];
    bool joins = side->end > 0 && slot[-1].kind == kind && kind != MARKER && pick(4) > 0;
    *slot = (struct slot){.kind = kind,
                          .batch = joins ? side->batches : ++side->batches,
                          .content = content,
                          .other = -1};
    assert_true(side->end < SLOTS_MAX - 1);
    side->end++;
    return slot;
}

struct shape {
    int records;
    int markers; /* one of so many; 0 = never */
    int foreign;
    int twins;    /* one of so many has the content of the one before */
    int filtered; /* one of so many has a key that does not belong */
};

static bool is_filtered(int content)
{
    return content < 0;
}

static void mirror(enum kind kind, int content)
{
    int64_t at = source.end;
    append(&source, RECORD, content)->other = target.end;
    append(&target, kind, content)->other = kind == RECORD ? at : -1;
}

static void make_logs(uint64_t seed, const struct shape *shape)
{
    random_state = seed;
    memset(&source, 0, sizeof(source));
    memset(&target, 0, sizeof(target));
    int content = 0;
    for (int i = 0; i < shape->records; i++) {
        if (shape->markers > 0 && pick(shape->markers) == 0) {
            for (int64_t n = pick(4); n > 0; n--) {
                append(&source, ABORTED, 100000 + i);
            }
            append(&source, MARKER, 0);
        }
        if (shape->foreign > 0 && pick(shape->foreign) == 0) {
            append(&target, FOREIGN, 200000 + i);
        }
        if (shape->filtered > 0 && pick(shape->filtered) == 0) {
            append(&source, RECORD, -1 - i);
        }
        content += shape->twins == 0 || pick(shape->twins) > 0;
        mirror(RECORD, content);
    }
}

static int64_t batch_end(const struct side_log *side, int64_t at)
{
    int batch = side->slots[at].batch;
    while (at < side->end && side->slots[at].batch == batch) {
        at++;
    }
    return at;
}

static int64_t producer_of(const struct slot *slot)
{
    return slot->kind == RECORD  ? sequence_id(ID_BASE, GENERATION)
           : slot->kind == OLDER ? sequence_id(ID_BASE, GENERATION - 1)
                                 : 17;
}

/* The batch [from, to) as a broker gives it; compaction may have taken it whole. */
static bool write_batch(const struct side_log *side, int64_t from, int64_t to, struct writer *out)
{
    struct fake_record records[SLOTS_MAX];
    static char values[SLOTS_MAX][16];
    int32_t count = 0;
    for (int64_t at = from; at < to; at++) {
        const struct slot *slot = &side->slots[at];
        if (!slot->gone && slot->kind != MARKER) {
            snprintf(values[count], sizeof(values[count]), "c%d", slot->content);
            records[count] =
                (struct fake_record){.offset_delta = (int32_t)(at - from),
                                     .timestamp_delta = slot->content + 300000,
                                     .key = is_filtered(slot->content) ? "other" : "mine",
                                     .value = values[count]};
            count++;
        }
    }
    const struct slot *first = &side->slots[from];
    if (count == 0 && first->kind != MARKER && first->batch % 2 == 0) {
        return false;
    }
    const struct fake_batch batch = {
        .base_offset = from,
        .attributes = first->kind == MARKER ? BATCH_CONTROL | BATCH_TRANSACTIONAL : 0,
        .codec = first->batch % 3 == 0 ? CODEC_LZ4 : CODEC_NONE,
        .last_offset_delta = (int32_t)(to - from - 1),
        .producer_id = side == &target ? producer_of(first) : 5,
        .base_sequence = 1,
        .records = records,
        .count = count};
    fake_batch_write(out, &batch);
    return true;
}

static void give(struct rebuild *rebuild, const struct side_log *side)
{
    int64_t at = rebuild->ask_from;
    assert_true(at >= side->start && rebuild->ask_to <= side->end && at < rebuild->ask_to);
    while (at > 0 && side->slots[at - 1].batch == side->slots[at].batch) { /* whole batches */
        at--;
    }
    while (at < rebuild->ask_to) {
        struct writer bytes;
        struct batch batch;
        struct err err = {0};
        int64_t to = batch_end(side, at);
        writer_init(&bytes);
        if (write_batch(side, at, to, &bytes)) {
            assert_int_equal(batch_walk(bytes.data, bytes.len, &batch, &err), BATCH_WALK_ONE);
            bool kept = side->slots[at].kind == RECORD && batch.count > 0;
            assert_true(side == &target ? rebuild_target_batch(rebuild, &batch, &err)
                                        : rebuild_source_batch(rebuild, &batch, kept, &err));
        }
        writer_done(&bytes);
        at = to;
    }
}

/* --- rebuilding --------------------------------------------------------------------------------------------------- */

#define PIECES_MAX 2000
static struct offset_piece pieces[PIECES_MAX]; /* newest first */
static size_t pieces_count;
static struct err stopped; /* ERR_NONE: it came to the end */
static int blocks_count;
static const struct config_filter *filter;

/* As it is stored and read again. */
static void keep_piece(const struct offset_piece *piece)
{
    char text[OFFSET_PIECE_BYTES];
    struct err err = {0};
    size_t len = offset_piece_text(piece, text);
    assert_true(pieces_count < PIECES_MAX);
    if (!offset_piece_parse(text, len, &pieces[pieces_count], &err)) {
        fail_msg("%s: %s", err.what, text);
    }
    assert_memory_equal(&pieces[pieces_count].span, &piece->span, sizeof(piece->span));
    assert_int_equal(pieces[pieces_count].runs_count, piece->runs_count);
    pieces_count++;
}

static enum rebuild_need one_block(struct offset_open *open, struct rebuild_pace *pace)
{
    const struct rebuild_options options = {
        .id_base = ID_BASE, .generation = GENERATION, .filter = filter};
    struct rebuild rebuild;
    enum rebuild_need need =
        rebuild_begin(&rebuild, &options, pace, open, source.start, target.start);
    for (int i = 0; need == REBUILD_READ_TARGET || need == REBUILD_READ_SOURCE; i++) {
        assert_true(i < 200);
        bool of_target = need == REBUILD_READ_TARGET;
        give(&rebuild, of_target ? &target : &source);
        need = rebuild_read_end(&rebuild, of_target);
    }
    if (need == REBUILD_STORE) {
        struct offset_place top = open->top;
        for (size_t i = rebuild.pieces_count; i-- > 0;) {
            assert_memory_equal(&rebuild.pieces[i].span.until, &top, sizeof(top));
            keep_piece(&rebuild.pieces[i]);
            top = rebuild.pieces[i].span.begin;
        }
        assert_true(top.source < open->top.source);
        open->top = top;
    } else {
        stopped = rebuild.why;
    }
    rebuild_done(&rebuild);
    return need;
}

/* @param span  target offsets a block; 0 = as it likes */
static void rebuild_all(struct offset_stretch stretch, int64_t span)
{
    struct offset_open open = {stretch, stretch.until};
    struct rebuild_pace pace = {0};
    pieces_count = 0;
    blocks_count = 0;
    stopped = (struct err){0};
    while (!offset_open_done(&open)) {
        pace.span = span > 0 ? span : pace.span;
        if (one_block(&open, &pace) == REBUILD_STOP) {
            assert_true(stopped.kind == ERR_REFUSED && stopped.what[0] != '\0');
            return;
        }
        blocks_count++;
    }
}

static struct offset_stretch everything(void)
{
    return (struct offset_stretch){
        {0,          0         },
        {source.end, target.end}
    };
}

/* --- is it the truth? --------------------------------------------------------------------------------------------- */

static struct translation look_up(int64_t offset, bool from_target)
{
    struct translation out = {.verdict = VERDICT_UNMAPPED,
                              .source_offset = from_target ? -1 : offset,
                              .target_offset = from_target ? offset : -1};
    for (size_t i = 0; i < pieces_count; i++) {
        if (offset_piece_covers(&pieces[i], offset, from_target)) {
            offset_piece_translate(&pieces[i], offset, from_target, &out);
            return out;
        }
    }
    return out;
}

static bool is_ours(const struct side_log *side, int64_t at)
{
    const struct slot *slot = &side->slots[at];
    return slot->kind == RECORD && slot->other >= 0 && !slot->gone && at >= side->start;
}

/* Whoever goes on at `to` skips nothing that is there, and sees nothing twice. */
static void check_rounded(const struct side_log *there, int64_t offset, int64_t to)
{
    for (int64_t at = there->start; at < there->end; at++) {
        if (is_ours(there, at)) {
            bool before = there->slots[at].other < offset;
            if (before != (at < to)) {
                fail_msg("%s offset %lld is rounded to %lld, but %lld stands at %lld",
                         there == &target ? "source" : "target", (long long)offset, (long long)to,
                         (long long)there->slots[at].other, (long long)at);
            }
        }
    }
}

static bool equal_ones; /* of which compaction took some */

/* @return offsets of `here` that are unmapped although both records are there */
static int check_side(const struct side_log *here, const struct side_log *there)
{
    bool from_target = here == &target;
    int unmapped = 0;
    for (int64_t offset = 0; offset < here->end; offset++) {
        struct translation got = look_up(offset, from_target);
        int64_t to = from_target ? got.source_offset : got.target_offset;
        bool there_too = is_ours(here, offset) && is_ours(there, here->slots[offset].other);
        if (got.verdict == VERDICT_UNMAPPED) {
            unmapped += there_too;
        } else if (got.verdict == VERDICT_EXACT) {
            /* Where compaction took one of two equal records on each side, nobody can tell them apart. */
            bool twin = is_ours(here, offset) && is_ours(there, to) &&
                        here->slots[offset].content == there->slots[to].content;
            if (!(there_too && to == here->slots[offset].other) && !(equal_ones && twin)) {
                fail_msg("%s offset %lld is exact at %lld", from_target ? "target" : "source",
                         (long long)offset, (long long)to);
            }
        } else {
            assert_int_equal(got.verdict, VERDICT_ROUNDED);
            assert_true(!there_too || equal_ones);
            if (!equal_ones) {
                check_rounded(there, offset, to);
            }
        }
    }
    return unmapped;
}

static int check(void)
{
    return check_side(&source, &target) + check_side(&target, &source);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void everything_is_found_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        make_logs(seed, &(struct shape){.records = 400,
                                        .markers = (int)seed % 5,
                                        .foreign = (int)seed % 4 * 5,
                                        .twins = (int)seed % 3 * 2});
        static const int64_t spans[] = {0, 1, 7, 64, 3000};
        rebuild_all(everything(), spans[seed % 5]);
        assert_int_equal(stopped.kind, ERR_NONE);
        assert_int_equal(check(), 0);
        for (int64_t offset = 0; offset < source.end; offset++) { /* holes are known as holes */
            assert_int_not_equal(look_up(offset, false).verdict, VERDICT_UNMAPPED);
        }
    }
}

static void a_stretch_of_known_beginning_ends_there(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        make_logs(seed, &(struct shape){.records = 300, .markers = 3, .foreign = 9});
        struct offset_stretch stretch = everything();
        while (!is_ours(&source, stretch.begin.source) || stretch.begin.source < 100) {
            stretch.begin.source++;
        }
        stretch.begin.target = source.slots[stretch.begin.source].other;
        rebuild_all(stretch, 40);
        assert_int_equal(stopped.kind, ERR_NONE);
        assert_true(blocks_count > 3);
        for (int64_t offset = 0; offset < source.end; offset++) {
            struct translation got = look_up(offset, false);
            assert_int_equal(got.verdict == VERDICT_UNMAPPED, offset < stretch.begin.source);
        }
        check();
    }
}

static void filtered_records_are_holes(void **state)
{
    (void)state;
    struct config_pattern include[] = {{.text = "mine"}};
    struct config_filter mine = {
        .key = {.include = include, .include_count = 1}
    };
    make_logs(3, &(struct shape){.records = 300, .markers = 4, .filtered = 3});
    rebuild_all(everything(), 30); /* without the filter they are records that are missing */
    assert_non_null(strstr(stopped.what, "does not hold"));
    check();
    filter = &mine;
    rebuild_all(everything(), 30);
    filter = NULL;
    assert_int_equal(stopped.kind, ERR_NONE);
    assert_int_equal(check(), 0);
}

/* Compaction on either side: never wrong, and what both sides hold above is known. */
static void compaction_makes_nothing_wrong(void **state)
{
    (void)state;
    int known = 0;
    int unknown = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        make_logs(seed, &(struct shape){.records = 300,
                                        .markers = (int)seed % 4,
                                        .foreign = (int)seed % 2 * 9,
                                        .twins = seed % 7 == 0 ? 3 : 0});
        equal_ones = seed % 7 == 0;
        struct side_log *sides[] = {&source, &target};
        for (int i = 0; i < 2; i++) {
            int64_t share = pick(3) * pick(4);
            for (int64_t at = 0; at < sides[i]->end - 1 && share > 0; at++) {
                sides[i]->slots[at].gone =
                    sides[i]->slots[at].kind == RECORD && pick(share + 1) != 0 && pick(3) == 0;
            }
        }
        rebuild_all(everything(), seed % 2 == 0 ? 25 : 0);
        int unmapped = check();
        known += unmapped == 0;
        unknown += unmapped;
    }
    equal_ones = false;
    print_message("%d of 200 whole, %d offsets unknown although both are there\n", known, unknown);
    assert_true(known > 100);
}

static void retention_of_the_source_stops_it_by_name(void **state)
{
    (void)state;
    make_logs(5, &(struct shape){.records = 400, .markers = 4});
    source.start = 200;
    rebuild_all(everything(), 30);
    assert_non_null(strstr(stopped.what, "source's log begins at offset 200"));
    assert_int_equal(check(), 0);
    assert_int_equal(look_up(150, false).verdict, VERDICT_UNMAPPED);
    source.start = source.end;
    rebuild_all(everything(), 30);
    assert_int_equal(pieces_count, 0);
    assert_non_null(strstr(stopped.what, "source's log begins"));
}

static void retention_of_the_target_stops_it_by_name(void **state)
{
    (void)state;
    make_logs(6, &(struct shape){.records = 400, .markers = 4});
    target.start = 150;
    rebuild_all(everything(), 30);
    assert_non_null(strstr(stopped.what, "target's log begins at offset 150"));
    assert_int_equal(check(), 0);
    assert_int_equal(look_up(100, true).verdict, VERDICT_UNMAPPED);
}

static void an_older_generation_is_not_read(void **state)
{
    (void)state;
    make_logs(7, &(struct shape){.records = 100, .markers = 4});
    for (int64_t at = 0; at < target.end; at++) {
        target.slots[at].kind = OLDER;
    }
    int64_t began = target.end;
    for (int i = 0; i < 100; i++) {
        mirror(RECORD, 5000 + i);
    }
    rebuild_all(everything(), 30);
    assert_non_null(strstr(stopped.what, "older generation"));
    assert_int_equal(look_up(began, true).verdict, VERDICT_EXACT);
    assert_int_equal(look_up(began - 1, true).verdict, VERDICT_UNMAPPED);
    assert_int_equal(look_up(source.end - 100, false).verdict, VERDICT_EXACT);
}

/* Logs that contradict each other: what stands above is known, nothing below is guessed. */
static void contradictions_stop_it_by_name(void **state)
{
    (void)state;
    static const char *const texts[] = {"none that the source holds", "does not hold", "order"};
    for (int how = 0; how < 3; how++) {
        make_logs(8, &(struct shape){.records = 300});
        if (how == 0) {
            source.slots[100].content = 9999;
        } else if (how == 1) {
            mirror(RECORD, 7000);
            target.end--; /* not there, but what came behind it is */
            mirror(RECORD, 7001);
        } else {
            int content = target.slots[100].content;
            target.slots[100].content = target.slots[101].content;
            target.slots[101].content = content;
        }
        rebuild_all(everything(), 30);
        if (strstr(stopped.what, texts[how]) == NULL) {
            fail_msg("%d: %s", how, stopped.what);
        }
        int64_t from = how == 1 ? 301 : 110;
        for (int64_t offset = 0; offset < source.end; offset++) {
            enum verdict verdict = look_up(offset, false).verdict;
            assert_true(offset < from ? offset >= 99 || verdict == VERDICT_UNMAPPED
                                      : verdict == VERDICT_EXACT);
        }
    }
}

/* A top that is no place of this history: nothing is said. */
static void a_place_that_is_none_gives_nothing(void **state)
{
    (void)state;
    make_logs(9, &(struct shape){.records = 300});
    struct offset_stretch stretch = everything();
    stretch.until.target -= 7;
    rebuild_all(stretch, 50);
    assert_int_equal(pieces_count, 0);
    assert_int_equal(stopped.kind, ERR_REFUSED);
}

static void a_stretch_without_records_of_ours_is_a_hole(void **state)
{
    (void)state;
    make_logs(10, &(struct shape){.records = 50});
    struct offset_stretch stretch = {
        {source.end, target.end},
        {0,          0         }
    };
    for (int i = 0; i < 40; i++) {
        append(&source, ABORTED, i);
        append(&target, FOREIGN, i);
    }
    stretch.until = (struct offset_place){source.end, target.end};
    rebuild_all(stretch, 10);
    assert_int_equal(stopped.kind, ERR_NONE);
    struct translation got = look_up(source.end - 20, false);
    assert_int_equal(got.verdict, VERDICT_ROUNDED);
    assert_int_equal(got.target_offset, target.end);
    got = look_up(target.end - 20, true);
    assert_int_equal(got.verdict, VERDICT_ROUNDED);
    assert_int_equal(got.source_offset, source.end);
}

/* Pieces of another shape than ferry writes are refused; none of them is believed in part. */
static void hostile_pieces_are_refused(void **state)
{
    (void)state;
    struct offset_piece piece = {
        .span = {{10, 5},    {40, 30}   },
        .runs = {{12, 6, 4}, {20, 10, 3}},
        .runs_count = 2,
        .unknown = 2,
    };
    char text[OFFSET_PIECE_BYTES];
    size_t len = offset_piece_text(&piece, text);
    struct offset_piece out;
    struct err err = {0};
    assert_true(offset_piece_parse(text, len, &out, &err));
    for (size_t cut = 0; cut < len; cut++) {
        assert_false(offset_piece_parse(text, cut, &out, &err) && out.runs_count == 2);
    }
    static const char *const bad[] = {
        "0000000000000000010 0000000000000000005 9 30 9 30 0 0 0 ",   /* ends before it begins */
        "0000000000000000010 0000000000000000005 40 30 41 30 0 0 0 ", /* no run, but a first one */
        "0000000000000000010 0000000000000000005 40 30 40 30 0 1 0 ", /* unknown before no run */
        "0000000000000000010 0000000000000000005 40 30 40 30 0 0 2 ",
        "000000000000000010 0000000000000000005 40 30 40 30 0 0 0 ", /* a digit less */
        "0000000000000000010 0000000000000000005 040 30 40 30 0 0 0 ",
        "0000000000000000010 0000000000000000005 -1 30 40 30 0 0 0 ",
        "9999999999999999999 0000000000000000005 40 30 40 30 0 0 0 ",
        "",
        "x",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (offset_piece_parse(bad[i], strlen(bad[i]), &out, &err)) {
            fail_msg("'%s' was taken", bad[i]);
        }
    }
    const char *good = "0000000000000000010 0000000000000000005 40 30 40 30 0 0 0 ";
    assert_true(offset_piece_parse(good, strlen(good), &out, &err));
    piece.runs[1].length = 21; /* beyond its end */
    len = offset_piece_text(&piece, text);
    assert_false(offset_piece_parse(text, len, &out, &err));
    for (int i = 0; i < 20000; i++) { /* any byte changed: refused, or in order and within */
        piece.runs[1].length = 3;
        len = offset_piece_text(&piece, text);
        text[pick((int64_t)len)] = (char)pick(256);
        if (offset_piece_parse(text, len, &out, &err)) {
            for (size_t n = 0; n < out.runs_count; n++) {
                const struct offset_run *run = &out.runs[n];
                assert_true(run->source_first >= out.span.begin.source && run->length > 0 &&
                            run->source_first + run->length <= out.span.until.source &&
                            run->target_first >= out.span.begin.target &&
                            run->target_first + run->length <= out.span.until.target);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_found_again),
        cmocka_unit_test(a_stretch_of_known_beginning_ends_there),
        cmocka_unit_test(filtered_records_are_holes),
        cmocka_unit_test(compaction_makes_nothing_wrong),
        cmocka_unit_test(retention_of_the_source_stops_it_by_name),
        cmocka_unit_test(retention_of_the_target_stops_it_by_name),
        cmocka_unit_test(an_older_generation_is_not_read),
        cmocka_unit_test(contradictions_stop_it_by_name),
        cmocka_unit_test(a_place_that_is_none_gives_nothing),
        cmocka_unit_test(a_stretch_without_records_of_ours_is_a_hole),
        cmocka_unit_test(hostile_pieces_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
