/* Topic ids where a cluster has none: brokers before Kafka 2.8, and later ones until inter.broker.protocol.version is 2.8.
 *
 * There a topic is known by its cluster's id and its name, and gets an id made of these: all that Ferry keeps of a topic
 * (checkpoints, maps, lists, producer ids) needs no second form. Such an id says nothing of a topic that was deleted and
 * created again: mirror/resume compares the logs. It is told from Kafka's own by its form (RFC 9562: version 8, theirs
 * are 4) and by its last bytes, and never goes to a broker. docs/adr/0019.
 */
#ifndef FERRY_KAFKA_TOPIC_ID_H
#define FERRY_KAFKA_TOPIC_ID_H

#include "kafka/wire.h"

struct uuid topic_id_of_name(const char *cluster_id, const char *name);
bool topic_id_is_of_name(const struct uuid *id);
/* Two topics for sure? Of an id of Kafka's and one of a name nothing is known: the cluster may have been upgraded. */
bool topic_id_other(const struct uuid *a, const struct uuid *b);
/* Highest version to speak of this topic: below `by_id`, the first that names it by id, where it has none. */
int16_t topic_id_version(int16_t version, int16_t by_id, const struct uuid *id);

#endif
