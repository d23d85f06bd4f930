/* What the files of the admin door share: one call, from its options to its answer. Private to kafka/admin*.c. */
#ifndef FERRY_KAFKA_ADMIN_INSIDE_H
#define FERRY_KAFKA_ADMIN_INSIDE_H

#include "kafka/admin.h"
#include "kafka/client.h"

struct admin {
    char site[128]; /* for errors */
    struct client *client;
    const struct config_client *settings; /* the caller's */
    int32_t timeout_ms;
    bool refused; /* a sign-in, and nobody has answered since */
};

struct admin_call {
    struct admin *admin;
    rd_kafka_queue_t *queue;
    rd_kafka_AdminOptions_t *options;
    rd_kafka_event_t *event; /* the answer; results look into it */
};

/* Make queue and options with the admin's time limit; admin_call_done() in any case. */
/* A password or certificate that was changed on disk counts from here on. Called by admin_call_begin(). */
void admin_renew(struct admin *admin);
void admin_call_begin(struct admin_call *call, struct admin *admin, rd_kafka_admin_op_t operation);
/* Wait for the answer; false when it is an error or does not come. `what` begins the error: "list offsets". */
MUST_CHECK
bool admin_call_wait(struct admin_call *call, const char *what, struct err *err);
void admin_call_done(struct admin_call *call);

/* "SITE: WHAT: TEXT" by code; false. */
bool admin_failed(struct admin *admin, struct err *err, int code, const char *what,
                  const char *text);

struct uuid admin_uuid(const rd_kafka_Uuid_t *uuid);

/* DescribeTopics of `count` topics: result i belongs to name i. err.kind ERR_NONE where it worked. */
struct admin_description {
    struct admin_topic topic;
    bool internal;
    bool led; /* every partition has a leader */
    struct err err;
};
MUST_CHECK
bool admin_describe(struct admin *admin, const char *const *names, size_t count,
                    struct admin_description *out, struct err *err);

#endif
