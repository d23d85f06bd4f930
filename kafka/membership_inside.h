/* What the files of membership share. Private to kafka/membership*.c. */
#ifndef FERRY_KAFKA_MEMBERSHIP_INSIDE_H
#define FERRY_KAFKA_MEMBERSHIP_INSIDE_H

#include <sys/queue.h>

#include "kafka/client.h"
#include "kafka/membership.h"

struct committed;
struct leave;

/* A commit, until it is answered. */
struct group_call {
    LIST_ENTRY(group_call) entry;
    struct membership_commit *commits; /* the caller's; its topics may be gone before the answer */
    size_t count;
    rd_kafka_topic_partition_list_t *wants; /* our copy of which partitions, same order */
    int64_t sent_ms;
    void (*done)(void *arg, const struct membership_commit *commits, size_t count, int64_t sent_ms,
                 const struct err *err);
    void *arg;
};

LIST_HEAD(group_calls, group_call);
LIST_HEAD(committeds, committed);

struct membership {
    struct loop *loop;
    struct membership_callbacks callbacks;
    char group[256];
    char instance_id[256];
    struct client *client; /* NULL once we are leaving */
    rd_kafka_queue_t *queue;
    struct client *ending; /* was `client`; ends when no event of it is looked at any more */
    int wake_fd;           /* librdkafka writes here when an event waits */
    struct loop_fd *wake;
    struct loop_timer *tick;
    int32_t generation;
    int64_t
        old_until_ms; /* commits handed over until then may carry the member id of a session that is over */
    bool revoking; /* told to the owner, not given back yet */
    struct group_calls calls;
    struct committeds committeds; /* questions for what is committed */
    int trouble_code;             /* last one told, and when */
    int64_t trouble_ms;
    bool fatal_told;
    bool serving; /* events: what they look into must outlive the callbacks */
    bool doomed;  /* freed inside a callback: the memory goes when serving ends */
    struct leave *leave;
};

/* Ask what is committed; stands in `all` until it is answered, when `take_wants` is freed. `group` lives until then. */
void committed_ask(struct committeds *all, struct loop *loop, struct cluster *target,
                   const char *group, struct membership_commit *take_wants, size_t count,
                   void (*done)(void *arg, const struct membership_commit *found, size_t count,
                                const struct err *err),
                   void *arg);
/* Answer without asking. */
void committed_refuse(struct membership_commit *take_wants, size_t count,
                      void (*done)(void *arg, const struct membership_commit *found, size_t count,
                                   const struct err *err),
                      void *arg, const struct err *err);
void committed_end_all(struct committeds *all,
                       const struct err *err); /* all are answered with err */

/* The requests of membership_leave(); takes no part in anything else. */
struct leave *leave_new(struct loop *loop, struct cluster *target, const char *group,
                        const char *instance_id, const char *member_id, int32_t timeout_ms,
                        void (*done)(void *arg, const struct err *err), void *arg);
void leave_free(struct leave *leave); /* `done` is not called any more; NULL is fine */

#endif
