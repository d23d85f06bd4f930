/* What `ferry offsets reset` would do, place by place: gathered from the target and Redis, nothing is changed here.
 */
#ifndef FERRY_CLI_RESET_H
#define FERRY_CLI_RESET_H

#include "cli/context.h"
#include "failover/cut.h"
#include "kafka/groups.h"

enum reset_to { RESET_TRANSLATED, RESET_EARLIEST, RESET_LATEST, RESET_TIME, RESET_SOURCE_OFFSET };

struct reset_wish {
    const char *group;               /* NULL = all */
    char topic[CONTEXT_TOPIC_BYTES]; /* "" = every */
    int32_t partition;               /* -1 = every */
    enum reset_to to;
    int64_t value; /* ms since 1970, or an offset of the source */
    const char *text;
};

struct reset_place {
    const char *group; /* of the list */
    const struct cut_part *part;
    char *metadata;   /* the group's own; NULL = none */
    int64_t stands;   /* -1 = nowhere */
    int64_t after;    /* -1 = not known: it stays */
    struct hint hint; /* from `after` on */
    int16_t error;    /* of the commit; -1 = not sent or no word */
    bool sent;
};

struct reset {
    struct context *context;
    struct reset_wish wish;
    char operation[HINT_OPERATION_BYTES];
    struct groups_door *door;
    struct cut cut;
    bool has_cut;
    struct groups_list groups;  /* at the target: those that are meant */
    struct reset_place *places; /* by group, topic, partition */
    size_t count;
};

/* Options of the command line. */
MUST_CHECK
bool reset_wish(struct context *context, struct reset_wish *out, struct err *err);
/* ERR_REFUSED: no such group, or no place is meant. */
MUST_CHECK
bool reset_gather(struct reset *reset, struct err *err);
/* Has the group members at the target? Asked anew. */
MUST_CHECK
bool reset_states(struct reset *reset, struct err *err);
bool reset_has_members(const struct reset *reset, const char *group);
/* Commit what has no members and somewhere to go; `error` of each place tells. */
MUST_CHECK
bool reset_commit(struct reset *reset, struct err *err);
void reset_done(struct reset *reset);

#endif
