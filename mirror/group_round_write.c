#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/heap.h"
#include "base/log.h"
#include "base/text.h"
#include "kafka/error.h"
#include "kafka/group_questions.h"
#include "mirror/group_round_inside.h"

#define FIELDS_A_CALL 200
#define TELL_GROUPS   20

/* --- STORE -------------------------------------------------------------------------------------------------------- */

struct fields { /* arguments of one HSET or HDEL */
    struct group_round *round;
    struct script_arguments arguments;
    int fields_count;
};

static void stored(void *arg, const redisReply *reply, const struct err *err)
{
    struct group_round *round = arg;
    if (reply == NULL) {
        round->store_failed = true;
        round_incomplete(round, err);
    }
}

static void send_fields(struct fields *fields)
{
    struct group_round *round = fields->round;
    if (fields->fields_count == 0) {
        return;
    }
    round_call_redis(round, NULL, 0, &fields->arguments, stored, round);
    fields->fields_count = 0;
}

static void field_begin(struct fields *fields, const char *command)
{
    if (fields->fields_count == FIELDS_A_CALL) {
        send_fields(fields);
    }
    if (fields->fields_count++ == 0) {
        script_put_text(&fields->arguments, command);
        script_put_text(&fields->arguments, fields->round->groups_key);
    }
}

static void store_entry(struct fields *set, struct group *group, struct group_entry *entry)
{
    char field[GROUP_FIELD_BYTES];
    char text[GROUP_TEXT_BYTES];
    if (!group_entry_unsaved(entry) ||
        !group_field_text(group->name, entry->part->topic, entry->part->partition, field)) {
        return;
    }
    field_begin(set, "HSET");
    script_put_text(&set->arguments, field);
    script_put(&set->arguments, text, group_entry_text(entry, text));
    set->round->options.table->stored_count += entry->stored ? 0 : 1;
    set->round->totals.stored++;
    group_entry_saved(entry);
}

/* Its group was read, and it was not there: deleted, expired, or of a topic that is not mirrored any more. */
static bool is_gone(struct group_round *round, const struct group *group, struct group_entry *entry)
{
    bool looked = group->read || (round->source_known && !group->at_source) ||
                  !group_kind_carried(group->kind);
    if (!looked || entry->round == round->number) {
        return false;
    }
    if (entry->absent_ms == 0) {
        entry->absent_ms = round_now_ms(round);
    }
    return round_now_ms(round) - entry->absent_ms >= GROUP_ABSENT_MS;
}

static void forget(struct fields *del, struct group *group, size_t index)
{
    char field[GROUP_FIELD_BYTES];
    const struct group_part *part = group->entries[index]->part;
    if (group->entries[index]->stored &&
        group_field_text(group->name, part->topic, part->partition, field)) {
        field_begin(del, "HDEL");
        script_put_text(&del->arguments, field);
    }
    group_entry_remove(del->round->options.table, group, index);
}

static void tell_hold(struct group_round *round, struct group *group, enum group_hold hold)
{
    if (hold == group->told || round->told_groups >= TELL_GROUPS) {
        return;
    }
    group->told = hold;
    round->told_groups++;
    log_info("group.hold", "link=%s>%s group=%s why=%s detail=%s", round->options.source.site,
             round->options.target.site, log_quote(group->name).text, group_hold_name(hold),
             log_quote(group->refused).text);
}

/* @return what holds it back */
static enum group_hold decide_entry(struct group_round *round, struct group *group,
                                    struct group_entry *entry)
{
    const struct group_target target = {.off = !round->options.service->groups_commit,
                                        .members = group->target_members,
                                        .offset = entry->target_now,
                                        .same_metadata = entry->same_metadata,
                                        .now_ms = round_now_ms(round),
                                        .wall_ms = round_wall_ms(round)};
    if (entry->pending) {
        return entry->facts.hold;
    }
    if (target.off || target.members || entry->facts.target_offset < 0) {
        entry->committing = group_entry_decide(entry, &target);
    } else if (entry->due && group->looked) {
        entry->committing = group_entry_decide(entry, &target);
    } else if (entry->due && group->refused[0] != '\0') {
        group_entry_answered(entry, false, GROUP_REFUSED, target.now_ms);
    } else if (entry->facts.hold == GROUP_OFF || entry->facts.hold == GROUP_MEMBERS) {
        entry->look_ms = 0; /* that is over: to be looked at */
    }
    return entry->facts.hold;
}

static void decide_group(struct group_round *round, struct fields *set, struct fields *del,
                         struct group *group)
{
    enum group_hold worst = GROUP_FREE;
    for (size_t i = group->entries_count; i-- > 0;) {
        if (is_gone(round, group, group->entries[i])) {
            forget(del, group, i);
        }
    }
    for (size_t i = 0; i < group->entries_count; i++) {
        struct group_entry *entry = group->entries[i];
        enum group_hold hold = decide_entry(round, group, entry);
        worst = hold > worst ? hold : worst;
        if (!entry->pending) {
            store_entry(set, group, entry);
        }
    }
    if (group->entries_count > 0) {
        tell_hold(round, group, worst);
    }
}

void round_store(struct group_round *round)
{
    struct group_table *table = round->options.table;
    struct fields set = {.round = round};
    struct fields del = {.round = round};
    round->store_failed = false;
    round->told_groups = 0;
    for (size_t i = 0; i < table->groups_count; i++) {
        decide_group(round, &set, &del, table->groups[i]);
    }
    send_fields(&set);
    send_fields(&del);
    round_tell_read(round);
}

/* --- COMMIT ------------------------------------------------------------------------------------------------------- */

struct commit_call {
    struct group_round *round;
    struct group *group;
    struct group_entry **entries; /* topics together */
    int32_t count;
};

/* Why a coordinator did not take a commit. Those with members at the target refuse everybody who is none. */
static enum group_hold why_refused(int16_t error)
{
    if (group_error_is_members(error)) {
        return GROUP_MEMBERS;
    }
    return group_error_passes(error) ? GROUP_FREE : GROUP_REFUSED;
}

static void commit_row(struct commit_call *call, struct group_entry *entry, int16_t error)
{
    struct group_round *round = call->round;
    struct err why;
    char lacks[ACL_LACKS_BYTES];
    entry->committing = false;
    if (error == KAFKA_NONE) {
        round->totals.commits++;
        group_entry_answered(entry, true, GROUP_FREE, round_now_ms(round));
        return;
    }
    round->totals.refused++;
    enum group_hold hold = why_refused(error);
    group_entry_answered(entry, false, hold, round_now_ms(round));
    bool of_topic = error == KAFKA_TOPIC_AUTHORIZATION_FAILED;
    bool denied = cluster_denied(round->options.target.cluster, error, ACL_READ,
                                 of_topic ? ACL_TOPIC : ACL_GROUP,
                                 of_topic ? entry->part->topic : call->group->name, lacks);
    err_set_code(&why, ERR_RETRY, error, "%s: commit for group '%.200s', %s:%d: %s",
                 round->options.target.site, call->group->name, entry->part->topic,
                 entry->part->partition, denied ? lacks : kafka_error_name(error));
    if (hold == GROUP_REFUSED) {
        text_print(call->group->refused, sizeof(call->group->refused), "%s",
                   denied ? lacks : kafka_error_name(error));
    }
    if (hold != GROUP_MEMBERS) {
        round_note(round, &why);
    }
}

static void take_commit(void *arg, const struct offset_commit_row *row)
{
    struct commit_call *call = arg;
    struct topic_walk walk = {.data = NULL};
    struct group_topic *topic = round_topic_of(call->round, &walk, row->topic);
    bool known = topic != NULL && row->partition >= 0 && row->partition < topic->parts_count &&
                 topic->parts[row->partition] != NULL;
    struct group_entry *entry =
        known ? group_entry_find(call->group, topic->parts[row->partition]) : NULL;
    if (entry != NULL && entry->committing) {
        commit_row(call, entry, row->error);
    }
}

static void committed(void *arg, const struct err *err)
{
    struct commit_call *call = arg;
    struct group_round *round = call->round;
    if (err != NULL) {
        round_note(round, err);
    }
    for (int32_t i = 0; i < call->count; i++) {
        if (call->entries[i]->committing) { /* no word of it: read again, then decided anew */
            call->entries[i]->committing = false;
            group_entry_answered(call->entries[i], false, GROUP_FREE, round_now_ms(round));
        }
    }
    free(call->entries);
    free(call);
    round_one_done(round);
}

static void commit_some(struct group_round *round, struct group *group,
                        struct group_entry **entries, int32_t count)
{
    struct commit_call *call = must(calloc(1, sizeof(*call)));
    struct offset_commit_part *parts = must(calloc((size_t)count + 1, sizeof(*parts)));
    call->round = round;
    call->group = group;
    call->entries = must(calloc((size_t)count, sizeof(struct group_entry *)));
    memcpy(call->entries, entries, (size_t)count * sizeof(struct group_entry *));
    call->count = count;
    for (int32_t i = 0; i < count; i++) {
        parts[i] = (struct offset_commit_part){.topic = entries[i]->part->topic,
                                               .partition = entries[i]->part->partition,
                                               .offset = entries[i]->facts.committed,
                                               .metadata = entries[i]->metadata};
    }
    const struct group_asker who = {
        .asks = round->options.target.asks, .done = committed, .arg = call};
    round_wait(round);
    group_question_commit(&who, group->target_broker, 0, group->name, parts, count, take_commit);
    free(parts);
}

static void commit_group(struct group_round *round, struct group *group)
{
    struct group_entry *some[ROUND_PARTS_A_REQUEST];
    int32_t count = 0;
    for (size_t i = 0; i < group->entries_count; i++) {
        if (group->entries[i]->committing) {
            some[count++] = group->entries[i];
        }
        if (count == ROUND_PARTS_A_REQUEST) {
            commit_some(round, group, some, count);
            count = 0;
        }
    }
    if (count > 0) {
        commit_some(round, group, some, count);
    }
}

void round_commit(struct group_round *round)
{
    struct group_table *table = round->options.table;
    struct err why = {0};
    if (round->store_failed) { /* what is not known for ours may not be written */
        group_table_unstored(table);
        return;
    }
    if (!round->options.may(round->options.arg, &why)) {
        round_fail(round, &why);
        return;
    }
    for (size_t i = 0; i < table->groups_count; i++) {
        commit_group(round, table->groups[i]);
    }
}
