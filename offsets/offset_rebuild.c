#include "offsets/offset_rebuild.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "offsets/offset_inside.h"

struct unmapped_call {
    char incarnation[INCARNATION_BYTES];
    struct checkpoint at;
    void (*done)(void *arg, enum offset_unmapped_what what, const struct offset_open *open,
                 size_t count, const struct err *err);
    void *arg;
};

struct rebuilt_call {
    void (*done)(void *arg, const struct err *err);
    void *arg;
};

/* --- what is unmapped --------------------------------------------------------------------------------------------- */

static bool stretch_is_sound(const struct offset_stretch *stretch)
{
    return stretch->begin.source >= 0 && stretch->begin.target >= 0 &&
           stretch->begin.source < stretch->until.source &&
           stretch->begin.target <= stretch->until.target;
}

/* @param at  of the member; the head of its lowest piece is behind it */
static bool take_open(const redisReply *reply, size_t at, const char *incarnation,
                      struct offset_open *out, struct err *err)
{
    const char *member = script_text(reply, at);
    const char *head = script_text(reply, at + 1);
    if (member == NULL || head == NULL ||
        !offset_stretch_parse(member, reply->element[at]->len, incarnation, &out->stretch) ||
        !stretch_is_sound(&out->stretch)) {
        return err_set(err, ERR_REFUSED, "an unmapped stretch has a strange form");
    }
    out->top = out->stretch.until;
    if (head[0] == '\0') {
        return true;
    }
    const struct offset_stretch *within = &out->stretch;
    if (!offset_piece_head_parse(head, reply->element[at + 1]->len, &out->top) ||
        out->top.source < within->begin.source || out->top.target < within->begin.target ||
        out->top.source > within->until.source || out->top.target > within->until.target) {
        return err_set(err, ERR_REFUSED, "a piece of the rebuilt map stands in a strange place");
    }
    return true;
}

static int newest_first(const void *a, const void *b)
{
    const struct offset_open *one = a;
    const struct offset_open *other = b;
    return one->stretch.until.source < other->stretch.until.source ? 1 : -1;
}

static bool take_all(const redisReply *reply, const char *incarnation, struct offset_open *out,
                     size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!take_open(reply, 1 + i * 2, incarnation, &out[i], err)) {
            return false;
        }
    }
    qsort(out, count, sizeof(*out), newest_first);
    return true;
}

static void unmapped_away(struct unmapped_call *take_call, const struct err *err)
{
    take_call->done(take_call->arg, UNMAPPED_AWAY, NULL, 0, err);
    free(take_call);
}

static bool has_checkpoint(const struct unmapped_call *made, const redisReply *text)
{
    struct checkpoint found;
    return checkpoint_parse(text->str, text->len, &found, NULL) &&
           checkpoint_same_incarnation(&found, &made->at);
}

static void unmapped_told(void *arg, const redisReply *reply, const struct err *err)
{
    struct unmapped_call *made = arg;
    struct err why = {0};
    if (reply == NULL || script_text(reply, 0) == NULL) {
        err_set(&why, ERR_REFUSED, "Redis answers in a strange form");
        unmapped_away(made, reply == NULL ? err : &why);
        return;
    }
    size_t count = reply->elements / 2;
    struct offset_open *open = must(calloc(count + 1, sizeof(*open)));
    if (!has_checkpoint(made, reply->element[0])) {
        made->done(made->arg, UNMAPPED_FLUSHED, NULL, 0, NULL);
        free(made);
    } else if (take_all(reply, made->incarnation, open, count, &why)) {
        count = count < OFFSET_OPEN_MAX ? count : OFFSET_OPEN_MAX;
        made->done(made->arg, UNMAPPED_KNOWN, open, count, NULL);
        free(made);
    } else {
        unmapped_away(made, &why);
    }
    free(open);
}

void offset_store_unmapped(struct offset_store *store, const char *topic, int32_t partition,
                           const struct checkpoint *at,
                           void (*done)(void *arg, enum offset_unmapped_what what,
                                        const struct offset_open *open, size_t count,
                                        const struct err *err),
                           void *arg)
{
    struct err why = {0};
    struct unmapped_call *made = must(calloc(1, sizeof(*made)));
    *made = (struct unmapped_call){.at = *at, .done = done, .arg = arg};
    checkpoint_incarnation(at, made->incarnation);
    if (!offset_store_usable(store, &why)) {
        unmapped_away(made, &why);
        return;
    }
    struct script_arguments arguments = {0};
    script_put_part(&arguments, store->base, topic, partition, made->incarnation);
    offset_store_call(store, &offset_script_unmapped, PART_KEYS_COUNT, &arguments, unmapped_told,
                      made);
}

/* --- what was rebuilt --------------------------------------------------------------------------------------------- */

static void rebuilt_told(void *arg, const redisReply *reply, const struct err *err)
{
    struct rebuilt_call *made = arg;
    const char *verdict = reply == NULL ? NULL : script_text(reply, 0);
    struct err why = {0};
    if (reply != NULL && (verdict == NULL || strcmp(verdict, "ok") != 0)) {
        err_set(&why, ERR_RETRY, "the unmapped stretch is another one by now");
        err = &why;
    }
    made->done(made->arg, err);
    free(made);
}

static void put_pieces(struct script_arguments *arguments, const struct offset_piece *pieces,
                       size_t count)
{
    char text[OFFSET_PIECE_BYTES];
    for (size_t i = 0; i < count; i++) {
        script_put(arguments, text, offset_piece_text(&pieces[i], text));
    }
}

void offset_store_rebuilt(struct offset_store *store, const char *topic, int32_t partition,
                          const struct checkpoint *at, const struct offset_open *open,
                          const struct offset_piece *pieces, size_t count,
                          void (*done)(void *arg, const struct err *err), void *arg)
{
    struct err why = {0};
    assert(count > 0 && pieces[count - 1].span.until.source == open->top.source &&
           pieces[count - 1].span.until.target == open->top.target);
    if (!offset_store_usable(store, &why)) {
        done(arg, &why);
        return;
    }
    struct script_arguments arguments = {0};
    char incarnation[INCARNATION_BYTES];
    char stretch[STRETCH_TEXT_BYTES];
    char head[OFFSET_PIECE_HEAD_BYTES] = "";
    char bound[OFFSET_PIECE_NUMBER_BYTES];
    struct rebuilt_call *made = must(calloc(1, sizeof(*made)));
    *made = (struct rebuilt_call){.done = done, .arg = arg};
    if (open->top.source < open->stretch.until.source) {
        offset_piece_head(open->top, head);
    }
    script_put_part(&arguments, store->base, topic, partition,
                    checkpoint_incarnation(at, incarnation));
    script_put_text(&arguments, offset_stretch_text(&open->stretch, stretch));
    script_put_text(&arguments, offset_piece_bound(open->stretch.begin.source, bound));
    script_put_text(&arguments, offset_piece_bound(open->stretch.until.source, bound));
    script_put_text(&arguments, head);
    put_pieces(&arguments, pieces, count);
    offset_store_call(store, &offset_script_rebuild, PART_KEYS_COUNT, &arguments, rebuilt_told,
                      made);
}
