/* Questions that prove a fence, on our own wire client, blocking like kafka/admin.h: is anybody in a group, may we still
 * write. Neither changes anything.
 */
#ifndef FERRY_KAFKA_ADMIN_PROBE_H
#define FERRY_KAFKA_ADMIN_PROBE_H

#include "kafka/admin.h"

enum group_presence {
    GROUP_UNKNOWN, /* whoever answered does not say: ask again */
    GROUP_ABSENT,  /* its coordinator knows of no such group */
    GROUP_EMPTY,   /* it has no member */
    GROUP_MEMBERS, /* it has some, or is about to */
};

/* What the group's coordinator says of it now. */
MUST_CHECK
bool admin_group_presence(struct admin *admin, const char *group, enum group_presence *out,
                          struct err *err);

/* Which version of Metadata a broker of the cluster speaks, of those that we do: so old is its Kafka (METADATA_... in
 * kafka/proto.h). */
MUST_CHECK
bool admin_metadata_version(struct admin *admin, int16_t *out, struct err *err);

struct write_probe {
    size_t asked;      /* partitions whose leader answered */
    size_t refused;    /* of them: Write is denied to us */
    size_t allowed;    /* of them: we might write */
    char example[300]; /* a partition that is not refused; "" = none */
};

/* Ask the leader of every partition of these topics for a write that no broker can take: it says first whether we may write.
 * @return false: ERR_RETRY, not every leader answered */
MUST_CHECK
bool admin_probe_write(struct admin *admin, const char *const *topics, size_t count,
                       struct write_probe *out, struct err *err);

#endif
