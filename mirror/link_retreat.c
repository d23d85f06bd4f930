/* An operation's order `fence`: nothing of ours may arrive at the target any more. What flies lands or is dropped, the group is
 * left, and the operation is told.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "mirror/link_inside.h"

/* Told at once: the operation waits for it. */
void link_look_at_fence(struct link *link)
{
    bool still = link->state == LINK_NO_ROLE && link->membership == NULL;
    if (link->fence[0] == '\0') {
        link->fence_acked[0] = '\0';
    } else if (still && strcmp(link->fence_acked, link->fence) != 0) {
        memcpy(link->fence_acked, link->fence, sizeof(link->fence));
        snprintf(link->why, sizeof(link->why), "operation %s has fenced this worker", link->fence);
        log_info("link.fenced", "service=%s link=%s>%s operation=%s", link->service->name,
                 link->from->name, link->to->name, link->fence);
        if (link->heartbeat != NULL) {
            heartbeat_now(link->heartbeat);
        }
    }
}

static void retreated(void *arg, const struct err *err)
{
    struct link *link = arg;
    if (err != NULL) {
        log_warn("membership.leave_failed",
                 "link=%s>%s why=%s doing=\"the session ends by its time-out\"", link->from->name,
                 link->to->name, log_quote(err->what).text);
    }
    link_event(link, LINK_EV_DRAINED, "fenced by an operation");
    link_look_at_fence(link);
    if (link->stopping) {
        link_event(link, LINK_EV_STOP, "asked to stop");
    } else {
        link_step(link); /* the order may have been withdrawn meanwhile */
    }
}

void link_retreat(void *arg)
{
    struct link *link = arg;
    if (link->state != LINK_RETREATING || link->retreat_leaving) {
        return;
    }
    link->retreat_leaving = true;
    link_drop_all(link);
    if (link->membership == NULL) {
        retreated(link, NULL);
    } else {
        membership_leave(link->membership, link->target, LINK_LEAVE_MS, retreated, link);
    }
}
