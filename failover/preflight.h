/* "Could we fail over to this site now?" One question behind `ferry check SERVICE` and behind the first step of `ferry failover`
 * and `ferry switchover`. Reads only; changes nothing anywhere.
 *
 * Promises: every check gives at least one finding, in the table's order, from the caller's thread; what could not be asked, or
 * was not answered in time, is PREFLIGHT_UNKNOWN, never ok. With `quick` all questions together take no longer than
 * PREFLIGHT_QUICK_MS and a little: they are asked side by side, and what is slower is unknown. The source is asked only when
 * `source` is given: with the primary dead nothing waits for it.
 * Must never: fence, write, commit, create, swap. Trust what a broker, Redis or a name server says about sizes and counts.
 *
 *   struct preflight_inputs inputs = {.config = .., .service = .., .from = .., .to = .., .target = admin, .quick = true};
 *   preflight_ask(&inputs, print_finding, arg, &result);
 *   if (result.refused > 0) -> exit 3;   if (!result.target_answers) -> exit 6
 */
#ifndef FERRY_FAILOVER_PREFLIGHT_H
#define FERRY_FAILOVER_PREFLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/redis.h"
#include "config/config.h"
#include "kafka/admin.h"
#include "kafka/control.h"

#define PREFLIGHT_QUICK_MS 2000 /* of an operation's 5 s: see docs/check.md */

/* In the order in which they are told; what each looks at: preflight_about(). */
enum preflight_check {
    PREFLIGHT_TARGET,  /* it answers, and is another cluster than the source */
    PREFLIGHT_CONTROL, /* control topic: readable, a role, no operation open */
    PREFLIGHT_TOPICS,
    PREFLIGHT_LEADERS,
    PREFLIGHT_REPLICAS,
    PREFLIGHT_CAPACITY,
    PREFLIGHT_GROUPS,
    PREFLIGHT_PERMISSIONS,
    PREFLIGHT_CERTIFICATE,
    PREFLIGHT_ADVERTISED,
    PREFLIGHT_DNS,
    PREFLIGHT_TTL,
    PREFLIGHT_NAME_SERVERS,
    PREFLIGHT_REDIS,
    PREFLIGHT_CLOCK,
    PREFLIGHT_PLACE,
    PREFLIGHT_COST,
    PREFLIGHT_CHECKS_COUNT
};

enum preflight_level {
    PREFLIGHT_OK,
    PREFLIGHT_WARNING, /* it can be done; read it */
    PREFLIGHT_UNKNOWN, /* could not be asked; does not stop an operation, and is never ok */
    PREFLIGHT_REFUSED, /* it would not work, or would break a promise */
};

/* "leaders", "certificate", ...: stable, for --force CHECK, JSON and docs/check.md. */
const char *preflight_name(enum preflight_check check);
/* false: there is no such check. */
MUST_CHECK
bool preflight_parse(const char *name, enum preflight_check *out);
/* --force NAME..: bits for `forced`. false with ERR_USAGE: no such check, or one that nothing may go past. */
MUST_CHECK
bool preflight_force(const char *const *names, size_t count, uint32_t *out, struct err *err);
/* May `--force` go on past its refusal? Not where the operation itself would fail or lie: target, control. */
bool preflight_forcible(enum preflight_check check);
/* One sentence: what is looked at. For help and docs. */
const char *preflight_about(enum preflight_check check);
const char *preflight_level_name(enum preflight_level level);

#define PREFLIGHT_TEXT_BYTES 640
struct preflight_finding {
    enum preflight_check check;
    enum preflight_level level; /* PREFLIGHT_WARNING when it was refused and is forced */
    bool forced;
    bool unreachable; /* of PREFLIGHT_UNKNOWN: somebody did not answer, who may do so later */
    char what
        [PREFLIGHT_TEXT_BYTES]; /* not safe for a terminal as it is: names come from elsewhere */
    char hint[PREFLIGHT_TEXT_BYTES]; /* what to type; "" = nothing */
};

struct preflight_cost { /* what an operation now would cost, as its caller knows it; -1 = unknown */
    int64_t lag_records; /* not mirrored yet: lost at most */
    double lag_s;
    int64_t groups;         /* that would read something again */
    int64_t reread_records; /* all of them together, at most */
};

struct preflight_inputs { /* all borrowed for the call */
    const struct config *config;
    const struct config_service *service;
    const struct config_site *from;
    const struct config_site *to;
    struct admin *target; /* NULL: it could not be opened, see target_err */
    const struct err *target_err;
    struct admin *source;     /* NULL: not asked. What it would tell is unknown, or not needed */
    struct redis_sync *redis; /* of `to`; NULL: none, or it does not answer, see redis_err */
    const struct err *redis_err;
    const struct control_state
        *control; /* of `to`, when the caller has read it; NULL: it is read here */
    const char *
        operation_id; /* the caller's own operation: open by us is not open by others; NULL = none */
    const struct preflight_cost *cost; /* NULL: nobody measured */
    int32_t timeout_ms;                /* of one question, unless quick */
    bool acting;  /* an operation asks: what `ferry enable` would still bring is refused */
    bool planned; /* a switchover: the source must answer */
    bool quick;
    uint32_t forced; /* bits (1u << check): refusals that are gone past */
    uint32_t skip;   /* likewise: checks that are not made at all */
};

typedef void preflight_fn(void *arg, const struct preflight_finding *finding);

struct preflight_result {
    size_t counts[PREFLIGHT_REFUSED + 1]; /* findings by level; forced ones are warnings */
    size_t forced;
    bool target_answers;
    int64_t took_ms;
};

/* Blocks. @param each  called for each finding, all from this thread; NULL = nobody listens
 * @thread any; while it runs nobody else may call the same admins and Redis */
void preflight_ask(const struct preflight_inputs *inputs, preflight_fn *each, void *arg,
                   struct preflight_result *out);

struct operation;
/* The same as row `check` of an operation: quick, forced as its options say; says what is not ok, keeps
 * {"findings": [{"check", "level": "ok"|"warning"|"refused"|"unknown", "forced", "what", "hint"}..]} under "check".
 *
 * @return false with ERR_REFUSED: a check refuses and is not forced; err names the first, the hint how to go on. ERR_RETRY: the
 *         target cannot be asked. ERR_USAGE: --force names what is no check */
MUST_CHECK
bool preflight_run(struct operation *op, struct err *err);

#endif
