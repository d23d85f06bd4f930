/* See attached.h. All questions are on their way at once; a connection sends them one behind the other. */
#include "kafka/attached.h"

#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/admin_inside.h"
#include "kafka/error.h"
#include "kafka/group_questions.h"
#include "kafka/inquiry.h"
#include "kafka/proto.h"

#if defined(__GNUC__) && !defined(__clang__)
/* gcc 12's -fanalyzer follows no array that is handed to the caller inside a struct; attached_groups_done() frees it. */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

#define LOOK_MS 5 /* are the leaders known? asks nobody */

struct question { /* of one group, or of one partition */
    struct inquiry *call;
    struct attached_group *group;
    struct attached_part *part;
};

/* --- members ------------------------------------------------------------------------------------------------------ */

static char *copy(struct wire_string text)
{
    return must(strndup(text.len > 0 ? text.data : "", text.len > 0 ? (size_t)text.len : 0));
}

static void group_refused(struct inquiry *call, struct attached_group *group, int16_t error)
{
    char lacks[ACL_LACKS_BYTES];
    bool denied = cluster_denied(call->cluster, error, ACL_DESCRIBE, ACL_GROUP, group->name, lacks);
    err_set_code(&group->err, denied ? ERR_REFUSED : ERR_RETRY, error,
                 "%s: members of group '%.200s': %s", call->admin->site, group->name,
                 denied ? lacks : kafka_error_name(error));
    err_hint(&group->err, "%s", denied ? ACL_HINT : kafka_error_info(error)->hint);
}

static void take_members(void *arg, const struct describe_group_answer *answer)
{
    struct question *question = arg;
    struct inquiry *call = question->call;
    struct attached_group *group = question->group;
    if (answer->error == KAFKA_GROUP_ID_NOT_FOUND) {
        return; /* it went meanwhile */
    }
    if (answer->error != KAFKA_NONE) {
        group_refused(call, group, answer->error);
        return;
    }
    struct attached_member *members =
        must(calloc((size_t)answer->members_count + 1, sizeof(*members)));
    for (int32_t i = 0; i < answer->members_count; i++) {
        const struct described_member *member = &answer->members[i];
        members[i] = (struct attached_member){
            .client_id = copy(member->client_id),
            .host = copy(member->client_host),
            .instance_id = member->instance_id.len < 0 ? NULL : copy(member->instance_id)};
    }
    group->members = members;
    group->count = (size_t)answer->members_count;
}

static void group_answered(void *arg, const struct err *err)
{
    struct question *question = arg;
    struct inquiry *call = question->call;
    if (err != NULL) {
        question->group->err = *err;
    }
    free(question);
    inquiry_answered(call);
}

void attached_members(struct admin *admin, struct attached_group *groups, size_t count)
{
    struct inquiry call;
    if (count == 0) {
        return;
    }
    inquiry_begin(&call, admin, NULL, 0);
    for (size_t i = 0; i < count; i++) {
        struct question *question = must(calloc(1, sizeof(*question)));
        *question = (struct question){.call = &call, .group = &groups[i]};
        const struct group_asker who = {.asks = call.asks, .done = group_answered, .arg = question};
        inquiry_expect(&call);
        group_question_describe(&who, groups[i].coordinator, groups[i].name,
                                groups[i].consumer_protocol, take_members);
    }
    inquiry_wait(&call);
    inquiry_end(&call);
}

void attached_groups_done(struct attached_group *groups, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < groups[i].count; j++) {
            free(groups[i].members[j].client_id);
            free(groups[i].members[j].host);
            free(groups[i].members[j].instance_id);
        }
        free(groups[i].members);
        groups[i].members = NULL;
        groups[i].count = 0;
    }
}

/* --- producers ---------------------------------------------------------------------------------------------------- */

static void put_part(void *arg, struct writer *writer, int16_t version)
{
    const struct question *question = arg;
    (void)version;
    proto_put_describe_producers(writer, question->part->topic, question->part->partition);
}

static void take_producers(struct inquiry *call, struct attached_part *part,
                           const struct describe_producers_answer *answer)
{
    if (answer->error != KAFKA_NONE) {
        char lacks[ACL_LACKS_BYTES];
        bool denied =
            cluster_denied(call->cluster, answer->error, ACL_READ, ACL_TOPIC, part->topic, lacks);
        err_set_code(&part->err, denied ? ERR_REFUSED : ERR_RETRY, answer->error,
                     "%s: producers of %s:%d: %s", call->admin->site, part->topic, part->partition,
                     denied ? lacks : kafka_error_name(answer->error));
        err_hint(&part->err, "%s", denied ? ACL_HINT : kafka_error_info(answer->error)->hint);
        return;
    }
    struct attached_producer *producers =
        must(calloc((size_t)answer->producers_count + 1, sizeof(*producers)));
    for (int32_t i = 0; i < answer->producers_count; i++) {
        const struct producer_state *producer = &answer->producers[i];
        producers[i] = (struct attached_producer){.id = producer->producer_id,
                                                  .epoch = producer->producer_epoch,
                                                  .last_sequence = producer->last_sequence,
                                                  .last_ms = producer->last_timestamp};
    }
    part->producers = producers;
    part->count = (size_t)answer->producers_count;
}

static bool part_answered(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct question *question = arg;
    struct attached_part *part = question->part;
    struct inquiry *call = question->call;
    struct describe_producers_answer answer;
    bool understood = true;
    (void)version;
    if (reader == NULL) {
        part->err = *err;
    } else if ((understood = proto_get_describe_producers(reader, &answer, &part->err))) {
        part->err = (struct err){0};
        take_producers(call, part, &answer);
        describe_producers_answer_done(&answer);
    }
    free(question);
    inquiry_answered(call);
    return understood;
}

static bool all_led(struct inquiry *call, const struct attached_part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (cluster_leader(call->cluster, parts[i].topic, parts[i].partition).broker < 0) {
            return false;
        }
    }
    return true;
}

/* Half of the time at most: the rest is for the questions. */
static void wait_leaders(struct inquiry *call, const struct attached_part *parts, size_t count)
{
    int64_t until_ms = loop_now_ms(call->loop) + call->admin->timeout_ms / 2;
    while (!all_led(call, parts, count) && loop_now_ms(call->loop) < until_ms) {
        inquiry_rest(call, LOOK_MS);
    }
}

/* Names of the parts' topics, each once where they stand together. */
static const char **topics_of(const struct attached_part *parts, size_t count, size_t *out_count)
{
    const char **names = must(calloc(count + 1, sizeof(*names)));
    *out_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(parts[i].topic, parts[i - 1].topic) != 0) {
            names[(*out_count)++] = parts[i].topic;
        }
    }
    return names;
}

void attached_producers(struct admin *admin, struct attached_part *parts, size_t count)
{
    struct inquiry call;
    size_t topics_count;
    if (count == 0) {
        return;
    }
    const char **topics = topics_of(parts, count, &topics_count);
    inquiry_begin(&call, admin, topics, topics_count);
    wait_leaders(&call, parts, count);
    for (size_t i = 0; i < count; i++) {
        int32_t leader = cluster_leader(call.cluster, parts[i].topic, parts[i].partition).broker;
        if (leader < 0) {
            err_set(&parts[i].err, ERR_RETRY, "%s: the leader of %s:%d is not known", admin->site,
                    parts[i].topic, parts[i].partition);
            continue;
        }
        struct question *question = must(calloc(1, sizeof(*question)));
        *question = (struct question){.call = &call, .part = &parts[i]};
        const struct broker_ask what = {.broker = leader,
                                        .api = API_DESCRIBE_PRODUCERS,
                                        .put = put_part,
                                        .answer = part_answered,
                                        .arg = question};
        inquiry_ask(&call, &what);
    }
    inquiry_wait(&call);
    inquiry_end(&call);
    free(topics);
}

void attached_parts_done(struct attached_part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(parts[i].producers);
        parts[i].producers = NULL;
        parts[i].count = 0;
    }
}
