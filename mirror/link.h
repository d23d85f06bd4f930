/* One direction of one service: source site to target site. Owns its clusters, membership, control reader, keeper,
 * store and partitions; decides by mirror/link_fsm. Loop thread only.
 */
#ifndef FERRY_MIRROR_LINK_H
#define FERRY_MIRROR_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "config/config.h"

struct link;

/* Beyond limits.fetch_bytes: one batch may be larger than what was asked for. More in one answer is not taken. */
#define LINK_ANSWER_SLACK_BYTES (16 << 20)

struct link_callbacks {
    /* The link has stopped for good: why NULL = as asked; ERR_FATAL = fenced by a newcomer with our name (exit 7) or
     * another reason that a restart would not mend. */
    void (*stopped)(void *arg, struct link *link, const struct err *why);
    void *arg;
};

/* Check what can be checked without the network and start. NULL with err: the configuration cannot work (e.g. a
 * protocol that the wire client does not speak). config is borrowed for the lifetime. */
struct link *link_new(struct loop *loop, const struct config *config,
                      const struct config_service *service, const struct config_site *from,
                      const struct config_site *to, struct metrics *metrics,
                      const struct link_callbacks *callbacks, struct err *err);
/* Drain the windows, checkpoint, commit, leave the group; then `stopped`. Bounded by limits.drain_timeout_ms. */
void link_stop(struct link *link);
void link_free(struct link *link); /* at once, nothing is drained */
/* May this link go on with what `config`, read again, says of its service? Nothing changes. ERR_REFUSED: the streams that
 * it describes were replaced by newer ones already (docs/adr/0003), and this worker would write nothing. */
MUST_CHECK
bool link_reloadable(const struct link *link, const struct config *config, struct err *err);
/* Go on with it: topics and groups, policies. What changes the streams counts when the control topic says so; until then
 * the link mirrors by what it had. Its other keys are the ones of the configuration that it began with. */
void link_reload(struct link *link, const struct config *config);
#define LINK_READY_BYTES 700
/* Can this link do what it is here for, or does it rightly stand by: /readyz. `why`: one line, either way. What it waits for and
 * cannot have, false; how far behind it is plays no part. */
bool link_ready(const struct link *link, char why[LINK_READY_BYTES]);

#endif
