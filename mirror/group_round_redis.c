#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/json.h"
#include "base/log.h"
#include "mirror/group_round_inside.h"
#include "offsets/group_lookup.h"

#define SCHEMA          "1" /* of Redis, as offsets/offset_store has it */
#define FIELDS_A_SCAN   "2000"
#define LOOKUPS_A_ROUND 100000
#define CALLS_FLYING    16 /* each some milliseconds of Redis */
#define LOOKUP_TRIES    4  /* other incarnations */
#define MEMBERS_AGAIN_MS \
    30000 /* who has members stands there again after so long, whatever became of Redis */

/* --- Redis, some calls at a time ---------------------------------------------------------------------------------- */

/* 500 calls at once would be answered later than a call may wait, and keep Redis from everybody else. */
struct round_call {
    struct group_round *round;
    struct redis_script *script; /* NULL = a command */
    int keys_count;
    struct script_arguments arguments;
    redis_reply_fn *done;
    void *arg;
    TAILQ_ENTRY(round_call) link;
};

static void call_done(void *arg, const redisReply *reply, const struct err *err)
{
    struct round_call *call = arg;
    struct group_round *round = call->round;
    redis_reply_fn *done = call->done;
    void *done_arg = call->arg;
    free(call);
    round->calls_flying--;
    done(done_arg, reply, err);
    round_pump_calls(round);
    round_one_done(round);
}

static void send_call(struct group_round *round, struct round_call *call)
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
static void drop_call(struct group_round *round, struct round_call *call)
{
    struct err why;
    err_set(&why, ERR_RETRY, "stopped");
    script_arguments_done(&call->arguments);
    call->done(call->arg, NULL, &why);
    free(call);
    round_one_done(round);
}

/* A call may fail at once, and come back here from within: the outer loop goes on. */
void round_pump_calls(struct group_round *round)
{
    if (round->pumping) {
        return;
    }
    round->pumping = true;
    while (!TAILQ_EMPTY(&round->calls) && (round->stopped || round->calls_flying < CALLS_FLYING)) {
        struct round_call *call = TAILQ_FIRST(&round->calls);
        TAILQ_REMOVE(&round->calls, call, link);
        (round->stopped ? drop_call : send_call)(round, call);
    }
    round->pumping = false;
}

void round_call_redis(struct group_round *round, struct redis_script *script, int keys_count,
                      struct script_arguments *take_arguments, redis_reply_fn *done, void *arg)
{
    struct round_call *call = must(calloc(1, sizeof(*call)));
    *call = (struct round_call){.round = round,
                                .script = script,
                                .keys_count = keys_count,
                                .arguments = *take_arguments,
                                .done = done,
                                .arg = arg};
    *take_arguments = (struct script_arguments){0};
    round_wait(round);
    TAILQ_INSERT_TAIL(&round->calls, call, link);
    round_pump_calls(round);
}

/* --- LOAD --------------------------------------------------------------------------------------------------------- */

static void scanned(void *arg, const redisReply *reply, const struct err *err)
{
    struct group_round *round = arg;
    struct err why;
    if (reply == NULL) {
        round_fail(round, err);
    } else if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
               reply->element[0]->type != REDIS_REPLY_STRING ||
               reply->element[0]->len >= sizeof(round->cursor)) {
        err_set(&why, ERR_REFUSED, "%s: Redis answers in a strange form", round->groups_key);
        round_fail(round, &why);
    } else {
        round->strangers += group_fields_reply(round->options.table, reply->element[1]);
        snprintf(round->cursor, sizeof(round->cursor), "%s", reply->element[0]->str);
        round->loaded = strcmp(round->cursor, "0") == 0;
    }
}

void round_load(struct group_round *round)
{
    struct script_arguments arguments = {0};
    script_put_text(&arguments, "HSCAN");
    script_put_text(&arguments, round->groups_key);
    script_put_text(&arguments, round->cursor);
    script_put_text(&arguments, "COUNT");
    script_put_text(&arguments, FIELDS_A_SCAN);
    round_call_redis(round, NULL, 0, &arguments, scanned, round);
}

/* --- LOOK --------------------------------------------------------------------------------------------------------- */

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
    round_fail(round, &why);
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
        log_info("groups.stored_again", "link=%s>%s there=%zu expected=%zu",
                 round->options.source.site, round->options.target.site, round->stored_there,
                 table->stored_count + round->strangers);
        group_table_unstored(table);
        round->recount = true;
    }
}

static void redis_looked(void *arg, const redisReply *reply, const struct err *err)
{
    struct group_round *round = arg;
    if (reply == NULL) {
        round_fail(round, err);
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

void round_look_redis(struct group_round *round)
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
    script_put_format(&arguments, "cluster:%s", options->source.site);
    script_put_text(&arguments, cluster_id(options->source.cluster));
    script_put_format(&arguments, "cluster:%s", options->target.site);
    script_put_text(&arguments, cluster_id(options->target.cluster));
    round_call_redis(round, &round->groups, 3, &arguments, redis_looked, round);
}

static void told_read(void *arg, const redisReply *reply, const struct err *err)
{
    if (reply == NULL) {
        round_note(arg, err);
    }
}

/* Whether it was lately is measured by Redis alone: clocks of hosts differ. */
static void tell_lately(struct group_round *round)
{
    struct script_arguments arguments = {0};
    int64_t left_ms = GROUP_LATELY_MS - (round_wall_ms(round) - round->read_ms);
    if (left_ms <= 0 || left_ms > GROUP_LATELY_MS) { /* the round took long; the clock was set */
        return;
    }
    script_put_text(&arguments, "SET");
    script_put_text(&arguments, round->lately_key);
    script_put_text(&arguments, "1");
    script_put_text(&arguments, "PX");
    script_put_format(&arguments, "%lld", (long long)left_ms);
    round_call_redis(round, NULL, 0, &arguments, told_read, round);
}

/* Names of the groups that have members at the source, as a JSON array; heap. */
static char *members_text(const struct group_round *round)
{
    const struct group_table *table = round->options.table;
    json_t *names = json_array();
    for (size_t i = 0; i < table->groups_count; i++) {
        const struct group *group = table->groups[i];
        if (group->at_source && group->source_members && group_kind_carried(group->kind)) {
            json_array_append_new(names, json_string(group->name)); /* none when it is no UTF-8 */
        }
    }
    char *text = json_text(names);
    json_decref(names);
    return text;
}

static void told_members(void *arg, const redisReply *reply, const struct err *err)
{
    struct group_round *round = arg;
    if (reply == NULL) {
        free(round->members_told);
        round->members_told = NULL;
        round_note(round, err);
    }
}

/* Whom a failover expects at the target. Some 60 KB for 2,000 groups, so only when it is another list. */
static void tell_members(struct group_round *round)
{
    struct script_arguments arguments = {0};
    char *text = members_text(round);
    bool stands = round->members_told != NULL && strcmp(round->members_told, text) == 0 &&
                  round_now_ms(round) - round->members_ms < MEMBERS_AGAIN_MS;
    if (stands) {
        free(text);
        return;
    }
    free(round->members_told);
    round->members_told = text;
    round->members_ms = round_now_ms(round);
    script_put_text(&arguments, "SET");
    script_put_text(&arguments, round->members_key);
    script_put_text(&arguments, text);
    round_call_redis(round, NULL, 0, &arguments, told_members, round);
}

void round_tell_read(struct group_round *round)
{
    struct script_arguments arguments = {0};
    if (round->incomplete || round->err.kind != ERR_NONE) {
        return;
    }
    script_put_text(&arguments, "SET");
    script_put_text(&arguments, round->read_key);
    script_put_format(&arguments, "%lld", (long long)round->read_ms);
    round_call_redis(round, NULL, 0, &arguments, told_read, round);
    tell_lately(round);
    tell_members(round);
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
        round_incomplete(round, err);
    } else if (!group_lookup_reply(&call->lookup, reply, round_now_ms(round), &left, &why)) {
        round_incomplete(round, &why);
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
    round_call_redis(round, &round->floors, PART_KEYS_COUNT, &arguments, mapped, call);
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

void round_map(struct group_round *round)
{
    struct group_table *table = round->options.table;
    round->totals.lookups += group_table_map(table, round_now_ms(round), LOOKUPS_A_ROUND);
    for (size_t i = 0; i < table->topics_count; i++) {
        struct group_topic *topic = table->topics[i];
        for (int32_t p = 0; p < topic->parts_count; p++) {
            if (topic->parts[p] != NULL && topic->parts[p]->asks_count > 0) {
                map_part(round, topic->parts[p]);
            }
        }
    }
}
