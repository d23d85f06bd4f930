/* The part of the probe that goes over our own wire, for its test. Private to kafka/path_probe.c. */
#ifndef FERRY_KAFKA_PATH_PROBE_INSIDE_H
#define FERRY_KAFKA_PATH_PROBE_INSIDE_H

#include "kafka/cluster.h"
#include "kafka/path_probe.h"

/* Write to partition 0 of `topic` as a producer of our own choosing and ask for it: PROBE_TARGET, _CHOSEN_ID, _SEQUENCE, _PRODUCERS.
 * Runs the loop. */
void path_probe_wire(struct loop *loop, struct cluster *cluster, const char *topic,
                     int32_t timeout_ms, struct path_probe *out);
/* Connect, and look whether both sides' versions are enough for `batches`: PROBE_SOURCE. */
void path_probe_source(struct loop *loop, struct cluster *cluster, int32_t timeout_ms,
                       struct path_probe *out);

#endif
