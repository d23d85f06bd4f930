/* Where partitions' logs end at their leaders: behind the last record that a leader has taken, whether its followers have it or
 * not. A consumer is told the high watermark, which what was taken last may still pass; so who wants a bound for everything
 * that can come to be read asks as brokers ask each other. Blocking, on our own connections; changes nothing.
 */
#ifndef FERRY_KAFKA_LOG_ENDS_H
#define FERRY_KAFKA_LOG_ENDS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/admin.h"

struct log_end {
    const char *topic; /* borrowed */
    int32_t partition;
    int64_t offset; /* out; -1 = not known */
    struct err err; /* out, why: ERR_REFUSED an ACL (Describe), else ERR_RETRY */
};
/* Partitions of one topic stand together. A partition without a leader, or whose leader moves, is asked for until the admin's
 * time limit. */
void log_ends(struct admin *admin, struct log_end *ends, size_t count);

#endif
