/* See membership_leave(): ask who coordinates the group, tell that broker that we go. librdkafka does not for static
 * members, and without it our partitions would wait for the session to end.
 *
 * FINDING -> (coordinator known) -> TELLING -> done; a coordinator that moves or loads is asked for again, until time is up.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "kafka/error.h"
#include "kafka/membership_inside.h"
#include "kafka/proto.h"

#define AGAIN_MS          20 /* for a connection that is being made, a coordinator that loads */
#define REASON            "ferryd stops"
#define UNKNOWN_MEMBER_ID 25

struct leave {
    struct loop *loop;
    struct cluster *target;
    char group[256];
    char instance_id[256];
    char member_id[256];
    int64_t until_ms;
    int32_t coordinator; /* -1 = not known */
    struct loop_timer *timer;
    struct leave_question *question; /* on its way; NULL = none */
    struct err last;                 /* why it is not done yet */
    void (*done)(void *arg, const struct err *err);
    void *arg;
};

/* Given to the connection, which answers it for certain; we may be gone by then. */
struct leave_question {
    struct leave *leave; /* NULL = gone */
    int16_t version;
};

static void step(void *arg);

static int32_t time_left_ms(const struct leave *leave)
{
    int64_t left = leave->until_ms - loop_now_ms(leave->loop);
    return left > 0 ? (int32_t)left : 0;
}

static void finish(struct leave *leave, const struct err *err)
{
    struct err copy = err ? *err : (struct err){0}; /* it may be ours, and `done` may free us */
    loop_timer_cancel(leave->timer);
    void (*done)(void *arg, const struct err *err) = leave->done;
    leave->done = NULL;
    if (done) {
        done(leave->arg, err ? &copy : NULL);
    }
}

static void again(struct leave *leave)
{
    loop_timer_set(leave->timer, AGAIN_MS);
}

/* The answer's question: NULL when the leave is gone; freed here. */
static struct leave *answered(struct leave_question *question)
{
    struct leave *leave = question->leave;
    if (leave) {
        leave->question = NULL;
    }
    free(question);
    return leave;
}

static bool is_passing(int16_t error)
{
    return error == KAFKA_COORDINATOR_LOAD_IN_PROGRESS ||
           error == KAFKA_COORDINATOR_NOT_AVAILABLE || error == KAFKA_NOT_COORDINATOR;
}

static void refused(struct leave *leave, const char *what, int16_t error)
{
    leave->coordinator = -1;
    err_set_code(&leave->last, is_passing(error) ? ERR_RETRY : ERR_REFUSED, error, "%s: %s", what,
                 kafka_error_name(error));
    if (is_passing(error)) {
        again(leave);
    } else {
        finish(leave, &leave->last);
    }
}

static void unanswered(struct leave *leave, const struct err *err)
{
    leave->coordinator = -1;
    leave->last = *err;
    again(leave);
}

static void told(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct leave_question *question = arg;
    int16_t version = question->version;
    int16_t error = KAFKA_NONE;
    struct err why;
    struct leave *leave = answered(question);
    (void)block;
    if (!leave) {
        return;
    }
    if (!reader) {
        unanswered(leave, err);
    } else if (!proto_get_leave_group(reader, version, &error, &why)) {
        unanswered(leave, &why);
    } else if (error == KAFKA_NONE || error == UNKNOWN_MEMBER_ID) { /* gone already is gone */
        finish(leave, NULL);
    } else {
        refused(leave, "leave group", error);
    }
}

static void found(void *arg, struct reader *reader, struct buf *block, const struct err *err)
{
    struct leave_question *question = arg;
    int16_t version = question->version;
    struct find_coordinator_answer answer;
    struct err why;
    struct leave *leave = answered(question);
    (void)block;
    if (!leave) {
        return;
    }
    if (!reader) {
        unanswered(leave, err);
    } else if (!proto_get_find_coordinator(reader, version, &answer, &why)) {
        unanswered(leave, &why);
    } else if (answer.error != KAFKA_NONE) {
        refused(leave, "find coordinator", answer.error);
    } else {
        leave->coordinator = answer.id;
        step(leave);
    }
}

static void ask(struct leave *leave, struct conn *conn, enum api_key api)
{
    struct writer writer;
    int16_t version = conn_versions(conn)->version[api];
    if (version < 0) {
        err_set(&leave->last, ERR_REFUSED, "%s does not speak %s as we do", conn_name(conn),
                api_name(api));
        finish(leave, &leave->last);
        return;
    }
    struct leave_question *question = calloc(1, sizeof(*question));
    if (!question) {
        abort();
    }
    question->leave = leave;
    question->version = version;
    leave->question = question;
    writer_init(&writer);
    if (api == API_FIND_COORDINATOR) {
        proto_put_find_coordinator(&writer, version, leave->group);
    } else {
        proto_put_leave_group(&writer, version, leave->group, leave->member_id, leave->instance_id,
                              REASON);
    }
    conn_send(conn, api, version, &writer, NULL, 0, time_left_ms(leave),
              api == API_FIND_COORDINATOR ? found : told, question);
    writer_done(&writer);
}

static void step(void *arg)
{
    struct leave *leave = arg;
    if (time_left_ms(leave) == 0) {
        err_wrap(&leave->last, "leave group '%s': time is up", leave->group);
        finish(leave, &leave->last);
        return;
    }
    struct conn *conn = leave->coordinator < 0 ? cluster_any_conn(leave->target)
                                               : cluster_conn(leave->target, leave->coordinator, 0);
    if (!conn) {
        again(leave);
        return;
    }
    ask(leave, conn, leave->coordinator < 0 ? API_FIND_COORDINATOR : API_LEAVE_GROUP);
}

struct leave *leave_new(struct loop *loop, struct cluster *target, const char *group,
                        const char *instance_id, const char *member_id, int32_t timeout_ms,
                        void (*done)(void *arg, const struct err *err), void *arg)
{
    struct leave *leave = calloc(1, sizeof(*leave));
    if (!leave) {
        abort();
    }
    leave->loop = loop;
    leave->target = target;
    leave->done = done;
    leave->arg = arg;
    leave->coordinator = -1;
    leave->until_ms = loop_now_ms(loop) + timeout_ms;
    leave->timer = loop_timer_new(loop, step, leave);
    snprintf(leave->group, sizeof(leave->group), "%s", group);
    snprintf(leave->instance_id, sizeof(leave->instance_id), "%s", instance_id);
    snprintf(leave->member_id, sizeof(leave->member_id), "%s", member_id);
    err_set(&leave->last, ERR_RETRY, "no connection to the cluster");
    loop_timer_set(leave->timer, 0); /* `done` never comes inside membership_leave() */
    return leave;
}

void leave_free(struct leave *leave)
{
    if (!leave) {
        return;
    }
    if (leave->question) {
        leave->question->leave = NULL;
    }
    loop_timer_free(leave->timer);
    free(leave);
}
