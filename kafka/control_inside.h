/* What tests look at of the control topic's writers. Private to kafka/control_writer.c. */
#ifndef FERRY_KAFKA_CONTROL_INSIDE_H
#define FERRY_KAFKA_CONTROL_INSIDE_H

#include "kafka/client.h"

/* The handle of a writer, before anything is asked of the cluster. NULL with ERR_CONFIG: librdkafka refuses a property, or
 * how they stand together. */
struct client *control_writer_client(const struct config_client *settings, const char *role,
                                     const char *service, struct err *err);

#endif
