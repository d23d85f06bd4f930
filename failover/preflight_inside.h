/* What the files of the preflight share: what was found out (facts), and what is told of it. Private to failover/preflight*.c
 * and its unit tests.
 *
 * Facts come from threads (jobs), each into fields of its own, and are read by the caller's thread once the job is done. What
 * follows from them is told by functions without I/O.
 */
#ifndef FERRY_FAILOVER_PREFLIGHT_INSIDE_H
#define FERRY_FAILOVER_PREFLIGHT_INSIDE_H

#include <pthread.h>
#include <time.h>

#include "dns/dns.h"
#include "failover/preflight.h"

/* --- what is told ------------------------------------------------------------------------------------------------- */

struct preflight;
struct preflight_list {
    struct preflight_finding *list; /* heap */
    size_t count;
};

/* One finding; the next call may add its hint. */
void preflight_tell(struct preflight_list *list, enum preflight_check check,
                    enum preflight_level level, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void preflight_hint(struct preflight_list *list, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "WHAT: why", unknown because of err: unreachable when that is ERR_RETRY. Its hint comes along. */
void preflight_unknown(struct preflight_list *list, enum preflight_check check, const char *what,
                       const struct err *err);
/* "WHAT: no answer within N ms". */
void preflight_late(const struct preflight *preflight, struct preflight_list *list,
                    enum preflight_check check, const char *what);

/* "orders:3, orders:4 and 17 more": names for a finding, so many as fit. */
struct preflight_names {
    char text[PREFLIGHT_TEXT_BYTES / 2];
    size_t used;
    size_t shown;
    size_t count;
};
void preflight_name_add(struct preflight_names *names, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Ends it. Returns its text. */
const char *preflight_names_text(struct preflight_names *names);

/* --- facts: a cluster ----------------------------------------------------------------------------------------------- */

struct preflight_part {
    int32_t index;
    int32_t leader; /* -1 = none */
    int32_t replicas;
    int32_t in_sync;
};
struct preflight_topic {
    char name[250];
    struct preflight_part *parts; /* heap */
    int32_t parts_count;
    int16_t error; /* of its metadata */
};
struct preflight_dir {
    int32_t broker;
    int16_t error;
    char path[200];
    int64_t total_bytes; /* -1 = not said */
    int64_t usable_bytes;
};
struct preflight_broker {
    int32_t id;
    char host[256];
    int32_t port;
    bool looked; /* for its addresses, and somebody answered */
    bool resolves;
    bool nowhere; /* the name is known to have none; else nobody said */
    char why[160];
};
struct preflight_group {
    char name[256];
    char state[32];
    int32_t broker;
    int32_t commits; /* that are known */
    bool concerns;   /* some of them in topics of the service */
};

struct preflight_cluster {
    bool known; /* what follows; else err says why not */
    struct err err;
    char id[64];
    struct preflight_broker *brokers;
    size_t brokers_count;
    int64_t replicas_count;         /* of all partitions of the cluster that we are shown */
    struct preflight_topic *topics; /* of the service, by name */
    size_t topics_count;
    struct err groups_err;          /* ERR_NONE: all were listed */
    struct preflight_group *groups; /* of the service, with members */
    size_t groups_count;
    struct err dirs_err; /* ERR_NONE: every broker told of its directories */
    struct preflight_dir *dirs;
    size_t dirs_count;
};
/* The topic of this name, or NULL. */
const struct preflight_topic *preflight_topic(const struct preflight_cluster *cluster,
                                              const char *name);

/* min.insync.replicas of the target's topics, by name. */
struct preflight_least {
    char topic[250];
    int32_t least;
};
struct preflight_settings {
    struct err err; /* the last one; ERR_NONE: all were read */
    struct preflight_least *list;
    size_t count;
};

/* --- facts: the rest ------------------------------------------------------------------------------------------------- */

struct preflight_expected { /* as the keeper wrote it down */
    char topic[250];
    int32_t partitions;
};
struct preflight_control {
    bool known; /* what follows; else see err */
    struct err err;
    bool no_topic; /* known: there is none */
    int64_t role_epoch;
    char primary[128];
    bool operation_open;
    struct preflight_expected *topics; /* NULL: no list was written */
    size_t topics_count;
    struct err dns_err; /* the record `dns` cannot be read */
    struct dns_recorded dns;
};

struct preflight_redis {
    struct err err; /* ERR_NONE: it answers */
    char policy[40];
    bool clock_known;
    int64_t apart_ms; /* our clock less theirs */
};

#define PREFLIGHT_RIGHTS_MAX 16
struct preflight_permissions { /* of who writes at the target */
    char lacks[PREFLIGHT_RIGHTS_MAX][PREFLIGHT_TEXT_BYTES];
    size_t lacks_count;
    struct err unknown; /* of one that could not be asked; ERR_NONE: all were */
};

#define PREFLIGHT_SERVERS_MAX 8 /* bootstrap servers whose certificates are looked at */
struct preflight_shown { /* what a client would meet that knows the server by a record's name */
    bool answered;       /* the handshake ended, one way or the other */
    bool fits;
    int64_t ends_ms; /* -1 = unknown */
    struct err err;  /* why it does not fit, or did not answer */
};
struct preflight_certificates { /* of one bootstrap server */
    char server[300];
    struct preflight_shown *records; /* one each of service->cnames */
};

struct preflight_record {    /* one of service->cnames */
    struct err recorded_err; /* what is recorded is not known */
    bool recorded;           /* there is an entry with a value */
    char to[DNS_NAME_BYTES]; /* "" = it has no value at that site */
    bool checked;
    struct err err; /* why it is not checked */
    struct dns_check check;
};
struct preflight_servers {          /* those that are authoritative for it */
    const struct config_zone *zone; /* that the record lies in; NULL = none */
    struct err err;                 /* ERR_NONE: they are known */
    struct dns_views views;
};

/* --- jobs ------------------------------------------------------------------------------------------------------------ */

struct preflight;
typedef void preflight_job_fn(struct preflight *preflight, size_t index);
struct preflight_job {
    struct preflight *of;
    preflight_job_fn *run;
    size_t index;
    bool borrows; /* it uses what the caller lent: it is waited for, and is bounded by itself */
    bool started;
    bool done;
    pthread_t thread;
};

/* On the heap: a job that nobody waits for any more holds it. A fact that is NULL did not come in time. */
struct preflight {
    struct preflight_inputs
        in; /* what is lent in there is only for jobs that borrow, and the caller's thread */
    const struct config_client *writer; /* of to: the operator, else the mirror */
    int64_t until_ms;                   /* CLOCK_BOOTTIME */
    int32_t limit_ms;                   /* of everything */
    int64_t now_ms;                     /* wall clock: certificates end */
    pthread_mutex_t lock;               /* guards what follows, until `over` */
    pthread_cond_t changed;
    int refs;
    bool over; /* nothing is published any more */
    struct preflight_job *jobs;
    size_t jobs_count;
    struct preflight_cluster *target;
    struct preflight_cluster *source;
    struct preflight_settings *settings;
    struct preflight_control *control;
    struct preflight_redis *redis;
    struct preflight_permissions *permissions;
    struct preflight_certificates **certificates; /* one a bootstrap server that speaks TLS */
    size_t certificates_count;
    struct preflight_record **records;  /* one each of service->cnames */
    struct preflight_servers **servers; /* likewise */
};

/* Milliseconds that a question may take that is asked now; at least 1. @thread any */
int32_t preflight_left_ms(const struct preflight *preflight);
/* The same as a time for pthread_cond_timedwait(). */
struct timespec preflight_until(const struct preflight *preflight);
/* A job's result, for its slot above; freed when it comes too late. */
void preflight_publish(struct preflight *preflight, void *slot, void *take_result,
                       void (*free_result)(void *result));
/* Wait for what is recorded of the names. false with err. @thread a job's */
MUST_CHECK
bool preflight_recorded(struct preflight *preflight, struct dns_recorded *out, struct err *err);

preflight_job_fn preflight_ask_target;
preflight_job_fn preflight_ask_source;
preflight_job_fn preflight_ask_settings;
preflight_job_fn preflight_ask_control;
preflight_job_fn preflight_ask_redis;
preflight_job_fn preflight_ask_permissions;
preflight_job_fn preflight_ask_certificates;
preflight_job_fn preflight_ask_record;
preflight_job_fn preflight_ask_servers;

struct preflight_control *preflight_control_of(const struct control_state *state);
/* How many bootstrap servers of `to` are looked at: none unless it speaks TLS and the service has records. */
size_t preflight_certificates_count(const struct preflight *preflight);

void preflight_cluster_free(void *cluster);
void preflight_settings_free(void *settings);
void preflight_control_free(void *control);
void preflight_certificates_free(void *certificates);

/* --- what follows, without I/O --------------------------------------------------------------------------------------- */

typedef void preflight_tell_fn(const struct preflight *preflight, struct preflight_list *out);
preflight_tell_fn preflight_tell_target;
preflight_tell_fn preflight_tell_control;
preflight_tell_fn preflight_tell_topics;
preflight_tell_fn preflight_tell_leaders;
preflight_tell_fn preflight_tell_replicas;
preflight_tell_fn preflight_tell_capacity;
preflight_tell_fn preflight_tell_groups;
preflight_tell_fn preflight_tell_permissions;
preflight_tell_fn preflight_tell_certificates;
preflight_tell_fn preflight_tell_advertised;
preflight_tell_fn preflight_tell_dns;
preflight_tell_fn preflight_tell_ttl;
preflight_tell_fn preflight_tell_name_servers;
preflight_tell_fn preflight_tell_redis;
preflight_tell_fn preflight_tell_clock;
preflight_tell_fn preflight_tell_place;
preflight_tell_fn preflight_tell_cost;

#endif
