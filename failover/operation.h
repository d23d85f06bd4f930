/* One operation on a service: a failover or a switchover. What every step is given, and the evidence that it leaves.
 *
 * Promises: a step's evidence is durable in the control topic of the target (`op/ID/STEP`) before the step counts as done,
 * and stands there for whoever resumes, on whatever host. Redis (`journal:ID`) and a file of this host have copies, which
 * are never read back. Must never: wait for the primary longer than operation_open() did; act when another operator has
 * taken the operation over (operation_keep() says so: ERR_FATAL).
 *
 * Steps run one at a time on one thread and block; only the journal's beat has a thread of its own.
 */
#ifndef FERRY_FAILOVER_OPERATION_H
#define FERRY_FAILOVER_OPERATION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/redis.h"
#include "config/config.h"
#include "dns/dns.h"
#include "kafka/admin.h"
#include "kafka/control.h"

#define OPERATION_ID_BYTES 65 /* "20261126T114502Z-failover-1a2b", as control.h takes it */

enum operation_kind { OPERATION_FAILOVER, OPERATION_SWITCHOVER };
const char *operation_kind_name(enum operation_kind kind); /* "failover", "switchover" */

/* What the command line said, or the operation that is resumed: it stands in `op/ID`, and counts over a later command line. */
struct operation_options {
    enum operation_kind kind;
    const char *by;     /* "alice@host" */
    const char *reason; /* "" = none */
    int64_t allow_loss; /* records; -1 = any, unknown too; -2 = not said */
    bool dns_done;      /* the names were moved by hand: verify only */
    bool dry_run;       /* nothing is written anywhere */
    bool quiet;
    const char *const *forced; /* names of checks that may fail: --force */
    size_t forced_count;
    int64_t timeout_ms; /* of the whole */
};

/* A door that is NULL has its reason beside it. */
struct operation {
    struct operation_options options;
    const struct config *config;
    const struct config_service *service;
    const struct config_site *from; /* primary until now */
    const struct config_site *to;
    char id[OPERATION_ID_BYTES];
    bool planned; /* a switchover: both sides are needed, everything can be undone until `open` */
    bool resumed; /* somebody began it before */
    int64_t role_epoch; /* as the control topic had it when the operation began */
    int64_t began_wall_ms;
    const struct clock *clock;
    int64_t until_ms; /* on the clock; time is up then */

    struct admin *target;          /* as the mirror: never NULL in a step */
    struct admin *target_operator; /* as sites.TO.operator; the mirror's door when there is none */
    struct admin *source;          /* NULL: it did not answer the one probe */
    struct admin *source_operator; /* likewise; the mirror's door when there is no operator */
    struct err source_err;
    struct redis_sync *redis; /* of the target's site; NULL: none, or it does not answer */
    struct err redis_err;
    struct dns **names; /* one each of service->cnames; NULL entries: see names_err */
    size_t names_count;
    struct err names_err;

    char open_id[OPERATION_ID_BYTES]; /* an operation that stands open; "" = none */
    char *
        names_json; /* record `dns` of another site, newer than the target's: names_elsewhere.h; NULL */
    json_t *operations;            /* of the target's control topic, as read */
    struct control_reader *reader; /* of the target's control topic */
    struct control_writer
        *writer; /* connected since the doors are open; operation_lock() makes it ours */
    struct publisher *publisher; /* of hints; NULL = not made yet */
    const char *step;            /* that runs now, for operation_say() */
    json_t *order_before;        /* record `order` before the operation; null = none */
    const char **forced_texts;   /* of a resumed one; their texts are the journal's */

    struct control_state *
        state; /* the target's control topic as read behind the writer's fence; its order, fence, dns and acls
                                    records are kept up to date by operation_write() */
    struct journal *journal; /* NULL in a dry run */
    json_t *evidence;        /* {STEP: evidence} of what is done, and of a dry run */
    json_t *left;            /* see operation_leave() */
    int64_t ended_ms; /* wall clock: it had ended before, with something left; -1 = it had not */
};

/* --- beginning and end -------------------------------------------------------------------------------------------- */

/* Open the doors and read the target's control topic; nothing is written. The primary is asked once, beside everything else,
 * for 1 s in a failover (3.5 s where a connection is taken): what does not answer then is NULL for good.
 *
 * @param to  site; NULL = the first of the service's sites that is not primary
 * @return false: ERR_RETRY the target does not answer; ERR_REFUSED it has no control topic or no role (code
 *         OPERATION_NO_ROLE), or is primary already (code OPERATION_IS_THERE). operation_done() in any case. */
#define OPERATION_NO_ROLE  (-7001)
#define OPERATION_IS_THERE (-7002)
#define OPERATION_BUSY     (-7003)
#define OPERATION_TIME_UP  (-7004)
MUST_CHECK
bool operation_open(struct operation *op, const struct config *config,
                    const struct config_service *service, const struct config_site *to,
                    const struct operation_options *options, struct err *err);
void operation_done(struct operation *op);

/* Is an operation open that another process may be at work on? Watches for JOURNAL_WATCH_MS. Where it is abandoned and of
 * this kind *out_resume is true, and operation_lock() takes it up: its options count from then on.
 *
 * @return false: ERR_REFUSED code OPERATION_BUSY: somebody is at work, or it is abandoned and of another kind; err says who,
 *         since when, how to follow or go on */
MUST_CHECK
bool operation_find(struct operation *op, bool *out_resume, struct err *err);

/* Become the one who operates: fence the keeper and operators before us, read to the end, look again whether it is as
 * operation_open() found it; `op/ID` is open when this returns. false: nothing was changed. */
MUST_CHECK
bool operation_lock(struct operation *op, struct err *err);

/* Does no other site become, or call itself, primary? Asked before anything is written, and once more when this operation stands
 * open: of two that begin in the same moment at least one sees the other.
 * @return false: ERR_REFUSED: code OPERATION_BUSY an operation stands open there; it says that it is primary. A site that does
 *         not answer is said, and hinders nobody. */
MUST_CHECK
bool operation_is_alone(struct operation *op, struct err *err);

/* Milliseconds that are left for the whole, never below 1. */
int32_t operation_left_ms(const struct operation *op);
/* Async-signal-safe: an operation of this process stops behind the row that runs. */
void operation_interrupt(void);
bool operation_interrupted(void);
/* ERR_RETRY when time is up, or it was interrupted. */
MUST_CHECK
bool operation_in_time(const struct operation *op, struct err *err);

/* --- evidence ----------------------------------------------------------------------------------------------------- */

/* Make what a step found or did durable, at any point of it, as often as it likes: the newest replaces the one before. It is
 * in the control topic when this returns; a large one is cut into records below 512 KiB (op/ID/STEP/N), all in one
 * transaction. In a dry run only remembered. Objects only; 64 MiB at most. Takes the reference.
 *
 * @return false: ERR_FATAL another operator took over: stop, do nothing more. ERR_RETRY it may stand or not. */
MUST_CHECK
bool operation_keep(struct operation *op, const char *step, json_t *take_evidence, struct err *err);
/* The same, durable no sooner than the row's next record, at the latest when it is done (or has failed): for what a row found or
 * did, where a row that is begun anew finds or does the same. One transaction less. */
void operation_note(struct operation *op, const char *step, json_t *take_evidence);
/* What was kept, by this process or the one that is resumed; borrowed until the next keep. NULL = nothing was. */
json_t *operation_kept(const struct operation *op, const char *step);

/* Other records of the control topic (role, order, fence, dns, acls), behind the same fence and in one transaction. */
MUST_CHECK
bool operation_write(struct operation *op, const struct control_record *records, size_t count,
                     struct err *err);
/* {"by","reason","time","operation"} into a record that is to be written. Returns it. */
json_t *operation_sign(const struct operation *op, json_t *record);

/* A row did not do all: {"step", "what", "hint", "again"} into `left`, which the report has and the closed operation's record.
 * @param again  the same command tries it once more, also when the operation has ended */
void operation_leave(struct operation *op, const char *step, const struct err *why, bool again);

/* Redis did not answer: it is not asked again, by nobody. */
void operation_drop_redis(struct operation *op, const struct err *why);

/* A line on stderr under the step's name, unless quiet. */
void operation_say(struct operation *op, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* How it is named on the command line, behind its kind: "SERVICE", or "SERVICE --to SITE" where there are several secondaries. Returns
 * out. */
#define OPERATION_TYPED_BYTES 160
char *operation_typed(const struct operation *op, char out[OPERATION_TYPED_BYTES]);

/* Was this check named with --force? */
bool operation_forced(const struct operation *op, const char *check);
/* Is it one of the rows' own, which preflight.h does not know: primary-alive, other-primary, source, fence? */
bool operation_own_check(const char *check);

/* "PREFIX{SERVICE}:SUFFIX" and "PREFIX{SERVICE}:FROM>TO:SUFFIX"; heap. */
char *operation_key(const struct operation *op, const char *suffix);
char *operation_link_key(const struct operation *op, const char *suffix);
/* "ferry-SERVICE-FROM-TO", the mirror's group on the target. Returns out. */
#define OPERATION_GROUP_BYTES 256
char *operation_group(const struct operation *op, char out[OPERATION_GROUP_BYTES]);

#endif
