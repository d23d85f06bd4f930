/* Heartbeats of workers as they stand in Redis: whose they are, and who is alive. What they say is hostile until checked.
 */
#ifndef FERRY_CLI_BEATS_H
#define FERRY_CLI_BEATS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct context;
struct err;

/* All workers of the service, {WORKER: its heartbeat}: each as it told it whole. NULL: Redis does not say. */
json_t *beats_read(struct context *context, struct err *err);
/* Its time, ms since 1970; -1 = it has none. */
int64_t beat_ms(const json_t *worker);
bool beat_of_link(const json_t *worker, const char *from, const char *to);
/* Its time is neither fresh nor long past: it may be alive with a wrong clock; look again before it is judged. */
bool beat_in_doubt(const json_t *worker, int64_t now_ms);
/* @param before  the same worker's heartbeat as it was seen a few seconds ago; NULL = not seen */
bool beat_alive(const json_t *worker, const json_t *before, int64_t now_ms);
bool beat_recent(const json_t *worker,
                 int64_t now_ms); /* of the last day: worth a line when it is gone */

/* Members of it: "" and -1 where they are missing, of another type, or negative. */
const char *beat_text(const json_t *object, const char *key);
double beat_number(const json_t *object, const char *key);

#endif
