#include "offsets/group_lookup.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "offsets/offset_chosen.h"

void group_lookup_arguments(const struct group_lookup *lookup, const char *base,
                            struct script_arguments *out)
{
    script_put_part(out, base, lookup->part->topic, lookup->part->partition, lookup->incarnation);
    for (size_t i = 0; i < lookup->count; i++) { /* IDs are source + 1 */
        script_put_format(out, "%llu",
                          (unsigned long long)lookup->entries[i]->facts.source_offset + 1);
    }
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

struct answer { /* what is being read */
    const redisReply *reply;
    struct offset_lookup *found; /* entries and piece of `place`, checkpoint and top of all */
    int64_t place;               /* -1 = none is read yet */
};

static bool strange(struct err *err)
{
    return err_set(err, ERR_REFUSED, "Redis answers in a strange form");
}

static bool shape_ok(const redisReply *reply, size_t count)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != FLOORS_REPLY_ELEMENTS) {
        return false;
    }
    for (size_t i = FLOORS_REPLY_INCARNATIONS; i < FLOORS_REPLY_ELEMENTS; i++) {
        if (reply->element[i]->type != REDIS_REPLY_ARRAY) {
            return false;
        }
    }
    return reply->element[FLOORS_REPLY_PLACES]->elements == count;
}

static bool begin(struct answer *answer, const char *incarnation, struct err *err)
{
    struct offset_found found;
    struct offset_letter letter;
    struct offset_lookup *lookup = answer->found;
    if (!offset_found_reply(answer->reply, FLOORS_REPLY_LOOK, incarnation, &found, &letter, err)) {
        return false;
    }
    lookup->has_checkpoint = found.has_checkpoint;
    lookup->checkpoint = found.checkpoint;
    lookup->top = found.top;
    return true;
}

/* The entries around the offsets that share this answer. */
static bool read_place(struct answer *answer, int64_t place, struct err *err)
{
    const redisReply *answers = answer->reply->element[FLOORS_REPLY_ANSWERS];
    struct offset_lookup *lookup = answer->found;
    struct offset_place id;
    if (place < 0 || (uint64_t)place >= answers->elements) {
        return strange(err);
    }
    if (place == answer->place) {
        return true;
    }
    const redisReply *one = answers->element[place];
    const char *piece = script_text(one, 2);
    if (one->type != REDIS_REPLY_ARRAY || one->elements != 3 || piece == NULL) {
        return strange(err);
    }
    if (!offset_entry_reply(one->element[0], &lookup->floor, &id, err) ||
        !offset_entry_reply(one->element[1], &lookup->next, &id, err)) {
        return false;
    }
    lookup->has_piece = piece[0] != '\0';
    if (lookup->has_piece &&
        !offset_piece_parse(piece, one->element[2]->len, &lookup->piece, err)) {
        return false;
    }
    answer->place = place;
    return true;
}

/* Which incarnation it belongs to, and what of that is unmapped: the offset's own. */
static bool choose(struct answer *answer, int64_t offset, struct err *err)
{
    struct offset_lookup *lookup = answer->found;
    lookup->has_current = lookup->has_chosen = lookup->has_successor = lookup->has_unmapped = false;
    lookup->chosen_name[0] = '\0';
    return offset_choose(lookup, answer->reply->element[FLOORS_REPLY_INCARNATIONS], offset, false,
                         err);
}

static bool translate(struct answer *answer, struct group_lookup *lookup, size_t index,
                      int64_t now_ms, bool *out_other, struct err *err)
{
    const redisReply *place = answer->reply->element[FLOORS_REPLY_PLACES]->element[index];
    struct group_entry *entry = lookup->entries[index];
    struct offset_lookup *found = answer->found;
    struct translation translation;
    *out_other = false;
    if (place->type != REDIS_REPLY_INTEGER) {
        return strange(err);
    }
    if (!choose(answer, entry->facts.source_offset, err)) {
        return false;
    }
    if (found->has_chosen && strcmp(found->chosen_name, lookup->incarnation) != 0) {
        *out_other = true;
        return true;
    }
    offset_take_unmapped(found, answer->reply->element[FLOORS_REPLY_UNMAPPED],
                         entry->facts.source_offset, false);
    if (!read_place(answer, place->integer, err) ||
        !offset_lookup_translate(found, entry->facts.source_offset, false, &translation, err)) {
        return false;
    }
    group_entry_mapped(entry, &translation, now_ms);
    return true;
}

bool group_lookup_reply(struct group_lookup *lookup, const redisReply *reply, int64_t now_ms,
                        size_t *out_left, struct err *err)
{
    struct answer answer = {.reply = reply, .found = calloc(1, sizeof(*answer.found)), .place = -1};
    char next[INCARNATION_BYTES] = "";
    size_t left = 0;
    if (answer.found == NULL) {
        abort();
    }
    bool ok = shape_ok(reply, lookup->count) || strange(err);
    ok = ok && begin(&answer, lookup->incarnation, err);
    for (size_t i = 0; ok && i < lookup->count; i++) {
        bool other = false;
        ok = translate(&answer, lookup, i, now_ms, &other, err);
        if (ok && other) {
            if (left == 0) {
                memcpy(next, answer.found->chosen_name, sizeof(next));
            }
            lookup->entries[left++] = lookup->entries[i];
        }
    }
    free(answer.found);
    if (!ok) {
        return err_wrap(err, "map of %s:%d", lookup->part->topic, lookup->part->partition);
    }
    if (left > 0) {
        memcpy(lookup->incarnation, next, sizeof(next));
    }
    lookup->count = left;
    *out_left = left;
    return true;
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

static const char *text_at(const redisReply *list, size_t at, size_t *out_len)
{
    const redisReply *one = list->element[at];
    if (one->type != REDIS_REPLY_STRING) {
        return NULL;
    }
    *out_len = one->len;
    return one->str;
}

static bool take_checkpoint(struct group_table *table, const char *field, size_t field_len,
                            const char *value, size_t value_len)
{
    struct checkpoint checkpoint;
    char name[TOPIC_NAME_BYTES];
    int32_t partition;
    struct err err;
    if (!place_parse(field, field_len, name, &partition) ||
        !checkpoint_parse(value, value_len, &checkpoint, &err)) {
        return false;
    }
    /* What is not mirrored, and has no place, is nothing to us: topics that both sides have deleted stand there, too. */
    struct group_topic *topic = group_topic_find(table, name, strlen(name));
    struct group_part *part = topic == NULL ? NULL : group_part_make(topic, partition);
    if (part != NULL) {
        group_part_checkpoint(table, part, &checkpoint);
    }
    return topic == NULL || part != NULL;
}

size_t group_checkpoints_reply(struct group_table *table, const redisReply *list)
{
    size_t strangers = 0;
    group_table_reading(table);
    for (size_t i = 0; list->type == REDIS_REPLY_ARRAY && i + 1 < list->elements; i += 2) {
        size_t field_len = 0;
        size_t value_len = 0;
        const char *field = text_at(list, i, &field_len);
        const char *value = text_at(list, i + 1, &value_len);
        bool ok = field != NULL && value != NULL &&
                  take_checkpoint(table, field, field_len, value, value_len);
        strangers += ok ? 0 : 1;
    }
    return strangers;
}

static bool take_field(struct group_table *table, const char *field, size_t field_len,
                       const char *value, size_t value_len)
{
    char group[GROUP_FIELD_BYTES];
    char topic[TOPIC_NAME_BYTES];
    int32_t partition;
    struct err err;
    struct group_entry kept = {0};
    if (!group_field_parse(field, field_len, group, topic, &partition) ||
        !group_entry_parse(value, value_len, &kept, &err)) {
        return false;
    }
    struct group_part *part = group_part_make(group_topic_make(table, topic), partition);
    struct group_entry *entry =
        part == NULL ? NULL : group_entry_make(table, group_make(table, group), part);
    if (entry == NULL) {
        group_entry_done(&kept);
        return false;
    }
    table->stored_count += entry->stored ? 0 : 1; /* HSCAN may tell of one twice */
    group_entry_done(entry);
    entry->facts = kept.facts;
    entry->metadata = kept.metadata;
    entry->time_ms = kept.time_ms;
    group_entry_saved(entry);
    return true;
}

size_t group_fields_reply(struct group_table *table, const redisReply *list)
{
    size_t strangers = 0;
    for (size_t i = 0; list->type == REDIS_REPLY_ARRAY && i + 1 < list->elements; i += 2) {
        size_t field_len = 0;
        size_t value_len = 0;
        const char *field = text_at(list, i, &field_len);
        const char *value = text_at(list, i + 1, &value_len);
        bool ok =
            field != NULL && value != NULL && take_field(table, field, field_len, value, value_len);
        strangers += ok ? 0 : 1;
    }
    return strangers;
}
