/* What the files of cut share. Private to failover/cut*.c. cut and cut_text call the others, which call cut_table alone. */
#ifndef FERRY_FAILOVER_CUT_INSIDE_H
#define FERRY_FAILOVER_CUT_INSIDE_H

#include "failover/cut.h"

/* --- cut_table --- */
/* Pointers to parts, groups and places hold until the next one is added; sort when all are there. */
struct cut_part *cut_part_add(struct cut *cut, const char *topic, int32_t partition);
void cut_parts_sort(struct cut *cut);
struct cut_group *cut_group_add(struct cut *cut, const char *name);
/* Parts are sorted already: places refer to them. */
struct cut_place *cut_place_add(struct cut_group *group, struct cut_part *part);
void cut_groups_sort(struct cut *cut);

void cut_begin(struct cut *cut, const struct cut_options *options);
/* --- cut_source --- */
/* Of a cut out of Redis, in order: what its groups have committed at `options->source` now; in order again. false: some are as the
 * keeper saw them last, err says why. */
MUST_CHECK
bool cut_read_source(struct cut *cut, const struct cut_options *options, struct err *err);
/* --- cut_hints --- */
/* Hints of all places from facts, ends and, where Redis is there, the map. */
void cut_find_hints(struct cut *cut, const struct cut_options *options);

#endif
