/* The checkpoint's one text form, read strictly: what comes from Redis or a group's metadata is hostile. */
#include "offsets/checkpoint.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

char *checkpoint_text(const struct checkpoint *checkpoint, char out[CHECKPOINT_TEXT_BYTES])
{
    char source[UUID_TEXT_BYTES];
    char target[UUID_TEXT_BYTES];
    int len =
        snprintf(out, CHECKPOINT_TEXT_BYTES,
                 "v1 %s %s %" PRId32 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId32 " %" PRId64,
                 uuid_hex(&checkpoint->source_topic_id, source),
                 uuid_hex(&checkpoint->target_topic_id, target), checkpoint->generation,
                 checkpoint->source_next, checkpoint->target_next, checkpoint->sequence_next,
                 checkpoint->leader_epoch, checkpoint->time_ms);
    assert(len > 0 && len < CHECKPOINT_TEXT_BYTES);
    return out;
}

bool decimal_parse(const char *text, size_t len, int64_t *out)
{
    bool negative = len > 0 && text[0] == '-';
    size_t at = negative ? 1 : 0;
    if (at == len || (text[at] == '0' && len > 1)) { /* empty, "-", "-0", "01" */
        return false;
    }
    int64_t value = 0;
    for (; at < len; at++) {
        if (text[at] < '0' || text[at] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, text[at] - '0', &value)) {
            return false;
        }
    }
    if (!negative && value == INT64_MIN) {
        return false;
    }
    *out = negative ? value : -value;
    return true;
}

bool place_parse(const char *field, size_t len, char out_topic[TOPIC_NAME_BYTES],
                 int32_t *out_partition)
{
    const char *colon = memrchr(field, ':', len);
    size_t topic_len = colon == NULL ? 0 : (size_t)(colon - field);
    int64_t partition;
    if (topic_len == 0 || topic_len >= TOPIC_NAME_BYTES || memchr(field, '\0', len) != NULL ||
        !decimal_parse(colon + 1, len - topic_len - 1, &partition) || partition < 0 ||
        partition > INT32_MAX) {
        return false;
    }
    snprintf(out_topic, TOPIC_NAME_BYTES, "%.*s", (int)topic_len, field);
    *out_partition = (int32_t)partition;
    return true;
}

/* One field up to the next space or the end; *pos stands behind the space afterwards. */
static bool take_field(const char **pos, const char *end, const char **out_field, size_t *out_len)
{
    if (*pos > end) { /* the field before was the last */
        return false;
    }
    const char *space = memchr(*pos, ' ', (size_t)(end - *pos));
    const char *stop = space == NULL ? end : space;
    *out_field = *pos;
    *out_len = (size_t)(stop - *pos);
    *pos = stop + 1;
    return true;
}

static bool take_number(const char **pos, const char *end, const char *name, int64_t min,
                        int64_t max, int64_t *out, struct err *err)
{
    const char *field;
    size_t len;
    if (!take_field(pos, end, &field, &len)) {
        return err_set(err, ERR_REFUSED, "checkpoint ends before %s", name);
    }
    if (!decimal_parse(field, len, out) || *out < min || *out > max) {
        return err_set(err, ERR_REFUSED, "checkpoint has a bad %s: '%.*s'", name,
                       (int)(len > 40 ? 40 : len), field);
    }
    return true;
}

static bool take_uuid(const char **pos, const char *end, const char *name, struct uuid *out,
                      struct err *err)
{
    const char *field;
    size_t len;
    char hex[UUID_TEXT_BYTES] = "";
    char again[UUID_TEXT_BYTES];
    if (!take_field(pos, end, &field, &len)) {
        return err_set(err, ERR_REFUSED, "checkpoint ends before %s", name);
    }
    if (len == UUID_TEXT_BYTES - 1) {
        memcpy(hex, field, len);
    }
    /* Written back and compared: one value has one text. */
    if (len != UUID_TEXT_BYTES - 1 || !uuid_parse_hex(hex, out) ||
        strcmp(uuid_hex(out, again), hex) != 0) {
        return err_set(err, ERR_REFUSED, "checkpoint has a bad %s: '%.*s'", name,
                       (int)(len > 40 ? 40 : len), field);
    }
    return true;
}

bool checkpoint_parse(const char *text, size_t len, struct checkpoint *out, struct err *err)
{
    const char *pos = text;
    const char *end = text + len;
    struct checkpoint read = {0};
    int64_t generation = 0;
    int64_t epoch = 0;
    if (len < 3 || memcmp(text, "v1 ", 3) != 0) {
        return err_set(err, ERR_REFUSED, "checkpoint does not begin with 'v1 ': '%.*s'",
                       (int)(len > 40 ? 40 : len), text);
    }
    pos += 3;
    if (!take_uuid(&pos, end, "source topic id", &read.source_topic_id, err) ||
        !take_uuid(&pos, end, "target topic id", &read.target_topic_id, err) ||
        !take_number(&pos, end, "generation", 0, GENERATION_MAX, &generation, err) ||
        !take_number(&pos, end, "source offset", 0, INT64_MAX, &read.source_next, err) ||
        !take_number(&pos, end, "target offset", 0, INT64_MAX, &read.target_next, err) ||
        !take_number(&pos, end, "sequence", 0, INT64_MAX, &read.sequence_next, err) ||
        !take_number(&pos, end, "leader epoch", -1, INT32_MAX, &epoch, err) ||
        !take_number(&pos, end, "time", 0, INT64_MAX, &read.time_ms, err)) {
        return false;
    }
    if (pos <= end) {
        return err_set(err, ERR_REFUSED, "checkpoint has more than nine fields");
    }
    read.generation = (int32_t)generation;
    read.leader_epoch = (int32_t)epoch;
    *out = read;
    return true;
}

char *checkpoint_incarnation(const struct checkpoint *checkpoint, char out[INCARNATION_BYTES])
{
    char source[UUID_TEXT_BYTES];
    char target[UUID_TEXT_BYTES];
    int len = snprintf(out, INCARNATION_BYTES, "%.16s.%.16s.%" PRId32,
                       uuid_hex(&checkpoint->source_topic_id, source),
                       uuid_hex(&checkpoint->target_topic_id, target), checkpoint->generation);
    assert(len > 0 && len < INCARNATION_BYTES);
    return out;
}

bool checkpoint_same_incarnation(const struct checkpoint *a, const struct checkpoint *b)
{
    return a->generation == b->generation && uuid_equal(&a->source_topic_id, &b->source_topic_id) &&
           uuid_equal(&a->target_topic_id, &b->target_topic_id);
}

bool checkpoint_newer(const struct checkpoint *a, const struct checkpoint *b)
{
    if (a->generation != b->generation) {
        return a->generation > b->generation;
    }
    if (a->target_next != b->target_next) {
        return a->target_next > b->target_next;
    }
    return a->source_next > b->source_next;
}
