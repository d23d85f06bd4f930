/* Where every group of a service stands at a cut of its mirror, what it may read twice, and what becomes of its commits at the
 * target. Gathered once, kept as an operation's evidence, decided and committed place by place.
 *
 * Promises: what is committed is never past the translation of the source's commit, and only over Ferry's own last value
 * (docs/groups.md); a place that has the operation's hint is done. Needs the target alone; Redis where it is there.
 * Must never: wait for a source that it is not given.
 */
#ifndef FERRY_FAILOVER_CUT_H
#define FERRY_FAILOVER_CUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/redis.h"
#include "config/config.h"
#include "kafka/admin.h"
#include "kafka/groups.h"
#include "offsets/checkpoint.h"
#include "offsets/hint.h"

struct cut_part {
    char topic[250];
    int32_t partition;
    struct checkpoint at;
    int64_t begin; /* of the target's log; -1 = unknown */
    int64_t end;   /* likewise: everything that was mirrored lies below it */
};

enum cut_verdict { /* of a place */
                   CUT_COMMITTED, /* it stands at the target, with the operation's hint where the group has no metadata of its own */
                   CUT_DUE, /* it is to be committed */
                   CUT_PAST, /* the target's commit is past the translation, and not ours to take back */
                   CUT_FOREIGN, /* somebody else committed there since we did */
                   CUT_UNMAPPED, /* the map does not know the stretch: what stands at the target stays */
                   CUT_MEMBERS, /* the group has members at the target: it is theirs */
                   CUT_REFUSED, /* the coordinator refuses, or does not answer */
                   CUT_VERDICTS_COUNT
};
const char *cut_verdict_text(enum cut_verdict verdict);
/* Has somebody to do something about it? */
bool cut_verdict_open(enum cut_verdict verdict);

struct cut_place {
    struct cut_part *part;
    struct group_facts facts; /* target_offset: where it goes on; -1 = not known */
    char *metadata;           /* of the group itself; NULL = none */
    struct hint hint;
    enum cut_verdict verdict;
    int64_t stood;   /* at the target; -1 = nothing */
    bool text_short; /* the coordinator refused a longer hint */
};

struct cut_group {
    char *name;
    struct cut_place *places; /* by topic and partition */
    size_t count;
    char state[32]; /* at the target; "" = it is not listed there */
    char why[300];  /* what its coordinator refuses; "" = nothing */
};

struct cut {
    struct hint_origin origin;
    bool of_redis;     /* else from what stood at the target */
    char why_not[300]; /* Redis was not asked */
    char why_old
        [300]; /* commits were not read at the source once more; "" = they were, or were not to be */
    int64_t looked_ms;      /* wall clock: the source's groups were read last; -1 = unknown */
    bool lately;            /* within GROUP_LATELY_MS of the cut, on Redis's clock */
    int64_t alive_ms;       /* wall clock: the newest checkpoint; -1 = unknown */
    json_t *members;        /* names of groups that had members at the source; NULL = unknown */
    struct cut_part *parts; /* by topic and partition */
    size_t parts_count;
    struct cut_group *groups; /* by name */
    size_t groups_count;
};

struct cut_options {
    struct admin *target;
    struct groups_door *groups; /* of the target */
    struct groups_door
        *source; /* where commits are read once more; NULL: nowhere, it is not waited for */
    struct redis_sync *redis; /* NULL: `redis_err` says why */
    const struct err *redis_err;
    const struct config *config;
    const struct config_service *service;
    const struct config_site *from;
    const struct config_site *to;
    const char *operation; /* its id; for a look without one: "-" */
    int64_t now_ms;        /* wall clock */
};

/* Everything as it stands now; commits at the source where it is asked. Without Redis, or with one that is another's: groups as they were committed at the target.
 * false with ERR_RETRY: the target does not answer. */
MUST_CHECK
bool cut_read(const struct cut_options *options, struct cut *out, struct err *err);
void cut_done(struct cut *cut);
/* NULL: nobody mirrored it. */
struct cut_part *cut_part_find(const struct cut *cut, const char *topic, int32_t partition);

/* What the target has of the groups, and what follows for each place. @param list  groups_fetch() of the cut's groups */
void cut_decide(struct cut *cut, const struct groups_list *list);
/* All groups of the cut, to be fetched. */
void cut_list(const struct cut *cut, struct groups_list *out);
/* CUT_DUE places as commits: the group's own metadata, else the hint. */
void cut_commits(const struct cut *cut, struct groups_list *out);
/* What was answered to them. @return true: some are to be committed once more, with a shorter hint */
bool cut_committed(struct cut *cut, const struct groups_list *list);

/* {"cut","cut_ms","cluster","origin":"redis"|"target","why_not","looked","looked_ms","lately","alive","members","partitions":{TOPIC:[..]},
 * "groups":{GROUP:{TOPIC:TEXT}},"metadata":{GROUP:[..]}}: everything that the commits follow from. New reference. */
json_t *cut_json(const struct cut *cut);
/* Strict. The source offsets of hints are read again where `options` has a Redis. ERR_REFUSED otherwise. */
MUST_CHECK
bool cut_parse(const json_t *value, const struct cut_options *options, struct cut *out,
               struct err *err);

struct cut_counts {
    size_t places;
    size_t verdicts[CUT_VERDICTS_COUNT];
    int64_t likely; /* records read again, as far as rates tell */
    int64_t most;   /* and what can be proven not to be exceeded */
};
void cut_count(const struct cut_group *group, struct cut_counts *out);
/* [{"group","state","verdict","places","verdicts":{..},"reread_likely","reread_most","why","open":[{"topic","partition","verdict",
 * "stands_at","translated"}..]}..]; `open` has at most CUT_OPEN_MOST. New reference. */
#define CUT_OPEN_MOST 100
json_t *cut_report(const struct cut *cut);

/* The group's hints as they are published, JSON: offsets/hint.h and docs/hints.md. Heap. */
char *cut_hints(const struct cut *cut, const struct cut_group *group,
                const struct cut_options *options);

#endif
