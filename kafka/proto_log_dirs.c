/* See proto.h: DescribeLogDirs. No partition is named in the request, so that the answer is as long as there are directories; a
 * broker that tells of partitions all the same is listened to and not believed.
 */
#include <assert.h>

#include "kafka/proto_private.h"

void proto_put_describe_log_dirs(struct writer *writer, int16_t version)
{
    proto_begin(writer, API_DESCRIBE_LOG_DIRS, version);
    wire_put_list(writer, 0); /* Topics: null would be all of them */
    wire_put_no_tags(writer);
}

static void skip_partitions(struct reader *reader)
{
    int32_t count = proto_count(reader, 22); /* index 4, size 8, lag 8, future 1, tags 1 */
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        reader_bytes(reader, 21);
        wire_skip_tags(reader);
    }
}

static void skip_topics(struct reader *reader)
{
    int32_t count = proto_count(reader, 3); /* name 1, partitions 1, tags 1 */
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        wire_text(reader);
        skip_partitions(reader);
        wire_skip_tags(reader);
    }
}

static void get_dir(struct reader *reader, int16_t version, struct log_dir *dir)
{
    dir->error = reader_i16(reader);
    dir->path = wire_text(reader);
    skip_topics(reader);
    dir->total_bytes = version >= 4 ? reader_i64(reader) : -1;
    dir->usable_bytes = version >= 4 ? reader_i64(reader) : -1;
    wire_skip_tags(reader);
}

bool proto_get_describe_log_dirs(struct reader *reader, int16_t version,
                                 struct log_dirs_answer *out, struct err *err)
{
    struct proto_array dirs = {0};

    proto_enter(reader, API_DESCRIBE_LOG_DIRS, version);
    reader_i32(reader); /* ThrottleTimeMs */
    int16_t error = version >= 3 ? reader_i16(reader) : 0;
    int32_t count = proto_count(reader, 5); /* error 2, path 1, topics 1, tags 1 */
    proto_array_reserve(&dirs, count, sizeof(struct log_dir));
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        get_dir(reader, version, (struct log_dir *)dirs.items + dirs.count++);
    }
    wire_skip_tags(reader);
    if (!proto_finish(reader, API_DESCRIBE_LOG_DIRS, version, err)) {
        free(dirs.items);
        return false;
    }
    *out = (struct log_dirs_answer){.error = error, .dirs = dirs.items, .dirs_count = dirs.count};
    return true;
}

void log_dirs_answer_done(struct log_dirs_answer *answer)
{
    free(answer->dirs);
    *answer = (struct log_dirs_answer){0};
}
