/* One partition of one cluster read forward, as a consumer with read_committed sees it; a compare_side. Without a group:
 * it needs no right but to read the topic, and commits nothing.
 */
#ifndef FERRY_CLI_LOG_READER_H
#define FERRY_CLI_LOG_READER_H

#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "cli/compare.h"
#include "config/config.h"
#include "kafka/batch.h"

struct log_reader;

/* @param timeout_ms  without anything new for so long a read has failed */
struct log_reader *log_reader_new(const struct config_site *site, int32_t timeout_ms,
                                  struct err *err);
void log_reader_free(struct log_reader *reader); /* NULL is fine */

/* Where the partition's log begins and ends (high watermark) now. */
MUST_CHECK
bool log_reader_bounds(struct log_reader *reader, const char *topic, int32_t partition,
                       int64_t *out_begin, int64_t *out_end, struct err *err);
/* First offset whose record is of this time or later; -1 = none. */
MUST_CHECK
bool log_reader_since(struct log_reader *reader, const char *topic, int32_t partition,
                      int64_t wall_ms, int64_t *out, struct err *err);

/* Begin at an offset; records below `end` are shown. */
MUST_CHECK
bool log_reader_start(struct log_reader *reader, const char *topic, int32_t partition,
                      int64_t begin, int64_t end, struct err *err);
/* Go on to a later end. */
void log_reader_extend(struct log_reader *reader, int64_t end);
void log_reader_stop(struct log_reader *reader);
/* The peek and pop of a compare_side; records' messages are rd_kafka_message_t. */
struct compare_side log_reader_side(struct log_reader *reader);

/* Key, value, headers and timestamp of two messages. */
bool log_reader_same(const rd_kafka_message_t *a, const rd_kafka_message_t *b);
uint64_t log_reader_digest(const rd_kafka_message_t *message);
/* The message as the record that it was in its batch, for who judges records: a view, as long as the message and `headers`
 * stand. `headers` is overwritten. Names of headers end at a NUL: librdkafka shows no more of them. */
struct record log_reader_record(const rd_kafka_message_t *message, struct writer *headers);

#endif
