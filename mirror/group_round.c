#include "mirror/group_round.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/heap.h"
#include "base/log.h"
#include "kafka/error.h"
#include "offsets/group_lookup.h"

#define SCHEMA "1" /* of Redis, as offsets/offset_store has it */

#define GROUPS_A_REQUEST 500 /* of 50 partitions: an answer of about 1 MB */
#define FIELDS_A_CALL    200
#define FIELDS_A_SCAN    "2000"
#define LOOKUPS_A_ROUND  100000
#define CALLS_FLYING     16 /* each some milliseconds of Redis */
#define LOOKUP_TRIES     4  /* other incarnations */
#define PARTS_A_REQUEST  1000
#define BEGINS_MS        10000 /* where the target's logs begin moves with retention */
#define GATE_MS          50
#define GATE_TRIES       50    /* 2.5 s: the control topic is read each second */
#define TELL_MS          60000 /* what stays wrong is said again */
#define TELL_GROUPS      20

enum step {
    STEP_LOAD,
    STEP_LOOK,
    STEP_READ,
    STEP_LIMIT,
    STEP_MAP,
    STEP_FIND,
    STEP_TARGET,
    STEP_GATE,
    STEP_STORE,
    STEP_GATE_AGAIN,
    STEP_COMMIT,
    STEP_DONE,
};

struct group_round {
    struct group_round_options options;
    char *base;
    char *meta_key;
    char *checkpoints_key;
    char *groups_key;
    char *read_key;
    int64_t read_ms;            /* wall clock: the source's commits were asked for */
    struct redis_script floors; /* copies of this thread's own */
    struct redis_script groups;
    enum step step;
    bool busy;
    bool stopped;
    int32_t waiting; /* answers that the step waits for, and one while it is begun */
    struct loop_timer *gate;
    int32_t gate_tries;
    uint64_t number;
    struct err err;     /* why the round failed; ERR_NONE = it did not */
    struct err trouble; /* the first of single groups' or brokers' */
    bool loaded;
    char cursor[24];     /* HSCAN */
    size_t strangers;    /* fields of groups that are none of ours */
    size_t stored_there; /* HLEN */
    bool recount;        /* strangers are to be counted anew */
    bool source_known;   /* every broker said which groups it has */
    bool target_known;
    bool incomplete; /* not read, or not translated, for every group */
    bool store_failed;
    TAILQ_HEAD(, call) calls; /* to Redis, that wait for others */
    int32_t calls_flying;
    bool pumping;
    int64_t begins_ms;
    int64_t told_ms;
    char told[200];
    int32_t told_groups;
    struct group_totals totals;
};

static int64_t now_ms(const struct group_round *round)
{
    return loop_now_ms(round->options.loop);
}

static int64_t wall_ms(const struct group_round *round)
{
    return clock_wall_ms(loop_clock(round->options.loop));
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

static void begin_step(struct group_round *round);

static void wait_for_one(struct group_round *round)
{
    round->waiting++;
}

static void one_done(struct group_round *round)
{
    assert(round->waiting > 0);
    if (--round->waiting > 0 || round->stopped) {
        return;
    }
    if (round->err.kind != ERR_NONE) {
        round->step = STEP_DONE;
    } else if (round->step != STEP_LOAD || round->loaded) {
        round->step++;
    }
    begin_step(round);
}

/* The round cannot go on. */
static void fail(struct group_round *round, const struct err *err)
{
    if (round->err.kind == ERR_NONE) {
        round->err = *err;
    }
}

/* Some groups are left to the next round. */
static void note(struct group_round *round, const struct err *err)
{
    if (round->trouble.kind == ERR_NONE) {
        round->trouble = *err;
    }
}

static bool is(struct wire_string string, const char *text)
{
    return string.len == (int32_t)strlen(text) && memcmp(string.data, text, strlen(text)) == 0;
}

/* The round was done, but not for every group: it does not count as one that was. */
static void incomplete(struct group_round *round, const struct err *err)
{
    note(round, err);
    round->incomplete = true;
}

/* --- Redis, some calls at a time ---------------------------------------------------------------------------------- */

/* 500 calls at once would be answered later than a call may wait, and keep Redis from everybody else. */
struct call {
    struct group_round *round;
    struct redis_script *script; /* NULL = a command */
    int keys_count;
    struct script_arguments arguments;
    redis_reply_fn *done;
    void *arg;
    TAILQ_ENTRY(call) link;
};

static void pump_calls(struct group_round *round);

static void call_done(void *arg, const redisReply *reply, const struct err *err)
{
    struct call *call = arg;
    struct group_round *round = call->round;
    redis_reply_fn *done = call->done;
    void *done_arg = call->arg;
    free(call);
    round->calls_flying--;
    done(done_arg, reply, err);
    pump_calls(round);
    one_done(round);
}

static void send_call(struct group_round *round, struct call *call)
{
    struct script_arguments arguments = call->arguments;
    const char **argv = (const char **)(uintptr_t)arguments.argv;
    round->calls_flying++;
    if (call->script != NULL) {
        redis_call_script(round->options.redis, call->script, call->keys_count, arguments.count,
                          argv, arguments.lens, call_done, call);
    } else {
        redis_call(round->options.redis, arguments.count, argv, arguments.lens, call_done, call);
    }
    script_arguments_done(&arguments);
}

/* We are stopped: nothing is sent any more. */
static void drop_call(struct group_round *round, struct call *call)
{
    struct err why;
    err_set(&why, ERR_RETRY, "stopped");
    script_arguments_done(&call->arguments);
    call->done(call->arg, NULL, &why);
    free(call);
    one_done(round);
}

/* A call may fail at once, and come back here from within: the outer loop goes on. */
static void pump_calls(struct group_round *round)
{
    if (round->pumping) {
        return;
    }
    round->pumping = true;
    while (!TAILQ_EMPTY(&round->calls) && (round->stopped || round->calls_flying < CALLS_FLYING)) {
        struct call *call = TAILQ_FIRST(&round->calls);
        TAILQ_REMOVE(&round->calls, call, link);
        (round->stopped ? drop_call : send_call)(round, call);
    }
    round->pumping = false;
}

/* `script` NULL = a command. The step waits for it. */
static void call_redis(struct group_round *round, struct redis_script *script, int keys_count,
                       struct script_arguments *take_arguments, redis_reply_fn *done, void *arg)
{
    struct call *call = must(calloc(1, sizeof(*call)));
    *call = (struct call){.round = round,
                          .script = script,
                          .keys_count = keys_count,
                          .arguments = *take_arguments,
                          .done = done,
                          .arg = arg};
    *take_arguments = (struct script_arguments){0};
    wait_for_one(round);
    TAILQ_INSERT_TAIL(&round->calls, call, link);
    pump_calls(round);
}

/* --- LOAD --------------------------------------------------------------------------------------------------------- */

static void scanned(void *arg, const redisReply *reply, const struct err *err)
{
    struct group_round *round = arg;
    struct err why;
    if (reply == NULL) {
        fail(round, err);
    } else if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
               reply->element[0]->type != REDIS_REPLY_STRING ||
               reply->element[0]->len >= sizeof(round->cursor)) {
        err_set(&why, ERR_REFUSED, "%s: Redis answers in a strange form", round->groups_key);
        fail(round, &why);
    } else {
        round->strangers += group_fields_reply(round->options.table, reply->element[1]);
        snprintf(round->cursor, sizeof(round->cursor), "%s", reply->element[0]->str);
        round->loaded = strcmp(round->cursor, "0") == 0;
    }
}

static void load(struct group_round *round)
{
    struct script_arguments arguments = {0};
    script_put_text(&arguments, "HSCAN");
    script_put_text(&arguments, round->groups_key);
    script_put_text(&arguments, round->cursor);
    script_put_text(&arguments, "COUNT");
    script_put_text(&arguments, FIELDS_A_SCAN);
    call_redis(round, NULL, 0, &arguments, scanned, round);
}

/* --- LOOK --------------------------------------------------------------------------------------------------------- */

static void put_list(void *arg, struct writer *writer, int16_t version)
{
    (void)arg;
    proto_put_list_groups(writer, version);
}

struct listing {
    struct group_round *round;
    int32_t broker;
    bool of_target;
};

/* Longer names than a field takes, and names with a NUL in them, are not carried. */
static struct group *listed(struct group_round *round, const struct listed_group *row)
{
    char name[GROUP_FIELD_BYTES];
    const struct config_service *service = round->options.service;
    int32_t len = row->group.len;
    if (len <= 0 || len >= GROUP_FIELD_BYTES - 270 || memchr(row->group.data, '\0', (size_t)len)) {
        return NULL;
    }
    snprintf(name, sizeof(name), "%.*s", (int)len, row->group.data);
    return config_patterns_match(&service->groups, name) ? group_make(round->options.table, name)
                                                         : NULL;
}

static void kind_text(struct wire_string string, char out[64])
{
    bool there = string.len > 0 && string.len < 64;
    snprintf(out, 64, "%.*s", there ? (int)string.len : 0, there ? string.data : "");
}

static void take_listed(const struct listing *listing, const struct listed_group *row)
{
    char protocol[64];
    char type[64];
    struct group *group = listed(listing->round, row);
    if (group == NULL) {
        return;
    }
    if (listing->of_target) {
        group->at_target = true;
        group->target_broker = listing->broker;
        group->target_members = !is(row->state, "Empty") && !is(row->state, "Dead");
        return;
    }
    kind_text(row->protocol_type, protocol);
    kind_text(row->type, type);
    group->at_source = true;
    group->source_broker = listing->broker;
    group->kind = group_kind_of(protocol, type);
    group->source_was_empty = group->source_empty;
    group->source_empty = is(row->state, "Empty") && protocol[0] != '\0';
}

static void list_failed(struct listing *listing, const struct err *err)
{
    struct group_round *round = listing->round;
    *(listing->of_target ? &round->target_known : &round->source_known) = false;
    incomplete(round, err);
}

static bool list_answered(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct listing *listing = arg;
    struct group_round *round = listing->round;
    struct list_groups_answer answer;
    struct err why;
    bool understood = true;
    if (reader == NULL) {
        list_failed(listing, err);
    } else if (!(understood = proto_get_list_groups(reader, version, &answer, &why))) {
        list_failed(listing, &why);
    } else {
        for (int32_t i = 0; i < answer.groups_count; i++) {
            take_listed(listing, &answer.groups[i]);
        }
        if (answer.error != KAFKA_NONE) {
            err_set_code(&why, ERR_RETRY, answer.error, "ListGroups: %s",
                         kafka_error_name(answer.error));
            list_failed(listing, &why);
        }
        list_groups_answer_done(&answer);
    }
    free(listing);
    one_done(round);
    return understood;
}

static void list_groups(struct group_round *round, bool of_target)
{
    const struct group_round_options *options = &round->options;
    struct cluster *cluster = of_target ? options->target : options->source;
    int32_t count = cluster_brokers_count(cluster);
    for (int32_t i = 0; i < count; i++) {
        struct listing *listing = must(calloc(1, sizeof(*listing)));
        *listing = (struct listing){round, cluster_broker_at(cluster, i), of_target};
        struct broker_ask ask = {.broker = listing->broker,
                                 .api = API_LIST_GROUPS,
                                 .put = put_list,
                                 .answer = list_answered,
                                 .arg = listing};
        wait_for_one(round);
        broker_ask(of_target ? options->ask_target : options->ask_source, &ask);
    }
    if (count == 0) {
        struct err why;
        err_set(&why, ERR_RETRY, "%s: %s", of_target ? options->to : options->from,
                cluster_last_error(cluster)[0] == '\0' ? "not reached yet"
                                                       : cluster_last_error(cluster));
        fail(round, &why);
    }
}

static void whose_redis(struct group_round *round, const redisReply *reply)
{
    struct err why;
    const char *field = reply->elements == 2 ? script_text(reply, 0) : NULL;
    if (field == NULL) {
        err_set(&why, ERR_REFUSED, "%s: Redis answers in a strange form", round->base);
    } else {
        const char *there = script_text(reply, 1);
        err_set(&why, ERR_REFUSED, "this Redis belongs to another: %.60s is %.100s in %s", field,
                there == NULL ? "" : there, round->meta_key);
    }
    fail(round, &why);
}

/* Fields went, or came: it was flushed, or put back. All of it is written again. */
static void look_at_stored(struct group_round *round)
{
    struct group_table *table = round->options.table;
    if (round->recount) { /* all of ours were written since: the others are strangers */
        round->recount = false;
        round->strangers = round->stored_there > table->stored_count
                               ? round->stored_there - table->stored_count
                               : 0;
        return;
    }
    if (round->stored_there != table->stored_count + round->strangers && table->stored_count > 0) {
        log_info("groups.stored_again", "link=%s>%s there=%zu expected=%zu", round->options.from,
                 round->options.to, round->stored_there, table->stored_count + round->strangers);
        group_table_unstored(table);
        round->recount = true;
    }
}

static void redis_looked(void *arg, const redisReply *reply, const struct err *err)
{
    struct group_round *round = arg;
    if (reply == NULL) {
        fail(round, err);
    } else if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
               reply->element[0]->type != REDIS_REPLY_ARRAY ||
               reply->element[1]->type != REDIS_REPLY_INTEGER) {
        whose_redis(round, reply);
    } else {
        group_checkpoints_reply(round->options.table, reply->element[0]);
        round->stored_there = (size_t)reply->element[1]->integer;
        look_at_stored(round);
    }
}

/* When the source's groups were read last, for offsets/hint.h: not told of a round that failed for some of them. */
static void told_read(void *arg, const redisReply *reply, const struct err *err)
{
    if (reply == NULL) {
        note(arg, err);
    }
}

static void tell_read(struct group_round *round)
{
    struct script_arguments arguments = {0};
    if (round->incomplete || round->err.kind != ERR_NONE) {
        return;
    }
    script_put_text(&arguments, "SET");
    script_put_text(&arguments, round->read_key);
    script_put_format(&arguments, "%lld", (long long)round->read_ms);
    call_redis(round, NULL, 0, &arguments, told_read, round);
}

static void redis_look(struct group_round *round)
{
    const struct group_round_options *options = &round->options;
    struct script_arguments arguments = {0};
    script_put_text(&arguments, round->meta_key);
    script_put_text(&arguments, round->checkpoints_key);
    script_put_text(&arguments, round->groups_key);
    script_put_text(&arguments, "schema");
    script_put_text(&arguments, SCHEMA);
    script_put_text(&arguments, "deployment");
    script_put_text(&arguments, options->deployment);
    script_put_format(&arguments, "cluster:%s", options->from);
    script_put_text(&arguments, cluster_id(options->source));
    script_put_format(&arguments, "cluster:%s", options->to);
    script_put_text(&arguments, cluster_id(options->target));
    call_redis(round, &round->groups, 3, &arguments, redis_looked, round);
}

static void look(struct group_round *round)
{
    struct group_table *table = round->options.table;
    for (size_t i = 0; i < table->groups_count; i++) {
        struct group *group = table->groups[i];
        group->at_source = group->at_target = group->target_members = false;
        group->read = group->looked = false;
        group->source_broker = group->target_broker = -1;
    }
    round->source_known = round->target_known = true;
    list_groups(round, false);
    list_groups(round, true);
    if (round->err.kind == ERR_NONE) {
        redis_look(round);
    }
}

/* --- commits of many groups --------------------------------------------------------------------------------------- */

struct some_groups { /* one request */
    struct group_round *round;
    struct cluster *cluster;
    int32_t broker;
    bool of_target;
    struct group **groups;
    int32_t count;
};

static struct some_groups *some_new(struct group_round *round, bool of_target, int32_t broker,
                                    struct group **groups, size_t count)
{
    struct some_groups *some = must(calloc(1, sizeof(*some)));
    some->round = round;
    some->cluster = of_target ? round->options.target : round->options.source;
    some->broker = broker;
    some->of_target = of_target;
    some->groups = must(calloc(count + 1, sizeof(struct group *)));
    memcpy(some->groups, groups, count * sizeof(struct group *));
    some->count = (int32_t)count;
    return some;
}

static void some_free(struct some_groups *some)
{
    free(some->groups);
    free(some);
}

static void put_fetch(void *arg, struct writer *writer, int16_t version)
{
    const struct some_groups *some = arg;
    struct offset_fetch_want *wants = must(calloc((size_t)some->count + 1, sizeof(*wants)));
    for (int32_t i = 0; i < some->count; i++) {
        wants[i].group = some->groups[i]->name;
    }
    proto_put_offset_fetch(writer, version, false, wants, some->count);
    free(wants);
}

/* The places of one topic follow one another. */
struct topic_run {
    const char *data;
    struct group_topic *topic; /* NULL = not mirrored */
};

static struct group_topic *topic_of(struct group_round *round, struct topic_run *run,
                                    struct wire_string name)
{
    if (name.data != run->data) {
        run->data = name.data;
        run->topic = name.len <= 0
                         ? NULL
                         : group_topic_find(round->options.table, name.data, (size_t)name.len);
        if (run->topic != NULL && !run->topic->mirrored) {
            run->topic = NULL;
        }
    }
    return run->topic;
}

static void take_source(struct group_round *round, struct group *group,
                        const struct offset_fetch_group *answer)
{
    struct topic_run run = {.data = NULL};
    group->read = true;
    for (int32_t i = 0; i < answer->parts_count; i++) {
        const struct offset_fetch_part *row = &answer->parts[i];
        struct group_topic *topic = topic_of(round, &run, row->topic);
        if (topic == NULL || row->offset < 0 || row->error != KAFKA_NONE) {
            continue;
        }
        struct group_part *part = group_part_make(topic, row->partition);
        struct group_entry *entry =
            part == NULL ? NULL : group_entry_make(round->options.table, group, part);
        if (entry != NULL) {
            size_t len = row->metadata.len > 0 ? (size_t)row->metadata.len : 0;
            bool known = entry->seen_ms != 0;
            entry->round = round->number;
            bool moved = group_entry_source(entry, row->offset, row->metadata.data, len,
                                            now_ms(round), wall_ms(round));
            group_entry_readers(entry, group->source_empty, group->source_was_empty && known,
                                moved);
        }
    }
}

static bool same_metadata(const struct group_entry *entry, struct wire_string text)
{
    size_t ours = entry->metadata == NULL ? 0 : strlen(entry->metadata);
    size_t there = text.len > 0 ? strnlen(text.data, (size_t)text.len) : 0;
    return ours == there && (ours == 0 || memcmp(entry->metadata, text.data, ours) == 0);
}

static void take_target(struct group_round *round, struct group *group,
                        const struct offset_fetch_group *answer)
{
    struct topic_run run = {.data = NULL};
    group->looked = true;
    for (size_t i = 0; i < group->entries_count; i++) {
        group->entries[i]->target_now = -1;
        group->entries[i]->same_metadata = false;
    }
    for (int32_t i = 0; i < answer->parts_count; i++) {
        const struct offset_fetch_part *row = &answer->parts[i];
        struct group_topic *topic = topic_of(round, &run, row->topic);
        bool known = topic != NULL && row->partition >= 0 && row->partition < topic->parts_count &&
                     topic->parts[row->partition] != NULL;
        struct group_entry *entry =
            known ? group_entry_find(group, topic->parts[row->partition]) : NULL;
        if (entry != NULL) {
            entry->target_now = row->offset < 0 ? -1 : row->offset;
            entry->same_metadata = same_metadata(entry, row->metadata);
            entry->due = entry->due && row->error == KAFKA_NONE;
        }
    }
}

/* What a coordinator says that is over with the next list of groups. */
static bool is_passing(int16_t error)
{
    return error == KAFKA_COORDINATOR_LOAD_IN_PROGRESS ||
           error == KAFKA_COORDINATOR_NOT_AVAILABLE || error == KAFKA_NOT_COORDINATOR ||
           error == KAFKA_REQUEST_TIMED_OUT;
}

static void group_refused(struct some_groups *some, struct group *group, enum api_key api,
                          int16_t error)
{
    struct group_round *round = some->round;
    struct err why;
    char lacks[ACL_LACKS_BYTES];
    bool denied = cluster_denied(some->cluster, error, some->of_target ? ACL_READ : ACL_DESCRIBE,
                                 ACL_GROUP, group->name, lacks);
    err_set_code(&why, ERR_RETRY, error, "%s: %s of group '%.200s': %s",
                 some->of_target ? round->options.to : round->options.from, api_name(api),
                 group->name, denied ? lacks : kafka_error_name(error));
    bool lasting = some->of_target && !is_passing(error); /* its places say so */
    (lasting ? note : incomplete)(round, &why);
    if (lasting) {
        snprintf(group->refused, sizeof(group->refused), "%.*s", (int)sizeof(group->refused) - 1,
                 denied ? lacks : kafka_error_name(error));
    }
}

static void take_fetched(struct some_groups *some, const struct offset_fetch_answer *answer)
{
    struct group_round *round = some->round;
    for (int32_t i = 0; i < answer->groups_count; i++) {
        const struct offset_fetch_group *row = &answer->groups[i];
        struct group *group = row->group.len < 0 ? (some->count == 1 ? some->groups[0] : NULL)
                                                 : group_find(round->options.table, row->group.data,
                                                              (size_t)row->group.len);
        if (group == NULL) { /* nobody asked for it */
            continue;
        }
        if (row->error != KAFKA_NONE) {
            group_refused(some, group, API_OFFSET_FETCH, row->error);
        } else if (some->of_target) {
            take_target(round, group, row);
        } else {
            take_source(round, group, row);
        }
    }
}

static bool fetched(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct some_groups *some = arg;
    struct group_round *round = some->round;
    struct offset_fetch_answer answer;
    struct err why;
    bool understood = true;
    if (reader == NULL) {
        incomplete(round, err);
    } else if (!(understood = proto_get_offset_fetch(reader, version, &answer, &why))) {
        incomplete(round, &why);
    } else {
        take_fetched(some, &answer);
        offset_fetch_answer_done(&answer);
    }
    some_free(some);
    one_done(round);
    return understood;
}

/* Old versions take one group a request; then many are sent, one behind the other. */
static size_t groups_a_request(struct cluster *cluster, int32_t broker, enum api_key api,
                               int16_t many_from)
{
    struct conn *conn =
        broker == BROKER_ANY ? cluster_any_conn(cluster) : cluster_conn(cluster, broker, 0);
    bool many =
        conn != NULL && conn_is_ready(conn) && conn_versions(conn)->version[api] >= many_from;
    return many ? GROUPS_A_REQUEST : 1;
}

static void fetch_some(struct group_round *round, bool of_target, int32_t broker,
                       struct group **groups, size_t count)
{
    struct cluster *cluster = of_target ? round->options.target : round->options.source;
    size_t most = groups_a_request(cluster, broker, API_OFFSET_FETCH, 8);
    for (size_t at = 0; at < count; at += most) {
        size_t some_count = count - at < most ? count - at : most;
        struct some_groups *some = some_new(round, of_target, broker, groups + at, some_count);
        struct broker_ask ask = {.broker = broker,
                                 .api = API_OFFSET_FETCH,
                                 .put = put_fetch,
                                 .answer = fetched,
                                 .arg = some};
        wait_for_one(round);
        broker_ask(of_target ? round->options.ask_target : round->options.ask_source, &ask);
    }
}

/* Of `groups`, those of each broker together. */
static void fetch_by_broker(struct group_round *round, bool of_target, struct group **groups,
                            size_t count)
{
    struct cluster *cluster = of_target ? round->options.target : round->options.source;
    struct group **of_broker = must(calloc(count + 1, sizeof(struct group *)));
    for (int32_t i = 0; i < cluster_brokers_count(cluster); i++) {
        int32_t broker = cluster_broker_at(cluster, i);
        size_t found = 0;
        for (size_t j = 0; j < count; j++) {
            int32_t at = of_target ? groups[j]->target_broker : groups[j]->source_broker;
            if (at == broker) {
                of_broker[found++] = groups[j];
            }
        }
        fetch_some(round, of_target, broker, of_broker, found);
    }
    free(of_broker);
}

/* --- READ --------------------------------------------------------------------------------------------------------- */

/* Where logs begin at the target, and where they end at the source for groups that nobody reads for any more. */
struct some_parts { /* one ListOffsets */
    struct group_round *round;
    bool of_target;
    struct topic_partition *parts;
    int32_t count;
};

static void put_parts(void *arg, struct writer *writer, int16_t version)
{
    const struct some_parts *some = arg;
    proto_put_list_offsets(writer, version, false,
                           some->of_target ? LIST_OFFSETS_EARLIEST : LIST_OFFSETS_LATEST,
                           some->parts, some->count);
}

static void take_limit(struct group_round *round, const struct group_part *part, int64_t end)
{
    struct group_table *table = round->options.table;
    for (size_t i = 0; i < table->groups_count; i++) {
        struct group *group = table->groups[i];
        struct group_entry *entry =
            group->read && group->source_empty ? group_entry_find(group, part) : NULL;
        if (entry != NULL && group_entry_wants_limit(entry, true)) {
            group_entry_limit(entry, end);
        }
    }
}

static void take_parts(const struct some_parts *some, const struct list_offsets_answer *answer)
{
    struct topic_run run = {.data = NULL};
    for (int32_t i = 0; i < answer->parts_count; i++) {
        const struct list_offsets_part *row = &answer->parts[i];
        struct group_topic *topic = topic_of(some->round, &run, row->topic);
        if (topic == NULL || row->error != KAFKA_NONE || row->partition < 0 ||
            row->partition >= topic->parts_count || topic->parts[row->partition] == NULL) {
            continue;
        }
        if (some->of_target) {
            topic->parts[row->partition]->target_begin = row->offset;
        } else {
            take_limit(some->round, topic->parts[row->partition], row->offset);
        }
    }
}

static bool parts_answered(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct some_parts *some = arg;
    struct group_round *round = some->round;
    struct list_offsets_answer answer;
    struct err why;
    bool understood = true;
    if (reader == NULL) {
        note(round, err);
    } else if (!(understood = proto_get_list_offsets(reader, version, &answer, &why))) {
        note(round, &why);
    } else {
        take_parts(some, &answer);
        list_offsets_answer_done(&answer);
    }
    free(some->parts);
    free(some);
    one_done(round);
    return understood;
}

static void send_parts(struct group_round *round, int32_t broker, struct some_parts *take_some)
{
    struct broker_ask ask = {.broker = broker,
                             .api = API_LIST_OFFSETS,
                             .put = put_parts,
                             .answer = parts_answered,
                             .arg = take_some};
    wait_for_one(round);
    broker_ask(take_some->of_target ? round->options.ask_target : round->options.ask_source, &ask);
}

static bool is_wanted(const struct group_round *round, const struct group_topic *topic, int32_t p,
                      bool of_target, int32_t broker)
{
    struct cluster *cluster = of_target ? round->options.target : round->options.source;
    return topic->parts[p] != NULL && (of_target || topic->parts[p]->limit_wanted) &&
           cluster_leader(cluster, topic->name, p).broker == broker;
}

static void parts_of_broker(struct group_round *round, bool of_target, int32_t broker)
{
    struct group_table *table = round->options.table;
    struct some_parts *some = NULL;
    for (size_t i = 0; i < table->topics_count; i++) {
        struct group_topic *topic = table->topics[i];
        for (int32_t p = 0; topic->mirrored && p < topic->parts_count; p++) {
            if (!is_wanted(round, topic, p, of_target, broker)) {
                continue;
            }
            if (some == NULL) {
                some = must(calloc(1, sizeof(*some)));
                some->round = round;
                some->of_target = of_target;
                some->parts = must(calloc(PARTS_A_REQUEST, sizeof(*some->parts)));
            }
            some->parts[some->count++] = (struct topic_partition){topic->name, p};
            if (some->count == PARTS_A_REQUEST) {
                send_parts(round, broker, some);
                some = NULL;
            }
        }
    }
    if (some != NULL) {
        send_parts(round, broker, some);
    }
}

static void read_begins(struct group_round *round)
{
    struct cluster *target = round->options.target;
    if (round->begins_ms != 0 && now_ms(round) - round->begins_ms < BEGINS_MS) {
        return;
    }
    round->begins_ms = now_ms(round);
    for (int32_t i = 0; i < cluster_brokers_count(target); i++) {
        parts_of_broker(round, true, cluster_broker_at(target, i));
    }
}

/* Behind READ: the end is asked for after the group was seen empty. */
static void read_limits(struct group_round *round)
{
    struct cluster *source = round->options.source;
    if (group_table_limits(round->options.table) == 0) {
        return;
    }
    for (int32_t i = 0; i < cluster_brokers_count(source); i++) {
        parts_of_broker(round, false, cluster_broker_at(source, i));
    }
}

static void read_source(struct group_round *round)
{
    struct group_table *table = round->options.table;
    struct group **groups = must(calloc(table->groups_count + 1, sizeof(struct group *)));
    size_t count = 0;
    round->read_ms = wall_ms(round);
    for (size_t i = 0; i < table->groups_count; i++) {
        struct group *group = table->groups[i];
        if (group->at_source && group_kind_carried(group->kind)) {
            groups[count++] = group;
        }
    }
    fetch_by_broker(round, false, groups, count);
    free(groups);
    read_begins(round);
}

/* --- MAP ---------------------------------------------------------------------------------------------------------- */

struct map_call {
    struct group_round *round;
    struct group_lookup lookup;
    int32_t tries;
};

static void map_ask(struct map_call *call);

static void map_call_free(struct map_call *call)
{
    free(call->lookup.entries);
    free(call);
}

static void mapped(void *arg, const redisReply *reply, const struct err *err)
{
    struct map_call *call = arg;
    struct group_round *round = call->round;
    struct err why;
    size_t left = 0;
    if (reply == NULL) {
        incomplete(round, err);
    } else if (!group_lookup_reply(&call->lookup, reply, now_ms(round), &left, &why)) {
        incomplete(round, &why);
    }
    if (left > 0 && ++call->tries < LOOKUP_TRIES && !round->stopped) {
        map_ask(call);
    } else {
        map_call_free(call);
    }
}

static void map_ask(struct map_call *call)
{
    struct group_round *round = call->round;
    struct script_arguments arguments = {0};
    group_lookup_arguments(&call->lookup, round->base, &arguments);
    call_redis(round, &round->floors, PART_KEYS_COUNT, &arguments, mapped, call);
}

static void map_part(struct group_round *round, struct group_part *part)
{
    group_asks_sort(part);
    for (size_t at = 0; at < part->asks_count; at += GROUP_LOOKUP_MOST) {
        size_t left = part->asks_count - at;
        size_t count = left < GROUP_LOOKUP_MOST ? left : GROUP_LOOKUP_MOST;
        struct map_call *call = must(calloc(1, sizeof(*call)));
        call->round = round;
        call->lookup.part = part;
        call->lookup.count = count;
        call->lookup.entries = must(calloc(count, sizeof(struct group_entry *)));
        memcpy(call->lookup.entries, part->asks + at, count * sizeof(struct group_entry *));
        checkpoint_incarnation(&part->checkpoint, call->lookup.incarnation);
        map_ask(call);
    }
}

static void map(struct group_round *round)
{
    struct group_table *table = round->options.table;
    round->totals.lookups += group_table_map(table, now_ms(round), LOOKUPS_A_ROUND);
    for (size_t i = 0; i < table->topics_count; i++) {
        struct group_topic *topic = table->topics[i];
        for (int32_t p = 0; p < topic->parts_count; p++) {
            if (topic->parts[p] != NULL && topic->parts[p]->asks_count > 0) {
                map_part(round, topic->parts[p]);
            }
        }
    }
}

/* --- FIND, TARGET ------------------------------------------------------------------------------------------------- */

/* Has the target to be read for it? Verdicts are as they are now. */
static bool group_due(struct group_round *round, struct group *group)
{
    bool off = !round->options.service->groups_commit;
    bool due = false;
    for (size_t i = 0; i < group->entries_count; i++) {
        struct group_entry *entry = group->entries[i];
        entry->committing = false;
        entry->due = false;
        if (entry->pending) {
            continue;
        }
        group_entry_settle(entry, entry->part->target_begin);
        entry->due =
            group_kind_carried(group->kind) &&
            group_entry_due(entry, off, group->target_members, now_ms(round), wall_ms(round));
        due = due || entry->due;
    }
    return due && (group->at_target || round->target_known);
}

static void put_find(void *arg, struct writer *writer, int16_t version)
{
    const struct some_groups *some = arg;
    const char **names = must(calloc((size_t)some->count + 1, sizeof(char *)));
    for (int32_t i = 0; i < some->count; i++) {
        names[i] = some->groups[i]->name;
    }
    proto_put_find_coordinators(writer, version, names, some->count);
    free(names);
}

static void take_found(struct some_groups *some, const struct find_coordinators_answer *answer)
{
    for (int32_t i = 0; i < answer->rows_count; i++) {
        const struct coordinator_row *row = &answer->rows[i];
        struct group *group =
            row->group.len < 0
                ? (some->count == 1 ? some->groups[0] : NULL)
                : group_find(some->round->options.table, row->group.data, (size_t)row->group.len);
        if (group == NULL) {
            continue;
        }
        if (row->error == KAFKA_NONE) {
            group->target_broker = row->id;
        } else {
            group_refused(some, group, API_FIND_COORDINATOR, row->error);
        }
    }
}

static bool found(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct some_groups *some = arg;
    struct group_round *round = some->round;
    struct find_coordinators_answer answer;
    struct err why;
    bool understood = true;
    if (reader == NULL) {
        note(round, err);
    } else if (!(understood = proto_get_find_coordinators(reader, version, &answer, &why))) {
        note(round, &why);
    } else {
        take_found(some, &answer);
        find_coordinators_answer_done(&answer);
    }
    some_free(some);
    one_done(round);
    return understood;
}

static void find_some(struct group_round *round, struct group **groups, size_t count)
{
    size_t most = groups_a_request(round->options.target, BROKER_ANY, API_FIND_COORDINATOR, 4);
    for (size_t at = 0; at < count; at += most) {
        size_t some_count = count - at < most ? count - at : most;
        struct some_groups *some = some_new(round, true, BROKER_ANY, groups + at, some_count);
        struct broker_ask ask = {.broker = BROKER_ANY,
                                 .api = API_FIND_COORDINATOR,
                                 .put = put_find,
                                 .answer = found,
                                 .arg = some};
        wait_for_one(round);
        broker_ask(round->options.ask_target, &ask);
    }
}

static void find(struct group_round *round)
{
    struct group_table *table = round->options.table;
    struct group **groups = must(calloc(table->groups_count + 1, sizeof(struct group *)));
    size_t count = 0;
    for (size_t i = 0; i < table->groups_count; i++) {
        struct group *group = table->groups[i];
        group->due = group_due(round, group);
        if (group->due) {
            group->refused[0] = '\0';
        }
        if (group->due && group->target_broker < 0) {
            groups[count++] = group;
        }
    }
    find_some(round, groups, count);
    free(groups);
}

static void read_target(struct group_round *round)
{
    struct group_table *table = round->options.table;
    struct group **groups = must(calloc(table->groups_count + 1, sizeof(struct group *)));
    size_t count = 0;
    for (size_t i = 0; i < table->groups_count; i++) {
        if (table->groups[i]->due && table->groups[i]->target_broker >= 0) {
            groups[count++] = table->groups[i];
        }
    }
    fetch_by_broker(round, true, groups, count);
    free(groups);
}

/* --- GATE --------------------------------------------------------------------------------------------------------- */

static void gate(void *arg)
{
    struct group_round *round = arg;
    struct err why = {0};
    if (!round->options.may(round->options.arg, &why)) {
        if (why.kind == ERR_RETRY && ++round->gate_tries < GATE_TRIES) {
            loop_timer_set(round->gate, GATE_MS);
            return;
        }
        fail(round, &why);
    }
    one_done(round);
}

static void wait_for_gate(struct group_round *round)
{
    round->gate_tries = 0;
    wait_for_one(round);
    loop_timer_set(round->gate, 0);
}

/* --- STORE -------------------------------------------------------------------------------------------------------- */

struct fields { /* arguments of one HSET or HDEL */
    struct group_round *round;
    struct script_arguments arguments;
    int fields_count;
};

static void stored(void *arg, const redisReply *reply, const struct err *err)
{
    struct group_round *round = arg;
    if (reply == NULL) {
        round->store_failed = true;
        incomplete(round, err);
    }
}

static void send_fields(struct fields *fields)
{
    struct group_round *round = fields->round;
    if (fields->fields_count == 0) {
        return;
    }
    call_redis(round, NULL, 0, &fields->arguments, stored, round);
    fields->fields_count = 0;
}

static void field_begin(struct fields *fields, const char *command)
{
    if (fields->fields_count == FIELDS_A_CALL) {
        send_fields(fields);
    }
    if (fields->fields_count++ == 0) {
        script_put_text(&fields->arguments, command);
        script_put_text(&fields->arguments, fields->round->groups_key);
    }
}

static void store_entry(struct fields *set, struct group *group, struct group_entry *entry)
{
    char field[GROUP_FIELD_BYTES];
    char text[GROUP_TEXT_BYTES];
    if (!group_entry_unsaved(entry) ||
        !group_field_text(group->name, entry->part->topic, entry->part->partition, field)) {
        return;
    }
    field_begin(set, "HSET");
    script_put_text(&set->arguments, field);
    script_put(&set->arguments, text, group_entry_text(entry, text));
    set->round->options.table->stored_count += entry->stored ? 0 : 1;
    set->round->totals.stored++;
    group_entry_saved(entry);
}

/* Its group was read, and it was not there: deleted, expired, or of a topic that is not mirrored any more. */
static bool is_gone(struct group_round *round, const struct group *group, struct group_entry *entry)
{
    bool looked = group->read || (round->source_known && !group->at_source) ||
                  !group_kind_carried(group->kind);
    if (!looked || entry->round == round->number) {
        return false;
    }
    if (entry->absent_ms == 0) {
        entry->absent_ms = now_ms(round);
    }
    return now_ms(round) - entry->absent_ms >= GROUP_ABSENT_MS;
}

static void forget(struct fields *del, struct group *group, size_t index)
{
    char field[GROUP_FIELD_BYTES];
    const struct group_part *part = group->entries[index]->part;
    if (group->entries[index]->stored &&
        group_field_text(group->name, part->topic, part->partition, field)) {
        field_begin(del, "HDEL");
        script_put_text(&del->arguments, field);
    }
    group_entry_remove(del->round->options.table, group, index);
}

static void tell_hold(struct group_round *round, struct group *group, enum group_hold hold)
{
    if (hold == group->told || round->told_groups >= TELL_GROUPS) {
        return;
    }
    group->told = hold;
    round->told_groups++;
    log_info("group.hold", "link=%s>%s group=%s why=%s detail=%s", round->options.from,
             round->options.to, log_quote(group->name).text, group_hold_name(hold),
             log_quote(group->refused).text);
}

/* @return what holds it back */
static enum group_hold decide_entry(struct group_round *round, struct group *group,
                                    struct group_entry *entry)
{
    const struct group_target target = {.off = !round->options.service->groups_commit,
                                        .members = group->target_members,
                                        .offset = entry->target_now,
                                        .same_metadata = entry->same_metadata,
                                        .now_ms = now_ms(round),
                                        .wall_ms = wall_ms(round)};
    if (entry->pending) {
        return entry->facts.hold;
    }
    if (target.off || target.members || entry->facts.target_offset < 0) {
        entry->committing = group_entry_decide(entry, &target);
    } else if (entry->due && group->looked) {
        entry->committing = group_entry_decide(entry, &target);
    } else if (entry->due && group->refused[0] != '\0') {
        group_entry_answered(entry, false, GROUP_REFUSED, target.now_ms);
    } else if (entry->facts.hold == GROUP_OFF || entry->facts.hold == GROUP_MEMBERS) {
        entry->look_ms = 0; /* that is over: to be looked at */
    }
    return entry->facts.hold;
}

static void decide_group(struct group_round *round, struct fields *set, struct fields *del,
                         struct group *group)
{
    enum group_hold worst = GROUP_FREE;
    for (size_t i = group->entries_count; i-- > 0;) {
        if (is_gone(round, group, group->entries[i])) {
            forget(del, group, i);
        }
    }
    for (size_t i = 0; i < group->entries_count; i++) {
        struct group_entry *entry = group->entries[i];
        enum group_hold hold = decide_entry(round, group, entry);
        worst = hold > worst ? hold : worst;
        if (!entry->pending) {
            store_entry(set, group, entry);
        }
    }
    if (group->entries_count > 0) {
        tell_hold(round, group, worst);
    }
}

static void store(struct group_round *round)
{
    struct group_table *table = round->options.table;
    struct fields set = {.round = round};
    struct fields del = {.round = round};
    round->store_failed = false;
    round->told_groups = 0;
    for (size_t i = 0; i < table->groups_count; i++) {
        decide_group(round, &set, &del, table->groups[i]);
    }
    send_fields(&set);
    send_fields(&del);
    tell_read(round);
}

/* --- COMMIT ------------------------------------------------------------------------------------------------------- */

struct commit_call {
    struct group_round *round;
    struct group *group;
    struct group_entry **entries; /* topics together */
    int32_t count;
};

static void put_commit(void *arg, struct writer *writer, int16_t version)
{
    const struct commit_call *call = arg;
    struct offset_commit_part *parts = must(calloc((size_t)call->count + 1, sizeof(*parts)));
    for (int32_t i = 0; i < call->count; i++) {
        const struct group_entry *entry = call->entries[i];
        parts[i] = (struct offset_commit_part){.topic = entry->part->topic,
                                               .partition = entry->part->partition,
                                               .offset = entry->facts.committed,
                                               .metadata = entry->metadata};
    }
    proto_put_offset_commit(writer, version, call->group->name, parts, call->count);
    free(parts);
}

/* Why a coordinator did not take a commit. Those with members at the target refuse everybody who is none. */
static enum group_hold why_refused(int16_t error)
{
    switch (error) {
    case KAFKA_ILLEGAL_GENERATION:
    case KAFKA_UNKNOWN_MEMBER_ID:
    case KAFKA_REBALANCE_IN_PROGRESS:
    case KAFKA_STALE_MEMBER_EPOCH:
        return GROUP_MEMBERS;
    default:
        return is_passing(error) ? GROUP_FREE : GROUP_REFUSED;
    }
}

static void commit_row(struct commit_call *call, struct group_entry *entry, int16_t error)
{
    struct group_round *round = call->round;
    struct err why;
    char lacks[ACL_LACKS_BYTES];
    entry->committing = false;
    if (error == KAFKA_NONE) {
        round->totals.commits++;
        group_entry_answered(entry, true, GROUP_FREE, now_ms(round));
        return;
    }
    round->totals.refused++;
    enum group_hold hold = why_refused(error);
    group_entry_answered(entry, false, hold, now_ms(round));
    bool of_topic = error == KAFKA_TOPIC_AUTHORIZATION_FAILED;
    bool denied =
        cluster_denied(round->options.target, error, ACL_READ, of_topic ? ACL_TOPIC : ACL_GROUP,
                       of_topic ? entry->part->topic : call->group->name, lacks);
    err_set_code(&why, ERR_RETRY, error, "%s: commit for group '%.200s', %s:%d: %s",
                 round->options.to, call->group->name, entry->part->topic, entry->part->partition,
                 denied ? lacks : kafka_error_name(error));
    if (hold == GROUP_REFUSED) {
        snprintf(call->group->refused, sizeof(call->group->refused), "%.*s",
                 (int)sizeof(call->group->refused) - 1, denied ? lacks : kafka_error_name(error));
    }
    if (hold != GROUP_MEMBERS) {
        note(round, &why);
    }
}

static void take_commits(struct commit_call *call, const struct offset_commit_answer *answer)
{
    struct topic_run run = {.data = NULL};
    for (int32_t i = 0; i < answer->rows_count; i++) {
        const struct offset_commit_row *row = &answer->rows[i];
        struct group_topic *topic = topic_of(call->round, &run, row->topic);
        bool known = topic != NULL && row->partition >= 0 && row->partition < topic->parts_count &&
                     topic->parts[row->partition] != NULL;
        struct group_entry *entry =
            known ? group_entry_find(call->group, topic->parts[row->partition]) : NULL;
        if (entry != NULL && entry->committing) {
            commit_row(call, entry, row->error);
        }
    }
}

static bool committed(void *arg, struct reader *reader, int16_t version, const struct err *err)
{
    struct commit_call *call = arg;
    struct group_round *round = call->round;
    struct offset_commit_answer answer;
    struct err why;
    bool understood = true;
    if (reader == NULL) {
        note(round, err);
    } else if (!(understood = proto_get_offset_commit(reader, version, &answer, &why))) {
        note(round, &why);
    } else {
        take_commits(call, &answer);
        offset_commit_answer_done(&answer);
    }
    for (int32_t i = 0; i < call->count; i++) {
        if (call->entries[i]->committing) { /* no word of it: read again, then decided anew */
            call->entries[i]->committing = false;
            group_entry_answered(call->entries[i], false, GROUP_FREE, now_ms(round));
        }
    }
    free(call->entries);
    free(call);
    one_done(round);
    return understood;
}

static void commit_some(struct group_round *round, struct group *group,
                        struct group_entry **entries, int32_t count)
{
    struct commit_call *call = must(calloc(1, sizeof(*call)));
    call->round = round;
    call->group = group;
    call->entries = must(calloc((size_t)count, sizeof(struct group_entry *)));
    memcpy(call->entries, entries, (size_t)count * sizeof(struct group_entry *));
    call->count = count;
    struct broker_ask ask = {.broker = group->target_broker,
                             .api = API_OFFSET_COMMIT,
                             .put = put_commit,
                             .answer = committed,
                             .arg = call};
    wait_for_one(round);
    broker_ask(round->options.ask_target, &ask);
}

static void commit_group(struct group_round *round, struct group *group)
{
    struct group_entry *some[PARTS_A_REQUEST];
    int32_t count = 0;
    for (size_t i = 0; i < group->entries_count; i++) {
        if (group->entries[i]->committing) {
            some[count++] = group->entries[i];
        }
        if (count == PARTS_A_REQUEST) {
            commit_some(round, group, some, count);
            count = 0;
        }
    }
    if (count > 0) {
        commit_some(round, group, some, count);
    }
}

static void commit(struct group_round *round)
{
    struct group_table *table = round->options.table;
    struct err why = {0};
    if (round->store_failed) { /* what is not known for ours may not be written */
        group_table_unstored(table);
        return;
    }
    if (!round->options.may(round->options.arg, &why)) {
        fail(round, &why);
        return;
    }
    for (size_t i = 0; i < table->groups_count; i++) {
        commit_group(round, table->groups[i]);
    }
}

/* --- the round ---------------------------------------------------------------------------------------------------- */

static void tell_trouble(struct group_round *round)
{
    const struct err *why = round->err.kind != ERR_NONE ? &round->err : &round->trouble;
    bool same = strncmp(round->told, why->what, sizeof(round->told) - 1) == 0;
    if (why->kind == ERR_NONE || (same && now_ms(round) - round->told_ms < TELL_MS)) {
        return;
    }
    round->told_ms = now_ms(round);
    snprintf(round->told, sizeof(round->told), "%.*s", (int)sizeof(round->told) - 1, why->what);
    log_warn("groups.trouble", "link=%s>%s why=%s doing=\"again in a second\"", round->options.from,
             round->options.to, log_quote(why->what).text);
}

static void finish(struct group_round *round)
{
    struct err err = round->err.kind == ERR_NONE && round->incomplete ? round->trouble : round->err;
    tell_trouble(round);
    if (round->store_failed) {
        group_table_unstored(round->options.table);
    }
    group_table_sweep(round->options.table);
    round->busy = false;
    round->totals.rounds++;
    round->options.done(round->options.arg, err.kind == ERR_NONE ? NULL : &err);
}

static void begin_step(struct group_round *round)
{
    static void (*const acts[])(struct group_round *) = {
        [STEP_LOAD] = load,
        [STEP_LOOK] = look,
        [STEP_READ] = read_source,
        [STEP_LIMIT] = read_limits,
        [STEP_MAP] = map,
        [STEP_FIND] = find,
        [STEP_TARGET] = read_target,
        [STEP_GATE] = wait_for_gate,
        [STEP_STORE] = store,
        [STEP_GATE_AGAIN] = wait_for_gate,
        [STEP_COMMIT] = commit,
    };
    if (round->step == STEP_DONE) {
        finish(round);
        return;
    }
    round->waiting = 1;
    acts[round->step](round);
    one_done(round);
}

struct group_round *group_round_new(const struct group_round_options *options)
{
    struct group_round *round = must(calloc(1, sizeof(*round)));
    round->options = *options;
    round->base =
        offset_base_key(options->prefix, options->service->name, options->from, options->to);
    round->meta_key = offset_print("%s{%s}:meta", options->prefix, options->service->name);
    round->checkpoints_key = offset_print("%s:checkpoints", round->base);
    round->groups_key = offset_print("%s:groups", round->base);
    round->read_key = offset_print("%s:groups-read", round->base);
    TAILQ_INIT(&round->calls);
    round->floors = offset_script_floors;
    round->groups = offset_script_groups;
    round->gate = loop_timer_new(options->loop, gate, round);
    snprintf(round->cursor, sizeof(round->cursor), "0");
    return round;
}

void group_round_stop(struct group_round *round)
{
    round->stopped = true;
    loop_timer_cancel(round->gate);
    pump_calls(round);
}

void group_round_free(struct group_round *round)
{
    if (round == NULL) {
        return;
    }
    loop_timer_free(round->gate);
    free(round->base);
    free(round->meta_key);
    free(round->checkpoints_key);
    free(round->groups_key);
    free(round->read_key);
    free(round);
}

void group_round_service(struct group_round *round, const struct config_service *service)
{
    round->options.service = service;
}

void group_round_start(struct group_round *round)
{
    assert(!round->busy);
    round->busy = true;
    round->number++;
    round->err = (struct err){0};
    round->trouble = (struct err){0};
    round->incomplete = false;
    round->step = round->loaded ? STEP_LOOK : STEP_LOAD;
    begin_step(round);
}

bool group_round_busy(const struct group_round *round)
{
    return round->busy;
}

const struct group_totals *group_round_totals(const struct group_round *round)
{
    return &round->totals;
}
