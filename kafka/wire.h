/* Kafka's primitive types over base/buf: varints, (compact) strings and arrays, tagged fields (KIP-482), uuids. */
#ifndef FERRY_KAFKA_WIRE_H
#define FERRY_KAFKA_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct uuid { /* topic ids; all zero = none */
    uint8_t bytes[16];
};
bool uuid_is_zero(const struct uuid *uuid);
bool uuid_equal(const struct uuid *a, const struct uuid *b);
#define UUID_TEXT_BYTES 33
char *uuid_hex(const struct uuid *uuid, char out[UUID_TEXT_BYTES]); /* 32 hex digits; returns out */
bool uuid_parse_hex(const char *text, struct uuid *out);            /* exactly 32 hex digits */

struct wire_string { /* a view; NULL data = null */
    const char *data;
    int32_t len; /* -1 = null */
};

/* Readers latch `reader->bad` on anything that does not fit (see base/buf.h). */
uint32_t wire_uvarint(struct reader *reader);
int64_t wire_varlong(struct reader *reader);                   /* zig-zag */
struct wire_string wire_string(struct reader *reader);         /* int16 length, nullable */
struct wire_string wire_compact_string(struct reader *reader); /* nullable */
/* Count of an array that follows; -1 = null. Refuses more elements than bytes left / min_element_bytes. */
int32_t wire_array(struct reader *reader, size_t min_element_bytes);
int32_t wire_compact_array(struct reader *reader, size_t min_element_bytes);
struct uuid wire_uuid(struct reader *reader);

/* One decoder for both encodings of an API: compact with tagged fields (flexible versions, KIP-482), or, where
 * reader->rigid, lengths of fixed width and no tagged fields, as all were before. */
struct wire_string wire_text(struct reader *reader); /* nullable */
struct wire_string wire_blob(struct reader *reader); /* bytes: rigid ones have an int32 length */
/* Count of an array of structs; `min_element_bytes` is that of the flexible form, its byte of no tags included: a rigid
 * element lacks that one, and everything else in it is as long or longer. */
int32_t wire_list(struct reader *reader, size_t min_element_bytes);
void wire_skip_tags(struct reader *reader); /* nothing where rigid */
/* Walk tagged fields: `*left` begins as wire_uvarint(); false at the end or when the reader went bad. The field's bytes
 * are looked into by `*out_field`, so a field that is longer or shorter than we think harms nothing after it. */
bool wire_next_tag(struct reader *reader, uint32_t *left, uint32_t *out_tag,
                   struct reader *out_field);

void wire_put_uvarint(struct writer *writer, uint32_t value);
void wire_put_varlong(struct writer *writer, int64_t value);
void wire_put_string(struct writer *writer, const char *text); /* NULL = null */
void wire_put_compact_string(struct writer *writer, const char *text);
void wire_put_compact_array(struct writer *writer, int32_t count); /* -1 = null */
void wire_put_text(struct writer *writer,
                   const char *text); /* these: either form, by writer->rigid */
void wire_put_list(struct writer *writer, int32_t count);
void wire_put_blob_len(struct writer *writer, size_t len); /* of bytes that follow */
void wire_put_uuid(struct writer *writer, const struct uuid *uuid);
void wire_put_no_tags(struct writer *writer); /* nothing where rigid */

#endif
