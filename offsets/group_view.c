#include "offsets/group_view.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "offsets/checkpoint.h"
#include "offsets/offset_script.h"

#define FIELDS_A_SCAN "2000"
#define CURSOR_BYTES  24

struct scan {
    void (*each)(void *arg, const char *group, const char *topic, int32_t partition,
                 struct group_entry *entry);
    void *arg;
    size_t strangers;
};

static void take(struct scan *scan, const redisReply *field, const redisReply *value)
{
    char group[GROUP_FIELD_BYTES];
    char topic[TOPIC_NAME_BYTES];
    int32_t partition;
    struct group_entry entry = {0};
    struct err err;
    if (field->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING ||
        !group_field_parse(field->str, field->len, group, topic, &partition) ||
        !group_entry_parse(value->str, value->len, &entry, &err)) {
        scan->strangers++;
        return;
    }
    scan->each(scan->arg, group, topic, partition, &entry);
    group_entry_done(&entry);
}

/* @param cursor  written over */
static bool one_call(struct redis_sync *redis, const char *key, struct scan *scan,
                     char cursor[CURSOR_BYTES], struct err *err)
{
    const char *argv[] = {"HSCAN", key, cursor, "COUNT", FIELDS_A_SCAN};
    redisReply *reply = redis_sync_call(redis, 5, argv, NULL, err);
    if (reply == NULL) {
        return false;
    }
    bool ok = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
              reply->element[0]->type == REDIS_REPLY_STRING &&
              reply->element[0]->len < CURSOR_BYTES && reply->element[1]->type == REDIS_REPLY_ARRAY;
    for (size_t i = 0; ok && i + 1 < reply->element[1]->elements; i += 2) {
        take(scan, reply->element[1]->element[i], reply->element[1]->element[i + 1]);
    }
    snprintf(cursor, CURSOR_BYTES, "%s", ok ? reply->element[0]->str : "0");
    freeReplyObject(reply);
    return ok || err_set(err, ERR_REFUSED, "%s: Redis answers in a strange form", key);
}

bool group_view_each(struct redis_sync *redis, const char *base,
                     void (*each)(void *arg, const char *group, const char *topic,
                                  int32_t partition, struct group_entry *entry),
                     void *arg, size_t *out_strangers, struct err *err)
{
    struct scan scan = {.each = each, .arg = arg};
    char cursor[CURSOR_BYTES] = "0";
    char *key = offset_print("%s:groups", base);
    bool ok = true;
    do {
        ok = one_call(redis, key, &scan, cursor, err);
    } while (ok && strcmp(cursor, "0") != 0);
    free(key);
    if (out_strangers != NULL) {
        *out_strangers = scan.strangers;
    }
    return ok;
}

bool group_view_lately(struct redis_sync *redis, const char *base, bool *out, struct err *err)
{
    char *key = offset_print("%s:groups-lately", base);
    const char *argv[] = {"GET", key};
    redisReply *reply = redis_sync_call(redis, 2, argv, NULL, err);
    free(key);
    *out = reply != NULL && reply->type == REDIS_REPLY_STRING;
    bool ok = reply != NULL;
    freeReplyObject(reply);
    return ok;
}

bool group_view_members(struct redis_sync *redis, const char *base, json_t **out, struct err *err)
{
    char *key = offset_print("%s:groups-members", base);
    const char *argv[] = {"GET", key};
    redisReply *reply = redis_sync_call(redis, 2, argv, NULL, err);
    *out = reply == NULL || reply->type != REDIS_REPLY_STRING
               ? NULL
               : json_parse(reply->str, reply->len, key, NULL);
    free(key);
    if (*out != NULL && !json_is_array(*out)) {
        json_decref(*out);
        *out = NULL;
    }
    bool ok = reply != NULL;
    freeReplyObject(reply);
    return ok;
}

bool group_view_read_ms(struct redis_sync *redis, const char *base, int64_t *out, struct err *err)
{
    char *key = offset_print("%s:groups-read", base);
    const char *argv[] = {"GET", key};
    redisReply *reply = redis_sync_call(redis, 2, argv, NULL, err);
    free(key);
    if (reply == NULL) {
        return false;
    }
    bool known = reply->type == REDIS_REPLY_STRING && decimal_parse(reply->str, reply->len, out) &&
                 *out >= 0;
    *out = known ? *out : -1;
    freeReplyObject(reply);
    return true;
}
