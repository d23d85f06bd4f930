/* See membership_leave(): tell the group's coordinator that we go. librdkafka does not for static members, and without it our
 * partitions would wait for the session to end.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/heap.h"
#include "kafka/error.h"
#include "kafka/group_ask.h"
#include "kafka/membership_inside.h"
#include "kafka/proto.h"

#define REASON            "ferryd stops"
#define UNKNOWN_MEMBER_ID 25

struct leave {
    char group[256];
    char instance_id[256];
    char member_id[256];
    struct group_ask *ask;
    void (*done)(void *arg, const struct err *err);
    void *arg;
};

static void put(void *arg, struct writer *writer, int16_t version)
{
    const struct leave *leave = arg;
    proto_put_leave_group(writer, version, leave->group, leave->member_id, leave->instance_id,
                          REASON);
}

static bool get(void *arg, struct reader *reader, int16_t version, int16_t *out_error,
                struct err *err)
{
    (void)arg;
    if (!proto_get_leave_group(reader, version, out_error, err)) {
        return false;
    }
    if (*out_error == UNKNOWN_MEMBER_ID) { /* gone already is gone */
        *out_error = KAFKA_NONE;
    }
    return true;
}

static void ended(void *arg, const struct err *err)
{
    struct leave *leave = arg;
    leave->done(leave->arg, err); /* may free us */
}

struct leave *leave_new(struct loop *loop, struct cluster *target, const char *group,
                        const char *instance_id, const char *member_id, int32_t timeout_ms,
                        void (*done)(void *arg, const struct err *err), void *arg)
{
    struct leave *leave = must(calloc(1, sizeof(*leave)));
    leave->done = done;
    leave->arg = arg;
    snprintf(leave->group, sizeof(leave->group), "%s", group);
    snprintf(leave->instance_id, sizeof(leave->instance_id), "%s", instance_id);
    snprintf(leave->member_id, sizeof(leave->member_id), "%s", member_id);
    const struct group_ask_what what = {.group = leave->group,
                                        .api = API_LEAVE_GROUP,
                                        .timeout_ms = timeout_ms,
                                        .put = put,
                                        .get = get,
                                        .done = ended,
                                        .arg = leave};
    leave->ask = group_ask_new(loop, target, &what);
    return leave;
}

void leave_free(struct leave *leave)
{
    if (leave) {
        group_ask_free(leave->ask);
        free(leave);
    }
}
