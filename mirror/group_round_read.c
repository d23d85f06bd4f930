#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/text.h"
#include "kafka/error.h"
#include "kafka/group_questions.h"
#include "mirror/group_round_inside.h"

#define BEGINS_MS 10000 /* where the target's logs begin moves with retention */

static const struct group_end *end_of(const struct group_round *round, bool of_target)
{
    return of_target ? &round->options.target : &round->options.source;
}

/* --- LOOK --------------------------------------------------------------------------------------------------------- */

struct listing {
    struct group_round *round;
    int32_t broker;
    bool of_target;
};

/* Longer names than a field takes, and names with a NUL in them, are not carried. */
static struct group *group_of(struct group_round *round, const struct listed_group *row)
{
    char name[GROUP_FIELD_BYTES];
    const struct config_service *service = round->options.service;
    int32_t len = row->group.len;
    if (len <= 0 || len >= GROUP_FIELD_BYTES - 270 || memchr(row->group.data, '\0', (size_t)len)) {
        return NULL;
    }
    snprintf(name, sizeof(name), "%.*s", (int)len, row->group.data);
    return config_patterns_match(&service->groups, name) ? group_make(round->options.table, name)
                                                         : NULL;
}

static void kind_text(struct wire_string string, char out[64])
{
    bool there = string.len > 0 && string.len < 64;
    snprintf(out, 64, "%.*s", there ? (int)string.len : 0, there ? string.data : "");
}

static bool is(struct wire_string string, const char *text)
{
    return string.len == (int32_t)strlen(text) && memcmp(string.data, text, strlen(text)) == 0;
}

static void take_listed(void *arg, const struct listed_group *row)
{
    const struct listing *listing = arg;
    char protocol[64];
    char type[64];
    struct group *group = group_of(listing->round, row);
    if (group == NULL) {
        return;
    }
    if (listing->of_target) {
        group->at_target = true;
        group->target_broker = listing->broker;
        /* Before Kafka 2.6 no state is listed: its coordinator refuses the commit if it has some. */
        group->target_members = row->state.len > 0 && !group_state_is_empty(row->state);
        return;
    }
    kind_text(row->protocol_type, protocol);
    kind_text(row->type, type);
    group->at_source = true;
    group->source_broker = listing->broker;
    group->kind = group_kind_of(protocol, type);
    group->source_was_empty = group->source_empty;
    group->source_empty = is(row->state, "Empty") && protocol[0] != '\0';
    group->source_members = !group_state_is_empty(row->state);
}

/* A list that is not whole counts as unknown. */
static void listed(void *arg, const struct err *err)
{
    struct listing *listing = arg;
    struct group_round *round = listing->round;
    if (err != NULL) {
        *(listing->of_target ? &round->target_known : &round->source_known) = false;
        round_incomplete(round, err);
    }
    free(listing);
    round_one_done(round);
}

static void list_groups(struct group_round *round, bool of_target)
{
    const struct group_end *end = end_of(round, of_target);
    struct cluster *cluster = end->cluster;
    int32_t count = cluster_brokers_count(cluster);
    for (int32_t i = 0; i < count; i++) {
        struct listing *listing = must(calloc(1, sizeof(*listing)));
        *listing = (struct listing){round, cluster_broker_at(cluster, i), of_target};
        const struct group_asker who = {.asks = end->asks, .done = listed, .arg = listing};
        round_wait(round);
        group_question_list(&who, listing->broker, take_listed);
    }
    if (count == 0) {
        struct err why;
        err_set(&why, ERR_RETRY, "%s: %s", end->site,
                cluster_last_error(cluster)[0] == '\0' ? "not reached yet"
                                                       : cluster_last_error(cluster));
        round_fail(round, &why);
    }
}

void round_look(struct group_round *round)
{
    struct group_table *table = round->options.table;
    for (size_t i = 0; i < table->groups_count; i++) {
        struct group *group = table->groups[i];
        group->at_source = group->at_target = group->target_members = false;
        group->read = group->looked = false;
        group->source_broker = group->target_broker = -1;
    }
    round->source_known = round->target_known = true;
    list_groups(round, false);
    list_groups(round, true);
    if (round->err.kind == ERR_NONE) {
        round_look_redis(round);
    }
}

/* --- commits of many groups --------------------------------------------------------------------------------------- */

struct some_groups { /* one request */
    struct group_round *round;
    const struct group_end *end;
    bool of_target;
    struct group **groups;
    int32_t count;
};

static struct some_groups *some_new(struct group_round *round, bool of_target,
                                    struct group **groups, size_t count)
{
    struct some_groups *some = must(calloc(1, sizeof(*some)));
    some->round = round;
    some->end = end_of(round, of_target);
    some->of_target = of_target;
    some->groups = must(calloc(count + 1, sizeof(struct group *)));
    memcpy(some->groups, groups, count * sizeof(struct group *));
    some->count = (int32_t)count;
    return some;
}

static void some_done(struct some_groups *some)
{
    struct group_round *round = some->round;
    free(some->groups);
    free(some);
    round_one_done(round);
}

/* NULL: nobody asked for it. */
static struct group *asked(const struct some_groups *some, struct wire_string name)
{
    if (name.len < 0) {
        return some->count == 1 ? some->groups[0] : NULL;
    }
    return group_find(some->round->options.table, name.data, (size_t)name.len);
}

/* Heap, `count` of them. */
static const char **names_of(struct group **groups, size_t count)
{
    const char **names = must(calloc(count + 1, sizeof(*names)));
    for (size_t i = 0; i < count; i++) {
        names[i] = groups[i]->name;
    }
    return names;
}

struct group_topic *round_topic_of(struct group_round *round, struct topic_walk *walk,
                                   struct wire_string name)
{
    if (name.data != walk->data) {
        walk->data = name.data;
        walk->topic = name.len <= 0
                          ? NULL
                          : group_topic_find(round->options.table, name.data, (size_t)name.len);
        if (walk->topic != NULL && !walk->topic->mirrored) {
            walk->topic = NULL;
        }
    }
    return walk->topic;
}

static void take_source(struct group_round *round, struct group *group,
                        const struct offset_fetch_group *answer)
{
    struct topic_walk walk = {.data = NULL};
    group->read = true;
    for (int32_t i = 0; i < answer->parts_count; i++) {
        const struct offset_fetch_part *row = &answer->parts[i];
        struct group_topic *topic = round_topic_of(round, &walk, row->topic);
        if (topic == NULL || row->offset < 0 || row->error != KAFKA_NONE) {
            continue;
        }
        struct group_part *part = group_part_make(topic, row->partition);
        struct group_entry *entry =
            part == NULL ? NULL : group_entry_make(round->options.table, group, part);
        if (entry != NULL) {
            size_t len = row->metadata.len > 0 ? (size_t)row->metadata.len : 0;
            bool known = entry->seen_ms != 0;
            entry->round = round->number;
            bool moved = group_entry_source(entry, row->offset, row->metadata.data, len,
                                            round_now_ms(round), round_wall_ms(round));
            group_entry_readers(entry, group->source_empty, group->source_was_empty && known,
                                moved);
        }
    }
}

static bool same_metadata(const struct group_entry *entry, struct wire_string text)
{
    size_t ours = entry->metadata == NULL ? 0 : strlen(entry->metadata);
    size_t there = text.len > 0 ? strnlen(text.data, (size_t)text.len) : 0;
    return ours == there && (ours == 0 || memcmp(entry->metadata, text.data, ours) == 0);
}

static void take_target(struct group_round *round, struct group *group,
                        const struct offset_fetch_group *answer)
{
    struct topic_walk walk = {.data = NULL};
    group->looked = true;
    for (size_t i = 0; i < group->entries_count; i++) {
        group->entries[i]->target_now = -1;
        group->entries[i]->same_metadata = false;
    }
    for (int32_t i = 0; i < answer->parts_count; i++) {
        const struct offset_fetch_part *row = &answer->parts[i];
        struct group_topic *topic = round_topic_of(round, &walk, row->topic);
        bool known = topic != NULL && row->partition >= 0 && row->partition < topic->parts_count &&
                     topic->parts[row->partition] != NULL;
        struct group_entry *entry =
            known ? group_entry_find(group, topic->parts[row->partition]) : NULL;
        if (entry != NULL) {
            entry->target_now = row->offset < 0 ? -1 : row->offset;
            entry->same_metadata = same_metadata(entry, row->metadata);
            entry->due = entry->due && row->error == KAFKA_NONE;
        }
    }
}

static void group_refused(struct some_groups *some, struct group *group, enum api_key api,
                          int16_t error)
{
    struct group_round *round = some->round;
    struct err why;
    char lacks[ACL_LACKS_BYTES];
    bool denied =
        cluster_denied(some->end->cluster, error, some->of_target ? ACL_READ : ACL_DESCRIBE,
                       ACL_GROUP, group->name, lacks);
    err_set_code(&why, ERR_RETRY, error, "%s: %s of group '%.200s': %s", some->end->site,
                 api_name(api), group->name, denied ? lacks : kafka_error_name(error));
    bool lasting = some->of_target && !group_error_passes(error); /* its places say so */
    (lasting ? round_note : round_incomplete)(round, &why);
    if (lasting) {
        text_print(group->refused, sizeof(group->refused), "%s",
                   denied ? lacks : kafka_error_name(error));
    }
}

static void take_fetched(void *arg, const struct offset_fetch_group *row)
{
    struct some_groups *some = arg;
    struct group *group = asked(some, row->group);
    if (group == NULL) {
        return;
    }
    if (row->error != KAFKA_NONE) {
        group_refused(some, group, API_OFFSET_FETCH, row->error);
    } else if (some->of_target) {
        take_target(some->round, group, row);
    } else {
        take_source(some->round, group, row);
    }
}

static void fetched(void *arg, const struct err *err)
{
    struct some_groups *some = arg;
    if (err != NULL) {
        round_incomplete(some->round, err);
    }
    some_done(some);
}

static void fetch_some(struct group_round *round, bool of_target, int32_t broker,
                       struct group **groups, size_t count)
{
    size_t most = group_questions_most(end_of(round, of_target)->cluster, broker, API_OFFSET_FETCH);
    const char **names = names_of(groups, count);
    for (size_t at = 0; at < count; at += most) {
        size_t few = count - at < most ? count - at : most;
        struct some_groups *some = some_new(round, of_target, groups + at, few);
        const struct group_asker who = {.asks = some->end->asks, .done = fetched, .arg = some};
        round_wait(round);
        group_question_fetch(&who, broker, 0, names + at, (int32_t)few, take_fetched);
    }
    free(names);
}

/* Of `groups`, those of each broker together. */
static void fetch_by_broker(struct group_round *round, bool of_target, struct group **groups,
                            size_t count)
{
    struct cluster *cluster = end_of(round, of_target)->cluster;
    struct group **of_broker = must(calloc(count + 1, sizeof(struct group *)));
    for (int32_t i = 0; i < cluster_brokers_count(cluster); i++) {
        int32_t broker = cluster_broker_at(cluster, i);
        size_t found = 0;
        for (size_t j = 0; j < count; j++) {
            int32_t at = of_target ? groups[j]->target_broker : groups[j]->source_broker;
            if (at == broker) {
                of_broker[found++] = groups[j];
            }
        }
        fetch_some(round, of_target, broker, of_broker, found);
    }
    free(of_broker);
}

/* --- READ --------------------------------------------------------------------------------------------------------- */

/* Where logs begin at the target, and where they end at the source for groups that nobody reads for any more. */
struct some_parts { /* one ListOffsets */
    struct group_round *round;
    bool of_target;
    struct topic_partition *parts;
    int32_t count;
};

static void put_parts(void *arg, struct writer *writer, int16_t version)
{
    const struct some_parts *some = arg;
    proto_put_list_offsets(writer, version, false,
                           some->of_target ? LIST_OFFSETS_EARLIEST : LIST_OFFSETS_LATEST,
                           some->parts, some->count);
}

static void take_limit(struct group_round *round, const struct group_part *part, int64_t end)
{
    struct group_table *table = round->options.table;
    for (size_t i = 0; i < table->groups_count; i++) {
        struct group *group = table->groups[i];
        struct group_entry *entry =
            group->read && group->source_empty ? group_entry_find(group, part) : NULL;
        if (entry != NULL && group_entry_wants_limit(entry, true)) {
            group_entry_limit(entry, end);
        }
    }
}

static void take_parts(const struct some_parts *some, const struct list_offsets_answer *answer)
{
    struct topic_walk walk = {.data = NULL};
    for (int32_t i = 0; i < answer->parts_count; i++) {
        const struct list_offsets_part *row = &answer->parts[i];
        struct group_topic *topic = round_topic_of(some->round, &walk, row->topic);
        if (topic == NULL || row->error != KAFKA_NONE || row->partition < 0 ||
            row->partition >= topic->parts_count || topic->parts[row->partition] == NULL) {
            continue;
        }
        if (some->of_target) {
            topic->parts[row->partition]->target_begin = row->offset;
        } else {
            take_limit(some->round, topic->parts[row->partition], row->offset);
        }
    }
}

static bool parts_answered(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct some_parts *some = arg;
    struct group_round *round = some->round;
    struct list_offsets_answer answer;
    struct err why;
    bool understood = true;
    if (reader == NULL) {
        round_note(round, err);
    } else if (!(understood = proto_get_list_offsets(reader, version, &answer, &why))) {
        round_note(round, &why);
    } else {
        take_parts(some, &answer);
        list_offsets_answer_done(&answer);
    }
    free(some->parts);
    free(some);
    round_one_done(round);
    return understood;
}

static void send_parts(struct group_round *round, int32_t broker, struct some_parts *take_some)
{
    struct broker_ask ask = {.broker = broker,
                             .api = API_LIST_OFFSETS,
                             .put = put_parts,
                             .answer = parts_answered,
                             .arg = take_some};
    round_wait(round);
    broker_ask(take_some->of_target ? round->options.target.asks : round->options.source.asks,
               &ask);
}

static bool is_wanted(const struct group_round *round, const struct group_topic *topic, int32_t p,
                      bool of_target, int32_t broker)
{
    struct cluster *cluster =
        of_target ? round->options.target.cluster : round->options.source.cluster;
    return topic->parts[p] != NULL && (of_target || topic->parts[p]->limit_wanted) &&
           cluster_leader(cluster, topic->name, p).broker == broker;
}

static void parts_of_broker(struct group_round *round, bool of_target, int32_t broker)
{
    struct group_table *table = round->options.table;
    struct some_parts *some = NULL;
    for (size_t i = 0; i < table->topics_count; i++) {
        struct group_topic *topic = table->topics[i];
        for (int32_t p = 0; topic->mirrored && p < topic->parts_count; p++) {
            if (!is_wanted(round, topic, p, of_target, broker)) {
                continue;
            }
            if (some == NULL) {
                some = must(calloc(1, sizeof(*some)));
                some->round = round;
                some->of_target = of_target;
                some->parts = must(calloc(ROUND_PARTS_A_REQUEST, sizeof(*some->parts)));
            }
            some->parts[some->count++] = (struct topic_partition){topic->name, p};
            if (some->count == ROUND_PARTS_A_REQUEST) {
                send_parts(round, broker, some);
                some = NULL;
            }
        }
    }
    if (some != NULL) {
        send_parts(round, broker, some);
    }
}

static void read_begins(struct group_round *round)
{
    struct cluster *target = round->options.target.cluster;
    if (round->begins_ms != 0 && round_now_ms(round) - round->begins_ms < BEGINS_MS) {
        return;
    }
    round->begins_ms = round_now_ms(round);
    for (int32_t i = 0; i < cluster_brokers_count(target); i++) {
        parts_of_broker(round, true, cluster_broker_at(target, i));
    }
}

/* Behind READ: the end is asked for after the group was seen empty. */
void round_read_limits(struct group_round *round)
{
    struct cluster *source = round->options.source.cluster;
    if (group_table_limits(round->options.table) == 0) {
        return;
    }
    for (int32_t i = 0; i < cluster_brokers_count(source); i++) {
        parts_of_broker(round, false, cluster_broker_at(source, i));
    }
}

void round_read_source(struct group_round *round)
{
    struct group_table *table = round->options.table;
    struct group **groups = must(calloc(table->groups_count + 1, sizeof(struct group *)));
    size_t count = 0;
    round->read_ms = round_wall_ms(round);
    for (size_t i = 0; i < table->groups_count; i++) {
        struct group *group = table->groups[i];
        if (group->at_source && group_kind_carried(group->kind)) {
            groups[count++] = group;
        }
    }
    fetch_by_broker(round, false, groups, count);
    free(groups);
    read_begins(round);
}

/* --- FIND, TARGET ------------------------------------------------------------------------------------------------- */

/* Has the target to be read for it? Verdicts are as they are now. */
static bool group_due(struct group_round *round, struct group *group)
{
    bool off = !round->options.service->groups_commit;
    bool due = false;
    for (size_t i = 0; i < group->entries_count; i++) {
        struct group_entry *entry = group->entries[i];
        entry->committing = false;
        entry->due = false;
        if (entry->pending) {
            continue;
        }
        group_entry_settle(entry, entry->part->target_begin);
        entry->due = group_kind_carried(group->kind) &&
                     group_entry_due(entry, off, group->target_members, round_now_ms(round),
                                     round_wall_ms(round));
        due = due || entry->due;
    }
    return due && (group->at_target || round->target_known);
}

static void take_found(void *arg, const struct coordinator_row *row)
{
    struct some_groups *some = arg;
    struct group *group = asked(some, row->group);
    if (group != NULL && row->error == KAFKA_NONE) {
        group->target_broker = row->id;
    } else if (group != NULL) {
        group_refused(some, group, API_FIND_COORDINATOR, row->error);
    }
}

static void found(void *arg, const struct err *err)
{
    struct some_groups *some = arg;
    if (err != NULL) {
        round_note(some->round, err);
    }
    some_done(some);
}

static void find_some(struct group_round *round, struct group **groups, size_t count)
{
    size_t most =
        group_questions_most(round->options.target.cluster, BROKER_ANY, API_FIND_COORDINATOR);
    const char **names = names_of(groups, count);
    for (size_t at = 0; at < count; at += most) {
        size_t few = count - at < most ? count - at : most;
        struct some_groups *some = some_new(round, true, groups + at, few);
        const struct group_asker who = {.asks = some->end->asks, .done = found, .arg = some};
        round_wait(round);
        group_question_find(&who, names + at, (int32_t)few, take_found);
    }
    free(names);
}

void round_find(struct group_round *round)
{
    struct group_table *table = round->options.table;
    struct group **groups = must(calloc(table->groups_count + 1, sizeof(struct group *)));
    size_t count = 0;
    for (size_t i = 0; i < table->groups_count; i++) {
        struct group *group = table->groups[i];
        group->due = group_due(round, group);
        if (group->due) {
            group->refused[0] = '\0';
        }
        if (group->due && group->target_broker < 0) {
            groups[count++] = group;
        }
    }
    find_some(round, groups, count);
    free(groups);
}

void round_read_target(struct group_round *round)
{
    struct group_table *table = round->options.table;
    struct group **groups = must(calloc(table->groups_count + 1, sizeof(struct group *)));
    size_t count = 0;
    for (size_t i = 0; i < table->groups_count; i++) {
        if (table->groups[i]->due && table->groups[i]->target_broker >= 0) {
            groups[count++] = table->groups[i];
        }
    }
    fetch_by_broker(round, true, groups, count);
    free(groups);
}
