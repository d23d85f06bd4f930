/* See proto.h: what is asked of and written for many groups (ListGroups, FindCoordinator with many keys, OffsetCommit), and
 * who is in one (DescribeGroups, ConsumerGroupDescribe). */
#include <assert.h>

#include "kafka/proto_private.h"

/* --- FindCoordinator ------------------------------------------------------------------------------------------- */

void proto_put_find_coordinators(struct writer *writer, int16_t version, const char *const *groups,
                                 int32_t count)
{
    proto_begin(writer, API_FIND_COORDINATOR, version);
    assert(version >= 4 || count == 1);
    if (version <= 3) {
        proto_put_find_coordinator(writer, version, false, groups[0]);
        return;
    }
    writer_i8(writer, 0); /* KeyType: groups */
    wire_put_list(writer, count);
    for (int32_t i = 0; i < count; i++) {
        wire_put_text(writer, groups[i]);
    }
    wire_put_no_tags(writer);
}

static void get_coordinator_rows(struct reader *reader, struct proto_array *rows)
{
    int32_t count =
        proto_count(reader, 14); /* key 1, id 4, host 1, port 4, error 2, text 1, tags 1 */

    proto_array_reserve(rows, count, sizeof(struct coordinator_row));
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        struct coordinator_row *row = (struct coordinator_row *)rows->items + rows->count++;
        row->group = wire_text(reader);
        row->id = reader_i32(reader);
        wire_text(reader);  /* Host */
        reader_i32(reader); /* Port */
        row->error = reader_i16(reader);
        wire_text(reader); /* ErrorMessage */
        wire_skip_tags(reader);
    }
}

static void get_coordinator_alone(struct reader *reader, struct proto_array *rows)
{
    proto_array_reserve(rows, 1, sizeof(struct coordinator_row));
    struct coordinator_row *row = (struct coordinator_row *)rows->items + rows->count++;
    row->group = (struct wire_string){.data = NULL, .len = -1};
    row->error = reader_i16(reader);
    wire_text(reader); /* ErrorMessage */
    row->id = reader_i32(reader);
    wire_text(reader);  /* Host */
    reader_i32(reader); /* Port */
}

bool proto_get_find_coordinators(struct reader *reader, int16_t version,
                                 struct find_coordinators_answer *out, struct err *err)
{
    struct proto_array rows = {0};

    proto_enter(reader, API_FIND_COORDINATOR, version);
    reader_i32(reader); /* ThrottleTimeMs */
    if (version <= 3) {
        get_coordinator_alone(reader, &rows);
    } else {
        get_coordinator_rows(reader, &rows);
    }
    wire_skip_tags(reader);
    if (!proto_finish(reader, API_FIND_COORDINATOR, version, err)) {
        free(rows.items);
        return false;
    }
    *out = (struct find_coordinators_answer){.rows = rows.items, .rows_count = rows.count};
    return true;
}

void find_coordinators_answer_done(struct find_coordinators_answer *answer)
{
    free(answer->rows);
    *answer = (struct find_coordinators_answer){0};
}

/* --- ListGroups ------------------------------------------------------------------------------------------------ */

void proto_put_list_groups(struct writer *writer, int16_t version)
{
    proto_begin(writer, API_LIST_GROUPS, version);
    if (version >= 4) {
        wire_put_list(writer, 0); /* StatesFilter: any */
    }
    if (version >= 5) {
        wire_put_list(writer, 0); /* TypesFilter: any */
    }
    wire_put_no_tags(writer);
}

bool proto_get_list_groups(struct reader *reader, int16_t version, struct list_groups_answer *out,
                           struct err *err)
{
    static const struct wire_string none = {.data = NULL, .len = -1};
    struct proto_array groups = {0};

    proto_enter(reader, API_LIST_GROUPS, version);
    reader_i32(reader); /* ThrottleTimeMs */
    int16_t error = reader_i16(reader);
    int32_t count = proto_count(reader, version < 4 ? 3 : (size_t)version); /* strings, tags */
    proto_array_reserve(&groups, count, sizeof(struct listed_group));
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        struct listed_group *group = (struct listed_group *)groups.items + groups.count++;
        group->group = wire_text(reader);
        group->protocol_type = wire_text(reader);
        group->state = version >= 4 ? wire_text(reader) : none;
        group->type = version >= 5 ? wire_text(reader) : none;
        wire_skip_tags(reader);
    }
    wire_skip_tags(reader);
    if (!proto_finish(reader, API_LIST_GROUPS, version, err)) {
        free(groups.items);
        return false;
    }
    *out = (struct list_groups_answer){
        .error = error, .groups = groups.items, .groups_count = groups.count};
    return true;
}

void list_groups_answer_done(struct list_groups_answer *answer)
{
    free(answer->groups);
    *answer = (struct list_groups_answer){0};
}

/* --- DescribeGroups, ConsumerGroupDescribe ----------------------------------------------------------------------- */

void proto_put_describe_group(struct writer *writer, enum api_key api, int16_t version,
                              const char *group)
{
    proto_begin(writer, api, version);
    wire_put_list(writer, 1);
    wire_put_text(writer, group);
    if (api == API_CONSUMER_GROUP_DESCRIBE || version >= 3) {
        writer_i8(writer, 0); /* IncludeAuthorizedOperations */
    }
    wire_put_no_tags(writer);
}

static void skip_assignment(struct reader *reader)
{
    int32_t topics_count = proto_count(reader, 19); /* id 16, two lengths, tags */
    for (int32_t i = 0; i < topics_count && !reader->bad; i++) {
        reader_bytes(reader, 16); /* TopicId */
        wire_text(reader);        /* TopicName */
        reader_bytes(reader, (size_t)proto_count(reader, 4) * 4);
        wire_skip_tags(reader);
    }
    wire_skip_tags(reader);
}

static void skip_subscription(struct reader *reader)
{
    int32_t topics_count = proto_count(reader, 1);
    for (int32_t i = 0; i < topics_count && !reader->bad; i++) {
        wire_text(reader); /* SubscribedTopicNames */
    }
    wire_text(reader); /* SubscribedTopicRegex */
    skip_assignment(reader);
    skip_assignment(reader); /* TargetAssignment */
}

static void get_member(struct reader *reader, bool consumer, int16_t version,
                       struct described_member *member)
{
    static const struct wire_string none = {.data = NULL, .len = -1};
    member->member_id = wire_text(reader);
    member->instance_id = consumer || version >= 4 ? wire_text(reader) : none;
    if (consumer) {
        wire_text(reader);  /* RackId */
        reader_i32(reader); /* MemberEpoch */
    }
    member->client_id = wire_text(reader);
    member->client_host = wire_text(reader);
    if (consumer) {
        skip_subscription(reader);
    } else {
        wire_blob(reader); /* MemberMetadata: only the group's members understand it */
        wire_blob(reader); /* MemberAssignment */
    }
    wire_skip_tags(reader);
}

/* At least: six lengths and tags; of the consumer protocol an array, an epoch and two assignments more. */
static void get_members(struct reader *reader, bool consumer, int16_t version,
                        struct proto_array *members)
{
    int32_t count = proto_count(reader, consumer ? 16 : 7);
    proto_array_reserve(members, count, sizeof(struct described_member));
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        get_member(reader, consumer, version,
                   (struct described_member *)members->items + members->count++);
    }
}

static void get_described(struct reader *reader, bool consumer, int16_t version,
                          struct describe_group_answer *answer, struct proto_array *members)
{
    answer->error = reader_i16(reader);
    if (consumer) {
        wire_text(reader); /* ErrorMessage */
    }
    wire_text(reader); /* GroupId */
    answer->state = wire_text(reader);
    if (consumer) {
        reader_i32(reader); /* GroupEpoch */
        reader_i32(reader); /* AssignmentEpoch */
        wire_text(reader);  /* AssignorName */
    } else {
        wire_text(reader); /* ProtocolType */
        wire_text(reader); /* ProtocolData */
    }
    get_members(reader, consumer, version, members);
    if (consumer || version >= 3) {
        reader_i32(reader); /* AuthorizedOperations */
    }
    wire_skip_tags(reader);
}

bool proto_get_describe_group(struct reader *reader, enum api_key api, int16_t version,
                              struct describe_group_answer *out, struct err *err)
{
    struct describe_group_answer answer = {0};
    struct proto_array members = {0};
    bool consumer = api == API_CONSUMER_GROUP_DESCRIBE;

    proto_enter(reader, api, version);
    reader_i32(reader); /* ThrottleTimeMs */
    if (proto_count(reader, consumer ? 20 : 12) != 1) {
        reader->bad = true;
    }
    get_described(reader, consumer, version, &answer, &members);
    wire_skip_tags(reader);
    if (!proto_finish(reader, api, version, err)) {
        free(members.items);
        return false;
    }
    answer.members = members.items;
    answer.members_count = members.count;
    *out = answer;
    return true;
}

void describe_group_answer_done(struct describe_group_answer *answer)
{
    free(answer->members);
    *answer = (struct describe_group_answer){0};
}

/* --- OffsetCommit ---------------------------------------------------------------------------------------------- */

static int32_t commit_run(const struct offset_commit_part *parts, int32_t count)
{
    int32_t run = 1;

    while (run < count && strcmp(parts[0].topic, parts[run].topic) == 0) {
        run++;
    }
    return run;
}

static void put_commit_topic(struct writer *writer, const struct offset_commit_part *parts,
                             int32_t count)
{
    wire_put_text(writer, parts[0].topic);
    wire_put_list(writer, count);
    for (int32_t i = 0; i < count; i++) {
        writer_i32(writer, parts[i].partition);
        writer_i64(writer, parts[i].offset);
        writer_i32(writer, -1); /* CommittedLeaderEpoch */
        wire_put_text(writer, parts[i].metadata);
        wire_put_no_tags(writer);
    }
    wire_put_no_tags(writer);
}

void proto_put_offset_commit(struct writer *writer, int16_t version, const char *group,
                             const struct offset_commit_part *parts, int32_t count)
{
    int32_t topics_count = 0;

    proto_begin(writer, API_OFFSET_COMMIT, version);
    for (int32_t i = 0; i < count; i += commit_run(parts + i, count - i)) {
        topics_count++;
    }
    wire_put_text(writer, group);
    writer_i32(writer, -1);    /* GenerationIdOrMemberEpoch: of no member */
    wire_put_text(writer, ""); /* MemberId */
    if (version >= 7) {
        wire_put_text(writer, NULL); /* GroupInstanceId */
    }
    wire_put_list(writer, topics_count);
    for (int32_t i = 0; i < count;) {
        int32_t run = commit_run(parts + i, count - i);
        put_commit_topic(writer, parts + i, run);
        i += run;
    }
    wire_put_no_tags(writer);
}

static void get_commit_topic(struct reader *reader, struct proto_array *rows)
{
    struct wire_string topic = wire_text(reader);
    int32_t count = proto_count(reader, 7); /* index 4, error 2, tags 1 */

    proto_array_reserve(rows, count, sizeof(struct offset_commit_row));
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        struct offset_commit_row *row = (struct offset_commit_row *)rows->items + rows->count++;
        row->topic = topic;
        row->partition = reader_i32(reader);
        row->error = reader_i16(reader);
        wire_skip_tags(reader);
    }
    wire_skip_tags(reader);
}

bool proto_get_offset_commit(struct reader *reader, int16_t version,
                             struct offset_commit_answer *out, struct err *err)
{
    struct proto_array rows = {0};

    proto_enter(reader, API_OFFSET_COMMIT, version);
    reader_i32(reader); /* ThrottleTimeMs */
    int32_t topics_count = proto_count(reader, 3);
    for (int32_t i = 0; i < topics_count && !reader->bad; i++) {
        get_commit_topic(reader, &rows);
    }
    wire_skip_tags(reader);
    if (!proto_finish(reader, API_OFFSET_COMMIT, version, err)) {
        free(rows.items);
        return false;
    }
    *out = (struct offset_commit_answer){.rows = rows.items, .rows_count = rows.count};
    return true;
}

void offset_commit_answer_done(struct offset_commit_answer *answer)
{
    free(answer->rows);
    *answer = (struct offset_commit_answer){0};
}
