/* Keys of AWS, from wherever the configuration says: itself, the environment, the endpoint that ECS and EKS give a container,
 * the metadata service of an instance (version 2 alone). Temporary ones are asked for again before they end. Blocks.
 *
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html, feature-imds-credentials.html
 */
#ifndef FERRY_DNS_AWS_KEYS_H
#define FERRY_DNS_AWS_KEYS_H

#include "base/https.h"
#include "config/config.h"

struct aws_keys {
    char *access_key;
    char *secret;
    char *token_header; /* "X-Amz-Security-Token: ..", or NULL */
    int64_t until_ms;   /* on the monotonic clock: then they are asked for again */
    int64_t ends_ms;    /* likewise: then they are none; 0 = not said */
};

/* Have keys that last for the next request. Where nobody answers who gives new ones, the old ones count until they end. Those of the configuration and of the environment are read once.
 * @return false: ERR_CONFIG they are not there, or whoever is named may not be asked; ERR_RETRY nobody answers; ERR_REFUSED
 *         who answers gives none. Nothing of them is in the error. */
MUST_CHECK
bool aws_keys_have(struct aws_keys *keys, struct https *https, const struct config_zone *zone,
                   struct err *err);
void aws_keys_done(struct aws_keys *keys);

#endif
