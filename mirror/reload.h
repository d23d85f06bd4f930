/* A configuration that is read again while the worker runs (SIGHUP): taken over whole, or not at all.
 *
 * What may change is what the table of keys marks `reload`. One key that needs a restart, one error in the file, one link
 * that may not follow: nothing changes, and the reason names the key.
 */
#ifndef FERRY_MIRROR_RELOAD_H
#define FERRY_MIRROR_RELOAD_H

#include "base/metrics.h"
#include "config/config.h"

/* Read the file of `running` again, with what the command line overrode there (options_*, NULL = nothing), and compare.
 * NULL: ERR_CONFIG (as config_load() says it), or ERR_REFUSED with the keys that need a restart. */
struct config *reload_read(const struct config *running, const char *options_worker,
                           const char *options_http, struct err *err);
/* One log line for each key that differs; returns how many. */
size_t reload_tell(const struct config *before, const struct config *after);

/* ferry_config_*: how often, and whether the last one went well. */
struct reload_metrics {
    struct series *taken;
    struct series *refused;
    struct series *ok;
    struct series *time;
};
void reload_metrics_init(struct reload_metrics *shown, struct metrics *metrics, int64_t now_ms);
void reload_metrics_show(struct reload_metrics *shown, bool ok, int64_t now_ms);

#endif
