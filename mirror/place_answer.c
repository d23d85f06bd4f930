#include "mirror/place_answer.h"

#include "kafka/error.h"

bool place_answer_offset(struct reader *reader, int16_t version, int64_t *out_offset,
                         int16_t *out_error, struct err *err)
{
    struct list_offsets_answer answer;
    if (!proto_get_list_offsets(reader, version, &answer, err)) {
        return false;
    }
    *out_error = KAFKA_UNKNOWN_SERVER_ERROR; /* not of our partition, or without the offset */
    if (answer.parts_count == 1 && answer.parts[0].error != KAFKA_NONE) {
        *out_error = answer.parts[0].error;
    } else if (answer.parts_count == 1 && answer.parts[0].offset >= 0) {
        *out_error = KAFKA_NONE;
        *out_offset = answer.parts[0].offset;
    }
    list_offsets_answer_done(&answer);
    return true;
}

bool place_answer_fetch(struct reader *reader, int16_t version, struct fetch_answer *out,
                        int16_t *out_error, struct err *err)
{
    if (!proto_get_fetch(reader, version, out, err)) {
        return false;
    }
    int16_t of_part =
        out->partitions_count == 1 ? out->partitions[0].error : KAFKA_UNKNOWN_SERVER_ERROR;
    *out_error = out->error != KAFKA_NONE ? out->error : of_part;
    return true;
}
