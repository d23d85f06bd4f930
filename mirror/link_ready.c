/* Is this link what a rollout may go on behind: /readyz (docs/adr/0023). A look at what the link knows; asks nobody. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "mirror/link_inside.h"
#include "mirror/streams.h"

__attribute__((format(printf, 3, 4))) static bool say(char why[LINK_READY_BYTES], bool ready,
                                                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, LINK_READY_BYTES, format, args);
    va_end(args);
    text_safe(why); /* what brokers say is one line of ours */
    return ready;
}

/* --- what every worker needs, with a role or without one ---------------------------------------------------------- */

static bool control_is_read(const struct link *link, char *why)
{
    const char *because = link->control_denied;
    if (because[0] == '\0') {
        because = cluster_reachable(link->target) ? "" : cluster_last_error(link->target);
    }
    return link_gate_open(link, GATE_CONTROL) ||
           say(why, false, "the control topic on %s %s%s%s", link->to->name,
               link->control_read_ms > 0 ? "is not read any more" : "was not read yet",
               because[0] == '\0' ? "" : ": ", because);
}

/* Without it mirroring goes on; but a worker that ends then takes along what of the map it has kept. */
static bool redis_is_there(const struct link *link, char *why)
{
    if (link->redis == NULL) {
        return true;
    }
    if (redis_state(link->redis) != REDIS_READY || link->map_err.kind != ERR_NONE) {
        const char *because =
            link->map_err.kind == ERR_NONE ? redis_last_error(link->redis) : link->map_err.what;
        return say(why, false, "the Redis of %s: %s", link->to->name,
                   because[0] == '\0' ? "no connection yet" : because);
    }
    return link->store == NULL || offset_store_ready(link->store) ||
           say(why, false, "the Redis of %s was not looked through yet", link->to->name);
}

/* One that was never there is the newest, and waits for a keeper that has it, too: were it not ready, a rollout would stop at the
 * first worker and never come to the keeper. */
static bool streams_are_not_old(const struct link *link, char *why)
{
    return link->engine == NULL ||
           streams_judge(&link->streams_seen, link->streams_hash) != STREAMS_OLDER ||
           say(why, false, "this worker's configuration is not the newest: it writes nothing");
}

static bool has_what_all_need(const struct link *link, char *why)
{
    if (link->stopping || link->state == LINK_DRAINING || link->state == LINK_STOPPED) {
        return say(why, false, "stopping");
    }
    if (!control_is_read(link, why)) {
        return false;
    }
    if (link->distrusted) {
        return say(why, false, "%s", link->why);
    }
    return redis_is_there(link, why) && streams_are_not_old(link, why);
}

/* --- standing by, or mirroring ------------------------------------------------------------------------------------ */

/* The control topic was read, and says that there is nothing to do. The source may be dead: it was failed over from. */
static bool stands_by(const struct link *link, char *why)
{
    if (link->fence[0] != '\0' || link->state == LINK_RETREATING) {
        return say(why, true, "stands by: fenced by operation %s",
                   link->fence[0] == '\0' ? "that was taken back" : link->fence);
    }
    if (link->role_epoch == 0) {
        return say(why, true, "stands by: no role yet: ferry enable %s", link->service->name);
    }
    if (!link->source_is_primary) {
        return say(why, true, "stands by: %s is primary by role epoch %lld",
                   link->target_is_primary ? link->to->name : "another site",
                   (long long)link->role_epoch);
    }
    if (link->engine == NULL) {
        return say(why, link->path_unchosen, "%s", link->why);
    }
    return say(why, false, "the role is not taken yet");
}

static bool answers(const struct cluster *cluster, const char *site, char *why)
{
    const char *because = cluster_last_error(cluster);
    return cluster_reachable(cluster) ||
           say(why, false, "%s: %s", site, because[0] == '\0' ? "no answer yet" : because);
}

static bool mirrors(const struct link *link, char *why)
{
    if (link->group_denied[0] != '\0') {
        return say(why, false, "%s", link->group_denied);
    }
    if (link->paused) {
        return say(why, true, "stands by: paused by an order: ferry resume %s",
                   link->service->name);
    }
    if (!answers(link->source, link->from->name, why) ||
        !answers(link->target, link->to->name, why)) {
        return false;
    }
    if (link->state != LINK_RUNNING) {
        return say(why, false, "%s: no member of ferry's group yet", link_state_name(link->state));
    }
    if (link->streams_seen.streams_epoch == 0) {
        return say(why, false, "no keeper has said yet what is mirrored");
    }
    if (!link->streams_match) {
        return say(why, true, "stands by: its newer configuration waits for a keeper that has it");
    }
    if (link->parts_count > 0 && !link_gate_open(link, GATE_DEADLINE)) {
        return say(why, false, "ferry's group takes no commits of this worker: nothing is sent");
    }
    return say(why, true, "mirrors %zu partitions", link->parts_count);
}

bool link_ready(const struct link *link, char why[LINK_READY_BYTES])
{
    return has_what_all_need(link, why) &&
           (link->role_ours ? mirrors(link, why) : stands_by(link, why));
}
