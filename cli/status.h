/* What is known of a link, and what follows from it: the first line, the state, a monitoring plugin's verdict. No I/O:
 * cmd_status.c fills it. Every figure may be unknown (-1), and nothing here turns unknown into something better.
 */
#ifndef FERRY_CLI_STATUS_H
#define FERRY_CLI_STATUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/status_operation.h"
#include "failover/positions.h"
#include "config/config.h"
#include "failover/acl_sync.h"
#include "kafka/path_probe.h"

#define STATUS_LINE_BYTES 512
#define STATUS_WHY_BYTES  300

struct status_part {    /* what a worker says of a partition; one for each row of positions */
    const char *worker; /* NULL: no live worker has it */
    const char *state;
    const char *why;
    const char *trouble;    /* what the source says of it now; "" = nothing */
    double lag_s;           /* -1 = unknown */
    double bytes_per_s;     /* -1 = unknown */
    const char *limited_by; /* NULL = unknown */
    bool slow_connection;
};

struct status {
    const char *service;
    const char *from;
    const char *to;
    const struct config_site *sites[2]; /* of from and to; borrowed from the configuration */
    int64_t now_ms;                     /* wall clock: heartbeats were read */
    int64_t role_epoch;                 /* 0 = none was ever written, -1 = unknown */
    char primary[128];                  /* site, when there is an epoch */
    int64_t role_ms;                    /* when it was written; -1 = unknown */
    bool paused;
    bool operation_open;
    struct status_operation operation; /* id "" = which one is not known */
    double measured_s; /* what the last operation to `to` took; -1 = there was none */
    char measured_when[40];
    bool has_redis;       /* the target's site has one */
    struct err role_err;  /* why the role is unknown */
    struct err redis_err; /* ERR_NONE: it answers */
    struct positions positions;
    struct status_part *parts;
    json_t *fence;         /* "topics" of the write fence's record; NULL = none, or unknown */
    json_t *workers;       /* live heartbeats by name; NULL = unknown */
    json_t *gone;          /* heartbeats that stand still */
    bool path_auto;        /* the service says "path": "auto" */
    enum config_path path; /* that carries it; PATH_AUTO = not chosen yet, or unknown */
    char path_why[PATH_PROBE_TEXT_BYTES]; /* of the choice; "" = there was none, or unknown */
    bool at_least_once;                   /* path `records` */
    int64_t repeated;        /* records found on the target a second time; -1 = unknown */
    char repeated_since[40]; /* the first find; "" = none */
    json_t *faults;          /* by TOPIC:PARTITION; NULL = unknown */
    int64_t lag_records;     /* -1 = unknown */
    double lag_s;            /* the worst; -1 = unknown */
    int64_t seen_lag;        /* the source does not answer: what workers last said; -1 = nothing */
    int64_t seen_ms;
    double records_per_s;           /* of all live workers; -1 = unknown */
    int64_t groups;                 /* carried, as the keeper says; -1 = unknown */
    double groups_age_s;            /* since they were read; -1 = unknown */
    int64_t groups_waiting;         /* offsets that are not carried; -1 = unknown */
    int64_t reread_groups;          /* that would read something again now; -1 = unknown */
    int64_t reread_records;         /* so many, at most; -1 = unknown */
    double failover_s;              /* what a failover would take; -1 = unknown */
    char acls[ACL_SYNC_LINE_BYTES]; /* what is copied of them; "" = nothing was, or unknown */
};

/* A live worker mirrors it, and nothing is in its way. */
bool status_part_flows(const struct status_part *part);

/* Seconds of lag as the worker sees them; -1 = unknown, as of a topic that the source hides: a worker's last word may be from
 * before. */
double status_late(const struct position *position, const struct status_part *part);

void status_done(struct status *status);

/* Give live workers' words to the partitions they have, then sum up. After the fields above lag_records are filled. */
void status_sum(struct status *status);

/* "if you failed over now: lose at most ..." */
char *status_first_line(const struct status *status, char out[STATUS_LINE_BYTES]);
/* "no role", "not primary", "unknown", "paused", "no worker", or the workers' state. */
const char *status_state(const struct status *status);
/* Why the state is what it is, "" when it says all. */
char *status_why(const struct status *status, char out[STATUS_WHY_BYTES]);

/* Groups of which nothing is carried, and those with their offsets alone, by name and kind, as the keeper says; "" when there
 * are none, or it is not known. Names are a cluster's: to be made safe. Heap. */
char *status_not_carried(const struct status *status);

enum status_verdict { STATUS_OK, STATUS_WARNING, STATUS_CRITICAL, STATUS_UNKNOWN };
/* @param warning_s, critical_s  seconds of lag  @param why  filled with the reason, "" when all is well */
enum status_verdict status_check(const struct status *status, double warning_s, double critical_s,
                                 char why[STATUS_WHY_BYTES]);

/* Partitions that no live worker mirrors although they are ours; -1 = unknown. */
int64_t status_idle_count(const struct status *status);
/* -1 = unknown */
int64_t status_fault_count(const struct status *status);

#endif
