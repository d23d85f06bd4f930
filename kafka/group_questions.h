/* Questions about many groups to their brokers: which there are, who is in them, who coordinates them, what they have committed, commits. What an
 * answer says is handed on row by row, then `done` comes, once and never inside the call that asks. Made of kafka/broker_ask; who
 * asks decides when, whom, and what follows: kafka/groups, kafka/attached and failover/preflight_wire for the command,
 * mirror/group_round for the keeper. Loop thread only.
 */
#ifndef FERRY_KAFKA_GROUP_QUESTIONS_H
#define FERRY_KAFKA_GROUP_QUESTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kafka/broker_ask.h"

struct group_asker {
    struct broker_asks *asks;
    /* err NULL: all rows were handed on; else some may have been. `arg` is the caller's again. */
    void (*done)(void *arg, const struct err *err);
    void *arg; /* of `done`, and of the rows' callbacks */
};

/* Groups that a broker coordinates and that we may describe. */
void group_question_list(const struct group_asker *asker, int32_t broker,
                         void (*each)(void *arg, const struct listed_group *row));
/* State and members of one, by its coordinator.
 * @param consumer_protocol  it is of KIP-848: members of either protocol are told to their own API alone */
void group_question_describe(const struct group_asker *asker, int32_t broker, const char *group,
                             bool consumer_protocol,
                             void (*each)(void *arg, const struct describe_group_answer *row));
/* Who coordinates these. @param groups  the array is copied, the names are borrowed until `done` */
void group_question_find(const struct group_asker *asker, const char *const *groups, int32_t count,
                         void (*each)(void *arg, const struct coordinator_row *row));
/* What these have committed, by their coordinator. A row without a name is of the only group that was asked for. */
void group_question_fetch(const struct group_asker *asker, int32_t broker, int32_t lane,
                          const char *const *groups, int32_t count,
                          void (*each)(void *arg, const struct offset_fetch_group *row));
/* @param parts  topics together; copied, what they point to is borrowed until `done` */
void group_question_commit(const struct group_asker *asker, int32_t broker, int32_t lane,
                           const char *group, const struct offset_commit_part *parts, int32_t count,
                           void (*each)(void *arg, const struct offset_commit_row *row));

/* Groups a request: FindCoordinator, OffsetFetch. Old versions take one; so does a broker that is not connected yet. */
size_t group_questions_most(struct cluster *cluster, int32_t broker, enum api_key api);

/* Nobody is in it, by the state that is listed or described: "Empty" or "Dead". */
bool group_state_is_empty(struct wire_string state);
/* A coordinator that moves or loads: asked again it answers. */
bool group_error_passes(int16_t error);
/* It refuses who is no member, because the group has some. */
bool group_error_is_members(int16_t error);

#endif
