/* The map as the command reads it: blocking, nothing is changed. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "offsets/offset_lookup.h"
#include "offsets/offset_script.h"
#include "offsets/offset_store.h"

#define ENTRIES_A_CALL "1000"

struct offset_view {
    struct redis_sync *redis; /* borrowed */
    char *base;
};

struct offset_view *offset_view_new(struct redis_sync *redis, const char *prefix, const char *service, const char *from,
                                    const char *to)
{
    struct offset_view *view = calloc(1, sizeof(*view));
    if (view == NULL) {
        abort();
    }
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

bool offset_view_checkpoint(struct offset_view *view, const char *topic, int32_t partition, struct checkpoint *out,
                            struct err *err)
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
        return false;
    }
    bool ok = true;
    bool more = true;
    for (size_t i = 0; ok && more && reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        char topic[300];
        struct checkpoint checkpoint;
        const redisReply *value = reply->element[i + 1];
        snprintf(topic, sizeof(topic), "%s", reply->element[i]->str);
        char *colon = strrchr(topic, ':');
        ok = colon != NULL && checkpoint_parse(value->str, value->len, &checkpoint, err);
        if (ok) {
            *colon = '\0';
            more = each(arg, topic, atoi(colon + 1), &checkpoint);
        } else {
            err_wrap(err, "%s:checkpoints, field %s", view->base, reply->element[i]->str);
        }
    }
    freeReplyObject(reply);
    return ok;
}

/* --- lookups ------------------------------------------------------------------------------------------------------ */

static int64_t side(struct offset_place place, bool from_target) { return from_target ? place.target : place.source; }

/* The newest incarnation that begins at or before the offset, else the oldest. */
static void choose(struct offset_lookup *lookup, const redisReply *reply, int64_t offset, bool from_target)
{
    char current[INCARNATION_BYTES];
    struct offset_index oldest = {.ordinal = INT64_MAX};
    char oldest_name[INCARNATION_BYTES] = "";
    checkpoint_incarnation(&lookup->checkpoint, current);
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const char *name = reply->element[i]->str;
        struct offset_index index;
        if (strlen(name) >= INCARNATION_BYTES || !offset_index_parse(reply->element[i + 1]->str, &index)) {
            continue;
        }
        if (strcmp(name, current) == 0) {
            lookup->has_current = true;
            lookup->current = index;
        }
        if (index.ordinal < oldest.ordinal) {
            oldest = index;
            snprintf(oldest_name, sizeof(oldest_name), "%s", name);
        }
        bool begins = side(index.first, from_target) <= offset;
        if (begins && (!lookup->has_chosen || index.ordinal > lookup->chosen.ordinal)) {
            lookup->has_chosen = true;
            lookup->chosen = index;
            snprintf(lookup->chosen_name, sizeof(lookup->chosen_name), "%s", name);
        }
    }
    if (!lookup->has_chosen && oldest_name[0] != '\0') {
        lookup->has_chosen = true;
        lookup->chosen = oldest;
        snprintf(lookup->chosen_name, sizeof(lookup->chosen_name), "%s", oldest_name);
    }
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        struct offset_index index;
        if (offset_index_parse(reply->element[i + 1]->str, &index) &&
            index.ordinal == lookup->chosen.ordinal + 1) {
            lookup->has_successor = true;
            lookup->successor = index;
        }
    }
}

static bool read_incarnations(struct offset_view *view, const char *topic, int32_t partition, int64_t offset,
                              bool from_target, struct offset_lookup *lookup, struct err *err)
{
    char *key = offset_part_key(view->base, "incarnations", topic, partition);
    const char *argv[] = {"HGETALL", key};
    redisReply *reply = redis_sync_call(view->redis, 2, argv, NULL, err);
    free(key);
    if (reply == NULL) {
        return false;
    }
    if (reply->type == REDIS_REPLY_ARRAY) {
        choose(lookup, reply, offset, from_target);
    }
    freeReplyObject(reply);
    return true;
}

static bool read_entries(struct offset_view *view, const char *topic, int32_t partition, int64_t offset,
                         bool from_target, struct offset_lookup *lookup, struct err *err)
{
    char text[48];
    struct offset_place id;
    struct offset_stored_entry top;
    char *key = offset_map_key(view->base, topic, partition, lookup->chosen_name);
    /* IDs are source + 1, and any target of that source is at or below it. */
    if (from_target) {
        snprintf(text, sizeof(text), "%lld", (long long)offset);
    } else {
        snprintf(text, sizeof(text), "%lld-18446744073709551615", (long long)offset + 1);
    }
    const char *argv[] = {key, from_target ? "target" : "source", text};
    redisReply *reply = redis_sync_script(view->redis, &offset_script_floor, 1, 3, argv, NULL, err);
    free(key);
    if (reply == NULL) {
        return false;
    }
    bool ok = reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
              offset_entry_reply(reply->element[0], &lookup->floor, &id, err) &&
              offset_entry_reply(reply->element[1], &lookup->next, &id, err) &&
              offset_entry_reply(reply->element[2], &top, &lookup->top, err);
    freeReplyObject(reply);
    return ok;
}

static bool read_unmapped(struct offset_view *view, const char *topic, int32_t partition, int64_t offset,
                          bool from_target, struct offset_lookup *lookup, struct err *err)
{
    char *key = offset_part_key(view->base, "unmapped", topic, partition);
    const char *argv[] = {"SMEMBERS", key};
    redisReply *reply = redis_sync_call(view->redis, 2, argv, NULL, err);
    free(key);
    if (reply == NULL) {
        return false;
    }
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        char name[INCARNATION_BYTES];
        long long numbers[4];
        int got = sscanf(reply->element[i]->str, "%47s %lld %lld %lld %lld", name, &numbers[0], &numbers[1], &numbers[2],
                         &numbers[3]);
        struct offset_stretch stretch = {{numbers[0], numbers[1]}, {numbers[2], numbers[3]}};
        if (got == 5 && strcmp(name, lookup->chosen_name) == 0 && side(stretch.begin, from_target) <= offset &&
            offset < side(stretch.until, from_target)) {
            lookup->has_unmapped = true;
            lookup->unmapped = stretch;
        }
    }
    freeReplyObject(reply);
    return true;
}

bool offset_view_translate(struct offset_view *view, const char *topic, int32_t partition, int64_t offset,
                           bool from_target, struct translation *out, struct err *err)
{
    struct offset_lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL) {
        abort();
    }
    bool ok = offset_view_checkpoint(view, topic, partition, &lookup->checkpoint, err) &&
              read_incarnations(view, topic, partition, offset, from_target, lookup, err);
    lookup->has_checkpoint = ok;
    ok = ok && (!lookup->has_chosen || (read_entries(view, topic, partition, offset, from_target, lookup, err) &&
                                        read_unmapped(view, topic, partition, offset, from_target, lookup, err))) &&
         offset_lookup_translate(lookup, offset, from_target, out, err);
    free(lookup);
    return ok;
}

/* --- every run ---------------------------------------------------------------------------------------------------- */

struct walk {
    const char *incarnation;
    bool (*each)(void *arg, const char *incarnation, const struct offset_run *run);
    void *arg;
    bool has_open;
    struct offset_run open; /* its end is told by what follows */
    bool more;
};

static void close_open(struct walk *walk, int64_t source_end)
{
    if (walk->has_open && walk->more && source_end > walk->open.source_first) {
        walk->open.length = source_end - walk->open.source_first;
        walk->more = walk->each(walk->arg, walk->incarnation, &walk->open);
    }
    walk->has_open = false;
}

static bool walk_entry(struct walk *walk, const redisReply *reply, struct err *err)
{
    struct offset_stored_entry entry;
    struct offset_place id;
    if (!offset_entry_reply(reply, &entry, &id, err) || !entry.there) {
        return false;
    }
    close_open(walk, entry.runs[0].source_first - entry.source_gap);
    for (size_t i = 0; walk->more && i + 1 < entry.runs_count; i++) {
        walk->more = walk->each(walk->arg, walk->incarnation, &entry.runs[i]);
    }
    walk->open = entry.runs[entry.runs_count - 1];
    walk->has_open = true;
    return true;
}

static bool walk_stream(struct offset_view *view, const char *key, struct walk *walk, struct err *err)
{
    char begin[64] = "-";
    bool ok = true;
    size_t got = 1;
    while (ok && got > 0 && walk->more) {
        const char *argv[] = {"XRANGE", key, begin, "+", "COUNT", ENTRIES_A_CALL};
        redisReply *reply = redis_sync_call(view->redis, 6, argv, NULL, err);
        if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
            freeReplyObject(reply);
            return false;
        }
        got = reply->elements;
        for (size_t i = 0; ok && i < got; i++) {
            ok = walk_entry(walk, reply->element[i], err);
        }
        if (ok && got > 0) {
            snprintf(begin, sizeof(begin), "(%.60s", reply->element[got - 1]->element[0]->str);
        }
        freeReplyObject(reply);
    }
    return ok;
}

static bool index_of(struct offset_view *view, const char *topic, int32_t partition, const char *incarnation,
                     struct offset_index *out, struct err *err)
{
    char *key = offset_part_key(view->base, "incarnations", topic, partition);
    const char *argv[] = {"HGET", key, incarnation};
    redisReply *reply = redis_sync_call(view->redis, 3, argv, NULL, err);
    free(key);
    bool ok = reply != NULL && reply->type == REDIS_REPLY_STRING && offset_index_parse(reply->str, out);
    if (reply != NULL && !ok) {
        err_set(err, ERR_REFUSED, "no map of %s:%d, incarnation %s", topic, partition, incarnation);
    }
    freeReplyObject(reply);
    return ok;
}

bool offset_view_each_run(struct offset_view *view, const char *topic, int32_t partition, const char *incarnation,
                          bool (*each)(void *arg, const char *incarnation, const struct offset_run *run), void *arg,
                          struct err *err)
{
    struct checkpoint checkpoint;
    struct offset_index index;
    char name[INCARNATION_BYTES];
    if (incarnation != NULL) {
        snprintf(name, sizeof(name), "%s", incarnation);
    } else if (offset_view_checkpoint(view, topic, partition, &checkpoint, err)) {
        checkpoint_incarnation(&checkpoint, name);
    } else {
        return false;
    }
    if (!index_of(view, topic, partition, name, &index, err)) {
        return false;
    }
    struct walk walk = {.incarnation = name, .each = each, .arg = arg, .more = true};
    char *key = offset_map_key(view->base, topic, partition, name);
    bool ok = walk_stream(view, key, &walk, err);
    free(key);
    if (ok) {
        close_open(&walk, index.run_end.source);
    }
    return ok;
}
