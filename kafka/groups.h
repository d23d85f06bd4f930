/* Many groups at once, blocking: which there are, what they have committed, commits for those without members. For the command
 * and its operations; what the keeper does each second is mirror/group_round.
 *
 * On our own connections and a loop of its own, which stand as long as the door: OffsetFetch carries up to 500 groups a
 * request, OffsetCommit one group, many of them on their way at once. A coordinator that moves or loads is asked again until
 * time is up. Never through librdkafka, whose own requests to coordinators can end the process (docs/adr/0001).
 */
#ifndef FERRY_KAFKA_GROUPS_H
#define FERRY_KAFKA_GROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/admin.h"

#define GROUPS_COMMIT_PARTS 1000 /* places a request: one of 6,000 fails whole */
#define GROUPS_COMMIT_BYTES \
    (512 << 10) /* and of metadata: it becomes one batch of __consumer_offsets, 1 MiB as it comes */

struct groups_place {
    const char *topic; /* of the caller, or of the list (`topics`) */
    int32_t partition;
    int64_t offset; /* -1 = none */
    char *metadata; /* heap; NULL = none, or empty */
    int16_t error;  /* of this place; 0 = none */
};

struct groups_row {
    char *name;
    bool listed; /* its coordinator has it */
    bool empty;  /* and it has no members */
    char state[32];
    char protocol_type[32];      /* "consumer", "connect", ..; "" = nobody ever joined */
    char type[32];               /* "classic", "consumer", "share", "streams"; "" = not told */
    int32_t coordinator;         /* -1 = not known yet */
    struct err err;              /* of the group as a whole, by the last call; ERR_NONE = none */
    struct groups_place *places; /* by topic and partition after groups_fetch() */
    size_t places_count;
};

struct groups_list {
    struct groups_row *rows; /* by name */
    size_t count;
    char **topics; /* names that places refer to */
    size_t topics_count;
};
void groups_list_done(struct groups_list *list);
struct groups_row *groups_list_find(const struct groups_list *list, const char *name);
/* Find or make; the list is sorted again by groups_list_sort(). */
struct groups_row *groups_list_add(struct groups_list *list, const char *name);
void groups_list_sort(struct groups_list *list);
struct groups_place *groups_row_place(const struct groups_row *row, const char *topic,
                                      int32_t partition);

struct groups_door;
/* `admin` names the cluster, its settings and the time limit of each call; it must live as long. */
struct groups_door *groups_door_new(struct admin *admin);
void groups_door_free(struct groups_door *door); /* NULL is fine */

/* All groups that we may describe and `wanted` takes. ERR_RETRY also when only some of the brokers answered. */
MUST_CHECK
bool groups_read(struct groups_door *door, bool (*wanted)(void *arg, const char *name), void *arg,
                 struct groups_list *out, struct err *err);
/* Which of the list's groups there are, and whether they have members.
 *
 * @param out_partly  NULL: all brokers must answer. Else one that does not within 3 s is told here (ERR_NONE: there was none), and what it
 *                    coordinates looks as if it were not there: for who commits all the same, since a coordinator that is there
 *                    refuses for a group with members, and one that is not answers nothing
 * @return false with ERR_RETRY likewise */
MUST_CHECK
bool groups_states(struct groups_door *door, struct groups_list *list, struct err *out_partly,
                   struct err *err);
/* What each group of the list has committed. A group that fails has `err`; false: nobody could be asked. */
MUST_CHECK
bool groups_fetch(struct groups_door *door, struct groups_list *list, struct err *err);
/* Commit as nobody's member what each group's places say (offset >= 0): `error` of each place tells. Its coordinator refuses
 * while the group has members (25 and the like). No word: `error` is -1, and it may have been done or not. */
MUST_CHECK
bool groups_commit(struct groups_door *door, struct groups_list *list, struct err *err);

#endif
