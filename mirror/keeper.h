/* What is done once per service, by whoever owns the control topic's partition in ferry's group: topic sync and the
 * `streams`, `topics` and `keeper` records. On a thread of its own, since admin calls and transactions block.
 *
 * The keeper acts only inside its send deadline and with a control topic read less than 1 s ago; both are handed in by
 * the link and checked right before each act. A fenced keeper (an operation runs) stops and tells.
 */
#ifndef FERRY_MIRROR_KEEPER_H
#define FERRY_MIRROR_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "config/config.h"
#include "kafka/control.h"
#include "mirror/topic_sync.h"

struct keeper;

struct keeper_options {
    const struct config_service
        *service; /* its configuration is kept (config_ref) while it is used */
    const struct config_site *from;
    const struct config_site *to;
    const char *worker;
    enum config_path path; /* never PATH_AUTO: streams_path() */
    int32_t
        interval_ms; /* between topic syncs: 2,000, so that a new topic is followed within 5 s */
};
struct keeper_callbacks {
    /* A sync was done (sync borrowed) or failed (err). On the loop's thread. */
    void (*synced)(void *arg, const struct topic_sync *sync, const struct err *err);
    /* Topics of those that keeper_ask() named: both clusters said of each, by name, that there is none. {TOPIC: true}, borrowed;
     * on the loop's thread, behind `synced`. NULL: nobody asks. */
    void (*gone)(void *arg, const json_t *topics);
    /* ERR_FATAL: fenced by another keeper or an operation; the keeper does nothing more until keeper_act() again. */
    void (*trouble)(void *arg, const struct err *err);
    void *arg;
};

/* How long it rests between two turns, so that brokers of large clusters, and workers that share out a new list, have their time.
 * A turn without news that took long says how large the clusters are; one with news says nothing of that.
 *
 * @param shared_out  partitions of a list that was written, 0 = it is the old one. Pure */
int64_t keeper_rest_ms(int32_t interval_ms, bool quiet, int64_t took_ms, int64_t shared_out);
/* Starts the thread, idle. */
struct keeper *keeper_new(struct loop *loop, const struct keeper_options *options,
                          const struct keeper_callbacks *callbacks);
void keeper_free(
    struct keeper
        *keeper); /* waits for the act that is under way, bounded by the admin time-outs */

/* From the next turn on, which begins at once: the service as a configuration that was read again has it. */
void keeper_reload(struct keeper *keeper, const struct config_service *service);
/* Before joining, when the control topic holds no list yet: any worker creates the topics once (no record is written);
 * `synced` is told. */
void keeper_prepare(struct keeper *keeper);
/* We own the control topic's partition until until_ms (loop clock); 0 = not ours any more. Called at each renewal. */
void keeper_act(struct keeper *keeper, int64_t until_ms);
#define KEEPER_ASKED_MOST 16 /* two describes each, ~5 ms */
/* Are these topics anywhere? An array of names, of which the first KEEPER_ASKED_MOST are asked for behind the next turn that
 * succeeds; takes the place of an earlier one. Takes the reference. */
void keeper_ask(struct keeper *keeper, json_t *take_names);
/* The newest snapshot of the control topic (copied). Writes `streams` when none stands there or when ours is a hash
 * that was never there; `topics` when the list changed; `keeper` once per term. */
void keeper_control(struct keeper *keeper, const struct control_state *state);

#endif
