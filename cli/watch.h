/* A picture that is renewed: for --watch and top. */
#ifndef FERRY_CLI_WATCH_H
#define FERRY_CLI_WATCH_H

#include "cli/context.h"

/* Show again and again, with every_ms of rest: on a terminal the picture before is wiped, elsewhere an empty line stands
 * between two, with -o json nothing. What did not answer is tried anew each round.
 * @param times  0 = until standard output is closed or the process is interrupted */
void watch_run(struct context *context, int64_t every_ms, int64_t times, void (*show)(void *arg),
               void *arg);

#endif
