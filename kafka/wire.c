/* See wire.h. Lengths are compared with what is left before anything is read or reserved. */
#include "kafka/wire.h"

#include <assert.h>

static const char hex_digits[] = "0123456789abcdef";

bool uuid_is_zero(const struct uuid *uuid)
{
    static const struct uuid zero;
    return uuid_equal(uuid, &zero);
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

char *uuid_hex(const struct uuid *uuid, char out[UUID_TEXT_BYTES])
{
    for (size_t i = 0; i < sizeof(uuid->bytes); i++) {
        out[2 * i] = hex_digits[uuid->bytes[i] >> 4];
        out[2 * i + 1] = hex_digits[uuid->bytes[i] & 15];
    }
    out[UUID_TEXT_BYTES - 1] = '\0';
    return out;
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    if (digit >= 'A' && digit <= 'F') {
        return digit - 'A' + 10;
    }
    return -1;
}

bool uuid_parse_hex(const char *text, struct uuid *out)
{
    struct uuid uuid;

    if (strnlen(text, UUID_TEXT_BYTES) != UUID_TEXT_BYTES - 1) {
        return false;
    }
    for (size_t i = 0; i < sizeof(uuid.bytes); i++) {
        int high = hex_value(text[2 * i]);
        int low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        uuid.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *out = uuid;
    return true;
}

/* Little-endian groups of seven bits, at most `bits` of them in all. */
static uint64_t read_groups(struct reader *reader, int bits)
{
    uint64_t value = 0;

    for (int shift = 0; shift < bits && !reader->bad; shift += 7) {
        uint8_t byte = (uint8_t)reader_i8(reader);
        uint64_t group = byte & 0x7f;
        if (bits - shift < 7 && group >> (bits - shift) != 0) {
            break; /* more bits than the type has */
        }
        value |= group << shift;
        if ((byte & 0x80) == 0) {
            return reader->bad ? 0 : value;
        }
    }
    reader->bad = true;
    return 0;
}

uint32_t wire_uvarint(struct reader *reader)
{
    return (uint32_t)read_groups(reader, 32);
}

int64_t wire_varlong(struct reader *reader)
{
    uint64_t raw = read_groups(reader, 64);
    return (int64_t)(raw >> 1 ^ (0 - (raw & 1)));
}

static struct wire_string read_string(struct reader *reader, int64_t len)
{
    struct wire_string string = {.data = NULL, .len = -1};

    if (len == -1) {
        return string;
    }
    if (len < 0 || len > INT32_MAX) {
        reader->bad = true;
        return string;
    }
    const uint8_t *data = reader_bytes(reader, (size_t)len);
    if (reader->bad) {
        return string;
    }
    string.data = len == 0 ? "" : (const char *)data;
    string.len = (int32_t)len;
    return string;
}

struct wire_string wire_string(struct reader *reader)
{
    int16_t len = reader_i16(reader);
    return read_string(reader, reader->bad ? -1 : len);
}

struct wire_string wire_compact_string(struct reader *reader)
{
    uint32_t len = wire_uvarint(reader);
    return read_string(reader, (int64_t)len - 1);
}

static int32_t check_count(struct reader *reader, int64_t count, size_t min_element_bytes)
{
    assert(min_element_bytes > 0);
    if (reader->bad || count == -1) {
        return reader->bad ? 0 : -1;
    }
    if (count < 0 || (uint64_t)count > reader_left(reader) / min_element_bytes ||
        count > INT32_MAX) {
        reader->bad = true;
        return 0;
    }
    return (int32_t)count;
}

int32_t wire_array(struct reader *reader, size_t min_element_bytes)
{
    int32_t count = reader_i32(reader);
    return check_count(reader, count, min_element_bytes);
}

int32_t wire_compact_array(struct reader *reader, size_t min_element_bytes)
{
    uint32_t count = wire_uvarint(reader);
    return check_count(reader, (int64_t)count - 1, min_element_bytes);
}

struct uuid wire_uuid(struct reader *reader)
{
    struct uuid uuid = {{0}};
    const uint8_t *bytes = reader_bytes(reader, sizeof(uuid.bytes));

    if (bytes != NULL) {
        memcpy(uuid.bytes, bytes, sizeof(uuid.bytes));
    }
    return uuid;
}

bool wire_next_tag(struct reader *reader, uint32_t *left, uint32_t *out_tag,
                   struct reader *out_field)
{
    if (*left == 0 || reader->bad) {
        return false;
    }
    (*left)--;
    uint32_t tag = wire_uvarint(reader);
    uint32_t len = wire_uvarint(reader);
    const uint8_t *data = reader_bytes(reader, len);
    if (reader->bad) {
        return false;
    }
    *out_tag = tag;
    *out_field = reader_over(data, len);
    return true;
}

struct wire_string wire_text(struct reader *reader)
{
    return reader->rigid ? wire_string(reader) : wire_compact_string(reader);
}

struct wire_string wire_blob(struct reader *reader)
{
    if (!reader->rigid) {
        return wire_compact_string(reader); /* of the same form */
    }
    int32_t len = reader_i32(reader);
    return read_string(reader, reader->bad ? -1 : len);
}

int32_t wire_list(struct reader *reader, size_t min_element_bytes)
{
    size_t rigid_bytes = min_element_bytes > 1 ? min_element_bytes - 1 : 1;
    return reader->rigid ? wire_array(reader, rigid_bytes)
                         : wire_compact_array(reader, min_element_bytes);
}

void wire_skip_tags(struct reader *reader)
{
    uint32_t left = reader->rigid ? 0 : wire_uvarint(reader);
    uint32_t tag;
    struct reader field;

    while (wire_next_tag(reader, &left, &tag, &field)) {
    }
}

static void write_groups(struct writer *writer, uint64_t value)
{
    while (value > 0x7f) {
        writer_i8(writer, (int8_t)(value | 0x80));
        value >>= 7;
    }
    writer_i8(writer, (int8_t)value);
}

void wire_put_uvarint(struct writer *writer, uint32_t value)
{
    write_groups(writer, value);
}

void wire_put_varlong(struct writer *writer, int64_t value)
{
    write_groups(writer, (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0));
}

void wire_put_string(struct writer *writer, const char *text)
{
    if (text == NULL) {
        writer_i16(writer, -1);
        return;
    }
    size_t len = strlen(text);
    assert(len <= INT16_MAX);
    writer_i16(writer, (int16_t)len);
    writer_bytes(writer, text, len);
}

void wire_put_compact_string(struct writer *writer, const char *text)
{
    if (text == NULL) {
        wire_put_uvarint(writer, 0);
        return;
    }
    size_t len = strlen(text);
    assert(len <= INT16_MAX);
    wire_put_uvarint(writer, (uint32_t)len + 1);
    writer_bytes(writer, text, len);
}

void wire_put_compact_array(struct writer *writer, int32_t count)
{
    assert(count >= -1);
    wire_put_uvarint(writer, (uint32_t)(count + 1));
}

void wire_put_text(struct writer *writer, const char *text)
{
    if (writer->rigid) {
        wire_put_string(writer, text);
    } else {
        wire_put_compact_string(writer, text);
    }
}

void wire_put_list(struct writer *writer, int32_t count)
{
    if (writer->rigid) {
        writer_i32(writer, count);
    } else {
        wire_put_compact_array(writer, count);
    }
}

void wire_put_blob_len(struct writer *writer, size_t len)
{
    assert(len < INT32_MAX);
    if (writer->rigid) {
        writer_i32(writer, (int32_t)len);
    } else {
        wire_put_uvarint(writer, (uint32_t)len + 1);
    }
}

void wire_put_uuid(struct writer *writer, const struct uuid *uuid)
{
    writer_bytes(writer, uuid->bytes, sizeof(uuid->bytes));
}

void wire_put_no_tags(struct writer *writer)
{
    if (!writer->rigid) {
        wire_put_uvarint(writer, 0);
    }
}
