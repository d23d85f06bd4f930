/* Which settings of a topic that stands at the target follow the source's: what is set, changed or taken back there, and
 * what stays different and why. Pure: lists in, lists out.
 *
 * What the source's topic sets itself is carried, by the rules of config_setting_rule() and the service's topic_config;
 * defaults of its brokers are not. What is not set there is the target's own affair: a value that stood there before us
 * comes back, one that somebody set there stays. Taken back is only what is recorded as put there by us and still has
 * that value. Of a forced setting what is given back one day follows. See docs/topics.md.
 */
#ifndef FERRY_MIRROR_TOPIC_FOLLOW_H
#define FERRY_MIRROR_TOPIC_FOLLOW_H

#include <stdint.h>

#include <jansson.h>

#include "config/config.h"
#include "mirror/topic_plan.h"

struct topic_follow {
    const struct config_service *service;
    struct topic_settings source; /* known */
    struct topic_settings target; /* known */
    int32_t target_replicas;
    bool ours; /* topic_plan_looks_ours(): what it has of the source's was put there by us */
    const json_t *forced; /* {SETTING:[old|null,new]}: what is given back one day; NULL = nothing */
    const json_t *synced; /* {SETTING:[old|null,new]}: what we put there; NULL = nothing */
    const json_t *
        refused; /* {SETTING:{"value":..,"why":..}}: what the target will not have now; NULL = nothing */
};

/* What is to be done, each with `follows`; and [{"setting","source","target","why"}]: what stays different. Nothing of
 * either when the service's topics do not follow. @param out_drifts  new reference */
void topic_follow_plan(const struct topic_follow *follow, struct topic_changes *out,
                       json_t **out_drifts);

/* A row of drifts. Values are cut to 100 bytes; NULL = none. New reference. */
json_t *topic_drift(const char *setting, const char *source, const char *target, const char *why);

#endif
