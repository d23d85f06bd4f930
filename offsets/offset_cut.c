/* When the target's log was truncated: which run held its last record, and the stored map cut back to there. */
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/log.h"
#include "offsets/offset_inside.h"

#define CUT_TRIES 5 /* another worker's advance may come between what was read and the cut */

struct cut_call {
    struct offset_store *store;
    char *topic;
    int32_t partition;
    char incarnation[INCARNATION_BYTES];
    struct checkpoint place; /* floor: the end of what is known; cut: what stays ends there */
    int64_t target_offset;
    int tries;
    void (*found)(void *arg, bool found, struct offset_run run, const struct err *err);
    void (*cut)(void *arg, bool ok, const struct err *err);
    void *arg;
};

static struct cut_call *cut_call_new(struct offset_store *store, const char *topic,
                                     int32_t partition, const struct checkpoint *place,
                                     int64_t target_offset, void *arg)
{
    struct cut_call *made = must(calloc(1, sizeof(*made)));
    *made = (struct cut_call){.store = store,
                              .topic = must(strdup(topic)),
                              .partition = partition,
                              .place = *place,
                              .target_offset = target_offset,
                              .arg = arg};
    checkpoint_incarnation(place, made->incarnation);
    return made;
}

static void found_over(struct cut_call *made, const struct offset_run *run, const struct err *err)
{
    struct offset_run none = {0};
    made->found(made->arg, run != NULL, run == NULL ? none : *run, err);
    free(made->topic);
    free(made);
}

static void cut_over(struct cut_call *made, const struct err *err)
{
    made->cut(made->arg, err == NULL, err);
    free(made->topic);
    free(made);
}

/* --- what is stored ----------------------------------------------------------------------------------------------- */

struct stored {
    struct offset_found found;
    struct offset_letter letter;
    struct offset_stored_entry floor;
    struct offset_stored_entry behind;
    struct offset_place floor_id;
    struct offset_place behind_id;
};

static bool parse_stored(const struct cut_call *made, const redisReply *reply, struct stored *out,
                         struct err *err)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != FLOOR_REPLY_ELEMENTS) {
        return err_set(err, ERR_REFUSED, "Redis answers in a strange form");
    }
    return offset_entry_reply(reply->element[FLOOR_REPLY_ENTRY], &out->floor, &out->floor_id,
                              err) &&
           offset_entry_reply(reply->element[FLOOR_REPLY_BEHIND], &out->behind, &out->behind_id,
                              err) &&
           offset_found_reply(reply, FLOOR_REPLY_LOOK, made->incarnation, &out->found, &out->letter,
                              err);
}

static void ask(struct cut_call *made, redis_reply_fn *done)
{
    struct script_arguments arguments = {0};
    script_put_part(&arguments, made->store->base, made->topic, made->partition, made->incarnation);
    char bound[OFFSET_PIECE_NUMBER_BYTES];
    int64_t offset = made->target_offset < 0 ? 0 : made->target_offset;
    script_put_text(&arguments, "target");
    script_put_format(&arguments, "%lld", (long long)offset);
    script_put_text(&arguments, offset_piece_bound(offset, bound));
    offset_store_call(made->store, &offset_script_floor, PART_KEYS_COUNT, &arguments, done, made);
}

/* Where the entry's last run ends: the gaps of the entry behind it, or the index, say it; else one record is certain. */
static int64_t last_length(const struct stored *stored)
{
    const struct offset_run *last = &stored->floor.runs[stored->floor.runs_count - 1];
    const struct offset_stored_entry *behind = &stored->behind;
    const struct offset_index *index = &stored->found.index;
    struct offset_place end = {last->source_first + 1, last->target_first + 1};
    if (behind->there) {
        end.source = behind->runs[0].source_first - behind->source_gap;
        end.target = behind->runs[0].target_first - behind->target_gap;
    } else if (stored->found.has_index && index->top.source == stored->floor_id.source &&
               index->top.target == stored->floor_id.target) {
        end = index->run_end;
    }
    int64_t by_source = end.source - last->source_first;
    return by_source == end.target - last->target_first ? by_source : 0;
}

/* Runs of the entry that begin at or before the target offset; all closed. */
static size_t close_runs(struct stored *stored, int64_t target_offset)
{
    size_t count = 0;
    if (!stored->floor.there) {
        return 0;
    }
    stored->floor.runs[stored->floor.runs_count - 1].length = last_length(stored);
    while (count < stored->floor.runs_count &&
           stored->floor.runs[count].target_first <= target_offset) {
        count++;
    }
    return count;
}

/* --- the run that held a target offset ---------------------------------------------------------------------------- */

static void clip(struct offset_run *run, const struct checkpoint *end)
{
    int64_t by_source = end->source_next - run->source_first;
    int64_t by_target = end->target_next - run->target_first;
    int64_t most = by_source < by_target ? by_source : by_target;
    run->length = run->length < most ? run->length : most;
}

static void floor_told(void *arg, const redisReply *reply, const struct err *err)
{
    struct cut_call *made = arg;
    struct stored stored = {0};
    struct err why = {0};
    if (reply == NULL || !parse_stored(made, reply, &stored, &why)) {
        found_over(made, NULL, reply == NULL ? err : &why);
        return;
    }
    size_t count = close_runs(&stored, made->target_offset);
    if (count > 0) {
        clip(&stored.floor.runs[count - 1], &made->place);
    }
    if (count == 0 || stored.floor.runs[count - 1].length <= 0) {
        err_set(&why, ERR_REFUSED, "the map holds nothing at or before target offset %lld",
                (long long)made->target_offset);
        found_over(made, NULL, &why);
        return;
    }
    found_over(made, &stored.floor.runs[count - 1], NULL);
}

void offset_store_floor_target(struct offset_store *store, const char *topic, int32_t partition,
                               const struct checkpoint *end, int64_t target_offset,
                               void (*done)(void *arg, bool found, struct offset_run run,
                                            const struct err *err),
                               void *arg)
{
    struct cut_call *made = cut_call_new(store, topic, partition, end, target_offset, arg);
    struct err why = {0};
    made->found = done;
    if (!offset_store_usable(store, &why)) {
        found_over(made, NULL, &why);
        return;
    }
    ask(made, floor_told);
}

/* --- cutting ------------------------------------------------------------------------------------------------------ */

static struct offset_place place_of(const struct checkpoint *checkpoint)
{
    return (struct offset_place){checkpoint->source_next, checkpoint->target_next};
}

static bool is_behind(struct offset_place a, struct offset_place b)
{
    return a.source > b.source || a.target > b.target;
}

/* What Redis holds ends at or before the place, or is of another incarnation that the next advance follows: nothing goes,
 * and nothing may be added either. */
static bool nothing_to_cut(const struct cut_call *made, const struct stored *stored)
{
    return !stored->found.has_checkpoint ||
           !checkpoint_same_incarnation(&stored->found.checkpoint, &made->place) ||
           !is_behind(place_of(&stored->found.checkpoint), place_of(&made->place));
}

static void cut_told(void *arg, const redisReply *reply, const struct err *err);

static void put_expected(struct script_arguments *arguments, const struct cut_call *made,
                         const struct stored *stored)
{
    script_put_part(arguments, made->store->base, made->topic, made->partition, made->incarnation);
    script_put_text(arguments, stored->letter.checkpoint);
    script_put_text(arguments, stored->letter.index);
    script_put_text(arguments, stored->letter.top);
}

/* Entries were lost, or the map has the last record elsewhere than the log: it begins anew, and says unmapped. */
static void send_forget(struct cut_call *made, const struct stored *stored)
{
    struct script_arguments arguments = {0};
    log_warn("map.forgotten",
             "topic=%s partition=%d why=\"it contradicts the log\" doing=\"beginning it anew\"",
             made->topic, made->partition);
    put_expected(&arguments, made, stored);
    for (int i = 0; i < 4; i++) {
        script_put_text(&arguments, "");
    }
    offset_store_call(made->store, &offset_script_cut, PART_KEYS_COUNT, &arguments, cut_told, made);
}

static struct offset_index index_at(const struct cut_call *made, const struct stored *stored)
{
    struct offset_place next = place_of(&made->place);
    struct offset_place first = stored->found.index.first;
    return (struct offset_index){.first = is_behind(first, next) ? next : first,
                                 .next = next,
                                 .run_end = OFFSET_PLACE_NONE,
                                 .top = OFFSET_PLACE_NONE};
}

/* @param count  runs of the floor entry that stay, the last one shortened */
static void send_cut(struct cut_call *made, const struct stored *stored, size_t count)
{
    struct script_arguments arguments = {0};
    char text[CHECKPOINT_TEXT_BYTES];
    char index_text[INDEX_TEXT_BYTES];
    char id[OFFSET_ID_BYTES] = "";
    struct offset_entry entry = {0};
    struct offset_index index = index_at(made, stored);
    const struct offset_stored_entry *floor = &stored->floor;
    if (count > 0) {
        const struct offset_run *last = &floor->runs[count - 1];
        offset_entry_pack(&entry, floor->runs[0].source_first - floor->source_gap,
                          floor->runs[0].target_first - floor->target_gap, floor->runs, count);
        offset_id_text(stored->floor_id, id);
        index.run_end = (struct offset_place){last->source_first + last->length,
                                              last->target_first + last->length};
        index.top = stored->floor_id;
    }
    put_expected(&arguments, made, stored);
    script_put_text(&arguments, checkpoint_text(&made->place, text));
    script_put_text(&arguments, offset_index_text(&index, index_text));
    script_put_text(&arguments, id);
    script_put(&arguments, entry.packed, entry.packed_len);
    offset_store_call(made->store, &offset_script_cut, PART_KEYS_COUNT, &arguments, cut_told, made);
}

/* Shorten the last of `count` runs to end at the place. false: it does not. */
static bool shorten(const struct cut_call *made, struct stored *stored, size_t count)
{
    const struct offset_found *found = &stored->found;
    if (!found->has_index || found->top.source != found->index.top.source ||
        found->top.target != found->index.top.target) {
        return false;
    }
    if (count == 0) {
        return true;
    }
    struct offset_run *last = &stored->floor.runs[count - 1];
    int64_t most = made->place.target_next - last->target_first;
    last->length = last->length < most ? last->length : most;
    return last->length > 0 && last->source_first + last->length <= made->place.source_next;
}

static void cut_floor_told(void *arg, const redisReply *reply, const struct err *err)
{
    struct cut_call *made = arg;
    struct stored stored = {0};
    struct err why = {0};
    if (reply == NULL || !parse_stored(made, reply, &stored, &why)) {
        cut_over(made, reply == NULL ? err : &why);
        return;
    }
    if (nothing_to_cut(made, &stored)) {
        cut_over(made, NULL);
        return;
    }
    size_t count = close_runs(&stored, made->target_offset);
    if (shorten(made, &stored, count)) {
        send_cut(made, &stored, count);
    } else {
        send_forget(made, &stored);
    }
}

static void cut_told(void *arg, const redisReply *reply, const struct err *err)
{
    struct cut_call *made = arg;
    const char *verdict = reply == NULL ? NULL : script_text(reply, 0);
    struct err why = {0};
    if (verdict != NULL && strcmp(verdict, "ok") == 0) {
        cut_over(made, NULL);
    } else if (verdict != NULL && ++made->tries < CUT_TRIES) {
        ask(made, cut_floor_told);
    } else {
        err_set(&why, ERR_RETRY, "another worker writes this partition's map");
        cut_over(made, reply == NULL ? err : &why);
    }
}

void offset_store_cut(struct offset_store *store, const char *topic, int32_t partition,
                      const struct checkpoint *to, const char *why,
                      void (*done)(void *arg, bool ok, const struct err *err), void *arg)
{
    /* The last record that stays: everything behind it goes. */
    struct cut_call *made = cut_call_new(store, topic, partition, to, to->target_next - 1, arg);
    struct err away = {0};
    made->cut = done;
    log_warn("map.cut",
             "topic=%s partition=%d source_next=%lld target_next=%lld why=%s doing=\"mirroring it "
             "again\"",
             topic, partition, (long long)to->source_next, (long long)to->target_next,
             log_quote(why).text);
    offset_tracks_part(store, topic, partition);
    if (!offset_store_usable(store, &away)) {
        cut_over(made, &away);
        return;
    }
    ask(made, cut_floor_told);
}
