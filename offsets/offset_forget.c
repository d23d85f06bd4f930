#include "offsets/offset_forget.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "offsets/offset_inside.h"

/* Its maps are those of the index, and the checkpoint's own. */
static struct redis_script forget_script = {
    .name = "forget",
    .text = "if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end\n"
            "local names = {ARGV[5]}\n"
            "local index = redis.call('HGETALL', KEYS[2])\n"
            "for i = 1, #index, 2 do names[#names + 1] = index[i] end\n"
            "for _, name in ipairs(names) do redis.call('DEL', ARGV[3] .. name, ARGV[4] .. name) "
            "end\n"
            "redis.call('DEL', KEYS[2], KEYS[3])\n"
            "redis.call('HDEL', KEYS[1], ARGV[1])\n"
            "return 1\n",
};

/* --- found -------------------------------------------------------------------------------------------------------- */

struct list_call {
    bool (*wanted)(void *arg, const char *topic);
    void (*done)(void *arg, json_t *take_rows);
    void *arg;
};

static void take_row(const struct list_call *call, json_t *rows, const redisReply *field,
                     const redisReply *text)
{
    char topic[TOPIC_NAME_BYTES];
    int32_t partition;
    if (field->type != REDIS_REPLY_STRING || text->type != REDIS_REPLY_STRING ||
        !place_parse(field->str, field->len, topic, &partition) ||
        !call->wanted(call->arg, topic)) {
        return;
    }
    json_t *of_topic = json_object_get(rows, topic);
    if (of_topic == NULL) {
        of_topic = json_object();
        json_object_set_new(rows, topic, of_topic); /* refused where it is no UTF-8, as below */
    }
    json_object_set_new(json_object_get(rows, topic), field->str, json_string(text->str));
}

static void listed(void *arg, const redisReply *reply, const struct err *err)
{
    struct list_call *call = arg;
    json_t *rows = NULL;
    (void)err;
    if (reply != NULL && (reply->type == REDIS_REPLY_ARRAY || reply->type == REDIS_REPLY_MAP)) {
        rows = json_object();
        for (size_t i = 0; i + 1 < reply->elements; i += 2) {
            take_row(call, rows, reply->element[i], reply->element[i + 1]);
        }
    }
    call->done(call->arg, rows);
    free(call);
}

void offset_forget_list(struct offset_store *store, bool (*wanted)(void *arg, const char *topic),
                        void (*done)(void *arg, json_t *take_rows), void *arg)
{
    struct err why = {0};
    if (!offset_store_usable(store, &why)) {
        done(arg, NULL);
        return;
    }
    struct list_call *call = must(calloc(1, sizeof(*call)));
    *call = (struct list_call){.wanted = wanted, .done = done, .arg = arg};
    char *key = offset_print("%s:checkpoints", store->base);
    const char *argv[] = {"HGETALL", key};
    redis_call(store->redis, 2, argv, NULL, listed, call);
    free(key);
}

/* --- taken away --------------------------------------------------------------------------------------------------- */

struct forget_call {
    void (*done)(void *arg, bool gone);
    void *arg;
};

static void forgotten(void *arg, const redisReply *reply, const struct err *err)
{
    struct forget_call *call = arg;
    (void)err; /* it is found again at the next look */
    call->done(call->arg,
               reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer == 1);
    free(call);
}

static void put_prefix(struct script_arguments *arguments, char *take_key)
{
    script_put_text(arguments, take_key);
    free(take_key);
}

void offset_forget(struct offset_store *store, const char *field, const char *text,
                   void (*done)(void *arg, bool gone), void *arg)
{
    char topic[TOPIC_NAME_BYTES];
    char incarnation[INCARNATION_BYTES];
    int32_t partition;
    struct checkpoint at;
    struct err why = {0};
    if (!offset_store_usable(store, &why) ||
        !place_parse(field, strlen(field), topic, &partition) ||
        !checkpoint_parse(text, strlen(text), &at, &why)) { /* docs/faults.md#garbage */
        done(arg, false);
        return;
    }
    struct script_arguments arguments = {0};
    script_put_format(&arguments, "%s:checkpoints", store->base);
    put_prefix(&arguments, offset_part_key(store->base, "incarnations", topic, partition));
    put_prefix(&arguments, offset_part_key(store->base, "unmapped", topic, partition));
    script_put_text(&arguments, field);
    script_put_text(&arguments, text);
    put_prefix(&arguments, offset_map_key(store->base, topic, partition, ""));
    put_prefix(&arguments, offset_rebuilt_key(store->base, topic, partition, ""));
    script_put_text(&arguments, checkpoint_incarnation(&at, incarnation));
    struct forget_call *call = must(calloc(1, sizeof(*call)));
    *call = (struct forget_call){.done = done, .arg = arg};
    offset_store_call(store, &forget_script, 3, &arguments, forgotten, call);
}
