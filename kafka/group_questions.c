#include "kafka/group_questions.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/error.h"

#define GROUPS_A_REQUEST 500 /* of 50 partitions: an answer of about 1 MB */

struct group_question {
    struct group_asker asker;
    const char **groups;
    int32_t groups_count;
    struct offset_commit_part *parts;
    int32_t parts_count;
    enum api_key api; /* of describe */
    union {
        void (*listed)(void *arg, const struct listed_group *row);
        void (*described)(void *arg, const struct describe_group_answer *row);
        void (*found)(void *arg, const struct coordinator_row *row);
        void (*fetched)(void *arg, const struct offset_fetch_group *row);
        void (*committed)(void *arg, const struct offset_commit_row *row);
    } each;
};

/* --- one question ------------------------------------------------------------------------------------------------- */

static struct group_question *question_new(const struct group_asker *asker,
                                           const char *const *groups, int32_t count)
{
    struct group_question *question = must(calloc(1, sizeof(*question)));
    question->asker = *asker;
    question->groups = must(calloc((size_t)count + 1, sizeof(char *)));
    for (int32_t i = 0; i < count; i++) {
        question->groups[i] = groups[i];
    }
    question->groups_count = count;
    return question;
}

/* The last that is heard of it. */
static void question_done(struct group_question *question, const struct err *err)
{
    struct group_asker asker = question->asker;
    free(question->groups);
    free(question->parts);
    free(question);
    asker.done(asker.arg, err);
}

static void send_it(struct group_question *question, int32_t broker, int32_t lane, enum api_key api,
                    void (*put)(void *arg, struct writer *writer, int16_t version),
                    bool (*answer)(void *arg, struct reader *reader, int16_t version,
                                   const struct err *err))
{
    const struct broker_ask what = {
        .broker = broker, .lane = lane, .api = api, .put = put, .answer = answer, .arg = question};
    broker_ask(question->asker.asks, &what);
}

/* --- ListGroups --------------------------------------------------------------------------------------------------- */

static void put_list(void *arg, struct writer *writer, int16_t version)
{
    (void)arg;
    proto_put_list_groups(writer, version);
}

static bool listed(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct group_question *question = arg;
    struct list_groups_answer answer;
    struct err why = {0};
    if (reader == NULL) {
        question_done(question, err);
        return true;
    }
    if (!proto_get_list_groups(reader, version, &answer, &why)) {
        question_done(question, &why);
        return false;
    }
    for (int32_t i = 0; i < answer.groups_count; i++) {
        question->each.listed(question->asker.arg, &answer.groups[i]);
    }
    if (answer.error != KAFKA_NONE) {
        err_set_code(&why, ERR_RETRY, answer.error, "ListGroups: %s",
                     kafka_error_name(answer.error));
    }
    list_groups_answer_done(&answer);
    question_done(question, why.kind == ERR_NONE ? NULL : &why);
    return true;
}

void group_question_list(const struct group_asker *asker, int32_t broker,
                         void (*each)(void *arg, const struct listed_group *row))
{
    struct group_question *question = question_new(asker, NULL, 0);
    question->each.listed = each;
    send_it(question, broker, 0, API_LIST_GROUPS, put_list, listed);
}

/* --- DescribeGroups, ConsumerGroupDescribe ----------------------------------------------------------------------- */

static void put_describe(void *arg, struct writer *writer, int16_t version)
{
    const struct group_question *question = arg;
    proto_put_describe_group(writer, question->api, version, question->groups[0]);
}

static bool described(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct group_question *question = arg;
    struct describe_group_answer answer;
    struct err why;
    if (reader == NULL) {
        question_done(question, err);
        return true;
    }
    if (!proto_get_describe_group(reader, question->api, version, &answer, &why)) {
        question_done(question, &why);
        return false;
    }
    question->each.described(question->asker.arg, &answer);
    describe_group_answer_done(&answer);
    question_done(question, NULL);
    return true;
}

void group_question_describe(const struct group_asker *asker, int32_t broker, const char *group,
                             bool consumer_protocol,
                             void (*each)(void *arg, const struct describe_group_answer *row))
{
    struct group_question *question = question_new(asker, &group, 1);
    question->each.described = each;
    question->api = consumer_protocol ? API_CONSUMER_GROUP_DESCRIBE : API_DESCRIBE_GROUPS;
    send_it(question, broker, 0, question->api, put_describe, described);
}

/* --- FindCoordinator ---------------------------------------------------------------------------------------------- */

static void put_find(void *arg, struct writer *writer, int16_t version)
{
    const struct group_question *question = arg;
    proto_put_find_coordinators(writer, version, question->groups, question->groups_count);
}

static bool found(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct group_question *question = arg;
    struct find_coordinators_answer answer;
    struct err why;
    if (reader == NULL) {
        question_done(question, err);
        return true;
    }
    if (!proto_get_find_coordinators(reader, version, &answer, &why)) {
        question_done(question, &why);
        return false;
    }
    for (int32_t i = 0; i < answer.rows_count; i++) {
        question->each.found(question->asker.arg, &answer.rows[i]);
    }
    find_coordinators_answer_done(&answer);
    question_done(question, NULL);
    return true;
}

void group_question_find(const struct group_asker *asker, const char *const *groups, int32_t count,
                         void (*each)(void *arg, const struct coordinator_row *row))
{
    struct group_question *question = question_new(asker, groups, count);
    question->each.found = each;
    send_it(question, BROKER_ANY, 0, API_FIND_COORDINATOR, put_find, found);
}

/* --- OffsetFetch -------------------------------------------------------------------------------------------------- */

static void put_fetch(void *arg, struct writer *writer, int16_t version)
{
    const struct group_question *question = arg;
    struct offset_fetch_want *wants =
        must(calloc((size_t)question->groups_count + 1, sizeof(*wants)));
    for (int32_t i = 0; i < question->groups_count; i++) {
        wants[i].group = question->groups[i];
    }
    proto_put_offset_fetch(writer, version, false, wants, question->groups_count);
    free(wants);
}

static bool fetched(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct group_question *question = arg;
    struct offset_fetch_answer answer;
    struct err why;
    if (reader == NULL) {
        question_done(question, err);
        return true;
    }
    if (!proto_get_offset_fetch(reader, version, &answer, &why)) {
        question_done(question, &why);
        return false;
    }
    for (int32_t i = 0; i < answer.groups_count; i++) {
        question->each.fetched(question->asker.arg, &answer.groups[i]);
    }
    offset_fetch_answer_done(&answer);
    question_done(question, NULL);
    return true;
}

void group_question_fetch(const struct group_asker *asker, int32_t broker, int32_t lane,
                          const char *const *groups, int32_t count,
                          void (*each)(void *arg, const struct offset_fetch_group *row))
{
    struct group_question *question = question_new(asker, groups, count);
    question->each.fetched = each;
    send_it(question, broker, lane, API_OFFSET_FETCH, put_fetch, fetched);
}

/* --- OffsetCommit ------------------------------------------------------------------------------------------------- */

static void put_commit(void *arg, struct writer *writer, int16_t version)
{
    const struct group_question *question = arg;
    proto_put_offset_commit(writer, version, question->groups[0], question->parts,
                            question->parts_count);
}

static bool committed(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct group_question *question = arg;
    struct offset_commit_answer answer;
    struct err why;
    if (reader == NULL) {
        question_done(question, err);
        return true;
    }
    if (!proto_get_offset_commit(reader, version, &answer, &why)) {
        question_done(question, &why);
        return false;
    }
    for (int32_t i = 0; i < answer.rows_count; i++) {
        question->each.committed(question->asker.arg, &answer.rows[i]);
    }
    offset_commit_answer_done(&answer);
    question_done(question, NULL);
    return true;
}

void group_question_commit(const struct group_asker *asker, int32_t broker, int32_t lane,
                           const char *group, const struct offset_commit_part *parts, int32_t count,
                           void (*each)(void *arg, const struct offset_commit_row *row))
{
    struct group_question *question = question_new(asker, &group, 1);
    question->each.committed = each;
    question->parts = must(calloc((size_t)count + 1, sizeof(*parts)));
    memcpy(question->parts, parts, (size_t)count * sizeof(*parts));
    question->parts_count = count;
    send_it(question, broker, lane, API_OFFSET_COMMIT, put_commit, committed);
}

/* --- what both who ask know --------------------------------------------------------------------------------------- */

size_t group_questions_most(struct cluster *cluster, int32_t broker, enum api_key api)
{
    assert(api == API_FIND_COORDINATOR || api == API_OFFSET_FETCH);
    int16_t many_from = api == API_FIND_COORDINATOR ? 4 : 8;
    struct conn *conn =
        broker == BROKER_ANY ? cluster_any_conn(cluster) : cluster_conn(cluster, broker, 0);
    bool many =
        conn != NULL && conn_is_ready(conn) && conn_versions(conn)->version[api] >= many_from;
    return many ? GROUPS_A_REQUEST : 1;
}

static bool is(struct wire_string text, const char *word)
{
    return text.len == (int32_t)strlen(word) && memcmp(text.data, word, strlen(word)) == 0;
}

bool group_state_is_empty(struct wire_string state)
{
    return is(state, "Empty") || is(state, "Dead");
}

bool group_error_passes(int16_t error)
{
    return error == KAFKA_COORDINATOR_LOAD_IN_PROGRESS ||
           error == KAFKA_COORDINATOR_NOT_AVAILABLE || error == KAFKA_NOT_COORDINATOR ||
           error == KAFKA_REQUEST_TIMED_OUT;
}

bool group_error_is_members(int16_t error)
{
    return error == KAFKA_ILLEGAL_GENERATION || error == KAFKA_UNKNOWN_MEMBER_ID ||
           error == KAFKA_REBALANCE_IN_PROGRESS || error == KAFKA_STALE_MEMBER_EPOCH;
}
