#include "base/buf.h"
#include "kafka/wire.h"
#include "mirror/record_filter.h"
#include "mirror/records.h"

/* The headers as a batch holds them: what mirror/record_filter reads. */
static void put_headers(struct writer *writer, const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers = NULL;
    size_t count = 0;
    if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        count = rd_kafka_header_cnt(headers);
    }
    wire_put_varlong(writer, (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        const char *name = NULL;
        const void *value = NULL;
        size_t len = 0;
        if (rd_kafka_header_get_all(headers, i, &name, &value, &len) !=
            RD_KAFKA_RESP_ERR_NO_ERROR) {
            break;
        }
        wire_put_varlong(writer, (int64_t)strlen(name));
        writer_bytes(writer, name, strlen(name));
        wire_put_varlong(writer, value == NULL ? -1 : (int64_t)len);
        writer_bytes(writer, value, value == NULL ? 0 : len);
    }
}

enum record_verdict records_one_judge(const struct config_filter *filter,
                                      const rd_kafka_message_t *message)
{
    if (filter == NULL) {
        return RECORD_KEPT;
    }
    struct writer headers;
    writer_init(&headers);
    if (filter->headers_count > 0) {
        put_headers(&headers, message);
    }
    const struct record record = {.offset = message->offset,
                                  .key = message->key,
                                  .key_len = message->key == NULL ? -1 : (int32_t)message->key_len,
                                  .headers = headers.data,
                                  .headers_len = headers.len};
    enum record_verdict verdict = record_filter_judge(filter, &record);
    writer_done(&headers);
    return verdict;
}

size_t records_one_bytes(const rd_kafka_message_t *message)
{
    return message->len + message->key_len + RECORDS_OVERHEAD_BYTES;
}

const char *records_one_refusal(const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(message, &type);
    return type != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && timestamp == 0
               ? "its timestamp is 0 (1970-01-01), for which librdkafka writes the time of day"
               : NULL;
}

rd_kafka_resp_err_t records_one_produce(rd_kafka_t *producer, rd_kafka_topic_t *topic,
                                        rd_kafka_message_t *message, void *opaque)
{
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(message, &type);
    rd_kafka_headers_t *headers = NULL;
    (void)rd_kafka_message_detach_headers(message, &headers); /* it may have none */
    const rd_kafka_vu_t values[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT,       .u.rkt = topic                           },
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = message->partition              },
        {.vtype = RD_KAFKA_VTYPE_VALUE,     .u.mem = {message->payload, message->len}},
        {.vtype = RD_KAFKA_VTYPE_KEY,       .u.mem = {message->key, message->key_len}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP,
         .u.i64 = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : timestamp          },
        {.vtype = RD_KAFKA_VTYPE_OPAQUE,    .u.ptr = opaque                          },
        {.vtype = RD_KAFKA_VTYPE_HEADERS,   .u.headers = headers                     },
    };
    size_t count = sizeof(values) / sizeof(values[0]) - (headers == NULL ? 1 : 0);
    rd_kafka_error_t *error = rd_kafka_produceva(producer, values, count);
    if (error == NULL) {
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
    if (headers != NULL) { /* still ours: it is tried again with them */
        rd_kafka_message_set_headers(message, headers);
    }
    return code;
}
