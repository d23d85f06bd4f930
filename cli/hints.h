/* Published hints as the command reads them: from Redis, else from the topic, else as they would be now. */
#ifndef FERRY_CLI_HINTS_H
#define FERRY_CLI_HINTS_H

#include <jansson.h>

#include "cli/context.h"
#include "offsets/hint.h"

struct hints_place {
    char topic[CONTEXT_TOPIC_BYTES];
    int32_t partition;
    char verdict[32]; /* of its commit at the target */
    struct hint hint;
};
struct hints_group {
    char *name;
    struct hint_origin origin;
    struct hints_place *places;
    size_t count;
};
struct hints {
    const char *from;           /* "redis", "topic", "now" */
    struct hints_group *groups; /* by name */
    size_t count;
    size_t strange; /* values that are none of ours */
};

/* @param group  NULL = all
 * @param now    as they would be if the mirror were cut now, whatever is published
 * @return false with ERR_REFUSED: nothing is published */
MUST_CHECK
bool hints_read(struct context *context, const char *group, bool now, struct hints *out,
                struct err *err);
void hints_free(struct hints *hints);

/* One group's JSON (docs/hints.md), which others may have written. Strict. ERR_REFUSED. */
MUST_CHECK
bool hints_group_parse(const json_t *value, struct hints_group *out, struct err *err);

#endif
