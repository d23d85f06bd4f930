/* Until when the certificates are valid that the sites name as ours (ssl.certificate.location): a metric for an alert.
 * Read from the files, at the start and each ten minutes; one that cannot be read or parsed is not known.
 */
#ifndef FERRY_MIRROR_CERTIFICATES_H
#define FERRY_MIRROR_CERTIFICATES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/metrics.h"
#include "config/config.h"

struct certificates;
/* config is borrowed for the lifetime. */
struct certificates *certificates_new(struct loop *loop, struct metrics *metrics,
                                      const struct config *config);
void certificates_free(struct certificates *certificates); /* NULL is fine */

/* The first certificate of a PEM file: seconds since 1970 until which it is valid; false when there is none. */
MUST_CHECK
bool certificate_expiry(const char *file, int64_t *out_s);

#endif
