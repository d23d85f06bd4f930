/* See log_ends.h. Turns: each asks the leaders of what is left, one request a leader. A leader is held to the epoch that we know
 * it by: one that has gone would tell what it has as a follower. */
#include "kafka/log_ends.h"

#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "kafka/admin_inside.h"
#include "kafka/error.h"
#include "kafka/inquiry.h"
#include "kafka/proto.h"

#define LOOK_MS  5  /* are the leaders known? asks nobody */
#define AGAIN_MS 50 /* a leader that moves is there within some of these */

struct part { /* of `ends`, with whom it is asked of */
    struct log_end *end;
    struct cluster_leader leader;
    bool left;
};

struct question { /* to one leader */
    struct inquiry *inquiry;
    struct part **parts; /* its own, in the order of `ends` */
    int32_t count;
};

static void question_done(struct question *question)
{
    inquiry_answered(question->inquiry);
    free(question->parts);
    free(question);
}

static void put_ends(void *arg, struct writer *writer, int16_t version)
{
    const struct question *question = arg;
    struct log_end_want *wants = must(calloc((size_t)question->count, sizeof(*wants)));
    for (int32_t i = 0; i < question->count; i++) {
        const struct part *part = question->parts[i];
        wants[i] = (struct log_end_want){
            .place = {.topic = part->end->topic, .partition = part->end->partition},
            .leader_epoch = part->leader.epoch
        };
    }
    proto_put_log_ends(writer, version, wants, question->count);
    free(wants);
}

static struct part *part_of(const struct question *question, const struct list_offsets_part *answer)
{
    for (int32_t i = 0; i < question->count; i++) {
        const struct log_end *end = question->parts[i]->end;
        size_t len = strlen(end->topic);
        if (end->partition == answer->partition && (size_t)answer->topic.len == len &&
            memcmp(end->topic, answer->topic.data, len) == 0) {
            return question->parts[i];
        }
    }
    return NULL;
}

static void take_one(const struct question *question, const struct list_offsets_part *answer)
{
    struct part *part = answer->topic.len > 0 ? part_of(question, answer) : NULL;
    char lacks[ACL_LACKS_BYTES];
    if (part == NULL) { /* nobody asked for it */
        return;
    }
    struct log_end *end = part->end;
    if (answer->error == KAFKA_NONE && answer->offset >= 0) {
        end->offset = answer->offset;
        end->err = (struct err){0};
        part->left = false;
        return;
    }
    bool denied = cluster_denied(question->inquiry->cluster, answer->error, ACL_DESCRIBE, ACL_TOPIC,
                                 end->topic, lacks);
    err_set_code(&end->err, denied ? ERR_REFUSED : ERR_RETRY, answer->error,
                 "%s: the end of %s:%d: %s", question->inquiry->admin->site, end->topic,
                 end->partition, denied ? lacks : kafka_error_name(answer->error));
    part->left = !denied;
}

static bool told(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct question *question = arg;
    struct list_offsets_answer answer;
    struct err why = {0};
    bool understood = reader != NULL && proto_get_list_offsets(reader, version, &answer, &why);
    if (understood) {
        for (int32_t i = 0; i < answer.parts_count; i++) {
            take_one(question, &answer.parts[i]);
        }
        list_offsets_answer_done(&answer);
    } else {
        for (int32_t i = 0; i < question->count; i++) {
            question->parts[i]->end->err = reader == NULL ? *err : why;
        }
    }
    question_done(question);
    return understood || reader == NULL;
}

/* Whom each part that is left is asked of. @return how many have a leader */
static size_t find_leaders(struct inquiry *inquiry, struct part *parts, size_t count)
{
    size_t led = 0;
    for (size_t i = 0; i < count; i++) {
        parts[i].leader =
            cluster_leader(inquiry->cluster, parts[i].end->topic, parts[i].end->partition);
        led += parts[i].left && parts[i].leader.broker >= 0 ? 1 : 0;
    }
    return led;
}

static void ask_leader(struct inquiry *inquiry, int32_t broker, struct part *parts, size_t count)
{
    struct question *question = must(calloc(1, sizeof(*question)));
    question->inquiry = inquiry;
    question->parts = must(calloc(count + 1, sizeof(*question->parts)));
    for (size_t i = 0; i < count; i++) {
        if (parts[i].left && parts[i].leader.broker == broker) {
            question->parts[question->count++] = &parts[i];
        }
    }
    if (question->count == 0) {
        free(question->parts);
        free(question);
        return;
    }
    const struct broker_ask what = {.broker = broker,
                                    .api = API_LIST_OFFSETS,
                                    .put = put_ends,
                                    .answer = told,
                                    .arg = question};
    inquiry_ask(inquiry, &what);
}

static size_t count_left(const struct part *parts, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        left += parts[i].left ? 1 : 0;
    }
    return left;
}

static void turns(struct inquiry *inquiry, struct part *parts, size_t count)
{
    int64_t until_ms = loop_now_ms(inquiry->loop) + inquiry->admin->timeout_ms;
    while (count_left(parts, count) > 0 && loop_now_ms(inquiry->loop) < until_ms &&
           !cluster_refuses(inquiry->cluster)) {
        if (find_leaders(inquiry, parts, count) == 0) {
            inquiry_rest(inquiry, LOOK_MS);
            continue;
        }
        for (int32_t i = 0; i < cluster_brokers_count(inquiry->cluster); i++) {
            ask_leader(inquiry, cluster_broker_at(inquiry->cluster, i), parts, count);
        }
        inquiry_wait(inquiry);
        if (count_left(parts, count) > 0) {
            cluster_refresh(inquiry->cluster);
            inquiry_rest(inquiry, AGAIN_MS);
        }
    }
}

void log_ends(struct admin *admin, struct log_end *ends, size_t count)
{
    struct inquiry inquiry;
    struct part *parts = must(calloc(count + 1, sizeof(*parts)));
    const char **topics = must(calloc(count + 1, sizeof(*topics)));
    size_t topics_count = 0;
    for (size_t i = 0; i < count; i++) {
        ends[i].offset = -1;
        err_set(&ends[i].err, ERR_RETRY, "%s: the leader of %s:%d is not known", admin->site,
                ends[i].topic, ends[i].partition);
        parts[i] = (struct part){.end = &ends[i], .left = true};
        if (i == 0 || strcmp(ends[i].topic, ends[i - 1].topic) != 0) {
            topics[topics_count++] = ends[i].topic;
        }
    }
    if (count > 0) {
        inquiry_begin(&inquiry, admin, topics, topics_count);
        turns(&inquiry, parts, count);
        inquiry_end(&inquiry);
    }
    free(topics);
    free(parts);
}
