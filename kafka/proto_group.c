/* See proto.h: FindCoordinator and LeaveGroup. */
#include <assert.h>

#include "kafka/error.h"
#include "kafka/proto_private.h"

void proto_put_find_coordinator(struct writer *writer, int16_t version, const char *group)
{
    assert(proto_speaks(API_FIND_COORDINATOR, version));
    if (version <= 3) {
        wire_put_compact_string(writer, group);
    }
    writer_i8(writer, 0); /* KeyType: a group */
    if (version >= 4) {
        wire_put_compact_array(writer, 1);
        wire_put_compact_string(writer, group);
    }
    wire_put_no_tags(writer);
}

static void get_coordinator_v3(struct reader *reader, struct find_coordinator_answer *answer)
{
    answer->error = reader_i16(reader);
    wire_compact_string(reader); /* ErrorMessage */
    answer->id = reader_i32(reader);
    answer->host = wire_compact_string(reader);
    answer->port = reader_i32(reader);
}

static void get_coordinator_v4(struct reader *reader, struct find_coordinator_answer *answer)
{
    if (proto_count(reader, 14) != 1) {
        reader->bad = true; /* we asked for one group */
    }
    wire_compact_string(reader); /* Key */
    answer->id = reader_i32(reader);
    answer->host = wire_compact_string(reader);
    answer->port = reader_i32(reader);
    answer->error = reader_i16(reader);
    wire_compact_string(reader); /* ErrorMessage */
    wire_skip_tags(reader);
}

bool proto_get_find_coordinator(struct reader *reader, int16_t version,
                                struct find_coordinator_answer *out, struct err *err)
{
    struct find_coordinator_answer answer = {0};

    assert(proto_speaks(API_FIND_COORDINATOR, version));
    reader_i32(reader); /* ThrottleTimeMs */
    if (version <= 3) {
        get_coordinator_v3(reader, &answer);
    } else {
        get_coordinator_v4(reader, &answer);
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
    assert(proto_speaks(API_LEAVE_GROUP, version));
    wire_put_compact_string(writer, group);
    wire_put_compact_array(writer, 1);
    wire_put_compact_string(writer, member_id == NULL ? "" : member_id);
    wire_put_compact_string(writer, instance_id);
    if (version >= 5) {
        wire_put_compact_string(writer, reason);
    }
    wire_put_no_tags(writer);
    wire_put_no_tags(writer);
}

bool proto_get_leave_group(struct reader *reader, int16_t version, int16_t *out_error,
                           struct err *err)
{
    assert(proto_speaks(API_LEAVE_GROUP, version));
    reader_i32(reader); /* ThrottleTimeMs */
    int16_t error = reader_i16(reader);
    int32_t members_count = proto_count(reader, 5);
    for (int32_t i = 0; i < members_count && !reader->bad; i++) {
        wire_compact_string(reader); /* MemberId */
        wire_compact_string(reader); /* GroupInstanceId */
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
