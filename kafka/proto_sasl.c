/* See proto.h: sign-in (SaslHandshake, SaslAuthenticate). What the mechanisms say within is kafka/sasl's. */
#include "kafka/proto_private.h"

void proto_put_sasl_handshake(struct writer *writer, const char *mechanism)
{
    wire_put_string(writer, mechanism);
}

bool proto_get_sasl_handshake(struct reader *reader, struct sasl_handshake_answer *out,
                              struct err *err)
{
    struct sasl_handshake_answer answer = {0};

    answer.error = reader_i16(reader);
    int32_t count = wire_array(reader, 2);
    for (int32_t i = 0; i < count && !reader->bad; i++) {
        struct wire_string name = wire_string(reader);
        if (name.len > 0 && answer.offered_count < SASL_OFFERED_MAX) {
            answer.offered[answer.offered_count++] = name;
        }
    }
    if (!proto_finish(reader, API_SASL_HANDSHAKE, 1, err)) {
        return false;
    }
    *out = answer;
    return true;
}

void proto_put_sasl_authenticate(struct writer *writer, const void *bytes, size_t len)
{
    wire_put_blob_len(writer, len);
    writer_bytes(writer, bytes, len);
    wire_put_no_tags(writer);
}

bool proto_get_sasl_authenticate(struct reader *reader, struct sasl_authenticate_answer *out,
                                 struct err *err)
{
    struct sasl_authenticate_answer answer = {0};

    answer.error = reader_i16(reader);
    answer.message = wire_text(reader);
    answer.bytes = wire_blob(reader);
    answer.session_lifetime_ms = reader_i64(reader);
    wire_skip_tags(reader);
    if (!proto_finish(reader, API_SASL_AUTHENTICATE, reader->rigid ? 1 : 2, err)) {
        return false;
    }
    *out = answer;
    return true;
}
