/* What a cluster tells on our own wire client, all of it side by side on one loop: topics with their leaders and replicas,
 * groups, log directories; and whether the names of its brokers have addresses.
 *
 * Two who ask: the mirror sees topics and groups, the operator (where there is one) log directories and the groups that the mirror
 * may not describe, for which Describe on the cluster is needed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/lookup.h"
#include "failover/preflight_inside.h"
#include "kafka/broker_ask.h"
#include "kafka/error.h"
#include "kafka/group_questions.h"

#define REFRESH_MS          2000
#define TCP_USER_TIMEOUT_MS 3000
#define ANSWER_BYTES_MAX \
    ((size_t)64 << 20)        /* all topics: 200,000 partitions of 100 bytes, thrice */
#define BROKERS_MAX      1024 /* the largest known clusters have a few hundred */
#define DIRS_MAX         64   /* of a broker */
#define TRIES_MAX        3
#define GROUPS_SHOWN_MAX 1000 /* with members; more is the rule that nobody failed over yet */

struct asker { /* one principal */
    struct cluster *cluster;
    struct broker_asks *asks;
};

struct wire;
struct looking { /* for the addresses of a broker */
    struct wire *wire;
    size_t broker;
    struct lookup *lookup; /* NULL = it is over */
};

struct wire {
    const struct preflight *preflight;
    const struct config_service *service;
    const struct config_site *site;
    bool of_target;
    struct loop *loop;
    struct loop_timer *timer;
    struct asker mirror;
    struct asker writer; /* the mirror once more when there is no operator */
    struct preflight_cluster *out;
    struct looking *looking; /* one a broker */
    int tries;               /* for the topics */
    int pending;             /* questions that are not answered yet */
    bool ending;
};

struct question { /* to one broker */
    struct wire *wire;
    int32_t broker;
    const char *const *groups; /* heap, as are the names: of OffsetFetch, DescribeGroups */
    size_t groups_count;
    size_t found_count; /* ListGroups: of the last ones in wire->out->groups */
};

static void text_of(struct wire_string from, char *out, size_t room)
{
    snprintf(out, room, "%.*s", from.len > 0 ? (int)from.len : 0,
             from.data != NULL ? (const char *)from.data : "");
}

static void one_done(struct wire *wire)
{
    wire->pending--;
    if (wire->pending == 0 && !wire->ending) {
        loop_stop(wire->loop);
    }
}

static void ask(struct wire *wire, struct asker *asker, struct broker_ask *what)
{
    wire->pending++;
    broker_ask(asker->asks, what);
}

/* Who hears of a question about groups. */
static struct group_asker asker_of(struct wire *wire, const struct asker *asker,
                                   void (*done)(void *arg, const struct err *err),
                                   struct question *question)
{
    wire->pending++;
    return (struct group_asker){.asks = asker->asks, .done = done, .arg = question};
}

static struct question *question_new(struct wire *wire, int32_t broker)
{
    struct question *question = must(calloc(1, sizeof(*question)));
    question->wire = wire;
    question->broker = broker;
    return question;
}

static void question_done(struct question *question)
{
    for (size_t i = 0; i < question->groups_count; i++) {
        free((char *)(uintptr_t)question->groups[i]);
    }
    free((void *)(uintptr_t)question->groups);
    one_done(question->wire);
    free(question);
}

/* --- log directories ---------------------------------------------------------------------------------------------- */

static void put_dirs(void *arg, struct writer *writer, int16_t version)
{
    (void)arg;
    proto_put_describe_log_dirs(writer, version);
}

static void take_dirs(struct question *question, const struct log_dirs_answer *answer)
{
    struct preflight_cluster *out = question->wire->out;
    int32_t count = answer->dirs_count < DIRS_MAX ? answer->dirs_count : DIRS_MAX;
    out->dirs =
        must(reallocarray(out->dirs, out->dirs_count + (size_t)count + 1, sizeof(*out->dirs)));
    for (int32_t i = 0; i < count; i++) {
        struct preflight_dir *dir = &out->dirs[out->dirs_count++];
        *dir = (struct preflight_dir){.broker = question->broker,
                                      .error = answer->dirs[i].error,
                                      .total_bytes = answer->dirs[i].total_bytes,
                                      .usable_bytes = answer->dirs[i].usable_bytes};
        text_of(answer->dirs[i].path, dir->path, sizeof(dir->path));
    }
}

static void dirs_failed(struct wire *wire, const struct err *err)
{
    if (wire->out->dirs_err.kind == ERR_NONE) {
        wire->out->dirs_err = *err;
    }
}

/* Before version 3 nothing is told of to whom may not see it, and no reason either. */
static void dirs_denied(struct wire *wire, int16_t code)
{
    struct err err;
    char who[ACL_PRINCIPAL_BYTES];
    char lacks[ACL_LACKS_BYTES];
    acl_principal(wire->preflight->writer, who);
    if (acl_refusal(code)) {
        err_set_code(&err, ERR_REFUSED, code, "%s",
                     acl_lacks(who, ACL_DESCRIBE, ACL_CLUSTER, ACL_CLUSTER_NAME, lacks));
        err_hint(&err, ACL_HINT);
    } else {
        err_set_code(&err, ERR_RETRY, code, "DescribeLogDirs: %s", kafka_error_name(code));
    }
    dirs_failed(wire, &err);
}

static bool dirs_answered(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct question *question = arg;
    struct log_dirs_answer answer;
    struct err why;
    bool understood = true;
    if (reader == NULL) {
        dirs_failed(question->wire, err);
    } else if (!(understood = proto_get_describe_log_dirs(reader, version, &answer, &why))) {
        dirs_failed(question->wire, &why);
    } else {
        if (answer.error != KAFKA_NONE) {
            dirs_denied(question->wire, answer.error);
        } else if (answer.dirs_count == 0) {
            dirs_denied(question->wire, KAFKA_CLUSTER_AUTHORIZATION_FAILED);
        }
        take_dirs(question, &answer);
        log_dirs_answer_done(&answer);
    }
    question_done(question);
    return understood;
}

/* --- groups -------------------------------------------------------------------------------------------------------- */

static bool is(struct wire_string text, const char *word)
{
    return text.len == (int32_t)strlen(word) && memcmp(text.data, word, strlen(word)) == 0;
}

static struct preflight_group *group_of(struct preflight_cluster *out, struct wire_string name)
{
    for (size_t i = 0; i < out->groups_count; i++) {
        if (is(name, out->groups[i].name)) {
            return &out->groups[i];
        }
    }
    return NULL;
}

static void take_group(void *arg, const struct listed_group *row)
{
    struct question *question = arg;
    struct preflight_cluster *out = question->wire->out;
    struct preflight_group group = {.broker = question->broker};
    text_of(row->group, group.name, sizeof(group.name));
    text_of(row->state, group.state, sizeof(group.state));
    if (group_state_is_empty(row->state) || is(row->type, "share") ||
        out->groups_count >= GROUPS_SHOWN_MAX || row->group.len >= (int32_t)sizeof(group.name) ||
        group_of(out, row->group) != NULL || /* the operator saw it, too */
        !config_patterns_match(&question->wire->service->groups, group.name)) {
        return;
    }
    out->groups = must(reallocarray(out->groups, out->groups_count + 1, sizeof(*out->groups)));
    out->groups[out->groups_count++] = group;
    question->found_count++;
}

static void take_offsets(void *arg, const struct offset_fetch_group *from)
{
    const struct question *question = arg;
    const struct config_service *service = question->wire->service;
    const struct wire_string only = {.data = question->groups[0],
                                     .len = (int32_t)strlen(question->groups[0])};
    struct preflight_group *group =
        group_of(question->wire->out, from->group.len < 0 ? only : from->group);
    char topic[250];
    if (group == NULL || from->error != KAFKA_NONE) {
        return;
    }
    for (int32_t i = 0; i < from->parts_count; i++) {
        text_of(from->parts[i].topic, topic, sizeof(topic));
        if (from->parts[i].offset >= 0) {
            group->commits++;
            group->concerns = group->concerns || config_patterns_match(&service->topics, topic);
        }
    }
}

/* What is not answered of a group, its state or what it has committed, is not known: it is told of. */
static void one_told(void *arg, const struct err *err)
{
    (void)err;
    question_done(arg);
}

/* Names of this broker's groups that were listed now, at most as many as it takes at once. */
static struct question *question_of(struct wire *wire, int32_t broker, size_t *io_at, size_t most)
{
    struct preflight_cluster *out = wire->out;
    struct question *question = question_new(wire, broker);
    const char **groups = must(calloc(most + 1, sizeof(*groups)));
    for (; *io_at < out->groups_count && question->groups_count < most; (*io_at)++) {
        if (out->groups[*io_at].broker == broker) {
            groups[question->groups_count++] = must(strdup(out->groups[*io_at].name));
        }
    }
    question->groups = groups;
    return question;
}

/* What those of this broker's groups with members have committed that were listed now: of other topics they are none of ours. */
static void ask_offsets(struct wire *wire, int32_t broker, size_t from)
{
    size_t most = group_questions_most(wire->mirror.cluster, broker, API_OFFSET_FETCH);
    size_t at = from;
    while (at < wire->out->groups_count) {
        struct question *question = question_of(wire, broker, &at, most);
        const struct group_asker who = asker_of(wire, &wire->mirror, one_told, question);
        if (question->groups_count == 0) {
            question_done(question);
            return;
        }
        group_question_fetch(&who, broker, 0, question->groups, (int32_t)question->groups_count,
                             take_offsets);
    }
}

/* Brokers before Kafka 2.6 list no states: each group is asked for its own, and is forgotten where it has no members. */
static void take_state(void *arg, const struct describe_group_answer *answer)
{
    const struct question *question = arg;
    struct preflight_cluster *out = question->wire->out;
    const struct wire_string name = {.data = question->groups[0],
                                     .len = (int32_t)strlen(question->groups[0])};
    struct preflight_group *group = group_of(out, name);
    if (group == NULL || answer->error != KAFKA_NONE) {
        return;
    }
    text_of(answer->state, group->state, sizeof(group->state));
    if (group_state_is_empty(answer->state)) {
        *group = out->groups[--out->groups_count];
    }
}

static void ask_states(struct wire *wire, int32_t broker, size_t from)
{
    struct preflight_cluster *out = wire->out;
    size_t at = from;
    while (at < out->groups_count) {
        if (out->groups[at].broker != broker || out->groups[at].state[0] != '\0') {
            at++;
            continue;
        }
        struct question *question = question_of(wire, broker, &at, 1);
        const struct group_asker who = asker_of(wire, &wire->mirror, one_told, question);
        group_question_describe(&who, broker, question->groups[0], false, take_state);
    }
}

static void groups_failed(struct wire *wire, const struct err *err)
{
    if (wire->out->groups_err.kind == ERR_NONE) {
        wire->out->groups_err = *err;
    }
}

static void listed(void *arg, const struct err *err)
{
    struct question *question = arg;
    struct wire *wire = question->wire;
    if (err != NULL) {
        groups_failed(wire, err);
    }
    size_t from = wire->out->groups_count - question->found_count;
    ask_states(wire, question->broker, from);
    ask_offsets(wire, question->broker, from);
    question_done(question);
}

/* Who may describe the cluster sees every group; who may not, those that it may describe. */
static void ask_groups(struct wire *wire, struct asker *asker, int32_t broker)
{
    struct question *question = question_new(wire, broker);
    const struct group_asker who = asker_of(wire, asker, listed, question);
    group_question_list(&who, broker, take_group);
}

/* --- addresses ----------------------------------------------------------------------------------------------------- */

static void looked_up(void *arg, struct addrinfo *addresses, const struct err *err)
{
    struct looking *looking = arg;
    struct wire *wire = looking->wire;
    struct preflight_broker *broker = &wire->out->brokers[looking->broker];
    broker->looked = true;
    broker->resolves = addresses != NULL;
    broker->nowhere = addresses == NULL && (err->code == EAI_NONAME || err->code == EAI_NODATA);
    snprintf(broker->why, sizeof(broker->why), "%.159s", addresses != NULL ? "" : err->what);
    if (addresses != NULL) {
        freeaddrinfo(addresses);
    }
    lookup_free(looking->lookup);
    looking->lookup = NULL;
    one_done(wire);
}

static void look_up(struct wire *wire, size_t index)
{
    const struct preflight_broker *broker = &wire->out->brokers[index];
    struct looking *looking = &wire->looking[index];
    *looking = (struct looking){.wire = wire, .broker = index};
    looking->lookup =
        lookup_new(wire->loop, broker->host, broker->port, AF_UNSPEC, looked_up, looking);
    wire->pending += looking->lookup != NULL ? 1 : 0;
}

/* --- topics -------------------------------------------------------------------------------------------------------- */

static void take_brokers(struct wire *wire, const struct metadata *metadata)
{
    struct preflight_cluster *out = wire->out;
    int32_t count = metadata->brokers_count < BROKERS_MAX ? metadata->brokers_count : BROKERS_MAX;
    out->brokers = must(calloc((size_t)count + 1, sizeof(*out->brokers)));
    wire->looking = must(calloc((size_t)count + 1, sizeof(*wire->looking)));
    for (int32_t i = 0; i < count; i++) {
        struct preflight_broker *broker = &out->brokers[out->brokers_count++];
        broker->id = metadata->brokers[i].id;
        broker->port = metadata->brokers[i].port;
        text_of(metadata->brokers[i].host, broker->host, sizeof(broker->host));
    }
}

static void take_topic(struct preflight_topic *out, const struct metadata_topic *from)
{
    text_of(from->name, out->name, sizeof(out->name));
    out->error = from->error;
    out->parts = must(calloc((size_t)from->partitions_count + 1, sizeof(*out->parts)));
    for (int32_t i = 0; i < from->partitions_count; i++) {
        const struct metadata_partition *part = &from->partitions[i];
        out->parts[out->parts_count++] = (struct preflight_part){.index = part->index,
                                                                 .leader = part->leader,
                                                                 .replicas = part->replicas_count,
                                                                 .in_sync = part->in_sync_count};
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct preflight_topic *)a)->name,
                  ((const struct preflight_topic *)b)->name);
}

static void take_topics(struct wire *wire, const struct metadata *metadata)
{
    struct preflight_cluster *out = wire->out;
    char name[250];
    out->topics = must(calloc((size_t)metadata->topics_count + 1, sizeof(*out->topics)));
    for (int32_t i = 0; i < metadata->topics_count; i++) {
        const struct metadata_topic *topic = &metadata->topics[i];
        for (int32_t j = 0; j < topic->partitions_count; j++) {
            out->replicas_count += topic->partitions[j].replicas_count;
        }
        text_of(topic->name, name, sizeof(name));
        if (config_patterns_match(&wire->service->topics, name)) {
            take_topic(&out->topics[out->topics_count++], topic);
        }
    }
    qsort(out->topics, out->topics_count, sizeof(*out->topics), by_name);
}

static void ask_brokers(struct wire *wire)
{
    struct preflight_cluster *out = wire->out;
    for (size_t i = 0; i < out->brokers_count && wire->of_target; i++) {
        int32_t id = out->brokers[i].id;
        struct broker_ask dirs = {.broker = id,
                                  .api = API_DESCRIBE_LOG_DIRS,
                                  .put = put_dirs,
                                  .answer = dirs_answered,
                                  .arg = question_new(wire, id)};
        ask_groups(wire, &wire->mirror, id);
        if (wire->writer.asks != wire->mirror.asks) {
            ask_groups(wire, &wire->writer, id);
        }
        ask(wire, &wire->writer, &dirs);
        look_up(wire, i);
    }
}

static void put_topics(void *arg, struct writer *writer, int16_t version)
{
    (void)arg;
    proto_put_metadata(writer, version, NULL, 0);
}

static bool topics_answered(void *arg, struct reader *reader, int16_t version,
                            const struct err *err);

static void ask_topics(struct wire *wire)
{
    struct broker_ask topics = {.broker = BROKER_ANY,
                                .api = API_METADATA,
                                .put = put_topics,
                                .answer = topics_answered,
                                .arg = wire};
    wire->tries++;
    ask(wire, &wire->mirror, &topics);
}

static bool topics_answered(void *arg, struct reader *reader, int16_t version,
                            const struct err *err)
{
    struct wire *wire = arg;
    struct metadata metadata;
    bool understood = true;
    if (reader == NULL) { /* the connection to one broker broke: there may be others */
        wire->out->err = *err;
        if (err->kind == ERR_RETRY && wire->tries < TRIES_MAX && !wire->ending) {
            ask_topics(wire);
        }
    } else if ((understood = proto_get_metadata(reader, version, &metadata, &wire->out->err))) {
        err_clear(&wire->out->err);
        wire->out->known = true;
        text_of(metadata.cluster_id, wire->out->id, sizeof(wire->out->id));
        take_brokers(wire, &metadata);
        take_topics(wire, &metadata);
        metadata_done(&metadata);
        ask_brokers(wire);
    }
    one_done(wire);
    return understood;
}

/* --- the whole ----------------------------------------------------------------------------------------------------- */

static void asker_open(struct wire *wire, struct asker *asker, const struct config_client *client,
                       int32_t left_ms)
{
    const struct cluster_options options = {.name = wire->site->name,
                                            .client = client,
                                            .refresh_ms = REFRESH_MS,
                                            .tcp_user_timeout_ms = TCP_USER_TIMEOUT_MS,
                                            .max_answer_bytes = ANSWER_BYTES_MAX};
    /* A little before time is up: what is missing is told with its reason. */
    const struct broker_asks_options limits = {.wait_ms = left_ms * 8 / 10,
                                               .request_ms = left_ms * 9 / 10};
    asker->cluster = cluster_new(wire->loop, &options);
    cluster_follow(asker->cluster, (const char *const[]){""}, 0);
    asker->asks = broker_asks_new(wire->loop, asker->cluster, &limits);
}

static void asker_close(struct asker *asker)
{
    broker_asks_free(asker->asks);
    cluster_free(asker->cluster);
}

static void time_is_up(void *arg)
{
    struct wire *wire = arg;
    loop_stop(wire->loop);
}

static void wire_run(struct wire *wire)
{
    int32_t left_ms = preflight_left_ms(wire->preflight);
    bool two = wire->of_target && wire->site->operator_kafka != NULL;
    wire->loop = loop_new(clock_system());
    wire->timer = loop_timer_new(wire->loop, time_is_up, wire);
    loop_timer_set(wire->timer, (int64_t)left_ms * 95 / 100);
    asker_open(wire, &wire->mirror, &wire->site->kafka, left_ms);
    wire->writer = wire->mirror;
    if (two) {
        asker_open(wire, &wire->writer, wire->site->operator_kafka, left_ms);
    }
    ask_topics(wire);
    loop_run(wire->loop);
    wire->ending = true;
    if (two) {
        asker_close(&wire->writer);
    }
    asker_close(&wire->mirror);
    for (size_t i = 0; i < wire->out->brokers_count; i++) {
        lookup_free(wire->looking[i].lookup);
    }
    free(wire->looking);
    loop_timer_free(wire->timer);
    loop_free(wire->loop);
}

static struct preflight_cluster *ask_cluster(struct preflight *preflight, bool of_target)
{
    struct wire wire = {.preflight = preflight,
                        .service = preflight->in.service,
                        .site = of_target ? preflight->in.to : preflight->in.from,
                        .of_target = of_target};
    wire.out = must(calloc(1, sizeof(*wire.out)));
    err_set(&wire.out->err, ERR_RETRY, "%s did not answer", wire.site->name);
    wire_run(&wire);
    return wire.out;
}

void preflight_ask_target(struct preflight *preflight, size_t index)
{
    (void)index;
    preflight_publish(preflight, &preflight->target, ask_cluster(preflight, true),
                      preflight_cluster_free);
}

void preflight_ask_source(struct preflight *preflight, size_t index)
{
    (void)index;
    preflight_publish(preflight, &preflight->source, ask_cluster(preflight, false),
                      preflight_cluster_free);
}

void preflight_cluster_free(void *arg)
{
    struct preflight_cluster *cluster = arg;
    if (cluster == NULL) {
        return;
    }
    for (size_t i = 0; i < cluster->topics_count; i++) {
        free(cluster->topics[i].parts);
    }
    free(cluster->topics);
    free(cluster->brokers);
    free(cluster->groups);
    free(cluster->dirs);
    free(cluster);
}

const struct preflight_topic *preflight_topic(const struct preflight_cluster *cluster,
                                              const char *name)
{
    struct preflight_topic key;
    snprintf(key.name, sizeof(key.name), "%s", name);
    return cluster->topics_count == 0 ? NULL
                                      : bsearch(&key, cluster->topics, cluster->topics_count,
                                                sizeof(*cluster->topics), by_name);
}
