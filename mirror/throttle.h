/* Bytes a second, as a bucket of tokens. Pure: the caller says what time it is.
 *
 * What a Fetch brings is known when it comes, so it is taken then, and the bucket may be overdrawn: nothing more is asked
 * for until that is paid back. Over any stretch of time no more passes than rate * time + one burst + what was asked for
 * while there was still room.
 */
#ifndef FERRY_MIRROR_THROTTLE_H
#define FERRY_MIRROR_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

struct throttle {      /* all zero = no limit */
    int64_t rate;      /* bytes a second; 0 = no limit */
    int64_t left;      /* bytes; below 0 = overdrawn */
    int64_t rest;      /* thousandths of a byte beyond it */
    int64_t filled_ms; /* when they were counted */
};

/* A new limit counts from now on, and what is left or overdrawn stays so, within its burst; the same one again changes
 * nothing. */
void throttle_set(struct throttle *throttle, int64_t rate, int64_t now_ms);
/* Bytes that may be asked for now; <= 0: none yet. INT64_MAX without a limit. */
int64_t throttle_room(struct throttle *throttle, int64_t now_ms);
/* So many came. */
void throttle_take(struct throttle *throttle, int64_t bytes);

#endif
