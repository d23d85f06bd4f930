/* The next role epoch: the target is primary. From here on nothing at the source is mirrored any more, whatever comes back.
 * Undone by another epoch: a number is never used twice.
 *
 * Evidence: {"epoch": N, "before": N, "primary": SITE}
 */
#include <hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "failover/steps.h"

static bool is_primary(const struct operation *op, const struct config_site *site)
{
    return strcmp(op->state->primary, site->name) == 0;
}

static json_t *secondaries(const struct operation *op, const struct config_site *primary)
{
    json_t *list = json_array();
    for (size_t i = 0; i <= op->service->others_count; i++) {
        const char *site = i == 0 ? op->service->home : op->service->others[i - 1];
        if (strcmp(site, primary->name) != 0) {
            json_array_append_new(list, json_string(site));
        }
    }
    return list;
}

/* Also to Redis, where workers look for an epoch that the control topic may have lost. */
static void tell_redis(struct operation *op)
{
    char id[UUID_TEXT_BYTES];
    struct err err = {0};
    if (op->redis == NULL) {
        return;
    }
    json_t *role = json_pack("{sIssss}", "epoch", (json_int_t)op->state->role_epoch, "topic_id",
                             uuid_hex(&op->state->topic_id, id), "primary", op->state->primary);
    char *text = json_text(role);
    char *key = operation_key(op, "roles");
    const char *argv[] = {"HSET", key, op->to->name, text};
    redisReply *reply = redis_sync_call(op->redis, 4, argv, NULL, &err);
    if (reply == NULL) {
        operation_say(op, "Redis was not told: %s", err.what);
    } else {
        freeReplyObject(reply);
    }
    free(key);
    free(text);
    json_decref(role);
}

static bool raise(struct operation *op, const struct config_site *primary, struct err *err)
{
    json_t *role = operation_sign(
        op, json_pack("{sIssso}", "epoch", (json_int_t)op->state->role_epoch + 1, "primary",
                      primary->name, "secondaries", secondaries(op, primary)));
    char *text = json_text(role);
    const struct control_record record = {.key = "role", .value = text};
    bool ok = operation_write(op, &record, 1, err);
    free(text);
    json_decref(role);
    if (ok) {
        operation_say(op, "epoch %lld: %s is primary", (long long)op->state->role_epoch,
                      primary->name);
        tell_redis(op);
    }
    return ok;
}

bool step_role_done(struct operation *op, bool *out, struct err *err)
{
    (void)err;
    *out = is_primary(op, op->to) && op->state->role_epoch > op->role_epoch;
    return true;
}

bool step_role_act(struct operation *op, struct err *err)
{
    if (!raise(op, op->to, err)) {
        return false;
    }
    operation_note(op, "role",
                   json_pack("{sIsIss}", "epoch", (json_int_t)op->state->role_epoch, "before",
                             (json_int_t)op->role_epoch, "primary", op->to->name));
    return true;
}

bool step_role_undo(struct operation *op, struct err *err)
{
    return is_primary(op, op->from) || raise(op, op->from, err);
}

bool step_role_plan(struct operation *op, struct err *err)
{
    operation_say(op, "epoch %lld: %s would be primary", (long long)op->role_epoch + 1,
                  op->to->name);
    return operation_keep(
        op, "role",
        json_pack("{sIss}", "epoch", (json_int_t)op->role_epoch + 1, "primary", op->to->name), err);
}
