/* A look of failover/stragglers.h as text. */
#ifndef FERRY_CLI_PRINT_STRAGGLERS_H
#define FERRY_CLI_PRINT_STRAGGLERS_H

#include <jansson.h>

/* Lines of a report: who has arrived, who is left by name, what was written behind the cut. */
void print_stragglers_lines(const json_t *look);
/* All of it: those lines, producers, every group with its members, and what to type next. */
void print_stragglers(const json_t *look);

#endif
