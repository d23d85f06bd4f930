/* See proto.h: what a group's coordinator is asked (FindCoordinator, OffsetFetch, LeaveGroup). */
#include <assert.h>

#include "kafka/error.h"
#include "kafka/proto_private.h"

void proto_put_find_coordinator(struct writer *writer, int16_t version, bool transactional,
                                const char *group)
{
    proto_begin(writer, API_FIND_COORDINATOR, version);
    if (version <= 3) {
        wire_put_text(writer, group);
    }
    writer_i8(writer, transactional ? 1 : 0); /* KeyType */
    if (version >= 4) {
        wire_put_list(writer, 1);
        wire_put_text(writer, group);
    }
    wire_put_no_tags(writer);
}

static void get_only_coordinator(struct reader *reader, struct find_coordinator_answer *answer)
{
    answer->error = reader_i16(reader);
    wire_text(reader); /* ErrorMessage */
    answer->id = reader_i32(reader);
    answer->host = wire_text(reader);
    answer->port = reader_i32(reader);
}

static void get_first_coordinator(struct reader *reader, struct find_coordinator_answer *answer)
{
    if (proto_count(reader, 14) != 1) {
        reader->bad = true; /* we asked for one group */
    }
    wire_text(reader); /* Key */
    answer->id = reader_i32(reader);
    answer->host = wire_text(reader);
    answer->port = reader_i32(reader);
    answer->error = reader_i16(reader);
    wire_text(reader); /* ErrorMessage */
    wire_skip_tags(reader);
}

bool proto_get_find_coordinator(struct reader *reader, int16_t version,
                                struct find_coordinator_answer *out, struct err *err)
{
    struct find_coordinator_answer answer = {0};

    proto_enter(reader, API_FIND_COORDINATOR, version);
    reader_i32(reader); /* ThrottleTimeMs */
    if (version <= 3) {
        get_only_coordinator(reader, &answer);
    } else {
        get_first_coordinator(reader, &answer);
    }
    wire_skip_tags(reader);
    if (!proto_finish(reader, API_FIND_COORDINATOR, version, err)) {
        return false;
    }
    *out = answer;
    return true;
}

void proto_put_leave_group(struct writer *writer, int16_t version, const char *group,
                           const char *member_id, const char *instance_id, const char *reason)
{
    proto_begin(writer, API_LEAVE_GROUP, version);
    wire_put_text(writer, group);
    if (version >= 3) {
        wire_put_list(writer, 1);
    }
    wire_put_text(writer, member_id == NULL ? "" : member_id);
    if (version >= 3) {
        wire_put_text(writer, instance_id);
    }
    if (version >= 5) {
        wire_put_text(writer, reason);
    }
    wire_put_no_tags(writer);
    wire_put_no_tags(writer);
}

bool proto_get_leave_group(struct reader *reader, int16_t version, int16_t *out_error,
                           struct err *err)
{
    proto_enter(reader, API_LEAVE_GROUP, version);
    reader_i32(reader); /* ThrottleTimeMs */
    int16_t error = reader_i16(reader);
    int32_t members_count = version >= 3 ? proto_count(reader, 5) : 0;
    for (int32_t i = 0; i < members_count && !reader->bad; i++) {
        wire_text(reader); /* MemberId */
        wire_text(reader); /* GroupInstanceId */
        int16_t member_error = reader_i16(reader);
        wire_skip_tags(reader);
        if (error == KAFKA_NONE) {
            error = member_error;
        }
    }
    wire_skip_tags(reader);
    if (!proto_finish(reader, API_LEAVE_GROUP, version, err)) {
        return false;
    }
    *out_error = error;
    return true;
}

/* --- OffsetFetch ----------------------------------------------------------------------------------------------- */

static void put_offset_fetch_topic(struct writer *writer, const struct topic_partition *parts,
                                   int32_t count)
{
    wire_put_text(writer, parts[0].topic);
    wire_put_list(writer, count);
    for (int32_t i = 0; i < count; i++) {
        writer_i32(writer, parts[i].partition);
    }
    wire_put_no_tags(writer);
}

static void put_offset_fetch_group(struct writer *writer, int16_t version,
                                   const struct offset_fetch_want *want)
{
    wire_put_text(writer, want->group);
    if (version >= 9) {
        wire_put_text(writer, NULL); /* MemberId: we ask as no member ... */
        writer_i32(writer, -1);      /* MemberEpoch: ... so nothing is checked of one */
    }
    if (want->parts == NULL) {
        wire_put_list(writer, -1);
        return;
    }
    wire_put_list(writer, proto_topic_runs_count(want->parts, want->parts_count));
    for (int32_t i = 0; i < want->parts_count;) {
        int32_t run = proto_topic_run(want->parts + i, want->parts_count - i);
        put_offset_fetch_topic(writer, want->parts + i, run);
        i += run;
    }
}

void proto_put_offset_fetch(struct writer *writer, int16_t version, bool require_stable,
                            const struct offset_fetch_want *wants, int32_t count)
{
    proto_begin(writer, API_OFFSET_FETCH, version);
    assert(version >= 8 || count == 1);
    if (version >= 8) {
        wire_put_list(writer, count);
    }
    for (int32_t i = 0; i < count; i++) {
        put_offset_fetch_group(writer, version, &wants[i]);
        if (version >= 8) {
            wire_put_no_tags(writer);
        }
    }
    if (version >= 7) {
        writer_i8(writer, require_stable ? 1 : 0);
    }
    wire_put_no_tags(writer);
}

static void get_offset_fetch_topic(struct reader *reader, struct proto_array *array)
{
    struct wire_string name = wire_text(reader);
    int32_t count =
        proto_count(reader, 20); /* index 4, offset 8, epoch 4, metadata 1, error 2, tags 1 */

    proto_array_reserve(array, count, sizeof(struct offset_fetch_part));
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        struct offset_fetch_part *part = (struct offset_fetch_part *)array->items + array->count++;
        part->topic = name;
        part->partition = reader_i32(reader);
        part->offset = reader_i64(reader);
        part->leader_epoch = reader_i32(reader);
        part->metadata = wire_text(reader);
        part->error = reader_i16(reader);
        wire_skip_tags(reader);
    }
    wire_skip_tags(reader);
}

/* Topics and the group's error; they stand so in a group's element and, before version 8, in the answer. */
static void get_offset_fetch_topics(struct reader *reader, struct offset_fetch_group *group)
{
    struct proto_array parts = {0};
    int32_t topics_count = proto_count(reader, 3);

    for (int32_t i = 0; i < topics_count && !reader->bad; i++) {
        get_offset_fetch_topic(reader, &parts);
    }
    group->parts = parts.items;
    group->parts_count = parts.count;
    group->error = reader_i16(reader);
}

static void get_offset_fetch_groups(struct reader *reader, struct offset_fetch_answer *answer)
{
    struct proto_array groups = {0};
    int32_t count = proto_count(reader, 5); /* name 1, topics 1, error 2, tags 1 */

    proto_array_reserve(&groups, count, sizeof(*answer->groups));
    answer->groups = groups.items;
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        struct offset_fetch_group *group = &answer->groups[answer->groups_count++];
        group->group = wire_text(reader);
        get_offset_fetch_topics(reader, group);
        wire_skip_tags(reader);
    }
}

static void get_offset_fetch_alone(struct reader *reader, struct offset_fetch_answer *answer)
{
    struct proto_array groups = {0};

    proto_array_reserve(&groups, 1, sizeof(*answer->groups));
    answer->groups = groups.items;
    answer->groups_count = 1;
    answer->groups[0].group = (struct wire_string){.data = NULL, .len = -1};
    get_offset_fetch_topics(reader, &answer->groups[0]);
}

bool proto_get_offset_fetch(struct reader *reader, int16_t version, struct offset_fetch_answer *out,
                            struct err *err)
{
    struct offset_fetch_answer answer = {0};

    proto_enter(reader, API_OFFSET_FETCH, version);
    answer.throttle_ms = reader_i32(reader);
    if (version >= 8) {
        get_offset_fetch_groups(reader, &answer);
    } else {
        get_offset_fetch_alone(reader, &answer);
    }
    wire_skip_tags(reader);
    if (!proto_finish(reader, API_OFFSET_FETCH, version, err)) {
        offset_fetch_answer_done(&answer);
        return false;
    }
    *out = answer;
    return true;
}

bool proto_get_offset_fetch_of_one(struct reader *reader, int16_t version,
                                   struct offset_fetch_answer *out, struct err *err)
{
    if (!proto_get_offset_fetch(reader, version, out, err)) {
        return false;
    }
    int32_t count = out->groups_count;
    if (count != 1) {
        offset_fetch_answer_done(out);
        return err_set(err, ERR_RETRY, "OffsetFetch: an answer for %d groups", count);
    }
    return true;
}

void offset_fetch_answer_done(struct offset_fetch_answer *answer)
{
    for (int32_t i = 0; i < answer->groups_count; i++) {
        free(answer->groups[i].parts);
    }
    free(answer->groups);
    *answer = (struct offset_fetch_answer){0};
}
