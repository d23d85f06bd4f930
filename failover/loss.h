/* What a failover loses: records that the source holds, or held when it was last seen, and the mirror does not. Unknown stays
 * unknown: a primary that does not answer may hold any number. */
#ifndef FERRY_FAILOVER_LOSS_H
#define FERRY_FAILOVER_LOSS_H

#include "failover/operation.h"
#include "failover/positions.h"

struct loss {
    int64_t at_least; /* records; -1 = unknown */
    int64_t at_most;  /* -1 = unknown */
    int64_t
        seen_offsets; /* that workers saw there and are not mirrored; markers and aborted records count; -1 = unknown */
    int64_t last_seen_ms; /* wall clock, when the source last told a worker an end; -1 = unknown */
    double records_per_s; /* then; -1 = unknown */
    int64_t mirrored_ms;  /* newest checkpoint's time, wall clock; -1 = unknown */
};

/* What workers of the link told of the source, for `prove` to keep: {"ends": {"TOPIC:PARTITION": END}, "last_seen_ms",
 * "records_per_s"}; null when nobody tells. New reference. */
json_t *loss_seen(struct operation *op);
/* Every partition's checkpoint and the source's ends, through the operation's doors. positions_free(). */
void loss_positions(const struct operation *op, struct positions *out);
/* Reads checkpoints, the source's ends where it answers, and what workers told. Never fails. */
void loss_read(struct operation *op, struct loss *out);
/* {"records", "at_least", "seen_offsets", "seconds", "last_seen", "records_per_s"}; new reference. */
json_t *loss_json(const struct loss *loss);
#define LOSS_TEXT_BYTES 400
/* "at least 12, at most unknown records (last seen TIME, rate then 5100/s)". Returns out. */
char *loss_text(const struct loss *loss, char out[LOSS_TEXT_BYTES]);

#endif
