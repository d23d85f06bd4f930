/* What an operation began and did, made durable in the target's control topic before and after each step.
 *
 *   op/ID         {"open": true, "kind", "service", "from", "to", "by", "reason", "began", "beat": N, "step", "undoing", "options", ..}
 *   op/ID/STEP    {"state": "began"|"done"|"undone", "began": TIME, "ended": TIME, "ms": N, "evidence": {..} or "chunks": N}
 *   op/ID/STEP/N  {"text": part N of the evidence's text}
 *
 * A beat every 3 s tells others that somebody is at work. All records go through one door (the fenced writer, or a test's).
 * A door that says ERR_FATAL was taken by somebody: by another operator, who raised the beat or stands in resumed_by; then nothing
 * is written any more. Or by a command that became the writer for a moment and found this operation open: what stands there is
 * still ours, and the door is opened once more; an end that stands letter by letter as it was written is one, though its answer
 * was lost. Copies go to Redis and to a file of this host; they are never
 * read, and the host's disk is not waited for.
 *
 * @thread one, and the beat's inside
 */
#ifndef FERRY_FAILOVER_JOURNAL_H
#define FERRY_FAILOVER_JOURNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/redis.h"
#include "kafka/control.h"

#define JOURNAL_BEAT_MS     3000
#define JOURNAL_WATCH_MS    10000       /* no new record for so long: nobody is at work */
#define JOURNAL_CHUNK_BYTES (250 << 10) /* escaped it is below 512 KiB */
#define JOURNAL_CHUNKS_MAX  256         /* 64 MiB */
#define JOURNAL_KEPT        50          /* operations whose steps are kept */

enum journal_state { JOURNAL_NOTHING, JOURNAL_BEGAN, JOURNAL_DONE, JOURNAL_UNDONE };

struct journal_door {
    bool (*write)(void *arg, const struct control_record *records, size_t count, struct err *err);
    /* The operations as they stand in the control topic; NULL with err. Both may be missing: what is taken is lost. */
    json_t *(*read)(void *arg, struct err *err);
    bool (*renew)(void *arg, struct err *err); /* become the writer again */
    void *arg;
};
struct journal_copies { /* each may be missing */
    struct redis_sync *redis;
    const char *redis_key; /* "PREFIX{SERVICE}:journal:ID" */
    const char *file;
};

struct journal;

/* @param operations  what the control topic holds of operations ({KEY: record}); of the same id it is what is resumed
 * @param record      the operation's own, without open and beat; taken. Not written yet: journal_begin(). */
struct journal *journal_new(const struct journal_door *door, const struct clock *clock,
                            const char *id, json_t *take_record, const json_t *operations);
/* Ends the beat. NULL is fine. */
void journal_free(struct journal *journal);
void journal_copies(struct journal *journal, const struct journal_copies *copies);
void journal_drop_redis(struct journal *journal); /* it goes away */

/* The operation is open from here on, and the beat begins. */
MUST_CHECK
bool journal_begin(struct journal *journal, struct err *err);
/* Closed; its record gets these members (a new reference is taken), and `records` go with it in one transaction. Steps of
 * operations before the newest JOURNAL_KEPT are deleted. */
MUST_CHECK
bool journal_close(struct journal *journal, json_t *take_members,
                   const struct control_record *records, size_t count, struct err *err);

enum journal_state journal_state(const struct journal *journal, const char *step);
/* The step's evidence, borrowed; NULL = none. */
json_t *journal_evidence(const struct journal *journal, const char *step);
/* How long it took, ms; -1 = not ended. */
int64_t journal_ms(const struct journal *journal, const char *step);
/* When it ended, wall clock; -1 = it did not. */
int64_t journal_ended_ms(const struct journal *journal, const char *step);

MUST_CHECK
bool journal_step(struct journal *journal, const char *step, enum journal_state state,
                  struct err *err);
/* `step` is done and `next` began, in one transaction. */
MUST_CHECK
bool journal_step_on(struct journal *journal, const char *step, const char *next, struct err *err);
MUST_CHECK
bool journal_keep(struct journal *journal, const char *step, json_t *take_evidence,
                  struct err *err);
/* The same, with the step's next record: journal_step(), or journal_flush(). */
void journal_note(struct journal *journal, const char *step, json_t *take_evidence);
/* What was noted and is not written yet. */
MUST_CHECK
bool journal_flush(struct journal *journal, struct err *err);
/* A member of the operation's own record from now on ("undoing"). Takes the reference. */
MUST_CHECK
bool journal_set(struct journal *journal, const char *key, json_t *take_value, struct err *err);
/* Other keys, in one transaction. */
MUST_CHECK
bool journal_write(struct journal *journal, const struct control_record *records, size_t count,
                   struct err *err);
/* Another operator has it: every write fails from now on. */
bool journal_lost(struct journal *journal);
/* A copy of a member of the operation's own record, the caller's; NULL = none. The beat writes to the record meanwhile, and
 * jansson's counts of references are not made for two threads that let go of the same value. */
json_t *journal_member(struct journal *journal, const char *key);

/* The newest operation that is open, its id into out; NULL = none is. A record that cannot be read is not among them. */
const json_t *journal_open_operation(const json_t *operations, char *out_id, size_t room);
/* Of what an operation left, the first row that the same command tries again; borrowed, NULL = none. */
const json_t *journal_left_again(const json_t *left);

/* The newest operation of that kind to that site that has ended with something left that can be tried again, while the role epoch
 * is still the one that it made. NULL = there is none. */
const json_t *journal_left_operation(const json_t *operations, const char *kind, const char *to,
                                     int64_t role_epoch, char *out_id, size_t room);
/* A step's evidence out of the records of the control topic; new reference, NULL = none. */
json_t *journal_read_evidence(const json_t *operations, const char *id, const char *step);

#endif
