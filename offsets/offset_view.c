/* The map as the command reads it: blocking, nothing is changed. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "offsets/offset_chosen.h"
#include "offsets/offset_lookup.h"
#include "offsets/offset_script.h"
#include "offsets/offset_store.h"

#define ENTRIES_A_CALL "1000"
#define PIECES_A_CALL  "200"

struct offset_view {
    struct redis_sync *redis; /* borrowed */
    char *base;
};

struct offset_view *offset_view_new(struct redis_sync *redis, const char *prefix,
                                    const char *service, const char *from, const char *to)
{
    struct offset_view *view = must(calloc(1, sizeof(*view)));
    view->redis = redis;
    view->base = offset_base_key(prefix, service, from, to);
    return view;
}

void offset_view_free(struct offset_view *view)
{
    if (view != NULL) {
        free(view->base);
        free(view);
    }
}

static char *checkpoints_key(const struct offset_view *view)
{
    char *key = NULL;
    if (asprintf(&key, "%s:checkpoints", view->base) < 0) {
        abort();
    }
    return key;
}

bool offset_view_checkpoint(struct offset_view *view, const char *topic, int32_t partition,
                            struct checkpoint *out, struct err *err)
{
    char field[300];
    char *key = checkpoints_key(view);
    snprintf(field, sizeof(field), "%s:%d", topic, partition);
    const char *argv[] = {"HGET", key, field};
    redisReply *reply = redis_sync_call(view->redis, 3, argv, NULL, err);
    bool ok = reply != NULL;
    if (ok && reply->type != REDIS_REPLY_STRING) {
        ok = err_set(err, ERR_REFUSED, "no checkpoint of %s:%d", topic, partition);
    } else if (ok && !checkpoint_parse(reply->str, reply->len, out, err)) {
        ok = err_wrap(err, "%s, field %s", key, field);
    }
    freeReplyObject(reply);
    free(key);
    return ok;
}

static bool take_checkpoint(const redisReply *field, const redisReply *value,
                            char topic[TOPIC_NAME_BYTES], int32_t *out_partition,
                            struct checkpoint *out, struct err *err)
{
    if (field->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING) {
        return err_set(err, ERR_REFUSED, "Redis answers in a strange form");
    }
    if (!place_parse(field->str, field->len, topic, out_partition)) {
        return err_set(err, ERR_REFUSED, "that is no TOPIC:PARTITION");
    }
    return checkpoint_parse(value->str, value->len, out, err);
}

bool offset_view_each_checkpoint(struct offset_view *view,
                                 bool (*each)(void *arg, const char *topic, int32_t partition,
                                              const struct checkpoint *checkpoint),
                                 void *arg, struct err *err)
{
    char *key = checkpoints_key(view);
    const char *argv[] = {"HGETALL", key};
    redisReply *reply = redis_sync_call(view->redis, 2, argv, NULL, err);
    free(key);
    if (reply == NULL) {
        return err_wrap(err, "%s:checkpoints", view->base);
    }
    bool ok = true;
    bool more = true;
    for (size_t i = 0; ok && more && reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements;
         i += 2) {
        char topic[TOPIC_NAME_BYTES];
        int32_t partition = 0;
        struct checkpoint checkpoint;
        ok = take_checkpoint(reply->element[i], reply->element[i + 1], topic, &partition,
                             &checkpoint, err);
        if (ok) {
            more = each(arg, topic, partition, &checkpoint);
        } else {
            err_wrap(err, "%s:checkpoints, field '%.300s'", view->base, script_text(reply, i));
        }
    }
    freeReplyObject(reply);
    return ok;
}

/* --- lookups ------------------------------------------------------------------------------------------------------ */

/* Ask for the offset in `name`; the answer says which incarnation it had to be. */
static redisReply *ask_floor(struct offset_view *view, const char *topic, int32_t partition,
                             const char *name, int64_t offset, bool from_target, struct err *err)
{
    struct script_arguments arguments = {0};
    script_put_part(&arguments, view->base, topic, partition, name);
    script_put_text(&arguments, from_target ? "target" : "source");
    char bound[OFFSET_PIECE_NUMBER_BYTES];
    if (from_target) {
        script_put_format(&arguments, "%lld", (long long)offset);
    } else { /* IDs are source + 1, and any target of that source is at or below it */
        script_put_format(&arguments, "%llu-18446744073709551615", (unsigned long long)offset + 1);
    }
    script_put_text(&arguments, offset_piece_bound(offset, bound));
    redisReply *reply =
        redis_sync_script(view->redis, &offset_script_floor, PART_KEYS_COUNT, arguments.count,
                          (const char **)(uintptr_t)arguments.argv, arguments.lens, err);
    script_arguments_done(&arguments);
    if (reply != NULL &&
        (reply->type != REDIS_REPLY_ARRAY || reply->elements != FLOOR_REPLY_ELEMENTS)) {
        err_set(err, ERR_REFUSED, "Redis answers in a strange form");
        freeReplyObject(reply);
        return NULL;
    }
    return reply;
}

static bool take_reply(struct offset_lookup *lookup, const redisReply *reply, int64_t offset,
                       bool from_target, struct err *err)
{
    struct offset_place id;
    struct offset_found found;
    struct offset_letter letter;
    if (!offset_found_reply(reply, FLOOR_REPLY_LOOK, lookup->chosen_name, &found, &letter, err) ||
        !offset_entry_reply(reply->element[FLOOR_REPLY_ENTRY], &lookup->floor, &id, err) ||
        !offset_entry_reply(reply->element[FLOOR_REPLY_BEHIND], &lookup->next, &id, err)) {
        return false;
    }
    lookup->top = found.top;
    offset_take_unmapped(lookup, reply->element[FLOOR_REPLY_UNMAPPED], offset, from_target);
    const char *piece = script_text(reply, FLOOR_REPLY_PIECE);
    lookup->has_piece = piece != NULL && piece[0] != '\0';
    return !lookup->has_piece ||
           offset_piece_parse(piece, reply->element[FLOOR_REPLY_PIECE]->len, &lookup->piece, err);
}

#define LOOKUP_TRIES 4 /* another incarnation may have begun between two questions */

static bool look_up(struct offset_view *view, const char *topic, int32_t partition, int64_t offset,
                    bool from_target, struct offset_lookup *lookup, struct err *err)
{
    char name[INCARNATION_BYTES] = "";
    for (int i = 0; i < LOOKUP_TRIES; i++) {
        *lookup = (struct offset_lookup){0};
        redisReply *reply = ask_floor(view, topic, partition, name, offset, from_target, err);
        if (reply == NULL) {
            return false;
        }
        const redisReply *text = reply->element[FLOOR_REPLY_LOOK];
        lookup->has_checkpoint = text->type == REDIS_REPLY_STRING && text->len > 0;
        bool ok = !lookup->has_checkpoint ||
                  checkpoint_parse(text->str, text->len, &lookup->checkpoint, err);
        ok = ok && offset_choose(lookup, reply->element[FLOOR_REPLY_INCARNATIONS], offset,
                                 from_target, err);
        bool same = strcmp(name, lookup->chosen_name) == 0;
        ok = ok && (!same || take_reply(lookup, reply, offset, from_target, err));
        freeReplyObject(reply);
        if (!ok || same) {
            return ok;
        }
        snprintf(name, sizeof(name), "%s", lookup->chosen_name);
    }
    return err_set(err, ERR_RETRY, "the partition begins anew again and again");
}

bool offset_view_translate(struct offset_view *view, const char *topic, int32_t partition,
                           int64_t offset, bool from_target, struct translation *out,
                           struct err *err)
{
    struct offset_lookup *lookup = must(calloc(1, sizeof(*lookup)));
    bool ok = look_up(view, topic, partition, offset, from_target, lookup, err) &&
              offset_lookup_translate(lookup, offset, from_target, out, err);
    free(lookup);
    return ok || err_wrap(err, "map of %s:%d in %s", topic, partition, view->base);
}

/* --- every run ---------------------------------------------------------------------------------------------------- */

/* Pieces that were rebuilt, oldest first, some at a time. */
struct pieces {
    struct offset_view *view;
    char *key;
    redisReply *reply; /* of the last question; NULL = nothing was asked yet */
    size_t at;         /* next of it */
    bool has_piece;
    struct offset_piece piece;
    size_t run; /* next of the piece */
};

struct walk {
    const char *incarnation;
    struct offset_index index;
    struct offset_place id; /* of the entry that `open` is in */
    bool (*each)(void *arg, const char *incarnation, const struct offset_run *run);
    void *arg;
    bool has_open;
    struct offset_run open; /* its end is told by what follows */
    bool more;
    struct pieces pieces;
    struct offset_place told; /* behind the last run that was told */
    struct err *err;
    bool broken;
};

static bool ask_pieces(struct pieces *pieces, struct err *err)
{
    char *from = NULL;
    size_t from_len = 1;
    if (pieces->reply != NULL) { /* behind the last one */
        const redisReply *last = pieces->reply->element[pieces->reply->elements - 1];
        from_len = last->len + 1;
        from = must(malloc(from_len));
        from[0] = '(';
        memcpy(from + 1, last->str, last->len);
    }
    const char *argv[] = {"ZRANGEBYLEX", pieces->key,  from == NULL ? "-" : from, "+", "LIMIT",
                          "0",           PIECES_A_CALL};
    size_t lens[] = {11, strlen(pieces->key), from_len, 1, 5, 1, strlen(PIECES_A_CALL)};
    redisReply *reply = redis_sync_call(pieces->view->redis, 7, argv, lens, err);
    free(from);
    if (reply == NULL) {
        return false;
    }
    freeReplyObject(pieces->reply);
    pieces->reply = reply;
    pieces->at = 0;
    return true;
}

/* The next run that was rebuilt; *out_run NULL behind the last. */
static bool next_rebuilt(struct pieces *pieces, const struct offset_run **out_run, struct err *err)
{
    while (!pieces->has_piece || pieces->run == pieces->piece.runs_count) {
        bool none = pieces->reply != NULL && pieces->reply->elements == 0;
        if (!none && (pieces->reply == NULL || pieces->at == pieces->reply->elements) &&
            !ask_pieces(pieces, err)) {
            return false;
        }
        if (pieces->reply->elements == 0) {
            *out_run = NULL;
            return true;
        }
        const char *text = script_text(pieces->reply, pieces->at);
        if (text == NULL) {
            return err_set(err, ERR_REFUSED, "%s is of a strange form", pieces->key);
        }
        pieces->run = 0;
        pieces->has_piece = offset_piece_parse(text, pieces->reply->element[pieces->at++]->len,
                                               &pieces->piece, err);
        if (!pieces->has_piece) {
            return err_wrap(err, "%s", pieces->key);
        }
    }
    *out_run = &pieces->piece.runs[pieces->run];
    return true;
}

static void tell_one(struct walk *walk, const struct offset_run *run)
{
    walk->told =
        (struct offset_place){run->source_first + run->length, run->target_first + run->length};
    walk->more = walk->each(walk->arg, walk->incarnation, run);
}

/* What was rebuilt stands between the runs of the stream. `limit` NULL: behind all of them. */
static void tell_rebuilt(struct walk *walk, const struct offset_run *limit)
{
    const struct offset_run *run = NULL;
    while (walk->more) {
        if (!next_rebuilt(&walk->pieces, &run, walk->err)) {
            walk->broken = true;
            walk->more = false;
            return;
        }
        if (run == NULL || (limit != NULL && run->source_first >= limit->source_first)) {
            return;
        }
        walk->pieces.run++;
        bool fits = run->source_first >= walk->told.source &&
                    run->target_first >= walk->told.target &&
                    (limit == NULL || (run->source_first + run->length <= limit->source_first &&
                                       run->target_first + run->length <= limit->target_first));
        if (fits) {
            tell_one(walk, run);
        }
    }
}

static void tell(struct walk *walk, const struct offset_run *run)
{
    tell_rebuilt(walk, run);
    if (walk->more) {
        tell_one(walk, run);
    }
}

static void close_open(struct walk *walk, int64_t source_end)
{
    if (walk->has_open && walk->more && source_end > walk->open.source_first) {
        walk->open.length = source_end - walk->open.source_first;
        tell(walk, &walk->open);
    }
    walk->has_open = false;
}

/* The index was read first: entries that came since are not of it. Where entries were lost one record is certain. */
static void close_last(struct walk *walk)
{
    const struct offset_place *top = &walk->index.top;
    bool is_top = walk->id.source == top->source && walk->id.target == top->target;
    bool lost = walk->id.source < top->source;
    if (is_top || lost) {
        close_open(walk, lost ? walk->open.source_first + 1 : walk->index.run_end.source);
    }
}

static bool walk_entry(struct walk *walk, const redisReply *reply, struct err *err)
{
    struct offset_stored_entry entry;
    if (!offset_entry_reply(reply, &entry, &walk->id, err)) {
        return false;
    }
    if (!entry.there) {
        return err_set(err, ERR_REFUSED, "Redis answers in a strange form");
    }
    close_open(walk, entry.runs[0].source_first - entry.source_gap);
    for (size_t i = 0; walk->more && i + 1 < entry.runs_count; i++) {
        tell(walk, &entry.runs[i]);
    }
    walk->open = entry.runs[entry.runs_count - 1];
    walk->has_open = true;
    return true;
}

/* The ID of the entry that holds a source offset; "-" when all of them are behind it. */
static bool floor_id(struct offset_view *view, const char *key, int64_t source, char out[64],
                     struct err *err)
{
    char bound[64];
    snprintf(bound, sizeof(bound), "%llu-18446744073709551615", (unsigned long long)source + 1);
    const char *argv[] = {"XREVRANGE", key, bound, "-", "COUNT", "1"};
    redisReply *reply = redis_sync_call(view->redis, 6, argv, NULL, err);
    if (reply == NULL) {
        return false;
    }
    const redisReply *entry =
        reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 ? reply->element[0] : NULL;
    const char *id = entry != NULL && entry->type == REDIS_REPLY_ARRAY && entry->elements == 2
                         ? script_text(entry, 0)
                         : NULL;
    snprintf(out, 64, "%.60s", id == NULL ? "-" : id);
    freeReplyObject(reply);
    return true;
}

/* @param begin  ID of the first entry, "-" = the first there is; written over */
static bool walk_stream(struct offset_view *view, const char *key, char begin[64],
                        struct walk *walk, struct err *err)
{
    bool ok = true;
    size_t got = 1;
    while (ok && got > 0 && walk->more) {
        const char *argv[] = {"XRANGE", key, begin, "+", "COUNT", ENTRIES_A_CALL};
        redisReply *reply = redis_sync_call(view->redis, 6, argv, NULL, err);
        if (reply == NULL) {
            return false;
        }
        got = reply->elements;
        for (size_t i = 0; ok && i < got; i++) {
            ok = walk_entry(walk, reply->element[i], err);
        }
        if (ok && got > 0) {
            snprintf(begin, 64, "(%.60s", reply->element[got - 1]->element[0]->str);
        }
        freeReplyObject(reply);
    }
    return ok;
}

static bool index_of(struct offset_view *view, const char *topic, int32_t partition,
                     const char *incarnation, struct offset_index *out, struct err *err)
{
    char *key = offset_part_key(view->base, "incarnations", topic, partition);
    const char *argv[] = {"HGET", key, incarnation};
    redisReply *reply = redis_sync_call(view->redis, 3, argv, NULL, err);
    free(key);
    bool ok = reply != NULL && reply->type == REDIS_REPLY_STRING &&
              offset_index_parse(reply->str, reply->len, out);
    if (reply != NULL && !ok) {
        err_set(err, ERR_REFUSED, "no map of %s:%d, incarnation %s", topic, partition, incarnation);
    }
    freeReplyObject(reply);
    return ok;
}

/* @param from  the entry that holds that source offset is the first; -1 = all */
static bool each_run(struct offset_view *view, const char *topic, int32_t partition,
                     const char *incarnation, int64_t from,
                     bool (*each)(void *arg, const char *incarnation, const struct offset_run *run),
                     void *arg, struct err *err)
{
    char begin[64] = "-";
    struct walk walk = {
        .incarnation = incarnation, .each = each, .arg = arg, .more = true, .err = err};
    if (!index_of(view, topic, partition, incarnation, &walk.index, err)) {
        return false;
    }
    char *key = offset_map_key(view->base, topic, partition, incarnation);
    walk.pieces.view = view;
    walk.pieces.key = offset_rebuilt_key(view->base, topic, partition, incarnation);
    bool ok = (from < 0 || floor_id(view, key, from, begin, err)) &&
              walk_stream(view, key, begin, &walk, err);
    free(key);
    if (ok) {
        close_last(&walk);
        tell_rebuilt(&walk, NULL);
    }
    free(walk.pieces.key);
    freeReplyObject(walk.pieces.reply);
    return ok && !walk.broken;
}

bool offset_view_generation_from(struct offset_view *view, const char *topic, int32_t partition,
                                 const struct checkpoint *checkpoint, int32_t least, int64_t *out,
                                 struct err *err)
{
    char *key = offset_part_key(view->base, "incarnations", topic, partition);
    const char *argv[] = {"HGETALL", key};
    redisReply *reply = redis_sync_call(view->redis, 2, argv, NULL, err);
    bool ok = reply != NULL && offset_generation_from(checkpoint, reply, least, out, err);
    freeReplyObject(reply);
    ok = ok || err_wrap(err, "%s", key);
    free(key);
    return ok;
}

bool offset_view_each_run(struct offset_view *view, const char *topic, int32_t partition,
                          const char *incarnation,
                          bool (*each)(void *arg, const char *incarnation,
                                       const struct offset_run *run),
                          void *arg, struct err *err)
{
    struct checkpoint checkpoint;
    char name[INCARNATION_BYTES];
    if (incarnation != NULL) {
        snprintf(name, sizeof(name), "%s", incarnation);
    } else if (offset_view_checkpoint(view, topic, partition, &checkpoint, err)) {
        checkpoint_incarnation(&checkpoint, name);
    } else {
        return false;
    }
    return each_run(view, topic, partition, name, -1, each, arg, err);
}

bool offset_view_runs_from(struct offset_view *view, const char *topic, int32_t partition,
                           const struct checkpoint *checkpoint, int64_t from,
                           bool (*each)(void *arg, const char *incarnation,
                                        const struct offset_run *run),
                           void *arg, struct err *err)
{
    char name[INCARNATION_BYTES];
    checkpoint_incarnation(checkpoint, name);
    return each_run(view, topic, partition, name, from, each, arg, err);
}
