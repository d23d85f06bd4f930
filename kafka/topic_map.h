/* Topics and leaders as the metadata answers so far have them. Behind kafka/cluster; nobody else includes this.
 *
 * Brokers may answer from different moments: within one topic id the leader of a partition only goes forward in leader
 * epoch and the count of partitions only grows, whatever a later answer from an older moment says. A topic whose id the answer does
 * not tell keeps the one that is known, or has the one of its name (topic_id.h).
 */
#ifndef FERRY_KAFKA_TOPIC_MAP_H
#define FERRY_KAFKA_TOPIC_MAP_H

#include "kafka/cluster.h"

struct topic_map;

struct topic_map *topic_map_new(void);
void topic_map_free(struct topic_map *map); /* NULL is fine */

/* Names to keep; others are forgotten and not taken in. NULL, 0 = all. */
void topic_map_follow(struct topic_map *map, const char *const *names, int32_t count);
/* What to ask for: NULL with *out_count 0 = all topics. Borrowed until the next follow. */
const char *const *topic_map_followed(const struct topic_map *map, int32_t *out_count);

/* Take an answer whole or, when it holds what no broker writes, not at all (ERR_RETRY). Topics that it does not have
 * are forgotten when all are followed, unknown otherwise. */
MUST_CHECK
bool topic_map_take(struct topic_map *map, const struct metadata *metadata, struct err *err);

/* NULL when unknown or in error. */
const struct cluster_topic *topic_map_find(const struct topic_map *map, const char *name);
const struct cluster_topic *topic_map_at(const struct topic_map *map,
                                         int32_t index); /* of those without error */
struct cluster_leader topic_map_leader(const struct topic_map *map, const char *name,
                                       int32_t partition);
/* Of its last metadata; 0 = none, or not followed. */
int16_t topic_map_error(const struct topic_map *map, const char *name);
/* Does a partition of a topic without error have no leader? Then the next answer is wanted soon. */
bool topic_map_leaderless(const struct topic_map *map);

#endif
