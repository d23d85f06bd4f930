/* What two clusters take of a mirror, tried: which path (`batches`, `records`) can carry a service between them, and by what
 * evidence. Blocking, for the command; writes to a scratch topic of our own at the target alone, `ferry.probe.SERVICE`, which is
 * made, used and deleted. One that a killed command left there is used and deleted by the next. Two at once may take it from under
 * each other: seen by its id, and unknown then.
 */
#ifndef FERRY_KAFKA_PATH_PROBE_H
#define FERRY_KAFKA_PATH_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "config/config.h"
#include "kafka/admin.h"

#define PATH_PROBE_TOPIC_BYTES 260
/* "ferry.probe.SERVICE" */
char *path_probe_topic(const char *service, char out[PATH_PROBE_TOPIC_BYTES]);

enum probe_word {
    PROBE_UNKNOWN, /* could not be asked, was not answered, or not for want of an ACL */
    PROBE_YES,
    PROBE_NO,
};

struct probe_fact {
    enum probe_word word;
    char why[400]; /* of no and unknown; "" = not asked, something before it says enough */
};

enum probe_what {
    PROBE_SOURCE,    /* Ferry's own connections sign in at the source and speak its versions */
    PROBE_TARGET,    /* likewise at the target */
    PROBE_CHOSEN_ID, /* the target takes a producer id that it never gave out */
    PROBE_SEQUENCE, /* and keeps its sequence: a gap is refused, a repeat answered with its first offset */
    PROBE_PRODUCERS, /* and tells it: DescribeProducers */
    PROBE_IDEMPOTENT, /* an idempotent producer may write (librdkafka's, tried): what `records` wants */
    PROBE_WHATS_COUNT
};
/* Of `yes`: "a producer id of Ferry's choosing is taken". */
const char *probe_what_text(enum probe_what what);

struct path_probe {
    struct probe_fact facts[PROBE_WHATS_COUNT];
    /* The scratch topic could not be made, or not be deleted: then it is still there. ERR_NONE = neither. */
    struct err made;
    struct err deleted;
};

struct path_probe_inputs {
    const char *service;
    const char *source_name; /* of the sites */
    const char *target_name;
    const struct config_client *source; /* as the mirror signs in */
    const struct config_client *target;
    struct admin *admin; /* the target's, of the same principal */
    int32_t timeout_ms;  /* of each of its four parts */
};
void path_probe_run(const struct path_probe_inputs *inputs, struct path_probe *out);

/* What follows: `batches` when all that it needs was seen, `records` when something of it is refused. @return false: what is
 * unknown decides. */
MUST_CHECK
bool path_probe_result(const struct path_probe *probe, enum config_path *out);
#define PATH_PROBE_TEXT_BYTES 900
/* The evidence for that result, or what is missing for one. Returns out. */
char *path_probe_text(const struct path_probe *probe, char out[PATH_PROBE_TEXT_BYTES]);

/* Does this code of a librdkafka producer say that it may not be an idempotent one? */
bool path_probe_refuses_idempotence(int code);

#endif
