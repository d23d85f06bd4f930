/* One question to the broker that coordinates a group, asked until it is answered or time is up: FindCoordinator, then the
 * request there; both again when the coordinator moved, loads or broke its connection. What LeaveGroup and OffsetFetch
 * share. Not through librdkafka, whose own requests to coordinators can end the process (docs/adr/0001).
 *
 * Only for what may be asked twice: a request whose answer was lost is sent again. Private to kafka/.
 */
#ifndef FERRY_KAFKA_GROUP_ASK_H
#define FERRY_KAFKA_GROUP_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "kafka/cluster.h"

struct group_ask;

struct group_ask_what {
    const char *group;  /* copied */
    bool transactional; /* `group` is a transactional id */
    enum api_key
        api; /* API_FIND_COORDINATOR: nothing more than who coordinates; no `put` and `get` */
    int32_t timeout_ms; /* for all of it */
    void (*put)(void *arg, struct writer *writer, int16_t version);
    /* Keep what is needed of the answer: its bytes are gone afterwards. `*out_error` = the error of the group as a whole;
     * one that passes is waited out, any other ends the question. false: not understood, asked again. */
    bool (*get)(void *arg, struct reader *reader, int16_t version, int16_t *out_error,
                struct err *err);
    /* Once, within timeout_ms, never inside group_ask_new(); err NULL = the last answer that `get` read is good, else
     * ERR_RETRY when time is up, ERR_REFUSED when the coordinator refused. group_ask_free() may be called here. */
    void (*done)(void *arg, const struct err *err);
    void *arg;
};

/* `cluster` must live until group_ask_free(). Never NULL. */
struct group_ask *group_ask_new(struct loop *loop, struct cluster *cluster,
                                const struct group_ask_what *what);
void group_ask_free(struct group_ask *ask); /* `done` is not called any more; NULL is fine */

#endif
