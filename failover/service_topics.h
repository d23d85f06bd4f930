/* Names of the service's topics on a cluster, sorted; what steps ask about. */
#ifndef FERRY_FAILOVER_SERVICE_TOPICS_H
#define FERRY_FAILOVER_SERVICE_TOPICS_H

#include <jansson.h>

#include "config/config.h"
#include "kafka/admin.h"

struct service_topics {
    struct admin_topic *list;
    const char **names; /* of list, in its order */
    size_t count;
};

/* Those that the cluster shows and the service's patterns take. Valid to free in any case. */
MUST_CHECK
bool service_topics_list(const struct config_service *service, struct admin *admin,
                         struct service_topics *out, struct err *err);
void service_topics_done(struct service_topics *topics);

/* End offsets of every partition: {TOPIC: [END..]}. false: not every one is known. */
MUST_CHECK
bool service_topics_ends(const struct service_topics *topics, struct admin *admin,
                         enum admin_offset_spec spec, json_t **out, struct err *err);

#endif
